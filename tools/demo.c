// SPDX-License-Identifier: GPL-2.0-only
/*
 * isthmus demo: the whole story on real data, each line of it measured as it is
 * printed. The narrator is this process; three actors are others.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <isthmus.h>

#include "checksum.h"
#include "command.h"
#include "demo.h"
#include "output.h"
#include "units.h"

#define PATIENCE_SECONDS	60	/* for slow machines: emulated, with checks */
#define COLUMNS_MOST		100
#define FILE_BYTES_LEAST	(1 << 20)
#define FILE_BYTES_MOST		(64 << 20)
#define ISOLATED_BYTES_MOST	(1 << 20)
#define WARM_UP_ACCESSES	20000
#define STORES_AFTER_FREEZE	1000
#define LIST_NODES		10000
#define INDENT			7

enum { READER, WRITER, OTHER, ACTORS };

struct actor {
	pid_t pid;
	int socket;
	struct demo_meter *meter;
};

struct demo {
	int device;
	int listener;
	char directory[64];
	char socket_path[80];
	struct isth_info before;
	struct actor actors[ACTORS];
	int step;
	unsigned int checks;
	unsigned int failures;

	const char *file;
	void *content;			/* the file as read, for comparison */
	size_t bytes;
	uint32_t sum;
	int region;			/* steps 1 to 4: its first handle */
	struct isth_mapping view;	/* the narrator's own mapping of it */
	int reader_handle;
	int other_handle;
	int other_memfd;
};

/* ---- saying it ---- */

/* Print words of @text from column @indent on, in lines of the terminal's width. */
static void print_wrapped(const char *text, int indent)
{
	int columns = output_columns();
	int column = indent, length;

	if (columns > COLUMNS_MOST)
		columns = COLUMNS_MOST;
	while (*text) {
		length = strcspn(text, " ");
		if (column > indent && column + 1 + length > columns) {
			printf("\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			putchar(' ');
			column++;
		}
		printf("%.*s", length, text);
		column += length;
		text += length;
		text += *text == ' ';
	}
	putchar('\n');
}

static void print_marked(const char *mark, enum tone mark_tone, enum tone text_tone,
			 const char *format, va_list arguments)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, arguments);
	printf("%s%*s%s %s", tone(mark_tone), INDENT - 1, mark, tone(TONE_PLAIN),
	       tone(text_tone));
	print_wrapped(text, INDENT);
	printf("%s", tone(TONE_PLAIN));
	fflush(stdout);
}

