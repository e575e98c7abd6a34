#include "open_layer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "checksum.h"
#include "fault.h"
#include "io.h"

/* The least a version takes of the file: an entry head of 14 bytes and an empty
 * payload in the log, a record in the index. */
#define VERSION_BYTES_MIN (14u + LAYER_VERSION_BYTES)

static int layer_new(uint64_t layer_id, const struct store_identity *store,
		     struct open_layer **layer_out)
{
	struct open_layer *layer = calloc(1, sizeof(*layer));

	*layer_out = layer;
	if (!layer)
		return -ENOMEM;
	layer->base.kind = LAYER_OPEN;
	layer->base.id = layer_id;
	layer->base.store = store;
	layer->arena.fd = -1;
	layer->leased_tail = LAYER_HEADER_BYTES;
	atomic_init(&layer->tail, LAYER_HEADER_BYTES);
	return 0;
}

static uint32_t version_limit(const struct open_layer *layer)
{
	return (uint32_t)((layer->arena.capacity_bytes - LAYER_HEADER_BYTES) / VERSION_BYTES_MIN);
}

static int index_for(struct open_layer *layer)
{
	return version_index_create(version_limit(layer), &layer->index);
}

int open_layer_create(int dir_fd, uint64_t layer_id, uint64_t size_bytes,
		      const struct store_identity *store, struct open_layer **layer_out)
{
	struct open_layer *layer;
	char name[LAYER_NAME_BYTES];
	int err;

	assert(size_bytes >= LAYER_SIZE_MIN && size_bytes <= LAYER_SIZE_MAX);
	*layer_out = NULL;
	err = layer_new(layer_id, store, &layer);
	if (err)
		return err;
	layer_name(layer_id, name);
	err = arena_create(&layer->arena, dir_fd, name, size_bytes);
	if (err) {
		layer->arena.base = NULL;
		layer->arena.fd = -1;
		goto out;
	}
	err = index_for(layer);
	if (!err)
		err = io_sync(layer->arena.fd);
	if (err) {
		io_unlink(dir_fd, name);
		goto out;
	}
	*layer_out = layer;
	layer = NULL;
out:
	open_layer_close(layer);
	return err;
}

struct start {
	struct open_layer *layer;
	struct layer_header header;
};

static int write_header(void *context)
{
	struct start *start = context;

	layer_header_encode(&start->header, start->layer->base.store, start->layer->arena.base);
	return 0;
}

int open_layer_start(struct open_layer *layer, struct lsn start, uint64_t chain)
{
	struct start header = { layer, { layer->base.id, start, chain } };
	int err;

	assert(!layer->started);
	err = fault_guarded(write_header, &header);
	if (err)
		return err;
	layer->base.start = start;
	layer->chain_start = chain;
	layer->chain = chain;
	layer->started = true;
	arena_account(&layer->arena, ARENA_FRAMING, LAYER_HEADER_BYTES);
	return 0;
}

void open_layer_close(struct open_layer *layer)
{
	if (!layer)
		return;
	version_index_free(layer->index);
	arena_close(&layer->arena);
	free(layer);
}

struct lsn open_layer_end(const struct open_layer *layer)
{
	uint64_t tail = atomic_load_explicit(&layer->tail, memory_order_acquire);

	return lsn_make(layer->base.start.value + tail - LAYER_HEADER_BYTES);
}

int open_layer_lease(struct open_layer *layer, size_t size_bytes, size_t entry_count,
		     int64_t time_ns, struct lease *lease_out)
{
	uint32_t published = version_index_version_count(layer->index);
	uint32_t pending = layer->leased_versions - published + (uint32_t)entry_count;
	uint32_t keys = version_index_key_count(layer->index) + pending;
	uint64_t end = layer->leased_tail + size_bytes;
	int err;

	assert(layer->started);
	/* Sealing must never need room that is not reserved already. */
	if (end + LAYER_BLOCK_BYTES + layer_index_bytes(keys, published + pending) >
	    layer->arena.capacity_bytes)
		return 1;
	err = version_index_prepare(layer->index, pending);
	if (err)
		return err;
	*lease_out = (struct lease){
		.layer = layer,
		.at = layer->leased_tail,
		.size_bytes = (uint32_t)size_bytes,
		.lsn = { layer->base.start.value + end - LAYER_HEADER_BYTES },
		.time_ns = time_ns,
		.chain_known = layer->lease_count == 0,
		.chain_before = layer->chain,
	};
	layer->leased_tail = end;
	layer->leased_versions += (uint32_t)entry_count;
	layer->lease_count++;
	return 0;
}

