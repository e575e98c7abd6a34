/*
 * Merge piece: a range of whole keys, from the inputs of a merge to layers of its output.
 *
 * In this order, so that a kill at any point loses no more than the piece:
 *   the layers are written and synced, opened from disk, their directory synced;
 *   the manifest says that they live and that the inputs begin behind them;
 *   the map says the same; guards that saw the old one are waited for;
 *   files that nothing leads to any more are removed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "engine_internal.h"
#include "io.h"
#include "table_writer.h"

#define PIECE_LAYERS_MAX 4096u  /* one record names them all; the last is as large as it has to be */

struct piece {
	struct engine *engine;
	struct merge_job *job;
	const struct piece_limits *limits;
	struct retention retention;
	struct keeper *keeper;
	struct table_writer *writer;    /* of the layer under way; NULL: none */
	struct key last_key;            /* that was written */
	struct table_summary *summaries;
	struct layer **layers;          /* one for each summary, once opened */
	uint32_t count, room;
	uint64_t written_bytes;         /* of finished layers */
	uint64_t writer_bytes;          /* memory of @writer, as it is counted */
	bool write_failed;              /* the error came from writing, not from reading */
	bool named;                     /* the manifest may name the layers: their files stay */
	bool broken;                    /* the manifest takes no more records */
};

static void unlink_layer(struct engine *engine, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];

	layer_name(layer_id, name);
	(void)io_unlink(engine->layers_fd, name);
}

static void count_writer(struct piece *piece)
{
	uint64_t bytes = piece->writer ? table_writer_memory_bytes(piece->writer) : 0;

	if (bytes != piece->writer_bytes)
		atomic_fetch_add(&piece->engine->compactor.buffer_bytes, bytes - piece->writer_bytes);
	piece->writer_bytes = bytes;
}

/* The layer under way is whole. */
static int finish_layer(struct piece *piece, enum table_ending ending)
{
	int err;

	if (!piece->writer)
		return 0;
	if (piece->count == piece->room) {
		uint32_t room = piece->room ? 2 * piece->room : 8;
		struct table_summary *summaries =
			realloc(piece->summaries, room * sizeof(*summaries));

		if (!summaries)
			return -ENOMEM;
		piece->summaries = summaries;
		piece->room = room;
	}
	err = table_writer_finish(piece->writer, ending, &piece->summaries[piece->count]);
	if (err)
		return err;
	table_writer_free(piece->writer);
	piece->writer = NULL;
	count_writer(piece);
	piece->written_bytes += piece->summaries[piece->count].file_bytes;
	piece->count++;
	return 0;
}

static int begin_layer(struct piece *piece)
{
	struct engine *engine = piece->engine;
	struct table_writer_options options = {
		.kind = TABLE_IMAGE,
		.run_id = piece->job->run_id,
		.level = piece->job->level,
		.number = piece->job->layer_count + piece->count,
		.start = piece->job->start,
		.end = piece->job->end,
		.oldest = retention_horizon(&piece->retention),
		.compression = engine->manifest.compression,
	};

	return table_writer_open(piece->job->dry ? -1 : engine->layers_fd,
				 piece->job->dry ? 0 : engine_new_id(engine), &engine->store, &options, &piece->writer);
}

/* A layer that is full ends with its last key; one whose last key goes on and on is split. */
static uint64_t full_bytes(const struct piece *piece, struct key next)
{
	uint64_t bytes = piece->limits->layer_bytes;

	return key_equal(next, piece->last_key) ? bytes + bytes / 4 : bytes;
}

static int write_version(void *context, const struct table_entry *entry)
{
	struct piece *piece = context;
	int err = 0;

	if (piece->writer && piece->count < PIECE_LAYERS_MAX &&
	    table_writer_bytes(piece->writer) >= full_bytes(piece, entry->key))
		err = finish_layer(piece, key_equal(piece->last_key, entry->key)
						  ? TABLE_SPLITS_KEY
						  : TABLE_ENDS_KEY);
	if (!err && !piece->writer)
		err = begin_layer(piece);
	if (!err)
		err = table_writer_add(piece->writer, entry->key, entry->lsn, entry->position,
				       entry->form, entry->weight, entry->payload,
				       entry->size_bytes);
	count_writer(piece);
	piece->last_key = entry->key;
	piece->write_failed |= err != 0;
	return err;
}

