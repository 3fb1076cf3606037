// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A linked list in shared memory that another program walks by its plain pointers. */
#include <isthmus.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES 1000

struct node {
	struct node *next;	/* an address that holds in every process */
	long value;
};

/* The other program, which knows nothing but a socket: the handle comes over it. */
static int walk(int socket)
{
	struct isth_mapping list;
	size_t count = 1;
	long sum = 0;
	int handle;
	char byte;

	if (isth_receive_handles(socket, &byte, 1, &handle, &count) != 1 || count != 1 ||
	    isth_region_map(handle, NULL, &list))
		return 1;
	for (const struct node *node = list.address; node; node = node->next)
		sum += node->value;
	printf("pid %d found the list at %p: sum %ld\n", (int)getpid(), list.address, sum);
	return sum != NODES * (NODES - 1L) / 2;
}

int main(int argc, char **argv)
{
	struct isth_region_options options = { .size = sizeof(options), .flags = ISTH_REGION_HOME,
					       .bytes = NODES * sizeof(struct node) };
	struct isth_mapping list;
	int status = 0, pair[2], device, region, error;

	if (argc > 1)
		return walk(STDIN_FILENO);
	device = isth_open();
	region = isth_region_create(device, &options);
	error = isth_region_map(region, NULL, &list);
	if (error || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		fprintf(stderr, "no region: %s\n", isth_strerror(device < 0 ? device : error));
		return 1;
	}
	for (struct node *nodes = list.address, *node = nodes; node < nodes + NODES; node++)
		*node = (struct node){ node + 1 < nodes + NODES ? node + 1 : NULL, node - nodes };
	if (!fork()) {		/* exec: an address space of its own, placed elsewhere */
		dup2(pair[1], STDIN_FILENO);
		execl("/proc/self/exe", argv[0], "walk", NULL);
		_exit(1);
	}
	return isth_send_handles(pair[0], "", 1, &region, 1) || wait(&status) < 0 || status;
}
