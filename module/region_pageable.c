// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pageable regions: page-cache pages of a file without a name, so that all of
 * the kernel that works on shared memory works on these, and yet they can be
 * frozen and taken back.
 *
 * The kernel maps a page after ->fault() has returned it, so a flag that the
 * fault looks at is not enough: the page it let through may be mapped later.
 * But it stays locked until it is mapped. Revoke and freeze therefore
 *
 *  1. make further faults wait (quiesced), or fail (revoked);
 *  2. wait until no page is locked by a fault that was let through before;
 *  3. wait for ->map_pages(), which maps without asking us, by SRCU;
 *  4. unmap everything. Nobody can map anything again until faults resume.
 *
 * With all mappings gone and faults waiting, what is left of references on a
 * page beyond the page cache's own is somebody's I/O. That is how F_SEAL_WRITE
 * of memfd_create(2) counts too, only that it needs mappings to be absent
 * where this makes them so.
 *
 * Faults wait under their mmap_lock. Whoever quiesced never takes one, and
 * does what it does in bounded time.
 */
#include <linux/cpu.h>
#include <linux/file.h>
#include <linux/pagemap.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "compat.h"
#include "region.h"

/* Rounds of looking for references that go away by themselves, and ticks. */
#define ISTH_FREEZE_ROUNDS	5
#define ISTH_CUT_ROUNDS		2

/**
 * struct isth_pageable - a pageable region
 * @region: the part that both kinds have
 * @shmem: its pages; all mappings hold it too
 * @quiesced: faults wait; written under change_lock
 * @resumed: where they wait
 */
struct isth_pageable {
	struct isth_region region;
	struct file *shmem;
	bool quiesced;
	wait_queue_head_t resumed;
};

/* Readers only ever map pages that are there, so one for all regions will do. */
DEFINE_STATIC_SRCU(isth_map_pages_srcu);

static struct isth_pageable *isth_pageable_of(struct isth_region *region)
{
	return container_of(region, struct isth_pageable, region);
}

static struct address_space *isth_pageable_mapping(struct isth_pageable *pageable)
{
	return pageable->shmem->f_mapping;
}

/* What a fault may do now: go on (0), wait and come back, or fail. */
static vm_fault_t isth_pageable_verdict(struct isth_handle *handle, bool write)
{
	struct isth_region *region = isth_region_of(handle);

	/*
	 * The page is locked. If the one who sets these flags did not find it
	 * in its walk over the pages, it was put there after the flag was set:
	 * pairs with the barrier in isth_pageable_quiesce().
	 */
	smp_mb();
	if (isth_handle_revoked(handle))
		return VM_FAULT_SIGBUS;
	/* Acquire: a resumed fault sees the region frozen. */
	if (smp_load_acquire(&isth_pageable_of(region)->quiesced))
		return VM_FAULT_RETRY;
	if (write && isth_region_frozen(region))
		return VM_FAULT_SIGBUS;
	return 0;
}

/*
 * Turn a verdict into what the kernel wants to hear, with no page locked any
 * more. The mmap_lock stays held, so this must not be VM_FAULT_RETRY.
 */
static vm_fault_t isth_pageable_refuse(struct isth_handle *handle,
				       vm_fault_t verdict)
{
	struct isth_pageable *pageable = isth_pageable_of(isth_region_of(handle));

	if (verdict != VM_FAULT_RETRY)
		return verdict;
	if (wait_event_killable(pageable->resumed,
				!READ_ONCE(pageable->quiesced)))
		return VM_FAULT_SIGBUS;
	return VM_FAULT_NOPAGE;
}

static vm_fault_t isth_pageable_fault(struct vm_fault *vmf)
{
	struct isth_handle *handle = vmf->vma->vm_private_data;
	struct isth_pageable *pageable = isth_pageable_of(isth_region_of(handle));
	struct address_space *mapping = isth_pageable_mapping(pageable);
	vm_fault_t verdict;
	struct page *page;

	page = shmem_read_mapping_page_gfp(mapping, vmf->pgoff,
					   mapping_gfp_mask(mapping));
	if (IS_ERR(page))
		return vmf_error(PTR_ERR(page));

	lock_page(page);
	if (page_folio(page)->mapping != mapping) {
		/* Swapped out since; come back for its successor. */
		verdict = VM_FAULT_NOPAGE;
	} else {
		verdict = isth_pageable_verdict(handle, false);
		if (!verdict) {
			vmf->page = page;
			return VM_FAULT_LOCKED;
		}
	}
	unlock_page(page);
	put_page(page);
	return isth_pageable_refuse(handle, verdict);
}

