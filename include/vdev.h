/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev.h: a vhost-net device with two virtqueues, a memory table and ports. Its
 * users are the character device (one device for each open file), a vhost-user
 * session (one for each queue pair) and libuvhost's in-process transport (the
 * same). They check who may call. The device knows no ioctl numbers and no
 * messages. All functions but vdev_new() run on the device's worker thread,
 * which is asserted.
 *
 * Errors are those of the kernel's vhost-net for the same call in the same
 * state
 * (-errno), with checks in the kernel's order. A ring is active while it has a
 * backend (a port). Descriptors passed in are consumed: kept or closed.
 *
 * Source: <linux/vhost.h>; drivers/vhost/vhost.c and net.c for what the header
 * does not say.
 */
#ifndef VDEV_H
#define VDEV_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include "aspace.h"
#include "log_limit.h"
#include "log.h"
#include "netport.h"
#include "worker.h"

/** Rings of a vhost-net device (a queue pair), named as in Linux */
enum {
	VHOST_NET_VQ_RX = 0, /* to the guest */
	VHOST_NET_VQ_TX = 1, /* from the guest */
};
#define VDEV_VQS 2

/** Values of a descriptor argument that are no descriptor */
enum {
	VDEV_FD_NONE = -1, /* the caller passed -1: unbind */
	VDEV_FD_BAD = -2,  /* the caller named a descriptor it does not have */
};

struct vdev;

/**
 * struct vdev_config - arguments of vdev_new(); copied
 * @worker:    its thread; borrowed, outlives the device
 * @tag:       for its log lines
 * @limit:     rate limit of log lines that the guest can cause; borrowed; NULL:
 *             none
 * @open_port: returns the port of ring @qi for the @fd of
 *             VHOST_NET_SET_BACKEND: a reference, which the ring drops when it
 *             stops. A port with port->fd == @fd owns @fd; else, and on
 *             failure, the device does. Return: 0, or the errno of that ioctl.
 *             NULL: netport_from_fd()
 * @iotlb_event: called when there is a message for vdev_iotlb_read(), or when
 *             readers must check again as the IOTLB is disabled; may be NULL
 * @ctx:       for @open_port and @iotlb_event
 * @any_layout: bit 27 of the features is VIRTIO_F_ANY_LAYOUT, and ports
 *             exchange virtio_net_hdr whatever its value; else it is
 *             VHOST_NET_F_VIRTIO_NET_HDR
 * @cursors:   vdev_cursor_size() bytes of memory that outlives the process, all
 *             0 at first, where rings note what they are doing, for
 *             vdev_resume(); NULL: none. Not with vdev_set_inflight()
 * @features:  offered in addition to vdev_features(): VIRTIO_NET_F_*, and
 *             those VDEV_OPTIONAL_FEATURES that the VMM supports
 */
struct vdev_config {
	struct worker *worker;
	struct log_tag tag;
	struct log_limit *limit;
	int (*open_port)(void *ctx, unsigned int qi, int fd,
			 struct netport **port);
	void (*iotlb_event)(void *ctx);
	void *ctx;
	bool any_layout;
	void *cursors;
	uint64_t features;
};

/**
 * VDEV_OPTIONAL_FEATURES - features of the ring, offered only if
 * vdev_config.features has them
 *
 * The kernel's vhost-net up to 6.12 offers neither, and some of its clients
 * acknowledge all offered features even if the driver has not negotiated them:
 * device and driver would then use different ring formats.
 */
#define VDEV_OPTIONAL_FEATURES \
	(UINT64_C(1) << VIRTIO_F_RING_PACKED | UINT64_C(1) << VIRTIO_F_IN_ORDER)

/** vdev_new() - a fresh device without an owner; 0 or -ENOMEM */
int vdev_new(const struct vdev_config *config, struct vdev **out);

/** vdev_free() - stop the rings, close every descriptor, unmap everything */
void vdev_free(struct vdev *v);

/** vdev_features() - features that every device offers; word 0: bits 0...63 */
uint64_t vdev_features(unsigned int word);
/** vdev_offered() - features that @v offers, with vdev_config.features */
uint64_t vdev_offered(const struct vdev *v, unsigned int word);
/** vdev_backend_features() - VHOST_BACKEND_F_* offered, as a bit mask */
uint64_t vdev_backend_features(void);

/** vdev_has_owner() - has vdev_set_owner() been called since the last reset? */
bool vdev_has_owner(const struct vdev *v);

/**
 * vdev_set_owner() - VHOST_SET_OWNER
 * @as: the owner's address space; belongs to the device on success
 * Return: 0 or -EBUSY.
 */
int vdev_set_owner(struct vdev *v, struct aspace *as);

/** vdev_aspace() - the address space of vdev_set_owner(), or NULL */
struct aspace *vdev_aspace(struct vdev *v);

/**
 * vdev_reset_owner() - VHOST_RESET_OWNER: back to the state after vdev_new(),
 * but with an empty memory table; frees the address space. Return: 0.
 */
