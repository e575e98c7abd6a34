#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "io.h"
#include "listing.h"
#include "recent_pages.h"
#include "manifest.h"
#include "page_editor.h"
#include "page_map_cache.h"
#include "past_attr.h"
#include "past_extent.h"
#include "retention.h"
#include "store_internal.h"

#define LOCK_NAME "lock"
#define HOLDER_BYTES_MAX 512u

/* ---- the lock ---- */

/* "<pid> <who>". Readers may meet it half written; it only informs. */
static int holder_read(int fd, char *holder_out, size_t size_bytes, int *pid_out)
{
	char text[HOLDER_BYTES_MAX + 1];
	size_t count;
	int skip = 0;
	int err = io_read_up_to(fd, text, HOLDER_BYTES_MAX, 0, &count);

	*pid_out = 0;
	holder_out[0] = '\0';
	if (err)
		return err;
	text[count] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (sscanf(text, "%d %n", pid_out, &skip) >= 1)
		snprintf(holder_out, size_bytes, "%s", text + skip);
	return 0;
}

static int report_holder(int fd, const char *path, struct report *report)
{
	char holder[HOLDER_BYTES_MAX];
	int pid;

	if (holder_read(fd, holder, sizeof(holder), &pid) || !pid)
		return report_set(report, -EBUSY, "%s: another process holds the store", path);
	return report_set(report, -EBUSY,
			  "%s: the store is held by process %d (%s): unmount it first with "
			  "'varve umount'", path, pid, holder);
}

int store_lock(struct store *store, const char *holder, struct report *report)
{
	char text[HOLDER_BYTES_MAX];
	int err, length;

	err = io_open(store->dir_fd, LOCK_NAME, O_RDWR | O_CREAT, 0600, &store->lock_fd);
	if (err)
		return report_set(report, err, "%s/" LOCK_NAME ": %s", store->path,
				  strerror(-err));
	err = io_lock(store->lock_fd);
	if (err == -EBUSY)
		return report_holder(store->lock_fd, store->path, report);
	if (err)
		return report_set(report, err, "%s: can't lock the store: %s", store->path,
				  strerror(-err));
	length = snprintf(text, sizeof(text), "%d %s\n", (int)getpid(), holder ? holder : "");
	if (length >= (int)sizeof(text))
		length = (int)sizeof(text) - 1;
	/* Who holds it only informs: a full disk does not keep a store from opening. */
	if (io_truncate(store->lock_fd, 0) == 0)
		(void)io_write(store->lock_fd, text, (size_t)length, 0);
	return 0;
}

int store_holder(const char *path, char *holder_out, size_t size_bytes, int *pid_out)
{
	int dir_fd, fd, err;

	holder_out[0] = '\0';
	*pid_out = 0;
	err = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &dir_fd);
	if (err)
		return err;
	err = io_open(dir_fd, LOCK_NAME, O_RDONLY, 0, &fd);
	io_close(dir_fd);
	if (err)
		return err;
	err = io_lock_test(fd);
	if (err == 0)
		err = -ENOENT;
	else if (err == -EBUSY)
		err = holder_read(fd, holder_out, size_bytes, pid_out);
	io_close(fd);
	return err;
}

/* ---- mkfs ---- */

enum dir_state {
	DIR_EMPTY,              /* or what an interrupted mkfs left */
	DIR_STORE,
	DIR_HEADLESS,           /* layers, but no manifest that names them */
	DIR_OTHER,
};

static bool is_leftover_of_mkfs(const char *name)
{
	return strcmp(name, LOCK_NAME) == 0 || strcmp(name, "layers") == 0 ||
	       strcmp(name, MANIFEST_NAME ".new") == 0;
}

static int judge_name(void *context, const char *name)
{
	enum dir_state *state = context;

	if (strcmp(name, MANIFEST_NAME) == 0)
		*state = DIR_STORE;
	else if (*state != DIR_STORE && !is_leftover_of_mkfs(name))
		*state = DIR_OTHER;
	return 0;
}

static int count_name(void *context, const char *name)
{
	(void)name;
	++*(unsigned *)context;
	return 0;
}

static int dir_state_get(int dir_fd, enum dir_state *state_out)
{
	unsigned layer_count = 0;
	int err;

	*state_out = DIR_EMPTY;
	err = io_list(dir_fd, ".", judge_name, state_out);
	if (err || *state_out != DIR_EMPTY)
		return err;
	/* mkfs makes the manifest before the first layer: layers without one are
	 * what is left of a history. */
	err = io_list(dir_fd, "layers", count_name, &layer_count);
	if (layer_count)
		*state_out = DIR_HEADLESS;
	return err == -ENOENT ? 0 : err;
}

