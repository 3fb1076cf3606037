// SPDX-License-Identifier: GPL-2.0-only
/* G1: no route gets more out of a handle than its rights. Needs -luring. */
#include "isthmus_test.h"
#include "routes.h"

#include <linux/memfd.h>
#include <sys/file.h>
#include <sys/personality.h>
#include <sys/sendfile.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS	1033
#define F_SEAL_WRITE	0x0008
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

#define SEED	0xA77E
#define PAGES	8

/*
 * @handle may only read. @view is mapped through it. @spare is a second region
 * of the same kind, mapped writable: the same route must work there (or fail for
 * the one reason that the region is isolated), or the test would prove nothing.
 */
FIXTURE(narrow)
{
	int device;
	int owner;
	int handle;
	int spare_handle;
	uint8_t *memory;
	uint8_t *view;
	uint8_t *spare;
	size_t page;
	size_t bytes;
};

FIXTURE_VARIANT(narrow)
{
	uint32_t kind;
	int remote;	/* what another route than loads and stores gives */
};

FIXTURE_VARIANT_ADD(narrow, pageable)
{
	.kind = ISTH_REGION_PAGEABLE,
};

FIXTURE_VARIANT_ADD(narrow, isolated)
{
	.kind = ISTH_REGION_ISOLATED,
	.remote = -EFAULT,
};

FIXTURE_SETUP(narrow)
{
	ASSERT_TRUE(live_settles());
	self->page = page_bytes();
	self->bytes = PAGES * self->page;
	self->device = device_open();
	ASSERT_LE(0, self->device);
	self->owner = region_create(self->device, variant->kind, 0, self->bytes);
	ASSERT_LE(0, self->owner);
	self->memory = region_map(self->owner, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->memory);
	fill_pattern(self->memory, self->bytes, SEED);
	self->handle = handle_derive(self->owner, ISTH_RIGHT_READ);
	ASSERT_LE(0, self->handle);
	self->view = region_map(self->handle, self->bytes, PROT_READ);
	ASSERT_NE(MAP_FAILED, (void *)self->view);
	self->spare_handle = region_create(self->device, variant->kind, 0, self->bytes);
	ASSERT_LE(0, self->spare_handle);
	self->spare = region_map(self->spare_handle, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, (void *)self->spare);
}

FIXTURE_TEARDOWN(narrow)
{
	/* Whatever the test tried, the region is what it was. */
	EXPECT_EQ(0, pattern_errors(self->memory, self->bytes, SEED));
	EXPECT_EQ(0, handle_state(self->owner));
	munmap(self->memory, self->bytes);
	munmap(self->view, self->bytes);
	munmap(self->spare, self->bytes);
	close(self->spare_handle);
	close(self->handle);
	close(self->owner);
	close(self->device);
}

/* Nothing makes [address, +bytes) writable, and a store there is a fault. */
#define EXPECT_UNWRITABLE(address, bytes) do { \
	EXPECT_EQ(EACCES, protect_error(address, bytes, PROT_READ | PROT_WRITE)); \
	EXPECT_EQ(EACCES, protect_error(address, bytes, PROT_WRITE)); \
	EXPECT_EQ(SIGSEGV, write_signal(address, 0xEE)); \
} while (0)

/* ---- mmap and mprotect ---- */

TEST_F(narrow, mmap_gives_what_the_rights_say_for_every_mask)
{
	uint32_t rights;
	int expected, handle;

	for (rights = 1; rights <= ISTH_RIGHTS_REGION; rights++) {
		bool can_read = rights & ISTH_RIGHT_READ;
		bool can_write = rights & ISTH_RIGHT_WRITE;
		bool can_execute = rights & ISTH_RIGHT_EXEC;

		handle = handle_derive(self->spare_handle, rights);
		ASSERT_LE(0, handle);
		EXPECT_EQ(rights, handle_rights(handle));
		expected = can_read ? 0 : EACCES;
		EXPECT_EQ(expected, map_error(handle, self->bytes, PROT_READ))
			TH_LOG("rights %#x", rights);
		expected = can_read && can_write ? 0 : EACCES;
		EXPECT_EQ(expected, map_error(handle, self->bytes, PROT_READ | PROT_WRITE))
			TH_LOG("rights %#x", rights);
		/* On x86 what can be written can be read. */
		EXPECT_EQ(expected, map_error(handle, self->bytes, PROT_WRITE))
			TH_LOG("rights %#x", rights);
		expected = can_read && can_execute ? 0 : EACCES;
		EXPECT_EQ(expected, map_error(handle, self->bytes, PROT_READ | PROT_EXEC))
			TH_LOG("rights %#x", rights);
		EXPECT_EQ(expected, map_error(handle, self->bytes, PROT_EXEC))
			TH_LOG("rights %#x", rights);
		close(handle);
	}
}

