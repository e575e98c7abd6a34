/*
 * Access lists: any bytes are one that acl_check refuses, or one that modes can be made of, and that stays
 * one whatever mode it follows. The first byte says what is made right: the version, entries of known tags.
 */
#include "acl.h"

#include <errno.h>

#include "fuzz.h"

#define BYTES_MAX 8192u
#define MAKE_VERSION 1u
#define MAKE_ENTRIES 2u                 /* of 3 bytes: which tag, permissions, id */
#define NO_ID UINT32_MAX

static const uint16_t tags[] = { 0x01, 0x02, 0x04, 0x08, 0x10, 0x20 };

static size_t make(uint8_t *bytes, const uint8_t *data, size_t size_bytes, uint8_t how)
{
	struct put_cursor c = put_cursor(bytes, BYTES_MAX);

	if (how & (MAKE_VERSION | MAKE_ENTRIES))
		put_u32(&c, 2);
	if (!(how & MAKE_ENTRIES)) {
		put_bytes(&c, data, size_bytes);
		return (size_t)(c.at - bytes);
	}
	for (size_t i = 0; i + 3 <= size_bytes; i += 3) {
		uint16_t tag = tags[data[i] % array_size(tags)];

		put_u16(&c, tag);
		put_u16(&c, data[i + 1] & 0x80 ? data[i + 1] : data[i + 1] & 7);
		put_u32(&c, tag & 0x0a ? data[i + 2] : NO_ID);
	}
	return (size_t)(c.at - bytes);
}

/* @bytes are changed. */
static void follow(uint8_t *bytes, size_t size, uint32_t mode)
{
	uint32_t told = mode & ~0777u, again = mode, inherited = mode;
	bool all = acl_to_mode(bytes, size, &told);

	require(!acl_is_empty(size) && (told & ~0777u) == (mode & ~0777u));
	require(acl_to_mode(bytes, size, &again) == all && again == told);
	require(acl_inherit(bytes, size, &inherited) == all);
	require(acl_check(bytes, size) == 0);
	require(inherited == (mode & (told | ~0777u)));
	require(acl_to_mode(bytes, size, &again) == all && again == inherited);
	acl_take_mode(bytes, size, mode);
	require(acl_check(bytes, size) == 0);
	again = mode & ~0777u;
	require(acl_to_mode(bytes, size, &again) == all && again == mode);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static uint8_t made[BYTES_MAX];
	uint8_t *bytes;
	size_t size;
	int err;

	if (size_bytes < 3 || size_bytes > 2048)
		return 0;
	size = make(made, data + 3, size_bytes - 3, data[0]);
	/* Of its own size, so that a read beyond it is seen. */
	bytes = malloc(size + !size);
	require(bytes != NULL);
	memcpy(bytes, made, size);
	err = acl_check(bytes, size);
	require(err == 0 || err == -EINVAL);
	if (!err)
		follow(bytes, size, (data[1] | (uint32_t)data[2] << 8) & 07777);
	free(bytes);
	return 0;
}
