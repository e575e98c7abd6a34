#include "xattr_editor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

int xattr_editor_begin(struct xattr_editor *editor, struct change *change,
		       struct change_inode *inode)
{
	int err = 0;

	*editor = (struct xattr_editor){ .change = change, .inode = inode };
	editor->newest = engine_guard_take(change->store->engine, &editor->guard);
	if (inode->next.flags & ATTR_HAS_XATTRS)
		err = xattr_list_load(&editor->guard, inode->next.shown.ino, editor->newest,
				      &editor->list);
	if (err)
		layer_guard_drop(&editor->guard);
	return err;
}

void xattr_editor_end(struct xattr_editor *editor)
{
	xattr_list_free(&editor->list);
	layer_guard_drop(&editor->guard);
}

int xattr_editor_value(const struct xattr_editor *editor, const char *name, uint8_t **value_out,
		       size_t *size_out)
{
	uint16_t number;
	int err = xattr_list_find(&editor->list, name, &number);

	*value_out = NULL;
	*size_out = 0;
	return err ? err : xattr_value_load(&editor->guard, editor->inode->next.shown.ino, number,
					    editor->newest, value_out, size_out);
}

static int add_entry(struct xattr_editor *editor, uint16_t number, uint8_t form, const void *body,
		     size_t body_bytes)
{
	struct batch_entry *entry = change_entry(editor->change);

	if (!entry)
		return -ENOMEM;
	entry->key = key_make(editor->inode->next.shown.ino, KEY_XATTR, number);
	entry->form = form;
	entry->body = body;
	entry->body_bytes = (uint32_t)body_bytes;
	return 0;
}

/* -errno; 0: it has this value; 1: it has another. */
static int compare_value(const struct xattr_editor *editor, const char *name, const void *value,
			 size_t size_bytes)
{
	uint8_t *before;
	size_t before_bytes;
	int err = xattr_editor_value(editor, name, &before, &before_bytes);

	if (!err)
		err = before_bytes != size_bytes || memcmp(before, value, size_bytes) != 0;
	free(before);
	return err;
}

int xattr_editor_put(struct xattr_editor *editor, const char *name, const void *value,
		     size_t size_bytes, unsigned flags)
{
	uint16_t number;
	int err = xattr_list_find(&editor->list, name, &number);

	if (!err && flags & TREE_XATTR_CREATE)
		return -EEXIST;
	if (err && flags & TREE_XATTR_REPLACE)
		return -ENODATA;
	if (err) {
		err = xattr_list_add(&editor->list, name, &number);
		editor->list_edited = !err || editor->list_edited;
	} else {
		/* What can't be read can be replaced. */
		err = compare_value(editor, name, value, size_bytes);
		if (err == 0 || err == -ENOMEM)
			return err;
		err = 0;
	}
	if (!err)
		err = add_entry(editor, number, VERSION_IMAGE, value, size_bytes);
	editor->edited = true;
	return err;
}

int xattr_editor_drop(struct xattr_editor *editor, const char *name)
{
	uint16_t number;
	int err = xattr_list_remove(&editor->list, name, &number);

	if (err)
		return err;
	editor->edited = editor->list_edited = true;
	return add_entry(editor, number, VERSION_TOMBSTONE, NULL, 0);
}

int xattr_editor_finish(struct xattr_editor *editor)
{
	const struct xattr_list *list = &editor->list;

	if (!editor->list_edited)
		return 0;
	editor->inode->next.flags &= ~ATTR_HAS_XATTRS;
	if (list->size_bytes)
		editor->inode->next.flags |= ATTR_HAS_XATTRS;
	return add_entry(editor, 0, list->size_bytes ? VERSION_IMAGE : VERSION_TOMBSTONE, list->bytes,
			 list->size_bytes);
}
