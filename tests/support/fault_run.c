#include "fault_run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "io.h"
#include "load_tree.h"
#include "manifest.h"

/* Every operation on a tree, and each background step more than once. */
static const enum load_op script[] = {
	LOAD_CREATE, LOAD_APPEND, LOAD_CREATE, LOAD_BATCH, LOAD_MKDIR, LOAD_SYNC, LOAD_RENAME,
	LOAD_OVERWRITE, LOAD_FREEZE, LOAD_APPEND, LOAD_LINK, LOAD_SYNC, LOAD_CUT, LOAD_REOPEN,
	LOAD_APPEND, LOAD_SYMLINK, LOAD_COPY, LOAD_FREEZE, LOAD_PUNCH, LOAD_EXCHANGE, LOAD_UNLINK,
	LOAD_CREATE, LOAD_OVERWRITE, LOAD_GROW, LOAD_RESERVE, LOAD_SYNC, LOAD_CHMOD, LOAD_XATTR, LOAD_ZERO,
	LOAD_REOPEN, LOAD_BATCH, LOAD_COPY, LOAD_PUNCH, LOAD_CUT_ALL, LOAD_RMDIR, LOAD_MKDIR, LOAD_RMDIR,
	LOAD_FREEZE, LOAD_SYNC,
};

/* The same where merges are eager (power_load.h): merges, also some under way while the store is opened
 * again, and history that is dropped. */
static const enum load_op merging_script[] = {
	LOAD_CREATE, LOAD_BATCH, LOAD_CREATE, LOAD_APPEND, LOAD_SYNC, LOAD_FREEZE, LOAD_OVERWRITE,
	LOAD_UNLINK, LOAD_CREATE, LOAD_FREEZE, LOAD_BATCH, LOAD_PUNCH, LOAD_COMPACT, LOAD_PIN, LOAD_APPEND,
	LOAD_COPY, LOAD_WINDOW, LOAD_FREEZE, LOAD_CUT, LOAD_COLLECT, LOAD_OVERWRITE, LOAD_FREEZE, LOAD_REOPEN,
	LOAD_APPEND, LOAD_PUNCH, LOAD_COMPACT, LOAD_COLLECT, LOAD_SYNC,
};

struct run {
	const struct fault_source *source;
	struct sim_disk *disk;
	struct load *load;
	struct fault_counts *counts;
	bool made;
	bool sync_failed;               /* since the store was opened */
	unsigned done[LOAD_OPS];
};

static void check_closed(struct sim_disk *disk)
{
	struct sim_usage usage = sim_disk_usage(disk);

	require(!usage.open_files && !usage.mappings && !usage.locks);
}

/* What is there is what was acknowledged, no more and no less. */
static void check_head(struct load *load)
{
	uint64_t digest;

	sim_disk_busy += 1;
	require(!load_store_digest(load->store, LSN_HEAD, &digest));
	sim_disk_busy -= 1;
	require(digest == load_tree_digest(load->tree));
}

static void do_one(struct run *run, enum load_op op)
{
	int err = 1;

	/* Drawn again where what was drawn is not possible. */
	for (unsigned i = 0; err > 0 && i < 16; i++)
		err = load_do(run->load, op);
	if (err > 0)
		return;
	if (err) {
		run->counts->ops_failed++;
	} else {
		/* Nobody is told success of a change after a failed sync. Reopening ends that. */
		require(!run->sync_failed || op == LOAD_REOPEN || op == LOAD_PIN);
		run->counts->ops_done++;
		run->done[op]++;
	}
	if (run->sync_failed)
		run->counts->syncs_refused++;
	if (op == LOAD_REOPEN)
		run->sync_failed = false;
	else if (op == LOAD_SYNC && err)
		run->sync_failed = true;
	if (run->load->store)
		check_head(run->load);
}

/* 0: there is a store, open; else mkfs failed, or the open behind it. */
static int make(struct run *run)
{
	int err = load_make(run->load);

	if (!err) {
		run->made = true;
		return 0;
	}
	run->counts->ops_failed++;
	run->counts->faults += run->source->disarm(run->source->context, run->disk);
	check_closed(run->disk);
	/* It can be made again, or is made already. */
	err = load_make(run->load);
	if (err == -EEXIST)
		err = load_open(run->load);
	require(!err);
	return 1;
}

struct listing {
	const struct manifest *manifest;
	unsigned layers, others;
};

static int note_layer(void *context, const char *name)
{
	struct listing *listing = context;
	uint64_t layer_id;

	require(!layer_name_parse(name, &layer_id));
	require(manifest_names(listing->manifest, layer_id));
	listing->layers++;
	return 0;
}

