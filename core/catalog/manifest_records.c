/*
 * Manifest records: their bytes. FORMAT.md lists them.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "codec.h"
#include "manifest_internal.h"

#define HEADER_SUMMED_BYTES (MANIFEST_HEADER_BYTES - 8)
#define RECORD_HEAD_BYTES 5u            /* size, type */
#define RECORD_FRAME_BYTES (RECORD_HEAD_BYTES + 8)      /* and checksum */
#define RECORD_BYTES_SMALL 64u          /* most a record of fixed size takes */
#define PIECE_BYTES 49u                 /* fields before the arrays */
#define RUN_BYTES 64u
#define SUMMARY_BYTES 118u
#define PIECE_LAST 1u                   /* flag */

static const char manifest_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'M', 'A', 'N' };

_Static_assert(RECORD_FRAME_BYTES + PIECE_BYTES + 8 * MANIFEST_INPUTS_MAX +
			       SUMMARY_BYTES * MANIFEST_PIECE_LAYERS_MAX <=
		       MANIFEST_RECORD_BYTES_MAX,
	       "the largest piece fits a record");

/* ---- header ---- */

void header_encode(const struct manifest *manifest, uint8_t out[MANIFEST_HEADER_BYTES])
{
	struct put_cursor c = put_cursor(out, MANIFEST_HEADER_BYTES);

	memset(out, 0, MANIFEST_HEADER_BYTES);
	put_bytes(&c, manifest_magic, sizeof(manifest_magic));
	put_u32(&c, MANIFEST_FORMAT_VERSION);
	put_u32(&c, manifest->store.page_size_bytes);
	put_bytes(&c, manifest->store.id, sizeof(manifest->store.id));
	put_u64(&c, (uint64_t)manifest->made_ns);
	put_u8(&c, (uint8_t)manifest->compression);
	c = put_cursor(out + HEADER_SUMMED_BYTES, 8);
	put_u64(&c, checksum(out, HEADER_SUMMED_BYTES, 0));
}

static bool page_size_is_valid(uint32_t size_bytes)
{
	return size_bytes >= 512 && size_bytes <= 65536 && !(size_bytes & (size_bytes - 1));
}

int header_decode(struct manifest *manifest, const uint8_t *bytes, size_t size_bytes,
		  struct report *report)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	const uint8_t *magic = get_bytes(&c, sizeof(manifest_magic));
	const uint8_t *id;

	if (size_bytes == 0)
		return report_set(report, -EUCLEAN,
				  "the file 'manifest' is empty: restore it from a backup of the "
				  "store, or run 'varve check --repair'; nothing was changed");
	if (!magic || memcmp(magic, manifest_magic, sizeof(manifest_magic)) != 0)
		return report_set(report, -EMEDIUMTYPE,
				  "not a varve store: its file 'manifest' is not one of varve's; "
				  "check the path, or restore the file from a backup");
	manifest->format_version = get_u32(&c);
	manifest->store.page_size_bytes = get_u32(&c);
	id = get_bytes(&c, sizeof(manifest->store.id));
	manifest->made_ns = (int64_t)get_u64(&c);
	manifest->compression = get_u8(&c);
	get_bytes(&c, 15);
	/* The version first: a newer format may sum its header otherwise. */
	if (!c.bad && manifest->format_version > MANIFEST_FORMAT_VERSION &&
	    manifest->format_version < 1u << 16)
		return report_set(report, -EPROTONOSUPPORT,
				  "the store has format %u, this varve reads up to %u: use a "
				  "newer varve", manifest->format_version,
				  MANIFEST_FORMAT_VERSION);
	if (size_bytes < MANIFEST_HEADER_BYTES || get_u64(&c) != checksum(bytes, HEADER_SUMMED_BYTES, 0) ||
	    !manifest->format_version || !page_size_is_valid(manifest->store.page_size_bytes))
		return report_set(report, -EUCLEAN,
				  "the header of the file 'manifest' is damaged: restore it from a "
				  "backup of the store, or run 'varve check --repair'; nothing was changed");
	if (manifest->compression > COMPRESSION_ZSTD)
		return report_set(report, -EPROTONOSUPPORT,
				  "the store is compressed in a way (%u) that this varve does not know: "
				  "use a newer varve", (unsigned)manifest->compression);
	memcpy(manifest->store.id, id, sizeof(manifest->store.id));
	manifest->store.seed = manifest_seed(manifest->store.id);
	manifest->chain = manifest->store.seed;
	return 0;
}

