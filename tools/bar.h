/*
 * Bar: how far something has come, on standard error, if that is a terminal.
 */
#ifndef VARVE_TOOLS_BAR_H
#define VARVE_TOOLS_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct bar {
	const char *at_the_end;         /* what is said behind their number once all bytes are done */
	bool shown;
	uint64_t total, done;
	int64_t drawn_ns;
};

struct bar bar_make(const char *at_the_end);
void bar_begin(struct bar *bar, uint64_t total);
void bar_add(struct bar *bar, uint64_t bytes);
/* Before anything else is printed. */
void bar_clear(struct bar *bar);

#endif
