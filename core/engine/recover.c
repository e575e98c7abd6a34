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
#include "table_format.h"

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
			  "backup of the store, or run 'varve check --repair'", name, what);
}

/* Does a layer go on where the history so far ends? One that is part of a merge under way lies
 * within the span of what comes out, and is known by the manifest alone. */
static bool follows(const struct recovery *recovery, const struct layer_footer *footer)
{
	return footer->start.value < recovery->end.value ||
	       (footer->start.value == recovery->end.value &&
		footer->chain_start == recovery->chain);
}

/* Put a run in the map as the manifest has it: of a merge under way without the keys that left it. */
static int map_run(struct engine *engine, const struct manifest_run *run, struct layer *const *layers)
{
	struct layer_map_edit edit;
	int err = layer_map_edit_begin(&engine->maps, &edit);

	if (err)
		return err;
	err = layer_map_edit_run(&edit, run, layers);
	if (err)
		layer_map_edit_abort(&edit);
	else
		layer_map_edit_publish(&edit);
	return err;
}

static int recover_sealed(struct recovery *recovery, const struct manifest_run *entry)
{
	struct engine *engine = recovery->engine;
	const struct layer_footer *footer;
	struct sealed_layer *layer;
	struct layer *base;
	int err;

	err = sealed_layer_open(engine->layers_fd, entry->run_id, &engine->store, engine->cache,
				engine->views, &layer);
	if (err)
		return report_layer(recovery, err, entry->run_id);
	base = sealed_layer_base(layer);
	footer = sealed_layer_footer(layer);
	if (footer->start.value != entry->start.value || footer->end.value != entry->end.value ||
	    footer->chain_end != entry->chain_end || !follows(recovery, footer))
		err = -EUCLEAN;
	else
		err = map_run(engine, entry, &base);
	if (err) {
		sealed_layer_close(layer);
		return report_layer(recovery, err, entry->run_id);
	}
	if (footer->end.value > recovery->end.value) {
		recovery->end = recovery->durable = footer->end;
		recovery->chain = footer->chain_end;
	}
	if (footer->ino_max >= atomic_load(&engine->ino_next))
		atomic_store(&engine->ino_next, footer->ino_max + 1);
	return 0;
}

/* A layer file that a repair noted as gone: nobody looks behind it. How many inode numbers were given
 * out in there is not known, but each took a byte at least. */
static int recover_lost(struct recovery *recovery, const struct manifest_run *run)
{
	struct layer *none = NULL;
	int err = map_run(recovery->engine, run, &none);

	atomic_fetch_add(&recovery->engine->ino_next, run->end.value - run->start.value);
	if (run->end.value > recovery->end.value) {
		recovery->end = recovery->durable = run->end;
		recovery->chain = run->chain_end;
	}
	return err;
}

/* The tables of a run, none of which is opened. *layers_out is to be freed. */
static int make_tables(struct engine *engine, const struct manifest_run *run,
		       struct layer ***layers_out)
{
	const struct table_summary *summaries = manifest_run_layers(run);
	struct layer **layers = calloc(run->layer_count + (size_t)1, sizeof(*layers));
	int err = layers ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < run->layer_count && !err; i++) {
		err = table_layer_new(&summaries[i], &engine->store, engine->cache, engine->files,
				      &layers[i]);
		if (!err && summaries[i].ino_max >= atomic_load(&engine->ino_next))
			atomic_store(&engine->ino_next, summaries[i].ino_max + 1);
	}
	for (uint32_t i = 0; i < run->layer_count && err && layers; i++)
		table_layer_free(layers[i]);
	if (err)
		free(layers);
	*layers_out = err ? NULL : layers;
	return err;
}

/* A run of table layers. Of one whose merge is under way only the part behind @from counts,
 * and spans overlap; the manifest has seen to it that they fit. */
