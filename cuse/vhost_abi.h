/* SPDX-License-Identifier: BSD-3-Clause */
/* What <linux/vhost.h> of Linux 6.1 lacks, with the numbers of 6.17. */
#ifndef VHOST_ABI_H
#define VHOST_ABI_H

#include <linux/vhost.h>
#include <stddef.h>
#include <stdint.h>

struct abi_worker_state {
	uint32_t worker_id;
};

struct abi_vring_worker {
	uint32_t index;
	uint32_t worker_id;
};

struct abi_features_array {
	uint64_t count;
	uint64_t features[];
};

#ifndef VHOST_NEW_WORKER
#define VHOST_NEW_WORKER _IOR(VHOST_VIRTIO, 0x8, struct abi_worker_state)
#define VHOST_FREE_WORKER _IOW(VHOST_VIRTIO, 0x9, struct abi_worker_state)
#define VHOST_ATTACH_VRING_WORKER \
	_IOW(VHOST_VIRTIO, 0x15, struct abi_vring_worker)
#define VHOST_GET_VRING_WORKER \
	_IOWR(VHOST_VIRTIO, 0x16, struct abi_vring_worker)
#endif

#ifndef VHOST_GET_FEATURES_ARRAY
#define VHOST_GET_FEATURES_ARRAY \
	_IOR(VHOST_VIRTIO, 0x83, struct abi_features_array)
#define VHOST_SET_FEATURES_ARRAY \
	_IOW(VHOST_VIRTIO, 0x83, struct abi_features_array)
#endif

#ifndef VHOST_SET_FORK_FROM_OWNER
#define VHOST_SET_FORK_FROM_OWNER _IOW(VHOST_VIRTIO, 0x84, uint8_t)
#define VHOST_GET_FORK_FROM_OWNER _IOR(VHOST_VIRTIO, 0x85, uint8_t)
#endif

_Static_assert(VHOST_NEW_WORKER == 0x8004af08, "vhost ABI");
_Static_assert(VHOST_GET_VRING_WORKER == 0xc008af16, "vhost ABI");
_Static_assert(VHOST_GET_FEATURES_ARRAY == 0x8008af83, "vhost ABI");
_Static_assert(VHOST_SET_FEATURES_ARRAY == 0x4008af83, "vhost ABI");
_Static_assert(VHOST_SET_FORK_FROM_OWNER == 0x4001af84, "vhost ABI");
_Static_assert(VHOST_GET_FORK_FROM_OWNER == 0x8001af85, "vhost ABI");
_Static_assert(sizeof(struct vhost_memory_region) == 32, "vhost ABI");
_Static_assert(sizeof(struct vhost_memory) == 8, "vhost ABI");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "vhost ABI");
_Static_assert(offsetof(struct vhost_vring_addr, avail_user_addr) == 24,
	       "desc, used, avail: in this order");

#endif
