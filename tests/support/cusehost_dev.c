/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The FUSE side: channels, requests, sessions.
 *
 * A channel is a SEQPACKET socket on which one message is one request or one
 * reply, as one read or write on /dev/cuse is. What the socket does not take
 * at once is queued; the queue is bounded by the number of client threads,
 * each of which waits for one request.
 *
 * What fs/fuse/dev.c would refuse with an error to the daemon's write cannot
 * be refused here. It is reported, and the run fails at its end.
 *
 * A session is one open of the device. Its client side is the reading end of a
 * pipe, of which we keep only the writing end:
 *   - POLLERR on the writing end: no process has the reading end open any
 *     more, so RELEASE is due, after the calls in progress have ended;
 *   - a byte in the pipe: the daemon's poll said readable. Whether there is
 *     one is asked of the pipe (FIONREAD) and never remembered, since a client
 *     can read it away. To take it out, we open the pipe for reading through
 *     /proc for a moment.
 * Readiness is asked for (FUSE_POLL) once at OPEN, at each FUSE_NOTIFY_POLL,
 * after each READ and WRITE, and after other calls on a session that shows
 * ready; the result of that call is held until the pipe is right, so that
 * poll(2) after it is right too. (The kernel asks at each poll(2).)
 */
#include "cusehost.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* FUSE_REQ_ID_STEP and FUSE_INT_REQ_BIT of fs/fuse */
#define UNIQUE_STEP 2
#define INTERRUPT_BIT 1

#define COMPLAINTS_MAX 10

_Static_assert(sizeof(struct fuse_in_header) == 40, "fuse.h");
_Static_assert(sizeof(struct fuse_out_header) == 16, "fuse.h");
_Static_assert(sizeof(struct cuse_init_in) == 16, "fuse.h");

static void session_poll(struct session *s);

/* --- sending --- */

static int chan_queue(struct device *d, const struct msghdr *msg, size_t len)
{
	struct out_msg *m;
	size_t at = 0;

	m = malloc(sizeof(*m) + len);
	if (!m)
		return -ENOMEM;
	m->len = len;
	for (size_t i = 0; i < msg->msg_iovlen; i++) {
		if (msg->msg_iov[i].iov_len == 0)
			continue;
		memcpy(m->data + at, msg->msg_iov[i].iov_base,
		       msg->msg_iov[i].iov_len);
		at += msg->msg_iov[i].iov_len;
	}
	if (STAILQ_EMPTY(&d->out)) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT,
					  .data.ptr = &d->watch };

		epoll_ctl(d->host->epfd, EPOLL_CTL_MOD, d->watch.fd, &ev);
	}
	STAILQ_INSERT_TAIL(&d->out, m, link);
	return 0;
}

