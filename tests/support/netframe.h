/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netframe.h makes frames for tests, and checks frames by code that is slow,
 * plain and shares nothing with net/.
 */
#ifndef NETFRAME_H
#define NETFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h>

#define NETFRAME_MAX 70000

/**
 * struct netframe_order - what is wanted; zeros are the plainest TCP over IPv4
 * @ipv6, @udp:   else IPv4, TCP
 * @tags:         VLAN tags, the outermost first: 802.1Q or 802.1ad
 * @ip_options:   bytes behind the IPv4 header, 0...40 by 4
 * @extensions:   IPv6 extension headers in order, ended by @extensions_num
 * @extension_len: bytes of each but a fragment header, 8...2048 by 8; 0: 8
 * @tcp_options:  bytes, 0...40 by 4
 * @tcp_flags:    13th byte
 * @payload:      bytes behind TCP's or UDP's header
 * @gso_type, @gso_size: of the virtio_net_hdr
 * @whole_checksum: no NEEDS_CSUM, the checksum is 0
 * @seed:         of addresses, ports, numbers and payload
 */
struct netframe_order {
	bool ipv6, udp;
	unsigned int tags;
	uint16_t tag[8];
	size_t ip_options;
	uint8_t extensions[4];
	unsigned int extensions_num;
	size_t extension_len;
	size_t tcp_options;
	uint8_t tcp_flags;
	size_t payload;
	uint8_t gso_type;
	uint16_t gso_size;
	bool whole_checksum;
	uint32_t seed;
};

/** netframe_make() - Return: bytes of @frame (NETFRAME_MAX of room), at most
 * NETFRAME_MAX; lengths in it are cut to 16 bits where they do not fit */
size_t netframe_make(const struct netframe_order *order,
		     struct virtio_net_hdr *hdr, uint8_t *frame);

/** netframe_random() - the next number of a sequence; *@state: any seed */
uint32_t netframe_random(uint32_t *state);

/** netframe_sum() - the one's-complement sum of big-endian words, byte by byte
 */
uint16_t netframe_sum(uint32_t sum, const uint8_t *p, size_t len);

/**
 * netframe_wrong() - what is wrong with a finished frame that is no fragment?
 *
 * Return: NULL, or what: lengths, the IPv4 header's checksum, TCP's or UDP's.
 */
const char *netframe_wrong(const uint8_t *frame, size_t len);

#endif
