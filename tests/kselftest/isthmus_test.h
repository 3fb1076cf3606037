/* SPDX-License-Identifier: GPL-2.0-only */
/* What all test programs share: requests, probes, children, messages, live counts. */
#ifndef ISTHMUS_TEST_H
#define ISTHMUS_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/isthmus.h>

#include "kselftest_harness.h"

/* The debug kernel is several times slower; a hang is still found. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 120

#define RIGHTS_RW	(ISTH_RIGHT_READ | ISTH_RIGHT_WRITE)

/* ---- time and chance ---- */

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

static inline void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static inline void sleep_us(unsigned int us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000L };

	nanosleep(&ts, NULL);
}

/* How long a test that races goes on; ISTHMUS_LONG makes all of them longer. */
static inline uint64_t race_end(unsigned int ms)
{
	const char *factor = getenv("ISTHMUS_LONG");

	return now_ms() + (uint64_t)ms * (factor ? strtoul(factor, NULL, 10) : 1);
}

/* A generator of its own, so that a printed seed repeats a run. */
static inline uint32_t random_next(uint64_t *state)
{
	uint64_t x = (*state += 0x9E3779B97F4A7C15ULL);

	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
	return (uint32_t)((x ^ (x >> 31)) >> 16);
}

/* ISTHMUS_SEED repeats an earlier run. */
static inline uint64_t random_seed(const char *what)
{
	const char *text = getenv("ISTHMUS_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : now_ns() ^ ((uint64_t)getpid() << 32);

	fprintf(stderr, "# %s: ISTHMUS_SEED=%llu\n", what, (unsigned long long)seed);
	return seed;
}

/* ---- memory ---- */

static inline size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* A test without memory for itself proves nothing. */
static inline void *test_alloc(size_t bytes)
{
	void *memory = calloc(1, bytes);

	if (!memory)
		abort();
	return memory;
}

static inline void fill_pattern(void *memory, size_t bytes, uint64_t seed)
{
	uint32_t *word = memory;
	size_t i;

	for (i = 0; i < bytes / sizeof(*word); i++)
		word[i] = random_next(&seed) | 1;
}

/* The number of words that differ from what fill_pattern() wrote. */
static inline size_t pattern_errors(const void *memory, size_t bytes, uint64_t seed)
{
	const uint32_t *word = memory;
	size_t i, errors = 0;

	for (i = 0; i < bytes / sizeof(*word); i++)
		errors += word[i] != (random_next(&seed) | 1);
	return errors;
}

static inline bool all_zero(const void *memory, size_t bytes)
{
	const uint64_t *word = memory;
	size_t i;

	for (i = 0; i < bytes / sizeof(*word); i++)
		if (word[i])
			return false;
	return true;
}

/* A page that parent and children see. */
static inline void *shared_page(void)
{
	void *page = mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

/* Wait until *@flag is at least @value; false when that takes 20 s. */
static inline bool wait_for(atomic_int *flag, int value)
{
	uint64_t end = now_ms() + 20000;

	while (atomic_load(flag) < value) {
		if (now_ms() > end)
			return false;
		sleep_us(100);
	}
	return true;
}

/* ---- touching memory that may not be there ---- */

struct probe {
	sigjmp_buf env;
	volatile sig_atomic_t active;
	volatile int signal;
	volatile int code;
	void *volatile address;
};

static __thread struct probe probe;

static inline void probe_caught(int signal_number, siginfo_t *info, void *context)
{
	(void)context;
	if (!probe.active) {
		/* Not a probe: let the same instruction kill the process. */
		signal(signal_number, SIG_DFL);
		return;
	}
	probe.signal = signal_number;
	probe.code = info->si_code;
	probe.address = info->si_addr;
	siglongjmp(probe.env, 1);
}

static inline void probe_install(void)
{
	struct sigaction action = { .sa_sigaction = probe_caught, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* The signal that reading a byte at @address raises; zero for none. */
static inline int read_signal(const volatile void *address)
{
	probe.signal = 0;
	probe.code = 0;
	if (!sigsetjmp(probe.env, 1)) {
		probe.active = 1;
		(void)*(const volatile uint8_t *)address;
	}
	probe.active = 0;
	return probe.signal;
}

static inline int write_signal(volatile void *address, uint8_t value)
{
	probe.signal = 0;
	probe.code = 0;
	if (!sigsetjmp(probe.env, 1)) {
		probe.active = 1;
		*(volatile uint8_t *)address = value;
	}
	probe.active = 0;
	return probe.signal;
}

/* ---- requests; each returns a result or a negative errno value ---- */

static inline int request(int fd, unsigned long code, void *argument)
{
	int result = ioctl(fd, code, argument);

	return result < 0 ? -errno : result;
}

static inline int device_open(void)
{
	int fd = open("/dev/isthmus", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int device_info(int device, struct isth_info *info)
{
	memset(info, 0, sizeof(*info));
	return request(device, ISTH_INFO, info);
}

static inline int region_create(int device, uint32_t kind, uint32_t flags, uint64_t size)
{
	struct isth_region_create create = { .flags = flags, .kind = kind, .size = size };

	return request(device, ISTH_REGION_CREATE, &create);
}

static inline int region_create_at(int device, uint32_t kind, uint64_t size, uint64_t home)
{
	struct isth_region_create create = {
		.flags = ISTH_REGION_HOME, .kind = kind, .size = size, .home = home
	};

	return request(device, ISTH_REGION_CREATE, &create);
}

static inline int handle_stat(int handle, struct isth_stat *stat)
{
	memset(stat, 0, sizeof(*stat));
	return request(handle, ISTH_STAT, stat);
}

static inline int handle_derive(int handle, uint32_t rights)
{
	struct isth_derive derive = { .rights = rights };

	return request(handle, ISTH_DERIVE, &derive);
}

static inline int handle_revoke_flags(int handle, uint32_t flags, struct isth_revoke *out)
{
	struct isth_revoke revoke = { .flags = flags };
	int result = request(handle, ISTH_REVOKE, &revoke);

	if (out)
		*out = revoke;
	return result;
}

static inline int handle_revoke(int handle)
{
	return handle_revoke_flags(handle, 0, NULL);
}

static inline int region_freeze(int handle, uint64_t *pinned_pages)
{
	struct isth_freeze freeze = { 0 };
	int result = request(handle, ISTH_FREEZE, &freeze);

	if (pinned_pages)
		*pinned_pages = freeze.pinned_pages;
	return result;
}

static inline int region_wait(int handle, uint64_t offset, uint32_t expected, uint64_t deadline)
{
	struct isth_wait wait = { .expected = expected, .offset = offset, .deadline = deadline };

	return request(handle, ISTH_WAIT, &wait);
}

static inline int region_wake(int handle, uint64_t offset, uint32_t count)
{
	struct isth_wake wake = { .count = count, .offset = offset };

	return request(handle, ISTH_WAKE, &wake);
}

static inline uint32_t handle_state(int handle)
{
	struct isth_stat stat;

	return handle_stat(handle, &stat) ? UINT32_MAX : stat.state;
}

static inline uint32_t handle_rights(int handle)
{
	struct isth_stat stat;

	return handle_stat(handle, &stat) ? UINT32_MAX : stat.rights;
}

/* Map the first @bytes of a region; MAP_FAILED and errno as mmap(2) has it. */
static inline void *region_map(int handle, size_t bytes, int protection)
{
	return mmap(NULL, bytes, protection, MAP_SHARED, handle, 0);
}

/* The error of that mapping, or zero (the mapping is undone then). */
static inline int map_error(int handle, size_t bytes, int protection)
{
	void *memory = mmap(NULL, bytes, protection, MAP_SHARED, handle, 0);

	if (memory == MAP_FAILED)
		return errno;
	munmap(memory, bytes);
	return 0;
}

static inline int protect_error(void *memory, size_t bytes, int protection)
{
	return mprotect(memory, bytes, protection) ? errno : 0;
}

/*
 * FREEZE, patient with I/O that is about to let go of its pages: io_uring and
 * the socket layer free theirs a moment after the call that ends them returned.
 */
static inline int region_freeze_settled(int handle)
{
	uint64_t end = now_ms() + 5000;
	int result;

	do {
		result = region_freeze(handle, NULL);
		if (result != -EBUSY)
			return result;
		sleep_ms(5);
	} while (now_ms() < end);
	return result;
}

/* ---- children ---- */

/* fork(), and the child dies with its parent: a failed test leaves no process. */
static inline pid_t child_fork(void)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
	}
	return pid;
}

/* Exit status of @pid, or 256 + signal when one killed it. */
static inline int child_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

#define KILLED_BY(signal)	(256 + (signal))

/* The same, for a child that must end by itself within @ms; -ETIME otherwise. */
static inline int child_status_within(pid_t pid, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFSIGNALED(status) ? 256 + WTERMSIG(status) :
						     WEXITSTATUS(status);
		if (got < 0)
			return -errno;
		if (now_ms() > end)
			return -ETIME;
		sleep_us(200);
	}
}

static inline int child_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	return child_status(pid);
}

/* The state letter of a process in /proc, to see that it sleeps. */
static inline char process_state(pid_t pid)
{
	char path[64], text[512], *after_name;
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return '?';
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return '?';
	text[length] = 0;
	after_name = strrchr(text, ')');
	return after_name && after_name[1] ? after_name[2] : '?';
}

/* Wait until @pid sleeps in the kernel; false when it does not within 10 s. */
static inline bool wait_asleep(pid_t pid)
{
	uint64_t end = now_ms() + 10000;

	while (process_state(pid) != 'S') {
		if (now_ms() > end)
			return false;
		sleep_ms(1);
	}
	return true;
}

/* ---- descriptors in messages ---- */

static inline int send_fd(int socket, int fd)
{
	char byte = 'h', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static inline int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -EPIPE;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -ENOMSG;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* ---- files ---- */

static inline int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		result = -errno;
	close(fd);
	return result;
}

/* Reads a small file as text; the length or a negative errno value. */
static inline int file_read(const char *path, char *text, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got = 0;

	text[0] = 0;
	if (fd < 0)
		return -errno;
	while (length < bytes - 1 && (got = read(fd, text + length, bytes - 1 - length)) > 0)
		length += (size_t)got;
	if (got < 0)
		got = -errno;
	close(fd);
	text[length] = 0;
	return got < 0 ? (int)got : (int)length;
}

/* The number after @key in a file of "key number" lines; -1 when absent. */
static inline long long file_number(const char *path, const char *key)
{
	static char text[65536];
	char *line;

	if (file_read(path, text, sizeof(text)) < 0)
		return -1;
	if (!key)
		return strtoll(text, NULL, 10);
	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, strlen(key)))
			return strtoll(line + strlen(key), NULL, 10);
	}
	return -1;
}

