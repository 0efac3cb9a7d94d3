/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netproc.c starts the worker process of a network, tells it what it should
 * have, and starts another one when it dies.
 *
 * A guest may have taken over the process by a frame. It is killed if it sends
 * anything but replies to WMSG_NET_RUN and WMSG_NET_PRINT and, once for each
 * ring, that a guest has spoiled it. That guest gets another worker process
 * with a new ring; since the message may be a lie it does not count as a crash
 * of that process. Sending to the process never waits.
 */
#include "netproc.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "confine.h"
#include "fd.h"
#include "log.h"
#include "log_limit.h"
#include "mutex.h"
#include "netmsg.h"
#include "notify.h"
#include "wdog.h"
#include "wmsg.h"
#include "wproc.h"

#define PREFIX "network-"
/* netproc_free(): time for the process to write its captures; after SIGKILL,
 * time for it to end. */
#define END_MS 1500
#define KILL_MS 1000
/* Delay before the next attempt to send a message. */
#define RETRY_MS 100
/* A process that has closed its socket has so long to end before it is killed,
 * and is killed again so often. */
#define LINGER_MS 10000
/* How long netproc_drop_left() waits for a process to end after SIGKILL. */
#define DROP_MS 10000
/* A process that has not replied to NET_PRINT after so long is logged. */
#define ANSWER_MS 2000
/* Delay before the next attempt to start a process. */
#define START_RETRY_MS 1000

/**
 * struct remote_queue - a queue of a port
 * @ring: the ring that the process should have; NULL: none
 * @serial: number of that ring
 * @told: the process has been told of a ring
 * @stale: that ring is not @ring
 */
struct remote_queue {
	struct framering *ring;
	uint32_t serial;
	bool offload, told, stale;
};

/**
 * struct remotenet_port - a port
 * @msg:  the message that makes the port
 * @told: the process has got @msg
 * @gone: the port has left; it is freed when the process has been told
 * @changed: the process does not know the ring of some queue
 * @fd:   @nfds descriptors of an interface, borrowed
 */
struct remotenet_port {
	SLIST_ENTRY(remotenet_port) link;
	struct netproc *net;
	struct netmsg_port msg;
	bool told, gone, changed;
	int fd[NETMSG_PORT_FDS];
	unsigned int nfds;
	unsigned int nqueues;
	struct remote_queue queue[];
};

/** struct net_capture - a capture that the process writes; @mark: memory of its
 * struct capture_mark */
struct net_capture {
	struct netmsg_capture msg;
	int fd, mark;
	bool told;
};

/**
 * struct netproc - a network
 * @sock:  our end of the socket to the process
 * @dead:  the pidfd of the process
 * @timer: for the next start of a process, or the next attempt to send
 * @silence: timer, ANSWER_MS after NET_PRINT, NETPROC_SETTLE_MS after the start
 * @settled: config.settled was called
 * @begun, @run: NET_START, NET_RUN were sent
 * @replied: the process has replied to NET_RUN
 * @asked: it has not replied to NET_PRINT, which was sent at @asked_ms
 * @malformed: the process was killed because of an invalid message
 * @lingers: it was killed because it had closed its socket and did not end
 * @stopped: no process is started any more
 * @rings: rings that the process was told of
 * @reports: messages of the process that a ring is spoiled
 * @spoiled: rings that were spoiled, of all processes; the last of @spoiler
 * @posted: @flush_job is in the list of the loop
 */
struct netproc {
	struct remotenet remote;
	struct netproc_config config;
	struct log_tag tag;
	struct log_limit limit;
	struct wproc process;
	struct wproc_backoff backoff;
	struct wmsg_in in;
	struct loop_watch sock, dead, timer, silence;
	struct net_capture *capture;
	unsigned int ncaptures;
	bool begun, run, replied, asked, malformed, lingers, stopped;
	bool settled;
	int64_t asked_ms;
	uint64_t rings, reports, spoiled;
	char spoiler[NETWORK_NAME_MAX + 1];

