// SPDX-License-Identifier: GPL-2.0-only
/*
 * Meeting over a socket: what arrives, what is refused, and that no descriptor
 * leaks on any path. Each case ends with as many as it began with.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <isthmus.h>

#include "unit.h"

#define SCM_MAX_FD 253

static char directory[64];

/* A path in the directory that is this test's alone. */
static const char *in_directory(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void make_pair(int *pair)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
}

static void close_pair(const int *pair)
{
	close(pair[0]);
	close(pair[1]);
}

/* Send as the library would not: any number of descriptors, any length. */
static int send_raw(int socket, size_t bytes, int fd, size_t count)
{
	static char control[CMSG_SPACE(SCM_MAX_FD * sizeof(int))]
		__attribute__((aligned(sizeof(size_t))));
	static char data[70000];
	struct iovec piece = { .iov_base = data, .iov_len = bytes };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
	struct cmsghdr *header;
	size_t i;

	if (count) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		for (i = 0; i < count; i++)
			memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
	}
	return (int)sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* ---- messages ---- */

static void one_arrives(void)
{
	int pair[2], before = unit_descriptors(), handle = -1, null;
	struct stat sent, got;
	size_t count = 1;
	char text[8];

	make_pair(pair);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(isth_send_handles(pair[0], "hello", 6, &null, 1), 0);
	EXPECT_EQ(isth_receive_handles(pair[1], text, sizeof(text), &handle, &count), 6);
	EXPECT_TEXT(text, "hello");
	EXPECT_EQ(count, 1);
	EXPECT(handle >= 0 && handle != null);
	EXPECT_EQ(fcntl(handle, F_GETFD), FD_CLOEXEC);
	EXPECT(!fstat(null, &sent) && !fstat(handle, &got) && sent.st_rdev == got.st_rdev);
	close(handle);
	close(null);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

static void none_arrives(void)
{
	int pair[2], handle = -7;
	size_t count = 1;
	char byte = 0;

	make_pair(pair);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 1, NULL, 0), 0);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, &handle, &count), 1);
	EXPECT_EQ(byte, 'x');
	EXPECT_EQ(count, 0);
	EXPECT_EQ(handle, -7);
	EXPECT_EQ(isth_send_handles(pair[0], "y", 1, NULL, 0), 0);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, NULL, NULL), 1);
	close_pair(pair);
}

static void all_arrive_in_order(void)
{
	int pair[2], before = unit_descriptors(), fds[ISTH_HANDLES_MAX], got[ISTH_HANDLES_MAX];
	size_t count = ISTH_HANDLES_MAX, i;
	char byte;

	make_pair(pair);
	/* Each with its own flags, by which to know it again. */
	for (i = 0; i < ISTH_HANDLES_MAX; i++)
		fds[i] = open("/dev/null", (i % 2 ? O_RDWR : O_RDONLY) |
					   (i % 3 ? O_NONBLOCK : 0) | O_CLOEXEC);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 1, fds, ISTH_HANDLES_MAX), 0);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, got, &count), 1);
	EXPECT_EQ(count, ISTH_HANDLES_MAX);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(fcntl(got[i], F_GETFL), fcntl(fds[i], F_GETFL));
		close(got[i]);
	}
	for (i = 0; i < ISTH_HANDLES_MAX; i++)
		close(fds[i]);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

static void sends_that_are_refused(void)
{
	int pair[2], fds[ISTH_HANDLES_MAX + 1] = { 0 }, bad = 9999;

	make_pair(pair);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 1, fds, ISTH_HANDLES_MAX + 1), -EINVAL);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 1, fds, SIZE_MAX), -EINVAL);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 0, fds, 1), -EINVAL);
	EXPECT_EQ(isth_send_handles(pair[0], NULL, 1, fds, 1), -EFAULT);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 1, NULL, 1), -EFAULT);
	EXPECT_EQ(isth_send_handles(pair[0], "x", 1, &bad, 1), -EBADF);
	EXPECT_EQ(isth_send_handles(-1, "x", 1, NULL, 0), -EBADF);
	EXPECT_EQ(isth_send_handles(STDIN_FILENO, "x", 1, NULL, 0), -ENOTSOCK);
	/* None of them left anything behind. */
	EXPECT_EQ(recv(pair[1], fds, 1, MSG_DONTWAIT), -1);
	close_pair(pair);
}

