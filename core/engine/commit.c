/*
 * Commit: lease, fill, publish.
 *
 * The lease is taken under commit_lock and gives the batch its LSN; filling
 * (the copy and the checksums) goes on beside other writers; publication is in
 * LSN order. A commit returns only once it is published, so a killed process
 * can't lose an acknowledged batch behind one that was never finished, and
 * whoever is told of an LSN can read it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "engine_internal.h"

/* A spare is asked for when this part of the open layer is used: late enough
 * that a small store needs none, early enough that it is there in time. */
#define SPARE_AHEAD_DIVISOR 8u

static bool spare_is_due(const struct engine *engine)
{
	const struct open_layer *open = engine->open;

	return !engine->spare && !engine->spare_wanted &&
	       open->leased_tail > open->arena.capacity_bytes / SPARE_AHEAD_DIVISOR;
}

static void want_spare(struct engine *engine)
{
	engine->spare_wanted = true;
	pthread_cond_signal(&engine->spare_work);
}

/* Wait until it was tried to make a spare. commit_lock is held. 0: look again;
 * -errno of the attempt. */
static int wait_for_spare(struct engine *engine)
{
	uint64_t tries = engine->spare_tries;

	want_spare(engine);
	while (!engine->spare && engine->spare_tries == tries && !engine->stopping &&
	       !atomic_load(&engine->failed))
		pthread_cond_wait(&engine->turn, &engine->commit_lock);
	if (engine->spare)
		return 0;
	if (engine->stopping || atomic_load(&engine->failed))
		return -EROFS;
	return engine->spare_error;
}

/* Leases out must end before the chain that the next layer begins with is known.
 * commit_lock is held. */
static void wait_for_leases(struct engine *engine)
{
	engine->flipping = true;
	while (engine->open->lease_count)
		pthread_cond_wait(&engine->turn, &engine->commit_lock);
	engine->flipping = false;
	pthread_cond_broadcast(&engine->turn);
}

int engine_flip(struct engine *engine)
{
	struct open_layer *before = engine->open;
	struct open_layer *spare;
	int err;

	if (engine->flipping) {
		pthread_cond_wait(&engine->turn, &engine->commit_lock);
		return 0;
	}
	if (!engine->spare)
		return wait_for_spare(engine);
	if (engine->frozen_count >= engine->memory.frozen_max) {
		/* It is tried again, but who writes does not wait for room. */
		if (engine->frozen_error)
			return engine->frozen_error;
		pthread_cond_wait(&engine->turn, &engine->commit_lock);
		return atomic_load(&engine->failed) ? -EROFS : 0;
	}
	if (before) {
		wait_for_leases(engine);
		/* The spare can't have gone: only a flip takes it. */
		assert(engine->open == before && engine->spare);
	}
	spare = engine->spare;
	/* The history has ended in a hole: there is nothing to go on behind. */
	if (engine->hole != UINT64_MAX)
		return -EROFS;
	/* Without a layer before it nothing was published since the store was opened. */
	err = open_layer_start(spare, before ? open_layer_end(before)
					     : lsn_make(atomic_load(&engine->newest)),
			       before ? before->chain : engine->chain_recovered);
	if (err)
		return err;
	err = layer_maps_add(&engine->maps, &spare->base, spare->base.id, spare->base.start, LSN_HEAD);
	if (err) {
		/* Started but never seen: start it again when memory is back. */
		spare->started = false;
		return err;
	}
	if (before)
		engine->frozen[engine->frozen_count++] = before;
	engine->open = spare;
	atomic_store_explicit(&engine->layer_start, spare->base.start.value, memory_order_relaxed);
	engine->freeze_wanted = false;
	engine->open_since_ns = 0;
	engine->spare = NULL;
	pthread_cond_signal(&engine->work);
	return 0;
}

/* Lease from the open layer, flipping as often as needed. commit_lock is held. */
static int lease_somewhere(struct engine *engine, size_t size_bytes, size_t count,
			   int64_t time_ns, struct lease *lease_out)
{
	for (;;) {
		int err = 1;

		if (atomic_load(&engine->failed) || engine->options.read_only)
			return -EROFS;
		if (engine->flipping) {
			pthread_cond_wait(&engine->turn, &engine->commit_lock);
			continue;
		}
		if (engine->open)
			err = open_layer_lease(engine->open, size_bytes, count, time_ns,
					       lease_out);
		if (err <= 0)
			return err;
		/* What fits no empty layer would flip for ever. */
		if (engine->open && engine->open->leased_tail == LAYER_HEADER_BYTES)
			return -EFBIG;
		err = engine_flip(engine);
		if (err)
			return err;
	}
}

