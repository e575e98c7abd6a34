/*
 * Horizon: the oldest LSN that can be read, as the window has it.
 *
 * The window limits how long history is kept and how much of it; 0 is no limit. What is beyond
 * either goes. By bytes that is exact. By time it is to the sample where history is compacted
 * (merge.h), and to the layer where it is not: rather a little more is kept than less.
 */
#include <errno.h>
#include <time.h>

#include "codec.h"
#include "compact.h"
#include "engine_internal.h"

static const struct key time_key = { KEY_TIME_INO, (uint64_t)KEY_TIME << KEY_INDEX_BITS };

int run_time_at(const struct layer_guard *guard, const struct layer_run *run, struct lsn lsn,
		struct version *version_out, int64_t *time_out)
{
	struct layer *layer = layer_run_find(run, time_key, lsn);
	uint8_t bytes[8];
	struct get_cursor c;
	size_t size;
	int err = layer ? layer_find(layer, time_key, lsn, version_out) : 1;

	if (!err)
		err = engine_load(guard, version_out, bytes, sizeof(bytes), &size);
	if (err)
		return err;
	c = get_cursor(bytes, size);
	*time_out = (int64_t)get_u64(&c);
	return c.bad ? -EUCLEAN : 0;
}

/* The newest LSN of a run of table layers whose time is known to be at or before @until_ns; the run's start: none. */
static struct lsn search_run(const struct layer_guard *guard, const struct layer_run *run,
			     int64_t until_ns)
{
	uint64_t low = run->start.value, high = run->end.value;
	struct version version;
	int64_t time_ns;

	/* All up to @low is old enough, what is above @high is not. */
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;
		int err = run_time_at(guard, run, lsn_make(middle), &version, &time_ns);

		/* What can't be read is not taken to be old. */
		if (err < 0)
			high = middle - 1;
		else if (!err && time_ns > until_ns)
			high = version.lsn.value - 1;
		else
			low = middle;
	}
	return lsn_make(low);
}

static struct lsn horizon_by_time(struct engine *engine, uint64_t window_ns)
{
	struct lsn horizon = { 0 };
	struct layer_guard guard;
	struct timespec now;
	int64_t until_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	until_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	/* Nothing is older than the epoch. */
	if (until_ns < 0 || window_ns > (uint64_t)until_ns)
		return horizon;
	until_ns -= (int64_t)window_ns;
	layer_guard_take(&guard, &engine->maps);
	for (uint32_t i = 0; i < guard.map->run_count; i++) {
		const struct layer_run *run = guard.map->runs[i];
		struct lsn reached = run->start;

		if (!run_is_sealed(run))
			break;
		/* Its times were merged already: the run it goes into has them, and those of all its span. */
		if (key_compare(time_key, run->from) < 0)
			continue;
		if (run->level)
			reached = search_run(&guard, run, until_ns);
		else if (sealed_layer_footer((struct sealed_layer *)run->layer)->time_last_ns <=
			 until_ns)
			reached = run->end;
		if (reached.value > horizon.value)
			horizon = reached;
		if (reached.value < run->end.value)
			break;
	}
	layer_guard_drop(&guard);
	return horizon;
}

void engine_window_get(struct engine *engine, struct engine_window *window_out)
{
	*window_out = (struct engine_window){
		.time_ns = atomic_load_explicit(&engine->window_ns, memory_order_relaxed),
		.bytes = atomic_load_explicit(&engine->window_bytes, memory_order_relaxed),
	};
}

int engine_window_set(struct engine *engine, const struct engine_window *window)
{
	bool broken;
	int err;

	if (engine->options.read_only || atomic_load(&engine->failed))
		return -EROFS;
	pthread_mutex_lock(&engine->manifest_lock);
	err = manifest_window_set(&engine->manifest, window->time_ns, window->bytes);
	if (!err) {
		atomic_store(&engine->window_ns, window->time_ns);
		atomic_store(&engine->window_bytes, window->bytes);
	}
	broken = engine->manifest.broken;
	pthread_mutex_unlock(&engine->manifest_lock);
	if (err && broken)
		engine_fail(engine, err, "the manifest could not be written");
	if (!err) {
		horizon_move(engine);
		compactor_poke(engine);
	}
	return err;
}

struct lsn engine_oldest(const struct engine *engine)
{
	return lsn_make(atomic_load_explicit(&engine->pins.horizon, memory_order_acquire));
}

int engine_pin(struct engine *engine, struct lsn lsn)
{
	return lsn.value > engine_newest(engine).value ? -ENOENT : pins_add(&engine->pins, lsn);
}

void engine_unpin(struct engine *engine, struct lsn lsn)
{
	pins_drop(&engine->pins, lsn);
}

bool engine_is_kept(struct engine *engine, struct lsn lsn)
{
	return pins_is_kept(&engine->pins, lsn);
}

int engine_each_pin(struct engine *engine, engine_pin_fn *fn, void *context)
{
	return pins_each(&engine->pins, fn, context);
}

void horizon_move(struct engine *engine)
{
	struct engine_window window;
	uint64_t newest = engine_newest(engine).value;
	struct lsn horizon = { 0 };

	engine_window_get(engine, &window);
	if (window.bytes && newest > window.bytes)
		horizon = lsn_make(newest - window.bytes);
	if (window.time_ns) {
		struct lsn by_time = horizon_by_time(engine, window.time_ns);

		if (by_time.value > horizon.value)
			horizon = by_time;
	}
	if (horizon.value > newest)
		horizon = lsn_make(newest);
	if (horizon.value > engine_oldest(engine).value)
		pins_raise(&engine->pins, horizon);
}
