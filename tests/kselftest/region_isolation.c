// SPDX-License-Identifier: GPL-2.0-only
/* G6: only a CPU that maps it through a handle gets into an isolated region. Needs -luring. */
#include "isthmus_test.h"
#include "routes.h"
#include "cgroup.h"

#include <elf.h>
#include <linux/futex.h>
#include <sched.h>

#define MIB		(1UL << 20)
#define PAGES		16
#define SEED		0x150
#define CONTROL_SEED	0xC0

/*
 * Each route is tried on a memfd first, where it must work: a test in which the
 * route did not work at all would prove nothing.
 */
FIXTURE(isolated)
{
	int device;
	int owner;
	int memfd;
	uint8_t *memory;
	uint8_t *control;
	size_t page;
	size_t bytes;
};

FIXTURE_SETUP(isolated)
{
	ASSERT_TRUE(live_settles());
	self->page = page_bytes();
	self->bytes = PAGES * self->page;
	self->device = device_open();
	ASSERT_LE(0, self->device);
	self->owner = region_create(self->device, ISTH_REGION_ISOLATED, 0, self->bytes);
	ASSERT_LE(0, self->owner);
	self->memory = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->memory);
	self->memfd = memfd_create("isthmus-control", MFD_CLOEXEC);
	ASSERT_LE(0, self->memfd);
	ASSERT_EQ(0, ftruncate(self->memfd, (off_t)self->bytes));
	self->control = region_map(self->memfd, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->control);
	/* Touched: what is refused is not for want of a page. */
	fill_pattern(self->memory, self->bytes, SEED);
	fill_pattern(self->control, self->bytes, CONTROL_SEED);
}

FIXTURE_TEARDOWN(isolated)
{
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
	munmap(self->memory, self->bytes);
	munmap(self->control, self->bytes);
	close(self->memfd);
	close(self->owner);
	close(self->device);
}

/* ---- other processes ---- */

TEST_F(isolated, ptrace_peek_and_poke)
{
	pid_t tracee = tracee_start();
	long word = 0;

	ASSERT_LT(0, tracee);
	EXPECT_EQ(0, ptrace_peek(tracee, self->control, &word));
	EXPECT_EQ(0, memcmp(&word, self->control, sizeof(word)));
	EXPECT_EQ(0, ptrace_poke(tracee, self->control, 0x55));
	EXPECT_EQ(0x55, self->control[0]);
	EXPECT_EQ(-EIO, ptrace_peek(tracee, self->memory, &word));
	EXPECT_EQ(-EIO, ptrace_poke(tracee, self->memory, 0x55));
	EXPECT_EQ(-EIO, ptrace_peek(tracee, self->memory + self->bytes - 8, &word));
	child_kill(tracee);
}

TEST_F(isolated, proc_pid_mem)
{
	pid_t tracee = tracee_start();
	uint8_t buffer[64];
	size_t offset;

	ASSERT_LT(0, tracee);
	EXPECT_EQ(0, proc_mem_read(tracee, self->control, buffer, sizeof(buffer)));
	EXPECT_EQ(0, memcmp(buffer, self->control, sizeof(buffer)));
	EXPECT_EQ(0, proc_mem_write(tracee, self->control, "stray", 5));
	EXPECT_EQ(0, memcmp(self->control, "stray", 5));
	for (offset = 0; offset < self->bytes; offset += self->page) {
		EXPECT_EQ(-EIO, proc_mem_read(tracee, self->memory + offset, buffer, 1));
		EXPECT_EQ(-EIO, proc_mem_write(tracee, self->memory + offset, "x", 1));
	}
	EXPECT_EQ(-EIO, proc_mem_read(getpid(), self->memory, buffer, sizeof(buffer)));
	EXPECT_EQ(-EIO, proc_mem_write(getpid(), self->memory, "stray", 5));
	child_kill(tracee);
}

