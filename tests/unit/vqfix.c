/* SPDX-License-Identifier: BSD-3-Clause */
#include "vqfix.h"

#include "check.h"

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

static int setup_mode(void **state, enum arena_mode mode)
{
	struct vqfix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	arena_open(&f->arena, mode);
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

int vqfix_setup_mapped(void **state)
{
	return setup_mode(state, MAPPED);
}

int vqfix_setup_copied(void **state)
{
	return setup_mode(state, COPIED);
}

int vqfix_setup_rings_mapped(void **state)
{
	return setup_mode(state, RINGS_MAPPED);
}

int vqfix_setup_ram_mapped(void **state)
{
	return setup_mode(state, RAM_MAPPED);
}

int vqfix_setup_child(void **state)
{
	return setup_mode(state, FROM_CHILD);
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

void vqfix_check_stuck(struct vqfix *f, int ret, unsigned int bumps)
{
	uint16_t at = f->vq.last_avail_idx;

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t errors = f->vq.counters.errors;

		check_ret(vqfix_fetch(f), ret);
		assert_int_equal(event_take(f->err), bumps);
		assert_int_equal(f->vq.counters.errors - errors, bumps);
		assert_int_equal(f->vq.last_avail_idx, at);
	}
	assert_false(f->vq.broken);
}

void vqfix_check_bytes(struct vqfix *f, unsigned int n)
{
	check_ret(vqfix_fetch(f), 1);
	assert_int_equal(f->batch.chain[0].nout, n);
	assert_int_equal(f->batch.chain[0].ndescs,
			 !!(f->vq.features & BIT(VIRTIO_F_RING_PACKED)));
	assert_int_equal(f->batch.chain[0].id, 2);
	for (unsigned int i = 0; i < n; i++)
		vqfix_check_seg(f, &f->batch.seg[i], GPA_A + i, 1);
	vqfix_no_error(f);
}

void vqfix_iotlb(struct vqfix *f, const struct vhost_vring_addr *addr,
		 uint32_t num)
{
	f->vq.num = num;
	f->vq.addr = *addr;
	f->vq.addr.desc_user_addr += IOVA_SHIFT;
	f->vq.addr.avail_user_addr += IOVA_SHIFT;
	f->vq.addr.used_user_addr += IOVA_SHIFT;
	f->vq.call_fd = f->call;
	f->vq.err_fd = f->err;
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