static int chan_send(struct device *d, const struct msghdr *msg, size_t len)
{
	if (d->watch.fd < 0)
		return -ENOTCONN;
	if (!STAILQ_EMPTY(&d->out))
		return chan_queue(d, msg, len);
	if (sendmsg(d->watch.fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
		return chan_queue(d, msg, len);
	if (errno != EPIPE && errno != ECONNRESET)
		ch_say("%s: send: %s", d->path, strerror(errno));
	return -ENOTCONN;
}

static void chan_flush(struct device *d)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &d->watch };
	struct out_msg *m;

	while ((m = STAILQ_FIRST(&d->out))) {
		if (send(d->watch.fd, m->data, m->len,
			 MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		    (errno == EAGAIN || errno == ENOBUFS || errno == EINTR))
			return;
		/* Sent, or the channel is dead, which the reading side will
		 * find out and deal with. */
		STAILQ_REMOVE_HEAD(&d->out, link);
		free(m);
	}
	epoll_ctl(d->host->epfd, EPOLL_CTL_MOD, d->watch.fd, &ev);
}

static int chan_send_request(struct device *d, struct fuse_in_header *hdr,
			     const void *in, size_t in_len, const void *extra,
			     size_t extra_len)
{
	struct iovec iov[3] = {
		{ hdr, sizeof(*hdr) },
		{ (void *)(uintptr_t)in, in_len },
		{ (void *)(uintptr_t)extra, extra_len },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };

	hdr->len = (uint32_t)(sizeof(*hdr) + in_len + extra_len);
	return chan_send(d, &msg, hdr->len);
}

int dev_request(struct device *d, struct request *req, uint32_t opcode,
		const struct caller *who, const void *in, size_t in_len,
		const void *extra, size_t extra_len)
{
	struct fuse_in_header hdr = { .opcode = opcode };
	int ret;

	d->last_unique += UNIQUE_STEP;
	hdr.unique = d->last_unique;
	if (who) {
		hdr.uid = who->uid;
		hdr.gid = who->gid;
		hdr.pid = (uint32_t)who->tid;
	}
	ret = chan_send_request(d, &hdr, in, in_len, extra, extra_len);
	if (ret < 0)
		return ret;

	req->dev = d;
	req->unique = hdr.unique;
	req->opcode = opcode;
	req->since_ms = ch_now_ms();
	req->interrupted = false;
	LIST_INSERT_HEAD(&d->requests, req, link);
	return 0;
}

/* May be repeated: a daemon that answers EAGAIN wants to be told again. */
void dev_interrupt(struct request *req)
{
	struct device *d = req->dev;
	struct fuse_interrupt_in in = { .unique = req->unique };
	struct fuse_in_header hdr = { .opcode = FUSE_INTERRUPT,
				      .unique = req->unique | INTERRUPT_BIT };

	req->interrupted = true;
	if (d->no_interrupt)
		return;
	ch_log(d->host, "%s: INTERRUPT of #%llu", d->path,
	       (unsigned long long)req->unique);
	chan_send_request(d, &hdr, &in, sizeof(in), NULL, 0);
}

/* --- receiving --- */

static struct request *request_find(struct device *d, uint64_t unique)
{
	struct request *req;

	LIST_FOREACH (req, &d->requests, link)
		if (req->unique == unique)
			return req;
	return NULL;
}

static void request_end(struct request *req, int err, const void *body,
			size_t len)
{
	LIST_REMOVE(req, link);
	req->dev = NULL;
	req->done(req, err, body, len);
}

static void dev_complain(struct device *d, const char *what, uint64_t unique)
{
	if (d->host->protocol_errors++ < COMPLAINTS_MAX)
		ch_say("%s: %s (#%llu): the kernel would refuse this write",
		       d->path, what, (unsigned long long)unique);
}

static void notify_received(struct device *d, int code, const void *body,
			    size_t len)
{
	struct fuse_notify_poll_wakeup_out wakeup;
	struct session *s;

	if (code != FUSE_NOTIFY_POLL || len != sizeof(wakeup)) {
		dev_complain(d, "bad notification", (uint64_t)code);
		return;
	}
	memcpy(&wakeup, body, sizeof(wakeup));
	LIST_FOREACH (s, &d->host->sessions, link)
		if (s->dev == d && s->kh == wakeup.kh)
			session_poll(s);
}

static void interrupt_answered(struct device *d, uint64_t unique, int err)
{
	struct request *req = request_find(d, unique & ~1ull);

	if (err == -ENOSYS)
		d->no_interrupt = true;
	else if (err == -EAGAIN && req)
		dev_interrupt(req);
}

/* The checks of fuse_dev_do_write() and fuse_copy_out_args(). */
static void reply_received(struct device *d, const unsigned char *msg,
			   size_t len)
{
	struct fuse_out_header hdr;
	struct request *req;
	size_t body_len = len - sizeof(hdr);
	int err;

	if (len < sizeof(hdr)) {
		dev_complain(d, "short message", 0);
		return;
	}
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.len != len) {
		dev_complain(d, "wrong length in header", hdr.unique);
		return;
	}
	if (hdr.unique == 0) {
		notify_received(d, hdr.error, msg + sizeof(hdr), body_len);
		return;
	}
	if (hdr.error <= -512 || hdr.error > 0) {
		dev_complain(d, "error code out of range", hdr.unique);
		return;
	}
	req = request_find(d, hdr.unique & ~(uint64_t)INTERRUPT_BIT);
	if (hdr.unique & INTERRUPT_BIT) {
		interrupt_answered(d, hdr.unique, hdr.error);
		return;
	}
	/* A daemon that was started again may repeat an answer: the kernel
	 * refuses it with ENOENT, this host ignores it. */
	if (!req && d->host->restarts && hdr.unique <= d->last_unique)
		return;
	if (!req) {
		dev_complain(d, "answer to no request", hdr.unique);
		return;
	}
	err = hdr.error;
	if (err ? body_len != 0
		: body_len < req->fixed_bytes ||
			    body_len > (size_t)req->fixed_bytes +
					       req->var_max_bytes) {
		dev_complain(d, "reply of a wrong size", hdr.unique);
		err = -EIO;
	}
	request_end(req, err, err ? NULL : msg + sizeof(hdr),
		    err ? 0 : body_len);
}

