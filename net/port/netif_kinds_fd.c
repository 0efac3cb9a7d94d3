/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif_kinds_fd.c is netif_kinds.c for a program that is handed interfaces
 * (netif_adopt()) and opens none: the kinds that another process can have.
 */
#include "netif_priv.h"

#include "bytes.h"

/* clang-format off */
const struct netif_kind *const netif_kinds[] = {
	&netif_tap,
	&netif_macvtap,
	&netif_packet,
	&netif_null,
	&netif_loop,
};
/* clang-format on */

const size_t netif_nkinds = ARRAY_SIZE(netif_kinds);