static struct batch_context lease_context(const struct lease *lease, struct lsn durable)
{
	uint64_t lag = lease->lsn.value - lease->size_bytes - durable.value;

	return (struct batch_context){
		.store_seed = lease->layer->base.store->seed,
		.lsn = lease->lsn,
		.time_ns = lease->time_ns,
		.durable_lag = lag > UINT32_MAX ? UINT32_MAX : (uint32_t)lag,
	};
}

/*
 * From this size on a batch is written by a system call, below it through the
 * mapping. A first store to a page of the mapping costs a fault each 4 KiB,
 * and cleaning that page again a shot at every processor's TLB; a small batch is
 * cheaper without the call.
 */
#define FILL_BY_WRITE_MIN (32u << 10)

#define FILL_ENTRIES_INLINE 8u
#define FILL_SCRATCH_INLINE 1024u

/* 0; -errno: nothing that matters was written, fill through the mapping. */
static int fill_by_write(struct lease *lease, struct batch_entry *entries, size_t count,
			 const struct batch_context *context)
{
	struct iovec inline_vectors[2 * FILL_ENTRIES_INLINE + 1], *vectors = inline_vectors;
	uint8_t inline_scratch[FILL_SCRATCH_INLINE], *scratch = inline_scratch;
	size_t scratch_bytes = batch_scratch_size(entries, count), vector_count;
	int err = -ENOMEM;

	if (scratch_bytes > sizeof(inline_scratch))
		scratch = malloc(scratch_bytes);
	if (count > FILL_ENTRIES_INLINE)
		vectors = malloc((2 * count + 1) * sizeof(*vectors));
	if (scratch && vectors) {
		lease->heads_bytes = batch_fill_vectors(entries, count, context, scratch, vectors,
							&vector_count);
		if (lease->chain_known)
			lease->chain = batch_finish(scratch, lease->heads_bytes,
						    lease->chain_before);
		err = io_write_vectors(lease->layer->arena.fd, vectors, vector_count, lease->at);
	}
	if (scratch != inline_scratch)
		free(scratch);
	if (vectors != inline_vectors)
		free(vectors);
	return err;
}

/* What is stored through the mapping, where a file cut short would be SIGBUS. */
struct mapped_fill {
	struct lease *lease;
	struct batch_entry *entries;
	size_t count;
	const uint8_t *nonce;
	struct batch_context context;
};

static int fill_by_mapping(void *argument)
{
	struct mapped_fill *fill = argument;
	struct lease *lease = fill->lease;
	uint8_t *batch = lease->layer->arena.base + lease->at;

	lease->heads_bytes = batch_fill(fill->entries, fill->count, &fill->context, batch);
	if (lease->chain_known)
		lease->chain = batch_finish(batch, lease->heads_bytes, lease->chain_before);
	return 0;
}

int lease_fill(struct lease *lease, struct batch_entry *entries, size_t count,
	       struct lsn durable)
{
	struct mapped_fill fill = { lease, entries, count, NULL, lease_context(lease, durable) };

	if (lease->size_bytes >= FILL_BY_WRITE_MIN &&
	    !fill_by_write(lease, entries, count, &fill.context))
		return 0;
	return fault_guarded(fill_by_mapping, &fill);
}

static int fill_opened(void *argument)
{
	struct mapped_fill *fill = argument;

	fill->lease->heads_bytes =
		batch_fill_opened(&fill->context, fill->nonce,
				  fill->lease->layer->arena.base + fill->lease->at);
	return 0;
}

int lease_fill_opened(struct lease *lease, const uint8_t nonce[BATCH_NONCE_BYTES],
		      struct lsn durable)
{
	struct mapped_fill fill = { lease, NULL, 0, nonce, lease_context(lease, durable) };

	lease->chain_known = false;
	return fault_guarded(fill_opened, &fill);
}