	struct mutex lock; /* all below */
	SLIST_HEAD(, remotenet_port) ports;
	unsigned int nports;
	uint32_t next_id;
	uint64_t serial; /* number for the next made-up name */
	struct loop_job flush_job;
	bool posted;
};

/* ---- requests of guests (remotenet.h) ---- */

static void post_flush(struct netproc *n) NEEDS(n->lock)
{
	if (n->posted)
		return;
	n->posted = true;
	loop_post(n->config.loop, &n->flush_job);
}

static bool is_name_taken(const struct netproc *n, const char *name)
	NEEDS(n->lock)
{
	const struct remotenet_port *p;

	SLIST_FOREACH(p, &n->ports, link)
	if (!p->gone && strcmp(p->msg.name, name) == 0)
		return true;
	return false;
}

/* Chooses the same name as swport_new() in the process. */
static int choose_name(struct netproc *n, struct netmsg_port *m, bool fixed)
	NEEDS(n->lock)
{
	if (n->nports == NETWORK_PORTS_MAX)
		return -ENOSPC;
	if (m->name[0] && !is_name_taken(n, m->name))
		return 0;
	if (fixed)
		return -EEXIST;
	do
		snprintf(m->name, sizeof(m->name), "port%" PRIu64, n->serial++);
	while (is_name_taken(n, m->name));
	return 0;
}

static int enlist_port(struct netproc *n, struct remotenet_port *p, bool fixed)
{
	int ret;

	mutex_lock(&n->lock);
	ret = choose_name(n, &p->msg, fixed);
	if (ret == 0) {
		p->msg.id = n->next_id++;
		SLIST_INSERT_HEAD(&n->ports, p, link);
		n->nports++;
		post_flush(n);
	}
	mutex_unlock(&n->lock);
	return ret;
}

static struct remotenet_port *alloc_port(struct netproc *n,
					 const struct swport_config *config,
					 unsigned int queues, int capture)
{
	struct remotenet_port *p =
		calloc(1, sizeof(*p) + queues * sizeof(p->queue[0]));

	if (!p)
		return NULL;
	p->net = n;
	p->nqueues = queues;
	netmsg_put_swport(&p->msg, config);
	p->msg.queues = queues;
	p->msg.capture = capture;
	return p;
}

static int remote_join(struct remotenet *remote,
		       const struct swport_config *config, bool fixed_name,
		       unsigned int queues, int capture,
		       struct remotenet_port **out)
{
	struct netproc *n = container_of(remote, struct netproc, remote);
	struct remotenet_port *p = alloc_port(n, config, queues, capture);
	int ret;

	if (!p)
		return -ENOMEM;
	ret = enlist_port(n, p, fixed_name);
	if (ret < 0)
		free(p);
	else
		*out = p;
	return ret;
}

static const char *remote_name(const struct remotenet_port *p)
{
	return p->msg.name;
}

static void remote_set_ring(struct remotenet_port *p, unsigned int queue,
			    struct framering *ring, bool offload)
	NEEDS(p->net->lock)
{
	struct remote_queue *q = &p->queue[queue];

	q->stale |= q->told && q->ring;
	q->ring = ring;
	q->serial++;
	q->offload = offload;
	p->changed = true;
	post_flush(p->net);
}

static void remote_connect(struct remotenet_port *p, unsigned int queue,
			   struct framering *ring, bool offload)
{
	mutex_lock(&p->net->lock);
	remote_set_ring(p, queue, ring, offload);
	mutex_unlock(&p->net->lock);
}

static void remote_disconnect(struct remotenet_port *p, unsigned int queue)
{
	mutex_lock(&p->net->lock);
	if (p->queue[queue].ring)
		remote_set_ring(p, queue, NULL, false);
	mutex_unlock(&p->net->lock);
}

