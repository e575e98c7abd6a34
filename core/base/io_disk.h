/*
 * Disk: the raw file operations under io.h, one table of them for each kind of
 * disk. The real one is the kernel's; tests put a simulated one in its place
 * (tests/support/sim_disk.h), whose power can be cut and whose calls can fail.
 *
 * An operation does what the system call of that name does, once: it may move
 * fewer bytes than it was asked to, and it may return -EINTR. Where the call has
 * errno, the operation returns -errno. Retrying is io.c's business, so that it is
 * tested with every disk. Any thread.
 *
 * No other file of the core calls the kernel about files (tests/arrows proves it).
 */
#ifndef VARVE_BASE_IO_DISK_H
#define VARVE_BASE_IO_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Return other than 0 to stop; what it is comes back from the listing. */
typedef int io_name_fn(void *context, const char *name);

struct io_disk {
	/* openat, close-on-exec. The descriptor or -errno. */
	int (*open)(struct io_disk *disk, int dir_fd, const char *name, int flags, mode_t mode);
	void (*close)(struct io_disk *disk, int fd);
	/* pread, pwritev. The count or -errno. */
	ssize_t (*read)(struct io_disk *disk, int fd, void *buffer, size_t size_bytes,
			uint64_t offset_bytes);
	ssize_t (*write)(struct io_disk *disk, int fd, const struct iovec *pieces, int count,
			 uint64_t offset_bytes);
	/* The others: 0 or -errno. fstat, ftruncate, fallocate with its mode. */
	int (*stat)(struct io_disk *disk, int fd, struct stat *stat_out);
	int (*truncate)(struct io_disk *disk, int fd, uint64_t size_bytes);
	int (*allocate)(struct io_disk *disk, int fd, int mode, uint64_t from_bytes,
			uint64_t size_bytes);
	/* fdatasync of a file, fsync of a directory. */
	int (*sync)(struct io_disk *disk, int fd);
	int (*sync_dir)(struct io_disk *disk, int dir_fd);
	/* renameat within one directory, unlinkat of a file, mkdirat. */
	int (*rename)(struct io_disk *disk, int dir_fd, const char *from, const char *to);
	int (*unlink)(struct io_disk *disk, int dir_fd, const char *name);
	int (*make_dir)(struct io_disk *disk, int dir_fd, const char *name, mode_t mode);
	/* Every name in directory @name of @dir_fd but "." and "..", in any order. */
	int (*list)(struct io_disk *disk, int dir_fd, const char *name, io_name_fn *fn,
		    void *context);
	/* F_OFD_SETLK or, with @test, F_OFD_GETLK of an exclusive lock on the whole
	 * file. -EBUSY: another open file has it. */
	int (*lock)(struct io_disk *disk, int fd, bool test);
	/* A shared mapping of the file's first @size_bytes; munmap; MADV_DONTNEED. */
	int (*map)(struct io_disk *disk, int fd, size_t size_bytes, bool writable, void **map_out);
	void (*unmap)(struct io_disk *disk, void *map, size_t size_bytes);
	void (*unmap_pages)(struct io_disk *disk, void *from, size_t size_bytes);
	/* MADV_RANDOM. NULL: this disk has no read-ahead. */
	void (*map_at_random)(struct io_disk *disk, void *map, size_t size_bytes);
	/* MADV_POPULATE_WRITE of a part of the file's mapping, on a disk where a block that is written stays where it
	 * is. NULL: this disk has no blocks. */
	void (*map_make_dirty)(struct io_disk *disk, int fd, void *from, size_t size_bytes);
	/* mincore: is all of this stretch of a mapping in memory? */
	bool (*is_resident)(struct io_disk *disk, const void *from, size_t size_bytes);
	/* posix_fadvise. NULL: this disk has no cache. */
	void (*advise)(struct io_disk *disk, int fd, uint64_t from_bytes, uint64_t size_bytes,
		       int advice);
	/* sync_file_range: begin to write what is dirty, and don't wait. NULL: this disk has no cache. */
	void (*write_back)(struct io_disk *disk, int fd, uint64_t from_bytes, uint64_t size_bytes);
	/* realpath; *absolute_out is freed by the caller. */
	int (*resolve)(struct io_disk *disk, const char *path, char **absolute_out);
};

/* The kernel's files. */
extern struct io_disk io_disk_real;

/* The disk that io.h's calls go to, of the whole process: the real one at first.
 * Only while no call is under way and nothing of the disk before is still open. */
void io_disk_use(struct io_disk *disk);

#endif
