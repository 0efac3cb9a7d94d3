/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu_stream.c sends and receives frames on a connection, each behind its
 * length.
 *
 *   receiving port  its fd is an epoll set with the current connection
 *   sending port    its fd is an eventfd, full (not writable) while the
 *                   connection has no space
 *   thread          makes connections, one at a time: accepts, or connects
 *                   again every RETRY_MS; and waits for space in the
 * connection, since no other thread may be there to do it
 *
 * The thread starts with the first stream_open(), when privileges have been
 * given up. @lock protects all that changes; nothing under it blocks. The
 * thread that finds the connection broken closes it and signals @kick.
 *
 * A frame of which a part was sent is accepted; the rest of it is sent first.
 * Without a connection frames are lost, as on a cable with an open end.
 */
#include "qemu_priv.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "evfd.h"
#include "framestream.h"
#include "log_limit.h"
#include "mutex.h"
#include "portutil.h"

#define RETRY_MS 100
#define BATCH 64
#define IOVS 1024 /* UIO_MAXIOV */

struct stream_port {
	struct netport port;
	struct qemu_stream *q;
};

/**
 * struct qemu_stream - a connection, and how to make one
 * @conn: -1: none; @connecting: it is not established
 * @waiting: it was logged that there is no connection
 * @retry_at_ms: the next attempt, now_ms()
 * @tx_waits: the eventfd is full
 * @left, @left_len: the rest of a frame of which a part was sent, with its
 * length
 * @in: bytes received
 * @lengths, @iov: for one call
 */
struct qemu_stream {
	struct netif netif;
	struct log_tag tag;
	struct log_limit limit;
	struct netaddr remote;
	struct unix_listener listener;
	int rx_epoll, tx_event, kick;
	pthread_t thread;
	bool has_thread;
	struct stream_port rx, tx;

	struct mutex lock; /* all below */
	bool stop, rx_open, tx_open;
	int conn;
	bool connecting, waiting, tx_waits;
	int64_t retry_at_ms;
	size_t left_at, left_len;
	uint32_t lengths[BATCH];
	struct iovec iov[IOVS];
	uint8_t left[FRAMESTREAM_HDR + FRAMESTREAM_MAX];
	struct framestream in;
};

static struct qemu_stream *to_stream(struct netport *port)
{
	return container_of(port, struct stream_port, port)->q;
}

/* ---- the connection ---- */

static void wake_sender(struct qemu_stream *q)
{
	if (!q->tx_waits)
		return;
	q->tx_waits = false;
	evfd_drain(q->tx_event);
}

static void block_sender(struct qemu_stream *q) NEEDS(q->lock)
{
	if (!q->tx_waits)
		evfd_fill(q->tx_event);
	q->tx_waits = true;
}

static void disconnect(struct qemu_stream *q) NEEDS(q->lock)
{
	close(q->conn);
	q->conn = -1;
	q->left_at = q->left_len = 0;
	framestream_reset(&q->in);
	q->retry_at_ms = now_ms() + RETRY_MS;
	wake_sender(q);
	evfd_signal(q->kick);
}

static void on_connected(struct qemu_stream *q) NEEDS(q->lock)
{
	struct epoll_event ev = { .events = EPOLLIN };
	const int one = 1;

	q->connecting = q->waiting = false;
	/* Fails if it is not TCP. */
	setsockopt(q->conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(q->rx_epoll, EPOLL_CTL_ADD, q->conn, &ev) < 0) {
		log_limited(&q->limit, &q->tag, LOG_LEVEL_WARNING,
			    "cannot watch a connection: %s", strerror(errno));
		disconnect(q);
		return;
	}
	log_limited(&q->limit, &q->tag, LOG_LEVEL_INFO, "connected");
}

static void lost(struct qemu_stream *q, const char *why) NEEDS(q->lock)
{
	log_limited(&q->limit, &q->tag, LOG_LEVEL_INFO, "connection lost: %s",
		    why);
	disconnect(q);
}

/* Sends the rest of a frame. Return: false if some of it is left. */
static bool send_left(struct qemu_stream *q) NEEDS(q->lock)
{
	while (q->left_len) {
		ssize_t n = send(q->conn, q->left + q->left_at, q->left_len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			if (!try_later(errno))
				lost(q, strerror(errno));
			return false;
		}
		q->left_at += (size_t)n;
		q->left_len -= (size_t)n;
	}
	return true;
}

