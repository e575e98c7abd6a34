/*
 * Access control lists from text: "u:7 u1000:6 g:5 m:7 o:4".
 */
#ifndef VARVE_TESTS_TEST_ACL_H
#define VARVE_TESTS_TEST_ACL_H

#include <stddef.h>
#include <stdint.h>

#define TEST_ACL_BYTES 256u

/* The list's size. */
size_t test_acl_make(const char *text, uint8_t bytes_out[TEST_ACL_BYTES]);
void assert_acl(const uint8_t *bytes, size_t size_bytes, const char *text);

#endif