static void remove_port(struct netproc *n, struct remotenet_port *p)
	NEEDS(n->lock)
{
	SLIST_REMOVE(&n->ports, p, remotenet_port, link);
	free(p);
}

static void remote_leave(struct remotenet_port *p)
{
	struct netproc *n = p->net;

	mutex_lock(&n->lock);
	n->nports--;
	p->gone = true;
	if (p->told)
		post_flush(n);
	else
		remove_port(n, p);
	mutex_unlock(&n->lock);
}

static const struct remotenet_ops ops = {
	.join = remote_join,
	.name = remote_name,
	.connect = remote_connect,
	.disconnect = remote_disconnect,
	.leave = remote_leave,
};

/* ---- messages to the process ---- */

static int send_body(struct netproc *n, unsigned int type, const void *body,
		     size_t len, const int *fds, unsigned int nfds)
{
	const struct wmsg_out out = {
		.type = type,
		.part = { { (void *)(uintptr_t)body, len } },
		.nparts = len ? 1 : 0,
		.fd = fds,
		.nfds = nfds,
		.no_wait = true,
	};
	int ret;

	if (n->sock.fd < 0)
		return -ECONNRESET;
	do
		ret = wmsg_send(n->sock.fd, &out, MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret;
}

static int tell_start(struct netproc *n)
{
	const struct network_config *c = &n->config.network;
	struct netmsg_start m = { .macs = c->macs,
				  .age_s = c->age_s,
				  .mtu = c->mtu,
				  .stall_ms = WDOG_MS,
				  .log_level = log_level_now() };
	int ret;

	if (n->begun)
		return 0;
	snprintf(m.build, sizeof(m.build), "%s", wmsg_build());
	snprintf(m.tag, sizeof(m.tag), "%s", n->tag.name);
	memcpy(m.name, c->name, sizeof(m.name));
	ret = send_body(n, WMSG_NET_START, &m, sizeof(m), NULL, 0);
	n->begun = ret == 0;
	return ret;
}

static int tell_captures(struct netproc *n)
{
	int ret = 0;

	for (unsigned int i = 0; i < n->ncaptures && ret == 0; i++) {
		struct net_capture *c = &n->capture[i];
		const int fds[] = { c->fd, c->mark };

		if (c->told)
			continue;
		ret = send_body(n, WMSG_NET_CAPTURE, &c->msg, sizeof(c->msg),
				fds, ARRAY_SIZE(fds));
		c->told = ret == 0;
	}
	return ret;
}

static int tell_leave(struct netproc *n, struct remotenet_port *p,
		      uint32_t queue) NEEDS(n->lock)
{
	const struct netmsg_leave m = { .id = p->msg.id, .queue = queue };

	return send_body(n, WMSG_NET_LEAVE, &m, sizeof(m), NULL, 0);
}

static int tell_queue(struct netproc *n, struct remotenet_port *p,
		      unsigned int queue) NEEDS(n->lock)
{
	struct remote_queue *q = &p->queue[queue];
	const struct netmsg_ring m = { .id = p->msg.id,
				       .queue = queue,
				       .offload = q->offload,
				       .serial = q->serial };
	int fds[FRAMERING_FDS], ret = 0;

	if (q->told && (q->stale || !q->ring)) {
		ret = tell_leave(n, p, queue);
		if (ret == 0)
			q->told = q->stale = false;
	}
	if (ret < 0 || q->told || !q->ring)
		return ret;
	framering_fds(q->ring, fds);
	ret = send_body(n, WMSG_NET_RING, &m, sizeof(m), fds, FRAMERING_FDS);
	q->told = ret == 0;
	n->rings += q->told;
	return ret;
}

static int tell_port(struct netproc *n, struct remotenet_port *p) NEEDS(n->lock)
{
	int ret = 0;

	if (!p->told)
		ret = send_body(n, WMSG_NET_PORT, &p->msg, sizeof(p->msg),
				p->fd, p->nfds);
	if (ret < 0)
		return ret;
	p->told = true;
	for (unsigned int i = 0; p->changed && i < p->nqueues && ret == 0; i++)
		ret = tell_queue(n, p, i);
	if (ret == 0)
		p->changed = false;
	return ret;
}

/* Ports that have left come first, since a new port may have the same name. */
static int tell_gone(struct netproc *n) NEEDS(n->lock)
{
	struct remotenet_port *p = SLIST_FIRST(&n->ports), *next;
	int ret = 0;

	for (; p && ret == 0; p = next) {
		next = SLIST_NEXT(p, link);
		if (!p->gone)
			continue;
		ret = tell_leave(n, p, NETMSG_ALL);
		if (ret == 0)
			remove_port(n, p);
	}
	return ret;
}

/* Tells of the ports of interfaces, or of those of guests. */
static int tell_ports(struct netproc *n, bool interfaces) NEEDS(n->lock)
{
	struct remotenet_port *p;
	int ret = 0;

	SLIST_FOREACH(p, &n->ports, link)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		if (!p->gone && !p->msg.spec[0] != interfaces)
			ret = tell_port(n, p);
		if (ret < 0)
			break;
	}
	return ret;
}

