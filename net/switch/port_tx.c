/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * port_tx.c is the port through which frames are sent into a network.
 *
 * Frames are copied out of the sender's memory and checked (pkt.c) without any
 * lock, since that memory may be a guest's, and reading it may block. Frames in
 * private memory (struct netport.tx_own) are checked in place. Then, under
 * network.lock, source addresses are learnt, receivers are looked up, and each
 * receiver gets the packets (deliver.c).
 *
 * Which frames were accepted is known only at the end: there all is counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "portutil.h"
#include "port_tx.h"

/* Most bytes of frames in @buffer. */
#define COPY_FILL ((size_t)128 * 1024)
/* Aligns the IP header behind the longest virtio_net_hdr. */
#define COPY_GAP 4
#define COPY_BYTES (COPY_FILL + NETPORT_FRAME_MAX + 64)

/* struct pkt.to, where it is not the number of a port */
enum { TO_NONE = -2, TO_ALL = -1 };

static struct port_tx *to_port_tx(struct netport *port)
{
	return container_of(port, struct port_tx, port);
}

/* ---- out of the sender's memory ---- */

/* num_buffers is not used in a network. */
static void clear_num_buffers(struct pkt *pkt)
{
	memset(pkt->data + sizeof(struct virtio_net_hdr), 0,
	       PKT_HDR - sizeof(struct virtio_net_hdr));
}

/* Whether a frame is used in place. Tagged frames are copied: removing the tag
 * in place would corrupt a retry. */
static bool use_in_place(struct pkt *pkt, const struct frame *f,
			 const struct netport *port)
{
	const struct ethhdr *eth;

	if (!port->tx_own || port->hdr_len != PKT_HDR ||
	    f->len < PKT_HDR + ETH_HLEN || f->len - PKT_HDR > PKT_FRAME_MAX)
		return false;
	eth = (const void *)((const uint8_t *)f->iov[0].iov_base + PKT_HDR);
	if (eth->h_proto == htons(ETH_P_8021Q))
		return false;
	pkt->data = f->iov[0].iov_base;
	pkt->len = f->len;
	clear_num_buffers(pkt);
	return true;
}

/* Copies a frame, and makes its header PKT_HDR bytes long. */
static void copy_frame(struct pkt *pkt, const struct frame *f,
		       unsigned int hdr_len)
{
	size_t hdr = MIN(hdr_len, PKT_HDR);

	pkt->len = 0;
	if (f->len < hdr_len || f->len - hdr_len > PKT_FRAME_MAX)
		return;
	if (hdr_len == PKT_HDR) {
		pkt->len = (uint32_t)frame_load(f, 0, pkt->data, f->len);
	} else {
		memset(pkt->data, 0, PKT_HDR);
		frame_load(f, 0, pkt->data, hdr);
		pkt->len = (uint32_t)(PKT_HDR + frame_load(f, hdr_len,
							   pkt->data + PKT_HDR,
							   f->len - hdr_len));
	}
	if (pkt->len >= PKT_HDR)
		clear_num_buffers(pkt);
}

static bool same_macs(const struct pkt *a, const struct pkt *b)
{
	return a->vlan == b->vlan &&
	       memcmp(pkt_frame(a), pkt_frame(b), PKT_MACS) == 0;
}

static void hash_pkt(struct port_tx *t, unsigned int i)
{
	const struct mactable *table = t->queue->swport->network->table;
	struct pkt *pkt = &t->pkt[i];
	const uint8_t *macs = pkt_frame(pkt);

	if (pkt->drop != PKT_OK)
		return;
	if (i && pkt[-1].drop == PKT_OK && same_macs(pkt, pkt - 1)) {
		pkt->dst = pkt[-1].dst;
		pkt->src = pkt[-1].src;
		return;
	}
	pkt->src = mactable_addr(table, macs + ETH_ALEN, pkt->vlan);
	mactable_prefetch(table, pkt->src);
	if (pkt_is_group(pkt))
		return;
	pkt->dst = mactable_addr(table, macs, pkt->vlan);
	mactable_prefetch(table, pkt->dst);
}

