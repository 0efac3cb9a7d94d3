/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * framering_port.c is the ports of a frame ring: it reads hostile bytes.
 *
 * Each port keeps its position to itself, and writes it to shared memory for
 * the other side only. What it reads there (the other side's position, the
 * length of a record) it reads once, into its own memory, and checks it there:
 *
 *   - what lies between the positions is a multiple of 8, and at most the ring
 *   - a record lies between them, is longer than its header, and no longer than
 *     any frame
 *
 * Both ring buffers are mapped twice, so a record that passes is in the map.
 *
 * Two pairs of variables decide which side sleeps, as in rxq.c: @tail and
 * @asleep, @head and @wanted. Each side writes its own variable and then reads
 * the other's, sequentially consistent.
 */
#include <errno.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "framering_priv.h"
#include "portutil.h"

#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
/* Before the header, in a record. */
#define LEN_BYTES sizeof(uint64_t)

/**
 * struct ring_port - one end of a ring buffer
 * @pos:   consumer: end of what was released; producer: of what was written
 * @lent:  consumer: end of what was borrowed, at least @pos
 * @seen:  producer: the consumer's @head, as it was checked
 */
struct ring_port {
	struct netport port;
	struct framering *ring;
	struct framering_state *state;
	uint8_t *bytes;
	int data, space;
	uint64_t pos, lent, seen;
};

static struct ring_port *to_ring_port(struct netport *port)
{
	return container_of(port, struct ring_port, port);
}

static uint64_t ring_record_size(uint64_t len)
{
	return (LEN_BYTES + len + 7) & ~UINT64_C(7);
}

static uint8_t *record_ptr(const struct ring_port *p, uint64_t pos)
{
	return p->bytes + pos % FRAMERING_BYTES;
}

static uint64_t ring_load(const uint64_t *shared)
{
	return __atomic_load_n(shared, __ATOMIC_SEQ_CST);
}

/* ---- the producer ---- */

/* Bytes that are not free. */
static uint64_t used(struct ring_port *p)
{
	uint64_t head = ring_load(&p->state->head);

	if (unlikely(p->pos - head > FRAMERING_BYTES || head % 8)) {
		framering_break(p->ring);
		head = p->pos;
	}
	p->seen = head;
	return p->pos - head;
}

static bool has_space(struct ring_port *p, uint64_t need)
{
	return likely(p->pos + need - p->seen <= FRAMERING_BYTES) ||
	       used(p) + need <= FRAMERING_BYTES;
}

/* Return: false if there is no space. */
static bool ring_put_frame(struct ring_port *p, const struct frame *f)
{
	size_t hdr = MIN(p->port.hdr_len, HDR);
	uint32_t len;
	uint8_t *to;

	if (unlikely(f->len < p->port.hdr_len ||
		     f->len - p->port.hdr_len > NETPORT_FRAME_MAX - HDR)) {
		port_drop(&p->port, f, 1);
		return true;
	}
	if (!has_space(p, ring_record_size(HDR + f->len - p->port.hdr_len)))
		return false;
	to = record_ptr(p, p->pos) + LEN_BYTES;
	memset(to, 0, HDR);
	frame_load(f, 0, to, MIN(hdr, sizeof(struct virtio_net_hdr)));
	len = (uint32_t)(HDR + frame_load(f, p->port.hdr_len, to + HDR,
					  f->len - p->port.hdr_len));
	memset(to + len, 0, ring_record_size(len) - LEN_BYTES - len);
	to -= LEN_BYTES;
	memset(to, 0, LEN_BYTES);
	memcpy(to, &len, sizeof(len));
	p->pos += ring_record_size(len);
	return true;
}

static void ring_publish(struct ring_port *p)
{
	struct framering_state *s = p->state;

	__atomic_store_n(&s->tail, p->pos, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->asleep, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&s->asleep, 0, __ATOMIC_SEQ_CST))
		framering_ring(p->ring, p->data);
}

/* Return: true if there is space after all. */
static bool ring_wait_for_space(struct ring_port *p)
{
	framering_fill(p->ring, p->space);
	__atomic_store_n(&p->state->wanted, 1, __ATOMIC_SEQ_CST);
	if (used(p) > FRAMERING_BYTES / 2)
		return false;
	if (__atomic_exchange_n(&p->state->wanted, 0, __ATOMIC_SEQ_CST))
		framering_drain(p->ring, p->space);
	return true;
}

