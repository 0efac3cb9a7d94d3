/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "vmm_net.h"

#define TX_PORT 0xff /* in place of a port: a frame of the guest's */
#define FRAME_MIN 60
#define HDR_MAX 12
#define NUM_BUFFERS_OFF 10
#define TX_BUF 2048
/* Where a TX buffer has its indirect table. */
#define TX_TABLE (TX_BUF - 4 * sizeof(struct vring_desc))

static int __attribute__((format(printf, 2, 3))) wrong(struct flow *f,
						       const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->error, sizeof(f->error), fmt, ap);
	va_end(ap);
	return -EPROTO;
}

/* ---- frames ---- */

static size_t frame_len(uint32_t seq)
{
	return FRAME_MIN + seq * 97 % (FLOW_FRAME_MAX - FRAME_MIN + 1);
}

static size_t frame_make(uint8_t *buf, unsigned int port, uint32_t seq)
{
	size_t len = frame_len(seq);

	vmm_frame(buf, len, seq);
	memcpy(buf + VMM_ETH_HLEN, &seq, sizeof(seq));
	buf[VMM_ETH_HLEN + sizeof(seq)] = (uint8_t)port;
	return len;
}

/* What a frame says it is; then, is it that? */
static int frame_read(struct flow *f, const uint8_t *buf, size_t len,
		      unsigned int *port, uint32_t *seq)
{
	uint8_t want[FLOW_FRAME_MAX];

	if (len < FRAME_MIN || len > FLOW_FRAME_MAX)
		return wrong(f, "a frame of %zu bytes", len);
	memcpy(seq, buf + VMM_ETH_HLEN, sizeof(*seq));
	*port = buf[VMM_ETH_HLEN + sizeof(*seq)];
	if (frame_make(want, *port, *seq) != len || memcmp(want, buf, len) != 0)
		return wrong(f, "frame %u of port %u is garbled", *seq, *port);
	return 0;
}

/* ---- life ---- */

/* Those that are free, and behind them all there are. */
static int take_buffers(struct flow *f, uint64_t **list, unsigned int *n,
			unsigned int want, uint32_t len)
{
	*list = calloc(2 * (size_t)want, sizeof(**list));
	if (!*list)
		return -ENOMEM;
	for (; *n < want; (*n)++) {
		(*list)[*n] = vmm_mem_alloc(&f->v->mem, len, 16);
		if (!(*list)[*n])
			return -ENOMEM;
	}
	memcpy(*list + want, *list, want * sizeof(**list));
	return 0;
}

static void free_all(uint64_t *list, unsigned int *n, unsigned int all)
{
	memcpy(list, list + all, all * sizeof(*list));
	*n = all;
}

void flow_reset(struct flow *f)
{
	for (unsigned int i = 0; i < VMM_QUEUES; i++)
		vmm_ring_reset(&f->v->q[i].ring, 0);
	free_all(f->rx_free, &f->rx_nfree, f->v->q[VMM_RX].ring.num);
	free_all(f->tx_free, &f->tx_nfree, FLOW_WINDOW);
}

int flow_init(struct flow *f, struct vmm *v, uint32_t rx_len)
{
	int ret;

	*f = (struct flow){ .v = v, .rx_len = rx_len, .rx_ms = vmm_now_ms() };
	ret = take_buffers(f, &f->rx_free, &f->rx_nfree, v->q[VMM_RX].ring.num,
			   rx_len);
	if (ret == 0)
		ret = take_buffers(f, &f->tx_free, &f->tx_nfree, FLOW_WINDOW,
				   TX_BUF);
	if (ret < 0)
		flow_free(f);
	return ret;
}

void flow_free(struct flow *f)
{
	for (unsigned int i = 0; i < f->nports; i++)
		close(f->port[i].far);
	free(f->rx_free);
	free(f->tx_free);
	*f = (struct flow){ 0 };
}

void flow_add_port(struct flow *f, int far)
{
	f->port[f->nports++] = (struct flow_port){ .far = far };
}

/* ---- RX ---- */

