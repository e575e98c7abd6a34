#include "id_set.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define KIND_BITS 4u
#define ROOM_MIN 64u

static uint32_t home_of(const struct id_set *set, uint64_t id)
{
	/* Fibonacci hashing: ids are nearly consecutive. */
	return (uint32_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (set->room - 1);
}

/* Where @id is, or the free slot where it would go. There is a free one. */
static uint32_t slot_of(const struct id_set *set, uint64_t id)
{
	uint32_t at = home_of(set, id);

	while (set->slots[at] && set->slots[at] >> KIND_BITS != id)
		at = (at + 1) & (set->room - 1);
	return at;
}

int id_set_reserve(struct id_set *set, uint32_t count)
{
	uint64_t needed = (uint64_t)set->count + count, room = set->room ? set->room : ROOM_MIN;
	struct id_set next = { .count = set->count };

	while (room - room / 4 < needed)
		room *= 2;
	if (room == set->room)
		return 0;
	if (room > UINT32_MAX / 2)
		return -ENOMEM;
	next.room = (uint32_t)room;
	next.slots = calloc(next.room, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->room; i++)
		if (set->slots[i])
			next.slots[slot_of(&next, set->slots[i] >> KIND_BITS)] = set->slots[i];
	free(set->slots);
	*set = next;
	return 0;
}

void id_set_put(struct id_set *set, uint64_t id, unsigned kind)
{
	uint32_t at;

	assert(id && id < ID_LIMIT && kind && kind <= ID_KIND_MAX && set->room);
	at = slot_of(set, id);
	if (!set->slots[at])
		set->count++;
	assert(set->count < set->room);
	set->slots[at] = id << KIND_BITS | kind;
}

/* Those behind that would no longer be found move up. */
void id_set_remove(struct id_set *set, uint64_t id)
{
	uint32_t free_at, mask = set->room - 1;

	if (!id_set_get(set, id))
		return;
	free_at = slot_of(set, id);
	for (uint32_t at = (free_at + 1) & mask; set->slots[at]; at = (at + 1) & mask) {
		uint32_t home = home_of(set, set->slots[at] >> KIND_BITS);

		if (((at - home) & mask) >= ((at - free_at) & mask)) {
			set->slots[free_at] = set->slots[at];
			free_at = at;
		}
	}
	set->slots[free_at] = 0;
	set->count--;
}

unsigned id_set_get(const struct id_set *set, uint64_t id)
{
	if (!set->room || !id || id >= ID_LIMIT)
		return 0;
	return set->slots[slot_of(set, id)] & ((1u << KIND_BITS) - 1);
}

void id_set_destroy(struct id_set *set)
{
	free(set->slots);
	*set = (struct id_set){ 0 };
}
