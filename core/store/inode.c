#include "inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/arch.h>

#include "engine.h"
#include "store_internal.h"

#define SHARD_COUNT 64u
#define BUCKET_COUNT 256u               /* in each shard */
#define IDLE_MAX 1024u                  /* unreferenced inodes kept in each shard */
#define LOCK_TRIES 50u                  /* before who waits for an inode sleeps: some 40 us, a few changes */
#define LOCK_PAUSES 16u

struct inode_shard {
	pthread_mutex_t lock;           /* guards everything here */
	struct inode *buckets[BUCKET_COUNT];
	struct inode *idle_first, **idle_last;  /* oldest first */
	uint32_t idle_count;
};

struct inode_table {
	struct inode_shard shards[SHARD_COUNT];
};

int inode_table_create(struct inode_table **table_out)
{
	struct inode_table *table = calloc(1, sizeof(*table));

	*table_out = table;
	if (!table)
		return -ENOMEM;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		pthread_mutex_init(&table->shards[i].lock, NULL);
		table->shards[i].idle_last = &table->shards[i].idle_first;
	}
	return 0;
}

static void inode_free(struct inode *inode)
{
	pthread_mutex_destroy(&inode->lock);
	free(inode);
}

/* Nobody holds an inode, so all there are are idle. */
void inode_table_free(struct inode_table *table)
{
	if (!table)
		return;
	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		struct inode_shard *shard = &table->shards[i];

		while (shard->idle_first) {
			struct inode *inode = shard->idle_first;

			shard->idle_first = inode->idle_next;
			inode_free(inode);
		}
		pthread_mutex_destroy(&shard->lock);
	}
	free(table);
}

static struct inode_shard *shard_of(struct inode_table *table, uint64_t ino)
{
	return &table->shards[ino % SHARD_COUNT];
}

static struct inode **bucket_of(struct inode_shard *shard, uint64_t ino)
{
	return &shard->buckets[ino / SHARD_COUNT % BUCKET_COUNT];
}

/* The shard's lock is held. */
static void idle_remove(struct inode_shard *shard, struct inode *inode)
{
	*inode->idle_link = inode->idle_next;
	if (inode->idle_next)
		inode->idle_next->idle_link = inode->idle_link;
	else
		shard->idle_last = inode->idle_link;
	inode->idle_link = NULL;
	shard->idle_count--;
}

/* The shard's lock is held. */
static void idle_add(struct inode_shard *shard, struct inode *inode)
{
	inode->idle_next = NULL;
	inode->idle_link = shard->idle_last;
	*shard->idle_last = inode;
	shard->idle_last = &inode->idle_next;
	shard->idle_count++;
}

/* The shard's lock is held. */
static void bucket_remove(struct inode_shard *shard, struct inode *inode)
{
	struct inode **link = bucket_of(shard, inode->ino);

	while (*link != inode)
		link = &(*link)->bucket_next;
	*link = inode->bucket_next;
}

static struct inode *inode_new(struct inode_shard *shard, uint64_t ino)
{
	struct inode **bucket = bucket_of(shard, ino);
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->ino = ino;
	pthread_mutex_init(&inode->lock, NULL);
	inode->bucket_next = *bucket;
	*bucket = inode;
	return inode;
}

static struct inode *inode_ref(struct inode_table *table, uint64_t ino)
{
	struct inode_shard *shard = shard_of(table, ino);
	struct inode *inode;

	pthread_mutex_lock(&shard->lock);
	for (inode = *bucket_of(shard, ino); inode && inode->ino != ino;)
		inode = inode->bucket_next;
	if (!inode)
		inode = inode_new(shard, ino);
	else if (inode->ref_count == 0)
		idle_remove(shard, inode);
	if (inode)
		inode->ref_count++;
	pthread_mutex_unlock(&shard->lock);
	return inode;
}

static void inode_unref(struct inode_table *table, struct inode *inode)
{
	struct inode_shard *shard = shard_of(table, inode->ino);
	struct inode *evicted = NULL;

	pthread_mutex_lock(&shard->lock);
	if (--inode->ref_count == 0) {
		idle_add(shard, inode);
		if (shard->idle_count > IDLE_MAX) {
			evicted = shard->idle_first;
			idle_remove(shard, evicted);
			bucket_remove(shard, evicted);
		}
	}
	pthread_mutex_unlock(&shard->lock);
	if (evicted)
		inode_free(evicted);
}

static int inode_load(struct store *store, struct inode *inode)
{
	struct layer_guard guard;
	struct lsn newest = engine_guard_take(store->engine, &guard);
	struct version version;
	int err;

	err = attr_load(&guard, inode->ino, newest, &inode->attr, inode->raw, &version);
	layer_guard_drop(&guard);
	if (err)
		return err;
	inode->weight = version.weight;
	inode->image = version.weight ? lsn_make(0) : version.lsn;
	inode->loaded = true;
	return 0;
}

/*
 * Most hold an inode for some 10 us, and to be put to sleep and woken takes longer: sixteen threads that write one file
 * would wait for each other's waking (varve-bench sync: 1.15 times the syncs). A mutex of glibc's adaptive kind
 * gives up too soon for that.
 */
static void lock_patiently(pthread_mutex_t *lock)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (pthread_mutex_trylock(lock) == 0)
			return;
		for (unsigned pause = 0; pause < LOCK_PAUSES; pause++)
			caa_cpu_relax();
	}
	pthread_mutex_lock(lock);
}

int inode_lock(struct store *store, uint64_t ino, struct inode **inode_out)
{
	struct inode *inode = inode_ref(store->inodes, ino);
	int err = 0;

	*inode_out = NULL;
	if (!inode)
		return -ENOMEM;
	lock_patiently(&inode->lock);
	if (!inode->loaded)
		err = inode_load(store, inode);
	if (err)
		inode_unlock(store, inode);
	else
		*inode_out = inode;
	return err;
}

void inode_unlock(struct store *store, struct inode *inode)
{
	pthread_mutex_unlock(&inode->lock);
	inode_unref(store->inodes, inode);
}
