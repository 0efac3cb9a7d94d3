/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * offload.c checks a virtio_net_hdr, and completes partial checksums.
 *
 * The kernel checks in two places. virtio_net_hdr_to_skb() checks the header
 * and lengths, and the packet only where NEEDS_CSUM is missing. Segmentation
 * checks the packet; since the kernel marks a guest's frame as untrusted
 * (SKB_GSO_DODGY), it does so also where the frame then is not segmented. So
 * both are checked here.
 *
 * Kernels differ. This is Linux 6.12.117. 6.1 has no USO (6.2 has, of up to 64
 * segments), and does not compare csum_start with the length of an IP header.
 * TCP_SEGMENT_MIN is a late stable fix: Debian's 6.1 has it, 6.18.44 has not.
 */
#include "offload.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"
#include "offload_priv.h"

#define ECN VIRTIO_NET_HDR_GSO_ECN
#define NEEDS_CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM

#define TAGS_MAX 7 /* VLAN_MAX_DEPTH, which counts the Ethernet header */
#define IPV4_LEN 20
#define IPV6_LEN 40
#define TCP_LEN 20
#define TCP_CHECK 16
#define UDP_LEN 8
#define UDP_CHECK 6
#define USO_SEGMENTS_MAX 128
#define TCP_SEGMENT_MIN 8 /* smaller sizes become it */
#define BY_FRAGS 0xffff   /* not a size: GSO_BY_FRAGS of the kernel */

/* ---- where the headers are ---- */

/* Finds the IP header. */
static bool find_l3_header(struct headers *h, const uint8_t *frame, size_t len)
{
	unsigned int tags = 0;
	uint16_t type;

	h->network = ETH_HLEN;
	if (len < ETH_HLEN)
		return false;
	type = load_be16(frame + ETH_HLEN - 2);
	while (type == ETH_P_8021Q || type == ETH_P_8021AD) {
		if (++tags > TAGS_MAX || len - h->network < 4)
			return false;
		type = load_be16(frame + h->network + 2);
		h->network += 4;
	}
	h->ipv6 = type == ETH_P_IPV6;
	return h->ipv6 || type == ETH_P_IP;
}

static bool find_transport4(struct headers *h, const uint8_t *frame, size_t len)
{
	size_t ihl;

	if (len - h->network < IPV4_LEN)
		return false;
	ihl = ipv4_len(frame + h->network);
	if (ihl < IPV4_LEN || len - h->network < ihl)
		return false;
	h->transport = h->network + ihl;
	h->protocol = frame[h->network + 9];
	return true;
}

static bool find_transport6(struct headers *h, const uint8_t *frame, size_t len)
{
	if (len - h->network < IPV6_LEN)
		return false;
	h->transport = h->network + IPV6_LEN;
	h->protocol = frame[h->network + 6];
	while (h->protocol == IPPROTO_HOPOPTS ||
	       h->protocol == IPPROTO_ROUTING ||
	       h->protocol == IPPROTO_DSTOPTS ||
	       h->protocol == IPPROTO_FRAGMENT) {
		const uint8_t *extension = frame + h->transport;
		size_t n = 8;

		if (len - h->transport < n)
			return false;
		if (h->protocol == IPPROTO_FRAGMENT)
			h->fragment = true;
		else
			n = extension_len(extension);
		if (len - h->transport < n)
			return false;
		h->protocol = extension[0];
		h->transport += n;
		if (h->fragment) /* the rest may be from the middle of a packet
				  */
			break;
	}
	return true;
}

static bool transport_find(struct headers *h, const uint8_t *frame, size_t len)
{
	return h->ipv6 ? find_transport6(h, frame, len)
		       : find_transport4(h, frame, len);
}

bool headers_find(struct headers *h, const uint8_t *frame, size_t len)
{
	*h = (struct headers){ 0 };
	return find_l3_header(h, frame, len) && transport_find(h, frame, len);
}

/* ---- frames that segmentation refuses ---- */

/* As tcp_gso_segment(): the header with its options. */
static bool tcp_find(const struct headers *h, const uint8_t *frame, size_t len,
		     size_t *end)
{
	size_t n;

	if (len - h->transport < TCP_LEN)
		return false;
	n = (size_t)4 * (frame[h->transport + 12] >> 4);
	if (n < TCP_LEN || len - h->transport < n)
		return false;
	*end = h->transport + n;
	return true;
}

