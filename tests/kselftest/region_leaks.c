// SPDX-License-Identifier: GPL-2.0-only
/* G10: whatever processes do with regions, and however they end, nothing is left behind. */
#include "isthmus_test.h"

#include <pthread.h>

/* ---- workers that do anything ---- */

#define WORKERS		3
#define THREADS		2
#define HANDLES		12
#define ARENA_PAGES	256

/**
 * struct worker - a thread that makes, maps, narrows, revokes, sends and drops
 * @state: of its random numbers
 * @device: /dev/isthmus
 * @sockets: where workers exchange handles; neither end blocks
 * @handle: what it holds; -1 for nothing
 * @arena: addresses that are its own, all reserved: it maps only there
 * @page: bytes of a page
 * @end: when to stop
 * @alone: no other thread is in this process
 */
struct worker {
	uint64_t state;
	int device;
	int sockets[2];
	int handle[HANDLES];
	uint8_t *arena;
	size_t page;
	uint64_t end;
	bool alone;
};

static uint32_t pick(struct worker *worker, uint32_t count)
{
	return random_next(&worker->state) % count;
}

static int *any_handle(struct worker *worker)
{
	return &worker->handle[pick(worker, HANDLES)];
}

/* Some pages of the arena. */
static uint8_t *any_pages(struct worker *worker, size_t *bytes)
{
	uint32_t pages = 1 + pick(worker, 24);

	*bytes = pages * worker->page;
	return worker->arena + pick(worker, ARENA_PAGES - pages) * worker->page;
}

static void keep(struct worker *worker, int fd)
{
	int *place = any_handle(worker);

	if (fd < 0)
		return;
	if (*place >= 0)
		close(*place);
	*place = fd;
}

static void do_create(struct worker *worker)
{
	uint32_t kind = pick(worker, 2) ? ISTH_REGION_PAGEABLE : ISTH_REGION_ISOLATED;
	uint32_t flags = pick(worker, 3) ? 0 : ISTH_REGION_HOME;
	uint64_t pages = 1 + pick(worker, 24);

	if (kind == ISTH_REGION_PAGEABLE && !pick(worker, 3))
		flags |= ISTH_REGION_LAZY;
	/* Rarely one of more than 2 MiB, which isolated memory has in one piece. */
	if (!pick(worker, 64))
		pages = 520;
	keep(worker, region_create(worker->device, kind, flags, pages * worker->page));
}

static void do_derive(struct worker *worker)
{
	uint32_t rights = ISTH_RIGHT_DERIVE | ISTH_RIGHT_READ | pick(worker, 32);

	keep(worker, handle_derive(*any_handle(worker), rights));
}

static void do_map(struct worker *worker)
{
	int protection = PROT_READ | (pick(worker, 2) ? PROT_WRITE : 0);
	int flags = MAP_SHARED | MAP_FIXED | (pick(worker, 4) ? 0 : MAP_POPULATE);
	off_t offset = (off_t)(pick(worker, 3) * worker->page);
	size_t bytes;
	uint8_t *at = any_pages(worker, &bytes);

	mmap(at, bytes, protection, flags, *any_handle(worker), offset);
}

/* At a home address nothing else is, as long as it is taken away again. */
static void do_map_at_home(struct worker *worker)
{
	int handle = *any_handle(worker);
	struct isth_stat stat;
	uint8_t *memory;

	if (handle_stat(handle, &stat) || !stat.home)
		return;
	memory = region_map(handle, worker->page, PROT_READ);
	if (memory == MAP_FAILED)
		return;
	read_signal(memory);
	if (pick(worker, 8))
		munmap(memory, worker->page);
}

static void do_touch(struct worker *worker)
{
	size_t bytes, offset;
	uint8_t *at = any_pages(worker, &bytes);

	for (offset = 0; offset < bytes; offset += worker->page) {
		if (pick(worker, 2))
			read_signal(at + offset);
		else
			write_signal(at + offset, (uint8_t)offset);
	}
}

