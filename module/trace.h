/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: the birth, death and change of every object. isthmus(4) lists
 * them; perf list 'isthmus:*' does too.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM isthmus

#if !defined(ISTH_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define ISTH_TRACE_H

#include <linux/tracepoint.h>

#include "region.h"

DECLARE_EVENT_CLASS(isth_handle,
	TP_PROTO(const struct isth_handle *handle),
	TP_ARGS(handle),
	TP_STRUCT__entry(
		__field(u64, object)
		__field(u64, handle)
		__field(u32, rights)
	),
	TP_fast_assign(
		__entry->object = handle->object->id;
		__entry->handle = handle->id;
		__entry->rights = handle->rights;
	),
	TP_printk("object=%llu handle=%llu rights=0x%x",
		  __entry->object, __entry->handle, __entry->rights)
);

DEFINE_EVENT(isth_handle, handle_create,
	TP_PROTO(const struct isth_handle *handle), TP_ARGS(handle));
DEFINE_EVENT(isth_handle, handle_free,
	TP_PROTO(const struct isth_handle *handle), TP_ARGS(handle));
DEFINE_EVENT(isth_handle, handle_revoke,
	TP_PROTO(const struct isth_handle *handle), TP_ARGS(handle));

DECLARE_EVENT_CLASS(isth_region,
	TP_PROTO(const struct isth_region *region),
	TP_ARGS(region),
	TP_STRUCT__entry(
		__field(u64, object)
		__field(u32, kind)
		__field(u64, size)
		__field(unsigned long, home)
	),
	TP_fast_assign(
		__entry->object = region->object.id;
		__entry->kind = region->kind_number;
		__entry->size = (u64)region->pages << PAGE_SHIFT;
		__entry->home = region->home;
	),
	TP_printk("object=%llu kind=%s size=%llu home=0x%lx", __entry->object,
		  __print_symbolic(__entry->kind,
				   { ISTH_REGION_PAGEABLE, "pageable" },
				   { ISTH_REGION_ISOLATED, "isolated" }),
		  __entry->size, __entry->home)
);

DEFINE_EVENT(isth_region, region_create,
	TP_PROTO(const struct isth_region *region), TP_ARGS(region));
DEFINE_EVENT(isth_region, region_free,
	TP_PROTO(const struct isth_region *region), TP_ARGS(region));

DECLARE_EVENT_CLASS(isth_mapping,
	TP_PROTO(const struct isth_handle *handle,
		 const struct vm_area_struct *vma),
	TP_ARGS(handle, vma),
	TP_STRUCT__entry(
		__field(u64, object)
		__field(u64, handle)
		__field(unsigned long, start)
		__field(unsigned long, end)
	),
	TP_fast_assign(
		__entry->object = handle->object->id;
		__entry->handle = handle->id;
		__entry->start = vma->vm_start;
		__entry->end = vma->vm_end;
	),
	TP_printk("object=%llu handle=%llu start=0x%lx end=0x%lx",
		  __entry->object, __entry->handle, __entry->start,
		  __entry->end)
);

DEFINE_EVENT(isth_mapping, region_map,
	TP_PROTO(const struct isth_handle *handle,
		 const struct vm_area_struct *vma),
	TP_ARGS(handle, vma));
DEFINE_EVENT(isth_mapping, region_unmap,
	TP_PROTO(const struct isth_handle *handle,
		 const struct vm_area_struct *vma),
	TP_ARGS(handle, vma));

TRACE_EVENT(region_freeze,
	TP_PROTO(const struct isth_handle *handle, int error),
	TP_ARGS(handle, error),
	TP_STRUCT__entry(
		__field(u64, object)
		__field(u64, handle)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->object = handle->object->id;
		__entry->handle = handle->id;
		__entry->error = error;
	),
	TP_printk("object=%llu handle=%llu error=%d",
		  __entry->object, __entry->handle, __entry->error)
);

DECLARE_EVENT_CLASS(isth_word,
	TP_PROTO(const struct isth_handle *handle, u64 offset, long result),
	TP_ARGS(handle, offset, result),
	TP_STRUCT__entry(
		__field(u64, object)
		__field(u64, handle)
		__field(u64, offset)
		__field(long, result)
	),
	TP_fast_assign(
		__entry->object = handle->object->id;
		__entry->handle = handle->id;
		__entry->offset = offset;
		__entry->result = result;
	),
	TP_printk("object=%llu handle=%llu offset=%llu result=%ld",
		  __entry->object, __entry->handle, __entry->offset,
		  __entry->result)
);

DEFINE_EVENT(isth_word, region_wait,
	TP_PROTO(const struct isth_handle *handle, u64 offset, long result),
	TP_ARGS(handle, offset, result));
DEFINE_EVENT(isth_word, region_wake,
	TP_PROTO(const struct isth_handle *handle, u64 offset, long result),
	TP_ARGS(handle, offset, result));

#endif /* ISTH_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
