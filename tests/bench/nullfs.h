/*
 * Null filesystem: what FUSE costs and nothing else. One file, NULLFS_FILE, of
 * a fixed size, read from memory and written into it. The same libfuse, the
 * same loop, the same handshake and the same time-outs as varve's front end,
 * so that what varve loses against it is varve's own doing.
 *
 * With a log, writes go to the end of a log in files instead: each to a place of
 * its own, reserved ahead, by one pwrite, with nothing else about it. That is the
 * least that anything can do whose writes outlive a killed server and whose
 * past is kept. What is read then is what the file was made of, zeros.
 */
#ifndef VARVE_BENCH_NULLFS_H
#define VARVE_BENCH_NULLFS_H

#include <stdint.h>

#define NULLFS_FILE "data"

/* Mount on @mountpoint and serve until it is unmounted or SIGTERM comes. @log_dir:
 * where to keep what is written; NULL: in memory. 0 or -errno. */
int nullfs_serve(const char *mountpoint, uint64_t file_size_bytes, const char *log_dir);

#endif
