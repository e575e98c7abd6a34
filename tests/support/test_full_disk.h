/*
 * Full disk: the kernel's disk, on which there is room for the manifest and for what is reserved, and for nothing else
 * while it is full.
 */
#ifndef VARVE_TESTS_TEST_FULL_DISK_H
#define VARVE_TESTS_TEST_FULL_DISK_H

/* Of the whole process, from before a store is opened to full_disk_end. */
void full_disk_begin(void);
void full_disk_end(void);
/* Writes fail with -ENOSPC from here on, but for those to the manifest of the store at @path. */
void full_disk_fill(const char *path);
void full_disk_empty(void);

#endif
