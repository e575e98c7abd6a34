#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim_disk_internal.h"
#include "test_support.h"

#define FD_FIRST 1000000        /* no descriptor of the kernel's */

_Thread_local volatile unsigned sim_disk_busy;

static struct sim_disk *disk_of(struct io_disk *ops)
{
	return (struct sim_disk *)ops;
}

void sim_disk_enter(struct sim_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	sim_disk_busy += 1;
}

void sim_disk_leave(struct sim_disk *disk)
{
	sim_disk_busy -= 1;
	pthread_mutex_unlock(&disk->lock);
}

/* ---- faults ---- */

void sim_disk_fail(struct sim_disk *disk, enum sim_fault_kind kind, uint64_t at, bool persistent)
{
	sim_disk_enter(disk);
	memset(&disk->fault, 0, sizeof(disk->fault));
	disk->fault.kind = kind;
	disk->fault.at = at;
	disk->fault.persistent = persistent;
	sim_disk_leave(disk);
}

uint64_t sim_disk_faults_met(const struct sim_disk *disk)
{
	return disk->fault.met;
}

uint64_t sim_disk_syncs_failed(const struct sim_disk *disk)
{
	return disk->fault.syncs;
}

/* Ways in which one operation may fail. */
enum {
	MAY_EIO = 1 << SIM_FAULT_EIO,
	MAY_ENOSPC = 1 << SIM_FAULT_ENOSPC,
	MAY_EINTR = 1 << SIM_FAULT_EINTR,
	MAY_SHORT = 1 << SIM_FAULT_SHORT,
	MAY_NO_HANDLE = 1 << SIM_FAULT_NO_HANDLE,
};

static bool fault_is_due(struct sim_disk *disk, unsigned ways)
{
	uint64_t seen;

	if (!(ways >> disk->fault.kind & 1) || disk->fault.kind == SIM_FAULT_NONE ||
	    sim_disk_busy > 1)
		return false;
	seen = disk->fault.seen++;
	if (seen < disk->fault.at || (seen > disk->fault.at && !disk->fault.persistent))
		return false;
	if (disk->fault.kind == SIM_FAULT_EINTR && (seen - disk->fault.at) % 2)
		return false;
	disk->fault.met++;
	return true;
}

/* Enter a call: what was stored by now happened before it. 0, or the errno it is to
 * fail with; @size_bytes is cut for a short count. */
static int begin(struct sim_disk *disk, unsigned ways, int no_handle, size_t *size_bytes)
{
	sim_disk_enter(disk);
	disk->calls++;
	sim_trace_collect(disk);
	if (!fault_is_due(disk, ways))
		return 0;
	switch (disk->fault.kind) {
	case SIM_FAULT_EIO:
		return -EIO;
	case SIM_FAULT_ENOSPC:
		return -ENOSPC;
	case SIM_FAULT_EINTR:
		return -EINTR;
	case SIM_FAULT_NO_HANDLE:
		return no_handle;
	case SIM_FAULT_SHORT:
		*size_bytes = *size_bytes > 1 ? *size_bytes / 2 : *size_bytes;
		return 0;
	default:
		return 0;
	}
}

/* ---- names ---- */

static struct sim_file *file_of(struct sim_disk *disk, int fd)
{
	int number = fd - FD_FIRST;

	if (number < 0 || number >= (int)SIM_FILES_MAX || !disk->files[number].used)
		return NULL;
	return &disk->files[number];
}

/* Where a path starts. -1: nowhere. */
static int64_t dir_of(struct sim_disk *disk, int dir_fd, const char *path)
{
	const struct sim_file *file;

	if (path[0] == '/' || dir_fd == AT_FDCWD)
		return 0;
	file = file_of(disk, dir_fd);
	return file ? (int64_t)file->inode : -EBADF;
}

