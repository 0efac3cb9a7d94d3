/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel definitions that the headers of Debian 12 (Linux 6.1) lack, each with
 * the Linux release that added it, and assertions on the layouts that the code
 * relies on.
 */
#ifndef ABI_H
#define ABI_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

/* ---- <linux/vhost.h>, <linux/vhost_types.h> ---- */

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

#ifndef VHOST_VDPA_RESUME /* 6.3 */
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif
#ifndef VHOST_NEW_WORKER /* 6.5 */
#define VHOST_NEW_WORKER _IOR(VHOST_VIRTIO, 0x8, struct abi_worker_state)
#define VHOST_FREE_WORKER _IOW(VHOST_VIRTIO, 0x9, struct abi_worker_state)
#define VHOST_ATTACH_VRING_WORKER \
	_IOW(VHOST_VIRTIO, 0x15, struct abi_vring_worker)
#define VHOST_GET_VRING_WORKER \
	_IOWR(VHOST_VIRTIO, 0x16, struct abi_vring_worker)
#endif
#ifndef VHOST_VDPA_GET_VRING_DESC_GROUP /* 6.7 */
#define VHOST_VDPA_GET_VRING_DESC_GROUP \
	_IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#endif
#ifndef VHOST_VDPA_GET_VRING_SIZE /* 6.10 */
#define VHOST_VDPA_GET_VRING_SIZE \
	_IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#endif
#ifndef VHOST_GET_FEATURES_ARRAY /* 6.17 */
#define VHOST_GET_FEATURES_ARRAY \
	_IOR(VHOST_VIRTIO, 0x83, struct abi_features_array)
#define VHOST_SET_FEATURES_ARRAY \
	_IOW(VHOST_VIRTIO, 0x83, struct abi_features_array)
#endif
#ifndef VHOST_SET_FORK_FROM_OWNER /* 6.17 */
#define VHOST_SET_FORK_FROM_OWNER _IOW(VHOST_VIRTIO, 0x84, uint8_t)
#define VHOST_GET_FORK_FROM_OWNER _IOR(VHOST_VIRTIO, 0x85, uint8_t)
#endif
#ifndef VHOST_BACKEND_F_RESUME /* 6.3 */
#define VHOST_BACKEND_F_RESUME 5
#endif
#ifndef VHOST_BACKEND_F_DESC_ASID /* 6.7 */
#define VHOST_BACKEND_F_DESC_ASID 7
#endif

_Static_assert(VHOST_NEW_WORKER == 0x8004af08, "vhost ABI");
_Static_assert(VHOST_GET_VRING_WORKER == 0xc008af16, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_STATUS == 0x8001af71, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_CONFIG == 0x8008af73, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_NUM == 0x8002af76, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_IOVA_RANGE == 0x8010af78, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_GROUP == 0xc008af7b, "vhost ABI");
_Static_assert(VHOST_VDPA_RESUME == 0xaf7e, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_DESC_GROUP == 0xc008af7f, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_SIZE == 0xc008af82, "vhost ABI");
_Static_assert(VHOST_GET_FEATURES_ARRAY == 0x8008af83, "vhost ABI");
_Static_assert(VHOST_SET_FEATURES_ARRAY == 0x4008af83, "vhost ABI");
_Static_assert(VHOST_SET_FORK_FROM_OWNER == 0x4001af84, "vhost ABI");
_Static_assert(VHOST_GET_FORK_FROM_OWNER == 0x8001af85, "vhost ABI");
_Static_assert(sizeof(struct vhost_memory_region) == 32, "vhost ABI");
_Static_assert(sizeof(struct vhost_memory) == 8, "vhost ABI");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "vhost ABI");
_Static_assert(offsetof(struct vhost_vring_addr, avail_user_addr) == 24,
	       "desc, used, avail: in this order");
_Static_assert(sizeof(struct vhost_msg) == 72, "vhost ABI");
_Static_assert(sizeof(struct vhost_msg_v2) == 72, "vhost ABI");
_Static_assert(offsetof(struct vhost_msg_v2, iotlb) == 8, "vhost ABI");
_Static_assert(offsetof(struct vhost_vdpa_config, buf) == 8, "vhost ABI");

/* ---- <linux/virtio_net.h> ---- */

#ifndef VIRTIO_NET_F_GUEST_USO4 /* 6.2 */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* ---- others ---- */

#ifndef PACKET_VNET_HDR_SZ /* <linux/if_packet.h>, 6.5 */
#define PACKET_VNET_HDR_SZ 24
#endif
#ifndef PIDFD_THREAD /* <linux/pidfd.h>, 6.9 */
#define PIDFD_THREAD O_EXCL
#endif
#ifndef F_DUPFD_QUERY /* <linux/fcntl.h>, 6.10 */
#define F_DUPFD_QUERY 1027
#endif

#endif
