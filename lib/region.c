// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Regions: create, map, freeze, and sleep on a word of one.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#define NANOSECONDS_PER_SECOND 1000000000LL

ISTH_API int isth_region_create(int device, const struct isth_region_options *options)
{
	struct isth_region_create request = { 0 };
	struct isth_region_options known;
	uint64_t page = sysconf(_SC_PAGESIZE);
	int ret;

	ret = isth_options_read(&known, sizeof(known),
				ISTH_SIZE_UP_TO(struct isth_region_options, home), options);
	if (ret)
		return ret;
	if (known.bytes > UINT64_MAX - (page - 1))
		return -EFBIG;
	request.flags = known.flags;
	request.kind = known.kind ? known.kind : ISTH_REGION_PAGEABLE;
	request.size = (known.bytes + page - 1) & ~(page - 1);
	request.home = known.home;
	return isth_ioctl(device, ISTH_REGION_CREATE, &request);
}

/* What @stat allows of reading and writing; a frozen region cannot be written. */
static int protection_of(const struct isth_stat *stat)
{
	int protection = PROT_NONE;

	if (stat->rights & ISTH_RIGHT_READ)
		protection |= PROT_READ;
	if (stat->rights & ISTH_RIGHT_WRITE && !(stat->state & ISTH_STATE_FROZEN))
		protection |= PROT_WRITE;
	return protection;
}

/* Fill in what the caller left to us; asks the kernel only when it must. */
static int complete_map_options(int handle, struct isth_map_options *options)
{
	struct isth_stat stat;
	int ret;

	if (options->protection && options->bytes)
		return 0;
	ret = isth_stat(handle, &stat);
	if (ret)
		return ret;
	if (stat.state & ISTH_STATE_REVOKED)
		return -EKEYREVOKED;
	if (!options->protection)
		options->protection = protection_of(&stat);
	if (!options->protection)
		return -EACCES;
	if (!options->bytes) {
		if (options->offset >= stat.size)
			return -EINVAL;
		options->bytes = stat.size - options->offset;
	}
	return 0;
}

static int map(int handle, const struct isth_map_options *options, struct isth_mapping *mapping)
{
	int saved_errno = errno;
	void *address;
	int ret = 0;

	/* Where these do not fit, so does no mapping: as mmap(2) says it. */
	if (options->bytes > SIZE_MAX)
		return -ENOMEM;
	if (options->offset > INT64_MAX || (uint64_t)(off_t)options->offset != options->offset)
		return -EOVERFLOW;
	address = mmap(options->address, options->bytes, options->protection,
		       MAP_SHARED | options->flags, handle, options->offset);
	if (address == MAP_FAILED) {
		ret = -errno;
	} else {
		mapping->address = address;
		mapping->bytes = options->bytes;
	}
	errno = saved_errno;
	return ret;
}

ISTH_API int isth_region_map(int handle, const struct isth_map_options *options,
			     struct isth_mapping *mapping)
{
	struct isth_map_options known = { 0 };
	int asked, ret;

