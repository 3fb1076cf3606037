/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All knowledge of kernel versions, and nothing else: the rest of the module
 * is written against the names below.
 */
#ifndef ISTH_COMPAT_H
#define ISTH_COMPAT_H

#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error "isthmus needs Linux 6.1 or later"
#endif
#ifndef CONFIG_64BIT
#error "isthmus needs a 64-bit kernel"
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

/* vm_flags became read-only outside its own helpers in 6.3. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* ptep_get() is the only way to read an entry from 6.6 on; a load before. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
#define isth_ptep_get(pte)	READ_ONCE(*(pte))
#else
#define isth_ptep_get(pte)	ptep_get(pte)
#endif

static inline unsigned long
isth_get_unmapped_area(struct file *file, unsigned long address,
		       unsigned long length, unsigned long offset,
		       unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	return mm_get_unmapped_area(file, address, length, offset, flags);
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	return mm_get_unmapped_area(current->mm, file, address, length, offset,
				    flags);
#else
	return current->mm->get_unmapped_area(file, address, length, offset,
					      flags);
#endif
}

static inline struct file *isth_shmem_file(const char *name, loff_t size,
					   bool reserve)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
	return shmem_file_setup(name, size,
				reserve ? EMPTY_VMA_FLAGS :
					  mk_vma_flags(VMA_NORESERVE_BIT));
#else
	return shmem_file_setup(name, size, reserve ? 0 : VM_NORESERVE);
#endif
}

/*
 * Return this CPU's references on pages that wait to be put on an LRU list.
 * lru_add_drain() is not exported; releasing a batch, even an empty one, is.
 */
static inline void isth_lru_add_drain(void)
{
	struct folio_batch batch;

	folio_batch_init(&batch);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	__folio_batch_release(&batch);
#else
	__pagevec_release((struct pagevec *)&batch);
#endif
}

/*
 * 2 MiB entries for memory without struct page references. Before 6.12 there is
 * no special bit in them, and lockless get_user_pages() would get in.
 * pfn_t went in 6.16.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && \
	defined(CONFIG_TRANSPARENT_HUGEPAGE)
#define ISTH_HUGE_ENTRIES	1
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#include <linux/pfn_t.h>
#endif

static inline vm_fault_t isth_insert_pfn_pmd(struct vm_fault *vmf,
					     unsigned long pfn, bool write)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	return vmf_insert_pfn_pmd(vmf, pfn_to_pfn_t(pfn), write);
#else
	return vmf_insert_pfn_pmd(vmf, pfn, write);
#endif
}
#else
#define ISTH_HUGE_ENTRIES	0
#endif

#endif /* ISTH_COMPAT_H */
