/*
 * Pins: LSNs below the horizon that somebody still needs, and the horizon itself.
 *
 * The horizon is the oldest LSN that can be read by anybody; a pin keeps one LSN readable
 * though the horizon moves past it. An open descriptor holds one, and so does a tag.
 *
 * Who reads takes its guard first and looks here second (pins_is_kept). What is
 * dropped for a horizon leaves the map only after the horizon was moved here, so a guard that is
 * older than the look sees all that LSN needs.
 *
 * Any thread; one lock, a leaf.
 */
#ifndef VARVE_ENGINE_PINS_H
#define VARVE_ENGINE_PINS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lsn.h"

struct pins {
	_Atomic uint64_t horizon;       /* stored under lock; only grows; 0: nothing to read yet */
	pthread_mutex_t lock;
	/* guarded by lock */
	struct pin {
		struct lsn lsn;
		uint32_t count;
	} *held;                        /* ascending by LSN */
	uint32_t count, room;
};

void pins_init(struct pins *pins);
void pins_destroy(struct pins *pins);

/* Hold @lsn. 0; -ENOENT: it can't be read any more; -ENOMEM. */
int pins_add(struct pins *pins, struct lsn lsn);
/* Give up one hold of @lsn, which is held. */
void pins_drop(struct pins *pins, struct lsn lsn);

/* Each pin, ascending. Stops at the first result that is not 0 and returns it. @fn takes no pin. */
int pins_each(struct pins *pins, int (*fn)(void *context, struct lsn lsn, uint32_t count),
	      void *context);

/* Is @lsn at or above the horizon, or pinned? */
bool pins_is_kept(struct pins *pins, struct lsn lsn);

/* Move the horizon up to @lsn; what is below already stays. */
void pins_raise(struct pins *pins, struct lsn lsn);

/*
 * What is to be kept of what lies at or below the horizon: what is seen from these points.
 * Ascending; the last is the horizon, those before it are pins.
 */
struct retention {
	struct lsn *points;             /* owned */
	uint32_t count;                 /* at least 1, once taken */
};

/* A pin that is taken later is above this horizon, or among these. -ENOMEM. */
int retention_take(struct retention *retention, struct pins *pins);
void retention_free(struct retention *retention);

static inline struct lsn retention_horizon(const struct retention *retention)
{
	return retention->points[retention->count - 1];
}

/* The first point at or above @lsn; retention->count: none. */
uint32_t retention_first(const struct retention *retention, struct lsn lsn);

#endif
