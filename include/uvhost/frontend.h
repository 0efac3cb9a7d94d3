/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libuvhost: a vhost device from the side of the one who has the guest. One
 * interface, four transports:
 *
 *   kernel   a character device that takes the ioctls of <linux/vhost.h>:
 *            /dev/vhost-net, /dev/uvhost-net
 *   vdpa     /dev/vhost-vdpa-N: the virtqueues are in hardware, or behind VDUSE
 *   user     a backend at the other end of a socket (vhost-user)
 *   inproc   the device of uvhost itself, on threads of this process
 *
 * A frontend (struct uvh) is one device. The same sequence brings a net device
 * to work on the first, third and fourth:
 *
 *   uvh_set_owner
 *   uvh_get_features, uvh_set_features       (what the guest accepted of them)
 *   uvh_set_mem_table
 *   for each ring: uvh_set_vring_num, _base, _addr, _call
 *   for each ring: uvh_vring_start, then uvh_set_vring_kick
 *   ...
 *   for each ring: uvh_vring_stop
 *
 * On vhost-user uvh_get_protocol_features and uvh_set_protocol_features come
 * between owner and features. On vdpa the device status is moved along with
 * uvh_set_status, as a driver does (ACKNOWLEDGE, DRIVER, features, FEATURES_OK,
 * rings started, DRIVER_OK).
 *
 * Conventions. Functions return 0 (or a count) on success and -errno on
 * failure; outputs are written on success only. Besides what a function names:
 *
 *   -EOPNOTSUPP  the transport cannot (see the table), or the protocol or
 *                backend feature that it takes is not negotiated
 *   -EINVAL      an argument that no transport takes: a ring that does not
 *                exist, a null pointer, an address or size that wraps
 *   -EBADF       a descriptor that is neither open nor -1, where -1 is allowed
 *   -EPERM       no owner yet (uvh_set_owner), or it is another process
 *   -EPIPE       user: the connection is no more, now or since an earlier
 *                error; only uvh_close is left
 *   -ETIMEDOUT   user: the backend did not answer in time; the connection is
 *                given up, since a late answer could be taken for another one
 *   -EPROTO      user: the backend answered something else than was asked;
 *                the connection is given up
 *   -EIO         user: the backend answered that it failed; nothing more is
 *                known, the connection stays
 *   -ENOMEM, -EMFILE
 *   kernel, vdpa: whatever ioctl(2) says; inproc: what the kernel's vhost-net
 *   says for the same call
 *
 * Threads. Any thread may call; calls on one frontend wait for each other. The
 * calls for events (uvh_event_fd, uvh_handle_events, uvh_iotlb_recv) wait for
 * each other only, so a thread of their own can do them while another waits
 * for an answer. Nothing may run beside or after uvh_close().
 *
 * Descriptors passed in are borrowed for the call, unless said otherwise; what
 * is needed longer is duplicated. Descriptors handed out are the caller's.
 * Memory given by address must stay mapped for as long as it is in the table.
 *
 * The library installs no signal handlers, writes to no descriptor it was not
 * given (see uvh_set_log), never exits, and leaves SIGPIPE alone. Its threads
 * (inproc) block all signals. Memory that is a truncated file raises SIGBUS at
 * its next use: on inproc that is in this process, and the caller's affair.
 *
 * Differences between the transports. "+": does it; "-": -EOPNOTSUPP; a name:
 * does it once this protocol feature (user) or backend feature (vdpa) has been
 * negotiated, and says -EOPNOTSUPP before.
 *
 * uvh_...               kernel  vdpa        user                  inproc
 * get_features          +       +           +                     +
 * set_features          +       +           +                     +
 * get_backend_features  +       +           -                     +
 * set_backend_features  +       +           -                     +
 * get_protocol_features -       -           +                     -
 * set_protocol_features -       -           +                     -
 * set_owner             +       +           +                     +
 * reset_owner           +       -           +                     +
 * set_mem_table         +       +           +                     +
 * add_region            +       +           +                     +
 * remove_region         +       +           +                     +
 * max_mem_slots         +       +           +                     +
 * set_log_base          +       -           LOG_SHMFD             +
 * set_log_fd            +       -           +                     +
 * set_vring_num         +       +           +                     +
 * set_vring_addr        +       +           +                     +
 * set_vring_base        +       +           +                     +
 * get_vring_base        +       +           +                     +
 * set_vring_kick        +       +           +                     +
 * set_vring_call        +       +           +                     +
 * set_vring_err         +       +           +                     +
 * set_vring_enable      -       +           +                     -
 * set_vring_busyloop    +       -           -                     +
 * iotlb_send            +       +           REPLY_ACK             +
 * iotlb_recv            +       -           BACKEND_REQ           +
 * handle_events         +       -           +                     +
 * net_set_backend       +       -           -                     +
 * net_set_mtu           -       -           MTU                   -
 * net_send_rarp         -       -           RARP                  -
 * get_config            -       +           CONFIG                -
 * set_config            -       +           CONFIG                -
 * set_config_call       -       +           -                     -
 * get_status            -       +           STATUS                -
 * set_status            -       +           STATUS                -
 * reset_device          -       +           RESET_DEVICE          -
 * get_device_id         -       +           -                     -
 * get_vring_num_max     -       +           -                     -
 * get_config_size       -       +           -                     -
 * get_iova_range        -       +           -                     -
 * get_group_count       -       +           -                     -
 * get_as_count          -       +           -                     -
 * get_vring_group       -       +           -                     -
 * get_vring_desc_group  -       DESC_ASID   -                     -
 * set_group_asid        -       +           -                     -
 * get_vring_size        -       +           -                     -
 * suspend               -       SUSPEND     -                     -
 * resume                -       RESUME      -                     -
 * get_inflight          -       -           INFLIGHT_SHMFD        -
 * set_inflight          -       -           INFLIGHT_SHMFD        -
 * postcopy_advise       -       -           PAGEFAULT             -
 * postcopy_listen       -       -           PAGEFAULT             -
 * postcopy_end          -       -           PAGEFAULT             -
 * postcopy_base         -       -           PAGEFAULT             -
 * set_device_state      -       -           DEVICE_STATE          -
 * check_device_state    -       -           DEVICE_STATE          -
 * vring_kick            -       -           INBAND_NOTIFICATIONS  -
 *
 * And in what they mean:
 *
 *                       kernel   vdpa        user          inproc
 *   rings               2        of the      2, or with    2 a pair
 *                                device      MQ 2 a pair
 *   ring addresses are  uva      iova        uva           uva
 *   (with IOTLB)        iova     iova        iova          iova
 *   the table reaches   kernel   IOTLB, as   the backend's the device: as it
 *                                iova = gpa  mmap of fd    is, or copied
 *   fd of a region      ignored  ignored     needed        ignored
 *   a ring starts with  net_set_ set_vring_  set_vring_    net_set_backend
 *                       backend  enable      kick, vring_
 *                                            kick
 *   and stops with      the same the same    get_vring_    the same, -1
 *                       with -1  with 0      base
 *   errors of a call    errno    errno       -EIO; with-   errno
 *   without reply                            out REPLY_ACK
 *                                            never
 *
 * Link with -luvhost; pkg-config uvhost.
 */
