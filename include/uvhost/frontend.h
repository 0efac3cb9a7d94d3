/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frontend.h is the interface of libuvhost, which sets up and drives a vhost
 * device on behalf of a program that has a guest (a VMM). One interface, four
 * transports:
 *
 *   kernel   a character device that takes the ioctls of <linux/vhost.h>:
 *            /dev/vhost-net, /dev/uvhost-net
 *   vdpa     /dev/vhost-vdpa-N: the virtqueues are in hardware, or behind VDUSE
 *   user     a backend at the other end of a socket (vhost-user)
 *   inproc   the device of uvhost itself, on threads of this process
 *
 * A frontend (struct uvh) is one device. On kernel, user and inproc the same
 * sequence of calls starts a net device:
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
 * between owner and features. On vdpa the caller also sets the device status
 * with uvh_set_status, as a driver does (ACKNOWLEDGE, DRIVER, features,
 * FEATURES_OK, rings started, DRIVER_OK).
 *
 * Conventions. Functions return 0 (or a count) on success and -errno on
 * failure; outputs are written on success only. Each function can return these
 * errors besides those that it names:
 *
 *   -EOPNOTSUPP  the transport does not support the call (see the table), or
 *                the protocol or backend feature of the call is not negotiated
 *   -EINVAL      an argument is invalid on every transport: a ring that does
 *                not exist, a null pointer, an address or size that wraps
 *   -EBADF       a descriptor that is neither open nor -1, where -1 is allowed
 *   -EPERM       no owner yet (uvh_set_owner), or another process is the owner
 *   -EPIPE       user: the connection has ended, now or at an earlier error;
 *                only uvh_close is useful
 *   -ETIMEDOUT   user: the backend did not reply in time; the connection is
 *                shut down, as a late reply could be taken for another one
 *   -EPROTO      user: the reply does not fit the request; the connection is
 *                shut down
 *   -EIO         user: the backend replied that the request failed, without a
 *                reason; the connection stays
 *   -ENOMEM, -EMFILE
 *   kernel, vdpa: any error of ioctl(2); inproc: the error of the kernel's
 *   vhost-net for the same call
 *
 * Threads. Any thread may call; calls on one frontend wait for each other. The
 * calls for events (uvh_event_fd, uvh_handle_events, uvh_iotlb_recv) wait for
 * each other only, so one thread can handle events while another waits for a
 * reply. No call may run at the same time as uvh_close() or after it.
 *
 * Descriptors passed in are borrowed for the call, unless the function says
 * otherwise; the library duplicates those that it needs longer. Returned
 * descriptors belong to the caller. Memory given by address must stay mapped
 * while it is in the table.
 *
 * The library installs no signal handlers, writes to no descriptor that it was
 * not given (see uvh_set_log), never exits, and does not change the disposition
 * of SIGPIPE. Its threads (inproc) block all signals. Access to memory whose
 * file was truncated raises SIGBUS: with inproc in this process, where the
 * caller has to handle it.
 *
 * Differences between the transports. "+": supported; "-": -EOPNOTSUPP; a name:
 * supported after this protocol feature (user) or backend feature (vdpa) has
 * been negotiated, -EOPNOTSUPP before.
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
 * Differences in meaning:
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
 * @fd:        the file behind it; -1: none. The transport user needs it, open
 *             while the region is in the table
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
 * uvh_open() - open the device at @path, of any kind
 * @path:       a socket (user), a vhost-vdpa device (vdpa), or a device that
 *              answers like /dev/vhost-net (kernel)
 * @timeout_ms: as for uvh_user_connect()
 * @out:        the frontend
 *
 * Return: as the function for that kind.
 */
int uvh_open(const char *path, int timeout_ms, struct uvh **out);

/**
 * uvh_kernel_open() - open a device with the ioctls of /dev/vhost-net
 * @path: the device, e.g. "/dev/uvhost-net"
 * @out:  the frontend
 *
 * Return: 0; an error of open(2); -ENOTTY (no vhost device).
 */
int uvh_kernel_open(const char *path, struct uvh **out);

