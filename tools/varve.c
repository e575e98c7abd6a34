/*
 * The varve command: picks the command and hands it the rest of the line.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

const struct command commands[] = {
	{"mkfs", "make a store", cmd_mkfs},
	{"mount", "mount a store", cmd_mount},
	{"umount", "unmount a store and wait until all is on disk", cmd_umount},
	{"info", "tell about a store", cmd_info},
	{"log", "list the versions of a file", cmd_log},
	{"window", "show or set how long history is kept", cmd_window},
	{"gc", "drop history that nothing keeps", cmd_gc},
	{"compact", "merge all history into one run of layers", cmd_compact},
	{"dump", "show the layers, or what is in them", cmd_dump},
	{"check", "look for damage in a store, and repair it", cmd_check},
	{"help", "explain a command", cmd_help},
	{0},
};

const struct command *command_find(const char *name)
{
	for (const struct command *command = commands; command->name; command++) {
		if (strcmp(command->name, name) == 0)
			return command;
	}
	return NULL;
}

int command_run(const struct command *command, int argc, char **argv)
{
	char name[32];

	/* argp begins its messages with argv[0]. */
	snprintf(name, sizeof(name), "varve %s", command->name);
	argv[0] = name;
	return command->run(argc, argv);
}

int fail(const char *format, ...)
{
	va_list arguments;

	fputs("varve: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return STATUS_FAILED;
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;

	argp_err_exit_status = STATUS_USAGE;
	if (argc >= 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
		puts("varve " VARVE_VERSION);
		return STATUS_OK;
	}
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0))
		return cmd_help(1, argv);
	if (argc < 2) {
		fail("a command is missing; `varve help` lists them");
		return STATUS_USAGE;
	}
	command = command_find(argv[1]);
	if (!command) {
		fail("there is no command '%s'; `varve help` lists them", argv[1]);
		return STATUS_USAGE;
	}
	return command_run(command, argc - 1, argv + 1);
}

int status_unprinted = STATUS_FAILED;

/* A list cut short by a full disk must not look whole. At exit, as argp ends the
 * process by itself after --help. */
static void output_check(void)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) == 0 && !failed)
		return;
	fail("the output could not be written: %s", strerror(errno ? errno : EIO));
	_exit(status_unprinted);
}

/* A standard descriptor that came closed would become a file of the store's, which messages are written to,
 * and which the daemon replaces when it goes to the background: its lock, for one. What takes its place
 * fails as a closed one does. */
static void standard_fill(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			_exit(STATUS_FAILED);
	}
}

int main(int argc, char **argv)
{
	standard_fill();
	atexit(output_check);
	return dispatch(argc, argv);
}
