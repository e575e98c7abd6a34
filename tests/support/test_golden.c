#include "test_golden.h"

#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>

static void unpack(const char *archive, const char *dir)
{
	pid_t child = fork();
	int status = 0;

	must(child >= 0, "cannot fork for", archive);
	if (!child) {
		execlp("tar", "tar", "-C", dir, "-xzf", archive, (char *)NULL);
		_exit(127);
	}
	must(waitpid(child, &status, 0) == child && !status, "cannot unpack", archive);
}

static void read_lsns(struct golden *golden, const char *path)
{
	FILE *file = fopen(path, "r");
	uint64_t lsn, digest;

	must(file != NULL, "cannot open", path);
	while (fscanf(file, "%" SCNu64 " %" SCNx64, &lsn, &digest) == 2) {
		must(golden->count < GOLDEN_LSNS_MAX, "too many LSNs in", path);
		golden->lsns[golden->count] = lsn_make(lsn);
		golden->digests[golden->count++] = digest;
	}
	must(feof(file) && golden->count, "cannot read", path);
	fclose(file);
}

struct golden *golden_new(const char *name)
{
	struct golden *golden = calloc(1, sizeof(*golden));
	char path[PATH_MAX];

	must(golden != NULL, "no memory for", name);
	/* In memory: the tests change and reopen it tens of thousands of times. */
	strcpy(golden->dir, "/dev/shm/varve-golden.XXXXXX");
	if (!mkdtemp(golden->dir))
		dir_make_temporary(golden->dir);
	snprintf(path, sizeof(path), VARVE_TESTS_DIR "/golden/%s.tar.gz", name);
	unpack(path, golden->dir);
	path_join(golden->store, golden->dir, "store");
	snprintf(path, sizeof(path), VARVE_TESTS_DIR "/golden/%s.lsns", name);
	read_lsns(golden, path);
	return golden;
}

void golden_free(struct golden *golden)
{
	if (!golden)
		return;
	dir_remove(golden->dir);
	free(golden);
}
