// SPDX-License-Identifier: GPL-2.0-only
/* WAIT and WAKE on words of an isolated region. */
#include "isthmus_test.h"

#include <pthread.h>

#define BYTES	(4 * page_bytes())
#define SECOND	1000000000ULL

FIXTURE(wait)
{
	int device;
	int owner;
	atomic_uint *word;
};

FIXTURE_SETUP(wait)
{
	ASSERT_TRUE(live_settles());
	self->device = device_open();
	ASSERT_LE(0, self->device);
	self->owner = region_create(self->device, ISTH_REGION_ISOLATED, 0, BYTES);
	ASSERT_LE(0, self->owner);
	self->word = region_map(self->owner, BYTES, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->word);
}

FIXTURE_TEARDOWN(wait)
{
	munmap(self->word, BYTES);
	close(self->owner);
	close(self->device);
}

static uint64_t in_seconds(unsigned int seconds)
{
	return now_ns() + seconds * SECOND;
}

/* Waiting threads: how many have begun, and how each ended. */
struct waiter {
	int handle;
	uint64_t offset;
	uint64_t deadline;
	uint32_t expected;
	pid_t tid;
	atomic_int state;	/* 1: about to wait, 2: over */
	int result;
	pthread_t thread;
};

static void *waiter_run(void *argument)
{
	struct waiter *waiter = argument;

	waiter->tid = (pid_t)syscall(SYS_gettid);
	atomic_store(&waiter->state, 1);
	waiter->result = region_wait(waiter->handle, waiter->offset, waiter->expected,
				     waiter->deadline);
	atomic_store(&waiter->state, 2);
	return NULL;
}

/* Start one and see it asleep. */
static bool waiter_start(struct waiter *waiter, int handle, uint64_t offset, uint32_t expected)
{
	waiter->handle = handle;
	waiter->offset = offset;
	waiter->expected = expected;
	if (!waiter->deadline)
		waiter->deadline = in_seconds(30);
	if (pthread_create(&waiter->thread, NULL, waiter_run, waiter))
		return false;
	return wait_for(&waiter->state, 1) && wait_asleep(waiter->tid);
}

static int waiter_end(struct waiter *waiter)
{
	pthread_join(waiter->thread, NULL);
	return waiter->result;
}

/* ---- one caller ---- */

TEST_F(wait, another_value_is_eagain)
{
	EXPECT_EQ(-EAGAIN, region_wait(self->owner, 0, 1, 0));
	EXPECT_EQ(-EAGAIN, region_wait(self->owner, 4, UINT32_MAX, 1));
	self->word[1] = 7;
	EXPECT_EQ(-EAGAIN, region_wait(self->owner, 4, 0, 0));
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, 4, 7, 1));
	/* The last word of the region, and each page's own. */
	self->word[BYTES / 4 - 1] = 9;
	EXPECT_EQ(-EAGAIN, region_wait(self->owner, BYTES - 4, 0, 0));
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, BYTES - 4, 9, 1));
}

TEST_F(wait, a_deadline_is_kept_and_not_early)
{
	uint64_t begin = now_ns(), deadline = begin + SECOND / 20;

	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, 0, 0, deadline));
	EXPECT_LE(deadline, now_ns());
	EXPECT_GT(begin + 20 * SECOND, now_ns());
	/* A deadline in the past is over at once. */
	begin = now_ns();
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, 0, 0, 1));
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, 0, 0, begin - SECOND));
	EXPECT_GT(begin + 20 * SECOND, now_ns());
}

TEST_F(wait, no_deadline_and_the_furthest_wait_until_woken)
{
	const uint64_t deadlines[] = { UINT64_MAX, (uint64_t)INT64_MAX, (uint64_t)INT64_MAX + 1 };
	size_t i;

	for (i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
		struct waiter waiter = { .deadline = deadlines[i] };

		ASSERT_TRUE(waiter_start(&waiter, self->owner, 0, 0));
		sleep_ms(20);
		EXPECT_EQ(1, atomic_load(&waiter.state));
		EXPECT_EQ(1, region_wake(self->owner, 0, 1));
		EXPECT_EQ(0, waiter_end(&waiter));
	}
}

TEST_F(wait, places_outside_or_askew_are_einval)
{
	const uint64_t bad[] = {
		1, 2, 3, BYTES - 1, BYTES - 2, BYTES, BYTES + 4, 2 * BYTES, 1ULL << 32, 1ULL << 63,
		UINT64_MAX, UINT64_MAX - 3, UINT64_MAX - 7, (uint64_t)-4096,
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, region_wait(self->owner, bad[i], 0, 1))
			TH_LOG("offset %#llx", (unsigned long long)bad[i]);
		EXPECT_EQ(-EINVAL, region_wake(self->owner, bad[i], 1));
	}
}

