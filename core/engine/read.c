/*
 * Read: from (key, LSN) through the layers to bytes.
 *
 * Runs are visited from the newest that can hold the LSN to the oldest, in each the one
 * layer that can have the key, up to the first that has. A patch leads on to the version
 * before it, until one of weight 0, which stands alone; the whole chain is gathered on the way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "fault.h"
#include "io.h"
#include "patch.h"

void engine_read_pace(struct engine *engine)
{
	block_cache_pace(engine->cache);
}

struct lsn engine_guard_take(struct engine *engine, struct layer_guard *guard)
{
	for (;;) {
		/* In this order: a layer is in the map before anything in it is published. */
		struct lsn newest = engine_newest(engine);

		layer_guard_take(guard, &engine->maps);
		/* A horizon that passed it meanwhile may have taken what it needs. */
		if (engine_is_kept(engine, newest))
			return newest;
		layer_guard_drop(guard);
	}
}

/* A run of one layer whose file is gone: what it held of keys up to @high is not known, so nobody looks behind
 * it. (A table that is lost says so itself.) */
static bool is_lost(const struct layer_run *run, struct key high)
{
	return !run->level && !run->layer && key_compare(high, run->from) >= 0;
}

static int lost_run_error(const struct layer_run *run)
{
	log_line("the history from LSN %llu to %llu is lost with its layer file",
		 (unsigned long long)run->start.value, (unsigned long long)run->end.value);
	return -EBADMSG;
}

int engine_find(const struct layer_guard *guard, struct key key, struct lsn lsn,
		struct version *version_out)
{
	int err = 1;

	version_out->form = 0;
	for (uint32_t i = layer_map_reach(guard->map, lsn); i-- > 0 && err == 1;) {
		const struct layer_run *run = guard->map->runs[i];
		struct layer *layer = layer_run_find(run, key, lsn);

		if (layer)
			err = layer_find(layer, key, lsn, version_out);
		else if (is_lost(run, key))
			err = lost_run_error(run);
	}
	return err;
}

/*
 * The first index at or above @first of keys of this kind that @run has. Of a run that is being merged a
 * layer may hold keys below those, which are in what the run is merged into: as they are there they
 * count, and what was dropped stays dropped. If all the run has lies above the kind, any.
 */
static uint64_t first_index(const struct layer_run *run, uint64_t ino, enum key_kind kind,
			    uint64_t first)
{
	return key_compare(run->from, key_make(ino, kind, first)) <= 0 ? first
									: key_index(run->from);
}

/* A search for pages as it goes through one run. */
struct find_pages {
	uint64_t ino, first;
	uint32_t count;
	struct lsn lsn;
	struct version *versions;
	uint32_t *found;
	struct layer *before;           /* the layer of this run that was looked at before; NULL: none */
};

/* Where the versions of a page go on from one layer to the next of a run, the newer of the two
 * that are not above the LSN counts. */
static void take_back_split_page(struct find_pages *find, const struct layer *layer)
{
	const struct table_summary *summary;
	struct version *slot;

	if (!find->before || layer->kind != LAYER_TABLE)
		return;
	summary = table_layer_summary(layer);
	if (summary->first_lsn.value > find->lsn.value || summary->first_key.ino != find->ino ||
	    key_kind(summary->first_key) != KEY_PAGE ||
	    key_index(summary->first_key) - find->first >= find->count)
		return;
	slot = &find->versions[key_index(summary->first_key) - find->first];
	if (slot->form && slot->layer == find->before) {
		memset(slot, 0, sizeof(*slot));
		--*find->found;
	}
}

static int find_pages_in_layer(void *context, struct layer *layer)
{
	struct find_pages *find = context;

	take_back_split_page(find, layer);
	find->before = layer;
	return layer_find_pages(layer, find->ino, find->first, find->count, find->lsn,
				find->versions, find->found);
}

int engine_find_pages(const struct layer_guard *guard, uint64_t ino, uint64_t first,
		      uint32_t count, struct lsn lsn, struct version *versions_out)
{
	struct key low = key_make(ino, KEY_PAGE, first);
	struct key high = key_make(ino, KEY_PAGE, first + count - 1);
	uint32_t found = 0;
	int err = 0;

	memset(versions_out, 0, count * sizeof(*versions_out));
	for (uint32_t i = layer_map_reach(guard->map, lsn); i-- > 0 && found < count && !err;) {
		const struct layer_run *run = guard->map->runs[i];
		uint32_t skipped;

		if (key_compare(run->from, high) > 0)
			continue;
		skipped = (uint32_t)(first_index(run, ino, KEY_PAGE, first) - first);
		struct find_pages find = { ino, first + skipped, count - skipped, lsn,
					   versions_out + skipped, &found, NULL };

		err = is_lost(run, high) ? lost_run_error(run)
					 : layer_run_each(run, low, high, find_pages_in_layer, &find);
	}
	return err;
}

