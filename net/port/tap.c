/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap.c sends and receives the frames of taps, tuns and macvtaps: one read or
 * write a frame; io_uring batches measured slower.
 *
 * The descriptor is shared with the process that made it, which may change
 * O_NONBLOCK at any time, and the port must neither set it nor block. With
 * RWF_NOWAIT the flag does not matter, at no cost. Kernels whose taps lack it
 * (6.1 does, 6.12 has it) answer EOPNOTSUPP to the first call; from then on the
 * flag is read once a batch, and a blocking descriptor is polled before each
 * frame. A client that reads its own tap at the same time can still make such a
 * poll wrong, and its own worker wait.
 *
 * A read does not return the length of the frame, only how much of it fitted.
 * Where the buffer is shorter than the longest frame one more byte is read,
 * into
 * @spill: a frame that ends there did not fit.
 *
 * The VMM sets the length of the tap's virtio_net_hdr, and it should be the one
 * of the guest's features. Where it is not, the kernel's vhost-net loses every
 * frame to the guest (it expects another length), and frames from the guest
 * pass if the tap has no send limit. Here frames from the guest always pass.
 */
#include "netport.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "port_priv.h"

#define HDR_MAX sizeof(struct virtio_net_hdr_mrg_rxbuf)
/* The tap's header is longer than any known one. */
#define HDR_UNKNOWN UINT_MAX

/**
 * struct tap - a tap, tun or macvtap queue
 * @nowait:   RWF_NOWAIT works, or has not been tried
 * @blocking: without @nowait: O_NONBLOCK was clear when the batch began
 * @spill:    a byte that is read here did not fit
 * @file_hdr: bytes of virtio_net_hdr of the descriptor, read again while they
 *            differ from port.hdr_len
 * @hdr:      a header as the descriptor has it
 * @iov:      a frame's iov and @spill; or @hdr and the frame
 */
struct tap {
	struct netport port;
	bool nowait;
	bool blocking;
	char spill;
	unsigned int file_hdr;
	uint8_t hdr[HDR_MAX];
	struct iovec iov[UIO_MAXIOV];
};

static struct tap *to_tap(struct netport *port)
{
	return container_of(port, struct tap, port);
}

/* A descriptor that does not answer (a test's) has the length of the device. */
static unsigned int ask_file_hdr(const struct tap *t)
{
	struct ifreq ifr = { 0 };
	int len = 0;

	if (ioctl(t->port.fd, TUNGETIFF, &ifr) < 0)
		return t->port.hdr_len;
	if (!(ifr.ifr_flags & IFF_VNET_HDR))
		return 0;
	if (ioctl(t->port.fd, TUNGETVNETHDRSZ, &len) < 0)
		return t->port.hdr_len;
	return len <= (int)HDR_MAX ? (unsigned int)len : HDR_UNKNOWN;
}

static void batch_begin(struct tap *t)
{
	if (unlikely(!t->nowait))
		t->blocking = !(fcntl(t->port.fd, F_GETFL) & O_NONBLOCK);
	if (unlikely(t->file_hdr != t->port.hdr_len))
		t->file_hdr = ask_file_hdr(t);
}

/* The first call that finds RWF_NOWAIT missing also reads O_NONBLOCK for its
 * batch. */
static bool nowait_refused(struct tap *t)
{
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return false;
	t->nowait = false;
	batch_begin(t);
	return true;
}

/* A tap that is down does not poll writable, but refuses the frame at once
 * unless its send buffer is full, which it never is without a limit. */
static bool write_may_block(struct tap *t)
{
	int sndbuf;

	if (!t->blocking || port_polls(&t->port, POLLOUT))
		return false;
	return ioctl(t->port.fd, TUNGETSNDBUF, &sndbuf) < 0 ||
	       sndbuf != INT_MAX;
}

static ssize_t tap_writev(struct tap *t, const struct iovec *iov, int iovcnt)
{
	ssize_t n;

	if (likely(t->nowait)) {
		n = pwritev2(t->port.fd, iov, iovcnt, -1, RWF_NOWAIT);
		if (likely(n >= 0) || !nowait_refused(t))
			return n;
	}
	if (write_may_block(t)) {
		errno = EAGAIN;
		return -1;
	}
	return writev(t->port.fd, iov, iovcnt);
}

