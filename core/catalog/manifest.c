#include "manifest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "checksum.h"
#include "codec.h"
#include "io.h"
#include "zeros.h"

#define MANIFEST_NEW_NAME "manifest.new"
#define MANIFEST_LIMIT_BYTES (UINT64_C(1) << 30)
#define HEADER_BYTES 64u
#define HEADER_SUMMED_BYTES (HEADER_BYTES - 8)
#define RECORD_BYTES_MAX 64u
#define RECORD_BYTES_MIN 13u            /* size, type, checksum */
/* Space is reserved in steps, so that sealing can be recorded on a full disk. */
#define RESERVE_STEP_BYTES 65536u
/* Rewrite at open when this many records say no more than a quarter as many would. */
#define REWRITE_RECORDS_MIN 4096u

enum record_type {
	RECORD_LAYER_OPENED = 1,
	RECORD_LAYER_SEALED = 2,
	RECORD_LAYER_DROPPED = 3,
	RECORD_DURABLE = 4,
};

static const char manifest_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'M', 'A', 'N' };

uint64_t manifest_seed(const uint8_t id[16])
{
	return checksum(id, 16, 0);
}

static void header_encode(const struct manifest *manifest, uint8_t out[HEADER_BYTES])
{
	struct put_cursor c = put_cursor(out, HEADER_BYTES);

	memset(out, 0, HEADER_BYTES);
	put_bytes(&c, manifest_magic, sizeof(manifest_magic));
	put_u32(&c, MANIFEST_FORMAT_VERSION);
	put_u32(&c, manifest->store.page_size_bytes);
	put_bytes(&c, manifest->store.id, sizeof(manifest->store.id));
	put_u64(&c, (uint64_t)manifest->made_ns);
	c = put_cursor(out + HEADER_SUMMED_BYTES, 8);
	put_u64(&c, checksum(out, HEADER_SUMMED_BYTES, 0));
}

static bool page_size_is_valid(uint32_t size_bytes)
{
	return size_bytes >= 512 && size_bytes <= 65536 && !(size_bytes & (size_bytes - 1));
}

static int header_decode(struct manifest *manifest, const uint8_t *bytes, size_t size_bytes,
			 struct report *report)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	const uint8_t *magic = get_bytes(&c, sizeof(manifest_magic));
	const uint8_t *id;

	if (size_bytes == 0)
		return report_set(report, -EUCLEAN,
				  "the file 'manifest' is empty: restore it from a backup of the "
				  "store; nothing was changed");
	if (!magic || memcmp(magic, manifest_magic, sizeof(manifest_magic)) != 0)
		return report_set(report, -EMEDIUMTYPE,
				  "not a varve store: its file 'manifest' is not one of varve's; "
				  "check the path, or restore the file from a backup");
	manifest->format_version = get_u32(&c);
	manifest->store.page_size_bytes = get_u32(&c);
	id = get_bytes(&c, sizeof(manifest->store.id));
	manifest->made_ns = (int64_t)get_u64(&c);
	get_bytes(&c, 16);
	/* The version first: a newer format may sum its header otherwise. */
	if (!c.bad && manifest->format_version > MANIFEST_FORMAT_VERSION &&
	    manifest->format_version < 1u << 16)
		return report_set(report, -EPROTONOSUPPORT,
				  "the store has format %u, this varve reads up to %u: use a "
				  "newer varve", manifest->format_version,
				  MANIFEST_FORMAT_VERSION);
	if (get_u64(&c) != checksum(bytes, HEADER_SUMMED_BYTES, 0) || c.bad ||
	    !page_size_is_valid(manifest->store.page_size_bytes))
		return report_set(report, -EUCLEAN,
				  "the header of the file 'manifest' is damaged: restore it from a "
				  "backup of the store; nothing was changed");
	memcpy(manifest->store.id, id, sizeof(manifest->store.id));
	manifest->store.seed = manifest_seed(manifest->store.id);
	manifest->chain = manifest->store.seed;
	return 0;
}

static struct manifest_layer *layer_find_slot(const struct manifest *manifest, uint64_t layer_id)
{
	for (uint32_t i = manifest->layer_count; i-- > 0;)
		if (manifest->layers[i].layer_id == layer_id)
			return &manifest->layers[i];
	return NULL;
}

const struct manifest_layer *manifest_find(const struct manifest *manifest, uint64_t layer_id)
{
	return layer_find_slot(manifest, layer_id);
}

static int layers_make_room(struct manifest *manifest)
{
	uint32_t room = manifest->layer_room ? 2 * manifest->layer_room : 64;
	struct manifest_layer *layers;

	if (manifest->layer_count < manifest->layer_room)
		return 0;
	layers = realloc(manifest->layers, room * sizeof(*layers));
	if (!layers)
		return -ENOMEM;
	manifest->layers = layers;
	manifest->layer_room = room;
	return 0;
}

