/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wnet.c runs one network in a worker process (wnet.h).
 *
 *   broker ── socket 3 ──► wnet.c ── network.h
 *                                      ├─ uplink ── interface of the host
 *                                      └─ uplink ── frame ring of a guest
 *
 * Order of the start:
 *   1. NET_START: the network is made
 *   2. NET_CAPTURE, NET_PORT: captures and interfaces are made of descriptors,
 *      with system calls that the filter refuses
 *   3. NET_RUN: the filter is installed. Then the interfaces are connected to
 *      the network: their frames are read from here on
 *   4. NET_PORT, NET_RING: guests
 *
 * Threads, and what each owns:
 *   - main: the socket to the broker, the lists of ports
 *   - one of each uplink: an interface, or the network's side of a frame ring.
 *     A guest's frames may make it loop: wdog.h ends the process then
 *   - one of each capture: its file
 *
 * A guest may have taken over the process of its own device, and writes what
 * it likes to its frame ring. This process reads that ring and its frames; it
 * has no guest's memory and no privileges. The broker's messages are trusted,
 * but checked for completeness.
 *
 * The process ends when the broker closes its socket, also by its death. The
 * next broker starts another process for the network, with the same rings.
 */
#include "wnet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "capture.h"
#include "fd.h"
#include "framering.h"
#include "log.h"
#include "log_limit.h"
#include "loop.h"
#include "netif.h"
#include "netmsg.h"
#include "network.h"
#include "uplink.h"
#include "wdog.h"
#include "wfilter.h"
#include "wmsg.h"

struct wnet;

/** struct wnet_queue - a frame ring and its uplink; both or none; @spoiled: the
 * message if the ring breaks; @alarm: watches for that */
struct wnet_queue {
	struct framering *ring;
	struct uplink *uplink;
	struct wnet *wnet;
	struct netmsg_spoiled spoiled;
	struct loop_watch alarm;
};

/**
 * struct wnet_port - a port
 * @netif:  an interface, with @uplink; NULL: of a guest, with @queue
 * @config: @capture_if is not set
 */
struct wnet_port {
	LIST_ENTRY(wnet_port) link;
	uint32_t id;
	bool has_offloads;
	struct swport_config config;
	struct swport *swport;
	struct netif *netif;
	struct uplink *uplink;
	unsigned int nqueues;
	struct wnet_queue queue[];
};

struct wnet_capture {
	struct capture *capture;
	struct capture_mark *mark;
	char path[NETMSG_PATH_MAX];
};

/** struct wnet - the program; @runs: NET_RUN was carried out */
struct wnet {
	int sock;
	struct wmsg_in in;
	struct log_tag tag;
	struct log_limit limit;
	struct loop *loop;
	struct loop_watch broker;
	struct network *network;
	struct wnet_capture *capture;
	unsigned int ncaptures;
	LIST_HEAD(, wnet_port) ports;
	bool runs;
};

bool wnet_is_asked(int sock)
{
	struct wmsg_hdr hdr = { 0 };
	ssize_t n;

	do
		n = recv(sock, &hdr, sizeof(hdr), MSG_PEEK);
	while (n < 0 && errno == EINTR);
	return n == sizeof(hdr) && hdr.magic == WMSG_MAGIC &&
	       hdr.type == WMSG_NET_START;
}

/* ---- messages to the broker ---- */

/* Waits while the socket is full: the broker reads it soon, or has died. */
static void wnet_send(const struct wnet *w, unsigned int type, const void *body,
		      size_t len)
{
	const struct wmsg_out out = {
		.type = type,
		.part = { { (void *)(uintptr_t)body, len } },
		.nparts = 1,
	};

	while (wmsg_send(w->sock, &out, 0) == -EINTR)
		;
}

static void wnet_reply(const struct wnet *w, unsigned int to, int error)
{
	const struct wmsg_number n = { .n = error };

	wnet_send(w, to | WMSG_REPLY, &n, sizeof(n));
}

/* ---- captures ---- */

static struct capture_mark *map_mark(int fd)
{
	void *p;

