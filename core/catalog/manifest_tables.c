/*
 * Manifest, made anew from table layers: which runs there were, from what their files say.
 *
 * A run is older than the runs that were made from it, and its id lower. So runs are looked at from the highest id
 * down: what lies in the span of one was made into it, wholly or so far as it goes. manifest.h says the rules.
 */
#include <errno.h>
#include <stdlib.h>

#include "manifest_internal.h"

/* A run that was found: of tables, or a sealed layer. */
struct found_run {
	uint64_t run_id;
	uint32_t level;
	struct lsn start, end;
	struct table_summary *layers;   /* level > 0 */
	uint32_t layer_count;
	bool gone;                      /* another has taken its place */
	uint64_t into;                  /* or is taking it, for the keys below @from */
	struct key from;
};

static int by_run_and_number(const void *left, const void *right)
{
	const struct table_summary *a = left, *b = right;

	if (a->run_id != b->run_id)
		return a->run_id < b->run_id ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static int by_id_descending(const void *left, const void *right)
{
	const struct found_run *a = left, *b = right;

	return a->run_id > b->run_id ? -1 : a->run_id < b->run_id;
}

/* The first run's tables among @found. 0 and *run_out; -EUCLEAN: they are no run. */
static int gather_run(struct table_summary *found, uint32_t count, struct found_run *run_out)
{
	uint32_t here = 1;

	while (here < count && found[here].run_id == found[0].run_id) {
		if (found[here].level != found[0].level || found[here].start.value != found[0].start.value ||
		    found[here].end.value != found[0].end.value || found[here].number != found[here - 1].number + 1)
			return -EUCLEAN;
		here++;
	}
	if (!found[0].level || !layers_are_sane(NULL, found, here, (struct key){ 0, 0 }, KEY_END))
		return -EUCLEAN;
	*run_out = (struct found_run){
		.run_id = found[0].run_id, .level = found[0].level, .start = found[0].start,
		.end = found[0].end, .layers = found, .layer_count = here,
	};
	return 0;
}

/* All runs, highest id first. *runs_out is freed by the caller. */
static int gather_runs(const struct manifest *manifest, struct table_summary *found, uint32_t count,
		       struct found_run **runs_out, uint32_t *count_out)
{
	struct found_run *runs = calloc((size_t)count + manifest->run_count + 1, sizeof(*runs));
	uint32_t run_count = 0;
	int err = runs ? 0 : -ENOMEM;

	*runs_out = runs;
	if (!err && count)
		qsort(found, count, sizeof(*found), by_run_and_number);
	for (uint32_t i = 0; !err && i < count; i += runs[run_count++].layer_count)
		err = gather_run(found + i, count - i, &runs[run_count]);
	for (uint32_t i = 0; !err && i < manifest->run_count; i++)
		runs[run_count++] = (struct found_run){
			.run_id = manifest->runs[i].run_id, .start = manifest->runs[i].start,
			.end = manifest->runs[i].end,
		};
	if (!err)
		qsort(runs, run_count, sizeof(*runs), by_id_descending);
	*count_out = run_count;
	return err;
}

static bool overlaps(const struct found_run *a, const struct found_run *b)
{
	return a->start.value < b->end.value && b->start.value < a->end.value;
}

static bool contains(const struct found_run *outer, const struct found_run *inner)
{
	return outer->start.value <= inner->start.value && inner->start.value < outer->end.value &&
	       inner->end.value <= outer->end.value;
}

static struct key key_next(struct key key)
{
	key.sub++;
	key.ino += key.sub == 0;
	return key;
}

/* Tables at the end that leave a key open are of a piece that was never done: all of it is in the inputs still. */
static void drop_open_end(struct found_run *run)
{
	while (run->layer_count && run->layers[run->layer_count - 1].ending == TABLE_SPLITS_KEY)
		run->layer_count--;
}

/* Was @inner used for a run that itself is being made into @output? */
static bool was_used(const struct found_run *output, const struct found_run *inner)
{
	for (const struct found_run *run = output + 1; run < inner; run++)
		if (run->into == output->run_id && contains(run, inner))
			return true;
	return false;
}

/* What the run at @output has taken the place of, or was taking. @end: behind the last of lower id. */
static int settle_run(struct found_run *output, const struct found_run *end)
{
	bool whole = output->into || output->layers[output->layer_count - 1].ending == TABLE_ENDS_RUN;

	if (!output->into) {
		/* Only of one that was being used can the front have gone. */
		if (output->layers[0].number != 0)
			return -EUCLEAN;
		drop_open_end(output);
		output->gone = !output->layer_count;
	}
	for (struct found_run *inner = output + 1; inner < end && !output->gone; inner++) {
		if (inner->gone || (!overlaps(output, inner) && !contains(output, inner)))
			continue;
		if (!contains(output, inner))
			return -EUCLEAN;
		if (whole || was_used(output, inner)) {
			inner->gone = true;
		} else {
			inner->into = output->run_id;
			inner->from = key_next(output->layers[output->layer_count - 1].last_key);
		}
	}
	return 0;
}

static int settle_runs(struct found_run *runs, uint32_t count)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++)
		if (runs[i].level && !runs[i].gone)
			err = settle_run(&runs[i], runs + count);
	return err;
}

