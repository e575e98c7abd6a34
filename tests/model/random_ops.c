/*
 * Random operations through the core beside the model, which keeps every
 * version; then random files, names, attributes and ranges at random LSNs,
 * before and after freezes, kills and reopens.
 *
 * Each operation's outcome, every attribute it should have changed and those
 * it should not, and its LSN are compared at once. What an operation must not
 * have touched is found by the comparisons at random LSNs, the newest among them.
 *
 * VARVE_MODEL_OPS sets the number of operations, VARVE_TEST_SEED the seed; a
 * failing run prints both the seed and the number of the operation.
 */
#include <inttypes.h>

#include "model.h"
#include "test_fixture.h"

#define OPERATIONS_STANDARD 1000000u
#define FILES_MAX 150u                  /* living files and directories, about */
#define FILE_SIZE_MAX (48u * PAGE_SIZE)
#define PAGE_SIZE 4096u

struct run {
	struct fixture *fixture;
	struct model *model;
	struct prng prng;
	struct lsn *lsns;               /* of every change */
	size_t lsn_count;
	struct lsn newest;              /* as the last operation left it */
	uint64_t operation, operation_count;
	uint64_t kill_at;               /* operation before which to kill; 0: none planned */
	uint64_t changes, refusals, comparisons, freezes, reopens, kills;
	struct model_inode **living;    /* named, or deleted and still open */
	size_t living_count;
};

static struct store *store_of(struct run *run)
{
	return run->fixture->store;
}

static uint64_t below(struct run *run, uint64_t bound)
{
	return prng_below(&run->prng, bound);
}

static bool one_in(struct run *run, uint64_t count)
{
	return below(run, count) == 0;
}

/* ---- choosing ---- */

static struct model_inode *choose_living(struct run *run)
{
	return run->living[below(run, run->living_count)];
}

/* A directory, mostly; now and then what is none, so that it is refused. */
static struct model_inode *choose_dir(struct run *run)
{
	if (one_in(run, 4))
		return run->model->inodes[0];
	for (unsigned tries = 0; tries < 40; tries++) {
		struct model_inode *inode = choose_living(run);

		if (inode->type == S_IFDIR || one_in(run, 400))
			return inode;
	}
	return run->model->inodes[0];
}

static struct model_inode *choose_file(struct run *run)
{
	for (unsigned tries = 0; tries < 40; tries++) {
		struct model_inode *inode = choose_living(run);

		if (inode->type == S_IFREG)
			return inode;
	}
	return NULL;
}

static unsigned choose_name(struct run *run)
{
	return below(run, MODEL_NAME_COUNT);
}

/* Prefer a name that is there. */
static unsigned choose_taken_name(struct run *run, const struct model_inode *dir)
{
	unsigned name = choose_name(run);

	for (unsigned tries = 0; dir->names && tries < MODEL_NAME_COUNT; tries++) {
		if (model_name_at(dir, name, LSN_HEAD))
			break;
		name = (name + 1) % MODEL_NAME_COUNT;
	}
	return name;
}

static const char *name_text(struct run *run, unsigned name)
{
	return run->model->names[name];
}

static struct lsn choose_lsn(struct run *run)
{
	struct lsn lsn;

	if (!run->lsn_count || one_in(run, 10))
		return LSN_HEAD;
	if (one_in(run, 10))
		return run->newest;
	lsn = run->lsns[below(run, run->lsn_count)];
	/* Any number between two LSNs is the earlier of them. */
	if (one_in(run, 4))
		lsn.value += below(run, 200);
	return lsn.value < run->newest.value ? lsn : run->newest;
}

/* ---- what should come of an operation ---- */

/* Every errno the state gives reason for; none: it should succeed. */
struct verdict {
	int errs[8];
	unsigned count;
};

static void refuse_if(struct verdict *verdict, bool reason, int err)
{
	if (reason)
		verdict->errs[verdict->count++] = err;
}

static bool is_dir(const struct model_inode *inode)
{
	return inode && inode->type == S_IFDIR;
}

static bool is_dead(const struct model_inode *inode)
{
	return model_attr_last(inode)->nlink == 0;
}

static struct model_inode *taken_by(const struct model_inode *dir, unsigned name)
{
	return is_dir(dir) ? model_name_at(dir, name, LSN_HEAD) : NULL;
}

