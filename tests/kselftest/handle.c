// SPDX-License-Identifier: GPL-2.0-only
/* Handles as descriptors: STAT and fdinfo, the tree, poll, passing on, closing in any order. */
#include "isthmus_test.h"
#include "region_kinds.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

REGION_FIXTURE_BOTH(region)
REGION_FIXTURE_ONE(lazy, ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY)

static const char handles_max_path[] = "/sys/module/isthmus/parameters/handles_max";

static struct isth_stat stat_of(int handle)
{
	struct isth_stat stat;

	if (handle_stat(handle, &stat))
		memset(&stat, 0xFF, sizeof(stat));
	return stat;
}

static struct isth_info info_of(int device)
{
	struct isth_info info;

	if (device_info(device, &info))
		memset(&info, 0xFF, sizeof(info));
	return info;
}

/* Whether STAT gives these counts, now or soon: who was waited for may still be ending. */
static bool counts_are(int handle, uint64_t descendants, uint64_t mappings,
		       uint64_t subtree_mappings)
{
	uint64_t end = now_ms() + 2000;
	struct isth_stat stat;

	do {
		stat = stat_of(handle);
		if (stat.descendants == descendants && stat.mappings == mappings &&
		    stat.subtree_mappings == subtree_mappings)
			return true;
		sleep_ms(1);
	} while (now_ms() < end);
	fprintf(stderr, "# %llu descendants, %llu mappings, %llu in the subtree\n",
		(unsigned long long)stat.descendants, (unsigned long long)stat.mappings,
		(unsigned long long)stat.subtree_mappings);
	return false;
}

/* ---- STAT ---- */

/* Everything that STAT says of the region at @owner, which has one mapping. */
static void stat_through_its_life(struct __test_metadata *_metadata, int owner, uint32_t kind,
				  uint32_t lazy, size_t bytes)
{
	struct isth_stat stat = stat_of(owner);
	struct isth_stat other;
	int second;

	EXPECT_EQ(0, stat.flags);
	EXPECT_EQ(ISTH_TYPE_REGION, stat.type);
	EXPECT_EQ(kind, stat.kind);
	EXPECT_EQ(ISTH_RIGHTS_REGION, stat.rights);
	EXPECT_EQ(lazy, stat.state);
	EXPECT_EQ(0, stat.reserved);
	EXPECT_NE(0, stat.object_id);
	EXPECT_EQ(1, stat.handle_id);
	EXPECT_EQ(bytes, stat.size);
	EXPECT_EQ(0, stat.home);
	EXPECT_EQ(0, stat.descendants);
	EXPECT_EQ(1, stat.mappings);
	EXPECT_EQ(1, stat.subtree_mappings);

	second = handle_derive(owner, ISTH_RIGHT_READ);
	ASSERT_LE(0, second);
	other = stat_of(second);
	EXPECT_EQ(stat.object_id, other.object_id);
	EXPECT_EQ(2, other.handle_id);
	EXPECT_EQ(ISTH_RIGHT_READ, other.rights);
	EXPECT_EQ(lazy, other.state);
	EXPECT_EQ(0, other.mappings);

	EXPECT_EQ(0, handle_revoke(second));
	EXPECT_EQ(lazy | ISTH_STATE_REVOKED, stat_of(second).state);
	EXPECT_EQ(lazy, stat_of(owner).state);
	EXPECT_EQ(0, region_freeze(owner, NULL));
	EXPECT_EQ(lazy | ISTH_STATE_REVOKED | ISTH_STATE_FROZEN, stat_of(second).state);
	EXPECT_EQ(lazy | ISTH_STATE_FROZEN, stat_of(owner).state);

	EXPECT_EQ(0, handle_revoke(owner));
	other = stat_of(owner);
	EXPECT_EQ(lazy | ISTH_STATE_REVOKED | ISTH_STATE_FROZEN, other.state);
	EXPECT_EQ(stat.object_id, other.object_id);
	EXPECT_EQ(stat.handle_id, other.handle_id);
	EXPECT_EQ(stat.rights, other.rights);
	EXPECT_EQ(stat.size, other.size);
	EXPECT_EQ(1, other.descendants);
	/* A revoked mapping takes up addresses until it is unmapped. */
	EXPECT_EQ(1, other.mappings);
	close(second);
}

TEST_F(region, stat_says_what_was_made)
{
	stat_through_its_life(_metadata, self->owner, self->kind, 0, self->bytes);
}

TEST_F(lazy, stat_says_what_was_made)
{
	stat_through_its_life(_metadata, self->owner, self->kind, ISTH_STATE_LAZY, self->bytes);
}

TEST_F(region, stat_says_the_home)
{
	const uint64_t home = 0x310000000000;
	int given = region_create_at(self->device, self->kind, self->page, home);
	int chosen = region_create_at(self->device, self->kind, self->page, 0);

	ASSERT_LE(0, given);
	ASSERT_LE(0, chosen);
	EXPECT_EQ(home, stat_of(given).home);
	EXPECT_NE(0, stat_of(chosen).home);
	EXPECT_EQ(0, stat_of(chosen).home % self->page);
	close(given);
	close(chosen);
}

