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
#include "floors.h"
#include "page_editor.h"
#include "store_internal.h"
#include "tree_acl.h"

/* What a write takes of a file's privileges. */
#define DROP_SET_ID 1u
#define DROP_CAPABILITY 2u

/* Of a directory the bits say something else. */
static void drop_set_id(struct tree_attr *shown)
{
	if (S_ISDIR(shown->mode))
		return;
	shown->mode &= ~(uint32_t)S_ISUID;
	if (shown->mode & S_IXGRP)
		shown->mode &= ~(uint32_t)S_ISGID;
}

/* The capability of a file that is written to, or given away, goes. */
static int drop_capability(struct xattr_editor *editor)
{
	int err = xattr_editor_drop(editor, TREE_XATTR_CAPABILITY);

	return err == -ENODATA ? 0 : err;
}

/* Add to the change that of the attributes, and commit it. */
static int commit_write(struct page_editor *editor, uint64_t end)
{
	struct change_inode *inode = editor->inode;
	size_t page = editor->change->store->page_size_bytes;
	int err;

	if (end > inode->next.shown.size_bytes)
		inode->next.shown.size_bytes = end;
	if ((end + page - 1) / page > inode->next.block_end)
		inode->next.block_end = (end + page - 1) / page;
	change_touch(editor->change, inode, true);
	err = change_commit(editor->change);
	if (!err)
		page_editor_committed(editor);
	return err;
}

static int write_pages(struct change *change, struct change_inode *inode, uint64_t offset_bytes,
		       const void *buffer, size_t size_bytes)
{
	struct page_editor editor;
	int err = page_editor_begin(&editor, change, inode);

	if (err)
		return err;
	err = page_editor_put(&editor, offset_bytes, buffer, size_bytes);
	if (!err)
		err = commit_write(&editor, offset_bytes + size_bytes);
	page_editor_end(&editor);
	return err;
}

/* A write that takes privileges from a file with extended attributes. */
static int write_unprivileged(struct change *change, struct change_inode *inode, uint64_t offset_bytes,
			      const void *buffer, size_t size_bytes)
{
	struct xattr_editor xattrs;
	int err = xattr_editor_begin(&xattrs, change, inode);

	if (err)
		return err;
	err = drop_capability(&xattrs);
	if (!err)
		err = xattr_editor_finish(&xattrs);
	if (!err)
		err = write_pages(change, inode, offset_bytes, buffer, size_bytes);
	xattr_editor_end(&xattrs);
	return err;
}

static int write_locked(struct change *change, struct change_inode *inode, uint64_t offset_bytes,
			const void *buffer, size_t size_bytes, unsigned drops)
{
	if (S_ISDIR(inode->next.shown.mode))
		return -EISDIR;
	if (!S_ISREG(inode->next.shown.mode))
		return -EINVAL;
	if (!size_bytes)
		return 0;
	if (drops & DROP_SET_ID)
		drop_set_id(&inode->next.shown);
	return drops & DROP_CAPABILITY && inode->next.flags & ATTR_HAS_XATTRS
		       ? write_unprivileged(change, inode, offset_bytes, buffer, size_bytes)
		       : write_pages(change, inode, offset_bytes, buffer, size_bytes);
}

static int write_and_drop(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
			  size_t size_bytes, unsigned drops)
{
	struct change change;
	int err;

	if (size_bytes > TREE_WRITE_MAX)
		return -EINVAL;
	if (offset_bytes > TREE_SIZE_MAX || size_bytes > TREE_SIZE_MAX - offset_bytes)
		return -EFBIG;
	err = change_begin(&change, store, &ino, 1);
	if (err)
		return err;
	err = write_locked(&change, change_inode(&change, ino), offset_bytes, buffer, size_bytes, drops);
	change_end(&change);
	return err;
}

int tree_write(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
	       size_t size_bytes, bool drop_id)
{
	return write_and_drop(store, ino, offset_bytes, buffer, size_bytes,
			      DROP_CAPABILITY | (drop_id ? DROP_SET_ID : 0));
}

int tree_write_mapped(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
		      size_t size_bytes)
{
	return write_and_drop(store, ino, offset_bytes, buffer, size_bytes, 0);
}

/*
 * A cut of so few pages gives each a tombstone; only a larger one adds a floor.
 * So each floor stands for more page writes than this, and a log that grows and
 * is cut back for ever gathers none.
 */
#define CUT_TOMBSTONES_MAX 32u

