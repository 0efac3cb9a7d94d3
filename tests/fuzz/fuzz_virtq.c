/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile driver and a careless VMM before a whole device: the input is what
 * they do, the same to two devices one after the other, of which one has all
 * memory mapped and the other copies some or all of it. (The one that copies
 * does so from this very process.)
 *
 * The owner's memory is a few zones with nothing that can be touched between
 * them. What must hold: the device touches nothing but zones it was told of,
 * and in those of the rings nothing but used rings; no more chains come back
 * than were taken, and none are taken that were not there; it comes to rest; a
 * page that was written is in the log; and both devices do the same.
 *
 * The last three hold only for a VMM in its right mind: where it has the ring
 * inside a buffer, or a region of nothing, the guest can keep its own device
 * busy, and the order of copies shows. Such inputs are "weird" from there on.
 */
#include "fuzzarena.h"

#include <unistd.h>

#define OPS_MAX 300
#define ROUNDS_MAX 3000
#define ROUNDS_WEIRD 4 /* a ring can feed itself */

/* Of both rings: descriptors and available rings; used rings, a page each. */
enum { DRIVER, USED, RAM_A, RAM_B, RAM_C, LOG, ZONES };
#define ARENA_BYTES (ARENA_PAGES_MAX * PAGE)

#define GPA_A UINT64_C(0x10000)
#define GPA_B (GPA_A + 2 * PAGE) /* right behind */
#define GPA_C UINT64_C(0x200000)

/* ---- set-up ---- */

static void set_table(struct dut *d)
{
	struct aspace_map *m[ZONES];
	size_t n = arena_maps(d->mode, m);

	vdev_set_mem_table(d->v, d->region, d->nregions, m, n);
}

static void good_table(struct dut *d)
{
	d->nregions = 3;
	d->region[0] =
		(struct vhost_memory_region){ GPA_A, zone_size(RAM_A),
					      (uintptr_t)zone(RAM_A), 0 };
	d->region[1] =
		(struct vhost_memory_region){ GPA_B, zone_size(RAM_B),
					      (uintptr_t)zone(RAM_B), 0 };
	d->region[2] =
		(struct vhost_memory_region){ GPA_C, zone_size(RAM_C),
					      (uintptr_t)zone(RAM_C), 0 };
	set_table(d);
}

/* Where a ring is if the VMM is in its right mind. */
static struct vring_desc *descs(unsigned int qi)
{
	return (struct vring_desc *)(zone(DRIVER) + qi * PAGE);
}

static struct vring_avail *avail(const struct dut *d, unsigned int qi)
{
	return (struct vring_avail *)(descs(qi) + d->num[qi]);
}

static struct vring_used *used(unsigned int qi)
{
	return (struct vring_used *)(zone(USED) + qi * PAGE);
}

static void good_addr(struct dut *d, unsigned int qi)
{
	uint64_t shift = d->v->mv.have_iotlb ? IOVA_RINGS : 0;

	d->addr[qi] = (struct vhost_vring_addr){
		.index = qi,
		.desc_user_addr = (uintptr_t)descs(qi) + shift,
		.avail_user_addr = (uintptr_t)avail(d, qi) + shift,
		.used_user_addr = (uintptr_t)used(qi) + shift,
	};
	vdev_set_vring_addr(d->v, &d->addr[qi]);
}

static void take_position(struct dut *d, unsigned int qi)
{
	d->avail_at[qi] = d->v->queue[qi].vq.last_avail_idx;
	d->used_at[qi] = d->v->queue[qi].vq.last_used_idx;
}

static void set_backend(struct dut *d, unsigned int qi, int fd)
{
	vdev_net_set_backend(d->v, qi, fd < 0 ? fd : dup(fd));
	take_position(d, qi);
}

