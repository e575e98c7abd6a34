/*
 * Recover: from the manifest and the layer files to a running engine.
 *
 * Sealed layers must be exactly what the manifest says. Then come the layers
 * that were open, oldest first: each is read up to its first batch that is not
 * whole. A payload that is damaged where all had been synced costs its version and no
 * more: the heads behind it show that the history goes on. Where a layer ends early, what lies in the next does not follow and is
 * dropped, unless anything that survived says it had been synced: that is damage,
 * not the end of the history, and the store is not opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "engine_internal.h"
#include "io.h"

/* Where the history read so far ends. */
struct recovery {
	struct engine *engine;
	struct report *report;
	struct lsn end;
	uint64_t chain;
	struct lsn durable;             /* highest LSN that anything says had been synced */
	char short_name[LAYER_NAME_BYTES];      /* the layer in which the history ends */
};

static int report_layer(struct recovery *recovery, int err, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];
	const char *what = strerror(-err);

	layer_name(layer_id, name);
	if (err == -EUCLEAN || err == -EBADMSG)
		what = "damaged or cut short";
	else if (err == -EXDEV)
		what = "of another store";
	else if (err == -EPROTONOSUPPORT)
		what = "of a newer format: use a newer varve";
	else if (err == -ENOENT)
		what = "missing";
	/* The store is there: to the caller a layer that is not is damage, and no other thing. */
	if (err == -ENOENT || err == -EXDEV)
		err = -EUCLEAN;
	return report_set(recovery->report, err,
			  "layer file 'layers/%s' is %s; nothing was changed: restore the file from a "
			  "backup of the store", name, what);
}

static int recover_sealed(struct recovery *recovery, const struct manifest_run *entry)
{
	struct engine *engine = recovery->engine;
	const struct layer_footer *footer;
	struct sealed_layer *layer;
	int err;

	err = sealed_layer_open(engine->layers_fd, entry->run_id, &engine->store, engine->cache,
				&layer);
	if (err)
		return report_layer(recovery, err, entry->run_id);
	footer = sealed_layer_footer(layer);
	if (footer->start.value != recovery->end.value ||
	    footer->end.value != entry->end.value || footer->chain_start != recovery->chain ||
	    footer->chain_end != entry->chain_end)
		err = -EUCLEAN;
	else
		err = layer_maps_add(&engine->maps, sealed_layer_base(layer), entry->run_id, footer->start, footer->end);
	if (err) {
		sealed_layer_close(layer);
		return report_layer(recovery, err, entry->run_id);
	}
	recovery->end = footer->end;
	recovery->chain = footer->chain_end;
	recovery->durable = recovery->end;
	if (footer->ino_max >= atomic_load(&engine->ino_next))
		atomic_store(&engine->ino_next, footer->ino_max + 1);
	return 0;
}

/* An open layer that goes on where the history ends becomes the open one; the one
 * before it is frozen. */
static int take_open_layer(struct recovery *recovery, struct open_layer *layer)
{
	struct engine *engine = recovery->engine;
	int err;

	if (engine->open && engine->frozen_count == FROZEN_MAX)
		return -EUCLEAN;
	err = layer_maps_add(&engine->maps, &layer->base, layer->base.id, layer->base.start, LSN_HEAD);
	if (err)
		return err;
	if (engine->open)
		engine->frozen[engine->frozen_count++] = engine->open;
	engine->open = layer;
	recovery->end = open_layer_end(layer);
	recovery->chain = layer->chain;
	layer_name(layer->base.id, recovery->short_name);
	if (layer->ino_max >= atomic_load(&engine->ino_next))
		atomic_store(&engine->ino_next, layer->ino_max + 1);
	return 0;
}

/* The layers that were open, each as far as it can be read; none is in use yet. */
struct open_layers {
	struct open_layer **layers;     /* owned until taken */
	uint32_t count;
	struct lsn end;                 /* where the history ends with them */
	uint64_t chain;
};

static void open_layers_destroy(struct open_layers *open)
{
	for (uint32_t i = 0; i < open->count; i++)
		open_layer_close(open->layers[i]);
	free(open->layers);
	*open = (struct open_layers){ NULL, 0, { 0 }, 0 };
}

