#include "passes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "clock.h"
#include "machine.h"

#define FILL_CALL_BYTES (1u << 20)
#define NOISE_BYTES (64u << 10)         /* a write begins anywhere in so much more than it needs */
#define WARM_FILES 3u           /* memory made ready for a pass, in files */

/*
 * Blocks and their stamps
 */

static void block_stamp(uint8_t *bytes, uint32_t block, uint32_t generation)
{
	memcpy(bytes, &block, sizeof(block));
	memcpy(bytes + sizeof(block), &generation, sizeof(generation));
}

static bool block_holds(const uint8_t *bytes, uint32_t block, uint32_t generation)
{
	uint8_t expected[8];

	block_stamp(expected, block, generation);
	return memcmp(bytes, expected, sizeof(expected)) == 0;
}

/*
 * The page cache of the mount
 */

static int resident_pages(int fd, uint64_t size_bytes, uint64_t *count_out)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	size_t page_count = (size_t)(size_bytes / page_bytes);
	unsigned char *states = malloc(page_count);
	void *mapping = mmap(NULL, (size_t)size_bytes, PROT_READ, MAP_SHARED, fd, 0);
	int err = 0;

	*count_out = 0;
	if (!states || mapping == MAP_FAILED)
		err = -ENOMEM;
	else if (mincore(mapping, (size_t)size_bytes, states) < 0)
		err = -errno;
	for (size_t i = 0; !err && i < page_count; i++)
		*count_out += states[i] & 1;
	if (mapping != MAP_FAILED)
		munmap(mapping, (size_t)size_bytes);
	free(states);
	return err;
}

static int cache_drop(const struct access *access, int fd)
{
	uint64_t pages;
	int err = -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

	if (!err)
		err = resident_pages(fd, access->file->size_bytes, &pages);
	if (!err && pages > 0)
		return bench_fail(access->file->bench, -EBUSY,
				  "%s: the kernel keeps %llu pages of it and would answer by itself",
				  access->file->path, (unsigned long long)pages);
	return err;
}

/*
 * One pass over the file
 */

struct pass {
	const struct access *access;
	int fd;
	uint32_t generation;
	uint32_t first, limit;          /* calls of this thread, in [first, limit) */
	struct dice dice;
	int err;
};

static int call_read(struct pass *pass, uint8_t *buffer, uint64_t offset)
{
	uint32_t size = pass->access->call_bytes;
	ssize_t count = pread(pass->fd, buffer, size, (off_t)offset);

	if (count < 0)
		return -errno;
	if (count != (ssize_t)size)
		return -EIO;
	for (uint32_t at = 0; at < size; at += PASS_BLOCK_BYTES) {
		if (!block_holds(buffer + at, (uint32_t)((offset + at) / PASS_BLOCK_BYTES), pass->generation))
			return -EBADMSG;
	}
	return 0;
}

/* @noise: of the call's size and NOISE_BYTES. What is written begins at a place of
 * its own in it, so that no page is written as it was. */
static int call_write(struct pass *pass, uint8_t *noise, uint64_t offset)
{
	uint32_t size = pass->access->call_bytes;
	uint8_t *buffer = noise + dice_below(&pass->dice, NOISE_BYTES / 64) * 64;
	ssize_t count;

	for (uint32_t at = 0; at < size; at += PASS_BLOCK_BYTES)
		block_stamp(buffer + at, (uint32_t)((offset + at) / PASS_BLOCK_BYTES), pass->generation);
	count = pwrite(pass->fd, buffer, size, (off_t)offset);
	return count == (ssize_t)size ? 0 : count < 0 ? -errno : -EIO;
}

static void *pass_run(void *context)
{
	struct pass *pass = context;
	const struct access *access = pass->access;
	uint64_t *buffer = aligned_alloc(4096, access->call_bytes + NOISE_BYTES);

	if (!buffer) {
		pass->err = -ENOMEM;
		return NULL;
	}
	/* Also for a read: the pages must be there before the clock matters. */
	for (uint32_t i = 0; i < (access->call_bytes + NOISE_BYTES) / sizeof(*buffer); i++)
		buffer[i] = dice_next(&pass->dice);
	for (uint32_t i = pass->first; i < pass->limit && !pass->err; i++) {
		uint64_t call = access->random ? access->file->order[i] : i;
		uint64_t offset = call * access->call_bytes;

		pass->err = access->write ? call_write(pass, (uint8_t *)buffer, offset)
					  : call_read(pass, (uint8_t *)buffer, offset);
	}
	free(buffer);
	return NULL;
}

