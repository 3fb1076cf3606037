// SPDX-License-Identifier: GPL-2.0-only
/* G2: when REVOKE returns, nothing reaches the region through the subtree. Needs -luring. */
#include "region_kinds.h"
#include "routes.h"
#include "writers.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

#define RIGHTS_RWD	(ISTH_RIGHT_READ | ISTH_RIGHT_WRITE | ISTH_RIGHT_DERIVE)

REGION_FIXTURE_BOTH(region)
REGION_FIXTURE_ONE(pageable, ISTH_REGION_PAGEABLE, 0)
REGION_FIXTURE_ONE(isolated, ISTH_REGION_ISOLATED, 0)
REGION_FIXTURE_ONE(lazy, ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY)

/* All of the mapping is SIGBUS, for reading and for writing, with the documented code. */
static bool is_dead(uint8_t *memory, size_t bytes)
{
	size_t offset, page = page_bytes();

	for (offset = 0; offset < bytes; offset += page) {
		if (read_signal(memory + offset) != SIGBUS || probe.code != BUS_ADRERR)
			return false;
		if (probe.address != memory + offset)
			return false;
		if (write_signal(memory + offset, 0xEE) != SIGBUS || probe.code != BUS_ADRERR)
			return false;
	}
	return true;
}

/* The owner still reads and writes all of it, and nothing stray is in it. */
static bool is_alive(uint8_t *memory, size_t bytes)
{
	size_t offset, page = page_bytes();

	if (pattern_errors(memory, bytes, REGION_SEED))
		return false;
	for (offset = 0; offset < bytes; offset += page)
		if (write_signal(memory + offset, memory[offset]))
			return false;
	return true;
}

/* ---- mappings ---- */

TEST_F(region, a_touched_mapping_is_sigbus)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)view);
	ASSERT_EQ(0, pattern_errors(view, self->bytes, REGION_SEED));
	ASSERT_TRUE(is_alive(view, self->bytes));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, an_untouched_mapping_is_sigbus)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)view);
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, a_mapping_touched_in_part_is_sigbus_everywhere)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)view);
	ASSERT_EQ(0, read_signal(view));
	ASSERT_EQ(0, write_signal(view + 9 * self->page, view[9 * self->page]));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, self->bytes));
	/* Advice and protection do not bring it back. */
	(void)!madvise(view, self->bytes, MADV_DONTNEED);
	(void)!madvise(view, self->bytes, MADV_WILLNEED);
	(void)!madvise(view, self->bytes, 22 /* MADV_POPULATE_READ */);
	(void)!mprotect(view, self->bytes, PROT_NONE);
	(void)!mprotect(view, self->bytes, PROT_READ | PROT_WRITE);
	EXPECT_TRUE(is_dead(view, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, a_second_and_third_mapping_die_too)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *first = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *second = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *third = mmap(NULL, 3 * self->page, PROT_READ | PROT_WRITE, MAP_SHARED, handle,
			      (off_t)(5 * self->page));

	ASSERT_NE(MAP_FAILED, (void *)third);
	ASSERT_EQ(self->memory[5 * self->page], third[0]);
	ASSERT_EQ(0, read_signal(first));
	ASSERT_EQ(0, read_signal(second));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(first, self->bytes));
	EXPECT_TRUE(is_dead(second, self->bytes));
	EXPECT_TRUE(is_dead(third, 3 * self->page));
	munmap(first, self->bytes);
	munmap(second, self->bytes);
	munmap(third, 3 * self->page);
	close(handle);
}

TEST_F(lazy, pages_that_never_were_and_pages_that_are_die)
{
	int owner = region_create(self->device, self->kind, self->flags, self->bytes);
	int handle = handle_derive(owner, RIGHTS_RW);
	uint8_t *memory = region_map(owner, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	size_t half = self->bytes / 2;

	ASSERT_NE(MAP_FAILED, (void *)view);
	fill_pattern(view, half, REGION_SEED);
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, self->bytes));
	/* Touching what is dead has not brought forth any page. */
	EXPECT_EQ(0, pattern_errors(memory, half, REGION_SEED));
	EXPECT_TRUE(all_zero(memory + half, half));
	munmap(memory, self->bytes);
	munmap(view, self->bytes);
	close(handle);
	close(owner);
}

