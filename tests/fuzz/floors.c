/*
 * Floors: what decodes is ascending, answers any block, and encodes to the same
 * bytes; a cut leaves it so.
 */
#include "floors.h"

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
	uint8_t *again;

	if (floors_decode(data, size_bytes, &floors)) {
		require(!floors.entries && !floors.count);
		return 0;
	}
	check_ascending(&floors);
	require(floors.count == size_bytes / FLOOR_BYTES);
	again = malloc(size_bytes + 1);
	require(again != NULL);
	floors_encode(&floors, again);
	require(!memcmp(again, data, size_bytes));
	free(again);
	if (floors.count) {
		const struct floor_entry *entry = &floors.entries[floors.count / 2];
		uint64_t block = entry->block;

		require(floors_at(&floors, block).value == entry->lsn.value);
		if (block)
			require(floors_at(&floors, block - 1).value <= entry->lsn.value);
		require(floors_cut(&floors, block, lsn_make(LSN_LIMIT - 1)) == 0);
		require(floors_at(&floors, UINT64_MAX).value == LSN_LIMIT - 1);
		check_ascending(&floors);
	}
	floors_free(&floors);
	return 0;
}
