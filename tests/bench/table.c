/*
 * Table: table layers of what a store makes, with each compression: how fast they are written and
 * walked, what they take, how fast a version is found in them, and whether the cache that holds
 * their blocks keeps its budget.
 *
 * The history is made in memory in (key, LSN) order, as a merge hands it over. Files are read from
 * the page cache; what is measured is the processor's part, by the thread's own clock.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "guard.h"
#include "table_layer.h"
#include "table_writer.h"

#define PAGE_BYTES 8192u
#define PATCH_BYTES 96u
#define COMPRESSION_COUNT 3u
#define CACHE_BYTES (UINT64_C(1) << 30)         /* holds a whole layer */
#define CHURN_TIMES 30u
#define LOOKUP_LIMIT_NS 500
#define MERGE_LIMIT_MBS 200

static const enum compression compressions[COMPRESSION_COUNT] = {
	COMPRESSION_LZ4, COMPRESSION_ZSTD, COMPRESSION_NONE,
};
static const char *const compression_names[COMPRESSION_COUNT] = { "lz4", "zstd", "none" };

/* A history, in (key, LSN) order. */
struct history {
	struct history_version {
		struct key key;
		struct lsn lsn;
		uint64_t position;
		uint64_t payload_at;
		uint32_t size_bytes;
		uint8_t form, weight;
	} *versions;
	uint64_t version_count;
	uint8_t *payloads;
	uint64_t payload_bytes;
	struct lsn end;
};

struct table_bench {
	struct bench *bench;
	int dir_fd;
	struct store_identity store;
	struct history history;
	struct dice dice;
	/* a layer of the history for each compression, as far as they are made */
	struct block_cache *cache;
	struct layer_files *files;
	struct layer *layers[COMPRESSION_COUNT];
	struct table_summary summaries[COMPRESSION_COUNT];
	uint64_t next_layer_id;
};

/* One contender: the history with one compression. */
struct side {
	struct table_bench *table;
	unsigned index;
};

/* Processor time of this thread: with other work on the machine it is what is left to compare. */
static uint64_t processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fill_random(struct dice *dice, uint8_t *bytes, size_t size_bytes)
{
	for (size_t i = 0; i < size_bytes; i++)
		bytes[i] = (uint8_t)dice_next(dice);
}

/* Words of 2 to 9 letters from 4096, the first of which are far more frequent. */
static void fill_text(struct dice *dice, uint8_t *bytes, size_t size_bytes)
{
	for (size_t at = 0; at < size_bytes;) {
		uint64_t r = dice_next(dice);
		uint64_t word = (r & 4095) * (r >> 12 & 4095) / 4096 * (r >> 24 & 4095) / 4096;
		uint64_t letters = word * UINT64_C(0x9e3779b97f4a7c15) >> 8;

		for (size_t length = 2 + word % 8; length && at < size_bytes; length--) {
			bytes[at++] = (uint8_t)('a' + letters % 26);
			letters /= 26;
		}
		if (at < size_bytes)
			bytes[at++] = ' ';
	}
}

static int history_make(struct history *history, uint64_t version_count, uint64_t payload_room)
{
	*history = (struct history){
		.versions = calloc(version_count, sizeof(*history->versions)),
		.payloads = malloc(payload_room),
	};
	return history->versions && history->payloads ? 0 : -ENOMEM;
}

static void history_destroy(struct history *history)
{
	free(history->versions);
	free(history->payloads);
	*history = (struct history){ 0 };
}

/* @size_bytes at the end of the payloads are the next version's. */
static struct history_version *history_add(struct history *history, struct key key, uint64_t lsn,
					   uint8_t form, uint8_t weight, uint32_t size_bytes)
{
	struct history_version *version = &history->versions[history->version_count++];

	*version = (struct history_version){ .key = key, .lsn = lsn_make(lsn), .form = form,
					     .weight = weight, .size_bytes = size_bytes,
					     .payload_at = history->payload_bytes };
	history->payload_bytes += size_bytes;
	if (history->end.value < lsn)
		history->end = lsn_make(lsn);
	return version;
}

/* What a database leaves: each update changes @patch_bytes somewhere in a page, half of them words, half
 * random, and the file's two times. */