static uint64_t features_of(uint16_t bits)
{
	uint64_t f = 0;

	f |= bits & 1 ? BIT(VIRTIO_F_VERSION_1) : 0;
	f |= bits & 2 ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0;
	f |= bits & 4 ? BIT(VHOST_NET_F_VIRTIO_NET_HDR) : 0;
	f |= bits & 8 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0;
	f |= bits & 16 ? BIT(VHOST_F_LOG_ALL) : 0;
	f |= bits & 32 ? BIT(VIRTIO_F_NOTIFY_ON_EMPTY) : 0;
	f |= (bits & 0xc0) == 0xc0 ? BIT(VIRTIO_F_ACCESS_PLATFORM) : 0;
	return f;
}

static void set_log_base(struct dut *d, uint64_t base)
{
	d->log_base = base;
	vdev_set_log_base(d->v, base);
}

static void start(struct dut *d, struct input *in)
{
	uint8_t sizes = in_u8(in);

	dut_own(d);
	vdev_set_features(d->v, features_of(in_u16(in)));
	good_table(d);
	set_log_base(d, (uintptr_t)zone(LOG));
	if (d->v->mv.have_iotlb)
		dut_iotlb_rings(d);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++) {
		/* up to 64: fits a page with its available ring */
		d->num[qi] = 1u << (sizes >> 4 * qi & 15) % 7;
		vdev_set_vring_num(d->v, qi, d->num[qi]);
		good_addr(d, qi);
		d->v->queue[qi].vq.call_fd = dup(event);
		d->v->queue[qi].vq.err_fd = dup(event);
		set_backend(d, qi, backend[0]);
	}
}

/* ---- what must hold ---- */

static bool logged(const struct dut *d, uint64_t gpa)
{
	uint64_t byte = gpa / PAGE / 8;

	(void)d;
	must(byte < zone_size(LOG));
	return zone(LOG)[byte] >> (gpa / PAGE % 8) & 1;
}

/* Every page of guest memory that changed is marked at all its addresses. */
static void check_log(const struct dut *d, const uint8_t *before)
{
	for (size_t i = 0; i < d->nregions; i++) {
		const struct vhost_memory_region *r = &d->region[i];
		size_t off = r->userspace_addr - (uintptr_t)arena;

		for (uint64_t at = 0; at < r->memory_size; at += PAGE)
			must(memcmp(before + off + at, arena + off + at,
				    PAGE) == 0 ||
			     logged(d, r->guest_phys_addr + at));
	}
}

static void check_memory(const struct dut *d, uint8_t *before)
{
	must(memcmp(in_copy(before, DRIVER), zone(DRIVER), zone_size(DRIVER)) ==
	     0);
	if (!(d->v->features & BIT(VHOST_F_LOG_ALL)) &&
	    !(d->addr[VHOST_NET_VQ_RX].flags | d->addr[VHOST_NET_VQ_TX].flags))
		must(memcmp(in_copy(before, LOG), zone(LOG), PAGE) == 0);
	if ((d->v->features & BIT(VHOST_F_LOG_ALL)) && !d->v->mv.have_iotlb &&
	    d->log_base == (uintptr_t)zone(LOG))
		check_log(d, before);
}

static void check_ring(struct dut *d, unsigned int qi)
{
	const struct virtq *vq = &d->v->queue[qi].vq;
	uint16_t taken = (uint16_t)(vq->last_avail_idx - d->avail_at[qi]);
	uint16_t back = (uint16_t)(vq->last_used_idx - d->used_at[qi]);

	must((uint16_t)(vq->avail_idx - vq->last_avail_idx) <= vq->num);
	if (d->weird)
		return;
	/* what it had seen before, and what is there now */
	must(taken <= 2 * vq->num);
	must(back <= taken);
	take_position(d, qi);
}

static void settle(struct dut *d)
{
	static uint8_t before[ARENA_BYTES];
	bool rested;

	if (!d->weird)
		arena_save(before, d->v->features & BIT(VHOST_F_LOG_ALL)
					   ? ~0u
					   : BIT(DRIVER) | BIT(LOG));
	rested = worker_settle(worker, d->weird ? ROUNDS_WEIRD : ROUNDS_MAX);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++)
		check_ring(d, qi);
	if (d->weird)
		return;
	must(rested);
	check_memory(d, before);
}

