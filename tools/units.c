// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sizes, rights and states: from what people type, and to what they read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <linux/isthmus.h>

#include "command.h"
#include "units.h"

/* A bit and its name; also its letter where people type it. */
struct bit {
	uint64_t bit;
	const char *name;
	char letter;
};

static const struct bit right_bits[] = {
	{ ISTH_RIGHT_READ, "read", 'r' },
	{ ISTH_RIGHT_WRITE, "write", 'w' },
	{ ISTH_RIGHT_EXEC, "exec", 'x' },
	{ ISTH_RIGHT_DERIVE, "derive", 'd' },
	{ ISTH_RIGHT_FREEZE, "freeze", 'f' },
};

static const struct bit state_bits[] = {
	{ ISTH_STATE_REVOKED, "revoked", 0 },
	{ ISTH_STATE_FROZEN, "frozen", 0 },
	{ ISTH_STATE_LAZY, "lazy", 0 },
};

static const struct bit feature_bits[] = {
	{ ISTH_FEATURE_PAGEABLE, "pageable", 0 },
	{ ISTH_FEATURE_ISOLATED, "isolated", 0 },
	{ ISTH_FEATURE_HOME, "home", 0 },
	{ ISTH_FEATURE_HUGE, "huge", 0 },
};

static const char size_letters[] = "KMGTPE";

/*
 * The digits that @text begins with; *@rest is what follows. Not strtoull(),
 * which also takes spaces, signs and a second "0x".
 */
static int parse_digits(const char *text, unsigned int base, uint64_t *value, const char **rest)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = text, *digit;
	bool too_large = false;

	*value = 0;
	for (; *at; at++) {
		digit = strchr(digits, *at >= 'A' && *at <= 'F' ? *at | 0x20 : *at);
		if (!digit || digit >= digits + base)
			break;
		too_large |= *value > (UINT64_MAX - (digit - digits)) / base;
		*value = *value * base + (digit - digits);
	}
	*rest = at;
	if (at == text)
		return -EINVAL;
	return too_large ? -ERANGE : 0;
}

int parse_size(const char *text, uint64_t *bytes)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *rest, *letter;
	unsigned int shift = 0;
	uint64_t value;
	int ret;

	ret = parse_digits(hex ? text + 2 : text, hex ? 16 : 10, &value, &rest);
	if (ret == -EINVAL)
		return ret;
	if (*rest) {
		letter = strchr(size_letters, *rest & ~0x20);
		if (!letter || !*letter)
			return -EINVAL;
		shift = 10 * (letter - size_letters + 1);
		rest++;
		if (!strcmp(rest, "iB"))
			rest += 2;
	}
	if (*rest)
		return -EINVAL;
	if (ret || value > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = value << shift;
	return 0;
}

int parse_mode(const char *text, unsigned int *mode)
{
	const char *rest;
	uint64_t value;

	int ret;

	ret = parse_digits(text, 8, &value, &rest);
	if (ret || *rest)
		return *rest ? -EINVAL : ret;
	if (value > 0777)
		return -ERANGE;
	*mode = value;
	return 0;
}

int parse_rights(const char *text, uint32_t *rights)
{
	uint32_t found = 0;
	size_t i;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		for (i = 0; i < ARRAY_SIZE(right_bits); i++) {
			if (right_bits[i].letter == *text)
				break;
		}
		if (i == ARRAY_SIZE(right_bits) || found & right_bits[i].bit)
			return -EINVAL;
		found |= right_bits[i].bit;
	}
	*rights = found;
	return 0;
}

char *format_size(uint64_t bytes, char *text, size_t size)
{
	unsigned int unit = 0;
	uint64_t tenths;

	while (unit < sizeof(size_letters) - 1 && bytes >> (10 * (unit + 1)))
		unit++;
	if (!unit) {
		snprintf(text, size, "%" PRIu64 " B", bytes);
		return text;
	}
	/* In two steps: ten times the whole would not always fit. */
	tenths = bytes >> (10 * (unit - 1));
	tenths = (tenths * 10 + 512) >> 10;
	if (tenths % 10)
		snprintf(text, size, "%" PRIu64 ".%" PRIu64 " %ciB", tenths / 10, tenths % 10,
			 size_letters[unit - 1]);
	else
		snprintf(text, size, "%" PRIu64 " %ciB", tenths / 10, size_letters[unit - 1]);
	return text;
}

/* With a comma before each three digits. */
char *format_count(uint64_t count, char *text, size_t size)
{
	char digits[24];
	size_t length = snprintf(digits, sizeof(digits), "%" PRIu64, count);
	size_t at = 0, i;

	for (i = 0; i < length && at + 2 < size; i++) {
		if (i && (length - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

static char *format_bits(uint64_t value, const struct bit *bits, size_t count, char *text,
			 size_t size)
{
	size_t at = 0, i;

	text[0] = '\0';
	for (i = 0; i < count && at < size; i++) {
		if (value & bits[i].bit)
			at += snprintf(text + at, size - at, "%s%s", at ? " " : "", bits[i].name);
		value &= ~bits[i].bit;
	}
	/* What a newer module knows and we do not is shown, not hidden. */
	if (value && at < size)
		snprintf(text + at, size - at, "%s0x%" PRIx64, at ? " " : "", value);
	return text;
}

char *format_rights(uint32_t rights, char *text, size_t size)
{
	return format_bits(rights, right_bits, ARRAY_SIZE(right_bits), text, size);
}

char *format_letters(uint32_t rights, char *text, size_t size)
{
	size_t at = 0, i;

	for (i = 0; i < ARRAY_SIZE(right_bits) && at + 1 < size; i++) {
		if (rights & right_bits[i].bit)
			text[at++] = right_bits[i].letter;
	}
	text[at] = '\0';
	return text;
}

char *format_state(uint32_t state, char *text, size_t size)
{
	format_bits(state, state_bits, ARRAY_SIZE(state_bits), text, size);
	if (!(state & (ISTH_STATE_REVOKED | ISTH_STATE_FROZEN))) {
		char rest[UNITS_MAX];

		snprintf(rest, sizeof(rest), "%s", text);
		snprintf(text, size, "live%s%s", *rest ? " " : "", rest);
	}
	return text;
}

char *format_features(uint64_t features, char *text, size_t size)
{
	return format_bits(features, feature_bits, ARRAY_SIZE(feature_bits), text, size);
}

const char *kind_name(uint32_t kind)
{
	switch (kind) {
	case ISTH_REGION_PAGEABLE:
		return "pageable";
	case ISTH_REGION_ISOLATED:
		return "isolated";
	default:
		return "of an unknown kind";
	}
}
