/*
 * Power load: a store on a simulated disk, random changes to it, and a plain tree
 * in memory that is told what each should do. After each change the plain tree's
 * digest is kept under the LSN; what a disk holds after a cut is compared with that.
 *
 * The plain tree knows contents, names, types and links by itself. Inode numbers and
 * times it takes from the store right after the change.
 */
#ifndef VARVE_TESTS_POWER_LOAD_H
#define VARVE_TESTS_POWER_LOAD_H

#include "sim_disk.h"
#include "store.h"
#include "test_support.h"
#include "tree.h"

#define LOAD_PATH "/store"
#define LOAD_PAGE_BYTES 4096u

enum load_mark {
	LOAD_MADE = 1,          /* mkfs returned */
	LOAD_CHANGED,           /* a change returned: its LSN */
	LOAD_SYNCED,            /* a sync, or a close, returned: the LSN that is durable */
	LOAD_LIMITED,           /* history is about to be limited: to so many bytes */
};

enum load_op {
	LOAD_APPEND, LOAD_OVERWRITE, LOAD_BATCH, LOAD_CREATE, LOAD_MKDIR, LOAD_SYMLINK, LOAD_LINK,
	LOAD_RENAME, LOAD_EXCHANGE, LOAD_UNLINK, LOAD_RMDIR, LOAD_CUT, LOAD_CUT_ALL, LOAD_GROW,
	LOAD_CHMOD, LOAD_XATTR, LOAD_PUNCH, LOAD_ZERO, LOAD_RESERVE, LOAD_COPY, LOAD_TREE_OPS,
	/* of the store */
	LOAD_SYNC = LOAD_TREE_OPS, LOAD_FREEZE, LOAD_REOPEN, LOAD_COMPACT, LOAD_COLLECT, LOAD_WINDOW,
	LOAD_PIN, LOAD_OPS,
};
extern const char *const load_op_names[LOAD_OPS];

/* The plain tree. Directories lie in the root; names are single letters. */
#define LOAD_DIRS 3u            /* the root is the first */
#define LOAD_NAMES 6u
#define LOAD_NODES (LOAD_DIRS * LOAD_NAMES)
#define LOAD_CONTENT_MAX 60000u
#define LOAD_CONTENT_MAX_BULKY (3u << 20)
#define LOAD_PINS 2u
#define LOAD_XATTR_NAME "user.x"
#define LOAD_XATTR_MAX 3000u

/* Never changed once made. */
struct load_content {
	uint32_t refs;
	size_t size_bytes;
	uint64_t digest;
	uint8_t bytes[];
};

struct load_node {
	bool used;
	unsigned dir;                   /* of a directory: its number */
	struct tree_attr attr;
	struct load_content *content;   /* of a file or symlink */
	uint64_t xattr;                 /* digest of its extended attribute; 0: it has none */
};

struct load_tree {
	struct load_node nodes[LOAD_NODES];
	struct tree_attr root;
	int names[LOAD_DIRS][LOAD_NAMES];       /* the node; -1: no such name */
};

/* The tree at one LSN. */
struct load_state {
	uint64_t lsn;
	uint64_t digest;
	struct load_tree *tree;
};

struct load_history {
	struct load_state *states;      /* ascending; the first is what mkfs made */
	size_t count, room;
	uint64_t first;                 /* the oldest LSN that could ever be read */
};

struct load {
	struct sim_disk *disk;
	struct store *store;            /* NULL: closed */
	struct load_tree *tree;         /* as it is now */
	struct load_history history;
	struct prng prng;
	bool bulky;                     /* batches of nearly 1 MiB: five fill a layer */
	uint64_t synced;                /* the highest LSN that a sync returned */
	uint64_t pins[LOAD_PINS];       /* LSNs held, until the store is closed */
	unsigned pin_count;
	uint64_t limit;                 /* on the bytes of history, the tightest that was set; 0: none */
};

/* A load on @disk, which it uses (sim_disk_use) and does not own. Nothing is made yet. */
struct load *load_new(struct sim_disk *disk, uint64_t seed);
/* The store, if open, is closed; what that returns is of no account. */
void load_free(struct load *load);

/* What the last mkfs or open reported. */
extern char load_said[sizeof(((struct report *)0)->text)];

/* mkfs, then open. 0 or -errno as the store's. */
int load_make(struct load *load);
int load_open(struct load *load);
int load_close(struct load *load);
/* The store that is open holds @from up to @lsn, and goes on from there. */
void load_adopt(struct load *load, const struct load_history *from, uint64_t lsn);

/* The plain tree was brought to what the store holds at @lsn, which is above all that the
 * history has: add it. */
void load_note(struct load *load, uint64_t lsn);

/*
 * Do one operation, with random arguments. It was possible (e.g. there was a file to
 * unlink) and returned 0: the plain tree and the history have it. 1: it was not
 * possible. -errno: what the store returned; the plain tree is as before.
 */
int load_do(struct load *load, enum load_op op);
/* A random one, the usual ones more often. */
enum load_op load_choose(struct load *load);

/* What the store's tree is at @at, as the digests of the history. 0 or -errno. */
int load_store_digest(struct store *store, struct lsn at, uint64_t *digest_out);

/* The newest at or below @lsn; NULL: none. */
const struct load_state *load_history_at(const struct load_history *history, uint64_t lsn);

uint64_t load_oldest(struct store *store);
uint64_t load_newest(struct store *store);

/*
 * The tree at @lsn (UINT64_MAX: the head) is that of @state; else the test fails. False: it can't be read, for
 * it lies below the window.
 */
bool load_check_lsn(struct store *store, uint64_t lsn, const struct load_state *state);

/* From now on, in the whole process: stores are opened so that any two runs are merged, in pieces of a few
 * pages each; or as usual, with runs too large for these tests to see a merge that nobody wished for. */
void load_merge_eagerly(bool eagerly);
bool load_merges_eagerly(void);

struct store_options load_options(void);

#endif
