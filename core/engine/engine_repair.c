#include "engine_repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_check.h"
#include "engine_internal.h"
#include "io.h"
#include "layer_check.h"
#include "table_format.h"
#include "table_rebuild.h"

#define COPY_BYTES (1u << 20)
#define ASIDE_NEW_NAME "aside.new"
#define ASIDE_MAX 1000u
#define NAME_BYTES_MAX 64u

struct repair {
	const struct repair_hooks *hooks;
	int dir_fd, layers_fd, damaged_fd;
	struct manifest manifest;
	bool manifest_changed;
	struct lsn end;                 /* where the history leads to so far */
	uint64_t chain;
	struct lsn durable;
	bool broken;                    /* what there is makes no history: it stays as it is */
	uint64_t *replaced;             /* layers whose files go once the manifest doesn't need them; owned */
	uint32_t replaced_count;
};

static void done(struct repair *repair, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void done(struct repair *repair, const char *format, ...)
{
	char text[300];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	repair->hooks->done(repair->hooks->context, text);
}

int engine_repair_prepare(int dir_fd)
{
	int err = io_make_dir(dir_fd, DAMAGED_NAME);

	return err ? err : io_sync_dir(dir_fd);
}

/* ---- setting aside ---- */

/* What can't be read becomes zeros in the copy. */
static int copy_bytes(int from_fd, int to_fd)
{
	uint8_t *buffer = malloc(COPY_BYTES);
	uint64_t size;
	int err = buffer ? io_size(from_fd, &size) : -ENOMEM;

	for (uint64_t at = 0; !err && at < size; at += COPY_BYTES) {
		size_t here = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;

		if (io_read(from_fd, buffer, here, at))
			memset(buffer, 0, here);
		err = io_write(to_fd, buffer, here, at);
	}
	free(buffer);
	return err;
}

/* A name in STORE/damaged that nothing has yet. */
static int free_name(const struct repair *repair, const char *name, char out[NAME_BYTES_MAX])
{
	for (unsigned i = 1; i <= ASIDE_MAX; i++) {
		int fd, err;

		snprintf(out, NAME_BYTES_MAX, "%s.%u", name, i);
		err = io_open(repair->damaged_fd, out, O_RDONLY, 0, &fd);
		io_close(fd);
		if (err == -ENOENT)
			return 0;
		if (err)
			return err;
	}
	return -EMFILE;
}

/* Copy file @name of @dir_fd to STORE/damaged, durable. */
static int set_aside(struct repair *repair, int dir_fd, const char *name)
{
	char aside[NAME_BYTES_MAX];
	int from = -1, to = -1;
	int err = io_open(dir_fd, name, O_RDONLY, 0, &from);

	if (err == -ENOENT)
		return 0;
	if (!err)
		err = free_name(repair, name, aside);
	if (!err)
		err = io_open(repair->damaged_fd, ASIDE_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600, &to);
	if (!err)
		err = copy_bytes(from, to);
	if (!err)
		err = io_sync(to);              /* the bytes before the name */
	io_close(from);
	io_close(to);
	if (!err)
		err = io_publish(repair->damaged_fd, ASIDE_NEW_NAME, aside);
	if (!err)
		done(repair, "'%s' was copied to '" DAMAGED_NAME "/%s'", name, aside);
	return err;
}

/* The file of @layer_id was set aside and goes once the manifest is written. */
static int will_go(struct repair *repair, uint64_t layer_id)
{
	uint64_t *ids = realloc(repair->replaced, (repair->replaced_count + (size_t)1) * sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	repair->replaced = ids;
	ids[repair->replaced_count++] = layer_id;
	return 0;
}

/* What is left of a layer that is lost is kept for people. */
static int lose_file(struct repair *repair, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];
	int err;

	layer_name(layer_id, name);
	err = set_aside(repair, repair->layers_fd, name);
	return err ? err : will_go(repair, layer_id);
}

static void remove_replaced(struct repair *repair)
{
	char name[LAYER_NAME_BYTES];

	for (uint32_t i = 0; i < repair->replaced_count; i++) {
		layer_name(repair->replaced[i], name);
		(void)io_unlink(repair->layers_fd, name);
	}
}

/* ---- sealed layers ---- */

/* The chain of the log at @start: that of the run that ends there. False: it is not known. */
static bool chain_at(const struct repair *repair, struct lsn start, uint64_t *chain_out)
{
	const struct manifest *manifest = &repair->manifest;

	*chain_out = manifest->store.seed;
	if (!start.value)
		return true;
	for (uint32_t i = 0; i < manifest->run_count; i++)
		if (manifest->runs[i].end.value == start.value) {
			*chain_out = manifest->runs[i].chain_end;
			return true;
		}
	return false;
}

static void ignore_finding(void *context, const struct finding *finding)
{
	(void)context;
	(void)finding;
}

static const struct check_hooks quiet = { .found = ignore_finding };

static int check_sealed(struct repair *repair, const struct manifest_run *entry,
			struct layer_check_result *found_out)
{
	struct layer_check_target target = {
		.dir_fd = repair->layers_fd, .store = &repair->manifest.store,
		.layer_id = entry->run_id, .sealed = true, .start = entry->start,
		.end = entry->end, .chain_end = entry->chain_end, .file_bytes = entry->file_bytes,
	};

	target.chain_known = chain_at(repair, entry->start, &target.chain_start);

	return layer_check(&target, &quiet, found_out);
}

static int check_open(struct repair *repair, uint64_t layer_id, struct layer_check_result *found_out)
{
	struct layer_check_target target = {
		.dir_fd = repair->layers_fd, .store = &repair->manifest.store, .layer_id = layer_id,
		.start = repair->end, .chain_start = repair->chain, .chain_known = true,
		.durable = repair->durable,
	};

	return layer_check(&target, &quiet, found_out);
}

static int rebuild(struct repair *repair, struct manifest_run *entry)
{
	struct layer_footer footer = { .start = entry->start, .end = entry->end,
				       .chain_end = entry->chain_end };
	char name[LAYER_NAME_BYTES], new_name[LAYER_NAME_BYTES + 4];
	uint64_t file_bytes;
	int err;

	if (!chain_at(repair, entry->start, &footer.chain_start))
		return 1;
	layer_name(entry->run_id, name);
	snprintf(new_name, sizeof(new_name), "%s.new", name);
	err = open_layer_rebuild(repair->layers_fd, entry->run_id, &repair->manifest.store, &footer,
				 new_name, &file_bytes);
	if (err == -EIO || err == -EUCLEAN)
		return 1;
	if (!err)
		err = set_aside(repair, repair->layers_fd, name);
	if (!err && file_bytes != entry->file_bytes) {
		entry->file_bytes = file_bytes;
		repair->manifest_changed = true;
	}
	if (!err)
		err = io_publish(repair->layers_fd, new_name, name);
	else
		io_unlink(repair->layers_fd, new_name);
	if (!err)
		done(repair, "the index of 'layers/%s' was made anew from its log", name);
	return err;
}

/* Nothing leads to what the layer holds: from now on that is known, and nobody looks behind it. */
static int lose_sealed(struct repair *repair, struct manifest_run *entry)
{
	int err = lose_file(repair, entry->run_id);

	if (err || entry->lost)
		return err;
	entry->lost = repair->manifest_changed = true;
	done(repair, "the history from LSN %" PRIu64 " to %" PRIu64 " is lost; what needs it is refused, "
	     "the rest reads as before", entry->start.value + 1, entry->end.value);
	return 0;
}

/* One that was lost may be there again, from a backup. */
static void find_again(struct repair *repair, bool *lost, uint64_t layer_id)
{
	if (!*lost)
		return;
	*lost = false;
	repair->manifest_changed = true;
	done(repair, "layer %" PRIu64 ", which was lost, is there again", layer_id);
}

static int repair_sealed(struct repair *repair, struct manifest_run *entry)
{
	struct layer_check_result found;
	bool bad;
	int err;

	if (entry->end.value < entry->start.value || entry->end.value - entry->start.value > LAYER_SIZE_MAX) {
		repair->broken = true;
		return 0;
	}
	err = check_sealed(repair, entry, &found);
	bad = found.header_bad || found.index_bad;
	if (!err && found.missing && entry->lost)
		return 0;
	if (!err && bad && !found.log_lost && !found.missing)
		err = rebuild(repair, entry);
	else if (!err && (found.missing || bad))
		err = 1;
	if (!err)
		find_again(repair, &entry->lost, entry->run_id);
	return err == 1 ? lose_sealed(repair, entry) : err;
}

/* ---- tables ---- */

static int lose_table(struct repair *repair, struct table_summary *table)
{
	int err = lose_file(repair, table->layer_id);

	if (err || table->lost)
		return err;
	table->lost = repair->manifest_changed = true;
	done(repair, "layer %" PRIu64 ", with what was written of inodes %" PRIu64 " to %" PRIu64
	     " from LSN %" PRIu64 " to %" PRIu64 ", is lost; what needs it is refused, the rest reads as before",
	     table->layer_id, table->first_key.ino, table->last_key.ino, table->start.value + 1,
	     table->end.value);
	return 0;
}

/* Make a new layer of its data. 1: they are damaged too. */
static int rebuild_table(struct repair *repair, struct table_summary *table)
{
	struct manifest *manifest = &repair->manifest;
	struct table_summary made;
	char name[LAYER_NAME_BYTES];
	int err = table_rebuild(repair->layers_fd, table, &manifest->store, manifest->id_next,
				manifest->compression, &made);

	if (err == -EBADMSG || err == -EUCLEAN || err == -EIO)
		return 1;
	if (!err)
		err = io_sync_dir(repair->layers_fd);
	if (!err)
		err = lose_file(repair, table->layer_id);
	if (err)
		return err;
	layer_name(table->layer_id, name);
	done(repair, "the index of 'layers/%s' was made anew from its data, as layer %" PRIu64, name,
	     made.layer_id);
	manifest->id_next++;
	*table = made;
	repair->manifest_changed = true;
	return 0;
}

/* Readers go by the footer: the header is for those who look at the file alone. */
static int mend_table_header(struct repair *repair, const struct table_summary *table)
{
	const struct table_header header = { table->layer_id, table->start, table->end };
	uint8_t bytes[TABLE_HEADER_BYTES];
	char name[LAYER_NAME_BYTES];
	int fd = -1, err;

	layer_name(table->layer_id, name);
	err = set_aside(repair, repair->layers_fd, name);
	if (!err)
		err = io_open(repair->layers_fd, name, O_RDWR, 0, &fd);
	table_header_encode(&header, &repair->manifest.store, bytes);
	if (!err)
		err = io_write(fd, bytes, sizeof(bytes), 0);
	if (!err)
		err = io_sync(fd);
	io_close(fd);
	if (!err)
		done(repair, "the header of 'layers/%s' was made anew", name);
	return err;
}

/* What is damaged in data blocks alone is refused where it is met, and so is what a damaged block of the index
 * leads to if the data can't all be read either. */
static int repair_table(struct repair *repair, const struct manifest_run *run,
			struct table_summary *table)
{
	struct layer_check_target target = { .dir_fd = repair->layers_fd,
					     .store = &repair->manifest.store, .from = run->from,
					     .table = table };
	struct layer_check_result found;
	int err = layer_check(&target, &quiet, &found);

	if (err || (found.missing && table->lost))
		return err;
	if (found.missing)
		return lose_table(repair, table);
	if (found.index_bad)
		err = rebuild_table(repair, table);
	else if (found.header_bad)
		err = mend_table_header(repair, table);
	if (err == 1 && found.footer_bad)
		return lose_table(repair, table);
	if (err >= 0)
		find_again(repair, &table->lost, table->layer_id);
	return err < 0 ? err : 0;
}

static int repair_tables(struct repair *repair, struct manifest_run *run)
{
	int err = 0;

	for (uint32_t i = 0; i < run->layer_count && !err; i++)
		err = repair_table(repair, run, &run->layers[run->layer_first + i]);
	return err;
}

/* A run, and where the history leads behind it. */
static int repair_run(struct repair *repair, struct manifest_run *run)
{
	int err;

	if (run->start.value > repair->end.value) {
		repair->broken = true;
		return 0;
	}
	err = run->level ? repair_tables(repair, run) : repair_sealed(repair, run);
	if (run->end.value > repair->end.value) {
		repair->end = repair->durable = run->end;
		repair->chain = run->chain_end;
	}
	return err;
}

/* ---- the end of the history ---- */

struct open_layers {
	uint32_t first_short;           /* of the open ones: where the history ends; open_count: nowhere */
	struct lsn end;                 /* there */
	uint64_t tail_bytes;            /* and in its file */
};

static int survey_open(struct repair *repair, struct open_layers *open)
{
	int err = 0;

	*open = (struct open_layers){ repair->manifest.open_count, { 0 }, 0 };
	for (uint32_t i = 0; i < repair->manifest.open_count && !err; i++) {
		struct layer_check_result found;

		err = check_open(repair, repair->manifest.open_ids[i], &found);
		if (found.durable.value > repair->durable.value)
			repair->durable = found.durable;
		if (open->first_short == repair->manifest.open_count)
			open->first_short = i;
		if (!found.started)
			continue;
		open->first_short = i;
		open->tail_bytes = LAYER_HEADER_BYTES + found.end.value - repair->end.value;
		repair->end = found.end;
		repair->chain = found.chain_end;
	}
	open->end = repair->end;
	return err;
}

/* Make what lies behind the end zeros; a layer with nothing before it becomes a spare. */
static int clear_behind(struct repair *repair, uint64_t layer_id, uint64_t from_bytes)
{
	static const uint8_t zeros[LAYER_BLOCK_BYTES];
	char name[LAYER_NAME_BYTES];
	uint64_t size;
	int fd, err;

	layer_name(layer_id, name);
	err = io_open(repair->layers_fd, name, O_RDWR, 0, &fd);
	if (err == -ENOENT)
		return 0;
	if (!err)
		err = io_size(fd, &size);
	for (uint64_t at = from_bytes; !err && at < size; at += LAYER_BLOCK_BYTES - at % LAYER_BLOCK_BYTES) {
		size_t here = LAYER_BLOCK_BYTES - (size_t)(at % LAYER_BLOCK_BYTES);

		err = io_write(fd, zeros, size - at < here ? (size_t)(size - at) : here, at);
	}
	if (!err && size < LAYER_SIZE_MIN)
		err = io_reserve(fd, LAYER_SIZE_MIN);
	if (!err)
		err = io_sync(fd);
	io_close(fd);
	return err;
}

static int end_history(struct repair *repair, const struct open_layers *open)
{
	uint32_t at = open->first_short;
	char name[LAYER_NAME_BYTES];
	int err = 0;

	for (uint32_t i = at; i < repair->manifest.open_count && !err; i++) {
		layer_name(repair->manifest.open_ids[i], name);
		err = set_aside(repair, repair->layers_fd, name);
	}
	if (!err && at < repair->manifest.open_count)
		err = clear_behind(repair, repair->manifest.open_ids[at], open->tail_bytes);
	/* Those behind it become spares, which the next open sweeps or uses. */
	for (uint32_t i = at + 1; i < repair->manifest.open_count && !err; i++)
		err = clear_behind(repair, repair->manifest.open_ids[i], 0);
	if (err)
		return err;
	done(repair, "the history ends at LSN %" PRIu64 " now; %" PRIu64 " bytes behind it are lost "
	     "but for what was set aside", open->end.value,
	     repair->durable.value - open->end.value);
	repair->manifest.durable = open->end;
	repair->manifest_changed = true;
	return 0;
}

/* The first batch of an open layer goes on where the history ends. 0: it does; 1; -errno. */
static int first_batch_follows(struct repair *repair, int fd)
{
	uint8_t head[BATCH_HEADER_BYTES], *bytes;
	struct get_cursor c = get_cursor(head + 8, 4);
	struct batch_view batch;
	uint64_t file_bytes;
	uint32_t size;
	int err = io_size(fd, &file_bytes);

	if (err || io_read(fd, head, sizeof(head), LAYER_HEADER_BYTES))
		return 1;
	size = get_u32(&c);
	if (size < sizeof(head) || size > file_bytes - LAYER_HEADER_BYTES)
		return 1;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	err = io_read(fd, bytes, size, LAYER_HEADER_BYTES) ||
	      batch_view_open(bytes, size, repair->chain, &batch);
	free(bytes);
	return err;
}

/* A header can be made anew if the log goes on where the layer before ended. It is
 * written where it was: half of it is no worse than what was there. */
static int mend_header(struct repair *repair, uint64_t layer_id)
{
	struct layer_header header = { layer_id, repair->end, repair->chain };
	uint8_t bytes[LAYER_HEADER_BYTES];
	char name[LAYER_NAME_BYTES];
	int fd, err;

	layer_name(layer_id, name);
	err = io_open(repair->layers_fd, name, O_RDWR, 0, &fd);
	if (!err)
		err = first_batch_follows(repair, fd);
	if (!err)
		err = set_aside(repair, repair->layers_fd, name);
	if (!err) {
		layer_header_encode(&header, &repair->manifest.store, bytes);
		err = io_write(fd, bytes, sizeof(bytes), 0);
	}
	if (!err)
		err = io_sync(fd);
	io_close(fd);
	if (!err)
		done(repair, "the header of 'layers/%s' was made anew", name);
	return err;
}

/* The size of an open layer's file is that of whole blocks; one that holds nothing and
 * has none, or is missing, is no loss. */
static int mend_size(struct repair *repair, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];
	uint64_t size = 0, whole;
	int fd, err;

	layer_name(layer_id, name);
	err = io_open(repair->layers_fd, name, O_RDWR, 0, &fd);
	if (!err)
		err = io_size(fd, &size);
	whole = (size + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES * LAYER_BLOCK_BYTES;
	if (err == -ENOENT || (!err && size < LAYER_HEADER_BYTES + BATCH_HEADER_BYTES)) {
		io_close(fd);
		done(repair, "'layers/%s', which is missing or holds nothing, is no longer named", name);
		manifest_leave_out(&repair->manifest, layer_id);
		repair->manifest_changed = true;
		return 1;
	}
	if (!err && whole != size) {
		/* Room for a batch, too: in one that has none no change would ever fit. */
		err = io_reserve(fd, whole < LAYER_SIZE_MIN ? LAYER_SIZE_MIN : whole);
		if (!err)
			err = io_sync(fd);
		if (!err)
			done(repair, "'layers/%s' was made whole blocks again", name);
	}
	io_close(fd);
	return err;
}

static int mend_open_files(struct repair *repair)
{
	struct lsn end = repair->end;
	uint64_t chain = repair->chain;
	int err = 0;

	for (uint32_t i = 0; i < repair->manifest.open_count && err >= 0; i++) {
		uint64_t layer_id = repair->manifest.open_ids[i];
		struct layer_check_result found;

		err = mend_size(repair, layer_id);
		if (err == 1)
			i--;
		if (err)
			continue;
		err = check_open(repair, layer_id, &found);
		if (!err && !found.started) {
			err = mend_header(repair, layer_id);
			if (!err)
				err = check_open(repair, layer_id, &found);
		}
		if (err == 0 && found.started) {
			repair->end = found.end;
			repair->chain = found.chain_end;
		}
	}
	repair->end = end;
	repair->chain = chain;
	return err < 0 ? err : 0;
}

static int repair_open(struct repair *repair)
{
	struct open_layers open;
	struct lsn end = repair->end;
	uint64_t chain = repair->chain;
	int err = mend_open_files(repair);

	if (err)
		return err;
	if (repair->manifest.durable.value > repair->durable.value)
		repair->durable = repair->manifest.durable;
	err = survey_open(repair, &open);
	/* Once more: what they say of syncs tells a torn end from rot. */
	if (!err && open.end.value < repair->durable.value) {
		repair->end = end;
		repair->chain = chain;
		err = survey_open(repair, &open);
	}
	if (!err && open.end.value < repair->durable.value)
		err = end_history(repair, &open);
	return err;
}

/* ---- unnamed layers ---- */

struct unnamed {
	struct repair *repair;
	bool history;                   /* a layer in the order of its log that no run holds */
	bool table;
};

static bool is_table(const struct repair *repair, const char *name)
{
	uint8_t bytes[8];
	int fd, err = io_open(repair->layers_fd, name, O_RDONLY, 0, &fd);

	if (!err)
		err = io_read(fd, bytes, sizeof(bytes), 0);
	io_close(fd);
	return !err && table_header_is(bytes);
}

static int note_unnamed(void *context, const char *name)
{
	struct unnamed *unnamed = context;
	struct repair *repair = unnamed->repair;
	uint64_t layer_id;

	if (layer_name_parse(name, &layer_id))
		return 0;
	/* Whatever comes to be made has an id that no file has. */
	if (layer_id >= repair->manifest.id_next)
		repair->manifest.id_next = layer_id + 1;
	if (manifest_names(&repair->manifest, layer_id))
		return 0;
	unnamed->table |= is_table(repair, name);
	unnamed->history |= judge_unnamed(repair->layers_fd, &repair->manifest, name) < 0;
	return 0;
}

static bool is_missing(const struct repair *repair, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];
	int fd, err;

	layer_name(layer_id, name);
	err = io_open(repair->layers_fd, name, O_RDONLY, 0, &fd);
	io_close(fd);
	return err == -ENOENT;
}

