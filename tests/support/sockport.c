/* SPDX-License-Identifier: BSD-3-Clause */
#include "sockport.h"

#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kcmp.h>

#include "bytes.h"
#include "portutil.h"

#define BORROW_MAX 512

_Thread_local struct sockport_script sockport;

void sockport_pair(int fds[2])
{
	check_ret(socketpair(AF_UNIX,
			     SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			     fds),
		  0);
}

unsigned int sockport_stuff(int fd)
{
	char byte = 0;
	unsigned int n = 0;

	while (send(fd, &byte, 1, MSG_DONTWAIT) == 1)
		n++;
	assert_int_equal(errno, EAGAIN);
	return n;
}

void sockport_unstuff(int fd, unsigned int n)
{
	char byte;

	while (n--)
		check_ret(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
}

static int send_one(struct netport *port, const struct frame *f)
{
	struct msghdr msg = { .msg_iov = f->iov, .msg_iovlen = f->iovcnt };

	if (sockport.refuse) {
		sockport.refuse--;
		port_drop(port, f, 1);
		return 0;
	}
	if (sendmsg(port->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EAGAIN)
		return -EAGAIN;
	port_drop(port, f, 1);
	return 0;
}

/* As struct netport.tx_own promises. */
static void write_to(const struct frame *f)
{
	uint8_t *p = f->iov[0].iov_base;

	assert_int_equal((uintptr_t)p % 8, 0);
	for (unsigned int k = 1; k < f->iovcnt; k++)
		assert_ptr_equal(f->iov[k].iov_base,
				 (uint8_t *)f->iov[k - 1].iov_base +
					 f->iov[k - 1].iov_len);
	memset(p, 0xee, f->len);
}

static int sock_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	unsigned int i;

	assert_int_not_equal(n, 0);
	sockport.sends++;
	sockport.tx_own = port->tx_own;
	sockport.hdr_len = port->hdr_len;
	if (sockport.send_most)
		n = MIN(n, sockport.send_most);
	for (i = 0; i < n; i++) {
		size_t len = 0;

		/* what netport.h promises to a port */
		assert_in_range(frames[i].iovcnt, 1, 1024);
		for (unsigned int k = 0; k < frames[i].iovcnt; k++)
			len += frames[i].iov[k].iov_len;
		assert_int_equal(len, frames[i].len);
		if (send_one(port, &frames[i]) < 0)
			break;
		if (port->tx_own)
			write_to(&frames[i]);
	}
	sockport.longest = MAX(sockport.longest, i);
	return i ? (int)i : -EAGAIN;
}

static int sock_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	unsigned int i;

	assert_int_not_equal(n, 0);
	sockport.recvs++;
	sockport.hdr_len = port->hdr_len;
	for (i = 0; i < n; i++) {
		struct msghdr msg = { .msg_iov = frames[i].iov,
				      .msg_iovlen = frames[i].iovcnt };
		ssize_t len = recvmsg(port->fd, &msg, MSG_DONTWAIT);

		if (len <= 0)
			break;
		frames[i].len = (uint32_t)len;
		frames[i].trunc = msg.msg_flags & MSG_TRUNC;
	}
	return i ? (int)i : -EAGAIN;
}

static void sock_close(struct netport *port)
{
	close(port->fd);
	free(port);
	sockport.ports--;
}

/* ---- frames that are borrowed ---- */

/* Borrowed are the first of @frames. */
struct borrow_port {
	struct netport port;
	struct iovec frames[BORROW_MAX];
	unsigned int n;
};

static bool read_one(struct borrow_port *l)
{
	struct iovec *iov = &l->frames[l->n];
	ssize_t len =
		recv(l->port.fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	if (len <= 0 || l->n == BORROW_MAX)
		return false;
	*iov = (struct iovec){ malloc((size_t)len), (size_t)len };
	assert_non_null(iov->iov_base);
	check_ret(recv(l->port.fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT),
		  (int)len);
	l->n++;
	return true;
}

static int borrow_port_borrow(struct netport *port, struct iovec *frames,
			      unsigned int n)
{
	struct borrow_port *l = container_of(port, struct borrow_port, port);

	assert_int_not_equal(n, 0);
	sockport.recvs++;
	sockport.hdr_len = port->hdr_len;
	while (l->n < n && read_one(l))
		continue;
	n = MIN(n, l->n);
	memcpy(frames, l->frames, n * sizeof(*frames));
	return n ? (int)n : -EAGAIN;
}

static void borrow_port_release(struct netport *port, unsigned int n)
{
	struct borrow_port *l = container_of(port, struct borrow_port, port);

	assert_in_range(n, 0, l->n);
	for (unsigned int i = 0; i < n; i++)
		free(l->frames[i].iov_base);
	l->n -= n;
	memmove(l->frames, l->frames + n, l->n * sizeof(l->frames[0]));
}

static int borrow_port_recv(struct netport *port, struct frame *frames,
			    unsigned int n)
{
	/* what lies here is in a form of its own */
	assert_int_equal(container_of(port, struct borrow_port, port)->n, 0);
	return sock_recv(port, frames, n);
}

static void borrow_port_close(struct netport *port)
{
	borrow_port_release(port,
			    container_of(port, struct borrow_port, port)->n);
	sock_close(port);
}

static const struct netport_ops borrow_port_ops = {
	.name = "borrow",
	.send = sock_send,
	.recv = borrow_port_recv,
	.borrow = borrow_port_borrow,
	.release = borrow_port_release,
	.close = borrow_port_close,
};

static const struct netport_ops sock_ops = {
	.name = "sock",
	.send = sock_send,
	.recv = sock_recv,
	.close = sock_close,
};

int netport_from_fd(int fd, struct netport **out)
{
	struct borrow_port *l;
	struct stat st;

	if (sockport.fd_error)
		return sockport.fd_error;
	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->port.ops = sockport.borrowed ? &borrow_port_ops : &sock_ops;
	l->port.fd = fd;
	sockport.ports++;
	*out = &l->port;
	return 0;
}

bool netport_same_fd(int a, int b)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

void netport_majors(uint32_t major[NETPORT_MAJORS])
{
	memset(major, 0, NETPORT_MAJORS * sizeof(*major));
}

bool netport_is_device(uint32_t major, uint32_t minor,
		       const uint32_t macvtap[NETPORT_MAJORS])
{
	(void)major;
	(void)minor;
	(void)macvtap;
	return false; /* sockets only */
}
