/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wserve.c serves the broker's calls in a worker process.
 *
 *   idle    ─ call with the next number ─► in a call ─ reply ─► idle
 *   idle    ─ call with the last number ─► the last reply again
 *   any     ─ question to the broker    ─► waits for the answer, then goes on
 *
 * A broker that was restarted does not know about a question: it says hello,
 * and the question is asked again. A call that arrives between question and
 * answer is held until the device session is idle again.
 *
 * Nothing here waits for a broker that does not read: what does not fit the
 * socket is sent when it polls as writable, and no call is received before.
 */
#include "wserve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bytes.h"

/* Bytes of a reply behind its head, at most. */
#define WSERVE_ROOM IOCTL_DATA_MAX

/*
 * @in: the message at hand, or the call that is held
 * @small: for what arrives while @in is in use
 * @busy: a call is being carried out; @in has its bytes
 * @held: @in has a call that is to be served by @held_work
 * @last: number of the last call that was received
 * @reply, @bytes, @out: the last reply: its message is @out
 * @iotlb_told: the broker was told, and has made no call since
 * @iotlb_due, @reply_due: not sent yet, as the socket is full
 * @asked: number of the last question
 */
struct wserve {
	struct wserve_config config;
	struct devsession *device;
	struct worker *worker;
	struct loop_watch watch;
	struct worker_work held_work;
	struct wmsg_in in, small;
	bool busy, held, ended;
	uint64_t last;

	struct wmsg_reply reply;
	uint8_t *bytes;
	struct wmsg_out out;

	bool iotlb_told, iotlb_due, reply_due;
	uint64_t asked;
};

int wserve_await_start(int sock, int inherits, struct wserve_start *start)
{
	struct wmsg_in in;
	int ret = wmsg_in_init(&in, WMSG_PACKET_MAX, true);

	if (ret < 0)
		return ret;
	in.inherits = inherits;
	do
		ret = wmsg_recv(sock, &in, 0);
	while (ret == -EINTR);
	if (ret == 0)
		ret = wmsg_get_start(&in, &start->start, &start->mem_fd,
				     start->ring);
	start->seq = in.hdr.seq;
	wmsg_in_free(&in);
	return ret == -EMSGSIZE ? -EPROTO : ret;
}

void wserve_refuse(int sock, const struct wserve_start *start, int error)
{
	struct wmsg_reply reply = { .n = error };
	const struct wmsg_out out = { .type = WMSG_START | WMSG_REPLY,
				      .seq = start->seq,
				      .part = { { &reply, sizeof(reply) } },
				      .nparts = 1 };

	wmsg_send(sock, &out, MSG_DONTWAIT);
}

static void wserve_end(struct wserve *s, int error)
{
	if (s->ended)
		return;
	s->ended = true;
	worker_watch_del(s->worker, &s->watch);
	worker_cancel(s->worker, &s->held_work);
	s->config.ended(s->config.ctx, error);
}

/* ---- sending ---- */

static void wserve_watch_for(struct wserve *s)
{
	uint32_t events = EPOLLIN;

	if (s->reply_due)
		events = EPOLLOUT;
	else if (s->iotlb_due)
		events = EPOLLIN | EPOLLOUT;
	if (!s->ended)
		worker_watch_mod(s->worker, &s->watch, events);
}

/* Return: 0; -EAGAIN: it is due; -EMSGSIZE; -ECONNRESET: there is no broker. */
static int wserve_send(struct wserve *s, const struct wmsg_out *out)
{
	int ret;

	if (s->ended)
		return -ECONNRESET;
	do
		ret = wmsg_send(s->config.sock, out, MSG_DONTWAIT);
	while (ret == -EINTR);
	if (ret == -ECONNRESET)
		wserve_end(s, ret);
	return ret == -ENOMEM ? -EAGAIN : ret;
}

/* The reply to call @s->last. A host with small send buffers does not take the
 * longest ones. */
static void wserve_send_reply(struct wserve *s)
{
	int ret = wserve_send(s, &s->out);

	if (ret == -EMSGSIZE) {
		s->reply = (struct wmsg_reply){ .n = -ENOMEM };
		s->out.nparts = 1;
		ret = wserve_send(s, &s->out);
	}
	s->reply_due = ret == -EAGAIN;
}

