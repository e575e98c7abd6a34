/*
 * The store against the model while history is compacted and dropped: layers are small and merged
 * a few at a time, the window moves, LSNs are pinned and let go, collections run, and the store is
 * killed in the midst of it. Each LSN that is kept, by the window or by a pin, must
 * read right; each below must be refused. (support/random_run.h)
 *
 * VARVE_MODEL_OPS sets the number of operations, VARVE_TEST_SEED the seed.
 */
#include <errno.h>

#include "random_run.h"

#define OPERATIONS_STANDARD 200000u
#define PINS_MAX 12u

struct retention_run {
	struct run *run;
	struct lsn pins[PINS_MAX];      /* of this life of the store */
	unsigned pin_count;
	uint64_t compactions, collections, windows, dropped;
	uint64_t window_bytes;
};

static void let_go_of_pins(struct retention_run *r)
{
	while (r->pin_count)
		store_unpin(store_of(r->run), r->pins[--r->pin_count]);
}

static void pin_something(struct retention_run *r)
{
	struct run *run = r->run;
	struct lsn lsn, oldest, now;

	if (r->pin_count == PINS_MAX || one_in(run, 4)) {
		if (r->pin_count) {
			unsigned i = below(run, r->pin_count);

			store_unpin(store_of(run), r->pins[i]);
			r->pins[i] = r->pins[--r->pin_count];
		}
		return;
	}
	store_window(store_of(run), &oldest, &now);
	lsn = lsn_make(oldest.value + below(run, now.value - oldest.value + 1));
	if (store_pin(store_of(run), lsn) == 0)
		r->pins[r->pin_count++] = lsn;
}

static void compare_pins(struct retention_run *r, unsigned count)
{
	for (unsigned i = 0; i < r->pin_count; i++)
		for (unsigned k = 0; k < count; k++)
			run_compare_at(r->run, r->pins[i]);
}

/* What is below the window, and not pinned, is refused. */
static void ask_below_the_window(struct retention_run *r)
{
	struct run *run = r->run;
	struct tree_attr attr;
	struct lsn oldest, now, at;

	store_window(store_of(run), &oldest, &now);
	if (oldest.value < 2)
		return;
	at = lsn_make(1 + below(run, oldest.value - 1));
	for (unsigned i = 0; i < r->pin_count; i++)
		if (r->pins[i].value == at.value)
			return;
	assert_err(tree_getattr(store_of(run), TREE_ROOT_INO, at, &attr), -ENOENT);
	assert_err(store_pin(store_of(run), at), -ENOENT);
}

static void move_window(struct retention_run *r)
{
	struct store_window window = { 0, 0 };
	struct lsn oldest, now;

	store_window(store_of(r->run), &oldest, &now);
	window.bytes = 1 + below(r->run, now.value - oldest.value + 1);
	assert_ok(store_window_set(store_of(r->run), &window));
	r->windows++;
	/* Mostly without a limit again, or nothing much would be kept. */
	if (one_in(r->run, 3))
		return;
	window.bytes = 0;
	assert_ok(store_window_set(store_of(r->run), &window));
}

static void collect(struct retention_run *r)
{
	struct store_gc would, did;
	bool dry = one_in(r->run, 2);

	if (dry)
		assert_ok(store_collect(store_of(r->run), true, &would));
	assert_ok(store_collect(store_of(r->run), false, &did));
	r->collections++;
	r->dropped += did.dropped_versions;
	compare_pins(r, 50);
}

/* Some tens of each in a run, however long it is. */
static void disturb(struct retention_run *r)
{
	struct run *run = r->run;
	uint64_t span = run->operation_count;

	if (below(run, span) < 60)
		run_freeze(run);
	if (below(run, span) < 40)
		pin_something(r);
	if (below(run, span) < 20)
		move_window(r);
	if (below(run, span) < 12)
		collect(r);
	if (below(run, span) < 6) {
		assert_ok(store_compact(store_of(run)));
		r->compactions++;
		run_compare_much(run, 200);
	}
	if (below(run, span) < 8) {
		let_go_of_pins(r);
		run_reopen(run);
	}
	if (below(run, span) < 10)
		run->kill_at = run->operation + 1 + below(run, 2000);
	if (run->operation == run->kill_at) {
		let_go_of_pins(r);
		run_kill(run);
	}
}

static void kept_history_equals_the_model(void **state)
{
	struct retention_run *r = *state;
	struct run *run = r->run;

	for (run->operation = 1; run->operation <= run->operation_count; run->operation++) {
		run_operate(run);
		if (one_in(run, 8))
			run_compare_something(run);
		if (one_in(run, 400))
			compare_pins(r, 1);
		if (one_in(run, 400))
			ask_below_the_window(r);
		if (one_in(run, 500))
			run_thin_out_the_dead(run);
		disturb(r);
	}
	run->operation = run->operation_count;
	run_compare_much(run, 3000);
	assert_ok(store_compact(store_of(run)));
	run_compare_much(run, 3000);
	collect(r);
	run_compare_much(run, 3000);
	let_go_of_pins(r);
	run_kill(run);
	run_compare_much(run, 3000);
	run_reopen(run);
	run_compare_much(run, 3000);
}

static int set_up(void **state)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = RANDOM_PAGE_SIZE };
	struct store_options options = { .layer_size_bytes = 4 * MIB, .fanin_0 = 4, .fanin = 3,
					 .drop_tombstones = 4 };
	struct retention_run *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->run = run_new(&mkfs, &options, test_count("VARVE_MODEL_OPS", OPERATIONS_STANDARD));
	r->run->collects = true;
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct retention_run *r = *state;
	struct store_usage usage;

	if (r->run->fixture->store) {
		store_usage_get(store_of(r->run), &usage);
		print_message("%" PRIu64 " compactions, %" PRIu64 " collections dropped %" PRIu64
			      " versions, %" PRIu64 " windows\n", r->compactions, r->collections,
			      r->dropped, r->windows);
	}
	run_print(r->run);
	let_go_of_pins(r);
	run_free(r->run);
	free(r);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept_history_equals_the_model, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
