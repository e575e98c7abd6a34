/*
 * Layer picture: the layer map as SVG, the keys across, the history down, the newest on top as in
 * sediment. Pure: no store, no I/O.
 *
 * Neither axis is to scale. Keys are spread by rank: each range between two bounds of layers is as
 * wide as the next, or a directory of small files would vanish beside one large one. Of
 * the history, each stretch between two ends of runs is as high as the root of its bytes.
 *
 * Layers too thin to be seen apart are drawn as one, striped and with their number, so that a picture of a
 * million layers is no larger than PICTURE_BYTES_MAX.
 */
#ifndef VARVE_FS_LAYER_PICTURE_H
#define VARVE_FS_LAYER_PICTURE_H

#include <stddef.h>

#include "store.h"

struct layer_picture {
	const char *title;              /* UTF-8 or not, any bytes */
	const struct store_layer *layers;       /* as store_each_layer has them: run by run, by key within one */
	size_t layer_count;
	struct lsn oldest, newest;      /* what can be read */
	const struct lsn *pins;         /* ascending */
	size_t pin_count;
};

#define PICTURE_BYTES_MAX (2u << 20)

/* NUL-terminated, for free; NULL: no memory. */
char *layer_picture_svg(const struct layer_picture *picture);

#endif