TEST_F(narrow, mprotect_gives_what_the_rights_say_for_every_mask)
{
	uint32_t rights;
	int expected, handle;
	uint8_t *memory;

	for (rights = 1; rights <= ISTH_RIGHTS_REGION; rights++) {
		bool can_read = rights & ISTH_RIGHT_READ;
		bool can_write = rights & ISTH_RIGHT_WRITE;
		bool can_execute = rights & ISTH_RIGHT_EXEC;

		handle = handle_derive(self->spare_handle, rights);
		ASSERT_LE(0, handle);
		memory = region_map(handle, self->bytes, PROT_NONE);
		/* Without any of the three there may be nothing to map at all. */
		if (memory == MAP_FAILED) {
			EXPECT_FALSE(can_read);
			close(handle);
			continue;
		}
		expected = can_read ? 0 : EACCES;
		EXPECT_EQ(expected, protect_error(memory, self->bytes, PROT_READ));
		expected = can_read && can_write ? 0 : EACCES;
		EXPECT_EQ(expected, protect_error(memory, self->bytes, PROT_WRITE));
		EXPECT_EQ(expected, protect_error(memory, self->bytes, PROT_READ | PROT_WRITE));
		expected = can_read && can_execute ? 0 : EACCES;
		EXPECT_EQ(expected, protect_error(memory, self->bytes, PROT_READ | PROT_EXEC));
		EXPECT_EQ(expected, protect_error(memory, self->bytes, PROT_EXEC));
		munmap(memory, self->bytes);
		close(handle);
	}
}

TEST_F(narrow, mprotect_of_a_part_does_not_widen)
{
	EXPECT_UNWRITABLE(self->view, self->bytes);
	EXPECT_UNWRITABLE(self->view + self->page, self->page);
	EXPECT_UNWRITABLE(self->view + 7 * self->page, self->page);
	ASSERT_EQ(0, protect_error(self->view + self->page, self->page, PROT_NONE));
	EXPECT_UNWRITABLE(self->view + self->page, self->page);
	EXPECT_EQ(0, protect_error(self->view, self->bytes, PROT_READ));
	EXPECT_UNWRITABLE(self->view, self->bytes);
}

TEST_F(narrow, pkey_mprotect_does_not_widen)
{
	EXPECT_EQ(-1, syscall(SYS_pkey_mprotect, self->view, self->page,
			      PROT_READ | PROT_WRITE, -1));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(0, syscall(SYS_pkey_mprotect, self->spare, self->page,
			     PROT_READ | PROT_WRITE, -1));
}

TEST_F(narrow, a_private_mapping_is_refused)
{
	int protection;

	for (protection = PROT_NONE; protection <= (PROT_READ | PROT_WRITE); protection++) {
		void *memory = mmap(NULL, self->page, protection, MAP_PRIVATE, self->owner, 0);

		EXPECT_EQ(MAP_FAILED, memory);
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_PRIVATE, self->handle, 0));
	EXPECT_EQ(EINVAL, errno);
	/* With write access to a private copy the kernel asks for less of the file. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_PRIVATE,
				   self->handle, 0));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(narrow, a_mapping_over_a_writable_one_stays_narrow)
{
	uint8_t *middle = self->spare + 2 * self->page;

	ASSERT_EQ((void *)middle, mmap(middle, self->page, PROT_READ, MAP_SHARED | MAP_FIXED,
				       self->handle, 0));
	EXPECT_EQ(EACCES, protect_error(self->spare, self->bytes, PROT_READ | PROT_WRITE));
	EXPECT_UNWRITABLE(middle, self->page);
	EXPECT_EQ(0, write_signal(self->spare + 3 * self->page, 1));
}

TEST_F(narrow, code_runs_with_exec_only)
{
	static const uint8_t code[] = { 0xB8, 0x39, 0x05, 0x00, 0x00, 0xC3 };	/* return 1337 */
	int handle = handle_derive(self->spare_handle, ISTH_RIGHT_READ | ISTH_RIGHT_EXEC);
	int (*function)(void);
	void *memory;

	memcpy(self->spare, code, sizeof(code));
	ASSERT_LE(0, handle);
	memory = region_map(handle, self->bytes, PROT_READ | PROT_EXEC);
	ASSERT_NE(MAP_FAILED, memory);
	memcpy(&function, &memory, sizeof(function));
	EXPECT_EQ(1337, function());
	EXPECT_UNWRITABLE(memory, self->bytes);
	munmap(memory, self->bytes);
	close(handle);
	EXPECT_EQ(EACCES, protect_error(self->view, self->bytes, PROT_READ | PROT_EXEC));
	EXPECT_EQ(EACCES, map_error(self->handle, self->bytes, PROT_READ | PROT_EXEC));
}

