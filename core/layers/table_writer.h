/*
 * Table writer: makes the file of a table layer from versions that come in (key, LSN) order.
 *
 * The file takes its final name at once: it is no layer until the manifest names it, and files
 * that the manifest does not name are swept. One thread at a time.
 *
 * Memory: a data block, a write buffer, 40 bytes a data block and 8 bytes a key.
 */
#ifndef VARVE_LAYERS_TABLE_WRITER_H
#define VARVE_LAYERS_TABLE_WRITER_H

#include <stdint.h>

#include "layer_file.h"
#include "table_summary.h"

struct table_writer;

struct table_writer_options {
	enum table_kind kind;
	uint64_t run_id;
	uint32_t level, number;         /* of its run; of the layer in its run, from 0 */
	struct lsn start, end;          /* the span of its run: every LSN added is within (start, end] */
	struct lsn oldest;              /* what was needed from here on was kept; 0: all was */
	enum compression compression;
};

/* @dir_fd < 0: nothing is written, but all is counted as if. @store is borrowed. 0 and
 * *writer_out, freed by table_writer_free; -EINVAL: no such compression; -ENOMEM; -errno. */
int table_writer_open(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		      const struct table_writer_options *options, struct table_writer **writer_out);

/*
 * Add a version, above the one before in (key, LSN) order. @position: version_position of a
 * version of KEY_ATTR, else 0. @payload is copied. 0; -EUCLEAN: out of order, outside the span, or no
 * version at all; -EFBIG: a payload above TABLE_PAYLOAD_MAX, or more blocks than a table has;
 * -ENOMEM; -errno. After an error only table_writer_free.
 */
int table_writer_add(struct table_writer *writer, struct key key, struct lsn lsn, uint64_t position,
		     uint8_t form, uint8_t weight, const void *payload, uint32_t size_bytes);

uint64_t table_writer_bytes(const struct table_writer *writer);         /* of the file so far, about */
/* Memory it takes: its buffer, and room for 8 bytes a key and 40 a block until the layer is finished. */
uint64_t table_writer_memory_bytes(const struct table_writer *writer);
uint64_t table_writer_count(const struct table_writer *writer);         /* versions so far */

/*
 * Write index and footer and sync the file; the directory is the caller's. At least one version
 * was added. The kind becomes TABLE_DELTA if a key turned out to have two versions, or one
 * that does not stand alone. 0 and *summary_out; -ENOMEM; -errno.
 */
int table_writer_finish(struct table_writer *writer, enum table_ending ending,
			struct table_summary *summary_out);
/* Unlinks the file unless it was finished. NULL is ignored. */
void table_writer_free(struct table_writer *writer);

#endif
