// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Where unrelated processes meet: an AF_UNIX socket, over which handles travel.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

#define BACKLOG			128
#define LOCK_TRIES		100
#define LOCK_PAUSE_NANOSECONDS	10000000

/* The kernel passes at most this many descriptors at once (SCM_MAX_FD). */
#define DESCRIPTORS_MAX		253

/* Since Linux 6.5; carries a descriptor too, which must not leak. */
#ifndef SCM_PIDFD
#define SCM_PIDFD		0x04
#endif

/* Close without a word: there is nothing left to do about an error. */
static void close_quietly(int fd)
{
	(void)ISTH_CALL(close(fd));
}

static int address_of(const char *path, struct sockaddr_un *address)
{
	size_t length;

	if (!path)
		return -EFAULT;
	length = strlen(path);
	/* To the kernel an empty name means: pick an abstract one. */
	if (!length)
		return -ENOENT;
	if (length >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, length);
	return 0;
}

static int new_socket(int flags)
{
	return ISTH_CALL(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
}

static int connect_to(int fd, const struct sockaddr_un *address)
{
	return ISTH_CALL(connect(fd, (const struct sockaddr *)address, sizeof(*address)));
}

static int peer_of(int fd, struct isth_peer *peer)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);
	int ret;

	ret = ISTH_CALL(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size));
	if (ret)
		return ret;
	peer->pid = credentials.pid;
	peer->uid = credentials.uid;
	peer->gid = credentials.gid;
	return 0;
}

/*
 * Lock the directory of @path. All who listen through this library take the
 * same lock from the look at what is there until they listen themselves, so
 * that of two who find one stale socket the second does not remove the first
 * one's new socket. A stranger who can lock the directory could as well have
 * taken the name, hence a limit on patience is all that is needed.
 */
static int lock_directory(const char *path)
{
	static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NANOSECONDS };
	char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
	const char *slash = strrchr(path, '/');
	int tries, fd, ret;

	if (slash)
		snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path) + 1, path);
	else
		snprintf(directory, sizeof(directory), ".");
	fd = ISTH_CALL(open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	for (tries = 0; tries < LOCK_TRIES; tries++) {
		ret = ISTH_CALL(flock(fd, LOCK_EX | LOCK_NB));
		if (!ret)
			return fd;
		if (ret != -EAGAIN && ret != -EINTR)
			break;
		(void)ISTH_CALL(nanosleep(&pause, NULL));
		ret = -EADDRINUSE;
	}
	close_quietly(fd);
	return ret;
}

