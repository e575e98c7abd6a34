/*
 * Manifest: the one authority on what exists.
 *
 * A file of records, each with a checksum seeded with the one before. Appended
 * and synced before anything relies on what a record says; replaced as a whole
 * by rename. So at most the last record can be torn by a power cut, and then
 * nothing relied on it; a bad record with others behind it is damage. FORMAT.md gives
 * the bytes.
 *
 * What it says, and what every manifest that is read holds to:
 *   (1) An id of a layer or a run is that of one thing.
 *   (2) Runs are ascending by (start, id). Their spans do not overlap, but for those of a merge
 *       under way: its inputs lie one against the other within the output's span and fill it.
 *   (3) While a merge is under way its inputs have the same @from: keys below it are in the output,
 *       the others in the inputs.
 *   (4) The tables of a run are ascending by (key, LSN) and lie within its span.
 *
 * One caller at a time.
 */
#ifndef VARVE_CATALOG_MANIFEST_H
#define VARVE_CATALOG_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "id_set.h"
#include "layer_file.h"
#include "report.h"
#include "table_summary.h"

#define MANIFEST_NAME "manifest"
#define MANIFEST_FORMAT_VERSION 3u
#define MANIFEST_RECORD_BYTES_MAX (1u << 20)
#define MANIFEST_TAG_BYTES_MAX 255u
#define MANIFEST_INPUTS_MAX 4096u       /* runs that one merge may take */
#define MANIFEST_PIECE_LAYERS_MAX 8192u /* layers that one piece may add: with all inputs they fit a record */

struct manifest_run {
	uint64_t run_id;                /* of a sealed layer: its layer id; never reused; one counter with layer ids */
	uint32_t level;                 /* 0: one sealed layer */
	struct lsn start, end;
	struct key from;                /* keys below were moved to run @into */
	uint64_t into;                  /* the run that is taking its place; 0: none */
	bool lost;                      /* level 0: its file is gone for good, as a repair noted; of tables each says it */
	uint64_t chain_end;             /* of the log up to its end: what the layer behind it begins with */
	uint64_t file_bytes;            /* level 0 */
	/* level > 0: the tables there are are @layer_count from layers[layer_first] on, ascending;
	 * those wholly below @from have left */
	struct table_summary *layers;
	uint32_t layer_first, layer_count, layer_room;
};

struct manifest_tag {
	char name[MANIFEST_TAG_BYTES_MAX + 1];
	struct lsn lsn;
};

struct manifest {
	struct store_identity store;
	uint32_t format_version;
	int64_t made_ns;
	enum compression compression;
	struct manifest_run *runs;
	uint32_t run_count, run_room;
	uint64_t *open_ids;             /* layers opened and not sealed, ascending */
	uint32_t open_count, open_room;
	struct manifest_tag *tags;      /* ascending by name */
	uint32_t tag_count, tag_room;
	struct lsn durable;             /* highest LSN a record says was synced; 0: none */
	struct lsn oldest;              /* below it history was dropped; 0: none was */
	uint64_t window_ns, window_bytes;       /* of history to be kept; 0: no limit */
	uint64_t ino_next;              /* above every inode number of history that was dropped; 0: none was */
	uint64_t id_next;               /* above every id that a record named */
	struct id_set ids;              /* of what kind each id is: enum manifest_kind */
	bool torn;                      /* the last record was not whole and is ignored */
	bool broken;                    /* a write failed: no more are taken */
	uint64_t tail_bytes;            /* where the next record goes */
	uint64_t chain;
	uint64_t record_count;          /* in the file; each table that is named counts too */
	uint64_t rewrite_min;           /* so many, and four times what is needed: it is rewritten */
	int dir_fd, fd;
};

/* What an id is of. */
enum manifest_kind {
	MANIFEST_NONE = 0,
	MANIFEST_OPEN,                  /* a layer opened and not sealed */
	MANIFEST_SEALED,                /* a sealed layer, and so a run of level 0 */
	MANIFEST_TABLE,                 /* a table layer */
	MANIFEST_RUN,                   /* a run of table layers; no file */
};

/* Make the manifest of a new store in @dir_fd, durable. -EEXIST; -errno. */
int manifest_create(int dir_fd, uint32_t page_size_bytes, enum compression compression);

/*
 * Read it; nothing on disk changes. With @writable records can be appended, once
 * manifest_tidy was called.
 * 0 and @manifest, to be closed; -ENOENT; -EMEDIUMTYPE: no manifest of varve;
 * -EPROTONOSUPPORT: newer; -EUCLEAN: damaged; -errno. @report says more.
 */
int manifest_open(struct manifest *manifest, int dir_fd, bool writable, struct report *report);
void manifest_close(struct manifest *manifest);

/* Rewrite it if it is of an older format, if its end is torn or if most of its records are outdated. -errno. */
int manifest_tidy(struct manifest *manifest);

/* For tests, of the whole process, before one is opened: rewrite any of so many records. 0: as usual. */
void manifest_rewrite_from(uint64_t record_count);

/* ---- what it says ---- */

enum manifest_kind manifest_kind_of(const struct manifest *manifest, uint64_t id);
/* Is there a layer file of this id? */
bool manifest_names(const struct manifest *manifest, uint64_t layer_id);
/* A run by its id; NULL. O(runs), from the newest. Valid until the manifest changes. */
const struct manifest_run *manifest_find(const struct manifest *manifest, uint64_t run_id);
/* The tables of a run: run->layer_count of them. */
const struct table_summary *manifest_run_layers(const struct manifest_run *run);
/* Is the file of a layer of it gone for good? */
bool manifest_run_is_lost(const struct manifest_run *run);
/* Was all of (@start, @end] put into a run by compaction? The file of a log-order layer of that
 * span which is not named was replaced, and no history is lost with it. */
