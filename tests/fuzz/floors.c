/*
 * Floors: what decodes is ascending, answers any block, and is what the bytes say.
 */
#include "floors.h"

#include "codec.h"
#include "fuzz.h"

static void check_ascending(const struct floors *floors)
{
	for (uint32_t i = 1; i < floors->count; i++) {
		require(floors->entries[i].block > floors->entries[i - 1].block);
		require(floors->entries[i].lsn.value >= floors->entries[i - 1].lsn.value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct floors floors;
	struct get_cursor c = get_cursor(data, size_bytes);

	if (floors_decode(data, size_bytes, &floors)) {
		require(!floors.entries && !floors.count);
		return 0;
	}
	check_ascending(&floors);
	require(floors.count == size_bytes / FLOOR_BYTES);
	for (uint32_t i = 0; i < floors.count; i++) {
		require(get_u64(&c) == floors.entries[i].block);
		require(get_u64(&c) == floors.entries[i].lsn.value);
	}
	if (floors.count) {
		const struct floor_entry *entry = &floors.entries[floors.count / 2];
		uint64_t block = entry->block;

		require(floors_at(&floors, block).value == entry->lsn.value);
		if (block)
			require(floors_at(&floors, block - 1).value <= entry->lsn.value);
	}
	floors_free(&floors);
	return 0;
}
