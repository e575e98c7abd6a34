#include "index_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "io.h"

#define KEY_READ_BLOCKS 64u

struct index_walk {
	const struct layer_footer *footer;
	int fd;
	struct log_check *log;
	const struct layer_check_target *target;
	uint8_t *filter;                /* all its lines; ones where a block is bad */
	struct key *first_keys;         /* of each key block; ino 0 where it is bad */
	bool records_bad;               /* a key or version block: the sums can't be compared */
	uint64_t digest, version_count; /* of the versions outside lost stretches */
	/* the keys, once more, beside their versions */
	uint8_t *keys;                  /* KEY_READ_BLOCKS blocks */
	uint32_t keys_first, keys_count;        /* which are there */
	uint32_t key_number;            /* the key that the next version is of, or one before it */
	uint8_t *payload;               /* of a version in a lost stretch */
	uint32_t payload_room;
};

static void found(struct index_walk *walk, uint64_t block, const char *text)
{
	struct finding finding = {
		.kind = FINDING_INDEX,
		.offset = block * LAYER_BLOCK_BYTES,
		.size_bytes = LAYER_BLOCK_BYTES,
		.from = lsn_make(walk->target->start.value + 1),
		.until = lsn_make(FINDING_OPEN_END),
	};

	finding_layer_file(&finding, walk->target->layer_id);
	walk->log->result->index_bad = true;
	check_found(walk->log->hooks, &finding, "%s", text);
}

/* 0 and the block; 1: it is damaged, and that was told; -ENOMEM. */
static int next_block(struct index_walk *walk, uint32_t number, const char *what,
		      const uint8_t **bytes_out)
{
	int err = stream_get(walk->log->stream, (uint64_t)number * LAYER_BLOCK_BYTES,
			     LAYER_BLOCK_BYTES, bytes_out);

	if (err)
		return err;
	if (layer_block_good(*bytes_out, walk->target->store, walk->target->layer_id, number))
		return 0;
	found(walk, number, what);
	return 1;
}

static uint32_t in_block(uint32_t total, uint32_t block, uint32_t per_block)
{
	uint32_t left = total - block * per_block;

	return left < per_block ? left : per_block;
}

static int walk_filter(struct index_walk *walk)
{
	const struct layer_footer *footer = walk->footer;
	const uint8_t *bytes;
	int err = 0;

	for (uint32_t i = 0; i < footer->key_block - footer->filter_block && err >= 0; i++) {
		size_t size = (size_t)in_block(footer->filter_lines, i, LAYER_FILTER_LINES_PER_BLOCK) *
			      LAYER_FILTER_LINE_BYTES;
		uint8_t *lines = walk->filter + (size_t)i * LAYER_FILTER_LINES_PER_BLOCK *
							LAYER_FILTER_LINE_BYTES;

		err = next_block(walk, footer->filter_block + i,
				 "a block of the filter is damaged: what it covers is not found",
				 &bytes);
		if (err == 0)
			memcpy(lines, bytes, size);
		else
			memset(lines, 0xff, size);
	}
	return err < 0 ? err : 0;
}

static bool filter_knows(const struct index_walk *walk, struct key key)
{
	uint64_t hash = key_hash(key);
	uint32_t line = layer_filter_line(hash, walk->footer->filter_lines);

	return layer_filter_line_has(walk->filter + (size_t)line * LAYER_FILTER_LINE_BYTES, hash);
}

struct key_record {
	struct key key;
	uint32_t first, count;
};

static struct key_record key_record_at(const uint8_t *block, uint32_t index)
{
	struct get_cursor c = get_cursor(block + (size_t)index * LAYER_KEY_BYTES, LAYER_KEY_BYTES);
	struct key_record record;

	record.key.ino = get_u64(&c);
	record.key.sub = get_u64(&c);
	record.first = get_u32(&c);
	record.count = get_u32(&c);
	return record;
}

/* What the key blocks passed so far end with. */
struct key_order {
	struct key key;
	uint64_t versions;
	bool known;
};

static const char *key_block_fault(const struct index_walk *walk, const uint8_t *bytes,
				   uint32_t count, struct key_order *order)
{
	for (uint32_t i = 0; i < count; i++) {
		struct key_record record = key_record_at(bytes, i);

		if (order->known && key_compare(record.key, order->key) <= 0)
			return "keys of the index are out of order";
		if (order->known && record.first != order->versions)
			return "keys of the index disagree on where their versions are";
		if (record.count == 0 ||
		    (uint64_t)record.first + record.count > walk->footer->version_count)
			return "a key of the index has versions that are not there";
		if (record.key.ino > walk->footer->ino_max)
			return "a key of the index is above the highest that the footer says";
		if (!filter_knows(walk, record.key))
			return "the filter denies a key that is there";
		*order = (struct key_order){ record.key, (uint64_t)record.first + record.count, true };
	}
	return NULL;
}

