/* SPDX-License-Identifier: BSD-3-Clause */
#include "netmodel.h"

#include <endian.h>
#include <errno.h>

#include "bytes.h"
#include "portutil.h"
#include "fuzz.h"
#include "rxq.h"
#include "offload.h"

#define CSUM BIT(VIRTIO_NET_F_GUEST_CSUM)

/** struct judged - a frame that may pass, as it goes on
 * @eth: Ethernet; a tag (@tagged) has a VLAN */
struct judged {
	struct virtio_net_hdr_mrg_rxbuf hdr;
	const struct swport_config *from;
	uint16_t vlan, tci;
	bool tagged, stacked, flooded;
	size_t longest, len;
	uint8_t *eth;
};

/** struct guess - what is to be counted for a station */
struct guess {
	uint64_t drop_out[NETWORK_DROPS], segmented, frames;
	struct packets put;
};

/* ---- packets ---- */

static void packets_init(struct packets *p)
{
	*p = (struct packets){ .end = &p->first };
}

static void packets_add(struct packets *to, struct packet *p)
{
	if (!to->num)
		to->end = &to->first;
	p->next = NULL;
	*to->end = p;
	to->end = &p->next;
	to->num++;
	to->bytes += rxq_entry_size(p->len);
}

static void packets_pop(struct packets *from)
{
	struct packet *p = from->first;

	from->first = p->next;
	from->num--;
	from->bytes -= rxq_entry_size(p->len);
	free(p);
}

static void packets_move(struct packets *to, struct packets *from)
{
	if (!from->num)
		return;
	if (!to->num)
		to->end = &to->first;
	*to->end = from->first;
	to->end = from->end;
	to->num += from->num;
	to->bytes += from->bytes;
	packets_init(from);
}

/* All but the first @num. */
static void packets_cut(struct packets *p, unsigned int num)
{
	struct packets kept;

	packets_init(&kept);
	while (kept.num < num) {
		struct packet *first = p->first;

		p->first = first->next;
		p->num--;
		packets_add(&kept, first);
	}
	while (p->num)
		packets_pop(p);
	packets_init(p);
	packets_move(p, &kept);
}

static void packets_free(struct packets *p)
{
	while (p->num)
		packets_pop(p);
	packets_init(p);
}

static struct virtio_net_hdr header_of(const uint8_t *data)
{
	struct virtio_net_hdr h;

	memcpy(&h, data, sizeof(h));
	return h;
}

static void shift(struct virtio_net_hdr *h, int by)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		h->csum_start =
			htole16((uint16_t)(le16toh(h->csum_start) + by));
	if (h->hdr_len)
		h->hdr_len = htole16((uint16_t)(le16toh(h->hdr_len) + by));
}

/* @head, @body: Ethernet, tagged as @j is */
static struct packet *packet_new(const struct judged *j, bool tag,
				 struct virtio_net_hdr h, struct iovec head,
				 struct iovec body, size_t mask_at)
{
	size_t len = head.iov_len + body.iov_len, skip = j->tagged ? 16 : 12;
	struct packet *p = malloc(sizeof(*p) + MODEL_HDR + len + 4);
	const uint8_t tag_bytes[4] = { 0x81, 0, (uint8_t)(j->tci >> 8),
				       (uint8_t)j->tci };
	uint8_t *to;

	must(p);
	shift(&h, 4 * (tag - j->tagged));
	memset(p->data, 0, MODEL_HDR);
	memcpy(p->data, &h, sizeof(h));
	to = mempcpy(p->data + MODEL_HDR, head.iov_base, 12);
	if (tag)
		to = mempcpy(to, tag_bytes, 4);
	to = mempcpy(to, (uint8_t *)head.iov_base + skip, head.iov_len - skip);
	if (body.iov_len)
		to = mempcpy(to, body.iov_base, body.iov_len);
	p->len = (size_t)(to - p->data);
	p->flooded = j->flooded;
	p->mask_at = mask_at;
	if (mask_at)
		p->mask_at += MODEL_HDR + (tag ? 4u : 0) - (j->tagged ? 4u : 0);
	return p;
}

/* ---- may it pass? ---- */

