/*
 * Tree, space: reserve, punch, copy. Each is one batch.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "change.h"
#include "page_editor.h"
#include "store_internal.h"

static int check_range(const struct change_inode *inode, uint64_t offset_bytes, uint64_t size_bytes)
{
	if (S_ISDIR(inode->next.shown.mode))
		return -EISDIR;
	if (!S_ISREG(inode->next.shown.mode) || !size_bytes)
		return -EINVAL;
	return offset_bytes > TREE_SIZE_MAX || size_bytes > TREE_SIZE_MAX - offset_bytes ? -EFBIG : 0;
}

static void grow(struct change_inode *inode, uint64_t size_bytes)
{
	if (size_bytes > inode->next.shown.size_bytes)
		inode->next.shown.size_bytes = size_bytes;
}

int tree_reserve(struct store *store, uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes,
		 bool keep_size, bool drop_set_id)
{
	struct change_inode *inode;
	struct change change;
	int err = change_begin(&change, store, &ino, 1);

	if (err)
		return err;
	inode = change_inode(&change, ino);
	err = check_range(inode, offset_bytes, size_bytes);
	if (!err) {
		if (!keep_size)
			grow(inode, offset_bytes + size_bytes);
		change_touch(&change, inode, true);
		err = tree_commit_unprivileged(&change, inode, drop_set_id);
	}
	change_end(&change);
	return err;
}

/* Zeros in the pages that [@from, @to) shares with others, no page in between. */
static int punch(struct page_editor *editor, uint64_t from, uint64_t to)
{
	size_t page = editor->change->store->page_size_bytes;
	uint64_t first = from / page + (from % page != 0), end = to / page;
	int err = 0;

	/* Behind the file's end there are zeros, and no page. */
	if (from >= editor->inode->next.shown.size_bytes)
		return 0;
	if (to >= editor->inode->next.shown.size_bytes)
		end = UINT64_MAX;
	if (first > end)
		return page_editor_put(editor, from, NULL, to - from);
	if (from % page)
		err = page_editor_put(editor, from, NULL, page - from % page);
	if (!err && first < end)
		err = page_editor_drop(editor, first, end);
	if (!err && end != UINT64_MAX && to % page)
		err = page_editor_put(editor, end * page, NULL, to % page);
	return err;
}

int tree_punch(struct store *store, uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes,
	       bool keep_size, bool drop_set_id)
{
	struct page_editor editor;
	struct change_inode *inode;
	struct change change;
	int err = change_begin(&change, store, &ino, 1);

	if (err)
		return err;
	inode = change_inode(&change, ino);
	err = check_range(inode, offset_bytes, size_bytes);
	if (!err)
		err = page_editor_begin(&editor, &change, inode);
	if (err) {
		change_end(&change);
		return err;
	}
	err = punch(&editor, offset_bytes, offset_bytes + size_bytes);
	if (!err) {
		if (!keep_size)
			grow(inode, offset_bytes + size_bytes);
		change_touch(&change, inode, true);
		err = page_editor_finish(&editor);
	}
	if (!err)
		err = tree_commit_unprivileged(&change, inode, drop_set_id);
	if (!err)
		page_editor_committed(&editor);
	page_editor_end(&editor);
	change_end(&change);
	return err;
}

/* What is copied at once. */
struct stretch {
	struct store *store;
	uint64_t from_ino, from_bytes;
	struct lsn from_at;
	uint64_t ino, offset_bytes;
	uint64_t size_bytes;
	bool drop_set_id;
};

static int copy_data(const struct stretch *stretch, uint64_t *count_out)
{
	size_t size = stretch->size_bytes < TREE_WRITE_MAX ? (size_t)stretch->size_bytes : TREE_WRITE_MAX;
	void *bytes = malloc(size);
	size_t count = 0;
	int err;

	if (!bytes)
		return -ENOMEM;
	err = tree_read(stretch->store, stretch->from_ino, stretch->from_at, stretch->from_bytes, bytes,
			size, &count);
	if (!err && count)
		err = tree_write(stretch->store, stretch->ino, stretch->offset_bytes, bytes, count,
				 stretch->drop_set_id);
	free(bytes);
	*count_out = err ? 0 : count;
	return err;
}

/* How much of the source, from where the stretch begins, is one hole; 0: it begins with data. */
static int hole_bytes(const struct stretch *stretch, uint64_t *bytes_out)
{
	uint64_t data, size;
	int err = tree_seek_sized(stretch->store, stretch->from_ino, stretch->from_at,
				  stretch->from_bytes, false, &data, &size);

	*bytes_out = 0;
	if (err == -ENXIO) {
		/* None behind: up to the end there was then it is a hole, if it does not end before. */
		data = size > stretch->from_bytes ? size : stretch->from_bytes;
		err = 0;
	}
	if (!err)
		*bytes_out = data - stretch->from_bytes;
	return err;
}

int tree_copy(struct store *store, uint64_t from_ino, struct lsn from_at, uint64_t from_bytes,
	      uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes, bool drop_set_id,
	      uint64_t *count_out)
{
	struct stretch stretch = { store, from_ino, from_bytes, from_at, ino, offset_bytes, size_bytes,
				   drop_set_id };
	uint64_t apart = from_bytes > offset_bytes ? from_bytes - offset_bytes : offset_bytes - from_bytes;
	uint64_t hole;
	int err;

	*count_out = 0;
	if (from_bytes > TREE_SIZE_MAX || offset_bytes > TREE_SIZE_MAX)
		return -EFBIG;
	if (from_ino == ino && lsn_is_head(from_at) && apart < size_bytes)
		return -EINVAL;
	err = hole_bytes(&stretch, &hole);
	if (err)
		return err;
	if (hole < stretch.size_bytes && hole)
		stretch.size_bytes = hole;
	if (!hole || !stretch.size_bytes)
		return copy_data(&stretch, count_out);
	err = tree_punch(store, ino, offset_bytes, stretch.size_bytes, false, drop_set_id);
	*count_out = err ? 0 : stretch.size_bytes;
	return err;
}
