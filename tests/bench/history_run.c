#include "history_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dir_files.h"
#include "history_truth.h"
#include "machine.h"

#define MEMORY_SAMPLE_NS 200000000u

struct run {
	const struct history_plan *plan;
	struct history_figures *figures;
	struct history_store *store;
	uint64_t *moments;              /* after every moment_step-th write */
	uint64_t moment_room;
	uint64_t written;               /* writes, with the fill */
	uint64_t start_moment;          /* once the fill was synced */
	uint64_t memory_sampled_ns;
	struct machine_io io;           /* then */
	struct history_truth truth;
	uint8_t *answer;
};

/*
 * Writing
 */

static int moment_note(struct run *run)
{
	uint64_t step = run->plan->moment_step, at = run->written / step;

	if (run->written % step)
		return 0;
	if (at >= run->moment_room) {
		uint64_t room = run->moment_room ? 2 * run->moment_room : 4096;
		uint64_t *moments = realloc(run->moments, room * sizeof(*moments));

		if (!moments)
			return -ENOMEM;
		run->moments = moments;
		run->moment_room = room;
	}
	run->moments[at] = run->plan->type->moment(run->store);
	return 0;
}

static void memory_sample(struct run *run, bool now)
{
	struct history_memory *max = &run->figures->memory_max;
	struct machine_memory memory;
	uint64_t at = clock_ns();

	if (!now && at - run->memory_sampled_ns < MEMORY_SAMPLE_NS)
		return;
	run->memory_sampled_ns = at;
	machine_memory_get(&memory);
	run->figures->memory_end = (struct history_memory){ memory.rss_bytes, memory.anon_bytes,
							    memory.file_bytes };
	if (memory.rss_bytes > max->rss_bytes)
		max->rss_bytes = memory.rss_bytes;
	if (memory.anon_bytes > max->anon_bytes)
		max->anon_bytes = memory.anon_bytes;
	if (memory.file_bytes > max->file_bytes)
		max->file_bytes = memory.file_bytes;
}

static int write_take(struct run *run, const struct history_op *op)
{
	uint64_t start = clock_ns();
	int err = run->plan->type->write(run->store, op->place, op->bytes, op->size_bytes);

	if (err)
		return err;
	if (!op->is_fill) {
		latency_add(&run->figures->writes, clock_ns() - start);
		run->figures->write_count++;
		run->figures->write_bytes += op->size_bytes;
	}
	run->written++;
	return moment_note(run);
}

static uint64_t io_bytes(const struct run *run)
{
	struct machine_io now;

	machine_io_get(run->plan->dir, &now);
	return machine_io_since(&run->io, &now).written_bytes;
}

static int sync_take(struct run *run, const struct history_op *op)
{
	uint64_t start = clock_ns();
	int err = run->plan->type->sync(run->store);
	uint64_t moment;

	if (err)
		return err;
	if (!op->is_fill)
		latency_add(&run->figures->syncs, clock_ns() - start);
	moment = run->plan->type->moment(run->store);
	if (op->is_fill) {
		run->start_moment = moment;
		run->figures->cpu_ns = clock_of_ns(CLOCK_PROCESS_CPUTIME_ID);
	}
	run->figures->stored_bytes = moment;
	run->figures->history_bytes = moment - run->start_moment;
	memory_sample(run, op->is_fill);
	return 0;
}

static bool is_enough(const struct run *run)
{
	return run->plan->until_bytes && run->figures->history_bytes >= run->plan->until_bytes;
}

static int source_take(struct run *run)
{
	struct history_op op;
	int err = run->plan->source->rewind(run->plan->source);

	machine_io_get(run->plan->dir, &run->io);
	while (!err && !is_enough(run)) {
		err = run->plan->source->next(run->plan->source, &op);
		if (!err)
			err = op.is_sync ? sync_take(run, &op) : write_take(run, &op);
	}
	memory_sample(run, true);
	return err < 0 ? err : 0;
}

static int settle(struct run *run)
{
	const struct history_store_type *type = run->plan->type;
	struct history_figures *figures = run->figures;
	int err = type->rest ? type->rest(run->store) : 0;
	uint64_t start;

	figures->cpu_ns = clock_of_ns(CLOCK_PROCESS_CPUTIME_ID) - figures->cpu_ns;
	if (!err)
		err = dir_disk_bytes(run->plan->dir, &figures->disk_bytes);
	figures->io_bytes = io_bytes(run);
	start = clock_ns();
	if (!err && type->settle)
		err = type->settle(run->store);
	figures->settle_ns = clock_ns() - start;
	figures->settled_io_bytes = io_bytes(run);
	if (!err)
		err = dir_disk_bytes(run->plan->dir, &figures->settled_disk_bytes);
	return err;
}

/*
 * Reading
 */

/* Four sums side by side, so that it is the memory that it takes, not the additions. */
static uint64_t bytes_sum(const uint8_t *bytes, size_t size_bytes)
{
	uint64_t sums[4] = { 0 }, words[4];

	for (size_t at = 0; at < size_bytes; at += sizeof(words)) {
		memcpy(words, bytes + at, sizeof(words));
		for (unsigned i = 0; i < 4; i++)
			sums[i] += words[i];
	}
	return sums[0] ^ sums[1] * 3 ^ sums[2] * 5 ^ sums[3] * 7;
}

