#include "nullfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuse_ops.h"
#include "wire.h"

#define FILE_INO 2u
#define TIMEOUT_S 1e9           /* endless, as varve's for what nobody else changes */
#define THREAD_MAX 32           /* as varve's */
#define LOG_BYTES (64u << 20)   /* of one file of the log, as varve's layers */

/* Its threads take no lock: the kernel lets one writer into a file. */
struct nullfs {
	uint8_t *bytes;
	uint64_t size_bytes;
	struct timespec mtime;
	const char *log_dir;            /* NULL: none */
	unsigned log_number;
	int log_fd, log_next_fd;        /* the file at the end, and the one to follow it */
	uint64_t log_tail;              /* in log_fd */
};

static struct nullfs *nullfs_of(fuse_req_t request)
{
	return fuse_req_userdata(request);
}

static int attr_get(const struct nullfs *fs, fuse_ino_t ino, struct stat *attr_out)
{
	memset(attr_out, 0, sizeof(*attr_out));
	attr_out->st_ino = ino;
	attr_out->st_nlink = 1;
	attr_out->st_uid = getuid();
	attr_out->st_gid = getgid();
	attr_out->st_mtim = attr_out->st_ctim = attr_out->st_atim = fs->mtime;
	if (ino == FUSE_ROOT_ID) {
		attr_out->st_mode = S_IFDIR | 0755;
		return 0;
	}
	if (ino == FILE_INO) {
		attr_out->st_mode = S_IFREG | 0644;
		attr_out->st_size = (off_t)fs->size_bytes;
		attr_out->st_blocks = (blkcnt_t)(fs->size_bytes / 512);
		return 0;
	}
	return ENOENT;
}

static void nullfs_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {
		.ino = FILE_INO, .attr_timeout = TIMEOUT_S, .entry_timeout = TIMEOUT_S,
	};

	if (parent != FUSE_ROOT_ID || strcmp(name, NULLFS_FILE) != 0) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	attr_get(nullfs_of(request), FILE_INO, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void nullfs_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct stat attr;
	int err = attr_get(nullfs_of(request), ino, &attr);

	(void)file;
	if (err)
		fuse_reply_err(request, err);
	else
		fuse_reply_attr(request, &attr, TIMEOUT_S);
}

static void nullfs_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int to_set,
			   struct fuse_file_info *file)
{
	/* The size is fixed; the rest is nobody's concern here. */
	(void)attr;
	(void)to_set;
	nullfs_getattr(request, ino, file);
}

static void nullfs_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *file)
{
	if (ino != FILE_INO) {
		fuse_reply_err(request, EISDIR);
		return;
	}
	file->keep_cache = 1;
	fuse_reply_open(request, file);
}

/* How much of @size_bytes at @offset lies in the file. */
static size_t clip(const struct nullfs *fs, off_t offset, size_t size_bytes)
{
	uint64_t left = (uint64_t)offset < fs->size_bytes ? fs->size_bytes - (uint64_t)offset : 0;

	return size_bytes < left ? size_bytes : (size_t)left;
}

static void nullfs_read(fuse_req_t request, fuse_ino_t ino, size_t size_bytes, off_t offset,
			struct fuse_file_info *file)
{
	const struct nullfs *fs = nullfs_of(request);

	(void)ino;
	(void)file;
	fuse_reply_buf(request, (const char *)fs->bytes + offset, clip(fs, offset, size_bytes));
}

/* A reserved file of the log. Its descriptor or -errno. */
static int log_file(struct nullfs *fs)
{
	char path[PATH_MAX];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%u.log", fs->log_dir, fs->log_number++);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = posix_fallocate(fd, 0, LOG_BYTES);
	if (!err && fsync(fd) < 0)
		err = errno;
	if (err)
		close(fd);
	return err ? -err : fd;
}

static void *log_end(void *context)
{
	int fd = *(int *)context;

	fdatasync(fd);
	close(fd);
	free(context);
	return NULL;
}

/* A full file is synced aside, as one of varve's layers is when it is sealed. */
static int log_turn(struct nullfs *fs)
{
	int *full = malloc(sizeof(*full));
	pthread_t thread;

	if (!full)
		return -ENOMEM;
	*full = fs->log_fd;
	fs->log_fd = fs->log_next_fd;
	fs->log_tail = 0;
	if (pthread_create(&thread, NULL, log_end, full))
		log_end(full);
	else
		pthread_detach(thread);
	fs->log_next_fd = log_file(fs);
	return fs->log_fd < 0 ? fs->log_fd : 0;
}

