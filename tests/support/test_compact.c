#include "test_compact.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io_disk.h"
#include "manifest.h"
#include "table_format.h"
#include "test_check.h"

static unsigned writes_left;

static ssize_t killing_write(struct io_disk *disk, int fd, const struct iovec *pieces, int count,
			     uint64_t offset)
{
	if (__atomic_fetch_sub(&writes_left, 1, __ATOMIC_RELAXED) == 0)
		_exit(99);
	return io_disk_real.write(disk, fd, pieces, count, offset);
}

static void ignore_line(const char *line)
{
	(void)line;
}

static int compact(const char *path, const struct store_options *options, unsigned nth)
{
	struct io_disk disk = io_disk_real;
	struct report report;
	struct store *store;

	log_set_sink(ignore_line);
	disk.write = killing_write;
	writes_left = nth;
	io_disk_use(&disk);
	if (store_open(path, options, &report, &store) || store_compact(store))
		return 1;
	return store_close(store) != 0;
}

bool compact_killed_at(const char *path, const struct store_options *options, unsigned nth)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(compact(path, options, nth));
	must(pid > 0 && waitpid(pid, &status, 0) == pid, "fork", path);
	must(WIFEXITED(status) && (WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0), "compact", path);
	return WEXITSTATUS(status) == 0;
}

bool merge_is_unfinished(const char *path)
{
	struct report report = { "" };
	struct manifest manifest;
	bool unfinished = false;
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(dir_fd >= 0 && !manifest_open(&manifest, dir_fd, false, &report), "read", path);
	for (uint32_t i = 0; i < manifest.run_count; i++)
		unfinished |= manifest.runs[i].into != 0;
	manifest_close(&manifest);
	close(dir_fd);
	return unfinished;
}

struct table_paths *table_paths_new(const char *store)
{
	struct table_paths *tables = calloc(1, sizeof(*tables));
	unsigned count = layer_file_count(store);

	must(tables != NULL, "no memory for", store);
	for (unsigned i = 0; i < count && tables->count < array_size(tables->paths); i++) {
		char *path = tables->paths[tables->count];
		uint8_t bytes[8] = { 0 };
		int fd;

		layer_path(store, i, path);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && pread(fd, bytes, sizeof(bytes), 0) == sizeof(bytes) && table_header_is(bytes))
			tables->count++;
		close(fd);
	}
	return tables;
}
