// SPDX-License-Identifier: GPL-2.0-only
/*
 * Touching memory that somebody else may take away meanwhile.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "fault.h"

/* Where the signal handler of this thread shall go on, and what it found. */
static __thread sigjmp_buf *landing;
static __thread struct fault found;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	struct timespec now;

	(void)context;
	if (!landing) {
		/* Not ours: let the instruction fault again, for good. */
		struct sigaction standard = { .sa_handler = SIG_DFL };

		sigaction(signal, &standard, NULL);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	found.address = info->si_addr;
	found.nanoseconds = now.tv_sec * 1000000000ULL + now.tv_nsec;
	siglongjmp(*landing, 1);
}

int fault_run(void (*body)(void *context), void *context, struct fault *fault)
{
	struct sigaction ours = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct sigaction before;
	sigjmp_buf here;
	int ret = 0;

	sigemptyset(&ours.sa_mask);
	sigaction(SIGBUS, &ours, &before);
	if (!sigsetjmp(here, 1)) {
		landing = &here;
		body(context);
		landing = NULL;
	} else {
		landing = NULL;
		ret = -EFAULT;
		if (fault)
			*fault = found;
	}
	sigaction(SIGBUS, &before, NULL);
	return ret;
}

struct copy {
	void *to;
	const void *from;
	size_t bytes;
};

static void copy(void *context)
{
	const struct copy *what = context;

	memcpy(what->to, what->from, what->bytes);
}

int fault_copy(void *to, const void *from, size_t bytes)
{
	struct copy what = { .to = to, .from = from, .bytes = bytes };

	return fault_run(copy, &what, NULL);
}
