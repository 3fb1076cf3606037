// SPDX-License-Identifier: GPL-2.0-only
/* G3: when FREEZE returns, the content never changes again; EBUSY changes nothing. -luring. */
#include "region_kinds.h"
#include "routes.h"
#include "writers.h"

#include <linux/futex.h>
#include <pthread.h>

REGION_FIXTURE_BOTH(region)
REGION_FIXTURE_ONE(pageable, ISTH_REGION_PAGEABLE, 0)
REGION_FIXTURE_ONE(isolated, ISTH_REGION_ISOLATED, 0)
REGION_FIXTURE_ONE(lazy, ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY)

/* Every page reads as filled and no page can be written: SIGBUS, as documented. */
static bool is_frozen(uint8_t *memory, size_t bytes)
{
	size_t offset, page = page_bytes();

	if (pattern_errors(memory, bytes, REGION_SEED))
		return false;
	for (offset = 0; offset < bytes; offset += page) {
		if (write_signal(memory + offset + 7, 0xEE) != SIGBUS)
			return false;
		if (probe.code != BUS_ADRERR || probe.address != memory + offset + 7)
			return false;
	}
	return !pattern_errors(memory, bytes, REGION_SEED);
}

static bool is_writable(uint8_t *memory, size_t bytes)
{
	size_t offset, page = page_bytes();

	for (offset = 0; offset < bytes; offset += page)
		if (write_signal(memory + offset, memory[offset]))
			return false;
	return true;
}

/* ---- who had it mapped writable ---- */

TEST_F(region, a_writable_mapping_becomes_read_only)
{
	uint64_t pinned = 1;

	ASSERT_TRUE(is_writable(self->memory, self->bytes));
	EXPECT_EQ(0, region_freeze(self->owner, &pinned));
	EXPECT_EQ(0, pinned);
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	EXPECT_EQ(ISTH_STATE_FROZEN, handle_state(self->owner) & ISTH_STATE_FROZEN);
}

TEST_F(region, an_untouched_writable_mapping_is_read_only)
{
	uint8_t *second = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)second);
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_TRUE(is_frozen(second, self->bytes));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	munmap(second, self->bytes);
}

TEST_F(region, a_mapping_that_was_only_read_is_read_only)
{
	uint8_t *second = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)second);
	/* Mapped by a read fault, so the write is a fault of another kind. */
	ASSERT_EQ(0, pattern_errors(second, self->bytes, REGION_SEED));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_TRUE(is_frozen(second, self->bytes));
	munmap(second, self->bytes);
}

TEST_F(region, dropping_and_refaulting_does_not_thaw)
{
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	(void)!madvise(self->memory, self->bytes, MADV_DONTNEED);
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	(void)!madvise(self->memory, self->bytes, 23 /* MADV_POPULATE_WRITE */);
	(void)!madvise(self->memory, self->bytes, MADV_REMOVE);
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
}

TEST_F(region, other_processes_lose_writing_and_keep_reading)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	atomic_int *step = shared_page();
	pid_t pids[2];
	int i;

	ASSERT_LE(0, handle);
	for (i = 0; i < 2; i++) {
		pids[i] = child_fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i]) {
			/* One maps for itself, one has the inherited mapping. */
			uint8_t *view = i ? self->memory :
					region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

			if (view == MAP_FAILED || !is_writable(view, self->bytes))
				_exit(1);
			atomic_fetch_add(step, 1);
			if (!wait_for(step, 10))
				_exit(2);
			_exit(is_frozen(view, self->bytes) ? 0 : 3);
		}
	}
	ASSERT_TRUE(wait_for(step, 2));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	atomic_store(step, 10);
	EXPECT_EQ(0, child_status(pids[0]));
	EXPECT_EQ(0, child_status(pids[1]));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	close(handle);
}

