#include "power_load.h"

#include "checksum.h"
#include "load_store.h"
#include "load_tree.h"

#define EAGER_PIECE_BYTES 16384u

const char *const load_op_names[LOAD_OPS] = {
	"append", "overwrite", "batch", "create", "mkdir", "symlink", "link", "rename", "exchange",
	"unlink", "rmdir", "truncate", "truncate to 0", "grow", "chmod", "xattr", "punch", "zero", "reserve", "copy",
	"sync", "freeze", "reopen",
	"compact", "collect", "window", "pin",
};

char load_said[sizeof(((struct report *)0)->text)];

static bool eager;

void load_merge_eagerly(bool eagerly)
{
	eager = eagerly;
}

bool load_merges_eagerly(void)
{
	return eager;
}

struct store_options load_options(void)
{
	return (struct store_options){
		.holder = "a test",
		.layer_size_bytes = 4 * MIB,
		.cache_size_bytes = 1 * MIB,
		/* Few pages are many here. */
		.drop_tombstones = 2,
		.fanin_0 = eager ? 2 : 0,
		.fanin = eager ? 2 : 0,
		.piece_bytes = eager ? EAGER_PIECE_BYTES : 0,
	};
}

/* ---- history ---- */

static void history_add(struct load_history *history, uint64_t lsn, const struct load_tree *tree)
{
	if (history->count == history->room) {
		history->room = history->room ? 2 * history->room : 64;
		sim_disk_busy += 1;
		history->states = realloc(history->states,
					  history->room * sizeof(*history->states));
		sim_disk_busy -= 1;
		require(history->states);
	}
	history->states[history->count++] = (struct load_state){
		lsn, load_tree_digest(tree), load_tree_copy(tree),
	};
}

const struct load_state *load_history_at(const struct load_history *history, uint64_t lsn)
{
	const struct load_state *found = NULL;

	for (size_t i = 0; i < history->count && history->states[i].lsn <= lsn; i++)
		found = &history->states[i];
	return found;
}

/* ---- the store ---- */

struct load *load_new(struct sim_disk *disk, uint64_t seed)
{
	struct load *load = calloc(1, sizeof(*load));

	require(load);
	load->disk = disk;
	load->prng.state = seed;
	load->tree = load_tree_new();
	sim_disk_use(disk);
	return load;
}

void load_free(struct load *load)
{
	if (!load)
		return;
	if (load->store)
		load_drop_pins(load);
	store_close(load->store);
	for (size_t i = 0; i < load->history.count; i++)
		load_tree_free(load->history.states[i].tree);
	free(load->history.states);
	load_tree_free(load->tree);
	free(load);
}

/* The store must agree with the plain tree on everything but times, which it is asked for. */
static void refresh_attr(struct load *load, struct lsn at, struct tree_attr *attr,
			 const struct load_node *node)
{
	struct tree_attr before = *attr;
	unsigned nlink = 0;

	require(!tree_getattr(load->store, before.ino, at, attr));
	require(attr->mode == before.mode);
	if (!node)
		return;
	require(!node->content || attr->size_bytes == node->content->size_bytes);
	for (unsigned i = 0; i < LOAD_DIRS * LOAD_NAMES; i++)
		nlink += load->tree->names[i / LOAD_NAMES][i % LOAD_NAMES] ==
			 (int)(node - load->tree->nodes);
	require(attr->nlink == nlink);
}

static void refresh_all(struct load *load, struct lsn at)
{
	sim_disk_busy += 1;
	refresh_attr(load, at, &load->tree->root, NULL);
	for (unsigned i = 0; i < LOAD_NODES; i++)
		if (load->tree->nodes[i].used)
			refresh_attr(load, at, &load->tree->nodes[i].attr, &load->tree->nodes[i]);
	sim_disk_busy -= 1;
}

void load_note(struct load *load, uint64_t lsn)
{
	const struct load_history *history = &load->history;

	require(history->count && history->states[history->count - 1].lsn < lsn);
	refresh_all(load, lsn_make(lsn));
	history_add(&load->history, lsn, load->tree);
}

