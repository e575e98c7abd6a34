#include "cut_check.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#include "batch.h"
#include "check.h"
#include "manifest.h"

/* ---- which cut ---- */

struct cut_place cut_place;

static const char *const kind_names[] = {
	"none", "all", "one alone", "all but one", "those before one", "one torn, its head",
	"one torn, its tail", "some", "some sectors", "these sectors",
};

static void say_place(int number)
{
	dprintf(STDERR_FILENO, "%s, seed %" PRIu64 ", cut at event %" PRIu64
		", kept: %s (write %u, sectors %u, seed %" PRIu64 ")\n", cut_place.what,
		cut_place.seed, cut_place.position, kind_names[cut_place.subset.kind],
		cut_place.subset.write, cut_place.subset.sectors, cut_place.subset.seed);
	dprintf(STDERR_FILENO, "the last open reported: %s\n", load_said);
	signal(number, SIG_DFL);
	raise(number);
}

void cut_place_install(void)
{
	/* Asserts of cmocka become aborts too: one way out. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	signal(SIGABRT, say_place);
}

/* ---- images ---- */

static uint64_t mixed(uint64_t seed, uint64_t a, uint64_t b)
{
	struct prng prng = { seed ^ a * UINT64_C(0x9e3779b97f4a7c15) ^ b << 40 };

	return prng_next(&prng);
}

/* The sectors of the first @writes, up to @limit; a size or a name counts as one, what is
 * written to inode @aside not at all. */
static uint32_t pending_width(const struct sim_replay *replay, uint32_t writes, uint32_t aside,
			      uint32_t limit)
{
	uint32_t width = 0;

	for (uint32_t i = 0; i < writes && width < limit; i++) {
		const struct sim_write *write = replay->pending[i];

		if (write->inode != aside)
			width += write->kind == SIM_WRITE_DATA ? sim_write_sector_count(write) : 1;
	}
	return width < limit ? width : limit;
}

struct keep {
	const struct sim_replay *replay;
	struct cut_subset subset;
};

static bool keep(void *context, uint32_t write, uint32_t sector)
{
	const struct keep *cut = context;
	const struct cut_subset *subset = &cut->subset;

	switch (subset->kind) {
	case CUT_NONE:
		return false;
	case CUT_ALL:
		return true;
	case CUT_ONE:
		return write == subset->write;
	case CUT_BUT:
		return write != subset->write;
	case CUT_BEFORE:
		return write < subset->write;
	case CUT_TORN_HEAD:
		return write < subset->write ||
		       (write == subset->write && sector < subset->sectors);
	case CUT_TORN_TAIL:
		return write < subset->write ||
		       (write == subset->write && sector >= subset->sectors);
	case CUT_SOME_WRITES:
		return mixed(subset->seed, write, 0) & 1;
	case CUT_SOME_SECTORS:
		return mixed(subset->seed, write, sector) % 8 < subset->sectors;
	case CUT_THESE:
		if (cut->replay->pending[write]->inode == subset->aside)
			return true;
		sector += pending_width(cut->replay, write, subset->aside, 63);
		return subset->seed >> sector & 1;
	}
	return false;
}

struct sim_state *cut_make(const struct sim_replay *replay, const struct cut_subset *subset)
{
	struct keep context = { replay, *subset };

	return sim_replay_cut(replay, keep, &context);
}

static struct cut_subset subset_torn(const struct sim_replay *replay, enum cut_kind kind,
				     uint32_t write, struct prng *prng)
{
	uint32_t sectors = sim_write_sector_count(replay->pending[write]);

	return (struct cut_subset){ kind, write,
				    sectors > 1 ? 1 + (uint32_t)prng_below(prng, sectors - 1) : 0, 0, 0 };
}

struct cut_subset cut_random(const struct sim_replay *replay, struct prng *prng)
{
	static const enum cut_kind kinds[] = {
		CUT_BEFORE, CUT_TORN_HEAD, CUT_TORN_TAIL, CUT_ONE, CUT_BUT, CUT_SOME_WRITES,
		CUT_SOME_SECTORS, CUT_SOME_SECTORS,
	};
	enum cut_kind kind = kinds[prng_below(prng, array_size(kinds))];
	uint32_t write;

	if (!replay->pending_count)
		return (struct cut_subset){ CUT_NONE, 0, 0, 0, 0 };
	write = (uint32_t)prng_below(prng, replay->pending_count);
	if (kind == CUT_TORN_HEAD || kind == CUT_TORN_TAIL)
		return subset_torn(replay, kind, write, prng);
	return (struct cut_subset){ kind, write, 1 + (uint32_t)prng_below(prng, 7),
				    prng_next(prng), 0 };
}

/* ---- one image ---- */

#define MARKS_MAX 4u            /* lives without a change, one after another, in these tests */

/* History begins where it did, or where a limit that was set lets it begin. */
static void check_oldest(struct store *store, const struct cut_expect *expect, uint64_t newest)
{
	uint64_t oldest = load_oldest(store), first = expect->history->first;

	if (oldest != first && (!expect->limit || oldest + expect->limit > expect->reach))
		print_error("the oldest LSN is %" PRIu64 " of %" PRIu64 "; %" PRIu64 " bytes up to %" PRIu64
			    " were to be kept at least\n", oldest, first, expect->limit, expect->reach);
	require(oldest == first || (expect->limit && oldest + expect->limit <= expect->reach));
	require(oldest >= first && oldest <= newest);
}

/*
 * What is there is the state at one LSN, and each older one that the window leaves reads as it did; so
 * does an LSN between two. Of the states before @sample_before only a few are looked at.
 * This is the place for whatever else can be said of a store that is open.
 */
static uint64_t check_history(struct store *store, const struct cut_expect *expect,
			      uint64_t sample_before, struct prng *prng, struct cut_counts *counts)
{
	const struct load_history *history = expect->history;
	uint64_t newest = load_newest(store);
	const struct load_state *last = load_history_at(history, newest);

	require(last);
	/* A new life's mark changes nothing and has an LSN; each life that was cut
	 * short right behind its mark leaves one. */
	if ((newest - last->lsn) % BATCH_OPENED_BYTES)
		print_error("recovered to %" PRIu64 ", which is no LSN of the history: %" PRIu64
			    " is the one before\n", newest, last->lsn);
	require((newest - last->lsn) % BATCH_OPENED_BYTES == 0);
	require(newest - last->lsn <= MARKS_MAX * BATCH_OPENED_BYTES);
	if (newest < expect->floor)
		print_error("recovered to %" PRIu64 ", but %" PRIu64 " was durable\n", newest,
			    expect->floor);
	require(newest >= expect->floor);
	check_oldest(store, expect, newest);
	for (const struct load_state *state = history->states; state <= last; state++) {
		uint64_t end = state == last ? newest : state[1].lsn - 1;

		if (state->lsn < sample_before && prng_below(prng, 16))
			continue;
		if (load_check_lsn(store, state->lsn, state))
			counts->lsns++;
		else
			counts->refused++;
		if (prng_below(prng, 8) == 0 && end > state->lsn)
			load_check_lsn(store, state->lsn + 1 + prng_below(prng, end - state->lsn), state);
	}
	load_check_lsn(store, UINT64_MAX, last);
	return newest;
}

static void check_closed(struct sim_disk *disk)
{
	struct sim_usage usage = sim_disk_usage(disk);

	require(!usage.open_files && !usage.mappings && !usage.locks);
}

/* There was no store yet when the power went: mkfs may be repeated. */
static void check_unmade(struct sim_disk *disk)
{
	struct load *load = load_new(disk, 1);
	int err = load_open(load);

	if (err) {
		require(err == -ENOENT || err == -EMEDIUMTYPE);
		require(!load_make(load));
		require(!load_do(load, LOAD_CREATE));
	} else {
		require(load_newest(load->store) > 0);
	}
	require(!load_close(load));
	require(!load_open(load));
	load_free(load);
	check_closed(disk);
}

/* The store is closed, or was cut and not opened since. */
static void must_be_clean(struct cut_counts *counts)
{
	struct store_check_options options = { .sample_count = 2 };
	struct store_check_result result;
	struct report report = { "" };
	int err = store_check(LOAD_PATH, &options, &report, &result);

	if (err || result.finding_count)
		print_error("check: %s, %s, %" PRIu64 " findings\n", strerror(-err), report.text,
			    result.finding_count);
	require(!err && !result.finding_count);
	counts->checked++;
}

/* Of so many stores that are closed or were cut, one is checked. */
static unsigned check_every(void)
{
	const char *size = getenv("VARVE_TEST_SIZE");

	if (size && strcmp(size, "long") == 0)
		return 4;
	return load_merges_eagerly() ? 12 : 20;
}

static void check_some(struct prng *prng, struct cut_counts *counts)
{
	if (prng_below(prng, check_every()) == 0)
		must_be_clean(counts);
}

/* Open @image, which is taken over, and look at it. */
static void check_again(struct sim_state *image, const struct cut_expect *expect,
			uint64_t sample_before, struct prng *prng, struct cut_counts *counts)
{
	struct sim_disk *disk = sim_disk_new(image);
	struct load *load = load_new(disk, 0);

	require(!load_open(load));
	check_history(load->store, expect, sample_before, prng, counts);
	require(!load_close(load));
	check_some(prng, counts);
	load_free(load);
	check_closed(disk);
	sim_disk_free(disk);
}

/* What was done to an image. */
struct again {
	const struct sim_disk *disk;
	const struct load *load;
	uint64_t floor, limit;          /* of it, as cut_expect's */
	const struct cut_steps *steps;
};

/* Cut it at @position of its trace. */
static void cut_again(const struct again *again, uint64_t position, const struct cut_subset *subset,
		      struct prng *prng, struct cut_counts *counts)
{
	struct cut_expect expect = { &again->load->history, again->floor, true, again->limit, UINT64_MAX };
	struct sim_replay *replay = sim_replay_new(again->disk);
	const struct sim_event *event;
	struct cut_subset random;

	while (replay->position < position && (event = sim_replay_step(replay)) != NULL)
		if (event->kind == SIM_EVENT_MARK && event->mark_kind == LOAD_SYNCED)
			expect.floor = event->mark_value;
	if (replay->position)
		cut_steps_count(again->steps, replay->position - 1, counts->recovery_steps);
	random = cut_random(replay, prng);
	check_again(cut_make(replay, subset ? subset : &random), &expect, again->floor, prng, counts);
	sim_replay_free(replay);
	counts->second_cuts++;
}

/* Finish what merges are under way, and merge all: nothing is lost by it, nor comes back. */
static void compact_and_compare(struct load *load, const struct cut_expect *before, struct prng *prng,
				struct cut_counts *counts)
{
	struct cut_expect expect = { &load->history, before->floor, true, before->limit, UINT64_MAX };
	struct store_gc gc;

	if (prng_below(prng, 2))
		require(!store_collect(load->store, false, &gc));
	require(!store_compact(load->store));
	check_history(load->store, &expect, 0, prng, counts);
	counts->compacted++;
}

/* Go on with the store that @load has open. */
static void go_on(struct load *load, const struct cut_expect *expect, struct prng *prng,
		  struct cut_counts *counts)
{
	for (unsigned i = 0; i < 3; i++)
		require(load_do(load, (enum load_op)prng_below(prng, LOAD_TREE_OPS)) >= 0);
	if (prng_below(prng, 4) == 0)
		require(!load_do(load, LOAD_SYNC));
	require(load_do(load, LOAD_CREATE) >= 0);
	require(load_do(load, LOAD_APPEND) >= 0);
	if (load_merges_eagerly() && prng_below(prng, 4) == 0)
		compact_and_compare(load, expect, prng, counts);
}

uint64_t cut_check(struct sim_state *image, const struct cut_expect *expect, struct prng *prng,
		   enum cut_depth depth, struct cut_counts *counts)
{
	static const struct cut_subset extremes[] = { { .kind = CUT_NONE }, { .kind = CUT_ALL } };
	struct sim_disk *disk = sim_disk_new(image);
	struct again again = { .disk = disk, .limit = expect->limit };
	struct cut_steps *steps;
	struct load *load;
	uint64_t recovered, done, which = depth == CUT_ONE_MORE ? prng_below(prng, 3) : 3;

	sim_disk_use(disk);
	if (!expect->made) {
		check_unmade(disk);
		sim_disk_free(disk);
		return 0;
	}
	again.load = load = load_new(disk, prng_next(prng));
	check_some(prng, counts);
	require(!load_open(load));
	recovered = sim_disk_event_count(disk);
	again.floor = check_history(load->store, expect, 0, prng, counts);
	load_adopt(load, expect->history, again.floor);
	go_on(load, expect, prng, counts);
	sim_disk_mark(disk, LOAD_CHANGED, 0);
	done = sim_disk_event_count(disk);
	require(!load_close(load));
	check_closed(disk);
	check_some(prng, counts);
	again.steps = steps = cut_steps_new(disk);
	/* Closed: what is there is all of it, with nothing kept that was not synced. */
	if (which == 0 || which == 3)
		cut_again(&again, UINT64_MAX, &extremes[0], prng, counts);
	if (which == 1 || which == 3)
		cut_again(&again, prng_below(prng, done + 1), NULL, prng, counts);
	/* What lay beyond the end may be back, for it was zeroed but not synced. */
	if (which == 2 || which == 3)
		cut_again(&again, done, NULL, prng, counts);
	for (uint64_t at = 1; depth == CUT_ALL_PAIRS && at <= recovered; at++) {
		for (unsigned i = 0; i < array_size(extremes); i++)
			cut_again(&again, at, &extremes[i], prng, counts);
		for (unsigned i = 0; i < 4; i++)
			cut_again(&again, at, NULL, prng, counts);
		counts->pairs++;
	}
	cut_steps_free(steps);
	load_free(load);
	sim_disk_free(disk);
	return again.floor;
}

/* ---- a whole trace ---- */

/* Images seen in this trace, and what they recovered to. */
struct seen {
	uint64_t *hashes, *newest;      /* 0: an empty slot */
	size_t count, room;             /* room: a power of two */
};

static size_t seen_slot(const struct seen *seen, uint64_t hash)
{
	size_t slot = hash & (seen->room - 1);

	while (seen->hashes[slot] && seen->hashes[slot] != hash)
		slot = (slot + 1) & (seen->room - 1);
	return slot;
}

static void seen_add(struct seen *seen, uint64_t hash, uint64_t newest)
{
	size_t slot;

	if (2 * seen->count >= seen->room) {
		struct seen more = { .room = seen->room ? 2 * seen->room : 1024 };

		more.hashes = calloc(more.room, sizeof(uint64_t));
		more.newest = calloc(more.room, sizeof(uint64_t));
		require(more.hashes && more.newest);
		for (size_t i = 0; i < seen->room; i++)
			if (seen->hashes[i])
				seen_add(&more, seen->hashes[i], seen->newest[i]);
		free(seen->hashes);
		free(seen->newest);
		*seen = more;
	}
	slot = seen_slot(seen, hash);
	seen->hashes[slot] = hash;
	seen->newest[slot] = newest;
	seen->count++;
}

/* As many different images are made at a cut, unless fewer exist. */
#define WIDE 8u
/* Of so many sectors every subset is tried to find them. */
#define EXHAUST_WIDTH 10u
#define TRIES_MAX 400u

/* Where a walk stands. */
struct walker {
	const struct cut_walk *walk;
	struct prng *prng;
	struct cut_counts *counts;
	struct sim_replay *replay;
	struct cut_expect expect;
	struct cut_steps *steps;
	struct seen seen;
	uint64_t here[WIDE];            /* hashes of images at this cut, no two equal */
	uint32_t here_count;
	uint32_t lock_inode;            /* 0: not made yet */
	uint32_t manifest_dir;
	bool replacing;                 /* a new manifest was begun, and is not durable */
};

static void note_here(struct walker *walker, uint64_t hash)
{
	for (uint32_t i = 0; i < walker->here_count; i++)
		if (walker->here[i] == hash)
			return;
	if (walker->here_count < array_size(walker->here))
		walker->here[walker->here_count++] = hash;
}

static void cut_here(struct walker *walker, struct cut_subset subset)
{
	struct sim_state *image = cut_make(walker->replay, &subset);
	uint64_t hash = sim_state_hash(image) | 1;
	uint32_t every = walker->walk->all_pairs_every;
	enum cut_depth depth = walker->walk->few ? CUT_ONE_MORE : CUT_SOME_MORE;
	size_t slot = walker->seen.room ? seen_slot(&walker->seen, hash) : 0;

	cut_place.subset = subset;
	note_here(walker, hash);
	walker->counts->images++;
	if (walker->seen.room && walker->seen.hashes[slot] == hash &&
	    (!walker->expect.made || walker->seen.newest[slot])) {
		/* Seen, but perhaps before the last sync returned. */
		require(!walker->expect.made ||
			walker->seen.newest[slot] >= walker->expect.floor);
		sim_state_free(image);
		return;
	}
	walker->counts->distinct++;
	if (every && walker->counts->distinct % every == 0)
		depth = CUT_ALL_PAIRS;
	seen_add(&walker->seen, hash,
		 cut_check(image, &walker->expect, walker->prng, depth, walker->counts));
}

/* Each write alone, and all but each; of many, some. */
static void cut_each(struct walker *walker)
{
	uint32_t count = walker->replay->pending_count, most = walker->walk->subsets_max / 2;
	uint32_t stride = count > most ? (count + most - 1) / most : 1;

	/* From the last backwards: what is new at this cut is there. */
	for (uint32_t back = 0; back < count; back += stride) {
		cut_here(walker, (struct cut_subset){ CUT_ONE, count - 1 - back, 0, 0, 0 });
		cut_here(walker, (struct cut_subset){ CUT_BUT, count - 1 - back, 0, 0, 0 });
	}
}

/* Make up for images that were equal: of few sectors by trying every subset. */
static void cut_until_wide(struct walker *walker)
{
	struct sim_replay *replay = walker->replay;
	uint32_t width = pending_width(replay, replay->pending_count, walker->lock_inode,
				       EXHAUST_WIDTH + 1);
	bool exhaust = width <= EXHAUST_WIDTH;
	uint64_t tries = exhaust ? UINT64_C(1) << width : TRIES_MAX;

	for (uint64_t i = 0; i < tries && walker->here_count < WIDE; i++)
		cut_here(walker, exhaust ? (struct cut_subset){ CUT_THESE, 0, 0, i, walker->lock_inode }
					 : cut_random(replay, walker->prng));
	walker->counts->wide_points += walker->here_count == WIDE;
	walker->counts->narrow_points += walker->here_count < WIDE && exhaust;
}

static void cut_everything_here(struct walker *walker)
{
	uint32_t count = walker->replay->pending_count;

	walker->here_count = 0;
	walker->expect.reach = walker->steps->events[walker->replay->position - 1].reach;
	cut_steps_count(walker->steps, walker->replay->position - 1, walker->counts->steps);
	cut_place.position = walker->replay->position;
	cut_here(walker, (struct cut_subset){ .kind = CUT_NONE });
	if (count) {
		cut_here(walker, (struct cut_subset){ .kind = CUT_ALL });
		cut_each(walker);
		cut_here(walker, subset_torn(walker->replay, CUT_TORN_HEAD, count - 1,
					     walker->prng));
		cut_here(walker, subset_torn(walker->replay, CUT_TORN_TAIL, count - 1,
					     walker->prng));
		for (unsigned i = 0; i < (walker->walk->few ? 1 : 4); i++)
			cut_here(walker, cut_random(walker->replay, walker->prng));
	}
	if (!walker->walk->few)
		cut_until_wide(walker);
	walker->counts->cut_points++;
	walker->counts->replace_points += walker->replacing;
}

/* A new manifest is begun under its own name, takes the old one's, and is durable with
 * the next sync of the directory. */
static void note_names(struct walker *walker, const struct sim_event *event)
{
	if (event->kind == SIM_EVENT_SYNC && event->inode == walker->manifest_dir)
		walker->replacing = false;
	if (event->kind != SIM_EVENT_WRITE || event->write.kind != SIM_WRITE_NAME)
		return;
	if (strcmp(event->write.set, "lock") == 0)
		walker->lock_inode = event->write.target;
	if (strcmp(event->write.set, MANIFEST_NAME ".new") == 0) {
		walker->replacing = true;
		walker->manifest_dir = event->write.inode;
	}
}

static void note_mark(struct walker *walker, const struct sim_event *event)
{
	if (event->mark_kind == LOAD_MADE)
		walker->expect.made = true;
	else if (event->mark_kind == LOAD_SYNCED && event->mark_value > walker->expect.floor)
		walker->expect.floor = event->mark_value;
	else if (event->mark_kind == LOAD_LIMITED &&
		 (!walker->expect.limit || event->mark_value < walker->expect.limit))
		walker->expect.limit = event->mark_value;
}

void cut_walk(const struct cut_walk *walk, struct prng *prng, struct cut_counts *counts)
{
	struct walker walker = { .walk = walk, .prng = prng, .counts = counts,
				 .replay = sim_replay_new(walk->disk),
				 .steps = cut_steps_new(walk->disk),
				 .expect = { .history = walk->history } };
	const struct sim_event *event;

	while ((event = sim_replay_step(walker.replay)) != NULL) {
		if (event->kind == SIM_EVENT_MARK)
			note_mark(&walker, event);
		note_names(&walker, event);
		if (walker.replay->position <= walk->from)
			continue;
		cut_everything_here(&walker);
	}
	sim_replay_free(walker.replay);
	cut_steps_free(walker.steps);
	free(walker.seen.hashes);
	free(walker.seen.newest);
}
