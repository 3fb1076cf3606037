// SPDX-License-Identifier: GPL-2.0-only
/*
 * isthmus region: read, write, stat and tree of a region that somebody shares.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attach.h"
#include "command.h"
#include "fault.h"
#include "output.h"
#include "tree.h"
#include "units.h"

#define PIECE_BYTES	(1U << 20)

/* A part of a region mapped here, and the bytes that were asked for in it. */
struct part {
	struct isth_mapping mapping;
	char *first;
	size_t bytes;
};

/* Map @bytes from @offset on; whole pages around them are what is mapped. */
static int map_part(const struct attachment *attachment, int protection, uint64_t offset,
		    uint64_t bytes, struct part *part)
{
	uint64_t before = offset % sysconf(_SC_PAGESIZE);
	struct isth_map_options options = {
		.size = sizeof(options),
		.protection = protection,
		.offset = offset - before,
		.bytes = bytes + before,
	};
	int ret;

	ret = isth_region_map(attachment->handle, &options, &part->mapping);
	if (ret == -EKEYREVOKED) {
		complain("the region was revoked");
		return STATUS_TAKEN;
	}
	if (ret == -EPERM) {
		complain("the region is frozen: nobody can write to it any more");
		return STATUS_TAKEN;
	}
	if (ret == -EACCES) {
		complain("the handle that was handed out has no right to %s",
			 protection & PROT_WRITE ? "write" : "read");
		return STATUS_FAILED;
	}
	if (ret) {
		complain("cannot map the region: %s", isth_strerror(ret));
		return STATUS_FAILED;
	}
	part->first = (char *)part->mapping.address + before;
	part->bytes = bytes;
	return STATUS_OK;
}

/* See that @offset and @length lie in the region; no length means up to its end. */
static int check_range(const struct isth_stat *stat, uint64_t offset, bool length_given,
		       uint64_t *length)
{
	if (offset > stat->size || (length_given && *length > stat->size - offset))
		return misuse("that is beyond the region's end: it has %" PRIu64 " bytes",
			      (uint64_t)stat->size);
	if (!length_given)
		*length = stat->size - offset;
	return STATUS_OK;
}

static bool write_all(int fd, const char *data, size_t bytes)
{
	ssize_t written;

	while (bytes) {
		written = write(fd, data, bytes);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		data += written;
		bytes -= written;
	}
	return true;
}

/* ---- read ---- */

static int copy_out(const struct attachment *attachment, const struct part *part, int output,
		    const char *name)
{
	char doing[64];
	size_t done, piece;
	char *buffer;
	int status = STATUS_OK;

	buffer = malloc(PIECE_BYTES);
	if (!buffer) {
		complain("not enough memory");
		return STATUS_FAILED;
	}
	for (done = 0; done < part->bytes && status == STATUS_OK; done += piece) {
		piece = part->bytes - done < PIECE_BYTES ? part->bytes - done : PIECE_BYTES;
		if (fault_copy(buffer, part->first + done, piece)) {
			snprintf(doing, sizeof(doing), "after %zu bytes were read", done);
			status = attach_lost(attachment, doing);
		} else if (!write_all(output, buffer, piece)) {
			complain("cannot write to %s: %s", name, strerror(errno));
			status = STATUS_FAILED;
		}
	}
	free(buffer);
	return status;
}

static int read_to(const struct attachment *attachment, uint64_t offset, uint64_t length,
		   const char *file)
{
	int output = STDOUT_FILENO;
	struct part part;
	int status;

	if (length) {
		status = map_part(attachment, PROT_READ, offset, length, &part);
		if (status != STATUS_OK)
			return status;
	}
	status = STATUS_FAILED;
	if (file) {
		output = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (output < 0) {
			complain("cannot write to '%s': %s", file, strerror(errno));
			goto unmap;
		}
	}
	status = STATUS_OK;
	if (length)
		status = copy_out(attachment, &part, output, file ? file : "standard output");
	/* Some file systems tell of a full disk only now. */
	if (file && close(output) && status == STATUS_OK) {
		complain("cannot write to '%s': %s", file, strerror(errno));
		status = STATUS_FAILED;
	}
unmap:
	if (length)
		isth_region_unmap(&part.mapping);
	return status;
}