/* The first store through a mapping of a page; the page is mapped read-only. */
static vm_fault_t isth_pageable_page_mkwrite(struct vm_fault *vmf)
{
	struct isth_handle *handle = vmf->vma->vm_private_data;
	struct isth_pageable *pageable = isth_pageable_of(isth_region_of(handle));
	struct page *page = vmf->page;
	vm_fault_t verdict;

	lock_page(page);
	if (page_folio(page)->mapping != isth_pageable_mapping(pageable)) {
		verdict = VM_FAULT_NOPAGE;
	} else {
		verdict = isth_pageable_verdict(handle, true);
		if (!verdict)
			return VM_FAULT_LOCKED;
	}
	unlock_page(page);
	return isth_pageable_refuse(handle, verdict);
}

/* Map what is in memory around a read fault; returning 0 maps nothing. */
static vm_fault_t isth_pageable_map_pages(struct vm_fault *vmf, pgoff_t start,
					  pgoff_t end)
{
	struct isth_handle *handle = vmf->vma->vm_private_data;
	struct isth_pageable *pageable = isth_pageable_of(isth_region_of(handle));
	vm_fault_t result = 0;
	int index;

	index = srcu_read_lock(&isth_map_pages_srcu);
	if (!isth_handle_revoked(handle) && !READ_ONCE(pageable->quiesced))
		result = filemap_map_pages(vmf, start, end);
	srcu_read_unlock(&isth_map_pages_srcu, index);
	return result;
}

static void isth_pageable_open(struct vm_area_struct *vma)
{
	struct isth_handle *handle = vma->vm_private_data;

	isth_handle_get(handle);
	isth_region_mapped(handle, vma);
}

static void isth_pageable_close(struct vm_area_struct *vma)
{
	struct isth_handle *handle = vma->vm_private_data;

	isth_region_unmapped(handle, vma);
	isth_handle_put(handle);
}

static const struct vm_operations_struct isth_pageable_vm_ops = {
	.open = isth_pageable_open,
	.close = isth_pageable_close,
	.fault = isth_pageable_fault,
	.map_pages = isth_pageable_map_pages,
	.page_mkwrite = isth_pageable_page_mkwrite,
	.mprotect = isth_region_mprotect,
};

/*
 * From here on the mapping's file is the shmem file: reclaim finds the mapping
 * through it. The handle's file may close, the handle stays.
 */
static int isth_pageable_mmap(struct isth_handle *handle, struct file *file,
			      struct vm_area_struct *vma)
{
	struct isth_pageable *pageable = isth_pageable_of(isth_region_of(handle));

	isth_handle_get(handle);
	vma_set_file(vma, pageable->shmem);
	vma->vm_private_data = handle;
	vma->vm_ops = &isth_pageable_vm_ops;
	return 0;
}

/*
 * Find the next folio at or after *@index that @match likes; say how many pages
 * it has and where it begins. Under the lock, so that none can be reused for
 * something else while it is looked at, but never for long.
 */
static __always_inline unsigned long
isth_pageable_find(struct isth_pageable *pageable, pgoff_t *index,
		   bool (*match)(struct folio *folio))
{
	XA_STATE(xas, &isth_pageable_mapping(pageable)->i_pages, *index);
	unsigned long pages = 0;
	unsigned int seen = 0;
	struct folio *folio;

	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, ULONG_MAX) {
		if (!xa_is_value(folio) && match(folio)) {
			*index = folio->index;
			pages = folio_nr_pages(folio);
			break;
		}
		if (++seen % XA_CHECK_SCHED)
			continue;
		xas_pause(&xas);
		xas_unlock_irq(&xas);
		cond_resched();
		xas_lock_irq(&xas);
	}
	xas_unlock_irq(&xas);
	return pages;
}

static bool isth_folio_locked(struct folio *folio)
{
	return folio_test_locked(folio);
}

/*
 * Locks of pages are only looked at, and waited for where one is held. With the
 * barriers, either we see that a fault holds one or the fault sees our flag.
 */
