#include "view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node.h"
#include "prune.h"
#include "state_files.h"
#include "store.h"
#include "told.h"
#include "tree.h"

#define DIRECTORY_MODE (S_IFDIR | 0555)
#define LINK_MODE (S_IFLNK | 0777)

#define OWN_NAME ".varve"

/* Entries taken from the tree at a time; 128 names take 36 KiB of stack. */
#define BATCH_MAX 128u

struct view {
	struct store *store;
	struct view_options options;
	struct node_table *nodes;
	struct told *heads;
	bool pinned; /* the one LSN is */
};

int view_open(struct store *store, const struct view_options *options, struct view **view_out)
{
	struct view *view;
	int err;

	*view_out = NULL;
	view = calloc(1, sizeof(*view));
	if (!view)
		return -ENOMEM;
	view->store = store;
	view->options = *options;
	err = node_table_open(0, &view->nodes);
	if (!err)
		err = told_open(&view->heads);
	if (!err && !lsn_is_head(options->at)) {
		err = store_pin(store, options->at);
		view->pinned = !err;
	}
	if (err) {
		view_close(view);
		return err;
	}
	*view_out = view;
	return 0;
}

void view_close(struct view *view)
{
	if (!view)
		return;
	if (view->pinned)
		store_unpin(view->store, view->options.at);
	told_close(view->heads);
	node_table_close(view->nodes);
	free(view);
}

uint64_t view_node_count(struct view *view)
{
	return node_count(view->nodes);
}

struct node_table *view_nodes(struct view *view)
{
	return view->nodes;
}

static bool is_head(uint64_t id)
{
	return id >= TREE_ROOT_INO && !node_is_past(id);
}

/* The kernel's number for every root, of a tree of the past here. */
static bool is_past_root(const struct view *view, uint64_t id)
{
	return id == NODE_ROOT && !lsn_is_head(view->options.at);
}

static bool is_past(const struct view *view, uint64_t id)
{
	return node_is_past(id) || is_past_root(view, id);
}

static void head_forgotten(void *store, uint64_t ino)
{
	tree_forget(store, ino);
}

/* A look-up that comes in between waits, so that a file that it leads to, and that is then opened and
 * removed, is not taken for the one before. */
void view_forget(struct view *view, uint64_t id, uint64_t count)
{
	node_forget(view->nodes, id, count);
	if (is_head(id))
		told_forget(view->heads, id, count, head_forgotten, view->store);
}

/* By what was looked up. */
static int node_known(struct view *view, uint64_t id, struct view_node *node_out)
{
	*node_out = (struct view_node){.at = LSN_HEAD};
	if (is_past_root(view, id))
		*node_out = (struct view_node){.ino = TREE_ROOT_INO, .at = view->options.at};
	if (node_is_past(id))
		return node_find(view->nodes, id, &node_out->ino, &node_out->at);
	if (id >= TREE_ROOT_INO)
		node_out->ino = id;
	return 0;
}

struct pinned {
	struct lsn *lsns;
	size_t count, room;
};

static int pinned_add(void *context, struct lsn lsn, uint32_t count)
{
	struct pinned *pinned = context;

	if (pinned->count == pinned->room) {
		size_t room = pinned->room ? 2 * pinned->room : 64;
		struct lsn *lsns = reallocarray(pinned->lsns, room, sizeof(*lsns));

		if (!lsns)
			return -ENOMEM;
		pinned->lsns = lsns;
		pinned->room = room;
	}
	pinned->lsns[pinned->count++] = lsn;
	return 0;
}

static bool is_version_at(struct view *view, uint64_t id, uint64_t ino, struct lsn at)
{
	struct tree_attr attr;

	return tree_getattr(view->store, ino, at, &attr) == 0 && node_file_id(attr.position) == id;
}

/*
 * A file's version is read at the newest LSN that it was looked up at. If the window has passed that, it may be
 * open all the same, by an older one that is pinned: then it is read at that one.
 */
static void node_read_pinned(struct view *view, uint64_t id, struct view_node *node)
{
	struct pinned pinned = {0};
	struct lsn oldest, newest;

	store_window(view->store, &oldest, &newest);
	if (id >= NODE_PAST_DIRECTORY || id < NODE_PAST_FILE || node->at.value >= oldest.value ||
	    is_version_at(view, id, node->ino, node->at))
		return;
	(void)store_each_pin(view->store, pinned_add, &pinned);
	for (size_t i = pinned.count; i > 0; i--) {
		if (!is_version_at(view, id, node->ino, pinned.lsns[i - 1]))
			continue;
		node->at = pinned.lsns[i - 1];
		break;
	}
	free(pinned.lsns);
}