/* Fills @pkt. Return: how many. */
static unsigned int copy_in(struct port_tx *t, const struct frame *frames,
			    unsigned int n)
{
	const struct swport_config *c = &t->queue->swport->config;
	uint8_t *at = t->buffer;
	unsigned int i;

	for (i = 0; i < MIN(n, PORT_TX_BATCH); i++) {
		struct pkt *pkt = &t->pkt[i];

		if (!use_in_place(pkt, &frames[i], &t->port)) {
			pkt->data = at + COPY_GAP;
			copy_frame(pkt, &frames[i], t->port.hdr_len);
			at += (COPY_GAP + pkt->len + 63) & ~(size_t)63;
		}
		if (unlikely(!pkt->len && frames[i].len > PKT_FRAME_MAX)) {
			*pkt = (struct pkt){ .data = pkt->data,
					     .drop = DROP_TOO_LONG };
		} else {
			pkt_check(pkt, c);
			hash_pkt(t, i);
		}
		if (at > t->buffer + COPY_FILL) {
			i++;
			break;
		}
	}
	t->npkts = t->stopped = i;
	return i;
}

/* ---- addresses and receivers ---- */

/* Whether a source address has to be learnt. */
static bool must_learn(struct network *n, struct port_tx *t, uint32_t now_s)
	NEEDS_SHARED(n->lock)
{
	struct swport *swport = t->queue->swport;
	struct mactable *table = n->table;
	uint64_t last = 0;

	for (unsigned int i = 0; i < t->npkts; i++) {
		const struct pkt *pkt = &t->pkt[i];

		if (pkt->drop != PKT_OK || pkt->src.key == last)
			continue;
		last = pkt->src.key;
		if (!mactable_seen(table, pkt->src, swport->number, now_s) &&
		    (mactable_has_space(table, swport->number) ||
		     mactable_find(table, pkt->src, now_s) >= 0))
			return true;
	}
	return false;
}

static void learn(struct network *n, struct port_tx *t, uint32_t now_s)
	NEEDS(n->lock)
{
	struct swport *swport = t->queue->swport;
	struct mactable *table = n->table;
	uint64_t last = 0, moved = 0;

	for (unsigned int i = 0; i < t->npkts; i++) {
		const struct pkt *pkt = &t->pkt[i];

		if (pkt->drop != PKT_OK || pkt->src.key == last)
			continue;
		last = pkt->src.key;
		moved += mactable_learn(table, pkt->src, swport->number,
					now_s) == MAC_MOVED;
	}
	count_add(&swport->count.moved, moved);
}

/* Token bucket: bursts of a tenth of a second, but of at least one frame. */
static bool take_token(struct swport *swport, uint64_t now)
{
	uint64_t fps = swport->config.flood_fps;
	bool ok;

	if (!fps)
		return true;
	mutex_lock(&swport->flood_lock);
	if (!swport->flood.rate)
		ratelimit_init(&swport->flood, fps, NS_PER_S, MAX(fps / 10, 1),
			       now);
	ok = ratelimit_take(&swport->flood, now);
	mutex_unlock(&swport->flood_lock);
	return ok;
}

static void give_token_back(struct swport *swport)
{
	if (!swport->config.flood_fps)
		return;
	mutex_lock(&swport->flood_lock);
	ratelimit_give_back(&swport->flood);
	mutex_unlock(&swport->flood_lock);
}

/* @port: that of packet @i's destination address, or -ENOENT */
static void choose_receiver(struct port_tx *t, unsigned int i, int port,
			    uint64_t now)
{
	struct swport *swport = t->queue->swport;
	struct pkt *pkt = &t->pkt[i];

	if (port == (int)swport->number) {
		pkt->drop = DROP_SAME_PORT;
	} else if (port >= 0) {
		pkt->to = (int16_t)port;
	} else if (take_token(swport, now)) {
		pkt->token = true;
		pkt->to = TO_ALL;
	} else {
		pkt->drop = DROP_FLOOD;
	}
}

static void lookup(struct network *n, struct port_tx *t, uint32_t now_s,
		   uint64_t now) NEEDS_SHARED(n->lock)
{
	const struct mactable *table = n->table;
	int port = -ENOENT;
	uint64_t last = 0; /* key of the address at @port; 0: a group */

	for (unsigned int i = 0; i < t->npkts; i++) {
		struct pkt *pkt = &t->pkt[i];

		pkt->to = TO_NONE;
		if (pkt->drop != PKT_OK)
			continue;
		if (pkt->dst.key != last) {
			last = pkt->dst.key;
			port = last ? mactable_find(table, pkt->dst, now_s)
				    : -ENOENT;
		}
		choose_receiver(t, i, port, now);
	}
}