/* Read the layers that were open, believing that all up to recovery->durable had been
 * synced, and learn from them what else had been. 0 or -errno. */
static int read_open_layers(struct recovery *recovery, struct open_layers *open)
{
	struct engine *engine = recovery->engine;
	const struct manifest *manifest = &engine->manifest;
	struct lsn durable = recovery->durable;
	int err = 0;

	*open = (struct open_layers){ .end = recovery->end, .chain = recovery->chain };
	open->layers = calloc(manifest->open_count + 1, sizeof(struct open_layer *));
	if (!open->layers)
		return report_set(recovery->report, -ENOMEM, "not enough memory to recover");
	for (uint32_t i = 0; i < manifest->open_count && !err; i++) {
		struct open_layer_recovery found;
		struct open_layer *layer;

		err = open_layer_recover(engine->layers_fd, manifest->open_ids[i],
					 &engine->store, open->end, open->chain, durable,
					 !engine->options.read_only, &layer, &found);
		if (err)
			return report_layer(recovery, err, manifest->open_ids[i]);
		open->layers[open->count++] = layer;
		if (found.durable.value > recovery->durable.value)
			recovery->durable = found.durable;
		if (found.started) {
			open->end = open_layer_end(layer);
			open->chain = layer->chain;
		}
	}
	return err;
}

static int take_open_layers(struct recovery *recovery, struct open_layers *open)
{
	struct engine *engine = recovery->engine;
	int err = 0;

	for (uint32_t i = 0; i < open->count && !err; i++) {
		struct open_layer *layer = open->layers[i];
		uint64_t layer_id = layer->base.id;

		/* Without its header a layer looks unused: until one is found that
		 * was started, the first is where the history went on. */
		if (!recovery->short_name[0])
			layer_name(layer_id, recovery->short_name);
		if (layer->started) {
			err = take_open_layer(recovery, layer);
			if (err)
				return report_layer(recovery, err, layer_id);
			open->layers[i] = NULL;
		} else if (!engine->spare) {
			engine->spare = layer;
			open->layers[i] = NULL;
		}
		/* A second spare is of no use; it is dropped at the next chance. */
	}
	return err;
}

static int recover_open(struct recovery *recovery)
{
	struct open_layers open;
	struct lsn believed = recovery->durable;
	int err = read_open_layers(recovery, &open);

	/* What ends too early may go on behind a payload that rotted, now that it is
	 * known how far all had been synced. */
	if (!err && open.end.value < recovery->durable.value &&
	    believed.value < recovery->durable.value) {
		open_layers_destroy(&open);
		err = read_open_layers(recovery, &open);
	}
	if (!err)
		err = take_open_layers(recovery, &open);
	open_layers_destroy(&open);
	return err;
}

static int recover_layers(struct recovery *recovery)
{
	const struct manifest *manifest = &recovery->engine->manifest;
	int err = 0;

	/* Sealed layers lie before open ones: they are sealed oldest first. */
	for (uint32_t i = 0; i < manifest->run_count && !err; i++)
		err = recover_sealed(recovery, &manifest->runs[i]);
	if (!err && manifest->durable.value > recovery->durable.value)
		recovery->durable = manifest->durable;
	if (!err)
		err = recover_open(recovery);
	if (err)
		return err;
	if (recovery->end.value < recovery->durable.value)
		return report_set(recovery->report, -EUCLEAN,
				  "the history is damaged at LSN %" PRIu64 ", in layer file "
				  "'layers/%s': %" PRIu64 " bytes behind it had been synced and can't "
				  "be read; nothing was changed: restore the file from a backup of the "
				  "store", recovery->end.value, recovery->short_name,
				  recovery->durable.value - recovery->end.value);
	return 0;
}