static void refuse_bad_dir(struct verdict *verdict, const struct model_inode *dir)
{
	refuse_if(verdict, !is_dir(dir), -ENOTDIR);
	refuse_if(verdict, is_dead(dir), -ENOENT);
}

/* True if the operation succeeded, as it should have. */
static bool settle(struct run *run, const struct verdict *verdict, int err, const char *what)
{
	if (!verdict->count && !err)
		return true;
	for (unsigned i = 0; i < verdict->count; i++) {
		if (verdict->errs[i] == err) {
			run->refusals++;
			assert_int_equal(newest(store_of(run)).value, run->newest.value);
			return false;
		}
	}
	print_error("%s returned %d (%s), expected %s %s\n", what, err,
		    err < 0 ? strerrorname_np(-err) : "success",
		    verdict->count ? strerrorname_np(-verdict->errs[0]) : "success",
		    verdict->count > 1 ? "or another refusal" : "");
	fail();
	return false;
}

/* ---- following a change ---- */

#define TOUCH_MTIME 1u
#define TOUCH_CTIME 2u
#define TOUCH_ATIME 4u
#define TOUCH_ALL (TOUCH_MTIME | TOUCH_CTIME | TOUCH_ATIME)
#define TOUCH_DATA (TOUCH_MTIME | TOUCH_CTIME)

static void expect_time(struct tree_time *expected, struct tree_time found, bool touched)
{
	/* The clock is the store's; that it was looked at is all that can be said. */
	if (touched)
		*expected = found;
}

/* @expected is the inode as the change should leave it, but for the times in @touched. */
static void follow(struct run *run, struct model_inode *inode, struct tree_attr expected,
		   unsigned touched)
{
	struct tree_attr found = attr_now(store_of(run), inode->ino);

	expect_time(&expected.mtime, found.mtime, touched & TOUCH_MTIME);
	expect_time(&expected.ctime, found.ctime, touched & TOUCH_CTIME);
	expect_time(&expected.atime, found.atime, touched & TOUCH_ATIME);
	expected.changed = newest(store_of(run));
	assert_true(found.position >= run->newest.value);
	assert_true(found.position < expected.changed.value);
	expected.position = found.position;
	assert_attr_equal(&expected, &found);
	model_attr_put(inode, &found);
}

static void follow_dir(struct run *run, struct model_inode *dir, int names_added)
{
	struct tree_attr expected = *model_attr_last(dir);

	expected.size_bytes += names_added;
	follow(run, dir, expected, TOUCH_DATA);
}

static void follow_links(struct run *run, struct model_inode *inode, int names_added)
{
	struct tree_attr expected = *model_attr_last(inode);

	expected.nlink += names_added;
	follow(run, inode, expected, TOUCH_CTIME);
}

/* The operation took one LSN: remember it. */
static void changed(struct run *run)
{
	struct lsn lsn = newest(store_of(run));

	assert_true(lsn.value > run->newest.value);
	run->newest = lsn;
	run->lsns[run->lsn_count++] = lsn;
	run->changes++;
}

static void living_add(struct run *run, struct model_inode *inode)
{
	run->living = realloc(run->living, (run->living_count + 1) * sizeof(*run->living));
	assert_non_null(run->living);
	run->living[run->living_count++] = inode;
}

static void living_drop_at(struct run *run, size_t i)
{
	run->living[i] = run->living[--run->living_count];
}

/* ---- operations ---- */

static void follow_new(struct run *run, struct model_inode *dir, unsigned name,
		       const struct tree_attr *made, const struct tree_new *what)
{
	const struct tree_attr *parent = model_attr_last(dir);
	bool handed_down = parent->mode & S_ISGID;
	struct tree_attr found = attr_now(store_of(run), made->ino);

	assert_attr_equal(made, &found);
	assert_int_equal(found.mode, what->mode | (handed_down && S_ISDIR(what->mode) ? S_ISGID : 0));
	assert_int_equal(found.uid, what->uid);
	assert_int_equal(found.gid, handed_down ? parent->gid : what->gid);
	assert_int_equal(found.rdev, what->rdev);
	assert_int_equal(found.nlink, 1);
	assert_int_equal(found.changed.value, newest(store_of(run)).value);
	assert_true(time_equal(found.btime, found.mtime) && time_equal(found.btime, found.ctime));
	if (S_ISDIR(found.mode))
		assert_int_equal(found.parent_ino, dir->ino);
	struct model_inode *inode = model_add(run->model, &found);
	model_name_put(dir, name, found.changed, inode);
	follow_dir(run, dir, 1);
	living_add(run, inode);
	changed(run);
}

