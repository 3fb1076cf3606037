// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lines in front of a tree's rows.
 */
#include <string.h>

#include "tree.h"

enum piece { PIECE_GAP, PIECE_LINE, PIECE_BRANCH, PIECE_END };

static const char *const pieces[][4] = {
	{ "   ", "|  ", "|- ", "`- " },
	{ "   ", "\u2502  ", "\u251c\u2500 ", "\u2514\u2500 " },
};

/* Whether a later row hangs from the same line at @level as @row does. */
static bool goes_on(const unsigned int *depths, size_t count, size_t row, unsigned int level)
{
	for (row++; row < count && depths[row] >= level; row++) {
		if (depths[row] == level)
			return true;
	}
	return false;
}

char *tree_prefix(const unsigned int *depths, size_t count, size_t row, bool utf8, char *text)
{
	unsigned int level;
	enum piece piece;

	text[0] = '\0';
	for (level = 1; level <= depths[row] && level <= TREE_DEPTH_MAX; level++) {
		if (level < depths[row])
			piece = goes_on(depths, count, row, level) ? PIECE_LINE : PIECE_GAP;
		else
			piece = goes_on(depths, count, row, level) ? PIECE_BRANCH : PIECE_END;
		strcat(text, pieces[utf8][piece]);
	}
	return text;
}
