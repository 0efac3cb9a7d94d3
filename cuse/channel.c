/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.c opens CUSE channels, reads messages and checks their sizes.
 *
 * Two threads use the descriptor: the loop's thread reads from it, and any
 * thread has libfuse write replies to it. If the write of a reply fails, the
 * reply is lost and its caller waits without end. So a write waits while a
 * socket is full: the socket is in blocking mode with a send timeout, and reads
 * use MSG_DONTWAIT. A write to /dev/cuse never waits. There O_NONBLOCK concerns
 * reads only: if the caller is killed between epoll_wait(2) and read(2), the
 * request is gone.
 */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

#include "log.h"

#define CUSE_PATH "/dev/cuse"
#define CUSE_RDEV makedev(10, 203)

/* Field total_extlen of struct fuse_in_header: 16 bits, in units of 8 bytes.
 * Older headers call it padding. libfuse after 3.18 parses that much at the end
 * of a message. */
#define EXT_LEN_OFFSET 36
#define EXT_LEN_UNIT 8

/* libfuse answers it with ENOSYS and does not read the arguments. */
#define OPCODE_UNKNOWN UINT32_MAX

static int cuse_open(void)
{
	int fd = open(CUSE_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int err = errno;

	if (fd >= 0)
		return fd;
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		log_err(NULL,
			"%s: %s: run 'modprobe cuse' (Debian: part of "
			"the kernel package; Fedora, RHEL: "
			"kernel-modules-extra)",
			CUSE_PATH, strerror(err));
		break;
	case EACCES:
	case EPERM:
		log_err(NULL,
			"%s: %s: user %u may not make devices. Run as "
			"root, or give %s to a group of uvhostd's own "
			"(60-uvhostd.rules)",
			CUSE_PATH, strerror(err), getuid(), CUSE_PATH);
		break;
	default:
		log_err(NULL, "%s: %s", CUSE_PATH, strerror(err));
	}
	return -err;
}

static int socket_prepare(int fd, int flags)
{
	const struct timeval wait = { .tv_sec = CHANNEL_SEND_WAIT_S };
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	/* Other types merge messages (stream) or lose them (datagram). */
	if (type != SOCK_SEQPACKET)
		return -EPROTOTYPE;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static int adopt(int fd, bool *real)
{
	struct stat st;
	int flags, ret;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*real = S_ISCHR(st.st_mode) && st.st_rdev == CUSE_RDEV;
	if (*real)
		ret = fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
	else if (S_ISSOCK(st.st_mode))
		ret = socket_prepare(fd, flags);
	else
		ret = -EPROTOTYPE;
	return ret;
}

int channel_open(int fd, bool *real)
{
	int ret;

	*real = true;
	if (fd < 0)
		return cuse_open();
	ret = adopt(fd, real);
	if (ret == 0)
		return fd;
	if (ret == -EPROTOTYPE)
		log_err(NULL, "--cuse-fd %d: neither %s nor a SEQPACKET socket",
			fd, CUSE_PATH);
	else
		log_err(NULL, "--cuse-fd %d: %s", fd, strerror(-ret));
	return ret;
}

ssize_t channel_read(int fd, bool real, void *buf, size_t size)
{
	ssize_t n;

	do
		n = real ? read(fd, buf, size)
			 : recv(fd, buf, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	/* ENOENT: the caller was interrupted before the request was read. */
	if (errno == EAGAIN || errno == ENOENT)
		return -EAGAIN;
	return errno == ENODEV || errno == ECONNRESET ? 0 : -errno;
}

bool channel_message_check(void *buf, size_t len)
{
	struct fuse_in_header *in = buf;
	const void *arg = in + 1;
	uint16_t ext;
	size_t rest;

	if (len < sizeof(*in) || in->len != len)
		return false;
	rest = len - sizeof(*in);
	memcpy(&ext, (const char *)buf + EXT_LEN_OFFSET, sizeof(ext));
	if ((size_t)ext * EXT_LEN_UNIT > rest)
		return false;
	switch (in->opcode) {
	case CUSE_INIT:
		return rest >= sizeof(struct cuse_init_in);
	case FUSE_OPEN:
		return rest >= sizeof(struct fuse_open_in);
	case FUSE_READ:
		return rest >= sizeof(struct fuse_read_in);
	case FUSE_WRITE: {
		const struct fuse_write_in *w = arg;

		return rest >= sizeof(*w) && rest - sizeof(*w) >= w->size;
	}
	case FUSE_IOCTL: {
		const struct fuse_ioctl_in *i = arg;

		return rest >= sizeof(*i) && rest - sizeof(*i) >= i->in_size;
	}
	case FUSE_POLL:
		return rest >= sizeof(struct fuse_poll_in);
	case FUSE_RELEASE:
		return rest >= sizeof(struct fuse_release_in);
	case FUSE_INTERRUPT:
		return rest >= sizeof(struct fuse_interrupt_in);
	default:
		in->opcode = OPCODE_UNKNOWN;
		return true;
	}
}
