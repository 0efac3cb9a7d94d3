/* SPDX-License-Identifier: BSD-3-Clause */
/* manager.h gives a test the socket of a service manager (sd_notify(3)). */
#ifndef MANAGER_H
#define MANAGER_H

#include "check.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/** MANAGER_FDS_MAX - descriptors of a message that are received */
#define MANAGER_FDS_MAX 16
/** MANAGER_PATH_MAX - bytes of an address */
#define MANAGER_PATH_MAX 64

/**
 * manager_open() - a socket with an abstract address of this process
 * @path: MANAGER_PATH_MAX bytes, gets the value for NOTIFY_SOCKET
 *
 * Fails the test if there is none. Return: the socket.
 */
static inline int manager_open(char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = check_ok(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	snprintf(path, MANAGER_PATH_MAX, "@uvhost-test-manager-%d", getpid());
	strcpy(addr.sun_path, path);
	addr.sun_path[0] = '\0';
	check_ok(bind(fd, (struct sockaddr *)&addr,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				  strlen(path))));
	return fd;
}

/**
 * manager_next() - the next message
 * @text: gets it, as a string, in @size bytes
 * @fds:  gets its descriptors, which are the caller's: MANAGER_FDS_MAX
 *
 * Return: how many descriptors came with it; -1: there is no message.
 */
static inline int manager_next(int manager, char *text, size_t size, int *fds)
{
	union {
		char bytes[CMSG_SPACE(MANAGER_FDS_MAX * sizeof(int))];
		struct cmsghdr hdr;
	} control;
	struct iovec iov = { text, size - 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(manager, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (len < 0)
		return -1;
	text[len] = '\0';
	c = CMSG_FIRSTHDR(&msg);
	if (!c)
		return 0;
	memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

#endif
