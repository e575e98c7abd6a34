#include "engine_repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_check.h"
#include "engine_internal.h"
#include "io.h"
#include "layer_check.h"
#include "repair_internal.h"
#include "table_format.h"

int engine_repair_prepare(int dir_fd)
{
	int err = io_make_dir(dir_fd, DAMAGED_NAME);

	return err ? err : io_sync_dir(dir_fd);
}

/* ---- the end of the history ---- */

static int check_open(struct repair *repair, uint64_t layer_id, struct layer_check_result *found_out)
{
	struct layer_check_target target = {
		.dir_fd = repair->layers_fd, .store = &repair->manifest.store, .layer_id = layer_id,
		.start = repair->end, .chain_start = repair->chain, .chain_known = true,
		.durable = repair->durable,
	};

	return layer_check(&target, &repair_quiet, found_out);
}

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
		err = repair_set_aside(repair, repair->layers_fd, name);
	}
	if (!err && at < repair->manifest.open_count)
		err = clear_behind(repair, repair->manifest.open_ids[at], open->tail_bytes);
	/* Those behind it become spares, which the next open sweeps or uses. */
	for (uint32_t i = at + 1; i < repair->manifest.open_count && !err; i++)
		err = clear_behind(repair, repair->manifest.open_ids[i], 0);
	if (err)
		return err;
	repair_done(repair, "the history ends at LSN %" PRIu64 " now; %" PRIu64 " bytes behind it are lost "
	     "but for what was set aside", open->end.value,
	     repair->durable.value - open->end.value);
	repair->manifest.durable = open->end;
	/* What comes behind the end is history of its own. */
	if (repair->manifest.oldest.value > open->end.value) {
		repair_done(repair, "LSNs below %" PRIu64 " were no longer kept, and now the history ends below: a file that was "
		     "removed or cut behind LSN %" PRIu64 " is there again, and may lack data",
		     repair->manifest.oldest.value, open->end.value);
		repair->manifest.oldest = open->end;
	}
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
		err = repair_set_aside(repair, repair->layers_fd, name);
	if (!err) {
		layer_header_encode(&header, &repair->manifest.store, bytes);
		err = io_write(fd, bytes, sizeof(bytes), 0);
	}
	if (!err)
		err = io_sync(fd);
	io_close(fd);
	if (!err)
		repair_done(repair, "the header of 'layers/%s' was made anew", name);
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
		repair_done(repair, "'layers/%s', which is missing or holds nothing, is no longer named", name);
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
			repair_done(repair, "'layers/%s' was made whole blocks again", name);
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
	repair_done(repair, "layers that the manifest did not name were named again");
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
		repair_done(repair, "the manifest was made anew from %" PRIu64 " layer files",
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
	err = repair_set_aside(repair, repair->dir_fd, MANIFEST_NAME);
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
		repair_remove_replaced(&repair);
	free(repair.replaced);
	manifest_close(&repair.manifest);
	io_close(repair.layers_fd);
	io_close(repair.damaged_fd);
	return err;
}
