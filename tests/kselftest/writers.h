/* SPDX-License-Identifier: GPL-2.0-only */
/* Processes that write into a region without end, to race FREEZE and REVOKE with. */
#ifndef WRITERS_H
#define WRITERS_H

#include "routes.h"

/* How a writer that was refused says so; a store ends with SIGBUS instead. */
#define WRITER_REFUSED	17

struct writer_arguments {
	int handle;
	size_t bytes;
	unsigned int number;		/* which of the writers this is */
	atomic_int *progress;
	volatile uint8_t *memory;
	uint64_t random;
};

struct writer {
	const char *name;
	void (*run)(struct writer_arguments *arguments);	/* returns when refused */
};

static inline volatile uint8_t *writer_spot(struct writer_arguments *arguments)
{
	size_t page = page_bytes();
	size_t pages = arguments->bytes / page;
	uint32_t chance = random_next(&arguments->random);

	return arguments->memory + (chance % pages) * page + arguments->number * 64;
}

static inline void writer_step(struct writer_arguments *arguments)
{
	atomic_fetch_add(arguments->progress, 1);
}

/* Plain stores, with pages dropped now and then so that faults keep coming. */
static inline void write_by_store(struct writer_arguments *arguments)
{
	for (;;) {
		volatile uint8_t *spot = writer_spot(arguments);
		uint32_t chance = random_next(&arguments->random);

		*spot = (uint8_t)chance;
		if (!(chance & 0x300))
			(void)*(spot + 8);
		if (!(chance & 0x7C00))
			madvise((void *)((uintptr_t)spot & ~(page_bytes() - 1)), page_bytes(),
				MADV_DONTNEED);
		writer_step(arguments);
	}
}

/* A fresh mapping for every few stores. */
static inline void write_by_remap(struct writer_arguments *arguments)
{
	size_t page = page_bytes();

	for (;;) {
		off_t offset = (off_t)(random_next(&arguments->random) %
				       (arguments->bytes / page) * page);
		uint8_t *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
				       arguments->handle, offset);

		if (memory == MAP_FAILED)
			return;
		memory[arguments->number] = (uint8_t)random_next(&arguments->random);
		munmap(memory, page);
		writer_step(arguments);
	}
}

/* mprotect() to and fro: a freeze must not be undone by it. */
static inline void write_by_mprotect(struct writer_arguments *arguments)
{
	for (;;) {
		volatile uint8_t *spot = writer_spot(arguments);
		void *page = (void *)((uintptr_t)spot & ~(page_bytes() - 1));

		if (mprotect(page, page_bytes(), PROT_READ))
			return;
		if (mprotect(page, page_bytes(), PROT_READ | PROT_WRITE))
			return;
		*spot = (uint8_t)random_next(&arguments->random);
		writer_step(arguments);
	}
}

/* The kernel's own copying: read(2). */
static inline void write_by_read(struct writer_arguments *arguments)
{
	int source = memfd_create("isthmus-writer", MFD_CLOEXEC);
	uint32_t value[4] = { 0 };

	for (;;) {
		value[0] = random_next(&arguments->random);
		if (pwrite(source, value, sizeof(value), 0) != sizeof(value))
			_exit(99);
		if (pread(source, (void *)writer_spot(arguments), sizeof(value), 0) < 0)
			return;
		writer_step(arguments);
	}
}

/* A page looked up and written through the kernel's own mapping of it. */
static inline void write_by_proc_mem(struct writer_arguments *arguments)
{
	int fd = proc_mem_open(getpid());

	for (;;) {
		uint32_t value = random_next(&arguments->random);
		off_t offset = (off_t)(uintptr_t)writer_spot(arguments);

		if (pwrite(fd, &value, sizeof(value), offset) != sizeof(value))
			return;
		writer_step(arguments);
	}
}

/* A page pinned, written and let go; a big copy keeps the pin for a while. */
static inline void write_by_vm_writev(struct writer_arguments *arguments)
{
	size_t bytes = arguments->bytes / 2;
	uint32_t *source = test_alloc(bytes);

	for (;;) {
		source[0] = random_next(&arguments->random);
		source[bytes / 8] = source[0];
		if (vm_write(getpid(), (void *)arguments->memory, source, bytes))
			return;
		writer_step(arguments);
	}
}

static inline void write_by_uring(struct writer_arguments *arguments)
{
	int source = memfd_create("isthmus-writer", MFD_CLOEXEC);
	struct io_uring ring;
	uint32_t value;

	if (io_uring_queue_init(4, &ring, 0))
		_exit(99);
	for (;;) {
		void *spot = (void *)writer_spot(arguments);

		value = random_next(&arguments->random);
		if (pwrite(source, &value, sizeof(value), 0) != sizeof(value))
			_exit(99);
		io_uring_prep_read(io_uring_get_sqe(&ring), source, spot, sizeof(value), 0);
		if (uring_complete(&ring, sizeof(value)))
			return;
		writer_step(arguments);
	}
}

/* Pages of a pipe copied in; the pipe is another way for the kernel to hold data. */
static inline void write_by_vmsplice(struct writer_arguments *arguments)
{
	int ends[2];
	uint32_t value;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		_exit(99);
	for (;;) {
		value = random_next(&arguments->random);
		if (write(ends[1], &value, sizeof(value)) != sizeof(value))
			_exit(99);
		if (vmsplice_in(ends[0], (void *)writer_spot(arguments), sizeof(value)))
			return;
		writer_step(arguments);
	}
}

