/*
 * Xattr editor: extended attributes of one inode, as a change makes them.
 *
 * It lives within one change, whose inode is locked or new. What it is given to put is borrowed until
 * the commit. Each name may be put or dropped once: no key may be in a batch twice.
 */
#ifndef VARVE_STORE_XATTR_EDITOR_H
#define VARVE_STORE_XATTR_EDITOR_H

#include <stdbool.h>

#include "change.h"
#include "layer_map.h"
#include "xattr_list.h"

struct xattr_editor {
	struct change *change;
	struct change_inode *inode;
	struct layer_guard guard;
	struct lsn newest;
	struct xattr_list list;
	bool edited;                    /* the list, or a value */
	bool list_edited;
};

/* 0; -errno: nothing is held. */
int xattr_editor_begin(struct xattr_editor *editor, struct change *change,
		       struct change_inode *inode);
void xattr_editor_end(struct xattr_editor *editor);     /* after the commit */

/* The value as it is before the change, to be freed. -ENODATA; -ENOMEM; -errno. */
int xattr_editor_value(const struct xattr_editor *editor, const char *name, uint8_t **value_out,
		       size_t *size_out);

/* Set it; nothing is edited if that is its value. @flags: TREE_XATTR_CREATE, TREE_XATTR_REPLACE.
 * -EEXIST; -ENODATA; -ENOSPC; -ENOMEM. */
int xattr_editor_put(struct xattr_editor *editor, const char *name, const void *value,
		     size_t size_bytes, unsigned flags);
/* Remove it. -ENODATA; -ENOMEM. */
int xattr_editor_drop(struct xattr_editor *editor, const char *name);

/* Add what was edited to the change; last before the commit. -ENOMEM. */
int xattr_editor_finish(struct xattr_editor *editor);

#endif
