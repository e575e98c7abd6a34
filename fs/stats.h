/*
 * Stats: a store in figures, as JSON: what `varve info --json` prints and, of a mounted one,
 * /.varve/stats holds; and as metrics, in the text format of Prometheus.
 */
#ifndef VARVE_FS_STATS_H
#define VARVE_FS_STATS_H

#include <jansson.h>

#include "lsn.h"

struct census;
struct front;
struct store;

/* What an open store tells; amplification of writes is that since @start. As below. */
json_t *stats_of_store(struct store *store, struct census *census, struct lsn start);

/* The same of a mounted one, and what the mount adds. A new reference; NULL: no memory. May walk the tree (census.h). Any thread. */
json_t *stats_json(const struct front *front);

/* @stats as metrics, for free; NULL: no memory. */
char *stats_metrics(json_t *stats);

#endif
