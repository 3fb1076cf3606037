/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libisthmus: shared memory that can be narrowed, frozen and taken back.
 *
 * Every function returns zero or a positive value on success and a negative
 * errno value on failure. None prints, none keeps global state, all are
 * thread-safe. Handles are file descriptors, close-on-exec from birth: close(2),
 * dup(2), poll(2) and SCM_RIGHTS mean what they mean everywhere. Manual pages:
 * libisthmus(3), isthmus(4), and one page for each function.
 */
#ifndef ISTHMUS_H
#define ISTHMUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <linux/isthmus.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the device ---- */

/* Open /dev/isthmus. Returns a descriptor. */
int isth_open(void);

/* Ask the module what it is and what is alive in it. */
int isth_info(int device, struct isth_info *info);

/* A sentence for @error, a negative value returned by this library. */
const char *isth_strerror(int error);

/* ---- handles ---- */

/* Ask what @handle is. */
int isth_stat(int handle, struct isth_stat *stat);

/* Make a handle below @handle with at most its rights. Returns a descriptor. */
int isth_derive(int handle, uint32_t rights);

/**
 * struct isth_revoke_options - how to revoke, and what came of it
 * @size: sizeof(struct isth_revoke_options)
 * @flags: ISTH_REVOKE_DESCENDANTS or zero
 * @handles: out: handles revoked
 * @pinned_pages: out: pages that I/O still holds
 */
struct isth_revoke_options {
	size_t size;
	uint32_t flags;
	uint64_t handles;
	uint64_t pinned_pages;
};

/*
 * Kill @handle and all handles derived from it. No mapping made through them,
 * in any process, reaches the memory when this returns. @options may be NULL.
 */
int isth_revoke(int handle, struct isth_revoke_options *options);

/* ---- regions ---- */

/**
 * struct isth_region_options - what region to make
 * @size: sizeof(struct isth_region_options)
 * @kind: ISTH_REGION_PAGEABLE (also when zero) or ISTH_REGION_ISOLATED
 * @flags: ISTH_REGION_LAZY, ISTH_REGION_HOME
 * @bytes: the region's size, rounded up to whole pages
 * @home: with ISTH_REGION_HOME, its address in every process, or zero to let
 *	  the kernel choose
 */
struct isth_region_options {
	size_t size;
	uint32_t kind;
	uint32_t flags;
	uint64_t bytes;
	uint64_t home;
};

/* Make a region. Returns the descriptor of its first handle. */
int isth_region_create(int device, const struct isth_region_options *options);

/**
 * struct isth_mapping - a region, or part of one, mapped into this process
 * @address: where it begins
 * @bytes: how long it is
 */
struct isth_mapping {
	void *address;
	size_t bytes;
};

/**
 * struct isth_map_options - what part of a region to map, and how
 * @size: sizeof(struct isth_map_options)
 * @protection: PROT_READ, PROT_WRITE, PROT_EXEC; zero for what the handle's
 *		rights allow of reading and writing
 * @flags: MAP_FIXED_NOREPLACE, MAP_POPULATE; MAP_SHARED is implied
 * @offset: first byte, a multiple of the page size
 * @bytes: length; zero for all from @offset on
 * @address: where to map; NULL for the region's home, or anywhere without one
 */
struct isth_map_options {
	size_t size;
	int protection;
	int flags;
	uint64_t offset;
	uint64_t bytes;
	void *address;
};

/* Map the region of @handle; @options may be NULL. */
int isth_region_map(int handle, const struct isth_map_options *options,
		    struct isth_mapping *mapping);

/* Undo isth_region_map(). */
int isth_region_unmap(struct isth_mapping *mapping);

/*
 * End all writing to the region of @handle, for good. -EBUSY when I/O holds
 * pages; their number is then in @pinned_pages, which may be NULL.
 */
int isth_region_freeze(int handle, uint64_t *pinned_pages);

/*
 * Sleep while the word at @offset of the region mapped at @mapping equals
 * @expected, at most until @deadline (CLOCK_MONOTONIC; NULL for ever). Uses the
 * kernel's futex for a pageable region and ISTH_WAIT for an isolated one.
 * @mapping must begin at the region's first byte.
 */
int isth_region_wait(int handle, const struct isth_mapping *mapping,
		     uint64_t offset, uint32_t expected,
		     const struct timespec *deadline);

/* Wake at most @count threads in isth_region_wait(). Returns how many. */
int isth_region_wake(int handle, const struct isth_mapping *mapping,
		     uint64_t offset, uint32_t count);

/* ---- meeting another process over an AF_UNIX socket ---- */

#define ISTH_HANDLES_MAX	64	/* descriptors in one message */

/**
 * struct isth_peer - who is at the other end, as the kernel saw it at connect
 * @pid: in the caller's PID namespace; zero when it is not visible there
 * @uid: in the caller's user namespace
 * @gid: in the caller's user namespace
 */
struct isth_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/*
 * Listen on @path, which file permissions (@mode) and mount namespaces protect.
 * A stale socket file that nobody listens on is replaced; anything else there is
 * -EADDRINUSE. Returns a SOCK_SEQPACKET descriptor.
 */
int isth_listen(const char *path, mode_t mode);

/* Accept one connection. Returns its descriptor; @peer may be NULL. */
int isth_accept(int listener, struct isth_peer *peer);

/* Connect to @path. Returns a descriptor; @peer may be NULL. */
int isth_connect(const char *path, struct isth_peer *peer);

/*
 * Send @bytes of @data with @count descriptors, whole or not at all. Never
 * raises SIGPIPE.
 */
int isth_send_handles(int socket, const void *data, size_t bytes,
		      const int *handles, size_t count);

/*
 * Receive one message into @data. Descriptors arrive close-on-exec in @handles,
 * at most *@count, which becomes their number. Returns the bytes received, zero
 * when the peer has closed. A message that does not fit is -EMSGSIZE, and its
 * descriptors are closed.
 */
ssize_t isth_receive_handles(int socket, void *data, size_t bytes,
			     int *handles, size_t *count);

#ifdef __cplusplus
}
#endif

#endif /* ISTHMUS_H */