TEST_F(region, the_first_handle_can_be_revoked)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	struct isth_revoke out;

	ASSERT_EQ(0, read_signal(view));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, 0, &out));
	EXPECT_EQ(2, out.handles);
	EXPECT_TRUE(is_dead(self->memory, self->bytes));
	EXPECT_TRUE(is_dead(view, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, revoking_needs_no_right)
{
	uint32_t bit;

	for (bit = 1; bit <= ISTH_RIGHT_FREEZE; bit <<= 1) {
		int handle = handle_derive(self->owner, bit);

		ASSERT_LE(0, handle);
		EXPECT_EQ(0, handle_revoke(handle));
		EXPECT_EQ(ISTH_STATE_REVOKED, handle_state(handle) & ISTH_STATE_REVOKED);
		close(handle);
	}
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
}

/* ---- every process ---- */

TEST_F(region, another_process_loses_it)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	atomic_int *step = shared_page();
	pid_t pid;

	ASSERT_LE(0, handle);
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

		if (view == MAP_FAILED || !is_alive(view, self->bytes))
			_exit(1);
		atomic_store(step, 1);
		if (!wait_for(step, 2))
			_exit(2);
		if (!is_dead(view, self->bytes))
			_exit(3);
		/* The fork copied the owner's mapping too: that one lives. */
		if (!is_alive(self->memory, self->bytes))
			_exit(4);
		_exit(map_error(handle, self->bytes, PROT_READ) == EKEYREVOKED ? 0 : 5);
	}
	ASSERT_TRUE(wait_for(step, 1));
	EXPECT_EQ(0, handle_revoke(handle));
	atomic_store(step, 2);
	EXPECT_EQ(0, child_status(pid));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	close(handle);
}

TEST_F(region, an_inherited_mapping_dies_in_child_and_grandchild)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	atomic_int *step = shared_page();
	pid_t pid;

	ASSERT_NE(MAP_FAILED, (void *)view);
	ASSERT_EQ(0, read_signal(view));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pid_t grandchild = child_fork();
		int status;

		if (!grandchild) {
			/* Half of it faulted in before, half of it never. */
			if (pattern_errors(view, self->bytes / 2, REGION_SEED))
				_exit(1);
			atomic_fetch_add(step, 1);
			if (!wait_for(step, 10))
				_exit(2);
			_exit(is_dead(view, self->bytes) ? 0 : 3);
		}
		atomic_fetch_add(step, 1);
		if (!wait_for(step, 10) || !is_dead(view, self->bytes))
			_exit(4);
		status = child_status(grandchild);
		_exit(status > 255 ? 5 : status);
	}
	ASSERT_TRUE(wait_for(step, 2));
	EXPECT_EQ(0, handle_revoke(handle));
	atomic_store(step, 10);
	EXPECT_EQ(0, child_status(pid));
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, the_forker_may_be_gone)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	atomic_int *step = shared_page();
	int ends[2];
	char result = 'x';
	pid_t pid;

	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

		/* Not child_fork(): this one outlives its parent. */
		if (fork())
			_exit(0);
		close(handle);
		result = read_signal(view) ? 'a' : 'b';
		atomic_store(step, 1);
		if (result == 'b' && wait_for(step, 2))
			result = is_dead(view, self->bytes) ? 'd' : 'c';
		_exit(write(ends[1], &result, 1) != 1);
	}
	EXPECT_EQ(0, child_status(pid));
	ASSERT_TRUE(wait_for(step, 1));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	atomic_store(step, 2);
	close(ends[1]);
	EXPECT_EQ(1, read(ends[0], &result, 1));
	EXPECT_EQ('d', result);
	close(ends[0]);
	close(handle);
}

/* ---- which handles ---- */

