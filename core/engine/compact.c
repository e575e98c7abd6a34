#include "compact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

#define WAIT_NS 1000000000              /* between looks at the horizon */
#define RETRY_NS 5000000000             /* after a failure that may pass */
#define PIECE_INPUT_FACTOR 4u           /* a piece reads at most so many times what it should write */
#define LAYER_BYTES_MIN (1u << 20)      /* of a table layer, where the disk is nearly full */

void compactor_init(struct compactor *compactor)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&compactor->lock, NULL);
	pthread_cond_init(&compactor->wake, &monotonic);
	pthread_cond_init(&compactor->done, NULL);
	pthread_condattr_destroy(&monotonic);
	compactor->held_end = &compactor->held;
}

void compactor_destroy(struct compactor *compactor)
{
	while (compactor->jobs) {
		struct merge_job *job = compactor->jobs;

		compactor->jobs = job->next;
		merge_job_rest(compactor, job);
		free(job);
	}
	pthread_mutex_destroy(&compactor->lock);
	pthread_cond_destroy(&compactor->wake);
	pthread_cond_destroy(&compactor->done);
}

/* ---- jobs ---- */

static bool is_input(const struct merge_job *job, uint64_t run_id)
{
	for (uint32_t i = 0; i < job->input_count; i++)
		if (job->inputs[i] == run_id)
			return true;
	return false;
}

static bool is_merging(const struct compactor *compactor, uint64_t run_id)
{
	for (const struct merge_job *job = compactor->jobs; job; job = job->next)
		if (job->run_id == run_id || is_input(job, run_id))
			return true;
	return false;
}

static void add_job(struct compactor *compactor, struct merge_job *job)
{
	job->next = compactor->jobs;
	compactor->jobs = job;
	atomic_fetch_add(&compactor->merge_count, 1);
}

static void remove_job(struct compactor *compactor, struct merge_job *job)
{
	struct merge_job **link = &compactor->jobs;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	atomic_fetch_sub(&compactor->merge_count, 1);
	merge_job_rest(compactor, job);
	free(job);
}

/*
 * Levels take turns, a piece each: every level has as much to merge as is written, so one that came always first would
 * leave the others nothing under a steady load, and their runs would grow without bound. Within a level the oldest.
 */
static struct merge_job *next_job(const struct compactor *compactor)
{
	struct merge_job *best = NULL;

	for (struct merge_job *job = compactor->jobs; job; job = job->next) {
		uint64_t turn = compactor->turns[job->level], best_turn = best ? compactor->turns[best->level] : 0;

		if (!job->barred && (!best || turn < best_turn || (turn == best_turn && job->level <= best->level)))
			best = job;
	}
	return best;
}

/* How many levels are being merged. */
static uint32_t level_count(const struct compactor *compactor)
{
	uint64_t levels = 0;

	for (const struct merge_job *job = compactor->jobs; job; job = job->next)
		levels |= job->barred ? 0 : UINT64_C(1) << job->level;
	return (uint32_t)__builtin_popcountll(levels);
}

/* A merge that rests keeps its runs where they are, so not all that is due can be done. */
static int lasting_error(const struct compactor *compactor)
{
	for (const struct merge_job *job = compactor->jobs; job; job = job->next)
		if (job->barred)
			return job->barred;
	return 0;
}

/* Of the next layer of a run that is being made. */
static uint32_t next_number(const struct manifest_run *run)
{
	return run->layer_count ? manifest_run_layers(run)[run->layer_count - 1].number + 1 : 0;
}

int compactor_resume(struct engine *engine)
{
	const struct manifest *manifest = &engine->manifest;

	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *input = &manifest->runs[i];
		const struct manifest_run *output;
		struct merge_job *job;

		if (!input->into || is_merging(&engine->compactor, input->into))
			continue;
		output = manifest_find(manifest, input->into);
		if (!output)
			return -EUCLEAN;
		job = calloc(1, sizeof(*job));
		if (!job)
			return -ENOMEM;
		job->run_id = output->run_id;
		job->level = output->level;
		job->start = output->start;
		job->end = output->end;
		job->from = input->from;
		job->layer_count = next_number(output);
		job->bottom = true;
		for (uint32_t k = 0; k < manifest->run_count; k++) {
			if (manifest->runs[k].start.value < output->start.value)
				job->bottom = false;
			if (manifest->runs[k].into != job->run_id)
				continue;
			if (job->input_count == MERGE_INPUTS_MAX) {
				free(job);
				return -EUCLEAN;
			}
			job->inputs[job->input_count++] = manifest->runs[k].run_id;
			/* What can't be read can't be merged, so it stays as far as it came. */
			if (manifest_run_is_lost(&manifest->runs[k]))
				job->barred = -EBADMSG;
		}
		add_job(&engine->compactor, job);
	}
	engine->compactor.error = lasting_error(&engine->compactor);
	return 0;
}