/* Note the change that was made to both. */
static void note_change(struct load *load)
{
	struct load_history *history = &load->history;
	uint64_t lsn = load_newest(load->store);

	refresh_all(load, LSN_HEAD);
	if (history->count && history->states[history->count - 1].lsn == lsn)
		require(history->states[history->count - 1].digest ==
			load_tree_digest(load->tree));
	else
		history_add(history, lsn, load->tree);
	sim_disk_mark(load->disk, LOAD_CHANGED, lsn);
}

void load_note_synced(struct load *load, uint64_t lsn)
{
	load->synced = lsn;
	sim_disk_mark(load->disk, LOAD_SYNCED, lsn);
}

int load_make(struct load *load)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = LOAD_PAGE_BYTES, .root_mode = 0750 };
	struct report report = { "" };
	int err = store_mkfs(LOAD_PATH, &mkfs, &report);

	memcpy(load_said, report.text, sizeof(load_said));
	if (!err)
		sim_disk_mark(load->disk, LOAD_MADE, 0);
	if (!err)
		err = load_open(load);
	if (!err) {
		load->tree->root.ino = TREE_ROOT_INO;
		load->tree->root.mode = S_IFDIR | 0750;
		load->history.first = load_oldest(load->store);
		note_change(load);
		load_note_synced(load, load_newest(load->store));
	}
	return err;
}

int load_open(struct load *load)
{
	struct store_options options = load_options();
	struct report report = { "" };
	int err = store_open(LOAD_PATH, &options, &report, &load->store);

	memcpy(load_said, report.text, sizeof(load_said));
	/* Who is refused is told why. */
	require(!err || report.text[0]);
	return err;
}

int load_close(struct load *load)
{
	struct store *store = load->store;
	uint64_t lsn = load_newest(store);
	int err;

	load_check_pins(load);
	load_drop_pins(load);
	load->store = NULL;
	err = store_close(store);
	if (!err)
		load_note_synced(load, lsn);
	return err;
}

void load_adopt(struct load *load, const struct load_history *from, uint64_t lsn)
{
	const struct load_state *now = load_history_at(from, lsn);

	for (size_t i = 0; i < from->count && from->states[i].lsn <= lsn; i++)
		history_add(&load->history, from->states[i].lsn, from->states[i].tree);
	load->history.first = from->first;
	load_tree_free(load->tree);
	load->tree = load_tree_copy(now->tree);
	load->synced = lsn;
}

/* ---- choosing what to do it to ---- */

struct place {
	unsigned dir, name;
};

typedef bool place_fn(const struct load_tree *tree, struct place place);

static const struct load_node *node_at(const struct load_tree *tree, struct place place)
{
	int number = tree->names[place.dir][place.name];

	return number < 0 ? NULL : &tree->nodes[number];
}

static bool dir_is_there(const struct load_tree *tree, unsigned dir)
{
	for (unsigned i = 0; i < LOAD_NODES; i++)
		if (tree->nodes[i].used && tree->nodes[i].dir == dir)
			return true;
	return dir == 0;
}

static bool is_free(const struct load_tree *tree, struct place place)
{
	return !node_at(tree, place) && dir_is_there(tree, place.dir);
}

static bool is_free_in_root(const struct load_tree *tree, struct place place)
{
	return place.dir == 0 && is_free(tree, place);
}

static bool is_used(const struct load_tree *tree, struct place place)
{
	return node_at(tree, place) != NULL;
}

static bool is_file(const struct load_tree *tree, struct place place)
{
	return is_used(tree, place) && S_ISREG(node_at(tree, place)->attr.mode);
}

static bool is_full_file(const struct load_tree *tree, struct place place)
{
	return is_file(tree, place) && node_at(tree, place)->content->size_bytes;
}

static bool is_leaf(const struct load_tree *tree, struct place place)
{
	return is_used(tree, place) && !node_at(tree, place)->dir;
}

static bool is_empty_dir(const struct load_tree *tree, struct place place)
{
	return is_used(tree, place) && node_at(tree, place)->dir &&
	       load_dir_is_empty(tree, node_at(tree, place)->dir);
}

/* A random place for which @fits. False: there is none. */
static bool choose(struct load *load, place_fn *fits, struct place *place_out)
{
	unsigned start = (unsigned)prng_below(&load->prng, LOAD_NODES);

	for (unsigned i = 0; i < LOAD_NODES; i++) {
		unsigned at = (start + i) % LOAD_NODES;

		*place_out = (struct place){ at / LOAD_NAMES, at % LOAD_NAMES };
		if (fits(load->tree, *place_out))
			return true;
	}
	return false;
}