/* End a lease whose batch can't be written: its file was cut short under us. What is
 * behind it can't be history any more, and so nothing is from now on. */
static void abandon(struct engine *engine, struct lease *lease, int err)
{
	uint64_t start = lease->lsn.value - lease->size_bytes;

	if (start < engine->hole)
		engine->hole = start;
	lease_abandon(lease);
	engine_fail(engine, err, "the file of the open layer can't be written");
	pthread_cond_broadcast(&engine->turn);
}

/* Publish a lease that was filled with outcome @err, in its turn; or abandon it.
 * commit_lock is held. 0 or -errno. */
static int publish(struct engine *engine, struct lease *lease, struct batch_entry *entries,
		   size_t count, int err)
{
	uint64_t start = lease->lsn.value - lease->size_bytes;

	while (!err && atomic_load_explicit(&engine->newest, memory_order_relaxed) != start) {
		if (start > engine->hole)
			err = -EIO;
		else
			pthread_cond_wait(&engine->turn, &engine->commit_lock);
	}
	if (!err)
		err = lease_publish(lease, entries, count);
	if (err) {
		abandon(engine, lease, err);
		return err;
	}
	atomic_store_explicit(&engine->newest, lease->lsn.value, memory_order_release);
	if (!atomic_load_explicit(&engine->pins.horizon, memory_order_relaxed))
		pins_raise(&engine->pins, lease->lsn);
	if (!engine->open_since_ns)
		engine->open_since_ns = engine_clock_ns();
	if (lease->lsn.value > engine->lend.lend_until) {
		engine->lend.lend_until = UINT64_MAX;
		pthread_cond_signal(&engine->work);
	}
	return 0;
}

/* Mark the new life before its first batch, so that nothing a former life left
 * beyond the end can ever chain to what follows. commit_lock is held. Two first
 * commits at once may both come here, if a flip releases the lock: a second mark
 * does no harm. */
static int mark_new_life(struct engine *engine, int64_t time_ns)
{
	uint8_t nonce[BATCH_NONCE_BYTES];
	struct lease lease;
	int err;

	if (getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce))
		return -EIO;
	err = lease_somewhere(engine, BATCH_OPENED_BYTES, 0, time_ns, &lease);
	if (err)
		return err;
	err = lease_fill_opened(&lease, nonce, lsn_make(atomic_load(&engine->durable)));
	err = publish(engine, &lease, NULL, 0, err);
	if (!err)
		engine->new_life = false;
	pthread_cond_broadcast(&engine->turn);
	return err;
}

static void note_ino(struct engine *engine, const struct batch_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (entries[i].key.ino >= atomic_load_explicit(&engine->ino_next,
							       memory_order_relaxed))
			atomic_store_explicit(&engine->ino_next, entries[i].key.ino + 1,
					      memory_order_relaxed);
}

int engine_commit(struct engine *engine, struct batch_entry *entries, size_t count,
		  int64_t time_ns, struct lsn *lsn_out)
{
	size_t size_bytes = batch_size(entries, count);
	struct lease lease;
	int err = 0;

	*lsn_out = lsn_make(0);
	if (!size_bytes)
		return -EFBIG;
	pace_charge(engine, size_bytes);
	pthread_mutex_lock(&engine->commit_lock);
	if (engine->new_life)
		err = mark_new_life(engine, time_ns);
	if (!err)
		err = lease_somewhere(engine, size_bytes, count, time_ns, &lease);
	if (!err && spare_is_due(engine))
		want_spare(engine);
	pthread_mutex_unlock(&engine->commit_lock);
	if (err)
		return err;

	err = lease_fill(&lease, entries, count,
			 lsn_make(atomic_load_explicit(&engine->durable, memory_order_acquire)));

	pthread_mutex_lock(&engine->commit_lock);
	err = publish(engine, &lease, entries, count, err);
	if (!err)
		note_ino(engine, entries, count);
	/* Others may wait for their turn, or for the last lease to end. */
	if (engine->flipping || lease.layer->lease_count)
		pthread_cond_broadcast(&engine->turn);
	pthread_mutex_unlock(&engine->commit_lock);
	if (err)
		return err;
	atomic_fetch_add_explicit(&engine->commit_count, 1, memory_order_relaxed);
	*lsn_out = lease.lsn;
	return 0;
}
