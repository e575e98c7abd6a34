/* Attributes: 96 bytes, each where attr.h says, and none that are impossible. */
#include <sys/stat.h>

#include "attr.h"
#include "codec.h"
#include "test_tree.h"

static const struct attr example = {
	.shown = {
		.size_bytes = 0x0102030405060708,
		.mtime = { 0x1112131415161718, 111 },
		.ctime = { -5, 222 },
		.atime = { 0x3132333435363738, 333 },
		.btime = { INT64_MIN, 999999999 },
		.mode = S_IFREG | 04711,
		.uid = 0x51525354,
		.gid = 0x61626364,
		.nlink = 0x71727374,
		.rdev = 0x81828384,
		.page_count = TREE_PAGES_UNKNOWN,
	},
	.extent_since = { 0x1192939495969798 },
	.flags = ATTR_HAS_FLOORS,
	.block_end = 0xa1a2a3a4a5a6a7a8,
};

static void every_field_survives(void **state)
{
	uint8_t bytes[ATTR_BYTES];
	struct attr found;

	(void)state;
	attr_encode(&example, bytes);
	memset(&found, 0xee, sizeof(found));
	assert_ok(attr_decode(bytes, &found));
	assert_attr_equal(&found.shown, &example.shown);
	assert_int_equal(found.flags, example.flags);
	assert_int_equal(found.extent_since.value, example.extent_since.value);
	assert_int_equal(found.block_end, example.block_end);
}

/* A directory has a parent, anything else an LSN in its place. */
static void a_directory_has_a_parent_where_others_have_an_lsn(void **state)
{
	uint8_t bytes[ATTR_BYTES];
	struct attr dir = example, found;
	struct get_cursor c = get_cursor(bytes + 80, 8);

	(void)state;
	dir.shown.mode = S_IFDIR | 0755;
	dir.shown.parent_ino = 0x2122;
	attr_encode(&dir, bytes);
	assert_int_equal(get_u64(&c), 0x2122);
	assert_ok(attr_decode(bytes, &found));
	assert_int_equal(found.shown.parent_ino, 0x2122);
	assert_int_equal(found.extent_since.value, 0);
}

static struct attr version_of(uint64_t lsn, uint64_t size)
{
	struct attr attr = example;

	attr.shown.changed = lsn_make(lsn);
	attr.shown.size_bytes = size;
	attr.extent_since = lsn_make(0);
	return attr;
}

static void an_extent_is_since_the_first_version_that_had_it(void **state)
{
	struct attr first = version_of(100, 8), second = version_of(200, 8), third = version_of(300, 8),
		    grown = version_of(400, 9), dead;

	(void)state;
	attr_follow(&first, NULL);
	assert_int_equal(first.extent_since.value, 0);
	attr_follow(&second, &first);
	assert_int_equal(second.extent_since.value, 100);
	attr_follow(&third, &second);
	assert_int_equal(third.extent_since.value, 100);
	attr_follow(&grown, &third);
	assert_int_equal(grown.extent_since.value, 0);
	dead = grown;
	dead.shown.nlink = 0;
	attr_follow(&dead, &grown);
	assert_int_equal(dead.extent_since.value, 0);
	dead = grown;
	dead.flags ^= ATTR_HAS_FLOORS;
	attr_follow(&dead, &grown);
	assert_int_equal(dead.extent_since.value, 0);
	dead = grown;
	dead.shown.mode ^= 0777;
	dead.shown.nlink++;
	attr_follow(&dead, &grown);
	assert_int_equal(dead.extent_since.value, 400);
}

static void pages_are_of_the_extent_where_holes_have_to_be_known(void **state)
{
	struct attr first = version_of(100, 8), second;

	(void)state;
	first.flags = ATTR_MAPPED;
	first.shown.page_count = 1;
	second = first;
	second.shown.page_count = 2;
	attr_follow(&second, &first);
	assert_int_equal(second.extent_since.value, 100);
	first.flags = second.flags = ATTR_MAPPED | ATTR_HAS_HOLES;
	attr_follow(&second, &first);
	assert_int_equal(second.extent_since.value, 0);
	second.shown.page_count = 1;
	second.block_end++;
	attr_follow(&second, &first);
	assert_int_equal(second.extent_since.value, 0);
}

static void a_mapped_file_counts_its_pages(void **state)
{
	struct attr mapped = example, found;
	uint8_t bytes[ATTR_BYTES];

	(void)state;
	mapped.flags = ATTR_MAPPED | ATTR_HAS_HOLES;
	mapped.shown.parent_ino = 0;
	mapped.shown.page_count = 0xb1b2b3b4b5b6b7b8;
	attr_encode(&mapped, bytes);
	assert_ok(attr_decode(bytes, &found));
	assert_attr_equal(&found.shown, &mapped.shown);
	assert_int_equal(found.flags, mapped.flags);
	/* Only files are mapped. */
	mapped.shown.mode = S_IFDIR | 0755;
	attr_encode(&mapped, bytes);
	assert_err(attr_decode(bytes, &found), -EUCLEAN);
}

