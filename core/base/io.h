/*
 * File I/O of the core: every read, write, sync and rename goes through here.
 *
 * Calls retry EINTR and short counts themselves; what they return is the whole
 * effect or -errno. A directory is an open descriptor; names are relative to
 * it. Any thread.
 */
#ifndef VARVE_BASE_IO_H
#define VARVE_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As openat(2); *fd_out is -1 on failure. Close-on-exec. */
int io_open(int dir_fd, const char *name, int flags, mode_t mode, int *fd_out);
void io_close(int fd);          /* -1 is ignored */

/* Exactly @size_bytes. -EUCLEAN: the file ends before. */
int io_read(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes);
int io_write(int fd, const void *bytes, size_t size_bytes, uint64_t offset_bytes);

/* Write the pieces one after another. The pieces are used up. */
struct iovec;
int io_write_vectors(int fd, struct iovec *vectors, size_t count, uint64_t offset_bytes);

int io_size(int fd, uint64_t *size_out);
int io_truncate(int fd, uint64_t size_bytes);
/* Make sure that writes below @size_bytes will not meet a full disk. The file
 * grows to that size. Where the file system can't reserve, zeros are written. */
int io_reserve(int fd, uint64_t size_bytes);

/* Make [@from_bytes, @to_bytes) read as zeros without giving up its reservation.
 * -EOPNOTSUPP: this file system can't. */
int io_zero(int fd, uint64_t from_bytes, uint64_t to_bytes);

int io_sync(int fd);            /* data, and what is needed to read it back */
int io_sync_dir(int dir_fd);
/* Give @from its final name: rename, then sync the directory. Sync the file first. */
int io_publish(int dir_fd, const char *from, const char *to);
int io_unlink(int dir_fd, const char *name);    /* a missing file is no error */

/* Take the exclusive lock on a file for as long as the descriptor is open
 * (an OFD lock: of the open file, not of the process). -EBUSY: another has it. */
int io_lock(int fd);
/* -EBUSY if another holds the lock, 0 if it is free. Takes nothing. */
int io_lock_test(int fd);

/* Are these bytes of a file's mapping in memory, so that reading them waits for no disk? */
bool io_is_resident(const void *mapped, size_t size_bytes);

/* Read the whole of a small file; *bytes_out is freed by the caller. -EFBIG
 * beyond @limit_bytes. */
int io_slurp(int dir_fd, const char *name, size_t limit_bytes, uint8_t **bytes_out,
	     size_t *size_out);

#endif