/* The permissions of the mapping at @address as /proc/self/maps has them. */
static void mapping_permissions(const void *address, char permissions[5])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512];

	permissions[0] = 0;
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, permissions) != 3)
			continue;
		if (start <= (unsigned long)address && (unsigned long)address < end)
			break;
		permissions[0] = 0;
	}
	if (maps)
		fclose(maps);
}

TEST_F(narrow, read_implies_exec_does_not_widen)
{
	char permissions[5];
	void *memory;

	ASSERT_LE(0, personality(READ_IMPLIES_EXEC));
	memory = region_map(self->handle, self->bytes, PROT_READ);
	if (memory != MAP_FAILED) {
		mapping_permissions(memory, permissions);
		EXPECT_STREQ("r--s", permissions);
		munmap(memory, self->bytes);
	} else {
		EXPECT_EQ(EACCES, errno);
	}
	EXPECT_EQ(0, protect_error(self->view, self->bytes, PROT_READ));
	mapping_permissions(self->view, permissions);
	EXPECT_STREQ("r--s", permissions);
	personality(0);
}

/* ---- mremap ---- */

TEST_F(narrow, mremap_moves_without_widening)
{
	uint8_t *target = mmap(NULL, self->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *moved;

	ASSERT_NE(MAP_FAILED, (void *)target);
	moved = mremap(self->view, self->bytes, self->bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		       target);
	ASSERT_EQ((void *)target, (void *)moved);
	EXPECT_EQ(self->memory[5], moved[5]);
	EXPECT_UNWRITABLE(moved, self->bytes);
	self->view = moved;
}

TEST_F(narrow, mremap_of_length_zero_copies_no_more_rights)
{
	uint8_t *copy = mremap(self->view, 0, self->bytes, MREMAP_MAYMOVE);

	if (copy != MAP_FAILED) {
		EXPECT_UNWRITABLE(copy, self->bytes);
		munmap(copy, self->bytes);
	} else {
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(ISTH_REGION_ISOLATED, variant->kind);
	}
}

TEST_F(narrow, mremap_dontunmap_copies_no_more_rights)
{
	uint8_t *copy = mremap(self->view, self->bytes, self->bytes,
			       MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	if (copy != MAP_FAILED) {
		EXPECT_UNWRITABLE(copy, self->bytes);
		munmap(copy, self->bytes);
	} else {
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(ISTH_REGION_ISOLATED, variant->kind);
	}
	EXPECT_UNWRITABLE(self->view, self->bytes);
}

TEST_F(narrow, mremap_grows_into_nothing)
{
	uint8_t *grown = mremap(self->view, self->bytes, 2 * self->bytes, MREMAP_MAYMOVE);

	if (variant->kind == ISTH_REGION_ISOLATED) {
		ASSERT_EQ(MAP_FAILED, (void *)grown);
		EXPECT_EQ(EFAULT, errno);
		return;
	}
	ASSERT_NE(MAP_FAILED, (void *)grown);
	self->view = grown;
	EXPECT_UNWRITABLE(grown, 2 * self->bytes);
	EXPECT_EQ(0, read_signal(grown + self->bytes - 1));
	EXPECT_EQ(SIGBUS, read_signal(grown + self->bytes));
	munmap(grown + self->bytes, self->bytes);
}

TEST_F(narrow, remap_file_pages_does_not_widen)
{
	int handle = handle_derive(self->owner, RIGHTS_RW);
	uint8_t *memory = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	int result;

	ASSERT_NE(MAP_FAILED, (void *)memory);
	EXPECT_EQ(-1, remap_file_pages(self->view, self->page, 0, 1, 0));
	EXPECT_UNWRITABLE(self->view, self->bytes);
	/* With the rights for it: refused, or a mapping through the same handle. */
	result = remap_file_pages(memory, self->page, 0, 1, 0);
	EXPECT_EQ(0, memcmp(memory, self->memory + (result ? 0 : self->page), self->page));
	/* Never beyond the region's end. */
	EXPECT_EQ(-1, remap_file_pages(memory, 2 * self->page, 0, PAGES - 1, 0));
	EXPECT_EQ(0, handle_revoke(handle));
	EXPECT_NE(0, read_signal(memory));
	munmap(memory, self->bytes);
	close(handle);
}

/* ---- other processes and other descriptors ---- */

TEST_F(narrow, a_forked_child_has_no_more)
{
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		close(self->owner);
		if (protect_error(self->view, self->bytes, PROT_READ | PROT_WRITE) != EACCES)
			_exit(1);
		if (write_signal(self->view, 1) != SIGSEGV)
			_exit(2);
		if (map_error(self->handle, self->bytes, PROT_READ | PROT_WRITE) != EACCES)
			_exit(3);
		_exit(pattern_errors(self->view, self->bytes, SEED) ? 4 : 0);
	}
	EXPECT_EQ(0, child_status(pid));
}

TEST_F(narrow, dup_has_no_more)
{
	int copies[4], i;

	copies[0] = dup(self->handle);
	copies[1] = dup2(self->handle, 100);
	copies[2] = fcntl(self->handle, F_DUPFD_CLOEXEC, 50);
	copies[3] = (int)syscall(SYS_dup3, self->handle, 101, O_CLOEXEC);
	for (i = 0; i < 4; i++) {
		ASSERT_LE(0, copies[i]);
		EXPECT_EQ(ISTH_RIGHT_READ, handle_rights(copies[i]));
		EXPECT_EQ(EACCES, map_error(copies[i], self->bytes, PROT_READ | PROT_WRITE));
		EXPECT_EQ(-EACCES, handle_derive(copies[i], ISTH_RIGHT_READ));
		close(copies[i]);
	}
}

TEST_F(narrow, a_handle_in_a_message_has_no_more)
{
	int pair[2], received;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(self->owner);
		close(self->handle);
		received = receive_fd(pair[1]);
		if (received < 0 || handle_rights(received) != ISTH_RIGHT_READ)
			_exit(1);
		if (map_error(received, self->bytes, PROT_READ | PROT_WRITE) != EACCES)
			_exit(2);
		if (map_error(received, self->bytes, PROT_READ))
			_exit(3);
		if (handle_derive(received, ISTH_RIGHT_READ) != -EACCES)
			_exit(4);
		_exit(region_freeze(received, NULL) == -EACCES ? 0 : 5);
	}
	ASSERT_EQ(0, send_fd(pair[0], self->handle));
	EXPECT_EQ(0, child_status(pid));
}

