/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The judgement on frames whose packet to be cut up is in a UDP tunnel (VXLAN,
 * Geneve). What is between the tunnel's UDP header and the inner IP header is
 * not looked at.
 *
 * The kernel finds the outer headers anew when it segments; outer_th_offset
 * only has to be in order (virtio_net_hdr_tnl_to_skb(), Linux 6.17). So the
 * UDP header that is really there may reach into the inner packet.
 */
#include "offload.h"

#include <endian.h>
#include <errno.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"
#include "offload_priv.h"

#define IPV4_LEN 20
#define IPV6_LEN 40
#define UDP_LEN 8

static bool is_ipv6(const struct virtio_net_hdr *hdr,
		    const struct offload_tunnel *tunnel, const uint8_t *frame)
{
	/* USO may be either */
	if (inner_type(hdr) == VIRTIO_NET_HDR_GSO_UDP_L4)
		return frame[le16toh(tunnel->inner_nh_offset)] >> 4 == 6;
	return inner_type(hdr) == VIRTIO_NET_HDR_GSO_TCPV6;
}

bool tunnel_find(const struct virtio_net_hdr *hdr,
		 const struct offload_tunnel *tunnel, const uint8_t *frame,
		 size_t len, struct headers *outer, struct headers *inner,
		 size_t *end)
{
	*inner = (struct headers){
		.network = le16toh(tunnel->inner_nh_offset),
	};
	if (inner->network >= len || !headers_find(outer, frame, len) ||
	    outer->fragment || outer->protocol != IPPROTO_UDP ||
	    outer->transport > inner->network)
		return false;
	inner->ipv6 = is_ipv6(hdr, tunnel, frame);
	return transport_find(inner, frame, len) &&
	       gso_fits(hdr, frame, len, inner, end);
}

/* Are the offsets in order, each header having its least room? */
static bool offsets_ok(const struct virtio_net_hdr *hdr,
		       const struct offload_tunnel *tunnel,
		       const uint8_t *frame, size_t len)
{
	bool outer_ipv6 = hdr->gso_type & VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6;
	size_t outer_th = le16toh(tunnel->outer_th_offset);
	size_t inner_nh = le16toh(tunnel->inner_nh_offset);
	size_t inner_th = le16toh(hdr->csum_start);

	if (outer_th < ETH_HLEN + (outer_ipv6 ? IPV6_LEN : IPV4_LEN) ||
	    inner_nh < outer_th + UDP_LEN || inner_nh >= len)
		return false;
	return inner_th >=
	       inner_nh + (is_ipv6(hdr, tunnel, frame) ? IPV6_LEN : IPV4_LEN);
}

int offload_tunnel_check(struct virtio_net_hdr *hdr,
			 const struct offload_tunnel *tunnel, bool csum,
			 const uint8_t *frame, size_t len)
{
	uint8_t bits = hdr->gso_type & OFFLOAD_GSO_TUNNEL;
	uint8_t flag = hdr->flags & VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM;
	struct headers outer, inner;
	size_t end;

	if (!bits)
		return offload_check(hdr, frame, len);
	if (bits == OFFLOAD_GSO_TUNNEL || (flag && !csum) ||
	    !(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
	    inner_type(hdr) == VIRTIO_NET_HDR_GSO_NONE ||
	    inner_type(hdr) == VIRTIO_NET_HDR_GSO_UDP ||
	    !offsets_ok(hdr, tunnel, frame, len))
		return -EINVAL;
	hdr->gso_type &= (uint8_t)~OFFLOAD_GSO_TUNNEL;
	if (hdr_check(hdr, frame, len) < 0)
		return -EINVAL;
	/* The outer checksum of what is not cut up stays as it came. */
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return 0;
	hdr->gso_type |= bits;
	hdr->flags |= flag;
	if (!tunnel_find(hdr, tunnel, frame, len, &outer, &inner, &end))
		return -EINVAL;
	hdr->hdr_len = htole16((uint16_t)MIN(end, (size_t)UINT16_MAX));
	return 0;
}
