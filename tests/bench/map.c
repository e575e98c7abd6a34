/*
 * Map: where a (key, LSN) is among 26,000 and a million layers, in runs as compaction leaves them: 16 of level 0,
 * 8 of each level above, each with eight times the layers of one a level below, the rest one run below
 * all. What it costs to publish one layer more, and to read a manifest of 100,000 and make the map of it.
 *
 * Nothing here waits for a disk, so the time is that of the processor, as this thread had it. Beside varve: a plain search by halves through one sorted array of the same first versions; it knows no runs and
 * can't be changed under its readers.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "layer_map.h"
#include "manifest.h"

#define FEW 26000u
#define MANY 1000000u
#define MANIFEST_LAYERS 100000u
#define LEVEL_0_RUNS 16u
#define LEVEL_RUNS 8u
#define LEVEL_1_LAYERS 32u
#define INO_END (UINT64_C(1) << 40)
#define RUN_LSNS 1000u                  /* LSNs a layer of a run of level 0 spans */
#define FIND_FEW_NS 250
#define FIND_MANY_NS 1000
#define PUBLISH_US 50
#define PUBLISH_COUNT 200u

/* Of this thread: others that take the processor meanwhile don't count. */
static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct question {
	struct key key;
	struct lsn lsn;
};

struct map_bench {
	struct bench *bench;
	struct layer_maps maps;
	struct layer *layers;           /* dummies: the map looks at their addresses alone */
	uint32_t layer_count;
	struct key *firsts;             /* of the largest run's layers, for the rival */
	uint32_t first_count;
	struct question *questions;
	uint32_t question_count;
	uint64_t found;                 /* so that no compiler drops a search */
	const struct layer_run *largest;
	uint64_t visited;
};

/* ---- making ---- */

/* Table @number of @count in a run: its share of all inodes. */
static struct table_summary table_make(const struct manifest_run *run, uint64_t id, uint32_t number, uint32_t count)
{
	uint64_t share = INO_END / count;

	return (struct table_summary){
		.layer_id = id, .run_id = run->run_id, .kind = TABLE_DELTA, .level = run->level, .number = number,
		.start = run->start, .end = run->end,
		.first_key = key_make(16 + number * share, KEY_ATTR, 0),
		.last_key = key_make(16 + (number + 1) * share - 1, KEY_PAGE, KEY_INDEX_MAX),
		.first_lsn = run->end, .last_lsn = run->end,
		.file_bytes = 32 << 20, .key_count = 4096, .version_count = 4096,
	};
}

/* Layers of the runs, newest first; returns how many runs. */
static uint32_t runs_plan(uint32_t layer_count, uint32_t counts[64], uint32_t levels[64])
{
	uint32_t runs = 0, left = layer_count, size = LEVEL_1_LAYERS;

	for (; runs < LEVEL_0_RUNS; left--) {
		levels[runs] = 0;
		counts[runs++] = 1;
	}
	for (uint32_t level = 1; left; level++, size *= LEVEL_RUNS) {
		for (uint32_t i = 0; i < LEVEL_RUNS && left; i++) {
			uint32_t here = left > size ? size : left;

			levels[runs] = level;
			counts[runs++] = here;
			left -= here;
		}
	}
	return runs;
}

/* A manifest in memory alone; the oldest run first. */
static int manifest_fill(struct manifest *manifest, uint32_t layer_count)
{
	uint32_t counts[64], levels[64], runs = runs_plan(layer_count, counts, levels);
	struct table_summary *tables = calloc(layer_count, sizeof(*tables));
	uint64_t id = 1;
	struct lsn end = { 0 };
	int err = tables ? 0 : -ENOMEM;

	for (uint32_t i = runs; i-- > 0 && !err;) {
		struct manifest_run run = { .level = levels[i], .start = end, .layers = tables };

		end.value += RUN_LSNS * (uint64_t)counts[i];
		run.end = end;
		run.run_id = id++;
		run.layer_count = run.level ? counts[i] : 0;
		for (uint32_t j = 0; j < run.layer_count; j++)
			tables[j] = table_make(&run, id++, j, counts[i]);
		err = manifest_add_run(manifest, &run);
	}
	free(tables);
	return err;
}

