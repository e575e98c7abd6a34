#include "orphans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"

#define ROOM_MIN 64u

void orphans_init(struct orphans *orphans)
{
	memset(orphans, 0, sizeof(*orphans));
	pthread_mutex_init(&orphans->lock, NULL);
}

void orphans_destroy(struct orphans *orphans)
{
	pthread_mutex_destroy(&orphans->lock);
	free(orphans->slots);
}

static uint32_t home_of(uint64_t ino, uint32_t room)
{
	return (uint32_t)key_hash((struct key){ ino, 0 }) & (room - 1);
}

/* Where @ino is, or would go. There is a free slot. The lock is held. */
static uint32_t place_of(const uint64_t *slots, uint32_t room, uint64_t ino)
{
	uint32_t place = home_of(ino, room);

	while (slots[place] && slots[place] != ino)
		place = (place + 1) & (room - 1);
	return place;
}

/* Keep a quarter of the slots free. The lock is held. */
static int make_room(struct orphans *orphans)
{
	uint32_t room = orphans->room ? 2 * orphans->room : ROOM_MIN;
	uint64_t *slots;

	if (orphans->room && orphans->count < orphans->room / 4 * 3)
		return 0;
	slots = calloc(room, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < orphans->room; i++)
		if (orphans->slots[i])
			slots[place_of(slots, room, orphans->slots[i])] = orphans->slots[i];
	free(orphans->slots);
	orphans->slots = slots;
	orphans->room = room;
	return 0;
}

int orphans_add(struct orphans *orphans, uint64_t ino)
{
	uint32_t place;
	int err;

	pthread_mutex_lock(&orphans->lock);
	err = make_room(orphans);
	if (!err) {
		place = place_of(orphans->slots, orphans->room, ino);
		orphans->count += !orphans->slots[place];
		orphans->slots[place] = ino;
	}
	pthread_mutex_unlock(&orphans->lock);
	return err;
}

/* Take out what is at @place, and put what came there by way of it where it is found. (Knuth, 6.4 R) */
static void close_gap(struct orphans *orphans, uint32_t place)
{
	uint32_t mask = orphans->room - 1;

	orphans->slots[place] = 0;
	for (uint32_t i = (place + 1) & mask; orphans->slots[i]; i = (i + 1) & mask) {
		uint64_t ino = orphans->slots[i];

		orphans->slots[i] = 0;
		orphans->slots[place_of(orphans->slots, orphans->room, ino)] = ino;
	}
}

void orphans_remove(struct orphans *orphans, uint64_t ino)
{
	uint32_t place;

	pthread_mutex_lock(&orphans->lock);
	if (orphans->room) {
		place = place_of(orphans->slots, orphans->room, ino);
		if (orphans->slots[place]) {
			orphans->count--;
			close_gap(orphans, place);
		}
	}
	pthread_mutex_unlock(&orphans->lock);
}

bool orphans_has(struct orphans *orphans, uint64_t ino)
{
	bool has;

	pthread_mutex_lock(&orphans->lock);
	has = orphans->room && orphans->slots[place_of(orphans->slots, orphans->room, ino)];
	pthread_mutex_unlock(&orphans->lock);
	return has;
}
