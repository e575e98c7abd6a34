/*
 * Flush: make the history durable, oldest layer first.
 *
 * The arenas are append-only, so each has at most one dirty range, its tail;
 * all but the last one or two layers have none. One thread flushes, up to the
 * newest LSN there is; who comes meanwhile waits for the lock, and most find
 * that the next flush took them along.
 */
#include <errno.h>
#include <string.h>

#include "engine_internal.h"

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

int flush_up_to_now(struct engine *engine, struct lsn *lsn_out)
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
	*lsn_out = lsn_make(dirty.reach);
	return 0;
}

int engine_sync(struct engine *engine, struct lsn *lsn_out)
{
	uint64_t wanted = atomic_load_explicit(&engine->newest, memory_order_acquire);
	uint64_t durable;
	int err = 0;

	*lsn_out = lsn_make(0);
	atomic_fetch_add_explicit(&engine->sync_count, 1, memory_order_relaxed);
	if (atomic_load(&engine->failed))
		return -EROFS;
	durable = atomic_load_explicit(&engine->durable, memory_order_acquire);
	if (durable < wanted) {
		pthread_mutex_lock(&engine->sync_lock);
		durable = atomic_load_explicit(&engine->durable, memory_order_acquire);
		if (atomic_load(&engine->failed))
			err = -EROFS;
		else if (durable < wanted)
			err = flush_up_to_now(engine, lsn_out);
		if (!err)
			durable = atomic_load(&engine->durable);
		pthread_mutex_unlock(&engine->sync_lock);
	}
	if (!err)
		*lsn_out = lsn_make(durable);
	return err;
}
