/*
 * Lookup: the newest version of a page, and its version at a random LSN, in an
 * open layer of many versions a page, against sorted maps of (page, LSN) keys
 * (sorted.h) that hold the same versions.
 *
 * All answer the same questions in the same order, and the sum of the LSNs they
 * find must be the same, or the bench fails. Nobody touches a payload.
 */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "layer_fixture.h"
#include "sorted.h"

#define PAGE_COUNT 16384u
#define VERSION_COUNT 200000u
#define PAYLOAD_BYTES 96u
#define LIMIT_NS 500

struct question {
	uint32_t page;
	struct lsn at;
};

struct lookup {
	struct bench *bench;
	struct layer_fixture fixture;
	struct sorted_entry *entries;           /* what all of them hold */
	struct sorted_array *array;
	struct sorted_btree *btree;
	struct sorted_rbtree *rbtree;
	struct question *questions;
	uint32_t question_count;
	uint64_t expected;                      /* sum of the LSNs found; 0: nobody answered yet */
};

/* End a sample: @sum must be what the others found. */
static int answer(struct lookup *lookup, uint64_t start_ns, uint64_t sum, double *figure_out)
{
	*figure_out = (double)(clock_ns() - start_ns) / lookup->question_count;
	if (!lookup->expected)
		lookup->expected = sum;
	return sum == lookup->expected ? 0
		       : bench_fail(lookup->bench, -EBADMSG, "the answers are not those of the others");
}

static int varve_sample(void *context, double *figure_out)
{
	struct lookup *lookup = context;
	uint64_t start = clock_ns(), sum = 0;
	struct version version;

	for (uint32_t i = 0; i < lookup->question_count; i++) {
		const struct question *question = &lookup->questions[i];

		if (layer_find(&lookup->fixture.layer->base,
			       key_make(FIXTURE_INO, KEY_PAGE, question->page), question->at, &version) == 0)
			sum += version.lsn.value;
	}
	return answer(lookup, start, sum, figure_out);
}

/* The three rivals differ in the call only; written out by a macro, so that none
 * pays for a call through a pointer. The newest version is asked for as varve's
 * is, with LSN_HEAD. */
#define RIVAL_SAMPLE(map)                                                                       \
	static int map##_sample(void *context, double *figure_out)                              \
	{                                                                                       \
		struct lookup *lookup = context;                                                \
		uint64_t start = clock_ns(), sum = 0;                                           \
		struct sorted_entry entry;                                                      \
                                                                                                \
		for (uint32_t i = 0; i < lookup->question_count; i++) {                         \
			const struct question *question = &lookup->questions[i];                \
			sorted_key key = sorted_key_make(question->page, question->at.value);   \
                                                                                                \
			if (sorted_##map##_floor(lookup->map, key, &entry) == 0 &&              \
			    sorted_key_page(entry.key) == question->page)                       \
				sum += sorted_key_lsn(entry.key);                               \
		}                                                                               \
		return answer(lookup, start, sum, figure_out);                                  \
	}

RIVAL_SAMPLE(array)
RIVAL_SAMPLE(btree)
RIVAL_SAMPLE(rbtree)

static int versions_append(struct lookup *lookup)
{
	static const uint8_t payload[PAYLOAD_BYTES];
	struct dice dice = { 1 };
	struct lsn lsn;
	int err = layer_fixture_renew(&lookup->fixture, layer_fixture_size(VERSION_COUNT, PAYLOAD_BYTES));

	for (uint32_t i = 0; i < VERSION_COUNT && !err; i++) {
		uint64_t page = dice_below(&dice, PAGE_COUNT);

		err = layer_fixture_append(&lookup->fixture, page, payload, sizeof(payload), &lsn);
		lookup->entries[i] = (struct sorted_entry){
			.key = sorted_key_make(page, lsn.value),
			.value = i,
		};
	}
	return err;
}

static int rivals_fill(struct lookup *lookup)
{
	int err = 0;

	lookup->btree = sorted_btree_new();
	lookup->rbtree = sorted_rbtree_new();
	lookup->array = sorted_array_new(lookup->entries, VERSION_COUNT);
	if (!lookup->btree || !lookup->rbtree || !lookup->array)
		return -ENOMEM;
	for (uint32_t i = 0; i < VERSION_COUNT && !err; i++) {
		const struct sorted_entry *entry = &lookup->entries[i];

		err = sorted_btree_insert(lookup->btree, entry->key, entry->value);
		if (!err)
			err = sorted_rbtree_insert(lookup->rbtree, entry->key, entry->value);
	}
	return err;
}

/* Ask for the newest version, or for that at a random moment of the layer's life. */
static void questions_make(struct lookup *lookup, bool newest)
{
	uint64_t end = open_layer_end(lookup->fixture.layer).value;
	struct dice dice = { 2 };

	for (uint32_t i = 0; i < lookup->question_count; i++) {
		lookup->questions[i].page = (uint32_t)dice_below(&dice, PAGE_COUNT);
		lookup->questions[i].at = newest ? LSN_HEAD : lsn_make(1 + dice_below(&dice, end));
	}
	lookup->expected = 0;
}

static int lookup_measure(struct lookup *lookup, const char *what, bool newest)
{
	const struct contender contenders[] = {
		{ "varve: open layer", varve_sample, lookup, false },
		{ "B+tree", btree_sample, lookup, false },
		{ "sorted array (takes no insertion)", array_sample, lookup, false },
		{ "red-black tree (tsearch)", rbtree_sample, lookup, false },
	};
	const struct claim claim = {
		.what = what,
		.unit = "ns",
		.better = LOWER_IS_BETTER,
		.contenders = contenders,
		.contender_count = sizeof(contenders) / sizeof(contenders[0]),
		.ratio_limit = 1,
		.value_limit = LIMIT_NS,
	};

	questions_make(lookup, newest);
	return claim_measure(lookup->bench, &claim);
}

static int lookup_prepare(struct lookup *lookup)
{
	int err;

	lookup->entries = aligned_alloc(_Alignof(struct sorted_entry),
					VERSION_COUNT * sizeof(*lookup->entries));
	lookup->questions = calloc(lookup->question_count, sizeof(*lookup->questions));
	if (!lookup->entries || !lookup->questions)
		return -ENOMEM;
	err = versions_append(lookup);
	if (!err)
		err = rivals_fill(lookup);
	return err;
}

static void lookup_destroy(struct lookup *lookup)
{
	layer_fixture_destroy(&lookup->fixture);
	sorted_array_free(lookup->array);
	sorted_btree_free(lookup->btree);
	sorted_rbtree_free(lookup->rbtree);
	free(lookup->entries);
	free(lookup->questions);
}

static int lookup_run(struct bench *bench)
{
	struct lookup lookup = {
		.bench = bench,
		.question_count = (uint32_t)bench_size(bench, 1000000, 200000),
	};
	int err = layer_fixture_init(&lookup.fixture, bench_dir(bench));

	bench_say(bench, "%u versions over %u pages, %u lookups at random pages a round", VERSION_COUNT,
		  PAGE_COUNT, lookup.question_count);
	if (!err)
		err = lookup_prepare(&lookup);
	if (err)
		bench_fail(bench, err, "filling the layer and its rivals");
	else
		err = lookup_measure(&lookup, "newest version of a page", true);
	if (!err)
		err = lookup_measure(&lookup, "version of a page at a random LSN", false);
	lookup_destroy(&lookup);
	return err;
}

const struct bench_subject lookup_subject = {
	.name = "lookup",
	.doc = "versions in an open layer, against sorted maps of (page, LSN)",
	.run = lookup_run,
};
