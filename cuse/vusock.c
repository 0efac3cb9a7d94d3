/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vusock.c serves a vhost-user socket of the options: one connection at a
 * time. It runs on the loop's thread, but for the calls of a session
 * (vu_session_config), which come on the session's threads.
 *
 *   waiting      a listener waits for a connection, or a client for its next
 *                attempt
 *   in session   a session of this process (vu_server.h) or a worker process
 *                (vuproc.h) has the connection; further ones are turned away,
 *                as the port has one guest
 *
 * While the closer closes a socket (closer.h), no connection is accepted.
 *
 * A session reports its end on its own thread (session_closed()); a job on the
 * loop then frees it (run_closed()), and the next connection may come.
 *
 * A worker process gets the connection before a byte of it is read, and the
 * descriptors of the port, which the next process gets only when that one is
 * gone. In a network these are frame rings (framering.h), whose other side has
 * uplinks here: they are made once, and emptied when the process is gone. If
 * the other side is in a process too (netproc.h), that one may still use the
 * old rings, so each connection gets new ones. A connection whose process
 * spoils a ring is ended.
 *
 * A port by name is opened once and stays while guests come and go; in a
 * network there is a port as long as there is a guest.
 */
#include "vusock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include "bytes.h"
#include "clock.h"
#include "framering.h"
#include "log_limit.h"
#include "log.h"
#include "ratelimit.h"
#include "unixsock.h"
#include "vu_server.h"
#include "vukeep.h"
#include "vuproc.h"

/* Between two attempts to connect. */
#define RETRY_MS 500
/* Rate limit of sessions of one socket: a burst, and then one in so many
 * milliseconds. Each session makes threads, and its rings can provoke log
 * lines. */
#define SESSION_BURST 50
#define SESSION_MS 100

/** struct ring_alarm - watches whether a ring of @sock is broken */
struct ring_alarm {
	struct loop_watch watch;
	struct vusock *sock;
};

struct vusock {
	struct vusock_config config;
	struct log_tag tag;
	struct attach *attach;
	struct vukeep keep;
	struct framering *ring[WMSG_SOCK_RINGS_MAX];  /* has_rings() */
	struct ring_alarm alarm[WMSG_SOCK_RINGS_MAX]; /* while connected */
	struct attach_guest *guest;                   /* with @session */
	struct unix_listener listener;                /* fd -1: none */
	struct loop_watch listen_watch;
	struct loop_watch retry; /* an owned timerfd: the next attempt, or the
				    end of a pause */
	bool pausing;            /* the listener waits for that end */
	struct ratelimit pace;   /* of sessions */
	int accept_error;        /* -errno of the last accept(2), or 0 */
	struct log_limit limit;  /* lines that peers provoke */
	bool waiting;            /* logged that we wait for the server */
	bool in_process;         /* connections get a process */
	struct vu_session *session;
	struct vuproc *process;    /* has the connection in place of @session */
	int sock;                  /* the session's, while there is one */
	int userfault;             /* as vu_userfault_open() gave it; -1 */
	struct closer_job refused; /* a socket that was turned away */
	struct closer_job closing; /* socket of the last session or process */
	struct loop_watch peer_gone; /* the socket, until its peer has gone */
	struct watchdog_entry dog;   /* active once the peer has gone */
	bool hangs;                  /* and the session does not close */
	bool connects;               /* connect_job is to connect rings */
	bool rings_used; /* by a connection, and not to be used again */
	struct loop_job adopt_job;
	struct loop_job connect_job;
	struct loop_job closed_job;
	struct loop_job ended_job;
	bool ending;
	bool ended; /* ended_job is posted */
};

/* ---- what the session asks ---- */

static int open_guest_ports(void *ctx, unsigned int pair, struct netport **rx,
			    struct netport **tx)
{
	struct vusock *s = ctx;

	return attach_open(s->guest, pair, rx, tx);
}

static void enable_ports(void *ctx, unsigned int pair, bool rx, bool tx)
{
	struct vusock *s = ctx;

	attach_enable(s->guest, pair, rx, tx);
}

static void set_offload(void *ctx, uint64_t features)
{
	struct vusock *s = ctx;

	attach_set_offload(s->guest, features);
}

