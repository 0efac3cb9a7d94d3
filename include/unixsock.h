/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unixsock.c makes unix sockets with a path: listening ones (server mode) and
 * connected ones (client mode). It also checks sockets that another program
 * opened and passed on. Nothing here blocks. vhost-user sockets and QEMU's
 * network sockets use it.
 */
#ifndef UNIXSOCK_H
#define UNIXSOCK_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

/**
 * struct unix_listener - a listening socket and its path
 * @fd:   for epoll (EPOLLIN: a connection waits); -1 if closed
 * @path: "" for a socket that was passed on: its path is not removed
 * @dev, @ino: of the file at @path, so that only our own one is removed
 */
struct unix_listener {
	int fd;
	char path[108]; /* sizeof(sun_path) */
	dev_t dev;
	ino_t ino;
};

/**
 * unix_listen() - make a listening socket at @path
 *
 * A socket file that no process listens on any more is replaced. Any other file
 * is left alone.
 *
 * Return: 0; -EADDRINUSE (a process listens there); -EEXIST (no socket file);
 * -ENAMETOOLONG; -EACCES, -ENOENT, ... of the file system.
 */
int unix_listen(struct unix_listener *l, const char *path);

/** unix_bind() - the same for a datagram socket; there is nothing to accept */
int unix_bind(struct unix_listener *l, const char *path);

/**
 * unix_listen_fd() - use a listening socket that was passed on
 * @fd: owned on success
 * Return: 0; -ENOTSOCK; -EINVAL (not a listening unix stream socket).
 */
int unix_listen_fd(struct unix_listener *l, int fd);

/**
 * unix_listen_adopt() - use the listening socket of an earlier process
 * @fd:   of unix_listen(), at @path; owned on success
 *
 * Return: 0; -ENOENT (there is no socket at @path any more); as
 * unix_listen_fd().
 */
int unix_listen_adopt(struct unix_listener *l, int fd, const char *path);

/** unix_fd_listens() - is @fd a listening socket? */
bool unix_fd_listens(int fd);

/**
 * unix_accept() - the next connection
 * Return: a descriptor; -EAGAIN (none); -EMFILE, ...
 */
int unix_accept(struct unix_listener *l);

/** unix_listener_close() - close it; remove its path if it is still our file */
void unix_listener_close(struct unix_listener *l);

/** unix_listener_leave() - close our descriptor of it: another one goes on */
void unix_listener_leave(struct unix_listener *l);

/** unix_address() - 0; -ENOENT (empty path); -ENAMETOOLONG */
int unix_address(const char *path, struct sockaddr_un *addr);

/**
 * unix_connect() - client mode: connect to the socket at @path
 *
 * Return: a descriptor; -ENOENT, -ECONNREFUSED, -EAGAIN (its backlog is full):
 * the caller may try again later; -ENAMETOOLONG, -EACCES, ...
 */
int unix_connect(const char *path);

#endif
