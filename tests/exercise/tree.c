/*
 * Several processes change one directory tree; each knows what it must find.
 *
 * A process has a subtree of its own, and in the shared directories the names that begin
 * with its letter, which nobody else touches: so the outcome of each of its operations,
 * errors too, follows from its own model, whatever the others do beside it in the same
 * directories. On varve it notes LSNs, and what was its own then is compared with
 * /lsn/<n> later.
 *
 * Names in "contended" are everybody's. No outcome can be foretold there, but the sums hold
 * at the end: what was made less what was removed is there, a file's links are its names,
 * and a token that is passed from name to name is neither lost nor doubled.
 */
#include "exercise.h"
#include "tree_model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOTED 16
#define TOKENS 6
#define SLOTS 10

struct noted {
	uint64_t lsn;           /* 0: none yet */
	char *text;             /* what the subtree was */
};

struct worker {
	const struct options *options;
	unsigned number;
	uint64_t random;
	struct tree_model *model;
	struct noted noted[NOTED];
	uint64_t compared;
};

/* Counted over all processes: successes in "contended". */
static struct sums {
	atomic_int files, directories, links;
	atomic_ullong passed, compared;
} *sums;

static unsigned below(struct worker *worker, unsigned limit)
{
	return (unsigned)random_below(&worker->random, limit);
}

/* The call's outcome has to be the model's: 0 or an errno. */
static void expect(int result, int due, const char *what)
{
	int found = result < 0 ? errno : 0;

	if (found != due)
		die("%s: %s was due, not %s", what, due ? strerrorname_np(due) : "success",
		    found ? strerrorname_np(found) : "success");
}

/* ---- one's own names ---- */

static void write_content(const char *path, int flags, uint64_t tag, int due, const char *what)
{
	char content[CONTENT_MAX];
	size_t size = content_make(tag, content);
	int fd = open(path, O_WRONLY | flags, 0644);

	expect(fd, due, what);
	if (fd < 0)
		return;
	if (write(fd, content, size) != (ssize_t)size || close(fd))
		die("%s: write or close", what);
}

static void step_create(struct worker *worker, struct place place, const char *path)
{
	uint64_t tag = random_next(&worker->random) | 1;

	note("create %s", path);
	write_content(path, O_CREAT | O_EXCL, tag, model_create(worker->model, place, tag), "create");
}

static void step_rewrite(struct worker *worker, struct place place, const char *path)
{
	uint64_t tag = random_next(&worker->random) | 1;

	note("rewrite %s", path);
	write_content(path, O_TRUNC | O_NOFOLLOW, tag, model_rewrite(worker->model, place, tag), "rewrite");
}

static void step_mkdir(struct worker *worker, struct place place, const char *path)
{
	note("mkdir %s", path);
	expect(mkdir(path, 0755), model_mkdir(worker->model, place), "mkdir");
}

static void step_rmdir(struct worker *worker, struct place place, const char *path)
{
	note("rmdir %s", path);
	expect(rmdir(path), model_rmdir(worker->model, place), "rmdir");
}

static void step_unlink(struct worker *worker, struct place place, const char *path)
{
	note("unlink %s", path);
	expect(unlink(path), model_unlink(worker->model, place), "unlink");
}

static void step_symlink(struct worker *worker, struct place place, const char *path)
{
	uint64_t tag = random_next(&worker->random) | 1;
	char target[LINK_MAX_SIZE];

	link_target_make(tag, target);
	note("symlink %s", path);
	expect(symlink(target, path), model_symlink(worker->model, place, tag), "symlink");
}

static void step_link(struct worker *worker, struct place from, const char *path)
{
	struct place to = model_some_place(worker->model, &worker->random);
	char to_path[PATH_MAX];

	model_path(worker->model, to, to_path, sizeof(to_path));
	note("link %s %s", path, to_path);
	expect(linkat(AT_FDCWD, path, AT_FDCWD, to_path, 0), model_link(worker->model, from, to), "link");
}