/* ---- operations ---- */

static const char *name_text(unsigned name)
{
	static const char texts[LOAD_NAMES][2] = { "a", "b", "c", "d", "e", "f" };

	return texts[name];
}

static int do_write(struct load *load, enum load_op op)
{
	static uint8_t bytes[TREE_WRITE_MAX];
	struct place place;
	struct load_node *node;
	size_t size, offset, count;
	int err;

	if (!choose(load, op == LOAD_OVERWRITE ? is_full_file : is_file, &place))
		return 1;
	node = &load->tree->nodes[load->tree->names[place.dir][place.name]];
	size = node->content->size_bytes;
	if (op == LOAD_APPEND) {
		offset = size;
		/* The large ones are written by a system call, the others stored. */
		count = prng_below(&load->prng, 24) ? 1 + prng_below(&load->prng, 3000)
						    : 33000 + prng_below(&load->prng, 7000);
	} else if (op == LOAD_OVERWRITE) {
		offset = prng_below(&load->prng, size);
		count = 1 + prng_below(&load->prng, size - offset < 2000 ? size - offset : 2000);
	} else {
		offset = prng_below(&load->prng, size + 5000);
		count = (load->bulky ? 900000 : 5000) + prng_below(&load->prng, 15000);
	}
	if (offset + count > (load->bulky ? LOAD_CONTENT_MAX_BULKY : LOAD_CONTENT_MAX))
		return 1;
	prng_fill(&load->prng, bytes, count);
	err = tree_write(load->store, node->attr.ino, offset, bytes, count, false);
	if (!err)
		load_tree_write(node, offset, bytes, count);
	return err;
}

static int do_create(struct load *load, enum load_op op)
{
	unsigned new_dir = op == LOAD_MKDIR ? load_dir_free(load->tree) : 0;
	struct tree_new what = { .mode = S_IFREG | 0640, .uid = 5, .gid = 6 };
	struct load_content *content = NULL;
	struct tree_attr attr;
	struct place place;
	uint64_t dir;
	char target[40];
	int err;

	if ((op == LOAD_MKDIR && !new_dir) ||
	    !choose(load, op == LOAD_MKDIR ? is_free_in_root : is_free, &place))
		return 1;
	dir = load_dir_ino(load->tree, place.dir);
	if (op == LOAD_SYMLINK) {
		snprintf(target, sizeof(target), "to/%llx",
			 (unsigned long long)prng_next(&load->prng));
		what.mode = S_IFLNK | 0777;
		err = tree_symlink(load->store, dir, name_text(place.name), target, &what, &attr);
		content = load_content_new(target, strlen(target));
	} else {
		if (op == LOAD_MKDIR)
			what.mode = S_IFDIR | 0750;
		else
			content = load_content_new("", 0);
		err = tree_create(load->store, dir, name_text(place.name), &what, &attr);
	}
	if (err)
		free(content);
	else
		load_tree_add(load->tree, place.dir, place.name, &attr, new_dir, content);
	return err;
}

static int do_link(struct load *load)
{
	struct place from, to;
	struct tree_attr attr;
	int err;

	if (!choose(load, is_leaf, &from) || !choose(load, is_free, &to))
		return 1;
	err = tree_link(load->store, node_at(load->tree, from)->attr.ino,
			load_dir_ino(load->tree, to.dir), name_text(to.name), &attr);
	if (!err)
		load->tree->names[to.dir][to.name] = load->tree->names[from.dir][from.name];
	return err;
}