static void session_closed(void *ctx, struct vu_session *session)
{
	struct vusock *s = ctx;

	(void)session;
	loop_post(s->config.loop, &s->closed_job);
}

/* ---- a session that does not close ---- */

static void maybe_ended(struct vusock *s);

static void interrupt_session(struct watchdog_entry *e)
{
	vu_session_interrupt(container_of(e, struct vusock, dog)->session);
}

static void session_hangs(struct watchdog_entry *e)
{
	struct vusock *s = container_of(e, struct vusock, dog);

	s->hangs = true;
	log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
		    "the peer has gone and the session does not end: its "
		    "memory does not answer");
	maybe_ended(s);
}

/* The session's own thread sees it as well, unless it waits for a worker. */
static void on_peer_gone(struct loop_watch *watch, uint32_t events)
{
	struct vusock *s = container_of(watch, struct vusock, peer_gone);

	(void)events;
	loop_del(s->config.loop, watch);
	watchdog_begin(s->config.watchdog, &s->dog);
}

/* ---- connections ---- */

static bool has_session(const struct vusock *s)
{
	return s->session || s->process;
}

/* Messages in the queue of @sock may make close(2) wait, so the closer closes
 * it; no connection is accepted meanwhile, as such sockets would pile up. */
static void close_socket(struct vusock *s, struct closer_job *job, int sock)
{
	loop_del(s->config.loop, &s->listen_watch);
	closer_close(s->config.closer, job, sock);
}

/* Do the frames of connections go through rings? */
static bool has_rings(const struct vusock *s)
{
	return s->ring[0];
}

static void unwatch_rings(struct vusock *s)
{
	for (unsigned int i = 0; i < WMSG_SOCK_RINGS_MAX; i++)
		loop_del(s->config.loop, &s->alarm[i].watch);
}

static void on_ring_broken(struct loop_watch *watch, uint32_t events)
{
	struct ring_alarm *a = container_of(watch, struct ring_alarm, watch);
	struct vusock *s = a->sock;

	(void)events;
	unwatch_rings(s);
	if (!s->process)
		return;
	log_limited_state(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			  "the worker process wrote what cannot be to the "
			  "network: its connection is closed");
	vuproc_end(s->process);
}

static int watch_ring_alarm(struct vusock *s, unsigned int i)
{
	int fd = framering_alarm(s->ring[i]);

	return fd < 0 ? fd
		      : loop_add(s->config.loop, &s->alarm[i].watch, fd,
				 EPOLLIN);
}

/* The guest leaves: no process of this socket uses the rings any more. */
static void leave(struct vusock *s)
{
	attach_leave(s->guest);
	s->guest = NULL;
	s->connects = false;
	unwatch_rings(s);
	s->rings_used |= attach_is_remote(s->attach);
	if (s->rings_used)
		return;
	for (unsigned int i = 0; has_rings(s) && i < s->config.opt->queues; i++)
		framering_reset(s->ring[i]);
}

/* Connects the rings to the network; makes a thread for each. */
static int connect_rings(struct vusock *s)
{
	int ret = 0;

	for (unsigned int i = 0;
	     has_rings(s) && i < s->config.opt->queues && ret == 0; i++) {
		ret = watch_ring_alarm(s, i);
		if (ret == 0)
			ret = attach_connect(s->guest, i, s->ring[i]);
	}
	return ret;
}

static int renew_rings(struct vusock *s);

static int begin_guest(struct vusock *s)
{
	int ret = renew_rings(s);

	if (ret == 0)
		ret = attach_join(s->attach, &s->guest);
	return ret < 0 ? ret : connect_rings(s);
}

static int begin_session_here(struct vusock *s, int sock)
{
	const struct option_sock *o = s->config.opt;
	struct vu_session_config config = {
		.tag = s->tag,
		.queue_pairs = o->queues,
		.busy_poll_us = s->config.busy_poll_us,
		.mtu = (uint16_t)o->mtu,
		.map_bytes = s->config.map_bytes,
		.postcopy = o->postcopy,
		.userfault = s->userfault,
		.open_ports = open_guest_ports,
		.enable_ports = enable_ports,
		.set_offload = set_offload,
		.closed = session_closed,
		.limit = &s->limit,
		.ctx = s,
	};
	int ret;

	memcpy(config.mac, o->mac, sizeof(config.mac));
	config.net_features = attach_features(s->guest);
	ret = vu_session_new(&config, sock, &s->session);
	if (ret < 0)
		return ret;
	s->sock = sock;
	if (loop_add(s->config.loop, &s->peer_gone, sock, EPOLLRDHUP) < 0)
		log_debug(&s->tag, "cannot watch the socket");
	return 0;
}

