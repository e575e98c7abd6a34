#include "patch.h"

#include <errno.h>
#include <string.h>

#include "codec.h"
#include "zeros.h"

#define PATCH_JOIN_BYTES 3u     /* equal bytes between two changes that cost less than a new head */

size_t patch_range_head(uint8_t head_out[PATCH_RANGE_HEAD_MAX], size_t gap, size_t length,
			bool zeros)
{
	struct put_cursor c = put_cursor(head_out, PATCH_RANGE_HEAD_MAX);

	put_varint(&c, gap);
	put_varint(&c, (uint64_t)length << 1 | zeros);
	return (size_t)(c.at - head_out);
}

int patch_apply(const uint8_t *payload, size_t payload_bytes, uint8_t *value, size_t size_bytes)
{
	struct get_cursor c = get_cursor(payload, payload_bytes);
	size_t at = 0;

	while (c.at < c.end) {
		uint64_t gap = get_varint(&c);
		uint64_t length = get_varint(&c);
		bool zeros = length & 1;
		const uint8_t *bytes;

		length >>= 1;
		if (c.bad || gap > size_bytes - at || length > size_bytes - at - gap)
			return -EUCLEAN;
		at += gap;
		if (zeros) {
			memset(value + at, 0, length);
		} else {
			bytes = get_bytes(&c, length);
			if (!bytes)
				return -EUCLEAN;
			memcpy(value + at, bytes, length);
		}
		at += length;
	}
	return 0;
}

#define SKIP_BYTES 128u         /* compared at a time while nothing differs */

/* The first place at or after @at where the two differ; @size_bytes if there is none. */
static size_t skip_equal(const uint8_t *before, const uint8_t *after, size_t size_bytes, size_t at)
{
	while (size_bytes - at >= SKIP_BYTES && memcmp(before + at, after + at, SKIP_BYTES) == 0)
		at += SKIP_BYTES;
	while (at < size_bytes && before[at] == after[at])
		at++;
	return at;
}

/* Find the next range that differs at or after @from; false if there is none. One
 * longer than @limit_bytes may be found shorter. */
static bool patch_next_range(const uint8_t *before, const uint8_t *after, size_t size_bytes,
			     size_t from, size_t limit_bytes, size_t *start_out, size_t *end_out)
{
	size_t start = skip_equal(before, after, size_bytes, from), end, probe;

	if (start == size_bytes)
		return false;
	end = start + 1;
	for (probe = end; probe < size_bytes && probe - end <= PATCH_JOIN_BYTES &&
			  end - start <= limit_bytes; probe++)
		if (before[probe] != after[probe])
			end = probe + 1;
	*start_out = start;
	*end_out = end;
	return true;
}

size_t patch_diff(const uint8_t *before, const uint8_t *after, size_t size_bytes,
		  size_t at_bytes, uint8_t *payload_out, size_t limit_bytes)
{
	struct put_cursor c = put_cursor(payload_out, limit_bytes);
	size_t at = 0, start = 0, end = 1;
	bool more = patch_next_range(before, after, size_bytes, 0, limit_bytes, &start, &end);

	do {
		bool zeros = all_zero(after + start, end - start);

		put_varint(&c, at_bytes + start - at);
		put_varint(&c, (uint64_t)(end - start) << 1 | zeros);
		if (!zeros)
			put_bytes(&c, after + start, end - start);
		at = end;
		at_bytes = 0;
		if (more)
			more = patch_next_range(before, after, size_bytes, at, limit_bytes, &start,
						&end);
	} while (more && !c.bad);
	return c.bad ? 0 : (size_t)(c.at - payload_out);
}