static bool udp_find(const struct headers *h, size_t len, size_t *end)
{
	if (len - h->transport < UDP_LEN)
		return false;
	*end = h->transport + UDP_LEN;
	return true;
}

static bool type_fits(uint8_t type, const struct headers *h)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return h->protocol == IPPROTO_TCP && !h->ipv6;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return h->protocol == IPPROTO_TCP && h->ipv6;
	default:
		return h->protocol == IPPROTO_UDP;
	}
}

static bool gso_fits(const struct virtio_net_hdr *hdr, const uint8_t *frame,
		     size_t len, const struct headers *h, size_t *end)
{
	uint8_t type = hdr_type(hdr);
	size_t size = le16toh(hdr->gso_size);

	if (h->fragment || !type_fits(type, h))
		return false;
	/* IP fragments: UDP's header is payload of the first, and where the
	 * checksum starts does not matter. */
	if (type == VIRTIO_NET_HDR_GSO_UDP)
		return udp_find(h, len, end) && len - h->transport > size;
	if ((hdr->flags & NEEDS_CSUM) &&
	    le16toh(hdr->csum_start) != h->transport)
		return false;
	if (type == VIRTIO_NET_HDR_GSO_UDP_L4 ? !udp_find(h, len, end)
					      : !tcp_find(h, frame, len, end))
		return false;
	return len - *end > size;
}

bool gso_find(const struct virtio_net_hdr *hdr, const uint8_t *frame,
	      size_t len, struct headers *h, size_t *end)
{
	return headers_find(h, frame, len) && gso_fits(hdr, frame, len, h, end);
}

/* ---- frames that virtio_net_hdr_to_skb() refuses ---- */

/* Least bytes of a transport header; 0: no such type. */
static size_t transport_min(uint8_t type)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return TCP_LEN;
	case VIRTIO_NET_HDR_GSO_UDP:
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return UDP_LEN;
	default:
		return 0;
	}
}

static bool csum_ok(const struct virtio_net_hdr *hdr, size_t transport_len,
		    size_t len)
{
	size_t start = le16toh(hdr->csum_start);
	size_t offset = le16toh(hdr->csum_offset);
	size_t least =
		hdr_type(hdr) == VIRTIO_NET_HDR_GSO_TCPV6 ? IPV6_LEN : IPV4_LEN;

	/* As the kernel, which leaves out the link header here. */
	return start >= least && start + MAX(transport_len, offset + 2) <= len;
}

/*
 * The least end of the transport header, as far as the kernel knows it before
 * it segments; 0: refused. Without NEEDS_CSUM the kernel uses its flow
 * dissector, which skips IPv6 fragment headers and tunnels. Tunnels are not
 * skipped here: a sender of a GSO frame in a tunnel has to set NEEDS_CSUM
 * (virtio 1.3 §5.1.6.2.1).
 */
static size_t transport_end(const struct virtio_net_hdr *hdr,
			    const uint8_t *frame, size_t len)
{
	size_t n = transport_min(hdr_type(hdr));
	struct headers h;

	if (hdr->flags & NEEDS_CSUM)
		return le16toh(hdr->csum_start) + n;
	if (!headers_find(&h, frame, len) || len - h.transport < n)
		return 0;
	if (h.protocol != (n == TCP_LEN ? IPPROTO_TCP : IPPROTO_UDP))
		return 0;
	return h.transport + n;
}

/* Rules of each type; @payload: bytes after the shortest transport header. */
static bool type_ok(const struct virtio_net_hdr *hdr, size_t payload)
{
	bool partial = hdr->flags & NEEDS_CSUM;
	uint16_t offset = le16toh(hdr->csum_offset);

	switch (hdr_type(hdr)) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return !partial || offset == TCP_CHECK;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return partial && offset == UDP_CHECK &&
		       !(hdr->gso_type & ECN) &&
		       payload <= (size_t)le16toh(hdr->gso_size) *
					  USO_SEGMENTS_MAX;
	default:
		return true;
	}
}

static void gso_clear(struct virtio_net_hdr *hdr)
{
	hdr->gso_type = VIRTIO_NET_HDR_GSO_NONE;
	hdr->gso_size = 0;
	hdr->hdr_len = 0;
}

