/*
 * Expire: take what has left the window out of the kernel's names.
 *
 * What is said of the past holds for ever, so the kernel asks no more; but /lsn/<n> must be gone
 * once the window has passed n. A thread looks every EXPIRE_PERIOD_MS, or when it is told that
 * the window moved, and invalidates the names of those below. Until then an open below such a
 * name is refused all the same, as the LSN can't be pinned (fuse_ops.c).
 *
 * The kernel is told through expire_fn. That waits for look-ups in /lsn that are under way, and those wait
 * for an answer: so it is called while other threads answer, with no lock held that
 * a request takes, and no more once they are to end (expire_halt).
 */
#ifndef VARVE_FS_EXPIRE_H
#define VARVE_FS_EXPIRE_H

#define EXPIRE_PERIOD_MS 500

struct node_table;
struct store;
struct expire;

/* 0 and *expire_out, freed by expire_close. -ENOMEM. The others stay the caller's and outlive it. */
int expire_open(struct store *store, struct node_table *nodes, struct expire **expire_out);
void expire_close(struct expire *expire);       /* NULL is ignored */

/* The name @name in /lsn is gone. */
typedef void expire_fn(void *context, const char *name);

/* Once the file system is mounted. 0 or -errno: no thread could be made. */
int expire_start(struct expire *expire, expire_fn *gone, void *context);

/* Look now, and return when that is done; at once if it has not started or was halted. Not while
 * answering a request of the kernel. */
void expire_now(struct expire *expire);

/* Look now, elsewhere. */
void expire_soon(struct expire *expire);

/* Look no more: when it returns, nothing is being asked. While requests are still answered, or
 * after the mount is gone. Any thread; twice is once. */
void expire_halt(struct expire *expire);

#endif
