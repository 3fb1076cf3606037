/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT) */
/*
 * The border between user space and the isthmus module: every request, every
 * structure and every constant that crosses it. isthmus(4) is its manual.
 *
 * Rules that hold for all of it:
 *
 *  - /dev/isthmus answers ISTH_INFO and ISTH_REGION_CREATE. All other requests
 *    go to a handle, which is a file descriptor.
 *  - Structures have naturally aligned fixed-width fields and no holes, so one
 *    layout serves 32-bit and 64-bit callers. They grow at the end only; the
 *    size is part of the request code. A shorter structure than the kernel's
 *    reads as if zeros followed. A longer one is accepted when what the kernel
 *    does not know is zero, and is E2BIG otherwise.
 *  - Unknown flags and non-zero reserved fields are EINVAL.
 *  - An error leaves everything as it was, and the structure too unless the
 *    request says otherwise.
 */
#ifndef _UAPI_LINUX_ISTHMUS_H
#define _UAPI_LINUX_ISTHMUS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define ISTH_ABI_VERSION	1

#define ISTH_IOC_MAGIC		0xB9

/*
 * Rights of a handle. A derived handle has a subset of its parent's; nothing
 * adds a right to a handle that exists.
 */
#define ISTH_RIGHT_READ		(1U << 0)	/* map readable, wait */
#define ISTH_RIGHT_WRITE	(1U << 1)	/* map writable, wake */
#define ISTH_RIGHT_EXEC		(1U << 2)	/* map executable */
#define ISTH_RIGHT_DERIVE	(1U << 3)	/* make narrower handles */
#define ISTH_RIGHT_FREEZE	(1U << 4)	/* end all writing, for good */

#define ISTH_RIGHTS_REGION	(ISTH_RIGHT_READ | ISTH_RIGHT_WRITE | \
				 ISTH_RIGHT_EXEC | ISTH_RIGHT_DERIVE | \
				 ISTH_RIGHT_FREEZE)

/* What a handle leads to. */
#define ISTH_TYPE_REGION	1

/* Kinds of region. */
#define ISTH_REGION_PAGEABLE	1	/* page-cache pages: futexes, O_DIRECT, swap work */
#define ISTH_REGION_ISOLATED	2	/* only a CPU that maps it through a handle gets in */

/* Feature bits of struct isth_info. */
#define ISTH_FEATURE_PAGEABLE	(1ULL << 0)	/* pageable regions */
#define ISTH_FEATURE_ISOLATED	(1ULL << 1)	/* isolated regions */
#define ISTH_FEATURE_HOME	(1ULL << 2)	/* home addresses */
#define ISTH_FEATURE_HUGE	(1ULL << 3)	/* isolated memory in 2 MiB mappings */

/**
 * struct isth_info - what this module is, and what is alive in it now
 * @flags: in: must be zero
 * @abi_version: ISTH_ABI_VERSION of the module
 * @features: ISTH_FEATURE_* bits
 * @region_size_max: the largest region that can be created, in bytes
 * @handles_max: how many handles one object may have
 * @page_size: the unit of region sizes, in bytes
 * @regions: regions alive in the whole machine
 * @handles: handles alive in the whole machine
 * @mappings: mappings of regions alive in the whole machine
 */
struct isth_info {
	__u32 flags;
	__u32 abi_version;
	__u64 features;
	__u64 region_size_max;
	__u32 handles_max;
	__u32 page_size;
	__u64 regions;
	__u64 handles;
	__u64 mappings;
};

/* Flags of struct isth_region_create. */
#define ISTH_REGION_LAZY	(1U << 0)	/* pageable: commit pages at first touch */
#define ISTH_REGION_HOME	(1U << 1)	/* give it a home address */

/**
 * struct isth_region_create - make a region and its first handle
 * @flags: ISTH_REGION_LAZY, ISTH_REGION_HOME
 * @kind: ISTH_REGION_PAGEABLE or ISTH_REGION_ISOLATED
 * @size: bytes, a multiple of the page size; fixed for the region's life
 * @home: with ISTH_REGION_HOME, the page-aligned address where mmap() without
 *	  an address puts the region in every process, or zero to let the kernel
 *	  choose one; zero without that flag
 *
 * The request returns a descriptor of the first handle, which has every right
 * of a region. Its memory is committed when it returns, so that touching it
 * later cannot fail (not with ISTH_REGION_LAZY).
 */
struct isth_region_create {
	__u32 flags;
	__u32 kind;
	__u64 size;
	__u64 home;
};

/* State bits of struct isth_stat. */
#define ISTH_STATE_REVOKED	(1U << 0)	/* this handle is dead */
#define ISTH_STATE_FROZEN	(1U << 1)	/* the region can never be written again */
#define ISTH_STATE_LAZY		(1U << 2)	/* made with ISTH_REGION_LAZY */