static void isth_pageable_drain_faults(struct isth_pageable *pageable)
{
	struct address_space *mapping = isth_pageable_mapping(pageable);
	unsigned long pages;
	struct page *page;
	pgoff_t index = 0;

	while ((pages = isth_pageable_find(pageable, &index, isth_folio_locked))) {
		page = find_lock_page(mapping, index);
		if (page) {
			unlock_page(page);
			put_page(page);
		}
		index += pages;
	}
	/* A page found unlocked is mapped by whom it was locked by before. */
	smp_mb();
	synchronize_srcu_expedited(&isth_map_pages_srcu);
}

/* Take the region away from everyone who has it mapped, until resumed. */
static void isth_pageable_quiesce(struct isth_pageable *pageable)
{
	lockdep_assert_held(&pageable->region.object.change_lock);

	WRITE_ONCE(pageable->quiesced, true);
	/* Pairs with the barrier in isth_pageable_verdict(). */
	smp_mb();
	isth_pageable_drain_faults(pageable);
	unmap_mapping_range(isth_pageable_mapping(pageable), 0, 0, 1);
}

static void isth_pageable_resume(struct isth_pageable *pageable)
{
	lockdep_assert_held(&pageable->region.object.change_lock);

	/* Release: who sees faults resumed sees the region frozen. */
	smp_store_release(&pageable->quiesced, false);
	wake_up_all(&pageable->resumed);
}

static void isth_lru_drain_work(struct work_struct *work)
{
	isth_lru_add_drain();
}

/*
 * Pages on their way to an LRU list are held by the CPU that put them on the
 * way. On failure to allocate they are counted as held once more than needed:
 * the caller errs on the safe side.
 */
static void isth_lru_drain_all(void)
{
	struct work_struct __percpu *works;
	int cpu;

	works = alloc_percpu(struct work_struct);
	if (!works)
		return;
	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct work_struct *work = per_cpu_ptr(works, cpu);

		INIT_WORK(work, isth_lru_drain_work);
		schedule_work_on(cpu, work);
	}
	for_each_online_cpu(cpu)
		flush_work(per_cpu_ptr(works, cpu));
	cpus_read_unlock();
	free_percpu(works);
}

/*
 * The page cache and every mapping hold it. Mappings of a large folio cannot be
 * counted from a module; while faults wait there are none.
 */
static bool isth_folio_pinned(struct folio *folio)
{
	int expected = folio_nr_pages(folio);

	if (!folio_test_large(folio))
		expected += atomic_read(&folio->_mapcount) + 1;
	else if (folio_mapped(folio))
		return folio_maybe_dma_pinned(folio);
	return folio_ref_count(folio) > expected;
}

static u64 isth_pageable_count_pinned(struct isth_pageable *pageable)
{
	unsigned long pages;
	pgoff_t index = 0;
	u64 pinned = 0;

	while ((pages = isth_pageable_find(pageable, &index, isth_folio_pinned))) {
		pinned += pages;
		index += pages;
	}
	return pinned;
}

/*
 * How many pages I/O holds. Reclaim, compaction and LRU batches hold pages for
 * a moment too, hence more than one look.
 */
static u64 isth_pageable_pinned(struct isth_pageable *pageable, int rounds)
{
	u64 pinned;

	lockdep_assert_held(&pageable->region.object.change_lock);

	for (int round = 0; ; round++) {
		pinned = isth_pageable_count_pinned(pageable);
		if (!pinned || round == rounds || fatal_signal_pending(current))
			return pinned;
		if (!round)
			isth_lru_drain_all();
		else
			schedule_timeout_killable(max(1, (HZ << round) / 400));
	}
}

/*
 * Whether anything is mapped through these handles. A mapping that is made now
 * has no pages yet, and no fault will get one: either we see that it is counted
 * or its faults see the mark.
 */
static bool isth_pageable_mapped(struct list_head *revoked)
{
	struct isth_handle *handle;

	/* Pairs with the barrier in isth_pageable_verdict(). */
	smp_mb();
	list_for_each_entry(handle, revoked, revoking)
		if (atomic_long_read(&handle->mappings))
			return true;
	return false;
}

/*
 * All handles' mappings of a page are found together, so all are unmapped; those
 * of other handles come back by faults. Where nothing is mapped nobody is
 * disturbed, or the holder of a dead handle could make work for all others.
 */
