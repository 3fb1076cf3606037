// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module: its device, its parameters, and what it says about itself.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "compat.h"
#include "handle.h"
#include "region.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

unsigned long isth_region_size_max_mib;
module_param_named(region_size_max_mib, isth_region_size_max_mib, ulong, 0644);
MODULE_PARM_DESC(region_size_max_mib,
		 "largest region in MiB; 0, the default, for all of the machine's memory");

unsigned int isth_handles_max = 65536;
module_param_named(handles_max, isth_handles_max, uint, 0644);
MODULE_PARM_DESC(handles_max, "how many handles one object may have (default 65536)");

static long isth_info(struct isth_handle *none, void *argument)
{
	struct isth_info *info = argument;

	if (info->flags)
		return -EINVAL;

	memset(info, 0, sizeof(*info));
	info->abi_version = ISTH_ABI_VERSION;
	info->features = ISTH_FEATURE_PAGEABLE | ISTH_FEATURE_ISOLATED |
			 ISTH_FEATURE_HOME;
	if (ISTH_HUGE_ENTRIES)
		info->features |= ISTH_FEATURE_HUGE;
	info->region_size_max = isth_region_bytes_max();
	info->handles_max = READ_ONCE(isth_handles_max);
	info->page_size = PAGE_SIZE;
	info->regions = atomic_long_read(&isth_live_regions);
	info->handles = atomic_long_read(&isth_live_handles);
	info->mappings = atomic_long_read(&isth_live_mappings);
	return 0;
}

static const struct isth_request isth_device_requests[] = {
	ISTH_REQUEST(ISTH_INFO, struct isth_info, mappings, isth_info),
	ISTH_REQUEST(ISTH_REGION_CREATE, struct isth_region_create, home,
		     isth_region_create),
};

static long isth_device_ioctl(struct file *file, unsigned int command,
			      unsigned long argument)
{
	return isth_request_run(isth_device_requests,
				ARRAY_SIZE(isth_device_requests), NULL,
				command, argument);
}

static const struct file_operations isth_device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = isth_device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice isth_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "isthmus",
	.fops = &isth_device_fops,
	.mode = 0660,
};

static int __init isth_init(void)
{
	isth_region_init();
	return misc_register(&isth_device);
}

static void __exit isth_exit(void)
{
	misc_deregister(&isth_device);
}

module_init(isth_init);
module_exit(isth_exit);
MODULE_DESCRIPTION("Shared memory with rights that can be frozen and taken back");
MODULE_LICENSE("GPL");
