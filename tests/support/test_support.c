#include "test_support.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#if TEST_TSAN
/* ThreadSanitizer sees liburcu's memory but not its barriers. Only what liburcu
 * itself allocates and frees is excused, not the callbacks it runs for us. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:liburcu-bp.so\ncalled_from_lib:liburcu-common.so\n";
}
#endif

/* ---- failing ---- */

void check_err(int err, int expected, const char *call, const char *file, int line)
{
	if (err == expected)
		return;
	print_error("%s:%d: %s\n\treturned %d (%s), expected %d (%s)\n", file, line, call, err,
		    err < 0 ? strerrorname_np(-err) : "outcome", expected,
		    expected < 0 ? strerrorname_np(-expected) : "outcome");
	_fail(file, line);
}

_Noreturn void require_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	abort();
}

void must(bool condition, const char *what, const char *path)
{
	if (!condition)
		fail_msg("%s %s: %s", what, path, strerror(errno));
}

/* ---- randomness ---- */

uint64_t test_count(const char *name, uint64_t standard)
{
	const char *text = getenv(name);
	char *end = NULL;
	uint64_t value;

	if (!text || !*text)
		return standard;
	value = strtoull(text, &end, 0);
	if (*end)
		fail_msg("%s=%s is not a number", name, text);
	return value;
}

uint64_t test_seed(void)
{
	static uint64_t seed;
	struct timespec now;

	if (seed)
		return seed;
	clock_gettime(CLOCK_REALTIME, &now);
	seed = test_count("VARVE_TEST_SEED", (uint64_t)now.tv_sec * 1000000007 + now.tv_nsec);
	print_message("VARVE_TEST_SEED=%" PRIu64 "\n", seed);
	return seed;
}

uint64_t prng_next(struct prng *prng)
{
	uint64_t z = prng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
	return prng_next(prng) % bound;
}

void prng_fill(struct prng *prng, void *buffer, size_t size_bytes)
{
	uint8_t *out = buffer;

	while (size_bytes) {
		uint64_t word = prng_next(prng);
		size_t count = size_bytes < sizeof(word) ? size_bytes : sizeof(word);

		memcpy(out, &word, count);
		out += count;
		size_bytes -= count;
	}
}

void seed_fill(uint64_t seed, void *buffer, size_t size_bytes)
{
	struct prng prng = { seed };

	if (seed == SEED_ZEROS)
		memset(buffer, 0, size_bytes);
	else
		prng_fill(&prng, buffer, size_bytes);
}

/* ---- digests ---- */

uint64_t digest_add(uint64_t digest, const void *bytes, size_t size_bytes)
{
	return XXH3_64bits_withSeed(bytes, size_bytes, digest);
}

/* ---- directories ---- */

void dir_make_temporary(char path_out[PATH_MAX])
{
	const char *base = getenv("TMPDIR");

	snprintf(path_out, PATH_MAX, "%s/varve-test.XXXXXX", base && *base ? base : "/tmp");
	must(mkdtemp(path_out), "mkdtemp", path_out);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void dir_remove(const char *path)
{
	must(!nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), "cannot remove", path);
}

static void copy_range(int from, int to, off_t start, off_t end, const char *path)
{
	static char buffer[1 << 20];

	while (start < end) {
		size_t want = (size_t)(end - start) < sizeof(buffer) ? (size_t)(end - start)
								     : sizeof(buffer);
		ssize_t count = pread(from, buffer, want, start);

		must(count > 0, "cannot read", path);
		must(pwrite(to, buffer, count, start) == count, "cannot write the copy of", path);
		start += count;
	}
}

/* False if the file went away meanwhile. */
static bool copy_file(const char *from_path, const char *to_path)
{
	int from = open(from_path, O_RDONLY | O_CLOEXEC), to;
	struct stat st;
	off_t data = 0;

	if (from < 0 && errno == ENOENT)
		return false;
	to = open(to_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(from >= 0 && !fstat(from, &st), "cannot open", from_path);
	must(to >= 0 && !ftruncate(to, st.st_size), "cannot make", to_path);
	while ((data = lseek(from, data, SEEK_DATA)) >= 0 && data < st.st_size) {
		off_t hole = lseek(from, data, SEEK_HOLE);

		copy_range(from, to, data, hole, from_path);
		data = hole;
	}
	close(from);
	close(to);
	return true;
}

static struct path_list *walk_list;
static size_t walk_prefix;

static int walk_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct path_item *item = &walk_list->items[walk_list->count];

	(void)ftw;
	if (!path[walk_prefix])
		return 0;
	if (walk_list->count == array_size(walk_list->items) ||
	    strlen(path + walk_prefix + 1) >= sizeof(item->path)) {
		errno = EOVERFLOW;
		return -1;
	}
	strcpy(item->path, path + walk_prefix + 1);
	item->kind = type == FTW_D ? 'd' : 'f';
	item->size_bytes = st->st_size;
	walk_list->count++;
	return 0;
}