static int make_patches(struct table_bench *table, uint64_t updates, uint32_t patch_bytes,
			bool times)
{
	const uint64_t step = 177, a_page = 20, pages = updates / a_page;
	struct history *history = &table->history;
	int err = history_make(history, 2 * updates, updates * (patch_bytes + 24));

	/* Attributes come before pages. */
	for (uint64_t i = 0; i < updates && times && !err; i++) {
		uint8_t *at = history->payloads + history->payload_bytes;
		struct history_version *version;

		/* Two ranges: the nanoseconds of mtime and ctime. */
		for (unsigned range = 0; range < 2; range++) {
			*at++ = range ? 8 : 16;
			*at++ = 4 << 1;
			fill_random(&table->dice, at, 4);
			at += 4;
		}
		version = history_add(history, key_make(100, KEY_ATTR, 0), (i + 1) * step,
				      VERSION_PATCH, 1 + i % 60, 12);
		version->position = (i + 1) * step - 12;
	}
	for (uint64_t page = 0; page < pages && !err; page++) {
		for (uint64_t i = 0; i < a_page; i++) {
			uint8_t *at = history->payloads + history->payload_bytes;
			/* A page's updates are spread over the history. */
			uint64_t update = i * pages + (page * 7919 + i * 104729) % pages;

			at[0] = (uint8_t)(dice_next(&table->dice) | 0x80);
			at[1] = (uint8_t)(dice_next(&table->dice) & 0x3f);
			at[2] = (uint8_t)(patch_bytes << 1 | 0x80);
			at[3] = (uint8_t)(patch_bytes << 1 >> 7);
			fill_text(&table->dice, at + 4, patch_bytes / 2);
			fill_random(&table->dice, at + 4 + patch_bytes / 2,
				    patch_bytes - patch_bytes / 2);
			history_add(history, key_make(100, KEY_PAGE, page), (update + 1) * step,
				    VERSION_PATCH, (uint8_t)(1 + i), patch_bytes + 4);
		}
	}
	return err;
}

static int make_pages(struct table_bench *table, uint64_t count, bool text)
{
	struct history *history = &table->history;
	int err = history_make(history, count, count * PAGE_BYTES);

	for (uint64_t page = 0; page < count && !err; page++) {
		(text ? fill_text : fill_random)(&table->dice, history->payloads + page * PAGE_BYTES,
						 PAGE_BYTES);
		history_add(history, key_make(100, KEY_PAGE, page), (page + 1) * 8300, VERSION_IMAGE,
			    0, PAGE_BYTES);
	}
	return err;
}

static int writer_open(struct table_bench *table, int dir_fd, unsigned index,
		       struct table_writer **writer)
{
	const struct table_writer_options options = {
		.kind = TABLE_DELTA, .start = { 0 }, .end = table->history.end,
		.compression = compressions[index],
	};

	return table_writer_open(dir_fd, ++table->next_layer_id, &table->store, &options, writer);
}

/* Write the whole history; to memory alone if @dir_fd is negative. */
static int write_history(struct table_bench *table, int dir_fd, unsigned index,
			 struct table_summary *summary_out)
{
	const struct history *history = &table->history;
	struct table_writer *writer;
	int err = writer_open(table, dir_fd, index, &writer);

	for (uint64_t i = 0; i < history->version_count && !err; i++) {
		const struct history_version *version = &history->versions[i];

		err = table_writer_add(writer, version->key, version->lsn, version->position,
				       version->form, version->weight,
				       history->payloads + version->payload_at, version->size_bytes);
	}
	if (!err)
		err = table_writer_finish(writer, TABLE_ENDS_RUN, summary_out);
	table_writer_free(writer);
	return err;
}

static double rate(const struct table_bench *table, uint64_t start_ns)
{
	return (double)table->history.payload_bytes * 1000 / (double)(processor_ns() - start_ns);
}

static int write_sample(void *context, double *figure_out)
{
	struct side *side = context;
	struct table_summary summary;
	uint64_t start = processor_ns();
	int err = write_history(side->table, -1, side->index, &summary);

	*figure_out = rate(side->table, start);
	return err;
}

