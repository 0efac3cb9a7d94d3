/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_session.c is the life of a session: one vhost-user connection and its
 * control thread, which reads the messages and owns everything but the devices.
 *
 *   new     ─ begin_session() on the control thread ─► open
 *   open    ─ vu_drop(), the peer closes, or vu_session_end() ─► closing: no
 * more messages are read closing ─ close_session() on the control thread, calls
 * cfg.closed ─► closed closed  ─ vu_session_free() on another thread ─► freed
 *
 * Only vu_session_free() closes the socket, as vu_session_end() may use it on
 * any thread. The control thread releases everything else of the peer: close()
 * of a file of a hostile FUSE server may block it, but no other session.
 */
#include "vu_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages that are handled before other descriptors are served. */
#define MESSAGES_PER_TURN 32

/* Final clean-up, on the control thread. */
static void close_session(struct vu_session *s)
{
	s->closing = true;
	worker_watch_del(s->control, &s->watch);
	shutdown(s->ep.sock, SHUT_RDWR);
	vu_msg_close_fds(&s->ep.m);
	vu_postcopy_stop(s);
	vu_transfer_stop(s);
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		if (s->pair[i])
			vu_pair_close(s->pair[i]);
	vu_channel_close(s);
	vu_mem_free(s);
	aspace_map_put(s->inflight);
	s->inflight = NULL;
	fd_drop(&s->log_fd);
	if (s->cfg.closed)
		s->cfg.closed(s->cfg.ctx, s);
}

static void receive(struct vu_session *s)
{
	for (unsigned int i = 0; i < MESSAGES_PER_TURN && !s->closing; i++) {
		struct vu_msg m;
		int ret = vu_recv(&s->ep, &m);

		if (ret == -EAGAIN)
			return;
		if (ret == -ECONNRESET) {
			vu_log(s, LOG_LEVEL_INFO, "the peer has gone");
			s->closing = true;
			return;
		}
		if (ret < 0) {
			vu_drop(s, "not a message: %s", strerror(-ret));
			return;
		}
		vu_handle(s, &m);
		vu_msg_close_fds(&m);
	}
}

static void on_socket(struct loop_watch *watch, uint32_t events)
{
	struct vu_session *s = container_of(watch, struct vu_session, watch);

	(void)events;
	receive(s);
	if (s->closing)
		close_session(s);
}

/* The process may have dropped the capabilities that postcopy needs. */
static void offer_postcopy(struct vu_session *s)
{
	int ret = s->cfg.postcopy ? vu_postcopy_check(s) : -EOPNOTSUPP;

	s->postcopy = ret == 0;
	if (s->cfg.postcopy && ret < 0)
		vu_log(s, LOG_LEVEL_WARNING,
		       "postcopy is not offered: no userfaultfd: %s",
		       strerror(-ret));
}

static void begin_session(void *arg)
{
	struct vu_session *s = arg;
	int ret = vu_channel_open(s);

	offer_postcopy(s);
	if (ret == 0)
		ret = worker_watch_add(s->control, &s->watch, s->ep.sock,
				       EPOLLIN);
	if (ret < 0) {
		vu_log(s, LOG_LEVEL_ERROR, "cannot serve: %s", strerror(-ret));
		close_session(s);
	}
}

int vu_session_new(const struct vu_session_config *config, int sock,
		   struct vu_session **out)
{
	struct vu_session *s;
	int ret;

	if (!config->queue_pairs || config->queue_pairs > VU_QUEUE_PAIRS_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->cfg = *config;
	memcpy(s->mac, config->mac, sizeof(s->mac));
	s->mtu = config->mtu;
	s->watch = (struct loop_watch){ .fn = on_socket, .fd = -1 };
	s->ch.watch.fd = s->ch.misses.fd = s->ch.ep.sock = -1;
	s->transfer.watch.fd = s->transfer.fd = s->uffd = s->log_fd = -1;
	s->transfer.result = -ENOENT;
	ret = worker_new("vu-control", 0, &s->control);
	if (ret < 0) {
		free(s);
		return ret;
	}
	vu_endpoint_init(&s->ep, sock);
	*out = s;
	s->start = (struct loop_job){ .fn = begin_session, .arg = s };
	worker_post(s->control, &s->start);
	return 0;
}

void vu_session_end(struct vu_session *s)
{
	shutdown(s->ep.sock, SHUT_RDWR);
}

void vu_session_interrupt(struct vu_session *s)
{
	worker_interrupt(s->control);
}

void vu_session_free(struct vu_session *s)
{
	if (!s)
		return;
	worker_finish(s->control);
	worker_join(s->control);
	for (unsigned int i = 0; i < VU_QUEUE_PAIRS_MAX; i++)
		if (s->pair[i])
			vu_pair_free(s->pair[i]);
	vu_endpoint_close(&s->ep);
	free(s);
}
