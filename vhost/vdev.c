/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state machine of a device: what the VMM sets, and in which state it may.
 * Everything runs on the device's worker between two batches, so a change of
 * memory, addresses or backend never meets a ring at work.
 *
 * Order of checks and errno are those of drivers/vhost/vhost.c and net.c; where
 * kernels differ the newest is followed, except that clients can rely on no
 * more than Linux 6.12 offers.
 */
#include "vdev.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "evfd.h"
#include "vdev_priv.h"

#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

#define FEATURES                                                            \
	(BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VHOST_F_LOG_ALL) |              \
	 BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_F_VERSION_1) |               \
	 BIT(VHOST_NET_F_VIRTIO_NET_HDR) | BIT(VIRTIO_NET_F_MRG_RXBUF) |    \
	 BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_RESET))
#define BACKEND_FEATURES BIT(VHOST_BACKEND_F_IOTLB_MSG_V2)

uint64_t vdev_features(unsigned int word)
{
	return word == 0 ? FEATURES : 0;
}

uint64_t vdev_offered(const struct vdev *v, unsigned int word)
{
	return vdev_features(word) | (word == 0 ? v->cfg.features : 0);
}

uint64_t vdev_backend_features(void)
{
	return BACKEND_FEATURES;
}

static bool has_feature(const struct vdev *v, unsigned int bit)
{
	return v->features & BIT(bit);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- what happens by itself ---- */

static void on_kick(struct worker_watch *watch, uint32_t events)
{
	struct ring *r = container_of(watch, struct ring, kick);

	(void)events;
	r->vq.counters.kicks++;
	iotlb_ask_again(r);
	if (r->port)
		worker_queue(r->v->cfg.worker, &r->work);
}

static void on_port(struct worker_watch *watch, uint32_t events)
{
	struct ring *r = container_of(watch, struct ring, port_watch);

	(void)events;
	r->port_ready = true;
	iotlb_ask_again(r);
	/* A starved ring waits for the guest, not for more frames; but who
	 * does without kicks is noticed now. */
	if (!r->want_kick || virtq_has_new(&r->vq))
		worker_queue(r->v->cfg.worker, &r->work);
}

/* Chains may have come without a kick. */
static bool idle_poll(struct worker_idle *idle)
{
	struct vdev *v = container_of(idle, struct vdev, idle);
	bool found = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct ring *r = &v->ring[i];

		if (!r->port || !r->want_kick || !virtq_has_new(&r->vq))
			continue;
		worker_queue(v->cfg.worker, &r->work);
		found = true;
	}
	return found;
}

static bool idle_arm(struct worker_idle *idle)
{
	struct vdev *v = container_of(idle, struct vdev, idle);
	bool found = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct ring *r = &v->ring[i];

		if (r->port && r->poll) {
			worker_queue(v->cfg.worker, &r->work);
			found = true;
			continue;
		}
		if (!r->port || !r->want_kick)
			continue;
		if (virtq_enable_notify(&r->vq)) {
			worker_queue(v->cfg.worker, &r->work);
			found = true;
		}
	}
	return found;
}

static void on_log_event(struct virtq *vq)
{
	const struct vdev *v = container_of(vq, struct ring, vq)->v;

	if (v->log_fd >= 0)
		evfd_signal_peer(v->log_fd, 1);
}

/* ---- life ---- */

static void init_ring(struct vdev *v, unsigned int i)
{
	struct ring *r = &v->ring[i];

	r->v = v;
	r->vq.mv = &v->mv;
	r->vq.log = &r->log;
	r->vq.limit = v->cfg.limit;
	r->vq.read_only = i == TX;
	r->vq.iotlb_miss = iotlb_miss;
	r->vq.log_event = on_log_event;
	log_tag_init(&r->vq.tag, "%s.%s", v->cfg.tag.name,
		     i == RX ? "rx" : "tx");
	virtq_init(&r->vq);
	r->kick = (struct worker_watch){ .fn = on_kick, .fd = -1 };
	r->kick_fd = r->backend_fd = -1;
	r->base = -1;
	r->enabled = true;
	r->port_watch = (struct worker_watch){ .fn = on_port, .fd = -1 };
	r->work = (struct worker_work){ .fn = netdev_run };
}