static int do_rename(struct load *load, enum load_op op)
{
	const struct load_node *source, *target;
	struct place from, to;
	unsigned flags = op == LOAD_EXCHANGE ? TREE_RENAME_EXCHANGE : 0;
	place_fn *to_fits = op == LOAD_EXCHANGE ? is_used
			    : prng_below(&load->prng, 2) ? is_used : is_free;
	int *from_slot, *to_slot;
	int err;

	if (!choose(load, is_used, &from) || !choose(load, to_fits, &to))
		return 1;
	source = node_at(load->tree, from);
	target = node_at(load->tree, to);
	if (source == target || ((source->dir || (target && target->dir)) && (from.dir || to.dir)))
		return 1;
	if (!flags && target && (!!source->dir != !!target->dir ||
				 (target->dir && !load_dir_is_empty(load->tree, target->dir))))
		return 1;
	err = tree_rename(load->store, load_dir_ino(load->tree, from.dir), name_text(from.name),
			  load_dir_ino(load->tree, to.dir), name_text(to.name), flags);
	if (err)
		return err;
	if (!flags && target)
		load_tree_remove(load->tree, to.dir, to.name);
	from_slot = &load->tree->names[from.dir][from.name];
	to_slot = &load->tree->names[to.dir][to.name];
	int moved = *from_slot;
	*from_slot = *to_slot;
	*to_slot = moved;
	return 0;
}

static int do_remove(struct load *load, enum load_op op)
{
	struct place place;
	uint64_t dir;
	int err;

	if (!choose(load, op == LOAD_RMDIR ? is_empty_dir : is_leaf, &place))
		return 1;
	dir = load_dir_ino(load->tree, place.dir);
	err = op == LOAD_RMDIR ? tree_rmdir(load->store, dir, name_text(place.name))
			       : tree_unlink(load->store, dir, name_text(place.name));
	if (!err)
		load_tree_remove(load->tree, place.dir, place.name);
	return err;
}

static int do_setattr(struct load *load, enum load_op op)
{
	struct tree_attr to = { 0 }, attr;
	struct load_node *node;
	struct place place;
	int err;

	if (!choose(load, op == LOAD_CUT || op == LOAD_CUT_ALL ? is_full_file : is_file, &place))
		return 1;
	node = &load->tree->nodes[load->tree->names[place.dir][place.name]];
	to.mode = 0400 | (uint32_t)prng_below(&load->prng, 0400);
	if (op == LOAD_CUT)
		to.size_bytes = prng_below(&load->prng, node->content->size_bytes);
	else if (op == LOAD_GROW)
		to.size_bytes = node->content->size_bytes + 1 + prng_below(&load->prng, 9000);
	if (to.size_bytes > LOAD_CONTENT_MAX)
		return 1;
	err = tree_setattr(load->store, node->attr.ino,
			   op == LOAD_CHMOD ? TREE_SET_MODE : TREE_SET_SIZE, &to, &attr);
	if (!err && op == LOAD_CHMOD)
		node->attr.mode = S_IFREG | to.mode;
	else if (!err)
		load_tree_resize(node, to.size_bytes);
	return err;
}

static int do_space(struct load *load, enum load_op op)
{
	struct load_node *node;
	struct place place;
	uint64_t offset, size, end;
	int err;

	if (!choose(load, is_file, &place))
		return 1;
	node = &load->tree->nodes[load->tree->names[place.dir][place.name]];
	offset = prng_below(&load->prng, node->content->size_bytes + 5000);
	size = 1 + prng_below(&load->prng, prng_below(&load->prng, 2) ? 3000 : 40000);
	end = offset + size;
	if (op != LOAD_PUNCH && end > LOAD_CONTENT_MAX)
		return 1;
	err = op == LOAD_RESERVE ? tree_reserve(load->store, node->attr.ino, offset, size, false, false)
				 : tree_punch(load->store, node->attr.ino, offset, size,
					      op == LOAD_PUNCH, false);
	if (err)
		return err;
	if (op != LOAD_PUNCH && end > node->content->size_bytes)
		load_tree_resize(node, end);
	if (end > node->content->size_bytes)
		end = node->content->size_bytes;
	if (op != LOAD_RESERVE && offset < end)
		load_tree_zero(node, offset, end - offset);
	return 0;
}

