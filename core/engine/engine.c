/*
 * Engine: opening, closing, numbers. See engine.h and engine_internal.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine_internal.h"
#include "io.h"

#define FREEZE_AGE_DEFAULT_NS (UINT64_C(3600) * 1000000000)
#define IDLE_DEFAULT_NS (UINT64_C(60) * 1000000000)

int64_t engine_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void engine_fail(struct engine *engine, int err, const char *what)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&engine->failed, &none, err))
		log_line("%s: %s; the store takes no more writes until it is mounted again",
			 what, strerror(-err));
}

int engine_create(int dir_fd, uint32_t page_size_bytes, enum compression compression)
{
	int err = io_make_dir(dir_fd, LAYERS_NAME);

	/* The manifest comes last, for a directory with one is a store: both names
	 * pending at once, a power cut could keep only the manifest's. */
	if (!err)
		err = io_sync_dir(dir_fd);
	return err ? err : manifest_create(dir_fd, page_size_bytes, compression);
}

static void options_take(struct engine *engine, const struct engine_options *options)
{
	struct engine_options *o = &engine->options;

	*o = *options;
	engine->memory = memory_plan_make(o->memory_bytes, o->layer_size_bytes, o->cache_size_bytes);
	o->layer_size_bytes = engine->memory.layer_bytes;
	o->cache_size_bytes = engine->memory.cache_bytes;
	if (!o->table_size_bytes)
		o->table_size_bytes = o->layer_size_bytes;
	if (!o->piece_bytes)
		o->piece_bytes = o->layer_size_bytes;
	if (!o->freeze_age_ns)
		o->freeze_age_ns = FREEZE_AGE_DEFAULT_NS;
	if (!o->idle_ns)
		o->idle_ns = IDLE_DEFAULT_NS;
}

static void engine_init_locks(struct engine *engine)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&engine->sync_lock, NULL);
	pthread_mutex_init(&engine->manifest_lock, NULL);
	pthread_mutex_init(&engine->commit_lock, NULL);
	pthread_cond_init(&engine->flushed, NULL);
	pthread_cond_init(&engine->came, &monotonic);
	pthread_cond_init(&engine->turn, NULL);
	pthread_cond_init(&engine->work, &monotonic);
	pthread_cond_init(&engine->spare_work, NULL);
	pthread_cond_init(&engine->sealed, NULL);
	pthread_condattr_destroy(&monotonic);
}

uint64_t engine_new_id(struct engine *engine)
{
	return atomic_fetch_add(&engine->next_id, 1);
}

void engine_free_layer(struct layer *layer)
{
	if (!layer)
		return;
	switch (layer->kind) {
	case LAYER_OPEN:
		open_layer_close((struct open_layer *)layer);
		break;
	case LAYER_SEALED:
		sealed_layer_close((struct sealed_layer *)layer);
		break;
	case LAYER_TABLE:
		table_layer_free(layer);
		break;
	}
}

static int free_layer(void *context, struct layer *layer)
{
	(void)context;
	engine_free_layer(layer);
	return 0;
}

void engine_count_level_0(struct engine *engine)
{
	const struct layer_map *map = atomic_load(&engine->maps.current);
	uint32_t count = 0;

	for (uint32_t i = 0; i < map->run_count; i++)
		count += map->runs[i]->level == 0 && run_is_sealed(map->runs[i]);
	atomic_store(&engine->level_0_count, count);
}

struct lsn engine_open_start(struct engine *engine)
{
	struct lsn start = LSN_HEAD;

	pthread_mutex_lock(&engine->commit_lock);
	if (engine->open)
		start = engine->open->base.start;
	pthread_mutex_unlock(&engine->commit_lock);
	return start;
}

/* The background has stopped and no reader is left. */
static void engine_free(struct engine *engine)
{
	struct layer_map *map = atomic_load(&engine->maps.current);

	if (map)
		layer_map_each(map, free_layer, NULL);
	guard_barrier();
	layer_maps_destroy(&engine->maps);
	layer_files_free(engine->files);
	compactor_destroy(&engine->compactor);
	pins_destroy(&engine->pins);
	open_layer_close(engine->spare);
	block_cache_free(engine->cache);
	mapped_views_free(engine->views);
	manifest_close(&engine->manifest);
	io_close(engine->layers_fd);
	pthread_mutex_destroy(&engine->sync_lock);
	pthread_mutex_destroy(&engine->manifest_lock);
	pthread_mutex_destroy(&engine->commit_lock);
	pthread_cond_destroy(&engine->flushed);
	pthread_cond_destroy(&engine->came);
	pthread_cond_destroy(&engine->turn);
	pthread_cond_destroy(&engine->work);
	pthread_cond_destroy(&engine->spare_work);
	pthread_cond_destroy(&engine->sealed);
	free(engine);
}