/* The first thread is the caller's own, so that one thread means one. */
static int passes_run(const struct access *access, int fd, uint32_t generation)
{
	uint32_t calls = (uint32_t)(access->file->size_bytes / access->call_bytes);
	struct pass passes[PASS_THREADS_MAX];
	pthread_t threads[PASS_THREADS_MAX];
	unsigned started = 1;
	int err;

	assert(access->threads >= 1 && access->threads <= PASS_THREADS_MAX);
	for (unsigned i = 0; i < access->threads; i++)
		passes[i] = (struct pass){
			.access = access,
			.fd = fd,
			.generation = generation,
			.first = (uint32_t)((uint64_t)calls * i / access->threads),
			.limit = (uint32_t)((uint64_t)calls * (i + 1) / access->threads),
			.dice = { (uint64_t)generation << 8 | i },
		};
	err = 0;
	while (!err && started < access->threads) {
		err = -pthread_create(&threads[started], NULL, pass_run, &passes[started]);
		started += !err;
	}
	if (!err)
		pass_run(&passes[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < started && !err; i++)
		err = passes[i].err;
	return err;
}

static int access_open_time(const struct access *access, int fd, uint32_t generation,
			    uint64_t *elapsed_ns_out)
{
	uint64_t start;
	int err = cache_drop(access, fd);

	if (err)
		return err;
	/* For the kernel's pages of the file, and of whatever it is kept in. */
	machine_memory_warm(WARM_FILES * access->file->size_bytes);
	start = clock_ns();
	err = passes_run(access, fd, generation);
	*elapsed_ns_out = clock_ns() - start;
	if (err == -EBADMSG)
		return bench_fail(access->file->bench, err, "%s: holds other bytes than were written",
				  access->file->path);
	return err;
}

int access_time(const struct access *access, uint64_t *elapsed_ns_out)
{
	struct pass_file *file = access->file;
	int fd = open(file->path, (access->write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	int err;

	*elapsed_ns_out = 0;
	assert(!access->random || access->call_bytes == PASS_BLOCK_BYTES);
	if (fd < 0)
		return -errno;
	err = -posix_fadvise(fd, 0, 0, access->random ? POSIX_FADV_RANDOM : POSIX_FADV_NORMAL);
	if (!err)
		err = access_open_time(access, fd, file->generation + access->write, elapsed_ns_out);
	if (!err && access->write) {
		file->generation++;
		/* Not timed, as there is no disk under the null filesystem; done,
		 * so that no sample pays for the write-out of the one before. */
		err = fsync(fd) < 0 ? -errno : 0;
	}
	close(fd);
	return err;
}

static uint64_t call_count(const struct access *access)
{
	return access->file->size_bytes / access->call_bytes;
}

int access_rate_sample(void *context, double *figure_out)
{
	const struct access *access = context;
	uint64_t elapsed_ns;
	int err = access_time(access, &elapsed_ns);

	if (err)
		return err;
	if (access->random)
		*figure_out = (double)call_count(access) * 1e6 / (double)elapsed_ns;
	else
		*figure_out = (double)access->file->size_bytes * 1e3 / (double)elapsed_ns;
	return 0;
}

int access_call_sample(void *context, double *figure_out)
{
	const struct access *access = context;
	uint64_t elapsed_ns;
	int err = access_time(access, &elapsed_ns);

	*figure_out = (double)elapsed_ns / 1e3 / (double)call_count(access);
	return err;
}

/*
 * The file
 */

int pass_file_fill(struct pass_file *file)
{
	struct access access = { file, true, false, FILL_CALL_BYTES, 1 };
	int fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	int err;

	if (fd < 0)
		return bench_fail(file->bench, -errno, "%s", file->path);
	file->generation++;
	err = passes_run(&access, fd, file->generation);
	if (!err && fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err ? bench_fail(file->bench, err, "filling %s", file->path) : 0;
}

uint32_t *pass_order_new(uint64_t size_bytes)
{
	uint32_t count = (uint32_t)(size_bytes / PASS_BLOCK_BYTES);
	uint32_t *order = calloc(count, sizeof(*order));
	struct dice dice = { 1 };

	for (uint32_t i = 0; order && i < count; i++)
		order[i] = i;
	if (order)
		dice_shuffle(&dice, order, count);
	return order;
}
