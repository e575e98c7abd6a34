/*
 * Checksum switch: the core without its checksums, for a bench that asks what they
 * cost. The linker puts it in front of checksum() and checksum_version_seed() (--wrap, see
 * CMakeLists.txt), so that all else is the same code.
 *
 * Off, every sum and every seed is one constant: what is written and what is verified agree.
 * So a store is of use only under the setting it was made under. Sums seeded with 0 are made
 * all the same: the names of a directory are hashed by them, which is no checking.
 */
#ifndef VARVE_BENCH_CHECKSUM_SWITCH_H
#define VARVE_BENCH_CHECKSUM_SWITCH_H

#include <stdbool.h>

/* On at first. For the whole process, and for the children it forks from then on; no
 * store may be open, and nothing of the core may run. */
void checksum_switch_set(bool on);

#endif