static int cut_pages(struct page_editor *editor, uint64_t block)
{
	struct attr *next = &editor->inode->next;

	for (; block < next->block_end; block++) {
		struct batch_entry *entry;
		struct version before;
		int err = page_editor_find(editor, block, &before);

		if (err < 0)
			return err;
		if (err)
			continue;
		entry = change_entry(editor->change);
		if (!entry)
			return -ENOMEM;
		entry->key = key_make(next->shown.ino, KEY_PAGE, block);
		entry->form = VERSION_TOMBSTONE;
	}
	return 0;
}

/* @floor_bytes_out is freed after the commit. */
static int cut_by_floor(struct page_editor *editor, uint64_t block, uint8_t **floor_bytes_out)
{
	struct attr *next = &editor->inode->next;
	struct batch_entry *entry;
	int err = floors_cut(&editor->floors, block, editor->newest);

	*floor_bytes_out = malloc((size_t)editor->floors.count * FLOOR_BYTES + 1);
	entry = change_entry(editor->change);
	if (err || !*floor_bytes_out || !entry)
		return -ENOMEM;
	floors_encode(&editor->floors, *floor_bytes_out);
	entry->key = key_make(next->shown.ino, KEY_FLOOR, 0);
	entry->form = VERSION_IMAGE;
	entry->body = *floor_bytes_out;
	entry->body_bytes = editor->floors.count * FLOOR_BYTES;
	next->flags |= ATTR_HAS_FLOORS;
	return 0;
}

/* Everything from @size_bytes on is cut off. @floor_bytes_out is freed after the commit. */
static int cut(struct page_editor *editor, uint64_t size_bytes, uint8_t **floor_bytes_out)
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
	if (next->block_end - block <= CUT_TOMBSTONES_MAX)
		err = cut_pages(editor, block);
	else
		err = cut_by_floor(editor, block, floor_bytes_out);
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
		drop_set_id(shown);
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

/* What the change does to the extended attributes. *@list_out is freed after the commit. */
static int change_xattrs(struct xattr_editor *xattrs, unsigned which, uint8_t **list_out)
{
	uint32_t mode = xattrs->inode->next.shown.mode;
	int err = 0;

	if (which & TREE_SET_MODE)
		err = tree_acl_follow_mode(xattrs, list_out);
	if (!err && which & (TREE_SET_SIZE | TREE_SET_UID | TREE_SET_GID) && S_ISREG(mode))
		err = drop_capability(xattrs);
	return err ? err : xattr_editor_finish(xattrs);
}

/* The attributes that are not the data's, and the commit. */
static int commit_attrs(struct change *change, struct change_inode *inode, unsigned which,
			const struct tree_attr *to)
{
	struct xattr_editor xattrs;
	uint8_t *list = NULL;
	int err;

	set_plain_attrs(change, inode, which, to);
	if (!(inode->next.flags & ATTR_HAS_XATTRS))
		return change_commit(change);
	err = xattr_editor_begin(&xattrs, change, inode);
	if (err)
		return err;
	err = change_xattrs(&xattrs, which, &list);
	if (!err)
		err = change_commit(change);
	free(list);
	xattr_editor_end(&xattrs);
	return err;
}

/* The file becomes shorter. */
static int cut_and_commit(struct change *change, struct change_inode *inode, unsigned which,
			  const struct tree_attr *to)
{
	struct page_editor editor;
	uint8_t *floor_bytes = NULL;
	int err = page_editor_begin(&editor, change, inode);

	if (err)
		return err;
	err = cut(&editor, to->size_bytes, &floor_bytes);
	if (!err) {
		inode->next.shown.size_bytes = to->size_bytes;
		err = commit_attrs(change, inode, which, to);
	}
	if (!err)
		page_editor_committed(&editor);
	page_editor_end(&editor);
	free(floor_bytes);
	return err;
}

int tree_setattr(struct store *store, uint64_t ino, unsigned which, const struct tree_attr *to,
		 struct tree_attr *attr_out)
{
	struct change_inode *inode;
	struct change change;
	int err = change_begin(&change, store, &ino, 1);

	if (err)
		return err;
	inode = change_inode(&change, ino);
	err = check_setattr(inode, which, to);
	if (!err && which & TREE_SET_SIZE && to->size_bytes < inode->next.shown.size_bytes) {
		err = cut_and_commit(&change, inode, which, to);
	} else if (!err) {
		if (which & TREE_SET_SIZE)
			inode->next.shown.size_bytes = to->size_bytes;
		err = commit_attrs(&change, inode, which, to);
	}
	if (!err)
		*attr_out = inode->next.shown;
	change_end(&change);
	return err;
}