/* ---- planning ---- */

/* The runs of the current map, for the planner. */
struct plan_view {
	struct plan_run *runs;
	uint64_t *ids;
	uint32_t count;
};

static int stop_at_first(void *context, struct layer *layer)
{
	*(struct layer **)context = layer;
	return 1;
}

/* Was it made for a horizon beyond its end, so that nothing in it is for the horizon's sake alone? */
static bool run_is_collected(const struct layer_run *run)
{
	struct layer *first = NULL;

	if (!run->level)
		return false;
	layer_run_each(run, (struct key){ 0, 0 }, KEY_END, stop_at_first, &first);
	return !first || table_layer_summary(first)->oldest.value >= run->end.value;
}

static int stop_at_delta(void *context, struct layer *layer)
{
	(void)context;
	return table_layer_summary(layer)->kind == TABLE_DELTA;
}

static int plan_view_take(struct engine *engine, struct plan_view *view)
{
	struct layer_guard guard;
	int err = 0;

	layer_guard_take(&guard, &engine->maps);
	view->count = guard.map->run_count;
	view->runs = calloc(view->count + (size_t)1, sizeof(*view->runs));
	view->ids = calloc(view->count + (size_t)1, sizeof(*view->ids));
	if (!view->runs || !view->ids)
		err = -ENOMEM;
	for (uint32_t i = 0; i < view->count && !err; i++) {
		const struct layer_run *run = guard.map->runs[i];

		view->ids[i] = run->id;
		view->runs[i] = (struct plan_run){
			.level = run->level,
			.start = run->start,
			.end = run->end,
			.file_bytes = run->level ? run->file_bytes
						 : run->end.value - run->start.value,
			.sealed = run_is_sealed(run),
			.merging = is_merging(&engine->compactor, run->id),
			.collected = run_is_collected(run),
			.single = i == 0 && run->level &&
				  layer_run_each(run, (struct key){ 0, 0 }, KEY_END, stop_at_delta,
						 NULL) == 0,
		};
	}
	layer_guard_drop(&guard);
	return err;
}

static void plan_view_free(struct plan_view *view)
{
	free(view->runs);
	free(view->ids);
}

static struct merge_job *job_from_plan(struct engine *engine, const struct plan_view *view,
				       const struct plan *plan)
{
	struct merge_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->level = plan->level;
	job->start = view->runs[plan->first].start;
	job->end = view->runs[plan->first + plan->count - 1].end;
	job->bottom = plan->first == 0;
	job->wished = plan->wished;
	job->input_count = job->gc.run_count = plan->count;
	for (uint32_t i = 0; i < plan->count; i++) {
		job->inputs[i] = view->ids[plan->first + i];
		job->gc.bytes_before += view->runs[plan->first + i].file_bytes;
	}
	job->run_id = engine_new_id(engine);
	return job;
}

static uint64_t window_bytes(struct engine *engine)
{
	struct engine_window window;

	engine_window_get(engine, &window);
	if (!window.bytes && !window.time_ns)
		return 0;
	return engine_newest(engine).value - engine_oldest(engine).value + 1;
}

/* Has nobody written for as long as an open layer is left idle? */
static bool is_at_rest(struct engine *engine)
{
	struct compactor *compactor = &engine->compactor;
	uint64_t newest = engine_newest(engine).value;
	int64_t now_ns = engine_clock_ns();

	if (newest != compactor->looked_newest || !compactor->rests_since_ns) {
		compactor->looked_newest = newest;
		compactor->rests_since_ns = now_ns;
	}
	return now_ns - compactor->rests_since_ns > (int64_t)engine->options.idle_ns;
}

static bool has_level(const struct compactor *compactor, uint32_t level)
{
	const struct merge_job *job = compactor->jobs;

	while (job && (job->barred || job->level != level))
		job = job->next;
	return job != NULL;
}