static int walk_sample(void *context, double *figure_out)
{
	struct side *side = context;
	struct table_cursor *cursor;
	struct table_entry entry;
	uint64_t start = processor_ns(), count = 0;
	int err = table_cursor_open(side->table->layers[side->index], (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor);

	for (; !err; count++)
		err = table_cursor_next(cursor, &entry);
	table_cursor_close(cursor);
	*figure_out = rate(side->table, start);
	return err < 0 ? err : count - 1 == side->table->history.version_count ? 0 : -EBADMSG;
}

/* A walk into a writer, as a merge does it. */
static int merge_sample(void *context, double *figure_out)
{
	struct side *side = context;
	struct table_cursor *cursor;
	struct table_writer *writer;
	struct table_summary summary;
	struct table_entry entry;
	uint64_t start = processor_ns();
	int err = writer_open(side->table, -1, side->index, &writer);

	if (err)
		return err;
	err = table_cursor_open(side->table->layers[side->index], (struct key){ 0, 0 }, CURSOR_WINDOW_BYTES, &cursor);
	while (!err) {
		err = table_cursor_next(cursor, &entry);
		if (!err)
			err = table_writer_add(writer, entry.key, entry.lsn, entry.position, entry.form,
					       entry.weight, entry.payload, entry.size_bytes);
	}
	if (err == 1)
		err = table_writer_finish(writer, TABLE_ENDS_RUN, &summary);
	table_cursor_close(cursor);
	table_writer_free(writer);
	*figure_out = rate(side->table, start);
	return err;
}

/* Find and view versions at random. */
static int look_up(struct table_bench *table, unsigned index, uint64_t count, double *ns_out)
{
	const struct history *history = &table->history;
	uint64_t start = processor_ns();
	int err = 0;

	for (uint64_t i = 0; i < count && !err; i++) {
		const struct history_version *right =
			&history->versions[dice_below(&table->dice, history->version_count)];
		struct version version;
		const uint8_t *payload;

		guard_take();
		err = layer_find(table->layers[index], right->key, right->lsn, &version);
		if (!err)
			err = version_view(&version, &payload);
		if (!err && (version.lsn.value != right->lsn.value ||
			     payload[0] != history->payloads[right->payload_at]))
			err = -EBADMSG;
		guard_drop();
	}
	*ns_out = (double)(processor_ns() - start) / (double)count;
	return err;
}

static int hot_sample(void *context, double *figure_out)
{
	struct side *side = context;

	return look_up(side->table, side->index, bench_size(side->table->bench, 500000, 20000),
		       figure_out);
}

static int cold_sample(void *context, double *figure_out)
{
	struct side *side = context;
	int err = look_up(side->table, side->index, bench_size(side->table->bench, 20000, 2000),
			  figure_out);

	*figure_out /= 1000;
	return err;
}

static void layers_drop(struct table_bench *table)
{
	for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
		table_layer_free(table->layers[i]);
		table->layers[i] = NULL;
	}
	layer_files_free(table->files);
	block_cache_free(table->cache);
	table->files = NULL;
	table->cache = NULL;
}

/* Open the layers that were made, with an empty cache. */
static int layers_open(struct table_bench *table, uint64_t cache_bytes)
{
	int err;

	layers_drop(table);
	err = block_cache_create(cache_bytes, &table->cache);
	if (!err)
		err = layer_files_create(table->dir_fd, COMPRESSION_COUNT, &table->files);
	for (unsigned i = 0; i < COMPRESSION_COUNT && !err; i++)
		err = table_layer_new(&table->summaries[i], &table->store, table->cache, table->files,
				      &table->layers[i]);
	return err;
}

static int layers_make(struct table_bench *table)
{
	int err = 0;

	for (unsigned i = 0; i < COMPRESSION_COUNT && !err; i++)
		err = write_history(table, table->dir_fd, i, &table->summaries[i]);
	return err ? err : layers_open(table, CACHE_BYTES);
}

static void layers_unlink(struct table_bench *table)
{
	char name[LAYER_NAME_BYTES];

	layers_drop(table);
	for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
		layer_name(table->summaries[i].layer_id, name);
		(void)unlinkat(table->dir_fd, name, 0);
	}
}

static int measure(struct table_bench *table, const char *what, const char *of, const char *unit,
		   enum better better, sample_fn *sample, double limit)
{
	struct side sides[COMPRESSION_COUNT];
	struct contender contenders[COMPRESSION_COUNT];
	char text[128];

	snprintf(text, sizeof(text), "%s, %s", what, of);
	for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
		sides[i] = (struct side){ table, i };
		contenders[i] = (struct contender){ compression_names[i], sample, &sides[i], i > 0 };
	}
	return claim_measure(table->bench, &(struct claim){
		.what = text, .unit = unit, .better = better, .contenders = contenders,
		.contender_count = COMPRESSION_COUNT, .value_limit = limit,
	});
}

static void tell_sizes(struct table_bench *table, const char *of)
{
	for (unsigned i = 0; i < COMPRESSION_COUNT; i++) {
		char text[128];

		snprintf(text, sizeof(text), "file of %s, %s, of %" PRIu64 " versions with %" PRIu64 " bytes", of,
			 compression_names[i], table->history.version_count, table->history.payload_bytes);
		bench_fact(table->bench, text, (double)table->summaries[i].file_bytes /
						       (double)table->history.payload_bytes,
			   "bytes a byte", FACT_NOTE, 0);
	}
}

