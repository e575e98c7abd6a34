#include "xattr_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl.h"
#include "engine.h"
#include "store_internal.h"
#include "tree_acl.h"
#include "xattr_list.h"

struct sorted_names {
	struct xattr_name *names;
	size_t count;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct xattr_name *)a)->name, ((const struct xattr_name *)b)->name);
}

static int compare_numbers(const void *a, const void *b)
{
	return ((const struct xattr_name *)a)->number - ((const struct xattr_name *)b)->number;
}

static int gather(const struct xattr_list *list, struct sorted_names *sorted)
{
	size_t at = 0;

	sorted->count = 0;
	sorted->names = malloc((list->told_bytes / 2 + 1) * sizeof(*sorted->names));
	if (!sorted->names)
		return -ENOMEM;
	while (xattr_list_next(list, &at, &sorted->names[sorted->count]) == 0)
		sorted->count++;
	return 0;
}

static int check_once(struct sorted_names *sorted, char *fault_out)
{
	struct xattr_name *names = sorted->names;

	qsort(names, sorted->count, sizeof(*names), compare_numbers);
	for (size_t i = 1; i < sorted->count; i++)
		if (names[i].number == names[i - 1].number) {
			snprintf(fault_out, XATTR_FAULT_BYTES,
				 "two extended attributes have one value; one is '%.100s'", names[i].name);
			return 1;
		}
	qsort(names, sorted->count, sizeof(*names), compare_names);
	for (size_t i = 1; i < sorted->count; i++)
		if (strcmp(names[i].name, names[i - 1].name) == 0) {
			snprintf(fault_out, XATTR_FAULT_BYTES,
				 "two extended attributes are called '%.100s'", names[i].name);
			return 1;
		}
	return 0;
}

static bool acl_is_right(const struct attr *attr, const struct xattr_name *name, const uint8_t *value,
			 size_t size_bytes)
{
	uint32_t mode = attr->shown.mode;

	if (acl_check(value, size_bytes))
		return false;
	if (strcmp(name->name, ACL_ACCESS_NAME) != 0)
		return true;
	acl_to_mode(value, size_bytes, &mode);
	return mode == attr->shown.mode;
}

static int check_value(const struct layer_guard *guard, const struct attr *attr, struct lsn at,
		       const struct xattr_name *name, char *fault_out)
{
	uint8_t *value;
	size_t size;
	int err = xattr_value_load(guard, attr->shown.ino, name->number, at, &value, &size);

	if (err && err != -EUCLEAN)
		return err;
	if (err) {
		snprintf(fault_out, XATTR_FAULT_BYTES, "extended attribute '%.100s' has no value that makes sense",
			 name->name);
		return 1;
	}
	if (tree_acl_is_name(name->name) && !acl_is_right(attr, name, value, size)) {
		snprintf(fault_out, XATTR_FAULT_BYTES, "'%.100s' is no access control list, or not that of the mode",
			 name->name);
		err = 1;
	}
	free(value);
	return err;
}

int xattr_check(const struct layer_guard *guard, const struct attr *attr, struct lsn at,
		char fault_out[XATTR_FAULT_BYTES])
{
	struct sorted_names sorted = { NULL, 0 };
	struct xattr_list list;
	int err = xattr_list_load(guard, attr->shown.ino, at, &list);

	if (err == -EUCLEAN || (!err && !list.size_bytes)) {
		snprintf(fault_out, XATTR_FAULT_BYTES, "the names of its extended attributes make no sense");
		return 1;
	}
	if (err)
		return err;
	err = gather(&list, &sorted);
	if (!err)
		err = check_once(&sorted, fault_out);
	for (size_t i = 0; i < sorted.count && !err; i++)
		err = check_value(guard, attr, at, &sorted.names[i], fault_out);
	free(sorted.names);
	xattr_list_free(&list);
	return err;
}
