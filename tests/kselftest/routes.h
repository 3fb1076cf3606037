/* SPDX-License-Identifier: GPL-2.0-only */
/* Every way the kernel offers into a process's memory other than its own loads and stores. */
#ifndef ROUTES_H
#define ROUTES_H

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <liburing.h>

#include "isthmus_test.h"

/* Each returns zero or a negative errno value; a short transfer is -EIO. */

static inline int transfer_result(ssize_t moved, size_t wanted)
{
	if (moved < 0)
		return -errno;
	return (size_t)moved == wanted ? 0 : -EIO;
}

static inline int vm_read(pid_t pid, const void *address, void *buffer, size_t bytes)
{
	struct iovec local = { .iov_base = buffer, .iov_len = bytes };
	struct iovec remote = { .iov_base = (void *)address, .iov_len = bytes };

	return transfer_result(process_vm_readv(pid, &local, 1, &remote, 1, 0), bytes);
}

static inline int vm_write(pid_t pid, void *address, const void *buffer, size_t bytes)
{
	struct iovec local = { .iov_base = (void *)buffer, .iov_len = bytes };
	struct iovec remote = { .iov_base = address, .iov_len = bytes };

	return transfer_result(process_vm_writev(pid, &local, 1, &remote, 1, 0), bytes);
}

static inline int proc_mem_open(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static inline int proc_mem_read(pid_t pid, const void *address, void *buffer, size_t bytes)
{
	int fd = proc_mem_open(pid), result;

	if (fd < 0)
		return fd;
	result = transfer_result(pread(fd, buffer, bytes, (off_t)(uintptr_t)address), bytes);
	close(fd);
	return result;
}

static inline int proc_mem_write(pid_t pid, void *address, const void *buffer, size_t bytes)
{
	int fd = proc_mem_open(pid), result;

	if (fd < 0)
		return fd;
	result = transfer_result(pwrite(fd, buffer, bytes, (off_t)(uintptr_t)address), bytes);
	close(fd);
	return result;
}

/* A child that has our mappings and stands still for ptrace(2). */
static inline pid_t tracee_start(void)
{
	pid_t pid = child_fork();
	int status;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	return pid;
}

static inline int ptrace_peek(pid_t tracee, const void *address, long *word)
{
	errno = 0;
	*word = ptrace(PTRACE_PEEKDATA, tracee, address, NULL);
	return *word == -1 && errno ? -errno : 0;
}

static inline int ptrace_poke(pid_t tracee, void *address, long word)
{
	return ptrace(PTRACE_POKEDATA, tracee, address, word) ? -errno : 0;
}

/* read(2) of @bytes bytes of @value into @address. */
static inline int read_into(void *address, size_t bytes, uint8_t value)
{
	int fd = memfd_create("isthmus-test", MFD_CLOEXEC), result;
	size_t i;

	if (fd < 0)
		return -errno;
	for (i = 0; i < bytes; i++)
		(void)!write(fd, &value, 1);
	result = transfer_result(pread(fd, address, bytes, 0), bytes);
	close(fd);
	return result;
}

/* write(2) from @address. */
static inline int write_from(const void *address, size_t bytes)
{
	int fd = memfd_create("isthmus-test", MFD_CLOEXEC), result;

	if (fd < 0)
		return -errno;
	result = transfer_result(pwrite(fd, address, bytes, 0), bytes);
	close(fd);
	return result;
}

/* The pages at @address into a pipe, by reference. */
static inline int vmsplice_out(int pipe_end, const void *address, size_t bytes)
{
	struct iovec vector = { .iov_base = (void *)address, .iov_len = bytes };

	return transfer_result(vmsplice(pipe_end, &vector, 1, SPLICE_F_NONBLOCK), bytes);
}

/* The bytes of a pipe into @address. */
static inline int vmsplice_in(int pipe_end, void *address, size_t bytes)
{
	struct iovec vector = { .iov_base = address, .iov_len = bytes };

	return transfer_result(vmsplice(pipe_end, &vector, 1, SPLICE_F_NONBLOCK), bytes);
}

/* Why io_uring cannot be used here, or NULL. */
static inline const char *uring_missing(void)
{
	struct io_uring ring;
	int result = io_uring_queue_init(4, &ring, 0);

	if (!result)
		io_uring_queue_exit(&ring);
	return result ? strerror(-result) : NULL;
}

/* Register @address as a fixed buffer: the kernel pins it for writing. */
static inline int uring_pin(struct io_uring *ring, void *address, size_t bytes)
{
	struct iovec vector = { .iov_base = address, .iov_len = bytes };
	int result = io_uring_queue_init(4, ring, 0);

	if (result)
		return result;
	result = io_uring_register_buffers(ring, &vector, 1);
	if (result)
		io_uring_queue_exit(ring);
	return result;
}

static inline int uring_complete(struct io_uring *ring, size_t bytes)
{
	struct io_uring_cqe *cqe;
	int result = io_uring_submit_and_wait(ring, 1);

	if (result < 0)
		return result;
	result = io_uring_wait_cqe(ring, &cqe);
	if (result)
		return result;
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	if (result < 0)
		return result;
	return (size_t)result == bytes ? 0 : -EIO;
}

/* Read @bytes from @fd into the buffer that uring_pin() registered. */
static inline int uring_read_fixed(struct io_uring *ring, int fd, void *address, size_t bytes)
{
	io_uring_prep_read_fixed(io_uring_get_sqe(ring), fd, address, (unsigned int)bytes, 0, 0);
	return uring_complete(ring, bytes);
}

static inline int uring_read(int fd, void *address, size_t bytes)
{
	struct io_uring ring;
	int result = io_uring_queue_init(4, &ring, 0);

	if (result)
		return result;
	io_uring_prep_read(io_uring_get_sqe(&ring), fd, address, (unsigned int)bytes, 0);
	result = uring_complete(&ring, bytes);
	io_uring_queue_exit(&ring);
	return result;
}

/* Take over the faults of a mapping: -ENOSYS when this kernel cannot do it at all. */
static inline int uffd_register(void *address, size_t bytes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)address, .len = bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY), result;

	if (fd < 0)
		return -ENOSYS;
	if (ioctl(fd, UFFDIO_API, &api))
		result = -ENOSYS;
	else
		result = ioctl(fd, UFFDIO_REGISTER, &reg) ? -errno : 0;
	close(fd);
	return result;
}