/* The directory that @path's last name is in, and that name. "": the directory itself. */
static int64_t walk(struct sim_disk *disk, int dir_fd, const char *path, char last[SIM_NAME_MAX])
{
	int64_t dir = dir_of(disk, dir_fd, path);

	last[0] = '\0';
	while (dir >= 0) {
		size_t length;

		path += strspn(path, "/");
		length = strcspn(path, "/");
		if (!length)
			return dir;
		if (last[0])
			dir = sim_state_find(disk->names, (uint32_t)dir, last);
		if (dir < 0)
			return -ENOENT;
		if (!disk->names->inodes[dir].is_dir)
			return -ENOTDIR;
		if (length >= SIM_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(last, path, length);
		last[length] = '\0';
		if (strcmp(last, ".") == 0)
			last[0] = '\0';
		path += length;
	}
	return dir;
}

/* The inode at @path, or -errno. */
static int64_t find(struct sim_disk *disk, int dir_fd, const char *path)
{
	char last[SIM_NAME_MAX];
	int64_t dir = walk(disk, dir_fd, path, last);

	if (dir < 0 || !last[0])
		return dir;
	dir = sim_state_find(disk->names, (uint32_t)dir, last);
	return dir < 0 ? -ENOENT : dir;
}

static struct sim_memory *memory_of(struct sim_disk *disk, uint32_t inode)
{
	if (inode >= disk->memory_room) {
		disk->memories = realloc(disk->memories, (inode + 1) * sizeof(*disk->memories));
		require(disk->memories);
		memset(disk->memories + disk->memory_room, 0,
		       (inode + 1 - disk->memory_room) * sizeof(*disk->memories));
		disk->memory_room = inode + 1;
	}
	if (!disk->memories[inode])
		disk->memories[inode] = sim_memory_new(&disk->names->inodes[inode]);
	return disk->memories[inode];
}

/* Change names, now and in the trace. */
static void change_names(struct sim_disk *disk, uint32_t dir, const char *unset, const char *set,
			 uint32_t target)
{
	struct sim_write write = { .kind = SIM_WRITE_NAME, .inode = dir, .target = target };

	snprintf(write.unset, sizeof(write.unset), "%s", unset);
	snprintf(write.set, sizeof(write.set), "%s", set);
	sim_state_apply(disk->names, &write, NULL, NULL);
	sim_trace_write(disk, &write);
}

static void change_size(struct sim_disk *disk, uint32_t inode, uint64_t size_bytes)
{
	struct sim_write write = { .kind = SIM_WRITE_SIZE, .inode = inode,
				   .size_bytes = size_bytes };

	if (disk->names->inodes[inode].size_bytes == size_bytes)
		return;
	sim_memory_resize(memory_of(disk, inode), size_bytes);
	disk->names->inodes[inode].size_bytes = size_bytes;
	sim_trace_write(disk, &write);
	sim_trace_collect(disk);
}

static int open_new_fd(struct sim_disk *disk, uint32_t inode)
{
	for (int i = 0; i < (int)SIM_FILES_MAX; i++) {
		if (disk->files[i].used)
			continue;
		disk->files[i] = (struct sim_file){ .used = true, .inode = inode };
		return FD_FIRST + i;
	}
	return -EMFILE;
}

static int open_there(struct sim_disk *disk, int dir_fd, const char *name, int flags)
{
	char last[SIM_NAME_MAX];
	int64_t inode, dir = walk(disk, dir_fd, name, last);

	if (dir < 0)
		return (int)dir;
	inode = last[0] ? sim_state_find(disk->names, (uint32_t)dir, last) : dir;
	if (inode < 0 && !(flags & O_CREAT))
		return -ENOENT;
	if (inode < 0) {
		inode = sim_state_add(disk->names, false);
		change_names(disk, (uint32_t)dir, "", last, (uint32_t)inode);
	}
	if (flags & O_DIRECTORY && !disk->names->inodes[inode].is_dir)
		return -ENOTDIR;
	if (flags & O_TRUNC)
		change_size(disk, (uint32_t)inode, 0);
	return open_new_fd(disk, (uint32_t)inode);
}

static int sim_open(struct io_disk *ops, int dir_fd, const char *name, int flags, mode_t mode)
{
	struct sim_disk *disk = disk_of(ops);
	unsigned ways = MAY_EIO | MAY_EINTR | MAY_NO_HANDLE | (flags & O_CREAT ? MAY_ENOSPC : 0);
	int outcome = begin(disk, ways, -EMFILE, NULL);

	(void)mode;
	if (!outcome)
		outcome = open_there(disk, dir_fd, name, flags);
	sim_disk_leave(disk);
	return outcome;
}

static void sim_close(struct io_disk *ops, int fd)
{
	struct sim_disk *disk = disk_of(ops);
	struct sim_file *file;

	sim_disk_enter(disk);
	file = file_of(disk, fd);
	require(file);          /* closed twice, or another's */
	file->used = false;
	sim_disk_leave(disk);
}

/* ---- bytes ---- */

static ssize_t sim_read(struct io_disk *ops, int fd, void *buffer, size_t size_bytes,
			uint64_t offset_bytes)
{
	struct sim_disk *disk = disk_of(ops);
	ssize_t count = begin(disk, MAY_EIO | MAY_EINTR | MAY_SHORT, 0, &size_bytes);
	struct sim_file *file = file_of(disk, fd);

	if (!count && !file)
		count = -EBADF;
	if (!count) {
		struct sim_memory *memory = memory_of(disk, file->inode);

		if (offset_bytes >= memory->size_bytes)
			size_bytes = 0;
		else if (size_bytes > memory->size_bytes - offset_bytes)
			size_bytes = memory->size_bytes - offset_bytes;
		memcpy(buffer, memory->base + offset_bytes, size_bytes);
		count = (ssize_t)size_bytes;
	}
	sim_disk_leave(disk);
	return count;
}

static size_t pieces_size(const struct iovec *pieces, int count)
{
	size_t size_bytes = 0;

	for (int i = 0; i < count; i++)
		size_bytes += pieces[i].iov_len;
	return size_bytes;
}

static ssize_t write_there(struct sim_disk *disk, uint32_t inode, const struct iovec *pieces,
			   size_t size_bytes, uint64_t offset_bytes)
{
	struct sim_memory *memory = memory_of(disk, inode);
	uint64_t end = offset_bytes + size_bytes;
	size_t left = size_bytes;

	if (end > SIM_FILE_BYTES_MAX)
		return -EFBIG;
	if (end > memory->size_bytes)
		change_size(disk, inode, end);
	sim_memory_touch(memory, offset_bytes, end);
	for (uint8_t *at = memory->base + offset_bytes; left; pieces++) {
		size_t count = pieces->iov_len < left ? pieces->iov_len : left;

		memcpy(at, pieces->iov_base, count);
		at += count;
		left -= count;
	}
	sim_trace_collect(disk);
	return (ssize_t)size_bytes;
}

static ssize_t sim_write(struct io_disk *ops, int fd, const struct iovec *pieces, int count,
			 uint64_t offset_bytes)
{
	struct sim_disk *disk = disk_of(ops);
	size_t size_bytes = pieces_size(pieces, count);
	ssize_t written = begin(disk, MAY_EIO | MAY_ENOSPC | MAY_EINTR | MAY_SHORT, 0, &size_bytes);
	struct sim_file *file = file_of(disk, fd);

	if (!written && !file)
		written = -EBADF;
	if (!written)
		written = write_there(disk, file->inode, pieces, size_bytes, offset_bytes);
	sim_disk_leave(disk);
	return written;
}

/* The common frame of the operations on a descriptor. -EBADF; an injected errno; or 0
 * and the inode. To be left in any case. */
static int begin_fd(struct sim_disk *disk, unsigned ways, int fd, uint32_t *inode_out)
{
	size_t unused = 0;
	int err = begin(disk, ways, 0, &unused);
	struct sim_file *file = file_of(disk, fd);

	*inode_out = file ? file->inode : 0;
	return err || file ? err : -EBADF;
}

static int sim_stat(struct io_disk *ops, int fd, struct stat *stat_out)
{
	struct sim_disk *disk = disk_of(ops);
	uint32_t inode;
	int err = begin_fd(disk, MAY_EIO, fd, &inode);

	memset(stat_out, 0, sizeof(*stat_out));
	stat_out->st_size = (off_t)disk->names->inodes[inode].size_bytes;
	stat_out->st_mode = disk->names->inodes[inode].is_dir ? S_IFDIR | 0700 : S_IFREG | 0600;
	sim_disk_leave(disk);
	return err;
}

static int sim_truncate(struct io_disk *ops, int fd, uint64_t size_bytes)
{
	struct sim_disk *disk = disk_of(ops);
	uint32_t inode;
	int err = begin_fd(disk, MAY_EIO | MAY_EINTR, fd, &inode);

	if (!err && size_bytes > SIM_FILE_BYTES_MAX)
		err = -EFBIG;
	if (!err)
		change_size(disk, inode, size_bytes);
	sim_disk_leave(disk);
	return err;
}

static void zero_range(struct sim_disk *disk, struct sim_memory *memory, uint64_t from_bytes,
		       uint64_t to_bytes)
{
	if (to_bytes > memory->size_bytes)
		to_bytes = memory->size_bytes;
	while (from_bytes < to_bytes) {
		uint64_t end = (from_bytes / SIM_PAGE_BYTES + 1) * SIM_PAGE_BYTES;

		if (end > to_bytes)
			end = to_bytes;
		/* Most of it is zeros already: touching that would only cost time. */
		if (memory->known[from_bytes / SIM_PAGE_BYTES]) {
			sim_memory_touch(memory, from_bytes, end);
			memset(memory->base + from_bytes, 0, end - from_bytes);
		}
		from_bytes = end;
	}
	sim_trace_collect(disk);
}

static int sim_allocate(struct io_disk *ops, int fd, int mode, uint64_t from_bytes,
			uint64_t size_bytes)
{
	struct sim_disk *disk = disk_of(ops);
	uint64_t end = from_bytes + size_bytes;
	uint32_t inode;
	int err = begin_fd(disk, MAY_EIO | MAY_ENOSPC | MAY_EINTR, fd, &inode);

	if (!err && end > SIM_FILE_BYTES_MAX)
		err = -EFBIG;
	if (!err && mode == 0) {
		if (end > disk->names->inodes[inode].size_bytes)
			change_size(disk, inode, end);
	} else if (!err) {
		require(mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE));
		zero_range(disk, memory_of(disk, inode), from_bytes, end);
	}
	sim_disk_leave(disk);
	return err;
}