static bool is_full(const struct piece *piece)
{
	uint64_t written = piece->written_bytes +
			   (piece->writer ? table_writer_bytes(piece->writer) : 0);

	/* A piece in which all was dropped is not worth a record. */
	if (!written)
		return false;
	return written >= piece->limits->output_bytes ||
	       merge_bytes(piece->job->merge) - piece->job->bytes_before >=
		       piece->limits->input_bytes;
}

/* The next version of the merge, unless one is left from the piece before. 0; 1: the end; -errno. */
static int next_entry(struct merge_job *job)
{
	int err = 0;

	if (!job->have_entry)
		err = merge_next(job->merge, &job->entry);
	job->have_entry = !err;
	return err;
}

static struct key key_behind(struct key key)
{
	return (struct key){ key.ino + (key.sub == UINT64_MAX), key.sub + 1 };
}

/*
 * Write versions until the piece is full and a key ends. 0 and where the next begins; 1: nothing is
 * left; -errno. It ends just behind its last key: what was dropped between that and the next
 * is still the inputs', so that runs put together from files alone (manifest_add_tables) miss no tombstone.
 */
static int write_versions(struct piece *piece, struct key *upto_out)
{
	struct merge_job *job = piece->job;
	struct key key = job->from;
	bool first = true;
	int err;

	for (;;) {
		err = next_entry(job);
		if (err)
			break;
		if (!first && !key_equal(job->entry.key, key) && is_full(piece)) {
			err = keeper_end(piece->keeper, write_version, piece);
			*upto_out = key_behind(piece->last_key);
			return err;
		}
		first = false;
		key = job->entry.key;
		err = keeper_put(piece->keeper, &job->entry, write_version, piece);
		if (err)
			return err;
		job->have_entry = false;
		if (atomic_load_explicit(&piece->engine->compactor_stops, memory_order_relaxed))
			return -ECANCELED;
	}
	if (err != 1)
		return err;
	*upto_out = KEY_END;
	err = keeper_end(piece->keeper, write_version, piece);
	return err ? err : 1;
}

/* Believe the disk, not us. */
static int open_layers(struct piece *piece)
{
	struct engine *engine = piece->engine;
	int err = 0;

	piece->layers = calloc(piece->count + (size_t)1, sizeof(struct layer *));
	if (!piece->layers)
		return -ENOMEM;
	piece->write_failed = false;
	for (uint32_t i = 0; i < piece->count && !err; i++) {
		err = table_layer_new(&piece->summaries[i], &engine->store, engine->cache,
				      engine->files, &piece->layers[i]);
		if (!err)
			err = table_layer_verify(piece->layers[i]);
	}
	if (!err) {
		piece->write_failed = true;
		err = piece->count ? io_sync_dir(engine->layers_fd) : 0;
	}
	return err;
}

static void fill_record(const struct piece *piece, struct key upto, bool last,
			struct manifest_piece *record_out)
{
	const struct merge_job *job = piece->job;

	*record_out = (struct manifest_piece){
		.run_id = job->run_id, .level = job->level, .start = job->start, .end = job->end,
		.upto = upto, .last = last, .inputs = job->inputs,
		.input_count = job->input_count, .layers = piece->summaries,
		.layer_count = piece->count,
	};
}

/* Put the piece in the map; what it replaces is listed in @edit. */
static int publish(struct piece *piece, const struct manifest_piece *record,
		   struct layer_map_edit *edit)
{
	struct engine *engine = piece->engine;
	int err;

	pthread_mutex_lock(&engine->commit_lock);
	err = layer_map_edit_begin(&engine->maps, edit);
	if (!err) {
		err = layer_map_edit_piece(edit, record, piece->layers);
		if (!err)
			layer_map_edit_publish(edit);
		else
			layer_map_edit_abort(edit);
	}
	if (!err)
		engine_count_level_0(engine);
	pthread_mutex_unlock(&engine->commit_lock);
	return err;
}

/* What no map leads to any more, once nobody sees it: a reader may still want to open its file. */
static void remove_layers(struct engine *engine, struct layer **layers, uint32_t count)
{
	guard_wait();
	for (uint32_t i = 0; i < count; i++)
		compactor_remove_layer(engine, layers[i]);
}

