/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame ring joins a queue pair of a guest, whose device is in a worker
 * process, to a port of a network, which is in another process. It has two ring
 * buffers in shared memory, one for each direction, and two eventfds for each.
 *
 *   device ─ tx ─► ring from the guest ─► rx ─ uplink (uplink.h) ─► network
 *   device ◄─ rx ─ ring to the guest   ◄─ tx ─ uplink           ◄── network
 *
 * The worker process may have been taken over by its guest: it can write
 * anything anywhere in the memory, at any time. The network's side keeps its
 * own positions and copies of what it has checked, and frames out of the memory
 * before anybody looks at them. What cannot be is the end of that ring
 * (framering_is_broken()) and of nothing else. The memory cannot be resized.
 *
 * Either process can be replaced by another one, which goes on where the
 * positions in the memory say. Frames that the one before had taken and not
 * delivered are lost, at most a batch in each direction; none comes twice.
 */
#ifndef FRAMERING_H
#define FRAMERING_H

#include <stdbool.h>
#include <stdint.h>
#include "netport.h"

struct framering;

/** FRAMERING_FDS - descriptors that make the ring in another process */
#define FRAMERING_FDS 5

/** enum framering_side - who uses the ports */
enum framering_side { FRAMERING_NET, FRAMERING_GUEST };

/** framering_new() - memory and eventfds; 0; -ENOMEM; -errno (-EMFILE, ...) */
int framering_new(struct framering **out);

/**
 * framering_adopt() - the ring that another process has made
 * @fds: of framering_fds(), in their order; the ring's on success
 *
 * Return: 0; -EBADMSG (they are not what framering_new() makes); -ENOMEM.
 */
int framering_adopt(const int fds[FRAMERING_FDS], struct framering **out);

/** framering_fds() - its descriptors, borrowed */
void framering_fds(const struct framering *r, int fds[FRAMERING_FDS]);

/** framering_free() - when its ports are closed; NULL is harmless */
void framering_free(struct framering *r);

/**
 * framering_open() - the two ports of one side
 * @rx, @tx: each for one thread at a time. The fd of @rx polls EPOLLIN, that of
 *        @tx EPOLLOUT after an -EAGAIN; both stay the ring's
 *
 * They begin where the ports before them ended, in this process or in another
 * one, which does not use the ring any more. Their headers have port->hdr_len
 * bytes: 0, 10 or 12; without one the device gets only frames that need none.
 * @rx returns -EPROTO, and @tx drops all, once the ring is broken.
 * Return: 0 or -ENOMEM.
 */
int framering_open(struct framering *r, enum framering_side side,
		   struct netport **rx, struct netport **tx);

/**
 * framering_enable() - the guest's side: does its RX ring run?
 *
 * The fd of the network's @rx polls EPOLLIN at a change.
 */
void framering_enable(struct framering *r, bool on);

/** framering_enabled() - the network's side: what the guest's side said last;
 * at first false. Any thread */
bool framering_enabled(const struct framering *r);

/** framering_followed() - the network's side: frames reach the guest, or not,
 * as the guest's side said */
void framering_followed(struct framering *r, bool on);

/**
 * framering_await() - the guest's side: wait until the network's side has done
 * what framering_enable() said last
 *
 * Return: false: it has not after @ms; its process may be away.
 */
bool framering_await(const struct framering *r, int ms);

/** framering_set_offload() - the guest's side: the guest has acked @features;
 * as framering_enable() */
void framering_set_offload(struct framering *r, uint64_t features);

/** framering_offload() - the network's side: what the guest's side said last;
 * at first 0. Any thread */
uint64_t framering_offload(const struct framering *r);

/** framering_reset() - empty the ring. Nobody uses it: it has no ports, and no
 * other process has it */
void framering_reset(struct framering *r);

/** framering_break() - the other side has written what cannot be: a port does
 * this, or a process whose port is in another process. Any thread */
void framering_break(struct framering *r);

/** framering_is_broken() - was framering_break() called in this process? Any
 * thread */
bool framering_is_broken(const struct framering *r);

/**
 * framering_alarm() - an eventfd that becomes readable once the ring is broken
 *
 * It is the ring's, and of this process: the other side does not have it.
 * Before the ports of this side are opened. Return: the descriptor; -EMFILE,
 * -ENFILE, -ENOMEM.
 */
int framering_alarm(struct framering *r);

#endif
