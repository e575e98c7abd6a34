/*
 * Engine check, of an engine in use: what is there when it begins is held until it ends
 * (compactor_hold), so that files that are replaced meanwhile can still be looked at.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_check.h"
#include "engine_check_internal.h"
#include "engine_internal.h"
#include "layer_check.h"

#define SETTLED_TRIES 200u
#define SETTLED_WAIT_US 2000u

/* The layers there are, and how far each is published. */
struct snapshot {
	const struct engine *engine;
	struct layer_check_target *targets;
	uint32_t count, room;
	struct key from;                /* of the run that is looked at */
};

static struct layer_check_target *snapshot_add(struct snapshot *snapshot, const struct layer *layer)
{
	struct layer_check_target *target;

	if (snapshot->count == snapshot->room) {
		uint32_t room = snapshot->room ? 2 * snapshot->room : 64;
		struct layer_check_target *targets =
			realloc(snapshot->targets, room * sizeof(*targets));

		if (!targets)
			return NULL;
		snapshot->targets = targets;
		snapshot->room = room;
	}
	target = &snapshot->targets[snapshot->count++];
	*target = (struct layer_check_target){
		.dir_fd = snapshot->engine->layers_fd, .store = &snapshot->engine->store,
		.layer_id = layer->id, .start = layer->start, .chain_known = true,
		.from = snapshot->from,
	};
	return target;
}

static int snapshot_layer(void *context, struct layer *layer)
{
	struct snapshot *snapshot = context;
	struct layer_check_target *target = snapshot_add(snapshot, layer);

	if (!target)
		return -ENOMEM;
	if (layer->kind == LAYER_TABLE) {
		target->table = table_layer_summary(layer);
		target->end = target->table->end;
	} else if (layer->kind == LAYER_SEALED) {
		const struct layer_footer *footer = sealed_layer_footer((struct sealed_layer *)layer);

		target->sealed = true;
		target->end = footer->end;
		target->chain_start = footer->chain_start;
		target->chain_end = footer->chain_end;
		target->file_bytes = sealed_layer_file_bytes((struct sealed_layer *)layer);
	} else {
		struct open_layer *open = (struct open_layer *)layer;

		target->chain_start = open->chain_start;
		target->tail_bytes = atomic_load_explicit(&open->tail, memory_order_acquire);
		target->end = lsn_make(layer->start.value + target->tail_bytes - LAYER_HEADER_BYTES);
	}
	return 0;
}

/* The layers are held: they live, and their files stay. */
static int snapshot_take(struct engine *engine, struct snapshot *snapshot)
{
	struct layer_guard guard;
	int err = 0;

	snapshot->count = 0;
	engine_guard_take(engine, &guard);
	for (uint32_t i = 0; i < guard.map->run_count && !err; i++) {
		snapshot->from = guard.map->runs[i]->from;
		err = layer_run_each(guard.map->runs[i], (struct key){ 0, 0 }, KEY_END, snapshot_layer,
				     snapshot);
	}
	layer_guard_drop(&guard);
	return err;
}

/*
 * A snapshot, and the manifest, which is read anew from disk, of one moment: no merge changed the one
 * and not yet the other. 0; 1: the manifest can't be read, and that was told, or it did not stand still; -errno.
 */
static int take_both(struct engine *engine, const struct check_hooks *hooks, struct snapshot *snapshot,
		     struct manifest *manifest)
{
	struct report report = { "" };
	int err = 0;

	for (unsigned i = 0; i < SETTLED_TRIES && !err; i++) {
		uint64_t steps = atomic_load(&engine->compactor.piece_steps);

		err = snapshot_take(engine, snapshot);
		if (err)
			return err;
		err = manifest_open(manifest, engine->dir_fd, false, &report);
		if (!err && steps % 2 == 0 && steps == atomic_load(&engine->compactor.piece_steps))
			return 0;
		if (!err) {
			manifest_close(manifest);
			usleep(SETTLED_WAIT_US);
		}
	}
	if (err == -ENOMEM)
		return err;
	if (err)
		engine_found_in_manifest(hooks, report.text);
	return 1;
}

/* Each layer in use is in the manifest, and what is lost is told. */
static void check_named(const struct manifest *manifest, const struct check_hooks *hooks,
			const struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->count; i++) {
		const struct layer_check_target *target = &snapshot->targets[i];
		const struct manifest_run *entry = NULL;

		if (target->sealed)
			entry = manifest_find(manifest, target->layer_id);
		if (!manifest_names(manifest, target->layer_id))
			engine_found_in_manifest(hooks, "a layer in use is not named");
		else if (target->sealed && (!entry || entry->end.value != target->end.value ||
					    entry->chain_end != target->chain_end))
			engine_found_in_manifest(hooks, "a sealed layer is not named as it is");
	}
	for (uint32_t i = 0; i < manifest->run_count; i++)
		if (manifest->runs[i].lost)
			engine_found_lost_layer(hooks, manifest->runs[i].run_id,
						manifest->runs[i].start, manifest->runs[i].end);
}

static int check_target(const struct layer_check_target *target, const struct check_hooks *hooks,
			struct engine_check_result *result)
{
	struct layer_check_result found;
	int err;

	if (target->table && target->table->lost) {
		engine_found_lost_table(hooks, target->table);
		return 0;
	}
	err = layer_check(target, hooks, &found);
	result->layer_count++;
	result->version_count += found.version_count;
	if (target->end.value > result->end.value)
		result->end = target->end;
	return err;
}

int engine_check_running(struct engine *engine, const struct check_hooks *hooks,
			 struct engine_check_result *result_out)
{
	struct snapshot snapshot = { .engine = engine };
	struct manifest manifest;
	int err;

	memset(result_out, 0, sizeof(*result_out));
	compactor_hold(&engine->compactor);
	err = take_both(engine, hooks, &snapshot, &manifest);
	if (!err) {
		check_named(&manifest, hooks, &snapshot);
		manifest_close(&manifest);
	}
	for (uint32_t i = 0; i < snapshot.count && err >= 0; i++)
		err = check_target(&snapshot.targets[i], hooks, result_out);
	compactor_release(engine);
	free(snapshot.targets);
	return err < 0 ? err : 0;
}