int view_node(struct view *view, uint64_t id, struct view_node *node_out)
{
	int err = node_known(view, id, node_out);

	if (!err)
		node_read_pinned(view, id, node_out);
	return err;
}

int view_open_past(struct view *view, uint64_t id, struct lsn *at_out)
{
	struct view_node node;
	int err = node_known(view, id, &node);

	*at_out = node.at;
	if (!err && is_past(view, id))
		err = store_pin(view->store, node.at);
	/* So that the kernel looks the path up anew, and finds what there still is. */
	return err == -ENOENT ? -ESTALE : err;
}

void view_close_past(struct view *view, struct lsn at)
{
	if (!lsn_is_head(at))
		store_unpin(view->store, at);
}

int view_writable(uint64_t id)
{
	if (node_is_past(id))
		return -EROFS;
	if (id >= TREE_ROOT_INO)
		return 0;
	return id == NODE_LSN || id == NODE_LATEST || id == NODE_OLDEST ? -EROFS : -EPERM;
}

/*
 * Attributes
 */

static struct timespec timespec_of(struct tree_time time)
{
	return (struct timespec){.tv_sec = time.seconds, .tv_nsec = time.nanoseconds};
}

/* Set-id bits are not shown where the owner isn't: they would be another's. */
static uint32_t mode_shown(const struct view_owner *owner, uint32_t mode)
{
	if (owner->has_umask && !S_ISLNK(mode))
		mode = (mode & (S_IFMT | S_ISVTX)) | (0777 & ~owner->umask);
	if (!S_ISDIR(mode) && (owner->has_uid || owner->has_gid))
		mode &= ~(uint32_t)(S_ISUID | S_ISGID);
	return mode;
}

static void owner_show(const struct view *view, struct stat *stat)
{
	const struct view_owner *owner = &view->options.owner;

	if (owner->has_uid)
		stat->st_uid = owner->uid;
	if (owner->has_gid)
		stat->st_gid = owner->gid;
}

static void stat_fill(struct view *view, const struct tree_attr *attr, uint64_t id,
		      struct stat *stat_out)
{
	*stat_out = (struct stat){
		.st_ino = id,
		.st_mode = mode_shown(&view->options.owner, attr->mode),
		.st_nlink = attr->nlink,
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = attr->rdev,
		.st_size = (off_t)attr->size_bytes,
		.st_blksize = store_page_size(view->store),
		.st_mtim = timespec_of(attr->mtime),
		.st_ctim = timespec_of(attr->ctime),
		.st_atim = timespec_of(attr->atime),
	};
	if (attr->page_count == TREE_PAGES_UNKNOWN)
		stat_out->st_blocks = (blkcnt_t)(attr->size_bytes / 512 + (attr->size_bytes % 512 != 0));
	else
		stat_out->st_blocks =
			(blkcnt_t)(attr->page_count * (store_page_size(view->store) / 512));
	owner_show(view, stat_out);
}

static bool is_damage(int err)
{
	return err == -EBADMSG || err == -EUCLEAN || err == -EIO;
}

/* The attributes of the tree's root; if they are damaged, who mounted is its owner: all that can be read
 * is reached by varve's own directories. */
static int root_getattr(struct view *view, struct lsn at, struct tree_attr *root_out)
{
	int err = tree_getattr(view->store, TREE_ROOT_INO, at, root_out);

	if (!is_damage(err))
		return err;
	*root_out = (struct tree_attr){.uid = geteuid(), .gid = getegid()};
	return 0;
}

/* varve's own belong to whom the tree belongs, and are as old as the tree; a
 * view carries the time of its tree, so that it is the same in every mount. */
static int stat_fill_fixed(struct view *view, uint64_t id, uint32_t mode, struct lsn at,
			   struct stat *stat_out)
{
	struct tree_attr root;
	struct timespec time;
	int err;

	err = root_getattr(view, at, &root);
	if (err)
		return err;
	time = timespec_of(lsn_is_head(at) ? root.btime : root.mtime);
	*stat_out = (struct stat){
		.st_ino = id,
		.st_mode = mode,
		.st_nlink = 1,
		.st_uid = root.uid,
		.st_gid = root.gid,
		.st_blksize = store_page_size(view->store),
		.st_mtim = time,
		.st_ctim = time,
		.st_atim = time,
	};
	if (!S_ISLNK(mode))
		stat_out->st_mode &= ~(mode_t)(view->options.owner.umask & 0777);
	owner_show(view, stat_out);
	return 0;
}

