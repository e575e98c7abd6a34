#include "ops_space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "front.h"
#include "node.h"
#include "state_files.h"
#include "store.h"
#include "tree.h"
#include "view.h"

/* The answer has 32 bits for the count, and kernels before 6.18 do not ask for less. */
#define COPY_MAX (UINT64_C(1) << 31)

/* Of the history: what an empty file takes, its name and a first change included, about. */
#define FILE_HISTORY_BYTES 512u

/* The kernel has a flag for it in writes alone, so all but root lose set-id bits. */
static bool drops_set_id(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid != 0;
}

static int synced(const struct front *front, const struct fuse_file_info *fi)
{
	return handle_is_synced(fi) ? store_sync(front->store, NULL) : 0;
}

static int change_space(struct store *store, fuse_ino_t id, int mode, uint64_t offset,
			uint64_t length, bool drop_set_id)
{
	bool keep_size = mode & FALLOC_FL_KEEP_SIZE;

	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case 0:
		return tree_reserve(store, id, offset, length, keep_size, drop_set_id);
	case FALLOC_FL_PUNCH_HOLE:
		return keep_size ? tree_punch(store, id, offset, length, true, drop_set_id)
				 : -EOPNOTSUPP;
	case FALLOC_FL_ZERO_RANGE:
		return tree_punch(store, id, offset, length, keep_size, drop_set_id);
	default:
		return -EOPNOTSUPP;
	}
}

void op_fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi)
{
	struct front *front = front_of(req);
	int err = view_writable(id);

	if (!err)
		err = change_space(front->store, id, mode, (uint64_t)offset, (uint64_t)length,
				   drops_set_id(req));
	if (!err)
		err = synced(front, fi);
	reply_error(req, id, err);
}

/* A state file is one piece of data. */
static int seek_state(const struct fuse_file_info *fi, uint64_t offset, bool hole, uint64_t *found_out)
{
	size_t size;

	snapshot_bytes((struct snapshot *)(uintptr_t)fi->fh, &size);
	*found_out = hole ? size : offset;
	return offset < size ? 0 : -ENXIO;
}

/*
 * What was stored through a mapping and is not written back yet is data too. The kernel writes back what it is
 * told to drop: here the pages it has of a hole that was found. Those writes are requests, which others answer
 * while this one waits: so only a few may wait at a time.
 */
#define FLUSHES_MAX 4
#define FLUSH_TRIES 4

static atomic_int flush_count; /* that wait now */
static atomic_bool flush_halted;

static bool flush_begin(void)
{
	if (atomic_fetch_add(&flush_count, 1) < FLUSHES_MAX && !atomic_load(&flush_halted))
		return true;
	atomic_fetch_sub(&flush_count, 1);
	return false;
}

