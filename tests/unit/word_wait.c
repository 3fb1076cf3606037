// SPDX-License-Identifier: GPL-2.0-only
/*
 * isth_region_wait() and isth_region_wake() as far as they are the kernel's
 * futex, which any shared memory will do for.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <isthmus.h>

#include "unit.h"

#define NOBODY (-1)

static struct isth_mapping memory(void)
{
	struct isth_mapping mapping = { .bytes = 4096 };

	mapping.address = mmap(NULL, mapping.bytes, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mapping.address == MAP_FAILED)
		abort();
	return mapping;
}

static struct timespec in_milliseconds(long milliseconds)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	time.tv_nsec += milliseconds * 1000000;
	time.tv_sec += time.tv_nsec / 1000000000;
	time.tv_nsec %= 1000000000;
	return time;
}

static void value_differs(void)
{
	struct isth_mapping mapping = memory();

	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 0, 1, NULL), -EAGAIN);
	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 4092, 1, NULL), -EAGAIN);
	isth_region_unmap(&mapping);
}

static void deadline_passes(void)
{
	const struct timespec past = { 0, 0 };
	struct timespec soon = in_milliseconds(20), now;
	struct isth_mapping mapping = memory();

	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 8, 0, &past), -ETIMEDOUT);
	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 8, 0, &soon), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &now);
	EXPECT(now.tv_sec > soon.tv_sec ||
	       (now.tv_sec == soon.tv_sec && now.tv_nsec >= soon.tv_nsec));
	isth_region_unmap(&mapping);
}

static void bad_arguments(void)
{
	const struct timespec no_times[] = { { 0, -1 }, { 0, 1000000000 }, { -1, 0 } };
	struct isth_mapping mapping = memory(), none = { NULL, 4096 }, tiny = mapping;
	size_t i;

	for (i = 0; i < 3; i++)
		EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 0, 0, &no_times[i]), -EINVAL);
	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 2, 0, NULL), -EINVAL);
	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 4096, 0, NULL), -EINVAL);
	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, UINT64_MAX - 3, 0, NULL), -EINVAL);
	EXPECT_EQ(isth_region_wake(NOBODY, &mapping, 4096, 1), -EINVAL);
	EXPECT_EQ(isth_region_wake(NOBODY, &mapping, 1, 1), -EINVAL);
	tiny.bytes = 3;
	EXPECT_EQ(isth_region_wake(NOBODY, &tiny, 0, 1), -EINVAL);
	EXPECT_EQ(isth_region_wait(NOBODY, NULL, 0, 0, NULL), -EFAULT);
	EXPECT_EQ(isth_region_wake(NOBODY, NULL, 0, 1), -EFAULT);
	EXPECT_EQ(isth_region_wait(NOBODY, &none, 0, 0, NULL), -EFAULT);
	isth_region_unmap(&mapping);
}

/* What the futex cannot reach is asked of the handle; here there is none. */
static void handle_is_asked(void)
{
	struct isth_mapping mapping = memory();

	munmap(mapping.address, mapping.bytes);
	EXPECT_EQ(isth_region_wait(NOBODY, &mapping, 0, 0, NULL), -EBADF);
	EXPECT_EQ(isth_region_wake(NOBODY, &mapping, 0, 1), -EBADF);
}

static void nobody_to_wake(void)
{
	struct isth_mapping mapping = memory();

	EXPECT_EQ(isth_region_wake(NOBODY, &mapping, 0, 0), 0);
	EXPECT_EQ(isth_region_wake(NOBODY, &mapping, 0, 1), 0);
	EXPECT_EQ(isth_region_wake(NOBODY, &mapping, 0, UINT32_MAX), 0);
	isth_region_unmap(&mapping);
}

/* Across processes: the futex must not be a private one. */
static void another_process_wakes(void)
{
	struct timespec deadline = in_milliseconds(20000);
	struct isth_mapping mapping = memory();
	int woken = 0, tries, status, ret;
	pid_t child;

	child = fork();
	if (!child) {
		ret = isth_region_wait(NOBODY, &mapping, 16, 0, &deadline);
		_exit(ret ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	for (tries = 0; !woken && tries < 10000; tries++) {
		usleep(1000);
		woken = isth_region_wake(NOBODY, &mapping, 16, UINT32_MAX);
	}
	EXPECT_EQ(woken, 1);
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	isth_region_unmap(&mapping);
}

static void errno_stays(void)
{
	const struct timespec past = { 0, 0 };
	struct isth_mapping mapping = memory();

	errno = 4242;
	isth_region_wait(NOBODY, &mapping, 0, 1, NULL);
	isth_region_wait(NOBODY, &mapping, 0, 0, &past);
	isth_region_wake(NOBODY, &mapping, 0, 1);
	isth_region_unmap(&mapping);
	EXPECT_EQ(errno, 4242);
}

static const struct unit_case cases[] = {
	{ "a word with another value is EAGAIN at once", value_differs },
	{ "a deadline that passes is ETIMEDOUT, not sooner", deadline_passes },
	{ "bad offsets, times and mappings are errors", bad_arguments },
	{ "where the futex fails the handle is asked", handle_is_asked },
	{ "waking nobody wakes nobody", nobody_to_wake },
	{ "another process wakes a sleeper", another_process_wakes },
	{ "errno stays as it was", errno_stays },
};

int main(void)
{
	return UNIT_RUN(cases);
}
