/* varve window STORE|PATH [--time 7d] [--bytes 50G] [--json] */
#include <inttypes.h>
#include <stdio.h>

#include "ask.h"
#include "command.h"
#include "member.h"
#include "subject.h"
#include "window_text.h"

struct arguments {
	struct subject subject;
	bool set_time, set_bytes;
	uint64_t time_ns, bytes;
};

static error_t window_parse_argument(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	switch (key) {
	case 't':
		if (!window_parse_time(argument, &arguments->time_ns))
			argp_error(state, "'%s' is no length of time; write it like 90s, 15m, 36h, 7d or "
				   "4w, or none", argument);
		arguments->set_time = true;
		return 0;
	case 'b':
		if (!window_parse_bytes(argument, &arguments->bytes))
			argp_error(state, "'%s' is no size; write it like 500M, 50G or 2T, or none",
				   argument);
		arguments->set_bytes = true;
		return 0;
	default:
		return subject_parse(key, argument, state, &arguments->subject, SUBJECT_STORE);
	}
}

static const struct argp_option window_options[] = {
	{"time", 't', "TIME", 0, "keep history for so long: a number with s, m, h, d or w; none: for ever", 0},
	{"bytes", 'b', "SIZE", 0, "keep so much history: a number with K, M, G or T; none: all of it", 0},
	SUBJECT_JSON_OPTION,
	{0},
};

static const struct argp window_argp = {
	.options = window_options,
	.parser = window_parse_argument,
	.args_doc = "STORE|PATH",
	.doc = "Show how long history is kept in a store, named by its directory or by any path in its "
	       "mount; with --time or --bytes set it.\v"
	       "What is beyond either limit can't be read any more, at once: lsn/oldest moves. Its room is "
	       "given back as layers are merged in the background, or by 'varve gc'. What an open file of "
	       "the past needs stays. A limit that is raised, or dropped, brings nothing back.",
};

static void print_lsn(const char *name, const json_t *window, const char *lsn, const char *time)
{
	const char *text = member_string(window, time);

	printf("%s  LSN %" PRIu64 "%s%s\n", name, member_number(window, lsn), *text ? ", of " : "", text);
}

static void print_window(const json_t *window)
{
	const struct store_window limits = {member_number(window, "time_ns"),
					    member_number(window, "bytes")};
	size_t pins = json_array_size(json_object_get(window, "pins"));
	char text[WINDOW_TEXT_MAX], size[TEXT_SIZE_MAX];

	printf("limits      %s\n", window_format(&limits, text));
	print_lsn("oldest    ", window, "oldest_lsn", "oldest_time");
	print_lsn("newest    ", window, "newest_lsn", "newest_time");
	printf("history     %s can be read\n",
	       text_size(member_number(window, "newest_lsn") - member_number(window, "oldest_lsn"),
			 size));
	if (pins)
		printf("pins        %zu LSNs are held by open files and directories of the past\n", pins);
}

static void on_answer(void *context, const json_t *object)
{
	const struct arguments *arguments = context;
	const json_t *window = json_object_get(object, "window");

	if (arguments->subject.json)
		member_print(window);
	else
		print_window(window);
}

int cmd_window(int argc, char **argv)
{
	struct arguments arguments = {0};
	json_t *request = json_pack("{s:s}", "op", "window");

	argp_parse(&window_argp, argc, argv, 0, NULL, &arguments);
	if (arguments.set_time)
		json_object_set_new(request, "time_ns", json_integer((json_int_t)arguments.time_ns));
	if (arguments.set_bytes)
		json_object_set_new(request, "bytes", json_integer((json_int_t)arguments.bytes));
	return ask(arguments.subject.path, request,
		   arguments.set_time || arguments.set_bytes ? ASK_CHANGES : ASK_READS, "", on_answer,
		   &arguments);
}
