/*
 * Load store: what a power load (power_load.h) does to the store rather than to its tree, and
 * what it asks of it.
 */
#ifndef VARVE_TESTS_LOAD_STORE_H
#define VARVE_TESTS_LOAD_STORE_H

#include "power_load.h"

/* One operation from LOAD_TREE_OPS on. As load_do. */
int load_do_to_store(struct load *load, enum load_op op);

/* Sync, freeze, reopen are told of by the caller; pins by these. A pin's LSN reads as it did. */
void load_check_pins(struct load *load);
void load_drop_pins(struct load *load);

void load_note_synced(struct load *load, uint64_t lsn);

#endif