static int map_build(struct map_bench *map, const struct manifest *manifest)
{
	struct layer **pointers = calloc(manifest_layer_count(manifest) + 1, sizeof(*pointers));
	struct layer_map_edit edit;
	uint64_t used = 0;
	int err = pointers ? layer_map_edit_begin(&map->maps, &edit) : -ENOMEM;

	for (uint32_t i = 0; i < manifest->run_count && !err; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		uint32_t count = run->level ? run->layer_count : 1;

		for (uint32_t j = 0; j < count; j++)
			pointers[j] = &map->layers[used + j];
		used += count;
		err = layer_map_edit_run(&edit, run, pointers);
	}
	if (!err)
		layer_map_edit_publish(&edit);
	else if (pointers)
		layer_map_edit_abort(&edit);
	free(pointers);
	return err;
}

static int rival_fill(struct map_bench *map, const struct manifest *manifest)
{
	const struct layer_map *current = atomic_load(&map->maps.current);
	uint32_t largest = 0;

	for (uint32_t i = 1; i < current->run_count; i++)
		if (current->runs[i]->layer_count > current->runs[largest]->layer_count)
			largest = i;
	map->largest = current->runs[largest];
	map->first_count = (uint32_t)map->largest->layer_count;
	map->firsts = calloc(map->first_count, sizeof(*map->firsts));
	if (!map->firsts)
		return -ENOMEM;
	for (uint32_t i = 0; i < map->first_count; i++)
		map->firsts[i] = manifest_run_layers(&manifest->runs[largest])[i].first_key;
	return 0;
}

static int map_fill(struct map_bench *map, uint32_t layer_count)
{
	struct dice dice = { 4711 };
	struct manifest manifest;
	int err;

	manifest_init(&manifest, -1);
	map->layer_count = layer_count;
	map->layers = calloc(layer_count, sizeof(*map->layers));
	map->questions = calloc(map->question_count, sizeof(*map->questions));
	err = map->layers && map->questions ? layer_maps_init(&map->maps) : -ENOMEM;
	if (!err)
		err = manifest_fill(&manifest, layer_count);
	if (!err)
		err = map_build(map, &manifest);
	if (!err)
		err = rival_fill(map, &manifest);
	for (uint32_t i = 0; i < map->question_count && !err; i++)
		map->questions[i] = (struct question){
			key_make(16 + dice_below(&dice, INO_END), KEY_PAGE, dice_below(&dice, 1000)),
			lsn_make(1 + dice_below(&dice, RUN_LSNS * (uint64_t)layer_count)),
		};
	manifest_close(&manifest);
	return err;
}

static void map_destroy(struct map_bench *map)
{
	guard_barrier();
	layer_maps_destroy(&map->maps);
	free(map->layers);
	free(map->firsts);
	free(map->questions);
	*map = (struct map_bench){ .bench = map->bench, .question_count = map->question_count };
}

/* ---- searching ---- */

static int find_first_sample(void *context, double *figure_out)
{
	struct map_bench *map = context;
	uint64_t start = cpu_ns(), found = 0;
	struct layer_guard guard;

	layer_guard_take(&guard, &map->maps);
	for (uint32_t i = 0; i < map->question_count; i++) {
		const struct question *question = &map->questions[i];
		uint32_t reach = layer_map_reach(guard.map, question->lsn);

		found += layer_run_find(guard.map->runs[reach - 1], question->key, question->lsn) != NULL;
	}
	layer_guard_drop(&guard);
	map->found += found;
	*figure_out = (double)(cpu_ns() - start) / map->question_count;
	return 0;
}

