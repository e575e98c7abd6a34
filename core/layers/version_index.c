#include "version_index.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_SLOTS_MIN 1024u
/* The kind of the node that heads a group; no key on disk has it. */
#define GROUP_KIND KEY_KIND_LIMIT

/* Where a key's first version lies in no chunk. */
#define NTH_FIRST UINT16_MAX
#define CHUNK_ROOM_MIN 3u               /* with its head, four nodes */
#define CHUNK_GROWTH 3u
#define CHUNK_ROOM_MAX 32767u           /* NTH_FIRST is no place in it */

struct key_node {
	struct key key;
	_Atomic uint32_t newest;        /* chunk; 0: none. Of a group head: the key added last */
	uint32_t group_next;            /* key added before this one; 0: none */
	struct version_node first;      /* the oldest version */
};

/* Takes the place of a node in the pool; @room nodes follow it. */
struct chunk {
	_Atomic uint32_t count;         /* of nodes in use; the first is the oldest */
	uint32_t room;
	uint32_t before;                /* the chunk filled before; 0: none */
	uint32_t key_number;
};

union pool_unit {
	struct version_node node;
	struct chunk chunk;
};

_Static_assert(sizeof(union pool_unit) == 24, "a chunk's head takes the room of one node");

/* Open addressing: each slot holds 32 bits of the hash above a key number; 0 is free. */
struct index_table {
	struct index_table *outgrown;
	uint32_t slot_count;            /* power of two */
	_Atomic uint64_t slots[];
};

struct version_index {
	union pool_unit *units;         /* [1, unit_count] */
	struct key_node *keys;          /* [1, key_count] */
	size_t units_bytes, keys_bytes;
	uint32_t version_limit;
	_Atomic uint32_t unit_count;    /* written by the writer */
	_Atomic uint32_t version_count; /* written by the writer */
	_Atomic uint32_t key_count;     /* group heads included; written by the writer */
	_Atomic uint32_t group_count;
	_Atomic uint64_t table_bytes;
	_Atomic(struct index_table *) table;
};

/* Address space only; pages come as they are touched. Huge ones where there are
 * any, to miss the TLB less: a lookup goes to each pool. (What that saves is not
 * settled: the machine was too busy to tell it from noise.) */
static void *pool_reserve(size_t size_bytes)
{
	void *pool = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (pool == MAP_FAILED)
		return NULL;
	madvise(pool, size_bytes, MADV_HUGEPAGE);
	return pool;
}

static struct index_table *table_create(uint32_t slot_count)
{
	struct index_table *table =
		calloc(1, sizeof(*table) + (size_t)slot_count * sizeof(table->slots[0]));

	if (table)
		table->slot_count = slot_count;
	return table;
}

static size_t table_memory_bytes(const struct index_table *table)
{
	return sizeof(*table) + (size_t)table->slot_count * sizeof(table->slots[0]);
}

int version_index_create(uint32_t version_limit, struct version_index **index_out)
{
	struct version_index *index = calloc(1, sizeof(*index));
	struct index_table *table = table_create(TABLE_SLOTS_MIN);

	*index_out = NULL;
	if (!index || !table) {
		free(index);
		free(table);
		return -ENOMEM;
	}
	atomic_init(&index->table, table);
	atomic_init(&index->table_bytes, table_memory_bytes(table));
	index->version_limit = version_limit;
	/* A key's second version brings a chunk of four units; later ones less. */
	index->units_bytes =
		((CHUNK_ROOM_MIN + 1) * (size_t)version_limit + 1) * sizeof(union pool_unit);
	/* Each key brings a version; in the worst case each name key also a group. */
	index->keys_bytes = (2 * (size_t)version_limit + 1) * sizeof(struct key_node);
	index->units = pool_reserve(index->units_bytes);
	index->keys = pool_reserve(index->keys_bytes);
	if (!index->units || !index->keys) {
		version_index_free(index);
		return -ENOMEM;
	}
	*index_out = index;
	return 0;
}

void version_index_free(struct version_index *index)
{
	struct index_table *table, *outgrown;

	if (!index)
		return;
	for (table = atomic_load(&index->table); table; table = outgrown) {
		outgrown = table->outgrown;
		free(table);
	}
	if (index->units)
		munmap(index->units, index->units_bytes);
	if (index->keys)
		munmap(index->keys, index->keys_bytes);
	free(index);
}

static uint64_t slot_make(uint64_t hash, uint32_t number)
{
	return (hash & UINT64_C(0xffffffff00000000)) | number;
}

