/*
 * A store with one file in it: the subject of the benches of flush and open.
 */
#ifndef VARVE_BENCH_STORE_FIXTURE_H
#define VARVE_BENCH_STORE_FIXTURE_H

#include <limits.h>
#include <stdint.h>

#include "store.h"

struct bench;

struct store_fixture {
	char path[PATH_MAX];
	struct store *store;            /* NULL: closed */
	uint64_t ino;                   /* of the file */
};

/* Make a store @name in the bench's directory; closed. Says what failed. 0 or -errno. */
int store_fixture_make(struct store_fixture *fixture, struct bench *bench, const char *name);

/* Open it; @layer_size_bytes as in struct store_options. Says what failed. 0 or -errno. */
int store_fixture_open(struct store_fixture *fixture, struct bench *bench,
		       uint64_t layer_size_bytes);

/* Make the file and write @size_bytes (a multiple of @call_bytes) of noise into
 * it. The store is open. Says what failed. 0 or -errno. */
int store_fixture_fill(struct store_fixture *fixture, struct bench *bench, uint64_t size_bytes,
		       uint32_t call_bytes);

int store_fixture_close(struct store_fixture *fixture);         /* 0 or -errno; closed already: 0 */

#endif
