/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmm.h is a VMM: guest memory, two rings with their driver (ring.h), eventfds,
 * and the calls on a vhost-net device in the orders of real VMMs. It drives any
 * device that libuvhost has a transport for.
 *
 * Three layers, each usable without the next:
 *   vmm_ioctl() and the thin wrappers below it: one ioctl each, -errno, on the
 *   descriptor of a character device, for tests of the ioctls;
 *   struct vmm_mem: guest memory of any kind and layout;
 *   struct vmm: one device with memory, rings and eventfds; start and stop.
 *
 * Direction is the device's: queue 0 is RX (to the guest), 1 is TX. One thread
 * uses a vmm at a time. Nothing here asserts; tests and benches share it.
 */
#ifndef VMM_H
#define VMM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/vhost.h>
#include "abi.h"
#include "ring.h"
#include "uvhost/frontend.h"

#define VMM_RX 0
#define VMM_TX 1
#define VMM_QUEUES 2

/** VMM_BIT() - feature bit as a mask */
#define VMM_BIT(n) (UINT64_C(1) << (n))

/* Bits that headers of Debian 12 lack. */
#define VMM_F_IN_ORDER 35
#define VMM_F_RING_RESET 40
#define VMM_BACKEND_IOTLB_V2 VMM_BIT(VHOST_BACKEND_F_IOTLB_MSG_V2)

/* ---- ioctls: each returns 0 or -errno ---- */

int vmm_ioctl(int dev, unsigned long cmd, const void *arg);
int vmm_get_features(int dev, uint64_t *features);
int vmm_set_features(int dev, uint64_t features);
int vmm_get_backend_features(int dev, uint64_t *features);
int vmm_set_backend_features(int dev, uint64_t features);
int vmm_set_owner(int dev);
int vmm_reset_owner(int dev);
int vmm_set_log_base(int dev, uint64_t uva);
int vmm_set_log_fd(int dev, int fd);
int vmm_set_vring_num(int dev, unsigned int qi, unsigned int num);
int vmm_set_vring_base(int dev, unsigned int qi, unsigned int base);
int vmm_get_vring_base(int dev, unsigned int qi, unsigned int *base);
int vmm_set_vring_kick(int dev, unsigned int qi, int fd);
int vmm_set_vring_call(int dev, unsigned int qi, int fd);
int vmm_set_vring_err(int dev, unsigned int qi, int fd);
int vmm_set_busyloop(int dev, unsigned int qi, unsigned int us);
int vmm_set_backend(int dev, unsigned int qi, int fd);

/* ---- IOTLB: write(2) and read(2) on the device ---- */

/** vmm_iotlb_send() - one message, V2 layout; 0 or -errno */
int vmm_iotlb_send(int dev, uint8_t type, uint64_t iova, uint64_t size,
		   uint64_t uva, uint8_t perm);
/**
 * vmm_iotlb_recv() - wait up to @ms for a message; either layout
 * Return: 0; -ETIMEDOUT; -errno.
 */
int vmm_iotlb_recv(int dev, struct vhost_iotlb_msg *msg, int ms);

/* ---- guest memory ---- */

enum vmm_mem_kind {
	VMM_MEM_PRIVATE, /* private anonymous: QEMU's default */
	VMM_MEM_SHARED,  /* shared anonymous */
	VMM_MEM_MEMFD,   /* memfd, shared */
	VMM_MEM_HUGETLB, /* memfd of 2 MiB pages, shared */
};

/** VMM_REGIONS - most regions of a table (the kernel's default limit) */
#define VMM_REGIONS 64

/**
 * struct vmm_region - one row of the memory table
 * @gpa:  guest physical address
 * @size: bytes
 * @hva:  where we have it
 * @map, @map_size: what to unmap; NULL if another region does it
 * @fd:   the file behind it, 0: none; closed when it is unmapped
 * @fd_offset: of @hva in that file
 * @used: bytes handed out by vmm_mem_alloc()
 */
struct vmm_region {
	uint64_t gpa;
	uint64_t size;
	uint8_t *hva;
	uint8_t *map;
	size_t map_size;
	int fd;
	uint64_t fd_offset;
	uint64_t used;
};

struct vmm_mem {
	struct vmm_region region[VMM_REGIONS];
	unsigned int n;
	bool gpa_is_hva; /* as DPDK and VPP have it */
	bool files;      /* private and shared memory is memfd as well */
};

/**
 * vmm_mem_add() - one more region with a mapping of its own
 *
 * A page without access follows the mapping (not with hugetlb). An address of
 * VMM_GPA_HVA puts the region at gpa = hva.
 * Return: 0; -ENOMEM (hugetlb: no huge pages free); -errno; -E2BIG.
 */