/* ---- the thread ---- */

static void log_waiting(struct qemu_stream *q, int err) NEEDS(q->lock)
{
	q->retry_at_ms = now_ms() + RETRY_MS;
	if (q->waiting)
		return;
	q->waiting = true;
	log_limited(&q->limit, &q->tag, LOG_LEVEL_INFO,
		    "waiting for a connection: %s", strerror(err));
}

static void find_connection(struct qemu_stream *q) NEEDS(q->lock)
{
	int fd;

	if (now_ms() < q->retry_at_ms)
		return;
	if (q->listener.fd >= 0) {
		fd = unix_accept(&q->listener);
		if (fd == -EAGAIN)
			return;
	} else {
		fd = netaddr_connect(&q->remote, SOCK_STREAM);
	}
	if (fd < 0) {
		log_waiting(q, -fd);
		return;
	}
	q->conn = fd;
	q->connecting = q->listener.fd < 0;
	if (!q->connecting)
		on_connected(q);
}

static void finish_connecting(struct qemu_stream *q) NEEDS(q->lock)
{
	struct pollfd p = { .fd = q->conn, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (poll(&p, 1, 0) <= 0)
		return;
	if (getsockopt(q->conn, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (!err) {
		on_connected(q);
		return;
	}
	disconnect(q);
	log_waiting(q, err);
}

static void check_space(struct qemu_stream *q) NEEDS(q->lock)
{
	struct pollfd p = { .fd = q->conn, .events = POLLOUT };

	if (poll(&p, 1, 0) > 0 && send_left(q))
		wake_sender(q);
}

/* One step of making a connection, or of waiting for space. */
static void stream_step(struct qemu_stream *q) NEEDS(q->lock)
{
	if (q->conn < 0 && (q->listener.fd >= 0 || q->remote.len))
		find_connection(q);
	if (q->conn >= 0 && q->connecting)
		finish_connecting(q);
	else if (q->conn >= 0 && (q->left_len || q->tx_waits))
		check_space(q);
}

/* Sets what to wait for until the next step. Return: the timeout, ms. */
static int poll_set(struct qemu_stream *q, struct pollfd *p) NEEDS(q->lock)
{
	int64_t wait = q->retry_at_ms - now_ms();

	p->fd = -1;
	if (q->conn >= 0) {
		if (q->connecting || q->left_len || q->tx_waits)
			*p = (struct pollfd){ q->conn, POLLOUT, 0 };
		return -1;
	}
	if (q->listener.fd < 0)
		return q->remote.len ? (int)MAX(wait, 0) : -1;
	if (wait > 0)
		return (int)wait;
	*p = (struct pollfd){ q->listener.fd, POLLIN, 0 };
	return -1;
}

static void *stream_thread(void *arg)
{
	struct qemu_stream *q = arg;

	mutex_lock(&q->lock);
	while (!q->stop) {
		struct pollfd p[2] = { { .fd = q->kick, .events = POLLIN } };
		int timeout;

		stream_step(q);
		timeout = poll_set(q, &p[1]);
		mutex_unlock(&q->lock);
		/* If the connection is closed now, @kick is signalled. */
		poll(p, 2, timeout);
		evfd_drain(q->kick);
		mutex_lock(&q->lock);
	}
	mutex_unlock(&q->lock);
	return NULL;
}

static int start_stream_thread(struct qemu_stream *q)
{
	sigset_t all, old;
	int ret;

	if (q->has_thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&q->thread, NULL, stream_thread, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return -ret;
	pthread_setname_np(q->thread, "qemu-stream");
	q->has_thread = true;
	return 0;
}

/* ---- sending ---- */

/* Bytes of the frame; 0: too short or too long. */
static uint32_t eth_len(const struct netport *port, const struct frame *f)
{
	uint32_t len = f->len - MIN(f->len, port->hdr_len);

	return len < NETPORT_ETH_MIN || len > FRAMESTREAM_MAX ? 0 : len;
}

/* Sets @q->iov to the frames that one call can send. Return: how many. */
static unsigned int gather(struct qemu_stream *q, const struct frame *frames,
			   unsigned int n, unsigned int *iovs) NEEDS(q->lock)
{
	unsigned int i;

	*iovs = 0;
	for (i = 0; i < MIN(n, BATCH); i++) {
		const struct frame *f = &frames[i];
		uint32_t len = eth_len(&q->tx.port, f);

		if (*iovs + 1 + f->iovcnt > IOVS)
			break;
		q->lengths[i] = htobe32(len);
		if (!len)
			continue;
		q->iov[(*iovs)++] =
			(struct iovec){ &q->lengths[i], FRAMESTREAM_HDR };
		*iovs += iov_from(f->iov, f->iovcnt, q->tx.port.hdr_len,
				  q->iov + *iovs);
	}
	return i;
}

/* Keeps the rest of a frame, of which @sent bytes were sent, length included.
 */
static void keep_rest(struct qemu_stream *q, const struct frame *f, size_t sent)
	NEEDS(q->lock)
{
	uint32_t len = eth_len(&q->tx.port, f), be = htobe32(len);

	memcpy(q->left, &be, sizeof(be));
	frame_load(f, q->tx.port.hdr_len, q->left + FRAMESTREAM_HDR, len);
	q->left_at = sent;
	q->left_len = FRAMESTREAM_HDR + len - sent;
}

/* Return: frames that are accepted when @sent bytes of them were sent. */
static unsigned int count_done(struct qemu_stream *q,
			       const struct frame *frames, unsigned int n,
			       size_t sent) NEEDS(q->lock)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint32_t len = be32toh(q->lengths[i]);

		if (!len) {
			port_drop(&q->tx.port, &frames[i], 1);
			continue;
		}
		if (!sent)
			break;
		if (sent < FRAMESTREAM_HDR + len) {
			keep_rest(q, &frames[i], sent);
			return i + 1;
		}
		sent -= FRAMESTREAM_HDR + len;
	}
	return i;
}

/* Return: frames that are accepted; @full: the connection has no space. */
static unsigned int stream_send_batch(struct qemu_stream *q,
				      const struct frame *frames,
				      unsigned int n, bool *full) NEEDS(q->lock)
{
	struct msghdr m = { .msg_iov = q->iov };
	unsigned int iovs, count = gather(q, frames, n, &iovs);
	ssize_t sent = 0;

	if (!count) { /* more entries than a call accepts */
		q->lengths[0] = htobe32(eth_len(&q->tx.port, frames));
		if (q->lengths[0])
			keep_rest(q, frames, 0);
		else
			port_drop(&q->tx.port, frames, 1);
		*full = !send_left(q);
		return 1;
	}
	m.msg_iovlen = iovs;
	if (iovs)
		sent = sendmsg(q->conn, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent >= 0) {
		unsigned int done = count_done(q, frames, count, (size_t)sent);

		*full = done < count || q->left_len;
		return done;
	}
	if (try_later(errno)) {
		*full = true;
		return count_done(q, frames, count, 0);
	}
	if (errno == EFAULT)
		return (unsigned int)port_drop(&q->tx.port, frames, 1);
	lost(q, strerror(errno));
	return (unsigned int)port_drop(&q->tx.port, frames, n);
}

static int send_locked(struct qemu_stream *q, const struct frame *frames,
		       unsigned int n) NEEDS(q->lock)
{
	unsigned int done = 0;
	bool full = false;

	if (q->conn < 0 || q->connecting)
		return port_drop(&q->tx.port, frames, n);
	if (!send_left(q))
		full = true;
	while (!full && done < n && q->conn >= 0)
		done += stream_send_batch(q, frames + done, n - done, &full);
	if (q->conn < 0)
		return (int)done +
		       port_drop(&q->tx.port, frames + done, n - done);
	if (full) {
		block_sender(q);
		evfd_signal(q->kick);
	}
	return done ? (int)done : -EAGAIN;
}

static int stream_send(struct netport *port, const struct frame *frames,
		       unsigned int n)
{
	struct qemu_stream *q = to_stream(port);
	int ret;

	if (!n)
		return -EAGAIN;
	mutex_lock(&q->lock);
	ret = send_locked(q, frames, n);
	mutex_unlock(&q->lock);
	return ret;
}

/* ---- receiving ---- */

/* Return: false if there is nothing to read. */
static bool read_more(struct qemu_stream *q) NEEDS(q->lock)
{
	size_t space;
	uint8_t *to = framestream_space(&q->in, &space);
	ssize_t n = recv(q->conn, to, space, MSG_DONTWAIT);

	if (n > 0) {
		framestream_filled(&q->in, (size_t)n);
		return true;
	}
	if (n == 0)
		lost(q, "closed by the peer");
	else if (!try_later(errno))
		lost(q, strerror(errno));
	return false;
}

static unsigned int recv_locked(struct qemu_stream *q, struct frame *frames,
				unsigned int n) NEEDS(q->lock)
{
	unsigned int i = 0;

	while (i < n && q->conn >= 0 && !q->connecting) {
		const uint8_t *eth;
		uint32_t len;
		int ret = framestream_next(&q->in, &eth, &len);
		char why[64];

		if (ret > 0) {
			frame_store(&frames[i++], q->rx.port.hdr_len, NULL, eth,
				    len);
		} else if (ret < 0) {
			snprintf(why, sizeof(why),
				 "it announced a frame of %u bytes", len);
			lost(q, why);
		} else if (!read_more(q)) {
			break;
		}
	}
	return i;
}

static int stream_recv(struct netport *port, struct frame *frames,
		       unsigned int n)
{
	struct qemu_stream *q = to_stream(port);
	unsigned int done;

	mutex_lock(&q->lock);
	done = recv_locked(q, frames, n);
	mutex_unlock(&q->lock);
	return done ? (int)done : -EAGAIN;
}

/* ---- ports ---- */

static void stream_close(struct netport *port)
{
	struct qemu_stream *q = to_stream(port);

	mutex_lock(&q->lock);
	if (port == &q->rx.port)
		q->rx_open = false;
	else
		q->tx_open = false;
	mutex_unlock(&q->lock);
}

static const struct netport_ops ops = {
	.name = "qemu",
	.send = stream_send,
	.recv = stream_recv,
	.close = stream_close,
};

static int stream_open(struct netif *s, unsigned int pair, struct netport **rx,
		       struct netport **tx)
{
	struct qemu_stream *q = container_of(s, struct qemu_stream, netif);
	int ret = start_stream_thread(q);

	(void)pair;
	if (ret < 0)
		return ret;
	mutex_lock(&q->lock);
	if (q->rx_open || q->tx_open) {
		mutex_unlock(&q->lock);
		return -EBUSY;
	}
	q->rx_open = q->tx_open = true;
	q->rx = (struct stream_port){ { .ops = &ops, .fd = q->rx_epoll }, q };
	q->tx = (struct stream_port){ { .ops = &ops, .fd = q->tx_event }, q };
	wake_sender(q);
	mutex_unlock(&q->lock);
	*rx = &q->rx.port;
	*tx = &q->tx.port;
	return 0;
}

/* ---- both ---- */

static int open_connection(struct qemu_stream *q, const struct qemu_config *c)
{
	int ret;

	q->rx_epoll = epoll_create1(EPOLL_CLOEXEC);
	q->tx_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->rx_epoll < 0 || q->tx_event < 0 || q->kick < 0)
		return -EMFILE;
	if (c->fd >= 0) {
		ret = netaddr_connected(c->fd, SOCK_STREAM);
		if (ret < 0)
			return ret;
		mutex_lock(&q->lock);
		q->conn = c->fd;
		on_connected(q);
		mutex_unlock(&q->lock);
		return 0;
	}
	q->remote = c->remote;
	return c->local.len
		       ? netaddr_listen(&c->local, SOCK_STREAM, &q->listener)
		       : 0;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void stream_free(struct netif *s)
{
	struct qemu_stream *q = container_of(s, struct qemu_stream, netif);

	if (q->has_thread) {
		mutex_lock(&q->lock);
		q->stop = true;
		mutex_unlock(&q->lock);
		evfd_signal(q->kick);
		pthread_join(q->thread, NULL);
	}
	close_if_open(q->conn);
	close_if_open(q->rx_epoll);
	close_if_open(q->tx_event);
	close_if_open(q->kick);
	unix_listener_close(&q->listener);
	mutex_destroy(&q->lock);
	free(q);
}

int qemu_stream_new(const struct qemu_config *config, struct netif **out)
{
	static const struct netif_ops netif_ops = {
		.open_both = stream_open,
		.free = stream_free,
	};
	struct qemu_stream *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return -ENOMEM;
	q->netif.ops = &netif_ops;
	mutex_init(&q->lock);
	log_limit_init(&q->limit, LOG_LINES_SESSION, &log_limit_all);
	q->tag = config->tag;
	q->listener.fd = q->conn = -1;
	ret = open_connection(q, config);
	if (ret < 0)
		stream_free(&q->netif);
	else
		*out = &q->netif;
	return ret;
}