static int make_live(struct piece *piece, struct key upto, bool last)
{
	struct engine *engine = piece->engine;
	struct layer_map_edit edit;
	struct manifest_piece record;
	bool written;
	int err;

	fill_record(piece, upto, last, &record);
	atomic_fetch_add(&engine->compactor.piece_steps, 1);
	pthread_mutex_lock(&engine->manifest_lock);
	err = manifest_piece_done(&engine->manifest, &record);
	piece->broken = engine->manifest.broken;
	pthread_mutex_unlock(&engine->manifest_lock);
	/* Of a record that could not be written whole or synced nobody knows whether it is there. */
	piece->named = !err || piece->broken;
	written = !err;
	/* From here on the files are the store's. Without memory for a map there is no way on but
	 * to be opened again. */
	if (!err)
		err = publish(piece, &record, &edit);
	atomic_fetch_add(&engine->compactor.piece_steps, 1);
	if (!written)
		return err;
	if (err)
		return err == -ENOMEM ? -ENOTRECOVERABLE : err;
	piece->job->layer_count += piece->count;
	piece->count = 0;
	remove_layers(engine, edit.gone, edit.gone_count);
	free(edit.gone);
	return 0;
}

/* Layers that were written and will not live, at least not before the store is opened again. */
static void discard(struct piece *piece)
{
	for (uint32_t i = 0; i < piece->count; i++) {
		if (piece->layers && piece->layers[i])
			table_layer_free(piece->layers[i]);
		if (!piece->job->dry && !piece->named)
			unlink_layer(piece->engine, piece->summaries[i].layer_id);
	}
}

static void piece_end(struct piece *piece)
{
	discard(piece);
	table_writer_free(piece->writer);
	piece->writer = NULL;
	count_writer(piece);
	keeper_close(piece->keeper);
	retention_free(&piece->retention);
	free(piece->summaries);
	free(piece->layers);
}

/* The layers of a run that hold keys from @from on. */
struct gather_layers {
	struct layer **layers;
	uint32_t count;
};

static int gather_layer(void *context, struct layer *layer)
{
	struct gather_layers *gather = context;

	if (gather->layers)
		gather->layers[gather->count] = layer;
	gather->count++;
	return 0;
}

static const struct layer_run *find_run(const struct layer_map *map, uint64_t run_id)
{
	for (uint32_t i = 0; i < map->run_count; i++)
		if (map->runs[i]->id == run_id)
			return map->runs[i];
	return NULL;
}

/* Open the inputs at job->from. They leave the map by this thread's hand alone, so no guard
 * is needed once their layers are known. */
static int job_open(struct engine *engine, struct merge_job *job)
{
	struct merge_input inputs[MERGE_INPUTS_MAX];
	struct gather_layers all = { NULL, 0 };
	uint32_t window_bytes = merge_window_bytes(engine->memory.merge_bytes, job->input_count);
	struct layer_guard guard;
	int err = 0;

	layer_guard_take(&guard, &engine->maps);
	for (uint32_t i = 0; i < job->input_count; i++)
		layer_run_each(find_run(guard.map, job->inputs[i]), job->from, KEY_END,
			       gather_layer, &all);
	all.layers = malloc((all.count + (size_t)1) * sizeof(struct layer *));
	all.count = 0;
	for (uint32_t i = 0; i < job->input_count && all.layers; i++) {
		inputs[i].layers = all.layers + all.count;
		inputs[i].count = all.count;
		layer_run_each(find_run(guard.map, job->inputs[i]), job->from, KEY_END,
			       gather_layer, &all);
		inputs[i].count = all.count - inputs[i].count;
	}
	layer_guard_drop(&guard);
	if (!all.layers)
		return -ENOMEM;
	job->layers = all.layers;
	err = merge_open(inputs, job->input_count, job->from, window_bytes, &job->merge);
	job->buffer_bytes = job->input_count * merge_input_bytes(window_bytes);
	atomic_fetch_add(&engine->compactor.buffer_bytes, job->buffer_bytes);
	/* What they take may be lent. Under the lock, so that it does not fall between the background's look and its wait. */
	pthread_mutex_lock(&engine->commit_lock);
	pthread_cond_signal(&engine->work);
	pthread_mutex_unlock(&engine->commit_lock);
	job->bytes_before = 0;
	if (err)
		merge_job_rest(&engine->compactor, job);
	return err;
}

