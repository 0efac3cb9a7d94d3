/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a transport of the frontend library supplies. fe.c has already checked
 * ranges and state and holds the frontend's lock; NULL means the transport
 * cannot, and fe.c answers -EOPNOTSUPP. What the calls mean stands in
 * <uvhost/frontend.h>, and only there.
 */
#ifndef FE_PRIV_H
#define FE_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <uvhost/frontend.h>
#include "bytes.h"
#include "mutex.h"

/** Which call starts a ring, and so ends its set-up */
enum uvh_start {
	UVH_START_BACKEND, /* net_set_backend */
	UVH_START_ENABLE,  /* set_vring_enable */
	UVH_START_KICK,    /* set_vring_kick, vring_kick */
};

/**
 * struct uvh_ops - a transport
 * @checks_owner: the device says -EPERM itself where there is no owner
 * @checks_state: it says -EBUSY itself where a ring is running, and
 *                -EOPNOTSUPP to features that it does not offer
 * @takes_overlaps: regions of a table may overlap
 */
struct uvh_ops {
	const char *name;
	enum uvh_start start;
	bool checks_owner;
	bool checks_state;
	bool takes_overlaps;

	int (*get_features)(struct uvh *fe, uint64_t *features);
	int (*set_features)(struct uvh *fe, uint64_t features);
	int (*get_backend_features)(struct uvh *fe, uint64_t *features);
	int (*set_backend_features)(struct uvh *fe, uint64_t features);
	int (*get_protocol_features)(struct uvh *fe, uint64_t *features);
	int (*set_protocol_features)(struct uvh *fe, uint64_t features);
	int (*set_owner)(struct uvh *fe);
	int (*reset_owner)(struct uvh *fe);

	/* Not overlapping, no wrap, at most max_mem_slots. fe->table is still
	 * the old one. */
	int (*set_mem_table)(struct uvh *fe, const struct uvh_region *regions,
			     unsigned int n);
	/* May be fe_add_by_table() and fe_remove_by_table(). */
	int (*add_region)(struct uvh *fe, const struct uvh_region *region);
	int (*remove_region)(struct uvh *fe, const struct uvh_region *region);
	int (*max_mem_slots)(struct uvh *fe, unsigned int *slots);
	int (*set_log_base)(struct uvh *fe, uint64_t uva, uint64_t size, int fd,
			    uint64_t offset);
	int (*set_log_fd)(struct uvh *fe, int fd);

	int (*set_vring_num)(struct uvh *fe, unsigned int qi, unsigned int num);
	int (*set_vring_addr)(struct uvh *fe,
			      const struct vhost_vring_addr *addr);
	int (*set_vring_base)(struct uvh *fe, unsigned int qi, uint32_t base);
	int (*get_vring_base)(struct uvh *fe, unsigned int qi, uint32_t *base);
	/* fds remain the caller's (dup what you keep); -1 unbinds */
	int (*set_vring_kick)(struct uvh *fe, unsigned int qi, int fd);
	int (*set_vring_call)(struct uvh *fe, unsigned int qi, int fd);
	int (*set_vring_err)(struct uvh *fe, unsigned int qi, int fd);
	int (*set_vring_enable)(struct uvh *fe, unsigned int qi, bool enable);
	int (*set_vring_busyloop)(struct uvh *fe, unsigned int qi, uint32_t us);

	int (*iotlb_send)(struct uvh *fe, const struct vhost_iotlb_msg *msg,
			  uint32_t asid);
	/* These two are called without the lock. */
	int (*iotlb_recv)(struct uvh *fe, struct vhost_iotlb_msg *msg);
	int (*handle_events)(struct uvh *fe);

	int (*net_set_backend)(struct uvh *fe, unsigned int qi, int fd);
	int (*net_set_mtu)(struct uvh *fe, uint16_t mtu);
	int (*net_send_rarp)(struct uvh *fe, const uint8_t mac[6]);

	int (*get_config)(struct uvh *fe, uint32_t offset, void *buf,
			  uint32_t len);
	int (*set_config)(struct uvh *fe, uint32_t offset, const void *buf,
			  uint32_t len, enum uvh_config_writer writer);
	int (*set_config_call)(struct uvh *fe, int fd);
	int (*get_status)(struct uvh *fe, uint8_t *status);
	int (*set_status)(struct uvh *fe, uint8_t status);
	int (*reset_device)(struct uvh *fe);

	int (*get_device_id)(struct uvh *fe, uint32_t *id);
	int (*get_vring_num_max)(struct uvh *fe, uint16_t *num);
	int (*get_config_size)(struct uvh *fe, uint32_t *size);
	int (*get_iova_range)(struct uvh *fe, uint64_t *first, uint64_t *last);
	int (*get_group_count)(struct uvh *fe, uint32_t *count);
	int (*get_as_count)(struct uvh *fe, uint32_t *count);
	int (*get_vring_group)(struct uvh *fe, unsigned int qi,
			       uint32_t *group);
	int (*get_vring_desc_group)(struct uvh *fe, unsigned int qi,
				    uint32_t *group);
	int (*set_group_asid)(struct uvh *fe, uint32_t group, uint32_t asid);
	int (*get_vring_size)(struct uvh *fe, unsigned int qi, uint32_t *num);
	int (*suspend)(struct uvh *fe);
	int (*resume)(struct uvh *fe);