static int sync_inode(struct sim_disk *disk, int fd, bool dir)
{
	uint32_t inode;
	int err = begin_fd(disk, MAY_EIO | MAY_ENOSPC | MAY_EINTR, fd, &inode);

	if (err != -EBADF && err != -EINTR) {
		require(disk->names->inodes[inode].is_dir == dir);
		sim_trace_add(disk, err ? SIM_EVENT_SYNC_FAILED : SIM_EVENT_SYNC)->inode = inode;
		disk->fault.syncs += err != 0;
	}
	sim_disk_leave(disk);
	return err;
}

static int sim_sync(struct io_disk *ops, int fd)
{
	return sync_inode(disk_of(ops), fd, false);
}

static int sim_sync_dir(struct io_disk *ops, int dir_fd)
{
	return sync_inode(disk_of(ops), dir_fd, true);
}

/* ---- names ---- */

static int sim_rename(struct io_disk *ops, int dir_fd, const char *from, const char *to)
{
	struct sim_disk *disk = disk_of(ops);
	int64_t target;
	uint32_t dir;
	int err = begin_fd(disk, MAY_EIO | MAY_ENOSPC, dir_fd, &dir);

	if (!err) {
		target = sim_state_find(disk->names, dir, from);
		if (target < 0)
			err = -ENOENT;
		else
			change_names(disk, dir, from, to, (uint32_t)target);
	}
	sim_disk_leave(disk);
	return err;
}

