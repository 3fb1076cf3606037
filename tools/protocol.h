/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What "isthmus region share" and those who connect to it say to each other.
 *
 * Who connects gets one message at once: a greeting, with a handle of its own.
 * A program that only wants the handle need not understand the greeting. After
 * that it may ask for the tree. The handle is revoked when the connection ends.
 */
#ifndef ISTHMUS_PROTOCOL_H
#define ISTHMUS_PROTOCOL_H

#include <stdint.h>

#define SHARE_MAGIC	0x48545349U	/* "ISTH" */
#define SHARE_VERSION	1
#define SHARE_PEERS_MAX	256

enum share_type { SHARE_GREETING = 1, SHARE_ASK_TREE = 2, SHARE_TREE = 3 };

struct share_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
};

struct share_greeting {
	struct share_header header;
	uint32_t number;		/* what the sharer calls this peer */
	uint32_t reserved;
};

#define SHARE_NODE_ASKER	(1U << 0)	/* who asked for the tree */

/**
 * struct share_node - one handle of the tree
 * @number: what the sharer calls the peer; zero for the sharer itself
 * @pid: as the sharer sees it
 * @uid: likewise
 * @flags: SHARE_NODE_*
 * @rights: ISTH_RIGHT_*
 * @state: ISTH_STATE_*
 * @handle_id: of this handle
 * @descendants: handles below it
 * @mappings: made through it
 * @command: what the peer's program was called when it connected
 */
struct share_node {
	uint32_t number;
	int32_t pid;
	uint32_t uid;
	uint32_t flags;
	uint32_t rights;
	uint32_t state;
	uint64_t handle_id;
	uint64_t descendants;
	uint64_t mappings;
	char command[16];
};

/* The first node is the sharer; the others are its children. */
struct share_tree {
	struct share_header header;
	uint32_t count;
	uint32_t kind;
	uint64_t object_id;
	uint64_t size;
	uint64_t home;
	struct share_node nodes[1 + SHARE_PEERS_MAX];
};

#endif /* ISTHMUS_PROTOCOL_H */