static int recover_tables(struct recovery *recovery, const struct manifest_run *run)
{
	struct engine *engine = recovery->engine;
	struct layer **layers;
	int err = make_tables(engine, run, &layers);

	if (err)
		return err;
	err = map_run(engine, run, layers);
	for (uint32_t i = 0; i < run->layer_count && err; i++)
		table_layer_free(layers[i]);
	free(layers);
	if (!err && run->end.value > recovery->end.value) {
		recovery->end = recovery->durable = run->end;
		recovery->chain = run->chain_end;
	}
	return err;
}

static int recover_run(struct recovery *recovery, const struct manifest_run *run)
{
	if (run->lost)
		return recover_lost(recovery, run);
	return run->level ? recover_tables(recovery, run) : recover_sealed(recovery, run);
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

/* Was it begun, and does it hold anything? */
static bool holds_history(const struct open_layer *layer)
{
	return layer->started && open_layer_end(layer).value > layer->base.start.value;
}

/* What a seal has cut to size, and a power cut then emptied, has no room. */
static bool may_be_spare(const struct open_layer *layer)
{
	return layer->arena.capacity_bytes >= LAYER_SIZE_MIN;
}

/*
 * Those that hold history come into use, and of the others one as the spare: one whose id is above those of all that
 * hold any. Layers are read back in the order of their ids, so what is begun later must have a higher one.
 */
static int take_open_layers(struct recovery *recovery, struct open_layers *open)
{
	struct engine *engine = recovery->engine;
	int err = 0;

	for (uint32_t i = 0; i < open->count && !err; i++) {
		struct open_layer *layer = open->layers[i];
		uint64_t layer_id = layer->base.id;

		/* Without its header a layer looks unused: until one is found that
		 * was started, the first is where the history went on. */
		if (!recovery->short_name[0] || layer->started)
			layer_name(layer_id, recovery->short_name);
		if (holds_history(layer)) {
			err = take_open_layer(recovery, layer);
			if (err)
				return report_layer(recovery, err, layer_id);
			open->layers[i] = NULL;
			open_layer_close(engine->spare);
			engine->spare = NULL;
		} else if (!engine->spare && may_be_spare(layer)) {
			/* It is begun once more when its turn comes. */
			layer->started = false;
			layer->base.start = lsn_make(0);
			engine->spare = layer;
			open->layers[i] = NULL;
		}
		/* Others are of no use, and go (drop_unused). */
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
		err = recover_run(recovery, &manifest->runs[i]);
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
				  "store, or run 'varve check --repair'", recovery->end.value, recovery->short_name,
				  recovery->durable.value - recovery->end.value);
	return 0;
}

/* Is a log-order layer's history in a run of tables by now? */
static bool was_replaced(const struct manifest *manifest, const struct layer_header *header)
{
	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];

		if (run->level && run->start.value <= header->start.value &&
		    header->start.value < run->end.value)
			return true;
	}
	return false;
}

int judge_unnamed(int layers_fd, const struct manifest *manifest, const char *name)
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
	if (table_header_is(bytes))
		return 0;
	err = layer_header_decode(bytes, &manifest->store, &header);
	if (err)
		return err == 1 ? 0 : 1;
	if (was_replaced(manifest, &header))
		return 0;
	/* A whole first batch needs more than these bytes; a plausible size will do. */
	(void)batch_view_open(bytes + LAYER_HEADER_BYTES, sizeof(bytes) - LAYER_HEADER_BYTES,
			      header.chain_start, &batch);
	return batch.size_bytes ? -EUCLEAN : 0;
}

/*
 * Files of layers that the manifest does not name are left over from an interrupted step and go: tables, of a
 * piece that was not finished or of one that was replaced; log-order layers that hold nothing, or
 * whose history is in tables by now.
 *
 * But not where a file that is named is missing: then it is rather the manifest that lost its end, and
 * what looks left over may be all there is.
 */
struct sweep {
	struct engine *engine;
	struct report *report;
	uint64_t *ids;                  /* of the files there are; owned */
	size_t count, room;
};