#ifndef UVHOST_FRONTEND_H
#define UVHOST_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
/* <linux/vhost.h> takes C++ only with VIRTIO_RING_NO_LEGACY defined. */
struct vhost_vring_addr;
struct vhost_iotlb_msg;

extern "C" {
#else
#include <linux/vhost.h>
#endif

#pragma GCC visibility push(default)

/** struct uvh - a frontend; opaque */
struct uvh;

/** UVH_RING_MAX - entries of the longest ring */
#define UVH_RING_MAX 32768
/** UVH_CONFIG_MAX - bytes of configuration space one call can move */
#define UVH_CONFIG_MAX 256
/** UVH_REGIONS_MAX - regions that any table can have; a device may take fewer
 * (uvh_max_mem_slots) */
#define UVH_REGIONS_MAX 512
/** UVH_QUEUES_MAX - rings that a frontend can have */
#define UVH_QUEUES_MAX 256

/**
 * struct uvh_region - one row of the memory table
 * @gpa:       guest physical address
 * @size:      bytes, not 0
 * @uva:       where this process has it
 * @fd:        the file behind it; -1: none. Needed by the transport user, and
 *             open for as long as the region is in the table
 * @fd_offset: of @uva in that file, bytes
 */
struct uvh_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	int fd;
	uint64_t fd_offset;
};

/* ---- opening and closing ---- */

/**
 * uvh_open() - a device of whatever kind is at @path
 * @path:       a socket (user), a vhost-vdpa device (vdpa), or a device that
 *              answers like /dev/vhost-net (kernel)
 * @timeout_ms: as for uvh_user_connect()
 * @out:        the frontend
 *
 * Return: as the function for that kind.
 */
int uvh_open(const char *path, int timeout_ms, struct uvh **out);

/**
 * uvh_kernel_open() - a device that answers like /dev/vhost-net
 * @path: the device, e.g. "/dev/uvhost-net"
 * @out:  the frontend
 *
 * Return: 0; what open(2) says; -ENOTTY (no vhost device).
 */
