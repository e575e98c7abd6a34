/* Text: numbers, sizes and times, up to the largest and the least there are. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "text.h"
#include "window_text.h"

static void times_are_told_from_the_first_to_the_last(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} times[] = {
		{ INT64_MIN, "1677-09-21T00:12:43.145224192Z" },
		{ -1, "1969-12-31T23:59:59.999999999Z" },
		{ 0, "1970-01-01T00:00:00.000000000Z" },
		{ INT64_MAX, "2262-04-11T23:47:16.854775807Z" },
	};
	char text[TEXT_TIME_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		assert_string_equal(text_time(times[i].ns, text), times[i].text);
}

static void sizes_are_read_up_to_the_last(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_true(text_parse_size("18446744073709551615", &bytes) && bytes == UINT64_MAX);
	assert_true(text_parse_size("15E", &bytes) && bytes == UINT64_C(15) << 60);
	assert_false(text_parse_size("16E", &bytes));
	assert_false(text_parse_size("18446744073709551616", &bytes));
}

static void a_window_that_json_cannot_hold_is_refused(void **state)
{
	struct store_window window = { 1, 2 };

	(void)state;
	assert_true(window_parse("bytes=7E time=15250w", 20, &window));
	assert_int_equal(window.bytes, UINT64_C(7) << 60);
	assert_false(window_parse("bytes=8E", 8, &window));
	assert_false(window_parse("time=15251w", 11, &window));
	assert_int_equal(window.bytes, UINT64_C(7) << 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_told_from_the_first_to_the_last),
		cmocka_unit_test(sizes_are_read_up_to_the_last),
		cmocka_unit_test(a_window_that_json_cannot_hold_is_refused),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
