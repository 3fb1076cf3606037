// SPDX-License-Identifier: GPL-2.0-only
/*
 * What people type for sizes, modes and rights, and how they are printed.
 */
#include <errno.h>

#include "units.c"

#include "unit.h"

static void good_sizes(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {
		{ "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "010", 10 }, { "64M", 64ULL << 20 },
		{ "64m", 64ULL << 20 }, { "1G", 1ULL << 30 }, { "2T", 2ULL << 40 },
		{ "1K", 1024 }, { "1KiB", 1024 }, { "15E", 15ULL << 60 }, { "0x1000", 4096 },
		{ "0X10", 16 }, { "0x10K", 16384 }, { "0xffffffffffffffff", UINT64_MAX },
		{ "18446744073709551615", UINT64_MAX }, { "000000000000000000000000001", 1 },
	};
	uint64_t bytes;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		bytes = 99;
		if (!EXPECT(!parse_size(sizes[i].text, &bytes) && bytes == sizes[i].bytes))
			printf("# for '%s'\n", sizes[i].text);
	}
}

static void expect_error(const char *text, int error)
{
	uint64_t bytes = 99;

	if (!EXPECT_EQ(parse_size(text, &bytes), error) | !EXPECT_EQ(bytes, 99))
		printf("# for '%s'\n", text);
}

static void junk_sizes(void)
{
	static const char *const junk[] = {
		"", " ", " 1", "1 ", "-1", "+1", "M", "1MM", "1MB", "1Mi", "1iB", "0x", "0xg",
		"0x-1", "0x 1", "x10", "1.5M", "1e3", "1,000", "1M\n", "\xff", "1\xff", "0x0x1",
		"one", "99999999999999999999999x", "1@", "1`", "1{", "1\x0d",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(junk); i++)
		expect_error(junk[i], -EINVAL);
}

static void large_sizes(void)
{
	static const char *const large[] = {
		"18446744073709551616", "99999999999999999999999999", "16E", "16384P",
		"17592186044416M", "0x10000000000000000", "0x40000000000000K",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(large); i++)
		expect_error(large[i], -ERANGE);
}

static void modes(void)
{
	unsigned int mode = 99;

	EXPECT(!parse_mode("0600", &mode) && mode == 0600);
	EXPECT(!parse_mode("666", &mode) && mode == 0666);
	EXPECT(!parse_mode("0", &mode) && mode == 0);
	EXPECT_EQ(parse_mode("1000", &mode), -ERANGE);
	EXPECT_EQ(parse_mode("8", &mode), -EINVAL);
	EXPECT_EQ(parse_mode("", &mode), -EINVAL);
	EXPECT_EQ(parse_mode("rw", &mode), -EINVAL);
	EXPECT_EQ(parse_mode("-1", &mode), -EINVAL);
	EXPECT_EQ(parse_mode("77777777777777777777777777", &mode), -ERANGE);
	EXPECT_EQ(mode, 0);
}

static void rights(void)
{
	uint32_t rights = 99;

	EXPECT(!parse_rights("r", &rights) && rights == ISTH_RIGHT_READ);
	EXPECT(!parse_rights("wr", &rights) && rights == (ISTH_RIGHT_READ | ISTH_RIGHT_WRITE));
	EXPECT(!parse_rights("rwxdf", &rights) && rights == ISTH_RIGHTS_REGION);
	EXPECT_EQ(parse_rights("", &rights), -EINVAL);
	EXPECT_EQ(parse_rights("rr", &rights), -EINVAL);
	EXPECT_EQ(parse_rights("ra", &rights), -EINVAL);
	EXPECT_EQ(parse_rights("R", &rights), -EINVAL);
	EXPECT_EQ(parse_rights("r w", &rights), -EINVAL);
	EXPECT_EQ(rights, ISTH_RIGHTS_REGION);
}

static void printed_sizes(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{ 0, "0 B" }, { 1, "1 B" }, { 1023, "1023 B" }, { 1024, "1 KiB" },
		{ 1536, "1.5 KiB" }, { 64 << 20, "64 MiB" }, { 3792896, "3.6 MiB" },
		{ 1ULL << 40, "1 TiB" }, { UINT64_MAX, "16 EiB" }, { 1048575, "1024 KiB" },
	};
	char text[UNITS_MAX];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		EXPECT_TEXT(format_size(sizes[i].bytes, text, sizeof(text)), sizes[i].text);
}

static void printed_counts(void)
{
	char text[UNITS_MAX];

	EXPECT_TEXT(format_count(0, text, sizeof(text)), "0");
	EXPECT_TEXT(format_count(999, text, sizeof(text)), "999");
	EXPECT_TEXT(format_count(1000, text, sizeof(text)), "1,000");
	EXPECT_TEXT(format_count(1234567, text, sizeof(text)), "1,234,567");
	EXPECT_TEXT(format_count(UINT64_MAX, text, sizeof(text)), "18,446,744,073,709,551,615");
	/* What has no room is cut off, not written elsewhere. */
	EXPECT(strlen(format_count(UINT64_MAX, text, 5)) < 5);
}

static void printed_bits(void)
{
	char text[UNITS_MAX], small[8];

	EXPECT_TEXT(format_rights(ISTH_RIGHT_READ | ISTH_RIGHT_DERIVE, text, sizeof(text)),
		    "read derive");
	EXPECT_TEXT(format_rights(0, text, sizeof(text)), "");
	EXPECT_TEXT(format_rights(ISTH_RIGHT_READ | 0x80000000U, text, sizeof(text)),
		    "read 0x80000000");
	EXPECT_TEXT(format_letters(ISTH_RIGHTS_REGION, text, sizeof(text)), "rwxdf");
	EXPECT_TEXT(format_state(0, text, sizeof(text)), "live");
	EXPECT_TEXT(format_state(ISTH_STATE_LAZY, text, sizeof(text)), "live lazy");
	EXPECT_TEXT(format_state(ISTH_STATE_REVOKED | ISTH_STATE_FROZEN, text, sizeof(text)),
		    "revoked frozen");
	EXPECT_TEXT(format_features(ISTH_FEATURE_HOME | ISTH_FEATURE_HUGE, text, sizeof(text)),
		    "home huge");
	EXPECT(strlen(format_rights(UINT32_MAX, small, sizeof(small))) < sizeof(small));
	EXPECT_TEXT(kind_name(ISTH_REGION_ISOLATED), "isolated");
	EXPECT(*kind_name(12345));
}

static const struct unit_case cases[] = {
	{ "sizes that are understood", good_sizes },
	{ "junk is no size", junk_sizes },
	{ "a size that does not fit is too large", large_sizes },
	{ "modes", modes },
	{ "rights", rights },
	{ "sizes are printed with one digit at most", printed_sizes },
	{ "counts are printed in groups", printed_counts },
	{ "bits are printed by name, unknown ones as a number", printed_bits },
};

int main(void)
{
	return UNIT_RUN(cases);
}
