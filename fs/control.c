#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "expire.h"
#include "front.h"
#include "info.h"
#include "operation.h"
#include "send.h"
#include "stats.h"
#include "store.h"
#include "tree.h"
#include "view.h"

#define CLIENT_MAX 16
#define SEND_TIMEOUT_SECONDS 5
#define REQUEST_TIMEOUT_SECONDS 5

struct client {
	struct control *control;
	int fd; /* -1: the slot is free */
};

struct control {
	const struct front *front;
	int folder_fd; /* the store */
	int listen_fd;
	pthread_t thread;

	pthread_mutex_t mutex; /* a leaf, never held while a client is spoken to */
	pthread_cond_t idle;   /* a slot became free */
	bool stopping;	       /* under mutex, as the rest */
	struct client clients[CLIENT_MAX];
	int waiters[CLIENT_MAX]; /* connections that wait for the end; -1: none */
};

/*
 * The address. A path of any length fits: it goes by way of the folder's
 * descriptor, as sun_path holds 108 bytes only.
 */

static void address_fill(int folder_fd, struct sockaddr_un *address_out)
{
	*address_out = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address_out->sun_path, sizeof(address_out->sun_path),
		 "/proc/self/fd/%d/" CONTROL_SOCKET_NAME, folder_fd);
}

