/*
 * Short forms of tree.h's calls. Each fails the test if the call does.
 */
#ifndef VARVE_TESTS_TEST_TREE_H
#define VARVE_TESTS_TEST_TREE_H

#include "store.h"
#include "test_support.h"
#include "tree.h"

struct lsn newest(struct store *store);
uint64_t make_file(struct store *store, uint64_t dir, const char *name);
uint64_t make_dir(struct store *store, uint64_t dir, const char *name);
struct tree_attr attr_at(struct store *store, uint64_t ino, struct lsn at);
struct tree_attr attr_now(struct store *store, uint64_t ino);
/* The inode @name leads to, 0 if there is none. */
uint64_t find_at(struct store *store, uint64_t dir, const char *name, struct lsn at);
uint64_t find_now(struct store *store, uint64_t dir, const char *name);
void write_bytes(struct store *store, uint64_t ino, uint64_t offset_bytes, const void *bytes,
		 size_t size_bytes);
void write_text(struct store *store, uint64_t ino, const char *text);   /* at 0 */
void set_size(struct store *store, uint64_t ino, uint64_t size_bytes);
/* [offset, offset + size) lies within the file and is @expected. */
void assert_bytes(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
		  const void *expected, size_t size_bytes);
void assert_zeros(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes,
		  uint64_t size_bytes);
void punch(struct store *store, uint64_t ino, uint64_t offset_bytes, uint64_t size_bytes);
/* tree_seek; UINT64_MAX: there is none. */
uint64_t seek_at(struct store *store, uint64_t ino, struct lsn at, uint64_t offset_bytes, bool hole);
/* Holes and data take turns up to the file's end, the holes are zeros, the data has as many pages as the
 * attributes say. One number over where they lie; of the first thousand. */
uint64_t assert_space(struct store *store, uint64_t ino, struct lsn at);
/* The whole file is @text. */
void assert_text(struct store *store, uint64_t ino, struct lsn at, const char *text);
/* The names of @dir, dots left out, sorted and joined by spaces, are @names. */
void assert_names(struct store *store, uint64_t dir, struct lsn at, const char *names);

/* The names of one directory. A callback may not call the tree: it only lists. */
struct name_list {
	struct name_entry {
		char name[TREE_NAME_MAX + 1];
		uint64_t ino, cookie;
		uint32_t type;
	} *entries;
	size_t count, capacity;
};

/* A tree_entry_fn; the context is the list. Free the entries. */
bool name_list_add(void *context, const struct tree_entry *entry);
bool name_is_dot(const char *name);             /* "." or ".." */

/* Every field is the same. */
#define assert_attr_equal(a, b) check_attr_equal((a), (b), __FILE__, __LINE__)
void check_attr_equal(const struct tree_attr *a, const struct tree_attr *b, const char *file,
		      int line);

bool time_equal(struct tree_time a, struct tree_time b);
bool time_before(struct tree_time a, struct tree_time b);
/* Sleep until the clock that stamps changes shows another time. */
void clock_tick(void);

#endif