/**
 * struct isth_stat - what a handle is; works on a revoked one too
 * @flags: in: must be zero
 * @type: ISTH_TYPE_*
 * @kind: ISTH_REGION_PAGEABLE or ISTH_REGION_ISOLATED
 * @rights: ISTH_RIGHT_* of this handle
 * @state: ISTH_STATE_* bits
 * @reserved: zero
 * @object_id: the object's number; equal for two handles onto one object, never
 *	       used again while the module stays loaded
 * @handle_id: this handle's number, never used again for the same object
 * @size: bytes
 * @home: the home address, or zero
 * @descendants: handles derived from this one, at any depth, alive now
 * @mappings: mappings made through this handle, in all processes, alive now
 * @subtree_mappings: the same, through this handle and its descendants
 */
struct isth_stat {
	__u32 flags;
	__u32 type;
	__u32 kind;
	__u32 rights;
	__u32 state;
	__u32 reserved;
	__u64 object_id;
	__u64 handle_id;
	__u64 size;
	__u64 home;
	__u64 descendants;
	__u64 mappings;
	__u64 subtree_mappings;
};

/**
 * struct isth_derive - make a handle below this one; needs ISTH_RIGHT_DERIVE
 * @flags: must be zero
 * @rights: ISTH_RIGHT_* of the new handle, a subset of this one's
 *
 * Returns the new handle's descriptor.
 */
struct isth_derive {
	__u32 flags;
	__u32 rights;
};

/* Flags of struct isth_revoke. */
#define ISTH_REVOKE_DESCENDANTS	(1U << 0)	/* spare this handle, revoke all below it */

/**
 * struct isth_revoke - kill this handle and every handle derived from it
 * @flags: ISTH_REVOKE_DESCENDANTS
 * @reserved: must be zero
 * @handles: out: handles that this request revoked
 * @pinned_pages: out: pages of the object that something other than a mapping
 *		  still holds, such as an I/O request in flight
 *
 * Needs no right: whoever has a handle may end it. Revoking a revoked handle
 * succeeds.
 */
struct isth_revoke {
	__u32 flags;
	__u32 reserved;
	__u64 handles;
	__u64 pinned_pages;
};

/**
 * struct isth_freeze - end all writing to the region; needs ISTH_RIGHT_FREEZE
 * @flags: must be zero
 * @reserved: must be zero
 * @pinned_pages: out, also with EBUSY: pages that something other than a
 *		  mapping holds. Not zero exactly when the error is EBUSY.
 *
 * Freezing a frozen region succeeds.
 */
struct isth_freeze {
	__u32 flags;
	__u32 reserved;
	__u64 pinned_pages;
};

/**
 * struct isth_wait - sleep while a word of an isolated region has a value
 * @flags: must be zero
 * @expected: sleep only while the aligned 32-bit word at @offset equals this
 * @offset: bytes from the start of the region, a multiple of four
 * @deadline: CLOCK_MONOTONIC nanoseconds at which to give up with ETIMEDOUT;
 *	      zero for never
 *
 * Needs ISTH_RIGHT_READ. Returns 0 when woken, EAGAIN at once when the value
 * differs. Pageable regions have futex(2) instead: EOPNOTSUPP.
 */
struct isth_wait {
	__u32 flags;
	__u32 expected;
	__u64 offset;
	__u64 deadline;
};

/**
 * struct isth_wake - wake threads that wait on a word; needs ISTH_RIGHT_WRITE
 * @flags: must be zero
 * @count: wake at most this many
 * @offset: as in struct isth_wait
 *
 * Returns the number of threads woken.
 */
struct isth_wake {
	__u32 flags;
	__u32 count;
	__u64 offset;
};

/* On /dev/isthmus. */
#define ISTH_INFO		_IOWR(ISTH_IOC_MAGIC, 0x00, struct isth_info)
#define ISTH_REGION_CREATE	_IOW(ISTH_IOC_MAGIC, 0x01, struct isth_region_create)

/* On any handle. */
#define ISTH_STAT		_IOWR(ISTH_IOC_MAGIC, 0x10, struct isth_stat)
#define ISTH_DERIVE		_IOW(ISTH_IOC_MAGIC, 0x11, struct isth_derive)
#define ISTH_REVOKE		_IOWR(ISTH_IOC_MAGIC, 0x12, struct isth_revoke)

/* On a handle of a region. */
#define ISTH_FREEZE		_IOWR(ISTH_IOC_MAGIC, 0x20, struct isth_freeze)
#define ISTH_WAIT		_IOW(ISTH_IOC_MAGIC, 0x21, struct isth_wait)
#define ISTH_WAKE		_IOW(ISTH_IOC_MAGIC, 0x22, struct isth_wake)

#endif /* _UAPI_LINUX_ISTHMUS_H */