/* They follow from where the version lies. */
static void inode_number_lsn_and_position_are_not_kept(void **state)
{
	struct attr attr = example;
	uint8_t bytes[ATTR_BYTES], same[ATTR_BYTES];

	(void)state;
	attr.shown.ino = 77;
	attr.shown.changed = lsn_make(88);
	attr.shown.position = 99;
	attr_encode(&attr, bytes);
	attr_encode(&example, same);
	assert_memory_equal(bytes, same, ATTR_BYTES);
	assert_ok(attr_decode(bytes, &attr));
	assert_int_equal(attr.shown.ino, 0);
	assert_int_equal(attr.shown.changed.value, 0);
	assert_int_equal(attr.shown.position, 0);
}

static void the_bytes_lie_where_the_format_says(void **state)
{
	const struct { unsigned at, size; uint64_t value; } fields[] = {
		{ 0, 8, example.shown.size_bytes },
		{ 8, 8, (uint64_t)example.shown.mtime.seconds }, { 16, 4, 111 },
		{ 20, 8, (uint64_t)-5 }, { 28, 4, 222 },
		{ 32, 8, (uint64_t)example.shown.atime.seconds }, { 40, 4, 333 },
		{ 44, 8, (uint64_t)INT64_MIN }, { 52, 4, 999999999 },
		{ 56, 4, S_IFREG | 04711 }, { 60, 4, 0x51525354 }, { 64, 4, 0x61626364 },
		{ 68, 4, 0x71727374 }, { 72, 4, 0x81828384 }, { 76, 4, 1 },
		{ 80, 8, example.extent_since.value }, { 88, 8, example.block_end },
		{ 96, 8, 0 },
	};
	uint8_t bytes[ATTR_BYTES];
	unsigned at = 0;

	(void)state;
	attr_encode(&example, bytes);
	for (unsigned i = 0; i < array_size(fields); i++) {
		struct get_cursor c = get_cursor(bytes + fields[i].at, fields[i].size);
		uint64_t value = fields[i].size == 8 ? get_u64(&c) : get_u32(&c);

		assert_int_equal(fields[i].at, at);
		assert_int_equal(value, fields[i].value);
		at += fields[i].size;
	}
	assert_int_equal(at, ATTR_BYTES);
}

static void what_a_write_changes_stands_first(void **state)
{
	uint8_t before[ATTR_BYTES], after[ATTR_BYTES];
	struct attr attr = example;

	(void)state;
	attr.shown.size_bytes++;
	attr.shown.mtime = attr.shown.ctime = (struct tree_time){ 1, 2 };
	attr_encode(&example, before);
	attr_encode(&attr, after);
	assert_memory_not_equal(before, after, 32);
	assert_memory_equal(before + 32, after + 32, ATTR_BYTES - 32);
}

static void check(const struct attr *attr, int expected)
{
	uint8_t bytes[ATTR_BYTES];
	struct attr found;

	attr_encode(attr, bytes);
	assert_err(attr_decode(bytes, &found), expected);
}

static void every_type_of_file_is_known_and_no_other(void **state)
{
	struct attr attr = example;

	(void)state;
	for (uint32_t type = 0; type < 16; type++) {
		uint32_t mode = type << 12;
		bool known = S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) ||
			     S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode);

		attr.shown.mode = mode | 0755;
		check(&attr, known ? 0 : -EUCLEAN);
	}
}

static void impossible_sizes_and_times_are_refused(void **state)
{
	struct attr attr = example;
	struct tree_time *times[] = { &attr.shown.mtime, &attr.shown.ctime, &attr.shown.atime,
				      &attr.shown.btime };

	(void)state;
	attr.shown.size_bytes = TREE_SIZE_MAX;
	check(&attr, 0);
	attr.shown.size_bytes++;
	check(&attr, -EUCLEAN);
	attr.shown.size_bytes = 0;
	for (unsigned i = 0; i < array_size(times); i++) {
		times[i]->nanoseconds = 999999999;
		check(&attr, 0);
		times[i]->nanoseconds++;
		check(&attr, -EUCLEAN);
		times[i]->nanoseconds = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_survives),
		cmocka_unit_test(a_directory_has_a_parent_where_others_have_an_lsn),
		cmocka_unit_test(an_extent_is_since_the_first_version_that_had_it),
		cmocka_unit_test(pages_are_of_the_extent_where_holes_have_to_be_known),
		cmocka_unit_test(a_mapped_file_counts_its_pages),
		cmocka_unit_test(inode_number_lsn_and_position_are_not_kept),
		cmocka_unit_test(the_bytes_lie_where_the_format_says),
		cmocka_unit_test(what_a_write_changes_stands_first),
		cmocka_unit_test(every_type_of_file_is_known_and_no_other),
		cmocka_unit_test(impossible_sizes_and_times_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
