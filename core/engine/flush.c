/*
 * Flush: make the history durable, oldest layer first.
 *
 * The arenas are append-only, so each has at most one dirty range, its tail;
 * all but the last one or two layers have none.
 *
 * One thread flushes, up to the newest LSN there is. Who comes meanwhile waits
 * for it to end, and one of those whose change came too late for it flushes
 * next, for all of them: a group commit (DeWitt et al. 1984). A lock held across
 * the flush would not do: it is taken again by the thread that just gave it up,
 * before those that wait have woken, and each flush would carry one change.
 */
#include <errno.h>
#include <string.h>

#include "engine_internal.h"

#define GATHER_DIVISOR 2        /* a flush waits at most so much of the last one's time for others */

/* The layers that may be dirty, oldest first, and the LSN they reach. */
struct dirty_layers {
	struct open_layer *layers[FROZEN_MAX + 1];
	uint32_t count;
	uint64_t reach;
};

static struct dirty_layers dirty_layers_get(struct engine *engine)
{
	struct dirty_layers dirty = { .count = 0 };

	pthread_mutex_lock(&engine->commit_lock);
	for (uint32_t i = 0; i < engine->frozen_count; i++)
		dirty.layers[dirty.count++] = engine->frozen[i];
	if (engine->open)
		dirty.layers[dirty.count++] = engine->open;
	dirty.reach = atomic_load_explicit(&engine->newest, memory_order_relaxed);
	pthread_mutex_unlock(&engine->commit_lock);
	return dirty;
}

static int flush_layer(struct engine *engine, struct open_layer *layer)
{
	uint64_t flushed = atomic_load(&layer->arena.flushed_bytes);
	uint64_t tail = atomic_load(&layer->tail);
	int err;

	if (tail <= flushed)
		return 0;
	err = open_layer_flush(layer);
	if (!err) {
		atomic_fetch_add(&engine->flush_count, 1);
		atomic_fetch_add(&engine->flush_bytes, tail - flushed);
	}
	return err;
}

static int flush_up_to_now(struct engine *engine)
{
	struct layer_guard guard;
	struct dirty_layers dirty;
	int err = 0;

	/* The guard keeps a layer that is sealed meanwhile. */
	layer_guard_take(&guard, &engine->maps);
	dirty = dirty_layers_get(engine);
	for (uint32_t i = 0; i < dirty.count && !err; i++)
		err = flush_layer(engine, dirty.layers[i]);
	layer_guard_drop(&guard);
	if (err) {
		engine_fail(engine, err, "a sync failed");
		return err;
	}
	atomic_store_explicit(&engine->durable, dirty.reach, memory_order_release);
	return 0;
}

/*
 * Give those that the last flush let go the time to come again, and no longer than
 * half of what a flush takes: so all go in one flush, not in two that take turns,
 * and sixteen threads get more syncs (varve-bench sync). A thread that
 * is alone never waits. sync_lock is held; released meanwhile.
 */
static void gather(struct engine *engine)
{
	struct timespec until;
	int64_t until_ns = engine_clock_ns() + engine->flush_ns / GATHER_DIVISOR;

	until.tv_sec = until_ns / 1000000000;
	until.tv_nsec = until_ns % 1000000000;
	while (engine->came_count < engine->gathered_count &&
	       pthread_cond_timedwait(&engine->came, &engine->sync_lock, &until) == 0)
		;
}

/* Flush as the one that does. sync_lock is held; released meanwhile. 0 or -errno. */
static int flush_as_leader(struct engine *engine)
{
	int64_t start_ns;
	int err;

	engine->flushing = true;
	gather(engine);
	engine->gathered_count = engine->came_count;
	engine->came_count = 0;
	pthread_mutex_unlock(&engine->sync_lock);
	start_ns = engine_clock_ns();
	err = flush_up_to_now(engine);
	pthread_mutex_lock(&engine->sync_lock);
	engine->flush_ns = engine_clock_ns() - start_ns;
	engine->flushing = false;
	pthread_cond_broadcast(&engine->flushed);
	return err;
}

int engine_sync(struct engine *engine, struct lsn *lsn_out)
{
	uint64_t wanted = atomic_load_explicit(&engine->newest, memory_order_acquire);
	int err = 0;

	*lsn_out = lsn_make(0);
	atomic_fetch_add_explicit(&engine->sync_count, 1, memory_order_relaxed);
	pthread_mutex_lock(&engine->sync_lock);
	if (atomic_load(&engine->durable) < wanted && ++engine->came_count == engine->gathered_count)
		pthread_cond_signal(&engine->came);
	while (!err && atomic_load(&engine->durable) < wanted) {
		if (atomic_load(&engine->failed))
			err = -EROFS;
		else if (engine->flushing)
			pthread_cond_wait(&engine->flushed, &engine->sync_lock);
		else
			err = flush_as_leader(engine);
	}
	if (!err && atomic_load(&engine->failed))
		err = -EROFS;
	pthread_mutex_unlock(&engine->sync_lock);
	if (!err)
		*lsn_out = lsn_make(atomic_load_explicit(&engine->durable, memory_order_acquire));
	return err;
}