/* Take something of the arena away, and keep the addresses. */
static void do_unmap(struct worker *worker)
{
	size_t bytes;
	uint8_t *at = any_pages(worker, &bytes);

	if (worker->alone && pick(worker, 2))
		munmap(at, bytes);
	mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static void do_move(struct worker *worker)
{
	size_t bytes, new_bytes;
	uint8_t *from = any_pages(worker, &bytes), *to = any_pages(worker, &new_bytes);

	if (mremap(from, bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED)
		mmap(from, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		     (worker->alone ? MAP_FIXED : MAP_FIXED_NOREPLACE), -1, 0);
}

static void do_protect(struct worker *worker)
{
	static const int protections[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
	};
	size_t bytes;
	uint8_t *at = any_pages(worker, &bytes);

	mprotect(at, bytes, protections[pick(worker, 4)]);
}

static void do_advise(struct worker *worker)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_REMOVE, MADV_PAGEOUT, MADV_DONTFORK, MADV_DOFORK, MADV_WILLNEED,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLD, MADV_FREE,
	};
	size_t bytes;
	uint8_t *at = any_pages(worker, &bytes);

	madvise(at, bytes, advices[pick(worker, sizeof(advices) / sizeof(advices[0]))]);
}

/* A child that ends by itself, by exec, or by being killed with all it inherited. */
static void do_fork(struct worker *worker)
{
	uint32_t how = pick(worker, 3);
	pid_t pid = child_fork();

	if (pid < 0)
		return;
	if (!pid) {
		do_touch(worker);
		do_unmap(worker);
		handle_revoke(*any_handle(worker));
		if (how == 1)
			execl("/bin/true", "true", NULL);
		if (how == 2)
			pause();
		_exit(0);
	}
	if (how == 2) {
		sleep_us(pick(worker, 2000));
		kill(pid, SIGKILL);
	}
	child_status(pid);
}

static void do_send(struct worker *worker)
{
	int *handle = any_handle(worker);

	if (*handle < 0 || send_fd(worker->sockets[0], *handle))
		return;
	if (pick(worker, 2)) {
		close(*handle);
		*handle = -1;
	}
}

static void do_receive(struct worker *worker)
{
	keep(worker, receive_fd(worker->sockets[1]));
}

static void do_close(struct worker *worker)
{
	int *handle = any_handle(worker);

	if (*handle >= 0)
		close(*handle);
	*handle = -1;
}

static void do_dup(struct worker *worker)
{
	keep(worker, dup(*any_handle(worker)));
}

static void do_revoke(struct worker *worker)
{
	handle_revoke_flags(*any_handle(worker), pick(worker, 2) * ISTH_REVOKE_DESCENDANTS, NULL);
}

static void do_freeze(struct worker *worker)
{
	region_freeze(*any_handle(worker), NULL);
}

static void do_wait(struct worker *worker)
{
	region_wait(*any_handle(worker), 4 * pick(worker, 8), 0,
		    now_ns() + pick(worker, 2000000));
}

static void do_wake(struct worker *worker)
{
	region_wake(*any_handle(worker), 4 * pick(worker, 8), 1);
}

static void do_ask(struct worker *worker)
{
	char path[64], text[1024];
	struct isth_stat stat;
	int handle = *any_handle(worker);

	handle_stat(handle, &stat);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", handle);
	file_read(path, text, sizeof(text));
}

static void (*const doings[])(struct worker *worker) = {
	do_create, do_create, do_derive, do_derive, do_derive, do_map, do_map, do_map, do_map,
	do_map_at_home, do_touch, do_touch, do_touch, do_unmap, do_unmap, do_move, do_protect,
	do_advise, do_fork, do_send, do_receive, do_receive, do_close, do_close, do_dup, do_revoke,
	do_freeze, do_wait, do_wake, do_ask,
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	int i;

	for (i = 0; i < HANDLES; i++)
		worker->handle[i] = -1;
	while (now_ms() < worker->end)
		doings[pick(worker, sizeof(doings) / sizeof(doings[0]))](worker);
	return NULL;
}