/* A fact that was just tested. Returns whether it held. */
static bool check(struct demo *demo, bool holds, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static bool check(struct demo *demo, bool holds, const char *format, ...)
{
	va_list arguments;

	demo->checks++;
	demo->failures += !holds;
	va_start(arguments, format);
	print_marked(holds ? "ok" : "FAILED", holds ? TONE_GOOD : TONE_BAD, TONE_PLAIN, format,
		     arguments);
	va_end(arguments);
	return holds;
}

/* What stock Linux does in this place, just tested as well. */
static void contrast(struct demo *demo, bool holds, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void contrast(struct demo *demo, bool holds, const char *format, ...)
{
	va_list arguments;

	demo->checks++;
	demo->failures += !holds;
	va_start(arguments, format);
	print_marked(holds ? "" : "FAILED", holds ? TONE_PLAIN : TONE_BAD, TONE_FAINT, format,
		     arguments);
	va_end(arguments);
}

/* What an actor said. */
static void quote(const struct actor *actor, const char *sentence)
{
	printf("%*spid %d: \"%s\"\n", INDENT, "", (int)actor->pid, sentence);
}

/* Something that is no test: why one could not be made here. */
static void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void remark(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_marked("", TONE_PLAIN, TONE_FAINT, format, arguments);
	va_end(arguments);
}

/* Whether what a step stands on was done; when not, that is what failed. */
static bool done(struct demo *demo, int ret, const char *what)
{
	if (ret >= 0)
		return true;
	check(demo, false, "%s: %s", what, isth_strerror(ret));
	return false;
}

static void begin_step(struct demo *demo, const char *title, const char *text)
{
	printf("\n%s%3d %-10s%s %s\n", tone(TONE_STRONG), ++demo->step, title,
	       tone(TONE_PLAIN), text);
	fflush(stdout);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void nap(void)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	nanosleep(&pause, NULL);
}

/* Numbers as people read them; each call's text lives until the tenth after it. */
static const char *count_text(uint64_t count)
{
	static char texts[10][32];
	static unsigned int next;

	next = (next + 1) % ARRAY_SIZE(texts);
	return format_count(count, texts[next], sizeof(texts[next]));
}

static const char *time_text(uint64_t nanoseconds)
{
	static char texts[4][32];
	static unsigned int next;

	next = (next + 1) % ARRAY_SIZE(texts);
	if (nanoseconds < 10000000)
		snprintf(texts[next], sizeof(texts[next]), "%" PRIu64 " us",
			 (nanoseconds + 999) / 1000);
	else
		snprintf(texts[next], sizeof(texts[next]), "%" PRIu64 " ms",
			 (nanoseconds + 999999) / 1000000);
	return texts[next];
}

static const char *error_name(int error)
{
	const char *name = strerrorname_np(-error);

	return name ? name : "?";
}

/* ---- actors ---- */

static int order_with(struct actor *actor, const struct demo_order *order, int fd)
{
	return isth_send_handles(actor->socket, order, sizeof(*order), &fd, fd >= 0);
}

/* Wait for what @actor has to report; -EPIPE when it died. */
static int hear(struct actor *actor, struct demo_answer *answer)
{
	ssize_t received;

	do {
		received = isth_receive_handles(actor->socket, answer, sizeof(*answer), NULL, NULL);
	} while (received == -EINTR);
	if (received == -EAGAIN)
		return -ETIMEDOUT;
	if (received < 0)
		return (int)received;
	return received == sizeof(*answer) ? answer->error : -EPIPE;
}

static int ask(struct actor *actor, const struct demo_order *order, int fd,
	       struct demo_answer *answer)
{
	int ret = order_with(actor, order, fd);

	return ret ? ret : hear(actor, answer);
}

/* Hand over @handle, which the actor maps in @slot. */
static int give(struct actor *actor, uint32_t slot, int handle, bool writable,
		struct demo_answer *answer)
{
	const struct demo_order order = {
		.what = DEMO_TAKE, .slot = slot, .writable = writable, .is_region = true,
	};

	return ask(actor, &order, handle, answer);
}

static int give_memfd(struct actor *actor, uint32_t slot, int memfd, size_t bytes, bool writable,
		      struct demo_answer *answer)
{
	const struct demo_order order = {
		.what = DEMO_TAKE, .slot = slot, .writable = writable, .bytes = bytes,
	};

	return ask(actor, &order, memfd, answer);
}

static int simple(struct actor *actor, enum demo_what what, uint32_t slot, uint64_t bytes,
		  struct demo_answer *answer)
{
	const struct demo_order order = { .what = what, .slot = slot, .bytes = bytes };

	return ask(actor, &order, -1, answer);
}

static uint64_t accesses(const struct actor *actor)
{
	return __atomic_load_n(&actor->meter->done, __ATOMIC_SEQ_CST);
}

/* Wait until @actor made @more accesses; false when it does not. */
static bool wait_accesses(const struct actor *actor, uint64_t more)
{
	const uint64_t goal = accesses(actor) + more;
	const uint64_t deadline = now() + PATIENCE_SECONDS * 1000000000ULL;

	while (accesses(actor) < goal && now() < deadline)
		nap();
	return accesses(actor) >= goal;
}

/* Let @actor read or write on and on; it answers when that ends. */
static int start(struct actor *actor, enum demo_what what, uint32_t slot)
{
	const struct demo_order order = { .what = what, .slot = slot };
	int ret;

	memset(actor->meter, 0, sizeof(*actor->meter));
	ret = order_with(actor, &order, -1);
	if (ret)
		return ret;
	return wait_accesses(actor, WARM_UP_ACCESSES) ? 0 : -ETIMEDOUT;
}

static int stop(struct actor *actor, struct demo_answer *answer)
{
	__atomic_store_n(&actor->meter->stop, 1, __ATOMIC_SEQ_CST);
	return hear(actor, answer);
}

static int give_meter(struct actor *actor)
{
	const struct demo_order order = { .what = DEMO_METER };
	struct demo_answer answer;
	void *address;
	int memfd, ret;

	memfd = memfd_create("meter", MFD_CLOEXEC);
	if (memfd < 0)
		return -errno;
	ret = -ENOMEM;
	if (ftruncate(memfd, sizeof(*actor->meter)))
		goto out;
	address = mmap(NULL, sizeof(*actor->meter), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (address == MAP_FAILED)
		goto out;
	actor->meter = address;
	ret = ask(actor, &order, memfd, &answer);
out:
	close(memfd);
	return ret;
}

/* Start one process: another program image, which shares nothing with us but a socket. */
static int start_actor(struct demo *demo, struct actor *actor)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	struct pollfd listener = { .fd = demo->listener, .events = POLLIN };
	char name[] = "isthmus", command[] = "demo-actor";
	char *const arguments[] = { name, command, demo->socket_path, NULL };
	struct isth_peer peer;

	actor->pid = fork();
	if (actor->pid < 0)
		return -errno;
	if (!actor->pid) {
		execv("/proc/self/exe", arguments);
		_exit(STATUS_FAILED);
	}
	if (poll(&listener, 1, PATIENCE_SECONDS * 1000) != 1)
		return -ETIMEDOUT;
	actor->socket = isth_accept(demo->listener, &peer);
	if (actor->socket < 0)
		return actor->socket;
	/* The path is ours alone, yet the kernel knows better who came. */
	if (peer.pid != actor->pid)
		return -EPERM;
	setsockopt(actor->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return give_meter(actor);
}

static void end_actor(struct actor *actor)
{
	if (actor->pid > 0) {
		kill(actor->pid, SIGKILL);
		waitpid(actor->pid, NULL, 0);
	}
	if (actor->socket >= 0)
		close(actor->socket);
	if (actor->meter)
		munmap(actor->meter, sizeof(*actor->meter));
	*actor = (struct actor){ .socket = -1 };
}

static int start_actors(struct demo *demo)
{
	int ret = 0;
	int i;

	snprintf(demo->directory, sizeof(demo->directory), "/tmp/isthmus-demo.XXXXXX");
	if (!mkdtemp(demo->directory))
		return -errno;
	snprintf(demo->socket_path, sizeof(demo->socket_path), "%s/socket", demo->directory);
	demo->listener = isth_listen(demo->socket_path, 0600);
	if (demo->listener < 0)
		ret = demo->listener;
	for (i = 0; i < ACTORS && !ret; i++)
		ret = start_actor(demo, &demo->actors[i]);
	/* All are here; what happens from now on leaves nothing in the file system. */
	unlink(demo->socket_path);
	rmdir(demo->directory);
	if (demo->listener >= 0)
		close(demo->listener);
	return ret;
}

/* ---- data ---- */

static int read_file(const char *path, void **content, size_t *bytes)
{
	struct stat stat;
	int fd, ret = -EFBIG;
	ssize_t got;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &stat) || !S_ISREG(stat.st_mode) || stat.st_size < FILE_BYTES_LEAST ||
	    stat.st_size > FILE_BYTES_MOST)
		goto out;
	ret = -ENOMEM;
	*content = malloc(stat.st_size);
	if (!*content)
		goto out;
	for (*bytes = 0; *bytes < (size_t)stat.st_size; *bytes += got) {
		got = read(fd, (char *)*content + *bytes, stat.st_size - *bytes);
		if (got <= 0)
			break;
	}
	ret = 0;
	if (*bytes != (size_t)stat.st_size) {
		free(*content);
		ret = -EIO;
	}
out:
	close(fd);
	return ret;
}

/* A real file of a fitting size that is on most machines; at worst we are one. */
static int find_file(struct demo *demo)
{
	static const char *const candidates[] = {
		"/usr/bin/perl", "/usr/bin/python3", "/usr/bin/bash", "/bin/bash",
		"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/bin/gdb",
	};
	size_t i;

	if (demo->file)
		return read_file(demo->file, &demo->content, &demo->bytes);
	for (i = 0; i < ARRAY_SIZE(candidates); i++) {
		demo->file = candidates[i];
		if (!read_file(demo->file, &demo->content, &demo->bytes))
			return 0;
	}
	return -ENOENT;
}

/* A memfd with the same content: the peer that all contrasts are measured on. */
static int new_memfd(const struct demo *demo, size_t bytes)
{
	int memfd = memfd_create("demo", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t written = 0;
	ssize_t got;

	if (memfd < 0)
		return -errno;
	while (written < bytes) {
		got = write(memfd, (char *)demo->content + written, bytes - written);
		if (got <= 0) {
			close(memfd);
			return -ENOSPC;
		}
		written += got;
	}
	return memfd;
}

static int new_region(const struct demo *demo, uint32_t kind, size_t bytes,
		      struct isth_mapping *view)
{
	const struct isth_region_options options = {
		.size = sizeof(options), .kind = kind, .bytes = bytes,
	};
	int handle, ret;

	handle = isth_region_create(demo->device, &options);
	if (handle < 0)
		return handle;
	ret = isth_region_map(handle, NULL, view);
	if (ret) {
		close(handle);
		return ret;
	}
	memcpy(view->address, demo->content, bytes);
	return handle;
}

/* ---- 1: share ---- */

/* Derive a handle, give it to @actor, and tell whether it reads what we put there. */
static int share_with(struct demo *demo, struct actor *actor, int *handle)
{
	struct demo_answer answer;
	int ret;

	*handle = isth_derive(demo->region, ISTH_RIGHT_READ);
	if (*handle < 0)
		return *handle;
	ret = give(actor, 0, *handle, false, &answer);
	if (!ret)
		ret = simple(actor, DEMO_CHECKSUM, 0, demo->bytes, &answer);
	if (!ret && (answer.sigbus || answer.sum != demo->sum))
		ret = -EBADMSG;
	return ret;
}

static bool step_share(struct demo *demo)
{
	struct actor *reader = &demo->actors[READER];
	char size[UNITS_MAX];
	struct isth_stat stat = { 0 };
	int ret;

	begin_step(demo, "Share", "a file's content with another process, to read");
	demo->region = new_region(demo, ISTH_REGION_PAGEABLE, demo->bytes, &demo->view);
	if (!done(demo, demo->region, "making a region"))
		return false;
	isth_stat(demo->region, &stat);
	demo->sum = checksum(demo->content, demo->bytes);
	check(demo, checksum(demo->view.address, demo->bytes) == demo->sum,
	      "%s (%s) is in region %" PRIu64 " now: cksum %" PRIu32 ".", demo->file,
	      format_size(demo->bytes, size, sizeof(size)), (uint64_t)stat.object_id, demo->sum);
	ret = share_with(demo, reader, &demo->reader_handle);
	if (!done(demo, ret, "sharing it"))
		return false;
	return check(demo, true,
		     "pid %d got a read-only handle over a socket, and reads the same cksum.",
		     (int)reader->pid);
}

/* ---- 2: narrow ---- */

static void check_routes(struct demo *demo, const struct demo_answer *answer)
{
	static const char *const names[] = {
		[DEMO_ROUTE_MMAP] = "mmap writable",
		[DEMO_ROUTE_MPROTECT] = "mprotect writable",
		[DEMO_ROUTE_WRITEV] = "process_vm_writev",
		[DEMO_ROUTE_MEM] = "write to /proc/self/mem",
		[DEMO_ROUTE_REOPEN] = "reopen through /proc/self/fd",
	};
	int i;

	for (i = 0; i < DEMO_ROUTES; i++) {
		if (answer->routes[i])
			check(demo, true, "%-28s  refused: %s", names[i],
			      error_name(answer->routes[i]));
		else
			check(demo, false, "%-28s  let it write", names[i]);
	}
}

/* The same descriptor rights, on a memfd: opened read-only, and handed over. */
static int reopen_memfd(struct demo *demo, struct demo_answer *answer)
{
	char path[32];
	int memfd, narrow, ret;

	memfd = new_memfd(demo, demo->bytes);
	if (memfd < 0)
		return memfd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	narrow = open(path, O_RDONLY | O_CLOEXEC);
	ret = -errno;
	if (narrow < 0)
		goto out;
	ret = give_memfd(&demo->actors[READER], 1, narrow, demo->bytes, false, answer);
	close(narrow);
	if (!ret)
		ret = simple(&demo->actors[READER], DEMO_REOPEN, 1, 0, answer);
	if (!ret)
		ret = simple(&demo->actors[READER], DEMO_CHECKSUM, 1, demo->bytes, answer);
out:
	close(memfd);
	return ret;
}

static void step_narrow(struct demo *demo)
{
	struct actor *reader = &demo->actors[READER];
	struct demo_answer answer;
	char text[80];
	int ret;

	snprintf(text, sizeof(text), "pid %d tries to write to it all the same", (int)reader->pid);
	begin_step(demo, "Narrow", text);
	ret = simple(reader, DEMO_ATTACK, 0, 0, &answer);
	if (!done(demo, ret, "trying"))
		return;
	check_routes(demo, &answer);
	check(demo, checksum(demo->view.address, demo->bytes) == demo->sum,
	      "The content is as it was: cksum %" PRIu32 ".", demo->sum);
	ret = reopen_memfd(demo, &answer);
	contrast(demo, !ret && answer.sum != demo->sum,
		 ret ? "with memfd: reopening failed: %s" :
		 "with memfd: a read-only descriptor, reopened through /proc, wrote%s.",
		 ret ? isth_strerror(ret) : "");
	simple(reader, DEMO_DROP, 1, 0, &answer);
}

/* ---- 3: freeze ---- */

static void seal_memfd(struct demo *demo)
{
	struct actor *writer = &demo->actors[WRITER];
	struct demo_answer answer;
	int memfd, ret, error = 0;

	memfd = new_memfd(demo, demo->bytes);
	if (!done(demo, memfd, "with memfd: making one"))
		return;
	ret = give_memfd(writer, 1, memfd, demo->bytes, true, &answer);
	if (!ret)
		ret = start(writer, DEMO_WRITE_ON, 1);
	if (!ret && fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE))
		error = -errno;
	if (!ret)
		ret = stop(writer, &answer);
	contrast(demo, !ret && error == -EBUSY,
		 "with memfd: F_SEAL_WRITE while it writes: %s.",
		 error ? error_name(error) : ret ? isth_strerror(ret) : "accepted");
	simple(writer, DEMO_DROP, 1, 0, &answer);
	close(memfd);
}

/* The writer writes; freeze under it, and see that nothing changes any more. */
static void freeze_under(struct demo *demo, struct actor *writer)
{
	struct demo_answer answer;
	uint64_t began, took;
	uint32_t sum;
	int ret;

	sum = checksum(demo->view.address, demo->bytes);
	ret = wait_accesses(writer, WARM_UP_ACCESSES) ? 0 : -ETIMEDOUT;
	if (!done(demo, ret, "waiting for the writer"))
		return;
	check(demo, checksum(demo->view.address, demo->bytes) != sum,
	      "pid %d writes on and on: %s stores so far, and the cksum changes.",
	      (int)writer->pid, count_text(accesses(writer)));
	began = now();
	ret = isth_region_freeze(demo->region, NULL);
	took = now() - began;
	if (!done(demo, ret, "freezing"))
		return;
	demo->sum = checksum(demo->view.address, demo->bytes);
	ret = hear(writer, &answer);
	if (!done(demo, ret, "hearing from the writer"))
		return;
	check(demo, answer.sigbus, "Frozen in %s, after %s stores.", time_text(took),
	      count_text(answer.count));
	if (answer.sigbus)
		quote(writer, answer.sentence);
	ret = simple(writer, DEMO_TRY_STORES, 0, STORES_AFTER_FREEZE, &answer);
	check(demo, !ret && !answer.count && checksum(demo->view.address, demo->bytes) == demo->sum,
	      "Of %s more tries %s worked: cksum %" PRIu32 " before and after.",
	      count_text(STORES_AFTER_FREEZE), answer.count ? count_text(answer.count) : "none",
	      demo->sum);
}

static void step_freeze(struct demo *demo)
{
	struct actor *writer = &demo->actors[WRITER];
	struct demo_answer answer;
	int handle, ret;

	begin_step(demo, "Freeze", "what is being written, for good");
	handle = isth_derive(demo->region, ISTH_RIGHT_READ | ISTH_RIGHT_WRITE);
	if (!done(demo, handle, "deriving a handle"))
		return;
	ret = give(writer, 0, handle, true, &answer);
	close(handle);
	if (!ret)
		ret = start(writer, DEMO_WRITE_ON, 0);
	if (!done(demo, ret, "starting the writer"))
		return;
	freeze_under(demo, writer);
	seal_memfd(demo);
}

/* ---- 4: revoke ---- */

static void revoke_reader(struct demo *demo, struct actor *reader)
{
	struct isth_revoke_options revoked = { .size = sizeof(revoked) };
	uint64_t began, took, begun;
	struct demo_answer answer;
	int ret;

	began = now();
	ret = isth_revoke(demo->reader_handle, &revoked);
	took = now() - began;
	begun = __atomic_load_n(&reader->meter->begun, __ATOMIC_SEQ_CST);
	if (!done(demo, ret, "revoking"))
		return;
	ret = hear(reader, &answer);
	if (!done(demo, ret, "hearing from the reader"))
		return;
	check(demo, answer.sigbus, "Revoked in %s, after %s loads; SIGBUS came within %s.",
	      time_text(took), count_text(answer.count), time_text(answer.nanoseconds - began));
	if (answer.sigbus)
		quote(reader, answer.sentence);
	/* A load that began before the call returned may have been done before it, too. */
	check(demo, answer.count <= begun, "No load that began after the call returned was done.");
}

static void check_other_reads(struct demo *demo, struct actor *other)
{
	struct demo_answer answer;
	uint64_t loads = accesses(other);
	bool goes_on = wait_accesses(other, WARM_UP_ACCESSES);
	int ret;

	ret = stop(other, &answer);
	if (!ret && goes_on)
		ret = simple(other, DEMO_CHECKSUM, 0, demo->bytes, &answer);
	check(demo, goes_on && !ret && !answer.sigbus && answer.sum == demo->sum,
	      "pid %d, with a handle of its own, reads on: %s loads, then %s.",
	      (int)other->pid, count_text(loads), count_text(accesses(other)));
}

/* Nothing takes a memfd back: the owner lets go of it, and the reader reads on. */
static void abandon_memfd(struct demo *demo)
{
	struct actor *reader = &demo->actors[READER];
	struct demo_answer answer = { 0 };
	bool goes_on = false;
	uint64_t loads = 0;
	int memfd, ret;

	memfd = new_memfd(demo, demo->bytes);
	if (!done(demo, memfd, "with memfd: making one"))
		return;
	ret = give_memfd(reader, 1, memfd, demo->bytes, false, &answer);
	if (!ret)
		ret = start(reader, DEMO_READ_ON, 1);
	close(memfd);
	if (!ret) {
		loads = accesses(reader);
		goes_on = wait_accesses(reader, WARM_UP_ACCESSES);
		ret = stop(reader, &answer);
	}
	contrast(demo, !ret && goes_on,
		 "with memfd: the owner closed it; pid %d reads on: %s more loads.",
		 (int)reader->pid, count_text(answer.count - loads));
	simple(reader, DEMO_DROP, 1, 0, &answer);
}

static void step_revoke(struct demo *demo)
{
	struct actor *reader = &demo->actors[READER], *other = &demo->actors[OTHER];
	int ret;

	begin_step(demo, "Revoke", "one of two handles, while both processes read");
	ret = share_with(demo, other, &demo->other_handle);
	if (!ret)
		ret = start(other, DEMO_READ_ON, 0);
	if (!ret)
		ret = start(reader, DEMO_READ_ON, 0);
	if (!done(demo, ret, "starting the readers"))
		return;
	revoke_reader(demo, reader);
	check_other_reads(demo, other);
	abandon_memfd(demo);
}

/* ---- 5: isolate ---- */

/* What a debugger would do; both return zero or a negative errno. */
static int peek_vm(pid_t pid, uint64_t address, void *data, size_t bytes)
{
	const struct iovec to = { .iov_base = data, .iov_len = bytes };
	const struct iovec from = { .iov_base = (void *)(uintptr_t)address, .iov_len = bytes };
	ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);

	if (got < 0)
		return -errno;
	return (size_t)got == bytes ? 0 : -EIO;
}

