#include "open_layer_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "io.h"

int open_layer_new(uint64_t layer_id, const struct store_identity *store, struct open_layer **layer_out)
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
	pthread_mutex_init(&layer->sync_lock, NULL);
	atomic_init(&layer->tail, LAYER_HEADER_BYTES);
	return 0;
}

int open_layer_make_index(struct open_layer *layer)
{
	return version_index_create(open_layer_version_limit(layer), &layer->index);
}

int open_layer_create(int dir_fd, uint64_t layer_id, uint64_t size_bytes,
		      const struct store_identity *store, struct open_layer **layer_out)
{
	struct open_layer *layer;
	char name[LAYER_NAME_BYTES];
	int err;

	assert(size_bytes >= LAYER_SIZE_MIN && size_bytes <= LAYER_SIZE_MAX);
	*layer_out = NULL;
	err = open_layer_new(layer_id, store, &layer);
	if (err)
		return err;
	layer_name(layer_id, name);
	err = arena_create(&layer->arena, dir_fd, name, size_bytes);
	if (err) {
		layer->arena.base = NULL;
		layer->arena.fd = -1;
		goto out;
	}
	err = open_layer_make_index(layer);
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
	pthread_mutex_destroy(&layer->sync_lock);
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
#define FILL_BY_WRITE_MIN (4u << 10)

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

void open_layer_take_entry(struct open_layer *layer, struct key key, const struct version_node *node)
{
	version_index_insert(layer->index, key, node);
	arena_account(&layer->arena, purpose_of(key, node->form), node->size_bytes);
	if (key.ino > layer->ino_max)
		layer->ino_max = key.ino;
}

void open_layer_take_end(struct open_layer *layer, uint64_t tail, uint64_t chain, int64_t time_ns)
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

		open_layer_take_entry(layer, entries[i].key, &node);
		payload_bytes += node.size_bytes;
	}
	arena_account(&layer->arena, ARENA_FRAMING, lease->size_bytes - payload_bytes);
	open_layer_take_end(layer, lease->at + lease->size_bytes, lease->chain, lease->time_ns);
	layer->lease_count--;
	return 0;
}

void lease_abandon(struct lease *lease)
{
	lease->layer->lease_count--;
}

int open_layer_sync(struct open_layer *layer, int (*sync_part)(struct open_layer *layer))
{
	int err;

	pthread_mutex_lock(&layer->sync_lock);
	err = atomic_load(&layer->sync_failed) ? -EIO : sync_part(layer);
	if (err)
		atomic_store(&layer->sync_failed, true);
	pthread_mutex_unlock(&layer->sync_lock);
	return err;
}

static int flush_arena(struct open_layer *layer)
{
	return arena_flush(&layer->arena,
			   atomic_load_explicit(&layer->tail, memory_order_acquire));
}

int open_layer_flush(struct open_layer *layer)
{
	return open_layer_sync(layer, flush_arena);
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
