#include "test_full_disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "io_disk.h"
#include "test_support.h"

static struct {
	struct io_disk disk;
	atomic_bool full;
	ino_t manifest;         /* stored before full */
} small;

static ssize_t small_write(struct io_disk *disk, int fd, const struct iovec *pieces, int count, uint64_t offset_bytes)
{
	struct stat st;

	(void)disk;
	if (atomic_load(&small.full) && fstat(fd, &st) == 0 && st.st_ino != small.manifest)
		return -ENOSPC;
	return io_disk_real.write(&io_disk_real, fd, pieces, count, offset_bytes);
}

void full_disk_begin(void)
{
	small.disk = io_disk_real;
	small.disk.write = small_write;
	full_disk_empty();
	io_disk_use(&small.disk);
}

void full_disk_end(void)
{
	io_disk_use(&io_disk_real);
}

void full_disk_fill(const char *path)
{
	char manifest[PATH_MAX];
	struct stat st;

	path_join(manifest, path, "manifest");
	must(stat(manifest, &st) == 0, "stat", manifest);
	small.manifest = st.st_ino;
	atomic_store(&small.full, true);
}

void full_disk_empty(void)
{
	atomic_store(&small.full, false);
}
