/*
 * Append: 8 KiB images into the open layer, against memcpy of the same images
 * into the same kind of mapping: a file reserved with fallocate and mapped
 * shared, fresh in every round, on the same filesystem.
 *
 * memcpy is what can't be avoided; the rest is checksum, framing and index.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checksum.h"
#include "clock.h"
#include "layer_fixture.h"

#define SOURCE_PAGES 64u        /* what is written lies in the second-level cache, as a writer's page does */
#define TARGET 1.5
#define LIMIT_NAME "limit.mapped"

struct append {
	struct bench *bench;
	struct layer_fixture fixture;
	uint32_t page_count;
	uint64_t file_bytes;            /* of varve's layer; the rivals' are as large */
	uint8_t *source;
};

static const uint8_t *source_page(const struct append *append, uint32_t number)
{
	return append->source + (size_t)(number % SOURCE_PAGES) * FIXTURE_PAGE_BYTES;
}

static double ns_per_page(const struct append *append, uint64_t start_ns)
{
	return (double)(clock_ns() - start_ns) / append->page_count;
}

static int varve_sample(void *context, double *figure_out)
{
	struct append *append = context;
	struct lsn lsn;
	uint64_t start;
	int err = layer_fixture_renew(&append->fixture, append->file_bytes);

	start = clock_ns();
	for (uint32_t i = 0; i < append->page_count && !err; i++)
		err = layer_fixture_append(&append->fixture, i, source_page(append, i),
					   FIXTURE_PAGE_BYTES, &lsn);
	*figure_out = ns_per_page(append, start);
	return err;
}

/* A file as the arena makes its own. */
static int limit_file(const struct append *append)
{
	int fd = openat(append->fixture.dir_fd, LIMIT_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
			0600);
	int err;

	if (fd < 0)
		return -errno;
	unlinkat(append->fixture.dir_fd, LIMIT_NAME, 0);
	err = posix_fallocate(fd, 0, (off_t)append->file_bytes);
	if (!err)
		err = fsync(fd) < 0 ? errno : 0;
	if (err) {
		close(fd);
		return -err;
	}
	return fd;
}

/* @summed: also checksum each page in place, as varve must. */
static int copy_sample(struct append *append, bool summed, double *figure_out)
{
	int fd = limit_file(append);
	uint64_t start, sum = 0;
	uint8_t *mapping;

	if (fd < 0)
		return fd;
	mapping = mmap(NULL, append->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED) {
		int err = -errno;

		close(fd);
		return err;
	}
	start = clock_ns();
	for (uint32_t i = 0; i < append->page_count; i++) {
		uint8_t *page = mapping + (size_t)i * FIXTURE_PAGE_BYTES;

		memcpy(page, source_page(append, i), FIXTURE_PAGE_BYTES);
		if (summed)
			sum ^= checksum(page, FIXTURE_PAGE_BYTES, i);
	}
	*figure_out = ns_per_page(append, start);
	/* So that the compiler must make the sums. */
	if (sum == 1)
		bench_say(append->bench, "a rare sum");
	munmap(mapping, append->file_bytes);
	close(fd);
	return 0;
}

static int memcpy_sample(void *context, double *figure_out)
{
	return copy_sample(context, false, figure_out);
}

static int memcpy_checksum_sample(void *context, double *figure_out)
{
	return copy_sample(context, true, figure_out);
}

static int pwrite_sample(void *context, double *figure_out)
{
	struct append *append = context;
	int fd = limit_file(append);
	uint64_t start;
	int err = 0;

	if (fd < 0)
		return fd;
	start = clock_ns();
	for (uint32_t i = 0; i < append->page_count && !err; i++) {
		ssize_t count = pwrite(fd, source_page(append, i), FIXTURE_PAGE_BYTES,
				       (off_t)i * FIXTURE_PAGE_BYTES);

		if (count != FIXTURE_PAGE_BYTES)
			err = count < 0 ? -errno : -EIO;
	}
	*figure_out = ns_per_page(append, start);
	close(fd);
	return err;
}

static int append_measure(struct append *append)
{
	const struct contender contenders[] = {
		{ "varve: open layer", varve_sample, append, false },
		{ "memcpy into a mapped file", memcpy_sample, append, false },
		{ "memcpy and XXH3 of the copy", memcpy_checksum_sample, append, true },
		{ "pwrite of each page", pwrite_sample, append, true },
	};
	const struct claim claim = {
		.what = "append of an 8 KiB image",
		.unit = "ns",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = TARGET,
	};

	return claim_measure(append->bench, &claim);
}

static int append_run(struct bench *bench)
{
	struct append append = {
		.bench = bench,
		.page_count = (uint32_t)bench_size(bench, 32768, 4096),
	};
	struct dice dice = { 1 };
	int err;

	append.file_bytes = layer_fixture_size(append.page_count, FIXTURE_PAGE_BYTES);
	append.source = malloc(SOURCE_PAGES * FIXTURE_PAGE_BYTES);
	if (!append.source)
		return bench_fail(bench, -ENOMEM, "the pages to write");
	for (size_t i = 0; i < SOURCE_PAGES * FIXTURE_PAGE_BYTES; i++)
		append.source[i] = (uint8_t)dice_next(&dice);
	bench_say(bench, "%u images a round into a fresh file of %llu MiB; no sync", append.page_count,
		  (unsigned long long)(append.file_bytes >> 20));
	err = layer_fixture_init(&append.fixture, bench_dir(bench));
	if (err)
		bench_fail(bench, err, "%s", bench_dir(bench));
	else
		err = append_measure(&append);
	layer_fixture_destroy(&append.fixture);
	free(append.source);
	return err;
}

const struct bench_subject append_subject = {
	.name = "append",
	.doc = "8 KiB images into the open layer, against memcpy into a mapped file",
	.run = append_run,
};