static bool keep_process(void *ctx, int sock, int pidfd)
{
	struct vusock *s = ctx;
	int ret = vukeep_put_process(&s->keep, sock, pidfd);

	if (ret < 0 && ret != -ENOENT)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "the connection cannot be kept for a restart: %s",
			    strerror(-ret));
	return ret == 0;
}

static void process_ended(void *ctx);
static void process_hangs(void *ctx);

static struct vuproc_config process_config(struct vusock *s, const char *port)
{
	const struct option_sock *o = s->config.opt;
	struct vuproc_config config = {
		.loop = s->config.loop,
		.watchdog = s->config.watchdog,
		.tag = &s->tag,
		.limit = &s->limit,
		.start = {
			.map_bytes = s->config.map_bytes,
			.queue_pairs = o->queues,
			.busy_poll_us = s->config.busy_poll_us,
			.mtu = (uint16_t)o->mtu,
		},
		.keep = keep_process,
		.ended = process_ended,
		.hangs = process_hangs,
		.ctx = s,
	};

	if (o->postcopy)
		config.start.flags |= WMSG_SOCK_POSTCOPY;
	if (s->userfault >= 0)
		config.start.flags |= WMSG_SOCK_USERFAULT;
	if (has_rings(s))
		config.start.flags |= WMSG_SOCK_RINGS;
	memcpy(config.start.mac, o->mac, sizeof(o->mac));
	snprintf(config.start.tag, sizeof(config.start.tag), "%s", s->tag.name);
	snprintf(config.start.port, sizeof(config.start.port), "%s", port);
	return config;
}

/* The descriptors of the rings or the port; returns as attach_fds(). */
static int port_fds(const struct vusock *s, const char **port, int *fds)
{
	unsigned int queues = s->config.opt->queues;

	if (!has_rings(s))
		return attach_fds(s->attach, port, fds);
	*port = "";
	for (unsigned int i = 0; i < queues; i++)
		framering_fds(s->ring[i], fds + (size_t)i * FRAMERING_FDS);
	return (int)queues * FRAMERING_FDS;
}

/* The descriptors of WMSG_SOCK_START behind the connection; how many, or as
 * attach_fds(). */
static int process_fds(const struct vusock *s, const char **port, int *fds)
{
	int n = s->userfault >= 0 ? 1 : 0, ret;

	fds[0] = s->userfault;
	ret = port_fds(s, port, fds + n);
	return ret < 0 ? ret : n + ret;
}

static int begin_session_in_process(struct vusock *s, int sock)
{
	int fds[1 + WMSG_SOCK_FDS_MAX];
	struct vuproc_config config;
	const char *port;
	int n = process_fds(s, &port, fds);

	if (n < 0)
		return n;
	config = process_config(s, port);
	return vuproc_new(&config, sock, fds, (unsigned int)n, &s->process);
}

/* @sock is consumed on success. */
static int start_session(struct vusock *s, int sock)
{
	int ret = begin_guest(s);

	if (ret == 0)
		ret = s->in_process ? begin_session_in_process(s, sock)
				    : begin_session_here(s, sock);
	if (ret < 0) {
		leave(s);
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "cannot serve a connection: %s", strerror(-ret));
		return ret;
	}
	log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "connected");
	if (s->process) /* which may be gone already */
		close_socket(s, &s->closing, sock);
	return 0;
}

static void arm_retry(struct vusock *s, unsigned int ms)
{
	const struct itimerspec t = {
		.it_value = { .tv_sec = ms / 1000,
			      .tv_nsec = (long)(ms % 1000) * 1000000 + 1 },
	};

	timerfd_settime(s->retry.fd, 0, &t, NULL);
}

