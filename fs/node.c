#include "node.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Lookups under different directories rarely meet in one of 64 shards. */
#define SHARD_BITS 6
#define SHARD_COUNT (1u << SHARD_BITS)
#define BUCKET_COUNT_START 64u

struct node {
	struct node *next;
	uint64_t id;
	uint64_t ino;
	struct lsn at;
	uint64_t told_count;
	bool expired; /* node_take_expired returned it */
};

struct shard {
	pthread_mutex_t mutex;
	struct node **buckets; /* under mutex, as all below */
	size_t bucket_count;   /* a power of two */
	size_t node_count;
};

struct node_table {
	uint64_t hash_mask; /* set once, by node_table_open */
	struct shard shards[SHARD_COUNT];
};

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input
 * reaches every bit of the output, and no two inputs share an output. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

/* The id of a directory while no other has it. */
static uint64_t directory_id(const struct node_table *table, uint64_t ino, struct lsn at)
{
	uint64_t hash = mix(mix(ino + UINT64_C(0x9e3779b97f4a7c15)) + at.value);

	return NODE_PAST_DIRECTORY | (hash & table->hash_mask);
}

static struct shard *shard_of(struct node_table *table, uint64_t hash)
{
	return &table->shards[hash >> (64 - SHARD_BITS)];
}

static struct node **bucket_of(struct shard *shard, uint64_t hash)
{
	return &shard->buckets[hash & (shard->bucket_count - 1)];
}

/* The link that points to @id's node, or the empty one at its chain's end. */
static struct node **node_link(struct shard *shard, uint64_t id)
{
	struct node **link = bucket_of(shard, mix(id));

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

int node_table_open(unsigned hash_bits, struct node_table **table_out)
{
	struct node_table *table;

	*table_out = NULL;
	table = calloc(1, sizeof(*table));
	if (!table)
		return -ENOMEM;
	table->hash_mask = hash_bits ? (UINT64_C(1) << hash_bits) - 1 : ~NODE_PAST_DIRECTORY;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct shard *shard = &table->shards[i];

		pthread_mutex_init(&shard->mutex, NULL);
		shard->bucket_count = BUCKET_COUNT_START;
		shard->buckets = calloc(shard->bucket_count, sizeof(*shard->buckets));
		if (!shard->buckets) {
			node_table_close(table);
			return -ENOMEM;
		}
	}
	*table_out = table;
	return 0;
}

static void shard_destroy(struct shard *shard)
{
	for (size_t i = 0; shard->buckets && i < shard->bucket_count; i++) {
		struct node *node = shard->buckets[i];

		while (node) {
			struct node *next = node->next;

			free(node);
			node = next;
		}
	}
	free(shard->buckets);
	pthread_mutex_destroy(&shard->mutex);
}

void node_table_close(struct node_table *table)
{
	if (!table)
		return;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		/* Shards after the one whose buckets could not be had were not begun. */
		if (table->shards[i].bucket_count)
			shard_destroy(&table->shards[i]);
	}
	free(table);
}

/* Double the buckets. A shard that can't grow gets slower, not wrong. */
static void shard_grow(struct shard *shard)
{
	size_t bucket_count = shard->bucket_count * 2;
	struct node **old = shard->buckets;
	size_t old_count = shard->bucket_count;
	struct node **buckets = calloc(bucket_count, sizeof(*buckets));

	if (!buckets)
		return;
	shard->buckets = buckets;
	shard->bucket_count = bucket_count;
	for (size_t i = 0; i < old_count; i++) {
		struct node *node = old[i];

		while (node) {
			struct node *next = node->next;
			struct node **bucket = bucket_of(shard, mix(node->id));

			node->next = *bucket;
			*bucket = node;
			node = next;
		}
	}
	free(old);
}

static bool node_names(const struct node *node, uint64_t ino, struct lsn at)
{
	return node->ino == ino && node->at.value == at.value;
}

/* Count the id in, with the shard locked. */
static int shard_ref(struct shard *shard, uint64_t id, uint64_t ino, struct lsn at,
		     struct lsn oldest)
{
	struct node **link = node_link(shard, id);
	struct node *node = *link;

	if (!node) {
		node = malloc(sizeof(*node));
		if (!node)
			return -ENOMEM;
		*node = (struct node){.id = id, .ino = ino, .at = at};
		*link = node;
		if (++shard->node_count > shard->bucket_count)
			shard_grow(shard);
	}
	if (at.value > node->at.value || node->at.value < oldest.value)
		node->at = at;
	node->told_count++;
	return 0;
}

/* A directory's shard is chosen by its hash without the probing below, so that
 * ids which probing moves stay in one shard: the top bits of an id are fixed,
 * the shard is taken from the bits below them, and probing changes the lowest. */
