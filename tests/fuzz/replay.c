/*
 * Run a fuzz target without libFuzzer: replay_NAME runs the files of its folder in
 * fuzz/fixtures (one finding each, once fixed), then random inputs. Given paths, it
 * runs those files.
 */
#include <dirent.h>
#include <inttypes.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_BYTES_MAX 1024u

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	static uint8_t bytes[1 << 20];
	uint8_t *copy;
	size_t size;

	must(file != NULL, "cannot open", path);
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	printf("%s\n", path);
	fflush(stdout);
	/* Of its own size, so that a read beyond it is seen. */
	copy = malloc(size ? size : 1);
	must(copy != NULL, "no memory for", path);
	memcpy(copy, bytes, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static unsigned run_fixtures(const char *dir)
{
	struct path_list *list;
	unsigned count;

	if (access(dir, F_OK))
		return 0;
	list = path_list_new(dir);
	count = (unsigned)list->count;
	for (size_t i = 0; i < list->count; i++) {
		char path[PATH_MAX];

		path_join(path, dir, list->items[i].path);
		run_file(path);
	}
	free(list);
	return count;
}

static void run_random(uint64_t count)
{
	struct prng prng = { test_seed() };

	for (uint64_t i = 0; i < count; i++) {
		size_t size = prng_below(&prng, prng_below(&prng, INPUT_BYTES_MAX) + 1);
		uint8_t *bytes = malloc(size ? size : 1);

		must(bytes != NULL, "no memory for", "an input");
		prng_fill(&prng, bytes, size);
		/* Small numbers, for counts and sizes that make sense. */
		for (size_t b = 0; b < size; b++)
			if (prng_below(&prng, 2))
				bytes[b] &= 7;
		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
	}
}

int main(int argc, char **argv)
{
	uint64_t count = test_count("VARVE_FUZZ_RANDOM", 300);
	unsigned fixtures;

	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc > 1)
		return 0;
	fixtures = run_fixtures(VARVE_TESTS_DIR "/fuzz/fixtures/" FUZZ_TARGET);
	run_random(count);
	printf("%u fixtures, %" PRIu64 " random inputs\n", fixtures, count);
	return 0;
}
