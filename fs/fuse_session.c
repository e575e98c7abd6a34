#include "serve.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "census.h"
#include "control.h"
#include "expire.h"
#include "front.h"
#include "fuse_ops.h"
#include "mount_table.h"
#include "node.h"
#include "ops_space.h"
#include "prune.h"
#include "state_files.h"
#include "unmount.h"
#include "view.h"
#include "wire.h"

/* Enough for two dozen callers in fsync at a time, which share one disk sync. */
#define THREAD_MAX 32

/* Sequential reads: 0.5 GB/s at the kernel's 128 KiB, 2.6 GB/s at 1 MiB. */
#define READ_AHEAD_KIB 1024

/* From this size on malloc maps what it gives and unmaps what is freed: glibc's own default. Where it isn't set,
 * glibc raises it to the largest piece that was ever freed, up to 32 MiB, and lets each of its arenas (eight a
 * processor) keep twice that. With a merge's buffers that came to 35 MB of 46 under load, and went on rising. */
#define MALLOC_MAP_BYTES (128 << 10)

/* After an unmount the loop ends at once, if no other mount is left. */
#define GONE_WAIT_MS 1000

struct serving {
	const struct serve_options *options;
	struct front front;
	struct control *control;
	struct fuse_session *session;
	struct prune *prune;
	pthread_t loop_thread, outside_thread;
	dev_t device;	    /* st_dev of the mount, 0: not known; the outside thread's */
	atomic_bool ended;  /* the loop returned */
	atomic_bool gone;   /* the mount point is not ours any more, though the loop went on */
};

/* The last line libfuse said, for the report; written before the loop starts,
 * when there is one thread. libfuse gives its log function no context. */
static char libfuse_line[512];

__attribute__((format(printf, 2, 0))) static void libfuse_log(enum fuse_log_level level,
							      const char *format, va_list arguments)
{
	char line[sizeof(libfuse_line)];

	vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\n")] = '\0';
	if (level <= FUSE_LOG_ERR)
		memcpy(libfuse_line, line, sizeof(line));
	if (level <= FUSE_LOG_WARNING)
		log_line("%s", line);
}

static void log_to_syslog(const char *line)
{
	syslog(LOG_NOTICE, "%s", line);
}

/*
 * The process
 */

static void signals_fill(sigset_t *set_out)
{
	sigemptyset(set_out);
	sigaddset(set_out, SIGTERM);
	sigaddset(set_out, SIGINT);
	sigaddset(set_out, SIGHUP);
}

static void on_wake(int number)
{
	(void)number;
}