static ssize_t tap_readv(struct tap *t, const struct iovec *iov, int iovcnt)
{
	ssize_t n;

	if (likely(t->nowait)) {
		n = preadv2(t->port.fd, iov, iovcnt, -1, RWF_NOWAIT);
		if (likely(n >= 0) || !nowait_refused(t))
			return n;
	}
	if (t->blocking && !port_polls(&t->port, POLLIN)) {
		errno = EAGAIN;
		return -1;
	}
	return readv(t->port.fd, iov, iovcnt);
}

/* Sends a frame whose header is longer or shorter than the descriptor's. */
static ssize_t send_other_hdr(struct tap *t, const struct frame *f)
{
	unsigned int n = 0, hdr_len = t->port.hdr_len;

	if (f->len < hdr_len || f->iovcnt >= UIO_MAXIOV ||
	    t->file_hdr == HDR_UNKNOWN) {
		errno = EINVAL;
		return -1;
	}
	memset(t->hdr, 0, sizeof(t->hdr));
	frame_load(f, 0, t->hdr, MIN(hdr_len, t->file_hdr));
	if (t->file_hdr)
		t->iov[n++] = (struct iovec){ t->hdr, t->file_hdr };
	n += iov_from(f->iov, f->iovcnt, hdr_len, t->iov + n);
	return tap_writev(t, t->iov, (int)n);
}

static ssize_t send_one(struct tap *t, const struct frame *f)
{
	if (unlikely(t->file_hdr != t->port.hdr_len))
		return send_other_hdr(t, f);
	return tap_writev(t, f->iov, (int)f->iovcnt);
}

static int tap_send(struct netport *port, const struct frame *frames,
		    unsigned int n)
{
	struct tap *t = to_tap(port);
	unsigned int i;

	batch_begin(t);
	for (i = 0; i < n; i++) {
		if (likely(send_one(t, &frames[i]) >= 0))
			continue;
		if (try_later(errno))
			break;
		port_drop(port, &frames[i], 1);
	}
	return i ? (int)i : -EAGAIN;
}

/* 0, or -errno */
static int recv_one(struct tap *t, struct frame *f)
{
	size_t space = frame_space(f);
	bool exact = space >= NETPORT_FRAME_MAX; /* any frame fits */
	ssize_t len;

	if (exact || unlikely(f->iovcnt >= UIO_MAXIOV)) {
		len = tap_readv(t, f->iov, (int)f->iovcnt);
	} else {
		memcpy(t->iov, f->iov, f->iovcnt * sizeof(*f->iov));
		t->iov[f->iovcnt] = (struct iovec){ &t->spill, 1 };
		len = tap_readv(t, t->iov, (int)f->iovcnt + 1);
		exact = true;
	}
	if (unlikely(len < 0)) {
		if (!frame_lost(errno))
			return -errno;
		len = 0;
		f->trunc = true;
	} else {
		/* Without an entry for the spill byte a frame that just fits
		 * counts as one that did not. */
		f->trunc = exact ? (size_t)len > space : (size_t)len == space;
	}
	f->len = (uint32_t)MIN((size_t)len, space);
	if (unlikely(t->file_hdr != t->port.hdr_len)) {
		f->len = 0;
		f->trunc = true;
	}
	return 0;
}

static int tap_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct tap *t = to_tap(port);
	unsigned int i;
	int ret = -EAGAIN;

	batch_begin(t);
	for (i = 0; i < n; i++) {
		ret = recv_one(t, &frames[i]);
		if (ret < 0)
			break;
	}
	if (i)
		return (int)i;
	return try_later(-ret) || ret == -EIO || ret == -ENETDOWN ? -EAGAIN
								  : ret;
}

#define TAP_OPS(kind)                        \
	{                                    \
		.name = (kind),              \
		.send = tap_send,            \
		.recv = tap_recv,            \
		.has_frames = port_polls_in, \
		.close = port_free,          \
	}

static const struct netport_ops tap_ops[] = {
	[TAP_ETHERNET] = TAP_OPS("tap"),
	[TAP_L3] = TAP_OPS("tun"),
	[TAP_MACVTAP] = TAP_OPS("macvtap"),
};

int tap_port_new(int fd, enum tap_kind kind, struct netport **out)
{
	struct tap *t = port_new(sizeof(*t), &tap_ops[kind], fd);

	if (!t)
		return -ENOMEM;
	t->nowait = true;
	t->file_hdr = HDR_UNKNOWN;
	*out = &t->port;
	return 0;
}
