// SPDX-License-Identifier: GPL-2.0-only
/* Pageable regions work with all that works on shared memory. Needs -luring. */
#include "isthmus_test.h"
#include "routes.h"
#include "cgroup.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>

#define MIB	(1UL << 20)
#define PAGES	32
#define SEED	0x9A6E

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

FIXTURE(pageable)
{
	int device;
	int owner;
	uint8_t *memory;
	size_t page;
	size_t bytes;
};

FIXTURE_VARIANT(pageable)
{
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(pageable, committed)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(pageable, lazy)
{
	.flags = ISTH_REGION_LAZY,
};

FIXTURE_SETUP(pageable)
{
	ASSERT_TRUE(live_settles());
	self->page = page_bytes();
	self->bytes = PAGES * self->page;
	self->device = device_open();
	ASSERT_LE(0, self->device);
	self->owner = region_create(self->device, ISTH_REGION_PAGEABLE, variant->flags,
				    self->bytes);
	ASSERT_LE(0, self->owner);
	self->memory = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->memory);
}

FIXTURE_TEARDOWN(pageable)
{
	munmap(self->memory, self->bytes);
	close(self->owner);
	close(self->device);
}

/* ---- locks ---- */

struct shared_lock {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int turn;
	int count;
};

static int lock_init(struct shared_lock *lock)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t condition;

	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
	pthread_condattr_init(&condition);
	pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
	return pthread_mutex_init(&lock->mutex, &mutex) ||
	       pthread_cond_init(&lock->changed, &condition);
}

/* Take @rounds turns, each when it is ours. */
static int take_turns(struct shared_lock *lock, int me, int rounds)
{
	struct timespec deadline;
	int i, error;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 30;
	for (i = 0; i < rounds; i++) {
		if (pthread_mutex_lock(&lock->mutex))
			return 1;
		while (lock->turn != me) {
			error = pthread_cond_timedwait(&lock->changed, &lock->mutex, &deadline);
			if (error)
				return 2;
		}
		lock->turn = !me;
		lock->count++;
		pthread_cond_broadcast(&lock->changed);
		pthread_mutex_unlock(&lock->mutex);
	}
	return 0;
}

TEST_F(pageable, mutex_and_condition_variable_between_processes)
{
	struct shared_lock *lock = (struct shared_lock *)self->memory;
	const int rounds = 200;
	pid_t pid;

	ASSERT_EQ(0, lock_init(lock));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* A mapping of its own, elsewhere. */
		struct shared_lock *mine = region_map(self->owner, self->bytes,
						      PROT_READ | PROT_WRITE);

		munmap(self->memory, self->bytes);
		_exit((void *)mine == MAP_FAILED ? 9 : take_turns(mine, 1, rounds));
	}
	EXPECT_EQ(0, take_turns(lock, 0, rounds));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(2 * rounds, lock->count);
}

TEST_F(pageable, robust_mutex_of_a_dead_owner)
{
	struct shared_lock *lock = (struct shared_lock *)self->memory;
	pid_t pid;

	ASSERT_EQ(0, lock_init(lock));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pthread_mutex_lock(&lock->mutex);
		raise(SIGKILL);
	}
	EXPECT_EQ(KILLED_BY(SIGKILL), child_status(pid));
	EXPECT_EQ(EOWNERDEAD, pthread_mutex_lock(&lock->mutex));
	EXPECT_EQ(0, pthread_mutex_consistent(&lock->mutex));
	EXPECT_EQ(0, pthread_mutex_unlock(&lock->mutex));
	EXPECT_EQ(0, pthread_mutex_lock(&lock->mutex));
}

TEST_F(pageable, futex_between_mappings_at_different_addresses)
{
	uint32_t *second = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);
	struct timespec limit = { .tv_sec = 20 };
	atomic_int *step = shared_page();
	long woken = 0;
	uint64_t end = now_ms() + 20000;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, (void *)second);
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		atomic_store(step, 1);
		_exit(syscall(SYS_futex, second + 10, FUTEX_WAIT, 0, &limit, NULL, 0) ? 1 : 0);
	}
	ASSERT_TRUE(wait_for(step, 1));
	while (!woken && now_ms() < end) {
		woken = syscall(SYS_futex, self->memory + 40, FUTEX_WAKE, 1, NULL, NULL, 0);
		sleep_us(500);
	}
	EXPECT_EQ(1, woken);
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(-1, syscall(SYS_futex, self->memory, FUTEX_WAIT, 7, NULL, NULL, 0));
	EXPECT_EQ(EAGAIN, errno);
	munmap(second, self->bytes);
}