static int start_background(struct engine *engine)
{
	int err = -pthread_create(&engine->spare_maker, NULL, spare_main, engine);

	engine->spare_maker_runs = !err;
	if (!err)
		err = -pthread_create(&engine->background, NULL, background_main, engine);
	engine->background_runs = engine->spare_maker_runs && !err;
	if (!err && !engine->options.no_compaction)
		err = compactor_start(engine);
	return err;
}

static void stop_background(struct engine *engine)
{
	compactor_stop(engine);
	pthread_mutex_lock(&engine->commit_lock);
	engine->stopping = true;
	pthread_cond_signal(&engine->work);
	pthread_cond_signal(&engine->spare_work);
	pthread_mutex_unlock(&engine->commit_lock);
	if (engine->spare_maker_runs)
		pthread_join(engine->spare_maker, NULL);
	if (engine->background_runs)
		pthread_join(engine->background, NULL);
}

int engine_open(int dir_fd, const struct engine_options *options, struct report *report,
		struct engine **engine_out)
{
	struct engine *engine = calloc(1, sizeof(*engine));
	int err;

	*engine_out = NULL;
	if (!engine)
		return report_set(report, -ENOMEM, "not enough memory to open the store");
	engine->dir_fd = dir_fd;
	engine->layers_fd = -1;
	engine->manifest.fd = -1;
	options_take(engine, options);
	atomic_init(&engine->next_id, 1);
	engine->hole = UINT64_MAX;
	engine_init_locks(engine);
	pins_init(&engine->pins);
	compactor_init(&engine->compactor);
	engine_pace_learn(engine, 1);
	err = manifest_open(&engine->manifest, dir_fd, !options->read_only, report);
	if (err)
		goto out;
	engine->store = engine->manifest.store;
	err = io_open(dir_fd, LAYERS_NAME, O_RDONLY | O_DIRECTORY, 0, &engine->layers_fd);
	if (err) {
		report_set(report, err, "the directory 'layers' of the store: %s: restore it from "
			   "a backup of the store", strerror(-err));
		goto out;
	}
	err = block_cache_create(engine->options.cache_size_bytes, &engine->cache);
	if (!err)
		err = mapped_views_create(engine->memory.views_bytes, &engine->views);
	if (!err)
		err = layer_files_create(engine->layers_fd, TABLE_FILES_OPEN, &engine->files);
	if (!err)
		err = layer_maps_init(&engine->maps);
	guard_prepare();
	if (!err)
		err = engine_recover(engine, report);
	if (!err && !options->read_only)
		err = start_background(engine);
	if (err)
		goto out;
	*engine_out = engine;
	engine = NULL;
out:
	if (engine) {
		stop_background(engine);
		if (report && !report->text[0])
			report_set(report, err, "can't recover the store: %s", strerror(-err));
		engine_free(engine);
	}
	return err;
}

int engine_close(struct engine *engine)
{
	struct lsn durable;
	int err = 0;

	if (!engine)
		return 0;
	stop_background(engine);
	if (!engine->options.read_only) {
		err = engine_sync(engine, &durable);
		if (!err && durable.value > engine->manifest.durable.value) {
			err = manifest_durable(&engine->manifest, durable);
			/* Without room for the mark the store is as safe as after a kill. */
			if (err == -ENOSPC)
				err = 0;
		}
	}
	engine_free(engine);
	return err;
}

uint32_t engine_page_size(const struct engine *engine)
{
	return engine->store.page_size_bytes;
}

const struct store_identity *engine_identity(const struct engine *engine)
{
	return &engine->store;
}

struct lsn engine_newest(const struct engine *engine)
{
	return lsn_make(atomic_load_explicit(&engine->newest, memory_order_acquire));
}

struct lsn engine_layer_start(const struct engine *engine)
{
	return lsn_make(atomic_load_explicit(&engine->layer_start, memory_order_relaxed));
}

uint64_t engine_recent_bytes(const struct engine *engine)
{
	return engine->memory.recent_bytes;
}

uint64_t engine_ino_next(const struct engine *engine)
{
	return atomic_load_explicit(&engine->ino_next, memory_order_relaxed);
}

/* commit_lock is held. */
static void usage_of_open_layer(const struct open_layer *layer, struct engine_usage *usage)
{
	uint64_t tail = atomic_load(&layer->tail);
	uint64_t flushed = atomic_load(&layer->arena.flushed_bytes);

	usage->arena_capacity_bytes += layer->arena.capacity_bytes;
	usage->arena_used_bytes += tail;
	usage->arena_dirty_bytes += tail > flushed ? tail - flushed : 0;
	for (unsigned i = 0; i < ARENA_PURPOSE_COUNT; i++)
		usage->arena_held_bytes[i] += atomic_load(&layer->arena.held_bytes[i]);
	usage->index_bytes += version_index_memory_bytes(layer->index);
	usage->version_count += version_index_version_count(layer->index);
}

