/* Manifest of runs: merges in pieces, replayed, rewritten, refused, and put together from the files alone. */
#include <fcntl.h>
#include <unistd.h>

#include "manifest_internal.h"
#include "test_place.h"
#include "test_runs.h"

static int setup(void **state)
{
	struct place *place = place_new(MANIFEST_NAME);

	*state = place;
	return manifest_create(place->dir_fd, 4096, COMPRESSION_LZ4);
}

static void open_it(struct place *place, bool writable, struct manifest *manifest)
{
	struct report report = { "" };
	int err = manifest_open(manifest, place->dir_fd, writable, &report);

	if (err)
		fail_msg("manifest_open: %s (%s)", strerror(-err), report.text);
}

static void assert_replayed(struct place *place, const struct manifest *manifest)
{
	struct manifest again;

	open_it(place, false, &again);
	assert_false(again.torn);
	runs_assert_same(manifest, &again);
	manifest_close(&again);
}

/* What settings there are, at random. */
static void set_something(struct runs_world *world)
{
	struct manifest *manifest = &world->manifest;
	uint64_t roll = prng_below(&world->prng, 5);
	char name[20];

	snprintf(name, sizeof(name), "tag %u", (unsigned)prng_below(&world->prng, 6));
	if (roll == 0) {
		assert_ok(manifest_window_set(manifest, prng_next(&world->prng), prng_below(&world->prng, 3)));
	} else if (roll == 1) {
		assert_ok(manifest_durable(manifest, world->end));
	} else if (roll == 2) {
		assert_ok(manifest_tag_set(manifest, name, lsn_make(1 + prng_below(&world->prng, 99))));
	} else if (roll == 3) {
		int err = manifest_tag_set(manifest, name, lsn_make(0));

		assert_true(err == 0 || err == -ENOENT);
	} else if (manifest->run_count) {
		const struct manifest_run *run = &manifest->runs[prng_below(&world->prng, manifest->run_count)];

		if (!run->level)
			assert_ok(manifest_lost(manifest, run->run_id));
	}
}

static void any_history_is_replayed_as_it_was(void **state)
{
	struct place *place = *state;
	struct runs_world world;

	runs_start(&world, place->dir_fd, test_seed());
	/* So low that it is rewritten all the time. */
	world.manifest.rewrite_min = 30;
	for (unsigned i = 0; i < 1500; i++) {
		runs_step(&world);
		if (i % 3 == 0)
			set_something(&world);
		if (i % 7 == 0) {
			assert_replayed(place, &world.manifest);
			runs_check_manifest(&world, &world.manifest, false);
		}
		if (i % 100 == 99) {
			struct manifest again;

			/* A life ends here, with merges under way. */
			open_it(place, true, &again);
			runs_assert_same(&world.manifest, &again);
			again.rewrite_min = 30;
			manifest_close(&world.manifest);
			world.manifest = again;
		}
	}
	assert_true(world.gone_count > 1000);
	runs_stop(&world);
}

/* A rewrite leaves out what is outdated and nothing else. */
static void a_rewrite_keeps_all_that_holds(void **state)
{
	struct place *place = *state;
	struct runs_world world;
	struct manifest again;
	bool merging = false;

	runs_start(&world, place->dir_fd, test_seed());
	/* Up to some moment at which a merge is under way. */
	for (unsigned i = 0; i < 300 || !merging; i++) {
		runs_step(&world);
		merging = false;
		for (uint32_t j = 0; j < world.manifest.run_count; j++)
			merging |= world.manifest.runs[j].into != 0;
	}
	assert_ok(manifest_layer_opened(&world.manifest, world.next_id++));
	assert_ok(manifest_window_set(&world.manifest, 77, 88));
	assert_ok(manifest_tag_set(&world.manifest, "b", lsn_make(5)));
	assert_ok(manifest_tag_set(&world.manifest, "a", lsn_make(6)));
	assert_ok(manifest_tag_set(&world.manifest, "b", lsn_make(7)));
	uint64_t before = world.manifest.record_count;
	assert_ok(manifest_replace(&world.manifest));
	assert_true(world.manifest.record_count < before);
	open_it(place, false, &again);
	runs_assert_same(&world.manifest, &again);
	assert_int_equal(again.tag_count, 2);
	assert_int_equal(again.tags[1].lsn.value, 7);
	assert_int_equal(again.window_ns, 77);
	assert_int_equal(again.record_count, world.manifest.record_count);
	manifest_close(&again);
	runs_stop(&world);
}

