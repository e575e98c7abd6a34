/*
 * Layer files: the descriptors of table layers, of which no more than a limit is open.
 *
 * Table layers may be many more than a process may have files open. A file is opened when it
 * is to be read and not open; a clock closes one that was not used lately. Reads of a layer
 * come in only where the block cache misses, so a lock for each is no cost, and a file that is
 * being read is pinned: no more than the limit are open, and those above it that are
 * being read at the same moment.
 *
 * Any thread; the lock is a leaf and not held across a system call.
 */
#ifndef VARVE_LAYERS_LAYER_FILES_H
#define VARVE_LAYERS_LAYER_FILES_H

#include <stdbool.h>
#include <stdint.h>

struct layer_files;

/* @dir_fd holds the files and outlives them; @limit is at least 1. -ENOMEM. */
int layer_files_create(int dir_fd, uint32_t limit, struct layer_files **files_out);
void layer_files_free(struct layer_files *files);       /* NULL is ignored; no layer is left */
/* How many are open. */
uint32_t layer_files_open_count(struct layer_files *files);

/* Embedded in the layer; set by layer_file_init, then guarded by the lock. */
struct layer_file {
	struct layer_files *files;
	uint64_t layer_id;
	int fd;                         /* -1: not open */
	uint32_t pins;                  /* reads under way */
	uint32_t slot;                  /* where the clock finds it; UINT32_MAX: nowhere */
	bool used;                      /* since the clock passed */
	bool opening;                   /* a thread opens it, the others wait for that */
};

void layer_file_init(struct layer_file *file, struct layer_files *files, uint64_t layer_id);
void layer_file_destroy(struct layer_file *file);       /* nobody reads it */

/* Open it if it is not, and pin it. 0 and *fd_out, valid until layer_file_unpin; -ENOENT; -errno. */
int layer_file_pin(struct layer_file *file, int *fd_out);
void layer_file_unpin(struct layer_file *file);

/* io_read of a pinned file. */
int layer_file_read(struct layer_file *file, void *buffer, uint64_t size_bytes,
		    uint64_t offset_bytes);

#endif
