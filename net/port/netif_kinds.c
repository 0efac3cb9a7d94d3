/* SPDX-License-Identifier: BSD-3-Clause */
/* netif_kinds.c lists the kinds of interface, in the order of --help. */
#include "netif_priv.h"

#include "bytes.h"

/* clang-format off */
const struct netif_kind *const netif_kinds[] = {
	&netif_tap,
	&netif_macvtap,
	&netif_packet,
	&netif_qemu,
	&netif_gen,
	&netif_null,
	&netif_loop,
	&netif_pcap,
	&netif_pcap_in,
	&netif_pcap_out,
};
/* clang-format on */

const size_t netif_nkinds = ARRAY_SIZE(netif_kinds);
