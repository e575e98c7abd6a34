#include "layer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "checksum.h"
#include "fault.h"
#include "open_layer.h"
#include "sealed_layer.h"
#include "table_layer.h"

static struct open_layer *as_open(struct layer *layer)
{
	return (struct open_layer *)layer;
}

static struct sealed_layer *as_sealed(struct layer *layer)
{
	return (struct sealed_layer *)layer;
}

int layer_find(struct layer *layer, struct key key, struct lsn lsn, struct version *version_out)
{
	switch (layer->kind) {
	case LAYER_OPEN:
		return open_layer_find(as_open(layer), key, lsn, version_out);
	case LAYER_SEALED:
		return sealed_layer_find(as_sealed(layer), key, lsn, version_out);
	default:
		return table_layer_find(layer, key, lsn, version_out);
	}
}

int layer_find_chain(struct layer *layer, struct key key, struct lsn lsn, struct version *versions,
		     uint32_t room, uint32_t *count_out)
{
	*count_out = 0;
	switch (layer->kind) {
	case LAYER_OPEN:
		*count_out = open_layer_find_chain(as_open(layer), key, lsn, versions, room);
		return 0;
	case LAYER_SEALED:
		return sealed_layer_find_chain(as_sealed(layer), key, lsn, versions, room, count_out);
	case LAYER_TABLE:
		break;
	}
	return table_layer_find_chain(layer, key, lsn, versions, room, count_out);
}

static void open_find_pages(struct open_layer *layer, uint64_t ino, uint64_t first,
			    uint32_t count, struct lsn lsn, struct version *versions,
			    uint32_t *found)
{
	for (uint32_t i = 0; i < count; i++)
		if (!versions[i].form &&
		    open_layer_find(layer, key_make(ino, KEY_PAGE, first + i), lsn,
				    &versions[i]) == 0)
			++*found;
}

int layer_find_pages(struct layer *layer, uint64_t ino, uint64_t first, uint32_t count,
		     struct lsn lsn, struct version *versions, uint32_t *found)
{
	switch (layer->kind) {
	case LAYER_OPEN:
		open_find_pages(as_open(layer), ino, first, count, lsn, versions, found);
		return 0;
	case LAYER_SEALED:
		return sealed_layer_find_pages(as_sealed(layer), ino, first, count, lsn, versions,
					       found);
	default:
		return table_layer_find_pages(layer, ino, first, count, lsn, versions, found);
	}
}

int layer_find_names(struct layer *layer, uint64_t ino, const uint64_t *hashes, uint32_t count,
		     struct lsn lsn, struct version *versions, uint32_t *done_out)
{
	int err;

	if (layer->kind == LAYER_SEALED) {
		*done_out = count;
		return sealed_layer_find_names(as_sealed(layer), ino, hashes, count, lsn, versions);
	}
	*done_out = 1;
	if (versions->form)
		return 0;
	err = layer_find(layer, key_make(ino, KEY_NAME, *hashes), lsn, versions);
	return err < 0 ? err : 0;
}

int layer_each_name(struct layer *layer, uint64_t ino, uint64_t from, layer_key_fn *fn,
		    void *context)
{
	switch (layer->kind) {
	case LAYER_OPEN:
		return open_layer_each_name(as_open(layer), ino, from, fn, context);
	case LAYER_SEALED:
		return sealed_layer_each_name(as_sealed(layer), ino, from, fn, context);
	default:
		return table_layer_each_name(layer, ino, from, fn, context);
	}
}

int layer_each_version(struct layer *layer, uint64_t ino, layer_version_fn *fn, void *context)
{
	switch (layer->kind) {
	case LAYER_OPEN:
		return open_layer_each_version(as_open(layer), ino, fn, context);
	case LAYER_SEALED:
		return sealed_layer_each_version(as_sealed(layer), ino, fn, context);
	default:
		return table_layer_each_version(layer, ino, fn, context);
	}
}

