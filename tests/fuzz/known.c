/*
 * What is known to be damaged: any bytes are a list of it or none, and a list, written again, is the
 * same. The first byte says whether what it begins with, its count and its checksum are made right.
 */
#include "known.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "checksum.h"
#include "fuzz.h"
#include "io.h"
#include "mem_disk.h"

#define NAME "/store/damaged/known"
#define HEAD_BYTES 16u
#define RECORD_BYTES 32u
#define MAKE_RIGHT 1u

static struct mem_disk *disk;

static void free_disk(void)
{
	mem_disk_use(NULL);
	mem_disk_free(disk);
}

static void prepare(void)
{
	char dir[PATH_MAX], path[PATH_MAX];
	FILE *file;

	fuzz_prepare();
	dir_make_temporary(dir);
	path_join(path, dir, "damaged");
	must(mkdir(path, 0700) == 0, "cannot make", path);
	path_join(path, dir, "damaged/known");
	file = fopen(path, "w");
	must(file && !fclose(file), "cannot make", path);
	disk = mem_disk_new(dir, "/store");
	dir_remove(dir);
	mem_disk_use(disk);
	mem_disk_save(disk);
	atexit(free_disk);
}

/* Its size is that of whole records. */
static size_t make_right(uint8_t *bytes, size_t size)
{
	uint32_t count = size > HEAD_BYTES ? (uint32_t)(size - HEAD_BYTES) / RECORD_BYTES : 0;
	struct put_cursor c = put_cursor(bytes, HEAD_BYTES);

	put_bytes(&c, "VARVEKNO", 8);
	put_u32(&c, 1);
	put_u32(&c, count);
	size = HEAD_BYTES + (size_t)count * RECORD_BYTES;
	for (uint32_t i = 0; i < count; i++)
		memset(bytes + HEAD_BYTES + i * RECORD_BYTES + 28, 0, 4);
	c = put_cursor(bytes + size, 8);
	put_u64(&c, checksum(bytes, size, 0));
	return size + 8;
}

static struct finding record_at(const uint8_t *bytes, uint32_t i)
{
	struct get_cursor c = get_cursor(bytes + HEAD_BYTES + i * RECORD_BYTES, RECORD_BYTES);
	struct finding finding = { .layer_id = get_u64(&c) };

	finding.offset = get_u64(&c);
	finding.size_bytes = get_u64(&c);
	finding.kind = (enum finding_kind)get_u32(&c);
	return finding;
}

/* It knows of what is written, and what it knows is written as it was. */
static void compare(struct known *known, int dir_fd, const uint8_t *bytes, size_t size)
{
	uint32_t count = (uint32_t)(size - HEAD_BYTES - 8) / RECORD_BYTES;
	uint8_t *again = malloc(size);

	require(again != NULL);
	for (uint32_t i = 0; i < count; i++) {
		struct finding finding = record_at(bytes, i), other = finding;

		other.layer_id = 0;
		require(known_has(known, &finding) == (finding.layer_id != 0));
		require(!known_has(known, &other));
		require(!finding.layer_id || known_add(known, &finding) == 0);
	}
	require(known_save(known, dir_fd) == 0);
	require(mem_disk_size(disk, NAME) == size);
	mem_disk_get(disk, NAME, again, size);
	require(!memcmp(again, bytes, size));
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	bool right = size_bytes && data[0] & MAKE_RIGHT;
	size_t size = size_bytes ? size_bytes - 1 : 0;
	uint8_t *bytes = calloc(1, size + HEAD_BYTES + 8);
	struct known *known;
	int dir_fd;

	require(bytes != NULL);
	if (!disk)
		prepare();
	memcpy(bytes, data + !!size_bytes, size);
	if (right)
		size = make_right(bytes, size);
	mem_disk_resize(disk, NAME, size);
	mem_disk_put(disk, NAME, bytes, size);
	must(!io_open(AT_FDCWD, "/store", O_RDONLY | O_DIRECTORY, 0, &dir_fd), "cannot open", "/store");
	require(known_load(dir_fd, &known) == 0 && known);
	if (right)
		compare(known, dir_fd, bytes, size);
	else
		require(known_save(known, dir_fd) == 0);
	known_free(known);
	io_close(dir_fd);
	mem_disk_restore(disk);
	free(bytes);
	return 0;
}