/* In a run that is one layer of all keys, it is the same for all of them. */
static int find_names_in_run(const struct layer_run *run, uint64_t ino, const uint64_t *hashes,
			     uint32_t count, struct lsn lsn, struct version *versions)
{
	uint32_t done;
	int err = 0;

	for (uint32_t i = 0; i < count && !err; i += done) {
		struct key key = key_make(ino, KEY_NAME, hashes[i]);
		struct layer *layer;

		done = 1;
		if (versions[i].form)
			continue;
		layer = layer_run_find(run, key, lsn);
		if (layer)
			err = layer_find_names(layer, ino, hashes + i, count - i, lsn, versions + i, &done);
		else if (is_lost(run, key))
			err = lost_run_error(run);
	}
	return err;
}

int engine_find_names(const struct layer_guard *guard, uint64_t ino, const uint64_t *hashes,
		      uint32_t count, struct lsn lsn, struct version *versions_out)
{
	int err = 0;

	memset(versions_out, 0, count * sizeof(*versions_out));
	for (uint32_t i = layer_map_reach(guard->map, lsn); i-- > 0 && !err;)
		err = find_names_in_run(guard->map->runs[i], ino, hashes, count, lsn, versions_out);
	return err;
}

/* More patches than this allows cost more to read than an image costs to write. */
#define AT_HAND_WEIGHT_MAX 32u

static void log_bad_version(const struct version *version, int err)
{
	char name[LAYER_NAME_BYTES];

	layer_name(version->layer->id, name);
	log_line("layer file 'layers/%s': the version at LSN %llu of inode %llu, kind %u, index "
		 "%llu can't be read: %s", name, (unsigned long long)version->lsn.value,
		 (unsigned long long)version->key.ino, (unsigned)key_kind(version->key),
		 (unsigned long long)key_index(version->key),
		 err == -EBADMSG ? "its checksum is wrong" : strerror(-err));
}

/* The versions to be applied, newest first; the last stands alone. */
struct version_chain {
	struct key key;
	struct lsn below;               /* where the next is looked for */
	struct lsn floor;               /* the first is dead if it is not above */
	uint32_t count;
	struct version versions[VERSION_WEIGHT_MAX + 1];
};

/* Is there nothing that @version would be applied to, or no need? */
static bool stands_alone(const struct version_chain *chain, const struct version *version)
{
	return version->form == VERSION_TOMBSTONE || version->form == VERSION_LOST || !version->weight ||
	       version->lsn.value <= chain->floor.value;
}

/* Is there nothing to be seen? */
static bool is_hole(const struct version_chain *chain)
{
	return chain->versions[0].form == VERSION_TOMBSTONE ||
	       chain->versions[0].lsn.value <= chain->floor.value;
}

/* Take @count more versions that lie one behind the other into the chain. 0: it goes on; 1: it ends
 * here; -errno: no chain is like that. A tombstone, or what is lost, may be its first. */
static int chain_take(struct version_chain *chain, uint32_t count)
{
	for (; count; count--) {
		const struct version *here = &chain->versions[chain->count];

		if (chain->count) {
			/* The weight falls with every step, so the chain ends. */
			if (here->form == VERSION_TOMBSTONE || here->weight >= here[-1].weight)
				return -EUCLEAN;
			if (here->form == VERSION_LOST)
				return -EBADMSG;
		}
		chain->count++;
		if (stands_alone(chain, here))
			return 1;
		chain->below = lsn_make(here->lsn.value - 1);
	}
	return 0;
}

/* What a run has of the chain below its end. As above. */
static int chain_collect_run(const struct layer_run *run, struct version_chain *chain)
{
	uint32_t count;
	int err = 0;

	do {
		struct layer *layer = layer_run_find(run, chain->key, chain->below);

		count = 0;
		if (layer)
			err = layer_find_chain(layer, chain->key, chain->below,
					       chain->versions + chain->count,
					       VERSION_WEIGHT_MAX + 1 - chain->count, &count);
		else if (is_lost(run, chain->key))
			err = lost_run_error(run);
		if (!err)
			err = chain_take(chain, count);
		/* A run of many layers may have the rest in the one before. */
	} while (!err && count && run->level);
	return err;
}

/* One pass through the runs, whatever the length of the chain. 0; 1: there is no version; -errno. */
static int chain_collect(const struct layer_guard *guard, struct version_chain *chain)
{
	int err = 0;

	for (uint32_t i = layer_map_reach(guard->map, chain->below); i-- > 0 && !err;)
		err = chain_collect_run(guard->map->runs[i], chain);
	if (!err && !chain->count)
		return 1;
	err = err < 0 ? err : err == 1 ? 0 : -EUCLEAN;
	if (!err && chain->versions[0].form == VERSION_LOST && !is_hole(chain))
		err = -EBADMSG;
	if (err && chain->count)
		log_bad_version(&chain->versions[0], err);
	return err;
}

