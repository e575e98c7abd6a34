/*
 * Index check: the second part of the pass over a sealed layer (layer_check.h).
 */
#ifndef VARVE_LAYERS_INDEX_CHECK_H
#define VARVE_LAYERS_INDEX_CHECK_H

#include "log_check.h"

/* Look at every block of the index, with @log's stream, which has passed the log, and hold
 * it against what @log has seen. 0 or -errno, as layer_check. */
int index_check(const struct layer_footer *footer, int fd, struct log_check *log);

#endif
