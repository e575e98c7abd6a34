/*
 * Manifest rules: which records follow from what was said before, and what must hold of all
 * together. One check serves what is read from disk and what is about to be written there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manifest_internal.h"

#define KEY_NONE ((struct key){ 0, 0 })
#define LEVEL_MAX 63u

static int entry_compare(struct key a, struct lsn a_lsn, struct key b, struct lsn b_lsn)
{
	int order = key_compare(a, b);

	if (order)
		return order;
	return a_lsn.value < b_lsn.value ? -1 : a_lsn.value > b_lsn.value;
}

static bool span_is_sane(struct lsn start, struct lsn end)
{
	return start.value <= end.value && end.value < LSN_LIMIT;
}

bool layers_are_sane(const struct table_summary *before, const struct table_summary *layers,
			    uint32_t count, struct key from, struct key upto)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct table_summary *layer = &layers[i];

		if ((layer->kind != TABLE_DELTA && layer->kind != TABLE_IMAGE) ||
		    (unsigned)layer->ending > TABLE_ENDS_RUN)
			return false;
		if (layer->first_lsn.value <= layer->start.value || layer->first_lsn.value > layer->end.value ||
		    layer->last_lsn.value <= layer->start.value || layer->last_lsn.value > layer->end.value)
			return false;
		if (entry_compare(layer->first_key, layer->first_lsn, layer->last_key, layer->last_lsn) > 0 ||
		    key_compare(layer->first_key, from) < 0 || key_compare(layer->last_key, upto) >= 0)
			return false;
		if (before && entry_compare(before->last_key, before->last_lsn, layer->first_key,
					    layer->first_lsn) >= 0)
			return false;
		before = layer;
	}
	return true;
}

static int sealed_check(struct manifest *manifest, const struct manifest_run *run)
{
	const struct manifest_run *newest =
		manifest->run_count ? &manifest->runs[manifest->run_count - 1] : NULL;

	if (id_set_get(&manifest->ids, run->run_id) != MANIFEST_OPEN ||
	    !span_is_sane(run->start, run->end) || (newest && run->start.value < newest->end.value))
		return -EUCLEAN;
	return state_make_run_room(manifest);
}

/*
 * The inputs of @piece: runs that lie one against the other over its span, and perhaps its output among them, which is
 * then *output_out. A run may be empty, of a layer that nothing was written to: one that lies against the span
 * belongs to it if it is named. But not of such alone: what comes out would have no place among the others. 0 or -EUCLEAN.
 */
static int inputs_check(struct manifest *manifest, const struct manifest_piece *piece,
			struct manifest_run **output_out, struct key *from_out)
{
	struct lsn end = piece->start;
	uint32_t at, inputs = 0;
	uint64_t into = 0;

	*output_out = NULL;
	*from_out = KEY_NONE;
	if (!piece->input_count || piece->start.value == piece->end.value)
		return -EUCLEAN;
	at = state_runs_from(manifest, piece->start, piece->inputs[0]);
	if (at && manifest->runs[at - 1].end.value > piece->start.value)
		return -EUCLEAN;
	for (; at < manifest->run_count; at++) {
		struct manifest_run *run = &manifest->runs[at];

		if (run->run_id == piece->run_id) {
			*output_out = run;
			continue;
		}
		if (inputs == piece->input_count)
			break;
		if (piece->inputs[inputs] != run->run_id || run->start.value != end.value ||
		    (inputs && run->into != into))
			return -EUCLEAN;
		into = run->into;
		*from_out = run->from;
		end = run->end;
		inputs++;
	}
	if (inputs != piece->input_count || end.value != piece->end.value ||
	    (at < manifest->run_count && manifest->runs[at].start.value < end.value))
		return -EUCLEAN;
	return into == (*output_out ? piece->run_id : 0) ? 0 : -EUCLEAN;
}

/* Room for @count tables more of @run, or, where that is NULL, of a run to come. */
static int layers_make_room(struct manifest *manifest, struct manifest_run *run, uint32_t count,
			    struct record *record)
{
	int err = id_set_reserve(&manifest->ids, count + 1);

	if (err)
		return err;
	if (run)
		return state_make_layer_room(run, count);
	err = state_make_run_room(manifest);
	if (err || !count)
		return err;
	record->fresh = malloc(count * sizeof(*record->fresh));
	return record->fresh ? 0 : -ENOMEM;
}

static int piece_check(struct manifest *manifest, struct record *record)
{
	const struct manifest_piece *piece = &record->piece;
	const struct table_summary *before = NULL;
	struct manifest_run *output;
	struct key from;
	int err;

	if (!piece->level || piece->level > LEVEL_MAX || piece->input_count > MANIFEST_INPUTS_MAX ||
	    piece->layer_count > MANIFEST_PIECE_LAYERS_MAX || !span_is_sane(piece->start, piece->end) ||
	    piece->last != key_equal(piece->upto, KEY_END))
		return -EUCLEAN;
	for (uint32_t i = 0; i < piece->layer_count; i++)
		if (piece->layers[i].run_id != piece->run_id || piece->layers[i].level != piece->level ||
		    piece->layers[i].start.value != piece->start.value ||
		    piece->layers[i].end.value != piece->end.value)
			return -EUCLEAN;
	err = inputs_check(manifest, piece, &output, &from);
	if (err || key_compare(piece->upto, from) <= 0)
		return -EUCLEAN;
	if (output && (output->level != piece->level || output->start.value != piece->start.value ||
		       output->end.value != piece->end.value))
		return -EUCLEAN;
	if (!output && !state_id_is_new(manifest, piece->run_id))
		return -EUCLEAN;
	if (output)
		before = state_last_layer(output);
	if (!layers_are_sane(before, piece->layers, piece->layer_count, from, piece->upto))
		return -EUCLEAN;
	err = layers_make_room(manifest, output, piece->layer_count, record);
	if (!err && !state_layer_ids_are_new(manifest, piece->run_id, piece->layers, piece->layer_count))
		err = -EUCLEAN;
	return err;
}