static int peek_mem(pid_t pid, uint64_t address, void *data, size_t bytes)
{
	char path[32];
	ssize_t got;
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = pread(fd, data, bytes, (off_t)address);
	if (got < 0)
		ret = -errno;
	else if ((size_t)got != bytes)
		ret = -EIO;
	close(fd);
	return ret;
}

/* One way in: refused for the isolated region, open for the memfd. */
static void check_peek(struct demo *demo, const char *route, int region_error)
{
	if (region_error)
		check(demo, true, "%-28s  refused to uid %u: %s", route, (unsigned int)getuid(),
		      error_name(region_error));
	else
		check(demo, false, "%-28s  let uid %u read it", route, (unsigned int)getuid());
}

static void peek_isolated(struct demo *demo, pid_t pid, uint64_t region, uint64_t memfd)
{
	char from_vm[64] = { 0 }, from_mem[64] = { 0 }, ours[64];
	int vm, mem;

	vm = peek_vm(pid, memfd, from_vm, sizeof(from_vm));
	mem = peek_mem(pid, memfd, from_mem, sizeof(from_mem));
	if (vm == -EPERM || mem == -EACCES || mem == -EPERM) {
		remark("This user may not look into pid %d at all here (%s), so there is nothing to show.",
		       (int)pid, error_name(vm ? vm : mem));
		return;
	}
	check_peek(demo, "process_vm_readv", peek_vm(pid, region, ours, sizeof(ours)));
	check_peek(demo, "read of /proc/PID/mem", peek_mem(pid, region, ours, sizeof(ours)));
	contrast(demo, !vm && !mem && !memcmp(from_vm, demo->content, sizeof(from_vm)) &&
		 !memcmp(from_mem, demo->content, sizeof(from_mem)),
		 "with memfd: both %s.", vm || mem ? "should read it, and did not" :
		 "read its content");
}

