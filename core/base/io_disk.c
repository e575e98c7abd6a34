#include "io_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

static int result(long outcome)
{
	return outcome < 0 ? -errno : (int)outcome;
}

static int real_open(struct io_disk *disk, int dir_fd, const char *name, int flags, mode_t mode)
{
	(void)disk;
	return result(openat(dir_fd, name, flags | O_CLOEXEC, mode));
}

static void real_close(struct io_disk *disk, int fd)
{
	(void)disk;
	close(fd);
}

static ssize_t real_read(struct io_disk *disk, int fd, void *buffer, size_t size_bytes,
			 uint64_t offset_bytes)
{
	ssize_t count = pread(fd, buffer, size_bytes, (off_t)offset_bytes);

	(void)disk;
	return count < 0 ? -errno : count;
}

static ssize_t real_write(struct io_disk *disk, int fd, const struct iovec *pieces, int piece_count,
			  uint64_t offset_bytes)
{
	ssize_t count = pwritev(fd, pieces, piece_count, (off_t)offset_bytes);

	(void)disk;
	return count < 0 ? -errno : count;
}

static int real_stat(struct io_disk *disk, int fd, struct stat *stat_out)
{
	(void)disk;
	return result(fstat(fd, stat_out));
}

static int real_truncate(struct io_disk *disk, int fd, uint64_t size_bytes)
{
	(void)disk;
	return result(ftruncate(fd, (off_t)size_bytes));
}

static int real_allocate(struct io_disk *disk, int fd, int mode, uint64_t from_bytes,
			 uint64_t size_bytes)
{
	(void)disk;
	return result(fallocate(fd, mode, (off_t)from_bytes, (off_t)size_bytes));
}

static int real_sync(struct io_disk *disk, int fd)
{
	(void)disk;
	return result(fdatasync(fd));
}

static int real_sync_dir(struct io_disk *disk, int dir_fd)
{
	(void)disk;
	return result(fsync(dir_fd));
}

static int real_rename(struct io_disk *disk, int dir_fd, const char *from, const char *to)
{
	(void)disk;
	return result(renameat(dir_fd, from, dir_fd, to));
}

static int real_unlink(struct io_disk *disk, int dir_fd, const char *name)
{
	(void)disk;
	return result(unlinkat(dir_fd, name, 0));
}

static int real_make_dir(struct io_disk *disk, int dir_fd, const char *name, mode_t mode)
{
	(void)disk;
	return result(mkdirat(dir_fd, name, mode));
}

static int list_names(DIR *dir, io_name_fn *fn, void *context)
{
	struct dirent *entry;
	int err = 0;

	while (!err) {
		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			err = fn(context, entry->d_name);
	}
	return err;
}

static int real_list(struct io_disk *disk, int dir_fd, const char *name, io_name_fn *fn,
		     void *context)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int err;

	(void)disk;
	if (!dir) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = list_names(dir, fn, context);
	closedir(dir);
	return err;
}

static int real_lock(struct io_disk *disk, int fd, bool test)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	(void)disk;
	if (fcntl(fd, test ? F_OFD_GETLK : F_OFD_SETLK, &lock) < 0)
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	return test && lock.l_type != F_UNLCK ? -EBUSY : 0;
}

static int real_map(struct io_disk *disk, int fd, size_t size_bytes, bool writable, void **map_out)
{
	void *map = mmap(NULL, size_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
			 MAP_SHARED, fd, 0);

	(void)disk;
	*map_out = map == MAP_FAILED ? NULL : map;
	return map == MAP_FAILED ? -errno : 0;
}

static void real_unmap(struct io_disk *disk, void *map, size_t size_bytes)
{
	(void)disk;
	munmap(map, size_bytes);
}

static void real_unmap_pages(struct io_disk *disk, void *from, size_t size_bytes)
{
	(void)disk;
	(void)madvise(from, size_bytes, MADV_DONTNEED);
}

static void real_map_make_dirty(struct io_disk *disk, int fd, void *from, size_t size_bytes)
{
	struct statfs fs;

	(void)disk;
	/* Where each write of a block takes another one, the zeros would use up what is reserved. */
	if (fstatfs(fd, &fs) < 0 || (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC))
		return;
	/* Linux 5.14. Stores nothing, so what others store meanwhile stays. */
	(void)madvise(from, size_bytes, MADV_POPULATE_WRITE);
}

static void real_map_at_random(struct io_disk *disk, void *map, size_t size_bytes)
{
	(void)disk;
	(void)madvise(map, size_bytes, MADV_RANDOM);
}

#define RESIDENT_PAGES_MAX 64u

static bool real_is_resident(struct io_disk *disk, const void *from, size_t size_bytes)
{
	uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)from / page_bytes * page_bytes;
	uintptr_t end = (uintptr_t)from + size_bytes;
	unsigned char states[RESIDENT_PAGES_MAX];
	size_t count = (end - first + page_bytes - 1) / page_bytes;

	(void)disk;
	if (count > RESIDENT_PAGES_MAX || mincore((void *)first, end - first, states) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!(states[i] & 1))
			return false;
	return true;
}

static void real_advise(struct io_disk *disk, int fd, uint64_t from_bytes, uint64_t size_bytes,
			int advice)
{
	(void)disk;
	posix_fadvise(fd, (off_t)from_bytes, (off_t)size_bytes, advice);
}

static void real_write_back(struct io_disk *disk, int fd, uint64_t from_bytes, uint64_t size_bytes)
{
	(void)disk;
	(void)sync_file_range(fd, (off_t)from_bytes, (off_t)size_bytes, SYNC_FILE_RANGE_WRITE);
}

static int real_resolve(struct io_disk *disk, const char *path, char **absolute_out)
{
	(void)disk;
	*absolute_out = realpath(path, NULL);
	return *absolute_out ? 0 : -errno;
}

struct io_disk io_disk_real = {
	.open = real_open,
	.close = real_close,
	.read = real_read,
	.write = real_write,
	.stat = real_stat,
	.truncate = real_truncate,
	.allocate = real_allocate,
	.sync = real_sync,
	.sync_dir = real_sync_dir,
	.rename = real_rename,
	.unlink = real_unlink,
	.make_dir = real_make_dir,
	.list = real_list,
	.lock = real_lock,
	.map = real_map,
	.unmap = real_unmap,
	.unmap_pages = real_unmap_pages,
	.map_at_random = real_map_at_random,
	.map_make_dirty = real_map_make_dirty,
	.is_resident = real_is_resident,
	.advise = real_advise,
	.write_back = real_write_back,
	.resolve = real_resolve,
};