static void forget(const struct dut *d, struct outcome *o)
{
	memset(in_copy(o->memory, LOG), 0, PAGE);
	/* Where kicks are wanted: if at all depends on what was found empty
	 * first, the port or the ring. */
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++) {
		uint8_t *ring = in_copy(o->memory, USED) + qi * PAGE;

		memset(ring + offsetof(struct vring_used, flags), 0,
		       sizeof(uint16_t));
		memset(ring + offsetof(struct vring_used, ring[d->num[qi]]), 0,
		       sizeof(uint16_t));
	}
}

/* ---- what driver and VMM do ---- */

static uint64_t guest_addr(struct input *in)
{
	uint8_t kind = in_u8(in);
	uint16_t off = in_u16(in);

	switch (kind % 8) {
	case 0:
		return GPA_B + off % (2 * PAGE);
	case 1:
		return GPA_B - off % 64; /* across both */
	case 2:
	case 3:
		return GPA_C + off;
	case 4:
		return GPA_C + zone_size(RAM_C) - off % 64;
	case 5:
		return in_u64(in);
	default:
		return GPA_A + off % (2 * PAGE);
	}
}

static uint32_t guest_len(struct input *in)
{
	uint8_t kind = in_u8(in);

	switch (kind % 8) {
	case 0:
		return in_u16(in);
	case 1:
		return (uint32_t)in_u16(in) << 1;
	case 2:
		return in_u32(in);
	default:
		return in_u8(in);
	}
}

static struct vring_desc make_desc(struct input *in)
{
	uint8_t flags = in_u8(in);
	struct vring_desc desc = {
		.addr = guest_addr(in),
		.len = guest_len(in),
		.flags = flags & 0x80 ? flags : flags & 3,
		.next = in_u8(in),
	};

	if (desc.next < 0xf0)
		desc.next &= 63;
	if (desc.flags & VRING_DESC_F_INDIRECT && flags & 0x40)
		desc.len = (desc.len & 63) * 16;
	return desc;
}

static void op_desc(struct dut *d, struct input *in)
{
	unsigned int qi = in_u8(in) & 1;
	uint32_t i = in_below(in, d->num[qi]);

	descs(qi)[i] = make_desc(in);
}

/* If there is no room on the ring, it depends on when the device looks whether
 * it believes the index. */
static void publish(struct dut *d, unsigned int qi)
{
	const struct virtq *vq = &d->v->queue[qi].vq;

	avail(d, qi)->idx = d->next[qi];
	d->apart |= (uint16_t)(d->next[qi] - vq->last_avail_idx) > d->num[qi];
}

/* A simple chain of one buffer, in the right direction, made available. */
static void op_buffer(struct dut *d, struct input *in)
{
	unsigned int qi = in_u8(in) & 1, n = 1 + in_u8(in) % 4;
	struct vring_avail *a = avail(d, qi);

	while (n--) {
		uint16_t head = (uint16_t)in_below(in, d->num[qi]);

		descs(qi)[head] = (struct vring_desc){
			.addr = guest_addr(in),
			.len = guest_len(in),
			.flags = qi == VHOST_NET_VQ_RX ? VRING_DESC_F_WRITE : 0,
		};
		a->ring[d->next[qi]++ & (d->num[qi] - 1)] = head;
	}
	publish(d, qi);
}

static void op_table(struct dut *d, struct input *in)
{
	uint8_t *at = zone(RAM_A) + in_u16(in) % (2 * PAGE - 16 * 16);
	unsigned int n = in_u8(in) % 16;

	(void)d;
	for (unsigned int i = 0; i < n; i++) {
		struct vring_desc desc = make_desc(in);

		memcpy(at + i * sizeof(desc), &desc, sizeof(desc));
	}
}