static int socket_open(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int control_connect(const char *store_path)
{
	struct sockaddr_un address;
	int folder_fd, fd, err = 0;

	folder_fd = open(store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0)
		return -errno;
	fd = socket_open();
	if (fd < 0) {
		close(folder_fd);
		return fd;
	}
	address_fill(folder_fd, &address);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		err = -errno;
	close(folder_fd);
	if (err)
		close(fd);
	return err ? err : fd;
}

/*
 * Answers
 */

static void answer_info(struct control *control, int fd)
{
	send_line(fd, stats_json(control->front));
}

/* A log in the making: it goes to a file first, so that what the store holds
 * for the reader (a guard, a lock) does not wait for the client, and so that a
 * long log takes no memory. */
struct log_spool {
	struct control *control;
	FILE *file;
	uint64_t count;
	int err;
};

static bool log_stops(struct control *control)
{
	bool stopping;

	pthread_mutex_lock(&control->mutex);
	stopping = control->stopping;
	pthread_mutex_unlock(&control->mutex);
	return stopping;
}

static bool log_add(void *context, const struct tree_change *change)
{
	struct log_spool *spool = context;
	json_t *object = info_change(change);

	spool->err = log_stops(spool->control) ? -ESHUTDOWN : 0;
	if (!spool->err && !object)
		spool->err = -ENOMEM;
	if (!spool->err &&
	    (json_dumpf(object, spool->file, JSON_COMPACT) != 0 || putc('\n', spool->file) == EOF))
		spool->err = -EIO;
	json_decref(object);
	spool->count++;
	return !spool->err;
}

static void answer_log(struct control *control, int fd, uint64_t ino)
{
	struct log_spool spool = {.control = control, .file = tmpfile()};
	int err;

	if (!spool.file) {
		send_line(fd,
			  error_object(-errno, "no temporary file for the log; make room in /tmp"));
		return;
	}
	err = tree_history(control->front->store, ino, log_add, &spool);
	if (!err)
		err = spool.err;
	if (!err)
		err = send_file(fd, spool.file);
	if (!err)
		send_line(fd, json_pack("{s:I}", "count", (json_int_t)spool.count));
	else
		send_line(fd, error_object(err, strerror(-err)));
	fclose(spool.file);
}

/* A check under way: findings go to a file first, as a log does. */
struct check_spool {
	struct control *control;
	FILE *file;
	int fd;
	uint64_t untold_bytes;		/* read, and not yet told */
	int err;
};

static void tell_check(struct check_spool *spool, const char *name, uint64_t bytes)
{
	send_line_if_heard(spool->fd, json_pack("{s:I}", name, (json_int_t)bytes));
}

static void check_begin(void *context, uint64_t bytes)
{
	tell_check(context, "begin", bytes);
}

#define CHECK_TELL_BYTES (4u << 20)

static bool check_goes_on(void *context, uint64_t bytes)
{
	struct check_spool *spool = context;

	spool->untold_bytes += bytes;
	if (spool->untold_bytes >= CHECK_TELL_BYTES) {
		tell_check(spool, "bytes", spool->untold_bytes);
		spool->untold_bytes = 0;
	}
	return !log_stops(spool->control);
}

static void check_add(void *context, const struct finding *finding)
{
	struct check_spool *spool = context;
	json_t *object = json_pack("{s:o}", "finding", info_finding(finding));

	if (!object || json_dumpf(object, spool->file, JSON_COMPACT) != 0 ||
	    putc('\n', spool->file) == EOF)
		spool->err = object ? -EIO : -ENOMEM;
	json_decref(object);
}

static void answer_check(struct control *control, int fd, unsigned sample_count)
{
	struct check_spool spool = {.control = control, .file = tmpfile(), .fd = fd};
	const struct store_check_options options = {
		.sample_count = sample_count,
		.hooks = {check_add, check_goes_on, &spool},
		.begin = check_begin,
	};
	struct store_check_result result;
	int err;

	if (!spool.file) {
		send_line(fd, error_object(-errno, "no temporary file for the findings; make room "
						   "in /tmp"));
		return;
	}
	err = store_check_running(control->front->store, &options, &result);
	if (!err)
		err = spool.err;
	if (!err)
		err = send_file(fd, spool.file);
	if (!err)
		send_line(fd, json_pack("{s:o}", "result",
					info_check(store_path(control->front->store), &result)));
	else
		send_line(fd, error_object(err, strerror(-err)));
	fclose(spool.file);
}

/* An operation under way: its answer goes to a file first, as a log does. */
struct operation_spool {
	struct control *control;
	FILE *file;
	int fd;
};

static int operation_add(void *context, json_t *object)
{
	struct operation_spool *spool = context;
	int err = object ? 0 : -ENOMEM;

	if (!err && (json_dumpf(object, spool->file, JSON_COMPACT) != 0 ||
		     putc('\n', spool->file) == EOF))
		err = -EIO;
	json_decref(object);
	return err;
}

static void operation_tell(void *context, json_t *object)
{
	send_line_if_heard(((struct operation_spool *)context)->fd, object);
}

static bool operation_stops(void *context)
{
	return log_stops(((struct operation_spool *)context)->control);
}

/* False: @request is no operation. */
static bool answer_operation(struct control *control, int fd, const json_t *request)
{
	struct operation_spool spool = {.control = control, .file = tmpfile(), .fd = fd};
	const struct operation_sink sink = {operation_add, operation_tell, operation_stops, &spool};
	struct report report = {""};
	int outcome;

	if (!spool.file) {
		send_line(fd, error_object(-errno, "no temporary file for the answer; make room in "
						   "/tmp"));
		return true;
	}
	outcome = operation_run(control->front->store, request, &sink, &report);
	/* Who moved the window finds what it passed gone. */
	if (!outcome)
		expire_now(control->front->expire);
	if (!outcome)
		outcome = send_file(fd, spool.file);
	if (outcome < 0)
		send_line(fd, error_object(outcome, report.text[0] ? report.text
								   : strerror(-outcome)));
	fclose(spool.file);
	return outcome != 1;
}

/* Keep the connection for control_close. The client that waited longest makes
 * room, as it may be long gone. Told that it waits, a client may end the mount at
 * once: by then the connection must be no client's, or control_stop shuts it down. */
static void keep_waiter(struct client *client)
{
	struct control *control = client->control;
	int fd = client->fd, oldest;

	pthread_mutex_lock(&control->mutex);
	oldest = control->waiters[0];
	memmove(control->waiters, control->waiters + 1,
		sizeof(control->waiters) - sizeof(control->waiters[0]));
	control->waiters[CLIENT_MAX - 1] = fd;
	client->fd = -1;
	pthread_cond_signal(&control->idle);
	/* Under the lock, so that the connection is still open; a line this short
	 * does not block. */
	send_line(fd, json_pack("{s:b}", "waiting", 1));
	pthread_mutex_unlock(&control->mutex);
	if (oldest >= 0)
		close(oldest);
}

/* Answer one request; true if the connection is kept, and then @client is free. */
static bool answer(struct client *client, const char *line, size_t length)
{
	struct control *control = client->control;
	int fd = client->fd;
	json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	const char *op = json_string_value(json_object_get(request, "op"));
	json_t *inode = json_object_get(request, "inode");
	uint64_t sample_count = (uint64_t)json_integer_value(json_object_get(request, "samples"));
	bool kept = false;

	if (!op) {
		send_line(fd,
			  error_object(-EINVAL, "a request is a JSON object with a string \"op\""));
	} else if (strcmp(op, "info") == 0) {
		answer_info(control, fd);
	} else if (strcmp(op, "log") == 0 && json_is_integer(inode)) {
		answer_log(control, fd, (uint64_t)json_integer_value(inode));
	} else if (strcmp(op, "log") == 0) {
		send_line(fd, error_object(-EINVAL, "\"log\" wants a number \"inode\""));
	} else if (strcmp(op, "check") == 0 && sample_count <= STORE_CHECK_SAMPLES_MAX) {
		answer_check(control, fd, (unsigned)sample_count);
	} else if (strcmp(op, "check") == 0) {
		send_line(fd, error_object(-EINVAL, "\"check\" wants a number of \"samples\" that is not "
						   "that large"));
	} else if (strcmp(op, "wait") == 0) {
		keep_waiter(client);
		kept = true;
	} else if (!answer_operation(control, fd, request)) {
		char text[128];

		snprintf(text, sizeof(text), "no such \"op\"; there are info, log, check, wait, %s",
			 operation_names);
		send_line(fd, error_object(-EINVAL, text));
	}
	json_decref(request);
	return kept;
}

/*
 * Connections
 */

static void timeouts_set(int fd)
{
	struct timeval receive = {.tv_sec = REQUEST_TIMEOUT_SECONDS};
	struct timeval send_ = {.tv_sec = SEND_TIMEOUT_SECONDS};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_, sizeof(send_));
}

