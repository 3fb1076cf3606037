// SPDX-License-Identifier: GPL-2.0-only
/*
 * isthmus region share: make a region, and hand it to whoever connects.
 *
 * Each peer gets a handle of its own, so that each can be revoked alone, and
 * has it until it hangs up. Each is served by a thread of its own: whatever a
 * peer does to its socket (sends nothing, reads nothing, sends a descriptor
 * whose close takes a minute), it delays only that thread. The main thread
 * takes what is typed and signals, and never touches a peer's socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <isthmus.h>

#include "command.h"
#include "output.h"
#include "protocol.h"
#include "units.h"

#define THREAD_STACK_BYTES	(256 * 1024)
#define PAUSE_MILLISECONDS	1000

struct share;

struct peer {
	struct share *share;
	struct peer *next;
	int socket;
	int handle;
	uint32_t number;
	struct isth_peer who;
	char command[16];
};

struct share {
	/* How it was asked for. */
	const char *path;
	const char *file;
	unsigned int mode;
	uint32_t peer_rights;
	struct isth_region_options region;
	bool size_given;
	bool home_given;

	/* Set before the first peer, and not changed after. */
	int root;
	int listener;
	int signals;
	struct stat socket_file;
	struct isth_stat stat;

	/* The main thread's own. */
	bool listener_paused;
	bool input_ended;
	bool quit;
	char line[128];
	size_t line_length;
	bool line_too_long;

	/* Guarded by lock, as all printing is. */
	pthread_mutex_t lock;
	struct peer *first;
	struct peer **last;
	size_t peers;
	size_t threads;
	uint32_t last_number;
};

/* ---- printing ---- */

/* Print one line; when that cannot be done any more, end. Called with the lock held. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	/* The main thread may be asleep: wake it as whoever wants an end does. */
	if (fflush(stdout))
		kill(getpid(), SIGTERM);
}

static const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* "pid 812 uid 1000 (perl)"; a name may hold anything, so only what is printable. */
static const char *who(const struct peer *peer, char *text, size_t size)
{
	char command[sizeof(peer->command)];

	snprintf(text, size, "pid %d uid %u (%s)", (int)peer->who.pid,
		 (unsigned int)peer->who.uid,
		 printable(peer->command, command, sizeof(command)));
	return text;
}

static void read_command_name(pid_t pid, char *name, size_t size)
{
	char path[32];
	ssize_t got = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, name, size - 1);
		close(fd);
	}
	name[got > 0 ? got : 0] = '\0';
	name[strcspn(name, "\n")] = '\0';
	if (!*name)
		snprintf(name, size, "?");
}

/* ---- one peer ---- */

static void fill_node(struct share_node *node, int handle)
{
	struct isth_stat stat = { 0 };

	/* The sharer's own descriptor is good, so this cannot fail for long. */
	if (isth_stat(handle, &stat))
		return;
	node->rights = stat.rights;
	node->state = stat.state;
	node->handle_id = stat.handle_id;
	node->descendants = stat.descendants;
	node->mappings = stat.mappings;
}

static size_t fill_tree(struct share *share, const struct peer *asker, struct share_tree *tree)
{
	const struct peer *peer;
	struct share_node *node = tree->nodes;

	tree->header = (struct share_header){ SHARE_MAGIC, SHARE_VERSION, SHARE_TREE };
	tree->kind = share->stat.kind;
	tree->object_id = share->stat.object_id;
	tree->size = share->stat.size;
	tree->home = share->stat.home;
	node->pid = getpid();
	node->uid = getuid();
	read_command_name(getpid(), node->command, sizeof(node->command));
	fill_node(node++, share->root);
	pthread_mutex_lock(&share->lock);
	for (peer = share->first; peer; peer = peer->next) {
		node->number = peer->number;
		node->pid = peer->who.pid;
		node->uid = peer->who.uid;
		node->flags = peer == asker ? SHARE_NODE_ASKER : 0;
		memcpy(node->command, peer->command, sizeof(node->command));
		fill_node(node++, peer->handle);
	}
	pthread_mutex_unlock(&share->lock);
	tree->count = node - tree->nodes;
	return (char *)node - (char *)tree;
}