#define SCRATCH_BYTES 2048u     /* patches are seldom larger */

/* A value that is put together from a chain. */
struct apply {
	const struct version_chain *chain;
	uint32_t left;                  /* versions to be applied; the next is the one before */
	uint8_t *scratch;               /* room for the largest patch */
	uint8_t *value;
	size_t room_bytes, size_bytes;
};

/* The lowest version: the value itself, read where it is to be. */
static int apply_image(struct apply *apply, const struct version *version)
{
	const uint8_t *payload;
	int err;

	if (version->size_bytes > apply->room_bytes)
		return -EUCLEAN;
	err = version_load(version, apply->value, &payload);
	if (err)
		return err;
	if (payload != apply->value)
		memcpy(apply->value, payload, version->size_bytes);
	memset(apply->value + version->size_bytes, 0, apply->room_bytes - version->size_bytes);
	apply->size_bytes = version->size_bytes;
	return 0;
}

static int apply_patch(struct apply *apply, const struct version *version)
{
	const uint8_t *payload;
	int err = version_load(version, apply->scratch, &payload);

	if (err)
		return err;
	if (apply->left == apply->chain->count)
		memset(apply->value, 0, apply->room_bytes);
	apply->size_bytes = apply->room_bytes;
	return patch_apply(payload, version->size_bytes, apply->value, apply->room_bytes);
}

/* From the lowest up. */
static int apply_all(void *context)
{
	struct apply *apply = context;
	int err = 0;

	for (; apply->left && !err; apply->left -= !err) {
		const struct version *version = &apply->chain->versions[apply->left - 1];

		err = version->form == VERSION_PATCH ? apply_patch(apply, version)
						     : apply_image(apply, version);
	}
	return err;
}

static uint32_t largest_patch(const struct version_chain *chain)
{
	uint32_t largest = 0;

	for (uint32_t i = 0; i < chain->count; i++)
		if (chain->versions[i].form == VERSION_PATCH &&
		    chain->versions[i].size_bytes > largest)
			largest = chain->versions[i].size_bytes;
	return largest;
}

/* Apply what was collected. After an error the value is zeros. */
static int chain_apply(const struct version_chain *chain, void *value, size_t room_bytes,
		       size_t *size_out)
{
	uint32_t patch_bytes = largest_patch(chain);
	uint8_t few[SCRATCH_BYTES];
	struct apply apply = {
		.chain = chain,
		.left = chain->count,
		.scratch = patch_bytes > sizeof(few) ? malloc(patch_bytes) : few,
		.value = value,
		.room_bytes = room_bytes,
	};
	int err;

	if (!apply.scratch)
		return -ENOMEM;
	if (chain->count > 1)
		versions_prefetch(chain->versions, chain->count);
	/* An open layer's payload is used where it is mapped, so a file cut short is met here. */
	err = fault_guarded(apply_all, &apply);
	if (err) {
		log_bad_version(&chain->versions[apply.left - 1], err);
		/* What is not verified is shown to nobody. */
		memset(value, 0, room_bytes);
	}
	*size_out = apply.size_bytes;
	if (apply.scratch != few)
		free(apply.scratch);
	return err;
}

/* The chain of the newest version at or below @lsn. 0; 1: there is none above @floor, or a tombstone; -errno. */
static int chain_find(const struct layer_guard *guard, struct key key, struct lsn lsn, struct lsn floor,
		      struct version_chain *chain)
{
	int err;

	chain->key = key;
	chain->below = lsn;
	chain->floor = floor;
	chain->count = 0;
	err = chain_collect(guard, chain);
	return err ? err : is_hole(chain);
}

/* The chain of a version that was found. As above. */
static int chain_start(const struct layer_guard *guard, const struct version *version,
		       struct version_chain *chain)
{
	chain->key = version->key;
	chain->below = lsn_make(version->lsn.value - 1);
	chain->floor = lsn_make(0);
	chain->versions[0] = *version;
	chain->count = 1;
	if (version->form == VERSION_TOMBSTONE)
		return 1;
	if (version->form != VERSION_LOST && !version->weight)
		return 0;
	if (version->form != VERSION_LOST)
		return chain_collect(guard, chain);
	log_bad_version(version, -EBADMSG);
	return -EBADMSG;
}

int engine_load(const struct layer_guard *guard, const struct version *version, void *value,
		size_t room_bytes, size_t *size_out)
{
	struct version_chain chain;
	int err = chain_start(guard, version, &chain);

	*size_out = 0;
	return err ? err : chain_apply(&chain, value, room_bytes, size_out);
}