int vdev_new(const struct vdev_config *config, struct vdev **out)
{
	struct vdev *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return -ENOMEM;
	v->cfg = *config;
	v->log_fd = -1;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		init_ring(v, i);
	ret = netdev_new(v);
	if (ret < 0) {
		free(v);
		return ret;
	}
	v->idle.poll = idle_poll;
	v->idle.arm = idle_arm;
	*out = v;
	return 0;
}

/* The worker polls for as long as the more eager active ring wants. */
static void update_idle(struct vdev *v)
{
	bool active = false;

	v->idle.min_us = 0;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct ring *r = &v->ring[i];

		if (!r->port)
			continue;
		active = true;
		v->idle.min_us = MAX(v->idle.min_us, r->busyloop_us);
	}
	worker_set_idle(v->cfg.worker, active ? &v->idle : NULL);
}

/* Takes the port away; what is known of the rings' memory stays. */
static void detach_port(struct ring *r)
{
	struct vdev *v = r->v;

	if (!r->port)
		return;
	worker_cancel(v->cfg.worker, &r->work);
	worker_watch_del(v->cfg.worker, &r->port_watch);
	if (r == &v->ring[RX])
		netdev_detached(v, r->port);
	if (r->backend_fd != r->port->fd)
		close_fd(&r->backend_fd);
	r->backend_fd = -1;
	if (!v->cfg.own_ports)
		netport_close(r->port);
	r->port = NULL;
	r->want_kick = false;
	update_idle(v);
}

static void detach(struct ring *r)
{
	if (!r->port)
		return;
	detach_port(r);
	virtq_free_shadow(&r->vq);
}

static void release_fds(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct ring *r = &v->ring[i];

		worker_watch_del(v->cfg.worker, &r->kick);
		close_fd(&r->kick_fd);
		close_fd(&r->vq.call_fd);
		close_fd(&r->vq.err_fd);
	}
	close_fd(&v->log_fd);
}

static void stop_all(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		detach(&v->ring[i]);
	netdev_drop_held(v);
	release_fds(v);
}

void vdev_free(struct vdev *v)
{
	if (!v)
		return;
	stop_all(v);
	worker_set_idle(v->cfg.worker, NULL);
	netdev_free(v);
	rangemap_free(&v->mv.table);
	rangemap_free(&v->mv.iotlb);
	aspace_free(v->mv.as);
	free(v);
}

bool vdev_has_owner(const struct vdev *v)
{
	return v->mv.as != NULL;
}

struct aspace *vdev_aspace(struct vdev *v)
{
	return v->mv.as;
}

int vdev_set_owner(struct vdev *v, struct aspace *as)
{
	if (v->mv.as)
		return -EBUSY;
	v->mv.as = as;
	v->dead = false;
	aspace_enter(as);
	memview_bind(&v->mv);
	return 0;
}

int vdev_reset_owner(struct vdev *v)
{
	stop_all(v);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		virtq_init(&v->ring[i].vq);
		v->ring[i].busyloop_us = 0;
		v->ring[i].log.base = 0;
		v->ring[i].base = -1;
	}
	iotlb_disable(v);
	rangemap_clear(&v->mv.table);
	v->mv.have_table = true;
	v->features = v->backend_features = 0;
	netdev_set_hdr(v);
	aspace_free(v->mv.as);
	v->mv.as = NULL;
	v->mv.hit = NULL;
	return 0;
}

void vdev_owner_died(struct vdev *v)
{
	v->dead = true;
	stop_all(v);
	if (v->mv.as)
		aspace_set_maps(v->mv.as, NULL, 0);
	memview_bind(&v->mv);
}

/* ---- features ---- */

