/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h is the driver's half of a virtqueue, split or packed, that keeps
 * account of its descriptors. The memory of the ring is the caller's; addresses
 * in descriptors are passed through as they are (guest physical, or IOVA), so
 * nothing here knows a memory layout.
 *
 * Adding fills descriptors and the avail entry; vmm_ring_publish() makes all
 * that was added visible at once and returns whether the device wants a kick.
 * Nothing here makes a system call. One thread uses a ring at a time.
 *
 * With VIRTIO_F_RING_PACKED the members have the names of a split ring's areas:
 * avail and used are the driver's and the device's event structures, and an
 * index is a slot, with the wrap counter as bit 15.
 *
 * Source: virtio 1.2 §2.7, §2.8; <linux/virtio_ring.h>.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/virtio_ring.h>

/** struct vmm_seg - one descriptor of a chain; @write: the device writes it */
struct vmm_seg {
	uint64_t addr;
	uint32_t len;
	bool write;
};

/** struct vmm_used - one completion; @head is what add returned, @token what it
 * was given */
struct vmm_used {
	uint16_t head;
	uint32_t len;
	void *token;
};

/**
 * struct vmm_ring - driver's state; fields may be read, and tests may spoil
 * @num:       entries
 * @legacy:    host byte order instead of little-endian
 * @event_idx: VIRTIO_RING_F_EVENT_IDX negotiated
 * @packed:    VIRTIO_F_RING_PACKED negotiated
 * @in_order:  VIRTIO_F_IN_ORDER negotiated: one used element or descriptor may
 *             stand for several chains
 * @avail_idx: free-running index of the next avail entry to fill
 * @published: value of avail->idx that the device can see
 * @used_idx:  free-running index of the next used entry to reap
 * @num_free:  descriptors left
 * @nout:      chains that are with the device
 * @out, @out_first: with in_order: their heads, oldest first
 * @batch:     with in_order: chains up to this one came back with the last used
 *             element that was looked at; or -1
 * @held, @held_flags: packed: first descriptor that is not published, and what
 *             its flags will be
 */
struct vmm_ring {
	unsigned int num;
	bool legacy;
	bool event_idx;
	bool packed, in_order;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t avail_idx;
	uint16_t published;
	uint16_t used_idx;
	uint16_t free_head;
	unsigned int num_free;
	uint16_t *next;  /* free list, and the chain of a head */
	uint16_t *count; /* descriptors of the chain that starts here */
	void **token;
	uint16_t *out;
	unsigned int out_first, nout;
	int batch;
	uint32_t batch_len;
	uint16_t held, held_flags;
};

/** vmm_ring_bytes() - bytes of a ring of @num entries with all three parts */
size_t vmm_ring_bytes(unsigned int num);

/**
 * vmm_ring_init() - a ring in caller's memory
 * @mem:   vmm_ring_bytes(@num) bytes, aligned to 16; borrowed
 * @num:   entries, 1...32768; a power of two in a split ring
 * @features: VIRTIO_RING_F_EVENT_IDX, VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED
 *         and VIRTIO_F_IN_ORDER are looked at
 *
 * Return: 0, -EINVAL (@num), -ENOMEM.
 */
int vmm_ring_init(struct vmm_ring *r, void *mem, unsigned int num,
		  uint64_t features);
void vmm_ring_free(struct vmm_ring *r);

/** vmm_ring_reset() - empty ring with all indexes at @idx; memory cleared. A
 * packed one starts in slot @idx of its first lap. */
void vmm_ring_reset(struct vmm_ring *r, uint16_t idx);
/** vmm_ring_base() - for SET_VRING_BASE, of an empty ring */
uint32_t vmm_ring_base(const struct vmm_ring *r);

/**
 * vmm_ring_add() - put a chain of @n descriptors on the ring, unpublished
 * Return: the head's index, or -ENOSPC.
 */
int vmm_ring_add(struct vmm_ring *r, const struct vmm_seg *seg, unsigned int n,
		 void *token);

/**
 * vmm_ring_add_indirect() - the same through an indirect table
 * @table: room for @n descriptors; borrowed until the chain is reaped
 * @table_addr: the device's address of @table
 */
int vmm_ring_add_indirect(struct vmm_ring *r, const struct vmm_seg *seg,
			  unsigned int n, struct vring_desc *table,
			  uint64_t table_addr, void *token);

/** vmm_ring_add_raw() - put @head on the avail ring, whatever it is; split */
void vmm_ring_add_raw(struct vmm_ring *r, uint16_t head);

/** vmm_ring_put() - packed: the next descriptor, whatever it says, unpublished;
 * @flags without AVAIL and USED */
void vmm_ring_put(struct vmm_ring *r, uint64_t addr, uint32_t len,
		  uint16_t flags, uint16_t id);

/** vmm_ring_set_desc() - write a descriptor, whatever it says */
void vmm_ring_set_desc(struct vmm_ring *r, struct vring_desc *d, uint64_t addr,
		       uint32_t len, uint16_t flags, uint16_t next);

/** vmm_ring_publish() - show the device what was added; true: kick it */
bool vmm_ring_publish(struct vmm_ring *r);

/** vmm_ring_pending() - completions not reaped yet */
unsigned int vmm_ring_pending(const struct vmm_ring *r);

/**
 * vmm_ring_reap() - take up to @n completions and free their descriptors
 * Return: how many; -EPROTO if a used id names no chain of ours.
 */
int vmm_ring_reap(struct vmm_ring *r, struct vmm_used *out, unsigned int n);

/** vmm_ring_drop() - forget a chain the device will never return */
void vmm_ring_drop(struct vmm_ring *r, uint16_t head);

/**
 * vmm_ring_calls_off() - ask the device not to signal (a hint with event idx)
 */
void vmm_ring_calls_off(struct vmm_ring *r);
/** vmm_ring_calls_on() - signals for whatever comes next; true if something
 * has come already */
bool vmm_ring_calls_on(struct vmm_ring *r);
/** vmm_ring_call_at() - event idx: signal once used idx passes @idx */
void vmm_ring_call_at(struct vmm_ring *r, uint16_t idx);

/** vmm_ring_used_flags() - what the device says about kicks; packed: its event
 * flags */
uint16_t vmm_ring_used_flags(const struct vmm_ring *r);
/** vmm_ring_avail_event() - event idx: the device wants a kick past this */
uint16_t vmm_ring_avail_event(const struct vmm_ring *r);
/** vmm_ring_used_idx() - split: the device's used idx, as it is now */
uint16_t vmm_ring_used_idx(const struct vmm_ring *r);
/** vmm_ring_step() - the index @n behind @idx */
uint16_t vmm_ring_step(const struct vmm_ring *r, uint16_t idx, unsigned int n);

/* ring_packed.c, for ring.c */
void packed_reset(struct vmm_ring *r, uint16_t slot);
/** packed_show() - what was put since the last time */
void packed_show(struct vmm_ring *r);
bool packed_wants_kick(const struct vmm_ring *r, uint16_t old);
/** packed_used() - is the descriptor at @place used, and what does it say? */
bool packed_used(const struct vmm_ring *r, uint16_t place, uint16_t *id,
		 uint32_t *len);
void packed_call(struct vmm_ring *r, uint16_t flags, uint16_t place);

#endif
