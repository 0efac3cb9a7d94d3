/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devlink_remote.c is the link to a device session in a worker process: each
 * operation sends a message and waits for the reply, on the session's thread.
 *
 * Between calls the loop of that thread watches the socket, for events,
 * questions and the end of the process. During a call remote_await() receives
 * them while it waits for the reply.
 *
 * The worker process sends at most one event between two calls that it
 * receives, so at most two between two replies. A process that sends more
 * counts as crashed. The number of questions is not limited, since each one
 * waits for its answer; but the loop goes on after REMOTE_TURN of them.
 */
#include "devlink_remote.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <linux/vhost.h>

#include "bytes.h"
#include "devmem.h"
#include "log.h"
#include "log_limit.h"
#include "worker.h"

/* Messages handled in one turn of the loop, and between two checks whether the
 * caller still waits. */
#define REMOTE_TURN 16
/* Most events, and replies to calls of earlier brokers, between two replies;
 * and before the reply to HELLO, where several brokers may have died before
 * they read the reply to their HELLO. The first reply to a HELLO is taken as
 * the reply to ours, and says the same: it comes from the same process (no
 * other ever had that end of the socket pair), and a broker makes no calls
 * between its HELLO and the reply. */
#define REMOTE_STRAYS 4
#define REMOTE_STRAYS_HELLO 256
/* Number of the last call while only the process knows it. */
#define REMOTE_UNKNOWN UINT64_MAX

/*
 * @last: number of the last call that was sent
 * @strays, @hellos: messages counted against REMOTE_STRAYS, REMOTE_STRAYS_HELLO
 * @gone: the socket is not used any more
 */
struct remote {
	struct devlink link;
	struct devlink_config config;
	struct devlink_remote_config remote;
	struct loop_watch watch;
	struct wmsg_in in;
	uint64_t last;
	unsigned int strays, hellos;
	bool gone;
};

static struct remote *remote_of(struct devlink *l)
{
	return container_of(l, struct remote, link);
}

/* Ends the link because of @error. Return: -ECONNRESET. */
static int remote_lost(struct remote *r, int error)
{
	r->gone = true;
	worker_watch_del(r->config.worker, &r->watch);
	if (error == -EPROTO && r->remote.malformed)
		*r->remote.malformed = true;
	if (error == -EPROTO)
		log_limited(r->config.limit, r->config.tag, LOG_LEVEL_WARNING,
			    "the worker process sent a malformed message "
			    "(type %u, %u bytes): it is treated as crashed",
			    r->in.hdr.type, r->in.hdr.len);
	wmsg_in_release(&r->in);
	return -ECONNRESET;
}

/* Return: 0: wait on; -ECONNRESET: the call is given up. */
static int remote_interrupted(struct remote *r)
{
	if (r->remote.interrupted && r->remote.interrupted(r->remote.ctx))
		return remote_lost(r, -EINTR);
	return 0;
}

/* ---- questions and events ---- */

static int remote_fault_in(struct remote *r, int64_t *n)
{
	const struct wmsg_range *range = wmsg_body(&r->in, sizeof(*range));
	const struct devlink_events *e = &r->config.events;

	if (!range || range->write > 1 || !range->len ||
	    range->len > WMSG_FAULT_MAX || range->uva > UINT64_MAX - range->len)
		return -EPROTO;
	*n = -EFAULT;
	if (e->fault_in)
		*n = e->fault_in(e->ctx, range->write, range->uva, range->len);
	return 0;
}

/* A process that waits for the answer has space in its socket. One that its
 * guest has taken over may have none: that is a malformed message. */