static bool table_log_ok(const struct vdev *v, const struct rangemap *table,
			 uint64_t base)
{
	if (!has_feature(v, VHOST_F_LOG_ALL))
		return true;
	for (size_t i = 0; i < table->n; i++)
		if (!dirtylog_window_ok(base, table->r[i].start,
					table->r[i].last - table->r[i].start +
						1))
			return false;
	return true;
}

/* Under an IOTLB the log address of a ring is not used, and not judged:
 * vq_log_used_access_ok() in drivers/vhost/vhost.c. */
static bool ring_log_ok(const struct vdev *v, const struct virtq *vq,
			uint64_t log_base)
{
	return v->mv.have_iotlb || virtq_log_ok(vq, log_base);
}

/* They say where the parts of a ring are, and how long. */
#define RING_FEATURES                                               \
	(BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(VIRTIO_F_ACCESS_PLATFORM))

static void kick_all(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		virtq_changed(&v->ring[i].vq);
		if (v->ring[i].port)
			worker_queue(v->cfg.worker, &v->ring[i].work);
	}
}

static void clear_ring_addresses(struct vdev *v)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		memset(&v->ring[i].vq.addr, 0, sizeof(v->ring[i].vq.addr));
}

int vdev_set_features(struct vdev *v, uint64_t features)
{
	uint64_t old = v->features;

	if (features & ~vdev_offered(v, 0))
		return -EOPNOTSUPP;
	v->features = features;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct ring *r = &v->ring[i];

		if (r->port && !table_log_ok(v, &v->mv.table, r->log.base)) {
			v->features = old;
			return -EFAULT;
		}
	}
	if (has_feature(v, VIRTIO_F_ACCESS_PLATFORM)) {
		if (!v->mv.have_iotlb)
			clear_ring_addresses(v);
		iotlb_enable(v);
	} else if (v->mv.have_iotlb) {
		clear_ring_addresses(v);
		iotlb_disable(v);
	}
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->ring[i].vq.features = features;
	netdev_set_hdr(v);
	if ((old ^ features) & RING_FEATURES ||
	    has_feature(v, VIRTIO_F_ACCESS_PLATFORM))
		kick_all(v);
	return 0;
}

int vdev_set_backend_features(struct vdev *v, uint64_t features)
{
	if (features & ~BACKEND_FEATURES)
		return -EOPNOTSUPP;
	v->backend_features = features;
	return 0;
}

/* ---- memory ---- */

static void put_maps(struct aspace_map **maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aspace_map_put(maps[i]);
}

static int build_table(const struct vhost_memory_region *regions, size_t n,
		       struct rangemap *table)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t last;
		int ret = -EFAULT;

		if (range_last(regions[i].guest_phys_addr,
			       regions[i].memory_size, &last))
			ret = rangemap_add(table, regions[i].guest_phys_addr,
					   last, regions[i].userspace_addr,
					   RANGE_RW);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int set_table(struct vdev *v, const struct vhost_memory_region *regions,
		     size_t n, struct aspace_map **maps, size_t nmaps)
{
	struct memview new = { 0 };
	int ret;

	ret = build_table(regions, n, &new.table);
	if (ret < 0)
		goto err_free;
	ret = -EFAULT;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct ring *r = &v->ring[i];

		if (r->port && (!memview_table_ok(&new) ||
				!table_log_ok(v, &new.table, r->log.base)))
			goto err_free;
	}
	ret = aspace_set_maps(v->mv.as, maps, nmaps);
	if (ret < 0)
		goto err_free;
	rangemap_free(&v->mv.table);
	v->mv.table = new.table;
	v->mv.have_table = true;
	memview_bind(&v->mv);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->ring[i].vq.broken = false;
	kick_all(v);
	return 0;

err_free:
	rangemap_free(&new.table);
	return ret;
}

int vdev_set_mem_table(struct vdev *v,
		       const struct vhost_memory_region *regions, size_t n,
		       struct aspace_map **maps, size_t nmaps)
{
	int ret = set_table(v, regions, n, maps, nmaps);

	if (ret < 0)
		put_maps(maps, nmaps);
	return ret;
}