static unsigned int ring_put_frames(struct ring_port *p,
				    const struct frame *frames, unsigned int n)
{
	uint64_t before = p->pos;
	unsigned int i;

	for (i = 0; i < n && ring_put_frame(p, &frames[i]); i++)
		;
	if (p->pos != before)
		ring_publish(p);
	return i;
}

static int ring_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	struct ring_port *p = to_ring_port(port);
	unsigned int done;

	if (unlikely(framering_is_broken(p->ring)))
		return port_send_drops(port, frames, n);
	done = ring_put_frames(p, frames, n);
	if (!done && n && ring_wait_for_space(p))
		done = ring_put_frames(p, frames, n);
	return done ? (int)done : -EAGAIN;
}

/* ---- the consumer ---- */

/* Bytes that can be read: a multiple of 8. */
static uint64_t readable(struct ring_port *p, uint64_t pos)
{
	uint64_t n = ring_load(&p->state->tail) - pos;

	if (likely(n <= FRAMERING_BYTES && n % 8 == 0))
		return n;
	framering_break(p->ring);
	return 0;
}

/* The record at @pos, of which @max bytes can be read. Return: bytes of header
 * and frame; 0: the ring is broken. */
static uint32_t record_at(struct ring_port *p, uint64_t pos, uint64_t max)
{
	const uint32_t *shared = (const void *)record_ptr(p, pos);
	uint32_t len = __atomic_load_n(shared, __ATOMIC_RELAXED);

	if (likely(len >= HDR && len <= NETPORT_FRAME_MAX &&
		   ring_record_size(len) <= max))
		return len;
	framering_break(p->ring);
	return 0;
}

static void wake_producer(struct ring_port *p)
{
	struct framering_state *s = p->state;

	if (__atomic_load_n(&s->wanted, __ATOMIC_SEQ_CST) &&
	    readable(p, p->pos) <= FRAMERING_BYTES / 2 &&
	    __atomic_exchange_n(&s->wanted, 0, __ATOMIC_SEQ_CST))
		framering_drain(p->ring, p->space);
}

/* The space of what lies before @pos is free. */
static void release_to(struct ring_port *p, uint64_t pos)
{
	struct framering_state *s = p->state;

	p->pos = pos;
	if (pos - p->lent <= FRAMERING_BYTES)
		p->lent = pos;
	__atomic_store_n(&s->taken, p->lent, __ATOMIC_RELAXED);
	__atomic_store_n(&s->head, pos, __ATOMIC_SEQ_CST);
	wake_producer(p);
}

/* Return: true if there are records after all. */
static bool go_to_sleep(struct ring_port *p)
{
	if (!__atomic_exchange_n(&p->state->asleep, 1, __ATOMIC_SEQ_CST))
		framering_drain(p->ring, p->data);
	return readable(p, p->pos) != 0;
}

/* A frame that needs its header is not for a device that has none. */
static bool is_refused(const struct ring_port *p, const uint8_t *hdr)
{
	struct virtio_net_hdr h;

	memcpy(&h, hdr, sizeof(h));
	return !p->port.hdr_len &&
	       (h.flags || h.gso_type != VIRTIO_NET_HDR_GSO_NONE);
}

static unsigned int ring_take_frames(struct ring_port *p, struct frame *frames,
				     unsigned int n)
{
	uint64_t pos = p->pos, max = readable(p, pos);
	unsigned int done = 0;
	uint32_t len;

	while (done < n && max && (len = record_at(p, pos, max))) {
		const uint8_t *hdr = record_ptr(p, pos) + LEN_BYTES;

		if (!is_refused(p, hdr))
			frame_store(&frames[done++], MIN(p->port.hdr_len, HDR),
				    hdr, hdr + HDR, len - HDR);
		pos += ring_record_size(len);
		max -= ring_record_size(len);
	}
	if (pos != p->pos)
		release_to(p, pos);
	return done;
}

static int ring_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct ring_port *p = to_ring_port(port);
	unsigned int done = 0;

	if (!framering_is_broken(p->ring))
		done = ring_take_frames(p, frames, n);
	if (!done && n && !framering_is_broken(p->ring) && go_to_sleep(p))
		done = ring_take_frames(p, frames, n);
	if (done)
		return (int)done;
	return framering_is_broken(p->ring) ? -EPROTO : -EAGAIN;
}

