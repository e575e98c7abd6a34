/*
 * Open layers: a log of any bytes, chained again if the input says so, read back.
 * What is recovered lies in the log and verifies; it is sealed, and then the sealed
 * layer says the same.
 */
#include "open_layer.h"

#include <fcntl.h>

#include "fuzz.h"
#include "image.h"
#include "io.h"
#include "sealed_layer.h"

struct compare {
	struct layer *other;
	uint64_t ino;
	bool rot;                       /* damaged payloads were taken for such that had been synced */
	unsigned count;
};

/* Each version of one layer is found in the other, by key and LSN. */
static int compare_version(void *context, const struct version *version)
{
	struct compare *compare = context;
	const uint8_t *payload;
	struct version found;
	uint8_t *scratch = malloc((size_t)version->size_bytes + 1);
	int err;

	require(scratch != NULL);
	err = version_load(version, scratch, &payload);
	require(err == 0 || (compare->rot && err == -EBADMSG));
	require(layer_find(compare->other, version->key, version->lsn, &found) == 0);
	require(found.lsn.value == version->lsn.value);
	compare->count++;
	free(scratch);
	return 0;
}

static unsigned compare_layers(struct layer *a, struct layer *b, bool rot)
{
	struct compare compare = { .other = b, .rot = rot };

	for (uint64_t ino = 15; ino < 30; ino++) {
		compare.ino = ino;
		require(layer_each_version(a, ino, compare_version, &compare) == 0);
	}
	return compare.count;
}

static void seal_and_compare(struct image *image, int layers_fd, struct open_layer *open,
			     bool rot)
{
	struct sealed_layer *sealed;
	struct layer_footer footer;
	struct block_cache *cache;
	int err;

	require(block_cache_create(0, &cache) == 0);
	image->written = true;
	require(open_layer_seal(open, &footer) == 0);
	err = sealed_layer_open(layers_fd, open->base.id, &image->store, cache, NULL, &sealed);
	require(err == 0);
	guard_take();
	require(compare_layers(&open->base, sealed_layer_base(sealed), rot) ==
		compare_layers(sealed_layer_base(sealed), &open->base, rot));
	guard_drop();
	sealed_layer_close(sealed);
	block_cache_free(cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct image *image = image_get(false);
	uint8_t how = image_how_of(data, size_bytes);
	int layers_fd;

	must(!io_open(AT_FDCWD, image->layers, O_RDONLY | O_DIRECTORY, 0, &layers_fd),
	     "cannot open", image->layers);
	image_apply(image, data, size_bytes);
	for (size_t i = 0; i < image->file_count; i++) {
		struct image_file *file = &image->files[i];
		struct open_layer_recovery found;
		struct layer_header header;
		struct open_layer *layer;
		int err;

		if (!file->layer_id || file->resized || (size_bytes && image_file_is_unchanged(file)) ||
		    layer_header_decode(file->map, &image->store, &header))
			continue;
		err = open_layer_recover(layers_fd, file->layer_id, &image->store, header.start,
					 header.chain_start,
					 lsn_make(how & 2 ? UINT64_MAX : 0), how & 1, &layer, &found);
		require(err == 0 || err == -EUCLEAN || err == -ENOMEM);
		require(!err == !!layer);
		if (err)
			continue;
		require(open_layer_end(layer).value - header.start.value + LAYER_HEADER_BYTES <=
			file->size_bytes);
		if (how & 1 && layer->started)
			seal_and_compare(image, layers_fd, layer, how & 2);
		open_layer_close(layer);
	}
	io_close(layers_fd);
	image_reset(image);
	return 0;
}
