// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking memory back: revoke and freeze of 1 GiB that one or eight processes
 * have mapped and written. Stock Linux has nothing to compare; what comes
 * nearest is that the one process unmaps a memfd by itself, of its own will.
 *
 * A process proves each time that the request did what it says: its next touch
 * must be SIGBUS.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "region.h"

#define PROCESSES_MAX	8

enum take {
	REVOKE,
	FREEZE,
};

struct taking {
	enum take take;
	uint32_t kind;
	unsigned int processes;
	size_t mapped;		/* bytes, of the 1 GiB that the region has */
	unsigned int rounds;
	int region;		/* shared between measurements where the request allows it */
};

static void __attribute__((noreturn)) user(const struct taking *taking, int handle,
					   int ready, int go)
{
	struct isth_mapping mapping;
	char byte = 0;

	mapping = region_map(handle, PROT_READ | PROT_WRITE, taking->mapped);
	touch_write(mapping.address, taking->mapped);
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
		_exit(1);
	*(volatile char *)mapping.address = 2;
	_exit(2);
}

static void expect_sigbus(unsigned int processes)
{
	int status;

	while (processes--)
		if (wait(&status) < 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGBUS)
			bench_fail("a process that lost its memory gets SIGBUS", 0);
}

static double sample_taking(const void *context)
{
	const struct taking *taking = context;
	int region = taking->region, ready[2], go[2], handle;
	uint64_t start, took;
	unsigned int i;
	char byte;

	if (taking->take == FREEZE)
		region = region_make(taking->kind, 0, GIB);
	handle = bench_must(isth_derive(region, ISTH_RIGHT_READ | ISTH_RIGHT_WRITE |
					ISTH_RIGHT_FREEZE), "derive");
	bench_sys(pipe2(ready, O_CLOEXEC), "pipe");
	bench_sys(pipe2(go, O_CLOEXEC), "pipe");
	for (i = 0; i < taking->processes; i++) {
		if (bench_sys(fork(), "fork"))
			continue;
		close(go[1]);
		user(taking, handle, ready[1], go[0]);
	}
	close(ready[1]);
	for (i = 0; i < taking->processes; i++)
		if (read(ready[0], &byte, 1) != 1)
			bench_fail("a process maps and touches", 0);

	start = bench_now();
	if (taking->take == REVOKE)
		bench_must(isth_revoke(handle, NULL), "revoke");
	else
		bench_must(isth_region_freeze(handle, NULL), "freeze");
	took = bench_now() - start;

	close(go[1]);
	expect_sigbus(taking->processes);
	close(go[0]);
	close(ready[0]);
	close(handle);
	if (taking->take == FREEZE)
		close(region);
	return (double)took;
}

/* The peer: one process, one memfd, the same pages, munmap by its own hand. */
static double sample_munmap(const void *context)
{
	const struct taking *taking = context;
	uint64_t start, took;
	void *address;
	int memfd = memfd_make(taking->mapped);

	address = memfd_map(memfd, PROT_READ | PROT_WRITE, taking->mapped);
	touch_write(address, taking->mapped);
	start = bench_now();
	bench_sys(munmap(address, taking->mapped), "munmap");
	took = bench_now() - start;
	close(memfd);
	return (double)took;
}

static void measure(const struct taking *taking, const struct bench_way *peer)
{
	struct bench_way way = { "isthmus", sample_taking, taking, 0, {0} };
	double pages = (double)(taking->mapped / PAGE_BYTES * taking->processes);
	const char *kind = taking->kind == ISTH_REGION_PAGEABLE ? "pageable" : "isolated";
	const char *verb = taking->take == REVOKE ? "revoke" : "freeze";
	char name[96], unit[32];
	unsigned int i;

	for (i = 0; i < taking->rounds; i++)
		way.samples[i] = sample_taking(taking);
	way.cost = bench_median(way.samples, taking->rounds);

	snprintf(name, sizeof(name), "%s %s of 1 GiB, %u process%s, %s", verb,
		 taking->mapped == GIB ? "all" : "1 MiB mapped", taking->processes,
		 taking->processes == 1 ? "" : "es", kind);
	bench_row("region", name, bench_unit(), way.cost, peer, BENCH_NO_GOAL);
	if (taking->mapped != GIB)
		return;
	snprintf(name, sizeof(name), "%s, per mapped page, %u process%s, %s", verb,
		 taking->processes, taking->processes == 1 ? "" : "es", kind);
	snprintf(unit, sizeof(unit), "%s/page", bench_unit());
	bench_row("region", name, unit, way.cost / pages, NULL, BENCH_NO_GOAL);
}

static void measure_kind(uint32_t kind, const struct bench_way *all,
			 const struct bench_way *part)
{
	int region = region_make(kind, 0, GIB);

	measure(&(struct taking){ REVOKE, kind, 1, GIB, 3, region }, all);
	measure(&(struct taking){ REVOKE, kind, 1, MIB, 5, region }, part);
	measure(&(struct taking){ REVOKE, kind, PROCESSES_MAX, GIB, 1, region }, NULL);
	close(region);
	measure(&(struct taking){ FREEZE, kind, 1, GIB, 1, -1 }, NULL);
	measure(&(struct taking){ FREEZE, kind, 1, MIB, 1, -1 }, NULL);
	measure(&(struct taking){ FREEZE, kind, PROCESSES_MAX, GIB, 1, -1 }, NULL);
}

int main(void)
{
	const struct rlimit no_core = { 0, 0 };
	const struct taking all = { .mapped = GIB };
	const struct taking part = { .mapped = MIB };
	struct bench_way peers[] = {
		{ "memfd, own munmap", sample_munmap, &all, 0, {0} },
		{ "memfd, own munmap", sample_munmap, &part, 0, {0} },
	};

	bench_sys(setrlimit(RLIMIT_CORE, &no_core), "setrlimit");
	region_begin();
	bench_race(&peers[0], 1, 1);
	bench_race(&peers[1], 1, 5);
	measure_kind(ISTH_REGION_PAGEABLE, &peers[0], &peers[1]);
	measure_kind(ISTH_REGION_ISOLATED, &peers[0], &peers[1]);
	return 0;
}
