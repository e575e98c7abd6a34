/*
 * Fault run: one workload during which calls of the core fail, and what must hold
 * whatever fails: each operation is done whole or returns an error and changed nothing;
 * after a failed sync nobody is told success until the store is opened again; nothing is
 * left open, mapped or lying about; opened without faults, everything acknowledged is
 * there; so it is after a power cut, up to the last sync that returned.
 */
#ifndef VARVE_TESTS_FAULT_RUN_H
#define VARVE_TESTS_FAULT_RUN_H

#include "cut_check.h"

struct fault_source {
	void (*arm)(void *context, struct sim_disk *disk);
	uint64_t (*disarm)(void *context, struct sim_disk *disk);       /* how many faults were met */
	void *context;
	bool removes;                   /* taking a file away is nothing that fails so */
};

struct fault_counts {
	uint64_t runs, faults;
	uint64_t ops_failed, ops_done;
	uint64_t syncs_refused;         /* a sync or a change refused after a failed sync */
	uint64_t tidy;                  /* runs after which there was no file that the manifest does not name */
	struct cut_counts cuts;
};

/* Run once, faults from mkfs on. How many faults were met. @what for messages. */
uint64_t fault_run(const struct fault_source *source, const char *what, uint64_t number,
		   struct prng *prng, struct fault_counts *counts);

#endif
