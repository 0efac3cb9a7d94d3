/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * forward.c is the port through which frames are sent into a network.
 *
 * Frames are copied out of the sender's memory and checked (slot.c) without any
 * lock, since that memory may be a guest's and block; frames in private memory
 * (struct netport.tx_own) are checked in place. Then, under network.lock, their
 * sources are learnt, their receivers are looked up, and each receiver gets
 * them (deliver.c).
 *
 * Only at the end it is known which frames were taken: all is counted there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "portutil.h"
#include "sender.h"

/* Most bytes of frames in the stage. */
#define STAGE_FILL ((size_t)128 * 1024)
/* Aligns the IP header behind the longest virtio_net_hdr. */
#define STAGE_GAP 4
#define STAGE_BYTES (STAGE_FILL + NETPORT_FRAME_MAX + 64)

/* struct slot.to, where it is not the number of a member */
enum { TO_NONE = -2, TO_ALL = -1 };

static struct sender *to_sender(struct netport *port)
{
	return container_of(port, struct sender, port);
}

/* ---- out of the sender's memory ---- */

/* num_buffers is not used in a network. */
static void clear_num_buffers(struct slot *s)
{
	memset(s->data + sizeof(struct virtio_net_hdr), 0,
	       SLOT_HDR - sizeof(struct virtio_net_hdr));
}

/* Whether a frame is used in place. Tagged frames are copied: removing the tag
 * in place would corrupt a retry. */
static bool use_in_place(struct slot *s, const struct frame *f,
			 const struct netport *port)
{
	const struct ethhdr *eth;

	if (!port->tx_own || port->hdr_len != SLOT_HDR ||
	    f->len < SLOT_HDR + ETH_HLEN || f->len - SLOT_HDR > SLOT_FRAME_MAX)
		return false;
	eth = (const void *)((const uint8_t *)f->iov[0].iov_base + SLOT_HDR);
	if (eth->h_proto == htons(ETH_P_8021Q))
		return false;
	s->data = f->iov[0].iov_base;
	s->len = f->len;
	clear_num_buffers(s);
	return true;
}

/* Copies a frame, and makes its header SLOT_HDR bytes long. */
static void stage_frame(struct slot *s, const struct frame *f,
			unsigned int hdr_len)
{
	size_t hdr = MIN(hdr_len, SLOT_HDR);

	s->len = 0;
	if (f->len < hdr_len || f->len - hdr_len > SLOT_FRAME_MAX)
		return;
	if (hdr_len == SLOT_HDR) {
		s->len = (uint32_t)frame_load(f, 0, s->data, f->len);
	} else {
		memset(s->data, 0, SLOT_HDR);
		frame_load(f, 0, s->data, hdr);
		s->len = (uint32_t)(SLOT_HDR + frame_load(f, hdr_len,
							  s->data + SLOT_HDR,
							  f->len - hdr_len));
	}
	if (s->len >= SLOT_HDR)
		clear_num_buffers(s);
}

static bool same_macs(const struct slot *a, const struct slot *b)
{
	return a->vlan == b->vlan &&
	       memcmp(slot_frame(a), slot_frame(b), SLOT_MACS) == 0;
}

static void hash_slot(struct sender *t, unsigned int i)
{
	const struct mactable *table = t->queue->member->network->table;
	struct slot *s = &t->slot[i];
	const uint8_t *macs = slot_frame(s);

	if (s->drop != SLOT_OK)
		return;
	if (i && s[-1].drop == SLOT_OK && same_macs(s, s - 1)) {
		s->dst = s[-1].dst;
		s->src = s[-1].src;
		return;
	}
	s->src = mactable_addr(table, macs + ETH_ALEN, s->vlan);
	mactable_prefetch(table, s->src);
	if (slot_is_group(s))
		return;
	s->dst = mactable_addr(table, macs, s->vlan);
	mactable_prefetch(table, s->dst);
}