static void step_isolate(struct demo *demo)
{
	struct actor *other = &demo->actors[OTHER];
	size_t bytes = demo->bytes < ISOLATED_BYTES_MOST ? demo->bytes : ISOLATED_BYTES_MOST;
	struct isth_mapping view;
	struct demo_answer region, memory, answer;
	int handle, memfd, ret;

	begin_step(demo, "Isolate", "memory that only who maps it can reach");
	if (!(demo->before.features & ISTH_FEATURE_ISOLATED)) {
		remark("This module has no isolated regions.");
		return;
	}
	handle = new_region(demo, ISTH_REGION_ISOLATED, bytes, &view);
	if (!done(demo, handle, "making an isolated region"))
		return;
	ret = give(other, 1, handle, false, &region);
	if (!ret)
		ret = simple(other, DEMO_CHECKSUM, 1, bytes, &answer);
	check(demo, !ret && !answer.sigbus && answer.sum == checksum(demo->content, bytes),
	      "pid %d maps an isolated region, and reads it: cksum %" PRIu32 ".", (int)other->pid,
	      ret ? 0 : (uint32_t)answer.sum);
	memfd = new_memfd(demo, bytes);
	if (done(demo, memfd, "with memfd: making one")) {
		ret = give_memfd(other, 2, memfd, bytes, false, &memory);
		if (done(demo, ret, "with memfd: sharing it"))
			peek_isolated(demo, other->pid, region.address, memory.address);
		close(memfd);
	}
	simple(other, DEMO_DROP, 1, 0, &answer);
	simple(other, DEMO_DROP, 2, 0, &answer);
	isth_region_unmap(&view);
	close(handle);
}

