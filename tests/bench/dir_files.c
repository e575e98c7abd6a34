#include "dir_files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 512u                /* of st_blocks, whatever the disk's are */

static uint64_t counted_bytes;          /* nftw hands on no context */

static int file_count(const char *path, const struct stat *stat_buffer, int type, struct FTW *position)
{
	(void)path;
	(void)type;
	(void)position;
	counted_bytes += (uint64_t)stat_buffer->st_blocks * BLOCK_BYTES;
	return 0;
}

int dir_disk_bytes(const char *path, uint64_t *bytes_out)
{
	counted_bytes = 0;
	if (nftw(path, file_count, 16, FTW_PHYS) != 0)
		return -errno;
	*bytes_out = counted_bytes;
	return 0;
}

static int file_forget(const char *path, const struct stat *stat_buffer, int type, struct FTW *position)
{
	int fd, err;

	(void)position;
	if (type != FTW_F || !S_ISREG(stat_buffer->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	err = fdatasync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return err;
}

int dir_forget(const char *path)
{
	int fd;

	if (nftw(path, file_forget, 16, FTW_PHYS) != 0)
		return -errno;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "3", 1) < 0)
			errno = 0;
		close(fd);
	}
	return 0;
}

static int file_fetch(const char *path, const struct stat *stat_buffer, int type, struct FTW *position)
{
	static uint8_t bytes[1u << 20];
	ssize_t count = 1;
	int fd;

	(void)position;
	if (type != FTW_F || !S_ISREG(stat_buffer->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (count > 0)
		count = read(fd, bytes, sizeof(bytes));
	close(fd);
	return (int)count;
}

int dir_fetch(const char *path)
{
	return nftw(path, file_fetch, 16, FTW_PHYS) != 0 ? -errno : 0;
}