/* ---- delivery ---- */

/* Return: the end of a run of flooded packets of one VLAN. A GSO packet is a
 * run of its own, since there is one arena for segments. */
static unsigned int flood_run(const struct port_tx *t, unsigned int i)
{
	unsigned int end = i + 1;

	if (pkt_gso(&t->pkt[i]))
		return end;
	while (end < t->npkts && end - i < FLOOD_RUN &&
	       t->pkt[end].to == TO_ALL && t->pkt[end].vlan == t->pkt[i].vlan &&
	       !pkt_gso(&t->pkt[end]))
		end++;
	return end;
}

static bool run_needs(const struct port_tx *t, const struct swport *swport,
		      unsigned int i, unsigned int end)
{
	for (; i < end; i++)
		if (deliver_needs(swport, &t->pkt[i]))
			return true;
	return false;
}

/* Receivers that accept the packets unchanged come first: then checksums can be
 * completed in place for the others. */
static void flood(struct network *n, struct port_tx *t, unsigned int i,
		  unsigned int end) NEEDS_SHARED(n->lock)
{
	const struct swport *self = t->queue->swport;
	uint64_t later[NETWORK_PORTS_MAX / 64] = { 0 };

	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int k = 0; k < n->nports; k++) {
			struct swport *swport = n->list[k];

			if (swport == self ||
			    !swport_carries(swport, t->pkt[i].vlan) ||
			    (pass && !(later[k / 64] >> k % 64 & 1)))
				continue;
			if (!pass && run_needs(t, swport, i, end)) {
				later[k / 64] |= BIT(k % 64);
				continue;
			}
			for (unsigned int j = i;
			     j < end && t->stopped == t->npkts; j++)
				deliver(t, swport, j);
		}
	}
}

static void unicast(struct network *n, struct port_tx *t, unsigned int i)
	NEEDS_SHARED(n->lock)
{
	struct pkt *pkt = &t->pkt[i];
	struct swport *swport = n->port[(unsigned int)pkt->to];

	/* The lock was released: another port may have the number now. */
	if (swport && swport != t->queue->swport &&
	    swport_carries(swport, pkt->vlan))
		deliver(t, swport, i);
	else
		pkt->drop = DROP_NO_QUEUE;
}

/* Delivers packets from @i on, until an rxq has no space or deferred frames
 * have to be sent first. Return: the next packet. */
static unsigned int route(struct network *n, struct port_tx *t, unsigned int i)
	NEEDS_SHARED(n->lock)
{
	while (i < t->npkts && t->stopped == t->npkts) {
		const struct pkt *pkt = &t->pkt[i];
		unsigned int end = i + 1;

		if (t->ndeferred && t->arena_pkt >= 0)
			break;
		if (pkt->to == TO_ALL) {
			end = flood_run(t, i);
			if (t->ndeferred + (end - i) * NETWORK_PORTS_MAX >
			    DEFERRED_MAX)
				break;
			flood(n, t, i, end);
		} else if (pkt->to != TO_NONE) {
			if (t->ndeferred == DEFERRED_MAX)
				break;
			unicast(n, t, i);
		}
		i = end;
	}
	deliver_end(t);
	return i;
}

static void route_all(struct port_tx *t, uint64_t now)
{
	uint32_t now_s = (uint32_t)(now / NS_PER_S);
	struct network *n = t->queue->swport->network;
	unsigned int i = 0;

	rwlock_rdlock(&n->lock);
	if (must_learn(n, t, now_s)) {
		rwlock_rdunlock(&n->lock);
		rwlock_wrlock(&n->lock);
		learn(n, t, now_s);
		rwlock_wrunlock(&n->lock);
		rwlock_rdlock(&n->lock);
	}
	lookup(n, t, now_s, now);
	t->wire = n->nports == 2;
	t->arena_pkt = -1;
	for (;;) {
		i = route(n, t, i);
		rwlock_rdunlock(&n->lock);
		deliver_flush(t);
		if (i == t->npkts || t->stopped < t->npkts)
			break;
		rwlock_rdlock(&n->lock);
	}
}

