/*
 * Retention: what the engine asks when it drops history (engine.h, retention_hooks), answered
 * from attributes, floors and orphans.
 */
#ifndef VARVE_STORE_RETENTION_H
#define VARVE_STORE_RETENTION_H

#include "engine.h"

struct store;

struct retention_hooks retention_hooks_of(struct store *store);

#endif