static void refuse_create(struct verdict *verdict, struct model_inode *dir, unsigned name)
{
	refuse_bad_dir(verdict, dir);
	refuse_if(verdict, taken_by(dir, name), -EEXIST);
}

static void do_create(struct run *run, uint32_t type)
{
	static const uint32_t modes[] = { 0644, 0600, 02775, 0755, 04755, 01777 };
	struct model_inode *dir = choose_dir(run);
	unsigned name = choose_name(run);
	struct tree_new what = { .mode = type | modes[below(run, array_size(modes))],
				 .uid = below(run, 5), .gid = below(run, 5) };
	struct verdict verdict = { .count = 0 };
	struct tree_attr made;

	refuse_create(&verdict, dir, name);
	if (settle(run, &verdict, tree_create(store_of(run), dir->ino, name_text(run, name), &what,
					      &made), "tree_create")) {
		assert_int_equal(made.size_bytes, 0);
		follow_new(run, dir, name, &made, &what);
	}
}

static void do_symlink(struct run *run)
{
	struct model_inode *dir = choose_dir(run);
	unsigned name = choose_name(run);
	struct tree_new what = { .mode = S_IFLNK | 0777 };
	struct verdict verdict = { .count = 0 };
	char target[1024];
	size_t length = 1 + below(run, one_in(run, 5) ? sizeof(target) - 1 : 30);
	struct tree_attr made;

	for (size_t i = 0; i < length; i++)
		target[i] = 'a' + below(run, 26);
	target[length] = 0;
	refuse_create(&verdict, dir, name);
	if (!settle(run, &verdict, tree_symlink(store_of(run), dir->ino, name_text(run, name),
						target, &what, &made), "tree_symlink"))
		return;
	assert_int_equal(made.size_bytes, length);
	follow_new(run, dir, name, &made, &what);
	struct model_inode *inode = model_find(run->model, made.ino);
	inode->target = strdup(target);
	assert_non_null(inode->target);
}

static void do_link(struct run *run)
{
	struct model_inode *inode = choose_living(run), *dir = choose_dir(run);
	unsigned name = choose_name(run);
	struct verdict verdict = { .count = 0 };
	struct tree_attr linked;

	refuse_create(&verdict, dir, name);
	refuse_if(&verdict, is_dir(inode), -EPERM);
	refuse_if(&verdict, is_dead(inode), -ENOENT);
	if (!settle(run, &verdict, tree_link(store_of(run), inode->ino, dir->ino,
					     name_text(run, name), &linked), "tree_link"))
		return;
	model_name_put(dir, name, newest(store_of(run)), inode);
	follow_links(run, inode, 1);
	assert_attr_equal(&linked, model_attr_last(inode));
	follow_dir(run, dir, 1);
	changed(run);
}

static bool is_full(const struct model_inode *inode)
{
	return is_dir(inode) && model_attr_last(inode)->size_bytes;
}

static void do_remove(struct run *run, bool as_dir)
{
	struct model_inode *dir = choose_dir(run);
	unsigned name = choose_taken_name(run, dir);
	struct model_inode *inode = taken_by(dir, name);
	struct verdict verdict = { .count = 0 };
	int err = as_dir ? tree_rmdir(store_of(run), dir->ino, name_text(run, name))
			 : tree_unlink(store_of(run), dir->ino, name_text(run, name));

	refuse_bad_dir(&verdict, dir);
	refuse_if(&verdict, is_dir(dir) && !inode, -ENOENT);
	refuse_if(&verdict, inode && as_dir && !is_dir(inode), -ENOTDIR);
	refuse_if(&verdict, inode && !as_dir && is_dir(inode), -EISDIR);
	refuse_if(&verdict, as_dir && is_full(inode), -ENOTEMPTY);
	if (!settle(run, &verdict, err, as_dir ? "tree_rmdir" : "tree_unlink"))
		return;
	model_name_put(dir, name, newest(store_of(run)), NULL);
	follow_links(run, inode, -1);
	follow_dir(run, dir, -1);
	changed(run);
}