static void chan_event(struct watch *w, uint32_t events)
{
	struct device *d = ch_container_of(w, struct device, watch);
	struct host *h = d->host;
	ssize_t len;

	if (events & EPOLLOUT)
		chan_flush(d);
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	len = recv(w->fd, h->in, sizeof(h->in), MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0) {
		/* ECONNRESET comes once when the daemon left requests unread;
		 * its replies are still there to read, then comes 0. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNRESET) {
			ch_say("%s: receive: %s", d->path, strerror(errno));
			dev_break(d);
		}
		return;
	}
	/* 0 without HUP is an empty message, and a complaint. */
	if (len == 0 && (events & EPOLLHUP)) {
		ch_say("%s: the daemon closed the channel",
		       d->path[0] ? d->path : "before INIT");
		dev_break(d);
		return;
	}
	/* One that did not fit is past any limit that follows. */
	reply_received(d, h->in, (size_t)len);
}

/* --- start and end of a device --- */

/* "KEY=VALUE\0..." with DEVNAME among them; cuse_parse_devinfo() */
static bool dev_parse_info(struct device *d, const char *info, size_t len)
{
	static const char key[] = "DEVNAME=";
	const char *end = info + len;

	if (len == 0 || end[-1] != '\0')
		return false;
	for (; info < end; info += strlen(info) + 1) {
		const char *name = info + sizeof(key) - 1;

		if (strncmp(info, key, sizeof(key) - 1) != 0)
			continue;
		if (*name == '\0' || strlen(name) > sizeof(d->path) - 6)
			return false;
		snprintf(d->path, sizeof(d->path), "/dev/%s", name);
	}
	for (char *c = d->path; *c; c++)
		if (*c == '!')
			*c = '/';
	return d->path[0] != '\0';
}

static void init_done(struct request *req, int err, const void *body,
		      size_t len)
{
	struct device *d = ch_container_of(req, struct device, init);
	struct host *h = d->host;
	struct cuse_init_out out;
	const char *why = NULL;

	if (err) {
		if (err != -ECONNABORTED)
			ch_say("CUSE_INIT: %s", strerror(-err));
		dev_break(d);
		return;
	}
	memcpy(&out, body, sizeof(out));
	if (out.major != FUSE_KERNEL_VERSION || out.minor < 11)
		why = "unsupported protocol version";
	else if (!(out.flags & CUSE_UNRESTRICTED_IOCTL))
		why = "no CUSE_UNRESTRICTED_IOCTL";
	else if (!dev_parse_info(d, (const char *)body + sizeof(out),
				 len - sizeof(out)))
		why = "no DEVNAME";
	for (struct device *o = h->dev; !why && o < d; o++)
		if (strcmp(o->path, d->path) == 0)
			why = "two devices of one name";
	if (why) {
		ch_say("CUSE_INIT: %s in the reply", why);
		d->path[0] = '\0';
		dev_break(d);
		return;
	}
	d->max_read = out.max_read > CH_PAGE ? out.max_read : (uint32_t)CH_PAGE;
	d->max_write =
		out.max_write > CH_PAGE ? out.max_write : (uint32_t)CH_PAGE;
	ch_log(h, "%s: ready, protocol %u.%u", d->path, out.major, out.minor);
}

void dev_start(struct host *h, struct device *d, int chan)
{
	static const struct cuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = CUSE_UNRESTRICTED_IOCTL,
	};

	d->host = h;
	LIST_INIT(&d->requests);
	STAILQ_INIT(&d->out);
	d->watch = (struct watch){ .fn = chan_event, .fd = chan };
	d->init.done = init_done;
	d->init.fixed_bytes = sizeof(struct cuse_init_out);
	d->init.var_max_bytes = CUSE_INIT_INFO_MAX;
	if (ch_watch(h, h->epfd, &d->watch, EPOLLIN) < 0 ||
	    dev_request(d, &d->init, CUSE_INIT, NULL, &in, sizeof(in), NULL,
			0) < 0)
		dev_break(d);
}

