/*
 * Checksum: what promise 7 of the README costs. varve against itself with its
 * checksums switched off (checksum_switch.h): the same code, in turns.
 *
 * Each side has stores of its own, as neither can read the other's. That they can't is
 * what shows that the switch was where it should be: what a side wrote is read
 * again with checksums on, and must be refused if it was written without.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "checksum.h"
#include "checksum_switch.h"
#include "clock.h"
#include "layer_fixture.h"
#include "passes.h"
#include "serve.h"
#include "server.h"
#include "store_fixture.h"
#include "tree.h"

#define PAGE_BYTES STORE_PAGE_SIZE_DEFAULT
#define SOURCE_PAGES 64u        /* lie in the second-level cache, as a writer's page does */
#define ROUNDS 61u              /* short and many: a twentieth is to be told from noise */
#define APPEND_TARGET 1.05
#define READ_TARGET 1.10

static const char *const side_names[2] = { "varve without checksums", "varve" };

/*
 * Append
 */

struct append {
	struct bench *bench;
	struct layer_fixture *fixture;  /* the two sides', in turns */
	uint32_t page_count;
	uint64_t *source;
	bool summed;
};

static const void *source_page(const struct append *append, uint32_t number)
{
	return (const uint8_t *)append->source + (size_t)(number % SOURCE_PAGES) * PAGE_BYTES;
}

/* Was the fixture's layer written as @append says? */
static int append_verify(struct append *append, struct lsn lsn)
{
	const uint8_t *payload;
	struct version version;
	int err = open_layer_find(append->fixture->layer, key_make(FIXTURE_INO, KEY_PAGE, 0), lsn,
				  &version);

	checksum_switch_set(true);
	if (err)
		return err < 0 ? err : -ENOENT;
	err = version_view(&version, &payload);
	if (append->summed)
		return err;
	if (err == -EBADMSG)
		return 0;
	return bench_fail(append->bench, -EINVAL, "an image was written without checksums and passes with them");
}

/* In nanoseconds an image. */
static int append_sample(void *context, double *figure_out)
{
	struct append *append = context;
	struct lsn lsn;
	uint64_t start;
	int err;

	checksum_switch_set(append->summed);
	err = layer_fixture_renew(append->fixture,
				  layer_fixture_size(append->page_count, PAGE_BYTES));
	start = clock_ns();
	for (uint32_t i = 0; i < append->page_count && !err; i++)
		err = layer_fixture_append(append->fixture, i, source_page(append, i), PAGE_BYTES,
					   &lsn);
	*figure_out = (double)(clock_ns() - start) / append->page_count;
	return err ? err : append_verify(append, lsn);
}

/* The sums of the same images, and nothing else. */
static int sums_sample(void *context, double *figure_out)
{
	struct append *append = context;
	uint64_t start = clock_ns(), sum = 0;

	for (uint32_t i = 0; i < append->page_count; i++)
		sum ^= checksum(source_page(append, i), PAGE_BYTES, i + 1);
	*figure_out = (double)(clock_ns() - start) / append->page_count;
	/* So that the compiler must make the sums. */
	if (sum == 1)
		bench_say(append->bench, "a rare sum");
	return 0;
}

static int append_measure(struct append *with, struct append *without)
{
	const struct contender contenders[] = {
		{ side_names[true], append_sample, with, false },
		{ side_names[false], append_sample, without, false },
		{ "XXH3 of the images alone", sums_sample, with, true },
	};
	const struct claim claim = {
		.what = "append of an 8 KiB image, checksums",
		.unit = "ns",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = APPEND_TARGET,
		.rounds = (unsigned)bench_size(with->bench, ROUNDS, 3),
	};

	return claim_measure(with->bench, &claim);
}

static int append_run(struct bench *bench)
{
	struct layer_fixture fixture;
	struct append with = {
		.bench = bench,
		.fixture = &fixture,
		.page_count = (uint32_t)bench_size(bench, 16384, 4096),
		.source = malloc(SOURCE_PAGES * PAGE_BYTES),
		.summed = true,
	};
	struct append without = with;
	struct dice dice = { 1 };
	int err;

	without.summed = false;
	if (!with.source)
		return bench_fail(bench, -ENOMEM, "the pages to write");
	for (size_t i = 0; i < SOURCE_PAGES * PAGE_BYTES / sizeof(*with.source); i++)
		with.source[i] = dice_next(&dice);
	err = layer_fixture_init(&fixture, bench_dir(bench));
	if (err)
		bench_fail(bench, err, "%s", bench_dir(bench));
	else
		err = append_measure(&with, &without);
	layer_fixture_destroy(&fixture);
	checksum_switch_set(true);
	free(with.source);
	return err;
}

