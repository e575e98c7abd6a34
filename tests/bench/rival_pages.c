#include "rival_pages.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define FILE_SPAN_BYTES (UINT64_C(1) << 32)     /* address space of a file; only what is written takes memory */

struct rival_key rival_key_make(struct history_place place, uint64_t moment)
{
	uint64_t page = htobe64((uint64_t)place.file << 32 | place.offset_bytes / HISTORY_PAGE_BYTES);
	uint64_t newest_first = htobe64(~moment);
	struct rival_key key;

	memcpy(key.bytes, &page, sizeof(page));
	memcpy(key.bytes + sizeof(page), &newest_first, sizeof(newest_first));
	return key;
}

bool rival_key_is_of(const void *found, size_t found_bytes, struct rival_key wanted)
{
	return found_bytes == RIVAL_KEY_BYTES && memcmp(found, wanted.bytes, sizeof(uint64_t)) == 0;
}

static int file_reserve(struct rival_pages *pages, uint32_t file)
{
	void *bytes;

	if (pages->files[file])
		return 0;
	bytes = mmap(NULL, FILE_SPAN_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return -ENOMEM;
	pages->files[file] = bytes;
	return 0;
}

int rival_pages_write(struct rival_pages *pages, struct history_place place, const uint8_t *bytes,
		      size_t size_bytes, uint64_t moment, rival_put_fn *put, void *context)
{
	uint64_t end = place.offset_bytes + size_bytes;
	uint8_t *file;
	int err;

	if (end > FILE_SPAN_BYTES)
		return -EFBIG;
	err = file_reserve(pages, place.file);
	file = pages->files[place.file];
	if (!err)
		memcpy(file + place.offset_bytes, bytes, size_bytes);
	place.offset_bytes -= place.offset_bytes % HISTORY_PAGE_BYTES;
	for (; place.offset_bytes < end && !err; place.offset_bytes += HISTORY_PAGE_BYTES)
		err = put(context, rival_key_make(place, moment), file + place.offset_bytes);
	return err;
}

void rival_pages_free(struct rival_pages *pages)
{
	for (uint32_t i = 0; i < HISTORY_FILES_MAX; i++) {
		if (pages->files[i])
			munmap(pages->files[i], FILE_SPAN_BYTES);
	}
}