static int run_read(const struct command *self, int argc, char **argv)
{
	const char *path, *file = NULL;
	uint64_t offset = 0, length = 0;
	bool length_given = false;
	const struct option options[] = {
		{ "offset", 0, OPTION_SIZE, "OFFSET", "begin at this byte", &offset, NULL },
		{ "length", 'n', OPTION_SIZE, "LENGTH", "read so many bytes, not all", &length,
		  &length_given },
		{ "output", 'o', OPTION_TEXT, "FILE", "write to FILE, not to standard output",
		  &file, NULL },
		{ .name = NULL },
	};
	struct attachment attachment;
	int status;

	status = command_parse(self, options, argc, argv, &path, 1, 1);
	if (status != PARSED)
		return status;
	if (!file && isatty(STDOUT_FILENO))
		return misuse("a region's bytes do not suit a terminal: use -o FILE or a pipe");
	status = attach(path, &attachment);
	if (status != STATUS_OK)
		return status;
	status = check_range(&attachment.stat, offset, length_given, &length);
	if (status == STATUS_OK)
		status = read_to(&attachment, offset, length, file);
	detach(&attachment);
	return status;
}

const struct command command_region_read = {
	.name = "region read",
	.arguments = "SOCKET [--offset OFFSET] [--length LENGTH] [-o FILE]",
	.summary = "Copy a shared region's bytes to standard output or a file",
	.run = run_read,
};

/* ---- write ---- */

/* Wait until there is input; false when the handle is revoked meanwhile. */
static bool wait_input(const struct attachment *attachment)
{
	struct pollfd polled[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = attachment->handle },
	};

	/* Where poll fails, read() says what is wrong. */
	while (poll(polled, ARRAY_SIZE(polled), -1) < 0) {
		if (errno != EINTR)
			return true;
	}
	return !polled[1].revents;
}

static int copy_in(const struct attachment *attachment, const struct part *part)
{
	char doing[64];
	size_t done = 0;
	ssize_t piece;
	char *buffer;
	int status = STATUS_OK;

	buffer = malloc(PIECE_BYTES);
	if (!buffer) {
		complain("not enough memory");
		return STATUS_FAILED;
	}
	while (status == STATUS_OK) {
		snprintf(doing, sizeof(doing), "after %zu bytes were written", done);
		if (!wait_input(attachment)) {
			status = attach_lost(attachment, doing);
			break;
		}
		/* As it comes: who waits for the first bytes shall not wait for the last. */
		piece = read(STDIN_FILENO, buffer, PIECE_BYTES);
		if (piece < 0 && errno == EINTR)
			continue;
		if (piece < 0) {
			complain("cannot read standard input: %s", strerror(errno));
			status = STATUS_FAILED;
		}
		if (piece <= 0)
			break;
		if ((size_t)piece > part->bytes - done) {
			complain("the input is longer than the %zu bytes up to the region's end, of which %zu are written",
				 part->bytes, done);
			status = STATUS_FAILED;
		} else if (fault_copy(part->first + done, buffer, piece)) {
			status = attach_lost(attachment, doing);
		}
		done += piece;
	}
	free(buffer);
	return status;
}

static int run_write(const struct command *self, int argc, char **argv)
{
	uint64_t offset = 0, length = 0;
	const struct option options[] = {
		{ "offset", 0, OPTION_SIZE, "OFFSET", "begin at this byte", &offset, NULL },
		{ .name = NULL },
	};
	struct attachment attachment;
	struct part part;
	const char *path;
	int status;

	status = command_parse(self, options, argc, argv, &path, 1, 1);
	if (status != PARSED)
		return status;
	status = attach(path, &attachment);
	if (status != STATUS_OK)
		return status;
	status = check_range(&attachment.stat, offset, false, &length);
	if (status != STATUS_OK)
		goto out;
	if (!length) {
		status = misuse("no byte can be written at the region's very end");
		goto out;
	}
	status = map_part(&attachment, PROT_READ | PROT_WRITE, offset, length, &part);
	if (status != STATUS_OK)
		goto out;
	status = copy_in(&attachment, &part);
	isth_region_unmap(&part.mapping);
out:
	detach(&attachment);
	return status;
}

