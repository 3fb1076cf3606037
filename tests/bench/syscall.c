// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor under every figure: what one system call costs that does nothing,
 * beside the cheapest request to a handle.
 */
#include <sys/syscall.h>

#include "region.h"

#define CALLS	1000

static double sample_stat(const void *context)
{
	const int *handle = context;
	struct isth_stat stat;
	uint64_t start = bench_now();
	int i;

	for (i = 0; i < CALLS; i++)
		bench_must(isth_stat(*handle, &stat), "stat");
	return (double)(bench_now() - start) / CALLS;
}

static double sample_getppid(const void *context)
{
	uint64_t start = bench_now();
	int i;

	(void)context;
	for (i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	return (double)(bench_now() - start) / CALLS;
}

int main(void)
{
	int handle;
	struct bench_way ways[] = {
		{ "isthmus", sample_stat, &handle, 0, {0} },
		{ "getppid, the floor", sample_getppid, NULL, 0, {0} },
	};

	region_begin();
	handle = region_make(ISTH_REGION_PAGEABLE, 0, PAGE_BYTES);
	bench_race(ways, 2, 15);
	bench_row("region", "stat of a handle", bench_unit(), ways[0].cost, &ways[1],
		  BENCH_NO_GOAL);
	return 0;
}
