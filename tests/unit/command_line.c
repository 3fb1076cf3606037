// SPDX-License-Identifier: GPL-2.0-only
/*
 * Command lines: what is understood, what is refused, and that junk given to
 * the whole program is one line on stderr and an exit code, never a crash.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.c"
#include "units.c"

#include "unit.h"

#define OUTPUT_MAX 4096

/* ---- the parser ---- */

static const struct command self = {
	.name = "unit test", .arguments = "WORD [OPTION...]", .summary = "Nothing",
};

static struct {
	bool flag, other, maybe_given, size_given;
	const char *text;
	uint64_t size, maybe;
	unsigned int mode;
	uint32_t rights;
} values;

static const struct option options[] = {
	{ "flag", 'f', OPTION_FLAG, NULL, "a flag", &values.flag, NULL },
	{ "other", 'o', OPTION_FLAG, NULL, "another", &values.other, NULL },
	{ "text", 't', OPTION_TEXT, "TEXT", "a text", &values.text, NULL },
	{ "size", 's', OPTION_SIZE, "SIZE", "a size", &values.size, &values.size_given },
	{ "mode", 0, OPTION_MODE, "MODE", "a mode", &values.mode, NULL },
	{ "rights", 0, OPTION_RIGHTS, "RIGHTS", "rights", &values.rights, NULL },
	{ "maybe", 'm', OPTION_MAYBE_SIZE, "SIZE", "perhaps", &values.maybe,
	  &values.maybe_given },
	{ .name = NULL },
};

#define WORDS_MOST 2
static const char *words[WORDS_MOST];

/*
 * Parse the words of @line, which one space each separates. What is printed is
 * dropped, except that its first line arrives in @said.
 */
static char said[OUTPUT_MAX];

