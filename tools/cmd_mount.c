/* varve mount STORE MOUNTPOINT [-f] [-o OPTIONS] */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "mount_table.h"
#include "serve.h"
#include "text.h"

struct arguments {
	const char *store, *mountpoint;
	bool foreground;
	int allow_other; /* -1: not said */
	struct store_options store_options;
	char *fuse_options; /* separated by commas */
};

/*
 * Options
 */

/* Handed to libfuse, which hands most of them to the kernel. A name that ends
 * in '=' takes a value. */
static const char *const fuse_options[] = {
	"rw",	      "dev",	     "nodev",	     "suid",	"nosuid",    "exec",
	"noexec",     "atime",	     "noatime",	     "fsname=", "max_read=", "context=",
	"fscontext=", "defcontext=", "rootcontext=", NULL,
};

static bool fuse_option_is_known(const char *option)
{
	for (const char *const *known = fuse_options; *known; known++) {
		size_t length = strlen(*known);

		if ((*known)[length - 1] == '=' ? strncmp(option, *known, length) == 0
						: strcmp(option, *known) == 0)
			return true;
	}
	return false;
}

static void fuse_option_add(struct arguments *arguments, const char *option,
			    struct argp_state *state)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", arguments->fuse_options ? arguments->fuse_options : "",
		     arguments->fuse_options ? "," : "", option) < 0)
		argp_failure(state, STATUS_FAILED, ENOMEM, "%s", option);
	free(arguments->fuse_options);
	arguments->fuse_options = longer;
}

/* The value of @option if it is NAME=VALUE; NULL if it is another. */
static const char *value_of(const char *option, const char *name)
{
	size_t length = strlen(name);

	return strncmp(option, name, length) == 0 && option[length] == '=' ? option + length + 1
									   : NULL;
}

static uint64_t size_value(const char *option, const char *value, struct argp_state *state)
{
	uint64_t size;

	if (!text_parse_size(value, &size) || size == 0)
		argp_error(state, "'%s': '%s' is no size; write it like 64M or 1G", option, value);
	return size;
}

static uint64_t age_value_ns(const char *option, const char *value, struct argp_state *state)
{
	uint64_t seconds;

	if (!text_parse_number(value, &seconds) || seconds == 0 ||
	    seconds > UINT64_MAX / UINT64_C(1000000000))
		argp_error(state, "'%s': '%s' is no number of seconds", option, value);
	return seconds * UINT64_C(1000000000);
}

static void option_parse(char *option, struct arguments *arguments, struct argp_state *state)
{
	struct store_options *store = &arguments->store_options;
	const char *value;

	if (strcmp(option, "allow_other") == 0) {
		arguments->allow_other = true;
	} else if (strcmp(option, "noallow_other") == 0) {
		arguments->allow_other = false;
	} else if (strcmp(option, "ro") == 0) {
		store->read_only = true;
		fuse_option_add(arguments, option, state);
	} else if ((value = value_of(option, "memory"))) {
		store->memory_bytes = size_value(option, value, state);
	} else if ((value = value_of(option, "layer"))) {
		store->layer_size_bytes = size_value(option, value, state);
	} else if ((value = value_of(option, "age"))) {
		store->freeze_age_ns = age_value_ns(option, value, state);
	} else if ((value = value_of(option, "cache"))) {
		store->cache_size_bytes = size_value(option, value, state);
	} else if (fuse_option_is_known(option)) {
		fuse_option_add(arguments, option, state);
	} else {
		argp_error(state, "there is no mount option '%s'; `varve help mount` lists them",
			   option);
	}
}

static void options_parse(char *list, struct arguments *arguments, struct argp_state *state)
{
	char *save, *option;

	for (option = strtok_r(list, ",", &save); option; option = strtok_r(NULL, ",", &save))
		option_parse(option, arguments, state);
}

