/*
 * Command: what the files of the `varve` command share.
 *
 * One file per command, cmd_NAME.c, with one function that takes the arguments
 * after "varve" and returns the exit status: 0 done, 1 failed, 2 called wrong; but check
 * has those of fsck.
 * Arguments are parsed by argp, which ends the process with 2 by itself.
 */
#ifndef VARVE_TOOLS_COMMAND_H
#define VARVE_TOOLS_COMMAND_H

#define STATUS_OK 0
#define STATUS_FAILED 1
#define STATUS_USAGE 2

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

extern const struct command commands[]; /* ends with a NULL name */

/* NULL: no such command. */
const struct command *command_find(const char *name);

/* Run @command as `varve NAME ARGUMENTS`; argv[0] is replaced. */
int command_run(const struct command *command, int argc, char **argv);

/* The exit status where the output could not be written: STATUS_FAILED, unless a command has another. */
extern int status_unprinted;

/* Print "varve: " and the line to stderr. Returns STATUS_FAILED. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

int cmd_check(int argc, char **argv);
int cmd_compact(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_mkfs(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_window(int argc, char **argv);

#endif