TEST_F(region, a_subtree_dies_and_siblings_and_parents_do_not)
{
	int a = handle_derive(self->owner, RIGHTS_RWD);
	int b = handle_derive(a, RIGHTS_RWD);
	int c = handle_derive(b, RIGHTS_RW);
	int c2 = handle_derive(b, ISTH_RIGHT_READ);
	int sibling = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *memory_a = region_map(a, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *memory_c = region_map(c, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *memory_s = region_map(sibling, self->bytes, PROT_READ | PROT_WRITE);
	struct isth_revoke out;

	ASSERT_NE(MAP_FAILED, (void *)memory_s);
	ASSERT_EQ(0, read_signal(memory_a) | read_signal(memory_c) | read_signal(memory_s));
	EXPECT_EQ(0, handle_revoke_flags(b, 0, &out));
	EXPECT_EQ(3, out.handles);
	EXPECT_TRUE(is_dead(memory_c, self->bytes));
	EXPECT_TRUE(is_alive(memory_a, self->bytes));
	EXPECT_TRUE(is_alive(memory_s, self->bytes));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	EXPECT_EQ(EKEYREVOKED, map_error(b, self->bytes, PROT_READ));
	EXPECT_EQ(EKEYREVOKED, map_error(c, self->bytes, PROT_READ));
	EXPECT_EQ(EKEYREVOKED, map_error(c2, self->bytes, PROT_READ));
	EXPECT_EQ(0, map_error(a, self->bytes, PROT_READ));
	EXPECT_EQ(0, map_error(sibling, self->bytes, PROT_READ));
	/* Below a there is room for a new, living branch. */
	close(b);
	b = handle_derive(a, RIGHTS_RW);
	ASSERT_LE(0, b);
	EXPECT_EQ(0, map_error(b, self->bytes, PROT_READ));
	munmap(memory_a, self->bytes);
	munmap(memory_c, self->bytes);
	munmap(memory_s, self->bytes);
	close(a);
	close(b);
	close(c);
	close(c2);
	close(sibling);
}

TEST_F(region, descendants_flag_spares_the_handle)
{
	int a = handle_derive(self->owner, RIGHTS_RWD);
	int b = handle_derive(a, RIGHTS_RWD);
	int c = handle_derive(b, RIGHTS_RW);
	uint8_t *memory_a = region_map(a, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *memory_b = region_map(b, self->bytes, PROT_READ | PROT_WRITE);
	struct isth_revoke out;

	ASSERT_EQ(0, read_signal(memory_a) | read_signal(memory_b));
	EXPECT_EQ(0, handle_revoke_flags(a, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(2, out.handles);
	EXPECT_TRUE(is_alive(memory_a, self->bytes));
	EXPECT_TRUE(is_dead(memory_b, self->bytes));
	EXPECT_EQ(0, handle_state(a) & ISTH_STATE_REVOKED);
	EXPECT_EQ(ISTH_STATE_REVOKED, handle_state(c) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, handle_revoke_flags(a, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(0, out.handles);
	munmap(memory_a, self->bytes);
	munmap(memory_b, self->bytes);
	close(a);
	close(b);
	close(c);
}

TEST_F(region, children_of_a_closed_handle_die_with_its_parent)
{
	int a = handle_derive(self->owner, RIGHTS_RWD);
	int b = handle_derive(a, RIGHTS_RWD);
	int c = handle_derive(b, RIGHTS_RW);
	uint8_t *view = region_map(c, self->bytes, PROT_READ | PROT_WRITE);
	struct isth_revoke out;
	struct isth_stat stat;

	ASSERT_EQ(0, read_signal(view));
	close(b);
	ASSERT_EQ(0, handle_stat(a, &stat));
	EXPECT_EQ(1, stat.descendants);
	close(a);
	ASSERT_EQ(0, handle_stat(self->owner, &stat));
	EXPECT_EQ(1, stat.descendants);
	EXPECT_EQ(1, stat.subtree_mappings - stat.mappings);
	EXPECT_EQ(0, read_signal(view));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(1, out.handles);
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_EQ(ISTH_STATE_REVOKED, handle_state(c) & ISTH_STATE_REVOKED);
	munmap(view, self->bytes);
	close(c);
}

TEST_F(region, a_mapping_whose_handle_was_closed_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_NE(MAP_FAILED, (void *)view);
	ASSERT_EQ(0, read_signal(view));
	close(handle);
	EXPECT_TRUE(is_alive(view, self->bytes));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	munmap(view, self->bytes);
}

TEST_F(region, a_mapping_below_a_closed_middle_with_a_mapping_dies)
{
	int middle = handle_derive(self->owner, RIGHTS_RWD);
	int leaf = handle_derive(middle, RIGHTS_RW);
	uint8_t *memory_m = region_map(middle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *memory_l = region_map(leaf, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_EQ(0, read_signal(memory_m) | read_signal(memory_l));
	close(middle);
	close(leaf);
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	EXPECT_TRUE(is_dead(memory_m, self->bytes));
	EXPECT_TRUE(is_dead(memory_l, self->bytes));
	munmap(memory_m, self->bytes);
	munmap(memory_l, self->bytes);
}

TEST_F(region, a_handle_in_flight_on_a_socket_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	int pair[2], received;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	ASSERT_EQ(0, send_fd(pair[0], handle));
	close(handle);
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	received = receive_fd(pair[1]);
	ASSERT_LE(0, received);
	EXPECT_EQ(EKEYREVOKED, map_error(received, self->bytes, PROT_READ));
	close(received);
	close(pair[0]);
	close(pair[1]);
}

TEST_F(region, a_chain_of_thousands_dies)
{
	size_t depth = descriptors_raise(2048) - 64, i;
	int *chain = test_alloc(depth * sizeof(*chain));
	struct isth_revoke out;
	struct isth_stat stat;
	uint8_t *view;

	ASSERT_NE(NULL, chain);
	chain[0] = self->owner;
	for (i = 1; i < depth; i++) {
		chain[i] = handle_derive(chain[i - 1], RIGHTS_RWD);
		ASSERT_LE(0, chain[i]);
	}
	view = region_map(chain[depth - 1], self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)view);
	ASSERT_EQ(0, read_signal(view));
	ASSERT_EQ(0, handle_stat(self->owner, &stat));
	EXPECT_EQ(depth - 1, stat.descendants);
	EXPECT_EQ(0, handle_revoke_flags(chain[depth / 2], 0, &out));
	EXPECT_EQ(depth - depth / 2, out.handles);
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_EQ(0, map_error(chain[depth / 2 - 1], self->bytes, PROT_READ));
	EXPECT_EQ(0, handle_revoke_flags(chain[1], 0, &out));
	EXPECT_EQ(depth / 2 - 1, out.handles);
	munmap(view, self->bytes);
	for (i = 1; i < depth; i++)
		close(chain[i]);
	ASSERT_EQ(0, handle_stat(self->owner, &stat));
	EXPECT_EQ(0, stat.descendants);
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	free(chain);
}

TEST_F(region, hundreds_of_siblings_die)
{
	size_t count = descriptors_raise(1024) / 3, i, alive = 0;
	int *handles = test_alloc(count * sizeof(*handles));
	uint8_t **views = test_alloc(count * sizeof(*views));
	struct isth_revoke out;

	for (i = 0; i < count; i++) {
		handles[i] = handle_derive(self->owner, RIGHTS_RW);
		ASSERT_LE(0, handles[i]);
		views[i] = region_map(handles[i], self->page, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, (void *)views[i]);
		ASSERT_EQ(0, read_signal(views[i]));
	}
	EXPECT_EQ(0, handle_revoke(handles[count / 2]));
	for (i = 0; i < count; i++)
		alive += !read_signal(views[i]);
	EXPECT_EQ(count - 1, alive);
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(count - 1, out.handles);
	for (i = 0, alive = 0; i < count; i++) {
		alive += read_signal(views[i]) != SIGBUS;
		munmap(views[i], self->page);
		close(handles[i]);
	}
	EXPECT_EQ(0, alive);
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	free(handles);
	free(views);
}

/* ---- mappings that were moved, cut and copied ---- */

TEST_F(region, a_moved_mapping_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *target = mmap(NULL, self->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, read_signal(view));
	view = mremap(view, self->bytes, self->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	ASSERT_EQ((void *)target, (void *)view);
	ASSERT_TRUE(is_alive(view, self->bytes));
	close(handle);
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	EXPECT_TRUE(is_dead(view, self->bytes));
	munmap(view, self->bytes);
}

TEST_F(region, a_dead_mapping_that_is_moved_stays_dead)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *target = mmap(NULL, self->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, read_signal(view));
	EXPECT_EQ(0, handle_revoke(handle));
	view = mremap(view, self->bytes, self->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	ASSERT_EQ((void *)target, (void *)view);
	EXPECT_TRUE(is_dead(view, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, a_copy_made_by_mremap_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *copy;

	ASSERT_EQ(0, read_signal(view));
	copy = mremap(view, 0, self->bytes, MREMAP_MAYMOVE);
	if (self->kind == ISTH_REGION_ISOLATED) {
		EXPECT_EQ(MAP_FAILED, (void *)copy);
	} else {
		ASSERT_NE(MAP_FAILED, (void *)copy);
		ASSERT_TRUE(is_alive(copy, self->bytes));
		munmap(view, self->bytes / 2);
	}
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view + self->bytes / 2, self->bytes / 2));
	if (copy != MAP_FAILED) {
		EXPECT_TRUE(is_dead(copy, self->bytes));
		munmap(copy, self->bytes);
	}
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, a_grown_mapping_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->page, PROT_READ | PROT_WRITE);
	uint8_t *grown;

	ASSERT_EQ(0, read_signal(view));
	grown = mremap(view, self->page, self->bytes, MREMAP_MAYMOVE);
	if (grown == MAP_FAILED) {
		EXPECT_EQ(ISTH_REGION_ISOLATED, self->kind);
		EXPECT_EQ(0, handle_revoke(handle));
		EXPECT_TRUE(is_dead(view, self->page));
		munmap(view, self->page);
	} else {
		EXPECT_TRUE(is_alive(grown, self->bytes));
		EXPECT_EQ(0, handle_revoke(handle));
		EXPECT_TRUE(is_dead(grown, self->bytes));
		munmap(grown, self->bytes);
	}
	close(handle);
}

TEST_F(region, pieces_of_a_mapping_die)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	struct isth_stat stat;
	size_t page = self->page;

	ASSERT_TRUE(is_alive(view, self->bytes));
	ASSERT_EQ(0, munmap(view + 8 * page, 8 * page));
	ASSERT_EQ(0, mprotect(view + 2 * page, page, PROT_READ));
	ASSERT_EQ(0, mprotect(view + 20 * page, 4 * page, PROT_NONE));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, 2 * page));
	EXPECT_EQ(SIGBUS, read_signal(view + 2 * page));
	EXPECT_TRUE(is_dead(view + 3 * page, 5 * page));
	EXPECT_EQ(SIGSEGV, read_signal(view + 8 * page));
	EXPECT_TRUE(is_dead(view + 16 * page, 4 * page));
	EXPECT_TRUE(is_dead(view + 24 * page, self->bytes - 24 * page));
	munmap(view, self->bytes);
	ASSERT_EQ(0, handle_stat(handle, &stat));
	EXPECT_EQ(0, stat.mappings);
	close(handle);
}

TEST_F(region, what_remap_file_pages_leaves_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	size_t i;

	ASSERT_TRUE(is_alive(view, self->bytes));
	(void)!remap_file_pages(view, self->page, 0, 1, 0);
	(void)!remap_file_pages(view + 4 * self->page, 2 * self->page, 0, 0, 0);
	EXPECT_EQ(0, handle_revoke(handle));
	for (i = 0; i < self->bytes; i += self->page)
		EXPECT_NE(0, read_signal(view + i));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(region, a_locked_mapping_dies)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

	ASSERT_EQ(0, read_signal(view));
	(void)!mlock(view, 4 * self->page);
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, self->bytes));
	(void)!mlock(view, 4 * self->page);
	EXPECT_TRUE(is_dead(view, self->bytes));
	munmap(view, self->bytes);
	close(handle);
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
}

/* ---- every request on a revoked handle ---- */

TEST_F(region, every_request_but_stat_and_revoke_says_so)
{
	int handle = handle_derive(self->owner, ISTH_RIGHTS_REGION);
	struct isth_revoke out;
	struct isth_stat before, after;

	ASSERT_EQ(0, handle_stat(handle, &before));
	ASSERT_EQ(0, handle_revoke_flags(handle, 0, &out));
	EXPECT_EQ(1, out.handles);
	EXPECT_EQ(-EKEYREVOKED, handle_derive(handle, ISTH_RIGHT_READ));
	EXPECT_EQ(-EKEYREVOKED, region_freeze(handle, NULL));
	EXPECT_EQ(EKEYREVOKED, map_error(handle, self->bytes, PROT_READ));
	EXPECT_EQ(EKEYREVOKED, map_error(handle, self->bytes, PROT_NONE));
	EXPECT_EQ(-EKEYREVOKED, region_wait(handle, 0, 0, 1));
	EXPECT_EQ(-EKEYREVOKED, region_wake(handle, 0, 1));
	ASSERT_EQ(0, handle_stat(handle, &after));
	EXPECT_EQ(before.state | ISTH_STATE_REVOKED, after.state);
	EXPECT_EQ(before.object_id, after.object_id);
	EXPECT_EQ(before.handle_id, after.handle_id);
	EXPECT_EQ(before.rights, after.rights);
	EXPECT_EQ(before.size, after.size);
	EXPECT_EQ(0, handle_revoke_flags(handle, 0, &out));
	EXPECT_EQ(0, out.handles);
	EXPECT_EQ(0, handle_state(self->owner) & (ISTH_STATE_REVOKED | ISTH_STATE_FROZEN));
	close(handle);
}

TEST_F(region, system_calls_on_dead_memory_fail)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t byte = 0;

	ASSERT_EQ(0, write_signal(view, view[0]));
	EXPECT_EQ(0, write_from(view, 64));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_EQ(-EFAULT, read_into(view, 64, 0xEE));
	EXPECT_EQ(-EFAULT, write_from(view, 64));
	EXPECT_EQ(-EFAULT, vm_read(getpid(), view, &byte, 1));
	EXPECT_EQ(-EFAULT, vm_write(getpid(), view, &byte, 1));
	EXPECT_EQ(-EIO, proc_mem_read(getpid(), view, &byte, 1));
	EXPECT_EQ(-EIO, proc_mem_write(getpid(), view, &byte, 1));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	munmap(view, self->bytes);
	close(handle);
}

/* ---- poll ---- */

TEST_F(region, poll_says_nothing_and_then_hang_up)
{
	int handle = handle_derive(self->owner, RIGHTS_RWD);
	int child = handle_derive(handle, ISTH_RIGHT_READ);
	struct pollfd fds[3] = {
		{ .fd = self->owner, .events = POLLIN | POLLOUT | POLLPRI },
		{ .fd = handle, .events = POLLIN | POLLOUT | POLLPRI },
		{ .fd = child, .events = 0 },
	};

	EXPECT_EQ(0, poll(fds, 3, 0));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_EQ(2, poll(fds, 3, 0));
	EXPECT_EQ(0, fds[0].revents);
	EXPECT_EQ(POLLHUP, fds[1].revents & POLLHUP);
	EXPECT_EQ(POLLHUP, fds[2].revents & POLLHUP);
	close(child);
	close(handle);
}

struct sleeper {
	int handle;
	int result;
	pid_t tid;
	atomic_int started;
	uint64_t offset;
};

static void *poll_sleeper(void *argument)
{
	struct sleeper *sleeper = argument;
	struct pollfd fd = { .fd = sleeper->handle, .events = POLLIN };

	sleeper->tid = (pid_t)syscall(SYS_gettid);
	atomic_store(&sleeper->started, 1);
	sleeper->result = poll(&fd, 1, 20000) == 1 ? fd.revents : -1;
	return NULL;
}

static void *epoll_sleeper(void *argument)
{
	struct sleeper *sleeper = argument;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	sleeper->tid = (pid_t)syscall(SYS_gettid);
	epoll_ctl(epoll, EPOLL_CTL_ADD, sleeper->handle, &event);
	atomic_store(&sleeper->started, 1);
	sleeper->result = epoll_wait(epoll, &event, 1, 20000) == 1 ? (int)event.events : -1;
	close(epoll);
	return NULL;
}

TEST_F(region, a_blocked_poll_and_a_blocked_epoll_wake)
{
	void *(*const kinds[])(void *) = { poll_sleeper, epoll_sleeper };
	int i;

	for (i = 0; i < 2; i++) {
		struct sleeper sleeper = { 0 };
		pthread_t thread;
		uint64_t begin;
		int parent = handle_derive(self->owner, RIGHTS_RWD);

		sleeper.handle = handle_derive(parent, RIGHTS_RW);
		ASSERT_LE(0, sleeper.handle);
		ASSERT_EQ(0, pthread_create(&thread, NULL, kinds[i], &sleeper));
		ASSERT_TRUE(wait_for(&sleeper.started, 1));
		ASSERT_TRUE(wait_asleep(sleeper.tid));
		begin = now_ms();
		EXPECT_EQ(0, handle_revoke(parent));
		pthread_join(thread, NULL);
		EXPECT_EQ(POLLHUP, sleeper.result & POLLHUP);
		EXPECT_NE(-1, sleeper.result);
		EXPECT_GT(10000, now_ms() - begin);
		close(sleeper.handle);
		close(parent);
	}
}

/* ---- blocked waits ---- */

static void *wait_sleeper(void *argument)
{
	struct sleeper *sleeper = argument;

	sleeper->tid = (pid_t)syscall(SYS_gettid);
	atomic_store(&sleeper->started, 1);
	sleeper->result = region_wait(sleeper->handle, sleeper->offset, 0,
				      now_ns() + 20000000000ULL);
	return NULL;
}

TEST_F(isolated, a_blocked_wait_wakes_with_the_error)
{
	struct sleeper dead = { 0 }, alive = { 0 };
	pthread_t dead_thread, alive_thread;
	int parent;

	memset(self->memory, 0, self->page);
	parent = handle_derive(self->owner, RIGHTS_RWD);
	dead.handle = handle_derive(parent, RIGHTS_RW);
	alive.handle = handle_derive(self->owner, RIGHTS_RW);
	ASSERT_EQ(0, pthread_create(&dead_thread, NULL, wait_sleeper, &dead));
	ASSERT_EQ(0, pthread_create(&alive_thread, NULL, wait_sleeper, &alive));
	ASSERT_TRUE(wait_for(&dead.started, 1));
	ASSERT_TRUE(wait_for(&alive.started, 1));
	ASSERT_TRUE(wait_asleep(dead.tid));
	ASSERT_TRUE(wait_asleep(alive.tid));
	EXPECT_EQ(0, handle_revoke(parent));
	pthread_join(dead_thread, NULL);
	EXPECT_EQ(-EKEYREVOKED, dead.result);
	/* The other waits on, and is counted alone. */
	sleep_ms(20);
	EXPECT_EQ('S', process_state(alive.tid));
	EXPECT_EQ(1, region_wake(self->owner, 0, 100));
	pthread_join(alive_thread, NULL);
	EXPECT_EQ(0, alive.result);
	close(dead.handle);
	close(alive.handle);
	close(parent);
}

/* ---- I/O that holds pages ---- */

/* REVOKE of @handle until I/O that was told to end has let go; what is pinned then. */
static uint64_t pinned_in_the_end(int handle)
{
	uint64_t end = now_ms() + 3000;
	struct isth_revoke out;

	do {
		if (handle_revoke_flags(handle, 0, &out))
			return UINT64_MAX;
		if (!out.pinned_pages)
			break;
		sleep_ms(2);
	} while (now_ms() < end);
	return out.pinned_pages;
}

TEST_F(pageable, a_fixed_buffer_is_refused_or_counted)
{
	const char *missing = uring_missing();
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	struct io_uring ring;
	struct isth_revoke out;
	int source, result;

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	result = uring_pin(&ring, view + 3 * self->page, 5 * self->page);
	if (uring_cannot_pin(result)) {
		EXPECT_EQ(0, handle_revoke_flags(handle, 0, &out));
		EXPECT_EQ(0, out.pinned_pages);
		munmap(view, self->bytes);
		close(handle);
		return;
	}
	ASSERT_EQ(0, result);
	EXPECT_EQ(0, handle_revoke_flags(handle, 0, &out));
	EXPECT_EQ(5, out.pinned_pages);
	EXPECT_EQ(1, out.handles);
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	/* That is what a pin means: the I/O goes on into the region. */
	source = memfd_create("isthmus-test", MFD_CLOEXEC);
	ASSERT_EQ(5, write(source, "pinny", 5));
	EXPECT_EQ(0, uring_read_fixed(&ring, source, view + 3 * self->page, 5));
	EXPECT_EQ(0, memcmp(self->memory + 3 * self->page, "pinny", 5));
	io_uring_queue_exit(&ring);
	EXPECT_EQ(0, pinned_in_the_end(handle));
	munmap(view, self->bytes);
	close(source);
	close(handle);
}

TEST_F(pageable, pages_pinned_by_a_copy_in_flight_are_counted)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	uint8_t *pinned = self->memory + 3 * self->page;
	struct held_pin pin;
	struct isth_revoke out;
	const char *missing;

	missing = held_pin_start(&pin, view + 3 * self->page, 5 * self->page);
	if (missing)
		SKIP(return, "%s", missing);
	EXPECT_EQ(0, handle_revoke_flags(handle, 0, &out));
	EXPECT_EQ(5, out.pinned_pages);
	EXPECT_EQ(1, out.handles);
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
	/* That is what a pin means: the copy that was under way still arrives. */
	EXPECT_EQ(0, held_pin_release(&pin));
	EXPECT_EQ(0xAB, pinned[0]);
	EXPECT_EQ(0xAB, pinned[5 * self->page - 1]);
	EXPECT_EQ(0, pinned_in_the_end(handle));
	munmap(view, self->bytes);
	close(handle);
}

TEST_F(pageable, pages_in_a_pipe_are_counted)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	struct isth_revoke out;
	char buffer[8];
	int ends[2];

	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	ASSERT_EQ(0, vmsplice_out(ends[1], view + self->page, 8));
	EXPECT_EQ(0, handle_revoke_flags(handle, 0, &out));
	EXPECT_EQ(1, out.pinned_pages);
	EXPECT_EQ(8, read(ends[0], buffer, sizeof(buffer)));
	EXPECT_EQ(0, memcmp(buffer, self->memory + self->page, 8));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(0, out.pinned_pages);
	munmap(view, self->bytes);
	close(ends[0]);
	close(ends[1]);
	close(handle);
}

