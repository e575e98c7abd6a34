/*
 * Names: the value of a directory's KEY_NAME, all its names of one hash.
 *
 * A bucket, almost always of one name; per name:
 *   u8 slot, u8 type (S_IFMT bits >> 12), u64 inode number, u8 length, the bytes
 *
 * A name keeps its slot while it stays, so hash and slot together make a cookie
 * that readdir can go on from, whatever else comes and goes.
 */
#ifndef VARVE_STORE_NAMES_H
#define VARVE_STORE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "lsn.h"

struct store;
struct layer_guard;
struct version;

#define NAME_SLOT_COUNT 128u            /* names of one directory that may share a hash */
#define NAME_COOKIE_DOT 1u              /* cookies of "." and ".." */
#define NAME_COOKIE_DOTDOT 2u

struct name_entry {
	uint64_t ino;
	uint32_t type;                  /* S_IFMT bits */
	uint8_t slot, length;
	char name[256];                 /* NUL-terminated */
};

struct name_bucket {
	uint64_t dir, hash;
	uint8_t *bytes;                 /* encoded; owned; NULL: empty */
	size_t size_bytes;
};

/* Check a name a caller gave. -EINVAL (empty, ".", "..", a '/'), -ENAMETOOLONG. */
int name_check(const char *name);
uint64_t name_hash(const struct store *store, const char *name);

static inline uint64_t name_cookie(uint64_t hash, uint8_t slot)
{
	return hash * NAME_SLOT_COUNT + slot;
}

/* Read the bucket as of @lsn. An absent one is empty. -errno. */
int name_bucket_load(const struct layer_guard *guard, uint64_t dir, uint64_t hash, struct lsn lsn,
		     struct name_bucket *bucket_out);
/* The same of the version at hand; its form is 0: there is none. */
int name_bucket_read(const struct layer_guard *guard, uint64_t dir, uint64_t hash,
		     const struct version *version, struct name_bucket *bucket_out);
void name_bucket_free(struct name_bucket *bucket);

/* The entry at @*at_bytes (0 at first), which moves on. 0; 1: no more; -EUCLEAN. */
int name_bucket_next(const struct name_bucket *bucket, size_t *at_bytes,
		     struct name_entry *entry_out);
/* 0; -ENOENT; -EUCLEAN. */
int name_bucket_find(const struct name_bucket *bucket, const char *name,
		     struct name_entry *entry_out);
/* Add a name that is not there. -ENOSPC: the bucket is full; -ENOMEM; -EUCLEAN. */
int name_bucket_add(struct name_bucket *bucket, const char *name, uint64_t ino, uint32_t type);
/* Remove one that is. -ENOENT; -EUCLEAN. */
int name_bucket_remove(struct name_bucket *bucket, const char *name);

#endif