/* Cut anywhere in the record of a piece, or not written in whole sectors: the merge is where it was before. */
static void a_torn_piece_is_ignored(void **state)
{
	struct place *place = *state;
	struct prng prng = { test_seed() };
	struct manifest manifest, again;
	uint64_t input = 1;
	struct manifest_run run = { .run_id = input, .end = lsn_make(1000) };
	struct table_summary layers[40] = { 0 };
	struct manifest_piece piece = { .run_id = 2, .level = 1, .end = lsn_make(1000), .upto = runs_key(40),
					.inputs = &input, .input_count = 1, .layers = layers,
					.layer_count = array_size(layers) };
	uint8_t bytes[8192];

	for (unsigned i = 0; i < array_size(layers); i++)
		layers[i] = (struct table_summary){
			.layer_id = 3 + i, .run_id = 2, .level = 1, .kind = TABLE_DELTA, .end = lsn_make(1000),
			.first_key = runs_key(i), .last_key = runs_key(i), .first_lsn = lsn_make(1),
			.last_lsn = lsn_make(1000), .checksum = prng_next(&prng),
		};
	open_it(place, true, &manifest);
	assert_ok(manifest_layer_opened(&manifest, input));
	assert_ok(manifest_layer_sealed(&manifest, &run));
	uint64_t kept = manifest.tail_bytes;
	assert_ok(manifest_piece_done(&manifest, &piece));
	uint64_t size = manifest.tail_bytes - kept;
	manifest_close(&manifest);
	assert_true(size > 4096 && size <= sizeof(bytes));
	int fd = open(place->path, O_RDWR | O_CLOEXEC);
	must(fd >= 0 && pread(fd, bytes, size, (off_t)kept) == (ssize_t)size, "read", place->path);
	for (unsigned round = 0; round < 2000; round++) {
		uint8_t torn[sizeof(bytes)];
		uint64_t at = 0, cut = prng_below(&prng, size);
		bool whole = true;

		memcpy(torn, bytes, size);
		if (round % 2)
			memset(torn + cut, 0, size - cut);
		/* The file's sectors, of which this record begins anywhere within one. */
		while (round % 2 == 0 && at < size) {
			uint64_t here = 512 - (kept + at) % 512;

			here = here < size - at ? here : size - at;
			if (prng_below(&prng, 3) == 0)
				memset(torn + at, 0, here);
			at += here;
		}
		whole = memcmp(torn, bytes, size) == 0;
		must(pwrite(fd, torn, size, (off_t)kept) == (ssize_t)size, "write", place->path);
		open_it(place, false, &again);
		assert_int_equal(again.run_count, whole ? 2 : 1);
		assert_int_equal(again.tail_bytes, whole ? kept + size : kept);
		manifest_close(&again);
	}
	/* And then it is said once more. */
	open_it(place, true, &manifest);
	assert_ok(manifest_tidy(&manifest));
	assert_ok(manifest_piece_done(&manifest, &piece));
	assert_replayed(place, &manifest);
	manifest_close(&manifest);
	close(fd);
}

/* A bit that flips in a large record, or a sector that is gone, is damage while whole records are behind it. */
static void damage_in_a_piece_is_no_torn_end(void **state)
{
	struct place *place = *state;
	struct prng prng = { test_seed() };
	struct runs_world world;
	uint8_t *bytes;

	runs_start(&world, place->dir_fd, prng_next(&prng));
	while (!world.gone_count)
		runs_step(&world);
	for (unsigned i = 0; i < 3; i++)
		assert_ok(manifest_durable(&world.manifest, world.end));
	/* The last two records tell no one apart who is damaged in the last but one. */
	uint64_t kept = world.manifest.tail_bytes - 2 * 21;
	bytes = malloc(kept);
	assert_non_null(bytes);
	int fd = open(place->path, O_RDWR | O_CLOEXEC);
	must(fd >= 0 && pread(fd, bytes, kept, 0) == (ssize_t)kept, "read", place->path);
	for (unsigned round = 0; round < 3000; round++) {
		uint64_t at = prng_below(&prng, kept), end = at + 1;
		uint8_t damaged[512];
		struct report report = { "" };
		struct manifest again;

		if (round % 4 == 0) {
			at -= at % 512;
			end = at + 512 < kept ? at + 512 : kept;
			memset(damaged, 0, sizeof(damaged));
		} else {
			damaged[0] = bytes[at] ^ (uint8_t)(1u << prng_below(&prng, 8));
		}
		must(pwrite(fd, damaged, end - at, (off_t)at) == (ssize_t)(end - at), "write", place->path);
		int err = manifest_open(&again, place->dir_fd, false, &report);
		if (err != -EUCLEAN && err != -EMEDIUMTYPE && err != -EPROTONOSUPPORT)
			fail_msg("byte %u damaged: manifest_open says %d", (unsigned)at, err);
		must(pwrite(fd, bytes + at, end - at, (off_t)at) == (ssize_t)(end - at), "write", place->path);
	}
	free(bytes);
	close(fd);
	assert_replayed(place, &world.manifest);
	runs_stop(&world);
}

