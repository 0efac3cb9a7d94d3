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
#include "log_limit.h"
#include "log.h"
#include "map_budget.h"
#include "owner_maps.h"
#include "taker.h"
#include "worker.h"

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
 * @mem_fd: its /proc/PID/mem, for reading and writing: bound to the address
 *         space that it had when it became the peer
 * @waiter: a thread of it that has memory; its pages are faulted in
 * @random_uva: where its program has AT_RANDOM
 * @death: @pidfd in the worker's epoll set
 *
 * A zeroed struct peer with @pid 0 is nobody.
 */
struct peer {
	pid_t pid;
	int pidfd;
	int mem_fd;
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
 *
 * Return: 0; -EPERM (may not, or not visible; logged with the cure through
 * @limit); -ENOMEM; -EMFILE; -ESRCH.
 */
int peer_attach(struct peer *p, pid_t tid, struct worker *w,
		void (*died)(void *ctx), void *ctx, struct log_limit *limit,
		const struct log_tag *tag);

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
		 struct worker *w, void (*died)(void *ctx), void *ctx);

/** peer_lives() - is the process alive? Its id is not reused while it is */
bool peer_lives(const struct peer *p);

/**
 * peer_fault_in() - fault in pages of the process, and wait for them
 * @write: they are to be written
 *
 * Return: 0; -ESRCH (it is dead, or has another address space by now).
 */
int peer_fault_in(const struct peer *p, bool write, uint64_t uva, uint64_t len);

/** peer_is_there() - is the process alive, with the address space that it had
 * when it became the peer? The answer may be late */
bool peer_is_there(const struct peer *p);

/** peer_detach() - forget the process, close what is open of it; harmless on
 * nobody */
void peer_detach(struct peer *p);

/**
 * peer_is_owner() - does thread @tid run in the peer's address space?
 *
 * As the kernel's current->mm == dev->mm: threads and vfork children do, fork
 * children and a process that has called exec do not. One case is refused that
 * the kernel lets pass: a process that shares the owner's memory (CLONE_VM)
 * after the owner itself has ended or called exec.
 */
bool peer_is_owner(const struct peer *p, pid_t tid);

/**
 * peer_fetch_fd() - duplicate a descriptor of the caller
 * @o:  without @table, which is filled in; @tid 0: it is out of our sight
 * @fd: on success ours, as taker_take(); VDEV_FD_NONE if @o->number is -1,
 *      VDEV_FD_BAD if the caller has no such descriptor
 *
 * Return: 0; -EPERM (may not; logged with the cure); -ENOMEM (out of
 * descriptors or processes; logged).
 */
int peer_fetch_fd(struct taker_order *o, struct log_limit *limit,
		  const struct log_tag *tag, int *fd);

/**
 * peer_find_maps() - find what thread @tid shares of some memory regions
 * @budget: what is not within it is left out. What is taken of it is given back
 *        by map_budget_commit() or map_budget_abort(), which has to follow
 * @out:  the mappings, their files, and what the process itself may not read or
 *        write: the caller's to free, by owner_maps_free()
 *
 * What cannot be mapped is not in @out, and so left to copying.
 * Return: 0 or -ENOMEM (nothing was taken; @out is zeroed).
 */
int peer_find_maps(pid_t tid, const struct vhost_memory_region *regions,
		   size_t n, const struct map_budget *budget,
		   struct log_limit *limit, const struct log_tag *tag,
		   struct owner_maps *out);

/**
 * peer_open_table() - a pidfd through which @tid's descriptors are reached
 *
 * Return: a descriptor or -errno.
 */
int peer_open_table(pid_t tid, struct log_limit *limit,
		    const struct log_tag *tag);

#endif
