/*
 * Sealed layer: read from its file, index and payloads alike.
 *
 * Held in memory: the descriptor, the footer, and a mapping of the file. Index
 * blocks come through the block cache, and so do the blocks of the log that small payloads lie in;
 * larger payloads are read by pread. Whole pages of a large request are handed out where they
 * lie in the mapping, which saves a copy of each (base/fault.h makes a file that was cut short an
 * error); mapped_views.h bounds what of the mappings is in this process's page tables.
 */
#ifndef VARVE_LAYERS_SEALED_LAYER_H
#define VARVE_LAYERS_SEALED_LAYER_H

#include "block_cache.h"
#include "layer.h"
#include "mapped_views.h"

struct sealed_layer;

/*
 * Open layer @layer_id in @dir_fd and verify header and footer. Cache and @views (NULL: nothing is handed
 * out where it is mapped) outlive the layer. 0 and *layer_out,
 * freed by sealed_layer_close; -ENOENT; -EUCLEAN: damaged or cut short;
 * -EXDEV: of another store; -EPROTONOSUPPORT; other -errno.
 */
int sealed_layer_open(int dir_fd, uint64_t layer_id, const struct store_identity *store,
		      struct block_cache *cache, struct mapped_views *views,
		      struct sealed_layer **layer_out);
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
int sealed_layer_find_names(struct sealed_layer *layer, uint64_t ino, const uint64_t *hashes, uint32_t count,
			    struct lsn lsn, struct version *versions);
int sealed_layer_each_name(struct sealed_layer *layer, uint64_t ino, uint64_t from,
			   layer_key_fn *fn, void *context);
int sealed_layer_each_version(struct sealed_layer *layer, uint64_t ino, layer_version_fn *fn,
			      void *context);
int sealed_layer_fd(const struct sealed_layer *layer);

/* What versions_prefetch does for those of sealed layers, all of one engine. A guard is held. */
void sealed_layer_prefetch(const struct version *versions, uint32_t count);

/* The payload of a version, unverified: in a cached block of the log, or read into @scratch, which has
 * room for it. A guard is held. 0 and *payload_out, valid until it is dropped; -errno. */
int sealed_layer_payload(struct sealed_layer *layer, const struct version *version, void *scratch,
			 const uint8_t **payload_out);
/* Would that find it in memory? */
bool sealed_layer_is_at_hand(const struct sealed_layer *layer, const struct version *version);
/* Where it lies in the mapping, to be touched under fault_guarded; NULL: it is not mapped. */
const uint8_t *sealed_layer_view(struct sealed_layer *layer, const struct version *version);

#endif