static void process_prepare(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction wake = {.sa_handler = on_wake};
	struct rlimit files;
	sigset_t set;

	/* One thread takes the signals; every other inherits this. */
	signals_fill(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	/* Its only use is to end a wait, so no SA_RESTART. */
	sigaction(SIGUSR1, &wake, NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* The kernel must not make us wait for pages to be written that only we
	 * can write. Inherited by every thread; needs CAP_SYS_RESOURCE. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	umask(0);
	mallopt(M_MMAP_THRESHOLD, MALLOC_MAP_BYTES);
	/* Hold on to no directory. */
	if (chdir("/") != 0)
		log_line("the working directory can't be left: %s", strerror(errno));
}

/*
 * The start: once a request has been answered
 */

/* Raise the kernel's read-ahead, which the handshake can only lower. Root only;
 * without it sequential reads are slower, so failure is not worth a word. Once
 * the handshake is over, as its end lowers it again. */
static void read_ahead_raise(const char *mountpoint)
{
	struct mount_entry entry;
	char path[64];
	FILE *file;

	if (mount_table_find(mountpoint, &entry) != 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", entry.major,
		 entry.minor);
	file = fopen(path, "we");
	if (!file)
		return;
	fprintf(file, "%d\n", READ_AHEAD_KIB);
	fclose(file);
}

static void announce(struct serving *serving)
{
	const struct serve_options *options = serving->options;
	struct stat root;

	if (stat(options->mountpoint, &root) == 0)
		serving->device = root.st_dev;
	else if (errno == ENOTCONN || errno == ECONNABORTED)
		return; /* the loop failed, and says why */
	read_ahead_raise(options->mountpoint);
	if (!options->foreground)
		log_set_sink(log_to_syslog);
	options->mounted(options->context);
}

/*
 * The end by a signal
 */

static void loop_stop(struct serving *serving)
{
	fuse_session_exit(serving->session);
	/* The loop's thread sleeps on a semaphore that only a signal ends early;
	 * one that comes just before it sleeps is lost, hence again. */
	while (!atomic_load(&serving->ended)) {
		pthread_kill(serving->loop_thread, SIGUSR1);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

/* Is our mount at its mount point? It may have been unmounted, and another be there. */
static bool mount_is_there(const struct serving *serving)
{
	struct mount_entry entry;

	if (mount_table_find(serving->options->mountpoint, &entry) != 0)
		return false;
	return !serving->device || serving->device == makedev(entry.major, entry.minor);
}

/* The loop sees the connection's end when no mount is left. False: one is, a copy in
 * another mount namespace or one that was detached while in use. */
static bool loop_ends(const struct serving *serving)
{
	for (unsigned ms = 0; ms < GONE_WAIT_MS && !atomic_load(&serving->ended); ms += 10)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	return atomic_load(&serving->ended);
}

/* Bind mounts of ours would be left dead. */
static void others_unmount(const struct serving *serving)
{
	const char *mountpoint = serving->options->mountpoint;
	struct mount_entry other;

	while (serving->device && mount_table_find_other(major(serving->device), minor(serving->device),
							 mountpoint, &other) == 0) {
		if (unmount(other.mountpoint) == 0)
			continue;
		log_line("%s is in use; those who use it get errors from now on", other.mountpoint);
		if (unmount_detach(other.mountpoint) != 0)
			return;
	}
}

static void end_from_inside(struct serving *serving)
{
	const char *mountpoint = serving->options->mountpoint;
	int err;

	others_unmount(serving);
	err = mount_is_there(serving) ? unmount(mountpoint) : 0;
	if (err && err != -EINVAL) {
		/* fuse_session_unmount then closes the device and detaches what is left. */
		log_line("%s is in use; those who use it get errors from now on", mountpoint);
	} else if (loop_ends(serving)) {
		return;
	} else {
		atomic_store(&serving->gone, true);
		log_line("%s is unmounted, but still in use, or mounted in another mount "
			 "namespace; those who use it get errors from now on",
			 mountpoint);
	}
	expire_halt(serving->front.expire);
	prune_halt(serving->prune);
	seek_flush_halt();
	loop_stop(serving);
}

/* The thread that may ask the mount something, as others answer. */
static void *outside_run(void *argument)
{
	struct serving *serving = argument;
	sigset_t set;
	int number;

	announce(serving);
	signals_fill(&set);
	sigwait(&set, &number);
	if (atomic_load(&serving->ended))
		return NULL;
	log_line("%s: unmounting %s", strsignal(number), serving->options->mountpoint);
	end_from_inside(serving);
	return NULL;
}

static void outside_thread_stop(struct serving *serving)
{
	atomic_store(&serving->ended, true);
	pthread_kill(serving->outside_thread, SIGTERM);
	pthread_join(serving->outside_thread, NULL);
}

/*
 * The session
 */

static int add_options(const struct serve_options *options, char **list_out)
{
	char *fsname = NULL;
	int err;

	err = fuse_opt_add_opt(list_out, "default_permissions,subtype=varve");
	if (!err && asprintf(&fsname, "fsname=%s", options->store_path) < 0)
		return -1;
	/* Before the caller's, so that an fsname of theirs wins. A path may hold commas. */
	if (!err)
		err = fuse_opt_add_opt_escaped(list_out, fsname);
	if (!err && options->store.read_only)
		err = fuse_opt_add_opt(list_out, "ro");
	if (!err && options->allow_other)
		err = fuse_opt_add_opt(list_out, "allow_other");
	if (!err && options->fuse_options[0])
		err = fuse_opt_add_opt(list_out, options->fuse_options);
	free(fsname);
	return err;
}

static int session_new(struct serving *serving, struct report *report)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *list = NULL;
	int err;

	err = add_options(serving->options, &list);
	if (!err)
		err = fuse_opt_add_arg(&args, "varve");
	if (!err)
		err = fuse_opt_add_arg(&args, "-o");
	if (!err)
		err = fuse_opt_add_arg(&args, list);
	if (!err)
		serving->session =
			fuse_session_new(&args, &fuse_ops, sizeof(fuse_ops), &serving->front);
	free(list);
	fuse_opt_free_args(&args);
	serving->front.session = serving->session;
	if (serving->session)
		return 0;
	return report_set(report, -EINVAL, "libfuse refused the mount options: %s",
			  err ? "no memory left" : libfuse_line);
}

static int session_mount(struct serving *serving, struct report *report)
{
	const char *mountpoint = serving->options->mountpoint;

	int err;

	libfuse_line[0] = '\0';
	if (fuse_session_mount(serving->session, mountpoint) != 0)
		return report_set(report, -EIO, "mounting at %s failed: %s", mountpoint,
				  libfuse_line[0] ? libfuse_line : "fusermount3 said why above");
	err = wire_install(serving->session);
	if (err) {
		fuse_session_unmount(serving->session);
		return report_set(report, -EIO, "libfuse refused its input and output: %s",
				  libfuse_line);
	}
	return 0;
}

static int session_loop(struct serving *serving, struct report *report)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int err;

	if (!config)
		return report_set(report, -ENOMEM, "no memory left; free some and mount again");
	/* Each thread with a queue of its own, none of them ended for idleness. */
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, THREAD_MAX);
	fuse_loop_cfg_set_idle_threads(config, THREAD_MAX);
	err = fuse_session_loop_mt(serving->session, config);
	fuse_loop_cfg_destroy(config);
	if (err < 0)
		return report_set(report, err, "the connection to the kernel failed: %s",
				  strerror(-err));
	return 0;
}

/* -ENOENT: the kernel has forgotten it by itself. */
static void name_is_gone(void *session, const char *name)
{
	(void)fuse_lowlevel_notify_inval_entry(session, NODE_LSN, name, strlen(name));
}

static int session_run(struct serving *serving, struct report *report)
{
	int err;

	err = session_mount(serving, report);
	if (err)
		return err;
	serving->loop_thread = pthread_self();
	err = expire_start(serving->front.expire, name_is_gone, serving->session);
	if (!err)
		err = prune_start(serving->session, view_nodes(serving->front.view),
				  serving->options->mountpoint, &serving->prune);
	if (!err)
		err = -pthread_create(&serving->outside_thread, NULL, outside_run, serving);
	if (err) {
		expire_halt(serving->front.expire);
		prune_stop(serving->prune);
		serving->prune = NULL;
		fuse_session_unmount(serving->session);
		return report_set(report, err, "no thread could be made: %s", strerror(-err));
	}
	err = session_loop(serving, report);
	atomic_store(&serving->ended, true);
	expire_halt(serving->front.expire);
	prune_stop(serving->prune);
	serving->prune = NULL;
	/* It would detach whatever is at the mount point now. */
	if (!atomic_load(&serving->gone))
		fuse_session_unmount(serving->session);
	outside_thread_stop(serving);
	return err;
}

/*
 * Opening in order, closing in the opposite
 */

static int store_open_for(const struct serve_options *options, struct report *report,
			  struct store **store_out)
{
	struct store_options store_options = options->store;
	char *holder;
	int err;

	int length = lsn_is_head(options->view.at)
			     ? asprintf(&holder, "mounted at %s", options->mountpoint)
			     : asprintf(&holder, "LSN %" PRIu64 " mounted at %s",
					options->view.at.value, options->mountpoint);

	if (length < 0)
		return report_set(report, -ENOMEM, "no memory left; free some and mount again");
	store_options.holder = holder;
	err = store_open(options->store_path, &store_options, report, store_out);
	free(holder);
	return err;
}

static int front_open(struct front *front, const struct serve_options *options,
		      struct report *report)
{
	struct lsn oldest;
	int err;

	front->mountpoint = options->mountpoint;
	front->mounted_at = time(NULL);
	store_window(front->store, &oldest, &front->newest_at_start);
	err = view_open(front->store, &options->view, &front->view);
	if (err == -ENOENT)
		return report_set(report, err,
				  "%s has no LSN %" PRIu64 ": what can be read are LSNs %" PRIu64
				  " to %" PRIu64,
				  options->store_path, options->view.at.value, oldest.value,
				  front->newest_at_start.value);
	if (!err)
		err = census_open(front->store, &front->census);
	if (!err)
		err = state_files_open(&front->state_files);
	if (!err)
		err = expire_open(front->store, view_nodes(front->view), &front->expire);
	if (err)
		report_set(report, err, "no memory left; free some and mount again");
	return err;
}

static void front_close(struct front *front)
{
	expire_close(front->expire);
	state_files_close(front->state_files);
	census_close(front->census);
	view_close(front->view);
}

static int serve_store(struct serving *serving, struct report *report)
{
	int err;

	err = front_open(&serving->front, serving->options, report);
	if (!err)
		err = control_open(&serving->front, report, &serving->control);
	if (!err)
		err = session_new(serving, report);
	if (!err)
		err = session_run(serving, report);
	if (serving->session)
		fuse_session_destroy(serving->session);
	if (serving->front.census)
		census_stop(serving->front.census);
	control_stop(serving->control);
	front_close(&serving->front);
	return err;
}

int serve(const struct serve_options *options, struct report *report)
{
	struct serving serving = {.options = options};
	int err, close_err;

	process_prepare();
	openlog("varve", LOG_PID, LOG_DAEMON);
	fuse_set_log_func(libfuse_log);
	err = store_open_for(options, report, &serving.front.store);
	if (err)
		return err;
	err = serve_store(&serving, report);
	close_err = store_close(serving.front.store);
	if (close_err && !err)
		err = report_set(
			report, close_err,
			"the last sync of %s failed: %s; what was not synced before may be "
			"lost, look at the disk",
			options->store_path, strerror(-close_err));
	control_close(serving.control, close_err);
	return err;
}