int uvh_kernel_open(const char *path, struct uvh **out);

/**
 * uvh_kernel_from_fd() - the same on an open device
 * @fd:  the frontend's own on success, the caller's still on failure. Its
 *       O_NONBLOCK is not touched
 * @out: the frontend
 *
 * Return: 0; -EBADF; -ENOTTY.
 */
int uvh_kernel_from_fd(int fd, struct uvh **out);

/**
 * uvh_vdpa_open() - a vhost-vdpa device; resets it
 * @path: e.g. "/dev/vhost-vdpa-0"
 * @out:  the frontend
 *
 * Return: 0; what open(2) says (-EBUSY: somebody has it); -ENOTTY or -EPERM (a
 * device, but not such a one).
 */
int uvh_vdpa_open(const char *path, struct uvh **out);

/**
 * uvh_user_connect() - a vhost-user backend that listens
 * @path:       its socket
 * @timeout_ms: longest wait for the connection and, later, for each answer;
 *              0: 5000; negative: for ever
 * @out:        the frontend
 *
 * Nothing is sent yet.
 * Return: 0; what connect(2) says; -ENAMETOOLONG; -ETIMEDOUT.
 */
int uvh_user_connect(const char *path, int timeout_ms, struct uvh **out);

/**
 * uvh_user_accept() - a vhost-user backend that connects
 * @path:       where to listen; must not exist. Removed before this returns
 * @timeout_ms: longest wait for one connection and, later, for each answer; 0:
 *              5000; negative: for ever
 * @out:        the frontend
 *
 * Return: 0; what bind(2) says (-EADDRINUSE); -ENAMETOOLONG; -ETIMEDOUT.
 */
int uvh_user_accept(const char *path, int timeout_ms, struct uvh **out);

/**
 * uvh_user_from_socket() - a vhost-user backend at the other end of a socket
 * @sock:       connected stream socket; the frontend's own on success. Its
 *              flags are not touched
 * @timeout_ms: as above
 * @out:        the frontend
 *
 * Return: 0; -EBADF; -ENOTSOCK.
 */
int uvh_user_from_socket(int sock, int timeout_ms, struct uvh **out);

/**
 * struct uvh_inproc_config - a device of this process; zero is a good default
 * @name:         for log lines and threads; NULL: "inproc". Copied
 * @queue_pairs:  1...64, each on a thread of its own; 0: 1
 * @busy_poll_us: upper bound of adaptive polling after work, µs
 * @copied:       reach the guest's memory by copying (/proc/self/mem)
 *                instead of by pointer: slower, but what is not mapped is an
 *                error (-EFAULT, a broken ring) instead of a SIGSEGV
 * @null_port:    uvh_net_set_backend() checks its descriptor; then frames of
 *                the guest are dropped, and it gets frames of @null_frame_len
 *                bytes if that is not 0
 * @null_frame_len: 0, or 14...65550
 */
struct uvh_inproc_config {
	const char *name;
	unsigned int queue_pairs;
	unsigned int busy_poll_us;
	bool copied;
	bool null_port;
	unsigned int null_frame_len;
};

/**
 * uvh_inproc_new() - a net device on threads of this process
 * @config: NULL: all zero
 * @out:    the frontend
 *
 * A call waits until the device's thread has run it between two batches of
 * packets.
 * Return: 0; -EINVAL (@config); -EAGAIN (threads).
 */
int uvh_inproc_new(const struct uvh_inproc_config *config, struct uvh **out);

/**
 * uvh_close() - stop the device, close what is open, free @fe
 * @fe: NULL is fine
 *
 * When it returns no thread of the library touches the guest's memory. (A
 * backend of vhost-user is told nothing but that the connection ends, and may
 * take a moment to notice.)
 */
void uvh_close(struct uvh *fe);

/** uvh_transport() - "kernel", "vdpa", "user" or "inproc"; static */
const char *uvh_transport(const struct uvh *fe);

/* ---- features, owner ---- */

/**
 * uvh_get_features() - features that the device offers, bits 0...63
 *
 * Legal any time. VHOST_USER_F_PROTOCOL_FEATURES (bit 30, user) is handled
 * inside and never seen.
 *
 * Source: <linux/vhost.h> VHOST_GET_FEATURES; vhost-user.rst
 * VHOST_USER_GET_FEATURES.
 */
int uvh_get_features(struct uvh *fe, uint64_t *features);

