/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks of regions share: making, mapping and touching memory our
 * way and the way of a memfd, with no error left unseen.
 */
#ifndef BENCH_REGION_H
#define BENCH_REGION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <isthmus.h>

#include "bench.h"

#define KIB		((size_t)1 << 10)
#define MIB		((size_t)1 << 20)
#define GIB		((size_t)1 << 30)
#define PAGE_BYTES	((size_t)4096)

static int region_device = -1;

/* Open the device. A sample must not pay for it. */
static inline void region_begin(void)
{
	region_device = bench_must(isth_open(), "/dev/isthmus");
}

static inline uint64_t region_alive(void)
{
	struct isth_info info;

	bench_must(isth_info(region_device, &info), "info");
	return info.regions;
}

static inline int region_make(uint32_t kind, uint32_t flags, size_t bytes)
{
	const struct isth_region_options options = {
		.size = sizeof(options),
		.kind = kind,
		.flags = flags,
		.bytes = bytes,
	};

	return bench_must(isth_region_create(region_device, &options), "region create");
}

static inline struct isth_mapping region_map(int handle, int protection, size_t bytes)
{
	const struct isth_map_options options = {
		.size = sizeof(options),
		.protection = protection,
		.bytes = bytes,
	};
	struct isth_mapping mapping;

	bench_must(isth_region_map(handle, &options, &mapping), "region map");
	return mapping;
}

static inline int memfd_make(size_t bytes)
{
	int fd = bench_sys(memfd_create("bench", MFD_CLOEXEC), "memfd_create");

	bench_sys(ftruncate(fd, (off_t)bytes), "ftruncate");
	return fd;
}

static inline void *memfd_map(int fd, int protection, size_t bytes)
{
	void *address = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

	if (address == MAP_FAILED)
		bench_fail("mmap", errno);
	return address;
}

static inline void touch_write(void *address, size_t bytes)
{
	volatile char *memory = address;
	size_t offset;

	for (offset = 0; offset < bytes; offset += PAGE_BYTES)
		memory[offset] = 1;
}

static inline void touch_read(const void *address, size_t bytes)
{
	const volatile char *memory = address;
	size_t offset;

	for (offset = 0; offset < bytes; offset += PAGE_BYTES)
		(void)memory[offset];
}

/*
 * A memfd whose pages are in memory, as a region's are. fallocate(2) would not
 * do: it leaves clearing the pages to the first touch.
 */
static inline int memfd_filled(size_t bytes)
{
	int fd = memfd_make(bytes);
	void *address = memfd_map(fd, PROT_READ | PROT_WRITE, bytes);

	touch_write(address, bytes);
	bench_sys(munmap(address, bytes), "munmap");
	return fd;
}

#endif /* BENCH_REGION_H */