bool dev_ready(const struct device *d)
{
	return d->watch.fd >= 0 && d->path[0] != '\0';
}

bool dev_broken(const struct device *d)
{
	return d->watch.fd < 0;
}

/* --- the pipe's byte --- */

static bool pipe_is_ready(const struct session *s)
{
	int bytes = 0;

	return ioctl(s->watch.fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static void pipe_set_ready(struct session *s, bool ready)
{
	char name[64], drain[16];
	int fd;

	if (pipe_is_ready(s) == ready)
		return;
	if (ready) {
		/* EPIPE: the last reader left just now. SIGPIPE is ignored. */
		if (write(s->watch.fd, "!", 1) < 0 && errno != EPIPE)
			ch_say("pipe: %s", strerror(errno));
		return;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", s->watch.fd);
	fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		ch_say("%s: %s", name, strerror(errno));
		return;
	}
	while (read(fd, drain, sizeof(drain)) > 0)
		;
	close(fd);
}

static void poll_done(struct request *req, int err, const void *body,
		      size_t len)
{
	struct session *s = ch_container_of(req, struct session, poll);
	struct fuse_poll_out out = { 0 };
	bool again = s->poll_again;

	(void)len;
	s->poll_again = false;
	s->polls_done++;
	if (err == -ENOSYS)
		s->dev->no_poll = true;
	if (err)
		out.revents = POLLERR; /* no_poll: DEFAULT_POLLMASK has IN */
	else
		memcpy(&out, body, sizeof(out));
	ch_log(s->host, "%s: poll: %#x", s->dev->path, out.revents);
	/* A pipe's reading end cannot show ERR or OUT; a read will tell. */
	pipe_set_ready(s, out.revents & (POLLIN | POLLRDNORM | POLLPRI |
					 POLLERR | POLLHUP | POLLRDHUP));
	if (again)
		session_poll(s);
	call_settled(s);
	session_put(s);
}

static void session_poll(struct session *s)
{
	struct fuse_poll_in in = {
		.fh = s->fh,
		.kh = s->kh,
		.flags = FUSE_POLL_SCHEDULE_NOTIFY,
		.events = POLLIN | POLLRDNORM | POLLERR | POLLHUP,
	};

	if (s->gone || s->dev->no_poll)
		return;
	if (s->poll.dev) {
		s->poll_again = true;
		return;
	}
	if (dev_request(s->dev, &s->poll, FUSE_POLL, NULL, &in, sizeof(in),
			NULL, 0) == 0) {
		s->polls_sent++;
		s->calls++;
	}
}

bool session_unsettled(struct session *s, bool moved_data, uint64_t *until)
{
	if (!moved_data && !s->poll.dev && !pipe_is_ready(s))
		return false;
	session_poll(s);
	if (!s->poll.dev)
		return false;
	*until = s->polls_sent + (s->poll_again ? 1 : 0);
	return true;
}

bool session_polling(const struct session *s, uint64_t *until)
{
	*until = s->polls_sent;
	return s->poll.dev;
}

/* --- sessions --- */

void session_free(struct session *s)
{
	LIST_REMOVE(s, link);
	ch_unwatch(s->host->sessions_watch.fd, &s->watch);
	close(s->watch.fd);
	if (s->read_fd >= 0)
		close(s->read_fd);
	free(s);
}

static void release_done(struct request *req, int err, const void *body,
			 size_t len)
{
	struct session *s = ch_container_of(req, struct session, release);
	struct host *h = s->host;

	(void)err;
	(void)body;
	(void)len;
	session_free(s);
	h->releasing--;
	trap_run_deferred(h);
}

/* RELEASE waits for the calls in progress: in the kernel each of them holds
 * the file. */
static void session_release_if_due(struct session *s)
{
	struct fuse_release_in in = { .fh = s->fh, .flags = s->open_flags };

	if (!s->gone || s->calls || s->release.dev)
		return;
	ch_log(s->host, "%s: RELEASE fh %llu", s->dev->path,
	       (unsigned long long)s->fh);
	if (dev_request(s->dev, &s->release, FUSE_RELEASE, NULL, &in,
			sizeof(in), NULL, 0) < 0) {
		session_free(s);
		return;
	}
	if (s->host->releasing++ == 0)
		s->host->releasing_since_ms = ch_now_ms();
}

static void session_gone(struct session *s)
{
	s->gone = true;
	ch_unwatch(s->host->sessions_watch.fd, &s->watch);
	session_release_if_due(s);
}

void session_put(struct session *s)
{
	s->calls--;
	session_release_if_due(s);
}

static void session_event(struct watch *w, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP))
		session_gone(ch_container_of(w, struct session, watch));
}

