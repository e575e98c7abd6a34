/*
 * Manifest: the one authority on what exists.
 *
 * A file of records, each with a checksum seeded with the one before. Appended
 * and synced before anything relies on what a record says; replaced as a whole
 * by rename. So at most the last record can be torn by a power cut, and then
 * nothing relied on it; a bad record with others behind it is damage.
 *
 *   header, 64 bytes:  magic "VARVEMAN", u32 format version, u32 page size,
 *                      16 bytes store id, i64 time made, 16 bytes zero, u64 checksum
 *   records:           u32 size of the whole record, u8 type, fields, u64 checksum
 *     1 layer opened:  u64 layer id
 *     2 layer sealed:  u64 layer id, u64 start, u64 end, u64 chain end, u64 file bytes
 *     3 layer dropped: u64 layer id
 *     4 durable:       u64 LSN: all up to it had been synced
 *
 * One caller at a time.
 */
#ifndef VARVE_CATALOG_MANIFEST_H
#define VARVE_CATALOG_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "layer_file.h"
#include "report.h"

#define MANIFEST_NAME "manifest"
#define MANIFEST_FORMAT_VERSION 1u

struct manifest_layer {
	uint64_t layer_id;
	bool sealed;
	struct lsn start, end;          /* of a sealed one */
	uint64_t chain_end;
	uint64_t file_bytes;
};

struct manifest {
	struct store_identity store;
	uint32_t format_version;
	int64_t made_ns;
	struct manifest_layer *layers;  /* ascending by id */
	uint32_t layer_count, layer_room;
	struct lsn durable;             /* highest LSN a record says was synced; 0: none */
	bool torn;                      /* the last record was not whole and is ignored */
	bool broken;                    /* a write failed: no more are taken */
	uint64_t tail_bytes;            /* where the next record goes */
	uint64_t chain;
	uint32_t record_count;
	int dir_fd, fd;
};

/* Make the manifest of a new store in @dir_fd, durable. -EEXIST; -errno. */
int manifest_create(int dir_fd, uint32_t page_size_bytes);

/*
 * Read it; nothing on disk changes. With @writable records can be appended, once
 * manifest_tidy was called.
 * 0 and @manifest, to be closed; -ENOENT; -EMEDIUMTYPE: no manifest of varve;
 * -EPROTONOSUPPORT: newer; -EUCLEAN: damaged; -errno. @report says more.
 */
int manifest_open(struct manifest *manifest, int dir_fd, bool writable, struct report *report);
void manifest_close(struct manifest *manifest);

/*
 * What can be had of a damaged one: the header, and the records up to the first that is
 * not whole. Read only. 0 and @manifest, to be closed; -EUCLEAN: not even the header; -errno.
 */
int manifest_salvage(struct manifest *manifest, int dir_fd);
/* Write what @manifest says in memory to a new file and put it in the place of the
 * old one, durable. @manifest->dir_fd is set; fd may be -1. -errno: the old one stands. */
int manifest_replace(struct manifest *manifest);
/* Add a layer to what is in memory alone, in the order of their ids. -ENOMEM; -EUCLEAN: it is there. */
int manifest_add(struct manifest *manifest, const struct manifest_layer *layer);
/* The seed that goes with a store's id. */
uint64_t manifest_seed(const uint8_t id[16]);

/* Rewrite it, if its end is torn or most of its records, 4096 or more, are outdated. -errno. */
int manifest_tidy(struct manifest *manifest);
/* For tests, of the whole process: rewrite any of so many records. 0: as usual. */
void manifest_rewrite_from(uint32_t record_count);

/* Append one record, durable on return. -errno: the record may or may not be
 * there after a crash, and the manifest takes no more (-EROFS). -ENOSPC, -ENOMEM:
 * nothing happened. */
int manifest_layer_opened(struct manifest *manifest, uint64_t layer_id);
int manifest_layer_sealed(struct manifest *manifest, const struct manifest_layer *layer);
int manifest_layer_dropped(struct manifest *manifest, uint64_t layer_id);
int manifest_durable(struct manifest *manifest, struct lsn lsn);

const struct manifest_layer *manifest_find(const struct manifest *manifest, uint64_t layer_id);

#endif
