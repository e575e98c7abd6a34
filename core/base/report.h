/*
 * What went wrong, in words for the person who must mend it.
 *
 * Calls that open, make or check a store fail for reasons an errno can't tell.
 * They take a report and leave one line in it: what is wrong, where, and the
 * cure. The errno they return stays the machine's answer.
 */
#ifndef VARVE_BASE_REPORT_H
#define VARVE_BASE_REPORT_H

struct report {
	char text[1024];        /* one line, no newline; "" when nothing was said */
};

/* Set the line, replacing any before it. @report may be NULL. Returns @err, so
 * that a failing call can end in `return report_set(report, -EIO, ...)`. */
int report_set(struct report *report, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Where the core says what no caller's return value can carry (a bad page, a
 * failed sync, a layer that could not be sealed). Lines go to stderr until a
 * sink is set. Any thread; the sink must be callable from any thread.
 */
typedef void log_sink(const char *line);
void log_set_sink(log_sink *sink);
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