TEST_F(isolated, process_vm_readv_and_writev)
{
	pid_t tracee = tracee_start();
	uint8_t buffer[64];

	ASSERT_LT(0, tracee);
	EXPECT_EQ(0, vm_read(tracee, self->control, buffer, sizeof(buffer)));
	EXPECT_EQ(0, memcmp(buffer, self->control, sizeof(buffer)));
	EXPECT_EQ(0, vm_write(tracee, self->control, "stray", 5));
	EXPECT_EQ(-EFAULT, vm_read(tracee, self->memory, buffer, sizeof(buffer)));
	EXPECT_EQ(-EFAULT, vm_write(tracee, self->memory, "stray", 5));
	EXPECT_EQ(-EFAULT, vm_read(getpid(), self->memory, buffer, 1));
	EXPECT_EQ(-EFAULT, vm_write(getpid(), self->memory, "x", 1));
	child_kill(tracee);
}

/* ---- core dumps ---- */

static void dump_core(uint8_t *memory, uint8_t *control, size_t bytes)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	prctl(PR_SET_DUMPABLE, 1);
	setrlimit(RLIMIT_CORE, &unlimited);
	/* Every kind of mapping that can be dumped. */
	file_write("/proc/self/coredump_filter", "0x1ff");
	madvise(memory, bytes, MADV_DODUMP);
	madvise(control, bytes, MADV_DODUMP);
	signal(SIGABRT, SIG_DFL);
	abort();
}

static bool file_contains(const char *path, const void *needle, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	void *text;
	bool found;

	if (fd < 0 || fstat(fd, &stat) || !stat.st_size)
		return false;
	text = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (text == MAP_FAILED)
		return false;
	found = memmem(text, (size_t)stat.st_size, needle, bytes);
	munmap(text, (size_t)stat.st_size);
	return found;
}

TEST_F(isolated, core_dump)
{
	char folder[] = "/tmp/isthmus-core-XXXXXX", pattern[256] = "";
	uint8_t needle[256], control_needle[256];
	bool restore = false;
	pid_t pid;

	file_read("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern));
	if (strcmp(pattern, "core\n")) {
		if (geteuid())
			SKIP(return, "kernel.core_pattern is not \"core\"");
		ASSERT_EQ(0, file_write("/proc/sys/kernel/core_pattern", "core\n"));
		restore = true;
	}
	ASSERT_NE(NULL, mkdtemp(folder));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (chdir(folder))
			_exit(1);
		file_write("/proc/sys/kernel/core_uses_pid", "0");
		dump_core(self->memory, self->control, self->bytes);
	}
	EXPECT_EQ(KILLED_BY(SIGABRT), child_status(pid));
	if (restore)
		file_write("/proc/sys/kernel/core_pattern", pattern);
	ASSERT_EQ(0, chdir(folder));
	if (access("core", F_OK)) {
		rmdir(folder);
		SKIP(return, "this kernel writes no core dumps");
	}
	memcpy(needle, self->memory + 3 * self->page + 512, sizeof(needle));
	memcpy(control_needle, self->control + 3 * self->page + 512, sizeof(needle));
	EXPECT_TRUE(file_contains("core", control_needle, sizeof(needle)));
	EXPECT_FALSE(file_contains("core", needle, sizeof(needle)));
	unlink("core");
	EXPECT_EQ(0, rmdir(folder));
}

TEST_F(isolated, being_dumped_cannot_be_asked_for)
{
	EXPECT_EQ(0, madvise(self->control, self->bytes, MADV_DODUMP));
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_DODUMP));
	EXPECT_EQ(EINVAL, errno);
}

/* ---- swap ---- */

TEST_F(isolated, pageout_and_other_advice)
{
	EXPECT_EQ(0, madvise(self->control, self->bytes, MADV_PAGEOUT));
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_PAGEOUT));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_COLD));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_REMOVE));
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_FREE));
	(void)!madvise(self->memory, self->bytes, MADV_DONTNEED);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
}

