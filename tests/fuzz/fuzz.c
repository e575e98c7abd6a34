#include "fuzz.h"

#include <sys/mount.h>
#include <sys/prctl.h>

#include "own_mounts.h"
#include "rcu_at_once.h"
#include "report.h"

/* Make /dev/shm this process's own, so that nothing is left in it however the
 * process ends. Without the right to it, nothing happens. */
static void own_shm(void)
{
	if (own_mounts())
		(void)mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
}

static void say_nothing(const char *line)
{
	(void)line;
}

void fuzz_prepare(void)
{
	log_set_sink(say_nothing);
	own_shm();
	/* Clearing 2 MiB for each index of a few versions takes longer than all the rest. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
}
