// SPDX-License-Identifier: GPL-2.0-only
/* G5: a region has the size it was made with, and its memory is there once it was made. */
#include "region_kinds.h"
#include "cgroup.h"

#define MIB	(1UL << 20)

REGION_FIXTURE_BOTH(region)
REGION_FIXTURE_ONE(lazy, ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY)

/* Every page can be read and then written. */
static bool all_there(uint8_t *memory, size_t bytes)
{
	size_t offset, page = page_bytes();

	for (offset = 0; offset < bytes; offset += page)
		if (read_signal(memory + offset) || write_signal(memory + offset, 1))
			return false;
	return true;
}

static uint64_t handle_size(int handle)
{
	struct isth_stat stat;

	return handle_stat(handle, &stat) ? 0 : stat.size;
}

/* ---- nobody can cut it ---- */

TEST_F(region, no_call_truncates_it)
{
	char path[96];
	int fd;

	EXPECT_EQ(-1, ftruncate(self->owner, 0));
	EXPECT_EQ(-1, ftruncate(self->owner, (off_t)(2 * self->bytes)));
	EXPECT_EQ(-1, fallocate(self->owner, 0, 0, (off_t)(2 * self->bytes)));
	EXPECT_EQ(-1, fallocate(self->owner, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				(off_t)self->bytes));
	EXPECT_EQ(-1, fallocate(self->owner, FALLOC_FL_COLLAPSE_RANGE, 0, (off_t)self->page));
	EXPECT_EQ(-1, posix_fallocate(self->owner, 0, (off_t)self->bytes) ? -1 : 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->owner);
	EXPECT_EQ(-1, truncate(path, 0));
	fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
	EXPECT_EQ(-1, fd);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)self->memory,
		 (unsigned long)self->memory + self->bytes);
	EXPECT_EQ(-1, truncate(path, 0));
	EXPECT_EQ(-1, truncate(path, (off_t)self->page));
	EXPECT_EQ(-1, open(path, O_RDWR | O_TRUNC | O_CLOEXEC));
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_REMOVE));
	EXPECT_EQ(self->bytes, handle_size(self->owner));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

TEST_F(region, a_peer_that_tries_everything_causes_no_sigbus)
{
	atomic_int *step = shared_page();
	pid_t pid = child_fork();
	char path[96];

	ASSERT_LE(0, pid);
	if (!pid) {
		atomic_store(step, 1);
		snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx",
			 (unsigned long)self->memory, (unsigned long)self->memory + self->bytes);
		while (atomic_load(step) == 1) {
			(void)!ftruncate(self->owner, 0);
			(void)!truncate(path, 0);
			(void)!madvise(self->memory, self->bytes, MADV_REMOVE);
			(void)!madvise(self->memory, self->bytes, MADV_DONTNEED);
			(void)!madvise(self->memory, self->bytes, MADV_PAGEOUT);
			(void)!fallocate(self->owner, FALLOC_FL_PUNCH_HOLE |
					 FALLOC_FL_KEEP_SIZE, 0, (off_t)self->page);
			munmap(mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->owner, 0),
			       self->page);
		}
		_exit(0);
	}
	ASSERT_TRUE(wait_for(step, 1));
	for (uint64_t end = race_end(200); now_ms() < end;)
		ASSERT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	atomic_store(step, 2);
	EXPECT_EQ(0, child_status(pid));
}

TEST_F(region, the_death_of_every_other_holder_changes_nothing)
{
	pid_t pid = child_fork();
	int device, owner, pair[2];
	uint8_t *memory;

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	EXPECT_EQ(0, child_status(pid));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		device = device_open();
		owner = region_create(device, self->kind, self->flags, self->bytes);
		memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);
		fill_pattern(memory, self->bytes, 77);
		send_fd(pair[1], handle_derive(owner, RIGHTS_RW));
		raise(SIGKILL);
	}
	owner = receive_fd(pair[0]);
	EXPECT_EQ(KILLED_BY(SIGKILL), child_status(pid));
	memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_EQ(0, pattern_errors(memory, self->bytes, 77));
	EXPECT_TRUE(all_there(memory, self->bytes));
	munmap(memory, self->bytes);
	close(owner);
	close(pair[0]);
	close(pair[1]);
}

/* ---- what fits into it ---- */

