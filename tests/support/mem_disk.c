#include "mem_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_support.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, size_bytes) ((void)(at), (void)(size_bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, size_bytes) ((void)(at), (void)(size_bytes))
#endif

#define FILES_MAX 128u
#define FDS_MAX 128u
#define FD_FIRST 1000000        /* no descriptor of the kernel's */
#define PAGE_BYTES 4096u
#define DROP_BYTES_MIN (256u << 10)     /* zeroed by the kernel, which skips what was never touched */

struct mem_file {
	bool used, is_dir;
	char path[128];                 /* absolute; "": unlinked, and still open */
	uint8_t *bytes;                 /* MEM_FILE_BYTES_MAX of address space, zeros beyond the size */
	uint64_t size_bytes;
	unsigned fds, maps;
	bool is_saved;
	char saved_path[128];
	uint8_t *saved;
	uint64_t saved_bytes;
};

struct mem_disk {
	struct io_disk ops;             /* first: what the core sees */
	pthread_mutex_t lock;           /* guards all below */
	struct mem_file files[FILES_MAX];
	struct {
		struct mem_file *file;  /* NULL: free */
		bool locked;
	} fds[FDS_MAX];
};

static struct mem_disk *enter(struct io_disk *ops)
{
	struct mem_disk *disk = (struct mem_disk *)ops;

	pthread_mutex_lock(&disk->lock);
	return disk;
}

static int leave(struct mem_disk *disk, int outcome)
{
	pthread_mutex_unlock(&disk->lock);
	return outcome;
}

/* ---- files ---- */