/**
 * uvh_kernel_from_fd() - the same for an open device
 * @fd:  belongs to the frontend on success, to the caller on failure. Its
 *       O_NONBLOCK is not changed
 * @out: the frontend
 *
 * Return: 0; -EBADF; -ENOTTY.
 */
int uvh_kernel_from_fd(int fd, struct uvh **out);

/**
 * uvh_vdpa_open() - open a vhost-vdpa device, which resets it
 * @path: e.g. "/dev/vhost-vdpa-0"
 * @out:  the frontend
 *
 * Return: 0; an error of open(2) (-EBUSY: another process has opened it);
 * -ENOTTY or -EPERM (not a vhost-vdpa device).
 */
int uvh_vdpa_open(const char *path, struct uvh **out);

/**
 * uvh_user_connect() - connect to a vhost-user backend that listens
 * @path:       its socket
 * @timeout_ms: longest wait for the connection and, later, for each reply;
 *              0: 5000; negative: no limit
 * @out:        the frontend
 *
 * Nothing is sent yet.
 * Return: 0; an error of connect(2); -ENAMETOOLONG; -ETIMEDOUT.
 */
int uvh_user_connect(const char *path, int timeout_ms, struct uvh **out);

/**
 * uvh_user_accept() - wait for a vhost-user backend that connects
 * @path:       where to listen; must not exist. Removed before this returns
 * @timeout_ms: longest wait for one connection and, later, for each reply; 0:
 *              5000; negative: no limit
 * @out:        the frontend
 *
 * Return: 0; an error of bind(2) (-EADDRINUSE); -ENAMETOOLONG; -ETIMEDOUT.
 */
int uvh_user_accept(const char *path, int timeout_ms, struct uvh **out);

/**
 * uvh_user_from_socket() - use a socket that is connected to a backend
 * @sock:       connected stream socket; belongs to the frontend on success.
 *              Its flags are not changed
 * @timeout_ms: as above
 * @out:        the frontend
 *
 * Return: 0; -EBADF; -ENOTSOCK.
 */
int uvh_user_from_socket(int sock, int timeout_ms, struct uvh **out);

/**
 * struct uvh_inproc_config - a device of this process; all zero: defaults
 * @name:         for log lines and threads; NULL: "inproc". Copied
 * @queue_pairs:  1...64, each on a thread of its own; 0: 1
 * @busy_poll_us: upper bound of adaptive polling after work, µs
 * @copied:       access guest memory by copying (/proc/self/mem) instead of by
 *                pointer: slower, but access to memory that is not mapped is
 *                an error (-EFAULT, a broken ring) instead of a SIGSEGV
 * @null_port:    uvh_net_set_backend() checks its descriptor and does not use
 *                it: frames of the guest are dropped, and the guest receives
 *                frames of @null_frame_len bytes if that is not 0
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
 * uvh_inproc_new() - make a net device that runs on threads of this process
 * @config: NULL: all zero
 * @out:    the frontend
 *
 * A call waits until the device's thread has run it between two batches of
 * frames.
 * Return: 0; -EINVAL (@config); -EAGAIN (threads).
 */
int uvh_inproc_new(const struct uvh_inproc_config *config, struct uvh **out);

/**
 * uvh_close() - stop the device, close its descriptors, free @fe
 * @fe: may be NULL
 *
 * After it no thread of the library accesses guest memory. (For a vhost-user
 * backend only the connection ends, which the backend notices later.)
 */
void uvh_close(struct uvh *fe);

/** uvh_transport() - "kernel", "vdpa", "user" or "inproc"; static */
const char *uvh_transport(const struct uvh *fe);

/* ---- features, owner ---- */

/**
 * uvh_get_features() - features that the device offers, bits 0...63
 *
 * Legal any time. The library handles VHOST_USER_F_PROTOCOL_FEATURES (bit 30,
 * user) itself: callers never see it.
 *
 * Source: <linux/vhost.h> VHOST_GET_FEATURES; vhost-user.rst
 * VHOST_USER_GET_FEATURES.
 */
int uvh_get_features(struct uvh *fe, uint64_t *features);

