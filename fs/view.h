/*
 * View: what stands at each path of the mount, in terms of node ids.
 *
 *   /                  head, lsn
 *   /head/rel          the tree as it is now
 *   /lsn/<n>/rel       the tree as of LSN n, for every n in the window
 *   /lsn/latest        a link to the newest n; /lsn/oldest to the oldest
 *   /.varve            the store's state, in files (state_files.h)
 *
 * Looking up is not listing: / lists head and lsn only, and /lsn the two links. It knows no FUSE;
 * fuse_ops.c carries requests to it and answers back.
 *
 * Everything is 0 or -errno. Any thread.
 */
#ifndef VARVE_FS_VIEW_H
#define VARVE_FS_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lsn.h"

struct node_table;
struct store;
struct tree_attr;
struct view;

/* For how long an answer holds. */
enum view_life {
	VIEW_LIFE_NONE, /* ask again each time: an LSN may exist a moment later */
	VIEW_LIFE_HEAD, /* until a change, and every change passes the kernel that asked */
	VIEW_LIFE_PAST, /* for ever */
};

/* What a name stands for. */
struct view_entry {
	uint64_t id; /* 0: nothing, and that holds for @life */
	struct stat stat;
	enum view_life life;
};

/* What an id stands for in the tree. */
struct view_node {
	uint64_t ino;  /* the inode's number at head; 0: a directory or link of varve's own */
	struct lsn at; /* the LSN to read at; LSN_HEAD for the head and for varve's own */
};

/* What every file is shown with, in place of its own owner and mode; past and head alike. What is
 * stored stays as it is. */
struct view_owner {
	bool has_uid, has_gid, has_umask;
	uint32_t uid, gid;
	uint32_t umask; /* permission bits that are not shown; all others are */
};

struct view_options {
	struct lsn at; /* the one tree to show; LSN_HEAD: all of it */
	struct view_owner owner;
};

/* 0 and *view_out, freed by view_close; @store stays the caller's. The one LSN is pinned.
 * -ENOENT: it can't be read. */
int view_open(struct store *store, const struct view_options *options, struct view **view_out);
void view_close(struct view *view); /* NULL is ignored */

/* -ESTALE: an id the kernel was never told of. */
int view_node(struct view *view, uint64_t id, struct view_node *node_out);

/* May the inode be changed, or entries in it? 0: it is a head inode, whose
 * number is @id; -EROFS: it lies in the past; -EPERM: it is varve's own. What
 * may be written of the state files is theirs to say. */
int view_writable(uint64_t id);

/* Find @name in directory @dir. The entry counts as told to the
 * kernel; give it back by view_forget when the kernel never hears of it. -ENOENT
 * is returned as 0 with an id of 0 where the kernel may remember it. */
int view_lookup(struct view *view, uint64_t dir, const char *name, struct view_entry *entry_out);

/* The entry of a head inode, from attributes at hand. */
void view_head_entry(struct view *view, const struct tree_attr *attr, struct view_entry *entry_out);

/* Count it as told to the kernel, as view_lookup does. */
void view_head_tell(struct view *view, const struct view_entry *entry);

/*
 * Open what the id stands for: if it lies in the past its LSN is pinned, until view_close_past.
 * 0 and *at_out, the LSN to read it at, LSN_HEAD outside of the past; -ESTALE: the window has
 * passed it.
 */
int view_open_past(struct view *view, uint64_t id, struct lsn *at_out);
void view_close_past(struct view *view, struct lsn at);

void view_forget(struct view *view, uint64_t id, uint64_t count);

int view_getattr(struct view *view, uint64_t id, struct stat *stat_out, enum view_life *life_out);

/* May @field of @id be set to what @to has? 0: yes, it is shown as it is stored; 1: @to is what all
 * files are shown with, so there is nothing to do; -EPERM: it is not, and a change could not be seen. */
enum view_field { VIEW_UID, VIEW_GID, VIEW_MODE };
int view_may_set(struct view *view, uint64_t id, enum view_field field, const struct stat *to);

/* Target of a link, NUL-terminated. -EINVAL: not a link. */
int view_readlink(struct view *view, uint64_t id, char *target_out, size_t size_bytes);

/*
 * One name of a directory. With @entry->id set, the kernel is about to be told
 * of it. Without, @entry->stat holds the inode number and the type only. Return
 * false if there is no room for it; it is then not consumed.
 */
typedef bool view_entry_fn(void *context, const char *name, uint64_t cookie,
			   const struct view_entry *entry);

/*
 * List a directory from @cookie on (0: the start). With @plus every entry but
 * "." and ".." is looked up as by view_lookup. @count_hint: about how many
 * entries the caller has room for. -ENOTDIR.
 */
int view_readdir(struct view *view, uint64_t dir, uint64_t cookie, bool plus, unsigned count_hint,
		 view_entry_fn *fn, void *context);

/* The LSN that last changed what the id stands for. -ENODATA: varve's own. */
int view_changed(struct view *view, uint64_t id, struct lsn *lsn_out);

uint64_t view_node_count(struct view *view); /* past ids the kernel knows */
struct node_table *view_nodes(struct view *view);

#endif
