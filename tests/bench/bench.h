/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every benchmark shares: the clock, races between ways of doing one
 * thing, and the rows that build/bench/table turns into the table.
 *
 * Benchmarks run in a virtual machine where a nanosecond of guest time is one
 * guest instruction, so that a figure is the length of the path and repeats.
 * Ways that are compared take turns in one process, so that whatever happens
 * to one happens to all; the first turn warms up and is not counted.
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_ROUNDS_MAX	64
#define BENCH_NO_GOAL		0.0

/**
 * struct bench_way - one way of doing the thing that is measured
 * @name: as the table shows it
 * @sample: does it once and returns the cost, whatever the unit is
 * @context: handed to @sample
 * @cost: out: the median
 */
struct bench_way {
	const char *name;
	double (*sample)(const void *context);
	const void *context;
	double cost;
	double samples[BENCH_ROUNDS_MAX];
};

/* A measurement that cannot be made ends the program: a table with a hole lies. */
static inline void __attribute__((noreturn)) bench_fail(const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
		error ? strerror(error < 0 ? -error : error) : "not as expected");
	exit(1);
}

/* For results of isthmus calls, which are negative error numbers. */
static inline int bench_must(int result, const char *what)
{
	if (result < 0)
		bench_fail(what, result);
	return result;
}

/* For results of system calls, which leave their error in errno. */
static inline int bench_sys(int result, const char *what)
{
	if (result < 0)
		bench_fail(what, errno);
	return result;
}

static inline uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How long a loop of 200,000 instructions takes, at best: interrupts prolong it. */
static inline uint64_t bench_known_loop(void)
{
	uint64_t best = UINT64_MAX, passes, start, took;
	int i;

	for (i = 0; i < 20; i++) {
		passes = 100000;
		start = bench_now();
#if defined(__x86_64__) || defined(__i386__)
		__asm__ volatile("1: subl $1, %0\n\tjnz 1b" : "+m"(passes) : : "cc");
#endif
		took = bench_now() - start;
		if (took < best)
			best = took;
	}
	return best;
}

/*
 * The unit of bench_now(), found by measuring: the table must not say "instr"
 * when somebody runs a benchmark on a real clock.
 */
static inline const char *bench_unit(void)
{
	static const char *unit;
	uint64_t took;

	if (!unit) {
		took = bench_known_loop();
		unit = took > 199000 && took < 201000 ? "instr" : "ns";
	}
	return unit;
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline double bench_median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), bench_compare);
	return count % 2 ? values[count / 2] :
			   (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Let @count ways take turns, @rounds times after a round of warming up. */
static inline void bench_race(struct bench_way *ways, size_t count, unsigned int rounds)
{
	unsigned int round;
	size_t i;

	for (i = 0; i < count; i++)
		ways[i].sample(ways[i].context);
	for (round = 0; round < rounds && round < BENCH_ROUNDS_MAX; round++)
		for (i = 0; i < count; i++)
			ways[i].samples[round] = ways[i].sample(ways[i].context);
	for (i = 0; i < count; i++)
		ways[i].cost = bench_median(ways[i].samples, round);
}

/*
 * Hand a row to the table: area, name, unit, ours, peer, theirs and goal, with
 * tabs between and a dash for what is not there. The goal is the highest ratio
 * ours / theirs, or without a peer the highest value of ours.
 */
static inline void bench_row(const char *area, const char *name, const char *unit,
			     double ours, const struct bench_way *peer, double goal)
{
	printf("%s\t%s\t%s\t%.17g\t", area, name, unit, ours);
	if (peer)
		printf("%s\t%.17g\t", peer->name, peer->cost);
	else
		printf("-\t-\t");
	if (goal != BENCH_NO_GOAL)
		printf("%.17g\n", goal);
	else
		printf("-\n");
	if (fflush(stdout))
		bench_fail("standard output", errno);
}

#endif /* BENCH_H */