static void op_avail(struct dut *d, struct input *in)
{
	unsigned int qi = in_u8(in) & 1, n = 1 + in_u8(in) % 16;
	struct vring_avail *a = avail(d, qi);

	while (n--) {
		uint8_t head = in_u8(in);

		a->ring[d->next[qi]++ & (d->num[qi] - 1)] =
			head >= 0xf8 ? head : head & (d->num[qi] - 1);
	}
	publish(d, qi);
}

static void op_avail_words(struct dut *d, struct input *in)
{
	unsigned int qi = in_u8(in) & 1;
	struct vring_avail *a = avail(d, qi);

	switch (in_u8(in) % 4) {
	case 0:
		a->flags = in_u8(in);
		break;
	case 1:
		a->idx = in_u16(in);
		d->apart = true;
		break;
	case 2:
		a->ring[d->num[qi]] = in_u16(in);
		break;
	default:
		a->ring[d->num[qi]] = (uint16_t)(used(qi)->idx + in_u8(in) % 8);
		break;
	}
}

static void op_scribble(struct dut *d, struct input *in)
{
	unsigned int z = in_below(in, ZONES), n = 1 + in_u8(in) % 32;

	d->apart |= z == DRIVER;
	in_bytes(in, zone(z) + in_u16(in) % (zone_size(z) - 32), n);
}

static uint32_t frame_len(struct dut *d, struct input *in)
{
	(void)d;
	return guest_len(in) % (NETPORT_FRAME_MAX + 2);
}

static void op_frames(struct dut *d, struct input *in)
{
	dut_frames(d, in, frame_len);
}

static void op_features(struct dut *d, struct input *in)
{
	bool had_iotlb = d->v->mv.have_iotlb;

	d->apart |= d->frames;
	vdev_set_features(d->v, features_of(in_u16(in)));
	if (had_iotlb == d->v->mv.have_iotlb)
		return;
	if (d->v->mv.have_iotlb)
		dut_iotlb_rings(d);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++)
		good_addr(d, qi);
}

static void op_backend(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int qi = how & 1;

	d->apart |= d->frames;
	if (how & 2)
		set_backend(d, qi, VDEV_FD_NONE);
	if (how & 4)
		vdev_set_vring_base(d->v, qi, in_u16(in));
	if (how & 8)
		set_backend(d, qi, backend[how >> 4 & 1]);
	take_position(d, qi);
}

/* A region that is not one zone of guest memory by itself is weird. */
static void op_regions(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);

	if (how & 1) {
		good_table(d);
		return;
	}
	d->weird = true;
	d->nregions = how % 5;
	for (size_t i = 0; i < d->nregions; i++) {
		uint8_t kind = in_u8(in);

		d->region[i] = (struct vhost_memory_region){
			.guest_phys_addr =
				kind & 0x80 ? in_u64(in) : in_u16(in) * 16u,
			.memory_size = kind & 0x40 ? in_u64(in) : in_u16(in),
			.userspace_addr =
				(uintptr_t)arena + in_u16(in) % ARENA_BYTES,
		};
		/* never beyond the arena: this process is the owner */
		if (d->region[i].memory_size >
		    (uintptr_t)arena + ARENA_BYTES -
			    d->region[i].userspace_addr)
			d->region[i].memory_size = PAGE / 2;
		if (d->region[i].userspace_addr + PAGE / 2 >
		    (uintptr_t)arena + ARENA_BYTES)
			d->region[i].userspace_addr = (uintptr_t)arena;
	}
	set_table(d);
}

