/*
 * Random run, the space of files: reserve, punch, zero, copy. See random_run.h.
 */
#include "random_run.h"

struct range {
	uint64_t offset, size;
};

/* Within the file's limit; half of them of whole pages. */
static struct range choose_range(struct run *run, uint64_t limit)
{
	struct range range = { below(run, limit), 0 };

	if (one_in(run, 2))
		range.offset -= range.offset % RANDOM_PAGE_SIZE;
	range.size = 1 + below(run, one_in(run, 3) ? limit - range.offset : 3 * RANDOM_PAGE_SIZE);
	if (one_in(run, 2))
		range.size += RANDOM_PAGE_SIZE - 1 - (range.size - 1) % RANDOM_PAGE_SIZE;
	if (range.size > limit - range.offset)
		range.size = limit - range.offset;
	return range;
}

static void drop_if(struct tree_attr *expected, bool drop)
{
	if (drop)
		expected->mode &= ~(S_ISUID | (expected->mode & S_IXGRP ? S_ISGID : 0));
}

static void do_reserve(struct run *run, struct model_inode *inode)
{
	struct tree_attr expected = *model_attr_last(inode);
	struct range range = choose_range(run, run_size_limit(inode));
	bool keep = one_in(run, 2), drop = one_in(run, 3);

	assert_ok(tree_reserve(store_of(run), inode->ino, range.offset, range.size, keep, drop));
	if (!keep)
		model_grow(inode, newest(store_of(run)), range.offset + range.size);
	expected.size_bytes = inode->content.size_bytes;
	drop_if(&expected, drop);
	run_follow_data(run, inode, expected);
}

static void do_punch(struct run *run, struct model_inode *inode)
{
	struct tree_attr expected = *model_attr_last(inode);
	struct range range = choose_range(run, run_size_limit(inode));
	bool keep = !one_in(run, 4), drop = one_in(run, 3);
	struct lsn lsn;

	assert_ok(tree_punch(store_of(run), inode->ino, range.offset, range.size, keep, drop));
	lsn = newest(store_of(run));
	if (!keep)
		model_grow(inode, lsn, range.offset + range.size);
	model_punch(inode, lsn, range.offset, (uint32_t)range.size);
	expected.size_bytes = inode->content.size_bytes;
	drop_if(&expected, drop);
	run_follow_data(run, inode, expected);
}

/* From the head, or from an LSN that is kept. */
static void do_copy(struct run *run, struct model_inode *from, struct model_inode *inode)
{
	struct range range = choose_range(run, 6 * RANDOM_PAGE_SIZE);
	struct tree_attr expected = *model_attr_last(inode);
	struct lsn at = one_in(run, 2) || !run->lsn_count ? LSN_HEAD
							  : run->lsns[below(run, run->lsn_count)];
	uint64_t from_offset = below(run, run_size_limit(from)), apart, count, left;
	const struct tree_attr *source;
	struct model_content content;

	if (one_in(run, 2))
		from_offset -= from_offset % RANDOM_PAGE_SIZE;
	apart = from_offset > range.offset ? from_offset - range.offset : range.offset - from_offset;
	if (!lsn_is_head(at) && store_pin(store_of(run), at))
		at = LSN_HEAD;
	if (from == inode && lsn_is_head(at) && apart < range.size) {
		assert_err(tree_copy(store_of(run), from->ino, at, from_offset, inode->ino,
				     range.offset, range.size, false, &count), -EINVAL);
		return;
	}
	source = model_attr_at(from, at);
	content = model_content_at(from, at);
	assert_err(tree_copy(store_of(run), from->ino, at, from_offset, inode->ino, range.offset,
			     range.size, false, &count), source ? 0 : -ENOENT);
	if (!lsn_is_head(at))
		store_unpin(store_of(run), at);
	left = source && content.size_bytes > from_offset ? content.size_bytes - from_offset : 0;
	left = left < range.size ? left : range.size;
	assert_true(count <= left && (count || !left));
	if (!count) {
		assert_int_equal(newest(store_of(run)).value, run->newest.value);
		free(content.bytes);
		return;
	}
	model_bytes(inode, newest(store_of(run)), range.offset, content.bytes + from_offset,
		    (uint32_t)count);
	free(content.bytes);
	expected.size_bytes = inode->content.size_bytes;
	run_follow_data(run, inode, expected);
}

void run_operate_on_space(struct run *run, struct model_inode *inode, struct model_inode *other)
{
	switch (below(run, 10)) {
	case 0 ... 1:
		do_reserve(run, inode);
		break;
	case 2:
		do_copy(run, other, inode);
		break;
	default:
		do_punch(run, inode);
	}
}
