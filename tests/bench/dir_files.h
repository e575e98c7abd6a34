/*
 * The files below a directory: what they take on the disk, and how to have the kernel
 * forget them.
 */
#ifndef VARVE_BENCH_DIR_FILES_H
#define VARVE_BENCH_DIR_FILES_H

#include <stdint.h>

/* Blocks of the disk that they have, as du counts them, in bytes. 0 or -errno. */
int dir_disk_bytes(const char *path, uint64_t *bytes_out);

/* Write them out and drop them from the page cache; as root the kernel's other caches too.
 * What is mapped stays: close the store first. 0 or -errno. */
int dir_forget(const char *path);

/* Read all of them once, so that they are in the page cache as far as it has room. 0 or -errno. */
int dir_fetch(const char *path);

#endif
