// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints: every birth, death, mapping, revoke and freeze leaves its event,
 * with the numbers that STAT gives, in a trace buffer of this test's own.
 */
#include "isthmus_test.h"

#define INSTANCE	"/sys/kernel/tracing/instances/isthmus-test"
#define BYTES		(4 * page_bytes())

FIXTURE(trace)
{
	int device;
};

FIXTURE_SETUP(trace)
{
	if (geteuid())
		return;
	self->device = device_open();
	ASSERT_LE(0, self->device);
	rmdir(INSTANCE);
	ASSERT_EQ(0, mkdir(INSTANCE, 0700));
	ASSERT_EQ(0, file_write(INSTANCE "/events/isthmus/enable", "1"));
}

FIXTURE_TEARDOWN(trace)
{
	if (geteuid())
		return;
	file_write(INSTANCE "/events/isthmus/enable", "0");
	EXPECT_EQ(0, rmdir(INSTANCE));
	close(self->device);
}

/* How many events there are whose line has @event and @fields. */
static int events(const char *event, const char *fields)
{
	static char text[65536];
	char *line;
	char *rest;
	int count = 0;

	if (file_read(INSTANCE "/trace", text, sizeof(text)) < 0)
		return -1;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		count += strstr(line, event) && strstr(line, fields);
	return count;
}

/* The same, for what happens when the kernel gets to it: the last close. */
static int events_settle(const char *event, const char *fields)
{
	uint64_t end = now_ms() + 5000;
	int count;

	while (!(count = events(event, fields)) && now_ms() < end)
		sleep_ms(5);
	return count;
}

TEST_F(trace, life_of_a_region)
{
	char object[64], first[96], second[96], size[96];
	struct isth_stat stat;
	int owner, child;
	void *memory;

	if (geteuid())
		SKIP(return, "tracefs is for root");
	owner = region_create(self->device, ISTH_REGION_PAGEABLE, 0, BYTES);
	ASSERT_LE(0, owner);
	ASSERT_EQ(0, handle_stat(owner, &stat));
	snprintf(object, sizeof(object), "object=%llu ", stat.object_id);
	snprintf(first, sizeof(first), "%shandle=%llu", object, stat.handle_id);
	snprintf(size, sizeof(size), "%skind=pageable size=%zu ", object, BYTES);
	EXPECT_EQ(1, events(" region_create:", size));
	EXPECT_EQ(1, events(" handle_create:", first));

	child = handle_derive(owner, ISTH_RIGHT_READ);
	ASSERT_LE(0, child);
	ASSERT_EQ(0, handle_stat(child, &stat));
	snprintf(second, sizeof(second), "%shandle=%llu", object, stat.handle_id);
	EXPECT_EQ(1, events(" handle_create:", second));

	memory = region_map(child, BYTES, PROT_READ);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(1, events(" region_map:", second));
	EXPECT_EQ(0, events(" region_map:", first));

	EXPECT_EQ(0, region_freeze(owner, NULL));
	EXPECT_EQ(1, events(" region_freeze:", first));
	EXPECT_EQ(0, handle_revoke(child));
	EXPECT_EQ(1, events(" handle_revoke:", second));
	EXPECT_EQ(0, events(" handle_revoke:", first));

	EXPECT_EQ(0, munmap(memory, BYTES));
	EXPECT_EQ(1, events(" region_unmap:", second));
	close(child);
	EXPECT_EQ(1, events_settle(" handle_free:", second));
	EXPECT_EQ(0, events(" region_free:", object));
	close(owner);
	EXPECT_EQ(1, events_settle(" handle_free:", first));
	EXPECT_EQ(1, events_settle(" region_free:", object));
}

TEST_F(trace, words_of_an_isolated_region)
{
	int owner;

	if (geteuid())
		SKIP(return, "tracefs is for root");
	owner = region_create(self->device, ISTH_REGION_ISOLATED, 0, BYTES);
	ASSERT_LE(0, owner);
	EXPECT_EQ(-EAGAIN, region_wait(owner, 8, 1, 0));
	EXPECT_EQ(1, events(" region_wait:", "offset=8 result=-11"));
	EXPECT_EQ(0, region_wake(owner, 12, 1));
	EXPECT_EQ(1, events(" region_wake:", "offset=12 result=0"));
	close(owner);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
