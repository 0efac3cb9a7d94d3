/* SPDX-License-Identifier: BSD-3-Clause */
#include "vqfix.h"

#include "check.h"

#include <endian.h>
#include <stdlib.h>
#include <unistd.h>

static struct vqfix *of(struct virtq *vq)
{
	return container_of(vq, struct vqfix, vq);
}

static void on_miss(struct virtq *vq, uint64_t addr, uint8_t perm)
{
	of(vq)->misses++;
	of(vq)->miss_addr = addr;
	of(vq)->miss_perm = perm;
}

static void on_log(struct virtq *vq)
{
	of(vq)->log_events++;
}

void vqfix_range(struct rangemap *m, uint64_t start, uint64_t size,
		 uint64_t uva, uint8_t perm)
{
	check_ret(rangemap_add(m, start, start + size - 1, uva, perm), 0);
}

static void set_table(struct vqfix *f)
{
	struct vhost_memory_region r[3];

	arena_table(&f->arena, r);
	rangemap_clear(&f->mv.table);
	for (unsigned int i = 0; i < 3; i++)
		vqfix_range(&f->mv.table, r[i].guest_phys_addr,
			    r[i].memory_size, r[i].userspace_addr, RANGE_RW);
	f->mv.have_table = true;
	memview_bind(&f->mv);
}

int vqfix_setup(void **state)
{
	unsigned int mode = (uintptr_t)*state;
	struct vqfix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->packed = mode & ARENA_PACKED;
	arena_open(&f->arena, mode & ~ARENA_PACKED);
	f->mv.as = arena_aspace(&f->arena);
	aspace_enter(f->mv.as);
	set_table(f);
	f->call = event_new();
	f->err = event_new();
	f->vq.mv = &f->mv;
	f->vq.log = &f->log;
	f->vq.iotlb_miss = on_miss;
	f->vq.log_event = on_log;
	log_tag_init(&f->vq.tag, "vq");
	virtq_init(&f->vq);
	f->log.base = arena_uva(&f->arena, VQFIX_LOG);
	*state = f;
	return 0;
}

int vqfix_teardown(void **state)
{
	struct vqfix *f = *state;

	aspace_enter(NULL);
	virtq_free_shadow(&f->vq);
	rangemap_free(&f->mv.table);
	rangemap_free(&f->mv.iotlb);
	aspace_free(f->mv.as);
	arena_close(&f->arena);
	close(f->call);
	close(f->err);
	free(f);
	return 0;
}

int vqfix_fetch(struct vqfix *f)
{
	return virtq_fetch(&f->vq, &f->batch, VIRTQ_BATCH_CHAINS);
}

/* The device's view of a piece holds what the driver wrote. */
void vqfix_check_seg(struct vqfix *f, const struct seg *seg, uint64_t gpa,
		     uint32_t len)
{
	const uint8_t *want = arena_ram(&f->arena, gpa);

	assert_int_equal(seg->addr, gpa);
	assert_int_equal(seg->len, len);
	assert_int_equal(seg->uva, (uintptr_t)want);
	if (seg->ptr) {
		arena_ram(&f->arena, gpa)[0] ^= 0x5a; /* another mapping */
		assert_memory_equal(seg->ptr, want, len);
	}
	assert_int_equal(seg->ptr != NULL, f->arena.mode == MAPPED ||
						   f->arena.mode == RAM_MAPPED);
}

void vqfix_no_error(struct vqfix *f)
{
	assert_int_equal(event_take(f->err), 0);
	assert_int_equal(f->vq.counters.errors, 0);
}

bool vqfix_signalled(struct vqfix *f)
{
	uint64_t signals = f->vq.counters.signals,
		 suppressed = f->vq.counters.suppressed, count;

	virtq_signal(&f->vq);
	count = event_take(f->call);
	assert_in_range(count, 0, 1);
	assert_int_equal(f->vq.counters.signals - signals, count);
	assert_int_equal(f->vq.counters.suppressed - suppressed, !count);
	return count;
}

/* Bits set in the bitmap; in copied mode a byte is all or nothing. */
unsigned int vqfix_take_log(struct vqfix *f)
{
	uint8_t *log = f->arena.base + VQFIX_LOG;
	unsigned int bits = log[0] | log[1] << 8 | log[2] << 16;

	memset(log, 0, 3);
	if (f->arena.mode == MAPPED || f->arena.mode == RAM_MAPPED)
		return bits;
	for (unsigned int i = 0; i < 3; i++)
		assert_true((bits >> 8 * i & 0xff) == 0 ||
			    (bits >> 8 * i & 0xff) == 0xff);
	return bits;
}

unsigned int vqfix_pages(struct vqfix *f, unsigned int bits)
{
	unsigned int rounded = 0;

	if (f->arena.mode == MAPPED || f->arena.mode == RAM_MAPPED)
		return bits;
	for (unsigned int i = 0; i < 3; i++)
		if (bits >> 8 * i & 0xff)
			rounded |= 0xffu << 8 * i;
	return rounded;
}

void vqfix_iotlb_add(struct vqfix *f, uint64_t iova, uint64_t size,
		     uint64_t off, uint8_t perm)
{
	vqfix_range(&f->mv.iotlb, iova, size, arena_uva(&f->arena, off), perm);
	memview_bind(&f->mv);
	virtq_changed(&f->vq);
}

