// SPDX-License-Identifier: GPL-2.0-only
/*
 * The other end of "isthmus region share": connect, and get a handle.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach.h"
#include "command.h"
#include "output.h"
#include "units.h"

#define PATIENCE_SECONDS	10

static int connect_to(const char *path)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct isth_peer peer;
	int fd;

	fd = isth_connect(path, &peer);
	if (fd < 0)
		complain("cannot connect to '%s': %s", path, isth_strerror(fd));
	else
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/*
 * Take the first handle of the first message. Other programs than ours may hand
 * out handles too, so what else is in the message does not matter.
 */
static int receive_handle(int socket, const char *path)
{
	char message[4096];
	int handles[ISTH_HANDLES_MAX];
	size_t count = ISTH_HANDLES_MAX;
	ssize_t received;

	received = isth_receive_handles(socket, message, sizeof(message), handles, &count);
	if (received == -EAGAIN) {
		complain("nobody at '%s' hands out a handle", path);
		return -1;
	}
	if (received < 0) {
		complain("cannot receive from '%s': %s", path, isth_strerror((int)received));
		return -1;
	}
	if (!received || !count) {
		complain("'%s' handed out no handle", path);
		return -1;
	}
	while (--count)
		close(handles[count]);
	return handles[0];
}

int attach(const char *path, struct attachment *attachment)
{
	int ret;

	attachment->socket = connect_to(path);
	if (attachment->socket < 0)
		return STATUS_FAILED;
	attachment->handle = receive_handle(attachment->socket, path);
	if (attachment->handle < 0)
		goto close_socket;
	ret = isth_stat(attachment->handle, &attachment->stat);
	if (ret) {
		complain("what '%s' handed out is no handle: %s", path, isth_strerror(ret));
		goto close_handle;
	}
	if (attachment->stat.type != ISTH_TYPE_REGION) {
		complain("what '%s' handed out is a handle, but not of a region", path);
		goto close_handle;
	}
	return STATUS_OK;

close_handle:
	close(attachment->handle);
close_socket:
	close(attachment->socket);
	return STATUS_FAILED;
}

void detach(const struct attachment *attachment)
{
	close(attachment->handle);
	close(attachment->socket);
}

int attach_ask_tree(const struct attachment *attachment, struct share_tree *tree)
{
	const struct share_header question = { SHARE_MAGIC, SHARE_VERSION, SHARE_ASK_TREE };
	ssize_t received;
	int ret;

	ret = isth_send_handles(attachment->socket, &question, sizeof(question), NULL, 0);
	if (ret) {
		complain("cannot ask for the tree: %s", isth_strerror(ret));
		return STATUS_FAILED;
	}
	memset(tree, 0, sizeof(*tree));
	received = isth_receive_handles(attachment->socket, tree, sizeof(*tree), NULL, NULL);
	if (received < 0 && received != -EAGAIN) {
		complain("cannot receive the tree: %s", isth_strerror((int)received));
		return STATUS_FAILED;
	}
	if (received < (ssize_t)offsetof(struct share_tree, nodes) ||
	    tree->header.magic != SHARE_MAGIC || tree->header.type != SHARE_TREE ||
	    !tree->count || tree->count > ARRAY_SIZE(tree->nodes) ||
	    (size_t)received != offsetof(struct share_tree, nodes) +
				tree->count * sizeof(tree->nodes[0])) {
		complain("who shares this region does not tell its tree");
		return STATUS_FAILED;
	}
	return STATUS_OK;
}

int attach_lost(const struct attachment *attachment, const char *doing)
{
	struct isth_stat stat = { 0 };
	int ret = isth_stat(attachment->handle, &stat);

	if (!ret && stat.state & ISTH_STATE_REVOKED)
		complain("the region was revoked %s", doing);
	else if (!ret && stat.state & ISTH_STATE_FROZEN)
		complain("the region was frozen %s", doing);
	else
		complain("the region's memory went away %s", doing);
	return STATUS_TAKEN;
}
