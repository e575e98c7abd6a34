/*
 * Tree, access control lists: what they and the modes of inodes do to one another, within a change.
 */
#ifndef VARVE_STORE_TREE_ACL_H
#define VARVE_STORE_TREE_ACL_H

#include "xattr_editor.h"

bool tree_acl_is_name(const char *name);

/* Set or, with an empty value, remove one of the two lists of the editor's inode. An access list sets
 * the mode's permissions, and is not kept if those say all; a default one is a directory's. @flags:
 * TREE_XATTR_DROP_SGID. -EINVAL: no list; -EOPNOTSUPP: a symlink's; -EACCES: a default list of a
 * file; else as xattr_editor_put. */
int tree_acl_set(struct xattr_editor *editor, const char *name, const void *value, size_t size_bytes,
		 unsigned flags);

/* The access list follows a chmod. *@list_out, which may be NULL, is to be freed after the commit. */
int tree_acl_follow_mode(struct xattr_editor *editor, uint8_t **list_out);

/* What something new gets from the directory it is made in. */
struct acl_heritage {
	uint8_t *default_list, *access_list;    /* owned, until the commit; NULL: none */
	size_t size_bytes;                      /* of each */
};

/* Take the permissions of @umask from a new inode's mode, or, in a directory with a default list, what that
 * does not allow; and set its lists. -errno. */
int tree_acl_inherit(struct xattr_editor *editor, const struct change_inode *dir, uint32_t umask,
		     struct acl_heritage *heritage_out);
void acl_heritage_free(struct acl_heritage *heritage);

#endif