/*
 * Hot reads, through the mount
 */

struct mounted {
	struct bench *bench;
	struct server server;
	struct pass_file file;
	char store[PATH_MAX];
	bool summed;
};

static void serve_mounted(void *context)
{
	(void)context;
}

/* In the child, so that the bench's own switch stays on. */
static int mounted_serve(const char *mountpoint, void *context)
{
	const struct mounted *side = context;
	const struct store_mkfs_options mkfs_options = { 0 };
	const struct serve_options options = {
		.store_path = side->store,
		.mountpoint = mountpoint,
		.fuse_options = "",
		.allow_other = geteuid() == 0,
		.foreground = true,
		.mounted = serve_mounted,
		.view.at = LSN_HEAD,
	};
	struct report report = { "" };
	int err;

	checksum_switch_set(side->summed);
	err = store_mkfs(side->store, &mkfs_options, &report);
	if (!err)
		err = serve(&options, &report);
	if (err)
		fprintf(stderr, "varve-bench: %s\n", report.text);
	return err;
}

static int mounted_start(struct mounted *side, uint64_t file_bytes, const uint32_t *order)
{
	const char *folder = side->summed ? "with" : "without";
	int err = server_init(&side->server, side->bench, folder);

	if (err)
		return err;
	side->file = (struct pass_file){
		.bench = side->bench,
		.size_bytes = file_bytes,
		.order = order,
	};
	snprintf(side->store, sizeof(side->store), "%.4000s/%s.store", bench_dir(side->bench), folder);
	snprintf(side->file.path, sizeof(side->file.path), "%.4000s/head/rel/data",
		 side->server.mountpoint);
	err = server_start(&side->server, mounted_serve, side);
	return err ? err : pass_file_fill(&side->file);
}

/* Unmount, and see whether the store was written as @side says. */
static int mounted_end(struct mounted *side)
{
	const struct store_options options = { .holder = "varve-bench" };
	struct report report = { "" };
	struct store *store;
	int err;

	if (!side->server.pid)
		return 0;
	err = server_end(&side->server);
	if (err)
		return err;
	err = store_open(side->store, &options, &report, &store);
	store_close(store);
	if (side->summed)
		return err ? bench_fail(side->bench, err, "%s", report.text) : 0;
	if (err == -EUCLEAN || err == -EBADMSG)
		return 0;
	return bench_fail(side->bench, -EINVAL, "%s was written without checksums and is opened with them",
			  side->store);
}

static int reads_measure(struct mounted *sides, const char *what, bool random, uint32_t call_bytes)
{
	struct access with = { &sides[true].file, false, random, call_bytes, 1 };
	struct access without = { &sides[false].file, false, random, call_bytes, 1 };
	const struct contender contenders[] = {
		{ side_names[true], access_call_sample, &with, false },
		{ side_names[false], access_call_sample, &without, false },
	};
	const struct claim claim = {
		.what = what,
		.unit = "us a call",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = 2,
		.ratio_limit = READ_TARGET,
		.rounds = (unsigned)bench_size(sides[0].bench, ROUNDS, 3),
	};

	return claim_measure(sides[0].bench, &claim);
}

static int mounted_measure(struct mounted *sides)
{
	unsigned readahead_kib;
	int err = server_make_alike(&sides[false].server, &sides[true].server, &readahead_kib);

	if (!err)
		err = reads_measure(sides, "hot random 8 KiB read, 1 thread, checksums", true,
				    PASS_BLOCK_BYTES);
	if (!err)
		err = reads_measure(sides, "hot sequential read, 128 KiB calls, checksums", false,
				    128u << 10);
	return err;
}

