/*
 * Told: how often the kernel was told of each inode at head.
 *
 * The kernel says when it forgets an inode, and how many times of being told that undoes. Only a count
 * tells the last of them from one that was overtaken by a new look-up: and only after the
 * last is nobody left who could have an unlinked file open (tree_forget).
 *
 * Ids of the past are node.h's. Any thread; each shard has a mutex, below which told_last_fn may take leaves.
 */
#ifndef VARVE_FS_TOLD_H
#define VARVE_FS_TOLD_H

#include <stdbool.h>
#include <stdint.h>

struct told;

/* 0 and *told_out, freed by told_close; -ENOMEM. */
int told_open(struct told **told_out);
void told_close(struct told *told);     /* NULL is ignored */

/* The kernel is told of @ino once more. Where there is no memory for the count, told_forget
 * is false from then on. */
void told_add(struct told *told, uint64_t ino);

/* It forgot @count of the times. True: those were the last. Then @fn is called, if it is not NULL, before told_add returns
 * to anybody for whom @ino is the first again. */
typedef void told_last_fn(void *context, uint64_t ino);
bool told_forget(struct told *told, uint64_t ino, uint64_t count, told_last_fn *fn, void *context);

/* How many inodes it knows. */
uint64_t told_count(struct told *told);

#endif
