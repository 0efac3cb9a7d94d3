/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * offloadbench [SECONDS] - what finishing a frame costs, beside a plain copy of
 * the same bytes. Numbers only.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "netframe.h"
#include "offload.h"

static uint8_t frame[NETFRAME_MAX], to[2 * NETFRAME_MAX];
static struct virtio_net_hdr hdr;
static size_t len;
static double seconds = 0.5;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The copy must not be optimised away. */
static void keep(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

static void copy(void)
{
	memcpy(to, frame, len);
	keep(to);
}

static void cut(void)
{
	struct offload_segments s;
	const uint8_t *payload;
	size_t n, payload_len, at = 0;

	if (offload_segments_begin(&s, &hdr, frame, len) < 0)
		abort();
	while ((n = offload_segments_next(&s, to + at, &payload,
					  &payload_len)) > 0) {
		memcpy(to + at + n, payload, payload_len);
		at += n + payload_len;
	}
	keep(to);
}

/* The same copies without the work in between. */
static void copy_in_pieces(void)
{
	size_t at = 0, size = le16toh(hdr.gso_size), n = le16toh(hdr.hdr_len);

	for (size_t from = n; from < len; from += size) {
		size_t payload_len = MIN(size, len - from);

		memcpy(to + at, frame, n);
		memcpy(to + at + n, frame + from, payload_len);
		at += n + payload_len;
	}
	keep(to);
}

static void check(void)
{
	struct virtio_net_hdr h = hdr;

	if (offload_check(&h, frame, len) < 0)
		abort();
	keep(&h);
}

static void complete(void)
{
	struct virtio_net_hdr h = hdr;

	offload_checksum(&h, frame, len);
	keep(frame);
}

/* The least of many short turns: others on the machine only add to it. */
static void measure(const char *what, void (*run)(void))
{
	double end = now_ns() + seconds * 1e9, least = 1e12;

	do {
		double begin = now_ns();

		for (unsigned int i = 0; i < 50; i++)
			run();
		least = MIN(least, (now_ns() - begin) / 50);
	} while (now_ns() < end);
	printf("  %-34s %8.1f ns\n", what, least);
}

static void make(const char *title, struct netframe_order o)
{
	len = netframe_make(&o, &hdr, frame);
	if (offload_check(&hdr, frame, len) < 0)
		abort();
	printf("%s, %zu bytes\n", title, len);
	measure("offload_check()", check);
	measure("memcpy()", copy);
}

static void gso(const char *title, struct netframe_order o)
{
	make(title, o);
	measure("memcpy() in pieces", copy_in_pieces);
	measure("segments, copied out", cut);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	gso("TSO, IPv4, segments of 1448",
	    (struct netframe_order){ .payload = 65000,
				     .tcp_options = 12,
				     .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				     .gso_size = 1448 });
	gso("TSO, IPv6, segments of 1428",
	    (struct netframe_order){ .ipv6 = true,
				     .payload = 65000,
				     .tcp_options = 12,
				     .gso_type = VIRTIO_NET_HDR_GSO_TCPV6,
				     .gso_size = 1428 });
	gso("USO, IPv4, segments of 1472",
	    (struct netframe_order){ .udp = true,
				     .payload = 65000,
				     .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
				     .gso_size = 1472 });
	make("partial checksum",
	     (struct netframe_order){ .payload = 1448, .tcp_options = 12 });
	measure("offload_checksum()", complete);
	return 0;
}
