/*
 * Xattr lists: any bytes are a list that is walked to its end and finds each of its names, or none;
 * adding a name and removing it again gives the same bytes.
 */
#include "xattr_list.h"

#include "fuzz.h"
#include "tree.h"

static void walk(const struct xattr_list *list)
{
	struct xattr_name name;
	size_t at = 0, told = 0, before = 0;
	uint16_t number;

	while (at < list->size_bytes) {
		require(xattr_list_next(list, &at, &name) == 0);
		require(at > before && at <= list->size_bytes);
		require(name.number && name.length && strlen(name.name) == name.length);
		require(xattr_list_find(list, name.name, &number) == 0 && number);
		told += name.length + 1u;
		before = at;
	}
	require(xattr_list_next(list, &at, &name) == 1);
	require(told == list->told_bytes && told <= TREE_XATTR_LIST_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct xattr_list list;
	uint8_t *bytes = malloc(size_bytes + 1);
	uint16_t number, removed;

	require(bytes != NULL);
	memcpy(bytes, data, size_bytes);
	if (xattr_list_take(bytes, size_bytes, &list)) {
		require(!list.bytes && !list.size_bytes);
		return 0;
	}
	walk(&list);
	if (xattr_list_find(&list, "user.new", &number) && !xattr_list_add(&list, "user.new", &number)) {
		walk(&list);
		require(xattr_list_remove(&list, "user.new", &removed) == 0 && removed == number);
		require(list.size_bytes == size_bytes && !memcmp(list.bytes, data, size_bytes));
	}
	xattr_list_free(&list);
	return 0;
}
