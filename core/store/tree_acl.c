#include "tree_acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "acl.h"
#include "store_internal.h"

bool tree_acl_is_name(const char *name)
{
	return strcmp(name, ACL_ACCESS_NAME) == 0 || strcmp(name, ACL_DEFAULT_NAME) == 0;
}

/* One that is not there is gone already. */
static int drop_list(struct xattr_editor *editor, const char *name)
{
	int err = xattr_editor_drop(editor, name);

	return err == -ENODATA ? 0 : err;
}

static int set_access(struct xattr_editor *editor, const void *value, size_t size_bytes,
		      unsigned flags)
{
	struct tree_attr *shown = &editor->inode->next.shown;

	if (flags & TREE_XATTR_DROP_SGID)
		shown->mode &= ~(uint32_t)S_ISGID;
	if (acl_to_mode(value, size_bytes, &shown->mode))
		return drop_list(editor, ACL_ACCESS_NAME);
	return xattr_editor_put(editor, ACL_ACCESS_NAME, value, size_bytes, 0);
}

int tree_acl_set(struct xattr_editor *editor, const char *name, const void *value, size_t size_bytes,
		 unsigned flags)
{
	bool access = strcmp(name, ACL_ACCESS_NAME) == 0;
	uint32_t mode = editor->inode->next.shown.mode;
	int err;

	if (S_ISLNK(mode))
		return -EOPNOTSUPP;
	if (acl_is_empty(size_bytes))
		return drop_list(editor, name);
	if (!access && !S_ISDIR(mode))
		return -EACCES;
	err = acl_check(value, size_bytes);
	if (err)
		return err;
	return access ? set_access(editor, value, size_bytes, flags)
		      : xattr_editor_put(editor, name, value, size_bytes, 0);
}

/* A list of an inode, to be freed; NULL: it has none. */
static int load_list(const struct layer_guard *guard, uint64_t ino, struct lsn lsn, const char *name,
		     uint8_t **bytes_out, size_t *size_out)
{
	int err = xattr_load(guard, ino, lsn, name, bytes_out, size_out);

	if (err)
		return err == -ENODATA ? 0 : err;
	if (acl_check(*bytes_out, *size_out) == 0)
		return 0;
	free(*bytes_out);
	*bytes_out = NULL;
	return -EUCLEAN;
}

int tree_acl_follow_mode(struct xattr_editor *editor, uint8_t **list_out)
{
	const struct tree_attr *shown = &editor->inode->next.shown;
	size_t size;
	int err = load_list(&editor->guard, shown->ino, editor->newest, ACL_ACCESS_NAME, list_out, &size);

	if (err || !*list_out)
		return err;
	acl_take_mode(*list_out, size, shown->mode);
	return xattr_editor_put(editor, ACL_ACCESS_NAME, *list_out, size, 0);
}

/* The access list is the default one, less what the mode does not allow. */
static int make_access_list(struct xattr_editor *editor, struct acl_heritage *heritage)
{
	struct tree_attr *shown = &editor->inode->next.shown;

	heritage->access_list = malloc(heritage->size_bytes);
	if (!heritage->access_list)
		return -ENOMEM;
	memcpy(heritage->access_list, heritage->default_list, heritage->size_bytes);
	if (acl_inherit(heritage->access_list, heritage->size_bytes, &shown->mode))
		return 0;
	return xattr_editor_put(editor, ACL_ACCESS_NAME, heritage->access_list, heritage->size_bytes, 0);
}

int tree_acl_inherit(struct xattr_editor *editor, const struct change_inode *dir, uint32_t umask,
		     struct acl_heritage *heritage_out)
{
	struct tree_attr *shown = &editor->inode->next.shown;
	int err = 0;

	*heritage_out = (struct acl_heritage){ NULL, NULL, 0 };
	if (S_ISLNK(shown->mode))
		return 0;
	if (dir->next.flags & ATTR_HAS_XATTRS)
		err = load_list(&editor->guard, dir->next.shown.ino, editor->newest, ACL_DEFAULT_NAME,
				&heritage_out->default_list, &heritage_out->size_bytes);
	if (err)
		return err;
	if (!heritage_out->default_list) {
		shown->mode &= ~(umask & 0777);
		return 0;
	}
	err = make_access_list(editor, heritage_out);
	if (!err && S_ISDIR(shown->mode))
		err = xattr_editor_put(editor, ACL_DEFAULT_NAME, heritage_out->default_list,
				       heritage_out->size_bytes, 0);
	return err;
}

void acl_heritage_free(struct acl_heritage *heritage)
{
	free(heritage->default_list);
	free(heritage->access_list);
}
