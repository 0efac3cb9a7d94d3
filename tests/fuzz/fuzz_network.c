/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small network: stations join and leave, send frames of any content with any
 * virtio_net_hdr out of scattered memory, and receive them into scattered room.
 * What comes out and what is counted is held against a model (netmodel.h).
 * Frames and rooms have allocations of their own size, so one byte too many is
 * seen.
 *
 * Input: the network's MTU, stations that join; then calls.
 */
#include "fuzzorder.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "bytes.h"
#include "netmodel.h"

#define BATCH 8
#define PIECES 4
/* Frames are sent together only where all find room. */
#define BATCH_BYTES ((size_t)100 * 1024)
#define BATCH_WANT ((size_t)64 * 1024)

static const unsigned int mtus[] = { 1500, 68, 100, 576, 2000, 9000, 65535 };
static const unsigned int vids[] = { 1, 2, 3, 100, 4094 };

static unsigned int in_mtu(struct input *in)
{
	return mtus[in_below(in, ARRAY_SIZE(mtus))];
}

static unsigned int in_vid(struct input *in)
{
	return vids[in_below(in, ARRAY_SIZE(vids))];
}

static unsigned int in_hdr_len(struct input *in)
{
	static const uint8_t lens[] = { 12, 10, 0 };

	return lens[in_below(in, 3)];
}

/* ---- stations ---- */

static uint64_t takes_of(uint8_t which)
{
	static const unsigned int bits[] = {
		VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
		VIRTIO_NET_F_GUEST_UFO,  VIRTIO_NET_F_GUEST_USO4,
		VIRTIO_NET_F_GUEST_USO6,
	};
	uint64_t takes = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
		if (which >> i & 1)
			takes |= BIT(bits[i]);
	return takes;
}

/* Mostly all are in VLAN 1. */
static void in_vlans(struct input *in, struct swport_config *c)
{
	uint8_t how = in_u8(in);

	c->vlan = how & 1 ? in_vid(in) : 1;
	if (!(how & 2))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(vids); i++)
		if (how >> (3 + i) & 1)
			c->trunk[vids[i] / 64] |= BIT(vids[i] % 64);
	if (how & 4)
		c->vlan = 0;
}

/* A source, whose port takes frames as it likes; else a device. */
static void open_ends(struct input *in, struct station *s, bool source)
{
	if (!source) {
		must(swport_open(s->m, 0, &s->rx, &s->tx) == 0);
		return;
	}
	model_port(s);
	s->accepts = in_u8(in);
	must(swport_open_direct(s->m, 0, &s->port, &s->direct, &s->tx) == 0);
}

static void join(struct input *in, struct model *m, struct station *s)
{
	static const unsigned int limits[] = { 0, 0, 1, 1000 };
	uint8_t how = in_u8(in), takes;
	int ret;

	*s = (struct station){ 0 };
	in_vlans(in, &s->config);
	s->config.mtu = how & 1 ? in_mtu(in) : 0;
	s->config.flood_fps = limits[how >> 1 & 3];
	s->config.macs = how >> 3 & 3;
	takes = in_u8(in);
	s->takes = s->config.guest_offloads = takes_of(takes);
	ret = swport_new(m->network, &s->config, 1, &s->m);
	if (ret < 0) {
		must(ret == -EINVAL && !s->config.vlan);
		return;
	}
	open_ends(in, s, takes & 0x80);
	s->enabled = !(how & 0x20);
	swport_enable(s->m, 0, s->enabled);
	if (how & 0x40)
		s->tx->hdr_len = in_hdr_len(in);
	if ((how & 0x80) && s->rx)
		s->rx->hdr_len = in_hdr_len(in);
}