static int path_compare(const void *a, const void *b)
{
	const struct path_item *x = a, *y = b;

	return x->kind != y->kind ? x->kind - y->kind : strcmp(x->path, y->path);
}

struct path_list *path_list_new(const char *dir)
{
	walk_list = calloc(1, sizeof(*walk_list));
	walk_prefix = strlen(dir);
	must(walk_list && !nftw(dir, walk_one, 16, FTW_PHYS), "cannot walk", dir);
	qsort(walk_list->items, walk_list->count, sizeof(walk_list->items[0]), path_compare);
	return walk_list;
}

void path_join(char out[PATH_MAX], const char *dir, const char *name)
{
	int length = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	must(length > 0 && length < PATH_MAX, "path too long:", dir);
}

/* What tells a directory that rests from one being worked on. */
static uint64_t dir_listing_digest(const char *path)
{
	struct path_list *list = path_list_new(path);
	uint64_t digest = DIGEST_START;
	char file[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < list->count; i++) {
		path_join(file, path, list->items[i].path);
		memset(&st, 0, sizeof(st));
		if (stat(file, &st))
			must(errno == ENOENT, "cannot stat", file);
		digest = digest_add(digest, list->items[i].path, strlen(list->items[i].path) + 1);
		digest = digest_add(digest, &st.st_size, sizeof(st.st_size));
		digest = digest_add(digest, &st.st_mtim, sizeof(st.st_mtim));
	}
	free(list);
	return digest;
}

static bool dir_copy_once(const char *from, const char *to)
{
	uint64_t before = dir_listing_digest(from);
	struct path_list *list = path_list_new(from);
	char source[PATH_MAX], target[PATH_MAX];
	bool whole = true;

	must(!mkdir(to, 0700), "cannot make", to);
	for (size_t i = 0; whole && i < list->count; i++) {
		path_join(source, from, list->items[i].path);
		path_join(target, to, list->items[i].path);
		if (list->items[i].kind == 'd')
			must(!mkdir(target, 0700), "cannot make", target);
		else
			whole = copy_file(source, target);
	}
	free(list);
	return whole && dir_listing_digest(from) == before;
}

void dir_copy(const char *from, const char *to)
{
	/* A background freeze may be under way: a kill leaves one moment, not two. */
	for (unsigned attempt = 0; !dir_copy_once(from, to); attempt++) {
		if (attempt == 100)
			fail_msg("%s never rests", from);
		dir_remove(to);
		usleep(10000);
	}
}

static uint64_t file_digest(uint64_t hash, const char *path)
{
	static char buffer[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count;

	must(fd >= 0, "cannot open", path);
	while ((count = read(fd, buffer, sizeof(buffer))) > 0)
		hash = digest_add(hash, buffer, count);
	must(!count, "cannot read", path);
	close(fd);
	return hash;
}

uint64_t dir_digest(const char *path)
{
	struct path_list *list = path_list_new(path);
	uint64_t hash = DIGEST_START;
	char file[PATH_MAX];

	for (size_t i = 0; i < list->count; i++) {
		hash = digest_add(hash, list->items[i].path, strlen(list->items[i].path) + 1);
		path_join(file, path, list->items[i].path);
		if (list->items[i].kind == 'f')
			hash = file_digest(hash, file);
	}
	free(list);
	return hash;
}

static bool file_find_bytes(const char *path, const void *bytes, size_t size_bytes,
			    off_t *offset_out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	must(fd >= 0 && !fstat(fd, &st), "cannot open", path);
	uint8_t *map = st.st_size ? mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
	must(map != MAP_FAILED, "cannot map", path);
	uint8_t *hit = map ? memmem(map, st.st_size, bytes, size_bytes) : NULL;
	*offset_out = hit ? hit - map : 0;
	if (map)
		munmap(map, st.st_size);
	close(fd);
	return hit != NULL;
}

bool dir_find_bytes(const char *dir, const void *bytes, size_t size_bytes,
		    char path_out[PATH_MAX], off_t *offset_out)
{
	struct path_list *list = path_list_new(dir);
	bool found = false;

	for (size_t i = 0; i < list->count && !found; i++) {
		path_join(path_out, dir, list->items[i].path);
		if (list->items[i].kind == 'f')
			found = file_find_bytes(path_out, bytes, size_bytes, offset_out);
	}
	free(list);
	return found;
}

void file_overwrite(const char *path, off_t offset, const void *bytes, size_t size_bytes)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	must(fd >= 0 && pwrite(fd, bytes, size_bytes, offset) == (ssize_t)size_bytes,
	     "cannot write", path);
	close(fd);
}

uint64_t test_resident_bytes(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];
	bool found = false;

	must(status != NULL, "open", "/proc/self/status");
	while (!found && fgets(line, sizeof(line), status))
		found = sscanf(line, "RssAnon: %llu kB", &kib) == 1;
	fclose(status);
	must(found, "find RssAnon in", "/proc/self/status");
	return kib * 1024;
}
