/*
 * Freeze: the two background threads. One makes spares ahead of need; the other
 * flips a layer that is old and seals what is frozen. So writers wait for none of
 * it unless it can't keep up, and not for a spare while a layer is sealed.
 *
 * A spare: file reserved and synced, directory synced, named in the manifest,
 * and only then used. A sealed layer: flushed, index and footer added, synced,
 * named as sealed, opened from disk, and only then put in the map.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "engine_internal.h"
#include "io.h"

#define RETRY_NS 1000000000     /* after a failure that may pass, and between looks at the age */

/* On a disk that is nearly full a smaller layer is better than none. */
static int spare_create(struct engine *engine, uint64_t layer_id, struct open_layer **spare_out)
{
	uint64_t size_bytes = engine->options.layer_size_bytes;
	int err;

	for (;;) {
		err = open_layer_create(engine->layers_fd, layer_id, size_bytes, &engine->store,
					spare_out);
		if (err != -ENOSPC && err != -EDQUOT && err != -EFBIG)
			return err;
		if (size_bytes == LAYER_SIZE_MIN)
			return -ENOSPC;
		size_bytes = size_bytes / 2 & ~UINT64_C(4095);
		if (size_bytes < LAYER_SIZE_MIN)
			size_bytes = LAYER_SIZE_MIN;
	}
}

static int spare_make(struct engine *engine, struct open_layer **spare_out)
{
	uint64_t layer_id = engine_new_id(engine);
	struct open_layer *spare = NULL;
	char name[LAYER_NAME_BYTES];
	bool broken = false;
	int err;

	*spare_out = NULL;
	err = spare_create(engine, layer_id, &spare);
	if (err)
		return err;
	err = io_sync_dir(engine->layers_fd);
	if (!err) {
		pthread_mutex_lock(&engine->manifest_lock);
		err = manifest_layer_opened(&engine->manifest, layer_id);
		broken = engine->manifest.broken;
		pthread_mutex_unlock(&engine->manifest_lock);
	}
	if (err) {
		open_layer_close(spare);
		layer_name(layer_id, name);
		/* After a failed write the manifest may name it: then it stays. */
		if (!broken)
			io_unlink(engine->layers_fd, name);
		else
			engine_fail(engine, err, "the manifest could not be written");
		return err;
	}
	*spare_out = spare;
	return 0;
}

void *spare_main(void *context)
{
	struct engine *engine = context;
	struct open_layer *spare;
	int err;

	pthread_mutex_lock(&engine->commit_lock);
	while (!engine->stopping) {
		if (!engine->spare_wanted || engine->spare) {
			engine->spare_wanted = false;
			pthread_cond_wait(&engine->spare_work, &engine->commit_lock);
			continue;
		}
		pthread_mutex_unlock(&engine->commit_lock);
		err = spare_make(engine, &spare);
		pthread_mutex_lock(&engine->commit_lock);
		engine->spare = spare;
		engine->spare_wanted = false;
		engine->spare_error = err;
		engine->spare_tries++;
		pthread_cond_broadcast(&engine->turn);
	}
	/* Who waits for a spare learns that none will come. */
	pthread_cond_broadcast(&engine->turn);
	pthread_mutex_unlock(&engine->commit_lock);
	return NULL;
}

static void free_open_layer(struct guard_garbage *garbage)
{
	open_layer_close((struct open_layer *)((char *)garbage -
					       offsetof(struct layer, garbage)));
}

static bool is_recorded_as_sealed(struct engine *engine, uint64_t layer_id)
{
	bool sealed;

	pthread_mutex_lock(&engine->manifest_lock);
	sealed = manifest_kind_of(&engine->manifest, layer_id) == MANIFEST_SEALED;
	pthread_mutex_unlock(&engine->manifest_lock);
	return sealed;
}

static int seal_and_record(struct engine *engine, struct open_layer *layer)
{
	struct manifest_run entry = { .run_id = layer->base.id };
	struct layer_footer footer;
	int err;

	err = open_layer_seal(layer, &footer);
	if (err)
		return err;
	entry.start = footer.start;
	entry.end = footer.end;
	entry.chain_end = footer.chain_end;
	entry.file_bytes = ((uint64_t)footer.footer_block + 1) * LAYER_BLOCK_BYTES;
	pthread_mutex_lock(&engine->manifest_lock);
	err = manifest_layer_sealed(&engine->manifest, &entry);
	pthread_mutex_unlock(&engine->manifest_lock);
	return err;
}

/* Everything of sealing that touches the disk. No lock is held. An attempt that failed
 * behind the record goes on from there: a layer is recorded as sealed once. */
static int seal_on_disk(struct engine *engine, struct open_layer *layer,
			struct sealed_layer **sealed_out)
{
	int err = 0;

	*sealed_out = NULL;
	if (!is_recorded_as_sealed(engine, layer->base.id))
		err = seal_and_record(engine, layer);
	if (err)
		return err;
	return sealed_layer_open(engine->layers_fd, layer->base.id, &engine->store, engine->cache,
				 engine->views, sealed_out);
}

