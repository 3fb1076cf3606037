// SPDX-License-Identifier: GPL-2.0-only
/*
 * Isolated regions: memory that nothing reaches but a CPU that has mapped it
 * through a handle.
 *
 * The pages belong to no page cache and are mapped by number (VM_PFNMAP), which
 * keeps every user of get_user_pages() out: ptrace, /proc/PID/mem,
 * process_vm_readv(2), O_DIRECT, io_uring, vmsplice(2), futexes. VM_IO and
 * VM_DONTDUMP keep them out of core dumps; not being on an LRU list keeps them
 * out of swap.
 *
 * A fault enters the page-table entries itself, holding map_lock. Revoke and
 * freeze set their flag, pass through map_lock, and then unmap: whoever was
 * inside has finished, whoever comes sees the flag. fork() copies entries
 * without asking, but puts the copy behind the original in the list that
 * unmapping walks, as for file mappings that are truncated.
 *
 * Every handle has a range of page offsets of its own in one address_space, so
 * that unmapping one handle's mappings leaves all others alone.
 *
 * Locks, inside those of handle.h: map_lock, then page-table locks; wait_lock.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hrtimer.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>

#include "compat.h"
#include "region.h"
#include "trace.h"

#define ISTH_BLOCK_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#define ISTH_BLOCK_PAGES	BIT(ISTH_BLOCK_ORDER)

/**
 * struct isth_isolated - an isolated region
 * @region: the part that both kinds have
 * @page: its pages
 * @page_count: how many of them there are, also while it is being made
 * @blocks: a bit for each 2 MiB of it that were allocated as one
 * @cred: of its maker, whose user's locked memory it counts as
 * @mapping: all mappings of it
 * @map_lock: held for reading while entries are made; see above
 * @wait_lock: guards @waiters and all in them
 * @waiters: threads in ISTH_WAIT
 */
struct isth_isolated {
	struct isth_region region;
	struct page **page;
	unsigned long page_count;
	unsigned long *blocks;
	const struct cred *cred;
	struct address_space mapping;
	struct rw_semaphore map_lock;

	spinlock_t wait_lock; /* the list below */
	struct list_head waiters;
};

/**
 * struct isth_waiter - a thread in ISTH_WAIT, on its stack
 * @link: in the region's list while it waits
 * @handle: what it waits through
 * @task: whom to wake
 * @offset: which word
 * @result: EINPROGRESS until somebody takes it off the list
 */
struct isth_waiter {
	struct list_head link;
	struct isth_handle *handle;
	struct task_struct *task;
	u64 offset;
	int result;
};

static const struct address_space_operations isth_isolated_aops;

static struct isth_isolated *isth_isolated_of(struct isth_region *region)
{
	return container_of(region, struct isth_isolated, region);
}

/* The first of the page offsets at which a handle's mappings are listed. */
static pgoff_t isth_isolated_window(const struct isth_handle *handle,
				    const struct isth_region *region)
{
	return handle->id * region->pages;
}

/* Which of the region's pages is mapped at @address. */
static unsigned long isth_isolated_index(struct vm_area_struct *vma,
					 unsigned long address)
{
	struct isth_handle *handle = vma->vm_private_data;

	return linear_page_index(vma, address) -
	       isth_isolated_window(handle, isth_region_of(handle));
}

/**
 * struct isth_insertion - what to enter into the page table
 * @page: the pages, one for each entry
 * @start: address of the first entry
 * @protection: of every entry
 */
struct isth_insertion {
	struct page **page;
	unsigned long start;
	pgprot_t protection;
};

/*
 * The page-table lock is held. An entry that is there already leads to the same
 * page, since map_lock is held; all it may lack is the permission to write.
 */
