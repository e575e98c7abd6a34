#include "load_store.h"

#include <inttypes.h>

/* ---- what there is ---- */

uint64_t load_newest(struct store *store)
{
	struct lsn oldest, newest;

	store_window(store, &oldest, &newest);
	return newest.value;
}

uint64_t load_oldest(struct store *store)
{
	struct lsn oldest, newest;

	store_window(store, &oldest, &newest);
	return oldest.value;
}

static void must_be(struct store *store, uint64_t lsn, const struct load_state *state)
{
	uint64_t digest;
	int err = load_store_digest(store, lsn_make(lsn), &digest);

	if (err || digest != state->digest)
		print_error("LSN %" PRIu64 " (state of %" PRIu64 "): %s; from %" PRIu64 " to %" PRIu64
			    " can be read\n", lsn, state->lsn, err ? strerror(-err) : "not what it was",
			    load_oldest(store), load_newest(store));
	require(!err && digest == state->digest);
}

bool load_check_lsn(struct store *store, uint64_t lsn, const struct load_state *state)
{
	uint64_t digest;
	int err = lsn == UINT64_MAX ? 0 : store_pin(store, lsn_make(lsn));

	if (err) {
		/* The window moves while the store is open: only now it is known to be below. */
		require(err == -ENOENT && lsn < load_oldest(store));
		require(load_store_digest(store, lsn_make(lsn), &digest) == -ENOENT);
		return false;
	}
	must_be(store, lsn, state);
	if (lsn != UINT64_MAX)
		store_unpin(store, lsn_make(lsn));
	return true;
}

/* ---- pins ---- */

void load_check_pins(struct load *load)
{
	sim_disk_busy += 1;
	for (unsigned i = 0; i < load->pin_count; i++)
		must_be(load->store, load->pins[i], load_history_at(&load->history, load->pins[i]));
	sim_disk_busy -= 1;
}

static void drop_pin(struct load *load)
{
	store_unpin(load->store, lsn_make(load->pins[0]));
	load->pins[0] = load->pins[--load->pin_count];
}

void load_drop_pins(struct load *load)
{
	while (load->pin_count)
		drop_pin(load);
}

/* Hold a random LSN, or let one go. */
static int do_pin(struct load *load)
{
	uint64_t oldest = load_oldest(load->store), newest = load_newest(load->store), lsn;
	int err;

	if (load->pin_count == LOAD_PINS || (load->pin_count && prng_below(&load->prng, 3) == 0)) {
		drop_pin(load);
		return 0;
	}
	/* What the first life's mark made newer than the root is not in the history. */
	if (oldest < load->history.states[0].lsn)
		oldest = load->history.states[0].lsn;
	lsn = oldest + prng_below(&load->prng, newest - oldest + 1);
	err = store_pin(load->store, lsn_make(lsn));
	if (!err)
		load->pins[load->pin_count++] = lsn;
	require(err != -ENOENT || lsn < load_oldest(load->store));
	return err == -ENOENT ? 1 : err;
}

/* ---- operations ---- */

static int do_window(struct load *load)
{
	uint64_t newest = load_newest(load->store), limit;
	struct store_window window = { 0, 0 };

	/* Of eight times one drops all that can go, by time, and two lift the limit. */
	switch (prng_below(&load->prng, 8)) {
	case 0:
		window.time_ns = 1;
		break;
	case 1:
	case 2:
		if (load->limit)
			break;
		/* fallthrough */
	default:
		window.bytes = 1 + prng_below(&load->prng, newest);
		break;
	}
	limit = window.time_ns ? 1 : window.bytes;
	if (limit && (!load->limit || limit < load->limit))
		load->limit = limit;
	if (limit)
		sim_disk_mark(load->disk, LOAD_LIMITED, limit);
	return store_window_set(load->store, &window);
}

static int do_sync(struct load *load)
{
	struct lsn lsn;
	int err = store_sync(load->store, &lsn);

	if (!err) {
		require(lsn.value >= load_newest(load->store));
		load_note_synced(load, lsn.value);
	}
	return err;
}

int load_do_to_store(struct load *load, enum load_op op)
{
	struct store_gc gc;
	int err;

	switch (op) {
	case LOAD_SYNC:
		return do_sync(load);
	case LOAD_FREEZE:
		return store_freeze(load->store);
	case LOAD_COMPACT:
		return store_compact(load->store);
	case LOAD_COLLECT:
		return store_collect(load->store, prng_below(&load->prng, 4) == 0, &gc);
	case LOAD_WINDOW:
		return do_window(load);
	case LOAD_PIN:
		return do_pin(load);
	default:
		err = load_close(load);
		return err ? err : load_open(load);
	}
}