static bool is_writable(const struct station *s)
{
	struct pollfd p = { .fd = s->tx->fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

/* There is room again at @at; NULL: or a network that has changed. */
static void all_wake(struct model *m, const struct station *at)
{
	for (unsigned int k = 0; k < STATIONS; k++) {
		struct station *s = &m->station[k];

		if (s == at)
			continue;
		must(!s->waits || is_writable(s));
		s->waits = false;
	}
}

static void leave(struct model *m, struct station *s, bool tx_first)
{
	struct swport_counters c;
	uint64_t dropped;

	model_begin(m);
	dropped = s->before.drop_out[DROP_NO_QUEUE] + model_forget(s);
	if (tx_first)
		netport_close(s->tx);
	if (s->direct)
		tx_direct_close(s->direct);
	else
		netport_close(s->rx);
	swport_read_counters(s->m, &c);
	must(c.drop_out[DROP_NO_QUEUE] == dropped);
	if (!tx_first)
		netport_close(s->tx);
	swport_free(s->m);
	*s = (struct station){ 0 };
	all_wake(m, NULL);
}

/* ---- frames ---- */

static void in_mac(struct input *in, uint8_t *mac)
{
	static const uint8_t special[][6] = {
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 1, 0, 0x5e, 0, 0, 1 },
		{ 1, 0x80, 0xc2, 0, 0, 14 },
		{ 0 },
	};
	unsigned int which = in_below(in, 16);

	if (which < 10) {
		memset(mac, 0, 6);
		mac[0] = 2;
		mac[5] = (uint8_t)(which % 6);
	} else if (which < 10 + ARRAY_SIZE(special)) {
		memcpy(mac, special[which - 10], 6);
	}
}

/* Addresses, the first tag and the type of the next, over what is there. */
static void in_link(struct input *in, uint8_t *eth, size_t len)
{
	static const uint16_t types[] = { 0x8100, 0x88a8, 0x9100, 0x9300 };
	uint8_t how = in_u8(in), *next = eth + 12;
	unsigned int vid = 0;

	if (len < 18)
		return;
	in_mac(in, eth);
	in_mac(in, eth + 6);
	if (how & 1) {
		eth[12] = 0x81;
		eth[13] = 0;
	}
	if ((how & 2) && eth[12] == 0x81 && eth[13] == 0) {
		if (how & 4)
			vid = in_vid(in);
		eth[14] = (uint8_t)((how & 0xf0) | vid >> 8);
		eth[15] = (uint8_t)vid;
	}
	if (how & 8) {
		if (eth[12] == 0x81 && eth[13] == 0)
			next = eth + 16;
		next[0] = (uint8_t)(types[how >> 4 & 3] >> 8);
		next[1] = (uint8_t)types[how >> 4 & 3];
	}
}

/* Any bytes, then more of them. */
static size_t in_raw(struct input *in, struct virtio_net_hdr *hdr, uint8_t *eth)
{
	uint8_t head = in_below(in, 64), how;
	size_t len = in_u16(in);

	how = in_below(in, 8);
	if (how == 0)
		len += 65000;
	else if (how == 7) /* near to an MTU, with a tag or without */
		len = len % 8 + 12 + in_mtu(in);
	else if (in_below(in, 32))
		len %= 2000;
	len = MIN(len, (size_t)NETFRAME_MAX);
	memset(hdr, 0, sizeof(*hdr));
	if (in_below(in, 2))
		in_bytes(in, hdr, sizeof(*hdr));
	memset(eth, (int)len | 1, len);
	in_bytes(in, eth, MIN(head, len));
	return len;
}

static size_t in_ordered(struct input *in, struct virtio_net_hdr *hdr,
			 uint8_t *eth)
{
	bool large = in_u8(in) % 16 == 15;
	struct netframe_order o = in_order(in);

	if (!large)
		o.payload %= 3000;
	/* What the kernel would refuse is in_raw()'s affair. */
	o.tags %= 3;
	o.extension_len %= 64;
	return netframe_make(&o, hdr, eth);
}

static void in_frame(struct input *in, struct sent *s, size_t hdr_len)
{
	static uint8_t room[NETFRAME_MAX];
	struct virtio_net_hdr hdr;
	size_t len, cut;

	len = in_below(in, 2) ? in_ordered(in, &hdr, room)
			      : in_raw(in, &hdr, room);
	in_link(in, room, len);
	s->hdr_len = hdr_len;
	s->len = hdr_len + len;
	cut = MIN(hdr_len, sizeof(hdr));
	s->data = malloc(s->len ? s->len : 1);
	must(s->data);
	memset(s->data, 0xff, hdr_len);
	memcpy(s->data, &hdr, cut);
	memcpy(s->data + hdr_len, room, len);
	/* Less than a header */
	if (!len && hdr_len)
		s->len = in_below(in, (uint32_t)hdr_len + 1);
}

/* Most bytes that @s may take in the rxq of a port without segmentation
 * offloads: it gets each segment as a packet. */
static size_t most_room(const struct sent *s)
{
	struct virtio_net_hdr hdr = { 0 };

	if (s->len >= sizeof(hdr) && s->hdr_len)
		memcpy(&hdr, s->data, sizeof(hdr));
	return hdr.gso_type && hdr.gso_size < 512 ? PKT_SEGMENTS_MAX
						  : 2 * s->len + 100;
}

/* In up to PIECES pieces, some of them empty. */
static void scatter(struct input *in, struct frame *f, struct iovec *iov,
		    uint8_t *data, size_t len)
{
	unsigned int n = 1 + in_below(in, PIECES);

	*f = (struct frame){ .iov = iov, .iovcnt = n, .len = (uint32_t)len };
	for (unsigned int i = 0; i < n; i++) {
		size_t part = i + 1 < n ? in_u8(in) : len;

		part = MIN(part, len);
		iov[i] = (struct iovec){ data, part };
		data += part;
		len -= part;
	}
}

/* How many at once? */
static unsigned int most_frames(const struct model *m, const struct station *s)
{
	for (unsigned int k = 0; k < STATIONS; k++)
		if (m->station[k].want.bytes > BATCH_WANT)
			return 1;
	return s->config.flood_fps ? 1 : BATCH;
}

/* Return: frames taken. */
static unsigned int send_once(struct model *m, struct station *s,
			      const struct sent *sent,
			      const struct frame *frames, unsigned int n)
{
	int ret;

	model_begin(m);
	ret = s->tx->ops->send(s->tx, frames, n);
	must(ret == -EAGAIN || (ret > 0 && ret <= (int)n));
	model_sent(m, s, sent, n, (unsigned int)MAX(ret, 0));
	return (unsigned int)MAX(ret, 0);
}

/* Some frames, and once in a while as many as fill an rxq. */
static void send_frames(struct input *in, struct model *m, struct station *s)
{
	unsigned int again = in_below(in, 4) == 3 ? in_below(in, 32) : 0;
	unsigned int n = 1 + in_below(in, BATCH), i;
	struct sent sent[BATCH];
	struct frame frames[BATCH];
	struct iovec iov[BATCH][PIECES];
	size_t bytes = 0, room = 0;

	for (i = 0; i < n; i++) {
		in_frame(in, &sent[i], s->tx->hdr_len);
		scatter(in, &frames[i], iov[i], sent[i].data, sent[i].len);
		bytes += sent[i].len;
		room += most_room(&sent[i]);
		if (i && (bytes > BATCH_BYTES ||
			  room > PKT_SEGMENTS_MAX + BATCH_BYTES)) {
			free(sent[i].data);
			break;
		}
	}
	n = i;
	/* Many segments fill an rxq soon, and take their time. */
	if (room >= PKT_SEGMENTS_MAX)
		again = MIN(again, 3u);
	do {
		unsigned int most = most_frames(m, s);

		i = 0;
		while (i < n) {
			unsigned int k = MIN(n - i, most);
			unsigned int taken =
				send_once(m, s, &sent[i], &frames[i], k);

			i += taken;
			if (taken < k)
				break;
			most = most_frames(m, s);
		}
	} while (i == n && again--);
	for (i = 0; i < n; i++)
		free(sent[i].data);
}

/* ---- receiving ---- */

static size_t in_room(struct input *in, struct frame *f, struct iovec *iov,
		      bool whole)
{
	bool all = in_below(in, 4) || whole;
	size_t room = 0;

	*f = (struct frame){ .iov = iov, .iovcnt = 1 + in_below(in, PIECES) };
	for (unsigned int i = 0; i < f->iovcnt; i++) {
		size_t len = in_u8(in);

		if (i + 1 == f->iovcnt)
			len = all ? NETPORT_FRAME_MAX : len * 16;
		iov[i] = (struct iovec){ malloc(len ? len : 1), len };
		must(iov[i].iov_base);
		room += len;
	}
	return room;
}

static int receive(struct model *m, struct station *s, struct frame *frames,
		   const size_t *room, unsigned int n)
{
	int ret;

	model_begin(m);
	ret = s->rx->ops->recv(s->rx, frames, n);
	must(ret == -EAGAIN || (ret > 0 && ret <= (int)n));
	model_received(m, s, frames, room, n, (unsigned int)MAX(ret, 0));
	if (!s->want.num)
		all_wake(m, s);
	return ret;
}

/* Its port has @accepts frames' room. */
static int run(struct model *m, struct station *s, unsigned int accepts,
	       unsigned int max)
{
	bool any = s->want.num;
	unsigned int want = s->want.num;
	int ret;

	s->accepts = accepts;
	model_begin(m);
	ret = tx_direct_run(s->direct, max);
	model_ran(m, s);
	want -= s->want.num;
	must(ret == (want ? (int)want : any ? -EAGAIN : 0));
	if (!s->want.num)
		all_wake(m, s);
	return ret;
}

static void receive_frames(struct input *in, struct model *m, struct station *s)
{
	unsigned int n = 1 + in_below(in, PIECES);
	bool whole = model_unsure(s);
	struct frame frames[PIECES];
	struct iovec iov[PIECES][PIECES];
	size_t room[PIECES];

	for (unsigned int i = 0; i < n; i++)
		room[i] = in_room(in, &frames[i], iov[i], whole);
	receive(m, s, frames, room, n);
	for (unsigned int i = 0; i < n; i++)
		for (unsigned int k = 0; k < frames[i].iovcnt; k++)
			free(iov[i][k].iov_base);
}

static void drain_source(struct model *m, struct station *s)
{
	while (run(m, s, UINT_MAX, UINT_MAX) > 0)
		;
	must(s->want.num == 0);
}

static void drain(struct model *m, struct station *s)
{
	static uint8_t got[BATCH][NETPORT_FRAME_MAX];
	struct frame frames[BATCH];
	struct iovec iov[BATCH];
	size_t room[BATCH];

	if (s->direct) {
		drain_source(m, s);
		return;
	}
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ got[i], sizeof(got[i]) };
		frames[i] = (struct frame){ .iov = &iov[i], .iovcnt = 1 };
		room[i] = sizeof(got[i]);
	}
	while (receive(m, s, frames, room, BATCH) > 0)
		;
	must(s->want.num == 0);
}

