#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static struct io_disk *in_use = &io_disk_real;

void io_disk_use(struct io_disk *disk)
{
	in_use = disk;
}

int io_open(int dir_fd, const char *name, int flags, mode_t mode, int *fd_out)
{
	int fd;

	do {
		fd = in_use->open(in_use, dir_fd, name, flags, mode);
	} while (fd == -EINTR);
	*fd_out = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

void io_close(int fd)
{
	if (fd >= 0)
		in_use->close(in_use, fd);
}

int io_read_up_to(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes,
		  size_t *count_out)
{
	uint8_t *at = buffer;

	*count_out = 0;
	while (*count_out < size_bytes) {
		ssize_t count = in_use->read(in_use, fd, at + *count_out, size_bytes - *count_out,
					     offset_bytes + *count_out);

		if (count == -EINTR)
			continue;
		if (count < 0)
			return (int)count;
		if (count == 0)
			break;
		*count_out += (size_t)count;
	}
	return 0;
}

int io_read(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes)
{
	size_t count;
	int err = io_read_up_to(fd, buffer, size_bytes, offset_bytes, &count);

	return !err && count < size_bytes ? -EUCLEAN : err;
}

void io_read_salvage(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes, io_bad_fn *bad, void *context)
{
	uint8_t *bytes = buffer;

	if (io_read(fd, buffer, size_bytes, offset_bytes) == 0)
		return;
	for (size_t at = 0, here; at < size_bytes; at += here) {
		here = IO_SECTOR_BYTES - (size_t)((offset_bytes + at) % IO_SECTOR_BYTES);
		if (here > size_bytes - at)
			here = size_bytes - at;
		if (io_read(fd, bytes + at, here, offset_bytes + at) == 0)
			continue;
		memset(bytes + at, 0, here);
		if (bad)
			bad(context, offset_bytes + at, here);
	}
}

int io_write(int fd, const void *bytes, size_t size_bytes, uint64_t offset_bytes)
{
	struct iovec piece = { (void *)(uintptr_t)bytes, size_bytes };

	return io_write_vectors(fd, &piece, 1, offset_bytes);
}

/* Step over what was written, and over empty pieces. */
static void vectors_advance(struct iovec **vectors, size_t *count, size_t written)
{
	while (*count > 0 && written >= (*vectors)->iov_len) {
		written -= (*vectors)->iov_len;
		++*vectors;
		--*count;
	}
	if (written) {
		(*vectors)->iov_base = (uint8_t *)(*vectors)->iov_base + written;
		(*vectors)->iov_len -= written;
	}
}

int io_write_vectors(int fd, struct iovec *vectors, size_t count, uint64_t offset_bytes)
{
	vectors_advance(&vectors, &count, 0);
	while (count > 0) {
		int here = count < IOV_MAX ? (int)count : IOV_MAX;
		ssize_t written = in_use->write(in_use, fd, vectors, here, offset_bytes);

		if (written == -EINTR)
			continue;
		if (written < 0)
			return (int)written;
		if (written == 0)
			return -EIO;
		offset_bytes += (uint64_t)written;
		vectors_advance(&vectors, &count, (size_t)written);
	}
	return 0;
}

int io_size(int fd, uint64_t *size_out)
{
	struct stat st;
	int err = in_use->stat(in_use, fd, &st);

	*size_out = err ? 0 : (uint64_t)st.st_size;
	return err;
}

int io_owner(int fd, uid_t *uid_out, gid_t *gid_out)
{
	struct stat st;
	int err = in_use->stat(in_use, fd, &st);

	*uid_out = err ? 0 : st.st_uid;
	*gid_out = err ? 0 : st.st_gid;
	return err;
}

int io_truncate(int fd, uint64_t size_bytes)
{
	int err;

	do {
		err = in_use->truncate(in_use, fd, size_bytes);
	} while (err == -EINTR);
	return err;
}

static int io_write_zeros(int fd, uint64_t size_bytes)
{
	static const uint8_t zeros[65536];
	uint64_t at;
	int err = io_size(fd, &at);

	while (!err && at < size_bytes) {
		size_t count = sizeof(zeros);

		if (count > size_bytes - at)
			count = (size_t)(size_bytes - at);
		err = io_write(fd, zeros, count, at);
		at += count;
	}
	return err;
}

static int io_allocate(int fd, int mode, uint64_t from_bytes, uint64_t size_bytes)
{
	int err;

	do {
		err = in_use->allocate(in_use, fd, mode, from_bytes, size_bytes);
	} while (err == -EINTR);
	return err;
}

int io_reserve(int fd, uint64_t size_bytes)
{
	int err = io_allocate(fd, 0, 0, size_bytes);

	return err == -EOPNOTSUPP || err == -ENOSYS ? io_write_zeros(fd, size_bytes) : err;
}

int io_zero(int fd, uint64_t from_bytes, uint64_t to_bytes)
{
	if (from_bytes == to_bytes)
		return 0;
	return io_allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, from_bytes,
			   to_bytes - from_bytes);
}

