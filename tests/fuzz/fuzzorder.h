/* SPDX-License-Identifier: BSD-3-Clause */
/* A frame to the order of the input. */
#ifndef FUZZORDER_H
#define FUZZORDER_H

#include <netinet/in.h>

#include "fuzz.h"
#include "netframe.h"
#include "offload.h"

static inline struct netframe_order in_order(struct input *in)
{
	static const uint8_t types[] = { VIRTIO_NET_HDR_GSO_NONE,
					 VIRTIO_NET_HDR_GSO_TCPV4,
					 VIRTIO_NET_HDR_GSO_TCPV6,
					 VIRTIO_NET_HDR_GSO_UDP,
					 VIRTIO_NET_HDR_GSO_UDP_L4 };
	static const uint8_t kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING,
					 IPPROTO_DSTOPTS, IPPROTO_FRAGMENT };
	struct netframe_order o = { .ipv6 = in_below(in, 2) };

	o.udp = in_below(in, 2);
	o.tags = in_below(in, 9);
	for (unsigned int i = 0; i < o.tags; i++)
		o.tag[i] = in_below(in, 2) ? 0x8100 : 0x88a8;
	o.ip_options = 4 * (size_t)in_below(in, 11);
	o.extensions_num = in_below(in, 5);
	for (unsigned int i = 0; i < o.extensions_num; i++)
		o.extensions[i] = kinds[in_below(in, 4)];
	o.extension_len = 8 * (size_t)in_below(in, 64);
	o.tcp_options = 4 * (size_t)in_below(in, 11);
	o.tcp_flags = in_u8(in);
	o.payload = in_below(in, 60000);
	o.gso_type = types[in_below(in, 5)];
	if (in_below(in, 2))
		o.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	o.gso_size = in_u16(in);
	o.whole_checksum = in_below(in, 2);
	o.seed = in_u32(in);
	return o;
}

#endif
