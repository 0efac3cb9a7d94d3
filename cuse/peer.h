/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that reaches into the calling process: who it is, its
 * descriptors, its memory's mappings, its death. Everything here runs on the
 * worker of the session that is called, since any of it may hang if the caller
 * wishes so; but peer_check_host() runs at start-up, and peer_user() anywhere.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/vhost.h>
#include "aspace.h"
#include "log_limit.h"
#include "log.h"
#include "worker.h"

/** PEER_MAPS_MAX - shared mappings held for one owner; the rest is copied */
#define PEER_MAPS_MAX 1024

/**
 * peer_check_host() - can this host, this kernel and these privileges work?
 *
 * Logs what is missing and how to get it; warns about what will not work for
 * callers of other users.
 * Return: 0; -ENOSYS (kernel too old); -EPERM (Yama forbids everything).
 */
int peer_check_host(void);

/**
 * peer_user() - the user that thread @tid counts for
 * @tid: the caller, which waits for us; 0 if it is out of our sight
 * @uid: its file system user
 *
 * As @uid, but for a thread in a user namespace below ours: then who made that.
 * Waits for nothing.
 */
uid_t peer_user(pid_t tid, uid_t uid);

/**
 * struct peer - the process that owns a device
 * @pid:   its id, for people and as long as @pidfd says that it lives
 * @pidfd: of that process; readable once it is dead
 * @waiter: a thread of it that has memory; its pages are faulted in
 * @random_uva: where its program has AT_RANDOM
 * @death: @pidfd in the worker's epoll set
 *
 * A zeroed struct peer with @pid 0 is nobody.
 */
struct peer {
	pid_t pid;
	int pidfd;
	pid_t waiter;
	uint64_t random_uva;
	struct worker *worker;
	struct loop_watch death;
	void (*died)(void *ctx);
	void *ctx;
};

/**
 * peer_attach() - make the calling thread's process the peer
 * @tid:  the calling thread, which waits for us; 0 if it is out of our sight
 * @died: called on the worker's thread once the process is dead; may
 *        peer_detach()
 * @as:   its address space, to be read and written; the caller's to free
 *
 * Return: 0; -EPERM (may not, or not visible; logged with the cure through
 * @limit); -ENOMEM; -EMFILE; -ESRCH.
 */
int peer_attach(struct peer *p, pid_t tid, struct worker *w,
		void (*died)(void *ctx), void *ctx, struct log_limit *limit,
		const struct log_tag *tag, struct aspace **as);

/**
 * peer_restore() - make a process the peer that was one of a daemon before us
 * @known:  its @pid, @pidfd, @waiter and @random_uva; the pidfd is the peer's
 * on success
 * @mem_fd: /proc/PID/mem, opened then; consumed in any case
 *
 * The process may be dead: then @died is called soon.
 * Return: 0, -ENOMEM.
 */
int peer_restore(struct peer *p, const struct peer *known, int mem_fd,
		 struct worker *w, void (*died)(void *ctx), void *ctx,
		 struct aspace **as);

/** peer_is_there() - is the process alive, with the address space that it had
 * when it became the peer? The answer may be late */
bool peer_is_there(const struct peer *p, const struct aspace *as);

/** peer_detach() - forget the process; harmless on nobody */
void peer_detach(struct peer *p);

/**
 * peer_is_owner() - does thread @tid run in the peer's address space?
 * @as: what peer_attach() gave
 *
 * As the kernel's current->mm == dev->mm: threads and vfork children do, fork
 * children and a process that has called exec do not. One case is refused that
 * the kernel lets pass: a process that shares the owner's memory (CLONE_VM)
 * after the owner itself has ended or called exec.
 */
bool peer_is_owner(const struct peer *p, const struct aspace *as, pid_t tid);

/**
 * peer_fetch_fd() - duplicate descriptor @number of thread @tid
 * @fd: on success ours, close-on-exec; VDEV_FD_NONE if @number is -1,
 *      VDEV_FD_BAD if the caller has no such descriptor
 *
 * Return: 0; -EPERM (may not; logged with the cure); -ENOMEM (out of
 * descriptors).
 */
int peer_fetch_fd(pid_t tid, int number, struct log_limit *limit,
		  const struct log_tag *tag, int *fd);

/**
 * struct peer_budget - how many mappings there may be
 * @take: one more, of @bytes? Called on the worker's thread
 * @give: one less; on the thread that drops the last reference
 */
struct peer_budget {
	bool (*take)(void *ctx, uint64_t bytes);
	void (*give)(void *ctx, uint64_t bytes);
	void *ctx;
};

/**
 * peer_find_maps() - map what thread @tid shares of some memory regions
 * @as:   its address space; mappings it holds already are taken again, and what
 *        the process itself may not read or write is barred for copies
 * @budget: what is not within it is left to copying
 * @maps: *@nmaps references, array to be free()d; NULL if there are none
 *
 * What cannot be mapped is not in @maps and so left to copying.
 * Return: 0 or -ENOMEM.
 */
int peer_find_maps(pid_t tid, struct aspace *as,
		   const struct vhost_memory_region *regions, size_t n,
		   const struct peer_budget *budget, struct log_limit *limit,
		   const struct log_tag *tag, struct aspace_map ***maps,
		   size_t *nmaps);

/**
 * peer_open_table() - a pidfd through which @tid's descriptors are reached
 *
 * Return: a descriptor or -errno.
 */
int peer_open_table(pid_t tid, struct log_limit *limit,
		    const struct log_tag *tag);

#endif
