#include "window_text.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

/* More than anybody writes. */
#define INPUT_MAX 1024u

bool window_parse_time(const char *text, uint64_t *ns_out)
{
	*ns_out = 0;
	return strcmp(text, "none") == 0 ||
	       (text_parse_duration(text, ns_out) && *ns_out <= WINDOW_LIMIT_MAX);
}

bool window_parse_bytes(const char *text, uint64_t *bytes_out)
{
	*bytes_out = 0;
	return strcmp(text, "none") == 0 ||
	       (text_parse_size(text, bytes_out) && *bytes_out <= WINDOW_LIMIT_MAX);
}

static bool parse_word(const char *word, struct store_window *window)
{
	if (strncmp(word, "time=", 5) == 0)
		return window_parse_time(word + 5, &window->time_ns);
	if (strncmp(word, "bytes=", 6) == 0)
		return window_parse_bytes(word + 6, &window->bytes);
	return false;
}

bool window_parse(const char *text, size_t size_bytes, struct store_window *window)
{
	struct store_window parsed = *window;
	char copy[INPUT_MAX + 1], *line_rest, *word_rest;
	unsigned count = 0;

	if (size_bytes > INPUT_MAX || memchr(text, '\0', size_bytes))
		return false;
	memcpy(copy, text, size_bytes);
	copy[size_bytes] = '\0';
	for (char *line = strtok_r(copy, "\n", &line_rest); line;
	     line = strtok_r(NULL, "\n", &line_rest)) {
		if (*line == '#')
			continue;
		for (char *word = strtok_r(line, " \t\r", &word_rest); word;
		     word = strtok_r(NULL, " \t\r", &word_rest)) {
			if (!parse_word(word, &parsed))
				return false;
			count++;
		}
	}
	if (count)
		*window = parsed;
	return count;
}

const char *window_format(const struct store_window *window, char out[WINDOW_TEXT_MAX])
{
	char time[TEXT_SIZE_MAX], bytes[TEXT_SIZE_MAX];

	snprintf(out, WINDOW_TEXT_MAX, "time=%s bytes=%s",
		 window->time_ns ? text_duration_exact(window->time_ns, time) : "none",
		 window->bytes ? text_size_exact(window->bytes, bytes) : "none");
	return out;
}
