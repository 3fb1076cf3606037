/* SPDX-License-Identifier: GPL-2.0-only */
/* G11: the attacks on every request, which 64-bit and 32-bit callers share. */
#ifndef ATTACKS_H
#define ATTACKS_H

#include "hostile.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>

/* ---- the fixture ---- */

#define HOSTILE_PAGES	4

/* As the harness calls it. */
#define hostile_fixture _test_data_hostile

/**
 * struct hostile_fixture - what there is to attack
 * @device: /dev/isthmus
 * @handle: every right on a frozen region of zeros
 * @buffer: SIZE_LIMIT bytes, then @guard
 * @guard: memory that may not be touched
 * @before: a copy of what @buffer had
 */
FIXTURE(hostile)
{
	int device;
	int handle;
	size_t page;
	size_t bytes;
	uint8_t *buffer;
	uint8_t *guard;
	uint8_t *before;
};

FIXTURE_VARIANT(hostile)
{
	uint32_t kind;
	bool user_namespace;
};

FIXTURE_VARIANT_ADD(hostile, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(hostile, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
};

FIXTURE_VARIANT_ADD(hostile, pageable_user_namespace)
{
	.kind = ISTH_REGION_PAGEABLE, .user_namespace = true,
};

FIXTURE_VARIANT_ADD(hostile, isolated_user_namespace)
{
	.kind = ISTH_REGION_ISOLATED, .user_namespace = true,
};

FIXTURE_SETUP(hostile)
{
	const char *why;

	self->page = page_bytes();
	self->bytes = HOSTILE_PAGES * self->page;
	self->device = device_open();
	self->handle = -1;
	ASSERT_LE(0, self->device)
		TH_LOG("/dev/isthmus: %s", strerror(-self->device));
	if (variant->user_namespace) {
		why = enter_user_namespace();
		if (why)
			SKIP(_exit(255), "%s", why);
	}
	ASSERT_TRUE(live_settles_by(self->device))
		TH_LOG("a test before this one left something alive");
	self->handle = region_create(self->device, variant->kind, 0, self->bytes);
	ASSERT_LE(0, self->handle);
	ASSERT_EQ(0, region_freeze(self->handle, NULL));

	self->buffer = mmap(NULL, SIZE_LIMIT + self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->buffer);
	self->guard = self->buffer + SIZE_LIMIT;
	ASSERT_EQ(0, mprotect(self->guard, self->page, PROT_NONE));
	self->before = calloc(1, SIZE_LIMIT);
	ASSERT_NE(NULL, self->before);
}

/* Whatever was tried, nothing may be left of it. */
FIXTURE_TEARDOWN(hostile)
{
	if (self->handle >= 0)
		close(self->handle);
	EXPECT_TRUE(live_settles_by(self->device));
	close(self->device);
}

/*
 * One attempt on @fd; a descriptor that it returns is closed and counts as zero,
 * as success does.
 */
static inline int attempt_on(int fd, const struct target *target, unsigned int code,
			     const void *structure)
{
	int result = request(fd, code, (void *)(uintptr_t)structure);

	if (result >= 0 && target->descriptor) {
		close(result);
		return 0;
	}
	return result;
}

static inline int attempt_size(const struct hostile_fixture *self, const struct target *target,
			       unsigned int size, const void *structure)
{
	return attempt_on(target->on_device ? self->device : self->handle, target,
			  code_with_size(target->code, size), structure);
}

static inline int attempt(const struct hostile_fixture *self, const struct target *target,
			  const void *structure)
{
	return attempt_size(self, target, _IOC_SIZE(target->code), structure);
}

/* What the harmless structure must give. */
static inline int expected(const struct target *target, uint32_t kind)
{
	if (target->only_isolated && kind == ISTH_REGION_PAGEABLE)
		return -EOPNOTSUPP;
	return target->expected;
}

static inline bool has_results(const struct target *target)
{
	return _IOC_DIR(target->code) & _IOC_READ;
}

/* ---- first of all: the harmless ones work, or every refusal below means nothing ---- */

TEST_F(hostile, harmless_requests_work)
{
	const struct target *target;
	union structure structure;

	for_each_target(target) {
		harmless(target, variant->kind, &structure);
		EXPECT_EQ(expected(target, variant->kind), attempt(self, target, &structure))
			TH_LOG("%s", target->name);
	}
}

/* ---- sizes ---- */

/**
 * struct sizes - a run over all sizes of one request
 * @self: the fixture
 * @target: the request
 * @kind: of the region
 * @step: between sizes; one but where all of them were tried by somebody else
 * @tail_byte: what the last byte of a structure that is too long has
 */
struct sizes {
	const struct hostile_fixture *self;
	const struct target *target;
	uint32_t kind;
	unsigned int step;
	uint8_t tail_byte;
};

static int size_expected(const struct sizes *run, unsigned int size)
{
	unsigned int known = _IOC_SIZE(run->target->code);

	if (size < known)
		return -EINVAL;
	if (size > known && run->tail_byte)
		return -E2BIG;
	return expected(run->target, run->kind);
}

/* One size, with the structure's end where memory ends; whether all was as it must be. */
static bool size_holds(const struct sizes *run, unsigned int size)
{
	const struct target *target = run->target;
	unsigned int known = _IOC_SIZE(target->code);
	uint8_t *structure = run->self->guard - size;
	int want = size_expected(run, size), got;
	unsigned int written = 0;
	union structure valid;

	harmless(target, run->kind, &valid);
	memcpy(structure, &valid, size < known ? size : known);
	if (size > known) {
		memset(structure + known, 0, size - known);
		structure[size - 1] = run->tail_byte;
	}
	memcpy(run->self->before, structure, size);
	got = attempt_size(run->self, target, size, structure);
	if (!got && has_results(target))
		written = known;
	if (got == want && same(structure + written, run->self->before + written, size - written))
		return true;
	fprintf(stderr, "# %s with %u bytes, last one %u: %d instead of %d%s\n", target->name,
		size, run->tail_byte, got, want, got == want ? ", and wrote where it must not" : "");
	return false;
}

/* The number of sizes at which something was wrong. */
static unsigned int sizes_wrong(const struct sizes *run)
{
	unsigned int size, wrong = 0;

	for (size = 0; size <= 4096 && wrong < 5; size += size < 128 ? 1 : run->step)
		wrong += !size_holds(run, size);
	for (; size < SIZE_LIMIT && wrong < 5; size += 509)
		wrong += !size_holds(run, size);
	wrong += !size_holds(run, SIZE_LIMIT - 1);
	return wrong;
}

TEST_F(hostile, every_size_with_a_zero_tail)
{
	struct sizes run = {
		.self = self, .kind = variant->kind, .step = variant->user_namespace ? 37 : 1
	};

	for_each_target(run.target)
		EXPECT_EQ(0, sizes_wrong(&run));
}

TEST_F(hostile, every_size_with_a_nonzero_tail)
{
	struct sizes run = {
		.self = self, .kind = variant->kind, .step = 1, .tail_byte = 0x80
	};

	for_each_target(run.target)
		EXPECT_EQ(0, sizes_wrong(&run));
}

/* A single byte that is not zero, at any place behind what the module knows. */
TEST_F(hostile, a_nonzero_byte_anywhere_in_the_tail)
{
	const struct target *target;
	union structure structure;
	unsigned int at, known;

	for_each_target(target) {
		known = _IOC_SIZE(target->code);
		for (at = known; at < sizeof(structure); at++) {
			harmless(target, variant->kind, &structure);
			structure.bytes[at] = 0x80;
			EXPECT_EQ(-E2BIG, attempt_size(self, target, sizeof(structure),
						       &structure))
				TH_LOG("%s, byte %u", target->name, at);
		}
	}
}

/* ---- flags and reserved fields ---- */

/*
 * The harmless structure with one more bit set must be EINVAL and stay as it was.
 * The bits of a 32-bit field, except @known, with which that did not hold.
 */
static uint32_t bits_taken(const struct hostile_fixture *self, const struct target *target,
			   uint32_t kind, size_t field, uint32_t known)
{
	union structure structure, before;
	uint32_t value, bit, taken = 0;

	for (bit = 1; bit; bit <<= 1) {
		if (known & bit)
			continue;
		harmless(target, kind, &structure);
		memcpy(&value, structure.bytes + field, sizeof(value));
		value |= bit;
		memcpy(structure.bytes + field, &value, sizeof(value));
		before = structure;
		if (attempt(self, target, &structure) != -EINVAL ||
		    !same(&structure, &before, sizeof(before)))
			taken |= bit;
	}
	return taken;
}

TEST_F(hostile, every_unknown_flag)
{
	const struct target *target;

	for_each_target(target) {
		EXPECT_EQ(0, bits_taken(self, target, variant->kind, 0, target->flags_known))
			TH_LOG("%s", target->name);
	}
}

TEST_F(hostile, every_reserved_bit)
{
	const struct target *target;

	for_each_target(target) {
		if (!target->reserved)
			continue;
		EXPECT_EQ(0, bits_taken(self, target, variant->kind, target->reserved, 0))
			TH_LOG("%s", target->name);
	}
}

TEST_F(hostile, every_unknown_right)
{
	struct isth_derive derive;
	unsigned int bit;

	derive = (struct isth_derive) { 0 };
	EXPECT_EQ(-EINVAL, request(self->handle, ISTH_DERIVE, &derive));
	for (bit = 0; bit < 32; bit++) {
		if (ISTH_RIGHTS_REGION & 1U << bit)
			continue;
		derive.rights = 1U << bit;
		EXPECT_EQ(-EINVAL, request(self->handle, ISTH_DERIVE, &derive))
			TH_LOG("bit %u", bit);
		derive.rights |= ISTH_RIGHT_READ;
		EXPECT_EQ(-EINVAL, request(self->handle, ISTH_DERIVE, &derive))
			TH_LOG("bit %u", bit);
	}
}

TEST_F(hostile, every_unknown_kind)
{
	unsigned int bit;

	EXPECT_EQ(-EINVAL, region_create(self->device, 0, 0, self->page));
	EXPECT_EQ(-EINVAL, region_create(self->device, 3, 0, self->page));
	EXPECT_EQ(-EINVAL, region_create(self->device, UINT32_MAX, 0, self->page));
	for (bit = 2; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, region_create(self->device, 1U << bit, 0, self->page));
		EXPECT_EQ(-EINVAL, region_create(self->device, 1U << bit | variant->kind, 0,
						 self->page));
	}
	EXPECT_EQ(variant->kind == ISTH_REGION_ISOLATED ? -EOPNOTSUPP : 0,
		  ({
			int fd = region_create(self->device, variant->kind, ISTH_REGION_LAZY,
					       self->page);

			if (fd >= 0)
				close(fd);
			fd < 0 ? fd : 0;
		  }));
}

