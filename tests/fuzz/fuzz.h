/*
 * What the fuzz targets share. Each tests/fuzz/NAME.c defines LLVMFuzzerTestOneInput;
 * it is linked with libFuzzer (fuzz_NAME, if VARVE_FUZZ is on) and, in every build,
 * with replay.c (replay_NAME, the test fuzz/NAME), which runs the fixtures.
 *
 * A target never skips what is valid: where the input has to agree with itself for
 * the decoder to get anywhere (a chain, a checksum), the target makes it agree and
 * leaves the rest as it came. What must hold is require()d.
 */
#ifndef VARVE_TESTS_FUZZ_H
#define VARVE_TESTS_FUZZ_H

#include "codec.h"
#include "test_support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

/* Once, before stores are opened: nothing is said of what is refused, for it would be
 * all the output; nothing is left in /dev/shm, if there is a right to that; and nothing
 * waits for liburcu's thread to wake. */
void fuzz_prepare(void);

#endif
