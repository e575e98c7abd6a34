/* Open layer, read back: up to the last batch that is whole. */
#include <errno.h>
#include <string.h>

#include "checksum.h"
#include "fault.h"
#include "open_layer_internal.h"

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
	if (batch->entry_count > open_layer_version_limit(layer) - layer->leased_versions)
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

		open_layer_take_entry(layer, entry.key, &node);
		payload_bytes += entry.payload_bytes;
	}
	arena_account(&layer->arena, ARENA_FRAMING, batch->size_bytes - payload_bytes);
	layer->leased_versions += batch->entry_count;
	layer->leased_tail = at + batch->size_bytes;
	open_layer_take_end(layer, layer->leased_tail, batch->chain, batch->time_ns);
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

/* The layer's file is read where it is mapped. */
struct recover {
	struct open_layer *layer;
	struct lsn start, durable;      /* as open_layer_recover has them */
	uint64_t chain;
	struct open_layer_recovery *recovery;
};

static int recover_mapped(void *context)
{
	const struct recover *recover = context;
	struct open_layer *layer = recover->layer;
	struct layer_header header;
	int err = layer_header_decode(layer->arena.base, layer->base.store, &header);

	if (err)
		return err < 0 ? err : 0;
	return recover_started(layer, &header, recover->start, recover->chain, recover->durable,
			       recover->recovery);
}

int open_layer_recover(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		       struct lsn start, uint64_t chain, struct lsn durable, bool writable,
		       struct open_layer **layer_out, struct open_layer_recovery *recovery_out)
{
	struct recover recover = { NULL, start, durable, chain, recovery_out };
	struct open_layer *layer;
	char name[LAYER_NAME_BYTES];
	int err;

	*layer_out = NULL;
	memset(recovery_out, 0, sizeof(*recovery_out));
	err = open_layer_new(layer_id, store, &layer);
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
	err = open_layer_make_index(layer);
	if (err)
		goto out;
	recover.layer = layer;
	err = fault_guarded(recover_mapped, &recover);
	if (err)
		goto out;
	*layer_out = layer;
	layer = NULL;
out:
	open_layer_close(layer);
	return err;
}
