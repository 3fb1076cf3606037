/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the library's own files share and nobody else sees.
 */
#ifndef ISTH_INTERNAL_H
#define ISTH_INTERNAL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include <isthmus.h>

/* The library is built with hidden visibility; this is what leaves it. */
#define ISTH_API __attribute__((visibility("default")))

/*
 * Evaluate a libc call that says -1 and errno, and give the library's answer:
 * the result or -errno. The caller's errno is left as it was, so that a program
 * that checks it itself is not misled by a call that succeeded after a retry.
 */
#define ISTH_CALL(call) __extension__ ({		\
	int saved_errno = errno;			\
	__typeof__(call) result = (call);		\
							\
	if (result < 0)					\
		result = -errno;			\
	errno = saved_errno;				\
	result;						\
})

/* How many bytes a structure has up to and including @member. */
#define ISTH_SIZE_UP_TO(type, member) \
	(offsetof(type, member) + sizeof(((type *)NULL)->member))

static inline int isth_ioctl(int fd, unsigned long request, void *argument)
{
	return ISTH_CALL(ioctl(fd, request, argument));
}

/*
 * Read a caller's option structure, of whatever version, into ours.
 * @first_size is the size of the oldest version. A shorter structure than ours
 * reads as if zeros followed; a longer one is accepted when what we do not know
 * is zero: the rule the kernel has for its own structures.
 */
int isth_options_read(void *known, size_t known_size, size_t first_size,
		      const void *given);

#endif /* ISTH_INTERNAL_H */
