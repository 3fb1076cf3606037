// SPDX-License-Identifier: GPL-2.0-only
/* G9 for regions: who is killed, at any instruction, leaves nothing and harms nobody. */
#include "region_kinds.h"
#include "routes.h"

#include <pthread.h>

REGION_FIXTURE_BOTH(region)
REGION_FIXTURE_ONE(isolated, ISTH_REGION_ISOLATED, 0)
REGION_FIXTURE_ONE(lazy, ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY)

/* Kill @victim(self) at random times, for a while; each time all must come back. */
struct death {
	int device;
	int owner;
	size_t bytes;
	uint32_t kind;
	uint32_t flags;
};

static void kill_loop(struct __test_metadata *_metadata, const char *name,
		      void (*victim)(struct death *death), struct death *death,
		      unsigned int span_us)
{
	uint64_t end = race_end(200), random = random_seed(name);
	int rounds = 0;

	do {
		pid_t pid = child_fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			victim(death);
			/* Over before the kill came: wait for it. */
			pause();
		}
		sleep_us(random_next(&random) % span_us);
		EXPECT_EQ(KILLED_BY(SIGKILL), child_kill(pid));
		rounds++;
	} while (now_ms() < end);
	/* The fixture's own. */
	EXPECT_TRUE(live_settles_above(1, 1, 1))
		TH_LOG("after %d kills", rounds);
}

#define DEATH { \
	.device = self->device, .owner = self->owner, .bytes = self->bytes, \
	.kind = self->kind, .flags = self->flags, \
}

static void create_and_close(struct death *death)
{
	for (;;)
		close(region_create(death->device, death->kind, death->flags, death->bytes));
}

