/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wvu.c serves a vhost-user connection in a worker process.
 *
 *   broker ── socket 3 ──► wvu.c ── vu_server.h ── rings, port, guest memory
 *   frontend ── its connection, handed over ──► vu_server.h
 *
 * Order of the start:
 *   1. WMSG_SOCK_START is received: the connection, and the port's descriptors
 *   2. the interface is made of them, and all else that takes a system call
 *      that the filter refuses
 *   3. the filter is installed
 *   4. the session begins to read its connection, and START is answered
 *
 *   thread              owns
 *   main                socket to the broker, interface, watchdog
 *   vu-control          connection, guest memory
 *   one of each pair    rings, ports
 *
 * The last two are the session's, and are made and ended by it.
 *
 *   serving ─ WMSG_SOCK_END, or the broker's end of a socket that is stored
 *             ─► ending: the connection is closed
 *   serving, ending ─ session_closed() ─► the process ends
 *   serving, ending ─ the session does not end ─► the process ends: what waits
 *             for memory that does not answer goes with it, if the kernel lets
 *             it
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wvu.h"

#include "bytes.h"
#include "fd.h"
#include "framering.h"
#include "log.h"
#include "log_limit.h"
#include "loop.h"
#include "netif.h"
#include "offload.h"
#include "vu_server.h"
#include "watchdog.h"
#include "wfilter.h"
#include "wmsg.h"
#include "wproc.h"

_Static_assert(WMSG_SOCK_PAIRS_MAX == VU_QUEUE_PAIRS_MAX, "they are the same");

/* Time to wait for the process of the network, which may be restarting. */
#define ENABLE_MS 2000

/**
 * struct wvu - the program
 * @conn:      the connection; the session's, if there is one
 * @peer_gone: watches it until the peer has gone; then @dog waits for the end
 *             of the session
 * @userfault: /dev/userfaultfd; -1: none
 * @netif:     the port; NULL: @ring has the guest's side of a frame ring for
 *             each queue pair
 */
struct wvu {
	int sock;
	struct wmsg_in in;
	struct wmsg_sock start;
	int conn;
	int userfault;
	struct netif *netif;
	struct framering *ring[WMSG_SOCK_RINGS_MAX];
	struct log_tag tag;
	struct log_limit limit;
	struct loop *loop;
	struct loop_watch broker;
	struct loop_watch peer_gone;
	struct watchdog *watchdog;
	struct watchdog_entry dog;
	struct vu_session *session;
	struct loop_job closed_job;
};

bool wvu_is_asked(int sock)
{
	struct wmsg_hdr hdr = { 0 };
	ssize_t n;

	do
		n = recv(sock, &hdr, sizeof(hdr), MSG_PEEK);
	while (n < 0 && errno == EINTR);
	return n == sizeof(hdr) && hdr.magic == WMSG_MAGIC &&
	       hdr.type == WMSG_SOCK_START;
}

/* ---- what the session asks ---- */

static int wvu_open_ports(void *ctx, unsigned int pair, struct netport **rx,
			  struct netport **tx)
{
	struct wvu *w = ctx;

	return w->netif
		       ? netif_open(w->netif, pair, rx, tx)
		       : framering_open(w->ring[pair], FRAMERING_GUEST, rx, tx);
}

/* Waits until the network knows that the ring is enabled: frames reach it by
 * the time the frontend gets its reply. */
static void wvu_enable_ring(struct wvu *w, unsigned int pair, bool on)
{
	framering_enable(w->ring[pair], on);
	if (on && !framering_await(w->ring[pair], ENABLE_MS))
		log_limited(&w->limit, &w->tag, LOG_LEVEL_WARNING,
			    "the process of the network does not answer: "
			    "frames for the guest are dropped until it does");
}

static void wvu_enable_ports(void *ctx, unsigned int pair, bool rx, bool tx)
{
	struct wvu *w = ctx;

	if (w->netif)
		netif_enable(w->netif, pair, rx || tx);
	else
		wvu_enable_ring(w, pair, rx);
}

static void wvu_set_offload(void *ctx, uint64_t features)
{
	struct wvu *w = ctx;

	if (w->netif)
		netif_set_offload(w->netif, features);
	for (unsigned int i = 0; !w->netif && i < w->start.queue_pairs; i++)
		framering_set_offload(w->ring[i], features);
}

static void wvu_session_closed(void *ctx, struct vu_session *session)
{
	struct wvu *w = ctx;

	(void)session;
	loop_post(w->loop, &w->closed_job);
}

