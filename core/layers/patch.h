/*
 * Patch: the bytes that changed, against the version before.
 *
 * Payload: ranges in ascending order, each
 *   varint  gap: bytes between the end of the range before and this one
 *   varint  length << 1 | zeros
 *   bytes   length of them; none if zeros is 1 (the range becomes zeros)
 */
#ifndef VARVE_LAYERS_PATCH_H
#define VARVE_LAYERS_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATCH_RANGE_HEAD_MAX 20u        /* bytes a range's two numbers take at most */

/* Encode the numbers of a range that lies @gap behind the one before. Returns
 * how many bytes of @head_out they took. */
size_t patch_range_head(uint8_t head_out[PATCH_RANGE_HEAD_MAX], size_t gap, size_t length,
			bool zeros);

/* Apply to @value of @size_bytes. -EUCLEAN: the payload is no patch of such a value. */
int patch_apply(const uint8_t *payload, size_t payload_bytes, uint8_t *value, size_t size_bytes);

/*
 * Encode what differs between two stretches of @size_bytes that lie @at_bytes into
 * the value, into @payload_out; never empty: where nothing differs, the first byte
 * stands again. Ranges closer than a head costs are joined; one that becomes all zeros
 * takes no bytes. Returns the bytes used, or 0 if they would exceed @limit_bytes.
 */
size_t patch_diff(const uint8_t *before, const uint8_t *after, size_t size_bytes,
		  size_t at_bytes, uint8_t *payload_out, size_t limit_bytes);

#endif
