/*
 * A kernel that knows no FUSE_NOTIFY_PRUNE (before Linux 6.18), for a daemon that this
 * is preloaded into: the notification is refused as such a kernel does.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>

#define NOTIFY_PRUNE 9

static int is_prune(const struct iovec *parts)
{
	struct fuse_out_header header;

	if (parts[0].iov_len != sizeof(header))
		return 0;
	memcpy(&header, parts[0].iov_base, sizeof(header));
	return header.unique == 0 && header.error == NOTIFY_PRUNE;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	ssize_t (*next)(int, const struct iovec *, int);
	void *symbol = dlsym(RTLD_NEXT, "writev");

	if (count > 0 && is_prune(parts)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&next, &symbol, sizeof(next));
	return next(fd, parts, count);
}
