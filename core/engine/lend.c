/*
 * Lend: what the memory plan keeps for layers that take writes, and nobody needs now, is lent to the block
 * cache: half of all memory, where a store is only read.
 *
 * It is lent when little was written for a second, but for a quarter, in which writers have room until it is back.
 * It is asked back by the LSN up to which they have: who publishes beyond it wakes the background. Where much is
 * written all of it goes back at once, so that a layer's growth and the cache's giving way do not race.
 *
 * All of this is the background's, but for lend_until, which is guarded by commit_lock.
 */
#include "engine_internal.h"

#define LOOK_NS INT64_C(1000000000)
#define MARGIN_PART 4u          /* of the memory for layers: not lent */
#define QUIET_PART 64u          /* of it: whoever writes no more a second writes little */

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

/* Was little written in the last second? @known_out: has a second passed since the last answer? */
static bool writers_are_quiet(struct engine *engine, bool *known_out)
{
	struct lend *lend = &engine->lend;
	uint64_t newest = atomic_load_explicit(&engine->newest, memory_order_relaxed);
	uint64_t quiet_bytes = engine->memory.layers_bytes / QUIET_PART;
	int64_t now_ns = engine_clock_ns();
	bool quiet = newest - lend->looked_newest <= quiet_bytes;

	*known_out = now_ns - lend->looked_ns >= LOOK_NS;
	if (*known_out || !quiet) {
		lend->looked_newest = newest;
		lend->looked_ns = now_ns;
	}
	return quiet;
}

/* How much is to be lent. commit_lock is held. */
static uint64_t lend_target(struct engine *engine)
{
	uint64_t taken = layers_bytes(engine) + engine->memory.layers_bytes / MARGIN_PART;
	uint64_t free_bytes = engine->memory.layers_bytes > taken ? engine->memory.layers_bytes - taken : 0;
	bool known, quiet = writers_are_quiet(engine, &known);

	if (!quiet)
		return 0;
	return known || free_bytes < engine->lend.lent_bytes ? free_bytes : engine->lend.lent_bytes;
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
