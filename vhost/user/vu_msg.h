/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_msg.h: an endpoint, a stream socket for vhost-user messages with their
 * descriptors. Both ends of a connection and the backend's channel use it. It
 * interprets the header only; the caller checks the contents.
 *
 * No function blocks longer than its timeout, whatever the peer does.
 */
#ifndef VU_MSG_H
#define VU_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include "vu_proto.h"

/** VU_FDS - most descriptors of one message */
#define VU_FDS VU_MEM_REGIONS

/**
 * struct vu_msg - one message
 * @hdr:     as on the wire; of a received message, size is that of @payload's
 *           valid bytes and the bytes behind it are zero
 * @fds:     @nfds descriptors. Received: close-on-exec, owned by the message
 *           until vu_msg_take_fd() or vu_msg_close_fds(). To be sent: borrowed
 */
struct vu_msg {
	struct vu_hdr hdr;
	union vu_payload payload;
	unsigned int nfds;
	int fds[VU_FDS];
};

/** vu_msg_init() - make an empty message: version 1, no payload, no fds */
void vu_msg_init(struct vu_msg *m, uint32_t request);

/** vu_msg_take_fd() - take descriptor @i of a received message, which belongs
 * to the caller then; -1 if there is none */
int vu_msg_take_fd(struct vu_msg *m, unsigned int i);

/** vu_msg_close_fds() - close the descriptors that were not taken */
void vu_msg_close_fds(struct vu_msg *m);

/**
 * struct vu_endpoint - one end of a connection
 * @sock: the socket; owned. Its flags are not changed
 * @m, @have: the message that is arriving, and its bytes so far
 */
struct vu_endpoint {
	int sock;
	size_t have;
	struct vu_msg m;
};

void vu_endpoint_init(struct vu_endpoint *e, int sock);

/** vu_endpoint_close() - close the socket and the descriptors of an incomplete
 * message; harmless if closed */
void vu_endpoint_close(struct vu_endpoint *e);

/**
 * vu_recv() - receive the next complete message, without waiting
 * @m: set on success; its descriptors are the caller's
 *
 * Return: 0; -EAGAIN (it is incomplete: call again when the socket is
 * readable); -ECONNRESET (the peer is gone); -EPROTO (version is not 1, more
 * descriptors than VU_FDS, or some after a message's first bytes); -EMSGSIZE
 * (payload larger than any known); -EMFILE (too many open files for the
 * received descriptors). After errors other than -EAGAIN the connection is
 * unusable.
 */
int vu_recv(struct vu_endpoint *e, struct vu_msg *m);

/**
 * vu_recv_wait() - the same, waiting up to @timeout_ms milliseconds (-1: no
 * limit). Return: also -ETIMEDOUT.
 */
int vu_recv_wait(struct vu_endpoint *e, struct vu_msg *m, int timeout_ms);

/**
 * vu_send() - send a message with its descriptors
 * @timeout_ms: longest wait for space in the socket; 0: do not wait
 *
 * Return: 0; -EAGAIN (full, nothing was sent; only with @timeout_ms 0);
 * -ETIMEDOUT; -ECONNRESET. After the last two the connection is
 * unusable.
 */
int vu_send(struct vu_endpoint *e, const struct vu_msg *m, int timeout_ms);

#endif