/* Is there no file where the manifest says that there is one? */
static bool something_is_missing(const struct repair *repair)
{
	for (uint32_t r = 0; r < repair->manifest.run_count; r++) {
		const struct manifest_run *run = &repair->manifest.runs[r];
		const struct table_summary *tables = manifest_run_layers(run);

		if (!run->level && !run->lost && is_missing(repair, run->run_id))
			return true;
		for (uint32_t i = 0; i < run->layer_count; i++)
			if (!tables[i].lost && is_missing(repair, tables[i].layer_id))
				return true;
	}
	return false;
}

/* Does what the files say lose less than what the manifest says? */
static bool is_better(struct repair *repair, const struct manifest *survey)
{
	struct repair other = *repair;

	other.manifest = *survey;
	return !something_is_missing(&other);
}

/* Layer files that nothing names are what a manifest that was cut short has lost, and so may be tables beside
 * layers that are missing: they took their place. The survey knows what they are. */
static int repair_unnamed(struct repair *repair)
{
	struct manifest survey;
	struct unnamed unnamed = { .repair = repair };
	int err = io_list(repair->layers_fd, ".", note_unnamed, &unnamed);

	if (err || !(unnamed.history || (unnamed.table && something_is_missing(repair))))
		return err;
	err = engine_survey(repair->dir_fd, &repair->manifest, &survey);
	if (err == -EUCLEAN && !unnamed.history)
		return 0;
	if (err)
		return err;
	if (!unnamed.history && !is_better(repair, &survey)) {
		manifest_close(&survey);
		return 0;
	}
	done(repair, "layers that the manifest did not name were named again");
	manifest_close(&repair->manifest);
	repair->manifest = survey;
	repair->manifest_changed = true;
	return 0;
}