int vdev_set_log_base(struct vdev *v, uint64_t uva)
{
	int ret = 0;

	/* One ring's refusal does not keep the other from the new base. */
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct ring *r = &v->ring[i];

		if (r->port && (!table_log_ok(v, &v->mv.table, uva) ||
				!ring_log_ok(v, &r->vq, uva)))
			ret = -EFAULT;
		else
			r->log.base = uva;
	}
	return ret;
}

/* ---- descriptors ---- */

static bool is_eventfd(int fd)
{
	char path[32], link[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, "anon_inode:[eventfd]") == 0;
}

/* Puts an eventfd (or none) into *slot; @fd is consumed. */
static int replace_eventfd(int *slot, int fd)
{
	if (fd == VDEV_FD_BAD)
		return -EBADF;
	if (fd >= 0 && !is_eventfd(fd)) {
		close(fd);
		return -EINVAL;
	}
	close_fd(slot);
	*slot = fd;
	return 0;
}

int vdev_set_log_fd(struct vdev *v, int fd)
{
	return replace_eventfd(&v->log_fd, fd);
}

int vdev_check_vq(const struct vdev *v, uint32_t qi)
{
	(void)v;
	return qi < VDEV_VQS ? 0 : -ENOBUFS;
}

bool vdev_vq_active(const struct vdev *v, uint32_t qi)
{
	return v->ring[qi].port != NULL;
}

/* Consumes @fd if the ring does not exist. */
static int check_vq_fd(const struct vdev *v, uint32_t qi, int fd)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0 && fd >= 0)
		close(fd);
	return ret;
}

int vdev_set_vring_kick(struct vdev *v, uint32_t qi, int fd)
{
	struct ring *r;
	int ret = check_vq_fd(v, qi, fd);

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	if (fd >= 0 && r->kick_fd >= 0 && netport_same_fd(fd, r->kick_fd)) {
		close(fd);
		return 0;
	}
	if (fd == VDEV_FD_BAD)
		return -EBADF;
	if (fd >= 0 && !is_eventfd(fd)) {
		close(fd);
		return -EINVAL;
	}
	worker_watch_del(v->cfg.worker, &r->kick);
	close_fd(&r->kick_fd);
	r->kick_fd = fd;
	/* Edge-triggered and never read: the count stays the VMM's, and a
	 * count that is there already is an edge. */
	if (fd >= 0)
		ret = worker_watch_add(v->cfg.worker, &r->kick, fd,
				       EPOLLIN | EPOLLET);
	return ret;
}

int vdev_set_vring_call(struct vdev *v, uint32_t qi, int fd)
{
	int ret = check_vq_fd(v, qi, fd);

	return ret < 0 ? ret : replace_eventfd(&v->ring[qi].vq.call_fd, fd);
}

void vdev_call(struct vdev *v, uint32_t qi)
{
	int fd = qi < VDEV_VQS ? v->ring[qi].vq.call_fd : -1;

	if (fd >= 0)
		evfd_signal_peer(fd, 1);
}

int vdev_set_vring_err(struct vdev *v, uint32_t qi, int fd)
{
	int ret = check_vq_fd(v, qi, fd);

	return ret < 0 ? ret : replace_eventfd(&v->ring[qi].vq.err_fd, fd);
}

/* ---- rings ---- */

int vdev_set_vring_num(struct vdev *v, uint32_t qi, uint32_t num)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	if (v->ring[qi].port)
		return -EBUSY;
	if (!num || num > VIRTQ_MAX_NUM)
		return -EINVAL;
	if (!is_power_of_two(num) && !has_feature(v, VIRTIO_F_RING_PACKED))
		return -EINVAL;
	v->ring[qi].vq.num = num;
	return 0;
}

