#include "state_files.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "expire.h"
#include "front.h"
#include "layer_picture.h"
#include "lsn.h"
#include "stats.h"
#include "store.h"
#include "text.h"
#include "window_text.h"

/* A stat shows what was made so lately, if nothing was written since. */
#define FRESH_NS 100000000
/* An open shows what was made for a stat so lately. */
#define TOLD_NS 1000000000

struct snapshot {
	atomic_uint ref_count;
	int64_t made_ns;        /* CLOCK_MONOTONIC */
	struct lsn newest;      /* before it was made */
	struct timespec time;
	size_t size;
	char *bytes;
};

/* So many threads wait for a file that is made for the first time; more would leave none for anything else. */
#define WAITERS_MAX 4

struct state_files {
	struct state {
		pthread_mutex_t mutex; /* guards what follows */
		pthread_cond_t made;
		bool making; /* by one, who has let go of the mutex: many who look make it once */
		unsigned waiters;
		unsigned forgotten; /* how often what there was went out of date at once */
		struct snapshot *last;
	} files[STATE_FILE_COUNT];
};

static int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int state_files_open(struct state_files **files_out)
{
	struct state_files *files = calloc(1, sizeof(*files));

	*files_out = files;
	for (unsigned i = 0; files && i < STATE_FILE_COUNT; i++) {
		pthread_mutex_init(&files->files[i].mutex, NULL);
		pthread_cond_init(&files->files[i].made, NULL);
	}
	return files ? 0 : -ENOMEM;
}

void state_files_close(struct state_files *files)
{
	for (unsigned i = 0; files && i < STATE_FILE_COUNT; i++) {
		snapshot_close(files->files[i].last);
		pthread_mutex_destroy(&files->files[i].mutex);
		pthread_cond_destroy(&files->files[i].made);
	}
	free(files);
}

void snapshot_close(struct snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub(&snapshot->ref_count, 1) > 1)
		return;
	free(snapshot->bytes);
	free(snapshot);
}

const char *snapshot_bytes(const struct snapshot *snapshot, size_t *size_out)
{
	*size_out = snapshot->size;
	return snapshot->bytes;
}

/*
 * What they hold. Each is a string for free, or NULL for want of memory.
 */

static char *make_stats(const struct front *front)
{
	json_t *stats = stats_json(front);
	char *dump = stats ? json_dumps(stats, JSON_INDENT(2)) : NULL, *text = NULL;

	if (dump && asprintf(&text, "%s\n", dump) < 0)
		text = NULL;
	free(dump);
	json_decref(stats);
	return text;
}

static char *make_metrics(const struct front *front)
{
	json_t *stats = stats_json(front);
	char *text = stats_metrics(stats);

	json_decref(stats);
	return text;
}

static const char *time_of(struct store *store, struct lsn lsn, char out[TEXT_TIME_MAX])
{
	int64_t time_ns;

	return store_lsn_time(store, lsn, &time_ns) == 0 ? text_time(time_ns, out) : "an unknown time";
}

static char *make_window(const struct front *front)
{
	char limits[WINDOW_TEXT_MAX], from[TEXT_TIME_MAX], to[TEXT_TIME_MAX], *text;
	struct store_window window;
	struct lsn oldest, newest;

	store_window_limits(front->store, &window);
	store_window(front->store, &oldest, &newest);
	if (asprintf(&text,
		     "%s\n"
		     "# readable: LSN %" PRIu64 " of %s\n"
		     "#       to: LSN %" PRIu64 " of %s\n"
		     "# Write a line like the first to change it; 'varve help window' tells more.\n",
		     window_format(&window, limits), oldest.value,
		     time_of(front->store, oldest, from), newest.value,
		     time_of(front->store, newest, to)) < 0)
		return NULL;
	return text;
}

/* All layers and pins, for the picture. */
struct gathered {
	struct store_layer *layers;
	size_t layer_count, layer_room;
	struct lsn *pins;
	size_t pin_count, pin_room;
};

/* Room for one more; false: no memory. */
static bool grow(void **items, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? 2 * *room : 64;
	void *grown;

	if (count < *room)
		return true;
	grown = reallocarray(*items, wanted, size);
	if (!grown)
		return false;
	*items = grown;
	*room = wanted;
	return true;
}

static int gather_layer(void *context, const struct store_layer *layer)
{
	struct gathered *g = context;

	if (!grow((void **)&g->layers, g->layer_count, &g->layer_room, sizeof(*g->layers)))
		return -ENOMEM;
	g->layers[g->layer_count++] = *layer;
	return 0;
}

static int gather_pin(void *context, struct lsn lsn, uint32_t count)
{
	struct gathered *g = context;

	if (!grow((void **)&g->pins, g->pin_count, &g->pin_room, sizeof(*g->pins)))
		return -ENOMEM;
	g->pins[g->pin_count++] = lsn;
	return 0;
}

