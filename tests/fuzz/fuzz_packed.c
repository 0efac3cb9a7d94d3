/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile driver before a device with packed rings, as fuzz_virtq.c has it
 * for split ones: the input is what the driver does, the same to two devices
 * one after the other, of which one has all memory mapped and the other copies
 * some or all of it.
 *
 * What must hold: of a descriptor ring the device writes only what it has used,
 * and of that no address; what is used was taken, and nothing stays in flight;
 * nothing but guest memory, used descriptors and its own event structures is
 * touched; it comes to rest; a page that was written is in the log; and both
 * devices do the same.
 *
 * The last holds as long as the driver does not take back what it has shown
 * ("apart"): how far a device has looked ahead is its own business.
 */
#include "fuzzarena.h"

#include <unistd.h>

#define OPS_MAX 100
#define ROUNDS_MAX 1000
#define NUM_MAX 40
#define WRAP 0x8000u
#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)

/* Of both rings: descriptors; event structures of driver and device. */
enum { RING, DRIVER, DEVICE, RAM_A, RAM_B, RAM_C, LOG, ZONES };

/* Guest memory, too: so writes are logged. */
#define GPA_RING UINT64_C(0x8000)
#define GPA_A UINT64_C(0x10000)
#define GPA_B (GPA_A + PAGE) /* right behind */
#define GPA_C UINT64_C(0x200000)

/* ---- set-up ---- */

static void own(struct dut *d)
{
	const struct vhost_memory_region regions[] = {
		{ GPA_RING, PAGE, (uintptr_t)zone(RING), 0 },
		{ GPA_A, zone_size(RAM_A), (uintptr_t)zone(RAM_A), 0 },
		{ GPA_B, zone_size(RAM_B), (uintptr_t)zone(RAM_B), 0 },
		{ GPA_C, zone_size(RAM_C), (uintptr_t)zone(RAM_C), 0 },
	};
	struct aspace_map *m[ZONES];
	size_t n = arena_maps(d->mode, m);

	dut_own(d);
	must(vdev_set_mem_table(d->v, regions, ARRAY_SIZE(regions), m, n) == 0);
}

static struct vring_packed_desc *descs(unsigned int qi)
{
	return (struct vring_packed_desc *)(zone(RING) + qi * PAGE / 2);
}

static struct vring_packed_desc_event *events(unsigned int z, unsigned int qi)
{
	return (struct vring_packed_desc_event *)(zone(z) + qi * 64);
}

static void set_addr(struct dut *d, unsigned int qi, bool logged)
{
	uint64_t shift = d->v->mv.have_iotlb ? IOVA_RINGS : 0;

	d->addr[qi] = (struct vhost_vring_addr){
		.index = qi,
		.flags = logged ? BIT(VHOST_VRING_F_LOG) : 0,
		.desc_user_addr = (uintptr_t)descs(qi) + shift,
		.avail_user_addr = (uintptr_t)events(DRIVER, qi) + shift,
		.used_user_addr = (uintptr_t)events(DEVICE, qi) + shift,
	};
	vdev_set_vring_addr(d->v, &d->addr[qi]);
}

static uint64_t features_of(uint8_t bits)
{
	uint64_t f = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED);

	f |= bits & 1 ? BIT(VIRTIO_F_IN_ORDER) : 0;
	f |= bits & 2 ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0;
	f |= bits & 4 ? BIT(VHOST_NET_F_VIRTIO_NET_HDR) : 0;
	f |= bits & 8 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0;
	f |= bits & 16 ? BIT(VHOST_F_LOG_ALL) : 0;
	f |= (bits & 0xc0) == 0xc0 ? BIT(VIRTIO_F_ACCESS_PLATFORM) : 0;
	return f;
}

static uint16_t step(const struct dut *d, unsigned int qi, uint16_t place)
{
	uint16_t slot = (place & (WRAP - 1)) + 1;

	return slot < d->num[qi] ? place + 1u : (place & WRAP) ^ WRAP;
}

/* Descriptors from one place on to another. */
static unsigned int steps(const struct dut *d, unsigned int qi, uint16_t from,
			  uint16_t to)
{
	unsigned int n = 0;

	for (; from != to && n < 2 * d->num[qi]; n++)
		from = step(d, qi, from);
	return n;
}