static void rx_send(struct flow *f, unsigned int i)
{
	struct flow_port *p = &f->port[i];
	uint8_t buf[FLOW_FRAME_MAX];

	while (p->rx_sent - (f->lossy ? p->rx_base : p->rx_got) < FLOW_WINDOW) {
		size_t len = frame_make(buf, i, p->rx_sent);

		if (send(p->far, buf, len, MSG_DONTWAIT) != (ssize_t)len)
			return; /* no room: tried again */
		p->rx_sent++;
	}
}

/* Whether frames come out of the other direction says nothing here: a window of
 * frames may be lost as a whole, and nothing would be sent any more. */
static void rx_forgive(struct flow *f)
{
	int64_t now = vmm_now_ms();

	if (now - f->rx_ms < FLOW_FORGIVE_MS)
		return;
	f->rx_ms = now;
	for (unsigned int i = 0; i < f->nports; i++) {
		struct flow_port *p = &f->port[i];

		/* They may be waiting in the port, which has no endless room:
		 * then one more at a time. */
		if (p->rx_sent - p->rx_got < FLOW_WAITING)
			p->rx_base = p->rx_sent;
		else if (p->rx_sent - p->rx_base >= FLOW_WINDOW)
			p->rx_base++;
	}
}

static int rx_frame(struct flow *f, const uint8_t *buf, size_t len)
{
	unsigned int port;
	uint32_t seq;
	int ret = frame_read(f, buf, len, &port, &seq);

	if (ret < 0)
		return ret;
	if (port >= f->nports)
		return wrong(f, "the guest got its own frame %u", seq);
	if (f->lossy) {
		struct flow_port *p = &f->port[port];

		if (seq - p->rx_got >= p->rx_sent - p->rx_got)
			return wrong(f, "the guest got frame %u again", seq);
		f->rx_lost += seq - p->rx_got;
		p->rx_got = p->rx_base = seq + 1;
		f->rx_ms = vmm_now_ms();
		return 0;
	}
	if (seq != f->port[port].rx_got)
		return wrong(f, "the guest got frame %u of port %u, not %u",
			     seq, port, f->port[port].rx_got);
	f->port[port].rx_got++;
	return 0;
}

static int rx_next(struct flow *f, struct vmm_used *used, uint8_t **at)
{
	if (vmm_ring_reap(&f->v->q[VMM_RX].ring, used, 1) != 1)
		return wrong(f, "a used element of no chain of ours");
	*at = vmm_mem_ptr(&f->v->mem, (uintptr_t)used->token);
	f->rx_free[f->rx_nfree++] = (uintptr_t)used->token;
	if (used->len > f->rx_len)
		return wrong(f, "%u bytes in a buffer of %u", used->len,
			     f->rx_len);
	return 0;
}

/* One frame, of one or more buffers, all of them published at once. */
static int rx_reap(struct flow *f)
{
	bool mergeable = f->v->features & VMM_BIT(VIRTIO_NET_F_MRG_RXBUF);
	uint8_t buf[HDR_MAX + FLOW_FRAME_MAX], *at = NULL;
	unsigned int left = 1, n = 0;
	struct vmm_used used;
	size_t len = 0;
	int ret;

	for (; n < left; n++) {
		ret = rx_next(f, &used, &at);
		if (ret < 0)
			return ret;
		if (len + used.len > sizeof(buf))
			return wrong(f, "a frame of %zu bytes or more",
				     len + used.len);
		memcpy(buf + len, at, used.len);
		len += used.len;
		/* In flight when a device died, and given back empty. */
		if (n == 0 && used.len == 0 && f->lossy)
			return 0;
		if (n == 0 && used.len < f->v->hdr_len)
			return wrong(f, "%u bytes received", used.len);
		if (n == 0 && mergeable) {
			left = buf[NUM_BUFFERS_OFF] |
			       (unsigned int)buf[NUM_BUFFERS_OFF + 1] << 8;
			if (left - 1 > vmm_ring_pending(&f->v->q[VMM_RX].ring))
				return wrong(f, "part of %u buffers", left);
		}
	}
	return rx_frame(f, buf + f->v->hdr_len, len - f->v->hdr_len);
}