static int sim_unlink(struct io_disk *ops, int dir_fd, const char *name)
{
	struct sim_disk *disk = disk_of(ops);
	int64_t target;
	uint32_t dir;
	int err = begin_fd(disk, MAY_EIO, dir_fd, &dir);

	if (!err) {
		target = sim_state_find(disk->names, dir, name);
		if (target < 0)
			err = -ENOENT;
		else if (disk->names->inodes[target].is_dir)
			err = -EISDIR;
		else
			change_names(disk, dir, name, "", 0);
	}
	sim_disk_leave(disk);
	return err;
}

static int sim_make_dir(struct io_disk *ops, int dir_fd, const char *name, mode_t mode)
{
	struct sim_disk *disk = disk_of(ops);
	char last[SIM_NAME_MAX];
	size_t unused = 0;
	int err = begin(disk, MAY_EIO | MAY_ENOSPC, 0, &unused);
	int64_t dir = walk(disk, dir_fd, name, last);

	(void)mode;
	if (!err && dir < 0)
		err = (int)dir;
	if (!err && (!last[0] || sim_state_find(disk->names, (uint32_t)dir, last) >= 0))
		err = -EEXIST;
	if (!err)
		change_names(disk, (uint32_t)dir, "", last, sim_state_add(disk->names, true));
	sim_disk_leave(disk);
	return err;
}

