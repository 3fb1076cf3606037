/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How commands print: fields, tables and JSON, and that a full disk is an error.
 */
#ifndef ISTHMUS_OUTPUT_H
#define ISTHMUS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- the terminal ---- */

enum tone { TONE_PLAIN, TONE_STRONG, TONE_GOOD, TONE_BAD, TONE_FAINT };

/* The escape sequence for @tone, or "" when stdout shall have no colours. */
const char *tone(enum tone tone);

/* How many columns stdout has; 80 when it is no terminal. */
int output_columns(void);

/* Whether lines may be drawn with more than ASCII. */
bool output_is_utf8(void);

/* Make sure that descriptors 0, 1 and 2 are taken, so that none of ours gets one. */
void output_open(void);

/* Flush stdout; complain and return false when something could not be written. */
bool output_close(void);

/*
 * Copy @from, which a stranger may have chosen, so that it cannot steer a
 * terminal: what is not printable UTF-8 becomes '?'. Returns @to.
 */
char *printable(const char *from, char *to, size_t size);

/* ---- JSON ---- */

#define JSON_DEPTH_MAX	16

struct json {
	FILE *file;
	unsigned int depth;
	bool filled[JSON_DEPTH_MAX];
};

/* @key is NULL in an array and at the top. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, uint64_t number);
/* Zero is null. */
void json_address(struct json *json, const char *key, uint64_t address);
/* The words of @text, which spaces separate. */
void json_words(struct json *json, const char *key, const char *text);

/* ---- fields: a thing's properties, one a line or one object ---- */

enum field_kind { FIELD_NUMBER, FIELD_SIZE, FIELD_ADDRESS, FIELD_TEXT, FIELD_WORDS };

struct field {
	enum field_kind kind;
	const char *key;		/* in JSON */
	const char *label;		/* for people */
	uint64_t number;
	const char *text;
};

void fields_print(FILE *file, const struct field *fields, size_t count);
void fields_json(struct json *json, const struct field *fields, size_t count);

/* ---- tables ---- */

#define TABLE_COLUMNS_MAX	10

struct table {
	size_t columns;
	const char *titles[TABLE_COLUMNS_MAX];
	char **cells;
	size_t count;
	bool broken;			/* memory ran out */
};

/* Add one cell; rows fill from left to right. */
void table_cell(struct table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void table_print(FILE *file, const struct table *table);
void table_free(struct table *table);

#endif /* ISTHMUS_OUTPUT_H */
