/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lines in front of a tree's rows.
 */
#ifndef ISTHMUS_TREE_H
#define ISTHMUS_TREE_H

#include <stdbool.h>
#include <stddef.h>

#define TREE_DEPTH_MAX	8
/* Three columns a level, of up to three bytes each. */
#define TREE_PREFIX_MAX	(TREE_DEPTH_MAX * 9 + 1)

/*
 * What stands before row @row of a tree of @count rows that is listed top down,
 * where @depths says how deep each row is; the root is at zero. Returns @text,
 * which has room for TREE_PREFIX_MAX bytes.
 */
char *tree_prefix(const unsigned int *depths, size_t count, size_t row, bool utf8, char *text);

#endif /* ISTHMUS_TREE_H */