/* From one file to another, or within one, at the head. */
static int do_copy(struct load *load)
{
	static uint8_t bytes[LOAD_CONTENT_MAX_BULKY];
	struct load_node *from, *to;
	struct place source, target;
	uint64_t offset, at, count, size;
	int err;

	if (!choose(load, is_full_file, &source) || !choose(load, is_file, &target))
		return 1;
	from = &load->tree->nodes[load->tree->names[source.dir][source.name]];
	to = &load->tree->nodes[load->tree->names[target.dir][target.name]];
	offset = prng_below(&load->prng, from->content->size_bytes);
	at = prng_below(&load->prng, to->content->size_bytes + 3000);
	size = 1 + prng_below(&load->prng, 12000);
	if (at + size > LOAD_CONTENT_MAX || (from == to && (offset > at ? offset - at : at - offset) < size))
		return 1;
	err = tree_copy(load->store, from->attr.ino, LSN_HEAD, offset, to->attr.ino, at, size, false,
			&count);
	if (err)
		return err;
	require(count && count <= size && offset + count <= from->content->size_bytes);
	memcpy(bytes, from->content->bytes + offset, count);
	load_tree_write(to, at, bytes, count);
	return 0;
}

/* Of files, directories and links; one in four goes, if there is one. */
static int do_setxattr(struct load *load)
{
	uint8_t value[LOAD_XATTR_MAX];
	struct load_node *node;
	struct place place;
	size_t size = 8 + prng_below(&load->prng, prng_below(&load->prng, 4) ? 60 : LOAD_XATTR_MAX - 8);
	bool removes = prng_below(&load->prng, 4) == 0;
	int err;

	if (!choose(load, is_used, &place))
		return 1;
	node = &load->tree->nodes[load->tree->names[place.dir][place.name]];
	if (removes && !node->xattr)
		return 1;
	prng_fill(&load->prng, value, size);
	err = removes ? tree_removexattr(load->store, node->attr.ino, LOAD_XATTR_NAME)
		      : tree_setxattr(load->store, node->attr.ino, LOAD_XATTR_NAME, value, size, 0);
	if (!err)
		node->xattr = removes ? 0 : checksum(value, size, 0);
	return err;
}

static int do_to_tree(struct load *load, enum load_op op)
{
	switch (op) {
	case LOAD_APPEND:
	case LOAD_OVERWRITE:
	case LOAD_BATCH:
		return do_write(load, op);
	case LOAD_CREATE:
	case LOAD_MKDIR:
	case LOAD_SYMLINK:
		return do_create(load, op);
	case LOAD_LINK:
		return do_link(load);
	case LOAD_RENAME:
	case LOAD_EXCHANGE:
		return do_rename(load, op);
	case LOAD_UNLINK:
	case LOAD_RMDIR:
		return do_remove(load, op);
	case LOAD_PUNCH:
	case LOAD_ZERO:
	case LOAD_RESERVE:
		return do_space(load, op);
	case LOAD_COPY:
		return do_copy(load);
	case LOAD_XATTR:
		return do_setxattr(load);
	default:
		return do_setattr(load, op);
	}
}

int load_do(struct load *load, enum load_op op)
{
	int err;

	if (op >= LOAD_TREE_OPS)
		return load_do_to_store(load, op);
	err = do_to_tree(load, op);
	if (!err)
		note_change(load);
	return err;
}

enum load_op load_choose(struct load *load)
{
	/* Of 72. */
	static const uint8_t shares[LOAD_OPS] = {
		[LOAD_APPEND] = 9, [LOAD_OVERWRITE] = 5, [LOAD_BATCH] = 4, [LOAD_CREATE] = 6,
		[LOAD_MKDIR] = 3, [LOAD_SYMLINK] = 2, [LOAD_LINK] = 2, [LOAD_RENAME] = 6,
		[LOAD_EXCHANGE] = 1, [LOAD_UNLINK] = 3, [LOAD_RMDIR] = 2, [LOAD_CUT] = 3,
		[LOAD_CUT_ALL] = 1, [LOAD_GROW] = 1, [LOAD_CHMOD] = 2, [LOAD_XATTR] = 2,
		[LOAD_PUNCH] = 3, [LOAD_ZERO] = 2, [LOAD_RESERVE] = 1, [LOAD_COPY] = 2,
		[LOAD_SYNC] = 7, [LOAD_FREEZE] = 3, [LOAD_REOPEN] = 2,
	};
	uint64_t draw = prng_below(&load->prng, 72);
	unsigned op = 0;

	if (prng_below(&load->prng, eager ? 6 : 24) == 0)
		return (enum load_op)(LOAD_COMPACT + prng_below(&load->prng, LOAD_OPS - LOAD_COMPACT));

	while (op < LOAD_REOPEN && draw >= shares[op])
		draw -= shares[op++];
	return (enum load_op)op;
}
