/*
 * Random operations on one file, each held against a copy of it in memory.
 *
 * The file is read and written by every way there is: calls, a shared mapping, O_DIRECT,
 * truncation, fallocate in its modes, copy_file_range; its cache is dropped, it is closed
 * and opened. On varve LSNs are noted, and what the file was then is compared with
 * /lsn/<n> later. fsx does the first half of that.
 *
 * Between two operations the file's bytes and size equal the model's; what was stored
 * through the mapping reaches the history when it is synced, so an LSN is noted behind an
 * msync only.
 */
#include "exercise.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_MAX_FILE (384 << 10)
#define DIRECT_UNIT 4096
#define NOTED 24

struct noted {
	uint64_t lsn;           /* 0: none yet */
	size_t size;
	uint8_t *bytes;
};

struct file {
	const struct options *options;
	char path[PATH_MAX];
	int fd;
	int direct;             /* the same with O_DIRECT, or -1 */
	uint8_t *map;           /* SIZE_MAX_FILE of it; beyond the size it must not be touched */
	uint8_t *model;         /* SIZE_MAX_FILE; zeros from size on */
	size_t size;
	uint8_t *buffer;        /* SIZE_MAX_FILE, aligned for O_DIRECT */
	uint64_t random;
	struct noted noted[NOTED];
	uint64_t compared;      /* LSNs */
};

static size_t below(struct file *file, size_t limit)
{
	return (size_t)random_below(&file->random, limit);
}

/* An offset below @limit; a third of them lie at or next to a page's edge. */
static size_t some_offset(struct file *file, size_t limit)
{
	size_t offset = below(file, limit);

	if (below(file, 3) == 0) {
		offset = offset / 4096 * 4096 + below(file, 3);
		offset = offset ? offset - 1 : 0;
	}
	return offset < limit ? offset : limit - 1;
}

/* A length of 1 to @limit, mostly a small one. */
static size_t some_length(struct file *file, size_t limit)
{
	static const size_t most[] = {16, 600, 4096, 9000, 70000};
	size_t length = below(file, most[below(file, 5)]) + 1;

	if (below(file, 4) == 0)
		length = (length + 4095) / 4096 * 4096;
	return length < limit ? length : limit;
}

static void fill_random(struct file *file, uint8_t *bytes, size_t count)
{
	uint64_t value = random_next(&file->random);

	/* Pages that are alike in part are what deltas are made of. */
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)((value >> (i % 8 * 8)) + i / 97);
}

static void equal_or_die(const uint8_t *found, const uint8_t *wanted, size_t count, size_t offset,
			 const char *what)
{
	size_t at = 0, end = count;

	if (memcmp(found, wanted, count) == 0)
		return;
	while (found[at] == wanted[at])
		at++;
	while (found[end - 1] == wanted[end - 1])
		end--;
	errno = 0;
	die("%s: bytes %zu to %zu differ: 0x%02x is 0x%02x there first", what, offset + at, offset + end,
	    wanted[at], found[at]);
}

static void model_resize(struct file *file, size_t size)
{
	if (size < file->size)
		memset(file->model + size, 0, file->size - size);
	file->size = size;
}

static void model_write(struct file *file, size_t offset, const uint8_t *bytes, size_t count)
{
	memcpy(file->model + offset, bytes, count);
	if (offset + count > file->size)
		file->size = offset + count;
}

/* ---- opening ---- */