TEST_F(region, no_pages_are_counted_when_nothing_holds_them)
{
	struct isth_revoke out;
	int i;

	/* Pages that were just allocated wait in the kernel's own queues for a while. */
	for (i = 0; i < 20; i++) {
		int owner = region_create(self->device, self->kind, self->flags,
					  self->bytes);
		int handle = handle_derive(owner, RIGHTS_RW);
		uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);

		ASSERT_NE(MAP_FAILED, (void *)view);
		memset(view, i + 1, self->bytes);
		EXPECT_EQ(0, handle_revoke_flags(handle, 0, &out));
		EXPECT_EQ(0, out.pinned_pages);
		munmap(view, self->bytes);
		close(handle);
		close(owner);
	}
}

/* ---- races ---- */

struct storm {
	uint8_t *view;
	size_t bytes;
	atomic_int steps;
	int signal;
	uint64_t random;
};

static void *store_storm(void *argument)
{
	struct storm *storm = argument;
	int result = 0;

	while (!result) {
		uint32_t chance = random_next(&storm->random);

		result = write_signal(storm->view + chance % storm->bytes, (uint8_t)(chance >> 24));
		atomic_fetch_add(&storm->steps, 1);
	}
	storm->signal = result;
	return NULL;
}

TEST_F(region, threads_in_flight_stop_at_once)
{
	uint8_t *before = test_alloc(self->bytes);
	uint64_t end = race_end(200);
	int i;

	do {
		int handle = handle_derive(self->owner, RIGHTS_RW);
		uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
		struct storm storms[3] = { 0 };
		pthread_t threads[3];

		ASSERT_NE(MAP_FAILED, (void *)view);
		for (i = 0; i < 3; i++) {
			storms[i].view = view;
			storms[i].bytes = self->bytes;
			storms[i].random = now_ns();
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, store_storm, &storms[i]));
		}
		for (i = 0; i < 3; i++)
			ASSERT_TRUE(wait_for(&storms[i].steps, 10));
		EXPECT_EQ(0, handle_revoke(handle));
		memcpy(before, self->memory, self->bytes);
		for (i = 0; i < 3; i++) {
			pthread_join(threads[i], NULL);
			EXPECT_EQ(SIGBUS, storms[i].signal);
		}
		EXPECT_EQ(0, memcmp(before, self->memory, self->bytes));
		munmap(view, self->bytes);
		close(handle);
	} while (now_ms() < end);
	free(before);
}

