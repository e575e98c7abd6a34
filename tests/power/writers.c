/*
 * Several writers: threads change one tree at once, sync it and freeze its layers, on a
 * simulated disk, which is then cut at each of its writes, syncs and marks.
 *
 * Each writer has a directory to itself, so it knows what each of its changes did and, from
 * the attributes, which LSN it got; the order of all is known only afterwards. Then the
 * changes of all writers are made once more on the plain tree, in the order of their LSNs:
 * that is the history which every cut is held against (support/cut_check.h), so what is
 * there after a cut is the state at one LSN over all writers, not below any LSN that a sync
 * of any of them had returned.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include "cut_check.h"
#include "load_tree.h"
#include "rcu_at_once.h"

#define WRITERS LOAD_DIRS       /* the first has the root */
#define CHANGES_MAX 64u
#define WRITE_MAX 40000u        /* the larger ones are written by a system call */

enum change_kind { CHANGE_CREATE, CHANGE_WRITE, CHANGE_CUT, CHANGE_CHMOD, CHANGE_UNLINK, CHANGE_RENAME, CHANGES };

struct change {
	uint64_t lsn;
	enum change_kind kind;
	unsigned dir, name, to;
	struct tree_attr attr;          /* of what was created; else what was set */
	size_t offset, size_bytes;
	uint64_t seed;                  /* of the bytes written */
};

struct writer {
	struct load *load;
	pthread_t thread;
	struct prng prng;
	unsigned dir;
	uint64_t dir_ino;
	struct {
		bool taken;             /* by a directory: left alone */
		uint64_t ino;           /* 0: no such name */
		size_t size_bytes;
	} names[LOAD_NAMES];
	struct change changes[CHANGES_MAX];
	unsigned count, wanted, syncs;
};

/* ---- writing ---- */

static void name_text(unsigned name, char text[2])
{
	text[0] = (char)('a' + name);
	text[1] = '\0';
}

static uint64_t changed_at(struct writer *writer, uint64_t ino)
{
	struct tree_attr attr;

	require(!tree_getattr(writer->load->store, ino, LSN_HEAD, &attr));
	return attr.changed.value;
}

/* What became of @name, one of those it is possible for. False: nothing, it is not. */
static bool change_make(struct writer *writer, struct change *change)
{
	struct store *store = writer->load->store;
	struct tree_new what = { .mode = S_IFREG | 0640, .uid = 5, .gid = 6 };
	char name[2], to[2];
	uint64_t ino = writer->names[change->name].ino;
	static _Thread_local uint8_t bytes[WRITE_MAX];
	struct tree_attr attr;

	name_text(change->name, name);
	name_text(change->to, to);
	if (writer->names[change->name].taken || writer->names[change->to].taken ||
	    (change->kind == CHANGE_CREATE) == (ino != 0))
		return false;
	switch (change->kind) {
	case CHANGE_CREATE:
		require(!tree_create(store, writer->dir_ino, name, &what, &change->attr));
		ino = writer->names[change->name].ino = change->attr.ino;
		writer->names[change->name].size_bytes = 0;
		break;
	case CHANGE_WRITE:
		change->offset = prng_below(&writer->prng, writer->names[change->name].size_bytes + 100);
		change->size_bytes = 1 + prng_below(&writer->prng, prng_below(&writer->prng, 12) ? 3000 : WRITE_MAX - 1);
		if (change->offset + change->size_bytes > LOAD_CONTENT_MAX)
			return false;
		change->seed = prng_next(&writer->prng);
		seed_fill(change->seed, bytes, change->size_bytes);
		require(!tree_write(store, ino, change->offset, bytes, change->size_bytes, false));
		if (change->offset + change->size_bytes > writer->names[change->name].size_bytes)
			writer->names[change->name].size_bytes = change->offset + change->size_bytes;
		break;
	case CHANGE_CUT:
		change->size_bytes = prng_below(&writer->prng, writer->names[change->name].size_bytes + 1);
		if (change->size_bytes == writer->names[change->name].size_bytes)
			return false;
		change->attr.size_bytes = writer->names[change->name].size_bytes = change->size_bytes;
		require(!tree_setattr(store, ino, TREE_SET_SIZE, &change->attr, &attr));
		break;
	case CHANGE_CHMOD:
		change->attr.mode = 0400 | (uint32_t)prng_below(&writer->prng, 0400);
		require(!tree_setattr(store, ino, TREE_SET_MODE, &change->attr, &attr));
		break;
	case CHANGE_UNLINK:
		require(!tree_unlink(store, writer->dir_ino, name));
		writer->names[change->name].ino = 0;
		ino = writer->dir_ino;
		break;
	default:
		if (change->to == change->name)
			return false;
		require(!tree_rename(store, writer->dir_ino, name, writer->dir_ino, to, 0));
		writer->names[change->to] = writer->names[change->name];
		writer->names[change->name].ino = 0;
		ino = writer->dir_ino;
		break;
	}
	change->lsn = changed_at(writer, ino);
	return true;
}

