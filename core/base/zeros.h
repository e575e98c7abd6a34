/*
 * Zeros: are there only zeros?
 */
#ifndef VARVE_BASE_ZEROS_H
#define VARVE_BASE_ZEROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* @size_bytes is at least 1. One look at the first byte answers for most bytes. */
static inline bool all_zero(const uint8_t *bytes, size_t size_bytes)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size_bytes - 1) == 0;
}

#endif
