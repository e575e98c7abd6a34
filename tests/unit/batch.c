/* Batch: what was filled is read back, behind its own history only. */
#include "batch.h"
#include "checksum.h"
#include "test_support.h"

enum { ENTRIES = 5, BODY = 100 };

struct filled {
	struct batch_entry entries[ENTRIES];
	uint8_t bodies[ENTRIES][BODY];
	uint8_t bytes[2048];
	size_t size_bytes;
	uint64_t chain;
};

#define CHAIN_BEFORE UINT64_C(0x5555)
#define STORE_SEED 31

static const struct batch_context context = { .store_seed = STORE_SEED, .lsn = { 9000 },
					      .time_ns = -77, .durable_lag = 1234 };

static void fill(struct filled *filled)
{
	static const struct key keys[ENTRIES] = {
		{ 1, UINT64_C(1) << KEY_INDEX_BITS },
		{ UINT64_MAX, (UINT64_C(5) << KEY_INDEX_BITS) | KEY_INDEX_MAX },
		{ 300, (UINT64_C(3) << KEY_INDEX_BITS) | 12345678 },
		{ 300, (UINT64_C(5) << KEY_INDEX_BITS) | 127 },
		{ 300, (UINT64_C(5) << KEY_INDEX_BITS) | 128 },
	};

	static const uint8_t forms[ENTRIES] = { VERSION_IMAGE, VERSION_PATCH, VERSION_TOMBSTONE,
						VERSION_PATCH, VERSION_PATCH };
	static const uint8_t weights[ENTRIES] = { 0, 4, 0, VERSION_WEIGHT_MAX, 0 };

	memset(filled, 0, sizeof(*filled));
	for (unsigned i = 0; i < ENTRIES; i++) {
		struct batch_entry *entry = &filled->entries[i];

		seed_fill(i, filled->bodies[i], BODY);
		entry->key = keys[i];
		entry->form = forms[i];
		entry->weight = weights[i];
		entry->head_bytes = i * 6;
		seed_fill(50 + i, entry->head, entry->head_bytes);
		entry->body = filled->bodies[i];
		entry->body_bytes = i == 2 ? 0 : BODY - i;
	}
	filled->size_bytes = batch_size(filled->entries, ENTRIES);
	assert_true(filled->size_bytes > 0 && filled->size_bytes <= sizeof(filled->bytes));
	size_t heads = batch_fill(filled->entries, ENTRIES, &context, filled->bytes);
	filled->chain = batch_finish(filled->bytes, heads, CHAIN_BEFORE);
}

static void what_was_filled_is_read_back(void **state)
{
	struct filled f;
	struct batch_view view;
	struct batch_view_entry entry;

	(void)state;
	fill(&f);
	assert_int_equal(batch_view_open(f.bytes, sizeof(f.bytes), CHAIN_BEFORE, &view), 0);
	assert_int_equal(view.size_bytes, f.size_bytes);
	assert_int_equal(view.entry_count, ENTRIES);
	assert_int_equal(view.flags, 0);
	assert_int_equal(view.time_ns, -77);
	assert_int_equal(view.durable_lag, 1234);
	assert_true(view.chain == f.chain);
	for (unsigned i = 0; i < ENTRIES; i++) {
		const struct batch_entry *in = &f.entries[i];

		assert_ok(batch_view_next(&view, &entry));
		assert_true(key_equal(entry.key, in->key));
		assert_int_equal(entry.form, in->form);
		assert_int_equal(entry.weight, in->weight);
		assert_int_equal(entry.payload_bytes, batch_entry_payload_bytes(in));
		assert_int_equal(entry.payload_at, in->payload_at);
		const uint8_t *payload = f.bytes + entry.payload_at;
		assert_memory_equal(payload, in->head, in->head_bytes);
		assert_memory_equal(payload + in->head_bytes, in->body, in->body_bytes);
		assert_true(entry.checksum == in->checksum);
		assert_true(entry.checksum ==
			    checksum(payload, entry.payload_bytes,
				     checksum_version_seed(STORE_SEED, entry.key, context.lsn,
							   entry.form, entry.weight)));
	}
	/* The last payload ends the batch. */
	assert_int_equal(entry.payload_at + entry.payload_bytes, f.size_bytes);
	assert_int_equal(batch_view_next(&view, &entry), 1);
}

