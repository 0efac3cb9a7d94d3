/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * segment.c segments GSO frames. A segment is the frame's headers, patched, and
 * a part of its payload, which stays where it is.
 *
 * Checksums are corrected by the change of length, as the kernel does it, and
 * not computed again: if the sender's partial checksum is wrong, so are those
 * of the segments. Without a partial checksum (no NEEDS_CSUM) the pseudo header
 * is summed here. UFO is different: the checksum of the datagram is computed
 * before the datagram is split into IP fragments.
 */
#include "offload.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "bytes.h"
#include "checksum.h"
#include "offload_priv.h"

/* Offsets into headers */
#define IPV4_TOT_LEN 2
#define IPV4_ID 4
#define IPV4_FRAG_OFF 6
#define IPV4_CHECK 10
#define IPV4_ADDRS 12
#define IPV6_LEN 40
#define IPV6_PAYLOAD_LEN 4
#define IPV6_NEXT 6
#define IPV6_ADDRS 8
#define TCP_SEQ 4
#define TCP_FLAGS 13
#define TCP_CHECK 16
#define UDP_UDP_LEN 4
#define UDP_CHECK 6
#define UDP_LEN 8

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

#define IPV4_MF 0x2000
#define IPV6_MF 0x0001
#define FRAGMENT_LEN 8

static uint16_t raw16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void put_raw16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* Lengths and counters are truncated to 16 bits, as in the kernel. */
static void put_be16(uint8_t *p, size_t v)
{
	put_raw16(p, htons((uint16_t)v));
}

static uint32_t be32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static void put_be32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, sizeof(v));
}

/* ---- begin ---- */

/* @len: bytes after the IP headers */
static uint64_t pseudo_header(const uint8_t *ip, bool ipv6, uint8_t protocol,
			      size_t len)
{
	uint64_t sum = (uint64_t)htonl((uint32_t)len) + htonl(protocol);

	return ipv6 ? checksum_add(sum, ip + IPV6_ADDRS, 32)
		    : checksum_add(sum, ip + IPV4_ADDRS, 8);
}

/*
 * The offset at which a fragment header is inserted, as ip6_find_1stfragopt(),
 * but without its rule for home addresses (MIPv6). *@next: offset of the
 * next-header field before it. The extension headers were checked before.
 */
static size_t fragment_place(const uint8_t *frame, const struct headers *h,
			     size_t *next)
{
	size_t at = h->network + IPV6_LEN;
	bool routed = false;

	*next = h->network + IPV6_NEXT;
	while (at < h->transport) {
		if (frame[*next] == IPPROTO_DSTOPTS && routed)
			break;
		routed |= frame[*next] == IPPROTO_ROUTING;
		*next = at;
		at += extension_len(frame + at);
	}
	return at;
}

static uint32_t fragment_id(uint32_t else_id)
{
	uint32_t id = 0;

	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) == sizeof(id) && id)
		return id;
	return else_id ? else_id : 1;
}

static void begin_fragments(struct offload_segments *s, const struct headers *h)
{
	const uint8_t *udp = s->frame + h->transport;
	size_t len = s->len - h->transport;
	uint64_t sum;
	uint16_t check;

	memcpy(s->udp, udp, UDP_LEN);
	put_raw16(s->udp + UDP_CHECK, 0);
	sum = pseudo_header(s->frame + h->network, h->ipv6, IPPROTO_UDP, len);
	sum = checksum_add(sum, s->udp, UDP_LEN);
	sum = checksum_add(sum, udp + UDP_LEN, len - UDP_LEN);
	check = (uint16_t)~checksum_fold(sum);
	put_raw16(s->udp + UDP_CHECK, check ? check : 0xffff);
	s->header_len = s->next = h->transport;
	if (!h->ipv6)
		return;
	s->fragment_at = fragment_place(s->frame, h, &s->fragment_next);
	s->fragment_id = fragment_id((uint32_t)sum);
}