/**
 * uvh_set_features() - features in force: what the guest accepted
 * @features: a subset of what is offered. VHOST_F_LOG_ALL may be flipped while
 *            rings run
 *
 * Return: 0; -EOPNOTSUPP (a bit that is not offered); -EBUSY (vdpa: after
 * FEATURES_OK); -EFAULT (LOG_ALL, and the log does not cover the memory).
 *
 * Source: <linux/vhost.h> VHOST_SET_FEATURES; vhost-user.rst
 * VHOST_USER_SET_FEATURES; virtio 1.2 §2.2.
 */
int uvh_set_features(struct uvh *fe, uint64_t features);

/**
 * uvh_get_backend_features() - VHOST_BACKEND_F_* offered, as a mask
 * uvh_set_backend_features() - and accepted
 *
 * IOTLB messages take the form that was accepted (IOTLB_MSG_V2, IOTLB_ASID,
 * IOTLB_BATCH). Kernel and vdpa; vhost-user has protocol features.
 * Return: 0; -EOPNOTSUPP (also: a bit that is not offered).
 */
int uvh_get_backend_features(struct uvh *fe, uint64_t *features);
int uvh_set_backend_features(struct uvh *fe, uint64_t features);

/* Protocol features of vhost-user, as bit numbers (vhost-user.rst). */
#define UVH_PROTOCOL_F_MQ 0
#define UVH_PROTOCOL_F_LOG_SHMFD 1
#define UVH_PROTOCOL_F_RARP 2
#define UVH_PROTOCOL_F_REPLY_ACK 3
#define UVH_PROTOCOL_F_MTU 4
#define UVH_PROTOCOL_F_BACKEND_REQ 5
#define UVH_PROTOCOL_F_PAGEFAULT 8
#define UVH_PROTOCOL_F_CONFIG 9
#define UVH_PROTOCOL_F_BACKEND_SEND_FD 10
#define UVH_PROTOCOL_F_HOST_NOTIFIER 11
#define UVH_PROTOCOL_F_INFLIGHT_SHMFD 12
#define UVH_PROTOCOL_F_RESET_DEVICE 13
#define UVH_PROTOCOL_F_INBAND_NOTIFICATIONS 14
#define UVH_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15
#define UVH_PROTOCOL_F_STATUS 16
#define UVH_PROTOCOL_F_DEVICE_STATE 19
#define UVH_PROTOCOL_F_GET_VRING_BASE_INFLIGHT 20
#define UVH_PROTOCOL_F_GPA_ADDRESSES 21

/** UVH_PROTOCOL_KNOWN - all that this library can do, as a mask. In-band
 * notifications change how rings are kicked: accept them only on purpose */
#define UVH_PROTOCOL_KNOWN UINT64_C(0x39ff3f)

/**
 * uvh_get_protocol_features() - VHOST_USER_PROTOCOL_F_* offered, as a mask
 *
 * 0 from a backend that knows no such thing. Legal any time.
 */
int uvh_get_protocol_features(struct uvh *fe, uint64_t *features);

/**
 * uvh_set_protocol_features() - and accepted
 * @features: a subset of what is offered and of UVH_PROTOCOL_KNOWN
 *
 * Do this once, before uvh_set_features(). With REPLY_ACK every later call
 * knows whether the backend could do it; with BACKEND_REQ the channel on which
 * the backend sends requests is set up; with MQ the number of rings is asked.
 * With GPA_ADDRESSES the backend is told guest addresses in place of those of
 * this process, which are translated by the memory table; calls take the same
 * as without. With CONFIGURE_MEM_SLOTS there is no postcopy.
 *
 * Return: 0; -EOPNOTSUPP (a bit that is not offered, or not known); -EINVAL
 * (INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK, or
 * GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD).
 */
int uvh_set_protocol_features(struct uvh *fe, uint64_t features);

/**
 * uvh_set_owner() - this process is the device's master from now on
 *
 * Before all calls but those of features.
 * Return: 0; -EBUSY (there is an owner).
 */
int uvh_set_owner(struct uvh *fe);

/**
 * uvh_reset_owner() - everything as before uvh_set_owner(); rings stop
 *
 * On vhost-user the message is deprecated, and backends do as they please:
 * stop the rings (uvh_vring_stop) and use uvh_reset_device() there.
 */
int uvh_reset_owner(struct uvh *fe);

/**
 * uvh_queue_count() - rings of the device
 *
 * 0 is the first pair's RX (to the guest), 1 its TX. On vhost-user it is 2
 * until MQ is accepted. Then it is 2 * max_virtqueue_pairs where CONFIG is
 * accepted too and the backend offers VIRTIO_NET_F_MQ; else an upper bound:
 * some backends (DPDK) count pairs, others virtqueues, and without knowing
 * which the number is taken for pairs if VIRTIO_NET_F_MQ is offered. A ring
 * that the backend has not is refused when it is set up (with REPLY_ACK).
 */