static u64 isth_pageable_cut(struct isth_region *region,
			     struct list_head *revoked)
{
	struct isth_pageable *pageable = isth_pageable_of(region);
	u64 pinned;

	if (!isth_pageable_mapped(revoked))
		return isth_pageable_pinned(pageable, ISTH_CUT_ROUNDS);

	isth_pageable_quiesce(pageable);
	pinned = isth_pageable_pinned(pageable, ISTH_CUT_ROUNDS);
	isth_pageable_resume(pageable);
	return pinned;
}

static int isth_pageable_freeze(struct isth_region *region, u64 *pinned_pages)
{
	struct isth_pageable *pageable = isth_pageable_of(region);

	isth_pageable_quiesce(pageable);
	*pinned_pages = isth_pageable_pinned(pageable, ISTH_FREEZE_ROUNDS);
	if (!*pinned_pages)
		WRITE_ONCE(region->frozen, true);
	isth_pageable_resume(pageable);
	return *pinned_pages ? -EBUSY : 0;
}

/*
 * What the kernel may do with the shmem file of a mapping: msync(). It has no
 * mmap and no fallocate, so that remap_file_pages(2) and MADV_REMOVE find no
 * way around the handle. The file keeps the module loaded: mappings hold it.
 */
static const struct file_operations isth_shmem_fops = {
	.owner = THIS_MODULE,
	.fsync = noop_fsync,
};

static struct file *isth_pageable_shmem(u64 bytes, bool lazy)
{
	const struct file_operations *fops = &isth_shmem_fops;
	struct file *shmem;

	/* ENOSPC here is an inode for which there was no memory. */
	shmem = isth_shmem_file("isthmus-region", bytes, !lazy);
	if (IS_ERR(shmem))
		return PTR_ERR(shmem) == -ENOSPC ? ERR_PTR(-ENOMEM) : shmem;

	/* Dropped by the kernel with the file's last reference. */
	__module_get(THIS_MODULE);
	replace_fops(shmem, fops);
	/*
	 * /proc/PID/map_files leads to the inode. Whoever opens or truncates it
	 * by that way gets an error, now and after the region is gone.
	 */
	make_bad_inode(file_inode(shmem));
	return shmem;
}

/*
 * Commit every page, and fail rather than invoke the OOM killer: the caller is
 * there to hear of it.
 */
static int isth_pageable_populate(struct isth_pageable *pageable,
				  unsigned long pages)
{
	struct address_space *mapping = isth_pageable_mapping(pageable);
	gfp_t gfp = mapping_gfp_mask(mapping) | __GFP_RETRY_MAYFAIL |
		    __GFP_NOWARN;

	for (unsigned long index = 0; index < pages; index++) {
		struct page *page;

		if (fatal_signal_pending(current))
			return -EINTR;
		if (!isth_region_fits(index, pages, true))
			return -ENOMEM;
		page = shmem_read_mapping_page_gfp(mapping, index, gfp);
		if (IS_ERR(page))
			return PTR_ERR(page);
		put_page(page);
		cond_resched();
	}
	return 0;
}

static void isth_pageable_free(struct isth_region *region)
{
	struct isth_pageable *pageable = isth_pageable_of(region);

	fput(pageable->shmem);
	kfree(pageable);
}

static struct isth_region *isth_pageable_create(u64 bytes, bool lazy)
{
	struct isth_pageable *pageable;
	int error;

	pageable = kzalloc(sizeof(*pageable), GFP_KERNEL_ACCOUNT);
	if (!pageable)
		return ERR_PTR(-ENOMEM);
	init_waitqueue_head(&pageable->resumed);

	pageable->shmem = isth_pageable_shmem(bytes, lazy);
	if (IS_ERR(pageable->shmem)) {
		error = PTR_ERR(pageable->shmem);
		goto free_pageable;
	}

	error = lazy ? 0 : isth_pageable_populate(pageable, bytes >> PAGE_SHIFT);
	if (error)
		goto put_shmem;
	return &pageable->region;

put_shmem:
	fput(pageable->shmem);
free_pageable:
	kfree(pageable);
	return ERR_PTR(error);
}

const struct isth_region_kind isth_region_pageable = {
	.name = "pageable",
	.create = isth_pageable_create,
	.mmap = isth_pageable_mmap,
	.cut = isth_pageable_cut,
	.freeze = isth_pageable_freeze,
	.free = isth_pageable_free,
};
