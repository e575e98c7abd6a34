#include "child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int child_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	if (WIFEXITED(status))
		return -WEXITSTATUS(status);
	fprintf(stderr, "varve-bench: a child was ended by signal %d\n", WTERMSIG(status));
	return -EIO;
}

int child_run(child_fn *run, void *context, void *result, size_t result_bytes)
{
	void *shared = mmap(NULL, result_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int err;

	if (shared == MAP_FAILED)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(-run(context, shared));   /* an errno fits an exit status */
	err = pid < 0 ? -errno : child_wait(pid);
	memcpy(result, shared, result_bytes);
	munmap(shared, result_bytes);
	return err;
}