static uint64_t page_end(uint64_t size_bytes)
{
	return (size_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* The disk's own accesses, to a file that nobody has mapped. */
static void access_begin(struct mem_file *file)
{
	if (!file->maps)
		ASAN_UNPOISON_MEMORY_REGION(file->bytes, page_end(file->size_bytes));
}

static void access_end(struct mem_file *file)
{
	if (!file->maps)
		ASAN_POISON_MEMORY_REGION(file->bytes, page_end(file->size_bytes));
}

static struct mem_file *file_find(struct mem_disk *disk, const char *path)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (disk->files[i].used && strcmp(disk->files[i].path, path) == 0)
			return &disk->files[i];
	return NULL;
}

static void zero(struct mem_file *file, uint64_t from_bytes, uint64_t to_bytes)
{
	uint64_t whole = page_end(from_bytes);

	if (to_bytes - from_bytes >= DROP_BYTES_MIN) {
		memset(file->bytes + from_bytes, 0, whole - from_bytes);
		from_bytes = whole;
		whole = to_bytes / PAGE_BYTES * PAGE_BYTES;
		require(!madvise(file->bytes + from_bytes, whole - from_bytes, MADV_DONTNEED));
		from_bytes = whole;
	}
	memset(file->bytes + from_bytes, 0, to_bytes - from_bytes);
}

static void file_resize(struct mem_file *file, uint64_t size_bytes)
{
	access_begin(file);
	if (size_bytes < file->size_bytes) {
		zero(file, size_bytes, file->size_bytes);
		ASAN_POISON_MEMORY_REGION(file->bytes + page_end(size_bytes),
					  page_end(file->size_bytes) - page_end(size_bytes));
	} else {
		ASAN_UNPOISON_MEMORY_REGION(file->bytes, page_end(size_bytes));
	}
	file->size_bytes = size_bytes;
	access_end(file);
}

static struct mem_file *file_add(struct mem_disk *disk, const char *path, bool is_dir)
{
	struct mem_file *file = disk->files;

	while (file->used || file->is_saved)
		require(++file < disk->files + FILES_MAX);
	require(strlen(path) < sizeof(file->path));
	if (!is_dir && !file->bytes) {
		file->bytes = mmap(NULL, MEM_FILE_BYTES_MAX, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		require(file->bytes != MAP_FAILED);
		ASAN_POISON_MEMORY_REGION(file->bytes, MEM_FILE_BYTES_MAX);
	}
	file->used = true;
	file->is_dir = is_dir;
	strcpy(file->path, path);
	return file;
}

/* Without a name and unused it is gone. */
static void file_drop_unused(struct mem_file *file)
{
	if (file->path[0] || file->fds || file->maps)
		return;
	if (!file->is_dir)
		file_resize(file, 0);
	file->used = false;
}

static void file_unlink(struct mem_file *file)
{
	file->path[0] = '\0';
	file_drop_unused(file);
}

/* ---- names ---- */

static struct mem_file *fd_file(struct mem_disk *disk, int fd)
{
	int number = fd - FD_FIRST;

	return number < 0 || number >= (int)FDS_MAX ? NULL : disk->fds[number].file;
}

/* The absolute path of @name in @dir_fd. 0 or -errno. */
static int path_make(struct mem_disk *disk, int dir_fd, const char *name, char out[128])
{
	const struct mem_file *dir = fd_file(disk, dir_fd);
	int length;

	if (name[0] != '/' && !dir)
		return -EBADF;
	if (name[0] == '/')
		length = snprintf(out, 128, "%s", name);
	else if (!strcmp(name, "."))
		length = snprintf(out, 128, "%s", dir->path);
	else
		length = snprintf(out, 128, "%s/%s", dir->path, name);
	return length < 128 ? 0 : -ENAMETOOLONG;
}

/* Just the name, if @path lies in the directory @dir itself. */
static const char *name_in(const char *dir, const char *path)
{
	size_t length = strlen(dir);

	if (strncmp(path, dir, length) || path[length] != '/' || strchr(path + length + 1, '/'))
		return NULL;
	return path + length + 1;
}

static int mem_open(struct io_disk *ops, int dir_fd, const char *name, int flags, mode_t mode)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file;
	char path[128];
	int fd = 0, err = path_make(disk, dir_fd, name, path);

	(void)mode;
	if (err)
		return leave(disk, err);
	file = file_find(disk, path);
	if (!file && !(flags & O_CREAT))
		return leave(disk, -ENOENT);
	if (!file)
		file = file_add(disk, path, false);
	if (flags & O_DIRECTORY && !file->is_dir)
		return leave(disk, -ENOTDIR);
	if (flags & O_TRUNC)
		file_resize(file, 0);
	while (disk->fds[fd].file)
		if (++fd == FDS_MAX)
			return leave(disk, -EMFILE);
	disk->fds[fd].file = file;
	disk->fds[fd].locked = false;
	file->fds++;
	return leave(disk, FD_FIRST + fd);
}

static void mem_close(struct io_disk *ops, int fd)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = fd_file(disk, fd);

	require(file);          /* closed twice, or another's */
	disk->fds[fd - FD_FIRST].file = NULL;
	file->fds--;
	file_drop_unused(file);
	leave(disk, 0);
}

static int mem_rename(struct io_disk *ops, int dir_fd, const char *from, const char *to)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file, *replaced;
	char path[128];
	int err = path_make(disk, dir_fd, from, path);

	file = err ? NULL : file_find(disk, path);
	if (!err)
		err = file ? path_make(disk, dir_fd, to, path) : -ENOENT;
	if (err)
		return leave(disk, err);
	replaced = file_find(disk, path);
	if (replaced && replaced != file)
		file_unlink(replaced);
	strcpy(file->path, path);
	return leave(disk, 0);
}

static int mem_unlink(struct io_disk *ops, int dir_fd, const char *name)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file;
	char path[128];
	int err = path_make(disk, dir_fd, name, path);

	file = err ? NULL : file_find(disk, path);
	if (!err && !file)
		err = -ENOENT;
	if (!err && file->is_dir)
		err = -EISDIR;
	if (!err)
		file_unlink(file);
	return leave(disk, err);
}

