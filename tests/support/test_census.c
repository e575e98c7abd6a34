#include "test_census.h"

#include <inttypes.h>

#define PIECE_BYTES 4096u       /* contents are compared by so much */

struct census_name {
	char name[TREE_NAME_MAX + 1];
	uint64_t ino, cookie;
	uint32_t type;
};

/* One name of the tree, and what it leads to. */
struct census_item {
	uint64_t dir;
	char name[TREE_NAME_MAX + 1];
	struct tree_attr attr;
	uint64_t *pieces;               /* of a file: a digest for each PIECE_BYTES */
	size_t piece_count;
	char *target;                   /* of a symlink */
	struct census_name *names;      /* of a directory, in the order of its listing */
	size_t name_count;
};

struct census {
	struct census_item *items;
	size_t count, capacity;
};

#define A_PAGE "a page"

/* What an answer about one thing was. */
enum answer { RIGHT, REFUSED, WRONG };

static bool names_damage(int err)
{
	return err == -EBADMSG || err == -EUCLEAN || err == -EIO;
}

static uint64_t attr_digest(uint64_t digest, const struct tree_attr *attr)
{
	const uint64_t numbers[] = {
		attr->ino, attr->size_bytes, attr->mode, attr->uid, attr->gid, attr->nlink,
		attr->rdev, S_ISDIR(attr->mode) ? attr->parent_ino : 0, attr->changed.value,
		attr->position, (uint64_t)attr->mtime.seconds, attr->mtime.nanoseconds,
		(uint64_t)attr->ctime.seconds, attr->ctime.nanoseconds,
		(uint64_t)attr->atime.seconds, attr->atime.nanoseconds,
		(uint64_t)attr->btime.seconds, attr->btime.nanoseconds,
	};

	return digest_add(digest, numbers, sizeof(numbers));
}

/* The digest of one piece of a file; 0 or -errno. */
static int piece_digest(struct store *store, uint64_t ino, struct lsn at, uint64_t size_bytes,
			size_t piece, uint64_t *digest_out)
{
	uint64_t offset = (uint64_t)piece * PIECE_BYTES;
	size_t want = size_bytes - offset < PIECE_BYTES ? size_bytes - offset : PIECE_BYTES, count;
	uint8_t bytes[PIECE_BYTES];
	int err = tree_read(store, ino, at, offset, bytes, want, &count);

	*digest_out = err ? 0 : digest_add(DIGEST_START, bytes, count) + (want - count);
	return err;
}

