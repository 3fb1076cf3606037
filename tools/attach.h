/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other end of "isthmus region share": connect, and get a handle.
 */
#ifndef ISTHMUS_ATTACH_H
#define ISTHMUS_ATTACH_H

#include <isthmus.h>

#include "protocol.h"

struct attachment {
	int socket;
	int handle;
	struct isth_stat stat;
};

/* Both complain themselves, and return an exit code. */
int attach(const char *path, struct attachment *attachment);
int attach_ask_tree(const struct attachment *attachment, struct share_tree *tree);

void detach(const struct attachment *attachment);

/* Complain that the region went away, with the reason as the handle has it. */
int attach_lost(const struct attachment *attachment, const char *doing);

#endif /* ISTHMUS_ATTACH_H */
