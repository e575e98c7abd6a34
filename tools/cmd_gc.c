/* varve gc STORE|PATH [--dry-run] [--json] */
#include <inttypes.h>
#include <stdio.h>

#include "ask.h"
#include "command.h"
#include "member.h"
#include "subject.h"

struct arguments {
	struct subject subject;
	bool dry_run;
};

static error_t gc_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;

	if (key == 'n') {
		arguments->dry_run = true;
		return 0;
	}
	return subject_parse(key, argument, state, &arguments->subject, SUBJECT_STORE);
}

static const struct argp_option gc_options[] = {
	{"dry-run", 'n', NULL, 0, "drop nothing; tell what would be", 0},
	SUBJECT_JSON_OPTION,
	{0},
};

static const struct argp gc_argp = {
	.options = gc_options,
	.parser = gc_parse,
	.args_doc = "STORE|PATH",
	.doc = "Drop all history that nothing keeps, of a store named by its directory or by any path in "
	       "its mount, and tell what that freed: versions that are neither in the window (varve window) nor "
	       "needed by an open file of the past.\v"
	       "It happens by itself as layers are merged in the background; this does it now, and to "
	       "the end. Layers that hold something to drop are written anew, which takes room on the disk "
	       "until it is done. A mounted store stays in use.",
};

static void print_pins(const json_t *gc)
{
	const json_t *pins = json_object_get(gc, "pins"), *pin;
	char size[TEXT_SIZE_MAX];
	size_t i;

	json_array_foreach(pins, i, pin)
		printf("pin         LSN %" PRIu64 " keeps %s that nothing else needs\n",
		       member_number(pin, "lsn"), member_size(pin, "bytes", size));
}

static void print_gc(const json_t *gc)
{
	const char *would = member_flag(gc, "dry_run") ? "would be " : "";
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX], c[TEXT_SIZE_MAX];

	printf("versions    %" PRIu64 " %sdropped, of %s\n", member_number(gc, "dropped_versions"), would,
	       member_size(gc, "dropped_bytes", a));
	printf("on disk     %s %sfreed: %s in layers of %s\n", member_size(gc, "freed_bytes", a), would,
	       member_size(gc, "bytes_after", b), member_size(gc, "bytes_before", c));
	print_pins(gc);
}

static void on_answer(void *context, const json_t *object)
{
	const struct arguments *arguments = context;
	const json_t *gc = json_object_get(object, "gc");

	if (arguments->subject.json)
		member_print(gc);
	else
		print_gc(gc);
}

int cmd_gc(int argc, char **argv)
{
	struct arguments arguments = {0};

	argp_parse(&gc_argp, argc, argv, 0, NULL, &arguments);
	return ask(arguments.subject.path,
		   json_pack("{s:s, s:b}", "op", "gc", "dry_run", (int)arguments.dry_run), ASK_MERGES,
		   "gone through", on_answer, &arguments);
}