static void read_and_drop(uint8_t *view, size_t bytes, atomic_int *progress)
{
	size_t page = page_bytes();
	uint64_t random = now_ns();

	for (;;) {
		size_t offset = random_next(&random) % (bytes / page) * page;

		(void)*(volatile uint8_t *)(view + offset);
		madvise(view + offset, page, MADV_DONTNEED);
		atomic_fetch_add(progress, 1);
	}
}

TEST_F(region, processes_in_a_loop_of_faults_stop)
{
	uint64_t end = race_end(200);
	atomic_int *progress = shared_page();
	int i;

	do {
		int handle = handle_derive(self->owner, RIGHTS_RW);
		uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
		pid_t pids[2];

		ASSERT_NE(MAP_FAILED, (void *)view);
		for (i = 0; i < 2; i++) {
			atomic_store(&progress[i], 0);
			pids[i] = child_fork();
			ASSERT_LE(0, pids[i]);
			if (!pids[i])
				read_and_drop(view, self->bytes, &progress[i]);
		}
		for (i = 0; i < 2; i++)
			ASSERT_TRUE(wait_for(&progress[i], 20));
		EXPECT_EQ(0, handle_revoke(handle));
		for (i = 0; i < 2; i++)
			EXPECT_EQ(KILLED_BY(SIGBUS), child_status_within(pids[i], 10000));
		EXPECT_TRUE(is_dead(view, self->bytes));
		munmap(view, self->bytes);
		close(handle);
	} while (now_ms() < end);
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
}

