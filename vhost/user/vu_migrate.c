/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_migrate.c does the parts of a migration other than the dirty log: postcopy
 * and device state. It runs on the control thread.
 *
 * Postcopy: the frontend serves faults of this process in memory that has not
 * arrived yet. It must have the addresses of the mappings before they are used.
 * So a table that arrives during postcopy is mapped and its addresses are sent
 * in the reply; the devices use it after the frontend's acknowledgement. A
 * worker may wait in a fault without limit; vu_postcopy_stop() wakes it.
 *
 * Device state: 40 bytes, by which the destination checks that the two devices
 * fit. They are read as they arrive. The reply to CHECK_DEVICE_STATE is sent
 * when they are complete.
 */
#include "vu_priv.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

/* ---- postcopy ---- */

/* @dev: as vu_userfault_open() gives it. */
static int new_userfault(int dev)
{
	struct uffdio_api api = { .api = UFFD_API };
	int flags = O_CLOEXEC | O_NONBLOCK;
	int fd = dev >= 0 ? ioctl(dev, USERFAULTFD_IOC_NEW, flags)
			  : (int)syscall(SYS_userfaultfd, flags);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	return fd;
}

static int try_userfault(int dev)
{
	int fd = new_userfault(dev);

	if (fd >= 0)
		close(fd);
	return MIN(fd, 0);
}

int vu_userfault_open(int *fd)
{
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (dev >= 0 && try_userfault(dev) < 0) {
		close(dev);
		dev = -1;
	}
	*fd = dev;
	return dev >= 0 ? 0 : try_userfault(-1);
}

int vu_postcopy_check(const struct vu_session *s)
{
	return try_userfault(s->cfg.userfault);
}

int vu_postcopy_advise(struct vu_op *op)
{
	struct vu_session *s = op->s;
	int fd = new_userfault(s->cfg.userfault);

	if (fd < 0)
		return fd;
	vu_postcopy_stop(s);
	s->uffd = fd;
	op->reply.nfds = 1;
	op->reply.fds[0] = fd;
	return 0;
}

int vu_postcopy_listen(struct vu_op *op)
{
	struct vu_session *s = op->s;

	if (s->uffd < 0)
		return -EPROTO;
	if (s->mem.n)
		return -EBUSY; /* its pages have been accessed already */
	s->listening = true;
	return 0;
}

static struct uffdio_range range_of(const struct aspace_map *map)
{
	return (struct uffdio_range){ (uintptr_t)map->base, map->base_size };
}

int vu_postcopy_register(struct vu_session *s, const struct aspace_map *map)
{
	struct uffdio_register reg = { .range = range_of(map),
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	/* Unmap pages that the file has, so that they fault too. */
	madvise(map->base, map->base_size, MADV_DONTNEED);
	madvise(map->base, map->base_size, MADV_NOHUGEPAGE);
	return ioctl(s->uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

static void unregister(const struct vu_session *s, const struct aspace_map *map)
{
	struct uffdio_range range = range_of(map);

	ioctl(s->uffd, UFFDIO_UNREGISTER, &range);
}

void vu_postcopy_stop(struct vu_session *s)
{
	if (s->uffd < 0)
		return;
	/* The frontend has the descriptor too, so closing it is not enough:
	 * unregistering wakes the threads that wait for a page. */
	for (size_t i = 0; i < s->mem.n; i++)
		unregister(s, s->mem.map[i]);
	for (size_t i = 0; s->mem_before && i < s->mem_before->n; i++)
		unregister(s, s->mem_before->map[i]);
	fd_drop(&s->uffd);
	s->listening = s->mem.fresh = false;
}

int vu_postcopy_end(struct vu_op *op)
{
	if (op->s->uffd < 0)
		return -EPROTO;
	vu_postcopy_stop(op->s);
	vu_each_pair(op->s, vu_pair_set_mem, NULL);
	return vu_op_reply_u64(op, 0);
}

/* ---- device state ---- */

static const char state_magic[8] = { 'u', 'v', 'h', 'o', 's', 't', '\r', '\n' };
#define STATE_VERSION 1
#define STATE_NO_FD 0x100 /* bit of the reply: no other descriptor */

/* Format of the transfer; little-endian. */
struct state {
	char magic[8];
	uint32_t version;
	uint32_t size;
	uint64_t features;
	uint16_t queue_pairs;
	uint16_t mtu;
	uint8_t mac[6];
	uint8_t padding[6];
};
_Static_assert(sizeof(struct state) == 40, "the format must not change");
_Static_assert(sizeof(struct state) < VU_STATE_BUF, "space for one more byte");

/*
 * The file of the descriptor is shared with the peer, so its flags are neither
 * changed nor relied upon. Only pipes and sockets are accepted: they can be
 * read and written without blocking, a file on the peer's own FUSE mount
 * cannot.
 */
static int transfer_kind(int fd, bool *sock)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) <
	    0)
		return -errno;
	*sock = S_ISSOCK(st.stx_mode);
	return *sock || S_ISFIFO(st.stx_mode) ? 0 : -EINVAL;
}

/* Pipes support RWF_NOWAIT since Linux 6.4. Without it a pipe that polls
 * writable has space for PIPE_BUF bytes; if another process uses the same end
 * the call may still wait, until worker_interrupt(). */
