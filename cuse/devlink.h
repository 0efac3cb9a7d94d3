/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devlink.h: how the session of an open file (session.c), which belongs to the
 * broker, reaches its device session (devsession.h), which reads what the guest
 * writes. A local link calls it on the session's own thread; a remote link
 * sends messages to a worker process.
 *
 * The session collects what a call needs of the calling process before the
 * call, in struct call_facts: the device session never asks back. It looks at a
 * fact only when the handler comes to it, so the order of errors is the one of
 * the kernel, whatever was collected too early.
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
 * struct call_facts - what was found out about the caller of an ioctl
 * @is_owner: does it run in the owner's address space? Looked at by calls that
 *            only the owner may make
 * @owner_error, @pid: VHOST_SET_OWNER: 0 or -errno; the caller's process, 0 if
 *            it does not become the owner
 * @mem_fd:   the owner's /proc/PID/mem, opened for reading and writing; -1: the
 *            device does not need it because of this call (reach.h)
 * @fd_error, @fd: a call with a descriptor: 0 or -errno; the descriptor,
 *            VDEV_FD_NONE or VDEV_FD_BAD (as peer_fetch_fd())
 * @repeated:  VHOST_NET_SET_BACKEND: the call was made before, by a process
 * that is gone or of one: vdev_repeat()
 * @maps_error, @maps: VHOST_SET_MEM_TABLE: 0 or -errno; what can be mapped
 *
 * The descriptors are borrowed by the link and by the device session: they
 * belong to the session, which can send the same call again. CALL_FACTS_NONE
 * is the value of a call that needs nothing.
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
 * @iotlb: there is a message for devlink_read(), or readers must check again as
 *         the IOTLB is disabled. Can be called from within a function of the
 *         link: it calls none of them, it queues work
 * @gone:  the worker process is gone; every function of the link returns
 *         -ECONNRESET from now on. As @iotlb. Never called by a local link
 * @fault_in: bring @len bytes at @uva of the owner's memory in, to be written
 * or read, and wait for them: a userfaultfd has them. It is for the session to
 * see to it that the owner still has that memory. 0 or -errno
 */
struct devlink_events {
	void (*iotlb)(void *ctx);
	void (*gone)(void *ctx);
	int (*fault_in)(void *ctx, bool write, uint64_t uva, uint64_t len);
	void *ctx;
};

struct devlink;

/**
 * struct devlink_ops - what a kind of link does; see the functions below
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

/* Each int: 0, or -ECONNRESET if the worker process is gone (never for a local
 * link). The session then makes another link and repeats the call. */

/**
 * devlink_ioctl() - one pass of an ioctl (ioctl_run())
 * @call: its @out is written
 * @v:    filled in completely on success
 */
static inline int devlink_ioctl(struct devlink *l,
				const struct ioctl_call *call,
				const struct call_facts *facts,
				struct ioctl_verdict *v)
{
	return l->ops->ioctl(l, call, facts, v);
}

/** devlink_read() - @n: as vdev_iotlb_read() returns */
static inline int devlink_read(struct devlink *l, void *buf, size_t len,
			       ssize_t *n)
{
	return l->ops->read(l, buf, len, n);
}

/** devlink_write() - @mem_fd: as in the facts of an ioctl; @n: as
 * vdev_iotlb_write() returns; what was carried out is added to the row of
 * struct devmem */
static inline int devlink_write(struct devlink *l, const void *buf, size_t len,
				int mem_fd, ssize_t *n)
{
	return l->ops->write(l, buf, len, mem_fd, n);
}

/** devlink_readable() - @yes: is there a message for devlink_read()? */
static inline int devlink_readable(struct devlink *l, bool *yes)
{
	return l->ops->readable(l, yes);
}

/**
 * devlink_resume() - calls that are repeated from the record begin (@on) or end
 * @was_reset: VHOST_RESET_OWNER comes before all of them; only with @on
 *
 * In between, rings go on where they were (vdev_resume()), and the row of
 * struct devmem stays as it is.
 */
static inline int devlink_resume(struct devlink *l, bool on, bool was_reset)
{
	return l->ops->resume(l, on, was_reset);
}

/** devlink_replay_iotlb() - the row of struct devmem makes the IOTLB again */
static inline int devlink_replay_iotlb(struct devlink *l)
{
	return l->ops->replay_iotlb(l);
}

/** devlink_owner_died() - vdev_owner_died(); of a worker process nothing is
 * asked, as the session ends it */
static inline void devlink_owner_died(struct devlink *l)
{
	l->ops->owner_died(l);
}

/** devlink_print() - @text: lines for people, malloc()ed; -ENOMEM too */
static inline int devlink_print(struct devlink *l, char **text)
{
	return l->ops->print(l, text);
}

/** devlink_free() - free the device session, or end the worker process; NULL
 * is harmless */
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
 * struct devlink_config - for links of each kind; copied, and what it points to
 * outlives the link
 * @worker:   the session's thread
 * @tag, @limit: for log lines
 * @attach:   gives the rings their ports (local links)
 * @features: offered beside vdev_features()
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE
 * @busy_poll_us: upper bound of adaptive polling, µs (remote links)
 * @stall_ms: processor time without progress after which the worker process
 *         ends (wdog.h), ms; 0: never (remote links)
 * @mem:      memory that outlives the device session; NULL: none
 * @ring:     through which all frames go; NULL: to the descriptors that the
 *         caller passes (remote links)
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
