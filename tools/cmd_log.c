/* varve log PATH [--json] */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "command.h"
#include "info.h"
#include "member.h"
#include "subject.h"

static error_t log_parse(int key, char *argument, struct argp_state *state)
{
	return subject_parse(key, argument, state, state->input,
			     "PATH is missing: a file or directory in a mount");
}

static const struct argp_option log_options[] = {
	SUBJECT_JSON_OPTION,
	{0},
};

static const struct argp log_argp = {
	.options = log_options,
	.parser = log_parse,
	.args_doc = "PATH",
	.doc = "List the versions of the file or directory PATH, oldest first: the LSN of each, "
	       "its "
	       "time, the size after it and what it changed.\v"
	       "PATH lies in a mount, at head/rel or in any lsn/<n>/rel; all versions are listed "
	       "in "
	       "either case. lsn/<n>/rel with an LSN of the list shows the file as of that "
	       "version.",
};

/*
 * What changed, in words: a list with commas.
 */

struct words {
	unsigned count;
};

__attribute__((format(printf, 2, 3))) static void say(struct words *words, const char *format, ...)
{
	va_list arguments;

	if (words->count++)
		fputs(", ", stdout);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
}

static void say_data(struct words *words, const json_t *change)
{
	uint64_t pages = member_number(change, "pages_written");
	uint64_t first = member_number(change, "page_first"), last = member_number(change, "page_last");
	uint64_t dropped = member_number(change, "pages_dropped");
	char size[TEXT_SIZE_MAX];

	/* Where the file was cut, that says it. */
	if (dropped && member_number(change, "size_bytes") >= member_number(change, "size_before_bytes"))
		say(words, dropped == 1 ? "punched %" PRIu64 " page" : "punched %" PRIu64 " pages", dropped);
	if (!pages)
		return;
	text_size(member_number(change, "data_bytes"), size);
	if (first == last)
		say(words, "wrote page %" PRIu64 " (%s)", first, size);
	else
		say(words, "wrote %" PRIu64 " pages of %" PRIu64 " to %" PRIu64 " (%s)", pages,
		    first, last, size);
}

static void say_size(struct words *words, const json_t *change)
{
	uint64_t before = member_number(change, "size_before_bytes");
	uint64_t after = member_number(change, "size_bytes");
	char size[TEXT_SIZE_MAX];

	if (S_ISDIR(member_number(change, "mode"))) {
		if (before < after)
			say(words, "a name added");
		else if (before > after)
			say(words, "a name removed");
	} else if (before < after) {
		say(words, "grew from %s", text_size(before, size));
	} else if (before > after) {
		say(words, "cut from %s", text_size(before, size));
	}
}

static void say_attributes(struct words *words, const json_t *change)
{
	unsigned mode = (unsigned)member_number(change, "mode") & 07777;
	unsigned mode_before = (unsigned)member_number(change, "mode_before") & 07777;

	if (mode != mode_before)
		say(words, "mode %04o to %04o", mode_before, mode);
	if (member_number(change, "uid") != member_number(change, "uid_before") ||
	    member_number(change, "gid") != member_number(change, "gid_before"))
		say(words, "owner %" PRIu64 ":%" PRIu64 " to %" PRIu64 ":%" PRIu64,
		    member_number(change, "uid_before"), member_number(change, "gid_before"),
		    member_number(change, "uid"), member_number(change, "gid"));
	if (member_number(change, "nlink") != member_number(change, "nlink_before") && !member_flag(change, "deleted"))
		say(words, "links %" PRIu64 " to %" PRIu64, member_number(change, "nlink_before"),
		    member_number(change, "nlink"));
	if (member_flag(change, "times_set"))
		say(words, "times set");
	if (member_flag(change, "xattrs_set"))
		say(words, "extended attributes set");
}