/* A record, decoded. */
struct record {
	enum record_type type;
	struct manifest_layer layer;
	struct lsn lsn;
};

/* Do what a record says to the list in memory. There is room for one layer
 * more. -EUCLEAN: it makes no sense. */
static int record_apply(struct manifest *manifest, const struct record *record)
{
	struct manifest_layer *slot = layer_find_slot(manifest, record->layer.layer_id);

	switch (record->type) {
	case RECORD_LAYER_OPENED:
		if (slot || (manifest->layer_count &&
			     manifest->layers[manifest->layer_count - 1].layer_id >
				     record->layer.layer_id))
			return -EUCLEAN;
		manifest->layers[manifest->layer_count++] = (struct manifest_layer){
			.layer_id = record->layer.layer_id,
		};
		return 0;
	case RECORD_LAYER_SEALED:
		if (!slot || slot->sealed)
			return -EUCLEAN;
		*slot = record->layer;
		slot->sealed = true;
		return 0;
	case RECORD_LAYER_DROPPED:
		if (!slot)
			return -EUCLEAN;
		memmove(slot, slot + 1,
			(size_t)(manifest->layers + --manifest->layer_count - slot) *
				sizeof(*slot));
		return 0;
	case RECORD_DURABLE:
		if (record->lsn.value > manifest->durable.value)
			manifest->durable = record->lsn;
		return 0;
	}
	return -EUCLEAN;
}

/* What a record of this type takes; 0: there is no such type. */
static uint32_t record_bytes(uint8_t type)
{
	switch (type) {
	case RECORD_LAYER_SEALED:
		return 4 + 1 + 5 * 8 + 8;
	case RECORD_LAYER_OPENED:
	case RECORD_LAYER_DROPPED:
	case RECORD_DURABLE:
		return 4 + 1 + 8 + 8;
	}
	return 0;
}

static size_t record_encode(const struct record *record, uint64_t chain_before,
			    uint8_t out[RECORD_BYTES_MAX], uint64_t *chain_out)
{
	struct put_cursor c = put_cursor(out, record_bytes(record->type));

	put_u32(&c, record_bytes(record->type));
	put_u8(&c, (uint8_t)record->type);
	if (record->type == RECORD_DURABLE)
		put_u64(&c, record->lsn.value);
	else
		put_u64(&c, record->layer.layer_id);
	if (record->type == RECORD_LAYER_SEALED) {
		put_u64(&c, record->layer.start.value);
		put_u64(&c, record->layer.end.value);
		put_u64(&c, record->layer.chain_end);
		put_u64(&c, record->layer.file_bytes);
	}
	*chain_out = checksum(out, (size_t)(c.at - out), chain_before);
	put_u64(&c, *chain_out);
	assert(!c.bad && c.at == c.end);
	return (size_t)(c.at - out);
}

/* 0 and the record; 1: nothing more; -EUCLEAN: bytes that are no record. */
static int record_decode(struct get_cursor *c, uint64_t chain_before, struct record *record_out,
			 uint64_t *chain_out)
{
	const uint8_t *start = c->at;
	uint32_t size = get_u32(c);
	struct get_cursor body;

	memset(record_out, 0, sizeof(*record_out));
	if (c->bad || size == 0)
		return 1;
	if (size < RECORD_BYTES_MIN || size > RECORD_BYTES_MAX || !get_bytes(c, size - 4))
		return -EUCLEAN;
	body = get_cursor(start, size);
	get_u32(&body);
	record_out->type = get_u8(&body);
	if (record_out->type == RECORD_DURABLE)
		record_out->lsn = lsn_make(get_u64(&body));
	else
		record_out->layer.layer_id = get_u64(&body);
	if (record_out->type == RECORD_LAYER_SEALED) {
		record_out->layer.start = lsn_make(get_u64(&body));
		record_out->layer.end = lsn_make(get_u64(&body));
		record_out->layer.chain_end = get_u64(&body);
		record_out->layer.file_bytes = get_u64(&body);
	}
	*chain_out = checksum(start, size - 8, chain_before);
	if (body.end - body.at != 8 || get_u64(&body) != *chain_out)
		return -EUCLEAN;
	return 0;
}

/*
 * A bad record that is the last thing in the file may be torn; nothing relied on
 * it. Its size is believed only if it is that of its type: a flipped bit there
 * must not make a torn end of the records that follow. Of a record torn before
 * its size or type was written, those are zeros.
 */
static bool is_torn_end(const uint8_t *at, const uint8_t *end)
{
	struct get_cursor c = get_cursor(at, (size_t)(end - at));
	uint32_t size = get_u32(&c);
	uint8_t type = get_u8(&c);

	if (c.bad)
		return true;
	if (size && type && size != record_bytes(type))
		return false;
	if (!size || !type)
		size = RECORD_BYTES_MAX;
	return (size_t)(end - at) <= size || all_zero(at + size, (size_t)(end - at) - size);
}

