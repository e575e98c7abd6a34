#include "ops_xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "front.h"
#include "scratch.h"
#include "store.h"
#include "tree.h"
#include "view.h"
#include "wire.h"

#define TRUSTED "trusted."

static bool begins(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Names of the tree, as on other file systems. 0; 1: it is varve's own, or would be; -EOPNOTSUPP;
 * -EINVAL: nothing behind the dot. */
static int name_class(const char *name)
{
	static const char *const prefixes[] = {"user.", TRUSTED, "security."};

	if (strcmp(name, "system.posix_acl_access") == 0 || strcmp(name, "system.posix_acl_default") == 0)
		return 0;
	if (begins(name, "varve."))
		return 1;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (begins(name, prefixes[i]))
			return name[strlen(prefixes[i])] ? 0 : -EINVAL;
	}
	return -EOPNOTSUPP;
}

/* The value of one of varve's attributes in @value_out, or its length. -ENODATA: no such. */
static int own_value(struct front *front, fuse_ino_t id, const char *name, char *value_out,
		     size_t size_bytes)
{
	struct view_node node;
	struct lsn changed;
	int err;

	err = view_node(front->view, id, &node);
	if (err)
		return err;
	if (strcmp(name, "varve.store") == 0)
		return snprintf(value_out, size_bytes, "%s", store_path(front->store));
	if (strcmp(name, "varve.inode") == 0 && node.ino)
		return snprintf(value_out, size_bytes, "%" PRIu64, node.ino);
	if (strcmp(name, "varve.lsn") == 0) {
		err = view_changed(front->view, id, &changed);
		return err ? err : snprintf(value_out, size_bytes, "%" PRIu64, changed.value);
	}
	return -ENODATA;
}

/* Bytes, or how many there are if the caller asks for that. */
static void reply_bytes(fuse_req_t req, const char *bytes, size_t length, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, length);
	else
		fuse_reply_buf(req, bytes, length);
}

static void get_own(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	char value[PATH_MAX];
	int length = own_value(front_of(req), id, name, value, sizeof(value));

	if (length >= 0 && size && size < (size_t)length)
		length = -ERANGE;
	if (length < 0)
		reply_error(req, id, length);
	else
		reply_bytes(req, value, (size_t)length, size);
}

static void get_of_tree(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	struct front *front = front_of(req);
	char *value = scratch_get();
	struct view_node node;
	size_t length = 0;
	int err;

	err = value ? view_node(front->view, id, &node) : -ENOMEM;
	if (!err && !node.ino)
		err = -ENODATA;
	if (!err)
		err = tree_getxattr(front->store, node.ino, node.at, name, value,
				    size < TREE_XATTR_VALUE_MAX ? size : TREE_XATTR_VALUE_MAX, &length);
	if (err)
		reply_error(req, id, err);
	else
		reply_bytes(req, value, length, size);
}

void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	int class = name_class(name);

	if (class < 0)
		reply_error(req, id, class);
	else if (class)
		get_own(req, id, name, size);
	else
		get_of_tree(req, id, name, size);
}

/* Without trusted.*, which are root's alone. Returns what is left. */
static size_t without_trusted(char *names, size_t length)
{
	size_t kept = 0;

	for (size_t at = 0, next; at < length; at = next) {
		next = at + strlen(names + at) + 1;
		if (begins(names + at, TRUSTED))
			continue;
		memmove(names + kept, names + at, next - at);
		kept += next - at;
	}
	return kept;
}

/* varve's own are not listed, or cp -a and rsync -X would copy them. */
void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	struct front *front = front_of(req);
	char *names = scratch_get();
	struct view_node node;
	size_t length = 0;
	int err;

	err = names ? view_node(front->view, id, &node) : -ENOMEM;
	if (!err && node.ino)
		err = tree_listxattr(front->store, node.ino, node.at, names, TREE_XATTR_LIST_MAX, &length);
	if (!err && fuse_req_ctx(req)->uid != 0)
		length = without_trusted(names, length);
	if (!err && size && size < length)
		err = -ERANGE;
	if (err)
		reply_error(req, id, err);
	else
		reply_bytes(req, names, length, size);
}

/* May @name of @id be changed? */
static int check_change(fuse_ino_t id, const char *name)
{
	int class = name_class(name);

	if (class)
		return class < 0 ? class : -EOPNOTSUPP;
	return view_writable(id);
}

void op_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value, size_t size,
		 int flags)
{
	unsigned tree_flags = wire_drops_set_id() ? TREE_XATTR_DROP_SGID : 0;
	int err = check_change(id, name);

	if (flags & XATTR_CREATE)
		tree_flags |= TREE_XATTR_CREATE;
	if (flags & XATTR_REPLACE)
		tree_flags |= TREE_XATTR_REPLACE;
	if (!err)
		err = tree_setxattr(front_of(req)->store, id, name, value, size, tree_flags);
	reply_error(req, id, err);
}

void op_removexattr(fuse_req_t req, fuse_ino_t id, const char *name)
{
	int err = check_change(id, name);

	if (!err)
		err = tree_removexattr(front_of(req)->store, id, name);
	reply_error(req, id, err);
}
