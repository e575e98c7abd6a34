/*
 * Null filesystem: what FUSE costs and nothing else. One file, NULLFS_FILE, of
 * a fixed size, read from memory and written into it. The same libfuse, the
 * same loop, the same handshake and the same time-outs as varve's front end,
 * so that what varve loses against it is varve's own doing.
 */
#ifndef VARVE_BENCH_NULLFS_H
#define VARVE_BENCH_NULLFS_H

#include <stdint.h>

#define NULLFS_FILE "data"

/* Mount on @mountpoint and serve until it is unmounted or SIGTERM comes. 0 or -errno. */
int nullfs_serve(const char *mountpoint, uint64_t file_size_bytes);

#endif