/* The number of @key's node, or 0; *slot_out is where it is or would go. */
static uint32_t table_find(const struct version_index *index, const struct index_table *table,
			   struct key key, uint64_t hash, uint32_t *slot_out)
{
	uint32_t mask = table->slot_count - 1;
	uint32_t at = (uint32_t)hash & mask;

	for (;; at = (at + 1) & mask) {
		uint64_t slot = atomic_load_explicit(&table->slots[at], memory_order_acquire);
		uint32_t number = (uint32_t)slot;

		*slot_out = at;
		if (slot == 0)
			return 0;
		if ((slot ^ hash) >> 32 == 0 && key_equal(index->keys[number].key, key))
			return number;
	}
}

static void table_copy(const struct version_index *index, const struct index_table *from,
		       struct index_table *to)
{
	uint32_t mask = to->slot_count - 1;

	for (uint32_t i = 0; i < from->slot_count; i++) {
		uint64_t slot = atomic_load_explicit(&from->slots[i], memory_order_relaxed);
		uint32_t at;

		if (slot == 0)
			continue;
		at = (uint32_t)key_hash(index->keys[(uint32_t)slot].key) & mask;
		while (atomic_load_explicit(&to->slots[at], memory_order_relaxed))
			at = (at + 1) & mask;
		atomic_store_explicit(&to->slots[at], slot, memory_order_relaxed);
	}
}

int version_index_prepare(struct version_index *index, uint32_t count)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	/* A new name key may bring its group. */
	uint64_t keys = (uint64_t)atomic_load_explicit(&index->key_count, memory_order_relaxed) +
			2 * (uint64_t)count;
	uint32_t versions = atomic_load_explicit(&index->version_count, memory_order_relaxed);
	uint32_t slot_count = table->slot_count;
	struct index_table *grown;

	if (count > index->version_limit - versions)
		return -ENOMEM;
	while (keys > slot_count / 2)
		slot_count *= 2;
	if (slot_count == table->slot_count)
		return 0;
	grown = table_create(slot_count);
	if (!grown)
		return -ENOMEM;
	table_copy(index, table, grown);
	grown->outgrown = table;
	atomic_fetch_add_explicit(&index->table_bytes, table_memory_bytes(grown),
				  memory_order_relaxed);
	atomic_store_explicit(&index->table, grown, memory_order_release);
	return 0;
}

/* Make the node of a new key, whose hash is @hash, and let readers see it. */
static uint32_t key_node_add(struct version_index *index, struct index_table *table,
			     struct key key, uint64_t hash, uint32_t slot,
			     const struct version_node *first)
{
	uint32_t number = atomic_load_explicit(&index->key_count, memory_order_relaxed) + 1;
	struct key_node *node = &index->keys[number];

	assert(number < index->keys_bytes / sizeof(struct key_node));
	node->key = key;
	if (first) {
		node->first = *first;
		node->first.nth = NTH_FIRST;
	}
	atomic_store_explicit(&index->key_count, number, memory_order_release);
	atomic_store_explicit(&table->slots[slot], slot_make(hash, number), memory_order_release);
	return number;
}

static struct key group_key(uint64_t ino)
{
	return (struct key){ ino, (uint64_t)GROUP_KIND << KEY_INDEX_BITS };
}

static void group_add(struct version_index *index, struct index_table *table, uint64_t ino,
		      uint32_t number)
{
	struct key key = group_key(ino);
	uint64_t hash = key_hash(key);
	uint32_t slot;
	uint32_t group = table_find(index, table, key, hash, &slot);
	_Atomic uint32_t *head;

	if (!group) {
		group = key_node_add(index, table, key, hash, slot, NULL);
		atomic_fetch_add_explicit(&index->group_count, 1, memory_order_relaxed);
	}
	head = &index->keys[group].newest;
	index->keys[number].group_next = atomic_load_explicit(head, memory_order_relaxed);
	atomic_store_explicit(head, number, memory_order_release);
}

static struct chunk *chunk_at(const struct version_index *index, uint32_t number)
{
	return &index->units[number].chunk;
}

static struct version_node *chunk_nodes(const struct version_index *index, uint32_t number)
{
	return &index->units[number + 1].node;
}

