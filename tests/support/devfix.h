/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devfix.h is a fixture for unit tests of a whole device through vdev.h: the
 * owner's memory, a worker without a thread, a driver on both rings, eventfds,
 * and a socketpair as the wire.
 */
#ifndef DEVFIX_H
#define DEVFIX_H

#include "drv.h"
#include "inline_worker.h"
#include "sockport.h"
#include "vdev.h"

enum { RXQ = VHOST_NET_VQ_RX, TXQ = VHOST_NET_VQ_TX };

/**
 * struct devfix - the fixture
 * @packed: the format that devfix_ring() and devfix_start() give the rings
 * @wire: the test's end of the backend; backend is the device's, kept by dup
 */
struct devfix {
	bool packed;
	struct arena arena;
	struct worker *worker;
	struct vdev *v;
	struct drv q[VDEV_VQS];
	int kick[VDEV_VQS], call[VDEV_VQS], err[VDEV_VQS];
	int log;
	int backend, wire;
	unsigned int iotlb_events;
};

/** devfix_open() - a device without owner; devfix_close() frees it all */
struct devfix *devfix_open(enum arena_mode mode);
void devfix_close(struct devfix *f);

/* cmocka fixtures; *state is the mode (arena.h), then the devfix */
int devfix_setup(void **state);
int devfix_teardown(void **state);

/** devfix_own() - SET_OWNER and SET_MEM_TABLE */
void devfix_own(struct devfix *f);
/** devfix_table() - SET_MEM_TABLE with the arena's three regions */
void devfix_table(struct devfix *f);
/** devfix_ring() - everything of ring @qi but the backend; the base of a packed
 * one is QEMU's */
void devfix_ring(struct devfix *f, unsigned int qi, uint32_t num);
/** devfix_backend() - SET_BACKEND with the wire, or -1; its result */
int devfix_backend(struct devfix *f, unsigned int qi, int fd);
/** devfix_start() - owner, features (and the format's), both rings of @num
 * entries, the wire */
void devfix_start(struct devfix *f, uint64_t features, uint32_t num);

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

/** devfix_taken() - descriptors (split: chains) of ring @qi that were taken; a
 * packed ring's in its first two laps */
uint32_t devfix_taken(struct devfix *f, unsigned int qi);
/** devfix_check_base() - GET_VRING_BASE is where so many were taken and used */
void devfix_check_base(struct devfix *f, unsigned int qi, uint32_t n);

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

#define IN_FORMAT(prefix, format, mode, name) \
	ARENA_TEST(devfix, prefix, format, mode, name)
/* Every mode, and two in which frames are borrowed from the port. Not for tests
 * of frames that the device drops as it receives them: borrowed frames are
 * whole, and stay in the port until they are released. */
#define EVERY_PORT(in, name) \
	EVERY_MODE(in, name), in(borrowed, name), in(borrowed_copied, name)

#endif
