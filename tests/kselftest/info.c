// SPDX-License-Identifier: GPL-2.0-only
/* INFO tells the truth about limits and live objects, and the device's mode says who may ask. */
#include "isthmus_test.h"

#include <grp.h>
#include <pthread.h>
#include <sys/sysinfo.h>

#define MIB		(1ULL << 20)
#define NOBODY		65534

static const char size_max_path[] = "/sys/module/isthmus/parameters/region_size_max_mib";
static const char handles_max_path[] = "/sys/module/isthmus/parameters/handles_max";

static struct isth_info info_of(int device)
{
	struct isth_info info;

	if (device_info(device, &info))
		memset(&info, 0xFF, sizeof(info));
	return info;
}

static uint64_t machine_memory(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

/* Whether this much more than at the beginning is alive now, at once. */
static bool alive_now(int device, unsigned int regions, unsigned int handles,
		      unsigned int mappings)
{
	struct isth_info info = info_of(device);

	if (live_is(&info, regions, handles, mappings))
		return true;
	fprintf(stderr, "# alive: %lld regions, %lld handles, %lld mappings; not %u, %u, %u\n",
		(long long)(info.regions - live_baseline.regions),
		(long long)(info.handles - live_baseline.handles),
		(long long)(info.mappings - live_baseline.mappings), regions, handles, mappings);
	return false;
}

/* The same, a moment later: descriptors that a process leaves open outlive it a little. */
static bool alive_soon(int device, unsigned int regions, unsigned int handles,
		       unsigned int mappings)
{
	uint64_t end = now_ms() + 5000;
	struct isth_info info;

	do {
		info = info_of(device);
		if (live_is(&info, regions, handles, mappings))
			return true;
		sleep_ms(2);
	} while (now_ms() < end);
	return alive_now(device, regions, handles, mappings);
}

FIXTURE(info)
{
	int device;
	size_t page;
};

FIXTURE_VARIANT(info)
{
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(info, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(info, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_SETUP(info)
{
	ASSERT_TRUE(live_settles())
		TH_LOG("a test before this one left something alive");
	self->page = page_bytes();
	self->device = device_open();
	ASSERT_LE(0, self->device)
		TH_LOG("/dev/isthmus: %s", strerror(-self->device));
}

FIXTURE_TEARDOWN(info)
{
	close(self->device);
}

/* ---- fields ---- */

TEST_F(info, fields)
{
	const uint64_t promised = ISTH_FEATURE_PAGEABLE | ISTH_FEATURE_ISOLATED |
				  ISTH_FEATURE_HOME;
	struct isth_info info = info_of(self->device);
	uint64_t mib = (uint64_t)file_number(size_max_path, NULL);
	uint64_t memory = machine_memory();

	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(ISTH_ABI_VERSION, info.abi_version);
	EXPECT_EQ(promised, info.features & ~ISTH_FEATURE_HUGE);
	EXPECT_EQ(self->page, info.page_size);
	EXPECT_EQ(file_number(handles_max_path, NULL), info.handles_max);
	EXPECT_EQ(mib && mib * MIB < memory ? mib * MIB : memory, info.region_size_max);
}

TEST_F(info, any_open_mode_will_do)
{
	int device = open("/dev/isthmus", O_RDONLY | O_CLOEXEC), region;

	ASSERT_LE(0, device);
	EXPECT_EQ(ISTH_ABI_VERSION, info_of(device).abi_version);
	region = region_create(device, variant->kind, 0, self->page);
	ASSERT_LE(0, region);
	EXPECT_EQ(0, map_error(region, self->page, PROT_READ | PROT_WRITE));
	close(region);
	close(device);
}

/* ---- counts ---- */

TEST_F(info, counts_follow_every_step)
{
	int region, second, child, copy;
	uint8_t *memory, *other;

	EXPECT_TRUE(alive_now(self->device, 0, 0, 0));
	region = region_create(self->device, variant->kind, 0, 8 * self->page);
	ASSERT_LE(0, region);
	EXPECT_TRUE(alive_now(self->device, 1, 1, 0));
	second = region_create(self->device, variant->kind, 0, self->page);
	ASSERT_LE(0, second);
	EXPECT_TRUE(alive_now(self->device, 2, 2, 0));
	child = handle_derive(region, RIGHTS_RW);
	ASSERT_LE(0, child);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 0));
	copy = dup(child);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 0));
	close(copy);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 0));

	memory = region_map(child, 8 * self->page, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	other = region_map(region, 8 * self->page, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)other);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 2));
	munmap(memory + 3 * self->page, self->page);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 3));
	munmap(memory, 3 * self->page);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 2));
	/* Taking part of it over by something else is unmapping, too. */
	ASSERT_EQ((void *)(memory + 5 * self->page),
		  mmap(memory + 5 * self->page, self->page, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_TRUE(alive_now(self->device, 2, 3, 3));

	/* Revoking kills, but what is open stays open. */
	EXPECT_EQ(0, handle_revoke(child));
	EXPECT_TRUE(alive_now(self->device, 2, 3, 3));
	close(child);
	EXPECT_TRUE(alive_now(self->device, 2, 3, 3));
	munmap(memory, 8 * self->page);
	EXPECT_TRUE(alive_now(self->device, 2, 2, 1));
	close(second);
	EXPECT_TRUE(alive_now(self->device, 1, 1, 1));

	/* The last mapping holds the last handle, and that the region. */
	close(region);
	EXPECT_TRUE(alive_now(self->device, 1, 1, 1));
	EXPECT_EQ(0, read_signal(other));
	munmap(other, 8 * self->page);
	EXPECT_TRUE(alive_soon(self->device, 0, 0, 0));
}

TEST_F(info, counts_follow_processes)
{
	int region = region_create(self->device, variant->kind, 0, 8 * self->page);
	atomic_int *step = shared_page();
	pid_t pid;

	ASSERT_LE(0, region);
	ASSERT_NE(MAP_FAILED, region_map(region, 8 * self->page, PROT_READ | PROT_WRITE));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (handle_derive(region, ISTH_RIGHT_READ) < 0 ||
		    region_map(region, self->page, PROT_READ) == MAP_FAILED)
			_exit(1);
		atomic_store(step, 1);
		pause();
	}
	EXPECT_TRUE(wait_for(step, 1));
	EXPECT_TRUE(alive_now(self->device, 1, 2, 3));
	child_kill(pid);
	EXPECT_TRUE(alive_soon(self->device, 1, 1, 1));

	/* Mappings that a child is not to inherit are not its own. */
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		atomic_store(step, 2);
		pause();
	}
	EXPECT_TRUE(wait_for(step, 2));
	EXPECT_TRUE(alive_now(self->device, 1, 1, 2));
	child_kill(pid);
	close(region);
	EXPECT_TRUE(alive_soon(self->device, 1, 1, 1));
}