static void op_addr(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	struct vhost_vring_addr *a = &d->addr[how & 1];
	struct vhost_vring_addr old = *a;

	if (how & 2) {
		good_addr(d, how & 1);
		return;
	}
	if (how & 4) { /* as QEMU does when it migrates */
		a->flags = BIT(VHOST_VRING_F_LOG);
		a->log_guest_addr = GPA_A + in_u8(in) * 64u;
	} else {
		uint64_t base = how & 8 ? IOVA_RINGS : 0;

		d->weird = true;
		a->flags = how >> 4 & 1;
		a->desc_user_addr = base + (uintptr_t)arena +
				    in_u32(in) % (ARENA_BYTES - 2 * PAGE);
		a->avail_user_addr = base + (uintptr_t)arena +
				     in_u32(in) % (ARENA_BYTES - 2 * PAGE);
		a->used_user_addr = base + (uintptr_t)arena +
				    in_u32(in) % (ARENA_BYTES - 2 * PAGE);
		a->log_guest_addr = in_u16(in);
	}
	if (vdev_set_vring_addr(d->v, a) < 0)
		*a = old;
}

static void op_log(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);

	if (how & 1)
		memset(zone(LOG), 0, PAGE);
	else
		set_log_base(d, (uintptr_t)zone(LOG) + how / 2);
}

static void op_iotlb(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	uint64_t iova = how & 0x80 ? in_u64(in) : guest_addr(in);
	uint64_t off = in_u32(in) % (ARENA_BYTES - PAGE);
	uint64_t size = how & 0x40 ? in_u64(in) : in_u8(in) * 16u;
	uint8_t perm = in_u8(in) & 3;
	struct vhost_msg msg;

	if (!d->v->mv.have_iotlb)
		return;
	switch (how % 4) {
	case 0: /* the answer that a good VMM gives */
		if (vdev_iotlb_read(d->v, &msg, sizeof(msg)) != sizeof(msg))
			return;
		iova = msg.iotlb.iova & ~(uint64_t)(PAGE - 1);
		if (iova >= (uintptr_t)zone(DRIVER) + IOVA_RINGS &&
		    iova < (uintptr_t)zone(USED) + IOVA_RINGS + 2 * PAGE)
			off = iova - IOVA_RINGS - (uintptr_t)arena;
		else
			off = (target.zones[RAM_A].first + off % 2) * PAGE;
		if (off + PAGE > ARENA_BYTES)
			return;
		dut_iotlb(d, VHOST_IOTLB_UPDATE, iova, PAGE,
			  (uintptr_t)arena + off, VHOST_ACCESS_RW);
		break;
	case 1:
		dut_iotlb(d, VHOST_IOTLB_INVALIDATE, iova, size, 0, 0);
		break;
	case 2:
		dut_iotlb_rings(d);
		break;
	default:
		d->weird = true;
		dut_iotlb(d, VHOST_IOTLB_UPDATE, iova, MIN(size, PAGE),
			  (uintptr_t)arena + off, perm);
		break;
	}
}

static void op_life(struct dut *d, struct input *in)
{
	uint8_t what = in_u8(in) % 8;

	d->apart |= d->frames && what <= 1;
	if (what == 0)
		vdev_owner_died(d->v);
	if (what <= 1) {
		must(vdev_reset_owner(d->v) == 0);
		start(d, in);
	} else if (what == 2) {
		vdev_set_vring_busyloop(d->v, VHOST_NET_VQ_RX, 1);
	} else {
		settle(d);
	}
}

static void (*const ops[])(struct dut *d, struct input *in) = {
	op_desc, op_buffer,   op_buffer,   op_table,   op_avail,
	op_kick, op_kick,     op_frames,   op_frames,  op_avail_words,
	op_port, op_scribble, op_features, op_backend, op_regions,
	op_addr, op_log,      op_iotlb,    op_iotlb,   op_life,
};

const struct target target = {
	.zones = {
		[DRIVER] = { 1, 2 },
		[USED] = { 4, 2 },
		[RAM_A] = { 7, 2 },
		[RAM_B] = { 10, 2 },
		[RAM_C] = { 13, 18 }, /* room for a frame of GSO */
		[LOG] = { 32, 1 },
	},
	.nzones = ZONES,
	.rings = USED + 1,
	.pages = ARENA_PAGES_MAX,
	.start = start,
	.settle = settle,
	.forget = forget,
	.ops = ops,
	.nops = ARRAY_SIZE(ops),
	.ops_max = OPS_MAX,
};
