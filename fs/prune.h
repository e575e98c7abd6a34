/*
 * Prune: keep what the kernel remembers of the past below a bound.
 *
 * What is said of the past holds for ever, so the kernel keeps the names and
 * files it was told of until it is short of memory, and as long the node table
 * keeps a node of each. From PRUNE_START nodes on a thread of its own asks the
 * kernel to forget those it was not told of for longest. The nodes go when the
 * kernel's FORGET arrives: what is open, mapped or somebody's working directory
 * stays known, and is asked for again later.
 *
 * There are two ways to ask.
 *   FUSE_NOTIFY_PRUNE (Linux 6.18) takes node ids, drops what is not in use and
 *   touches nothing else. It waits for no lock that a request holds.
 *   Before, there is FUSE_NOTIFY_INVAL_ENTRY alone, of whole /lsn/<n>: the kernel
 *   drops all that is not in use below, but takes n out of /lsn also if something
 *   below is in use, so that getcwd fails in just that directory and later
 *   requests don't reach what is below. Looking n up again puts it back, which is
 *   done at once.
 * INVAL_ENTRY waits for look-ups in /lsn that are under way, and those wait for
 * an answer: so it may be asked for only while other threads answer, with no lock
 * held, and must end before they do. A daemon that is killed in just that wait
 * leaves a process that can't end until the connection is aborted.
 */
#ifndef VARVE_FS_PRUNE_H
#define VARVE_FS_PRUNE_H

/*
 * The most past nodes, but for those in use. A node takes some 88 bytes here and,
 * with its name, over 1 KiB of the kernel's (reclaimable) memory; 128 Ki hold every
 * name of a source tree as large as Linux's.
 */
#define PRUNE_LIMIT (128u << 10)

/* The kernel may learn of this many more while the oldest are being pruned. */
#define PRUNE_ROOM (PRUNE_LIMIT / 4)
#define PRUNE_START (PRUNE_LIMIT - PRUNE_ROOM)

/*
 * Close to the limit, and while pruning has an effect, each look-up and listing of the past
 * first waits for room, so long at most: FORGETs come in between and are not answered, so
 * they outrun look-ups that wait. Ten threads of look-ups take four seconds from there to
 * the limit, of which a machine that is short of processors may need some.
 */
#define PRUNE_WAIT_MS 10
#define PRUNE_SLOW (PRUNE_LIMIT - PRUNE_ROOM / 8)

struct fuse_session;
struct node_table;
struct prune;

/* Start, once the file system is mounted. The others stay the caller's and outlive
 * it. 0 and *prune_out; -ENOMEM or -EAGAIN: no thread could be made. */
int prune_start(struct fuse_session *session, struct node_table *nodes, const char *mountpoint,
		struct prune **prune_out);

/* Ask no more. Returns once nothing is being asked, so while requests are still
 * answered, or after the mount is gone. Any thread. */
void prune_halt(struct prune *prune);

/* Halt, and free. NULL is ignored. */
void prune_stop(struct prune *prune);

#endif