static error_t mount_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'f':
		arguments->foreground = true;
		return 0;
	case 'o':
		options_parse(argument, arguments, state);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "'%s' is one too many; wanted are STORE and MOUNTPOINT",
				   argument);
		*(state->arg_num ? &arguments->mountpoint : &arguments->store) = argument;
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num < 2)
			argp_error(state, "wanted are STORE and MOUNTPOINT");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option mount_options[] = {
	{"foreground", 'f', NULL, 0, "stay in front and log to stderr", 0},
	{"options", 'o', "LIST", 0, "mount options, separated by commas", 0},
	{0},
};

static const struct argp mount_argp = {
	.options = mount_options,
	.parser = mount_parse,
	.args_doc = "STORE MOUNTPOINT",
	.doc = "Mount STORE at the empty directory MOUNTPOINT: the tree as it is now at head/rel, "
	       "as of LSN n at lsn/<n>/rel. Returns once the mount answers.\v"
	       "Mount options:\n"
	       "  ro             take no changes\n"
	       "  allow_other    other users may use the mount, as modes and owners permit\n"
	       "                 (the default when root mounts)\n"
	       "  noallow_other  only who mounted may use it\n"
	       "  memory=SIZE    memory for layers being written, caches and compaction (an\n"
	       "                 eighth of the machine's, from 128M to 1G)\n"
	       "  layer=SIZE     seal the open layer at this size (as memory allows, up to 64M)\n"
	       "  age=SECONDS    ... or at this age (3600)\n"
	       "  cache=SIZE     memory for blocks of layers (a quarter of memory=)\n"
	       "  fsname=NAME    the name that mount(8) shows, in place of the store's path\n"
	       "  rw, dev, suid, exec, atime, nodev, nosuid, noexec, noatime, max_read=N and\n"
	       "  SELinux's context options: as in mount(8) and mount.fuse3(8)",
};

/*
 * The mount point
 */

static bool path_is_below(const char *path, const char *above)
{
	size_t length = strlen(above);

	if (strcmp(above, "/") == 0)
		return true;
	return strncmp(path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static int directory_is_empty(const char *path, bool *empty_out)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;

	if (!directory)
		return -errno;
	*empty_out = true;
	while ((entry = readdir(directory))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			*empty_out = false;
	}
	closedir(directory);
	return 0;
}

static int fail_mountpoint(const char *path, int err)
{
	switch (err) {
	case -ENOENT:
		return fail("the mount point %s does not exist; make it: mkdir -p '%s'", path,
			    path);
	case -ENOTDIR:
		return fail("the mount point %s is not a directory; name one that is", path);
	case -ENOTCONN:
	case -ECONNABORTED:     /* its last threads are ending */
		return fail("%s is a dead mount whose daemon is gone; clear it: varve umount '%s'",
			    path, path);
	default:
		return fail("the mount point %s can't be used: %s", path, strerror(-err));
	}
}

/* May @path be mounted on? Both paths are absolute. STATUS_OK, or said why not. */
static int mountpoint_check(const char *path, const char *store)
{
	struct mount_entry entry;
	struct stat stat_;
	bool empty = false;
	int err;

	if (stat(path, &stat_) != 0)
		return fail_mountpoint(path, -errno);
	if (!S_ISDIR(stat_.st_mode))
		return fail_mountpoint(path, -ENOTDIR);
	if (path_is_below(path, store))
		return fail("the mount point %s lies inside the store %s; choose one outside", path,
			    store);
	if (path_is_below(store, path))
		return fail(
			"the store %s lies inside the mount point %s, which would hide it; choose "
			"another mount point",
			store, path);
	/* Of a dead mount the kernel may still know the attributes, but not the list. */
	err = directory_is_empty(path, &empty);
	if (err)
		return fail_mountpoint(path, err);
	if (mount_table_find(path, &entry) == 0 && strcmp(entry.type, MOUNT_TYPE) == 0)
		return fail(
			"%s is mounted at %s already; to mount another, first: varve umount '%s'",
			entry.source, path, path);
	if (!empty)
		return fail("the mount point %s is not empty; choose an empty directory", path);
	return STATUS_OK;
}

/*
 * To the background
 */

/* The child keeps stderr for what goes wrong until the mount is there, then lets
 * go of the terminal and tells the parent by one byte. */
struct background {
	int pipe_fd;
};

static void background_mounted(void *context)
{
	struct background *background = context;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2 && null_fd >= 0; fd++)
		dup2(null_fd, fd);
	if (null_fd > 2)
		close(null_fd);
	/* A parent that is gone needs no answer, and SIGPIPE is ignored. */
	(void)!write(background->pipe_fd, "", 1);
	close(background->pipe_fd);
}

