/*
 * Tree, extended attributes. Each change of one is one batch, with the inode's ctime.
 *
 * An inode that has any says so in its attributes, so those that have none cost no look-up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_internal.h"
#include "tree_acl.h"
#include "xattr_editor.h"

/* ---- reading ---- */

int xattr_value_load(const struct layer_guard *guard, uint64_t ino, uint16_t number, struct lsn lsn,
		     uint8_t **value_out, size_t *size_out)
{
	struct version version;
	uint8_t *value;
	int err = engine_find(guard, key_make(ino, KEY_XATTR, number), lsn, &version);

	*value_out = NULL;
	*size_out = 0;
	/* The list says that there is one. */
	if (err == 1 || (!err && (version.form == VERSION_TOMBSTONE ||
				  version.size_bytes > TREE_XATTR_VALUE_MAX)))
		return -EUCLEAN;
	if (err)
		return err;
	value = malloc((size_t)version.size_bytes + 1);
	if (!value)
		return -ENOMEM;
	err = engine_load(guard, &version, value, version.size_bytes, size_out);
	if (err)
		free(value);
	else
		*value_out = value;
	return err;
}

int xattr_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn, const char *name,
	       uint8_t **value_out, size_t *size_out)
{
	struct xattr_list list;
	uint16_t number;
	int err = xattr_list_load(guard, ino, lsn, &list);

	*value_out = NULL;
	*size_out = 0;
	if (err)
		return err;
	err = xattr_list_find(&list, name, &number);
	xattr_list_free(&list);
	return err ? err : xattr_value_load(guard, ino, number, lsn, value_out, size_out);
}

int tree_getxattr(struct store *store, uint64_t ino, struct lsn at, const char *name, void *value_out,
		  size_t size_bytes, size_t *size_out)
{
	struct layer_guard guard;
	uint8_t *value = NULL;
	struct attr attr;
	struct lsn lsn;
	int err = attr_guarded(store, &guard, ino, at, &attr, &lsn);

	*size_out = 0;
	if (err)
		return err;
	err = -ENODATA;
	if (attr.flags & ATTR_HAS_XATTRS)
		err = xattr_load(&guard, ino, lsn, name, &value, size_out);
	layer_guard_drop(&guard);
	if (!err && size_bytes && size_bytes < *size_out)
		err = -ERANGE;
	if (!err && size_bytes && *size_out)
		memcpy(value_out, value, *size_out);
	free(value);
	return err;
}

static void tell_names(const struct xattr_list *list, char *names_out)
{
	struct xattr_name name;
	size_t at = 0;

	while (xattr_list_next(list, &at, &name) == 0) {
		memcpy(names_out, name.name, name.length + 1u);
		names_out += name.length + 1u;
	}
}

int tree_listxattr(struct store *store, uint64_t ino, struct lsn at, char *names_out,
		   size_t size_bytes, size_t *size_out)
{
	struct xattr_list list = { NULL, 0, 0 };
	struct layer_guard guard;
	struct attr attr;
	struct lsn lsn;
	int err = attr_guarded(store, &guard, ino, at, &attr, &lsn);

	*size_out = 0;
	if (err)
		return err;
	if (attr.flags & ATTR_HAS_XATTRS)
		err = xattr_list_load(&guard, ino, lsn, &list);
	layer_guard_drop(&guard);
	if (!err && size_bytes && size_bytes < list.told_bytes)
		err = -ERANGE;
	if (!err && size_bytes)
		tell_names(&list, names_out);
	*size_out = list.told_bytes;
	xattr_list_free(&list);
	return err;
}

/* ---- changing ---- */

static int set(struct xattr_editor *editor, const char *name, const void *value, size_t size_bytes,
	       unsigned flags)
{
	return tree_acl_is_name(name) ? tree_acl_set(editor, name, value, size_bytes, flags)
				      : xattr_editor_put(editor, name, value, size_bytes, flags);
}

/* A list that is not there can be removed all the same. */
static int drop(struct xattr_editor *editor, const char *name)
{
	int err = xattr_editor_drop(editor, name);

	return err == -ENODATA && tree_acl_is_name(name) ? 0 : err;
}

/* @value NULL: remove. */
static int change_one(struct store *store, uint64_t ino, const char *name, const void *value,
		      size_t size_bytes, unsigned flags)
{
	struct xattr_editor editor;
	struct change_inode *inode;
	struct change change;
	int err = change_begin(&change, store, &ino, 1);

	if (err)
		return err;
	inode = change_inode(&change, ino);
	err = xattr_editor_begin(&editor, &change, inode);
	if (!err) {
		err = value ? set(&editor, name, value, size_bytes, flags) : drop(&editor, name);
		if (!err)
			err = xattr_editor_finish(&editor);
		/* An access list may change the mode alone. */
		if (!err && (editor.edited || inode->next.shown.mode != inode->inode->attr.shown.mode)) {
			change_touch(&change, inode, false);
			err = change_commit(&change);
		}
		xattr_editor_end(&editor);
	}
	change_end(&change);
	return err;
}

static int check_name(const char *name)
{
	size_t length = strlen(name);

	return length == 0 || length > TREE_XATTR_NAME_MAX ? -ERANGE : 0;
}

int tree_setxattr(struct store *store, uint64_t ino, const char *name, const void *value,
		  size_t size_bytes, unsigned flags)
{
	int err = check_name(name);

	if (!err && size_bytes > TREE_XATTR_VALUE_MAX)
		err = -E2BIG;
	return err ? err : change_one(store, ino, name, value ? value : "", size_bytes, flags);
}

int tree_removexattr(struct store *store, uint64_t ino, const char *name)
{
	int err = check_name(name);

	return err ? err : change_one(store, ino, name, NULL, 0, 0);
}