void io_forget(int fd)
{
	if (in_use->advise)
		in_use->advise(in_use, fd, 0, 0, POSIX_FADV_DONTNEED);
}

void io_prefetch(int fd, uint64_t from_bytes, uint64_t size_bytes)
{
	if (in_use->advise)
		in_use->advise(in_use, fd, from_bytes, size_bytes, POSIX_FADV_WILLNEED);
}

void io_write_back(int fd, uint64_t from_bytes, uint64_t size_bytes)
{
	if (in_use->write_back)
		in_use->write_back(in_use, fd, from_bytes, size_bytes);
}

int io_sync(int fd)
{
	int err;

	do {
		err = in_use->sync(in_use, fd);
	} while (err == -EINTR);
	return err;
}

int io_sync_dir(int dir_fd)
{
	int err;

	do {
		err = in_use->sync_dir(in_use, dir_fd);
	} while (err == -EINTR);
	return err;
}

int io_publish(int dir_fd, const char *from, const char *to)
{
	int err = in_use->rename(in_use, dir_fd, from, to);

	return err ? err : io_sync_dir(dir_fd);
}

int io_unlink(int dir_fd, const char *name)
{
	int err = in_use->unlink(in_use, dir_fd, name);

	return err == -ENOENT ? 0 : err;
}

int io_make_dir(int dir_fd, const char *name)
{
	int err = in_use->make_dir(in_use, dir_fd, name, 0700);

	return err == -EEXIST ? 0 : err;
}

int io_list(int dir_fd, const char *name, io_name_fn *fn, void *context)
{
	return in_use->list(in_use, dir_fd, name, fn, context);
}

int io_resolve(const char *path, char **absolute_out)
{
	return in_use->resolve(in_use, path, absolute_out);
}

int io_lock(int fd)
{
	return in_use->lock(in_use, fd, false);
}

int io_lock_test(int fd)
{
	return in_use->lock(in_use, fd, true);
}

int io_map(int fd, size_t size_bytes, bool writable, void **map_out)
{
	return in_use->map(in_use, fd, size_bytes, writable, map_out);
}

void io_unmap(void *map, size_t size_bytes)
{
	if (map)
		in_use->unmap(in_use, map, size_bytes);
}

void io_map_at_random(void *map, size_t size_bytes)
{
	if (in_use->map_at_random)
		in_use->map_at_random(in_use, map, size_bytes);
}

void io_map_make_dirty(int fd, void *from, size_t size_bytes)
{
	if (in_use->map_make_dirty)
		in_use->map_make_dirty(in_use, fd, from, size_bytes);
}

void io_unmap_pages(void *from, size_t size_bytes)
{
	in_use->unmap_pages(in_use, from, size_bytes);
}

bool io_is_resident(const void *mapped, size_t size_bytes)
{
	return in_use->is_resident(in_use, mapped, size_bytes);
}

int io_slurp(int dir_fd, const char *name, size_t limit_bytes, uint8_t **bytes_out,
	     size_t *size_out)
{
	uint8_t *bytes = NULL;
	uint64_t size;
	int fd, err;

	*bytes_out = NULL;
	*size_out = 0;
	err = io_open(dir_fd, name, O_RDONLY, 0, &fd);
	if (err)
		return err;
	err = io_size(fd, &size);
	if (err)
		goto out;
	if (size > limit_bytes) {
		err = -EFBIG;
		goto out;
	}
	bytes = malloc(size ? size : 1);
	if (!bytes) {
		err = -ENOMEM;
		goto out;
	}
	err = io_read(fd, bytes, size, 0);
	if (err)
		goto out;
	*bytes_out = bytes;
	*size_out = size;
	bytes = NULL;
out:
	free(bytes);
	io_close(fd);
	return err;
}
