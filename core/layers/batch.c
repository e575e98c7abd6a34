#include "batch.h"

#include <string.h>

#include "checksum.h"

#define CHAIN_BYTES 8u

static size_t entry_head_size(const struct batch_entry *entry)
{
	return 3 + varint_size(entry->key.ino) + varint_size(key_index(entry->key)) +
	       varint_size(batch_entry_payload_bytes(entry)) + 8;
}

static size_t entry_heads_size(const struct batch_entry *entries, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += entry_head_size(&entries[i]);
	return size;
}

size_t batch_size(const struct batch_entry *entries, size_t count)
{
	uint64_t size = BATCH_HEADER_BYTES + entry_heads_size(entries, count);

	for (size_t i = 0; i < count; i++)
		size += batch_entry_payload_bytes(&entries[i]);
	if (count > BATCH_ENTRY_MAX || size > UINT32_MAX)
		return 0;
	return (size_t)size;
}

static void put_header(struct put_cursor *c, const struct batch_context *context,
		       size_t size_bytes, size_t count, enum batch_flag flags)
{
	put_u64(c, 0);
	put_u32(c, (uint32_t)size_bytes);
	put_u16(c, (uint16_t)count);
	put_u16(c, (uint16_t)flags);
	put_u64(c, (uint64_t)context->time_ns);
	put_u32(c, context->durable_lag);
}

static void put_entry_head(struct put_cursor *c, const struct batch_entry *entry)
{
	put_u8(c, (uint8_t)key_kind(entry->key));
	put_u8(c, entry->form);
	put_u8(c, entry->weight);
	put_varint(c, entry->key.ino);
	put_varint(c, key_index(entry->key));
	put_varint(c, batch_entry_payload_bytes(entry));
	put_u64(c, entry->checksum);
}

/* Note where the payload stands and what it sums to, and put the entry's head. */
static void finish_entry(struct batch_entry *entry, const struct batch_context *context,
			 const void *payload, size_t payload_at, struct put_cursor *heads)
{
	uint64_t seed = checksum_version_seed(context->store_seed, entry->key, context->lsn,
					      entry->form, entry->weight);

	entry->payload_at = (uint32_t)payload_at;
	entry->checksum = checksum(payload, batch_entry_payload_bytes(entry), seed);
	put_entry_head(heads, entry);
}

size_t batch_fill(struct batch_entry *entries, size_t count, const struct batch_context *context,
		  uint8_t *out)
{
	size_t size = batch_size(entries, count);
	size_t heads_bytes = BATCH_HEADER_BYTES + entry_heads_size(entries, count);
	struct put_cursor heads = put_cursor(out, heads_bytes);
	struct put_cursor payloads = put_cursor(out + heads_bytes, size - heads_bytes);

	put_header(&heads, context, size, count, 0);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *payload = payloads.at;

		put_bytes(&payloads, entries[i].head, entries[i].head_bytes);
		put_bytes(&payloads, entries[i].body, entries[i].body_bytes);
		/* Of the copy, while it is in the cache: what is stored is what is summed. */
		finish_entry(&entries[i], context, payload, (size_t)(payload - out), &heads);
	}
	return heads_bytes;
}

/* Copying less than this costs less than another piece. */
#define VECTOR_BYTES_MIN 2048u

static bool stays_in_place(const struct batch_entry *entry)
{
	return entry->head_bytes == 0 && entry->body_bytes >= VECTOR_BYTES_MIN;
}

size_t batch_scratch_size(const struct batch_entry *entries, size_t count)
{
	size_t size = BATCH_HEADER_BYTES + entry_heads_size(entries, count);

	for (size_t i = 0; i < count; i++)
		if (!stays_in_place(&entries[i]))
			size += batch_entry_payload_bytes(&entries[i]);
	return size;
}

/* Add a piece, or lengthen the last if it goes on there. */
static void add_vector(struct iovec *vectors, size_t *vector_count, const void *bytes,
		       size_t size_bytes)
{
	struct iovec *last = *vector_count ? &vectors[*vector_count - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == bytes)
		last->iov_len += size_bytes;
	else if (size_bytes)
		vectors[(*vector_count)++] = (struct iovec){ (void *)(uintptr_t)bytes, size_bytes };
}

size_t batch_fill_vectors(struct batch_entry *entries, size_t count,
			  const struct batch_context *context, uint8_t *scratch,
			  struct iovec *vectors_out, size_t *vector_count_out)
{
	size_t heads_bytes = BATCH_HEADER_BYTES + entry_heads_size(entries, count);
	struct put_cursor heads = put_cursor(scratch, heads_bytes);
	struct put_cursor copies = put_cursor(
		scratch + heads_bytes, batch_scratch_size(entries, count) - heads_bytes);
	size_t at = heads_bytes;

	*vector_count_out = 0;
	put_header(&heads, context, batch_size(entries, count), count, 0);
	add_vector(vectors_out, vector_count_out, scratch, heads_bytes);
	for (size_t i = 0; i < count; i++) {
		struct batch_entry *entry = &entries[i];
		const uint8_t *payload = copies.at;

		if (stays_in_place(entry)) {
			payload = entry->body;
		} else {
			put_bytes(&copies, entry->head, entry->head_bytes);
			put_bytes(&copies, entry->body, entry->body_bytes);
		}
		finish_entry(entry, context, payload, at, &heads);
		add_vector(vectors_out, vector_count_out, payload,
			   batch_entry_payload_bytes(entry));
		at += batch_entry_payload_bytes(entry);
	}
	return heads_bytes;
}

