/*
 * A whole store, one of log layers alone or one with tables and a merge under way: its files
 * changed, some of what is checksummed sealed again, opened, walked at the head and in the past,
 * and, if the input asks for it, written to (the merge goes on then), frozen and opened again. No
 * crash, nothing out of bounds; an error that names damage or a sound answer. Where nothing was
 * sealed again, each answer is the one that was noted.
 */
#include "fuzz.h"
#include "image.h"

#define ITEMS_MAX 200u          /* of a tree that leads back into itself */
#define DEPTH_MAX 6u
#define PAGE 4096u
#define HOW_WRITE 1u
#define HOW_FREEZE 2u
#define INOS 64u                /* looked at by number; all that a golden store has */
#define STEPS_MAX 16u           /* of holes and data; of extended attributes */

struct noted {
	struct census *census;
	int errors[INOS];               /* 0; -ENOENT: the inode is not there */
	uint64_t digests[INOS];         /* of extended attributes and holes */
};

struct walk {
	struct store *store;
	struct lsn at;
	unsigned items, depth;
	uint64_t cookie;
};

static bool is_damage(int err)
{
	return err == -EBADMSG || err == -EUCLEAN || err == -EIO || err == -ENOMEM;
}

static bool is_sound_error(int err)
{
	return is_damage(err) || err == -ENOENT || err == -ENOTDIR || err == -EINVAL ||
	       err == -ENAMETOOLONG;
}

/* All names, and the values of some; adds them to *digest. 0; -errno. */
static int read_xattrs(const struct walk *walk, uint64_t ino, uint64_t *digest)
{
	static char names[TREE_XATTR_LIST_MAX];
	static uint8_t value[TREE_XATTR_VALUE_MAX];
	size_t size, length, count;
	unsigned steps = 0;
	int err = tree_listxattr(walk->store, ino, walk->at, names, sizeof(names), &size);

	require(err || size <= sizeof(names));
	require(err || !size || !names[size - 1]);
	for (size_t at = 0; !err && at < size && steps++ < STEPS_MAX; at += length + 1) {
		length = strlen(names + at);
		require(length && length <= TREE_XATTR_NAME_MAX);
		*digest = digest_add(*digest, names + at, length);
		err = tree_getxattr(walk->store, ino, walk->at, names + at, value, sizeof(value), &count);
		require(err || count <= sizeof(value));
		if (!err)
			*digest = digest_add(*digest, value, count);
	}
	return err;
}

/* Data and holes take turns up to the end; adds where they lie to *digest. 0; -errno. */
static int read_space(const struct walk *walk, const struct tree_attr *attr, uint64_t *digest)
{
	uint64_t offset = 0;

	for (unsigned step = 0; step < STEPS_MAX; step++) {
		bool hole = step % 2;
		uint64_t found;
		int err = tree_seek(walk->store, attr->ino, walk->at, offset, hole, &found);

		if (err == -ENXIO)
			break;
		if (err)
			return err;
		require(found >= offset && (!step || found > offset));
		require(found < attr->size_bytes + hole);
		*digest = digest_add(*digest, &found, sizeof(found));
		offset = found;
	}
	return 0;
}

static int read_extras(const struct walk *walk, const struct tree_attr *attr, uint64_t *digest)
{
	int err = read_xattrs(walk, attr->ino, digest);

	return !err && S_ISREG(attr->mode) ? read_space(walk, attr, digest) : err;
}

/* As read_extras, from the number alone. */
static int read_inode(struct store *store, struct lsn at, uint64_t ino, uint64_t *digest)
{
	const struct walk walk = { store, at, 0, 0, 0 };
	struct tree_attr attr;
	int err = tree_getattr(store, ino, at, &attr);

	*digest = DIGEST_START;
	return err ? err : read_extras(&walk, &attr, digest);
}

