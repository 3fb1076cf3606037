/* SPDX-License-Identifier: GPL-2.0-only */
/* A memory cgroup for the length of a test. */
#ifndef CGROUP_H
#define CGROUP_H

#include "isthmus_test.h"

struct cgroup {
	char path[128];
};

static inline int cgroup_write(const struct cgroup *group, const char *file, const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", group->path, file);
	return file_write(path, text);
}

static inline long long cgroup_read(const struct cgroup *group, const char *file,
				    const char *key)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", group->path, file);
	return file_number(path, key);
}

/* Make one with at most @limit bytes; NULL, or why that cannot be done here. */
static inline const char *cgroup_make(struct cgroup *group, unsigned long long limit)
{
	const char *parent = getenv("ISTHMUS_CGROUP");
	char text[1024];

	if (!parent)
		parent = "/sys/fs/cgroup";
	snprintf(text, sizeof(text), "%s/cgroup.subtree_control", parent);
	if (file_write(text, "+memory"))
		return "needs a cgroup of one's own with the memory controller in ISTHMUS_CGROUP";
	snprintf(group->path, sizeof(group->path), "%s/test-%d", parent, getpid());
	if (mkdir(group->path, 0755) && errno != EEXIST)
		return "cannot make a memory cgroup";
	if (limit) {
		snprintf(text, sizeof(text), "%llu", limit);
		if (cgroup_write(group, "memory.max", text))
			return "cannot limit a memory cgroup";
		/* Absent where the kernel has no swap accounting. */
		cgroup_write(group, "memory.swap.max", "0");
	}
	return NULL;
}

/* Move the calling process into it. */
static inline int cgroup_enter(const struct cgroup *group)
{
	return cgroup_write(group, "cgroup.procs", "0");
}

static inline void cgroup_remove(const struct cgroup *group)
{
	uint64_t end = now_ms() + 2000;

	while (rmdir(group->path) && errno == EBUSY && now_ms() < end)
		sleep_ms(5);
}

#endif /* CGROUP_H */
