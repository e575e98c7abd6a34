#include "pins.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pins_init(struct pins *pins)
{
	memset(pins, 0, sizeof(*pins));
	atomic_init(&pins->horizon, 0);
	pthread_mutex_init(&pins->lock, NULL);
}

void pins_destroy(struct pins *pins)
{
	pthread_mutex_destroy(&pins->lock);
	free(pins->held);
}

/* Where @lsn is, or belongs. The lock is held. */
static uint32_t place_of(const struct pins *pins, struct lsn lsn)
{
	uint32_t low = 0, high = pins->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (pins->held[middle].lsn.value < lsn.value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_held(const struct pins *pins, uint32_t place, struct lsn lsn)
{
	return place < pins->count && pins->held[place].lsn.value == lsn.value;
}

/* The lock is held. */
static int insert(struct pins *pins, uint32_t place, struct lsn lsn)
{
	if (pins->count == pins->room) {
		uint32_t room = pins->room ? 2 * pins->room : 16;
		struct pin *held = realloc(pins->held, room * sizeof(*held));

		if (!held)
			return -ENOMEM;
		pins->held = held;
		pins->room = room;
	}
	memmove(pins->held + place + 1, pins->held + place,
		(pins->count - place) * sizeof(*pins->held));
	pins->held[place] = (struct pin){ lsn, 1 };
	pins->count++;
	return 0;
}

int pins_add(struct pins *pins, struct lsn lsn)
{
	uint32_t place;
	int err = 0;

	pthread_mutex_lock(&pins->lock);
	place = place_of(pins, lsn);
	if (is_held(pins, place, lsn))
		pins->held[place].count++;
	else if (lsn.value < atomic_load_explicit(&pins->horizon, memory_order_relaxed))
		err = -ENOENT;
	else
		err = insert(pins, place, lsn);
	pthread_mutex_unlock(&pins->lock);
	return err;
}

void pins_drop(struct pins *pins, struct lsn lsn)
{
	uint32_t place;

	pthread_mutex_lock(&pins->lock);
	place = place_of(pins, lsn);
	assert(is_held(pins, place, lsn));
	if (--pins->held[place].count == 0) {
		pins->count--;
		memmove(pins->held + place, pins->held + place + 1,
			(pins->count - place) * sizeof(*pins->held));
	}
	pthread_mutex_unlock(&pins->lock);
}

bool pins_is_kept(struct pins *pins, struct lsn lsn)
{
	bool kept = lsn.value >= atomic_load_explicit(&pins->horizon, memory_order_acquire);

	if (!kept) {
		pthread_mutex_lock(&pins->lock);
		kept = is_held(pins, place_of(pins, lsn), lsn);
		pthread_mutex_unlock(&pins->lock);
	}
	return kept;
}

int pins_each(struct pins *pins, int (*fn)(void *context, struct lsn lsn, uint32_t count),
	      void *context)
{
	int err = 0;

	pthread_mutex_lock(&pins->lock);
	for (uint32_t i = 0; i < pins->count && !err; i++)
		err = fn(context, pins->held[i].lsn, pins->held[i].count);
	pthread_mutex_unlock(&pins->lock);
	return err;
}

void pins_raise(struct pins *pins, struct lsn lsn)
{
	pthread_mutex_lock(&pins->lock);
	if (lsn.value > atomic_load_explicit(&pins->horizon, memory_order_relaxed))
		atomic_store_explicit(&pins->horizon, lsn.value, memory_order_release);
	pthread_mutex_unlock(&pins->lock);
}

int retention_take(struct retention *retention, struct pins *pins)
{
	struct lsn horizon;
	uint32_t below;

	pthread_mutex_lock(&pins->lock);
	horizon = lsn_make(atomic_load_explicit(&pins->horizon, memory_order_relaxed));
	below = place_of(pins, horizon);
	retention->points = malloc((below + (size_t)1) * sizeof(*retention->points));
	retention->count = retention->points ? below + 1 : 0;
	for (uint32_t i = 0; i < below && retention->points; i++)
		retention->points[i] = pins->held[i].lsn;
	pthread_mutex_unlock(&pins->lock);
	if (!retention->points)
		return -ENOMEM;
	retention->points[below] = horizon;
	return 0;
}

void retention_free(struct retention *retention)
{
	free(retention->points);
	*retention = (struct retention){ NULL, 0 };
}

uint32_t retention_first(const struct retention *retention, struct lsn lsn)
{
	uint32_t low = 0, high = retention->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (retention->points[middle].value < lsn.value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
