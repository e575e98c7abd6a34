#include "remount.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "client.h"
#include "command.h"
#include "member.h"
#include "mount_options.h"
#include "mount_table.h"

/* statvfs has these flags by the bits that mount(2) takes them by. */
#define FLAGS_KEPT (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
_Static_assert((ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME | ST_NODIRATIME) ==
		       (int)FLAGS_KEPT,
	       "the same bits");

/* Was the store opened for reading only, so that no flag of the mount makes it take a change? A
 * daemon that can't be asked is not held to have. */
static bool store_is_read_only(const char *mountpoint)
{
	char store[PATH_MAX];
	json_t *info = NULL;
	bool read_only;
	FILE *answer;

	if (client_store_of(mountpoint, store) != 0 ||
	    client_request(store, json_pack("{s:s}", "op", "info"), &answer) != 0)
		return false;
	(void)client_next(answer, &info);
	fclose(answer);
	read_only = member_flag(info, "read_only");
	json_decref(info);
	return read_only;
}

int remount(const char *mountpoint, const struct mount_options *options)
{
	struct mount_entry entry;
	struct statvfs now;
	unsigned long flags;

	if (mount_table_find(mountpoint, &entry) != 0 || strcmp(entry.type, MOUNT_TYPE) != 0)
		return fail("varve has mounted nothing at %s that could be remounted", mountpoint);
	if (statvfs(mountpoint, &now) != 0)
		return fail("%s does not answer: %s; clear it: varve umount '%s'", mountpoint,
			    strerror(errno), mountpoint);
	flags = (now.f_flag & FLAGS_KEPT & ~options->named) | options->flags;
	if (!(flags & MS_RDONLY) && (now.f_flag & ST_RDONLY) && store_is_read_only(mountpoint))
		return fail("%s shows a store that was opened for reading only; to write to it, unmount "
			    "it and mount it anew: varve umount '%s'",
			    mountpoint, mountpoint);
	if (mount(NULL, mountpoint, NULL, MS_REMOUNT | flags, NULL) != 0)
		return fail("%s can't be remounted: %s%s", mountpoint, strerror(errno),
			    errno == EPERM ? "; it takes root" : "");
	return STATUS_OK;
}
