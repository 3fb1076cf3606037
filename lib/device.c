// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The device, the sentences for errors, and how option structures are read.
 */
#include <fcntl.h>

#include "internal.h"

/* No kernel structure is larger than a page; nor will ours be. */
#define OPTIONS_SIZE_MAX 4096

static const struct {
	int error;
	const char *sentence;
} sentences[] = {
	{ E2BIG, "the structure asks for what this version does not know" },
	{ EACCES, "permission denied, or the handle lacks the right for this" },
	{ EADDRINUSE, "somebody listens there, or what is there is no socket" },
	{ EAGAIN, "the word has another value, or nothing is there yet" },
	{ EBADF, "not an open descriptor" },
	{ EBUSY, "I/O in flight still holds pages of the region" },
	{ ECONNREFUSED, "nobody listens on this socket" },
	{ ECONNRESET, "the other side hung up" },
	{ EDQUOT, "the limit of locked memory or of handles per object is reached" },
	{ EEXIST, "something else is mapped at the region's home address" },
	{ EFAULT, "bad address" },
	{ EFBIG, "larger than the largest region that can be made" },
	{ EINTR, "interrupted by a signal" },
	{ EINVAL, "an argument or flag is not valid" },
	{ EKEYREVOKED, "the handle was revoked" },
	{ EMFILE, "this process has too many open descriptors" },
	{ EMSGSIZE, "the message or its descriptors do not fit" },
	{ ENAMETOOLONG, "the path is too long for a socket" },
	{ ENFILE, "the system has too many open files" },
	{ ENODEV, "there is no such device: the isthmus module may not be loaded" },
	{ ENOENT, "there is no such file" },
	{ ENOMEM, "not enough memory or address space" },
	{ ENOTTY, "not an isthmus descriptor, or one that does not answer this" },
	{ ENXIO, "there is no such device: the isthmus module may not be loaded" },
	{ EOPNOTSUPP, "this kind of region does not do that" },
	{ EPERM, "not permitted, or the region is frozen" },
	{ EPIPE, "the other side hung up" },
	{ EPROTOTYPE, "somebody listens there with another type of socket" },
	{ ETIMEDOUT, "the deadline passed" },
	{ ETOOMANYREFS, "too many descriptors are on their way in sockets" },
};

ISTH_API int isth_open(void)
{
	return ISTH_CALL(open("/dev/isthmus", O_RDWR | O_CLOEXEC));
}

ISTH_API int isth_info(int device, struct isth_info *info)
{
	struct isth_info answer = { 0 };
	int ret;

	if (!info)
		return -EFAULT;
	ret = isth_ioctl(device, ISTH_INFO, &answer);
	if (!ret)
		*info = answer;
	return ret;
}

ISTH_API const char *isth_strerror(int error)
{
	const char *sentence = NULL;
	size_t i;

	if (error >= 0)
		return "success";
	for (i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
		/* Not error == -E...: -INT_MIN does not exist. */
		if (sentences[i].error + error == 0)
			return sentences[i].sentence;
	}
#ifdef __GLIBC__
	/* strerror() is neither thread-safe nor the same in every locale. */
	if (error > -4096)
		sentence = strerrordesc_np(-error);
#endif
	return sentence ? sentence : "unknown error";
}

int isth_options_read(void *known, size_t known_size, size_t first_size,
		      const void *given)
{
	const unsigned char *bytes = given;
	size_t size, i;

	if (!given)
		return -EFAULT;
	memcpy(&size, given, sizeof(size));
	if (size < first_size)
		return -EINVAL;
	if (size > OPTIONS_SIZE_MAX)
		return -E2BIG;
	for (i = known_size; i < size; i++) {
		if (bytes[i])
			return -E2BIG;
	}
	memset(known, 0, known_size);
	memcpy(known, given, size < known_size ? size : known_size);
	return 0;
}
