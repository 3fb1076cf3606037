// SPDX-License-Identifier: GPL-2.0-only
/* G11 and the border's layout, as a 32-bit program sees them; also built for 64 bits. */
#define _FILE_OFFSET_BITS 64
#include "hostile/attacks.h"

/* The same numbers in a 32-bit and a 64-bit program, or this does not compile. */
#define LAYOUT(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
#define SIZE(type, bytes) \
	_Static_assert(sizeof(struct type) == (bytes), #type)

SIZE(isth_info, 56);
LAYOUT(isth_info, abi_version, 4);
LAYOUT(isth_info, features, 8);
LAYOUT(isth_info, region_size_max, 16);
LAYOUT(isth_info, handles_max, 24);
LAYOUT(isth_info, page_size, 28);
LAYOUT(isth_info, regions, 32);
LAYOUT(isth_info, handles, 40);
LAYOUT(isth_info, mappings, 48);

SIZE(isth_region_create, 24);
LAYOUT(isth_region_create, kind, 4);
LAYOUT(isth_region_create, size, 8);
LAYOUT(isth_region_create, home, 16);

SIZE(isth_stat, 80);
LAYOUT(isth_stat, type, 4);
LAYOUT(isth_stat, kind, 8);
LAYOUT(isth_stat, rights, 12);
LAYOUT(isth_stat, state, 16);
LAYOUT(isth_stat, reserved, 20);
LAYOUT(isth_stat, object_id, 24);
LAYOUT(isth_stat, handle_id, 32);
LAYOUT(isth_stat, size, 40);
LAYOUT(isth_stat, home, 48);
LAYOUT(isth_stat, descendants, 56);
LAYOUT(isth_stat, mappings, 64);
LAYOUT(isth_stat, subtree_mappings, 72);

SIZE(isth_derive, 8);
LAYOUT(isth_derive, rights, 4);

SIZE(isth_revoke, 24);
LAYOUT(isth_revoke, reserved, 4);
LAYOUT(isth_revoke, handles, 8);
LAYOUT(isth_revoke, pinned_pages, 16);

SIZE(isth_freeze, 16);
LAYOUT(isth_freeze, reserved, 4);
LAYOUT(isth_freeze, pinned_pages, 8);

SIZE(isth_wait, 24);
LAYOUT(isth_wait, expected, 4);
LAYOUT(isth_wait, offset, 8);
LAYOUT(isth_wait, deadline, 16);

SIZE(isth_wake, 16);
LAYOUT(isth_wake, count, 4);
LAYOUT(isth_wake, offset, 8);

FIXTURE(caller)
{
	int device;
	int region;
	size_t page;
	uint8_t *memory;
};

FIXTURE_VARIANT(caller)
{
	uint32_t kind;
};

FIXTURE_VARIANT_ADD(caller, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(caller, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_SETUP(caller)
{
	self->page = page_bytes();
	self->device = device_open();
	ASSERT_LE(0, self->device);
	self->region = region_create(self->device, variant->kind, 0, 4 * self->page);
	ASSERT_LE(0, self->region);
	self->memory = region_map(self->region, 4 * self->page, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->memory);
}

FIXTURE_TEARDOWN(caller)
{
	munmap(self->memory, 4 * self->page);
	close(self->region);
	close(self->device);
}

TEST_F(caller, every_request_works)
{
	const bool isolated = variant->kind == ISTH_REGION_ISOLATED;
	struct isth_info info;
	struct isth_stat stat;
	struct isth_revoke out;
	uint64_t pinned = 1;
	int child;

	ASSERT_EQ(0, device_info(self->device, &info));
	EXPECT_EQ(ISTH_ABI_VERSION, info.abi_version);
	EXPECT_EQ(self->page, info.page_size);
	EXPECT_EQ(live_baseline.mappings + 1, info.mappings);

	fill_pattern(self->memory, 4 * self->page, 32);
	child = handle_derive(self->region, RIGHTS_RW);
	ASSERT_LE(0, child);
	ASSERT_EQ(0, handle_stat(child, &stat));
	EXPECT_EQ(ISTH_TYPE_REGION, stat.type);
	EXPECT_EQ(variant->kind, stat.kind);
	EXPECT_EQ(RIGHTS_RW, stat.rights);
	EXPECT_EQ(4 * self->page, stat.size);
	EXPECT_EQ(2, stat.handle_id);
	ASSERT_EQ(0, handle_stat(self->region, &stat));
	EXPECT_EQ(1, stat.descendants);
	EXPECT_EQ(1, stat.mappings);

	EXPECT_EQ(isolated ? -ETIMEDOUT : -EOPNOTSUPP,
		  region_wait(child, 4, ((uint32_t *)self->memory)[1], now_ns() + 1000000));
	EXPECT_EQ(isolated ? -EAGAIN : -EOPNOTSUPP,
		  region_wait(child, 4, ((uint32_t *)self->memory)[1] ^ 1, 0));
	EXPECT_EQ(isolated ? 0 : -EOPNOTSUPP, region_wake(child, 4, 1));
	EXPECT_EQ(0, region_freeze(self->region, &pinned));
	EXPECT_EQ(0, pinned);
	EXPECT_EQ(SIGBUS, write_signal(self->memory, 1));
	EXPECT_EQ(0, pattern_errors(self->memory, 4 * self->page, 32));
	EXPECT_EQ(0, handle_revoke_flags(self->region, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(1, out.handles);
	EXPECT_EQ(ISTH_STATE_REVOKED | ISTH_STATE_FROZEN, handle_state(child));
	EXPECT_EQ(0, handle_revoke(self->region));
	EXPECT_EQ(SIGBUS, read_signal(self->memory));
	close(child);
}

/* Offsets of mappings have more bits than addresses. */
TEST_F(caller, the_last_page_is_mapped_where_it_is)
{
	uint8_t *last;

	self->memory[3 * self->page] = 42;
	last = mmap(NULL, self->page, PROT_READ, MAP_SHARED, self->region,
		    (off_t)(3 * self->page));
	ASSERT_NE(MAP_FAILED, (void *)last);
	EXPECT_EQ(42, *last);
	munmap(last, self->page);
}

/* A home is in the address space or the mapping is refused, never elsewhere. */
TEST_F(caller, homes_within_and_beyond_its_address_space)
{
	static const uint64_t homes[] = {
		0x40000000, 0xfffe0000, 0xffffd000, 0xffffe000, 0xfffff000, 0x100000000,
		0x140000000, 0x200000000000,
	};
	const uint64_t end = sizeof(long) == 4 ? 0xffffe000 : address_end();
	uint64_t home;
	unsigned int i;
	int region, got;
	void *memory;

	for (i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		home = homes[i];
		region = region_create_at(self->device, variant->kind, self->page, home);
		ASSERT_LE(0, region);
		memory = region_map(region, self->page, PROT_READ);
		got = memory == MAP_FAILED ? errno : 0;
		if (home + self->page > end) {
			EXPECT_EQ(ENOMEM, got)
				TH_LOG("home %#llx", (unsigned long long)home);
		} else if (got != EEXIST) {
			/* The stack or a library may be there already. */
			EXPECT_EQ(0, got)
				TH_LOG("home %#llx", (unsigned long long)home);
			EXPECT_EQ(home, (uintptr_t)memory);
		}
		if (memory != MAP_FAILED)
			munmap(memory, self->page);
		/* Anywhere else it may be mapped all the same. */
		memory = mmap((void *)0x50000000, self->page, PROT_READ, MAP_SHARED, region, 0);
		EXPECT_NE(MAP_FAILED, memory);
		if (memory != MAP_FAILED)
			munmap(memory, self->page);
		close(region);
	}
	/* One that the kernel chooses is above them all. */
	region = region_create_at(self->device, variant->kind, self->page, 0);
	ASSERT_LE(0, region);
	EXPECT_EQ(sizeof(long) == 4 ? ENOMEM : 0, map_error(region, self->page, PROT_READ));
	close(region);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