/* ---- what does not follow ---- */

/* Three sealed layers, the spans of which are (0, 100], (100, 200], (200, 300]; ids 1 to 3; 9 is open. */
static void make_three(struct place *place, struct manifest *manifest)
{
	open_it(place, true, manifest);
	for (uint64_t id = 1; id <= 3; id++) {
		struct manifest_run run = { .run_id = id, .start = lsn_make(100 * id - 100),
					    .end = lsn_make(100 * id) };

		assert_ok(manifest_layer_opened(manifest, id));
		assert_ok(manifest_layer_sealed(manifest, &run));
	}
	assert_ok(manifest_layer_opened(manifest, 9));
}

struct piece_case {
	const char *name;
	struct manifest_piece piece;
};

#define SPAN(a, b) .start = { a }, .end = { b }
#define INPUTS(...) .inputs = (const uint64_t[]){ __VA_ARGS__ }, \
		    .input_count = sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t)
#define UPTO(n) .upto = { 16 + (n) / 5, (uint64_t)KEY_PAGE << KEY_INDEX_BITS | (n) % 5 }
#define TABLE_IN(id, run, a, b, first, first_at, last, last_at) { \
		.layer_id = id, .run_id = run, .level = 1, .kind = TABLE_DELTA, SPAN(a, b), \
		.first_key = { 16 + (first) / 5, (uint64_t)KEY_PAGE << KEY_INDEX_BITS | (first) % 5 }, \
		.last_key = { 16 + (last) / 5, (uint64_t)KEY_PAGE << KEY_INDEX_BITS | (last) % 5 }, \
		.first_lsn = { first_at }, .last_lsn = { last_at } }
#define TABLES(...) .layers = (const struct table_summary[]){ __VA_ARGS__ }, \
		    .layer_count = sizeof((struct table_summary[]){ __VA_ARGS__ }) / sizeof(struct table_summary)

static const struct piece_case refused_first[] = {
	{ "level 0", { .run_id = 20, .level = 0, SPAN(0, 200), INPUTS(1, 2), UPTO(5) } },
	{ "no input", { .run_id = 20, .level = 1, SPAN(0, 200), UPTO(5) } },
	{ "an input is left out", { .run_id = 20, .level = 1, SPAN(0, 300), INPUTS(1, 3), UPTO(5) } },
	{ "the span begins earlier", { .run_id = 20, .level = 1, SPAN(50, 200), INPUTS(2), UPTO(5) } },
	{ "the span ends within", { .run_id = 20, .level = 1, SPAN(0, 150), INPUTS(1, 2), UPTO(5) } },
	{ "the span ends later", { .run_id = 20, .level = 1, SPAN(0, 301), INPUTS(1, 2, 3), UPTO(5) } },
	{ "inputs are not in order", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(2, 1), UPTO(5) } },
	{ "one input twice", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 1), UPTO(5) } },
	{ "one more than there are", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2, 3), UPTO(5) } },
	{ "an input that is open", { .run_id = 20, .level = 1, SPAN(200, 300), INPUTS(9), UPTO(5) } },
	{ "an empty span", { .run_id = 20, .level = 1, SPAN(100, 100), INPUTS(2), UPTO(5) } },
	{ "the output is an input", { .run_id = 1, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5) } },
	{ "the output is an open layer", { .run_id = 9, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5) } },
	{ "the output has id 0", { .run_id = 0, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5) } },
	{ "no key", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2) } },
	{ "the last, but with a key", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5), .last = true } },
	{ "all keys, but not the last",
	  { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), .upto = { UINT64_MAX, UINT64_MAX } } },
	{ "a table of an id that is there", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(9, 20, 0, 200, 0, 5, 0, 5)) } },
	{ "two tables of one id", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 0, 200, 0, 5, 0, 5), TABLE_IN(21, 20, 0, 200, 1, 5, 1, 5)) } },
	{ "a table of another run", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(21, 22, 0, 200, 0, 5, 0, 5)) } },
	{ "a table of another span", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 0, 100, 0, 5, 0, 5)) } },
	{ "a table that ends at the piece's key", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 0, 200, 0, 5, 5, 5)) } },
	{ "a table that ends before it begins", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 0, 200, 1, 5, 1, 4)) } },
	{ "tables that overlap", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 0, 200, 0, 5, 2, 5), TABLE_IN(22, 20, 0, 200, 2, 5, 2, 9)) } },
	{ "a version from before the span", { .run_id = 20, .level = 1, SPAN(100, 200), INPUTS(2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 100, 200, 0, 100, 1, 150)) } },
	{ "a version from behind the span", { .run_id = 20, .level = 1, SPAN(100, 200), INPUTS(2), UPTO(5),
		TABLES(TABLE_IN(21, 20, 100, 200, 0, 150, 1, 201)) } },
};

