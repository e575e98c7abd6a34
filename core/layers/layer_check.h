/*
 * Layer check: one pass over a layer's file, front to back, that looks at every
 * byte of it that means something.
 *
 *   log      each batch follows the one before; each payload has its checksum
 *   index    each block has its checksum; keys ascend, versions descend, fences and
 *            filter know every key
 *   both     the index holds exactly the versions of the log: each side is summed up
 *            as it passes (a sum of hashes, so the order does not matter), and the
 *            sums are compared. So neither is held in memory.
 *
 * Memory: the stream's buffers, the filter (10 bits a key) and the fences.
 *
 * Where heads of a sealed layer's log are damaged, the walk goes on at the next batch
 * whose payloads all bear their checksums, which hold its LSN and so its place. What
 * lies between is looked up in the index: readers go by that, so nothing that it
 * still leads to is lost.
 *
 * A table layer has no log. Its index is looked at first, then its data blocks in the order of the file: each
 * has its checksum and makes sense, versions ascend over all of them, fences and top blocks say
 * where each begins, the filter knows every key, and counts and ends are those of the footer.
 *
 * Nothing on disk changes. Any thread.
 */
#ifndef VARVE_LAYERS_LAYER_CHECK_H
#define VARVE_LAYERS_LAYER_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "finding.h"
#include "layer_file.h"
#include "table_summary.h"

/* A layer, and what others say of it. */
struct layer_check_target {
	int dir_fd;                     /* of the layer files */
	const struct store_identity *store;
	uint64_t layer_id;
	bool sealed;
	/* Where it must begin; of a sealed one known from the manifest. */
	struct lsn start;
	uint64_t chain_start;
	bool chain_known;               /* else what the file says is believed */
	/* of a sealed one, from the manifest */
	struct lsn end;
	uint64_t chain_end, file_bytes;
	/* Of an open one: all up to here had been synced, so what is damaged is rot. */
	struct lsn durable;
	/* Of an open one that is written to meanwhile: what is published; 0: nobody writes. */
	uint64_t tail_bytes;
	/* Keys below are in another run by now: what is damaged of them harms nothing and is not told. */
	struct key from;
	/* A table layer: what the manifest says of it. Of the above @dir_fd, @store and
	 * @from are looked at then. NULL: a layer in the order of its log. */
	const struct table_summary *table;
};

struct layer_check_result {
	bool missing;                   /* there is no such file, or it can't be opened */
	bool started;                   /* false of a spare */
	bool header_bad, index_bad, log_bad;    /* log_bad: heads that do not follow */
	bool footer_bad;                /* of a table layer: so nothing in it is found */
	bool log_lost;                  /* heads that nothing is known of without the index */
	bool version_bad;               /* a payload; of a table layer a data block */
	struct lsn end;                 /* of an open one: where its history ends */
	uint64_t chain_end;             /* there */
	struct lsn durable;             /* highest LSN that an open one says had been synced; 0: none */
	bool ends_in_payload;           /* an open one ends at a batch whose heads are whole: */
	struct key end_key;             /* ... this version's bytes are damaged */
	uint64_t version_count, batch_count;
};

/* Every fault is a finding. 0; -ECANCELED; -ENOMEM; other -errno: no thread. */
int layer_check(const struct layer_check_target *target, const struct check_hooks *hooks,
		struct layer_check_result *result_out);

#endif
