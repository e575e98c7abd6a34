/*
 * Truth: answers that were kept are compared with what the source wrote.
 */
#ifndef VARVE_BENCH_HISTORY_TRUTH_H
#define VARVE_BENCH_HISTORY_TRUTH_H

#include "history_source.h"

#define TRUTH_SAMPLES 64u

struct history_truth {
	struct history_question questions[TRUTH_SAMPLES];
	uint8_t *answers[TRUTH_SAMPLES];
	unsigned count;
	size_t answer_bytes;
};

/* Keep a copy of an answer. 0 or -ENOMEM. */
int history_truth_keep(struct history_truth *truth, const struct history_question *question,
		       const uint8_t *answer, size_t answer_bytes);
/* Go through @source again. 0; -EBADMSG: an answer was wrong (says which); -errno. */
int history_truth_check(struct history_truth *truth, struct history_source *source);
void history_truth_free(struct history_truth *truth);

#endif
