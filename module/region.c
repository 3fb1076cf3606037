// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions: creation, mapping by rights, home addresses and freezing, as far as
 * they are the same for both kinds.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "compat.h"
#include "region.h"
#include "trace.h"

/*
 * Homes that the kernel chooses lie here: above what sanitizers keep for their
 * shadows, below where executables and libraries are put. Each begins where
 * the one before it ended, so two collide only after the band was used up.
 */
#define ISTH_HOME_FIRST		0x200000000000UL
#define ISTH_HOME_LAST		0x500000000000UL

/* How often isth_region_fits() looks: every 2 MiB on x86. */
#define ISTH_FITS_PAGES		(PMD_SIZE / PAGE_SIZE)

static DEFINE_SPINLOCK(isth_home_lock);
static unsigned long isth_home_next;

atomic_long_t isth_live_regions;

static unsigned long isth_home_choose(u64 bytes)
{
	unsigned long home;

	bytes = ALIGN(bytes, PMD_SIZE);
	spin_lock(&isth_home_lock);
	if (bytes > ISTH_HOME_LAST - isth_home_next)
		isth_home_next = ISTH_HOME_FIRST;
	home = isth_home_next;
	isth_home_next += bytes;
	spin_unlock(&isth_home_lock);
	return home;
}

static struct isth_region *isth_object_region(struct isth_object *object)
{
	return container_of(object, struct isth_region, object);
}

static void isth_region_stat(struct isth_object *object,
			     struct isth_stat *stat)
{
	struct isth_region *region = isth_object_region(object);

	stat->kind = region->kind_number;
	stat->size = (u64)region->pages << PAGE_SHIFT;
	stat->home = region->home;
	if (isth_region_frozen(region))
		stat->state |= ISTH_STATE_FROZEN;
	if (region->lazy)
		stat->state |= ISTH_STATE_LAZY;
}

static void isth_region_show_fdinfo(struct isth_object *object,
				    struct seq_file *seq)
{
	struct isth_region *region = isth_object_region(object);

	seq_printf(seq, "isthmus-kind:\t%s\n", region->kind->name);
	seq_printf(seq, "isthmus-size:\t%llu\n", (u64)region->pages << PAGE_SHIFT);
	seq_printf(seq, "isthmus-home:\t0x%lx\n", region->home);
}

static void isth_region_free(struct isth_object *object)
{
	struct isth_region *region = isth_object_region(object);

	trace_region_free(region);
	region->kind->free(region);
	atomic_long_dec(&isth_live_regions);
}

static void isth_region_opened(struct isth_handle *handle, struct file *file)
{
	const struct isth_region_kind *kind = isth_region_of(handle)->kind;

	if (kind->opened)
		kind->opened(handle, file);
}

static u64 isth_region_cut(struct isth_object *object,
			   struct list_head *revoked)
{
	struct isth_region *region = isth_object_region(object);

	return region->kind->cut(region, revoked);
}

static long isth_region_freeze(struct isth_handle *handle, void *argument)
{
	struct isth_region *region = isth_region_of(handle);
	struct isth_freeze *freeze = argument;
	int error = 0;

	if (freeze->flags || freeze->reserved)
		return -EINVAL;
	freeze->pinned_pages = 0;

	if (mutex_lock_killable(&handle->object->change_lock))
		return -EINTR;
	if (isth_handle_revoked(handle))
		error = -EKEYREVOKED;
	else if (!(handle->rights & ISTH_RIGHT_FREEZE))
		error = -EACCES;
	else if (!isth_region_frozen(region))
		error = region->kind->freeze(region, &freeze->pinned_pages);
	mutex_unlock(&handle->object->change_lock);

	if (!error || error == -EBUSY)
		trace_region_freeze(handle, error);
	return error;
}

/* What WAIT and WAKE refuse, in the order in which they look. */
static int isth_word_check(struct isth_handle *handle, u32 right, u64 offset)
{
	struct isth_region *region = isth_region_of(handle);

	if (!IS_ALIGNED(offset, sizeof(u32)) ||
	    offset >= (u64)region->pages << PAGE_SHIFT)
		return -EINVAL;
	if (isth_handle_revoked(handle))
		return -EKEYREVOKED;
	if (!(handle->rights & right))
		return -EACCES;
	return region->kind->wait ? 0 : -EOPNOTSUPP;
}

static long isth_region_wait(struct isth_handle *handle, void *argument)
{
	const struct isth_wait *wait = argument;
	long result;

	if (wait->flags)
		return -EINVAL;
	result = isth_word_check(handle, ISTH_RIGHT_READ, wait->offset);
	if (result)
		return result;
	result = isth_region_of(handle)->kind->wait(handle, wait);
	trace_region_wait(handle, wait->offset, result);
	return result;
}

