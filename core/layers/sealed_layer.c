#include "sealed_layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "io.h"

struct sealed_layer {
	struct layer base;              /* first: a struct layer of kind LAYER_SEALED is one of these */
	int fd;
	struct layer_footer footer;
	uint64_t file_bytes;
	struct mapped_file map;         /* of the whole file; map.base NULL: there is none */
	struct block_cache *cache;      /* outlives the layer */
};

/* The block that a run of look-ups is in. Valid while the guard lasts. */
struct block_cursor {
	const uint8_t *bytes;           /* NULL: none yet */
	uint32_t number;
};

static int cursor_move(struct sealed_layer *layer, struct block_cursor *cursor, uint32_t number)
{
	if (cursor->bytes && cursor->number == number)
		return 0;
	cursor->number = number;
	return block_cache_get(layer->cache, layer->base.store, layer->base.id, layer->fd, number,
			       &cursor->bytes);
}

static int read_header(struct sealed_layer *layer, const struct store_identity *store)
{
	uint8_t bytes[LAYER_HEADER_BYTES];
	struct layer_header header;
	int err = io_read(layer->fd, bytes, sizeof(bytes), 0);

	if (!err)
		err = layer_header_decode(bytes, store, &header);
	if (err)
		return err < 0 ? err : -EUCLEAN;
	if (header.layer_id != layer->base.id)
		return -EUCLEAN;
	layer->base.start = header.start;
	return 0;
}

static int read_footer(struct sealed_layer *layer, const struct store_identity *store)
{
	uint8_t block[LAYER_BLOCK_BYTES];
	int err;

	if (layer->file_bytes < LAYER_HEADER_BYTES + LAYER_BLOCK_BYTES ||
	    layer->file_bytes % LAYER_BLOCK_BYTES)
		return -EUCLEAN;
	err = io_read(layer->fd, block, sizeof(block), layer->file_bytes - sizeof(block));
	if (!err)
		err = layer_footer_decode(block, store, layer->base.id, layer->file_bytes,
					  &layer->footer);
	if (!err && layer->footer.start.value != layer->base.start.value)
		err = -EUCLEAN;
	return err;
}

int sealed_layer_open(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		      struct block_cache *cache, struct mapped_views *views,
		      struct sealed_layer **layer_out)
{
	struct sealed_layer *layer = calloc(1, sizeof(*layer));
	char name[LAYER_NAME_BYTES];
	int err;

	*layer_out = NULL;
	if (!layer)
		return -ENOMEM;
	layer->base.kind = LAYER_SEALED;
	layer->base.id = layer_id;
	layer->base.store = store;
	layer->cache = cache;
	layer_name(layer_id, name);
	err = io_open(dir_fd, name, O_RDONLY, 0, &layer->fd);
	if (!err)
		err = io_size(layer->fd, &layer->file_bytes);
	if (!err)
		err = read_header(layer, store);
	if (!err)
		err = read_footer(layer, store);
	if (err) {
		sealed_layer_close(layer);
		return err;
	}
	if (views)
		mapped_file_open(&layer->map, views, layer->fd, layer->file_bytes);
	*layer_out = layer;
	return 0;
}

void sealed_layer_close(struct sealed_layer *layer)
{
	if (!layer)
		return;
	mapped_file_close(&layer->map);
	io_close(layer->fd);
	free(layer);
}

struct layer *sealed_layer_base(struct sealed_layer *layer)
{
	return &layer->base;
}

const struct layer_footer *sealed_layer_footer(const struct sealed_layer *layer)
{
	return &layer->footer;
}

uint64_t sealed_layer_file_bytes(const struct sealed_layer *layer)
{
	return layer->file_bytes;
}

int sealed_layer_fd(const struct sealed_layer *layer)
{
	return layer->fd;
}

/* A larger payload is not worth its blocks in the cache. */
#define CACHED_PAYLOAD_MAX (LAYER_BLOCK_BYTES / 2)

