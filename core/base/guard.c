#include "guard.h"

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

static void guard_run(struct rcu_head *head)
{
	struct guard_garbage *garbage = (struct guard_garbage *)head;

	GUARD_HAPPENS_AFTER();
	garbage->free_fn(garbage);
}

void guard_free_later(struct guard_garbage *garbage, guard_free_fn *free_fn)
{
	garbage->free_fn = free_fn;
	GUARD_HAPPENS_BEFORE();
	call_rcu((struct rcu_head *)garbage->opaque, guard_run);
}

void guard_wait(void)
{
	synchronize_rcu();
	GUARD_HAPPENS_AFTER();
}

void guard_barrier(void)
{
	rcu_barrier();
	GUARD_HAPPENS_AFTER();
}