static int send_tree(struct peer *peer)
{
	struct share_tree *tree;
	int ret;

	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	ret = isth_send_handles(peer->socket, tree, fill_tree(peer->share, peer, tree), NULL, 0);
	free(tree);
	return ret;
}

/* Give the peer its handle, and put it on the list. */
static int welcome(struct peer *peer)
{
	struct share *share = peer->share;
	struct share_greeting greeting = {
		.header = { SHARE_MAGIC, SHARE_VERSION, SHARE_GREETING },
	};
	char text[80], rights[UNITS_MAX];
	int ret;

	peer->handle = isth_derive(share->root, share->peer_rights);
	if (peer->handle < 0)
		return peer->handle;
	read_command_name(peer->who.pid, peer->command, sizeof(peer->command));
	pthread_mutex_lock(&share->lock);
	peer->number = ++share->last_number;
	greeting.number = peer->number;
	/* A new socket has room for this, so it does not wait with the lock held. */
	ret = isth_send_handles(peer->socket, &greeting, sizeof(greeting), &peer->handle, 1);
	if (!ret) {
		*share->last = peer;
		share->last = &peer->next;
		share->peers++;
		say("%" PRIu32 " attached: %s, %s", peer->number, who(peer, text, sizeof(text)),
		    format_rights(share->peer_rights, rights, sizeof(rights)));
	}
	pthread_mutex_unlock(&share->lock);
	if (ret)
		close(peer->handle);
	return ret;
}

static void forget(struct peer *peer)
{
	struct share *share = peer->share;
	struct peer **link = &share->first;
	char text[80];

	pthread_mutex_lock(&share->lock);
	while (*link != peer)
		link = &(*link)->next;
	*link = peer->next;
	if (share->last == &peer->next)
		share->last = link;
	share->peers--;
	/* Also when it gave the handle away, or keeps it without the connection. */
	isth_revoke(peer->handle, NULL);
	say("%" PRIu32 " left: %s", peer->number, who(peer, text, sizeof(text)));
	pthread_mutex_unlock(&share->lock);
	close(peer->handle);
}

/*
 * Answer what the peer asks, until it hangs up or talks nonsense. Received
 * without room for descriptors, so that those it sends never become ours.
 */
static void answer(struct peer *peer)
{
	struct share_header question;
	ssize_t got;

	for (;;) {
		got = recv(peer->socket, &question, sizeof(question), MSG_TRUNC);
		if (got < 0 && errno == EINTR)
			continue;
		if (got != sizeof(question) || question.magic != SHARE_MAGIC ||
		    question.type != SHARE_ASK_TREE)
			return;
		if (send_tree(peer))
			return;
	}
}

static void *serve(void *argument)
{
	struct peer *peer = argument;
	struct share *share = peer->share;
	int ret;

	ret = welcome(peer);
	if (!ret) {
		answer(peer);
		forget(peer);
	} else if (ret != -EPIPE && ret != -ECONNRESET) {
		pthread_mutex_lock(&share->lock);
		complain("pid %d got no handle: %s", (int)peer->who.pid, isth_strerror(ret));
		pthread_mutex_unlock(&share->lock);
	}
	close(peer->socket);
	free(peer);
	pthread_mutex_lock(&share->lock);
	share->threads--;
	pthread_mutex_unlock(&share->lock);
	return NULL;
}

/* ---- who connects ---- */

static int start_thread(struct peer *peer)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	error = pthread_attr_init(&attributes);
	if (error)
		return -error;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
	error = pthread_create(&thread, &attributes, serve, peer);
	pthread_attr_destroy(&attributes);
	return -error;
}

/* Hang up on those whose handle is dead, so that others get their places. */
static void make_room(struct share *share)
{
	struct isth_stat stat;
	struct peer *peer;

	for (peer = share->first; peer; peer = peer->next) {
		if (!isth_stat(peer->handle, &stat) && stat.state & ISTH_STATE_REVOKED)
			shutdown(peer->socket, SHUT_RDWR);
	}
}

/* Whether one more may come; if not, the kernel keeps a few waiting. */
static bool has_room(struct share *share)
{
	bool room;

	pthread_mutex_lock(&share->lock);
	room = share->threads < SHARE_PEERS_MAX;
	if (!room)
		make_room(share);
	pthread_mutex_unlock(&share->lock);
	return room;
}

