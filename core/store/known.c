#include "known.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "codec.h"
#include "engine_repair.h"
#include "io.h"

#define KNOWN_NAME "known"
#define KNOWN_NEW_NAME "known.new"
#define KNOWN_VERSION 1u
#define HEAD_BYTES 16u                  /* magic, version, count */
#define RECORD_BYTES 32u
#define KNOWN_LIMIT_BYTES (UINT64_C(1) << 30)

static const char known_magic[8] = { 'V', 'A', 'R', 'V', 'E', 'K', 'N', 'O' };

struct known {
	struct known_record {
		uint64_t layer_id, offset, size_bytes;
		uint32_t kind;
	} *records;
	uint32_t count, room;
};

static int add_record(struct known *known, const struct known_record *record)
{
	if (known->count == known->room) {
		uint32_t room = known->room ? 2 * known->room : 16;
		struct known_record *records = realloc(known->records, room * sizeof(*records));

		if (!records)
			return -ENOMEM;
		known->records = records;
		known->room = room;
	}
	known->records[known->count++] = *record;
	return 0;
}

static int decode(struct known *known, const uint8_t *bytes, size_t size_bytes)
{
	struct get_cursor c = get_cursor(bytes, size_bytes);
	const uint8_t *magic = get_bytes(&c, sizeof(known_magic));
	struct get_cursor sum;
	uint32_t count;
	int err = 0;

	if (!magic || memcmp(magic, known_magic, sizeof(known_magic)) != 0 ||
	    get_u32(&c) != KNOWN_VERSION)
		return 0;
	count = get_u32(&c);
	if (size_bytes != HEAD_BYTES + (uint64_t)count * RECORD_BYTES + 8)
		return 0;
	sum = get_cursor(bytes + size_bytes - 8, 8);
	if (get_u64(&sum) != checksum(bytes, size_bytes - 8, 0))
		return 0;
	for (uint32_t i = 0; i < count && !err; i++) {
		struct known_record record;

		record.layer_id = get_u64(&c);
		record.offset = get_u64(&c);
		record.size_bytes = get_u64(&c);
		record.kind = get_u32(&c);
		get_u32(&c);
		err = add_record(known, &record);
	}
	return err;
}

int known_load(int dir_fd, struct known **known_out)
{
	struct known *known = calloc(1, sizeof(*known));
	uint8_t *bytes = NULL;
	size_t size;
	int err;

	*known_out = NULL;
	if (!known)
		return -ENOMEM;
	err = io_slurp(dir_fd, DAMAGED_NAME "/" KNOWN_NAME, KNOWN_LIMIT_BYTES, &bytes, &size);
	if (!err)
		err = decode(known, bytes, size);
	free(bytes);
	if (err == -ENOMEM) {
		known_free(known);
		return err;
	}
	*known_out = known;
	return 0;
}

void known_free(struct known *known)
{
	if (!known)
		return;
	free(known->records);
	free(known);
}

bool known_has(const struct known *known, const struct finding *finding)
{
	for (uint32_t i = 0; known && finding->layer_id && i < known->count; i++) {
		const struct known_record *record = &known->records[i];

		if (record->layer_id == finding->layer_id && record->kind == finding->kind &&
		    record->offset == finding->offset && record->size_bytes == finding->size_bytes)
			return true;
	}
	return false;
}

int known_add(struct known *known, const struct finding *finding)
{
	struct known_record record = { finding->layer_id, finding->offset, finding->size_bytes,
				       finding->kind };

	return known_has(known, finding) ? 0 : add_record(known, &record);
}

int known_save(const struct known *known, int dir_fd)
{
	size_t size = HEAD_BYTES + (size_t)known->count * RECORD_BYTES + 8;
	uint8_t *bytes = malloc(size);
	struct put_cursor c = put_cursor(bytes, bytes ? size : 0);
	int damaged_fd = -1, fd = -1, err;

	if (!bytes)
		return -ENOMEM;
	put_bytes(&c, known_magic, sizeof(known_magic));
	put_u32(&c, KNOWN_VERSION);
	put_u32(&c, known->count);
	for (uint32_t i = 0; i < known->count; i++) {
		put_u64(&c, known->records[i].layer_id);
		put_u64(&c, known->records[i].offset);
		put_u64(&c, known->records[i].size_bytes);
		put_u32(&c, known->records[i].kind);
		put_u32(&c, 0);
	}
	put_u64(&c, checksum(bytes, size - 8, 0));
	err = io_open(dir_fd, DAMAGED_NAME, O_RDONLY | O_DIRECTORY, 0, &damaged_fd);
	if (!err)
		err = io_open(damaged_fd, KNOWN_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd);
	if (!err)
		err = io_write(fd, bytes, size, 0);
	if (!err)
		err = io_sync(fd);              /* the bytes before the name */
	if (!err)
		err = io_publish(damaged_fd, KNOWN_NEW_NAME, KNOWN_NAME);
	io_close(fd);
	io_close(damaged_fd);
	free(bytes);
	return err;
}
