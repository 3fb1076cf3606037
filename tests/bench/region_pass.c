// SPDX-License-Identifier: GPL-2.0-only
/*
 * Giving a read-only view of 1 MiB away: derive a handle, send it over an
 * AF_UNIX socket, receive, map, read a byte, unmap, close both descriptors.
 *
 * The memfd way that comes nearest opens /proc/self/fd/N read-only and sends
 * that. (It protects less: the receiver can open it again for writing.) The
 * memfd that is sent as it is stands beside it: no narrowing at all, or what
 * F_SEAL_FUTURE_WRITE did once, for all receivers alike.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "region.h"

#define BYTES	MIB
#define PASSES	10

enum how {
	ISTHMUS,		/* a derived handle */
	MEMFD_REOPENED,		/* a read-only descriptor, opened through /proc */
	MEMFD_AS_IT_IS,		/* a dup: nothing is narrowed */
	HOWS
};

struct pass {
	enum how how;
	const int *object;	/* the region's first handle, or the memfd */
	const int *socket;	/* the sender's end, and the receiver's when in one process */
	int another_process;
};

static int narrow(const struct pass *pass)
{
	char path[32];

	switch (pass->how) {
	case ISTHMUS:
		return bench_must(isth_derive(*pass->object, ISTH_RIGHT_READ), "derive");
	case MEMFD_REOPENED:
		snprintf(path, sizeof(path), "/proc/self/fd/%d", *pass->object);
		return bench_sys(open(path, O_RDONLY | O_CLOEXEC), path);
	case MEMFD_AS_IT_IS:
	case HOWS:
		break;
	}
	return bench_sys(fcntl(*pass->object, F_DUPFD_CLOEXEC, 0), "dup");
}

/* The peers' side of SCM_RIGHTS is written out: it must not pay for our library. */
static void plain_send(int socket, char how, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	} };
	struct iovec iov = { &how, 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	bench_sys((int)sendmsg(socket, &message, MSG_NOSIGNAL), "sendmsg");
}

static int plain_receive(int socket)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char how;
	struct iovec iov = { &how, 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (bench_sys((int)recvmsg(socket, &message, MSG_CMSG_CLOEXEC), "recvmsg") != 1)
		bench_fail("one descriptor arrives", 0);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void use(enum how how, int fd)
{
	struct isth_mapping mapping = { NULL, BYTES };

	if (how == ISTHMUS)
		mapping = region_map(fd, PROT_READ, BYTES);
	else
		mapping.address = memfd_map(fd, PROT_READ, BYTES);
	(void)*(volatile char *)mapping.address;
	bench_sys(munmap(mapping.address, BYTES), "munmap");
	close(fd);
}

static void send_one(const struct pass *pass, int fd)
{
	char how = (char)pass->how;

	if (pass->how == ISTHMUS)
		bench_must(isth_send_handles(pass->socket[0], &how, 1, &fd, 1), "send");
	else
		plain_send(pass->socket[0], how, fd);
}

/* Returns -1 when the sender has closed its end. */
static int receive_one(enum how how, int socket)
{
	size_t count = 1;
	char byte;
	int fd;

	if (how != ISTHMUS)
		return plain_receive(socket);
	if (!bench_must((int)isth_receive_handles(socket, &byte, 1, &fd, &count), "receive"))
		return -1;
	if (count != 1)
		bench_fail("one handle arrives", 0);
	return fd;
}

static double sample_pass(const void *context)
{
	const struct pass *pass = context;
	uint64_t start = bench_now();
	char done;
	int i, fd;

	for (i = 0; i < PASSES; i++) {
		fd = narrow(pass);
		send_one(pass, fd);
		if (pass->another_process) {
			bench_sys((int)recv(pass->socket[0], &done, 1, 0), "recv");
			if (done != (char)pass->how)
				bench_fail("the receiver is done", 0);
		} else {
			use(pass->how, receive_one(pass->how, pass->socket[1]));
		}
		close(fd);
	}
	return (double)(bench_now() - start) / PASSES;
}

/*
 * The other process. Nothing tells it which way comes next, since that would
 * cost both: bench_race() lets the ways take turns, so their order is known.
 * The sender closes the socket when it is the first way's turn.
 */
static void __attribute__((noreturn)) receiver(int socket)
{
	unsigned int turn;
	enum how how;
	int i, fd;

	for (turn = 0;; turn++) {
		how = (enum how)(turn % HOWS);
		for (i = 0; i < PASSES; i++) {
			fd = receive_one(how, socket);
			if (fd < 0)
				_exit(0);
			use(how, fd);
			bench_sys((int)send(socket, &(char){ (char)how }, 1, MSG_NOSIGNAL),
				  "send");
		}
	}
}

static void measure(const char *where, int another_process)
{
	int region = region_make(ISTH_REGION_PAGEABLE, 0, BYTES);
	int memfd = memfd_filled(BYTES);
	int pair[2], status;
	const struct pass isthmus = { ISTHMUS, &region, pair, another_process };
	const struct pass reopened = { MEMFD_REOPENED, &memfd, pair, another_process };
	const struct pass as_it_is = { MEMFD_AS_IT_IS, &memfd, pair, another_process };
	struct bench_way ways[] = {
		{ "isthmus", sample_pass, &isthmus, 0, {0} },
		{ "memfd, reopened read-only", sample_pass, &reopened, 0, {0} },
		{ "memfd, not narrowed", sample_pass, &as_it_is, 0, {0} },
	};
	char name[96];
	pid_t child = 0;

	bench_sys(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	if (another_process) {
		child = bench_sys(fork(), "fork");
		if (!child) {
			close(pair[0]);
			receiver(pair[1]);
		}
		close(pair[1]);
	}
	bench_race(ways, HOWS, 15);
	snprintf(name, sizeof(name), "derive, pass, map, %s", where);
	bench_row("region", name, bench_unit(), ways[0].cost, &ways[1], 1.2);
	bench_row("region", name, bench_unit(), ways[0].cost, &ways[2], BENCH_NO_GOAL);

	close(pair[0]);
	if (!another_process)
		close(pair[1]);
	else if (waitpid(child, &status, 0) != child || status)
		bench_fail("the receiver ends well", 0);
	close(region);
	close(memfd);
}

int main(void)
{
	region_begin();
	measure("within a process", 0);
	measure("to another process", 1);
	return 0;
}