/* commit_lock is held; released meanwhile. 0 or -errno. */
static int seal_oldest(struct engine *engine)
{
	struct open_layer *layer = engine->frozen[0];
	struct sealed_layer *sealed;
	int err;

	pthread_mutex_unlock(&engine->commit_lock);
	err = seal_on_disk(engine, layer, &sealed);
	pthread_mutex_lock(&engine->commit_lock);
	if (!err)
		err = layer_maps_replace(&engine->maps, &layer->base, sealed_layer_base(sealed),
					 sealed_layer_footer(sealed)->end);
	if (err)
		sealed_layer_close(sealed);
	engine->seal_error = engine->frozen_error = err;
	if (!err) {
		engine->frozen_count--;
		memmove(engine->frozen, engine->frozen + 1,
			engine->frozen_count * sizeof(engine->frozen[0]));
		guard_free_later(&layer->base.garbage, free_open_layer);
		atomic_fetch_add(&engine->freeze_count, 1);
		engine_count_level_0(engine);
	}
	pthread_cond_broadcast(&engine->turn);
	pthread_cond_broadcast(&engine->sealed);
	return err;
}

/* Has nothing been written for so long that its memory is better given back? Only the background asks, each
 * second; so writers needn't look at the clock. */
static bool open_layer_is_idle(struct engine *engine, int64_t now_ns)
{
	uint64_t newest = atomic_load_explicit(&engine->newest, memory_order_relaxed);

	if (newest != engine->idle_newest || !engine->idle_since_ns) {
		engine->idle_newest = newest;
		engine->idle_since_ns = now_ns;
	}
	return now_ns - engine->idle_since_ns > (int64_t)engine->options.idle_ns;
}

static bool open_layer_is_due(struct engine *engine)
{
	int64_t now_ns = engine_clock_ns();
	bool idle = open_layer_is_idle(engine, now_ns);

	if (!engine->open || !engine->open_since_ns)
		return false;
	return engine->freeze_wanted || idle ||
	       now_ns - engine->open_since_ns > (int64_t)engine->options.freeze_age_ns;
}

static void wait_for_work(struct engine *engine)
{
	int64_t lend_ns = engine_lend_wait_ns(engine);
	int64_t wait_ns = lend_ns < RETRY_NS ? lend_ns : RETRY_NS;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += wait_ns % 1000000000;
	until.tv_sec += wait_ns / 1000000000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&engine->work, &engine->commit_lock, &until);
}

/* Flip the open layer, which is due, waiting for a spare if there is none.
 * commit_lock is held. False: it can't be done now. */
static bool freeze_due_layer(struct engine *engine)
{
	int err = engine_flip(engine);

	if (err && engine->freeze_wanted) {
		engine->freeze_wanted = false;
		engine->seal_error = err;
		pthread_cond_broadcast(&engine->sealed);
	}
	return !err;
}

/* Do one thing that is due. commit_lock is held. False: there was nothing. */
static bool background_step(struct engine *engine)
{
	int err;

	/* Where there is no room for another layer those that wait can be sealed all the same. */
	if (open_layer_is_due(engine) && engine->frozen_count < engine->memory.frozen_max &&
	    freeze_due_layer(engine))
		return true;
	if (engine->frozen_count) {
		const struct open_layer *layer = engine->frozen[0];

		err = seal_oldest(engine);
		if (!err)
			compactor_poke(engine);
		/* Only what did not fail in a sync may be tried again. */
		if (err && (atomic_load(&layer->sync_failed) || !error_may_pass(err))) {
			engine_fail(engine, err, "a layer could not be sealed");
			pthread_cond_broadcast(&engine->turn);
		}
		return !err;
	}
	return false;
}

void *background_main(void *context)
{
	struct engine *engine = context;

	pthread_mutex_lock(&engine->commit_lock);
	while (!engine->stopping) {
		if (atomic_load(&engine->failed)) {
			/* Who waits for a layer to be sealed learns that none will be. */
			pthread_cond_broadcast(&engine->turn);
			pthread_cond_broadcast(&engine->sealed);
			wait_for_work(engine);
			continue;
		}
		if (engine_lend(engine))
			continue;
		/* A step that failed let the lock go, too. */
		if (!background_step(engine) && !engine->stopping)
			wait_for_work(engine);
	}
	pthread_mutex_unlock(&engine->commit_lock);
	return NULL;
}

/* Is any of what was there below @wanted not sealed yet? The frozen layers lie before the open one. commit_lock is held. */
static bool is_unsealed_below(const struct engine *engine, uint64_t wanted)
{
	const struct open_layer *first = engine->frozen_count ? engine->frozen[0] : engine->open;

	return first && first->base.start.value < wanted;
}

int engine_freeze(struct engine *engine)
{
	uint64_t wanted;
	int err = 0;

	pthread_mutex_lock(&engine->commit_lock);
	if (engine->options.read_only || atomic_load(&engine->failed)) {
		pthread_mutex_unlock(&engine->commit_lock);
		return -EROFS;
	}
	wanted = atomic_load(&engine->newest);
	engine->freeze_wanted = engine->open && engine->open->base.start.value < wanted;
	engine->seal_error = 0;
	pthread_cond_signal(&engine->work);
	/* Not for what writers fill meanwhile. */
	while (!err && is_unsealed_below(engine, wanted)) {
		pthread_cond_wait(&engine->sealed, &engine->commit_lock);
		err = atomic_load(&engine->failed) ? -EROFS : engine->seal_error;
	}
	pthread_mutex_unlock(&engine->commit_lock);
	return err;
}
