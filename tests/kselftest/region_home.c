// SPDX-License-Identifier: GPL-2.0-only
/* Home addresses: the same in every process, or a clear error. */
#include "isthmus_test.h"

#define PAGES	16

FIXTURE(home)
{
	int device;
	size_t page;
	size_t bytes;
};

FIXTURE_VARIANT(home)
{
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(home, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(home, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_SETUP(home)
{
	ASSERT_TRUE(live_settles());
	self->page = page_bytes();
	self->bytes = PAGES * self->page;
	self->device = device_open();
	ASSERT_LE(0, self->device);
}

FIXTURE_TEARDOWN(home)
{
	close(self->device);
}

static uint64_t handle_home(int handle)
{
	struct isth_stat stat;

	return handle_stat(handle, &stat) ? 1 : stat.home;
}

static void *map_at(int handle, size_t bytes, off_t offset)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handle, offset);
}

/* An address that is free now, for a region with a home of our choosing. */
static uint64_t free_address(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(memory, bytes);
	return (uintptr_t)memory;
}

TEST_F(home, the_kernel_chooses_one)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, 0);
	uint64_t home;
	uint8_t *memory;

	ASSERT_LE(0, handle);
	home = handle_home(handle);
	EXPECT_NE(0, home);
	EXPECT_EQ(0, home % self->page);
	memory = map_at(handle, self->bytes, 0);
	EXPECT_EQ(home, (uintptr_t)memory);
	munmap(memory, self->bytes);
	close(handle);
}

TEST_F(home, the_caller_chooses_one)
{
	uint64_t home = free_address(self->bytes);
	int handle = region_create_at(self->device, variant->kind, self->bytes, home);
	uint8_t *memory;

	ASSERT_LE(0, handle);
	EXPECT_EQ(home, handle_home(handle));
	memory = map_at(handle, self->bytes, 0);
	EXPECT_EQ(home, (uintptr_t)memory);
	munmap(memory, self->bytes);
	/* And again, since it is free again. */
	memory = map_at(handle, self->bytes, 0);
	EXPECT_EQ(home, (uintptr_t)memory);
	munmap(memory, self->bytes);
	close(handle);
}

TEST_F(home, a_part_is_mapped_where_it_lies_in_the_whole)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, 0);
	uint64_t home = handle_home(handle);
	uint8_t *part, *begin;

	part = map_at(handle, 2 * self->page, (off_t)(5 * self->page));
	EXPECT_EQ(home + 5 * self->page, (uintptr_t)part);
	begin = map_at(handle, 3 * self->page, 0);
	EXPECT_EQ(home, (uintptr_t)begin);
	part[0] = 42;
	munmap(begin, 3 * self->page);
	munmap(part, 2 * self->page);
	begin = map_at(handle, self->bytes, 0);
	EXPECT_EQ(home, (uintptr_t)begin);
	EXPECT_EQ(42, begin[5 * self->page]);
	munmap(begin, self->bytes);
	close(handle);
}

TEST_F(home, a_region_without_one_has_none)
{
	int handle = region_create(self->device, variant->kind, 0, self->bytes);

	ASSERT_LE(0, handle);
	EXPECT_EQ(0, handle_home(handle));
	EXPECT_EQ(0, map_error(handle, self->bytes, PROT_READ));
	close(handle);
}

TEST_F(home, derived_handles_have_the_same)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, 0);
	int narrow = handle_derive(handle, ISTH_RIGHT_READ);
	void *memory;

	EXPECT_EQ(handle_home(handle), handle_home(narrow));
	memory = region_map(narrow, self->bytes, PROT_READ);
	EXPECT_EQ(handle_home(handle), (uintptr_t)memory);
	munmap(memory, self->bytes);
	close(narrow);
	close(handle);
}

TEST_F(home, an_occupied_home_is_eexist_and_unharmed)
{
	uint64_t home = free_address(self->bytes);
	int handle = region_create_at(self->device, variant->kind, self->bytes, home);
	uint8_t *squatter, *memory;
	size_t offset;

	ASSERT_LE(0, handle);
	/* Whole, first page, last page, a page in the middle. */
	for (offset = 0; offset < self->bytes; offset += 5 * self->page) {
		squatter = mmap((void *)(uintptr_t)(home + offset), self->page,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		ASSERT_NE(MAP_FAILED, (void *)squatter);
		squatter[0] = 77;
		EXPECT_EQ(MAP_FAILED, map_at(handle, self->bytes, 0));
		EXPECT_EQ(EEXIST, errno);
		EXPECT_EQ(77, squatter[0]);
		munmap(squatter, self->page);
	}
	memory = map_at(handle, self->bytes, 0);
	EXPECT_EQ(home, (uintptr_t)memory);
	/* The second time it is itself what is in the way. */
	EXPECT_EQ(MAP_FAILED, map_at(handle, self->bytes, 0));
	EXPECT_EQ(EEXIST, errno);
	munmap(memory, self->bytes);
	/* Neighbours on both sides are not in the way. */
	squatter = mmap((void *)(uintptr_t)(home + self->bytes), self->page, PROT_READ,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	memory = map_at(handle, self->bytes, 0);
	EXPECT_EQ(home, (uintptr_t)memory);
	munmap(memory, self->bytes);
	munmap(squatter, self->page);
	close(handle);
}

TEST_F(home, an_address_given_by_the_caller_wins)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, 0);
	uint64_t elsewhere = free_address(self->bytes);
	void *memory;

	memory = mmap((void *)(uintptr_t)elsewhere, self->bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE, handle, 0);
	EXPECT_EQ(elsewhere, (uintptr_t)memory);
	munmap(memory, self->bytes);
	memory = mmap((void *)(uintptr_t)elsewhere, self->bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED, handle, 0);
	EXPECT_NE(MAP_FAILED, memory);
	munmap(memory, self->bytes);
	memory = mmap((void *)(uintptr_t)elsewhere, self->bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED, handle, 0);
	EXPECT_EQ(elsewhere, (uintptr_t)memory);
	munmap(memory, self->bytes);
	close(handle);
}

