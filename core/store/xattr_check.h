/*
 * Xattr check: extended attributes of one inode at one LSN. The list can be read, names and numbers
 * are in it once, each has a value, and an access control list is one and agrees with the mode.
 */
#ifndef VARVE_STORE_XATTR_CHECK_H
#define VARVE_STORE_XATTR_CHECK_H

#include "attr.h"
#include "layer_map.h"

#define XATTR_FAULT_BYTES 320u

/* 0; 1 and what is wrong, in words; -errno: it can't be told. */
int xattr_check(const struct layer_guard *guard, const struct attr *attr, struct lsn at,
		char fault_out[XATTR_FAULT_BYTES]);

#endif