uint32_t engine_run_limit(const struct engine *engine, struct lsn newest)
{
	const struct plan_options options = {
		.fanin_0 = engine->options.fanin_0,
		.fanin = engine->options.fanin,
		.layer_bytes = engine->options.layer_size_bytes,
	};
	uint32_t fanin = options.fanin ? options.fanin : PLAN_FANIN;
	uint32_t levels = plan_level_of(newest.value, &options);

	/* Level 0; of each level above those that wait to be merged and the one that comes out; and
	 * those that are not merged lest they expire too late (compaction_plan.h). */
	return PACE_MAX + FROZEN_MAX + 1 + levels * (fanin + 1) + (PLAN_WINDOW_DIVISOR + 1) * fanin;
}

static int usage_of_layer(void *context, struct layer *layer)
{
	struct engine_usage *usage = context;

	if (layer->kind == LAYER_SEALED) {
		usage->layer_count++;
		usage->sealed_bytes += sealed_layer_file_bytes((struct sealed_layer *)layer);
	} else if (layer->kind == LAYER_TABLE) {
		usage->table_count++;
		usage->table_bytes += table_layer_summary(layer)->file_bytes;
	}
	return 0;
}

static int count_pin(void *context, struct lsn lsn, uint32_t count)
{
	(void)lsn;
	(void)count;
	++*(uint32_t *)context;
	return 0;
}

static void usage_of_compaction(struct engine *engine, struct engine_usage *usage)
{
	struct compactor *compactor = &engine->compactor;

	usage->level_0_count = atomic_load(&engine->level_0_count);
	usage->run_limit = engine_run_limit(engine, usage->newest);
	usage->level_0_free = PACE_FREE;
	usage->level_0_limit = PACE_MAX;
	usage->patch_limit = VERSION_WEIGHT_MAX;
	usage->merge_count = atomic_load(&compactor->merge_count);
	usage->merge_read_bytes = atomic_load(&compactor->read_bytes);
	usage->merge_written_bytes = atomic_load(&compactor->written_bytes);
	usage->gc_dropped_bytes = atomic_load(&compactor->dropped_bytes);
	usage->gc_dropped_versions = atomic_load(&compactor->dropped_versions);
	usage->piece_count = atomic_load(&compactor->piece_count);
	usage->paced_ns = atomic_load(&engine->pace_slept_ns);
	pthread_mutex_lock(&compactor->lock);
	usage->compaction_error = compactor->error;
	pthread_mutex_unlock(&compactor->lock);
	engine_window_get(engine, &usage->window);
	pins_each(&engine->pins, count_pin, &usage->pin_count);
}

void engine_usage_get(struct engine *engine, struct engine_usage *usage_out)
{
	struct layer_guard guard;

	_Static_assert(sizeof(usage_out->arena_held_bytes) / sizeof(uint64_t) ==
			       ARENA_PURPOSE_COUNT,
		       "one counter a purpose");
	memset(usage_out, 0, sizeof(*usage_out));
	usage_out->read_only = engine->options.read_only || atomic_load(&engine->failed);
	usage_out->oldest = engine_oldest(engine);
	usage_out->newest = engine_newest(engine);
	usage_out->durable = lsn_make(atomic_load(&engine->durable));
	usage_out->cache_bytes = block_cache_bytes(engine->cache);
	usage_out->cache_waiting_bytes = block_cache_waiting_bytes(engine->cache);
	usage_out->cache_budget_bytes = block_cache_budget(engine->cache);
	usage_out->memory_bytes = engine->memory.memory_bytes;
	usage_out->view_bytes = mapped_views_bytes(engine->views);
	usage_out->merge_bytes = atomic_load(&engine->compactor.buffer_bytes);
	usage_out->layer_size_bytes = engine->memory.layer_bytes;
	usage_out->frozen_max = engine->memory.frozen_max;
	usage_out->commit_count = atomic_load(&engine->commit_count);
	usage_out->sync_count = atomic_load(&engine->sync_count);
	usage_out->flush_count = atomic_load(&engine->flush_count);
	/* Append-only arenas: one range, the tail, a flush. */
	usage_out->flush_range_count = usage_out->flush_count;
	usage_out->flush_bytes = atomic_load(&engine->flush_bytes);
	usage_out->freeze_count = atomic_load(&engine->freeze_count);
	layer_guard_take(&guard, &engine->maps);
	usage_out->run_count = guard.map->run_count;
	layer_map_each(guard.map, usage_of_layer, usage_out);
	layer_guard_drop(&guard);
	usage_of_compaction(engine, usage_out);
	pthread_mutex_lock(&engine->commit_lock);
	for (uint32_t i = 0; i < engine->frozen_count; i++)
		usage_of_open_layer(engine->frozen[i], usage_out);
	if (engine->open)
		usage_of_open_layer(engine->open, usage_out);
	pthread_mutex_unlock(&engine->commit_lock);
}
