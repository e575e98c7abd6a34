/* varve help [COMMAND] */
#include <argp.h>
#include <stdio.h>

#include "command.h"

static const char *topic;

static error_t help_parse(int key, char *argument, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one command at a time");
		topic = argument;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp help_argp = {
	.parser = help_parse,
	.args_doc = "[COMMAND]",
	.doc = "List the commands, or explain one.",
};

static void list_commands(void)
{
	puts("varve keeps every version of every page of a file system.\n"
	     "\n"
	     "Usage: varve COMMAND [ARGUMENTS]\n");
	for (const struct command *command = commands; command->name; command++)
		printf("  %-8s %s\n", command->name, command->summary);
	puts("\n"
	     "`varve help COMMAND` or `varve COMMAND --help` explains one; `varve --version`\n"
	     "tells the version. Exit status: 0 done, 1 failed, 2 called wrong.");
}

int cmd_help(int argc, char **argv)
{
	char *help_argv[] = {NULL, "--help", NULL};
	const struct command *command;

	argp_parse(&help_argp, argc, argv, 0, NULL, NULL);
	if (!topic) {
		list_commands();
		return STATUS_OK;
	}
	command = command_find(topic);
	if (!command) {
		fail("there is no command '%s'; `varve help` lists them", topic);
		return STATUS_USAGE;
	}
	return command_run(command, 2, help_argv);
}
