#include "node.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

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
	TAILQ_ENTRY(node) by_age;
	bool is_shared; /* in order.shared; under order.mutex */
};

TAILQ_HEAD(node_list, node);

struct shard {
	pthread_mutex_t mutex;
	struct node **buckets; /* under mutex, as all below */
	size_t bucket_count;   /* a power of two */
	size_t node_count;
};

/*
 * All nodes, those first that the kernel was not told of for longest. A version of a
 * file that it was told of under several LSNs has a name in several directories, and
 * keeps all of them: such files stand in a list of their own, to be pruned with the
 * oldest directories. The mutex is taken with a shard's held, and nothing below it.
 */
struct order {
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* more nodes than crowd_count, or roused */
	struct node_list nodes;	/* under mutex, as all below */
	struct node_list shared;
	uint64_t count; /* in both lists */
	uint64_t shared_count;
	uint64_t gone_count;  /* those removed since the start */
	uint64_t crowd_count; /* what node_wait waits for */
	uint64_t limit_count; /* what node_wait_room waits for */
	pthread_cond_t room;  /* as many nodes as limit_count, or roused; CLOCK_MONOTONIC */
	bool roused;
};

struct node_table {
	uint64_t hash_mask; /* set once, by node_table_open */
	struct order order;
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

static void order_init(struct order *order)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&order->mutex, NULL);
	pthread_cond_init(&order->changed, NULL);
	pthread_cond_init(&order->room, &monotonic);
	pthread_condattr_destroy(&monotonic);
	TAILQ_INIT(&order->nodes);
	TAILQ_INIT(&order->shared);
	order->crowd_count = UINT64_MAX;
	order->limit_count = NODE_NO_LIMIT;
}

int node_table_open(unsigned hash_bits, struct node_table **table_out)
{
	struct node_table *table;

	*table_out = NULL;
	table = calloc(1, sizeof(*table));
	if (!table)
		return -ENOMEM;
	order_init(&table->order);
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
	pthread_cond_destroy(&table->order.room);
	pthread_cond_destroy(&table->order.changed);
	pthread_mutex_destroy(&table->order.mutex);
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

static void order_add(struct order *order, struct node *node)
{
	pthread_mutex_lock(&order->mutex);
	TAILQ_INSERT_TAIL(&order->nodes, node, by_age);
	if (++order->count > order->crowd_count)
		pthread_cond_signal(&order->changed);
	pthread_mutex_unlock(&order->mutex);
}

static struct node_list *order_list(struct order *order, const struct node *node)
{
	return node->is_shared ? &order->shared : &order->nodes;
}

/* To the end of the list it belongs to now. The mutex is held. */
static void order_move(struct order *order, struct node *node, bool is_shared)
{
	TAILQ_REMOVE(order_list(order, node), node, by_age);
	order->shared_count -= node->is_shared;
	node->is_shared = is_shared;
	order->shared_count += is_shared;
	TAILQ_INSERT_TAIL(order_list(order, node), node, by_age);
}

static void order_renew(struct order *order, struct node *node)
{
	pthread_mutex_lock(&order->mutex);
	order_move(order, node, node->id < NODE_PAST_DIRECTORY);
	pthread_mutex_unlock(&order->mutex);
}

static void order_remove(struct order *order, struct node *node)
{
	pthread_mutex_lock(&order->mutex);
	TAILQ_REMOVE(order_list(order, node), node, by_age);
	order->shared_count -= node->is_shared;
	order->count--;
	order->gone_count++;
	if (order->count == order->limit_count)
		pthread_cond_broadcast(&order->room);
	pthread_mutex_unlock(&order->mutex);
}

/* Count the id in, with the shard locked. */
static int shard_ref(struct node_table *table, struct shard *shard, uint64_t id, uint64_t ino,
		     struct lsn at, struct lsn oldest)
{
	struct node **link = node_link(shard, id);
	struct node *node = *link;

	if (!node) {
		node = malloc(sizeof(*node));
		if (!node)
			return -ENOMEM;
		*node = (struct node){.id = id, .ino = ino, .at = at};
		*link = node;
		order_add(&table->order, node);
		if (++shard->node_count > shard->bucket_count)
			shard_grow(shard);
	} else {
		order_renew(&table->order, node);
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
	err = shard_ref(table, shard, id, ino, at, lsn_make(0));
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
	err = shard_ref(table, shard, id, ino, at, oldest);
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
		order_remove(&table->order, node);
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
	uint64_t count;

	pthread_mutex_lock(&table->order.mutex);
	count = table->order.count;
	pthread_mutex_unlock(&table->order.mutex);
	return count;
}

/* Hand out the first @count of a list, which go to the end of all. The mutex is held. */
static void order_take(struct order *order, const struct node_list *list, size_t count,
		       struct node_known *known_out)
{
	for (size_t i = 0; i < count; i++) {
		struct node *node = TAILQ_FIRST(list);

		known_out[i] =
			(struct node_known){.id = node->id, .ino = node->ino, .at = node->at};
		order_move(order, node, false);
	}
}

size_t node_oldest(struct node_table *table, struct node_known *known_out, size_t room)
{
	struct order *order = &table->order;
	size_t shared, others;

	pthread_mutex_lock(&order->mutex);
	shared = order->shared_count < room / 2 ? order->shared_count : room / 2;
	others = order->count - order->shared_count;
	others = others < room - shared ? others : room - shared;
	order_take(order, &order->nodes, others, known_out);
	order_take(order, &order->shared, shared, known_out + others);
	pthread_mutex_unlock(&order->mutex);
	return others + shared;
}

uint64_t node_wait(struct node_table *table, uint64_t crowd_count)
{
	struct order *order = &table->order;
	uint64_t count;

	pthread_mutex_lock(&order->mutex);
	order->crowd_count = crowd_count;
	while (order->count <= crowd_count && !order->roused)
		pthread_cond_wait(&order->changed, &order->mutex);
	count = order->roused ? 0 : order->count;
	pthread_mutex_unlock(&order->mutex);
	return count;
}

void node_limit(struct node_table *table, uint64_t limit_count)
{
	struct order *order = &table->order;

	pthread_mutex_lock(&order->mutex);
	order->limit_count = limit_count;
	if (order->count <= limit_count)
		pthread_cond_broadcast(&order->room);
	pthread_mutex_unlock(&order->mutex);
}

void node_wait_room(struct node_table *table, unsigned most_ms)
{
	struct order *order = &table->order;
	struct timespec until;
	int err = 0;

	pthread_mutex_lock(&order->mutex);
	if (order->count > order->limit_count) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += most_ms % 1000 * 1000000L;
		until.tv_sec += most_ms / 1000 + until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
	}
	while (!err && order->count > order->limit_count && !order->roused)
		err = pthread_cond_timedwait(&order->room, &order->mutex, &until);
	pthread_mutex_unlock(&order->mutex);
}

uint64_t node_gone_count(struct node_table *table)
{
	uint64_t count;

	pthread_mutex_lock(&table->order.mutex);
	count = table->order.gone_count;
	pthread_mutex_unlock(&table->order.mutex);
	return count;
}

bool node_is_roused(struct node_table *table)
{
	bool roused;

	pthread_mutex_lock(&table->order.mutex);
	roused = table->order.roused;
	pthread_mutex_unlock(&table->order.mutex);
	return roused;
}

void node_rouse(struct node_table *table)
{
	pthread_mutex_lock(&table->order.mutex);
	table->order.roused = true;
	pthread_cond_broadcast(&table->order.changed);
	pthread_cond_broadcast(&table->order.room);
	pthread_mutex_unlock(&table->order.mutex);
}
