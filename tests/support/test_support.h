/*
 * What every test of the core shares: failing with a reason, a repeatable
 * random source, and temporary directories.
 *
 * Calls fail the running cmocka test; make them on the test's thread only.
 * Threads of a test use require().
 */
#ifndef VARVE_TESTS_TEST_SUPPORT_H
#define VARVE_TESTS_TEST_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* 1 in a build with ThreadSanitizer. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

/* 1 in a build with AddressSanitizer. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define array_size(array) (sizeof(array) / sizeof((array)[0]))

/* Fail the test unless the call returns what is expected; names both errnos. */
#define assert_err(call, expected) check_err((call), (expected), #call, __FILE__, __LINE__)
#define assert_ok(call) assert_err(call, 0)
void check_err(int err, int expected, const char *call, const char *file, int line);

/* What the process holds in memory that is no file's (RssAnon of /proc). */
uint64_t test_resident_bytes(void);

/* For threads, where cmocka's asserts may not be used: say why and abort. */
#define require(condition) \
	((condition) ? (void)0 : require_failed(#condition, __FILE__, __LINE__))
_Noreturn void require_failed(const char *condition, const char *file, int line);

/* splitmix64: each seed gives one endless, repeatable sequence. */
struct prng {
	uint64_t state;
};

/* The seed of this run: VARVE_TEST_SEED if set, else the clock. Printed by the
 * first call, so that a failing run can be repeated. */
uint64_t test_seed(void);
/* A count from the environment variable @name, else @standard. */
uint64_t test_count(const char *name, uint64_t standard);
uint64_t prng_next(struct prng *prng);
uint64_t prng_below(struct prng *prng, uint64_t bound);         /* 0 .. bound - 1 */
void prng_fill(struct prng *prng, void *buffer, size_t size_bytes);
/* The bytes that @seed stands for: a test keeps the seed, not the bytes. */
#define SEED_ZEROS UINT64_MAX
void seed_fill(uint64_t seed, void *buffer, size_t size_bytes);

/* Not a cryptographic digest; fast. Start from DIGEST_START. */
#define DIGEST_START UINT64_C(0xcbf29ce484222325)
uint64_t digest_add(uint64_t digest, const void *bytes, size_t size_bytes);

/* Directories, below $TMPDIR or /tmp. */
void dir_make_temporary(char path_out[PATH_MAX]);
void dir_remove(const char *path);                      /* with all below it */
/* Copy a directory of plain files, holes kept. What is dirty in a mapping is
 * copied too, as it survives the death of the process that wrote it. */
void dir_copy(const char *from, const char *to);
/* All below a directory. */
struct path_list {
	struct path_item {
		char path[256];         /* relative to the directory */
		char kind;              /* 'd', 'f' */
		off_t size_bytes;
	} items[4096];                  /* directories first, each kind by name */
	size_t count;
};
struct path_list *path_list_new(const char *dir);       /* free it */
/* The first place below @dir where @bytes lie. */
bool dir_find_bytes(const char *dir, const void *bytes, size_t size_bytes,
		    char path_out[PATH_MAX], off_t *offset_out);
void file_overwrite(const char *path, off_t offset, const void *bytes, size_t size_bytes);
/* One number over all names and bytes below @path. */
uint64_t dir_digest(const char *path);
/* A failure of the test's own environment, not of what is tested. */
void must(bool condition, const char *what, const char *path);
void path_join(char out[PATH_MAX], const char *dir, const char *name);

#endif
