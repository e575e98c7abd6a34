#include "history_truth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int history_truth_keep(struct history_truth *truth, const struct history_question *question,
		       const uint8_t *answer, size_t answer_bytes)
{
	uint8_t *copy = malloc(answer_bytes);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, answer, answer_bytes);
	truth->questions[truth->count] = *question;
	truth->answers[truth->count++] = copy;
	truth->answer_bytes = answer_bytes;
	return 0;
}

void history_truth_free(struct history_truth *truth)
{
	for (unsigned i = 0; i < truth->count; i++)
		free(truth->answers[i]);
	truth->count = 0;
}

/* What of the write lies in the bytes asked for. */
static void apply(const struct history_op *op, const struct history_place *place, uint8_t *bytes,
		  size_t size_bytes)
{
	uint64_t from = op->place.offset_bytes, to = from + op->size_bytes;

	if (op->place.file != place->file)
		return;
	if (from < place->offset_bytes)
		from = place->offset_bytes;
	if (to > place->offset_bytes + size_bytes)
		to = place->offset_bytes + size_bytes;
	if (from < to)
		memcpy(bytes + (from - place->offset_bytes), op->bytes + (from - op->place.offset_bytes), to - from);
}

static int expected_make(struct history_truth *truth, struct history_source *source, uint8_t *expected)
{
	struct history_op op;
	uint64_t number = 0, last = 0;
	int err = source->rewind(source);

	for (unsigned i = 0; i < truth->count; i++)
		last = truth->questions[i].write_number > last ? truth->questions[i].write_number : last;
	while (!err && number < last) {
		err = source->next(source, &op);
		if (err || op.is_sync)
			continue;
		number++;
		for (unsigned i = 0; i < truth->count; i++) {
			if (number <= truth->questions[i].write_number)
				apply(&op, &truth->questions[i].place, expected + i * truth->answer_bytes,
				      truth->answer_bytes);
		}
	}
	return err < 0 ? err : number < last ? -EIO : 0;
}

int history_truth_check(struct history_truth *truth, struct history_source *source)
{
	uint8_t *expected = calloc(truth->count, truth->answer_bytes);
	int err = expected ? expected_make(truth, source, expected) : -ENOMEM;

	for (unsigned i = 0; i < truth->count && !err; i++) {
		if (memcmp(expected + i * truth->answer_bytes, truth->answers[i], truth->answer_bytes) == 0)
			continue;
		fprintf(stderr, "varve-bench: file %u at byte %llu after write %llu reads wrong\n",
			truth->questions[i].place.file,
			(unsigned long long)truth->questions[i].place.offset_bytes,
			(unsigned long long)truth->questions[i].write_number);
		err = -EBADMSG;
	}
	free(expected);
	return err;
}