TEST_F(region, stat_counts_mappings_as_they_come_and_go)
{
	int child = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *memory;
	pid_t pid;
	int fds[2];
	char byte;

	ASSERT_LE(0, child);
	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 1));
	memory = region_map(child, self->bytes, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_TRUE(counts_are(child, 0, 1, 1));
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 2));

	/* A hole in the middle leaves two, cutting at either end none. */
	ASSERT_EQ(0, munmap(memory + 8 * self->page, 8 * self->page));
	EXPECT_TRUE(counts_are(child, 0, 2, 2));
	ASSERT_EQ(0, munmap(memory, self->page));
	ASSERT_EQ(0, munmap(memory + self->bytes - self->page, self->page));
	EXPECT_TRUE(counts_are(child, 0, 2, 2));
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 3));

	/* A child process inherits all, and gives all back by ending. */
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 0 ? 0 : 1);
	}
	EXPECT_TRUE(counts_are(child, 0, 4, 4));
	EXPECT_TRUE(counts_are(self->owner, 1, 2, 6));
	close(fds[0]);
	close(fds[1]);
	EXPECT_EQ(0, child_status(pid));
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 3));

	/* The handle is closed; its mappings keep it in the tree. */
	close(child);
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 3));
	ASSERT_EQ(0, munmap(memory, 8 * self->page));
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 2));
	ASSERT_EQ(0, munmap(memory + 16 * self->page, self->bytes - 16 * self->page));
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

