// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line that all commands share: words, options, help, complaints.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <isthmus.h>

#include "command.h"
#include "units.h"

#define HELP_COLUMN	26
#define NAME_MAX_BYTES	32

/* What is running, for complaints: "isthmus region read". */
static char speaker[64] = "isthmus";

static void complain_v(const char *format, va_list arguments, const char *hint)
{
	fprintf(stderr, "%s: ", speaker);
	vfprintf(stderr, format, arguments);
	if (hint)
		fprintf(stderr, "; see '%s %s'", speaker, hint);
	fputc('\n', stderr);
}

void complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain_v(format, arguments, NULL);
	va_end(arguments);
}

int misuse(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain_v(format, arguments, "--help");
	va_end(arguments);
	return STATUS_USAGE;
}

/* How many letters must be put in, taken out or changed to make @b of @a. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[NAME_MAX_BYTES + 1], diagonal, above;
	size_t length = strlen(b), i;

	if (strlen(a) > NAME_MAX_BYTES || length > NAME_MAX_BYTES)
		return UINT32_MAX;
	for (i = 0; i <= length; i++)
		row[i] = i;
	for (; *a; a++) {
		diagonal = row[0]++;
		for (i = 1; i <= length; i++) {
			above = row[i];
			row[i] = diagonal + (*a != b[i - 1]);
			if (above + 1 < row[i])
				row[i] = above + 1;
			if (row[i - 1] + 1 < row[i])
				row[i] = row[i - 1] + 1;
			diagonal = above;
		}
	}
	return row[length];
}

const char *closest_name(const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned int best_distance = 3, this_distance;

	for (; *names; names++) {
		this_distance = distance(word, *names);
		/* Two changes make any short word out of any other. */
		if (this_distance < best_distance && this_distance < strlen(*names) / 2 + 1) {
			best = *names;
			best_distance = this_distance;
		}
	}
	return best;
}

/* The last word of a command's name. */
static const char *own_name(const struct command *command)
{
	const char *space = strrchr(command->name, ' ');

	return space ? space + 1 : command->name;
}

void command_list(const struct command *const *table)
{
	for (; *table; table++) {
		if ((*table)->summary)
			printf("  %-15s %s\n", (*table)->name, (*table)->summary);
	}
}

int command_dispatch(const char *path, const struct command *const *table, int argc, char **argv)
{
	const char *names[16] = { NULL };
	const char *guess;
	size_t count = 0;

	snprintf(speaker, sizeof(speaker), "%s", path);
	for (; *table && count < ARRAY_SIZE(names) - 1; table++) {
		if (!strcmp(own_name(*table), argv[0])) {
			snprintf(speaker, sizeof(speaker), "isthmus %s", (*table)->name);
			return (*table)->run(*table, argc - 1, argv + 1);
		}
		if ((*table)->summary)
			names[count++] = own_name(*table);
	}
	if (argv[0][0] == '-')
		return misuse("there is no option '%s'", argv[0]);
	guess = closest_name(argv[0], names);
	if (guess)
		return misuse("there is no command '%s', but there is '%s'", argv[0], guess);
	return misuse("there is no command '%s'", argv[0]);
}

static void show_option(const struct option *option)
{
	char left[64];
	const char *form = "%c%c%c --%s%s%s";

	if (option->kind == OPTION_MAYBE_SIZE)
		form = "%c%c%c --%s[=%s%s]";
	snprintf(left, sizeof(left), form, option->letter ? '-' : ' ',
		 option->letter ? option->letter : ' ', option->letter ? ',' : ' ', option->name,
		 option->argument && option->kind != OPTION_MAYBE_SIZE ? " " : "",
		 option->argument ? option->argument : "");
	printf("  %-*s %s\n", HELP_COLUMN, left, option->help);
}

static void show_help(const struct command *self, const struct option *options)
{
	static const struct option help = {
		.name = "help", .letter = 'h', .kind = OPTION_FLAG, .help = "show this",
	};

	printf("Usage: isthmus %s%s%s\n\n%s.\n\n", self->name, *self->arguments ? " " : "",
	       self->arguments, self->summary ? self->summary : "Not for people");
	for (; options->name; options++)
		show_option(options);
	show_option(&help);
	if (self->details)
		printf("\n%s", self->details);
}

