/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Handles and the objects they lead to: a tree of open file descriptions with
 * shrinking rights, whose every subtree can be cut off.
 *
 * Order of locks, outermost first:
 *
 *	object->change_lock	revoke, freeze
 *	mmap_lock
 *	object->tree_lock
 *	what the kind of object adds (see there), page lock, i_mmap_rwsem
 *
 * Nothing is copied from or to user space under any of them.
 */
#ifndef ISTH_HANDLE_H
#define ISTH_HANDLE_H

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/seq_file.h>
#include <linux/wait.h>
#include <uapi/linux/isthmus.h>

struct isth_handle;
struct poll_table_struct;
struct isth_object;

/**
 * struct isth_request - one request of the border
 * @command: its full code, from which number, size and direction come
 * @size_min: the size of the structure's first version
 * @run: carries it out on the structure, which is in kernel memory
 */
struct isth_request {
	unsigned int command;
	unsigned int size_min;
	long (*run)(struct isth_handle *handle, void *argument);
};

/* @last is the last field of the structure's first version. */
#define ISTH_REQUEST(command_, type, last, run_) {			\
	.command = (command_),						\
	.size_min = offsetofend(type, last),				\
	.run = (run_),							\
}

/**
 * struct isth_object_ops - what a type of object adds to handles
 * @type: ISTH_TYPE_*
 * @type_name: as fdinfo shows it
 * @link_name: as /proc/PID/fd shows it
 * @rights: every right that means something here
 * @fops: of its handles' files
 * @requests: what its handles answer beyond STAT, DERIVE and REVOKE
 * @request_count: how many
 * @opened: a handle got its file, which nobody else can see yet; may be NULL
 * @cut: make the handles on a list, which are marked revoked, reach nothing;
 *	 returns the number of pages that something else still holds. Called
 *	 with change_lock held.
 * @stat: fill in what the object knows
 * @show_fdinfo: lines of fdinfo that are only this type's
 * @free: the last handle is gone; may run under an mmap_lock
 */
struct isth_object_ops {
	u32 type;
	const char *type_name;
	const char *link_name;
	u32 rights;
	const struct file_operations *fops;
	const struct isth_request *requests;
	size_t request_count;
	void (*opened)(struct isth_handle *handle, struct file *file);
	u64 (*cut)(struct isth_object *object, struct list_head *revoked);
	void (*stat)(struct isth_object *object, struct isth_stat *stat);
	void (*show_fdinfo)(struct isth_object *object, struct seq_file *seq);
	void (*free)(struct isth_object *object);
};

/**
 * struct isth_object - what handles lead to; lives as long as any of them
 * @ops: its type
 * @id: its number
 * @refs: one for each handle
 * @change_lock: held while a revoke or a freeze is going on, so that a second
 *		 one returns only after the first has done its work
 * @tree_lock: guards the links and the marks of all handles, and:
 * @handles: how many there are
 * @next_handle_id: the number of the next one
 */
struct isth_object {
	const struct isth_object_ops *ops;
	u64 id;
	refcount_t refs;
	struct mutex change_lock; /* one revoke or freeze at a time */

	struct mutex tree_lock; /* the fields below, and the handles' links */
	u32 handles;
	u64 next_handle_id;
};

/**
 * struct isth_handle - one open file description onto an object
 * @refs: held by the file, by each mapping that outlives the file, and by a
 *	  revoke while it works on the handle
 * @object: where it leads
 * @id: its number
 * @rights: what it may do; never changes
 * @mappings: mappings made through it that exist now
 * @wait: pollers; woken by revoke
 * @revoked: set once, under tree_lock; read anywhere
 * @parent: what it was derived from, or that one's nearest living ancestor;
 *	    under tree_lock, like the next two
 * @children: handles derived from it
 * @sibling: its link in @parent's children
 * @revoking: its link in the list of a revoke; under change_lock
 */
struct isth_handle {
	refcount_t refs;
	struct isth_object *object;
	u64 id;
	u32 rights;
	atomic_long_t mappings;
	wait_queue_head_t wait;

	bool revoked;
	struct isth_handle *parent;
	struct list_head children;
	struct list_head sibling;

	struct list_head revoking;
};

static inline bool isth_handle_revoked(const struct isth_handle *handle)
{
	return READ_ONCE(handle->revoked);
}

void isth_object_init(struct isth_object *object,
		      const struct isth_object_ops *ops);
void isth_object_put(struct isth_object *object);

struct isth_handle *isth_handle_create(struct isth_object *object,
				       struct isth_handle *parent, u32 rights);
int isth_handle_install(struct isth_handle *handle);
void isth_handle_get(struct isth_handle *handle);
void isth_handle_put(struct isth_handle *handle);

void isth_handle_mapped(struct isth_handle *handle);
void isth_handle_unmapped(struct isth_handle *handle);

long isth_request_run(const struct isth_request *requests, size_t count,
		      struct isth_handle *handle, unsigned int command,
		      unsigned long argument);

long isth_handle_ioctl(struct file *file, unsigned int command,
		       unsigned long argument);
__poll_t isth_handle_poll(struct file *file, struct poll_table_struct *table);
int isth_handle_release(struct inode *inode, struct file *file);
void isth_handle_show_fdinfo(struct seq_file *seq, struct file *file);

/* What is alive, for ISTH_INFO. */
extern atomic_long_t isth_live_handles;
extern atomic_long_t isth_live_mappings;
extern unsigned int isth_handles_max;

#endif /* ISTH_HANDLE_H */