/*
 * Plan a merge, if one is due. A wish takes all there is, so it comes behind the merges under way (@waits), and before
 * it only what writers need: one merge of level 0 at a time. 0; -ENOMEM. *job_out: NULL: none.
 */
static int plan_job(struct engine *engine, enum plan_wish wish, bool waits, bool dry, struct merge_job **job_out)
{
	struct plan_options options = {
		.fanin_0 = engine->options.fanin_0,
		.fanin = engine->options.fanin,
		.layer_bytes = engine->options.layer_size_bytes,
		.horizon = engine_oldest(engine),
		.rests = is_at_rest(engine),
		.window_bytes = window_bytes(engine),
		.wish = waits ? PLAN_AS_NEEDED : wish,
	};
	struct plan plan = { .count = 0 };
	struct plan_view view;
	struct merge_job *job;
	int err = plan_view_take(engine, &view);

	*job_out = NULL;
	if (!err)
		plan = compaction_plan(view.runs, view.count, &options);
	if (plan.count && waits && (view.runs[plan.first].level || has_level(&engine->compactor, 1)))
		plan.count = 0;
	if (plan.count) {
		job = *job_out = job_from_plan(engine, &view, &plan);
		err = job ? 0 : -ENOMEM;
		if (job) {
			job->dry = dry && plan.wished;
			add_job(&engine->compactor, job);
		}
	}
	plan_view_free(&view);
	return err;
}

/* ---- the thread ---- */

/* A wish has come to its end. */
static void wish_end(struct compactor *compactor, const struct engine_gc *gc, int err)
{
	pthread_mutex_lock(&compactor->lock);
	if (compactor->wish != PLAN_AS_NEEDED) {
		compactor->wish = PLAN_AS_NEEDED;
		compactor->wish_error = err;
		if (gc)
			compactor->gc = *gc;
		compactor->wishes_done++;
		pthread_cond_broadcast(&compactor->done);
	}
	pthread_mutex_unlock(&compactor->lock);
}

/* It has come to its end before it was fulfilled; what was begun for it goes on. */
static void wish_fail(struct compactor *compactor, int err)
{
	for (struct merge_job *job = compactor->jobs; job; job = job->next)
		job->wished = false;
	wish_end(compactor, NULL, err);
}

static void bar(struct engine *engine, struct merge_job *job, int err)
{
	log_line("the merge of the history from LSN %llu to %llu can't go on: %s; what can be read "
		 "stays readable: run 'varve check'", (unsigned long long)job->start.value,
		 (unsigned long long)job->end.value, strerror(-err));
	job->barred = err;
	wish_fail(&engine->compactor, err);
}

/* One merge at a time has buffers. The others go on by what is on disk, which costs a seek in each of their inputs. */
static void rest_others(struct compactor *compactor, const struct merge_job *job)
{
	for (struct merge_job *other = compactor->jobs; other; other = other->next)
		if (other != job && other->merge)
			merge_job_rest(compactor, other);
}

/* Do a piece, with smaller layers where the disk is nearly full. */
static int do_piece(struct engine *engine, struct merge_job *job, bool *fatal_out)
{
	struct piece_limits limits = {
		.layer_bytes = engine->options.table_size_bytes,
		.output_bytes = engine->options.piece_bytes,
	};
	int err;

	do {
		limits.input_bytes = PIECE_INPUT_FACTOR * limits.output_bytes;
		err = merge_piece(engine, job, &limits, fatal_out);
		limits.layer_bytes /= 4;
		limits.output_bytes /= 4;
	} while (err == -ENOSPC && limits.output_bytes >= LAYER_BYTES_MIN);
	return err;
}

static void set_error(struct compactor *compactor, int err)
{
	pthread_mutex_lock(&compactor->lock);
	compactor->error = err;
	pthread_mutex_unlock(&compactor->lock);
}

/* Its last piece is live. Who wished for it finds its memory given back. */
static void finish_job(struct compactor *compactor, struct merge_job *job)
{
	struct engine_gc gc = job->gc;
	bool wished = job->wished;

	remove_job(compactor, job);
	if (wished)
		wish_end(compactor, &gc, 0);
}

