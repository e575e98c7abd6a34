/*
 * Stats: a mounted store in figures, as JSON: what `varve info --json` prints and
 * /.varve/stats holds; and as metrics, in the text format of Prometheus.
 */
#ifndef VARVE_FS_STATS_H
#define VARVE_FS_STATS_H

#include <jansson.h>

struct front;

/* A new reference; NULL: no memory. May walk the tree (census.h). Any thread. */
json_t *stats_json(const struct front *front);

/* @stats as metrics, for free; NULL: no memory. */
char *stats_metrics(json_t *stats);

#endif