/* Behind a piece of run 20 from layers 1 and 2, up to key 5, with a table of keys 1 to 4. */
static const struct piece_case refused_second[] = {
	{ "the same key again", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5) } },
	{ "a lower key", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(4) } },
	{ "another level", { .run_id = 20, .level = 2, SPAN(0, 200), INPUTS(1, 2), UPTO(9) } },
	{ "fewer inputs", { .run_id = 20, .level = 1, SPAN(0, 100), INPUTS(1), UPTO(9) } },
	{ "more inputs", { .run_id = 20, .level = 1, SPAN(0, 300), INPUTS(1, 2, 3), UPTO(9) } },
	{ "another output", { .run_id = 30, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(9) } },
	{ "another output of one of them", { .run_id = 30, .level = 1, SPAN(100, 200), INPUTS(2), UPTO(9) } },
	{ "the output as an input", { .run_id = 30, .level = 1, SPAN(0, 200), INPUTS(20, 1, 2), UPTO(9) } },
	{ "the output and one behind it", { .run_id = 30, .level = 2, SPAN(0, 300), INPUTS(20, 3), UPTO(9) } },
	{ "a table of keys done before", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(9),
		TABLES(TABLE_IN(22, 20, 0, 200, 4, 50, 6, 5)) } },
	{ "a table that is there", { .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(9),
		TABLES(TABLE_IN(21, 20, 0, 200, 6, 5, 7, 5)) } },
};

static const struct manifest_piece first_piece = {
	.run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), UPTO(5), TABLES(TABLE_IN(21, 20, 0, 200, 1, 5, 4, 5)) };
static const struct manifest_piece last_piece = {
	.run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 2), .upto = { UINT64_MAX, UINT64_MAX }, .last = true };

static void assert_all_refused(struct manifest *manifest, const struct piece_case *cases, size_t count)
{
	uint64_t tail = manifest->tail_bytes;

	for (size_t i = 0; i < count; i++) {
		int err = manifest_piece_done(manifest, &cases[i].piece);

		if (err != -EUCLEAN)
			fail_msg("%s: manifest_piece_done says %d", cases[i].name, err);
		assert_int_equal(manifest->tail_bytes, tail);
		assert_int_equal(manifest_check_runs(manifest), 0);
	}
}

static void a_piece_that_does_not_follow_is_refused(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	make_three(place, &manifest);
	assert_all_refused(&manifest, refused_first, array_size(refused_first));
	assert_replayed(place, &manifest);
	assert_ok(manifest_piece_done(&manifest, &first_piece));
	assert_all_refused(&manifest, refused_second, array_size(refused_second));
	assert_replayed(place, &manifest);
	assert_ok(manifest_piece_done(&manifest, &last_piece));
	assert_int_equal(manifest.run_count, 2);
	assert_int_equal(manifest_kind_of(&manifest, 1), MANIFEST_NONE);
	assert_int_equal(manifest_kind_of(&manifest, 20), MANIFEST_RUN);
	assert_int_equal(manifest_kind_of(&manifest, 21), MANIFEST_TABLE);
	assert_false(manifest_names(&manifest, 20));
	assert_true(manifest_replaced(&manifest, lsn_make(100), lsn_make(200)));
	assert_false(manifest_replaced(&manifest, lsn_make(200), lsn_make(300)));
	/* It is whole: no piece can come. */
	assert_err(manifest_piece_done(&manifest, &last_piece), -EUCLEAN);
	assert_replayed(place, &manifest);
	manifest_close(&manifest);
}