/* New connections wait in the backlog meanwhile. */
static void pause_listening(struct vusock *s)
{
	s->pausing = true;
	loop_del(s->config.loop, &s->listen_watch);
	arm_retry(s, SESSION_MS);
}

static void resume_listening(struct vusock *s)
{
	int ret;

	s->pausing = false;
	ret = loop_add(s->config.loop, &s->listen_watch, s->listener.fd,
		       EPOLLIN);
	if (ret < 0) {
		log_limited(&s->limit, &s->tag, LOG_LEVEL_ERROR,
			    "cannot listen: %s", strerror(-ret));
		s->pausing = true;
		arm_retry(s, RETRY_MS);
	}
}

static bool is_closing(const struct vusock *s)
{
	return s->refused.busy || s->closing.busy;
}

static void socket_closed(struct vusock *s)
{
	if (is_closing(s))
		return;
	if (!s->ending && s->listener.fd >= 0 && s->listen_watch.fd < 0)
		resume_listening(s);
	if (!s->ending && s->config.opt->client && !has_session(s))
		arm_retry(s, RETRY_MS);
	maybe_ended(s);
}

static void refused_closed(struct closer_job *job)
{
	socket_closed(container_of(job, struct vusock, refused));
}

static void session_socket_closed(struct closer_job *job)
{
	socket_closed(container_of(job, struct vusock, closing));
}

/* Out of descriptors: the connection stays in the queue and the listener
 * readable, so the next attempt waits for the timer. Consecutive failures with
 * the same error are logged once. */
static void accept_failed(struct vusock *s, int error)
{
	if (error != s->accept_error)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "cannot accept a connection, trying again: %s",
			    strerror(-error));
	s->accept_error = error;
	pause_listening(s);
}

static void on_listen(struct loop_watch *watch, uint32_t events)
{
	struct vusock *s = container_of(watch, struct vusock, listen_watch);
	int sock;

	(void)events;
	if (!has_session(s) && !ratelimit_take(&s->pace, now_ns())) {
		pause_listening(s);
		return;
	}
	sock = unix_accept(&s->listener);
	if (sock < 0) {
		if (sock == -EAGAIN)
			return;
		accept_failed(s, sock);
		return;
	}
	s->accept_error = 0;
	if (has_session(s)) {
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "busy: a second connection is turned away");
		close_socket(s, &s->refused, sock);
		return;
	}
	if (start_session(s, sock) < 0)
		close_socket(s, &s->refused, sock);
}

static void on_retry(struct loop_watch *watch, uint32_t events)
{
	struct vusock *s = container_of(watch, struct vusock, retry);
	uint64_t count;
	int sock;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	if (s->pausing) {
		resume_listening(s);
		return;
	}
	if (has_session(s) || is_closing(s) || !s->config.opt->client)
		return;
	sock = unix_connect(s->config.opt->path);
	if (sock >= 0 && start_session(s, sock) == 0) {
		s->waiting = false;
		return;
	}
	if (sock >= 0) {
		close_socket(s, &s->refused, sock); /* then tries again */
		return;
	}
	if (!s->waiting) {
		log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO,
			    "%s; trying again", strerror(-sock));
		s->waiting = true;
	}
	arm_retry(s, RETRY_MS);
}

static void run_ended(void *arg)
{
	struct vusock *s = arg;

	s->config.ended(s->config.ctx, s);
}

/* Posts ended_job if no connection is open and none can come. */
static void maybe_ended(struct vusock *s)
{
	/* The timer is there in client mode, and with a listener. */
	bool more = s->retry.fd >= 0;

	if ((has_session(s) && !s->hangs) || is_closing(s) || s->ended ||
	    (more && !s->ending))
		return;
	s->ended = true;
	loop_post(s->config.loop, &s->ended_job);
}

static void run_closed(void *arg)
{
	struct vusock *s = arg;
	/* A copy, so that the session does not close the last one. */
	int sock = fcntl(s->sock, F_DUPFD_CLOEXEC, 0);

	loop_del(s->config.loop, &s->peer_gone);
	watchdog_end(s->config.watchdog, &s->dog);
	vu_session_free(s->session);
	s->session = NULL;
	s->hangs = false;
	leave(s);
	log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "disconnected");
	if (sock >= 0)
		close_socket(s, &s->closing, sock);
	else
		socket_closed(s);
}

