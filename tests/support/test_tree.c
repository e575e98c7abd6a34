#include "test_tree.h"

#include <inttypes.h>
#include <time.h>

bool name_is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

bool name_list_add(void *context, const struct tree_entry *entry)
{
	struct name_list *list = context;

	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 16;
		list->entries = realloc(list->entries, list->capacity * sizeof(*list->entries));
		assert_non_null(list->entries);
	}
	struct name_entry *slot = &list->entries[list->count++];
	snprintf(slot->name, sizeof(slot->name), "%s", entry->name);
	slot->ino = entry->ino;
	slot->cookie = entry->cookie;
	slot->type = entry->type;
	return true;
}

struct lsn newest(struct store *store)
{
	struct lsn oldest_lsn, newest_lsn;

	store_window(store, &oldest_lsn, &newest_lsn);
	return newest_lsn;
}

static uint64_t make_one(struct store *store, uint64_t dir, const char *name, uint32_t mode)
{
	struct tree_new what = { .mode = mode, .uid = 1000, .gid = 1001 };
	struct tree_attr attr;

	assert_ok(tree_create(store, dir, name, &what, &attr));
	return attr.ino;
}

uint64_t make_file(struct store *store, uint64_t dir, const char *name)
{
	return make_one(store, dir, name, S_IFREG | 0644);
}

uint64_t make_dir(struct store *store, uint64_t dir, const char *name)
{
	return make_one(store, dir, name, S_IFDIR | 0755);
}

struct tree_attr attr_at(struct store *store, uint64_t ino, struct lsn at)
{
	struct tree_attr attr;

	assert_ok(tree_getattr(store, ino, at, &attr));
	assert_int_equal(attr.ino, ino);
	return attr;
}

struct tree_attr attr_now(struct store *store, uint64_t ino)
{
	return attr_at(store, ino, LSN_HEAD);
}

uint64_t find_at(struct store *store, uint64_t dir, const char *name, struct lsn at)
{
	struct tree_attr attr;
	int err = tree_lookup(store, dir, name, at, &attr);

	if (err == -ENOENT)
		return 0;
	assert_ok(err);
	return attr.ino;
}

uint64_t find_now(struct store *store, uint64_t dir, const char *name)
{
	return find_at(store, dir, name, LSN_HEAD);
}

void write_bytes(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *bytes,
		 size_t size_bytes)
{
	assert_ok(tree_write(store, ino, offset_bytes, bytes, size_bytes, false));
}

void write_text(struct store *store, uint64_t ino, const char *text)
{
	write_bytes(store, ino, 0, text, strlen(text));
}

void set_size(struct store *store, uint64_t ino, uint64_t size_bytes)
{
	struct tree_attr to = { .size_bytes = size_bytes }, attr;

	assert_ok(tree_setattr(store, ino, TREE_SET_SIZE, &to, &attr));
	assert_int_equal(attr.size_bytes, size_bytes);
}

void assert_bytes(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
		  const void *expected, size_t size_bytes)
{
	uint8_t *found = malloc(size_bytes + 1);
	size_t count = 0;

	assert_non_null(found);
	assert_ok(tree_read(store, ino, at, offset_bytes, found, size_bytes, &count));
	assert_int_equal(count, size_bytes);
	for (size_t i = 0; i < size_bytes; i++) {
		if (found[i] == ((const uint8_t *)expected)[i])
			continue;
		fail_msg("byte %" PRIu64 " of inode %" PRIu64 " at LSN %" PRIu64
			 " is %#x, expected %#x", offset_bytes + i, ino, at.value, found[i],
			 ((const uint8_t *)expected)[i]);
	}
	free(found);
}

void assert_zeros(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
		  uint64_t size_bytes)
{
	static const uint8_t zeros[64 * 1024];

	while (size_bytes) {
		size_t count = size_bytes < sizeof(zeros) ? size_bytes : sizeof(zeros);

		assert_bytes(store, ino, at, offset_bytes, zeros, count);
		offset_bytes += count;
		size_bytes -= count;
	}
}

void punch(struct store *store, uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes)
{
	assert_ok(tree_punch(store, ino, offset_bytes, size_bytes, true, false));
}

