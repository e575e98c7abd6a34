/*
 * Manifest: records of any fields, chained by the target, with a tail of any bytes.
 * What opens lists its layers in order; appended to and opened again it says the
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
	put_u32(&c, how == 1 ? 2 : MANIFEST_FORMAT_VERSION);
	put_u32(&c, how == 2 ? 4095 : 4096);
	put_bytes(&c, "a store's number", 16);
	c = put_cursor(out + 56, 8);
	put_u64(&c, checksum(out, 56, 0) + (how == 3));
	return 64;
}

/*
 * [how the header is][records: type, size, u8 id, fields as they come][after a type
 * of 0 or 255: the tail, as it comes].
 */
static size_t make_file(const uint8_t *data, size_t size_bytes, uint8_t *out)
{
	struct get_cursor in = get_cursor(data, size_bytes);
	size_t at = put_header(out, get_u8(&in));
	uint64_t chain = checksum("a store's number", 16, 0);

	while (!in.bad && at < FILE_MAX - 512) {
		uint8_t type = get_u8(&in), size = get_u8(&in), id = get_u8(&in);
		struct put_cursor c = put_cursor(out + at, 512);
		static const uint8_t usual[] = { 0, 21, 53, 21, 21 };
		const uint8_t *fields;

		if (type == 0 || type == 255)
			break;
		if (size < 13)
			size = type < sizeof(usual) ? usual[type] : 21;
		fields = get_bytes(&in, size - 4u - 1 - 8 - (size >= 14));
		if (!fields)
			break;
		put_u32(&c, size);
		put_u8(&c, type);
		if (size >= 14)
			put_u8(&c, id);
		put_bytes(&c, fields, size - 4u - 1 - 8 - (size >= 14));
		chain = checksum(out + at, size - 8u, chain);
		put_u64(&c, chain);
		at += size;
	}
	while (!in.bad && in.at < in.end && at < FILE_MAX)
		out[at++] = get_u8(&in);
	return at;
}

static void check_order(const struct manifest *manifest)
{
	for (uint32_t i = 1; i < manifest->layer_count; i++)
		require(manifest->layers[i].layer_id > manifest->layers[i - 1].layer_id);
}

static void write_file(const uint8_t *bytes, size_t size_bytes)
{
	int fd = openat(dir_fd, MANIFEST_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, bytes, size_bytes) == (ssize_t)size_bytes, "cannot write", "manifest");
	close(fd);
}

static void same_layers(const struct manifest *a, const struct manifest *b)
{
	require(a->layer_count == b->layer_count);
	for (uint32_t i = 0; i < a->layer_count; i++) {
		require(a->layers[i].layer_id == b->layers[i].layer_id);
		require(a->layers[i].sealed == b->layers[i].sealed);
		require(!a->layers[i].sealed || (a->layers[i].end.value == b->layers[i].end.value &&
						 a->layers[i].chain_end == b->layers[i].chain_end));
	}
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
		require(report.text[0] && !manifest.layers);
		require(err == -EUCLEAN || err == -EPROTONOSUPPORT || err == -EMEDIUMTYPE);
		return 0;
	}
	check_order(&manifest);
	err = manifest_tidy(&manifest);
	require(err == 0);
	err = manifest_durable(&manifest, lsn_make(LSN_LIMIT - 1));
	require(err == 0);
	err = manifest_open(&again, dir_fd, false, &report);
	require(err == 0 && !again.torn && again.durable.value >= LSN_LIMIT - 1);
	same_layers(&manifest, &again);
	manifest_close(&manifest);
	manifest_close(&again);
	return 0;
}