static int chain_by_mapping(void *argument)
{
	struct lease *lease = argument;

	lease->chain = batch_finish(lease->layer->arena.base + lease->at, lease->heads_bytes,
				    lease->layer->chain);
	return 0;
}

static enum arena_purpose purpose_of(struct key key, uint8_t form)
{
	switch (key_kind(key)) {
	case KEY_NAME:
		return ARENA_NAME;
	case KEY_PAGE:
		return form == VERSION_PATCH ? ARENA_PATCH : ARENA_IMAGE;
	default:
		return ARENA_ATTR;
	}
}

/* Take one entry of a published or recovered batch into index and account. */
static void take_entry(struct open_layer *layer, struct key key, const struct version_node *node)
{
	version_index_insert(layer->index, key, node);
	arena_account(&layer->arena, purpose_of(key, node->form), node->size_bytes);
	if (key.ino > layer->ino_max)
		layer->ino_max = key.ino;
}

/* Take the end of a batch: everything of it is in the index. */
static void take_end(struct open_layer *layer, uint64_t tail, uint64_t chain, int64_t time_ns)
{
	layer->chain = chain;
	if (!layer->time_first_ns)
		layer->time_first_ns = time_ns;
	layer->time_last_ns = time_ns;
	atomic_store_explicit(&layer->tail, tail, memory_order_release);
}

int lease_publish(struct lease *lease, const struct batch_entry *entries, size_t count)
{
	struct open_layer *layer = lease->layer;
	uint64_t payload_bytes = 0;
	int err = 0;

	assert(atomic_load_explicit(&layer->tail, memory_order_relaxed) == lease->at);
	if (!lease->chain_known)
		err = fault_guarded(chain_by_mapping, lease);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		struct version_node node = {
			.checksum = entries[i].checksum,
			.lsn = (uint32_t)(lease->lsn.value - layer->base.start.value),
			.offset = (uint32_t)(lease->at + entries[i].payload_at),
			.size_bytes = batch_entry_payload_bytes(&entries[i]),
			.form = entries[i].form,
			.weight = entries[i].weight,
		};

		take_entry(layer, entries[i].key, &node);
		payload_bytes += node.size_bytes;
	}
	arena_account(&layer->arena, ARENA_FRAMING, lease->size_bytes - payload_bytes);
	take_end(layer, lease->at + lease->size_bytes, lease->chain, lease->time_ns);
	layer->lease_count--;
	return 0;
}

void lease_abandon(struct lease *lease)
{
	lease->layer->lease_count--;
}

int open_layer_flush(struct open_layer *layer)
{
	return arena_flush(&layer->arena,
			   atomic_load_explicit(&layer->tail, memory_order_acquire));
}

int open_layer_clear_tail(struct open_layer *layer)
{
	return arena_clear_tail(&layer->arena,
				layer->started ? atomic_load(&layer->tail) : 0);
}

/* ---- reading ---- */

static void version_from_node(struct open_layer *layer, struct key key,
			      const struct version_node *node, struct version *version_out)
{
	*version_out = (struct version){
		.layer = &layer->base,
		.key = key,
		.lsn = lsn_make(layer->base.start.value + node->lsn),
		.checksum = node->checksum,
		.offset = node->offset,
		.size_bytes = node->size_bytes,
		.form = node->form,
		.weight = node->weight,
	};
}

/* The newest version at or below @lsn; NULL if there is none. */
static const struct version_node *find_node(const struct open_layer *layer, struct key key,
					    struct lsn lsn)
{
	uint64_t relative = lsn.value - layer->base.start.value;

	if (lsn.value < layer->base.start.value)
		return NULL;
	return version_index_find(layer->index, key,
				  relative > UINT32_MAX ? UINT32_MAX : (uint32_t)relative);
}

uint32_t open_layer_find_chain(struct open_layer *layer, struct key key, struct lsn lsn,
			       struct version *versions, uint32_t room)
{
	const struct version_node *node = find_node(layer, key, lsn);
	uint32_t count = 0;

	for (; node && count < room; node = version_index_before(layer->index, node)) {
		version_from_node(layer, key, node, &versions[count++]);
		if (!node->weight)
			break;
	}
	return count;
}

