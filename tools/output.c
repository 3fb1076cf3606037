// SPDX-License-Identifier: GPL-2.0-only
/*
 * How commands print: fields, tables and JSON, and that a full disk is an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "command.h"
#include "output.h"
#include "units.h"

#define COLUMNS_LEAST	40
#define COLUMNS_MOST	1000

/* ---- the terminal ---- */

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value && *value;
}

static bool colours_wanted(void)
{
	const char *terminal = getenv("TERM");
	const char *force = getenv("CLICOLOR_FORCE");

	if (is_set("NO_COLOR"))
		return false;
	if (force && *force && strcmp(force, "0"))
		return true;
	return isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb");
}

const char *tone(enum tone tone)
{
	static const char *const escapes[] = {
		[TONE_PLAIN] = "\033[0m", [TONE_STRONG] = "\033[1m", [TONE_GOOD] = "\033[32m",
		[TONE_BAD] = "\033[1;31m", [TONE_FAINT] = "\033[2m",
	};

	return colours_wanted() ? escapes[tone] : "";
}

int output_columns(void)
{
	const char *text = getenv("COLUMNS");
	struct winsize window = { 0 };
	long columns = 80;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_col)
		columns = window.ws_col;
	else if (text && *text)
		columns = strtol(text, NULL, 10);
	if (columns < COLUMNS_LEAST || columns > COLUMNS_MOST)
		columns = 80;
	return columns;
}

bool output_is_utf8(void)
{
	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

void output_open(void)
{
	int fd;

	/*
	 * Read-only also for stdout: to write to a stdout that the caller closed
	 * stays an error.
	 */
	do {
		fd = open("/dev/null", O_RDONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

bool output_close(void)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) || failed || fclose(stdout)) {
		complain("cannot write to standard output%s%s", errno ? ": " : "",
			 errno ? strerror(errno) : "");
		return false;
	}
	return true;
}

/*
 * How many bytes the character at @text has: zero when it is not valid UTF-8,
 * or when it is a control character.
 */
static size_t character_length(const unsigned char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length, i;
	uint32_t code;

	if (text[0] < 0x80)
		return text[0] >= 0x20 && text[0] != 0x7f;
	if (text[0] >= 0xc2 && text[0] < 0xe0)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] < 0xf0)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] < 0xf5)
		length = 4;
	else
		return 0;
	code = text[0] & (0x7f >> length);
	for (i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
	    code < 0xa0)
		return 0;
	/* Marks that turn the direction of what follows around. */
	if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
		return 0;
	return length;
}

char *printable(const char *from, char *to, size_t size)
{
	size_t length, at = 0;

	while (*from) {
		length = character_length((const unsigned char *)from);
		if (at + (length ? length : 1) >= size)
			break;
		if (length) {
			memcpy(to + at, from, length);
			at += length;
			from += length;
		} else {
			to[at++] = '?';
			from++;
		}
	}
	to[at] = '\0';
	return to;
}

/* How many columns @text takes, as far as one character takes one. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static void pad(FILE *file, const char *text, size_t width)
{
	size_t used = width_of(text);

	fprintf(file, "%s%*s", text, used < width ? (int)(width - used) : 0, "");
}

/* ---- JSON ---- */

static void json_string(FILE *file, const char *text)
{
	size_t length;

	fputc('"', file);
	while (*text) {
		length = character_length((const unsigned char *)text);
		if (length == 1 && (*text == '"' || *text == '\\'))
			fprintf(file, "\\%c", *text);
		else if (length)
			fwrite(text, 1, length, file);
		else if ((unsigned char)*text < 0x80)
			fprintf(file, "\\u%04x", (unsigned char)*text);
		else
			fputs("\\ufffd", file);
		text += length ? length : 1;
	}
	fputc('"', file);
}

/* Whatever separates the next value from the last, and its key. */
static void json_begin(struct json *json, const char *key)
{
	if (json->depth) {
		fprintf(json->file, "%s\n%*s", json->filled[json->depth] ? "," : "",
			2 * (int)json->depth, "");
		json->filled[json->depth] = true;
	}
	if (key) {
		json_string(json->file, key);
		fputs(": ", json->file);
	}
}

void json_open(struct json *json, const char *key, char bracket)
{
	json_begin(json, key);
	fputc(bracket, json->file);
	if (json->depth + 1 < JSON_DEPTH_MAX)
		json->depth++;
	json->filled[json->depth] = false;
}