/* All that is measured of one history. */
static int measure_history(struct table_bench *table, const char *of, bool merge)
{
	int err = layers_make(table);

	if (!err)
		tell_sizes(table, of);
	if (!err)
		err = measure(table, "write", of, "MB/s", HIGHER_IS_BETTER, write_sample, 0);
	if (!err)
		err = measure(table, "walk", of, "MB/s", HIGHER_IS_BETTER, walk_sample, 0);
	if (!err && merge)
		err = measure(table, "walk and write", of, "MB/s", HIGHER_IS_BETTER, merge_sample,
			      MERGE_LIMIT_MBS);
	if (!err)
		err = layers_open(table, table->history.payload_bytes / 8);
	if (!err)
		err = measure(table, "find and view, 7 of 8 blocks to be read", of, "us", LOWER_IS_BETTER,
			      cold_sample, 0);
	return err ? bench_fail(table->bench, err, "table layers of %s", of) : 0;
}

/* Look-ups of a history whose blocks are all in the cache: of one that fits the processor's cache, and of one
 * that does not, where the memory is what takes its time. */
static int measure_lookups(struct table_bench *table)
{
	int err = make_patches(table, 20000, PATCH_BYTES, true);

	if (!err)
		err = layers_make(table);
	if (!err)
		err = measure(table, "find and view, block in the cache", "3 MB", "ns", LOWER_IS_BETTER,
			      hot_sample, LOOKUP_LIMIT_NS);
	layers_unlink(table);
	history_destroy(&table->history);
	if (err || bench_is_quick(table->bench))
		return err;
	err = make_patches(table, 500000, PATCH_BYTES, true);
	if (!err)
		err = layers_make(table);
	if (!err)
		err = measure(table, "find and view, block in the cache", "75 MB at random", "ns",
			      LOWER_IS_BETTER, hot_sample, 0);
	layers_unlink(table);
	history_destroy(&table->history);
	return err;
}

static uint64_t resident_bytes(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			break;
	if (status)
		fclose(status);
	return kib * 1024;
}

/* Blocks worth many budgets through one cache, of the layer that is there, which is more than twice as large. */
static int measure_churn(struct table_bench *table)
{
	const uint64_t a_step = 100, budget = table->history.payload_bytes * 2 / 5;
	/* At most 2 of 5 are hits, and a block is four pages. */
	uint64_t count = CHURN_TIMES * budget / (4 * PAGE_BYTES) * 5 / 3, before, most = 0;
	double unused;
	char text[128];
	int err = layers_open(table, budget);

	guard_barrier();
	before = resident_bytes();
	for (uint64_t i = 0; i < count && !err; i += a_step) {
		uint64_t now;

		err = look_up(table, 0, a_step, &unused);
		now = resident_bytes();
		if (now > before + most)
			most = now - before;
	}
	if (err)
		return bench_fail(table->bench, err, "churn");
	snprintf(text, sizeof(text), "memory over a budget of %" PRIu64 " MiB while %u budgets go through, at most",
		 budget >> 20, CHURN_TIMES);
	/* What waits for the guards does not shrink with the budget. */
	bench_fact(table->bench, text, 100 * (double)most / (double)budget - 100, "%",
		   bench_is_quick(table->bench) ? FACT_NOTE : FACT_AT_MOST, 15);
	return 0;
}

static int table_measure(struct table_bench *table)
{
	uint64_t updates = bench_size(table->bench, 200000, 20000);
	uint64_t pages = bench_size(table->bench, 20000, 1000);
	int err;

	bench_say(table->bench, "rates are of payload bytes and the processor time of one thread; MB is a million");
	err = measure_lookups(table);
	if (err)
		return bench_fail(table->bench, err, "look-ups");
	err = make_patches(table, updates, PATCH_BYTES, true);
	if (!err)
		err = measure_history(table, "96-byte patches and times", false);
	layers_unlink(table);
	history_destroy(&table->history);
	if (!err)
		err = make_patches(table, updates, 146, false);
	if (!err)
		err = measure_history(table, "150-byte patches", true);
	layers_unlink(table);
	history_destroy(&table->history);
	if (!err)
		err = make_pages(table, pages, true);
	if (!err)
		err = measure_history(table, "8 KiB pages of text", true);
	if (!err)
		err = measure_churn(table);
	layers_unlink(table);
	history_destroy(&table->history);
	if (!err)
		err = make_pages(table, pages, false);
	if (!err)
		err = measure_history(table, "8 KiB pages of random bytes", false);
	layers_unlink(table);
	history_destroy(&table->history);
	return err;
}

static int table_run(struct bench *bench)
{
	struct table_bench table = {
		.bench = bench,
		.store = { .seed = 1, .page_size_bytes = PAGE_BYTES },
		.dice = { 42 },
	};
	int err;

	table.dir_fd = open(bench_dir(bench), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (table.dir_fd < 0)
		return bench_fail(bench, -errno, "%s", bench_dir(bench));
	err = table_measure(&table);
	close(table.dir_fd);
	return err;
}

const struct bench_subject table_subject = {
	.name = "table",
	.doc = "table layers by compression: write, walk, find, size; the block cache's memory",
	.run = table_run,
};