static int admit(struct share *share)
{
	struct peer *peer;
	int ret;

	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return -ENOMEM;
	peer->share = share;
	peer->socket = isth_accept(share->listener, &peer->who);
	if (peer->socket < 0) {
		ret = peer->socket;
		free(peer);
		return ret;
	}
	pthread_mutex_lock(&share->lock);
	share->threads++;
	pthread_mutex_unlock(&share->lock);
	ret = start_thread(peer);
	if (ret) {
		pthread_mutex_lock(&share->lock);
		share->threads--;
		pthread_mutex_unlock(&share->lock);
		close(peer->socket);
		free(peer);
	}
	return ret;
}

static void admit_next(struct share *share)
{
	int ret;

	if (!has_room(share)) {
		share->listener_paused = true;
		return;
	}
	ret = admit(share);
	if (!ret || ret == -EAGAIN || ret == -ECONNABORTED || ret == -EINTR)
		return;
	/* Out of something: to try at once would be to spin. */
	pthread_mutex_lock(&share->lock);
	complain("cannot let the next one in: %s", isth_strerror(ret));
	pthread_mutex_unlock(&share->lock);
	share->listener_paused = true;
}

/* ---- what is typed ---- */

/* Called with the lock held, as all of these. */
static void list(struct share *share)
{
	struct table table = {
		.columns = 7,
		.titles = { "WHO", "PID", "UID", "COMMAND", "RIGHTS", "MAPPINGS", "STATE" },
	};
	const struct peer *peer;
	char text[UNITS_MAX];
	struct isth_stat stat;

	for (peer = share->first; peer; peer = peer->next) {
		if (isth_stat(peer->handle, &stat))
			continue;
		table_cell(&table, "%" PRIu32, peer->number);
		table_cell(&table, "%d", (int)peer->who.pid);
		table_cell(&table, "%u", (unsigned int)peer->who.uid);
		table_cell(&table, "%s", printable(peer->command, text, sizeof(text)));
		table_cell(&table, "%s", format_letters(stat.rights, text, sizeof(text)));
		table_cell(&table, "%" PRIu64, (uint64_t)stat.mappings);
		table_cell(&table, "%s", format_state(stat.state, text, sizeof(text)));
	}
	if (table.count)
		table_print(stdout, &table);
	else
		printf("nobody is attached\n");
	table_free(&table);
}

static void freeze(struct share *share)
{
	uint64_t pinned = 0;
	int ret = isth_region_freeze(share->root, &pinned);

	if (!ret)
		say("frozen: nobody can write to it any more");
	else if (ret == -EBUSY)
		say("not frozen: I/O still holds %" PRIu64 " page%s; try again", pinned,
		    plural(pinned));
	else
		complain("cannot freeze: %s", isth_strerror(ret));
}

static void take_back(int handle, uint32_t flags, const char *whom)
{
	struct isth_revoke_options options = { .size = sizeof(options), .flags = flags };
	int ret = isth_revoke(handle, &options);

	if (ret)
		complain("cannot revoke %s: %s", whom, isth_strerror(ret));
	else if (options.pinned_pages)
		say("revoked %s: %" PRIu64 " handle%s; I/O still holds %" PRIu64 " page%s",
		    whom, options.handles, plural(options.handles), options.pinned_pages,
		    plural(options.pinned_pages));
	else
		say("revoked %s: %" PRIu64 " handle%s", whom, options.handles,
		    plural(options.handles));
}

static bool revoke_number(struct share *share, uint64_t number)
{
	const struct peer *peer;
	char whom[24];

	for (peer = share->first; peer; peer = peer->next) {
		if (peer->number != number)
			continue;
		snprintf(whom, sizeof(whom), "%" PRIu32, peer->number);
		take_back(peer->handle, 0, whom);
		return true;
	}
	return false;
}

static bool revoke_pid(struct share *share, uint64_t pid)
{
	const struct peer *peer;
	bool found = false;
	char whom[48];

	for (peer = share->first; peer; peer = peer->next) {
		if ((uint64_t)peer->who.pid != pid)
			continue;
		snprintf(whom, sizeof(whom), "%" PRIu32 " (pid %d)", peer->number,
			 (int)peer->who.pid);
		take_back(peer->handle, 0, whom);
		found = true;
	}
	return found;
}

