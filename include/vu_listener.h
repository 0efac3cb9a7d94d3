/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where connections of vhost-user, and of QEMU's network sockets, come from: a
 * socket in the file system that we listen on (server mode), one that we
 * connect to (client mode), or a descriptor that was handed over. Nothing here
 * blocks.
 */
#ifndef VU_LISTENER_H
#define VU_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

/**
 * struct vu_listener - a listening socket, and its name
 * @fd:   for epoll (EPOLLIN: a connection waits); -1 if closed
 * @path: "" if it was handed over: the name is not ours
 * @dev, @ino: of the name, to know it again
 */
struct vu_listener {
	int fd;
	char path[108]; /* sizeof(sun_path) */
	dev_t dev;
	ino_t ino;
};

/**
 * vu_listen() - make a socket called @path
 *
 * A name that a dead server left behind is replaced; one that somebody listens
 * on, or that is no socket, never is.
 *
 * Return: 0; -EADDRINUSE (a server lives there); -EEXIST (no socket);
 * -ENAMETOOLONG; -EACCES, -ENOENT, ... of the file system.
 */
int vu_listen(struct vu_listener *l, const char *path);

/** vu_bind() - vu_listen() for a socket of datagrams: nothing to accept */
int vu_bind(struct vu_listener *l, const char *path);

/**
 * vu_listen_fd() - serve a listening socket that was handed over
 * @fd: owned on success
 * Return: 0; -ENOTSOCK; -EINVAL (not a listening unix stream socket).
 */
int vu_listen_fd(struct vu_listener *l, int fd);

/** vu_fd_listens() - is @fd a listening socket? */
bool vu_fd_listens(int fd);

/**
 * vu_accept() - the next connection
 * Return: a descriptor; -EAGAIN (none); -EMFILE, ...
 */
int vu_accept(struct vu_listener *l);

/** vu_listener_close() - close it; its name goes if it still is ours */
void vu_listener_close(struct vu_listener *l);

/** vu_address() - 0; -ENOENT (empty name); -ENAMETOOLONG */
int vu_address(const char *path, struct sockaddr_un *addr);

/**
 * vu_connect() - client mode: connect to a server called @path
 * Return: a descriptor; -ENOENT, -ECONNREFUSED, -EAGAIN (its queue is full):
 * try again later; -ENAMETOOLONG, -EACCES, ...
 */
int vu_connect(const char *path);

#endif
