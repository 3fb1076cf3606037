// SPDX-License-Identifier: GPL-2.0-only
/*
 * Option structures of other versions, and arguments that the library itself
 * refuses: before any request, so a descriptor that is none shows who refused.
 */
#include <errno.h>
#include <sys/mman.h>

#include <isthmus.h>

#include "internal.h"
#include "unit.h"

/* A descriptor that is not open: what reaches the kernel comes back as EBADF. */
#define NOBODY (-1)

struct first {
	size_t size;
	uint32_t a;
};

struct second {
	size_t size;
	uint32_t a, b;
	uint64_t c;
};

struct third {
	struct second known;
	uint64_t d;
	char e[104];
};

#define READ(known, given) \
	isth_options_read(&(known), sizeof(known), ISTH_SIZE_UP_TO(struct first, a), &(given))

static void older_reads_as_zeros(void)
{
	struct {
		struct first first;
		char beyond[64];
	} given = { .first = { ISTH_SIZE_UP_TO(struct first, a), 7 } };
	struct second known;

	memset(&known, 0xff, sizeof(known));
	memset(given.beyond, 0xff, sizeof(given.beyond));
	EXPECT_EQ(READ(known, given), 0);
	EXPECT_EQ(known.a, 7);
	EXPECT_EQ(known.b, 0);
	EXPECT_EQ(known.c, 0);
}

static void same_is_copied(void)
{
	struct second given = { sizeof(given), 1, 2, 3 }, known;

	EXPECT_EQ(READ(known, given), 0);
	EXPECT(!memcmp(&given, &known, sizeof(given)));
}

static void newer_with_zeros(void)
{
	struct third given = { .known = { sizeof(given), 1, 2, 3 } };
	struct second known;

	EXPECT_EQ(READ(known, given), 0);
	EXPECT_EQ(known.c, 3);
}

static void newer_that_asks_for_more(void)
{
	struct third given = { .known = { sizeof(given), 1, 2, 3 } };
	struct second known;

	given.e[103] = 1;
	EXPECT_EQ(READ(known, given), -E2BIG);
	given.known.size--;
	/* The byte is beyond the structure now. */
	EXPECT_EQ(READ(known, given), 0);
	given.e[103] = 0;
	given.d = 1;
	EXPECT_EQ(READ(known, given), -E2BIG);
}

static void sizes_that_are_none(void)
{
	struct second given = { 0, 1, 2, 3 }, known;

	EXPECT_EQ(READ(known, given), -EINVAL);
	given.size = ISTH_SIZE_UP_TO(struct first, a) - 1;
	EXPECT_EQ(READ(known, given), -EINVAL);
	given.size = 4097;
	EXPECT_EQ(READ(known, given), -E2BIG);
	given.size = SIZE_MAX;
	EXPECT_EQ(READ(known, given), -E2BIG);
	EXPECT_EQ(isth_options_read(&known, sizeof(known), sizeof(known), NULL), -EFAULT);
}

static void region_options(void)
{
	struct isth_region_options options = { .size = sizeof(options), .bytes = 4096 };

	EXPECT_EQ(isth_region_create(NOBODY, &options), -EBADF);
	EXPECT_EQ(isth_region_create(NOBODY, NULL), -EFAULT);
	options.bytes = UINT64_MAX;
	EXPECT_EQ(isth_region_create(NOBODY, &options), -EFBIG);
	options.bytes = UINT64_MAX - 4095;
	EXPECT_EQ(isth_region_create(NOBODY, &options), -EBADF);
	options.size = 0;
	EXPECT_EQ(isth_region_create(NOBODY, &options), -EINVAL);
	options.size = sizeof(options) - 1;
	EXPECT_EQ(isth_region_create(NOBODY, &options), -EINVAL);
	options.size = SIZE_MAX;
	EXPECT_EQ(isth_region_create(NOBODY, &options), -E2BIG);
}