TEST_F(region, mappings_end_where_it_ends)
{
	off_t end = (off_t)self->bytes;
	uint8_t *last;

	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->bytes + 1, PROT_READ, MAP_SHARED, self->owner, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->owner, end));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * self->page, PROT_READ, MAP_SHARED, self->owner,
				   end - (off_t)self->page));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->owner,
				   (off_t)1 << 50));
	/* Where offset + length wraps around. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * self->page, PROT_READ, MAP_SHARED, self->owner,
				   (off_t)(0UL - self->page)));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->owner,
				   (off_t)(0UL - self->page)));
	last = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, self->owner,
		    end - (off_t)self->page);
	ASSERT_NE(MAP_FAILED, (void *)last);
	EXPECT_EQ(self->memory[self->bytes - 1], last[self->page - 1]);
	munmap(last, self->page);
	last = mmap(NULL, 1, PROT_READ, MAP_SHARED, self->owner, 0);
	ASSERT_NE(MAP_FAILED, (void *)last);
	munmap(last, self->page);
}

TEST_F(region, sizes_are_what_the_border_says)
{
	static const size_t good[] = { 1, 2, 3, 511, 512, 513 };
	struct isth_info info;
	size_t i;

	ASSERT_EQ(0, device_info(self->device, &info));
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t bytes = good[i] * self->page;
		int handle = region_create(self->device, self->kind, self->flags, bytes);
		uint8_t *memory;

		ASSERT_LE(0, handle);
		EXPECT_EQ(bytes, handle_size(handle));
		memory = region_map(handle, bytes, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, (void *)memory);
		EXPECT_TRUE(all_zero(memory, bytes));
		EXPECT_TRUE(all_there(memory, bytes));
		munmap(memory, bytes);
		close(handle);
	}
#define CREATE(size) region_create(self->device, self->kind, self->flags, size)
	EXPECT_EQ(-EINVAL, CREATE(0));
	EXPECT_EQ(-EINVAL, CREATE(1));
	EXPECT_EQ(-EINVAL, CREATE(self->page - 1));
	EXPECT_EQ(-EINVAL, CREATE(self->page + 1));
	EXPECT_EQ(-EINVAL, CREATE(3 * self->page / 2));
	EXPECT_EQ(-EINVAL, CREATE(UINT64_MAX));
	EXPECT_EQ(-EINVAL, CREATE(info.region_size_max + 1));
	EXPECT_EQ(-EFBIG, CREATE(info.region_size_max + self->page));
	EXPECT_EQ(-EFBIG, CREATE(1ULL << 62));
	EXPECT_EQ(-EFBIG, CREATE(1ULL << 63));
	EXPECT_EQ(-EFBIG, CREATE(UINT64_MAX - self->page + 1));
	EXPECT_EQ(-EFBIG, CREATE((1ULL << 32) * self->page));
#undef CREATE
}

TEST_F(region, growing_a_mapping_grows_no_region)
{
	uint8_t *grown = mremap(self->memory, self->bytes, 2 * self->bytes, MREMAP_MAYMOVE);

	if (self->kind == ISTH_REGION_ISOLATED) {
		ASSERT_EQ(MAP_FAILED, (void *)grown);
		EXPECT_EQ(EFAULT, errno);
	} else {
		ASSERT_NE(MAP_FAILED, (void *)grown);
		self->memory = grown;
		EXPECT_EQ(SIGBUS, read_signal(grown + self->bytes));
		EXPECT_EQ(SIGBUS, write_signal(grown + self->bytes, 1));
		EXPECT_EQ(SIGBUS, write_signal(grown + 2 * self->bytes - 1, 1));
		munmap(grown + self->bytes, self->bytes);
	}
	EXPECT_EQ(self->bytes, handle_size(self->owner));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

/* ---- the memory is there ---- */

static long long free_mib(void)
{
	return (file_number("/proc/meminfo", "MemFree:") +
		file_number("/proc/meminfo", "Cached:")) / 1024;
}

static long long shared_mib(void)
{
	return file_number("/proc/meminfo", "Shmem:") / 1024;
}

/* MiB that a region of this kind would have taken since @before. */
static long long taken_since(bool isolated, long long before)
{
	return isolated ? before - free_mib() : shared_mib() - before;
}