static void revoke_who(struct share *share, const char *whom)
{
	uint64_t number;

	if (!whom)
		complain("revoke whom? A number, a pid, or all; list shows them");
	else if (!strcmp(whom, "all"))
		take_back(share->root, ISTH_REVOKE_DESCENDANTS, "all");
	else if (parse_size(whom, &number))
		complain("'%s' is no number and no pid", whom);
	else if (!revoke_number(share, number) && !revoke_pid(share, number))
		complain("nobody here has the number or the pid %s", whom);
}

static void help(void)
{
	say("list          who is attached\n"
	    "freeze        end all writing, for good (also signal USR1)\n"
	    "revoke WHO    take the region from WHO: a number, a pid, or all (USR2)\n"
	    "quit          take it from all, and end (also TERM and INT)");
}

static void obey(struct share *share, char *line)
{
	char *rest, *verb = strtok_r(line, " \t\r", &rest);
	char *whom = verb ? strtok_r(NULL, " \t\r", &rest) : NULL;
	char *more = whom ? strtok_r(NULL, " \t\r", &rest) : NULL;
	char shown[40];

	if (!verb)
		return;
	pthread_mutex_lock(&share->lock);
	if (more || (whom && strcmp(verb, "revoke")))
		complain("'%s' is one word too many",
			 printable(more ? more : whom, shown, sizeof(shown)));
	else if (!strcmp(verb, "list"))
		list(share);
	else if (!strcmp(verb, "freeze"))
		freeze(share);
	else if (!strcmp(verb, "revoke"))
		revoke_who(share, whom);
	else if (!strcmp(verb, "quit"))
		share->quit = true;
	else if (!strcmp(verb, "help"))
		help();
	else
		complain("there is no '%s' here; type help",
			 printable(verb, shown, sizeof(shown)));
	if (fflush(stdout))
		share->quit = true;
	pthread_mutex_unlock(&share->lock);
}

/* Whether reading would not stop us: a terminal stops who reads in the background. */
static bool input_is_ours(const struct share *share)
{
	if (share->input_ended)
		return false;
	return !isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void read_input(struct share *share)
{
	size_t room = sizeof(share->line) - 1 - share->line_length;
	char *newline;
	ssize_t got;

	got = read(STDIN_FILENO, share->line + share->line_length, room);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got < 0 && errno == EIO && !input_is_ours(share))
		return;
	if (got <= 0) {
		share->input_ended = true;
		/* Control-D means the end; a service's /dev/null does not. */
		if (isatty(STDIN_FILENO))
			share->quit = true;
		return;
	}
	share->line_length += got;
	share->line[share->line_length] = '\0';
	while ((newline = memchr(share->line, '\n', share->line_length))) {
		*newline = '\0';
		if (!share->line_too_long)
			obey(share, share->line);
		share->line_too_long = false;
		share->line_length -= newline + 1 - share->line;
		memmove(share->line, newline + 1, share->line_length + 1);
	}
	if (share->line_length == sizeof(share->line) - 1) {
		if (!share->line_too_long)
			complain("that line is too long");
		share->line_too_long = true;
		share->line_length = 0;
	}
}

static void read_signal(struct share *share)
{
	struct signalfd_siginfo signal;

	if (read(share->signals, &signal, sizeof(signal)) != sizeof(signal))
		return;
	pthread_mutex_lock(&share->lock);
	switch (signal.ssi_signo) {
	case SIGUSR1:
		freeze(share);
		break;
	case SIGUSR2:
		take_back(share->root, ISTH_REVOKE_DESCENDANTS, "all");
		break;
	default:
		share->quit = true;
	}
	pthread_mutex_unlock(&share->lock);
}

/* ---- beginning and end ---- */

