/*
 * Open layer: the end of the history, where batches are appended.
 *
 * An arena (base/arena.h) holds the log and an index (version_index.h) leads into
 * it. Life cycle:
 *
 *   spare ──start──► open ──(no room, or told to)──► frozen ──seal──► a sealed file
 *
 * A spare is reserved on disk and empty. Freezing is the owner's decision to
 * give out no more leases; sealing adds index and footer behind the log, in the
 * same file: no batch is copied or written twice.
 *
 * A writer holds a lease from its reservation to its publication; a layer with
 * a lease out can't be sealed. The lease gives it the LSN and a stretch of the
 * arena of its own, which it fills beside other writers; publication is in LSN
 * order (the owner sees to that), so a reader who saw an LSN sees all below.
 *
 * What guards what: the owner's commit lock guards leasing, publishing, and all
 * fields below but the atomic ones. Filling needs no lock. Readers need none.
 */
#ifndef VARVE_LAYERS_OPEN_LAYER_H
#define VARVE_LAYERS_OPEN_LAYER_H

#include <pthread.h>

#include "arena.h"
#include "batch.h"
#include "layer.h"
#include "version_index.h"

struct open_layer {
	struct layer base;              /* first: a struct layer of kind LAYER_OPEN is one of these */
	struct arena arena;
	struct version_index *index;
	uint64_t chain_start;
	uint64_t chain;                 /* of the batch published last */
	uint64_t leased_tail;           /* file offset behind the last lease */
	uint32_t leased_versions;       /* entries leased so far */
	uint32_t lease_count;           /* leases out */
	_Atomic uint64_t tail;          /* file offset behind the batch published last */
	int64_t time_first_ns, time_last_ns;    /* 0: no batch yet */
	uint64_t ino_max;
	bool started;
	pthread_mutex_t sync_lock;      /* held while the file is synced; a leaf */
	_Atomic bool sync_failed;       /* what was dirty may be lost, no later sync brings it back; stored under sync_lock */
};

/* Make a spare of @size_bytes (a multiple of 4096 within LAYER_SIZE_MIN and _MAX).
 * Synced, but its directory is not. -ENOSPC; -ENOMEM; -errno. */
int open_layer_create(int dir_fd, uint64_t layer_id, uint64_t size_bytes,
		      const struct store_identity *store, struct open_layer **layer_out);

/* Begin the history at @start, behind a batch whose chain is @chain. 0; -EIO: the
 * file was cut short, nothing happened. */
int open_layer_start(struct open_layer *layer, struct lsn start, uint64_t chain);

/* What recovery found. */
struct open_layer_recovery {
	bool started;                   /* false: a spare, or one that does not follow */
	struct lsn durable;             /* the highest LSN that anything in the file says had been synced */
};

/*
 * Read back a layer that a process left open (to go on in it, if @writable), up to
 * the first batch that is not whole. Nothing on disk changes. A layer that does
 * not begin at @start behind @chain counts as a spare.
 *
 * Up to @durable all is known to have been synced, so a payload that does not check
 * there is rot, not a torn end: the history goes on behind it, and who reads that
 * version gets -EBADMSG. The history ends at open_layer_end; if that is below
 * recovery_out->durable, what is missing had been synced: read it again with that
 * @durable, and if it ends there then, too, the file is damaged.
 * 0; -EUCLEAN; -EXDEV; -EPROTONOSUPPORT; -ENOENT; -EIO: the file can't be read, or was cut short
 * meanwhile; -errno.
 */
int open_layer_recover(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		       struct lsn start, uint64_t chain, struct lsn durable, bool writable,
		       struct open_layer **layer_out, struct open_layer_recovery *recovery_out);

/* Cut what lies beyond the end (of a spare: everything) and make it zeros, durably.
 * Before the first lease. -errno. */
int open_layer_clear_tail(struct open_layer *layer);

void open_layer_close(struct open_layer *layer);        /* NULL is ignored; no reader is left */

struct lsn open_layer_end(const struct open_layer *layer);      /* of the batch published last */

/* A stretch of the arena, and the LSN that goes with it. */
struct lease {
	struct open_layer *layer;
	uint64_t at;                    /* file offset */
	uint32_t size_bytes;
	struct lsn lsn;                 /* behind the batch */
	int64_t time_ns;
	/* The chain of the batch before, if no lease was out when this one was taken:
	 * then the batch is chained when it is filled, else when it is published. */
	bool chain_known;
	uint64_t chain_before;
	/* set by filling */
	size_t heads_bytes;
	uint64_t chain;                 /* its own, if chain_known */
};

/* Lease room for a batch of @size_bytes with @entry_count entries. Commit lock.
 * 0; 1: it does not fit: freeze; -ENOMEM. */
int open_layer_lease(struct open_layer *layer, size_t size_bytes, size_t entry_count,
		     int64_t time_ns, struct lease *lease_out);

/* Write the batch into the leased stretch. No lock. @durable is the LSN known durable.
 * 0; -EIO: it can't be written, for the file was cut short: abandon the lease. */
int lease_fill(struct lease *lease, struct batch_entry *entries, size_t count,
	       struct lsn durable);
int lease_fill_opened(struct lease *lease, const uint8_t nonce[BATCH_NONCE_BYTES],
		      struct lsn durable);

/* Make it part of the history: chain it unless filling could, index it, end the
 * lease. Commit lock; leases of a layer are published in the order they were taken.
 * 0; -EIO as above. */
int lease_publish(struct lease *lease, const struct batch_entry *entries, size_t count);

/* End a lease that will not be published; nor can any that was taken after it. Commit lock. */
void lease_abandon(struct lease *lease);

/* Sync what is dirty up to the batch published last at the call. One caller at a time, also beside one that
 * seals: a sync of either that failed is an error to both. -errno. */
int open_layer_flush(struct open_layer *layer);

/*
 * Add index and footer, cut the file to size, sync it. No lease is out and none
 * will be taken; readers go on. 0 and *footer_out; -ENOMEM, -ENOSPC: try again later,
 * unless layer->sync_failed; other -errno.
 */
int open_layer_seal(struct open_layer *layer, struct layer_footer *footer_out);

/*
 * Make the layer's file anew under the name @new_name: header, the log of the old one up to
 * @footer's end, and an index and footer of that log. Its heads are whole (layer_check.h);
 * payloads that are damaged stay so, and sectors of them that can't be read are zeros; both are found and refused. Start,
 * end and chains are @footer's. Synced; the name is the caller's to publish. The old file is not touched.
 * 0 and *file_bytes_out; -ENOSPC; -EUCLEAN: the heads are not whole; -ENOMEM; -errno.
 */
int open_layer_rebuild(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		       const struct layer_footer *footer, const char *new_name,
		       uint64_t *file_bytes_out);

/* What layer.h dispatches to. */
int open_layer_find(struct open_layer *layer, struct key key, struct lsn lsn,
		    struct version *version_out);
uint32_t open_layer_find_chain(struct open_layer *layer, struct key key, struct lsn lsn,
			       struct version *versions, uint32_t room);
uint64_t open_layer_file_bytes(const struct open_layer *layer);         /* reserved on disk */
int open_layer_each_name(struct open_layer *layer, uint64_t ino, uint64_t from, layer_key_fn *fn,
			 void *context);
int open_layer_each_version(struct open_layer *layer, uint64_t ino, layer_version_fn *fn,
			    void *context);

#endif
