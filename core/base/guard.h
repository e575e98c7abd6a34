/*
 * Guard: read-copy-update, by liburcu (bulletproof flavour: threads need not
 * register, which suits threads that libfuse makes).
 *
 * Between guard_take and guard_drop whatever was reachable when the guard was
 * taken stays alive. Taking one never waits and never makes anybody wait;
 * guards nest; drop it on the thread that took it. Holding one across a disk
 * read only delays the freeing of memory.
 *
 * ThreadSanitizer can't see liburcu's barriers; the annotations tell it that
 * what happened before a drop happened before the freeing that waited for it.
 */
#ifndef VARVE_BASE_GUARD_H
#define VARVE_BASE_GUARD_H

struct guard_garbage;
typedef void guard_free_fn(struct guard_garbage *garbage);

/* Embedded in what is to be freed later. */
struct guard_garbage {
	void *opaque[2];        /* liburcu's struct rcu_head; checked in guard.c */
	guard_free_fn *free_fn;
};

/* Start the thread that frees, which guard_free_later would start otherwise: liburcu
 * aborts where it can't, so let that be before anything depends on the process. */
void guard_prepare(void);

void guard_take(void);
void guard_drop(void);

/* Call @free_fn once every guard that could see @garbage is dropped. Never waits. */
void guard_free_later(struct guard_garbage *garbage, guard_free_fn *free_fn);

/*
 * Wait a moment while more than GUARD_WAITING_MAX pieces of garbage wait to be freed.
 * Freeing is a thread's that works in rounds, so without this whoever makes garbage
 * faster decides how much memory that takes. The caller holds no guard and no lock.
 */
#define GUARD_WAITING_MAX 1024
void guard_pace(void);

/* Wait until every guard held now is dropped. The caller holds none. */
void guard_wait(void);

/* Wait until everything passed to guard_free_later so far is freed. */
void guard_barrier(void);

#endif