/* ---- 6: home ---- */

/* Link the nodes in an order in which no address follows its neighbour's. */
static uint64_t build_list(struct demo_node *nodes, size_t count)
{
	const size_t stride = 7919;	/* a prime that does not divide the count */
	uint64_t sum = 0;
	size_t at = 0, i;

	for (i = 0; i < count; i++) {
		nodes[at].value = i * i;
		sum += nodes[at].value;
		nodes[at].next = i + 1 < count ? &nodes[(at + stride) % count] : NULL;
		at = (at + stride) % count;
	}
	return sum;
}

static void compare_addresses(struct demo *demo, struct actor *actor, size_t bytes)
{
	struct demo_answer answer;
	void *here;
	int memfd, ret;

	memfd = new_memfd(demo, bytes);
	if (!done(demo, memfd, "with memfd: making one"))
		return;
	here = mmap(NULL, bytes, PROT_READ, MAP_SHARED, memfd, 0);
	ret = give_memfd(actor, 2, memfd, bytes, false, &answer);
	close(memfd);
	if (!done(demo, ret, "with memfd: sharing it"))
		return;
	if ((uintptr_t)here == answer.address)
		remark("with memfd: the address is the same by chance (no address randomisation).");
	else
		contrast(demo, here != MAP_FAILED,
			 "with memfd: %p here, 0x%" PRIx64 " there: pointers break.",
			 here, answer.address);
	munmap(here, bytes);
	simple(actor, DEMO_DROP, 2, 0, &answer);
}

