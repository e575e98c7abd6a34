#include "compaction_plan.h"

#include <string.h>

#include "test_support.h"

#define MIB_BYTES (UINT64_C(1) << 20)
#define LAYER (64 * MIB_BYTES)

/* A history of runs, oldest first, as compaction would keep it. */
struct history {
	struct plan_run runs[512];
	uint32_t count;
	struct plan_options options;
};

static void add_run(struct history *history, uint32_t level, uint64_t bytes)
{
	struct plan_run *run = &history->runs[history->count];
	uint64_t start = history->count ? run[-1].end.value : 0;

	*run = (struct plan_run){ .level = level, .start = lsn_make(start),
				  .end = lsn_make(start + bytes), .file_bytes = bytes,
				  .sealed = true };
	history->count++;
}

static struct plan plan(const struct history *history)
{
	return compaction_plan(history->runs, history->count, &history->options);
}

/* Do what the plan says; @kept_bytes of what went in come out. */
static void carry_out(struct history *history, const struct plan *plan, uint64_t kept_bytes)
{
	struct plan_run *first = &history->runs[plan->first];
	struct plan_run *behind = first + plan->count;

	first->end = behind[-1].end;
	first->level = plan->level;
	first->file_bytes = kept_bytes;
	first->collected = first->end.value <= history->options.horizon.value;
	memmove(first + 1, behind, (size_t)(history->runs + history->count - behind) * sizeof(*first));
	history->count -= plan->count - 1;
}

static uint64_t bytes_of(const struct history *history, const struct plan *plan)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < plan->count; i++)
		bytes += history->runs[plan->first + i].file_bytes;
	return bytes;
}

static struct history *history_new(void)
{
	struct history *history = calloc(1, sizeof(*history));

	assert_non_null(history);
	history->options.layer_bytes = LAYER;
	return history;
}

static void few_layers_are_left_alone(void **state)
{
	struct history *history = history_new();

	for (unsigned i = 0; i < PLAN_FANIN_0 - 1; i++) {
		assert_int_equal(plan(history).count, 0);
		add_run(history, 0, LAYER);
	}
	assert_int_equal(plan(history).count, 0);
	add_run(history, 0, LAYER);
	assert_int_equal(plan(history).count, PLAN_FANIN_0);
	assert_int_equal(plan(history).first, 0);
	assert_int_equal(plan(history).level, 1);
	free(history);
}

static void what_rests_is_merged_sooner(void **state)
{
	struct history *history = history_new();

	add_run(history, 1, 16 * LAYER);
	for (unsigned i = 0; i < PLAN_REST_RUNS; i++)
		add_run(history, 0, LAYER);
	assert_int_equal(plan(history).count, 0);
	history->options.rests = true;
	assert_int_equal(plan(history).count, PLAN_REST_RUNS);
	assert_int_equal(plan(history).first, 1);
	assert_int_equal(plan(history).level, 1);
	history->runs[PLAN_REST_RUNS].sealed = false;
	assert_int_equal(plan(history).count, 0);
	history->runs[PLAN_REST_RUNS].sealed = true;
	for (unsigned i = 0; i < PLAN_FANIN_0; i++)
		add_run(history, 0, LAYER);
	assert_int_equal(plan(history).count, PLAN_FANIN_0);
	free(history);
}

/* Of so many layers, a rest after each if @rests: how often each byte is written by merges, and the most runs there are. */
static double merges_a_byte(unsigned layers, bool rests, uint32_t *most_out)
{
	struct history *history = history_new();
	uint64_t written = 0;

	*most_out = 0;
	history->options.rests = rests;
	for (unsigned i = 0; i < layers; i++) {
		add_run(history, 0, LAYER);
		for (struct plan next = plan(history); next.count; next = plan(history)) {
			uint64_t bytes = bytes_of(history, &next);

			written += bytes;
			carry_out(history, &next, bytes);
		}
		if (history->count > *most_out)
			*most_out = history->count;
	}
	free(history);
	return (double)written / ((double)layers * LAYER);
}

/* A load that rests whenever there is just enough to be merged for it. */
static void rests_cost_little(void **state)
{
	uint32_t most, most_rested;

	for (unsigned layers = 64; layers <= 16384; layers *= 4) {
		double steady = merges_a_byte(layers, false, &most);
		double rested = merges_a_byte(layers, true, &most_rested);

		print_message("%u layers: each byte merged %.2f times, %.2f with rests; at most %u and %u runs\n",
			      layers, steady, rested, most, most_rested);
		assert_true(rested <= steady + 1.5);
		assert_true(most_rested <= most);
	}
}

static void runs_that_hold_nothing_are_merged_with_others_only(void **state)
{
	struct history *history = history_new();

	for (unsigned i = 0; i < 2 * PLAN_FANIN_0; i++)
		add_run(history, 0, 0);
	assert_int_equal(plan(history).count, 0);
	history->options.wish = PLAN_ALL;
	assert_int_equal(plan(history).count, 0);
	add_run(history, 0, LAYER);
	assert_int_equal(plan(history).count, 2 * PLAN_FANIN_0 + 1);
	free(history);
}