static int mem_make_dir(struct io_disk *ops, int dir_fd, const char *name, mode_t mode)
{
	struct mem_disk *disk = enter(ops);
	char path[128];
	int err = path_make(disk, dir_fd, name, path);

	(void)mode;
	if (!err && file_find(disk, path))
		err = -EEXIST;
	if (!err)
		file_add(disk, path, true);
	return leave(disk, err);
}

/* The callback calls the disk, so it is called without the lock, with a copy of the name. */
static int mem_list(struct io_disk *ops, int dir_fd, const char *name, io_name_fn *fn,
		    void *context)
{
	struct mem_disk *disk = enter(ops);
	const struct mem_file *dir;
	char path[128];
	int err = path_make(disk, dir_fd, name, path);

	dir = err ? NULL : file_find(disk, path);
	if (!err && !dir)
		err = -ENOENT;
	if (!err && !dir->is_dir)
		err = -ENOTDIR;
	for (unsigned i = 0; i < FILES_MAX && !err; i++) {
		const char *found = disk->files[i].used ? name_in(path, disk->files[i].path) : NULL;
		char copy[128];

		if (!found)
			continue;
		strcpy(copy, found);
		leave(disk, 0);
		err = fn(context, copy);
		enter(ops);
	}
	return leave(disk, err);
}

static int mem_resolve(struct io_disk *ops, const char *path, char **absolute_out)
{
	struct mem_disk *disk = enter(ops);
	bool found = file_find(disk, path) != NULL;

	*absolute_out = found ? strdup(path) : NULL;
	return leave(disk, found ? *absolute_out ? 0 : -ENOMEM : -ENOENT);
}

/* ---- bytes ---- */

static ssize_t mem_read(struct io_disk *ops, int fd, void *buffer, size_t size_bytes,
			uint64_t offset_bytes)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = fd_file(disk, fd);

	if (!file || file->is_dir)
		return leave(disk, file ? -EISDIR : -EBADF);
	if (offset_bytes >= file->size_bytes)
		size_bytes = 0;
	else if (size_bytes > file->size_bytes - offset_bytes)
		size_bytes = file->size_bytes - offset_bytes;
	access_begin(file);
	memcpy(buffer, file->bytes + offset_bytes, size_bytes);
	access_end(file);
	leave(disk, 0);
	return (ssize_t)size_bytes;
}

static ssize_t mem_write(struct io_disk *ops, int fd, const struct iovec *pieces, int count,
			 uint64_t offset_bytes)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = fd_file(disk, fd);
	uint64_t end = offset_bytes;

	for (int i = 0; i < count; i++)
		end += pieces[i].iov_len;
	if (!file || file->is_dir || end > MEM_FILE_BYTES_MAX)
		return leave(disk, !file ? -EBADF : file->is_dir ? -EISDIR : -EFBIG);
	if (end > file->size_bytes)
		file_resize(file, end);
	access_begin(file);
	end = offset_bytes;
	for (int i = 0; i < count; i++) {
		memcpy(file->bytes + end, pieces[i].iov_base, pieces[i].iov_len);
		end += pieces[i].iov_len;
	}
	access_end(file);
	leave(disk, 0);
	return (ssize_t)(end - offset_bytes);
}

static int mem_stat(struct io_disk *ops, int fd, struct stat *stat_out)
{
	struct mem_disk *disk = enter(ops);
	const struct mem_file *file = fd_file(disk, fd);

	memset(stat_out, 0, sizeof(*stat_out));
	if (!file)
		return leave(disk, -EBADF);
	stat_out->st_size = (off_t)file->size_bytes;
	stat_out->st_mode = file->is_dir ? S_IFDIR | 0700 : S_IFREG | 0600;
	return leave(disk, 0);
}

static int mem_truncate(struct io_disk *ops, int fd, uint64_t size_bytes)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = fd_file(disk, fd);

	if (!file || size_bytes > MEM_FILE_BYTES_MAX)
		return leave(disk, file ? -EFBIG : -EBADF);
	file_resize(file, size_bytes);
	return leave(disk, 0);
}

