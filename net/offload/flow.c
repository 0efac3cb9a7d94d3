/* SPDX-License-Identifier: BSD-3-Clause */
/* flow.c reads addresses and ports of a frame: its flow, and whether its
 * transport checksum covers more than them. */
#include "offload.h"

#include <endian.h>
#include <string.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"
#include "offload_priv.h"

static uint64_t mix(uint64_t sum, const uint8_t *p, size_t len)
{
	for (; len >= 4; p += 4, len -= 4) {
		uint32_t v;

		memcpy(&v, p, sizeof(v));
		sum = (sum ^ v) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 32;
	}
	return sum;
}

/* Only the first fragment of a packet has ports, and all are of one flow. */
static bool has_ports(const struct headers *h, const uint8_t *frame, size_t len)
{
	if (h->fragment || len < h->transport + 4 ||
	    (h->protocol != IPPROTO_TCP && h->protocol != IPPROTO_UDP))
		return false;
	return h->ipv6 || (load_be16(frame + h->network + 6) & 0x3fff) == 0;
}

uint32_t flow_hash(const uint8_t *frame, size_t len)
{
	struct headers h;
	uint64_t sum;

	if (!headers_find(&h, frame, len))
		return (uint32_t)mix(1, frame, (size_t)2 * ETH_ALEN);
	if (h.ipv6)
		sum = mix(6, frame + h.network + 8, 32);
	else
		sum = mix(4, frame + h.network + 12, 8);
	if (has_ports(&h, frame, len))
		sum = mix(sum, frame + h.transport, 4);
	return (uint32_t)sum;
}

bool checksum_is_partial(const uint8_t *frame, size_t len)
{
	struct headers h;
	const uint8_t *ip;
	uint16_t rest, have;
	uint64_t sum;
	size_t at;

	if (!headers_find(&h, frame, len) || !has_ports(&h, frame, len))
		return false;
	at = h.transport + (h.protocol == IPPROTO_TCP ? 16 : 6);
	if (at + sizeof(have) > len)
		return false;
	ip = frame + h.network;
	rest = (uint16_t)((h.ipv6 ? load_be16(ip + 4) + 40
				  : load_be16(ip + 2)) -
			  (h.transport - h.network));
	sum = checksum_add(0, ip + (h.ipv6 ? 8 : 12), h.ipv6 ? 32 : 8);
	sum += (uint64_t)htobe16(h.protocol) + htobe16(rest);
	memcpy(&have, frame + at, sizeof(have));
	return have == checksum_fold(sum);
}