/* A chunk larger than @before, with one version in it. Returns its number. */
static uint32_t chunk_add(struct version_index *index, uint32_t key_number, uint32_t before,
			  const struct version_node *node)
{
	uint32_t number = atomic_load_explicit(&index->unit_count, memory_order_relaxed) + 1;
	uint32_t room = before ? CHUNK_GROWTH * (chunk_at(index, before)->room + 1) - 1
			       : CHUNK_ROOM_MIN;
	struct chunk *chunk = chunk_at(index, number);

	if (room > CHUNK_ROOM_MAX)
		room = CHUNK_ROOM_MAX;
	assert((number + room + 1) * sizeof(union pool_unit) <= index->units_bytes);
	chunk->room = room;
	chunk->before = before;
	chunk->key_number = key_number;
	chunk_nodes(index, number)[0] = *node;
	chunk_nodes(index, number)[0].nth = 0;
	atomic_store_explicit(&chunk->count, 1, memory_order_relaxed);
	atomic_store_explicit(&index->unit_count, number + room, memory_order_relaxed);
	return number;
}

/* Add a version to a key that has one. */
static void key_add_version(struct version_index *index, uint32_t key_number,
			    const struct version_node *node)
{
	_Atomic uint32_t *newest = &index->keys[key_number].newest;
	uint32_t number = atomic_load_explicit(newest, memory_order_relaxed);
	struct chunk *chunk = number ? chunk_at(index, number) : NULL;
	uint32_t count = chunk ? atomic_load_explicit(&chunk->count, memory_order_relaxed) : 0;

	if (!chunk || count == chunk->room) {
		number = chunk_add(index, key_number, number, node);
		atomic_store_explicit(newest, number, memory_order_release);
		return;
	}
	chunk_nodes(index, number)[count] = *node;
	chunk_nodes(index, number)[count].nth = (uint16_t)count;
	atomic_store_explicit(&chunk->count, count + 1, memory_order_release);
}

void version_index_insert(struct version_index *index, struct key key,
			  const struct version_node *node)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	uint64_t hash = key_hash(key);
	uint32_t slot;
	uint32_t number = table_find(index, table, key, hash, &slot);
	uint32_t versions =
		atomic_load_explicit(&index->version_count, memory_order_relaxed) + 1;

	assert(versions <= index->version_limit);
	if (number) {
		key_add_version(index, number, node);
	} else {
		number = key_node_add(index, table, key, hash, slot, node);
		if (key_kind(key) == KEY_NAME)
			group_add(index, table, key.ino, number);
	}
	atomic_store_explicit(&index->version_count, versions, memory_order_relaxed);
}

/* The last of @count nodes that is not above @lsn; the first is not. Most readers
 * want the newest. */
static const struct version_node *nodes_search(const struct version_node *nodes, uint32_t count,
					       uint32_t lsn)
{
	uint32_t low = 0;

	if (nodes[count - 1].lsn <= lsn)
		return &nodes[count - 1];
	/* Without a branch on what is compared: at a random LSN it would be
	 * mispredicted every other time, which took 40 % longer. */
	while (count > 1) {
		uint32_t half = count / 2;

		low += nodes[low + half].lsn <= lsn ? half : 0;
		count -= half;
	}
	return &nodes[low];
}

static const struct version_node *key_find(const struct version_index *index,
					   const struct key_node *key, uint32_t lsn)
{
	uint32_t number = atomic_load_explicit(&key->newest, memory_order_acquire);

	while (number) {
		const struct chunk *chunk = chunk_at(index, number);
		const struct version_node *nodes = chunk_nodes(index, number);

		if (nodes[0].lsn <= lsn)
			return nodes_search(nodes,
					    atomic_load_explicit(&chunk->count,
								 memory_order_acquire),
					    lsn);
		number = chunk->before;
	}
	return key->first.lsn <= lsn ? &key->first : NULL;
}

const struct version_node *version_index_find(const struct version_index *index, struct key key,
					      uint32_t lsn)
{
	const struct index_table *table =
		atomic_load_explicit(&index->table, memory_order_acquire);
	uint32_t slot;
	uint32_t number = table_find(index, table, key, key_hash(key), &slot);

	return number ? key_find(index, &index->keys[number], lsn) : NULL;
}

const struct version_node *version_index_before(const struct version_index *index,
						const struct version_node *node)
{
	const struct chunk *chunk;

	if (node->nth == NTH_FIRST)
		return NULL;
	if (node->nth)
		return node - 1;
	chunk = (const struct chunk *)(node - 1);
	if (!chunk->before)
		return &index->keys[chunk->key_number].first;
	return &chunk_nodes(index, chunk->before)[chunk_at(index, chunk->before)->room - 1];
}

int version_index_each_name(const struct version_index *index, uint64_t ino,
			    version_index_key_fn *fn, void *context)
{
	const struct index_table *table =
		atomic_load_explicit(&index->table, memory_order_acquire);
	struct key key = group_key(ino);
	uint32_t slot;
	uint32_t group = table_find(index, table, key, key_hash(key), &slot);
	uint32_t at;
	int err = 0;

	if (!group)
		return 0;
	at = atomic_load_explicit(&index->keys[group].newest, memory_order_acquire);
	for (; at && !err; at = index->keys[at].group_next)
		err = fn(context, index->keys[at].key);
	return err;
}

