// SPDX-License-Identifier: GPL-2.0-only
/*
 * The other processes of isthmus demo: connect, take handles, do as told, and
 * report what happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <isthmus.h>

#include "checksum.h"
#include "command.h"
#include "demo.h"
#include "fault.h"
#include "units.h"

struct slot {
	int fd;
	struct isth_mapping mapping;
};

struct actor {
	struct demo_meter *meter;
	struct slot slots[DEMO_SLOTS];
};

/* What runs under fault_run(). */
struct work {
	struct actor *actor;
	struct slot *slot;
	const struct demo_order *order;
	struct demo_answer *answer;
};

static int take(struct slot *slot, const struct demo_order *order, int fd)
{
	const int protection = PROT_READ | (order->writable ? PROT_WRITE : 0);
	struct isth_map_options options = { .size = sizeof(options), .protection = protection };
	int ret = 0;

	if (order->is_region) {
		ret = isth_region_map(fd, &options, &slot->mapping);
	} else {
		slot->mapping.bytes = order->bytes;
		slot->mapping.address = mmap(NULL, order->bytes, protection, MAP_SHARED, fd, 0);
		if (slot->mapping.address == MAP_FAILED)
			ret = -errno;
	}
	if (ret)
		close(fd);
	else
		slot->fd = fd;
	return ret;
}

static void drop(struct slot *slot)
{
	munmap(slot->mapping.address, slot->mapping.bytes);
	close(slot->fd);
	memset(slot, 0, sizeof(*slot));
}

/* ---- the ways to write to what may only be read ---- */

static const char mark = '!';

static int store(void *address)
{
	return fault_copy(address, &mark, 1);
}

static int try_mmap(const struct slot *slot)
{
	void *address = mmap(NULL, slot->mapping.bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			     slot->fd, 0);
	int ret;

	if (address == MAP_FAILED)
		return -errno;
	ret = store(address);
	munmap(address, slot->mapping.bytes);
	return ret;
}

static int try_mprotect(const struct slot *slot)
{
	int ret;

	if (mprotect(slot->mapping.address, slot->mapping.bytes, PROT_READ | PROT_WRITE))
		return -errno;
	ret = store(slot->mapping.address);
	mprotect(slot->mapping.address, slot->mapping.bytes, PROT_READ);
	return ret;
}

static int try_writev(const struct slot *slot)
{
	const struct iovec from = { .iov_base = (void *)&mark, .iov_len = 1 };
	const struct iovec to = { .iov_base = slot->mapping.address, .iov_len = 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0) == 1 ? 0 : -errno;
}

static int try_mem(const struct slot *slot)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (pwrite(fd, &mark, 1, (off_t)(uintptr_t)slot->mapping.address) != 1)
		ret = -errno;
	close(fd);
	return ret;
}

static int try_reopen(const struct slot *slot)
{
	struct slot again = *slot;
	char path[32];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", slot->fd);
	again.fd = open(path, O_RDWR | O_CLOEXEC);
	if (again.fd < 0)
		return -errno;
	ret = try_mmap(&again);
	close(again.fd);
	return ret;
}

static void attack(const struct slot *slot, struct demo_answer *answer)
{
	answer->routes[DEMO_ROUTE_MMAP] = try_mmap(slot);
	answer->routes[DEMO_ROUTE_MPROTECT] = try_mprotect(slot);
	answer->routes[DEMO_ROUTE_WRITEV] = try_writev(slot);
	answer->routes[DEMO_ROUTE_MEM] = try_mem(slot);
	answer->routes[DEMO_ROUTE_REOPEN] = try_reopen(slot);
}

/* ---- work that SIGBUS may end ---- */

static void sum_up(void *context)
{
	const struct work *work = context;

	work->answer->sum = checksum(work->slot->mapping.address, work->order->bytes);
}

/*
 * The counters are stored in program order around each access, so that the
 * narrator can tell an access that began before a moment from one after it.
 */
static void go_on(void *context)
{
	const struct work *work = context;
	struct demo_meter *meter = work->actor->meter;
	const size_t words = work->slot->mapping.bytes / DEMO_STRIDE;
	const bool writes = work->order->what == DEMO_WRITE_ON;
	uint64_t turn, *word;

	for (turn = 0; !__atomic_load_n(&meter->stop, __ATOMIC_RELAXED); turn++) {
		word = (uint64_t *)((char *)work->slot->mapping.address +
				    turn % words * DEMO_STRIDE);
		__atomic_store_n(&meter->begun, turn + 1, __ATOMIC_SEQ_CST);
		if (writes)
			__atomic_store_n(word, turn, __ATOMIC_SEQ_CST);
		else
			__atomic_load_n(word, __ATOMIC_SEQ_CST);
		__atomic_store_n(&meter->done, turn + 1, __ATOMIC_SEQ_CST);
	}
}

