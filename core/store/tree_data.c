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
#include "tree_acl.h"

void tree_drop_set_id(struct tree_attr *shown)
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

int tree_commit_unprivileged(struct change *change, struct change_inode *inode, bool drop_set_id)
{
	struct xattr_editor xattrs;
	int err;

	if (drop_set_id)
		tree_drop_set_id(&inode->next.shown);
	if (!(inode->next.flags & ATTR_HAS_XATTRS))
		return change_commit(change);
	err = xattr_editor_begin(&xattrs, change, inode);
	if (err)
		return err;
	err = drop_capability(&xattrs);
	if (!err)
		err = xattr_editor_finish(&xattrs);
	if (!err)
		err = change_commit(change);
	xattr_editor_end(&xattrs);
	return err;
}

/* What a write takes of a file's privileges. */
enum write_drops { DROPS_NOTHING, DROPS_CAPABILITY, DROPS_SET_ID_TOO };

static int write_pages(struct page_editor *editor, uint64_t offset_bytes, const void *buffer, size_t size_bytes,
		       enum write_drops drops)
{
	struct change_inode *inode = editor->inode;
	size_t page = editor->change->store->page_size_bytes;
	uint64_t end = offset_bytes + size_bytes;
	int err = page_editor_put(editor, offset_bytes, buffer, size_bytes);

	if (err)
		return err;
	if (end > inode->next.shown.size_bytes)
		inode->next.shown.size_bytes = end;
	if ((end + page - 1) / page > inode->next.block_end)
		inode->next.block_end = (end + page - 1) / page;
	change_touch(editor->change, inode, true);
	err = page_editor_finish(editor);
	if (err)
		return err;
	err = drops == DROPS_NOTHING
		      ? change_commit(editor->change)
		      : tree_commit_unprivileged(editor->change, inode, drops == DROPS_SET_ID_TOO);
	if (!err)
		page_editor_committed(editor);
	return err;
}

static int write_and_drop(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
			  size_t size_bytes, enum write_drops drops)
{
	struct page_editor editor;
	struct change_inode *inode;
	struct change change;
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
	if (!err && size_bytes) {
		err = page_editor_begin(&editor, &change, inode);
		if (!err) {
			err = write_pages(&editor, offset_bytes, buffer, size_bytes, drops);
			page_editor_end(&editor);
		}
	}
	change_end(&change);
	return err;
}

int tree_write(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
	       size_t size_bytes, bool drop_set_id)
{
	return write_and_drop(store, ino, offset_bytes, buffer, size_bytes,
			      drop_set_id ? DROPS_SET_ID_TOO : DROPS_CAPABILITY);
}

int tree_write_mapped(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *buffer,
		      size_t size_bytes)
{
	return write_and_drop(store, ino, offset_bytes, buffer, size_bytes, DROPS_NOTHING);
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
	int err = page_editor_begin(&editor, change, inode);

	if (err)
		return err;
	err = cut(&editor, to->size_bytes);
	if (!err)
		err = page_editor_finish(&editor);
	if (!err) {
		inode->next.shown.size_bytes = to->size_bytes;
		err = commit_attrs(change, inode, which, to);
	}
	if (!err)
		page_editor_committed(&editor);
	page_editor_end(&editor);
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