/* Remove the socket at @address if nobody listens on it. */
static int remove_stale(const struct sockaddr_un *address)
{
	struct stat there;
	int fd, ret;

	ret = ISTH_CALL(lstat(address->sun_path, &there));
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	if (!S_ISSOCK(there.st_mode))
		return -EADDRINUSE;
	/* Without waiting: a full queue of connections is a sign of life. */
	fd = new_socket(SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	ret = connect_to(fd, address);
	close_quietly(fd);
	if (ret != -ECONNREFUSED)
		return -EADDRINUSE;
	return ISTH_CALL(unlink(address->sun_path));
}

/* Give the socket at @path the bits of @mode that the umask took away. */
static int restore_mode(const char *path, mode_t mode)
{
	char link[32];
	struct stat there;
	int fd, ret;

	fd = ISTH_CALL(open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	if (fd < 0)
		return fd;
	ret = ISTH_CALL(fstat(fd, &there));
	if (ret)
		goto out;
	ret = -EADDRINUSE;
	if (!S_ISSOCK(there.st_mode) || there.st_uid != geteuid())
		goto out;
	ret = 0;
	if ((there.st_mode & 07777) == mode)
		goto out;
	/* By descriptor, so that it cannot be another file by now. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ret = ISTH_CALL(chmod(link, mode));
out:
	close_quietly(fd);
	return ret;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, mode_t mode)
{
	int ret;

	/* bind() makes the file with the socket's own mode, less the umask. */
	ret = ISTH_CALL(fchmod(fd, mode));
	if (ret)
		return ret;
	ret = ISTH_CALL(bind(fd, (const struct sockaddr *)address, sizeof(*address)));
	if (ret)
		return ret;
	ret = restore_mode(address->sun_path, mode);
	if (!ret)
		ret = ISTH_CALL(listen(fd, BACKLOG));
	if (ret)
		(void)ISTH_CALL(unlink(address->sun_path));
	return ret;
}

ISTH_API int isth_listen(const char *path, mode_t mode)
{
	struct sockaddr_un address;
	int lock, fd, ret;

	if (mode & ~(mode_t)0777)
		return -EINVAL;
	ret = address_of(path, &address);
	if (ret)
		return ret;
	lock = lock_directory(path);
	if (lock < 0)
		return lock;
	ret = remove_stale(&address);
	if (ret)
		goto unlock;
	ret = new_socket(0);
	if (ret < 0)
		goto unlock;
	fd = ret;
	ret = bind_and_listen(fd, &address, mode);
	if (ret)
		close_quietly(fd);
	else
		ret = fd;
unlock:
	close_quietly(lock);
	return ret;
}

/* Fill in @peer, if wanted; on failure the connection is closed. */
static int connected(int fd, struct isth_peer *peer)
{
	int ret;

	if (!peer)
		return fd;
	ret = peer_of(fd, peer);
	if (ret) {
		close_quietly(fd);
		return ret;
	}
	return fd;
}

ISTH_API int isth_accept(int listener, struct isth_peer *peer)
{
	int fd = ISTH_CALL(accept4(listener, NULL, NULL, SOCK_CLOEXEC));

	return fd < 0 ? fd : connected(fd, peer);
}

ISTH_API int isth_connect(const char *path, struct isth_peer *peer)
{
	struct sockaddr_un address;
	int fd, ret;

	ret = address_of(path, &address);
	if (ret)
		return ret;
	fd = new_socket(0);
	if (fd < 0)
		return fd;
	ret = connect_to(fd, &address);
	if (ret) {
		close_quietly(fd);
		return ret;
	}
	return connected(fd, peer);
}

ISTH_API int isth_send_handles(int socket, const void *data, size_t bytes, const int *handles,
			       size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(ISTH_HANDLES_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec piece = { .iov_base = (void *)data, .iov_len = bytes };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
	struct cmsghdr *header;
	ssize_t sent;

	/* A message of no bytes would read as the end of the connection. */
	if (!bytes || count > ISTH_HANDLES_MAX)
		return -EINVAL;
	if (!data || (count && !handles))
		return -EFAULT;
	if (count) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), handles, count * sizeof(int));
	}
	sent = ISTH_CALL(sendmsg(socket, &message, MSG_NOSIGNAL));
	if (sent < 0)
		return (int)sent;
	/* Only a stream socket, which isth_listen() never makes, sends a part. */
	return (size_t)sent == bytes ? 0 : -EMSGSIZE;
}

/* Take every descriptor that came with @message, of whatever kind it is. */
static size_t descriptors_in(struct msghdr *message, int *fds)
{
	struct cmsghdr *header;
	size_t count = 0, fit, i;
	int pidfd;

	for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET)
			continue;
		if (header->cmsg_type == SCM_PIDFD &&
		    header->cmsg_len >= CMSG_LEN(sizeof(int))) {
			memcpy(&pidfd, CMSG_DATA(header), sizeof(pidfd));
			if (pidfd >= 0)
				close_quietly(pidfd);
		}
		if (header->cmsg_type != SCM_RIGHTS)
			continue;
		fit = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < fit && count < DESCRIPTORS_MAX; i++, count++)
			memcpy(&fds[count], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
	}
	return count;
}

/* Why descriptors were cut off, though there was room for all there can be. */
static int why_cut_off(int socket)
{
	int fd = ISTH_CALL(fcntl(socket, F_DUPFD_CLOEXEC, 0));

	if (fd < 0)
		return fd;
	close_quietly(fd);
	return -EMSGSIZE;
}

ISTH_API ssize_t isth_receive_handles(int socket, void *data, size_t bytes, int *handles,
				      size_t *count)
{
	/* Room for all that can come: what is cut off cannot be told from what never was. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int)) + 512];
	} control;
	struct iovec piece = { .iov_base = data, .iov_len = bytes };
	struct msghdr message = {
		.msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fds[DESCRIPTORS_MAX];
	size_t room = count ? *count : 0, arrived, i;
	ssize_t received;

	if (!bytes)
		return -EINVAL;
	if (!data || (room && !handles))
		return -EFAULT;
	received = ISTH_CALL(recvmsg(socket, &message, MSG_CMSG_CLOEXEC));
	if (received < 0)
		return received;
	arrived = descriptors_in(&message, fds);
	if (message.msg_flags & MSG_CTRUNC)
		received = why_cut_off(socket);
	else if (message.msg_flags & MSG_TRUNC || arrived > room)
		received = -EMSGSIZE;
	/* Nothing received is a peer that closed, or one that means us ill. */
	if (received <= 0) {
		for (i = 0; i < arrived; i++)
			close_quietly(fds[i]);
		if (!received && count)
			*count = 0;
		return received;
	}
	if (arrived)
		memcpy(handles, fds, arrived * sizeof(int));
	if (count)
		*count = arrived;
	return received;
}