static int parse(const char *line, size_t least)
{
	char copy[256], *argv[32], *rest, *word;
	int argc = 0, saved_out = dup(1), saved_err = dup(2), ret;
	FILE *file = tmpfile();

	snprintf(copy, sizeof(copy), "%s", line);
	for (word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	memset(&values, 0, sizeof(values));
	memset(words, 0, sizeof(words));
	fflush(stdout);
	dup2(fileno(file), 1);
	dup2(fileno(file), 2);
	ret = command_parse(&self, options, argc, argv, words, least, WORDS_MOST);
	fflush(stdout);
	dup2(saved_out, 1);
	dup2(saved_err, 2);
	close(saved_out);
	close(saved_err);
	rewind(file);
	memset(said, 0, sizeof(said));
	if (fread(said, 1, sizeof(said) - 1, file) == 0)
		said[0] = '\0';
	fclose(file);
	/* The words lie in @copy, which ends here; whoever needs them compares now. */
	words[0] = words[0] ? strdup(words[0]) : NULL;
	words[1] = words[1] ? strdup(words[1]) : NULL;
	values.text = values.text ? strdup(values.text) : NULL;
	return ret;
}

static void forget(void)
{
	free((void *)words[0]);
	free((void *)words[1]);
	free((void *)values.text);
}

static bool same(const char *got, const char *wanted)
{
	return got && !strcmp(got, wanted);
}

static void understood(void)
{
	EXPECT_EQ(parse("a b", 1), PARSED);
	EXPECT(same(words[0], "a") && same(words[1], "b") && !values.flag);
	forget();
	EXPECT_EQ(parse("--flag a --size 64M b", 1), PARSED);
	EXPECT(same(words[0], "a") && same(words[1], "b"));
	EXPECT(values.flag && values.size == 64 << 20 && values.size_given);
	forget();
	EXPECT_EQ(parse("-fo -s1K --text=x=y a", 1), PARSED);
	EXPECT(values.flag && values.other && values.size == 1024 && same(values.text, "x=y"));
	forget();
	EXPECT_EQ(parse("a -fs 2K --rights=rw --mode 0640", 1), PARSED);
	EXPECT(values.flag && values.size == 2048 && values.mode == 0640 && values.rights == 3);
	forget();
	EXPECT_EQ(parse("-- --flag -f", 1), PARSED);
	EXPECT(same(words[0], "--flag") && same(words[1], "-f") && !values.flag);
	forget();
	EXPECT_EQ(parse("- --text -", 1), PARSED);
	EXPECT(same(words[0], "-") && same(values.text, "-"));
	forget();
}

static void perhaps_a_value(void)
{
	EXPECT_EQ(parse("--maybe 0x1000", 1), PARSED);
	EXPECT(values.maybe_given && !values.maybe && same(words[0], "0x1000"));
	forget();
	EXPECT_EQ(parse("--maybe=0x1000 a", 1), PARSED);
	EXPECT(values.maybe_given && values.maybe == 4096);
	forget();
	EXPECT_EQ(parse("-mf a", 1), PARSED);
	EXPECT(values.maybe_given && values.flag);
	forget();
}

static void refused(void)
{
	static const char *const lines[] = {
		"", "--flag", "a b c", "--nonsense a", "-z a", "-fz a", "--flag=1 a", "--size",
		"a --size", "a -s", "--size= a", "--size=x a", "--size 99999999999E a",
		"--mode 9 a", "--rights q a", "--maybe=x a", "--fla a", "---flag a", "--=x a",
		"-=a", "--size=1 --size=x a",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		if (!EXPECT_EQ(parse(lines[i], 1), STATUS_USAGE) |
		    !EXPECT(strchr(said, '\n') && !strchr(said, '\n')[1]) |
		    !EXPECT(strstr(said, "--help")))
			printf("# for '%s': %s", lines[i], said);
		forget();
	}
}

static void help_wins(void)
{
	EXPECT_EQ(parse("--help", 1), STATUS_OK);
	EXPECT(!strncmp(said, "Usage: isthmus unit test WORD", 29));
	EXPECT(strstr(said, "  -s, --size SIZE ") && !strstr(said, "      --maybe[=SIZE] "));
	EXPECT(strstr(said, "  -m, --maybe[=SIZE] ") && strstr(said, "      --mode MODE "));
	forget();
	EXPECT_EQ(parse("a -h --nonsense", 1), STATUS_OK);
	forget();
}

static void guesses(void)
{
	static const char *const names[] = { "info", "region", "demo", NULL };

	EXPECT(same(closest_name("inof", names), "info"));
	EXPECT(same(closest_name("regions", names), "region"));
	EXPECT(same(closest_name("dem", names), "demo"));
	EXPECT(!closest_name("xyz", names));
	EXPECT(!closest_name("", names));
	EXPECT(!closest_name("a-word-that-is-much-longer-than-any-name-there-is", names));
}

/* ---- the whole program ---- */

static char program[256];

/* Run the program; what it said on stdout and stderr is in @said. Returns wait's status. */
static int run_program(char *const *arguments)
{
	int output[2], status = -1;
	size_t filled = 0;
	ssize_t got;
	pid_t child;

	if (pipe2(output, O_CLOEXEC))
		abort();
	child = fork();
	if (!child) {
		dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
		dup2(output[1], 1);
		dup2(output[1], 2);
		alarm(20);
		execv(program, arguments);
		_exit(99);
	}
	close(output[1]);
	memset(said, 0, sizeof(said));
	while (filled < sizeof(said) - 1 &&
	       (got = read(output[0], said + filled, sizeof(said) - 1 - filled)) > 0)
		filled += got;
	close(output[0]);
	if (waitpid(child, &status, 0) != child)
		abort();
	return status;
}

/* Also those that would only be refused further on: nothing listens there. */
static void expect_refusal(char *const *arguments, int exit_code)
{
	int status = run_program(arguments);
	size_t i;

	if (!EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == exit_code) |
	    !EXPECT(!strncmp(said, "isthmus", 7)) |
	    !EXPECT(strchr(said, '\n') && !strchr(said, '\n')[1])) {
		printf("# status %#x for:", status);
		for (i = 1; arguments[i]; i++)
			printf(" '%s'", arguments[i]);
		printf("\n# it said: %s\n", said);
	}
}

#define REFUSED(exit_code, ...) \
	expect_refusal((char *[]){ (char *)"isthmus", __VA_ARGS__, NULL }, exit_code)

static void program_refuses(void)
{
	static char long_path[300];

	memset(long_path, 'x', sizeof(long_path) - 1);
	REFUSED(2, (char *)"nonsense");
	REFUSED(2, (char *)"");
	REFUSED(2, (char *)"--nonsense");
	REFUSED(2, (char *)"-");
	REFUSED(2, (char *)"info", (char *)"more");
	REFUSED(2, (char *)"region");
	REFUSED(2, (char *)"region", (char *)"");
	REFUSED(2, (char *)"region", (char *)"raed", (char *)"x");
	REFUSED(2, (char *)"region", (char *)"read");
	REFUSED(2, (char *)"region", (char *)"share", (char *)"x");
	REFUSED(2, (char *)"region", (char *)"share", (char *)"x", (char *)"--size", (char *)"0");
	REFUSED(2, (char *)"region", (char *)"share", (char *)"x", (char *)"--size", (char *)"-1");
	REFUSED(2, (char *)"region", (char *)"share", (char *)"x", (char *)"--size", (char *)"1M",
		(char *)"--lazy", (char *)"--isolated");
	REFUSED(2, (char *)"region", (char *)"share", (char *)"x", (char *)"--size", (char *)"1M",
		(char *)"--rights", (char *)"z");
	REFUSED(2, (char *)"demo", (char *)"a", (char *)"b");
	REFUSED(1, (char *)"region", (char *)"stat", (char *)"/nonexistent/socket");
	REFUSED(1, (char *)"region", (char *)"stat", (char *)"");
	REFUSED(1, (char *)"region", (char *)"tree", long_path);
	REFUSED(1, (char *)"region", (char *)"read", (char *)"/dev/null");
	REFUSED(1, (char *)"region", (char *)"write", (char *)"/dev/null");
	REFUSED(1, (char *)"region", (char *)"share", (char *)"x", (char *)"--file",
		(char *)"/nonexistent/file");
}

