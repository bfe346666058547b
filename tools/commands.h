/* SPDX-License-Identifier: MIT */
/*
 * commands: the subcommands of `ufault`, one file each, all on the public API.
 *
 * A command gets its own name as argv[0] and returns the exit status:
 *
 *     0    done, and the answer is yes where there was a question
 *     1    it could not be done, or the answer is no; stderr or the output
 *          says why
 *     2    the command line is wrong; stderr names the argument
 *
 * `ufault run` returns the status of the program it ran, 128 + N if signal N
 * ended it, 2 for a wrong command line, and for other failures of its own the
 * same as env(1) and timeout(1):
 *
 *     125  ufault itself failed
 *     126  the program was found but could not be started
 *     127  the program was not found
 */
#ifndef UF_TOOLS_COMMANDS_H
#define UF_TOOLS_COMMANDS_H

enum exit_status {
    EXIT_DONE = 0,
    EXIT_NOT_DONE = 1,
    EXIT_USAGE = 2,
    EXIT_RUN_FAILED = 125,
    EXIT_RUN_NOT_STARTED = 126,
    EXIT_RUN_NOT_FOUND = 127
};

/* What this kernel and this process may use, and what would allow the rest. */
int cmd_probe(int argc, char **argv);

/* What is in images of spaces, whether they are whole, how they differ. */
int cmd_image(int argc, char **argv);

/* Runs an unmodified program with its heap in a space. */
int cmd_run(int argc, char **argv);

#endif
