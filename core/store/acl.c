#include "acl.h"

#include <errno.h>
#include <stdlib.h>

#include "codec.h"

#define VERSION 2u
#define HEADER_BYTES 4u
#define ENTRY_BYTES 8u
#define PERMISSIONS 7u

enum tag {
	TAG_USER_OBJ = 0x01,
	TAG_USER = 0x02,
	TAG_GROUP_OBJ = 0x04,
	TAG_GROUP = 0x08,
	TAG_MASK = 0x10,
	TAG_OTHER = 0x20,
};

struct entry {
	uint16_t tag, permissions;
	uint32_t id;
};

static size_t entry_count(size_t size_bytes)
{
	return (size_bytes - HEADER_BYTES) / ENTRY_BYTES;
}

static struct entry entry_at(const uint8_t *bytes, size_t i)
{
	struct get_cursor c = get_cursor(bytes + HEADER_BYTES + i * ENTRY_BYTES, ENTRY_BYTES);
	struct entry entry;

	entry.tag = get_u16(&c);
	entry.permissions = get_u16(&c);
	entry.id = get_u32(&c);
	return entry;
}

static void permissions_set(uint8_t *bytes, size_t i, uint32_t permissions)
{
	struct put_cursor c = put_cursor(bytes + HEADER_BYTES + i * ENTRY_BYTES + 2, 2);

	put_u16(&c, (uint16_t)permissions);
}

bool acl_is_empty(size_t size_bytes)
{
	return size_bytes <= HEADER_BYTES;
}

int acl_check(const uint8_t *bytes, size_t size_bytes)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	unsigned single = 0, named = 0;
	struct entry before = { 0, 0, 0 };

	if (get_u32(&c) != VERSION || c.bad || (size_bytes - HEADER_BYTES) % ENTRY_BYTES)
		return -EINVAL;
	for (size_t i = 0; i < entry_count(size_bytes); i++) {
		struct entry entry = entry_at(bytes, i);
		bool is_named = entry.tag == TAG_USER || entry.tag == TAG_GROUP;

		if (entry.permissions > PERMISSIONS || entry.tag < before.tag)
			return -EINVAL;
		if (is_named && entry.tag == before.tag && entry.id <= before.id)
			return -EINVAL;
		switch (entry.tag) {
		case TAG_USER_OBJ:
		case TAG_GROUP_OBJ:
		case TAG_MASK:
		case TAG_OTHER:
			if (single & entry.tag)
				return -EINVAL;
			single |= entry.tag;
			break;
		case TAG_USER:
		case TAG_GROUP:
			named++;
			break;
		default:
			return -EINVAL;
		}
		before = entry;
	}
	if ((single & ~(unsigned)TAG_MASK) != (TAG_USER_OBJ | TAG_GROUP_OBJ | TAG_OTHER))
		return -EINVAL;
	return named && !(single & TAG_MASK) ? -EINVAL : 0;
}

/* Where in a mode the permissions of entries with this tag stand; -1: nowhere. */
static int shift_of(uint16_t tag, bool has_mask)
{
	switch (tag) {
	case TAG_USER_OBJ:
		return 6;
	case TAG_GROUP_OBJ:
		return has_mask ? -1 : 3;
	case TAG_MASK:
		return 3;
	case TAG_OTHER:
		return 0;
	default:
		return -1;
	}
}

static bool has_mask(const uint8_t *bytes, size_t size_bytes)
{
	for (size_t i = 0; i < entry_count(size_bytes); i++)
		if (entry_at(bytes, i).tag == TAG_MASK)
			return true;
	return false;
}

/* A list with a mask says more than a mode, and only such a one can have named entries. */
bool acl_to_mode(const uint8_t *bytes, size_t size_bytes, uint32_t *mode)
{
	bool masked = has_mask(bytes, size_bytes);

	for (size_t i = 0; i < entry_count(size_bytes); i++) {
		struct entry entry = entry_at(bytes, i);
		int shift = shift_of(entry.tag, masked);

		if (shift >= 0)
			*mode = (*mode & ~(PERMISSIONS << shift)) | (uint32_t)entry.permissions << shift;
	}
	return !masked;
}

void acl_take_mode(uint8_t *bytes, size_t size_bytes, uint32_t mode)
{
	bool masked = has_mask(bytes, size_bytes);

	for (size_t i = 0; i < entry_count(size_bytes); i++) {
		int shift = shift_of(entry_at(bytes, i).tag, masked);

		if (shift >= 0)
			permissions_set(bytes, i, mode >> shift & PERMISSIONS);
	}
}

/* What both the list and the mode allow. */
bool acl_inherit(uint8_t *bytes, size_t size_bytes, uint32_t *mode)
{
	bool masked = has_mask(bytes, size_bytes);

	for (size_t i = 0; i < entry_count(size_bytes); i++) {
		struct entry entry = entry_at(bytes, i);
		int shift = shift_of(entry.tag, masked);

		if (shift < 0)
			continue;
		permissions_set(bytes, i, entry.permissions & *mode >> shift);
		*mode &= ~(PERMISSIONS << shift) | (uint32_t)entry.permissions << shift;
	}
	return !masked;
}