static int link_target(struct view *view, uint64_t id, char *target_out, size_t size_bytes)
{
	struct lsn oldest, newest;

	store_window(view->store, &oldest, &newest);
	return snprintf(target_out, size_bytes, "%" PRIu64,
			id == NODE_LATEST ? newest.value : oldest.value);
}

static uint32_t fixed_mode(uint64_t id)
{
	if (node_is_state(id))
		return S_IFREG | (state_file_is_writable(id - NODE_STATE) ? 0644 : 0444);
	return id == NODE_LATEST || id == NODE_OLDEST ? LINK_MODE : DIRECTORY_MODE;
}

/* Size and times of a state file are told by who can make it (fuse_ops.c). */
static int fixed_entry(struct view *view, uint64_t id, struct view_entry *entry_out)
{
	uint32_t mode = fixed_mode(id);
	char target[32];
	int err;

	err = stat_fill_fixed(view, id, mode, LSN_HEAD, &entry_out->stat);
	if (err)
		return err;
	if (S_ISLNK(mode))
		entry_out->stat.st_size = link_target(view, id, target, sizeof(target));
	entry_out->id = id;
	entry_out->life = S_ISDIR(mode) ? VIEW_LIFE_HEAD : VIEW_LIFE_NONE;
	return 0;
}

/* A write clears set-id bits in passing, of which the kernel isn't told: it
 * must ask each time it wants to know the mode of a file that has them. */
static enum view_life head_life(const struct tree_attr *attr)
{
	return S_ISREG(attr->mode) && (attr->mode & (S_ISUID | S_ISGID)) ? VIEW_LIFE_NONE
									 : VIEW_LIFE_HEAD;
}

void view_head_entry(struct view *view, const struct tree_attr *attr, struct view_entry *entry_out)
{
	entry_out->id = attr->ino;
	entry_out->life = head_life(attr);
	stat_fill(view, attr, attr->ino, &entry_out->stat);
}

void view_head_tell(struct view *view, const struct view_entry *entry)
{
	told_add(view->heads, entry->id);
}

/* The entry of an inode at @at, counted as told to the kernel. */
static int tree_entry_ref(struct view *view, const struct tree_attr *attr, struct lsn at,
			  struct view_entry *entry_out)
{
	struct lsn oldest, newest;
	int err;

	if (lsn_is_head(at)) {
		view_head_entry(view, attr, entry_out);
		view_head_tell(view, entry_out);
		return 0;
	}
	store_window(view->store, &oldest, &newest);
	err = S_ISDIR(attr->mode) ? node_ref_directory(view->nodes, attr->ino, at, &entry_out->id)
				  : node_ref_file(view->nodes, attr->position, attr->ino, at, oldest,
						  &entry_out->id);
	if (err)
		return err;
	entry_out->life = VIEW_LIFE_PAST;
	stat_fill(view, attr, entry_out->id, &entry_out->stat);
	return 0;
}

static int view_entry_ref(struct view *view, struct lsn at, struct view_entry *entry_out)
{
	uint64_t id;
	int err;

	err = node_ref_directory(view->nodes, NODE_VIEW_INO, at, &id);
	if (err)
		return err;
	err = stat_fill_fixed(view, id, DIRECTORY_MODE, at, &entry_out->stat);
	if (err) {
		node_forget(view->nodes, id, 1);
		return err;
	}
	entry_out->id = id;
	entry_out->life = VIEW_LIFE_PAST;
	return 0;
}

int view_getattr(struct view *view, uint64_t id, struct stat *stat_out, enum view_life *life_out)
{
	struct view_entry entry = {0};
	struct view_node node;
	struct tree_attr attr;
	int err;

	err = view_node(view, id, &node);
	if (err)
		return err;
	if (node.ino) {
		err = tree_getattr(view->store, node.ino, node.at, &attr);
		/* What was there can only be gone because the window passed it. */
		if (err)
			return err == -ENOENT && is_past(view, id) ? -ESTALE : err;
		stat_fill(view, &attr, id, stat_out);
		*life_out = is_past(view, id) ? VIEW_LIFE_PAST : head_life(&attr);
		return 0;
	}
	if (node_is_past(id)) {
		*life_out = VIEW_LIFE_PAST;
		return stat_fill_fixed(view, id, DIRECTORY_MODE, node.at, stat_out);
	}
	err = fixed_entry(view, id, &entry);
	*stat_out = entry.stat;
	*life_out = entry.life;
	return err;
}

