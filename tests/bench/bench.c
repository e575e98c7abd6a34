#include "bench.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "machine.h"

#define ROUNDS_FULL 9u
#define ROUNDS_QUICK 3u
#define CONTENDERS_MAX 8u

/* Where the middle half of the samples spans more than this part of the
 * median, or the hypervisor took more than this part of the processors, a
 * ratio of 1.1 can't be told from noise. */
#define NOISY_SPREAD 0.15
#define NOISY_STEAL 0.03

struct verdict {
	char text[200];
	bool missed;
};

struct bench {
	struct bench_options options;
	const struct bench_subject *subject;
	const char *dir;
	FILE *text;
	struct json json;
	struct verdict *verdicts;
	size_t verdict_count;
	unsigned missed;
};

struct summary {
	double median, min, max;
	double spread;          /* the middle half of the samples, as a part of the median */
};

bool bench_wants(const struct bench *bench, const char *what)
{
	return !bench->options.only || strstr(what, bench->options.only);
}

bool bench_is_quick(const struct bench *bench)
{
	return bench->options.quick;
}

const char *bench_dir(const struct bench *bench)
{
	return bench->dir;
}

const char *bench_varve(const struct bench *bench)
{
	return bench->options.varve;
}

const char *bench_trace(const struct bench *bench)
{
	return bench->options.trace;
}

const char *bench_history(const struct bench *bench)
{
	return bench->options.history;
}

unsigned bench_random_percent(const struct bench *bench)
{
	return bench->options.random_percent;
}

unsigned bench_rounds(const struct bench *bench, unsigned rounds)
{
	return bench->options.rounds ? bench->options.rounds : bench->options.quick ? 1 : rounds;
}

uint64_t bench_size(const struct bench *bench, uint64_t full, uint64_t quick)
{
	return bench->options.quick ? quick : full;
}

static void put_line(struct bench *bench, const char *lead, const char *name, const char *format,
		     va_list arguments)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, arguments);
	fprintf(bench->text, "  %s%s\n", lead, line);
	fflush(bench->text);
	json_begin(&bench->json, NULL, '{');
	json_string(&bench->json, name, line);
	json_end(&bench->json, '}');
}

void bench_say(struct bench *bench, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_line(bench, "", "note", format, arguments);
	va_end(arguments);
}

void bench_warn(struct bench *bench, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	put_line(bench, "warning: ", "warning", format, arguments);
	va_end(arguments);
}

int bench_fail(struct bench *bench, int err, const char *format, ...)
{
	va_list arguments;
	char what[400];

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	fprintf(stderr, "varve-bench: %s: %s: %s\n", bench->subject->name, what, strerror(-err));
	return err;
}

