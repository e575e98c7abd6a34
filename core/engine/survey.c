/*
 * Survey: what the layer files say of themselves, where the manifest says nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine_check.h"
#include "engine_internal.h"
#include "io.h"
#include "table_format.h"

struct survey {
	struct manifest *manifest;
	int layers_fd;
	bool known;                     /* whose store it is */
	struct table_summary *tables;   /* owned */
	uint32_t table_count, table_room;
	const struct manifest *damaged; /* what can be had of the manifest there was; NULL: nothing */
	struct table_header *mute;      /* tables that only say what they span; owned */
	uint32_t mute_count;
};

static int read_header(const struct survey *survey, const char *name, uint8_t *bytes,
		       uint64_t *file_bytes_out, int *fd_out)
{
	int err = io_open(survey->layers_fd, name, O_RDONLY, 0, fd_out);

	if (!err)
		err = io_size(*fd_out, file_bytes_out);
	if (!err)
		err = io_read(*fd_out, bytes, LAYER_HEADER_BYTES, 0);
	return err;
}

/* The first whole header tells whose store this is. */
static int learn_identity(void *context, const char *name)
{
	struct survey *survey = context;
	uint8_t bytes[LAYER_HEADER_BYTES];
	uint64_t layer_id, file_bytes;
	int fd;

	if (survey->known || layer_name_parse(name, &layer_id))
		return 0;
	survey->known = read_header(survey, name, bytes, &file_bytes, &fd) == 0 &&
			(layer_header_identity(bytes, manifest_seed, &survey->manifest->store) == 0 ||
			 table_header_identity(bytes, manifest_seed, &survey->manifest->store) == 0);
	io_close(fd);
	return 0;
}

static bool learn_footer(const struct survey *survey, int fd, uint64_t file_bytes,
			 struct manifest_run *layer)
{
	struct layer_footer footer;
	uint8_t block[LAYER_BLOCK_BYTES];

	if (file_bytes < LAYER_HEADER_BYTES + LAYER_BLOCK_BYTES || file_bytes % LAYER_BLOCK_BYTES ||
	    io_read(fd, block, sizeof(block), file_bytes - sizeof(block)) ||
	    layer_footer_decode(block, &survey->manifest->store, layer->run_id, file_bytes,
				&footer))
		return false;
	layer->start = footer.start;
	layer->end = footer.end;
	layer->chain_end = footer.chain_end;
	layer->file_bytes = file_bytes;
	return true;
}

/* ---- tables ---- */

static int add_table(struct survey *survey, const struct table_summary *table)
{
	if (survey->table_count == survey->table_room) {
		uint32_t room = survey->table_room ? 2 * survey->table_room : 64;
		struct table_summary *tables = realloc(survey->tables, room * sizeof(*tables));

		if (!tables)
			return -ENOMEM;
		survey->tables = tables;
		survey->table_room = room;
	}
	survey->tables[survey->table_count++] = *table;
	return 0;
}

static bool has_table(const struct survey *survey, uint64_t layer_id)
{
	for (uint32_t i = 0; i < survey->table_count; i++)
		if (survey->tables[i].layer_id == layer_id)
			return true;
	return false;
}

/* A table says of itself all that the manifest does. 1: it is none, or its footer is damaged. */
static int learn_table(struct survey *survey, int fd, uint64_t layer_id, uint64_t file_bytes)
{
	uint8_t block[LAYER_BLOCK_BYTES];
	struct table_summary table;
	struct table_shape shape;

	if (file_bytes < sizeof(block) || io_read(fd, block, sizeof(block), file_bytes - sizeof(block)) ||
	    table_footer_decode(block, &survey->manifest->store, layer_id, file_bytes, &table, &shape))
		return 1;
	return add_table(survey, &table);
}

/* One without a footer is not whole, or it is damaged. */
static int note_mute(struct survey *survey, const uint8_t *bytes)
{
	struct table_header header, *mute;

	if (table_header_decode(bytes, &survey->manifest->store, &header))
		return 0;
	mute = realloc(survey->mute, (survey->mute_count + (size_t)1) * sizeof(*mute));
	if (!mute)
		return -ENOMEM;
	survey->mute = mute;
	mute[survey->mute_count++] = header;
	return 0;
}

/*
 * A table that doesn't say where it belongs may be left out if it was never finished: then what it was made
 * from is there. A run of its span that is whole may need it.
 */