static void wserve_send_due(struct wserve *s)
{
	const struct wmsg_out event = { .type = WMSG_EVENT_IOTLB };
	bool due = s->reply_due || s->iotlb_due;

	if (s->reply_due)
		wserve_send_reply(s);
	if (s->iotlb_due && !s->reply_due)
		s->iotlb_due = wserve_send(s, &event) == -EAGAIN;
	if (due || s->reply_due || s->iotlb_due)
		wserve_watch_for(s);
}

/* The reply to call @s->last: @len bytes are in @s->bytes. */
static void wserve_reply(struct wserve *s, unsigned int type, size_t len)
{
	s->out = (struct wmsg_out){ .type = type | WMSG_REPLY,
				    .seq = s->last,
				    .part = { { &s->reply, sizeof(s->reply) },
					      { s->bytes, len } },
				    .nparts = len ? 2 : 1 };
	wserve_send_reply(s);
	if (s->reply_due)
		wserve_watch_for(s);
}

/* devsession_config.iotlb_event() */
static void wserve_iotlb_event(void *ctx)
{
	struct wserve *s = ctx;

	/* The broker reads until there is no message: it need not be told again
	 * before its next call. */
	if (s->iotlb_told || s->ended)
		return;
	s->iotlb_told = s->iotlb_due = true;
	wserve_send_due(s);
}

/* ---- calls ---- */

static size_t wserve_ioctl(struct wserve *s, int *error)
{
	struct ioctl_verdict v;
	struct ioctl_call call;
	struct call_facts facts;

	*error = wmsg_get_ioctl(&s->in, &call, &facts);
	if (*error < 0)
		return 0;
	call.out = s->bytes;
	devsession_ioctl(s->device, &call, &facts, &v);
	wmsg_facts_release(&facts);
	s->reply.n = v.error;
	if (v.again) {
		s->reply.again = 1;
		s->reply.fetch = v.fetch;
		s->reply.store_at = v.store_at;
		s->reply.store = v.store;
	}
	return v.out_len;
}

static size_t wserve_read(struct wserve *s, int *error)
{
	int64_t want;

	*error = wmsg_number(&s->in, 0, WSERVE_ROOM, &want);
	if (*error < 0)
		return 0;
	s->reply.n = devsession_read(s->device, s->bytes, (size_t)want);
	return s->reply.n > 0 ? (size_t)s->reply.n : 0;
}

static int wserve_write(struct wserve *s)
{
	int mem_fd, ret = wmsg_get_write(&s->in, &mem_fd);

	if (ret == 0)
		s->reply.n = devsession_write(s->device, s->in.body,
					      s->in.hdr.len, mem_fd);
	return ret;
}

static int wserve_resume(struct wserve *s)
{
	const int64_t all = WMSG_RESUME_ON | WMSG_RESUME_WAS_RESET;
	int64_t bits;
	int ret = wmsg_number(&s->in, 0, all, &bits);

	if (ret == 0)
		devsession_resume(s->device, bits & WMSG_RESUME_ON,
				  bits & WMSG_RESUME_WAS_RESET);
	return ret;
}

/* Text that does not fit is cut off. */
static size_t wserve_print(struct wserve *s)
{
	FILE *f = fmemopen(s->bytes, WMSG_TEXT_MAX, "w");
	long len;

	if (!f) {
		s->reply.n = -ENOMEM;
		return 0;
	}
	devsession_print(s->device, f);
	fflush(f);
	len = ftell(f);
	fclose(f);
	return len > 0 ? MIN((size_t)len, (size_t)WMSG_TEXT_MAX) : 0;
}

/* Ioctls and writes may bring descriptors; three calls have no body. */
static bool wserve_has_its_body(const struct wmsg_in *in)
{
	switch (in->hdr.type) {
	case WMSG_IOCTL:
	case WMSG_WRITE:
		return true;
	case WMSG_READ:
	case WMSG_RESUME:
		return in->nfds == 0;
	default:
		return wmsg_body(in, 0) != NULL;
	}
}

/* Carries out the call in @s->in; bytes of the reply. */
static size_t wserve_run(struct wserve *s, int *error)
{
	if (!wserve_has_its_body(&s->in)) {
		*error = -EPROTO;
		return 0;
	}
	switch (s->in.hdr.type) {
	case WMSG_IOCTL:
		return wserve_ioctl(s, error);
	case WMSG_READ:
		return wserve_read(s, error);
	case WMSG_PRINT:
		return wserve_print(s);
	case WMSG_WRITE:
		*error = wserve_write(s);
		break;
	case WMSG_READABLE:
		s->reply.n = devsession_readable(s->device);
		break;
	case WMSG_RESUME:
		*error = wserve_resume(s);
		break;
	case WMSG_REPLAY_IOTLB:
		devsession_replay_iotlb(s->device);
		break;
	default: /* a second START */
		*error = -EPROTO;
	}
	return 0;
}