static struct history_question *questions_new(struct run *run, uint64_t count, uint64_t seed)
{
	struct history_source *source = run->plan->source;
	struct history_question *questions = calloc(count, sizeof(*questions));
	uint64_t step = run->plan->moment_step;
	struct dice dice = { seed };

	for (uint64_t i = 0; questions && i < count; i++) {
		questions[i] = source->ask(source, &dice, i, run->written);
		questions[i].write_number -= questions[i].write_number % step;
		if (!questions[i].write_number)
			questions[i].write_number = step;
	}
	return questions;
}

static int question_put(struct run *run, const struct history_question *question)
{
	return run->plan->type->read(run->store, question->place,
				     run->moments[question->write_number / run->plan->moment_step], run->answer,
				     run->plan->source->read_bytes);
}

static int reads_do(struct run *run, uint64_t count, uint64_t seed, bool keep, struct history_reads *reads_out)
{
	struct history_question *questions = questions_new(run, count, seed);
	uint64_t keep_step = count / (TRUTH_SAMPLES / 2) + 1, sum = 0;
	uint64_t start = clock_ns(), cpu_start = clock_of_ns(CLOCK_THREAD_CPUTIME_ID);
	int err = questions ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < count && !err; i++) {
		err = question_put(run, &questions[i]);
		sum = sum * 31 + bytes_sum(run->answer, run->plan->source->read_bytes);
		if (!err && keep && i % keep_step == keep_step - 1)
			err = history_truth_keep(&run->truth, &questions[i], run->answer,
						 run->plan->source->read_bytes);
	}
	*reads_out = (struct history_reads){ count, clock_ns() - start,
					     clock_of_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_start, sum };
	free(questions);
	return err;
}

static int store_open_for(struct run *run)
{
	return run->plan->type->open(run->plan->dir, run->plan->source->read_bytes == HISTORY_PAGE_BYTES,
				     &run->store);
}

static int reopen_forgotten(struct run *run)
{
	int err = run->plan->type->close(run->store);

	run->store = NULL;
	if (!err)
		err = dir_forget(run->plan->dir);
	return err ? err : store_open_for(run);
}

static int step_failed(const struct run *run, const char *step, int err)
{
	if (err)
		fprintf(stderr, "varve-bench: %s: %s: %s\n", run->plan->type->name, step, strerror(-err));
	return err;
}

static int reads_all(struct run *run, struct history_reads *hot_out, struct history_reads *cold_out)
{
	struct history_reads warming;
	int err = dir_fetch(run->plan->dir);

	if (!err)
		err = reads_do(run, run->plan->hot_reads, 1, false, &warming);
	if (!err)
		err = reads_do(run, run->plan->hot_reads, 2, true, hot_out);
	if (!err)
		err = reopen_forgotten(run);
	if (!err)
		err = reads_do(run, run->plan->cold_reads, 3, true, cold_out);
	memory_sample(run, true);
	if (!err)
		err = history_truth_check(&run->truth, run->plan->source);
	history_truth_free(&run->truth);
	return err;
}

static int compact(struct run *run)
{
	struct history_figures *figures = run->figures;
	uint64_t start = clock_ns();
	int err = run->plan->type->compact(run->store);

	figures->compact_ns = clock_ns() - start;
	figures->compacted_io_bytes = io_bytes(run);
	if (!err)
		err = dir_disk_bytes(run->plan->dir, &figures->compacted_disk_bytes);
	memory_sample(run, true);
	return err;
}

static int compact_and_read(struct run *run)
{
	struct history_figures *figures = run->figures;
	int err;

	if (!run->plan->type->compact) {
		figures->compacted_hot = figures->hot;
		figures->compacted_cold = figures->cold;
		figures->compacted_disk_bytes = figures->settled_disk_bytes;
		figures->compacted_io_bytes = figures->settled_io_bytes;
		return 0;
	}
	err = step_failed(run, "compacting", compact(run));
	return err ? err : reads_all(run, &figures->compacted_hot, &figures->compacted_cold);
}

int history_run(const struct history_plan *plan, struct history_figures *figures_out)
{
	struct run run = { .plan = plan, .figures = figures_out };
	int err;

	*figures_out = (struct history_figures){ 0 };
	run.answer = malloc(plan->source->read_bytes);
	err = run.answer ? store_open_for(&run) : -ENOMEM;
	step_failed(&run, "opening", err);
	if (!err)
		err = step_failed(&run, "writing", source_take(&run));
	if (!err)
		err = step_failed(&run, "settling", settle(&run));
	if (!err)
		err = step_failed(&run, "reading",
				  reads_all(&run, &figures_out->hot, &figures_out->cold));
	if (!err)
		err = step_failed(&run, "reading what was compacted", compact_and_read(&run));
	plan->type->close(run.store);
	history_truth_free(&run.truth);
	free(run.moments);
	free(run.answer);
	return err;
}

double history_reads_per_s(const struct history_reads *reads)
{
	return (double)reads->count * 1e9 / (double)reads->ns;
}