static int isth_isolated_insert(pte_t *pte, unsigned long address, void *data)
{
	const struct isth_insertion *insertion = data;
	unsigned long index = (address - insertion->start) >> PAGE_SHIFT;
	pte_t old = isth_ptep_get(pte);
	pte_t new;

	if (!pte_none(old) && pte_write(old))
		return 0;
	new = pfn_pte(page_to_pfn(insertion->page[index]), insertion->protection);
	new = pte_mkspecial(pte_mkyoung(new));
	if (pte_write(new))
		new = pte_mkdirty(new);
	set_pte_at(current->mm, address, pte, new);
	return 0;
}

/* Enter all pages of the mapping that share the 2 MiB of the one that faulted. */
static vm_fault_t isth_isolated_map_around(struct isth_isolated *isolated,
					   struct vm_fault *vmf)
{
	struct isth_region *region = &isolated->region;
	struct vm_area_struct *vma = vmf->vma;
	unsigned long start = max(vmf->address & PMD_MASK, vma->vm_start);
	unsigned long end = min((vmf->address & PMD_MASK) + PMD_SIZE, vma->vm_end);
	struct isth_insertion insertion = { .start = start };
	vm_flags_t flags = vma->vm_flags;

	lockdep_assert_held_read(&isolated->map_lock);

	if (isth_region_frozen(region))
		flags &= ~VM_WRITE;
	insertion.page = isolated->page + isth_isolated_index(vma, start);
	insertion.protection = vm_get_page_prot(flags);
	if (apply_to_page_range(vma->vm_mm, start, end - start,
				isth_isolated_insert, &insertion))
		return VM_FAULT_OOM;
	return VM_FAULT_NOPAGE;
}

/* Enter pages with @map unless the handle or the region forbids it. */
static vm_fault_t isth_isolated_map(struct vm_fault *vmf,
				    vm_fault_t (*map)(struct isth_isolated *isolated,
						      struct vm_fault *vmf))
{
	struct isth_handle *handle = vmf->vma->vm_private_data;
	struct isth_region *region = isth_region_of(handle);
	struct isth_isolated *isolated = isth_isolated_of(region);
	vm_fault_t result;

	down_read(&isolated->map_lock);
	if (isth_handle_revoked(handle))
		result = VM_FAULT_SIGBUS;
	else if (vmf->flags & FAULT_FLAG_WRITE && isth_region_frozen(region))
		result = VM_FAULT_SIGBUS;
	else
		result = map(isolated, vmf);
	up_read(&isolated->map_lock);
	return result;
}

/*
 * Also ->pfn_mkwrite(), for entries that mprotect() left read-only. Returning 0
 * there would let the kernel make the entry writable after map_lock is gone,
 * and freeze could have come and a reader have mapped the page anew meanwhile.
 */
static vm_fault_t isth_isolated_fault(struct vm_fault *vmf)
{
	return isth_isolated_map(vmf, isth_isolated_map_around);
}

#if ISTH_HUGE_ENTRIES
/* One entry for 2 MiB, where memory, address and mapping allow it. */
static vm_fault_t isth_isolated_map_block(struct isth_isolated *isolated,
					  struct vm_fault *vmf)
{
	unsigned long start = vmf->address & PMD_MASK;
	struct vm_area_struct *vma = vmf->vma;
	bool write = vma->vm_flags & VM_WRITE &&
		     !isth_region_frozen(&isolated->region);
	unsigned long index;

	if (start < vma->vm_start || start + PMD_SIZE > vma->vm_end)
		return VM_FAULT_FALLBACK;
	index = isth_isolated_index(vma, start);
	if (!IS_ALIGNED(index, ISTH_BLOCK_PAGES) ||
	    !test_bit(index / ISTH_BLOCK_PAGES, isolated->blocks))
		return VM_FAULT_FALLBACK;
	return isth_insert_pfn_pmd(vmf, page_to_pfn(isolated->page[index]), write);
}

static vm_fault_t isth_isolated_huge_fault(struct vm_fault *vmf,
					   unsigned int order)
{
	if (order != ISTH_BLOCK_ORDER)
		return VM_FAULT_FALLBACK;
	return isth_isolated_map(vmf, isth_isolated_map_block);
}
#endif

