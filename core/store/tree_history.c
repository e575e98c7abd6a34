/*
 * Tree, history: every change of one inode, in order.
 *
 * The versions of all its keys are gathered from all layers and sorted by LSN;
 * each LSN has one version of the attributes and those of the pages it wrote.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

struct gather {
	struct lsn newest;              /* what is above may be half there */
	struct version *versions;
	size_t count, room;
};

static int gather_one(void *context, const struct version *version)
{
	struct gather *gather = context;

	if (version->lsn.value > gather->newest.value)
		return 0;
	if (gather->count == gather->room) {
		size_t room = gather->room ? 2 * gather->room : 64;
		struct version *versions = realloc(gather->versions, room * sizeof(*versions));

		if (!versions)
			return -ENOMEM;
		gather->versions = versions;
		gather->room = room;
	}
	gather->versions[gather->count++] = *version;
	return 0;
}

/* By LSN; the attributes before the pages. */
static int compare_versions(const void *a, const void *b)
{
	const struct version *x = a, *y = b;

	if (x->lsn.value != y->lsn.value)
		return x->lsn.value < y->lsn.value ? -1 : 1;
	return key_compare(x->key, y->key);
}

static bool times_equal(struct tree_time a, struct tree_time b)
{
	return a.seconds == b.seconds && a.nanoseconds == b.nanoseconds;
}

static void describe_attr(struct tree_change *change, const struct tree_attr *before,
			  const struct tree_attr *after, bool first)
{
	*change = (struct tree_change){
		.lsn = after->changed,
		.time = after->ctime,
		.size_bytes = after->size_bytes,
		.size_before_bytes = before->size_bytes,
		.mode = after->mode,
		.mode_before = before->mode,
		.nlink = after->nlink,
		.nlink_before = before->nlink,
		.uid = after->uid,
		.uid_before = before->uid,
		.gid = after->gid,
		.gid_before = before->gid,
		.created = first,
		.deleted = before->nlink && !after->nlink,
		.pages_dropped = before->page_count != TREE_PAGES_UNKNOWN &&
				 before->page_count > after->page_count
				 ? before->page_count - after->page_count : 0,
		/* A write sets mtime and ctime alike; only utimens sets them apart. */
		.times_set = !first && (!times_equal(before->atime, after->atime) ||
					(!times_equal(before->mtime, after->mtime) &&
					 !times_equal(after->mtime, after->ctime))),
	};
}

static void describe_page(struct tree_change *change, const struct version *version)
{
	uint64_t block = key_index(version->key);

	if (version->form == VERSION_TOMBSTONE)         /* cut off, not written */
		return;
	if (!change->pages_written || block < change->page_first)
		change->page_first = block;
	if (!change->pages_written || block > change->page_last)
		change->page_last = block;
	change->pages_written++;
	change->data_bytes += version->size_bytes;
}

/* Describe the versions of one LSN, which begin at @*at. 0; 1: none is left; -errno. */
static int next_change(const struct layer_guard *guard, const struct gather *gather, size_t *at,
		       struct tree_attr *before, bool *first, struct tree_change *change_out)
{
	const struct version *version = &gather->versions[*at];
	struct attr attr;
	int err;

	if (*at == gather->count)
		return 1;
	if (key_kind(version->key) != KEY_ATTR)
		return -EUCLEAN;
	err = attr_load(guard, version->key.ino, version->lsn, &attr, NULL, NULL);
	/* An index whose versions are not in order may lead to another. */
	if (!err && attr.shown.changed.value != version->lsn.value)
		err = -EUCLEAN;
	if (err)
		return err;
	describe_attr(change_out, before, &attr.shown, *first);
	for (++*at; *at < gather->count && gather->versions[*at].lsn.value == version->lsn.value;
	     ++*at)
		if (key_kind(gather->versions[*at].key) == KEY_PAGE)
			describe_page(change_out, &gather->versions[*at]);
		else if (key_kind(gather->versions[*at].key) == KEY_XATTR)
			change_out->xattrs_set = true;
	*before = attr.shown;
	*first = false;
	return 0;
}

/*
 * Leave out what lies below the window but the attributes that its oldest LSN shows: the first
 * change that is told. Of what was written with them only what is still seen is there, so
 * nothing is said of it.
 */
static void leave_out_below(struct gather *gather, struct lsn oldest)
{
	size_t kept = 0, shown = SIZE_MAX;

	for (size_t i = 0; i < gather->count; i++)
		if (gather->versions[i].lsn.value <= oldest.value &&
		    key_kind(gather->versions[i].key) == KEY_ATTR)
			shown = i;
	for (size_t i = 0; i < gather->count; i++) {
		const struct version *version = &gather->versions[i];

		if (i == shown || version->lsn.value > oldest.value ||
		    (version->lsn.value == oldest.value && key_kind(version->key) != KEY_ATTR))
			gather->versions[kept++] = *version;
	}
	gather->count = kept;
}

int tree_history(struct store *store, uint64_t ino, tree_change_fn *fn, void *context)
{
	struct gather gather = { .versions = NULL };
	struct tree_attr before = { 0 };
	struct tree_change change;
	struct layer_guard guard;
	bool first = true;
	size_t at = 0;
	int err;

	gather.newest = engine_guard_take(store->engine, &guard);
	err = engine_each_version(&guard, ino, gather_one, &gather);
	if (!err && !gather.count)
		err = -ENOENT;
	if (!err) {
		qsort(gather.versions, gather.count, sizeof(*gather.versions), compare_versions);
		leave_out_below(&gather, engine_oldest(store->engine));
	}
	while (!err) {
		err = next_change(&guard, &gather, &at, &before, &first, &change);
		if (!err && !fn(context, &change))
			break;
	}
	layer_guard_drop(&guard);
	free(gather.versions);
	return err < 0 ? err : 0;
}
