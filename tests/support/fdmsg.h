/* SPDX-License-Identifier: BSD-3-Clause */
/* fdmsg.h sends and receives descriptors over a unix socket. */
#ifndef FDMSG_H
#define FDMSG_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "fd.h"

/** FDMSG_MAX - descriptors of a message (SCM_MAX_FD) */
#define FDMSG_MAX 253

/**
 * fdmsg_send() - one message
 * @len:   bytes of @buf, not 0
 * @nfds:  entries of @fds, at most FDMSG_MAX; they stay the caller's
 * @flags: of sendmsg(2), MSG_NOSIGNAL goes without saying
 *
 * Return: bytes that went, or -errno.
 */
static inline ssize_t fdmsg_send(int sock, const void *buf, size_t len,
				 const int *fds, unsigned int nfds, int flags)
{
	union {
		char bytes[CMSG_SPACE(FDMSG_MAX * sizeof(int))];
		struct cmsghdr hdr;
	} control;
	struct iovec iov = { (void *)(uintptr_t)buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds) {
		memset(&control, 0, sizeof(control));
		fd_attach(&msg, &control.hdr, fds, nfds);
	}
	n = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/**
 * fdmsg_recv() - a message with one descriptor, which is the caller's
 * @flags: of recvmsg(2)
 *
 * Return: the descriptor; -EPIPE (no peer), -EPROTO (none with it).
 */
static inline int fdmsg_recv(int sock, void *buf, size_t len, int flags)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr hdr;
	} control = { 0 };
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &msg, flags) <= 0)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

#endif