/* The request's length without its newline; -errno if none came in time. */
static ssize_t request_receive(int fd, char *line, size_t room)
{
	time_t deadline = time(NULL) + REQUEST_TIMEOUT_SECONDS;
	size_t length = 0;

	while (length < room) {
		ssize_t got = recv(fd, line + length, room - length, 0);
		char *end;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ECONNRESET;
		end = memchr(line + length, '\n', (size_t)got);
		if (end)
			return end - line;
		length += (size_t)got;
		if (time(NULL) > deadline)
			return -ETIMEDOUT;
	}
	return -EMSGSIZE;
}

static void *client_run(void *argument)
{
	struct client *client = argument;
	struct control *control = client->control;
	char line[CONTROL_REQUEST_MAX];
	ssize_t length;
	bool kept = false;
	int fd = client->fd;

	length = request_receive(fd, line, sizeof(line));
	if (length >= 0)
		kept = answer(client, line, (size_t)length);
	else
		send_line(fd,
			  error_object((int)length, "no request: a line of JSON of at most 4 KiB "
						    "was expected within 5 seconds"));
	/* Once the slot is free, it and what control_stop waits for are not ours. */
	if (kept)
		return NULL;
	pthread_mutex_lock(&control->mutex);
	client->fd = -1;
	pthread_cond_signal(&control->idle);
	pthread_mutex_unlock(&control->mutex);
	close(fd);
	return NULL;
}

static struct client *client_slot(struct control *control)
{
	for (unsigned i = 0; i < CLIENT_MAX; i++) {
		if (control->clients[i].fd < 0)
			return &control->clients[i];
	}
	return NULL;
}

