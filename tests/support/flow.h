/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * flow.h sends numbered frames through a VMM, both ways and without end, and
 * checks each: it arrives once, in its place, with every byte.
 *
 * A guest (struct vmm) has one or more ports, of which some are its backends at
 * the time; at the far side of each port is a packet socket. At any moment so
 * few frames are under way that every queue has room for them: none may be
 * lost, and a flow that stands still has lost one.
 *
 * Direction is the device's: TX is guest to port. In RX each port numbers its
 * own frames; in TX they are numbered once, and arrive at the port that is the
 * backend.
 *
 * One thread uses a flow. Another may make ioctls on the device meanwhile.
 */
#ifndef FLOW_H
#define FLOW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "vmm.h"

#define FLOW_PORTS 4
/** FLOW_WINDOW - frames under way, in TX and for each port in RX */
#define FLOW_WINDOW 32
#define FLOW_FRAME_MAX 1514
/** FLOW_WAITING - frames for the guest that may wait in a port, with losses; a
 * tap has room for 500 or more */
#define FLOW_WAITING 400
/** FLOW_FORGIVE_MS - with losses: no frame has come to the guest for so long,
 * so those that are under way may be lost, and others are sent */
#define FLOW_FORGIVE_MS 300

/**
 * struct flow_port - a port, seen from its far side
 * @far:     packet socket
 * @rx_sent: frames sent to the guest
 * @rx_got:  and received by it; with losses: none below may come
 * @rx_base: with losses: start of the window
 * @tx_next: no frame below this number may come out here any more
 */
struct flow_port {
	int far;
	uint32_t rx_sent;
	uint32_t rx_got;
	uint32_t rx_base;
	uint32_t tx_next;
};

/**
 * struct flow - zero, then flow_init()
 * @tx_sent:  frames put on the ring
 * @tx_base:  the first of them that has come out nowhere yet
 * @moved:    frames that have come out, both ways; other threads may read it
 * @error:    what has gone wrong; empty if nothing has
 * @lossy:    frames may be lost, and are counted; one port; none may come twice
 *            or late
 */
struct flow {
	struct vmm *v;
	struct flow_port port[FLOW_PORTS];
	unsigned int nports;
	uint32_t tx_sent;
	uint32_t tx_base;
	bool tx_seen[FLOW_WINDOW];
	uint64_t moved;
	char error[256];
	bool lossy;
	uint64_t tx_lost, rx_lost;
	int64_t rx_ms; /* of the last frame to the guest, or forgiven */

	/* buffers that are on no ring */
	uint32_t rx_len;
	uint64_t *rx_free, *tx_free;
	unsigned int rx_nfree, tx_nfree;
};

/**
 * flow_init() - take buffers in the guest's memory
 * @v:      a guest, started or not; borrowed
 * @rx_len: bytes of a receive buffer; a frame and its header must fit unless
 *          VIRTIO_NET_F_MRG_RXBUF is acked
 *
 * Return: 0 or -ENOMEM.
 */
int flow_init(struct flow *f, struct vmm *v, uint32_t rx_len);
void flow_free(struct flow *f);

/** flow_add_port() - @far: nonblocking packet socket, becomes the flow's */
void flow_add_port(struct flow *f, int far);

/**
 * flow_step() - move what can be moved now, and look at it
 * @more: send new frames too; without, the flow runs empty
 *
 * Return: frames that came out; -EPROTO and @error if one is wrong.
 */
int flow_step(struct flow *f, bool more);

/** flow_reset() - the driver starts anew: the rings, which do not run, are
 * empty. With losses: frames that were on them may be lost */
void flow_reset(struct flow *f);

/** flow_wait() - until something may have come out, at most @ms */
void flow_wait(struct flow *f, int ms);

/**
 * flow_run() - steps until @frames more have come out
 * Return: 0; -EPROTO; -ETIMEDOUT (no frame came for @ms).
 */
int flow_run(struct flow *f, uint64_t frames, int ms);

/**
 * flow_drain() - steps without new frames until none is under way in TX and
 * on the ports in @ports (bit mask); returns as flow_run()
 */
int flow_drain(struct flow *f, unsigned int ports, int ms);

/** struct footprint - what a process holds */
struct footprint {
	unsigned int fds;
	unsigned int threads;
};

/** footprint_of() - zeros if there is no such process */
struct footprint footprint_of(pid_t pid);
/** footprint_wait() - wait until it is @want; 0 or -ETIMEDOUT */
int footprint_wait(pid_t pid, struct footprint want, int ms);

#endif
