/*
 * Id set: which ids there are, and of what kind each is.
 *
 * A hash table of one word an id, open addressing, at most three quarters full. One caller at a time.
 */
#ifndef VARVE_CATALOG_ID_SET_H
#define VARVE_CATALOG_ID_SET_H

#include <stdint.h>

#define ID_LIMIT (UINT64_C(1) << 60)    /* ids are below, and not 0 */
#define ID_KIND_MAX 15u

struct id_set {
	uint64_t *slots;                /* id << 4 | kind; 0: free */
	uint32_t count, room;           /* room: 0 or a power of two */
};

/* Room for @count more, so that putting them can't fail. -ENOMEM. */
int id_set_reserve(struct id_set *set, uint32_t count);
/* Add it, or change its kind (not 0). There is room. */
void id_set_put(struct id_set *set, uint64_t id, unsigned kind);
void id_set_remove(struct id_set *set, uint64_t id);    /* one that is not there is ignored */
/* Its kind; 0: it is not there. */
unsigned id_set_get(const struct id_set *set, uint64_t id);
void id_set_destroy(struct id_set *set);

#endif
