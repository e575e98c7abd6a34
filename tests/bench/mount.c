/*
 * Through the mount: varve against a null filesystem (nullfs.h), on the same
 * requests, one after the other in every round; writes beside one that keeps them.
 *
 * What is measured is what varve adds to FUSE, so the kernel's page cache must
 * not answer for either: before every sample the file's pages are dropped, and
 * the sample is refused if any is still there. The store's own files stay in
 * the page cache of the disk's filesystem, as the null filesystem's stay in
 * memory: a cold disk would be measured otherwise, and alone.
 *
 * Every block of a file begins with its number and its generation, and every
 * read is checked for them, so a figure can't come from wrong data.
 */
#include "bench.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "machine.h"
#include "nullfs.h"

#define BLOCK_BYTES 8192u
#define FILL_CALL_BYTES (1u << 20)
#define THREADS_MAX 4u
#define NOISE_BYTES (64u << 10)         /* a write begins anywhere in so much more than it needs */
#define MOUNT_TIMEOUT_MS 10000
#define POLL_MS 10
#define WARM_FILES 3u           /* memory made ready for a sample, in files */
#define TARGET 0.8              /* of the null filesystem */

/* A mounted filesystem with the file under test in it. */
struct server {
	struct bench *bench;
	const char *name;
	char mountpoint[PATH_MAX];
	char file[PATH_MAX + 32];
	pid_t pid;                      /* 0: not started */
	uint32_t generation;            /* of every block of the file */
};

struct mount_bench {
	struct bench *bench;
	uint64_t file_bytes;
	char store[PATH_MAX];
	struct server varve, null;
	struct server kept;             /* the null filesystem with a log */
	struct server past;             /* varve's file as it was; shares varve's mount */
	uint32_t *order;                /* the blocks, in a random order */
	uint32_t block_count;
};

/* One way of going over the file. */
struct access {
	struct mount_bench *mount;
	struct server *server;
	bool write, random;
	uint32_t call_bytes;
	unsigned threads;
};

/*
 * Blocks and their stamps
 */

static void block_stamp(uint8_t *bytes, uint32_t block, uint32_t generation)
{
	memcpy(bytes, &block, sizeof(block));
	memcpy(bytes + sizeof(block), &generation, sizeof(generation));
}

static bool block_holds(const uint8_t *bytes, uint32_t block, uint32_t generation)
{
	uint8_t expected[8];

	block_stamp(expected, block, generation);
	return memcmp(bytes, expected, sizeof(expected)) == 0;
}

/*
 * The page cache of the mount
 */

static int resident_pages(int fd, uint64_t size_bytes, uint64_t *count_out)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	size_t page_count = (size_t)(size_bytes / page_bytes);
	unsigned char *states = malloc(page_count);
	void *mapping = mmap(NULL, (size_t)size_bytes, PROT_READ, MAP_SHARED, fd, 0);
	int err = 0;

	*count_out = 0;
	if (!states || mapping == MAP_FAILED)
		err = -ENOMEM;
	else if (mincore(mapping, (size_t)size_bytes, states) < 0)
		err = -errno;
	for (size_t i = 0; !err && i < page_count; i++)
		*count_out += states[i] & 1;
	if (mapping != MAP_FAILED)
		munmap(mapping, (size_t)size_bytes);
	free(states);
	return err;
}

static int cache_drop(const struct access *access, int fd)
{
	uint64_t pages;
	int err = -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

	if (!err)
		err = resident_pages(fd, access->mount->file_bytes, &pages);
	if (!err && pages > 0)
		return bench_fail(access->mount->bench, -EBUSY,
				  "%s: the kernel keeps %llu pages of it and would answer by itself",
				  access->server->file, (unsigned long long)pages);
	return err;
}

/*
 * One pass over the file
 */

struct pass {
	const struct access *access;
	int fd;
	uint32_t generation;
	uint32_t first, limit;          /* calls of this thread, in [first, limit) */
	struct dice dice;
	int err;
};

static int call_read(struct pass *pass, uint8_t *buffer, uint64_t offset)
{
	uint32_t size = pass->access->call_bytes;
	ssize_t count = pread(pass->fd, buffer, size, (off_t)offset);

	if (count < 0)
		return -errno;
	if (count != (ssize_t)size)
		return -EIO;
	for (uint32_t at = 0; at < size; at += BLOCK_BYTES) {
		if (!block_holds(buffer + at, (uint32_t)((offset + at) / BLOCK_BYTES), pass->generation))
			return -EBADMSG;
	}
	return 0;
}

