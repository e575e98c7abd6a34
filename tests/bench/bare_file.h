/*
 * Bare file: what varve's syncs are held against. Bytes go behind one another
 * into a file reserved as varve reserves its layers, by pwrite and fdatasync, and
 * into a new one when it is full.
 */
#ifndef VARVE_BENCH_BARE_FILE_H
#define VARVE_BENCH_BARE_FILE_H

#include <stddef.h>
#include <stdint.h>

#define BARE_FILE_BYTES (64u << 20)     /* as the store's layers */

struct bare_file {
	const char *dir;
	int fd;                         /* -1: none yet */
	uint64_t tail;
};

void bare_file_init(struct bare_file *file, const char *dir);
void bare_file_destroy(struct bare_file *file);

/* Have room for @size_bytes more, in a new file if need be. 0 or -errno. */
int bare_file_prepare(struct bare_file *file, size_t size_bytes);

/* pwrite and fdatasync, in the room prepared. 0 or -errno. */
int bare_file_append(struct bare_file *file, const void *bytes, size_t size_bytes);

#endif