void merge_job_rest(struct compactor *compactor, struct merge_job *job)
{
	atomic_fetch_sub(&compactor->buffer_bytes, job->buffer_bytes);
	job->buffer_bytes = 0;
	merge_close(job->merge);
	free(job->layers);
	job->merge = NULL;
	job->layers = NULL;
	job->have_entry = false;
}

static void count_piece(struct piece *piece)
{
	struct compactor *compactor = &piece->engine->compactor;
	struct merge_job *job = piece->job;
	uint64_t versions, bytes, read = merge_bytes(job->merge) - job->bytes_before;

	keeper_dropped(piece->keeper, &versions, &bytes);
	job->gc.dropped_versions += versions;
	job->gc.dropped_bytes += bytes;
	job->gc.written_bytes += piece->written_bytes;
	for (uint32_t i = 0; i + 1 < piece->retention.count; i++)
		engine_gc_pin(&job->gc, piece->retention.points[i],
			      keeper_point_bytes(piece->keeper, i));
	job->bytes_before += read;
	if (job->dry)
		return;
	atomic_fetch_add(&compactor->read_bytes, read);
	atomic_fetch_add(&compactor->written_bytes, piece->written_bytes);
	atomic_fetch_add(&compactor->dropped_versions, versions);
	atomic_fetch_add(&compactor->dropped_bytes, bytes);
	atomic_fetch_add(&compactor->piece_count, 1);
}

/* The horizon is where it is for good before anything is dropped for it: what happened up to it is on
 * disk, or a power cut would leave a history that ends before it, without what that needs; and the
 * manifest says where it is. The numbers of inodes that go with it are not given out again. */
static int note_horizon(struct piece *piece, struct lsn horizon)
{
	struct engine *engine = piece->engine;
	struct lsn durable;
	int err = 0;

	if (horizon.value > atomic_load(&engine->durable))
		err = engine_sync(engine, &durable);
	if (err)
		return err;
	pthread_mutex_lock(&engine->manifest_lock);
	if (horizon.value > engine->manifest.oldest.value) {
		err = manifest_inodes_set(&engine->manifest, engine_ino_next(engine));
		if (!err)
			err = manifest_oldest_set(&engine->manifest, horizon);
	}
	piece->broken = engine->manifest.broken;
	pthread_mutex_unlock(&engine->manifest_lock);
	return err;
}

static int piece_begin(struct piece *piece)
{
	struct merge_job *job = piece->job;
	int err = retention_take(&piece->retention, &piece->engine->pins);

	if (!err && !job->dry &&
	    retention_horizon(&piece->retention).value > job->start.value) {
		err = note_horizon(piece, retention_horizon(&piece->retention));
		piece->write_failed = err != 0;
	}
	if (!err)
		err = keeper_open(piece->engine, &piece->retention, job->bottom, &piece->keeper);
	if (!err && !job->merge)
		err = job_open(piece->engine, job);
	return err;
}

int merge_piece(struct engine *engine, struct merge_job *job, const struct piece_limits *limits,
		bool *fatal_out)
{
	struct piece piece = { .engine = engine, .job = job, .limits = limits };
	struct key upto = job->from;
	bool last = false;
	int err = piece_begin(&piece);

	*fatal_out = false;
	if (!err)
		err = write_versions(&piece, &upto);
	if (err == 1) {
		last = true;
		err = 0;
	}
	if (!err) {
		piece.write_failed = true;
		err = finish_layer(&piece, last ? TABLE_ENDS_RUN : TABLE_ENDS_KEY);
	}
	if (!err && !job->dry)
		err = open_layers(&piece);
	if (!err)
		count_piece(&piece);
	if (!err && !job->dry)
		err = make_live(&piece, upto, last);
	if (!err)
		job->from = upto;
	else
		merge_job_rest(&engine->compactor, job);
	*fatal_out = piece.broken ||
		     (err && piece.write_failed && !error_may_pass(err) && err != -ECANCELED);
	piece_end(&piece);
	return err ? err : last;
}