int judge_unnamed(int layers_fd, const struct store_identity *store, const char *name)
{
	uint8_t bytes[LAYER_HEADER_BYTES + BATCH_HEADER_BYTES + BATCH_NONCE_BYTES];
	struct layer_header header;
	struct batch_view batch;
	uint64_t size;
	int fd, err;

	if (io_open(layers_fd, name, O_RDONLY, 0, &fd))
		return 1;
	err = io_size(fd, &size);
	if (!err && size < sizeof(bytes)) {
		io_close(fd);
		return 0;
	}
	if (!err)
		err = io_read(fd, bytes, sizeof(bytes), 0);
	io_close(fd);
	if (err)
		return 1;
	err = layer_header_decode(bytes, store, &header);
	if (err)
		return err == 1 ? 0 : 1;
	/* A whole first batch needs more than these bytes; a plausible size will do. */
	(void)batch_view_open(bytes + LAYER_HEADER_BYTES, sizeof(bytes) - LAYER_HEADER_BYTES,
			      header.chain_start, &batch);
	return batch.size_bytes ? -EUCLEAN : 0;
}

struct sweep {
	struct engine *engine;
	struct report *report;
};

static int sweep_one(void *context, const char *name)
{
	struct sweep *sweep = context;
	struct engine *engine = sweep->engine;
	uint64_t layer_id;
	int verdict;

	if (layer_name_parse(name, &layer_id) || manifest_names(&engine->manifest, layer_id))
		return 0;
	verdict = judge_unnamed(engine->layers_fd, &engine->store, name);
	if (verdict < 0)
		return report_set(sweep->report, verdict,
				  "layer file 'layers/%s' holds history but the file 'manifest' does "
				  "not name it: the manifest was cut short; nothing was changed: "
				  "restore it from a backup of the store", name);
	if (layer_id >= engine->next_layer_id)
		engine->next_layer_id = layer_id + 1;
	if (verdict == 0 && !engine->options.read_only)
		return io_unlink(engine->layers_fd, name);
	return 0;
}

/* Remove what an interrupted step left behind. */
static int sweep(struct engine *engine, struct report *report)
{
	struct sweep context = { engine, report };

	return io_list(engine->layers_fd, ".", sweep_one, &context);
}

/* An open layer's first batch was verified with all the others. */
static struct lsn open_first_lsn(const struct open_layer *layer)
{
	struct get_cursor c = get_cursor(layer->arena.base + LAYER_HEADER_BYTES,
					 BATCH_HEADER_BYTES);

	get_u64(&c);
	return lsn_make(layer->base.start.value + get_u32(&c));
}

static int find_oldest(struct engine *engine)
{
	const struct layer_map *map = atomic_load(&engine->maps.current);
	struct lsn oldest = { 0 };
	int err = 0;

	if (atomic_load(&engine->newest) == 0)
		return 0;
	if (map->runs[0]->layer->kind == LAYER_OPEN)
		oldest = open_first_lsn((const struct open_layer *)map->runs[0]->layer);
	else
		err = sealed_layer_first_lsn((struct sealed_layer *)map->runs[0]->layer, &oldest);
	/* With log and index damaged what can't be read is refused where it is met. */
	if (err == -EBADMSG) {
		oldest = lsn_make(map->runs[0]->layer->start.value + 1);
		err = 0;
	}
	atomic_store(&engine->oldest, oldest.value);
	return err;
}

/* What lies beyond the end is cut before anything is written there. */
static int clear_tails(struct engine *engine)
{
	int err = 0;

	if (engine->spare)
		err = open_layer_clear_tail(engine->spare);
	if (!err && engine->open)
		err = open_layer_clear_tail(engine->open);
	return err;
}

int engine_recover(struct engine *engine, struct report *report)
{
	struct recovery recovery = {
		.engine = engine,
		.report = report,
		.chain = engine->store.seed,
	};
	int err;

	engine->maps.alone = true;
	err = recover_layers(&recovery);
	engine->maps.alone = false;
	if (err)
		return err;
	engine->next_layer_id = engine->manifest.id_next;
	engine->chain_recovered = recovery.chain;
	atomic_store(&engine->newest, recovery.end.value);
	atomic_store(&engine->durable, recovery.durable.value);
	engine->new_life = recovery.end.value != 0;
	if (engine->open)
		engine->open_since_ns = engine_clock_ns();
	err = sweep(engine, report);
	if (!err)
		err = find_oldest(engine);
	if (!err && !engine->options.read_only)
		err = clear_tails(engine);
	if (!err && !engine->options.read_only)
		err = manifest_tidy(&engine->manifest);
	return err;
}