static int find_largest_sample(void *context, double *figure_out)
{
	struct map_bench *map = context;
	uint64_t start = cpu_ns(), found = 0;

	for (uint32_t i = 0; i < map->question_count; i++)
		found += layer_run_find(map->largest, map->questions[i].key, LSN_HEAD) != NULL;
	*figure_out = (double)(cpu_ns() - start) / map->question_count;
	return found == map->question_count ? 0 : bench_fail(map->bench, -EBADMSG, "a layer is not found");
}

static int find_all_sample(void *context, double *figure_out)
{
	struct map_bench *map = context;
	uint32_t questions = map->question_count / 10;
	uint64_t start = cpu_ns(), found = 0;
	struct layer_guard guard;

	layer_guard_take(&guard, &map->maps);
	for (uint32_t i = 0; i < questions; i++)
		for (uint32_t run = layer_map_reach(guard.map, LSN_HEAD); run-- > 0;)
			found += layer_run_find(guard.map->runs[run], map->questions[i].key, LSN_HEAD) != NULL;
	layer_guard_drop(&guard);
	*figure_out = (double)(cpu_ns() - start) / questions;
	map->visited = found / questions;
	return 0;
}

static int array_sample(void *context, double *figure_out)
{
	struct map_bench *map = context;
	uint64_t start = cpu_ns(), sum = 0;

	for (uint32_t i = 0; i < map->question_count; i++) {
		uint32_t low = 0, high = map->first_count;

		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (key_compare(map->firsts[middle], map->questions[i].key) <= 0)
				low = middle + 1;
			else
				high = middle;
		}
		sum += low;
	}
	map->found += sum;
	*figure_out = (double)(cpu_ns() - start) / map->question_count;
	return 0;
}

static int find_measure(struct map_bench *map, const char *what, sample_fn *sample, bool beside, double limit_ns)
{
	const struct contender contenders[] = {
		{ "varve", sample, map, false },
		{ "one sorted array of its largest run", array_sample, map, true },
	};
	const struct claim claim = {
		.what = what, .unit = "ns", .better = LOWER_IS_BETTER, .contenders = contenders,
		.contender_count = beside ? 2 : 1, .value_limit = limit_ns,
	};

	return claim_measure(map->bench, &claim);
}

static int search_measure(struct map_bench *map, uint32_t layer_count, const char *names[3], double limit_ns)
{
	int err = map_fill(map, layer_count);

	if (err)
		return bench_fail(map->bench, err, "making the map");
	bench_say(map->bench, "%u layers in %u runs, the largest of %u", layer_count,
		  atomic_load(&map->maps.current)->run_count, map->first_count);
	err = find_measure(map, names[0], find_largest_sample, true, limit_ns);
	if (!err)
		err = find_measure(map, names[1], find_first_sample, false, limit_ns);
	if (!err)
		err = find_measure(map, names[2], find_all_sample, false, 0);
	return err;
}

/* ---- publishing ---- */

struct publishing {
	struct map_bench *map;
	struct layer input;
	uint64_t next_id, ino;
};

/* Pieces of a merge whose output has a million layers, each with one layer more. */
static int publish_sample(void *context, double *figure_out)
{
	struct publishing *publishing = context;
	struct layer_maps *maps = &publishing->map->maps;
	struct lsn end = { RUN_LSNS * (uint64_t)MANY };
	const uint64_t input = UINT64_C(1) << 50;
	struct manifest_run output = { .run_id = 1, .level = 9, .end = end };
	uint64_t start = cpu_ns();
	int err = 0;

	for (uint32_t i = 0; i < PUBLISH_COUNT && !err; i++) {
		struct layer *layer = &publishing->input;
		struct table_summary table = table_make(&output, publishing->next_id++, 0, 1);
		struct manifest_piece piece = { .run_id = 1, .level = 9, .end = end, .inputs = &input,
						.input_count = 1, .layers = &table, .layer_count = 1 };
		struct layer_map_edit edit;

		table.first_key = table.last_key = key_make(++publishing->ino, KEY_ATTR, 0);
		piece.upto = key_make(publishing->ino + 1, KEY_ATTR, 0);
		err = layer_map_edit_begin(maps, &edit);
		if (!err)
			err = layer_map_edit_piece(&edit, &piece, &layer);
		if (!err)
			layer_map_edit_publish(&edit);
		else
			layer_map_edit_abort(&edit);
		free(edit.gone);
	}
	*figure_out = (double)(cpu_ns() - start) / PUBLISH_COUNT / 1000;
	/* What was replaced is freed by a thread of its own; it is not to gather. */
	guard_barrier();
	return err;
}