static void revoke_options(void)
{
	struct isth_revoke_options options = { .size = sizeof(options), .handles = 5 };

	EXPECT_EQ(isth_revoke(NOBODY, NULL), -EBADF);
	EXPECT_EQ(isth_revoke(NOBODY, &options), -EBADF);
	EXPECT_EQ(options.handles, 5);
	options.size = 1;
	EXPECT_EQ(isth_revoke(NOBODY, &options), -EINVAL);
	options.size = SIZE_MAX;
	EXPECT_EQ(isth_revoke(NOBODY, &options), -E2BIG);
}

static void map_options(void)
{
	struct isth_map_options options = {
		.size = sizeof(options), .protection = PROT_READ, .bytes = 4096,
	};
	struct isth_mapping mapping = { &mapping, 42 };

	EXPECT_EQ(isth_region_map(NOBODY, NULL, &mapping), -EBADF);
	EXPECT_EQ(isth_region_map(NOBODY, NULL, NULL), -EFAULT);
	EXPECT_EQ(isth_region_map(NOBODY, &options, &mapping), -EBADF);
	options.flags = MAP_FIXED;
	EXPECT_EQ(isth_region_map(NOBODY, &options, &mapping), -EINVAL);
	options.flags = MAP_PRIVATE;
	EXPECT_EQ(isth_region_map(NOBODY, &options, &mapping), -EINVAL);
	options.flags = 0;
	options.protection = PROT_GROWSDOWN;
	EXPECT_EQ(isth_region_map(NOBODY, &options, &mapping), -EINVAL);
	options.protection = PROT_READ;
	options.offset = UINT64_MAX;
	EXPECT_EQ(isth_region_map(NOBODY, &options, &mapping), -EOVERFLOW);
	options.size = 3;
	EXPECT_EQ(isth_region_map(NOBODY, &options, &mapping), -EINVAL);
	/* An error leaves everything as it was. */
	EXPECT(mapping.address == &mapping && mapping.bytes == 42);
}

static void other_arguments(void)
{
	struct isth_mapping none = { NULL, 0 };
	struct isth_info info;
	struct isth_stat stat;
	uint64_t pinned = 77;

	EXPECT_EQ(isth_info(NOBODY, &info), -EBADF);
	EXPECT_EQ(isth_info(NOBODY, NULL), -EFAULT);
	EXPECT_EQ(isth_stat(NOBODY, &stat), -EBADF);
	EXPECT_EQ(isth_stat(NOBODY, NULL), -EFAULT);
	EXPECT_EQ(isth_derive(NOBODY, ISTH_RIGHT_READ), -EBADF);
	EXPECT_EQ(isth_region_freeze(NOBODY, &pinned), -EBADF);
	EXPECT_EQ(pinned, 77);
	EXPECT_EQ(isth_region_unmap(NULL), -EFAULT);
	EXPECT_EQ(isth_region_unmap(&none), -EINVAL);
	/* An open descriptor that is not ours. */
	EXPECT_EQ(isth_stat(0, &stat), -ENOTTY);
}

static void errno_stays(void)
{
	struct isth_region_options options = { .size = sizeof(options), .bytes = 1 };
	struct isth_mapping mapping;

	errno = 4242;
	isth_region_create(NOBODY, &options);
	isth_region_map(NOBODY, NULL, &mapping);
	isth_revoke(NOBODY, NULL);
	isth_region_freeze(NOBODY, NULL);
	EXPECT_EQ(errno, 4242);
}

static const struct unit_case cases[] = {
	{ "an older structure reads as if zeros followed", older_reads_as_zeros },
	{ "one of the same version is copied", same_is_copied },
	{ "a newer one with zeros is accepted", newer_with_zeros },
	{ "a newer one that asks for more is E2BIG", newer_that_asks_for_more },
	{ "sizes that cannot be are refused", sizes_that_are_none },
	{ "isth_region_create refuses before it asks the kernel", region_options },
	{ "isth_revoke refuses before it asks the kernel", revoke_options },
	{ "isth_region_map refuses before it asks the kernel", map_options },
	{ "bad pointers and descriptors are errors", other_arguments },
	{ "errno stays as it was", errno_stays },
};

int main(void)
{
	return UNIT_RUN(cases);
}