/* A rewrite's record of a run: what it says of others is looked at behind the last record. */
static int run_check(struct manifest *manifest, struct record *record)
{
	const struct manifest_run *run = &record->run;
	struct manifest_run *there = state_run(manifest, run->run_id);
	int err;

	if (run->level > LEVEL_MAX || !span_is_sane(run->start, run->end) || run->into >= ID_LIMIT)
		return -EUCLEAN;
	if (there && (there->level != run->level || there->start.value != run->start.value ||
		      there->end.value != run->end.value))
		return -EUCLEAN;
	if (!run->level)
		return there && !run->layer_count && !there->into ? 0 : -EUCLEAN;
	if (there ? there->into != run->into || !key_equal(there->from, run->from)
		  : !state_id_is_new(manifest, run->run_id))
		return -EUCLEAN;
	if (!layers_are_sane(there ? state_last_layer(there) : NULL, run->layers, run->layer_count, KEY_NONE, KEY_END))
		return -EUCLEAN;
	err = layers_make_room(manifest, there, run->layer_count, record);
	if (!err && !state_layer_ids_are_new(manifest, run->run_id, run->layers, run->layer_count))
		err = -EUCLEAN;
	return err;
}

static int tag_check(struct manifest *manifest, const struct record *record)
{
	bool there;

	if (!record->name_bytes || record->name_bytes > MANIFEST_TAG_BYTES_MAX ||
	    memchr(record->name, 0, record->name_bytes))
		return -EUCLEAN;
	state_tag_place(manifest, record->name, record->name_bytes, &there);
	if (!there && !record->lsn.value)
		return -EUCLEAN;
	return state_make_tag_room(manifest);
}

static int opened_check(struct manifest *manifest, uint64_t layer_id)
{
	int err;

	if (!state_id_is_new(manifest, layer_id) ||
	    (manifest->open_count && manifest->open_ids[manifest->open_count - 1] > layer_id))
		return -EUCLEAN;
	err = id_set_reserve(&manifest->ids, 1);
	return err ? err : state_make_open_room(manifest);
}

static int lost_check(const struct manifest *manifest, uint64_t layer_id)
{
	unsigned kind = id_set_get(&manifest->ids, layer_id);

	return kind == MANIFEST_SEALED || kind == MANIFEST_TABLE ? 0 : -EUCLEAN;
}

int record_check(struct manifest *manifest, struct record *record)
{
	switch (record->type) {
	case RECORD_LAYER_OPENED:
		return opened_check(manifest, record->id);
	case RECORD_LAYER_SEALED:
		return sealed_check(manifest, &record->run);
	case RECORD_LAYER_DROPPED:
		return id_set_get(&manifest->ids, record->id) == MANIFEST_OPEN ? 0 : -EUCLEAN;
	case RECORD_PIECE:
		return piece_check(manifest, record);
	case RECORD_OLDEST:
		return record->lsn.value > manifest->oldest.value && record->lsn.value < LSN_LIMIT ? 0
												   : -EUCLEAN;
	case RECORD_TAG:
		return tag_check(manifest, record);
	case RECORD_LOST:
		return lost_check(manifest, record->id);
	case RECORD_RUN:
		return run_check(manifest, record);
	case RECORD_IDS:
	case RECORD_INODES:
		return record->id <= ID_LIMIT ? 0 : -EUCLEAN;
	case RECORD_DURABLE:
	case RECORD_WINDOW:
		return 0;
	}
	return -EUCLEAN;
}

/* ---- all together ---- */

/* The merge that begins with run @at: *next_out is the first run behind it. */
static int check_merge(const struct manifest *manifest, uint32_t at, uint64_t output_id, uint32_t *next_out)
{
	const struct manifest_run *output = NULL, *input = NULL;
	struct lsn start = manifest->runs[at].start, end = start;

	for (; at < manifest->run_count; at++) {
		const struct manifest_run *run = &manifest->runs[at];

		if (run->run_id == output_id) {
			if (run->into || !key_equal(run->from, KEY_NONE))
				return -EUCLEAN;
			output = run;
			continue;
		}
		if (run->into != output_id)
			break;
		if (run->start.value != end.value || (input && !key_equal(run->from, input->from)))
			return -EUCLEAN;
		input = run;
		end = run->end;
	}
	*next_out = at;
	if (!output || !output->level || !input || output->start.value != start.value ||
	    output->end.value != end.value)
		return -EUCLEAN;
	return output->layer_count && key_compare(state_last_layer(output)->last_key, input->from) >= 0 ? -EUCLEAN : 0;
}

int manifest_check_runs(const struct manifest *manifest)
{
	struct lsn end = { 0 };

	for (uint32_t at = 0; at < manifest->run_count;) {
		const struct manifest_run *run = &manifest->runs[at];
		uint64_t output_id = run->into;
		uint32_t next = at + 1;

		if (!output_id && next < manifest->run_count && run[1].into == run->run_id)
			output_id = run->run_id;
		if (run->start.value < end.value || (!output_id && !key_equal(run->from, KEY_NONE)))
			return -EUCLEAN;
		if (output_id && check_merge(manifest, at, output_id, &next))
			return -EUCLEAN;
		end = manifest->runs[next - 1].end;
		at = next;
	}
	return 0;
}
