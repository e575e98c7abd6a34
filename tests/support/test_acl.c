#include "test_acl.h"

#include "codec.h"
#include "test_support.h"

static uint16_t tag_of(char letter, bool named)
{
	switch (letter) {
	case 'u':
		return named ? 0x02 : 0x01;
	case 'g':
		return named ? 0x08 : 0x04;
	case 'm':
		return 0x10;
	default:
		return 0x20;
	}
}

size_t test_acl_make(const char *text, uint8_t bytes_out[TEST_ACL_BYTES])
{
	struct put_cursor c = put_cursor(bytes_out, TEST_ACL_BYTES);

	put_u32(&c, 2);
	while (*text) {
		char letter = *text++;
		bool named = *text != ':';
		char *end;
		uint32_t id = named ? (uint32_t)strtoul(text, &end, 10) : UINT32_MAX;

		text = named ? end : text;
		put_u16(&c, tag_of(letter, named));
		put_u16(&c, (uint16_t)strtoul(text + 1, &end, 8));
		put_u32(&c, id);
		text = end + (*end == ' ');
	}
	assert_false(c.bad);
	return (size_t)(c.at - bytes_out);
}

void assert_acl(const uint8_t *bytes, size_t size_bytes, const char *text)
{
	uint8_t expected[TEST_ACL_BYTES];

	assert_int_equal(size_bytes, test_acl_make(text, expected));
	assert_memory_equal(bytes, expected, size_bytes);
}