static int remote_answer(struct remote *r, int64_t n)
{
	struct wmsg_number number = { .n = n };
	const struct wmsg_out out = { .type = r->in.hdr.type | WMSG_REPLY,
				      .seq = r->in.hdr.seq,
				      .part = { { &number, sizeof(number) } },
				      .nparts = 1 };
	int ret;

	do
		ret = wmsg_send(r->remote.sock, &out, MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret == -EAGAIN ? -EPROTO : ret;
}

static int remote_event(struct remote *r)
{
	if (!wmsg_body(&r->in, 0))
		return -EPROTO;
	if (r->config.events.iotlb)
		r->config.events.iotlb(r->config.events.ctx);
	return 0;
}

/* Handles a message that is not the reply to the current call. Return: 0, or
 * the error that ends the link. */
static int remote_unasked(struct remote *r)
{
	unsigned int type = r->in.hdr.type;
	int64_t n;
	int ret;

	switch (type) {
	case WMSG_FAULT_IN:
		ret = remote_fault_in(r, &n);
		return ret < 0 ? ret : remote_answer(r, n);
	case WMSG_EVENT_IOTLB:
		ret = remote_event(r);
		break;
	case WMSG_HELLO | WMSG_REPLY:
		return ++r->hellos > REMOTE_STRAYS_HELLO ? -EPROTO : 0;
	default: /* a reply to a repeated call, or to an earlier broker */
		ret = type & WMSG_REPLY && r->in.hdr.seq <= r->last ? 0
								    : -EPROTO;
	}
	if (ret == 0 &&
	    ++r->strays > (r->last == REMOTE_UNKNOWN ? REMOTE_STRAYS_HELLO
						     : REMOTE_STRAYS))
		ret = -EPROTO;
	return ret;
}

static void remote_readable(struct loop_watch *watch, uint32_t events)
{
	struct remote *r = container_of(watch, struct remote, watch);
	int ret = 0;

	(void)events;
	for (unsigned int i = 0; i < REMOTE_TURN && ret == 0; i++) {
		ret = wmsg_recv(r->remote.sock, &r->in, MSG_DONTWAIT);
		if (ret == 0)
			ret = remote_unasked(r);
	}
	if (ret == 0 || ret == -EAGAIN || ret == -EINTR)
		return;
	remote_lost(r, ret == -EMSGSIZE ? -EPROTO : ret);
	if (r->config.events.gone)
		r->config.events.gone(r->config.events.ctx);
}

/* ---- calls ---- */

/* A reply to a repeated call, or to a call of an earlier broker, comes late and
 * is dropped. A reply of another type to the current call is malformed. */
static int remote_not_the_reply(struct remote *r, unsigned int type,
				uint64_t seq)
{
	if (r->in.hdr.seq == seq && wmsg_is_call(type) &&
	    r->in.hdr.type & WMSG_REPLY)
		return -EPROTO;
	return remote_unasked(r);
}

/* Waits for the reply, which is in @r->in then. */
static int remote_await(struct remote *r, unsigned int type, uint64_t seq)
{
	for (unsigned int i = 1;; i++) {
		int ret = wmsg_recv(r->remote.sock, &r->in, 0);

		if (ret == 0 && r->in.hdr.type == (type | WMSG_REPLY) &&
		    r->in.hdr.seq == seq) {
			r->strays = 0;
			return 0;
		}
		if (ret == 0)
			ret = remote_not_the_reply(r, type, seq);
		if (ret == 0 && i % REMOTE_TURN)
			continue;
		if (ret == 0 || ret == -EINTR)
			ret = remote_interrupted(r);
		if (ret < 0)
			return remote_lost(r, ret == -EMSGSIZE ? -EPROTO : ret);
	}
}

/* Sends one message and waits for its reply. Return: 0; -ECONNRESET; -ENOMEM:
 * the message was not sent. */
static int remote_exchange(struct remote *r, const struct wmsg_out *out)
{
	int ret;

	if (r->gone)
		return -ECONNRESET;
	do {
		ret = wmsg_send(r->remote.sock, out, 0);
	} while (ret == -EINTR && remote_interrupted(r) == 0);
	if (ret == 0)
		return remote_await(r, out->type, out->seq);
	return ret == -ENOMEM || ret == -EMSGSIZE ? -ENOMEM
						  : remote_lost(r, ret);
}

static int remote_call(struct remote *r, struct wmsg_out *out)
{
	int ret;

	out->seq = r->last + 1;
	r->last++;
	ret = remote_exchange(r, out);
	if (ret == -ENOMEM)
		r->last--;
	return ret;
}

/* A call whose reply is a number @n, either -errno or at most @max, and with a
 * number at least 0 up to @room bytes, which stay in @r->in until the next
 * call. Return: as remote_exchange(). */
static int remote_simple(struct remote *r, struct wmsg_out *out, int64_t max,
			 size_t room, int64_t *n, const void **bytes)
{
	size_t len;
	int ret = remote_call(r, out);

	if (ret < 0)
		return ret;
	ret = wmsg_get_reply(&r->in, -WMSG_ERRNO_MAX, max, n, bytes, &len);
	if (ret == 0 && (*n < 0 ? len != 0 : len > room))
		ret = -EPROTO;
	return ret < 0 ? remote_lost(r, ret) : 0;
}

static size_t remote_len(const struct remote *r)
{
	return r->in.hdr.len - sizeof(struct wmsg_reply);
}

static struct wmsg_out remote_out(enum wmsg_type type, const void *body,
				  size_t len)
{
	return (struct wmsg_out){ .type = type,
				  .part = { { (void *)(uintptr_t)body, len } },
				  .nparts = len ? 1 : 0 };
}

/* ---- the operations ---- */

static int remote_ioctl(struct devlink *l, const struct ioctl_call *call,
			const struct call_facts *facts, struct ioctl_verdict *v)
{
	struct remote *r = remote_of(l);
	struct wmsg_call c;
	struct wmsg_out out;
	int ret;

	if (r->gone)
		return -ECONNRESET;
	ret = wmsg_put_ioctl(&c, call, facts, &out);
	if (ret == 0)
		ret = remote_call(r, &out);
	wmsg_call_release(&c);
	if (ret == -ECONNRESET)
		return ret;
	if (ret < 0) {
		*v = (struct ioctl_verdict){ .error = -ENOMEM };
		return 0;
	}
	ret = wmsg_get_verdict(&r->in, call, v);
	return ret < 0 ? remote_lost(r, ret) : 0;
}

static int remote_read(struct devlink *l, void *buf, size_t len, ssize_t *n)
{
	struct remote *r = remote_of(l);
	struct wmsg_number want = { .n = (int64_t)MIN(len, IOCTL_DATA_MAX) };
	struct wmsg_out out = remote_out(WMSG_READ, &want, sizeof(want));
	const void *bytes;
	int64_t got;
	int ret;

	ret = remote_simple(r, &out, want.n, (size_t)want.n, &got, &bytes);
	if (ret == -ENOMEM) {
		*n = ret;
		return 0;
	}
	if (ret == 0 && got >= 0 && (size_t)got != remote_len(r))
		ret = remote_lost(r, -EPROTO);
	if (ret < 0)
		return ret;
	if (got > 0)
		memcpy(buf, bytes, (size_t)got);
	*n = got;
	return 0;
}

static int remote_write(struct devlink *l, const void *buf, size_t len,
			int mem_fd, ssize_t *n)
{
	struct remote *r = remote_of(l);
	struct wmsg_out out =
		remote_out(WMSG_WRITE, buf, MIN(len, IOCTL_DATA_MAX));
	const int64_t max = sizeof(struct vhost_msg_v2);
	const void *bytes;
	int64_t got;
	int ret;

	if (mem_fd >= 0) {
		out.fd = &mem_fd;
		out.nfds = 1;
	}
	ret = remote_simple(r, &out, max, 0, &got, &bytes);
	if (ret == -ECONNRESET)
		return ret;
	*n = ret < 0 ? ret : (ssize_t)got;
	return 0;
}

static int remote_readable_now(struct devlink *l, bool *yes)
{
	struct wmsg_out out = remote_out(WMSG_READABLE, NULL, 0);
	const void *bytes;
	int64_t n = 0;
	int ret;

	ret = remote_simple(remote_of(l), &out, 1, 0, &n, &bytes);
	if (ret == -ECONNRESET)
		return ret;
	*yes = n == 1;
	return 0;
}

/* For calls that must not fail: out of memory ends the link. */
static int remote_must(struct remote *r, struct wmsg_out *out)
{
	const void *bytes;
	int64_t n;
	int ret = remote_simple(r, out, 0, 0, &n, &bytes);

	if (ret == 0 && n < 0)
		ret = -ENOMEM;
	return ret == -ENOMEM ? remote_lost(r, ret) : ret;
}

static int remote_resume(struct devlink *l, bool on, bool was_reset)
{
	struct wmsg_number bits = { .n = (on ? WMSG_RESUME_ON : 0) |
					 (was_reset ? WMSG_RESUME_WAS_RESET
						    : 0) };
	struct wmsg_out out = remote_out(WMSG_RESUME, &bits, sizeof(bits));

	return remote_must(remote_of(l), &out);
}

static int remote_replay_iotlb(struct devlink *l)
{
	struct wmsg_out out = remote_out(WMSG_REPLAY_IOTLB, NULL, 0);

	return remote_must(remote_of(l), &out);
}

static void remote_owner_died(struct devlink *l)
{
	(void)l; /* the session ends the process */
}

/* Return: text that is safe to print; other bytes become '?'. */
static char *remote_text(const void *bytes, size_t len)
{
	char *text = malloc(len + 1);

	if (!text)
		return NULL;
	memcpy(text, bytes, len);
	text[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!isprint((unsigned char)text[i]) && text[i] != '\n' &&
		    text[i] != '\t')
			text[i] = '?';
	return text;
}

static int remote_print(struct devlink *l, char **text)
{
	struct remote *r = remote_of(l);
	struct wmsg_out out = remote_out(WMSG_PRINT, NULL, 0);
	const void *bytes;
	int64_t n;
	int ret = remote_simple(r, &out, 0, WMSG_TEXT_MAX, &n, &bytes);

	if (ret < 0)
		return ret;
	if (n < 0)
		return -ENOMEM;
	*text = remote_text(bytes, remote_len(r));
	return *text ? 0 : -ENOMEM;
}

/* Frees @r, which may be NULL; the socket stays open. */
static void remote_destroy(struct remote *r)
{
	if (!r)
		return;
	worker_watch_del(r->config.worker, &r->watch);
	wmsg_in_free(&r->in);
	free(r);
}

/* The process ends when its socket ends. */
static void remote_free(struct devlink *l)
{
	struct remote *r = remote_of(l);
	int sock = r->remote.sock;

	remote_destroy(r);
	close(sock);
}

static const struct devlink_ops remote_ops = {
	.ioctl = remote_ioctl,
	.read = remote_read,
	.write = remote_write,
	.readable = remote_readable_now,
	.resume = remote_resume,
	.replay_iotlb = remote_replay_iotlb,
	.owner_died = remote_owner_died,
	.print = remote_print,
	.free = remote_free,
};

/* ---- life ---- */

static struct remote *remote_make(const struct devlink_config *config,
				  const struct devlink_remote_config *remote)
{
	struct remote *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->link.ops = &remote_ops;
	r->config = *config;
	r->remote = *remote;
	r->watch = (struct loop_watch){ .fn = remote_readable, .fd = -1 };
	wmsg_refuse_fds(remote->sock);
	if (wmsg_in_init(&r->in, WMSG_PACKET_MAX, false) == 0 &&
	    worker_watch_add(config->worker, &r->watch, remote->sock,
			     EPOLLIN) == 0)
		return r;
	remote_destroy(r);
	return NULL;
}

/* On failure the caller keeps the socket. */
static int remote_made(struct remote *r, int ret, struct devlink **out)
{
	if (ret < 0)
		remote_destroy(r);
	else
		*out = &r->link;
	return ret;
}

unsigned int devlink_remote_fds(const struct devlink_config *config,
				int fds[DEVLINK_REMOTE_FDS])
{
	unsigned int n = 0;

	if (config->mem)
		fds[n++] = devmem_fd(config->mem);
	if (config->ring) {
		framering_fds(config->ring, fds + n);
		n += FRAMERING_FDS;
	}
	return n;
}

int devlink_remote_new(const struct devlink_config *config,
		       const struct devlink_remote_config *remote,
		       struct devlink **out)
{
	struct wmsg_start start = {
		.features = config->features,
		.max_mem_regions = config->max_mem_regions,
		.busy_poll_us = config->busy_poll_us,
		.stall_ms = config->stall_ms,
		.log_level = log_level_now(),
	};
	struct wmsg_out call = remote_out(WMSG_START, &start, sizeof(start));
	struct remote *r = remote_make(config, remote);
	int fds[DEVLINK_REMOTE_FDS];
	const void *bytes;
	int64_t n = 0;
	int ret;

	if (!r)
		return -ENOMEM;
	snprintf(start.build, sizeof(start.build), "%s", wmsg_build());
	snprintf(start.tag, sizeof(start.tag), "%s", config->tag->name);
	call.inherited = true;
	call.nfds = devlink_remote_fds(config, fds);
	ret = remote_simple(r, &call, 0, 0, &n, &bytes);
	return remote_made(r, ret < 0 ? ret : (int)n, out);
}

int devlink_remote_adopt(const struct devlink_config *config,
			 const struct devlink_remote_config *remote,
			 struct wmsg_hello *hello, struct devlink **out)
{
	struct wmsg_hello body = { .last = 0 };
	const struct wmsg_out out_hello =
		remote_out(WMSG_HELLO, &body, sizeof(body));
	struct remote *r = remote_make(config, remote);
	int ret;

	if (!r)
		return -ENOMEM;
	snprintf(body.build, sizeof(body.build), "%s", wmsg_build());
	r->last = REMOTE_UNKNOWN;
	ret = remote_exchange(r, &out_hello);
	if (ret == 0 && wmsg_get_hello(&r->in, hello) < 0)
		ret = remote_lost(r, -EPROTO);
	if (ret == 0)
		r->last = hello->last;
	return remote_made(r, ret, out);
}

uint64_t devlink_remote_last(const struct devlink *l)
{
	return container_of(l, const struct remote, link)->last;
}

void devlink_remote_repeat(struct devlink *l, uint64_t seq)
{
	remote_of(l)->last = seq - 1;
}
