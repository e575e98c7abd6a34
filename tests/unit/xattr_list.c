/* Xattr list: the names of an inode's extended attributes. */
#include "test_support.h"
#include "tree.h"
#include "xattr_list.h"

static void a_name_is_found_under_its_own_name_only(void **state)
{
	struct xattr_list list = { NULL, 0, 0 };
	uint16_t number, other;

	(void)state;
	assert_err(xattr_list_find(&list, "user.a", &number), -ENODATA);
	assert_err(xattr_list_remove(&list, "user.a", &number), -ENODATA);
	assert_ok(xattr_list_add(&list, "user.a", &number));
	assert_ok(xattr_list_add(&list, "user.ab", &other));
	assert_int_equal(number, 1);
	assert_int_equal(other, 2);
	assert_int_equal(list.told_bytes, 7 + 8);
	assert_ok(xattr_list_find(&list, "user.ab", &other));
	assert_int_equal(other, 2);
	assert_err(xattr_list_find(&list, "user.", &number), -ENODATA);
	assert_err(xattr_list_find(&list, "user.abc", &number), -ENODATA);
	xattr_list_free(&list);
}

static void the_lowest_free_number_is_given(void **state)
{
	struct xattr_list list = { NULL, 0, 0 };
	char name[16];
	uint16_t number;

	(void)state;
	for (unsigned i = 1; i <= 300; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		assert_ok(xattr_list_add(&list, name, &number));
		assert_int_equal(number, i);
	}
	assert_ok(xattr_list_remove(&list, "user.8", &number));
	assert_int_equal(number, 8);
	assert_ok(xattr_list_remove(&list, "user.256", &number));
	assert_ok(xattr_list_add(&list, "user.x", &number));
	assert_int_equal(number, 8);
	assert_ok(xattr_list_add(&list, "user.y", &number));
	assert_int_equal(number, 256);
	assert_ok(xattr_list_add(&list, "user.z", &number));
	assert_int_equal(number, 301);
	xattr_list_free(&list);
}

static void names_are_bounded_by_what_listxattr_may_return(void **state)
{
	struct xattr_list list = { NULL, 0, 0 };
	char name[256];
	uint16_t number;
	int err = 0;

	(void)state;
	memset(name, 'n', 255);
	name[255] = 0;
	for (unsigned i = 0; !err; i++) {
		snprintf(name, 5, "%04u", i);
		name[4] = 'n';
		err = xattr_list_add(&list, name, &number);
	}
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(list.told_bytes, TREE_XATTR_LIST_MAX);
	/* One goes, one of its length fits. */
	memcpy(name, "0007", 4);
	assert_ok(xattr_list_remove(&list, name, &number));
	memcpy(name, "x007", 4);
	assert_ok(xattr_list_add(&list, name, &number));
	assert_err(xattr_list_add(&list, "a", &number), -ENOSPC);
	xattr_list_free(&list);
}

static void assert_refused(const char *bytes, size_t size_bytes)
{
	struct xattr_list list;
	uint8_t *copy = malloc(size_bytes);

	assert_non_null(copy);
	memcpy(copy, bytes, size_bytes);
	assert_err(xattr_list_take(copy, size_bytes, &list), -EUCLEAN);
	assert_null(list.bytes);
}

static void what_is_no_list_is_refused(void **state)
{
	(void)state;
	assert_refused("\1", 1);
	assert_refused("\1\0\2a", 4);           /* the name is cut short */
	assert_refused("\0\0\1a", 4);           /* number 0 is the list's */
	assert_refused("\1\0\0", 3);            /* a name of no bytes */
	assert_refused("\1\0\2a\0", 5);         /* a NUL in it */
	assert_refused("\1\0\1a\2", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_found_under_its_own_name_only),
		cmocka_unit_test(the_lowest_free_number_is_given),
		cmocka_unit_test(names_are_bounded_by_what_listxattr_may_return),
		cmocka_unit_test(what_is_no_list_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
