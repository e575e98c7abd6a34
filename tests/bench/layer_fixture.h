/*
 * An open layer by itself, without engine or store: the subject of the benches
 * of append, lookup and freeze. One thread.
 */
#ifndef VARVE_BENCH_LAYER_FIXTURE_H
#define VARVE_BENCH_LAYER_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "open_layer.h"

#define FIXTURE_INO 100u        /* the file whose pages the layer holds */
#define FIXTURE_PAGE_BYTES 8192u

struct layer_fixture {
	int dir_fd;
	struct store_identity store;
	struct open_layer *layer;       /* NULL: none */
	uint64_t layer_id;
};

int layer_fixture_init(struct layer_fixture *fixture, const char *dir);         /* 0 or -errno */
void layer_fixture_destroy(struct layer_fixture *fixture);

/* A fresh layer that holds nothing, in a file of @size_bytes, in place of the one
 * before. 0 or -errno. */
int layer_fixture_renew(struct layer_fixture *fixture, uint64_t size_bytes);

/* File size for @versions images of @payload_bytes, each a batch of its own. */
uint64_t layer_fixture_size(uint64_t versions, size_t payload_bytes);

/* Append an image of page @page as one batch. 0 and *lsn_out; -ENOSPC: the layer
 * is full; -errno. */
int layer_fixture_append(struct layer_fixture *fixture, uint64_t page, const void *payload,
			 size_t payload_bytes, struct lsn *lsn_out);

#endif
