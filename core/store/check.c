#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_check.h"
#include "engine_repair.h"
#include "known.h"
#include "tree_check.h"

#define SAMPLES_STANDARD 4u
/* Findings of single versions wait until the tree has told the names of their files; what is
 * more than so many is handed out without. */
#define WAITING_MAX 4096u
/* How far a key's versions are followed to learn when a damaged one was replaced. */
#define NARROW_STEPS_MAX 100000u

struct check {
	const struct store_check_options *options;
	struct store_check_result *result;
	struct store *store;            /* its engine is NULL while only files are looked at */
	struct known *known;            /* NULL: nothing was set aside */
	struct check_hooks hooks;       /* what the parts are given; leads here */
	struct finding *waiting;        /* of versions; by inode number once the tree is walked */
	uint32_t waiting_count, waiting_room;
	bool repaired;                  /* this is the look after a repair */
};

static void hand_out(struct check *check, struct finding *finding)
{
	finding->known |= known_has(check->known, finding);
	if (finding->known)
		check->result->known_count++;
	else
		check->result->finding_count++;
	/* After a repair only what is left is news. */
	if (finding->known && check->repaired)
		return;
	if (check->options->hooks.found)
		check->options->hooks.found(check->options->hooks.context, finding);
}

static bool wait_for_path(struct check *check, const struct finding *finding)
{
	if (finding->kind != FINDING_VERSION || check->waiting_count == WAITING_MAX)
		return false;
	if (check->waiting_count == check->waiting_room) {
		uint32_t room = check->waiting_room ? 2 * check->waiting_room : 16;
		struct finding *waiting = realloc(check->waiting, room * sizeof(*waiting));

		if (!waiting)
			return false;
		check->waiting = waiting;
		check->waiting_room = room;
	}
	check->waiting[check->waiting_count++] = *finding;
	return true;
}

static void take_finding(void *context, const struct finding *finding)
{
	struct check *check = context;
	struct finding copy = *finding;

	if (!wait_for_path(check, &copy))
		hand_out(check, &copy);
}

static bool take_progress(void *context, uint64_t bytes)
{
	struct check *check = context;
	const struct check_hooks *hooks = &check->options->hooks;

	return !hooks->progress || hooks->progress(hooks->context, bytes);
}

static void check_init(struct check *check, const struct store_check_options *options,
		       struct store *store, struct store_check_result *result)
{
	memset(result, 0, sizeof(*result));
	*check = (struct check){ .options = options, .result = result, .store = store };
	check->hooks = (struct check_hooks){ take_finding, take_progress, check };
}

/* ---- what a damaged version harms ---- */

/* A damaged version shows from its LSN on, until one that stands alone takes its place. */
static void narrow(struct check *check, struct finding *finding)
{
	struct layer_guard guard;
	struct version version;
	struct lsn at;
	int err;

	at = engine_guard_take(check->store->engine, &guard);
	for (unsigned i = 0; i < NARROW_STEPS_MAX; i++) {
		err = engine_find(&guard, finding->key, at, &version);
		if (err || version.lsn.value <= finding->from.value)
			break;
		if (version.weight == 0)
			finding->until = version.lsn;
		at = lsn_make(version.lsn.value - 1);
	}
	layer_guard_drop(&guard);
}

static int compare_inos(const void *a, const void *b)
{
	uint64_t x = ((const struct finding *)a)->key.ino, y = ((const struct finding *)b)->key.ino;

	return x < y ? -1 : x > y;
}

/* A name that the walk of the tree met: does a finding wait for it? */
static void take_name(void *context, uint64_t dir, const char *name, uint64_t ino)
{
	struct check *check = context;
	struct finding wanted = { .key = { ino, 0 } };
	struct finding *waiting = bsearch(&wanted, check->waiting, check->waiting_count,
					  sizeof(wanted), compare_inos);
	char path[sizeof(wanted.path)];
	size_t length;

	if (!waiting || waiting->path[0] ||
	    !tree_path(check->store, engine_newest(check->store->engine), dir, path, sizeof(path)))
		return;
	while (waiting > check->waiting && waiting[-1].key.ino == ino)
		waiting--;
	length = strlen(path);
	if (length + strlen(name) + 2 > sizeof(path))
		return;
	snprintf(path + length, sizeof(path) - length, "/%.255s", name);
	for (; waiting < check->waiting + check->waiting_count && waiting->key.ino == ino; waiting++)
		memcpy(waiting->path, path, sizeof(path));
}

