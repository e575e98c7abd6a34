#include "version_index.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_SLOTS_MIN 1024u
/* The kind of the node that heads a group; no key on disk has it. */
#define GROUP_KIND 0xffu

struct key_node {
	struct key key;
	_Atomic uint32_t newest;        /* version; of a group head: the key added last */
	uint32_t group_next;            /* key added before this one; 0: none */
};

/* Open addressing: each slot holds 32 bits of the hash above a key number; 0 is free. */
struct index_table {
	struct index_table *outgrown;
	uint32_t slot_count;            /* power of two */
	_Atomic uint64_t slots[];
};

struct version_index {
	struct version_node *versions;  /* [1, version_count] */
	struct key_node *keys;          /* [1, key_count] */
	size_t versions_bytes, keys_bytes;
	uint32_t version_limit;
	_Atomic uint32_t version_count; /* written by the writer */
	_Atomic uint32_t key_count;     /* group heads included; written by the writer */
	_Atomic uint32_t group_count;
	_Atomic uint64_t table_bytes;
	_Atomic(struct index_table *) table;
};

/* Address space only; pages come as they are touched. */
static void *pool_reserve(size_t size_bytes)
{
	void *pool = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return pool == MAP_FAILED ? NULL : pool;
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
	index->versions_bytes = ((size_t)version_limit + 1) * sizeof(struct version_node);
	/* Each key brings a version; in the worst case each name key also a group. */
	index->keys_bytes = (2 * (size_t)version_limit + 1) * sizeof(struct key_node);
	index->versions = pool_reserve(index->versions_bytes);
	index->keys = pool_reserve(index->keys_bytes);
	if (!index->versions || !index->keys) {
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
	if (index->versions)
		munmap(index->versions, index->versions_bytes);
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

/* Find @key's node or make it, with no version yet. Sets *made_out if made. */
static uint32_t key_node_get(struct version_index *index, struct key key, bool *made_out)
{
	struct index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	uint64_t hash = key_hash(key);
	uint32_t slot;
	uint32_t number = table_find(index, table, key, hash, &slot);

	*made_out = number == 0;
	if (number)
		return number;
	number = atomic_load_explicit(&index->key_count, memory_order_relaxed) + 1;
	assert(number < index->keys_bytes / sizeof(struct key_node));
	index->keys[number].key = key;
	atomic_store_explicit(&index->key_count, number, memory_order_release);
	atomic_store_explicit(&table->slots[slot], slot_make(hash, number), memory_order_release);
	return number;
}

static struct key group_key(uint64_t ino)
{
	return (struct key){ ino, (uint64_t)GROUP_KIND << KEY_INDEX_BITS };
}

static void group_add(struct version_index *index, uint64_t ino, uint32_t number)
{
	bool made;
	uint32_t group = key_node_get(index, group_key(ino), &made);
	_Atomic uint32_t *head = &index->keys[group].newest;

	if (made)
		atomic_fetch_add_explicit(&index->group_count, 1, memory_order_relaxed);
	index->keys[number].group_next = atomic_load_explicit(head, memory_order_relaxed);
	atomic_store_explicit(head, number, memory_order_release);
}

/* Set the links of a node that goes before @newest (0: it is the first). */
static void version_link(const struct version_index *index, struct version_node *node,
			 uint32_t newest)
{
	const struct version_node *before, *jump;

	node->before = newest;
	node->jump = 0;
	node->nth = 0;
	if (!newest)
		return;
	before = &index->versions[newest];
	node->nth = before->nth + 1;
	node->jump = newest;
	if (!before->jump)
		return;
	/* Two jumps of one length become one of twice that (and one). */
	jump = &index->versions[before->jump];
	if (jump->jump && before->nth - jump->nth == jump->nth - index->versions[jump->jump].nth)
		node->jump = jump->jump;
}

void version_index_insert(struct version_index *index, struct key key,
			  const struct version_node *node)
{
	bool made;
	uint32_t key_number = key_node_get(index, key, &made);
	struct key_node *key_node = &index->keys[key_number];
	uint32_t newest = atomic_load_explicit(&key_node->newest, memory_order_relaxed);
	uint32_t number =
		atomic_load_explicit(&index->version_count, memory_order_relaxed) + 1;
	struct version_node *slot = &index->versions[number];

	assert(number <= index->version_limit);
	*slot = *node;
	version_link(index, slot, newest);
	atomic_store_explicit(&index->version_count, number, memory_order_relaxed);
	atomic_store_explicit(&key_node->newest, number, memory_order_release);
	if (made && key_kind(key) == KEY_NAME)
		group_add(index, key.ino, key_number);
}

const struct version_node *version_index_find(const struct version_index *index, struct key key,
					      uint32_t lsn)
{
	const struct index_table *table =
		atomic_load_explicit(&index->table, memory_order_acquire);
	uint32_t slot;
	uint32_t number = table_find(index, table, key, key_hash(key), &slot);
	uint32_t at;

	if (!number)
		return NULL;
	at = atomic_load_explicit(&index->keys[number].newest, memory_order_acquire);
	while (at) {
		const struct version_node *node = &index->versions[at];

		if (node->lsn <= lsn)
			return node;
		at = node->jump && index->versions[node->jump].lsn > lsn ? node->jump
									  : node->before;
	}
	return NULL;
}

const struct version_node *version_index_before(const struct version_index *index,
						const struct version_node *node)
{
	return node->before ? &index->versions[node->before] : NULL;
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
		uint32_t newest = atomic_load_explicit(&node->newest, memory_order_acquire);

		if (newest && (unsigned)key_kind(node->key) != GROUP_KIND)
			err = fn(context, node->key, &index->versions[newest]);
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
	       (uint64_t)version_index_version_count(index) * sizeof(struct version_node) +
	       (uint64_t)atomic_load_explicit(&index->key_count, memory_order_relaxed) *
		       sizeof(struct key_node);
}

/* One pass of a radix sort: stable, by the byte @shift bits up in word @word. */
static void sort_pass(const struct version_index_key *from, struct version_index_key *to,
		      uint32_t count, int word, unsigned shift)
{
	uint32_t start[256] = { 0 }, sum = 0;

#define SORT_BYTE(k) ((uint8_t)((word ? (k)->key.ino : (k)->key.sub) >> shift))
	for (uint32_t i = 0; i < count; i++)
		start[SORT_BYTE(&from[i])]++;
	for (unsigned b = 0; b < 256; b++) {
		uint32_t here = start[b];

		start[b] = sum;
		sum += here;
	}
	for (uint32_t i = 0; i < count; i++)
		to[start[SORT_BYTE(&from[i])]++] = from[i];
#undef SORT_BYTE
}

/* Radix sort that skips the bytes in which no two keys differ: keys of one
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
		for (unsigned shift = 0; shift < 64; shift += 8) {
			struct version_index_key *sorted = scratch;

			if (!(differ[word] >> shift & 0xff))
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
		keys[count++].newest = &index->versions[atomic_load_explicit(
			&node->newest, memory_order_relaxed)];
	}
	*keys_out = sort_keys(keys, scratch, count);
	*count_out = count;
	free(*keys_out == keys ? scratch : keys);
	return 0;
}
