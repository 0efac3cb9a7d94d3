/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unixsock.c makes unix sockets with a name in the file system: listening ones
 * (server mode), connected ones (client mode), and checks of those that were
 * handed over. Nothing here blocks. vhost-user and QEMU's network sockets use
 * it.
 */
#ifndef UNIXSOCK_H
#define UNIXSOCK_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

/**
 * struct unix_listener - a listening socket, and its name
 * @fd:   for epoll (EPOLLIN: a connection waits); -1 if closed
 * @path: "" for a socket that was handed over: its name is not ours
 * @dev, @ino: of the name, to know it again
 */
struct unix_listener {
	int fd;
	char path[108]; /* sizeof(sun_path) */
	dev_t dev;
	ino_t ino;
};

/**
 * unix_listen() - make a socket called @path
 *
 * A name that a dead server left behind is replaced; one with a live server, or
 * of a file that is no socket, is not.
 *
 * Return: 0; -EADDRINUSE (a server lives there); -EEXIST (no socket);
 * -ENAMETOOLONG; -EACCES, -ENOENT, ... of the file system.
 */
int unix_listen(struct unix_listener *l, const char *path);

/** unix_bind() - unix_listen() for a socket of datagrams: nothing to accept */
int unix_bind(struct unix_listener *l, const char *path);

/**
 * unix_listen_fd() - serve a listening socket that was handed over
 * @fd: owned on success
 * Return: 0; -ENOTSOCK; -EINVAL (not a listening unix stream socket).
 */
int unix_listen_fd(struct unix_listener *l, int fd);

/** unix_fd_listens() - is @fd a listening socket? */
bool unix_fd_listens(int fd);

/**
 * unix_accept() - the next connection
 * Return: a descriptor; -EAGAIN (none); -EMFILE, ...
 */
int unix_accept(struct unix_listener *l);

/** unix_listener_close() - close it; its name goes if it still is ours */
void unix_listener_close(struct unix_listener *l);

/** unix_address() - 0; -ENOENT (empty name); -ENAMETOOLONG */
int unix_address(const char *path, struct sockaddr_un *addr);

/**
 * unix_connect() - client mode: connect to a server called @path
 * Return: a descriptor; -ENOENT, -ECONNREFUSED, -EAGAIN (its queue is full):
 * try again later; -ENAMETOOLONG, -EACCES, ...
 */
int unix_connect(const char *path);

#endif