static bool is_left_over(const struct survey *survey, const struct table_header *mute)
{
	const struct manifest *manifest = survey->manifest;
	struct lsn covered = mute->start;

	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		bool same = run->level && run->start.value == mute->start.value &&
			    run->end.value == mute->end.value;
		bool under_way = i + 1 < manifest->run_count && run[1].into == run->run_id;

		for (uint32_t k = 0; k < i; k++)
			under_way |= manifest->runs[k].into == run->run_id;
		if (same && !under_way)
			return false;
		if (!same && run->start.value <= covered.value && run->end.value > covered.value)
			covered = run->end;
	}
	return covered.value >= mute->end.value || has_table(survey, mute->layer_id);
}

/* What the damaged manifest says of tables whose files don't say it any more. */
static int remember_tables(struct survey *survey, const struct manifest *damaged)
{
	int err = 0;

	for (uint32_t r = 0; r < damaged->run_count; r++) {
		const struct manifest_run *run = &damaged->runs[r];

		for (uint32_t i = 0; i < run->layer_count && !err; i++)
			if (!has_table(survey, manifest_run_layers(run)[i].layer_id))
				err = add_table(survey, &manifest_run_layers(run)[i]);
	}
	return err;
}

/* Is it a table? Then it was looked at, with *err_out. @bytes: its header, or NULL. */
static bool is_table(struct survey *survey, int fd, uint64_t layer_id, uint64_t file_bytes,
		     const uint8_t *bytes, int *err_out)
{
	const struct manifest *damaged = survey->damaged;
	int err = fd < 0 ? 1 : learn_table(survey, fd, layer_id, file_bytes);

	if (err == 1 && damaged && manifest_kind_of(damaged, layer_id) == MANIFEST_TABLE)
		err = 0;                /* the manifest tells it */
	else if (err == 1 && bytes && table_header_is(bytes))
		err = note_mute(survey, bytes);
	if (err == 1)
		return false;
	*err_out = err;
	return true;
}

/* ---- layers in the order of their log ---- */

/* The header bears another store's id, and that store's checksum: without the checksum it
 * is this store's id that is damaged. */
static bool is_of_another_store(const struct survey *survey, const uint8_t *bytes)
{
	struct store_identity identity;

	return layer_header_identity(bytes, manifest_seed, &identity) == 0 &&
	       memcmp(identity.id, survey->manifest->store.id, sizeof(identity.id)) != 0;
}

static int learn_layer(void *context, const char *name)
{
	struct survey *survey = context;
	struct manifest_run layer = { 0 };
	uint8_t bytes[LAYER_HEADER_BYTES];
	uint64_t file_bytes = 0;
	int fd, err;

	if (layer_name_parse(name, &layer.run_id) || manifest_names(survey->manifest, layer.run_id))
		return 0;
	err = read_header(survey, name, bytes, &file_bytes, &fd);
	if (is_table(survey, fd, layer.run_id, file_bytes, err ? NULL : bytes, &err)) {
		io_close(fd);
		return err;
	}
	/* A file of another store was put there by mistake. */
	if (!err && is_of_another_store(survey, bytes))
		err = 0;
	else if (fd >= 0 && learn_footer(survey, fd, file_bytes, &layer))
		err = manifest_add_run(survey->manifest, &layer);
	else
		err = manifest_add_open(survey->manifest, layer.run_id);
	io_close(fd);
	return err;
}

/* The header of @layer_id, if it is whole. */
static bool header_of(const struct survey *survey, uint64_t layer_id, struct layer_header *header,
		      uint64_t *file_bytes_out)
{
	uint8_t bytes[LAYER_HEADER_BYTES];
	char name[LAYER_NAME_BYTES];
	int fd, err;

	layer_name(layer_id, name);
	err = read_header(survey, name, bytes, file_bytes_out, &fd);
	io_close(fd);
	return !err && layer_header_decode(bytes, &survey->manifest->store, header) == 0;
}

/* The layer behind @layer_id in the history: the one with the next higher id, sealed or not. 0: none. */
static uint64_t next_of(const struct manifest *manifest, uint64_t layer_id)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < manifest->open_count && !next; i++)
		if (manifest->open_ids[i] > layer_id)
			next = manifest->open_ids[i];
	for (uint32_t i = 0; i < manifest->run_count; i++) {
		uint64_t run_id = manifest->runs[i].run_id;

		if (!manifest->runs[i].level && run_id > layer_id && (!next || run_id < next))
			next = run_id;
	}
	return next;
}

/* A layer without a whole footer that others follow: where it ends the next one says. Its
 * index is to be made anew, also if it never had one. */
