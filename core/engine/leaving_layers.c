/*
 * Leaving layers: those that a merge has put out of the map. No map leads to them and no guard sees them, so they are
 * freed and their files removed; but while somebody holds them, who looks at files and not at the map, they live on, in
 * the order in which they left.
 */
#include "compact.h"
#include "engine_internal.h"
#include "io.h"

static void remove_layer(struct engine *engine, struct layer *layer)
{
	char name[LAYER_NAME_BYTES];

	layer_name(layer->id, name);
	engine_free_layer(layer);
	(void)io_unlink(engine->layers_fd, name);
}

void compactor_hold(struct compactor *compactor)
{
	pthread_mutex_lock(&compactor->lock);
	compactor->hold_count++;
	pthread_mutex_unlock(&compactor->lock);
}

void compactor_remove_layer(struct engine *engine, struct layer *layer)
{
	struct compactor *compactor = &engine->compactor;
	bool held;

	pthread_mutex_lock(&compactor->lock);
	held = compactor->hold_count > 0;
	if (held) {
		layer->next_held = NULL;
		*compactor->held_end = layer;
		compactor->held_end = &layer->next_held;
	}
	pthread_mutex_unlock(&compactor->lock);
	if (!held)
		remove_layer(engine, layer);
}

void compactor_release(struct engine *engine)
{
	struct compactor *compactor = &engine->compactor;
	struct layer *layer = NULL;

	pthread_mutex_lock(&compactor->lock);
	if (--compactor->hold_count == 0) {
		layer = compactor->held;
		compactor->held = NULL;
		compactor->held_end = &compactor->held;
	}
	pthread_mutex_unlock(&compactor->lock);
	while (layer) {
		struct layer *next = layer->next_held;

		remove_layer(engine, layer);
		layer = next;
	}
}