void session_sweep(struct host *h)
{
	struct epoll_event ev;

	while (epoll_wait(h->sessions_watch.fd, &ev, 1, 0) == 1) {
		struct watch *w = ev.data.ptr;

		w->fn(w, ev.events);
	}
}

int session_new(struct device *d, uint32_t open_flags, struct session **out)
{
	struct session *s;
	int fds[2];

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		goto err_free;
	s->host = d->host;
	s->dev = d;
	s->watch = (struct watch){ .fn = session_event, .fd = fds[1] };
	s->read_fd = fds[0];
	s->open_flags = open_flags;
	s->kh = ++d->last_kh;
	s->poll.done = poll_done;
	s->poll.fixed_bytes = sizeof(struct fuse_poll_out);
	s->release.done = release_done;
	if (!peer_fd_pipe(getpid(), fds[0], &s->pipe_ino))
		goto err_close;
	/* One byte is all it ever holds. */
	fcntl(fds[1], F_SETPIPE_SZ, CH_PAGE);
	if (!(open_flags & O_NONBLOCK))
		fcntl(fds[0], F_SETFL, 0);
	LIST_INSERT_HEAD(&d->host->sessions, s, link);
	*out = s;
	return 0;

err_close:
	close(fds[0]);
	close(fds[1]);
err_free:
	free(s);
	return -ENFILE;
}

void session_opened(struct session *s, uint64_t fh)
{
	s->fh = fh;
	if (s->dev->no_poll)
		pipe_set_ready(s, true);
	else
		session_poll(s);
}

void session_handed_over(struct session *s)
{
	close(s->read_fd);
	s->read_fd = -1;
	if (ch_watch(s->host, s->host->sessions_watch.fd, &s->watch, 0) < 0)
		session_gone(s);
}

struct session *session_find(struct host *h, ino_t pipe_ino)
{
	struct session *s;

	LIST_FOREACH (s, &h->sessions, link)
		if (s->pipe_ino == pipe_ino)
			return s;
	return NULL;
}

void session_release_all(struct host *h)
{
	struct session *s, *next;

	for (s = LIST_FIRST(&h->sessions); s; s = next) {
		next = LIST_NEXT(s, link);
		if (!s->gone)
			session_gone(s);
	}
}

/* --- the end of a channel --- */

unsigned int dev_unanswered(const struct device *d)
{
	const struct request *req;
	unsigned int n = 0;

	LIST_FOREACH (req, &d->requests, link)
		n++;
	return n;
}

static void chan_close(struct device *d)
{
	struct out_msg *m;

	ch_unwatch(d->host->epfd, &d->watch);
	close(d->watch.fd);
	d->watch.fd = -1;
	while ((m = STAILQ_FIRST(&d->out))) {
		STAILQ_REMOVE_HEAD(&d->out, link);
		free(m);
	}
}

void dev_break(struct device *d)
{
	struct request *req;
	struct session *s;

	if (d->watch.fd < 0)
		return;
	chan_close(d);
	while ((req = LIST_FIRST(&d->requests)))
		request_end(req, -ECONNABORTED, NULL, 0);
	/* Pollers of such a file get POLLERR from the kernel. A pipe cannot
	 * say so while we hold it, but readable wakes them too, and then a
	 * read tells: ENOTCONN. */
	LIST_FOREACH (s, &d->host->sessions, link)
		if (s->dev == d && !s->gone)
			pipe_set_ready(s, true);
}