int vdev_set_vring_base(struct vdev *v, uint32_t qi, uint32_t base)
{
	int ret = vdev_check_vq(v, qi);
	struct virtq *vq;

	if (ret < 0)
		return ret;
	vq = &v->ring[qi].vq;
	if (v->ring[qi].port)
		return -EBUSY;
	if (has_feature(v, VIRTIO_F_RING_PACKED))
		/* DPDK leaves the used half 0. A ring at rest has nothing in
		 * flight, so it is where the other half is. */
		vq->last_used_idx =
			base >> 16 ? (uint16_t)(base >> 16) : (uint16_t)base;
	else if (base > UINT16_MAX)
		return -EINVAL;
	vq->last_avail_idx = vq->avail_idx = (uint16_t)base;
	v->ring[qi].base = base;
	return 0;
}

int vdev_get_vring_base(struct vdev *v, uint32_t qi, uint32_t *base)
{
	int ret = vdev_check_vq(v, qi);
	const struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	*base = r->vq.last_avail_idx;
	if (!has_feature(v, VIRTIO_F_RING_PACKED))
		return 0;
	if (r->base >= 0)
		*base = (uint32_t)r->base; /* the used half may be 0 there */
	else
		*base |= (uint32_t)r->vq.last_used_idx << 16;
	return 0;
}

int vdev_set_vring_addr(struct vdev *v, const struct vhost_vring_addr *addr)
{
	int ret = vdev_check_vq(v, addr->index);
	struct virtq checked;
	struct ring *r;
	bool same;

	if (ret < 0)
		return ret;
	r = &v->ring[addr->index];
	same = addr->desc_user_addr == r->vq.addr.desc_user_addr &&
	       addr->avail_user_addr == r->vq.addr.avail_user_addr &&
	       addr->used_user_addr == r->vq.addr.used_user_addr;
	if (addr->flags & ~BIT(VHOST_VRING_F_LOG))
		return -EOPNOTSUPP;
	if ((addr->avail_user_addr & (VRING_AVAIL_ALIGN_SIZE - 1)) ||
	    (addr->used_user_addr & (VRING_USED_ALIGN_SIZE - 1)) ||
	    (addr->log_guest_addr & (VRING_USED_ALIGN_SIZE - 1)))
		return -EINVAL;
	checked = r->vq;
	checked.addr = *addr;
	if (r->port && ((!v->mv.have_iotlb && !virtq_addr_ok(&checked)) ||
			!ring_log_ok(v, &checked, r->log.base)))
		return -EINVAL;
	r->vq.addr = *addr;
	/* Only the log was switched: the ring goes on. */
	if (same)
		return 0;
	virtq_changed(&r->vq);
	if (r->port)
		worker_queue(v->cfg.worker, &r->work);
	return 0;
}

int vdev_set_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t us)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	v->ring[qi].busyloop_us = us;
	update_idle(v);
	return 0;
}

int vdev_get_vring_busyloop(struct vdev *v, uint32_t qi, uint32_t *us)
{
	int ret = vdev_check_vq(v, qi);

	if (ret == 0)
		*us = v->ring[qi].busyloop_us;
	return ret;
}

/* ---- backend ---- */

/* vhost_vq_access_ok(): asked for every SET_BACKEND, stopping included. */
static bool ring_acceptable(const struct vdev *v, const struct ring *r)
{
	if (!v->mv.have_table || !memview_table_ok(&v->mv) ||
	    !table_log_ok(v, &v->mv.table, r->log.base))
		return false;
	if (v->mv.have_iotlb)
		return true; /* judged when used */
	return virtq_log_ok(&r->vq, r->log.base) && virtq_addr_ok(&r->vq);
}

/* The port for a descriptor. If it is the master's own, the descriptor is kept
 * to tell whether a later one is the same. */
static int open_port(const struct ring *r, int fd, struct netport **port)
{
	const struct vdev_config *cfg = &r->v->cfg;

	if (!cfg->open_port)
		return netport_from_fd(fd, port);
	return cfg->open_port(cfg->ctx, (unsigned int)(r - r->v->ring), fd,
			      port);
}

