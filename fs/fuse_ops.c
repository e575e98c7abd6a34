#include "fuse_ops.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "front.h"
#include "node.h"
#include "ops_space.h"
#include "ops_xattr.h"
#include "reply.h"
#include "scratch.h"
#include "state_files.h"
#include "store.h"
#include "tree.h"
#include "view.h"
#include "wire.h"

/* Thirty years: the kernel drops what it remembers for want of memory only. */
#define TIMEOUT_ENDLESS 1e9

#define READ_MAX (1u << 20)     /* the most the kernel asks for at once */

/* A directory listing needs no more at a time; it bounds the ids to give back. */
#define LISTING_MAX (128u << 10)

/* Requests the kernel may have under way of its own accord: read-ahead of
 * several streams (its default of 12 stalls them) and write-back of mappings. */
#define BACKGROUND_MAX 64

struct front *front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/*
 * Replies
 */

/* Damage is EIO to the caller; what the core logged with it names the bytes,
 * this line the file. */
static int damage_to_eio(fuse_ino_t id, int err)
{
	if (err != -EBADMSG && err != -EUCLEAN)
		return err;
	log_line("inode %" PRIu64
		 "%s: %s; the caller got an I/O error, other files and LSNs are untouched",
		 (uint64_t)id, id >> 63 ? " (in the past)" : "",
		 err == -EBADMSG ? "a checksum is wrong" : "its structure is impossible");
	return -EIO;
}

void reply_error(fuse_req_t req, fuse_ino_t id, int err)
{
	assert(err <= 0);
	fuse_reply_err(req, -damage_to_eio(id, err));
}

static double timeout_of(enum view_life life)
{
	return life == VIEW_LIFE_NONE ? 0 : TIMEOUT_ENDLESS;
}

/* Only now is it known how long a state file is. One that can't be made is empty, and opening it
 * says why. */
static void state_stat(fuse_req_t req, fuse_ino_t id, struct stat *stat)
{
	if (node_is_state(id))
		(void)state_file_stat(front_of(req), (enum state_file)(id - NODE_STATE), stat);
}

static struct fuse_entry_param entry_param(fuse_req_t req, const struct view_entry *entry)
{
	struct fuse_entry_param param = {
		.ino = entry->id,
		.attr = entry->stat,
		.attr_timeout = timeout_of(entry->life),
		.entry_timeout = timeout_of(entry->life),
	};

	state_stat(req, entry->id, &param.attr);
	return param;
}

/* Tell the kernel of an entry. If it no longer wants to hear, the entry doesn't
 * count as told. */
static void reply_entry(fuse_req_t req, const struct view_entry *entry)
{
	struct view *view = front_of(req)->view;
	struct fuse_entry_param param = entry_param(req, entry);

	if (fuse_reply_entry(req, &param))
		view_forget(view, entry->id, 1);
}

/* The end of every call that makes a name at head. */
static void reply_head_entry(fuse_req_t req, fuse_ino_t dir, int err, const struct tree_attr *attr)
{
	struct view_entry entry;

	if (err) {
		reply_error(req, dir, err);
		return;
	}
	view_head_entry(front_of(req)->view, attr, &entry);
	view_head_tell(front_of(req)->view, &entry);
	reply_entry(req, &entry);
}

/*
 * Session
 */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	/* Every change to the head passes this kernel, so its pages stay valid
	 * when a time or size changes: it changed them itself. */
	conn->want &= ~FUSE_CAP_AUTO_INVAL_DATA;
	conn->want |= conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA;
	/* O_TRUNC arrives with the open, so that both are one LSN. */
	conn->want |= conn->capable & FUSE_CAP_ATOMIC_O_TRUNC;
	conn->want |= conn->capable & FUSE_CAP_HANDLE_KILLPRIV;
	/* The kernel enforces access control lists; what they do to the umask is ours (tree_create). */
	if (conn->capable & FUSE_CAP_POSIX_ACL)
		conn->want |= FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
	conn->max_write = TREE_WRITE_MAX;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
}