static int note_file(void *context, const char *name)
{
	struct sweep *sweep = context;
	uint64_t layer_id;

	if (layer_name_parse(name, &layer_id))
		return 0;
	if (sweep->count == sweep->room) {
		size_t room = sweep->room ? 2 * sweep->room : 256;
		uint64_t *ids = realloc(sweep->ids, room * sizeof(*ids));

		if (!ids)
			return -ENOMEM;
		sweep->ids = ids;
		sweep->room = room;
	}
	sweep->ids[sweep->count++] = layer_id;
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_there(const struct sweep *sweep, uint64_t layer_id)
{
	return bsearch(&layer_id, sweep->ids, sweep->count, sizeof(layer_id), compare_ids) != NULL;
}

/* Sealed layers were opened; of the tables it is only looked whether they are there. */
static int look_for_tables(struct sweep *sweep, struct recovery *recovery)
{
	const struct manifest *manifest = &sweep->engine->manifest;

	for (uint32_t r = 0; r < manifest->run_count; r++) {
		const struct manifest_run *run = &manifest->runs[r];
		const struct table_summary *tables = manifest_run_layers(run);

		for (uint32_t i = 0; run->level && i < run->layer_count; i++)
			if (!tables[i].lost && !is_there(sweep, tables[i].layer_id))
				return report_layer(recovery, -ENOENT, tables[i].layer_id);
	}
	return 0;
}

static int sweep_one(struct sweep *sweep, uint64_t layer_id)
{
	struct engine *engine = sweep->engine;
	char name[LAYER_NAME_BYTES];
	int verdict;

	layer_name(layer_id, name);
	verdict = judge_unnamed(engine->layers_fd, &engine->manifest, name);
	if (verdict < 0)
		return report_set(sweep->report, verdict,
				  "layer file 'layers/%s' holds history but the file 'manifest' does "
				  "not name it: the manifest was cut short; nothing was changed: "
				  "restore it from a backup of the store, or run 'varve check --repair'", name);
	if (layer_id >= atomic_load(&engine->next_id))
		atomic_store(&engine->next_id, layer_id + 1);
	if (verdict == 0 && !engine->options.read_only)
		return io_unlink(engine->layers_fd, name);
	return 0;
}

static int sweep(struct recovery *recovery)
{
	struct engine *engine = recovery->engine;
	struct sweep sweep = { .engine = engine, .report = recovery->report };
	int err = io_list(engine->layers_fd, ".", note_file, &sweep);

	if (!err && sweep.count)
		qsort(sweep.ids, sweep.count, sizeof(*sweep.ids), compare_ids);
	if (!err)
		err = look_for_tables(&sweep, recovery);
	for (size_t i = 0; i < sweep.count && !err; i++)
		if (!manifest_names(&engine->manifest, sweep.ids[i]))
			err = sweep_one(&sweep, sweep.ids[i]);
	free(sweep.ids);
	return err;
}

/* An open layer's first batch was verified with all the others. */
static struct lsn open_first_lsn(const struct open_layer *layer)
{
	struct get_cursor c = get_cursor(layer->arena.base + LAYER_HEADER_BYTES,
					 BATCH_HEADER_BYTES);

	get_u64(&c);
	return lsn_make(layer->base.start.value + get_u32(&c));
}

/* Where the first batch of history that was compacted ended: the first time that is kept (merge.h). */
static struct lsn tables_first_lsn(const struct manifest_run *run)
{
	const struct table_summary *tables = manifest_run_layers(run);

	return run->layer_count && tables[0].first_key.ino == KEY_TIME_INO
		       ? tables[0].first_lsn
		       : lsn_make(run->start.value + 1);
}

static int first_lsn(struct engine *engine, struct lsn *lsn_out)
{
	const struct layer_run *first = atomic_load(&engine->maps.current)->runs[0];
	const struct manifest_run *run = manifest_find(&engine->manifest, first->id);
	int err = 0;

	*lsn_out = lsn_make(first->start.value + 1);
	if (first->level && run)
		*lsn_out = tables_first_lsn(run);
	else if (first->layer && first->layer->kind == LAYER_OPEN)
		*lsn_out = open_first_lsn((const struct open_layer *)first->layer);
	else if (first->layer && first->layer->kind == LAYER_SEALED)
		err = sealed_layer_first_lsn((struct sealed_layer *)first->layer, lsn_out);
	/* With log and index damaged what can't be read is refused where it is met. */
	if (err == -EBADMSG) {
		*lsn_out = lsn_make(first->start.value + 1);
		err = 0;
	}
	return err;
}

/* Tags hold what lies below the window, so they come before it. */
static int find_horizon(struct engine *engine)
{
	const struct manifest *manifest = &engine->manifest;
	struct lsn oldest;
	int err = 0;

	atomic_store(&engine->window_ns, manifest->window_ns);
	atomic_store(&engine->window_bytes, manifest->window_bytes);
	if (atomic_load(&engine->newest) == 0)
		return 0;
	for (uint32_t i = 0; i < manifest->tag_count && !err; i++)
		err = pins_add(&engine->pins, manifest->tags[i].lsn);
	if (!err)
		err = first_lsn(engine, &oldest);
	if (err)
		return err;
	if (manifest->oldest.value > oldest.value)
		oldest = manifest->oldest;
	/* A repair may have ended the history below it: the newest LSN is always there to be read. */
	if (oldest.value > atomic_load(&engine->newest))
		oldest = lsn_make(atomic_load(&engine->newest));
	pins_raise(&engine->pins, oldest);
	return 0;
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

static bool is_in_use(const struct engine *engine, uint64_t layer_id)
{
	bool in_use = (engine->open && engine->open->base.id == layer_id) ||
		      (engine->spare && engine->spare->base.id == layer_id);

	for (uint32_t i = 0; i < engine->frozen_count; i++)
		in_use |= engine->frozen[i]->base.id == layer_id;
	return in_use;
}

/* First its header goes: a file that is not named must not look as if it held history. */
static int drop_layer(struct engine *engine, uint64_t layer_id)
{
	static const uint8_t zeros[LAYER_HEADER_BYTES];
	char name[LAYER_NAME_BYTES];
	int fd, err;

	layer_name(layer_id, name);
	err = io_open(engine->layers_fd, name, O_RDWR, 0, &fd);
	if (!err)
		err = io_write(fd, zeros, sizeof(zeros), 0);
	if (!err)
		err = io_sync(fd);
	io_close(fd);
	if (!err)
		err = manifest_layer_dropped(&engine->manifest, layer_id);
	return err ? err : io_unlink(engine->layers_fd, name);
}

/* Layers that were opened, hold nothing and will not be used. Without room for the record they stay for now. */
static int drop_unused(struct engine *engine)
{
	int err = 0;

	for (uint32_t i = engine->manifest.open_count; i-- > 0 && !err;)
		if (!is_in_use(engine, engine->manifest.open_ids[i]))
			err = drop_layer(engine, engine->manifest.open_ids[i]);
	return err == -ENOSPC && !engine->manifest.broken ? 0 : err;
}

int engine_recover(struct engine *engine, struct report *report)
{
	struct recovery recovery = {
		.engine = engine,
		.report = report,
		.chain = engine->store.seed,
	};
	int err;

	if (engine->manifest.ino_next > atomic_load(&engine->ino_next))
		atomic_store(&engine->ino_next, engine->manifest.ino_next);
	engine->maps.alone = true;
	err = recover_layers(&recovery);
	engine->maps.alone = false;
	if (err)
		return err;
	atomic_store(&engine->next_id, engine->manifest.id_next);
	engine->chain_recovered = recovery.chain;
	atomic_store(&engine->newest, recovery.end.value);
	atomic_store(&engine->layer_start,
		     engine->open ? engine->open->base.start.value : recovery.end.value);
	atomic_store(&engine->durable, recovery.durable.value);
	engine->new_life = recovery.end.value != 0;
	if (engine->open)
		engine->open_since_ns = engine_clock_ns();
	engine_count_level_0(engine);
	err = sweep(&recovery);
	if (!err)
		err = find_horizon(engine);
	if (!err)
		err = compactor_resume(engine);
	if (!err && !engine->options.read_only)
		err = clear_tails(engine);
	if (!err && !engine->options.read_only)
		err = manifest_tidy(&engine->manifest);
	if (!err && !engine->options.read_only)
		err = drop_unused(engine);
	return err;
}