struct log_block {
	int fd;
	uint32_t number;
};

/* What lies in it is verified payload by payload. */
static int log_block_fill(void *context, uint8_t *bytes)
{
	const struct log_block *block = context;

	return io_read(block->fd, bytes, LAYER_BLOCK_BYTES, (uint64_t)block->number * LAYER_BLOCK_BYTES);
}

/* 0; 1: it is not there, and not to be brought in now; -errno. */
static int log_block_get(struct sealed_layer *layer, uint32_t number, const uint8_t **bytes_out)
{
	struct block_id id = { layer->base.id, number };
	struct log_block block = { layer->fd, number };

	*bytes_out = block_cache_look(layer->cache, id);
	if (*bytes_out)
		return 0;
	if (block_cache_is_crowded(layer->cache))
		return 1;
	return block_cache_load(layer->cache, id, BLOCK_OF_CONTENT, LAYER_BLOCK_BYTES, log_block_fill, &block, bytes_out);
}

/* Does it lie in blocks of the log alone? Those of the index are in the cache under the same numbers, verified. */
static bool is_cached_by_block(const struct sealed_layer *layer, const struct version *version)
{
	return version->size_bytes && version->size_bytes <= CACHED_PAYLOAD_MAX &&
	       (version->offset + version->size_bytes - 1) / LAYER_BLOCK_BYTES <
		       layer->footer.filter_block;
}

int sealed_layer_payload(struct sealed_layer *layer, const struct version *version, void *scratch,
			 const uint8_t **payload_out)
{
	uint32_t number = version->offset / LAYER_BLOCK_BYTES;
	uint32_t at = version->offset % LAYER_BLOCK_BYTES, here = LAYER_BLOCK_BYTES - at;
	const uint8_t *block;
	int err = 1;

	*payload_out = scratch;
	if (is_cached_by_block(layer, version))
		err = log_block_get(layer, number, &block);
	if (!err && here >= version->size_bytes) {
		*payload_out = block + at;
		return 0;
	}
	if (!err) {
		memcpy(scratch, block + at, here);
		err = log_block_get(layer, number + 1, &block);
	}
	if (!err)
		memcpy((uint8_t *)scratch + here, block, version->size_bytes - here);
	return err == 1 ? io_read(layer->fd, scratch, version->size_bytes, version->offset) : err;
}

static bool has_blocks(const struct sealed_layer *layer, const struct version *version)
{
	uint32_t last = (version->offset + version->size_bytes - 1) / LAYER_BLOCK_BYTES;

	if (!is_cached_by_block(layer, version))
		return false;
	for (uint32_t n = version->offset / LAYER_BLOCK_BYTES; n <= last; n++)
		if (!block_cache_has(layer->cache, (struct block_id){ layer->base.id, n }))
			return false;
	return true;
}

/* Which blocks of the log that are small payloads' are held? Those are had nearer by; is the first that is not on
 * the disk alone, so that there is something to be waited for? */
static bool prefetch_held(const struct version *versions, uint32_t count)
{
	struct block_place places[BLOCK_PREFETCH_MAX];
	const struct sealed_layer *layer, *last = NULL;
	bool missing = false, on_disk = false;
	unsigned wanted = 0;

	for (uint32_t i = 0; i < count && wanted < BLOCK_PREFETCH_MAX; i++) {
		if (versions[i].layer->kind != LAYER_SEALED)
			continue;
		layer = (const struct sealed_layer *)versions[i].layer;
		if (is_cached_by_block(layer, &versions[i])) {
			last = layer;
			places[wanted++] = (struct block_place){
				{ layer->base.id, versions[i].offset / LAYER_BLOCK_BYTES },
				versions[i].offset % LAYER_BLOCK_BYTES,
			};
		}
	}
	if (wanted)
		block_cache_prefetch(last->cache, places, wanted);
	for (uint32_t i = 0; i < count && !missing; i++) {
		if (versions[i].layer->kind != LAYER_SEALED)
			continue;
		layer = (const struct sealed_layer *)versions[i].layer;
		missing = is_cached_by_block(layer, &versions[i]) && !has_blocks(layer, &versions[i]);
		on_disk = missing && layer->map.base &&
			  !io_is_resident(layer->map.base + versions[i].offset, versions[i].size_bytes);
	}
	return on_disk;
}

