#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "command.h"
#include "control.h"
#include "text.h"

static int attribute(const char *path, const char *name, char *value_out, size_t size_bytes)
{
	ssize_t length = lgetxattr(path, name, value_out, size_bytes - 1);

	if (length < 0)
		return errno == EOPNOTSUPP ? -ENODATA : -errno;
	value_out[length] = '\0';
	return 0;
}

int client_store_of(const char *path, char store_out[PATH_MAX])
{
	return attribute(path, "varve.store", store_out, PATH_MAX);
}

int client_inode_of(const char *path, uint64_t *ino_out)
{
	char value[32];
	int err;

	err = attribute(path, "varve.inode", value, sizeof(value));
	if (err)
		return err;
	return text_parse_number(value, ino_out) ? 0 : -EPROTO;
}

/* send, so that a daemon that is gone is an error and not a signal. */
static int request_send(int fd, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	struct iovec parts[] = {{text, text ? strlen(text) : 0}, {"\n", 1}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t sent = text ? sendmsg(fd, &message, MSG_NOSIGNAL) : -1;
	int err = !text ? -ENOMEM : sent < 0 ? -errno : 0;

	/* A request fits the socket's buffer whole. */
	if (!err && (size_t)sent != parts[0].iov_len + 1)
		err = -EMSGSIZE;
	free(text);
	return err;
}

int client_request(const char *store_path, json_t *request, FILE **answer_out)
{
	int fd, err;

	*answer_out = NULL;
	fd = request ? control_connect(store_path) : -ENOMEM;
	if (fd < 0) {
		json_decref(request);
		return fd;
	}
	err = request_send(fd, request);
	json_decref(request);
	/* A daemon that has too many clients says so and hangs up before it reads. */
	if (!err || err == -EPIPE) {
		*answer_out = fdopen(fd, "r");
		err = *answer_out ? 0 : -errno;
	}
	if (err)
		close(fd);
	return err;
}

int client_next(FILE *answer, json_t **object_out)
{
	char *line = NULL;
	size_t room = 0;
	const char *error;
	int err = -ENODATA;

	*object_out = NULL;
	if (getline(&line, &room, answer) > 0)
		*object_out = json_loads(line, 0, NULL);
	free(line);
	if (!*object_out)
		return err;
	error = json_string_value(json_object_get(*object_out, "error"));
	if (!error)
		return 0;
	fail("the daemon says: %s", error);
	err = -(int)json_integer_value(json_object_get(*object_out, "errno"));
	json_decref(*object_out);
	*object_out = NULL;
	return err < 0 ? err : -EIO;
}