/* Is @inode @above or somewhere below it? */
static bool lies_within(struct run *run, const struct model_inode *inode,
			const struct model_inode *above)
{
	while (inode != above) {
		if (inode == run->model->inodes[0])
			return false;
		inode = model_find(run->model, model_attr_last(inode)->parent_ino);
	}
	return true;
}

struct renaming {
	struct model_inode *dir, *new_dir;
	unsigned name, new_name, flags;
	struct model_inode *source, *target;
};

static void refuse_rename(struct run *run, struct verdict *verdict, const struct renaming *r)
{
	bool noreplace = r->flags & TREE_RENAME_NOREPLACE;
	bool exchange = r->flags & TREE_RENAME_EXCHANGE;

	refuse_bad_dir(verdict, r->dir);
	refuse_bad_dir(verdict, r->new_dir);
	refuse_if(verdict, is_dir(r->dir) && !r->source, -ENOENT);
	if (!is_dir(r->dir) || !is_dir(r->new_dir) || !r->source)
		return;
	refuse_if(verdict, r->target && noreplace, -EEXIST);
	refuse_if(verdict, !r->target && exchange, -ENOENT);
	if (r->source == r->target)
		return;
	refuse_if(verdict, is_dir(r->source) && lies_within(run, r->new_dir, r->source), -EINVAL);
	if (exchange) {
		refuse_if(verdict, is_dir(r->target) && lies_within(run, r->dir, r->target),
			  -EINVAL);
		return;
	}
	refuse_if(verdict, r->target && is_dir(r->source) && !is_dir(r->target), -ENOTDIR);
	refuse_if(verdict, is_dir(r->target) && !is_dir(r->source), -EISDIR);
	refuse_if(verdict, is_full(r->target), -ENOTEMPTY);
}

/* A directory that moved has a new parent; each moved inode a new ctime. */
static void follow_moved(struct run *run, struct model_inode *inode, struct model_inode *parent)
{
	struct tree_attr expected = *model_attr_last(inode);

	if (is_dir(inode))
		expected.parent_ino = parent->ino;
	follow(run, inode, expected, TOUCH_CTIME);
}

static void follow_rename(struct run *run, const struct renaming *r)
{
	bool exchange = r->flags & TREE_RENAME_EXCHANGE;
	struct lsn lsn = newest(store_of(run));

	model_name_put(r->dir, r->name, lsn, exchange ? r->target : NULL);
	model_name_put(r->new_dir, r->new_name, lsn, r->source);
	follow_moved(run, r->source, r->new_dir);
	if (exchange)
		follow_moved(run, r->target, r->dir);
	else if (r->target)
		follow_links(run, r->target, -1);
	if (r->dir == r->new_dir) {
		follow_dir(run, r->dir, exchange || !r->target ? 0 : -1);
	} else {
		follow_dir(run, r->dir, exchange ? 0 : -1);
		follow_dir(run, r->new_dir, exchange || r->target ? 0 : 1);
	}
	changed(run);
}

static void do_rename(struct run *run)
{
	static const unsigned flags[] = { 0, 0, 0, TREE_RENAME_NOREPLACE, TREE_RENAME_EXCHANGE };
	struct renaming r = { .dir = choose_dir(run), .new_dir = choose_dir(run),
			      .flags = flags[below(run, array_size(flags))] };
	struct verdict verdict = { .count = 0 };

	r.name = choose_taken_name(run, r.dir);
	r.new_name = one_in(run, 2) ? choose_name(run) : choose_taken_name(run, r.new_dir);
	r.source = taken_by(r.dir, r.name);
	r.target = taken_by(r.new_dir, r.new_name);
	refuse_rename(run, &verdict, &r);
	if (!settle(run, &verdict, tree_rename(store_of(run), r.dir->ino, name_text(run, r.name),
					       r.new_dir->ino, name_text(run, r.new_name), r.flags),
		    "tree_rename"))
		return;
	if (r.source == r.target)
		assert_int_equal(newest(store_of(run)).value, run->newest.value);
	else
		follow_rename(run, &r);
}