static void walk(void *context)
{
	const struct work *work = context;
	const struct demo_node *node;

	for (node = work->slot->mapping.address; node; node = node->next) {
		work->answer->count++;
		work->answer->sum += node->value;
		/* A list that the narrator got wrong must not keep us for ever. */
		if (work->answer->count > work->slot->mapping.bytes)
			break;
	}
}

static void try_stores(const struct slot *slot, const struct demo_order *order,
		       struct demo_answer *answer)
{
	size_t i;

	for (i = 0; i < order->bytes; i++) {
		if (!store((char *)slot->mapping.address +
			   i * DEMO_STRIDE % slot->mapping.bytes))
			answer->count++;
	}
}

/* Say why the memory went away: the handle knows. */
static void explain(const struct slot *slot, struct demo_answer *answer)
{
	struct isth_stat stat = { 0 };
	const char *reason = "the memory is gone";
	char offset[32];

	if (!isth_stat(slot->fd, &stat) && stat.state & ISTH_STATE_REVOKED)
		reason = "this memory was taken back";
	else if (stat.state & ISTH_STATE_FROZEN)
		reason = "this memory is frozen";
	snprintf(answer->sentence, sizeof(answer->sentence), "SIGBUS at byte %s: %s.",
		 format_count(answer->offset, offset, sizeof(offset)), reason);
}

static void guarded(void (*body)(void *context), struct work *work)
{
	struct fault fault;

	if (!fault_run(body, work, &fault))
		return;
	work->answer->sigbus = true;
	work->answer->offset = (char *)fault.address - (char *)work->slot->mapping.address;
	work->answer->nanoseconds = fault.nanoseconds;
	explain(work->slot, work->answer);
}

/* ---- orders ---- */

static int take_meter(struct actor *actor, int fd)
{
	void *address = mmap(NULL, sizeof(*actor->meter), PROT_READ | PROT_WRITE, MAP_SHARED,
			     fd, 0);
	int ret = address == MAP_FAILED ? -errno : 0;

	close(fd);
	if (!ret)
		actor->meter = address;
	return ret;
}

static void obey(struct actor *actor, const struct demo_order *order, int fd,
		 struct demo_answer *answer)
{
	struct slot *slot = &actor->slots[order->slot % DEMO_SLOTS];
	struct work work = { actor, slot, order, answer };

	switch (order->what) {
	case DEMO_METER:
		answer->error = take_meter(actor, fd);
		break;
	case DEMO_TAKE:
		answer->error = take(slot, order, fd);
		break;
	case DEMO_DROP:
		drop(slot);
		break;
	case DEMO_CHECKSUM:
		guarded(sum_up, &work);
		break;
	case DEMO_ATTACK:
		attack(slot, answer);
		break;
	case DEMO_REOPEN:
		answer->error = try_reopen(slot);
		break;
	case DEMO_READ_ON:
	case DEMO_WRITE_ON:
		guarded(go_on, &work);
		answer->count = actor->meter->done;
		break;
	case DEMO_TRY_STORES:
		try_stores(slot, order, answer);
		break;
	case DEMO_WALK:
		guarded(walk, &work);
		break;
	default:
		answer->error = -EINVAL;
	}
	answer->address = (uintptr_t)slot->mapping.address;
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option none = { .name = NULL };
	struct actor actor = { 0 };
	struct demo_order order;
	struct demo_answer answer;
	size_t count;
	const char *path;
	int socket, fd, ret;

	ret = command_parse(self, &none, argc, argv, &path, 1, 1);
	if (ret != PARSED)
		return ret;
	/* The narrator may be killed; nobody would stop us then. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	socket = isth_connect(path, NULL);
	if (socket < 0) {
		complain("cannot connect to '%s': %s", path, isth_strerror(socket));
		return STATUS_FAILED;
	}
	for (;;) {
		fd = -1;
		count = 1;
		ret = isth_receive_handles(socket, &order, sizeof(order), &fd, &count);
		if (ret != sizeof(order))
			break;
		memset(&answer, 0, sizeof(answer));
		obey(&actor, &order, fd, &answer);
		if (isth_send_handles(socket, &answer, sizeof(answer), NULL, 0))
			break;
	}
	return ret ? STATUS_FAILED : STATUS_OK;
}

const struct command command_demo_actor = {
	.name = "demo-actor",
	.arguments = "SOCKET",
	.run = run,
};