static int records_decode(struct manifest *manifest, const uint8_t *bytes, size_t size_bytes,
			  struct report *report)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	int err = 0;

	get_bytes(&c, HEADER_BYTES);
	manifest->tail_bytes = HEADER_BYTES;
	while (c.at < c.end) {
		struct record record;
		uint64_t chain;

		err = layers_make_room(manifest);
		if (err)
			return err;
		if (record_decode(&c, manifest->chain, &record, &chain))
			break;
		err = record_apply(manifest, &record);
		if (err)
			return report_set(report, err,
					  "the file 'manifest' contradicts itself at byte %llu: "
					  "restore it from a backup of the store; nothing was changed",
					  (unsigned long long)manifest->tail_bytes);
		manifest->chain = chain;
		manifest->tail_bytes = (uint64_t)(c.at - bytes);
		manifest->record_count++;
	}
	if (manifest->tail_bytes == size_bytes ||
	    all_zero(bytes + manifest->tail_bytes, size_bytes - manifest->tail_bytes))
		return 0;
	manifest->torn = true;
	if (is_torn_end(bytes + manifest->tail_bytes, bytes + size_bytes))
		return 0;
	return report_set(report, -EUCLEAN,
			  "the file 'manifest' is damaged at byte %llu: restore it from a backup of "
			  "the store; nothing was changed",
			  (unsigned long long)manifest->tail_bytes);
}

/* Write @count records of the list in memory, and the header, to a new file and
 * give it the manifest's name. */
int manifest_replace(struct manifest *manifest)
{
	uint8_t bytes[RECORD_BYTES_MAX], header[HEADER_BYTES];
	uint64_t chain = manifest->store.seed, at = HEADER_BYTES;
	uint32_t records = 0;
	int fd, err;

	err = io_open(manifest->dir_fd, MANIFEST_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd);
	if (err)
		return err;
	header_encode(manifest, header);
	err = io_reserve(fd, RESERVE_STEP_BYTES);
	if (!err)
		err = io_write(fd, header, sizeof(header), 0);
	for (uint32_t i = 0; i < 2 * manifest->layer_count && !err; i++) {
		const struct manifest_layer *layer = &manifest->layers[i / 2];
		struct record record = {
			.type = i % 2 ? RECORD_LAYER_SEALED : RECORD_LAYER_OPENED,
			.layer = *layer,
		};
		size_t size;

		if (i % 2 && !layer->sealed)
			continue;
		size = record_encode(&record, chain, bytes, &chain);
		err = io_write(fd, bytes, size, at);
		at += size;
		records++;
	}
	if (!err && manifest->durable.value) {
		struct record record = { .type = RECORD_DURABLE, .lsn = manifest->durable };
		size_t size = record_encode(&record, chain, bytes, &chain);

		err = io_write(fd, bytes, size, at);
		at += size;
		records++;
	}
	if (!err)
		err = io_sync(fd);              /* the bytes before the name */
	if (!err)
		err = io_publish(manifest->dir_fd, MANIFEST_NEW_NAME, MANIFEST_NAME);
	if (err) {
		io_close(fd);
		io_unlink(manifest->dir_fd, MANIFEST_NEW_NAME);
		return err;
	}
	io_close(manifest->fd);
	manifest->fd = fd;
	manifest->chain = chain;
	manifest->tail_bytes = at;
	manifest->record_count = records;
	manifest->torn = false;
	return 0;
}

static int id_make(uint8_t id_out[16])
{
	if (getrandom(id_out, 16, 0) != 16)
		return -EIO;
	id_out[6] = (id_out[6] & 0x0f) | 0x40;  /* RFC 4122, version 4 */
	id_out[8] = (id_out[8] & 0x3f) | 0x80;
	return 0;
}

