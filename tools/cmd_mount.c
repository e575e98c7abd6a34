/* varve mount STORE MOUNTPOINT [-f] [-s] [-o OPTIONS] */
#include <argp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "holder.h"
#include "mount_options.h"
#include "mount_table.h"
#include "remount.h"
#include "serve.h"

struct arguments {
	const char *store, *mountpoint;
	bool foreground, sloppy;
	char *list; /* of mount options, as they came; NULL: none */
	struct mount_options options;
};

static void list_add(struct arguments *arguments, const char *list, struct argp_state *state)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", arguments->list ? arguments->list : "",
		     arguments->list ? "," : "", list) < 0)
		argp_failure(state, STATUS_FAILED, ENOMEM, "%s", list);
	free(arguments->list);
	arguments->list = longer;
}

static error_t mount_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 'f':
		arguments->foreground = true;
		return 0;
	case 'o':
		list_add(arguments, argument, state);
		return 0;
	case 's':
		arguments->sloppy = true;
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
		if (arguments->list)
			mount_options_parse(&arguments->options, arguments->list,
					    arguments->sloppy, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option mount_options[] = {
	{"foreground", 'f', NULL, 0, "stay in front and log to stderr", 0},
	{"options", 'o', "LIST", 0, "mount options, separated by commas", 0},
	{"sloppy", 's', NULL, 0, "pass over options that are not known", 0},
	{0},
};

static const struct argp mount_argp = {
	.options = mount_options,
	.parser = mount_parse,
	.args_doc = "STORE MOUNTPOINT",
	.doc = "Mount STORE at the empty directory MOUNTPOINT: the tree as it is now at head/rel, "
	       "as of LSN n at lsn/<n>/rel. Returns once the mount answers.\v"
	       "Mount options:\n"
	       "  ro, rw         take no changes; take them\n"
	       "  lsn=N          the tree as of LSN N alone is the root of the mount, read-only\n"
	       "  allow_other    other users may use the mount, as modes and owners permit\n"
	       "                 (the default when root mounts)\n"
	       "  noallow_other  only who mounted may use it\n"
	       "  uid=N, gid=N   every file shows this owner, this group\n"
	       "  umask=OCTAL    every file shows all permissions but these\n"
	       "  memory=SIZE    memory for layers being written, caches and compaction (an\n"
	       "                 eighth of the machine's, from 128M to 1G)\n"
	       "  layer=SIZE     seal the open layer at this size (as memory allows, up to 64M)\n"
	       "  age=SECONDS    ... or at this age (3600)\n"
	       "  cache=SIZE     memory for blocks of layers (a quarter of memory=)\n"
	       "  fsname=NAME    the name that mount(8) shows, in place of the store's path\n"
	       "  remount        change ro, dev, suid, exec and atime of what is mounted\n"
	       "  dev, suid, exec, atime, nodev, nosuid, noexec, noatime, max_read=N and\n"
	       "  SELinux's context options: as in mount(8) and mount.fuse3(8)\n"
	       "What /etc/fstab has for mount(8) is passed over: noauto, nofail, _netdev, user,\n"
	       "x-NAME, relatime and the like.",
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

/* The mount answers when a stat of its root does. */
static int wait_for_answer(const char *mountpoint)
{
	struct stat stat_;

	if (stat(mountpoint, &stat_) != 0)
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

/*
 * The store
 */

/* Is the store free? What a holder of another kind is, and that the store was taken meanwhile, is said
 * by opening it. */
static int store_check_free(const char *store, const char *mountpoint, struct lsn lsn)
{
	struct holder holder;
	enum holder_state state = holder_wait(store, &holder);

	if (state == HOLDER_ELSEWHERE)
		return fail("the store %s is still held by process %d: nothing is mounted at %s here, but it "
			    "is in use there, or mounted in another mount namespace; end it: kill %d",
			    store, holder.pid, holder.mountpoint, holder.pid);
	/* One process owns a store, but the daemon that does shows every LSN. */
	if (state == HOLDER_STAYS && holder.shows_all && !lsn_is_head(lsn))
		return fail("the store %s is mounted at %s already, and one process owns a store; mount "
			    "LSN %" PRIu64 " from there, as root: mount --bind -o ro '%s/lsn/%" PRIu64
			    "/rel' '%s'",
			    store, holder.mountpoint, lsn.value, holder.mountpoint, lsn.value,
			    mountpoint);
	return STATUS_OK;
}

static int fail_store(const char *path, int err)
{
	if (err == -ENOENT)
		return fail("there is no store at %s; make one: varve mkfs '%s'", path, path);
	return fail("the store %s can't be reached: %s", path, strerror(-err));
}

/*
 * Who may
 */

/* Is there a line "user_allow_other" in /etc/fuse.conf, which fusermount3 asks? */
static bool users_may_allow_other(void)
{
	FILE *file = fopen("/etc/fuse.conf", "re");
	char line[256], word[32];
	bool may = false;

	while (file && !may && fgets(line, sizeof(line), file))
		may = sscanf(line, "%31s", word) == 1 && strcmp(word, "user_allow_other") == 0;
	if (file)
		fclose(file);
	return may;
}

static int user_check(const struct mount_options *options)
{
	/* libfuse opens it as who calls it, and only then asks fusermount3 to mount. */
	if (access("/dev/fuse", R_OK | W_OK) != 0 && errno == EACCES)
		return fail("/dev/fuse is closed to users other than root; open it, as root: chmod 666 "
			    "/dev/fuse");
	if (options->allow_other != true || geteuid() == 0 || users_may_allow_other())
		return STATUS_OK;
	return fail("allow_other is for root, unless /etc/fuse.conf has a line that says "
		    "user_allow_other; leave it out, or have root add that line");
}

static int mount_store(const struct arguments *arguments)
{
	const struct mount_options *mount = &arguments->options;
	char store[PATH_MAX], mountpoint[PATH_MAX];
	struct serve_options options = {
		.store_path = store,
		.mountpoint = mountpoint,
		.fuse_options = mount->fuse ? mount->fuse : "",
		.allow_other = mount->allow_other < 0 ? geteuid() == 0 : mount->allow_other,
		.foreground = arguments->foreground,
		.store = mount->store,
		.view = mount->view,
		.mounted = foreground_mounted,
	};
	int status;

	options.store.read_only = mount->read_only;
	if (!realpath(arguments->mountpoint, mountpoint))
		return fail_mountpoint(arguments->mountpoint, -errno);
	if (mount->remount)
		return remount(mountpoint, mount);
	if (!realpath(arguments->store, store))
		return fail_store(arguments->store, -errno);
	status = mountpoint_check(mountpoint, store);
	if (!status)
		status = user_check(mount);
	if (!status)
		status = store_check_free(store, mountpoint, mount->view.at);
	if (status)
		return status;
	return arguments->foreground ? serve_or_fail(&options) : serve_in_background(&options);
}

int cmd_mount(int argc, char **argv)
{
	struct arguments arguments = {0};
	int status;

	mount_options_init(&arguments.options);
	argp_parse(&mount_argp, argc, argv, 0, NULL, &arguments);
	status = mount_store(&arguments);
	mount_options_free(&arguments.options);
	free(arguments.list);
	return status;
}
