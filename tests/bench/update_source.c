#include "update_source.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "content.h"

#define PAGES_A_FILL (HISTORY_WRITE_MAX / HISTORY_PAGE_BYTES)

static uint64_t fill_count(const struct update_source *source)
{
	return source->page_count / PAGES_A_FILL;
}

static int updates_rewind(struct history_source *base)
{
	((struct update_source *)base)->number = 0;
	return 0;
}

static void fill_make(struct update_source *source, uint64_t number, struct history_op *op_out)
{
	content_fill(~number, source->random_percent, source->bytes, HISTORY_WRITE_MAX);
	*op_out = (struct history_op){
		.is_fill = true,
		.place = { 0, number * HISTORY_WRITE_MAX },
		.bytes = source->bytes,
		.size_bytes = HISTORY_WRITE_MAX,
	};
}

static void update_make(struct update_source *source, uint64_t number, struct history_op *op_out)
{
	struct dice dice = { dice_next(&(struct dice){ number }) };
	uint64_t page = dice_below(&dice, source->page_count);
	uint64_t within = dice_below(&dice, HISTORY_PAGE_BYTES - UPDATE_BYTES + 1);

	content_fill(number, source->random_percent, source->bytes, UPDATE_BYTES);
	*op_out = (struct history_op){
		.place = { 0, page * HISTORY_PAGE_BYTES + within },
		.bytes = source->bytes,
		.size_bytes = UPDATE_BYTES,
	};
}

/* The fills, a sync, then rounds of updates that a sync ends. */
static int updates_next(struct history_source *base, struct history_op *op_out)
{
	struct update_source *source = (struct update_source *)base;
	uint64_t number = source->number++, round, within;

	if (number < fill_count(source)) {
		fill_make(source, number, op_out);
		return 0;
	}
	number -= fill_count(source);
	if (number == 0) {
		*op_out = (struct history_op){ .is_sync = true, .is_fill = true };
		return 0;
	}
	number--;
	round = number / (UPDATES_A_SYNC + 1);
	within = number % (UPDATES_A_SYNC + 1);
	if (round >= source->update_count / UPDATES_A_SYNC)
		return 1;
	if (within == UPDATES_A_SYNC)
		*op_out = (struct history_op){ .is_sync = true };
	else
		update_make(source, round * UPDATES_A_SYNC + within, op_out);
	return 0;
}

static struct history_question updates_ask(struct history_source *base, struct dice *dice, uint64_t number,
					   uint64_t written)
{
	struct update_source *source = (struct update_source *)base;
	uint64_t fills = fill_count(source);

	(void)number;
	return (struct history_question){
		.place = { 0, dice_below(dice, source->page_count) * HISTORY_PAGE_BYTES },
		.write_number = fills + dice_below(dice, written - fills + 1),
	};
}

int update_source_init(struct update_source *source, uint32_t page_count, uint64_t update_count,
		       unsigned random_percent)
{
	assert(page_count % PAGES_A_FILL == 0);
	*source = (struct update_source){
		.source = { updates_rewind, updates_next, updates_ask, HISTORY_PAGE_BYTES },
		.page_count = page_count,
		.update_count = update_count,
		.random_percent = random_percent,
		.bytes = malloc(HISTORY_WRITE_MAX),
	};
	return source->bytes ? 0 : -ENOMEM;
}

void update_source_destroy(struct update_source *source)
{
	free(source->bytes);
}
