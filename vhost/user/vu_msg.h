/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An endpoint: a stream socket that carries vhost-user messages together with
 * their descriptors. Used by both ends and by the backend's channel. It knows
 * the header and no request; what a message may say is its reader's affair.
 *
 * Nothing here blocks for longer than it is told, whatever the peer does.
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
 * @fds:     @nfds descriptors. Received: close-on-exec and the message's own,
 *           until vu_msg_take_fd() or vu_msg_close_fds(). To be sent: borrowed
 */
struct vu_msg {
	struct vu_hdr hdr;
	union vu_payload payload;
	unsigned int nfds;
	int fds[VU_FDS];
};

/** vu_msg_init() - an empty message to send: version 1, no payload, no fds */
void vu_msg_init(struct vu_msg *m, uint32_t request);

/** vu_msg_take_fd() - descriptor @i of a received message becomes the caller's;
 * -1 if there is none */
int vu_msg_take_fd(struct vu_msg *m, unsigned int i);

/** vu_msg_close_fds() - close what nobody took */
void vu_msg_close_fds(struct vu_msg *m);

/**
 * struct vu_endpoint - one end of a connection
 * @sock: the socket; owned. Its flags are not touched
 * @m, @have: the message that is arriving, and its bytes so far
 */
struct vu_endpoint {
	int sock;
	size_t have;
	struct vu_msg m;
};

void vu_endpoint_init(struct vu_endpoint *e, int sock);

/** vu_endpoint_close() - close the socket, and the descriptors of a message
 * that came half; harmless if closed */
void vu_endpoint_close(struct vu_endpoint *e);

/**
 * vu_recv() - the next whole message, without waiting
 * @m: set on success; its descriptors are the caller's
 *
 * Return: 0; -EAGAIN (not all of it is here: call again when the socket is
 * readable); -ECONNRESET (the peer is gone); -EPROTO (version is not 1, more
 * descriptors than VU_FDS, or some behind a message's first bytes); -EMSGSIZE
 * (payload larger than any known); -EMFILE (no room for the descriptors that
 * came). After anything but 0 and -EAGAIN the connection is of no more use.
 */
int vu_recv(struct vu_endpoint *e, struct vu_msg *m);

/**
 * vu_recv_wait() - the same, waiting up to @timeout_ms milliseconds (-1: for
 * ever). Return: also -ETIMEDOUT.
 */
int vu_recv_wait(struct vu_endpoint *e, struct vu_msg *m, int timeout_ms);

/**
 * vu_send() - send a message with its descriptors
 * @timeout_ms: how long the peer may leave the socket full; 0: not at all
 *
 * Return: 0; -EAGAIN (full, nothing was sent; only with @timeout_ms 0);
 * -ETIMEDOUT; -ECONNRESET. After the last two the connection is of no more
 * use.
 */
int vu_send(struct vu_endpoint *e, const struct vu_msg *m, int timeout_ms);

#endif
