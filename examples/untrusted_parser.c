// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A producer lends its buffer to a parser it does not trust, and takes it back in time. */
#include <isthmus.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAKEN_BACK 42

static void on_sigbus(int signal)
{
	static const char sentence[] = "parser: SIGBUS, the buffer was taken back\n";

	(void)signal;
	(void)!write(STDOUT_FILENO, sentence, sizeof(sentence) - 1);
	_exit(TAKEN_BACK);
}

/* Counts lines for ever: a parser that hangs, or one that means to stay. */
static void parse(int handle)
{
	struct isth_mapping input;
	static volatile size_t lines;

	signal(SIGBUS, on_sigbus);
	if (isth_region_map(handle, NULL, &input))	/* readable: the handle allows no more */
		_exit(1);
	for (;;)
		for (size_t i = 0; i < input.bytes; i++)
			lines += ((volatile char *)input.address)[i] == '\n';
}

int main(void)
{
	struct isth_region_options options = { .size = sizeof(options), .bytes = 1 << 20 };
	struct isth_mapping buffer;
	int device = isth_open();
	int region = isth_region_create(device, &options);
	int loan = isth_derive(region, ISTH_RIGHT_READ);	/* can never become more */
	int status = 0, error = isth_region_map(region, NULL, &buffer);
	pid_t parser;

	if (error || loan < 0) {
		fprintf(stderr, "no region: %s\n", isth_strerror(device < 0 ? device : error));
		return 1;
	}
	memset(buffer.address, '\n', buffer.bytes);
	parser = fork();
	if (!parser)
		parse(loan);
	sleep(1);				/* its time is over */
	error = isth_revoke(loan, NULL);	/* when this returns it sees nothing more */
	strcpy(buffer.address, "producer: the buffer is mine alone again");
	if (error || waitpid(parser, &status, 0) != parser || WEXITSTATUS(status) != TAKEN_BACK)
		return 1;
	return puts(buffer.address) < 0;
}
