#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

/* Where this thread goes on after a fault; NULL: it is not guarded. */
static _Thread_local sigjmp_buf *volatile way_out;
static struct sigaction handled_before;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fault_met(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (way_out)
		siglongjmp(*way_out, 1);
	/* Not ours: let it happen again under whoever was there first. */
	sigaction(number, &handled_before, NULL);
}

static void handler_install(void)
{
	/* SA_NODEFER: the handler is left by a jump, with the signal unblocked. */
	struct sigaction action = { .sa_sigaction = fault_met, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGBUS, &action, &handled_before);
}

int fault_guarded(fault_fn *fn, void *context)
{
	sigjmp_buf here;
	int result;

	pthread_once(&once, handler_install);
	if (sigsetjmp(here, 0)) {
		way_out = NULL;
		return -EIO;
	}
	way_out = &here;
	result = fn(context);
	way_out = NULL;
	return result;
}