/* @error: of receiving it: 0 or -ENOMEM */
static void wserve_call(struct wserve *s, int error)
{
	unsigned int type = s->in.hdr.type;
	size_t len = 0;

	s->iotlb_told = false;
	if (s->in.hdr.seq == s->last) {
		s->reply_due = true;
		wserve_send_due(s);
		return;
	}
	if (s->in.hdr.seq != s->last + 1) {
		wserve_end(s, -EPROTO);
		return;
	}
	s->last = s->in.hdr.seq;
	s->reply = (struct wmsg_reply){ 0 };
	if (error == 0) {
		s->busy = true;
		len = wserve_run(s, &error);
		s->busy = false;
	}
	if (error == -EPROTO) {
		wserve_end(s, error);
		return;
	}
	if (error < 0)
		s->reply = (struct wmsg_reply){ .n = error };
	wserve_reply(s, type, len);
}

/* Answers a broker that was restarted, which waits for this reply. The broker
 * before may have died after it had read a miss of the IOTLB and before it
 * passed the miss on, so misses are repeated. */
static void wserve_hello(struct wserve *s, const struct wmsg_in *in)
{
	struct wmsg_hello hello;
	const struct wmsg_out out = { .type = WMSG_HELLO | WMSG_REPLY,
				      .part = { { &hello, sizeof(hello) } },
				      .nparts = 1 };

	if (wmsg_get_hello(in, &hello) < 0) {
		wserve_end(s, -EPROTO);
		return;
	}
	memset(&hello, 0, sizeof(hello));
	snprintf(hello.build, sizeof(hello.build), "%s", wmsg_build());
	hello.last = s->held ? s->in.hdr.seq : s->last;
	s->iotlb_told = false;
	if (wserve_send(s, &out) < 0)
		wserve_end(s, -ECONNRESET); /* it does not read */
	else
		devsession_repeat_misses(s->device);
}

/* ---- receiving ---- */

/* Is it an answer? A question that was repeated for a new broker may be
 * answered twice. */
static bool wserve_is_answer(const struct wserve *s, const struct wmsg_hdr *hdr)
{
	return hdr->type == (WMSG_FAULT_IN | WMSG_REPLY) &&
	       hdr->seq <= s->asked;
}

static void wserve_message(struct wserve *s, int error)
{
	if (wmsg_is_call(s->in.hdr.type))
		wserve_call(s, error);
	else if (s->in.hdr.type == WMSG_HELLO && error == 0)
		wserve_hello(s, &s->in);
	else if (!wserve_is_answer(s, &s->in.hdr))
		wserve_end(s, -EPROTO);
	wmsg_in_release(&s->in);
}

static void wserve_held(struct worker_work *work)
{
	struct wserve *s = container_of(work, struct wserve, held_work);

	s->held = false;
	wserve_message(s, 0);
}

static void wserve_readable(struct loop_watch *watch, uint32_t events)
{
	struct wserve *s = container_of(watch, struct wserve, watch);
	int ret;

	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		wserve_send_due(s);
	if (s->ended || s->held || s->reply_due)
		return;
	ret = wmsg_recv(s->config.sock, &s->in, MSG_DONTWAIT);
	if (ret == 0 || ret == -ENOMEM)
		wserve_message(s, ret);
	else if (ret != -EAGAIN && ret != -EINTR)
		wserve_end(s, ret == -EMSGSIZE ? -EPROTO : ret);
}

/* ---- questions ---- */

/* Handles a message that is not the answer. Return: 0: go on waiting; -errno:
 * end. */
static int wserve_meanwhile(struct wserve *s, struct wmsg_in *in, int error,
			    const struct wmsg_out *question)
{
	unsigned int type = in->hdr.type;

	if (error == 0 && type == WMSG_HELLO) {
		wserve_hello(s, in);
		return wserve_send(s, question) < 0 ? -ECONNRESET : 0;
	}
	if (!wmsg_is_call(type))
		return wserve_is_answer(s, &in->hdr) ? 0 : -EPROTO;
	/* A new broker repeats the call that is at hand, or held. */
	if (s->busy && in->hdr.seq == s->last)
		return 0;
	if (s->held && in->hdr.seq == s->in.hdr.seq)
		return 0;
	if (s->busy || s->held || error)
		return -EPROTO;
	s->held = true;
	worker_queue(s->worker, &s->held_work);
	return 0;
}