/* Mostly small; some whole pages, some that span several. */
static size_t choose_write_size(struct run *run)
{
	switch (below(run, 40)) {
	case 0:
		return 1 + below(run, 5 * PAGE_SIZE);
	case 1:
		return PAGE_SIZE;
	case 2:
	case 3:
		return 1 + below(run, 1000);
	default:
		return 1 + below(run, 100);
	}
}

/* Most files have a few pages, some so many that a cut of them is another case. */
static uint64_t size_limit(const struct model_inode *inode)
{
	return inode->ino % 8 ? FILE_SIZE_MAX / 6 : FILE_SIZE_MAX;
}

static uint64_t choose_offset(struct run *run, uint64_t size_bytes, uint64_t limit)
{
	switch (below(run, 8)) {
	case 0:
		return size_bytes;                              /* append */
	case 1:
		return below(run, limit);
	case 2:
		return below(run, limit / PAGE_SIZE) * PAGE_SIZE;
	default:
		return size_bytes ? below(run, size_bytes) : 0;
	}
}

/*
 * Write the change as a program does that knows pages only: the pages it lies in,
 * whole, with what they held. To the model that is the change alone.
 */
static int write_in_pages(struct run *run, const struct model_inode *inode, uint64_t offset,
			  const uint8_t *bytes, size_t size, bool drop)
{
	static uint8_t pages[FILE_SIZE_MAX + PAGE_SIZE];
	uint64_t from = offset / PAGE_SIZE * PAGE_SIZE, end = offset + size;
	uint64_t to = (end + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	uint64_t old_size = inode->content.size_bytes;

	if (to > old_size)
		to = old_size > end ? old_size : end;
	memset(pages, 0, to - from);
	if (old_size > from)
		memcpy(pages, inode->content.bytes + from,
		       (old_size < to ? old_size : to) - from);
	memcpy(pages + (offset - from), bytes, size);
	return tree_write(store_of(run), inode->ino, from, pages, to - from, drop);
}

static void do_write(struct run *run)
{
	static uint8_t bytes[FILE_SIZE_MAX];
	struct model_inode *inode = choose_file(run);
	uint64_t seed = one_in(run, 16) ? SEED_ZEROS : prng_next(&run->prng), offset;
	size_t size = choose_write_size(run);
	bool drop = one_in(run, 3), in_pages = one_in(run, 3);

	if (!inode)
		return;
	struct tree_attr expected = *model_attr_last(inode);
	offset = choose_offset(run, expected.size_bytes, size_limit(inode));
	if (offset + size > size_limit(inode))
		offset = 0;
	seed_fill(seed, bytes, size);
	assert_ok(in_pages ? write_in_pages(run, inode, offset, bytes, size, drop)
			   : tree_write(store_of(run), inode->ino, offset, bytes, size, drop));
	model_write(inode, newest(store_of(run)), offset, seed, size);
	expected.size_bytes = inode->content.size_bytes;
	if (drop)
		expected.mode &= ~(S_ISUID | (expected.mode & S_IXGRP ? S_ISGID : 0));
	follow(run, inode, expected, TOUCH_DATA);
	changed(run);
}

static void do_truncate(struct run *run)
{
	struct model_inode *inode = choose_file(run);

	if (!inode)
		return;
	struct tree_attr expected = *model_attr_last(inode), to = expected, found;
	switch (below(run, 4)) {
	case 0:
		to.size_bytes = 0;
		break;
	case 1:
		to.size_bytes = below(run, size_limit(inode));
		break;
	case 2:
		to.size_bytes = below(run, size_limit(inode) / PAGE_SIZE) * PAGE_SIZE;
		break;
	default:
		to.size_bytes = below(run, expected.size_bytes + 1);
		break;
	}
	assert_ok(tree_setattr(store_of(run), inode->ino, TREE_SET_SIZE, &to, &found));
	model_truncate(inode, newest(store_of(run)), to.size_bytes);
	expected.size_bytes = to.size_bytes;
	follow(run, inode, expected, TOUCH_DATA);
	changed(run);
}

static void do_setattr(struct run *run)
{
	struct model_inode *inode = choose_living(run);
	struct tree_attr expected = *model_attr_last(inode), to = { 0 }, found;
	unsigned which = 1 + below(run, 7);             /* mode, uid, gid in any mix */
	unsigned touched = TOUCH_CTIME;

	to.mode = below(run, 010000);
	to.uid = prng_next(&run->prng);
	to.gid = prng_next(&run->prng);
	to.mtime = (struct tree_time){ below(run, 1u << 31), below(run, 1000000000) };
	to.atime = (struct tree_time){ -(int64_t)below(run, 1u << 31), below(run, 1000000000) };
	if (which & TREE_SET_MODE)
		expected.mode = (expected.mode & S_IFMT) | to.mode;
	if (which & TREE_SET_UID)
		expected.uid = to.uid;
	if (which & TREE_SET_GID)
		expected.gid = to.gid;
	if (one_in(run, 2)) {
		which |= TREE_SET_MTIME;
		expected.mtime = to.mtime;
	} else if (one_in(run, 2)) {
		which |= TREE_SET_MTIME_NOW;
		touched |= TOUCH_MTIME;
	}
	if (one_in(run, 2)) {
		which |= TREE_SET_ATIME;
		expected.atime = to.atime;
	} else if (one_in(run, 2)) {
		which |= TREE_SET_ATIME_NOW;
		touched |= TOUCH_ATIME;
	}
	assert_ok(tree_setattr(store_of(run), inode->ino, which, &to, &found));
	follow(run, inode, expected, touched);
	assert_attr_equal(&found, model_attr_last(inode));
	changed(run);
}

/* ---- comparing at an LSN ---- */

static void compare_attr(struct run *run, const struct model_inode *inode, struct lsn at)
{
	const struct tree_attr *expected = model_attr_at(inode, at);
	struct tree_attr found;
	int err = tree_getattr(store_of(run), inode->ino, at, &found);

	assert_err(err, expected ? 0 : -ENOENT);
	if (expected)
		assert_attr_equal(expected, &found);
}

static void compare_content(struct run *run, const struct model_inode *inode, struct lsn at)
{
	const struct tree_attr *attr = model_attr_at(inode, at);
	static uint8_t found[FILE_SIZE_MAX + 100];
	size_t count = 0, offset = 0, size = sizeof(found), expected;

	if (!attr || inode->type != S_IFREG) {
		compare_attr(run, inode, at);
		return;
	}
	struct model_content content = model_content_at(inode, at);
	if (!one_in(run, 4)) {
		offset = below(run, size_limit(inode));
		size = below(run, one_in(run, 2) ? 200 : FILE_SIZE_MAX);
	}
	expected = offset >= content.size_bytes ? 0 : content.size_bytes - offset;
	if (expected > size)
		expected = size;
	assert_int_equal(attr->size_bytes, content.size_bytes);
	assert_ok(tree_read(store_of(run), inode->ino, at, offset, found, size, &count));
	assert_int_equal(count, expected);
	for (size_t i = 0; i < expected; i++) {
		if (found[i] != content.bytes[offset + i])
			fail_msg("inode %" PRIu64 " at LSN %" PRIu64 ": byte %zu of %zu is %#x, "
				 "expected %#x", inode->ino, at.value, offset + i,
				 content.size_bytes, found[i], content.bytes[offset + i]);
	}
	free(content.bytes);
}

static void compare_name(struct run *run, const struct model_inode *dir, unsigned name,
			 struct lsn at)
{
	const struct model_inode *expected = NULL;
	struct tree_attr found;
	int err = tree_lookup(store_of(run), dir->ino, name_text(run, name), at, &found);

	if (model_attr_at(dir, at))
		expected = model_name_at(dir, name, at);
	assert_err(err, expected ? 0 : -ENOENT);
	if (expected)
		assert_attr_equal(model_attr_at(expected, at), &found);
}

static void compare_entry(struct run *run, const struct model_inode *dir, struct lsn at,
			  const struct name_entry *entry, bool seen[MODEL_NAME_COUNT])
{
	unsigned name = 0;

	while (name < MODEL_NAME_COUNT && strcmp(entry->name, name_text(run, name)))
		name++;
	assert_true(name < MODEL_NAME_COUNT);
	assert_false(seen[name]);
	seen[name] = true;
	const struct model_inode *expected = model_name_at(dir, name, at);
	assert_non_null(expected);
	assert_int_equal(entry->ino, expected->ino);
	assert_int_equal(entry->type, expected->type);
}

static void compare_listing(struct run *run, const struct model_inode *dir, struct lsn at)
{
	const struct tree_attr *attr = model_attr_at(dir, at);
	bool seen[MODEL_NAME_COUNT] = { false };
	struct name_list list = { 0 };

	if (!attr || (!attr->nlink && lsn_is_head(at))) {
		compare_attr(run, dir, at);
		return;
	}
	assert_ok(tree_readdir(store_of(run), dir->ino, at, 0, name_list_add, &list));
	assert_int_equal(list.count, attr->size_bytes + 2);
	assert_string_equal(list.entries[0].name, ".");
	assert_int_equal(list.entries[0].ino, dir->ino);
	assert_string_equal(list.entries[1].name, "..");
	assert_int_equal(list.entries[1].ino, attr->parent_ino);
	for (size_t i = 2; i < list.count; i++)
		compare_entry(run, dir, at, &list.entries[i], seen);
	free(list.entries);
}

static void compare_target(struct run *run, const struct model_inode *inode, struct lsn at)
{
	char found[PATH_MAX];

	assert_ok(tree_readlink(store_of(run), inode->ino, at, found, sizeof(found)));
	assert_string_equal(found, inode->target);
}

/* One random thing at one random LSN. */
static void compare_something(struct run *run)
{
	struct lsn at = choose_lsn(run);
	struct model *model = run->model;
	const struct model_inode *inode = one_in(run, 2) ?
		choose_living(run) : model->inodes[below(run, model->inode_count)];

	run->comparisons++;
	compare_attr(run, inode, at);
	if (inode->type == S_IFREG)
		compare_content(run, inode, at);
	if (inode->type == S_IFLNK && model_attr_at(inode, at))
		compare_target(run, inode, at);
	if (inode->type != S_IFDIR)
		return;
	if (one_in(run, 2))
		compare_listing(run, inode, at);
	else
		compare_name(run, inode, choose_name(run), at);
}

static bool history_follows(void *context, const struct tree_change *change)
{
	const struct tree_attr **next = context;

	assert_int_equal(change->lsn.value, (*next)->changed.value);
	assert_int_equal(change->size_bytes, (*next)->size_bytes);
	assert_int_equal(change->mode, (*next)->mode);
	assert_int_equal(change->nlink, (*next)->nlink);
	assert_int_equal(change->uid, (*next)->uid);
	assert_int_equal(change->gid, (*next)->gid);
	assert_int_equal(change->deleted, (*next)->nlink == 0 && change->nlink_before != 0);
	(*next)++;
	return true;
}

static void compare_history(struct run *run, const struct model_inode *inode)
{
	const struct tree_attr *next = inode->attrs;

	assert_ok(tree_history(store_of(run), inode->ino, history_follows, &next));
	assert_ptr_equal(next, inode->attrs + inode->attr_count);
}

static void compare_much(struct run *run, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		compare_something(run);
	for (unsigned i = 0; i < 20; i++)
		compare_history(run, run->model->inodes[below(run, run->model->inode_count)]);
}

/* ---- the run ---- */

/* Deleted inodes are only promised to the process that held them. */
static void lose_the_dead(struct run *run)
{
	for (size_t i = run->living_count; i > 0; i--) {
		if (is_dead(run->living[i - 1]))
			living_drop_at(run, i - 1);
	}
	assert_int_equal(newest(store_of(run)).value, run->newest.value);
}

static void freeze(struct run *run)
{
	fixture_freeze(run->fixture);
	run->freezes++;
}

static void reopen(struct run *run)
{
	fixture_reopen(run->fixture);
	lose_the_dead(run);
	run->reopens++;
}

static void kill_and_recover(struct run *run)
{
	fixture_kill(run->fixture);
	lose_the_dead(run);
	run->kills++;
}

/* About 20 freezes, 10 reopens, 8 kills a run, however long it is. */
static void disturb(struct run *run)
{
	uint64_t span = run->operation_count;

	if (below(run, span) < 20)
		freeze(run);
	if (below(run, span) < 10)
		reopen(run);
	if (below(run, span) < 8)
		run->kill_at = run->operation + 1 + below(run, 2000);
	if (run->operation == run->kill_at)
		kill_and_recover(run);
}

/* Forget some of the deleted, or they crowd out the living. */
static void thin_out_the_dead(struct run *run)
{
	for (size_t i = run->living_count; i > 0; i--) {
		if (is_dead(run->living[i - 1]) && one_in(run, 8))
			living_drop_at(run, i - 1);
	}
}

static void operate(struct run *run)
{
	bool crowded = run->living_count > FILES_MAX;

	switch (below(run, 100)) {
	case 0 ... 5:
		if (!crowded)
			do_create(run, S_IFREG);
		break;
	case 6 ... 7:
		if (!crowded)
			do_create(run, S_IFDIR);
		break;
	case 8:
		if (!crowded)
			do_create(run, one_in(run, 2) ? S_IFIFO : S_IFSOCK);
		break;
	case 9:
		if (!crowded)
			do_symlink(run);
		break;
	case 10 ... 11:
		do_link(run);
		break;
	case 12 ... 17:
		do_remove(run, false);
		break;
	case 18 ... 19:
		do_remove(run, true);
		break;
	case 20 ... 25:
		do_rename(run);
		break;
	case 26 ... 33:
		do_truncate(run);
		break;
	case 34 ... 39:
		do_setattr(run);
		break;
	default:
		do_write(run);
	}
}

static void run_operations(struct run *run)
{
	for (run->operation = 1; run->operation <= run->operation_count; run->operation++) {
		operate(run);
		if (one_in(run, 10))
			compare_something(run);
		if (one_in(run, 500))
			thin_out_the_dead(run);
		disturb(run);
	}
	run->operation = run->operation_count;
}

static void prove_every_state(struct run *run)
{
	uint64_t count = run->operation_count / 20 + 1000;

	compare_much(run, count);
	freeze(run);
	compare_much(run, count);
	kill_and_recover(run);
	compare_much(run, count);
	reopen(run);
	compare_much(run, count);
}

static struct run *run_new(unsigned name_hash_bits, uint64_t operation_count)
{
	struct store_mkfs_options mkfs = { .page_size_bytes = PAGE_SIZE };
	struct store_options options = { .layer_size_bytes = 4 * MIB,
					 .name_hash_bits = name_hash_bits };
	struct run *run = calloc(1, sizeof(*run));

	assert_non_null(run);
	run->fixture = fixture_new(&mkfs, &options);
	struct tree_attr root = attr_now(store_of(run), TREE_ROOT_INO);
	run->model = model_new(&root);
	run->prng.state = test_seed();
	run->operation_count = operation_count;
	run->lsns = calloc(operation_count, sizeof(*run->lsns));
	assert_non_null(run->lsns);
	run->newest = newest(store_of(run));
	living_add(run, run->model->inodes[0]);
	return run;
}

static void run_free(struct run *run)
{
	fixture_free(run->fixture);
	model_free(run->model);
	free(run->lsns);
	free(run->living);
	free(run);
}

static uint64_t operation_count(void)
{
	return test_count("VARVE_MODEL_OPS", OPERATIONS_STANDARD);
}

static int set_up(void **state)
{
	*state = run_new(0, operation_count());
	return 0;
}

/* A tenth as many, with three bits of name hash. */
static int set_up_colliding(void **state)
{
	*state = run_new(3, operation_count() / 10 + 1);
	return 0;
}

static int tear_down(void **state)
{
	struct run *run = *state;

	print_message("seed %" PRIu64 ", operation %" PRIu64 " of %" PRIu64 ": %" PRIu64
		      " changes, %" PRIu64 " refusals, %" PRIu64 " comparisons, %zu inodes, %" PRIu64
		      " freezes, %" PRIu64 " reopens, %" PRIu64 " kills\n", test_seed(),
		      run->operation, run->operation_count, run->changes, run->refusals,
		      run->comparisons, run->model->inode_count, run->freezes, run->reopens,
		      run->kills);
	run_free(run);
	return 0;
}

static void store_and_model_agree_at_every_lsn(void **state)
{
	run_operations(*state);
	prove_every_state(*state);
}

static void store_and_model_agree_when_names_collide(void **state)
{
	run_operations(*state);
	prove_every_state(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(store_and_model_agree_at_every_lsn, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(store_and_model_agree_when_names_collide,
						set_up_colliding, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
