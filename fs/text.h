/*
 * Text: numbers, sizes and times as people write and read them.
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

/* A length of time: 0, or a number with s, m, h, d or w behind it, in nanoseconds, which are at most INT64_MAX. */
bool text_parse_duration(const char *text, uint64_t *ns_out);

#define TEXT_SIZE_MAX 24

/* "812 B", "8.0 KiB", "1.2 GiB" into @out, which is returned. */
const char *text_size(uint64_t bytes, char out[TEXT_SIZE_MAX]);

/* The same number as it was written, in the largest unit that loses nothing: "50G", "90s". */
const char *text_size_exact(uint64_t bytes, char out[TEXT_SIZE_MAX]);
const char *text_duration_exact(uint64_t ns, char out[TEXT_SIZE_MAX]);

#define TEXT_TIME_MAX 64

/* Nanoseconds since the epoch as RFC 3339 has them, in UTC: "2026-01-31T12:00:00.123456789Z". */
const char *text_time(int64_t ns, char out[TEXT_TIME_MAX]);

#endif
