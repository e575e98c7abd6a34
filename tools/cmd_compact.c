/* varve compact STORE|PATH [--json] */
#include <inttypes.h>
#include <stdio.h>

#include "ask.h"
#include "command.h"
#include "member.h"
#include "subject.h"

static error_t compact_parse(int key, char *argument, struct argp_state *state)
{
	return subject_parse(key, argument, state, state->input, SUBJECT_STORE);
}

static const struct argp_option compact_options[] = {
	SUBJECT_JSON_OPTION,
	{0},
};

static const struct argp compact_argp = {
	.options = compact_options,
	.parser = compact_parse,
	.args_doc = "STORE|PATH",
	.doc = "Merge all history of a store, named by its directory or by any path in its mount, into one "
	       "run of layers in the order of the keys, so that a read visits as few layers as can be.\v"
	       "Merging goes on in the background by itself and keeps reads within a limit; this does "
	       "more than that, once, and writes the whole history anew. It takes as much room on the disk "
	       "until it is done as a few layers. A mounted store stays in use.",
};

static void print_compact(const json_t *compact)
{
	char a[TEXT_SIZE_MAX], b[TEXT_SIZE_MAX];

	printf("runs        %" PRIu64 ", of %" PRIu64 "\n", member_number(compact, "runs_after"),
	       member_number(compact, "runs_before"));
	printf("on disk     %s, of %s\n", member_size(compact, "bytes_after", a),
	       member_size(compact, "bytes_before", b));
	printf("versions    %" PRIu64 " dropped that nothing kept, of %s\n",
	       member_number(compact, "dropped_versions"), member_size(compact, "dropped_bytes", a));
}

static void on_answer(void *context, const json_t *object)
{
	const struct subject *subject = context;
	const json_t *compact = json_object_get(object, "compact");

	if (subject->json)
		member_print(compact);
	else
		print_compact(compact);
}

int cmd_compact(int argc, char **argv)
{
	struct subject subject = {0};

	argp_parse(&compact_argp, argc, argv, 0, NULL, &subject);
	return ask(subject.path, json_pack("{s:s}", "op", "compact"), ASK_MERGES, "merged", on_answer,
		   &subject);
}