void sealed_layer_prefetch(const struct version *versions, uint32_t count)
{
	if (!prefetch_held(versions, count))
		return;
	/* The disk reads them side by side. What is in memory after all costs a call. */
	for (uint32_t i = 0; i < count; i++) {
		const struct sealed_layer *layer = (const struct sealed_layer *)versions[i].layer;

		if (versions[i].layer->kind == LAYER_SEALED && versions[i].size_bytes &&
		    !has_blocks(layer, &versions[i]))
			io_prefetch(layer->fd, versions[i].offset, versions[i].size_bytes);
	}
}

bool sealed_layer_is_at_hand(const struct sealed_layer *layer, const struct version *version)
{
	return has_blocks(layer, version) ||
	       (layer->map.base &&
		io_is_resident(layer->map.base + version->offset, version->size_bytes));
}

const uint8_t *sealed_layer_view(struct sealed_layer *layer, const struct version *version)
{
	return mapped_file_view(&layer->map, version->offset, version->size_bytes);
}

/* 0: the filter says it may be here; 1: it is not; -errno. */
static int filter_probe(struct sealed_layer *layer, struct key key)
{
	uint64_t hash = key_hash(key);
	uint32_t line = layer_filter_line(hash, layer->footer.filter_lines);
	struct block_cursor cursor = { 0 };
	const uint8_t *bits;
	int err = cursor_move(layer, &cursor,
			   layer->footer.filter_block + line / LAYER_FILTER_LINES_PER_BLOCK);

	if (err)
		return err;
	bits = cursor.bytes + line % LAYER_FILTER_LINES_PER_BLOCK * LAYER_FILTER_LINE_BYTES;
	return layer_filter_line_has(bits, hash) ? 0 : 1;
}

static struct key key_at(const uint8_t *bytes)
{
	struct get_cursor c = get_cursor(bytes, 16);
	uint64_t ino = get_u64(&c);

	return (struct key){ ino, get_u64(&c) };
}

