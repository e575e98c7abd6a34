/*
 * Stores whose history is compacted, wholly or up to where a merge was killed.
 */
#ifndef VARVE_TESTS_TEST_COMPACT_H
#define VARVE_TESTS_TEST_COMPACT_H

#include "store.h"
#include "test_support.h"

/* Compact the store in a process of its own that is killed at its @nth write. True: it ended before. */
bool compact_killed_at(const char *path, const struct store_options *options, unsigned nth);

/* Is a merge under way? */
bool merge_is_unfinished(const char *path);

/* The paths of the store's table layers, in the order of their ids. */
struct table_paths {
	char paths[64][PATH_MAX];
	unsigned count;
};

struct table_paths *table_paths_new(const char *store);

#endif