/* ---- encoding ---- */

/* What a record of this type takes, if that is always the same; else 0. */
static uint32_t fixed_size(unsigned type)
{
	switch (type) {
	case RECORD_LAYER_SEALED:
		return RECORD_FRAME_BYTES + 5 * 8;
	case RECORD_WINDOW:
		return RECORD_FRAME_BYTES + 2 * 8;
	case RECORD_LAYER_OPENED:
	case RECORD_LAYER_DROPPED:
	case RECORD_DURABLE:
	case RECORD_OLDEST:
	case RECORD_LOST:
	case RECORD_IDS:
	case RECORD_INODES:
		return RECORD_FRAME_BYTES + 8;
	}
	return 0;
}

uint32_t record_size(const struct record *record)
{
	switch (record->type) {
	case RECORD_PIECE:
		return RECORD_FRAME_BYTES + PIECE_BYTES + 8 * record->piece.input_count +
		       SUMMARY_BYTES * record->piece.layer_count;
	case RECORD_RUN:
		return RECORD_FRAME_BYTES + RUN_BYTES + SUMMARY_BYTES * record->run.layer_count;
	case RECORD_TAG:
		return RECORD_FRAME_BYTES + 9 + record->name_bytes;
	default:
		return fixed_size(record->type);
	}
}

static void put_key(struct put_cursor *c, struct key key)
{
	put_u64(c, key.ino);
	put_u64(c, key.sub);
}

static struct key get_key(struct get_cursor *c)
{
	struct key key;

	key.ino = get_u64(c);
	key.sub = get_u64(c);
	return key;
}

static struct lsn get_lsn(struct get_cursor *c)
{
	return lsn_make(get_u64(c));
}

static void put_summary(struct put_cursor *c, const struct table_summary *layer)
{
	put_u64(c, layer->layer_id);
	put_u8(c, (uint8_t)layer->kind);
	put_u8(c, (uint8_t)layer->ending);
	put_u32(c, layer->number);
	put_u64(c, layer->oldest.value);
	put_key(c, layer->first_key);
	put_key(c, layer->last_key);
	put_u64(c, layer->first_lsn.value);
	put_u64(c, layer->last_lsn.value);
	put_u64(c, layer->file_bytes);
	put_u64(c, layer->key_count);
	put_u64(c, layer->version_count);
	put_u64(c, layer->payload_bytes);
	put_u64(c, layer->ino_max);
	put_u64(c, layer->checksum);
}

static void get_summary(struct get_cursor *c, struct table_summary *layer)
{
	layer->layer_id = get_u64(c);
	layer->kind = get_u8(c);
	layer->ending = get_u8(c);
	layer->number = get_u32(c);
	layer->oldest = get_lsn(c);
	layer->first_key = get_key(c);
	layer->last_key = get_key(c);
	layer->first_lsn = get_lsn(c);
	layer->last_lsn = get_lsn(c);
	layer->file_bytes = get_u64(c);
	layer->key_count = get_u64(c);
	layer->version_count = get_u64(c);
	layer->payload_bytes = get_u64(c);
	layer->ino_max = get_u64(c);
	layer->checksum = get_u64(c);
}