static void file_open(struct file *file, int flags)
{
	file->fd = open(file->path, O_RDWR | flags, 0644);
	if (file->fd < 0)
		die("%s can't be opened", file->path);
	file->direct = open(file->path, O_RDWR | O_DIRECT);
	file->map = mmap(NULL, SIZE_MAX_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	if (file->map == MAP_FAILED)
		die("mmap");
}

static void file_close(struct file *file)
{
	if (munmap(file->map, SIZE_MAX_FILE) || close(file->fd) || (file->direct >= 0 && close(file->direct)))
		die("close");
}

/* ---- operations ---- */

static void pread_whole(struct file *file, int fd, size_t offset, size_t length, const char *what)
{
	size_t due = offset >= file->size ? 0 : file->size - offset;
	ssize_t count;

	due = due < length ? due : length;
	memset(file->buffer, 0xa5, length);
	count = pread(fd, file->buffer, length, (off_t)offset);
	if (count != (ssize_t)due)
		die("%s of %zu at %zu gave %zd, not %zu; the size is %zu", what, length, offset, count, due, file->size);
	equal_or_die(file->buffer, file->model + offset, due, offset, what);
}

static void do_read(struct file *file)
{
	size_t offset = some_offset(file, SIZE_MAX_FILE), length = some_length(file, SIZE_MAX_FILE - offset);

	note("read %zu at %zu", length, offset);
	pread_whole(file, file->fd, offset, length, "read");
}

static void write_at(struct file *file, int fd, size_t offset, size_t length, const char *what)
{
	ssize_t count;

	fill_random(file, file->buffer, length);
	count = pwrite(fd, file->buffer, length, (off_t)offset);
	if (count != (ssize_t)length)
		die("%s of %zu at %zu gave %zd", what, length, offset, count);
	model_write(file, offset, file->buffer, length);
}

static void do_write(struct file *file)
{
	size_t limit = below(file, 8) ? (file->size < SIZE_MAX_FILE ? file->size + 1 : SIZE_MAX_FILE) : SIZE_MAX_FILE;
	size_t offset = some_offset(file, limit), length = some_length(file, SIZE_MAX_FILE - offset);

	note("write %zu at %zu", length, offset);
	write_at(file, file->fd, offset, length, "write");
}

static void do_direct(struct file *file, bool writing)
{
	size_t offset = below(file, SIZE_MAX_FILE / DIRECT_UNIT) * DIRECT_UNIT;
	size_t length = (below(file, 8) + 1) * DIRECT_UNIT;

	if (file->direct < 0)
		return;
	if (length > SIZE_MAX_FILE - offset)
		length = SIZE_MAX_FILE - offset;
	note("%s %zu at %zu, direct", writing ? "write" : "read", length, offset);
	if (writing)
		write_at(file, file->direct, offset, length, "direct write");
	else
		pread_whole(file, file->direct, offset, length, "direct read");
}

static void do_direct_read(struct file *file)
{
	do_direct(file, false);
}

static void do_direct_write(struct file *file)
{
	do_direct(file, true);
}

static void do_map_read(struct file *file)
{
	size_t offset, length;

	if (!file->size)
		return;
	offset = some_offset(file, file->size);
	length = some_length(file, file->size - offset);
	note("read %zu at %zu, mapped", length, offset);
	equal_or_die(file->map + offset, file->model + offset, length, offset, "mapped read");
}

static void do_map_write(struct file *file)
{
	size_t offset, length;

	if (!file->size)
		return;
	offset = some_offset(file, file->size);
	length = some_length(file, file->size - offset);
	note("store %zu at %zu, mapped", length, offset);
	fill_random(file, file->map + offset, length);
	memcpy(file->model + offset, file->map + offset, length);
}

static void do_msync(struct file *file)
{
	note("msync");
	if (file->size && msync(file->map, file->size, MS_SYNC))
		die("msync");
}

static void do_truncate(struct file *file)
{
	size_t size = below(file, 12) ? some_offset(file, SIZE_MAX_FILE) : 0;

	note("truncate %zu to %zu", file->size, size);
	if (below(file, 2) ? ftruncate(file->fd, (off_t)size) : truncate(file->path, (off_t)size))
		die("truncate to %zu", size);
	model_resize(file, size);
}

static void allocate(struct file *file, int mode, const char *what)
{
	size_t offset = some_offset(file, SIZE_MAX_FILE), length = some_length(file, SIZE_MAX_FILE - offset);
	size_t end = offset + length;

	note("%s %zu at %zu", what, length, offset);
	if (fallocate(file->fd, mode, (off_t)offset, (off_t)length))
		die("%s of %zu at %zu", what, length, offset);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > file->size)
		file->size = end;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(file->model + offset, 0, length);
}

static void do_fallocate(struct file *file)
{
	allocate(file, 0, "fallocate");
}

static void do_reserve(struct file *file)
{
	allocate(file, FALLOC_FL_KEEP_SIZE, "fallocate, keep size,");
}

static void do_punch(struct file *file)
{
	allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch");
}

static void do_zero(struct file *file)
{
	allocate(file, FALLOC_FL_ZERO_RANGE, "zero");
}

