/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netproc.c starts the worker process of a network, listens to it, and starts
 * another one when it dies. netproc_told.c has what the process should have.
 *
 * A guest may have taken over the process by a frame. It is killed if it sends
 * anything but replies to WMSG_NET_RUN and WMSG_NET_PRINT and, once for each
 * ring, that a guest has spoiled it. That guest gets another worker process
 * with a new ring; since the message may be a lie it does not count as a crash
 * of that process. Sending to the process never waits.
 */
#include "netproc_priv.h"

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

/* ---- messages to the process ---- */

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
		ret = netproc_tell_all(n);
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
	p = netproc_find_spoiled(n, &m);
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
	netproc_forget_told(n);
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
	n->remote.ops = &netproc_remote_ops;
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
	    netproc_send(n, WMSG_NET_PRINT, NULL, 0, NULL, 0) == 0) {
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
		netproc_remove_port(n, SLIST_FIRST(&n->ports));
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
