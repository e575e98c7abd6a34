/* ACL: what a list says of a mode and a mode of a list. Expected values are those of acl(5)'s rules. */
#include "acl.h"

#include "test_acl.h"
#include "test_support.h"

static uint8_t bytes[TEST_ACL_BYTES];

static void a_list_has_each_entry_it_must_have_once_and_in_order(void **state)
{
	static const struct {
		const char *text;
		int err;
	} cases[] = {
		{ "u:7 g:5 o:4", 0 },
		{ "u:7 u1000:6 g:5 m:7 o:4", 0 },
		{ "u:7 u1:6 u2:6 g:5 g1:2 g9:2 m:7 o:4", 0 },
		{ "u:7 g:5 m:1 o:4", 0 },
		{ "g:5 o:4", -EINVAL },
		{ "u:7 o:4", -EINVAL },
		{ "u:7 g:5", -EINVAL },
		{ "u:7 u1000:6 g:5 o:4", -EINVAL },     /* named entries want a mask */
		{ "u:7 u:7 g:5 o:4", -EINVAL },
		{ "u:7 u2:6 u1:6 g:5 m:7 o:4", -EINVAL },
		{ "u:7 u1:6 u1:6 g:5 m:7 o:4", -EINVAL },
		{ "g:5 u:7 o:4", -EINVAL },
		{ "u:10 g:5 o:4", -EINVAL },
		{ "", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++)
		assert_err(acl_check(bytes, test_acl_make(cases[i].text, bytes)), cases[i].err);
	size_t size = test_acl_make("u:7 g:5 o:4", bytes);
	for (size_t cut = 0; cut < size; cut++)
		assert_err(acl_check(bytes, cut), -EINVAL);
	bytes[0] = 3;
	assert_err(acl_check(bytes, size), -EINVAL);
}

static void the_mode_shows_the_mask_as_the_group(void **state)
{
	uint32_t mode = S_IFREG | 06000;
	size_t size;

	(void)state;
	size = test_acl_make("u:7 u1000:6 g:5 m:3 o:4", bytes);
	assert_false(acl_to_mode(bytes, size, &mode));
	assert_int_equal(mode, S_IFREG | 06734);
	size = test_acl_make("u:6 g:5 o:0", bytes);
	assert_true(acl_to_mode(bytes, size, &mode));
	assert_int_equal(mode, S_IFREG | 06650);
}

static void a_chmod_sets_owner_mask_and_others(void **state)
{
	size_t size;

	(void)state;
	size = test_acl_make("u:7 u1000:6 g:5 m:7 o:4", bytes);
	acl_take_mode(bytes, size, 04612);
	assert_acl(bytes, size, "u:6 u1000:6 g:5 m:1 o:2");
	size = test_acl_make("u:7 g:5 o:4", bytes);
	acl_take_mode(bytes, size, 0612);
	assert_acl(bytes, size, "u:6 g:1 o:2");
}

static void what_is_new_gets_what_list_and_mode_both_allow(void **state)
{
	uint32_t mode = S_IFREG | 0666;
	size_t size;

	(void)state;
	size = test_acl_make("u:7 u1000:7 g:5 m:7 o:4", bytes);
	assert_false(acl_inherit(bytes, size, &mode));
	assert_int_equal(mode, S_IFREG | 0664);
	assert_acl(bytes, size, "u:6 u1000:7 g:5 m:6 o:4");
	mode = S_IFDIR | 01777;
	size = test_acl_make("u:7 g:5 o:1", bytes);
	assert_true(acl_inherit(bytes, size, &mode));
	assert_int_equal(mode, S_IFDIR | 01751);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_has_each_entry_it_must_have_once_and_in_order),
		cmocka_unit_test(the_mode_shows_the_mask_as_the_group),
		cmocka_unit_test(a_chmod_sets_owner_mask_and_others),
		cmocka_unit_test(what_is_new_gets_what_list_and_mode_both_allow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
