/* SPDX-License-Identifier: MIT */
/*
 * ufault: the command. It only chooses the subcommand; each has a file of its
 * own, cmd_NAME.c, with its own options and help.
 *
 *     ufault run [options] -- PROGRAM [ARGS]
 *     ufault probe [options]
 *     ufault image info|verify|diff|flatten FILE...
 *
 * Exit codes: commands.h.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "ufault/ufault.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
    const char *sentence;
};

static const struct command commands[] = {
    {"run", cmd_run, "run a program with its heap served by ufault"},
    {"probe", cmd_probe, "say what this kernel and this process may use"},
    {"image", cmd_image, "look at images of spaces"},
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to)
{
    fputs("usage: ufault COMMAND [ARGS]\n\n", to);
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(to, "    %-7s %s\n", commands[i].name, commands[i].sentence);
    fputs("\n    --version, --help\n"
          "\nufault COMMAND --help says more of each.\n",
          to);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < NCOMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("ufault %s\n", uf_version());
        return EXIT_DONE;
    }
    command = find_command(argv[1]);
    if (!command) {
        fprintf(stderr, "ufault: no command \"%s\"; see ufault --help\n",
                argv[1]);
        return EXIT_USAGE;
    }
    return command->run(argc - 1, argv + 1);
}
