/* SPDX-License-Identifier: BSD-3-Clause */
#include "netframe.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

/* xorshift32 */
uint32_t netframe_random(uint32_t *state)
{
	uint32_t x = *state ? *state : 0x9e3779b9;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void fill(uint8_t *p, size_t len, uint32_t *random)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)netframe_random(random);
}

uint16_t netframe_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

static uint16_t pseudo_header(const uint8_t *ip, bool ipv6, uint8_t protocol,
			      size_t len)
{
	uint8_t tail[8] = { 0, 0,       (uint8_t)(len >> 8), (uint8_t)len, 0, 0,
			    0, protocol };
	uint16_t sum = netframe_sum(0, tail, sizeof(tail));

	tail[1] = (uint8_t)(len >> 16);
	sum = netframe_sum(sum, tail, 2);
	return ipv6 ? netframe_sum(sum, ip + 8, 32)
		    : netframe_sum(sum, ip + 12, 8);
}

static size_t make_link(const struct netframe_order *o, uint8_t *frame)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };
	size_t at = sizeof(macs);

	memcpy(frame, macs, sizeof(macs));
	for (unsigned int i = 0; i < o->tags; i++, at += 4) {
		put16(frame + at, o->tag[i]);
		put16(frame + at + 2, 0x2000 + i + 1);
	}
	put16(frame + at, o->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	return at + 2;
}

static size_t make_ipv4(const struct netframe_order *o, uint8_t *ip,
			size_t l4_len, uint32_t *random)
{
	size_t len = 20 + o->ip_options;

	fill(ip, len, random);
	ip[0] = (uint8_t)(0x40 + len / 4);
	ip[1] = 0;
	put16(ip + 2, len + l4_len);
	put16(ip + 6, 0x4000); /* DF */
	ip[8] = 64;
	ip[9] = o->udp ? IPPROTO_UDP : IPPROTO_TCP;
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~netframe_sum(0, ip, len));
	return len;
}

static size_t make_ipv6(const struct netframe_order *o, uint8_t *ip,
			size_t l4_len, uint32_t *random)
{
	uint8_t *next = ip + 6;
	size_t len = 40;

	fill(ip, len, random);
	ip[0] = 0x60;
	for (unsigned int i = 0; i < o->extensions_num; i++) {
		uint8_t kind = o->extensions[i];
		size_t n = o->extension_len && kind != IPPROTO_FRAGMENT
				   ? o->extension_len
				   : 8;

		*next = kind;
		next = ip + len;
		memset(ip + len, 0, n);
		ip[len + 1] = (uint8_t)(n / 8 - 1);
		if (kind != IPPROTO_FRAGMENT) { /* one option: PadN */
			ip[len + 2] = 1;
			ip[len + 3] = (uint8_t)(n - 4);
		}
		len += n;
	}
	*next = o->udp ? IPPROTO_UDP : IPPROTO_TCP;
	put16(ip + 4, len - 40 + l4_len);
	return len;
}

static size_t make_l4(const struct netframe_order *o, uint8_t *l4,
		      uint32_t *random)
{
	size_t len = o->udp ? 8 : 20 + o->tcp_options;

	fill(l4, len + o->payload, random);
	if (o->udp) {
		put16(l4 + 4, len + o->payload);
	} else {
		l4[12] = (uint8_t)(len / 4 << 4);
		l4[13] = o->tcp_flags;
	}
	return len;
}

size_t netframe_make(const struct netframe_order *o, struct virtio_net_hdr *hdr,
		     uint8_t *frame)
{
	size_t l4_len = (o->udp ? 8 : 20 + o->tcp_options) + o->payload;
	size_t check = o->udp ? 6 : 16;
	size_t network = make_link(o, frame);
	uint32_t random = o->seed;
	uint8_t *ip = frame + network;
	size_t transport =
		network + (o->ipv6 ? make_ipv6(o, ip, l4_len, &random)
				   : make_ipv4(o, ip, l4_len, &random));
	uint8_t *l4 = frame + transport;
	size_t header_len = transport + make_l4(o, l4, &random);

	*hdr = (struct virtio_net_hdr){
		.gso_type = o->gso_type,
		.gso_size = htole16(o->gso_size),
		.hdr_len = htole16((uint16_t)header_len),
	};
	put16(l4 + check, 0);
	if (!o->whole_checksum) {
		put16(l4 + check,
		      pseudo_header(ip, o->ipv6,
				    o->udp ? IPPROTO_UDP : IPPROTO_TCP,
				    l4_len));
		hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr->csum_start = htole16((uint16_t)transport);
		hdr->csum_offset = htole16((uint16_t)check);
	}
	return transport + l4_len;
}

/* ---- looking at one ---- */

static const char *l4_wrong(const uint8_t *ip, bool ipv6, uint8_t protocol,
			    const uint8_t *l4, size_t len)
{
	uint16_t sum = pseudo_header(ip, ipv6, protocol, len);

	if (protocol == IPPROTO_UDP && (len < 8 || get16(l4 + 4) != len))
		return "UDP's length";
	if (protocol == IPPROTO_UDP && !get16(l4 + 6))
		return "UDP has no checksum";
	if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP)
		return "neither TCP nor UDP";
	return netframe_sum(sum, l4, len) == 0xffff ? NULL
						    : "the checksum of TCP/UDP";
}

static const char *ipv4_wrong(const uint8_t *ip, size_t len)
{
	size_t ihl = (ip[0] & 0xfu) * 4;

	if (len < 20 || ihl < 20 || len < ihl)
		return "IPv4's header is cut off";
	if (get16(ip + 2) != len)
		return "IPv4's length";
	if (netframe_sum(0, ip, ihl) != 0xffff)
		return "the checksum of IPv4's header";
	return l4_wrong(ip, false, ip[9], ip + ihl, len - ihl);
}

static const char *ipv6_wrong(const uint8_t *ip, size_t len)
{
	size_t at = 40;
	uint8_t next;

	if (len < at)
		return "IPv6's header is cut off";
	if (get16(ip + 4) != len - at)
		return "IPv6's length";
	next = ip[6];
	while (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
	       next == IPPROTO_DSTOPTS) {
		if (len - at < 8 || len - at < (ip[at + 1] + 1u) * 8)
			return "an extension header is cut off";
		next = ip[at];
		at += (ip[at + 1] + 1u) * 8;
	}
	return l4_wrong(ip, true, next, ip + at, len - at);
}

const char *netframe_wrong(const uint8_t *frame, size_t len)
{
	size_t at = 12;

	while (len >= at + 2 && (get16(frame + at) == ETH_P_8021Q ||
				 get16(frame + at) == ETH_P_8021AD))
		at += 4;
	if (len < at + 2)
		return "the link header is cut off";
	at += 2;
	switch (get16(frame + at - 2)) {
	case ETH_P_IP:
		return ipv4_wrong(frame + at, len - at);
	case ETH_P_IPV6:
		return ipv6_wrong(frame + at, len - at);
	default:
		return "neither IPv4 nor IPv6";
	}
}
