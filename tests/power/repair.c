/*
 * A repair whose power is cut: a store is damaged, repaired on a simulated disk, and the
 * repair is cut at each of its writes, syncs and names, with any part of what was not synced
 * kept. Whatever is left then
 *
 *   is not opened, or answers at each LSN as before or with an error, and has lost nothing
 *              that the repair, left alone, would have kept;
 *   can be repaired again, to the same end: it is clean, it reads at each LSN as before, and
 *              the damaged file, where synced bytes of it are given up, lies aside whole.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/prctl.h>

#include "check.h"
#include "cut_check.h"
#include "engine_repair.h"
#include "io.h"
#include "layer_file.h"
#include "manifest.h"
#include "rcu_at_once.h"

/* ---- a store, and what is done to its files ---- */

#define LAYERS 3u               /* the last is open */

struct victim {
	struct load *load;              /* its history */
	struct sim_state *state;        /* its files, closed and whole */
	uint64_t starts[LAYERS];        /* of the layers' histories */
	uint64_t half;                  /* an LSN within that of the open one, synced */
};

static uint64_t newest_of(struct store *store)
{
	struct lsn oldest_lsn, newest_lsn;

	store_window(store, &oldest_lsn, &newest_lsn);
	return newest_lsn.value;
}

static struct victim *victim_new(struct sim_disk *disk, uint64_t seed)
{
	struct victim *victim = calloc(1, sizeof(*victim));

	require(victim);
	victim->load = load_new(disk, seed);
	require(!load_make(victim->load));
	for (unsigned layer = 0; layer < LAYERS; layer++) {
		if (layer) {
			require(!load_do(victim->load, LOAD_FREEZE));
			victim->starts[layer] = newest_of(victim->load->store);
		}
		require(load_do(victim->load, LOAD_CREATE) >= 0);
		for (unsigned i = 0; i < 8; i++)
			require(load_do(victim->load, i % 2 ? LOAD_APPEND : LOAD_CHMOD) >= 0);
		if (layer == LAYERS - 1)
			victim->half = newest_of(victim->load->store);
		for (unsigned i = 0; i < 4; i++)
			require(load_do(victim->load, i % 2 ? LOAD_APPEND : LOAD_OVERWRITE) >= 0);
	}
	require(!load_close(victim->load));
	victim->state = sim_disk_state(disk);
	return victim;
}

static void victim_free(struct victim *victim)
{
	load_free(victim->load);
	sim_state_free(victim->state);
	free(victim);
}

static void layer_file_path(unsigned nth, char out[64])
{
	char name[LAYER_NAME_BYTES];

	layer_name(nth + 1, name);
	snprintf(out, 64, LOAD_PATH "/layers/%s", name);
}

static int open_path(const char *path, uint64_t *size_out)
{
	int fd;

	require(!io_open(AT_FDCWD, path, O_RDWR, 0, &fd) && !io_size(fd, size_out));
	return fd;
}

/* @at from the file's beginning or, below 0, from its end. */
static void flip(const char *path, int64_t at)
{
	uint64_t size;
	uint8_t byte;
	int fd = open_path(path, &size);

	if (at < 0)
		at += (int64_t)size;
	require(!io_read(fd, &byte, 1, (uint64_t)at));
	byte ^= 0x10;
	require(!io_write(fd, &byte, 1, (uint64_t)at));
	io_close(fd);
}

static void cut_file(const char *path, uint64_t size_bytes)
{
	uint64_t size;
	int fd = open_path(path, &size);

	require(!io_truncate(fd, size_bytes));
	io_close(fd);
}

enum damage {
	DAMAGE_INDEX = 1, DAMAGE_FOOTER = 2, DAMAGE_MANIFEST = 4, DAMAGE_MANIFEST_CUT = 8,
	DAMAGE_OPEN_HEADER = 16, DAMAGE_OPEN_HEADS = 32, DAMAGE_OPEN_SIZE = 64,
};

static struct sim_state *damaged_state(const struct victim *victim, unsigned damage)
{
	struct sim_disk *disk = sim_disk_new(sim_state_copy(victim->state));
	struct sim_state *state;
	char first[64], second[64], open[64];

	sim_disk_use(disk);
	layer_file_path(0, first);
	layer_file_path(1, second);
	layer_file_path(2, open);
	if (damage & DAMAGE_INDEX)
		flip(second, -3 * (int64_t)LAYER_BLOCK_BYTES + 20);
	if (damage & DAMAGE_FOOTER)
		flip(first, -(int64_t)LAYER_BLOCK_BYTES + 20);
	if (damage & DAMAGE_MANIFEST)
		flip(LOAD_PATH "/" MANIFEST_NAME, 80);
	if (damage & DAMAGE_MANIFEST_CUT)
		cut_file(LOAD_PATH "/" MANIFEST_NAME, 64 + 21);
	if (damage & DAMAGE_OPEN_HEADER)
		flip(open, 20);
	/* The size of the batch behind half of what had been synced. */
	if (damage & DAMAGE_OPEN_HEADS)
		flip(open, (int64_t)(LAYER_HEADER_BYTES + victim->half - victim->starts[2] + 9));
	if (damage & DAMAGE_OPEN_SIZE)
		cut_file(open, (1 << 20) + 100);
	state = sim_disk_state(disk);
	sim_disk_free(disk);
	return state;
}

