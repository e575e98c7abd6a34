#include "scratch.h"

#include <pthread.h>
#include <stdlib.h>

#define ALIGNMENT 4096

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_err;

static void key_make(void)
{
	key_err = pthread_key_create(&key, free);
}

void *scratch_get(void)
{
	void *buffer;

	pthread_once(&once, key_make);
	if (key_err)
		return NULL;
	buffer = pthread_getspecific(key);
	if (buffer)
		return buffer;
	buffer = aligned_alloc(ALIGNMENT, SCRATCH_SIZE);
	if (buffer && pthread_setspecific(key, buffer) != 0) {
		free(buffer);
		buffer = NULL;
	}
	return buffer;
}