/* 1 and 3 and 5 hold something, 2 and 4 nothing. */
static void make_empty_ones(struct place *place, struct manifest *manifest)
{
	static const uint64_t ends[] = { 100, 100, 200, 200, 300 };
	uint64_t start = 0;

	unlink(place->path);
	assert_ok(manifest_create(place->dir_fd, 4096, COMPRESSION_NONE));
	open_it(place, true, manifest);
	for (uint64_t id = 1; id <= array_size(ends); id++) {
		struct manifest_run run = { .run_id = id, .start = lsn_make(start), .end = lsn_make(ends[id - 1]),
					    .chain_end = ends[id - 1] };

		assert_ok(manifest_layer_opened(manifest, id));
		assert_ok(manifest_layer_sealed(manifest, &run));
		start = ends[id - 1];
	}
}

/* A run that lies against the span, and is of no length, is merged if it is named, and else not touched. */
static const struct empty_case {
	struct manifest_piece piece;
	uint64_t left[5];               /* ids */
} empty_cases[] = {
	{ { .run_id = 20, SPAN(0, 100), INPUTS(1) }, { 20, 2, 3, 4, 5 } },
	{ { .run_id = 20, SPAN(0, 100), INPUTS(1, 2) }, { 20, 3, 4, 5 } },
	{ { .run_id = 20, SPAN(100, 200), INPUTS(3) }, { 1, 2, 20, 4, 5 } },
	{ { .run_id = 20, SPAN(100, 200), INPUTS(3, 4) }, { 1, 2, 20, 5 } },
	{ { .run_id = 20, SPAN(100, 200), INPUTS(2, 3) }, { 1, 20, 4, 5 } },
	{ { .run_id = 20, SPAN(100, 200), INPUTS(2, 3, 4) }, { 1, 20, 5 } },
	{ { .run_id = 20, SPAN(0, 300), INPUTS(1, 2, 3, 4, 5) }, { 20 } },
};
static const struct manifest_piece refused_beside_empty[] = {
	{ .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 3), UPTO(5) },
	{ .run_id = 20, .level = 1, SPAN(0, 200), INPUTS(1, 3, 4), UPTO(5) },
	{ .run_id = 20, .level = 1, SPAN(0, 100), INPUTS(1, 2, 4), UPTO(5) },
	{ .run_id = 20, .level = 1, SPAN(100, 200), INPUTS(2), UPTO(5) },
	{ .run_id = 20, .level = 1, SPAN(100, 200), INPUTS(3, 2), UPTO(5) },
	{ .run_id = 20, .level = 1, SPAN(100, 100), INPUTS(4), UPTO(5) },
	{ .run_id = 20, .level = 1, SPAN(100, 100), INPUTS(2), UPTO(5) },
};

static void empty_runs_are_inputs_if_they_are_named(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	for (size_t i = 0; i < array_size(empty_cases); i++) {
		struct manifest_piece first = empty_cases[i].piece, last = empty_cases[i].piece;

		make_empty_ones(place, &manifest);
		first.level = last.level = 1;
		first.upto = runs_key(5);
		last.upto = KEY_END;
		last.last = true;
		assert_ok(manifest_piece_done(&manifest, &first));
		for (uint32_t n = 0; n < first.input_count; n++)
			assert_int_equal(manifest_find(&manifest, first.inputs[n])->into, 20);
		assert_int_equal(manifest.run_count, 6);
		assert_replayed(place, &manifest);
		assert_ok(manifest_piece_done(&manifest, &last));
		assert_int_equal(manifest_find(&manifest, 20)->chain_end, last.end.value);
		for (uint32_t n = 0; n < array_size(empty_cases[i].left); n++)
			assert_true(empty_cases[i].left[n]
					    ? manifest_find(&manifest, empty_cases[i].left[n]) != NULL
					    : n >= manifest.run_count);
		assert_replayed(place, &manifest);
		manifest_close(&manifest);
	}
	for (size_t i = 0; i < array_size(refused_beside_empty); i++) {
		make_empty_ones(place, &manifest);
		assert_err(manifest_piece_done(&manifest, &refused_beside_empty[i]), -EUCLEAN);
		manifest_close(&manifest);
	}
}