int manifest_create(int dir_fd, uint32_t page_size_bytes)
{
	struct manifest manifest = { .dir_fd = dir_fd, .fd = -1 };
	struct timespec now;
	int fd, err;

	err = io_open(dir_fd, MANIFEST_NAME, O_RDONLY, 0, &fd);
	if (err != -ENOENT) {
		io_close(fd);
		return err ? err : -EEXIST;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	manifest.made_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	manifest.store.page_size_bytes = page_size_bytes;
	err = id_make(manifest.store.id);
	if (err)
		return err;
	manifest.store.seed = manifest_seed(manifest.store.id);
	err = manifest_replace(&manifest);
	/* A name whose sync failed may go at any power cut: there must be no store then. */
	if (err)
		io_unlink(dir_fd, MANIFEST_NAME);
	manifest_close(&manifest);
	return err;
}

int manifest_open(struct manifest *manifest, int dir_fd, bool writable, struct report *report)
{
	uint8_t *bytes = NULL;
	size_t size;
	int err;

	memset(manifest, 0, sizeof(*manifest));
	manifest->dir_fd = dir_fd;
	manifest->fd = -1;
	err = io_slurp(dir_fd, MANIFEST_NAME, MANIFEST_LIMIT_BYTES, &bytes, &size);
	if (err)
		return report_set(report, err, "can't read the file 'manifest': %s",
				  strerror(-err));
	err = header_decode(manifest, bytes, size, report);
	if (!err)
		err = records_decode(manifest, bytes, size, report);
	if (!err && writable)
		err = io_open(dir_fd, MANIFEST_NAME, O_RDWR, 0, &manifest->fd);
	free(bytes);
	if (err)
		manifest_close(manifest);
	return err;
}

int manifest_salvage(struct manifest *manifest, int dir_fd)
{
	struct report report = { "" };
	uint8_t *bytes = NULL;
	size_t size;
	int err;

	memset(manifest, 0, sizeof(*manifest));
	manifest->dir_fd = dir_fd;
	manifest->fd = -1;
	err = io_slurp(dir_fd, MANIFEST_NAME, MANIFEST_LIMIT_BYTES, &bytes, &size);
	if (!err)
		err = header_decode(manifest, bytes, size, &report) ? -EUCLEAN : 0;
	if (!err && records_decode(manifest, bytes, size, &report) == -ENOMEM)
		err = -ENOMEM;
	free(bytes);
	if (err)
		manifest_close(manifest);
	return err;
}

int manifest_add(struct manifest *manifest, const struct manifest_layer *layer)
{
	uint32_t at = manifest->layer_count;
	int err = layers_make_room(manifest);

	while (!err && at && manifest->layers[at - 1].layer_id >= layer->layer_id) {
		if (manifest->layers[--at].layer_id == layer->layer_id)
			return -EUCLEAN;
	}
	if (err)
		return err;
	memmove(&manifest->layers[at + 1], &manifest->layers[at],
		(manifest->layer_count - at) * sizeof(*manifest->layers));
	manifest->layers[at] = *layer;
	manifest->layer_count++;
	return 0;
}

static uint32_t rewrite_records = REWRITE_RECORDS_MIN;

void manifest_rewrite_from(uint32_t record_count)
{
	rewrite_records = record_count ? record_count : REWRITE_RECORDS_MIN;
}

int manifest_tidy(struct manifest *manifest)
{
	uint64_t needed = 2 * (uint64_t)manifest->layer_count + 1;

	/* Below the usual limit by a test's wish, however many of the records are needed. */
	if (!manifest->torn && (manifest->record_count < rewrite_records ||
				(manifest->record_count / 4 < needed &&
				 rewrite_records == REWRITE_RECORDS_MIN)))
		return 0;
	return manifest_replace(manifest);
}

void manifest_close(struct manifest *manifest)
{
	free(manifest->layers);
	manifest->layers = NULL;
	io_close(manifest->fd);
	manifest->fd = -1;
}

static int manifest_append(struct manifest *manifest, const struct record *record)
{
	uint8_t bytes[RECORD_BYTES_MAX];
	uint64_t chain, file_bytes;
	size_t size;
	int err;

	if (manifest->broken)
		return -EROFS;
	err = layers_make_room(manifest);
	if (err)
		return err;
	size = record_encode(record, manifest->chain, bytes, &chain);
	err = io_size(manifest->fd, &file_bytes);
	if (!err && manifest->tail_bytes + size > file_bytes)
		err = io_reserve(manifest->fd, file_bytes + RESERVE_STEP_BYTES);
	if (err)
		return err;
	err = io_write(manifest->fd, bytes, size, manifest->tail_bytes);
	if (!err)
		err = io_sync(manifest->fd);
	if (err) {
		/* Half a record may be there; only a new open may write behind it. */
		manifest->broken = true;
		return err;
	}
	manifest->chain = chain;
	manifest->tail_bytes += size;
	manifest->record_count++;
	err = record_apply(manifest, record);
	assert(!err);
	return 0;
}

int manifest_layer_opened(struct manifest *manifest, uint64_t layer_id)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LAYER_OPENED,
							   .layer.layer_id = layer_id });
}

int manifest_layer_sealed(struct manifest *manifest, const struct manifest_layer *layer)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LAYER_SEALED,
							   .layer = *layer });
}

int manifest_layer_dropped(struct manifest *manifest, uint64_t layer_id)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LAYER_DROPPED,
							   .layer.layer_id = layer_id });
}

int manifest_durable(struct manifest *manifest, struct lsn lsn)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_DURABLE, .lsn = lsn });
}
