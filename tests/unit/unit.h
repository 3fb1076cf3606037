/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The frame of a unit test: cases that expect things, and KTAP on stdout.
 */
#ifndef ISTHMUS_UNIT_H
#define ISTHMUS_UNIT_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit_case {
	const char *name;
	void (*run)(void);
};

static unsigned int unit_failures;

/* Go on after a failure: what follows may show more of it. */
#define EXPECT(condition) \
	unit_expect((condition), #condition, __FILE__, __LINE__)
#define EXPECT_EQ(got, wanted) \
	unit_expect_number((long long)(got), (long long)(wanted), #got, __FILE__, __LINE__)
#define EXPECT_TEXT(got, wanted) \
	unit_expect_text((got), (wanted), #got, __FILE__, __LINE__)

static inline bool unit_expect(bool holds, const char *what, const char *file, int line)
{
	if (!holds) {
		printf("# %s:%d: not so: %s\n", file, line, what);
		unit_failures++;
	}
	return holds;
}

static inline bool unit_expect_number(long long got, long long wanted, const char *what,
				      const char *file, int line)
{
	if (got != wanted) {
		printf("# %s:%d: %s is %lld, not %lld\n", file, line, what, got, wanted);
		unit_failures++;
	}
	return got == wanted;
}

static inline bool unit_expect_text(const char *got, const char *wanted, const char *what,
				    const char *file, int line)
{
	if (strcmp(got, wanted)) {
		printf("# %s:%d: %s is '%s', not '%s'\n", file, line, what, got, wanted);
		unit_failures++;
	}
	return !strcmp(got, wanted);
}

/* How many descriptors this process has open. */
static inline int unit_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int count = -3;		/* ".", ".." and the one that reads */

	if (!directory)
		abort();
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static inline int unit_main(const struct unit_case *cases, size_t count)
{
	unsigned int before;
	bool failed = false;
	size_t i;

	/* Children must not print what this one has not yet. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%zu\n", count);
	for (i = 0; i < count; i++) {
		before = unit_failures;
		cases[i].run();
		failed |= unit_failures != before;
		printf("%s %zu %s\n", unit_failures == before ? "ok" : "not ok", i + 1,
		       cases[i].name);
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_RUN(cases) unit_main((cases), sizeof(cases) / sizeof((cases)[0]))

#endif /* ISTHMUS_UNIT_H */