uint64_t open_layer_file_bytes(const struct open_layer *layer)
{
	return layer->arena.capacity_bytes;
}

int open_layer_find(struct open_layer *layer, struct key key, struct lsn lsn,
		    struct version *version_out)
{
	const struct version_node *node = find_node(layer, key, lsn);

	if (!node) {
		memset(version_out, 0, sizeof(*version_out));
		return 1;
	}
	version_from_node(layer, key, node, version_out);
	return 0;
}

struct each_name {
	uint64_t from;
	layer_key_fn *fn;
	void *context;
};

static int each_one_name(void *context, struct key key)
{
	struct each_name *each = context;

	return key_index(key) >= each->from ? each->fn(each->context, key) : 0;
}

int open_layer_each_name(struct open_layer *layer, uint64_t ino, uint64_t from, layer_key_fn *fn,
			 void *context)
{
	struct each_name each = { from, fn, context };

	return version_index_each_name(layer->index, ino, each_one_name, &each);
}

struct each_version {
	struct open_layer *layer;
	uint64_t ino;
	layer_version_fn *fn;
	void *context;
};

static int each_version_of_key(void *context, struct key key, const struct version_node *newest)
{
	struct each_version *each = context;
	const struct version_node *node = newest;
	struct version version;
	int err = 0;

	if (key.ino != each->ino)
		return 0;
	for (; node && !err; node = version_index_before(each->layer->index, node)) {
		version_from_node(each->layer, key, node, &version);
		err = each->fn(each->context, &version);
	}
	return err;
}

int open_layer_each_version(struct open_layer *layer, uint64_t ino, layer_version_fn *fn,
			    void *context)
{
	struct each_version each = { layer, ino, fn, context };

	return version_index_each_key(layer->index, each_version_of_key, &each);
}

/* ---- recovery ---- */

static bool payloads_check(const struct open_layer *layer, const struct batch_view *batch,
			   struct lsn lsn)
{
	struct batch_view view = *batch;
	struct batch_view_entry entry;

	while (batch_view_next(&view, &entry) == 0) {
		uint64_t seed = checksum_version_seed(layer->base.store->seed, entry.key, lsn,
						      entry.form, entry.weight);

		if (checksum(batch->bytes + entry.payload_at, entry.payload_bytes, seed) !=
		    entry.checksum)
			return false;
	}
	return true;
}

/* Verify every payload of a batch and index it. 0; 1: a payload is damaged that may never
 * have been synced, and nothing was indexed; -EUCLEAN: no lease would have been given for
 * it; -ENOMEM. */
static int recover_batch(struct open_layer *layer, const struct batch_view *batch, uint64_t at,
			 struct lsn durable)
{
	struct lsn lsn = lsn_make(layer->base.start.value + at + batch->size_bytes -
				  LAYER_HEADER_BYTES);
	struct batch_view take = *batch;
	struct batch_view_entry entry;
	uint64_t payload_bytes = 0;

	if (!payloads_check(layer, batch, lsn) && lsn.value > durable.value)
		return 1;
	if (batch->entry_count > version_limit(layer) - layer->leased_versions)
		return -EUCLEAN;
	if (version_index_prepare(layer->index, batch->entry_count))
		return -ENOMEM;
	while (batch_view_next(&take, &entry) == 0) {
		struct version_node node = {
			.checksum = entry.checksum,
			.lsn = (uint32_t)(lsn.value - layer->base.start.value),
			.offset = (uint32_t)(at + entry.payload_at),
			.size_bytes = entry.payload_bytes,
			.form = entry.form,
			.weight = entry.weight,
		};

		take_entry(layer, entry.key, &node);
		payload_bytes += entry.payload_bytes;
	}
	arena_account(&layer->arena, ARENA_FRAMING, batch->size_bytes - payload_bytes);
	layer->leased_versions += batch->entry_count;
	layer->leased_tail = at + batch->size_bytes;
	take_end(layer, layer->leased_tail, batch->chain, batch->time_ns);
	return 0;
}

static void note_durable(const struct open_layer *layer, const struct batch_view *batch,
			 uint64_t at, struct open_layer_recovery *recovery)
{
	uint64_t start = layer->base.start.value + at - LAYER_HEADER_BYTES;

	if (batch->durable_lag != UINT32_MAX && batch->durable_lag <= start &&
	    start - batch->durable_lag > recovery->durable.value)
		recovery->durable = lsn_make(start - batch->durable_lag);
}