/* How many of the @count records of @stride bytes begin with a key <= @key. */
static uint32_t count_at_or_below(const uint8_t *bytes, uint32_t count, uint32_t stride,
				  struct key key)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (key_compare(key_at(bytes + (size_t)middle * stride), key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint32_t in_block(uint32_t total, uint32_t block, uint32_t per_block)
{
	uint32_t left = total - block * per_block;

	return left < per_block ? left : per_block;
}

/* The last key block whose first key is <= @key, or the first. */
static int find_key_block(struct sealed_layer *layer, struct key key, uint32_t *block_out)
{
	uint32_t fences = layer->footer.version_block - layer->footer.key_block;
	uint32_t low = 0, high = layer->footer.footer_block - layer->footer.fence_block;
	struct block_cursor cursor = { 0 };
	uint32_t below;
	int err = 0;

	/* The last fence block that begins at or below the key. */
	while (high - low > 1 && !err) {
		uint32_t middle = low + (high - low) / 2;

		err = cursor_move(layer, &cursor, layer->footer.fence_block + middle);
		if (!err && key_compare(key_at(cursor.bytes), key) <= 0)
			low = middle;
		else
			high = middle;
	}
	if (!err)
		err = cursor_move(layer, &cursor, layer->footer.fence_block + low);
	if (!err) {
		below = count_at_or_below(cursor.bytes, in_block(fences, low, LAYER_FENCES_PER_BLOCK),
					  LAYER_FENCE_BYTES, key);
		*block_out = low * LAYER_FENCES_PER_BLOCK + (below ? below - 1 : 0);
	}
	return err;
}

/* A key of the layer, by its number in key order. */
struct key_record {
	struct key key;
	uint32_t version_first, version_count;
};

static int key_record_read(struct sealed_layer *layer, struct block_cursor *cursor, uint32_t number,
			   struct key_record *record_out)
{
	int err = cursor_move(layer, cursor, layer->footer.key_block + number / LAYER_KEYS_PER_BLOCK);
	struct get_cursor c;

	if (err)
		return err;
	c = get_cursor(cursor->bytes + (size_t)(number % LAYER_KEYS_PER_BLOCK) * LAYER_KEY_BYTES,
		       LAYER_KEY_BYTES);
	record_out->key.ino = get_u64(&c);
	record_out->key.sub = get_u64(&c);
	record_out->version_first = get_u32(&c);
	record_out->version_count = get_u32(&c);
	if (record_out->version_count == 0 ||
	    record_out->version_first > layer->footer.version_count ||
	    record_out->version_count > layer->footer.version_count - record_out->version_first)
		return -EUCLEAN;
	return 0;
}

/* Number of the first key >= @key; the key count if there is none. */
static int key_lower_bound(struct sealed_layer *layer, struct block_cursor *cursor, struct key key,
			   uint32_t *number_out)
{
	uint32_t block = 0, below, count;
	int err;

	*number_out = 0;
	if (layer->footer.key_count == 0)
		return 0;
	err = find_key_block(layer, key, &block);
	if (!err)
		err = cursor_move(layer, cursor, layer->footer.key_block + block);
	if (err)
		return err;
	count = in_block(layer->footer.key_count, block, LAYER_KEYS_PER_BLOCK);
	below = count_at_or_below(cursor->bytes, count, LAYER_KEY_BYTES, key);
	if (below && key_equal(key_at(cursor->bytes + (size_t)(below - 1) * LAYER_KEY_BYTES), key))
		below--;
	*number_out = block * LAYER_KEYS_PER_BLOCK + below;
	return 0;
}

static int version_read(struct sealed_layer *layer, struct block_cursor *cursor, struct key key,
			uint32_t number, struct version *version_out)
{
	int err = cursor_move(layer, cursor,
			   layer->footer.version_block + number / LAYER_VERSIONS_PER_BLOCK);
	struct get_cursor c;

	if (err)
		return err;
	c = get_cursor(cursor->bytes +
			       (size_t)(number % LAYER_VERSIONS_PER_BLOCK) * LAYER_VERSION_BYTES,
		       LAYER_VERSION_BYTES);
	version_out->layer = &layer->base;
	version_out->key = key;
	version_out->lsn = lsn_make(layer->base.start.value + get_u32(&c));
	version_out->offset = get_u32(&c);
	version_out->size_bytes = get_u32(&c);
	version_out->form = get_u8(&c);
	version_out->weight = get_u8(&c);
	get_u16(&c);
	version_out->checksum = get_u64(&c);
	if (version_out->form < VERSION_IMAGE || version_out->form > VERSION_TOMBSTONE ||
	    version_out->weight > VERSION_WEIGHT_MAX || version_out->offset < LAYER_HEADER_BYTES ||
	    version_out->lsn.value <= layer->base.start.value ||
	    version_out->lsn.value > layer->footer.end.value ||
	    (uint64_t)version_out->offset + version_out->size_bytes > layer->file_bytes)
		return -EUCLEAN;
	return 0;
}

/* The search for the newest of a key's versions at or below @lsn. They lie newest first: those
 * below @low are above the LSN, those from @high on are not. */
struct place_search {
	struct sealed_layer *layer;
	struct block_cursor *cursor;
	const struct key_record *record;
	struct lsn lsn;
	uint32_t low, high;
};

/* Look at one of them, and narrow the search by it. */
static int place_probe(struct place_search *search, uint32_t place)
{
	struct version probe;
	int err = version_read(search->layer, search->cursor, search->record->key,
			       search->record->version_first + place, &probe);

	if (!err && probe.lsn.value > search->lsn.value)
		search->low = place + 1;
	else
		search->high = place;
	return err;
}

/* Versions of a key with very many lie at about even distances: begin where it should be, and go away from there
 * by blocks until it lies between. Bisection alone visits twice as many blocks. */
static int place_guess(struct place_search *search)
{
	const struct layer_footer *footer = &search->layer->footer;
	uint64_t span = footer->end.value - footer->start.value;
	uint64_t below = search->lsn.value < footer->start.value ? 0
			 : search->lsn.value > footer->end.value ? span
			 : search->lsn.value - footer->start.value;
	uint32_t count = search->record->version_count;
	uint32_t guess = (uint32_t)((double)(span - below) / (double)span * (count - 1));
	uint32_t step = LAYER_VERSIONS_PER_BLOCK;
	int err = place_probe(search, guess);

	if (err)
		return err;
	if (search->low > guess) {
		for (uint32_t at = guess + step; !err && at < search->high && search->low < at;
		     step *= 2, at += step) {
			err = place_probe(search, at);
			if (search->high == at)
				break;
		}
	} else {
		for (uint32_t at = guess; !err && at > step && search->high == at; step *= 2) {
			at -= step;
			err = place_probe(search, at);
		}
	}
	return err;
}

/* Number of the newest of a key's versions at or below @lsn, counted from its newest; version_count: none is. */
static int version_place(struct sealed_layer *layer, struct block_cursor *cursor,
			 const struct key_record *record, struct lsn lsn, uint32_t *place_out)
{
	struct place_search search = { layer, cursor, record, lsn, 0, record->version_count };
	int err = 0;

	if (record->version_count > 4 * LAYER_VERSIONS_PER_BLOCK)
		err = place_guess(&search);
	while (search.low < search.high && !err)
		err = place_probe(&search, search.low + (search.high - search.low) / 2);
	*place_out = search.low;
	return err;
}

/* The newest of a key's versions at or below @lsn. 0, 1 or -errno. */
static int version_search(struct sealed_layer *layer, struct block_cursor *cursor,
			  const struct key_record *record, struct lsn lsn,
			  struct version *version_out)
{
	uint32_t place;
	int err = version_place(layer, cursor, record, lsn, &place);

	if (err || place == record->version_count)
		return err ? err : 1;
	return version_read(layer, cursor, record->key, record->version_first + place, version_out);
}

/* The record of @key. 0; 1: it has none; -errno. */
static int key_search(struct sealed_layer *layer, struct key key, struct key_record *record_out)
{
	struct block_cursor keys = { 0 };
	uint32_t number;
	int err = filter_probe(layer, key);

	if (!err)
		err = key_lower_bound(layer, &keys, key, &number);
	if (!err && number == layer->footer.key_count)
		err = 1;
	if (!err)
		err = key_record_read(layer, &keys, number, record_out);
	if (!err && !key_equal(record_out->key, key))
		err = 1;
	return err;
}

int sealed_layer_find(struct sealed_layer *layer, struct key key, struct lsn lsn,
		      struct version *version_out)
{
	struct block_cursor versions = { 0 };
	struct key_record record;
	int err = key_search(layer, key, &record);

	if (!err)
		err = version_search(layer, &versions, &record, lsn, version_out);
	if (err)
		memset(version_out, 0, sizeof(*version_out));
	return err;
}

int sealed_layer_find_chain(struct sealed_layer *layer, struct key key, struct lsn lsn,
			    struct version *versions, uint32_t room, uint32_t *count_out)
{
	struct block_cursor cursor = { 0 };
	struct key_record record;
	uint32_t place, count = 0;
	int err = key_search(layer, key, &record);

	*count_out = 0;
	if (err)
		return err < 0 ? err : 0;
	err = version_place(layer, &cursor, &record, lsn, &place);
	for (; !err && count < room && place < record.version_count; place++) {
		err = version_read(layer, &cursor, key, record.version_first + place,
				   &versions[count]);
		if (!err && !versions[count++].weight)
			break;
	}
	*count_out = err ? 0 : count;
	return err;
}

/* Call @fn with each key record in [@low, @high], in key order. Keys out of order are
 * -EUCLEAN: @fn may rely on the range. */
typedef int key_record_fn(void *context, struct sealed_layer *layer,
			  const struct key_record *record);

static int each_key(struct sealed_layer *layer, struct key low, struct key high,
		    key_record_fn *fn, void *context)
{
	struct block_cursor cursor = { 0 };
	struct key_record record;
	uint32_t number;
	int err = key_lower_bound(layer, &cursor, low, &number);

	for (bool first = true; !err && number < layer->footer.key_count; number++) {
		err = key_record_read(layer, &cursor, number, &record);
		if (err || key_compare(record.key, high) > 0)
			break;
		if (key_compare(record.key, low) < (first ? 0 : 1))
			return -EUCLEAN;
		first = false;
		low = record.key;
		err = fn(context, layer, &record);
	}
	return err;
}

struct find_pages {
	uint64_t first;
	struct lsn lsn;
	struct version *versions;
	uint32_t *found;
	struct block_cursor cursor;
};

static int find_one_page(void *context, struct sealed_layer *layer,
			 const struct key_record *record)
{
	struct find_pages *find = context;
	struct version *slot = &find->versions[key_index(record->key) - find->first];
	int err;

	if (slot->form)
		return 0;
	err = version_search(layer, &find->cursor, record, find->lsn, slot);
	if (err == 0)
		++*find->found;
	else
		memset(slot, 0, sizeof(*slot));
	return err < 0 ? err : 0;
}

/* From so many pages on, one walk along the keys beats a filter probe for each. */
#define FIND_PAGES_WALK_MIN 4u

int sealed_layer_find_pages(struct sealed_layer *layer, uint64_t ino, uint64_t first,
			    uint32_t count, struct lsn lsn, struct version *versions,
			    uint32_t *found)
{
	struct find_pages find = { first, lsn, versions, found, { 0 } };
	int err = 0;

	if (count >= FIND_PAGES_WALK_MIN) {
		err = each_key(layer, key_make(ino, KEY_PAGE, first),
			       key_make(ino, KEY_PAGE, first + count - 1), find_one_page, &find);
			return err;
	}
	for (uint32_t i = 0; i < count && err >= 0; i++) {
		if (versions[i].form)
			continue;
		err = sealed_layer_find(layer, key_make(ino, KEY_PAGE, first + i), lsn,
					&versions[i]);
		if (err == 0)
			++*found;
	}
	return err < 0 ? err : 0;
}

struct find_names {
	const uint64_t *hashes;
	uint32_t count, next;           /* the first hash that is not below the keys walked so far */
	struct lsn lsn;
	struct version *versions;
	struct block_cursor cursor;
};

static int find_one_name(void *context, struct sealed_layer *layer, const struct key_record *record)
{
	struct find_names *find = context;
	uint64_t hash = key_index(record->key);
	struct version *slot;
	int err;

	while (find->next < find->count && find->hashes[find->next] < hash)
		find->next++;
	slot = &find->versions[find->next];
	if (find->next == find->count || find->hashes[find->next] != hash || slot->form)
		return 0;
	err = version_search(layer, &find->cursor, record, find->lsn, slot);
	if (err)
		memset(slot, 0, sizeof(*slot));
	return err < 0 ? err : 0;
}

int sealed_layer_find_names(struct sealed_layer *layer, uint64_t ino, const uint64_t *hashes, uint32_t count,
			    struct lsn lsn, struct version *versions)
{
	struct find_names find = { hashes, count, 0, lsn, versions, { 0 } };

	return each_key(layer, key_make(ino, KEY_NAME, hashes[0]), key_make(ino, KEY_NAME, hashes[count - 1]),
			find_one_name, &find);
}

struct each_name {
	layer_key_fn *fn;
	void *context;
};

static int each_one_name(void *context, struct sealed_layer *layer,
			 const struct key_record *record)
{
	struct each_name *each = context;

	(void)layer;
	return each->fn(each->context, record->key);
}

int sealed_layer_each_name(struct sealed_layer *layer, uint64_t ino, uint64_t from,
			   layer_key_fn *fn, void *context)
{
	struct each_name each = { fn, context };

	return each_key(layer, key_make(ino, KEY_NAME, from),
			key_make(ino, KEY_NAME, KEY_INDEX_MAX), each_one_name, &each);
}

/* 0 and the size of the first batch; 1: it is damaged; -ENOMEM; -errno. */
static int first_batch_size(struct sealed_layer *layer, uint32_t *size_out)
{
	uint64_t log_bytes = layer->footer.end.value - layer->footer.start.value;
	uint8_t header[BATCH_HEADER_BYTES], *bytes;
	struct batch_view batch;
	struct get_cursor c;
	int err = io_read(layer->fd, header, sizeof(header), LAYER_HEADER_BYTES);

	if (err)
		return err;
	c = get_cursor(header, sizeof(header));
	get_u64(&c);
	*size_out = get_u32(&c);
	if (*size_out > log_bytes)
		return 1;
	bytes = malloc((size_t)*size_out + 1);
	if (!bytes)
		return -ENOMEM;
	err = io_read(layer->fd, bytes, *size_out, LAYER_HEADER_BYTES);
	if (!err)
		err = batch_view_open(bytes, *size_out, layer->footer.chain_start, &batch);
	free(bytes);
	return err;
}

static int oldest_version(struct sealed_layer *layer, struct lsn *lsn_out)
{
	struct block_cursor cursor = { 0 };
	struct version version;
	int err = 0;

	*lsn_out = layer->footer.end;
	for (uint32_t i = 0; i < layer->footer.version_count && !err; i++) {
		err = version_read(layer, &cursor, (struct key){ 0, 0 }, i, &version);
		if (!err && version.lsn.value < lsn_out->value)
			*lsn_out = version.lsn;
	}
	return err;
}

int sealed_layer_first_lsn(struct sealed_layer *layer, struct lsn *lsn_out)
{
	uint32_t size_bytes;
	int err = first_batch_size(layer, &size_bytes);

	*lsn_out = lsn_make(0);
	if (!err)
		*lsn_out = lsn_make(layer->footer.start.value + size_bytes);
	if (err == 1) {
		guard_take();
		err = oldest_version(layer, lsn_out);
		guard_drop();
	}
	return err;
}

struct each_version {
	layer_version_fn *fn;
	void *context;
	struct block_cursor cursor;
};

static int each_version_of_key(void *context, struct sealed_layer *layer,
			       const struct key_record *record)
{
	struct each_version *each = context;
	struct version version;
	int err = 0;

	for (uint32_t i = 0; i < record->version_count && !err; i++) {
		err = version_read(layer, &each->cursor, record->key, record->version_first + i,
				   &version);
		if (!err)
			err = each->fn(each->context, &version);
	}
	return err;
}

int sealed_layer_each_version(struct sealed_layer *layer, uint64_t ino, layer_version_fn *fn,
			      void *context)
{
	struct each_version each = { fn, context, { 0 } };
	int err = each_key(layer, (struct key){ ino, 0 }, (struct key){ ino, UINT64_MAX },
			   each_version_of_key, &each);

	return err;
}
