/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devlink.h connects the session of an open file (session.c), which belongs to
 * the broker, with its device session (devsession.h), which reads the bytes of
 * the guest. A local link calls the device session on the session's own thread;
 * a remote link sends messages to a worker process.
 *
 * Before a call the session collects what the call needs of the calling process
 * in struct call_facts, so that the device session asks nothing back. The
 * device session looks at a fact only where its handler needs it. So errors
 * come in the kernel's order, although facts are collected earlier.
 *
 * All functions run on the session's thread.
 */
#ifndef DEVLINK_H
#define DEVLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "ioctl_table.h"
#include "owner_maps.h"

/**
 * struct call_facts - facts about the caller of an ioctl
 * @is_owner: the caller runs in the owner's address space; for calls that only
 *            the owner may make
 * @owner_error, @pid: VHOST_SET_OWNER: 0 or -errno; the caller's process, 0 if
 *            it does not become the owner
 * @mem_fd:   the owner's /proc/PID/mem, opened for reading and writing; -1: the
 *            device does not need it because of this call (reach.h)
 * @fd_error, @fd: a call with a descriptor: 0 or -errno; the descriptor,
 *            VDEV_FD_NONE or VDEV_FD_BAD (as peer_fetch_fd())
 * @repeated:  VHOST_NET_SET_BACKEND: an earlier broker or worker process has
 *            had this call: see vdev_repeat()
 * @maps_error, @maps: VHOST_SET_MEM_TABLE: 0 or -errno; what can be mapped
 *
 * Link and device session borrow the descriptors. The session owns them, so
 * that it can send the same call again. CALL_FACTS_NONE: the facts of a call
 * that needs none.
 */
struct call_facts {
	bool is_owner;

	int owner_error;
	pid_t pid;
	int mem_fd;

	int fd_error;
	int fd;
	bool repeated;

	int maps_error;
	struct owner_maps maps;
};

#define CALL_FACTS_NONE ((struct call_facts){ .mem_fd = -1, .fd = -1 })

/**
 * struct devlink_events - what a link calls, on the session's thread
 * @iotlb: there is a message for devlink_read(), or the IOTLB was disabled and
 *         readers have to check again. Functions of the link may call it, so it
 *         must not call them: it queues work
 * @gone:  the worker process has ended; every function of the link returns
 *         -ECONNRESET from now on. Same rule as @iotlb. A local link never
 *         calls it
 * @fault_in: fault in @len bytes at @uva of the owner's memory, for writing or
 *         reading, and wait for them (userfaultfd). The session checks that the
 *         owner still has that address space. 0 or -errno
 */
struct devlink_events {
	void (*iotlb)(void *ctx);
	void (*gone)(void *ctx);
	int (*fault_in)(void *ctx, bool write, uint64_t uva, uint64_t len);
	void *ctx;
};

struct devlink;

/**
 * struct devlink_ops - operations of a kind of link; see the functions below
 */
struct devlink_ops {
	int (*ioctl)(struct devlink *l, const struct ioctl_call *call,
		     const struct call_facts *facts, struct ioctl_verdict *v);
	int (*read)(struct devlink *l, void *buf, size_t len, ssize_t *n);
	int (*write)(struct devlink *l, const void *buf, size_t len, int mem_fd,
		     ssize_t *n);
	int (*readable)(struct devlink *l, bool *yes);
	int (*resume)(struct devlink *l, bool on, bool was_reset);
	int (*replay_iotlb)(struct devlink *l);
	void (*owner_died)(struct devlink *l);
	int (*print)(struct devlink *l, char **text);
	void (*free)(struct devlink *l);
};

/** struct devlink - the first member of a link of each kind */
struct devlink {
	const struct devlink_ops *ops;
};

/* Each int is 0, or -ECONNRESET if the worker process has ended (never for a
 * local link). The session then makes a new link and repeats the call. */

/**
 * devlink_ioctl() - run one pass of an ioctl (ioctl_run())
 * @call: the pass writes to its @out
 * @v:    filled in completely on success
 */
static inline int devlink_ioctl(struct devlink *l,
				const struct ioctl_call *call,
				const struct call_facts *facts,
				struct ioctl_verdict *v)
{
	return l->ops->ioctl(l, call, facts, v);
}

/** devlink_read() - read an IOTLB message; @n: result of vdev_iotlb_read() */
static inline int devlink_read(struct devlink *l, void *buf, size_t len,
			       ssize_t *n)
{
	return l->ops->read(l, buf, len, n);
}

/** devlink_write() - write an IOTLB message; one that was carried out is noted
 * in struct devmem. @mem_fd: as in struct call_facts; @n: result of
 * vdev_iotlb_write() */
static inline int devlink_write(struct devlink *l, const void *buf, size_t len,
				int mem_fd, ssize_t *n)
{
	return l->ops->write(l, buf, len, mem_fd, n);
}

/** devlink_readable() - @yes: a message waits for devlink_read() */
static inline int devlink_readable(struct devlink *l, bool *yes)
{
	return l->ops->readable(l, yes);
}

/**
 * devlink_resume() - calls repeated from the record begin (@on) or end
 * @was_reset: with @on: the device session carries out VHOST_RESET_OWNER before
 *         them
 *
 * Meanwhile rings that start continue at their cursors (vdev_resume()), and the
 * IOTLB messages in struct devmem are not changed.
 */
static inline int devlink_resume(struct devlink *l, bool on, bool was_reset)
{
	return l->ops->resume(l, on, was_reset);
}

/** devlink_replay_iotlb() - fill the IOTLB from the messages in struct devmem
 */
static inline int devlink_replay_iotlb(struct devlink *l)
{
	return l->ops->replay_iotlb(l);
}

/** devlink_owner_died() - vdev_owner_died(); a remote link does nothing, since
 * the session ends the worker process */
static inline void devlink_owner_died(struct devlink *l)
{
	l->ops->owner_died(l);
}

/** devlink_print() - @text: state and counters, malloc()ed; -ENOMEM too */
static inline int devlink_print(struct devlink *l, char **text)
{
	return l->ops->print(l, text);
}

/** devlink_free() - free the device session, or close the socket, upon which
 * the worker process ends; @l may be NULL */
static inline void devlink_free(struct devlink *l)
{
	if (l)
		l->ops->free(l);
}

struct worker;
struct attach;
struct framering;
struct devmem;
struct log_tag;
struct log_limit;

/**
 * struct devlink_config - for links of each kind; copied. What it refers to
 * must outlive the link
 * @worker:   the session's thread
 * @tag, @limit: for log lines
 * @attach:   gives the rings their ports (local links)
 * @features: offered in addition to vdev_features()
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE
 * @busy_poll_us: upper bound of adaptive polling, µs (remote links)
 * @stall_ms: processor time without progress after which the worker process
 *         ends (wdog.h), ms; 0: never (remote links)
 * @mem:      memory that outlives the device session; NULL: none
 * @ring:     frame ring that carries all frames; NULL: the descriptors that the
 *         caller passes carry them (remote links)
 */
struct devlink_config {
	struct worker *worker;
	const struct log_tag *tag;
	struct log_limit *limit;
	struct attach *attach;
	uint64_t features;
	unsigned int max_mem_regions;
	unsigned int busy_poll_us;
	unsigned int stall_ms;
	struct devmem *mem;
	struct framering *ring;
	struct devlink_events events;
};

/** devlink_local_new() - a device session in this process, on the session's
 * thread; 0, -ENOMEM */
int devlink_local_new(const struct devlink_config *config,
		      struct devlink **out);

#endif