/* ---- request codes ---- */

/* Our letter and any number, direction and size: ENOTTY, unless the table has it. */
static bool code_refused(int fd, bool device, unsigned int direction, unsigned int number,
			 unsigned int size, uint8_t *structure)
{
	unsigned int code = _IOC(direction, ISTH_IOC_MAGIC, number, size);
	const struct target *target;
	int got;

	for_each_target(target)
		if (target->on_device == device && code_with_size(target->code, size) == code)
			return true;
	got = request(fd, code, structure);
	if (got == -ENOTTY)
		return true;
	fprintf(stderr, "# code %#x on the %s: %d\n", code, device ? "device" : "handle", got);
	return false;
}

TEST_F(hostile, every_unknown_request)
{
	static const unsigned int sizes[] = { 0, 1, 8, 24, 80, 4096, SIZE_LIMIT - 1 };
	unsigned int number, direction, i;

	for (number = 0; number < 256; number++) {
		for (direction = 0; direction < 4; direction++) {
			for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
				EXPECT_TRUE(code_refused(self->device, true, direction, number,
							 sizes[i], self->buffer));
				EXPECT_TRUE(code_refused(self->handle, false, direction, number,
							 sizes[i], self->buffer));
			}
		}
	}
}

/* ---- pointers ---- */

