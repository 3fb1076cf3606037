// SPDX-License-Identifier: GPL-2.0-only
/*
 * SIGBUS becomes an answer where it is expected, and stays what it is elsewhere;
 * and the checksum is the one that cksum(1) prints.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checksum.c"
#include "fault.c"

#include "unit.h"

#define BYTES 8192

/* Memory of two pages; the second is taken away by *@memfd's truncation. */
static char *memory(int *memfd)
{
	char *address;

	*memfd = memfd_create("unit", MFD_CLOEXEC);
	if (*memfd < 0 || ftruncate(*memfd, BYTES))
		abort();
	address = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *memfd, 0);
	if (address == MAP_FAILED)
		abort();
	memset(address, 'x', BYTES);
	return address;
}

static void copy_works(void)
{
	char buffer[BYTES];
	int memfd;
	char *address = memory(&memfd);

	EXPECT_EQ(fault_copy(buffer, address, BYTES), 0);
	EXPECT(buffer[0] == 'x' && buffer[BYTES - 1] == 'x');
	munmap(address, BYTES);
	close(memfd);
}

static void copy_is_stopped(void)
{
	char buffer[BYTES];
	int memfd, tries;
	char *address = memory(&memfd);

	EXPECT_EQ(ftruncate(memfd, BYTES / 2), 0);
	/* More than once: the signal must not stay blocked. */
	for (tries = 0; tries < 3; tries++) {
		EXPECT_EQ(fault_copy(buffer, address, BYTES), -EFAULT);
		EXPECT_EQ(fault_copy(address, buffer, BYTES), -EFAULT);
		EXPECT_EQ(fault_copy(buffer, address, BYTES / 2), 0);
	}
	munmap(address, BYTES);
	close(memfd);
}

static void touch(void *context)
{
	*(volatile char *)context = 1;
}

static void where_and_when(void)
{
	struct fault fault = { 0 };
	int memfd;
	char *address = memory(&memfd);

	EXPECT_EQ(ftruncate(memfd, BYTES / 2), 0);
	EXPECT_EQ(fault_run(touch, address + 5000, &fault), -EFAULT);
	EXPECT(fault.address == address + 5000);
	EXPECT(fault.nanoseconds > 0);
	munmap(address, BYTES);
	close(memfd);
}

/* Outside of fault_run() the signal kills as it always does. */
static void elsewhere_it_kills(void)
{
	int memfd, status = 0;
	char *address = memory(&memfd);
	pid_t child;

	EXPECT_EQ(ftruncate(memfd, BYTES / 2), 0);
	child = fork();
	if (!child) {
		/* The sanitizer's own handler would turn it into an exit. */
		signal(SIGBUS, SIG_DFL);
		fault_run(touch, address, NULL);
		touch(address + BYTES / 2);
		_exit(0);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	munmap(address, BYTES);
	close(memfd);
}

static void same_as_cksum(void)
{
	static const char zeros[256];
	char text[1000];

	memset(text, 'x', sizeof(text));
	EXPECT_EQ(checksum("", 0), 4294967295U);
	EXPECT_EQ(checksum("123456789", 9), 930766865U);
	EXPECT_EQ(checksum("a", 1), 1220704766U);
	EXPECT_EQ(checksum(text, sizeof(text)), 3999126958U);
	/* The length counts, also where its low byte is zero. */
	EXPECT_EQ(checksum(zeros, sizeof(zeros)), 4215202376U);
}

static const struct unit_case cases[] = {
	{ "a copy of memory that is there", copy_works },
	{ "a copy of memory that went away is EFAULT", copy_is_stopped },
	{ "the fault says where and when", where_and_when },
	{ "SIGBUS that nobody expects still kills", elsewhere_it_kills },
	{ "the checksum is that of cksum(1)", same_as_cksum },
};

int main(void)
{
	return UNIT_RUN(cases);
}