/* The mapping holds the handle's file, which holds the handle. */
static void isth_isolated_open(struct vm_area_struct *vma)
{
	isth_region_mapped(vma->vm_private_data, vma);
}

static void isth_isolated_close(struct vm_area_struct *vma)
{
	isth_region_unmapped(vma->vm_private_data, vma);
}

/* No ->access(): with it, ptrace and /proc/PID/mem would get in. */
static const struct vm_operations_struct isth_isolated_vm_ops = {
	.open = isth_isolated_open,
	.close = isth_isolated_close,
	.fault = isth_isolated_fault,
	.pfn_mkwrite = isth_isolated_fault,
#if ISTH_HUGE_ENTRIES
	.huge_fault = isth_isolated_huge_fault,
#endif
	.mprotect = isth_region_mprotect,
};

static int isth_isolated_mmap(struct isth_handle *handle, struct file *file,
			      struct vm_area_struct *vma)
{
	struct isth_region *region = isth_region_of(handle);

	if (handle->id >= ULONG_MAX / region->pages)
		return -EOVERFLOW;
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_pgoff += isth_isolated_window(handle, region);
	vma->vm_private_data = handle;
	vma->vm_ops = &isth_isolated_vm_ops;
	return 0;
}

/* Mappings of this file are listed at the region, not at the common inode. */
static void isth_isolated_opened(struct isth_handle *handle, struct file *file)
{
	struct isth_isolated *isolated = isth_isolated_of(isth_region_of(handle));

	isolated->mapping.host = file_inode(file);
	file->f_mapping = &isolated->mapping;
}

/* Whoever is entering pages has finished, and whoever follows sees our flag. */
static void isth_isolated_drain_faults(struct isth_isolated *isolated)
{
	down_write(&isolated->map_lock);
	up_write(&isolated->map_lock);
}

static void isth_isolated_wake_revoked(struct isth_isolated *isolated)
{
	struct isth_waiter *waiter;
	struct isth_waiter *next;

	spin_lock(&isolated->wait_lock);
	list_for_each_entry_safe(waiter, next, &isolated->waiters, link) {
		if (!isth_handle_revoked(waiter->handle))
			continue;
		list_del_init(&waiter->link);
		WRITE_ONCE(waiter->result, -EKEYREVOKED);
		wake_up_process(waiter->task);
	}
	spin_unlock(&isolated->wait_lock);
}

static u64 isth_isolated_cut(struct isth_region *region,
			     struct list_head *revoked)
{
	struct isth_isolated *isolated = isth_isolated_of(region);
	struct isth_handle *handle;

	isth_isolated_drain_faults(isolated);
	list_for_each_entry(handle, revoked, revoking)
		unmap_mapping_pages(&isolated->mapping,
				    isth_isolated_window(handle, region),
				    region->pages, true);
	isth_isolated_wake_revoked(isolated);
	return 0;
}

static int isth_isolated_freeze(struct isth_region *region, u64 *pinned_pages)
{
	struct isth_isolated *isolated = isth_isolated_of(region);

	WRITE_ONCE(region->frozen, true);
	isth_isolated_drain_faults(isolated);
	unmap_mapping_pages(&isolated->mapping, 0, ULONG_MAX, true);
	return 0;
}

static u32 isth_isolated_word(struct isth_isolated *isolated, u64 offset)
{
	u32 *page = page_address(isolated->page[offset >> PAGE_SHIFT]);

	return READ_ONCE(page[offset_in_page(offset) / sizeof(u32)]);
}

/*
 * Look at the word and join the list under the lock that WAKE takes after the
 * waker has stored: either we see what it stored, or it sees us. The same goes
 * for the mark that a revoke sets before it walks the list.
 */
static int isth_isolated_wait_begin(struct isth_isolated *isolated,
				    struct isth_waiter *waiter, u32 expected)
{
	int error = 0;

	spin_lock(&isolated->wait_lock);
	if (isth_handle_revoked(waiter->handle))
		error = -EKEYREVOKED;
	else if (isth_isolated_word(isolated, waiter->offset) != expected)
		error = -EAGAIN;
	else
		list_add_tail(&waiter->link, &isolated->waiters);
	spin_unlock(&isolated->wait_lock);
	return error;
}

