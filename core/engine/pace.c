/*
 * Pace: writers are slowed where compaction falls behind.
 *
 * Up to PACE_FREE runs of level 0 cost a writer nothing. From there on each byte costs it time, in
 * proportion to the runs beyond: with PACE_STEP of them as much as compaction takes for
 * a byte, so that both go at one speed. There is no wall to run into (one was
 * shipped by others and taken back within a day), but a last one for promises: at
 * PACE_MAX writers wait until there are fewer, unless compaction can't go on at all.
 *
 * A commit is charged, and who begins the next change pays, before it locks or guards anything: compaction waits for
 * guards, and readers of the head for the lock of an inode.
 */
#include <time.h>

#include "compact.h"
#include "engine_internal.h"

#define PACE_SLEEP_MIN_NS 200000        /* shorter sleeps take longer than they say */
#define PACE_SLEEP_MAX_NS 100000000
#define PACE_WAIT_NS 10000000           /* between looks, at the last limit */
#define PACE_COST_NS_MIN 1u             /* of a byte: 1 GB/s, until it is known */

void engine_pace_learn(struct engine *engine, uint32_t level_count)
{
	struct compactor *compactor = &engine->compactor;
	uint64_t busy_ns = atomic_load(&compactor->busy_ns);
	uint64_t bytes = atomic_load(&compactor->read_bytes);
	uint64_t cost = bytes ? busy_ns / bytes * level_count : 0;

	atomic_store(&engine->pace_cost_ns, cost > PACE_COST_NS_MIN ? cost : PACE_COST_NS_MIN);
}

uint64_t pace_debt(uint32_t run_count, uint64_t bytes, uint64_t cost_ns)
{
	return run_count > PACE_FREE ? bytes * cost_ns * (run_count - PACE_FREE) / PACE_STEP : 0;
}

static uint32_t run_count(const struct engine *engine)
{
	return atomic_load_explicit(&engine->level_0_count, memory_order_relaxed);
}

static void sleep_ns(uint64_t ns)
{
	struct timespec time = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	nanosleep(&time, NULL);
}

void pace_charge(struct engine *engine, size_t bytes)
{
	uint64_t cost = atomic_load_explicit(&engine->pace_cost_ns, memory_order_relaxed);

	if (engine->compactor.runs)
		atomic_fetch_add(&engine->pace_debt_ns, pace_debt(run_count(engine), bytes, cost));
}

void engine_pace(struct engine *engine)
{
	uint64_t slept_ns = 0;

	if (run_count(engine) <= PACE_FREE || !engine->compactor.runs)
		return;
	if (atomic_load(&engine->pace_debt_ns) >= PACE_SLEEP_MIN_NS) {
		slept_ns = atomic_exchange(&engine->pace_debt_ns, 0);
		if (slept_ns > PACE_SLEEP_MAX_NS)
			slept_ns = PACE_SLEEP_MAX_NS;
		sleep_ns(slept_ns);
	}
	while (run_count(engine) >= PACE_MAX && engine_can_compact(engine)) {
		sleep_ns(PACE_WAIT_NS);
		slept_ns += PACE_WAIT_NS;
	}
	atomic_fetch_add_explicit(&engine->pace_slept_ns, slept_ns, memory_order_relaxed);
}
