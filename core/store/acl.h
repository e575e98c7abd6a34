/*
 * ACL: POSIX access control lists (acl(5); POSIX 1003.1e draft 17) as the value of an extended attribute.
 *
 *   u32 version, 2; then per entry, ascending by (tag, id): u16 tag, u16 permissions (0 to 7), u32 id
 *
 * The kernel enforces them. What is left to a file system is that mode and list agree: the owner's, the
 * group class's (the mask's, if there is one) and the others' permissions are in both, and that what
 * is new inherits its directory's default list.
 *
 * Pure functions of bytes. All but acl_check want bytes that passed it.
 */
#ifndef VARVE_STORE_ACL_H
#define VARVE_STORE_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACL_ACCESS_NAME "system.posix_acl_access"
#define ACL_DEFAULT_NAME "system.posix_acl_default"

/* 0; -EINVAL: not a list, or one that lacks an entry each must have. */
int acl_check(const uint8_t *bytes, size_t size_bytes);
/* No entries at all: what is set so is removed. */
bool acl_is_empty(size_t size_bytes);

/* The permissions that @mode must have (the rest of it stays). True: they say all that the list says,
 * so it need not be kept. */
bool acl_to_mode(const uint8_t *bytes, size_t size_bytes, uint32_t *mode);
/* The list follows a chmod to @mode. */
void acl_take_mode(uint8_t *bytes, size_t size_bytes, uint32_t mode);
/* Make of a default list, and the mode that something new was asked to have, its access list and its
 * mode. Returns as acl_to_mode. */
bool acl_inherit(uint8_t *bytes, size_t size_bytes, uint32_t *mode);

#endif