static void hand_out_waiting(struct check *check)
{
	for (uint32_t i = 0; i < check->waiting_count; i++) {
		if (check->store->engine)
			narrow(check, &check->waiting[i]);
		hand_out(check, &check->waiting[i]);
	}
	check->waiting_count = 0;
}

/* ---- the tree ---- */

/* The tree at an LSN of the past, which stays while it is looked at. One that is gone by now is none
 * to be checked. */
static int check_past_tree(struct check *check, struct lsn at)
{
	uint64_t inode_count;
	int err = store_pin(check->store, at);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = tree_check(check->store, at, &check->hooks, NULL, NULL, &inode_count);
	store_unpin(check->store, at);
	check->result->state_count += !err;
	return err;
}

static int check_trees(struct check *check)
{
	struct store_check_result *result = check->result;
	unsigned samples = check->options->sample_count ? check->options->sample_count
							: SAMPLES_STANDARD;
	uint64_t span;
	int err;

	do {
		store_window(check->store, &result->oldest, &result->newest);
		if (!result->newest.value)      /* nothing was ever written */
			return 0;
		/* With a small window and fast writers it may be gone again. */
		err = store_pin(check->store, result->newest);
	} while (err == -ENOENT);
	if (err)
		return err;
	if (check->waiting_count)
		qsort(check->waiting, check->waiting_count, sizeof(*check->waiting), compare_inos);
	err = tree_check(check->store, result->newest, &check->hooks,
			 check->waiting_count ? take_name : NULL, check, &result->inode_count);
	store_unpin(check->store, result->newest);
	if (err)
		return err;
	result->state_count = 1;
	span = result->newest.value - result->oldest.value;
	for (unsigned i = 0; i < samples && span && !err; i++) {
		/* In 128 bits: the product may not fit 64. */
		uint64_t at = (uint64_t)((unsigned __int128)span * i / samples);

		err = check_past_tree(check, lsn_make(result->oldest.value + at));
	}
	return err;
}

static void take_files_result(struct check *check, const struct engine_check_result *files)
{
	check->result->layer_count = files->layer_count;
	check->result->version_count = files->version_count;
	check->result->newest = files->end;
}

/* ---- nobody has it open ---- */

/* A store that can't be opened is one finding, unless what keeps it from it was found. */
static int open_to_look(struct check *check)
{
	const struct store_options options = { .read_only = true };
	struct report report = { "" };
	struct finding finding = { .kind = FINDING_FILE };
	int err = store_start(check->store, &options, &report);

	if (!err || err == -ENOMEM)
		return err;
	if (!check->result->finding_count && !check->waiting_count)
		check_found(&check->hooks, &finding, "the store does not open: %s", report.text);
	return 1;
}

static int check_once(struct check *check)
{
	struct engine_check_result files;
	int err;

	if (check->options->begin)
		check->options->begin(check->options->hooks.context,
				      engine_check_bytes(check->store->dir_fd));
	err = known_load(check->store->dir_fd, &check->known);
	if (!err)
		err = engine_check(check->store->dir_fd, !check->options->keep_cache,
				   &check->hooks, &files);
	if (!err) {
		take_files_result(check, &files);
		err = open_to_look(check);
	}
	if (!err)
		err = check_trees(check);
	hand_out_waiting(check);
	store_stop(check->store);
	known_free(check->known);
	free(check->waiting);
	return err < 0 ? err : 0;
}

/* ---- repair ---- */

static void take_step(void *context, const char *text)
{
	struct check *check = context;

	check->result->mended_count++;
	if (check->options->mended)
		check->options->mended(check->options->hooks.context, text);
}