/* @noise: of the call's size and NOISE_BYTES. What is written begins at a place of
 * its own in it, so that no page is written as it was. */
static int call_write(struct pass *pass, uint8_t *noise, uint64_t offset)
{
	uint32_t size = pass->access->call_bytes;
	uint8_t *buffer = noise + dice_below(&pass->dice, NOISE_BYTES / 64) * 64;
	ssize_t count;

	for (uint32_t at = 0; at < size; at += BLOCK_BYTES)
		block_stamp(buffer + at, (uint32_t)((offset + at) / BLOCK_BYTES), pass->generation);
	count = pwrite(pass->fd, buffer, size, (off_t)offset);
	return count == (ssize_t)size ? 0 : count < 0 ? -errno : -EIO;
}

static void *pass_run(void *context)
{
	struct pass *pass = context;
	const struct access *access = pass->access;
	uint64_t *buffer = aligned_alloc(4096, access->call_bytes + NOISE_BYTES);

	if (!buffer) {
		pass->err = -ENOMEM;
		return NULL;
	}
	/* Also for a read: the pages must be there before the clock matters. */
	for (uint32_t i = 0; i < (access->call_bytes + NOISE_BYTES) / sizeof(*buffer); i++)
		buffer[i] = dice_next(&pass->dice);
	for (uint32_t i = pass->first; i < pass->limit && !pass->err; i++) {
		uint64_t call = access->random ? access->mount->order[i] : i;
		uint64_t offset = call * access->call_bytes;

		pass->err = access->write ? call_write(pass, (uint8_t *)buffer, offset)
					  : call_read(pass, (uint8_t *)buffer, offset);
	}
	free(buffer);
	return NULL;
}

