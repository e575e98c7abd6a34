#include "attr.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "codec.h"

#define NANOSECONDS_PER_SECOND 1000000000u

static void put_time(struct put_cursor *c, struct tree_time time)
{
	put_u64(c, (uint64_t)time.seconds);
	put_u32(c, time.nanoseconds);
}

static struct tree_time get_time(struct get_cursor *c)
{
	int64_t seconds = (int64_t)get_u64(c);

	return (struct tree_time){ seconds, get_u32(c) };
}

void attr_encode(const struct attr *attr, uint8_t bytes_out[ATTR_BYTES])
{
	struct put_cursor c = put_cursor(bytes_out, ATTR_BYTES);

	put_u64(&c, attr->shown.size_bytes);
	put_time(&c, attr->shown.mtime);
	put_time(&c, attr->shown.ctime);
	put_time(&c, attr->shown.atime);
	put_time(&c, attr->shown.btime);
	put_u32(&c, attr->shown.mode);
	put_u32(&c, attr->shown.uid);
	put_u32(&c, attr->shown.gid);
	put_u32(&c, attr->shown.nlink);
	put_u32(&c, attr->shown.rdev);
	put_u32(&c, attr->flags);
	put_u64(&c, S_ISDIR(attr->shown.mode) ? attr->shown.parent_ino : attr->extent_since.value);
	put_u64(&c, attr->block_end);
	put_u64(&c, attr->flags & ATTR_MAPPED ? attr->shown.page_count : 0);
	assert(!c.bad && c.at == c.end);
}

static bool mode_is_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) ||
	       S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

int attr_decode(const uint8_t bytes[ATTR_BYTES], struct attr *attr_out)
{
	struct get_cursor c = get_cursor(bytes, ATTR_BYTES);
	struct tree_attr *shown = &attr_out->shown;

	memset(attr_out, 0, sizeof(*attr_out));
	shown->size_bytes = get_u64(&c);
	shown->mtime = get_time(&c);
	shown->ctime = get_time(&c);
	shown->atime = get_time(&c);
	shown->btime = get_time(&c);
	shown->mode = get_u32(&c);
	shown->uid = get_u32(&c);
	shown->gid = get_u32(&c);
	shown->nlink = get_u32(&c);
	shown->rdev = get_u32(&c);
	attr_out->flags = get_u32(&c);
	if (S_ISDIR(shown->mode))
		shown->parent_ino = get_u64(&c);
	else
		attr_out->extent_since = lsn_make(get_u64(&c));
	attr_out->block_end = get_u64(&c);
	shown->page_count = get_u64(&c);
	if (attr_out->flags & ATTR_MAPPED ? !S_ISREG(shown->mode) : shown->page_count != 0)
		return -EUCLEAN;
	if (!(attr_out->flags & ATTR_MAPPED) && (S_ISREG(shown->mode) || S_ISLNK(shown->mode)))
		shown->page_count = TREE_PAGES_UNKNOWN;
	if (!mode_is_known(shown->mode) || shown->size_bytes > TREE_SIZE_MAX ||
	    shown->mtime.nanoseconds >= NANOSECONDS_PER_SECOND ||
	    shown->ctime.nanoseconds >= NANOSECONDS_PER_SECOND ||
	    shown->atime.nanoseconds >= NANOSECONDS_PER_SECOND ||
	    shown->btime.nanoseconds >= NANOSECONDS_PER_SECOND)
		return -EUCLEAN;
	return 0;
}

struct extent attr_extent(const struct attr *attr)
{
	bool has_holes = attr->flags & ATTR_HAS_HOLES;

	return (struct extent){
		.size_bytes = attr->shown.size_bytes,
		.type = attr->shown.mode & S_IFMT,
		.flags = attr->flags,
		.has_name = attr->shown.nlink != 0,
		.block_end = has_holes ? attr->block_end : 0,
		.page_count = has_holes ? attr->shown.page_count : 0,
	};
}

bool extent_equal(const struct extent *a, const struct extent *b)
{
	return a->size_bytes == b->size_bytes && a->type == b->type && a->flags == b->flags &&
	       a->has_name == b->has_name && a->block_end == b->block_end &&
	       a->page_count == b->page_count;
}

void attr_follow(struct attr *attr, const struct attr *before)
{
	struct extent now = attr_extent(attr), then;

	attr->extent_since = lsn_make(0);
	if (!before || S_ISDIR(attr->shown.mode))
		return;
	then = attr_extent(before);
	if (extent_equal(&now, &then))
		attr->extent_since = before->extent_since.value ? before->extent_since
								: before->shown.changed;
}