TEST_F(region, killed_while_creating)
{
	struct death death = DEATH;

	death.bytes *= 4;
	kill_loop(_metadata, "creating", create_and_close, &death, 5000);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

TEST_F(lazy, killed_while_creating)
{
	struct death death = DEATH;

	kill_loop(_metadata, "creating lazily", create_and_close, &death, 5000);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

static void derive_a_tree(struct death *death)
{
	int handles[64], i;

	for (;;) {
		handles[0] = handle_derive(death->owner, ISTH_RIGHTS_REGION);
		for (i = 1; i < 64; i++)
			handles[i] = handle_derive(handles[i / 2], ISTH_RIGHTS_REGION);
		for (i = 0; i < 64; i++)
			close(handles[i * 27 % 64]);
	}
}

TEST_F(region, killed_while_deriving)
{
	struct death death = DEATH;

	kill_loop(_metadata, "deriving", derive_a_tree, &death, 5000);
	EXPECT_EQ(0, handle_state(self->owner) & ~ISTH_STATE_LAZY);
}

static void map_and_touch(struct death *death)
{
	size_t page = page_bytes(), i;

	for (;;) {
		int handle = handle_derive(death->owner, RIGHTS_RW);
		uint8_t *memory = region_map(handle, death->bytes, PROT_READ | PROT_WRITE);

		close(handle);
		for (i = 0; i < death->bytes; i += page)
			memory[i] = memory[i];
		munmap(memory + page, page);
		memory = mremap(memory + 2 * page, 2 * page, 2 * page, MREMAP_MAYMOVE);
		munmap(memory, death->bytes - 2 * page);
	}
}

TEST_F(region, killed_while_mapping)
{
	struct death death = DEATH;

	kill_loop(_metadata, "mapping", map_and_touch, &death, 5000);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

TEST_F(lazy, killed_while_mapping)
{
	struct death death = DEATH;

	kill_loop(_metadata, "mapping lazily", map_and_touch, &death, 5000);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

static void revoke_subtrees(struct death *death)
{
	for (;;) {
		int handle = handle_derive(death->owner, ISTH_RIGHTS_REGION);
		int child = handle_derive(handle, RIGHTS_RW);
		uint8_t *memory = region_map(child, death->bytes, PROT_READ | PROT_WRITE);

		memory[0] = memory[0];
		handle_revoke(handle);
		if (read_signal(memory) != SIGBUS)
			abort();
		munmap(memory, death->bytes);
		close(child);
		close(handle);
	}
}

TEST_F(region, killed_while_revoking)
{
	struct death death = DEATH;

	kill_loop(_metadata, "revoking", revoke_subtrees, &death, 8000);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	EXPECT_EQ(0, write_signal(self->memory, self->memory[0]));
}

static void freeze_regions(struct death *death)
{
	for (;;) {
		int handle = region_create(death->device, death->kind, death->flags, death->bytes);
		uint8_t *memory = region_map(handle, death->bytes, PROT_READ | PROT_WRITE);

		memory[0] = 1;
		region_freeze(handle, NULL);
		munmap(memory, death->bytes);
		close(handle);
	}
}

TEST_F(region, killed_while_freezing)
{
	struct death death = DEATH;

	kill_loop(_metadata, "freezing", freeze_regions, &death, 8000);
}

static void fork_with_mappings(struct death *death)
{
	uint8_t *memory = region_map(death->owner, death->bytes, PROT_READ | PROT_WRITE);

	for (;;) {
		pid_t pid = child_fork();

		if (!pid) {
			memory[0] = memory[0];
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
}

TEST_F(region, killed_while_forking)
{
	struct death death = DEATH;

	kill_loop(_metadata, "forking", fork_with_mappings, &death, 8000);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

static void wait_and_be_woken(struct death *death)
{
	pid_t pid = child_fork();

	if (!pid) {
		for (;;)
			region_wake(death->owner, 8, 1);
	}
	for (;;)
		region_wait(death->owner, 8, 0, now_ns() + 1000000);
}

TEST_F(isolated, killed_while_waiting)
{
	struct death death = DEATH;

	memset(self->memory, 0, self->page);
	kill_loop(_metadata, "waiting", wait_and_be_woken, &death, 5000);
	EXPECT_EQ(0, region_wake(self->owner, 8, UINT32_MAX));
}

static void pin_by_uring(struct death *death)
{
	uint8_t *memory = region_map(death->owner, death->bytes, PROT_READ | PROT_WRITE);
	int ends[2];
	struct io_uring ring;

	for (;;) {
		if (!uring_pin(&ring, memory, 2 * page_bytes()))
			io_uring_queue_exit(&ring);
		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
			continue;
		vmsplice_out(ends[1], memory, page_bytes());
		close(ends[0]);
		close(ends[1]);
	}
}

TEST_F(region, killed_while_holding_pages)
{
	struct death death = DEATH;
	const char *missing = uring_missing();

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	kill_loop(_metadata, "holding pages", pin_by_uring, &death, 5000);
	/* Nobody holds a page any more. */
	EXPECT_EQ(0, region_freeze_settled(self->owner));
}

static void send_handles(struct death *death)
{
	int pair[2], i;

	for (;;) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
			continue;
		for (i = 0; i < 8; i++) {
			int handle = handle_derive(death->owner, ISTH_RIGHT_READ);

			send_fd(pair[0], handle);
			close(handle);
		}
		close(receive_fd(pair[1]));
		close(pair[0]);
		close(pair[1]);
	}
}

TEST_F(region, killed_while_sending)
{
	struct death death = DEATH;

	kill_loop(_metadata, "sending", send_handles, &death, 5000);
}

/* ---- what the others notice ---- */

TEST_F(region, peers_of_a_dead_owner_keep_what_they_have)
{
	atomic_int *step = shared_page();
	int pair[2], handle, narrow;
	uint8_t *memory;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		handle = region_create(self->device, self->kind, self->flags, self->bytes);
		memory = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
		fill_pattern(memory, self->bytes, 99);
		send_fd(pair[1], handle_derive(handle, RIGHTS_RW | ISTH_RIGHT_DERIVE));
		atomic_store(step, 1);
		pause();
	}
	handle = receive_fd(pair[0]);
	ASSERT_LE(0, handle);
	ASSERT_TRUE(wait_for(step, 1));
	memory = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_EQ(KILLED_BY(SIGKILL), child_kill(pid));
	EXPECT_EQ(0, pattern_errors(memory, self->bytes, 99));
	fill_pattern(memory, self->bytes, 100);
	narrow = handle_derive(handle, ISTH_RIGHT_READ);
	EXPECT_LE(0, narrow);
	EXPECT_EQ(0, map_error(narrow, self->bytes, PROT_READ));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_EQ(SIGBUS, read_signal(memory));
	munmap(memory, self->bytes);
	close(narrow);
	close(handle);
	close(pair[0]);
	close(pair[1]);
}

TEST_F(region, exec_drops_mappings_and_handles)
{
	char program[16] = "/bin/sleep", seconds[4] = "30";
	char *arguments[3] = { program, seconds };
	char path[64], name[64];
	uint64_t end = now_ms() + 10000;
	ssize_t length;
	pid_t pid;

	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(handle_derive(self->owner, ISTH_RIGHT_READ));
		region_map(handle_derive(self->owner, RIGHTS_RW), self->bytes, PROT_READ);
		execv(program, arguments);
		_exit(1);
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	do {
		length = readlink(path, name, sizeof(name) - 1);
		name[length > 0 ? length : 0] = 0;
	} while (!strstr(name, "sleep") && now_ms() < end);
	EXPECT_TRUE(live_settles_above(1, 1, 1));
	EXPECT_EQ(KILLED_BY(SIGKILL), child_kill(pid));
}

/* ---- killed in the middle of one request ---- */

/**
 * struct scene - one who is about to be killed, and what he was given
 * @death: the fixture's region
 * @victim: a handle of every right; the dying one has no other
 * @step: where he says that he begins
 * @random: of the moments
 */
struct scene {
	struct death death;
	int victim;
	atomic_int *step;
	uint64_t random;
};

static bool scene_begin(struct scene *scene, const struct death *death, const char *name)
{
	scene->death = *death;
	scene->victim = handle_derive(death->owner, ISTH_RIGHTS_REGION);
	scene->step = shared_page();
	scene->random = random_seed(name);
	return scene->victim >= 0 && scene->step;
}

/*
 * Kill a child a random moment after it began to @act. What ended it: anything
 * but SIGKILL is a failure of its own.
 */
static int act_and_die(struct scene *scene, void (*act)(struct scene *scene),
		       unsigned int within_us)
{
	pid_t pid;

	atomic_store(scene->step, 0);
	pid = child_fork();
	if (!pid) {
		close(scene->death.owner);
		act(scene);
		pause();
	}
	if (!wait_for(scene->step, 1)) {
		child_kill(pid);
		return -ETIME;
	}
	sleep_us(random_next(&scene->random) % within_us);
	kill(pid, SIGKILL);
	return child_status_within(pid, 20000);
}

/* What the owner has still works, in every respect. */
static bool owner_works(const struct death *death, const uint8_t *memory)
{
	int child;

	if (handle_state(death->owner) & ISTH_STATE_REVOKED || read_signal(memory))
		return false;
	child = handle_derive(death->owner, ISTH_RIGHT_READ);
	if (child < 0 || map_error(child, death->bytes, PROT_READ) || handle_revoke(child))
		return false;
	close(child);
	return true;
}

/* He revokes what we use: when he is dead that was done, or was not begun. */
static void revoke_once(struct scene *scene)
{
	atomic_store(scene->step, 1);
	handle_revoke(scene->victim);
}

TEST_F(region, killed_while_revoking_us)
{
	struct death death = DEATH;
	struct scene scene;
	uint64_t end = race_end(400);
	uint8_t *memory;

	ASSERT_TRUE(scene_begin(&scene, &death, "revoking us"));
	do {
		memory = region_map(scene.victim, self->bytes, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, (void *)memory);
		EXPECT_EQ(0, read_signal(memory));
		ASSERT_EQ(KILLED_BY(SIGKILL), act_and_die(&scene, revoke_once, 300));
		if (handle_state(scene.victim) & ISTH_STATE_REVOKED) {
			EXPECT_EQ(SIGBUS, read_signal(memory));
			EXPECT_EQ(EKEYREVOKED, map_error(scene.victim, self->page, PROT_READ));
		} else {
			EXPECT_EQ(0, write_signal(memory, *memory));
		}
		/* Whatever he began, this ends it. */
		EXPECT_EQ(0, handle_revoke(scene.victim));
		EXPECT_EQ(SIGBUS, read_signal(memory));
		munmap(memory, self->bytes);
		close(scene.victim);
		scene.victim = handle_derive(self->owner, ISTH_RIGHTS_REGION);
		ASSERT_LE(0, scene.victim);
		ASSERT_TRUE(owner_works(&death, self->memory));
	} while (now_ms() < end);
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	close(scene.victim);
}

/* He freezes while we write: when he is dead all can be written, or nothing. */
static void freeze_once(struct scene *scene)
{
	uint8_t *memory = region_map(scene->victim, scene->death.bytes, PROT_READ | PROT_WRITE);
	size_t offset;

	for (offset = 0; offset < scene->death.bytes; offset += page_bytes())
		write_signal(memory + offset, memory[offset]);
	atomic_store(scene->step, 1);
	region_freeze(scene->victim, NULL);
}

TEST_F(region, killed_while_freezing_us)
{
	struct death death = DEATH;
	uint64_t end = race_end(400);
	struct scene scene;
	uint8_t *memory, byte;
	bool frozen;

	do {
		death.owner = region_create(self->device, self->kind, 0, self->bytes);
		ASSERT_LE(0, death.owner);
		memory = region_map(death.owner, self->bytes, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, (void *)memory);
		ASSERT_EQ(0, madvise(memory, self->bytes, MADV_DONTFORK));
		ASSERT_TRUE(scene_begin(&scene, &death, "freezing us"));
		ASSERT_EQ(KILLED_BY(SIGKILL), act_and_die(&scene, freeze_once, 300));
		byte = memory[self->page];
		frozen = handle_state(death.owner) & ISTH_STATE_FROZEN;
		EXPECT_EQ(frozen ? SIGBUS : 0, write_signal(memory + self->page, byte + 1));
		EXPECT_EQ((uint8_t)(byte + !frozen), memory[self->page]);
		EXPECT_EQ(0, region_freeze_settled(death.owner));
		EXPECT_EQ(SIGBUS, write_signal(memory, 0));
		EXPECT_EQ(0, read_signal(memory));
		munmap(memory, self->bytes);
		munmap(scene.step, self->page);
		close(scene.victim);
		close(death.owner);
		ASSERT_TRUE(live_settles_above(1, 1, 1));
	} while (now_ms() < end);
}

/* A third one reads all the while, through a handle of its own. */
struct bystander {
	uint8_t *memory;
	size_t bytes;
	atomic_int stop;
	unsigned int hurt;
};

static void *go_on(void *argument)
{
	struct bystander *bystander = argument;
	size_t offset = 0;

	do {
		bystander->hurt += read_signal(bystander->memory + offset) != 0;
		offset = (offset + 1000) % bystander->bytes;
	} while (!atomic_load(&bystander->stop));
	return NULL;
}

static void revoke_on(struct scene *scene)
{
	struct death death = scene->death;

	death.owner = scene->victim;
	atomic_store(scene->step, 1);
	revoke_subtrees(&death);
}

TEST_F(region, a_bystander_notices_nothing)
{
	struct bystander bystander = { .memory = self->memory, .bytes = self->bytes };
	struct death death = DEATH;
	struct scene scene;
	uint64_t end = race_end(400);
	pthread_t thread;

	ASSERT_TRUE(scene_begin(&scene, &death, "a bystander"));
	ASSERT_EQ(0, pthread_create(&thread, NULL, go_on, &bystander));
	do {
		ASSERT_EQ(KILLED_BY(SIGKILL), act_and_die(&scene, revoke_on, 5000));
		ASSERT_TRUE(owner_works(&death, self->memory));
		ASSERT_TRUE(live_settles_above(1, 2, 1));
	} while (now_ms() < end);
	atomic_store(&bystander.stop, 1);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, bystander.hurt);
	EXPECT_EQ(0, handle_state(scene.victim));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	close(scene.victim);
}

static void wait_on(struct scene *scene)
{
	atomic_store(scene->step, 1);
	region_wait(scene->victim, 0, 7, 0);
	_exit(1);
}

static void *wait_here(void *argument)
{
	const int *handle = argument;

	return (void *)(intptr_t)region_wait(*handle, 0, 7, 0);
}

/* How many one finds who wakes until @want were woken. */
static int wake_until(int handle, int want)
{
	uint64_t end = now_ms() + 10000;
	int woken = 0, got;

	do {
		got = region_wake(handle, 0, UINT32_MAX);
		woken += got > 0 ? got : 0;
		sleep_us(200);
	} while (woken < want && now_ms() < end);
	return woken;
}

TEST_F(isolated, a_dead_waiter_takes_nobodys_wakeup)
{
	struct death death = DEATH;
	struct scene scene;
	uint64_t end = race_end(400);
	pthread_t thread;
	void *result;
	int i;

	ASSERT_TRUE(scene_begin(&scene, &death, "a dead waiter"));
	*(volatile uint32_t *)self->memory = 7;
	do {
		ASSERT_EQ(0, pthread_create(&thread, NULL, wait_here, &self->owner));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(KILLED_BY(SIGKILL), act_and_die(&scene, wait_on, 2000));
		EXPECT_EQ(1, wake_until(self->owner, 1));
		pthread_join(thread, &result);
		EXPECT_EQ(NULL, result);
		EXPECT_EQ(0, region_wake(self->owner, 0, UINT32_MAX));
		ASSERT_TRUE(live_settles_above(1, 2, 1));
	} while (now_ms() < end);
	close(scene.victim);
}

/* As large a region as this user may make without much ado. */
static uint64_t large(uint32_t kind)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (kind == ISTH_REGION_PAGEABLE || !geteuid() || limit.rlim_cur > 33 << 20)
		return 32 << 20;
	return limit.rlim_cur < 4 << 20 ? 0 : limit.rlim_cur - (1 << 20);
}

static void create_large(struct scene *scene)
{
	atomic_store(scene->step, 1);
	for (;;)
		close(region_create(scene->death.device, scene->death.kind, 0,
				    large(scene->death.kind)));
}

TEST_F(region, killed_while_creating_a_large_one)
{
	struct death death = DEATH;
	struct scene scene;
	uint64_t end = race_end(400);
	int again;

	if (!large(self->kind))
		SKIP(return, "needs 4 MiB of RLIMIT_MEMLOCK");
	ASSERT_TRUE(scene_begin(&scene, &death, "creating a large one"));
	do {
		ASSERT_EQ(KILLED_BY(SIGKILL), act_and_die(&scene, create_large, 50000));
		ASSERT_TRUE(live_settles_above(1, 2, 1));
		/* What was taken of memory and of the user's share came back. */
		again = region_create(self->device, self->kind, 0, large(self->kind));
		ASSERT_LE(0, again);
		close(again);
	} while (now_ms() < end);
	close(scene.victim);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
