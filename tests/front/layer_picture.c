/*
 * The picture of the layers: well-formed XML of bounded size that shows every kind, from no layer
 * to many. With VARVE_PICTURES=FOLDER the pictures are left there to be looked at.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "key.h"
#include "layer_picture.h"

/* ---- is it XML? ---- */

struct reader {
	const char *at;
	char open[16][32];              /* elements that are open */
	unsigned depth;
};

static const char *name_end(const char *at)
{
	while (*at && strchr(" \n/>=", *at) == NULL)
		at++;
	return at;
}

/* Attributes up to the end of a tag, each a name and a quoted value. */
static void read_attributes(struct reader *r)
{
	while (*(r->at += strspn(r->at, " \n")) && *r->at != '>' && *r->at != '/' && *r->at != '?') {
		r->at = name_end(r->at);
		assert_true(r->at[0] == '=' && r->at[1] == '"');
		r->at += 2 + strcspn(r->at + 2, "\"<");
		assert_int_equal(*r->at++, '"');
	}
}

static void read_tag(struct reader *r)
{
	bool closes = r->at[1] == '/';
	const char *name = r->at + 1 + closes;
	size_t length;

	if (r->at[1] == '?') {
		r->at = strstr(r->at, "?>") + 2;
		return;
	}
	r->at = name_end(name);
	length = (size_t)(r->at - name);
	assert_in_range(length, 1, sizeof(r->open[0]) - 1);
	read_attributes(r);
	if (closes) {
		assert_true(r->depth > 0);
		r->depth--;
		assert_true(strncmp(r->open[r->depth], name, length) == 0 && !r->open[r->depth][length]);
	} else if (*r->at == '/') {
		r->at++;
	} else {
		assert_in_range(r->depth, 0, 15);
		memcpy(r->open[r->depth], name, length);
		r->open[r->depth++][length] = '\0';
	}
	assert_int_equal(*r->at++, '>');
}

static void assert_well_formed(const char *svg)
{
	struct reader r = { .at = svg };
	unsigned roots = 0;

	assert_memory_equal(svg, "<?xml", 5);
	for (; *r.at; r.at++) {
		if (*r.at == '<') {
			roots += r.depth == 0 && r.at[1] == 's';
			read_tag(&r);
			r.at--;
		} else if (*r.at == '&') {
			assert_true(r.at[1] == '#' && strspn(r.at + 2, "0123456789") > 0);
		} else {
			assert_true((unsigned char)*r.at >= ' ' || *r.at == '\n');
		}
	}
	assert_int_equal(r.depth, 0);
	assert_int_equal(roots, 1);
}

static unsigned occurrences(const char *text, const char *of)
{
	unsigned count = 0;

	while ((text = strstr(text, of)) != NULL) {
		text += strlen(of);
		count++;
	}
	return count;
}

/* ---- maps to draw ---- */

struct map {
	struct store_layer layers[10100];
	size_t count;
	uint64_t lsn, run_id;
};

static struct store_layer *map_add(struct map *map, enum store_layer_kind kind, unsigned level,
				   uint64_t span)
{
	struct store_layer *layer = &map->layers[map->count++];

	*layer = (struct store_layer){
		.id = map->count,
		.run_id = map->run_id,
		.kind = kind,
		.level = level,
		.start = lsn_make(map->lsn),
		.end = lsn_make(map->lsn + span),
		.last = { UINT64_MAX, 255, UINT64_MAX },
		.file_bytes = span,
	};
	return layer;
}

/* A run of one layer in the order of the log. */
static struct store_layer *map_add_log(struct map *map, enum store_layer_kind kind, uint64_t span)
{
	struct store_layer *layer;

	map->run_id++;
	layer = map_add(map, kind, 0, span);
	map->lsn += span;
	return layer;
}