/* Fills slots. Return: how many. */
static unsigned int stage(struct sender *t, const struct frame *frames,
			  unsigned int n)
{
	const struct netmember_config *c = &t->queue->member->config;
	uint8_t *at = t->stage;
	unsigned int i;

	for (i = 0; i < MIN(n, SENDER_BATCH); i++) {
		struct slot *s = &t->slot[i];

		if (!use_in_place(s, &frames[i], &t->port)) {
			s->data = at + STAGE_GAP;
			stage_frame(s, &frames[i], t->port.hdr_len);
			at += (STAGE_GAP + s->len + 63) & ~(size_t)63;
		}
		if (unlikely(!s->len && frames[i].len > SLOT_FRAME_MAX)) {
			*s = (struct slot){ .data = s->data,
					    .drop = DROP_TOO_LONG };
		} else {
			slot_check(s, c);
			hash_slot(t, i);
		}
		if (at > t->stage + STAGE_FILL) {
			i++;
			break;
		}
	}
	t->nslots = t->stopped = i;
	return i;
}

/* ---- sources and receivers ---- */

/* Whether a source address has to be learnt. Holding network.lock for reading.
 */
static bool must_learn(struct sender *t, uint32_t now_s)
{
	struct netmember *m = t->queue->member;
	struct mactable *table = m->network->table;
	uint64_t last = 0;

	for (unsigned int i = 0; i < t->nslots; i++) {
		const struct slot *s = &t->slot[i];

		if (s->drop != SLOT_OK || s->src.key == last)
			continue;
		last = s->src.key;
		if (!mactable_seen(table, s->src, m->number, now_s) &&
		    (mactable_room(table, m->number) ||
		     mactable_find(table, s->src, now_s) >= 0))
			return true;
	}
	return false;
}

static void learn(struct sender *t, uint32_t now_s)
{
	struct netmember *m = t->queue->member;
	struct mactable *table = m->network->table;
	uint64_t last = 0, moved = 0;

	for (unsigned int i = 0; i < t->nslots; i++) {
		const struct slot *s = &t->slot[i];

		if (s->drop != SLOT_OK || s->src.key == last)
			continue;
		last = s->src.key;
		moved += mactable_learn(table, s->src, m->number, now_s) ==
			 MAC_MOVED;
	}
	count_add(&m->count.moved, moved);
}

/* Token bucket: bursts of a tenth of a second, but of at least one frame. */
static bool take_token(struct netmember *m, uint64_t now)
{
	uint64_t fps = m->config.flood_fps;
	bool ok;

	if (!fps)
		return true;
	pthread_mutex_lock(&m->flood_lock);
	if (!m->flood.rate)
		ratelimit_init(&m->flood, fps, NS_PER_S, MAX(fps / 10, 1), now);
	ok = ratelimit_take(&m->flood, now);
	pthread_mutex_unlock(&m->flood_lock);
	return ok;
}

static void give_token_back(struct netmember *m)
{
	if (!m->config.flood_fps)
		return;
	pthread_mutex_lock(&m->flood_lock);
	ratelimit_give_back(&m->flood);
	pthread_mutex_unlock(&m->flood_lock);
}

/* @port: that of slot @i's destination address, or -ENOENT */
static void choose(struct sender *t, unsigned int i, int port, uint64_t now)
{
	struct netmember *m = t->queue->member;
	struct slot *s = &t->slot[i];

	if (port == (int)m->number) {
		s->drop = DROP_SAME_PORT;
	} else if (port >= 0) {
		s->to = (int16_t)port;
	} else if (take_token(m, now)) {
		s->token = true;
		s->to = TO_ALL;
	} else {
		s->drop = DROP_FLOOD;
	}
}

static void look_up(struct sender *t, uint32_t now_s, uint64_t now)
{
	const struct mactable *table = t->queue->member->network->table;
	int port = -ENOENT;
	uint64_t last = 0; /* key of the address at @port; 0: a group */

	for (unsigned int i = 0; i < t->nslots; i++) {
		struct slot *s = &t->slot[i];

		s->to = TO_NONE;
		if (s->drop != SLOT_OK)
			continue;
		if (s->dst.key != last) {
			last = s->dst.key;
			port = last ? mactable_find(table, s->dst, now_s)
				    : -ENOENT;
		}
		choose(t, i, port, now);
	}
}