	int (*get_inflight)(struct uvh *fe, struct uvh_inflight *inflight);
	int (*set_inflight)(struct uvh *fe,
			    const struct uvh_inflight *inflight);
	int (*postcopy_advise)(struct uvh *fe, int *uffd);
	int (*postcopy_listen)(struct uvh *fe);
	int (*postcopy_end)(struct uvh *fe);
	int (*postcopy_base)(struct uvh *fe, unsigned int i, uint64_t *base);
	int (*set_device_state)(struct uvh *fe,
				enum uvh_state_direction direction, int fd,
				int *other);
	int (*check_device_state)(struct uvh *fe);
	int (*vring_kick)(struct uvh *fe, unsigned int qi);

	int (*event_fd)(const struct uvh *fe);
	void (*close)(struct uvh *fe); /* frees @fe after fe_fini() */
};

/**
 * struct uvh - common part; embedded first in each transport's
 * @lock:     held during every call but those of events
 * @queues:   rings
 * @owner:    between set_owner and reset_owner of this frontend
 * @features: what was set last
 * @running:  a bit for each ring that has been started
 * @table, @nregions: the memory table in force
 * @backend_ops, @backend_ctx: handlers of the device's requests
 */
struct uvh {
	const struct uvh_ops *ops;
	struct mutex lock;
	unsigned int queues;
	bool owner;
	uint64_t features;
	uint8_t running[UVH_QUEUES_MAX / 8];
	struct uvh_region *table;
	unsigned int nregions;
	const struct uvh_backend_ops *backend_ops;
	void *backend_ctx;
};

/* ---- fe_base.c ---- */

/** fe_init() - the common part of a frontend, zeroed memory */
void fe_init(struct uvh *fe, const struct uvh_ops *ops, unsigned int queues);
void fe_fini(struct uvh *fe);

/** fe_table_add() - add a region to the table in force; 0 or -ENOMEM. For
 * transports that change the table region by region */
int fe_table_add(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);
void fe_table_remove(struct uvh *fe, unsigned int i) NEEDS(fe->lock);
/** fe_table_find() - index of a row with gpa, size and uva of @region; -1 */
int fe_table_find(const struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);

/** fe_replace_table() - ops->set_mem_table with @regions, which are in force
 * then; on failure nothing changes */
int fe_replace_table(struct uvh *fe, const struct uvh_region *regions,
		     unsigned int n) NEEDS(fe->lock);
/** For transports that take whole tables only: the same with a changed copy of
 * the table in force */
int fe_add_by_table(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);
int fe_remove_by_table(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);

/**
 * fe_table_diff() - make the table in force @regions by single steps: removes
 * what is not in it, then adds what is new, with @add and @remove
 * Both note what they did in the table in force.
 */
int fe_table_diff(struct uvh *fe, const struct uvh_region *regions,
		  unsigned int n,
		  int (*add)(struct uvh *fe, const struct uvh_region *region),
		  int (*remove)(struct uvh *fe,
				const struct uvh_region *region))
	NEEDS(fe->lock);

/* Operations of the character devices, whose ioctls kernel and vdpa share.
 * Each such frontend starts with a struct fe_chardev. */

/**
 * struct fe_chardev - a device that takes ioctls
 * @fd: its descriptor
 * @backend_features: accepted
 */
struct fe_chardev {
	struct uvh fe;
	int fd;
	uint64_t backend_features;
};

static inline struct fe_chardev *chardev(const struct uvh *fe)
{
	return container_of(fe, struct fe_chardev, fe);
}

int fe_ioctl(const struct uvh *fe, unsigned long cmd, void *arg);
int fe_chardev_get_features(struct uvh *fe, uint64_t *features);
int fe_chardev_set_features(struct uvh *fe, uint64_t features);
int fe_chardev_get_backend_features(struct uvh *fe, uint64_t *features);
int fe_chardev_set_backend_features(struct uvh *fe, uint64_t features);
int fe_chardev_set_owner(struct uvh *fe);
int fe_chardev_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num);
int fe_chardev_set_vring_addr(struct uvh *fe,
			      const struct vhost_vring_addr *addr);
int fe_chardev_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base);
int fe_chardev_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base);
int fe_chardev_set_vring_kick(struct uvh *fe, unsigned int qi, int fd);
int fe_chardev_set_vring_call(struct uvh *fe, unsigned int qi, int fd);
int fe_chardev_set_vring_err(struct uvh *fe, unsigned int qi, int fd);
int fe_chardev_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
			  uint32_t asid);
void fe_chardev_close(struct uvh *fe);

/** union fe_iotlb_msg - a message that a device gives to read, in either
 * format */
union fe_iotlb_msg {
	struct vhost_msg v1;
	struct vhost_msg_v2 v2;
};

/** fe_unpack_iotlb() - @msg from either; 0 or -EPROTO (neither) */
int fe_unpack_iotlb(const union fe_iotlb_msg *m, struct vhost_iotlb_msg *msg);

/** fe_deliver_iotlb() - for handle_events: every message that iotlb_recv gives
 * goes to the handler; how many, or -errno */
int fe_deliver_iotlb(struct uvh *fe);

extern const struct uvh_ops fe_kernel_ops;
extern const struct uvh_ops fe_vdpa_ops;
extern const struct uvh_ops fe_user_ops;
extern const struct uvh_ops fe_inproc_ops;

#endif
