#include "report.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

int report_set(struct report *report, int err, const char *format, ...)
{
	va_list arguments;

	if (!report)
		return err;
	va_start(arguments, format);
	vsnprintf(report->text, sizeof(report->text), format, arguments);
	va_end(arguments);
	return err;
}

static void log_to_stderr(const char *line)
{
	fprintf(stderr, "varve: %s\n", line);
}

static _Atomic(log_sink *) current_sink = log_to_stderr;

void log_set_sink(log_sink *sink)
{
	atomic_store(&current_sink, sink ? sink : log_to_stderr);
}

void log_line(const char *format, ...)
{
	char line[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	atomic_load(&current_sink)(line);
}