/* The first thread is the caller's own, so that one thread means one. */
static int passes_run(const struct access *access, int fd, uint32_t generation)
{
	uint32_t calls = (uint32_t)(access->mount->file_bytes / access->call_bytes);
	struct pass passes[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	unsigned started = 1;
	int err;

	assert(access->threads >= 1 && access->threads <= THREADS_MAX);
	for (unsigned i = 0; i < access->threads; i++)
		passes[i] = (struct pass){
			.access = access,
			.fd = fd,
			.generation = generation,
			.first = (uint32_t)((uint64_t)calls * i / access->threads),
			.limit = (uint32_t)((uint64_t)calls * (i + 1) / access->threads),
			.dice = { (uint64_t)generation << 8 | i },
		};
	err = 0;
	while (!err && started < access->threads) {
		err = -pthread_create(&threads[started], NULL, pass_run, &passes[started]);
		started += !err;
	}
	if (!err)
		pass_run(&passes[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < started && !err; i++)
		err = passes[i].err;
	return err;
}

static int access_time(const struct access *access, int fd, uint32_t generation, double *figure_out)
{
	uint64_t start, elapsed;
	int err = cache_drop(access, fd);

	if (err)
		return err;
	/* For the kernel's pages of the file, and of whatever it is kept in. */
	machine_memory_warm(WARM_FILES * access->mount->file_bytes);
	start = clock_ns();
	err = passes_run(access, fd, generation);
	elapsed = clock_ns() - start;
	if (err == -EBADMSG)
		return bench_fail(access->mount->bench, err, "%s: holds other bytes than were written",
				  access->server->file);
	if (access->random)
		*figure_out = (double)(access->mount->file_bytes / access->call_bytes) * 1e6 / (double)elapsed;
	else
		*figure_out = (double)access->mount->file_bytes * 1e3 / (double)elapsed;
	return err;
}

/* In thousand calls a second if random, else in MB/s. */
static int access_sample(void *context, double *figure_out)
{
	const struct access *access = context;
	struct server *server = access->server;
	int fd = open(server->file, (access->write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = -posix_fadvise(fd, 0, 0, access->random ? POSIX_FADV_RANDOM : POSIX_FADV_NORMAL);
	if (!err)
		err = access_time(access, fd, server->generation + access->write, figure_out);
	if (!err && access->write) {
		server->generation++;
		/* Not timed, as there is no disk under the null filesystem; done,
		 * so that no sample pays for the write-out of the one before. */
		err = fsync(fd) < 0 ? -errno : 0;
	}
	close(fd);
	return err;
}

static int access_measure(struct mount_bench *mount, const char *what, struct server *server,
			  bool write, bool random, uint32_t call_bytes, unsigned threads)
{
	struct access varve = { mount, server, write, random, call_bytes, threads };
	struct access null = { mount, &mount->null, write, random, call_bytes, threads };
	struct access kept = { mount, &mount->kept, write, random, call_bytes, threads };
	struct contender contenders[] = {
		{ .name = server->name, .sample = access_sample, .context = &varve },
		{ .name = mount->null.name, .sample = access_sample, .context = &null },
		{ .name = mount->kept.name, .sample = access_sample, .context = &kept,
		  .aside = true },
	};
	struct claim claim = {
		.what = what,
		.unit = random ? "thousand calls/s" : "MB/s",
		.better = HIGHER_IS_BETTER,
		.contenders = contenders,
		.contender_count = write ? 3 : 2,
		.ratio_limit = TARGET,
	};

	return claim_measure(mount->bench, &claim);
}

/*
 * Starting and ending the two servers
 */

/* Run @argv and wait for it. 0; -EIO: it failed, and said why on stderr; -errno. */
static int command_run(char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Our stdout is the report's. */
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static pid_t server_fork(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(STDERR_FILENO, STDOUT_FILENO);
	}
	return pid;
}

/* Wait until something is mounted on the mount point, or its server has ended. */
static int server_await(struct server *server)
{
	struct stat inside, outside;

	for (int waited_ms = 0; waited_ms < MOUNT_TIMEOUT_MS; waited_ms += POLL_MS) {
		if (stat(server->mountpoint, &inside) == 0 && stat(bench_dir(server->bench), &outside) == 0
		    && inside.st_dev != outside.st_dev)
			return 0;
		if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
			server->pid = 0;
			return bench_fail(server->bench, -EIO, "the server of %s ended before it had mounted",
					  server->mountpoint);
		}
		nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
	}
	return bench_fail(server->bench, -ETIMEDOUT, "nothing was mounted on %s", server->mountpoint);
}

static int server_init(struct server *server, struct bench *bench, const char *name,
		       const char *folder)
{
	server->bench = bench;
	server->name = name;
	if (snprintf(server->mountpoint, sizeof(server->mountpoint), "%s/%s", bench_dir(bench), folder)
	    >= (int)sizeof(server->mountpoint))
		return bench_fail(bench, -ENAMETOOLONG, "%s", bench_dir(bench));
	return mkdir(server->mountpoint, 0755) < 0
		       ? bench_fail(bench, -errno, "%s", server->mountpoint) : 0;
}

static int varve_start(struct mount_bench *mount)
{
	char *program = (char *)bench_varve(mount->bench);
	char *mkfs[] = { program, "mkfs", mount->store, NULL };
	char *serve[] = { program, "mount", mount->store, mount->varve.mountpoint, "-f", NULL };
	int err;

	snprintf(mount->store, sizeof(mount->store), "%.4000s/store", bench_dir(mount->bench));
	err = command_run(mkfs);
	if (err)
		return bench_fail(mount->bench, err,
				  "%s mkfs %s; build varve, or name it with --varve", program,
				  mount->store);
	mount->varve.pid = server_fork();
	if (mount->varve.pid < 0)
		return bench_fail(mount->bench, -errno, "fork");
	if (mount->varve.pid == 0) {
		execv(program, serve);
		_exit(127);
	}
	snprintf(mount->varve.file, sizeof(mount->varve.file), "%s/head/rel/%s",
		 mount->varve.mountpoint, NULLFS_FILE);
	return server_await(&mount->varve);
}

/* @log_dir: as of nullfs_serve. */
static int null_start(struct mount_bench *mount, struct server *server, const char *log_dir)
{
	if (log_dir && mkdir(log_dir, 0755) < 0)
		return bench_fail(mount->bench, -errno, "%s", log_dir);
	server->pid = server_fork();
	if (server->pid < 0)
		return bench_fail(mount->bench, -errno, "fork");
	if (server->pid == 0)
		_exit(nullfs_serve(server->mountpoint, mount->file_bytes, log_dir) ? 1 : 0);
	snprintf(server->file, sizeof(server->file), "%s/%s", server->mountpoint, NULLFS_FILE);
	return server_await(server);
}

static int varve_end(struct mount_bench *mount)
{
	char *umount[] = { (char *)bench_varve(mount->bench), "umount", mount->varve.mountpoint, NULL };
	int err;

	if (!mount->varve.pid)
		return 0;
	err = command_run(umount);
	if (err)
		return bench_fail(mount->bench, err, "varve umount %s", mount->varve.mountpoint);
	waitpid(mount->varve.pid, NULL, 0);
	mount->varve.pid = 0;
	return 0;
}

static void null_end(struct server *server)
{
	if (!server->pid)
		return;
	kill(server->pid, SIGTERM);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

/*
 * Making the two mounts alike
 */

static int readahead_path(const struct server *server, char *path, size_t size_bytes)
{
	struct stat stat_buffer;

	if (stat(server->mountpoint, &stat_buffer) < 0)
		return -errno;
	snprintf(path, size_bytes, "/sys/class/bdi/%u:%u/read_ahead_kb", major(stat_buffer.st_dev),
		 minor(stat_buffer.st_dev));
	return 0;
}

static int readahead_get(const struct server *server, unsigned *kib_out)
{
	char path[64];
	FILE *file;
	int err = readahead_path(server, path, sizeof(path));

	if (err)
		return err;
	file = fopen(path, "re");
	if (!file)
		return -errno;
	err = fscanf(file, "%u", kib_out) == 1 ? 0 : -EIO;
	fclose(file);
	return err;
}

static int readahead_set(const struct server *server, unsigned kib)
{
	char path[64];
	FILE *file;
	int err = readahead_path(server, path, sizeof(path));

	if (err)
		return err;
	file = fopen(path, "we");
	if (!file)
		return -errno;
	fprintf(file, "%u\n", kib);
	return fclose(file) == EOF ? -errno : 0;
}

/* varve chooses its read-ahead at mount; the null filesystems get the same. */
static int readahead_equal(struct mount_bench *mount, const struct server *null)
{
	unsigned varve_kib, null_kib;
	int err = readahead_get(&mount->varve, &varve_kib);

	if (!err)
		err = readahead_get(null, &null_kib);
	if (!err && varve_kib != null_kib)
		err = readahead_set(null, varve_kib);
	if (err)
		return bench_fail(mount->bench, err,
				  "giving all mounts the same read-ahead (run it as root)");
	if (null == &mount->null)
		bench_say(mount->bench, "all mounts: libfuse of one version, handshake of varve's front end, read-ahead %u KiB",
			  varve_kib);
	return 0;
}

/* The options of the mount on @path, as mountinfo shows them. */
static int mount_options(const char *path, char *text, size_t size_bytes)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[PATH_MAX + 1024], mountpoint[PATH_MAX], options[256], super_options[256];
	int err = -ENOENT;

	if (!file)
		return -errno;
	while (err && fgets(line, sizeof(line), file)) {
		char *tail = strstr(line, " - ");

		if (tail && sscanf(line, "%*d %*d %*s %*s %4095s %255s", mountpoint, options) == 2
		    && strcmp(mountpoint, path) == 0
		    && sscanf(tail, " - %*s %*s %255s", super_options) == 1) {
			snprintf(text, size_bytes, "%s;%s", options, super_options);
			err = 0;
		}
	}
	fclose(file);
	return err;
}

static int options_equal(struct mount_bench *mount)
{
	char varve[520], null[520];
	int err = mount_options(mount->varve.mountpoint, varve, sizeof(varve));

	if (!err)
		err = mount_options(mount->null.mountpoint, null, sizeof(null));
	if (err)
		return bench_fail(mount->bench, err, "/proc/self/mountinfo");
	if (strcmp(varve, null) != 0)
		bench_warn(mount->bench, "the mounts differ: varve %s, null %s", varve, null);
	return 0;
}

/*
 * The files
 */

static int file_fill(struct mount_bench *mount, struct server *server)
{
	struct access access = { mount, server, true, false, FILL_CALL_BYTES, 1 };
	int fd = open(server->file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	int err;

	if (fd < 0)
		return bench_fail(mount->bench, -errno, "%s", server->file);
	server->generation++;
	err = passes_run(&access, fd, server->generation);
	if (!err && fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err ? bench_fail(mount->bench, err, "filling %s", server->file) : 0;
}

/* Remember the file of now as the past one, and overwrite it at head. */
static int past_make(struct mount_bench *mount)
{
	struct access access = { mount, &mount->varve, true, true, BLOCK_BYTES, 1 };
	char link[PATH_MAX + 16], lsn[32];
	ssize_t length;
	double figure;
	int err;

	snprintf(link, sizeof(link), "%s/lsn/latest", mount->varve.mountpoint);
	length = readlink(link, lsn, sizeof(lsn) - 1);
	if (length < 0)
		return bench_fail(mount->bench, -errno, "%s", link);
	lsn[length] = '\0';
	mount->past = mount->varve;
	mount->past.name = "varve, /lsn/<n>";
	snprintf(mount->past.file, sizeof(mount->past.file), "%.4000s/lsn/%s/rel/%s",
		 mount->varve.mountpoint, lsn, NULLFS_FILE);
	err = access_sample(&access, &figure);
	return err ? bench_fail(mount->bench, err, "overwriting %s", mount->varve.file) : 0;
}

static int order_make(struct mount_bench *mount)
{
	struct dice dice = { 1 };

	mount->block_count = (uint32_t)(mount->file_bytes / BLOCK_BYTES);
	mount->order = calloc(mount->block_count, sizeof(*mount->order));
	if (!mount->order)
		return bench_fail(mount->bench, -ENOMEM, "the order of blocks");
	for (uint32_t i = 0; i < mount->block_count; i++)
		mount->order[i] = i;
	dice_shuffle(&dice, mount->order, mount->block_count);
	return 0;
}

static int mount_prepare(struct mount_bench *mount)
{
	char log_dir[PATH_MAX + 8];
	int err = order_make(mount);

	snprintf(log_dir, sizeof(log_dir), "%s/log", bench_dir(mount->bench));
	if (!err)
		err = server_init(&mount->varve, mount->bench, "varve, /head", "varve");
	if (!err)
		err = server_init(&mount->null, mount->bench, "null filesystem", "null");
	if (!err)
		err = server_init(&mount->kept, mount->bench, "null filesystem that keeps a log",
				  "kept");
	if (!err)
		err = varve_start(mount);
	if (!err)
		err = null_start(mount, &mount->null, NULL);
	if (!err)
		err = null_start(mount, &mount->kept, log_dir);
	if (!err)
		err = readahead_equal(mount, &mount->null);
	if (!err)
		err = readahead_equal(mount, &mount->kept);
	if (!err)
		err = options_equal(mount);
	if (!err)
		err = file_fill(mount, &mount->varve);
	if (!err)
		err = file_fill(mount, &mount->null);
	if (!err)
		err = file_fill(mount, &mount->kept);
	return err;
}

/* Sequential reads of the head come first, while the file is as it was written;
 * then every block of it is overwritten, in a random order. */
static int mount_measure(struct mount_bench *mount)
{
	struct server *head = &mount->varve, *past = &mount->past;
	const struct {
		const char *what;
		struct server *server;
		bool write, random;
		uint32_t call_bytes;
		unsigned threads;
	} passes[] = {
		{ "sequential read, 128 KiB calls, head", head, false, false, 128u << 10, 1 },
		{ "sequential read, 1 MiB calls, head", head, false, false, 1u << 20, 1 },
		{ NULL, NULL, false, false, 0, 0 },     /* here the past is made */
		{ "sequential read, 128 KiB calls, past", past, false, false, 128u << 10, 1 },
		{ "sequential read, 1 MiB calls, past", past, false, false, 1u << 20, 1 },
		{ "random 8 KiB read, 1 thread, head", head, false, true, BLOCK_BYTES, 1 },
		{ "random 8 KiB read, 4 threads, head", head, false, true, BLOCK_BYTES, 4 },
		{ "random 8 KiB read, 1 thread, past", past, false, true, BLOCK_BYTES, 1 },
		{ "random 8 KiB read, 4 threads, past", past, false, true, BLOCK_BYTES, 4 },
		{ "sequential read, 1 MiB calls, head overwritten at random", head, false, false, 1u << 20, 1 },
		{ "sequential write, 128 KiB calls", head, true, false, 128u << 10, 1 },
		{ "sequential write, 1 MiB calls", head, true, false, 1u << 20, 1 },
		{ "random 8 KiB write, 1 thread", head, true, true, BLOCK_BYTES, 1 },
		{ "random 8 KiB write, 4 threads", head, true, true, BLOCK_BYTES, 4 },
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && !err; i++) {
		if (passes[i].what)
			err = access_measure(mount, passes[i].what, passes[i].server, passes[i].write,
					     passes[i].random, passes[i].call_bytes, passes[i].threads);
		else
			err = past_make(mount);
	}
	return err;
}

static int mount_run(struct bench *bench)
{
	struct mount_bench mount = {
		.bench = bench,
		.file_bytes = bench_size(bench, 256u << 20, 32u << 20),
	};
	int err, end_err;

	bench_say(bench, "a file of %llu MiB, once over it a sample; its pages dropped from the mount's page cache before each",
		  (unsigned long long)(mount.file_bytes >> 20));
	err = mount_prepare(&mount);
	if (!err)
		err = mount_measure(&mount);
	end_err = varve_end(&mount);
	null_end(&mount.null);
	null_end(&mount.kept);
	free(mount.order);
	return err ? err : end_err;
}

const struct bench_subject mount_subject = {
	.name = "mount",
	.doc = "reads and writes through the mount, against a null filesystem",
	.run = mount_run,
};