int view_may_set(struct view *view, uint64_t id, enum view_field field, const struct stat *to)
{
	const struct view_owner *owner = &view->options.owner;
	const bool fixed[] = {owner->has_uid, owner->has_gid, owner->has_umask};
	enum view_life life;
	struct stat shown;
	int err;

	if (!fixed[field])
		return 0;
	err = view_getattr(view, id, &shown, &life);
	if (err)
		return err;
	switch (field) {
	case VIEW_UID:
		return to->st_uid == shown.st_uid ? 1 : -EPERM;
	case VIEW_GID:
		return to->st_gid == shown.st_gid ? 1 : -EPERM;
	default:
		return (to->st_mode & 07777) == (shown.st_mode & 07777) ? 1 : -EPERM;
	}
}

int view_changed(struct view *view, uint64_t id, struct lsn *lsn_out)
{
	struct view_node node;
	struct tree_attr attr;
	int err;

	err = view_node(view, id, &node);
	if (err)
		return err;
	if (!node.ino)
		return -ENODATA;
	err = tree_getattr(view->store, node.ino, node.at, &attr);
	if (err)
		return err;
	*lsn_out = attr.changed;
	return 0;
}

/*
 * Names
 */

struct fixed_name {
	const char *name;
	uint64_t id; /* TREE_ROOT_INO: the tree, in the view at hand */
};

static const struct fixed_name root_names[] = {{"head", NODE_HEAD}, {"lsn", NODE_LSN}, {0}};
static const struct fixed_name lsn_names[] = {
	{"latest", NODE_LATEST}, {"oldest", NODE_OLDEST}, {0}};
static const struct fixed_name own_names[] = {{"stats", NODE_STATE + STATE_STATS},
					      {"metrics", NODE_STATE + STATE_METRICS},
					      {"window", NODE_STATE + STATE_WINDOW},
					      {"layers.svg", NODE_STATE + STATE_LAYERS},
					      {0}};
static const struct fixed_name rel_names[] = {{"rel", TREE_ROOT_INO}, {0}};
static const struct fixed_name no_names[] = {{0}};

/* The names of a directory of varve's own; none if @id is no directory. */
static const struct fixed_name *names_of(uint64_t id)
{
	switch (id) {
	case NODE_ROOT:
		return root_names;
	case NODE_LSN:
		return lsn_names;
	case NODE_OWN:
		return own_names;
	case NODE_LATEST:
	case NODE_OLDEST:
		return no_names;
	default:
		if (node_is_state(id))
			return no_names;
		return rel_names; /* /head and every /lsn/<n> */
	}
}

/* Plain decimal, no sign, no leading zero, no overflow: one number has one
 * name. 0 is not an LSN. */
static bool lsn_parse(const char *name, struct lsn *lsn_out)
{
	uint64_t value = 0;

	if (name[0] < '1' || name[0] > '9')
		return false;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return false;
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*name - '0'), &value))
			return false;
	}
	*lsn_out = lsn_make(value);
	return true;
}

static int lookup_tree(struct view *view, uint64_t dir, struct lsn at, const char *name,
		       struct view_entry *entry_out)
{
	struct tree_attr attr;
	int err;

	err = tree_lookup(view->store, dir, name, at, &attr);
	if (err == -ENOENT) {
		entry_out->life = lsn_is_head(at) ? VIEW_LIFE_HEAD : VIEW_LIFE_PAST;
		return 0;
	}
	if (err)
		return err;
	return tree_entry_ref(view, &attr, at, entry_out);
}

static int lookup_lsn(struct view *view, const char *name, struct view_entry *entry_out)
{
	struct lsn lsn, oldest, newest;
	int err;

	if (!lsn_parse(name, &lsn))
		return -ENOENT;
	store_window(view->store, &oldest, &newest);
	if (lsn.value < oldest.value || lsn.value > newest.value)
		return -ENOENT;
	err = view_entry_ref(view, lsn, entry_out);
	/* Had the window passed it before it was known, expire.c may not have seen it. */
	store_window(view->store, &oldest, &newest);
	if (!err && lsn.value < oldest.value) {
		view_forget(view, entry_out->id, 1);
		err = -ENOENT;
	}
	return err;
}

static int lookup_root_of_tree(struct view *view, struct lsn at, struct view_entry *entry_out)
{
	struct tree_attr attr;
	int err;

	err = tree_getattr(view->store, TREE_ROOT_INO, at, &attr);
	if (err)
		return err;
	return tree_entry_ref(view, &attr, at, entry_out);
}

