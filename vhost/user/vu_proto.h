/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_proto.h: the parts of the vhost-user protocol that a net device uses. All
 * fields are in host byte order.
 *
 * Source: vhost-user.rst of QEMU 11.1, whose names are kept, and of its
 * development tree for request 45.
 */
#ifndef VU_PROTO_H
#define VU_PROTO_H

#include <stdint.h>
#include <linux/vhost.h>

/** VHOST_USER_F_PROTOCOL_FEATURES - bit of GET_FEATURES; no virtio feature */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/** VU_MEM_REGIONS - most regions (and descriptors) of one SET_MEM_TABLE:
 * rust-vmm's limit. The specification says 8, the limit of QEMU and DPDK */
#define VU_MEM_REGIONS 32
#define VU_MEM_REGIONS_LISTED 8
/** VU_CONFIG_MAX - most bytes of configuration space in a message */
#define VU_CONFIG_MAX 256

/* From the frontend. */
enum vu_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
	VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHOST_USER_REQUESTS, /* one above the highest number */
};

/* From the backend, on the channel of SET_BACKEND_REQ_FD. */
enum vu_backend_request {
	VHOST_USER_BACKEND_IOTLB_MSG = 1,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VHOST_USER_BACKEND_VRING_CALL = 4,
	VHOST_USER_BACKEND_VRING_ERR = 5,
	VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
	VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHOST_USER_BACKEND_SHMEM_MAP = 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
	VHOST_USER_BACKEND_REQUESTS, /* one above the highest number */
};

enum vu_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_RARP = 2,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_MTU = 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
	VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
	VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
	VHOST_USER_PROTOCOL_F_XEN_MMAP = 17,
	VHOST_USER_PROTOCOL_F_SHARED_OBJECT = 18,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VHOST_USER_PROTOCOL_F_GPA_ADDRESSES = 21,
	VHOST_USER_PROTOCOL_F_SHMEM = 22,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN = 23,
	VHOST_USER_PROTOCOL_FEATURES, /* one above the highest number */
};

struct vu_hdr {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* bytes of payload that follow */
};
_Static_assert(sizeof(struct vu_hdr) == 12, "vhost-user header");

#define VU_VERSION 0x1
#define VU_VERSION_MASK 0x3
#define VU_FLAG_REPLY 0x4
#define VU_FLAG_NEED_REPLY 0x8

/* The number of SET_VRING_KICK, _CALL and _ERR. */
#define VU_VRING_IDX_MASK 0xff
#define VU_VRING_NOFD_MASK 0x100

struct vu_mem_region {
	uint64_t guest_phys_addr;
	uint64_t memory_size;
	uint64_t userspace_addr;
	uint64_t mmap_offset;
};

struct vu_memory {
	uint32_t nregions;
	uint32_t padding;
	struct vu_mem_region regions[VU_MEM_REGIONS];
};
_Static_assert(sizeof(struct vu_mem_region) == 32, "vhost-user region");
_Static_assert(sizeof(struct vu_memory) == 8 + 32 * VU_MEM_REGIONS,
	       "vhost-user memory table");

/* ADD_MEM_REG, REM_MEM_REG */
struct vu_single_mem_region {
	uint64_t padding;
	struct vu_mem_region region;
};
_Static_assert(sizeof(struct vu_single_mem_region) == 40,
	       "vhost-user memory slot");

struct vu_log {
	uint64_t mmap_size;
	uint64_t mmap_offset;
};
_Static_assert(sizeof(struct vu_log) == 16, "vhost-user log");

struct vu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t region[VU_CONFIG_MAX];
};
#define VU_CONFIG_HDR 12
/* QEMU has two numbers, rust-vmm two bits, of which the first is what QEMU's
 * number for migration is. */
#define VU_CONFIG_F_WRITABLE 0      /* from the driver */
#define VU_CONFIG_F_MIGRATION 1     /* live migration; rust-vmm: writable */
#define VU_CONFIG_F_MIGRATION_BIT 2 /* rust-vmm: live migration */

/* The text lists 20 bytes. QEMU, libvhost-user, DPDK and rust-vmm send the
 * structure of their compilers, with its padding. */
struct vu_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint32_t padding;
};
_Static_assert(sizeof(struct vu_inflight) == 24, "vhost-user inflight");
/** VU_INFLIGHT_LISTED - its bytes without the padding */
#define VU_INFLIGHT_LISTED 20

struct vu_vring_area {
	uint64_t u64; /* index, and VU_VRING_NOFD_MASK */
	uint64_t size;
	uint64_t offset;
};
_Static_assert(sizeof(struct vu_vring_area) == 24, "vhost-user vring area");

struct vu_mmap {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t len;
	uint64_t flags;
};
_Static_assert(sizeof(struct vu_mmap) == 40, "vhost-user mmap");

struct vu_device_state {
	uint32_t direction; /* 0: save, to the frontend; 1: load */
	uint32_t phase;     /* 0: stopped */
};
_Static_assert(sizeof(struct vu_device_state) == 8, "vhost-user state");

/** struct vu_payload - whatever follows the header */
union vu_payload {
	uint64_t u64;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct vu_memory memory;
	struct vu_single_mem_region region;
	struct vu_log log;
	struct vhost_iotlb_msg iotlb;
	struct vu_config config;
	struct vu_inflight inflight;
	struct vu_vring_area area;
	struct vu_device_state device_state;
	/* more than the largest: a message too long is read, and named */
	uint8_t bytes[sizeof(struct vu_memory) + 16];
};
_Static_assert(sizeof(struct vhost_iotlb_msg) == 32, "vhost-user IOTLB");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "vhost-user address");
_Static_assert(sizeof(struct vhost_vring_state) == 8, "vhost-user state");
_Static_assert(sizeof(struct vu_config) == VU_CONFIG_HDR + VU_CONFIG_MAX,
	       "vhost-user configuration");

#endif
