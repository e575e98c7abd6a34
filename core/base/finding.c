#include "finding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *finding_kind_name(enum finding_kind kind)
{
	static const char *const names[FINDING_KIND_COUNT] = {
		[FINDING_MANIFEST] = "manifest", [FINDING_FILE] = "file",
		[FINDING_HEADER] = "header",	 [FINDING_LOG] = "log",
		[FINDING_VERSION] = "version",	 [FINDING_INDEX] = "index",
		[FINDING_TREE] = "tree",
	};

	return kind < FINDING_KIND_COUNT ? names[kind] : "?";
}

void check_found(const struct check_hooks *hooks, struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
	hooks->found(hooks->context, finding);
}

int check_progress(const struct check_hooks *hooks, uint64_t bytes)
{
	return !hooks->progress || hooks->progress(hooks->context, bytes) ? 0 : -ECANCELED;
}