uint64_t seek_at(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes, bool hole)
{
	uint64_t found;
	int err = tree_seek(store, ino, at, offset_bytes, hole, &found);

	if (err == -ENXIO)
		return UINT64_MAX;
	assert_ok(err);
	assert_true(found >= offset_bytes);
	return found;
}

uint64_t assert_space(struct store *store, uint64_t ino, struct lsn at)
{
	struct tree_attr attr = attr_at(store, ino, at);
	uint64_t page = store_page_size(store), hole = 0, pages = 0, digest = DIGEST_START;

	for (unsigned i = 0; i < 1000 && hole < attr.size_bytes; i++) {
		uint64_t data = seek_at(store, ino, at, hole, false), edges[2];
		uint64_t end = data < attr.size_bytes ? data : attr.size_bytes;
		uint64_t shown = end - hole < 64 * KIB ? end - hole : 64 * KIB;

		/* What is told to be a hole is one. */
		assert_zeros(store, ino, at, hole, shown);
		assert_zeros(store, ino, at, end - shown, shown);
		if (data == UINT64_MAX)
			break;
		assert_true(i == 0 || data > hole);
		hole = seek_at(store, ino, at, data, true);
		assert_true(hole > data && hole <= attr.size_bytes);
		pages += (hole + page - 1) / page - data / page;
		edges[0] = data;
		edges[1] = hole;
		digest = digest_add(digest, edges, sizeof(edges));
	}
	if (attr.page_count != TREE_PAGES_UNKNOWN && hole >= attr.size_bytes)
		assert_int_equal(pages, attr.page_count);
	return digest;
}

void assert_text(struct store *store, uint64_t ino, struct lsn at, const char *text)
{
	assert_int_equal(attr_at(store, ino, at).size_bytes, strlen(text));
	assert_bytes(store, ino, at, 0, text, strlen(text));
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct name_entry *)a)->name, ((const struct name_entry *)b)->name);
}

void assert_names(struct store *store, uint64_t dir, struct lsn at, const char *names)
{
	struct name_list list = { 0 };
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	assert_non_null(out);
	assert_ok(tree_readdir(store, dir, at, 0, name_list_add, &list));
	qsort(list.entries, list.count, sizeof(*list.entries), name_compare);
	for (size_t i = 0; i < list.count; i++) {
		if (!name_is_dot(list.entries[i].name))
			fprintf(out, "%s%s", ftello(out) ? " " : "", list.entries[i].name);
	}
	fclose(out);
	assert_string_equal(text, names);
	assert_int_equal(list.count - 2, attr_at(store, dir, at).size_bytes);
	free(text);
	free(list.entries);
}

/* By field: the structure has padding. */
void check_attr_equal(const struct tree_attr *a, const struct tree_attr *b, const char *file,
		      int line)
{
	bool equal = a->ino == b->ino && a->size_bytes == b->size_bytes && a->mode == b->mode &&
		     a->uid == b->uid && a->gid == b->gid && a->nlink == b->nlink &&
		     a->rdev == b->rdev && a->parent_ino == b->parent_ino &&
		     a->page_count == b->page_count &&
		     a->changed.value == b->changed.value && a->position == b->position &&
		     time_equal(a->mtime, b->mtime) && time_equal(a->ctime, b->ctime) &&
		     time_equal(a->atime, b->atime) && time_equal(a->btime, b->btime);

	if (equal)
		return;
	print_error("%s:%d: attributes of inodes %" PRIu64 " (LSN %" PRIu64 ") and %" PRIu64
		    " (LSN %" PRIu64 ") differ\n", file, line, a->ino, a->changed.value, b->ino,
		    b->changed.value);
	_fail(file, line);
}

bool time_equal(struct tree_time a, struct tree_time b)
{
	return a.seconds == b.seconds && a.nanoseconds == b.nanoseconds;
}

bool time_before(struct tree_time a, struct tree_time b)
{
	return a.seconds != b.seconds ? a.seconds < b.seconds : a.nanoseconds < b.nanoseconds;
}

void clock_tick(void)
{
	/* The kernel's coarse clock moves at most every 10 ms (HZ=100). */
	struct timespec pause = { .tv_nsec = 11000000 };

	nanosleep(&pause, NULL);
}