static int log_append(struct nullfs *fs, const char *bytes, size_t size_bytes)
{
	ssize_t count;
	int err = fs->log_tail + size_bytes > LOG_BYTES ? log_turn(fs) : 0;

	if (err)
		return -err;
	count = pwrite(fs->log_fd, bytes, size_bytes, (off_t)fs->log_tail);
	if (count != (ssize_t)size_bytes)
		return count < 0 ? errno : EIO;
	fs->log_tail += size_bytes;
	return 0;
}

static void nullfs_write(fuse_req_t request, fuse_ino_t ino, const char *bytes, size_t size_bytes,
			 off_t offset, struct fuse_file_info *file)
{
	struct nullfs *fs = nullfs_of(request);
	int err = 0;

	(void)ino;
	(void)file;
	if (clip(fs, offset, size_bytes) < size_bytes) {
		fuse_reply_err(request, ENOSPC);
		return;
	}
	if (fs->log_dir)
		err = log_append(fs, bytes, size_bytes);
	else
		memcpy(fs->bytes + offset, bytes, size_bytes);
	if (err)
		fuse_reply_err(request, err);
	else
		fuse_reply_write(request, size_bytes);
}

static void nullfs_fsync(fuse_req_t request, fuse_ino_t ino, int data_only,
			 struct fuse_file_info *file)
{
	const struct nullfs *fs = nullfs_of(request);

	(void)ino;
	(void)data_only;
	(void)file;
	fuse_reply_err(request, fs->log_dir && fdatasync(fs->log_fd) < 0 ? errno : 0);
}

static const struct fuse_lowlevel_ops null_ops = {
	.lookup = nullfs_lookup,
	.getattr = nullfs_getattr,
	.setattr = nullfs_setattr,
	.open = nullfs_open,
	.read = nullfs_read,
	.write = nullfs_write,
	.fsync = nullfs_fsync,
};

static int session_loop(struct fuse_session *session)
{
	struct fuse_loop_config *loop = fuse_loop_cfg_create();
	int err;

	if (!loop)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(loop, 1);
	fuse_loop_cfg_set_max_threads(loop, THREAD_MAX);
	fuse_loop_cfg_set_idle_threads(loop, THREAD_MAX);
	err = fuse_session_loop_mt(session, loop);
	fuse_loop_cfg_destroy(loop);
	/* A positive value is the signal that ended the loop. */
	return err < 0 ? err : 0;
}

static int session_serve(struct fuse_session *session, const char *mountpoint)
{
	int err;

	if (fuse_set_signal_handlers(session) != 0)
		return -EIO;
	err = fuse_session_mount(session, mountpoint) ? -EIO : wire_install(session);
	if (!err)
		err = session_loop(session);
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	return err;
}

static int session_run(struct nullfs *fs, const char *mountpoint)
{
	/* Only root may let others in unasked, and varve does where it may. */
	char *argv[] = { "nullfs", "-o",
			 geteuid() == 0 ? "fsname=nullfs,subtype=varve,default_permissions,allow_other"
					: "fsname=nullfs,subtype=varve,default_permissions" };
	struct fuse_args arguments = FUSE_ARGS_INIT(3, argv);
	struct fuse_lowlevel_ops operations = null_ops;
	struct fuse_session *session;
	int err = -EINVAL;

	/* The handshake is varve's own. */
	operations.init = fuse_ops.init;
	session = fuse_session_new(&arguments, &operations, sizeof(operations), fs);
	if (session) {
		err = session_serve(session, mountpoint);
		fuse_session_destroy(session);
	}
	fuse_opt_free_args(&arguments);
	return err;
}

int nullfs_serve(const char *mountpoint, uint64_t file_size_bytes, const char *log_dir)
{
	struct nullfs fs = { .size_bytes = file_size_bytes, .log_dir = log_dir };
	int err;

	if (log_dir) {
		fs.log_fd = log_file(&fs);
		fs.log_next_fd = log_file(&fs);
		if (fs.log_fd < 0 || fs.log_next_fd < 0)
			return fs.log_fd < 0 ? fs.log_fd : fs.log_next_fd;
	}

	clock_gettime(CLOCK_REALTIME, &fs.mtime);
	fs.bytes = mmap(NULL, file_size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (fs.bytes == MAP_FAILED)
		return -errno;
	err = session_run(&fs, mountpoint);
	munmap(fs.bytes, file_size_bytes);
	return err;
}