int engine_get(const struct layer_guard *guard, struct key key, struct lsn lsn, void *value,
	       size_t room_bytes, size_t *size_out, struct version *version_out)
{
	struct version_chain chain;
	int err = chain_find(guard, key, lsn, lsn_make(0), &chain);

	*size_out = 0;
	if (err)
		return err;
	*version_out = chain.versions[0];
	return chain_apply(&chain, value, room_bytes, size_out);
}

int engine_load_at_hand(const struct layer_guard *guard, const struct version *version, void *value,
			size_t room_bytes, size_t *size_out)
{
	struct version_chain chain;
	int err;

	*size_out = 0;
	if (version->weight > AT_HAND_WEIGHT_MAX)
		return 2;
	err = chain_start(guard, version, &chain);
	if (err)
		return err;
	for (uint32_t i = 0; i < chain.count; i++)
		if (!version_is_at_hand(&chain.versions[i]))
			return 2;
	return chain_apply(&chain, value, room_bytes, size_out);
}

/* Is it a page that lies whole in memory? */
static bool is_whole(const struct version *version, size_t page_bytes)
{
	return version->form == VERSION_IMAGE && version->size_bytes == page_bytes;
}

/* 0 and *page_out; 1: it does not lie where it could be looked at; -errno. */
static int page_view(const struct version *version, const uint8_t **page_out)
{
	int err = version_view(version, page_out);

	if (err < 0)
		log_bad_version(version, err);
	return err;
}

int engine_page(const struct layer_guard *guard, const struct version *version,
		size_t page_bytes, bool stream, uint8_t *scratch, const uint8_t **page_out)
{
	size_t size;
	int err = 1;

	*page_out = NULL;
	if (!version->form || version->form == VERSION_TOMBSTONE)
		return 0;
	if (is_whole(version, page_bytes) && (stream || version->layer->kind != LAYER_SEALED))
		err = page_view(version, page_out);
	if (err == 1) {
		err = engine_load(guard, version, scratch, page_bytes, &size);
		*page_out = err ? NULL : scratch;
	}
	return err;
}

int engine_get_page(const struct layer_guard *guard, uint64_t ino, uint64_t block, struct lsn lsn,
		    struct lsn floor, size_t page_bytes, uint8_t *scratch, const uint8_t **page_out)
{
	struct version_chain chain;
	size_t size;
	int err = chain_find(guard, key_make(ino, KEY_PAGE, block), lsn, floor, &chain);

	*page_out = NULL;
	if (err)
		return err < 0 ? err : 0;
	err = 1;
	if (is_whole(&chain.versions[0], page_bytes) && chain.versions[0].layer->kind != LAYER_SEALED)
		err = page_view(&chain.versions[0], page_out);
	if (err == 1) {
		err = chain_apply(&chain, scratch, page_bytes, &size);
		*page_out = err ? NULL : scratch;
	}
	return err;
}

struct each_name {
	uint64_t ino, from;
	layer_key_fn *fn;
	void *context;
};

static int each_name_of_layer(void *context, struct layer *layer)
{
	const struct each_name *each = context;

	return layer_each_name(layer, each->ino, each->from, each->fn, each->context);
}

int engine_each_name(const struct layer_guard *guard, uint64_t ino, uint64_t from,
		     layer_key_fn *fn, void *context)
{
	struct key high = key_make(ino, KEY_NAME, KEY_INDEX_MAX);
	int err = 0;

	for (uint32_t i = guard->map->run_count; i-- > 0 && !err;) {
		const struct layer_run *run = guard->map->runs[i];
		struct each_name each = { ino, first_index(run, ino, KEY_NAME, from), fn, context };

		err = is_lost(run, high) ? lost_run_error(run)
					 : layer_run_each(run, key_make(ino, KEY_NAME, from), high,
							  each_name_of_layer, &each);
	}
	return err;
}

struct each_version {
	uint64_t ino;
	struct key from;                /* of the run */
	layer_version_fn *fn;
	void *context;
};

static int each_version_of_run(void *context, const struct version *version)
{
	const struct each_version *each = context;

	return key_compare(version->key, each->from) < 0 ? 0 : each->fn(each->context, version);
}

static int each_version_of_layer(void *context, struct layer *layer)
{
	struct each_version *each = context;

	return layer_each_version(layer, each->ino, each_version_of_run, each);
}

int engine_each_version(const struct layer_guard *guard, uint64_t ino, layer_version_fn *fn,
			void *context)
{
	struct key high = { ino, UINT64_MAX };
	int err = 0;

	for (uint32_t i = 0; i < guard->map->run_count && !err; i++) {
		const struct layer_run *run = guard->map->runs[i];
		struct each_version each = { ino, run->from, fn, context };

		err = is_lost(run, high) ? lost_run_error(run)
					 : layer_run_each(run, (struct key){ ino, 0 }, high,
							  each_version_of_layer, &each);
	}
	return err;
}
