// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one printer of benchmark figures: reads the rows that bench_row() writes,
 * prints them as an aligned table and, with JSON=FILE in the environment,
 * writes them there as a list of objects.
 *
 * A line that begins with '#' is a remark and is printed above the table. A
 * goal that is missed is shown, and is no failure; a row that cannot be read is.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX	1024

enum column {
	AREA, NAME, UNIT, OURS, PEER, THEIRS, RATIO, GOAL, MET,
	COLUMNS
};

static const char *const titles[COLUMNS] = {
	"area", "what", "unit", "ours", "peer", "theirs", "ratio", "goal", "met",
};

/* Columns of figures are aligned to the right, columns of words to the left. */
static const bool to_the_right[COLUMNS] = {
	[OURS] = true, [THEIRS] = true, [RATIO] = true, [GOAL] = true,
};

struct row {
	char *area, *name, *unit, *peer;	/* peer: NULL for none */
	double ours, theirs, goal;
	bool has_goal;
};

static struct row rows[ROWS_MAX];
static size_t row_count;

static void __attribute__((noreturn)) fail(const char *what, const char *detail)
{
	fprintf(stderr, "table: %s: %s\n", what, detail);
	exit(1);
}

static char *copy(const char *text)
{
	char *result = strdup(text);

	if (!result)
		fail("rows", strerror(ENOMEM));
	return result;
}

static double number(const char *text, const char *line)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || *end || errno || value < 0)
		fail("not a figure in row", line);
	return value;
}

static bool absent(const char *field)
{
	return !strcmp(field, "-");
}

/* Split @line at its tabs into exactly the seven fields of bench_row(). */
static void parse(char *line)
{
	char *whole = copy(line), *fields[7];
	struct row *row = &rows[row_count];
	size_t i;

	for (i = 0; i < 7; i++) {
		fields[i] = strsep(&line, "\t");
		if (!fields[i] || !*fields[i])
			fail("not seven fields in row", whole);
	}
	if (line || row_count == ROWS_MAX)
		fail("too many fields or rows at", whole);
	row->area = copy(fields[0]);
	row->name = copy(fields[1]);
	row->unit = copy(fields[2]);
	row->ours = number(fields[3], whole);
	if (!absent(fields[4])) {
		row->peer = copy(fields[4]);
		row->theirs = number(fields[5], whole);
		if (row->theirs == 0)
			fail("the peer costs nothing in row", whole);
	}
	row->has_goal = !absent(fields[6]);
	if (row->has_goal)
		row->goal = number(fields[6], whole);
	row_count++;
	free(whole);
}

static double ratio(const struct row *row)
{
	return row->ours / row->theirs;
}

/* A goal bounds the ratio, or our own figure where there is no peer. */
static bool met(const struct row *row)
{
	return (row->peer ? ratio(row) : row->ours) <= row->goal;
}

/* Whole numbers from 100 on: the digits after the point would be noise there. */
static void figure(char *text, size_t size, double value)
{
	snprintf(text, size, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
}

static void cell(const struct row *row, enum column column, char *text, size_t size)
{
	const char *words = "";

	switch (column) {
	case AREA:
		words = row->area;
		break;
	case NAME:
		words = row->name;
		break;
	case UNIT:
		words = row->unit;
		break;
	case OURS:
		figure(text, size, row->ours);
		return;
	case PEER:
		words = row->peer ? row->peer : "-";
		break;
	case THEIRS:
		if (row->peer) {
			figure(text, size, row->theirs);
			return;
		}
		words = "-";
		break;
	case RATIO:
		if (row->peer) {
			snprintf(text, size, "%.3fx", ratio(row));
			return;
		}
		words = "-";
		break;
	case GOAL:
		if (row->has_goal) {
			snprintf(text, size, "<= %g%s", row->goal, row->peer ? "x" : "");
			return;
		}
		words = "-";
		break;
	case MET:
		words = !row->has_goal ? "-" : met(row) ? "yes" : "no";
		break;
	case COLUMNS:
		break;
	}
	snprintf(text, size, "%s", words);
}

static void print_line(const size_t *widths, const struct row *row)
{
	char text[160];
	int column, width;

	for (column = 0; column < COLUMNS; column++) {
		if (row)
			cell(row, column, text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%s", titles[column]);
		/* The last column is not padded: no blanks at the end of a line. */
		width = column == COLUMNS - 1 ? 0 : (int)widths[column];
		printf("%s%*s", column ? "  " : "", to_the_right[column] ? width : -width, text);
	}
	putchar('\n');
}

static void print_table(void)
{
	size_t widths[COLUMNS], i, length;
	char text[160];
	int column;

	for (column = 0; column < COLUMNS; column++) {
		widths[column] = strlen(titles[column]);
		for (i = 0; i < row_count; i++) {
			cell(&rows[i], column, text, sizeof(text));
			length = strlen(text);
			if (length > widths[column])
				widths[column] = length;
		}
	}
	print_line(widths, NULL);
	for (i = 0; i < row_count; i++)
		print_line(widths, &rows[i]);
}

static void print_verdict(void)
{
	size_t i, goals = 0, reached = 0;

	for (i = 0; i < row_count; i++) {
		goals += rows[i].has_goal;
		reached += rows[i].has_goal && met(&rows[i]);
	}
	printf("\n%zu figures, %zu of %zu goals met\n", row_count, reached, goals);
}

static void json_string(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(file, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(file, "\\u%04x", (unsigned char)*text);
		else
			fputc(*text, file);
	}
	fputc('"', file);
}

static void json_row(FILE *file, const struct row *row)
{
	fputs("  {\"area\": ", file);
	json_string(file, row->area);
	fputs(", \"name\": ", file);
	json_string(file, row->name);
	fputs(", \"unit\": ", file);
	json_string(file, row->unit);
	fprintf(file, ", \"ours\": %.10g, \"peer\": ", row->ours);
	if (row->peer) {
		json_string(file, row->peer);
		fprintf(file, ", \"theirs\": %.10g, \"ratio\": %.6g", row->theirs, ratio(row));
	} else {
		fputs("null, \"theirs\": null, \"ratio\": null", file);
	}
	if (row->has_goal)
		fprintf(file, ", \"goal\": %g, \"met\": %s}", row->goal,
			met(row) ? "true" : "false");
	else
		fputs(", \"goal\": null, \"met\": null}", file);
}

static void write_json(const char *path)
{
	FILE *file = fopen(path, "w");
	size_t i;

	if (!file)
		fail(path, strerror(errno));
	fputs("[\n", file);
	for (i = 0; i < row_count; i++) {
		json_row(file, &rows[i]);
		fputs(i + 1 < row_count ? ",\n" : "\n", file);
	}
	fputs("]\n", file);
	if (ferror(file) | fclose(file))
		fail(path, "cannot be written");
}

int main(void)
{
	const char *json = getenv("JSON");
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	while ((length = getline(&line, &size, stdin)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		if (*line == '#')
			puts(line);
		else if (*line)
			parse(line);
	}
	free(line);
	if (!row_count)
		fail("standard input", "no rows");
	print_table();
	print_verdict();
	if (json && *json)
		write_json(json);
	if (fflush(stdout))
		fail("standard output", strerror(errno));
	return 0;
}