static bool may_wait(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return true;
	if (poll(&p, 1, 0) > 0)
		return false;
	errno = EAGAIN;
	return true;
}

static ssize_t transfer_write(int fd, bool sock, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	const struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (sock)
		return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
	return n >= 0 || may_wait(fd, POLLOUT) ? n : write(fd, buf, len);
}

static ssize_t transfer_read(int fd, bool sock, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (sock)
		return recvmsg(fd, &msg, MSG_DONTWAIT);
	n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	return n >= 0 || may_wait(fd, POLLIN) ? n : read(fd, buf, len);
}

static void answer_check(struct vu_session *s)
{
	if (!s->transfer.check)
		return;
	s->transfer.check = false;
	vu_send_reply_u64(s, VHOST_USER_CHECK_DEVICE_STATE,
			  (uint64_t)-s->transfer.result);
}

static void end_transfer(struct vu_session *s, int result)
{
	worker_watch_del(s->control, &s->transfer.watch);
	fd_drop(&s->transfer.fd);
	s->transfer.result = result;
	if (result < 0)
		vu_warn(s, "device state: %s", strerror(-result));
	answer_check(s);
}

void vu_transfer_stop(struct vu_session *s)
{
	s->transfer.check = false;
	if (s->transfer.fd >= 0)
		end_transfer(s, -ECANCELED);
}

static int save(const struct vu_session *s)
{
	struct state st = {
		.version = htole32(STATE_VERSION),
		.size = htole32(sizeof(st)),
		.features = htole64(s->features),
		.queue_pairs = htole16((uint16_t)s->cfg.queue_pairs),
		.mtu = htole16(s->mtu),
	};
	ssize_t n;

	memcpy(st.magic, state_magic, sizeof(st.magic));
	memcpy(st.mac, s->mac, sizeof(st.mac));
	/* This fits an empty pipe. */
	n = transfer_write(s->transfer.fd, s->transfer.sock, &st, sizeof(st));
	if (n < 0)
		return -errno;
	return n == sizeof(st) ? 0 : -EIO;
}

/* Does the received state fit this device? */
static int take_state(struct vu_session *s)
{
	struct state st;
	uint64_t features;

	if (s->transfer.have != sizeof(st))
		return -EBADMSG;
	memcpy(&st, s->transfer.buf, sizeof(st));
	if (memcmp(st.magic, state_magic, sizeof(st.magic)) != 0 ||
	    le32toh(st.version) != STATE_VERSION ||
	    le32toh(st.size) != sizeof(st))
		return -EBADMSG;
	features = le64toh(st.features);
	if (features & ~vu_device_features(s) ||
	    (s->features && s->features != features))
		return -EOPNOTSUPP;
	if (le16toh(st.queue_pairs) > s->cfg.queue_pairs ||
	    (s->cfg.mtu && le16toh(st.mtu) > s->cfg.mtu))
		return -EOPNOTSUPP;
	s->mtu = le16toh(st.mtu);
	memcpy(s->mac, st.mac, sizeof(s->mac));
	return 0;
}

/* Reads the bytes that have arrived; true at the end of the transfer. */
static bool load_some(struct vu_session *s)
{
	struct vu_transfer *t = &s->transfer;
	ssize_t n;

	do {
		n = transfer_read(t->fd, t->sock, t->buf + t->have,
				  sizeof(t->buf) - t->have);
		if (n > 0)
			t->have += (size_t)n;
	} while (n > 0 && t->have < sizeof(t->buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	end_transfer(s, n < 0 ? -errno : take_state(s));
	return true;
}

static void on_state(struct loop_watch *watch, uint32_t events)
{
	struct vu_transfer *t = container_of(watch, struct vu_transfer, watch);

	(void)events;
	load_some(container_of(t, struct vu_session, transfer));
}

static int load(struct vu_session *s)
{
	struct vu_transfer *t = &s->transfer;
	int ret;

	t->have = 0;
	t->result = -EINPROGRESS;
	t->watch.fn = on_state;
	if (load_some(s))
		return 0;
	ret = worker_watch_add(s->control, &t->watch, t->fd, EPOLLIN);
	if (ret < 0)
		end_transfer(s, ret);
	return ret;
}

int vu_set_device_state_fd(struct vu_op *op)
{
	const struct vu_device_state *d = &op->m->payload.device_state;
	struct vu_session *s = op->s;
	int fd, ret;

	if (d->direction > 1 || d->phase != 0)
		return -EINVAL;
	if (!vu_suspended(s))
		return -EBUSY;
	vu_transfer_stop(s);
	fd = vu_msg_take_fd(op->m, 0);
	ret = transfer_kind(fd, &s->transfer.sock);
	if (ret < 0) {
		close(fd);
		goto out;
	}
	s->transfer.fd = fd;
	if (d->direction == 1) {
		ret = load(s);
	} else {
		end_transfer(s, save(s));
		ret = s->transfer.result;
	}
out:
	vu_op_reply_u64(op, STATE_NO_FD);
	return ret;
}

int vu_check_device_state(struct vu_op *op)
{
	struct vu_transfer *t = &op->s->transfer;

	if (t->fd >= 0) {
		t->check = op->later = true; /* when all of it is here */
		return 0;
	}
	vu_op_reply_u64(op, 0);
	return t->result;
}
