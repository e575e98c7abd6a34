/*
 * Tree, names: create, link, unlink, rename. Each is one batch.
 *
 * Inodes are locked in ascending order, but which inodes a name leads to is
 * known only after a look at its directory. So the name is looked up first,
 * then everything is locked, then the name must still lead where it did;
 * otherwise all starts over.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "change.h"
#include "names.h"
#include "store_internal.h"
#include "tree_acl.h"

#define PERMISSION_BITS 07777u

static int check_live_dir(const struct change_inode *dir)
{
	if (!S_ISDIR(dir->next.shown.mode))
		return -ENOTDIR;
	return dir->next.shown.nlink ? 0 : -ENOENT;
}

/* The new name must be free. */
static int check_free(struct change *change, uint64_t dir, const char *name)
{
	struct name_entry entry;
	int err = change_name_find(change, dir, name, &entry);

	if (err == 0)
		return -EEXIST;
	return err == -ENOENT ? 0 : err;
}

/* Owner and mode, with what the directory's set-group-id bit hands down. */
static void set_new_attr(struct change_inode *inode, const struct change_inode *dir,
			 const struct tree_new *what)
{
	struct tree_attr *shown = &inode->next.shown;

	shown->mode = what->mode & (S_IFMT | PERMISSION_BITS);
	shown->uid = what->uid;
	shown->gid = what->gid;
	shown->rdev = what->rdev;
	if (dir->next.shown.mode & S_ISGID) {
		shown->gid = dir->next.shown.gid;
		if (S_ISDIR(shown->mode))
			shown->mode |= S_ISGID;
	}
	if (S_ISDIR(shown->mode))
		shown->parent_ino = dir->next.shown.ino;
	if (S_ISREG(shown->mode))
		inode->next.flags = ATTR_MAPPED;
	if (S_ISLNK(shown->mode))
		shown->page_count = TREE_PAGES_UNKNOWN;
}

/* Add the target as the file's first page. */
static int add_target(struct change *change, struct change_inode *inode, const char *target)
{
	size_t length = strlen(target), page = change->store->page_size_bytes;

	for (size_t at = 0; at < length; at += page) {
		struct batch_entry *entry = change_entry(change);

		if (!entry)
			return -ENOMEM;
		entry->key = key_make(inode->next.shown.ino, KEY_PAGE, at / page);
		entry->form = VERSION_IMAGE;
		entry->body = target + at;
		entry->body_bytes = (uint32_t)(length - at < page ? length - at : page);
	}
	inode->next.shown.size_bytes = length;
	inode->next.block_end = (length + page - 1) / page;
	return 0;
}

/* The new inode, whole, and the attributes it inherits. @editor and @heritage are ended after the commit. */
static int make_inode(struct change *change, uint64_t dir, const struct tree_new *what, const char *target,
		      struct xattr_editor *editor, struct acl_heritage *heritage)
{
	struct change_inode *parent = change_inode(change, dir);
	struct change_inode *inode = editor->inode;
	int err = 0;

	set_new_attr(inode, parent, what);
	if (target)
		err = add_target(change, inode, target);
	if (!err)
		err = tree_acl_inherit(editor, parent, what->umask, heritage);
	return err ? err : xattr_editor_finish(editor);
}

/* @name NULL: the inode has none. The directory is locked, and lives. */
static int create_in(struct change *change, uint64_t dir, const char *name, const struct tree_new *what,
		     const char *target, struct tree_attr *attr_out)
{
	struct change_inode *inode = change_new_inode(change, atomic_fetch_add(&change->store->ino_next, 1));
	struct acl_heritage heritage = { NULL, NULL, 0 };
	struct xattr_editor editor;
	int err = xattr_editor_begin(&editor, change, inode);

	if (err)
		return err;
	err = make_inode(change, dir, what, target, &editor, &heritage);
	if (!err && name)
		err = change_name_add(change, dir, name, inode->next.shown.ino, what->mode & S_IFMT);
	if (!name) {
		inode->next.shown.nlink = 0;
		inode->next.flags |= ATTR_UNNAMED;
	}
	if (!err)
		err = change_commit(change);
	if (!err)
		*attr_out = inode->next.shown;
	acl_heritage_free(&heritage);
	xattr_editor_end(&editor);
	return err;
}