static void step_home(struct demo *demo)
{
	const size_t bytes = LIST_NODES * sizeof(struct demo_node);
	const struct isth_region_options options = {
		.size = sizeof(options), .bytes = bytes, .flags = ISTH_REGION_HOME,
	};
	struct actor *other = &demo->actors[OTHER];
	struct isth_mapping view;
	struct demo_answer answer;
	uint64_t sum, address;
	int handle, ret;

	begin_step(demo, "Home", "an address that is the same in every process");
	handle = isth_region_create(demo->device, &options);
	if (!done(demo, handle, "making a region with a home"))
		return;
	ret = isth_region_map(handle, NULL, &view);
	if (!done(demo, ret, "mapping it"))
		goto close_handle;
	sum = build_list(view.address, LIST_NODES);
	ret = give(other, 1, handle, false, &answer);
	if (!done(demo, ret, "sharing it"))
		goto unmap;
	address = answer.address;
	ret = simple(other, DEMO_WALK, 1, 0, &answer);
	check(demo, !ret && !answer.sigbus && address == (uintptr_t)view.address &&
	      answer.count == LIST_NODES && answer.sum == sum,
	      "A linked list at %p here is at 0x%" PRIx64 " in pid %d, which followed its plain pointers through %s of %s nodes; their sum is %s.",
	      view.address, address, (int)other->pid, count_text(answer.count),
	      count_text(LIST_NODES), answer.sum == sum ? "right" : "wrong");
	simple(other, DEMO_DROP, 1, 0, &answer);
	compare_addresses(demo, other, bytes);
unmap:
	isth_region_unmap(&view);
close_handle:
	close(handle);
}

