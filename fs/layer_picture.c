#include "layer_picture.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "text.h"

/* The page and, within it, the plot. */
#define PAGE_WIDTH 1280
#define PAGE_HEIGHT 860
#define PLOT_LEFT 150
#define PLOT_TOP 84
#define PLOT_WIDTH 880
#define PLOT_HEIGHT 620
#define PLOT_RIGHT (PLOT_LEFT + PLOT_WIDTH)
#define PLOT_BOTTOM (PLOT_TOP + PLOT_HEIGHT)

#define RECTANGLE_MAX 4000      /* less than 400 bytes each */
#define BAND_MIN 2.0            /* the least height of what is drawn by itself */
#define LOST_MIN 4.0            /* ... and of what is lost */
#define LABEL_GAP 14.0          /* between two lines of text */
#define PIN_MAX 64              /* pins drawn; more are only counted */
#define TICK_COUNT 6            /* keys named below the plot */
#define TICK_ROOM 280           /* the last one's words end at its tick: the one before needs so much */

enum { KIND_COUNT = STORE_LAYER_LOST + 1 };

static const struct {
	const char *name, *colour, *meaning;
} kinds[KIND_COUNT] = {
	/* Okabe and Ito's palette, which the colour-blind can tell apart. */
	[STORE_LAYER_OPEN] = {"open", "#e69f00", "takes what is written"},
	[STORE_LAYER_SEALED] = {"sealed", "#56b4e9", "in the order of the log"},
	[STORE_LAYER_DELTA] = {"delta", "#0072b2", "by key, several versions of each"},
	[STORE_LAYER_IMAGE] = {"image", "#009e73", "by key, one version of each"},
	[STORE_LAYER_LOST] = {"lost", "#d55e00", "its file is gone"},
};

/* Runs that are drawn as one: a run, or several that are too thin. */
struct band {
	size_t first, count;            /* of the layers */
	unsigned run_count;
	double top, bottom;
	uint64_t file_bytes;
};

struct drawing {
	const struct layer_picture *picture;
	FILE *out;
	struct store_key *keys;         /* bounds of layers by key, ascending, each once */
	size_t key_count;
	uint64_t *lsns;                 /* ends of runs, ascending, each once */
	double *heights;                /* of each of them, from the bottom of the plot */
	size_t lsn_count;
	struct band *bands;             /* from the oldest */
	size_t band_count;
	double width_min;               /* of what is drawn by itself */
};

/*
 * Axes
 */

static int compare_keys(const void *a_, const void *b_)
{
	const struct store_key *a = a_, *b = b_;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int compare_numbers(const void *a_, const void *b_)
{
	uint64_t a = *(const uint64_t *)a_, b = *(const uint64_t *)b_;

	return a < b ? -1 : a > b;
}

/* Drop what equals its neighbour; how many are left. */
static size_t unique(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
	char *bytes = items;
	size_t kept = 0;

	qsort(items, count, size, compare);
	for (size_t i = 0; i < count; i++) {
		if (kept && compare(bytes + (kept - 1) * size, bytes + i * size) == 0)
			continue;
		memmove(bytes + kept * size, bytes + i * size, size);
		kept++;
	}
	return kept;
}

static bool is_by_key(const struct store_layer *layer)
{
	return layer->kind == STORE_LAYER_DELTA || layer->kind == STORE_LAYER_IMAGE;
}

static void axes_fill(struct drawing *d)
{
	const struct layer_picture *picture = d->picture;
	double total = 0, reached = 0;

	for (size_t i = 0; i < picture->layer_count; i++) {
		const struct store_layer *layer = &picture->layers[i];

		if (is_by_key(layer)) {
			d->keys[d->key_count++] = layer->first;
			d->keys[d->key_count++] = layer->last;
		}
		d->lsns[d->lsn_count++] = layer->start.value;
		d->lsns[d->lsn_count++] = layer->end.value;
	}
	d->lsns[d->lsn_count++] = 0;
	d->lsns[d->lsn_count++] = picture->newest.value;
	d->key_count = unique(d->keys, d->key_count, sizeof(*d->keys), compare_keys);
	d->lsn_count = unique(d->lsns, d->lsn_count, sizeof(*d->lsns), compare_numbers);
	for (size_t i = 1; i < d->lsn_count; i++)
		total += sqrt((double)(d->lsns[i] - d->lsns[i - 1]));
	for (size_t i = 1; i < d->lsn_count; i++) {
		reached += sqrt((double)(d->lsns[i] - d->lsns[i - 1]));
		d->heights[i] = PLOT_HEIGHT * reached / total;
	}
}

static double y_of(const struct drawing *d, uint64_t lsn)
{
	size_t low = 0, high = d->lsn_count - 1;
	double part;

	if (lsn >= d->lsns[high])
		return PLOT_BOTTOM - d->heights[high];
	/* lsns[low] <= lsn < lsns[high] */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (d->lsns[middle] <= lsn)
			low = middle;
		else
			high = middle;
	}
	part = (double)(lsn - d->lsns[low]) / (double)(d->lsns[high] - d->lsns[low]);
	return PLOT_BOTTOM - d->heights[low] - part * (d->heights[high] - d->heights[low]);
}