/* Waits for the answer; 0 or the error that ends the server. */
static int wserve_await(struct wserve *s, const struct wmsg_out *question,
			int64_t *n)
{
	for (;;) {
		bool used = s->busy || s->held;
		struct wmsg_in *in = used ? &s->small : &s->in;
		int ret = wmsg_recv(s->config.sock, in, 0);

		if (ret == -EINTR)
			continue;
		if (ret < 0 && ret != -EMSGSIZE && ret != -ENOMEM)
			return ret;
		if (in->hdr.type != (question->type | WMSG_REPLY)) {
			ret = wserve_meanwhile(s, in, ret, question);
		} else if (ret == 0 && in->hdr.seq == question->seq) {
			ret = wmsg_number(in, -WMSG_ERRNO_MAX, 1, n);
			wmsg_in_release(in);
			return ret;
		} else if (ret < 0) {
			return -EPROTO;
		}
		if (!s->held || in == &s->small)
			wmsg_in_release(in);
		if (ret < 0 || s->ended)
			return ret;
	}
}

/* Return: the broker's answer; -ESRCH: there is no broker any more. */
static int64_t wserve_ask(struct wserve *s, struct wmsg_out *question)
{
	int64_t n = -ESRCH;
	int ret;

	if (s->ended)
		return -ESRCH;
	question->seq = ++s->asked;
	do
		ret = wmsg_send(s->config.sock, question, 0);
	while (ret == -EINTR);
	if (ret == 0)
		ret = wserve_await(s, question, &n);
	if (ret < 0)
		wserve_end(s, ret);
	return n;
}

int wserve_fault_in(struct wserve *s, bool write, uint64_t uva, uint64_t len)
{
	struct wmsg_range range = { .uva = uva,
				    .len = MIN(len, WMSG_FAULT_MAX),
				    .write = write };
	struct wmsg_out question = { .type = WMSG_FAULT_IN,
				     .part = { { &range, sizeof(range) } },
				     .nparts = 1 };
	int64_t n = wserve_ask(s, &question);

	return n > 0 ? 0 : (int)n;
}

/* devsession_config.fault_in() */
static int on_fault_in(void *ctx, bool write, uint64_t uva, uint64_t len)
{
	return wserve_fault_in(ctx, write, uva, len);
}

/* ---- life ---- */

static int wserve_init(struct wserve *s)
{
	struct devsession_config device = *s->config.device;
	int ret;

	device.iotlb_event = wserve_iotlb_event;
	device.fault_in = on_fault_in;
	device.ctx = s;
	s->worker = device.worker;
	s->watch = (struct loop_watch){ .fn = wserve_readable, .fd = -1 };
	s->held_work.fn = wserve_held;
	s->last = s->config.seq;
	s->bytes = malloc(MAX(WSERVE_ROOM, (size_t)WMSG_TEXT_MAX));
	if (!s->bytes)
		return -ENOMEM;
	ret = wmsg_in_init(&s->in, WMSG_PACKET_MAX, true);
	if (ret == 0)
		ret = wmsg_in_init(&s->small, 4096, true);
	if (ret == 0)
		ret = devsession_new(&device, &s->device);
	if (ret == 0)
		ret = worker_watch_add(s->worker, &s->watch, s->config.sock,
				       EPOLLIN);
	return ret;
}

static void wserve_destroy(struct wserve *s)
{
	worker_watch_del(s->worker, &s->watch);
	worker_cancel(s->worker, &s->held_work);
	devsession_free(s->device);
	wmsg_in_free(&s->in);
	wmsg_in_free(&s->small);
	free(s->bytes);
	free(s);
}

int wserve_new(const struct wserve_config *config, struct wserve **out)
{
	const struct wserve_start start = { .seq = config->seq };
	struct wserve *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (s) {
		s->config = *config;
		ret = wserve_init(s);
	}
	if (ret < 0) {
		wserve_refuse(config->sock, &start, ret);
		if (s)
			wserve_destroy(s);
		return ret;
	}
	*out = s;
	wserve_reply(s, WMSG_START, 0);
	return 0;
}

void wserve_free(struct wserve *s)
{
	int sock;

	if (!s)
		return;
	sock = s->config.sock;
	s->ended = true; /* the device session has no broker to ask */
	wserve_destroy(s);
	close(sock);
}