/* One run of a million, and a layer of level 0 that is being merged into it. */
static int publishing_fill(struct map_bench *map)
{
	struct lsn end = { RUN_LSNS * (uint64_t)MANY };
	struct manifest_run run = { .run_id = 1, .level = 9, .end = end, .layer_count = MANY };
	struct layer **pointers = calloc(MANY, sizeof(*pointers));
	struct layer_map_edit edit;
	int err;

	map->layers = calloc(MANY, sizeof(*map->layers));
	run.layers = calloc(MANY, sizeof(*run.layers));
	err = map->layers && pointers && run.layers ? layer_maps_init(&map->maps) : -ENOMEM;
	for (uint32_t i = 0; i < MANY && !err; i++) {
		run.layers[i] = table_make(&run, i + 2, i, MANY);
		pointers[i] = &map->layers[i];
	}
	if (!err)
		err = layer_map_edit_begin(&map->maps, &edit);
	if (!err) {
		err = layer_map_edit_run(&edit, &run, pointers);
		if (!err)
			err = layer_map_edit_add(&edit, &map->layers[0], UINT64_C(1) << 50, lsn_make(0), end);
		if (!err)
			layer_map_edit_publish(&edit);
		else
			layer_map_edit_abort(&edit);
	}
	free(pointers);
	free(run.layers);
	return err;
}

static int publish_measure(struct map_bench *map)
{
	struct publishing publishing = { .map = map, .next_id = UINT64_C(1) << 51, .ino = 2 * INO_END };
	const struct contender contender = { "varve", publish_sample, &publishing, false };
	const struct claim claim = {
		.what = "publishing one layer more in a run of a million", .unit = "us", .better = LOWER_IS_BETTER,
		.contenders = &contender, .contender_count = 1, .value_limit = PUBLISH_US,
	};
	int err;

	if (!bench_wants(map->bench, claim.what))
		return 0;
	err = publishing_fill(map);
	return err ? bench_fail(map->bench, err, "making the run") : claim_measure(map->bench, &claim);
}

/* ---- a manifest ---- */

struct manifest_bench {
	struct map_bench *map;
	int dir_fd;
};

static int replay_sample(void *context, double *figure_out)
{
	struct manifest_bench *bench = context;
	struct report report = { "" };
	struct manifest manifest;
	uint64_t start = cpu_ns();
	int err = manifest_open(&manifest, bench->dir_fd, false, &report);

	*figure_out = (double)(cpu_ns() - start) / 1e6;
	if (!err)
		manifest_close(&manifest);
	return err;
}

static int build_sample(void *context, double *figure_out)
{
	struct manifest_bench *bench = context;
	struct report report = { "" };
	struct manifest manifest;
	uint64_t start;
	int err = manifest_open(&manifest, bench->dir_fd, false, &report);

	if (err)
		return err;
	start = cpu_ns();
	err = layer_maps_init(&bench->map->maps);
	if (!err)
		err = map_build(bench->map, &manifest);
	*figure_out = (double)(cpu_ns() - start) / 1e6;
	manifest_close(&manifest);
	guard_barrier();
	layer_maps_destroy(&bench->map->maps);
	return err;
}

static double heap_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return (double)info.uordblks + (double)info.hblkhd;
}

