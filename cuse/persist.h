/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * persist.c keeps a session beyond the life of the process: its record
 * (record.h), its descriptors (bag.h), and the memory of its device
 * (devmem.h). Each session has two descriptors in the store, under the name
 * "session-ID-DEVICE".
 *
 * All functions are for one thread at a time: the loop's until the session's
 * worker has its first job, then that worker's.
 */
#ifndef PERSIST_H
#define PERSIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "devmem.h"
#include "framering.h"
#include "record.h"
#include "store.h"

struct persist;

/** PERSIST_PREFIX - names in the store begin with it */
#define PERSIST_PREFIX "session-"

/**
 * struct persist_fds - descriptors that a process before this one left
 * @mem_fd, @pidfd: of the owner
 * @worker, @sock:  pidfd of the worker process (record_owner.worker), and our
 *                  end of its socket
 * @ring:           of the frame ring between that process and a network
 *
 * Each -1 if there is none.
 */
struct persist_fds {
	int mem_fd, pidfd, worker, sock;
	int ring[FRAMERING_FDS];
};

#define PERSIST_FDS_NONE \
	((struct persist_fds){ -1, -1, -1, -1, { -1, -1, -1, -1, -1 } })

/** persist_fds_close() - close those that are not -1, and make them -1 */
void persist_fds_close(struct persist_fds *fds);

/**
 * persist_new() - keep a new session
 * @store: NULL: the record is for this process alone
 * @ring_bytes: of devmem_rings()
 *
 * Return: 0, or -errno.
 */
int persist_new(struct store *store, const char *dev_name, uint64_t id,
		size_t ring_bytes, struct persist **out);

/**
 * persist_parse_name() - find out which session a name in the store stands for
 * @dev_name: the device that the session has to belong to
 *
 * Return: its id; 0: of another device, or malformed.
 */
uint64_t persist_parse_name(const char *name, const char *dev_name);

/**
 * persist_adopt() - take over what a process before this one kept
 * @left: the caller's to close
 *
 * Return: 0; -ENOENT (the bag is empty: the other process was closing the
 * session); -errno (-ENODATA: nothing is in force; -EBADMSG: not usable). It is
 * out of the store then.
 */
int persist_adopt(struct store *store, const char *name, size_t ring_bytes,
		  struct persist **out, struct persist_fds *left);

/** persist_end() - unmap and close; what is in the store stays there unless
 * @forget. Harmless on NULL */
void persist_end(struct persist *p, bool forget);

/** persist_record() - to be read; changes go through the functions below */
struct record *persist_record(struct persist *p);

/** persist_devmem() - memory of its device; persist_end() frees it */
struct devmem *persist_devmem(struct persist *p);

/** persist_set() - record_set(); @fd is consumed in any case. An error shows in
 * the next persist_commit() */
void persist_set(struct persist *p, uint32_t cmd, uint32_t index,
		 const void *arg, size_t len, int fd);

/** persist_drop() - record_drop() */
void persist_drop(struct persist *p, uint32_t cmd, uint32_t index);

/** persist_own() - the session has an owner, with these descriptors, which stay
 * the caller's and open as long as it is the owner */
void persist_own(struct persist *p, const struct record_owner *owner,
		 int mem_fd, int pidfd);

/** persist_set_worker() - a worker process has the device; @pid 0: none. @pidfd
 * and @sock stay the caller's, and open until the next call */
void persist_set_worker(struct persist *p, pid_t pid, int pidfd, int sock);

/** persist_set_ring() - descriptors of the frame ring, which stay the caller's,
 * and open until the next call; NULL: there is no ring. persist_clear() leaves
 * it */
void persist_set_ring(struct persist *p, const int *ring);

/** persist_set_ready(), persist_ready() - was the worker process told the
 * whole record? In force at once */
void persist_set_ready(struct persist *p, bool ready);
bool persist_ready(const struct persist *p);

/** persist_set_call() - the request @unique is about to call the worker
 * process, with the number @seq; in force at once, without persist_commit() */
void persist_set_call(struct persist *p, uint64_t unique, uint64_t seq);

/** persist_call() - the number of the call that the request @unique made; 0:
 * the last call was of another request, or of none */
uint64_t persist_call(const struct persist *p, uint64_t unique);

/** persist_set_starting(), persist_starting() - bit mask of rings that a call
 * is starting: they may run, but the record does not say so yet. In force at
 * once */
void persist_set_starting(struct persist *p, uint32_t rings);
uint32_t persist_starting(const struct persist *p);

/** persist_clear() - record_clear() */
void persist_clear(struct persist *p);

/**
 * persist_commit() - put what was changed into force, with an answer
 * @answer: NULL: the answer in force stays
 *
 * Return: 0; -errno: it could not be written. Nothing is in force then: a
 * process after this one does not go on with the session. The next call tries
 * again, unless it was a change that failed: then the session is out of the
 * store for good, and further calls return the same.
 */
int persist_commit(struct persist *p, const struct record_answer *answer);

/** persist_set_poll(), persist_poll() - handle of a poll(2) that waits (struct
 * fuse_poll_in.kh); 0: none */
void persist_set_poll(struct persist *p, uint64_t kh);
uint64_t persist_poll(const struct persist *p);

#endif