static int learn_from_next(struct survey *survey)
{
	struct manifest *manifest = survey->manifest;
	int err = 0;

	for (uint32_t i = 0; i < manifest->open_count && !err;) {
		struct manifest_run layer = { .run_id = manifest->open_ids[i] };
		uint64_t next_id = next_of(manifest, layer.run_id), next_bytes;
		struct layer_header header, next;

		if (!next_id || !header_of(survey, layer.run_id, &header, &layer.file_bytes) ||
		    !header_of(survey, next_id, &next, &next_bytes) ||
		    next.start.value <= header.start.value) {
			i++;
			continue;
		}
		layer.start = header.start;
		layer.end = next.start;
		layer.chain_end = next.chain_start;
		manifest_leave_out(manifest, layer.run_id);
		err = manifest_add_run(manifest, &layer);
	}
	return err;
}

/* ---- all of it ---- */

/* With what the log went on behind a run of tables: the layer that begins there says so, or an input
 * that ends there. */
static void settle_chain(const struct survey *survey, struct manifest_run *run)
{
	const struct manifest *manifest = survey->manifest, *damaged = survey->damaged;
	const struct manifest_run *before = damaged ? manifest_find(damaged, run->run_id) : NULL;
	struct layer_header header;
	uint64_t bytes;

	if (before && before->end.value == run->end.value)
		run->chain_end = before->chain_end;
	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *other = &manifest->runs[i];

		if (!other->level && other->end.value == run->end.value)
			run->chain_end = other->chain_end;
		else if (!other->level && other->start.value == run->end.value &&
			 header_of(survey, other->run_id, &header, &bytes))
			run->chain_end = header.chain_start;
	}
	for (uint32_t i = 0; i < manifest->open_count; i++)
		if (header_of(survey, manifest->open_ids[i], &header, &bytes) &&
		    header.start.value == run->end.value)
			run->chain_end = header.chain_start;
}

/* Open layers whose history is in tables by now. */
static void leave_out_replaced(const struct survey *survey)
{
	struct manifest *manifest = survey->manifest;

	for (uint32_t i = manifest->open_count; i-- > 0;) {
		struct layer_header header;
		uint64_t bytes;
		struct lsn next;

		if (!header_of(survey, manifest->open_ids[i], &header, &bytes))
			continue;
		next = lsn_make(header.start.value + 1);
		if (manifest_replaced(manifest, header.start, next))
			manifest_leave_out(manifest, manifest->open_ids[i]);
	}
}

static int take_tables(struct survey *survey)
{
	struct manifest *manifest = survey->manifest;
	const struct manifest *damaged = survey->damaged;
	int err = damaged ? remember_tables(survey, damaged) : 0;

	if (!err)
		err = manifest_add_tables(manifest, survey->tables, survey->table_count);
	if (err)
		return err;
	leave_out_replaced(survey);
	for (uint32_t i = 0; i < manifest->run_count; i++)
		if (manifest->runs[i].level)
			settle_chain(survey, &manifest->runs[i]);
	for (uint32_t i = 0; i < survey->mute_count; i++)
		if (!is_left_over(survey, &survey->mute[i]))
			return -EUCLEAN;
	return 0;
}

int engine_survey(int dir_fd, const struct manifest *damaged, struct manifest *manifest_out)
{
	struct survey survey = { .manifest = manifest_out, .layers_fd = -1, .damaged = damaged };
	int err;

	manifest_init(manifest_out, dir_fd);
	survey.known = damaged != NULL;
	err = damaged ? manifest_take_settings(manifest_out, damaged) : 0;
	if (!err)
		err = io_open(dir_fd, LAYERS_NAME, O_RDONLY | O_DIRECTORY, 0, &survey.layers_fd);
	if (!err)
		err = io_list(survey.layers_fd, ".", learn_identity, &survey);
	if (!err && !survey.known)
		err = -EUCLEAN;
	/* What the damaged one says of sealed layers holds, also where a file says it no more. */
	for (uint32_t i = 0; damaged && i < damaged->run_count && !err; i++)
		if (!damaged->runs[i].level)
			err = manifest_add_run(manifest_out, &damaged->runs[i]);
	if (!err)
		err = io_list(survey.layers_fd, ".", learn_layer, &survey);
	if (!err)
		err = learn_from_next(&survey);
	if (!err)
		err = take_tables(&survey);
	free(survey.tables);
	free(survey.mute);
	io_close(survey.layers_fd);
	if (err)
		manifest_close(manifest_out);
	return err;
}
