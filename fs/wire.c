#include "wire.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLAGS_ADDED (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT)

static _Atomic uint32_t agreed; /* of the flags above */

/* The request this thread read last; libfuse answers it on the same thread. */
static _Thread_local struct {
	uint32_t offers;	/* of a handshake: which of the flags the kernel knows */
	bool drops;		/* set-id bits are to be cleared */
	bool unnamed;
} request;

static bool is_agreed(uint32_t flag)
{
	return atomic_load_explicit(&agreed, memory_order_relaxed) & flag;
}

/* Copy what follows the header of a request; shorter ones end in zeros. */
static void argument_copy(const char *bytes, size_t size_bytes, void *out, size_t out_size)
{
	size_t have = size_bytes - sizeof(struct fuse_in_header);

	memset(out, 0, out_size);
	memcpy(out, bytes + sizeof(struct fuse_in_header), have < out_size ? have : out_size);
}

/* Cut what is added to a request out of it. Returns its size then. */
static size_t setxattr_shorten(char *bytes, size_t size_bytes, struct fuse_in_header *header)
{
	const size_t extra = sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
	char *argument = bytes + sizeof(*header);

	if (!is_agreed(FUSE_SETXATTR_EXT) ||
	    size_bytes < sizeof(*header) + sizeof(struct fuse_setxattr_in))
		return size_bytes;
	memmove(argument + FUSE_COMPAT_SETXATTR_IN_SIZE, argument + sizeof(struct fuse_setxattr_in),
		size_bytes - sizeof(*header) - sizeof(struct fuse_setxattr_in));
	header->len -= (uint32_t)extra;
	memcpy(bytes, header, sizeof(*header));
	return size_bytes - extra;
}

/* Note what the request says and make it one that libfuse knows. Returns its size then. Not inlined,
 * so that nothing of it lies on the stack while its caller sleeps in read: libfuse cancels threads
 * there, and AddressSanitizer does not see that. */
__attribute__((noinline)) static size_t request_take(char *bytes, size_t size_bytes)
{
	struct fuse_in_header header;
	union {
		struct fuse_init_in init;
		struct fuse_write_in write;
		struct fuse_setattr_in setattr;
		struct fuse_open_in open;
		struct fuse_setxattr_in setxattr;
	} argument;

	memset(&request, 0, sizeof(request));
	if (size_bytes < sizeof(header))
		return size_bytes;
	memcpy(&header, bytes, sizeof(header));
	argument_copy(bytes, size_bytes, &argument, sizeof(argument));
	switch (header.opcode) {
	case FUSE_INIT:
		request.offers = argument.init.flags & FLAGS_ADDED;
		break;
	case FUSE_WRITE:
		request.drops = argument.write.write_flags & FUSE_WRITE_KILL_SUIDGID;
		break;
	case FUSE_SETATTR:
		request.drops = argument.setattr.valid & FATTR_KILL_SUIDGID;
		break;
	case FUSE_OPEN:
		request.drops = argument.open.open_flags & FUSE_OPEN_KILL_SUIDGID;
		break;
	case FUSE_SETXATTR:
		request.drops = is_agreed(FUSE_SETXATTR_EXT) &&
				argument.setxattr.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
		return setxattr_shorten(bytes, size_bytes, &header);
	case FUSE_TMPFILE:
		request.unnamed = true;
		header.opcode = FUSE_CREATE;
		memcpy(bytes, &header, sizeof(header));
		break;
	default:
		break;
	}
	return size_bytes;
}

static ssize_t device_read(int fd, void *buffer, size_t size_bytes, void *userdata)
{
	ssize_t got = read(fd, buffer, size_bytes);

	return got > 0 ? (ssize_t)request_take(buffer, (size_t)got) : got;
}

static ssize_t device_writev(int fd, struct iovec *parts, int count, void *userdata)
{
	if (request.offers && count == 2 && parts[1].iov_len >= sizeof(struct fuse_init_out)) {
		struct fuse_init_out *reply = parts[1].iov_base;

		reply->flags |= request.offers;
		atomic_store(&agreed, request.offers);
		request.offers = 0;
	}
	return writev(fd, parts, count);
}

int wire_install(struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.read = device_read, .writev = device_writev};

	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

bool wire_says_set_id(void)
{
	return is_agreed(FUSE_HANDLE_KILLPRIV_V2);
}

bool wire_drops_set_id(void)
{
	return request.drops;
}

bool wire_is_unnamed(void)
{
	return request.unnamed;
}
