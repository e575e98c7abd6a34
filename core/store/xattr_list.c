#include "xattr_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "engine.h"
#include "tree.h"

#define HEAD_BYTES 3u                   /* number, length */

int xattr_list_next(const struct xattr_list *list, size_t *at_bytes, struct xattr_name *name_out)
{
	struct get_cursor c;
	const uint8_t *name;

	if (*at_bytes >= list->size_bytes)
		return 1;
	c = get_cursor(list->bytes + *at_bytes, list->size_bytes - *at_bytes);
	name_out->number = get_u16(&c);
	name_out->length = get_u8(&c);
	name = get_bytes(&c, name_out->length);
	if (!name || !name_out->number || !name_out->length || memchr(name, 0, name_out->length))
		return -EUCLEAN;
	memcpy(name_out->name, name, name_out->length);
	name_out->name[name_out->length] = '\0';
	*at_bytes = (size_t)(c.at - list->bytes);
	return 0;
}

int xattr_list_take(uint8_t *bytes, size_t size_bytes, struct xattr_list *list_out)
{
	struct xattr_name name;
	size_t at = 0;
	int err;

	*list_out = (struct xattr_list){ bytes, size_bytes, 0 };
	while ((err = xattr_list_next(list_out, &at, &name)) == 0)
		list_out->told_bytes += name.length + 1u;
	if (err > 0 && list_out->told_bytes <= TREE_XATTR_LIST_MAX)
		return 0;
	xattr_list_free(list_out);
	return -EUCLEAN;
}

int xattr_list_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		    struct xattr_list *list_out)
{
	struct version version;
	uint8_t *bytes;
	size_t size;
	int err;

	memset(list_out, 0, sizeof(*list_out));
	err = engine_find(guard, key_make(ino, KEY_XATTR, 0), lsn, &version);
	if (err || version.form == VERSION_TOMBSTONE)
		return err < 0 ? err : 0;
	bytes = malloc((size_t)version.size_bytes + 1);
	if (!bytes)
		return -ENOMEM;
	err = engine_load(guard, &version, bytes, version.size_bytes, &size);
	if (!err)
		return xattr_list_take(bytes, size, list_out);
	free(bytes);
	return err;
}

void xattr_list_free(struct xattr_list *list)
{
	free(list->bytes);
	memset(list, 0, sizeof(*list));
}

/* Where the name begins, and what it is. 0; -ENODATA. */
static int find(const struct xattr_list *list, const char *name, size_t *start_out, size_t *end_out,
		uint16_t *number_out)
{
	struct xattr_name found;

	*end_out = 0;
	for (;;) {
		*start_out = *end_out;
		if (xattr_list_next(list, end_out, &found))
			return -ENODATA;
		*number_out = found.number;
		if (strcmp(found.name, name) == 0)
			return 0;
	}
}

int xattr_list_find(const struct xattr_list *list, const char *name, uint16_t *number_out)
{
	size_t start, end;

	return find(list, name, &start, &end, number_out);
}

/* There are fewer names than numbers: the bytes of a list are bounded. */
static uint16_t free_number(const struct xattr_list *list)
{
	uint8_t taken[UINT16_MAX / 8 + 1] = { 1 };
	struct xattr_name name;
	size_t at = 0;
	unsigned number = 0;

	while (xattr_list_next(list, &at, &name) == 0)
		taken[name.number / 8] |= (uint8_t)(1u << name.number % 8);
	while (taken[number / 8] >> number % 8 & 1)
		number++;
	return (uint16_t)number;
}

int xattr_list_add(struct xattr_list *list, const char *name, uint16_t *number_out)
{
	size_t length = strlen(name);
	struct put_cursor c;
	uint8_t *bytes;

	if (list->told_bytes + length + 1 > TREE_XATTR_LIST_MAX)
		return -ENOSPC;
	bytes = realloc(list->bytes, list->size_bytes + HEAD_BYTES + length);
	if (!bytes)
		return -ENOMEM;
	list->bytes = bytes;
	*number_out = free_number(list);
	c = put_cursor(bytes + list->size_bytes, HEAD_BYTES + length);
	put_u16(&c, *number_out);
	put_u8(&c, (uint8_t)length);
	put_bytes(&c, name, length);
	list->size_bytes += HEAD_BYTES + length;
	list->told_bytes += length + 1;
	return 0;
}

int xattr_list_remove(struct xattr_list *list, const char *name, uint16_t *number_out)
{
	size_t start, end;
	int err = find(list, name, &start, &end, number_out);

	if (err)
		return err;
	memmove(list->bytes + start, list->bytes + end, list->size_bytes - end);
	list->size_bytes -= end - start;
	list->told_bytes -= strlen(name) + 1;
	return 0;
}
