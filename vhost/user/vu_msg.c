/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_msg.c sends and receives vhost-user messages on a stream socket. It reads
 * hostile bytes. Descriptors may arrive with any byte, so every read collects
 * them into the message, which owns them. They are allowed only with the first
 * bytes of a message (vhost-user.rst, Communication).
 */
#include "vu_msg.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "bytes.h"
#include "clock.h"
#include "fd.h"
#include "fdsend.h"

/* Space for more than the allowed number, so that an excess is detected. */
#define FDS_BUF ((size_t)4 * VU_FDS)

void vu_msg_init(struct vu_msg *m, uint32_t request)
{
	memset(m, 0, sizeof(*m));
	m->hdr.request = request;
	m->hdr.flags = VU_VERSION;
}

int vu_msg_take_fd(struct vu_msg *m, unsigned int i)
{
	int fd;

	if (i >= m->nfds)
		return -1;
	fd = m->fds[i];
	m->fds[i] = -1;
	return fd;
}

void vu_msg_close_fds(struct vu_msg *m)
{
	for (unsigned int i = 0; i < m->nfds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	m->nfds = 0;
}

void vu_endpoint_init(struct vu_endpoint *e, int sock)
{
	memset(e, 0, sizeof(*e));
	e->sock = sock;
}

void vu_endpoint_close(struct vu_endpoint *e)
{
	vu_msg_close_fds(&e->m);
	fd_drop(&e->sock);
	e->have = 0;
}

/* 0 or -ETIMEDOUT; the next call on the socket returns its errors. */
static int wait_until(int sock, short events, int64_t deadline)
{
	struct pollfd p = { .fd = sock, .events = events };

	for (;;) {
		int64_t left = deadline < 0 ? -1 : deadline - now_ms();
		int n;

		if (deadline >= 0 && left < 0)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)MIN(left, INT64_C(60000)));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int64_t deadline_after(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
}

/* ---- receiving ---- */

static int collect_fds(struct vu_msg *m, struct msghdr *mh)
{
	struct cmsghdr *c;
	int ret = mh->msg_flags & MSG_CTRUNC ? -EMFILE : 0;

	for (c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->nfds < VU_FDS) {
				m->fds[m->nfds++] = fd;
				continue;
			}
			close(fd);
			ret = -EPROTO;
		}
	}
	return ret;
}

/* Reads up to @len bytes of the message to @to. */
static ssize_t read_some(struct vu_endpoint *e, void *to, size_t len)
{
	union {
		char buf[CMSG_SPACE(FDS_BUF * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { to, len };
	struct msghdr mh = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	unsigned int before;
	ssize_t n;
	int ret;

	do
		n = recvmsg(e->sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	before = e->m.nfds;
	ret = collect_fds(&e->m, &mh);
	if (ret == 0 && e->have && e->m.nfds != before)
		ret = -EPROTO;
	if (ret < 0)
		return ret;
	return n ? n : -ECONNRESET;
}

static int check_hdr(const struct vu_hdr *hdr)
{
	if ((hdr->flags & VU_VERSION_MASK) != VU_VERSION)
		return -EPROTO;
	return hdr->size > sizeof(union vu_payload) ? -EMSGSIZE : 0;
}

int vu_recv(struct vu_endpoint *e, struct vu_msg *m)
{
	const size_t hdr = sizeof(e->m.hdr);

	for (;;) {
		uint8_t *to = (uint8_t *)&e->m.hdr + e->have;
		size_t want = hdr - e->have;
		ssize_t n;
		int ret;

		if (e->have >= hdr) {
			ret = check_hdr(&e->m.hdr);
			if (ret < 0)
				return ret;
			to = e->m.payload.bytes + (e->have - hdr);
			want = hdr + e->m.hdr.size - e->have;
			if (want == 0)
				break;
		}
		n = read_some(e, to, want);
		if (n < 0)
			return (int)n;
		e->have += (size_t)n;
	}
	*m = e->m;
	memset(&e->m, 0, sizeof(e->m));
	e->have = 0;
	return 0;
}

int vu_recv_wait(struct vu_endpoint *e, struct vu_msg *m, int timeout_ms)
{
	int64_t deadline = deadline_after(timeout_ms);

	for (;;) {
		int ret = vu_recv(e, m);

		if (ret != -EAGAIN)
			return ret;
		ret = wait_until(e->sock, POLLIN, deadline);
		if (ret < 0)
			return ret;
	}
}

/* ---- sending ---- */

/* Descriptors are sent with the first byte, and only with that. */
static ssize_t write_some(struct vu_endpoint *e, const struct vu_msg *m,
			  size_t done)
{
	union {
		char buf[CMSG_SPACE(VU_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	uint8_t flat[sizeof(m->hdr) + sizeof(m->payload)];
	struct iovec iov = { flat + done, sizeof(m->hdr) + m->hdr.size - done };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	memcpy(flat, &m->hdr, sizeof(m->hdr));
	memcpy(flat + sizeof(m->hdr), &m->payload, m->hdr.size);
	if (!done && m->nfds) {
		memset(&control, 0, sizeof(control));
		fd_attach(&mh, &control.align, m->fds, m->nfds);
	}
	do
		n = fdsend(e->sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -ECONNRESET;
	return n;
}

int vu_send(struct vu_endpoint *e, const struct vu_msg *m, int timeout_ms)
{
	int64_t deadline = deadline_after(timeout_ms);
	size_t len = sizeof(m->hdr) + m->hdr.size, done = 0;

	while (done < len) {
		ssize_t n = write_some(e, m, done);
		int ret;

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (n != -EAGAIN)
			return (int)n;
		if (!done && timeout_ms == 0)
			return -EAGAIN;
		ret = wait_until(e->sock, POLLOUT, deadline);
		if (ret < 0)
			return ret;
	}
	return 0;
}
