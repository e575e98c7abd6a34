/*
 * Table layer: versions in (key, LSN) order in compressed blocks; read, never changed.
 *
 * Held in memory: the summary that the manifest has, and from the first read on where the parts
 * of the file are. The file is opened when it is read. Index blocks and decompressed data blocks come
 * through the block cache, so that a payload is handed out where it lies in there.
 *
 * A layer must live, and its file must stay, as long as a guard taken before it left the map,
 * or a cursor.
 */
#ifndef VARVE_LAYERS_TABLE_LAYER_H
#define VARVE_LAYERS_TABLE_LAYER_H

#include "block_cache.h"
#include "layer.h"
#include "layer_files.h"
#include "table_cursor.h"
#include "table_summary.h"

/* No I/O. @summary is copied; the others are borrowed and outlive the layer. 0 and
 * *layer_out, of kind LAYER_TABLE, freed by table_layer_free; -ENOMEM. */
int table_layer_new(const struct table_summary *summary, const struct store_identity *store,
		    struct block_cache *cache, struct layer_files *files, struct layer **layer_out);
void table_layer_free(struct layer *layer);     /* NULL is ignored; no reader is left */

const struct table_summary *table_layer_summary(const struct layer *layer);

/* Read header and footer and hold them against the summary. 0; -ENOENT: the file is missing; -EUCLEAN:
 * damaged, cut short or another than the summary's; -EXDEV: of another store; -EPROTONOSUPPORT; -ENOMEM;
 * other -errno. */
int table_layer_verify(struct layer *layer);

/*
 * What layer.h dispatches to, under a guard. -EBADMSG: the checksum of a block is wrong; -EUCLEAN: what
 * it says is impossible, or the file is cut short or missing (never -ENOENT, which would say
 * of a name that there is none); -ENOMEM; other -errno.
 * Of a layer that is lost: -EBADMSG for whatever it may have held.
 */
int table_layer_find(struct layer *layer, struct key key, struct lsn lsn,
		     struct version *version_out);
int table_layer_find_chain(struct layer *layer, struct key key, struct lsn lsn,
			   struct version *versions, uint32_t room, uint32_t *count_out);
int table_layer_find_pages(struct layer *layer, uint64_t ino, uint64_t first, uint32_t count,
			   struct lsn lsn, struct version *versions, uint32_t *found);
int table_layer_each_name(struct layer *layer, uint64_t ino, uint64_t from, layer_key_fn *fn,
			  void *context);
int table_layer_each_version(struct layer *layer, uint64_t ino, layer_version_fn *fn,
			     void *context);

#endif