static void start(struct dut *d, struct input *in)
{
	uint8_t bits = in_u8(in);

	own(d);
	must(vdev_set_features(d->v, features_of(bits)) == 0);
	d->in_order = bits & 1;
	vdev_set_log_base(d->v, (uintptr_t)zone(LOG));
	if (d->v->mv.have_iotlb)
		dut_iotlb_rings(d);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++) {
		uint8_t base = in_u8(in);

		d->num[qi] = 1 + in_below(in, NUM_MAX);
		d->next[qi] = (uint16_t)((base & 0x7f) % d->num[qi]) |
			      (base & 0x80 ? 0 : WRAP);
		/* what is there counts as used a lap ago, or never */
		for (uint32_t i = 0; i < d->num[qi]; i++)
			descs(qi)[i].flags =
				d->next[qi] & WRAP ? 0 : F_AVAIL | F_USED;
		must(vdev_set_vring_num(d->v, qi, d->num[qi]) == 0);
		must(vdev_set_vring_base(d->v, qi, d->next[qi]) == 0);
		set_addr(d, qi, bits & 16);
		d->v->queue[qi].vq.call_fd = dup(event);
		d->v->queue[qi].vq.err_fd = dup(event);
		vdev_net_set_backend(d->v, qi, dup(backend[0]));
	}
}

/* ---- what must hold ---- */

struct snapshot {
	uint8_t memory[ARENA_PAGES_MAX * PAGE];
	uint16_t avail[VDEV_VQS], used[VDEV_VQS];
};

static void take_snapshot(const struct dut *d, struct snapshot *s)
{
	arena_save(s->memory, ~0u);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++) {
		s->avail[qi] = d->v->queue[qi].vq.last_avail_idx;
		s->used[qi] = d->v->queue[qi].vq.last_used_idx;
	}
}

static const uint8_t *was(const struct snapshot *s, const void *at)
{
	return s->memory + ((const uint8_t *)at - arena);
}

/* Only used descriptors have changed, and of those no address. */
static void check_ring(const struct dut *d, unsigned int qi,
		       const struct snapshot *s)
{
	const struct virtq *vq = &d->v->queue[qi].vq;
	unsigned int taken = steps(d, qi, s->avail[qi], vq->last_avail_idx);
	unsigned int back = steps(d, qi, s->used[qi], vq->last_used_idx);
	uint16_t place = s->used[qi];

	must(taken == back);
	must(vq->last_avail_idx == vq->last_used_idx);
	must(steps(d, qi, vq->last_avail_idx, vq->avail_idx) <= d->num[qi]);
	for (unsigned int i = 0; i < d->num[qi]; i++) {
		const struct vring_packed_desc *at =
			&descs(qi)[place & (WRAP - 1)];
		size_t same = i < back ? sizeof(at->addr) : sizeof(*at);

		must(memcmp(at, was(s, at), same) == 0);
		place = step(d, qi, place);
	}
	must(memcmp(&descs(qi)[d->num[qi]], was(s, &descs(qi)[d->num[qi]]),
		    PAGE / 2 - d->num[qi] * sizeof(struct vring_packed_desc)) ==
	     0);
}

static void check_logged(unsigned int z, uint64_t gpa, const struct snapshot *s)
{
	for (uint64_t at = 0; at < zone_size(z); at += PAGE, gpa += PAGE)
		must(memcmp(zone(z) + at, was(s, zone(z) + at), PAGE) == 0 ||
		     zone(LOG)[gpa / PAGE / 8] >> (gpa / PAGE % 8) & 1);
}

static void check_memory(const struct dut *d, const struct snapshot *s)
{
	must(memcmp(zone(DRIVER), was(s, zone(DRIVER)), PAGE) == 0);
	must(memcmp(zone(DEVICE) + 128, was(s, zone(DEVICE) + 128),
		    PAGE - 128) == 0);
	if (d->v->mv.have_iotlb || !(d->v->features & BIT(VHOST_F_LOG_ALL)))
		return;
	check_logged(RAM_A, GPA_A, s);
	check_logged(RAM_B, GPA_B, s);
	check_logged(RAM_C, GPA_C, s);
	if (d->addr[VHOST_NET_VQ_RX].flags && d->addr[VHOST_NET_VQ_TX].flags)
		check_logged(RING, GPA_RING, s);
}

static void settle(struct dut *d)
{
	static struct snapshot before;

	take_snapshot(d, &before);
	must(worker_settle(worker, ROUNDS_MAX));
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++)
		check_ring(d, qi, &before);
	check_memory(d, &before);
}