/* ---- from what was found to the manifest ---- */

static int add_run(struct manifest *manifest, const struct found_run *run)
{
	struct manifest_run entry = {
		.run_id = run->run_id, .level = run->level, .start = run->start, .end = run->end,
		.from = run->from, .into = run->into,
		.layers = run->layers, .layer_count = run->layer_count,
	};
	int err = manifest_add_run(manifest, &entry);

	if (!err && run->into)
		state_run_trim(manifest, state_run(manifest, run->run_id), run->from);
	return err;
}

/* A sealed layer is there already. */
static void settle_sealed(struct manifest *manifest, const struct found_run *run)
{
	struct manifest_run *entry = state_run(manifest, run->run_id);

	if (run->gone) {
		manifest_leave_out(manifest, run->run_id);
	} else {
		entry->into = run->into;
		entry->from = run->from;
	}
}

/* Where nothing is left of an input of @output_id, an empty run stands for it. */
static int add_empty_inputs(struct manifest *manifest, uint64_t output_id)
{
	const struct manifest_run *output = state_run(manifest, output_id);
	struct lsn at = output->start, end = output->end;
	struct key from = { 0, 0 };
	int err = 0;

	for (uint32_t i = 0; i < manifest->run_count; i++)
		if (manifest->runs[i].into == output_id)
			from = manifest->runs[i].from;
	/* Nothing is left of any: it is whole. */
	if (key_equal(from, (struct key){ 0, 0 }))
		return 0;
	for (uint32_t i = state_runs_from(manifest, at, 0); !err && at.value < end.value; i++) {
		bool there = i < manifest->run_count && manifest->runs[i].start.value < end.value;
		struct manifest_run empty = {
			.run_id = manifest->id_next, .level = 1, .start = at, .from = from, .into = output_id,
			.end = there ? manifest->runs[i].start : end,
		};

		if (there && manifest->runs[i].run_id == output_id)
			continue;
		if (empty.end.value > at.value)
			err = manifest_add_run(manifest, &empty);
		else
			empty.end = manifest->runs[i].end;
		at = empty.end;
	}
	return err;
}

static int take_runs(struct manifest *manifest, const struct found_run *runs, uint32_t count)
{
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i++) {
		if (!runs[i].level)
			settle_sealed(manifest, &runs[i]);
		else if (!runs[i].gone)
			err = add_run(manifest, &runs[i]);
	}
	for (uint32_t i = 0; i < count && !err; i++)
		if (runs[i].level && !runs[i].gone && !runs[i].into)
			err = add_empty_inputs(manifest, runs[i].run_id);
	return err;
}

int manifest_add_tables(struct manifest *manifest, struct table_summary *found, uint32_t count)
{
	struct found_run *runs;
	uint32_t run_count;
	int err = gather_runs(manifest, found, count, &runs, &run_count);

	if (!err)
		err = settle_runs(runs, run_count);
	for (uint32_t i = 0; i < count && !err; i++)
		if (!state_id_is_new(manifest, found[i].layer_id) || !state_id_is_new(manifest, found[i].run_id))
			err = -EUCLEAN;
	for (uint32_t i = 0; i < count && !err; i++) {
		uint64_t highest = found[i].layer_id > found[i].run_id ? found[i].layer_id : found[i].run_id;

		if (found[i].oldest.value > manifest->oldest.value)
			manifest->oldest = found[i].oldest;
		if (highest >= manifest->id_next)
			manifest->id_next = highest + 1;
	}
	if (!err)
		err = take_runs(manifest, runs, run_count);
	free(runs);
	return err;
}