/* ---- what must hold ---- */

struct counts {
	uint64_t points, replaced, images, distinct, opened, lsns;
};

struct wanted {
	const struct victim *victim;
	uint64_t newest;                /* where the repair, left alone, ends the history */
	uint8_t *aside;                 /* bytes of the file that must lie aside; NULL: none */
	size_t aside_bytes;
	struct counts *counts;
};

static int repair(bool mend, struct store_check_result *result)
{
	struct store_check_options options = { .repair = mend };
	struct report report = { "" };

	return store_check(LOAD_PATH, &options, &report, result);
}

/* Each LSN reads as before, or says it can't: only if @damaged. */
static void check_reads(const struct wanted *wanted, struct store *store, bool damaged)
{
	const struct load_history *history = &wanted->victim->load->history;

	for (size_t i = 0; i < history->count && history->states[i].lsn <= wanted->newest; i++) {
		uint64_t digest;
		int err = load_store_digest(store, lsn_make(history->states[i].lsn), &digest);

		require(!err || (damaged && (err == -EBADMSG || err == -EUCLEAN)));
		require(err || digest == history->states[i].digest);
		wanted->counts->lsns++;
	}
}

static struct store *open_read_only(void)
{
	struct store_options options = load_options();
	struct report report = { "" };
	struct store *store;
	int err;

	options.read_only = true;
	err = store_open(LOAD_PATH, &options, &report, &store);
	require(!err || err == -EUCLEAN || err == -EBADMSG || err == -EMEDIUMTYPE);
	return store;
}

static void check_unrepaired(const struct wanted *wanted)
{
	struct store *store = open_read_only();

	if (!store)
		return;
	if (newest_of(store) < wanted->newest)
		print_error("the history ends at %" PRIu64 ", not at %" PRIu64 "\n", newest_of(store),
			    wanted->newest);
	require(newest_of(store) >= wanted->newest);
	check_reads(wanted, store, true);
	require(!store_close(store));
	wanted->counts->opened++;
}

struct search {
	const struct wanted *wanted;
	int dir_fd;
	bool found;
};

static int compare_aside(void *context, const char *name)
{
	struct search *search = context;
	uint8_t *bytes;
	size_t size;

	require(!io_slurp(search->dir_fd, name, SIM_FILE_BYTES_MAX, &bytes, &size));
	search->found |= size == search->wanted->aside_bytes &&
			 !memcmp(bytes, search->wanted->aside, size);
	free(bytes);
	return 0;
}

static void check_aside(const struct wanted *wanted)
{
	struct search search = { wanted, -1, false };

	if (!wanted->aside)
		return;
	require(!io_open(AT_FDCWD, LOAD_PATH "/" DAMAGED_NAME, O_RDONLY | O_DIRECTORY, 0,
			 &search.dir_fd));
	require(!io_list(search.dir_fd, ".", compare_aside, &search));
	io_close(search.dir_fd);
	require(search.found);
}

static void check_repaired(const struct wanted *wanted)
{
	struct store_check_result result;
	struct store *store;

	require(!repair(true, &result) && !result.finding_count);
	require(!repair(false, &result) && !result.finding_count);
	check_aside(wanted);
	store = open_read_only();
	require(store && newest_of(store) == wanted->newest);
	check_reads(wanted, store, false);
	require(!store_close(store));
}

static void check_image(struct sim_state *image, const struct wanted *wanted)
{
	struct sim_disk *disk = sim_disk_new(image);

	sim_disk_use(disk);
	check_unrepaired(wanted);
	check_repaired(wanted);
	sim_disk_free(disk);
	wanted->counts->distinct++;
}

/* ---- cutting a repair ---- */

#define SEEN_MAX 16384u

struct seen {
	uint64_t hashes[SEEN_MAX];
	size_t count;
};

static bool seen_before(struct seen *seen, uint64_t hash)
{
	for (size_t i = 0; i < seen->count; i++)
		if (seen->hashes[i] == hash)
			return true;
	require(seen->count < SEEN_MAX);
	seen->hashes[seen->count++] = hash;
	return false;
}

static void cut_one(const struct sim_replay *replay, struct cut_subset subset,
		    const struct wanted *wanted, struct seen *seen)
{
	struct sim_state *image = cut_make(replay, &subset);

	cut_place.subset = subset;
	wanted->counts->images++;
	if (seen_before(seen, sim_state_hash(image)))
		sim_state_free(image);
	else
		check_image(image, wanted);
}

static void cut_everywhere(const struct sim_disk *disk, const struct wanted *wanted, unsigned randoms,
			   struct prng *prng)
{
	struct sim_replay *replay = sim_replay_new(disk);
	struct seen *seen = calloc(1, sizeof(*seen));