TEST_F(pageable, wait_and_wake_are_left_to_futexes)
{
	EXPECT_EQ(-EOPNOTSUPP, region_wait(self->owner, 0, 0, 1));
	EXPECT_EQ(-EOPNOTSUPP, region_wake(self->owner, 0, 1));
}

/* ---- I/O ---- */

TEST_F(pageable, direct_io_into_and_out_of_it)
{
	if (!scratch_device())
		SKIP(return, NO_SCRATCH_DEVICE);
	fill_pattern(self->memory, self->bytes, SEED);
	EXPECT_EQ(0, direct_write(self->memory, self->bytes));
	memset(self->memory, 0, self->bytes);
	EXPECT_EQ(0, direct_read(self->memory, self->bytes));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
}

TEST_F(pageable, io_uring_reads_into_it_and_writes_from_it)
{
	const char *missing = uring_missing();
	int source = memfd_create("isthmus-test", MFD_CLOEXEC);
	uint8_t *content = test_alloc(self->bytes);
	struct io_uring ring;
	int result;

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	fill_pattern(content, self->bytes, SEED);
	ASSERT_EQ((ssize_t)self->bytes, write(source, content, self->bytes));
	EXPECT_EQ(0, uring_read(source, self->memory, self->bytes));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
	result = uring_pin(&ring, self->memory, self->bytes);
	if (result) {
		EXPECT_TRUE(uring_cannot_pin(result));
	} else {
		memset(self->memory, 0, self->bytes);
		EXPECT_EQ(0, uring_read_fixed(&ring, source, self->memory, self->bytes));
		EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
		io_uring_queue_exit(&ring);
	}
	free(content);
	close(source);
}

TEST_F(pageable, the_kernels_other_routes_work)
{
	pid_t tracee;
	uint32_t value = 0x12345678, got = 0;
	long word;
	int ends[2];

	EXPECT_EQ(0, vm_write(getpid(), self->memory, &value, sizeof(value)));
	EXPECT_EQ(0, vm_read(getpid(), self->memory, &got, sizeof(got)));
	EXPECT_EQ(value, got);
	EXPECT_EQ(0, proc_mem_write(getpid(), self->memory + 4, &value, sizeof(value)));
	EXPECT_EQ(0, memcmp(self->memory + 4, &value, sizeof(value)));
	tracee = tracee_start();
	ASSERT_LT(0, tracee);
	EXPECT_EQ(0, ptrace_peek(tracee, self->memory, &word));
	EXPECT_EQ(value, (uint32_t)word);
	EXPECT_EQ(0, ptrace_poke(tracee, self->memory, 0x4142434445464748));
	EXPECT_EQ('H', self->memory[0]);
	child_kill(tracee);
	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	EXPECT_EQ(0, vmsplice_out(ends[1], self->memory, 8));
	EXPECT_EQ(0, vmsplice_in(ends[0], self->memory + 64, 8));
	EXPECT_EQ(0, memcmp(self->memory + 64, self->memory, 8));
	EXPECT_EQ(0, write_from(self->memory, self->bytes));
	EXPECT_EQ(0, read_into(self->memory, 16, 0x77));
	EXPECT_EQ(0x77, self->memory[15]);
	close(ends[0]);
	close(ends[1]);
}

/* ---- memory management ---- */

TEST_F(pageable, locking_and_advice_keep_the_content)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_COLD,
		MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE, MADV_HUGEPAGE,
		MADV_COLLAPSE, MADV_NOHUGEPAGE, MADV_MERGEABLE,
	};
	unsigned char resident[PAGES];
	size_t i;

	fill_pattern(self->memory, self->bytes, SEED);
	EXPECT_EQ(0, mlock(self->memory, 4 * self->page));
	EXPECT_EQ(0, munlock(self->memory, 4 * self->page));
	for (i = 0; i < sizeof(advice) / sizeof(advice[0]); i++) {
		(void)!madvise(self->memory, self->bytes, advice[i]);
		EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED))
			TH_LOG("advice %d", advice[i]);
	}
	EXPECT_EQ(0, msync(self->memory, self->bytes, MS_SYNC));
	EXPECT_EQ(0, msync(self->memory, self->bytes, MS_ASYNC));
	EXPECT_EQ(0, mincore(self->memory, self->bytes, resident));
	for (i = 0; i < PAGES; i++)
		EXPECT_EQ(1, resident[i] & 1);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
}