/* vuproc_config.ended(): the port is free. */
static void process_ended(void *ctx)
{
	struct vusock *s = ctx;

	vukeep_remove_process(&s->keep);
	vuproc_free(s->process);
	s->process = NULL;
	s->hangs = false;
	leave(s);
	log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "disconnected");
	socket_closed(s);
}

static void process_hangs(void *ctx)
{
	struct vusock *s = ctx;

	s->hangs = true;
	maybe_ended(s);
}

/* ---- birth and end ---- */

/* Runs in the loop, and so after privileges are given up: the session starts
 * threads at the wish of its peer. */
static void run_adopt(void *arg)
{
	struct vusock *s = arg;

	if (!s->ending && start_session(s, s->config.opt->fd) < 0)
		maybe_ended(s);
}

/* In the loop, as run_adopt(); frames of an adopted process wait until then. */
static void run_connect(void *arg)
{
	struct vusock *s = arg;
	int ret = s->connects ? connect_rings(s) : 0;

	s->connects = false;
	if (ret == 0)
		return;
	log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
		    "the connection cannot go on: %s", strerror(-ret));
	vuproc_end(s->process);
}

static int adopt_fd(struct vusock *s)
{
	int fd = s->config.opt->fd;

	if (unix_fd_listens(fd))
		return unix_listen_fd(&s->listener, fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	loop_post(s->config.loop, &s->adopt_job);
	return 0;
}

static int add_timer(struct vusock *s)
{
	int ret, fd = timerfd_create(CLOCK_MONOTONIC,
				     TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	ret = loop_add(s->config.loop, &s->retry, fd, EPOLLIN);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return 0;
}

/* ---- frame rings ---- */

static void drop_rings(struct vusock *s)
{
	for (unsigned int i = 0; i < WMSG_SOCK_RINGS_MAX; i++) {
		framering_free(s->ring[i]);
		s->ring[i] = NULL;
	}
}

static int make_rings(struct vusock *s)
{
	int ret = 0;

	for (unsigned int i = 0; i < s->config.opt->queues && ret == 0; i++)
		ret = framering_new(&s->ring[i]);
	return ret;
}

/* Takes over the rings that an earlier daemon kept, if they are complete; else
 * makes new ones. Consumes @fds. */
static int open_rings(struct vusock *s, const int *fds, unsigned int n)
{
	unsigned int queues = s->config.opt->queues, done = 0;

	if (n != queues * FRAMERING_FDS)
		queues = 0;
	while (done < queues &&
	       framering_adopt(fds + (size_t)done * FRAMERING_FDS,
			       &s->ring[done]) == 0)
		done++;
	for (unsigned int i = done * FRAMERING_FDS; i < n; i++)
		close(fds[i]);
	if (queues && done == queues)
		return 0;
	drop_rings(s);
	if (n)
		vukeep_drop_port(&s->keep);
	return make_rings(s);
}

/* ---- birth and end ---- */

/* Takes over the worker process of an earlier daemon, with its connection. */
static int sock_adopt_process(struct vusock *s)
{
	int fds[1 + WMSG_SOCK_FDS_MAX], sock, pidfd, ret;
	struct vuproc_config config;
	const char *port;

	if (!vukeep_take_process(&s->keep, &sock, &pidfd)) {
		/* The kept rings may be those of an ended connection. */
		s->rings_used = attach_is_remote(s->attach);
		return 0;
	}
	ret = process_fds(s, &port, fds);
	if (ret >= 0)
		ret = attach_join(s->attach, &s->guest);
	if (ret == 0) {
		config = process_config(s, port);
		ret = vuproc_adopt(&config, sock, pidfd, &s->process);
	}
	if (ret == 0) {
		s->connects = has_rings(s);
		loop_post(s->config.loop, &s->connect_job);
		return 0;
	}
	leave(s);
	close(sock);
	close(pidfd);
	vukeep_remove_process(&s->keep);
	return ret == -ESRCH ? 0 : ret;
}

static int open_listener(struct vusock *s)
{
	const char *path = s->config.opt->path;
	int fd = vukeep_take_listener(&s->keep), ret;

	if (fd >= 0 && unix_listen_adopt(&s->listener, fd, path) == 0)
		return 0;
	if (fd >= 0) {
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	ret = unix_listen(&s->listener, path);
	if (ret == 0)
		vukeep_put_listener(&s->keep, s->listener.fd);
	return ret;
}

static int start(struct vusock *s)
{
	const struct option_sock *o = s->config.opt;
	int ret;

	if (o->client) {
		ret = add_timer(s);
		if (ret == 0)
			arm_retry(s, 0);
		return ret;
	}
	ret = o->fd >= 0 ? adopt_fd(s) : open_listener(s);
	if (ret == 0 && s->listener.fd >= 0)
		ret = add_timer(s);
	if (ret == 0 && s->listener.fd >= 0)
		ret = loop_add(s->config.loop, &s->listen_watch, s->listener.fd,
			       EPOLLIN);
	return ret;
}

static int attach_with(struct vusock *s, const int *fds, unsigned int nfds,
		       char *error, size_t size)
{
	const struct option_sock *o = s->config.opt;
	struct attach_config config = { .fds = fds,
					.nfds = nfds,
					.queues = o->queues };

	snprintf(config.swport.name, sizeof(config.swport.name), "%.*s",
		 NETWORK_NAME_MAX, s->tag.name);
	return nets_attach(s->config.nets, &o->end, &config, &s->attach, error,
			   size);
}

static int attach(struct vusock *s)
{
	const struct option_sock *o = s->config.opt;
	int fds[BAG_FDS_MAX], ret = -ENOENT;
	unsigned int n = vukeep_take_port(&s->keep, fds);
	char error[256];

	s->in_process = vukeep_has_process(o);
	if (s->in_process && o->end.net[0]) {
		ret = open_rings(s, fds, n);
		if (ret < 0)
			return ret;
		ret = -ENOENT;
		n = 0;
	}
	if (n)
		ret = attach_with(s, fds, n, error, sizeof(error));
	if (ret < 0 && n) {
		for (unsigned int i = 0; i < n; i++)
			close(fds[i]);
		/* The kept interface is gone. */
		vukeep_drop_port(&s->keep);
	}
	if (ret < 0)
		ret = attach_with(s, NULL, 0, error, sizeof(error));
	if (ret < 0)
		log_err(&s->tag, "%s", error);
	return ret;
}

static void keep_port(struct vusock *s)
{
	int fds[WMSG_SOCK_FDS_MAX], n;
	const char *port;

	n = s->in_process ? port_fds(s, &port, fds) : 0;
	if (n > 0 && s->keep.store &&
	    vukeep_put_port(&s->keep, fds, (unsigned int)n) < 0) {
		log_warn(&s->tag, "connections cannot be kept for a restart");
		vukeep_none(&s->keep);
	}
}

/* New rings if the last connection used them: the process of the network may
 * still do so. */
static int renew_rings(struct vusock *s)
{
	int ret;

	if (!s->rings_used)
		return 0;
	drop_rings(s);
	ret = make_rings(s);
	if (ret < 0)
		return ret;
	s->rings_used = false;
	vukeep_end(&s->keep);
	keep_port(s);
	return 0;
}

static int open_userfault(struct vusock *s)
{
	int ret = vu_userfault_open(&s->userfault);

	if (ret < 0)
		log_err(&s->tag,
			"postcopy: the kernel, or the unit's system call "
			"filter, gives no userfaultfd: %s (needs "
			"/dev/userfaultfd or vm.unprivileged_userfaultfd=1)",
			strerror(-ret));
	return ret;
}

static void explain(const struct vusock *s, int err)
{
	const char *cure = "";

	if (err == EADDRINUSE)
		cure = " (a server listens there)";
	else if (err == EEXIST)
		cure = " (a file that is no socket)";
	log_err(&s->tag, "%s%s", strerror(err), cure);
}

int vusock_new(const struct vusock_config *config, struct vusock **out)
{
	const struct option_sock *o = config->opt;
	struct vusock *s = calloc(1, sizeof(*s));
	int ret = 0;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	log_limit_init(&s->limit, LOG_LINES_USER, &log_limit_all);
	ratelimit_init(&s->pace, 1, SESSION_MS * NS_PER_MS, SESSION_BURST,
		       now_ns());
	s->listener.fd = s->listen_watch.fd = s->retry.fd = -1;
	for (unsigned int i = 0; i < WMSG_SOCK_RINGS_MAX; i++)
		s->alarm[i] = (struct ring_alarm){
			.watch = { .fn = on_ring_broken, .fd = -1 }, .sock = s
		};
	s->userfault = -1;
	vukeep_init(&s->keep, config->store, o);
	s->peer_gone = (struct loop_watch){ .fn = on_peer_gone, .fd = -1 };
	s->refused.done = refused_closed;
	s->closing.done = session_socket_closed;
	s->dog.interrupt = interrupt_session;
	s->dog.hangs = session_hangs;
	s->listen_watch.fn = on_listen;
	s->retry.fn = on_retry;
	s->adopt_job = (struct loop_job){ .fn = run_adopt, .arg = s };
	s->connect_job = (struct loop_job){ .fn = run_connect, .arg = s };
	s->closed_job = (struct loop_job){ .fn = run_closed, .arg = s };
	s->ended_job = (struct loop_job){ .fn = run_ended, .arg = s };
	if (o->path[0]) {
		const char *slash = strrchr(o->path, '/');

		log_tag_init(&s->tag, "%s", slash ? slash + 1 : o->path);
	} else {
		log_tag_init(&s->tag, "fd%d", o->fd);
	}
	if (o->postcopy)
		ret = open_userfault(s);
	if (ret == 0)
		ret = attach(s);
	if (ret == 0)
		keep_port(s);
	if (ret == 0)
		ret = sock_adopt_process(s);
	if (ret == 0) {
		ret = start(s);
		if (ret < 0)
			explain(s, -ret);
	}
	if (ret < 0) {
		vusock_free(s);
		return ret;
	}
	*out = s;
	return 0;
}

static void stop_waiting(struct vusock *s)
{
	int timer = s->retry.fd;

	/* To close a listener closes connections that were not accepted, with
	 * what is in their queues, and may wait: a copy is left open for
	 * exit(2), which does not. */
	if (s->listener.fd >= 0 &&
	    fcntl(s->listener.fd, F_DUPFD_CLOEXEC, 0) < 0)
		log_debug(&s->tag, "no descriptor for a copy of the listener");
	loop_del(s->config.loop, &s->listen_watch);
	if (s->keep.store)
		unix_listener_leave(&s->listener);
	else
		unix_listener_close(&s->listener);
	loop_del(s->config.loop, &s->retry);
	if (timer >= 0)
		close(timer);
}

/* The process goes on without us, with the port as it is. */
static void sock_leave_process(struct vusock *s)
{
	vuproc_free(s->process);
	s->process = NULL;
	unwatch_rings(s);
	attach_leave_running(s->guest);
	s->guest = NULL;
	s->connects = false;
}

void vusock_end(struct vusock *s)
{
	s->ending = true;
	stop_waiting(s);
	if (s->session)
		vu_session_end(s->session);
	if (s->process && s->keep.store)
		sock_leave_process(s);
	else if (s->process)
		vuproc_end(s->process);
	maybe_ended(s);
}

bool vusock_free(struct vusock *s)
{
	stop_waiting(s);
	if (s->session) {
		/* Its worker hangs and may yet use all that we have. */
		log_warn(&s->tag, "a session does not end, left behind");
		return false;
	}
	if (is_closing(s))
		return false;
	if (s->process) /* it hangs, and uses nothing of this process */
		sock_leave_process(s);
	vukeep_end(&s->keep);
	attach_free(s->attach);
	drop_rings(s);
	if (s->userfault >= 0)
		close(s->userfault);
	log_limit_end(&s->limit);
	free(s);
	return true;
}

void vusock_print(struct vusock *s)
{
	if (s->process)
		vuproc_print(s->process);
	else if (s->hangs)
		log_info(&s->tag,
			 "the peer has gone, but the session is stuck in its "
			 "memory");
	else if (s->session)
		vu_session_print(s->session);
}

void vusock_print_capabilities(void)
{
	puts("{\n  \"type\": \"net\",\n  \"features\": []\n}");
}