void seek_flush_halt(void)
{
	atomic_store(&flush_halted, true);
	while (atomic_load(&flush_count))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void flush(struct front *front, fuse_ino_t id, uint64_t from, uint64_t to)
{
	if (from < to && to <= INT64_MAX)
		(void)fuse_lowlevel_notify_inval_inode(front->session, id, (off_t)from,
						       (off_t)(to - from));
	atomic_fetch_sub(&flush_count, 1);
}

/* The hole that a seek to @found met, up to *to_out: what it passed over, or found. 0 or -errno. */
static int hole_met(struct front *front, fuse_ino_t id, uint64_t offset, bool hole, int err, uint64_t found,
		    uint64_t *from_out, uint64_t *to_out)
{
	struct tree_attr attr;
	int end_err = tree_getattr(front->store, id, LSN_HEAD, &attr);

	*from_out = hole ? found : offset;
	*to_out = attr.size_bytes;
	if (end_err || (!hole && err))
		return end_err;
	if (!hole)
		*to_out = found;
	else if (tree_seek(front->store, id, LSN_HEAD, found, false, &found) == 0)
		*to_out = found;
	return 0;
}

/* As tree_seek has it at the head, with what lies in mappings. Where that can't be known now, all is data. */
static int seek_head(struct front *front, fuse_ino_t id, uint64_t offset, bool hole, uint64_t *found_out)
{
	uint64_t before = 0, from, to;
	struct tree_attr attr;
	int err, err_before = 0;

	for (unsigned i = 0; i < FLUSH_TRIES; i++) {
		err = tree_seek(front->store, id, LSN_HEAD, offset, hole, found_out);
		if ((err && err != -ENXIO) || (i && err == err_before && *found_out == before))
			return err;
		err_before = err;
		before = *found_out;
		err = hole_met(front, id, offset, hole, err, *found_out, &from, &to);
		if (err)
			return err;
		if (!flush_begin())
			break;
		flush(front, id, from, to);
	}
	err = tree_getattr(front->store, id, LSN_HEAD, &attr);
	*found_out = hole ? attr.size_bytes : offset;
	return err ? err : offset < attr.size_bytes ? 0 : -ENXIO;
}

void op_lseek(fuse_req_t req, fuse_ino_t id, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct front *front = front_of(req);
	bool hole = whence == SEEK_HOLE;
	uint64_t found = 0;
	struct view_node node;
	int err = view_node(front->view, id, &node);

	if (!err && whence != SEEK_HOLE && whence != SEEK_DATA)
		err = -EINVAL;
	if (!err)
		err = node_is_state(id)	   ? seek_state(fi, (uint64_t)offset, hole, &found)
		      : node_is_past(id) ? tree_seek(front->store, node.ino, handle_lsn(fi),
						     (uint64_t)offset, hole, &found)
					 : seek_head(front, id, (uint64_t)offset, hole, &found);
	if (err)
		reply_error(req, id, err);
	else
		fuse_reply_lseek(req, (off_t)found);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
			fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length,
			int flags)
{
	struct front *front = front_of(req);
	struct view_node node;
	uint64_t count = 0;
	int err = flags ? -EINVAL : view_writable(to);

	/* What is no file of the tree the kernel copies by reading and writing. */
	if (!err && (node_is_state(from) || node_is_state(to)))
		err = -EXDEV;
	if (!err)
		err = view_node(front->view, from, &node);
	if (!err)
		err = tree_copy(front->store, node.ino, handle_lsn(from_fi), (uint64_t)from_offset, to,
				(uint64_t)to_offset, length < COPY_MAX ? length : COPY_MAX,
				drops_set_id(req), &count);
	if (!err && count)
		err = synced(front, to_fi);
	if (err)
		reply_error(req, to, err);
	else
		fuse_reply_write(req, (size_t)count);
}

/* What the store's disk has, in pages of the store; in the past too, as it is the same disk. */
void op_statfs(fuse_req_t req, fuse_ino_t id)
{
	struct store *store = front_of(req)->store;
	uint64_t page_size = store_page_size(store), free_bytes;
	struct store_usage usage;
	struct statvfs disk;

	if (statvfs(store_path(store), &disk) != 0) {
		reply_error(req, id, -errno);
		return;
	}
	store_usage_get(store, &usage);
	free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	disk.f_blocks = (fsblkcnt_t)((uint64_t)disk.f_blocks * disk.f_frsize / page_size);
	disk.f_bfree = (fsblkcnt_t)((uint64_t)disk.f_bfree * disk.f_frsize / page_size);
	disk.f_bavail = (fsblkcnt_t)(free_bytes / page_size);
	disk.f_bsize = page_size;
	disk.f_frsize = page_size;
	disk.f_namemax = TREE_NAME_MAX;
	/* Numbers are never given out twice, so what was is used; there is one for each file that fits. */
	disk.f_ffree = (fsfilcnt_t)(free_bytes / FILE_HISTORY_BYTES);
	disk.f_favail = disk.f_ffree;
	disk.f_files = disk.f_ffree + (fsfilcnt_t)(usage.inode_next - TREE_ROOT_INO);
	fuse_reply_statfs(req, &disk);
}
