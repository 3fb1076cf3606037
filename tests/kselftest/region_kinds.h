/* SPDX-License-Identifier: GPL-2.0-only */
/* Fixtures with a region that its owner has mapped and filled, for one kind or for several. */
#ifndef REGION_KINDS_H
#define REGION_KINDS_H

#include "isthmus_test.h"

#define REGION_PAGES	64
#define REGION_SEED	0x1571

/* Make the region of a fixture; called with the fixture's members. */
static inline void region_set_up(struct __test_metadata *_metadata, int device, uint32_t kind,
				 uint32_t flags, int *owner, uint8_t **memory)
{
	const size_t bytes = REGION_PAGES * page_bytes();

	ASSERT_LE(0, device)
		TH_LOG("/dev/isthmus: %s", strerror(-device));
	ASSERT_TRUE(live_settles())
		TH_LOG("a test before this one left something alive");
	*owner = region_create(device, kind, flags, bytes);
	ASSERT_LE(0, *owner);
	*memory = region_map(*owner, bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)*memory);
	fill_pattern(*memory, bytes, REGION_SEED);
}

#define REGION_FIXTURE_BODY(name, a_kind, some_flags) \
	FIXTURE_SETUP(name) \
	{ \
		self->page = page_bytes(); \
		self->bytes = REGION_PAGES * self->page; \
		self->device = device_open(); \
		self->kind = a_kind; \
		self->flags = some_flags; \
		region_set_up(_metadata, self->device, self->kind, self->flags, &self->owner, \
			      &self->memory); \
	} \
	FIXTURE_TEARDOWN(name) \
	{ \
		munmap(self->memory, self->bytes); \
		close(self->owner); \
		close(self->device); \
	}

#define REGION_FIXTURE_MEMBERS { \
		int device; \
		int owner; \
		uint8_t *memory; \
		size_t page; \
		size_t bytes; \
		uint32_t kind; \
		uint32_t flags; \
	}

/* TEST_F(name, ...) runs for one kind. */
#define REGION_FIXTURE_ONE(name, a_kind, some_flags) \
	FIXTURE(name) REGION_FIXTURE_MEMBERS; \
	REGION_FIXTURE_BODY(name, a_kind, some_flags)

/* TEST_F(name, ...) runs for a pageable and for an isolated region. */
#define REGION_FIXTURE_BOTH(name) \
	FIXTURE(name) REGION_FIXTURE_MEMBERS; \
	FIXTURE_VARIANT(name) { uint32_t kind; }; \
	FIXTURE_VARIANT_ADD(name, pageable) { .kind = ISTH_REGION_PAGEABLE, }; \
	FIXTURE_VARIANT_ADD(name, isolated) { .kind = ISTH_REGION_ISOLATED, }; \
	REGION_FIXTURE_BODY(name, variant->kind, 0)

#endif /* REGION_KINDS_H */