static int lookup_fixed(struct view *view, uint64_t dir, struct lsn at, const char *name,
			struct view_entry *entry_out)
{
	const struct fixed_name *fixed = names_of(dir);

	while (fixed->name && strcmp(fixed->name, name) != 0)
		fixed++;
	if (fixed->id == TREE_ROOT_INO)
		return lookup_root_of_tree(view, at, entry_out);
	if (fixed->name)
		return fixed_entry(view, fixed->id, entry_out);
	if (dir == NODE_LSN)
		return lookup_lsn(view, name, entry_out);
	if (dir == NODE_ROOT && strcmp(name, OWN_NAME) == 0)
		return fixed_entry(view, NODE_OWN, entry_out);
	return -ENOENT;
}

/* Before the kernel is told of more of the past. */
static void wait_room(struct view *view, uint64_t dir)
{
	if (is_past(view, dir) || dir == NODE_LSN)
		node_wait_room(view->nodes, PRUNE_WAIT_MS);
}

int view_lookup(struct view *view, uint64_t dir, const char *name, struct view_entry *entry_out)
{
	struct view_node node;
	int err;

	*entry_out = (struct view_entry){.life = VIEW_LIFE_NONE};
	wait_room(view, dir);
	err = view_node(view, dir, &node);
	if (err)
		return err;
	if (node.ino)
		return lookup_tree(view, node.ino, node.at, name, entry_out);
	if (strlen(name) > TREE_NAME_MAX)
		return -ENAMETOOLONG;
	return lookup_fixed(view, dir, node.at, name, entry_out);
}

int view_readlink(struct view *view, uint64_t id, char *target_out, size_t size_bytes)
{
	struct view_node node;
	int err;

	err = view_node(view, id, &node);
	if (err)
		return err;
	if (node.ino)
		return tree_readlink(view->store, node.ino, node.at, target_out, size_bytes);
	if (id != NODE_LATEST && id != NODE_OLDEST)
		return -EINVAL;
	link_target(view, id, target_out, size_bytes);
	return 0;
}

/*
 * Listing. Names are gathered first and resolved afterwards: the tree's
 * callback runs inside the listing, where nothing else may be asked of it.
 */

struct batch_entry {
	uint64_t ino, cookie;
	uint32_t type;
	char name[TREE_NAME_MAX + 1];
};

struct batch {
	unsigned count, limit;
	struct batch_entry entries[BATCH_MAX];
};

static bool batch_add(void *context, const struct tree_entry *entry)
{
	struct batch *batch = context;
	struct batch_entry *slot;

	if (batch->count == batch->limit)
		return false;
	slot = &batch->entries[batch->count++];
	slot->ino = entry->ino;
	slot->cookie = entry->cookie;
	slot->type = entry->type;
	snprintf(slot->name, sizeof(slot->name), "%s", entry->name);
	return true;
}

static bool name_is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What is above the tree: /head or /lsn/<n>. */
static uint64_t tree_parent_id(struct view *view, struct lsn at)
{
	if (is_past_root(view, NODE_ROOT))
		return NODE_ROOT;
	return lsn_is_head(at) ? NODE_HEAD : node_directory_id(view->nodes, NODE_VIEW_INO, at);
}

/* The inode number that a stat of the entry would show. In the past a file's is
 * its version's, which only its attributes tell. */
static int entry_number(struct view *view, const struct view_node *dir,
			const struct batch_entry *found, uint64_t *number_out)
{
	struct tree_attr attr;
	int err;

	if (dir->ino == TREE_ROOT_INO && strcmp(found->name, "..") == 0) {
		*number_out = tree_parent_id(view, dir->at);
	} else if (lsn_is_head(dir->at)) {
		*number_out = found->ino;
	} else if (found->ino == TREE_ROOT_INO && is_past_root(view, NODE_ROOT)) {
		*number_out = NODE_ROOT;
	} else if (S_ISDIR(found->type)) {
		*number_out = node_directory_id(view->nodes, found->ino, dir->at);
	} else {
		err = tree_getattr(view->store, found->ino, dir->at, &attr);
		if (err)
			return err;
		*number_out = node_file_id(attr.position);
	}
	return 0;
}

/* With @plus the entry is looked up; an entry that can't be (a bad checksum in
 * its attributes) is listed all the same, and stat of it says what is wrong. */