TEST_F(region, a_mapper_racing_revoke_never_keeps_a_living_mapping)
{
	uint64_t end = race_end(200);
	atomic_int *step = shared_page();

	do {
		int handle = handle_derive(self->owner, RIGHTS_RW);
		pid_t pid;

		atomic_store(step, 0);
		pid = child_fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			uint8_t *view, *last = MAP_FAILED;

			/* Map until refused; the last mapping made must be dead. */
			while ((view = region_map(handle, self->page, PROT_READ)) != MAP_FAILED) {
				if (last != MAP_FAILED)
					munmap(last, self->page);
				last = view;
				atomic_fetch_add(step, 1);
			}
			if (errno != EKEYREVOKED)
				_exit(1);
			_exit(read_signal(last) == SIGBUS ? 0 : 2);
		}
		ASSERT_TRUE(wait_for(step, 5));
		EXPECT_EQ(0, handle_revoke(handle));
		EXPECT_EQ(0, child_status(pid));
		close(handle);
	} while (now_ms() < end);
}

struct deriver {
	int handle;
	int made;
	int error;
	bool survivor;
	atomic_int steps;
};

static void *derive_storm(void *argument)
{
	struct deriver *deriver = argument;

	for (;;) {
		int handle = handle_derive(deriver->handle, ISTH_RIGHT_READ);

		if (handle < 0) {
			deriver->error = handle;
			return NULL;
		}
		atomic_fetch_add(&deriver->steps, 1);
		if (deriver->made >= 0)
			close(deriver->made);
		deriver->made = handle;
	}
}