static void forget(const struct dut *d, struct outcome *o)
{
	memset(in_copy(o->memory, LOG), 0, PAGE);
	/* where kicks are wanted: how far the device has looked ahead */
	memset(in_copy(o->memory, DEVICE), 0, PAGE);
	/* one descriptor a batch, and batches are the device's business */
	if (d->in_order)
		memset(in_copy(o->memory, RING), 0, PAGE);
}

/* ---- what the driver does ---- */

static uint64_t guest_addr(struct input *in)
{
	uint8_t kind = in_u8(in);
	uint16_t off = in_u16(in);

	switch (kind % 8) {
	case 0:
		return GPA_B + off % PAGE;
	case 1:
		return GPA_B - off % 64; /* across both */
	case 2:
		return GPA_C + off;
	case 3:
		return GPA_C + zone_size(RAM_C) - off % 64;
	case 4:
		return in_u64(in);
	default:
		return GPA_A + off % PAGE;
	}
}

static uint32_t guest_len(struct input *in)
{
	uint8_t kind = in_u8(in);

	switch (kind % 8) {
	case 0:
		return in_u16(in);
	case 1:
		return in_u32(in);
	default:
		return in_u8(in);
	}
}

static uint16_t avail_flags(uint16_t place)
{
	return place & WRAP ? F_AVAIL : F_USED;
}

/* A buffer that may overlap nothing of a ring: what the device writes there
 * would be its own next instruction. */
static struct vring_packed_desc make_desc(struct input *in)
{
	struct vring_packed_desc desc = {
		.addr = guest_addr(in),
		.len = guest_len(in),
		.id = in_u8(in) * 0x101,
	};

	if (desc.addr < GPA_RING + PAGE && desc.addr + desc.len > GPA_RING)
		desc.len = 0;
	return desc;
}

/* The next descriptor, at once; only if there is room. */
static bool add_desc(struct dut *d, unsigned int qi,
		     struct vring_packed_desc desc)
{
	uint16_t place = d->next[qi];

	if (steps(d, qi, d->v->queue[qi].vq.last_used_idx, place) >= d->num[qi])
		return false;
	desc.flags = (desc.flags & ~(F_AVAIL | F_USED)) | avail_flags(place);
	descs(qi)[place & (WRAP - 1)] = desc;
	d->next[qi] = step(d, qi, place);
	return true;
}

/* A chain as it should be; the first descriptor last. */
static void op_chain(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int qi = how & 1, n = 1 + (how >> 1) % 4;
	uint16_t first = d->next[qi];

	if (steps(d, qi, d->v->queue[qi].vq.last_used_idx, first) + n >
	    d->num[qi])
		return;
	for (unsigned int i = 0; i < n; i++) {
		struct vring_packed_desc desc = make_desc(in);

		desc.flags = qi == VHOST_NET_VQ_RX ? VRING_DESC_F_WRITE : 0;
		if (i + 1 < n)
			desc.flags |= VRING_DESC_F_NEXT;
		must(add_desc(d, qi, desc));
	}
}

static void op_chains(struct dut *d, struct input *in)
{
	unsigned int qi = in_u8(in) & 1, n = 1 + in_u8(in) % 8;

	while (n--) {
		struct vring_packed_desc desc = make_desc(in);

		desc.flags = qi == VHOST_NET_VQ_RX ? VRING_DESC_F_WRITE : 0;
		add_desc(d, qi, desc);
	}
}

static void op_desc(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	struct vring_packed_desc desc = make_desc(in);

	desc.flags = how & 0x80 ? in_u16(in) : how >> 1 & 7;
	if (desc.flags & VRING_DESC_F_INDIRECT && how & 0x40)
		desc.len = (desc.len & 63) * 16;
	add_desc(d, how & 1, desc);
}

/* Whatever it is, wherever it is. */
static void op_rewrite(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int qi = how & 1;
	struct vring_packed_desc *at = &descs(qi)[in_below(in, d->num[qi])];

	d->apart = true;
	if (how & 2) {
		struct vring_packed_desc desc = make_desc(in);

		desc.flags = at->flags;
		*at = desc;
	}
	if (how & 4)
		at->flags = in_u16(in);
	if (how & 8)
		at->flags ^= F_AVAIL | F_USED;
	if (how & 16)
		d->next[qi] = d->v->queue[qi].vq.last_used_idx;
}