static void say_change(const json_t *change)
{
	struct words words = {0};

	if (member_flag(change, "created")) {
		say(&words, "created");
		say_data(&words, change);
	} else {
		say_data(&words, change);
		say_size(&words, change);
		say_attributes(&words, change);
		if (member_flag(change, "deleted"))
			say(&words, "last name removed");
		if (!words.count)
			say(&words, S_ISDIR(member_number(change, "mode")) ? "names changed"
								    : "renamed or touched");
	}
	putchar('\n');
}

/*
 * The list
 */

/* RFC 3339 to the microsecond: "2026-01-31T12:00:00.123456789Z" loses its last three digits. */
static void print_time(const json_t *change)
{
	const char *time = json_string_value(json_object_get(change, "time"));
	const char *dot = time ? strchr(time, '.') : NULL;

	if (dot && strlen(dot) == strlen(".123456789Z"))
		printf("%.*sZ", (int)(dot + strlen(".123456") - time), time);
	else
		fputs(time ? time : "", stdout);
}

static void print_head(const struct subject *subject, const char *store, uint64_t ino)
{
	json_t *path, *store_name;

	if (!subject->json) {
		printf("%12s  %-27s  %10s  %s\n", "LSN", "TIME", "SIZE", "CHANGE");
		return;
	}
	path = info_string(subject->path);
	store_name = info_string(store);
	fputs("{\"path\": ", stdout);
	json_dumpf(path, stdout, JSON_ENCODE_ANY);
	fputs(", \"store\": ", stdout);
	json_dumpf(store_name, stdout, JSON_ENCODE_ANY);
	printf(", \"inode\": %" PRIu64 ", \"versions\": [", ino);
	json_decref(path);
	json_decref(store_name);
}

static void print_change(const struct subject *subject, uint64_t index, const json_t *change)
{
	char size[TEXT_SIZE_MAX];

	if (subject->json) {
		fputs(index ? ",\n" : "\n", stdout);
		json_dumpf(change, stdout, 0);
		return;
	}
	printf("%12" PRIu64 "  ", member_number(change, "lsn"));
	print_time(change);
	printf("  %10s  ", S_ISDIR(member_number(change, "mode"))
				   ? "-"
				   : text_size(member_number(change, "size_bytes"), size));
	say_change(change);
}

static int print_log(const struct subject *subject, const char *store, uint64_t ino,
		     FILE *answer)
{
	json_t *object;
	int err;

	print_head(subject, store, ino);
	for (uint64_t index = 0;; index++) {
		bool end;

		err = client_next(answer, &object);
		if (err)
			break;
		end = json_object_get(object, "count");
		if (!end)
			print_change(subject, index, object);
		json_decref(object);
		if (end)
			break;
	}
	if (subject->json)
		fputs("\n]}\n", stdout);
	if (err == -ENODATA)
		return fail("the daemon ended the list early; is it still mounted?");
	return err ? STATUS_FAILED : STATUS_OK;
}

static int fail_path(const char *path, int err)
{
	if (err == -ENODATA)
		return fail("%s is in no varve mount, or is a directory of varve's own; name a "
			    "path below "
			    "head/rel or lsn/<n>/rel",
			    path);
	return fail("%s: %s", path, strerror(-err));
}

int cmd_log(int argc, char **argv)
{
	struct subject subject = {0};
	char store[PATH_MAX];
	FILE *answer;
	uint64_t ino;
	int err, status;

	argp_parse(&log_argp, argc, argv, 0, NULL, &subject);
	err = client_store_of(subject.path, store);
	if (!err)
		err = client_inode_of(subject.path, &ino);
	if (err)
		return fail_path(subject.path, err);
	err = client_request(store, json_pack("{s:s, s:I}", "op", "log", "inode", (json_int_t)ino),
			     &answer);
	if (err)
		return fail("the daemon of %s can't be reached: %s; ask as the user who mounted it",
			    store, strerror(-err));
	status = print_log(&subject, store, ino, answer);
	fclose(answer);
	return status;
}
