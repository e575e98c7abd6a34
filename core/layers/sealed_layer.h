/*
 * Sealed layer: read from its file, index and payloads alike.
 *
 * Held in memory: the descriptor, the footer, and a mapping of the file. Index
 * blocks come through the block cache, small payloads by pread; whole pages are
 * handed out where they lie in the mapping, which saves a copy of each
 * (base/fault.h makes a file that was cut short an error).
 */
#ifndef VARVE_LAYERS_SEALED_LAYER_H
#define VARVE_LAYERS_SEALED_LAYER_H

#include "block_cache.h"
#include "layer.h"

struct sealed_layer;

/*
 * Open layer @layer_id in @dir_fd and verify header and footer. 0 and *layer_out,
 * freed by sealed_layer_close; -ENOENT; -EUCLEAN: damaged or cut short;
 * -EXDEV: of another store; -EPROTONOSUPPORT; other -errno.
 */
int sealed_layer_open(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		      struct block_cache *cache, struct sealed_layer **layer_out);
void sealed_layer_close(struct sealed_layer *layer);    /* NULL is ignored; no reader is left */

struct layer *sealed_layer_base(struct sealed_layer *layer);
const struct layer_footer *sealed_layer_footer(const struct sealed_layer *layer);
uint64_t sealed_layer_file_bytes(const struct sealed_layer *layer);

/* Where its first batch ends. The log is asked; where that is damaged the index, which
 * knows the oldest version. 0; -EBADMSG: both are damaged; -ENOMEM; -errno. */
int sealed_layer_first_lsn(struct sealed_layer *layer, struct lsn *lsn_out);

/* What layer.h dispatches to. */
int sealed_layer_find(struct sealed_layer *layer, struct key key, struct lsn lsn,
		      struct version *version_out);
int sealed_layer_find_chain(struct sealed_layer *layer, struct key key, struct lsn lsn,
			    struct version *versions, uint32_t room, uint32_t *count_out);
int sealed_layer_find_pages(struct sealed_layer *layer, uint64_t ino, uint64_t first,
			    uint32_t count, struct lsn lsn, struct version *versions,
			    uint32_t *found);
int sealed_layer_each_name(struct sealed_layer *layer, uint64_t ino, uint64_t from,
			   layer_key_fn *fn, void *context);
int sealed_layer_each_version(struct sealed_layer *layer, uint64_t ino, layer_version_fn *fn,
			      void *context);
int sealed_layer_fd(const struct sealed_layer *layer);
const uint8_t *sealed_layer_map(const struct sealed_layer *layer);      /* NULL: not mapped */

#endif