/* Each bound has a place of its own, so that a layer of one key has a width as well. */
static double x_of(const struct drawing *d, struct store_key key, bool behind)
{
	const struct store_key *found =
		bsearch(&key, d->keys, d->key_count, sizeof(*d->keys), compare_keys);
	size_t rank = found ? (size_t)(found - d->keys) : 0;

	return PLOT_LEFT + (double)PLOT_WIDTH * (double)(rank + behind) / (double)d->key_count;
}

/*
 * Bands
 */

static void band_add_run(struct drawing *d, struct band *band, size_t first, size_t count)
{
	const struct store_layer *layers = d->picture->layers;

	if (!band->run_count++) {
		band->first = first;
		band->bottom = y_of(d, layers[first].start.value);
	}
	band->count = first + count - band->first;
	band->top = y_of(d, layers[first].end.value);
	for (size_t i = first; i < first + count; i++)
		band->file_bytes += layers[i].file_bytes;
}

static void bands_fill(struct drawing *d)
{
	const struct store_layer *layers = d->picture->layers;
	size_t count = d->picture->layer_count, first = 0;

	while (first < count) {
		size_t end = first + 1;
		struct band *band = &d->bands[d->band_count];

		while (end < count && layers[end].run_id == layers[first].run_id)
			end++;
		band_add_run(d, band, first, end - first);
		/* Runs of a merge under way lie over the one they go to: each by itself. */
		if (band->bottom - band->top >= BAND_MIN || end == count || layers[end].merging)
			d->band_count++;
		first = end;
	}
	d->width_min = (double)PLOT_WIDTH * (double)d->band_count / RECTANGLE_MAX;
	if (d->width_min < 1)
		d->width_min = 1;
}

/*
 * Drawing
 */

/* Text from outside: what XML would trip over is replaced. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '<' || *text == '>' || *text == '&' || *text == '"')
			fprintf(out, "&#%d;", *text);
		else
			putc((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e ? '?' : *text, out);
	}
}

static void put_key(FILE *out, struct store_key key)
{
	fprintf(out, "inode %" PRIu64, key.ino);
	if (key.kind == KEY_PAGE)
		fprintf(out, ", page %" PRIu64, key.index);
	else if (key.kind == KEY_NAME)
		fputs(", names", out);
}

/* Layers next to one another that are drawn as one. */
struct group {
	size_t first, count;
	double left, right;
	unsigned of_kind[KIND_COUNT];
	uint64_t file_bytes;
	bool merging;
};

static enum store_layer_kind group_kind(const struct group *group)
{
	enum store_layer_kind most = STORE_LAYER_OPEN;

	/* One that is lost must be seen. */
	if (group->of_kind[STORE_LAYER_LOST])
		return STORE_LAYER_LOST;
	for (unsigned kind = 1; kind < KIND_COUNT; kind++) {
		if (group->of_kind[kind] > group->of_kind[most])
			most = kind;
	}
	return most;
}

static void put_group_title(const struct drawing *d, const struct group *group)
{
	const struct store_layer *layer = &d->picture->layers[group->first];
	const struct store_layer *last = layer + group->count - 1;
	char size[TEXT_SIZE_MAX];

	fputs("<title>", d->out);
	if (group->count == 1)
		fprintf(d->out, "%s layer %" PRIu64, kinds[layer->kind].name, layer->id);
	else
		fprintf(d->out, "%zu layers", group->count);
	fprintf(d->out, ", level %u, %s&#10;LSN %" PRIu64 " to %" PRIu64, layer->level,
		text_size(group->file_bytes, size), layer->start.value, last->end.value);
	if (is_by_key(layer)) {
		fputs("&#10;", d->out);
		put_key(d->out, layer->first);
		fputs(" to ", d->out);
		put_key(d->out, last->last);
	}
	fprintf(d->out, "%s</title>", group->merging ? "&#10;is being merged" : "");
}

