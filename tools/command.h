/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands of isthmus have in common: one shape of command line, one
 * way to complain, one set of exit codes.
 */
#ifndef ISTHMUS_COMMAND_H
#define ISTHMUS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Exit codes; isthmus --help and isthmus(1) say the same. */
enum status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_UNAVAILABLE = 3,		/* no module, or no permission */
	STATUS_TAKEN = 4,		/* the region was revoked or frozen under way */
};

/**
 * struct command - one command
 * @name: all its words after "isthmus"
 * @arguments: what its usage line shows after @name
 * @summary: one line; NULL for one that is not listed
 * @details: more lines for --help, or NULL
 * @run: gets what follows the name, and returns an exit code
 */
struct command {
	const char *name;
	const char *arguments;
	const char *summary;
	const char *details;
	int (*run)(const struct command *self, int argc, char **argv);
};

extern const struct command command_info;
extern const struct command command_region;
extern const struct command command_region_share;
extern const struct command command_region_read;
extern const struct command command_region_write;
extern const struct command command_region_stat;
extern const struct command command_region_tree;
extern const struct command command_demo;
extern const struct command command_demo_actor;

/*
 * Run the command of @table (ended by NULL) that argv[0] names. @path is what
 * was typed before it.
 */
int command_dispatch(const char *path, const struct command *const *table, int argc, char **argv);

/* List the commands of @table, aligned. */
void command_list(const struct command *const *table);

enum option_kind {
	OPTION_FLAG,			/* bool */
	OPTION_TEXT,			/* const char * */
	OPTION_SIZE,			/* uint64_t, 64M */
	OPTION_MODE,			/* unsigned int, octal */
	OPTION_RIGHTS,			/* uint32_t, rw */
	OPTION_MAYBE_SIZE,		/* bool in @given; uint64_t with =VALUE only */
};

/**
 * struct option - one option of a command; an array of them ends with a NULL name
 * @name: the long name, without the dashes
 * @letter: the short name, or zero
 * @kind: what its value is
 * @argument: what help calls the value
 * @help: one line
 * @value: where the value goes
 * @given: set when the option was there; may be NULL
 */
struct option {
	const char *name;
	char letter;
	enum option_kind kind;
	const char *argument;
	const char *help;
	void *value;
	bool *given;
};

/* What command_parse() returns when the command shall go on. */
#define PARSED (-1)

/*
 * Read the command line of @self: options of @options anywhere, and between
 * @least and @most words, which arrive in @words. Also answers --help. Returns
 * PARSED or an exit code.
 */
int command_parse(const struct command *self, const struct option *options, int argc, char **argv,
		  const char **words, size_t least, size_t most);

/* The one of @names (ended by NULL) most like @word, or NULL when none is. */
const char *closest_name(const char *word, const char *const *names);

/* Print one line on stderr, behind the name of the command that runs. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for misuse; adds where to read more, and returns STATUS_USAGE. */
int misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Open the device, or complain with what mends it. Returns a descriptor or -1. */
int open_device(void);

/* The sentence and the exit code for @error, which open_device() or a create met. */
int status_of(int error);

#endif /* ISTHMUS_COMMAND_H */