static void put_piece(struct put_cursor *c, const struct manifest_piece *piece)
{
	put_u64(c, piece->run_id);
	put_u32(c, piece->level);
	put_u64(c, piece->start.value);
	put_u64(c, piece->end.value);
	put_key(c, piece->upto);
	put_u8(c, piece->last ? PIECE_LAST : 0);
	put_u16(c, (uint16_t)piece->input_count);
	put_u16(c, (uint16_t)piece->layer_count);
	for (uint32_t i = 0; i < piece->input_count; i++)
		put_u64(c, piece->inputs[i]);
	for (uint32_t i = 0; i < piece->layer_count; i++)
		put_summary(c, &piece->layers[i]);
}

static void put_run(struct put_cursor *c, const struct manifest_run *run)
{
	put_u64(c, run->run_id);
	put_u32(c, run->level);
	put_u64(c, run->start.value);
	put_u64(c, run->end.value);
	put_key(c, run->from);
	put_u64(c, run->into);
	put_u64(c, run->chain_end);
	put_u32(c, run->layer_count);
	for (uint32_t i = 0; i < run->layer_count; i++)
		put_summary(c, &run->layers[run->layer_first + i]);
}

static void put_sealed(struct put_cursor *c, const struct manifest_run *run)
{
	put_u64(c, run->run_id);
	put_u64(c, run->start.value);
	put_u64(c, run->end.value);
	put_u64(c, run->chain_end);
	put_u64(c, run->file_bytes);
}

static void put_fields(struct put_cursor *c, const struct record *record)
{
	switch (record->type) {
	case RECORD_LAYER_OPENED:
	case RECORD_LAYER_DROPPED:
	case RECORD_LOST:
	case RECORD_IDS:
	case RECORD_INODES:
		put_u64(c, record->id);
		break;
	case RECORD_DURABLE:
	case RECORD_OLDEST:
		put_u64(c, record->lsn.value);
		break;
	case RECORD_LAYER_SEALED:
		put_sealed(c, &record->run);
		break;
	case RECORD_PIECE:
		put_piece(c, &record->piece);
		break;
	case RECORD_RUN:
		put_run(c, &record->run);
		break;
	case RECORD_WINDOW:
		put_u64(c, record->window_ns);
		put_u64(c, record->window_bytes);
		break;
	case RECORD_TAG:
		put_u64(c, record->lsn.value);
		put_u8(c, (uint8_t)record->name_bytes);
		put_bytes(c, record->name, record->name_bytes);
		break;
	}
}

uint64_t record_encode(const struct record *record, uint64_t chain_before, uint8_t *out)
{
	uint32_t size = record_size(record);
	struct put_cursor c = put_cursor(out, size);
	uint64_t chain;

	put_u32(&c, size);
	put_u8(&c, (uint8_t)record->type);
	put_fields(&c, record);
	chain = checksum(out, size - 8, chain_before);
	put_u64(&c, chain);
	assert(!c.bad && c.at == c.end && size <= MANIFEST_RECORD_BYTES_MAX);
	return chain;
}

/* ---- decoding ---- */

void record_room_destroy(struct record_room *room)
{
	free(room->inputs);
	free(room->layers);
	*room = (struct record_room){ 0 };
}

static int room_make(struct record_room *room, uint32_t inputs, uint32_t layers)
{
	if (inputs > room->input_room) {
		free(room->inputs);
		room->inputs = malloc(inputs * sizeof(*room->inputs));
		room->input_room = room->inputs ? inputs : 0;
	}
	if (layers > room->layer_room) {
		free(room->layers);
		room->layers = malloc(layers * sizeof(*room->layers));
		room->layer_room = room->layers ? layers : 0;
	}
	return room->input_room < inputs || room->layer_room < layers ? -ENOMEM : 0;
}

static void get_layers(struct get_cursor *c, struct record_room *room, uint32_t count, uint64_t run_id,
		       uint32_t level, struct lsn start, struct lsn end)
{
	for (uint32_t i = 0; i < count; i++) {
		struct table_summary *layer = &room->layers[i];

		*layer = (struct table_summary){ .run_id = run_id, .level = level, .start = start, .end = end };
		get_summary(c, layer);
	}
}