/* Up to the end of its tag. */
static void put_rectangle(const struct drawing *d, const struct band *band, const char *class_name,
			  const struct group *group)
{
	/* Hairlines between neighbours, where there is room for them. */
	double height = band->bottom - band->top, width = group->right - group->left;
	double gap_y = height > 4 ? 0.8 : 0, gap_x = width > 4 ? 0.8 : 0;
	double height_min = group->of_kind[STORE_LAYER_LOST] ? LOST_MIN : 0.5;

	if (height < height_min)
		height = height_min;
	fprintf(d->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"",
		class_name, group->left, band->top, width - gap_x, height - gap_y);
}

static void put_group(const struct drawing *d, const struct band *band, const struct group *group)
{
	char class_name[32];

	snprintf(class_name, sizeof(class_name), "%s%s", kinds[group_kind(group)].name,
		 group->count > 1 ? "s" : "");
	put_rectangle(d, band, class_name, group);
	putc('>', d->out);
	put_group_title(d, group);
	fputs("</rect>\n", d->out);
	if (!group->merging)
		return;
	/* Over it, and nothing to a pointer: the words are the one's below. */
	put_rectangle(d, band, "merging", group);
	fputs("/>\n", d->out);
}

static void group_add(const struct drawing *d, struct group *group, size_t index)
{
	const struct store_layer *layer = &d->picture->layers[index];
	double left = is_by_key(layer) ? x_of(d, layer->first, false) : PLOT_LEFT;
	double right = is_by_key(layer) ? x_of(d, layer->last, true) : PLOT_RIGHT;

	if (!group->count++) {
		group->first = index;
		group->left = left;
		group->right = right;
	}
	group->left = left < group->left ? left : group->left;
	group->right = right > group->right ? right : group->right;
	group->of_kind[layer->kind]++;
	group->file_bytes += layer->file_bytes;
	group->merging |= layer->merging;
}

static void put_band(const struct drawing *d, const struct band *band)
{
	struct group group = {0};

	for (size_t i = band->first; i < band->first + band->count; i++) {
		group_add(d, &group, i);
		/* Of several runs all is one: they are thinner than a line. */
		if (band->run_count > 1 || group.right - group.left < d->width_min)
			continue;
		put_group(d, band, &group);
		group = (struct group){0};
	}
	if (group.count)
		put_group(d, band, &group);
}

/* In which order bands are drawn, over one another where they meet: what is being merged lies below
 * what has taken the place of its lower keys, and what is lost is always seen. */
enum band_order { BAND_MERGING, BAND_SOUND, BAND_LOST, BAND_ORDER_COUNT };

static enum band_order band_order(const struct drawing *d, const struct band *band)
{
	const struct store_layer *layers = d->picture->layers + band->first;

	for (size_t i = 0; i < band->count; i++) {
		if (layers[i].kind == STORE_LAYER_LOST)
			return BAND_LOST;
	}
	return layers->merging ? BAND_MERGING : BAND_SOUND;
}

static void put_bands(const struct drawing *d)
{
	for (unsigned order = 0; order < BAND_ORDER_COUNT; order++) {
		for (size_t i = 0; i < d->band_count; i++) {
			if (band_order(d, &d->bands[i]) == order)
				put_band(d, &d->bands[i]);
		}
	}
}

/* What a band is, to the right of it, where there is room. */
static void put_band_labels(const struct drawing *d)
{
	double above = PLOT_BOTTOM + LABEL_GAP;

	for (size_t i = 0; i < d->band_count; i++) {
		const struct band *band = &d->bands[i];
		const struct store_layer *layer = &d->picture->layers[band->first];
		double y = (band->top + band->bottom) / 2 + 4;
		char size[TEXT_SIZE_MAX];

		if (above - y < LABEL_GAP)
			continue;
		above = y;
		fprintf(d->out, "<text x=\"%d\" y=\"%.1f\">", PLOT_RIGHT + 10, y);
		if (band->run_count > 1)
			fprintf(d->out, "%u runs, ", band->run_count);
		else if (is_by_key(layer))
			fprintf(d->out, "level %u, ", layer->level);
		else
			fprintf(d->out, "%s, ", kinds[layer->kind].name);
		if (band->count > 1)
			fprintf(d->out, "%zu layers, ", band->count);
		fprintf(d->out, "%s</text>\n", text_size(band->file_bytes, size));
	}
}

/* LSNs at the ends of runs, to the left, where there is room. */
static void put_lsns(const struct drawing *d)
{
	double above = PLOT_BOTTOM + 2 * LABEL_GAP;

	for (size_t i = 0; i < d->lsn_count; i++) {
		double y = PLOT_BOTTOM - d->heights[i];
		bool last = i + 1 == d->lsn_count;

		/* The newest is always told. */
		if (above - y < LABEL_GAP || (!last && y - PLOT_TOP < LABEL_GAP))
			continue;
		above = y;
		fprintf(d->out,
			"<path class=\"tick\" d=\"M%d %.1fh6\"/>"
			"<text class=\"right\" x=\"%d\" y=\"%.1f\">%" PRIu64 "</text>\n",
			PLOT_LEFT - 6, y, PLOT_LEFT - 10, y + 4, d->lsns[i]);
	}
}