static int set_option(const struct option *option, const char *value)
{
	int ret = 0;

	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)option->value = true;
		break;
	case OPTION_TEXT:
		*(const char **)option->value = value;
		break;
	case OPTION_SIZE:
		ret = parse_size(value, option->value);
		break;
	case OPTION_MAYBE_SIZE:
		if (value)
			ret = parse_size(value, option->value);
		break;
	case OPTION_MODE:
		ret = parse_mode(value, option->value);
		break;
	case OPTION_RIGHTS:
		ret = parse_rights(value, option->value);
		break;
	}
	if (option->given)
		*option->given = true;
	if (ret == -ERANGE)
		return misuse("--%s: '%s' is too large", option->name, value);
	if (ret)
		return misuse("--%s: '%s' is no %s", option->name, value, option->argument);
	return PARSED;
}

static bool needs_value(const struct option *option)
{
	return option->kind != OPTION_FLAG && option->kind != OPTION_MAYBE_SIZE;
}

/* --name, --name=VALUE or --name VALUE; moves *@at on when it takes the next word. */
static int parse_long(const struct option *options, int argc, char **argv, int *at)
{
	const char *text = argv[*at] + 2;
	const char *equals = strchr(text, '=');
	size_t length = equals ? (size_t)(equals - text) : strlen(text);
	const char *value = equals ? equals + 1 : NULL;
	const struct option *option;

	for (option = options; option->name; option++) {
		if (strlen(option->name) == length && !strncmp(option->name, text, length))
			break;
	}
	if (!option->name)
		return misuse("there is no option '--%.*s'", (int)length, text);
	if (option->kind == OPTION_FLAG && value)
		return misuse("--%s takes no value", option->name);
	if (needs_value(option) && !value) {
		if (*at + 1 >= argc)
			return misuse("--%s needs a value: %s", option->name, option->argument);
		value = argv[++*at];
	}
	return set_option(option, value);
}

/* -a, -abc, -n VALUE or -nVALUE. */
static int parse_letters(const struct option *options, int argc, char **argv, int *at)
{
	const struct option *option;
	const char *text;
	int ret;

	for (text = argv[*at] + 1; *text; text++) {
		for (option = options; option->name; option++) {
			if (option->letter && option->letter == *text)
				break;
		}
		if (!option->name)
			return misuse("there is no option '-%c'", *text);
		if (needs_value(option)) {
			if (text[1])
				return set_option(option, text + 1);
			if (*at + 1 >= argc)
				return misuse("-%c needs a value: %s", *text, option->argument);
			return set_option(option, argv[++*at]);
		}
		ret = set_option(option, NULL);
		if (ret != PARSED)
			return ret;
	}
	return PARSED;
}

int command_parse(const struct command *self, const struct option *options, int argc, char **argv,
		  const char **words, size_t least, size_t most)
{
	bool only_words = false;
	size_t count = 0;
	int ret, i;

	for (i = 0; i < argc; i++) {
		if (only_words || argv[i][0] != '-' || !argv[i][1]) {
			if (count == most)
				return misuse("'%s' is one word too many", argv[i]);
			words[count++] = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			show_help(self, options);
			return STATUS_OK;
		}
		ret = PARSED;
		if (!strcmp(argv[i], "--"))
			only_words = true;
		else if (argv[i][1] == '-')
			ret = parse_long(options, argc, argv, &i);
		else
			ret = parse_letters(options, argc, argv, &i);
		if (ret != PARSED)
			return ret;
	}
	if (count < least)
		return misuse("something is missing: isthmus %s %s", self->name, self->arguments);
	return PARSED;
}

int status_of(int error)
{
	switch (error) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
	case -EACCES:
	case -EPERM:
		return STATUS_UNAVAILABLE;
	case -EKEYREVOKED:
		return STATUS_TAKEN;
	default:
		return STATUS_FAILED;
	}
}

int open_device(void)
{
	int device = isth_open();

	if (device >= 0)
		return device;
	if (status_of(device) != STATUS_UNAVAILABLE)
		complain("cannot open /dev/isthmus: %s", isth_strerror(device));
	else if (device == -EACCES || device == -EPERM)
		complain("/dev/isthmus is for root and group isthmus; to join it: sudo usermod -aG isthmus \"$USER\", then log in again");
	else if (access("/sys/module/isthmus", F_OK))
		complain("the module is not loaded; to load it: sudo modprobe isthmus");
	else
		complain("the module is loaded, but /dev/isthmus is missing; to make it: sudo modprobe -r isthmus && sudo modprobe isthmus");
	return -1;
}