static void a_batch_of_an_earlier_life_does_not_follow(void **state)
{
	struct filled f;
	struct batch_view view;

	(void)state;
	fill(&f);
	assert_int_equal(batch_view_open(f.bytes, sizeof(f.bytes), CHAIN_BEFORE + 1, &view), 1);
	assert_int_equal(batch_view_open(f.bytes, sizeof(f.bytes), f.chain, &view), 1);
}

static void a_cut_batch_does_not_follow(void **state)
{
	struct filled f;
	struct batch_view view;

	(void)state;
	fill(&f);
	for (size_t limit = 0; limit < f.size_bytes; limit++)
		assert_int_equal(batch_view_open(f.bytes, limit, CHAIN_BEFORE, &view), 1);
	assert_int_equal(batch_view_open(f.bytes, f.size_bytes, CHAIN_BEFORE, &view), 0);
}

static void no_flipped_bit_of_header_or_heads_passes(void **state)
{
	struct filled f;
	struct batch_view view;
	struct batch_view_entry entry;

	(void)state;
	fill(&f);
	size_t heads_end = f.entries[0].payload_at;
	for (size_t bit = 0; bit < 8 * heads_end; bit++) {
		f.bytes[bit / 8] ^= 1u << bit % 8;
		assert_int_equal(batch_view_open(f.bytes, sizeof(f.bytes), CHAIN_BEFORE, &view), 1);
		f.bytes[bit / 8] ^= 1u << bit % 8;
	}
	/* Payloads have checksums of their own, in the heads. */
	f.bytes[heads_end] ^= 1;
	assert_int_equal(batch_view_open(f.bytes, sizeof(f.bytes), CHAIN_BEFORE, &view), 0);
	assert_ok(batch_view_next(&view, &entry));
	assert_true(entry.checksum != checksum(f.bytes + entry.payload_at, entry.payload_bytes,
					       checksum_version_seed(STORE_SEED, entry.key,
								     context.lsn, entry.form,
								     entry.weight)));
}

static void zeros_and_noise_are_no_batch(void **state)
{
	struct prng prng = { test_seed() };
	struct batch_view view;
	uint8_t bytes[256] = { 0 };

	(void)state;
	assert_int_equal(batch_view_open(bytes, sizeof(bytes), CHAIN_BEFORE, &view), 1);
	assert_int_equal(batch_view_open(bytes, 0, CHAIN_BEFORE, &view), 1);
	for (unsigned i = 0; i < 100000; i++) {
		prng_fill(&prng, bytes, sizeof(bytes));
		bytes[9] = bytes[10] = bytes[11] = 0;           /* a likely size */
		bytes[13] = bytes[15] = 0;
		assert_int_equal(batch_view_open(bytes, sizeof(bytes), CHAIN_BEFORE, &view), 1);
	}
}

static void a_new_life_is_marked_by_a_batch_without_entries(void **state)
{
	static const uint8_t nonce[BATCH_NONCE_BYTES] = "sixteen bytes id";
	uint8_t bytes[BATCH_OPENED_BYTES];
	struct batch_view view;
	struct batch_view_entry entry;

	(void)state;
	size_t heads = batch_fill_opened(&context, nonce, bytes);
	uint64_t chain = batch_finish(bytes, heads, CHAIN_BEFORE);
	assert_int_equal(batch_view_open(bytes, sizeof(bytes), CHAIN_BEFORE, &view), 0);
	assert_int_equal(view.flags, BATCH_OPENED);
	assert_int_equal(view.size_bytes, BATCH_OPENED_BYTES);
	assert_true(view.chain == chain);
	assert_int_equal(batch_view_next(&view, &entry), 1);
	/* Another life, another chain: what follows the one does not follow the other. */
	bytes[BATCH_HEADER_BYTES] ^= 1;
	assert_true(batch_finish(bytes, heads, CHAIN_BEFORE) != chain);
}