TEST_F(wait, pageable_regions_have_futexes)
{
	int handle = region_create(self->device, ISTH_REGION_PAGEABLE, 0, BYTES);

	ASSERT_LE(0, handle);
	EXPECT_EQ(-EOPNOTSUPP, region_wait(handle, 0, 0, 1));
	EXPECT_EQ(-EOPNOTSUPP, region_wake(handle, 0, 1));
	close(handle);
}

TEST_F(wait, waking_nobody_wakes_nobody)
{
	EXPECT_EQ(0, region_wake(self->owner, 0, 1));
	EXPECT_EQ(0, region_wake(self->owner, 0, UINT32_MAX));
	EXPECT_EQ(0, region_wake(self->owner, 0, 0));
	/* And is not kept for who waits later. */
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, 0, 0, now_ns() + SECOND / 100));
}

TEST_F(wait, needs_no_mapping)
{
	int handle = region_create(self->device, ISTH_REGION_ISOLATED, 0, BYTES);
	struct waiter waiter = { 0 };

	ASSERT_LE(0, handle);
	EXPECT_EQ(-EAGAIN, region_wait(handle, 8, 1, 0));
	ASSERT_TRUE(waiter_start(&waiter, handle, 8, 0));
	EXPECT_EQ(1, region_wake(handle, 8, 1));
	EXPECT_EQ(0, waiter_end(&waiter));
	close(handle);
}

/* ---- many ---- */

TEST_F(wait, wake_counts_are_exact)
{
	enum { COUNT = 16 };
	struct waiter waiters[COUNT] = { 0 };
	int i, over;

	for (i = 0; i < COUNT; i++)
		ASSERT_TRUE(waiter_start(&waiters[i], self->owner, 64, 0));
	EXPECT_EQ(0, region_wake(self->owner, 64, 0));
	EXPECT_EQ(1, region_wake(self->owner, 64, 1));
	EXPECT_EQ(3, region_wake(self->owner, 64, 3));
	sleep_ms(50);
	for (i = 0, over = 0; i < COUNT; i++)
		over += atomic_load(&waiters[i].state) == 2;
	EXPECT_EQ(4, over);
	EXPECT_EQ(COUNT - 4, region_wake(self->owner, 64, UINT32_MAX));
	EXPECT_EQ(0, region_wake(self->owner, 64, UINT32_MAX));
	for (i = 0; i < COUNT; i++)
		EXPECT_EQ(0, waiter_end(&waiters[i]));
}

TEST_F(wait, who_came_first_is_woken_first)
{
	struct waiter waiters[4] = { 0 };
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_TRUE(waiter_start(&waiters[i], self->owner, 0, 0));
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(1, region_wake(self->owner, 0, 1));
		EXPECT_TRUE(wait_for(&waiters[i].state, 2));
		EXPECT_EQ(0, waiter_end(&waiters[i]));
	}
}

TEST_F(wait, other_words_and_other_regions_are_left_alone)
{
	int other = region_create(self->device, ISTH_REGION_ISOLATED, 0, BYTES);
	struct waiter same = { 0 }, next = { 0 }, page = { 0 }, region = { 0 };

	ASSERT_TRUE(waiter_start(&same, self->owner, 0, 0));
	ASSERT_TRUE(waiter_start(&next, self->owner, 4, 0));
	ASSERT_TRUE(waiter_start(&page, self->owner, page_bytes(), 0));
	ASSERT_TRUE(waiter_start(&region, other, 0, 0));
	EXPECT_EQ(1, region_wake(self->owner, 0, UINT32_MAX));
	EXPECT_EQ(0, waiter_end(&same));
	sleep_ms(20);
	EXPECT_EQ(1, atomic_load(&next.state));
	EXPECT_EQ(1, atomic_load(&page.state));
	EXPECT_EQ(1, atomic_load(&region.state));
	EXPECT_EQ(1, region_wake(self->owner, 4, 1));
	EXPECT_EQ(1, region_wake(self->owner, page_bytes(), 1));
	EXPECT_EQ(1, region_wake(other, 0, 1));
	EXPECT_EQ(0, waiter_end(&next));
	EXPECT_EQ(0, waiter_end(&page));
	EXPECT_EQ(0, waiter_end(&region));
	close(other);
}