TEST_F(pageable, populate_maps_all_at_once)
{
	uint8_t *second = mmap(NULL, self->bytes, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_POPULATE, self->owner, 0);
	struct rusage before, after;
	size_t i, sum = 0;

	ASSERT_NE(MAP_FAILED, (void *)second);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < self->bytes; i += self->page)
		sum += ((volatile uint8_t *)second)[i];
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(0, sum);
	EXPECT_GT(4, after.ru_minflt - before.ru_minflt);
	munmap(second, self->bytes);
}

TEST_F(pageable, swapping_out_and_in_keeps_the_content)
{
	int i;

	if (swap_missing())
		SKIP(return, "%s", swap_missing());
	ASSERT_EQ(0, swap_on());
	fill_pattern(self->memory, self->bytes, SEED);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, madvise(self->memory, self->bytes, MADV_PAGEOUT));
		EXPECT_LT(0, swapped_out());
		EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED + (uint64_t)i));
		fill_pattern(self->memory, self->bytes, SEED + (uint64_t)i + 1);
	}
	EXPECT_EQ(0, swap_off());
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED + 5));
}

TEST_F(pageable, a_lazy_region_swapped_out_is_let_go_when_it_ends)
{
	const size_t bytes = 8 * MIB;
	uint8_t *memory;
	int handle;

	if (swap_missing())
		SKIP(return, "%s", swap_missing());
	ASSERT_EQ(0, swap_on());
	handle = region_create(self->device, ISTH_REGION_PAGEABLE, variant->flags, bytes);
	memory = region_map(handle, bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	fill_pattern(memory, bytes, SEED);
	EXPECT_EQ(0, madvise(memory, bytes, MADV_PAGEOUT));
	EXPECT_LT(1024, swapped_out());
	munmap(memory, bytes);
	close(handle);
	EXPECT_GT(1024, swapped_out());
	EXPECT_EQ(0, swap_off());
}

/* Set how shared memory uses huge pages; the line that was there in @before. */
static int shmem_huge_set(const char *setting, char *before, size_t bytes)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	char text[128], *begin, *end;

	if (before) {
		if (file_read(path, text, sizeof(text)) <= 0)
			return -ENOENT;
		begin = strchr(text, '[');
		end = strchr(text, ']');
		if (!begin || !end)
			return -ENOENT;
		snprintf(before, bytes, "%.*s", (int)(end - begin - 1), begin + 1);
	}
	return file_write(path, setting);
}

static long long shmem_huge_kib(void)
{
	return file_number("/proc/meminfo", "ShmemHugePages:");
}

/* What a memfd gets of huge pages now, in KiB: the most that a region can get. */
static long long memfd_huge_kib(size_t bytes)
{
	int memfd = memfd_create("isthmus-control", MFD_CLOEXEC);
	long long before = shmem_huge_kib(), grown = -1;
	void *memory = MAP_FAILED;

	if (!ftruncate(memfd, (off_t)bytes))
		memory = region_map(memfd, bytes, PROT_READ | PROT_WRITE);
	if (memory != MAP_FAILED) {
		memset(memory, 1, bytes);
		grown = shmem_huge_kib() - before;
		munmap(memory, bytes);
	}
	close(memfd);
	return grown;
}