/* What failed was never alive. */
TEST_F(info, counts_do_not_follow_errors)
{
	int region = region_create(self->device, variant->kind, 0, self->page);

	ASSERT_LE(0, region);
	EXPECT_EQ(-EINVAL, region_create(self->device, variant->kind, 0, 1));
	EXPECT_EQ(-EFBIG, region_create(self->device, variant->kind, 0, 1ULL << 60));
	EXPECT_EQ(-EINVAL, handle_derive(region, 0));
	EXPECT_EQ(EINVAL, map_error(region, 2 * self->page, PROT_READ));
	EXPECT_EQ(-1, (intptr_t)mmap(NULL, self->page, PROT_READ, MAP_PRIVATE, region, 0));
	EXPECT_TRUE(alive_now(self->device, 1, 1, 0));
	close(region);
}

struct churner {
	int device;
	uint32_t kind;
	uint64_t end;
	unsigned int rounds;
};

static void *churn(void *argument)
{
	struct churner *churner = argument;
	size_t page = page_bytes();
	int region, child;
	void *memory;

	do {
		region = region_create(churner->device, churner->kind, 0, page);
		child = handle_derive(region, RIGHTS_RW);
		memory = region_map(child, page, PROT_READ);
		if (memory == MAP_FAILED)
			return (void *)1;
		close(region);
		munmap(memory, page);
		close(child);
		churner->rounds++;
	} while (now_ms() < churner->end);
	return NULL;
}

TEST_F(info, counts_are_exact_after_many_threads)
{
	struct churner churner[4];
	pthread_t threads[4];
	void *failed;
	int i;

	for (i = 0; i < 4; i++) {
		churner[i] = (struct churner) {
			.device = self->device, .kind = variant->kind, .end = race_end(300)
		};
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, churn, &churner[i]));
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &failed);
		EXPECT_EQ(NULL, failed);
		EXPECT_LT(0, churner[i].rounds);
	}
	EXPECT_TRUE(alive_soon(self->device, 0, 0, 0));
}

/* ---- limits ---- */

