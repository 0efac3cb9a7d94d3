/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port of benches and tests: costs what a first look at the bytes costs. Of
 * a frame that it makes up only the headers are written; behind them is what
 * the room held, so that a bench does not pay for a copy that a port would not
 * make.
 */
#include "netport.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "port_priv.h"

#define CACHE_LINE 64
#define HDR_MAX 24             /* longest virtio_net_hdr */
#define WRITTEN 64             /* of an Ethernet frame */
#define ETHERTYPE_LOCAL 0x88b5 /* IEEE 802: local experiments */

/**
 * struct null - a null port
 * @seen:    of what was sent; keeps the loads
 * @frame:   what is received: HDR_MAX zeroes, then how the frame begins
 * @frame_len: bytes of the Ethernet frame; 0: there never is one
 */
struct null {
	struct netport port;
	unsigned int seen;
	char frame[HDR_MAX + WRITTEN];
	unsigned int frame_len;
};

static struct null *to_null(struct netport *port)
{
	return container_of(port, struct null, port);
}

/* One load a cache line: what the first look of a consumer costs. */
static void touch_lines(struct null *nl, const char *from, size_t len)
{
	for (size_t i = 0; i < len; i += CACHE_LINE)
		nl->seen += *(const volatile char *)&from[i];
}

static int null_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	struct null *nl = to_null(port);

	for (unsigned int i = 0; i < n; i++)
		for (unsigned int j = 0; j < frames[i].iovcnt; j++)
			touch_lines(nl, frames[i].iov[j].iov_base,
				    frames[i].iov[j].iov_len);
	return n ? (int)n : -EAGAIN;
}

/* A frame of @len bytes, of which the first @written are @from. */
static void fill_frame(struct frame *f, const char *from, size_t written,
		       size_t len)
{
	size_t left = len;

	for (unsigned int i = 0; i < f->iovcnt && left; i++) {
		size_t part = MIN(left, f->iov[i].iov_len);
		size_t now = MIN(part, written);

		if (now)
			memcpy(f->iov[i].iov_base, from, now);
		from += now;
		written -= now;
		left -= part;
	}
	f->len = (uint32_t)(len - left);
	f->trunc = left > 0;
}

static int null_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct null *nl = to_null(port);
	size_t hdr_len = MIN(port->hdr_len, HDR_MAX);

	if (!nl->frame_len || !n)
		return -EAGAIN;
	for (unsigned int i = 0; i < n; i++)
		fill_frame(&frames[i], nl->frame + HDR_MAX - hdr_len,
			   hdr_len + MIN(nl->frame_len, WRITTEN),
			   hdr_len + nl->frame_len);
	return (int)n;
}

static void null_close(struct netport *port)
{
	free(to_null(port));
}

static const struct netport_ops null_ops = {
	.name = "null",
	.send = null_send,
	.recv = null_recv,
	.close = null_close,
};

static void make_frame(char *frame)
{
	struct ethhdr eth = {
		.h_dest = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		.h_source = { 0x02, 0, 0, 0, 0, 0x01 }, /* locally given */
		.h_proto = htobe16(ETHERTYPE_LOCAL),
	};

	memcpy(frame, &eth, sizeof(eth));
	for (unsigned int i = sizeof(eth); i < WRITTEN; i++)
		frame[i] = (char)i;
}

int netport_null_new(unsigned int frame_len, struct netport **out)
{
	struct null *nl;

	if (frame_len &&
	    (frame_len < NETPORT_ETH_MIN || frame_len > NETPORT_ETH_MAX))
		return -EINVAL;
	nl = calloc(1, sizeof(*nl));
	if (!nl)
		return -ENOMEM;
	nl->port.ops = &null_ops;
	nl->port.fd = -1;
	nl->frame_len = frame_len;
	make_frame(nl->frame + HDR_MAX);
	*out = &nl->port;
	return 0;
}
