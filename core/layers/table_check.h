/*
 * Table check: what layer_check does of a table layer (layer_check.h).
 */
#ifndef VARVE_LAYERS_TABLE_CHECK_H
#define VARVE_LAYERS_TABLE_CHECK_H

#include "layer_check.h"

/* Look at every block of the layer target->table. As layer_check. */
int table_check(const struct layer_check_target *target, const struct check_hooks *hooks,
		struct layer_check_result *result_out);

#endif