/* Its entries would be read from where the random bytes are. */
static void a_batch_that_marks_a_new_life_has_no_entries(void **state)
{
	static const uint8_t nonce[BATCH_NONCE_BYTES] = { 0 };
	static const uint8_t head[14] = { KEY_ATTR, VERSION_TOMBSTONE, 0, 16 };
	uint8_t bytes[BATCH_OPENED_BYTES + sizeof(head)] = { 0 };
	struct put_cursor sizes = put_cursor(bytes + 8, 6);
	struct batch_view view;

	(void)state;
	batch_fill_opened(&context, nonce, bytes);
	memcpy(bytes + BATCH_OPENED_BYTES, head, sizeof(head));
	put_u32(&sizes, sizeof(bytes));
	put_u16(&sizes, 1);
	batch_finish(bytes, sizeof(bytes), CHAIN_BEFORE);
	assert_int_equal(batch_view_open(bytes, sizeof(bytes), CHAIN_BEFORE, &view), 1);
}

/* Kinds are below KEY_KIND_LIMIT. */
static void an_entry_of_no_kind_is_refused(void **state)
{
	static const unsigned kinds[] = { 0, KEY_KIND_LIMIT - 1, KEY_KIND_LIMIT };

	(void)state;
	for (unsigned i = 0; i < array_size(kinds); i++) {
		struct batch_entry entry = { .key = { 20, (uint64_t)kinds[i] << KEY_INDEX_BITS },
					     .form = VERSION_IMAGE };
		uint8_t bytes[64];
		struct batch_view view;

		size_t heads = batch_fill(&entry, 1, &context, bytes);
		batch_finish(bytes, heads, CHAIN_BEFORE);
		assert_int_equal(batch_view_open(bytes, sizeof(bytes), CHAIN_BEFORE, &view), i != 1);
	}
}

static void too_many_entries_have_no_size(void **state)
{
	struct batch_entry *entries = calloc(BATCH_ENTRY_MAX + 1, sizeof(*entries));

	(void)state;
	assert_non_null(entries);
	for (unsigned i = 0; i <= BATCH_ENTRY_MAX; i++)
		entries[i].key = key_make(20, KEY_PAGE, i);
	assert_true(batch_size(entries, BATCH_ENTRY_MAX) > BATCH_ENTRY_MAX);
	assert_int_equal(batch_size(entries, BATCH_ENTRY_MAX + 1), 0);
	free(entries);
}

/* No more patches over one another than VERSION_WEIGHT_MAX, of no more than a page. */
static void weights_bound_what_a_reader_goes_through(void **state)
{
	static const size_t patches[] = { 1, 10, 64, 100, 1000, 4000, 8191 };
	const size_t page = 8192;

	(void)state;
	for (unsigned i = 0; i < array_size(patches); i++) {
		unsigned weight = 0, count = 0;

		while ((weight = version_patch_weight(weight, patches[i], page)) <=
		       VERSION_WEIGHT_MAX)
			count++;
		assert_true(count <= VERSION_WEIGHT_MAX);
		assert_true(count * patches[i] <= page + page / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_filled_is_read_back),
		cmocka_unit_test(a_batch_of_an_earlier_life_does_not_follow),
		cmocka_unit_test(a_cut_batch_does_not_follow),
		cmocka_unit_test(no_flipped_bit_of_header_or_heads_passes),
		cmocka_unit_test(zeros_and_noise_are_no_batch),
		cmocka_unit_test(a_new_life_is_marked_by_a_batch_without_entries),
		cmocka_unit_test(a_batch_that_marks_a_new_life_has_no_entries),
		cmocka_unit_test(an_entry_of_no_kind_is_refused),
		cmocka_unit_test(too_many_entries_have_no_size),
		cmocka_unit_test(weights_bound_what_a_reader_goes_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