static int create(struct store *store, uint64_t dir, const char *name, const struct tree_new *what,
		  const char *target, struct tree_attr *attr_out)
{
	struct change change;
	int err = name ? name_check(name) : 0;

	if (!err)
		err = change_begin(&change, store, &dir, 1);
	if (err)
		return err;
	err = check_live_dir(change_inode(&change, dir));
	if (!err && name)
		err = check_free(&change, dir, name);
	if (!err)
		err = create_in(&change, dir, name, what, target, attr_out);
	change_end(&change);
	return err;
}

int tree_create(struct store *store, uint64_t dir, const char *name, const struct tree_new *what,
		struct tree_attr *attr_out)
{
	if (S_ISLNK(what->mode) || !(what->mode & S_IFMT))
		return -EINVAL;
	return create(store, dir, name, what, NULL, attr_out);
}

int tree_create_unnamed(struct store *store, uint64_t dir, const struct tree_new *what,
			struct tree_attr *attr_out)
{
	return S_ISREG(what->mode) ? create(store, dir, NULL, what, NULL, attr_out) : -EINVAL;
}

int tree_symlink(struct store *store, uint64_t dir, const char *name, const char *target,
		 const struct tree_new *what, struct tree_attr *attr_out)
{
	struct tree_new link = *what;

	if (!*target)
		return -ENOENT;
	if (strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	link.mode = S_IFLNK | 0777;
	return create(store, dir, name, &link, target, attr_out);
}

int tree_make_root(struct store *store, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct change change;
	struct change_inode *root;
	int err = change_begin(&change, store, NULL, 0);

	if (err)
		return err;
	root = change_new_inode(&change, TREE_ROOT_INO);
	root->next.shown.mode = S_IFDIR | (mode & PERMISSION_BITS);
	root->next.shown.uid = uid;
	root->next.shown.gid = gid;
	root->next.shown.parent_ino = TREE_ROOT_INO;
	err = change_commit(&change);
	change_end(&change);
	return err;
}

int tree_link(struct store *store, uint64_t ino, uint64_t dir, const char *name,
	      struct tree_attr *attr_out)
{
	uint64_t inos[] = { ino, dir };
	struct change_inode *inode;
	struct change change;
	int err = name_check(name);

	if (!err)
		err = change_begin(&change, store, inos, 2);
	if (err)
		return err;
	inode = change_inode(&change, ino);
	err = check_live_dir(change_inode(&change, dir));
	if (!err && S_ISDIR(inode->next.shown.mode))
		err = -EPERM;
	if (!err && inode->next.shown.nlink == 0 && !(inode->next.flags & ATTR_UNNAMED))
		err = -ENOENT;
	if (!err && inode->next.shown.nlink >= TREE_LINK_MAX)
		err = -EMLINK;
	if (!err)
		err = check_free(&change, dir, name);
	if (!err)
		err = change_name_add(&change, dir, name, ino, inode->next.shown.mode & S_IFMT);
	if (!err) {
		inode->next.shown.nlink++;
		inode->next.flags &= ~ATTR_UNNAMED;
		change_touch(&change, inode, false);
		err = change_commit(&change);
	}
	if (!err && inode->next.shown.nlink == 1)
		orphans_remove(&store->orphans, ino);
	if (!err)
		*attr_out = inode->next.shown;
	change_end(&change);
	return err;
}

/* Where a name leads at head, without locking. -ENOENT; -ENOTDIR; -errno. */
static int peek_name(struct store *store, uint64_t dir, const char *name, uint64_t *ino_out)
{
	struct tree_attr attr;
	int err = name_check(name);

	if (!err)
		err = tree_lookup(store, dir, name, LSN_HEAD, &attr);
	*ino_out = err ? 0 : attr.ino;
	return err;
}

/* 0: the name still leads to @ino (0: to nothing); -EAGAIN: it does not; -errno. */
static int check_still(struct change *change, uint64_t dir, const char *name, uint64_t ino)
{
	struct name_entry entry;
	int err = change_name_find(change, dir, name, &entry);

	if (err == -ENOENT)
		return ino ? -EAGAIN : 0;
	if (err)
		return err;
	return entry.ino == ino ? 0 : -EAGAIN;
}

/* One name of the inode goes. */
static void drop_link(struct change *change, struct change_inode *inode)
{
	inode->next.shown.nlink--;
	change_touch(change, inode, false);
}

static int unlink_once(struct store *store, uint64_t dir, const char *name, bool directory)
{
	uint64_t inos[2] = { dir };
	struct change_inode *inode;
	struct change change;
	int err = peek_name(store, dir, name, &inos[1]);

	if (!err)
		err = change_begin(&change, store, inos, 2);
	if (err)
		return err;
	inode = change_inode(&change, inos[1]);
	err = check_live_dir(change_inode(&change, dir));
	if (!err)
		err = check_still(&change, dir, name, inos[1]);
	if (!err && directory && !S_ISDIR(inode->next.shown.mode))
		err = -ENOTDIR;
	if (!err && !directory && S_ISDIR(inode->next.shown.mode))
		err = -EISDIR;
	if (!err && directory && inode->next.shown.size_bytes)
		err = -ENOTEMPTY;
	if (!err)
		err = change_name_remove(&change, dir, name);
	if (!err) {
		drop_link(&change, inode);
		err = change_commit(&change);
	}
	change_end(&change);
	return err;
}

void tree_forget(struct store *store, uint64_t ino)
{
	orphans_remove(&store->orphans, ino);
}

int tree_unlink(struct store *store, uint64_t dir, const char *name)
{
	int err;

	do {
		err = unlink_once(store, dir, name, false);
	} while (err == -EAGAIN);
	return err;
}

int tree_rmdir(struct store *store, uint64_t dir, const char *name)
{
	int err;

	do {
		err = unlink_once(store, dir, name, true);
	} while (err == -EAGAIN);
	return err;
}

/* ---- rename ---- */

/* A rename whose inodes are locked. Target is NULL if the new name is free. */
struct rename {
	struct change *change;
	uint64_t dir, new_dir;
	const char *name, *new_name;
	struct change_inode *source, *target;
	unsigned flags;
};

/* -EINVAL if @ino is @dir or above it; -EUCLEAN if the way up goes round in a circle. The caller holds
 * rename_lock, so that no directory moves while it is walked. */
static int check_not_above(struct store *store, uint64_t ino, uint64_t dir)
{
	uint64_t mark = dir, steps = 0, mark_steps = 1;
	struct tree_attr attr;
	int err;

	while (dir != TREE_ROOT_INO) {
		if (dir == ino)
			return -EINVAL;
		err = tree_getattr(store, dir, LSN_HEAD, &attr);
		if (err)
			return err;
		dir = attr.parent_ino;
		if (dir == mark)
			return -EUCLEAN;
		/* Further and further on: a circle comes back to one that lies in it. (Brent) */
		if (++steps == mark_steps) {
			mark = dir;
			mark_steps *= 2;
			steps = 0;
		}
	}
	return dir == ino ? -EINVAL : 0;
}

static int check_target(const struct rename *rename)
{
	bool source_is_dir = S_ISDIR(rename->source->next.shown.mode);
	bool target_is_dir;

	if (!rename->target)
		return rename->flags & TREE_RENAME_EXCHANGE ? -ENOENT : 0;
	if (rename->flags & TREE_RENAME_NOREPLACE)
		return -EEXIST;
	/* A full directory may take its own name, too. */
	if (rename->flags & TREE_RENAME_EXCHANGE || rename->target == rename->source)
		return 0;
	target_is_dir = S_ISDIR(rename->target->next.shown.mode);
	if (source_is_dir && !target_is_dir)
		return -ENOTDIR;
	if (!source_is_dir && target_is_dir)
		return -EISDIR;
	if (target_is_dir && rename->target->next.shown.size_bytes)
		return -ENOTEMPTY;
	return 0;
}

static void move_parent(struct rename *rename, struct change_inode *inode, uint64_t dir)
{
	if (S_ISDIR(inode->next.shown.mode))
		inode->next.shown.parent_ino = dir;
	change_touch(rename->change, inode, false);
}

static int rename_names(struct rename *rename)
{
	struct change *change = rename->change;
	uint32_t source_type = rename->source->next.shown.mode & S_IFMT;
	int err = change_name_remove(change, rename->dir, rename->name);

	if (!err && rename->target)
		err = change_name_remove(change, rename->new_dir, rename->new_name);
	if (!err)
		err = change_name_add(change, rename->new_dir, rename->new_name,
				      rename->source->next.shown.ino, source_type);
	if (!err && rename->flags & TREE_RENAME_EXCHANGE)
		err = change_name_add(change, rename->dir, rename->name,
				      rename->target->next.shown.ino,
				      rename->target->next.shown.mode & S_IFMT);
	return err;
}

static int rename_locked(struct rename *rename)
{
	int err = check_target(rename);

	/* Two names of one file: nothing to do, says POSIX. */
	if (err || rename->source == rename->target)
		return err;
	err = rename_names(rename);
	if (err)
		return err;
	move_parent(rename, rename->source, rename->new_dir);
	if (rename->target && rename->flags & TREE_RENAME_EXCHANGE)
		move_parent(rename, rename->target, rename->dir);
	else if (rename->target)
		drop_link(rename->change, rename->target);
	return change_commit(rename->change);
}

static int rename_once(struct store *store, struct rename *rename)
{
	uint64_t inos[4] = { rename->dir, rename->new_dir };
	struct change change;
	uint32_t count = 3;
	int err = peek_name(store, rename->dir, rename->name, &inos[2]);

	if (err)
		return err;
	err = peek_name(store, rename->new_dir, rename->new_name, &inos[3]);
	if (err && err != -ENOENT)
		return err;
	/* The directory of the new name may not lie in what is moved, nor the
	 * other way round: then the target is no empty directory. */
	err = check_not_above(store, inos[2], rename->new_dir);
	if (!err && inos[3])
		err = check_not_above(store, inos[3], rename->dir);
	if (err == -EINVAL && inos[3] && !(rename->flags & TREE_RENAME_EXCHANGE) &&
	    check_not_above(store, inos[2], rename->new_dir) == 0)
		err = -ENOTEMPTY;
	if (err)
		return err;
	if (inos[3])
		count = 4;
	err = change_begin(&change, store, inos, count);
	if (err)
		return err;
	rename->change = &change;
	rename->source = change_inode(&change, inos[2]);
	rename->target = inos[3] ? change_inode(&change, inos[3]) : NULL;
	err = check_live_dir(change_inode(&change, rename->dir));
	if (!err)
		err = check_live_dir(change_inode(&change, rename->new_dir));
	if (!err)
		err = check_still(&change, rename->dir, rename->name, inos[2]);
	if (!err)
		err = check_still(&change, rename->new_dir, rename->new_name, inos[3]);
	if (!err)
		err = rename_locked(rename);
	change_end(&change);
	return err;
}

int tree_rename(struct store *store, uint64_t dir, const char *name, uint64_t new_dir,
		const char *new_name, unsigned flags)
{
	struct rename rename = { NULL, dir, new_dir, name, new_name, NULL, NULL, flags };
	unsigned both = TREE_RENAME_NOREPLACE | TREE_RENAME_EXCHANGE;
	int err;

	if (flags & ~both || (flags & both) == both)
		return -EINVAL;
	pthread_mutex_lock(&store->rename_lock);
	do {
		err = rename_once(store, &rename);
	} while (err == -EAGAIN);
	pthread_mutex_unlock(&store->rename_lock);
	return err;
}