/* ---- 7: nothing stays ---- */

/* Wait until the counts are @regions, @handles and @mappings above those at the start. */
static bool settled(const struct demo *demo, uint64_t regions, uint64_t handles,
		    uint64_t mappings, struct isth_info *info)
{
	const uint64_t deadline = now() + PATIENCE_SECONDS * 1000000000ULL / 6;

	while (!isth_info(demo->device, info)) {
		if (info->regions == demo->before.regions + regions &&
		    info->handles == demo->before.handles + handles &&
		    info->mappings == demo->before.mappings + mappings)
			return true;
		if (now() > deadline)
			break;
		nap();
	}
	return false;
}

static const char *counts(const struct isth_info *info)
{
	static char text[120];

	snprintf(text, sizeof(text), "%s region%s, %s handle%s, %s mapping%s",
		 count_text(info->regions), info->regions == 1 ? "" : "s",
		 count_text(info->handles), info->handles == 1 ? "" : "s",
		 count_text(info->mappings), info->mappings == 1 ? "" : "s");
	return text;
}

static void step_death(struct demo *demo)
{
	struct actor *other = &demo->actors[OTHER];
	pid_t pid = other->pid;
	struct isth_mapping view;
	struct demo_answer answer;
	struct isth_info held = { 0 }, left = { 0 };
	uint64_t began;
	int handle, ret, i;
	char size[UNITS_MAX];
	bool gone;

	begin_step(demo, "Death", "kill -9 leaves nothing behind");
	handle = new_region(demo, ISTH_REGION_PAGEABLE, demo->bytes, &view);
	if (!done(demo, handle, "making a region"))
		return;
	ret = give(other, 3, handle, true, &answer);
	isth_region_unmap(&view);
	close(handle);
	if (!done(demo, ret, "giving it away"))
		return;
	isth_info(demo->device, &held);
	began = now();
	end_actor(other);
	/* Its last region goes with it: it alone had that one. */
	gone = settled(demo, held.regions - demo->before.regions - 1,
		       held.handles - demo->before.handles - 1,
		       held.mappings - demo->before.mappings - 2, &left);
	check(demo, gone, "pid %d, sole holder of %s, is killed: all is free %s later.",
	      (int)pid, format_size(demo->bytes, size, sizeof(size)), time_text(now() - began));
	for (i = 0; i < ACTORS; i++)
		end_actor(&demo->actors[i]);
	isth_region_unmap(&demo->view);
	close(demo->reader_handle);
	close(demo->other_handle);
	close(demo->region);
	gone = settled(demo, 0, 0, 0, &left);
	check(demo, gone, "All closed: %s alive, as at the start.",
	      counts(&left));
}