static unsigned int be16_at(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static bool carries(const struct swport_config *c, unsigned int vlan)
{
	return c->trunk[vlan / 64] >> vlan % 64 & 1;
}

static bool is_tag(unsigned int type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100 ||
	       type == 0x9200 || type == 0x9300;
}

static unsigned int judge_vlan(struct judged *j)
{
	unsigned int vid = 0;

	if (be16_at(j->eth + 12) == 0x8100) {
		if (j->len < 18)
			return DROP_MALFORMED;
		j->tagged = true;
		j->tci = (uint16_t)be16_at(j->eth + 14);
		vid = j->tci & 0xfff;
	}
	if (vid && (vid == 4095 || !carries(j->from, vid)))
		return DROP_VLAN;
	j->vlan = (uint16_t)(vid ? vid : j->from->vlan);
	j->tci = (uint16_t)((j->tci & 0xf000) | j->vlan);
	if (!j->vlan)
		return DROP_VLAN;
	j->stacked = is_tag(be16_at(j->eth + (j->tagged ? 16 : 12)));
	return j->stacked && !vid ? DROP_STACKED : PKT_OK;
}

static unsigned int judge_header(struct judged *j)
{
	struct virtio_net_hdr *h = &j->hdr.hdr;
	struct offload_segments seg;

	if (offload_check(h, j->eth, j->len) < 0)
		return DROP_MALFORMED;
	j->longest = j->len;
	if (h->gso_type) {
		if (offload_segments_begin(&seg, h, j->eth, j->len) < 0)
			return DROP_MALFORMED;
		j->longest = offload_segment_max(&seg);
	}
	j->longest -= j->tagged ? 18 : 14;
	return le16toh(h->csum_start) > UINT16_MAX - 4 ? DROP_MALFORMED
						       : PKT_OK;
}

/* A tag of no VLAN stays behind. */
static void strip_priority(struct judged *j)
{
	if (!j->tagged || (be16_at(j->eth + 14) & 0xfff))
		return;
	memmove(j->eth + 12, j->eth + 16, j->len - 16);
	j->len -= 4;
	j->tagged = false;
	shift(&j->hdr.hdr, -4);
}

/* Return: an enum network_drop, or PKT_OK. */
static unsigned int judge(struct judged *j, const struct swport_config *c,
			  const struct sent *s)
{
	static const uint8_t none[6], reserved[5] = { 1, 0x80, 0xc2 };
	static uint8_t room[PKT_FRAME_MAX];
	unsigned int why;

	*j = (struct judged){ .from = c, .eth = room };
	if (s->len < s->hdr_len)
		return DROP_MALFORMED;
	j->len = s->len - s->hdr_len;
	if (j->len > PKT_FRAME_MAX)
		return DROP_TOO_LONG;
	memcpy(&j->hdr, s->data, MIN(s->hdr_len, sizeof(j->hdr.hdr)));
	memcpy(room, s->data + s->hdr_len, j->len);
	if (j->len < 14)
		return DROP_MALFORMED;
	if ((room[6] & 1) || memcmp(room + 6, none, 6) == 0)
		return DROP_SOURCE;
	if (memcmp(room, reserved, 5) == 0 && room[5] < 16)
		return DROP_RESERVED;
	why = judge_vlan(j);
	if (why == PKT_OK)
		why = judge_header(j);
	if (why == PKT_OK)
		strip_priority(j);
	return why;
}

/* ---- who gets it ---- */

/* Return: false if they are too many for any rxq. */
static bool offer_segments(const struct judged *j, bool tag, struct packets *to)
{
	uint8_t header[OFFLOAD_HEADER_MAX];
	struct offload_segments seg;
	size_t sum = 0, longest, n, len;
	const uint8_t *payload;

	must(offload_segments_begin(&seg, &j->hdr.hdr, j->eth, j->len) >= 2);
	longest = rxq_entry_size(MODEL_HDR + 4 + offload_segment_max(&seg));
	while ((n = offload_segments_next(&seg, header, &payload, &len)) > 0) {
		struct virtio_net_hdr plain = { 0 };
		struct iovec head = { header, n },
			     body = { (void *)payload, len };

		if (sum + 2 * longest > PKT_SEGMENTS_MAX)
			return false;
		sum += rxq_entry_size(MODEL_HDR + n + len + 4);
		packets_add(to, packet_new(j, tag, plain, head, body,
					   seg.fragment_at ? seg.fragment_at + 4
							   : 0));
	}
	return true;
}

/* Return: was anything tried to be put? */
static bool offer(const struct model *m, const struct station *s,
		  const struct judged *j, struct guess *g)
{
	unsigned int mtu = s->config.mtu ? s->config.mtu : m->mtu;
	enum offload need = offload_needed(&j->hdr.hdr, s->takes);
	bool tag = j->vlan != s->config.vlan;
	struct iovec eth = { j->eth, j->len }, none = { 0 };
	struct packets put;
	struct packet *p;

	packets_init(&put);
	if (!s->enabled) {
		g->drop_out[DROP_NO_QUEUE]++;
		return false;
	}
	if (j->stacked && !tag) {
		g->drop_out[DROP_STACKED]++;
		return false;
	}
	if (j->longest > mtu ||
	    (need == OFFLOAD_SEGMENT && !offer_segments(j, tag, &put))) {
		packets_free(&put);
		g->drop_out[DROP_TOO_LONG]++;
		return false;
	}
	if (need == OFFLOAD_SEGMENT) {
		g->segmented++;
	} else {
		p = packet_new(j, tag, j->hdr.hdr, eth, none, 0);
		if (need == OFFLOAD_CHECKSUM)
			offload_checksum((struct virtio_net_hdr *)p->data,
					 p->data + MODEL_HDR,
					 p->len - MODEL_HDR);
		packets_add(&put, p);
	}
	for (p = put.first; p; p = p->next)
		p->takes = s->takes;
	packets_move(&g->put, &put);
	g->frames++;
	return true;
}

/* The port that the frame goes to, or -ENOENT: all. */
static int find_port(const struct model *m, const struct judged *j)
{
	const struct mactable *t = m->network->table;

	if (j->eth[0] & 1)
		return -ENOENT;
	return mactable_find(t, mactable_addr(t, j->eth, j->vlan),
			     (uint32_t)(coarse_ns() / NS_PER_S));
}

static unsigned int spread(const struct model *m, const struct station *from,
			   const struct judged *j, int port,
			   struct guess guess[STATIONS])
{
	unsigned int nto = 0;

	for (unsigned int k = 0; k < STATIONS; k++) {
		const struct station *s = &m->station[k];

		if (!s->m || s == from ||
		    (s->config.vlan != j->vlan &&
		     !carries(&s->config, j->vlan)))
			continue;
		if (port < 0 || port == (int)s->m->number)
			nto += offer(m, s, j, &guess[k]);
	}
	return nto;
}

/* ---- what was counted ---- */

void model_begin(struct model *m)
{
	for (unsigned int k = 0; k < STATIONS; k++)
		if (m->station[k].m)
			swport_read_counters(m->station[k].m,
					     &m->station[k].before);
}

/* Counters since model_begin(). */
static struct swport_counters counted(const struct station *s)
{
	const struct swport_counters *b = &s->before;
	struct swport_counters c;

	swport_read_counters(s->m, &c);
	c.sent -= b->sent;
	c.sent_bytes -= b->sent_bytes;
	c.received -= b->received;
	c.received_bytes -= b->received_bytes;
	c.flooded -= b->flooded;
	c.segmented -= b->segmented;
	for (unsigned int i = 0; i < NETWORK_DROPS; i++) {
		c.drop_in[i] -= b->drop_in[i];
		c.drop_out[i] -= b->drop_out[i];
	}
	return c;
}

/* ---- what came out ---- */

static bool wants_header(const struct packet *p)
{
	struct virtio_net_hdr h = header_of(p->data);

	return h.flags || h.gso_type;
}

/* @stored bytes of @p with a header of @cut bytes */
static bool same_bytes(const struct packet *p, size_t cut, const uint8_t *got,
		       size_t stored)
{
	static uint8_t want[NETPORT_FRAME_MAX + 64];
	size_t mask = p->mask_at + cut - MODEL_HDR, len;
	uint8_t *end = mempcpy(want, p->data, cut);

	end = mempcpy(end, p->data + MODEL_HDR, p->len - MODEL_HDR);
	len = (size_t)(end - want);
	if (p->mask_at && stored > mask)
		memcpy(want + mask, got + mask, MIN(stored - mask, 4u));
	return stored <= len && memcmp(want, got, stored) == 0;
}

/* As it is, or with its checksum completed for others' sake. */
static bool matches(const struct packet *p, size_t cut, const uint8_t *got,
		    size_t stored)
{
	struct virtio_net_hdr h = header_of(p->data);
	struct packet *other;
	bool same;

	if ((cut || !wants_header(p)) && same_bytes(p, cut, got, stored))
		return true;
	if (h.gso_type || !h.flags || !p->flooded)
		return false;
	other = malloc(sizeof(*p) + p->len);
	must(other);
	memcpy(other, p, sizeof(*p) + p->len);
	offload_checksum(&h, other->data + MODEL_HDR, p->len - MODEL_HDR);
	memcpy(other->data, &h, sizeof(h));
	same = same_bytes(other, cut, got, stored);
	free(other);
	return same;
}

/* What a receiver may rely on, whatever the model says. */
static void look_at(const struct station *s, unsigned int mtu, uint64_t takes,
		    const uint8_t *got, size_t cut, size_t len)
{
	const uint8_t *eth = got + cut;
	struct virtio_net_hdr h = { 0 };
	bool tagged;

	must(len >= cut + 14);
	memcpy(&h, got, MIN(cut, sizeof(h)));
	must(offload_needed(&h, takes) == OFFLOAD_NOTHING);
	must(!(h.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
	len -= cut;
	tagged = be16_at(eth + 12) == 0x8100 && len >= 18 &&
		 carries(&s->config, be16_at(eth + 14) & 0xfff);
	must(tagged || (s->config.vlan && !is_tag(be16_at(eth + 12))));
	if (!h.gso_type)
		must(len - (tagged ? 18 : 14) <= mtu);
}

/* What a port took; some of it may be of the frames that are just sent. */
static void look_at_got(const struct model *m, struct station *s,
			const struct swport_counters *c)
{
	unsigned int mtu = s->config.mtu ? s->config.mtu : m->mtu;
	unsigned int n = s->got.num;
	uint64_t bytes = 0;

	while (s->got.num) {
		const struct packet *got = s->got.first;
		const struct packet *want = s->want.first;

		must(s->want.num && got->len == want->len);
		must(matches(want, MODEL_HDR, got->data, got->len));
		look_at(s, mtu, want->takes, got->data, MODEL_HDR, got->len);
		bytes += got->len - MODEL_HDR;
		packets_pop(&s->want);
		packets_pop(&s->got);
	}
	must(c->received == n - s->got_refused);
	must(c->received_bytes == bytes - s->got_refused_bytes);
	must(c->drop_out[DROP_REFUSED] == s->got_refused);
	s->got_refused = 0;
	s->got_refused_bytes = 0;
}

void model_ran(const struct model *m, struct station *s)
{
	struct swport_counters c = counted(s);

	look_at_got(m, s, &c);
}

/* ---- what was sent ---- */

/* Frames that found no room: then there was little. */
static void settle(const struct model *m, struct station *s, struct guess *g,
		   bool whole)
{
	struct swport_counters c = counted(s);
	uint64_t full = c.drop_out[DROP_FULL];
	unsigned int waited = s->want.num;
	size_t most = s->want.bytes + 2 * g->put.bytes + NETPORT_FRAME_MAX;

	must(full == 0 || full == g->frames);
	g->drop_out[DROP_FULL] = full;
	g->drop_out[DROP_REFUSED] = s->got_refused;
	must(memcmp(c.drop_out, g->drop_out, sizeof(g->drop_out)) == 0);
	must(c.sent == 0);
	must(whole ? c.segmented == g->segmented : c.segmented >= g->segmented);
	packets_move(&s->want, &g->put);
	/* Never past those that wait */
	must(!waited || !s->got.num);
	look_at_got(m, s, &c);
	if (!full)
		return;
	must(most > RXQ_BYTES);
	packets_cut(&s->want, waited);
}

/* On a wire one waits for half of an rxq. */
static void look_at_wait(struct model *m, struct station *from)
{
	size_t most = 0;
	unsigned int n = 0;

	for (unsigned int k = 0; k < STATIONS; k++) {
		struct station *s = &m->station[k];

		n += s->m != NULL;
		if (s != from && s->m)
			most = s->want.bytes;
	}
	must(n == 2);
	must(most > RXQ_BYTES / 2 - NETPORT_FRAME_MAX);
	from->waits = true;
}

void model_sent(struct model *m, struct station *from, const struct sent *sent,
		unsigned int n, unsigned int taken)
{
	struct swport_counters c = counted(from), want = { 0 };
	struct guess guess[STATIONS] = { 0 };

	for (unsigned int i = 0; i < taken; i++) {
		struct judged j;
		unsigned int why = judge(&j, &from->config, &sent[i]);
		int port = -ENOENT;

		if (why == PKT_OK)
			port = find_port(m, &j);
		if (port == (int)from->m->number)
			why = DROP_SAME_PORT;
		else if (why == PKT_OK && port < 0 && c.drop_in[DROP_FLOOD])
			why = DROP_FLOOD;
		if (why != PKT_OK) {
			want.drop_in[why]++;
			continue;
		}
		j.flooded = port < 0;
		want.sent++;
		want.sent_bytes += j.len;
		want.flooded += spread(m, from, &j, port, guess) > 1;
	}
	must(memcmp(c.drop_in, want.drop_in, sizeof(c.drop_in)) == 0);
	must(!c.drop_in[DROP_FLOOD] || from->config.flood_fps);
	must(c.sent == want.sent && c.sent_bytes == want.sent_bytes);
	must(c.flooded == want.flooded && c.received == 0);
	for (unsigned int k = 0; k < STATIONS; k++)
		if (m->station[k].m && &m->station[k] != from)
			settle(m, &m->station[k], &guess[k], taken == n);
	if (taken < n)
		look_at_wait(m, from);
}

/* ---- what was received ---- */

static void gather(const struct frame *f, uint8_t *to)
{
	size_t left = f->len;

	for (unsigned int i = 0; i < f->iovcnt && left; i++) {
		size_t part = MIN(left, f->iov[i].iov_len);

		if (part)
			to = mempcpy(to, f->iov[i].iov_base, part);
		left -= part;
	}
	must(left == 0);
}

/* Return: packets that were refused before it. */
static unsigned int receive_one(struct station *s, unsigned int mtu,
				const struct frame *f, size_t room,
				uint64_t *bytes)
{
	static uint8_t got[NETPORT_FRAME_MAX + 64];
	size_t cut = s->rx->hdr_len, full;
	unsigned int refused = 0;

	must(f->len <= NETPORT_FRAME_MAX && f->len <= room);
	gather(f, got);
	while (s->want.num && !matches(s->want.first, cut, got, f->len)) {
		must(cut == 0 && wants_header(s->want.first));
		packets_pop(&s->want);
		refused++;
	}
	must(s->want.num);
	full = s->want.first->len - MODEL_HDR + cut;
	must(f->trunc == (room < full));
	must(f->len == (room < cut ? 0 : MIN(room, full)));
	if (!f->trunc)
		look_at(s, mtu, s->want.first->takes, got, cut, full);
	*bytes += s->want.first->len - MODEL_HDR;
	packets_pop(&s->want);
	return refused;
}

void model_received(const struct model *m, struct station *s,
		    const struct frame *frames, const size_t *room,
		    unsigned int n, unsigned int done)
{
	unsigned int mtu = s->config.mtu ? s->config.mtu : m->mtu;
	struct swport_counters c = counted(s);
	uint64_t bytes = 0, refused = 0;

	for (unsigned int i = 0; i < done; i++)
		refused += receive_one(s, mtu, &frames[i], room[i], &bytes);
	while (done < n && s->want.num) {
		must(s->rx->hdr_len == 0 && wants_header(s->want.first));
		packets_pop(&s->want);
		refused++;
	}
	must(c.received == done && c.received_bytes == bytes);
	must(c.drop_out[DROP_REFUSED] == refused);
}

bool model_unsure(const struct station *s)
{
	if (!s->rx || s->rx->hdr_len)
		return false;
	for (const struct packet *p = s->want.first; p; p = p->next)
		if (p->flooded && wants_header(p))
			return true;
	return false;
}

unsigned int model_forget(struct station *s)
{
	unsigned int n = s->want.num;

	packets_free(&s->want);
	return n;
}

/* ---- a port ---- */

static int port_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	struct station *s = container_of(port, struct station, port);

	n = MIN(n, s->accepts);
	s->accepts -= n;
	for (unsigned int i = 0; i < n; i++) {
		struct packet *p = malloc(sizeof(*p) + frames[i].len);

		must(p && frames[i].len <= NETPORT_FRAME_MAX);
		p->len = frames[i].len;
		gather(&frames[i], p->data);
		packets_add(&s->got, p);
		if (!s->refuses)
			continue;
		s->refuses--;
		s->got_refused++;
		s->got_refused_bytes += p->len - MODEL_HDR;
		port_drop(port, &frames[i], 1);
	}
	return n ? (int)n : -EAGAIN;
}

static const struct netport_ops port_ops = { .name = "model",
					     .send = port_send };

void model_port(struct station *s)
{
	s->port.ops = &port_ops;
	s->port.fd = -1;
	s->port.hdr_len = MODEL_HDR;
}
