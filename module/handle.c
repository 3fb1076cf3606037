// SPDX-License-Identifier: GPL-2.0-only
/*
 * Handles: deriving, revoking and asking, the same for every type of object.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "handle.h"
#include "trace.h"

atomic_long_t isth_live_handles;
atomic_long_t isth_live_mappings;

static atomic64_t isth_next_object_id = ATOMIC64_INIT(1);

/* Large enough for every structure of the border. */
union isth_argument {
	struct isth_info info;
	struct isth_region_create region_create;
	struct isth_stat stat;
	struct isth_derive derive;
	struct isth_revoke revoke;
	struct isth_freeze freeze;
	struct isth_wait wait;
	struct isth_wake wake;
};

void isth_object_init(struct isth_object *object,
		      const struct isth_object_ops *ops)
{
	object->ops = ops;
	object->id = atomic64_fetch_inc(&isth_next_object_id);
	object->next_handle_id = 1;
	refcount_set(&object->refs, 1);
	mutex_init(&object->change_lock);
	mutex_init(&object->tree_lock);
}

void isth_object_put(struct isth_object *object)
{
	if (refcount_dec_and_test(&object->refs))
		object->ops->free(object);
}

/* Put @handle into the tree, unless its parent was revoked or there are too many. */
static int isth_handle_link(struct isth_handle *handle,
			    struct isth_handle *parent)
{
	struct isth_object *object = handle->object;
	int error = 0;

	mutex_lock(&object->tree_lock);
	if (parent && parent->revoked) {
		error = -EKEYREVOKED;
	} else if (object->handles >= READ_ONCE(isth_handles_max)) {
		error = -EDQUOT;
	} else {
		object->handles++;
		handle->id = object->next_handle_id++;
		handle->parent = parent;
		if (parent)
			list_add_tail(&handle->sibling, &parent->children);
	}
	mutex_unlock(&object->tree_lock);
	return error;
}

/**
 * isth_handle_create - make a handle, without a file yet
 * @object: where it leads; the handle takes a reference of its own
 * @parent: what it is derived from, or NULL for an object's first handle
 * @rights: its rights; the caller has checked them
 *
 * Returns the handle, which isth_handle_put() or isth_handle_install() takes
 * back, or an error: EKEYREVOKED, EDQUOT, ENOMEM.
 */
struct isth_handle *isth_handle_create(struct isth_object *object,
				       struct isth_handle *parent, u32 rights)
{
	struct isth_handle *handle;
	int error;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle)
		return ERR_PTR(-ENOMEM);

	refcount_set(&handle->refs, 1);
	handle->object = object;
	handle->rights = rights;
	init_waitqueue_head(&handle->wait);
	INIT_LIST_HEAD(&handle->children);
	INIT_LIST_HEAD(&handle->sibling);
	INIT_LIST_HEAD(&handle->revoking);

	error = isth_handle_link(handle, parent);
	if (error) {
		kfree(handle);
		return ERR_PTR(error);
	}

	refcount_inc(&object->refs);
	atomic_long_inc(&isth_live_handles);
	trace_handle_create(handle);
	return handle;
}

static int isth_open_flags(u32 rights)
{
	return (rights & ISTH_RIGHT_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC;
}

/**
 * isth_handle_install - give a handle its file and descriptor
 * @handle: taken over, also on failure
 *
 * Returns the descriptor or an error: EMFILE, ENFILE, ENOMEM.
 */
int isth_handle_install(struct isth_handle *handle)
{
	const struct isth_object_ops *ops = handle->object->ops;
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		goto put_handle;

	/* The kernel's mmap() and mprotect() refuse writing by the open mode. */
	file = anon_inode_getfile(ops->link_name, ops->fops, handle,
				  isth_open_flags(handle->rights));
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
		goto put_handle;
	}

	if (ops->opened)
		ops->opened(handle, file);
	fd_install(fd, file);
	return fd;

put_handle:
	isth_handle_put(handle);
	return fd;
}

void isth_handle_get(struct isth_handle *handle)
{
	refcount_inc(&handle->refs);
}

/*
 * Take a handle out of the tree. Its children move up to its parent, so that
 * they stay within reach of a revoke further up, and so that a chain of closed
 * handles holds no memory.
 */
static void isth_handle_unlink(struct isth_handle *handle)
{
	struct isth_object *object = handle->object;
	struct isth_handle *parent;
	struct isth_handle *child;

	mutex_lock(&object->tree_lock);
	parent = handle->parent;
	list_for_each_entry(child, &handle->children, sibling)
		child->parent = parent;
	if (parent)
		list_splice_tail_init(&handle->children, &parent->children);
	else
		while (!list_empty(&handle->children))
			list_del_init(handle->children.next);
	list_del(&handle->sibling);
	object->handles--;
	mutex_unlock(&object->tree_lock);
}

/*
 * May run under the mmap_lock of any process, when a mapping was the last to
 * hold the handle. The module cannot go away under us: the file whose end
 * brought us here is dropped by the kernel only after we return.
 */
