/*
 * Checksums: XXH3, 64 bits, seeded with what the bytes are.
 *
 * The checksum of a version covers its store, key, LSN, form and weight besides
 * its payload, so that bytes of another page, version or store do not pass.
 */
#ifndef VARVE_BASE_CHECKSUM_H
#define VARVE_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "key.h"
#include "lsn.h"

uint64_t checksum(const void *bytes, size_t size_bytes, uint64_t seed);

/* Seed of a version's payload. @store_seed is drawn from the store's id. */
uint64_t checksum_version_seed(uint64_t store_seed, struct key key, struct lsn lsn,
			       uint8_t form, uint8_t weight);

#endif
