/* SPDX-License-Identifier: BSD-3-Clause */
/* netaddr.c parses addresses of sockets, and listens and connects. */
#include "netaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "parse.h"

static int parse_unix(const char *path, struct netaddr *out)
{
	int ret = unix_address(path, (struct sockaddr_un *)&out->ss);

	out->len = sizeof(struct sockaddr_un);
	return ret == -ENOENT ? -EINVAL : ret;
}

static int parse_port(const char *text, in_port_t *port)
{
	uint64_t n;

	if (parse_number(text, 1, 65535, &n) < 0)
		return -EINVAL;
	*port = htons((uint16_t)n);
	return 0;
}

static int parse_inet(const char *text, struct netaddr *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&out->ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->ss;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!len || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			return -EINVAL;
		in6->sin6_family = AF_INET6;
		out->len = sizeof(*in6);
		return parse_port(colon + 1, &in6->sin6_port);
	}
	if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
		return -EINVAL;
	in->sin_family = AF_INET;
	out->len = sizeof(*in);
	return parse_port(colon + 1, &in->sin_port);
}

int netaddr_parse(const char *text, struct netaddr *out)
{
	struct netaddr a = { 0 };
	int ret = -EINVAL;

	if (strncmp(text, "unix:", 5) == 0)
		ret = parse_unix(text + 5, &a);
	else if (strncmp(text, "inet:", 5) == 0)
		ret = parse_inet(text + 5, &a);
	if (ret == 0)
		*out = a;
	return ret;
}

const char *netaddr_path(const struct netaddr *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;

	return a->len && un->sun_family == AF_UNIX ? un->sun_path : NULL;
}

static int new_addr_socket(const struct netaddr *a, int type)
{
	int fd =
		socket(a->ss.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* A server that starts again finds connections of the last one in TIME_WAIT;
 * with datagrams the option would let two servers share an address. */
static int listen_inet(int fd, const struct netaddr *a, int type)
{
	const int one = 1;

	if (type == SOCK_STREAM &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&a->ss, a->len) < 0)
		return -errno;
	return type == SOCK_STREAM && listen(fd, 8) < 0 ? -errno : 0;
}

int netaddr_listen(const struct netaddr *a, int type, struct unix_listener *l)
{
	const char *path = netaddr_path(a);
	int fd, ret;

	if (path)
		return type == SOCK_DGRAM ? unix_bind(l, path)
					  : unix_listen(l, path);
	fd = new_addr_socket(a, type);
	if (fd < 0)
		return fd;
	ret = listen_inet(fd, a, type);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	memset(l, 0, sizeof(*l));
	l->fd = fd;
	return 0;
}

int netaddr_connect(const struct netaddr *a, int type)
{
	int fd = new_addr_socket(a, type);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&a->ss, a->len) < 0 &&
	    errno != EINPROGRESS) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

int netaddr_connected(int fd, int type)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int is = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &is,
		       &(socklen_t){ sizeof(is) }) < 0)
		return -errno;
	if (is != type)
		return -EPROTOTYPE;
	return getpeername(fd, (struct sockaddr *)&ss, &len) < 0 ? -errno : 0;
}