/* How many of @unit bytes are left but for the checksum: arrays are as long as the record says. */
static bool arrays_fit(const struct get_cursor *c, uint64_t bytes)
{
	return !c->bad && (uint64_t)(c->end - c->at) == bytes + 8;
}

static int get_piece(struct get_cursor *c, struct record_room *room, struct manifest_piece *piece)
{
	uint8_t flags;

	piece->run_id = get_u64(c);
	piece->level = get_u32(c);
	piece->start = get_lsn(c);
	piece->end = get_lsn(c);
	piece->upto = get_key(c);
	flags = get_u8(c);
	piece->last = flags & PIECE_LAST;
	piece->input_count = get_u16(c);
	piece->layer_count = get_u16(c);
	if (flags > PIECE_LAST ||
	    !arrays_fit(c, 8 * (uint64_t)piece->input_count + SUMMARY_BYTES * (uint64_t)piece->layer_count))
		return -EUCLEAN;
	if (room_make(room, piece->input_count, piece->layer_count))
		return -ENOMEM;
	for (uint32_t i = 0; i < piece->input_count; i++)
		room->inputs[i] = get_u64(c);
	get_layers(c, room, piece->layer_count, piece->run_id, piece->level, piece->start, piece->end);
	piece->inputs = room->inputs;
	piece->layers = room->layers;
	return 0;
}

static int get_run(struct get_cursor *c, struct record_room *room, struct manifest_run *run)
{
	run->run_id = get_u64(c);
	run->level = get_u32(c);
	run->start = get_lsn(c);
	run->end = get_lsn(c);
	run->from = get_key(c);
	run->into = get_u64(c);
	run->chain_end = get_u64(c);
	run->layer_count = get_u32(c);
	if (!arrays_fit(c, SUMMARY_BYTES * (uint64_t)run->layer_count))
		return -EUCLEAN;
	if (room_make(room, 0, run->layer_count))
		return -ENOMEM;
	get_layers(c, room, run->layer_count, run->run_id, run->level, run->start, run->end);
	run->layers = room->layers;
	return 0;
}

static void get_sealed(struct get_cursor *c, struct manifest_run *run)
{
	run->run_id = get_u64(c);
	run->start = get_lsn(c);
	run->end = get_lsn(c);
	run->chain_end = get_u64(c);
	run->file_bytes = get_u64(c);
}

/* 0; -EUCLEAN; -ENOMEM. The checksum is still ahead. */
static int get_fields(struct get_cursor *c, struct record_room *room, struct record *record)
{
	switch (record->type) {
	case RECORD_LAYER_OPENED:
	case RECORD_LAYER_DROPPED:
	case RECORD_LOST:
	case RECORD_IDS:
	case RECORD_INODES:
		record->id = get_u64(c);
		return 0;
	case RECORD_DURABLE:
	case RECORD_OLDEST:
		record->lsn = get_lsn(c);
		return 0;
	case RECORD_LAYER_SEALED:
		get_sealed(c, &record->run);
		return 0;
	case RECORD_PIECE:
		return get_piece(c, room, &record->piece);
	case RECORD_RUN:
		return get_run(c, room, &record->run);
	case RECORD_WINDOW:
		record->window_ns = get_u64(c);
		record->window_bytes = get_u64(c);
		return 0;
	case RECORD_TAG:
		record->lsn = get_lsn(c);
		record->name_bytes = get_u8(c);
		record->name = (const char *)get_bytes(c, record->name_bytes);
		return record->name ? 0 : -EUCLEAN;
	}
	return -EUCLEAN;
}

int record_decode(const uint8_t *at, const uint8_t *end, uint64_t chain_before, struct record_room *room,
		  struct record *record_out, uint32_t *size_out, uint64_t *chain_out)
{
	struct get_cursor c = get_cursor(at, (size_t)(end - at));
	uint32_t size = get_u32(&c);
	int err;

