/*
 * Scratch: one buffer a thread, for the answer under way.
 *
 * A reply of a megabyte from malloc would be a fresh mapping each time, and
 * every page of it a fault. The buffer is freed when its thread ends.
 */
#ifndef VARVE_FS_SCRATCH_H
#define VARVE_FS_SCRATCH_H

/* Room for a megabyte that begins and ends within a page of the largest size. */
#define SCRATCH_SIZE ((1u << 20) + 2 * 65536u)

/* This thread's buffer of SCRATCH_SIZE bytes, aligned to a page; NULL: no memory. */
void *scratch_get(void);

#endif