static void message_too_long(void)
{
	static char much[4 << 20];
	int pair[2];

	make_pair(pair);
	EXPECT_EQ(isth_send_handles(pair[0], much, sizeof(much), NULL, 0), -EMSGSIZE);
	EXPECT_EQ(recv(pair[1], much, 1, MSG_DONTWAIT), -1);
	close_pair(pair);
}

static void receives_that_are_refused(void)
{
	int pair[2], handle;
	size_t count = 1;
	char byte;

	make_pair(pair);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 0, &handle, &count), -EINVAL);
	EXPECT_EQ(isth_receive_handles(pair[1], NULL, 1, &handle, &count), -EFAULT);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, NULL, &count), -EFAULT);
	EXPECT_EQ(isth_receive_handles(-1, &byte, 1, &handle, &count), -EBADF);
	EXPECT_EQ(count, 1);
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, &handle, &count), -EAGAIN);
	EXPECT_EQ(count, 1);
	close_pair(pair);
}

/* Receive @bytes with room for @room descriptors, of a message that does not fit. */
static void expect_no_fit(size_t sent_bytes, size_t sent_fds, size_t bytes, size_t room)
{
	int pair[2], before = unit_descriptors(), handles[SCM_MAX_FD];
	size_t count = room;
	char data[16];

	memset(handles, 0xff, sizeof(handles));
	make_pair(pair);
	EXPECT_EQ(send_raw(pair[0], sent_bytes, STDIN_FILENO, sent_fds), (int)sent_bytes);
	EXPECT_EQ(isth_receive_handles(pair[1], data, bytes, handles, &count), -EMSGSIZE);
	EXPECT_EQ(count, room);
	EXPECT_EQ(handles[0], -1);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

static void more_than_there_is_room_for(void)
{
	expect_no_fit(1, 1, 1, 0);
	expect_no_fit(1, 3, 1, 2);
	expect_no_fit(1, SCM_MAX_FD, 1, ISTH_HANDLES_MAX);
	expect_no_fit(17, 0, 16, 1);
	expect_no_fit(17, 1, 16, 1);
	expect_no_fit(60000, SCM_MAX_FD, 16, 1);
}

static void no_room_asked_for(void)
{
	int pair[2], before = unit_descriptors();
	char byte;

	make_pair(pair);
	EXPECT_EQ(send_raw(pair[0], 1, STDIN_FILENO, 5), 1);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, NULL, NULL), -EMSGSIZE);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

static void after_one_that_did_not_fit(void)
{
	int pair[2], handle = -1;
	size_t count = 1;
	char byte;

	make_pair(pair);
	EXPECT_EQ(send_raw(pair[0], 1, STDIN_FILENO, 2), 1);
	EXPECT_EQ(send_raw(pair[0], 1, STDIN_FILENO, 1), 1);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, &handle, &count), -EMSGSIZE);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, &handle, &count), 1);
	EXPECT_EQ(count, 1);
	close(handle);
	close_pair(pair);
}

static void too_many_open(void)
{
	int pair[2], before = unit_descriptors(), handles[8];
	struct rlimit limit, low;
	size_t count = 8;
	char byte;

	make_pair(pair);
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = unit_descriptors() + 3;
	EXPECT_EQ(send_raw(pair[0], 1, STDIN_FILENO, 8), 1);
	setrlimit(RLIMIT_NOFILE, &low);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, handles, &count), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &limit);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

/* With more control data than descriptors alone: those are still all found. */
static void with_credentials(void)
{
	int pair[2], before = unit_descriptors(), on = 1, handles[SCM_MAX_FD];
	size_t count = SCM_MAX_FD, i;
	char byte;

	make_pair(pair);
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	setsockopt(pair[1], SOL_SOCKET, SO_PASSSEC, &on, sizeof(on));
#ifdef SO_PASSPIDFD
	setsockopt(pair[1], SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on));
