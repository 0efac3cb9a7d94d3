/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_net.c connects a device that is in a worker process to the network
 * of its options: frames go through a ring (framering.h), whose other side has
 * a thread of its own in this process (uplink.h).
 *
 * A ring is there from the start of the first worker process on, until the
 * device is in this process again: the next worker process uses the ring of
 * the one before it, and so does the next uvhostd. The guest joins the network
 * when its VMM passes a descriptor, as it does without a worker process, and
 * stays as long as there is a ring.
 *
 * The thread of the ring checks what the process writes there. An impossible
 * value counts as a malformed message: the process is ended, and the next one
 * gets a new ring (net_begin()). If the thread is in the process of the network
 * (netproc.h), it is not counted: that process may be wrong.
 */
#include "session_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "abi.h"
#include "attach.h"
#include "bytes.h"
#include "framering.h"
#include "netport.h"
#include "vdev.h"

static void on_broken(struct loop_watch *watch, uint32_t events)
{
	struct session *s = container_of(watch, struct session, ring_watch);

	(void)events;
	worker_watch_del(s->worker, watch);
	if (s->ended || !s->process.pid)
		return;
	s->malformed = !attach_is_remote(s->config->attach);
	log_limited_state(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			  "worker process %d wrote what cannot be to the "
			  "network: it is %s",
			  s->process.pid,
			  s->malformed ? "treated as crashed" : "replaced");
	worker_queue(s->worker, &s->gone_work);
}

static int watch_ring(struct session *s)
{
	int fd = framering_alarm(s->ring);

	s->ring_watch = (struct loop_watch){ .fn = on_broken, .fd = -1 };
	return fd < 0 ? fd
		      : worker_watch_add(s->worker, &s->ring_watch, fd,
					 EPOLLIN);
}

void net_leave(struct session *s)
{
	if (s->ring)
		worker_watch_del(s->worker, &s->ring_watch);
	attach_pair_free(s->net_pair);
	framering_free(s->ring);
	s->net_pair = NULL;
	s->ring = NULL;
}

void net_end(struct session *s)
{
	if (!s->ring)
		return;
	net_leave(s);
	persist_set_ring(s->persist, NULL);
}

static void keep_ring(struct session *s)
{
	int fds[FRAMERING_FDS];

	framering_fds(s->ring, fds);
	persist_set_ring(s->persist, fds);
}

int net_begin(struct session *s)
{
	int ret;

	if (s->ring && framering_is_broken(s->ring))
		net_end(s);
	if (!s->config->net || s->ring)
		return 0;
	ret = framering_new(&s->ring);
	if (ret < 0)
		return ret;
	ret = watch_ring(s);
	if (ret == 0)
		ret = attach_pair_new(s->config->attach, &s->net_pair);
	if (ret < 0) {
		net_leave(s);
		return ret;
	}
	keep_ring(s);
	return 0;
}

void net_connect(struct session *s, uint32_t cmd, struct call_facts *facts)
{
	int ret;

	if (!s->ring || cmd != VHOST_NET_SET_BACKEND || facts->fd_error < 0 ||
	    facts->fd < 0 || netport_check_fd(facts->fd) < 0)
		return;
	ret = attach_pair_connect(s->net_pair, facts->fd, s->peer.pid, s->ring);
	if (ret < 0)
		facts->fd_error = ret == -ENOSPC ? ret : -ENOMEM;
}

void net_connected(struct session *s, uint32_t cmd)
{
	if (!s->ring || cmd != VHOST_NET_SET_BACKEND ||
	    attach_pair_follow(s->net_pair))
		return;
	log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
		    "the process of the network does not answer: frames for "
		    "the guest are dropped until it does");
}

/* Takes over the frame ring of the daemon before, and connects the rings of
 * the device that the record says are running. */
static int adopt_ring(struct session *s)
{
	int ret = attach_pair_new(s->config->attach, &s->net_pair);

	if (ret == 0)
		ret = framering_adopt(s->left.ring, &s->ring);
	if (ret == 0)
		for (unsigned int i = 0; i < FRAMERING_FDS; i++)
			s->left.ring[i] = -1;
	if (ret == 0)
		ret = watch_ring(s);
	if (ret < 0) {
		net_leave(s);
		return ret;
	}
	keep_ring(s);
	for (uint32_t i = 0; i < VDEV_VQS; i++) {
		const struct record_call *c = record_find(
			persist_record(s->persist), VHOST_NET_SET_BACKEND, i);
		struct call_facts facts = CALL_FACTS_NONE;

		if (!c)
			continue;
		facts.fd = c->fd;
		net_connect(s, c->cmd, &facts);
	}
	return 0;
}

bool net_resume(struct session *s)
{
	bool had = s->left.ring[0] >= 0;

	if (had && s->config->net && s->peer.pid && adopt_ring(s) == 0)
		return true;
	if (had)
		persist_set_ring(s->persist, NULL);
	return !had && !s->config->net;
}