/* What the manifest and the map hold on the heap, a layer. */
static int memory_measure(struct manifest_bench *bench)
{
	struct report report = { "" };
	struct manifest manifest;
	double before = heap_bytes(), read, built;
	int err = manifest_open(&manifest, bench->dir_fd, false, &report);

	if (err)
		return err;
	read = heap_bytes();
	err = layer_maps_init(&bench->map->maps);
	if (!err)
		err = map_build(bench->map, &manifest);
	guard_barrier();
	built = heap_bytes();
	bench_fact(bench->map->bench, "memory of the manifest", (read - before) / MANIFEST_LAYERS, "bytes a layer",
		   FACT_AT_MOST, 200);
	bench_fact(bench->map->bench, "memory of the map", (built - read) / MANIFEST_LAYERS, "bytes a layer",
		   FACT_NOTE, 0);
	layer_maps_destroy(&bench->map->maps);
	manifest_close(&manifest);
	return err;
}

static int manifest_write(struct manifest_bench *bench)
{
	struct manifest manifest;
	struct report report = { "" };
	int err = manifest_create(bench->dir_fd, 4096, COMPRESSION_DEFAULT);

	if (!err)
		err = manifest_open(&manifest, bench->dir_fd, true, &report);
	if (err)
		return err;
	err = manifest_fill(&manifest, MANIFEST_LAYERS);
	if (!err)
		err = manifest_replace(&manifest);
	bench_fact(bench->map->bench, "size of the manifest", (double)manifest.tail_bytes / MANIFEST_LAYERS,
		   "bytes a layer", FACT_NOTE, 0);
	manifest_close(&manifest);
	return err;
}

static int one_claim(struct manifest_bench *bench, const char *what, sample_fn *sample)
{
	const struct contender contender = { "varve", sample, bench, false };
	const struct claim claim = { .what = what, .unit = "ms", .better = LOWER_IS_BETTER,
				     .contenders = &contender, .contender_count = 1 };

	return claim_measure(bench->map->bench, &claim);
}

static int manifest_measure(struct map_bench *map)
{
	struct manifest_bench bench = { map, open(bench_dir(map->bench), O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	int err = bench.dir_fd < 0 ? -errno : 0;

	bench_say(map->bench, "a manifest of %u layers, as a rewrite leaves it, in the page cache", MANIFEST_LAYERS);
	map->layers = calloc(MANIFEST_LAYERS, sizeof(*map->layers));
	if (!map->layers)
		err = -ENOMEM;
	if (!err)
		err = manifest_write(&bench);
	if (!err)
		err = one_claim(&bench, "reading a manifest of 100,000 layers", replay_sample);
	if (!err)
		err = one_claim(&bench, "making the map of 100,000 layers", build_sample);
	if (!err)
		err = memory_measure(&bench);
	if (err)
		bench_fail(map->bench, err, "a manifest of 100,000 layers");
	close(bench.dir_fd);
	return err;
}

static int map_run(struct bench *bench)
{
	static const char *few[] = { "largest run of 26,000 layers: the layer of a key",
				     "26,000 layers: the first run of an LSN and its layer of a key",
				     "26,000 layers: all runs and their layers of a key" };
	static const char *many[] = { "largest run of 1,000,000 layers: the layer of a key",
				      "1,000,000 layers: the first run of an LSN and its layer of a key",
				      "1,000,000 layers: all runs and their layers of a key" };
	struct map_bench map = { .bench = bench, .question_count = (uint32_t)bench_size(bench, 1000000, 100000) };
	int err = search_measure(&map, FEW, few, FIND_FEW_NS);

	map_destroy(&map);
	if (!err)
		err = search_measure(&map, MANY, many, FIND_MANY_NS);
	map_destroy(&map);
	if (!err)
		err = publish_measure(&map);
	map_destroy(&map);
	if (!err)
		err = manifest_measure(&map);
	map_destroy(&map);
	return err;
}

const struct bench_subject map_subject = {
	.name = "map",
	.doc = "where a key is among 26,000 and a million layers; publishing one; the manifest of 100,000",
	.run = map_run,
};
