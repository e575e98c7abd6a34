#include "operation.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "info.h"
#include "key.h"
#include "store.h"
#include "tree.h"

const char operation_names[] = "window, gc, compact, layers, layer and page";

struct operation {
	struct store *store;
	const json_t *request;
	const struct operation_sink *sink;
	struct report *report;
	uint64_t count; /* objects added by a walk */
};

static int add(const struct operation *o, json_t *object)
{
	return o->sink->add(o->sink->context, object);
}

static bool has_number(const struct operation *o, const char *name, uint64_t *value_out)
{
	const json_t *value = json_object_get(o->request, name);

	*value_out = (uint64_t)json_integer_value(value);
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static int wants(const struct operation *o, const char *what)
{
	return report_set(o->report, -EINVAL, "\"%s\" wants %s",
			  json_string_value(json_object_get(o->request, "op")), what);
}

/* In words, with the cure. */
static int failed(const struct operation *o, int err)
{
	switch (err) {
	case -EROFS:
		return report_set(o->report, err, "the store takes no changes: it is mounted with 'ro', "
				  "or a sync failed; unmount it, and mount it again");
	case -ENOSPC:
	case -EDQUOT:
		return report_set(o->report, err, "the store's disk is full: merging needs room for what "
				  "it writes before it can remove what it read; free some");
	case -ESHUTDOWN:
		return report_set(o->report, err, "the mount came to its end; what was merged up to then stays");
	case -EBADMSG:
	case -EUCLEAN:
		return report_set(o->report, err, "a layer is damaged; 'varve check' tells which, and what "
				  "can be read all the same");
	default:
		return report_set(o->report, err, "%s", strerror(-err));
	}
}

/*
 * The window
 */

/* The limit that the request has under @name, if it has one. */
static int take_limit(const struct operation *o, const char *name, uint64_t *limit, bool *set)
{
	uint64_t value;

	if (!json_object_get(o->request, name))
		return 0;
	if (!has_number(o, name, &value))
		return wants(o, "numbers, if any, as \"time_ns\" and \"bytes\"");
	*limit = value;
	*set = true;
	return 0;
}

static int window_op(struct operation *o)
{
	struct store_window window;
	bool set = false;
	int err;

	store_window_limits(o->store, &window);
	err = take_limit(o, "time_ns", &window.time_ns, &set);
	if (!err)
		err = take_limit(o, "bytes", &window.bytes, &set);
	if (err)
		return err;
	if (set)
		err = store_window_set(o->store, &window);
	if (err)
		return failed(o, err);
	return add(o, json_pack("{s:o}", "window", info_window(o->store)));
}

/*
 * What takes long: the store does it on one thread while this one tells how it gets on
 */

#define TELL_PERIOD_NS 200000000

struct work {
	struct store *store;
	bool collect, dry; /* else compact */
	struct store_gc gc;
	pthread_mutex_t mutex;
	pthread_cond_t ended; /* CLOCK_MONOTONIC */
	bool has_ended; /* under mutex, as the next */
	int err;
};

static void *work_run(void *argument)
{
	struct work *work = argument;
	int err = work->collect ? store_collect(work->store, work->dry, &work->gc)
				: store_compact(work->store);

	pthread_mutex_lock(&work->mutex);
	work->err = err;
	work->has_ended = true;
	pthread_cond_signal(&work->ended);
	pthread_mutex_unlock(&work->mutex);
	return NULL;
}

static uint64_t disk_bytes(const struct store_usage *usage)
{
	return usage->sealed_bytes + usage->table_bytes;
}

static void tell(const struct operation *o, const char *name, uint64_t bytes)
{
	o->sink->tell(o->sink->context, json_pack("{s:I}", name, (json_int_t)bytes));
}

/* Is it over? Waits a moment for it. */
static bool work_wait(struct work *work)
{
	struct timespec until;
	bool has_ended;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TELL_PERIOD_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&work->mutex);
	if (!work->has_ended)
		pthread_cond_timedwait(&work->ended, &work->mutex, &until);
	has_ended = work->has_ended;
	pthread_mutex_unlock(&work->mutex);
	return has_ended;
}

static void work_follow(const struct operation *o, struct work *work, struct store_usage *usage)
{
	uint64_t told = usage->merge_read_bytes;

	tell(o, "begin", disk_bytes(usage) + usage->arena_used_bytes);
	while (!work_wait(work)) {
		store_usage_get(o->store, usage);
		if (usage->merge_read_bytes > told)
			tell(o, "bytes", usage->merge_read_bytes - told);
		told = usage->merge_read_bytes;
	}
}