/* ---- all of it ---- */

static int learn_manifest(struct repair *repair)
{
	struct report report = { "" };
	struct manifest damaged;
	bool salvaged;
	int err = manifest_open(&repair->manifest, repair->dir_fd, false, &report);

	if (!err || err == -ENOMEM || err == -EPROTONOSUPPORT)
		return err;
	salvaged = manifest_salvage(&damaged, repair->dir_fd) == 0;
	err = engine_survey(repair->dir_fd, salvaged ? &damaged : NULL, &repair->manifest);
	if (salvaged)
		manifest_close(&damaged);
	if (!err)
		done(repair, "the manifest was made anew from %" PRIu64 " layer files",
		     manifest_layer_count(&repair->manifest) + repair->manifest.open_count);
	repair->manifest_changed = true;
	return err;
}

static int repair_layers(struct repair *repair)
{
	int err = 0;

	repair->chain = repair->manifest.store.seed;
	for (uint32_t i = 0; i < repair->manifest.run_count && !err; i++)
		err = repair_run(repair, &repair->manifest.runs[i]);
	/* Where the history leads is not known behind what is broken. */
	if (!err && !repair->broken)
		err = repair_open(repair);
	return err;
}

static int save_manifest(struct repair *repair)
{
	int err;

	if (!repair->manifest_changed || repair->broken)
		return 0;
	err = set_aside(repair, repair->dir_fd, MANIFEST_NAME);
	if (!err)
		err = manifest_replace(&repair->manifest);
	return err;
}

int engine_repair(int dir_fd, const struct repair_hooks *hooks)
{
	struct repair repair = { .hooks = hooks, .dir_fd = dir_fd, .layers_fd = -1,
				 .damaged_fd = -1 };
	int err;

	repair.manifest.fd = -1;
	err = engine_repair_prepare(dir_fd);
	if (!err)
		err = io_open(dir_fd, DAMAGED_NAME, O_RDONLY | O_DIRECTORY, 0, &repair.damaged_fd);
	if (!err)
		err = io_open(dir_fd, LAYERS_NAME, O_RDONLY | O_DIRECTORY, 0, &repair.layers_fd);
	if (!err)
		err = learn_manifest(&repair);
	if (!err)
		err = repair_unnamed(&repair);
	if (!err)
		err = repair_layers(&repair);
	if (!err)
		err = save_manifest(&repair);
	if (!err && !repair.broken)
		remove_replaced(&repair);
	free(repair.replaced);
	manifest_close(&repair.manifest);
	io_close(repair.layers_fd);
	io_close(repair.damaged_fd);
	return err;
}