TEST_F(wait, another_process_with_another_handle_wakes)
{
	int reader = handle_derive(self->owner, ISTH_RIGHT_READ);
	int writer = handle_derive(self->owner, ISTH_RIGHT_READ | ISTH_RIGHT_WRITE);
	struct waiter waiter = { 0 };
	pid_t pid;

	ASSERT_TRUE(waiter_start(&waiter, reader, 0, 0));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(self->owner);
		close(reader);
		_exit(region_wake(writer, 0, 1));
	}
	EXPECT_EQ(1, child_status(pid));
	EXPECT_EQ(0, waiter_end(&waiter));
	close(reader);
	close(writer);
}

/* ---- none is lost ---- */

/* Two processes pass a number to and fro; one lost wake-up and they stand still. */
static int ping_pong(int handle, atomic_uint *word, uint32_t me, uint64_t end)
{
	int rounds = 0, result;

	/* However slow the machine: some rounds at least. */
	while (now_ms() < end || rounds < 20 || me != (atomic_load(word) & 1)) {
		uint32_t value = atomic_load(word);

		if (value & 0x80000000)
			return rounds;
		if ((value & 1) != me) {
			result = region_wait(handle, 0, value, in_seconds(20));
			if (result && result != -EAGAIN)
				return result;
			continue;
		}
		atomic_store(word, (value + 1) & 0x7FFFFFFF);
		region_wake(handle, 0, 1);
		rounds++;
	}
	atomic_fetch_or(word, 0x80000000);
	region_wake(handle, 0, UINT32_MAX);
	return rounds;
}

TEST_F(wait, no_wake_up_is_lost_between_two_processes)
{
	uint64_t end = race_end(700);
	pid_t pid = child_fork();
	int rounds;

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(ping_pong(self->owner, self->word, 1, end) > 10 ? 0 : 1);
	rounds = ping_pong(self->owner, self->word, 0, end);
	EXPECT_LT(10, rounds);
	EXPECT_EQ(0, child_status(pid));
	TH_LOG("%d rounds", rounds);
}

struct storm {
	int handle;
	atomic_int *stop;
	long woken;
	long timed_out;
	long other;
};

static void *storm_waiter(void *argument)
{
	struct storm *storm = argument;

	while (!atomic_load(storm->stop)) {
		int result = region_wait(storm->handle, 0, 0, now_ns() + 200000);

		storm->woken += result == 0;
		storm->timed_out += result == -ETIMEDOUT;
		storm->other += result != 0 && result != -ETIMEDOUT;
	}
	return NULL;
}

TEST_F(wait, a_waiter_is_woken_or_timed_out_never_both)
{
	uint64_t end = race_end(500);
	struct storm storms[3] = { 0 };
	pthread_t threads[3];
	atomic_int stop = 0;
	long sent = 0, received = 0, timed_out = 0;
	int i;

	for (i = 0; i < 3; i++) {
		storms[i].handle = self->owner;
		storms[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, storm_waiter, &storms[i]));
	}
	while (now_ms() < end)
		sent += region_wake(self->owner, 0, 2);
	atomic_store(&stop, 1);
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		received += storms[i].woken;
		timed_out += storms[i].timed_out;
		EXPECT_EQ(0, storms[i].other);
	}
	EXPECT_LT(0, sent);
	EXPECT_EQ(sent, received);
	TH_LOG("%ld woken, %ld timed out", received, timed_out);
}

/* ---- signals and death ---- */

static atomic_int signals;

static void count_signal(int number)
{
	(void)number;
	atomic_fetch_add(&signals, 1);
}

static void on_signal(int flags)
{
	struct sigaction action = { .sa_handler = count_signal, .sa_flags = flags };

	sigaction(SIGUSR1, &action, NULL);
}

TEST_F(wait, a_signal_interrupts)
{
	struct waiter waiter = { 0 };

	on_signal(0);
	ASSERT_TRUE(waiter_start(&waiter, self->owner, 0, 0));
	pthread_kill(waiter.thread, SIGUSR1);
	EXPECT_EQ(-EINTR, waiter_end(&waiter));
	EXPECT_EQ(1, atomic_load(&signals));
	EXPECT_EQ(0, region_wake(self->owner, 0, 1));
}