/**
 * uvh_set_features() - set the features that the guest accepted
 * @features: a subset of those offered. VHOST_F_LOG_ALL may be flipped while
 *            rings run
 *
 * Return: 0; -EOPNOTSUPP (a bit that is not offered); -EBUSY (vdpa: after
 * FEATURES_OK); -EFAULT (LOG_ALL, and the dirty log does not cover the memory).
 *
 * Source: <linux/vhost.h> VHOST_SET_FEATURES; vhost-user.rst
 * VHOST_USER_SET_FEATURES; virtio 1.2 §2.2.
 */
int uvh_set_features(struct uvh *fe, uint64_t features);

/**
 * uvh_get_backend_features() - get the offered VHOST_BACKEND_F_*, as a mask
 * uvh_set_backend_features() - accept some of them
 *
 * The accepted ones select the format of IOTLB messages (IOTLB_MSG_V2,
 * IOTLB_ASID, IOTLB_BATCH). vhost-user has protocol features instead.
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

/** UVH_PROTOCOL_BIT() - a protocol feature as a mask: UVH_PROTOCOL_BIT(MQ) */
#define UVH_PROTOCOL_BIT(name) (UINT64_C(1) << UVH_PROTOCOL_F_##name)

/** UVH_PROTOCOL_KNOWN - all that this library supports, as a mask. Accept
 * INBAND_NOTIFICATIONS only if the caller kicks rings with uvh_vring_kick() */
#define UVH_PROTOCOL_KNOWN                                                     \
	(UVH_PROTOCOL_BIT(MQ) | UVH_PROTOCOL_BIT(LOG_SHMFD) |                  \
	 UVH_PROTOCOL_BIT(RARP) | UVH_PROTOCOL_BIT(REPLY_ACK) |                \
	 UVH_PROTOCOL_BIT(MTU) | UVH_PROTOCOL_BIT(BACKEND_REQ) |               \
	 UVH_PROTOCOL_BIT(PAGEFAULT) | UVH_PROTOCOL_BIT(CONFIG) |              \
	 UVH_PROTOCOL_BIT(BACKEND_SEND_FD) | UVH_PROTOCOL_BIT(HOST_NOTIFIER) | \
	 UVH_PROTOCOL_BIT(INFLIGHT_SHMFD) | UVH_PROTOCOL_BIT(RESET_DEVICE) |   \
	 UVH_PROTOCOL_BIT(INBAND_NOTIFICATIONS) |                              \
	 UVH_PROTOCOL_BIT(CONFIGURE_MEM_SLOTS) | UVH_PROTOCOL_BIT(STATUS) |    \
	 UVH_PROTOCOL_BIT(DEVICE_STATE) |                                      \
	 UVH_PROTOCOL_BIT(GET_VRING_BASE_INFLIGHT) |                           \
	 UVH_PROTOCOL_BIT(GPA_ADDRESSES))

/**
 * uvh_get_protocol_features() - get the offered VHOST_USER_PROTOCOL_F_*
 *
 * A mask; 0 if the backend has no protocol features. Legal any time.
 */
int uvh_get_protocol_features(struct uvh *fe, uint64_t *features);

/**
 * uvh_set_protocol_features() - accept some of them
 * @features: a subset of those offered and of UVH_PROTOCOL_KNOWN
 *
 * Call it once, before uvh_set_features(). With REPLY_ACK each later call
 * returns the result of the backend. With BACKEND_REQ the channel for requests
 * of the backend is set up here. With MQ the number of rings is asked here.
 * With GPA_ADDRESSES the library translates addresses of this process to guest
 * addresses by the memory table before it sends them; arguments of calls stay
 * the same. With CONFIGURE_MEM_SLOTS there is no postcopy.
 *
 * Return: 0; -EOPNOTSUPP (a bit that is not offered, or not known); -EINVAL
 * (INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK, or
 * GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD).
 */
int uvh_set_protocol_features(struct uvh *fe, uint64_t features);

/**
 * uvh_set_owner() - make this process the owner of the device
 *
 * Comes before all calls except those for features.
 * Return: 0; -EBUSY (there is an owner).
 */
int uvh_set_owner(struct uvh *fe);

