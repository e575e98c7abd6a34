/*
 * Log check: the walk along a layer's log, batch by batch (layer_check.h).
 */
#ifndef VARVE_LAYERS_LOG_CHECK_H
#define VARVE_LAYERS_LOG_CHECK_H

#include "batch.h"
#include "layer_check.h"
#include "stream.h"

#define LOG_STRETCH_MAX 64u

/* A stretch of the log whose batches do not follow. */
struct log_stretch {
	uint64_t from, to;              /* in the file */
	bool proven;                    /* its payloads show what the heads say; only the chain is broken */
};

struct log_check {
	const struct layer_check_target *target;
	const struct check_hooks *hooks;
	struct layer_check_result *result;
	struct stream *stream;
	uint64_t at, end;               /* in the file; @end: nothing of the log lies beyond */
	uint64_t chain, chain_or;       /* of the batch before: what it says, or what it should be */
	uint64_t digest, version_count; /* of all versions that are known from the log */
	uint64_t ino_max;
	uint64_t told;                  /* bytes told to the hooks */
	struct log_stretch stretches[LOG_STRETCH_MAX];  /* the last grows when there are more */
	uint32_t stretch_count;
};

/* A version as both log and index know it. The sum of these is what is compared. */
struct version_facts {
	struct key key;
	uint64_t lsn, offset;           /* LSN relative to the layer's start */
	uint32_t size_bytes;
	uint8_t form, weight;
	uint64_t checksum;
};
uint64_t version_facts_hash(const struct version_facts *facts);

/* Walk from @check->at to the end. 0 or -errno, as layer_check. */
int log_check_sealed(struct log_check *check);
int log_check_open(struct log_check *check);

/* In a stretch that nothing is known of but by the index. */
bool log_check_lost(const struct log_check *check, uint64_t lsn);

/* The name of a layer's file within the store, into finding->file. */
void finding_layer_file(struct finding *finding, uint64_t layer_id);

#endif
