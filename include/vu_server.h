/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_server.h: the backend's side of one vhost-user connection: a device of one
 * or more queue pairs, each a vdev on a worker of its own, and a control thread
 * that reads the messages. The control thread may wait for the workers, which
 * belong to the same guest; no other thread ever waits for it.
 *
 * Life: vu_session_new, any calls; vu_session_end, or the peer closes; then
 * vu_session_config.closed is called, then the caller calls vu_session_free. At
 * the end a worker that waits in a system call is interrupted; if a worker
 * hangs nevertheless, closed is never called.
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
 * struct vu_session_config - arguments of vu_session_new(); copied
 * @tag:         for log lines
 * @queue_pairs: 1...VU_QUEUE_PAIRS_MAX
 * @busy_poll_us: upper bound of adaptive polling of its workers, µs
 * @net_features: VIRTIO_NET_F_* of the ports, offered with those of the ring
 * @mac, @mtu:   configuration space; @mtu 0: not set
 * @map_bytes:   most bytes of the peer's files that are mapped at once, during
 *               a change those of the old and the new table; 0: no limit
 * @postcopy:    offer PAGEFAULT: the frontend gets a userfaultfd, which reaches
 *               all memory of this process, guests of its other sessions too;
 *               CONFIGURE_MEM_SLOTS, which excludes it, is not offered then
 * @userfault:   what vu_userfault_open() gave; borrowed; -1 without @postcopy
 * @open_ports:  called when rings of pair @pair first start: returns two
 *               ports (either may be NULL for a null port), which belong to the
 *               pair. Return: 0 or -errno (the ring does not start)
 * @enable_ports: called when other rings of pair @pair are running and enabled
 *               than before, so that a multi-queue tap or a network sends no
 *               frames to a queue that is not read; may be NULL
 * @set_offload: called when the guest has acked @features, which its frames may
 *               need; may be NULL
 * @closed:      called at the end of the session, after which another thread
 *               has to call vu_session_free()
 * @limit:       rate limit of log lines that the peer, which may open any
 * number of sessions, and its guest can cause; borrowed; NULL: none
 * @ctx:         for the four functions, which are called on the control thread
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
	void (*enable_ports)(void *ctx, unsigned int pair, bool rx, bool tx);
	void (*set_offload)(void *ctx, uint64_t features);
	void (*closed)(void *ctx, struct vu_session *s);
	struct log_limit *limit;
	void *ctx;
};

/**
 * vu_userfault_open() - find a way to make userfaultfds, for @postcopy
 * @fd: /dev/userfaultfd, which belongs to the caller and works without
 *      capabilities; -1: use userfaultfd(2)
 *
 * Call it before the process drops capabilities. Return: 0, or -errno if there
 * is no way.
 */
int vu_userfault_open(int *fd);

/**
 * vu_session_new() - serve a connected socket
 * @sock: stream socket; belongs to the session on success
 * Return: 0, -ENOMEM, -EAGAIN (threads), -EMFILE.
 */
int vu_session_new(const struct vu_session_config *config, int sock,
		   struct vu_session **out);

/** vu_session_end() - close the connection and stop the rings; any thread */
void vu_session_end(struct vu_session *s);

/** vu_session_interrupt() - interrupt the system call in which the control
 * thread waits. The control thread interrupts the workers itself when the peer
 * is gone. Any thread */
void vu_session_interrupt(struct vu_session *s);

/** vu_session_free() - after closed(); joins its threads */
void vu_session_free(struct vu_session *s);

/** vu_session_print() - print state and counters to stderr, later; any thread
 */
void vu_session_print(struct vu_session *s);

/** vu_print_table() - print all requests of the protocol, and whether they are
 * served, as a table in Markdown */
void vu_print_table(FILE *out);

#endif
