/*
 * Through the mount: varve against a null filesystem (nullfs.h), on the same
 * requests, one after the other in every round; writes beside one that keeps them.
 *
 * What is measured is what varve adds to FUSE, so the kernel's page cache must
 * not answer for either (passes.h). The store's own files stay in
 * the page cache of the disk's filesystem, as the null filesystem's stay in
 * memory: a cold disk would be measured otherwise, and alone.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nullfs.h"
#include "passes.h"
#include "server.h"

#define BLOCK_BYTES PASS_BLOCK_BYTES
#define TARGET 0.8              /* of the null filesystem */

/* A mount and the file under test in it. */
struct side {
	const char *name;
	struct server server;
	struct pass_file file;
};

struct mount_bench {
	struct bench *bench;
	uint64_t file_bytes;
	char store[PATH_MAX];
	struct side varve, null;
	struct side kept;               /* the null filesystem with a log */
	struct side past;               /* varve's file as it was; in varve's mount, so no server */
	uint32_t *order;                /* the blocks, in a random order */
};

static int access_measure(struct mount_bench *mount, const char *what, struct side *side,
			  bool write, bool random, uint32_t call_bytes, unsigned threads)
{
	struct access varve = { &side->file, write, random, call_bytes, threads };
	struct access null = { &mount->null.file, write, random, call_bytes, threads };
	struct access kept = { &mount->kept.file, write, random, call_bytes, threads };
	struct contender contenders[] = {
		{ .name = side->name, .sample = access_rate_sample, .context = &varve },
		{ .name = mount->null.name, .sample = access_rate_sample, .context = &null },
		{ .name = mount->kept.name, .sample = access_rate_sample, .context = &kept,
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
 * The servers
 */

static int side_init(struct side *side, struct mount_bench *mount, const char *name,
		     const char *folder, const char *file)
{
	int err = server_init(&side->server, mount->bench, folder);

	side->name = name;
	side->file = (struct pass_file){
		.bench = mount->bench,
		.size_bytes = mount->file_bytes,
		.order = mount->order,
	};
	snprintf(side->file.path, sizeof(side->file.path), "%s/%s", side->server.mountpoint, file);
	return err;
}

static int varve_serve(const char *mountpoint, void *context)
{
	const struct mount_bench *mount = context;
	const char *program = bench_varve(mount->bench);

	execl(program, program, "mount", mount->store, mountpoint, "-f", (char *)NULL);
	return -errno;
}

static int varve_start(struct mount_bench *mount)
{
	char *program = (char *)bench_varve(mount->bench);
	char *mkfs[] = { program, "mkfs", mount->store, NULL };
	int err;

	snprintf(mount->store, sizeof(mount->store), "%.4000s/store", bench_dir(mount->bench));
	err = command_run(mkfs);
	if (err)
		return bench_fail(mount->bench, err,
				  "%s mkfs %s; build varve, or name it with --varve", program,
				  mount->store);
	return server_start(&mount->varve.server, varve_serve, mount);
}

static int null_serve(const char *mountpoint, void *context)
{
	const struct mount_bench *mount = context;

	return nullfs_serve(mountpoint, mount->file_bytes, NULL);
}

static int kept_serve(const char *mountpoint, void *context)
{
	const struct mount_bench *mount = context;
	char log_dir[PATH_MAX + 8];

	snprintf(log_dir, sizeof(log_dir), "%s/log", bench_dir(mount->bench));
	if (mkdir(log_dir, 0755) < 0)
		return -errno;
	return nullfs_serve(mountpoint, mount->file_bytes, log_dir);
}

static int servers_make_alike(const struct mount_bench *mount)
{
	unsigned kib;
	int err = server_make_alike(&mount->varve.server, &mount->null.server, &kib);

	if (!err)
		err = server_make_alike(&mount->varve.server, &mount->kept.server, &kib);
	if (!err)
		bench_say(mount->bench, "all mounts: libfuse of one version, handshake of varve's front end, read-ahead %u KiB",
			  kib);
	return err;
}

/*
 * The files
 */

/* Remember the file of now as the past one, and overwrite it at head. */
static int past_make(struct mount_bench *mount)
{
	struct access access = { &mount->varve.file, true, true, BLOCK_BYTES, 1 };
	const char *mountpoint = mount->varve.server.mountpoint;
	char link[PATH_MAX + 16], lsn[32];
	uint64_t elapsed_ns;
	ssize_t length;
	int err;

	snprintf(link, sizeof(link), "%s/lsn/latest", mountpoint);
	length = readlink(link, lsn, sizeof(lsn) - 1);
	if (length < 0)
		return bench_fail(mount->bench, -errno, "%s", link);
	lsn[length] = '\0';
	mount->past.name = "varve, /lsn/<n>";
	mount->past.file = mount->varve.file;
	snprintf(mount->past.file.path, sizeof(mount->past.file.path), "%.4000s/lsn/%s/rel/%s",
		 mountpoint, lsn, NULLFS_FILE);
	err = access_time(&access, &elapsed_ns);
	return err ? bench_fail(mount->bench, err, "overwriting %s", mount->varve.file.path) : 0;
}

static int sides_init(struct mount_bench *mount)
{
	int err;

	mount->order = pass_order_new(mount->file_bytes);
	if (!mount->order)
		return bench_fail(mount->bench, -ENOMEM, "the order of blocks");
	err = side_init(&mount->varve, mount, "varve, /head", "varve", "head/rel/" NULLFS_FILE);
	if (!err)
		err = side_init(&mount->null, mount, "null filesystem", "null", NULLFS_FILE);
	if (!err)
		err = side_init(&mount->kept, mount, "null filesystem that keeps a log", "kept",
				NULLFS_FILE);
	return err;
}

static int mount_prepare(struct mount_bench *mount)
{
	int err = sides_init(mount);

	if (!err)
		err = varve_start(mount);
	if (!err)
		err = server_start(&mount->null.server, null_serve, mount);
	if (!err)
		err = server_start(&mount->kept.server, kept_serve, mount);
	if (!err)
		err = servers_make_alike(mount);
	if (!err)
		err = pass_file_fill(&mount->varve.file);
	if (!err)
		err = pass_file_fill(&mount->null.file);
	if (!err)
		err = pass_file_fill(&mount->kept.file);
	return err;
}

/* Sequential reads of the head come first, while the file is as it was written;
 * then every block of it is overwritten, in a random order. */
static int mount_measure(struct mount_bench *mount)
{
	struct side *head = &mount->varve, *past = &mount->past;
	const struct {
		const char *what;
		struct side *side;
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
			err = access_measure(mount, passes[i].what, passes[i].side, passes[i].write,
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
	int err, end_err[3];

	bench_say(bench, "a file of %llu MiB, once over it a sample; its pages dropped from the mount's page cache before each",
		  (unsigned long long)(mount.file_bytes >> 20));
	err = mount_prepare(&mount);
	if (!err)
		err = mount_measure(&mount);
	end_err[0] = server_end(&mount.varve.server);
	end_err[1] = server_end(&mount.null.server);
	end_err[2] = server_end(&mount.kept.server);
	free(mount.order);
	for (unsigned i = 0; i < 3 && !err; i++)
		err = end_err[i];
	return err;
}

const struct bench_subject mount_subject = {
	.name = "mount",
	.doc = "reads and writes through the mount, against a null filesystem",
	.run = mount_run,
};