TEST_F(pageable, huge_pages)
{
	const size_t bytes = 8 * MIB;
	long long before, grown, control;
	int handle, narrow, i;
	uint8_t *memory, *view;
	uint64_t pinned = 1;
	char setting[32];
	struct isth_revoke out;

	if (geteuid() || !getenv("ISTHMUS_VM"))
		SKIP(return, "changes a machine-wide setting: only as root in the test machine");
	if (shmem_huge_set("force", setting, sizeof(setting)))
		SKIP(return, "no huge pages for shared memory here");
	control = memfd_huge_kib(bytes);
	before = shmem_huge_kib();
	handle = region_create(self->device, ISTH_REGION_PAGEABLE, variant->flags, bytes);
	memory = handle < 0 ? MAP_FAILED : region_map(handle, bytes, PROT_READ | PROT_WRITE);
	if (memory != MAP_FAILED)
		fill_pattern(memory, bytes, SEED);
	grown = shmem_huge_kib() - before;
	shmem_huge_set(setting, NULL, 0);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	if (control < 2048) {
		munmap(memory, bytes);
		close(handle);
		SKIP(return, "this kernel gives no huge pages to a memfd either");
	}
	EXPECT_LE(2048, grown);
	narrow = handle_derive(handle, RIGHTS_RW);
	view = region_map(narrow, bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)view);
	EXPECT_EQ(0, pattern_errors(view, bytes, SEED));
	view[bytes - 1] = view[bytes - 1];
	/* Pieces of a huge page, by unmapping and by protection. */
	EXPECT_EQ(0, munmap(memory + 3 * self->page, self->page));
	EXPECT_EQ(0, mprotect(memory + 5 * self->page, self->page, PROT_READ));
	EXPECT_EQ(0, handle_revoke_flags(narrow, 0, &out));
	EXPECT_EQ(0, out.pinned_pages);
	for (i = 0; i < (int)(bytes / self->page); i += 37)
		EXPECT_EQ(SIGBUS, read_signal(view + (size_t)i * self->page));
	EXPECT_EQ(0, region_freeze(handle, &pinned));
	EXPECT_EQ(0, pinned);
	for (i = 8; i < (int)(bytes / self->page); i += 37)
		EXPECT_EQ(SIGBUS, write_signal(memory + (size_t)i * self->page, 1));
	munmap(memory, bytes);
	munmap(view, bytes);
	/* A fresh look: all as it was. */
	memory = region_map(handle, bytes, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_EQ(0, pattern_errors(memory, bytes, SEED));
	munmap(memory, bytes);
	close(narrow);
	close(handle);
}

TEST_F(pageable, a_memory_cgroup_counts_it)
{
	struct cgroup group;
	const char *missing = cgroup_make(&group, 0);
	pid_t pid;

	if (missing)
		SKIP(return, "%s", missing);
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int handle;
		uint8_t *memory;

		if (cgroup_enter(&group))
			_exit(1);
		handle = region_create(self->device, ISTH_REGION_PAGEABLE, variant->flags, 8 * MIB);
		memory = region_map(handle, 8 * MIB, PROT_READ | PROT_WRITE);
		if (memory == MAP_FAILED)
			_exit(2);
		memset(memory, 1, 8 * MIB);
		_exit(cgroup_read(&group, "memory.stat", "shmem ") < (long long)(7 * MIB) ? 3 : 0);
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_GT((long long)MIB, cgroup_read(&group, "memory.stat", "shmem "));
	cgroup_remove(&group);
}

/* ---- processes ---- */

TEST_F(pageable, parent_and_child_see_each_others_stores)
{
	_Atomic uint32_t *word = (_Atomic uint32_t *)self->memory;
	uint64_t end = now_ms() + 20000;
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		while (atomic_load(word) != 1 && now_ms() < end)
			;
		atomic_store(word, 2);
		_exit(0);
	}
	atomic_store(word, 1);
	while (atomic_load(word) != 2 && now_ms() < end)
		;
	EXPECT_EQ(2, atomic_load(word));
	EXPECT_EQ(0, child_status(pid));
}

TEST_F(pageable, all_sizes_of_access_at_page_borders)
{
	uint8_t *border = self->memory + self->page - 3;
	uint64_t value = 0x0123456789ABCDEF, got;

	memcpy(border, &value, sizeof(value));
	memcpy(&got, border, sizeof(got));
	EXPECT_EQ(value, got);
	__atomic_store_n((uint64_t *)(self->memory + 8), value, __ATOMIC_SEQ_CST);
	EXPECT_EQ(value, __atomic_fetch_add((uint64_t *)(self->memory + 8), 1, __ATOMIC_SEQ_CST));
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