/**
 * uvh_reset_owner() - stop the rings, go back to the state before
 * uvh_set_owner()
 *
 * On vhost-user the message is deprecated, and backends differ in what they do:
 * stop the rings (uvh_vring_stop) and use uvh_reset_device() there.
 */
int uvh_reset_owner(struct uvh *fe);

/**
 * uvh_queue_count() - rings of the device
 *
 * Ring 0 is RX (to the guest) of the first queue pair, ring 1 its TX. On
 * vhost-user the count is 2 until MQ is negotiated. Then it is
 * 2 * max_virtqueue_pairs if CONFIG is negotiated too and the backend offers
 * VIRTIO_NET_F_MQ; else an upper bound: some backends (DPDK) report pairs,
 * others virtqueues, so the number is taken for pairs if VIRTIO_NET_F_MQ is
 * offered. With REPLY_ACK the set-up of a ring that the backend does not have
 * fails.
 */
unsigned int uvh_queue_count(const struct uvh *fe);

/* ---- memory ---- */

/**
 * uvh_set_mem_table() - replace the memory table
 * @regions: @n of them, read during the call. Where they overlap the one with
 *           the lowest @gpa counts (kernel, inproc); -EINVAL (user, vdpa)
 * @n:       0...UVH_REGIONS_MAX
 *
 * Legal with an owner, also while rings run: the device changes the table
 * between two batches. When the call returns 0 the device no longer accesses
 * regions that are not in the new table. On vhost-user with
 * CONFIGURE_MEM_SLOTS, and on vdpa, only differences are sent; if one of them
 * fails the differences before it stay in force.
 *
 * Return: 0; -E2BIG (more than uvh_max_mem_slots); -EBADF (user: a region
 * without descriptor); -EFAULT (kernel, inproc: an address outside user
 * space). On other failures the old table stays.
 *
 * Source: <linux/vhost.h> VHOST_SET_MEM_TABLE; vhost-user.rst
 * VHOST_USER_SET_MEM_TABLE, _ADD_MEM_REG, _REM_MEM_REG.
 */
int uvh_set_mem_table(struct uvh *fe, const struct uvh_region *regions,
		      unsigned int n);

/**
 * uvh_add_region() - add a region; the others stay in use
 * Return: 0; -EEXIST (overlaps one in the table); else as uvh_set_mem_table().
 */
int uvh_add_region(struct uvh *fe, const struct uvh_region *region);
/**
 * uvh_remove_region() - remove a region
 * @region: identified by its gpa, size and uva
 * Return: 0; -ENOENT; else as uvh_set_mem_table().
 */
int uvh_remove_region(struct uvh *fe, const struct uvh_region *region);

/** uvh_max_mem_slots() - get the most regions that a table of the device has */
int uvh_max_mem_slots(struct uvh *fe, unsigned int *slots);

/**
 * uvh_set_log_base() - set the bitmap of the dirty log, one bit for 4 KiB
 * @uva:    the bitmap in this process, 64-bit aligned; the bit of page 0 first
 * @size:   bytes
 * @fd:     the file behind it (user; others ignore the three)
 * @offset: of @uva in that file, bytes
 *
 * Return: 0; -EFAULT (rings run and the bitmap does not cover the memory);
 * -EBADF (user, without descriptor).
 */
int uvh_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size, int fd,
		     uint64_t offset);
/** uvh_set_log_fd() - set the eventfd that is signalled after pages are marked
 * in the dirty log; -1: none */
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
 * uvh_set_vring_addr() - set the addresses of the three areas of a ring
 * @addr: index below uvh_queue_count(@fe); flags 0 or 1 << VHOST_VRING_F_LOG;
 *        addresses as the table above says; log_guest_addr is guest physical
 *
 * Legal also while the ring runs, to flip VHOST_VRING_F_LOG.
 * Return: 0; -EINVAL (index, or avail, used or log not aligned to 2, 4, 4);
 * -EOPNOTSUPP (other flags); -EFAULT (user with GPA_ADDRESSES: not in the
 * memory table, which has to be set before).
 */