int vdev_reset_owner(struct vdev *v);

/**
 * vdev_owner_died() - the owner's address space is gone: stop the rings,
 * release backends and event descriptors at once
 */
void vdev_owner_died(struct vdev *v);

/** vdev_set_features() - 0; -EOPNOTSUPP (bit not offered); -EFAULT (log) */
int vdev_set_features(struct vdev *v, uint64_t features);
/** vdev_set_backend_features() - 0; -EOPNOTSUPP */
int vdev_set_backend_features(struct vdev *v, uint64_t features);

/**
 * vdev_set_mem_table() - VHOST_SET_MEM_TABLE
 * @regions: @n entries in memory of this process; the caller limits @n
 * @maps:    @nmaps shared mappings of the owner's memory; references taken over
 *           in any case
 *
 * Replaces the table and the mappings between two batches of frames.
 * Return: 0; -ENOMEM; -EFAULT (a region wraps; or a ring is active and a
 * region fails the address check). On failure the old table stays.
 */
int vdev_set_mem_table(struct vdev *v,
		       const struct vhost_memory_region *regions, size_t n,
		       struct aspace_map **maps, size_t nmaps);

/** vdev_set_log_base() - set the address of the dirty bitmap; 0, -EFAULT */
int vdev_set_log_base(struct vdev *v, uint64_t uva);
/** vdev_set_log_fd() - 0; -EBADF (VDEV_FD_BAD); -EINVAL (no eventfd) */
int vdev_set_log_fd(struct vdev *v, int fd);

/** vdev_check_vq() - 0, or -ENOBUFS if there is no such ring */
int vdev_check_vq(const struct vdev *v, uint32_t qi);
/** vdev_vq_active() - has ring @qi (below VDEV_VQS) a backend? */
bool vdev_vq_active(const struct vdev *v, uint32_t qi);

/* Each of these can return -ENOBUFS (there is no ring @qi) and what it names.
 */

/** vdev_set_vring_num() - -EBUSY (active); -EINVAL (>32768; no power of two,
 * and VIRTIO_F_RING_PACKED is not acked) */
int vdev_set_vring_num(struct vdev *v, uint32_t qi, uint32_t num);
/**
 * vdev_set_vring_base() - -EBUSY (active); -EINVAL (above 65535)
 *
 * With VIRTIO_F_RING_PACKED, here and in vdev_get_vring_base(): bits 0...14 are
 * the slot of the next available descriptor, 15 is its wrap counter; bits
 * 16...31 the same for the next used descriptor. A high half of 0 is taken to
 * be equal to the low half (QEMU sends both halves, DPDK the low one only).
 */
int vdev_set_vring_base(struct vdev *v, uint32_t qi, uint32_t base);
/** vdev_get_vring_base() - split: next available index to be taken; any time */
int vdev_get_vring_base(struct vdev *v, uint32_t qi, uint32_t *base);
/**
 * vdev_set_vring_addr() - -EOPNOTSUPP (flags), -EINVAL (alignment; or active
 * and out of user space)
 */
int vdev_set_vring_addr(struct vdev *v, const struct vhost_vring_addr *addr);
/** vdev_set_vring_kick() - -EBADF; -EINVAL (no eventfd); legal any time */
int vdev_set_vring_kick(struct vdev *v, uint32_t qi, int fd);
int vdev_set_vring_call(struct vdev *v, uint32_t qi, int fd);
int vdev_set_vring_err(struct vdev *v, uint32_t qi, int fd);
/** vdev_call() - signal the call eventfd although nothing was used; ignored if
 * there is no ring @qi or no eventfd */
void vdev_call(struct vdev *v, uint32_t qi);
/** vdev_set_vring_busyloop() - @us: microseconds, any value, any time */
int vdev_set_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t us);
int vdev_get_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t *us);

/**
 * vdev_net_set_backend() - VHOST_NET_SET_BACKEND
 * @fd: tap, macvtap or AF_PACKET descriptor; VDEV_FD_NONE stops the ring
 * Return: 0; -ENOBUFS; -EFAULT (no memory table, or table or ring outside
 * user space, or the used ring cannot be reached); -ENOTSOCK (wrong kind of
 * descriptor); -EINVAL (tap attached to nothing; packed ring with a base that
 * is not in it, or split ring of no power of two); -ENOMEM.
 */
int vdev_net_set_backend(struct vdev *v, uint32_t qi, int fd);

/** vdev_cursor_size() - bytes that vdev_config.cursors points to */
size_t vdev_cursor_size(void);

/**
 * vdev_resume() - rings were running in a process before this one
 * @on: vdev_net_set_backend() lets a ring go on where vdev_config.cursors say
 *      that it was, instead of at its base
 *
 * Chains that the other process may have sent are used without being sent; the
 * driver is signalled; with a dirty log all of the used ring is marked.
 * vdev_net_set_backend() may return -EAGAIN then as vdev_start() does; the
 * descriptor is closed, and the base is set to what the cursor says. So it is
 * without a descriptor, for a ring that does not go on.
 */