static size_t piece_count(uint64_t size_bytes)
{
	return (size_t)((size_bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

/* A listing, compared as it comes or, at first, kept. */
struct listing_walk {
	struct census_item *item;
	size_t at;
	bool keep, wrong;
};

static bool listing_step(void *context, const struct tree_entry *entry)
{
	struct listing_walk *walk = context;
	struct census_item *item = walk->item;
	struct census_name *name;

	if (walk->keep) {
		item->names = realloc(item->names, (item->name_count + 1) * sizeof(*item->names));
		assert_non_null(item->names);
		name = &item->names[item->name_count++];
		memset(name, 0, sizeof(*name));
		snprintf(name->name, sizeof(name->name), "%s", entry->name);
		name->ino = entry->ino;
		name->cookie = entry->cookie;
		name->type = entry->type;
		return true;
	}
	name = walk->at < item->name_count ? &item->names[walk->at] : NULL;
	walk->at++;
	if (!name || strcmp(name->name, entry->name) || name->ino != entry->ino ||
	    name->cookie != entry->cookie || name->type != entry->type)
		walk->wrong = true;
	return !walk->wrong;
}

/* ---- taking it ---- */

static void take_item(struct census *census, struct store *store, struct lsn at, uint64_t dir,
		      const char *name);

static void take_dir(struct census *census, struct store *store, struct lsn at, size_t index)
{
	struct census_item item = census->items[index];
	struct listing_walk walk = { .item = &item, .keep = true };

	assert_ok(tree_readdir(store, item.attr.ino, at, 0, listing_step, &walk));
	census->items[index] = item;
	for (size_t i = 0; i < item.name_count; i++)
		if (!name_is_dot(item.names[i].name))
			take_item(census, store, at, item.attr.ino, item.names[i].name);
}

static void take_item(struct census *census, struct store *store, struct lsn at, uint64_t dir,
		      const char *name)
{
	struct census_item item = { .dir = dir };
	char target[PATH_MAX];

	snprintf(item.name, sizeof(item.name), "%s", name);
	assert_ok(tree_lookup(store, dir, name, at, &item.attr));
	if (S_ISREG(item.attr.mode)) {
		item.piece_count = piece_count(item.attr.size_bytes);
		item.pieces = calloc(item.piece_count + 1, sizeof(*item.pieces));
		assert_non_null(item.pieces);
		for (size_t i = 0; i < item.piece_count; i++)
			assert_ok(piece_digest(store, item.attr.ino, at, item.attr.size_bytes, i,
					       &item.pieces[i]));
	} else if (S_ISLNK(item.attr.mode)) {
		assert_ok(tree_readlink(store, item.attr.ino, at, target, sizeof(target)));
		item.target = strdup(target);
	}
	if (census->count == census->capacity) {
		census->capacity = census->capacity ? 2 * census->capacity : 32;
		census->items = realloc(census->items, census->capacity * sizeof(*census->items));
		assert_non_null(census->items);
	}
	census->items[census->count++] = item;
	if (S_ISDIR(item.attr.mode))
		take_dir(census, store, at, census->count - 1);
}

struct census *census_take(struct store *store, struct lsn at)
{
	struct census *census = calloc(1, sizeof(*census));

	assert_non_null(census);
	take_item(census, store, at, TREE_ROOT_INO, ".");
	return census;
}

void census_free(struct census *census)
{
	for (size_t i = 0; census && i < census->count; i++) {
		free(census->items[i].pieces);
		free(census->items[i].target);
		free(census->items[i].names);
	}
	if (census)
		free(census->items);
	free(census);
}

uint64_t census_digest(const struct census *census)
{
	uint64_t digest = DIGEST_START;

	for (size_t i = 0; i < census->count; i++) {
		const struct census_item *item = &census->items[i];

		digest = digest_add(digest, &item->dir, sizeof(item->dir));
		digest = digest_add(digest, item->name, strlen(item->name));
		digest = attr_digest(digest, &item->attr);
		digest = digest_add(digest, item->pieces, item->piece_count * sizeof(uint64_t));
		if (item->target)
			digest = digest_add(digest, item->target, strlen(item->target));
		for (size_t n = 0; n < item->name_count; n++) {
			const struct census_name *name = &item->names[n];
			const uint64_t numbers[] = { name->ino, name->cookie, name->type };

			digest = digest_add(digest, name->name, strlen(name->name));
			digest = digest_add(digest, numbers, sizeof(numbers));
		}
	}
	return digest;
}

/* ---- checking it ---- */

static void count_answer(struct census_verdict *verdict, enum answer answer,
			 const struct census_item *item, const char *what, struct lsn at, int err)
{
	if (answer == RIGHT) {
		verdict->right++;
	} else if (answer == REFUSED) {
		verdict->refused++;
		verdict->refused_elsewhere += item->attr.ino != verdict->refused_ino ||
					      strcmp(what, A_PAGE) != 0;
	} else if (!verdict->wrong++) {
		snprintf(verdict->first_wrong, sizeof(verdict->first_wrong),
			 "%s of '%.60s', inode %" PRIu64 ", at LSN %" PRIu64 ": %s", what, item->name,
			 item->attr.ino, at.value, err ? strerror(-err) : "other bytes");
	}
}

static enum answer judge(int err, bool equal)
{
	if (err)
		return names_damage(err) ? REFUSED : WRONG;
	return equal ? RIGHT : WRONG;
}

static bool attr_equal(const struct tree_attr *a, const struct tree_attr *b)
{
	return attr_digest(DIGEST_START, a) == attr_digest(DIGEST_START, b);
}

static void check_content(const struct census_item *item, struct store *store, struct lsn at,
			  struct census_verdict *verdict)
{
	char target[PATH_MAX] = "";
	uint64_t digest;
	int err;

	for (size_t i = 0; i < item->piece_count; i++) {
		err = piece_digest(store, item->attr.ino, at, item->attr.size_bytes, i, &digest);
		count_answer(verdict, judge(err, digest == item->pieces[i]), item, A_PAGE, at, err);
	}
	if (item->target) {
		err = tree_readlink(store, item->attr.ino, at, target, sizeof(target));
		count_answer(verdict, judge(err, !strcmp(target, item->target)), item, "the target",
			     at, err);
	}
}

static void check_listing(const struct census_item *item, struct store *store, struct lsn at,
			  struct census_verdict *verdict)
{
	struct listing_walk walk = { .item = (struct census_item *)(uintptr_t)item };
	int err = tree_readdir(store, item->attr.ino, at, 0, listing_step, &walk);

	/* What was listed before an error has to be right as well. */
	if (walk.wrong)
		err = 0;
	count_answer(verdict, judge(err, !walk.wrong && walk.at == item->name_count), item,
		     "the listing", at, err);
}

void census_check(const struct census *census, struct store *store, struct lsn at,
		  struct census_verdict *verdict)
{
	for (size_t i = 0; i < census->count; i++) {
		const struct census_item *item = &census->items[i];
		struct tree_attr attr;
		int err = tree_lookup(store, item->dir, item->name, at, &attr);

		count_answer(verdict, judge(err, !err && attr_equal(&attr, &item->attr)), item,
			     "the name", at, err);
		err = tree_getattr(store, item->attr.ino, at, &attr);
		count_answer(verdict, judge(err, !err && attr_equal(&attr, &item->attr)), item,
			     "the attributes", at, err);
		check_content(item, store, at, verdict);
		if (S_ISDIR(item->attr.mode))
			check_listing(item, store, at, verdict);
	}
}
