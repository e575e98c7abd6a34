/*
 * Manifest: records of any fields, chained by the target, with a tail of any bytes.
 * What opens has one run at most for each key and moment; appended to and opened again it says the
 * same and one thing more; rewritten too.
 */
#include <fcntl.h>
#include <unistd.h>

#include "manifest.h"

#include "checksum.h"
#include "fuzz.h"

#define FILE_MAX 65536u

static int dir_fd = -1;

static char dir[] = "/dev/shm/varve-fuzz.XXXXXX";

static void remove_dir(void)
{
	dir_remove(dir);
}

static void make_dir_once(void)
{
	if (dir_fd >= 0)
		return;
	fuzz_prepare();
	must(mkdtemp(dir) != NULL, "mkdtemp", dir);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir_fd >= 0, "cannot open", dir);
	atexit(remove_dir);
}

static size_t put_header(uint8_t *out, uint8_t how)
{
	struct put_cursor c = put_cursor(out, 64);

	memset(out, 0, 64);
	put_bytes(&c, "VARVEMAN", 8);
	put_u32(&c, how == 1 ? MANIFEST_FORMAT_VERSION + 1 : how == 4 ? 1 : MANIFEST_FORMAT_VERSION);
	put_u32(&c, how == 2 ? 4095 : 4096);
	put_bytes(&c, "a store's number", 16);
	put_u64(&c, 0);
	put_u8(&c, how == 5 ? COMPRESSION_ZSTD + 1 : how & 3);
	c = put_cursor(out + 56, 8);
	put_u64(&c, checksum(out, 56, 0) + (how == 3));
	return 64;
}

/* Small numbers, a byte each, so that records of one input often speak of the same things. */
static uint64_t get_small(struct get_cursor *in)
{
	uint8_t byte = get_u8(in);

	return byte == 255 ? UINT64_MAX : byte;
}

static void put_small_key(struct put_cursor *c, struct get_cursor *in)
{
	uint64_t ino = get_small(in);

	put_u64(c, ino);
	put_u64(c, ino == UINT64_MAX ? ino : ino ? 5 : 0);
}

static void put_layers(struct put_cursor *c, struct get_cursor *in, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		put_u64(c, get_small(in));              /* id */
		put_u8(c, 1 + (get_u8(in) & 1));        /* kind */
		put_u8(c, get_u8(in) & 3);              /* ending */
		put_u32(c, get_u8(in));                 /* number */
		put_u64(c, 0);
		put_small_key(c, in);
		put_small_key(c, in);
		put_u64(c, get_small(in));
		put_u64(c, get_small(in));
		for (unsigned j = 0; j < 6; j++)
			put_u64(c, i);
	}
}

static void put_piece(struct put_cursor *c, struct get_cursor *in)
{
	uint8_t inputs, layers;

	put_u64(c, get_small(in));
	put_u32(c, get_u8(in));
	put_u64(c, get_small(in));
	put_u64(c, get_small(in));
	put_small_key(c, in);
	put_u8(c, get_u8(in));
	inputs = get_u8(in) & 7;
	layers = get_u8(in) & 7;
	put_u16(c, inputs);
	put_u16(c, layers);
	for (unsigned i = 0; i < inputs; i++)
		put_u64(c, get_small(in));
	put_layers(c, in, layers);
}

static void put_run(struct put_cursor *c, struct get_cursor *in)
{
	uint8_t layers;

	put_u64(c, get_small(in));
	put_u32(c, get_u8(in));
	put_u64(c, get_small(in));
	put_u64(c, get_small(in));
	put_small_key(c, in);
	put_u64(c, get_small(in));
	layers = get_u8(in) & 7;
	put_u32(c, layers);
	put_layers(c, in, layers);
}

static void put_fields(struct put_cursor *c, struct get_cursor *in, uint8_t type)
{
	static const uint8_t words[] = { 0, 1, 5, 1, 1, 0, 2, 1, 0, 1, 0, 1 };

	if (type == 5) {
		put_piece(c, in);
	} else if (type == 10) {
		put_run(c, in);
	} else if (type == 8) {
		uint8_t size = get_u8(in) & 15;
		const uint8_t *name;

		put_u64(c, get_small(in));
		put_u8(c, size);
		name = get_bytes(in, size);
		if (name)
			put_bytes(c, name, size);
	} else if (type < sizeof(words)) {
		for (unsigned i = 0; i < words[type]; i++)
			put_u64(c, get_small(in));
	}
}

/*
 * [how the header is][records: type, what it speaks of; type with the top bit set: size and bytes as they come]
 * [after a type of 0 or 255: the tail, as it comes].
 */