struct remember {
	struct known *known;
	uint64_t count;
	int err;
};

/* What no repair can mend, and what harms nothing that can be read, is known from now on. */
static void remember_finding(void *context, const struct finding *finding)
{
	struct remember *remember = context;
	bool harmless = finding->kind == FINDING_LOG && !finding->until.value;

	if (!finding->layer_id || !(finding->kind == FINDING_VERSION || harmless) ||
	    known_has(remember->known, finding))
		return;
	remember->count++;
	if (known_add(remember->known, finding))
		remember->err = -ENOMEM;
}

static int remember_rest(struct check *check, int dir_fd)
{
	struct remember remember = { NULL, 0, 0 };
	const struct check_hooks hooks = { remember_finding, NULL, &remember };
	struct engine_check_result files;
	char text[120];
	int err = known_load(dir_fd, &remember.known);

	if (!err)
		err = engine_check(dir_fd, false, &hooks, &files);
	if (!err)
		err = remember.err;
	if (!err && remember.count) {
		err = known_save(remember.known, dir_fd);
		snprintf(text, sizeof(text), "%llu faults that can't be mended were noted in '"
			 DAMAGED_NAME "/known'", (unsigned long long)remember.count);
		if (!err)
			take_step(check, text);
	}
	known_free(remember.known);
	return err;
}

static int repair_once(struct check *check)
{
	const struct repair_hooks hooks = { take_step, check };
	int dir_fd = check->store->dir_fd;
	int err = engine_repair(dir_fd, &hooks);

	return err && err != -EUCLEAN ? err : remember_rest(check, dir_fd);
}

/* Open directory and lock. A store without a manifest is one all the same here. */
static int take_store(struct store *store, const char *path, bool repair, struct report *report)
{
	int err = store_open_dir(store, path, report);

	if ((err == -EUCLEAN || err == -EMEDIUMTYPE) && store->path &&
	    engine_check_bytes(store->dir_fd))
		err = 0;
	if (!err)
		err = store_lock(store, repair ? "varve check --repair" : "varve check", report);
	/* What can't be written to nobody writes to. */
	return err == -EROFS && !repair ? 0 : err;
}

/* Mend, and see what is left. The engine was closed; a store takes a new one. */
static int repair_and_look(struct check *check)
{
	uint64_t mended_count;
	int err = repair_once(check);

	if (err)
		return err;
	mended_count = check->result->mended_count;
	check_init(check, check->options, check->store, check->result);
	check->repaired = true;
	err = check_once(check);
	check->result->mended_count = mended_count;
	return err;
}

int store_check(const char *path, const struct store_check_options *options,
		struct report *report, struct store_check_result *result_out)
{
	struct store *store = store_new(options->name_hash_bits);
	struct check check;
	int err;

	memset(result_out, 0, sizeof(*result_out));
	if (!store)
		return report_set(report, -ENOMEM, "%s: not enough memory", path);
	err = take_store(store, path, options->repair, report);
	if (!err) {
		check_init(&check, options, store, result_out);
		err = check_once(&check);
		/* What is known may be mended by now: a layer that was lost is there again. */
		if (!err && options->repair && (result_out->finding_count || result_out->known_count))
			err = repair_and_look(&check);
		if (err)
			report_set(report, err, "%s: the check could not be run to its end: %s",
				   path, strerror(-err));
	}
	store_free(store);
	return err;
}

int store_check_running(struct store *store, const struct store_check_options *options,
			struct store_check_result *result_out)
{
	struct engine_check_result files;
	struct check check;
	int err;

	check_init(&check, options, store, result_out);
	if (options->begin)
		options->begin(options->hooks.context, engine_check_bytes(store->dir_fd));
	err = known_load(store->dir_fd, &check.known);
	if (!err)
		err = engine_check_running(store->engine, &check.hooks, &files);
	if (!err) {
		take_files_result(&check, &files);
		err = check_trees(&check);
	}
	hand_out_waiting(&check);
	known_free(check.known);
	free(check.waiting);
	return err;
}