/* 0: go on; 1: wait a while, something failed that may pass. */
static int advance(struct engine *engine, struct merge_job *job)
{
	struct compactor *compactor = &engine->compactor;
	int64_t start_ns = engine_clock_ns();
	bool fatal;
	int err;

	rest_others(compactor, job);
	err = do_piece(engine, job, &fatal);
	atomic_fetch_add(&compactor->busy_ns, (uint64_t)(engine_clock_ns() - start_ns));
	if (err >= 0) {
		engine_pace_learn(engine, level_count(compactor));
		set_error(compactor, lasting_error(compactor));
		if (err == 1)
			finish_job(compactor, job);
		return 0;
	}
	if (err == -ECANCELED)
		return 1;
	set_error(compactor, err);
	if (fatal) {
		engine_fail(engine, err, "what a compaction wrote could not be made durable");
		wish_fail(compactor, err);
		return 1;
	}
	if (!error_may_pass(err) && !job->dry) {
		bar(engine, job, err);
		return 0;
	}
	wish_fail(compactor, err);
	if (job->dry)
		remove_job(compactor, job);
	return 1;
}

/* One step. 0: go on; 1: nothing to do; 2: nothing can be done now. */
static int compactor_step(struct engine *engine, enum plan_wish wish, bool dry)
{
	struct compactor *compactor = &engine->compactor;
	bool waits = wish != PLAN_AS_NEEDED && next_job(compactor);
	struct merge_job *job;
	int err;

	horizon_move(engine);
	/* Something of a lower level may have come since. */
	err = plan_job(engine, wish, waits, dry, &job);
	if (err) {
		set_error(compactor, err);
		wish_fail(compactor, err);
		return 2;
	}
	/* There is nothing to be done for it. */
	if (wish != PLAN_AS_NEEDED && !waits && !(job && job->wished))
		wish_end(compactor, &(struct engine_gc){ 0 }, lasting_error(compactor));
	job = next_job(compactor);
	if (!job)
		return 1;
	compactor->turns[job->level] = ++compactor->turn;
	return advance(engine, job) ? 2 : 0;
}

static void wait_some(struct compactor *compactor, int64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ns / 1000000000;
	until.tv_nsec += ns % 1000000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&compactor->wake, &compactor->lock, &until);
}

/* A wish that waits and was not planned for yet. compact_lock is held. */
static enum plan_wish take_wish(struct compactor *compactor, const struct merge_job *jobs)
{
	for (; jobs; jobs = jobs->next)
		if (jobs->wished)
			return PLAN_AS_NEEDED;
	return compactor->wish;
}

static void *compactor_main(void *context)
{
	struct engine *engine = context;
	struct compactor *compactor = &engine->compactor;

	pthread_mutex_lock(&compactor->lock);
	while (!compactor->stopping) {
		enum plan_wish wish = take_wish(compactor, compactor->jobs);
		bool dry = compactor->wish_dry;
		int outcome = 2;

		compactor->poked = false;
		pthread_mutex_unlock(&compactor->lock);
		if (!atomic_load(&engine->failed))
			outcome = compactor_step(engine, wish, dry);
		else
			wish_fail(compactor, -EROFS);
		pthread_mutex_lock(&compactor->lock);
		compactor->idle = outcome == 1 && !compactor->poked;
		if (outcome && !compactor->poked && !compactor->stopping)
			wait_some(compactor, outcome == 1 ? WAIT_NS : RETRY_NS);
	}
	pthread_cond_broadcast(&compactor->done);
	pthread_mutex_unlock(&compactor->lock);
	return NULL;
}

int compactor_start(struct engine *engine)
{
	int err = -pthread_create(&engine->compactor.thread, NULL, compactor_main, engine);

	engine->compactor.runs = !err;
	return err;
}

void compactor_stop(struct engine *engine)
{
	struct compactor *compactor = &engine->compactor;

	atomic_store(&engine->compactor_stops, true);
	pthread_mutex_lock(&compactor->lock);
	compactor->stopping = true;
	pthread_cond_signal(&compactor->wake);
	pthread_mutex_unlock(&compactor->lock);
	if (compactor->runs)
		pthread_join(compactor->thread, NULL);
	compactor->runs = false;
}

/* compact_lock is held. */
static void poke(struct compactor *compactor)
{
	compactor->poked = true;
	compactor->idle = false;
	pthread_cond_signal(&compactor->wake);
}

void compactor_poke(struct engine *engine)
{
	pthread_mutex_lock(&engine->compactor.lock);
	poke(&engine->compactor);
	pthread_mutex_unlock(&engine->compactor.lock);
}

/* ---- what a caller may wish for ---- */