/* ---- counters and captures ---- */

static void capture_in(const struct port_tx *t, unsigned int n)
{
	const struct swport_config *c = &t->queue->swport->config;
	struct frame frames[PORT_TX_BATCH];
	struct iovec iov[PORT_TX_BATCH];
	unsigned int i = 0;

	while (i < n) {
		uint8_t drop = t->pkt[i].drop;
		unsigned int k = 0;

		for (; i < n && t->pkt[i].drop == drop; i++) {
			const struct pkt *pkt = &t->pkt[i];

			if (pkt->len < PKT_HDR)
				continue; /* no bytes to record */
			iov[k] = (struct iovec){ pkt->data, pkt->len };
			frames[k] =
				(struct frame){ &iov[k], 1, pkt->len, false };
			k++;
		}
		if (k)
			capture_frames(c->capture, c->capture_if, CAPTURE_IN,
				       frames, k, PKT_HDR,
				       drop == PKT_OK
					       ? NULL
					       : network_drop_name(drop));
	}
}

/* @frames: those of the caller, for @taken packets */
static void count_sent(struct port_tx *t, const struct frame *frames,
		       unsigned int taken)
{
	struct swport *swport = t->queue->swport;
	uint64_t sent = 0, bytes = 0, flooded = 0;

	for (unsigned int i = 0; i < taken; i++) {
		const struct pkt *pkt = &t->pkt[i];

		if (unlikely(pkt->drop != PKT_OK)) {
			count_add(&swport->count.drop_in[pkt->drop], 1);
			port_drop(&t->port, &frames[i], 1);
			continue;
		}
		sent++;
		bytes += pkt->len - PKT_HDR;
		flooded += pkt->nto > 1;
	}
	count_add(&swport->count.sent, sent);
	count_add(&swport->count.sent_bytes, bytes);
	count_add(&swport->count.flooded, flooded);
	for (unsigned int i = taken; i < t->npkts; i++)
		if (t->pkt[i].token)
			give_token_back(swport);
	if (unlikely(swport->config.capture))
		capture_in(t, taken);
}

/* ---- the port ---- */

static int port_tx_send(struct netport *port, const struct frame *frames,
			unsigned int n)
{
	struct port_tx *t = to_port_tx(port);
	uint64_t now = coarse_ns();
	unsigned int done = 0;

	while (done < n) {
		unsigned int k = copy_in(t, frames + done, n - done);

		route_all(t, now);
		count_sent(t, frames + done, t->stopped);
		done += t->stopped;
		if (t->stopped < k)
			break;
	}
	return done ? (int)done : -EAGAIN;
}

void port_tx_discard(struct netport *port)
{
	munmap(to_port_tx(port)->memory, COPY_BYTES + PKT_ARENA);
	port_free(port);
}

static void leave_waiters(struct port_tx *t)
{
	struct network *n = t->queue->swport->network;

	mutex_lock(&n->wait_lock);
	for (struct waiter **p = &n->waiters; *p; p = &(*p)->next) {
		if (*p == &t->waiter) {
			*p = t->waiter.next;
			break;
		}
	}
	mutex_unlock(&n->wait_lock);
}

static void port_tx_close(struct netport *port)
{
	struct port_tx *t = to_port_tx(port);

	leave_waiters(t);
	queue_tx_closed(t->queue);
	port_tx_discard(port);
}

static const struct netport_ops port_tx_ops = {
	.name = "network",
	.send = port_tx_send,
	.recv = port_recv_none,
	.close = port_tx_close,
};

int port_tx_new(struct queue *q, struct netport **out)
{
	struct port_tx *t = port_new(sizeof(*t), &port_tx_ops, -1);

	if (!t)
		return -ENOMEM;
	t->queue = q;
	t->port.hdr_len = PKT_HDR;
	t->memory = mmap(NULL, COPY_BYTES + PKT_ARENA, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->memory == MAP_FAILED) {
		port_free(&t->port);
		return -ENOMEM;
	}
	t->arena = t->memory;
	t->buffer = t->memory + PKT_ARENA;
	t->port.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->port.fd < 0) {
		int ret = -errno;

		port_tx_discard(&t->port);
		return ret;
	}
	t->waiter.fd = t->port.fd;
	*out = &t->port;
	return 0;
}