static int note_other(void *context, const char *name)
{
	struct listing *listing = context;

	require(!strcmp(name, "manifest") || !strcmp(name, "layers") || !strcmp(name, "lock"));
	listing->others++;
	return 0;
}

/* The files there are, are those that the manifest names. The store is closed. */
static void check_files(void)
{
	struct report report = { "" };
	struct manifest manifest;
	struct listing listing = { &manifest, 0, 0 };
	int dir_fd;

	require(!io_open(AT_FDCWD, LOAD_PATH, O_RDONLY | O_DIRECTORY, 0, &dir_fd));
	require(!manifest_open(&manifest, dir_fd, false, &report));
	require(!io_list(dir_fd, ".", note_other, &listing));
	require(!io_list(dir_fd, "layers", note_layer, &listing));
	require(listing.others == 3 && listing.layers == manifest_layer_count(&manifest) + manifest.open_count);
	manifest_close(&manifest);
	io_close(dir_fd);
}

/* Without faults: everything acknowledged is there. */
static void check_after(struct run *run, struct prng *prng)
{
	struct load *load = run->load;
	struct cut_expect expect = { &load->history, load->synced, true, load->limit, UINT64_MAX };
	struct sim_replay *replay = sim_replay_new(run->disk);
	struct cut_subset kept[] = { { .kind = CUT_NONE }, { .kind = CUT_NONE } };

	/* The power goes instead of the process. */
	while (sim_replay_step(replay))
		;
	kept[1] = cut_random(replay, prng);
	for (unsigned i = 0; i < array_size(kept); i++)
		cut_check(cut_make(replay, &kept[i]), &expect, prng, CUT_SOME_MORE, &run->counts->cuts);
	sim_replay_free(replay);
	sim_disk_use(run->disk);
	require(!load_open(load));
	check_head(load);
	/* What a fault kept from being merged goes on. */
	if (load_merges_eagerly() && prng_below(prng, 2))
		require(!load_do(load, LOAD_COMPACT));
	for (size_t i = 0; i < load->history.count; i++)
		load_check_lsn(load->store, load->history.states[i].lsn, &load->history.states[i]);
	require(load_do(load, LOAD_APPEND) >= 0 && load_do(load, LOAD_CREATE) >= 0);
	require(!load_do(load, LOAD_SYNC));
	require(!load_do(load, LOAD_FREEZE));
	require(!load_close(load));
	check_closed(run->disk);
	check_files();
}

static void do_all(struct run *run, const enum load_op *ops, size_t count)
{
	for (size_t i = 0; i < count && run->load->store; i++)
		do_one(run, ops[i]);
}

/* Met by no fault, all of them were possible: none is left out because there was nothing to do it to. */
static void check_done(const struct run *run, const enum load_op *ops, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!run->done[ops[i]])
			print_error("%s was never done\n", load_op_names[ops[i]]);
		require(run->done[ops[i]]);
	}
	for (unsigned op = 0; op < LOAD_TREE_OPS && ops == script; op++)
		require(run->done[op]);
}

static bool is_writable(struct store *store)
{
	struct store_usage usage;

	store_usage_get(store, &usage);
	return !usage.read_only;
}

uint64_t fault_run(const struct fault_source *source, const char *what, uint64_t number,
		   struct prng *prng, struct fault_counts *counts)
{
	struct run run = { .source = source, .disk = sim_disk_new(NULL), .counts = counts };
	const enum load_op *ops = load_merges_eagerly() ? merging_script : script;
	size_t count = load_merges_eagerly() ? array_size(merging_script) : array_size(script);
	uint64_t before = counts->faults;
	bool whole;

	cut_place = (struct cut_place){ .what = what, .seed = number };
	/* Nobody waits for ever. */
	alarm(120);
	run.load = load_new(run.disk, 5);
	source->arm(source->context, run.disk);
	if (!make(&run)) {
		do_all(&run, ops, count);
		whole = run.load->store && is_writable(run.load->store);
		if (run.load->store)
			(void)load_close(run.load);
		counts->faults += source->disarm(source->context, run.disk);
		if (counts->faults == before)
			check_done(&run, ops, count);
		check_closed(run.disk);
		/* What failed has taken its files away. */
		if (whole && source->removes) {
			check_files();
			counts->tidy++;
		}
		check_after(&run, prng);
	}
	load_free(run.load);
	sim_disk_free(run.disk);
	sim_disk_use(NULL);
	counts->runs++;
	alarm(0);
	return counts->faults - before;
}
