/*
 * Lend: what the memory plan keeps for layers that take writes and for merges, and nobody needs now, is lent to
 * the block cache: half of all memory, where a store is only read.
 *
 * It is lent when little was written for a tenth of a second, but for a sixteenth of the layers' share, in which writers
 * have room until it is back. It is asked back when a merge takes buffers, and by the LSN up to which writers have that room:
 * who publishes beyond it wakes the background. Where much is written all of the layers' goes back at once, so that a
 * layer's growth and the cache's giving way do not race.
 *
 * All of this is the background's, but for lend_until, which is guarded by commit_lock.
 */
#include "engine_internal.h"

#define LOOK_NS INT64_C(100000000)
#define MARGIN_PART 16u         /* of the memory for layers: not lent */
#define QUIET_PART 640u         /* of it: whoever writes no more in that time writes little */

/* What layers that take writes or wait to be sealed have taken. commit_lock is held. */
static uint64_t layers_bytes(const struct engine *engine)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < engine->frozen_count; i++)
		bytes += open_layer_end(engine->frozen[i]).value - engine->frozen[i]->base.start.value;
	if (engine->open && engine->open_since_ns)
		bytes += open_layer_end(engine->open).value - engine->open->base.start.value;
	return bytes * MEMORY_LAYER_COST;
}

/* Was little written since the last look? @known_out: is it so long ago that this says something? */
static bool writers_are_quiet(struct engine *engine, bool *known_out)
{
	struct lend *lend = &engine->lend;
	uint64_t newest = atomic_load_explicit(&engine->newest, memory_order_relaxed);
	int64_t now_ns = engine_clock_ns(), passed = (now_ns - lend->looked_ns) / LOOK_NS;
	uint64_t quiet_bytes = engine->memory.layers_bytes / QUIET_PART * (uint64_t)(passed > 1 ? passed : 1);
	bool quiet = newest - lend->looked_newest <= quiet_bytes;

	*known_out = passed > 0;
	if (*known_out || !quiet) {
		lend->looked_newest = newest;
		lend->looked_ns = now_ns;
	}
	return quiet;
}

static bool is_merging(const struct engine *engine)
{
	return atomic_load(&engine->compactor.buffer_bytes) > 0;
}

/* What nobody needs now. commit_lock is held. */
static uint64_t free_bytes(const struct engine *engine)
{
	uint64_t taken = layers_bytes(engine) + engine->memory.layers_bytes / MARGIN_PART;
	uint64_t bytes = engine->memory.layers_bytes > taken ? engine->memory.layers_bytes - taken : 0;

	return bytes + (is_merging(engine) ? 0 : engine->memory.merge_bytes);
}

/* How much is to be lent. commit_lock is held. */
static uint64_t lend_target(struct engine *engine)
{
	uint64_t bytes = free_bytes(engine), step = engine->memory.layers_bytes / MARGIN_PART / 4;
	bool known, quiet = writers_are_quiet(engine, &known);

	engine->lend.look_again = !quiet || !known || is_merging(engine);
	if (!quiet)
		return 0;
	/* Not for each little that is written. */
	if (bytes + step > engine->lend.lent_bytes && bytes < engine->lend.lent_bytes + step)
		return engine->lend.lent_bytes;
	return known || bytes < engine->lend.lent_bytes ? bytes : engine->lend.lent_bytes;
}

int64_t engine_lend_wait_ns(const struct engine *engine)
{
	return engine->lend.look_again ? LOOK_NS : INT64_MAX;
}

bool engine_lend(struct engine *engine)
{
	uint64_t target, margin = engine->memory.layers_bytes / MARGIN_PART;

	if (!engine->memory.layers_bytes)
		return false;
	target = lend_target(engine);
	/* Writers may take half of the margin until the background sees them. */
	engine->lend.lend_until = target ? atomic_load_explicit(&engine->newest, memory_order_relaxed) +
						   margin / 2 / MEMORY_LAYER_COST
					 : UINT64_MAX;
	if (target == engine->lend.lent_bytes)
		return false;
	engine->lend.lent_bytes = target;
	pthread_mutex_unlock(&engine->commit_lock);
	block_cache_set_budget(engine->cache, engine->memory.cache_bytes + target);
	pthread_mutex_lock(&engine->commit_lock);
	return true;
}
