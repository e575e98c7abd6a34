/*
 * Runner: measures what varve claims and says whether the claim holds.
 *
 * A claim sets varve beside rivals or limits that do the same work. A fact is
 * a single figure, counted or measured, with or without a target.
 *
 * Invariants:
 *   (1) All contenders of a claim are sampled in the same rounds of the same
 *       run, and every other round in the opposite order, so that a machine
 *       that drifts meets them alike.
 *   (2) The first round warms up and is not counted.
 *   (3) A verdict compares medians. What could not be measured is an error,
 *       never a pass.
 *
 * Threads: a bench runs on the process's first thread, alone.
 */
#ifndef VARVE_BENCH_BENCH_H
#define VARVE_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench;

/* One subject of the program: a file of its own, listed in main.c. */
struct bench_subject {
	const char *name;               /* as given on the command line */
	const char *doc;                /* one line for --list */
	/* Measure all claims of the subject. 0 or -errno; what failed was said by
	 * bench_fail, and what was measured before stays reported. */
	int (*run)(struct bench *bench);
};

extern const struct bench_subject append_subject, lookup_subject, freeze_subject, flush_subject,
	mount_subject, open_subject, sync_subject, checksum_subject, check_subject, history_subject,
	layers_subject, map_subject, table_subject, names_subject;

/* What the command line asked for. */
bool bench_wants(const struct bench *bench, const char *what);     /* a claim */
bool bench_is_quick(const struct bench *bench);         /* smaller sizes, fewer rounds */
const char *bench_dir(const struct bench *bench);       /* an empty directory for this subject */
const char *bench_varve(const struct bench *bench);     /* path of the varve command */
const char *bench_trace(const struct bench *bench);     /* a trace to replay; NULL: none */
const char *bench_history(const struct bench *bench);   /* sizes of history to build up; NULL: none */
unsigned bench_random_percent(const struct bench *bench);       /* of the bytes that are written */
/* As the command line has it, or @rounds, or one under --quick. */
unsigned bench_rounds(const struct bench *bench, unsigned rounds);
/* @full, or @quick under --quick. */
uint64_t bench_size(const struct bench *bench, uint64_t full, uint64_t quick);

/*
 * Take one sample: do the work once and set *figure_out, in the claim's unit.
 * What is not to be measured (making a file, removing it) is done outside the
 * part the sample itself times. 0 or -errno.
 */
typedef int sample_fn(void *context, double *figure_out);

struct contender {
	const char *name;
	sample_fn *sample;
	void *context;
	bool aside;                     /* shown, but no rival the claim is held against */
};

enum better {
	LOWER_IS_BETTER,                /* times */
	HIGHER_IS_BETTER,               /* rates */
};

struct claim {
	const char *what;
	const char *unit;
	enum better better;
	/* The first is varve. The ratio is varve's median over the best rival's. */
	const struct contender *contenders;
	size_t contender_count;
	double ratio_limit;             /* at most (lower is better) or at least; 0: no such claim */
	double value_limit;             /* the same for varve's median itself; 0: no such claim */
	/* Called before each round, untimed; may be NULL. 0 or -errno. */
	int (*prepare)(void *context);
	void *prepare_context;
	unsigned rounds;                /* 0: as the command line or the runner has it */
};

/* Sample all contenders, print the table and the verdict; nothing if the claim is
 * not wanted. 0 or -errno. */
int claim_measure(struct bench *bench, const struct claim *claim);

/*
 * Report what a subject sampled by itself, where one piece of work yields several
 * figures: @samples holds @rounds of the first contender, then of the next, and is
 * sorted. The contenders' sample functions are not called. (1) is the subject's to keep.
 */
void claim_report_samples(struct bench *bench, const struct claim *claim, unsigned rounds, double *samples);

enum fact_target {
	FACT_NOTE,                      /* no target */
	FACT_AT_MOST,
	FACT_AT_LEAST,
};

void bench_fact(struct bench *bench, const char *what, double value, const char *unit,
		enum fact_target target, double limit);

/* A line of what is measured, against what, and at which sizes. */
void bench_say(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line that tells the reader not to trust a figure, and why. */
void bench_warn(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Say why the subject could not be measured. Returns @err. */
int bench_fail(struct bench *bench, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* For main.c. */
struct bench_options {
	bool quick, json;
	unsigned rounds;                /* 0: the runner's own */
	const char *only;               /* claims whose text holds this; NULL: all */
	const char *varve;
	const char *trace, *history;    /* NULL: none */
	unsigned random_percent;
};

struct bench *bench_new(const struct bench_options *options);
/* Run @subject in @dir, which exists and is empty. 0 or -errno. */
int bench_run(struct bench *bench, const struct bench_subject *subject, const char *dir);
unsigned bench_missed(const struct bench *bench);       /* targets missed so far */
void bench_free(struct bench *bench);                   /* ends the report; NULL is ignored */

#endif