static void sync_or_freeze(struct writer *writer)
{
	struct lsn lsn;

	if (prng_below(&writer->prng, 40) == 0) {
		require(!store_freeze(writer->load->store));
		return;
	}
	require(!store_sync(writer->load->store, &lsn));
	/* What this writer was told is done is on disk. */
	require(!writer->count || lsn.value >= writer->changes[writer->count - 1].lsn);
	sim_disk_mark(writer->load->disk, LOAD_SYNCED, lsn.value);
	writer->syncs++;
}

static void *writer_main(void *context)
{
	static const enum change_kind usual[] = {
		CHANGE_CREATE, CHANGE_CREATE, CHANGE_WRITE, CHANGE_WRITE, CHANGE_WRITE, CHANGE_WRITE,
		CHANGE_WRITE, CHANGE_CUT, CHANGE_CHMOD, CHANGE_UNLINK, CHANGE_RENAME, CHANGE_RENAME,
	};
	struct writer *writer = context;

	while (writer->count < writer->wanted) {
		struct change *change = &writer->changes[writer->count];

		*change = (struct change){
			.kind = usual[prng_below(&writer->prng, array_size(usual))],
			.dir = writer->dir,
			.name = (unsigned)prng_below(&writer->prng, LOAD_NAMES),
			.to = (unsigned)prng_below(&writer->prng, LOAD_NAMES),
		};
		if (!change_make(writer, change))
			continue;
		require(!writer->count || change->lsn > change[-1].lsn);
		sim_disk_mark(writer->load->disk, LOAD_CHANGED, change->lsn);
		writer->count++;
		if (prng_below(&writer->prng, 6) == 0)
			sync_or_freeze(writer);
		sched_yield();
	}
	return NULL;
}

/* ---- what they did, in one order ---- */

static int by_lsn(const void *a, const void *b)
{
	const struct change *const *one = a, *const *other = b;

	return (*one)->lsn < (*other)->lsn ? -1 : (*one)->lsn > (*other)->lsn;
}

static void change_repeat(struct load_tree *tree, const struct change *change)
{
	int *number = &tree->names[change->dir][change->name], *to = &tree->names[change->dir][change->to];
	static uint8_t bytes[WRITE_MAX];

	switch (change->kind) {
	case CHANGE_CREATE:
		load_tree_add(tree, change->dir, change->name, &change->attr, 0, load_content_new("", 0));
		break;
	case CHANGE_WRITE:
		seed_fill(change->seed, bytes, change->size_bytes);
		load_tree_write(&tree->nodes[*number], change->offset, bytes, change->size_bytes);
		break;
	case CHANGE_CUT:
		load_tree_resize(&tree->nodes[*number], change->size_bytes);
		break;
	case CHANGE_CHMOD:
		tree->nodes[*number].attr.mode = S_IFREG | change->attr.mode;
		break;
	case CHANGE_UNLINK:
		load_tree_remove(tree, change->dir, change->name);
		break;
	default:
		if (*to >= 0)
			load_tree_remove(tree, change->dir, change->to);
		*to = *number;
		*number = -1;
		break;
	}
}