TEST_F(narrow, pidfd_getfd_has_no_more)
{
	pid_t pid = child_fork();
	int pidfd, copy;

	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, self->handle, 0);
	if (copy < 0 && errno == EPERM) {
		child_kill(pid);
		SKIP(return, "pidfd_getfd is not allowed here");
	}
	ASSERT_LE(0, copy);
	EXPECT_EQ(ISTH_RIGHT_READ, handle_rights(copy));
	EXPECT_EQ(EACCES, map_error(copy, self->bytes, PROT_READ | PROT_WRITE));
	close(copy);
	close(pidfd);
	child_kill(pid);
}

TEST_F(narrow, reopening_through_proc_self_fd_fails)
{
	static const int modes[] = {
		O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_RDWR | O_APPEND
	};
	char path[64], by_path[64];
	int path_fd, fd;
	size_t i;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->handle);
	path_fd = open(path, O_PATH | O_CLOEXEC);
	ASSERT_LE(0, path_fd);
	snprintf(by_path, sizeof(by_path), "/proc/self/fd/%d", path_fd);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		fd = open(path, modes[i] | O_CLOEXEC);
		EXPECT_EQ(-1, fd)
			TH_LOG("open mode %#x", modes[i]);
		fd = open(by_path, modes[i] | O_CLOEXEC);
		EXPECT_EQ(-1, fd);
		fd = openat(path_fd, "", modes[i] | O_CLOEXEC);
		EXPECT_EQ(-1, fd);
	}
	EXPECT_EQ(-1, truncate(path, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED, path_fd, 0));
	EXPECT_EQ(-EBADF, handle_derive(path_fd, ISTH_RIGHT_READ));
	close(path_fd);
	/* What the same steps do to a memfd that was narrowed to reading. */
	fd = memfd_create("isthmus-test", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	path_fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	close(fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	EXPECT_LE(0, fd);
	close(fd);
	close(path_fd);
}

/* ---- /proc/PID/map_files, which only root may follow ---- */

static void map_files_path(char *path, size_t length, const void *address, size_t bytes)
{
	snprintf(path, length, "/proc/self/map_files/%lx-%lx", (unsigned long)address,
		 (unsigned long)address + bytes);
}

TEST_F(narrow, map_files_opens_nothing)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC };
	int memfd = memfd_create("isthmus-test", MFD_CLOEXEC);
	char path[96], owner_path[96], control_path[96];
	void *control;
	size_t i;

	map_files_path(path, sizeof(path), self->view, self->bytes);
	map_files_path(owner_path, sizeof(owner_path), self->memory, self->bytes);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		EXPECT_EQ(-1, open(path, modes[i] | O_CLOEXEC))
			TH_LOG("open mode %#x", modes[i]);
		EXPECT_EQ(-1, open(owner_path, modes[i] | O_CLOEXEC))
			TH_LOG("open mode %#x", modes[i]);
	}
	EXPECT_EQ(-1, truncate(path, 0));
	EXPECT_EQ(-1, truncate(owner_path, 0));
	EXPECT_EQ(-1, truncate(owner_path, (off_t)(2 * self->bytes)));
	/* Only root may follow these links at all. */
	if (geteuid()) {
		close(memfd);
		return;
	}
	/* A memfd mapped for reading only is writable again by this path. */
	ASSERT_EQ(0, ftruncate(memfd, (off_t)self->page));
	control = mmap(NULL, self->page, PROT_READ, MAP_SHARED, memfd, 0);
	ASSERT_NE(MAP_FAILED, control);
	map_files_path(control_path, sizeof(control_path), control, self->page);
	close(memfd);
	memfd = open(control_path, O_RDWR | O_CLOEXEC);
	EXPECT_LE(0, memfd);
	EXPECT_EQ(0, truncate(control_path, 0));
	munmap(control, self->page);
	close(memfd);
}