static int entry_resolve(struct view *view, const struct view_node *dir, bool plus,
			 const struct batch_entry *found, struct view_entry *entry_out)
{
	uint64_t number;
	int err;

	*entry_out = (struct view_entry){.life = VIEW_LIFE_NONE};
	if (plus && !name_is_dots(found->name)) {
		struct tree_attr attr;

		err = tree_getattr(view->store, found->ino, dir->at, &attr);
		if (!err)
			err = tree_entry_ref(view, &attr, dir->at, entry_out);
		if (!err || err == -ENOENT)
			return err;
	}
	err = entry_number(view, dir, found, &number);
	if (err == -ENOENT)
		return err;
	entry_out->stat.st_ino = err ? found->ino : number;
	entry_out->stat.st_mode = found->type;
	return 0;
}

/* Hand one batch on; false: the caller has no more room. */
static bool batch_emit(struct view *view, const struct view_node *dir, bool plus,
		       const struct batch *batch, view_entry_fn *fn, void *context)
{
	for (unsigned i = 0; i < batch->count; i++) {
		const struct batch_entry *found = &batch->entries[i];
		struct view_entry entry;

		if (entry_resolve(view, dir, plus, found, &entry))
			continue; /* gone since the batch was taken; only the head does that */
		if (!fn(context, found->name, found->cookie, &entry)) {
			view_forget(view, entry.id, 1);
			return false;
		}
	}
	return true;
}

static int readdir_tree(struct view *view, const struct view_node *dir, uint64_t cookie, bool plus,
			unsigned count_hint, view_entry_fn *fn, void *context)
{
	struct batch batch;
	int err;

	batch.limit = count_hint < BATCH_MAX ? count_hint : BATCH_MAX;
	do {
		batch.count = 0;
		err = tree_readdir(view->store, dir->ino, dir->at, cookie, batch_add, &batch);
		if (err || !batch.count)
			return err;
		cookie = batch.entries[batch.count - 1].cookie;
	} while (batch_emit(view, dir, plus, &batch, fn, context) && batch.count == batch.limit);
	return 0;
}

/* Where ".." of a directory of varve's own leads. */
static uint64_t fixed_parent(uint64_t dir)
{
	return node_is_past(dir) ? NODE_LSN : NODE_ROOT;
}

/* One entry of a directory of varve's own; at the end an entry without a name. */
static int fixed_entry_at(struct view *view, uint64_t dir, struct lsn at, uint64_t index, bool plus,
			  const char **name_out, struct view_entry *entry_out)
{
	const struct fixed_name *fixed = names_of(dir);

	*entry_out = (struct view_entry){.life = VIEW_LIFE_NONE};
	if (index < 2) {
		*name_out = index == 0 ? "." : "..";
		entry_out->stat.st_ino = index == 0 ? dir : fixed_parent(dir);
		entry_out->stat.st_mode = S_IFDIR;
		return 0;
	}
	for (uint64_t i = 2; fixed->name && i < index; i++)
		fixed++;
	*name_out = fixed->name;
	if (!fixed->name)
		return 0;
	if (plus)
		return lookup_fixed(view, dir, at, fixed->name, entry_out);
	entry_out->stat.st_ino = fixed->id;
	entry_out->stat.st_mode =
		fixed->id == TREE_ROOT_INO ? S_IFDIR : fixed_mode(fixed->id) & S_IFMT;
	if (fixed->id == TREE_ROOT_INO && !lsn_is_head(at))
		entry_out->stat.st_ino = node_directory_id(view->nodes, TREE_ROOT_INO, at);
	return 0;
}

static int readdir_fixed(struct view *view, uint64_t dir, struct lsn at, uint64_t cookie, bool plus,
			 view_entry_fn *fn, void *context)
{
	for (;; cookie++) {
		struct view_entry entry;
		const char *name;
		int err;

		err = fixed_entry_at(view, dir, at, cookie, plus, &name, &entry);
		if (err || !name)
			return err;
		if (!fn(context, name, cookie + 1, &entry)) {
			view_forget(view, entry.id, 1);
			return 0;
		}
	}
}

int view_readdir(struct view *view, uint64_t dir, uint64_t cookie, bool plus, unsigned count_hint,
		 view_entry_fn *fn, void *context)
{
	struct view_node node;
	int err;

	if (plus)
		wait_room(view, dir);
	err = view_node(view, dir, &node);
	if (err)
		return err;
	if (node.ino)
		return readdir_tree(view, &node, cookie, plus, count_hint, fn, context);
	return readdir_fixed(view, dir, node.at, cookie, plus, fn, context);
}