int version_index_each_key(const struct version_index *index, version_index_version_fn *fn,
			   void *context)
{
	uint32_t count = atomic_load_explicit(&index->key_count, memory_order_acquire);
	int err = 0;

	for (uint32_t i = 1; i <= count && !err; i++) {
		const struct key_node *node = &index->keys[i];

		if ((unsigned)key_kind(node->key) != GROUP_KIND)
			err = fn(context, node->key, key_find(index, node, UINT32_MAX));
	}
	return err;
}

uint32_t version_index_key_count(const struct version_index *index)
{
	return atomic_load_explicit(&index->key_count, memory_order_relaxed) -
	       atomic_load_explicit(&index->group_count, memory_order_relaxed);
}

uint32_t version_index_version_count(const struct version_index *index)
{
	return atomic_load_explicit(&index->version_count, memory_order_relaxed);
}

uint64_t version_index_memory_bytes(const struct version_index *index)
{
	return atomic_load_explicit(&index->table_bytes, memory_order_relaxed) +
	       (uint64_t)atomic_load_explicit(&index->unit_count, memory_order_relaxed) *
		       sizeof(union pool_unit) +
	       (uint64_t)atomic_load_explicit(&index->key_count, memory_order_relaxed) *
		       sizeof(struct key_node);
}

/* 18 bits of block number, as in a layer of small changes, are two digits. */
#define DIGIT_BITS 11u
#define DIGIT_COUNT (1u << DIGIT_BITS)

static uint32_t digit_of(const struct version_index_key *key, int word, unsigned shift)
{
	return (uint32_t)((word ? key->key.ino : key->key.sub) >> shift) & (DIGIT_COUNT - 1);
}

/* One pass of a radix sort: stable, by the digit @shift bits up in word @word. */
static void sort_pass(const struct version_index_key *from, struct version_index_key *to,
		      uint32_t count, int word, unsigned shift)
{
	uint32_t start[DIGIT_COUNT] = { 0 }, sum = 0;

	for (uint32_t i = 0; i < count; i++)
		start[digit_of(&from[i], word, shift)]++;
	for (unsigned d = 0; d < DIGIT_COUNT; d++) {
		uint32_t here = start[d];

		start[d] = sum;
		sum += here;
	}
	for (uint32_t i = 0; i < count; i++)
		to[start[digit_of(&from[i], word, shift)]++] = from[i];
}

/* Radix sort that skips the digits in which no two keys differ: keys of one
 * layer share most of theirs. Returns whichever of the two holds the result. */
static struct version_index_key *sort_keys(struct version_index_key *keys,
					   struct version_index_key *scratch, uint32_t count)
{
	uint64_t differ[2] = { 0, 0 };

	for (uint32_t i = 1; i < count; i++) {
		differ[0] |= keys[i].key.sub ^ keys[0].key.sub;
		differ[1] |= keys[i].key.ino ^ keys[0].key.ino;
	}
	for (int word = 0; word < 2; word++) {
		for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
			struct version_index_key *sorted = scratch;

			if (!(differ[word] >> shift & (DIGIT_COUNT - 1)))
				continue;
			sort_pass(keys, scratch, count, word, shift);
			scratch = keys;
			keys = sorted;
		}
	}
	return keys;
}

int version_index_sort(const struct version_index *index, struct version_index_key **keys_out,
		       uint32_t *count_out)
{
	uint32_t total = atomic_load_explicit(&index->key_count, memory_order_acquire);
	uint32_t count = 0;
	struct version_index_key *keys = malloc(((size_t)total + 1) * sizeof(*keys));
	struct version_index_key *scratch = malloc(((size_t)total + 1) * sizeof(*keys));

	*keys_out = NULL;
	*count_out = 0;
	if (!keys || !scratch) {
		free(keys);
		free(scratch);
		return -ENOMEM;
	}
	for (uint32_t i = 1; i <= total; i++) {
		const struct key_node *node = &index->keys[i];

		if ((unsigned)key_kind(node->key) == GROUP_KIND)
			continue;
		keys[count].key = node->key;
		keys[count++].newest = key_find(index, node, UINT32_MAX);
	}
	*keys_out = sort_keys(keys, scratch, count);
	*count_out = count;
	free(*keys_out == keys ? scratch : keys);
	return 0;
}
