// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every error has a sentence, which is one line and does not change.
 */
#include <errno.h>
#include <limits.h>

#include <isthmus.h>

#include "unit.h"

static void every_error(void)
{
	const char *sentence;
	int error;

	for (error = 1; error < 4096; error++) {
		sentence = isth_strerror(-error);
		if (!EXPECT(sentence && *sentence && !strchr(sentence, '\n')))
			printf("# for error %d\n", error);
	}
}

static void no_error(void)
{
	EXPECT_TEXT(isth_strerror(0), "success");
	EXPECT_TEXT(isth_strerror(7), "success");
	EXPECT_TEXT(isth_strerror(INT_MAX), "success");
}

static void no_such_error(void)
{
	EXPECT_TEXT(isth_strerror(-4096), "unknown error");
	EXPECT_TEXT(isth_strerror(-100000), "unknown error");
	EXPECT_TEXT(isth_strerror(INT_MIN), "unknown error");
}

static void our_own_words(void)
{
	/* These mean something here that strerror() does not say. */
	static const int errors[] = { EKEYREVOKED, EBUSY, EDQUOT, EEXIST, EFBIG, ENOTTY, EPERM };
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		EXPECT(strcmp(isth_strerror(-errors[i]), strerror(errors[i])));
	EXPECT(strstr(isth_strerror(-EKEYREVOKED), "revoked"));
	EXPECT(strstr(isth_strerror(-EPERM), "frozen"));
}

static void the_rest_from_libc(void)
{
	EXPECT_TEXT(isth_strerror(-EXDEV), strerrordesc_np(EXDEV));
	EXPECT_TEXT(isth_strerror(-ENOSPC), strerrordesc_np(ENOSPC));
}

static void errno_stays(void)
{
	errno = 4242;
	isth_strerror(-EKEYREVOKED);
	isth_strerror(-EXDEV);
	EXPECT_EQ(errno, 4242);
}

static const struct unit_case cases[] = {
	{ "every error has a sentence of one line", every_error },
	{ "zero and positive values are success", no_error },
	{ "a number that is no error is unknown", no_such_error },
	{ "errors with a meaning of ours have words of ours", our_own_words },
	{ "all others have libc's words", the_rest_from_libc },
	{ "errno stays as it was", errno_stays },
};

int main(void)
{
	return UNIT_RUN(cases);
}
