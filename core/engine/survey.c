/*
 * Survey: what the layer files say of themselves, where the manifest says nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "engine_check.h"
#include "engine_internal.h"
#include "io.h"

struct survey {
	struct manifest *manifest;
	int layers_fd;
	bool known;                     /* whose store it is */
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
			layer_header_identity(bytes, manifest_seed, &survey->manifest->store) == 0;
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

int engine_survey(int dir_fd, const struct manifest *damaged, struct manifest *manifest_out)
{
	struct survey survey = { .manifest = manifest_out, .layers_fd = -1 };
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
	io_close(survey.layers_fd);
	if (err)
		manifest_close(manifest_out);
	return err;
}
