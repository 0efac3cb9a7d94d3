/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port sends and receives the frames of a device, in batches. A frame on a
 * port starts with a struct virtio_net_hdr of port->hdr_len bytes (0: none),
 * then Ethernet. One thread uses a port at a time.
 *
 * The VMM sets the length of a tap's header (TUNSETVNETHDRSZ); as in the
 * kernel, a port does not change it. tap.c says what happens if it is not
 * hdr_len.
 */
#ifndef NETPORT_H
#define NETPORT_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/** NETPORT_FRAME_MAX - bytes of the longest frame any port can hand over:
 * 64 KiB of GSO frame with link header, and the longest virtio_net_hdr */
#define NETPORT_FRAME_MAX (65536 + 64 + 24)

/** NETPORT_ETH_MIN, NETPORT_ETH_MAX - bytes of the frames that ports generate,
 * header excluded: an Ethernet header to the largest GSO frame */
#define NETPORT_ETH_MIN 14
#define NETPORT_ETH_MAX 65550

/**
 * struct frame - one frame of a batch
 * @iov:    its bytes, in order (send), or a buffer for it (receive); borrowed
 * @iovcnt: entries of @iov, 1...1024
 * @len:    bytes: set by the caller for send, by the port for receive.
 *          A frame that did not fit has the bytes that were stored, and sets
 *          @trunc; 0 bytes if the buffer is shorter than the header, or not
 *          mapped
 * @trunc:  receive only: the frame was longer than its buffer
 */
struct frame {
	struct iovec *iov;
	unsigned int iovcnt;
	uint32_t len;
	bool trunc;
};

struct netport;

/** struct netport_ops - the operations of a kind of port */
struct netport_ops {
	const char *name; /* "tap", "tun", "macvtap", "packet", "null" */
	/*
	 * Send up to n frames, in order. A frame that the port rejects
	 * (malformed, link down) is dropped: counted in port->tx_dropped and
	 * part of the result. Return: frames accepted, 1...n, or -EAGAIN if not
	 * even the first can be sent now (wait for EPOLLOUT on port->fd).
	 */
	int (*send)(struct netport *port, const struct frame *frames,
		    unsigned int n);
	/*
	 * Receive up to n frames, one each into frames[i].iov. Never blocks.
	 * Return: frames received, 1...n, or -EAGAIN if there is none now
	 * (wait for EPOLLIN), or another -errno if the port is broken.
	 */
	int (*recv)(struct netport *port, struct frame *frames, unsigned int n);
	/*
	 * Optional, both or neither: frames in the port's own memory. borrow()
	 * gives the n oldest, each contiguous and with a whole header; they
	 * stay in the port at the same address, and borrow() gives them again,
	 * until release() removes the n oldest, which must have been borrowed.
	 * The borrower may write into the header. Return: as recv(), or
	 * -EOPNOTSUPP: not with this hdr_len, use recv().
	 */
	int (*borrow)(struct netport *port, struct iovec *frames,
		      unsigned int n);
	void (*release)(struct netport *port, unsigned int n);
	/*
	 * Optional: whether there is a frame to receive. Never blocks. After
	 * false the next frame makes port->fd readable (an edge).
	 */
	bool (*has_frames)(struct netport *port);
	void (*close)(struct netport *port); /* closes fd, frees port */
};

/**
 * struct netport - common part; embedded first in each kind
 * @ops:        operations of its kind
 * @fd:         for epoll; -1 means always ready (null port)
 * @hdr_len:    bytes of virtio_net_hdr of its frames: 0, 10 or 12; set by the
 *              device
 * @tx_own:     set by the sender: each frame of the next send() is contiguous,
 *              8-byte aligned and in private writable memory; send() may
 * rewrite its header and checksum, even of frames that it does not
 *              accept
 * @tx_dropped, @tx_dropped_bytes: frames that send() accepted and dropped, and
 *              their bytes without header (port_drop())
 * @more_refs:  references in addition to the first, which the constructor
 * returns
 */