bool manifest_replaced(const struct manifest *manifest, struct lsn start, struct lsn end);
/* How many layers there are but open ones. */
uint64_t manifest_layer_count(const struct manifest *manifest);

/* ---- appending: one record, durable on return ----
 *
 * -errno: the record may or may not be there after a crash, and the manifest takes no more
 * (-EROFS). -ENOSPC before anything is written, -ENOMEM: nothing happened. -EUCLEAN: it does not
 * follow from what there is; nothing happened. At runtime too a manifest of outdated records
 * is rewritten, behind the record that makes it so. */

int manifest_layer_opened(struct manifest *manifest, uint64_t layer_id);
/* @run: of level 0, of an open layer, behind all others; from, into and lost are not looked at. */
int manifest_layer_sealed(struct manifest *manifest, const struct manifest_run *run);
/* An open layer is no more. */
int manifest_layer_dropped(struct manifest *manifest, uint64_t layer_id);
int manifest_durable(struct manifest *manifest, struct lsn lsn);

/*
 * A piece of a merge: the tables @layers, with keys from where the merge had come to on and below
 * @upto, are run @run_id's now. The inputs are trimmed to the keys >= @upto; behind the last
 * piece they are gone.
 */
struct manifest_piece {
	uint64_t run_id;
	uint32_t level;                 /* > 0 */
	struct lsn start, end;
	/* Above that of the piece before; of the last KEY_END. Of another best the key just behind the last table's
	 * last, and no piece without a table: the files alone tell then how far the merge had come. */
	struct key upto;
	bool last;
	const uint64_t *inputs;         /* run ids, ascending by start: all that lie in (start, end] */
	uint32_t input_count;
	const struct table_summary *layers;     /* run_id, level, start and end are as the piece's */
	uint32_t layer_count;           /* may be 0 */
};

int manifest_piece_done(struct manifest *manifest, const struct manifest_piece *piece);

/* How much history to keep. 0: no limit. */
int manifest_window_set(struct manifest *manifest, uint64_t window_ns, uint64_t window_bytes);
/* Below @lsn history may be dropped. One that is not above what was set changes nothing. */
int manifest_oldest_set(struct manifest *manifest, struct lsn lsn);
/* Inode numbers below @ino_next were given out, whatever is dropped. As above. */
int manifest_inodes_set(struct manifest *manifest, uint64_t ino_next);
/* Set a tag, or move it; with LSN 0 take it away. @name: 1 to 255 bytes. -EINVAL; -ENOENT: it is not there. */
int manifest_tag_set(struct manifest *manifest, const char *name, struct lsn lsn);
/* The file of a sealed layer or of a table layer is gone for good. */
int manifest_lost(struct manifest *manifest, uint64_t layer_id);

/* ---- making it anew ---- */

/* The seed that goes with a store's id. */
uint64_t manifest_seed(const uint8_t id[16]);

/*
 * What can be had of a damaged one: the header, and the records up to the first that is
 * not whole. Read only. 0 and @manifest, to be closed; -EUCLEAN: not even the header; -errno.
 */
int manifest_salvage(struct manifest *manifest, int dir_fd);
/* Write what @manifest says in memory to a new file and put it in the place of the
 * old one, durable. @manifest->dir_fd is set; fd may be -1. -errno: the old one stands, unless
 * its place in the directory could not be synced; then @manifest->broken is set. */
int manifest_replace(struct manifest *manifest);

/* An empty one in memory alone, of the store @manifest->store. */
void manifest_init(struct manifest *manifest, int dir_fd);
/* Change what is in memory alone. -ENOMEM; -EUCLEAN: the id is there. Spans are not looked at. */
int manifest_add_open(struct manifest *manifest, uint64_t layer_id);
/* @run: with its tables, which are copied. */
int manifest_add_run(struct manifest *manifest, const struct manifest_run *run);
/* What the files don't say: identity, time made, compression, durable, oldest, window, tags, ids given
 * out. -ENOMEM. */
int manifest_take_settings(struct manifest *manifest, const struct manifest *from);
/* An open layer, or a run, is no more. */
void manifest_leave_out(struct manifest *manifest, uint64_t id);

/*
 * Put runs together from what the files of table layers say of themselves, with the sealed layers
 * that were added before. @found: in any order; sorted by this call.
 *
 *   - Tables of one run id are one run; a run whose span holds another's is younger than that one
 *     and was made from it.
 *   - A run that says it is whole (TABLE_ENDS_RUN) has taken the place of all it was made from; those are left out.
 *   - One that does not was being made: it holds the keys up to its last whole one. What it was
 *     made from is trimmed to the keys above, so nothing that it replaced comes back. Where
 *     nothing is left of one of those, an empty run takes its place.
 *   - A run that was made from others and then used itself takes those with it.
 *
 * @manifest->oldest rises to the highest that a table says. -ENOMEM; -EUCLEAN: they do not make runs:
 * a number is missing in one, or spans overlap; nothing was added then.
 */
int manifest_add_tables(struct manifest *manifest, struct table_summary *found, uint32_t count);

#endif