static void step_rename(struct worker *worker, struct place from, const char *path)
{
	static const unsigned ways[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	struct place to = model_some_place(worker->model, &worker->random);
	unsigned flags = ways[below(worker, 4)];
	char to_path[PATH_MAX];

	model_path(worker->model, to, to_path, sizeof(to_path));
	note("rename %s %s, flags %u", path, to_path, flags);
	expect(renameat2(AT_FDCWD, path, AT_FDCWD, to_path, flags), model_rename(worker->model, from, to, flags),
	       "rename");
}

static void step_stat(struct worker *worker, struct place place, const char *path)
{
	struct stat found;
	mode_t type;
	nlink_t links;

	note("stat %s", path);
	expect(lstat(path, &found), model_stat(worker->model, place, &type, &links), "stat");
	if (type && ((found.st_mode & S_IFMT) != type || (type != S_IFDIR && found.st_nlink != links)))
		die("%s has mode %o and %ju links, not %o and %ju", path, found.st_mode, (uintmax_t)found.st_nlink,
		    type, (uintmax_t)links);
}

/* All that is one's own, in the tree below @root, as the model tells it. */
static void compare_all(struct worker *worker, const char *root, const char *wanted)
{
	char *found = tree_describe(root, worker->number);
	size_t at = 0;

	if (strcmp(found, wanted) != 0) {
		while (found[at] == wanted[at])
			at++;
		while (at && found[at - 1] != '\n')
			at--;
		errno = 0;
		die("%s: from the first difference on it is\n%.300s\nand not\n%.300s", root, found + at, wanted + at);
	}
	free(found);
}

static void step_compare(struct worker *worker)
{
	char *wanted = model_describe(worker->model);

	note("compare all");
	compare_all(worker, worker->options->dir, wanted);
	free(wanted);
}

static void step_note_lsn(struct worker *worker)
{
	struct noted *noted = &worker->noted[below(worker, NOTED)];

	free(noted->text);
	noted->text = model_describe(worker->model);
	noted->lsn = lsn_latest(worker->options);
	note("note LSN %" PRIu64, noted->lsn);
}

static void step_compare_lsn(struct worker *worker)
{
	const struct noted *noted = &worker->noted[below(worker, NOTED)];
	char root[PATH_MAX];

	if (!noted->lsn)
		return;
	note("compare LSN %" PRIu64, noted->lsn);
	lsn_path(worker->options, noted->lsn, root, sizeof(root));
	compare_all(worker, root, noted->text);
	worker->compared++;
}

/* ---- everybody's names ---- */

/* Did the call succeed? It may have come too late, which is @late and nothing else. */
static bool won(int result, int late, const char *what)
{
	expect(result, result < 0 ? late : 0, what);
	return result >= 0;
}

static void step_contended(struct worker *worker)
{
	char one[PATH_MAX], two[PATH_MAX];
	const char *dir = worker->options->dir;
	unsigned name = below(worker, 5), way = below(worker, 6);

	snprintf(one, sizeof(one), "%s/contended/%c%u", dir, "fdl"[way / 2], name);
	snprintf(two, sizeof(two), "%s/contended/anchor", dir);
	note("contended %u %s", way, one);
	switch (way) {
	case 0: {
		int fd = open(one, O_CREAT | O_EXCL | O_WRONLY, 0644);

		sums->files += (int)won(fd, EEXIST, "contended creat");
		if (fd >= 0)
			close(fd);
		break;
	}
	case 1: sums->files -= (int)won(unlink(one), ENOENT, "contended unlink"); break;
	case 2: sums->directories += (int)won(mkdir(one, 0755), EEXIST, "contended mkdir"); break;
	case 3: sums->directories -= (int)won(rmdir(one), ENOENT, "contended rmdir"); break;
	case 4: sums->links += (int)won(link(two, one), EEXIST, "contended link"); break;
	default: sums->links -= (int)won(unlink(one), ENOENT, "contended unlink of a link");
	}
}

static void step_pass_token(struct worker *worker)
{
	unsigned from = below(worker, SLOTS), to = below(worker, SLOTS);
	bool exchange = below(worker, 3) == 0;
	char one[PATH_MAX], two[PATH_MAX];

	if (from == to)
		return;
	snprintf(one, sizeof(one), "%s/contended/slot%u", worker->options->dir, from);
	snprintf(two, sizeof(two), "%s/contended/%sslot%u", worker->options->dir, to % 2 ? "odd/" : "", to);
	if (from % 2)
		snprintf(one, sizeof(one), "%s/contended/odd/slot%u", worker->options->dir, from);
	note("pass %s %s", one, two);
	if (renameat2(AT_FDCWD, one, AT_FDCWD, two, exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE) == 0)
		sums->passed++;
	else if (errno != ENOENT && (exchange || errno != EEXIST))
		die("a token's rename");
}

static void contended_make(const struct options *options)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/contended", options->dir);
	if (mkdir(path, 0755))
		die("mkdir %s", path);
	snprintf(path, sizeof(path), "%s/contended/odd", options->dir);
	if (mkdir(path, 0755))
		die("mkdir %s", path);
	snprintf(path, sizeof(path), "%s/contended/anchor", options->dir);
	write_content(path, O_CREAT | O_EXCL, 1, 0, "anchor");
	for (unsigned i = 0; i < TOKENS; i++) {
		snprintf(path, sizeof(path), "%s/contended/%sslot%u", options->dir, i % 2 ? "odd/" : "", i);
		write_content(path, O_CREAT | O_EXCL, 1000 + i, 0, "token");
	}
}