/* The callback calls the disk, so it is called with a copy of the names. */
static int sim_list(struct io_disk *ops, int dir_fd, const char *name, io_name_fn *fn,
		    void *context)
{
	struct sim_disk *disk = disk_of(ops);
	struct sim_entry *entries = NULL;
	uint32_t count = 0;
	size_t unused = 0;
	int64_t dir;
	int err = begin(disk, MAY_EIO | MAY_NO_HANDLE, -EMFILE, &unused);

	dir = find(disk, dir_fd, name);
	if (!err && dir < 0)
		err = (int)dir;
	if (!err && !disk->names->inodes[dir].is_dir)
		err = -ENOTDIR;
	if (!err) {
		count = disk->names->inodes[dir].entry_count;
		entries = calloc(count + 1, sizeof(*entries));
		require(entries);
		if (count)
			memcpy(entries, disk->names->inodes[dir].entries, count * sizeof(*entries));
	}
	sim_disk_leave(disk);
	for (uint32_t i = 0; i < count && !err; i++)
		err = fn(context, entries[i].name);
	free(entries);
	return err;
}

static int sim_lock(struct io_disk *ops, int fd, bool test)
{
	struct sim_disk *disk = disk_of(ops);
	uint32_t inode;
	int err = begin_fd(disk, MAY_EIO, fd, &inode);

	for (int i = 0; i < (int)SIM_FILES_MAX && !err; i++)
		if (disk->files[i].used && disk->files[i].locked &&
		    disk->files[i].inode == inode && FD_FIRST + i != fd)
			err = -EBUSY;
	if (!err && !test)
		file_of(disk, fd)->locked = true;
	sim_disk_leave(disk);
	return err;
}

/* ---- mappings ---- */

static int map_there(struct sim_disk *disk, uint32_t inode, size_t size_bytes, bool writable,
		     void **map_out)
{
	struct sim_memory *memory = memory_of(disk, inode);

	for (unsigned i = 0; i < SIM_FILES_MAX; i++) {
		if (disk->maps[i].base)
			continue;
		require(size_bytes <= SIM_FILE_BYTES_MAX);
		disk->maps[i] = (struct sim_map){ memory->base, inode, writable };
		if (writable)
			sim_memory_watch(memory);
		*map_out = memory->base;
		return 0;
	}
	return -ENOMEM;
}

static int sim_map(struct io_disk *ops, int fd, size_t size_bytes, bool writable, void **map_out)
{
	struct sim_disk *disk = disk_of(ops);
	size_t unused = 0;
	int err = begin(disk, MAY_EIO | MAY_NO_HANDLE, -ENOMEM, &unused);
	struct sim_file *file = file_of(disk, fd);

	*map_out = NULL;
	if (!err && !file)
		err = -EBADF;
	if (!err)
		err = map_there(disk, file->inode, size_bytes, writable, map_out);
	sim_disk_leave(disk);
	return err;
}

/* One file may be mapped twice, at one address: for writing and for reading. The
 * first to go of two that can't be told apart is the one for writing, as the layers do. */