/* ---- the whole ---- */

static void title(const struct demo *demo)
{
	struct utsname system;

	uname(&system);
	printf("%sisthmus: memory that is shared, and can be narrowed, frozen and taken back%s\n",
	       tone(TONE_STRONG), tone(TONE_PLAIN));
	printf("Linux %s, uid %u, isthmus ABI %" PRIu32 ". Each line is measured as it prints.\n",
	       system.release, (unsigned int)getuid(), (uint32_t)demo->before.abi_version);
}

static int closing_line(const struct demo *demo)
{
	if (demo->failures) {
		printf("\n%s%u of %u checks FAILED.%s\n", tone(TONE_BAD), demo->failures,
		       demo->checks, tone(TONE_PLAIN));
		return STATUS_FAILED;
	}
	printf("\n%sAll %u checks held.%s Next: isthmus region share --help\n", tone(TONE_GOOD),
	       demo->checks, tone(TONE_PLAIN));
	return STATUS_OK;
}

static int tell(struct demo *demo)
{
	int ret, i;

	title(demo);
	ret = start_actors(demo);
	if (ret) {
		complain("cannot start the other processes: %s", isth_strerror(ret));
	} else if (step_share(demo)) {
		step_narrow(demo);
		step_freeze(demo);
		step_revoke(demo);
		step_isolate(demo);
		step_home(demo);
		step_death(demo);
	}
	for (i = 0; i < ACTORS; i++)
		end_actor(&demo->actors[i]);
	return ret ? STATUS_FAILED : closing_line(demo);
}

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option none = { .name = NULL };
	struct demo demo = { .listener = -1 };
	int status, ret, i;

	status = command_parse(self, &none, argc, argv, &demo.file, 0, 1);
	if (status != PARSED)
		return status;
	for (i = 0; i < ACTORS; i++)
		demo.actors[i].socket = -1;
	demo.device = open_device();
	if (demo.device < 0)
		return STATUS_UNAVAILABLE;
	ret = isth_info(demo.device, &demo.before);
	if (ret) {
		complain("/dev/isthmus does not answer: %s", isth_strerror(ret));
		return STATUS_FAILED;
	}
	ret = find_file(&demo);
	if (ret == -EFBIG)
		return misuse("'%s' is no file of 1 MiB to 64 MiB", demo.file);
	if (ret) {
		complain("cannot read '%s': %s", demo.file, isth_strerror(ret));
		return STATUS_FAILED;
	}
	status = tell(&demo);
	free(demo.content);
	close(demo.device);
	return status;
}

const struct command command_demo = {
	.name = "demo",
	.arguments = "[FILE]",
	.summary = "Tell the whole story on real data, each line a checked fact",
	.details = "FILE is what is shared; without it, some program of several MiB that is there.\n",
	.run = run,
};