/* Does nobody wait for wishes any more? compact_lock is held. */
static bool is_over(const struct compactor *compactor)
{
	return compactor->stopping || compactor->waits_ended;
}

void engine_end_waits(struct engine *engine)
{
	pthread_mutex_lock(&engine->compactor.lock);
	engine->compactor.waits_ended = true;
	pthread_cond_broadcast(&engine->compactor.done);
	pthread_mutex_unlock(&engine->compactor.lock);
}

static int make_wish(struct engine *engine, enum plan_wish wish, bool dry, struct engine_gc *gc_out)
{
	struct compactor *compactor = &engine->compactor;
	uint64_t done;
	int err = 0;

	if (!compactor->runs || atomic_load(&engine->failed))
		return -EROFS;
	pthread_mutex_lock(&compactor->lock);
	while (compactor->wish_busy && !is_over(compactor))
		pthread_cond_wait(&compactor->done, &compactor->lock);
	if (compactor->waits_ended) {
		pthread_mutex_unlock(&compactor->lock);
		return -ESHUTDOWN;
	}
	compactor->wish_busy = true;
	compactor->wish = wish;
	compactor->wish_dry = dry;
	done = compactor->wishes_done;
	poke(compactor);
	while (compactor->wishes_done == done && !is_over(compactor))
		pthread_cond_wait(&compactor->done, &compactor->lock);
	if (compactor->wishes_done != done) {
		err = compactor->wish_error;
	} else {
		/* What was begun for it goes on. */
		compactor->wish = PLAN_AS_NEEDED;
		err = compactor->waits_ended ? -ESHUTDOWN : -EROFS;
	}
	if (gc_out && !err)
		*gc_out = compactor->gc;
	compactor->wish_busy = false;
	pthread_cond_broadcast(&compactor->done);
	pthread_mutex_unlock(&compactor->lock);
	return err;
}

bool engine_can_compact(struct engine *engine)
{
	struct compactor *compactor = &engine->compactor;
	bool can;

	pthread_mutex_lock(&compactor->lock);
	can = compactor->runs && !compactor->stopping && !compactor->error && !compactor->idle &&
	      !atomic_load(&engine->failed);
	pthread_mutex_unlock(&compactor->lock);
	return can;
}

static void gc_add(struct engine_gc *sum, const struct engine_gc *more)
{
	sum->dropped_versions += more->dropped_versions;
	sum->dropped_bytes += more->dropped_bytes;
	sum->bytes_before += more->bytes_before;
	sum->written_bytes += more->written_bytes;
	sum->run_count += more->run_count;
	/* It went through what came of those before. */
	sum->pin_count = more->pin_count;
	memcpy(sum->pins, more->pins, sizeof(sum->pins));
}

/* As often as it takes: a merge has only so many inputs. */
static int make_whole_wish(struct engine *engine, enum plan_wish wish, struct engine_gc *sum_out)
{
	struct engine_gc gc;
	int err;

	*sum_out = (struct engine_gc){ 0 };
	do {
		gc = (struct engine_gc){ 0 };
		err = make_wish(engine, wish, false, &gc);
		if (gc.run_count)
			gc_add(sum_out, &gc);
	} while (!err && gc.run_count == PLAN_MERGE_MAX);
	return err;
}

int engine_compact(struct engine *engine)
{
	struct engine_gc gc;
	int err = engine_freeze(engine);

	return err ? err : make_whole_wish(engine, PLAN_ALL, &gc);
}

int engine_gc(struct engine *engine, bool dry, struct engine_gc *gc_out)
{
	int err = 0;

	*gc_out = (struct engine_gc){ 0 };
	horizon_move(engine);
	/* What is in the open layer can only be dropped once it is sealed. */
	if (engine_open_start(engine).value < engine_oldest(engine).value)
		err = engine_freeze(engine);
	if (err)
		return err;
	return dry ? make_wish(engine, PLAN_COLLECT, true, gc_out) : make_whole_wish(engine, PLAN_COLLECT, gc_out);
}

void engine_gc_pin(struct engine_gc *gc, struct lsn lsn, uint64_t bytes)
{
	for (uint32_t i = 0; i < gc->pin_count; i++)
		if (gc->pins[i].lsn.value == lsn.value) {
			gc->pins[i].bytes += bytes;
			return;
		}
	if (bytes && gc->pin_count < ENGINE_GC_PINS_MAX)
		gc->pins[gc->pin_count++] = (struct engine_gc_pin){ lsn, bytes };
}
