#include "rcu_at_once.h"

#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic bool at_once;

void rcu_at_once(void)
{
	at_once = true;
}

/* Stands before the C library's for the whole program, liburcu too. Waiting for no
 * descriptor is resting. */
int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	if (at_once && !count && timeout_ms > 0) {
		sched_yield();
		return 0;
	}
	return (int)syscall(SYS_ppoll, fds, count, timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}