void json_close(struct json *json, char bracket)
{
	bool filled = json->filled[json->depth];

	json->depth--;
	if (filled)
		fprintf(json->file, "\n%*s", 2 * (int)json->depth, "");
	fputc(bracket, json->file);
	if (!json->depth)
		fputc('\n', json->file);
}

void json_text(struct json *json, const char *key, const char *text)
{
	json_begin(json, key);
	json_string(json->file, text);
}

void json_number(struct json *json, const char *key, uint64_t number)
{
	json_begin(json, key);
	fprintf(json->file, "%" PRIu64, number);
}

void json_address(struct json *json, const char *key, uint64_t address)
{
	json_begin(json, key);
	/* As a string: a number of 64 bits loses its end in many readers. */
	if (address)
		fprintf(json->file, "\"0x%" PRIx64 "\"", address);
	else
		fputs("null", json->file);
}

void json_words(struct json *json, const char *key, const char *text)
{
	char words[UNITS_MAX], *rest, *word;
	const char *comma = "";

	json_begin(json, key);
	fputc('[', json->file);
	snprintf(words, sizeof(words), "%s", text);
	for (word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		fputs(comma, json->file);
		json_string(json->file, word);
		comma = ", ";
	}
	fputc(']', json->file);
}

/* ---- fields ---- */

void fields_print(FILE *file, const struct field *fields, size_t count)
{
	char text[UNITS_MAX];
	size_t width = 0, i;

	for (i = 0; i < count; i++) {
		if (width_of(fields[i].label) > width)
			width = width_of(fields[i].label);
	}
	for (i = 0; i < count; i++) {
		pad(file, fields[i].label, width + 2);
		switch (fields[i].kind) {
		case FIELD_NUMBER:
			fprintf(file, "%s\n", format_count(fields[i].number, text, sizeof(text)));
			break;
		case FIELD_SIZE:
			fprintf(file, "%s\n", format_size(fields[i].number, text, sizeof(text)));
			break;
		case FIELD_ADDRESS:
			if (fields[i].number)
				fprintf(file, "0x%" PRIx64 "\n", fields[i].number);
			else
				fprintf(file, "none\n");
			break;
		case FIELD_TEXT:
		case FIELD_WORDS:
			fprintf(file, "%s\n", *fields[i].text ? fields[i].text : "none");
			break;
		}
	}
}

void fields_json(struct json *json, const struct field *fields, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		switch (fields[i].kind) {
		case FIELD_NUMBER:
		case FIELD_SIZE:
			json_number(json, fields[i].key, fields[i].number);
			break;
		case FIELD_ADDRESS:
			json_address(json, fields[i].key, fields[i].number);
			break;
		case FIELD_TEXT:
			json_text(json, fields[i].key, fields[i].text);
			break;
		case FIELD_WORDS:
			json_words(json, fields[i].key, fields[i].text);
			break;
		}
	}
}

/* ---- tables ---- */

void table_cell(struct table *table, const char *format, ...)
{
	va_list arguments;
	char **cells;
	char *cell;
	int length;

	if (table->broken)
		return;
	va_start(arguments, format);
	length = vasprintf(&cell, format, arguments);
	va_end(arguments);
	if (length < 0) {
		table->broken = true;
		return;
	}
	cells = realloc(table->cells, (table->count + 1) * sizeof(*cells));
	if (!cells) {
		free(cell);
		table->broken = true;
		return;
	}
	cells[table->count++] = cell;
	table->cells = cells;
}

void table_print(FILE *file, const struct table *table)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 };
	size_t column, width, i;

	for (i = 0; i < table->columns; i++)
		widths[i] = width_of(table->titles[i]);
	for (i = 0; i < table->count; i++) {
		width = width_of(table->cells[i]);
		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	/* Nothing behind the last column: no spaces at a line's end. */
	widths[table->columns - 1] = 0;
	for (i = 0; i < table->columns + table->count; i++) {
		column = i % table->columns;
		pad(file, i < table->columns ? table->titles[i] : table->cells[i - table->columns],
		    widths[column]);
		fputs(column + 1 < table->columns ? "  " : "\n", file);
	}
}

void table_free(struct table *table)
{
	size_t i;

	for (i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->count = 0;
}