static long isth_region_wake(struct isth_handle *handle, void *argument)
{
	const struct isth_wake *wake = argument;
	long result;

	if (wake->flags)
		return -EINVAL;
	result = isth_word_check(handle, ISTH_RIGHT_WRITE, wake->offset);
	if (result)
		return result;
	result = isth_region_of(handle)->kind->wake(handle, wake);
	trace_region_wake(handle, wake->offset, result);
	return result;
}

static const struct isth_request isth_region_requests[] = {
	ISTH_REQUEST(ISTH_FREEZE, struct isth_freeze, pinned_pages,
		     isth_region_freeze),
	ISTH_REQUEST(ISTH_WAIT, struct isth_wait, deadline, isth_region_wait),
	ISTH_REQUEST(ISTH_WAKE, struct isth_wake, offset, isth_region_wake),
};

/* What of @flags a mapping through this handle must not have. */
static vm_flags_t isth_region_flags_refused(const struct isth_handle *handle)
{
	vm_flags_t refused = 0;

	if (!(handle->rights & ISTH_RIGHT_WRITE))
		refused |= VM_WRITE;
	if (!(handle->rights & ISTH_RIGHT_EXEC))
		refused |= VM_EXEC;
	return refused;
}

static int isth_region_mmap_check(struct isth_handle *handle,
				  struct vm_area_struct *vma)
{
	struct isth_region *region = isth_region_of(handle);

	/* VM_SHARED is off for a file that was opened read-only. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff > region->pages ||
	    vma_pages(vma) > region->pages - vma->vm_pgoff)
		return -EINVAL;
	if (isth_handle_revoked(handle))
		return -EKEYREVOKED;
	if (!(handle->rights & ISTH_RIGHT_READ) ||
	    vma->vm_flags & isth_region_flags_refused(handle))
		return -EACCES;
	if (vma->vm_flags & VM_WRITE && isth_region_frozen(region))
		return -EPERM;
	return 0;
}

/*
 * A handle that is revoked after the check gets a mapping of which no page can
 * be touched: faults look at the handle again.
 */
static int isth_region_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct isth_handle *handle = file->private_data;
	int error;

	error = isth_region_mmap_check(handle, vma);
	if (error)
		return error;

	/* VM_MAYWRITE is VM_WRITE in the row of bits above, VM_MAYEXEC too. */
	vm_flags_clear(vma, isth_region_flags_refused(handle) << 4);
	error = isth_region_of(handle)->kind->mmap(handle, file, vma);
	if (!error)
		isth_region_mapped(handle, vma);
	return error;
}

void isth_region_mapped(struct isth_handle *handle, struct vm_area_struct *vma)
{
	isth_handle_mapped(handle);
	trace_region_map(handle, vma);
}

void isth_region_unmapped(struct isth_handle *handle,
			  struct vm_area_struct *vma)
{
	trace_region_unmap(handle, vma);
	isth_handle_unmapped(handle);
}

/* Faults refuse to write a frozen region anyway; this one says so earlier. */
int isth_region_mprotect(struct vm_area_struct *vma, unsigned long start,
			 unsigned long end, unsigned long flags)
{
	struct isth_handle *handle = vma->vm_private_data;

	if (flags & VM_WRITE && isth_region_frozen(isth_region_of(handle)))
		return -EPERM;
	return 0;
}

/*
 * The kernel believes what this returns and would unmap whatever is there, so
 * look first. The mmap_lock is held for writing.
 */
static unsigned long isth_home_unmapped_area(unsigned long address,
					     unsigned long length)
{
	struct vm_area_struct *vma;

	if (address > TASK_SIZE || length > TASK_SIZE - address)
		return -ENOMEM;
	vma = find_vma(current->mm, address);
	if (vma && vma->vm_start < address + length)
		return -EEXIST;
	return address;
}

/*
 * An address at which 2 MiB of the region's memory can be mapped by one entry:
 * ask for more room and begin where address and offset agree.
 */
static unsigned long
isth_huge_unmapped_area(struct file *file, unsigned long length,
			unsigned long offset, unsigned long flags)
{
	unsigned long address;

	address = isth_get_unmapped_area(file, 0, length + PMD_SIZE, offset,
					 flags);
	if (IS_ERR_VALUE(address))
		return address;
	return address + (((offset << PAGE_SHIFT) - address) & ~PMD_MASK);
}

static unsigned long
isth_region_unmapped_area(struct file *file, unsigned long address,
			  unsigned long length, unsigned long offset,
			  unsigned long flags)
{
	struct isth_region *region = isth_region_of(file->private_data);

	if (!address && !(flags & MAP_FIXED) && region->home &&
	    offset < region->pages)
		return isth_home_unmapped_area(region->home +
					       (offset << PAGE_SHIFT), length);
	if (ISTH_HUGE_ENTRIES && !address && !(flags & MAP_FIXED) &&
	    length >= PMD_SIZE &&
	    region->kind_number == ISTH_REGION_ISOLATED) {
		unsigned long huge;

		huge = isth_huge_unmapped_area(file, length, offset, flags);
		if (!IS_ERR_VALUE(huge))
			return huge;
	}
	return isth_get_unmapped_area(file, address, length, offset, flags);
}