unsigned int uvh_queue_count(const struct uvh *fe);

/* ---- memory ---- */

/**
 * uvh_set_mem_table() - replace the memory table
 * @regions: @n of them, read during the call. Where they overlap the lowest
 *           counts (kernel, inproc), or the call is -EINVAL (user, vdpa)
 * @n:       0...UVH_REGIONS_MAX
 *
 * Legal with an owner, also while rings run: the change is between two
 * batches. When it returns 0 the device has let go of what is not in the new
 * table. On vhost-user with CONFIGURE_MEM_SLOTS, and on vdpa, only differences
 * are sent; if one of them fails the table is left half way, as it is said.
 *
 * Return: 0; -E2BIG (more than uvh_max_mem_slots); -EBADF (user: a region
 * without descriptor); -EFAULT (kernel, inproc: an address that user space
 * cannot have). Otherwise the old table stays.
 *
 * Source: <linux/vhost.h> VHOST_SET_MEM_TABLE; vhost-user.rst
 * VHOST_USER_SET_MEM_TABLE, _ADD_MEM_REG, _REM_MEM_REG.
 */
int uvh_set_mem_table(struct uvh *fe, const struct uvh_region *regions,
		      unsigned int n);

/**
 * uvh_add_region() - one more region; others are not disturbed
 * Return: 0; -EEXIST (overlaps one in the table); else as uvh_set_mem_table().
 */
int uvh_add_region(struct uvh *fe, const struct uvh_region *region);
/**
 * uvh_remove_region() - take a region away
 * @region: gpa, size and uva name it
 * Return: 0; -ENOENT; else as uvh_set_mem_table().
 */
int uvh_remove_region(struct uvh *fe, const struct uvh_region *region);

/** uvh_max_mem_slots() - regions that a table of this device can have */
int uvh_max_mem_slots(struct uvh *fe, unsigned int *slots);

/**
 * uvh_set_log_base() - where dirty pages are noted, a bit for 4 KiB
 * @uva:    the bitmap in this process, 64-bit aligned; the bit of page 0 first
 * @size:   bytes
 * @fd:     the file behind it (user; others ignore the three)
 * @offset: of @uva in that file, bytes
 *
 * Return: 0; -EFAULT (rings run and it does not cover them); -EBADF (user,
 * without descriptor).
 */
int uvh_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size, int fd,
		     uint64_t offset);
/** uvh_set_log_fd() - eventfd that rises with the log; -1: none */
int uvh_set_log_fd(struct uvh *fe, int fd);

/* ---- rings ---- */

/**
 * uvh_set_vring_num() - set the size of one ring
 * @fe:  frontend with an owner set
 * @qi:  ring index, below uvh_queue_count(@fe)
 * @num: entries, a power of two in 1...UVH_RING_MAX (packed rings: any number)
 *
 * Legal while the ring is stopped. On failure the old size stays.
 * Return: 0; -EINVAL (@qi, @num); -EBUSY (running).
 *
 * Source: virtio 1.2 §2.7; <linux/vhost.h> VHOST_SET_VRING_NUM;
 * vhost-user.rst VHOST_USER_SET_VRING_NUM.
 */
int uvh_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num);

/**
 * uvh_set_vring_addr() - where the three parts of a ring are
 * @addr: index below uvh_queue_count(@fe); flags 0 or 1 << VHOST_VRING_F_LOG;
 *        addresses as the table above says; log_guest_addr is guest physical
 *
 * Legal also while the ring runs, to flip VHOST_VRING_F_LOG.
 * Return: 0; -EINVAL (index, or avail, used or log not aligned to 2, 4, 4);
 * -EOPNOTSUPP (other flags); -EFAULT (user with GPA_ADDRESSES: not in the
 * memory table, which goes before).
 */
int uvh_set_vring_addr(struct uvh *fe, const struct vhost_vring_addr *addr);

/**
 * uvh_set_vring_base() - index of the next avail entry to be taken
 * @base: split: 0...65535. Packed: bits 0...14 and 16...30 are the avail and
 *        used index, 15 and 31 their wrap counters
 *
 * Legal while the ring is stopped. Return: 0; -EBUSY; -EINVAL.
 */
int uvh_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base);

/**
 * uvh_get_vring_base() - the same, read back
 *
 * On vhost-user this stops the ring; elsewhere it may run. With
 * GET_VRING_BASE_INFLIGHT the backend may leave chains in flight then: they
 * stand in the file of uvh_get_inflight(), and the backend that is given it
 * next completes them.
 */
