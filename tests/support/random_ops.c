/*
 * Random run, operations: what each should come to, and what it leaves. See random_run.h.
 */
#include "random_run.h"

#define FILES_MAX 150u                  /* living files and directories, about */

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
#define TOUCH_PAGES 8u                  /* how many there are is compared with where they are (random_compare.c) */
#define TOUCH_NAMES (TOUCH_MTIME | TOUCH_CTIME)
#define TOUCH_DATA (TOUCH_NAMES | TOUCH_PAGES)

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
	if (touched & TOUCH_PAGES)
		expected.page_count = found.page_count;
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
	follow(run, dir, expected, TOUCH_NAMES);
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

void run_follow_capability(struct run *run, struct model_inode *inode)
{
	unsigned name = MODEL_XATTR_COUNT - 1;

	if (model_xattr_at(inode, name, LSN_HEAD))
		model_xattr_put(inode, name, (struct model_xattr){ .lsn = newest(store_of(run)) });
}

void run_follow_data(struct run *run, struct model_inode *inode, struct tree_attr expected)
{
	run_follow_capability(run, inode);
	follow(run, inode, expected, TOUCH_DATA);
	changed(run);
}

static void do_space(struct run *run)
{
	struct model_inode *inode = choose_file(run), *other = choose_file(run);

	if (inode && other)
		run_operate_on_space(run, inode, other);
}

void living_add(struct run *run, struct model_inode *inode)
{
	run->living = realloc(run->living, (run->living_count + 1) * sizeof(*run->living));
	assert_non_null(run->living);
	run->living[run->living_count++] = inode;
}

void living_drop_at(struct run *run, size_t i)
{
	if (is_dead(run->living[i]))
		tree_forget(store_of(run), run->living[i]->ino);
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
		return 1 + below(run, 5 * RANDOM_PAGE_SIZE);
	case 1:
		return RANDOM_PAGE_SIZE;
	case 2:
	case 3:
		return 1 + below(run, 1000);
	default:
		return 1 + below(run, 100);
	}
}

/* Most files have a few pages, some so many that a cut of them is another case. */
uint64_t run_size_limit(const struct model_inode *inode)
{
	return inode->ino % 8 ? RANDOM_FILE_SIZE_MAX / 6 : RANDOM_FILE_SIZE_MAX;
}

static uint64_t choose_offset(struct run *run, uint64_t size_bytes, uint64_t limit)
{
	switch (below(run, 8)) {
	case 0:
		return size_bytes;                              /* append */
	case 1:
		return below(run, limit);
	case 2:
		return below(run, limit / RANDOM_PAGE_SIZE) * RANDOM_PAGE_SIZE;
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
	static uint8_t pages[RANDOM_FILE_SIZE_MAX + RANDOM_PAGE_SIZE];
	uint64_t from = offset / RANDOM_PAGE_SIZE * RANDOM_PAGE_SIZE, end = offset + size;
	uint64_t to = (end + RANDOM_PAGE_SIZE - 1) / RANDOM_PAGE_SIZE * RANDOM_PAGE_SIZE;
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
	static uint8_t bytes[RANDOM_FILE_SIZE_MAX];
	struct model_inode *inode = choose_file(run);
	uint64_t seed = one_in(run, 16) ? SEED_ZEROS : prng_next(&run->prng), offset;
	size_t size = choose_write_size(run);
	bool drop = one_in(run, 3), in_pages = one_in(run, 3);

	if (!inode)
		return;
	struct tree_attr expected = *model_attr_last(inode);
	offset = choose_offset(run, expected.size_bytes, run_size_limit(inode));
	if (offset + size > run_size_limit(inode))
		offset = 0;
	seed_fill(seed, bytes, size);
	assert_ok(in_pages ? write_in_pages(run, inode, offset, bytes, size, drop)
			   : tree_write(store_of(run), inode->ino, offset, bytes, size, drop));
	model_write(inode, newest(store_of(run)), offset, seed, size);
	run_follow_capability(run, inode);
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
		to.size_bytes = below(run, run_size_limit(inode));
		break;
	case 2:
		to.size_bytes = below(run, run_size_limit(inode) / RANDOM_PAGE_SIZE) * RANDOM_PAGE_SIZE;
		break;
	default:
		to.size_bytes = below(run, expected.size_bytes + 1);
		break;
	}
	assert_ok(tree_setattr(store_of(run), inode->ino, TREE_SET_SIZE, &to, &found));
	model_truncate(inode, newest(store_of(run)), to.size_bytes);
	run_follow_capability(run, inode);
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
	if (which & (TREE_SET_UID | TREE_SET_GID) && inode->type == S_IFREG)
		run_follow_capability(run, inode);
	follow(run, inode, expected, touched);
	assert_attr_equal(&found, model_attr_last(inode));
	changed(run);
}

/* None, or enough that no two random values are alike: setting the same is no change. */
static size_t choose_value_size(struct run *run)
{
	switch (below(run, 16)) {
	case 0:
		return 0;
	case 1:
		return 8 + below(run, RANDOM_XATTR_MAX - 8);
	default:
		return 8 + below(run, 60);
	}
}

static void do_setxattr(struct run *run)
{
	static const unsigned flags[] = { 0, 0, TREE_XATTR_CREATE, TREE_XATTR_REPLACE };
	struct model_inode *inode = choose_living(run);
	unsigned name = below(run, MODEL_XATTR_COUNT), flag = flags[below(run, array_size(flags))];
	const struct model_xattr *before = model_xattr_at(inode, name, LSN_HEAD);
	struct model_xattr value = { .seed = prng_next(&run->prng), .there = true,
				     .size_bytes = choose_value_size(run) };
	struct verdict verdict = { .count = 0 };
	static uint8_t bytes[RANDOM_XATTR_MAX];

	seed_fill(value.seed, bytes, value.size_bytes);
	refuse_if(&verdict, before && flag == TREE_XATTR_CREATE, -EEXIST);
	refuse_if(&verdict, !before && flag == TREE_XATTR_REPLACE, -ENODATA);
	/* Two values of no bytes are one. */
	if (!verdict.count && before && !before->size_bytes && !value.size_bytes)
		return;
	if (!settle(run, &verdict, tree_setxattr(store_of(run), inode->ino, model_xattr_names[name], bytes,
						 value.size_bytes, flag), "tree_setxattr"))
		return;
	value.lsn = newest(store_of(run));
	model_xattr_put(inode, name, value);
	follow(run, inode, *model_attr_last(inode), TOUCH_CTIME);
	changed(run);
}

static void do_removexattr(struct run *run)
{
	struct model_inode *inode = choose_living(run);
	unsigned name = below(run, MODEL_XATTR_COUNT);
	struct verdict verdict = { .count = 0 };

	refuse_if(&verdict, !model_xattr_at(inode, name, LSN_HEAD), -ENODATA);
	if (!settle(run, &verdict, tree_removexattr(store_of(run), inode->ino, model_xattr_names[name]),
		    "tree_removexattr"))
		return;
	model_xattr_put(inode, name, (struct model_xattr){ .lsn = newest(store_of(run)) });
	follow(run, inode, *model_attr_last(inode), TOUCH_CTIME);
	changed(run);
}

void run_operate(struct run *run)
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
	case 40 ... 47:
		do_space(run);
		break;
	case 48 ... 52:
		do_setxattr(run);
		break;
	case 53 ... 54:
		do_removexattr(run);
		break;
	default:
		do_write(run);
	}
}