TEST_F(region, a_moved_and_a_cut_mapping_are_read_only)
{
	uint8_t *second = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *target = mmap(NULL, self->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t half = self->bytes / 2;

	ASSERT_TRUE(is_writable(second, self->bytes));
	second = mremap(second, self->bytes, self->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	ASSERT_EQ((void *)target, (void *)second);
	ASSERT_EQ(0, munmap(second + half, self->page));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_TRUE(is_frozen(second, half));
	EXPECT_EQ(SIGBUS, write_signal(second + half + self->page, 1));
	EXPECT_EQ(self->memory[half + self->page], second[half + self->page]);
	munmap(second, self->bytes);
}

/* ---- asking for it again ---- */

TEST_F(region, mmap_and_mprotect_writable_are_refused)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *readable = region_map(self->owner, self->bytes, PROT_READ);
	uint8_t *nothing = region_map(self->owner, self->bytes, PROT_NONE);
	int later;

	ASSERT_NE(MAP_FAILED, (void *)nothing);
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(EPERM, map_error(self->owner, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EPERM, map_error(handle, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, map_error(handle, self->bytes, PROT_READ));
	EXPECT_EQ(EPERM, protect_error(readable, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EPERM, protect_error(nothing, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, protect_error(nothing, self->bytes, PROT_READ));
	EXPECT_EQ(0, pattern_errors(nothing, self->bytes, REGION_SEED));
	/* A mapping that was writable, through read-only and back. */
	EXPECT_EQ(0, protect_error(self->memory, self->bytes, PROT_READ));
	EXPECT_EQ(EPERM, protect_error(self->memory, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(SIGSEGV, write_signal(self->memory, 1));
	/* A handle with the right, made later. */
	later = handle_derive(self->owner, RIGHTS_RW);
	ASSERT_LE(0, later);
	EXPECT_EQ(EPERM, map_error(later, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, pattern_errors(readable, self->bytes, REGION_SEED));
	munmap(readable, self->bytes);
	munmap(nothing, self->bytes);
	close(handle);
	close(later);
}

TEST_F(region, freezing_again_succeeds)
{
	uint64_t pinned = 1;

	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(0, region_freeze(self->owner, &pinned));
	EXPECT_EQ(0, pinned);
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
}

TEST_F(region, freezing_needs_its_right_and_a_living_handle)
{
	int handle = handle_derive(self->owner, ISTH_RIGHTS_REGION & ~ISTH_RIGHT_FREEZE);
	int dead = handle_derive(self->owner, ISTH_RIGHTS_REGION);

	EXPECT_EQ(-EACCES, region_freeze(handle, NULL));
	ASSERT_EQ(0, handle_revoke(dead));
	EXPECT_EQ(-EKEYREVOKED, region_freeze(dead, NULL));
	EXPECT_EQ(0, handle_state(self->owner) & ISTH_STATE_FROZEN);
	EXPECT_TRUE(is_writable(self->memory, self->bytes));
	close(handle);
	close(dead);
}

TEST_F(region, freezing_the_moment_it_was_written_is_not_busy)
{
	uint64_t pinned;
	int i;

	/* Fresh pages wait in the kernel's own queues: that is nobody's I/O. */
	for (i = 0; i < 10; i++) {
		int owner = region_create(self->device, self->kind, self->flags,
					  self->bytes);
		uint8_t *memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);

		ASSERT_NE(MAP_FAILED, (void *)memory);
		fill_pattern(memory, self->bytes, REGION_SEED);
		ASSERT_EQ(0, region_freeze(owner, &pinned))
			TH_LOG("round %d: %ju pages", i, (uintmax_t)pinned);
		ASSERT_TRUE(is_frozen(memory, self->bytes));
		munmap(memory, self->bytes);
		close(owner);
	}
}

TEST_F(lazy, what_was_never_touched_freezes_as_zeros)
{
	int owner = region_create(self->device, self->kind, self->flags, self->bytes);
	uint8_t *memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_EQ(0, region_freeze(owner, NULL));
	EXPECT_EQ(SIGBUS, write_signal(memory, 1));
	EXPECT_TRUE(all_zero(memory, self->bytes));
	EXPECT_EQ(SIGBUS, write_signal(memory + self->page, 1));
	munmap(memory, self->bytes);
	close(owner);
}

TEST_F(region, handles_that_were_revoked_stay_dead)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_EQ(0, read_signal(view));
	ASSERT_EQ(0, handle_revoke(handle));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(SIGBUS, read_signal(view));
	EXPECT_EQ(SIGBUS, write_signal(view, 1));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	EXPECT_EQ(ISTH_STATE_REVOKED | ISTH_STATE_FROZEN,
		  handle_state(handle) & (ISTH_STATE_REVOKED | ISTH_STATE_FROZEN));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, a_frozen_region_can_be_revoked)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_EQ(0, read_signal(view));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_EQ(SIGBUS, read_signal(view));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

/* ---- writing from outside ---- */

TEST_F(region, no_route_writes_into_it)
{
	int source = memfd_create("isthmus-test", MFD_CLOEXEC);
	int ends[2];
	pid_t tracee;
	char byte = 'x';

	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	ASSERT_EQ(5, write(source, "stray", 5));
	EXPECT_EQ(-EFAULT, read_into(self->memory, 5, 0xEE));
	EXPECT_EQ(-EFAULT, vm_write(getpid(), self->memory, &byte, 1));
	EXPECT_EQ(-EIO, proc_mem_write(getpid(), self->memory, &byte, 1));
	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	ASSERT_EQ(5, write(ends[1], "stray", 5));
	EXPECT_EQ(-EFAULT, vmsplice_in(ends[0], self->memory, 5));
	if (!uring_missing()) {
		struct io_uring ring;

		EXPECT_EQ(-EFAULT, uring_pin(&ring, self->memory, self->page));
		EXPECT_EQ(-EFAULT, uring_read(source, self->memory, 5));
	}
	tracee = tracee_start();
	ASSERT_LT(0, tracee);
	EXPECT_EQ(-EIO, ptrace_poke(tracee, self->memory, 0x5555));
	child_kill(tracee);
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	close(source);
	close(ends[0]);
	close(ends[1]);
}

TEST_F(pageable, every_route_still_reads_a_frozen_pageable_region)
{
	uint32_t word = 0, expected;
	long long_word;
	pid_t tracee;

	memcpy(&expected, self->memory, sizeof(expected));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(0, vm_read(getpid(), self->memory, &word, sizeof(word)));
	EXPECT_EQ(expected, word);
	word = 0;
	EXPECT_EQ(0, proc_mem_read(getpid(), self->memory, &word, sizeof(word)));
	EXPECT_EQ(expected, word);
	EXPECT_EQ(0, write_from(self->memory, self->bytes));
	tracee = tracee_start();
	ASSERT_LT(0, tracee);
	EXPECT_EQ(0, ptrace_peek(tracee, self->memory, &long_word));
	EXPECT_EQ(expected, (uint32_t)long_word);
	child_kill(tracee);
	/* A futex can be waited on: that reads. */
	EXPECT_EQ(-1, syscall(SYS_futex, self->memory, FUTEX_WAIT, expected + 1, NULL, NULL, 0));
	EXPECT_EQ(EAGAIN, errno);
}

TEST_F(region, direct_io_does_not_write_into_it)
{
	if (!scratch_device())
		SKIP(return, NO_SCRATCH_DEVICE);
	EXPECT_EQ(self->kind == ISTH_REGION_ISOLATED ? -EFAULT : 0,
		  direct_write(self->memory, self->page));
	EXPECT_EQ(0, region_freeze_settled(self->owner));
	EXPECT_EQ(-EFAULT, direct_read(self->memory, self->page));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
}

/* ---- I/O that holds pages: busy, and nothing changes ---- */

/* What must hold after a FREEZE that was busy: all is as it was before. */
static void expect_unchanged(struct __test_metadata *_metadata, int owner, uint8_t *memory,
			     size_t bytes)
{
	uint8_t *second = region_map(owner, bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)second);
	EXPECT_EQ(0, handle_state(owner) & (ISTH_STATE_FROZEN | ISTH_STATE_REVOKED));
	EXPECT_TRUE(is_writable(memory, bytes));
	EXPECT_TRUE(is_writable(second, bytes));
	EXPECT_EQ(0, protect_error(second, bytes, PROT_READ));
	EXPECT_EQ(0, protect_error(second, bytes, PROT_READ | PROT_WRITE));
	second[12345] = 0x5A;
	EXPECT_EQ(0x5A, memory[12345]);
	munmap(second, bytes);
}

/* FREEZE again and again while @pages are pinned and a process writes. */
static void expect_busy(struct __test_metadata *_metadata, int owner, uint8_t *memory,
			size_t bytes, uint64_t pages)
{
	atomic_int *progress = shared_page();
	uint64_t pinned;
	pid_t writer;
	int i, steps;

	writer = writer_start(&writer_store, owner, bytes, 1, progress);
	ASSERT_TRUE(wait_for(progress, 3));
	for (i = 0; i < 6; i++) {
		pinned = 0;
		EXPECT_EQ(-EBUSY, region_freeze(owner, &pinned));
		/* A fault of the writer may hold one more page for an instant. */
		EXPECT_LE(pages, pinned);
		EXPECT_GE(pages + 2, pinned);
	}
	/* The writer has noticed nothing. */
	EXPECT_EQ(0, waitpid(writer, NULL, WNOHANG));
	steps = atomic_load(progress);
	EXPECT_TRUE(wait_for(progress, steps + 100));
	child_kill(writer);
	EXPECT_EQ(-EBUSY, region_freeze(owner, &pinned));
	EXPECT_EQ(pages, pinned);
	expect_unchanged(_metadata, owner, memory, bytes);
	munmap(progress, page_bytes());
}

TEST_F(pageable, a_fixed_buffer_is_refused_or_makes_it_busy)
{
	const char *missing = uring_missing();
	struct io_uring ring;
	int source, result;

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	result = uring_pin(&ring, self->memory + self->page, 4 * self->page);
	if (uring_cannot_pin(result)) {
		EXPECT_EQ(0, region_freeze(self->owner, NULL));
		EXPECT_TRUE(is_frozen(self->memory, self->bytes));
		return;
	}
	ASSERT_EQ(0, result);
	expect_busy(_metadata, self->owner, self->memory, self->bytes, 4);
	/* The buffer still takes what is read into it. */
	source = memfd_create("isthmus-test", MFD_CLOEXEC);
	ASSERT_EQ(5, write(source, "pinny", 5));
	EXPECT_EQ(0, uring_read_fixed(&ring, source, self->memory + self->page, 5));
	EXPECT_EQ(0, memcmp(self->memory + self->page, "pinny", 5));
	/* And once it is let go, freezing works. */
	fill_pattern(self->memory, self->bytes, REGION_SEED);
	EXPECT_EQ(0, io_uring_unregister_buffers(&ring));
	EXPECT_EQ(0, region_freeze_settled(self->owner));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	io_uring_queue_exit(&ring);
	close(source);
}

TEST_F(pageable, a_copy_in_flight_makes_it_busy_and_nothing_changes)
{
	uint8_t *pinned = self->memory + self->page;
	struct held_pin pin;
	const char *missing;

	missing = held_pin_start(&pin, pinned, 4 * self->page);
	if (missing)
		SKIP(return, "%s", missing);
	expect_busy(_metadata, self->owner, self->memory, self->bytes, 4);
	/* The copy arrives, and once it is over, freezing works. */
	EXPECT_EQ(0, held_pin_release(&pin));
	EXPECT_EQ(0xAB, pinned[0]);
	EXPECT_EQ(0xAB, pinned[4 * self->page - 1]);
	fill_pattern(self->memory, self->bytes, REGION_SEED);
	EXPECT_EQ(0, region_freeze_settled(self->owner));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
}

TEST_F(pageable, a_pin_of_a_process_that_has_unmapped_it_makes_it_busy)
{
	uint64_t pinned = 0;
	char buffer[64];
	int ends[2];
	pid_t pid;

	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(vmsplice_out(ends[1], self->memory, 2 * self->page) ? 1 : 0);
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(-EBUSY, region_freeze(self->owner, &pinned));
	EXPECT_EQ(2, pinned);
	expect_unchanged(_metadata, self->owner, self->memory, self->bytes);
	while (read(ends[0], buffer, sizeof(buffer)) > 0)
		;
	fill_pattern(self->memory, self->bytes, REGION_SEED);
	EXPECT_EQ(0, region_freeze_settled(self->owner));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	close(ends[0]);
	close(ends[1]);
}

TEST_F(pageable, a_page_in_a_pipe_makes_it_busy)
{
	uint64_t pinned = 0;
	char buffer[64];
	int ends[2];

	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	ASSERT_EQ(0, vmsplice_out(ends[1], self->memory, 64));
	EXPECT_EQ(-EBUSY, region_freeze(self->owner, &pinned));
	EXPECT_EQ(1, pinned);
	EXPECT_EQ(0, handle_state(self->owner) & ISTH_STATE_FROZEN);
	EXPECT_TRUE(is_writable(self->memory, self->bytes));
	EXPECT_EQ(64, read(ends[0], buffer, sizeof(buffer)));
	EXPECT_EQ(0, region_freeze_settled(self->owner));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	close(ends[0]);
	close(ends[1]);
}

TEST_F(pageable, frozen_memory_can_be_written_out)
{
	int ends[2];
	char buffer[64];

	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	EXPECT_EQ(0, vmsplice_out(ends[1], self->memory, 64));
	/* Frozen stays frozen, pins or not. */
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(64, read(ends[0], buffer, sizeof(buffer)));
	EXPECT_EQ(0, memcmp(buffer, self->memory, 64));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	close(ends[0]);
	close(ends[1]);
}

/* ---- waiting and waking go on ---- */

TEST_F(isolated, wait_works_on_a_frozen_region)
{
	uint32_t word;

	memcpy(&word, self->memory, sizeof(word));
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(-EAGAIN, region_wait(self->owner, 0, word + 1, 0));
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->owner, 0, word, now_ns() + 1000000));
	EXPECT_EQ(0, region_wake(self->owner, 0, 1));
}

/* ---- races ---- */

static void expect_race(struct __test_metadata *_metadata, struct race race)
{
	race.milliseconds = 250;
	race_run(&race);
	EXPECT_LT(0, race.rounds);
	EXPECT_EQ(0, race.lost);
	EXPECT_EQ(0, race.wrong);
}

/* @name, a writer of writers.h, for whatever the fixture has a region of. */
#define TEST_RACE(fixture, name) \
	TEST_F(fixture, nothing_changes_afterwards_by_##name) \
	{ \
		expect_race(_metadata, (struct race) { \
			.writer = &writer_##name, .device = self->device, \
			.kind = self->kind, .flags = self->flags, .bytes = self->bytes, \
		}); \
	}

TEST_RACE(region, store)
TEST_RACE(lazy, store)
TEST_RACE(region, remap)
TEST_RACE(region, mprotect)
TEST_RACE(region, read)
TEST_RACE(region, vmsplice)
TEST_RACE(pageable, proc_mem)
TEST_RACE(pageable, vm_writev)

TEST_F(region, nothing_changes_afterwards_by_uring)
{
	const char *missing = uring_missing();

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	expect_race(_metadata, (struct race) {
		.writer = &writer_uring, .device = self->device,
		.kind = self->kind, .bytes = self->bytes,
	});
}

TEST_F(pageable, nothing_changes_afterwards_by_direct_read)
{
	if (!scratch_device())
		SKIP(return, NO_SCRATCH_DEVICE);
	expect_race(_metadata, (struct race) {
		.writer = &writer_direct_read, .device = self->device,
		.kind = self->kind, .bytes = self->bytes,
	});
}

TEST_F(region, a_forking_writer_is_stopped_with_all_its_children)
{
	uint64_t end = race_end(200);
	atomic_int *progress = shared_page();
	uint8_t *before = test_alloc(self->bytes);

	do {
		int owner = region_create(self->device, self->kind, self->flags,
					  self->bytes);
		uint8_t *memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);
		pid_t pid;

		ASSERT_NE(MAP_FAILED, (void *)memory);
		atomic_store(progress, 0);
		pid = child_fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			volatile uint8_t *spot = memory;

			/* Each child copies the page tables while they are being closed. */
			for (;;) {
				pid_t child = fork();

				if (!child) {
					spot[64] += 1;
					_exit(0);
				}
				spot[0] += 1;
				if (child > 0)
					waitpid(child, NULL, 0);
				atomic_fetch_add(progress, 1);
			}
		}
		ASSERT_TRUE(wait_for(progress, 2));
		EXPECT_EQ(0, region_freeze_settled(owner));
		memcpy(before, memory, self->bytes);
		EXPECT_EQ(KILLED_BY(SIGBUS), child_status_within(pid, 10000));
		sleep_us(500);
		EXPECT_EQ(0, memcmp(before, memory, self->bytes));
		munmap(memory, self->bytes);
		close(owner);
	} while (now_ms() < end);
	free(before);
}

TEST_F(region, freeze_and_revoke_at_once_both_hold)
{
	uint64_t end = race_end(200);
	atomic_int *go = shared_page();

	do {
		int owner = region_create(self->device, self->kind, self->flags,
					  self->bytes);
		int handle = handle_derive(owner, RIGHTS_RW);
		uint8_t *memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);
		uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
		pid_t pid;

		fill_pattern(memory, self->bytes, REGION_SEED);
		ASSERT_TRUE(is_writable(view, self->bytes));
		atomic_store(go, 0);
		pid = child_fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			atomic_store(go, 1);
			while (atomic_load(go) != 2)
				;
			_exit(handle_revoke(handle) ? 1 : 0);
		}
		ASSERT_TRUE(wait_for(go, 1));
		atomic_store(go, 2);
		EXPECT_EQ(0, region_freeze_settled(owner));
		EXPECT_EQ(0, child_status(pid));
		EXPECT_TRUE(is_frozen(memory, self->bytes));
		EXPECT_EQ(SIGBUS, read_signal(view));
		munmap(memory, self->bytes);
		munmap(view, self->bytes);
		close(handle);
		close(owner);
	} while (now_ms() < end);
}