/* A run of @count layers, of which inode 20 has the pages of half and small ones share the rest. */
static void map_add_run(struct map *map, unsigned level, uint64_t span, unsigned count)
{
	map->run_id++;
	for (unsigned i = 0; i < count; i++) {
		struct store_layer *layer =
			map_add(map, i % 3 ? STORE_LAYER_DELTA : STORE_LAYER_IMAGE, level, span);

		if (i < count / 2) {
			layer->first = (struct store_key){ 20, KEY_PAGE, i * 4000u };
			layer->last = (struct store_key){ 20, KEY_PAGE, i * 4000u + 3999 };
		} else {
			layer->first = (struct store_key){ 100u + i * 10, KEY_ATTR, 0 };
			layer->last = (struct store_key){ 100u + i * 10 + 9, KEY_PAGE, 3 };
		}
	}
	map->lsn += span;
}

static struct layer_picture picture_of(const struct map *map)
{
	return (struct layer_picture){
		.title = "/srv/<store> & \"co\" \xff\x01",
		.layers = map->layers,
		.layer_count = map->count,
		.oldest = lsn_make(map->lsn / 2),
		.newest = lsn_make(map->lsn),
	};
}

/* Draw, look whether it is sound, and keep it for people. */
static char *draw(const struct layer_picture *picture, const char *name)
{
	const char *folder = getenv("VARVE_PICTURES");
	char *svg = layer_picture_svg(picture), path[4096];

	assert_non_null(svg);
	assert_well_formed(svg);
	assert_in_range(strlen(svg), 1000, PICTURE_BYTES_MAX);
	assert_null(strstr(svg, "nan"));
	assert_null(strstr(svg, "inf"));
	if (folder) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s.svg", folder, name);
		file = fopen(path, "w");
		assert_non_null(file);
		fputs(svg, file);
		fclose(file);
	}
	return svg;
}

static struct map *map_new(void)
{
	return calloc(1, sizeof(struct map));
}

static void an_empty_map_says_so(void **state)
{
	struct layer_picture picture = { .title = "new" };
	char *svg = draw(&picture, "none");

	(void)state;
	assert_non_null(strstr(svg, "There are no layers."));
	free(svg);
}

static void a_few_layers_are_drawn_each(void **state)
{
	struct map *map = map_new();
	struct lsn pins[] = { { 200000000 }, { 300000000 } };
	struct layer_picture picture;
	char *svg;

	(void)state;
	map_add_run(map, 2, 800000000, 5);
	map_add_run(map, 1, 100000000, 2);
	map_add_log(map, STORE_LAYER_LOST, 64000000);
	map_add_log(map, STORE_LAYER_SEALED, 64000000);
	map_add_log(map, STORE_LAYER_OPEN, 9000000);
	picture = picture_of(map);
	picture.pins = pins;
	picture.pin_count = 2;
	svg = draw(&picture, "ten");
	/* One more of each is in the legend. */
	assert_int_equal(occurrences(svg, "class=\"delta\""), 4 + 1);
	assert_int_equal(occurrences(svg, "class=\"image\""), 3 + 1);
	assert_int_equal(occurrences(svg, "class=\"sealed\""), 2);
	assert_int_equal(occurrences(svg, "class=\"open\""), 2);
	assert_int_equal(occurrences(svg, "class=\"lost\""), 2);
	assert_int_equal(occurrences(svg, "<g class=\"pin\">"), 2 + 1);
	assert_int_equal(occurrences(svg, "<g class=\"window\">"), 1 + 1);
	assert_non_null(strstr(svg, "inode 20, page 0"));
	assert_non_null(strstr(svg, "1037000000"));
	assert_non_null(strstr(svg, "&#60;store&#62; &#38; &#34;co&#34; ??"));
	free(svg);
	free(map);
}

static void a_merge_under_way_lies_over_what_it_replaces(void **state)
{
	struct map *map = map_new();
	uint64_t start;
	struct layer_picture picture;
	char *svg;

	(void)state;
	map_add_run(map, 2, 500000000, 12);
	start = map->lsn;
	map_add_run(map, 1, 64000000 * 4, 6);
	map->lsn = start;
	for (unsigned i = 0; i < 4; i++)
		map_add_log(map, STORE_LAYER_SEALED, 64000000)->merging = true;
	map_add_log(map, STORE_LAYER_OPEN, 9000000);
	picture = picture_of(map);
	svg = draw(&picture, "merging");
	assert_int_equal(occurrences(svg, "class=\"merging\""), 4 + 1);
	assert_true(strstr(svg, "class=\"sealed\"") < strstr(svg, "class=\"delta\""));
	free(svg);
	free(map);
}