static void note(struct store *store, struct lsn at, struct noted *noted)
{
	noted->census = census_take(store, at);
	for (unsigned i = 0; i < INOS; i++) {
		noted->errors[i] = read_inode(store, at, TREE_ROOT_INO + i, &noted->digests[i]);
		require(noted->errors[i] == 0 || noted->errors[i] == -ENOENT);
	}
	require(noted->errors[INOS - 1] == -ENOENT);
}

static struct noted *note_once(struct image *image, bool tables)
{
	static struct noted all[2][GOLDEN_LSNS_MAX];
	struct store_options options = { .holder = "fuzz", .read_only = true };
	struct report report = { "" };
	struct store *store;

	if (all[tables][0].census)
		return all[tables];
	require(store_open(image->path, &options, &report, &store) == 0);
	for (size_t i = 0; i < image->golden->count; i++)
		note(store, image->golden->lsns[i], &all[tables][i]);
	require(store_close(store) == 0);
	return all[tables];
}

/* Each answer is the one that was noted, or names damage. */
static void compare(const struct noted *noted, struct store *store, struct lsn at)
{
	struct census_verdict verdict = { 0 };

	census_check(noted->census, store, at, &verdict);
	if (verdict.wrong)
		fprintf(stderr, "%s\n", verdict.first_wrong);
	require(verdict.wrong == 0);
	for (unsigned i = 0; i < INOS; i++) {
		uint64_t digest;
		int err = read_inode(store, at, TREE_ROOT_INO + i, &digest);

		require(is_damage(err) ||
			(err == noted->errors[i] && (err || digest == noted->digests[i])));
	}
}

static void walk_inode(struct walk *walk, uint64_t ino);

static bool walk_entry(void *context, const struct tree_entry *entry)
{
	struct walk *walk = context, below = *walk;
	struct tree_attr attr;
	int err;

	require(entry->cookie > walk->cookie && entry->cookie <= INT64_MAX);
	walk->cookie = entry->cookie;
	if (name_is_dot(entry->name))
		return true;
	require(*entry->name && strlen(entry->name) <= TREE_NAME_MAX && !strchr(entry->name, '/'));
	if (++walk->items > ITEMS_MAX || walk->depth == DEPTH_MAX)
		return false;
	err = tree_getattr(walk->store, entry->ino, walk->at, &attr);
	require(err == 0 || is_sound_error(err));
	if (!err) {
		below.depth++;
		below.items = walk->items;
		walk_inode(&below, entry->ino);
		walk->items = below.items;
	}
	return true;
}

static void read_some(struct walk *walk, const struct tree_attr *attr, uint64_t offset)
{
	static uint8_t bytes[64 * KIB];
	size_t count = 0;
	int err = tree_read(walk->store, attr->ino, walk->at, offset, bytes, sizeof(bytes), &count);

	require(err == 0 || is_sound_error(err) || err == -EISDIR);
	require(count <= sizeof(bytes));
	if (!err && offset < attr->size_bytes)
		require(count == (attr->size_bytes - offset < sizeof(bytes)
					  ? attr->size_bytes - offset : sizeof(bytes)));
}

static void walk_inode(struct walk *walk, uint64_t ino)
{
	char target[PATH_MAX];
	struct tree_attr attr;
	uint64_t digest = DIGEST_START;
	int err = tree_getattr(walk->store, ino, walk->at, &attr);

	require(err == 0 || is_sound_error(err));
	if (err)
		return;
	require(attr.ino == ino && attr.changed.value <= walk->at.value && attr.position < LSN_LIMIT);
	require(attr.size_bytes <= TREE_SIZE_MAX);
	err = read_extras(walk, &attr, &digest);
	require(err == 0 || is_sound_error(err));
	err = 0;
	if (S_ISDIR(attr.mode)) {
		walk->cookie = 0;
		err = tree_readdir(walk->store, ino, walk->at, 0, walk_entry, walk);
	} else if (S_ISLNK(attr.mode)) {
		err = tree_readlink(walk->store, ino, walk->at, target, sizeof(target));
	} else {
		read_some(walk, &attr, 0);
		if (attr.size_bytes > 1000)
			read_some(walk, &attr, attr.size_bytes - 1000);
	}
	require(err == 0 || is_sound_error(err));
}