/* Count the names of "contended" and below by their kind, and the tokens by their content. */
static void contended_count(const char *dir, int *files, int *directories, int *links, unsigned *tokens)
{
	DIR *stream = opendir(dir);
	const struct dirent *entry;

	if (!stream)
		die("%s can't be listed", dir);
	while ((entry = readdir(stream))) {
		char path[PATH_MAX + NAME_MAX];
		uint64_t tag = 0;

		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		*files += entry->d_name[0] == 'f';
		*directories += entry->d_name[0] == 'd';
		*links += entry->d_name[0] == 'l';
		if (strncmp(entry->d_name, "slot", 4) == 0) {
			if (!content_read(path, &tag) || tag < 1000 || tag >= 1000 + TOKENS || *tokens & 1u << (tag - 1000))
				die("%s holds no token, or one that is elsewhere too", path);
			*tokens |= 1u << (tag - 1000);
		}
	}
	closedir(stream);
}

static void contended_check(const struct options *options)
{
	int files = 0, directories = 0, links = 0;
	unsigned tokens = 0;
	struct stat anchor;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/contended", options->dir);
	contended_count(path, &files, &directories, &links, &tokens);
	snprintf(path, sizeof(path), "%s/contended/odd", options->dir);
	contended_count(path, &files, &directories, &links, &tokens);
	snprintf(path, sizeof(path), "%s/contended/anchor", options->dir);
	if (stat(path, &anchor))
		die("%s", path);
	errno = 0;
	if (files != sums->files || directories != sums->directories || links != sums->links)
		die("%d files, %d directories, %d links are there, not %d, %d, %d", files, directories, links,
		    sums->files, sums->directories, sums->links);
	if (anchor.st_nlink != (nlink_t)links + 1)
		die("the anchor has %ju links for %d names", (uintmax_t)anchor.st_nlink, links + 1);
	if (tokens != (1u << TOKENS) - 1)
		die("tokens were lost: %x are there", tokens);
}

/* ---- the run ---- */

static void step_own(struct worker *worker)
{
	static void (*const making[])(struct worker *, struct place, const char *) = {
		step_create, step_create, step_mkdir, step_mkdir, step_symlink, step_link,
	};
	static void (*const others[])(struct worker *, struct place, const char *) = {
		step_rewrite, step_rmdir, step_unlink, step_rename, step_rename, step_rename, step_stat, step_stat,
	};
	struct place place = model_some_place(worker->model, &worker->random);
	char path[PATH_MAX];

	model_path(worker->model, place, path, sizeof(path));
	if (below(worker, 5) < 2 && !model_is_full(worker->model))
		making[below(worker, sizeof(making) / sizeof(making[0]))](worker, place, path);
	else
		others[below(worker, sizeof(others) / sizeof(others[0]))](worker, place, path);
}

static void step(struct worker *worker)
{
	unsigned chosen = below(worker, 400);

	if (chosen < 4) {
		step_compare(worker);
	} else if (chosen < 10) {
		if (worker->options->mount)
			chosen < 7 ? step_note_lsn(worker) : step_compare_lsn(worker);
	} else if (chosen < 50) {
		step_contended(worker);
	} else if (chosen < 80) {
		step_pass_token(worker);
	} else {
		step_own(worker);
	}
}

static void work(const struct options *options, unsigned number)
{
	struct worker worker = {.options = options, .number = number, .random = options->seed + number};

	worker.model = model_new(options->dir, number);
	for (uint64_t i = 0; i < options->ops; i++)
		step(&worker);
	step_compare(&worker);
	for (unsigned i = 0; options->mount && i < NOTED; i++)
		step_compare_lsn(&worker);
	sums->compared += worker.compared;
	for (unsigned i = 0; i < NOTED; i++)
		free(worker.noted[i].text);
	model_free(worker.model);
}

int main(int argc, char **argv)
{
	struct options options;
	int status, failed = 0;

	options_parse(&options, argc, argv);
	sums = mmap(NULL, sizeof(*sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sums == MAP_FAILED)
		die("out of memory");
	tree_make(options.dir, options.processes);
	contended_make(&options);
	for (unsigned i = 0; i < options.processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			work(&options, i);
			exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= !WIFEXITED(status) || WEXITSTATUS(status);
	if (failed)
		return 1;
	contended_check(&options);
	printf("%u processes of %" PRIu64 " operations, %llu comparisons at an LSN, %llu tokens passed: "
	       "all as remembered\n", options.processes, options.ops, sums->compared, sums->passed);
	return 0;
}