static int attach(struct ring *r, struct netport *port, int backend_fd)
{
	struct vdev *v = r->v;
	uint32_t events = r == &v->ring[RX] ? EPOLLIN | EPOLLET : EPOLLET;
	int ret = 0;

	if (port->fd >= 0)
		ret = worker_watch_add(v->cfg.worker, &r->port_watch, port->fd,
				       events);
	if (ret < 0)
		return ret;
	r->port = port;
	r->backend_fd = backend_fd;
	r->port_ready = true;
	r->base = -1;
	netdev_set_hdr(v);
	/* As in the kernel a receive ring runs first when it has a frame: until
	 * then the driver is asked for kicks. */
	if (r == &v->ring[RX])
		r->port_ready = netdev_attached(v, port);
	update_idle(v);
	if (r->port_ready)
		worker_queue(v->cfg.worker, &r->work);
	return 0;
}

/* Initialises the ring for a new backend. On failure it is as it was, and a
 * backend that it has goes on: vhost_net_set_backend(), err_used. */
static int restart_ring(struct ring *r)
{
	struct virtq old = r->vq;
	int ret;

	memset(&r->vq.desc, 0, sizeof(r->vq.desc));
	memset(&r->vq.avail, 0, sizeof(r->vq.avail));
	memset(&r->vq.used, 0, sizeof(r->vq.used));
	ret = virtq_start(&r->vq);
	if (ret == 0) {
		virtq_free_shadow(&old);
		return 0;
	}
	virtq_free_shadow(&r->vq);
	old.counters = r->vq.counters;
	r->vq = old;
	if (r->port)
		worker_queue(r->v->cfg.worker, &r->work);
	return ret;
}

static int start_backend(struct ring *r, int fd)
{
	struct netport *port = NULL;
	int ret;

	ret = open_port(r, fd, &port);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	ret = restart_ring(r);
	if (ret < 0)
		goto err_port;
	detach_port(r);
	ret = attach(r, port, fd);
	if (ret < 0)
		goto err_ring;
	return 0;

err_ring:
	virtq_free_shadow(&r->vq);
err_port:
	if (fd != port->fd)
		close(fd);
	netport_close(port);
	return ret;
}

int vdev_net_set_backend(struct vdev *v, uint32_t qi, int fd)
{
	int ret = check_vq_fd(v, qi, fd);
	struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	if (fd == VDEV_FD_NONE)
		vdev_iotlb_drop(v);
	if (!ring_acceptable(v, r)) {
		close_fd(&fd);
		return -EFAULT;
	}
	if (fd == VDEV_FD_BAD)
		return -ENOTSOCK;
	if (fd == VDEV_FD_NONE) {
		detach(r);
		return 0;
	}
	if (r->port && netport_same_fd(fd, r->backend_fd)) {
		close(fd);
		return 0;
	}
	return start_backend(r, fd);
}

/* ---- ports of the master's ---- */

void vdev_set_inflight(struct vdev *v, struct aspace_map *map,
		       unsigned int first, unsigned int rings, uint16_t num)
{
	/* Those that run let go of the old one first. */
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		v->ring[i].inflight.ptr = NULL;
	aspace_set_extra(v->mv.as, map);
	v->inflight = map;
	v->inflight_first = first;
	v->inflight_rings = rings;
	v->inflight_num = num;
}

/* The record of a ring that is about to run; its format is known only now. */
static int start_inflight(struct ring *r, uint32_t qi)
{
	const struct vdev *v = r->v;
	unsigned int at = v->inflight_first + qi;
	size_t stride = inflight_stride(v->inflight_num, r->vq.packed);

	r->inflight.ptr = NULL;
	if (!v->inflight || at >= v->inflight_rings)
		return 0;
	if (stride * (at + 1) > v->inflight->size)
		return -EINVAL;
	r->inflight.ptr = v->inflight->ptr + at * stride;
	r->inflight.num = v->inflight_num;
	return inflight_start(&r->inflight, &r->vq);
}