static void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t count)
{
	view_forget(front_of(req)->view, id, count);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		view_forget(front_of(req)->view, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/*
 * Names and attributes
 */

static void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct view_entry entry;
	int err;

	err = view_lookup(front_of(req)->view, dir, name, &entry);
	if (err)
		reply_error(req, dir, err);
	else
		reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	enum view_life life;
	struct stat stat;
	int err;

	err = view_getattr(front_of(req)->view, id, &stat, &life);
	if (err) {
		reply_error(req, id, err);
		return;
	}
	state_stat(req, id, &stat);
	fuse_reply_attr(req, &stat, timeout_of(life));
}

/* Does a write or truncation by the caller clear the set-id bits? The kernel
 * says; an old one leaves it to us, and then all but root's do. */
static bool caller_drops_set_id(fuse_req_t req)
{
	return wire_says_set_id() ? wire_drops_set_id() : fuse_req_ctx(req)->uid != 0;
}

/* A change of owner clears them whoever makes it. */
static bool setattr_drops_set_id(fuse_req_t req, unsigned which)
{
	if ((which & (TREE_SET_UID | TREE_SET_GID)) && !wire_says_set_id())
		return true;
	return (which & (TREE_SET_UID | TREE_SET_GID | TREE_SET_SIZE)) && caller_drops_set_id(req);
}

/*
 * A request to set nothing comes of a chown that names neither owner nor group, and before a write that is to take
 * privileges. Of both the set-id bits go, if it is the owner's or root's; the kernel has not checked whose it is,
 * and the write says so itself.
 */
static bool caller_owns(fuse_req_t req, fuse_ino_t id)
{
	uid_t caller = fuse_req_ctx(req)->uid;
	enum view_life life;
	struct stat stat;

	return caller == 0 ||
	       (view_getattr(front_of(req)->view, id, &stat, &life) == 0 && caller == stat.st_uid);
}

static unsigned setattr_which(fuse_req_t req, int to_set)
{
	static const struct {
		int fuse;
		unsigned tree;
	} flags[] = {
		{FUSE_SET_ATTR_MODE, TREE_SET_MODE},
		{FUSE_SET_ATTR_UID, TREE_SET_UID},
		{FUSE_SET_ATTR_GID, TREE_SET_GID},
		{FUSE_SET_ATTR_SIZE, TREE_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, TREE_SET_ATIME},
		{FUSE_SET_ATTR_MTIME, TREE_SET_MTIME},
		{FUSE_SET_ATTR_ATIME_NOW, TREE_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, TREE_SET_MTIME_NOW},
	};
	unsigned which = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (to_set & flags[i].fuse)
			which |= flags[i].tree;
	}
	/* The kernel sets both flags of a time for "now". */
	if (which & TREE_SET_ATIME_NOW)
		which &= ~TREE_SET_ATIME;
	if (which & TREE_SET_MTIME_NOW)
		which &= ~TREE_SET_MTIME;
	return setattr_drops_set_id(req, which) ? which | TREE_DROP_SET_ID : which;
}

static struct tree_time time_of(struct timespec time)
{
	return (struct tree_time){.seconds = time.tv_sec, .nanoseconds = (uint32_t)time.tv_nsec};
}

static bool state_is_writable(fuse_ino_t id)
{
	return state_file_is_writable((enum state_file)(id - NODE_STATE));
}

/* Leave out of @to_set what is shown of every file alike and is asked to be so. 0; -EPERM: it is
 * asked to be otherwise. */
static int leave_out_shown(fuse_req_t req, fuse_ino_t id, const struct stat *to, int *to_set)
{
	static const struct {
		int fuse;
		enum view_field field;
	} fields[] = {{FUSE_SET_ATTR_UID, VIEW_UID},
		      {FUSE_SET_ATTR_GID, VIEW_GID},
		      {FUSE_SET_ATTR_MODE, VIEW_MODE}};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		int outcome = 0;

		if (*to_set & fields[i].fuse)
			outcome = view_may_set(front_of(req)->view, id, fields[i].field, to);
		if (outcome < 0)
			return outcome;
		if (outcome)
			*to_set &= ~fields[i].fuse;
	}
	return 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t id, struct stat *to, int to_set,
		       struct fuse_file_info *fi)
{
	struct front *front = front_of(req);
	struct tree_attr attr = {
		.mode = to->st_mode,
		.uid = to->st_uid,
		.gid = to->st_gid,
		.size_bytes = (uint64_t)to->st_size,
		.atime = time_of(to->st_atim),
		.mtime = time_of(to->st_mtim),
	};
	struct view_entry entry;
	const int asked = to_set;
	unsigned which;
	int err;