int vmm_mem_add(struct vmm_mem *m, enum vmm_mem_kind kind, uint64_t gpa,
		uint64_t size);
#define VMM_GPA_HVA UINT64_MAX

/**
 * vmm_mem_add_pc() - @size bytes in one mapping, seen like the memory of a PC:
 * below 640 KiB, from 768 KiB to @low, and the rest from 4 GiB
 */
int vmm_mem_add_pc(struct vmm_mem *m, enum vmm_mem_kind kind, uint64_t size,
		   uint64_t low);

void vmm_mem_free(struct vmm_mem *m);

/** vmm_mem_alloc() - gpa of @len fresh bytes in one region; 0 if none */
uint64_t vmm_mem_alloc(struct vmm_mem *m, uint64_t len, uint64_t align);
/** vmm_mem_alloc_in() - the same in region @ri */
uint64_t vmm_mem_alloc_in(struct vmm_mem *m, unsigned int ri, uint64_t len,
			  uint64_t align);
/** vmm_mem_ptr() - our pointer to @gpa, or NULL if no region has it */
void *vmm_mem_ptr(const struct vmm_mem *m, uint64_t gpa);
/** vmm_mem_uva() - the same as a number */
uint64_t vmm_mem_uva(const struct vmm_mem *m, uint64_t gpa);

/** vmm_set_mem_table() - VHOST_SET_MEM_TABLE with the first @n regions */
int vmm_set_mem_table(int dev, const struct vmm_mem *m);

/* ---- a device with everything ---- */

/** How the device is reached; the names of uvh_transport() */
enum vmm_transport {
	VMM_KERNEL,
	VMM_USER,   /* vhost-user: a session of this process, or @socket */
	VMM_INPROC, /* memory by pointer, but private memory copied */
	VMM_VDPA,
};

/** In what order and with what omissions a VMM sets a device up */
enum vmm_style {
	VMM_QEMU,
	VMM_DPDK,    /* gpa = hva, no err, low half of the base */
	VMM_KVMTOOL, /* kick first, features after the backends */
	VMM_VPP,     /* never SET_VRING_BASE */
	VMM_CROSVM,  /* address before base */
};

/**
 * struct vmm_config - zero is a good default for each field
 * @transport: private memory becomes memfd for VMM_USER and VMM_VDPA
 * @path:      device to open; not used if @fd is set
 * @socket:    VMM_USER: connect to this server instead of one of our own; it
 *             has a port
 * @ports:     VMM_VDPA: vduse-net's socket
 * @fd:        an open device, taken over; 0: open @path
 * @open_flags: added to O_RDWR | O_CLOEXEC
 * @style:     see enum vmm_style
 * @mem_kind:  kind of the default memory
 * @mem_size:  bytes of the default memory; 0: 16 MiB
 * @own_mem:   take this memory over instead of making the default
 * @num:       ring sizes; 0: 256
 * @features:  what the driver acks
 * @wanted:    and of these what is offered
 * @backend_features: SET_BACKEND_FEATURES if not 0
 * @rings_outside: rings in private anonymous memory outside the table
 * @no_call:   leave the call eventfds out (vhost_net_test does)
 */
struct vmm_config {
	enum vmm_transport transport;
	const char *path;
	const char *socket;
	const char *ports;
	int fd;
	int open_flags;
	enum vmm_style style;
	enum vmm_mem_kind mem_kind;
	uint64_t mem_size;
	struct vmm_mem *own_mem;
	unsigned int num[VMM_QUEUES];
	uint64_t features;
	uint64_t wanted;
	uint64_t backend_features;
	bool rings_outside;
	bool no_call;
};

/**
 * struct vmm_queue - a ring with what surrounds it
 * @ring_uva: where the device finds the ring (IOVA in IOTLB mode)
 * @ring_gpa: guest physical, 0 if outside the table
 * @kick, @call, @err: eventfds, nonblocking; vhost never reads the kick
 * @base:     for SET_VRING_BASE at the next start
 */
struct vmm_queue {
	struct vmm_ring ring;
	void *ring_mem;
	size_t ring_map; /* bytes to unmap, 0 if inside the table */
	uint64_t ring_uva;
	uint64_t ring_gpa;
	int kick;
	int call;
	int err;
	unsigned int base;
};

/**
 * struct vmm - see above
 * @fe: the frontend
 * @fd: of a character device, owned by @fe; else -1
 */
