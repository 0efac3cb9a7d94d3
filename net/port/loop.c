/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.c is the port of the kind loop: frames that the guest sends on a queue
 * pair come back to it on the same pair. One thread uses both ends.
 *
 * Frames wait in one buffer, each behind its length. The buffer is filled from
 * its start again whenever it is empty, so that it stays in the cache while the
 * guest receives fast enough. While it is full the sender's eventfd has its
 * highest counter, and does not poll as writable.
 */
#include "netport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "evfd.h"
#include "port_priv.h"

#define LOOP_BYTES ((size_t)256 * 1024)

/**
 * struct wire - the buffer between both ends
 * @head, @tail: frames are written at @tail and read at @head; offsets in @buf
 * @ends: ports that are open
 * @full: the sender waits
 */
struct wire {
	size_t head, tail;
	unsigned int ends;
	bool full;
	uint8_t buf[LOOP_BYTES];
};

struct loop_end {
	struct netport port;
	struct wire *wire;
	struct loop_end *other; /* NULL: closed */
};

static struct loop_end *to_loop_end(struct netport *port)
{
	return container_of(port, struct loop_end, port);
}

static size_t record_size(uint32_t len)
{
	return (sizeof(len) + len + 7) & ~(size_t)7;
}

static bool put_frame(struct wire *w, const struct frame *f)
{
	uint8_t *to = w->buf + w->tail;

	if (w->tail + record_size(f->len) > LOOP_BYTES)
		return false;
	memcpy(to, &f->len, sizeof(f->len));
	frame_load(f, 0, to + sizeof(f->len), f->len);
	w->tail += record_size(f->len);
	return true;
}

static void set_full(struct loop_end *e, bool full)
{
	e->wire->full = full;
	if (full)
		evfd_fill(e->port.fd);
	else
		evfd_drain(e->port.fd);
}

static int loop_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	struct loop_end *e = to_loop_end(port);
	bool was_empty = e->wire->head == e->wire->tail;
	unsigned int i;

	if (!e->other)
		return port_send_drops(port, frames, n);
	for (i = 0; i < n && put_frame(e->wire, &frames[i]); i++)
		;
	if (i && was_empty)
		evfd_signal(e->other->port.fd);
	if (i < n && !e->wire->full)
		set_full(e, true);
	return i ? (int)i : -EAGAIN;
}

static void take_frame(struct wire *w, struct frame *f)
{
	const uint8_t *from = w->buf + w->head;
	uint32_t len;

	memcpy(&len, from, sizeof(len));
	frame_store(f, 0, NULL, from + sizeof(len), len);
	w->head += record_size(len);
	if (w->head == w->tail)
		w->head = w->tail = 0;
}

static int loop_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct loop_end *e = to_loop_end(port);
	struct wire *w = e->wire;
	unsigned int i;

	for (i = 0; i < n && w->head != w->tail; i++)
		take_frame(w, &frames[i]);
	/* Only an empty buffer has space again: see take_frame(). */
	if (w->full && w->head == w->tail && e->other)
		set_full(e->other, false);
	return i ? (int)i : -EAGAIN;
}

static void loop_close(struct netport *port)
{
	struct loop_end *e = to_loop_end(port);

	if (e->other)
		e->other->other = NULL;
	if (--e->wire->ends == 0)
		free(e->wire);
	port_free(port);
}

static const struct netport_ops loop_ops = {
	.name = "loop",
	.send = loop_send,
	.recv = loop_recv,
	.close = loop_close,
};

static struct loop_end *new_end(struct wire *w)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct loop_end *e =
		fd < 0 ? NULL : port_new(sizeof(*e), &loop_ops, fd);

	if (e) {
		e->wire = w;
		w->ends++;
	} else if (fd >= 0) {
		close(fd);
	}
	return e;
}

int loop_port_new(struct netport **rx, struct netport **tx)
{
	struct wire *w = calloc(1, sizeof(*w));
	struct loop_end *a, *b;

	if (!w)
		return -ENOMEM;
	a = new_end(w);
	if (!a) {
		free(w);
		return -ENOMEM;
	}
	b = new_end(w);
	if (!b) {
		loop_close(&a->port);
		return -ENOMEM;
	}
	a->other = b;
	b->other = a;
	*rx = &a->port;
	*tx = &b->port;
	return 0;
}
