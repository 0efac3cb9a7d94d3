/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * null.c is the port of benchmarks and tests: it drops the frames that are
 * sent, and generates the frames that are received.
 *
 * A port that does not copy reads one byte of each cache line that is sent. Of
 * a frame that it generates it writes only the headers; the bytes behind them
 * are those that the buffer had. So a benchmark of the path before the port
 * does not include a copy that other ports do not make.
 *
 * A port that copies does what a backend with packet buffers of its own does
 * (DPDK): frame i of a batch is copied to slot i % SLOTS of @copies, and a
 * generated frame is copied whole. Slots are as far apart as packet buffers of
 * the usual size, so that @copies uses as much of the processor's caches as
 * they do. A longer frame extends into the next slots, which nothing reads.
 */
#include "netport.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "portutil.h"

#define CACHE_LINE 64
#define HDR_MAX 24             /* longest virtio_net_hdr */
#define WRITTEN 64             /* of an Ethernet frame */
#define ETHERTYPE_LOCAL 0x88b5 /* IEEE 802: local experiments */

#define SLOTS 32 /* a burst */
#define SLOT_SIZE 2048
#define COPIES_SIZE ((size_t)SLOTS * SLOT_SIZE + HDR_MAX + NETPORT_ETH_MAX)

/**
 * struct null - a null port
 * @copies:    COPIES_SIZE bytes for frames that are sent; NULL: they are not
 * copied
 * @seen:    sum of the bytes read, so that the compiler keeps the loads
 * @frame_len: bytes of the Ethernet frame; 0: there is none
 * @written: of these, those that are written when the frame is received
 * @frame:   the frame received: HDR_MAX zeroes, then @written bytes
 */
struct null {
	struct netport port;
	char *copies;
	unsigned int seen;
	unsigned int frame_len, written;
	char frame[];
};

static struct null *to_null(struct netport *port)
{
	return container_of(port, struct null, port);
}

/* One load a cache line: the cost of the first access of a consumer. */
static void touch_lines(struct null *nl, const char *from, size_t len)
{
	for (size_t i = 0; i < len; i += CACHE_LINE)
		nl->seen += *(const volatile char *)&from[i];
}

static int null_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	struct null *nl = to_null(port);

	for (unsigned int i = 0; nl->copies && i < n; i++) {
		size_t at = (size_t)(i % SLOTS) * SLOT_SIZE;

		frame_load(&frames[i], 0, nl->copies + at, COPIES_SIZE - at);
	}
	for (unsigned int i = 0; !nl->copies && i < n; i++)
		for (unsigned int j = 0; j < frames[i].iovcnt; j++)
			touch_lines(nl, frames[i].iov[j].iov_base,
				    frames[i].iov[j].iov_len);
	return n ? (int)n : -EAGAIN;
}

/* A frame of @len bytes, of which the first @written are @from. */
static void fill_frame(struct frame *f, const char *from, size_t written,
		       size_t len)
{
	size_t space = frame_space(f);

	iov_put(f->iov, f->iovcnt, 0, from, written);
	f->len = (uint32_t)MIN(len, space);
	f->trunc = len > space;
}

static int null_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct null *nl = to_null(port);
	size_t hdr_len = MIN(port->hdr_len, HDR_MAX);

	if (!nl->frame_len || !n)
		return -EAGAIN;
	for (unsigned int i = 0; i < n; i++)
		fill_frame(&frames[i], nl->frame + HDR_MAX - hdr_len,
			   hdr_len + nl->written, hdr_len + nl->frame_len);
	return (int)n;
}

static void null_close(struct netport *port)
{
	free(to_null(port)->copies);
	port_free(port);
}

static const struct netport_ops null_ops = {
	.name = "null",
	.send = null_send,
	.recv = null_recv,
	.close = null_close,
};

static void make_frame(char *frame, unsigned int len)
{
	struct ethhdr eth = {
		.h_dest = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		.h_source = { 0x02, 0, 0, 0, 0, 0x01 }, /* locally given */
		.h_proto = htobe16(ETHERTYPE_LOCAL),
	};

	for (unsigned int i = 0; i < len; i++)
		frame[i] = (char)i;
	memcpy(frame, &eth, MIN(len, sizeof(eth)));
}

int netport_null_new(unsigned int frame_len, bool copy, struct netport **out)
{
	unsigned int written = copy ? frame_len : MIN(frame_len, WRITTEN);
	struct null *nl;

	if (frame_len &&
	    (frame_len < NETPORT_ETH_MIN || frame_len > NETPORT_ETH_MAX))
		return -EINVAL;
	nl = port_new(sizeof(*nl) + HDR_MAX + written, &null_ops, -1);
	if (!nl)
		return -ENOMEM;
	nl->frame_len = frame_len;
	nl->written = written;
	make_frame(nl->frame + HDR_MAX, written);
	if (copy) {
		nl->copies = calloc(1, COPIES_SIZE);
		if (!nl->copies) {
			free(nl);
			return -ENOMEM;
		}
	}
	*out = &nl->port;
	return 0;
}