struct vmm {
	struct vmm_config config;
	struct uvh *fe;
	int fd;
	struct vmm_user *user; /* VMM_USER: the other end */
	int backend;           /* VMM_USER: set last */
	struct vmm_mem mem;
	struct vmm_queue q[VMM_QUEUES];
	uint64_t features;    /* acked; may be changed before vmm_start() */
	unsigned int hdr_len; /* virtio_net_hdr in front of each frame */
	uint8_t *log;         /* of vmm_log_new() */
	size_t log_size;
	int log_fd;
};

/**
 * vmm_new() - open the device, make memory, rings and eventfds
 *
 * No call but for the features is made. Return: 0, or -errno with nothing left
 * behind.
 */
int vmm_new(const struct vmm_config *config, struct vmm **out);
/** vmm_free() - close the device and give everything back; NULL is fine */
void vmm_free(struct vmm *v);

/** vmm_hdr_len() - bytes of virtio_net_hdr that go with @features */
unsigned int vmm_hdr_len(uint64_t features);

/** vmm_vring_addr() - argument of SET_VRING_ADDR for queue @qi, no log */
struct vhost_vring_addr vmm_vring_addr(const struct vmm *v, unsigned int qi);

/* What the transports do in ways of their own. */

/** vmm_offered() - features that the device of @config offers; 0 or -errno */
int vmm_offered(const struct vmm_config *config, uint64_t *features);
/** vmm_table() - uvh_set_mem_table() with v->mem */
int vmm_table(struct vmm *v);
/**
 * vmm_backend() - start a ring on a backend, or stop it (-1)
 *
 * VMM_USER: the session has its port from the first start on. VMM_VDPA: only
 * vmm_set_backends() can; rings start and stop together.
 */
int vmm_backend(struct vmm *v, unsigned int qi, int backend);
/**
 * vmm_base() - uvh_get_vring_base()
 *
 * VMM_USER: that would stop the ring. While it runs the used index is given,
 * which is the same for a ring that returns all it takes.
 */
int vmm_base(struct vmm *v, unsigned int qi, unsigned int *base);
/** vmm_log_new() - zeroed memory for a dirty log; @v's; once */
uint8_t *vmm_log_new(struct vmm *v, size_t size);
/** vmm_log() - have the device use it, or no more; 0 or -errno */
int vmm_log(struct vmm *v, bool on);
/** vmm_iotlb() - uvh_iotlb_send() */
int vmm_iotlb(struct vmm *v, uint8_t type, uint64_t iova, uint64_t size,
	      uint64_t uva, uint8_t perm);
/** vmm_iotlb_next() - wait up to @ms for a message; 0, -ETIMEDOUT or -errno */
int vmm_iotlb_next(struct vmm *v, struct vhost_iotlb_msg *msg, int ms);

/** vmm_init() - what the style does before the guest runs: SET_OWNER, … */
int vmm_init(struct vmm *v);
/**
 * vmm_prepare() - the style's start sequence short of the backends; in
 * VMM_KVMTOOL the features are left for after them
 */
int vmm_prepare(struct vmm *v);
/** vmm_set_backends() - both queues; @backend borrowed, -1 stops both */
int vmm_set_backends(struct vmm *v, int backend);
/**
 * vmm_start() - vmm_init() if it was not done, vmm_prepare(),
 * vmm_set_backends(), and what a style does after that
 * Return: 0 or -errno of the first call that failed.
 */
int vmm_start(struct vmm *v, int backend);
/** vmm_stop() - QEMU's stop: backends off, bases read back into q[].base */
int vmm_stop(struct vmm *v);

/** vmm_kick() - write the kick eventfd */
void vmm_kick(struct vmm *v, unsigned int qi);
/** vmm_publish_kick() - publish, and kick if the device wants it */
void vmm_publish_kick(struct vmm *v, unsigned int qi);

/** vmm_event_count() - read and reset an eventfd; 0 if it was 0 */
uint64_t vmm_event_count(int fd);
/** vmm_wait_event() - wait until an eventfd is up; 0 or -ETIMEDOUT */
int vmm_wait_event(int fd, int ms);
/**
 * vmm_wait_used() - wait until @n completions are pending on queue @qi
 *
 * Looks at the ring whenever the call eventfd rises (it is consumed), and each
 * millisecond if it is suppressed. Return: 0 or -ETIMEDOUT.
 */
int vmm_wait_used(struct vmm *v, unsigned int qi, unsigned int n, int ms);
/**
 * vmm_wait_base() - wait until the device has taken avail entries up to @base
 * Return: 0, -ETIMEDOUT or -errno.
 */
int vmm_wait_base(struct vmm *v, unsigned int qi, unsigned int base, int ms);
/** vmm_now_ms() - monotonic milliseconds, for deadlines */
int64_t vmm_now_ms(void);

#endif