void vdev_resume(struct vdev *v, bool on);

/**
 * vdev_repeat() - the next call may have been carried out by a process that is
 * gone
 *
 * A ring that is started then goes on where vdev_config.cursors say, as with
 * vdev_resume(), if it has run; else it starts at its base. Before the call was
 * made for the first time the cursor has been forgotten: vdev_cursor_forget().
 */
void vdev_repeat(struct vdev *v, bool on);

/** vdev_cursor_forget() - ring @qi is going to be started at its base;
 * @cursors: vdev_config.cursors of its device. Any thread, while the ring is
 * stopped */
void vdev_cursor_forget(void *cursors, uint32_t qi);

/* Backends without descriptors (vhost-user). */

/**
 * vdev_start() - start a ring on a port
 * @port:    the ring takes a reference, which it drops when it stops
 * @enabled: as vdev_set_enabled()
 *
 * Return: 0; -ENOBUFS; -EBUSY (it runs); -EFAULT, -EINVAL, -ENOMEM as
 * vdev_net_set_backend(); -EAGAIN (the used ring is not in the IOTLB: try again
 * after an update; vdev_iotlb_read() returns the miss).
 */
int vdev_start(struct vdev *v, uint32_t qi, struct netport *port, bool enabled);
/** vdev_stop() - stop a ring; harmless if it does not run; 0 or -ENOBUFS */
int vdev_stop(struct vdev *v, uint32_t qi);
/**
 * vdev_set_enabled() - enable or disable a ring; 0 or -ENOBUFS
 *
 * A started RX ring that is disabled gives the guest no frames. A started TX
 * ring that is disabled drops the frames that the guest sends.
 */
int vdev_set_enabled(struct vdev *v, uint32_t qi, bool on);
/**
 * vdev_set_vring_poll() - whether the driver sends no kicks: then the worker
 * polls and never sleeps while the ring runs; 0 or -ENOBUFS
 */
int vdev_set_vring_poll(struct vdev *v, uint32_t qi, bool on);

/**
 * vdev_set_inflight() - record in-flight chains, from the next start of a ring
 * @map:   memory of the record; reference taken over; NULL: stop recording
 * @first: index in it of the device's first ring
 * @rings: number of rings in it
 * @num:   entries of each
 */
void vdev_set_inflight(struct vdev *v, struct aspace_map *map,
		       unsigned int first, unsigned int rings, uint16_t num);

/**
 * vdev_iotlb_write() - handle a message of the VMM (struct vhost_msg or _v2)
 * @len: bytes at @buf
 * Return: 72 whatever @len was; -EINVAL (short, unknown type, empty update);
 * -EFAULT (any other error).
 */
ssize_t vdev_iotlb_write(struct vdev *v, const void *buf, size_t len);
/**
 * vdev_iotlb_read() - get the next message for the VMM
 * @buf: @len bytes
 * Return: 72; 0 if @len is below 72; -EAGAIN (none now); -EBADFD (no IOTLB:
 * VIRTIO_F_ACCESS_PLATFORM is not in force).
 */
ssize_t vdev_iotlb_read(struct vdev *v, void *buf, size_t len);
/** vdev_iotlb_readable() - is there a message? */
bool vdev_iotlb_readable(const struct vdev *v);
/**
 * vdev_iotlb_each() - the updates that would make an empty IOTLB what it is
 * @fn: for each entry, in the order in which they count
 *
 * Return: 0, -ENOMEM (@fn was not called).
 */
int vdev_iotlb_each(const struct vdev *v,
		    void (*fn)(void *ctx, const struct vhost_iotlb_msg *msg),
		    void *ctx);
/** vdev_iotlb_repeat() - report all misses that the VMM has not answered again:
 * it may not have got them. It may answer twice */
void vdev_iotlb_repeat(struct vdev *v);
/** vdev_iotlb_drop() - drop queued messages (SET_BACKEND with fd -1 does);
 * rings that run and wait for an answer ask again */
void vdev_iotlb_drop(struct vdev *v);

/**
 * struct vdev_counters - counters of one ring since the device was made
 */
struct vdev_counters {
	uint64_t frames;     /* moved */
	uint64_t bytes;      /* without virtio_net_hdr */
	uint64_t dropped;    /* too long for the guest's buffers, refused by
				the port, malformed, or unreadable */
	uint64_t unreadable; /* TX: a buffer of the chain is unreadable */
	uint64_t kicks;      /* kick eventfd woke the worker */
	uint64_t signals;    /* call eventfd written */
	uint64_t suppressed; /* signals that the guest suppressed */
	uint64_t batches;    /* batches published */
	uint64_t errors;     /* ring errors (err eventfd) */
	uint64_t starved;    /* RX: a frame had to wait for guest buffers */
};

/** vdev_print() - print state and counters as text, without addresses */
void vdev_print(const struct vdev *v, FILE *out);

#endif