TEST_F(isolated, swap_device)
{
	uint8_t needle[256], control_needle[256];

	if (swap_missing())
		SKIP(return, "%s", swap_missing());
	memcpy(needle, self->memory + 512, sizeof(needle));
	memcpy(control_needle, self->control + 512, sizeof(needle));
	ASSERT_EQ(0, swap_on());
	EXPECT_EQ(0, madvise(self->control, self->bytes, MADV_PAGEOUT));
	(void)!madvise(self->memory, self->bytes, MADV_PAGEOUT);
	/* Reclaim may also come by itself. */
	file_write("/proc/sys/vm/drop_caches", "3");
	file_write("/proc/sys/vm/compact_memory", "1");
	EXPECT_LT(0, swapped_out());
	sync();
	{
		int fd = scratch_open(O_RDONLY | O_DIRECT);
		size_t bytes = SWAP_PAGES * self->page;
		uint8_t *blocks = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		ASSERT_EQ(bytes, pread(fd, blocks, bytes, 0));
		EXPECT_NE(NULL, memmem(blocks, bytes, control_needle, sizeof(needle)));
		EXPECT_EQ(NULL, memmem(blocks, bytes, needle, sizeof(needle)));
		munmap(blocks, bytes);
		close(fd);
	}
	EXPECT_EQ(0, swap_off());
	EXPECT_EQ(0, pattern_errors(self->control, self->bytes, CONTROL_SEED));
}

/* ---- I/O ---- */

TEST_F(isolated, vmsplice)
{
	uint8_t buffer[64];
	int ends[2];

	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	EXPECT_EQ(0, vmsplice_out(ends[1], self->control, sizeof(buffer)));
	EXPECT_EQ((ssize_t)sizeof(buffer), read(ends[0], buffer, sizeof(buffer)));
	EXPECT_EQ(0, memcmp(buffer, self->control, sizeof(buffer)));
	EXPECT_EQ(-EFAULT, vmsplice_out(ends[1], self->memory, sizeof(buffer)));
	EXPECT_EQ(-EFAULT, vmsplice_out(ends[1], self->memory + self->page, 2 * self->page));
	EXPECT_EQ(-1, read(ends[0], buffer, sizeof(buffer)));
	close(ends[0]);
	close(ends[1]);
}

TEST_F(isolated, direct_io)
{
	if (!scratch_device())
		SKIP(return, NO_SCRATCH_DEVICE);
	EXPECT_EQ(0, direct_write(self->control, self->page));
	EXPECT_EQ(0, direct_read(self->control, self->page));
	EXPECT_EQ(-EFAULT, direct_write(self->memory, self->page));
	EXPECT_EQ(-EFAULT, direct_read(self->memory, self->page));
}

TEST_F(isolated, io_uring_buffers)
{
	const char *missing = uring_missing();
	struct io_uring ring;

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	EXPECT_EQ(0, uring_pin(&ring, self->control, self->page));
	io_uring_queue_exit(&ring);
	EXPECT_EQ(-EFAULT, uring_pin(&ring, self->memory, self->page));
	EXPECT_EQ(-EFAULT, uring_pin(&ring, self->memory, self->bytes));
}