static void what_is_open_or_being_merged_is_not_taken(void **state)
{
	struct history *history = history_new();

	for (unsigned i = 0; i < 2 * PLAN_FANIN_0; i++)
		add_run(history, 0, LAYER);
	history->runs[3].merging = true;
	history->runs[2 * PLAN_FANIN_0 - 1].sealed = false;
	assert_int_equal(plan(history).first, 4);
	assert_int_equal(plan(history).count, PLAN_FANIN_0);
	history->runs[10].merging = true;
	assert_int_equal(plan(history).first, 11);
	history->runs[20].merging = true;
	assert_int_equal(plan(history).count, 0);
	free(history);
}

/* However long the history: few runs, each byte written few times, levels that never rise. */
static void runs_and_writes_stay_bounded(void **state)
{
	struct history *history = history_new();
	uint64_t written = 0, total = 0;
	uint32_t most = 0;

	for (unsigned i = 0; i < 100000; i++) {
		struct plan next;

		add_run(history, 0, LAYER);
		total += LAYER;
		while ((next = plan(history)).count) {
			written += bytes_of(history, &next);
			carry_out(history, &next, bytes_of(history, &next));
		}
		if (history->count > most)
			most = history->count;
		for (uint32_t r = 1; r < history->count; r++)
			assert_true(history->runs[r].level <= history->runs[r - 1].level);
	}
	print_message("6.4 TB: at most %u runs, each byte merged %.2f times\n", most,
		      (double)written / (double)total);
	assert_true(most <= PLAN_FANIN_0 + 6 * PLAN_FANIN);
	assert_true(written < 5 * total);
	free(history);
}

/* A window of 10 GiB over a store of 4 GiB of live pages: what is kept stays near both. */
static void what_expires_is_collected(void **state)
{
	const uint64_t window = 10 << 10, live = 4 << 10;       /* MiB */
	struct history *history = history_new();
	uint64_t written = 0, total = 0, most = 0;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t held = 0;
		struct plan next;

		add_run(history, 0, LAYER);
		total += LAYER;
		if (total > window * MIB_BYTES) {
			history->options.horizon = lsn_make(total - window * MIB_BYTES);
			history->options.window_bytes = window * MIB_BYTES;
		}
		while ((next = plan(history)).count) {
			const struct plan_run *last = &history->runs[next.first + next.count - 1];
			uint64_t bytes = bytes_of(history, &next);

			if (last->end.value <= history->options.horizon.value &&
			    bytes > live * MIB_BYTES)
				bytes = live * MIB_BYTES;
			written += bytes;
			carry_out(history, &next, bytes);
		}
		for (uint32_t r = 0; r < history->count; r++)
			held += history->runs[r].file_bytes;
		if (held > most)
			most = held;
	}
	print_message("a window of 10 GiB, 4 GiB alive: at most %.1f GiB held, each byte merged "
		      "%.2f times\n", (double)most / (1 << 30), (double)written / (double)total);
	assert_true(most < (window + window / PLAN_WINDOW_DIVISOR + 2 * live + 2048) * MIB_BYTES);
	assert_true(written < 4 * total);
	free(history);
}

static void wishes_are_fulfilled_once(void **state)
{
	struct history *history = history_new();
	struct plan next;

	for (unsigned i = 0; i < 3; i++)
		add_run(history, 1, 16 * LAYER);
	for (unsigned i = 0; i < 5; i++)
		add_run(history, 0, LAYER);
	history->options.horizon = lsn_make(20 * LAYER);
	history->options.wish = PLAN_COLLECT;
	next = plan(history);
	assert_true(next.wished);
	assert_int_equal(next.first, 0);
	assert_int_equal(next.count, 2);        /* the second begins below the horizon */
	history->options.wish = PLAN_ALL;
	next = plan(history);
	assert_int_equal(next.count, 8);
	assert_int_equal(next.level, 2);
	history->options.horizon = lsn_make(UINT64_C(1) << 60);
	carry_out(history, &next, LAYER);
	assert_int_equal(plan(history).count, 0);
	/* What was kept for a pin may go when it is gone, and there is nothing else to go. */
	history->options.wish = PLAN_COLLECT;
	assert_int_equal(plan(history).count, 1);
	history->runs[0].single = true;
	assert_int_equal(plan(history).count, 0);
	free(history);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_layers_are_left_alone),
		cmocka_unit_test(what_rests_is_merged_sooner),
		cmocka_unit_test(rests_cost_little),
		cmocka_unit_test(runs_that_hold_nothing_are_merged_with_others_only),
		cmocka_unit_test(what_is_open_or_being_merged_is_not_taken),
		cmocka_unit_test(runs_and_writes_stay_bounded),
		cmocka_unit_test(what_expires_is_collected),
		cmocka_unit_test(wishes_are_fulfilled_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
