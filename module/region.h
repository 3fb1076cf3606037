/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Regions: what the two kinds share. Each kind is a file of its own that fills
 * in a struct isth_region_kind.
 */
#ifndef ISTH_REGION_H
#define ISTH_REGION_H

#include "handle.h"

struct isth_region;

/**
 * struct isth_region_kind - what differs between pageable and isolated
 * @name: as fdinfo shows it
 * @create: allocate a region of @bytes with all its memory, unless @lazy
 * @mmap: set up a mapping; rights and bounds are checked
 * @opened: as in struct isth_object_ops; may be NULL
 * @cut: as in struct isth_object_ops
 * @freeze: end all writing, or return EBUSY and the number of pages that are
 *	    held. Called with change_lock held, on a region that is not frozen.
 * @wait: ISTH_WAIT, arguments checked; NULL where futexes work
 * @wake: ISTH_WAKE, the same
 * @free: give back all that @create took
 */
struct isth_region_kind {
	const char *name;
	struct isth_region *(*create)(u64 bytes, bool lazy);
	int (*mmap)(struct isth_handle *handle, struct file *file,
		    struct vm_area_struct *vma);
	void (*opened)(struct isth_handle *handle, struct file *file);
	u64 (*cut)(struct isth_region *region, struct list_head *revoked);
	int (*freeze)(struct isth_region *region, u64 *pinned_pages);
	long (*wait)(struct isth_handle *handle, const struct isth_wait *wait);
	long (*wake)(struct isth_handle *handle, const struct isth_wake *wake);
	void (*free)(struct isth_region *region);
};

/**
 * struct isth_region - shared memory of fixed size
 * @object: the part that handles know
 * @kind: pageable or isolated
 * @kind_number: the same as ISTH_REGION_*
 * @lazy: memory comes at first touch
 * @pages: its size
 * @home: where mmap() without an address puts it, or zero
 * @frozen: set once, under change_lock and whatever the kind's faults look at
 */
struct isth_region {
	struct isth_object object;
	const struct isth_region_kind *kind;
	u32 kind_number;
	bool lazy;
	unsigned long pages;
	unsigned long home;
	bool frozen;
};

static inline struct isth_region *isth_region_of(struct isth_handle *handle)
{
	return container_of(handle->object, struct isth_region, object);
}

static inline bool isth_region_frozen(const struct isth_region *region)
{
	return READ_ONCE(region->frozen);
}

extern const struct isth_region_kind isth_region_pageable;
extern const struct isth_region_kind isth_region_isolated;

/* What the kinds' vm_operations have in common. */
int isth_region_mprotect(struct vm_area_struct *vma, unsigned long start,
			 unsigned long end, unsigned long flags);
void isth_region_mapped(struct isth_handle *handle, struct vm_area_struct *vma);
void isth_region_unmapped(struct isth_handle *handle,
			  struct vm_area_struct *vma);

bool isth_region_fits(unsigned long done, unsigned long pages, bool swap);

long isth_region_create(struct isth_handle *none, void *argument);
u64 isth_region_bytes_max(void);
void isth_region_init(void);

extern atomic_long_t isth_live_regions;
extern unsigned long isth_region_size_max_mib;

#endif /* ISTH_REGION_H */