/*
 * A pin that lasts: a child whose process_vm_writev(2) into the region has pinned
 * the pages and then waits for its source, a page that userfaultfd withholds.
 */
struct held_pin {
	pid_t pid;
	atomic_int *state;	/* 1: pinned, 2: let go */
};

struct held_source {
	int uffd;
	uint8_t *page;
	atomic_int *state;
};

static inline void *held_pin_serve(void *argument)
{
	struct held_source *source = argument;
	struct uffdio_copy copy = { .dst = (uintptr_t)source->page, .len = page_bytes() };
	struct uffd_msg message;
	uint8_t *content = test_alloc(page_bytes());

	memset(content, 0xAB, page_bytes());
	copy.src = (uintptr_t)content;
	if (read(source->uffd, &message, sizeof(message)) != sizeof(message))
		_exit(90);
	atomic_store(source->state, 1);
	while (atomic_load(source->state) != 2)
		sleep_us(200);
	ioctl(source->uffd, UFFDIO_COPY, &copy);
	free(content);
	return NULL;
}

static inline int held_pin_child(void *memory, size_t bytes, atomic_int *state)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct held_source source = { .state = state };
	pthread_t thread;
	int result;

	/* Not UFFD_USER_MODE_ONLY: the kernel's own fault is to wait. */
	source.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	source.page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	if (source.uffd < 0 || source.page == MAP_FAILED)
		return 91;
	memset(source.page + page_bytes(), 0xAB, bytes - page_bytes());
	reg.range.start = (uintptr_t)source.page;
	reg.range.len = page_bytes();
	if (ioctl(source.uffd, UFFDIO_API, &api) || ioctl(source.uffd, UFFDIO_REGISTER, &reg))
		return 92;
	if (pthread_create(&thread, NULL, held_pin_serve, &source))
		return 93;
	result = vm_write(getpid(), memory, source.page, bytes);
	pthread_join(thread, NULL);
	return result ? 94 : 0;
}