/* ---- delivery; holding network.lock for reading ---- */

/* End of a run of flooded frames of one VLAN; a GSO frame is a run of its own,
 * since there is one arena for segments. */
static unsigned int flood_run(const struct sender *t, unsigned int i)
{
	unsigned int end = i + 1;

	if (slot_gso(&t->slot[i]))
		return end;
	while (end < t->nslots && end - i < FLOOD_RUN &&
	       t->slot[end].to == TO_ALL &&
	       t->slot[end].vlan == t->slot[i].vlan && !slot_gso(&t->slot[end]))
		end++;
	return end;
}

static bool run_needs(const struct sender *t, const struct netmember *m,
		      unsigned int i, unsigned int end)
{
	for (; i < end; i++)
		if (deliver_needs(m, &t->slot[i]))
			return true;
	return false;
}

/* Receivers that take the frames unchanged come first: then checksums can be
 * completed in place for the others. */
static void flood(struct sender *t, unsigned int i, unsigned int end)
{
	const struct netmember *self = t->queue->member;
	const struct network *n = self->network;
	uint64_t later[NETWORK_PORTS_MAX / 64] = { 0 };

	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int k = 0; k < n->nmembers; k++) {
			struct netmember *m = n->list[k];

			if (m == self || !member_carries(m, t->slot[i].vlan) ||
			    (pass && !(later[k / 64] >> k % 64 & 1)))
				continue;
			if (!pass && run_needs(t, m, i, end)) {
				later[k / 64] |= BIT(k % 64);
				continue;
			}
			for (unsigned int j = i;
			     j < end && t->stopped == t->nslots; j++)
				deliver(t, m, j);
		}
	}
}

static void unicast(struct sender *t, unsigned int i)
{
	struct slot *s = &t->slot[i];
	struct netmember *m =
		t->queue->member->network->member[(unsigned int)s->to];

	/* The lock was released: another member may have the number now. */
	if (m && m != t->queue->member && member_carries(m, s->vlan))
		deliver(t, m, i);
	else
		s->drop = DROP_NO_QUEUE;
}

/* Delivers slots from @i on, until an inbox has no space or deferred frames
 * have to be sent first. Return: the next slot. */
static unsigned int route(struct sender *t, unsigned int i)
{
	while (i < t->nslots && t->stopped == t->nslots) {
		const struct slot *s = &t->slot[i];
		unsigned int end = i + 1;

		if (t->ndeferred && t->arena_slot >= 0)
			break;
		if (s->to == TO_ALL) {
			end = flood_run(t, i);
			if (t->ndeferred + (end - i) * NETWORK_PORTS_MAX >
			    DEFERRED_MAX)
				break;
			flood(t, i, end);
		} else if (s->to != TO_NONE) {
			if (t->ndeferred == DEFERRED_MAX)
				break;
			unicast(t, i);
		}
		i = end;
	}
	deliver_end(t);
	return i;
}

static void route_all(struct sender *t, uint64_t now)
{
	uint32_t now_s = (uint32_t)(now / NS_PER_S);
	struct network *n = t->queue->member->network;
	unsigned int i = 0;

	pthread_rwlock_rdlock(&n->lock);
	if (must_learn(t, now_s)) {
		pthread_rwlock_unlock(&n->lock);
		pthread_rwlock_wrlock(&n->lock);
		learn(t, now_s);
		pthread_rwlock_unlock(&n->lock);
		pthread_rwlock_rdlock(&n->lock);
	}
	look_up(t, now_s, now);
	t->wire = n->nmembers == 2;
	t->arena_slot = -1;
	for (;;) {
		i = route(t, i);
		pthread_rwlock_unlock(&n->lock);
		deliver_flush(t);
		if (i == t->nslots || t->stopped < t->nslots)
			break;
		pthread_rwlock_rdlock(&n->lock);
	}
}

/* ---- counters and captures ---- */