static int mounted_run(struct bench *bench, uint64_t file_bytes)
{
	struct mounted sides[2] = {
		{ .bench = bench, .summed = false },
		{ .bench = bench, .summed = true },
	};
	uint32_t *order = pass_order_new(file_bytes);
	int err = order ? 0 : bench_fail(bench, -ENOMEM, "the order of blocks");

	for (unsigned i = 0; i < 2 && !err; i++)
		err = mounted_start(&sides[i], file_bytes, order);
	if (!err)
		err = mounted_measure(sides);
	for (unsigned i = 0; i < 2; i++) {
		int end_err = mounted_end(&sides[i]);

		err = err ? err : end_err;
	}
	free(order);
	return err;
}

/*
 * tree_read, without a mount
 */

struct core_side {
	struct bench *bench;
	struct store_fixture store;
	const uint32_t *order;
	uint32_t page_count;
	bool summed;
};

/* Every page begins with its offset (store_fixture_fill). */
static int pages_read(const struct core_side *side)
{
	uint64_t page[PAGE_BYTES / sizeof(uint64_t)];
	int err = 0;

	for (uint32_t i = 0; i < side->page_count && !err; i++) {
		uint64_t offset = (uint64_t)side->order[i] * PAGE_BYTES;
		size_t count;

		err = tree_read(side->store.store, side->store.ino, LSN_HEAD, offset, page,
				sizeof(page), &count);
		if (!err && (count != sizeof(page) || page[0] != offset))
			err = bench_fail(side->bench, -EBADMSG, "a page holds other bytes than were written");
	}
	return err;
}

/* In nanoseconds a page. */
static int core_sample(void *context, double *figure_out)
{
	struct core_side *side = context;
	uint64_t start;
	int err, close_err;

	checksum_switch_set(side->summed);
	err = store_fixture_open(&side->store, side->bench, 0);
	if (!err)
		err = pages_read(side);         /* maps the layers, fills the cache of blocks */
	start = clock_ns();
	if (!err)
		err = pages_read(side);
	*figure_out = (double)(clock_ns() - start) / side->page_count;
	close_err = store_fixture_close(&side->store);
	checksum_switch_set(true);
	return err ? err : close_err;
}

static int core_make(struct core_side *side)
{
	const char *name = side->summed ? "with.core" : "without.core";
	int err, close_err;

	checksum_switch_set(side->summed);
	err = store_fixture_make(&side->store, side->bench, name);
	if (!err)
		err = store_fixture_open(&side->store, side->bench, 0);
	if (!err)
		err = store_fixture_fill(&side->store, side->bench,
					 (uint64_t)side->page_count * PAGE_BYTES, PAGE_BYTES);
	close_err = store_fixture_close(&side->store);
	checksum_switch_set(true);
	return err ? err : close_err;
}

static int core_measure(struct core_side *with, struct core_side *without)
{
	const struct contender contenders[] = {
		{ side_names[true], core_sample, with, false },
		{ side_names[false], core_sample, without, false },
	};
	const struct claim claim = {
		.what = "tree_read of an 8 KiB page, no mount, checksums",
		.unit = "ns",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = 2,
	};

	return claim_measure(with->bench, &claim);
}

static int core_run(struct bench *bench, uint64_t file_bytes)
{
	uint32_t *order = pass_order_new(file_bytes);
	struct core_side with = {
		.bench = bench,
		.order = order,
		.page_count = (uint32_t)(file_bytes / PAGE_BYTES),
		.summed = true,
	};
	struct core_side without = with;
	int err = order ? 0 : bench_fail(bench, -ENOMEM, "the order of pages");

	without.summed = false;
	if (!err)
		err = core_make(&with);
	if (!err)
		err = core_make(&without);
	if (!err)
		err = core_measure(&with, &without);
	free(order);
	return err;
}

static int checksum_run(struct bench *bench)
{
	uint64_t file_bytes = bench_size(bench, 128u << 20, 32u << 20);
	int err;

	bench_say(bench, "a file of %llu MiB, its layers in the page cache, once over it a sample; through the mount its pages dropped from the mount's page cache before each",
		  (unsigned long long)(file_bytes >> 20));
	err = append_run(bench);
	if (!err)
		err = mounted_run(bench, file_bytes);
	if (!err)
		err = core_run(bench, file_bytes);
	return err;
}

const struct bench_subject checksum_subject = {
	.name = "checksum",
	.doc = "append and hot reads, against the same with checksums off",
	.run = checksum_run,
};
