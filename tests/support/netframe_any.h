/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netframe_any.h makes frames as a guest may send them: of all kinds, most
 * good, some damaged in their virtio_net_hdr or in themselves. The sequence is
 * the same for the same seed.
 */
#ifndef NETFRAME_ANY_H
#define NETFRAME_ANY_H

#include "netframe.h"

/** NETFRAME_ANY_MAX - bytes of the longest: an Ethernet MTU of 65535 */
#define NETFRAME_ANY_MAX (65535 + 14)

/** struct netframe_any - one; @kind: in words */
struct netframe_any {
	struct virtio_net_hdr hdr;
	size_t len;
	const char *kind;
	uint8_t frame[NETFRAME_MAX];
};

void netframe_any(uint32_t *random, struct netframe_any *a);

#endif