	/* `echo > window` cuts it first. */
	if (node_is_state(id) && to_set == FUSE_SET_ATTR_SIZE && state_is_writable(id)) {
		op_getattr(req, id, fi);
		return;
	}
	err = view_writable(id);
	if (!err)
		err = leave_out_shown(req, id, to, &to_set);
	which = setattr_which(req, to_set);
	/* All that was asked for is only shown. To ask for nothing is a change. */
	if (!err && to_set != asked && !(which & ~(unsigned)TREE_DROP_SET_ID)) {
		op_getattr(req, id, fi);
		return;
	}
	if (!err && !which && caller_owns(req, id))
		which = TREE_DROP_SET_ID;
	if (!err)
		err = tree_setattr(front->store, id, which, &attr, &attr);
	if (err) {
		reply_error(req, id, err);
		return;
	}
	view_head_entry(front->view, &attr, &entry);
	fuse_reply_attr(req, &entry.stat, timeout_of(entry.life));
}

static void op_readlink(fuse_req_t req, fuse_ino_t id)
{
	char target[PATH_MAX];
	int err;

	err = view_readlink(front_of(req)->view, id, target, sizeof(target));
	if (err)
		reply_error(req, id, err);
	else
		fuse_reply_readlink(req, target);
}

/*
 * Changes to names
 */

/* Something new belongs to the caller. A kernel without access control lists has applied the umask. */
static struct tree_new new_of(fuse_req_t req, uint32_t mode, dev_t rdev)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);

	return (struct tree_new){
		.mode = mode,
		.uid = caller->uid,
		.gid = caller->gid,
		.rdev = (uint32_t)rdev,
		.umask = caller->umask,
	};
}

static int create(fuse_req_t req, fuse_ino_t dir, const char *name, uint32_t mode, dev_t rdev,
		  struct tree_attr *attr_out)
{
	struct tree_new what = new_of(req, mode, rdev);
	struct store *store = front_of(req)->store;
	int err = view_writable(dir);

	if (err)
		return err;
	return wire_is_unnamed() ? tree_create_unnamed(store, dir, &what, attr_out)
				 : tree_create(store, dir, name, &what, attr_out);
}

static void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	struct tree_attr attr;
	int err;

	err = create(req, dir, name, mode & S_IFMT ? mode : mode | S_IFREG, rdev, &attr);
	reply_head_entry(req, dir, err, &attr);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	struct tree_attr attr;
	int err;

	err = create(req, dir, name, (mode & ~(mode_t)S_IFMT) | S_IFDIR, 0, &attr);
	reply_head_entry(req, dir, err, &attr);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	struct tree_new what = new_of(req, S_IFLNK | 0777, 0);
	struct tree_attr attr;
	int err;

	err = view_writable(dir);
	if (!err)
		err = tree_symlink(front_of(req)->store, dir, name, target, &what, &attr);
	reply_head_entry(req, dir, err, &attr);
}

/* A file of the past can't be linked to, but the directory isn't at fault: to
 * link(2) the two are different file systems. */
static void op_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t dir, const char *name)
{
	struct tree_attr attr;
	int err;

	err = view_writable(dir);
	if (!err && view_writable(id))
		err = -EXDEV;
	if (!err)
		err = tree_link(front_of(req)->store, id, dir, name, &attr);
	reply_head_entry(req, dir, err, &attr);
}

static void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	int err;

	err = view_writable(dir);
	if (!err)
		err = tree_unlink(front_of(req)->store, dir, name);
	reply_error(req, dir, err);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	int err;

	err = view_writable(dir);
	if (!err)
		err = tree_rmdir(front_of(req)->store, dir, name);
	reply_error(req, dir, err);
}

static int rename_flags(unsigned flags, unsigned *flags_out)
{
	*flags_out = 0;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (flags & RENAME_NOREPLACE)
		*flags_out |= TREE_RENAME_NOREPLACE;
	if (flags & RENAME_EXCHANGE)
		*flags_out |= TREE_RENAME_EXCHANGE;
	return 0;
}

static void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir,
		      const char *new_name, unsigned flags)
{
	unsigned tree_flags;
	int err;

	err = view_writable(dir);
	if (!err)
		err = view_writable(new_dir);
	if (!err)
		err = rename_flags(flags, &tree_flags);
	if (!err)
		err = tree_rename(front_of(req)->store, dir, name, new_dir, new_name, tree_flags);
	reply_error(req, dir, err);
}

/*
 * Files
 */