	if (!fd_is_memory(fd, NETMSG_MARK_BYTES))
		return NULL;
	p = mmap(NULL, NETMSG_MARK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int wnet_open_capture(struct wnet *w, struct wnet_capture *c)
{
	struct capture_given given = { .fd = w->in.fd[0] };
	struct netmsg_capture m;
	struct capture_config config = { .given = &given };
	int ret = netmsg_get_capture(&w->in, &m);

	if (ret < 0)
		return ret;
	c->mark = map_mark(w->in.fd[1]);
	if (!c->mark)
		return -EPROTO;
	memcpy(c->path, m.path, sizeof(c->path));
	given.mark = c->mark;
	config.path = c->path;
	config.snaplen = m.snaplen;
	config.vnet_hdr = m.vnet_hdr;
	ret = capture_new(&config, &c->capture);
	if (ret < 0)
		return ret;
	close(w->in.fd[1]);
	w->in.nfds = 0;
	return 0;
}

static int add_capture(struct wnet *w)
{
	struct wnet_capture *all =
		reallocarray(w->capture, w->ncaptures + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	w->capture = all;
	all[w->ncaptures] = (struct wnet_capture){ 0 };
	return wnet_open_capture(w, &all[w->ncaptures++]);
}

/* ---- ports ---- */

static struct wnet_port *find_port(const struct wnet *w, uint32_t id)
{
	struct wnet_port *p;

	LIST_FOREACH (p, &w->ports, link)
		if (p->id == id)
			return p;
	return NULL;
}

static int wnet_join(struct wnet *w, struct wnet_port *p)
{
	struct swport_config *c = &p->config;
	int ret = 0;

	if (c->capture)
		ret = capture_add(c->capture, c->name);
	if (ret < 0)
		return ret;
	c->capture_if = (unsigned int)ret;
	return swport_new(w->network, c, MAX(p->nqueues, 1u), &p->swport);
}

/* The interface sends and receives from here on. */
static int connect_interface(struct wnet *w, struct wnet_port *p)
{
	int ret = wnet_join(w, p);

	if (ret == 0)
		ret = uplink_new(p->netif, p->swport, 1, &p->uplink);
	if (ret == 0 && p->has_offloads)
		swport_set_guest_offloads(p->swport, p->config.guest_offloads);
	return ret;
}

static void drop_queue(struct wnet_queue *q)
{
	if (!q->ring)
		return;
	loop_del(q->wnet->loop, &q->alarm);
	uplink_free(q->uplink);
	framering_free(q->ring);
	*q = (struct wnet_queue){ 0 };
}

static void drop_port(struct wnet_port *p)
{
	uplink_free(p->uplink);
	for (unsigned int i = 0; i < p->nqueues; i++)
		drop_queue(&p->queue[i]);
	swport_free(p->swport);
	netif_free(p->netif);
	LIST_REMOVE(p, link);
	free(p);
}

/* Drops a port that cannot be made; the network goes on without it. */
static void leave_out(const struct wnet *w, struct wnet_port *p, int error)
{
	log_err(&w->tag, "port %s is left out: %s", p->config.name,
		strerror(-error));
	drop_port(p);
}

static int adopt_interface(struct wnet *w, const struct netmsg_port *m,
			   struct wnet_port *p)
{
	char error[256];
	int ret = netif_adopt(m->spec, 1, w->in.fd, w->in.nfds, &p->netif,
			      error, sizeof(error));

	if (ret == 0)
		w->in.nfds = 0;
	return ret;
}

static int make_port(struct wnet *w, const struct netmsg_port *m,
		     struct wnet_port **out)
{
	unsigned int queues = m->spec[0] ? 0 : m->queues;
	struct wnet_port *p =
		calloc(1, sizeof(*p) + queues * sizeof(p->queue[0]));

	if (!p)
		return -ENOMEM;
	netmsg_swport(m, &p->config);
	if (m->capture >= 0)
		p->config.capture = w->capture[m->capture].capture;
	p->id = m->id;
	p->has_offloads = m->flags & NETMSG_OFFLOADS;
	p->nqueues = queues;
	LIST_INSERT_HEAD(&w->ports, p, link);
	*out = p;
	return 0;
}

static int wnet_add_port(struct wnet *w)
{
	struct wnet_port *p;
	struct netmsg_port m;
	int ret = netmsg_get_port(&w->in, &m);

	if (ret < 0 || find_port(w, m.id) || !m.spec[0] != w->runs ||
	    m.capture >= (int)w->ncaptures)
		return -EPROTO;
	ret = make_port(w, &m, &p);
	if (ret < 0)
		return ret;
	ret = m.spec[0] ? adopt_interface(w, &m, p) : wnet_join(w, p);
	if (ret < 0)
		leave_out(w, p, ret);
	return 0;
}

/* ---- frame rings ---- */

static void on_spoiled(struct loop_watch *watch, uint32_t events)
{
	struct wnet_queue *q = container_of(watch, struct wnet_queue, alarm);

	(void)events;
	loop_del(q->wnet->loop, watch);
	wnet_send(q->wnet, WMSG_NET_SPOILED, &q->spoiled, sizeof(q->spoiled));
}

static int watch_alarm(struct wnet *w, struct wnet_queue *q,
		       const struct netmsg_ring *m)
{
	int fd = framering_alarm(q->ring);

	q->wnet = w;
	q->alarm = (struct loop_watch){ .fn = on_spoiled, .fd = -1 };
	q->spoiled = (struct netmsg_spoiled){ .id = m->id,
					      .queue = m->queue,
					      .serial = m->serial };
	return fd < 0 ? fd : loop_add(w->loop, &q->alarm, fd, EPOLLIN);
}

static int connect_ring(struct wnet *w, struct wnet_port *p,
			const struct netmsg_ring *m)
{
	struct wnet_queue *q = &p->queue[m->queue];
	int ret = framering_adopt(w->in.fd, &q->ring);

	if (ret < 0)
		return ret;
	w->in.nfds = 0;
	ret = watch_alarm(w, q, m);
	if (ret == 0)
		ret = uplink_ring_new(q->ring, p->swport, m->queue, m->offload,
				      &q->uplink);
	if (ret < 0)
		drop_queue(q);
	return ret;
}

/* A port that was left out has no rings. */
static int add_ring(struct wnet *w)
{
	struct wnet_port *p;
	struct netmsg_ring m;
	int ret = netmsg_get_ring(&w->in, &m);

	if (ret < 0)
		return ret;
	p = find_port(w, m.id);
	if (!p)
		return 0;
	if (m.queue >= p->nqueues || p->queue[m.queue].ring)
		return -EPROTO;
	ret = connect_ring(w, p, &m);
	/* The process ends, which does not count as a crash; the next one gets
	 * all messages again. */
	if (wmsg_is_shortage(ret))
		return ret;
	if (ret < 0)
		log_limited(&w->limit, &w->tag, LOG_LEVEL_ERROR,
			    "queue %u of port %s cannot be connected: %s",
			    m.queue, p->config.name, strerror(-ret));
	return 0;
}

static int wnet_leave(struct wnet *w)
{
	struct wnet_port *p;
	struct netmsg_leave m;
	int ret = netmsg_get_leave(&w->in, &m);

	if (ret < 0)
		return ret;
	p = find_port(w, m.id);
	if (!p)
		return 0;
	if (m.queue == NETMSG_ALL)
		drop_port(p);
	else if (m.queue < p->nqueues)
		drop_queue(&p->queue[m.queue]);
	return 0;
}

/* ---- the broker ---- */

static int wnet_message(struct wnet *w)
{
	switch (w->in.hdr.type) {
	case WMSG_NET_PORT:
		return wnet_add_port(w);
	case WMSG_NET_RING:
		return add_ring(w);
	case WMSG_NET_LEAVE:
		return wnet_leave(w);
	case WMSG_NET_PRINT:
		network_print(w->network, stderr);
		wnet_reply(w, WMSG_NET_PRINT, 0);
		return 0;
	default:
		return -EPROTO;
	}
}

static void wnet_on_broker(struct loop_watch *watch, uint32_t events)
{
	struct wnet *w = container_of(watch, struct wnet, broker);
	int ret = wmsg_recv(w->sock, &w->in, MSG_DONTWAIT);

	(void)events;
	if (ret == 0)
		ret = wnet_message(w);
	wmsg_in_release(&w->in);
	if (ret == 0 || ret == -EAGAIN || ret == -EINTR)
		return;
	if (ret != -ECONNRESET)
		log_err(&w->tag, "a message of the broker: %s", strerror(-ret));
	loop_stop(w->loop);
}

/* ---- start ---- */

static int wnet_recv(struct wnet *w)
{
	int ret;

	do
		ret = wmsg_recv(w->sock, &w->in, 0);
	while (ret == -EINTR);
	return ret;
}

static int make_network(struct wnet *w)
{
	struct network_config config = { 0 };
	struct netmsg_start s;
	int ret = netmsg_get_start(&w->in, &s);

	if (ret < 0)
		return ret;
	log_tag_init(&w->tag, "%s", s.tag);
	log_set_level((enum log_level)s.log_level);
	if (strcmp(s.build, wmsg_build()) != 0)
		return -ESTALE;
	memcpy(config.name, s.name, sizeof(config.name));
	config.macs = s.macs;
	config.age_s = s.age_s;
	config.mtu = s.mtu;
	if (s.stall_ms)
		wdog_start_all(MAX(s.stall_ms, 2u));
	return network_new(&config, &w->network);
}

static int read_starts(struct wnet *w)
{
	int ret = wnet_recv(w);

	if (ret == 0)
		ret = make_network(w);
	while (ret == 0) {
		ret = wnet_recv(w);
		if (ret < 0)
			break;
		if (w->in.hdr.type == WMSG_NET_RUN)
			return wmsg_body(&w->in, 0) ? 0 : -EPROTO;
		if (w->in.hdr.type == WMSG_NET_CAPTURE)
			ret = add_capture(w);
		else if (w->in.hdr.type == WMSG_NET_PORT)
			ret = wnet_add_port(w);
		else
			ret = -EPROTO;
	}
	return ret;
}

static int connect_interfaces(struct wnet *w)
{
	struct wnet_port *p = LIST_FIRST(&w->ports), *next;

	for (; p; p = next) {
		int ret = connect_interface(w, p);

		next = LIST_NEXT(p, link);
		if (wmsg_is_shortage(ret))
			return ret;
		if (ret < 0)
			leave_out(w, p, ret);
	}
	return 0;
}

static int wnet_prepare(struct wnet *w)
{
	int ret = wmsg_in_init(&w->in, WMSG_PACKET_MAX, true);

	if (ret == 0)
		ret = loop_new(&w->loop);
	if (ret == 0)
		ret = read_starts(w);
	if (ret == 0)
		ret = loop_add(w->loop, &w->broker, w->sock, EPOLLIN);
	if (ret == 0)
		ret = wfilter_install_net();
	if (ret == 0)
		ret = connect_interfaces(w);
	w->runs = ret == 0;
	return ret;
}

/* ---- end ---- */

static void wnet_release(struct wnet *w)
{
	while (!LIST_EMPTY(&w->ports))
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		drop_port(LIST_FIRST(&w->ports));
	network_free(w->network);
	for (unsigned int i = 0; i < w->ncaptures; i++) {
		capture_free(w->capture[i].capture);
		if (w->capture[i].mark)
			munmap(w->capture[i].mark, NETMSG_MARK_BYTES);
	}
	free(w->capture);
	if (w->loop)
		loop_del(w->loop, &w->broker);
	loop_free(w->loop);
	log_limit_end(&w->limit);
	wmsg_in_free(&w->in);
}

int wnet_run(int sock)
{
	struct wnet w = {
		.sock = sock,
		.tag.name = "uvhost-worker",
		.broker = { .fn = wnet_on_broker, .fd = -1 },
		.ports = LIST_HEAD_INITIALIZER(w.ports),
	};
	int ret;

	log_limit_init(&w.limit, LOG_LINES_USER, &log_limit_all);
	ret = wnet_prepare(&w);
	wnet_reply(&w, WMSG_NET_RUN, ret);
	if (ret == 0)
		ret = loop_run(w.loop, -1);
	else if (ret != -ECONNRESET && ret != -ESTALE)
		log_err(&w.tag, "the network's process cannot start: %s",
			strerror(-ret));
	wnet_release(&w);
	return ret == -ECONNRESET || wmsg_is_shortage(ret) ? 0 : ret;
}
