/* varve check STORE|PATH [--json] [--repair] */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bar.h"
#include "check.h"
#include "client.h"
#include "command.h"
#include "info.h"
#include "member.h"
#include "store.h"
#include "subject.h"

/* As fsck(8) has them. */
enum check_status {
	CHECK_CLEAN = 0,
	CHECK_REPAIRED = 1,
	CHECK_ERRORS_LEFT = 4,
	CHECK_NOT_RUN = 8,
	CHECK_USAGE = 16,
};

struct arguments {
	struct subject subject;
	bool repair;
	unsigned samples;
};

static error_t check_parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	uint64_t number;

	switch (key) {
	case 'r':
		arguments->repair = true;
		return 0;
	case 's':
		if (!text_parse_number(argument, &number) || !number || number > STORE_CHECK_SAMPLES_MAX)
			argp_error(state, "--samples wants a number from 1 to %d", STORE_CHECK_SAMPLES_MAX);
		arguments->samples = (unsigned)number;
		return 0;
	default:
		return subject_parse(key, argument, state, &arguments->subject, SUBJECT_STORE);
	}
}

static const struct argp_option check_options[] = {
	SUBJECT_JSON_OPTION,
	{"repair", 'r', NULL, 0, "mend what can be mended, and set the rest aside; not while mounted", 0},
	{"samples", 's', "N", 0, "walk the tree as of N LSNs of the past (4)", 0},
	{0},
};

static const struct argp check_argp = {
	.options = check_options,
	.parser = check_parse,
	.args_doc = "STORE|PATH",
	.doc = "Look for damage in a store, named by its directory or by any path in its mount: "
	       "every checksum, every index, the files, and the tree at the newest LSN and at some of "
	       "the past. A mounted store is checked by its daemon and stays in use.\v"
	       "Of each fault it tells the file, the layer, the page, and the LSNs that can be read "
	       "all the same. Without --repair nothing is changed. --repair drops no byte that "
	       "can still be read: it makes indexes and manifest anew from what is whole, and sets "
	       "damaged parts aside in STORE/damaged.\n\n"
	       "Exit status, as of fsck: 0 clean, 1 damage was found and repaired, 4 damage is left, "
	       "8 the check could not be run, 16 called wrongly.",
};

/*
 * Telling
 */

struct telling {
	const struct arguments *arguments;
	struct bar bar;
	uint64_t count;
	json_t *mended;			/* the steps of a repair */
};

static bool has(const json_t *object, const char *name)
{
	return json_is_integer(json_object_get(object, name));
}

/* "layers/...: page 3 of /a/b (inode 20): " */
static void print_place(const json_t *finding)
{
	if (*member_string(finding, "file"))
		printf("%s: ", member_string(finding, "file"));
	if (has(finding, "inode")) {
		if (has(finding, "page"))
			printf("page %" PRIu64 " of ", member_number(finding, "page"));
		else if (strcmp(member_string(finding, "kind"), "tree") != 0)
			printf("%s of ", member_string(finding, "what"));
		if (*member_string(finding, "path")) {
			member_print_string(finding, "path");
			fputs(", ", stdout);
		}
		printf("inode %" PRIu64, member_number(finding, "inode"));
		if (strcmp(member_string(finding, "kind"), "version") == 0)
			printf(", at LSN %" PRIu64, member_number(finding, "damaged_from"));
		fputs(": ", stdout);
	} else if (has(finding, "offset")) {
		printf("bytes %" PRIu64 " to %" PRIu64 ": ", member_number(finding, "offset"),
		       member_number(finding, "offset") + member_number(finding, "size_bytes"));
	}
}

static void print_harm(const json_t *finding)
{
	uint64_t from = member_number(finding, "damaged_from");

	if (!has(finding, "damaged_from")) {
		puts("    every LSN can be read all the same");
	} else if (!has(finding, "readable_from")) {
		printf("    LSNs below %" PRIu64 " can be read; from there on what is named, unless it "
		       "was written again\n", from);
	} else {
		printf("    damaged from LSN %" PRIu64 " on; readable below it, and again from LSN %"
		       PRIu64 " on\n", from, member_number(finding, "readable_from"));
	}
}

static void print_finding(const json_t *finding)
{
	bool known = json_is_true(json_object_get(finding, "known"));

	print_place(finding);
	member_print_string(finding, "text");
	puts(known ? " (known, set aside by a repair)" : "");
	print_harm(finding);
}

/* Takes over the reference. */
static void tell_finding(struct telling *telling, json_t *finding)
{
	bar_clear(&telling->bar);
	if (telling->arguments->subject.json) {
		fputs(telling->count++ ? ",\n" : "\n", stdout);
		json_dumpf(finding, stdout, 0);
	} else {
		print_finding(finding);
	}
	json_decref(finding);
}

