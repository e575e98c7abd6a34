/*
 * Attributes: what decodes is sound, and encodes to the same bytes.
 */
#include "attr.h"

#include "fuzz.h"

static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };

/* Random modes and nanoseconds are rarely possible: make them so, if asked. */
static void make_possible(uint8_t bytes[ATTR_BYTES], uint8_t how)
{
	static const size_t nanoseconds_at[] = { 16, 28, 40, 52 };

	if (how & 1)
		for (size_t i = 0; i < array_size(nanoseconds_at); i++)
			bytes[nanoseconds_at[i] + 3] &= 0x1f;
	if (how & 2) {
		uint32_t mode = types[how >> 4 & 7 ? (how >> 4 & 7) - 1 : 0] | 0644;

		for (unsigned i = 0; i < 4; i++)
			bytes[56 + i] = (uint8_t)(mode >> 8 * i);
	}
	if (how & 4)
		bytes[7] &= 0x7f;
	if (how & 8)
		memset(bytes + ATTR_BYTES_OLD, 0, ATTR_BYTES - ATTR_BYTES_OLD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	uint8_t bytes[ATTR_BYTES], again[ATTR_BYTES];
	struct attr attr;

	if (size_bytes < ATTR_BYTES + 1)
		return 0;
	memcpy(bytes, data + 1, ATTR_BYTES);
	make_possible(bytes, data[0]);
	if (attr_decode(bytes, &attr)) {
		return 0;
	}
	require(attr.shown.size_bytes <= TREE_SIZE_MAX);
	require(attr.shown.mtime.nanoseconds < 1000000000 && attr.shown.ctime.nanoseconds < 1000000000);
	require(attr.shown.atime.nanoseconds < 1000000000 && attr.shown.btime.nanoseconds < 1000000000);
	attr_encode(&attr, again);
	require(!memcmp(bytes, again, ATTR_BYTES));
	return 0;
}
