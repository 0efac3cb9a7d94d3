/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend's end of one vhost-user connection: a device of one or more
 * queue pairs, each a vdev on a worker of its own, and a control thread that
 * reads the messages. The control thread may wait for the workers (they are
 * the same guest's), nobody else ever waits for it.
 *
 * Life: vu_session_new, any calls; vu_session_end or the peer's going away;
 * then vu_session_config.closed, then vu_session_free. A worker that waits in a
 * system call is interrupted then; a session whose worker hangs all the same is
 * never closed.
 */
#ifndef VU_SERVER_H
#define VU_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "log_limit.h"
#include "log.h"
#include "netport.h"

/** VU_QUEUE_PAIRS_MAX - most queue pairs of a device (rings: 2n and 2n + 1) */
#define VU_QUEUE_PAIRS_MAX 64

struct vu_session;

/**
 * struct vu_session_config - what a device behind a socket is made of; copied
 * @tag:         for log lines
 * @queue_pairs: 1...VU_QUEUE_PAIRS_MAX
 * @busy_poll_us: upper bound of adaptive polling of its workers, µs
 * @net_features: VIRTIO_NET_F_* that the ports take, offered beside the ring's
 * @mac, @mtu:   configuration space; @mtu 0: not said
 * @map_bytes:   most bytes of the peer's files that are mapped at once, the
 * table before and the next one counted both; 0: no limit
 * @postcopy:    offer PAGEFAULT: the frontend gets a userfaultfd, which reaches
 *               all memory of this process, other sessions' guests included;
 *               CONFIGURE_MEM_SLOTS, which excludes it, is not offered then
 * @userfault:   what vu_userfault_open() gave; borrowed; -1 without @postcopy
 * @open_ports:  called on the control thread when rings of pair @pair first
 *               start: two ports (either may be NULL for a null port), the
 *               pair's own from then on. Return: 0 or -errno (ring not started)
 * @enable_ports: pair @pair has a ring that is enabled now (@on), or no more: a
 *               multi-queue tap stops to spread frames over a queue that nobody
 *               reads; on the control thread; may be NULL
 * @set_offload: the guest has acked @features: what may be put into frames for
 *               it; on the control thread; may be NULL
 * @closed:      on the control thread, its last deed; vu_session_free() is due
 *               (from another thread)
 * @limit:       of the lines that the peer, which may open any number of
 *               sessions, and its guest can provoke; borrowed; NULL: none
 * @ctx:         for the four
 */
struct vu_session_config {
	struct log_tag tag;
	unsigned int queue_pairs;
	unsigned int busy_poll_us;
	uint64_t net_features;
	uint8_t mac[6];
	uint16_t mtu;
	uint64_t map_bytes;
	bool postcopy;
	int userfault;
	int (*open_ports)(void *ctx, unsigned int pair, struct netport **rx,
			  struct netport **tx);
	void (*enable_ports)(void *ctx, unsigned int pair, bool on);
	void (*set_offload)(void *ctx, uint64_t features);
	void (*closed)(void *ctx, struct vu_session *s);
	struct log_limit *limit;
	void *ctx;
};

/**
 * vu_userfault_open() - find a way to make userfaultfds, for @postcopy
 * @fd: /dev/userfaultfd, the caller's, which makes them whatever capabilities
 *      are given up later; -1: userfaultfd(2) does
 *
 * Before capabilities are given up. Return: 0, or why there is no way.
 */
int vu_userfault_open(int *fd);

/**
 * vu_session_new() - serve a connected socket
 * @sock: stream socket; the session's own on success
 * Return: 0, -ENOMEM, -EAGAIN (threads), -EMFILE.
 */
int vu_session_new(const struct vu_session_config *config, int sock,
		   struct vu_session **out);

/** vu_session_end() - close the connection and stop the rings; any thread */
void vu_session_end(struct vu_session *s);

/** vu_session_interrupt() - end the system call in which its control thread
 * waits; workers are interrupted by itself once the peer has gone; any thread
 */
void vu_session_interrupt(struct vu_session *s);

/** vu_session_free() - after closed(); joins its threads */
void vu_session_free(struct vu_session *s);

/** vu_session_print() - a few lines to stderr, when it can; any thread */
void vu_session_print(struct vu_session *s);

/** vu_print_table() - every request of the protocol and what becomes of it, as
 * a table in Markdown */
void vu_print_table(FILE *out);

#endif