#else
	setsockopt(pair[1], SOL_SOCKET, 76, &on, sizeof(on));
#endif
	EXPECT_EQ(send_raw(pair[0], 1, STDIN_FILENO, SCM_MAX_FD), 1);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, handles, &count), 1);
	EXPECT_EQ(count, SCM_MAX_FD);
	for (i = 0; i < count; i++)
		close(handles[i]);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

static void message_of_no_bytes(void)
{
	int pair[2], before = unit_descriptors(), handle = -1;
	size_t count = 1;
	char byte;

	make_pair(pair);
	EXPECT_EQ(send_raw(pair[0], 0, STDIN_FILENO, 1), 0);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, &handle, &count), 0);
	EXPECT_EQ(count, 0);
	EXPECT_EQ(handle, -1);
	close_pair(pair);
	EXPECT_EQ(unit_descriptors(), before);
}

static void peer_closes(void)
{
	int pair[2], handle;
	size_t count = 1;
	char byte;

	make_pair(pair);
	close(pair[0]);
	EXPECT_EQ(isth_receive_handles(pair[1], &byte, 1, &handle, &count), 0);
	EXPECT_EQ(count, 0);
	/* SIGPIPE would end this program here. */
	EXPECT_EQ(isth_send_handles(pair[1], "x", 1, NULL, 0), -EPIPE);
	close(pair[1]);
}

static void errno_stays(void)
{
	int pair[2], handle;
	size_t count = 1;
	char byte;

	make_pair(pair);
	errno = 4242;
	isth_send_handles(pair[0], "x", 1, NULL, 0);
	isth_receive_handles(pair[1], &byte, 1, &handle, &count);
	isth_send_handles(-1, "x", 1, NULL, 0);
	isth_receive_handles(-1, &byte, 1, NULL, NULL);
	isth_connect("/nonexistent/socket", NULL);
	isth_listen("/nonexistent/socket", 0600);
	EXPECT_EQ(errno, 4242);
	close_pair(pair);
}

/* ---- connections ---- */