TEST_F(narrow, map_files_as_a_path_opens_nothing)
{
	char path[96], by_path[64];
	int path_fd;

	if (geteuid())
		SKIP(return, "needs root");
	map_files_path(path, sizeof(path), self->memory, self->bytes);
	path_fd = open(path, O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return;
	snprintf(by_path, sizeof(by_path), "/proc/self/fd/%d", path_fd);
	EXPECT_EQ(-1, open(by_path, O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(-1, open(by_path, O_RDWR | O_CLOEXEC));
	EXPECT_EQ(-1, open(by_path, O_RDWR | O_TRUNC | O_CLOEXEC));
	EXPECT_EQ(-1, truncate(by_path, 0));
	close(path_fd);
}

TEST_F(narrow, a_path_kept_beyond_the_region_opens_nothing)
{
	char path[96], by_path[64];
	struct isth_info before, after;
	int path_fd, handle;
	void *memory;

	if (geteuid())
		SKIP(return, "needs root");
	ASSERT_EQ(0, device_info(self->device, &before));
	handle = region_create(self->device, variant->kind, 0, self->bytes);
	ASSERT_LE(0, handle);
	memory = region_map(handle, self->bytes, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, memory);
	fill_pattern(memory, self->bytes, SEED + 1);
	map_files_path(path, sizeof(path), memory, self->bytes);
	path_fd = open(path, O_PATH | O_CLOEXEC);
	munmap(memory, self->bytes);
	close(handle);
	sleep_ms(50);
	ASSERT_EQ(0, device_info(self->device, &after));
	EXPECT_EQ(before.regions, after.regions);
	if (path_fd < 0)
		return;
	snprintf(by_path, sizeof(by_path), "/proc/self/fd/%d", path_fd);
	EXPECT_EQ(-1, open(by_path, O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(-1, open(by_path, O_RDWR | O_CLOEXEC));
	EXPECT_EQ(-1, truncate(by_path, 0));
	EXPECT_EQ(-1, truncate(by_path, 1 << 20));
	close(path_fd);
}

TEST_F(narrow, open_by_handle_at_opens_nothing)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} name;
	int memfd = memfd_create("isthmus-test", MFD_CLOEXEC);
	char path[96];
	int mount, fd;

	if (geteuid())
		SKIP(return, "needs root");
	/* A memfd lives on the mount where the kernel keeps nameless shared memory. */
	name.handle.handle_bytes = MAX_HANDLE_SZ;
	ASSERT_EQ(0, name_to_handle_at(memfd, "", &name.handle, &mount, AT_EMPTY_PATH));
	fd = open_by_handle_at(memfd, &name.handle, O_RDWR);
	EXPECT_LE(0, fd);
	close(fd);
	map_files_path(path, sizeof(path), self->memory, self->bytes);
	name.handle.handle_bytes = MAX_HANDLE_SZ;
	if (!name_to_handle_at(AT_FDCWD, path, &name.handle, &mount, AT_SYMLINK_FOLLOW)) {
		EXPECT_EQ(-1, open_by_handle_at(memfd, &name.handle, O_RDWR));
		EXPECT_EQ(-1, open_by_handle_at(memfd, &name.handle, O_RDONLY));
	}
	close(memfd);
}

/* ---- writing from outside ---- */

TEST_F(narrow, process_vm_writev_does_not_write)
{
	EXPECT_EQ(-EFAULT, vm_write(getpid(), self->view, "stray", 5));
	EXPECT_EQ(variant->remote, vm_write(getpid(), self->spare, "stray", 5));
}

TEST_F(narrow, process_vm_writev_into_a_child_does_not_write)
{
	pid_t pid = child_fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	EXPECT_EQ(-EFAULT, vm_write(pid, self->view, "stray", 5));
	EXPECT_EQ(variant->remote, vm_write(pid, self->spare, "stray", 5));
	child_kill(pid);
}

TEST_F(narrow, proc_self_mem_does_not_write)
{
	int local = 0;

	EXPECT_EQ(-EIO, proc_mem_write(getpid(), self->view, "stray", 5));
	EXPECT_EQ(variant->remote ? -EIO : 0,
		  proc_mem_write(getpid(), self->spare, "stray", 5));
	EXPECT_EQ(0, proc_mem_write(getpid(), &local, "1234", 4));
	EXPECT_NE(0, local);
}

TEST_F(narrow, proc_self_mem_does_not_force_a_read_only_mapping)
{
	/* The right is there, the mapping does not use it. */
	ASSERT_EQ(0, protect_error(self->spare, self->bytes, PROT_READ));
	EXPECT_EQ(-EIO, proc_mem_write(getpid(), self->spare, "stray", 5));
	EXPECT_NE('s', self->spare[0]);
}

TEST_F(narrow, ptrace_does_not_write)
{
	pid_t tracee = tracee_start();
	static long word;

	ASSERT_LT(0, tracee);
	EXPECT_EQ(-EIO, ptrace_poke(tracee, self->view, 0x5555));
	EXPECT_EQ(variant->remote ? -EIO : 0, ptrace_poke(tracee, self->spare, 0x5555));
	EXPECT_EQ(0, ptrace_poke(tracee, &word, 0x5555));
	child_kill(tracee);
}

TEST_F(narrow, io_uring_does_not_register_or_write)
{
	const char *missing = uring_missing();
	int source = memfd_create("isthmus-test", MFD_CLOEXEC);
	void *control = shared_page();
	struct io_uring ring;
	int result;

	if (missing)
		SKIP(return, "io_uring: %s", missing);
	ASSERT_EQ(8, write(source, "strayway", 8));
	EXPECT_EQ(-EFAULT, uring_pin(&ring, self->view, self->page));
	EXPECT_EQ(-EFAULT, uring_read(source, self->view, 8));
	EXPECT_EQ(0, uring_read(source, self->spare, 8));
	result = uring_pin(&ring, self->spare, self->page);
	if (!result)
		io_uring_queue_exit(&ring);
	else
		EXPECT_TRUE(uring_cannot_pin(result));
	/* Memory of no file is what every kernel registers. */
	EXPECT_EQ(0, uring_pin(&ring, control, self->page));
	io_uring_queue_exit(&ring);
	munmap(control, self->page);
	close(source);
}

TEST_F(narrow, read_and_receive_do_not_write)
{
	int pair[2];
	char random;

	EXPECT_EQ(-EFAULT, read_into(self->view, 16, 0xEE));
	EXPECT_EQ(0, read_into(self->spare, 16, 0xEE));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	ASSERT_EQ(5, write(pair[0], "stray", 5));
	EXPECT_EQ(-1, recv(pair[1], self->view, 5, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(1, recv(pair[1], &random, 1, MSG_DONTWAIT));
	EXPECT_EQ(-1, syscall(SYS_getrandom, self->view, 16, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, getcwd((char *)self->view, self->page) ? 0 : -1);
	close(pair[0]);
	close(pair[1]);
}

TEST_F(narrow, vmsplice_and_splice_do_not_write)
{
	int pipe_ends[2], sink = memfd_create("isthmus-test", MFD_CLOEXEC);
	int result;

	ASSERT_EQ(0, pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK));
	/* Bytes of a pipe into the view. */
	ASSERT_EQ(5, write(pipe_ends[1], "stray", 5));
	EXPECT_EQ(-EFAULT, vmsplice_in(pipe_ends[0], self->view, 5));
	EXPECT_EQ(0, vmsplice_in(pipe_ends[0], self->spare, 5));
	/* The view's page in a pipe: what is written next must not be merged into it. */
	result = vmsplice_out(pipe_ends[1], self->view, 8);
	EXPECT_EQ(variant->remote, result);
	if (!result) {
		ASSERT_EQ(5, write(pipe_ends[1], "stray", 5));
		EXPECT_EQ(13, splice(pipe_ends[0], NULL, sink, NULL, 4096, SPLICE_F_MOVE));
		EXPECT_EQ(5, pwrite(sink, "STRAY", 5, 0));
	}
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	close(sink);
}

TEST_F(narrow, the_handle_itself_is_no_file_to_read_or_write)
{
	int pipe_ends[2], sink = memfd_create("isthmus-test", MFD_CLOEXEC);
	char buffer[16] = "stray";
	int handles[2] = { self->handle, self->owner };
	off_t begin;
	int i;

	ASSERT_EQ(0, pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK));
	ASSERT_EQ(5, write(pipe_ends[1], "stray", 5));
	ASSERT_EQ(16, write(sink, buffer, 16));
	for (i = 0; i < 2; i++) {
		int fd = handles[i];

		EXPECT_EQ(-1, read(fd, buffer, sizeof(buffer)));
		EXPECT_EQ(-1, write(fd, "stray", 5));
		EXPECT_EQ(-1, pread(fd, buffer, sizeof(buffer), 0));
		EXPECT_EQ(-1, pwrite(fd, "stray", 5, 0));
		EXPECT_EQ(-1, ftruncate(fd, 0));
		EXPECT_EQ(-1, fallocate(fd, 0, 0, 4096));
		EXPECT_EQ(-1, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
		EXPECT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
		EXPECT_EQ(-1, splice(fd, NULL, pipe_ends[1], NULL, 16, SPLICE_F_NONBLOCK));
		EXPECT_EQ(-1, splice(pipe_ends[0], NULL, fd, NULL, 5, SPLICE_F_NONBLOCK));
		EXPECT_EQ(-1, sendfile(pipe_ends[1], fd, NULL, 16));
		begin = 0;
		EXPECT_EQ(-1, sendfile(fd, sink, &begin, 16));
		begin = 0;
		EXPECT_EQ(-1, copy_file_range(sink, &begin, fd, NULL, 16, 0));
		EXPECT_EQ(-1, copy_file_range(fd, NULL, sink, NULL, 16, 0));
	}
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	close(sink);
}

/* ---- advice, faults and flags ---- */

TEST_F(narrow, madvise_removes_nothing)
{
	int memfd = memfd_create("isthmus-test", MFD_CLOEXEC);
	uint8_t *control;

	EXPECT_EQ(-1, madvise(self->view, self->bytes, MADV_REMOVE));
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_REMOVE));
	EXPECT_EQ(-1, madvise(self->memory, self->bytes, MADV_FREE));
	EXPECT_EQ(-1, madvise(self->view, self->bytes, MADV_POPULATE_WRITE));
	(void)!madvise(self->view, self->bytes, MADV_DONTNEED);
	(void)!madvise(self->memory, self->bytes, MADV_DONTNEED);
	EXPECT_EQ(0, pattern_errors(self->view, self->bytes, SEED));
	ASSERT_EQ(0, ftruncate(memfd, (off_t)self->page));
	control = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT_NE(MAP_FAILED, (void *)control);
	control[0] = 1;
	EXPECT_EQ(0, madvise(control, self->page, MADV_REMOVE));
	EXPECT_EQ(0, control[0]);
	munmap(control, self->page);
	close(memfd);
}

TEST_F(narrow, userfaultfd_does_not_take_over)
{
	int memfd = memfd_create("isthmus-test", MFD_CLOEXEC);
	void *control;
	int result;

	ASSERT_EQ(0, ftruncate(memfd, (off_t)self->page));
	control = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT_NE(MAP_FAILED, control);
	result = uffd_register(control, self->page);
	close(memfd);
	if (result == -ENOSYS)
		SKIP(return, "no userfaultfd here");
	EXPECT_EQ(0, result);
	EXPECT_EQ(-EINVAL, uffd_register(self->view, self->bytes));
	EXPECT_EQ(-EINVAL, uffd_register(self->memory, self->bytes));
	munmap(control, self->page);
}

TEST_F(narrow, fcntl_does_not_change_the_access_mode)
{
	int flags = fcntl(self->handle, F_GETFL);

	EXPECT_EQ(O_RDONLY, flags & O_ACCMODE);
	EXPECT_EQ(O_RDWR, fcntl(self->owner, F_GETFL) & O_ACCMODE);
	(void)!fcntl(self->handle, F_SETFL, O_RDWR | O_APPEND | O_NONBLOCK);
	EXPECT_EQ(O_RDONLY, fcntl(self->handle, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(EACCES, map_error(self->handle, self->bytes, PROT_READ | PROT_WRITE));
}

TEST_F(narrow, execve_of_a_handle_fails)
{
	char name[16] = "isthmus-test";
	char *arguments[2] = { name };
	char path[96];
	pid_t pid;

	/* Something that could be run, were the handle a file. */
	strcpy((char *)self->spare, "#!/bin/true\n");
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		syscall(SYS_execveat, self->spare_handle, "", arguments, NULL, AT_EMPTY_PATH);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", self->spare_handle);
		execv(path, arguments);
		map_files_path(path, sizeof(path), self->spare, self->bytes);
		execv(path, arguments);
		_exit(42);
	}
	/* Status 0 would be /bin/true. */
	EXPECT_EQ(42, child_status(pid));
}

TEST_F(narrow, a_handle_is_gone_after_execve)
{
	char program[16] = "/bin/sh", option[4] = "-c", command[64];
	char *arguments[4] = { program, option, command };
	pid_t pid;

	snprintf(command, sizeof(command), "test ! -e /proc/self/fd/%d", self->handle);
	pid = child_fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		execv(program, arguments);
		_exit(100);
	}
	EXPECT_EQ(0, child_status(pid));
}

/* ---- derive ---- */

TEST_F(narrow, derive_never_widens)
{
	uint32_t parent, child;

	for (parent = 1; parent <= ISTH_RIGHTS_REGION; parent++) {
		int handle = handle_derive(self->owner, parent);

		ASSERT_LE(0, handle);
		for (child = 1; child <= ISTH_RIGHTS_REGION; child++) {
			bool allowed = (parent & ISTH_RIGHT_DERIVE) && !(child & ~parent);
			int result = handle_derive(handle, child);

			if (allowed) {
				EXPECT_LE(0, result);
				EXPECT_EQ(child, handle_rights(result));
				close(result);
			} else {
				EXPECT_EQ(-EACCES, result)
					TH_LOG("%#x from %#x", child, parent);
			}
		}
		close(handle);
	}
}

TEST_F(narrow, derive_refuses_no_rights_and_unknown_rights)
{
	uint32_t bit;

	EXPECT_EQ(-EINVAL, handle_derive(self->owner, 0));
	for (bit = ISTH_RIGHT_FREEZE << 1; bit; bit <<= 1)
		EXPECT_EQ(-EINVAL, handle_derive(self->owner, ISTH_RIGHT_READ | bit));
}

TEST_F(narrow, freeze_needs_its_right)
{
	int handle = handle_derive(self->owner, ISTH_RIGHTS_REGION & ~ISTH_RIGHT_FREEZE);
	int freezer;

	ASSERT_LE(0, handle);
	EXPECT_EQ(-EACCES, region_freeze(handle, NULL));
	EXPECT_EQ(-EACCES, region_freeze(self->handle, NULL));
	EXPECT_EQ(0, handle_state(self->owner));
	close(handle);
	freezer = handle_derive(self->spare_handle, ISTH_RIGHT_FREEZE);
	ASSERT_LE(0, freezer);
	EXPECT_EQ(0, region_freeze_settled(freezer));
	EXPECT_EQ(ISTH_STATE_FROZEN, handle_state(self->spare_handle));
	close(freezer);
}

TEST_F(narrow, wait_and_wake_need_their_rights)
{
	/* A pageable region has futexes, which whoever lacks the right need not know. */
	bool pageable = variant->kind == ISTH_REGION_PAGEABLE;
	int writer, reader;

	writer = handle_derive(self->owner, ISTH_RIGHT_WRITE);
	reader = handle_derive(self->owner, ISTH_RIGHT_READ);
	ASSERT_LE(0, writer);
	ASSERT_LE(0, reader);
	EXPECT_EQ(-EACCES, region_wait(writer, 0, 0, 1));
	EXPECT_EQ(pageable ? -EOPNOTSUPP : -EAGAIN, region_wait(reader, 0, 0, 1));
	EXPECT_EQ(-EACCES, region_wake(reader, 0, 1));
	EXPECT_EQ(pageable ? -EOPNOTSUPP : 0, region_wake(writer, 0, 1));
	close(writer);
	close(reader);
}

TEST_NOTHING_IS_LEFT

TEST_HARNESS_MAIN