static void client_start(struct control *control, int fd)
{
	pthread_attr_t detached;
	struct client *client;
	pthread_t thread;
	int err = EAGAIN;

	timeouts_set(fd);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&control->mutex);
	client = control->stopping ? NULL : client_slot(control);
	if (client) {
		client->fd = fd;
		err = pthread_create(&thread, &detached, client_run, client);
		if (err)
			client->fd = -1;
	}
	pthread_mutex_unlock(&control->mutex);
	pthread_attr_destroy(&detached);
	if (err) {
		send_line(fd, error_object(-err, "too many requests at a time; try again"));
		close(fd);
	}
}

/* Ends when control_stop shuts the listening socket down. */
static void *accept_run(void *argument)
{
	struct control *control = argument;

	for (;;) {
		int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			client_start(control, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return NULL;
		}
	}
}

/*
 * Life
 */

static int listen_open(struct control *control)
{
	struct sockaddr_un address;
	int fd, err = 0;

	control->folder_fd = open(store_path(control->front->store), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (control->folder_fd < 0)
		return -errno;
	fd = socket_open();
	if (fd < 0)
		return fd;
	control->listen_fd = fd;
	address_fill(control->folder_fd, &address);
	if (unlinkat(control->folder_fd, CONTROL_SOCKET_NAME, 0) != 0 && errno != ENOENT)
		return -errno;
	/* The mode is the socket's own before the name appears. */
	if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, SOMAXCONN) != 0)
		err = -errno;
	return err;
}

static void control_free(struct control *control)
{
	if (control->listen_fd >= 0)
		close(control->listen_fd);
	if (control->folder_fd >= 0)
		close(control->folder_fd);
	pthread_cond_destroy(&control->idle);
	pthread_mutex_destroy(&control->mutex);
	free(control);
}

static struct control *control_new(const struct front *front)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->front = front;
	control->folder_fd = -1;
	control->listen_fd = -1;
	pthread_mutex_init(&control->mutex, NULL);
	pthread_cond_init(&control->idle, NULL);
	for (unsigned i = 0; i < CLIENT_MAX; i++) {
		control->clients[i] = (struct client){.control = control, .fd = -1};
		control->waiters[i] = -1;
	}
	return control;
}

int control_open(const struct front *front, struct report *report, struct control **control_out)
{
	struct control *control;
	int err;

	*control_out = NULL;
	control = control_new(front);
	if (!control)
		return report_set(report, -ENOMEM, "no memory left; free some and try again");
	err = listen_open(control);
	if (!err)
		err = -pthread_create(&control->thread, NULL, accept_run, control);
	if (err) {
		report_set(report, err,
			   "%s/" CONTROL_SOCKET_NAME " can't be made: %s; the store must lie on a "
			   "file system with sockets, and its folder must be writable",
			   store_path(front->store), strerror(-err));
		if (control->listen_fd >= 0)
			unlinkat(control->folder_fd, CONTROL_SOCKET_NAME, 0);
		control_free(control);
		return err;
	}
	*control_out = control;
	return 0;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	unlinkat(control->folder_fd, CONTROL_SOCKET_NAME, 0);
	/* A merge of all history may take hours. */
	store_end_waits(control->front->store);
	pthread_mutex_lock(&control->mutex);
	control->stopping = true;
	for (unsigned i = 0; i < CLIENT_MAX; i++) {
		while (control->clients[i].fd >= 0) {
			shutdown(control->clients[i].fd, SHUT_RDWR);
			pthread_cond_wait(&control->idle, &control->mutex);
		}
	}
	pthread_mutex_unlock(&control->mutex);
	shutdown(control->listen_fd, SHUT_RDWR);
	pthread_join(control->thread, NULL);
}

void control_close(struct control *control, int store_err)
{
	if (!control)
		return;
	for (unsigned i = 0; i < CLIENT_MAX; i++) {
		int fd = control->waiters[i];

		if (fd < 0)
			continue;
		send_line(fd, store_err ? error_object(store_err, strerror(-store_err))
					: json_pack("{s:b}", "closed", 1));
		close(fd);
	}
	control_free(control);
}