	require(seen);
	do {
		cut_place.position = replay->position;
		cut_one(replay, (struct cut_subset){ .kind = CUT_NONE }, wanted, seen);
		cut_one(replay, (struct cut_subset){ .kind = CUT_ALL }, wanted, seen);
		for (uint32_t i = 0; i < replay->pending_count && i < randoms; i++) {
			uint32_t write = replay->pending_count - 1 - i;

			cut_one(replay, (struct cut_subset){ .kind = CUT_ONE, .write = write }, wanted, seen);
			cut_one(replay, (struct cut_subset){ .kind = CUT_BUT, .write = write }, wanted, seen);
		}
		for (unsigned i = 0; i < randoms; i++)
			cut_one(replay, cut_random(replay, prng), wanted, seen);
		wanted->counts->points++;
	} while (sim_replay_step(replay));
	sim_replay_free(replay);
	free(seen);
}

static void keep_aside(const struct sim_state *state, struct wanted *wanted)
{
	struct sim_disk *disk = sim_disk_new(sim_state_copy(state));
	char path[64];
	uint64_t size;
	int fd;

	sim_disk_use(disk);
	layer_file_path(LAYERS - 1, path);
	fd = open_path(path, &size);
	wanted->aside_bytes = size;
	wanted->aside = malloc(size);
	require(wanted->aside && !io_read(fd, wanted->aside, size, 0));
	io_close(fd);
	sim_disk_free(disk);
}

static void a_cut_repair(const struct victim *victim, unsigned damage, const char *what,
			 unsigned randoms, struct prng *prng, struct counts *counts)
{
	struct sim_state *state = damaged_state(victim, damage);
	const struct load_history *history = &victim->load->history;
	struct wanted wanted = { .victim = victim, .counts = counts };
	struct sim_disk *disk = sim_disk_new(sim_state_copy(state));
	struct store_check_result result;
	uint64_t points = counts->points, images = counts->images;

	cut_place = (struct cut_place){ .what = what };
	wanted.newest = damage & DAMAGE_OPEN_HEADS ? victim->half
						   : history->states[history->count - 1].lsn;
	/* Without its manifest nothing tells that more than that had been synced. */
	if (damage & DAMAGE_OPEN_HEADS && !(damage & DAMAGE_MANIFEST))
		keep_aside(state, &wanted);
	sim_disk_use(disk);
	require(!repair(true, &result) && result.mended_count && !result.finding_count);
	require(result.newest.value == wanted.newest);
	cut_everywhere(disk, &wanted, randoms, prng);
	print_message("%s: %" PRIu64 " steps, %" PRIu64 " cut points, %" PRIu64 " images\n", what,
		      result.mended_count, counts->points - points, counts->images - images);
	sim_disk_free(disk);
	sim_state_free(state);
	free(wanted.aside);
}

static void a_repair_survives_every_cut(void **state)
{
	static const struct {
		const char *what;
		unsigned damage;
	} cases[] = {
		{ "an index block", DAMAGE_INDEX },
		{ "a footer", DAMAGE_FOOTER },
		{ "the manifest", DAMAGE_MANIFEST },
		{ "the manifest, cut short", DAMAGE_MANIFEST_CUT },
		{ "the open layer's header", DAMAGE_OPEN_HEADER },
		{ "heads that had been synced", DAMAGE_OPEN_HEADS },
		{ "the open layer's size", DAMAGE_OPEN_SIZE },
		{ "index, manifest and heads", DAMAGE_INDEX | DAMAGE_MANIFEST | DAMAGE_OPEN_HEADS },
		{ "footer, manifest and the open layer's header",
		  DAMAGE_FOOTER | DAMAGE_MANIFEST | DAMAGE_OPEN_HEADER },
	};
	const char *size = getenv("VARVE_TEST_SIZE");
	unsigned randoms = !size ? 4 : !strcmp(size, "fast") ? 2 : !strcmp(size, "long") ? 24 : 4;
	struct prng prng = { test_seed() };
	struct sim_disk *disk = sim_disk_new(NULL);
	struct victim *victim = victim_new(disk, prng_next(&prng));
	struct counts counts = { 0 };

	(void)state;
	for (unsigned i = 0; i < array_size(cases); i++)
		a_cut_repair(victim, cases[i].damage, cases[i].what, randoms, &prng, &counts);
	print_message("%" PRIu64 " cut points, %" PRIu64 " images, %" PRIu64 " distinct, of them %" PRIu64
		      " opened as they were; all could be repaired; %" PRIu64 " LSNs compared\n",
		      counts.points, counts.images, counts.distinct, counts.opened, counts.lsns);
	assert_true(counts.points > 100);
	victim_free(victim);
	sim_disk_free(disk);
}

/* What the core says of each bad version is what is expected. */
static void ignore_line(const char *line)
{
	(void)line;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_repair_survives_every_cut) };

	log_set_sink(ignore_line);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
	cut_place_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