/* Subtracts the old length from the checksum field. */
static void begin_segments(struct offload_segments *s, const struct headers *h,
			   bool partial)
{
	const uint8_t *l4 = s->frame + h->transport;
	uint32_t len = (uint32_t)(s->len - h->transport);
	uint64_t sum;

	if (s->type == VIRTIO_NET_HDR_GSO_UDP_L4)
		sum = (uint64_t)raw16(l4 + UDP_CHECK) +
		      (uint16_t)~raw16(l4 + UDP_UDP_LEN);
	else if (partial)
		sum = (uint64_t)raw16(l4 + TCP_CHECK) + htonl(~len);
	else
		sum = pseudo_header(s->frame + h->network, h->ipv6, IPPROTO_TCP,
				    0);
	s->check = checksum_fold(sum);
}

static void segments_begin(struct offload_segments *s,
			   const struct virtio_net_hdr *hdr,
			   const uint8_t *frame, size_t len,
			   const struct headers *h, size_t end)
{
	*s = (struct offload_segments){
		.frame = frame,
		.len = len,
		.network = h->network,
		.transport = h->transport,
		.header_len = end,
		.next = end,
		.size = le16toh(hdr->gso_size),
		.type = hdr_type(hdr),
		.ipv6 = h->ipv6,
	};
	if (s->type == VIRTIO_NET_HDR_GSO_UDP)
		begin_fragments(s, h);
	else
		begin_segments(s, h, hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static int segments_count(const struct offload_segments *s)
{
	return (int)((s->len - s->next + s->size - 1) / s->size);
}

int offload_segments_begin(struct offload_segments *s,
			   const struct virtio_net_hdr *hdr,
			   const uint8_t *frame, size_t len)
{
	struct headers h;
	size_t end;

	if (hdr_type(hdr) == VIRTIO_NET_HDR_GSO_NONE || !hdr->gso_size ||
	    !gso_find(hdr, frame, len, &h, &end) ||
	    end + FRAGMENT_LEN > OFFLOAD_HEADER_MAX)
		return -EINVAL;
	segments_begin(s, hdr, frame, len, &h, end);
	return segments_count(s);
}

size_t offload_segment_max(const struct offload_segments *s)
{
	return s->header_len + s->size + (s->fragment_at ? FRAGMENT_LEN : 0);
}

/* ---- one segment ---- */

static void finish_ipv4(uint8_t *ip, size_t len)
{
	put_be16(ip + IPV4_TOT_LEN, len);
	put_raw16(ip + IPV4_CHECK, 0);
	put_raw16(ip + IPV4_CHECK,
		  (uint16_t)~checksum_fold(checksum_add(0, ip, ipv4_len(ip))));
}

/* @len: bytes from @ip to the segment's end */
static void finish_ip(uint8_t *ip, bool ipv6, unsigned int index, size_t len)
{
	if (ipv6) {
		put_be16(ip + IPV6_PAYLOAD_LEN, len - IPV6_LEN);
		return;
	}
	put_be16(ip + IPV4_ID, ntohs(raw16(ip + IPV4_ID)) + index);
	finish_ipv4(ip, len);
}

static void finish_tcp(const struct offload_segments *s, uint8_t *tcp,
		       size_t tcp_len, const uint8_t *payload, size_t n,
		       bool last)
{
	uint16_t pseudo = checksum_fold((uint64_t)s->check +
					htonl((uint32_t)(tcp_len + n)));
	uint64_t sum;

	put_be32(tcp + TCP_SEQ,
		 be32_at(tcp + TCP_SEQ) + s->index * (uint32_t)s->size);
	if (s->index)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	put_raw16(tcp + TCP_CHECK, pseudo);
	sum = checksum_add(0, tcp, tcp_len);
	sum = checksum_add(sum, payload, n);
	put_raw16(tcp + TCP_CHECK, (uint16_t)~checksum_fold(sum));
}

static void finish_udp(const struct offload_segments *s, uint8_t *udp,
		       const uint8_t *payload, size_t n)
{
	uint16_t len = htons((uint16_t)(UDP_LEN + n));
	uint16_t pseudo = checksum_fold((uint64_t)s->check + len);
	uint16_t check;
	uint64_t sum;

	put_raw16(udp + UDP_UDP_LEN, len);
	put_raw16(udp + UDP_CHECK, pseudo);
	sum = checksum_add(0, udp, UDP_LEN);
	sum = checksum_add(sum, payload, n);
	check = (uint16_t)~checksum_fold(sum);
	put_raw16(udp + UDP_CHECK, check ? check : 0xffff);
}

static size_t next_segment(struct offload_segments *s, uint8_t *header,
			   const uint8_t *payload, size_t n)
{
	uint8_t *l4 = header + s->transport;
	size_t len = s->header_len + n;

	memcpy(header, s->frame, s->header_len);
	finish_ip(header + s->network, s->ipv6, s->index, len - s->network);
	if (s->type == VIRTIO_NET_HDR_GSO_UDP_L4)
		finish_udp(s, l4, payload, n);
	else
		finish_tcp(s, l4, s->header_len - s->transport, payload, n,
			   s->next + n == s->len);
	return s->header_len;
}

/* ---- one fragment ---- */

static size_t fragment_header4(struct offload_segments *s, uint8_t *header,
			       size_t n, bool last)
{
	uint8_t *ip = header + s->network;

	memcpy(header, s->frame, s->header_len);
	put_be16(ip + IPV4_FRAG_OFF,
		 s->fragment_offset >> 3 | (last ? 0 : IPV4_MF));
	finish_ipv4(ip, s->header_len + n - s->network);
	s->fragment_offset += (uint32_t)n;
	return s->header_len;
}

/* As in the kernel, extension headers after the fragment header are in every
 * fragment and count in the offset. */
static size_t fragment_header6(struct offload_segments *s, uint8_t *header,
			       size_t n, bool last)
{
	uint8_t *fragment = header + s->fragment_at;
	size_t rest = s->header_len - s->fragment_at;
	uint16_t len = (uint16_t)(s->header_len - s->network - IPV6_LEN +
				  FRAGMENT_LEN + n);

	memcpy(header, s->frame, s->fragment_at);
	memcpy(fragment + FRAGMENT_LEN, s->frame + s->fragment_at, rest);
	header[s->fragment_next] = IPPROTO_FRAGMENT;
	put_be16(header + s->network + IPV6_PAYLOAD_LEN, len);

	fragment[0] = s->frame[s->fragment_next];
	fragment[1] = 0;
	put_be16(fragment + 2, s->fragment_offset | (last ? 0 : IPV6_MF));
	put_be32(fragment + 4, s->fragment_id);
	s->fragment_offset += (uint32_t)len - FRAGMENT_LEN;
	return s->header_len + FRAGMENT_LEN;
}

/* Copies the bytes of the UDP header among the @n bytes of the datagram,
 * patched, to @header. */
static size_t next_fragment(struct offload_segments *s, uint8_t *header,
			    const uint8_t **payload, size_t *n)
{
	size_t at = s->next - s->transport;
	bool last = s->next + *n == s->len;
	size_t len = s->ipv6 ? fragment_header6(s, header, *n, last)
			     : fragment_header4(s, header, *n, last);
	size_t udp;

	if (at >= UDP_LEN)
		return len;
	udp = MIN(UDP_LEN - at, *n);
	memcpy(header + len, s->udp + at, udp);
	*payload += udp;
	*n -= udp;
	return len + udp;
}

size_t offload_segments_next(struct offload_segments *s, uint8_t *header,
			     const uint8_t **payload, size_t *payload_len)
{
	size_t n = MIN(s->size, s->len - s->next);
	size_t len;

	*payload = s->frame + s->next;
	*payload_len = n;
	if (!n)
		return 0;
	if (s->type == VIRTIO_NET_HDR_GSO_UDP)
		len = next_fragment(s, header, payload, payload_len);
	else
		len = next_segment(s, header, *payload, n);
	s->next += n;
	s->index++;
	return len;
}
