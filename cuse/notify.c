/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.c sends messages to the service manager, with descriptors or without.
 */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "fd.h"

/* How long notify_send_fds() waits for space in the socket. */
#define SEND_WAIT_S 2

bool notify_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > NOTIFY_NAME_MAX)
		return false;
	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c >= 127 || *c == ':')
			return false;
	return true;
}

/* @addr: the address in NOTIFY_SOCKET. Return: 1; 0: it is not set; -EINVAL. */
static int notify_address(struct sockaddr_un *addr, socklen_t *addr_len)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len;

	if (!path || !*path)
		return 0;
	len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(addr->sun_path))
		return -EINVAL;
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(addr->sun_path, path, len);
	if (path[0] == '@')
		addr->sun_path[0] = '\0'; /* abstract */
	*addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 1;
}

static int send_state(const char *state, const int *fds, unsigned int n,
		      int flags)
{
	union {
		char bytes[CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int))];
		struct cmsghdr hdr;
	} control = { 0 };
	const struct timeval wait = { .tv_sec = SEND_WAIT_S };
	struct sockaddr_un addr;
	struct iovec iov = { (void *)(uintptr_t)state, strlen(state) };
	struct msghdr msg = { .msg_name = &addr,
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };
	int fd, ret;

	ret = notify_address(&addr, &msg.msg_namelen);
	if (ret <= 0)
		return ret;
	if (n > NOTIFY_FDS_MAX)
		return -E2BIG;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (n)
		fd_attach(&msg, &control.hdr, fds, n);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (sendmsg(fd, &msg, MSG_NOSIGNAL | flags) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int notify_send(const char *state)
{
	return send_state(state, NULL, 0, MSG_DONTWAIT);
}

int notify_send_fds(const char *state, const int *fds, unsigned int n)
{
	return send_state(state, fds, n, 0);
}