/* Index the batches from the first to the one before the first that is torn; none at
 * all unless @wanted. */
static int recover_log(struct open_layer *layer, uint64_t chain, struct lsn durable, bool wanted,
		       struct open_layer_recovery *recovery)
{
	uint64_t at = LAYER_HEADER_BYTES;
	bool whole = wanted;
	struct batch_view batch;
	int err;

	while (at + BATCH_HEADER_BYTES <= layer->arena.capacity_bytes) {
		if (batch_view_open(layer->arena.base + at, layer->arena.capacity_bytes - at,
				    chain, &batch))
			break;
		note_durable(layer, &batch, at, recovery);
		if (whole) {
			err = recover_batch(layer, &batch, at, durable);
			if (err < 0)
				return err;
			whole = err == 0;
		}
		/* Behind a damaged payload only the heads are followed, to learn
		 * whether it had been synced. */
		chain = batch.chain;
		at += batch.size_bytes;
	}
	return 0;
}

/* Is there room for the index, which every lease left? Not if the file was cut
 * short behind its last batch. */
static bool can_be_sealed(const struct open_layer *layer)
{
	uint64_t log_blocks = (layer->leased_tail + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;

	return log_blocks * LAYER_BLOCK_BYTES +
		       layer_index_bytes(version_index_key_count(layer->index),
					 version_index_version_count(layer->index)) <=
	       layer->arena.capacity_bytes;
}

static int recover_started(struct open_layer *layer, const struct layer_header *header,
			   struct lsn start, uint64_t chain, struct lsn durable,
			   struct open_layer_recovery *recovery)
{
	int err;

	if (header->layer_id != layer->base.id)
		return -EUCLEAN;
	layer->base.start = header->start;
	recovery->started = header->start.value == start.value && header->chain_start == chain;
	if (!recovery->started) {
		/* Only what it says of syncs; then it is a spare again. */
		err = recover_log(layer, header->chain_start, durable, false, recovery);
		layer->base.start = lsn_make(0);
		return err;
	}
	layer->chain_start = layer->chain = chain;
	layer->started = true;
	arena_account(&layer->arena, ARENA_FRAMING, LAYER_HEADER_BYTES);
	err = recover_log(layer, chain, durable, true, recovery);
	return !err && !can_be_sealed(layer) ? -EUCLEAN : err;
}

int open_layer_recover(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		       struct lsn start, uint64_t chain, struct lsn durable, bool writable,
		       struct open_layer **layer_out, struct open_layer_recovery *recovery_out)
{
	struct open_layer *layer;
	struct layer_header header;
	char name[LAYER_NAME_BYTES];
	int err;

	*layer_out = NULL;
	memset(recovery_out, 0, sizeof(*recovery_out));
	err = layer_new(layer_id, store, &layer);
	if (err)
		return err;
	layer_name(layer_id, name);
	err = arena_open(&layer->arena, dir_fd, name, writable);
	if (err) {
		layer->arena.base = NULL;
		layer->arena.fd = -1;
		goto out;
	}
	/* One that was being sealed has its final size, which may be small. */
	if (layer->arena.capacity_bytes > LAYER_SIZE_MAX ||
	    layer->arena.capacity_bytes < LAYER_HEADER_BYTES + LAYER_BLOCK_BYTES) {
		err = -EUCLEAN;
		goto out;
	}
	err = index_for(layer);
	if (err)
		goto out;
	err = layer_header_decode(layer->arena.base, store, &header);
	if (err < 0)
		goto out;
	if (err == 0)
		err = recover_started(layer, &header, start, chain, durable, recovery_out);
	else
		err = 0;
	if (err)
		goto out;
	*layer_out = layer;
	layer = NULL;
out:
	open_layer_close(layer);
	return err;
}

/* ---- sealing ---- */

#define HUGE_PAGE_BYTES (2u << 20)

/* The index while it is built: in memory, to be written by few large writes. */
struct index_builder {
	struct open_layer *layer;
	struct layer_footer footer;
	uint8_t *blocks;                /* from footer.filter_block on */
	size_t size_bytes;
};

/* Fills the blocks of one part of the index, one record after another. */
struct part_writer {
	struct index_builder *builder;
	uint32_t block;                 /* being filled */
	uint32_t per_block, in_block;
	struct put_cursor at;
};

static uint8_t *block_bytes(struct index_builder *builder, uint32_t block)
{
	return builder->blocks + (uint64_t)(block - builder->footer.filter_block) * LAYER_BLOCK_BYTES;
}

static void block_seal(struct index_builder *builder, uint32_t block)
{
	layer_block_seal(block_bytes(builder, block), builder->layer->base.store,
			 builder->layer->base.id, block);
}

static struct part_writer part_begin(struct index_builder *builder, uint32_t block,
				     uint32_t per_block)
{
	return (struct part_writer){ builder, block, per_block, 0,
				     put_cursor(block_bytes(builder, block),
						LAYER_BLOCK_PAYLOAD_BYTES) };
}

static void part_seal_block(struct part_writer *part)
{
	memset(part->at.at, 0, (size_t)(part->at.end - part->at.at));
	block_seal(part->builder, part->block);
}

/* Where the next record goes. */
static struct put_cursor *part_next(struct part_writer *part)
{
	if (part->in_block == part->per_block) {
		part_seal_block(part);
		*part = part_begin(part->builder, part->block + 1, part->per_block);
	}
	part->in_block++;
	return &part->at;
}

static void part_end(struct part_writer *part)
{
	if (part->in_block)
		part_seal_block(part);
}

static void put_key(struct put_cursor *c, struct key key)
{
	put_u64(c, key.ino);
	put_u64(c, key.sub);
}

static uint32_t build_versions(struct index_builder *builder, struct part_writer *versions,
			       const struct version_node *node)
{
	uint32_t count = 0;

	for (; node; node = version_index_before(builder->layer->index, node), count++) {
		struct put_cursor *c = part_next(versions);

		/* Two numbers at a time, the first in the low bits: it halves the time. */
		put_u64(c, (uint64_t)node->offset << 32 | node->lsn);
		put_u64(c, (uint64_t)node->weight << 40 | (uint64_t)node->form << 32 |
				   node->size_bytes);
		put_u64(c, node->checksum);
	}
	return count;
}

/* Keys in order lie in memory in the order they came: fetch some ahead, with the
 * versions that lie before the newest. */
#define PREFETCH_AHEAD 16u
#define PREFETCH_BYTES 256

static void prefetch_versions(const struct version_node *newest)
{
	for (int back = 0; back < PREFETCH_BYTES; back += 64)
		__builtin_prefetch((const uint8_t *)newest - back);
}

static void build_keys(struct index_builder *builder, const struct version_index_key *keys)
{
	const struct layer_footer *footer = &builder->footer;
	struct part_writer key_part = part_begin(builder, footer->key_block, LAYER_KEYS_PER_BLOCK);
	struct part_writer version_part =
		part_begin(builder, footer->version_block, LAYER_VERSIONS_PER_BLOCK);
	struct part_writer fence_part =
		part_begin(builder, footer->fence_block, LAYER_FENCES_PER_BLOCK);
	uint32_t first = 0;

	for (uint32_t i = 0; i < footer->key_count; i++) {
		struct put_cursor *c;
		uint32_t count;

		if (i + PREFETCH_AHEAD < footer->key_count)
			prefetch_versions(keys[i + PREFETCH_AHEAD].newest);
		count = build_versions(builder, &version_part, keys[i].newest);
		c = part_next(&key_part);
		put_key(c, keys[i].key);
		put_u64(c, (uint64_t)count << 32 | first);
		first += count;
		if (i % LAYER_KEYS_PER_BLOCK == 0)
			put_key(part_next(&fence_part), keys[i].key);
	}
	part_end(&key_part);
	part_end(&version_part);
	part_end(&fence_part);
}

static void build_filter(struct index_builder *builder, const struct version_index_key *keys)
{
	const struct layer_footer *footer = &builder->footer;

	memset(block_bytes(builder, footer->filter_block), 0,
	       (size_t)(footer->key_block - footer->filter_block) * LAYER_BLOCK_BYTES);
	for (uint32_t i = 0; i < footer->key_count; i++) {
		uint64_t hash = key_hash(keys[i].key);
		uint32_t line = layer_filter_line(hash, footer->filter_lines);
		uint8_t *bits = block_bytes(builder, footer->filter_block +
							     line / LAYER_FILTER_LINES_PER_BLOCK) +
				line % LAYER_FILTER_LINES_PER_BLOCK * LAYER_FILTER_LINE_BYTES;

		layer_filter_line_set(bits, hash);
	}
	for (uint32_t block = footer->filter_block; block < footer->key_block; block++)
		block_seal(builder, block);
}

static struct layer_footer footer_for(const struct open_layer *layer, uint32_t key_count)
{
	uint32_t version_count = version_index_version_count(layer->index);
	struct layer_index_shape shape = layer_index_shape(key_count, version_count);
	uint64_t tail = atomic_load(&layer->tail);
	struct layer_footer footer = {
		.layer_id = layer->base.id,
		.start = layer->base.start,
		.end = open_layer_end(layer),
		.chain_start = layer->chain_start,
		.chain_end = layer->chain,
		.time_first_ns = layer->time_first_ns,
		.time_last_ns = layer->time_last_ns,
		.ino_max = layer->ino_max,
		.key_count = key_count,
		.version_count = version_count,
		.filter_lines = shape.filter_lines,
		.filter_block = (uint32_t)((tail + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES),
	};

	footer.key_block = footer.filter_block + shape.filter_blocks;
	footer.version_block = footer.key_block + shape.key_blocks;
	footer.fence_block = footer.version_block + shape.version_blocks;
	footer.footer_block = footer.fence_block + shape.fence_blocks;
	return footer;
}

static int index_build(struct index_builder *builder)
{
	struct version_index_key *keys;
	uint32_t key_count;
	int err = version_index_sort(builder->layer->index, &keys, &key_count);

	if (err)
		return err;
	builder->footer = footer_for(builder->layer, key_count);
	builder->size_bytes = (size_t)(builder->footer.footer_block + 1 -
				       builder->footer.filter_block) * LAYER_BLOCK_BYTES;
	builder->blocks = aligned_alloc(HUGE_PAGE_BYTES, (builder->size_bytes / HUGE_PAGE_BYTES + 1) *
								HUGE_PAGE_BYTES);
	if (!builder->blocks) {
		free(keys);
		return -ENOMEM;
	}
	/* Faulting it in by 4 KiB would take as long as filling it. */
	madvise(builder->blocks, builder->size_bytes, MADV_HUGEPAGE);
	build_keys(builder, keys);
	build_filter(builder, keys);
	layer_footer_encode(&builder->footer, builder->layer->base.store,
			    block_bytes(builder, builder->footer.footer_block));
	free(keys);
	return 0;
}

int open_layer_seal(struct open_layer *layer, struct layer_footer *footer_out)
{
	struct index_builder builder = { .layer = layer };
	uint64_t index_at, file_bytes;
	int err;

	memset(footer_out, 0, sizeof(*footer_out));
	assert(layer->started && layer->lease_count == 0);
	err = index_build(&builder);
	if (err)
		return err;
	*footer_out = builder.footer;
	index_at = (uint64_t)builder.footer.filter_block * LAYER_BLOCK_BYTES;
	file_bytes = index_at + builder.size_bytes;
	/* open_layer_lease saw to it that there is room, unless the file was cut short since:
	 * then it grows. */
	err = io_write(layer->arena.fd, builder.blocks, builder.size_bytes, index_at);
	/* Nothing reads or writes the mapping beyond: readers stay in the log. */
	if (!err)
		err = io_truncate(layer->arena.fd, file_bytes);
	if (!err) {
		arena_unmap_range(&layer->arena, 0, index_at);
		err = io_sync(layer->arena.fd);
		layer->sync_failed = err != 0;
	}
	free(builder.blocks);
	return err;
}

/* ---- rebuilding ---- */

#define COPY_BYTES (1u << 20)

/* A sector that can't be read costs the versions in it, if no heads are there. */
static int copy_log(int dir_fd, uint64_t layer_id, int to_fd, uint64_t log_end)
{
	char name[LAYER_NAME_BYTES];
	uint8_t *buffer = malloc(COPY_BYTES);
	int fd = -1, err = buffer ? 0 : -ENOMEM;

	layer_name(layer_id, name);
	if (!err)
		err = io_open(dir_fd, name, O_RDONLY, 0, &fd);
	for (uint64_t at = LAYER_HEADER_BYTES; at < log_end && !err; at += COPY_BYTES) {
		size_t here = log_end - at < COPY_BYTES ? (size_t)(log_end - at) : COPY_BYTES;

		io_read_salvage(fd, buffer, here, at, NULL, NULL);
		err = io_write(to_fd, buffer, here, at);
	}
	io_close(fd);
	free(buffer);
	return err;
}

/* Every version of the log, with the checksum that its head has, right or not. */
static int index_log(struct open_layer *layer, uint64_t log_end)
{
	uint64_t at = LAYER_HEADER_BYTES;

	while (at < log_end) {
		struct batch_view batch;
		struct batch_view_entry entry;
		uint64_t end;

		if (batch_view_parse(layer->arena.base + at, log_end - at, &batch))
			return -EUCLEAN;
		if (version_index_prepare(layer->index, batch.entry_count))
			return -ENOMEM;
		end = at + batch.size_bytes;
		while (batch_view_next(&batch, &entry) == 0) {
			struct version_node node = {
				.checksum = entry.checksum,
				.lsn = (uint32_t)(end - LAYER_HEADER_BYTES),
				.offset = (uint32_t)(at + entry.payload_at),
				.size_bytes = entry.payload_bytes,
				.form = entry.form,
				.weight = entry.weight,
			};

			take_entry(layer, entry.key, &node);
		}
		take_end(layer, end, batch.chain, batch.time_ns);
		at = end;
	}
	return 0;
}

/* Room for the index of any log of this size: what is too much is cut by the seal. */
static uint64_t rebuild_capacity(uint64_t log_end)
{
	uint64_t versions = (log_end - LAYER_HEADER_BYTES) / 14 + 1;
	uint64_t bytes = (log_end + LAYER_BLOCK_BYTES) / LAYER_BLOCK_BYTES * LAYER_BLOCK_BYTES +
			 LAYER_BLOCK_BYTES +
			 layer_index_bytes((uint32_t)versions, (uint32_t)versions);

	return bytes < 2 * LAYER_SIZE_MAX ? bytes : 2 * LAYER_SIZE_MAX;
}

int open_layer_rebuild(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		       const struct layer_footer *footer, const char *new_name,
		       uint64_t *file_bytes_out)
{
	uint64_t log_end = LAYER_HEADER_BYTES + footer->end.value - footer->start.value;
	struct layer_header header = { layer_id, footer->start, footer->chain_start };
	uint8_t bytes[LAYER_HEADER_BYTES];
	struct layer_footer sealed;
	struct open_layer *layer;
	int fd, err;

	*file_bytes_out = 0;
	err = layer_new(layer_id, store, &layer);
	if (err)
		return err;
	layer_header_encode(&header, store, bytes);
	err = io_open(dir_fd, new_name, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd);
	if (!err)
		err = io_write(fd, bytes, sizeof(bytes), 0);
	if (!err)
		err = copy_log(dir_fd, layer_id, fd, log_end);
	/* A hole where the index will be: it is written, never stored through the mapping. */
	if (!err)
		err = io_truncate(fd, rebuild_capacity(log_end));
	io_close(fd);
	if (!err)
		err = arena_open(&layer->arena, dir_fd, new_name, true);
	if (err) {
		layer->arena.base = NULL;
		layer->arena.fd = -1;
		goto out;
	}
	layer->base.start = footer->start;
	layer->chain_start = footer->chain_start;
	layer->started = true;
	err = index_for(layer);
	if (!err)
		err = index_log(layer, log_end);
	layer->chain = footer->chain_end;
	if (!err)
		err = open_layer_seal(layer, &sealed);
	if (!err)
		*file_bytes_out = ((uint64_t)sealed.footer_block + 1) * LAYER_BLOCK_BYTES;
out:
	open_layer_close(layer);
	if (err)
		io_unlink(dir_fd, new_name);
	return err;
}