void isth_handle_put(struct isth_handle *handle)
{
	struct isth_object *object = handle->object;

	if (!refcount_dec_and_test(&handle->refs))
		return;

	trace_handle_free(handle);
	isth_handle_unlink(handle);
	kfree(handle);
	atomic_long_dec(&isth_live_handles);
	/*
	 * Counted apart from the handles: the one who takes out the last may
	 * overtake another who is still inside mutex_unlock().
	 */
	isth_object_put(object);
}

void isth_handle_mapped(struct isth_handle *handle)
{
	atomic_long_inc(&handle->mappings);
	atomic_long_inc(&isth_live_mappings);
}

void isth_handle_unmapped(struct isth_handle *handle)
{
	atomic_long_dec(&handle->mappings);
	atomic_long_dec(&isth_live_mappings);
}

/*
 * The handle after @position in the subtree of @top, parents before children;
 * NULL after the last. A loop, since a subtree may be deeper than any stack.
 */
static struct isth_handle *isth_subtree_next(struct isth_handle *top,
					     struct isth_handle *position)
{
	lockdep_assert_held(&top->object->tree_lock);

	if (!list_empty(&position->children))
		return list_first_entry(&position->children, struct isth_handle,
					sibling);
	while (position != top) {
		struct isth_handle *parent = position->parent;

		if (!list_is_last(&position->sibling, &parent->children))
			return list_next_entry(position, sibling);
		position = parent;
	}
	return NULL;
}

/*
 * Mark @top's subtree revoked and collect it on @revoked, each with a
 * reference. A handle without references has neither file nor mapping: it only
 * waits for tree_lock to leave.
 */
static u64 isth_subtree_mark(struct isth_handle *top, bool spare_top,
			     struct list_head *revoked)
{
	struct isth_handle *handle;
	u64 count = 0;

	lockdep_assert_held(&top->object->change_lock);

	mutex_lock(&top->object->tree_lock);
	for (handle = top; handle; handle = isth_subtree_next(top, handle)) {
		if (handle->revoked || (spare_top && handle == top))
			continue;
		WRITE_ONCE(handle->revoked, true);
		if (!refcount_inc_not_zero(&handle->refs))
			continue;
		list_add_tail(&handle->revoking, revoked);
		count++;
	}
	mutex_unlock(&top->object->tree_lock);
	return count;
}

static void isth_revoked_release(struct list_head *revoked)
{
	struct isth_handle *handle;
	struct isth_handle *next;

	list_for_each_entry_safe(handle, next, revoked, revoking) {
		list_del_init(&handle->revoking);
		trace_handle_revoke(handle);
		wake_up_poll(&handle->wait, EPOLLHUP);
		isth_handle_put(handle);
	}
}

static long isth_revoke(struct isth_handle *handle, void *argument)
{
	struct isth_object *object = handle->object;
	struct isth_revoke *revoke = argument;
	bool spare_top = revoke->flags & ISTH_REVOKE_DESCENDANTS;
	LIST_HEAD(revoked);

	if (revoke->flags & ~ISTH_REVOKE_DESCENDANTS || revoke->reserved)
		return -EINVAL;

	if (mutex_lock_killable(&object->change_lock))
		return -EINTR;
	revoke->handles = isth_subtree_mark(handle, spare_top, &revoked);
	revoke->pinned_pages = object->ops->cut(object, &revoked);
	isth_revoked_release(&revoked);
	mutex_unlock(&object->change_lock);
	return 0;
}

static long isth_derive(struct isth_handle *handle, void *argument)
{
	const struct isth_derive *derive = argument;
	struct isth_object *object = handle->object;
	struct isth_handle *child;

	if (derive->flags || !derive->rights ||
	    derive->rights & ~object->ops->rights)
		return -EINVAL;
	if (isth_handle_revoked(handle))
		return -EKEYREVOKED;
	if (!(handle->rights & ISTH_RIGHT_DERIVE) ||
	    derive->rights & ~handle->rights)
		return -EACCES;

	child = isth_handle_create(object, handle, derive->rights);
	if (IS_ERR(child))
		return PTR_ERR(child);
	return isth_handle_install(child);
}

static void isth_subtree_count(struct isth_handle *top, struct isth_stat *stat)
{
	struct isth_handle *handle;

	mutex_lock(&top->object->tree_lock);
	for (handle = top; handle; handle = isth_subtree_next(top, handle)) {
		stat->descendants += handle != top;
		stat->subtree_mappings += atomic_long_read(&handle->mappings);
	}
	mutex_unlock(&top->object->tree_lock);
}

static void isth_handle_stat(struct isth_handle *handle,
			     struct isth_stat *stat)
{
	struct isth_object *object = handle->object;

	memset(stat, 0, sizeof(*stat));
	stat->type = object->ops->type;
	stat->rights = handle->rights;
	stat->object_id = object->id;
	stat->handle_id = handle->id;
	stat->mappings = atomic_long_read(&handle->mappings);
	if (isth_handle_revoked(handle))
		stat->state |= ISTH_STATE_REVOKED;
	isth_subtree_count(handle, stat);
	object->ops->stat(object, stat);
}

