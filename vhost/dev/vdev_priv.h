/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdev_priv.h: what the files of a device share. All of them run on the
 * device's worker.
 *
 *   vdev.c            life, owner, features
 *   vdev_mem.c        memory table, dirty log
 *   vdev_queue.c      settings of a ring: eventfds, size, base, addresses
 *   vdev_backend.c    a ring and its port: start, stop, queueing its work
 *   vdev_print.c      counters as text
 *   virtio_net*.c     frames between ring and port
 *   iotlb.c           IOTLB messages
 */
#ifndef VDEV_PRIV_H
#define VDEV_PRIV_H

#include <assert.h>
#include "bytes.h"
#include "fd.h"
#include "vhost/virtq/dirtylog.h"
#include "vhost/virtq/inflight.h"
#include "vhost/mem/memview.h"
#include "netport.h"
#include "vdev.h"
#include "vhost/virtq/virtq.h"

struct virtio_net;

/**
 * struct iotlb_miss - a miss that is reported to the VMM; at most one for a
 * ring
 * @order: the oldest is reported first
 *
 *   MISS_NONE   ─ iotlb_miss()                             ─► MISS_QUEUED
 *   MISS_QUEUED ─ vdev_iotlb_read()                        ─► MISS_READ
 *   MISS_READ   ─ wake_missed(): an update covers @iova    ─► MISS_NONE
 *   MISS_READ   ─ iotlb_ask_again(): next kick or frame,
 *                 as the VMM may have been unable to reply ─► MISS_NONE
 *   MISS_READ   ─ vdev_iotlb_repeat()                      ─► MISS_QUEUED
 *   any         ─ forget_misses(), vdev_stop()             ─► MISS_NONE
 */
struct iotlb_miss {
	enum { MISS_NONE, MISS_QUEUED, MISS_READ } state;
	uint64_t iova;
	uint64_t order;
	uint8_t perm;
};

/**
 * struct vdev_queue - a queue of the device: a virtqueue, its port and eventfds
 * @port:     its backend, of which the ring has a reference; the ring is active
 *            if there is one
 * @backend_fd: the descriptor of VHOST_NET_SET_BACKEND: the port's, or, if the
 *            port does not use it, the ring's; -1 after vdev_start()
 * @enabled:  frames move; always true, except with vhost-user
 * @base:     value of VHOST_SET_VRING_BASE, for GET_VRING_BASE until the ring
 *            runs; -1: it has run, or none was set
 * @poll:     the driver sends no kicks: the worker polls
 * @want_kick: the last run ended as there were no chains: enable kicks before
 *            sleeping
 * @port_ready: the port may have frames (RX), or space (TX)
 */
struct vdev_queue {
	struct virtq vq;
	struct dirtylog log; /* a base for each ring, as in the kernel */
	struct vdev *v;
	uint32_t busyloop_us;
	struct loop_watch kick; /* its fd is owned */
	int kick_fd;            /* also while not watched */
	struct netport *port;
	int backend_fd;
	int64_t base;
	bool enabled, poll;
	struct loop_watch port_watch;
	struct worker_work work;
	bool want_kick;
	bool port_ready;
	struct iotlb_miss miss;
	struct inflight inflight;
};

struct vdev {
	struct vdev_config cfg;
	struct memview mv;
	int log_fd;
	uint64_t features;
	uint64_t backend_features;
	bool dead;      /* the owner is gone */
	bool resuming;  /* vdev_resume() */
	bool repeating; /* vdev_repeat() */
	uint64_t miss_order;
	struct aspace_map *inflight; /* the aspace's */
	unsigned int inflight_first, inflight_rings;
	uint16_t inflight_num;
	struct vdev_queue queue[VDEV_VQS];
	struct virtio_net *net;
	struct worker_idle idle;
};

/** vdev_check_thread() - assert that this is the device's worker */
static inline void vdev_check_thread(const struct vdev *v)
{
	assert(worker_is_self(v->cfg.worker));
}

/** vdev_has() - was a feature negotiated? */
static inline bool vdev_has(const struct vdev *v, unsigned int bit)
{
	return v->features & BIT(bit);
}

/* vdev.c */

/** vdev_queues_changed() - memory or addresses changed: all rings resolve their
 * areas again and run */
void vdev_queues_changed(struct vdev *v);

/* vdev_mem.c */

/** vdev_table_log_ok() - if all writes are logged: is the log at @base, with a
 * bit for each page of the table, in user space? */
bool vdev_table_log_ok(const struct vdev *v, const struct rangemap *table,
		       uint64_t base);
/** vdev_queue_log_ok() - the same for the used ring, if that is logged */
bool vdev_queue_log_ok(const struct vdev *v, const struct virtq *vq,
		       uint64_t log_base);
/** vdev_access_ok() - may the ring start, as far as addresses are concerned? */
bool vdev_access_ok(const struct vdev *v, const struct vdev_queue *q);

/* vdev_queue.c */
void vdev_queue_init(struct vdev_queue *q);
/** vdev_queue_release() - close the ring's eventfds */
void vdev_queue_release(struct vdev_queue *q);
/** vdev_find_queue() - ring @qi; NULL (the caller returns -ENOBUFS) if there is
 * none */
struct vdev_queue *vdev_find_queue(struct vdev *v, uint32_t qi);
/** vdev_find_queue_fd() - the same; closes @fd if there is none */
struct vdev_queue *vdev_find_queue_fd(struct vdev *v, uint32_t qi, int fd);

/* vdev_backend.c */
void vdev_backend_init(struct vdev_queue *q);
void vdev_idle_init(struct vdev *v);
/** vdev_update_idle() - after a change of ports or busy-loop times */
void vdev_update_idle(struct vdev *v);
/** vdev_detach() - stop a ring and drop its port */
void vdev_detach(struct vdev_queue *q);

/* virtio_net.c */

/** virtio_net_new() - the data path of @v; 0 or -ENOMEM */
int virtio_net_new(struct vdev *v);
void virtio_net_free(struct vdev *v);
/** virtio_net_run() - run a ring: move frames, up to a budget */
void virtio_net_run(struct worker_work *work);
/** virtio_net_set_hdr() - set the lengths of headers by the features */
void virtio_net_set_hdr(struct vdev *v);
/**
 * virtio_net_attached() - the RX ring has @port now: drop frames in the copy
 * buffer that are from another port
 *
 * Return: whether frames wait for the ring, held ones or new ones; true if
 * @port cannot tell.
 */
bool virtio_net_attached(struct vdev *v, struct netport *port);
/** virtio_net_has_frames() - do frames wait for the RX ring, held ones or new
 * ones in @port? true if the port cannot tell */
bool virtio_net_has_frames(const struct vdev *v, struct netport *port);
/** virtio_net_detached() - the RX ring is about to drop its reference to @port:
 * borrowed frames stay in it, frames in the copy buffer are kept for
 * virtio_net_attached() */
void virtio_net_detached(struct vdev *v, const struct netport *port);
/** virtio_net_drop_held() - no frames are held any more: those in the copy
 * buffer are dropped and counted, borrowed ones stay in the port */
void virtio_net_drop_held(struct vdev *v);

/* iotlb.c */

/** iotlb_miss() - virtq.iotlb_miss of a struct vdev_queue's vq */
void iotlb_miss(struct virtq *vq, uint64_t iova, uint8_t perm);
/** iotlb_ask_again() - @q runs again: a miss that was read and not answered
 * may be sent again */
void iotlb_ask_again(struct vdev_queue *q);
/** iotlb_enable() - a new, empty IOTLB */
void iotlb_enable(struct vdev *v);
void iotlb_disable(struct vdev *v);

#endif