/* The most of a region that this user may make of this kind. */
static size_t bytes_to_take(uint32_t kind)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (kind == ISTH_REGION_PAGEABLE || !geteuid() || limit.rlim_cur > 64 * MIB)
		return 64 * MIB;
	return limit.rlim_cur / MIB * MIB - MIB;
}

/* Freed memory is counted a moment later, by lists that each processor has. */
static void expect_given_back(struct __test_metadata *_metadata, bool isolated, long long before,
			      long long mib)
{
	uint64_t end = now_ms() + 3000;

	while (taken_since(isolated, before) > mib / 2 && now_ms() < end)
		sleep_ms(10);
	EXPECT_GE(mib / 2, taken_since(isolated, before));
}

TEST_F(region, memory_is_taken_when_it_is_made)
{
	const bool isolated = self->kind == ISTH_REGION_ISOLATED;
	const size_t bytes = bytes_to_take(self->kind);
	const long long mib = (long long)(bytes / MIB);
	long long before, taken;
	uint8_t *memory;
	int handle;

	/* Too little to tell from what else goes on in the machine. */
	if (mib < 32)
		SKIP(return, "RLIMIT_MEMLOCK is below 32 MiB");
	before = isolated ? free_mib() : shared_mib();
	handle = region_create(self->device, self->kind, 0, bytes);
	taken = taken_since(isolated, before);
	ASSERT_LE(0, handle);
	EXPECT_LT(mib * 3 / 4, taken);
	memory = region_map(handle, bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_TRUE(all_there(memory, bytes));
	EXPECT_GT(mib * 5 / 4, taken_since(isolated, before));
	munmap(memory, bytes);
	close(handle);
	expect_given_back(_metadata, isolated, before, mib);
}

TEST_F(lazy, memory_is_taken_when_it_is_touched)
{
	long long before = shared_mib();
	int handle = region_create(self->device, self->kind, self->flags, 64 * MIB);
	uint8_t *memory = region_map(handle, 64 * MIB, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_GT(8, taken_since(false, before));
	EXPECT_TRUE(all_there(memory, 32 * MIB));
	EXPECT_LT(24, taken_since(false, before));
	EXPECT_GT(40, taken_since(false, before));
	munmap(memory, 64 * MIB);
	close(handle);
	expect_given_back(_metadata, false, before, 64);
}

TEST_F(lazy, a_region_as_large_as_all_memory_takes_none)
{
	long long before = shared_mib();
	struct isth_info info;
	int handle;

	ASSERT_EQ(0, device_info(self->device, &info));
	handle = region_create(self->device, self->kind, self->flags,
			       info.region_size_max / self->page * self->page);
	ASSERT_LE(0, handle);
	EXPECT_GT(8, shared_mib() - before);
	close(handle);
}

/* Set the number of huge pages kept apart: memory that is taken without touching it. */
static void huge_pages_keep(long long mib)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", mib / 2);
	file_write("/proc/sys/vm/nr_hugepages", text);
}

/*
 * Created in a child that the kernel would kill first, should it run out of
 * memory instead of saying ENOMEM. Most memory is put out of reach before, or
 * filling it would take long.
 */
TEST_F(region, more_than_there_is_is_refused_without_a_kill)
{
	long long kills = file_number("/proc/vmstat", "oom_kill ");
	long long mib, kept;
	pid_t pid;
	int status;

	if (geteuid() || !getenv("ISTHMUS_VM"))
		SKIP(return, "takes all memory: only as root in the test machine");
	kept = file_number("/proc/sys/vm/nr_hugepages", NULL);
	huge_pages_keep(file_number("/proc/meminfo", "MemAvailable:") / 1024 - 300);
	mib = file_number("/proc/meminfo", "MemAvailable:") / 1024 + 100;
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int handle;

		file_write("/proc/self/oom_score_adj", "1000");
		handle = region_create(self->device, self->kind, self->flags,
				       (uint64_t)mib * MIB);
		_exit(handle < 0 ? -handle : 0);
	}
	status = child_status(pid);
	huge_pages_keep(kept * 2);
	EXPECT_EQ(ENOMEM, status)
		TH_LOG("%lld MiB", mib);
	EXPECT_EQ(kills, file_number("/proc/vmstat", "oom_kill "));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

/* Sizes that an ordinary user may have of isolated memory too. */
#define CHARGE_MIB	6
#define MEMLOCK_MIB	8

/* In @group: what creating and then touching a region adds to it, in MiB. */
static int charge_child(const struct cgroup *group, int device, uint32_t kind, uint32_t flags)
{
	long long before, made, touched;
	uint8_t *memory;
	int handle;

	if (cgroup_enter(group))
		return 1;
	before = cgroup_read(group, "memory.current", NULL);
	handle = region_create(device, kind, flags, CHARGE_MIB * MIB);
	made = (cgroup_read(group, "memory.current", NULL) - before) / (long long)MIB;
	memory = region_map(handle, CHARGE_MIB * MIB, PROT_READ | PROT_WRITE);
	if (memory == MAP_FAILED || !all_there(memory, CHARGE_MIB * MIB))
		return 2;
	touched = (cgroup_read(group, "memory.current", NULL) - before) / (long long)MIB;
	/* Meanwhile the group may have given back a little of something else. */
	if (flags & ISTH_REGION_LAZY ? made > 1 : made < CHARGE_MIB - 1)
		return 3;
	return touched < CHARGE_MIB - 1 || touched > CHARGE_MIB + 2 ? 4 : 0;
}

static void expect_charge(struct __test_metadata *_metadata, int device, uint32_t kind,
			  uint32_t flags)
{
	struct cgroup group;
	const char *missing = cgroup_make(&group, 0);
	pid_t pid;

	if (missing)
		SKIP(return, "%s", missing);
	if (!memlock_allows(MEMLOCK_MIB * MIB))
		SKIP(return, "RLIMIT_MEMLOCK is below 8 MiB");
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(charge_child(&group, device, kind, flags));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_TRUE(live_settles_above(1, 1, 1));
	EXPECT_GT((long long)(2 * MIB), cgroup_read(&group, "memory.current", NULL));
	cgroup_remove(&group);
}

TEST_F(region, a_memory_cgroup_is_charged_when_it_is_made)
{
	expect_charge(_metadata, self->device, self->kind, 0);
}

TEST_F(lazy, a_memory_cgroup_is_charged_when_it_is_touched)
{
	expect_charge(_metadata, self->device, self->kind, self->flags);
}

/* In @group, of 4 MiB: too much is refused, what is made can be touched. */
static int limit_child(const struct cgroup *group, int device, uint32_t kind)
{
	uint8_t *memory;
	int handle, i;

	if (cgroup_enter(group))
		return 1;
	for (i = 0; i < 5; i++)
		if (region_create(device, kind, 0, 7 * MIB) != -ENOMEM)
			return 2;
	handle = region_create(device, kind, 0, MIB);
	if (handle < 0)
		return 3;
	if (region_create(device, kind, 0, 6 * MIB) != -ENOMEM)
		return 4;
	memory = region_map(handle, MIB, PROT_READ | PROT_WRITE);
	return memory == MAP_FAILED || !all_there(memory, MIB) ? 5 : 0;
}

TEST_F(region, a_memory_cgroup_limit_is_enomem_and_no_kill)
{
	struct cgroup group;
	const char *missing = cgroup_make(&group, 4 * MIB);
	pid_t pid;

	if (missing)
		SKIP(return, "%s", missing);
	if (!memlock_allows(MEMLOCK_MIB * MIB))
		SKIP(return, "RLIMIT_MEMLOCK is below 8 MiB");
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(limit_child(&group, self->device, self->kind));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(0, cgroup_read(&group, "memory.events", "oom_kill "));
	cgroup_remove(&group);
}

TEST_F(region, a_creator_killed_half_way_gives_all_back)
{
	/* As much isolated memory as an ordinary user may lock. */
	const size_t bytes = self->kind == ISTH_REGION_PAGEABLE ? 64 * MIB : 6 * MIB;
	uint64_t end = race_end(400), random = random_seed("killed creator");
	long long before = shared_mib();
	int rounds = 0;

	do {
		pid_t pid = child_fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			for (;;)
				close(region_create(self->device, self->kind, 0, bytes));
		}
		sleep_us(random_next(&random) % 20000);
		EXPECT_EQ(KILLED_BY(SIGKILL), child_kill(pid));
		rounds++;
	} while (now_ms() < end);
	EXPECT_TRUE(live_settles_above(1, 1, 1));
	expect_given_back(_metadata, false, before, 32);
	TH_LOG("%d kills", rounds);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