/* ---- calls ---- */

static void call(struct input *in, struct model *m)
{
	uint8_t op = in_u8(in);
	struct station *s = &m->station[op % STATIONS];

	if (!s->m) {
		join(in, m, s);
		if (s->m)
			all_wake(m, NULL);
		return;
	}
	switch (op / STATIONS % 16) {
	case 0:
		leave(m, s, in_below(in, 2));
		break;
	case 1:
		s->takes = takes_of(in_u8(in));
		swport_set_guest_offloads(s->m, s->takes);
		break;
	case 2:
		s->enabled = in_below(in, 2);
		swport_enable(s->m, 0, s->enabled);
		all_wake(m, NULL);
		break;
	case 3:
		s->tx->hdr_len = in_hdr_len(in);
		break;
	case 4:
		if (s->rx)
			s->rx->hdr_len = in_hdr_len(in);
		s->accepts = in_u8(in);
		s->refuses = in_below(in, 4);
		break;
	case 5:
		drain(m, s);
		break;
	case 6:
	case 7:
		if (s->direct)
			run(m, s, in_u8(in), 1 + in_u8(in));
		else
			receive_frames(in, m, s);
		break;
	default:
		send_frames(in, m, s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct network_config config = { "net", 16, 300, 0 };
	struct input in = { data, size };
	struct model m = { 0 };

	config.mtu = m.mtu = in_mtu(&in);
	must(network_new(&config, &m.network) == 0);
	for (unsigned int k = 2 + in_below(&in, 3); k; k--)
		join(&in, &m, &m.station[k - 1]);
	while (!in_empty(&in))
		call(&in, &m);
	for (unsigned int k = 0; k < STATIONS; k++)
		if (m.station[k].m)
			drain(&m, &m.station[k]);
	for (unsigned int k = 0; k < STATIONS; k++)
		if (m.station[k].m)
			leave(&m, &m.station[k], k % 2);
	network_free(m.network);
	return 0;
}