size_t batch_fill_opened(const struct batch_context *context,
		       const uint8_t nonce[BATCH_NONCE_BYTES], uint8_t *out)
{
	struct put_cursor c = put_cursor(out, BATCH_OPENED_BYTES);

	put_header(&c, context, BATCH_OPENED_BYTES, 0, BATCH_OPENED);
	put_bytes(&c, nonce, BATCH_NONCE_BYTES);
	return BATCH_OPENED_BYTES;
}

static bool skip_entry_head(struct get_cursor *c, uint64_t *payload_bytes_out)
{
	uint8_t kind = get_u8(c), form = get_u8(c), weight = get_u8(c);
	uint64_t index;

	get_varint(c);
	index = get_varint(c);
	*payload_bytes_out = get_varint(c);
	get_u64(c);
	return !c->bad && kind != 0 && kind < KEY_KIND_LIMIT && index <= KEY_INDEX_MAX && form >= VERSION_IMAGE &&
	       form <= VERSION_TOMBSTONE && weight <= VERSION_WEIGHT_MAX &&
	       (weight == 0 || form == VERSION_PATCH);
}

/* Find the end of the heads. False if they and their payloads don't fill
 * exactly the batch's size. */
static bool measure_heads(const uint8_t *batch, uint32_t size_bytes, uint16_t count,
			  uint16_t flags, size_t *heads_bytes_out)
{
	struct get_cursor c = get_cursor(batch, size_bytes);
	uint64_t payloads = 0, one;

	get_bytes(&c, BATCH_HEADER_BYTES);
	if (flags & BATCH_OPENED)
		get_bytes(&c, BATCH_NONCE_BYTES);
	for (uint16_t i = 0; i < count; i++) {
		if (!skip_entry_head(&c, &one) || one > size_bytes)
			return false;
		payloads += one;
	}
	if (c.bad || (uint64_t)(c.end - c.at) != payloads)
		return false;
	*heads_bytes_out = (size_t)(c.at - batch);
	return true;
}

static uint64_t chain_of(const uint8_t *batch, size_t heads_bytes, uint64_t chain_before)
{
	return checksum(batch + CHAIN_BYTES, heads_bytes - CHAIN_BYTES, chain_before);
}

uint64_t batch_finish(uint8_t *batch, size_t heads_bytes, uint64_t chain_before)
{
	struct put_cursor out = put_cursor(batch, CHAIN_BYTES);
	uint64_t chain = chain_of(batch, heads_bytes, chain_before);

	put_u64(&out, chain);
	return chain;
}

int batch_view_parse(const uint8_t *bytes, size_t limit_bytes, struct batch_view *view_out)
{
	struct get_cursor c = get_cursor(bytes, limit_bytes);
	size_t heads_bytes;

	memset(view_out, 0, sizeof(*view_out));
	view_out->bytes = bytes;
	view_out->chain = get_u64(&c);
	view_out->size_bytes = get_u32(&c);
	view_out->entry_count = get_u16(&c);
	view_out->flags = get_u16(&c);
	view_out->time_ns = (int64_t)get_u64(&c);
	view_out->durable_lag = get_u32(&c);
	if (c.bad || view_out->size_bytes < BATCH_HEADER_BYTES ||
	    view_out->size_bytes > limit_bytes || view_out->flags > BATCH_OPENED ||
	    (view_out->flags & BATCH_OPENED && view_out->entry_count))
		return 1;
	if (!measure_heads(bytes, view_out->size_bytes, view_out->entry_count, view_out->flags,
			   &heads_bytes))
		return 1;
	view_out->heads = get_cursor(bytes, heads_bytes);
	get_bytes(&view_out->heads, BATCH_HEADER_BYTES);
	view_out->payload_at = (uint32_t)heads_bytes;
	return 0;
}

uint64_t batch_view_chain(const struct batch_view *view, uint64_t chain_before)
{
	return chain_of(view->bytes, view->payload_at, chain_before);
}

int batch_view_open(const uint8_t *bytes, size_t limit_bytes, uint64_t chain_before,
		    struct batch_view *view_out)
{
	if (batch_view_parse(bytes, limit_bytes, view_out))
		return 1;
	return batch_view_chain(view_out, chain_before) == view_out->chain ? 0 : 1;
}

int batch_view_next(struct batch_view *view, struct batch_view_entry *entry_out)
{
	struct get_cursor *c = &view->heads;
	uint64_t kind, index;

	memset(entry_out, 0, sizeof(*entry_out));
	if (view->entry_count == 0)
		return 1;
	view->entry_count--;
	kind = get_u8(c);
	entry_out->form = get_u8(c);
	entry_out->weight = get_u8(c);
	entry_out->key.ino = get_varint(c);
	index = get_varint(c);
	entry_out->key.sub = kind << KEY_INDEX_BITS | (index);
	entry_out->payload_bytes = (uint32_t)get_varint(c);
	entry_out->checksum = get_u64(c);
	entry_out->payload_at = view->payload_at;
	view->payload_at += entry_out->payload_bytes;
	return 0;
}