static int gso_check(struct virtio_net_hdr *hdr, const uint8_t *frame,
		     size_t len)
{
	size_t size = le16toh(hdr->gso_size);
	size_t end = transport_end(hdr, frame, len);

	if (!size || !end || !type_ok(hdr, len - end))
		return -EINVAL;
	if (transport_min(hdr_type(hdr)) == TCP_LEN)
		size = MAX(size, (size_t)TCP_SEGMENT_MIN);
	if (size == BY_FRAGS)
		return -EINVAL;
	/* UFO counts UDP's header as payload. */
	if (hdr_type(hdr) == VIRTIO_NET_HDR_GSO_UDP)
		end -= UDP_LEN;
	if (len - end <= size)
		gso_clear(hdr); /* one segment: no GSO */
	else
		hdr->gso_size = htole16((uint16_t)size);
	return 0;
}

static int hdr_check(struct virtio_net_hdr *hdr, const uint8_t *frame,
		     size_t len)
{
	size_t transport_len = 0;

	/* The kernel corrects a hdr_len that is too short; it is not used here.
	 */
	if (len < ETH_HLEN || le16toh(hdr->hdr_len) > len)
		return -EINVAL;
	/* A sender must not set DATA_VALID. */
	hdr->flags &= NEEDS_CSUM;
	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		transport_len = transport_min(hdr_type(hdr));
		if (!transport_len)
			return -EINVAL;
	}
	if (!(hdr->flags & NEEDS_CSUM))
		hdr->csum_start = hdr->csum_offset = 0;
	else if (!csum_ok(hdr, transport_len, len))
		return -EINVAL;
	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return gso_check(hdr, frame, len);
	gso_clear(hdr);
	return 0;
}

int offload_check(struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
	int ret = hdr_check(hdr, frame, len);
	struct headers h;
	size_t end;

	if (ret < 0 || hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return ret;
	if (!gso_find(hdr, frame, len, &h, &end))
		return -EINVAL;
	hdr->hdr_len = htole16((uint16_t)MIN(end, (size_t)UINT16_MAX));
	return 0;
}

/* ---- offloads of a receiver ---- */

static uint64_t gso_features(const struct virtio_net_hdr *hdr)
{
	uint64_t ecn = hdr->gso_type & ECN ? BIT(VIRTIO_NET_F_GUEST_ECN) : 0;

	switch (hdr_type(hdr)) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return BIT(VIRTIO_NET_F_GUEST_TSO4) | ecn;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return BIT(VIRTIO_NET_F_GUEST_TSO6) | ecn;
	case VIRTIO_NET_HDR_GSO_UDP:
		return BIT(VIRTIO_NET_F_GUEST_UFO);
	default:
		return BIT(VIRTIO_NET_F_GUEST_USO4) |
		       BIT(VIRTIO_NET_F_GUEST_USO6);
	}
}

enum offload offload_needed(const struct virtio_net_hdr *hdr,
			    uint64_t guest_offloads)
{
	bool partial = hdr->flags & NEEDS_CSUM;
	uint64_t wanted;

	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return !partial || (guest_offloads &
				    BIT(VIRTIO_NET_F_GUEST_CSUM))
			       ? OFFLOAD_NOTHING
			       : OFFLOAD_CHECKSUM;
	/* virtio has no GSO without a partial checksum: only the kernel's
	 * leniency made it so far. */
	wanted = BIT(VIRTIO_NET_F_GUEST_CSUM) | gso_features(hdr);
	return partial && (guest_offloads & wanted) == wanted ? OFFLOAD_NOTHING
							      : OFFLOAD_SEGMENT;
}

/* ---- partial checksums ---- */

void offload_checksum(struct virtio_net_hdr *hdr, uint8_t *frame, size_t len)
{
	size_t start = le16toh(hdr->csum_start);
	size_t offset = le16toh(hdr->csum_offset);
	uint16_t check;

	if (!(hdr->flags & NEEDS_CSUM) || start + offset + 2 > len)
		return;
	check = (uint16_t)~checksum_fold(
		checksum_add(0, frame + start, len - start));
	/* skb_checksum_help() does not ask whether it is UDP */
	if (!check)
		check = 0xffff;
	memcpy(frame + start + offset, &check, sizeof(check));
	hdr->flags = 0;
	hdr->csum_start = hdr->csum_offset = 0;
}