static int walk_keys(struct index_walk *walk)
{
	const struct layer_footer *footer = walk->footer;
	struct key_order order = { .key = { 0, 0 }, .versions = 0, .known = true };
	const uint8_t *bytes;
	int err = 0;

	for (uint32_t i = 0; i < footer->version_block - footer->key_block && err >= 0; i++) {
		const char *fault;

		err = next_block(walk, footer->key_block + i,
				 "a block of keys is damaged: these keys are not found", &bytes);
		walk->records_bad |= err == 1;
		order.known &= err != 1;
		if (err)
			continue;
		walk->first_keys[i] = key_record_at(bytes, 0).key;
		fault = key_block_fault(walk, bytes,
					in_block(footer->key_count, i, LAYER_KEYS_PER_BLOCK), &order);
		if (fault) {
			found(walk, footer->key_block + i, fault);
			walk->records_bad = true;
			order.known = false;
		}
	}
	if (err >= 0 && order.known && order.versions != footer->version_count) {
		found(walk, footer->footer_block, "the keys have fewer versions than the footer says");
		walk->records_bad = true;
	}
	return err < 0 ? err : 0;
}

/* Key @number, from the second look at the key blocks. 0; -errno. */
static int key_reread(struct index_walk *walk, uint32_t number, struct key_record *record_out)
{
	uint32_t block = number / LAYER_KEYS_PER_BLOCK;
	uint32_t blocks = walk->footer->version_block - walk->footer->key_block;
	int err = 0;

	if (block < walk->keys_first || block >= walk->keys_first + walk->keys_count) {
		walk->keys_first = block;
		walk->keys_count = blocks - block < KEY_READ_BLOCKS ? blocks - block
								    : KEY_READ_BLOCKS;
		err = io_read(walk->fd, walk->keys, (size_t)walk->keys_count * LAYER_BLOCK_BYTES,
			      (uint64_t)(walk->footer->key_block + block) * LAYER_BLOCK_BYTES);
	}
	if (err)
		walk->keys_count = 0;
	else
		*record_out = key_record_at(walk->keys + (size_t)(block - walk->keys_first) *
							       LAYER_BLOCK_BYTES,
					    number % LAYER_KEYS_PER_BLOCK);
	return err;
}

/* A version that the log can't speak for: its bytes have to. 0; -ENOMEM. */
static int check_payload(struct index_walk *walk, const struct version_facts *facts)
{
	struct lsn lsn = lsn_make(walk->target->start.value + facts->lsn);
	struct finding finding = { .kind = FINDING_VERSION, .offset = facts->offset,
				   .size_bytes = facts->size_bytes, .key = facts->key, .from = lsn,
				   .until = lsn_make(FINDING_OPEN_END) };
	uint64_t seed = checksum_version_seed(walk->target->store->seed, facts->key, lsn,
					      facts->form, facts->weight);

	if (facts->size_bytes > walk->payload_room) {
		uint8_t *payload = realloc(walk->payload, facts->size_bytes);

		if (!payload)
			return -ENOMEM;
		walk->payload = payload;
		walk->payload_room = facts->size_bytes;
	}
	if (io_read(walk->fd, walk->payload, facts->size_bytes, facts->offset) == 0 &&
	    checksum(walk->payload, facts->size_bytes, seed) == facts->checksum)
		return 0;
	finding_layer_file(&finding, walk->target->layer_id);
	walk->log->result->version_bad = true;
	check_found(walk->log->hooks, &finding, "the checksum of this version is wrong");
	return 0;
}

static struct version_facts version_at(const uint8_t *block, uint32_t index, struct key key)
{
	struct get_cursor c = get_cursor(block + (size_t)index * LAYER_VERSION_BYTES,
					 LAYER_VERSION_BYTES);
	struct version_facts facts = { .key = key };

	facts.lsn = get_u32(&c);
	facts.offset = get_u32(&c);
	facts.size_bytes = get_u32(&c);
	facts.form = get_u8(&c);
	facts.weight = get_u8(&c);
	get_u16(&c);
	facts.checksum = get_u64(&c);
	return facts;
}

static bool facts_are_possible(const struct index_walk *walk, const struct version_facts *facts)
{
	uint64_t history = walk->footer->end.value - walk->footer->start.value;

	return facts->lsn > 0 && facts->lsn <= history && facts->form >= VERSION_IMAGE &&
	       facts->form <= VERSION_TOMBSTONE && facts->weight <= VERSION_WEIGHT_MAX &&
	       facts->offset >= LAYER_HEADER_BYTES &&
	       facts->offset + facts->size_bytes <= LAYER_HEADER_BYTES + history;
}