static uint64_t head_handle(const struct fuse_file_info *fi)
{
	return fi->flags & (O_SYNC | O_DSYNC) ? HANDLE_HEAD_SYNCED : HANDLE_HEAD;
}

static bool opens_for_write(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC);
}

static int truncate_on_open(fuse_req_t req, fuse_ino_t id)
{
	struct tree_attr to = {.size_bytes = 0};

	return tree_setattr(front_of(req)->store, id, setattr_which(req, FUSE_SET_ATTR_SIZE), &to,
			    &to);
}

/* The handle of what is open in the past: the LSN that is pinned for it, and read at. */
static int open_past(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct lsn at;
	int err = view_open_past(front_of(req)->view, id, &at);

	fi->fh = at.value;
	return err;
}

static void close_past(fuse_req_t req, const struct fuse_file_info *fi)
{
	view_close_past(front_of(req)->view, handle_lsn(fi));
}

static struct snapshot *snapshot_of(const struct fuse_file_info *fi)
{
	return (struct snapshot *)(uintptr_t)fi->fh;
}

static void handle_close(fuse_req_t req, fuse_ino_t id, const struct fuse_file_info *fi)
{
	if (node_is_state(id))
		snapshot_close(snapshot_of(fi));
	else
		close_past(req, fi);
}

/* The handle of a state file is what it holds, which page cache and size in the kernel have no part in. */
static int open_state(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct snapshot *snapshot;
	int err;

	if (opens_for_write(fi) && !state_is_writable(id))
		return -EPERM;
	err = state_file_open(front_of(req), (enum state_file)(id - NODE_STATE), &snapshot);
	fi->fh = (uintptr_t)snapshot;
	fi->direct_io = 1;
	return err;
}

/* No state: an inode is read and written by its number, also after its last
 * name is gone. */
static int open_head(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	int err = 0;

	if (opens_for_write(fi))
		err = view_writable(id);
	if (!err && (fi->flags & O_TRUNC))
		err = truncate_on_open(req, id);
	fi->fh = head_handle(fi);
	return err;
}

static void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	int err;

	fi->keep_cache = 1;
	if (node_is_state(id))
		err = open_state(req, id, fi);
	else if (node_is_past(id))
		err = opens_for_write(fi) ? -EROFS : open_past(req, id, fi);
	else
		err = open_head(req, id, fi);
	if (err)
		reply_error(req, id, err);
	else if (fuse_reply_open(req, fi))
		handle_close(req, id, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	handle_close(req, id, fi);
	reply_error(req, id, 0);
}

static void op_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param param;
	struct view_entry entry;
	struct tree_attr attr;
	int err;

	err = create(req, dir, name, (mode & ~(mode_t)S_IFMT) | S_IFREG, 0, &attr);
	if (err) {
		reply_error(req, dir, err);
		return;
	}
	view_head_entry(front_of(req)->view, &attr, &entry);
	view_head_tell(front_of(req)->view, &entry);
	param = entry_param(req, &entry);
	fi->keep_cache = 1;
	fi->fh = head_handle(fi);
	if (fuse_reply_create(req, &param, fi))
		view_forget(front_of(req)->view, entry.id, 1);
}

static int reply_pieces(void *context, const struct iovec *pieces, size_t count)
{
	/* A piece that can't be read ends in EIO: the kernel sees to that. */
	fuse_reply_iov(context, pieces, (int)count);
	return 0;
}

static void read_state(fuse_req_t req, const struct fuse_file_info *fi, size_t size, off_t offset)
{
	size_t whole;
	const char *bytes = snapshot_bytes(snapshot_of(fi), &whole);
	size_t at = (uint64_t)offset < whole ? (size_t)offset : whole;

	fuse_reply_buf(req, bytes + at, size < whole - at ? size : whole - at);
}

static void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct front *front = front_of(req);
	void *scratch = scratch_get();
	struct view_node node;
	int err;

	if (node_is_state(id)) {
		read_state(req, fi, size, offset);
		return;
	}
	err = scratch ? view_node(front->view, id, &node) : -ENOMEM;
	if (!err && !node.ino)
		err = -EISDIR;
	if (size > READ_MAX)
		size = READ_MAX;
	if (!err)
		err = tree_read_pieces(front->store, node.ino, handle_lsn(fi), (uint64_t)offset,
				       size, scratch, reply_pieces, req);
	if (err)
		reply_error(req, id, err);
}

