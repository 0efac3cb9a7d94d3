/* SPDX-License-Identifier: BSD-3-Clause */
#include "netframe_any.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"
#include "offload.h"

#define TCP4 VIRTIO_NET_HDR_GSO_TCPV4
#define TCP6 VIRTIO_NET_HDR_GSO_TCPV6
#define UFO VIRTIO_NET_HDR_GSO_UDP
#define USO VIRTIO_NET_HDR_GSO_UDP_L4
#define ECN VIRTIO_NET_HDR_GSO_ECN

static uint32_t any(uint32_t *random)
{
	return netframe_random(random);
}

static uint32_t below(uint32_t *random, uint32_t n)
{
	return (uint32_t)(((uint64_t)any(random) * n) >> 32);
}

static bool one_in(uint32_t *random, uint32_t n)
{
	return below(random, n) == 0;
}

static size_t payload_size(uint32_t *random)
{
	switch (below(random, 6)) {
	case 0:
		return below(random, 16);
	case 1:
		return below(random, 65000);
	default:
		return below(random, 5000);
	}
}

static uint16_t segment_size(uint32_t *random)
{
	static const uint16_t some[] = { 1,   7,    8,    9,    100,  536,
					 999, 1000, 1448, 1460, 1480, 8000 };

	switch (below(random, 8)) {
	case 0:
		return (uint16_t)any(random);
	case 1:
		return (uint16_t)below(random, 64);
	default:
		return some[below(random, ARRAY_SIZE(some))];
	}
}

static struct netframe_order any_order(uint32_t *random)
{
	static const uint8_t kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING,
					 IPPROTO_DSTOPTS };
	struct netframe_order o = { .ipv6 = one_in(random, 2) };
	uint32_t n;

	o.udp = one_in(random, 2);
	o.payload = payload_size(random);
	o.whole_checksum = one_in(random, 6);
	o.seed = any(random) | 1;
	if (one_in(random, 3))
		o.tags = 1 + below(random, 2);
	for (size_t i = 0; i < ARRAY_SIZE(o.tag); i++)
		o.tag[i] = one_in(random, 2) ? ETH_P_8021Q : ETH_P_8021AD;
	if (one_in(random, 20))
		o.tags = below(random, 9);
	if (one_in(random, 3))
		o.ip_options = 4 * (size_t)below(random, 11);
	if (one_in(random, 3)) {
		o.extensions_num = 1 + below(random, 3);
		n = one_in(random, 8) ? 40 : 4;
		o.extension_len = 8 * (1 + (size_t)below(random, n));
	}
	for (size_t i = 0; i < ARRAY_SIZE(o.extensions); i++)
		o.extensions[i] =
			one_in(random, 30)
				? IPPROTO_FRAGMENT
				: kinds[below(random, ARRAY_SIZE(kinds))];
	if (one_in(random, 2))
		o.tcp_options = 4 * (size_t)below(random, 11);
	o.tcp_flags = (uint8_t)any(random);
	if (!one_in(random, 4)) {
		o.gso_size = segment_size(random);
		if (o.udp)
			o.gso_type = one_in(random, 2) ? UFO : USO;
		else
			o.gso_type = o.ipv6 ? TCP6 : TCP4;
		if (one_in(random, o.udp ? 20 : 4))
			o.gso_type |= ECN;
	}
	return o;
}

static uint16_t nudge(uint32_t *random, size_t len, uint16_t le)
{
	uint16_t v = le16toh(le);

	switch (below(random, 4)) {
	case 0:
		return htole16((uint16_t)any(random));
	case 1:
		return htole16((uint16_t)below(random, 200));
	case 2:
		return htole16((uint16_t)(len + below(random, 5) - 2));
	default:
		return htole16((uint16_t)(v + below(random, 9) - 4));
	}
}

static void damage_hdr(uint32_t *random, struct virtio_net_hdr *hdr, size_t len)
{
	static const uint8_t types[] = { 0,    TCP4,        TCP6, UFO,
					 USO,  ECN,         2,    6,
					 0x20, TCP4 | 0x20, 0x40, TCP4 | ECN,
					 0x60 };

	switch (below(random, 7)) {
	case 0:
		hdr->flags = (uint8_t)any(random);
		break;
	case 1:
		hdr->flags ^= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		break;
	case 2:
		hdr->gso_type = types[below(random, ARRAY_SIZE(types))];
		break;
	case 3:
		hdr->hdr_len = nudge(random, len, hdr->hdr_len);
		break;
	case 4:
		hdr->gso_size = nudge(random, len, hdr->gso_size);
		break;
	case 5:
		hdr->csum_start = nudge(random, len, hdr->csum_start);
		break;
	default:
		hdr->csum_offset = nudge(random, len, hdr->csum_offset);
	}
}

static size_t damage_frame(uint32_t *random, uint8_t *frame, size_t len)
{
	size_t n;

	switch (below(random, 4)) {
	case 0: /* cut off */
		len = one_in(random, 2)
			      ? below(random, (uint32_t)len)
			      : MIN(len, 14 + (size_t)below(random, 120));
		break;
	case 1: /* a trailer */
		if (len < 12)
			break; /* no bridge takes any addresses */
		n = below(random, 64);
		n = MIN(n, NETFRAME_MAX - len);
		memset(frame + len, 0x55, n);
		len += n;
		break;
	default:
		n = 12 + below(random, 100);
		if (n < len)
			frame[n] = one_in(random, 2)
					   ? (uint8_t)any(random)
					   : frame[n] ^ 1u << below(random, 8);
	}
	return len;
}

static const char *kind_of(const struct netframe_order *o)
{
	static const char *const kinds[] = { "TCP/IPv4", "UDP/IPv4", "TCP/IPv6",
					     "UDP/IPv6" };

	return kinds[(o->ipv6 ? 2 : 0) + (o->udp ? 1 : 0)];
}

void netframe_any(uint32_t *random, struct netframe_any *a)
{
	struct netframe_order o = any_order(random);

	a->len = netframe_make(&o, &a->hdr, a->frame);
	a->kind = kind_of(&o);
	while (one_in(random, 3))
		damage_hdr(random, &a->hdr, a->len);
	while (one_in(random, 4))
		a->len = damage_frame(random, a->frame, a->len);
	a->len = MIN(a->len, (size_t)NETFRAME_ANY_MAX);
}
