#include "content.h"

#include <string.h>

#include "clock.h"

#define ROW_WORDS 8u

void content_fill(uint64_t seed, unsigned random_percent, uint8_t *bytes_out, size_t size_bytes)
{
	static const char repeated[ROW_WORDS * sizeof(uint64_t) + 1] =
		"created 2026-11-21 04:22:06, status=shipped, warehouse=north 0.00";
	unsigned random_words = (ROW_WORDS * random_percent + 50) / 100;
	struct dice dice = { dice_next(&(struct dice){ seed }) };

	for (size_t at = 0; at < size_bytes; at += sizeof(uint64_t)) {
		unsigned word = (unsigned)(at / sizeof(uint64_t) % ROW_WORDS);
		uint64_t random;

		if (word < random_words) {
			random = dice_next(&dice);
			memcpy(bytes_out + at, &random, sizeof(random));
		} else {
			memcpy(bytes_out + at, repeated + word * sizeof(uint64_t), sizeof(uint64_t));
		}
	}
}
