/*
 * Table summary: what is known of a table layer without opening its file.
 *
 * A table layer holds versions in (key, LSN) order. The manifest keeps its summary, and
 * the map needs no more to find it; the file must have the footer whose checksum
 * is noted here.
 */
#ifndef VARVE_LAYERS_TABLE_SUMMARY_H
#define VARVE_LAYERS_TABLE_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "key.h"
#include "lsn.h"

enum table_kind {
	TABLE_DELTA = 1,                /* a key may have several versions */
	TABLE_IMAGE = 2,                /* each key has one, which stands alone */
};

/* What the end of a layer is. A run whose manifest is lost is put together by it. */
enum table_ending {
	TABLE_ENDS_KEY = 0,             /* its last key is whole in the run up to here */
	TABLE_SPLITS_KEY = 1,           /* the last key has more versions, in the run's next layer */
	TABLE_ENDS_RUN = 2,             /* nothing more comes: the merge that made the run is through */
};

/* How blocks are stored. Each block says what it is itself. On disk. */
enum compression {
	COMPRESSION_DEFAULT = 0,
	COMPRESSION_NONE = 1,
	COMPRESSION_LZ4 = 2,
	COMPRESSION_ZSTD = 3,
};

struct table_summary {
	uint64_t layer_id;
	uint64_t run_id;
	enum table_kind kind;
	enum table_ending ending;
	uint32_t level, number;         /* of its run; of the layer in its run, from 0 */
	struct lsn start, end;          /* the span of its run */
	struct lsn oldest;              /* the merge kept what is needed from here on; 0: it kept all */
	struct key first_key, last_key;
	struct lsn first_lsn, last_lsn; /* of the first version of first_key, of the last of last_key */
	uint64_t file_bytes;
	uint64_t key_count, version_count;
	uint64_t payload_bytes;         /* before compression */
	uint64_t ino_max;               /* highest inode number among its keys */
	uint64_t checksum;              /* of its footer */
	bool lost;                      /* its file is gone for good, as a repair noted; not part of the file */
};

#endif