static void wvu_run_closed(void *arg)
{
	struct wvu *w = arg;

	loop_stop(w->loop);
}

/* ---- a session that does not end ---- */

static void wvu_interrupt(struct watchdog_entry *e)
{
	vu_session_interrupt(container_of(e, struct wvu, dog)->session);
}

static void wvu_hangs(struct watchdog_entry *e)
{
	const struct wvu *w = container_of(e, struct wvu, dog);

	log_warn(&w->tag, "the peer has gone and the session does not end: its "
			  "memory does not answer");
	_exit(EXIT_SUCCESS); /* its threads still use all that there is */
}

/* The session's own thread sees it as well, unless it waits for a worker. */
static void wvu_on_peer_gone(struct loop_watch *watch, uint32_t events)
{
	struct wvu *w = container_of(watch, struct wvu, peer_gone);

	(void)events;
	loop_del(w->loop, watch);
	watchdog_begin(w->watchdog, &w->dog);
}

static void wvu_end(struct wvu *w)
{
	vu_session_end(w->session);
	watchdog_begin(w->watchdog, &w->dog);
}

/* ---- the broker ---- */

static int wvu_send(struct wvu *w, unsigned int type, const void *body,
		    size_t len)
{
	const struct wmsg_out out = {
		.type = type,
		.part = { { (void *)(uintptr_t)body, len } },
		.nparts = 1,
	};
	int ret;

	do
		ret = wmsg_send(w->sock, &out, MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret;
}

static void wvu_reply(struct wvu *w, int error)
{
	const struct wmsg_number n = { .n = error };

	wvu_send(w, WMSG_SOCK_START | WMSG_REPLY, &n, sizeof(n));
}

/* The broker has closed the socket, or sent what is not understood. */
static void wvu_lose_broker(struct wvu *w)
{
	loop_del(w->loop, &w->broker);
	if (w->start.flags & WMSG_SOCK_STORED)
		wvu_end(w);
}

static int wvu_message(struct wvu *w)
{
	if (!wmsg_body(&w->in, 0))
		return -EPROTO;
	switch (w->in.hdr.type) {
	case WMSG_SOCK_HELLO:
		return wvu_send(w, WMSG_SOCK_HELLO | WMSG_REPLY, &w->start,
				sizeof(w->start));
	case WMSG_SOCK_PRINT:
		vu_session_print(w->session);
		return 0;
	case WMSG_SOCK_END:
		wvu_end(w);
		return 0;
	default:
		return -EPROTO;
	}
}

static void wvu_on_broker(struct loop_watch *watch, uint32_t events)
{
	struct wvu *w = container_of(watch, struct wvu, broker);
	int ret = wmsg_recv(w->sock, &w->in, MSG_DONTWAIT);

	(void)events;
	if (ret == 0)
		ret = wvu_message(w);
	wmsg_in_release(&w->in);
	if (ret == 0 || ret == -EAGAIN || ret == -EINTR)
		return;
	if (ret != -ECONNRESET)
		log_limited(&w->limit, &w->tag, LOG_LEVEL_WARNING,
			    "a message of the broker: %s", strerror(-ret));
	wvu_lose_broker(w);
}

/* ---- start ---- */

/* Takes over the descriptors of START; the port's go to @fds. */
static int wvu_take_start(struct wvu *w, int *fds, unsigned int *nfds)
{
	unsigned int n = 0;
	int ret;

	w->in.inherits = WPROC_FDS;
	do
		ret = wmsg_recv(w->sock, &w->in, 0);
	while (ret == -EINTR);
	if (ret < 0)
		return ret;
	ret = wmsg_get_sock(&w->in, &w->start);
	if (ret < 0 || !wmsg_is_unix(w->in.fd[0], SOCK_STREAM))
		return -EPROTO;
	log_tag_init(&w->tag, "%s", w->start.tag);
	log_set_level((enum log_level)w->start.log_level);
	if (strcmp(w->start.build, wmsg_build()) != 0)
		return -ESTALE;
	w->conn = w->in.fd[n++];
	if (w->start.flags & WMSG_SOCK_USERFAULT)
		w->userfault = w->in.fd[n++];
	*nfds = w->in.nfds - n;
	memcpy(fds, w->in.fd + n, *nfds * sizeof(*fds));
	w->in.nfds = 0;
	return 0;
}

/* On failure descriptors stay open, as the process ends then. */
static int wvu_make_rings(struct wvu *w, const int *fds)
{
	int ret = 0;

	for (unsigned int i = 0; i < w->start.queue_pairs && ret == 0; i++)
		ret = framering_adopt(fds + (size_t)i * FRAMERING_FDS,
				      &w->ring[i]);
	return ret;
}

static int wvu_make_port(struct wvu *w, const int *fds, unsigned int n)
{
	char error[256];
	int ret = netif_adopt(w->start.port, w->start.queue_pairs, fds, n,
			      &w->netif, error, sizeof(error));

	if (ret == 0)
		return 0;
	for (unsigned int i = 0; i < n; i++)
		close(fds[i]);
	log_err(&w->tag, "%s", error);
	return ret;
}

static int wvu_prepare(struct wvu *w)
{
	int fds[WMSG_SOCK_FDS_MAX];
	unsigned int n = 0;
	int ret = wmsg_in_init(&w->in, WMSG_PACKET_MAX, true);

	if (ret == 0)
		ret = wvu_take_start(w, fds, &n);
	if (ret == 0)
		ret = w->start.flags & WMSG_SOCK_RINGS
			      ? wvu_make_rings(w, fds)
			      : wvu_make_port(w, fds, n);
	if (ret == 0)
		ret = loop_new(&w->loop);
	if (ret == 0)
		ret = watchdog_new(w->loop, &w->watchdog);
	if (ret == 0)
		ret = loop_add(w->loop, &w->broker, w->sock, EPOLLIN);
	if (ret == 0)
		ret = wfilter_install_sock(w->start.flags & WMSG_SOCK_POSTCOPY);
	return ret;
}

static int wvu_begin(struct wvu *w)
{
	struct vu_session_config config = {
		.tag = w->tag,
		.queue_pairs = w->start.queue_pairs,
		.busy_poll_us = w->start.busy_poll_us,
		.net_features =
			w->netif ? netif_features(w->netif) : OFFLOADS_BOTH,
		.mtu = w->start.mtu,
		.map_bytes = w->start.map_bytes,
		.postcopy = w->start.flags & WMSG_SOCK_POSTCOPY,
		.userfault = w->userfault,
		.open_ports = wvu_open_ports,
		.enable_ports = wvu_enable_ports,
		.set_offload = wvu_set_offload,
		.closed = wvu_session_closed,
		.limit = &w->limit,
		.ctx = w,
	};
	int ret;

	memcpy(config.mac, w->start.mac, sizeof(config.mac));
	ret = vu_session_new(&config, w->conn, &w->session);
	if (ret < 0)
		return ret;
	if (loop_add(w->loop, &w->peer_gone, w->conn, EPOLLRDHUP) < 0)
		log_debug(&w->tag, "cannot watch the socket");
	w->conn = -1;
	return 0;
}

/* ---- end ---- */

static void wvu_release(struct wvu *w)
{
	if (w->loop) {
		loop_del(w->loop, &w->broker);
		loop_del(w->loop, &w->peer_gone);
	}
	if (w->watchdog)
		watchdog_end(w->watchdog, &w->dog);
	vu_session_free(w->session);
	netif_free(w->netif);
	for (unsigned int i = 0; i < WMSG_SOCK_RINGS_MAX; i++)
		framering_free(w->ring[i]);
	watchdog_free(w->watchdog);
	loop_free(w->loop);
	log_limit_end(&w->limit);
	wmsg_in_free(&w->in);
	fd_drop(&w->conn);
	fd_drop(&w->userfault);
}

int wvu_run(int sock)
{
	struct wvu w = {
		.sock = sock,
		.conn = -1,
		.userfault = -1,
		.tag.name = "uvhost-worker",
		.broker = { .fn = wvu_on_broker, .fd = -1 },
		.peer_gone = { .fn = wvu_on_peer_gone, .fd = -1 },
		.dog = { .interrupt = wvu_interrupt, .hangs = wvu_hangs },
	};
	int ret;

	w.closed_job = (struct loop_job){ .fn = wvu_run_closed, .arg = &w };
	log_limit_init(&w.limit, LOG_LINES_USER, &log_limit_all);
	ret = wvu_prepare(&w);
	if (ret == 0)
		ret = wvu_begin(&w);
	wvu_reply(&w, ret);
	if (ret == 0)
		ret = loop_run(w.loop, -1);
	else if (ret != -ECONNRESET)
		log_err(&w.tag, "the worker process cannot start: %s",
			strerror(-ret));
	wvu_release(&w);
	return ret;
}