struct netport {
	const struct netport_ops *ops;
	int fd;
	unsigned int hdr_len;
	bool tx_own;
	uint64_t tx_dropped, tx_dropped_bytes;
	unsigned int more_refs;
};

/**
 * netport_from_fd() - a port on a descriptor as VHOST_NET_SET_BACKEND takes it
 * @fd:  AF_PACKET SOCK_RAW socket, attached tap (or tun) queue, or macvtap. On
 *       success it belongs to the port (netport_close() closes it), on failure
 *       to the caller. Its file status flags are shared with the process that
 *       made it and are never changed.
 * @out: the port
 *
 * Return: 0, -ENOTSOCK (any other kind of file), -EINVAL (a /dev/net/tun
 * descriptor that is attached to no interface, or a packet socket with an error
 * pending), -ENOMEM.
 *
 * Source: drivers/vhost/net.c get_socket(); <linux/if_tun.h>;
 * <linux/if_packet.h>.
 */
int netport_from_fd(int fd, struct netport **out);

/** NETPORT_MAJORS - of macvtap and ipvtap, which differ from host to host */
#define NETPORT_MAJORS 2

/** netport_majors() - find them in /proc/devices; 0: there is none */
void netport_majors(uint32_t major[NETPORT_MAJORS]);

/** netport_is_device() - may netport_from_fd() take a character device with
 * these numbers? Makes no system call */
bool netport_is_device(uint32_t major, uint32_t minor,
		       const uint32_t macvtap[NETPORT_MAJORS]);

/**
 * netport_null_new() - a port that drops frames sent and generates frames
 * @frame_len: bytes of each generated frame, header excluded,
 *             NETPORT_ETH_MIN...NETPORT_ETH_MAX; 0: there is none
 * @copy:      copy all bytes of each frame
 *
 * With @copy, frames sent are copied to memory of the port, and generated
 * frames are copied from there, as by a backend with packet buffers of its own.
 * Without, only the first 64 bytes of a generated frame are written, and every
 * cache line sent is loaded once, so that a benchmark of the path before the
 * port includes the memory access.
 *
 * Return: 0, -EINVAL (@frame_len) or -ENOMEM.
 */
int netport_null_new(unsigned int frame_len, bool copy, struct netport **out);

/**
 * netport_open_devices() - keep open what netport_from_fd() has to read
 *
 * For a process that may open no file later (a seccomp filter). Before there
 * are other threads. Return: 0 or -errno.
 */
int netport_open_devices(void);

/**
 * netport_same_fd() - whether @a and @b are the same open file description
 *
 * Both are descriptors of this process. Source: kcmp(2) KCMP_FILE.
 */
bool netport_same_fd(int a, int b);

/**
 * netport_get() - add a reference to @port; netport_close() drops it
 *
 * A ring holds a reference while it uses a port, so a port with another
 * reference stays open when the ring stops. Called on the thread that uses the
 * port.
 */
static inline struct netport *netport_get(struct netport *port)
{
	port->more_refs++;
	return port;
}

/** netport_close() - drop a reference; the last one closes the port. NULL is
 * harmless */
static inline void netport_close(struct netport *port)
{
	if (!port)
		return;
	if (port->more_refs)
		port->more_refs--;
	else
		port->ops->close(port);
}

/**
 * netport_check_fd() - the result of netport_from_fd(), without using @fd
 *
 * Return: as there, or -EMFILE.
 */
static inline int netport_check_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct netport *port;
	int ret;

	/* EINVAL: RLIMIT_NOFILE is 0 */
	if (copy < 0)
		return errno == EBADF ? -ENOTSOCK : -EMFILE;
	ret = netport_from_fd(copy, &port);
	if (ret < 0)
		close(copy);
	else
		netport_close(port);
	return ret;
}

#endif
