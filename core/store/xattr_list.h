/*
 * Xattr list: the names of an inode's extended attributes, the value of its KEY_XATTR 0.
 *
 * Per name: u16 number, u8 length, the bytes. The attribute's value is that of KEY_XATTR <number>, so
 * no name has to be looked for but in this list, and none is found there that is not whole.
 */
#ifndef VARVE_STORE_XATTR_LIST_H
#define VARVE_STORE_XATTR_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "lsn.h"

struct layer_guard;

struct xattr_list {
	uint8_t *bytes;                 /* encoded; owned; NULL: no names */
	size_t size_bytes;
	size_t told_bytes;              /* of the names, each with a NUL: what listxattr(2) returns */
};

struct xattr_name {
	uint16_t number;                /* not 0 */
	uint8_t length;
	char name[256];                 /* NUL-terminated */
};

/* The names @ino has as of @lsn; none if there is no such key. -EUCLEAN; -ENOMEM; -errno. */
int xattr_list_load(const struct layer_guard *guard, uint64_t ino, struct lsn lsn,
		    struct xattr_list *list_out);
/* The same of bytes at hand, which become the list's. They are freed on an error. -EUCLEAN. */
int xattr_list_take(uint8_t *bytes, size_t size_bytes, struct xattr_list *list_out);
void xattr_list_free(struct xattr_list *list);

/* The name at @*at_bytes (0 at first), which moves on. 0; 1: no more; -EUCLEAN, which a list that
 * was loaded never is. */
int xattr_list_next(const struct xattr_list *list, size_t *at_bytes, struct xattr_name *name_out);
/* 0; -ENODATA. */
int xattr_list_find(const struct xattr_list *list, const char *name, uint16_t *number_out);
/* Add a name that is not there, under the lowest number that is free. -ENOSPC: together they would
 * be longer than TREE_XATTR_LIST_MAX; -ENOMEM. */
int xattr_list_add(struct xattr_list *list, const char *name, uint16_t *number_out);
/* Remove one. -ENODATA. */
int xattr_list_remove(struct xattr_list *list, const char *name, uint16_t *number_out);

#endif