static size_t make_file(const uint8_t *data, size_t size_bytes, uint8_t *out)
{
	struct get_cursor in = get_cursor(data, size_bytes);
	size_t at = put_header(out, get_u8(&in));
	uint64_t chain = checksum("a store's number", 16, 0);

	while (!in.bad && at < FILE_MAX - 2048) {
		uint8_t type = get_u8(&in);
		struct put_cursor c = put_cursor(out + at + 4, 2040), size_at = put_cursor(out + at, 4);
		uint32_t size;

		if (type == 0 || type == 255)
			break;
		put_u8(&c, type & 0x7f);
		if (type & 0x80) {
			uint8_t count = get_u8(&in);
			const uint8_t *fields = get_bytes(&in, count);

			if (fields)
				put_bytes(&c, fields, count);
		} else {
			put_fields(&c, &in, type);
		}
		size = (uint32_t)(c.at - (out + at)) + 8;
		put_u32(&size_at, size);
		chain = checksum(out + at, size - 8u, chain);
		put_u64(&c, chain);
		at += size;
	}
	while (!in.bad && in.at < in.end && at < FILE_MAX)
		out[at++] = get_u8(&in);
	return at;
}

/* The runs that hold @ino: of each moment one at most. */
static void check_key(const struct manifest *manifest, uint64_t ino)
{
	struct key key = { ino, 5 };
	struct lsn end = { 0 };

	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		const struct table_summary *layers = manifest_run_layers(run);
		bool output = false;

		for (uint32_t j = 0; j < manifest->run_count; j++)
			output |= manifest->runs[j].into == run->run_id &&
				  key_compare(key, manifest->runs[j].from) >= 0;
		for (uint32_t j = 0; j < run->layer_count; j++)
			require(!output || key_compare(layers[j].last_key, key) < 0);
		if (output || key_compare(key, run->from) < 0)
			continue;
		require(run->start.value >= end.value);
		end = run->end;
	}
}

static void check_state(const struct manifest *manifest)
{
	for (uint32_t i = 1; i < manifest->open_count; i++)
		require(manifest->open_ids[i] > manifest->open_ids[i - 1]);
	for (uint32_t i = 1; i < manifest->tag_count; i++)
		require(strcmp(manifest->tags[i].name, manifest->tags[i - 1].name) > 0);
	for (uint64_t ino = 0; ino < 256; ino += 5)
		check_key(manifest, ino);
}

static void write_file(const uint8_t *bytes, size_t size_bytes)
{
	int fd = openat(dir_fd, MANIFEST_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, bytes, size_bytes) == (ssize_t)size_bytes, "cannot write", "manifest");
	close(fd);
}

static void same_run(const struct manifest_run *a, const struct manifest_run *b)
{
	const struct table_summary *left = manifest_run_layers(a), *right = manifest_run_layers(b);

	require(a->run_id == b->run_id && a->level == b->level && a->start.value == b->start.value &&
		a->end.value == b->end.value && key_equal(a->from, b->from) && a->into == b->into &&
		a->lost == b->lost && a->chain_end == b->chain_end && a->layer_count == b->layer_count);
	for (uint32_t i = 0; i < a->layer_count; i++)
		require(left[i].layer_id == right[i].layer_id && key_equal(left[i].last_key, right[i].last_key));
}

static void same_state(const struct manifest *a, const struct manifest *b)
{
	require(a->run_count == b->run_count && a->open_count == b->open_count && a->tag_count == b->tag_count);
	require(a->window_ns == b->window_ns && a->window_bytes == b->window_bytes);
	require(a->oldest.value == b->oldest.value && a->id_next == b->id_next);
	for (uint32_t i = 0; i < a->run_count; i++)
		same_run(&a->runs[i], &b->runs[i]);
	for (uint32_t i = 0; i < a->open_count; i++)
		require(a->open_ids[i] == b->open_ids[i]);
	for (uint32_t i = 0; i < a->tag_count; i++)
		require(!strcmp(a->tags[i].name, b->tags[i].name) && a->tags[i].lsn.value == b->tags[i].lsn.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	static uint8_t bytes[FILE_MAX];
	struct report report = { "" };
	struct manifest manifest, again;
	int err;

	make_dir_once();
	write_file(bytes, make_file(data, size_bytes, bytes));
	err = manifest_open(&manifest, dir_fd, true, &report);
	if (err) {
		require(report.text[0] && !manifest.runs);
		require(err == -EUCLEAN || err == -EPROTONOSUPPORT || err == -EMEDIUMTYPE);
		return 0;
	}
	check_state(&manifest);
	err = manifest_tidy(&manifest);
	require(err == 0);
	err = manifest_durable(&manifest, lsn_make(LSN_LIMIT - 1));
	require(err == 0);
	err = manifest_open(&again, dir_fd, false, &report);
	require(err == 0 && !again.torn && again.durable.value >= LSN_LIMIT - 1);
	same_state(&manifest, &again);
	manifest_close(&again);
	err = manifest_replace(&manifest);
	require(err == 0);
	err = manifest_open(&again, dir_fd, false, &report);
	require(err == 0 && !again.torn);
	same_state(&manifest, &again);
	manifest_close(&manifest);
	manifest_close(&again);
	return 0;
}
