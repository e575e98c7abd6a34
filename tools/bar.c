#include "bar.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define BAR_WIDTH 40
#define BAR_PERIOD_NS 100000000

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static const char full[] = "########################################";

static void bar_draw(struct bar *bar)
{
	uint64_t done = bar->done < bar->total ? bar->done : bar->total;
	int width = bar->total ? (int)(done * BAR_WIDTH / bar->total) : 0;
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

	bar->drawn_ns = now_ns();
	if (bar->done >= bar->total)
		fprintf(stderr, "\r[%s] %s %s\033[K", full, text_size(bar->total, a),
			bar->at_the_end);
	else
		fprintf(stderr, "\r[%.*s%*s] %s of %s\033[K", width, full, BAR_WIDTH - width, "",
			text_size(done, a), text_size(bar->total, b));
	fflush(stderr);
}

struct bar bar_make(const char *at_the_end)
{
	return (struct bar){.at_the_end = at_the_end, .shown = isatty(STDERR_FILENO)};
}

void bar_begin(struct bar *bar, uint64_t total)
{
	bar->total = total;
	bar->done = 0;
	bar->drawn_ns = 0;
}

void bar_add(struct bar *bar, uint64_t bytes)
{
	bar->done += bytes;
	if (bar->shown && now_ns() - bar->drawn_ns > BAR_PERIOD_NS)
		bar_draw(bar);
}

void bar_clear(struct bar *bar)
{
	if (bar->shown && bar->drawn_ns)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	bar->drawn_ns = 0;
}
