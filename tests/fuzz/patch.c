/*
 * Patches: a payload from disk changes its value and nothing beside it; what
 * patch_diff makes, patch_apply takes back to the very bytes.
 */
#include "patch.h"

#include "fuzz.h"

#define VALUE_MAX 4096u

/* [size, any payload] over a value between two walls. */
static void apply_any(const uint8_t *data, size_t size_bytes)
{
	size_t value_bytes = size_bytes < 2 ? 0 : (data[0] | data[1] << 8) % (VALUE_MAX + 1);
	uint8_t *value = malloc(value_bytes + 1), *again = malloc(value_bytes + 1);
	int err;

	if (size_bytes < 2 || !value || !again)
		goto out;
	memset(value, 0x5a, value_bytes + 1);
	memset(again, 0x5a, value_bytes + 1);
	err = patch_apply(data + 2, size_bytes - 2, value, value_bytes);
	require(err == 0 || err == -EUCLEAN);
	require(value[value_bytes] == 0x5a);
	require(patch_apply(data + 2, size_bytes - 2, again, value_bytes) == err);
	require(!memcmp(value, again, value_bytes));
out:
	free(value);
	free(again);
}

/* [before, after], two halves. */
static void diff_and_back(const uint8_t *data, size_t size_bytes)
{
	size_t half = size_bytes / 2, used;
	uint8_t payload[8192], *value;

	if (!half || half > VALUE_MAX)
		return;
	used = patch_diff(data, data + half, half, 0, payload, sizeof(payload));
	require(used > 0 && used <= sizeof(payload));
	value = malloc(half);
	require(value != NULL);
	memcpy(value, data, half);
	require(patch_apply(payload, used, value, half) == 0);
	require(!memcmp(value, data + half, half));
	/* One byte less of room: it fits or it is refused, it is never cut. */
	require(patch_diff(data, data + half, half, 0, payload, used - 1) == 0);
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	apply_any(data, size_bytes);
	diff_and_back(data, size_bytes);
	return 0;
}
