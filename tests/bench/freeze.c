/*
 * Freeze: a full open layer is sealed where it lies. What is claimed is that no
 * payload is copied, and what the rest costs a version, besides the sync.
 *
 * That nothing is copied is shown with the log's pages taken away: while the
 * layer is sealed they can be neither read nor written, and every page that is
 * touched all the same is counted. What is timed is a second layer, with its
 * pages left alone.
 */
#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "clock.h"
#include "layer_fixture.h"
#include "sync_timer.h"

#define VERSION_COUNT 200000u
#define PAGE_COUNT 16384u
#define PAYLOAD_BYTES 96u
#define MEMORY_PAGE_BYTES 4096u
#define TARGET_NS 60

struct freeze {
	struct bench *bench;
	struct layer_fixture fixture;
	bool distinct;                  /* every version of a page of its own */
};

static int layer_fill(struct freeze *freeze)
{
	static const uint8_t payload[PAYLOAD_BYTES];
	struct dice dice = { 1 };
	struct lsn lsn;
	int err = layer_fixture_renew(&freeze->fixture, layer_fixture_size(VERSION_COUNT, PAYLOAD_BYTES));

	for (uint32_t i = 0; i < VERSION_COUNT && !err; i++) {
		/* Each page once and in no order: the factor has no divisor in common
		 * with the count. */
		uint64_t page = freeze->distinct ? (uint64_t)i * 123457 % VERSION_COUNT
						 : dice_below(&dice, PAGE_COUNT);

		err = layer_fixture_append(&freeze->fixture, page, payload, sizeof(payload), &lsn);
	}
	/* What is dirty in the log would be the sync's to write, not the freeze's. */
	return err ? err : open_layer_flush(freeze->fixture.layer);
}

static int freeze_sample(void *context, double *figure_out)
{
	struct freeze *freeze = context;
	struct sync_timer before, after;
	struct layer_footer footer;
	uint64_t start, elapsed;
	int err = layer_fill(freeze);

	if (err)
		return err;
	before = sync_timer_get();
	start = clock_ns();
	err = open_layer_seal(freeze->fixture.layer, &footer);
	elapsed = clock_ns() - start;
	after = sync_timer_get();
	if (!err && (after.count == before.count || footer.version_count != VERSION_COUNT))
		return bench_fail(freeze->bench, -EIO, "the layer was not sealed and synced");
	*figure_out = (double)(elapsed - (after.ns - before.ns)) / VERSION_COUNT;
	return err;
}

/* What a freeze that copies would copy. */
static int copy_sample(void *context, double *figure_out)
{
	struct freeze *freeze = context;
	struct open_layer *layer;
	uint64_t start, size_bytes;
	uint8_t *copy;
	int err = layer_fill(freeze);

	if (err)
		return err;
	layer = freeze->fixture.layer;
	size_bytes = atomic_load(&layer->tail);
	start = clock_ns();
	copy = malloc(size_bytes);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, layer->arena.base, size_bytes);
	*figure_out = (double)(clock_ns() - start) / VERSION_COUNT;
	/* Used, so that the copy must be made. */
	err = copy[size_bytes / 2] == layer->arena.base[size_bytes / 2] ? 0 : -EIO;
	free(copy);
	return err;
}

/* The part of the mapping that is taken away. A signal handler has no other
 * way to be told; there is one thread. */
static struct {
	uint8_t *base;
	size_t size_bytes;
	volatile sig_atomic_t touched_pages;
} barred;

static void barred_touched(int number, siginfo_t *info, void *context)
{
	uint8_t *address = info->si_addr;
	size_t offset = (size_t)(address - barred.base);

	(void)context;
	if (address < barred.base || offset >= barred.size_bytes) {
		/* A fault of another kind: let it happen again, and kill us. */
		signal(number, SIG_DFL);
		return;
	}
	barred.touched_pages++;
	mprotect(barred.base + offset / MEMORY_PAGE_BYTES * MEMORY_PAGE_BYTES, MEMORY_PAGE_BYTES,
		 PROT_READ | PROT_WRITE);
}