TEST_F(region, a_moved_mapping_is_still_one)
{
	uint8_t *moved;

	moved = mremap(self->memory, self->bytes, self->bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		       (void *)0x340000000000);
	ASSERT_EQ((void *)0x340000000000, (void *)moved);
	self->memory = moved;
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
	EXPECT_EQ(0, pattern_errors(moved, self->bytes, REGION_SEED));
	moved = mremap(moved, self->bytes, self->page, 0);
	ASSERT_EQ((void *)self->memory, (void *)moved);
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

/* ---- DERIVE ---- */

/* What deriving @want from a handle with @have must give. */
static int derive_expected(uint32_t have, uint32_t want)
{
	if (!want)
		return -EINVAL;
	if (!(have & ISTH_RIGHT_DERIVE) || want & ~have)
		return -EACCES;
	return 0;
}

TEST_F(region, derive_gives_any_subset_and_nothing_else)
{
	unsigned int wrong = 0;
	uint32_t have, want;
	int parent, child;

	for (have = 1; have <= ISTH_RIGHTS_REGION; have++) {
		parent = handle_derive(self->owner, have);
		ASSERT_LE(0, parent);
		EXPECT_EQ(have, handle_rights(parent));
		for (want = 0; want <= ISTH_RIGHTS_REGION; want++) {
			child = handle_derive(parent, want);
			wrong += (child < 0 ? child : 0) != derive_expected(have, want);
			wrong += child >= 0 && handle_rights(child) != want;
			if (child >= 0)
				close(child);
		}
		EXPECT_EQ(0, wrong)
			TH_LOG("from rights %#x", have);
		/* The way it is open tells mmap() what to allow. */
		EXPECT_EQ(have & ISTH_RIGHT_WRITE ? O_RDWR : O_RDONLY,
			  fcntl(parent, F_GETFL) & O_ACCMODE);
		EXPECT_EQ(FD_CLOEXEC, fcntl(parent, F_GETFD));
		close(parent);
	}
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

TEST_F(region, a_revoked_handle_answers_nothing_but_stat_and_revoke)
{
	int child = handle_derive(self->owner, ISTH_RIGHTS_REGION);
	bool isolated = self->kind == ISTH_REGION_ISOLATED;

	ASSERT_LE(0, child);
	ASSERT_EQ(0, handle_revoke(child));
	EXPECT_EQ(-EKEYREVOKED, handle_derive(child, ISTH_RIGHT_READ));
	EXPECT_EQ(-EKEYREVOKED, handle_derive(child, ISTH_RIGHTS_REGION));
	EXPECT_EQ(-EKEYREVOKED, region_freeze(child, NULL));
	EXPECT_EQ(-EKEYREVOKED, region_wait(child, 0, 0, 1));
	EXPECT_EQ(-EKEYREVOKED, region_wake(child, 0, 1));
	EXPECT_EQ(EKEYREVOKED, map_error(child, self->bytes, PROT_READ));
	EXPECT_EQ(EKEYREVOKED, map_error(child, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(ISTH_STATE_REVOKED, handle_state(child) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, handle_revoke(child));
	/* None of that was done to the region. */
	EXPECT_EQ(0, handle_state(self->owner) & ~ISTH_STATE_LAZY);
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 1));
	EXPECT_EQ(isolated ? -ETIMEDOUT : -EOPNOTSUPP,
		  region_wait(self->owner, 0, *(uint32_t *)self->memory, 1));
	close(child);
}

/* Whoever derives while the handle is revoked gets nothing that is alive afterwards. */
struct deriver {
	int handle;
	atomic_int ready;
	int error;
	int made[256];
	unsigned int count;
};

static void *derive_until_revoked(void *argument)
{
	struct deriver *deriver = argument;
	unsigned int at;
	int fd;

	while ((fd = handle_derive(deriver->handle, RIGHTS_RW)) >= 0) {
		at = deriver->count++ % 256;
		if (deriver->count > 256)
			close(deriver->made[at]);
		deriver->made[at] = fd;
		atomic_store(&deriver->ready, 1);
	}
	deriver->error = fd;
	return NULL;
}

TEST_F(region, nothing_derived_during_revoke_survives)
{
	struct deriver deriver;
	unsigned int i, alive = 0;
	pthread_t thread;
	uint64_t end;

	for (end = race_end(300); now_ms() < end;) {
		deriver = (struct deriver) { 0 };
		deriver.handle = handle_derive(self->owner, ISTH_RIGHTS_REGION);
		ASSERT_LE(0, deriver.handle);
		ASSERT_EQ(0, pthread_create(&thread, NULL, derive_until_revoked, &deriver));
		EXPECT_TRUE(wait_for(&deriver.ready, 1));
		EXPECT_EQ(0, handle_revoke(deriver.handle));
		pthread_join(thread, NULL);
		EXPECT_EQ(-EKEYREVOKED, deriver.error);
		for (i = 0; i < deriver.count && i < 256; i++) {
			alive += !(handle_state(deriver.made[i]) & ISTH_STATE_REVOKED);
			close(deriver.made[i]);
		}
		close(deriver.handle);
		ASSERT_EQ(0, alive);
	}
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

/* ---- REVOKE ---- */

TEST_F(region, revoke_says_how_many_and_may_be_repeated)
{
	struct isth_revoke out;
	int tree[5], i;

	tree[0] = handle_derive(self->owner, ISTH_RIGHTS_REGION);
	tree[1] = handle_derive(tree[0], ISTH_RIGHTS_REGION);
	tree[2] = handle_derive(tree[1], ISTH_RIGHT_READ);
	tree[3] = handle_derive(tree[0], ISTH_RIGHT_READ);
	tree[4] = handle_derive(self->owner, ISTH_RIGHT_READ);
	for (i = 0; i < 5; i++)
		ASSERT_LE(0, tree[i]);
	EXPECT_TRUE(counts_are(self->owner, 5, 1, 1));

	EXPECT_EQ(0, handle_revoke_flags(tree[2], 0, &out));
	EXPECT_EQ(1, out.handles);
	EXPECT_EQ(0, out.pinned_pages);
	EXPECT_EQ(0, handle_revoke_flags(tree[2], 0, &out));
	EXPECT_EQ(0, out.handles);

	/* It spares itself and does not count what was dead before. */
	EXPECT_EQ(0, handle_revoke_flags(tree[0], ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(2, out.handles);
	EXPECT_EQ(0, handle_state(tree[0]) & ISTH_STATE_REVOKED);
	EXPECT_NE(0, handle_state(tree[1]) & ISTH_STATE_REVOKED);
	EXPECT_NE(0, handle_state(tree[3]) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, handle_state(tree[4]) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, handle_revoke_flags(tree[0], ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(0, out.handles);

	/* What is derived after that is a new one, alive. */
	close(tree[3]);
	tree[3] = handle_derive(tree[0], RIGHTS_RW);
	ASSERT_LE(0, tree[3]);
	EXPECT_EQ(0, handle_state(tree[3]) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, map_error(tree[3], self->bytes, PROT_READ | PROT_WRITE));

	/* On a leaf, and on one that is dead, it finds nothing below. */
	EXPECT_EQ(0, handle_revoke_flags(tree[4], ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(0, out.handles);
	EXPECT_EQ(0, handle_revoke_flags(tree[0], 0, &out));
	EXPECT_EQ(2, out.handles);
	EXPECT_EQ(0, handle_revoke_flags(tree[0], ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(0, out.handles);
	EXPECT_EQ(0, handle_revoke_flags(self->owner, 0, &out));
	EXPECT_EQ(2, out.handles);
	EXPECT_EQ(SIGBUS, read_signal(self->memory));
	for (i = 0; i < 5; i++)
		close(tree[i]);
}

/* ---- fdinfo ---- */

/* The value of a line of @text, or "" without one. */
static const char *line_of(const char *text, const char *name)
{
	static char value[256];
	const char *line = text;
	size_t length;

	while (line && strncmp(line, name, strlen(name)))
		line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
	if (!line || strncmp(line + strlen(name), ":\t", 2))
		return "";
	line += strlen(name) + 2;
	length = strcspn(line, "\n");
	snprintf(value, sizeof(value), "%.*s", (int)length, line);
	return value;
}

static void bits_text(uint32_t bits, const char *const *names, const char *none, char *text)
{
	unsigned int i;

	text[0] = 0;
	for (i = 0; names[i]; i++) {
		if (!(bits & 1U << i))
			continue;
		if (text[0])
			strcat(text, " ");
		strcat(text, names[i]);
	}
	if (!text[0])
		strcpy(text, none);
}

static void fdinfo_equals_stat(struct __test_metadata *_metadata, int handle)
{
	static const char *const rights[] = { "read", "write", "exec", "derive", "freeze", NULL };
	static const char *const states[] = { "revoked", "frozen", "lazy", NULL };
	struct isth_stat stat = stat_of(handle);
	char path[64], text[4096], want[256];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", handle);
	ASSERT_LT(0, file_read(path, text, sizeof(text)));
	EXPECT_STREQ("region", line_of(text, "isthmus-type"));
	EXPECT_STREQ(stat.kind == ISTH_REGION_ISOLATED ? "isolated" : "pageable",
		     line_of(text, "isthmus-kind"));
	bits_text(stat.rights, rights, "none", want);
	EXPECT_STREQ(want, line_of(text, "isthmus-rights"));
	bits_text(stat.state, states, "live", want);
	EXPECT_STREQ(want, line_of(text, "isthmus-state"));
	snprintf(want, sizeof(want), "%llu", (unsigned long long)stat.object_id);
	EXPECT_STREQ(want, line_of(text, "isthmus-object"));
	snprintf(want, sizeof(want), "%llu", (unsigned long long)stat.handle_id);
	EXPECT_STREQ(want, line_of(text, "isthmus-handle"));
	snprintf(want, sizeof(want), "%llu", (unsigned long long)stat.size);
	EXPECT_STREQ(want, line_of(text, "isthmus-size"));
	snprintf(want, sizeof(want), "0x%llx", (unsigned long long)stat.home);
	EXPECT_STREQ(want, line_of(text, "isthmus-home"));
	snprintf(want, sizeof(want), "%llu", (unsigned long long)stat.mappings);
	EXPECT_STREQ(want, line_of(text, "isthmus-mappings"));
	snprintf(want, sizeof(want), "%llu", (unsigned long long)stat.descendants);
	EXPECT_STREQ(want, line_of(text, "isthmus-descendants"));
}

TEST_F(region, fdinfo_says_what_stat_says)
{
	int home = region_create_at(self->device, self->kind, self->page, 0x320000000000);
	int child = handle_derive(self->owner, ISTH_RIGHT_READ | ISTH_RIGHT_EXEC);
	uint32_t rights;
	int other;

	ASSERT_LE(0, home);
	ASSERT_LE(0, child);
	fdinfo_equals_stat(_metadata, self->owner);
	fdinfo_equals_stat(_metadata, child);
	fdinfo_equals_stat(_metadata, home);
	for (rights = 1; rights <= ISTH_RIGHTS_REGION; rights++) {
		other = handle_derive(self->owner, rights);
		ASSERT_LE(0, other);
		fdinfo_equals_stat(_metadata, other);
		close(other);
	}
	ASSERT_EQ(0, handle_revoke(child));
	fdinfo_equals_stat(_metadata, child);
	ASSERT_EQ(0, region_freeze(self->owner, NULL));
	fdinfo_equals_stat(_metadata, self->owner);
	fdinfo_equals_stat(_metadata, child);
	close(child);
	close(home);
}

TEST_F(lazy, fdinfo_says_what_stat_says)
{
	fdinfo_equals_stat(_metadata, self->owner);
}

TEST_F(region, its_link_names_it)
{
	char path[64], name[128] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->owner);
	ASSERT_LT(0, readlink(path, name, sizeof(name) - 1));
	EXPECT_STREQ("anon_inode:[isthmus-region]", name);
}

/* ---- poll ---- */

static int poll_events(int fd, int timeout_ms)
{
	struct pollfd item = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };
	int ready = poll(&item, 1, timeout_ms);

	return ready < 0 ? -errno : ready ? item.revents : 0;
}

TEST_F(region, poll_reports_a_hangup_once_revoked_and_nothing_else)
{
	int child = handle_derive(self->owner, RIGHTS_RW);
	int copy = dup(child);

	ASSERT_LE(0, child);
	EXPECT_EQ(0, poll_events(self->owner, 0));
	EXPECT_EQ(0, poll_events(child, 0));
	ASSERT_EQ(0, region_freeze(self->owner, NULL));
	EXPECT_EQ(0, poll_events(child, 0));
	ASSERT_EQ(0, handle_revoke(child));
	EXPECT_EQ(POLLHUP, poll_events(child, -1));
	EXPECT_EQ(POLLHUP, poll_events(copy, -1));
	EXPECT_EQ(0, poll_events(self->owner, 0));
	ASSERT_EQ(0, handle_revoke(self->owner));
	EXPECT_EQ(POLLHUP, poll_events(self->owner, -1));
	close(copy);
	close(child);
}

/* A thread that waits for news of @fd. */
struct waiter {
	int fd;
	uint32_t epoll_flags;
	bool epoll;
	atomic_int tid;
	int events;
};

static void *wait_for_hangup(void *argument)
{
	struct waiter *waiter = argument;
	struct epoll_event event = { .events = EPOLLIN | waiter->epoll_flags };
	int set;

	if (!waiter->epoll) {
		atomic_store(&waiter->tid, (int)syscall(SYS_gettid));
		waiter->events = poll_events(waiter->fd, 10000);
		return NULL;
	}
	set = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(set, EPOLL_CTL_ADD, waiter->fd, &event);
	atomic_store(&waiter->tid, (int)syscall(SYS_gettid));
	event.events = 0;
	waiter->events = epoll_wait(set, &event, 1, 10000) == 1 ? (int)event.events : 0;
	close(set);
	return NULL;
}

TEST_F(region, revoke_wakes_those_who_poll)
{
	int parent = handle_derive(self->owner, ISTH_RIGHTS_REGION);
	int child = handle_derive(parent, ISTH_RIGHT_READ);
	struct waiter waiters[] = {
		{ .fd = child }, { .fd = parent }, { .fd = dup(child) },
		{ .fd = child, .epoll = true }, { .fd = parent, .epoll = true },
		{ .fd = child, .epoll = true, .epoll_flags = EPOLLET },
		{ .fd = parent, .epoll = true, .epoll_flags = EPOLLONESHOT },
	};
	const unsigned int count = sizeof(waiters) / sizeof(waiters[0]);
	pthread_t threads[sizeof(waiters) / sizeof(waiters[0])];
	uint64_t start;
	unsigned int i;

	ASSERT_LE(0, child);
	for (i = 0; i < count; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, wait_for_hangup, &waiters[i]));
	for (i = 0; i < count; i++) {
		EXPECT_TRUE(wait_for(&waiters[i].tid, 1));
		EXPECT_TRUE(wait_asleep(atomic_load(&waiters[i].tid)));
	}
	start = now_ms();
	EXPECT_EQ(0, handle_revoke(parent));
	for (i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(POLLHUP, waiters[i].events)
			TH_LOG("waiter %u", i);
	}
	EXPECT_GT(5000, now_ms() - start);
	close(waiters[2].fd);
	close(child);
	close(parent);
}

/* ---- descriptors ---- */

TEST_F(region, a_duplicate_is_the_same_handle)
{
	int copy = dup(self->owner), again = fcntl(self->owner, F_DUPFD_CLOEXEC, 100);
	struct isth_stat one, other;

	ASSERT_LE(0, copy);
	ASSERT_LE(100, again);
	one = stat_of(self->owner);
	other = stat_of(copy);
	EXPECT_EQ(0, memcmp(&one, &other, sizeof(one)));
	EXPECT_EQ(live_baseline.handles + 1, info_of(self->device).handles);
	close(self->owner);
	self->owner = again;
	EXPECT_EQ(live_baseline.handles + 1, info_of(self->device).handles);
	EXPECT_EQ(0, map_error(copy, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, handle_revoke(copy));
	EXPECT_NE(0, handle_state(again) & ISTH_STATE_REVOKED);
	close(copy);
}

TEST_F(region, handles_travel_in_messages)
{
	int child = handle_derive(self->owner, RIGHTS_RW), sockets[2], arrived;
	struct isth_stat sent, got;
	uint8_t *memory;

	ASSERT_LE(0, child);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	sent = stat_of(child);
	ASSERT_EQ(0, send_fd(sockets[0], child));
	close(child);
	/* Under way it is in the tree, and can be revoked from above. */
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 1));
	arrived = receive_fd(sockets[1]);
	ASSERT_LE(0, arrived);
	got = stat_of(arrived);
	EXPECT_EQ(0, memcmp(&sent, &got, sizeof(got)));
	memory = region_map(arrived, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_EQ(0, pattern_errors(memory, self->bytes, REGION_SEED));
	munmap(memory, self->bytes);

	ASSERT_EQ(0, send_fd(sockets[0], arrived));
	close(arrived);
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	arrived = receive_fd(sockets[1]);
	ASSERT_LE(0, arrived);
	EXPECT_NE(0, handle_state(arrived) & ISTH_STATE_REVOKED);
	EXPECT_EQ(EKEYREVOKED, map_error(arrived, self->bytes, PROT_READ));

	/* One that nobody receives goes with the socket. */
	ASSERT_EQ(0, send_fd(sockets[0], arrived));
	close(arrived);
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 1));
	close(sockets[0]);
	close(sockets[1]);
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

/* Sockets that hold each other and a handle are found by the kernel's collector. */
TEST_F(region, a_handle_in_a_cycle_of_sockets_goes_with_it)
{
	int child = handle_derive(self->owner, RIGHTS_RW), sockets[2], other[2];

	ASSERT_LE(0, child);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	ASSERT_EQ(0, send_fd(sockets[0], child));
	ASSERT_EQ(0, send_fd(sockets[0], sockets[0]));
	ASSERT_EQ(0, send_fd(sockets[0], sockets[1]));
	close(child);
	close(sockets[0]);
	close(sockets[1]);
	/* Closing a socket starts the collector. */
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, other));
	close(other[0]);
	close(other[1]);
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

TEST_F(region, a_program_started_by_exec_has_no_handle)
{
	char text[32];
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		/* Its standard input would be the handle, were it not closed. */
		snprintf(text, sizeof(text), "/proc/self/fd/%d", self->owner);
		execlp("test", "test", "!", "-e", text, NULL);
		_exit(126);
	}
	EXPECT_EQ(0, child_status(pid));
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
}

/* ---- every order of closing ---- */

/* Three handles in a row, each mapped: six things to let go of. */
#define CHAIN	3
#define THINGS	(2 * CHAIN)
#define ORDERS	720

/* A kernel that is many times slower does not get to all orders. */
#define ORDERS_MS	1500
#define ORDERS_MIN	100

/**
 * struct chain - a chain of handles, and what must be true of it
 * @fd: handles, the first derived from the fixture's; -1 when closed
 * @memory: mappings made through them; NULL when unmapped
 * @revoked: what was revoked
 */
struct chain {
	int fd[CHAIN];
	uint8_t *memory[CHAIN];
	bool revoked[CHAIN];
};

static bool chain_make(struct chain *chain, int top, size_t bytes)
{
	int i;

	memset(chain, 0, sizeof(*chain));
	for (i = 0; i < CHAIN; i++) {
		chain->fd[i] = handle_derive(i ? chain->fd[i - 1] : top, ISTH_RIGHTS_REGION);
		if (chain->fd[i] < 0)
			return false;
		chain->memory[i] = region_map(chain->fd[i], bytes, PROT_READ | PROT_WRITE);
		if (chain->memory[i] == MAP_FAILED)
			return false;
	}
	return true;
}

/* Let go of one thing: a handle's descriptor or its mapping. */
static void chain_drop(struct chain *chain, unsigned int thing, size_t bytes)
{
	unsigned int i = thing / 2;

	if (thing % 2) {
		munmap(chain->memory[i], bytes);
		chain->memory[i] = NULL;
	} else {
		close(chain->fd[i]);
		chain->fd[i] = -1;
	}
}

static bool chain_alive(const struct chain *chain, unsigned int i)
{
	return chain->fd[i] >= 0 || chain->memory[i];
}

/* Revoke the @n-th descriptor that is open, or the top's descendants without one. */
static bool chain_revoke(struct chain *chain, unsigned int n, int top)
{
	unsigned int i, from = 0;
	uint64_t want = 0;
	struct isth_revoke out;
	int handle = top;

	for (i = 0; i < CHAIN; i++) {
		if (chain->fd[i] < 0 || n--)
			continue;
		handle = chain->fd[i];
		from = i;
		break;
	}
	for (i = from; i < CHAIN; i++) {
		chain->revoked[i] = true;
		want += chain_alive(chain, i);
	}
	return !handle_revoke_flags(handle, handle == top ? ISTH_REVOKE_DESCENDANTS : 0, &out) &&
	       out.handles == want;
}

/* Whether every handle and mapping is what it must be. */
static bool chain_holds(const struct chain *chain, int top)
{
	uint64_t alive = 0, mapped = 0;
	struct isth_stat stat;
	int i;

	for (i = CHAIN - 1; i >= 0; i--) {
		mapped += !!chain->memory[i];
		if (chain->memory[i] &&
		    read_signal(chain->memory[i]) != (chain->revoked[i] ? SIGBUS : 0))
			return false;
		if (chain->fd[i] >= 0) {
			stat = stat_of(chain->fd[i]);
			if (stat.descendants != alive || stat.subtree_mappings != mapped ||
			    stat.mappings != !!chain->memory[i] ||
			    !(stat.state & ISTH_STATE_REVOKED) == chain->revoked[i])
				return false;
		}
		alive += chain_alive(chain, i);
	}
	stat = stat_of(top);
	return stat.descendants == alive && stat.subtree_mappings == mapped + 1;
}

/* The @n-th of the 720 permutations; neighbours differ much. */
static void permutation(unsigned int n, unsigned int *order)
{
	unsigned int i, j, swap;

	n = n * 7 % ORDERS;
	for (i = 0; i < THINGS; i++)
		order[i] = i;
	for (i = THINGS; i > 1; i--) {
		j = n % i;
		n /= i;
		swap = order[i - 1];
		order[i - 1] = order[j];
		order[j] = swap;
	}
}

TEST_F(region, every_order_of_closing)
{
	unsigned int n, i, order[THINGS], wrong = 0;
	uint64_t end = race_end(ORDERS_MS);
	struct chain chain;

	for (n = 0; n < ORDERS && !wrong && (n < ORDERS_MIN || now_ms() < end); n++) {
		permutation(n, order);
		ASSERT_TRUE(chain_make(&chain, self->owner, self->bytes));
		for (i = 0; i < THINGS; i++) {
			wrong += !chain_holds(&chain, self->owner);
			chain_drop(&chain, order[i], self->bytes);
		}
		wrong += !chain_holds(&chain, self->owner);
		EXPECT_EQ(0, wrong)
			TH_LOG("order %u%u%u%u%u%u", order[0], order[1], order[2], order[3],
			       order[4], order[5]);
	}
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, REGION_SEED));
}

/* The same with a revoke somewhere on the way: it reaches below what was closed. */
TEST_F(region, every_order_of_closing_with_a_revoke_between)
{
	unsigned int n, i, order[THINGS], wrong = 0;
	uint64_t end = race_end(ORDERS_MS);
	struct chain chain;

	for (n = 0; n < ORDERS && !wrong && (n < ORDERS_MIN || now_ms() < end); n++) {
		permutation(n, order);
		ASSERT_TRUE(chain_make(&chain, self->owner, self->bytes));
		for (i = 0; i < THINGS; i++) {
			if (i == n % (THINGS - 1) + 1)
				wrong += !chain_revoke(&chain, n % CHAIN, self->owner);
			wrong += !chain_holds(&chain, self->owner);
			chain_drop(&chain, order[i], self->bytes);
		}
		wrong += !chain_holds(&chain, self->owner);
		EXPECT_EQ(0, wrong)
			TH_LOG("order %u%u%u%u%u%u, revoke before step %u", order[0], order[1],
			       order[2], order[3], order[4], order[5], n % (THINGS - 1) + 1);
	}
	EXPECT_EQ(0, read_signal(self->memory));
}

/* When the first handle of all goes before those below, nobody is above them. */
TEST_F(region, the_top_goes_first)
{
	int region = region_create(self->device, self->kind, self->flags, self->bytes);
	int one = handle_derive(region, ISTH_RIGHTS_REGION);
	int two = handle_derive(region, ISTH_RIGHTS_REGION);
	int below = handle_derive(one, RIGHTS_RW);

	ASSERT_LE(0, below);
	close(region);
	EXPECT_EQ(1, stat_of(one).descendants);
	EXPECT_EQ(0, stat_of(two).descendants);
	EXPECT_EQ(0, handle_revoke(one));
	EXPECT_NE(0, handle_state(below) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, handle_state(two) & ISTH_STATE_REVOKED);
	EXPECT_EQ(0, map_error(two, self->bytes, PROT_READ | PROT_WRITE));
	close(one);
	/* What was below it hangs nowhere now, and is as dead as before. */
	EXPECT_EQ(0, handle_revoke(two));
	EXPECT_NE(0, handle_state(below) & ISTH_STATE_REVOKED);
	close(two);
	close(below);
}

/* ---- numbers ---- */

TEST_F(region, numbers_are_never_used_again)
{
	uint64_t object, handle, last_object = stat_of(self->owner).object_id;
	uint64_t last_handle = 1;
	int i, region, child;

	for (i = 0; i < 200; i++) {
		region = region_create(self->device, self->kind, self->flags, self->page);
		child = handle_derive(self->owner, ISTH_RIGHT_READ);
		ASSERT_LE(0, region);
		ASSERT_LE(0, child);
		object = stat_of(region).object_id;
		handle = stat_of(child).handle_id;
		EXPECT_LT(last_object, object);
		EXPECT_LT(last_handle, handle);
		last_object = object;
		last_handle = handle;
		close(region);
		close(child);
	}
}

/* A thread that makes regions and handles and notes their numbers. */
struct maker {
	int device;
	uint32_t kind;
	int parent;
	uint64_t object[200];
	uint64_t handle[200];
};

static void *make_many(void *argument)
{
	struct maker *maker = argument;
	int i, region, child;

	for (i = 0; i < 200; i++) {
		region = region_create(maker->device, maker->kind, 0, page_bytes());
		child = handle_derive(maker->parent, ISTH_RIGHT_READ);
		maker->object[i] = stat_of(region).object_id;
		maker->handle[i] = stat_of(child).handle_id;
		close(region);
		close(child);
	}
	return NULL;
}

static int compare_numbers(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

static unsigned int twice(uint64_t *numbers, size_t count)
{
	unsigned int found = 0;
	size_t i;

	qsort(numbers, count, sizeof(*numbers), compare_numbers);
	for (i = 1; i < count; i++)
		found += numbers[i] == numbers[i - 1];
	return found;
}

TEST_F(region, numbers_are_unique_among_threads)
{
	uint64_t objects[800], handles[800];
	struct maker makers[4];
	pthread_t threads[4];
	int i;

	for (i = 0; i < 4; i++) {
		makers[i] = (struct maker) {
			.device = self->device, .kind = self->kind, .parent = self->owner
		};
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, make_many, &makers[i]));
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		memcpy(objects + 200 * i, makers[i].object, sizeof(makers[i].object));
		memcpy(handles + 200 * i, makers[i].handle, sizeof(makers[i].handle));
	}
	EXPECT_EQ(0, twice(objects, 800));
	EXPECT_EQ(0, twice(handles, 800));
	EXPECT_NE(UINT64_MAX, objects[799]);
	EXPECT_NE(UINT64_MAX, handles[799]);
}

/* ---- limits ---- */

TEST_F(region, no_descriptor_left_leaves_no_handle_behind)
{
	struct rlimit limit;
	struct isth_info before = info_of(self->device);
	struct isth_info after;
	int i, next = dup(self->device);

	ASSERT_LE(0, next);
	close(next);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = (rlim_t)next;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(-EMFILE, handle_derive(self->owner, ISTH_RIGHT_READ));
		EXPECT_EQ(-EMFILE, region_create(self->device, self->kind, self->flags,
						 self->bytes));
	}
	after = info_of(self->device);
	EXPECT_EQ(before.regions, after.regions);
	EXPECT_EQ(before.handles, after.handles);
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
	limit.rlim_cur = limit.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	next = handle_derive(self->owner, ISTH_RIGHT_READ);
	EXPECT_LE(0, next);
	close(next);
}

TEST_F(region, handles_max_limits_each_region)
{
	char before[32], text[32];
	int children[8], i, other;

	if (geteuid())
		SKIP(return, "needs root to set handles_max");
	ASSERT_LT(0, file_read(handles_max_path, before, sizeof(before)));
	ASSERT_EQ(0, file_write(handles_max_path, "5"));
	snprintf(text, sizeof(text), "%u", info_of(self->device).handles_max);
	EXPECT_STREQ("5", text);
	for (i = 0; i < 8; i++)
		children[i] = handle_derive(self->owner, ISTH_RIGHT_READ);
	/* Another region has its own. */
	other = region_create(self->device, self->kind, self->flags, self->page);
	EXPECT_LE(0, other);
	close(other);
	for (i = 0; i < 4; i++)
		EXPECT_LE(0, children[i]);
	for (i = 4; i < 8; i++)
		EXPECT_EQ(-EDQUOT, children[i]);
	EXPECT_TRUE(counts_are(self->owner, 4, 1, 1));
	/* A handle that went makes room for one. */
	close(children[0]);
	children[0] = handle_derive(self->owner, ISTH_RIGHT_READ);
	EXPECT_LE(0, children[0]);
	EXPECT_EQ(-EDQUOT, handle_derive(self->owner, ISTH_RIGHT_READ));
	/* Lowering it takes nothing away. */
	ASSERT_EQ(0, file_write(handles_max_path, "2"));
	EXPECT_EQ(0, handle_state(children[0]) & ISTH_STATE_REVOKED);
	EXPECT_EQ(-EDQUOT, handle_derive(self->owner, ISTH_RIGHT_READ));
	ASSERT_EQ(0, file_write(handles_max_path, "0"));
	EXPECT_EQ(-EDQUOT, region_create(self->device, self->kind, self->flags, self->page));
	ASSERT_EQ(0, file_write(handles_max_path, before));
	EXPECT_EQ(live_baseline.handles + 5, info_of(self->device).handles);
	EXPECT_EQ(live_baseline.regions + 1, info_of(self->device).regions);
	for (i = 0; i < 4; i++)
		close(children[i]);
}

/* ---- deep and wide ---- */

/* A kernel that is many times slower gets a chain as long as time allows. */
#define DEPTH		10000U
#define DEPTH_MIN	1000U
#define DEPTH_MS	2000

/**
 * struct depths - a chain of handles, each held by nothing but a mapping
 * @memory: the mappings
 * @count: how many
 * @last: the last handle's descriptor
 */
struct depths {
	uint8_t *memory[DEPTH];
	unsigned int count;
	int last;
};

/* A handle lives while it is mapped, so a chain may be longer than descriptors allow. */
static bool depths_make(struct depths *depths, int top, unsigned int count, size_t page)
{
	uint64_t end = race_end(DEPTH_MS);
	int child;

	depths->last = dup(top);
	for (depths->count = 0; depths->count < count; depths->count++) {
		if (depths->count >= DEPTH_MIN && now_ms() > end)
			break;
		child = handle_derive(depths->last, ISTH_RIGHTS_REGION);
		close(depths->last);
		depths->last = child;
		depths->memory[depths->count] = region_map(child, page, PROT_READ);
		if (depths->memory[depths->count] == MAP_FAILED)
			return false;
	}
	return depths->last >= 0;
}

TEST_F(region, a_chain_of_ten_thousand)
{
	struct depths *depths = calloc(1, sizeof(*depths));
	unsigned int i, wrong = 0, count, left;
	struct isth_revoke out;
	int region;

	ASSERT_NE(NULL, depths);
	/* A region of its own, so that the fixture's goes on afterwards. */
	region = region_create(self->device, self->kind, self->flags, self->page);
	ASSERT_LE(0, region);
	ASSERT_TRUE(depths_make(depths, region, DEPTH, self->page));
	count = depths->count;
	EXPECT_TRUE(counts_are(region, count, 0, count));
	EXPECT_EQ(0, read_signal(depths->memory[count - 1]));

	/* The second quarter goes; the rest stays below the top. */
	for (i = count / 4; i < count / 2; i++)
		munmap(depths->memory[i], self->page);
	left = count - (count / 2 - count / 4);
	EXPECT_TRUE(counts_are(region, left, 0, left));
	EXPECT_EQ(0, read_signal(depths->memory[count - 1]));

	EXPECT_EQ(0, handle_revoke_flags(region, 0, &out));
	EXPECT_EQ(left + 1, out.handles);
	EXPECT_EQ(-EKEYREVOKED, handle_derive(depths->last, ISTH_RIGHT_READ));
	for (i = 0; i < count; i += 13)
		if (i < count / 4 || i >= count / 2)
			wrong += read_signal(depths->memory[i]) != SIGBUS;
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(SIGBUS, read_signal(depths->memory[count - 1]));
	close(depths->last);
	close(region);
	/* The mappings go with the process, in the order of addresses. */
}

TEST_F(region, closing_the_middle_of_a_chain_keeps_the_end_within_reach)
{
	struct depths *depths = calloc(1, sizeof(*depths));
	int i;

	ASSERT_NE(NULL, depths);
	ASSERT_TRUE(depths_make(depths, self->owner, 64, self->page));
	for (i = 0; i < 63; i++)
		munmap(depths->memory[i], self->page);
	EXPECT_TRUE(counts_are(self->owner, 1, 1, 2));
	EXPECT_EQ(0, read_signal(depths->memory[63]));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, NULL));
	EXPECT_NE(0, handle_state(depths->last) & ISTH_STATE_REVOKED);
	EXPECT_EQ(SIGBUS, read_signal(depths->memory[63]));
	munmap(depths->memory[63], self->page);
	close(depths->last);
	free(depths);
}