/* Leave the list; who was woken in time was woken, whatever else came up. */
static int isth_isolated_wait_end(struct isth_isolated *isolated,
				  struct isth_waiter *waiter, int otherwise)
{
	spin_lock(&isolated->wait_lock);
	if (waiter->result == -EINPROGRESS) {
		list_del(&waiter->link);
		waiter->result = otherwise;
	}
	spin_unlock(&isolated->wait_lock);
	return waiter->result;
}

static long isth_isolated_wait(struct isth_handle *handle,
			       const struct isth_wait *wait)
{
	struct isth_isolated *isolated = isth_isolated_of(isth_region_of(handle));
	ktime_t deadline = min_t(u64, wait->deadline, KTIME_MAX);
	struct isth_waiter waiter = {
		.handle = handle,
		.task = current,
		.offset = wait->offset,
		.result = -EINPROGRESS,
	};
	int otherwise = 0;
	int error;

	error = isth_isolated_wait_begin(isolated, &waiter, wait->expected);
	if (error)
		return error;

	while (!otherwise) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (READ_ONCE(waiter.result) != -EINPROGRESS)
			break;
		if (signal_pending(current))
			otherwise = -ERESTARTSYS;
		else if (!schedule_hrtimeout_range(wait->deadline ? &deadline : NULL,
						   current->timer_slack_ns,
						   HRTIMER_MODE_ABS))
			otherwise = -ETIMEDOUT;
	}
	__set_current_state(TASK_RUNNING);
	return isth_isolated_wait_end(isolated, &waiter, otherwise);
}

static long isth_isolated_wake(struct isth_handle *handle,
			       const struct isth_wake *wake)
{
	struct isth_isolated *isolated = isth_isolated_of(isth_region_of(handle));
	struct isth_waiter *waiter;
	struct isth_waiter *next;
	long count = 0;

	spin_lock(&isolated->wait_lock);
	list_for_each_entry_safe(waiter, next, &isolated->waiters, link) {
		if (count >= wake->count)
			break;
		if (waiter->offset != wake->offset)
			continue;
		list_del_init(&waiter->link);
		WRITE_ONCE(waiter->result, 0);
		wake_up_process(waiter->task);
		count++;
	}
	spin_unlock(&isolated->wait_lock);
	return count;
}

/*
 * Isolated memory cannot be reclaimed, so it counts against RLIMIT_MEMLOCK. The
 * credentials keep the user they belong to: free_uid() is not exported by all
 * kernels.
 */
static int isth_isolated_charge(struct isth_isolated *isolated,
				unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	struct user_struct *user = current_user();
	unsigned long locked;

	locked = atomic_long_add_return(pages, &user->locked_vm);
	if (locked > limit && !capable(CAP_IPC_LOCK)) {
		atomic_long_sub(pages, &user->locked_vm);
		return -EDQUOT;
	}
	isolated->cred = get_current_cred();
	return 0;
}

static void isth_isolated_uncharge(struct isth_isolated *isolated,
				   unsigned long pages)
{
	atomic_long_sub(pages, &isolated->cred->user->locked_vm);
	put_cred(isolated->cred);
}

/* Append 2 MiB in one piece, if memory has it at hand. */
static bool isth_isolated_add_block(struct isth_isolated *isolated)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
		    __GFP_NORETRY;
	struct page *page = alloc_pages(gfp, ISTH_BLOCK_ORDER);

	if (!page)
		return false;
	__set_bit(isolated->page_count / ISTH_BLOCK_PAGES, isolated->blocks);
	for (unsigned long i = 0; i < ISTH_BLOCK_PAGES; i++)
		isolated->page[isolated->page_count++] = page + i;
	return true;
}

static bool isth_isolated_add_page(struct isth_isolated *isolated)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
		    __GFP_RETRY_MAYFAIL;
	struct page *page = alloc_page(gfp);

	if (!page)
		return false;
	isolated->page[isolated->page_count++] = page;
	return true;
}

