/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of sockets, as text. */
#ifndef NETADDR_H
#define NETADDR_H

#include <sys/socket.h>

#include "unixsock.h"

/** NETADDR_SYNTAX - for errors and usage */
#define NETADDR_SYNTAX "unix:PATH or inet:IP:PORT"

/**
 * struct netaddr - an address
 * @len: bytes used of @ss; 0: no address
 */
struct netaddr {
	struct sockaddr_storage ss;
	socklen_t len;
};

/**
 * netaddr_parse() - unix:PATH, inet:IP:PORT with an IPv4 address, or an IPv6
 * one in brackets
 *
 * Names of hosts are not resolved, since that may block. Pure. Return: 0;
 * -ENAMETOOLONG (PATH); -EINVAL.
 */
int netaddr_parse(const char *text, struct netaddr *out);

/** netaddr_path() - the path of a unix address; NULL: another family */
const char *netaddr_path(const struct netaddr *a);

/**
 * netaddr_listen() - a socket that waits at @a; closed by unix_listener_close()
 * @type: SOCK_STREAM, or SOCK_DGRAM: nothing to accept
 *
 * Return: 0; as unix_listen(); -EADDRINUSE, -EADDRNOTAVAIL, ...
 */
int netaddr_listen(const struct netaddr *a, int type, struct unix_listener *l);

/**
 * netaddr_connect() - a non-blocking socket that is or gets connected to @a
 * Return: a descriptor, which polls EPOLLOUT when it is connected or failed;
 * -errno of connect(2).
 */
int netaddr_connect(const struct netaddr *a, int type);

/**
 * netaddr_connected() - whether @fd is a connected socket of @type
 * Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE (another type); -ENOTCONN.
 */
int netaddr_connected(int fd, int type);

#endif
