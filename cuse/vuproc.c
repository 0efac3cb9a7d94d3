/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vuproc.c starts a worker process for a vhost-user connection, and notices
 * its end (vuproc.h).
 *
 * The guest may have taken the process over. The only messages that it may
 * send are replies to WMSG_SOCK_START and WMSG_SOCK_HELLO; it is killed if it
 * sends anything else, and no send to it ever blocks.
 */
#include "vuproc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "confine.h"
#include "procfile.h"
#include "wproc.h"

/* Milliseconds from WMSG_SOCK_END until it is killed. */
#define END_MS 1000
/* Replies of an adopted process: one to each broker. */
#define REPLIES_MAX 256

/**
 * struct vuproc - a worker process
 * @sock:    our end of its socket; fd -1: closed
 * @dead:    its pidfd
 * @adopted: another broker has started it
 * @replies: number of replies that it has sent
 * @killed:  it was sent SIGKILL by us: its end is not logged
 * @dog:     active from vuproc_end() on
 */
struct vuproc {
	struct vuproc_config config;
	struct wproc process;
	struct wmsg_in in;
	struct loop_watch sock;
	struct loop_watch dead;
	bool adopted;
	unsigned int replies;
	bool ending;
	bool killed;
	int64_t ending_ms;
	struct watchdog_entry dog;
};

static void vuproc_kill(struct vuproc *p)
{
	int ret = confine_kill(p->process.pidfd, SIGKILL);

	if (!p->killed && ret < 0 && ret != -ESRCH)
		log_limited_state(p->config.limit, p->config.tag,
				  LOG_LEVEL_ERROR,
				  "worker process %d cannot be ended: %s",
				  p->process.pid, strerror(-ret));
	p->killed = true;
}

/* ---- its socket ---- */

static void vuproc_close_sock(struct vuproc *p)
{
	int fd = p->sock.fd;

	loop_del(p->config.loop, &p->sock);
	if (fd >= 0)
		close(fd);
}

/* Does the process serve what this broker would have it serve? */
static int vuproc_hello(struct vuproc *p)
{
	struct wmsg_sock want = p->config.start, is;

	if (wmsg_get_sock(&p->in, &is) < 0)
		return -EPROTO;
	is.log_level = want.log_level;
	is.map_bytes = want.map_bytes;
	if (memcmp(&is, &want, sizeof(is)) == 0)
		return 0;
	log_limited(p->config.limit, p->config.tag, LOG_LEVEL_INFO,
		    "the worker process is of another build or configuration: "
		    "it is ended");
	vuproc_kill(p);
	return 0;
}

/* Handles a reply to START or HELLO. A process that cannot serve has logged
 * why, and ends. An adopted one may also have replied to earlier brokers that
 * died before they read the reply. */
static int vuproc_reply(struct vuproc *p)
{
	unsigned int max = p->adopted ? REPLIES_MAX : 1;
	int64_t n;

	if (++p->replies > max)
		return -EPROTO;
	if (p->in.hdr.type == (WMSG_SOCK_START | WMSG_REPLY))
		return wmsg_number(&p->in, -WMSG_ERRNO_MAX, 0, &n);
	if (p->in.hdr.type == (WMSG_SOCK_HELLO | WMSG_REPLY) && p->adopted)
		return vuproc_hello(p);
	return -EPROTO;
}

static void vuproc_on_sock(struct loop_watch *watch, uint32_t events)
{
	struct vuproc *p = container_of(watch, struct vuproc, sock);
	int ret = wmsg_recv(watch->fd, &p->in, MSG_DONTWAIT);

	(void)events;
	if (ret == 0)
		ret = vuproc_reply(p);
	if (ret == 0 || ret == -EAGAIN || ret == -EINTR)
		return;
	if (ret != -ECONNRESET)
		log_limited(p->config.limit, p->config.tag, LOG_LEVEL_WARNING,
			    "worker process %d sent a malformed message: it is "
			    "ended",
			    p->process.pid);
	vuproc_close_sock(p);
	/* A process that ends by itself closes the socket first: its exit
	 * status says more. */
	if (ret != -ECONNRESET)
		vuproc_kill(p);
}