int uvh_set_vring_addr(struct uvh *fe, const struct vhost_vring_addr *addr);

/**
 * uvh_set_vring_base() - set the index of the next available entry to be taken
 * @base: split: 0...65535. Packed: bits 0...14 and 16...30 are the avail and
 *        used index, 15 and 31 their wrap counters
 *
 * Legal while the ring is stopped. Return: 0; -EBUSY; -EINVAL.
 */
int uvh_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base);

/**
 * uvh_get_vring_base() - get that index
 *
 * On vhost-user this stops the ring; elsewhere the ring may run. With
 * GET_VRING_BASE_INFLIGHT the backend may leave chains in flight: the file of
 * uvh_get_inflight() lists them, and the next backend that gets it completes
 * them.
 */
int uvh_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base);

/**
 * uvh_set_vring_kick() - set the eventfd that the guest signals (kick)
 * uvh_set_vring_call() - set the eventfd that interrupts the guest (call)
 * uvh_set_vring_err()  - set the eventfd that reports a broken ring to the VMM
 * @fd: -1: none
 *
 * Legal any time. A kick whose count is above 0 already is seen. On vhost-user
 * the kick's descriptor starts the ring, and this call signals it once (some
 * backends wait for that): set size, base and addresses and call
 * uvh_vring_start() before, as a TX ring that is started while it is not
 * enabled drops its frames.
 * Return: 0; -EBADF; -EINVAL (no eventfd; vhost-user backends may not check).
 */
int uvh_set_vring_kick(struct uvh *fe, unsigned int qi, int fd);
int uvh_set_vring_call(struct uvh *fe, unsigned int qi, int fd);
int uvh_set_vring_err(struct uvh *fe, unsigned int qi, int fd);

/**
 * uvh_set_vring_enable() - allow a ring to move frames, or not
 *
 * On vhost-user without VHOST_USER_F_PROTOCOL_FEATURES rings are always
 * enabled: nothing is sent, and disabling is -EOPNOTSUPP.
 */
int uvh_set_vring_enable(struct uvh *fe, unsigned int qi, bool enable);

/** uvh_set_vring_busyloop() - set the least time to poll after work, µs */
int uvh_set_vring_busyloop(struct uvh *fe, unsigned int qi, uint32_t us);

/**
 * uvh_vring_start() - start a ring that has been set up, on any transport
 * @backend: kernel, inproc: as for uvh_net_set_backend(); others ignore it
 */
int uvh_vring_start(struct uvh *fe, unsigned int qi, int backend);
/**
 * uvh_vring_stop() - stop a ring, on any transport, and get its base
 * @base: may be NULL; for uvh_set_vring_base() before the next start
 *
 * The device accesses neither ring nor buffers afterwards. On vhost-user a new
 * start needs uvh_set_vring_kick() again. (On vdpa most devices stop completely
 * only with uvh_suspend() or uvh_reset_device().)
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
 * or an address outside user space; user with GPA_ADDRESSES: not in the memory
 * table); -EEXIST (vdpa).
 */
int uvh_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
		   uint32_t asid);

/**
 * uvh_iotlb_recv() - get the next IOTLB message of the device, a miss
 *
 * Never waits: poll uvh_event_fd(). Messages arrive here only if there is no
 * handler for them (struct uvh_backend_ops).
 * Return: 0; -EAGAIN (none now, or no IOTLB in force).
 */
int uvh_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg);

/* ---- requests of the device ---- */

/**
 * struct uvh_backend_ops - handlers of requests of the device
 * @iotlb:         a miss, or an access that failed; @msg is valid until it
 *                 returns. Answer with uvh_iotlb_send(), here or later. NULL:
 *                 up to 64 messages are queued for uvh_iotlb_recv(), more get
 *                 -ENOBUFS
 * @config_changed: user: the configuration space has changed
 * @vring_call, @vring_err: user, with INBAND_NOTIFICATIONS, instead of the
 * eventfds
 * @host_notifier: user: a page of @size bytes at @offset of @fd can be mapped
 *                 as the notify register of ring @qi; -1: unmap it. @fd
 *                 is closed afterwards: duplicate it to keep it
 *
 * Called by uvh_handle_events(), on its thread (user: also by
 * uvh_iotlb_recv()). A handler may call everything but uvh_close(),
 * uvh_handle_events() and uvh_iotlb_recv(). They return 0 or a negative errno,
 * which is sent in the reply if the backend requests one (as a positive number;
 * backends only test whether it is 0). NULL: the reply says EOPNOTSUPP.
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
 * uvh_set_backend_ops() - set the handlers of requests of the device
 * @ops: borrowed until replaced; NULL: no handlers
 * @ctx: their argument
 *
 * Must not run at the same time as uvh_handle_events().
 */
