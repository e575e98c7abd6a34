#include "checksum.h"

#include "codec.h"

#ifdef VARVE_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

uint64_t checksum(const void *bytes, size_t size_bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes, size_bytes, seed);
}

uint64_t checksum_version_seed(uint64_t store_seed, struct key key, struct lsn lsn,
			       uint8_t form, uint8_t weight)
{
	uint8_t bytes[26];
	struct put_cursor c = put_cursor(bytes, sizeof(bytes));

	put_u64(&c, key.ino);
	put_u64(&c, key.sub);
	put_u64(&c, lsn.value);
	put_u8(&c, form);
	put_u8(&c, weight);
	return checksum(bytes, sizeof(bytes), store_seed);
}