static void put_key_ticks(const struct drawing *d)
{
	size_t count = d->key_count < TICK_COUNT ? d->key_count : TICK_COUNT;

	for (size_t i = 0; i < count; i++) {
		size_t rank = count > 1 ? i * (d->key_count - 1) / (count - 1) : 0;
		bool last = i && i + 1 == count;

		if (!last && i && x_of(d, d->keys[rank], false) > PLOT_RIGHT - TICK_ROOM)
			continue;
		fprintf(d->out, "<path class=\"tick\" d=\"M%.1f %dv6\"/><text%s x=\"%.1f\" y=\"%d\">",
			x_of(d, d->keys[rank], last), PLOT_BOTTOM, last ? " class=\"right\"" : "",
			x_of(d, d->keys[rank], last), PLOT_BOTTOM + 20);
		put_key(d->out, d->keys[rank]);
		fputs("</text>\n", d->out);
	}
}

static void put_mark(const struct drawing *d, const char *class_name, struct lsn lsn, const char *what)
{
	double y = y_of(d, lsn.value);

	fprintf(d->out,
		"<g class=\"%s\"><path d=\"M%d %.1fh%d\"/><path class=\"flag\" d=\"M%d %.1fl-9 -5v10z\"/>"
		"<title>%s LSN %" PRIu64 "</title></g>\n",
		class_name, PLOT_LEFT, y, PLOT_WIDTH, PLOT_LEFT, y, what, lsn.value);
}

static void put_window(const struct drawing *d)
{
	const struct layer_picture *picture = d->picture;
	double y = y_of(d, picture->oldest.value);

	if (picture->oldest.value)
		fprintf(d->out,
			"<rect class=\"below\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\">"
			"<title>below the window: kept for what is seen from it, and for pins</title></rect>\n",
			PLOT_LEFT, y, PLOT_WIDTH, PLOT_BOTTOM - y);
	for (size_t i = 0; i < picture->pin_count && i < PIN_MAX; i++)
		put_mark(d, "pin", picture->pins[i], "pinned:");
	if (picture->oldest.value)
		put_mark(d, "window", picture->oldest, "the window ends at");
}

/*
 * What stands around it
 */

static void put_style(FILE *out)
{
	fputs("<style>text{font:12px sans-serif;fill:#222}.title{font-size:18px;font-weight:bold}"
	      ".small{fill:#555}.right{text-anchor:end}.frame{fill:#f4f4f4;stroke:#999}"
	      ".tick{stroke:#999;fill:none}.merging{fill:url(#merging);pointer-events:none}"
	      ".below{fill:#fff;fill-opacity:.55;pointer-events:none}"
	      ".window path{stroke:#111;stroke-width:2;stroke-dasharray:8 4;fill:none}"
	      ".window .flag{fill:#111;stroke:none}"
	      ".pin path{stroke:#cc79a7;stroke-width:2;fill:none}.pin .flag{fill:#cc79a7;stroke:none}",
	      out);
	for (unsigned i = 0; i < KIND_COUNT; i++)
		fprintf(out, ".%s{fill:%s}.%ss{fill:url(#%ss)}", kinds[i].name, kinds[i].colour,
			kinds[i].name, kinds[i].name);
	fputs("</style>\n<defs>\n", out);
	for (unsigned i = 0; i < KIND_COUNT; i++)
		fprintf(out,
			"<pattern id=\"%ss\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">"
			"<rect width=\"4\" height=\"4\" fill=\"%s\"/>"
			"<path d=\"M0 0v4\" stroke=\"#fff\" stroke-width=\"1.6\" stroke-opacity=\".5\"/></pattern>\n",
			kinds[i].name, kinds[i].colour);
	fputs("<pattern id=\"merging\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
	      "<path d=\"M-2 2l4 -4M0 8l8 -8M6 10l4 -4\" stroke=\"#000\" stroke-opacity=\".45\"/></pattern>\n"
	      "</defs>\n", out);
}