/* The versions of one block. 0; 1: they make no sense; -errno. */
static int walk_version_block(struct index_walk *walk, const uint8_t *bytes, uint32_t first,
			      uint32_t count, uint64_t *lsn_before)
{
	struct key_record record;
	int err = key_reread(walk, walk->key_number, &record);

	for (uint32_t i = 0; i < count && !err; i++) {
		struct version_facts facts;

		while (!err && first + i >= record.first + record.count) {
			if (++walk->key_number == walk->footer->key_count)
				return 1;
			err = key_reread(walk, walk->key_number, &record);
		}
		if (err || first + i < record.first)
			return err ? err : 1;
		facts = version_at(bytes, i, record.key);
		if (!facts_are_possible(walk, &facts) ||
		    (first + i > record.first && facts.lsn >= *lsn_before))
			return 1;
		*lsn_before = facts.lsn;
		if (log_check_lost(walk->log, facts.lsn)) {
			err = check_payload(walk, &facts);
		} else {
			walk->digest += version_facts_hash(&facts);
			walk->version_count++;
		}
	}
	return err;
}

static int walk_versions(struct index_walk *walk)
{
	const struct layer_footer *footer = walk->footer;
	uint64_t lsn_before = UINT64_MAX;
	const uint8_t *bytes;
	int err = 0;

	for (uint32_t i = 0; i < footer->fence_block - footer->version_block && err >= 0; i++) {
		uint32_t first = i * LAYER_VERSIONS_PER_BLOCK;

		err = next_block(walk, footer->version_block + i,
				 "a block of versions is damaged: these versions are not found",
				 &bytes);
		/* Which key a version is of is known only while the keys are. */
		if (err == 0 && !walk->records_bad) {
			err = walk_version_block(walk, bytes, first,
						 in_block(footer->version_count, i,
							  LAYER_VERSIONS_PER_BLOCK),
						 &lsn_before);
			if (err == 1)
				found(walk, footer->version_block + i,
				      "versions of the index are out of order or impossible");
		}
		if (err == -EIO || err == -EUCLEAN) {
			found(walk, footer->key_block + walk->key_number / LAYER_KEYS_PER_BLOCK,
			      "keys of the index could not be read again: index and log were not compared");
			err = 1;
		}
		walk->records_bad |= err == 1;
		if (err == 1 && check_progress(walk->log->hooks, 0))
			err = -ECANCELED;
	}
	return err < 0 ? err : 0;
}

static int walk_fences(struct index_walk *walk)
{
	const struct layer_footer *footer = walk->footer;
	uint32_t key_blocks = footer->version_block - footer->key_block;
	const uint8_t *bytes;
	int err = 0;

	for (uint32_t i = 0; i < footer->footer_block - footer->fence_block && err >= 0; i++) {
		uint32_t count = in_block(key_blocks, i, LAYER_FENCES_PER_BLOCK);
		struct get_cursor c;

		err = next_block(walk, footer->fence_block + i,
				 "a block of fences is damaged: the keys behind it are not found",
				 &bytes);
		c = get_cursor(bytes, LAYER_BLOCK_PAYLOAD_BYTES);
		for (uint32_t j = 0; j < count && err == 0; j++) {
			uint64_t ino = get_u64(&c);
			struct key fence = { ino, get_u64(&c) };
			struct key first = walk->first_keys[i * LAYER_FENCES_PER_BLOCK + j];

			if (first.ino && !key_equal(fence, first)) {
				found(walk, footer->fence_block + i,
				      "a fence is not the first key of its block");
				err = 1;
			}
		}
	}
	return err < 0 ? err : 0;
}

static void compare_with_log(struct index_walk *walk)
{
	if (walk->records_bad)
		return;
	if (walk->digest != walk->log->digest || walk->version_count != walk->log->version_count)
		found(walk, walk->footer->version_block, "index and log do not hold the same versions");
	else if (!walk->log->result->log_bad && walk->footer->ino_max != walk->log->ino_max)
		found(walk, walk->footer->footer_block,
		      "the highest inode number in the footer is not that of the log");
}

int index_check(const struct layer_footer *footer, int fd, struct log_check *log)
{
	struct index_walk walk = { .footer = footer, .fd = fd, .log = log, .target = log->target };
	uint32_t key_blocks = footer->version_block - footer->key_block;
	int err = 0;

	walk.filter = malloc((size_t)footer->filter_lines * LAYER_FILTER_LINE_BYTES);
	walk.first_keys = calloc(key_blocks + 1, sizeof(*walk.first_keys));
	walk.keys = malloc((size_t)KEY_READ_BLOCKS * LAYER_BLOCK_BYTES);
	if (!walk.filter || !walk.first_keys || !walk.keys)
		err = -ENOMEM;
	if (!err)
		err = walk_filter(&walk);
	if (!err)
		err = walk_keys(&walk);
	if (!err && footer->key_count)
		err = walk_versions(&walk);
	if (!err)
		err = walk_fences(&walk);
	if (!err)
		compare_with_log(&walk);
	free(walk.filter);
	free(walk.first_keys);
	free(walk.keys);
	free(walk.payload);
	return err;
}
