#include "expire.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "node.h"
#include "store.h"

/* Names taken at a time. */
#define BATCH_MAX 256u

struct expire {
	struct store *store;
	struct node_table *nodes;
	expire_fn *gone; /* set once, by expire_start, as the next */
	void *context;
	pthread_t thread;
	struct lsn looked_at; /* the thread's own: the oldest LSN when it looked last */

	pthread_mutex_t halt_mutex; /* held while the thread is joined; outermost */
	pthread_mutex_t mutex;
	pthread_cond_t wake;  /* the thread's; CLOCK_MONOTONIC */
	pthread_cond_t looked; /* it has looked, or never will again */
	/* under mutex */
	bool runs, halted;
	uint64_t asked, done; /* how often one asked for a look, and up to which it was done */
};

static void invalidate(const struct expire *expire, struct lsn lsn)
{
	char name[32];

	snprintf(name, sizeof(name), "%" PRIu64, lsn.value);
	expire->gone(expire->context, name);
}

static void look(struct expire *expire)
{
	struct lsn expired[BATCH_MAX], oldest, newest;
	size_t count;

	store_window(expire->store, &oldest, &newest);
	if (oldest.value == expire->looked_at.value)
		return;
	expire->looked_at = oldest;
	do {
		count = node_take_expired(expire->nodes, oldest, expired, BATCH_MAX);
		for (size_t i = 0; i < count; i++)
			invalidate(expire, expired[i]);
	} while (count == BATCH_MAX);
}

/* With the mutex held: until somebody asks, or the time has come. */
static void wait_for_asking(struct expire *expire)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += EXPIRE_PERIOD_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (expire->asked == expire->done && !expire->halted)
		pthread_cond_timedwait(&expire->wake, &expire->mutex, &until);
}

static void *expire_run(void *argument)
{
	struct expire *expire = argument;

	pthread_mutex_lock(&expire->mutex);
	while (!expire->halted) {
		uint64_t asked = expire->asked;

		pthread_mutex_unlock(&expire->mutex);
		look(expire);
		pthread_mutex_lock(&expire->mutex);
		expire->done = asked;
		pthread_cond_broadcast(&expire->looked);
		wait_for_asking(expire);
	}
	pthread_mutex_unlock(&expire->mutex);
	return NULL;
}

int expire_open(struct store *store, struct node_table *nodes, struct expire **expire_out)
{
	struct expire *expire = calloc(1, sizeof(*expire));
	pthread_condattr_t monotonic;

	*expire_out = expire;
	if (!expire)
		return -ENOMEM;
	expire->store = store;
	expire->nodes = nodes;
	pthread_mutex_init(&expire->halt_mutex, NULL);
	pthread_mutex_init(&expire->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&expire->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&expire->looked, NULL);
	return 0;
}

void expire_close(struct expire *expire)
{
	if (!expire)
		return;
	expire_halt(expire);
	pthread_cond_destroy(&expire->looked);
	pthread_cond_destroy(&expire->wake);
	pthread_mutex_destroy(&expire->mutex);
	pthread_mutex_destroy(&expire->halt_mutex);
	free(expire);
}

int expire_start(struct expire *expire, expire_fn *gone, void *context)
{
	int err;

	expire->gone = gone;
	expire->context = context;
	pthread_mutex_lock(&expire->mutex);
	err = -pthread_create(&expire->thread, NULL, expire_run, expire);
	expire->runs = !err;
	pthread_mutex_unlock(&expire->mutex);
	return err;
}

/* With the mutex held. */
static uint64_t ask(struct expire *expire)
{
	pthread_cond_signal(&expire->wake);
	return ++expire->asked;
}

void expire_soon(struct expire *expire)
{
	pthread_mutex_lock(&expire->mutex);
	ask(expire);
	pthread_mutex_unlock(&expire->mutex);
}

void expire_now(struct expire *expire)
{
	uint64_t asked;

	pthread_mutex_lock(&expire->mutex);
	asked = ask(expire);
	while (expire->runs && !expire->halted && expire->done < asked)
		pthread_cond_wait(&expire->looked, &expire->mutex);
	pthread_mutex_unlock(&expire->mutex);
}

void expire_halt(struct expire *expire)
{
	bool runs;

	pthread_mutex_lock(&expire->halt_mutex);
	pthread_mutex_lock(&expire->mutex);
	expire->halted = true;
	runs = expire->runs;
	expire->runs = false;
	pthread_cond_signal(&expire->wake);
	pthread_cond_broadcast(&expire->looked);
	pthread_mutex_unlock(&expire->mutex);
	if (runs)
		pthread_join(expire->thread, NULL);
	pthread_mutex_unlock(&expire->halt_mutex);
}