/* The scratch device's bytes, straight into the region: a pin for the I/O's time. */
static inline void write_by_direct_read(struct writer_arguments *arguments)
{
	int fd = scratch_open(O_RDONLY | O_DIRECT);
	size_t page = page_bytes();

	if (fd < 0)
		_exit(99);
	for (;;) {
		void *spot = (void *)((uintptr_t)writer_spot(arguments) & ~(page - 1));
		off_t offset = (off_t)(random_next(&arguments->random) % 64 * page);

		if (pread(fd, spot, page, offset) != (ssize_t)page)
			return;
		writer_step(arguments);
	}
}

static const struct writer writer_store = { "store", write_by_store };
static const struct writer writer_remap = { "remap", write_by_remap };
static const struct writer writer_mprotect = { "mprotect", write_by_mprotect };
static const struct writer writer_read = { "read", write_by_read };
static const struct writer writer_proc_mem = { "proc_mem", write_by_proc_mem };
static const struct writer writer_vm_writev = { "vm_writev", write_by_vm_writev };
static const struct writer writer_uring = { "uring", write_by_uring };
static const struct writer writer_vmsplice = { "vmsplice", write_by_vmsplice };
static const struct writer writer_direct_read = { "direct_read", write_by_direct_read };

/* Start one on @handle; its steps are counted in @progress. */
static inline pid_t writer_start(const struct writer *writer, int handle, size_t bytes,
				 unsigned int number, atomic_int *progress)
{
	struct writer_arguments arguments = {
		.handle = handle, .bytes = bytes, .number = number, .progress = progress,
		.random = now_ns() + number,
	};
	pid_t pid = child_fork();

	if (pid)
		return pid;
	arguments.memory = region_map(handle, bytes, PROT_READ | PROT_WRITE);
	if (arguments.memory == MAP_FAILED)
		_exit(98);
	writer->run(&arguments);
	_exit(WRITER_REFUSED);
}

/* Whether a writer ended as one that lost its memory does. */
static inline bool writer_ended_well(int status)
{
	return status == WRITER_REFUSED || status == KILLED_BY(SIGBUS);
}

#define WRITERS	2

struct race {
	bool revoke;			/* or freeze */
	const struct writer *writer;
	unsigned int milliseconds;
	int device;
	uint32_t kind;
	uint32_t flags;
	size_t bytes;
	/* out */
	unsigned int rounds;
	unsigned int busy;		/* FREEZE said EBUSY, or REVOKE reported pins */
	unsigned int lost;		/* the content changed afterwards */
	unsigned int wrong;		/* anything else that must not be */
};

/* Freeze, again while I/O is in flight; EBUSY must say how much. */
static inline int race_freeze(struct race *race, int owner)
{
	uint64_t end = now_ms() + 10000, pinned;
	int result;

	while ((result = region_freeze(owner, &pinned)) == -EBUSY) {
		race->busy++;
		race->wrong += !pinned;
		if (now_ms() > end)
			break;
	}
	race->wrong += result == 0 && pinned;
	return result;
}

/* Revoke; whether pins remain, with which writing goes on until the I/O ends. */
static inline int race_revoke(struct race *race, int handle, bool *pinned)
{
	struct isth_revoke out;
	int result = handle_revoke_flags(handle, 0, &out);

	*pinned = out.pinned_pages != 0;
	race->busy += *pinned;
	return result;
}

static inline void race_complain(struct race *race, const char *what, int value)
{
	fprintf(stderr, "# %s against %s: %s (%d)\n", race->revoke ? "revoke" : "freeze",
		race->writer->name, what, value);
	race->wrong++;
}

/* One round: start writers, end their writing under them, and see that it ended. */
static inline void race_round(struct race *race, uint64_t *random)
{
	const size_t bytes = race->bytes;
	int owner = region_create(race->device, race->kind, race->flags, bytes);
	int handle = handle_derive(owner, RIGHTS_RW);
	uint8_t *memory = region_map(owner, bytes, PROT_READ);
	uint8_t *before = test_alloc(bytes);
	atomic_int *progress = shared_page();
	pid_t pids[WRITERS];
	bool pinned = false;
	int i, result, status;

	if (owner < 0 || handle < 0 || memory == MAP_FAILED || !progress) {
		race_complain(race, "cannot set up", owner);
		free(before);
		return;
	}
	for (i = 0; i < WRITERS; i++)
		pids[i] = writer_start(race->writer, handle, bytes, (unsigned int)i, &progress[i]);
	for (i = 0; i < WRITERS; i++)
		if (!wait_for(&progress[i], 3))
			race_complain(race, "writer does not write", i);
	sleep_us(random_next(random) % 2000);
	result = race->revoke ? race_revoke(race, handle, &pinned) : race_freeze(race, owner);
	memcpy(before, memory, bytes);
	if (result)
		race_complain(race, "request failed", result);
	sleep_us(1500);
	if (!pinned && memcmp(before, memory, bytes))
		race->lost++;
	for (i = 0; i < WRITERS; i++) {
		status = child_status_within(pids[i], 10000);
		if (!writer_ended_well(status))
			race_complain(race, "writer ended oddly", status);
		if (status == -ETIME)
			child_kill(pids[i]);
	}
	if (!pinned && memcmp(before, memory, bytes))
		race->lost++;
	free(before);
	munmap(memory, bytes);
	munmap(progress, page_bytes());
	close(handle);
	close(owner);
	race->rounds++;
}

static inline void race_run(struct race *race)
{
	uint64_t random = random_seed(race->writer->name);
	uint64_t end = race_end(race->milliseconds);

	do {
		race_round(race, &random);
	} while (now_ms() < end && race->wrong < 5);
	fprintf(stderr, "# %s against %s: %u rounds, %u busy\n",
		race->revoke ? "revoke" : "freeze", race->writer->name, race->rounds,
		race->busy);
}

#endif /* WRITERS_H */
