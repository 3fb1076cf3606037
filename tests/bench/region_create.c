// SPDX-License-Identifier: GPL-2.0-only
/*
 * The whole life of shared memory in one process: create, map, touch every
 * page, unmap, close. Regions of both kinds against a memfd, which commits
 * nothing, and against a memfd that was committed as a region is.
 */
#include <fcntl.h>

#include "region.h"

struct life {
	uint32_t kind;
	size_t bytes;
};

static double sample_region(const void *context)
{
	const struct life *life = context;
	uint64_t alive = region_alive(), start = bench_now(), took;
	struct isth_mapping mapping;
	int handle;

	handle = region_make(life->kind, 0, life->bytes);
	mapping = region_map(handle, PROT_READ | PROT_WRITE, life->bytes);
	touch_write(mapping.address, life->bytes);
	bench_must(isth_region_unmap(&mapping), "region unmap");
	close(handle);
	took = bench_now() - start;

	/* Freeing that is put off would be missing from this figure. */
	if (region_alive() != alive)
		bench_fail("region is gone after close", 0);
	return (double)took;
}

static double memfd_life(const struct life *life, int commit)
{
	uint64_t start = bench_now();
	void *address;
	int fd;

	fd = memfd_make(life->bytes);
	if (commit)
		bench_sys(fallocate(fd, 0, 0, (off_t)life->bytes), "fallocate");
	address = memfd_map(fd, PROT_READ | PROT_WRITE, life->bytes);
	touch_write(address, life->bytes);
	bench_sys(munmap(address, life->bytes), "munmap");
	close(fd);
	return (double)(bench_now() - start);
}

static double sample_memfd(const void *context)
{
	return memfd_life(context, 0);
}

static double sample_memfd_committed(const void *context)
{
	return memfd_life(context, 1);
}

static void measure(size_t bytes, const char *label, unsigned int rounds)
{
	const struct life pageable = { ISTH_REGION_PAGEABLE, bytes };
	const struct life isolated = { ISTH_REGION_ISOLATED, bytes };
	struct bench_way ways[] = {
		{ "pageable", sample_region, &pageable, 0, {0} },
		{ "isolated", sample_region, &isolated, 0, {0} },
		{ "memfd", sample_memfd, &pageable, 0, {0} },
		{ "memfd, fallocate", sample_memfd_committed, &pageable, 0, {0} },
	};
	char name[96];

	bench_race(ways, 4, rounds);
	snprintf(name, sizeof(name), "create to close, %s, pageable", label);
	bench_row("region", name, bench_unit(), ways[0].cost, &ways[2], 1.05);
	bench_row("region", name, bench_unit(), ways[0].cost, &ways[3], BENCH_NO_GOAL);
	snprintf(name, sizeof(name), "create to close, %s, isolated", label);
	bench_row("region", name, bench_unit(), ways[1].cost, &ways[2], 0.5);
}

int main(void)
{
	region_begin();
	measure(MIB, "1 MiB", 25);
	measure(64 * MIB, "64 MiB", 5);
	return 0;
}
