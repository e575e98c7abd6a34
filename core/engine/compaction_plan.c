#include "compaction_plan.h"

static struct plan_options complete(const struct plan_options *options)
{
	struct plan_options o = *options;

	if (!o.fanin_0)
		o.fanin_0 = PLAN_FANIN_0;
	if (!o.fanin)
		o.fanin = PLAN_FANIN;
	return o;
}

uint32_t plan_level_of(uint64_t span_bytes, const struct plan_options *options)
{
	struct plan_options o = complete(options);
	uint64_t limit = o.layer_bytes * o.fanin_0;
	uint32_t level = 1;

	for (; span_bytes > 2 * limit && level < 16; limit *= o.fanin)
		level++;
	return level;
}

static bool is_free(const struct plan_run *run)
{
	return run->sealed && !run->merging;
}

static uint64_t span_bytes(const struct plan_run *runs, uint32_t first, uint32_t count)
{
	return runs[first + count - 1].end.value - runs[first].start.value;
}

/* The level of what these become: never below one of theirs, so levels don't rise from old to new. */
static struct plan merge_of(const struct plan_run *runs, uint32_t first, uint32_t count,
			    const struct plan_options *o)
{
	struct plan plan = { first, count < PLAN_MERGE_MAX ? count : PLAN_MERGE_MAX, 1, false };
	uint32_t level;

	count = plan.count;
	/* Of runs that hold nothing nothing comes. */
	if (!count || !span_bytes(runs, first, count))
		return (struct plan){ 0, 0, 0, false };
	level = plan_level_of(span_bytes(runs, first, count), o);
	for (uint32_t i = first; i < first + count; i++)
		if (runs[i].level > plan.level)
			plan.level = runs[i].level;
	/* What GC left of a large span is a small run; it does not count as a large one. */
	if (level == plan.level + 1)
		plan.level = level;
	return plan;
}

/* How many runs from @first on are of one level and may be merged. */
static uint32_t stretch(const struct plan_run *runs, uint32_t count, uint32_t first)
{
	uint32_t n = 0;

	while (first + n < count && is_free(&runs[first + n]) &&
	       runs[first + n].level == runs[first].level)
		n++;
	return n;
}

/* Would one run of all these expire too late? */
static bool spans_too_much(const struct plan_run *runs, uint32_t first, uint32_t count,
			   const struct plan_options *o)
{
	return o->window_bytes && runs[first].level > 0 &&
	       runs[first + count - 1].end.value > o->horizon.value &&
	       span_bytes(runs, first, count) > o->window_bytes / PLAN_WINDOW_DIVISOR;
}

/* How many of a stretch of @n runs of @level are to be merged; 0: none yet. */
static uint32_t due_of(uint32_t n, uint32_t level, const struct plan_options *o)
{
	uint32_t fanin = level ? o->fanin : o->fanin_0;

	if (n >= fanin)
		return fanin;
	return o->rests && !level && n >= PLAN_REST_RUNS ? n : 0;
}

/* Enough runs of one level: the lowest level first, for there they come fastest. */
static struct plan plan_tiers(const struct plan_run *runs, uint32_t count,
			      const struct plan_options *o)
{
	struct plan best = { 0, 0, 0, false };

	for (uint32_t first = 0; first < count;) {
		uint32_t n = stretch(runs, count, first);
		uint32_t due = due_of(n, runs[first].level, o);

		if (due && !spans_too_much(runs, first, due, o) &&
		    (!best.count || runs[first].level < runs[best.first].level))
			best = merge_of(runs, first, due, o);
		first += n ? n : 1;
	}
	return best;
}

/* The expired runs, if they hold as much as the oldest, collected one among them. */
static struct plan plan_expired(const struct plan_run *runs, uint32_t count,
				const struct plan_options *o)
{
	uint64_t collected = 0, others = 0;
	uint32_t n = 0;

	for (; n < count && is_free(&runs[n]) && runs[n].end.value <= o->horizon.value; n++) {
		if (runs[n].collected)
			collected += runs[n].file_bytes;
		else
			others += runs[n].file_bytes;
	}
	if (!others || others < collected)
		n = 0;
	return merge_of(runs, 0, n, o);
}

/* All from the oldest on that begin below @limit. */
static struct plan plan_prefix(const struct plan_run *runs, uint32_t count, struct lsn limit,
			       const struct plan_options *o)
{
	uint32_t n = 0;

	while (n < count && is_free(&runs[n]) && runs[n].start.value < limit.value)
		n++;
	/* A pin may have gone since. */
	if (n == 1 && runs[0].level && runs[0].collected &&
	    (runs[0].single || o->wish != PLAN_COLLECT))
		n = 0;
	return merge_of(runs, 0, n, o);
}

struct plan compaction_plan(const struct plan_run *runs, uint32_t count,
			    const struct plan_options *options)
{
	struct plan_options o = complete(options);
	struct plan plan = { 0, 0, 0, false };

	/* First, or it would never come where writers keep all others busy. */
	if (o.wish != PLAN_AS_NEEDED)
		plan = plan_prefix(runs, count, o.wish == PLAN_ALL ? LSN_HEAD : o.horizon, &o);
	plan.wished = plan.count > 0;
	if (!plan.count)
		plan = plan_tiers(runs, count, &o);
	return plan.count ? plan : plan_expired(runs, count, &o);
}
