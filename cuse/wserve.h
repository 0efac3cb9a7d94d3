/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wserve.c is the worker process's end of the socket to the broker: it
 * receives one message at a time on the device session's thread, between two
 * batches of frames, calls the device session and sends the reply.
 *
 * A call is carried out once: the last reply is kept, and a broker that was
 * restarted and repeats its last call gets that reply.
 */
#ifndef WSERVE_H
#define WSERVE_H

#include <stdint.h>
#include "devsession.h"
#include "wmsg.h"

struct wserve;

/**
 * struct wserve_start - the first call
 * @seq:    its number
 * @start:  its body
 * @mem_fd: memory of struct devmem; the caller's to close; -1: none
 * @ring:   of a frame ring; the caller's to close; all -1: none
 */
struct wserve_start {
	uint64_t seq;
	struct wmsg_start start;
	int mem_fd;
	int ring[FRAMERING_FDS];
};

/**
 * wserve_await_start() - wait for the first message of the broker
 * @sock: in blocking mode
 * @inherits: the first of the descriptors that this process was started with
 *
 * On the main thread, before there is another. Nothing is replied:
 * wserve_new() does, or wserve_refuse().
 * Return: 0; -ECONNRESET (no broker); -EPROTO; -ENOMEM.
 */
int wserve_await_start(int sock, int inherits, struct wserve_start *start);

/** wserve_refuse() - reply to the first call with @error (-errno); the process
 * ends then */
void wserve_refuse(int sock, const struct wserve_start *start, int error);

/**
 * struct wserve_config - copied; what it points to outlives the server
 * @sock:   the server's on success
 * @seq:    of the first call
 * @device: for devsession_new(); its iotlb_event, fault_in and ctx are the
 *          server's
 * @ended:  the broker has closed its end (-ECONNRESET), or has sent a
 *          malformed message (-EPROTO): the process has to end. Called once,
 *          perhaps from deep within the device session
 */
struct wserve_config {
	int sock;
	uint64_t seq;
	const struct devsession_config *device;
	void (*ended)(void *ctx, int error);
	void *ctx;
};

/**
 * wserve_new() - make the device session, reply to the first call, and serve
 *
 * On the thread of @device->worker, like all below. On failure the first call
 * was answered with the error. Return: 0, -ENOMEM.
 */
int wserve_new(const struct wserve_config *config, struct wserve **out);

/** wserve_free() - free the device session, close the socket; NULL is harmless
 */
void wserve_free(struct wserve *s);

/**
 * wserve_fault_in() - have the broker fault in pages of the owner's memory
 * @write: they are to be written
 * @len:   bytes at @uva, at least one; of more than WMSG_FAULT_MAX the first
 *
 * Waits for the broker's answer, for as long as the pages take; calls of the
 * broker wait meanwhile. Return: 0; -errno of the broker; -ESRCH (no broker).
 */
int wserve_fault_in(struct wserve *s, bool write, uint64_t uva, uint64_t len);

#endif