static int tell_run(struct netproc *n)
{
	int ret = 0;

	if (!n->run)
		ret = send_body(n, WMSG_NET_RUN, NULL, 0, NULL, 0);
	n->run |= ret == 0;
	return ret;
}

static int tell_all(struct netproc *n) NEEDS(n->lock)
{
	int ret = tell_start(n);

	if (ret == 0)
		ret = tell_captures(n);
	if (ret == 0)
		ret = tell_ports(n, true);
	if (ret == 0)
		ret = tell_run(n);
	if (ret == 0)
		ret = tell_gone(n);
	return ret < 0 ? ret : tell_ports(n, false);
}

/* For the next process, which knows nothing. */
static void forget_told(struct netproc *n) NEEDS(n->lock)
{
	struct remotenet_port *p = SLIST_FIRST(&n->ports), *next;

	n->begun = n->run = false;
	for (unsigned int i = 0; i < n->ncaptures; i++)
		n->capture[i].told = false;
	for (; p; p = next) {
		next = SLIST_NEXT(p, link);
		p->told = false;
		p->changed = true;
		for (unsigned int i = 0; i < p->nqueues; i++)
			p->queue[i].told = p->queue[i].stale = false;
		if (p->gone)
			remove_port(n, p);
	}
}

static void set_watch(const struct loop_watch *timer, unsigned int ms)
{
	const struct itimerspec t = {
		.it_value = { .tv_sec = ms / 1000,
			      .tv_nsec = (long)(ms % 1000) * 1000000 + 1 },
	};

	timerfd_settime(timer->fd, 0, &t, NULL);
}

static void netproc_set_timer(struct netproc *n, unsigned int ms)
{
	set_watch(&n->timer, ms);
}

/* Sends what the process does not know yet. The rest follows when the socket
 * has space (EPOLLOUT), or after RETRY_MS if memory was short. */
static void flush(struct netproc *n)
{
	int ret = -ECONNRESET;

	mutex_lock(&n->lock);
	if (n->process.pid)
		ret = tell_all(n);
	mutex_unlock(&n->lock);
	if (n->sock.fd >= 0)
		loop_mod(n->config.loop, &n->sock,
			 EPOLLIN | (ret == -EAGAIN ? EPOLLOUT : 0));
	if (ret == -ENOMEM)
		netproc_set_timer(n, RETRY_MS);
}

/* The only function that clears @posted. */
static void run_flush(void *arg)
{
	struct netproc *n = arg;

	mutex_lock(&n->lock);
	n->posted = false;
	mutex_unlock(&n->lock);
	flush(n);
}

/* ---- the socket ---- */

static void close_sock(struct netproc *n)
{
	int fd = n->sock.fd;

	loop_del(n->config.loop, &n->sock);
	if (fd >= 0)
		close(fd);
}