TEST_F(region, two_freezers_both_succeed)
{
	uint64_t end = race_end(150);
	atomic_int *go = shared_page();

	do {
		int owner = region_create(self->device, self->kind, self->flags,
					  self->bytes);
		uint8_t *memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);
		pid_t pid;

		fill_pattern(memory, self->bytes, REGION_SEED);
		atomic_store(go, 0);
		pid = child_fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			atomic_store(go, 1);
			while (atomic_load(go) != 2)
				;
			if (region_freeze_settled(owner))
				_exit(1);
			/* Whoever returns first must already be protected. */
			_exit(write_signal(memory + 7, 0xEE) == SIGBUS ? 0 : 2);
		}
		ASSERT_TRUE(wait_for(go, 1));
		atomic_store(go, 2);
		EXPECT_EQ(0, region_freeze_settled(owner));
		EXPECT_TRUE(is_frozen(memory, self->bytes));
		EXPECT_EQ(0, child_status(pid));
		munmap(memory, self->bytes);
		close(owner);
	} while (now_ms() < end);
}

TEST_F(region, a_freezer_killed_half_way_leaves_one_state_or_the_other)
{
	/* Isolated memory is limited by RLIMIT_MEMLOCK, often to 8 MiB. */
	const size_t bytes = self->kind == ISTH_REGION_ISOLATED ? 4 << 20 : 16 << 20;
	uint64_t end = race_end(400), random = random_seed("killed freezer");
	atomic_int *go = shared_page();
	int frozen = 0, rounds = 0;

	do {
		int owner = region_create(self->device, self->kind, self->flags, bytes);
		uint8_t *memory = region_map(owner, bytes, PROT_READ | PROT_WRITE);
		uint32_t state;
		pid_t pid;

		ASSERT_NE(MAP_FAILED, (void *)memory);
		memset(memory, 1, bytes);
		atomic_store(go, 0);
		pid = child_fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			atomic_store(go, 1);
			region_freeze(owner, NULL);
			pause();
		}
		ASSERT_TRUE(wait_for(go, 1));
		sleep_us(random_next(&random) % 4000);
		child_kill(pid);
		state = handle_state(owner) & ISTH_STATE_FROZEN;
		frozen += !!state;
		rounds++;
		EXPECT_EQ(state ? SIGBUS : 0, write_signal(memory + bytes / 2, 2));
		EXPECT_EQ(state ? SIGBUS : 0, write_signal(memory, 2));
		EXPECT_EQ(state ? EPERM : 0, map_error(owner, bytes, PROT_READ | PROT_WRITE));
		EXPECT_EQ(0, region_freeze_settled(owner));
		EXPECT_EQ(SIGBUS, write_signal(memory + bytes - 1, 3));
		munmap(memory, bytes);
		close(owner);
	} while (now_ms() < end);
	TH_LOG("%d rounds, %d frozen before the kill", rounds, frozen);
}

/* ---- swap ---- */

TEST_F(pageable, swapping_a_frozen_region_keeps_it)
{
	long long before;

	if (swap_missing())
		SKIP(return, "%s", swap_missing());
	ASSERT_EQ(0, swap_on());
	EXPECT_EQ(0, region_freeze(self->owner, NULL));
	before = swapped_out();
	/* Only what is mapped is paged out, and freezing has unmapped all. */
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	EXPECT_EQ(0, madvise(self->memory, self->bytes, MADV_PAGEOUT));
	EXPECT_LT(before, swapped_out());
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	EXPECT_EQ(0, swap_off());
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
}

TEST_F(pageable, freezing_a_swapped_out_region_keeps_it)
{
	uint8_t *second = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);

	if (swap_missing())
		SKIP(return, "%s", swap_missing());
	ASSERT_EQ(0, swap_on());
	EXPECT_EQ(0, madvise(self->memory, self->bytes, MADV_PAGEOUT));
	EXPECT_EQ(0, region_freeze_settled(self->owner));
	EXPECT_TRUE(is_frozen(second, self->bytes));
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	EXPECT_EQ(0, swap_off());
	EXPECT_TRUE(is_frozen(self->memory, self->bytes));
	munmap(second, self->bytes);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