int uvh_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base);

/**
 * uvh_set_vring_kick() - eventfd by which the guest asks for work
 * uvh_set_vring_call() - eventfd by which the guest is told
 * uvh_set_vring_err()  - eventfd by which the VMM is told that a ring broke
 * @fd: -1: none
 *
 * Legal any time. A count that the kick has already counts. On vhost-user the
 * kick's descriptor starts the ring, and is signalled once (some backends wait
 * for that): size, base and addresses go before it, and so does
 * uvh_vring_start(), since a ring that is not enabled drops what it finds.
 * Return: 0; -EBADF; -EINVAL (no eventfd; vhost-user backends may not look).
 */
int uvh_set_vring_kick(struct uvh *fe, unsigned int qi, int fd);
int uvh_set_vring_call(struct uvh *fe, unsigned int qi, int fd);
int uvh_set_vring_err(struct uvh *fe, unsigned int qi, int fd);

/**
 * uvh_set_vring_enable() - let a ring move packets, or not
 *
 * On vhost-user without VHOST_USER_F_PROTOCOL_FEATURES rings are always
 * enabled: nothing is sent, and disabling is -EOPNOTSUPP.
 */
int uvh_set_vring_enable(struct uvh *fe, unsigned int qi, bool enable);

/**
 * uvh_set_vring_busyloop() - poll at least so long after work, µs
 */
int uvh_set_vring_busyloop(struct uvh *fe, unsigned int qi, uint32_t us);

/**
 * uvh_vring_start() - start a ring that has been set up, on any transport
 * @backend: kernel, inproc: as for uvh_net_set_backend(); others ignore it
 */
int uvh_vring_start(struct uvh *fe, unsigned int qi, int backend);
/**
 * uvh_vring_stop() - stop a ring, on any transport, and say how far it came
 * @base: may be NULL; for uvh_set_vring_base() before the next start
 *
 * The device touches neither ring nor buffers afterwards. On vhost-user the
 * kick is needed again to start. (On vdpa most devices stop for good only with
 * uvh_suspend() or uvh_reset_device().)
 */
int uvh_vring_stop(struct uvh *fe, unsigned int qi, uint32_t *base);

/* ---- IOTLB ---- */

/**
 * uvh_iotlb_send() - add or remove a translation
 * @msg:  type VHOST_IOTLB_UPDATE (iova, size, uaddr, perm), _INVALIDATE (iova,
 *        size), or, with the backend feature IOTLB_BATCH, _BATCH_BEGIN, _END
 * @asid: address space; 0 unless the backend feature IOTLB_ASID is accepted
 *
 * An update does not replace an entry: invalidate first. Legal when
 * VIRTIO_F_ACCESS_PLATFORM is in force; on vdpa always (there the memory table
 * uses asid 0, iova = gpa).
 * Return: 0; -EINVAL (type, size 0, @asid); -EFAULT (kernel, inproc: no IOTLB,
 * or an address that cannot be; user with GPA_ADDRESSES: not in the memory
 * table); -EEXIST (vdpa).
 */
int uvh_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
		   uint32_t asid);

/**
 * uvh_iotlb_recv() - take the next message of the device: a miss
 *
 * Never waits: poll uvh_event_fd(). Messages come here only if no handler
 * takes them (struct uvh_backend_ops).
 * Return: 0; -EAGAIN (none now, or no IOTLB in force).
 */
int uvh_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg);

/* ---- what the device asks for ---- */

/**
 * struct uvh_backend_ops - requests that come from the device
 * @iotlb:         a miss, or an access that failed; @msg until it returns.
 *                 Answer with uvh_iotlb_send() from here or later. NULL:
 *                 messages wait (64 of them, more get -ENOBUFS) for
 *                 uvh_iotlb_recv()
 * @config_changed: user: the configuration space has changed
 * @vring_call, @vring_err: user, with INBAND_NOTIFICATIONS: as the eventfds
 * @host_notifier: user: a page of @size bytes at @offset of @fd can be mapped
 *                 as the notify register of ring @qi; -1: no more. @fd is
 *                 closed afterwards: duplicate it to keep it
 *
 * Called by uvh_handle_events(), on its thread (user: also by
 * uvh_iotlb_recv()). A handler may call everything but uvh_close(),
 * uvh_handle_events() and uvh_iotlb_recv(). 0, or a negative errno, which goes
 * into the reply if the backend wants one (as a positive number; it can tell 0
 * from others, no more). NULL: -EOPNOTSUPP goes there.
 */
