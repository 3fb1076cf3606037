// SPDX-License-Identifier: GPL-2.0-only
/*
 * JSON, and texts of strangers on a terminal.
 */
#include "command.c"
#include "output.c"
#include "units.c"

#include "unit.h"

struct writer {
	struct json json;
	char *text;
	size_t size;
};

static void begin(struct writer *writer)
{
	memset(writer, 0, sizeof(*writer));
	writer->json.file = open_memstream(&writer->text, &writer->size);
	if (!writer->json.file)
		abort();
}

static void expect(struct writer *writer, const char *wanted)
{
	fclose(writer->json.file);
	EXPECT_TEXT(writer->text, wanted);
	free(writer->text);
}

static void text_is(const char *text, const char *wanted)
{
	struct writer writer;

	begin(&writer);
	json_text(&writer.json, NULL, text);
	expect(&writer, wanted);
}

static void plain_text(void)
{
	text_is("", "\"\"");
	text_is("isthmus", "\"isthmus\"");
	text_is("gr\u00fc\u00dfe \u2514 \U0001f600", "\"gr\u00fc\u00dfe \u2514 \U0001f600\"");
}

static void escapes(void)
{
	text_is("a\"b", "\"a\\\"b\"");
	text_is("a\\b", "\"a\\\\b\"");
	text_is("\n\t\x1b[31m\x7f", "\"\\u000a\\u0009\\u001b[31m\\u007f\"");
	text_is("</script>", "\"</script>\"");
}

static void no_utf8(void)
{
	text_is("\xff", "\"\\ufffd\"");
	text_is("a\xc3", "\"a\\ufffd\"");		/* cut off */
	text_is("\xc0\xaf", "\"\\ufffd\\ufffd\"");	/* longer than need be */
	text_is("\xe0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\"");
	text_is("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");	/* a surrogate */
	text_is("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	text_is("\xc2\x9b", "\"\\ufffd\\ufffd\"");	/* an escape in one character */
}

static void every_byte(void)
{
	struct writer writer;
	char text[256];
	unsigned int i;

	for (i = 0; i < 255; i++)
		text[i] = i + 1;
	text[255] = '\0';
	begin(&writer);
	json_text(&writer.json, NULL, text);
	fclose(writer.json.file);
	for (i = 0; i < writer.size; i++)
		EXPECT(writer.text[i] >= ' ' && writer.text[i] < 0x7f);
	free(writer.text);
}

static void nested(void)
{
	struct writer writer;

	begin(&writer);
	json_open(&writer.json, NULL, '{');
	json_number(&writer.json, "n", UINT64_MAX);
	json_address(&writer.json, "a", 0x7f0000001000);
	json_words(&writer.json, "w", "read write");
	json_words(&writer.json, "none", "");
	json_open(&writer.json, "list", '[');
	json_open(&writer.json, NULL, '{');
	json_close(&writer.json, '}');
	json_open(&writer.json, NULL, '{');
	json_text(&writer.json, "k\"", "v");
	json_close(&writer.json, '}');
	json_close(&writer.json, ']');
	json_close(&writer.json, '}');
	expect(&writer, "{\n"
			"  \"n\": 18446744073709551615,\n"
			"  \"a\": \"0x7f0000001000\",\n"
			"  \"w\": [\"read\", \"write\"],\n"
			"  \"none\": [],\n"
			"  \"list\": [\n"
			"    {},\n"
			"    {\n"
			"      \"k\\\"\": \"v\"\n"
			"    }\n"
			"  ]\n"
			"}\n");
}

static void fields_in_both_shapes(void)
{
	static const struct field fields[] = {
		{ FIELD_NUMBER, "n", "number", 12345, NULL },
		{ FIELD_SIZE, "s", "size", 65536, NULL },
		{ FIELD_ADDRESS, "a", "an address", 0, NULL },
		{ FIELD_WORDS, "w", "words", 0, "x y" },
		{ FIELD_TEXT, "t", "text", 0, "" },
	};
	struct writer writer;

	begin(&writer);
	fields_print(writer.json.file, fields, ARRAY_SIZE(fields));
	expect(&writer, "number      12,345\nsize        64 KiB\nan address  none\n"
			"words       x y\ntext        none\n");
	begin(&writer);
	json_open(&writer.json, NULL, '{');
	fields_json(&writer.json, fields, ARRAY_SIZE(fields));
	json_close(&writer.json, '}');
	expect(&writer, "{\n  \"n\": 12345,\n  \"s\": 65536,\n  \"a\": null,\n"
			"  \"w\": [\"x\", \"y\"],\n  \"t\": \"\"\n}\n");
}

static void strangers_text(void)
{
	char text[8];

	EXPECT_TEXT(printable("perl", text, sizeof(text)), "perl");
	EXPECT_TEXT(printable("\x1b[2J", text, sizeof(text)), "?[2J");
	EXPECT_TEXT(printable("a\nb\xff", text, sizeof(text)), "a?b?");
	EXPECT_TEXT(printable("\u202eabc", text, sizeof(text)), "???abc");
	EXPECT_TEXT(printable("0123456789", text, sizeof(text)), "0123456");
	/* A character is not cut in two. */
	EXPECT_TEXT(printable("012345\u00fc", text, sizeof(text)), "012345");
	EXPECT_TEXT(printable("", text, 1), "");
	EXPECT_TEXT(printable("x", text, 1), "");
}

static void colours(void)
{
	unsetenv("CLICOLOR_FORCE");
	unsetenv("NO_COLOR");
	/* stdout of a test is a file or a pipe; force it to be none of a terminal. */
	setenv("TERM", "dumb", 1);
	EXPECT_TEXT(tone(TONE_BAD), "");
	setenv("CLICOLOR_FORCE", "1", 1);
	EXPECT(*tone(TONE_BAD));
	setenv("CLICOLOR_FORCE", "0", 1);
	EXPECT_TEXT(tone(TONE_BAD), "");
	setenv("CLICOLOR_FORCE", "1", 1);
	setenv("NO_COLOR", "1", 1);
	EXPECT_TEXT(tone(TONE_BAD), "");
}

static const struct unit_case cases[] = {
	{ "plain text stays as it is", plain_text },
	{ "quotes, backslashes and control characters are escaped", escapes },
	{ "what is not UTF-8 is replaced", no_utf8 },
	{ "no byte breaks out of a string", every_byte },
	{ "objects and lists nest", nested },
	{ "fields for people and for programs", fields_in_both_shapes },
	{ "a stranger's text does not steer a terminal", strangers_text },
	{ "colours only where they are wanted", colours },
};

int main(void)
{
	return UNIT_RUN(cases);
}