/* Seal with every whole page of the log barred. */
static int seal_barred(struct open_layer *layer, struct layer_footer *footer_out)
{
	struct sigaction action = { .sa_sigaction = barred_touched, .sa_flags = SA_SIGINFO }, before;
	uint64_t end = atomic_load(&layer->tail) / MEMORY_PAGE_BYTES * MEMORY_PAGE_BYTES;
	int err;

	barred.base = layer->arena.base + LAYER_HEADER_BYTES;
	barred.size_bytes = (size_t)(end - LAYER_HEADER_BYTES);
	barred.touched_pages = 0;
	if (sigaction(SIGSEGV, &action, &before) < 0
	    || mprotect(barred.base, barred.size_bytes, PROT_NONE) < 0)
		return -errno;
	err = open_layer_seal(layer, footer_out);
	mprotect(barred.base, barred.size_bytes, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &before, NULL);
	return err;
}

/* The barrier itself is tried before it is believed. */
static int barrier_test(struct open_layer *layer)
{
	volatile uint8_t *page = layer->arena.base + LAYER_HEADER_BYTES;
	struct sigaction action = { .sa_sigaction = barred_touched, .sa_flags = SA_SIGINFO }, before;
	uint8_t byte;

	barred.base = layer->arena.base + LAYER_HEADER_BYTES;
	barred.size_bytes = MEMORY_PAGE_BYTES;
	barred.touched_pages = 0;
	if (sigaction(SIGSEGV, &action, &before) < 0
	    || mprotect(barred.base, barred.size_bytes, PROT_NONE) < 0)
		return -errno;
	byte = *page;
	(void)byte;
	sigaction(SIGSEGV, &before, NULL);
	return barred.touched_pages == 1 ? 0 : -EIO;
}

static int copies_count(struct freeze *freeze)
{
	struct layer_footer footer;
	struct stat stat_before, stat_after;
	struct open_layer *layer;
	uint64_t log_bytes;
	int err = layer_fill(freeze);

	if (!err)
		err = barrier_test(freeze->fixture.layer);
	if (err)
		return bench_fail(freeze->bench, err, "barring the log");
	layer = freeze->fixture.layer;
	log_bytes = atomic_load(&layer->tail);
	if (fstat(layer->arena.fd, &stat_before) < 0)
		return bench_fail(freeze->bench, -errno, "fstat");
	err = seal_barred(layer, &footer);
	if (!err && fstat(layer->arena.fd, &stat_after) < 0)
		err = -errno;
	if (err)
		return bench_fail(freeze->bench, err, "sealing with the log barred");
	bench_fact(freeze->bench, "bytes of the log read or written by the freeze",
		   (double)barred.touched_pages * MEMORY_PAGE_BYTES, "bytes", FACT_AT_MOST, 0);
	bench_fact(freeze->bench, "index and footer added behind the log",
		   (double)((uint64_t)stat_after.st_size - log_bytes) / VERSION_COUNT,
		   "bytes a version", FACT_NOTE, 0);
	return 0;
}

static int freeze_measure(struct freeze *freeze, const char *what)
{
	const struct contender contenders[] = {
		{ "varve: seal, less the sync", freeze_sample, freeze, false },
		{ "a copy of the log, which is not made", copy_sample, freeze, true },
	};
	const struct claim claim = {
		.what = what,
		.unit = "ns a version",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.value_limit = TARGET_NS,
	};
	int err;

	if (!bench_wants(freeze->bench, what))
		return 0;
	err = claim_measure(freeze->bench, &claim);
	return err ? err : copies_count(freeze);
}

static int freeze_run(struct bench *bench)
{
	struct freeze freeze = { .bench = bench };
	int err = layer_fixture_init(&freeze.fixture, bench_dir(bench));

	bench_say(bench, "%u versions of %u bytes; the log is synced before", VERSION_COUNT,
		  PAYLOAD_BYTES);
	if (err)
		bench_fail(bench, err, "%s", bench_dir(bench));
	else
		err = freeze_measure(&freeze, "freeze, versions of 16,384 pages");
	freeze.distinct = true;
	if (!err)
		err = freeze_measure(&freeze, "freeze, every page but once");
	layer_fixture_destroy(&freeze.fixture);
	return err;
}

const struct bench_subject freeze_subject = {
	.name = "freeze",
	.doc = "sealing a full open layer in place",
	.run = freeze_run,
};