static bool next_change(void *context, const struct tree_change *change)
{
	struct lsn *before = context;

	require(change->lsn.value > before->value);
	*before = change->lsn;
	return true;
}

/* Up to @known the history is the one that was noted: an input may damage a store in so
 * many places that nothing is left to tell that its end is missing, and what is written
 * then has the LSNs of what was lost. */
static void walk_all(struct image *image, const struct noted *noted, struct store *store, bool seal,
		     uint8_t which, struct lsn known)
{
	struct lsn oldest, head;

	store_window(store, &oldest, &head);
	/* The newest there is, and one of the others: each costs as much as the opening. */
	for (unsigned turn = 0; turn < 2; turn++) {
		size_t i = turn ? which % image->golden->count : image->golden->count - 1;
		struct walk walk = { store, image->golden->lsns[i], 0, 0, 0 };

		if (turn == 0 && seal && head.value)
			walk.at = head;
		if (walk.at.value > head.value || walk.at.value < oldest.value)
			continue;
		if (seal)
			walk_inode(&walk, TREE_ROOT_INO);
		else if (walk.at.value <= known.value)
			compare(&noted[i], store, walk.at);
	}
	for (uint64_t ino = 16; seal && ino < 24; ino += 1 + which % 4) {
		struct lsn before = { 0 };
		int err = tree_history(store, ino, next_change, &before);

		require(err == 0 || is_sound_error(err));
	}
}

/* Of what the older store has none: extended attributes, maps of two levels. */
static void write_more(struct store *store, uint64_t ino)
{
	(void)tree_write(store, ino, 40 * MIB + 100, "far out", 7, false);
	(void)tree_punch(store, ino, PAGE / 2, 9 * PAGE, true, false);
	(void)tree_setxattr(store, ino, "user.first", "written", 7, 0);
	(void)tree_setxattr(store, ino, "user.other", "", 0, 0);
	(void)tree_removexattr(store, ino, ino % 2 ? "user.first" : "user.empty");
}

static void write_some(struct store *store, bool freeze)
{
	struct tree_new what = { .mode = S_IFREG | 0644 };
	struct tree_attr attr = { .size_bytes = 5000 };

	for (uint64_t ino = 16; ino < 24; ino++) {
		(void)tree_write(store, ino, 100, "written", 7, true);
		(void)tree_setattr(store, ino, TREE_SET_SIZE, &attr, &attr);
		(void)tree_create(store, ino, "created", &what, &attr);
		(void)tree_unlink(store, ino, "last");
		(void)tree_rename(store, TREE_ROOT_INO, "dir", ino, "renamed", 0);
	}
	for (uint64_t ino = 16; ino < 28; ino++)
		write_more(store, ino);
	if (freeze)
		(void)store_freeze(store);
	(void)store_sync(store, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	bool tables = image_tables_of(data, size_bytes);
	struct image *image = image_get(tables);
	const struct noted *noted = note_once(image, tables);
	uint8_t seal = image_seal_of(data, size_bytes), how = image_how_of(data, size_bytes);
	bool write = (how & 0xf) == HOW_WRITE || (how & 0xf) == (HOW_WRITE | HOW_FREEZE);
	struct store_options options = { .holder = "fuzz", .read_only = !write,
					 .layer_size_bytes = 4 * MIB, .cache_size_bytes = 1 };
	struct report report = { "" };
	struct lsn oldest, known = { 0 };
	struct store *store;
	int err;

	image_apply(image, data, size_bytes);
	image->written = write;
	for (unsigned turn = 0; turn < 1u + write; turn++) {
		err = store_open(image->path, &options, &report, &store);
		require(!err == !!store);
		require(!err || report.text[0]);
		if (err)
			break;
		if (turn == 0)
			store_window(store, &oldest, &known);
		walk_all(image, noted, store, seal, how >> 4, known);
		if (write)
			write_some(store, how & HOW_FREEZE);
		(void)store_close(store);
	}
	image_reset(image);
	return 0;
}
