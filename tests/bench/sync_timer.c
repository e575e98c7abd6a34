#include "sync_timer.h"

#include <stdatomic.h>

#include "clock.h"

/* What the linker calls the two sides of io_sync. */
int __real_io_sync(int fd);
int __wrap_io_sync(int fd);

static _Atomic uint64_t total_ns, total_count;

int __wrap_io_sync(int fd)
{
	uint64_t start = clock_ns();
	int err = __real_io_sync(fd);

	atomic_fetch_add(&total_ns, clock_ns() - start);
	atomic_fetch_add(&total_count, 1);
	return err;
}

struct sync_timer sync_timer_get(void)
{
	return (struct sync_timer){ atomic_load(&total_ns), atomic_load(&total_count) };
}
