/*
 * Engine check, inside: what the checks of a store at rest and of an engine in use have in common.
 */
#ifndef VARVE_ENGINE_CHECK_INTERNAL_H
#define VARVE_ENGINE_CHECK_INTERNAL_H

#include "finding.h"
#include "table_summary.h"

/* The manifest says what can't be, or not what is there. */
void engine_found_in_manifest(const struct check_hooks *hooks, const char *text);
/* What a repair noted as gone is known damage. */
void engine_found_lost_layer(const struct check_hooks *hooks, uint64_t layer_id, struct lsn start,
			     struct lsn end);
void engine_found_lost_table(const struct check_hooks *hooks, const struct table_summary *table);

#endif