static int report_headless(const char *path, struct report *report)
{
	return report_set(report, -EUCLEAN,
			  "%s: a store whose file '" MANIFEST_NAME "' is gone; its layers are there: "
			  "restore the file from a backup of the store, or run 'varve check --repair'", path);
}

static bool page_size_is_offered(uint32_t size_bytes)
{
	return size_bytes >= STORE_PAGE_SIZE_MIN && size_bytes <= STORE_PAGE_SIZE_MAX &&
	       (size_bytes & (size_bytes - 1)) == 0;
}

static uint32_t page_size_of(const struct store_mkfs_options *options)
{
	return options->page_size_bytes ? options->page_size_bytes : STORE_PAGE_SIZE_DEFAULT;
}

static int mkfs_in(int dir_fd, const char *path, const struct store_mkfs_options *options,
		   struct report *report)
{
	enum dir_state state;
	int err = dir_state_get(dir_fd, &state);

	if (!err && state == DIR_STORE)
		return report_set(report, -EEXIST,
				  "%s: there is a store already: mount it, or choose another place",
				  path);
	if (!err && state == DIR_HEADLESS)
		return report_headless(path, report);
	if (!err && state == DIR_OTHER)
		return report_set(report, -ENOTEMPTY,
				  "%s: the directory is not empty: choose another place", path);
	if (!err)
		err = engine_create(dir_fd, page_size_of(options),
				    (enum compression)options->compression);
	if (err)
		report_set(report, err, "%s: can't make the store: %s", path, strerror(-err));
	return err;
}

/* Make the first batch. The manifest is there, so this may be repeated by any open. */
static int mkfs_root(const char *path, const struct store_mkfs_options *options,
		     struct report *report)
{
	/* The smallest layer: those that follow have the size the mount asks for. */
	struct store_options open_options = { .holder = "mkfs",
					      .layer_size_bytes = LAYER_SIZE_MIN };
	struct store *store;
	int err = store_open(path, &open_options, report, &store);
	int close_err;

	if (err)
		return err;
	if (options->root_mode || options->root_uid || options->root_gid) {
		struct tree_attr to = {
			.mode = options->root_mode ? options->root_mode : 0755,
			.uid = options->root_uid,
			.gid = options->root_gid,
		};

		err = tree_setattr(store, TREE_ROOT_INO,
				   TREE_SET_MODE | TREE_SET_UID | TREE_SET_GID, &to, &to);
	}
	close_err = store_close(store);
	if (!err)
		err = close_err;
	if (err)
		report_set(report, err, "%s: can't write the first directory: %s", path,
			   strerror(-err));
	return err;
}

static int sync_parent(const char *path)
{
	char *copy = strdup(path), *slash;
	int fd, err;

	if (!copy)
		return -ENOMEM;
	for (size_t end = strlen(copy); end > 1 && copy[end - 1] == '/';)
		copy[--end] = '\0';
	slash = strrchr(copy, '/');
	if (slash)
		slash[slash == copy] = '\0';
	err = io_open(AT_FDCWD, slash ? copy : ".", O_RDONLY | O_DIRECTORY, 0, &fd);
	free(copy);
	if (!err)
		err = io_sync_dir(fd);
	io_close(fd);
	return err;
}

int store_mkfs(const char *path, const struct store_mkfs_options *options, struct report *report)
{
	uint32_t page_size = page_size_of(options);
	int dir_fd, err;

	if (!page_size_is_offered(page_size))
		return report_set(report, -EINVAL,
				  "page size %u: it must be a power of two from %u to %u", page_size,
				  STORE_PAGE_SIZE_MIN, STORE_PAGE_SIZE_MAX);
	if (options->compression > STORE_COMPRESSION_ZSTD)
		return report_set(report, -EINVAL, "no such compression");
	err = io_make_dir(AT_FDCWD, path);
	if (err)
		return report_set(report, err, "%s: can't make the directory: %s", path,
				  strerror(-err));
	err = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &dir_fd);
	if (err == -ENOTDIR)
		return report_set(report, err, "%s: not a directory: choose another place", path);
	if (err)
		return report_set(report, err, "%s: %s", path, strerror(-err));
	err = mkfs_in(dir_fd, path, options, report);
	io_close(dir_fd);
	if (!err)
		err = mkfs_root(path, options, report);
	if (!err)
		err = sync_parent(path);
	return err;
}