	if (!mapping)
		return -EFAULT;
	if (options) {
		ret = isth_options_read(&known, sizeof(known),
					ISTH_SIZE_UP_TO(struct isth_map_options, address), options);
		if (ret)
			return ret;
	}
	if (known.protection & ~(PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    known.flags & ~(MAP_FIXED_NOREPLACE | MAP_POPULATE))
		return -EINVAL;
	asked = known.protection;
	ret = complete_map_options(handle, &known);
	if (ret)
		return ret;
	ret = map(handle, &known, mapping);
	if (ret == -EPERM && !asked && known.protection == (PROT_READ | PROT_WRITE)) {
		/* Frozen between the two requests; reading is what is left. */
		known.protection = PROT_READ;
		ret = map(handle, &known, mapping);
	}
	return ret;
}

ISTH_API int isth_region_unmap(struct isth_mapping *mapping)
{
	int ret;

	if (!mapping)
		return -EFAULT;
	ret = ISTH_CALL(munmap(mapping->address, mapping->bytes));
	if (!ret)
		memset(mapping, 0, sizeof(*mapping));
	return ret;
}

ISTH_API int isth_region_freeze(int handle, uint64_t *pinned_pages)
{
	struct isth_freeze request = { 0 };
	int ret;

	ret = isth_ioctl(handle, ISTH_FREEZE, &request);
	if (pinned_pages && (!ret || ret == -EBUSY))
		*pinned_pages = request.pinned_pages;
	return ret;
}

static int futex(uint32_t *word, int operation, uint32_t value, const struct timespec *deadline)
{
	long number = SYS_futex;

#ifdef SYS_futex_time64
	/* A 32-bit program with 64-bit time has the other structure. */
	if (sizeof(time_t) > sizeof(long))
		number = SYS_futex_time64;
#endif
	return (int)ISTH_CALL(syscall(number, word, operation, value, deadline, NULL,
				      FUTEX_BITSET_MATCH_ANY));
}

/* CLOCK_MONOTONIC nanoseconds of @deadline; zero means never to the kernel. */
static int deadline_of(const struct timespec *deadline, uint64_t *nanoseconds)
{
	int64_t seconds;

	*nanoseconds = 0;
	if (!deadline)
		return 0;
	if (deadline->tv_nsec < 0 || deadline->tv_nsec >= NANOSECONDS_PER_SECOND ||
	    deadline->tv_sec < 0)
		return -EINVAL;
	seconds = deadline->tv_sec;
	if (seconds >= INT64_MAX / NANOSECONDS_PER_SECOND)
		*nanoseconds = INT64_MAX;
	else
		*nanoseconds = seconds * NANOSECONDS_PER_SECOND + deadline->tv_nsec;
	/* A deadline of zero is long past, not never. */
	if (!*nanoseconds)
		*nanoseconds = 1;
	return 0;
}

static int word_of(const struct isth_mapping *mapping, uint64_t offset, uint32_t **word)
{
	if (!mapping || !mapping->address)
		return -EFAULT;
	if (offset % sizeof(uint32_t) || mapping->bytes < sizeof(uint32_t) ||
	    offset > mapping->bytes - sizeof(uint32_t))
		return -EINVAL;
	*word = (uint32_t *)((char *)mapping->address + offset);
	return 0;
}

/*
 * After the futex said EFAULT: an isolated region answers the request itself, a
 * revoked one says so, and a pageable one that lives has no such request, so
 * that the address was indeed bad.
 */
static int instead_of_futex(int handle, unsigned long request, void *argument)
{
	int ret = isth_ioctl(handle, request, argument);

	return ret == -EOPNOTSUPP ? -EFAULT : ret;
}

/*
 * Zero means: look at the word again. It may not have changed: wakes can be
 * spurious, as futex(2) has them. -EAGAIN: it already differs. -EINTR comes from
 * a handler installed without SA_RESTART; the deadline is absolute, so calling
 * again does not prolong it. A thread that sleeps on a pageable region is in the
 * kernel's futex, which knows nothing of handles: revoking its handle does not
 * wake it, so let who revokes wake, or give a deadline.
 *
 * The futex comes first, because what a region's kind is costs a request to
 * learn, and pageable is the kind that sleeps most.
 */
ISTH_API int isth_region_wait(int handle, const struct isth_mapping *mapping, uint64_t offset,
			      uint32_t expected, const struct timespec *deadline)
{
	struct isth_wait request = { .expected = expected, .offset = offset };
	uint64_t nanoseconds;
	uint32_t *word;
	int ret;

	ret = word_of(mapping, offset, &word);
	if (ret)
		return ret;
	ret = deadline_of(deadline, &nanoseconds);
	if (ret)
		return ret;
	ret = futex(word, FUTEX_WAIT_BITSET, expected, deadline);
	if (ret != -EFAULT)
		return ret;
	request.deadline = nanoseconds;
	return instead_of_futex(handle, ISTH_WAIT, &request);
}

ISTH_API int isth_region_wake(int handle, const struct isth_mapping *mapping, uint64_t offset,
			      uint32_t count)
{
	struct isth_wake request = { .count = count, .offset = offset };
	uint32_t *word;
	int ret;

	ret = word_of(mapping, offset, &word);
	if (ret)
		return ret;
	/* FUTEX_WAKE takes an int, and wakes one when told to wake none. */
	if (!count)
		return 0;
	ret = futex(word, FUTEX_WAKE_BITSET, count > INT_MAX ? INT_MAX : count, NULL);
	if (ret != -EFAULT)
		return ret;
	return instead_of_futex(handle, ISTH_WAKE, &request);
}
