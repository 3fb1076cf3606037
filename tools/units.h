/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sizes, rights and states: from what people type, and to what they read.
 */
#ifndef ISTHMUS_UNITS_H
#define ISTHMUS_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_MAX 96	/* room for any of the texts below */

/* All return zero or a negative errno: -EINVAL, or -ERANGE when it is too large. */
int parse_size(const char *text, uint64_t *bytes);
int parse_mode(const char *text, unsigned int *mode);
int parse_rights(const char *text, uint32_t *rights);

/* All return @text, which has room for @size bytes. */
char *format_size(uint64_t bytes, char *text, size_t size);
char *format_count(uint64_t count, char *text, size_t size);
char *format_rights(uint32_t rights, char *text, size_t size);
/* The letters that parse_rights() takes. */
char *format_letters(uint32_t rights, char *text, size_t size);
char *format_state(uint32_t state, char *text, size_t size);
char *format_features(uint64_t features, char *text, size_t size);

const char *kind_name(uint32_t kind);

#endif /* ISTHMUS_UNITS_H */
