/*
 * Codec: little-endian numbers through bounds-checked cursors.
 *
 * A cursor that would leave its buffer sets @bad, yields zeros (or drops what is
 * put) and stays bad, so a decoder reads a whole record and asks once.
 */
#ifndef VARVE_BASE_CODEC_H
#define VARVE_BASE_CODEC_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct get_cursor {
	const uint8_t *at, *end;
	bool bad;
};

static inline struct get_cursor get_cursor(const void *bytes, size_t size_bytes)
{
	return (struct get_cursor){ bytes, (const uint8_t *)bytes + size_bytes, false };
}

/* Borrow @size_bytes; NULL and bad if there are fewer. */
static inline const uint8_t *get_bytes(struct get_cursor *c, size_t size_bytes)
{
	const uint8_t *bytes = c->at;

	if (c->bad || (size_t)(c->end - c->at) < size_bytes) {
		c->bad = true;
		return NULL;
	}
	c->at += size_bytes;
	return bytes;
}

static inline uint8_t get_u8(struct get_cursor *c)
{
	const uint8_t *b = get_bytes(c, 1);

	return b ? *b : 0;
}

static inline uint16_t get_u16(struct get_cursor *c)
{
	const uint8_t *b = get_bytes(c, 2);
	uint16_t value = 0;

	if (b)
		memcpy(&value, b, 2);
	return le16toh(value);
}

static inline uint32_t get_u32(struct get_cursor *c)
{
	const uint8_t *b = get_bytes(c, 4);
	uint32_t value = 0;

	if (b)
		memcpy(&value, b, 4);
	return le32toh(value);
}

static inline uint64_t get_u64(struct get_cursor *c)
{
	const uint8_t *b = get_bytes(c, 8);
	uint64_t value = 0;

	if (b)
		memcpy(&value, b, 8);
	return le64toh(value);
}

/* LEB128: 7 bits a byte, low first; at most 10 bytes, no bits beyond 64. */
static inline uint64_t get_varint(struct get_cursor *c)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = get_u8(c);

		if (shift == 63 && byte > 1)
			c->bad = true;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return c->bad ? 0 : value;
	}
	c->bad = true;
	return 0;
}

struct put_cursor {
	uint8_t *at, *end;
	bool bad;
};

static inline struct put_cursor put_cursor(void *bytes, size_t size_bytes)
{
	return (struct put_cursor){ bytes, (uint8_t *)bytes + size_bytes, false };
}

static inline void put_bytes(struct put_cursor *c, const void *bytes, size_t size_bytes)
{
	if (c->bad || (size_t)(c->end - c->at) < size_bytes) {
		c->bad = true;
		return;
	}
	if (size_bytes)
		memcpy(c->at, bytes, size_bytes);
	c->at += size_bytes;
}

static inline void put_u8(struct put_cursor *c, uint8_t value)
{
	put_bytes(c, &value, 1);
}

static inline void put_u16(struct put_cursor *c, uint16_t value)
{
	value = htole16(value);
	put_bytes(c, &value, 2);
}

static inline void put_u32(struct put_cursor *c, uint32_t value)
{
	value = htole32(value);
	put_bytes(c, &value, 4);
}

static inline void put_u64(struct put_cursor *c, uint64_t value)
{
	value = htole64(value);
	put_bytes(c, &value, 8);
}

static inline void put_varint(struct put_cursor *c, uint64_t value)
{
	while (value >= 0x80) {
		put_u8(c, (uint8_t)(value | 0x80));
		value >>= 7;
	}
	put_u8(c, (uint8_t)value);
}

static inline size_t varint_size(uint64_t value)
{
	size_t size = 1;

	while (value >>= 7)
		size++;
	return size;
}

#endif
