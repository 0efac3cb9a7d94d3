/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device with everything around it: an owner's memory, a worker without a
 * thread, a driver on both rings, eventfds, and a socketpair for a wire.
 */
#ifndef DEVFIX_H
#define DEVFIX_H

#include "drv.h"
#include "modes.h"
#include "pdrv.h"
#include "inline_worker.h"
#include "sockport.h"
#include "vdev.h"

enum { RXQ = VHOST_NET_VQ_RX, TXQ = VHOST_NET_VQ_TX };

/**
 * struct devfix - the fixture
 * @wire: the test's end of the backend; backend is the device's, kept by dup
 */
struct devfix {
	struct arena arena;
	struct worker *worker;
	struct vdev *v;
	struct drv q[VDEV_VQS];
	struct pdrv p[VDEV_VQS]; /* instead, of packed rings */
	int kick[VDEV_VQS], call[VDEV_VQS], err[VDEV_VQS];
	int log;
	int backend, wire;
	unsigned int iotlb_events;
};

/** devfix_open() - a device without owner; devfix_close() frees it all */
struct devfix *devfix_open(enum arena_mode mode);
void devfix_close(struct devfix *f);

/* cmocka fixtures; *state is the devfix */
int devfix_setup_mapped(void **state);
int devfix_setup_copied(void **state);
int devfix_setup_rings_mapped(void **state);
int devfix_setup_ram_mapped(void **state);
int devfix_setup_child(void **state);
/* The same as mapped and copied, and the wire lends its frames. */
int devfix_setup_lent(void **state);
int devfix_setup_lent_copied(void **state);
int devfix_teardown(void **state);

/** devfix_own() - SET_OWNER and SET_MEM_TABLE */
void devfix_own(struct devfix *f);
/** devfix_table() - SET_MEM_TABLE with the arena's three regions */
void devfix_table(struct devfix *f);
/** devfix_ring() - everything of ring @qi but the backend */
void devfix_ring(struct devfix *f, unsigned int qi, uint32_t num);
/** devfix_backend() - SET_BACKEND with the wire, or -1; its result */
int devfix_backend(struct devfix *f, unsigned int qi, int fd);
/** devfix_start() - owner, features, both rings of @num entries, the wire */
void devfix_start(struct devfix *f, uint64_t features, uint32_t num);

/** devfix_packed_ring() - everything of a packed ring but the backend;
 * the base is QEMU's */
void devfix_packed_ring(struct devfix *f, unsigned int qi, uint32_t num);
/** devfix_start_packed() - the same, with VIRTIO_F_RING_PACKED; QEMU's bases */
void devfix_start_packed(struct devfix *f, uint64_t features, uint32_t num);

/** devfix_settle() - until the device has nothing to do; fails if it always
 * has */
void devfix_settle(struct devfix *f);
/** devfix_kick() - write the kick eventfd and settle */
void devfix_kick(struct devfix *f, unsigned int qi);

/** devfix_counters() - of ring @qi */
const struct vdev_counters *devfix_counters(const struct devfix *f,
					    unsigned int qi);
/** devfix_base() - GET_VRING_BASE */
uint32_t devfix_base(struct devfix *f, unsigned int qi);

/** wire_send() - a frame of @len bytes, header first, counting up from @seed */
void wire_send(struct devfix *f, unsigned int len, uint8_t seed);
/** wire_recv() - the next frame the device sent; its length, or -EAGAIN */
int wire_recv(struct devfix *f, uint8_t *buf, unsigned int room);

/* Where tests put frames to be sent, and room for those received. */
#define TX_BUF GPA_A
#define RX_BUF (GPA_C + 0x1000)

/** devfix_fill() - bytes in guest memory that count up from @seed */
void devfix_fill(struct devfix *f, uint64_t gpa, uint32_t len, uint8_t seed);
/** check_counts_up() - they do */
void check_counts_up(const uint8_t *p, uint32_t len, uint8_t seed);
/** check_wire() - the device has sent such a frame */
void check_wire(struct devfix *f, uint32_t len, uint8_t seed);
/** check_wire_empty() - it has sent none */
void check_wire_empty(struct devfix *f);
/** check_errors() - so many were signalled since the last look */
void check_errors(struct devfix *f, unsigned int qi, unsigned int n);

#define IN(mode, name) ARENA_TEST(devfix, mode, name)
/** EVERY_PORT() - also where the port lends its frames. Not for what only a
 * port that is read does: who lends leaves out what is no frame, and has those
 * back that are not wanted */
#define EVERY_PORT(name) EVERYWHERE(name), IN(lent, name), IN(lent_copied, name)

#endif
