/* SPDX-License-Identifier: BSD-3-Clause */
/* What <linux/vhost.h> and virtio headers of Linux 6.1 lack and the frontends
 * use. */
#ifndef FE_ABI_H
#define FE_ABI_H

#include <stddef.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>

#ifndef VHOST_VDPA_RESUME /* 6.3 */
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif
#ifndef VHOST_VDPA_GET_VRING_DESC_GROUP /* 6.7 */
#define VHOST_VDPA_GET_VRING_DESC_GROUP \
	_IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#endif
#ifndef VHOST_VDPA_GET_VRING_SIZE /* 6.10 */
#define VHOST_VDPA_GET_VRING_SIZE \
	_IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#endif
#ifndef VHOST_BACKEND_F_SUSPEND
#define VHOST_BACKEND_F_SUSPEND 4
#endif
#ifndef VHOST_BACKEND_F_RESUME
#define VHOST_BACKEND_F_RESUME 5
#endif
#ifndef VHOST_BACKEND_F_DESC_ASID
#define VHOST_BACKEND_F_DESC_ASID 7
#endif
#ifndef VIRTIO_F_RING_PACKED
#define VIRTIO_F_RING_PACKED 34
#endif

_Static_assert(VHOST_VDPA_GET_STATUS == 0x8001af71, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_CONFIG == 0x8008af73, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_NUM == 0x8002af76, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_IOVA_RANGE == 0x8010af78, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_GROUP == 0xc008af7b, "vhost ABI");
_Static_assert(VHOST_VDPA_RESUME == 0xaf7e, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_DESC_GROUP == 0xc008af7f, "vhost ABI");
_Static_assert(VHOST_VDPA_GET_VRING_SIZE == 0xc008af82, "vhost ABI");
_Static_assert(sizeof(struct vhost_msg) == 72, "vhost ABI");
_Static_assert(sizeof(struct vhost_msg_v2) == 72, "vhost ABI");
_Static_assert(offsetof(struct vhost_msg_v2, iotlb) == 8, "vhost ABI");
_Static_assert(offsetof(struct vhost_vdpa_config, buf) == 8, "vhost ABI");

#endif
