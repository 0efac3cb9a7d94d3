/* SPDX-License-Identifier: BSD-3-Clause */
/* Offsets of the headers of a frame. */
#ifndef OFFLOAD_PRIV_H
#define OFFLOAD_PRIV_H

#include "offload.h"

/**
 * struct headers - offsets into a frame, from its first byte
 * @network:   the IP header, after all tags
 * @transport: the header after IP and its extension headers
 * @protocol:  of @transport, IPPROTO_*
 * @ipv6:      else IPv4
 * @fragment:  there is an IPv6 fragment header
 */
struct headers {
	size_t network, transport;
	uint8_t protocol;
	bool ipv6, fragment;
};

/**
 * headers_find() - whether the frame is IP and has whole headers; @transport
 * may be the end of the frame
 */
bool headers_find(struct headers *h, const uint8_t *frame, size_t len);

/**
 * gso_find() - find the headers of a frame that can be segmented
 * @hdr: GSO, as offload_check() leaves it
 * @end: set to the end of the header of each segment, that of TCP or UDP
 *
 * Return: false where the kernel's segmentation refuses.
 */
bool gso_find(const struct virtio_net_hdr *hdr, const uint8_t *frame,
	      size_t len, struct headers *h, size_t *end);

/** ipv4_len() - bytes of the header at @ip, from its length field */
static inline size_t ipv4_len(const uint8_t *ip)
{
	return (size_t)4 * (ip[0] & 0xf);
}

/** extension_len() - bytes of the IPv6 extension header at @p (no fragment
 * header), from its length field */
static inline size_t extension_len(const uint8_t *p)
{
	return (size_t)8 * p[1] + 8;
}

/** hdr_type() - VIRTIO_NET_HDR_GSO_* without _ECN */
static inline uint8_t hdr_type(const struct virtio_net_hdr *hdr)
{
	return hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
}

#endif
