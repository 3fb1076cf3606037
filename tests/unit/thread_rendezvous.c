// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rendezvous from many threads at once: one listener wins, permissions are
 * never more open than asked, nothing is lost and nothing leaks.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <isthmus.h>

#include "unit.h"

#define THREADS		8
#define ROUNDS		50
#define MESSAGES	500

static char directory[64];
static char path[96];

static void run_threads(void *(*body)(void *), void *arguments, size_t size)
{
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, body, (char *)arguments + i * size))
			abort();
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- who listens ---- */

static pthread_barrier_t together;

static void *listen_once(void *argument)
{
	int *result = argument;

	pthread_barrier_wait(&together);
	*result = isth_listen(path, 0600);
	return NULL;
}

static void leave_stale(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		abort();
	close(fd);
}

static void one_round(bool stale)
{
	int results[THREADS], winner = -1, client, server, i;

	if (stale)
		leave_stale();
	run_threads(listen_once, results, sizeof(results[0]));
	for (i = 0; i < THREADS; i++) {
		if (results[i] >= 0) {
			EXPECT_EQ(winner, -1);
			winner = results[i];
		} else {
			EXPECT_EQ(results[i], -EADDRINUSE);
		}
	}
	EXPECT(winner >= 0);
	/* Who connects reaches the winner, not a socket without a name. */
	fcntl(winner, F_SETFL, O_NONBLOCK);
	client = isth_connect(path, NULL);
	EXPECT(client >= 0);
	server = isth_accept(winner, NULL);
	EXPECT(server >= 0);
	close(client);
	close(server);
	close(winner);
	unlink(path);
}

static void one_listener(void)
{
	int before = unit_descriptors(), round;

	pthread_barrier_init(&together, NULL, THREADS);
	for (round = 0; round < ROUNDS; round++)
		one_round(round % 2);
	pthread_barrier_destroy(&together);
	EXPECT_EQ(unit_descriptors(), before);
}

/* ---- permissions ---- */

static bool watching;
static mode_t seen;

/* Look at the file as often as can be. */
static void *watch(void *argument)
{
	struct stat stat;

	(void)argument;
	while (__atomic_load_n(&watching, __ATOMIC_ACQUIRE)) {
		if (!lstat(path, &stat))
			__atomic_fetch_or(&seen, stat.st_mode & 07777, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void never_more_open(void)
{
	mode_t before = umask(0);
	pthread_t watcher;
	int round, fd;

	watching = true;
	if (pthread_create(&watcher, NULL, watch, NULL))
		abort();
	for (round = 0; round < 20 * ROUNDS; round++) {
		fd = isth_listen(path, 0600);
		EXPECT(fd >= 0);
		close(fd);
		unlink(path);
	}
	__atomic_store_n(&watching, false, __ATOMIC_RELEASE);
	pthread_join(watcher, NULL);
	umask(before);
	EXPECT_EQ(seen & ~0600, 0);
	/* Or the watcher was too slow to see anything at all. */
	EXPECT_EQ(seen, 0600);
}

/* ---- messages ---- */

struct traffic {
	int pair[2];
	size_t lost;
};

static void *send_and_receive(void *argument)
{
	struct traffic *traffic = argument;
	int handles[4], fds[4] = { 0, 0, 0, 0 };
	uint32_t number, got;
	size_t count, i;

	for (number = 0; number < MESSAGES; number++) {
		count = number % 5;
		/* Some that do not fit: their descriptors are closed. */
		if (isth_send_handles(traffic->pair[0], &number, sizeof(number), fds, count))
			traffic->lost++;
		count = number % 5 == 4 ? 2 : 4;
		got = number;
		if (isth_receive_handles(traffic->pair[1], &got, sizeof(got), handles, &count) !=
		    (number % 5 == 4 ? -EMSGSIZE : (int)sizeof(got)) || got != number) {
			traffic->lost++;
			continue;
		}
		if (number % 5 == 4)
			continue;
		traffic->lost += count != number % 5;
		for (i = 0; i < count; i++)
			close(handles[i]);
	}
	return NULL;
}

static void much_traffic(void)
{
	struct traffic traffic[THREADS];
	int before = unit_descriptors(), i;

	for (i = 0; i < THREADS; i++) {
		traffic[i].lost = 0;
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, traffic[i].pair))
			abort();
	}
	run_threads(send_and_receive, traffic, sizeof(traffic[0]));
	for (i = 0; i < THREADS; i++) {
		EXPECT_EQ(traffic[i].lost, 0);
		close(traffic[i].pair[0]);
		close(traffic[i].pair[1]);
	}
	EXPECT_EQ(unit_descriptors(), before);
}

/* One socket, many receivers: each message goes to one of them. */
static int shared_pair[2];
static uint32_t arrived[MESSAGES];

static void *receive_shared(void *argument)
{
	size_t *count = argument, room;
	uint32_t number;
	int handle;

	for (;;) {
		room = 1;
		if (isth_receive_handles(shared_pair[1], &number, sizeof(number), &handle,
					 &room) != sizeof(number))
			return NULL;
		__atomic_fetch_add(&arrived[number % MESSAGES], 1, __ATOMIC_RELAXED);
		*count += room;
		if (room)
			close(handle);
	}
}

static void *send_shared(void *argument)
{
	uint32_t number;
	int fd = 0;

	(void)argument;
	for (number = 0; number < MESSAGES; number++)
		EXPECT_EQ(isth_send_handles(shared_pair[0], &number, sizeof(number), &fd, 1), 0);
	shutdown(shared_pair[0], SHUT_WR);
	return NULL;
}

static void many_receivers(void)
{
	size_t counts[THREADS] = { 0 }, total = 0;
	int before = unit_descriptors(), i;
	pthread_t sender;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, shared_pair) ||
	    pthread_create(&sender, NULL, send_shared, NULL))
		abort();
	run_threads(receive_shared, counts, sizeof(counts[0]));
	pthread_join(sender, NULL);
	for (i = 0; i < THREADS; i++)
		total += counts[i];
	for (i = 0; i < MESSAGES; i++)
		EXPECT_EQ(arrived[i], 1);
	EXPECT_EQ(total, MESSAGES);
	close(shared_pair[0]);
	close(shared_pair[1]);
	EXPECT_EQ(unit_descriptors(), before);
}

static const struct unit_case cases[] = {
	{ "of many who listen at once one wins", one_listener },
	{ "a socket is at no moment more open than asked", never_more_open },
	{ "messages on many sockets at once", much_traffic },
	{ "many receivers on one socket", many_receivers },
};

int main(void)
{
	int status;

	snprintf(directory, sizeof(directory), "/tmp/isthmus-unit.XXXXXX");
	if (!mkdtemp(directory))
		return EXIT_FAILURE;
	snprintf(path, sizeof(path), "%s/socket", directory);
	status = UNIT_RUN(cases);
	return rmdir(directory) ? EXIT_FAILURE : status;
}