static void op_table(struct dut *d, struct input *in)
{
	uint8_t *at = zone(RAM_A) + in_u16(in) % (PAGE - 16 * 16);
	unsigned int n = in_u8(in) % 16;

	(void)d;
	for (unsigned int i = 0; i < n; i++) {
		struct vring_packed_desc desc = make_desc(in);

		desc.flags = in_u8(in);
		memcpy(at + i * sizeof(desc), &desc, sizeof(desc));
	}
}

static void op_events(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	struct vring_packed_desc_event *e = events(DRIVER, how & 1);

	(void)d;
	e->flags = how & 0x80 ? in_u16(in) : how >> 1 & 3;
	e->off_wrap = in_u16(in);
}

static uint32_t frame_len(struct dut *d, struct input *in)
{
	uint32_t len = guest_len(in) % 12000;

	/* Dropped for want of a header, by who looks: who knows of no chains
	 * does not. */
	d->apart |= len < 12;
	return len;
}

static void op_frames(struct dut *d, struct input *in)
{
	dut_frames(d, in, frame_len);
}

static void op_features(struct dut *d, struct input *in)
{
	bool had_iotlb = d->v->mv.have_iotlb;

	uint8_t bits = in_u8(in);

	d->apart |= d->frames;
	d->in_order |= bits & 1;
	vdev_set_features(d->v, features_of(bits));
	if (had_iotlb == d->v->mv.have_iotlb)
		return;
	if (d->v->mv.have_iotlb)
		dut_iotlb_rings(d);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++)
		set_addr(d, qi, false);
}

/* A stop and a start, with the base that was there or another one. */
static void op_backend(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	unsigned int qi = how & 1;

	d->apart |= d->frames;
	vdev_net_set_backend(d->v, qi, VDEV_FD_NONE);
	if (how & 2) {
		uint16_t base = in_u16(in);

		d->apart = true;
		if (vdev_set_vring_base(d->v, qi, base) == 0)
			d->next[qi] = base;
	}
	if (vdev_net_set_backend(d->v, qi, dup(backend[0])) < 0 && how & 2) {
		/* not in the ring */
		d->next[qi] = WRAP;
		vdev_set_vring_base(d->v, qi, WRAP);
		vdev_net_set_backend(d->v, qi, dup(backend[0]));
	}
}

static void op_addr(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);

	set_addr(d, how & 1, how & 2);
	if (how & 4)
		memset(zone(LOG), 0, PAGE);
}

static void op_iotlb(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);
	uint64_t iova = guest_addr(in);
	struct vhost_msg msg;

	if (!d->v->mv.have_iotlb)
		return;
	if (how & 1) {
		dut_iotlb(d, VHOST_IOTLB_INVALIDATE,
			  how & 2 ? iova + IOVA_RINGS : iova, in_u8(in) * 64u,
			  0, 0);
		return;
	}
	if (vdev_iotlb_read(d->v, &msg, sizeof(msg)) != sizeof(msg))
		return;
	iova = msg.iotlb.iova & ~(uint64_t)(PAGE - 1);
	if (iova >= IOVA_RINGS)
		dut_iotlb_rings(d);
	else
		dut_iotlb(d, VHOST_IOTLB_UPDATE, iova, PAGE,
			  (uintptr_t)zone(how & 2 ? RAM_A : RAM_C),
			  how >> 2 & 3);
}

static void op_settle(struct dut *d, struct input *in)
{
	(void)in;
	settle(d);
}

static void (*const ops[])(struct dut *d, struct input *in) = {
	op_chain,   op_chain, op_chains, op_chains, op_desc,
	op_desc,    op_kick,  op_kick,   op_frames, op_frames,
	op_rewrite, op_table, op_events, op_port,   op_features,
	op_backend, op_addr,  op_iotlb,  op_iotlb,  op_settle,
};

const struct target target = {
	.zones = {
		[RING] = { 1, 1 },
		[DRIVER] = { 3, 1 },
		[DEVICE] = { 5, 1 },
		[RAM_A] = { 7, 1 },
		[RAM_B] = { 9, 1 },
		[RAM_C] = { 11, 3 },
		[LOG] = { 15, 1 },
	},
	.nzones = ZONES,
	.rings = DEVICE + 1,
	.pages = 17,
	.start = start,
	.settle = settle,
	.forget = forget,
	.ops = ops,
	.nops = ARRAY_SIZE(ops),
	.ops_max = OPS_MAX,
};
