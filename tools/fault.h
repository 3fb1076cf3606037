/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Touching memory that somebody else may take away meanwhile.
 */
#ifndef ISTHMUS_FAULT_H
#define ISTHMUS_FAULT_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct fault - how touching memory ended early
 * @address: what was touched
 * @nanoseconds: when, on CLOCK_MONOTONIC
 */
struct fault {
	void *address;
	uint64_t nanoseconds;
};

/*
 * Run @body, and stop it where it meets SIGBUS. Returns 0 when it ran to its
 * end, -EFAULT when not; then @fault, unless NULL, says where and when. @body
 * must hold nothing that it would have to give back. One call at a time in a
 * thread.
 */
int fault_run(void (*body)(void *context), void *context, struct fault *fault);

/* Copy @bytes; -EFAULT when the memory went away under way. */
int fault_copy(void *to, const void *from, size_t bytes);

#endif /* ISTHMUS_FAULT_H */
