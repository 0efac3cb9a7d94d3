/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer.c, peermaps.c and peeruser.c find out about the calling process: its
 * identity, its descriptors, its memory mappings and its death. All functions
 * run on the worker of the session that is called, since the caller can make
 * any of them wait without end; but peer_check_host() runs at start-up, and
 * peer_user() on any thread.
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
 * @tid: the caller, which waits for us; 0: not in our pid namespace
 * @uid: its file system user
 *
 * Return: @uid; for a thread in a user namespace below ours: the user that
 * made the outermost of these, unless that is root. Does not block.
 */
uid_t peer_user(pid_t tid, uid_t uid);

/**
 * struct peer - the process that owns a device
 * @pid:   its id, which is not used again before @pidfd is readable; 0: no
 *         process
 * @pidfd: of that process; readable once it is dead
 * @mem_fd: its /proc/PID/mem, for reading and writing: bound to the address
 *          space that it had when it became the peer
 * @waiter: a thread of it that has memory; its pages are faulted in
 * @program: digest of the auxiliary vector of its program
 * @death: @pidfd in the worker's epoll set
 *
 * All zero: no process.
 */
struct peer {
	pid_t pid;
	int pidfd;
	int mem_fd;
	pid_t waiter;
	uint64_t program;
	struct worker *worker;
	struct loop_watch death;
	void (*died)(void *ctx);
	void *ctx;
};

/**
 * peer_attach() - make the calling thread's process the peer
 * @tid:  the calling thread, which waits for us; 0: not in our pid namespace
 * @died: called on the worker's thread once the process is dead; may
 *        peer_detach()
 *
 * Return: 0; -EPERM (no access, or not visible; logged with the cure through
 * @limit); -ENOMEM; -EMFILE; -ESRCH.
 */
int peer_attach(struct peer *p, pid_t tid, struct worker *w,
		void (*died)(void *ctx), void *ctx, struct log_limit *limit,
		const struct log_tag *tag);

/**
 * peer_restore() - make the process the peer that was the peer in an earlier
 * daemon
 * @known:  its @pid, @pidfd, @waiter and @program; the pidfd is the peer's
 *          on success
 * @mem_fd: /proc/PID/mem, opened by that daemon; consumed in any case
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
 * @who:   @uid, @owner, @given_up and @ctx of an order to a taker, which waits
 *         in our place: who serves the pages may never answer
 * @write: they are to be written
 *
 * Return: 0; -ESRCH (it is dead, or has another address space by now);
 * -ECANCELED, -EAGAIN, ... (given up).
 */
int peer_fault_in(const struct peer *p, const struct taker_order *who,
		  bool write, uint64_t uva, uint64_t len);

/** peer_is_there() - is the process alive, with the address space that it had
 * when it became the peer? The answer may be late */
bool peer_is_there(const struct peer *p);

/** peer_detach() - forget the process, and close its descriptors; harmless if
 * there is none */
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
 * @o:  without @table, which is filled in; @tid 0: not in our pid namespace
 * @fd: on success the caller's to close, as taker_take(); VDEV_FD_NONE if
 *      @o->number is -1, VDEV_FD_BAD if the calling process has no such
 *      descriptor
 *
 * Return: 0; -EPERM (no access, or given up; logged with the cure unless given
 * up); -ENOMEM (out of descriptors or processes; logged).
 */
int peer_fetch_fd(struct taker_order *o, struct log_limit *limit,
		  const struct log_tag *tag, int *fd);

/**
 * peer_take() - have a descriptor of the caller taken
 * @o: without @table, which is filled in
 *
 * Return: as taker_take().
 */
int peer_take(struct taker_order *o, struct log_limit *limit,
	      const struct log_tag *tag, int *fd);

/**
 * peer_find_maps() - find the mappings that thread @who->tid shares in some
 * memory regions
 * @who:  as an order for it: @tid, @uid, @owner, @given_up, @ctx
 * @budget: mappings beyond it are left out. map_budget_commit() or
 *          map_budget_abort() has to follow, and settles what was taken of it
 * @out:  the mappings, their files, and what the process itself may not read
 *        or write: the caller's to free, by owner_maps_free()
 *
 * Memory that cannot be mapped is not in @out: it is copied.
 * Return: 0 or -ENOMEM (nothing was taken; @out is zeroed).
 */
int peer_find_maps(const struct taker_order *who,
		   const struct vhost_memory_region *regions, size_t n,
		   const struct map_budget *budget, struct log_limit *limit,
		   const struct log_tag *tag, struct owner_maps *out);

#endif
