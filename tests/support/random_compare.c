/*
 * Random run, comparisons: the store against the model, at any LSN that is kept. See random_run.h.
 */
#include "random_run.h"

/* ---- choosing ---- */

static unsigned choose_name(struct run *run)
{
	return below(run, MODEL_NAME_COUNT);
}

static struct lsn choose_lsn(struct run *run)
{
	struct lsn lsn, oldest, newest;
	size_t first = 0;

	if (!run->lsn_count || one_in(run, 10))
		return LSN_HEAD;
	if (one_in(run, 10))
		return run->newest;
	store_window(store_of(run), &oldest, &newest);
	while (first < run->lsn_count - 1 && run->lsns[first].value < oldest.value)
		first += run->lsn_count - first > 1000 &&
				 run->lsns[first + 999].value < oldest.value ? 1000 : 1;
	lsn = run->lsns[first + below(run, run->lsn_count - first)];
	/* Any number between two LSNs is the earlier of them. */
	if (one_in(run, 4))
		lsn.value += below(run, 200);
	return lsn.value < run->newest.value ? lsn : run->newest;
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
	static uint8_t found[RANDOM_FILE_SIZE_MAX + 100];
	size_t count = 0, offset = 0, size = sizeof(found), expected;

	if (!attr || inode->type != S_IFREG) {
		compare_attr(run, inode, at);
		return;
	}
	struct model_content content = model_content_at(inode, at);
	if (!one_in(run, 4)) {
		offset = below(run, run_size_limit(inode));
		size = below(run, one_in(run, 2) ? 200 : RANDOM_FILE_SIZE_MAX);
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

/* Data and holes take turns, holes are zeros, and there are as many pages as the attributes say. */
static void compare_space(struct run *run, const struct model_inode *inode, struct lsn at)
{
	const struct tree_attr *attr = model_attr_at(inode, at);
	uint64_t hole = 0, data, pages = 0, size;

	if (!attr || inode->type != S_IFREG) {
		compare_attr(run, inode, at);
		return;
	}
	struct model_content content = model_content_at(inode, at);
	for (size = content.size_bytes; hole < size;) {
		data = seek_at(store_of(run), inode->ino, at, hole, false);
		for (uint64_t i = hole; i < size && i < data; i++)
			assert_int_equal(content.bytes[i], 0);
		if (data == UINT64_MAX)
			break;
		hole = seek_at(store_of(run), inode->ino, at, data, true);
		assert_true(data < hole && hole <= size);
		pages += (hole + RANDOM_PAGE_SIZE - 1) / RANDOM_PAGE_SIZE - data / RANDOM_PAGE_SIZE;
	}
	assert_int_equal(pages, attr->page_count);
	free(content.bytes);
}

static void compare_name(struct run *run, const struct model_inode *dir, unsigned name,
			 struct lsn at)
{
	const struct model_inode *expected = NULL;
	struct tree_attr found;
	int err = tree_lookup(store_of(run), dir->ino, run->model->names[name], at, &found);

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

	while (name < MODEL_NAME_COUNT && strcmp(entry->name, run->model->names[name]))
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

static void compare_xattrs(struct run *run, const struct model_inode *inode, struct lsn at)
{
	static uint8_t found[RANDOM_XATTR_MAX], expected[RANDOM_XATTR_MAX];
	size_t size, names_bytes = 0;

	for (unsigned name = 0; name < MODEL_XATTR_COUNT; name++) {
		const struct model_xattr *value = model_xattr_at(inode, name, at);
		int err = tree_getxattr(store_of(run), inode->ino, at, model_xattr_names[name], found,
					sizeof(found), &size);

		assert_err(err, value ? 0 : -ENODATA);
		if (!value)
			continue;
		names_bytes += strlen(model_xattr_names[name]) + 1;
		assert_int_equal(size, value->size_bytes);
		seed_fill(value->seed, expected, size);
		assert_memory_equal(found, expected, size);
	}
	assert_ok(tree_listxattr(store_of(run), inode->ino, at, NULL, 0, &size));
	assert_int_equal(size, names_bytes);
}

/* Has GC perhaps taken it? Dead, and nobody has it open. */
static bool may_be_gone(struct run *run, const struct model_inode *inode)
{
	if (!run->collects || !is_dead(inode))
		return false;
	for (size_t i = 0; i < run->living_count; i++)
		if (run->living[i] == inode)
			return false;
	return true;
}

static void compare_inode(struct run *run, const struct model_inode *inode, struct lsn at)
{
	run->comparisons++;
	compare_attr(run, inode, at);
	if (model_attr_at(inode, at) && one_in(run, 2))
		compare_xattrs(run, inode, at);
	if (inode->type == S_IFREG)
		(one_in(run, 4) ? compare_space : compare_content)(run, inode, at);
	if (inode->type == S_IFLNK && model_attr_at(inode, at))
		compare_target(run, inode, at);
	if (inode->type != S_IFDIR)
		return;
	if (one_in(run, 2))
		compare_listing(run, inode, at);
	else
		compare_name(run, inode, choose_name(run), at);
}

static const struct model_inode *choose_inode(struct run *run)
{
	return one_in(run, 2) ? run->living[below(run, run->living_count)]
			      : run->model->inodes[below(run, run->model->inode_count)];
}

void run_compare_at(struct run *run, struct lsn at)
{
	const struct model_inode *inode = choose_inode(run);

	if (!lsn_is_head(at) || !may_be_gone(run, inode))
		compare_inode(run, inode, at);
}

void run_compare_something(struct run *run)
{
	struct lsn at = choose_lsn(run);

	/* A window may move past it meanwhile, so it is held. */
	if (lsn_is_head(at)) {
		run_compare_at(run, at);
	} else if (store_pin(store_of(run), at) == 0) {
		run_compare_at(run, at);
		store_unpin(store_of(run), at);
	}
}

/* Where a history has come to in the model's. */
struct history {
	const struct model_inode *inode;
	const struct tree_attr *next;   /* NULL: nothing was told yet */
};

static bool history_follows(void *context, const struct tree_change *change)
{
	struct history *history = context;
	const struct tree_attr *next = history->next;

	/* The first is the one that the oldest LSN of the window shows. */
	for (next = next ? next : history->inode->attrs; !history->next; next++) {
		assert_true(next < history->inode->attrs + history->inode->attr_count);
		if (next->changed.value == change->lsn.value)
			break;
	}
	assert_int_equal(change->lsn.value, next->changed.value);
	assert_int_equal(change->size_bytes, next->size_bytes);
	assert_int_equal(change->mode, next->mode);
	assert_int_equal(change->nlink, next->nlink);
	assert_int_equal(change->uid, next->uid);
	assert_int_equal(change->gid, next->gid);
	if (history->next)
		assert_int_equal(change->deleted, next->nlink == 0 && change->nlink_before != 0);
	history->next = next + 1;
	return true;
}

static void compare_history(struct run *run, const struct model_inode *inode)
{
	struct history history = { inode, NULL };
	int err = tree_history(store_of(run), inode->ino, history_follows, &history);
	if (err == -ENOENT && may_be_gone(run, inode))
		return;
	assert_ok(err);
	assert_ptr_equal(history.next, inode->attrs + inode->attr_count);
}

void run_compare_much(struct run *run, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		run_compare_something(run);
	for (unsigned i = 0; i < 20; i++)
		compare_history(run, run->model->inodes[below(run, run->model->inode_count)]);
}
