#include "repair_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "engine_internal.h"
#include "io.h"
#include "layer_check.h"
#include "table_format.h"
#include "table_rebuild.h"

static void ignore_finding(void *context, const struct finding *finding)
{
	(void)context;
	(void)finding;
}

const struct check_hooks repair_quiet = { .found = ignore_finding };

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

static int check_sealed(struct repair *repair, const struct manifest_run *entry,
			struct layer_check_result *found_out)
{
	struct layer_check_target target = {
		.dir_fd = repair->layers_fd, .store = &repair->manifest.store,
		.layer_id = entry->run_id, .sealed = true, .start = entry->start,
		.end = entry->end, .chain_end = entry->chain_end, .file_bytes = entry->file_bytes,
	};

	target.chain_known = chain_at(repair, entry->start, &target.chain_start);

	return layer_check(&target, &repair_quiet, found_out);
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
	if (err == -EUCLEAN)
		return 1;
	if (!err)
		err = repair_set_aside(repair, repair->layers_fd, name);
	if (!err && file_bytes != entry->file_bytes) {
		entry->file_bytes = file_bytes;
		repair->manifest_changed = true;
	}
	if (!err)
		err = io_publish(repair->layers_fd, new_name, name);
	else
		io_unlink(repair->layers_fd, new_name);
	if (!err)
		repair_done(repair, "the index of 'layers/%s' was made anew from its log", name);
	return err;
}

/* Nothing leads to what the layer holds: from now on that is known, and nobody looks behind it. */
static int lose_sealed(struct repair *repair, struct manifest_run *entry)
{
	int err = repair_lose_file(repair, entry->run_id);

	if (err || entry->lost)
		return err;
	entry->lost = repair->manifest_changed = true;
	repair_done(repair, "the history from LSN %" PRIu64 " to %" PRIu64 " is lost; what needs it is refused, "
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
	repair_done(repair, "layer %" PRIu64 ", which was lost, is there again", layer_id);
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
	int err = repair_lose_file(repair, table->layer_id);

	if (err || table->lost)
		return err;
	table->lost = repair->manifest_changed = true;
	repair_done(repair, "layer %" PRIu64 ", with what was written of inodes %" PRIu64 " to %" PRIu64
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

	if (err == -EBADMSG || err == -EUCLEAN)
		return 1;
	if (!err)
		err = io_sync_dir(repair->layers_fd);
	if (!err)
		err = repair_lose_file(repair, table->layer_id);
	if (err)
		return err;
	layer_name(table->layer_id, name);
	repair_done(repair, "the index of 'layers/%s' was made anew from its data, as layer %" PRIu64, name,
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
	err = repair_set_aside(repair, repair->layers_fd, name);
	if (!err)
		err = io_open(repair->layers_fd, name, O_RDWR, 0, &fd);
	table_header_encode(&header, &repair->manifest.store, bytes);
	if (!err)
		err = io_write(fd, bytes, sizeof(bytes), 0);
	if (!err)
		err = io_sync(fd);
	io_close(fd);
	if (!err)
		repair_done(repair, "the header of 'layers/%s' was made anew", name);
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
	int err = layer_check(&target, &repair_quiet, &found);

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

int repair_run(struct repair *repair, struct manifest_run *run)
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