static void check_stuck(struct vqfix *f, int ret, unsigned int signals)
{
	uint16_t at = f->vq.last_avail_idx;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t errors = f->vq.counters.errors;

		check_ret(vqfix_fetch(f), ret);
		assert_int_equal(event_take(f->err), signals);
		assert_int_equal(f->vq.counters.errors - errors, signals);
		assert_int_equal(f->vq.last_avail_idx, at);
	}
	assert_false(f->vq.broken);
	assert_int_equal(f->vq.last_used_idx, f->d.reaped);
	assert_false(drv_pending(&f->d));
}

void vqfix_check_stuck(struct vqfix *f, int ret)
{
	check_stuck(f, ret, 1);
}

void vqfix_check_stuck_in_table(struct vqfix *f, int ret)
{
	check_stuck(f, ret, f->packed ? 1 : 2);
}

void vqfix_check_bytes(struct vqfix *f, unsigned int n)
{
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, n);
	if (f->packed)
		assert_int_equal(f->batch.chain[0].ndescs, 1);
	assert_int_equal(f->batch.chain[0].id, 2);
	for (unsigned int i = 0; i < n; i++)
		vqfix_check_seg(f, &f->batch.seg[i], GPA_A + i, 1);
	vqfix_no_error(f);
}

/* Ring and driver after a reset; not started. */
static void set_ring(struct vqfix *f, uint32_t num, uint64_t features)
{
	drv_init(&f->d, &f->arena, 0, num, f->packed);
	f->vq.num = num;
	f->vq.addr = drv_addr(&f->d, 0);
	f->vq.features = features | (f->packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
	f->vq.call_fd = f->call;
	f->vq.err_fd = f->err;
	f->vq.used_flags = 0;
	f->vq.last_avail_idx = f->vq.last_used_idx = f->d.next;
}

void vqfix_start_at(struct vqfix *f, uint32_t num, uint64_t features,
		    uint16_t at)
{
	set_ring(f, num, features);
	drv_move(&f->d, at);
	f->vq.last_avail_idx = f->vq.last_used_idx = at;
	check_ret(virtq_start(&f->vq), 0);
}

void vqfix_start(struct vqfix *f, uint32_t num, uint64_t features)
{
	vqfix_start_at(f, num, features, f->packed ? DRV_WRAP : 0);
}

void vqfix_start_after(struct vqfix *f, uint32_t num, uint64_t features,
		       uint32_t n)
{
	f->d.num = num;
	f->d.packed = f->packed;
	vqfix_start_at(f, num, features, drv_after(&f->d, n));
}

void vqfix_push(struct vqfix *f, uint16_t id, uint16_t ndescs, uint32_t len)
{
	struct virtq_used e = { len, id, ndescs, 1 };

	check_ret(virtq_push(&f->vq, &e, 1), 0);
}

void vqfix_push_batch(struct vqfix *f, unsigned int n, uint32_t len)
{
	static struct virtq_used e[VIRTQ_BATCH_CHAINS];

	for (unsigned int i = 0; i < n; i++)
		e[i] = (struct virtq_used){ len, f->batch.chain[i].id,
					    f->batch.chain[i].ndescs, 1 };
	check_ret(virtq_push(&f->vq, e, n), 0);
}

void vqfix_check_used(struct vqfix *f, uint16_t id, uint32_t ndescs,
		      uint32_t len)
{
	struct vring_used_elem e = drv_reap_chain(&f->d, ndescs);

	assert_int_equal(e.id, id);
	assert_int_equal(e.len, len);
}

void vqfix_fill_table(struct vqfix *f, uint64_t gpa, unsigned int n,
		      unsigned int writable)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t write = i >= n - writable ? WRITE : 0;
		uint16_t junk = (uint16_t)(i * 0x1357 & ~WRITE);
		struct vring_packed_desc p = {
			.addr = htole64(GPA_A + i),
			.len = htole32(1),
			.id = htole16((uint16_t)(i * 77)),
			.flags = htole16(junk | write),
		};
		struct vring_desc d;

		drv_desc(&d, GPA_A + i, 1, write | (i + 1 < n ? NEXT : 0),
			 (uint16_t)(i + 1));
		memcpy(arena_ram(&f->arena, gpa) + i * DESC,
		       f->packed ? (void *)&p : (void *)&d, DESC);
	}
}

void vqfix_offer_table(struct vqfix *f, uint64_t gpa, uint32_t len)
{
	vqfix_start(f, 8, 0);
	drv_offer(&f->d, 2, gpa, len, INDIRECT);
}

void vqfix_iotlb(struct vqfix *f, uint32_t num, uint64_t features)
{
	set_ring(f, num, features);
	f->vq.addr.desc_user_addr += IOVA_SHIFT;
	f->vq.addr.avail_user_addr += IOVA_SHIFT;
	f->vq.addr.used_user_addr += IOVA_SHIFT;
	f->mv.have_iotlb = true;
}

void vqfix_iotlb_rings(struct vqfix *f, uint64_t step, uint64_t total)
{
	for (uint64_t at = 0; at < total; at += step)
		vqfix_iotlb_add(f, arena_uva(&f->arena, at) + IOVA_SHIFT, step,
				at, RANGE_RW);
}

void vqfix_log_ring(struct vqfix *f, uint64_t gpa)
{
	f->vq.addr.flags = BIT(VHOST_VRING_F_LOG);
	f->vq.addr.log_guest_addr = gpa;
	virtq_changed(&f->vq);
	check_ret(vqfix_fetch(f), 0);
	memset(f->arena.base + VQFIX_LOG, 0, PAGE);
	f->log_events = 0;
}
