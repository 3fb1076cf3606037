// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program isthmus: finds the command that was asked for, and runs it.
 */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include <isthmus.h>

#include "command.h"
#include "output.h"

#ifndef ISTHMUS_VERSION
#define ISTHMUS_VERSION "unknown"
#endif

/* In the order in which help lists them. */
static const struct command *const commands[] = {
	&command_info,
	&command_region_share,
	&command_region_read,
	&command_region_write,
	&command_region_stat,
	&command_region_tree,
	&command_demo,
	NULL,
};

/* Those that the first word names. */
static const struct command *const first_words[] = {
	&command_info,
	&command_region,
	&command_demo,
	&command_demo_actor,
	NULL,
};

static int show_help(void)
{
	printf("Usage: isthmus [COMMAND [ARGUMENT...]]\n\n"
	       "Shared memory that can be narrowed, frozen and taken back.\n\n");
	command_list(commands);
	printf("\n"
	       "isthmus alone does what isthmus info does. Each command has --help.\n\n"
	       "Exit status:\n"
	       "  0  done\n"
	       "  1  failed; one line on standard error says why\n"
	       "  2  the command line is wrong\n"
	       "  3  the module is not loaded, or this user may not use it\n"
	       "  4  the region was revoked or frozen under way\n");
	return STATUS_OK;
}

static int show_version(void)
{
	printf("isthmus %s, ABI %d\n", ISTHMUS_VERSION, ISTH_ABI_VERSION);
	return STATUS_OK;
}

static int run(int argc, char **argv)
{
	if (argc < 2)
		return command_info.run(&command_info, 0, argv);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return show_help();
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return show_version();
	return command_dispatch("isthmus", first_words, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status;

	output_open();
	setlocale(LC_CTYPE, "");
	status = run(argc, argv);
	if (!output_close() && status == STATUS_OK)
		status = STATUS_FAILED;
	return status;
}