static char *make_layers(const struct front *front)
{
	struct layer_picture picture = {.title = store_path(front->store)};
	struct gathered g = {0};
	char *text = NULL;

	store_window(front->store, &picture.oldest, &picture.newest);
	if (store_each_layer(front->store, gather_layer, &g) == 0 &&
	    store_each_pin(front->store, gather_pin, &g) == 0) {
		picture.layers = g.layers;
		picture.layer_count = g.layer_count;
		picture.pins = g.pins;
		picture.pin_count = g.pin_count;
		text = layer_picture_svg(&picture);
	}
	free(g.layers);
	free(g.pins);
	return text;
}

/*
 * When they are made
 */

static struct lsn newest_of(const struct front *front)
{
	struct lsn oldest, newest;

	store_window(front->store, &oldest, &newest);
	return newest;
}

static struct snapshot *snapshot_make(const struct front *front, enum state_file file)
{
	static char *(*const make[STATE_FILE_COUNT])(const struct front *) = {
		[STATE_STATS] = make_stats,
		[STATE_METRICS] = make_metrics,
		[STATE_WINDOW] = make_window,
		[STATE_LAYERS] = make_layers,
	};
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	atomic_store(&snapshot->ref_count, 1);
	snapshot->newest = newest_of(front);
	snapshot->bytes = make[file](front);
	if (!snapshot->bytes) {
		free(snapshot);
		return NULL;
	}
	snapshot->size = strlen(snapshot->bytes);
	snapshot->made_ns = clock_ns();
	clock_gettime(CLOCK_REALTIME, &snapshot->time);
	return snapshot;
}

static bool is_good_for_stat(const struct front *front, const struct snapshot *snapshot)
{
	return clock_ns() - snapshot->made_ns <= FRESH_NS &&
	       snapshot->newest.value == newest_of(front).value;
}

static bool is_good_for_open(const struct front *front, const struct snapshot *snapshot)
{
	return clock_ns() - snapshot->made_ns <= TOLD_NS;
}

/* Make a new one. The mutex is held; released meanwhile. *made_out is the caller's. */
static int snapshot_renew(const struct front *front, enum state_file file, struct snapshot **made_out)
{
	struct state *state = &front->state_files->files[file];
	unsigned forgotten = state->forgotten;
	struct snapshot *made;

	state->making = true;
	pthread_mutex_unlock(&state->mutex);
	made = snapshot_make(front, file);
	pthread_mutex_lock(&state->mutex);
	state->making = false;
	if (made && forgotten == state->forgotten) {
		snapshot_close(state->last);
		state->last = made;
		atomic_fetch_add(&made->ref_count, 1);
	}
	pthread_cond_broadcast(&state->made);
	*made_out = made;
	return made ? 0 : -ENOMEM;
}

/* The last one if it is good, else a new one; while that is made by another, for which all of a tree may be walked,
 * the last one if there is any. -EBUSY: too many wait for the first. */
static int snapshot_get(const struct front *front, enum state_file file,
			bool is_good(const struct front *, const struct snapshot *),
			struct snapshot **snapshot_out)
{
	struct state *state = &front->state_files->files[file];
	int err = 0;

	*snapshot_out = NULL;
	pthread_mutex_lock(&state->mutex);
	while (state->making && !state->last && !err) {
		if (state->waiters == WAITERS_MAX) {
			err = -EBUSY;
			break;
		}
		state->waiters++;
		pthread_cond_wait(&state->made, &state->mutex);
		state->waiters--;
	}
	if (!err && !state->making && (!state->last || !is_good(front, state->last))) {
		err = snapshot_renew(front, file, snapshot_out);
	} else if (!err) {
		*snapshot_out = state->last;
		atomic_fetch_add(&state->last->ref_count, 1);
	}
	pthread_mutex_unlock(&state->mutex);
	return err;
}

int state_file_stat(const struct front *front, enum state_file file, struct stat *stat)
{
	struct snapshot *snapshot;
	int err = snapshot_get(front, file, is_good_for_stat, &snapshot);

	if (err)
		return err;
	stat->st_size = (off_t)snapshot->size;
	stat->st_mtim = stat->st_ctim = stat->st_atim = snapshot->time;
	snapshot_close(snapshot);
	return 0;
}

int state_file_open(const struct front *front, enum state_file file, struct snapshot **snapshot_out)
{
	return snapshot_get(front, file, is_good_for_open, snapshot_out);
}

static void forget_last(struct state *state)
{
	pthread_mutex_lock(&state->mutex);
	snapshot_close(state->last);
	state->last = NULL;
	state->forgotten++;
	pthread_mutex_unlock(&state->mutex);
}

bool state_file_is_writable(enum state_file file)
{
	return file == STATE_WINDOW;
}

int state_file_write(const struct front *front, enum state_file file, const char *bytes,
		     size_t size_bytes)
{
	struct store_window window;
	int err;

	if (!state_file_is_writable(file))
		return -EPERM;
	store_window_limits(front->store, &window);
	if (!window_parse(bytes, size_bytes, &window))
		return -EINVAL;
	err = store_window_set(front->store, &window);
	for (unsigned i = 0; i < STATE_FILE_COUNT; i++)
		forget_last(&front->state_files->files[i]);
	expire_soon(front->expire);
	return err;
}