/* ---- open, close ---- */

int store_open_dir(struct store *store, const char *path, struct report *report)
{
	enum dir_state state;
	int err;

	err = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &store->dir_fd);
	if (err == -ENOENT)
		return report_set(report, err, "%s: there is no such directory: make a store with "
				  "'varve mkfs %s'", path, path);
	if (err == -ENOTDIR)
		return report_set(report, err, "%s: not a directory, so not a store: check the path",
				  path);
	if (err)
		return report_set(report, err, "%s: %s", path, strerror(-err));
	err = io_resolve(path, &store->path);
	if (err)
		return report_set(report, err, "%s: %s", path, strerror(-err));
	err = dir_state_get(store->dir_fd, &state);
	if (err)
		return report_set(report, err, "%s: %s", path, strerror(-err));
	if (state == DIR_EMPTY)
		return report_set(report, -EMEDIUMTYPE, "%s: empty, or a store that is half made: "
				  "make one with 'varve mkfs %s'", path, path);
	if (state == DIR_HEADLESS)
		return report_headless(path, report);
	if (state == DIR_OTHER)
		return report_set(report, -EMEDIUMTYPE,
				  "%s: not a varve store (it has no file 'manifest'): check the path",
				  path);
	return 0;
}

/* An empty history gets its root now: mkfs was killed before it, or is running. */
static int ensure_root(struct store *store, struct report *report)
{
	uid_t uid;
	gid_t gid;
	int err;

	if (engine_newest(store->engine).value)
		return 0;
	err = io_owner(store->dir_fd, &uid, &gid);
	if (!err)
		err = tree_make_root(store, 0755, uid, gid);
	if (err)
		report_set(report, err, "%s: can't write the root directory: %s", store->path,
			   strerror(-err));
	return err;
}

static uint64_t hash_mask(unsigned bits)
{
	return bits && bits < KEY_INDEX_BITS ? (UINT64_C(1) << bits) - 1 : KEY_INDEX_MAX;
}

void store_stop(struct store *store)
{
	engine_close(store->engine);
	inode_table_free(store->inodes);
	listing_cache_free(store->listings);
	past_attr_cache_free(store->past_attrs);
	extent_cache_free(store->past_extents);
	page_map_cache_free(store->page_maps);
	recent_pages_free(store->recent_pages);
	store->engine = NULL;
	store->inodes = NULL;
	store->listings = NULL;
	store->past_attrs = NULL;
	store->past_extents = NULL;
	store->page_maps = NULL;
	store->recent_pages = NULL;
}

void store_free(struct store *store)
{
	store_stop(store);
	orphans_destroy(&store->orphans);
	pthread_mutex_destroy(&store->rename_lock);
	io_close(store->lock_fd);
	io_close(store->dir_fd);
	free(store->path);
	free(store);
}

static int open_engine(struct store *store, const struct store_options *options,
		       struct report *report)
{
	struct engine_options engine_options = {
		.read_only = options->read_only,
		.memory_bytes = options->memory_bytes,
		.layer_size_bytes = options->layer_size_bytes,
		.freeze_age_ns = options->freeze_age_ns,
		.idle_ns = options->idle_ns,
		.cache_size_bytes = options->cache_size_bytes,
		.table_size_bytes = options->table_size_bytes,
		.fanin_0 = options->fanin_0,
		.fanin = options->fanin,
		.piece_bytes = options->piece_bytes,
		.no_compaction = options->no_compaction,
		.retention = retention_hooks_of(store),
	};
	struct report inner = { "" };
	int err = engine_open(store->dir_fd, &engine_options, &inner, &store->engine);

	if (err)
		return report_set(report, err, "%s: %s", store->path, inner.text);
	store->page_size_bytes = engine_page_size(store->engine);
	atomic_init(&store->ino_next, engine_ino_next(store->engine));
	if (atomic_load(&store->ino_next) <= TREE_ROOT_INO)
		atomic_store(&store->ino_next, TREE_ROOT_INO + 1);
	return 0;
}

struct store *store_new(unsigned name_hash_bits)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->dir_fd = store->lock_fd = -1;
	store->name_hash_mask = hash_mask(name_hash_bits);
	store->drop_tombstones = EDITOR_TOMBSTONES_MAX;
	orphans_init(&store->orphans);
	pthread_mutex_init(&store->rename_lock, NULL);
	return store;
}

