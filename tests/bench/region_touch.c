// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first touch of a page that is mapped already: the price of one page
 * fault, for both kinds of region beside a memfd in the same state.
 */
#include "region.h"

#define BYTES	(16 * MIB)
#define PAGES	(BYTES / PAGE_BYTES)

struct touch {
	uint32_t kind;		/* zero: a memfd */
	uint32_t flags;		/* of the region; ISTH_REGION_LAZY also makes a memfd lazy */
	int protection;
};

/* The cost per page of touching memory that nobody has mapped before. */
static double sample_touch(const void *context)
{
	const struct touch *touch = context;
	struct isth_mapping mapping = { NULL, BYTES };
	uint64_t start, took;
	int fd;

	if (touch->kind) {
		fd = region_make(touch->kind, touch->flags, BYTES);
		mapping = region_map(fd, touch->protection, BYTES);
	} else {
		fd = touch->flags & ISTH_REGION_LAZY ? memfd_make(BYTES) : memfd_filled(BYTES);
		mapping.address = memfd_map(fd, touch->protection, BYTES);
	}
	start = bench_now();
	if (touch->protection & PROT_WRITE)
		touch_write(mapping.address, BYTES);
	else
		touch_read(mapping.address, BYTES);
	took = bench_now() - start;
	bench_sys(munmap(mapping.address, BYTES), "munmap");
	close(fd);
	return (double)took / PAGES;
}

static void measure(const char *how, int protection)
{
	const struct touch pageable = { ISTH_REGION_PAGEABLE, 0, protection };
	const struct touch isolated = { ISTH_REGION_ISOLATED, 0, protection };
	const struct touch memfd = { 0, 0, protection };
	struct bench_way ways[] = {
		{ "pageable", sample_touch, &pageable, 0, {0} },
		{ "isolated", sample_touch, &isolated, 0, {0} },
		{ "memfd, in memory", sample_touch, &memfd, 0, {0} },
	};
	char name[96], unit[32];

	snprintf(unit, sizeof(unit), "%s/page", bench_unit());
	bench_race(ways, 3, 5);
	snprintf(name, sizeof(name), "first %s of a page, pageable", how);
	bench_row("region", name, unit, ways[0].cost, &ways[2], BENCH_NO_GOAL);
	snprintf(name, sizeof(name), "first %s of a page, isolated", how);
	bench_row("region", name, unit, ways[1].cost, &ways[2], BENCH_NO_GOAL);
}

static void measure_lazy(void)
{
	const struct touch pageable = {
		ISTH_REGION_PAGEABLE, ISTH_REGION_LAZY, PROT_READ | PROT_WRITE
	};
	const struct touch memfd = { 0, ISTH_REGION_LAZY, PROT_READ | PROT_WRITE };
	struct bench_way ways[] = {
		{ "pageable", sample_touch, &pageable, 0, {0} },
		{ "memfd", sample_touch, &memfd, 0, {0} },
	};
	char unit[32];

	snprintf(unit, sizeof(unit), "%s/page", bench_unit());
	bench_race(ways, 2, 5);
	bench_row("region", "first write of a page, pageable, lazy", unit, ways[0].cost,
		  &ways[1], BENCH_NO_GOAL);
}

int main(void)
{
	region_begin();
	measure("write", PROT_READ | PROT_WRITE);
	measure("read", PROT_READ);
	measure_lazy();
	return 0;
}
