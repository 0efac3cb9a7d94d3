/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session is one open file of the character device: a device with two rings
 * on a worker thread of its own, and the process that owns it.
 *
 * The functions here are called on the loop's thread. They copy what is valid
 * only during the FUSE callback, hand it to the worker and return; the worker
 * does the work and answers the request. The loop never waits for a worker:
 * the process that opened the file can make its worker wait without end
 * (userfaultfd, a file system that it serves itself).
 *
 * Life: session_new, session_open, any calls, session_close; then, when the
 * worker has finished, session_config.closed on the loop, which calls
 * session_free. A worker that waits in a system call is interrupted when the
 * session is closed, when its owner has died and when a call to it is
 * interrupted. If it still does not answer, session_config.hangs is called;
 * closed follows when it answers later.
 */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "attach.h"
#include "fuse_version.h"
#include "log_limit.h"
#include "loop.h"
#include "persist.h"
#include "quota.h"
#include "slots.h"
#include "watchdog.h"

struct session;

/**
 * struct session_config - the same for all sessions of a device; outlives them
 * @dev_name: for log lines
 * @attach: gives their rings ports; each session is a queue pair on it
 * @busy_poll_us: upper bound of adaptive polling, µs
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE
 * @features: offered beside vdev_features()
 * @quota: in which the sessions count
 * @loop: where the two below are called
 * @watchdog: of that loop
 * @workers: the device of an open file that has an owner runs in a worker
 *         process (wproc.h); @attach has no port then, and no capture but of a
 *         network
 * @net:   @attach has a network
 * @store: keeps sessions for another process; NULL: nothing is kept
 * @take_slot: the slot of the message that is being decoded, which is the
 *         session's then; NULL: there are no slots
 * @free_slot: its request was answered; called on workers
 * @closed: the worker is through with @s; session_free() is due
 * @hangs: @s was closed, and its worker does not answer; called once
 * @interrupted: libfuse's callback for FUSE_INTERRUPT; its data is the id of
 * the session, and it finds the session and calls session_interrupt()
 */
struct session_config {
	const char *dev_name;
	struct attach *attach;
	unsigned int busy_poll_us;
	unsigned int max_mem_regions;
	uint64_t features;
	struct quota *quota;
	struct loop *loop;
	struct watchdog *watchdog;
	bool workers;
	bool net;
	struct store *store;
	struct req_slot *(*take_slot)(void *ctx);
	void (*free_slot)(void *ctx, struct req_slot *slot);
	void (*closed)(void *ctx, struct session *s);
	void (*hangs)(void *ctx, struct session *s);
	fuse_interrupt_func_t interrupted;
	void *ctx;
};

/**
 * session_new() - start a worker
 * @id: stable number of the open file, its fh; never 0
 * @place: of quota_open(); the session's own on success
 * Return: 0, -ENOMEM, -EAGAIN (threads), -EMFILE.
 */
int session_new(const struct session_config *config, uint64_t id,
		const struct quota_session *place, struct session **out);

/**
 * session_restore() - start a worker that restores a session which an earlier
 * process kept
 * @persist: of persist_adopt(), with @left; the session's own on success
 *
 * Return: as session_new().
 */
int session_restore(const struct session_config *config, uint64_t id,
		    const struct quota_session *place, struct persist *persist,
		    const struct persist_fds *left, struct session **out);

/** session_is_of_open() - was the session restored with the OPEN @unique as
 * its last request? Its answer may have arrived or not */
bool session_is_of_open(const struct session *s, uint64_t unique);

/** session_strand() - the session hangs: it counts only for its user from now
 * on */
void session_strand(struct session *s);

/** session_free() - after closed(): join the worker, free everything */
void session_free(struct session *s);

uint64_t session_id(const struct session *s);

/** session_closing() - has session_close() been called? */
bool session_closing(const struct session *s);

/* Each consumes @req, which is answered once: here, or by the next process
 * (session_leave()). */

/** session_open() - make the device, answer the open */
void session_open(struct session *s, fuse_req_t req,
		  const struct fuse_file_info *fi);

/** session_open_again() - answer the open of a session that was restored */
void session_open_again(struct session *s, fuse_req_t req,
			const struct fuse_file_info *fi);

/**
 * session_ioctl() - one pass of an ioctl
 * @in:  @in_len bytes; copied
 * @out_room: bytes that may be sent back
 */
void session_ioctl(struct session *s, fuse_req_t req, uint32_t cmd,
		   uint64_t arg, const void *in, size_t in_len,
		   size_t out_room);

/** session_read() - take an IOTLB message; waits for one unless @nonblock */
void session_read(struct session *s, fuse_req_t req, size_t size,
		  bool nonblock);

/** session_interrupt() - answer the reads that were interrupted, and end what
 * else an interrupted caller waits for */
void session_interrupt(struct session *s);

/** session_write() - an IOTLB message; @buf is copied */
void session_write(struct session *s, fuse_req_t req, const void *buf,
		   size_t size);

/** session_poll() - @ph: consumed; NULL: the caller does not wait */
void session_poll(struct session *s, fuse_req_t req,
		  struct fuse_pollhandle *ph);

/**
 * session_close() - stop the device, answer @req (NULL: there is none)
 *
 * No other call may follow but session_free().
 */
void session_close(struct session *s, fuse_req_t req);

/**
 * session_leave() - stop the device between two batches, for another process to
 * go on; requests stay in their slots
 *
 * As session_close() otherwise.
 */
void session_leave(struct session *s);

/** session_print() - the worker writes a few lines about the session to
 * stderr, or the loop logs that it does not answer */
void session_print(struct session *s);

#endif
