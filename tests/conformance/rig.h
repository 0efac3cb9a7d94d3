/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rig.h is a device in full work: a VMM with both rings running on a tap (or on
 * the backend that a test asks for), and a packet socket at its other side that
 * sends and receives frames. Helpers fail the test when something does not
 * happen in time.
 */
#ifndef RIG_H
#define RIG_H

#include "conf.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#define F_MRG VMM_BIT(VIRTIO_NET_F_MRG_RXBUF)
#define F_V1 VMM_BIT(VIRTIO_F_VERSION_1)
#define F_EVENT VMM_BIT(VIRTIO_RING_F_EVENT_IDX)
#define F_INDIRECT VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define F_NET_HDR VMM_BIT(VHOST_NET_F_VIRTIO_NET_HDR)
#define F_ON_EMPTY VMM_BIT(VIRTIO_F_NOTIFY_ON_EMPTY)
#define F_LOG_ALL VMM_BIT(VHOST_F_LOG_ALL)
#define F_PLATFORM VMM_BIT(VIRTIO_F_ACCESS_PLATFORM)
#define F_PACKED VMM_BIT(VIRTIO_F_RING_PACKED)
#define F_IN_ORDER VMM_BIT(VMM_F_IN_ORDER)

enum rig_backend {
	RIG_TAP,
	RIG_PACKET,  /* AF_PACKET over veth */
	RIG_MACVTAP, /* over veth */
};

/**
 * struct rig_config - zero is VIRTIO 1 over a tap with QEMU's sequence
 * @vmm:      path is filled in; features 0 means F_V1
 * @tap:      hdr_len 0 means what the features say
 * @backend:  what kind
 * @packet_vnet: RIG_PACKET: PACKET_VNET_HDR on both ends
 * @base:     both rings start here
 * @idle:     do not start
 */
struct rig_config {
	struct vmm_config vmm;
	struct vmm_tap_config tap;
	enum rig_backend backend;
	bool packet_vnet;
	unsigned int base;
	bool idle;
};

struct rig {
	struct vmm *v;
	int backend;
	int peer; /* packet socket */
	char ifname[IFNAMSIZ];
	char peer_ifname[IFNAMSIZ];
	uint64_t slots; /* gpa of RIG_SLOTS buffers */
};

#define RIG_SLOTS 512
#define RIG_SLOT_BYTES 2048

/** rig_open() - make it; skips the test where that is not possible */
struct rig *rig_open(const struct rig_config *config);
void rig_close(struct rig *r);

/** rig_alloc() - gpa of fresh guest memory */
uint64_t rig_alloc(struct rig *r, size_t len, size_t align);
/** rig_slot() - gpa of one of the RIG_SLOTS reusable buffers */
uint64_t rig_slot(const struct rig *r, unsigned int i);
uint8_t *rig_ptr(const struct rig *r, uint64_t gpa);

struct vmm_ring *rig_ring(struct rig *r, unsigned int qi);

/* ---- from the guest ---- */

/** rig_fill() - put header (zeros) and frame @seed of @len bytes at @gpa */
void rig_fill(struct rig *r, uint64_t gpa, size_t len, uint32_t seed);
/** rig_add_tx() - fill slot @seed, add as one descriptor, do not publish */
void rig_add_tx(struct rig *r, size_t len, uint32_t seed);
/** rig_go() - publish, and kick if wanted */
void rig_go(struct rig *r, unsigned int qi);
/** rig_seen() - the peer gets frame @seed next */
void rig_seen(struct rig *r, size_t len, uint32_t seed);
/** rig_not_seen() - the peer has no frame, once the device is done */
void rig_not_seen(struct rig *r);
/** rig_reap() - wait for @n completions of ring @qi and take them */
void rig_reap(struct rig *r, unsigned int qi, unsigned int n,
	      struct vmm_used *out);
/** rig_used_is() - used idx is @n completions after what was reaped, now */
void rig_used_is(struct rig *r, unsigned int qi, unsigned int n);
/** rig_tx() - the whole way for one frame */
void rig_tx(struct rig *r, size_t len, uint32_t seed);
/** rig_tx_quietly() - the same for @n of 60 bytes, at once, with a kick in any
 * case; the call eventfd is left alone */
void rig_tx_quietly(struct rig *r, unsigned int n, uint32_t seed);
/** rig_tx_chain() - the same for one that is filled already, in @n pieces;
 * @table: gpa for an indirect table, 0: none */
void rig_tx_chain(struct rig *r, const struct vmm_seg *seg, unsigned int n,
		  uint64_t table, size_t len, uint32_t seed);

/* ---- to the guest ---- */

/** rig_add_rx() - one writable descriptor of @len bytes in slot @slot */
void rig_add_rx(struct rig *r, size_t len, unsigned int slot);
/** rig_inject() - the peer sends frame @seed */
void rig_inject(struct rig *r, size_t len, uint32_t seed);
/** rig_got() - wait for one completion, which is frame @seed in one buffer */
void rig_got(struct rig *r, size_t len, uint32_t seed);
/** rig_rx() - the whole way for one frame */
void rig_rx(struct rig *r, size_t len, uint32_t seed);

/* ---- state ---- */

/** rig_eventually() - @get of ring @qi becomes @want within the deadline */
void rig_eventually(struct rig *r, unsigned int qi,
		    uint16_t (*get)(const struct vmm_ring *), uint16_t want);

/** rig_base() - VHOST_GET_VRING_BASE */
unsigned int rig_base(struct rig *r, unsigned int qi);
/** rig_err() - wait for the err eventfd of ring @qi; its count */
unsigned int rig_err(struct rig *r, unsigned int qi);
/** rig_no_err() - the err eventfd is 0 */
void rig_no_err(struct rig *r, unsigned int qi);

#endif
