/*
 * Orphans: inodes whose last name went while the store was open. They stay readable and writable by number,
 * so history that is dropped must leave theirs alone, until nobody has them open (tree_forget) or the
 * store is closed.
 *
 * Any thread; one lock, a leaf.
 */
#ifndef VARVE_STORE_ORPHANS_H
#define VARVE_STORE_ORPHANS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct orphans {
	pthread_mutex_t lock;           /* guards the rest */
	uint64_t *slots;                /* a hash table, open addressing; 0: free. NULL until needed */
	uint32_t count, room;           /* room: a power of two */
};

void orphans_init(struct orphans *orphans);
void orphans_destroy(struct orphans *orphans);
int orphans_add(struct orphans *orphans, uint64_t ino);         /* adding twice is once; -ENOMEM */
void orphans_remove(struct orphans *orphans, uint64_t ino);     /* not there is no error */
bool orphans_has(struct orphans *orphans, uint64_t ino);

#endif