/* The next consumer does not get them: they may have been delivered. */
static unsigned int lend(struct ring_port *p, struct iovec *frames,
			 unsigned int n)
{
	uint64_t pos = p->pos, max = readable(p, pos);
	unsigned int found = 0;
	uint32_t len;

	while (found < n && max && (len = record_at(p, pos, max))) {
		frames[found++] =
			(struct iovec){ record_ptr(p, pos) + LEN_BYTES, len };
		pos += ring_record_size(len);
		max -= ring_record_size(len);
	}
	if (pos - p->lent <= FRAMERING_BYTES)
		p->lent = pos;
	__atomic_store_n(&p->state->taken, p->lent, __ATOMIC_RELEASE);
	return found;
}

static int ring_borrow(struct netport *port, struct iovec *frames,
		       unsigned int n)
{
	struct ring_port *p = to_ring_port(port);
	unsigned int found = 0;

	if (port->hdr_len != HDR)
		return -EOPNOTSUPP;
	if (!framering_is_broken(p->ring))
		found = lend(p, frames, n);
	if (!found && n && !framering_is_broken(p->ring) && go_to_sleep(p))
		found = lend(p, frames, n);
	if (found)
		return (int)found;
	return framering_is_broken(p->ring) ? -EPROTO : -EAGAIN;
}

static void ring_release(struct netport *port, unsigned int n)
{
	struct ring_port *p = to_ring_port(port);
	uint64_t pos = p->pos, max = readable(p, pos);
	uint32_t len;

	while (n-- && max && (len = record_at(p, pos, max))) {
		pos += ring_record_size(len);
		max -= ring_record_size(len);
	}
	release_to(p, pos);
}

static bool ring_has_frames(struct netport *port)
{
	struct ring_port *p = to_ring_port(port);

	return !framering_is_broken(p->ring) &&
	       (readable(p, p->pos) || go_to_sleep(p));
}

/* ---- both ---- */

static void ring_close(struct netport *port)
{
	free(to_ring_port(port)); /* its fd is the ring's */
}

static const struct netport_ops rx_ops = {
	.name = "network",
	.send = port_send_drops,
	.recv = ring_recv,
	.borrow = ring_borrow,
	.release = ring_release,
	.has_frames = ring_has_frames,
	.close = ring_close,
};

static const struct netport_ops tx_ops = {
	.name = "network",
	.send = ring_send,
	.recv = port_recv_none,
	.close = ring_close,
};

static struct ring_port *new_port(struct framering *r, enum framering_dir dir,
				  const struct netport_ops *ops)
{
	struct ring_port *p = port_new(sizeof(*p), ops, -1);

	if (!p)
		return NULL;
	p->ring = r;
	p->state = &framering_page(r)->state[dir];
	p->bytes = framering_bytes(r, dir);
	p->data = r->data[dir];
	p->space = r->space[dir];
	p->port.hdr_len = HDR;
	return p;
}

/* Where the consumer before has ended. */
static uint64_t consumer_pos(const struct framering_state *s)
{
	uint64_t head = ring_load(&s->head), taken = ring_load(&s->taken);

	return taken - head <= ring_load(&s->tail) - head ? taken : head;
}

int framering_open(struct framering *r, enum framering_side side,
		   struct netport **rx, struct netport **tx)
{
	bool net = side == FRAMERING_NET;
	struct ring_port *in, *out;

	in = new_port(r, net ? FRAMERING_FROM_GUEST : FRAMERING_TO_GUEST,
		      &rx_ops);
	if (!in)
		return -ENOMEM;
	out = new_port(r, net ? FRAMERING_TO_GUEST : FRAMERING_FROM_GUEST,
		       &tx_ops);
	if (!out) {
		free(in);
		return -ENOMEM;
	}
	in->port.fd = in->data;
	in->pos = in->lent = ring_load(&in->state->head);
	release_to(in, consumer_pos(in->state) & ~UINT64_C(7));
	out->port.fd = out->space;
	out->pos = ring_load(&out->state->tail) & ~UINT64_C(7);
	/* Nothing is known to be free. */
	out->seen = out->pos - FRAMERING_BYTES;
	/* The process before may have died before it did so: the consumer of
	 * the other side is woken, and its producer tries again. */
	framering_ring(r, out->data);
	framering_drain(r, in->space);
	*rx = &in->port;
	*tx = &out->port;
	return 0;
}