/* A structure at @address must be EFAULT. */
static void pointer_refused(struct __test_metadata *_metadata, const struct hostile_fixture *self,
			    uint64_t address, const char *what)
{
	const struct target *target;

	/* A caller of 32 bits cannot say more. */
	if ((uintptr_t)address != address)
		return;
	for_each_target(target) {
		EXPECT_EQ(-EFAULT, attempt(self, target, (void *)(uintptr_t)address))
			TH_LOG("%s at %s, %#llx", target->name, what, (unsigned long long)address);
	}
}

TEST_F(hostile, pointers_to_nothing)
{
	static const uint64_t nowhere[] = {
		0, 1, 8, 0xfff, 0xffff880000000000, 0xffff888000000000, 0xffff888000100000,
		0xffffffff81000000, 0xffffffff82000000, 0xffffffffc0000000, 0xffffffffff600000,
		0x8000000000000000, 0x7fffffffffffffff, 0x0000800000000000, 0x0100000000000000,
		0xffffffffffffffff, 0xfffffffffffffff8, 0xfffffffffffff000,
		/* The same for 32 bits, where the end of memory is nearer. */
		0xffffffff, 0xfffffff8, 0xfffff000, 0xffffe000,
	};
	unsigned int i;

	for (i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
		pointer_refused(_metadata, self, nowhere[i], "an address that is not ours");
	pointer_refused(_metadata, self, (uintptr_t)self->guard, "memory without permission");
	munmap(self->guard, self->page);
	pointer_refused(_metadata, self, (uintptr_t)self->guard, "unmapped memory");
	pointer_refused(_metadata, self, (uintptr_t)self->guard + self->page - 8,
			"the end of unmapped memory");
}

/* All but the last byte, the last word, the last half is there. */
TEST_F(hostile, structures_that_cross_into_nothing)
{
	const struct target *target;
	union structure valid;
	unsigned int there, size;
	uint8_t *structure;

	for_each_target(target) {
		size = _IOC_SIZE(target->code);
		harmless(target, variant->kind, &valid);
		for (there = 0; there < size; there++) {
			structure = self->guard - there;
			memcpy(structure, &valid, there);
			EXPECT_EQ(-EFAULT, attempt(self, target, structure))
				TH_LOG("%s, %u bytes of %u", target->name, there, size);
			EXPECT_TRUE(same(structure, &valid, there));
		}
	}
}

/* A long structure whose tail is not there, though what the module knows is. */
TEST_F(hostile, tails_that_cross_into_nothing)
{
	const struct target *target;
	union structure valid;
	uint8_t *structure;
	unsigned int size;

	for_each_target(target) {
		size = _IOC_SIZE(target->code);
		harmless(target, variant->kind, &valid);
		structure = self->guard - size;
		memcpy(structure, &valid, size);
		EXPECT_EQ(-EFAULT, attempt_size(self, target, size + 1, structure))
			TH_LOG("%s", target->name);
		EXPECT_EQ(-EFAULT, attempt_size(self, target, SIZE_LIMIT - 1, structure))
			TH_LOG("%s", target->name);
	}
}

/* What only goes in may be read-only; where something comes out it is EFAULT. */
TEST_F(hostile, structures_in_read_only_memory)
{
	const struct target *target;
	union structure valid;
	int want;

	for_each_target(target) {
		harmless(target, variant->kind, &valid);
		memcpy(self->buffer, &valid, sizeof(valid));
		ASSERT_EQ(0, mprotect(self->buffer, self->page, PROT_READ));
		want = has_results(target) ? -EFAULT : expected(target, variant->kind);
		EXPECT_EQ(want, attempt(self, target, self->buffer))
			TH_LOG("%s", target->name);
		EXPECT_TRUE(same(self->buffer, &valid, sizeof(valid)));
		ASSERT_EQ(0, mprotect(self->buffer, self->page, PROT_READ | PROT_WRITE));
	}
}

/* The second half of the results has no place: the first half must not be written either. */
TEST_F(hostile, results_that_fit_half)
{
	const struct target *target;
	union structure valid;
	uint8_t *structure;
	unsigned int size;

	for_each_target(target) {
		if (!has_results(target))
			continue;
		size = _IOC_SIZE(target->code);
		structure = self->guard - self->page - size / 2;
		harmless(target, variant->kind, &valid);
		memcpy(structure, &valid, size);
		ASSERT_EQ(0, mprotect(self->guard - self->page, self->page, PROT_READ));
		EXPECT_EQ(-EFAULT, attempt(self, target, structure))
			TH_LOG("%s", target->name);
		EXPECT_TRUE(same(structure, &valid, size))
			TH_LOG("%s wrote part of its results", target->name);
		ASSERT_EQ(0, mprotect(self->guard - self->page, self->page,
				      PROT_READ | PROT_WRITE));
	}
}

/* An error leaves everything as it was. */
TEST_F(hostile, a_request_without_room_for_results_does_nothing)
{
	struct isth_revoke *revoke = (void *)self->buffer;
	struct isth_freeze *freeze = (void *)(self->buffer + sizeof(*revoke));
	int region = region_create(self->device, variant->kind, 0, self->page);

	ASSERT_LE(0, region);
	memset(self->buffer, 0, self->page);
	ASSERT_EQ(0, mprotect(self->buffer, self->page, PROT_READ));
	EXPECT_EQ(-EFAULT, request(region, ISTH_FREEZE, freeze));
	EXPECT_EQ(0, handle_state(region))
		TH_LOG("frozen in spite of EFAULT");
	EXPECT_EQ(-EFAULT, request(region, ISTH_REVOKE, revoke));
	EXPECT_EQ(0, handle_state(region) & ISTH_STATE_REVOKED)
		TH_LOG("revoked in spite of EFAULT");
	close(region);
}

/* The structure lies in the region that the request is about. */
TEST_F(hostile, structures_inside_a_region)
{
	int region = region_create(self->device, variant->kind, 0, self->page);
	const struct target *target;
	uint8_t *memory;
	int got;

	ASSERT_LE(0, region);
	memory = region_map(region, self->page, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	for_each_target(target) {
		if (target->code == ISTH_FREEZE)
			continue;
		harmless(target, variant->kind, (void *)memory);
		got = attempt_on(target->on_device ? self->device : region, target, target->code,
				 memory);
		EXPECT_EQ(expected(target, variant->kind), got)
			TH_LOG("%s", target->name);
	}
	/* Results cannot be written into what this very request froze or revoked. */
	memset(memory, 0, self->page);
	got = request(region, ISTH_FREEZE, memory);
	EXPECT_TRUE(got == 0 || got == -EFAULT);
	EXPECT_TRUE(handle_state(region) & ISTH_STATE_FROZEN || got);
	got = request(region, ISTH_REVOKE, memory);
	EXPECT_EQ(-EFAULT, got);
	munmap(memory, self->page);
	close(region);
}

/* ---- descriptors ---- */

TEST_F(hostile, descriptors_of_something_else)
{
	int pipes[2], sockets[2], closed, i;
	const struct target *target;
	union structure structure;
	int others[9];
	int count = (int)(sizeof(others) / sizeof(others[0]));

	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	others[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	others[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
	others[2] = epoll_create1(EPOLL_CLOEXEC);
	others[3] = eventfd(0, EFD_CLOEXEC);
	others[4] = memfd_create("other", MFD_CLOEXEC);
	others[5] = pipes[0];
	others[6] = pipes[1];
	others[7] = sockets[0];
	others[8] = sockets[1];
	closed = dup(self->handle);
	ASSERT_LE(0, closed);
	close(closed);

	for_each_target(target) {
		harmless(target, variant->kind, &structure);
		for (i = 0; i < count; i++) {
			ASSERT_LE(0, others[i]);
			EXPECT_EQ(-ENOTTY, attempt_on(others[i], target, target->code, &structure))
				TH_LOG("%s on descriptor %d", target->name, i);
		}
		EXPECT_EQ(-EBADF, attempt_on(closed, target, target->code, &structure));
		EXPECT_EQ(-EBADF, attempt_on(-1, target, target->code, &structure));
		EXPECT_EQ(-EBADF, attempt_on(INT32_MAX, target, target->code, &structure));
		/* The device for a handle, and the reverse. */
		EXPECT_EQ(-ENOTTY, attempt_on(target->on_device ? self->handle : self->device,
					      target, target->code, &structure))
			TH_LOG("%s", target->name);
	}
	for (i = 0; i < count; i++)
		close(others[i]);
}

/* A descriptor that only names the file gives access to nothing. */
TEST_F(hostile, descriptors_without_access)
{
	const struct target *target;
	union structure structure;
	char path[64];
	int named;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->handle);
	named = open(path, O_PATH | O_CLOEXEC);
	ASSERT_LE(0, named);
	for_each_target(target) {
		harmless(target, variant->kind, &structure);
		EXPECT_EQ(-EBADF, attempt_on(named, target, target->code, &structure));
	}
	EXPECT_EQ(EBADF, map_error(named, self->page, PROT_READ));
	close(named);
	EXPECT_EQ(-1, open(path, O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(-1, open(path, O_RDWR | O_CLOEXEC));
}

static int io_error(ssize_t result)
{
	return result < 0 ? errno : 0;
}

/* Neither the device nor a handle is a file to read, write or map at will. */
TEST_F(hostile, other_system_calls)
{
	char byte = 0;

	EXPECT_EQ(EINVAL, io_error(read(self->handle, &byte, 1)));
	EXPECT_EQ(EINVAL, io_error(write(self->handle, &byte, 1)));
	EXPECT_EQ(ESPIPE, io_error(lseek(self->handle, 0, SEEK_SET)));
	EXPECT_EQ(EINVAL, io_error(ftruncate(self->handle, 0)));
	EXPECT_NE(0, io_error(fallocate(self->handle, 0, 0, 4096)));
	EXPECT_NE(0, io_error(pread(self->handle, &byte, 1, 0)));
	EXPECT_NE(0, io_error(pwrite(self->handle, &byte, 1, 0)));
	EXPECT_NE(0, io_error(fsync(self->handle)));
	EXPECT_NE(0, io_error(fcntl(self->handle, F_ADD_SEALS, F_SEAL_WRITE)));
	EXPECT_NE(0, io_error(fcntl(self->handle, F_GET_SEALS)));
	EXPECT_EQ(EINVAL, io_error(read(self->device, &byte, 1)));
	EXPECT_EQ(EINVAL, io_error(write(self->device, &byte, 1)));
	EXPECT_EQ(ENODEV, map_error(self->device, self->page, PROT_READ));
}

/* ---- lengths, offsets, homes ---- */

TEST_F(hostile, lengths_of_regions)
{
	const uint64_t page = self->page;
	struct isth_info info;
	const struct {
		uint64_t size;
		int error;
	} lengths[] = {
		{ 0, -EINVAL }, { 1, -EINVAL }, { page - 1, -EINVAL }, { page + 1, -EINVAL },
		{ UINT64_MAX, -EINVAL }, { 1ULL << 63 | 1, -EINVAL },
		{ -page, -EFBIG }, { 1ULL << 63, -EFBIG }, { 1ULL << 62, -EFBIG },
		{ 1ULL << 52, -EFBIG }, { 1ULL << 47, -EFBIG }, { 1ULL << 44, -EFBIG },
		{ INT64_MAX & -page, -EFBIG },
	};
	unsigned int i;

	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		EXPECT_EQ(lengths[i].error, region_create(self->device, variant->kind, 0,
							  lengths[i].size))
			TH_LOG("size %#llx", (unsigned long long)lengths[i].size);
	}
	ASSERT_EQ(0, device_info(self->device, &info));
	EXPECT_EQ(-EFBIG, region_create(self->device, variant->kind, 0,
					(info.region_size_max & -page) + page));
}

/* Where addresses of processes end: 57 bits with five levels of page tables. */
static uint64_t address_end(void)
{
	char text[65536];

	file_read("/proc/cpuinfo", text, sizeof(text));
	return (strstr(text, " la57 ") ? 1ULL << 56 : 1ULL << 47) - page_bytes();
}

TEST_F(hostile, homes)
{
	const uint64_t page = self->page, end = address_end();
	const struct {
		uint64_t home;
		int error;
	} homes[] = {
		{ 1, -EINVAL }, { page - 1, -EINVAL }, { page + 1, -EINVAL },
		{ 0x300000000001, -EINVAL }, { UINT64_MAX, -EINVAL },
		{ -page, -EINVAL }, { 1ULL << 63, -EINVAL }, { 0xffff888000000000, -EINVAL },
		{ 0xffffffff81000000, -EINVAL }, { 1ULL << 62, -EINVAL },
		{ end, -EINVAL }, { end + page, -EINVAL }, { end - page, -EINVAL },
		{ end - 2 * page, 0 }, { page, 0 }, { 0x300000000000, 0 },
	};
	struct isth_region_create create;
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
		fd = region_create_at(self->device, variant->kind, 2 * page, homes[i].home);
		EXPECT_EQ(homes[i].error, fd < 0 ? fd : 0)
			TH_LOG("home %#llx", (unsigned long long)homes[i].home);
		if (fd >= 0)
			close(fd);
		/* Without the flag there is no home. */
		create = (struct isth_region_create) {
			.kind = variant->kind, .size = page, .home = homes[i].home
		};
		EXPECT_EQ(-EINVAL, request(self->device, ISTH_REGION_CREATE, &create));
	}
}

static int map_at(int handle, size_t bytes, uint64_t offset)
{
	void *memory = mmap64(NULL, bytes, PROT_READ, MAP_SHARED, handle, (off64_t)offset);

	if (memory == MAP_FAILED)
		return errno;
	munmap(memory, bytes);
	return 0;
}

TEST_F(hostile, mappings_beyond_the_end)
{
	const size_t page = self->page, bytes = self->bytes;
	const struct {
		uint64_t offset;
		size_t bytes;
		int error;
	} beyond[] = {
		{ 0, bytes, 0 }, { bytes - page, page, 0 }, { 0, bytes - 1, 0 },
		{ 0, bytes + 1, EINVAL }, { 0, bytes + page, EINVAL }, { page, bytes, EINVAL },
		{ bytes - page, page + 1, EINVAL }, { bytes, page, EINVAL },
		{ bytes + page, page, EINVAL }, { 1ULL << 32, page, EINVAL },
		{ (1ULL << 32) + bytes - page, page, EINVAL },
		{ (1ULL << 43), page, EINVAL }, { 0, 0, EINVAL },
		{ 1, page, EINVAL }, { page - 1, page, EINVAL },
		/* Half of all addresses is more than there are, but in 32 bits. */
		{ 0, SIZE_MAX / 2 + 1, sizeof(long) == 4 ? EINVAL : ENOMEM },
		{ 0, SIZE_MAX - page, ENOMEM },
	};
	unsigned int i;
	int got;

	for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		EXPECT_EQ(beyond[i].error, map_at(self->handle, beyond[i].bytes, beyond[i].offset))
			TH_LOG("%zu bytes at %#llx", beyond[i].bytes,
			       (unsigned long long)beyond[i].offset);
	}
	if (sizeof(long) == 8) {
		EXPECT_EQ(EINVAL, map_at(self->handle, page, 1ULL << 62));
		EXPECT_EQ(EINVAL, map_at(self->handle, page, 1ULL << 63));
		EXPECT_EQ(EINVAL, map_at(self->handle, page, -(uint64_t)bytes));
		EXPECT_EQ(EINVAL, map_at(self->handle, bytes, -(uint64_t)bytes * 2));
		/* The kernel may find the overflow before we do. */
		got = map_at(self->handle, page, -(uint64_t)page);
		EXPECT_TRUE(got == EINVAL || got == EOVERFLOW);
		got = map_at(self->handle, bytes, -(uint64_t)page);
		EXPECT_TRUE(got == EINVAL || got == EOVERFLOW);
	}
}

TEST_F(hostile, words_beyond_the_end)
{
	const uint64_t bytes = self->bytes;
	const uint64_t beyond[] = {
		1, 2, 3, 5, bytes - 1, bytes - 2, bytes - 3, bytes, bytes + 4, bytes + self->page,
		1ULL << 32, 1ULL << 63, (1ULL << 63) + 4, UINT64_MAX, UINT64_MAX - 3,
		-bytes, (1ULL << 51) * self->page, INT64_MAX - 3,
	};
	const int inside = variant->kind == ISTH_REGION_ISOLATED ? -EAGAIN : -EOPNOTSUPP;
	const int woken = variant->kind == ISTH_REGION_ISOLATED ? 0 : -EOPNOTSUPP;
	unsigned int i;

	for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		/* It would return at once if it did not refuse. */
		EXPECT_EQ(-EINVAL, region_wait(self->handle, beyond[i], 0, 1))
			TH_LOG("offset %#llx", (unsigned long long)beyond[i]);
		EXPECT_EQ(-EINVAL, region_wake(self->handle, beyond[i], 1))
			TH_LOG("offset %#llx", (unsigned long long)beyond[i]);
	}
	EXPECT_EQ(inside, region_wait(self->handle, bytes - 4, 1, 1));
	EXPECT_EQ(woken, region_wake(self->handle, bytes - 4, UINT32_MAX));
	EXPECT_EQ(woken, region_wake(self->handle, 0, 0));
}

static void alarm_caught(int signal_number)
{
	(void)signal_number;
}

static void alarm_in_ms(unsigned int ms, unsigned int again_ms)
{
	struct sigaction action = { .sa_handler = alarm_caught };
	struct itimerval timer = {
		.it_value.tv_usec = (int)ms * 1000, .it_interval.tv_usec = (int)again_ms * 1000,
	};

	sigaction(SIGVTALRM, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Deadlines in the past are over, those beyond all time never are. */
TEST_F(hostile, deadlines)
{
	static const uint64_t far[] = {
		UINT64_MAX, INT64_MAX, 1ULL << 63, UINT64_MAX - 50000, INT64_MAX - 50000,
	};
	unsigned int i;

	if (variant->kind == ISTH_REGION_PAGEABLE) {
		for (i = 0; i < sizeof(far) / sizeof(far[0]); i++)
			EXPECT_EQ(-EOPNOTSUPP, region_wait(self->handle, 0, 0, far[i]));
		return;
	}
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->handle, 0, 0, 1));
	EXPECT_EQ(-ETIMEDOUT, region_wait(self->handle, 0, 0, now_ns()));
	for (i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		alarm_in_ms(30, 30);
		EXPECT_EQ(-EINTR, region_wait(self->handle, 0, 0, far[i]))
			TH_LOG("deadline %#llx", (unsigned long long)far[i]);
	}
	alarm_in_ms(0, 0);
}

/* ---- no byte of kernel memory ---- */

TEST_F(hostile, results_have_what_is_documented_and_nothing_else)
{
	const struct isth_info info_clean = {
		.abi_version = ISTH_ABI_VERSION, .page_size = (uint32_t)self->page
	};
	const struct isth_stat stat_clean = {
		.type = ISTH_TYPE_REGION, .kind = variant->kind, .rights = ISTH_RIGHTS_REGION,
		.state = ISTH_STATE_FROZEN, .handle_id = 1, .size = self->bytes,
	};
	struct isth_info info;
	struct isth_stat stat;
	struct isth_revoke revoke;
	struct isth_freeze freeze;

	memset(&info, DIRT, sizeof(info));
	info.flags = 0;
	ASSERT_EQ(0, request(self->device, ISTH_INFO, &info));
	EXPECT_EQ(0, info.features & ~(ISTH_FEATURE_PAGEABLE | ISTH_FEATURE_ISOLATED |
				       ISTH_FEATURE_HOME | ISTH_FEATURE_HUGE));
	EXPECT_EQ(live_baseline.regions + 1, info.regions);
	EXPECT_EQ(live_baseline.handles + 1, info.handles);
	EXPECT_EQ(live_baseline.mappings, info.mappings);
	/* Addresses and the like are far larger than any of these. */
	EXPECT_LT(info.region_size_max, 1ULL << 46);
	EXPECT_LT(info.handles_max, 1U << 31);
	info.features = 0;
	info.region_size_max = 0;
	info.handles_max = 0;
	info.regions = 0;
	info.handles = 0;
	info.mappings = 0;
	EXPECT_TRUE(same(&info, &info_clean, sizeof(info)));

	memset(&stat, DIRT, sizeof(stat));
	stat.flags = 0;
	stat.reserved = 0;
	ASSERT_EQ(0, request(self->handle, ISTH_STAT, &stat));
	EXPECT_LT(stat.object_id, 1ULL << 40);
	stat.object_id = 0;
	EXPECT_TRUE(same(&stat, &stat_clean, sizeof(stat)));

	memset(&freeze, DIRT, sizeof(freeze));
	freeze.flags = 0;
	freeze.reserved = 0;
	ASSERT_EQ(0, request(self->handle, ISTH_FREEZE, &freeze));
	EXPECT_TRUE(all_zero(&freeze, sizeof(freeze)));

	memset(&revoke, DIRT, sizeof(revoke));
	revoke.flags = ISTH_REVOKE_DESCENDANTS;
	revoke.reserved = 0;
	ASSERT_EQ(0, request(self->handle, ISTH_REVOKE, &revoke));
	EXPECT_EQ(ISTH_REVOKE_DESCENDANTS, revoke.flags);
	EXPECT_EQ(0, revoke.reserved);
	EXPECT_EQ(0, revoke.handles);
	EXPECT_EQ(0, revoke.pinned_pages);
}

/* New memory is zero, whatever was in these pages before. */
TEST_F(hostile, new_regions_are_zero)
{
	const size_t bytes = 16 * self->page;
	int round, fd;
	void *memory;

	for (round = 0; round < 50; round++) {
		fd = region_create(self->device, variant->kind, 0, bytes);
		ASSERT_LE(0, fd);
		memory = region_map(fd, bytes, PROT_READ | PROT_WRITE);
		ASSERT_NE(MAP_FAILED, memory);
		EXPECT_TRUE(all_zero(memory, bytes));
		memset(memory, DIRT, bytes);
		munmap(memory, bytes);
		close(fd);
	}
}

/* ---- random bytes ---- */

/* A request code: often a known one, often with a size that is right. */
static unsigned int random_code(uint64_t *state)
{
	unsigned int code = targets[random_next(state) % TARGETS].code;

	switch (random_next(state) % 8) {
	case 0:
		return random_next(state);
	case 1:
		return code ^ 1U << random_next(state) % 32;
	case 2:
		return code_with_size(code, random_next(state) % SIZE_LIMIT);
	default:
		return code;
	}
}

/* Bytes that are wholly random, or a good structure with some bits turned. */
static void random_structure(uint64_t *state, uint8_t *structure, size_t bytes, unsigned int code)
{
	uint32_t kind = 1 + random_next(state) % 2;
	const struct target *target;
	unsigned int turns;
	size_t i;

	for (i = 0; i < bytes; i++)
		structure[i] = random_next(state) % 4 ? 0 : (uint8_t)random_next(state);
	if (!(random_next(state) % 4))
		return;
	memset(structure, 0, bytes);
	for_each_target(target)
		if (code_with_size(target->code, 0) == code_with_size(code, 0))
			harmless(target, kind, (void *)structure);
	for (turns = random_next(state) % 4; turns; turns--)
		structure[random_next(state) % 40] ^= (uint8_t)(1U << random_next(state) % 8);
}

/* Keep a region of more than a few MiB from being made by chance. */
static void small_only(uint8_t *structure, unsigned int code)
{
	struct isth_region_create *create = (void *)structure;

	if (code_with_size(code, 0) == code_with_size(ISTH_REGION_CREATE, 0) &&
	    create->size > 1 << 20 && create->size < 1ULL << 44)
		create->size &= (1 << 20) - 1;
}

/* One random request on one of our descriptors; what it returns takes the place of one. */
static void random_request(uint64_t *state, int *handles, unsigned int count, int device,
			   uint8_t *structure)
{
	unsigned int code = random_code(state), at = random_next(state) % count;
	int fd = random_next(state) % 4 ? handles[at] : device;
	int got;

	random_structure(state, structure, 256, code);
	small_only(structure, code);
	got = request(fd, code, structure);
	if (got <= 2)
		return;
	/* Not every positive result is a descriptor: WAKE counts. */
	if (fcntl(got, F_GETFD) < 0 || got == fd)
		return;
	close(handles[at]);
	handles[at] = got;
}

/*
 * The one who sends random requests has handles of his own. A bystander's
 * region must not notice.
 */
TEST_F(hostile, random_requests)
{
	uint64_t state = random_seed("random_requests");
	unsigned int i, tries = 0;
	uint64_t end;
	int handles[8], bystander;
	uint8_t *memory;
	pid_t pid;

	bystander = region_create(self->device, variant->kind, 0, self->bytes);
	ASSERT_LE(0, bystander);
	memory = region_map(bystander, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	fill_pattern(memory, self->bytes, state);

	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(bystander);
		for (i = 0; i < 8; i++)
			handles[i] = region_create(self->device, variant->kind, 0, self->bytes);
		/* Waits without an end are interrupted. */
		alarm_in_ms(5, 5);
		memset(self->buffer, 0, SIZE_LIMIT);
		for (end = race_end(300); now_ms() < end; tries++) {
			uint64_t round = state + tries;

			if (!(tries % 64)) {
				i = tries / 64 % 8;
				close(handles[i]);
				handles[i] = region_create(self->device, variant->kind, 0,
							   self->bytes);
			}
			random_request(&round, handles, 8, self->device, self->buffer);
		}
		_exit(tries > 100 ? 0 : 1);
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(0, handle_state(bystander));
	EXPECT_EQ(0, pattern_errors(memory, self->bytes, state));
	munmap(memory, self->bytes);
	close(bystander);
}

#endif /* ATTACKS_H */
