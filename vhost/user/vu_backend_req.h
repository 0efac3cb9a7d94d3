/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_backend_req.h has a row for each request of a backend to the frontend.
 * fe_user_events.c makes its dispatch table from the rows, vu_table.c a table
 * in the README.
 */
#ifndef VU_BACKEND_REQ_H
#define VU_BACKEND_REQ_H

#include "vu_proto.h"

/**
 * VU_BACKEND_REQUESTS - R(name, payload, bytes of it, protocol feature that it
 * needs, sent by our backend, handler in our frontend, note)
 *
 * The file that includes this defines SERVED(handler) and NOT_SERVED.
 */
/* clang-format off */
#define VU_BACKEND_REQUESTS(R) \
R(IOTLB_MSG,              "iotlb",  sizeof(struct vhost_iotlb_msg),    "",                     true,  SERVED(on_iotlb),         "misses of started rings; no reply is asked for") \
R(CONFIG_CHANGE_MSG,      "",       0,                                 "CONFIG",               true,  SERVED(on_config_change), "after NET_SET_MTU, once a ring is started") \
R(VRING_HOST_NOTIFIER_MSG, "area",  sizeof(struct vu_vring_area),      "HOST_NOTIFIER",        false, SERVED(on_host_notifier), "") \
R(VRING_CALL,             "state",  sizeof(struct vhost_vring_state),  "INBAND_NOTIFICATIONS", true,  SERVED(on_vring_call),    "") \
R(VRING_ERR,              "state",  sizeof(struct vhost_vring_state),  "INBAND_NOTIFICATIONS", true,  SERVED(on_vring_err),     "") \
R(SHARED_OBJECT_ADD,      "uuid",   VU_UUID,                           "SHARED_OBJECT",        false, NOT_SERVED,               VU_NOT_NET) \
R(SHARED_OBJECT_REMOVE,   "uuid",   VU_UUID,                           "SHARED_OBJECT",        false, NOT_SERVED,               VU_NOT_NET) \
R(SHARED_OBJECT_LOOKUP,   "uuid",   VU_UUID,                           "SHARED_OBJECT",        false, NOT_SERVED,               VU_NOT_NET) \
R(SHMEM_MAP,              "mmap",   sizeof(struct vu_mmap),            "SHMEM",                false, NOT_SERVED,               VU_NO_SHMEM) \
R(SHMEM_UNMAP,            "mmap",   sizeof(struct vu_mmap),            "SHMEM",                false, NOT_SERVED,               VU_NO_SHMEM)
/* clang-format on */

#define VU_UUID 16
#define VU_NOT_NET "refused: belongs to another type of device"
#define VU_NO_SHMEM "refused: a net device has no shared memory regions"

#endif