int vdev_start(struct vdev *v, uint32_t qi, struct netport *port, bool enabled)
{
	int ret = vdev_check_vq(v, qi);
	struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	if (r->port)
		return -EBUSY;
	if (!v->mv.as || !ring_acceptable(v, r))
		return -EFAULT;
	/* A VMM that answers misses is asked before a start that may fail. */
	if (v->mv.have_iotlb)
		ret = virtq_find_used(&r->vq);
	if (ret == 0)
		ret = virtq_start(&r->vq);
	if (ret == 0)
		ret = start_inflight(r, qi);
	r->enabled = enabled;
	if (ret == 0)
		ret = attach(r, port, -1);
	if (ret < 0)
		virtq_free_shadow(&r->vq);
	return ret;
}

int vdev_stop(struct vdev *v, uint32_t qi)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	detach(&v->ring[qi]);
	v->ring[qi].miss.state = MISS_NONE;
	return 0;
}

/* Serves what has come in the meantime. As in attach(), a receive ring runs
 * only if there is a frame for it. */
static void run_once(struct ring *r)
{
	struct vdev *v = r->v;

	if (!r->port)
		return;
	r->port_ready = r != &v->ring[RX] || netdev_has_frames(v, r->port);
	if (r->port_ready)
		worker_queue(v->cfg.worker, &r->work);
}

int vdev_set_enabled(struct vdev *v, uint32_t qi, bool on)
{
	int ret = vdev_check_vq(v, qi);
	struct ring *r;

	if (ret < 0)
		return ret;
	r = &v->ring[qi];
	r->enabled = on;
	run_once(r);
	return 0;
}

int vdev_set_vring_poll(struct vdev *v, uint32_t qi, bool on)
{
	int ret = vdev_check_vq(v, qi);

	if (ret < 0)
		return ret;
	v->ring[qi].poll = on;
	run_once(&v->ring[qi]);
	return 0;
}

/* ---- for people ---- */

const struct vdev_counters *vdev_vq_counters(const struct vdev *v, uint32_t qi)
{
	return &v->ring[qi].vq.counters;
}

/* A slot and its wrap counter, in a packed ring. */
static void print_index(const struct virtq *vq, uint16_t idx, char *to,
			size_t size)
{
	if (vq->packed)
		snprintf(to, size, "%u+%u", idx & 0x7fff, idx >> 15);
	else
		snprintf(to, size, "%u", idx);
}

static void print_ring(const struct ring *r, FILE *out)
{
	const struct vdev_counters *c = &r->vq.counters;
	char avail[16], used[16];

	print_index(&r->vq, r->vq.last_avail_idx, avail, sizeof(avail));
	print_index(&r->vq, r->vq.last_used_idx, used, sizeof(used));
	fprintf(out,
		"%s: port %s num %" PRIu32
		" ring %s avail %s used %s memory %s\n"
		"%s: frames %" PRIu64 " bytes %" PRIu64 " dropped %" PRIu64
		" unreadable %" PRIu64 " kicks %" PRIu64 " signals %" PRIu64
		" suppressed %" PRIu64 " batches %" PRIu64 " errors %" PRIu64
		" starved %" PRIu64 "\n",
		r->vq.tag.name, r->port ? r->port->ops->name : "none",
		r->vq.num, r->vq.packed ? "packed" : "split", avail, used,
		!r->vq.resolved                       ? "unknown"
		: r->vq.desc.ptr == r->vq.desc.shadow ? "copied"
						      : "mapped",
		r->vq.tag.name, c->frames, c->bytes, c->dropped, c->unreadable,
		c->kicks, c->signals, c->suppressed, c->batches, c->errors,
		c->starved);
}

void vdev_print(const struct vdev *v, FILE *out)
{
	size_t mapped = 0;

	for (size_t i = 0; i < v->mv.table.n; i++)
		mapped += v->mv.table.r[i].ptr != NULL;
	fprintf(out,
		"%s: owner %s features 0x%" PRIx64 " regions %zu mapped %zu"
		" copied bytes %" PRIu64 "\n",
		v->cfg.tag.name,
		v->dead    ? "died"
		: v->mv.as ? "yes"
			   : "none",
		v->features, v->mv.table.n, mapped,
		v->mv.as ? aspace_copied_bytes(v->mv.as) : 0);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		print_ring(&v->ring[i], out);
}