static void print_result(const json_t *result)
{
	uint64_t errors = member_number(result, "finding_count"), known = member_number(result, "known_count");

	printf("%" PRIu64 " layers with %" PRIu64 " versions, the tree of %" PRIu64
	       " inodes at %" PRIu64 " LSNs", member_number(result, "layer_count"),
	       member_number(result, "version_count"), member_number(result, "inode_count"),
	       member_number(result, "state_count"));
	if (!member_number(result, "state_count"))
		fputs(" (the store does not open)", stdout);
	if (errors)
		printf(": %" PRIu64 " faults", errors);
	else
		printf(": %s", member_string(result, "status"));
	if (known)
		printf(", %" PRIu64 " known from before", known);
	putchar('\n');
}

static void tell_begin(struct telling *telling)
{
	if (telling->arguments->subject.json)
		fputs("{\"findings\": [", stdout);
}

/* @result NULL: the check was not run to its end. Takes over the reference. */
static int tell_result(struct telling *telling, json_t *result)
{
	int status = CHECK_NOT_RUN;

	bar_clear(&telling->bar);
	if (result)
		status = member_number(result, "finding_count")  ? CHECK_ERRORS_LEFT
			 : member_number(result, "mended_count") ? CHECK_REPAIRED
							  : CHECK_CLEAN;
	if (telling->arguments->subject.json) {
		fputs(telling->count ? "\n], \"mended\": " : "], \"mended\": ", stdout);
		json_dumpf(telling->mended, stdout, 0);
		fputs(", \"result\": ", stdout);
		if (result)
			json_dumpf(result, stdout, 0);
		else
			fputs("null", stdout);
		puts("}");
	} else if (result) {
		print_result(result);
	}
	json_decref(result);
	return status;
}

/*
 * By the daemon
 */

static int follow(struct telling *telling, FILE *answer)
{
	json_t *object;

	tell_begin(telling);
	while (client_next(answer, &object) == 0) {
		json_t *finding = json_object_get(object, "finding");
		json_t *result = json_object_get(object, "result");

		if (has(object, "begin"))
			bar_begin(&telling->bar, member_number(object, "begin"));
		bar_add(&telling->bar, member_number(object, "bytes"));
		if (finding)
			tell_finding(telling, json_incref(finding));
		if (result) {
			int status = tell_result(telling, json_incref(result));

			json_decref(object);
			return status;
		}
		json_decref(object);
	}
	fail("the daemon ended the check early; is it still mounted?");
	return tell_result(telling, NULL);
}

/*
 * By ourselves
 */

static void on_begin(void *context, uint64_t bytes)
{
	bar_begin(&((struct telling *)context)->bar, bytes);
}

static bool on_progress(void *context, uint64_t bytes)
{
	bar_add(&((struct telling *)context)->bar, bytes);
	return true;
}

static void on_finding(void *context, const struct finding *finding)
{
	tell_finding(context, info_finding(finding));
}

static void on_mended(void *context, const char *text)
{
	struct telling *telling = context;
	json_t *string = info_string(text);

	bar_clear(&telling->bar);
	if (!telling->arguments->subject.json)
		printf("repair: %s\n", text);
	else
		json_array_append(telling->mended, string);
	json_decref(string);
}

/* What the core would say of a bad version, the findings say better. */
static void ignore_line(const char *line)
{
	(void)line;
}

static int check_files(struct telling *telling, const char *path)
{
	const struct store_check_options options = {
		.repair = telling->arguments->repair,
		.sample_count = telling->arguments->samples,
		.hooks = {on_finding, on_progress, telling},
		.begin = on_begin,
		.mended = on_mended,
	};
	struct store_check_result result;
	struct report report = {""};
	int err;

	log_set_sink(ignore_line);
	tell_begin(telling);
	err = store_check(path, &options, &report, &result);
	bar_clear(&telling->bar);
	if (err)
		fail("%s", report.text);
	return tell_result(telling, err ? NULL : info_check(path, &result));
}

static int check_run(const struct arguments *arguments)
{
	struct telling telling = {.arguments = arguments, .bar = bar_make("read; the tree is walked"),
				  .mended = json_array()};
	char store[PATH_MAX];
	FILE *answer;
	int status;

	if (client_store_of(arguments->subject.path, store) != 0)
		snprintf(store, sizeof(store), "%s", arguments->subject.path);
	if (client_request(store, json_pack("{s:s, s:i}", "op", "check", "samples",
					    (int)arguments->samples), &answer) != 0)
		answer = NULL;
	if (answer && arguments->repair) {
		fail("%s is mounted: a repair needs it unmounted, with 'varve umount'", store);
		status = CHECK_NOT_RUN;
	} else {
		status = answer ? follow(&telling, answer) : check_files(&telling, store);
	}
	if (answer)
		fclose(answer);
	json_decref(telling.mended);
	return status;
}

int cmd_check(int argc, char **argv)
{
	struct arguments arguments = {0};

	argp_err_exit_status = CHECK_USAGE;
	status_unprinted = CHECK_NOT_RUN;
	argp_parse(&check_argp, argc, argv, 0, NULL, &arguments);
	return check_run(&arguments);
}