static int mem_allocate(struct io_disk *ops, int fd, int mode, uint64_t from_bytes,
			uint64_t size_bytes)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = fd_file(disk, fd);
	uint64_t end = from_bytes + size_bytes;

	if (!file || end > MEM_FILE_BYTES_MAX)
		return leave(disk, file ? -EFBIG : -EBADF);
	if (mode == 0) {
		if (end > file->size_bytes)
			file_resize(file, end);
		return leave(disk, 0);
	}
	require(mode == (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE));
	if (end > file->size_bytes)
		end = file->size_bytes;
	access_begin(file);
	if (from_bytes < end)
		zero(file, from_bytes, end);
	access_end(file);
	return leave(disk, 0);
}

static int mem_sync(struct io_disk *ops, int fd)
{
	struct mem_disk *disk = enter(ops);

	return leave(disk, fd_file(disk, fd) ? 0 : -EBADF);
}

static int mem_lock(struct io_disk *ops, int fd, bool test)
{
	struct mem_disk *disk = enter(ops);
	const struct mem_file *file = fd_file(disk, fd);
	int err = file ? 0 : -EBADF;

	for (int i = 0; i < (int)FDS_MAX && !err; i++)
		if (disk->fds[i].file == file && disk->fds[i].locked && FD_FIRST + i != fd)
			err = -EBUSY;
	if (!err && !test)
		disk->fds[fd - FD_FIRST].locked = true;
	return leave(disk, err);
}

/* ---- mappings ---- */

static int mem_map(struct io_disk *ops, int fd, size_t size_bytes, bool writable, void **map_out)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = fd_file(disk, fd);

	(void)writable;
	*map_out = NULL;
	if (!file || !size_bytes || size_bytes > MEM_FILE_BYTES_MAX)
		return leave(disk, file ? -EINVAL : -EBADF);
	access_begin(file);
	file->maps++;
	*map_out = file->bytes;
	return leave(disk, 0);
}

static void mem_unmap(struct io_disk *ops, void *map, size_t size_bytes)
{
	struct mem_disk *disk = enter(ops);
	struct mem_file *file = disk->files;

	(void)size_bytes;
	while (file->bytes != map)
		require(++file < disk->files + FILES_MAX);
	require(file->maps);
	file->maps--;
	access_end(file);
	file_drop_unused(file);
	leave(disk, 0);
}

static void mem_unmap_pages(struct io_disk *ops, void *from, size_t size_bytes)
{
	(void)ops;
	(void)from;
	(void)size_bytes;
}

static bool mem_is_resident(struct io_disk *ops, const void *from, size_t size_bytes)
{
	(void)ops;
	(void)from;
	(void)size_bytes;
	return true;
}

/* ---- the disk ---- */

static void copy_in(struct mem_disk *disk, const char *source, const char *path)
{
	struct mem_file *file = file_add(disk, path, false);
	int fd = open(source, O_RDONLY | O_CLOEXEC);
	struct stat st;

	must(fd >= 0 && !fstat(fd, &st), "cannot open", source);
	file_resize(file, (uint64_t)st.st_size);
	access_begin(file);
	must(read(fd, file->bytes, (size_t)st.st_size) == st.st_size, "cannot read", source);
	access_end(file);
	close(fd);
}

struct mem_disk *mem_disk_new(const char *source, const char *name)
{
	struct mem_disk *disk = calloc(1, sizeof(*disk));
	struct path_list *list = path_list_new(source);
	char from[PATH_MAX], to[PATH_MAX];

