/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_priv.h: the interface of the transports of the frontend library, and what
 * they share. Before fe.c or fe_vring.c calls an operation it has checked
 * ranges and state, and it holds the frontend's lock. NULL: the transport does
 * not support the call, which then returns -EOPNOTSUPP. Only
 * <uvhost/frontend.h> documents what the calls do.
 */
#ifndef FE_PRIV_H
#define FE_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <uvhost/frontend.h>
#include "bytes.h"
#include "mutex.h"

/** The call that starts a ring */
enum uvh_start {
	UVH_START_BACKEND, /* net_set_backend */
	UVH_START_ENABLE,  /* set_vring_enable */
	UVH_START_KICK,    /* set_vring_kick, vring_kick */
};

/**
 * struct uvh_ops - a transport
 * @checks_owner: the device itself returns -EPERM if there is no owner
 * @checks_state: the device itself returns -EBUSY if a ring is running, and
 *                -EOPNOTSUPP for features that it does not offer
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

	/* The regions do not overlap or wrap and are at most max_mem_slots.
	 * fe->table is the old table during the call. */
	int (*set_mem_table)(struct uvh *fe, const struct uvh_region *regions,
			     unsigned int n);
	/* Can be fe_add_by_table() and fe_remove_by_table(). */
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
	/* Descriptors are borrowed (dup them to keep them); -1: none */
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
 * @features: value of the last set_features
 * @running:  a bit for each ring that runs (fe_vring.c)
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

/** fe_table_add() - add a region to fe->table; 0 or -ENOMEM. For transports
 * that send single regions */
int fe_table_add(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);
void fe_table_remove(struct uvh *fe, unsigned int i) NEEDS(fe->lock);
/** fe_table_find() - index in fe->table of gpa, size and uva of @region; -1 */
int fe_table_find(const struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);

/** fe_replace_table() - call ops->set_mem_table, and make @regions fe->table;
 * on failure fe->table does not change */
int fe_replace_table(struct uvh *fe, const struct uvh_region *regions,
		     unsigned int n) NEEDS(fe->lock);
/** fe_add_by_table(), fe_remove_by_table() - set a copy of fe->table with the
 * change. For transports that send whole tables only */
int fe_add_by_table(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);
int fe_remove_by_table(struct uvh *fe, const struct uvh_region *region)
	NEEDS(fe->lock);

/**
 * fe_table_diff() - change fe->table to @regions by single regions: @remove
 * those that are not in @regions, then @add the new ones. Both update fe->table
 */
int fe_table_diff(struct uvh *fe, const struct uvh_region *regions,
		  unsigned int n,
		  int (*add)(struct uvh *fe, const struct uvh_region *region),
		  int (*remove)(struct uvh *fe,
				const struct uvh_region *region))
	NEEDS(fe->lock);

/** fe_vhost_table() - the table as the kernel's structure, to be freed; NULL:
 * no memory */
struct vhost_memory *fe_vhost_table(const struct uvh_region *r, unsigned int n);

/* Operations of character devices, shared by kernel and vdpa. */

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

/** fe_unpack_iotlb() - copy the message of either format; 0 or -EPROTO
 * (neither) */
int fe_unpack_iotlb(const union fe_iotlb_msg *m, struct vhost_iotlb_msg *msg);

/** fe_deliver_iotlb() - for handle_events: pass every message of iotlb_recv to
 * the handler; returns their number, or -errno */
int fe_deliver_iotlb(struct uvh *fe);

extern const struct uvh_ops fe_kernel_ops;
extern const struct uvh_ops fe_vdpa_ops;
extern const struct uvh_ops fe_user_ops;
extern const struct uvh_ops fe_inproc_ops;

#endif
