// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What every handle answers, whatever it leads to: stat, derive, revoke.
 */
#include "internal.h"

ISTH_API int isth_stat(int handle, struct isth_stat *stat)
{
	struct isth_stat answer = { 0 };
	int ret;

	if (!stat)
		return -EFAULT;
	ret = isth_ioctl(handle, ISTH_STAT, &answer);
	if (!ret)
		*stat = answer;
	return ret;
}

ISTH_API int isth_derive(int handle, uint32_t rights)
{
	struct isth_derive request = { .rights = rights };

	return isth_ioctl(handle, ISTH_DERIVE, &request);
}

ISTH_API int isth_revoke(int handle, struct isth_revoke_options *options)
{
	struct isth_revoke request = { 0 };
	struct isth_revoke_options known;
	int ret;

	if (options) {
		ret = isth_options_read(&known, sizeof(known),
					ISTH_SIZE_UP_TO(struct isth_revoke_options, pinned_pages),
					options);
		if (ret)
			return ret;
		request.flags = known.flags;
	}
	ret = isth_ioctl(handle, ISTH_REVOKE, &request);
	if (!ret && options) {
		options->handles = request.handles;
		options->pinned_pages = request.pinned_pages;
	}
	return ret;
}