static void do_zero_within(struct file *file)
{
	allocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, "zero, keep size,");
}

static void do_copy(struct file *file)
{
	size_t from, to, length;
	off_t from_off, to_off;

	if (!file->size)
		return;
	from = some_offset(file, file->size);
	to = some_offset(file, SIZE_MAX_FILE);
	length = some_length(file, file->size - from);
	if (length > SIZE_MAX_FILE - to)
		length = SIZE_MAX_FILE - to;
	if (from < to + length && to < from + length)
		return;
	note("copy %zu from %zu to %zu", length, from, to);
	from_off = (off_t)from;
	to_off = (off_t)to;
	for (size_t done = 0; done < length;) {
		ssize_t count = copy_file_range(file->fd, &from_off, file->fd, &to_off, length - done, 0);

		if (count <= 0)
			die("copy of %zu from %zu to %zu gave %zd behind %zu", length, from, to, count, done);
		done += (size_t)count;
	}
	model_write(file, to, file->model + from, length);
}

static void do_sync(struct file *file)
{
	note("fsync");
	if (below(file, 2) ? fsync(file->fd) : fdatasync(file->fd))
		die("fsync");
}

static void do_reopen(struct file *file)
{
	note("close and open");
	file_close(file);
	file_open(file, 0);
}

/* What is read next comes from below the page cache. */
static void do_drop_cache(struct file *file)
{
	note("drop the cache");
	munmap(file->map, SIZE_MAX_FILE);
	if (fdatasync(file->fd) || posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED))
		die("posix_fadvise");
	file->map = mmap(NULL, SIZE_MAX_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	if (file->map == MAP_FAILED)
		die("mmap");
}

static void do_size(struct file *file)
{
	struct stat found;

	note("fstat");
	if (fstat(file->fd, &found) || (size_t)found.st_size != file->size)
		die("the size is %jd, not %zu", (intmax_t)found.st_size, file->size);
}

/* Holes may be told of at any granularity, or not at all; but no byte lies in one. */
static void do_holes(struct file *file)
{
	size_t at = 0;

	note("SEEK_DATA and SEEK_HOLE");
	while (at < file->size) {
		off_t data = lseek(file->fd, (off_t)at, SEEK_DATA), hole;
		size_t end = data < 0 ? file->size : (size_t)data;

		if (data < 0 && errno != ENXIO)
			die("SEEK_DATA at %zu", at);
		if (end < at || end > file->size)
			die("SEEK_DATA at %zu gave %zu; the size is %zu", at, end, file->size);
		for (size_t i = at; i < end; i++)
			if (file->model[i])
				die("byte %zu lies in a hole from %zu to %zu", i, at, end);
		if (data < 0)
			break;
		hole = lseek(file->fd, data, SEEK_HOLE);
		if (hole <= data || (size_t)hole > file->size)
			die("SEEK_HOLE at %jd gave %jd; the size is %zu", (intmax_t)data, (intmax_t)hole, file->size);
		at = (size_t)hole;
	}
}

static void do_whole(struct file *file)
{
	note("compare the whole file");
	pread_whole(file, file->fd, 0, SIZE_MAX_FILE, "read of all");
	do_size(file);
}

static void do_note_lsn(struct file *file)
{
	struct noted *noted = &file->noted[below(file, NOTED)];

	if (!file->options->mount)
		return;
	do_msync(file);
	noted->lsn = lsn_latest(file->options);
	noted->size = file->size;
	if (!noted->bytes && !(noted->bytes = malloc(SIZE_MAX_FILE)))
		die("out of memory");
	memcpy(noted->bytes, file->model, file->size);
	note("note LSN %" PRIu64, noted->lsn);
}

static void do_compare_lsn(struct file *file)
{
	const struct noted *noted = &file->noted[below(file, NOTED)];
	char path[PATH_MAX];
	ssize_t count;
	int fd;

	if (!noted->lsn)
		return;
	note("compare LSN %" PRIu64, noted->lsn);
	lsn_path(file->options, noted->lsn, path, sizeof(path) - 8);
	strcat(path, "/file");
	fd = open(path, O_RDONLY);
	if (fd < 0)
		die("%s can't be opened", path);
	count = pread(fd, file->buffer, SIZE_MAX_FILE, 0);
	if (count != (ssize_t)noted->size)
		die("%s has %zd bytes, not %zu", path, count, noted->size);
	equal_or_die(file->buffer, noted->bytes, noted->size, 0, path);
	close(fd);
	file->compared++;
}

