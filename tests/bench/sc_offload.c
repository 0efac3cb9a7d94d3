/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_offload.c measures what finishing a frame costs (net/offload/), beside a
 * plain copy of the same bytes.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bytes.h"
#include "netframe.h"
#include "offload.h"

#define TURNS 50 /* frames between two looks at the clock */

struct offload_bench {
	struct virtio_net_hdr hdr;
	size_t len;
	uint8_t frame[NETFRAME_MAX], to[2 * NETFRAME_MAX];
};

struct offload_case {
	struct netframe_order order;
	void (*ours)(struct offload_bench *p);
	void (*bare)(struct offload_bench *p);
};

/* The copy must not be optimised away. */
static void keep(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

static void copy(struct offload_bench *p)
{
	memcpy(p->to, p->frame, p->len);
	keep(p->to);
}

static void cut(struct offload_bench *p)
{
	struct offload_segments s;
	const uint8_t *payload;
	size_t n, payload_len, at = 0;

	if (offload_segments_begin(&s, &p->hdr, p->frame, p->len) < 0)
		abort();
	while ((n = offload_segments_next(&s, p->to + at, &payload,
					  &payload_len)) > 0) {
		memcpy(p->to + at + n, payload, payload_len);
		at += n + payload_len;
	}
	keep(p->to);
}

/* The same copies without the work in between. */
static void copy_in_pieces(struct offload_bench *p)
{
	size_t at = 0, size = le16toh(p->hdr.gso_size);
	size_t n = le16toh(p->hdr.hdr_len);

	for (size_t from = n; from < p->len; from += size) {
		size_t payload_len = MIN(size, p->len - from);

		memcpy(p->to + at, p->frame, n);
		memcpy(p->to + at + n, p->frame + from, payload_len);
		at += n + payload_len;
	}
	keep(p->to);
}

static void check(struct offload_bench *p)
{
	struct virtio_net_hdr h = p->hdr;

	if (offload_check(&h, p->frame, p->len) < 0)
		abort();
	keep(&h);
}

static void complete(struct offload_bench *p)
{
	struct virtio_net_hdr h = p->hdr;

	offload_checksum(&h, p->frame, p->len);
	keep(p->frame);
}

/* ---- the scenarios' functions ---- */

static int offload_open(struct bench *b)
{
	const struct offload_case *c = b->scenario->arg;
	struct offload_bench *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	b->priv = p;
	bench_pin(0, BENCH_CPU_BACKEND);
	p->len = netframe_make(&c->order, &p->hdr, p->frame);
	memset(p->to, 0, sizeof(p->to));
	if (offload_check(&p->hdr, p->frame, p->len) < 0)
		return bench_why(b, -EINVAL, "offload_check() refuses");
	return 0;
}

static int offload_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct offload_case *c = b->scenario->arg;
	void (*run)(struct offload_bench *p) =
		b->side == BENCH_OURS ? c->ours : c->bare;
	uint64_t start = bench_now_ns(), now = start;
	struct offload_bench *p = b->priv;

	while (now - start < ns) {
		for (unsigned int i = 0; i < TURNS; i++)
			run(p);
		out->ops += TURNS;
		now = bench_now_ns();
	}
	out->ns = now - start;
	out->bytes = out->ops * p->len;
	return 0;
}

static void offload_close(struct bench *b)
{
	free(b->priv);
}

#define OFFLOAD(n, w, p, run_ours, run_bare, ...)                              \
	{                                                                      \
		.name = "offload/" n,                                          \
		.what = w,                                                     \
		.op = "frame",                                                 \
		.measure = BENCH_TIME,                                         \
		.peer = p,                                                     \
		.linked = true,                                                \
		.open = offload_open,                                          \
		.slice = offload_slice,                                        \
		.close = offload_close,                                        \
		.arg = &(const struct offload_case){ .order = { __VA_ARGS__ }, \
						     .ours = run_ours,         \
						     .bare = run_bare },       \
	}

const struct scenario scenarios_offload[] = {
	OFFLOAD("check", "header of a TCP frame of 1514 bytes is checked",
		"memcpy()", check, copy, .payload = 1448, .tcp_options = 12),
	OFFLOAD("checksum", "partial checksum of 1514 bytes is completed",
		"memcpy()", complete, copy, .payload = 1448, .tcp_options = 12),
	OFFLOAD("tso4", "65000 bytes of TCP in segments of 1448",
		"memcpy() in pieces", cut, copy_in_pieces, .payload = 65000,
		.tcp_options = 12, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1448),
	OFFLOAD("tso6", "65000 bytes of TCP over IPv6 in segments of 1428",
		"memcpy() in pieces", cut, copy_in_pieces, .ipv6 = true,
		.payload = 65000, .tcp_options = 12,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 1428),
	OFFLOAD("uso4", "65000 bytes of UDP in datagrams of 1472",
		"memcpy() in pieces", cut, copy_in_pieces, .udp = true,
		.payload = 65000, .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
		.gso_size = 1472),
	{ 0 },
};
