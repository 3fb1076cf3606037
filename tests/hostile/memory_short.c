// SPDX-License-Identifier: GPL-2.0-only
/* Memory short: RLIMIT_MEMLOCK, a memory cgroup, and a fault at every allocation in turn. */
#include "hostile.h"
#include "cgroup.h"

#define KIB	(1ULL << 10)
#define MIB	(1ULL << 20)
#define SEED	0x50F7

static bool live_now(int device, unsigned int regions, unsigned int handles,
		     unsigned int mappings)
{
	struct isth_info info;

	return !device_info(device, &info) && live_is(&info, regions, handles, mappings);
}

/* ---- RLIMIT_MEMLOCK ---- */

FIXTURE(locked)
{
	int device;
	size_t page;
};

/* An ordinary user with 64 KiB, in a process of its own. */
FIXTURE_SETUP(locked)
{
	struct rlimit limit = { .rlim_cur = 64 * KIB, .rlim_max = 64 * KIB };

	self->page = page_bytes();
	self->device = device_open();
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, become_nobody());
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	ASSERT_TRUE(live_settles_by(self->device));
}

FIXTURE_TEARDOWN(locked)
{
	EXPECT_TRUE(live_settles_by(self->device));
	close(self->device);
}

TEST_F(locked, isolated_memory_counts_to_the_page)
{
	int some, rest;

	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0,
					 64 * KIB + self->page));
	some = region_create(self->device, ISTH_REGION_ISOLATED, 0, 48 * KIB);
	ASSERT_LE(0, some);
	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0,
					 16 * KIB + self->page));
	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0, 1 * MIB));
	rest = region_create(self->device, ISTH_REGION_ISOLATED, 0, 16 * KIB);
	ASSERT_LE(0, rest);
	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0, self->page));
	EXPECT_TRUE(live_now(self->device, 2, 2, 0));
	/* Deriving and mapping take no more, and nothing is given back too soon. */
	close(handle_derive(some, RIGHTS_RW));
	EXPECT_EQ(0, map_error(some, 48 * KIB, PROT_READ | PROT_WRITE));
	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0, self->page));
	EXPECT_EQ(0, handle_revoke(rest));
	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0, self->page));
	close(rest);
	rest = region_create(self->device, ISTH_REGION_ISOLATED, 0, 16 * KIB);
	EXPECT_LE(0, rest);
	close(rest);
	close(some);
}

TEST_F(locked, processes_of_a_user_share_it)
{
	int region = region_create(self->device, ISTH_REGION_ISOLATED, 0, 48 * KIB), other;
	pid_t pid;

	ASSERT_LE(0, region);
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		other = region_create(self->device, ISTH_REGION_ISOLATED, 0, 32 * KIB);
		if (other != -EDQUOT)
			_exit(1);
		other = region_create(self->device, ISTH_REGION_ISOLATED, 0, 16 * KIB);
		_exit(other < 0 ? 2 : 0);
	}
	EXPECT_EQ(0, child_status(pid));
	/* What the child had came back with its end. */
	other = region_create(self->device, ISTH_REGION_ISOLATED, 0, 16 * KIB);
	EXPECT_LE(0, other);
	close(other);
	close(region);
}

/* The region counts until the last of all that have it lets go. */
TEST_F(locked, a_mapping_keeps_it_counted)
{
	int region = region_create(self->device, ISTH_REGION_ISOLATED, 0, 64 * KIB);
	void *memory = region_map(region, self->page, PROT_READ);

	ASSERT_NE(MAP_FAILED, memory);
	close(region);
	EXPECT_EQ(-EDQUOT, region_create(self->device, ISTH_REGION_ISOLATED, 0, self->page));
	munmap(memory, self->page);
	EXPECT_TRUE(live_settles_by(self->device));
	region = region_create(self->device, ISTH_REGION_ISOLATED, 0, 64 * KIB);
	EXPECT_LE(0, region);
	close(region);
}

TEST_F(locked, pageable_memory_does_not_count)
{
	int region = region_create(self->device, ISTH_REGION_PAGEABLE, 0, 1 * MIB);

	EXPECT_LE(0, region);
	close(region);
}