	memset(record_out, 0, sizeof(*record_out));
	if (c.bad || size == 0)
		return 1;
	if (size < RECORD_FRAME_BYTES || size > MANIFEST_RECORD_BYTES_MAX || size > (size_t)(end - at))
		return -EUCLEAN;
	*chain_out = checksum(at, size - 8, chain_before);
	c = get_cursor(at + size - 8, 8);
	if (get_u64(&c) != *chain_out)
		return -EUCLEAN;
	c = get_cursor(at, size);
	get_u32(&c);
	record_out->type = get_u8(&c);
	err = get_fields(&c, room, record_out);
	if (!err && (c.bad || c.end - c.at != 8))
		err = -EUCLEAN;
	*size_out = size;
	return err;
}

/* ---- a torn end ---- */

/* The size that the record at @at must have by its type and counts; 0: they say none. */
static uint32_t size_by_fields(const uint8_t *at, const uint8_t *end)
{
	struct get_cursor c = get_cursor(at, (size_t)(end - at));
	uint64_t size = 0;
	uint8_t type;

	get_u32(&c);
	type = get_u8(&c);
	if (type == RECORD_PIECE) {
		get_bytes(&c, PIECE_BYTES - 4);
		size = RECORD_FRAME_BYTES + PIECE_BYTES + 8 * (uint64_t)get_u16(&c);
		size += SUMMARY_BYTES * (uint64_t)get_u16(&c);
	} else if (type == RECORD_RUN) {
		get_bytes(&c, RUN_BYTES - 4);
		size = RECORD_FRAME_BYTES + RUN_BYTES + SUMMARY_BYTES * (uint64_t)get_u32(&c);
	} else if (type == RECORD_TAG) {
		get_bytes(&c, 8);
		size = RECORD_FRAME_BYTES + 9 + get_u8(&c);
	} else {
		size = fixed_size(type);
	}
	return c.bad || size > MANIFEST_RECORD_BYTES_MAX ? 0 : (uint32_t)size;
}

static bool is_of_any_size(uint8_t type)
{
	return type == RECORD_PIECE || type == RECORD_RUN || type == RECORD_TAG;
}

static bool all_zero(const uint8_t *at, const uint8_t *end)
{
	while (at < end && *at == 0)
		at++;
	return at >= end;
}

/* Does a record that bears its checksum begin behind @at? What it is seeded with lies before it. */
static bool record_follows(const uint8_t *at, const uint8_t *end)
{
	for (at += RECORD_FRAME_BYTES; end - at >= (ptrdiff_t)RECORD_FRAME_BYTES; at++) {
		struct get_cursor c = get_cursor(at, (size_t)(end - at));
		uint32_t size = get_u32(&c);
		uint64_t seed;

		if (size < RECORD_FRAME_BYTES || size > (size_t)(end - at) ||
		    size != size_by_fields(at, end))
			continue;
		c = get_cursor(at - 8, 8);
		seed = get_u64(&c);
		c = get_cursor(at + size - 8, 8);
		if (get_u64(&c) == checksum(at, size - 8, seed))
			return true;
	}
	return false;
}

/*
 * A bad record that is the last thing in the file may be torn; nothing relied on
 * it. A size is believed only if it is what type and counts make it: a flipped bit there
 * must not make a torn end of the records that follow. Where they don't agree, or are zeros
 * since their sector was not written, it is the end if no whole record is behind it.
 */
bool record_is_torn_end(const uint8_t *at, const uint8_t *end)
{
	struct get_cursor c = get_cursor(at, (size_t)(end - at));
	uint32_t size = get_u32(&c), limit = MANIFEST_RECORD_BYTES_MAX;
	uint8_t type = get_u8(&c);

	if (c.bad)
		return true;
	if (size && type && size == size_by_fields(at, end))
		return (size_t)(end - at) <= size || all_zero(at + size, end);
	if (size && type && !is_of_any_size(type))
		return false;
	return ((size_t)(end - at) <= limit || all_zero(at + limit, end)) && !record_follows(at, end);
}
