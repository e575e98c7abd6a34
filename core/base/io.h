/*
 * File I/O of the core: every call about a file goes through here, and from here
 * to the disk in use (io_disk.h).
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

#include "io_disk.h"

/* As openat(2); *fd_out is -1 on failure. Close-on-exec. */
int io_open(int dir_fd, const char *name, int flags, mode_t mode, int *fd_out);
void io_close(int fd);          /* -1 is ignored */

/* Exactly @size_bytes. -EUCLEAN: the file ends before. */
int io_read(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes);
/* As much of it as there is before the end of the file. */
int io_read_up_to(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes,
		  size_t *count_out);
#define IO_SECTOR_BYTES 4096u   /* what is tried alone where a larger read fails */
typedef void io_bad_fn(void *context, uint64_t offset_bytes, uint64_t size_bytes);
/* All that can be read of it; sectors that can't are zeros, and @bad (may be NULL) is told of each. */
void io_read_salvage(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes, io_bad_fn *bad, void *context);
int io_write(int fd, const void *bytes, size_t size_bytes, uint64_t offset_bytes);

/* Write the pieces one after another. The pieces are used up. */
int io_write_vectors(int fd, struct iovec *vectors, size_t count, uint64_t offset_bytes);

int io_size(int fd, uint64_t *size_out);
int io_owner(int fd, uid_t *uid_out, gid_t *gid_out);
int io_truncate(int fd, uint64_t size_bytes);
/* Make sure that writes below @size_bytes will not meet a full disk. The file
 * grows to that size. Where the file system can't reserve, zeros are written. */
int io_reserve(int fd, uint64_t size_bytes);

/* Make [@from_bytes, @to_bytes) read as zeros without giving up its reservation.
 * -EOPNOTSUPP: this file system can't. */
int io_zero(int fd, uint64_t from_bytes, uint64_t to_bytes);

/* Drop what the kernel's cache holds of the file, as far as it is on disk, so that the next
 * read tells what the disk holds. */
void io_forget(int fd);
/* Begin to read [@from_bytes, + @size_bytes) into the kernel's cache; doesn't wait. */
void io_prefetch(int fd, uint64_t from_bytes, uint64_t size_bytes);

/* Begin to write [@from_bytes, + @size_bytes) to the disk, so that a sync later has less to do;
 * doesn't wait and promises nothing. */
void io_write_back(int fd, uint64_t from_bytes, uint64_t size_bytes);

int io_sync(int fd);            /* data, and what is needed to read it back */
int io_sync_dir(int dir_fd);
/* Give @from its final name: rename, then sync the directory. Sync the file first. */
int io_publish(int dir_fd, const char *from, const char *to);
int io_unlink(int dir_fd, const char *name);    /* a missing file is no error */
/* Mode 0700. A directory that is there already is no error; nor is another file of that name. */
int io_make_dir(int dir_fd, const char *name);
/* Call @fn for each name in directory @name, but "." and "..", until it returns
 * other than 0; that is then returned. What it does to the directory may or may not
 * show in the rest. */
int io_list(int dir_fd, const char *name, io_name_fn *fn, void *context);
/* The absolute path without links; freed by the caller. */
int io_resolve(const char *path, char **absolute_out);

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

/*
 * Map the first @size_bytes of the file, shared: what is stored there is in the
 * file at once, and on disk after io_sync. A page beyond the end of the file, or one
 * that can't be read, is SIGBUS (fault.h).
 */
int io_map(int fd, size_t size_bytes, bool writable, void **map_out);
void io_unmap(void *map, size_t size_bytes);    /* NULL is ignored */
/* Of a mapping: pages come one by one as they are touched, nothing is read or made ahead around them. */
void io_map_at_random(void *map, size_t size_bytes);
/* Have the next sync write whole pages of the file's mapping, whatever is stored there by then; changes nothing that
 * is. Where the kernel can't, or it would not help (ext4 and XFS are helped), nothing happens. */
void io_map_make_dirty(int fd, void *from, size_t size_bytes);
/* Take whole pages out of this process's page tables; they stay mapped. */
void io_unmap_pages(void *from, size_t size_bytes);

#endif