static void who_connects(void)
{
	int before = unit_descriptors(), listener, client, server, status;
	struct isth_peer peer = { 0 }, sharer = { 0 };
	const char *path = in_directory("who");
	pid_t child;

	listener = isth_listen(path, 0600);
	EXPECT(listener >= 0);
	EXPECT_EQ(fcntl(listener, F_GETFD), FD_CLOEXEC);
	child = fork();
	if (!child) {
		client = isth_connect(path, &sharer);
		_exit(client < 0 || sharer.pid != getppid() || sharer.uid != getuid());
	}
	server = isth_accept(listener, &peer);
	EXPECT(server >= 0);
	EXPECT_EQ(fcntl(server, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(peer.pid, child);
	EXPECT_EQ(peer.uid, getuid());
	EXPECT_EQ(peer.gid, getgid());
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	close(server);
	client = isth_connect(path, NULL);
	server = isth_accept(listener, NULL);
	EXPECT(client >= 0 && server >= 0);
	EXPECT_EQ(fcntl(client, F_GETFD), FD_CLOEXEC);
	close(client);
	close(server);
	close(listener);
	unlink(path);
	EXPECT_EQ(unit_descriptors(), before);
}

static void whole_messages(void)
{
	int listener, client, server;
	const char *path = in_directory("whole");
	char text[16];

	listener = isth_listen(path, 0600);
	client = isth_connect(path, NULL);
	server = isth_accept(listener, NULL);
	EXPECT_EQ(isth_send_handles(client, "one", 4, NULL, 0), 0);
	EXPECT_EQ(isth_send_handles(client, "three", 6, NULL, 0), 0);
	EXPECT_EQ(isth_receive_handles(server, text, sizeof(text), NULL, NULL), 4);
	EXPECT_EQ(isth_receive_handles(server, text, sizeof(text), NULL, NULL), 6);
	close(client);
	close(server);
	close(listener);
	unlink(path);
}

static void connects_that_fail(void)
{
	int before = unit_descriptors(), fd;
	const char *path;
	struct isth_peer peer;

	EXPECT_EQ(isth_connect(NULL, &peer), -EFAULT);
	EXPECT_EQ(isth_connect("", &peer), -ENOENT);
	EXPECT_EQ(isth_connect(in_directory("nothing"), &peer), -ENOENT);
	path = in_directory("file");
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	EXPECT_EQ(isth_connect(path, &peer), -ECONNREFUSED);
	close(fd);
	unlink(path);
	EXPECT_EQ(isth_accept(-1, &peer), -EBADF);
	EXPECT_EQ(isth_accept(STDIN_FILENO, &peer), -ENOTSOCK);
	EXPECT_EQ(unit_descriptors(), before);
}

/* ---- listening ---- */

static void permissions(void)
{
	static const mode_t modes[] = { 0600, 0660, 0666, 0700, 0, 0777 };
	static const mode_t masks[] = { 0, 022, 077, 0777 };
	const char *path = in_directory("mode");
	mode_t before = umask(0);
	struct stat stat;
	size_t i, j;
	int fd;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		for (j = 0; j < sizeof(masks) / sizeof(masks[0]); j++) {
			umask(masks[j]);
			fd = isth_listen(path, modes[i]);
			EXPECT(fd >= 0);
			EXPECT(!lstat(path, &stat) && S_ISSOCK(stat.st_mode));
			EXPECT_EQ(stat.st_mode & 07777, modes[i]);
			/* The mask is the whole process's: not even for a moment another. */
			EXPECT_EQ(umask(masks[j]), masks[j]);
			close(fd);
			unlink(path);
		}
	}
	umask(before);
	EXPECT_EQ(isth_listen(path, 01000), -EINVAL);
	EXPECT_EQ(isth_listen(path, 04600), -EINVAL);
	EXPECT_EQ(access(path, F_OK), -1);
}

static void path_lengths(void)
{
	char path[200];
	size_t longest = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1, length;
	int fd, client;

	length = snprintf(path, sizeof(path), "%s/", directory);
	memset(path + length, 'x', sizeof(path) - length);
	path[longest] = '\0';
	fd = isth_listen(path, 0600);
	EXPECT(fd >= 0);
	client = isth_connect(path, NULL);
	EXPECT(client >= 0);
	close(client);
	close(fd);
	unlink(path);
	path[longest] = 'x';
	path[longest + 1] = '\0';
	EXPECT_EQ(isth_listen(path, 0600), -ENAMETOOLONG);
	EXPECT_EQ(isth_connect(path, NULL), -ENAMETOOLONG);
	EXPECT_EQ(isth_listen("", 0600), -ENOENT);
	EXPECT_EQ(isth_listen(NULL, 0600), -EFAULT);
	EXPECT_EQ(isth_listen("/nonexistent/x", 0600), -ENOENT);
	EXPECT_EQ(isth_listen("/proc/self/exe/x", 0600), -ENOTDIR);
}

/* Without a slash the directory to lock is the one we are in. */
static void relative_path(void)
{
	int here = open(".", O_PATH | O_CLOEXEC), fd;

	EXPECT_EQ(chdir(directory), 0);
	fd = isth_listen("relative", 0600);
	EXPECT(fd >= 0);
	close(fd);
	EXPECT_EQ(unlink("relative"), 0);
	EXPECT_EQ(fchdir(here), 0);
	close(here);
}

static int bind_raw(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		abort();
	return fd;
}

static void stale_is_replaced(void)
{
	int before = unit_descriptors(), fd, client;
	const char *path = in_directory("stale");

	close(bind_raw(path, SOCK_SEQPACKET));
	fd = isth_listen(path, 0600);
	EXPECT(fd >= 0);
	client = isth_connect(path, NULL);
	EXPECT(client >= 0);
	close(client);
	/* Its own, once nobody listens on it. */
	close(fd);
	fd = isth_listen(path, 0600);
	EXPECT(fd >= 0);
	close(fd);
	unlink(path);
	EXPECT_EQ(unit_descriptors(), before);
}

static void live_is_not_replaced(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	int before = unit_descriptors(), fd;
	const char *path = in_directory("live");
	struct stat was, is;
	size_t i;

	for (i = 0; i < 3; i++) {
		fd = bind_raw(path, types[i]);
		if (types[i] != SOCK_DGRAM)
			listen(fd, 1);
		EXPECT_EQ(lstat(path, &was), 0);
		EXPECT_EQ(isth_listen(path, 0600), -EADDRINUSE);
		EXPECT(!lstat(path, &is) && is.st_ino == was.st_ino);
		close(fd);
		unlink(path);
	}
	EXPECT_EQ(unit_descriptors(), before);
}

/* One that is too busy to accept lives, too; asking must not hang. */
static void busy_is_not_replaced(void)
{
	int before = unit_descriptors(), clients[16], fd, count = 0;
	const char *path = in_directory("busy");
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	fd = bind_raw(path, SOCK_SEQPACKET);
	listen(fd, 1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	while (count < 16) {
		clients[count] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(clients[count++], (struct sockaddr *)&address, sizeof(address)))
			break;
	}
	EXPECT(count < 16);
	EXPECT_EQ(isth_listen(path, 0600), -EADDRINUSE);
	while (count)
		close(clients[--count]);
	close(fd);
	unlink(path);
	EXPECT_EQ(unit_descriptors(), before);
}

static void no_socket_is_not_replaced(void)
{
	int before = unit_descriptors(), fd;
	const char *path = in_directory("thing");
	struct stat stat;

	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	EXPECT_EQ(isth_listen(path, 0600), -EADDRINUSE);
	EXPECT(!lstat(path, &stat) && S_ISREG(stat.st_mode));
	unlink(path);
	EXPECT_EQ(mkdir(path, 0700), 0);
	EXPECT_EQ(isth_listen(path, 0600), -EADDRINUSE);
	EXPECT_EQ(rmdir(path), 0);
	/* A link is not followed, wherever it leads. */
	EXPECT_EQ(symlink("/nonexistent", path), 0);
	EXPECT_EQ(isth_listen(path, 0600), -EADDRINUSE);
	EXPECT(!lstat(path, &stat) && S_ISLNK(stat.st_mode));
	unlink(path);
	EXPECT_EQ(unit_descriptors(), before);
}

static const struct unit_case cases[] = {
	{ "a descriptor arrives, close-on-exec", one_arrives },
	{ "a message without descriptors arrives", none_arrives },
	{ "as many as can be sent arrive in order", all_arrive_in_order },
	{ "sends that are refused send nothing", sends_that_are_refused },
	{ "a message too long is EMSGSIZE, and nothing is sent", message_too_long },
	{ "receives that are refused", receives_that_are_refused },
	{ "what does not fit is EMSGSIZE, and closed", more_than_there_is_room_for },
	{ "without room for descriptors they are closed", no_room_asked_for },
	{ "the next message is whole again", after_one_that_did_not_fit },
	{ "too many open files is EMFILE, and all are closed", too_many_open },
	{ "credentials beside descriptors do not hide them", with_credentials },
	{ "a message of no bytes is an end, its descriptor closed", message_of_no_bytes },
	{ "a peer that closed is zero, and EPIPE without a signal", peer_closes },
	{ "errno stays as it was", errno_stays },
	{ "who connects is who the kernel saw", who_connects },
	{ "messages stay whole", whole_messages },
	{ "connects that fail leak nothing", connects_that_fail },
	{ "the socket has the permissions asked for", permissions },
	{ "paths as long as can be, and longer", path_lengths },
	{ "a path without a directory", relative_path },
	{ "a stale socket is replaced", stale_is_replaced },
	{ "a live socket is not", live_is_not_replaced },
	{ "nor one that is busy", busy_is_not_replaced },
	{ "nor what is no socket", no_socket_is_not_replaced },
};

int main(void)
{
	int status;

	snprintf(directory, sizeof(directory), "/tmp/isthmus-unit.XXXXXX");
	if (!mkdtemp(directory))
		return EXIT_FAILURE;
	status = UNIT_RUN(cases);
	if (rmdir(directory)) {
		printf("# %s: %s\n", directory, strerror(errno));
		status = EXIT_FAILURE;
	}
	return status;
}
