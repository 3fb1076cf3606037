/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the narrator of "isthmus demo" and its actors, which are processes of
 * their own, say to each other.
 */
#ifndef ISTHMUS_DEMO_H
#define ISTHMUS_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEMO_SLOTS	4	/* pieces of memory an actor can hold */
#define DEMO_STRIDE	64	/* bytes from one store or load to the next */

enum demo_what {
	DEMO_METER,		/* with a memfd of one struct demo_meter */
	DEMO_TAKE,		/* map the descriptor that comes along */
	DEMO_DROP,
	DEMO_CHECKSUM,		/* of the first @bytes */
	DEMO_ATTACK,		/* try to write by each of enum demo_route */
	DEMO_REOPEN,		/* open the descriptor anew through /proc, and write */
	DEMO_READ_ON,		/* answers when stopped, or by SIGBUS */
	DEMO_WRITE_ON,		/* the same with stores */
	DEMO_TRY_STORES,	/* @bytes single stores; how many worked */
	DEMO_WALK,		/* the list that begins at the mapping's first byte */
};

enum demo_route {
	DEMO_ROUTE_MMAP,
	DEMO_ROUTE_MPROTECT,
	DEMO_ROUTE_WRITEV,
	DEMO_ROUTE_MEM,
	DEMO_ROUTE_REOPEN,
	DEMO_ROUTES
};

/* Counted while it happens, where the narrator can look. */
struct demo_meter {
	uint64_t begun;		/* loads or stores about to be made */
	uint64_t done;		/* those that were */
	uint32_t stop;
};

struct demo_order {
	uint32_t what;
	uint32_t slot;
	uint32_t writable;
	uint32_t is_region;	/* else a memfd */
	uint64_t bytes;
};

struct demo_answer {
	int32_t error;		/* negative errno */
	uint32_t sigbus;	/* it ended so */
	uint64_t address;	/* of the mapping */
	uint64_t offset;	/* where in it SIGBUS came */
	uint64_t nanoseconds;	/* when it came, CLOCK_MONOTONIC */
	uint64_t count;
	uint64_t sum;
	int32_t routes[DEMO_ROUTES];	/* zero: it let us write; else negative errno */
	char sentence[96];	/* with @sigbus: what happened, in the actor's words */
};

/* A list at a home address: plain pointers. */
struct demo_node {
	struct demo_node *next;
	uint64_t value;
};

#endif /* ISTHMUS_DEMO_H */