static void sim_unmap(struct io_disk *ops, void *base, size_t size_bytes)
{
	struct sim_disk *disk = disk_of(ops);
	struct sim_map *found = NULL;

	(void)size_bytes;
	sim_disk_enter(disk);
	sim_trace_collect(disk);
	for (unsigned i = 0; i < SIM_FILES_MAX; i++)
		if (disk->maps[i].base == base && (!found || disk->maps[i].writable))
			found = &disk->maps[i];
	require(found);
	if (found->writable)
		sim_memory_unwatch(disk->memories[found->inode]);
	found->base = NULL;
	sim_disk_leave(disk);
}

static void sim_unmap_pages(struct io_disk *ops, void *from, size_t size_bytes)
{
	(void)ops;
	(void)from;
	(void)size_bytes;
}

static bool sim_is_resident(struct io_disk *ops, const void *from, size_t size_bytes)
{
	(void)ops;
	(void)from;
	(void)size_bytes;
	return true;
}

static int sim_resolve(struct io_disk *ops, const char *path, char **absolute_out)
{
	struct sim_disk *disk = disk_of(ops);
	size_t unused = 0;
	int64_t inode;
	int err = begin(disk, MAY_EIO, 0, &unused);

	inode = find(disk, AT_FDCWD, path);
	if (!err && inode < 0)
		err = (int)inode;
	*absolute_out = err ? NULL : strdup(path);
	sim_disk_leave(disk);
	return err;
}

/* ---- the disk ---- */

struct sim_disk *sim_disk_new(struct sim_state *state)
{
	struct sim_disk *disk = calloc(1, sizeof(*disk));

	require(disk);
	disk->ops = (struct io_disk){
		.open = sim_open,
		.close = sim_close,
		.read = sim_read,
		.write = sim_write,
		.stat = sim_stat,
		.truncate = sim_truncate,
		.allocate = sim_allocate,
		.sync = sim_sync,
		.sync_dir = sim_sync_dir,
		.rename = sim_rename,
		.unlink = sim_unlink,
		.make_dir = sim_make_dir,
		.list = sim_list,
		.lock = sim_lock,
		.map = sim_map,
		.unmap = sim_unmap,
		.unmap_pages = sim_unmap_pages,
		.is_resident = sim_is_resident,
		.resolve = sim_resolve,
	};
	pthread_mutex_init(&disk->lock, NULL);
	disk->start = state ? state : sim_state_new();
	disk->names = sim_state_copy(disk->start);
	return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
	if (!disk)
		return;
	for (uint64_t i = 0; i < disk->event_count; i++)
		sim_write_destroy(&disk->events[i].write);
	for (uint32_t i = 0; i < disk->memory_room; i++)
		sim_memory_free(disk->memories[i]);
	free(disk->memories);
	free(disk->events);
	sim_state_free(disk->start);
	sim_state_free(disk->names);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

void sim_disk_use(struct sim_disk *disk)
{
	io_disk_use(disk ? &disk->ops : &io_disk_real);
}

struct sim_state *sim_disk_state(struct sim_disk *disk)
{
	struct sim_state *state;

	sim_disk_enter(disk);
	sim_trace_collect(disk);
	state = sim_state_copy(disk->start);
	while (state->inode_count < disk->names->inode_count)
		sim_state_add(state, disk->names->inodes[state->inode_count].is_dir);
	for (uint64_t i = 0; i < disk->event_count; i++)
		if (disk->events[i].kind == SIM_EVENT_WRITE)
			sim_state_apply(state, &disk->events[i].write, NULL, NULL);
	sim_disk_leave(disk);
	return state;
}

struct sim_usage sim_disk_usage(struct sim_disk *disk)
{
	struct sim_usage usage = { 0 };

	sim_disk_enter(disk);
	usage.calls = disk->calls;
	for (unsigned i = 0; i < SIM_FILES_MAX; i++) {
		usage.open_files += disk->files[i].used;
		usage.locks += disk->files[i].used && disk->files[i].locked;
		usage.mappings += disk->maps[i].base != NULL;
	}
	sim_disk_leave(disk);
	return usage;
}