static int vuproc_send(struct vuproc *p, const struct wmsg_out *out)
{
	int ret;

	if (p->sock.fd < 0)
		return -ECONNRESET;
	do
		ret = wmsg_send(p->sock.fd, out, MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret;
}

/* ---- its end ---- */

static void vuproc_log_end(const struct vuproc *p, pid_t pid,
			   const struct wproc_end *end)
{
	bool clean = !end->known || (!end->signal && !end->status);
	char text[64];

	if (clean || p->killed)
		return;
	wproc_end_text(end, text, sizeof(text));
	log_limited_state(p->config.limit, p->config.tag, LOG_LEVEL_WARNING,
			  "worker process %d: %s; the connection is closed",
			  pid, text);
}

static void vuproc_on_dead(struct loop_watch *watch, uint32_t events)
{
	struct vuproc *p = container_of(watch, struct vuproc, dead);
	pid_t pid = p->process.pid;
	struct wproc_end end;

	(void)events;
	loop_del(p->config.loop, watch); /* the pidfd is closed */
	if (wproc_fence(&p->process, 0, &end) < 0) {
		loop_add(p->config.loop, watch, p->process.pidfd, EPOLLIN);
		return;
	}
	vuproc_close_sock(p);
	watchdog_end(p->config.watchdog, &p->dog);
	vuproc_log_end(p, pid, &end);
	p->config.ended(p->config.ctx);
}

/* Called repeatedly after vuproc_end(). */
static void vuproc_interrupt(struct watchdog_entry *e)
{
	struct vuproc *p = container_of(e, struct vuproc, dog);

	if (now_ms() - p->ending_ms >= END_MS)
		vuproc_kill(p);
}

static void vuproc_hangs(struct watchdog_entry *e)
{
	struct vuproc *p = container_of(e, struct vuproc, dog);

	log_limited_state(p->config.limit, p->config.tag, LOG_LEVEL_WARNING,
			  "worker process %d is stuck in its guest's memory",
			  p->process.pid);
	if (p->config.hangs)
		p->config.hangs(p->config.ctx);
}

void vuproc_end(struct vuproc *p)
{
	const struct wmsg_out out = { .type = WMSG_SOCK_END };

	if (p->ending || !p->process.pid)
		return;
	p->ending = true;
	p->ending_ms = now_ms();
	if (vuproc_send(p, &out) < 0)
		vuproc_kill(p);
	watchdog_begin(p->config.watchdog, &p->dog);
}

void vuproc_print(struct vuproc *p)
{
	const struct wmsg_out out = { .type = WMSG_SOCK_PRINT };

	vuproc_send(p, &out);
}

/* ---- its start ---- */

/* The process inherited the connection and @nfds descriptors. */
static int vuproc_send_start(struct vuproc *p, unsigned int nfds)
{
	struct wmsg_sock *s = &p->config.start;
	const struct wmsg_out out = { .type = WMSG_SOCK_START,
				      .part = { { s, sizeof(*s) } },
				      .nparts = 1,
				      .nfds = 1 + nfds,
				      .inherited = true };

	if (p->config.keep &&
	    p->config.keep(p->config.ctx, p->sock.fd, p->process.pidfd))
		s->flags |= WMSG_SOCK_STORED;
	return vuproc_send(p, &out);
}

static int vuproc_start(struct vuproc *p, int conn, const int *fds,
			unsigned int nfds)
{
	const struct wproc_user user = wproc_own_user();
	int all[1 + WPROC_FDS_MAX], ends[2], ret;

	if (1 + nfds > WPROC_FDS_MAX)
		return -EINVAL;
	ret = wmsg_pair(ends);
	if (ret < 0)
		return ret;
	wmsg_refuse_fds(ends[0]);
	all[0] = ends[1];
	all[1] = conn;
	memcpy(all + 2, fds, nfds * sizeof(*fds));
	ret = wproc_start(&user, p->config.tag->name, all, 2 + nfds,
			  &p->process);
	close(ends[1]);
	if (ret == 0)
		ret = loop_add(p->config.loop, &p->sock, ends[0], EPOLLIN);
	if (ret < 0) {
		close(ends[0]);
		return ret;
	}
	return loop_add(p->config.loop, &p->dead, p->process.pidfd, EPOLLIN);
}

static struct vuproc *vuproc_alloc(const struct vuproc_config *config)
{
	struct vuproc *p = calloc(1, sizeof(*p));
	struct wmsg_sock *s;

	if (!p)
		return NULL;
	p->config = *config;
	s = &p->config.start;
	snprintf(s->build, sizeof(s->build), "%s", wmsg_build());
	s->log_level = log_level_now();
	p->sock = (struct loop_watch){ .fn = vuproc_on_sock, .fd = -1 };
	p->dead = (struct loop_watch){ .fn = vuproc_on_dead, .fd = -1 };
	p->dog.interrupt = vuproc_interrupt;
	p->dog.hangs = vuproc_hangs;
	if (wmsg_in_init(&p->in,
			 sizeof(struct wmsg_hdr) + sizeof(struct wmsg_sock),
			 false) == 0)
		return p;
	free(p);
	return NULL;
}

int vuproc_new(const struct vuproc_config *config, int conn, const int *fds,
	       unsigned int nfds, struct vuproc **out)
{
	struct vuproc *p = vuproc_alloc(config);
	struct wproc_end end;
	int ret;

	if (!p)
		return -ENOMEM;
	ret = vuproc_start(p, conn, fds, nfds);
	if (ret == 0)
		ret = vuproc_send_start(p, nfds);
	if (ret == 0) {
		*out = p;
		return 0;
	}
	/* It serves nothing yet, so it ends at once. */
	loop_del(p->config.loop, &p->dead);
	vuproc_close_sock(p);
	wproc_fence(&p->process, -1, &end);
	vuproc_free(p);
	return ret;
}

/* Fails if the process is gone. */
static int vuproc_take(struct vuproc *p, int sock, int pidfd)
{
	const struct wmsg_out hello = { .type = WMSG_SOCK_HELLO };
	char path[40];
	long pid;
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (procfile_number(path, "Pid:", &pid) < 0 || pid <= 0)
		return -ESRCH;
	ret = loop_add(p->config.loop, &p->dead, pidfd, EPOLLIN);
	if (ret == 0)
		ret = loop_add(p->config.loop, &p->sock, sock, EPOLLIN);
	if (ret == 0)
		ret = vuproc_send(p, &hello);
	if (ret < 0) {
		loop_del(p->config.loop, &p->dead);
		loop_del(p->config.loop, &p->sock);
		return ret == -ECONNRESET ? -ESRCH : ret;
	}
	wproc_adopt(&p->process, (pid_t)pid, pidfd);
	return 0;
}

int vuproc_adopt(const struct vuproc_config *config, int sock, int pidfd,
		 struct vuproc **out)
{
	struct vuproc *p = vuproc_alloc(config);
	int ret;

	if (!p)
		return -ENOMEM;
	p->adopted = true;
	p->config.start.flags |= WMSG_SOCK_STORED;
	ret = vuproc_take(p, sock, pidfd);
	if (ret < 0)
		vuproc_free(p);
	else
		*out = p;
	return ret;
}

void vuproc_free(struct vuproc *p)
{
	if (!p)
		return;
	watchdog_end(p->config.watchdog, &p->dog);
	loop_del(p->config.loop, &p->dead);
	vuproc_close_sock(p);
	wproc_leave(&p->process);
	wmsg_in_free(&p->in);
	free(p);
}
