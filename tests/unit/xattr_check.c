/* Xattr check: what contradicts itself in extended attributes is found, and refused when it is read. What is
 * written here no change of the tree would write. */
#include "acl.h"
#include "store_internal.h"
#include "test_acl.h"
#include "test_check.h"
#include "test_fixture.h"

static void write_raw(struct fixture *f, uint64_t ino, uint16_t number, enum version_form form, const void *body,
		      size_t body_bytes)
{
	struct batch_entry entry = { .key = key_make(ino, KEY_XATTR, number), .form = form, .body = body,
				     .body_bytes = (uint32_t)body_bytes };
	struct lsn lsn;

	assert_ok(engine_commit(f->store->engine, &entry, 1, 1, &lsn));
}

/* The check tells this of the inode, and nothing else. */
static void assert_found(struct fixture *f, uint64_t ino, const char *text)
{
	struct check_run *run = check_run_running(f->store);
	unsigned told = 0;

	for (size_t i = 0; i < run->count; i++) {
		assert_int_equal(run->findings[i].kind, FINDING_TREE);
		assert_int_equal(run->findings[i].key.ino, ino);
		told += strstr(run->findings[i].text, text) != NULL;
	}
	if (!told)
		check_run_print(run);
	assert_true(told > 0);
	free(run);
}

struct made {
	struct fixture *f;
	uint64_t ino;
};

/* A file with user.a, which is number 1. */
static struct made make(void)
{
	struct made made = { .f = fixture_new(NULL, NULL) };

	made.ino = make_file(made.f->store, TREE_ROOT_INO, "file");
	assert_ok(tree_setxattr(made.f->store, made.ino, "user.a", "value", 5, 0));
	return made;
}

static int get(const struct made *made, const char *name)
{
	char value[64];
	size_t size;

	return tree_getxattr(made->f->store, made->ino, LSN_HEAD, name, value, sizeof(value), &size);
}

static void a_value_that_is_not_there(void **state)
{
	struct made made = make();

	(void)state;
	write_raw(made.f, made.ino, 1, VERSION_TOMBSTONE, NULL, 0);
	assert_found(made.f, made.ino, "'user.a' has no value");
	assert_err(get(&made, "user.a"), -EUCLEAN);
	/* Setting it mends it. */
	assert_ok(tree_setxattr(made.f->store, made.ino, "user.a", "again", 5, 0));
	assert_ok(get(&made, "user.a"));
	fixture_free(made.f);
}

static void a_value_that_is_too_long(void **state)
{
	static uint8_t bytes[TREE_XATTR_VALUE_MAX + 1];
	struct made made = make();

	(void)state;
	write_raw(made.f, made.ino, 1, VERSION_IMAGE, bytes, sizeof(bytes));
	assert_found(made.f, made.ino, "'user.a' has no value");
	assert_err(get(&made, "user.a"), -EUCLEAN);
	fixture_free(made.f);
}

static void a_list_that_is_none(void **state)
{
	struct made made = make();
	size_t size;

	(void)state;
	write_raw(made.f, made.ino, 0, VERSION_IMAGE, "\1\0\7user.a", 9);
	assert_found(made.f, made.ino, "names of its extended attributes");
	assert_err(get(&made, "user.a"), -EUCLEAN);
	assert_err(tree_listxattr(made.f->store, made.ino, LSN_HEAD, NULL, 0, &size), -EUCLEAN);
	assert_err(tree_setxattr(made.f->store, made.ino, "user.b", "", 0, 0), -EUCLEAN);
	write_raw(made.f, made.ino, 0, VERSION_TOMBSTONE, NULL, 0);
	assert_found(made.f, made.ino, "names of its extended attributes");
	fixture_free(made.f);
}

static void two_of_one_name_or_number(void **state)
{
	struct made made = make();

	(void)state;
	write_raw(made.f, made.ino, 0, VERSION_IMAGE, "\1\0\6user.a\1\0\6user.b", 18);
	assert_found(made.f, made.ino, "have one value");
	write_raw(made.f, made.ino, 2, VERSION_IMAGE, "", 0);
	write_raw(made.f, made.ino, 0, VERSION_IMAGE, "\1\0\6user.a\2\0\6user.a", 18);
	assert_found(made.f, made.ino, "are called 'user.a'");
	fixture_free(made.f);
}

static void a_list_of_access_that_is_not_the_modes(void **state)
{
	uint8_t bytes[TEST_ACL_BYTES];
	size_t size = test_acl_make("u:7 u1000:6 g:5 m:7 o:4", bytes);
	struct made made = make();

	(void)state;
	assert_ok(tree_setxattr(made.f->store, made.ino, ACL_ACCESS_NAME, bytes, size, 0));
	size = test_acl_make("u:7 u1000:6 g:5 m:6 o:4", bytes);
	write_raw(made.f, made.ino, 2, VERSION_IMAGE, bytes, size);
	assert_found(made.f, made.ino, ACL_ACCESS_NAME);
	write_raw(made.f, made.ino, 2, VERSION_IMAGE, bytes, size - 1);
	assert_found(made.f, made.ino, ACL_ACCESS_NAME);
	fixture_free(made.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_that_is_not_there),
		cmocka_unit_test(a_value_that_is_too_long),
		cmocka_unit_test(a_list_that_is_none),
		cmocka_unit_test(two_of_one_name_or_number),
		cmocka_unit_test(a_list_of_access_that_is_not_the_modes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