static void kill_process(struct netproc *n)
{
	int ret = confine_kill(n->process.pidfd, SIGKILL);

	if (ret < 0 && ret != -ESRCH)
		log_limited_state(&n->limit, &n->tag, LOG_LEVEL_ERROR,
				  "worker process %d cannot be ended: %s",
				  n->process.pid, strerror(-ret));
}

static void settle(struct netproc *n)
{
	if (n->settled)
		return;
	n->settled = true;
	if (n->config.settled)
		n->config.settled(n->config.ctx);
}

/* A reply with an error: the process has logged why, and ends itself. */
static int take_reply(struct netproc *n)
{
	int64_t error;

	if (n->replied || n->in.hdr.type != (WMSG_NET_RUN | WMSG_REPLY) ||
	    wmsg_number(&n->in, -WMSG_ERRNO_MAX, 0, &error) < 0)
		return -EPROTO;
	n->replied = true;
	if (error == 0)
		log_info(&n->tag, "worker process %d has the network",
			 n->process.pid);
	settle(n);
	return 0;
}

/* The port with the ring of @m; NULL: the ring is not used any more. */
static struct remotenet_port *find_spoiled(struct netproc *n,
					   const struct netmsg_spoiled *m)
	NEEDS(n->lock)
{
	struct remotenet_port *p;

	SLIST_FOREACH(p, &n->ports, link)
	if (p->msg.id == m->id)
		break;
	if (!p || p->gone || m->queue >= p->nqueues)
		return NULL;
	return p->queue[m->queue].ring && p->queue[m->queue].told &&
			       p->queue[m->queue].serial == m->serial
		       ? p
		       : NULL;
}

static void log_spoiled(struct netproc *n)
{
	log_limited_state(&n->limit, &n->tag, LOG_LEVEL_WARNING,
			  "port %s: its guest's worker process spoiled the "
			  "frame ring: the guest gets another process and "
			  "ring. If this happens again, restart that guest",
			  n->spoiler);
}

static int take_spoiled(struct netproc *n)
{
	struct remotenet_port *p;
	struct netmsg_spoiled m;

	if (!n->replied || netmsg_get_spoiled(&n->in, &m) < 0 ||
	    n->reports++ == n->rings)
		return -EPROTO;
	mutex_lock(&n->lock);
	p = find_spoiled(n, &m);
	if (p) {
		n->spoiled++;
		memcpy(n->spoiler, p->msg.name, sizeof(n->spoiler));
		framering_break(p->queue[m.queue].ring);
	}
	mutex_unlock(&n->lock);
	if (p)
		log_spoiled(n);
	return 0;
}

static int take_printed(struct netproc *n)
{
	int64_t error;

	if (!n->asked || wmsg_number(&n->in, 0, 0, &error) < 0)
		return -EPROTO;
	n->asked = false;
	return 0;
}

static int netproc_message(struct netproc *n)
{
	switch (n->in.hdr.type) {
	case WMSG_NET_SPOILED:
		return take_spoiled(n);
	case WMSG_NET_PRINT | WMSG_REPLY:
		return take_printed(n);
	default:
		return take_reply(n);
	}
}

static void on_sock(struct loop_watch *watch, uint32_t events)
{
	struct netproc *n = container_of(watch, struct netproc, sock);
	int ret;

	if (events & EPOLLOUT)
		flush(n);
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	ret = wmsg_recv(watch->fd, &n->in, MSG_DONTWAIT);
	if (ret == 0)
		ret = netproc_message(n);
	if (ret == 0 || ret == -EAGAIN || ret == -EINTR)
		return;
	close_sock(n);
	/* A process that ends closes its socket before its pidfd is readable.
	 */
	if (ret == -ECONNRESET) {
		netproc_set_timer(n, LINGER_MS);
		return;
	}
	n->malformed = true;
	kill_process(n);
	netproc_set_timer(n, LINGER_MS);
}

