/*
 * Table rebuild: a table layer whose index is damaged, made anew from its data blocks.
 *
 * The blocks lie one behind the other and say of themselves how long they are, so no index is needed to
 * walk them; their checksums hold their places. All of them must be whole, and hold what the summary says.
 */
#ifndef VARVE_LAYERS_TABLE_REBUILD_H
#define VARVE_LAYERS_TABLE_REBUILD_H

#include "layer_file.h"
#include "table_summary.h"

/*
 * Write the layer @table of @dir_fd anew as layer @layer_id, synced but for the directory. 0 and
 * *summary_out; -EBADMSG, -EUCLEAN: the data are damaged too, and no file was left; -ENOMEM; -ENOSPC; other -errno.
 */
int table_rebuild(int dir_fd, const struct table_summary *table, const struct store_identity *store,
		  uint64_t layer_id, enum compression compression, struct table_summary *summary_out);

#endif
