#include "bare_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

void bare_file_init(struct bare_file *file, const char *dir)
{
	*file = (struct bare_file){ .dir = dir, .fd = -1 };
}

void bare_file_destroy(struct bare_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

static int renew(struct bare_file *file)
{
	char path[PATH_MAX + 16];
	int err;

	bare_file_destroy(file);
	snprintf(path, sizeof(path), "%s/bare", file->dir);
	unlink(path);
	file->tail = 0;
	file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file->fd < 0)
		return -errno;
	err = -posix_fallocate(file->fd, 0, BARE_FILE_BYTES);
	if (!err && fsync(file->fd) < 0)
		err = -errno;
	return err;
}

int bare_file_prepare(struct bare_file *file, size_t size_bytes)
{
	if (size_bytes > BARE_FILE_BYTES)
		return -EFBIG;
	return file->fd < 0 || file->tail + size_bytes > BARE_FILE_BYTES ? renew(file) : 0;
}

int bare_file_append(struct bare_file *file, const void *bytes, size_t size_bytes)
{
	ssize_t count = pwrite(file->fd, bytes, size_bytes, (off_t)file->tail);

	if (count != (ssize_t)size_bytes)
		return count < 0 ? -errno : -EIO;
	if (fdatasync(file->fd) < 0)
		return -errno;
	file->tail += size_bytes;
	return 0;
}
