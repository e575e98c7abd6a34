#include "guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <urcu-bp.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GUARD_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(GUARD_TSAN)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char guard_domain;
#define GUARD_HAPPENS_BEFORE() __tsan_release(&guard_domain)
#define GUARD_HAPPENS_AFTER() __tsan_acquire(&guard_domain)
#else
#define GUARD_HAPPENS_BEFORE() ((void)0)
#define GUARD_HAPPENS_AFTER() ((void)0)
#endif

_Static_assert(sizeof(struct rcu_head) <= sizeof(((struct guard_garbage *)0)->opaque),
	       "a guard_garbage holds an rcu_head");

void guard_take(void)
{
	rcu_read_lock();
}

void guard_drop(void)
{
	GUARD_HAPPENS_BEFORE();
	rcu_read_unlock();
}

/* Passed to guard_free_later and not yet freed. */
static _Atomic unsigned long waiting;

static void guard_run(struct rcu_head *head)
{
	struct guard_garbage *garbage = (struct guard_garbage *)head;

	GUARD_HAPPENS_AFTER();
	garbage->free_fn(garbage);
	/* For whoever waits by guard_barrier. */
	GUARD_HAPPENS_BEFORE();
	atomic_fetch_sub_explicit(&waiting, 1, memory_order_release);
}

/* liburcu frees from a thread of its own, which a child does not inherit: it must
 * be told of the fork to start another, or the child's guard_barrier never ends. */
static void before_fork(void)
{
	call_rcu_before_fork();
	urcu_bp_before_fork();
}

static void after_fork_in_parent(void)
{
	urcu_bp_after_fork_parent();
	call_rcu_after_fork_parent();
}

static void after_fork_in_child(void)
{
	urcu_bp_after_fork_child();
	call_rcu_after_fork_child();
}

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void guard_prepare(void)
{
	pthread_once(&fork_once, watch_forks);
	(void)get_default_call_rcu_data();
}

void guard_free_later(struct guard_garbage *garbage, guard_free_fn *free_fn)
{
	pthread_once(&fork_once, watch_forks);
	garbage->free_fn = free_fn;
	atomic_fetch_add_explicit(&waiting, 1, memory_order_relaxed);
	GUARD_HAPPENS_BEFORE();
	call_rcu((struct rcu_head *)garbage->opaque, guard_run);
}

/* Several rounds of liburcu's thread. A guard held for longer ends the pacing, not
 * the reading. */
#define PACE_MAX_MS 50

void guard_pace(void)
{
	for (unsigned ms = 0; ms < PACE_MAX_MS; ms++) {
		if (atomic_load_explicit(&waiting, memory_order_relaxed) <= GUARD_WAITING_MAX)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

void guard_wait(void)
{
	synchronize_rcu();
	GUARD_HAPPENS_AFTER();
}

void guard_barrier(void)
{
	/* liburcu's thread looks for work every 10 ms, so where there is none it is not asked. */
	if (atomic_load_explicit(&waiting, memory_order_acquire))
		rcu_barrier();
	GUARD_HAPPENS_AFTER();
}
