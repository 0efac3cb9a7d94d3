/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unixsock.c makes, connects and checks unix sockets.
 *
 * A name appears only when its socket listens: the socket is bound to a
 * temporary name in the same folder, which is then renamed. So each process
 * that sees the name can connect, and a name that refuses connections has no
 * server.
 */
#include "unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Connections that may wait: the first is served, others are refused. */
#define BACKLOG 8

int unix_address(const char *path, struct sockaddr_un *addr)
{
	size_t len = strlen(path);

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (len == 0)
		return -ENOENT;
	if (len >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(addr->sun_path, path, len + 1);
	return 0;
}

static int new_unix_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static int connect_to(const char *path, int type)
{
	struct sockaddr_un addr;
	int fd, ret = unix_address(path, &addr);

	if (ret < 0)
		return ret;
	fd = new_unix_socket(type);
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

int unix_connect(const char *path)
{
	return connect_to(path, SOCK_STREAM);
}

/* Return: 0 if the name is free, or has no server and may be replaced (@dead).
 */
static int check_name(const char *path, int type, bool *dead)
{
	struct stat st;
	int fd;

	*dead = false;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = connect_to(path, type);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return -EADDRINUSE; /* it has a server, or that is not known */
	*dead = true;
	return 0;
}

static int publish_name(const char *from, const char *to, bool replace)
{
	if (replace)
		return rename(from, to) == 0 ? 0 : -errno;
	/* Unlike rename() this never replaces, on any file system. */
	if (link(from, to) == 0) {
		unlink(from);
		return 0;
	}
	return errno == EEXIST ? -EADDRINUSE : -errno;
}

static int bind_as(struct unix_listener *l, const char *temp, const char *path,
		   int type, bool replace)
{
	struct sockaddr_un addr;
	struct stat st;
	int ret = unix_address(temp, &addr);

	if (ret < 0)
		return ret;
	unlink(temp); /* of an earlier process with the same pid */
	if (bind(l->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	ret = -EIO;
	if ((type == SOCK_DGRAM || listen(l->fd, BACKLOG) == 0) &&
	    lstat(temp, &st) == 0)
		ret = publish_name(temp, path, replace);
	if (ret < 0) {
		unlink(temp);
		return ret;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

static int listen_at(struct unix_listener *l, const char *path, int type)
{
	char temp[sizeof(l->path)];
	bool dead;
	int ret;

	l->fd = -1;
	if (snprintf(l->path, sizeof(l->path), "%s", path) >=
		    (int)sizeof(l->path) ||
	    snprintf(temp, sizeof(temp), "%s.%d", path, (int)getpid()) >=
		    (int)sizeof(temp))
		return -ENAMETOOLONG;
	ret = check_name(path, type, &dead);
	if (ret < 0)
		return ret;
	l->fd = new_unix_socket(type);
	if (l->fd < 0)
		return l->fd;
	ret = bind_as(l, temp, path, type, dead);
	if (ret < 0) {
		close(l->fd);
		l->fd = -1;
	}
	return ret;
}

int unix_listen(struct unix_listener *l, const char *path)
{
	return listen_at(l, path, SOCK_STREAM);
}

int unix_bind(struct unix_listener *l, const char *path)
{
	return listen_at(l, path, SOCK_DGRAM);
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0)
		return -errno;
	return value;
}

bool unix_fd_listens(int fd)
{
	return socket_option(fd, SO_ACCEPTCONN) == 1;
}

int unix_listen_fd(struct unix_listener *l, int fd)
{
	int domain = socket_option(fd, SO_DOMAIN), flags;

	if (domain < 0)
		return domain == -EBADF ? -EBADF : -ENOTSOCK;
	if (domain != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM ||
	    !unix_fd_listens(fd))
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	memset(l, 0, sizeof(*l));
	l->fd = fd;
	return 0;
}

int unix_listen_adopt(struct unix_listener *l, int fd, const char *path)
{
	struct stat st;
	int ret;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -ENOENT;
	ret = unix_listen_fd(l, fd);
	if (ret < 0)
		return ret;
	snprintf(l->path, sizeof(l->path), "%s", path);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int unix_accept(struct unix_listener *l)
{
	for (;;) {
		int fd = accept4(l->fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			return fd;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return -EAGAIN;
		if (errno != EINTR && errno != ECONNABORTED)
			return -errno;
	}
}

void unix_listener_leave(struct unix_listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void unix_listener_close(struct unix_listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (l->path[0] && lstat(l->path, &st) == 0 && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}