static void verdict_add(struct bench *bench, bool missed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Print the verdict under its table and keep it for the list at the end. */
static void verdict_add(struct bench *bench, bool missed, const char *format, ...)
{
	struct verdict *verdict;
	va_list arguments;

	bench->verdicts = realloc(bench->verdicts,
				  (bench->verdict_count + 1) * sizeof(*bench->verdicts));
	if (!bench->verdicts)
		abort();
	verdict = &bench->verdicts[bench->verdict_count++];
	verdict->missed = missed;
	bench->missed += missed;
	va_start(arguments, format);
	vsnprintf(verdict->text, sizeof(verdict->text), format, arguments);
	va_end(arguments);
	fprintf(bench->text, "    %s  %s\n", missed ? "MISS" : "PASS", verdict->text);
	fflush(bench->text);
}

static int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts @samples. */
static struct summary summarize(double *samples, unsigned count)
{
	struct summary summary;

	assert(count > 0);
	qsort(samples, count, sizeof(*samples), double_compare);
	summary.median = (samples[(count - 1) / 2] + samples[count / 2]) / 2;
	summary.min = samples[0];
	summary.max = samples[count - 1];
	summary.spread = (samples[(count - 1) - (count - 1) / 4] - samples[(count - 1) / 4])
			 / summary.median;
	return summary;
}

/* Four digits, whatever the magnitude. */
static const char *figure_text(double value, char *text, size_t size_bytes)
{
	int decimals = value >= 999.5 || value == 0 ? 0 : value >= 99.95 ? 1 : value >= 9.995 ? 2 : 3;

	snprintf(text, size_bytes, "%.*f", decimals, value);
	return text;
}

static void contender_print(struct bench *bench, const struct contender *contender,
			    const struct summary *summary)
{
	char median[32], min[32], max[32];

	fprintf(bench->text, "    %-54s %9s %9s %9s %5.0f %%%s\n", contender->name,
		figure_text(summary->median, median, sizeof(median)),
		figure_text(summary->min, min, sizeof(min)),
		figure_text(summary->max, max, sizeof(max)), summary->spread * 100,
		contender->aside ? "  (aside)" : "");
	json_begin(&bench->json, NULL, '{');
	json_string(&bench->json, "name", contender->name);
	json_bool(&bench->json, "aside", contender->aside);
	json_number(&bench->json, "median", summary->median);
	json_number(&bench->json, "min", summary->min);
	json_number(&bench->json, "max", summary->max);
	json_number(&bench->json, "spread", summary->spread);
	json_end(&bench->json, '}');
}

static bool limit_missed(enum better better, double value, double limit)
{
	return better == LOWER_IS_BETTER ? value > limit : value < limit;
}

static const char *limit_text(enum better better)
{
	return better == LOWER_IS_BETTER ? "at most" : "at least";
}

/* The rival to beat, or NULL where varve stands alone. */
static const struct summary *rival_best(const struct claim *claim, const struct summary *summaries,
					size_t *index_out)
{
	const struct summary *best = NULL;

	for (size_t i = 1; i < claim->contender_count; i++) {
		if (claim->contenders[i].aside)
			continue;
		if (!best || (claim->better == LOWER_IS_BETTER
				      ? summaries[i].median < best->median
				      : summaries[i].median > best->median)) {
			best = &summaries[i];
			*index_out = i;
		}
	}
	return best;
}

/* Without a target each rival says something. */
static void ratios_print(struct bench *bench, const struct claim *claim, const struct summary *summaries)
{
	for (size_t i = 1; i < claim->contender_count; i++) {
		if (!claim->contenders[i].aside)
			fprintf(bench->text, "          %.2fx of %s, no target\n",
				summaries[0].median / summaries[i].median, claim->contenders[i].name);
	}
}

static void claim_judge(struct bench *bench, const struct claim *claim,
			const struct summary *summaries)
{
	size_t best_index = 0;
	const struct summary *best = rival_best(claim, summaries, &best_index);
	double ratio = best ? summaries[0].median / best->median : NAN;
	char value[32], limit[32];

	json_number(&bench->json, "ratio", ratio);
	if (claim->ratio_limit > 0) {
		bool missed = !best || limit_missed(claim->better, ratio, claim->ratio_limit);

		json_number(&bench->json, "ratio_limit", claim->ratio_limit);
		json_bool(&bench->json, "ratio_holds", !missed);
		verdict_add(bench, missed, "%s: %.2fx of %s, %s %.2fx", claim->what, ratio,
			    claim->contenders[best_index].name, limit_text(claim->better),
			    claim->ratio_limit);
	} else {
		ratios_print(bench, claim, summaries);
	}
	if (claim->value_limit > 0) {
		bool missed = limit_missed(claim->better, summaries[0].median, claim->value_limit);

		json_number(&bench->json, "value_limit", claim->value_limit);
		json_bool(&bench->json, "value_holds", !missed);
		verdict_add(bench, missed, "%s: %s %s, %s %s", claim->what,
			    figure_text(summaries[0].median, value, sizeof(value)), claim->unit,
			    limit_text(claim->better),
			    figure_text(claim->value_limit, limit, sizeof(limit)));
	}
}

static void claim_report(struct bench *bench, const struct claim *claim, unsigned rounds,
			 const struct summary *summaries)
{
	double spread = 0;

	fprintf(bench->text, "\n    %-54s %9s %9s %9s %7s\n", claim->what, "median", "min", "max",
		"spread");
	fprintf(bench->text, "    [%s, %u rounds]\n", claim->unit, rounds);
	json_begin(&bench->json, NULL, '{');
	json_string(&bench->json, "claim", claim->what);
	json_string(&bench->json, "unit", claim->unit);
	json_number(&bench->json, "rounds", rounds);
	json_begin(&bench->json, "contenders", '[');
	for (size_t i = 0; i < claim->contender_count; i++) {
		contender_print(bench, &claim->contenders[i], &summaries[i]);
		if (summaries[i].spread > spread)
			spread = summaries[i].spread;
	}
	json_end(&bench->json, ']');
	claim_judge(bench, claim, summaries);
	json_bool(&bench->json, "noisy", spread > NOISY_SPREAD);
	json_end(&bench->json, '}');
	if (spread > NOISY_SPREAD)
		bench_warn(bench, "noisy: half of the rounds lie %.0f %% apart; run it again on an idle machine",
			   spread * 100);
}

void claim_report_samples(struct bench *bench, const struct claim *claim, unsigned rounds, double *samples)
{
	struct summary summaries[CONTENDERS_MAX];

	assert(claim->contender_count > 0 && claim->contender_count <= CONTENDERS_MAX);
	for (size_t i = 0; i < claim->contender_count; i++)
		summaries[i] = summarize(samples + i * rounds, rounds);
	claim_report(bench, claim, rounds, summaries);
}

/* One round; the samples of round @round, where 0 warms up. */
static int claim_round(struct bench *bench, const struct claim *claim, unsigned round,
		       unsigned rounds, double *samples)
{
	int err = claim->prepare ? claim->prepare(claim->prepare_context) : 0;

	if (err)
		return bench_fail(bench, err, "%s: preparing a round", claim->what);
	for (size_t i = 0; i < claim->contender_count; i++) {
		size_t turn = round % 2 ? i : claim->contender_count - 1 - i;
		const struct contender *contender = &claim->contenders[turn];
		double figure = NAN;

		err = contender->sample(contender->context, &figure);
		if (err)
			return bench_fail(bench, err, "%s: %s", claim->what, contender->name);
		assert(isfinite(figure));
		if (round > 0)
			samples[turn * rounds + round - 1] = figure;
	}
	return 0;
}

static unsigned rounds_for(const struct bench *bench, const struct claim *claim)
{
	if (bench->options.rounds)
		return bench->options.rounds;
	if (claim->rounds)
		return claim->rounds;
	return bench->options.quick ? ROUNDS_QUICK : ROUNDS_FULL;
}

int claim_measure(struct bench *bench, const struct claim *claim)
{
	unsigned rounds = rounds_for(bench, claim);
	double *samples;
	int err = 0;

	if (!bench_wants(bench, claim->what))
		return 0;
	assert(claim->contender_count > 0 && claim->contender_count <= CONTENDERS_MAX);
	samples = calloc(claim->contender_count * rounds, sizeof(*samples));
	if (!samples)
		return bench_fail(bench, -ENOMEM, "%s", claim->what);
	for (unsigned round = 0; round <= rounds && !err; round++)
		err = claim_round(bench, claim, round, rounds, samples);
	if (!err)
		claim_report_samples(bench, claim, rounds, samples);
	free(samples);
	return err;
}

void bench_fact(struct bench *bench, const char *what, double value, const char *unit,
		enum fact_target target, double limit)
{
	enum better better = target == FACT_AT_LEAST ? HIGHER_IS_BETTER : LOWER_IS_BETTER;
	bool missed = target != FACT_NOTE && limit_missed(better, value, limit);
	char value_text[32], limit_string[32];

	figure_text(value, value_text, sizeof(value_text));
	json_begin(&bench->json, NULL, '{');
	json_string(&bench->json, "fact", what);
	json_string(&bench->json, "unit", unit);
	json_number(&bench->json, "value", value);
	if (target == FACT_NOTE) {
		fprintf(bench->text, "          %s: %s %s\n", what, value_text, unit);
	} else {
		json_number(&bench->json, "limit", limit);
		json_bool(&bench->json, "holds", !missed);
		verdict_add(bench, missed, "%s: %s %s, %s %s", what, value_text, unit,
			    limit_text(better), figure_text(limit, limit_string, sizeof(limit_string)));
	}
	json_end(&bench->json, '}');
}

struct bench *bench_new(const struct bench_options *options)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	char description[512];

	if (!bench)
		return NULL;
	bench->options = *options;
	/* With --json, stdout is for the machine and the person reads stderr. */
	bench->text = options->json ? stderr : stdout;
	bench->json.file = options->json ? stdout : NULL;
	machine_describe(description, sizeof(description));
	fprintf(bench->text, "varve-bench %s%s\n%s\n", VARVE_VERSION, options->quick ? " --quick" : "",
		description);
	if (machine_load() > 0.5)
		fprintf(bench->text, "warning: noisy: the load average is %.1f before the start\n",
			machine_load());
	json_begin(&bench->json, NULL, '{');
	json_string(&bench->json, "version", VARVE_VERSION);
	json_string(&bench->json, "machine", description);
	json_number(&bench->json, "load", machine_load());
	json_bool(&bench->json, "quick", options->quick);
	json_begin(&bench->json, "subjects", '[');
	return bench;
}