/* Pin [@memory, +@bytes) in a child; NULL, or why that cannot be done here. */
static inline const char *held_pin_start(struct held_pin *pin, void *memory, size_t bytes)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return "holding a pin needs userfaultfd for the kernel's faults (root)";
	close(fd);
	pin->state = shared_page();
	pin->pid = child_fork();
	if (!pin->pid)
		_exit(held_pin_child(memory, bytes, pin->state));
	return wait_for(pin->state, 1) ? NULL : "the pinning child does not get there";
}

/* Let it write 0xAB to all of it and end; zero, or how it failed. */
static inline int held_pin_release(struct held_pin *pin)
{
	atomic_store(pin->state, 2);
	return child_status(pin->pid);
}

/*
 * Whether this kernel refuses a region's pages as a fixed buffer, as isthmus(4)
 * says it may: before 6.5 for any shared file mapping but tmpfs's own, later
 * where a mapping keeps track of who writes.
 */
static inline bool uring_cannot_pin(int error)
{
	return error == -EOPNOTSUPP || error == -EFAULT;
}

/* A block device that tests may overwrite, or NULL. */
static inline const char *scratch_device(void)
{
	const char *path = getenv("ISTHMUS_SCRATCH_DEVICE");

	return path && *path && !access(path, R_OK | W_OK) ? path : NULL;
}

#define NO_SCRATCH_DEVICE "needs a block device in ISTHMUS_SCRATCH_DEVICE"

static inline int scratch_open(int flags)
{
	const char *path = scratch_device();

	return path ? open(path, flags | O_CLOEXEC) : -1;
}

/* One page between the scratch device and @address, without the page cache. */
static inline int direct_read(void *address, size_t bytes)
{
	int fd = scratch_open(O_RDONLY | O_DIRECT), result;

	if (fd < 0)
		return -errno;
	result = transfer_result(pread(fd, address, bytes, 0), bytes);
	close(fd);
	return result;
}

static inline int direct_write(const void *address, size_t bytes)
{
	int fd = scratch_open(O_WRONLY | O_DIRECT), result;

	if (fd < 0)
		return -errno;
	result = transfer_result(pwrite(fd, address, bytes, 0), bytes);
	close(fd);
	return result;
}

/* ---- swap on the scratch device ---- */

#define SWAP_PAGES	8192

/* Why there can be no swap here, or NULL. */
static inline const char *swap_missing(void)
{
	if (geteuid())
		return "needs root to use swap";
	return scratch_device() ? NULL : NO_SCRATCH_DEVICE;
}

/* Make and enable swap on the scratch device. */
static inline int swap_on(void)
{
	uint32_t header[3] = { 1, SWAP_PAGES - 1, 0 };
	size_t page = page_bytes();
	uint8_t *block = test_alloc(page);
	int fd = scratch_open(O_WRONLY), result;

	if (fd < 0) {
		free(block);
		return -errno;
	}
	memcpy(block + 1024, header, sizeof(header));
	memcpy(block + page - 10, "SWAPSPACE2", 10);
	result = transfer_result(pwrite(fd, block, page, 0), page);
	if (!result && fsync(fd))
		result = -errno;
	close(fd);
	free(block);
	if (!result && syscall(SYS_swapon, scratch_device(), 0))
		result = -errno;
	return result;
}

static inline int swap_off(void)
{
	return syscall(SYS_swapoff, scratch_device()) ? -errno : 0;
}

/* KiB of swap in use. */
static inline long long swapped_out(void)
{
	return file_number("/proc/meminfo", "SwapTotal:") -
	       file_number("/proc/meminfo", "SwapFree:");
}

#endif /* ROUTES_H */