static bool worker_begin(struct worker *worker)
{
	worker->page = page_bytes();
	worker->arena = mmap(NULL, ARENA_PAGES * worker->page, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return worker->arena != MAP_FAILED;
}

/* A process of workers. It never cleans up after itself. */
static pid_t workers_start(const struct worker *plan, uint64_t seed)
{
	struct worker workers[THREADS];
	unsigned int count = 1 + seed % THREADS, i;
	pthread_t threads[THREADS];
	pid_t pid = child_fork();

	if (pid)
		return pid;
	for (i = 0; i < count; i++) {
		workers[i] = *plan;
		workers[i].state = seed * THREADS + i;
		workers[i].alone = count == 1;
		if (!worker_begin(&workers[i]))
			_exit(1);
	}
	for (i = 1; i < count; i++)
		if (pthread_create(&threads[i], NULL, work, &workers[i]))
			_exit(2);
	work(&workers[0]);
	for (i = 1; i < count; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

/*
 * Processes come, and are killed or end, for a while; then all of them are gone,
 * and so must be what they made. False when a process failed in another way.
 */
static bool round_of_workers(int device, uint64_t seed, unsigned int ms)
{
	struct worker plan = { .device = device, .end = now_ms() + ms };
	pid_t pids[WORKERS];
	uint64_t state = seed;
	bool good = true;
	int i, status;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, plan.sockets))
		return false;
	for (i = 0; i < WORKERS; i++)
		pids[i] = workers_start(&plan, seed++);
	while (now_ms() < plan.end) {
		sleep_us(1000 + random_next(&state) % 60000);
		i = random_next(&state) % WORKERS;
		status = child_kill(pids[i]);
		good &= status == KILLED_BY(SIGKILL) || !status;
		pids[i] = workers_start(&plan, seed++);
	}
	for (i = 0; i < WORKERS; i++) {
		status = random_next(&state) % 2 ? child_kill(pids[i]) : child_status(pids[i]);
		good &= status == KILLED_BY(SIGKILL) || !status;
	}
	close(plan.sockets[0]);
	close(plan.sockets[1]);
	return good;
}

TEST(anything_that_processes_do)
{
	uint64_t seed = random_seed("anything_that_processes_do");
	int device = device_open(), bystander;
	const size_t bytes = 32 * page_bytes();
	uint64_t end = race_end(2400);
	unsigned int rounds = 0;
	uint8_t *memory;

	ASSERT_LE(0, device);
	bystander = region_create(device, ISTH_REGION_PAGEABLE, 0, bytes);
	ASSERT_LE(0, bystander);
	memory = region_map(bystander, bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	fill_pattern(memory, bytes, seed);
	for (; now_ms() < end; rounds++) {
		ASSERT_TRUE(round_of_workers(device, seed + rounds * 1000, 400))
			TH_LOG("round %u: a worker failed", rounds);
		ASSERT_TRUE(live_settles_above(1, 1, 1))
			TH_LOG("round %u left something behind", rounds);
	}
	/* Nobody but us ever had this one, inherited descriptors apart. */
	EXPECT_EQ(0, pattern_errors(memory, bytes, seed));
	EXPECT_EQ(0, handle_state(bystander));
	munmap(memory, bytes);
	close(bystander);
	close(device);
}

/* ---- one step at a time, so that a leak has a name ---- */

FIXTURE(leak)
{
	int device;
	size_t page;
};

FIXTURE_VARIANT(leak)
{
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(leak, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(leak, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_SETUP(leak)
{
	ASSERT_TRUE(live_settles());
	self->page = page_bytes();
	self->device = device_open();
	ASSERT_LE(0, self->device);
}

FIXTURE_TEARDOWN(leak)
{
	close(self->device);
	EXPECT_TRUE(live_settles());
}

TEST_F(leak, of_a_handle)
{
	close(region_create(self->device, variant->kind, 0, self->page));
}

TEST_F(leak, of_a_mapping)
{
	int region = region_create(self->device, variant->kind, 0, 4 * self->page);
	void *memory = region_map(region, 4 * self->page, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, memory);
	memset(memory, 1, 4 * self->page);
	close(region);
	munmap(memory, 4 * self->page);
}

TEST_F(leak, of_a_revoked_handle)
{
	int region = region_create(self->device, variant->kind, 0, 4 * self->page);
	int child = handle_derive(region, RIGHTS_RW);
	void *memory = region_map(child, 4 * self->page, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, handle_revoke(region));
	close(region);
	close(child);
	munmap(memory, 4 * self->page);
}

TEST_F(leak, of_a_refused_mapping)
{
	int region = region_create(self->device, variant->kind, 0, self->page);
	int reader = handle_derive(region, ISTH_RIGHT_READ);

	EXPECT_EQ(EACCES, map_error(reader, self->page, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EINVAL, map_error(reader, 2 * self->page, PROT_READ));
	EXPECT_EQ(0, handle_revoke(reader));
	EXPECT_EQ(EKEYREVOKED, map_error(reader, self->page, PROT_READ));
	close(reader);
	close(region);
}

/* The size of memory that nobody uses, in KiB. */
static long long free_memory(void)
{
	return file_number("/proc/meminfo", "MemAvailable:");
}

/* Counts may be right while memory is not given back. */
TEST_F(leak, of_memory)
{
	const size_t bytes = 4 << 20;
	long long before;
	int i, region;

	/* Whatever the first few leave in caches stays out of it. */
	for (i = 0; i < 32; i++) {
		if (i == 4)
			before = free_memory();
		region = region_create(self->device, variant->kind, 0, bytes);
		ASSERT_LE(0, region);
		close(region);
	}
	ASSERT_TRUE(live_settles());
	/* 112 MiB were made since; less than a quarter of that may seem missing. */
	for (i = 0; i < 20 && before - free_memory() > 28 << 10; i++)
		sleep_ms(50);
	EXPECT_GT(28 << 10, before - free_memory());
}

/* ---- the module stays while anything of it is in use ---- */

/* Whether an attempt to unload it was refused: to root because it is in use. */
static bool stays(void)
{
	int want = geteuid() ? EPERM : EWOULDBLOCK;

	return syscall(SYS_delete_module, "isthmus", O_NONBLOCK) && errno == want;
}

TEST_F(leak, the_module_stays_while_a_handle_is_open)
{
	int region = region_create(self->device, variant->kind, 0, self->page);
	int sockets[2];

	ASSERT_LE(0, region);
	close(self->device);
	EXPECT_TRUE(stays());
	EXPECT_EQ(0, handle_revoke(region));
	EXPECT_TRUE(stays());
	/* Nor while it is on its way to somebody. */
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	ASSERT_EQ(0, send_fd(sockets[0], region));
	close(region);
	EXPECT_TRUE(stays());
	close(sockets[0]);
	close(sockets[1]);
	self->device = device_open();
	ASSERT_LE(0, self->device);
}

TEST_F(leak, the_module_stays_while_something_is_mapped)
{
	int region = region_create(self->device, variant->kind, 0, self->page);
	uint8_t *memory = region_map(region, self->page, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)memory);
	close(region);
	close(self->device);
	EXPECT_TRUE(stays());
	EXPECT_EQ(0, write_signal(memory, 42));
	EXPECT_EQ(42, memory[0]);
	EXPECT_TRUE(stays());
	munmap(memory, self->page);
	self->device = device_open();
	ASSERT_LE(0, self->device);
}

TEST_F(leak, the_module_stays_while_the_device_is_open)
{
	EXPECT_TRUE(stays());
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