static void run_loop(struct share *share)
{
	struct pollfd polled[3];
	bool input, pause;

	while (!share->quit) {
		input = input_is_ours(share);
		pause = share->listener_paused;
		share->listener_paused = false;
		polled[0] = (struct pollfd){ .fd = share->signals, .events = POLLIN };
		polled[1] = (struct pollfd){ .fd = pause ? -1 : share->listener, .events = POLLIN };
		polled[2] = (struct pollfd){ .fd = input ? STDIN_FILENO : -1, .events = POLLIN };
		/* Nobody tells when a terminal becomes ours again: look now and then. */
		if (poll(polled, ARRAY_SIZE(polled),
			 pause || (!input && !share->input_ended) ? PAUSE_MILLISECONDS : -1) < 0)
			continue;
		if (polled[0].revents)
			read_signal(share);
		if (polled[1].revents && !share->quit)
			admit_next(share);
		/* Ours no more, if we were put into the background while asleep. */
		if (polled[2].revents && !share->quit && input_is_ours(share))
			read_input(share);
	}
}

/* Fill the region with what @file has. */
static int load(struct share *share, int file)
{
	struct isth_mapping mapping;
	size_t filled = 0;
	ssize_t got = 1;
	char more;
	int ret;

	ret = isth_region_map(share->root, NULL, &mapping);
	if (ret) {
		complain("cannot map the region: %s", isth_strerror(ret));
		return STATUS_FAILED;
	}
	while (got && filled < mapping.bytes) {
		got = read(file, (char *)mapping.address + filled, mapping.bytes - filled);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		filled += got;
	}
	if (got > 0)
		got = read(file, &more, 1);
	if (got < 0)
		complain("cannot read '%s': %s", share->file, strerror(errno));
	else if (got > 0)
		complain("'%s' does not fit into the region", share->file);
	isth_region_unmap(&mapping);
	return got ? STATUS_FAILED : STATUS_OK;
}

/* Open --file, and let it say how large the region is when nobody else does. */
static int open_file(struct share *share)
{
	struct stat stat;
	int file;

	file = open(share->file, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &stat)) {
		complain("cannot read '%s': %s", share->file, strerror(errno));
		if (file >= 0)
			close(file);
		return -1;
	}
	if (!share->size_given) {
		if (!S_ISREG(stat.st_mode) || !stat.st_size) {
			complain("'%s' does not say how large the region shall be: use --size",
				 share->file);
			close(file);
			return -1;
		}
		share->region.bytes = stat.st_size;
	}
	return file;
}

static int create(struct share *share)
{
	char text[UNITS_MAX];
	int device, ret;

	device = open_device();
	if (device < 0)
		return STATUS_UNAVAILABLE;
	ret = isth_region_create(device, &share->region);
	close(device);
	if (ret < 0) {
		complain("cannot make a region of %s: %s",
			 format_size(share->region.bytes, text, sizeof(text)), isth_strerror(ret));
		return STATUS_FAILED;
	}
	share->root = ret;
	ret = isth_stat(share->root, &share->stat);
	if (ret) {
		complain("the new region does not answer: %s", isth_strerror(ret));
		return STATUS_FAILED;
	}
	return STATUS_OK;
}

static int prepare_region(struct share *share)
{
	int file = -1, status;

	if (share->file) {
		file = open_file(share);
		if (file < 0)
			return STATUS_FAILED;
	}
	status = create(share);
	if (status == STATUS_OK && file >= 0)
		status = load(share, file);
	if (file >= 0)
		close(file);
	return status;
}