static long isth_stat(struct isth_handle *handle, void *argument)
{
	struct isth_stat *stat = argument;

	if (stat->flags || stat->reserved)
		return -EINVAL;
	isth_handle_stat(handle, stat);
	return 0;
}

static const struct isth_request isth_handle_requests[] = {
	ISTH_REQUEST(ISTH_STAT, struct isth_stat, subtree_mappings, isth_stat),
	ISTH_REQUEST(ISTH_DERIVE, struct isth_derive, rights, isth_derive),
	ISTH_REQUEST(ISTH_REVOKE, struct isth_revoke, pinned_pages, isth_revoke),
};

static const struct isth_request *
isth_request_find(const struct isth_request *requests, size_t count,
		  unsigned int command)
{
	const unsigned int mask = ~(_IOC_SIZEMASK << _IOC_SIZESHIFT);

	for (size_t i = 0; i < count; i++)
		if ((requests[i].command & mask) == (command & mask))
			return &requests[i];
	return NULL;
}

/**
 * isth_request_run - find a request in a table and carry it out
 * @requests: the table
 * @count: its length
 * @handle: passed on
 * @command: the request code as user space gave it, any size
 * @argument: the user's structure
 *
 * Returns what the request returns; ENOTTY when it is not in the table, and
 * EINVAL, E2BIG or EFAULT when the structure does not do. Results go back to
 * user space on success, and on EBUSY, whose reason is one of them.
 */
long isth_request_run(const struct isth_request *requests, size_t count,
		      struct isth_handle *handle, unsigned int command,
		      unsigned long argument)
{
	const struct isth_request *request;
	void __user *user = (void __user *)argument;
	union isth_argument kernel;
	size_t user_size = _IOC_SIZE(command);
	size_t size;
	bool answers;
	long result;
	int error;

	request = isth_request_find(requests, count, command);
	if (!request)
		return -ENOTTY;
	size = _IOC_SIZE(request->command);
	if (user_size < request->size_min)
		return -EINVAL;

	error = copy_struct_from_user(&kernel, size, user, user_size);
	if (error)
		return error;

	/*
	 * Learn now, not after the deed, that results cannot be delivered: put
	 * back what was there.
	 */
	answers = _IOC_DIR(request->command) & _IOC_READ;
	if (answers && copy_to_user(user, &kernel, min(size, user_size)))
		return -EFAULT;

	result = request->run(handle, &kernel);
	if (result < 0 && result != -EBUSY)
		return result;
	if (answers && copy_to_user(user, &kernel, min(size, user_size)))
		return -EFAULT;
	return result;
}

long isth_handle_ioctl(struct file *file, unsigned int command,
		       unsigned long argument)
{
	struct isth_handle *handle = file->private_data;
	const struct isth_object_ops *ops = handle->object->ops;
	long result;

	result = isth_request_run(isth_handle_requests,
				  ARRAY_SIZE(isth_handle_requests), handle,
				  command, argument);
	if (result != -ENOTTY)
		return result;
	return isth_request_run(ops->requests, ops->request_count, handle,
				command, argument);
}

__poll_t isth_handle_poll(struct file *file, struct poll_table_struct *table)
{
	struct isth_handle *handle = file->private_data;

	poll_wait(file, &handle->wait, table);
	return isth_handle_revoked(handle) ? EPOLLHUP : 0;
}

int isth_handle_release(struct inode *inode, struct file *file)
{
	isth_handle_put(file->private_data);
	return 0;
}

/* One line of fdinfo that names the bits of @bits, or @none without any. */
static void isth_show_bits(struct seq_file *seq, const char *label, u32 bits,
			   const char * const *names, size_t count,
			   const char *none)
{
	bool any = false;

	seq_printf(seq, "isthmus-%s:\t", label);
	for (size_t i = 0; i < count; i++) {
		if (!(bits & BIT(i)))
			continue;
		seq_printf(seq, "%s%s", any ? " " : "", names[i]);
		any = true;
	}
	seq_printf(seq, "%s\n", any ? "" : none);
}

void isth_handle_show_fdinfo(struct seq_file *seq, struct file *file)
{
	static const char * const rights[] = {
		"read", "write", "exec", "derive", "freeze",
	};
	static const char * const states[] = { "revoked", "frozen", "lazy" };
	struct isth_handle *handle = file->private_data;
	struct isth_object *object = handle->object;
	struct isth_stat stat;

	isth_handle_stat(handle, &stat);
	seq_printf(seq, "isthmus-type:\t%s\n", object->ops->type_name);
	seq_printf(seq, "isthmus-object:\t%llu\n", stat.object_id);
	seq_printf(seq, "isthmus-handle:\t%llu\n", stat.handle_id);
	isth_show_bits(seq, "rights", stat.rights, rights, ARRAY_SIZE(rights),
		       "none");
	isth_show_bits(seq, "state", stat.state, states, ARRAY_SIZE(states),
		       "live");
	seq_printf(seq, "isthmus-mappings:\t%llu\n", stat.mappings);
	seq_printf(seq, "isthmus-descendants:\t%llu\n", stat.descendants);
	object->ops->show_fdinfo(object, seq);
}