static void other_records_that_do_not_follow_are_refused(void **state)
{
	struct place *place = *state;
	struct manifest manifest;
	struct manifest_run run = { .run_id = 9, .start = lsn_make(299), .end = lsn_make(400) };

	make_three(place, &manifest);
	uint64_t tail = manifest.tail_bytes;
	assert_err(manifest_layer_opened(&manifest, 9), -EUCLEAN);
	assert_err(manifest_layer_opened(&manifest, 3), -EUCLEAN);
	assert_err(manifest_layer_opened(&manifest, 0), -EUCLEAN);
	assert_err(manifest_layer_dropped(&manifest, 3), -EUCLEAN);
	assert_err(manifest_layer_dropped(&manifest, 99), -EUCLEAN);
	assert_err(manifest_layer_sealed(&manifest, &run), -EUCLEAN);   /* overlaps */
	run.start = lsn_make(500);
	assert_err(manifest_layer_sealed(&manifest, &run), -EUCLEAN);   /* ends before it begins */
	run = (struct manifest_run){ .run_id = 3, .start = lsn_make(300), .end = lsn_make(400) };
	assert_err(manifest_layer_sealed(&manifest, &run), -EUCLEAN);   /* once more */
	assert_err(manifest_lost(&manifest, 9), -EUCLEAN);
	assert_err(manifest_lost(&manifest, 99), -EUCLEAN);
	assert_err(manifest_tag_set(&manifest, "", lsn_make(1)), -EINVAL);
	assert_err(manifest_tag_set(&manifest, "none", lsn_make(0)), -ENOENT);
	assert_ok(manifest_oldest_set(&manifest, lsn_make(0)));
	assert_int_equal(manifest.tail_bytes, tail);
	assert_ok(manifest_oldest_set(&manifest, lsn_make(50)));
	tail = manifest.tail_bytes;
	assert_ok(manifest_oldest_set(&manifest, lsn_make(49)));        /* nothing new */
	assert_int_equal(manifest.oldest.value, 50);
	assert_int_equal(manifest.tail_bytes, tail);
	assert_replayed(place, &manifest);
	manifest_close(&manifest);
}

/* The same from disk: records that bear their checksums, but make no sense. */
static void impossible_records_are_refused_when_read(void **state)
{
	struct place *place = *state;
	struct manifest manifest;

	for (size_t i = 0; i < array_size(refused_first); i++) {
		struct record record = { .type = RECORD_PIECE, .piece = refused_first[i].piece };
		struct report report = { "" };
		uint8_t bytes[1024];

		unlink(place->path);
		assert_ok(manifest_create(place->dir_fd, 4096, COMPRESSION_NONE));
		make_three(place, &manifest);
		assert_true(record_size(&record) <= sizeof(bytes));
		record_encode(&record, manifest.chain, bytes);
		must(pwrite(manifest.fd, bytes, record_size(&record), (off_t)manifest.tail_bytes) ==
			     (ssize_t)record_size(&record), "write", place->path);
		manifest_close(&manifest);
		int err = manifest_open(&manifest, place->dir_fd, false, &report);
		/* A table's run and span are the record's, on disk. */
		if (err != -EUCLEAN && !strstr(refused_first[i].name, "of another"))
			fail_msg("%s: manifest_open says %d", refused_first[i].name, err);
		if (!err)
			manifest_close(&manifest);
	}
}

#define manifest_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		manifest_test(any_history_is_replayed_as_it_was),
		manifest_test(a_rewrite_keeps_all_that_holds),
		manifest_test(a_torn_piece_is_ignored),
		manifest_test(damage_in_a_piece_is_no_torn_end),
		manifest_test(a_piece_that_does_not_follow_is_refused),
		manifest_test(empty_runs_are_inputs_if_they_are_named),
		manifest_test(other_records_that_do_not_follow_are_refused),
		manifest_test(impossible_records_are_refused_when_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
