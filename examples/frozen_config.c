// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* One configuration for all workers, which nobody can change once they have it. */
#include <errno.h>
#include <isthmus.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4

struct config {
	int port;
	char name[32];
};

/* A worker may check the configuration once and rely on it: it is for good. */
static int work(int handle, int number)
{
	struct isth_map_options writable = { .size = sizeof(writable), .protection = PROT_WRITE };
	struct isth_mapping mapping;
	const struct config *config;

	if (isth_region_map(handle, &writable, &mapping) != -EPERM)
		return 1;		/* frozen: not even with the right to write */
	if (isth_region_map(handle, NULL, &mapping))
		return 2;
	config = mapping.address;
	printf("worker %d: %s on port %d\n", number, config->name, config->port);
	fflush(stdout);
	return config->port != 8080;
}

int main(void)
{
	struct isth_region_options options = { .size = sizeof(options),
					       .bytes = sizeof(struct config) };
	struct isth_mapping mapping;
	int status, failures = 0, device = isth_open();
	int region = isth_region_create(device, &options);
	int error = isth_region_map(region, NULL, &mapping);

	if (error) {
		error = device < 0 ? device : region < 0 ? region : error;
		fprintf(stderr, "no region: %s\n", isth_strerror(error));
		return 1;
	}
	*(struct config *)mapping.address = (struct config){ 8080, "example" };
	error = isth_region_freeze(region, NULL);	/* also this process writes no more */
	for (int i = 1; i <= WORKERS && !error; i++)
		if (!fork())
			_exit(work(region, i));
	while (wait(&status) > 0)
		failures += status != 0;
	return error || failures;
}