static struct shard *shard_of_id(struct node_table *table, uint64_t id)
{
	return (id & NODE_PAST_DIRECTORY) == NODE_PAST_DIRECTORY ? shard_of(table, id << 2)
								 : shard_of(table, mix(id));
}

/* Round within the low half of the id. */
static uint64_t probe_next(uint64_t id)
{
	uint64_t kept = UINT64_MAX << 32;

	return (id & kept) | ((id + 1) & ~kept);
}

int node_find(struct node_table *table, uint64_t id, uint64_t *ino_out, struct lsn *at_out)
{
	struct shard *shard = shard_of_id(table, id);
	struct node *node;
	int err = 0;

	*ino_out = 0;
	*at_out = lsn_make(0);
	pthread_mutex_lock(&shard->mutex);
	node = *node_link(shard, id);
	if (node) {
		*ino_out = node->ino;
		*at_out = node->at;
	} else {
		err = -ESTALE;
	}
	pthread_mutex_unlock(&shard->mutex);
	return err;
}

/* The directory's id, with its shard locked: the first that is its own or free. */
static uint64_t shard_directory_id(struct shard *shard, uint64_t id, uint64_t ino, struct lsn at)
{
	for (;;) {
		const struct node *node = *node_link(shard, id);

		if (!node || node_names(node, ino, at))
			return id;
		id = probe_next(id);
	}
}

uint64_t node_directory_id(struct node_table *table, uint64_t ino, struct lsn at)
{
	uint64_t id = directory_id(table, ino, at);
	struct shard *shard = shard_of_id(table, id);

	pthread_mutex_lock(&shard->mutex);
	id = shard_directory_id(shard, id, ino, at);
	pthread_mutex_unlock(&shard->mutex);
	return id;
}

int node_ref_directory(struct node_table *table, uint64_t ino, struct lsn at, uint64_t *id_out)
{
	uint64_t id = directory_id(table, ino, at);
	struct shard *shard = shard_of_id(table, id);
	int err;

	pthread_mutex_lock(&shard->mutex);
	id = shard_directory_id(shard, id, ino, at);
	err = shard_ref(shard, id, ino, at, lsn_make(0));
	pthread_mutex_unlock(&shard->mutex);
	*id_out = err ? 0 : id;
	return err;
}

int node_ref_file(struct node_table *table, uint64_t position, uint64_t ino, struct lsn at,
		  struct lsn oldest, uint64_t *id_out)
{
	uint64_t id = node_file_id(position);
	struct shard *shard = shard_of_id(table, id);
	int err;

	assert(position < LSN_LIMIT);
	pthread_mutex_lock(&shard->mutex);
	err = shard_ref(shard, id, ino, at, oldest);
	pthread_mutex_unlock(&shard->mutex);
	*id_out = err ? 0 : id;
	return err;
}

void node_forget(struct node_table *table, uint64_t id, uint64_t count)
{
	struct shard *shard;
	struct node **link, *node;

	if (!node_is_past(id))
		return;
	shard = shard_of_id(table, id);
	pthread_mutex_lock(&shard->mutex);
	link = node_link(shard, id);
	node = *link;
	if (node && node->told_count > count) {
		node->told_count -= count;
		node = NULL;
	} else if (node) {
		*link = node->next;
		shard->node_count--;
	}
	pthread_mutex_unlock(&shard->mutex);
	free(node);
}

/* With the shard locked. */
static size_t shard_take_expired(struct shard *shard, struct lsn oldest, struct lsn *lsns_out,
				 size_t room)
{
	size_t count = 0;

	for (size_t i = 0; i < shard->bucket_count && count < room; i++) {
		for (struct node *node = shard->buckets[i]; node && count < room; node = node->next) {
			if (node->ino != NODE_VIEW_INO || node->expired ||
			    node->at.value >= oldest.value)
				continue;
			node->expired = true;
			lsns_out[count++] = node->at;
		}
	}
	return count;
}

size_t node_take_expired(struct node_table *table, struct lsn oldest, struct lsn *lsns_out,
			 size_t room)
{
	size_t count = 0;

	for (unsigned i = 0; i < SHARD_COUNT && count < room; i++) {
		struct shard *shard = &table->shards[i];

		pthread_mutex_lock(&shard->mutex);
		count += shard_take_expired(shard, oldest, lsns_out + count, room - count);
		pthread_mutex_unlock(&shard->mutex);
	}
	return count;
}

uint64_t node_count(struct node_table *table)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct shard *shard = &table->shards[i];

		pthread_mutex_lock(&shard->mutex);
		count += shard->node_count;
		pthread_mutex_unlock(&shard->mutex);
	}
	return count;
}