static void rx_fill(struct flow *f)
{
	struct vmm_ring *r = &f->v->q[VMM_RX].ring;

	while (f->rx_nfree && r->num_free) {
		uint64_t gpa = f->rx_free[f->rx_nfree - 1];
		struct vmm_seg seg = { gpa, f->rx_len, true };

		if (vmm_ring_add(r, &seg, 1, (void *)(uintptr_t)gpa) < 0)
			break;
		f->rx_nfree--;
	}
	vmm_publish_kick(f->v, VMM_RX);
}

/* ---- TX ---- */

/* Chains of one, two or three pieces, or of three through a table. */
static int tx_add(struct flow *f, uint64_t gpa, uint32_t len, uint32_t seq)
{
	struct vmm_ring *r = &f->v->q[VMM_TX].ring;
	uint32_t hdr = f->v->hdr_len, cut = hdr + seq % 50;
	struct vmm_seg one = { gpa, hdr + len, false };
	struct vmm_seg two[] = { { gpa, hdr, false },
				 { gpa + hdr, len, false } };
	struct vmm_seg three[] = { { gpa, 4, false },
				   { gpa + 4, cut - 4, false },
				   { gpa + cut, hdr + len - cut, false } };
	void *token = (void *)(uintptr_t)gpa;

	switch (seq % 4) {
	case 0:
		return vmm_ring_add(r, &one, 1, token);
	case 1:
		return vmm_ring_add(r, two, 2, token);
	case 2:
		return vmm_ring_add(r, three, 3, token);
	default:
		if (!(f->v->features & VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC)))
			return vmm_ring_add(r, two, 2, token);
		return vmm_ring_add_indirect(
			r, three, 3, vmm_mem_ptr(&f->v->mem, gpa + TX_TABLE),
			gpa + TX_TABLE, token);
	}
}

static void tx_send(struct flow *f)
{
	while (f->tx_nfree &&
	       (f->lossy || f->tx_sent - f->tx_base < FLOW_WINDOW)) {
		uint64_t gpa = f->tx_free[f->tx_nfree - 1];
		uint8_t *p = vmm_mem_ptr(&f->v->mem, gpa);
		size_t len;

		memset(p, 0, f->v->hdr_len);
		len = frame_make(p + f->v->hdr_len, TX_PORT, f->tx_sent);
		if (tx_add(f, gpa, (uint32_t)len, f->tx_sent) < 0)
			break;
		f->tx_nfree--;
		f->tx_sent++;
	}
	vmm_publish_kick(f->v, VMM_TX);
}

static int tx_reap(struct flow *f)
{
	struct vmm_ring *r = &f->v->q[VMM_TX].ring;

	while (vmm_ring_pending(r)) {
		struct vmm_used used;

		if (vmm_ring_reap(r, &used, 1) != 1)
			return wrong(f, "a used element of no chain of ours");
		f->tx_free[f->tx_nfree++] = (uintptr_t)used.token;
	}
	return 0;
}

static int tx_frame(struct flow *f, unsigned int i, const uint8_t *buf,
		    size_t len)
{
	struct flow_port *p = &f->port[i];
	unsigned int port;
	uint32_t seq;
	int ret = frame_read(f, buf, len, &port, &seq);

	if (ret < 0)
		return ret;
	if (port != TX_PORT)
		return wrong(f, "port %u got frame %u of port %u", i, seq,
			     port);
	if (f->lossy) {
		if (seq - p->tx_next >= f->tx_sent - p->tx_next)
			return wrong(f, "frame %u came out again", seq);
		f->tx_lost += seq - p->tx_next;
		p->tx_next = f->tx_base = seq + 1;
		return 0;
	}
	if (seq - f->tx_base >= f->tx_sent - f->tx_base ||
	    f->tx_seen[seq % FLOW_WINDOW])
		return wrong(f, "port %u got frame %u again", i, seq);
	if ((int32_t)(seq - p->tx_next) < 0 ||
	    (f->nports == 1 && seq != p->tx_next))
		return wrong(f, "port %u got frame %u, not %u", i, seq,
			     p->tx_next);
	p->tx_next = seq + 1;
	f->tx_seen[seq % FLOW_WINDOW] = true;
	for (; f->tx_seen[f->tx_base % FLOW_WINDOW]; f->tx_base++)
		f->tx_seen[f->tx_base % FLOW_WINDOW] = false;
	return 0;
}