static void put_head(const struct drawing *d)
{
	const struct layer_picture *picture = d->picture;
	uint64_t bytes = 0;
	char size[TEXT_SIZE_MAX];

	for (size_t i = 0; i < picture->layer_count; i++)
		bytes += picture->layers[i].file_bytes;
	fprintf(d->out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n",
		PAGE_WIDTH, PAGE_HEIGHT, PAGE_WIDTH, PAGE_HEIGHT);
	put_style(d->out);
	fputs("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
	      "<text class=\"title\" x=\"20\" y=\"30\">Layers of ", d->out);
	put_text(d->out, picture->title);
	fprintf(d->out,
		"</text>\n<text class=\"small\" x=\"20\" y=\"52\">%zu layers, %s; LSNs %" PRIu64
		" to %" PRIu64 " can be read",
		picture->layer_count, text_size(bytes, size), picture->oldest.value,
		picture->newest.value);
	if (picture->pin_count)
		fprintf(d->out, ", and %zu pinned below", picture->pin_count);
	fprintf(d->out,
		"</text>\n<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n"
		"<text class=\"small\" x=\"20\" y=\"%d\">LSN, the newest on top</text>\n"
		"<text class=\"small\" x=\"%d\" y=\"%d\">run</text>\n",
		PLOT_LEFT, PLOT_TOP, PLOT_WIDTH, PLOT_HEIGHT, PLOT_TOP - 12, PLOT_RIGHT + 10, PLOT_TOP - 12);
	fprintf(d->out,
		"<text class=\"small\" x=\"%d\" y=\"%d\">keys, by rank: every range between two ends of "
		"layers is as wide as the next</text>\n",
		PLOT_LEFT, PLOT_BOTTOM + 40);
	if (!picture->layer_count)
		fprintf(d->out, "<text x=\"%d\" y=\"%d\">There are no layers.</text>\n",
			PLOT_LEFT + 20, PLOT_TOP + 30);
}

/* One sample with its words; where the next begins. */
static int put_sample(const struct drawing *d, int x, int y, const char *class_name, const char *name,
		      const char *meaning)
{
	fprintf(d->out,
		"<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"26\" height=\"13\"/>"
		"<text x=\"%d\" y=\"%d\">%s<tspan class=\"small\">: %s</tspan></text>\n",
		class_name, x, y, x + 34, y + 11, name, meaning);
	return x + 360;
}

static void put_legend(const struct drawing *d)
{
	int x = PLOT_LEFT, y = PLOT_BOTTOM + 62;

	for (unsigned i = 0; i < KIND_COUNT; i++) {
		x = put_sample(d, x, y, kinds[i].name, kinds[i].name, kinds[i].meaning);
		if (i % 3 == 2) {
			x = PLOT_LEFT;
			y += 24;
		}
	}
	put_sample(d, x, y, "deltas", "striped", "several, too thin to be drawn apart");
	x = put_sample(d, PLOT_LEFT, y + 24, "merging", "hatched", "is being merged into another run");
	fprintf(d->out,
		"<g class=\"window\"><path d=\"M%d %dh26\"/></g><text x=\"%d\" y=\"%d\">window"
		"<tspan class=\"small\">: what is below can't be read</tspan></text>\n",
		x, y + 31, x + 34, y + 35);
	x += 360;
	fprintf(d->out,
		"<g class=\"pin\"><path d=\"M%d %dh26\"/></g><text x=\"%d\" y=\"%d\">pin"
		"<tspan class=\"small\">: an open file or directory of the past</tspan></text>\n",
		x, y + 31, x + 34, y + 35);
}

static void put_all(const struct drawing *d)
{
	put_head(d);
	put_bands(d);
	put_window(d);
	put_lsns(d);
	put_band_labels(d);
	put_key_ticks(d);
	put_legend(d);
	fputs("</svg>\n", d->out);
}

char *layer_picture_svg(const struct layer_picture *picture)
{
	size_t count = picture->layer_count, size;
	struct drawing d = {
		.picture = picture,
		.keys = calloc(2 * count + 2, sizeof(*d.keys)),
		.lsns = calloc(2 * count + 2, sizeof(*d.lsns)),
		.heights = calloc(2 * count + 2, sizeof(*d.heights)),
		.bands = calloc(count + 1, sizeof(*d.bands)),
	};
	char *text = NULL;
	bool failed = true;

	if (d.keys && d.lsns && d.heights && d.bands)
		d.out = open_memstream(&text, &size);
	if (d.out) {
		axes_fill(&d);
		bands_fill(&d);
		put_all(&d);
		failed = ferror(d.out);
		failed |= fclose(d.out) != 0;
		assert(failed || size <= PICTURE_BYTES_MAX);
	}
	if (failed) {
		free(text);
		text = NULL;
	}
	free(d.keys);
	free(d.lsns);
	free(d.heights);
	free(d.bands);
	return text;
}