static int work_do(const struct operation *o, struct work *work)
{
	struct store_usage usage;
	pthread_condattr_t monotonic;
	pthread_t thread;
	int err;

	store_usage_get(o->store, &usage);
	pthread_mutex_init(&work->mutex, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&work->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	err = -pthread_create(&thread, NULL, work_run, work);
	if (!err) {
		work_follow(o, work, &usage);
		pthread_join(thread, NULL);
		err = work->err;
	}
	pthread_cond_destroy(&work->ended);
	pthread_mutex_destroy(&work->mutex);
	return err ? failed(o, err) : 0;
}

static int gc_op(struct operation *o)
{
	bool dry = json_is_true(json_object_get(o->request, "dry_run"));
	struct work *work = calloc(1, sizeof(*work));
	int err;

	if (!work)
		return failed(o, -ENOMEM);
	*work = (struct work){.store = o->store, .collect = true, .dry = dry};
	err = work_do(o, work);
	if (!err)
		err = add(o, json_pack("{s:o}", "gc", info_gc(&work->gc, dry)));
	free(work);
	return err;
}

static int compact_op(struct operation *o)
{
	struct work *work = calloc(1, sizeof(*work));
	struct store_usage before, after;
	int err;

	if (!work)
		return failed(o, -ENOMEM);
	*work = (struct work){.store = o->store};
	store_usage_get(o->store, &before);
	err = work_do(o, work);
	store_usage_get(o->store, &after);
	if (!err)
		err = add(o, json_pack("{s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "compact",
				       "bytes_before",
				       (json_int_t)(disk_bytes(&before) + before.arena_used_bytes),
				       "bytes_after",
				       (json_int_t)(disk_bytes(&after) + after.arena_used_bytes),
				       "runs_before", (json_int_t)before.run_count, "runs_after",
				       (json_int_t)after.run_count, "dropped_versions",
				       (json_int_t)(after.gc_dropped_versions -
						    before.gc_dropped_versions),
				       "dropped_bytes",
				       (json_int_t)(after.gc_dropped_bytes -
						    before.gc_dropped_bytes)));
	free(work);
	return err;
}

/*
 * Walks
 */

static int add_layer(void *context, const struct store_layer *layer)
{
	struct operation *o = context;

	o->count++;
	return o->sink->stops(o->sink->context)
		       ? -ESHUTDOWN
		       : add(o, json_pack("{s:o}", "layer", info_layer(layer)));
}

static int add_version(void *context, const struct store_version *version)
{
	struct operation *o = context;

	o->count++;
	return o->sink->stops(o->sink->context)
		       ? -ESHUTDOWN
		       : add(o, json_pack("{s:o}", "version", info_version(version)));
}

static int walk_end(struct operation *o, int err)
{
	if (err)
		return failed(o, err);
	return add(o, json_pack("{s:I}", "count", (json_int_t)o->count));
}

static int layers_op(struct operation *o)
{
	return walk_end(o, store_each_layer(o->store, add_layer, o));
}

static int layer_op(struct operation *o)
{
	uint64_t id;
	int err;

	if (!has_number(o, "id", &id))
		return wants(o, "a number \"id\"");
	err = store_each_version_of_layer(o->store, id, add_version, o);
	if (err == -ENOENT)
		return report_set(o->report, err, "there is no layer %llu (any more); 'varve dump STORE' "
				  "lists them", (unsigned long long)id);
	return walk_end(o, err);
}

/* The inode at @path, from the root of the tree at head. */
static int resolve(const struct operation *o, const char *path, uint64_t *ino_out)
{
	struct tree_attr attr;
	int err = 0;

	*ino_out = TREE_ROOT_INO;
	while (!err && *(path += strspn(path, "/"))) {
		size_t length = strcspn(path, "/");
		char *name = strndup(path, length);

		err = name ? tree_lookup(o->store, *ino_out, name, LSN_HEAD, &attr) : -ENOMEM;
		if (!err)
			*ino_out = attr.ino;
		path += length;
		free(name);
	}
	return err;
}

static int page_op(struct operation *o)
{
	const char *path = json_string_value(json_object_get(o->request, "path"));
	uint64_t ino, block;
	int err;

	if (!has_number(o, "block", &block) || block > KEY_INDEX_MAX || (!has_number(o, "inode", &ino) && !path))
		return wants(o, "a number \"block\" below 2^56, and a number \"inode\" or a string \"path\"");
	if (path) {
		err = resolve(o, path, &ino);
		if (err)
			return report_set(o->report, err, "%s: %s; name a path in a mount, or one from the "
					  "root of the tree at head", path, strerror(-err));
	}
	return walk_end(o, store_each_version_of_page(o->store, ino, block, add_version, o));
}

int operation_run(struct store *store, const json_t *request, const struct operation_sink *sink,
		  struct report *report)
{
	static const struct {
		const char *name;
		int (*run)(struct operation *);
	} all[] = {{"window", window_op}, {"gc", gc_op},       {"compact", compact_op},
		   {"layers", layers_op}, {"layer", layer_op}, {"page", page_op}};
	const char *name = json_string_value(json_object_get(request, "op"));
	struct operation o = {store, request, sink, report, 0};

	for (size_t i = 0; name && i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(all[i].name, name) == 0)
			return all[i].run(&o);
	}
	return 1;
}