TEST_F(isolated, futex)
{
	uint32_t word, control_word;

	memcpy(&word, self->memory, sizeof(word));
	memcpy(&control_word, self->control, sizeof(control_word));
	EXPECT_EQ(-1, syscall(SYS_futex, self->control, FUTEX_WAIT, control_word + 1, NULL, NULL,
			      0));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, syscall(SYS_futex, self->memory, FUTEX_WAIT, word + 1, NULL, NULL, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, syscall(SYS_futex, self->control, FUTEX_WAKE, 1, NULL, NULL, 0));
	EXPECT_EQ(-1, syscall(SYS_futex, self->memory, FUTEX_WAKE, 1, NULL, NULL, 0));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(isolated, userfaultfd)
{
	int result = uffd_register(self->control, self->bytes);

	if (result == -ENOSYS)
		SKIP(return, "no userfaultfd here");
	EXPECT_EQ(0, result);
	EXPECT_EQ(-EINVAL, uffd_register(self->memory, self->bytes));
}

/* What is allowed: the process itself copies, as any load and store does. */
TEST_F(isolated, the_process_may_copy_it_itself)
{
	EXPECT_EQ(0, write_from(self->memory, self->bytes));
	EXPECT_EQ(0, read_into(self->memory, 16, self->memory[0]));
	fill_pattern(self->memory, self->bytes, SEED);
}

/* ---- what it costs whoever makes it ---- */

static int create_mib(int device, size_t mib)
{
	return region_create(device, ISTH_REGION_ISOLATED, 0, mib * MIB);
}

static bool limit_memlock(size_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	return !setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* An ordinary user of no privilege, whoever runs the test. */
static bool become_ordinary(void)
{
	if (!geteuid() && setresuid(65534, 65534, 65534))
		return false;
	return geteuid();
}

static int memlock_child(int device, atomic_int *step)
{
	int first, second, i;
	pid_t pid;

	/* The fixture's region is charged already when we are the same user. */
	if (!become_ordinary() || !limit_memlock(4 * MIB + PAGES * page_bytes()))
		return 1;
	if (create_mib(device, 5) != -EDQUOT)
		return 2;
	first = create_mib(device, 2);
	second = create_mib(device, 2);
	if (first < 0 || second < 0)
		return 3;
	if (create_mib(device, 1) != -EDQUOT)
		return 4;
	/* One limit for all of a user's processes. */
	pid = child_fork();
	if (!pid)
		_exit(create_mib(device, 1) == -EDQUOT ? 0 : 1);
	if (child_status(pid))
		return 5;
	/* What is given back can be had again. */
	close(first);
	for (i = 0; i < 20; i++) {
		first = create_mib(device, 2);
		if (first < 0)
			return 6;
		close(first);
	}
	/* A mapping keeps it charged, whatever becomes of descriptors. */
	{
		void *memory = region_map(second, 2 * MIB, PROT_READ | PROT_WRITE);

		close(second);
		if (memory == MAP_FAILED || create_mib(device, 3) != -EDQUOT)
			return 7;
		munmap(memory, 2 * MIB);
	}
	first = create_mib(device, 3);
	if (first < 0)
		return 8;
	close(first);
	atomic_store(step, 1);
	return 0;
}

TEST_F(isolated, rlimit_memlock)
{
	atomic_int *step = shared_page();
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(memlock_child(self->device, step));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(1, atomic_load(step));
}

TEST_F(isolated, rlimit_memlock_does_not_bind_who_may_lock)
{
	int handle;

	if (geteuid())
		SKIP(return, "needs root (CAP_IPC_LOCK)");
	ASSERT_TRUE(limit_memlock(0));
	handle = create_mib(self->device, 1);
	EXPECT_LE(0, handle);
	close(handle);
}

TEST_F(isolated, rlimit_memlock_binds_a_namespaces_root)
{
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		if (!become_ordinary() || !limit_memlock(MIB))
			_exit(1);
		/* All capabilities now, but over nothing that matters. */
		prctl(PR_SET_DUMPABLE, 1);
		if (unshare(CLONE_NEWUSER))
			_exit(77);
		_exit(create_mib(self->device, 2) == -EDQUOT ? 0 : 2);
	}
	switch (child_status(pid)) {
	case 77:
		SKIP(return, "no user namespaces for ordinary users");
	case 0:
		break;
	default:
		EXPECT_TRUE(false);
	}
}

TEST_F(isolated, memory_cgroup)
{
	struct cgroup group;
	const char *missing = cgroup_make(&group, 0);
	pid_t pid;

	if (missing)
		SKIP(return, "%s", missing);
	if (!memlock_allows(7 * MIB))
		SKIP(return, "RLIMIT_MEMLOCK is below 7 MiB");
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		long long before, after;
		int handle;

		if (cgroup_enter(&group))
			_exit(1);
		before = cgroup_read(&group, "memory.current", NULL);
		handle = create_mib(self->device, 6);
		after = cgroup_read(&group, "memory.current", NULL);
		if (handle < 0 || after - before < (long long)(6 * MIB))
			_exit(2);
		close(handle);
		_exit(0);
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_GT((long long)(2 * MIB), cgroup_read(&group, "memory.current", NULL));
	cgroup_remove(&group);
}

/* ---- what is left behind ---- */

TEST_F(isolated, the_next_owner_gets_zeros)
{
	const size_t bytes = 4 * MIB;
	int round;

	for (round = 0; round < 8; round++) {
		/* Both kinds, so that memory goes from one to the other as well. */
		uint32_t kind = round & 2 ? ISTH_REGION_PAGEABLE : ISTH_REGION_ISOLATED;
		int handle = region_create(self->device, kind, 0, bytes);
		uint8_t *memory;

		ASSERT_LE(0, handle);
		memory = region_map(handle, bytes, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, (void *)memory);
		EXPECT_TRUE(all_zero(memory, bytes));
		memset(memory, 0xA5, bytes);
		munmap(memory, bytes);
		close(handle);
	}
}

/*
 * Where @needle begins a page of the machine's memory, as file offsets of
 * /proc/kcore, an ELF file of all of it; at most @count. Searched from the end,
 * where memory is handed out first, and only until all are found.
 */
static size_t kcore_find(int kcore, const void *needle, size_t bytes, off_t *found,
			 size_t count)
{
	const size_t chunk = 4 * MIB, page = page_bytes();
	uint8_t *buffer = test_alloc(chunk);
	size_t number = 0, i;
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (pread(kcore, &header, sizeof(header), 0) != sizeof(header))
		header.e_phnum = 0;
	for (i = header.e_phnum; i-- && number < count;) {
		off_t at = (off_t)(header.e_phoff + i * sizeof(segment)), begin;

		/* Memory has a physical address below a million megabytes. */
		if (pread(kcore, &segment, sizeof(segment), at) != sizeof(segment) ||
		    segment.p_type != PT_LOAD || segment.p_paddr > 1ULL << 40)
			continue;
		begin = (off_t)segment.p_offset;
		at = begin + (off_t)segment.p_filesz;
		while (at > begin && number < count) {
			size_t length = (size_t)(at - begin) < chunk ? (size_t)(at - begin) : chunk;
			size_t offset;

			at -= (off_t)length;
			if (pread(kcore, buffer, length, at) != (ssize_t)length)
				continue;
			for (offset = 0; offset < length && number < count; offset += page)
				if (!memcmp(buffer + offset, needle, bytes))
					found[number++] = at + (off_t)offset;
		}
	}
	free(buffer);
	return number;
}

/* At how many of those places it is still. */
static size_t kcore_still(int kcore, const void *needle, size_t bytes, const off_t *places,
			  size_t count)
{
	uint8_t *buffer = test_alloc(bytes);
	size_t i, still = 0;

	for (i = 0; i < count; i++)
		still += pread(kcore, buffer, bytes, places[i]) == (ssize_t)bytes &&
			 !memcmp(buffer, needle, bytes);
	free(buffer);
	return still;
}

TEST_F(isolated, freed_memory_is_zeroed)
{
	enum { COUNT = 128 };
	static uint8_t needle[1024];
	const size_t bytes = COUNT * self->page;
	int kcore = open("/proc/kcore", O_RDONLY | O_CLOEXEC), handle, i;
	off_t places[COUNT];
	uint8_t *memory;

	if (kcore < 0)
		SKIP(return, "needs root and /proc/kcore");
	handle = region_create(self->device, ISTH_REGION_ISOLATED, 0, bytes);
	ASSERT_LE(0, handle);
	memory = region_map(handle, bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	fill_pattern(needle, sizeof(needle), now_ns());
	for (i = 0; i < COUNT; i++)
		memcpy(memory + (size_t)i * self->page, needle, sizeof(needle));
	ASSERT_EQ(COUNT, kcore_find(kcore, needle, sizeof(needle), places, COUNT));
	munmap(memory, bytes);
	EXPECT_EQ(COUNT, kcore_still(kcore, needle, sizeof(needle), places, COUNT));
	close(handle);
	ASSERT_TRUE(live_settles_above(1, 1, 1));
	EXPECT_EQ(0, kcore_still(kcore, needle, sizeof(needle), places, COUNT));
	close(kcore);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
