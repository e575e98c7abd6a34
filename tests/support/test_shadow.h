/*
 * Shadow: a file and what it should hold. Each change is made to both; then
 * the whole file is compared and its LSN noted.
 */
#ifndef VARVE_TESTS_TEST_SHADOW_H
#define VARVE_TESTS_TEST_SHADOW_H

#include "test_fixture.h"

struct shadow {
	struct fixture *fixture;
	uint64_t ino;
	uint8_t *bytes;
	size_t size_bytes, capacity;
	bool freeze_each;               /* freeze after every change: one layer a change */
};

void shadow_init(struct shadow *shadow, struct fixture *fixture, const char *name);
void shadow_destroy(struct shadow *shadow);
void shadow_write(struct shadow *shadow, uint64_t seed, size_t offset_bytes, size_t size_bytes);
void shadow_truncate(struct shadow *shadow, size_t size_bytes);
/* A hole of @size_bytes; with @grow the file reaches its end at least. */
void shadow_punch(struct shadow *shadow, size_t offset_bytes, size_t size_bytes, bool grow);
/* What another file holds is copied over; the store's is asked until all is. */
void shadow_copy(struct shadow *shadow, const struct shadow *from, size_t from_bytes,
		 size_t offset_bytes, size_t size_bytes);

#endif