static int prepare_signals(struct share *share)
{
	sigset_t signals;

	signal(SIGPIPE, SIG_IGN);
	/* Reading in the background fails, then; it would stop the process. */
	signal(SIGTTIN, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	share->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (share->signals < 0)
		complain("cannot wait for signals: %s", strerror(errno));
	return share->signals < 0 ? STATUS_FAILED : STATUS_OK;
}

static int prepare_listener(struct share *share)
{
	struct rlimit files;

	/* Two descriptors a peer can be more than the soft limit has. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	share->listener = isth_listen(share->path, share->mode);
	if (share->listener < 0) {
		complain("cannot listen at '%s': %s", share->path,
			 isth_strerror(share->listener));
		return STATUS_FAILED;
	}
	if (fcntl(share->listener, F_SETFL, O_NONBLOCK) ||
	    lstat(share->path, &share->socket_file)) {
		complain("cannot listen at '%s': %s", share->path, strerror(errno));
		return STATUS_FAILED;
	}
	return STATUS_OK;
}

/* Remove the socket's file, unless somebody else's stands there by now. */
static void remove_socket(const struct share *share)
{
	struct stat now;

	if (!lstat(share->path, &now) && now.st_dev == share->socket_file.st_dev &&
	    now.st_ino == share->socket_file.st_ino)
		unlink(share->path);
}

static void announce(const struct share *share)
{
	char size[UNITS_MAX], rights[UNITS_MAX];

	printf("region %" PRIu64 ": %s, %s", (uint64_t)share->stat.object_id,
	       format_size(share->stat.size, size, sizeof(size)), kind_name(share->stat.kind));
	if (share->stat.home)
		printf(", home 0x%" PRIx64, (uint64_t)share->stat.home);
	say("; who connects to %s gets %s%s", share->path,
	    format_rights(share->peer_rights, rights, sizeof(rights)),
	    isatty(STDIN_FILENO) ? " (type help)" : "");
}

static int share_region(struct share *share)
{
	int status;

	status = prepare_region(share);
	if (status != STATUS_OK)
		return status;
	status = prepare_signals(share);
	if (status != STATUS_OK)
		return status;
	status = prepare_listener(share);
	if (status != STATUS_OK)
		return status;
	announce(share);
	run_loop(share);
	remove_socket(share);
	/* The lock stays taken: threads that still run must not print any more. */
	pthread_mutex_lock(&share->lock);
	isth_revoke(share->root, NULL);
	say("taken back from all, and ended");
	return STATUS_OK;
}

static int run(const struct command *self, int argc, char **argv)
{
	/* Static, because threads may outlive this call until the process ends. */
	static struct share share = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.last = &share.first,
		.mode = 0600,
		.peer_rights = ISTH_RIGHT_READ,
		.region = { .size = sizeof(share.region) },
	};
	bool isolated = false, lazy = false;
	const struct option options[] = {
		{ "size", 's', OPTION_SIZE, "SIZE", "how large: 64M, 1G; powers of 1024",
		  &share.region.bytes, &share.size_given },
		{ "isolated", 0, OPTION_FLAG, NULL,
		  "out of reach for ptrace, core dumps, swap and I/O", &isolated, NULL },
		{ "lazy", 0, OPTION_FLAG, NULL, "take memory at first touch, not now",
		  &lazy, NULL },
		{ "rights", 0, OPTION_RIGHTS, "RIGHTS",
		  "r or rw for each peer; also x exec, d derive, f freeze",
		  &share.peer_rights, NULL },
		{ "home", 0, OPTION_MAYBE_SIZE, "ADDRESS", "the same address in every process",
		  &share.region.home, &share.home_given },
		{ "file", 'f', OPTION_TEXT, "FILE", "begin with FILE's content (and size)",
		  &share.file, NULL },
		{ "mode", 0, OPTION_MODE, "MODE", "permissions of SOCKET, octal (0600)",
		  &share.mode, NULL },
		{ .name = NULL },
	};
	int status;

	status = command_parse(self, options, argc, argv, &share.path, 1, 1);
	if (status != PARSED)
		return status;
	if (!share.size_given && !share.file)
		return misuse("how large? --size or --file says it");
	if (share.size_given && !share.region.bytes)
		return misuse("--size: a region of no bytes is none");
	if (isolated && lazy)
		return misuse("--lazy does not go with --isolated");
	share.region.kind = isolated ? ISTH_REGION_ISOLATED : ISTH_REGION_PAGEABLE;
	share.region.flags = (lazy ? ISTH_REGION_LAZY : 0) |
			     (share.home_given ? ISTH_REGION_HOME : 0);
	return share_region(&share);
}

const struct command command_region_share = {
	.name = "region share",
	.arguments = "SOCKET --size SIZE [OPTION...]",
	.summary = "Make a region and share it with whoever connects",
	.details = "It stays until told to end, says who comes and goes, and obeys what is typed:\n"
		   "  list          who is attached\n"
		   "  freeze        end all writing, for good (also signal USR1)\n"
		   "  revoke WHO    take the region from WHO: a number, a pid, or all (USR2)\n"
		   "  quit          take it from all, and end (also TERM and INT)\n"
		   "\n"
		   "Each peer has a handle of its own until it hangs up. With isth_connect() and\n"
		   "isth_receive_handles() any program gets one: it comes with the first message.\n",
	.run = run,
};
