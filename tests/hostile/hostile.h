/* SPDX-License-Identifier: GPL-2.0-only */
/* What hostile programs share: every request with a harmless structure, and who asks. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "isthmus_test.h"

#include <grp.h>
#include <sched.h>
#include <stddef.h>

/* The size in a request code has 14 bits. */
#define SIZE_LIMIT	(1U << _IOC_SIZEBITS)

/* A byte that no result happens to consist of. */
#define DIRT		0xA5

#define NOBODY		65534

/* ---- the requests, each with a structure that does no harm ---- */

union structure {
	struct isth_info info;
	struct isth_region_create region_create;
	struct isth_stat stat;
	struct isth_derive derive;
	struct isth_revoke revoke;
	struct isth_freeze freeze;
	struct isth_wait wait;
	struct isth_wake wake;
	uint32_t flags;
	uint8_t bytes[256];
};

/**
 * struct target - one request of the border
 * @name: for messages
 * @code: as the header has it
 * @flags_known: flag bits that mean something
 * @reserved: where a reserved field is that must be zero; zero for none
 * @on_device: the device answers it; else handles do
 * @descriptor: it returns one
 * @only_isolated: EOPNOTSUPP on a pageable region
 * @expected: the result of the harmless structure
 */
struct target {
	const char *name;
	unsigned int code;
	uint32_t flags_known;
	size_t reserved;
	bool on_device;
	bool descriptor;
	bool only_isolated;
	int expected;
};

static const struct target targets[] = {
	{ .name = "INFO", .code = ISTH_INFO, .on_device = true },
	{ .name = "REGION_CREATE", .code = ISTH_REGION_CREATE, .on_device = true,
	  .flags_known = ISTH_REGION_LAZY | ISTH_REGION_HOME, .descriptor = true },
	{ .name = "STAT", .code = ISTH_STAT, .reserved = offsetof(struct isth_stat, reserved) },
	{ .name = "DERIVE", .code = ISTH_DERIVE, .descriptor = true },
	{ .name = "REVOKE", .code = ISTH_REVOKE, .flags_known = ISTH_REVOKE_DESCENDANTS,
	  .reserved = offsetof(struct isth_revoke, reserved) },
	{ .name = "FREEZE", .code = ISTH_FREEZE,
	  .reserved = offsetof(struct isth_freeze, reserved) },
	{ .name = "WAIT", .code = ISTH_WAIT, .only_isolated = true, .expected = -EAGAIN },
	{ .name = "WAKE", .code = ISTH_WAKE, .only_isolated = true },
};

#define TARGETS	(sizeof(targets) / sizeof(targets[0]))

#define for_each_target(target) \
	for (target = targets; target < targets + TARGETS; target++)

/*
 * The structure that does no harm to a frozen region: its words are zero, so a
 * wait for a one to change returns at once. What comes out is dirty before.
 */
static inline void harmless(const struct target *target, uint32_t kind, union structure *to)
{
	memset(to, 0, sizeof(*to));
	switch (target->code) {
	case ISTH_INFO:
		memset(&to->info, DIRT, sizeof(to->info));
		to->info.flags = 0;
		break;
	case ISTH_REGION_CREATE:
		to->region_create.kind = kind;
		to->region_create.size = page_bytes();
		break;
	case ISTH_STAT:
		memset(&to->stat, DIRT, sizeof(to->stat));
		to->stat.flags = 0;
		to->stat.reserved = 0;
		break;
	case ISTH_DERIVE:
		to->derive.rights = ISTH_RIGHT_READ;
		break;
	case ISTH_REVOKE:
		memset(&to->revoke, DIRT, sizeof(to->revoke));
		to->revoke.flags = ISTH_REVOKE_DESCENDANTS;
		to->revoke.reserved = 0;
		break;
	case ISTH_FREEZE:
		memset(&to->freeze, DIRT, sizeof(to->freeze));
		to->freeze.flags = 0;
		to->freeze.reserved = 0;
		break;
	case ISTH_WAIT:
		to->wait.expected = 1;
		break;
	case ISTH_WAKE:
		to->wake.count = 1;
		break;
	}
}

static inline unsigned int code_with_size(unsigned int code, unsigned int size)
{
	return (code & ~(_IOC_SIZEMASK << _IOC_SIZESHIFT)) | size << _IOC_SIZESHIFT;
}

/* The same memory once more; errors must leave a structure as it was. */
static inline bool same(const void *one, const void *other, size_t bytes)
{
	return !memcmp(one, other, bytes);
}

/* ---- who asks ---- */

/* Become an ordinary user, who has the descriptors that are open. */
static inline int become_nobody(void)
{
	if (geteuid())
		return 0;
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		return -errno;
	return 0;
}

/* Then the superuser of a namespace of its own; NULL, or why that does not work. */
static inline const char *enter_user_namespace(void)
{
	if (!geteuid())
		(void)file_write("/proc/sys/kernel/unprivileged_userns_clone", "1");
	if (become_nobody())
		return "cannot become an ordinary user";
	if (unshare(CLONE_NEWUSER))
		return "this kernel does not let ordinary users make user namespaces";
	return NULL;
}

/* As live_settles(), by a descriptor: who was given one may not open another. */
static inline bool live_settles_by(int device)
{
	struct isth_info info = { 0 };
	uint64_t end = now_ms() + 5000;

	do {
		if (!device_info(device, &info) && live_is(&info, 0, 0, 0))
			return true;
		sleep_ms(5);
	} while (now_ms() < end);
	fprintf(stderr, "# left: %lld regions, %lld handles, %lld mappings\n",
		(long long)(info.regions - live_baseline.regions),
		(long long)(info.handles - live_baseline.handles),
		(long long)(info.mappings - live_baseline.mappings));
	return false;
}

#endif /* HOSTILE_H */
