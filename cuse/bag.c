/* SPDX-License-Identifier: BSD-3-Clause */
/* bag.c keeps descriptors in a message that waits in a socket pair (bag.h). */
#include "bag.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "fd.h"
#include "fdsend.h"

/* The bytes of a message. */
struct bag_label {
	uint64_t magic;
	uint64_t number;
};

#define MAGIC UINT64_C(0x6761627476687675) /* "uvhstbag" */

union control {
	char bytes[CMSG_SPACE(BAG_FDS_MAX * sizeof(int))];
	struct cmsghdr hdr;
};

int bag_open(struct bag *b)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, pair) < 0)
		return -errno;
	*b = (struct bag){ .in = pair[0], .out = pair[1] };
	return 0;
}

void bag_close(struct bag *b)
{
	close(b->in);
	close(b->out);
	*b = (struct bag){ .in = -1, .out = -1 };
}

int bag_fill(struct bag *b, uint64_t number, const int *fds, unsigned int n)
{
	struct bag_label label = { MAGIC, number };
	struct iovec iov = { &label, sizeof(label) };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n == 0 || n > BAG_FDS_MAX)
		return -EINVAL;
	fd_attach(&msg, &control.hdr, fds, n);
	if (fdsend(b->in, &msg, MSG_NOSIGNAL) < 0)
		return -errno;
	b->messages++;
	return 0;
}

static void drop_until(struct bag *b, unsigned int left)
{
	struct bag_label label;

	/* Received without space for descriptors: the kernel closes them. */
	while (b->messages > left &&
	       recv(b->out, &label, sizeof(label), MSG_DONTWAIT) > 0)
		b->messages--;
}

void bag_trim(struct bag *b)
{
	drop_until(b, 1);
}

void bag_empty(struct bag *b)
{
	drop_until(b, 0);
}

/* Return: number of descriptors in the message. */
static unsigned int take_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t len;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	len = c->cmsg_len - CMSG_LEN(0);
	memcpy(fds, CMSG_DATA(c), len);
	return (unsigned int)(len / sizeof(int));
}

/* Gets the message at the socket's peek offset, which advances. Return: number
 * of descriptors; -EAGAIN: there is no message; -EBADMSG: it is not one of a
 * bag. */
static int peek_next(int out, struct bag_label *label, int *fds)
{
	struct iovec iov = { label, sizeof(*label) };
	union control control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t len =
		recvmsg(out, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	unsigned int n;

	if (len < 0)
		return -errno;
	if (len == 0)
		return -EAGAIN; /* the other end is closed */
	n = take_fds(&msg, fds);
	if (len == sizeof(*label) && label->magic == MAGIC && n &&
	    !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return (int)n;
	while (n)
		close(fds[--n]);
	return -EBADMSG;
}

static int peek_rewind(int out)
{
	const int start = 0;

	return setsockopt(out, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof(start)) <
			       0
		       ? -errno
		       : 0;
}

/* A set offset would also apply to recv(2). */
static void peek_end(int out)
{
	const int off = -1;

	setsockopt(out, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
}

int bag_peek(const struct bag *b, uint64_t number, int *fds)
{
	struct bag_label label;
	int n = peek_rewind(b->out);

	while (n == 0) {
		n = peek_next(b->out, &label, fds);
		if (n < 0 || number == BAG_ANY || number == label.number)
			break;
		while (n)
			close(fds[--n]);
	}
	peek_end(b->out);
	return n == -EAGAIN ? -ENOENT : n;
}

static unsigned int count_messages(int out)
{
	struct bag_label label;
	unsigned int n = 0;

	if (peek_rewind(out) < 0)
		return 0;
	while (recv(out, &label, sizeof(label), MSG_PEEK | MSG_DONTWAIT) > 0)
		n++;
	peek_end(out);
	return n;
}

int bag_adopt(struct bag *b, const int ends[2])
{
	for (unsigned int i = 0; i < 2; i++) {
		unsigned int n = count_messages(ends[i]);

		if (!n)
			continue;
		*b = (struct bag){ ends[1 - i], ends[i], n };
		return 0;
	}
	return -ENOENT;
}
