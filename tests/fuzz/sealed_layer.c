/*
 * Sealed layers: index and payloads of any bytes, sealed again if the input says so.
 * What is found is of the key and at or below the LSN that was asked for, lies in
 * the file, and every way of asking gives the same.
 */
#include "sealed_layer.h"

#include <fcntl.h>

#include "fuzz.h"
#include "image.h"
#include "io.h"

#define PAGES 8u

static void check_version(const struct image_file *file, const struct version *version,
			  struct key key, struct lsn lsn)
{
	const uint8_t *payload;
	uint8_t *scratch;
	int err;

	require(key_equal(version->key, key) && version->lsn.value <= lsn.value);
	require((uint64_t)version->offset + version->size_bytes <= file->size_bytes);
	require(version->form >= VERSION_IMAGE && version->form <= VERSION_TOMBSTONE);
	scratch = malloc((size_t)version->size_bytes + 1);
	require(scratch != NULL);
	err = version_load(version, scratch, &payload);
	require(err == 0 || err == -EBADMSG);
	require(version_view(version, &payload) == err);
	free(scratch);
}

struct look {
	const struct image_file *file;
	struct layer *layer;
	uint64_t ino, from;
	unsigned count;
};

static int look_at_name(void *context, struct key key)
{
	struct look *look = context;

	require(key.ino == look->ino && key_kind(key) == KEY_NAME && key_index(key) >= look->from);
	return ++look->count > 10000;
}

static int look_at_version(void *context, const struct version *version)
{
	struct look *look = context;

	require(version->key.ino == look->ino);
	check_version(look->file, version, version->key, LSN_HEAD);
	return ++look->count > 10000;
}

static void look_up(const struct image_file *file, struct layer *layer, uint64_t ino,
		    struct lsn lsn)
{
	struct version pages[PAGES], version;
	uint32_t found = 0, there = 0;
	int err;

	memset(pages, 0, sizeof(pages));
	err = layer_find_pages(layer, ino, 0, PAGES, lsn, pages, &found);
	for (unsigned i = 0; i < PAGES; i++) {
		if (!pages[i].form)
			continue;
		there++;
		check_version(file, &pages[i], key_make(ino, KEY_PAGE, i), lsn);
	}
	require(err < 0 || there == found);
	for (unsigned i = 0; i < PAGES + 2; i++) {
		struct key key = key_make(ino, i < PAGES ? KEY_PAGE : i == PAGES ? KEY_ATTR : KEY_FLOOR,
					  i < PAGES ? i : 0);

		err = layer_find(layer, key, lsn, &version);
		require(err == 0 || err == 1 || err == -EBADMSG || err == -EUCLEAN);
		if (err == 0)
			check_version(file, &version, key, lsn);
	}
}

static void walk(const struct image_file *file, struct layer *layer)
{
	for (uint64_t ino = 15; ino < 30; ino++) {
		struct look names = { file, layer, ino, ino % 2 ? 0 : UINT64_C(1) << 55, 0 };
		struct look versions = { file, layer, ino, 0, 0 };

		look_up(file, layer, ino, LSN_HEAD);
		look_up(file, layer, ino, lsn_make(layer->start.value + 5000));
		(void)layer_each_name(layer, ino, names.from, look_at_name, &names);
		(void)layer_each_version(layer, ino, look_at_version, &versions);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct image *image = image_get(false);
	int layers_fd;

	must(!io_open(AT_FDCWD, image->layers, O_RDONLY | O_DIRECTORY, 0, &layers_fd),
	     "cannot open", image->layers);
	image_apply(image, data, size_bytes);
	for (size_t i = 0; i < image->file_count; i++) {
		struct sealed_layer *layer;
		struct mapped_views *views;
		struct block_cache *cache;

		if (!image->files[i].sealed || (size_bytes && image_file_is_unchanged(&image->files[i])))
			continue;
		require(block_cache_create(0, &cache) == 0);
		require(mapped_views_create(0, &views) == 0);
		if (sealed_layer_open(layers_fd, image->files[i].layer_id, &image->store, cache,
				      views, &layer) == 0) {
			guard_take();
			walk(&image->files[i], sealed_layer_base(layer));
			guard_drop();
			sealed_layer_close(layer);
		}
		block_cache_free(cache);
		mapped_views_free(views);
	}
	io_close(layers_fd);
	image_reset(image);
	return 0;
}