static void program_answers(void)
{
	static const char *const lines[][3] = {
		{ "--help" }, { "-h" }, { "help" }, { "--version" }, { "info", "--help" },
		{ "region", "--help" }, { "region", "share", "--help" },
		{ "region", "read", "--help" }, { "region", "write", "--help" },
		{ "region", "stat", "--help" }, { "region", "tree", "--help" },
		{ "demo", "--help" },
	};
	char *arguments[5] = { (char *)"isthmus" };
	size_t i, j;
	int status;

	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		for (j = 0; j < 3; j++)
			arguments[j + 1] = (char *)lines[i][j];
		status = run_program(arguments);
		if (!EXPECT_EQ(status, 0) | !EXPECT(*said))
			printf("# for '%s'\n", lines[i][0]);
	}
}

/* A full disk is an error, also where all else went well. */
static void program_minds_a_full_disk(void)
{
	int status = -1;
	pid_t child = fork();

	if (!child) {
		dup2(open("/dev/full", O_WRONLY | O_CLOEXEC), 1);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		execl(program, "isthmus", "--help", NULL);
		_exit(99);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FAILED);
	child = fork();
	if (!child) {
		close(1);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		execl(program, "isthmus", "--version", NULL);
		_exit(99);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FAILED);
}

/*
 * Words at random, of pieces that mean something and of any bytes. A socket
 * that nobody made and a size that cannot be keep it from doing anything.
 */
static void program_on_junk(void)
{
	static const char *const pieces[] = {
		"info", "region", "read", "write", "stat", "tree", "--json", "--size", "64M", "-",
		"--", "--offset=1", "--offset", "-o", "--help=", "=", "--home=", "--rights",
		"\xff\xfe", "%s%n", "--size=0x", "\n", " ", "--\xff", "-\xff", "/nonexistent/s",
	};
	char random_word[16], *arguments[8] = { (char *)"isthmus" };
	unsigned int seed = 1, round, i, count;
	int status;

	for (round = 0; round < 300; round++) {
		count = 1 + rand_r(&seed) % 6;
		for (i = 1; i <= count; i++)
			arguments[i] = (char *)pieces[rand_r(&seed) % ARRAY_SIZE(pieces)];
		for (i = 0; i < sizeof(random_word) - 1; i++)
			random_word[i] = 1 + rand_r(&seed) % 255;
		random_word[sizeof(random_word) - 1] = '\0';
		if (round % 3 == 0)
			arguments[1 + rand_r(&seed) % count] = random_word;
		arguments[count + 1] = NULL;
		status = run_program(arguments);
		if (!EXPECT(WIFEXITED(status) && WEXITSTATUS(status) <= STATUS_TAKEN))
			printf("# status %#x in round %u\n", status, round);
	}
}

static const struct unit_case cases[] = {
	{ "words and options in any order", understood },
	{ "an option that may have a value", perhaps_a_value },
	{ "what is wrong is one line with a hint", refused },
	{ "help is an answer wherever it is asked", help_wins },
	{ "a slip of the finger is recognised", guesses },
	{ "the program refuses with one line and a code", program_refuses },
	{ "the program answers help and version", program_answers },
	{ "the program minds a full disk and a closed stdout", program_minds_a_full_disk },
	{ "the program survives junk", program_on_junk },
};

/* The program stands beside the folder of the tests: build/bin, build/unit. */
static void find_program(void)
{
	char self_path[200];
	ssize_t length = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
	int up;

	if (length < 0)
		abort();
	self_path[length] = '\0';
	for (up = 0; up < 2; up++)
		*strrchr(self_path, '/') = '\0';
	snprintf(program, sizeof(program), "%s/bin/isthmus", self_path);
}

int main(void)
{
	find_program();
	return UNIT_RUN(cases);
}