static void capture_in(const struct sender *t, unsigned int n)
{
	const struct netmember_config *c = &t->queue->member->config;
	struct frame frames[SENDER_BATCH];
	struct iovec iov[SENDER_BATCH];
	unsigned int i = 0;

	while (i < n) {
		uint8_t drop = t->slot[i].drop;
		unsigned int k = 0;

		for (; i < n && t->slot[i].drop == drop; i++) {
			const struct slot *s = &t->slot[i];

			if (s->len < SLOT_HDR)
				continue; /* there are no bytes */
			iov[k] = (struct iovec){ s->data, s->len };
			frames[k] = (struct frame){ &iov[k], 1, s->len, false };
			k++;
		}
		if (k)
			capture_frames(c->capture, c->capture_if, CAPTURE_IN,
				       frames, k, SLOT_HDR,
				       drop == SLOT_OK
					       ? NULL
					       : network_drop_name(drop));
	}
}

static void count_sent(struct sender *t, unsigned int taken)
{
	struct netmember *m = t->queue->member;
	uint64_t sent = 0, bytes = 0, flooded = 0;

	for (unsigned int i = 0; i < taken; i++) {
		const struct slot *s = &t->slot[i];

		if (unlikely(s->drop != SLOT_OK)) {
			count_add(&m->count.drop_in[s->drop], 1);
			continue;
		}
		sent++;
		bytes += s->len - SLOT_HDR;
		flooded += s->nto > 1;
	}
	count_add(&m->count.sent, sent);
	count_add(&m->count.sent_bytes, bytes);
	count_add(&m->count.flooded, flooded);
	t->port.tx_dropped += taken - sent;
	for (unsigned int i = taken; i < t->nslots; i++)
		if (t->slot[i].token)
			give_token_back(m);
	if (unlikely(m->config.capture))
		capture_in(t, taken);
}

/* ---- the port ---- */

static int sender_send(struct netport *port, const struct frame *frames,
		       unsigned int n)
{
	struct sender *t = to_sender(port);
	uint64_t now = coarse_ns();
	unsigned int done = 0;

	while (done < n) {
		unsigned int k = stage(t, frames + done, n - done);

		route_all(t, now);
		count_sent(t, t->stopped);
		done += t->stopped;
		if (t->stopped < k)
			break;
	}
	return done ? (int)done : -EAGAIN;
}

void sender_discard(struct netport *port)
{
	struct sender *t = to_sender(port);

	munmap(t->memory, STAGE_BYTES + SLOT_ARENA);
	close(port->fd);
	free(t);
}

static void leave_waiters(struct sender *t)
{
	struct network *n = t->queue->member->network;

	pthread_mutex_lock(&n->wait_lock);
	for (struct waiter **p = &n->waiters; *p; p = &(*p)->next) {
		if (*p == &t->waiter) {
			*p = t->waiter.next;
			break;
		}
	}
	pthread_mutex_unlock(&n->wait_lock);
}

static void sender_close(struct netport *port)
{
	struct sender *t = to_sender(port);

	leave_waiters(t);
	queue_tx_closed(t->queue);
	sender_discard(port);
}

static const struct netport_ops sender_ops = {
	.name = "network",
	.send = sender_send,
	.recv = port_recv_none,
	.close = sender_close,
};

int sender_new(struct queue *q, struct netport **out)
{
	struct sender *t = calloc(1, sizeof(*t));
	int ret = -ENOMEM;

	if (!t)
		return -ENOMEM;
	t->queue = q;
	t->port.ops = &sender_ops;
	t->port.hdr_len = SLOT_HDR;
	t->memory = mmap(NULL, STAGE_BYTES + SLOT_ARENA, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->memory == MAP_FAILED)
		goto err_free;
	t->arena = t->memory;
	t->stage = t->memory + SLOT_ARENA;
	t->port.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->port.fd < 0) {
		ret = -errno;
		munmap(t->memory, STAGE_BYTES + SLOT_ARENA);
		goto err_free;
	}
	t->waiter.fd = t->port.fd;
	*out = &t->port;
	return 0;

err_free:
	free(t);
	return ret;
}