static const struct file_operations isth_region_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = isth_handle_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = isth_region_mmap,
	.get_unmapped_area = isth_region_unmapped_area,
	.poll = isth_handle_poll,
	.release = isth_handle_release,
	.show_fdinfo = isth_handle_show_fdinfo,
};

static const struct isth_object_ops isth_region_ops = {
	.type = ISTH_TYPE_REGION,
	.type_name = "region",
	.link_name = "[isthmus-region]",
	.rights = ISTH_RIGHTS_REGION,
	.fops = &isth_region_fops,
	.requests = isth_region_requests,
	.request_count = ARRAY_SIZE(isth_region_requests),
	.opened = isth_region_opened,
	.cut = isth_region_cut,
	.stat = isth_region_stat,
	.show_fdinfo = isth_region_show_fdinfo,
	.free = isth_region_free,
};

/**
 * isth_region_fits - whether there is memory left for the rest of a region
 * @done: how many pages it has; this looks only now and then
 * @pages: how many it will have
 * @swap: whether they may go to swap
 *
 * Before an allocation of more than there is fails, it has driven every page of
 * everybody's programs out of memory, again and again. So a region stops where
 * MemAvailable does. Two that grow at once each see what the other took.
 */
bool isth_region_fits(unsigned long done, unsigned long pages, bool swap)
{
	long available;

	if (done % ISTH_FITS_PAGES || pages < ISTH_FITS_PAGES)
		return true;
	available = si_mem_available();
	if (swap)
		available += get_nr_swap_pages();
	return available > 0 && pages - done <= available;
}

/* The largest region that can be made, in bytes. */
u64 isth_region_bytes_max(void)
{
	u64 mib = READ_ONCE(isth_region_size_max_mib);
	u64 memory = (u64)totalram_pages() << PAGE_SHIFT;

	return mib && mib < memory >> 20 ? mib << 20 : memory;
}

static const struct isth_region_kind *isth_region_kind_of(u32 kind)
{
	switch (kind) {
	case ISTH_REGION_PAGEABLE:
		return &isth_region_pageable;
	case ISTH_REGION_ISOLATED:
		return &isth_region_isolated;
	default:
		return NULL;
	}
}

static int isth_region_create_check(const struct isth_region_create *create)
{
	const u32 known = ISTH_REGION_LAZY | ISTH_REGION_HOME;

	if (create->flags & ~known || !isth_region_kind_of(create->kind) ||
	    !create->size || !PAGE_ALIGNED(create->size) ||
	    !PAGE_ALIGNED(create->home))
		return -EINVAL;
	if (create->home && !(create->flags & ISTH_REGION_HOME))
		return -EINVAL;
	if (create->size > isth_region_bytes_max())
		return -EFBIG;
	if (create->home > TASK_SIZE_MAX - create->size)
		return -EINVAL;
	if (create->flags & ISTH_REGION_HOME &&
	    create->size > ISTH_HOME_LAST - ISTH_HOME_FIRST)
		return -EFBIG;
	if (create->flags & ISTH_REGION_LAZY &&
	    create->kind == ISTH_REGION_ISOLATED)
		return -EOPNOTSUPP;
	return 0;
}

static struct isth_region *
isth_region_make(const struct isth_region_create *create)
{
	const struct isth_region_kind *kind = isth_region_kind_of(create->kind);
	bool lazy = create->flags & ISTH_REGION_LAZY;
	struct isth_region *region;

	region = kind->create(create->size, lazy);
	if (IS_ERR(region))
		return region;

	isth_object_init(&region->object, &isth_region_ops);
	region->kind = kind;
	region->kind_number = create->kind;
	region->lazy = lazy;
	region->pages = create->size >> PAGE_SHIFT;
	if (create->flags & ISTH_REGION_HOME)
		region->home = create->home ?: isth_home_choose(create->size);
	atomic_long_inc(&isth_live_regions);
	trace_region_create(region);
	return region;
}

/* ISTH_REGION_CREATE. @none is NULL: this one has no handle to go by. */
long isth_region_create(struct isth_handle *none, void *argument)
{
	const struct isth_region_create *create = argument;
	struct isth_region *region;
	struct isth_handle *handle;
	long result;

	result = isth_region_create_check(create);
	if (result)
		return result;

	region = isth_region_make(create);
	if (IS_ERR(region))
		return PTR_ERR(region);

	handle = isth_handle_create(&region->object, NULL, ISTH_RIGHTS_REGION);
	if (IS_ERR(handle))
		result = PTR_ERR(handle);
	else
		result = isth_handle_install(handle);
	isth_object_put(&region->object);
	return result;
}

void isth_region_init(void)
{
	const u32 slots = (ISTH_HOME_LAST - ISTH_HOME_FIRST) / PMD_SIZE;

	isth_home_next = ISTH_HOME_FIRST +
			 (get_random_u32() % slots) * PMD_SIZE;
}