TEST_F(home, many_regions_have_homes_apart)
{
	enum { COUNT = 64 };
	uint64_t homes[COUNT];
	int handles[COUNT], i, j;
	void *memory[COUNT];

	for (i = 0; i < COUNT; i++) {
		handles[i] = region_create_at(self->device, variant->kind,
					      (i % 4 + 1) * self->page, 0);
		ASSERT_LE(0, handles[i]);
		homes[i] = handle_home(handles[i]);
		memory[i] = map_at(handles[i], (i % 4 + 1) * self->page, 0);
		EXPECT_EQ(homes[i], (uintptr_t)memory[i]);
		for (j = 0; j < i; j++)
			EXPECT_FALSE(homes[i] < homes[j] + (j % 4 + 1) * self->page &&
				     homes[j] < homes[i] + (i % 4 + 1) * self->page);
	}
	for (i = 0; i < COUNT; i++) {
		munmap(memory[i], (i % 4 + 1) * self->page);
		close(handles[i]);
	}
}

TEST_F(home, bad_homes_are_refused)
{
	struct isth_region_create create = {
		.kind = variant->kind, .size = self->bytes, .home = 0x200000000000,
	};

	/* Without the flag there is no home to give. */
	EXPECT_EQ(-EINVAL, request(self->device, ISTH_REGION_CREATE, &create));
	create.flags = ISTH_REGION_HOME;
	create.home += 1;
	EXPECT_EQ(-EINVAL, request(self->device, ISTH_REGION_CREATE, &create));
	create.home += self->page / 2;
	EXPECT_EQ(-EINVAL, request(self->device, ISTH_REGION_CREATE, &create));
}

/* Where no process can have anything, it fails at creation or when it is mapped. */
TEST_F(home, homes_outside_the_address_space_are_never_mapped)
{
	const uint64_t homes[] = {
		0x7FFFFFFFF000 - self->bytes + self->page, 0x7FFFFFFFF000, 0x800000000000,
		0xFFFF800000000000, 0xFFFFFFFFFFFFF000, 0xFFFFFFFFFFFFF000 - self->bytes,
		0x8000000000000000, 0xFFFFFFFF81000000,
	};
	size_t i;

	for (i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		int handle = region_create_at(self->device, variant->kind, self->bytes, homes[i]);

		if (handle < 0) {
			EXPECT_TRUE(handle == -EINVAL || handle == -ENOMEM)
				TH_LOG("%#llx: %d", (unsigned long long)homes[i], handle);
			continue;
		}
		EXPECT_EQ(MAP_FAILED, map_at(handle, self->bytes, 0))
			TH_LOG("home %#llx", (unsigned long long)homes[i]);
		EXPECT_EQ(ENOMEM, errno);
		close(handle);
	}
}

TEST_F(home, the_lowest_pages_stay_closed)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, self->page);
	pid_t pid;

	if (handle < 0) {
		EXPECT_EQ(-EINVAL, handle);
		return;
	}
	if (file_number("/proc/sys/vm/mmap_min_addr", NULL) <= (long long)self->page) {
		close(handle);
		SKIP(return, "vm.mmap_min_addr closes nothing here");
	}
	/* mmap_min_addr holds for whoever has no privilege. */
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!geteuid() && setresuid(65534, 65534, 65534))
			_exit(1);
		_exit(map_at(handle, self->bytes, 0) == MAP_FAILED ? 0 : 2);
	}
	EXPECT_EQ(0, child_status(pid));
	close(handle);
}

/* ---- what it is for ---- */

struct node {
	struct node *next;
	uint64_t value;
};

static int walk(const struct node *node, uint64_t count)
{
	uint64_t i;

	for (i = 0; i < count; i++, node = node->next)
		if (!node || node->value != i * i)
			return 1;
	return node ? 2 : 0;
}

TEST_F(home, plain_pointers_hold_in_another_process)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, 0);
	uint64_t home = handle_home(handle), i;
	const uint64_t count = 500;
	struct node *nodes = map_at(handle, self->bytes, 0);
	pid_t pid;

	ASSERT_EQ(home, (uintptr_t)nodes);
	for (i = 0; i < count; i++) {
		nodes[i].value = i * i;
		nodes[i].next = i + 1 < count ? &nodes[i + 1] : NULL;
	}
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		void *mine;

		munmap(nodes, self->bytes);
		mine = region_map(handle, self->bytes, PROT_READ);
		if ((uintptr_t)mine != home)
			_exit(10);
		_exit(walk(mine, count));
	}
	EXPECT_EQ(0, child_status(pid));
	munmap(nodes, self->bytes);
	close(handle);
}

TEST_F(home, revoke_reaches_a_mapping_at_home)
{
	int handle = region_create_at(self->device, variant->kind, self->bytes, 0);
	int narrow = handle_derive(handle, RIGHTS_RW);
	uint8_t *memory = map_at(narrow, self->bytes, 0);

	ASSERT_EQ(0, write_signal(memory, 1));
	EXPECT_EQ(0, handle_revoke(narrow));
	EXPECT_EQ(SIGBUS, read_signal(memory));
	munmap(memory, self->bytes);
	close(narrow);
	close(handle);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