/* By the flags of the call: one write may ask for it by itself. */
static bool writes_through(const struct fuse_file_info *fi)
{
	return fi->flags & (O_SYNC | O_DSYNC);
}

static void op_write(fuse_req_t req, fuse_ino_t id, const char *buffer, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	struct front *front = front_of(req);
	int err;

	err = node_is_state(id) ? state_file_write(front, (enum state_file)(id - NODE_STATE), buffer, size)
				: view_writable(id);
	/* Pages of a mapping come from the kernel, not from a caller. */
	if (!err && fi->writepage)
		err = tree_write_mapped(front->store, id, (uint64_t)offset, buffer, size);
	else if (!err && !node_is_state(id))
		err = tree_write(front->store, id, (uint64_t)offset, buffer, size, caller_drops_set_id(req));
	if (!err && writes_through(fi))
		err = store_sync(front->store, NULL);
	if (err)
		reply_error(req, id, err);
	else
		fuse_reply_write(req, size);
}

/* The prefix up to now becomes durable, not the one file; the past is already. */
static void op_fsync(fuse_req_t req, fuse_ino_t id, int data_only, struct fuse_file_info *fi)
{
	int err = 0;

	if (view_writable(id) != -EROFS)
		err = store_sync(front_of(req)->store, NULL);
	reply_error(req, id, err);
}

/*
 * Directories
 */

static void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	int err;

	/* What is listed in the past stays so; the list of /lsn/<n> too. */
	fi->keep_cache = node_is_past(id);
	fi->cache_readdir = fi->keep_cache;
	err = open_past(req, id, fi);
	if (err)
		reply_error(req, id, err);
	else if (fuse_reply_open(req, fi))
		close_past(req, fi);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	close_past(req, fi);
	reply_error(req, id, 0);
}

/* A listing under way: what the kernel will get, and what it is told of by it. */
struct listing {
	fuse_req_t req;
	bool plus;
	char *buffer;
	size_t size, used;
	unsigned told_count;
	uint64_t told[];
};

static bool listing_add(void *context, const char *name, uint64_t cookie,
			const struct view_entry *entry)
{
	struct listing *listing = context;
	char *at = listing->buffer + listing->used;
	size_t room = listing->size - listing->used;
	size_t need;

	if (listing->plus) {
		struct fuse_entry_param param = entry_param(listing->req, entry);

		need = fuse_add_direntry_plus(listing->req, at, room, name, &param, (off_t)cookie);
	} else {
		need = fuse_add_direntry(listing->req, at, room, name, &entry->stat, (off_t)cookie);
	}
	if (need > room)
		return false;
	listing->used += need;
	if (listing->plus && entry->id)
		listing->told[listing->told_count++] = entry->id;
	return true;
}

static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t cookie, bool plus)
{
	struct view *view = front_of(req)->view;
	/* The smallest entries there are: no more than these fit. */
	size_t entry_size = plus ? fuse_add_direntry_plus(req, NULL, 0, "", NULL, 0) + 8 : 32;
	struct listing *listing = scratch_get();
	int err;

	if (!listing) {
		reply_error(req, id, -ENOMEM);
		return;
	}
	size = size < LISTING_MAX ? size : LISTING_MAX;
	*listing = (struct listing){
		.req = req,
		.plus = plus,
		.buffer = (char *)listing + SCRATCH_SIZE - LISTING_MAX,
		.size = size,
	};
	err = view_readdir(view, id, (uint64_t)cookie, plus, (unsigned)(size / entry_size) + 1,
			   listing_add, listing);
	/* What was gathered before an error is the answer; the error comes with
	 * the next request. */
	if (err && !listing->used) {
		reply_error(req, id, err);
		return;
	}
	if (fuse_reply_buf(req, listing->buffer, listing->used)) {
		for (unsigned i = 0; i < listing->told_count; i++)
			view_forget(view, listing->told[i], 1);
	}
}

static void op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t cookie,
		       struct fuse_file_info *fi)
{
	list(req, id, size, cookie, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t cookie,
			   struct fuse_file_info *fi)
{
	list(req, id, size, cookie, true);
}

/*
 * Left out on purpose, so that libfuse answers "not implemented" and the kernel
 * does it itself from then on:
 *   flush             nothing is held back until close
 *   getlk, setlk, flock   the kernel locks, locally and right
 *   access            default_permissions: the kernel checks
 */
const struct fuse_lowlevel_ops fuse_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsync,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
};
