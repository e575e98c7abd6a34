/*
 * Tree, data: write, truncate, and the other attributes. Each is one batch.
 *
 * Invariant: the bytes of a file's last page beyond its size are zeros, in every
 * version. A write never goes beyond the size it leaves; a cut zeroes the rest of
 * its page. So growing a file shows zeros and costs one attribute.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "change.h"
#include "page_editor.h"
#include "store_internal.h"

void tree_drop_set_id(struct tree_attr *shown)
{
	shown->mode &= ~(uint32_t)S_ISUID;
	if (shown->mode & S_IXGRP)
		shown->mode &= ~(uint32_t)S_ISGID;
}

int tree_write(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
	       size_t size_bytes, bool drop_id)
{
	size_t page = store->page_size_bytes;
	struct page_editor editor;
	struct change_inode *inode;
	struct change change;
	uint64_t end;
	int err;

	if (size_bytes > TREE_WRITE_MAX)
		return -EINVAL;
	if (offset_bytes > TREE_SIZE_MAX || size_bytes > TREE_SIZE_MAX - offset_bytes)
		return -EFBIG;
	err = change_begin(&change, store, &ino, 1);
	if (err)
		return err;
	inode = change_inode(&change, ino);
	if (S_ISDIR(inode->next.shown.mode))
		err = -EISDIR;
	else if (!S_ISREG(inode->next.shown.mode))
		err = -EINVAL;
	if (err || size_bytes == 0) {
		change_end(&change);
		return err;
	}
	err = page_editor_begin(&editor, &change, inode);
	if (!err) {
		err = page_editor_put(&editor, offset_bytes, buffer, size_bytes);
		if (!err) {
			end = offset_bytes + size_bytes;
			if (end > inode->next.shown.size_bytes)
				inode->next.shown.size_bytes = end;
			if ((end + page - 1) / page > inode->next.block_end)
				inode->next.block_end = (end + page - 1) / page;
			if (drop_id)
				tree_drop_set_id(&inode->next.shown);
			change_touch(&change, inode, true);
			err = page_editor_finish(&editor);
			if (!err)
				err = change_commit(&change);
			if (!err)
				page_editor_committed(&editor);
		}
		page_editor_end(&editor);
	}
	change_end(&change);
	return err;
}

/* Everything from @size_bytes on is cut off. */
static int cut(struct page_editor *editor, uint64_t size_bytes)
{
	struct attr *next = &editor->inode->next;
	size_t page = editor->change->store->page_size_bytes;
	uint64_t from = size_bytes % page;
	uint64_t block = size_bytes / page + (from != 0);
	int err = 0;

	if (from)
		err = page_editor_put(editor, size_bytes, NULL, page - from);
	if (err || block >= next->block_end)
		return err;
	err = page_editor_drop(editor, block, UINT64_MAX);
	if (!err)
		next->block_end = block;
	return err;
}

static void set_plain_attrs(struct change *change, struct change_inode *inode, unsigned which,
			    const struct tree_attr *to)
{
	struct tree_attr *shown = &inode->next.shown;

	if (which & TREE_SET_MODE)
		shown->mode = (shown->mode & S_IFMT) | (to->mode & 07777);
	if (which & TREE_SET_UID)
		shown->uid = to->uid;
	if (which & TREE_SET_GID)
		shown->gid = to->gid;
	if (which & TREE_DROP_SET_ID)
		tree_drop_set_id(shown);
	change_touch(change, inode, which & TREE_SET_SIZE);
	if (which & (TREE_SET_ATIME | TREE_SET_ATIME_NOW))
		shown->atime = which & TREE_SET_ATIME_NOW ? change->now : to->atime;
	if (which & (TREE_SET_MTIME | TREE_SET_MTIME_NOW))
		shown->mtime = which & TREE_SET_MTIME_NOW ? change->now : to->mtime;
}

static int check_setattr(const struct change_inode *inode, unsigned which,
			 const struct tree_attr *to)
{
	if (!(which & TREE_SET_SIZE))
		return 0;
	if (S_ISDIR(inode->next.shown.mode))
		return -EISDIR;
	if (!S_ISREG(inode->next.shown.mode))
		return -EINVAL;
	return to->size_bytes > TREE_SIZE_MAX ? -EFBIG : 0;
}

int tree_setattr(struct store *store, uint64_t ino, unsigned which, const struct tree_attr *to,
		 struct tree_attr *attr_out)
{
	struct page_editor editor;
	struct change_inode *inode;
	struct change change;
	bool cutting;
	int err = change_begin(&change, store, &ino, 1);

	if (err)
		return err;
	inode = change_inode(&change, ino);
	err = check_setattr(inode, which, to);
	cutting = !err && which & TREE_SET_SIZE && to->size_bytes < inode->next.shown.size_bytes;
	if (cutting) {
		err = page_editor_begin(&editor, &change, inode);
		cutting = !err;
		if (!err)
			err = cut(&editor, to->size_bytes);
		if (!err)
			err = page_editor_finish(&editor);
	}
	if (!err) {
		if (which & TREE_SET_SIZE)
			inode->next.shown.size_bytes = to->size_bytes;
		set_plain_attrs(&change, inode, which, to);
		err = change_commit(&change);
	}
	if (!err && cutting)
		page_editor_committed(&editor);
	if (!err)
		*attr_out = inode->next.shown;
	if (cutting)
		page_editor_end(&editor);
	change_end(&change);
	return err;
}