TEST_F(region, a_deriver_racing_revoke_never_keeps_a_living_handle)
{
	uint64_t end = race_end(200);

	do {
		struct deriver deriver = {
			.handle = handle_derive(self->owner, ISTH_RIGHT_READ | ISTH_RIGHT_DERIVE),
			.made = -1,
		};
		pthread_t thread;

		ASSERT_LE(0, deriver.handle);
		ASSERT_EQ(0, pthread_create(&thread, NULL, derive_storm, &deriver));
		ASSERT_TRUE(wait_for(&deriver.steps, 5));
		EXPECT_EQ(0, handle_revoke(deriver.handle));
		pthread_join(thread, NULL);
		EXPECT_EQ(-EKEYREVOKED, deriver.error);
		EXPECT_EQ(EKEYREVOKED, map_error(deriver.made, self->bytes, PROT_READ));
		close(deriver.made);
		close(deriver.handle);
	} while (now_ms() < end);
}

TEST_F(region, two_revokers_and_a_closer_meet)
{
	uint64_t end = race_end(150);
	atomic_int *go = shared_page();
	int i;

	do {
		int parent = handle_derive(self->owner, RIGHTS_RWD);
		int child = handle_derive(parent, RIGHTS_RW);
		uint8_t *view = region_map(child, self->bytes, PROT_READ | PROT_WRITE);
		pid_t pids[2];

		atomic_store(go, 0);
		for (i = 0; i < 2; i++) {
			pids[i] = child_fork();
			ASSERT_LE(0, pids[i]);
			if (!pids[i]) {
				while (!atomic_load(go))
					;
				_exit(handle_revoke(i ? child : parent) ? 1 : 0);
			}
		}
		atomic_store(go, 1);
		close(parent);
		for (i = 0; i < 2; i++)
			EXPECT_EQ(0, child_status(pids[i]));
		EXPECT_TRUE(is_dead(view, self->bytes));
		munmap(view, self->bytes);
		close(child);
	} while (now_ms() < end);
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
}

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
	TEST_F(fixture, no_write_lands_afterwards_by_##name) \
	{ \
		expect_race(_metadata, (struct race) { \
			.revoke = true, .writer = &writer_##name, .device = self->device, \
			.kind = self->kind, .flags = self->flags, .bytes = self->bytes, \
		}); \
	}

TEST_RACE(region, store)
TEST_RACE(lazy, store)
TEST_RACE(region, remap)
TEST_RACE(region, read)
TEST_RACE(region, vmsplice)
TEST_RACE(pageable, proc_mem)
TEST_RACE(pageable, vm_writev)

TEST_F(region, no_write_lands_afterwards_by_uring)
{
	const char *missing = uring_missing();

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	expect_race(_metadata, (struct race) {
		.revoke = true, .writer = &writer_uring, .device = self->device,
		.kind = self->kind, .bytes = self->bytes,
	});
}

TEST_F(pageable, no_write_lands_afterwards_by_direct_read)
{
	if (!scratch_device())
		SKIP(return, NO_SCRATCH_DEVICE);
	expect_race(_metadata, (struct race) {
		.revoke = true, .writer = &writer_direct_read, .device = self->device,
		.kind = self->kind, .bytes = self->bytes,
	});
}

/* ---- swap ---- */

TEST_F(pageable, swapped_out_memory_is_gone_for_one_and_there_for_others)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *view = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	long long before;

	if (swap_missing())
		SKIP(return, "%s", swap_missing());
	ASSERT_EQ(0, swap_on());
	before = swapped_out();
	EXPECT_EQ(0, madvise(view, self->bytes, MADV_PAGEOUT));
	(void)!madvise(self->memory, self->bytes, MADV_PAGEOUT);
	EXPECT_LT(before, swapped_out());
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_TRUE(is_dead(view, self->bytes));
	EXPECT_TRUE(is_alive(self->memory, self->bytes));
	EXPECT_EQ(0, swap_off());
	munmap(view, self->bytes);
	close(handle);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
