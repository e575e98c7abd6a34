#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int io_open(int dir_fd, const char *name, int flags, mode_t mode, int *fd_out)
{
	int fd;

	do {
		fd = openat(dir_fd, name, flags | O_CLOEXEC, mode);
	} while (fd < 0 && errno == EINTR);
	*fd_out = fd;
	return fd < 0 ? -errno : 0;
}

void io_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int io_read(int fd, void *buffer, size_t size_bytes, uint64_t offset_bytes)
{
	uint8_t *at = buffer;

	while (size_bytes > 0) {
		ssize_t count = pread(fd, at, size_bytes, (off_t)offset_bytes);

		if (count < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (count == 0)
			return -EUCLEAN;
		at += count;
		offset_bytes += (uint64_t)count;
		size_bytes -= (size_t)count;
	}
	return 0;
}

int io_write(int fd, const void *bytes, size_t size_bytes, uint64_t offset_bytes)
{
	const uint8_t *at = bytes;

	while (size_bytes > 0) {
		ssize_t count = pwrite(fd, at, size_bytes, (off_t)offset_bytes);

		if (count < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (count == 0)
			return -EIO;
		at += count;
		offset_bytes += (uint64_t)count;
		size_bytes -= (size_t)count;
	}
	return 0;
}

int io_write_vectors(int fd, struct iovec *vectors, size_t count, uint64_t offset_bytes)
{
	while (count > 0) {
		size_t here = count < IOV_MAX ? count : IOV_MAX;
		ssize_t written = pwritev(fd, vectors, (int)here, (off_t)offset_bytes);

		if (written < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (written == 0)
			return -EIO;
		offset_bytes += (uint64_t)written;
		while (count > 0 && (size_t)written >= vectors->iov_len) {
			written -= (ssize_t)vectors->iov_len;
			vectors++;
			count--;
		}
		if (written) {
			vectors->iov_base = (uint8_t *)vectors->iov_base + written;
			vectors->iov_len -= (size_t)written;
		}
	}
	return 0;
}

int io_size(int fd, uint64_t *size_out)
{
	struct stat st;

	*size_out = 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	*size_out = (uint64_t)st.st_size;
	return 0;
}

int io_truncate(int fd, uint64_t size_bytes)
{
	while (ftruncate(fd, (off_t)size_bytes) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
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

int io_reserve(int fd, uint64_t size_bytes)
{
	while (fallocate(fd, 0, 0, (off_t)size_bytes) < 0) {
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			return io_write_zeros(fd, size_bytes);
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int io_zero(int fd, uint64_t from_bytes, uint64_t to_bytes)
{
	if (from_bytes == to_bytes)
		return 0;
	while (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)from_bytes,
			 (off_t)(to_bytes - from_bytes)) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int io_sync(int fd)
{
	while (fdatasync(fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int io_sync_dir(int dir_fd)
{
	while (fsync(dir_fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int io_publish(int dir_fd, const char *from, const char *to)
{
	if (renameat(dir_fd, from, dir_fd, to) < 0)
		return -errno;
	return io_sync_dir(dir_fd);
}

int io_unlink(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int io_lock(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

int io_lock_test(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : -EBUSY;
}

#define RESIDENT_PAGES_MAX 64u

bool io_is_resident(const void *mapped, size_t size_bytes)
{
	uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)mapped / page_bytes * page_bytes;
	uintptr_t to = (uintptr_t)mapped + size_bytes;
	unsigned char states[RESIDENT_PAGES_MAX];
	size_t count = (to - from + page_bytes - 1) / page_bytes;

	if (count > RESIDENT_PAGES_MAX || mincore((void *)from, to - from, states) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!(states[i] & 1))
			return false;
	return true;
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