/* ---- end of the process, start of the next one ---- */

static void stay_stopped(struct netproc *n)
{
	char status[128];

	n->stopped = true;
	log_limited_state(&n->limit, &n->tag, LOG_LEVEL_ERROR,
			  "the network stays stopped: its worker process has "
			  "crashed %d times",
			  WPROC_CRASHES);
	snprintf(status, sizeof(status),
		 "STATUS=Network %s stays stopped: its worker process crashed",
		 n->config.network.name);
	notify_send(status);
}

static void put_pidfd(const struct netproc *n)
{
	char name[STORE_NAME_MAX + 1];
	int ret;

	if (!n->config.store)
		return;
	snprintf(name, sizeof(name), PREFIX "%u", n->config.number);
	store_remove(n->config.store, name);
	if (!n->process.pid)
		return;
	ret = store_put(n->config.store, name, &n->process.pidfd, 1, false);
	if (ret < 0)
		log_warn(&n->tag, "the worker process cannot be kept: %s",
			 strerror(-ret));
}

static void on_dead(struct loop_watch *watch, uint32_t events)
{
	struct netproc *n = container_of(watch, struct netproc, dead);
	pid_t pid = n->process.pid;
	struct wproc_end end;
	char text[64];
	int delay;

	(void)events;
	loop_del(n->config.loop, watch); /* the pidfd is closed */
	if (wproc_fence(&n->process, 0, &end) < 0) {
		loop_add(n->config.loop, watch, n->process.pidfd, EPOLLIN);
		return;
	}
	end.malformed = n->malformed;
	n->asked = false;
	close_sock(n);
	put_pidfd(n);
	mutex_lock(&n->lock);
	forget_told(n);
	mutex_unlock(&n->lock);
	wproc_end_text(&end, text, sizeof(text));
	log_limited_state(&n->limit, &n->tag, LOG_LEVEL_WARNING,
			  "worker process %d of the network: %s", pid, text);
	settle(n);
	delay = wproc_backoff_ended(&n->backoff, &end, now_ms());
	if (delay < 0)
		stay_stopped(n);
	else
		netproc_set_timer(n, (unsigned int)delay);
}

static int open_process(struct netproc *n)
{
	const struct wproc_user user = wproc_own_user();
	char title[64];
	int ends[2], ret = wmsg_pair(ends);

	if (ret < 0)
		return ret;
	wmsg_refuse_fds(ends[0]);
	snprintf(title, sizeof(title), "network %s", n->config.network.name);
	ret = wproc_start(&user, title, &ends[1], 1, &n->process);
	close(ends[1]);
	if (ret == 0)
		ret = loop_add(n->config.loop, &n->sock, ends[0], EPOLLIN);
	if (ret < 0) {
		close(ends[0]);
		return ret;
	}
	return loop_add(n->config.loop, &n->dead, n->process.pidfd, EPOLLIN);
}

static int netproc_start_process(struct netproc *n)
{
	struct wproc_end end;
	int ret;

	n->replied = n->malformed = n->lingers = false;
	n->asked = false;
	n->rings = n->reports = 0;
	ret = open_process(n);
	if (ret < 0) {
		loop_del(n->config.loop, &n->dead);
		close_sock(n);
		if (wproc_fence(&n->process, KILL_MS, &end) < 0)
			loop_add(n->config.loop, &n->dead, n->process.pidfd,
				 EPOLLIN);
		return ret;
	}
	wproc_backoff_started(&n->backoff, now_ms());
	put_pidfd(n);
	flush(n);
	return 0;
}

/* It is no crash: the process may have been killed by somebody else, and wait
 * in the kernel. */
static void kill_lingering(struct netproc *n)
{
	if (!n->malformed && !n->lingers)
		log_limited_state(&n->limit, &n->tag, LOG_LEVEL_WARNING,
				  "worker process %d has closed its socket and "
				  "does not end: it is killed",
				  n->process.pid);
	n->lingers = true;
	kill_process(n);
	netproc_set_timer(n, LINGER_MS);
}

