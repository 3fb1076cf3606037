// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lines in front of a tree's rows, and the columns of tables.
 */
#include "command.c"
#include "output.c"
#include "tree.c"
#include "units.c"

#include "unit.h"

static void prefixes(const unsigned int *depths, size_t count, const char *const *wanted)
{
	char text[TREE_PREFIX_MAX];
	size_t i;

	for (i = 0; i < count; i++)
		EXPECT_TEXT(tree_prefix(depths, count, i, false, text), wanted[i]);
}

static void root_alone(void)
{
	prefixes((const unsigned int []){ 0 }, 1, (const char *const []){ "" });
}

static void children(void)
{
	prefixes((const unsigned int []){ 0, 1, 1, 1 }, 4,
		 (const char *const []){ "", "|- ", "|- ", "`- " });
}

static void grandchildren(void)
{
	prefixes((const unsigned int []){ 0, 1, 2, 2, 3, 1, 2 }, 7,
		 (const char *const []){ "", "|- ", "|  |- ", "|  `- ", "|     `- ", "`- ",
					 "   `- " });
}

static void in_utf8(void)
{
	static const unsigned int depths[] = { 0, 1, 2, 1 };
	char text[TREE_PREFIX_MAX];

	EXPECT_TEXT(tree_prefix(depths, 4, 2, true, text), "\u2502  \u2514\u2500 ");
	EXPECT_TEXT(tree_prefix(depths, 4, 3, true, text), "\u2514\u2500 ");
}

/* However deep a tree is, the text does not outgrow its room. */
static void too_deep(void)
{
	unsigned int depths[100];
	char text[TREE_PREFIX_MAX];
	size_t i;

	for (i = 0; i < 100; i++)
		depths[i] = i;
	for (i = 0; i < 100; i++)
		EXPECT(strlen(tree_prefix(depths, 100, i, true, text)) < TREE_PREFIX_MAX);
}

/* Print into a string; free() it. */
static char *printed(const struct table *table)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		abort();
	table_print(file, table);
	fclose(file);
	return text;
}

static void table_columns(void)
{
	struct table table = { .columns = 3, .titles = { "ID", "NAME", "STATE" } };
	char *text;

	table_cell(&table, "%d", 1);
	table_cell(&table, "%s", "\u251c\u2500 a");
	table_cell(&table, "%s", "live");
	table_cell(&table, "%d", 1000);
	table_cell(&table, "%s", "bcdefg");
	table_cell(&table, "%s", "x");
	text = printed(&table);
	EXPECT_TEXT(text, "ID    NAME    STATE\n"
			  "1     \u251c\u2500 a    live\n"
			  "1000  bcdefg  x\n");
	free(text);
	table_free(&table);
}

static void empty_table(void)
{
	struct table table = { .columns = 2, .titles = { "A", "B" } };
	char *text = printed(&table);

	EXPECT_TEXT(text, "A  B\n");
	free(text);
	table_free(&table);
}

static const struct unit_case cases[] = {
	{ "a root alone has no line", root_alone },
	{ "the last child ends the line", children },
	{ "lines go on past grandchildren", grandchildren },
	{ "in UTF-8", in_utf8 },
	{ "a tree too deep is cut off", too_deep },
	{ "columns are as wide as the widest cell", table_columns },
	{ "a table without rows", empty_table },
};

int main(void)
{
	return UNIT_RUN(cases);
}
