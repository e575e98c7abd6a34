/*
 * Read: from (key, LSN) through the layers to bytes.
 *
 * Layers are visited from the newest that can hold the LSN to the oldest, up to
 * the first that has the key. A patch leads on to the version before it, until
 * one of weight 0, which stands alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "fault.h"
#include "io.h"
#include "patch.h"

struct lsn engine_guard_take(struct engine *engine, struct layer_guard *guard)
{
	/* In this order: a layer is in the map before anything in it is published. */
	struct lsn newest = engine_newest(engine);

	layer_guard_take(guard, &engine->maps);
	return newest;
}

int engine_find(const struct layer_guard *guard, struct key key, struct lsn lsn,
		struct version *version_out)
{
	int err = 1;

	version_out->form = 0;
	for (uint32_t i = layer_map_reach(guard->map, lsn); i-- > 0 && err == 1;) {
		struct layer *layer = layer_run_find(guard->map->runs[i], key, lsn);

		if (layer)
			err = layer_find(layer, key, lsn, version_out);
	}
	return err;
}

int engine_find_pages(const struct layer_guard *guard, uint64_t ino, uint64_t first,
		      uint32_t count, struct lsn lsn, struct version *versions_out)
{
	uint32_t found = 0;
	int err = 0;

	memset(versions_out, 0, count * sizeof(*versions_out));
	for (uint32_t i = layer_map_reach(guard->map, lsn); i-- > 0 && found < count && !err;)
		err = layer_find_pages(guard->map->runs[i]->layer, ino, first, count, lsn, versions_out,
				       &found);
	return err;
}

/* More patches than this allows cost more to read than an image costs to write. */
#define AT_HAND_WEIGHT_MAX 32u

/* The versions to be applied, newest first; the last stands alone. */
struct version_chain {
	struct version versions[VERSION_WEIGHT_MAX + 1];
	uint32_t count;
};

static int chain_collect(const struct layer_guard *guard, const struct version *top,
			 struct version_chain *chain)
{
	chain->versions[0] = *top;
	chain->count = 1;
	while (chain->versions[chain->count - 1].weight) {
		const struct version *above = &chain->versions[chain->count - 1];
		struct version *below = &chain->versions[chain->count];
		int err = engine_find(guard, above->key, lsn_make(above->lsn.value - 1), below);

		if (err < 0)
			return err;
		/* The weight falls with every step, so the chain ends. */
		if (err == 1 || below->form == VERSION_TOMBSTONE || below->weight >= above->weight)
			return -EUCLEAN;
		chain->count++;
	}
	return 0;
}

static void log_bad_version(const struct version *version, int err)
{
	char name[LAYER_NAME_BYTES];

	layer_name(version->layer->id, name);
	log_line("layer file 'layers/%s': the version at LSN %llu of inode %llu, kind %u, index "
		 "%llu can't be read: %s", name, (unsigned long long)version->lsn.value,
		 (unsigned long long)version->key.ino, (unsigned)key_kind(version->key),
		 (unsigned long long)key_index(version->key),
		 err == -EBADMSG ? "its checksum is wrong" : strerror(-err));
}

/* A value and a version to be applied to it. */
struct apply {
	const struct version *version;
	void *scratch;
	uint8_t *value;
	size_t room_bytes, size_bytes;
};

static int apply_payload(void *context)
{
	struct apply *apply = context;
	const struct version *version = apply->version;
	const uint8_t *payload;
	int err = version_load(version, apply->scratch, &payload);

	if (err)
		return err;
	if (version->form == VERSION_PATCH) {
		apply->size_bytes = apply->room_bytes;
		return patch_apply(payload, version->size_bytes, apply->value, apply->room_bytes);
	}
	if (version->size_bytes > apply->room_bytes)
		return -EUCLEAN;
	memcpy(apply->value, payload, version->size_bytes);
	apply->size_bytes = version->size_bytes;
	return 0;
}

/* An open layer's payload is used where it is mapped, so a file cut short is met here. */
static int chain_apply_one(struct apply *apply)
{
	int err = fault_guarded(apply_payload, apply);

	if (err)
		log_bad_version(apply->version, err);
	return err;
}

/* Apply what was collected, from the lowest up. */
static int chain_apply(const struct version_chain *chain, void *value, size_t room_bytes,
		       size_t *size_out)
{
	struct apply apply = { .value = value, .room_bytes = room_bytes };
	uint32_t scratch_bytes = 0;
	int err = 0;

	memset(value, 0, room_bytes);
	for (uint32_t i = 0; i < chain->count; i++)
		if (chain->versions[i].size_bytes > scratch_bytes)
			scratch_bytes = chain->versions[i].size_bytes;
	apply.scratch = malloc((size_t)scratch_bytes + 1);
	if (!apply.scratch)
		return -ENOMEM;
	for (uint32_t i = chain->count; i-- > 0 && !err;) {
		apply.version = &chain->versions[i];
		err = chain_apply_one(&apply);
	}
	*size_out = apply.size_bytes;
	free(apply.scratch);
	return err;
}

/* 0; 1: a tombstone; -errno. */
static int chain_start(const struct layer_guard *guard, const struct version *version,
		       struct version_chain *chain)
{
	int err;

	if (version->form == VERSION_TOMBSTONE)
		return 1;
	err = chain_collect(guard, version, chain);
	if (err)
		log_bad_version(version, err);
	return err;
}

int engine_load(const struct layer_guard *guard, const struct version *version, void *value,
		size_t room_bytes, size_t *size_out)
{
	struct version_chain chain;
	int err = chain_start(guard, version, &chain);

	*size_out = 0;
	return err ? err : chain_apply(&chain, value, room_bytes, size_out);
}

int engine_load_at_hand(const struct layer_guard *guard, const struct version *version, void *value,
			size_t room_bytes, size_t *size_out)
{
	struct version_chain chain;
	int err;

	*size_out = 0;
	if (version->weight > AT_HAND_WEIGHT_MAX)
		return 2;
	err = chain_start(guard, version, &chain);
	if (err)
		return err;
	for (uint32_t i = 0; i < chain.count; i++)
		if (!version_is_at_hand(&chain.versions[i]))
			return 2;
	return chain_apply(&chain, value, room_bytes, size_out);
}

int engine_page(const struct layer_guard *guard, const struct version *version,
		size_t page_bytes, uint8_t *scratch, const uint8_t **page_out)
{
	size_t size;
	int err = 1;

	*page_out = NULL;
	if (!version->form || version->form == VERSION_TOMBSTONE)
		return 0;
	if (version->form == VERSION_IMAGE && version->size_bytes == page_bytes) {
		err = version_view(version, page_out);
		if (err < 0)
			log_bad_version(version, err);
	}
	if (err == 1) {
		err = engine_load(guard, version, scratch, page_bytes, &size);
		*page_out = err ? NULL : scratch;
	}
	return err;
}

int engine_each_name(const struct layer_guard *guard, uint64_t ino, uint64_t from,
		     layer_key_fn *fn, void *context)
{
	int err = 0;

	for (uint32_t i = guard->map->run_count; i-- > 0 && !err;)
		err = layer_each_name(guard->map->runs[i]->layer, ino, from, fn, context);
	return err;
}

int engine_each_version(const struct layer_guard *guard, uint64_t ino, layer_version_fn *fn,
			void *context)
{
	int err = 0;

	for (uint32_t i = 0; i < guard->map->run_count && !err; i++)
		err = layer_each_version(guard->map->runs[i]->layer, ino, fn, context);
	return err;
}
