#include "holder.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "mount_table.h"
#include "store.h"

#define PAUSE_MS 20

/* After an unmount a daemon stops answering at once, if no mount is left. */
#define ANSWERS_MS 2000

static bool holder_find(const char *store, struct holder *holder_out)
{
	static const char mounted_at[] = "mounted at ";
	char text[PATH_MAX];
	const char *where;

	*holder_out = (struct holder){0};
	if (store_holder(store, text, sizeof(text), &holder_out->pid) != 0)
		return false;
	where = strstr(text, mounted_at);
	if (where) {
		holder_out->shows_all = where == text;
		snprintf(holder_out->mountpoint, PATH_MAX, "%s", where + strlen(mounted_at));
	}
	return true;
}

static bool is_mounted(const char *mountpoint)
{
	struct mount_entry entry;

	return mount_table_find(mountpoint, &entry) == 0 && strcmp(entry.type, MOUNT_TYPE) == 0;
}

static bool daemon_answers(const char *store)
{
	int fd = control_connect(store);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

enum holder_state holder_wait(const char *store, struct holder *holder_out)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
	unsigned answered_ms = 0;

	while (holder_find(store, holder_out)) {
		if (!holder_out->mountpoint[0] || is_mounted(holder_out->mountpoint))
			return HOLDER_STAYS;
		/* One that answers no more is closing the store, however long its disk takes for it. */
		if (daemon_answers(store) && (answered_ms += PAUSE_MS) > ANSWERS_MS)
			return HOLDER_ELSEWHERE;
		nanosleep(&pause, NULL);
	}
	return HOLDER_NONE;
}