/* Returns how often the history goes on with another writer's change. */
static unsigned build_history(struct load *load, const struct writer *writers)
{
	const struct change *all[WRITERS * CHANGES_MAX];
	unsigned count = 0, turns = 0;

	for (unsigned w = 0; w < WRITERS; w++)
		for (unsigned i = 0; i < writers[w].count; i++)
			all[count++] = &writers[w].changes[i];
	qsort(all, count, sizeof(all[0]), by_lsn);
	for (unsigned i = 0; i < count; i++) {
		change_repeat(load->tree, all[i]);
		load_note(load, all[i]->lsn);
		turns += i && all[i]->dir != all[i - 1]->dir;
	}
	return turns;
}

/* ---- workloads ---- */

static void take_names(struct writer *writer, const struct load_tree *tree)
{
	writer->dir_ino = load_dir_ino(tree, writer->dir);
	for (unsigned name = 0; name < LOAD_NAMES; name++)
		writer->names[name].taken = tree->names[writer->dir][name] >= 0;
}

struct size {
	unsigned workloads, changes;
	uint32_t subsets_max;
};

static struct size size_of_run(void)
{
	const char *name = getenv("VARVE_TEST_SIZE");

	if (name && strcmp(name, "fast") == 0)
		return (struct size){ 2, 12, 6 };
	if (name && strcmp(name, "long") == 0)
		return (struct size){ 40, 40, 24 };
	return (struct size){ 8, 24, 8 };
}

static unsigned a_workload(struct prng *prng, const struct size *size, struct cut_counts *counts,
			   unsigned *syncs)
{
	struct sim_disk *disk = sim_disk_new(NULL);
	uint64_t seed = prng_next(prng);
	struct load *load = load_new(disk, seed);
	struct writer *writers = calloc(WRITERS, sizeof(*writers));
	struct cut_walk walk = { .disk = disk, .history = &load->history,
				 .subsets_max = size->subsets_max };
	unsigned turns;

	require(writers);
	cut_place = (struct cut_place){ .what = "several writers", .seed = seed };
	require(!load_make(load));
	for (unsigned dir = 1; dir < WRITERS; dir++)
		require(!load_do(load, LOAD_MKDIR));
	for (unsigned w = 0; w < WRITERS; w++) {
		writers[w].load = load;
		writers[w].prng.state = seed + w + 1;
		writers[w].dir = w;
		writers[w].wanted = size->changes;
		take_names(&writers[w], load->tree);
	}
	for (unsigned w = 0; w < WRITERS; w++)
		require(!pthread_create(&writers[w].thread, NULL, writer_main, &writers[w]));
	for (unsigned w = 0; w < WRITERS; w++) {
		require(!pthread_join(writers[w].thread, NULL));
		*syncs += writers[w].syncs;
	}
	turns = build_history(load, writers);
	require(!load_close(load));
	cut_walk(&walk, prng, counts);
	load_free(load);
	sim_disk_free(disk);
	free(writers);
	return turns;
}

static void several_writers_survive_every_cut(void **state)
{
	struct size size = size_of_run();
	struct prng prng = { test_seed() };
	struct cut_counts counts = { 0 };
	unsigned turns = 0, syncs = 0, changes = size.workloads * size.changes * WRITERS;

	(void)state;
	for (unsigned i = 0; i < size.workloads; i++)
		turns += a_workload(&prng, &size, &counts, &syncs);
	print_message("%u changes by %u writers, another's behind one's in %u places, %u syncs\n",
		      changes, WRITERS, turns, syncs);
	print_message("%" PRIu64 " cut points (%" PRIu64 " with 8 different images or more, %" PRIu64
		      " with all there are, which is fewer), %" PRIu64 " images, %" PRIu64
		      " distinct, %" PRIu64 " LSNs compared, %" PRIu64 " second cuts, %" PRIu64 " stores checked\n",
		      counts.cut_points, counts.wide_points, counts.narrow_points, counts.images,
		      counts.distinct, counts.lsns, counts.second_cuts, counts.checked);
	assert_true(turns > changes / 20);
	assert_true(counts.wide_points > changes / 4);
	assert_true(counts.checked > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_writers_survive_every_cut),
	};

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
	cut_place_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