int store_start(struct store *store, const struct store_options *options, struct report *report)
{
	int err = inode_table_create(&store->inodes);

	if (options->drop_tombstones && options->drop_tombstones < EDITOR_TOMBSTONES_MAX)
		store->drop_tombstones = options->drop_tombstones;
	if (!err)
		err = listing_cache_create(&store->listings);
	if (!err)
		err = past_attr_cache_create(&store->past_attrs);
	if (!err)
		err = extent_cache_create(&store->past_extents);
	if (!err)
		err = page_map_cache_create(&store->page_maps);
	if (!err)
		err = open_engine(store, options, report);
	if (!err)
		err = recent_pages_create(store->page_size_bytes,
					  engine_recent_bytes(store->engine), &store->recent_pages);
	return err;
}

int store_open(const char *path, const struct store_options *options, struct report *report,
	       struct store **store_out)
{
	struct store *store = store_new(options->name_hash_bits);
	int err;

	*store_out = NULL;
	if (!store)
		return report_set(report, -ENOMEM, "%s: not enough memory", path);
	err = store_open_dir(store, path, report);
	if (!err)
		err = store_lock(store, options->holder, report);
	if (!err)
		err = store_start(store, options, report);
	if (!err && !options->read_only)
		err = ensure_root(store, report);
	if (err) {
		if (report && !report->text[0])
			report_set(report, err, "%s: can't open the store: %s", path,
				   strerror(-err));
		store_free(store);
		return err;
	}
	*store_out = store;
	return 0;
}

int store_close(struct store *store)
{
	int err;

	if (!store)
		return 0;
	err = engine_close(store->engine);
	store->engine = NULL;
	store_free(store);
	return err;
}

int store_sync(struct store *store, struct lsn *lsn_out)
{
	struct lsn lsn;
	int err = engine_sync(store->engine, &lsn);

	if (lsn_out)
		*lsn_out = lsn;
	return err;
}

int store_freeze(struct store *store)
{
	return engine_freeze(store->engine);
}

int store_window_set(struct store *store, const struct store_window *limits)
{
	struct engine_window window = { limits->time_ns, limits->bytes };

	return engine_window_set(store->engine, &window);
}

void store_window_limits(struct store *store, struct store_window *limits_out)
{
	struct engine_window window;

	engine_window_get(store->engine, &window);
	*limits_out = (struct store_window){ window.time_ns, window.bytes };
}

int store_pin(struct store *store, struct lsn lsn)
{
	return engine_pin(store->engine, lsn);
}

void store_unpin(struct store *store, struct lsn lsn)
{
	engine_unpin(store->engine, lsn);
}

int store_compact(struct store *store)
{
	return engine_compact(store->engine);
}

void store_end_waits(struct store *store)
{
	engine_end_waits(store->engine);
}

int store_collect(struct store *store, bool dry, struct store_gc *gc_out)
{
	struct engine_gc gc;
	int err = engine_gc(store->engine, dry, &gc);

	_Static_assert(sizeof(gc.pins) == sizeof(gc_out->pins), "the same pins");
	*gc_out = (struct store_gc){
		.dropped_versions = gc.dropped_versions,
		.dropped_bytes = gc.dropped_bytes,
		.bytes_before = gc.bytes_before,
		.bytes_after = gc.written_bytes,
		.pin_count = gc.pin_count,
	};
	for (uint32_t i = 0; i < gc.pin_count; i++)
		gc_out->pins[i] = (struct store_gc_pin){ gc.pins[i].lsn, gc.pins[i].bytes };
	return err;
}

void store_window(struct store *store, struct lsn *oldest_out, struct lsn *newest_out)
{
	*oldest_out = engine_oldest(store->engine);
	*newest_out = engine_newest(store->engine);
}

int store_lsn_time(struct store *store, struct lsn lsn, int64_t *time_ns_out)
{
	return engine_lsn_time(store->engine, lsn, time_ns_out);
}

bool store_can_read(struct store *store, struct lsn at)
{
	return at.value <= engine_newest(store->engine).value && engine_is_kept(store->engine, at);
}

const char *store_path(const struct store *store)
{
	return store->path;
}

uint32_t store_page_size(const struct store *store)
{
	return store->page_size_bytes;
}

/* ---- numbers ---- */

static void id_to_text(const uint8_t id[16], char text_out[37])
{
	static const char digits[] = "0123456789abcdef";
	char *at = text_out;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[id[i] >> 4];
		*at++ = digits[id[i] & 15];
	}
	*at = '\0';
}

