#include "send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "info.h"

static int send_all(int fd, const char *bytes, size_t size_bytes)
{
	while (size_bytes) {
		ssize_t sent = send(fd, bytes, size_bytes, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -errno;
		bytes += sent;
		size_bytes -= (size_t)sent;
	}
	return 0;
}

int send_line(int fd, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	int err = -ENOMEM;

	if (text) {
		err = send_all(fd, text, strlen(text));
		if (!err)
			err = send_all(fd, "\n", 1);
	}
	free(text);
	json_decref(object);
	return err;
}

void send_line_if_heard(int fd, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	struct iovec parts[] = {{text, text ? strlen(text) : 0}, {"\n", 1}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	if (text)
		(void)sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(text);
	json_decref(object);
}

json_t *error_object(int err, const char *text)
{
	return json_pack("{s:o, s:i}", "error", info_string(text), "errno", -err);
}

int send_file(int fd, FILE *file)
{
	ssize_t sent;

	if (fflush(file) != 0 || lseek(fileno(file), 0, SEEK_SET) < 0)
		return -errno;
	do
		sent = sendfile(fd, fileno(file), NULL, 1u << 20);
	while (sent > 0 || (sent < 0 && errno == EINTR));
	return sent < 0 ? -errno : 0;
}