/* ---- both ---- */

static int collect(struct flow *f)
{
	uint8_t buf[FLOW_FRAME_MAX + 1];
	int moved = 0, ret = 0;

	while (vmm_ring_pending(&f->v->q[VMM_RX].ring) && ret == 0) {
		ret = rx_reap(f);
		moved++;
	}
	for (unsigned int i = 0; i < f->nports && ret == 0; i++) {
		ssize_t n;

		while (ret == 0 && (n = recv(f->port[i].far, buf, sizeof(buf),
					     MSG_DONTWAIT)) > 0) {
			ret = tx_frame(f, i, buf, (size_t)n);
			moved++;
		}
	}
	if (ret == 0)
		ret = tx_reap(f);
	return ret < 0 ? ret : moved;
}

int flow_step(struct flow *f, bool more)
{
	int moved = collect(f);

	if (moved < 0)
		return moved;
	rx_fill(f);
	if (f->lossy)
		rx_forgive(f);
	if (more) {
		tx_send(f);
		for (unsigned int i = 0; i < f->nports; i++)
			rx_send(f, i);
	}
	__atomic_add_fetch(&f->moved, (uint64_t)moved, __ATOMIC_RELAXED);
	return moved;
}

void flow_wait(struct flow *f, int ms)
{
	struct pollfd p[FLOW_PORTS + 1];
	nfds_t n = 0;

	for (unsigned int i = 0; i < f->nports; i++)
		p[n++] = (struct pollfd){ f->port[i].far, POLLIN, 0 };
	p[n++] = (struct pollfd){ f->v->q[VMM_RX].call, POLLIN, 0 };
	poll(p, n, ms);
	vmm_event_count(f->v->q[VMM_RX].call);
}

int flow_run(struct flow *f, uint64_t frames, int ms)
{
	uint64_t want = f->moved + frames;
	int64_t end = vmm_now_ms() + ms;

	while (f->moved < want) {
		int n = flow_step(f, true);

		if (n < 0)
			return n;
		if (n > 0) {
			end = vmm_now_ms() + ms;
			continue;
		}
		if (vmm_now_ms() >= end) {
			wrong(f, "no frame came for %d ms", ms);
			return -ETIMEDOUT;
		}
		flow_wait(f, 1);
	}
	return 0;
}

static bool drained(const struct flow *f, unsigned int ports)
{
	if (f->tx_base != f->tx_sent)
		return false;
	for (unsigned int i = 0; i < f->nports; i++)
		if ((ports & 1u << i) &&
		    f->port[i].rx_got != f->port[i].rx_sent)
			return false;
	return true;
}

int flow_drain(struct flow *f, unsigned int ports, int ms)
{
	int64_t end = vmm_now_ms() + ms;

	for (;;) {
		int n = flow_step(f, false);

		if (n < 0)
			return n;
		if (drained(f, ports))
			return 0;
		if (n > 0)
			end = vmm_now_ms() + ms;
		if (vmm_now_ms() >= end)
			break;
		flow_wait(f, 1);
	}
	wrong(f, "TX: %u of %u frames came; RX, port 0: %u of %u", f->tx_base,
	      f->tx_sent, f->port[0].rx_got, f->port[0].rx_sent);
	return -ETIMEDOUT;
}

/* ---- footprints ---- */

static unsigned int entries(pid_t pid, const char *what)
{
	unsigned int n = 0;
	struct dirent *e;
	char path[40];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

struct footprint footprint_of(pid_t pid)
{
	return (struct footprint){
		.fds = entries(pid, "fd"),
		.threads = entries(pid, "task"),
	};
}

int footprint_wait(pid_t pid, struct footprint want, int ms)
{
	int64_t end = vmm_now_ms() + ms;

	for (;;) {
		struct footprint now = footprint_of(pid);

		if (now.fds == want.fds && now.threads == want.threads)
			return 0;
		if (vmm_now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, 10);
	}
}