int bench_run(struct bench *bench, const struct bench_subject *subject, const char *dir)
{
	struct machine_time before, after;
	char disk[256];
	int err;

	bench->subject = subject;
	bench->dir = dir;
	machine_disk(dir, disk, sizeof(disk));
	fprintf(bench->text, "\n%s: %s\n", subject->name, subject->doc);
	json_begin(&bench->json, NULL, '{');
	json_string(&bench->json, "subject", subject->name);
	json_begin(&bench->json, "results", '[');
	bench_say(bench, "disk: %s", disk);
	machine_time_get(&before);
	err = subject->run(bench);
	machine_time_get(&after);
	if (machine_steal(&before, &after) > NOISY_STEAL)
		bench_warn(bench, "noisy: the hypervisor took %.0f %% of the processors",
			   machine_steal(&before, &after) * 100);
	json_end(&bench->json, ']');
	json_number(&bench->json, "error", -err);
	json_end(&bench->json, '}');
	return err;
}

unsigned bench_missed(const struct bench *bench)
{
	return bench->missed;
}

void bench_free(struct bench *bench)
{
	if (!bench)
		return;
	json_end(&bench->json, ']');
	json_number(&bench->json, "missed", bench->missed);
	json_end(&bench->json, '}');
	if (bench->verdict_count > 0)
		fprintf(bench->text, "\n%zu targets, %u missed\n", bench->verdict_count,
			bench->missed);
	for (size_t i = 0; i < bench->verdict_count; i++)
		fprintf(bench->text, "  %s  %s\n", bench->verdicts[i].missed ? "MISS" : "PASS",
			bench->verdicts[i].text);
	free(bench->verdicts);
	free(bench);
}
