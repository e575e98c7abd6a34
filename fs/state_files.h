/*
 * State files: what /.varve holds.
 *
 *   stats        the store in figures, JSON (stats.h)
 *   metrics      the same for Prometheus
 *   window       the limits of the window; who may write it changes them (window_text.h)
 *   layers.svg   the layers, drawn (layer_picture.h)
 *
 * A file's content is made when it is looked at: a stat makes what the next open shows, if that comes
 * within a second, so that the size is right; an open keeps what it shows until its
 * end, so that reads at any offsets go together. Who looks while another's look has it made sees what there was before.
 */
#ifndef VARVE_FS_STATE_FILES_H
#define VARVE_FS_STATE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct front;
struct state_files;
struct snapshot;

enum state_file { STATE_STATS, STATE_METRICS, STATE_WINDOW, STATE_LAYERS, STATE_FILE_COUNT };

/* Each call is 0 or -errno. Any thread. */

/* *files_out is freed by state_files_close, when nothing is open any more. */
int state_files_open(struct state_files **files_out);
void state_files_close(struct state_files *files);      /* NULL is ignored */

/* Fill in size and times. -EBUSY: it is made for the first time, and too many wait for it. */
int state_file_stat(const struct front *front, enum state_file file, struct stat *stat);

/* What the file holds now, until snapshot_close. As above. */
int state_file_open(const struct front *front, enum state_file file, struct snapshot **snapshot_out);
void snapshot_close(struct snapshot *snapshot);         /* NULL is ignored */
const char *snapshot_bytes(const struct snapshot *snapshot, size_t *size_out);

/* May it be written? */
bool state_file_is_writable(enum state_file file);

/* -EINVAL: no limits of a window; -EROFS: the store takes no changes; else store_window_set's. */
int state_file_write(const struct front *front, enum state_file file, const char *bytes,
		     size_t size_bytes);

#endif