static void foreground_mounted(void *context)
{
	(void)context;
}

static int serve_or_fail(const struct serve_options *options)
{
	struct report report = {""};
	int err;

	err = serve(options, &report);
	if (!err)
		return STATUS_OK;
	/* Where lines go now: to stderr, or to the log once in the background. */
	log_line("%s", report.text);
	return STATUS_FAILED;
}

/* The mount answers when a stat of the tree does; the daemon can't ask itself. */
static int wait_for_answer(const char *mountpoint)
{
	char tree[PATH_MAX + 16];
	struct stat stat_;

	snprintf(tree, sizeof(tree), "%s/head/rel", mountpoint);
	if (stat(tree, &stat_) != 0)
		return fail("%s is mounted but does not answer: %s; the system log may tell why, "
			    "`varve umount '%s'` clears it",
			    mountpoint, strerror(errno), mountpoint);
	return STATUS_OK;
}

static int parent_wait(pid_t child, int pipe_fd, const char *mountpoint)
{
	char byte;
	ssize_t got;
	int status;

	do
		got = read(pipe_fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		return wait_for_answer(mountpoint);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		fail("the daemon was ended by signal %d before it had mounted", WTERMSIG(status));
	return STATUS_FAILED; /* the child said why */
}

/* Fork before there is a thread or an open store: neither survives it. */
static int serve_in_background(struct serve_options *options)
{
	struct background background;
	int pipe_fds[2];
	pid_t child;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return fail("no pipe could be made: %s", strerror(errno));
	fflush(NULL);
	child = fork();
	if (child < 0)
		return fail("no process could be made: %s", strerror(errno));
	if (child > 0) {
		close(pipe_fds[1]);
		return parent_wait(child, pipe_fds[0], options->mountpoint);
	}
	close(pipe_fds[0]);
	setsid();
	background.pipe_fd = pipe_fds[1];
	options->mounted = background_mounted;
	options->context = &background;
	return serve_or_fail(options);
}

static int fail_store(const char *path, int err)
{
	if (err == -ENOENT)
		return fail("there is no store at %s; make one: varve mkfs '%s'", path, path);
	return fail("the store %s can't be reached: %s", path, strerror(-err));
}

static int mount_store(const struct arguments *arguments)
{
	char store[PATH_MAX], mountpoint[PATH_MAX];
	struct serve_options options = {
		.store_path = store,
		.mountpoint = mountpoint,
		.fuse_options = arguments->fuse_options ? arguments->fuse_options : "",
		.allow_other = arguments->allow_other < 0 ? geteuid() == 0 : arguments->allow_other,
		.foreground = arguments->foreground,
		.store = arguments->store_options,
		.mounted = foreground_mounted,
	};
	int status;

	if (!realpath(arguments->store, store))
		return fail_store(arguments->store, -errno);
	if (!realpath(arguments->mountpoint, mountpoint))
		return fail_mountpoint(arguments->mountpoint, -errno);
	status = mountpoint_check(mountpoint, store);
	if (status)
		return status;
	return arguments->foreground ? serve_or_fail(&options) : serve_in_background(&options);
}

int cmd_mount(int argc, char **argv)
{
	struct arguments arguments = {.allow_other = -1};
	int status;

	argp_parse(&mount_argp, argc, argv, 0, NULL, &arguments);
	status = mount_store(&arguments);
	free(arguments.fuse_options);
	return status;
}