TEST_F(region, as_many_children_as_descriptors)
{
	size_t limit = descriptors_raise(10000), count, made, i, wrong = 0;
	uint64_t end = race_end(DEPTH_MS);
	int *children = calloc(limit, sizeof(*children));
	struct isth_revoke out;
	int parent = handle_derive(self->owner, ISTH_RIGHTS_REGION);

	ASSERT_NE(NULL, children);
	ASSERT_LE(0, parent);
	count = limit > 10000 ? 9900 : limit - 40;
	for (made = 0; made < count && (made < 900 || now_ms() < end); made++) {
		children[made] = handle_derive(parent, ISTH_RIGHT_READ);
		ASSERT_LE(0, children[made]);
	}
	EXPECT_LE(900, made);
	EXPECT_TRUE(counts_are(self->owner, made + 1, 1, 1));
	/* Their parent goes: all of them move up at once. */
	close(parent);
	EXPECT_TRUE(counts_are(self->owner, made, 1, 1));
	EXPECT_EQ(0, handle_revoke_flags(self->owner, ISTH_REVOKE_DESCENDANTS, &out));
	EXPECT_EQ(made, out.handles);
	for (i = 0; i < made; i++) {
		wrong += poll_events(children[i], 0) != POLLHUP;
		close(children[i]);
	}
	EXPECT_EQ(0, wrong);
	EXPECT_TRUE(counts_are(self->owner, 0, 1, 1));
	free(children);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