void store_usage_get(struct store *store, struct store_usage *usage_out)
{
	struct engine_usage usage;

	engine_usage_get(store->engine, &usage);
	*usage_out = (struct store_usage){
		.page_size_bytes = store->page_size_bytes,
		.format_version = MANIFEST_FORMAT_VERSION,
		.read_only = usage.read_only,
		.oldest = usage.oldest,
		.newest = usage.newest,
		.durable = usage.durable,
		.layer_count = usage.layer_count,
		.sealed_bytes = usage.sealed_bytes,
		.inode_next = atomic_load(&store->ino_next),
		.arena_capacity_bytes = usage.arena_capacity_bytes,
		.arena_used_bytes = usage.arena_used_bytes,
		.arena_dirty_bytes = usage.arena_dirty_bytes,
		.arena_framing_bytes = usage.arena_held_bytes[ARENA_FRAMING],
		.arena_attr_bytes = usage.arena_held_bytes[ARENA_ATTR],
		.arena_name_bytes = usage.arena_held_bytes[ARENA_NAME],
		.arena_image_bytes = usage.arena_held_bytes[ARENA_IMAGE],
		.arena_patch_bytes = usage.arena_held_bytes[ARENA_PATCH],
		.index_bytes = usage.index_bytes,
		.cache_bytes = usage.cache_bytes,
		.cache_waiting_bytes = usage.cache_waiting_bytes,
		.memory_bytes = usage.memory_bytes,
		.cache_budget_bytes = usage.cache_budget_bytes,
		.recent_bytes = engine_recent_bytes(store->engine),
		.view_bytes = usage.view_bytes,
		.merge_bytes = usage.merge_bytes,
		.layer_size_bytes = usage.layer_size_bytes,
		.frozen_max = usage.frozen_max,
		.version_count = usage.version_count,
		.commit_count = usage.commit_count,
		.sync_count = usage.sync_count,
		.flush_count = usage.flush_count,
		.flush_range_count = usage.flush_range_count,
		.flush_bytes = usage.flush_bytes,
		.freeze_count = usage.freeze_count,
		.run_count = usage.run_count,
		.run_limit = usage.run_limit,
		.level_0_count = usage.level_0_count,
		.level_0_free = usage.level_0_free,
		.level_0_limit = usage.level_0_limit,
		.patch_limit = usage.patch_limit,
		.merge_count = usage.merge_count,
		.compaction_error = usage.compaction_error,
		.table_count = usage.table_count,
		.table_bytes = usage.table_bytes,
		.merge_read_bytes = usage.merge_read_bytes,
		.merge_written_bytes = usage.merge_written_bytes,
		.piece_count = usage.piece_count,
		.gc_dropped_versions = usage.gc_dropped_versions,
		.gc_dropped_bytes = usage.gc_dropped_bytes,
		.paced_ns = usage.paced_ns,
		.window = { usage.window.time_ns, usage.window.bytes },
		.pin_count = usage.pin_count,
	};
	id_to_text(engine_identity(store->engine)->id, usage_out->id);
}

static void usage_from_manifest(const struct manifest *manifest, struct store_usage *usage)
{
	usage->page_size_bytes = manifest->store.page_size_bytes;
	usage->format_version = manifest->format_version;
	usage->newest = usage->durable = manifest->durable;
	id_to_text(manifest->store.id, usage->id);
	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];
		const struct table_summary *layers = manifest_run_layers(run);

		usage->sealed_bytes += run->file_bytes;
		for (uint32_t j = 0; j < run->layer_count; j++)
			usage->sealed_bytes += layers[j].file_bytes;
		if (run->end.value > usage->newest.value)
			usage->newest = run->end;
	}
	usage->layer_count = manifest_layer_count(manifest);
}

int store_peek(const char *path, struct store_usage *usage_out, struct report *report)
{
	struct store store = { .dir_fd = -1 };
	struct manifest manifest;
	struct report inner = { "" };
	int err;

	memset(usage_out, 0, sizeof(*usage_out));
	err = store_open_dir(&store, path, report);
	if (!err) {
		err = manifest_open(&manifest, store.dir_fd, false, &inner);
		if (err) {
			report_set(report, err, "%s: %s", path, inner.text);
		} else {
			usage_from_manifest(&manifest, usage_out);
			manifest_close(&manifest);
		}
	}
	io_close(store.dir_fd);
	free(store.path);
	return err;
}
