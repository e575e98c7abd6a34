#include "floors.h"

#include <errno.h>
#include <stdlib.h>

#include "codec.h"
#include "engine.h"

int floors_decode(const uint8_t *bytes, size_t size_bytes, struct floors *floors_out)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	uint32_t count = (uint32_t)(size_bytes / FLOOR_BYTES);

	*floors_out = (struct floors){ NULL, 0 };
	if (size_bytes % FLOOR_BYTES)
		return -EUCLEAN;
	floors_out->entries = malloc(((size_t)count + 1) * sizeof(*floors_out->entries));
	if (!floors_out->entries)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct floor_entry *entry = &floors_out->entries[i];

		entry->block = get_u64(&c);
		entry->lsn = lsn_make(get_u64(&c));
		if (entry->lsn.value >= LSN_LIMIT ||
		    (i && (entry->block <= entry[-1].block ||
			   entry->lsn.value < entry[-1].lsn.value))) {
			floors_free(floors_out);
			return -EUCLEAN;
		}
	}
	floors_out->count = count;
	return 0;
}

int floors_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		struct floors *floors_out)
{
	struct version version;
	uint8_t *bytes;
	size_t size;
	int err;

	*floors_out = (struct floors){ NULL, 0 };
	err = engine_find(guard, key_make(ino, KEY_FLOOR, 0), lsn, &version);
	if (err)
		return err < 0 ? err : 0;
	bytes = malloc((size_t)version.size_bytes + 1);
	if (!bytes)
		return -ENOMEM;
	err = engine_load(guard, &version, bytes, version.size_bytes, &size);
	if (!err)
		err = floors_decode(bytes, size, floors_out);
	free(bytes);
	/* None was made by a change that was yet to come. */
	if (!err && floors_out->count &&
	    floors_out->entries[floors_out->count - 1].lsn.value > version.lsn.value) {
		floors_free(floors_out);
		err = -EUCLEAN;
	}
	return err < 0 ? err : 0;
}

void floors_free(struct floors *floors)
{
	free(floors->entries);
	*floors = (struct floors){ NULL, 0 };
}

/* How many entries begin at or below @block. */
static uint32_t count_at_or_below(const struct floors *floors, uint64_t block)
{
	uint32_t low = 0, high = floors->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (floors->entries[middle].block <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct lsn floors_at(const struct floors *floors, uint64_t block)
{
	uint32_t below = count_at_or_below(floors, block);

	return below ? floors->entries[below - 1].lsn : lsn_make(0);
}