struct uvh_backend_ops {
	int (*iotlb)(void *ctx, const struct vhost_iotlb_msg *msg);
	int (*config_changed)(void *ctx);
	int (*vring_call)(void *ctx, unsigned int qi);
	int (*vring_err)(void *ctx, unsigned int qi);
	int (*host_notifier)(void *ctx, unsigned int qi, int fd, uint64_t size,
			     uint64_t offset);
};

/**
 * uvh_set_backend_ops() - who handles requests of the device
 * @ops: borrowed until replaced; NULL: nobody
 * @ctx: for them
 *
 * Must not run beside uvh_handle_events().
 */
void uvh_set_backend_ops(struct uvh *fe, const struct uvh_backend_ops *ops,
			 void *ctx);

/**
 * uvh_event_fd() - readable (POLLIN) when uvh_handle_events() or
 * uvh_iotlb_recv() has something to do
 *
 * On vhost-user also when the backend is gone. The library's own: do not close
 * or read it. Return: a descriptor, valid until uvh_close(); -EOPNOTSUPP.
 */
int uvh_event_fd(const struct uvh *fe);

/**
 * uvh_handle_events() - handle what the device asks for now; never waits for
 * more
 *
 * Return: requests handled; -EPIPE (the backend is gone); -EPROTO (user: what
 * came is no request; the connection is given up).
 */
int uvh_handle_events(struct uvh *fe);

/* ---- net ---- */

/**
 * uvh_net_set_backend() - attach a ring to a network, or detach it
 * @fd: a tap, macvtap or AF_PACKET raw socket; -1 stops the ring
 *
 * Return: 0; -ENOTSOCK (another kind of file, or none); -EFAULT (memory or
 * ring cannot be reached; also for -1 before the first uvh_set_mem_table).
 *
 * Source: <linux/vhost.h> VHOST_NET_SET_BACKEND.
 */
int uvh_net_set_backend(struct uvh *fe, unsigned int qi, int fd);
/** uvh_net_set_mtu() - MTU that the guest is told; 68...65535 */
int uvh_net_set_mtu(struct uvh *fe, uint16_t mtu);
/** uvh_net_send_rarp() - announce the guest after it moved; @mac: 6 bytes */
int uvh_net_send_rarp(struct uvh *fe, const uint8_t mac[6]);

/* ---- configuration space, status ---- */

/** How a write to the configuration space is meant (user; vdpa ignores it) */
enum uvh_config_writer {
	UVH_CONFIG_DRIVER = 0,    /* by the guest: writable fields only */
	UVH_CONFIG_MIGRATION = 1, /* by the VMM, restoring a guest */
};

/**
 * uvh_get_config() - read @len bytes at @offset of the configuration space
 * uvh_set_config() - write them
 *
 * @offset + @len at most UVH_CONFIG_MAX, @len not 0.
 * Return: 0; -EINVAL; -EIO (user: the device has no such bytes); -E2BIG (vdpa).
 */
int uvh_get_config(struct uvh *fe, uint32_t offset, void *buf, uint32_t len);
int uvh_set_config(struct uvh *fe, uint32_t offset, const void *buf,
		   uint32_t len, enum uvh_config_writer writer);
/** uvh_set_config_call() - eventfd that tells of changes there; -1: none */
int uvh_set_config_call(struct uvh *fe, int fd);

/**
 * uvh_get_status() - VIRTIO_CONFIG_S_* of the device
 * uvh_set_status() - bits can only be added; 0 resets the device
 * Return: 0; -EINVAL (vdpa: bits were missing).
 * Source: virtio 1.2 §2.1.
 */
int uvh_get_status(struct uvh *fe, uint8_t *status);
int uvh_set_status(struct uvh *fe, uint8_t status);
/** uvh_reset_device() - rings stop, all as after uvh_set_owner() */
int uvh_reset_device(struct uvh *fe);

/* ---- vdpa ---- */

/** uvh_get_device_id() - VIRTIO_ID_* */
int uvh_get_device_id(struct uvh *fe, uint32_t *id);
/** uvh_get_vring_num_max() - entries of the longest ring it takes */
int uvh_get_vring_num_max(struct uvh *fe, uint16_t *num);
/** uvh_get_vring_size() - the same, of one ring; Linux 6.7 */
int uvh_get_vring_size(struct uvh *fe, unsigned int qi, uint32_t *num);
/** uvh_get_config_size() - bytes of configuration space */
int uvh_get_config_size(struct uvh *fe, uint32_t *size);
/** uvh_get_iova_range() - @first, @last: what IOTLB updates may cover */
int uvh_get_iova_range(struct uvh *fe, uint64_t *first, uint64_t *last);
/** uvh_get_group_count() - groups of rings that share an address space */
int uvh_get_group_count(struct uvh *fe, uint32_t *count);
/** uvh_get_as_count() - address spaces */
int uvh_get_as_count(struct uvh *fe, uint32_t *count);
/** uvh_get_vring_group() - of a ring's buffers, or all of it */
int uvh_get_vring_group(struct uvh *fe, unsigned int qi, uint32_t *group);
/** uvh_get_vring_desc_group() - of a ring's descriptors; Linux 6.7 */
int uvh_get_vring_desc_group(struct uvh *fe, unsigned int qi, uint32_t *group);
/** uvh_set_group_asid() - put a group into an address space; before DRIVER_OK
 */