TEST_F(wait, sa_restart_waits_on)
{
	struct waiter waiter = { 0 };
	int i;

	on_signal(SA_RESTART);
	ASSERT_TRUE(waiter_start(&waiter, self->owner, 0, 0));
	for (i = 1; i <= 3; i++) {
		pthread_kill(waiter.thread, SIGUSR1);
		EXPECT_TRUE(wait_for(&signals, i));
		ASSERT_TRUE(wait_asleep(waiter.tid));
	}
	EXPECT_EQ(1, atomic_load(&waiter.state));
	EXPECT_EQ(1, region_wake(self->owner, 0, 1));
	EXPECT_EQ(0, waiter_end(&waiter));
}

TEST_F(wait, a_restarted_wait_keeps_its_deadline)
{
	struct waiter waiter = { .deadline = now_ns() + SECOND };
	uint64_t deadline = waiter.deadline;

	on_signal(SA_RESTART);
	ASSERT_TRUE(waiter_start(&waiter, self->owner, 0, 0));
	while (atomic_load(&waiter.state) == 1 && now_ns() < deadline + 20 * SECOND) {
		pthread_kill(waiter.thread, SIGUSR1);
		sleep_ms(5);
	}
	EXPECT_EQ(-ETIMEDOUT, waiter_end(&waiter));
	EXPECT_LE(deadline, now_ns());
	EXPECT_GT(deadline + 20 * SECOND, now_ns());
	EXPECT_LT(5, atomic_load(&signals));
}

TEST_F(wait, stopping_and_continuing_does_not_end_it)
{
	atomic_int *step = shared_page();
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		atomic_store(step, 1);
		_exit(-region_wait(self->owner, 0, 0, in_seconds(20)));
	}
	ASSERT_TRUE(wait_for(step, 1));
	ASSERT_TRUE(wait_asleep(pid));
	kill(pid, SIGSTOP);
	while (process_state(pid) != 'T')
		sleep_ms(1);
	kill(pid, SIGCONT);
	ASSERT_TRUE(wait_asleep(pid));
	EXPECT_EQ(1, region_wake(self->owner, 0, 1));
	EXPECT_EQ(0, child_status(pid));
}

TEST_F(wait, a_killed_waiter_leaves_the_queue)
{
	atomic_int *step = shared_page();
	int round;

	for (round = 0; round < 10; round++) {
		struct waiter waiter = { 0 };
		pid_t pid;

		atomic_store(step, 0);
		pid = child_fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			atomic_store(step, 1);
			_exit(-region_wait(self->owner, 0, 0, 0));
		}
		ASSERT_TRUE(wait_for(step, 1));
		ASSERT_TRUE(wait_asleep(pid));
		ASSERT_TRUE(waiter_start(&waiter, self->owner, 0, 0));
		EXPECT_EQ(KILLED_BY(SIGKILL), child_kill(pid));
		/* One wake-up must reach the living, not the dead before it. */
		EXPECT_EQ(1, region_wake(self->owner, 0, 1));
		EXPECT_EQ(0, waiter_end(&waiter));
	}
}

TEST_F(wait, closing_the_descriptor_does_not_disturb)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	struct waiter waiter = { 0 };

	ASSERT_TRUE(waiter_start(&waiter, handle, 0, 0));
	close(handle);
	sleep_ms(10);
	EXPECT_EQ(1, atomic_load(&waiter.state));
	EXPECT_EQ(1, region_wake(self->owner, 0, 1));
	EXPECT_EQ(0, waiter_end(&waiter));
}

TEST_F(wait, revoking_wakes_with_the_error)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	struct waiter waiters[4] = { 0 };
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_TRUE(waiter_start(&waiters[i], handle, (uint64_t)i * 8, 0));
	EXPECT_EQ(0, handle_revoke(handle));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(-EKEYREVOKED, waiter_end(&waiters[i]));
	EXPECT_EQ(0, region_wake(self->owner, 0, UINT32_MAX));
	close(handle);
}

TEST_F(wait, revoke_racing_wait_never_leaves_one_asleep)
{
	uint64_t end = race_end(400);

	do {
		int handle = handle_derive(self->owner, RIGHTS_RW);
		struct waiter waiter = {
			.handle = handle, .deadline = in_seconds(20),
		};

		ASSERT_LE(0, handle);
		ASSERT_EQ(0, pthread_create(&waiter.thread, NULL, waiter_run, &waiter));
		while (!atomic_load(&waiter.state))
			;
		EXPECT_EQ(0, handle_revoke(handle));
		EXPECT_EQ(-EKEYREVOKED, waiter_end(&waiter));
		close(handle);
	} while (now_ms() < end);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