static int check(const struct version *version, const uint8_t *payload)
{
	uint64_t seed = checksum_version_seed(version->layer->store->seed, version->key,
					      version->lsn, version->form, version->weight);

	return checksum(payload, version->size_bytes, seed) == version->checksum ? 0 : -EBADMSG;
}

int version_load(const struct version *version, void *scratch, const uint8_t **payload_out)
{
	const uint8_t *payload = scratch;
	int err = 0;

	if (version->layer->kind == LAYER_TABLE) {
		*payload_out = version->payload;
		return 0;
	}
	if (version->layer->kind == LAYER_OPEN)
		payload = as_open(version->layer)->arena.base + version->offset;
	else
		err = sealed_layer_payload(as_sealed(version->layer), version, scratch, &payload);
	if (!err)
		err = check(version, payload);
	*payload_out = err ? NULL : payload;
	return err;
}

void versions_prefetch(const struct version *versions, uint32_t count)
{
	sealed_layer_prefetch(versions, count);
}

bool version_is_at_hand(const struct version *version)
{
	return version->size_bytes == 0 || version->layer->kind != LAYER_SEALED ||
	       sealed_layer_is_at_hand(as_sealed(version->layer), version);
}

/* Where the payload lies in memory, unverified; NULL: it would have to be read. */
static const uint8_t *payload_at_hand(const struct version *version)
{
	switch (version->layer->kind) {
	case LAYER_OPEN:
		return as_open(version->layer)->arena.base + version->offset;
	case LAYER_TABLE:
		return version->payload;
	default:
		return version_is_at_hand(version)
			       ? sealed_layer_view(as_sealed(version->layer), version) : NULL;
	}
}

#define SAMPLES 16u
#define SAMPLES_ALIKE 4u        /* from so many equal ones on it is worth a whole look */

struct glance {
	const uint8_t *payload, *bytes;
	size_t payload_bytes, size_bytes;
	unsigned alike;
};

static int glance(void *context)
{
	static const uint8_t zeros[sizeof(uint64_t)];
	struct glance *glance = context;

	for (unsigned i = 0; i < SAMPLES; i++) {
		size_t at = glance->size_bytes / SAMPLES * i / sizeof(zeros) * sizeof(zeros);
		bool beyond = at + sizeof(zeros) > glance->payload_bytes;

		glance->alike += memcmp(beyond ? zeros : glance->payload + at, glance->bytes + at,
					sizeof(zeros)) == 0;
	}
	return 0;
}

bool version_looks_like(const struct version *version, const uint8_t *bytes, size_t size_bytes)
{
	struct glance context = {
		.bytes = bytes,
		.payload_bytes = version->size_bytes,
		.size_bytes = size_bytes,
	};

	assert(version->form == VERSION_IMAGE && version->size_bytes <= size_bytes &&
	       size_bytes >= SAMPLES * sizeof(uint64_t) / 2);
	context.payload = payload_at_hand(version);
	return context.payload && fault_guarded(glance, &context) == 0 && context.alike >= SAMPLES_ALIKE;
}

struct view_check {
	const struct version *version;
	const uint8_t *payload;
};

static int view_check(void *context)
{
	const struct view_check *view = context;

	return check(view->version, view->payload);
}

int version_view(const struct version *version, const uint8_t **payload_out)
{
	struct view_check view = { version, NULL };
	int err;

	*payload_out = NULL;
	if (version->layer->kind == LAYER_TABLE) {
		*payload_out = version->payload;
		return 0;
	}
	if (version->layer->kind == LAYER_OPEN)
		view.payload = as_open(version->layer)->arena.base + version->offset;
	else
		view.payload = sealed_layer_view(as_sealed(version->layer), version);
	if (!view.payload)
		return 1;
	err = fault_guarded(view_check, &view);
	if (!err)
		*payload_out = view.payload;
	return err;
}
