#include "killpriv.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_bool agreed;

/* The request this thread read last; libfuse answers it on the same thread. */
static _Thread_local struct {
	bool offers; /* the handshake, of a kernel that knows the flag */
	bool wants;  /* the bits are to be cleared */
} request;

/* Copy what follows the header of a request; shorter ones end in zeros. */
static void argument_copy(const char *bytes, size_t size_bytes, void *out, size_t out_size)
{
	size_t have = size_bytes - sizeof(struct fuse_in_header);

	memset(out, 0, out_size);
	memcpy(out, bytes + sizeof(struct fuse_in_header), have < out_size ? have : out_size);
}

/* Not inlined, so that nothing of it lies on the stack while its caller sleeps in
 * read: libfuse cancels threads there, and AddressSanitizer does not see that. */
__attribute__((noinline)) static void request_note(const char *bytes, size_t size_bytes)
{
	struct fuse_in_header header;
	union {
		struct fuse_init_in init;
		struct fuse_write_in write;
		struct fuse_setattr_in setattr;
		struct fuse_open_in open;
	} argument;

	request.offers = false;
	request.wants = false;
	if (size_bytes < sizeof(header))
		return;
	memcpy(&header, bytes, sizeof(header));
	argument_copy(bytes, size_bytes, &argument, sizeof(argument));
	switch (header.opcode) {
	case FUSE_INIT:
		request.offers = argument.init.flags & FUSE_HANDLE_KILLPRIV_V2;
		break;
	case FUSE_WRITE:
		request.wants = argument.write.write_flags & FUSE_WRITE_KILL_SUIDGID;
		break;
	case FUSE_SETATTR:
		request.wants = argument.setattr.valid & FATTR_KILL_SUIDGID;
		break;
	case FUSE_OPEN:
		request.wants = argument.open.open_flags & FUSE_OPEN_KILL_SUIDGID;
		break;
	default:
		break;
	}
}

static ssize_t device_read(int fd, void *buffer, size_t size_bytes, void *userdata)
{
	ssize_t got = read(fd, buffer, size_bytes);

	if (got > 0)
		request_note(buffer, (size_t)got);
	return got;
}

static ssize_t device_writev(int fd, struct iovec *parts, int count, void *userdata)
{
	if (request.offers && count == 2 && parts[1].iov_len >= sizeof(struct fuse_init_out)) {
		struct fuse_init_out *reply = parts[1].iov_base;

		reply->flags |= FUSE_HANDLE_KILLPRIV_V2;
		request.offers = false;
		atomic_store(&agreed, true);
	}
	return writev(fd, parts, count);
}

int killpriv_install(struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.read = device_read, .writev = device_writev};

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

bool killpriv_is_agreed(void)
{
	return atomic_load_explicit(&agreed, memory_order_relaxed);
}

bool killpriv_is_wanted(void)
{
	return request.wants;
}
