/*
 * Text: numbers as people write and read them.
 */
#ifndef VARVE_FS_TEXT_H
#define VARVE_FS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* A whole number in decimal, nothing before or after it. */
bool text_parse_number(const char *text, uint64_t *value_out);

/* A number of bytes: decimal, then nothing or K, M, G, T (powers of 1024), with
 * "iB" or "B" after the letter if one likes. */
bool text_parse_size(const char *text, uint64_t *bytes_out);

#define TEXT_SIZE_MAX 24

/* "812 B", "8.0 KiB", "1.2 GiB" into @out, which is returned. */
const char *text_size(uint64_t bytes, char out[TEXT_SIZE_MAX]);

#endif