void uvh_set_backend_ops(struct uvh *fe, const struct uvh_backend_ops *ops,
			 void *ctx);

/**
 * uvh_event_fd() - readable (POLLIN) when uvh_handle_events() or
 * uvh_iotlb_recv() has something to do
 *
 * On vhost-user also when the backend is gone. The descriptor belongs to the
 * library: do not close or read it. Return: a descriptor, valid until
 * uvh_close(); -EOPNOTSUPP.
 */
int uvh_event_fd(const struct uvh *fe);

/**
 * uvh_handle_events() - handle the requests of the device that have arrived;
 * never waits
 *
 * Return: requests handled; -EPIPE (the backend is gone); -EPROTO (user: not a
 * valid request; the connection is shut down).
 */
int uvh_handle_events(struct uvh *fe);

/* ---- net ---- */

/**
 * uvh_net_set_backend() - attach a ring to a port, or detach it
 * @fd: a tap, macvtap or AF_PACKET raw socket; -1 stops the ring
 *
 * Return: 0; -ENOTSOCK (another kind of file, or none); -EFAULT (memory or
 * ring cannot be reached; also for -1 before the first uvh_set_mem_table).
 *
 * Source: <linux/vhost.h> VHOST_NET_SET_BACKEND.
 */
int uvh_net_set_backend(struct uvh *fe, unsigned int qi, int fd);
/** uvh_net_set_mtu() - set the MTU that the guest reads; 68...65535 */
int uvh_net_set_mtu(struct uvh *fe, uint16_t mtu);
/** uvh_net_send_rarp() - announce the guest after it moved; @mac: 6 bytes */
int uvh_net_send_rarp(struct uvh *fe, const uint8_t mac[6]);

/* ---- configuration space, status ---- */

/** Purpose of a write to the configuration space (user; vdpa ignores it) */
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
/** uvh_set_config_call() - set the eventfd that is signalled when it changes;
 * -1: none */
int uvh_set_config_call(struct uvh *fe, int fd);

/**
 * uvh_get_status() - get VIRTIO_CONFIG_S_* of the device
 * uvh_set_status() - add bits; 0 resets the device
 * Return: 0; -EINVAL (vdpa: bits were missing).
 * Source: virtio 1.2 §2.1.
 */
int uvh_get_status(struct uvh *fe, uint8_t *status);
int uvh_set_status(struct uvh *fe, uint8_t status);
/** uvh_reset_device() - stop the rings, go back to the state after
 * uvh_set_owner() */
int uvh_reset_device(struct uvh *fe);

/* ---- vdpa ---- */

/** uvh_get_device_id() - get VIRTIO_ID_* */
int uvh_get_device_id(struct uvh *fe, uint32_t *id);
/** uvh_get_vring_num_max() - get the largest ring size of the device */
int uvh_get_vring_num_max(struct uvh *fe, uint16_t *num);
/** uvh_get_vring_size() - get the largest size of one ring; Linux 6.7 */
int uvh_get_vring_size(struct uvh *fe, unsigned int qi, uint32_t *num);
/** uvh_get_config_size() - get the bytes of configuration space */
int uvh_get_config_size(struct uvh *fe, uint32_t *size);
/** uvh_get_iova_range() - get the iovas that IOTLB updates may cover */
int uvh_get_iova_range(struct uvh *fe, uint64_t *first, uint64_t *last);
/** uvh_get_group_count() - get the number of groups of rings; a group has one
 * address space */
