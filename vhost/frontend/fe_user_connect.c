/* SPDX-License-Identifier: BSD-3-Clause */
/* fe_user_connect.c makes a connection of transport "user", as client or
 * server. */
#include "fe_user.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "clock.h"
#include "unixsock.h"

/* connect(2) fails at once if the backlog of the listener is full: repeats it.
 */
static int connect_until(const char *path, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	int sock;

	while ((sock = unix_connect(path)) == -EAGAIN || sock == -EINTR) {
		if (timeout_ms >= 0 && now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, 10);
	}
	return sock;
}

int uvh_user_connect(const char *path, int timeout_ms, struct uvh **out)
{
	int sock, ret;

	if (!path || !out)
		return -EINVAL;
	sock = connect_until(path,
			     timeout_ms ? timeout_ms : FE_USER_TIMEOUT_MS);
	if (sock < 0)
		return sock;
	ret = uvh_user_from_socket(sock, timeout_ms, out);
	if (ret < 0)
		close(sock);
	return ret;
}

static int accept_until(int listener, int timeout_ms)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int64_t end = now_ms() + timeout_ms;
	int n;

	do
		n = poll(&p, 1,
			 timeout_ms < 0 ? -1 : (int)MAX(end - now_ms(), 0));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	n = n < 0 ? n : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return n < 0 ? -errno : n;
}

int uvh_user_accept(const char *path, int timeout_ms, struct uvh **out)
{
	struct sockaddr_un addr;
	int listener, sock = -1, ret;

	if (!path || !out)
		return -EINVAL;
	ret = unix_address(path, &addr);
	if (ret < 0)
		return ret;
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return -errno;
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		ret = -errno;
		goto out_close;
	}
	ret = listen(listener, 1) < 0 ? -errno : 0;
	if (ret == 0)
		ret = accept_until(listener, timeout_ms ? timeout_ms
							: FE_USER_TIMEOUT_MS);
	unlink(path);
	if (ret >= 0) {
		sock = ret;
		ret = uvh_user_from_socket(sock, timeout_ms, out);
	}
	if (ret < 0 && sock >= 0)
		close(sock);
out_close:
	close(listener);
	return ret;
}
