/*
 * Memory disk: files in memory, for tests that open one small store a million times.
 * No operation calls the kernel, nothing waits, and all of it is put back in one step.
 *
 * It stands under the core's io.h (base/io_disk.h). Unlike the simulated disk
 * (sim_disk.h) it keeps no trace, and no call fails. A mapping is the file's own memory.
 * Under AddressSanitizer what lies beyond a file's last page can't be touched, nor can
 * any of a file that nobody has mapped; elsewhere both can.
 *
 * Threads: the operations from any, as the core's; everything else from the test's.
 */
#ifndef VARVE_TESTS_MEM_DISK_H
#define VARVE_TESTS_MEM_DISK_H

#include "io_disk.h"

#define MEM_FILE_BYTES_MAX (UINT64_C(8) << 20)  /* a file can't grow beyond: -EFBIG */

struct mem_disk;

/* A disk that holds a copy of the kernel's directory @source, and all below, as @name. */
struct mem_disk *mem_disk_new(const char *source, const char *name);
void mem_disk_free(struct mem_disk *disk);      /* NULL is ignored */

/* io_disk_use it. NULL: the kernel's again. */
void mem_disk_use(struct mem_disk *disk);

/* The size of the file at @path, which is there; and to set it. */
uint64_t mem_disk_size(struct mem_disk *disk, const char *path);
void mem_disk_resize(struct mem_disk *disk, const char *path, uint64_t size_bytes);
/* Copy bytes into it, from its beginning on. They lie below its size. */
void mem_disk_put(struct mem_disk *disk, const char *path, const void *bytes, size_t size_bytes);
void mem_disk_get(struct mem_disk *disk, const char *path, void *bytes, size_t size_bytes);

/* This is how it is to be. */
void mem_disk_save(struct mem_disk *disk);
/* Put it back: each file as it was, none besides. */
void mem_disk_restore(struct mem_disk *disk);
/* Nothing is open, mapped or locked. */
bool mem_disk_is_idle(struct mem_disk *disk);

#endif
