#include "told.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Look-ups rarely meet in one of 64 shards. */
#define SHARD_BITS 6
#define SHARD_COUNT (1u << SHARD_BITS)
#define ROOM_START 64u

struct slot {
	uint64_t ino; /* 0: free */
	uint64_t count;
};

/* Open addressing, linear probing, at most three quarters full. */
struct shard {
	pthread_mutex_t mutex;
	struct slot *slots; /* under mutex, as all below */
	size_t room;        /* a power of two; 0: none yet */
	size_t used;
};

struct told {
	atomic_bool incomplete; /* a count was lost for want of memory */
	struct shard shards[SHARD_COUNT];
};

/* Fibonacci hashing (Knuth 6.4): inode numbers are given out in a row. */
static uint64_t hash_of(uint64_t ino)
{
	return ino * UINT64_C(0x9e3779b97f4a7c15);
}

static struct shard *shard_of(struct told *told, uint64_t ino)
{
	return &told->shards[hash_of(ino) >> (64 - SHARD_BITS)];
}

static size_t home_of(const struct shard *shard, uint64_t ino)
{
	return (hash_of(ino) >> 16) & (shard->room - 1);
}

/* The slot of @ino, or the free one where it would be. */
static size_t find(const struct shard *shard, uint64_t ino)
{
	size_t at = home_of(shard, ino);

	while (shard->slots[at].ino && shard->slots[at].ino != ino)
		at = (at + 1) & (shard->room - 1);
	return at;
}

static bool resize(struct shard *shard, size_t room)
{
	struct slot *old = shard->slots, *slots = calloc(room, sizeof(*slots));
	size_t old_room = shard->room;

	if (!slots)
		return false;
	shard->slots = slots;
	shard->room = room;
	for (size_t i = 0; i < old_room; i++) {
		if (old[i].ino)
			slots[find(shard, old[i].ino)] = old[i];
	}
	free(old);
	return true;
}

/* Empty a slot, and close the gap for those that were moved past it. */
static void remove_at(struct shard *shard, size_t at)
{
	size_t mask = shard->room - 1, next = at;

	for (;;) {
		next = (next + 1) & mask;
		if (!shard->slots[next].ino)
			break;
		if (((next - home_of(shard, shard->slots[next].ino)) & mask) >= ((next - at) & mask)) {
			shard->slots[at] = shard->slots[next];
			at = next;
		}
	}
	shard->slots[at] = (struct slot){0};
	shard->used--;
	if (shard->room > ROOM_START && shard->used < shard->room / 8)
		(void)resize(shard, shard->room / 2);
}

int told_open(struct told **told_out)
{
	struct told *told = calloc(1, sizeof(*told));

	*told_out = told;
	for (unsigned i = 0; told && i < SHARD_COUNT; i++)
		pthread_mutex_init(&told->shards[i].mutex, NULL);
	return told ? 0 : -ENOMEM;
}

void told_close(struct told *told)
{
	for (unsigned i = 0; told && i < SHARD_COUNT; i++) {
		free(told->shards[i].slots);
		pthread_mutex_destroy(&told->shards[i].mutex);
	}
	free(told);
}

void told_add(struct told *told, uint64_t ino)
{
	struct shard *shard = shard_of(told, ino);
	size_t at;

	pthread_mutex_lock(&shard->mutex);
	if (4 * (shard->used + 1) > 3 * shard->room &&
	    !resize(shard, shard->room ? 2 * shard->room : ROOM_START)) {
		atomic_store(&told->incomplete, true);
	} else {
		at = find(shard, ino);
		shard->used += !shard->slots[at].ino;
		shard->slots[at].ino = ino;
		shard->slots[at].count++;
	}
	pthread_mutex_unlock(&shard->mutex);
}

bool told_forget(struct told *told, uint64_t ino, uint64_t count, told_last_fn *fn, void *context)
{
	struct shard *shard = shard_of(told, ino);
	bool last = false;
	size_t at;

	pthread_mutex_lock(&shard->mutex);
	at = shard->room ? find(shard, ino) : 0;
	if (shard->room && shard->slots[at].ino) {
		last = shard->slots[at].count <= count;
		shard->slots[at].count -= last ? 0 : count;
		if (last)
			remove_at(shard, at);
	}
	last = last && !atomic_load(&told->incomplete);
	if (last && fn)
		fn(context, ino);
	pthread_mutex_unlock(&shard->mutex);
	return last;
}

uint64_t told_count(struct told *told)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < SHARD_COUNT; i++) {
		pthread_mutex_lock(&told->shards[i].mutex);
		count += told->shards[i].used;
		pthread_mutex_unlock(&told->shards[i].mutex);
	}
	return count;
}