TEST_F(info, the_largest_region_is_what_the_parameter_says)
{
	char before[32];
	int large, region;

	if (geteuid())
		SKIP(return, "needs root to set region_size_max_mib");
	ASSERT_LT(0, file_read(size_max_path, before, sizeof(before)));
	large = region_create(self->device, variant->kind, 0, 4 * MIB);
	ASSERT_LE(0, large);
	ASSERT_EQ(0, file_write(size_max_path, "3"));
	EXPECT_EQ(3 * MIB, info_of(self->device).region_size_max);
	region = region_create(self->device, variant->kind, 0, 3 * MIB);
	EXPECT_LE(0, region);
	close(region);
	EXPECT_EQ(-EFBIG, region_create(self->device, variant->kind, 0, 3 * MIB + self->page));
	EXPECT_EQ(-EFBIG, region_create(self->device, variant->kind, 0, 4 * MIB));
	/* What was made before is no smaller. */
	EXPECT_EQ(0, map_error(large, 4 * MIB, PROT_READ | PROT_WRITE));
	close(large);

	/* More than there is, also so much that it overflows, stands for all. */
	ASSERT_EQ(0, file_write(size_max_path, "1000000000"));
	EXPECT_EQ(machine_memory(), info_of(self->device).region_size_max);
	ASSERT_EQ(0, file_write(size_max_path, "18446744073709551615"));
	EXPECT_EQ(machine_memory(), info_of(self->device).region_size_max);
	ASSERT_EQ(0, file_write(size_max_path, "17592186044417"));
	EXPECT_EQ(machine_memory(), info_of(self->device).region_size_max);
	ASSERT_EQ(0, file_write(size_max_path, "0"));
	EXPECT_EQ(machine_memory(), info_of(self->device).region_size_max);
	EXPECT_EQ(-EINVAL, file_write(size_max_path, "much"));
	EXPECT_EQ(-EINVAL, file_write(size_max_path, "-1"));
	EXPECT_EQ(-EINVAL, file_write(handles_max_path, "-1"));
	EXPECT_EQ(0, file_write(size_max_path, before));
}

TEST_F(info, only_root_sets_parameters)
{
	if (!geteuid())
		SKIP(return, "needs an ordinary user; root may");
	EXPECT_EQ(-EACCES, file_write(size_max_path, "1"));
	EXPECT_EQ(-EACCES, file_write(handles_max_path, "1"));
}

/* ---- who may ---- */

TEST_F(info, the_device_belongs_to_its_group)
{
	struct group *group = getgrnam("isthmus");
	struct stat status;

	if (!group)
		SKIP(return, "this machine has no group isthmus");
	ASSERT_EQ(0, stat("/dev/isthmus", &status));
	EXPECT_TRUE(S_ISCHR(status.st_mode));
	EXPECT_EQ(0660, status.st_mode & 07777);
	EXPECT_EQ(0, status.st_uid);
	EXPECT_EQ(group->gr_gid, status.st_gid);
}

/* What a user with these groups gets when opening the device; an errno value or zero. */
static int open_as(gid_t *groups, size_t count)
{
	pid_t pid = child_fork();
	int device;

	if (pid)
		return child_status(pid);
	if (setgroups(count, groups) || setgid(NOBODY) || setuid(NOBODY))
		_exit(255);
	device = device_open();
	_exit(device < 0 ? -device : 0);
}

TEST_F(info, only_the_group_opens_it)
{
	struct stat status;
	gid_t other = 4242;

	if (geteuid())
		SKIP(return, "needs root to become a user outside the group");
	ASSERT_EQ(0, stat("/dev/isthmus", &status));
	EXPECT_EQ(EACCES, open_as(NULL, 0));
	EXPECT_EQ(EACCES, open_as(&other, 1));
	EXPECT_EQ(0, open_as(&status.st_gid, 1));
}

/* Zero when a device descriptor that came by @socket does all it should for an outsider. */
static int use_passed_device(int socket, uint32_t kind)
{
	int device = receive_fd(socket), region;
	size_t page = page_bytes();
	uint8_t *memory;
	char path[64];

	if (device < 0)
		return 1;
	if (info_of(device).abi_version != ISTH_ABI_VERSION)
		return 2;
	region = region_create(device, kind, 0, page);
	if (region < 0)
		return 3;
	memory = region_map(region, page, PROT_READ | PROT_WRITE);
	if (memory == MAP_FAILED)
		return 4;
	if (write_signal(memory, 1) || memory[0] != 1)
		return 5;
	/* It is this descriptor that was given, not the right to open more. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", device);
	return open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 6;
}

TEST_F(info, a_descriptor_that_was_passed_works_for_anyone)
{
	int sockets[2], device;
	pid_t pid;

	if (geteuid())
		SKIP(return, "needs root to become a user outside the group");
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(self->device);
		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(255);
		device = device_open();
		_exit(device == -EACCES ? use_passed_device(sockets[1], variant->kind) : 254);
	}
	ASSERT_EQ(0, send_fd(sockets[0], self->device));
	EXPECT_EQ(0, child_status(pid));
	close(sockets[0]);
	close(sockets[1]);
	EXPECT_TRUE(alive_soon(self->device, 0, 0, 0));
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