const struct command command_region_write = {
	.name = "region write",
	.arguments = "SOCKET [--offset OFFSET] < DATA",
	.summary = "Copy standard input into a shared region",
	.run = run_write,
};

/* ---- stat ---- */

static void show_stat(const struct isth_stat *stat, bool as_json)
{
	char rights[UNITS_MAX], state[UNITS_MAX];
	const struct field fields[] = {
		{ FIELD_NUMBER, "object_id", "region", stat->object_id, NULL },
		{ FIELD_TEXT, "kind", "kind", 0, kind_name(stat->kind) },
		{ FIELD_SIZE, "size", "size", stat->size, NULL },
		{ FIELD_ADDRESS, "home", "home address", stat->home, NULL },
		{ FIELD_WORDS, "state", "state", 0,
		  format_state(stat->state, state, sizeof(state)) },
		{ FIELD_NUMBER, "handle_id", "this handle", stat->handle_id, NULL },
		{ FIELD_WORDS, "rights", "its rights", 0,
		  format_rights(stat->rights, rights, sizeof(rights)) },
		{ FIELD_NUMBER, "mappings", "its mappings", stat->mappings, NULL },
		{ FIELD_NUMBER, "descendants", "handles below it", stat->descendants, NULL },
		{ FIELD_NUMBER, "subtree_mappings", "mappings with those",
		  stat->subtree_mappings, NULL },
	};
	struct json json = { .file = stdout };

	if (!as_json) {
		fields_print(stdout, fields, ARRAY_SIZE(fields));
		return;
	}
	json_open(&json, NULL, '{');
	fields_json(&json, fields, ARRAY_SIZE(fields));
	json_close(&json, '}');
}

static int run_stat(const struct command *self, int argc, char **argv)
{
	bool as_json = false;
	const struct option options[] = {
		{ "json", 'j', OPTION_FLAG, NULL, "print one JSON object", &as_json, NULL },
		{ .name = NULL },
	};
	struct attachment attachment;
	const char *path;
	int status;

	status = command_parse(self, options, argc, argv, &path, 1, 1);
	if (status != PARSED)
		return status;
	status = attach(path, &attachment);
	if (status != STATUS_OK)
		return status;
	show_stat(&attachment.stat, as_json);
	detach(&attachment);
	return STATUS_OK;
}

const struct command command_region_stat = {
	.name = "region stat",
	.arguments = "SOCKET [--json]",
	.summary = "Show what region is shared, and with which rights",
	.run = run_stat,
};

/* ---- tree ---- */

static void show_tree_row(struct table *table, const char *prefix, const struct share_node *node)
{
	char text[UNITS_MAX];

	table_cell(table, "%s%" PRIu64 "%s", prefix, node->handle_id,
		   node->flags & SHARE_NODE_ASKER ? " (this command)" : "");
	table_cell(table, node->number ? "%" PRIu32 : "-", node->number);
	table_cell(table, "%" PRId32, node->pid);
	table_cell(table, "%" PRIu32, node->uid);
	table_cell(table, "%s", printable(node->command, text, sizeof(text)));
	table_cell(table, "%s", format_letters(node->rights, text, sizeof(text)));
	table_cell(table, "%" PRIu64, node->mappings);
	table_cell(table, "%s", format_state(node->state, text, sizeof(text)));
}

/* A row for handles that only the kernel knows of: peers derived them. */
static void show_derived_row(struct table *table, const char *prefix, uint64_t derived)
{
	size_t column;

	table_cell(table, "%s%" PRIu64 " derived", prefix, derived);
	for (column = 1; column < table->columns; column++)
		table_cell(table, "%s", "");
}