static int isth_isolated_populate(struct isth_isolated *isolated,
				  unsigned long pages)
{
	while (isolated->page_count < pages) {
		unsigned long missing = pages - isolated->page_count;

		if (fatal_signal_pending(current))
			return -EINTR;
		if (!isth_region_fits(isolated->page_count, pages, false))
			return -ENOMEM;
		cond_resched();
		if (missing >= ISTH_BLOCK_PAGES &&
		    IS_ALIGNED(isolated->page_count, ISTH_BLOCK_PAGES) &&
		    isth_isolated_add_block(isolated))
			continue;
		if (!isth_isolated_add_page(isolated))
			return -ENOMEM;
	}
	return 0;
}

/*
 * Nobody who gets these pages next shall see what was in them. memset64() takes
 * as long as memset() on a processor with fast string operations, and an eighth
 * of the instructions on one that has none, emulators among them.
 */
static void isth_isolated_free_pages(struct isth_isolated *isolated)
{
	unsigned long index = 0;

	while (index < isolated->page_count) {
		bool block = test_bit(index / ISTH_BLOCK_PAGES, isolated->blocks);
		unsigned int order = block ? ISTH_BLOCK_ORDER : 0;

		memset64(page_address(isolated->page[index]), 0,
			 (PAGE_SIZE << order) / sizeof(u64));
		__free_pages(isolated->page[index], order);
		index += 1UL << order;
		cond_resched();
	}
}

static void isth_isolated_destroy(struct isth_isolated *isolated)
{
	isth_isolated_free_pages(isolated);
	bitmap_free(isolated->blocks);
	kvfree(isolated->page);
	kfree(isolated);
}

static void isth_isolated_free(struct isth_region *region)
{
	struct isth_isolated *isolated = isth_isolated_of(region);

	isth_isolated_uncharge(isolated, region->pages);
	isth_isolated_destroy(isolated);
}

static struct isth_isolated *isth_isolated_alloc(unsigned long pages)
{
	struct isth_isolated *isolated;

	isolated = kzalloc(sizeof(*isolated), GFP_KERNEL_ACCOUNT);
	if (!isolated)
		return NULL;
	isolated->page = kvcalloc(pages, sizeof(*isolated->page),
				  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	isolated->blocks = bitmap_zalloc(DIV_ROUND_UP(pages, ISTH_BLOCK_PAGES),
					 GFP_KERNEL_ACCOUNT);
	init_rwsem(&isolated->map_lock);
	spin_lock_init(&isolated->wait_lock);
	INIT_LIST_HEAD(&isolated->waiters);
	address_space_init_once(&isolated->mapping);
	isolated->mapping.a_ops = &isth_isolated_aops;
	if (!isolated->page || !isolated->blocks) {
		isth_isolated_destroy(isolated);
		return NULL;
	}
	return isolated;
}

static struct isth_region *isth_isolated_create(u64 bytes, bool lazy)
{
	unsigned long pages = bytes >> PAGE_SHIFT;
	struct isth_isolated *isolated;
	int error;

	isolated = isth_isolated_alloc(pages);
	if (!isolated)
		return ERR_PTR(-ENOMEM);

	error = isth_isolated_charge(isolated, pages);
	if (error)
		goto destroy;
	error = isth_isolated_populate(isolated, pages);
	if (error)
		goto uncharge;
	return &isolated->region;

uncharge:
	isth_isolated_uncharge(isolated, pages);
destroy:
	isth_isolated_destroy(isolated);
	return ERR_PTR(error);
}

const struct isth_region_kind isth_region_isolated = {
	.name = "isolated",
	.create = isth_isolated_create,
	.mmap = isth_isolated_mmap,
	.opened = isth_isolated_opened,
	.cut = isth_isolated_cut,
	.freeze = isth_isolated_freeze,
	.wait = isth_isolated_wait,
	.wake = isth_isolated_wake,
	.free = isth_isolated_free,
};