static void ten_thousand_layers_by_key_stay_small(void **state)
{
	struct map *map = map_new();
	struct layer_picture picture;
	char *svg;

	(void)state;
	map_add_run(map, 4, UINT64_C(500000000000), 8000);
	map_add_run(map, 3, UINT64_C(60000000000), 1500);
	for (unsigned i = 0; i < 6; i++)
		map_add_run(map, 2, UINT64_C(6000000000), 75);
	for (unsigned i = 0; i < 7; i++)
		map_add_run(map, 1, UINT64_C(1000000000), 7);
	for (unsigned i = 0; i < 15; i++)
		map_add_log(map, STORE_LAYER_SEALED, 64000000);
	map_add_log(map, STORE_LAYER_OPEN, 30000000);
	picture = picture_of(map);
	svg = draw(&picture, "many");
	/* What is thin is drawn as one, and says how many it is. */
	assert_true(occurrences(svg, "<rect class=\"deltas\"") > 100);
	assert_non_null(strstr(svg, "8000 layers, "));
	assert_true(occurrences(svg, "<rect") < 5000);
	free(svg);
	free(map);
}

static void ten_thousand_layers_in_the_order_of_the_log_stay_small(void **state)
{
	struct map *map = map_new();
	struct layer_picture picture;
	char *svg;

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		map_add_log(map, i == 7000 ? STORE_LAYER_LOST : STORE_LAYER_SEALED, 64000000);
	picture = picture_of(map);
	svg = draw(&picture, "log");
	assert_true(occurrences(svg, "<rect class=\"sealeds\"") > 50);
	/* One that is lost is seen among thousands. */
	assert_int_equal(occurrences(svg, "<rect class=\"losts\""), 1);
	assert_true(occurrences(svg, "<rect") < 5000);
	free(svg);
	free(map);
}

/* As many rectangles as there can be, each drawn twice, of layers with the longest numbers. */
static void the_largest_picture_is_within_its_bound(void **state)
{
	struct map *map = map_new();
	struct layer_picture picture;
	char *svg;

	(void)state;
	for (unsigned run = 0; run < 40; run++) {
		map->run_id++;
		for (unsigned i = 0; i < 99; i++) {
			struct store_layer *layer = map_add(map, STORE_LAYER_DELTA, 63, UINT64_C(1) << 56);
			uint64_t page = KEY_INDEX_MAX - 2 * (100 - i);

			layer->id = UINT64_MAX - i;
			layer->first = (struct store_key){ UINT64_MAX, KEY_PAGE, page };
			layer->last = (struct store_key){ UINT64_MAX, KEY_PAGE, page + 1 };
			layer->file_bytes = UINT64_MAX / 8192;
			layer->merging = true;
		}
		map->lsn += UINT64_C(1) << 56;
	}
	picture = picture_of(map);
	svg = draw(&picture, "largest");
	assert_int_equal(occurrences(svg, "<rect class=\"delta\""), 40 * 99 + 1);
	assert_int_equal(occurrences(svg, "<rect class=\"merging\""), 40 * 99 + 1);
	free(svg);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_says_so),
		cmocka_unit_test(a_few_layers_are_drawn_each),
		cmocka_unit_test(a_merge_under_way_lies_over_what_it_replaces),
		cmocka_unit_test(ten_thousand_layers_by_key_stay_small),
		cmocka_unit_test(ten_thousand_layers_in_the_order_of_the_log_stay_small),
		cmocka_unit_test(the_largest_picture_is_within_its_bound),
	};

	return cmocka_run_group_tests_name("layer_picture", tests, NULL, NULL);
}