static void show_tree(const struct share_tree *tree)
{
	struct table table = {
		.columns = 8,
		.titles = { "HANDLE", "WHO", "PID", "UID", "COMMAND", "RIGHTS", "MAPPINGS",
			    "STATE" },
	};
	unsigned int depths[2 * ARRAY_SIZE(tree->nodes)];
	char prefix[TREE_PREFIX_MAX], text[UNITS_MAX];
	bool utf8 = output_is_utf8();
	size_t rows = 0, row = 0, i;

	for (i = 0; i < tree->count; i++) {
		depths[rows++] = i ? 1 : 0;
		if (i && tree->nodes[i].descendants)
			depths[rows++] = 2;
	}
	for (i = 0; i < tree->count; i++) {
		show_tree_row(&table, tree_prefix(depths, rows, row++, utf8, prefix),
			      &tree->nodes[i]);
		if (i && tree->nodes[i].descendants)
			show_derived_row(&table, tree_prefix(depths, rows, row++, utf8, prefix),
					 tree->nodes[i].descendants);
	}
	printf("region %" PRIu64 ": %s, %s", tree->object_id,
	       format_size(tree->size, text, sizeof(text)), kind_name(tree->kind));
	if (tree->home)
		printf(", home 0x%" PRIx64, tree->home);
	printf("\n");
	table_print(stdout, &table);
	table_free(&table);
}

static void json_node(struct json *json, const struct share_node *node)
{
	char text[UNITS_MAX];

	json_number(json, "handle_id", node->handle_id);
	json_number(json, "pid", node->pid);
	json_number(json, "uid", node->uid);
	json_text(json, "command", node->command);
	json_words(json, "rights", format_rights(node->rights, text, sizeof(text)));
	json_words(json, "state", format_state(node->state, text, sizeof(text)));
	json_number(json, "mappings", node->mappings);
	json_number(json, "descendants", node->descendants);
}

static void show_tree_json(const struct share_tree *tree)
{
	struct json json = { .file = stdout };
	size_t i;

	json_open(&json, NULL, '{');
	json_number(&json, "object_id", tree->object_id);
	json_text(&json, "kind", kind_name(tree->kind));
	json_number(&json, "size", tree->size);
	json_address(&json, "home", tree->home);
	json_open(&json, "handle", '{');
	json_node(&json, &tree->nodes[0]);
	json_open(&json, "children", '[');
	for (i = 1; i < tree->count; i++) {
		json_open(&json, NULL, '{');
		json_number(&json, "peer", tree->nodes[i].number);
		json_node(&json, &tree->nodes[i]);
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_close(&json, '}');
	json_close(&json, '}');
}

static int run_tree(const struct command *self, int argc, char **argv)
{
	bool as_json = false;
	const struct option options[] = {
		{ "json", 'j', OPTION_FLAG, NULL, "print one JSON object", &as_json, NULL },
		{ .name = NULL },
	};
	struct attachment attachment;
	struct share_tree tree;
	const char *path;
	size_t i;
	int status;

	status = command_parse(self, options, argc, argv, &path, 1, 1);
	if (status != PARSED)
		return status;
	status = attach(path, &attachment);
	if (status != STATUS_OK)
		return status;
	status = attach_ask_tree(&attachment, &tree);
	detach(&attachment);
	if (status != STATUS_OK)
		return status;
	for (i = 0; i < tree.count; i++)
		tree.nodes[i].command[sizeof(tree.nodes[i].command) - 1] = '\0';
	if (as_json)
		show_tree_json(&tree);
	else
		show_tree(&tree);
	return STATUS_OK;
}

const struct command command_region_tree = {
	.name = "region tree",
	.arguments = "SOCKET [--json]",
	.summary = "Draw who has which handle of a shared region",
	.run = run_tree,
};

/* ---- region ---- */

static const struct command *const commands[] = {
	&command_region_share,
	&command_region_read,
	&command_region_write,
	&command_region_stat,
	&command_region_tree,
	NULL,
};

static int run(const struct command *self, int argc, char **argv)
{
	(void)self;
	if (!argc)
		return misuse("which of share, read, write, stat or tree?");
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
		printf("Usage: isthmus region COMMAND SOCKET [ARGUMENT...]\n\n");
		command_list(commands);
		return STATUS_OK;
	}
	return command_dispatch("isthmus region", commands, argc, argv);
}

const struct command command_region = {
	.name = "region",
	.arguments = "COMMAND SOCKET [ARGUMENT...]",
	.summary = "Share a region, and work with one that is shared",
	.run = run,
};