TEST(a_privileged_user_is_exempt)
{
	struct rlimit limit = { .rlim_cur = 0, .rlim_max = 0 };
	int device = device_open(), region;

	if (geteuid())
		SKIP(return, "needs root, who has CAP_IPC_LOCK");
	ASSERT_LE(0, device);
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	region = region_create(device, ISTH_REGION_ISOLATED, 0, 1 * MIB);
	EXPECT_LE(0, region);
	close(region);
	close(device);
}

/* ---- memory cgroup ---- */

#define GROUP_LIMIT	(24 * MIB)

FIXTURE(grouped)
{
	struct cgroup group;
	int device;
};

FIXTURE_VARIANT(grouped)
{
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(grouped, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(grouped, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_SETUP(grouped)
{
	const char *missing;
	struct rlimit limit;

	self->device = device_open();
	ASSERT_LE(0, self->device);
	missing = cgroup_make(&self->group, GROUP_LIMIT);
	/* Returning would let the test begin. */
	if (missing)
		SKIP(_exit(255), "%s", missing);
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (geteuid() && variant->kind == ISTH_REGION_ISOLATED &&
	    limit.rlim_cur < 4 * GROUP_LIMIT) {
		cgroup_remove(&self->group);
		SKIP(_exit(255), "RLIMIT_MEMLOCK stops this user before the cgroup does");
	}
}

FIXTURE_TEARDOWN(grouped)
{
	close(self->device);
	cgroup_remove(&self->group);
}

/* In the group: too much is refused, and what was begun of it given back; enough works. */
static int in_the_group(const struct cgroup *group, int device, uint32_t kind)
{
	int round, region, status = 0;
	uint8_t *memory;
	size_t offset;

	if (cgroup_enter(group))
		return 1;
	for (round = 0; round < 3 && !status; round++) {
		region = region_create(device, kind, 0, 4 * GROUP_LIMIT);
		if (region != -ENOMEM)
			return 2;
		region = region_create(device, kind, 0, GROUP_LIMIT / 4);
		if (region < 0)
			return 3;
		memory = region_map(region, GROUP_LIMIT / 4, PROT_READ | PROT_WRITE);
		if (memory == MAP_FAILED)
			return 4;
		for (offset = 0; offset < GROUP_LIMIT / 4; offset += page_bytes())
			if (write_signal(memory + offset, 1))
				status = 5;
		munmap(memory, GROUP_LIMIT / 4);
		close(region);
	}
	return status;
}

TEST_F(grouped, a_full_cgroup_is_enomem_and_kills_nobody)
{
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(in_the_group(&self->group, self->device, variant->kind));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(0, cgroup_read(&self->group, "memory.events", "oom_kill "));
	/* It was this limit that stopped it. */
	EXPECT_LT(0, cgroup_read(&self->group, "memory.events", "max "));
	EXPECT_TRUE(live_settles_by(self->device));
}

/* Many regions fill the group until one more is refused; none that exists is hurt. */
static int fill_the_group(const struct cgroup *group, int device, uint32_t kind)
{
	const size_t bytes = 1 * MIB;
	uint8_t *memory[64];
	int count, status = 0, region = 0;
	size_t offset;

	if (cgroup_enter(group))
		return 1;
	for (count = 0; count < 64; count++) {
		region = region_create(device, kind, 0, bytes);
		if (region < 0)
			break;
		memory[count] = region_map(region, bytes, PROT_READ | PROT_WRITE);
		close(region);
		if (memory[count] == MAP_FAILED)
			break;
	}
	if (region != -ENOMEM || count < 4)
		return 2;
	/* Page tables count too: touch only some of what was promised. */
	while (count--)
		for (offset = 0; offset < bytes; offset += 64 * page_bytes())
			if (read_signal(memory[count] + offset))
				status = 3;
	return status;
}

TEST_F(grouped, regions_that_exist_survive_a_full_cgroup)
{
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(fill_the_group(&self->group, self->device, variant->kind));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_TRUE(live_settles_by(self->device));
}

/* ---- a fault at every allocation, and at every copy from and to user space ---- */

static const char *const capabilities[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

/* Write one setting of a fault capability; those that one does not have are no matter. */
static void fault_setting(const char *capability, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", capability, name);
	(void)file_write(path, value);
}

/* The module's bytes of memory, from /proc/modules; 0 without. */
static unsigned long module_bytes(void)
{
	static char text[65536];
	char *line;

	if (file_read("/proc/modules", text, sizeof(text)) < 0)
		return 0;
	line = strstr(text, "isthmus ");
	return line ? strtoul(line + strlen("isthmus "), NULL, 10) : 0;
}

/* Only what is called by the module fails. NULL, or why faults cannot be injected. */
static const char *faults_prepare(void)
{
	char text[64], start[64], end[64];
	unsigned long address;
	unsigned int i;

	if (geteuid())
		return "needs root to inject faults";
	if (access("/proc/self/fail-nth", W_OK) || access("/sys/kernel/debug/failslab", X_OK))
		return "this kernel injects no faults; the debug kernel does";
	if (access("/sys/kernel/debug/failslab/require-start", W_OK))
		return "this kernel cannot limit faults to a module";
	if (file_read("/sys/module/isthmus/sections/.text", text, sizeof(text)) <= 0)
		return "does not know where the module's code is";
	address = strtoul(text, NULL, 16);
	snprintf(start, sizeof(start), "0x%lx", address);
	snprintf(end, sizeof(end), "0x%lx", address + module_bytes());
	for (i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		fault_setting(capabilities[i], "require-start", start);
		fault_setting(capabilities[i], "require-end", end);
		fault_setting(capabilities[i], "stacktrace-depth", "32");
		fault_setting(capabilities[i], "verbose", "0");
		fault_setting(capabilities[i], "ignore-gfp-wait", "N");
		fault_setting(capabilities[i], "ignore-gfp-highmem", "N");
		fault_setting(capabilities[i], "min-order", "0");
	}
	return NULL;
}

/**
 * struct fault - one place to fail at a time
 * @device: /dev/isthmus
 * @nth: descriptor of this thread's fail-nth
 * @kind: of the regions
 * @region: a region that is there already, with a pattern in it
 * @memory: its mapping
 * @bytes: its size
 * @failed: whether a fault was injected into the last request
 */
struct fault {
	int device;
	int nth;
	uint32_t kind;
	int region;
	uint8_t *memory;
	size_t bytes;
	bool failed;
};

static bool fault_arm(struct fault *fault, unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	return pwrite(fault->nth, text, (size_t)length, 0) == length;
}

/* Disarm; whether the fault came. What is left to count down says that it did not. */
static void fault_disarm(struct fault *fault)
{
	char text[16] = "";

	fault->failed = pread(fault->nth, text, sizeof(text) - 1, 0) > 0 && !strtol(text, NULL, 10);
	if (!fault_arm(fault, 0))
		fault->failed = false;
}

/* One attempt at something, with the n-th fault armed around the request itself. */
typedef int (*trial_fn)(struct fault *fault, unsigned int n);

static int try_request(struct fault *fault, unsigned int n, int fd, unsigned long code,
		       void *structure)
{
	int result;

	fault_arm(fault, n);
	result = request(fd, code, structure);
	fault_disarm(fault);
	return result;
}

static int try_create(struct fault *fault, unsigned int n, uint64_t size)
{
	struct isth_region_create create = {
		.kind = fault->kind, .size = size
	};
	int region = try_request(fault, n, fault->device, ISTH_REGION_CREATE, &create);
	uint8_t *memory;
	int error = 0;

	if (region < 0)
		return region;
	/* It says that it is there, so all of it must be. */
	memory = region_map(region, size, PROT_READ | PROT_WRITE);
	if (memory == MAP_FAILED || !all_zero(memory, size))
		error = -EIO;
	else
		fill_pattern(memory, size, SEED);
	if (!error && pattern_errors(memory, size, SEED))
		error = -EIO;
	munmap(memory, size);
	close(region);
	return error;
}

static int trial_create(struct fault *fault, unsigned int n)
{
	return try_create(fault, n, 4 * page_bytes());
}

/* More than 2 MiB, which isolated memory has in one piece if it can. */
static int trial_create_large(struct fault *fault, unsigned int n)
{
	return try_create(fault, n, 2 * MIB + page_bytes());
}

static int trial_info(struct fault *fault, unsigned int n)
{
	struct isth_info info = { 0 };

	return try_request(fault, n, fault->device, ISTH_INFO, &info);
}

static int trial_stat(struct fault *fault, unsigned int n)
{
	struct isth_stat stat = { 0 };
	int error = try_request(fault, n, fault->region, ISTH_STAT, &stat);

	return error ? error : stat.size == fault->bytes ? 0 : -EIO;
}

static int trial_derive(struct fault *fault, unsigned int n)
{
	struct isth_derive derive = { .rights = RIGHTS_RW };
	int child = try_request(fault, n, fault->region, ISTH_DERIVE, &derive);

	if (child < 0)
		return child;
	if (handle_rights(child) != RIGHTS_RW)
		return -EIO;
	close(child);
	return 0;
}

static int trial_revoke(struct fault *fault, unsigned int n)
{
	int child = handle_derive(fault->region, RIGHTS_RW), error;
	struct isth_revoke revoke = { 0 };
	uint8_t *memory = region_map(child, fault->bytes, PROT_READ | PROT_WRITE);

	if (memory == MAP_FAILED)
		return -EIO;
	read_signal(memory);
	error = try_request(fault, n, child, ISTH_REVOKE, &revoke);
	/* What it says and what is must agree. */
	if (!error && (revoke.handles != 1 || read_signal(memory) != SIGBUS))
		error = -EIO;
	if (handle_state(child) & ISTH_STATE_REVOKED && read_signal(memory) != SIGBUS)
		error = -EIO;
	munmap(memory, fault->bytes);
	close(child);
	return error;
}

static int trial_freeze(struct fault *fault, unsigned int n)
{
	int region = region_create(fault->device, fault->kind, 0, fault->bytes);
	uint8_t *memory = region_map(region, fault->bytes, PROT_READ | PROT_WRITE);
	struct isth_freeze freeze = { 0 };
	int error;

	if (memory == MAP_FAILED)
		return -EIO;
	memset(memory, 1, fault->bytes);
	error = try_request(fault, n, region, ISTH_FREEZE, &freeze);
	if (handle_state(region) & ISTH_STATE_FROZEN) {
		if (write_signal(memory, 2) != SIGBUS || *memory != 1)
			error = -EIO;
	} else if (!error || write_signal(memory, 2)) {
		error = -EIO;
	}
	/* Pages that could not be got back from a CPU's list count as held. */
	if (error == -EBUSY)
		error = freeze.pinned_pages ? -ENOMEM : -EIO;
	munmap(memory, fault->bytes);
	close(region);
	return error;
}

static int trial_wait(struct fault *fault, unsigned int n)
{
	struct isth_wait wait = { .expected = *(uint32_t *)fault->memory, .deadline = 1 };
	int error = try_request(fault, n, fault->region, ISTH_WAIT, &wait);

	return error == -ETIMEDOUT || error == -EOPNOTSUPP ? 0 : error ? error : -EIO;
}

static int trial_wake(struct fault *fault, unsigned int n)
{
	struct isth_wake wake = { .count = 1 };
	int error = try_request(fault, n, fault->region, ISTH_WAKE, &wake);

	return error == -EOPNOTSUPP ? 0 : error;
}

/* Far from all else, so that page tables are needed. */
static int trial_map_and_touch(struct fault *fault, unsigned int n)
{
	uint8_t *memory;
	int error = 0;

	fault_arm(fault, n);
	memory = mmap((void *)0x350000000000, fault->bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE, fault->region, 0);
	if (memory == MAP_FAILED)
		error = -errno;
	/* A fault that finds no memory for a page table is taken again. */
	else if (read_signal(memory) || write_signal(memory, *memory))
		error = -EIO;
	fault_disarm(fault);
	if (!error && pattern_errors(memory, fault->bytes, SEED))
		error = -EIO;
	if (memory != MAP_FAILED)
		munmap(memory, fault->bytes);
	return error;
}

/* A page of a lazy region for which there is no memory right now. */
static int trial_touch_lazy(struct fault *fault, unsigned int n)
{
	int region = region_create(fault->device, ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY,
				   fault->bytes);
	uint8_t *memory = region_map(region, fault->bytes, PROT_READ | PROT_WRITE);
	int signal_number, error = 0;

	if (memory == MAP_FAILED)
		return -EIO;
	fault_arm(fault, n);
	signal_number = write_signal(memory, 1);
	fault_disarm(fault);
	/* That time, perhaps; never for good. */
	if (signal_number && signal_number != SIGBUS)
		error = -EIO;
	if (write_signal(memory, 1) || *memory != 1)
		error = -EIO;
	munmap(memory, fault->bytes);
	close(region);
	return error;
}

FIXTURE(injected)
{
	struct fault fault;
};

FIXTURE_VARIANT(injected)
{
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(injected, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(injected, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_SETUP(injected)
{
	const char *missing = faults_prepare();
	struct fault *fault = &self->fault;

	if (missing)
		SKIP(_exit(255), "%s", missing);
	fault->kind = variant->kind;
	fault->device = device_open();
	ASSERT_LE(0, fault->device);
	fault->bytes = 8 * page_bytes();
	fault->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fault->nth);
	fault->region = region_create(fault->device, variant->kind, 0, fault->bytes);
	ASSERT_LE(0, fault->region);
	fault->memory = region_map(fault->region, fault->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)fault->memory);
	fill_pattern(fault->memory, fault->bytes, SEED);
}

FIXTURE_TEARDOWN(injected)
{
	close(self->fault.nth);
	munmap(self->fault.memory, self->fault.bytes);
	close(self->fault.region);
	EXPECT_TRUE(live_settles_by(self->fault.device));
	close(self->fault.device);
}

/* Whether what has happened left all as it was. */
static bool unharmed(const struct fault *fault)
{
	uint64_t end = now_ms() + 5000;

	while (!live_now(fault->device, 1, 1, 1))
		if (now_ms() > end)
			return false;
	return !pattern_errors(fault->memory, fault->bytes, SEED) &&
	       !(handle_state(fault->region) & ~ISTH_STATE_LAZY);
}

static bool error_is_clean(int error)
{
	return !error || error == -ENOMEM || error == -EFAULT || error == -ENFILE;
}

/*
 * Fail at the first place, the second, and so on, until a trial has fewer. The
 * number of faults that were injected; none means that this test tested nothing.
 */
static unsigned int fail_everywhere(struct __test_metadata *_metadata, struct fault *fault,
				    const char *name, trial_fn trial)
{
	unsigned int n, errors = 0;
	int error;

	for (n = 1; n < 5000; n++) {
		error = trial(fault, n);
		errors += error != 0;
		EXPECT_TRUE(error_is_clean(error))
			TH_LOG("%s: fault %u gave %d", name, n, error);
		EXPECT_TRUE(unharmed(fault))
			TH_LOG("%s: fault %u (%d) did harm", name, n, error);
		if (!fault->failed) {
			/* Without a fault there is no error. */
			EXPECT_EQ(0, error);
			break;
		}
		if (!_metadata->passed)
			break;
	}
	TH_LOG("%s: %u places, %u errors", name, n - 1, errors);
	EXPECT_GT(5000, n);
	return n - 1;
}

TEST_F(injected, a_fault_at_every_place_of_every_request)
{
	static const struct {
		const char *name;
		trial_fn trial;
	} trials[] = {
		{ "info", trial_info }, { "create", trial_create },
		{ "create large", trial_create_large }, { "stat", trial_stat },
		{ "derive", trial_derive }, { "revoke", trial_revoke },
		{ "freeze", trial_freeze }, { "wait", trial_wait }, { "wake", trial_wake },
	};
	unsigned int i;

	for (i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		EXPECT_LT(0, fail_everywhere(_metadata, &self->fault, trials[i].name,
					     trials[i].trial));
	}
}

/* Of what touching a page takes, only this much is allocated by the module. */
TEST_F(injected, a_fault_at_every_place_of_touching_a_page)
{
	trial_fn trial = variant->kind == ISTH_REGION_ISOLATED ? trial_map_and_touch :
								 trial_touch_lazy;

	EXPECT_LT(0, fail_everywhere(_metadata, &self->fault, "touch", trial));
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