int uvh_get_group_count(struct uvh *fe, uint32_t *count);
/** uvh_get_as_count() - get the number of address spaces */
int uvh_get_as_count(struct uvh *fe, uint32_t *count);
/** uvh_get_vring_group() - get the group of a ring, or of its buffers only if
 * its descriptors have another one */
int uvh_get_vring_group(struct uvh *fe, unsigned int qi, uint32_t *group);
/** uvh_get_vring_desc_group() - get the group of its descriptors; Linux 6.7 */
int uvh_get_vring_desc_group(struct uvh *fe, unsigned int qi, uint32_t *group);
/** uvh_set_group_asid() - put a group into an address space; before DRIVER_OK
 */
int uvh_set_group_asid(struct uvh *fe, uint32_t group, uint32_t asid);
/**
 * uvh_suspend() - stop all rings; uvh_get_vring_base() is exact then
 * uvh_resume()  - continue; Linux 6.3
 */
int uvh_suspend(struct uvh *fe);
int uvh_resume(struct uvh *fe);

/* ---- vhost-user ---- */

/**
 * struct uvh_inflight - the file in which a backend records the chains in
 * flight, so that the next backend can continue
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
 * uvh_get_inflight() - let the backend make the file
 * @inflight: in: @queues and @queue_size; out: all; @fd belongs to the caller
 */
int uvh_get_inflight(struct uvh *fe, struct uvh_inflight *inflight);
/** uvh_set_inflight() - give it to the backend, before the rings start */
int uvh_set_inflight(struct uvh *fe, const struct uvh_inflight *inflight);

/**
 * uvh_postcopy_advise() - prepare for a postcopy migration
 * @uffd: the backend's userfaultfd; belongs to the caller
 *
 * This and the next three: also -EOPNOTSUPP with CONFIGURE_MEM_SLOTS.
 */
int uvh_postcopy_advise(struct uvh *fe, int *uffd);
/**
 * uvh_postcopy_listen() - begin it: at the next uvh_set_mem_table() or
 * uvh_add_region() the backend registers the memory with its userfaultfd
 */
int uvh_postcopy_listen(struct uvh *fe);
/** uvh_postcopy_end() - end it */
int uvh_postcopy_end(struct uvh *fe);
/**
 * uvh_postcopy_base() - get the backend's address of region @i, which faults
 * read from the userfaultfd refer to
 * @i:    in the order of the table
 * @base: address in the backend
 * Return: 0; -ENOENT (no such region, or the table is older than
 * uvh_postcopy_listen).
 */
int uvh_postcopy_base(struct uvh *fe, unsigned int i, uint64_t *base);

/** Direction of a transfer of device state */
enum uvh_state_direction {
	UVH_STATE_SAVE = 0, /* the device writes it */
	UVH_STATE_LOAD = 1, /* the device reads it */
};

/**
 * uvh_set_device_state() - save or load the state of a stopped device
 * @fd:    one end of a pipe; closed in any case
 * @other: -1 if the backend uses @fd; else a descriptor to use instead of the
 *         pipe's other end; belongs to the caller
 */
int uvh_set_device_state(struct uvh *fe, enum uvh_state_direction direction,
			 int fd, int *other);
/** uvh_check_device_state() - get the result after the end of the transfer;
 * -EIO: it failed */
int uvh_check_device_state(struct uvh *fe);

/** uvh_vring_kick() - kick a ring by a message instead of its eventfd */
int uvh_vring_kick(struct uvh *fe, unsigned int qi);

/* ---- logs and names ---- */

/** Levels of uvh_set_log(), the most important first */
enum uvh_log_level {
	UVH_LOG_ERROR,
	UVH_LOG_WARNING,
	UVH_LOG_INFO,
	UVH_LOG_DEBUG,
};

/**
 * uvh_set_log() - set the function for log lines of all frontends
 * @level: the least important level that is logged
 * @fn:    called with a line without newline, on any thread of the library or
 *         of its callers, also inside uvh_* calls: must not call them. NULL, as
 *         at the start: nothing is logged
 * @ctx:   its argument
 *
 * Call it before the first frontend is made, or when there is none.
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
