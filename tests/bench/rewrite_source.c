#include "rewrite_source.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "content.h"

static uint64_t writes_a_file(const struct rewrite_source *source)
{
	return source->file_bytes / HISTORY_WRITE_MAX;
}

static int rewrite_rewind(struct history_source *base)
{
	((struct rewrite_source *)base)->number = 0;
	return 0;
}

static int rewrite_next(struct history_source *base, struct history_op *op_out)
{
	struct rewrite_source *source = (struct rewrite_source *)base;
	uint64_t number = source->number++;
	uint64_t file = number / (writes_a_file(source) + 1);
	uint64_t within = number % (writes_a_file(source) + 1);

	if (file >= (uint64_t)source->file_count * source->round_count)
		return 1;
	if (within == writes_a_file(source)) {
		*op_out = (struct history_op){ .is_sync = true };
		return 0;
	}
	content_fill(number, source->random_percent, source->bytes, HISTORY_WRITE_MAX);
	*op_out = (struct history_op){
		.place = { (uint32_t)(file % source->file_count), within * HISTORY_WRITE_MAX },
		.bytes = source->bytes,
		.size_bytes = HISTORY_WRITE_MAX,
	};
	return 0;
}

static struct history_question rewrite_ask(struct history_source *base, struct dice *dice, uint64_t number,
					   uint64_t written)
{
	struct rewrite_source *source = (struct rewrite_source *)base;
	uint64_t calls = writes_a_file(source);

	/* A round's moment is its end. */
	if (number % calls == 0) {
		source->last.place.file = (uint32_t)dice_below(dice, source->file_count);
		source->last.write_number = (1 + dice_below(dice, written / calls / source->file_count))
					    * source->file_count * calls;
	}
	source->last.place.offset_bytes = number % calls * HISTORY_WRITE_MAX;
	return source->last;
}

int rewrite_source_init(struct rewrite_source *source, uint32_t file_count, uint64_t file_bytes,
			uint32_t round_count, unsigned random_percent)
{
	assert(file_count <= HISTORY_FILES_MAX && file_bytes % HISTORY_WRITE_MAX == 0);
	*source = (struct rewrite_source){
		.source = { rewrite_rewind, rewrite_next, rewrite_ask, HISTORY_WRITE_MAX },
		.file_count = file_count,
		.round_count = round_count,
		.file_bytes = file_bytes,
		.random_percent = random_percent,
		.bytes = malloc(HISTORY_WRITE_MAX),
	};
	return source->bytes ? 0 : -ENOMEM;
}

void rewrite_source_destroy(struct rewrite_source *source)
{
	free(source->bytes);
}