	require(disk);
	disk->ops = (struct io_disk){
		.open = mem_open,
		.close = mem_close,
		.read = mem_read,
		.write = mem_write,
		.stat = mem_stat,
		.truncate = mem_truncate,
		.allocate = mem_allocate,
		.sync = mem_sync,
		.sync_dir = mem_sync,
		.rename = mem_rename,
		.unlink = mem_unlink,
		.make_dir = mem_make_dir,
		.list = mem_list,
		.lock = mem_lock,
		.map = mem_map,
		.unmap = mem_unmap,
		.unmap_pages = mem_unmap_pages,
		.is_resident = mem_is_resident,
		.resolve = mem_resolve,
	};
	pthread_mutex_init(&disk->lock, NULL);
	file_add(disk, name, true);
	for (size_t i = 0; i < list->count; i++) {
		path_join(from, source, list->items[i].path);
		path_join(to, name, list->items[i].path);
		if (list->items[i].kind == 'd')
			file_add(disk, to, true);
		else
			copy_in(disk, from, to);
	}
	free(list);
	return disk;
}

void mem_disk_free(struct mem_disk *disk)
{
	if (!disk)
		return;
	for (unsigned i = 0; i < FILES_MAX; i++) {
		if (disk->files[i].bytes) {
			ASAN_UNPOISON_MEMORY_REGION(disk->files[i].bytes, MEM_FILE_BYTES_MAX);
			munmap(disk->files[i].bytes, MEM_FILE_BYTES_MAX);
		}
		free(disk->files[i].saved);
	}
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

void mem_disk_use(struct mem_disk *disk)
{
	io_disk_use(disk ? &disk->ops : &io_disk_real);
}

static struct mem_file *file_at(struct mem_disk *disk, const char *path)
{
	struct mem_file *file = file_find(disk, path);

	must(file && !file->is_dir, "no such file in memory:", path);
	return file;
}

uint64_t mem_disk_size(struct mem_disk *disk, const char *path)
{
	return file_at(disk, path)->size_bytes;
}

void mem_disk_resize(struct mem_disk *disk, const char *path, uint64_t size_bytes)
{
	require(size_bytes <= MEM_FILE_BYTES_MAX);
	file_resize(file_at(disk, path), size_bytes);
}

static void file_put(struct mem_file *file, const void *bytes, size_t size_bytes)
{
	require(size_bytes <= file->size_bytes);
	access_begin(file);
	memcpy(file->bytes, bytes, size_bytes);
	access_end(file);
}

static void file_get(struct mem_file *file, void *bytes, size_t size_bytes)
{
	require(size_bytes <= file->size_bytes);
	access_begin(file);
	memcpy(bytes, file->bytes, size_bytes);
	access_end(file);
}

void mem_disk_put(struct mem_disk *disk, const char *path, const void *bytes, size_t size_bytes)
{
	file_put(file_at(disk, path), bytes, size_bytes);
}

void mem_disk_get(struct mem_disk *disk, const char *path, void *bytes, size_t size_bytes)
{
	file_get(file_at(disk, path), bytes, size_bytes);
}

/* ---- how it is to be ---- */

void mem_disk_save(struct mem_disk *disk)
{
	require(mem_disk_is_idle(disk));
	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct mem_file *file = &disk->files[i];

		file->is_saved = file->used;
		if (!file->used)
			continue;
		strcpy(file->saved_path, file->path);
		file->saved_bytes = file->size_bytes;
		free(file->saved);
		file->saved = malloc(file->size_bytes + 1);
		require(file->saved);
		if (!file->is_dir)
			file_get(file, file->saved, file->size_bytes);
	}
}

void mem_disk_restore(struct mem_disk *disk)
{
	require(mem_disk_is_idle(disk));
	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct mem_file *file = &disk->files[i];

		if (!file->is_saved) {
			if (file->used)
				file_unlink(file);
			continue;
		}
		file->used = true;
		strcpy(file->path, file->saved_path);
		if (file->is_dir)
			continue;
		file_resize(file, file->saved_bytes);
		file_put(file, file->saved, file->saved_bytes);
	}
}

bool mem_disk_is_idle(struct mem_disk *disk)
{
	for (unsigned i = 0; i < FDS_MAX; i++)
		if (disk->fds[i].file)
			return false;
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (disk->files[i].used && disk->files[i].maps)
			return false;
	return true;
}
