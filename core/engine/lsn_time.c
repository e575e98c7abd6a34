/*
 * LSN time: when a change was made, from the layer that holds it.
 *
 * Of a layer in the order of the log each batch tells. A run of table layers has samples of
 * the times of its batches instead (merge.h).
 */
#include <errno.h>

#include "engine_internal.h"
#include "sealed_cursor.h"

struct search {
	struct lsn lsn;
	int64_t time_ns;
	bool found;
};

static int look_at(void *context, struct lsn lsn, int64_t time_ns)
{
	struct search *search = context;

	if (lsn.value > search->lsn.value)
		return 1;
	search->time_ns = time_ns;
	search->found = true;
	return 0;
}

static int search_log(struct layer *layer, struct search *search)
{
	const struct layer_footer *footer;

	if (layer->kind == LAYER_OPEN)
		return open_each_time((struct open_layer *)layer, look_at, search);
	footer = sealed_layer_footer((struct sealed_layer *)layer);
	if (search->lsn.value >= footer->end.value)
		return look_at(search, footer->end, footer->time_last_ns);
	return sealed_each_time(layer, look_at, search);
}

static int search_run(const struct layer_guard *guard, const struct layer_run *run,
		      struct search *search)
{
	struct version version;
	int err;

	if (run->level) {
		err = run_time_at(guard, run, search->lsn, &version, &search->time_ns);
		search->found = !err;
	} else {
		err = run->layer ? search_log(run->layer, search) : 1;
	}
	return err < 0 ? err : 0;
}

int engine_lsn_time(struct engine *engine, struct lsn lsn, int64_t *time_ns_out)
{
	struct search search = { .lsn = lsn };
	struct layer_guard guard;
	int err = 0;

	engine_guard_take(engine, &guard);
	for (uint32_t i = guard.map->run_count; i > 0 && !search.found && !err; i--) {
		const struct layer_run *run = guard.map->runs[i - 1];

		if (run->start.value < lsn.value)
			err = search_run(&guard, run, &search);
	}
	layer_guard_drop(&guard);
	*time_ns_out = search.time_ns;
	return err ? err : !search.found;
}