static void netproc_on_timer(struct loop_watch *watch, uint32_t events)
{
	struct netproc *n = container_of(watch, struct netproc, timer);
	uint64_t count;
	int ret;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0 || n->stopped)
		return;
	if (n->process.pid && n->sock.fd < 0) {
		kill_lingering(n);
		return;
	}
	if (n->process.pid) {
		flush(n);
		return;
	}
	ret = netproc_start_process(n);
	if (ret == 0)
		return;
	log_limited_state(&n->limit, &n->tag, LOG_LEVEL_ERROR,
			  "no worker process for the network: %s",
			  strerror(-ret));
	netproc_set_timer(n, START_RETRY_MS);
}

/* ---- processes of an earlier daemon ---- */

static void drop_left(int pidfd)
{
	struct wproc p = { 0 };
	struct wproc_end end;

	wproc_adopt(&p, 1, pidfd);
	if (wproc_fence(&p, DROP_MS, &end) == 0)
		return;
	log_warn(NULL, "the worker process of a network does not end");
	wproc_leave(&p);
}

void netproc_drop_left(struct store *store)
{
	unsigned int at = 0;
	const char *name;
	int pidfd;

	while (store && (name = store_next_name(store, PREFIX, &at))) {
		while (store_take(store, name, &pidfd, 1) == 1)
			drop_left(pidfd);
		store_remove(store, name);
	}
}

/* ---- life ---- */

static void on_silence(struct loop_watch *watch, uint32_t events)
{
	struct netproc *n = container_of(watch, struct netproc, silence);
	uint64_t count;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	settle(n);
	if (!n->asked)
		return;
	log_limited_state(&n->limit, &n->tag, LOG_LEVEL_WARNING,
			  "worker process %d does not answer: it is stopped, "
			  "or hangs. If it stays so, kill it: another one goes "
			  "on",
			  n->process.pid);
}

static int netproc_add_timer(struct netproc *n, struct loop_watch *timer)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int ret;

	if (fd < 0)
		return -errno;
	ret = loop_add(n->config.loop, timer, fd, EPOLLIN);
	if (ret < 0)
		close(fd);
	return ret;
}

int netproc_new(const struct netproc_config *config, struct netproc **out)
{
	struct netproc *n = calloc(1, sizeof(*n));
	int ret;

	if (!n)
		return -ENOMEM;
	n->remote.ops = &ops;
	n->config = *config;
	log_tag_init(&n->tag, "%s", config->network.name);
	log_limit_init(&n->limit, LOG_LINES_USER, &log_limit_all);
	n->sock = (struct loop_watch){ .fn = on_sock, .fd = -1 };
	n->dead = (struct loop_watch){ .fn = on_dead, .fd = -1 };
	n->timer = (struct loop_watch){ .fn = netproc_on_timer, .fd = -1 };
	n->silence = (struct loop_watch){ .fn = on_silence, .fd = -1 };
	n->flush_job = (struct loop_job){ .fn = run_flush, .arg = n };
	mutex_init(&n->lock);
	SLIST_INIT(&n->ports);
	ret = wmsg_in_init(
		&n->in, sizeof(struct wmsg_hdr) + sizeof(struct netmsg_spoiled),
		false);
	if (ret == 0)
		ret = netproc_add_timer(n, &n->timer);
	if (ret == 0)
		ret = netproc_add_timer(n, &n->silence);
	if (ret < 0)
		netproc_free(n);
	else
		*out = n;
	return ret;
}

