/* Codec: numbers through bounds-checked cursors. */
#include "codec.h"
#include "test_support.h"

static void numbers_are_little_endian(void **state)
{
	static const uint8_t expected[] = { 0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04,
					    0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08 };
	uint8_t bytes[sizeof(expected)];
	struct put_cursor put = put_cursor(bytes, sizeof(bytes));

	(void)state;
	put_u8(&put, 0x01);
	put_u16(&put, 0x0203);
	put_u32(&put, 0x04050607);
	put_u64(&put, UINT64_C(0x08090a0b0c0d0e0f));
	assert_false(put.bad);
	assert_ptr_equal(put.at, put.end);
	assert_memory_equal(bytes, expected, sizeof(expected));

	struct get_cursor get = get_cursor(bytes, sizeof(bytes));
	assert_int_equal(get_u8(&get), 0x01);
	assert_int_equal(get_u16(&get), 0x0203);
	assert_int_equal(get_u32(&get), 0x04050607);
	assert_true(get_u64(&get) == UINT64_C(0x08090a0b0c0d0e0f));
	assert_false(get.bad);
}

static void varints_come_back_and_know_their_size(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int step = -1; step <= 1; step++) {
			uint64_t value = (UINT64_C(1) << shift) + (uint64_t)step;
			uint8_t bytes[10];
			struct put_cursor put = put_cursor(bytes, sizeof(bytes));

			put_varint(&put, value);
			assert_false(put.bad);
			assert_int_equal(put.at - bytes, varint_size(value));
			struct get_cursor get = get_cursor(bytes, put.at - bytes);
			assert_true(get_varint(&get) == value);
			assert_false(get.bad);
			assert_ptr_equal(get.at, get.end);
		}
	}
}

static void a_varint_beyond_64_bits_is_bad(void **state)
{
	static const uint8_t too_large[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					     0x02 };
	static const uint8_t endless[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
					   0x80, 0x00 };
	struct get_cursor get = get_cursor(too_large, sizeof(too_large));

	(void)state;
	assert_true(get_varint(&get) == 0);
	assert_true(get.bad);
	get = get_cursor(endless, sizeof(endless));
	assert_true(get_varint(&get) == 0);
	assert_true(get.bad);
}

static void a_cursor_that_would_leave_its_bytes_stays_bad(void **state)
{
	static const uint8_t bytes[] = { 0x81, 2, 3 };
	struct get_cursor get;

	(void)state;
	get = get_cursor(bytes, 3);
	assert_int_equal(get_u32(&get), 0);
	assert_true(get.bad);
	assert_int_equal(get_u8(&get), 0);      /* though a byte is there */
	get = get_cursor(bytes, 1);
	assert_int_equal(get_u16(&get), 0);
	assert_true(get.bad);
	get = get_cursor(bytes, 3);
	assert_true(get_u64(&get) == 0 && get.bad);
	get = get_cursor(bytes, 1);
	assert_true(get_varint(&get) == 0 && get.bad);
	get = get_cursor(bytes, 3);
	assert_null(get_bytes(&get, 4));
	get = get_cursor(bytes, 3);
	assert_null(get_bytes(&get, SIZE_MAX));
	assert_true(get.bad);
}

static void a_full_buffer_takes_nothing_more(void **state)
{
	uint8_t bytes[4] = { 9, 9, 9, 9 };
	struct put_cursor put = put_cursor(bytes, 3);

	(void)state;
	put_u32(&put, 0x01020304);
	assert_true(put.bad);
	put_u8(&put, 1);
	assert_true(put.bad);
	assert_memory_equal(bytes, ((uint8_t[]){ 9, 9, 9, 9 }), 4);
	put = put_cursor(bytes, 3);
	put_bytes(&put, "abc", 3);
	assert_false(put.bad);
	put_bytes(&put, "", 0);
	assert_false(put.bad);
	put_varint(&put, 0);
	assert_true(put.bad);
	assert_int_equal(bytes[3], 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_little_endian),
		cmocka_unit_test(varints_come_back_and_know_their_size),
		cmocka_unit_test(a_varint_beyond_64_bits_is_bad),
		cmocka_unit_test(a_cursor_that_would_leave_its_bytes_stays_bad),
		cmocka_unit_test(a_full_buffer_takes_nothing_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
