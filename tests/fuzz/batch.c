/*
 * Batches: heads of any bytes, chained by the target so that they are looked at.
 * Entries lie within their batch, one behind another; written again they read the
 * same.
 */
#include "batch.h"

#include "fuzz.h"

#define CHAIN UINT64_C(0x1234)

/* Where the heads end, found without batch.c; 0: nowhere within the bytes. */
static size_t heads_end(const uint8_t *bytes, size_t size_bytes)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	uint16_t count, flags;

	get_bytes(&c, 12);
	count = get_u16(&c);
	flags = get_u16(&c);
	get_bytes(&c, 12 + (flags & BATCH_OPENED ? BATCH_NONCE_BYTES : 0));
	for (uint16_t i = 0; i < count && !c.bad; i++) {
		get_bytes(&c, 3);
		get_varint(&c);
		get_varint(&c);
		get_varint(&c);
		get_bytes(&c, 8);
	}
	return c.bad ? 0 : (size_t)(c.at - bytes);
}

/* Give the batch the size it has, so that one field in two is right. */
static void fix_size(uint8_t *bytes, size_t size_bytes)
{
	struct put_cursor c = put_cursor(bytes + 8, 4);

	if (size_bytes >= BATCH_HEADER_BYTES)
		put_u32(&c, (uint32_t)size_bytes);
}

static void write_again(const struct batch_view *view)
{
	struct batch_context context = { .store_seed = 5, .lsn = { 1000 }, .time_ns = view->time_ns,
					 .durable_lag = view->durable_lag };
	struct batch_entry *entries = calloc(view->entry_count + 1u, sizeof(*entries));
	struct batch_view read = *view, again;
	struct batch_view_entry entry, second;
	size_t count = 0, size, heads;
	uint8_t *bytes;

	require(entries != NULL);
	while (batch_view_next(&read, &entry) == 0)
		entries[count++] = (struct batch_entry){
			.key = entry.key, .form = entry.form, .weight = entry.weight,
			.body = view->bytes + entry.payload_at, .body_bytes = entry.payload_bytes };
	size = batch_size(entries, count);
	require(size && size <= view->size_bytes);      /* numbers may have been longer */
	bytes = malloc(size);
	require(bytes != NULL);
	heads = batch_fill(entries, count, &context, bytes);
	batch_finish(bytes, heads, CHAIN);
	require(batch_view_open(bytes, size, CHAIN, &again) == 0);
	for (read = *view; batch_view_next(&read, &entry) == 0;) {
		require(batch_view_next(&again, &second) == 0);
		require(key_equal(entry.key, second.key) && entry.form == second.form &&
			entry.weight == second.weight &&
			entry.payload_bytes == second.payload_bytes);
		require(!memcmp(view->bytes + entry.payload_at, bytes + second.payload_at,
				entry.payload_bytes));
	}
	require(batch_view_next(&again, &second) == 1);
	free(bytes);
	free(entries);
}

static void check_entries(const struct batch_view *view, size_t heads_bytes)
{
	struct batch_view read = *view;
	struct batch_view_entry entry;
	uint64_t at = heads_bytes;

	while (batch_view_next(&read, &entry) == 0) {
		require(entry.payload_at == at);
		at += entry.payload_bytes;
		require(at <= view->size_bytes);
		require(key_index(entry.key) <= KEY_INDEX_MAX && key_kind(entry.key) != 0);
		require(entry.form >= VERSION_IMAGE && entry.form <= VERSION_TOMBSTONE);
		require(entry.weight <= VERSION_WEIGHT_MAX);
	}
	require(at == view->size_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct batch_view view;
	uint8_t *bytes;
	size_t heads_bytes;

	/* As it came it has no chain to anything. */
	require(batch_view_open(data, size_bytes, CHAIN, &view) == 1);
	if (size_bytes < 1 + BATCH_HEADER_BYTES)
		return 0;
	size_bytes--;
	bytes = malloc(size_bytes);
	require(bytes != NULL);
	memcpy(bytes, data + 1, size_bytes);
	if (data[0] & 1)
		fix_size(bytes, size_bytes);
	heads_bytes = heads_end(bytes, size_bytes);
	if (heads_bytes) {
		batch_finish(bytes, heads_bytes, CHAIN);
		if (batch_view_open(bytes, size_bytes, CHAIN, &view) == 0) {
			require(view.size_bytes <= size_bytes);
			check_entries(&view, heads_bytes);
			if (!(view.flags & BATCH_OPENED))
				write_again(&view);
			require(batch_view_open(bytes, size_bytes, CHAIN + 1, &view) == 1);
			require(batch_view_open(bytes, heads_bytes - 1, CHAIN, &view) == 1);
		}
	}
	free(bytes);
	return 0;
}