int netproc_add_capture(struct netproc *n, const struct capture_config *config)
{
	struct net_capture *c =
		reallocarray(n->capture, n->ncaptures + 1, sizeof(*c));
	int fd, mark;

	if (!c)
		return -ENOMEM;
	n->capture = c;
	fd = capture_open(config);
	if (fd < 0)
		return fd;
	mark = fd_memory("uvhost-capture", NETMSG_MARK_BYTES);
	if (mark < 0) {
		close(fd);
		return mark;
	}
	c += n->ncaptures;
	*c = (struct net_capture){ .fd = fd, .mark = mark };
	snprintf(c->msg.path, sizeof(c->msg.path), "%s", config->path);
	c->msg.snaplen = config->snaplen;
	c->msg.vnet_hdr = config->vnet_hdr;
	return (int)n->ncaptures++;
}

int netproc_add_interface(struct netproc *n, const char *spec,
			  const struct netif *netif,
			  const struct swport_config *config, bool fixed_name,
			  bool offloads, int capture)
{
	struct remotenet_port *p = alloc_port(n, config, 1, capture);
	int ret;

	if (!p)
		return -ENOMEM;
	snprintf(p->msg.spec, sizeof(p->msg.spec), "%s", spec);
	p->msg.flags = offloads ? NETMSG_OFFLOADS : 0;
	ret = netif_fds(netif, p->fd);
	if (ret >= 0) {
		p->nfds = (unsigned int)ret;
		ret = enlist_port(n, p, fixed_name);
	}
	if (ret < 0)
		free(p);
	return MIN(ret, 0);
}

int netproc_start(struct netproc *n)
{
	int ret = netproc_start_process(n);

	if (ret == 0)
		set_watch(&n->silence, NETPROC_SETTLE_MS);
	return ret;
}

struct remotenet *netproc_remote(struct netproc *n)
{
	return &n->remote;
}

void netproc_print(struct netproc *n, FILE *out)
{
	if (n->spoiled)
		fprintf(out,
			"%s: frame rings spoiled %" PRIu64
			", the last by port %s\n",
			n->config.network.name, n->spoiled, n->spoiler);
	if (n->asked) {
		fprintf(out,
			"%s: worker process %d has not answered for %" PRId64
			" ms\n",
			n->config.network.name, n->process.pid,
			now_ms() - n->asked_ms);
		return;
	}
	if (n->process.pid && n->run &&
	    send_body(n, WMSG_NET_PRINT, NULL, 0, NULL, 0) == 0) {
		n->asked = true;
		n->asked_ms = now_ms();
		set_watch(&n->silence, ANSWER_MS);
		return;
	}
	fprintf(out, "%s: %s\n", n->config.network.name,
		n->stopped ? "stopped: its worker process has crashed too often"
			   : "no worker process answers");
}

/* The process ends when its socket ends. */
static void end_process(struct netproc *n)
{
	struct pollfd dead = { .fd = n->process.pidfd, .events = POLLIN };
	struct wproc_end end;

	close_sock(n);
	loop_del(n->config.loop, &n->dead);
	if (!n->process.pid)
		return;
	if (poll(&dead, 1, END_MS) == 0)
		log_warn(&n->tag,
			 "worker process %d does not end: it is killed",
			 n->process.pid);
	if (wproc_fence(&n->process, KILL_MS, &end) < 0)
		wproc_leave(&n->process);
	else
		put_pidfd(n);
}

static void drop_timer(struct netproc *n, struct loop_watch *timer)
{
	int fd = timer->fd;

	loop_del(n->config.loop, timer);
	fd_drop(&fd);
}

void netproc_free(struct netproc *n)
{
	if (!n)
		return;
	end_process(n);
	drop_timer(n, &n->timer);
	drop_timer(n, &n->silence);
	mutex_lock(&n->lock);
	while (!SLIST_EMPTY(&n->ports))
		remove_port(n, SLIST_FIRST(&n->ports));
	mutex_unlock(&n->lock);
	for (unsigned int i = 0; i < n->ncaptures; i++) {
		close(n->capture[i].fd);
		close(n->capture[i].mark);
	}
	free(n->capture);
	mutex_destroy(&n->lock);
	log_limit_end(&n->limit);
	wmsg_in_free(&n->in);
	free(n);
}