int uvh_set_group_asid(struct uvh *fe, uint32_t group, uint32_t asid);
/**
 * uvh_suspend() - all rings stop where they are; their bases are true
 * uvh_resume()  - and go on; Linux 6.3
 */
int uvh_suspend(struct uvh *fe);
int uvh_resume(struct uvh *fe);

/* ---- vhost-user ---- */

/**
 * struct uvh_inflight - a file in which a backend notes what it has in work,
 * so that the one after it can go on
 * @fd:         the file
 * @size, @offset: bytes
 * @queues:     rings
 * @queue_size: entries of each
 */
struct uvh_inflight {
	int fd;
	uint64_t size;
	uint64_t offset;
	uint16_t queues;
	uint16_t queue_size;
};

/**
 * uvh_get_inflight() - have the backend make one
 * @inflight: in: @queues and @queue_size; out: all, and @fd is the caller's
 */
int uvh_get_inflight(struct uvh *fe, struct uvh_inflight *inflight);
/** uvh_set_inflight() - give it to the backend, before the rings start */
int uvh_set_inflight(struct uvh *fe, const struct uvh_inflight *inflight);

/**
 * uvh_postcopy_advise() - postcopy migration may follow
 * @uffd: the backend's userfaultfd; the caller's
 *
 * This and the next three: also -EOPNOTSUPP with CONFIGURE_MEM_SLOTS.
 */
int uvh_postcopy_advise(struct uvh *fe, int *uffd);
/**
 * uvh_postcopy_listen() - it begins: the next uvh_set_mem_table() or
 * uvh_add_region() has the backend register the memory with its userfaultfd
 */
int uvh_postcopy_listen(struct uvh *fe);
/** uvh_postcopy_end() - it is over */
int uvh_postcopy_end(struct uvh *fe);
/**
 * uvh_postcopy_base() - where the backend has region @i, for faults read from
 * the userfaultfd
 * @i:    in the order of the table
 * @base: address in the backend
 * Return: 0; -ENOENT (no such region, or the table is older than
 * uvh_postcopy_listen).
 */
int uvh_postcopy_base(struct uvh *fe, unsigned int i, uint64_t *base);

/** Which way the inner state of a device goes */
enum uvh_state_direction {
	UVH_STATE_SAVE = 0, /* the device writes it */
	UVH_STATE_LOAD = 1, /* the device reads it */
};

/**
 * uvh_set_device_state() - move the inner state of a stopped device
 * @fd:    one end of a pipe; ours to close in any case
 * @other: -1 if the backend uses @fd; else the descriptor to use at our side
 *         in place of the pipe's other end; the caller's
 */
int uvh_set_device_state(struct uvh *fe, enum uvh_state_direction direction,
			 int fd, int *other);
/** uvh_check_device_state() - after the pipe's end: did it work? -EIO: no */
int uvh_check_device_state(struct uvh *fe);

/** uvh_vring_kick() - kick a ring by message instead of eventfd */
int uvh_vring_kick(struct uvh *fe, unsigned int qi);

/* ---- for people ---- */

/** Levels of uvh_set_log(), the more important first */
enum uvh_log_level {
	UVH_LOG_ERROR,
	UVH_LOG_WARNING,
	UVH_LOG_INFO,
	UVH_LOG_DEBUG,
};

/**
 * uvh_set_log() - who gets the library's log lines, of all frontends
 * @level: the least important level wanted
 * @fn:    called with a line without newline, on any thread of the library or
 *         of its callers, also inside uvh_* calls: must not call them. NULL:
 *         nobody, as at the start
 * @ctx:   for @fn
 *
 * Before the first frontend is made, or when none is left.
 */
void uvh_set_log(enum uvh_log_level level,
		 void (*fn)(void *ctx, enum uvh_log_level level,
			    const char *line),
		 void *ctx);

/** uvh_feature_name() - name of a feature bit of a net device, without prefix
 * ("MRG_RXBUF"); NULL if it has none. Static */
const char *uvh_feature_name(unsigned int bit);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