static struct operation {
	const char *name;
	unsigned weight;        /* 0 once it is known to be missing */
	void (*run)(struct file *file);
	int mode;               /* of fallocate, to be tried at the start; or -1 */
	uint64_t count;
} operations[] = {
	{"read", 20, do_read, -1, 0},
	{"write", 20, do_write, -1, 0},
	{"direct-read", 4, do_direct_read, -1, 0},
	{"direct-write", 4, do_direct_write, -1, 0},
	{"map-read", 10, do_map_read, -1, 0},
	{"map-write", 10, do_map_write, -1, 0},
	{"msync", 3, do_msync, -1, 0},
	{"truncate", 7, do_truncate, -1, 0},
	{"fallocate", 3, do_fallocate, 0, 0},
	{"reserve", 2, do_reserve, FALLOC_FL_KEEP_SIZE, 0},
	{"punch", 6, do_punch, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0},
	{"zero", 4, do_zero, FALLOC_FL_ZERO_RANGE, 0},
	{"zero-within", 3, do_zero_within, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0},
	{"copy", 5, do_copy, -1, 0},
	{"fsync", 1, do_sync, -1, 0},
	{"reopen", 2, do_reopen, -1, 0},
	{"drop-cache", 2, do_drop_cache, -1, 0},
	{"size", 4, do_size, -1, 0},
	{"holes", 3, do_holes, -1, 0},
	{"whole", 1, do_whole, -1, 0},
	{"note-lsn", 2, do_note_lsn, -1, 0},
	{"compare-lsn", 2, do_compare_lsn, -1, 0},
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* What the file system can't do is left out, said, and wrong unless --lacks has it. */
static void probe(struct file *file)
{
	for (size_t i = 0; i < OPERATIONS; i++) {
		struct operation *op = &operations[i];
		bool there = op->mode < 0 || fallocate(file->fd, op->mode, 0, 4096) == 0;

		if (!there && errno != EOPNOTSUPP)
			die("%s at the start", op->name);
		if (there == options_lack(file->options, op->name))
			die("%s is %s, against what --lacks says", op->name, there ? "there" : "missing");
		if (!there) {
			printf("not supported: %s\n", op->name);
			op->weight = 0;
		}
	}
	if (file->direct < 0)
		die("O_DIRECT");
	if (ftruncate(file->fd, 0))
		die("truncate at the start");
}

static struct operation *some_operation(struct file *file)
{
	unsigned sum = 0, chosen;

	for (size_t i = 0; i < OPERATIONS; i++)
		sum += operations[i].weight;
	chosen = (unsigned)below(file, sum);
	for (size_t i = 0;; chosen -= operations[i++].weight)
		if (chosen < operations[i].weight)
			return &operations[i];
}

int main(int argc, char **argv)
{
	struct options options;
	struct file file = {.options = &options};

	options_parse(&options, argc, argv);
	file.random = options.seed;
	file.model = calloc(1, SIZE_MAX_FILE);
	file.buffer = aligned_alloc(DIRECT_UNIT, SIZE_MAX_FILE);
	if (!file.model || !file.buffer)
		die("out of memory");
	snprintf(file.path, sizeof(file.path), "%s/file", options.dir);
	file_open(&file, O_CREAT | O_EXCL);
	probe(&file);
	for (uint64_t i = 0; i < options.ops; i++) {
		struct operation *op = some_operation(&file);

		op->run(&file);
		op->count++;
	}
	do_whole(&file);
	do_reopen(&file);
	do_whole(&file);
	for (unsigned i = 0; i < 3 * NOTED; i++)
		do_compare_lsn(&file);
	file_close(&file);
	for (size_t i = 0; i < OPERATIONS; i++)
		printf("%s%s %" PRIu64, i ? ", " : "", operations[i].name, operations[i].count);
	printf("\n%" PRIu64 " operations, %" PRIu64 " comparisons at an LSN: all as remembered\n", options.ops,
	       file.compared);
	for (unsigned i = 0; i < NOTED; i++)
		free(file.noted[i].bytes);
	free(file.model);
	free(file.buffer);
	return 0;
}