/* ---- limits ---- */

/* Raise the limit of open descriptors to the hard limit, at most @want. */
static inline size_t descriptors_raise(size_t want)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (!geteuid() && limit.rlim_max < want)
		limit.rlim_max = want;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
	setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	return (size_t)limit.rlim_cur;
}

/* Whether this user may have so much isolated memory. */
static inline bool memlock_allows(size_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	return !geteuid() || limit.rlim_cur >= bytes;
}

/* ---- what is alive in the module ---- */

static struct isth_info live_baseline;

static inline bool live_is(const struct isth_info *info, unsigned int regions,
			   unsigned int handles, unsigned int mappings)
{
	return info->regions == live_baseline.regions + regions &&
	       info->handles == live_baseline.handles + handles &&
	       info->mappings == live_baseline.mappings + mappings;
}

/*
 * Whether the live counts come to be this much above what they were when the
 * program began. Files and io_uring contexts are freed a moment after the last
 * user went, hence a wait; five seconds is far more than the slowest kernel needs.
 */
static inline bool live_settles_above(unsigned int regions, unsigned int handles,
				      unsigned int mappings)
{
	struct isth_info info = { 0 };
	uint64_t end = now_ms() + 5000;
	int device = device_open();
	bool settled;

	if (device < 0)
		return false;
	do {
		settled = !device_info(device, &info) && live_is(&info, regions, handles, mappings);
		if (!settled)
			sleep_ms(5);
	} while (!settled && now_ms() < end);
	close(device);
	if (!settled)
		fprintf(stderr, "# alive: %lld regions, %lld handles, %lld mappings\n",
			(long long)(info.regions - live_baseline.regions),
			(long long)(info.handles - live_baseline.handles),
			(long long)(info.mappings - live_baseline.mappings));
	return settled;
}

static inline bool live_settles(void)
{
	return live_settles_above(0, 0, 0);
}

static void __attribute__((constructor)) test_begin(void)
{
	int device = device_open();

	probe_install();
	signal(SIGPIPE, SIG_IGN);
	if (device < 0) {
		fprintf(stderr, "# /dev/isthmus: %s\n", strerror(-device));
		return;
	}
	device_info(device, &live_baseline);
	close(device);
}

/*
 * The last test of a program: put it directly before TEST_HARNESS_MAIN. It is a
 * fixture because the harness runs those after the plain tests.
 */
#define TEST_NOTHING_IS_LEFT \
	FIXTURE(end) { int unused; }; \
	FIXTURE_SETUP(end) {} \
	FIXTURE_TEARDOWN(end) {} \
	TEST_F(end, nothing_is_left) { EXPECT_TRUE(live_settles()); }

#endif /* ISTHMUS_TEST_H */
