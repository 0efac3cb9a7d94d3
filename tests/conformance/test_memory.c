/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_memory.c tests the memory that the device reads and writes: memory of
 * every kind, tables that change, the dirty log, and the IOTLB.
 */
#include "rig.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>

#define V1 (&(struct rig_config){ 0 })
#define PAGE UINT64_C(4096)

/* ---- kinds ---- */

static void exchange(struct rig *r, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		rig_tx(r, 60 + 40 * (i % 36), i);
		rig_rx(r, 60 + 40 * (i % 36), i);
	}
	rig_no_err(r, VMM_RX);
	rig_no_err(r, VMM_TX);
}

#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static unsigned int read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return (unsigned int)strtoul(text, NULL, 10);
}

/* Root may. Returns how many came. Other programs may do the same at the same
 * time, so that the number is changed at the end as well, and not restored, and
 * under the lock that vm-lib.sh takes, too. */
static int add_huge_pages(int n)
{
	int lock = open("/proc/sys/vm/nr_hugepages", O_RDONLY | O_CLOEXEC);
	int fd = open(HUGE_PAGES "nr_hugepages", O_WRONLY | O_CLOEXEC);
	int added = 0, had;

	if (fd >= 0 && lock >= 0 && flock(lock, LOCK_EX) == 0) {
		had = (int)read_number(HUGE_PAGES "nr_hugepages");
		dprintf(fd, "%d", had + n);
		added = (int)read_number(HUGE_PAGES "nr_hugepages") - had;
	}
	if (fd >= 0)
		close(fd);
	if (lock >= 0)
		close(lock);
	return added;
}

static void exchange_in(enum vmm_mem_kind kind)
{
	long outsides = conf_expect("rings may be outside the table", 1);
	unsigned int outside;

	for (outside = 0; outside <= outsides; outside++) {
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.features = F_V1 | F_MRG | F_EVENT,
			.vmm.mem_kind = kind,
			.vmm.rings_outside = outside });

		exchange(r, 30);
		rig_close(r);
	}
}

static void private_memory(void **state)
{
	(void)state;
	exchange_in(VMM_MEM_PRIVATE);
}

static void shared_anonymous_memory(void **state)
{
	(void)state;
	exchange_in(VMM_MEM_SHARED);
}

static void memfd_memory(void **state)
{
	(void)state;
	exchange_in(VMM_MEM_MEMFD);
}

static void hugetlb_memory(void **state)
{
	int added = add_huge_pages(8);
	bool enough;

	(void)state;
	enough = read_number(HUGE_PAGES "free_hugepages") >= 8;
	if (enough)
		exchange_in(VMM_MEM_HUGETLB);
	add_huge_pages(-added);
	if (!enough)
		skip_because("fewer than 8 free huge pages of 2 MiB");
}

/* Regions of different kinds side by side; buffers in each. */
static void regions_of_different_kinds(void **state)
{
	static const enum vmm_mem_kind kinds[] = {
		VMM_MEM_MEMFD, VMM_MEM_PRIVATE, VMM_MEM_SHARED, VMM_MEM_MEMFD
	};
	struct vmm_mem mem = conf_mem();
	struct rig *r;
	unsigned int i;

	(void)state;
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0, 4U << 20), 0);
	for (i = 0; i < 4; i++)
		check_ret(vmm_mem_add(&mem, kinds[i],
				      (UINT64_C(1) << 32) + i * 0x10000,
				      0x10000),
			  0);
	r = rig_open(&(struct rig_config){ .vmm.own_mem = &mem });
	for (i = 0; i < 20; i++) {
		/* the slots are where this says */
		r->slots = vmm_mem_alloc_in(&r->v->mem, 1 + i % 4, 2048, 1);
		rig_tx(r, 100 + i, 0);
		rig_rx(r, 100 + i, 0);
	}
	rig_close(r);
}

/* The heap of a process, nothing aligned: what vhost_net_test does. */
static void unaligned_heap_memory(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){
		.idle = true, .vmm.rings_outside = true });
	uint8_t *heap = malloc(1200);
	struct vmm_mem *m = &r->v->mem;
	struct vmm_mem saved = *m;

	(void)state;
	assert_non_null(heap);
	*m = (struct vmm_mem){ .n = 1 };
	m->region[0] = (struct vmm_region){
		.gpa = (uintptr_t)(heap + 3),
		.size = 1101,
		.hva = heap + 3,
	};
	check_ret(vmm_start(r->v, r->backend), 0);
	r->slots = m->region[0].gpa;
	rig_tx(r, 500, 0);
	rig_add_rx(r, 1101, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 1101 - 12, 0);
	rig_got(r, 1101 - 12, 0);
	check_ret(vmm_stop(r->v), 0);
	*m = saved;
	free(heap);
	rig_close(r);
}

static void chain_may_cross_adjacent_regions(void **state)
{
	struct vmm_mem mem = conf_mem();
	uint64_t at = (UINT64_C(1) << 32) + 0x10000 - 100;
	struct vmm_seg seg = { .addr = at, .len = 12 + 300 };
	uint8_t buf[312] = { 0 };
	struct vmm_used used;
	struct rig *r;

	(void)state;
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0, 4U << 20), 0);
	check_ret(
		vmm_mem_add(&mem, VMM_MEM_PRIVATE, UINT64_C(1) << 32, 0x10000),
		0);
	check_ret(vmm_mem_add(&mem, VMM_MEM_MEMFD,
			      (UINT64_C(1) << 32) + 0x10000, 0x10000),
		  0);
	r = rig_open(&(struct rig_config){ .vmm.own_mem = &mem });
	vmm_frame(buf + 12, 300, 5);
	memcpy(rig_ptr(r, at), buf, 100);
	memcpy(rig_ptr(r, at + 100), buf + 100, 212);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	rig_seen(r, 300, 5);
	rig_reap(r, VMM_TX, 1, &used);

	seg.write = true;
	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	rig_go(r, VMM_RX);
	rig_inject(r, 300, 6);
	rig_reap(r, VMM_RX, 1, &used);
	memcpy(buf, rig_ptr(r, at), 100);
	memcpy(buf + 100, rig_ptr(r, at + 100), 212);
	assert_true(vmm_frame_is(buf + 12, 300, 6));
	rig_close(r);
}

static void buffer_may_end_with_its_region(void **state)
{
	struct rig *r = rig_open(V1);
	const struct vmm_region *last = &r->v->mem.region[r->v->mem.n - 1];
	struct vmm_seg seg = { .addr = last->gpa + last->size - 72, .len = 72 };
	struct vmm_used used;

	(void)state;
	rig_fill(r, seg.addr, 60, 1);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	rig_seen(r, 60, 1);
	rig_reap(r, VMM_TX, 1, &used);

	seg.write = true;
	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	rig_go(r, VMM_RX);
	rig_inject(r, 60, 2);
	rig_reap(r, VMM_RX, 1, &used);
	assert_true(vmm_frame_is(rig_ptr(r, seg.addr + 12), 60, 2));
	rig_close(r);
}

/* In the table, but nothing is mapped there: found when it is used. */
static void unmapped_memory_in_a_region_loses_the_frame_only(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .idle = true, .tap.sndbuf = 1 << 20 });
	struct vmm_region *region = &r->v->mem.region[r->v->mem.n - 1];
	struct vmm_seg seg = { .addr = region->gpa + region->size, .len = 100 };
	struct vmm_used used;

	(void)state;
	region->size += PAGE; /* a page without access follows */
	check_ret(vmm_start(r->v, r->backend), 0);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	rig_reap(r, VMM_TX, 1, &used);
	rig_tx(r, 100, 1);
	rig_close(r);
}

/* ---- what the owner forbids itself ---- */

#define GUARDED (UINT64_C(1) << 32)

/* A rig, idle, with 16 pages of private memory at GUARDED; @sndbuf: of the tap,
 * 0: no limit. */
static struct rig *guarded_rig(int sndbuf)
{
	struct vmm_mem mem = conf_mem();

	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0, 4U << 20), 0);
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, GUARDED, 16 * PAGE), 0);
	return rig_open(&(struct rig_config){
		.idle = true, .vmm.own_mem = &mem, .tap.sndbuf = sndbuf });
}

static void guard(struct rig *r, int prot)
{
	check_ret(mprotect(rig_ptr(r, GUARDED), 16 * PAGE, prot), 0);
}

static void memory_that_the_owner_cannot_read_is_not_sent(void **state)
{
	struct rig *r = guarded_rig(1 << 20);
	struct vmm_seg seg = { .addr = GUARDED, .len = 12 + 100 };
	struct vmm_used used;

	(void)state;
	rig_fill(r, GUARDED, 100, 7);
	guard(r, PROT_NONE);
	check_ret(vmm_start(r->v, r->backend), 0);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	rig_reap(r, VMM_TX, 1, &used);
	rig_not_seen(r);
	rig_no_err(r, VMM_TX);

	guard(r, PROT_READ);
	check_ret(vmm_table(r->v), 0);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	rig_seen(r, 100, 7);
	rig_close(r);
}

/* The kernel's batched path cannot build the frame and retries without end. */
static void unreadable_memory_on_a_tap_without_sndbuf(void **state)
{
	struct rig *r = guarded_rig(0);
	struct vmm_seg seg = { .addr = GUARDED, .len = 12 + 100 };
	struct vmm_used used;

	(void)state;
	rig_fill(r, GUARDED, 100, 7);
	guard(r, PROT_NONE);
	check_ret(vmm_start(r->v, r->backend), 0);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	if (conf_expect("tx unreadable chain without sndbuf", 0))
		rig_reap(r, VMM_TX, 1, &used);
	rig_not_seen(r);
	rig_used_is(r, VMM_TX, 0);
	rig_no_err(r, VMM_TX);
	rig_close(r);
}

/* Offers a guarded buffer, and a frame for it; is the buffer written? */
static bool is_written(struct rig *r)
{
	struct vmm_seg seg = { .addr = GUARDED, .len = 2048, .write = true };
	const uint8_t *p = rig_ptr(r, GUARDED);

	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	vmm_ring_publish(rig_ring(r, VMM_RX));
	vmm_kick(r->v, VMM_RX);
	rig_inject(r, 100, 8);
	conf_settle(r->v);
	for (int i = 0; i < CONF_QUIET_MS; i++) {
		if (p[12])
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

static void memory_that_the_owner_cannot_write_is_not_written(void **state)
{
	struct rig *r = guarded_rig(1 << 20);

	(void)state;
	memset(rig_ptr(r, GUARDED), 0, 16 * PAGE);
	guard(r, PROT_READ);
	check_ret(vmm_start(r->v, r->backend), 0);
	assert_false(is_written(r));

	/* the buffer is still there, and can be written now */
	vmm_event_count(r->v->q[VMM_RX].err);
	guard(r, PROT_READ | PROT_WRITE);
	check_ret(vmm_table(r->v), 0);
	rig_inject(r, 100, 9);
	vmm_kick(r->v, VMM_RX);
	check_ret(vmm_wait_used(r->v, VMM_RX, 1, CONF_MS), 0);
	rig_close(r);
}

static void memory_may_become_read_only_while_rings_run(void **state)
{
	struct rig *r = guarded_rig(1 << 20);

	(void)state;
	memset(rig_ptr(r, GUARDED), 0, 16 * PAGE);
	check_ret(vmm_start(r->v, r->backend), 0);
	guard(r, PROT_READ);
	assert_int_equal(is_written(r),
			 conf_expect("read-only since the last table", 0));
	rig_close(r);
}

/* ---- tables that change ---- */

static void table_is_replaced_while_active(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_mem *m = &r->v->mem;
	uint64_t gpa = UINT64_C(2) << 32;
	struct vmm_seg seg = { .addr = gpa, .len = 72 };
	struct vmm_used used;
	unsigned int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		unsigned int ri = m->n;

		/* plug, use, unplug */
		check_ret(vmm_mem_add(m,
				      i % 2 ? VMM_MEM_MEMFD : VMM_MEM_PRIVATE,
				      gpa, 0x10000),
			  0);
		check_ret(vmm_table(r->v), 0);
		rig_fill(r, gpa, 60, i);
		check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
		rig_go(r, VMM_TX);
		rig_seen(r, 60, i);
		rig_reap(r, VMM_TX, 1, &used);
		m->n--;
		check_ret(vmm_table(r->v), 0);
		munmap(m->region[ri].map, m->region[ri].map_size);
	}
	rig_no_err(r, VMM_TX);

	/* gone: an error, until it is plugged in again */
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	assert_true(rig_err(r, VMM_TX) >= 1);
	check_ret(vmm_mem_add(m, VMM_MEM_PRIVATE, gpa, 0x10000), 0);
	rig_fill(r, gpa, 60, 9);
	check_ret(vmm_table(r->v), 0);
	vmm_kick(r->v, VMM_TX);
	rig_seen(r, 60, 9);
	rig_close(r);
}

static void rings_live_without_any_region(void **state)
{
	struct rig *r =
		rig_open(&(struct rig_config){ .vmm.rings_outside = true });
	unsigned int n = r->v->mem.n;

	(void)state;
	rig_add_tx(r, 100, 1);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	r->v->mem.n = 0;
	check_ret(vmm_table(r->v), 0);
	vmm_kick(r->v, VMM_TX);
	assert_true(rig_err(r, VMM_TX) >= 1);
	r->v->mem.n = n;
	check_ret(vmm_table(r->v), 0);
	vmm_kick(r->v, VMM_TX);
	rig_seen(r, 100, 1);
	rig_close(r);
}

static void lowest_region_wins_where_regions_overlap(void **state)
{
	struct vmm_mem mem = conf_mem();
	uint64_t gpa = UINT64_C(1) << 32;
	struct vmm_seg seg = { .addr = gpa + 0x8000, .len = 72 };
	struct rig *r;

	(void)state;
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0, 4U << 20), 0);
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, gpa, 0x10000), 0);
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, gpa + 0x8000, 0x10000), 0);
	vmm_frame(mem.region[1].hva + 0x8000 + 12, 60, 1);
	vmm_frame(mem.region[2].hva + 12, 60, 2);
	r = rig_open(&(struct rig_config){ .vmm.own_mem = &mem });
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	rig_go(r, VMM_TX);
	rig_seen(r, 60, 1);
	rig_close(r);
}

/* ---- dirty log ---- */

/* Bits may be set for more pages than were written, but only within bytes of
 * the log that have a page that was (uvhost's copied mode; conf_diffs.h). */
static void check_log(uint8_t *log, size_t bytes, const uint8_t *want)
{
	long loose = conf_expect("log marks neighbours", 0);
	size_t i;

	for (i = 0; i < bytes; i++) {
		bool superset = (log[i] & want[i]) == want[i];
		bool ok = loose ? superset && (want[i] || !log[i])
				: log[i] == want[i];

		if (!ok)
			fail_msg("log byte %zu is %#x, expected %#x", i, log[i],
				 want[i]);
	}
	memset(log, 0, bytes);
}

static void mark(uint8_t *want, uint64_t gpa)
{
	want[gpa / PAGE / 8] |= (uint8_t)(1 << gpa / PAGE % 8);
}

#define LOG_BYTES 1024 /* 32 MiB */

/* One region at 0, so that the log stays small. */
static struct rig *log_rig(uint64_t features)
{
	struct vmm_mem mem = conf_mem();

	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0, 16U << 20), 0);
	return rig_open(&(struct rig_config){ .vmm.own_mem = &mem,
					      .vmm.features = features });
}

static void log_all_marks_what_rx_writes(void **state)
{
	struct rig *r = log_rig(F_V1);
	uint8_t *log = vmm_log_new(r->v, LOG_BYTES);
	static uint8_t want[LOG_BYTES];
	uint64_t gpa = rig_alloc(r, 64 * PAGE, 64 * PAGE);
	struct vmm_seg seg[2] = {
		{ .addr = gpa + PAGE - 16, .len = 40, .write = true },
		{ .addr = gpa + 20 * PAGE, .len = 5 * PAGE, .write = true },
	};
	struct vmm_used used;

	(void)state;
	assert_non_null(log);
	memset(want, 0, sizeof(want));
	check_ret(vmm_log(r->v, true), 0);
	rig_tx(r, 100, 1);
	check_log(log, LOG_BYTES, want); /* not asked for */
	check_ret(uvh_set_features(r->v->fe, F_V1 | F_LOG_ALL), 0);
	rig_tx(r, 100, 1);
	check_log(log, LOG_BYTES, want); /* TX writes nothing */

	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), seg, 2, NULL));
	rig_go(r, VMM_RX);
	rig_inject(r, 1500, 2);
	rig_reap(r, VMM_RX, 1, &used);
	conf_settle(r->v);
	mark(want, gpa);
	mark(want, gpa + PAGE);
	mark(want, gpa + 20 * PAGE); /* 1472 bytes: one page of the five */
	check_log(log, LOG_BYTES, want);

	check_ret(uvh_set_features(r->v->fe, F_V1), 0);
	memset(want, 0, sizeof(want));
	rig_rx(r, 100, 3);
	check_log(log, LOG_BYTES, want);
	rig_close(r);
}

static void mark_used(const struct rig *r, unsigned int qi, uint64_t log_guest,
		      uint8_t *want, unsigned int slot)
{
	const struct vmm_ring *ring = &r->v->q[qi].ring;

	mark(want, log_guest + offsetof(struct vring_used, idx));
	mark(want, log_guest + offsetof(struct vring_used, ring) +
			   8 * (slot & (ring->num - 1)));
}

static void f_log_marks_the_used_ring(void **state)
{
	struct rig *r = log_rig(F_V1);
	uint8_t *log = vmm_log_new(r->v, LOG_BYTES);
	static uint8_t want[LOG_BYTES];
	struct vhost_vring_addr a = vmm_vring_addr(r->v, VMM_TX);
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	assert_non_null(log);
	memset(want, 0, sizeof(want));
	check_ret(vmm_log(r->v, true), 0);
	a.flags = 1U << VHOST_VRING_F_LOG;
	a.log_guest_addr = UINT64_C(0x800000) + 8; /* not where the ring is */
	check_ret(uvh_set_vring_addr(r->v->fe, &a), 0);
	rig_tx(r, 100, 1);
	mark_used(r, VMM_TX, a.log_guest_addr, want, 0);
	rig_eventually(r, VMM_TX, vmm_ring_used_flags, 0);
	conf_settle(r->v);
	check_log(log, LOG_BYTES, want);

	/* the log eventfd goes up with it */
	check_ret(uvh_set_log_fd(r->v->fe, event), 0);
	rig_tx(r, 100, 2);
	check_ret(vmm_wait_event(event, CONF_MS), 0);
	conf_settle(r->v);
	check_log(log, LOG_BYTES, want);

	a.flags = 0;
	check_ret(uvh_set_vring_addr(r->v->fe, &a), 0);
	memset(want, 0, sizeof(want));
	rig_tx(r, 100, 3);
	check_log(log, LOG_BYTES, want);
	close(event);
	rig_close(r);
}

static void add_and_kick(struct rig *r, unsigned int qi, unsigned int slot)
{
	if (qi == VMM_TX)
		rig_add_tx(r, 100, slot);
	else
		rig_add_rx(r, 2000, slot);
	vmm_ring_publish(rig_ring(r, qi));
	vmm_kick(r->v, qi);
}

/* Counts of the log eventfd for one frame from the guest, and one to it. */
static void log_counts(uint64_t features, bool f_log, uint64_t tx, uint64_t rx)
{
	struct rig *r = log_rig(features);
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct vhost_vring_addr a;
	struct vmm_used used;
	unsigned int i, qi;

	assert_non_null(vmm_log_new(r->v, LOG_BYTES));
	check_ret(vmm_log(r->v, true), 0);
	check_ret(uvh_set_features(r->v->fe, features | F_LOG_ALL), 0);
	conf_settle(r->v);
	check_ret(uvh_set_log_fd(r->v->fe, event), 0);
	for (qi = 0; f_log && qi < VMM_QUEUES; qi++) {
		a = vmm_vring_addr(r->v, qi);
		a.flags = 1U << VHOST_VRING_F_LOG;
		a.log_guest_addr = UINT64_C(0x800000);
		check_ret(uvh_set_vring_addr(r->v->fe, &a), 0);
	}
	/* the receive ring says now that it wants no kicks */
	add_and_kick(r, VMM_RX, 100);
	conf_settle_logged(r->v, event);
	vmm_event_count(event);
	for (i = 0; i < 3; i++) {
		add_and_kick(r, VMM_TX, i);
		rig_seen(r, 100, i);
		rig_reap(r, VMM_TX, 1, &used);
		if (features & F_EVENT)
			rig_eventually(r, VMM_TX, vmm_ring_avail_event,
				       (uint16_t)(i + 1));
		else
			rig_eventually(r, VMM_TX, vmm_ring_used_flags, 0);
		conf_settle_logged(r->v, event);
		assert_int_equal(vmm_event_count(event), tx);

		add_and_kick(r, VMM_RX, i);
		rig_inject(r, 100, i);
		rig_reap(r, VMM_RX, 1, &used);
		conf_settle_logged(r->v, event);
		assert_int_equal(vmm_event_count(event), rx);
	}
	close(event);
	rig_close(r);
}

static void log_event_counts_received_frames(void **state)
{
	(void)state;
	log_counts(F_V1, false, 0, 1);
}

static void log_event_counts_writes_to_the_used_ring(void **state)
{
	(void)state;
	/* flags off, index, flags on; and the frame, the index */
	log_counts(F_V1, true, 3, 2);
}

static void log_event_counts_writes_of_avail_event(void **state)
{
	(void)state;
	/* index, avail_event; and the frame, the index */
	log_counts(F_V1 | F_EVENT, true, 2, 2);
}

/* Pages are switched to be logged without that a frame moves. */
static void log_event_is_quiet_while_the_log_is_switched_on(void **state)
{
	struct rig *r = log_rig(F_V1);
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct vhost_vring_addr a;
	unsigned int qi;

	(void)state;
	assert_non_null(vmm_log_new(r->v, LOG_BYTES));
	rig_tx(r, 100, 1);
	rig_rx(r, 100, 1);
	conf_settle(r->v);
	check_ret(vmm_log(r->v, true), 0);
	check_ret(uvh_set_log_fd(r->v->fe, event), 0);
	check_ret(uvh_set_features(r->v->fe, F_V1 | F_LOG_ALL), 0);
	for (qi = 0; qi < VMM_QUEUES; qi++) {
		a = vmm_vring_addr(r->v, qi);
		a.flags = 1U << VHOST_VRING_F_LOG;
		a.log_guest_addr = UINT64_C(0x800000);
		check_ret(uvh_set_vring_addr(r->v->fe, &a), 0);
	}
	conf_settle_logged(r->v, event);
	assert_int_equal(vmm_event_count(event), 0);
	close(event);
	rig_close(r);
}

/* A migration as QEMU does it, under traffic. */
static void log_is_switched_on_and_off_under_traffic(void **state)
{
	struct rig *r = log_rig(F_V1);
	uint8_t *log = vmm_log_new(r->v, LOG_BYTES);
	struct vhost_vring_addr a;
	unsigned int i, qi, k;

	(void)state;
	for (i = 0; i < 6; i++) {
		bool on = i % 2 == 0;

		memset(log, 0, LOG_BYTES);
		check_ret(vmm_log(r->v, on), 0);
		check_ret(uvh_set_features(r->v->fe,
					   on ? F_V1 | F_LOG_ALL : F_V1),
			  0);
		for (qi = 0; qi < VMM_QUEUES; qi++) {
			a = vmm_vring_addr(r->v, qi);
			a.flags = on ? 1U << VHOST_VRING_F_LOG : 0;
			a.log_guest_addr =
				r->v->q[qi].ring_gpa +
				(a.used_user_addr - r->v->q[qi].ring_uva);
			check_ret(uvh_set_vring_addr(r->v->fe, &a), 0);
		}
		if (!on) /* what came before that is fine */
			memset(log, 0, LOG_BYTES);
		for (k = 0; k < 20; k++) {
			uint64_t gpa = rig_slot(r, k);

			rig_tx(r, 100, k);
			rig_rx(r, 100, k);
			assert_int_equal(
				log[gpa / PAGE / 8] >> gpa / PAGE % 8 & 1, on);
		}
	}
	rig_close(r);
}

/* ---- IOTLB ---- */

#define IOVA_SHIFT (UINT64_C(1) << 40)
#define F_IOTLB (F_V1 | F_PLATFORM)

/* Answers misses: iova = gpa + IOVA_SHIFT for memory and rings alike. */
struct iommu {
	struct rig *r;
	unsigned int misses;
	unsigned int size; /* of each answer, power of two */
};

static void answer(struct iommu *m, uint64_t iova, uint8_t perm)
{
	uint64_t start = iova & ~((uint64_t)m->size - 1);
	uint64_t uva = vmm_mem_uva(&m->r->v->mem, start - IOVA_SHIFT);

	if (!uva)
		fail_msg("miss for %#llx, which is nothing",
			 (unsigned long long)iova);
	check_ret(vmm_iotlb(m->r->v, VHOST_IOTLB_UPDATE, start, m->size, uva,
			    perm),
		  0);
}

static void serve(struct iommu *m)
{
	struct vhost_iotlb_msg msg;

	while (vmm_iotlb_next(m->r->v, &msg, 0) == 0) {
		assert_int_equal(msg.type, VHOST_IOTLB_MISS);
		m->misses++;
		answer(m, msg.iova, VHOST_ACCESS_RW);
	}
}

static void serve_until_used(struct iommu *m, unsigned int qi, unsigned int n)
{
	int64_t end = vmm_now_ms() + CONF_MS;
	struct vmm_queue *q = &m->r->v->q[qi];
	struct pollfd p[2] = {
		{ .fd = uvh_event_fd(m->r->v->fe), .events = POLLIN },
		{ .fd = q->call, .events = POLLIN },
	};

	while (vmm_ring_pending(&q->ring) < n) {
		if (vmm_now_ms() > end)
			fail_msg("ring %u: %u completions expected", qi, n);
		poll(p, 2, 10);
		vmm_event_count(q->call);
		serve(m);
	}
}

static struct iommu iommu_rig(unsigned int page)
{
	struct vmm_mem mem = conf_mem();
	struct iommu m = { .size = page };
	struct rig *r;
	unsigned int qi;

	check_ret(
		vmm_mem_add(&mem, VMM_MEM_PRIVATE, UINT64_C(1) << 30, 8U << 20),
		0);
	r = rig_open(&(struct rig_config){
		.idle = true,
		.vmm.own_mem = &mem,
		.vmm.features = F_IOTLB,
		.vmm.backend_features = VMM_BACKEND_IOTLB_V2,
		.vmm.open_flags = O_NONBLOCK,
	});
	for (qi = 0; qi < VMM_QUEUES; qi++)
		r->v->q[qi].ring_uva = r->v->q[qi].ring_gpa + IOVA_SHIFT;
	check_ret(vmm_init(r->v), 0);
	check_ret(vmm_prepare(r->v), 0);
	m.r = r;
	/* as QEMU: the used rings before the backends */
	for (qi = 0; qi < VMM_QUEUES; qi++)
		answer(&m, vmm_vring_addr(r->v, qi).used_user_addr,
		       VHOST_ACCESS_RW);
	check_ret(vmm_set_backends(r->v, r->backend), 0);
	return m;
}

static void iommu_add(struct iommu *m, unsigned int qi, unsigned int slot,
		      uint32_t len)
{
	struct vmm_seg seg = {
		.addr = rig_slot(m->r, slot) + IOVA_SHIFT,
		.len = len,
		.write = qi == VMM_RX,
	};

	check_ok(vmm_ring_add(rig_ring(m->r, qi), &seg, 1,
			      rig_ptr(m->r, rig_slot(m->r, slot))));
	vmm_ring_publish(rig_ring(m->r, qi));
	vmm_kick(m->r->v, qi);
}

static void iommu_tx(struct iommu *m, size_t len, unsigned int seed)
{
	struct vmm_used used;

	rig_fill(m->r, rig_slot(m->r, seed), len, seed);
	iommu_add(m, VMM_TX, seed, (uint32_t)(12 + len));
	serve_until_used(m, VMM_TX, 1);
	rig_seen(m->r, len, seed);
	check_ret(vmm_ring_reap(rig_ring(m->r, VMM_TX), &used, 1), 1);
}

static void iommu_rx(struct iommu *m, size_t len, unsigned int seed)
{
	iommu_add(m, VMM_RX, seed, 2048);
	rig_inject(m->r, len, seed);
	serve_until_used(m, VMM_RX, 1);
	rig_got(m->r, len, seed);
}

static void misses_are_asked_for_and_answered(void **state)
{
	struct iommu m = iommu_rig(4096);
	unsigned int i;

	(void)state;
	for (i = 0; i < 20; i++) {
		iommu_tx(&m, 100, i);
		iommu_rx(&m, 100, 40 + i);
	}
	assert_true(m.misses > 0);
	rig_no_err(m.r, VMM_TX);
	rig_no_err(m.r, VMM_RX);
	rig_close(m.r);
}

static void buffers_cross_iommu_pages(void **state)
{
	struct iommu m = iommu_rig(4096);
	unsigned int i;

	(void)state;
	/* slots are 2048 bytes, not aligned to pages; long chains cross them */
	for (i = 0; i < 10; i++)
		iommu_tx(&m, 1500, 3 * i + 1);
	assert_true(m.misses >= 10);
	rig_close(m.r);
}

static void one_large_entry_needs_no_miss(void **state)
{
	struct iommu m = iommu_rig(8U << 20);
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++) {
		iommu_tx(&m, 100, i);
		iommu_rx(&m, 100, i);
	}
	assert_int_equal(m.misses, 0);
	rig_close(m.r);
}

static void invalidation_is_asked_for_again(void **state)
{
	struct iommu m = iommu_rig(4096);
	unsigned int before;
	uint64_t page;

	(void)state;
	iommu_tx(&m, 100, 1);
	before = m.misses;
	iommu_tx(&m, 100, 1);
	assert_int_equal(m.misses, before);
	page = (rig_slot(m.r, 1) + IOVA_SHIFT) & ~(PAGE - 1);
	check_ret(vmm_iotlb(m.r->v, VHOST_IOTLB_INVALIDATE, page, PAGE, 0, 0),
		  0);
	iommu_tx(&m, 100, 1);
	assert_true(m.misses > before);

	/* everything, rings included */
	before = m.misses;
	check_ret(vmm_iotlb(m.r->v, VHOST_IOTLB_INVALIDATE, IOVA_SHIFT,
			    UINT64_C(1) << 40, 0, 0),
		  0);
	iommu_tx(&m, 100, 1);
	iommu_rx(&m, 100, 2);
	assert_true(m.misses > before);
	rig_close(m.r);
}

static void unanswered_miss_holds_the_ring(void **state)
{
	struct iommu m = iommu_rig(4096);
	struct vhost_iotlb_msg msg;
	struct vmm_used used;

	(void)state;
	iommu_tx(&m, 100, 1);
	check_ret(vmm_iotlb(m.r->v, VHOST_IOTLB_INVALIDATE,
			    (rig_slot(m.r, 1) + IOVA_SHIFT) & ~(PAGE - 1), PAGE,
			    0, 0),
		  0);
	iommu_add(&m, VMM_TX, 1, 112);
	check_ret(vmm_iotlb_next(m.r->v, &msg, CONF_MS), 0);
	assert_int_equal(msg.type, VHOST_IOTLB_MISS);
	assert_int_equal(msg.perm, VHOST_ACCESS_RO);
	assert_int_equal(msg.iova, rig_slot(m.r, 1) + IOVA_SHIFT);
	rig_not_seen(m.r);
	rig_no_err(m.r, VMM_TX);
	rig_used_is(m.r, VMM_TX, 0);
	answer(&m, msg.iova, VHOST_ACCESS_RO);
	serve_until_used(&m, VMM_TX, 1);
	rig_reap(m.r, VMM_TX, 1, &used);
	rig_close(m.r);
}

static void next_miss_is(struct iommu *m, uint64_t iova)
{
	struct vhost_iotlb_msg msg;

	check_ret(vmm_iotlb_next(m->r->v, &msg, CONF_MS), 0);
	assert_int_equal(msg.type, VHOST_IOTLB_MISS);
	assert_int_equal(msg.iova, iova);
}

/* The VMM has no answer at first: each kick asks once more. */
static void unanswered_miss_is_asked_again_at_the_next_kick(void **state)
{
	struct iommu m = iommu_rig(4096);
	uint64_t iova = rig_slot(m.r, 1) + IOVA_SHIFT;
	struct vmm_used used;
	unsigned int i;

	(void)state;
	iommu_tx(&m, 100, 1);
	check_ret(vmm_iotlb(m.r->v, VHOST_IOTLB_INVALIDATE, iova & ~(PAGE - 1),
			    PAGE, 0, 0),
		  0);
	iommu_add(&m, VMM_TX, 1, 112);
	next_miss_is(&m, iova);
	for (i = 0; i < 3; i++) {
		vmm_kick(m.r->v, VMM_TX);
		next_miss_is(&m, iova);
	}
	rig_no_err(m.r, VMM_TX);
	answer(&m, iova, VHOST_ACCESS_RO);
	serve_until_used(&m, VMM_TX, 1);
	rig_reap(m.r, VMM_TX, 1, &used);
	rig_close(m.r);
}

/* A receive ring with buffers gets no kicks: frames ask for it. */
static void unanswered_miss_is_asked_again_at_the_next_frame(void **state)
{
	struct iommu m = iommu_rig(4096);
	uint64_t iova = rig_slot(m.r, 1) + IOVA_SHIFT;

	(void)state;
	iommu_rx(&m, 100, 1);
	check_ret(vmm_iotlb(m.r->v, VHOST_IOTLB_INVALIDATE, iova & ~(PAGE - 1),
			    PAGE, 0, 0),
		  0);
	iommu_add(&m, VMM_RX, 1, 2048);
	serve(&m); /* none yet: there is no frame */
	rig_inject(m.r, 100, 2);
	next_miss_is(&m, iova);
	vmm_kick(m.r->v, VMM_RX);
	next_miss_is(&m, iova);
	answer(&m, iova, VHOST_ACCESS_RW);
	serve_until_used(&m, VMM_RX, 1);
	rig_got(m.r, 100, 2);
	rig_close(m.r);
}

/* The IOTLB is new and empty: what was asked of the old one is open. */
static void unanswered_miss_is_asked_again_after_set_features(void **state)
{
	struct iommu m = iommu_rig(4096);
	struct vmm *v = m.r->v;
	uint64_t iova = rig_slot(m.r, 1) + IOVA_SHIFT;
	uint64_t desc = vmm_vring_addr(v, VMM_TX).desc_user_addr;
	struct vmm_used used;

	(void)state;
	iommu_tx(&m, 100, 1);
	check_ret(vmm_iotlb(v, VHOST_IOTLB_INVALIDATE, iova & ~(PAGE - 1), PAGE,
			    0, 0),
		  0);
	iommu_add(&m, VMM_TX, 1, 112);
	next_miss_is(&m, iova);
	check_ret(uvh_set_features(v->fe, F_IOTLB), 0);
	vmm_kick(v, VMM_TX);
	do { /* the other ring may ask for its own */
		struct vhost_iotlb_msg msg;

		check_ret(vmm_iotlb_next(v, &msg, CONF_MS), 0);
		if (msg.iova == desc)
			break;
		answer(&m, msg.iova, VHOST_ACCESS_RW);
	} while (true);
	answer(&m, desc, VHOST_ACCESS_RW);
	serve_until_used(&m, VMM_TX, 1);
	rig_reap(m.r, VMM_TX, 1, &used);
	rig_close(m.r);
}

/* Under an IOTLB only the used ring counts. */
static void log_event_does_not_count_frames_under_the_iotlb(void **state)
{
	struct iommu m = iommu_rig(4096);
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	assert_non_null(vmm_log_new(m.r->v, LOG_BYTES * 64));
	iommu_rx(&m, 100, 3);
	check_ret(vmm_log(m.r->v, true), 0);
	check_ret(uvh_set_log_fd(m.r->v->fe, event), 0);
	check_ret(uvh_set_features(m.r->v->fe, F_IOTLB | F_LOG_ALL), 0);
	iommu_rx(&m, 100, 3);
	conf_settle_logged(m.r->v, event);
	assert_int_equal(vmm_event_count(event), 0);
	close(event);
	rig_close(m.r);
}

static void wrong_permission_is_an_error_of_the_buffer(void **state)
{
	struct iommu m = iommu_rig(4096);
	struct rig *r = m.r;
	struct vhost_iotlb_msg msg;
	int64_t end = vmm_now_ms() + CONF_MS;

	(void)state;
	iommu_rx(&m, 100, 1); /* rings are known now */
	check_ret(vmm_iotlb(r->v, VHOST_IOTLB_UPDATE,
			    (rig_slot(r, 101) + IOVA_SHIFT) & ~(PAGE - 1),
			    2 * PAGE,
			    vmm_mem_uva(&r->v->mem,
					rig_slot(r, 101) & ~(PAGE - 1)),
			    VHOST_ACCESS_RO),
		  0);
	iommu_add(&m, VMM_RX, 101, 2048);
	rig_inject(r, 100, 2);
	while (vmm_wait_event(r->v->q[VMM_RX].err, 1) < 0) {
		assert_true(vmm_now_ms() < end);
		serve(&m);
	}
	assert_int_equal(rig_base(r, VMM_RX), 1);
	rig_used_is(r, VMM_RX, 0);
	while (vmm_iotlb_next(r->v, &msg, 0) == 0)
		assert_int_not_equal(msg.iova, rig_slot(r, 101) + IOVA_SHIFT);
	rig_close(r);
}

static void setting_the_feature_again_empties_the_iotlb(void **state)
{
	struct iommu m = iommu_rig(4096);
	unsigned int before;

	(void)state;
	iommu_tx(&m, 100, 1);
	before = m.misses;
	check_ret(uvh_set_features(m.r->v->fe, F_IOTLB), 0);
	iommu_tx(&m, 100, 1);
	assert_true(m.misses > before);
	rig_close(m.r);
}

static void used_ring_must_be_writable_at_start(void **state)
{
	struct iommu m = iommu_rig(4096);
	struct vmm *v = m.r->v;
	uint64_t used = vmm_vring_addr(v, VMM_TX).used_user_addr;

	(void)state;
	check_ret(vmm_backend(v, VMM_TX, -1), 0);
	check_ret(vmm_iotlb(v, VHOST_IOTLB_INVALIDATE, used, PAGE, 0, 0), 0);
	check_ret(vmm_backend(v, VMM_TX, m.r->backend), -EFAULT);
	answer(&m, used, VHOST_ACCESS_RW);
	check_ret(vmm_backend(v, VMM_TX, m.r->backend), 0);
	iommu_tx(&m, 100, 1);
	rig_close(m.r);
}

static void log_all_works_with_the_iotlb(void **state)
{
	struct iommu m = iommu_rig(4096);
	uint8_t *log = vmm_log_new(m.r->v, LOG_BYTES * 64);
	uint64_t gpa = rig_slot(m.r, 3);

	(void)state;
	assert_non_null(log);
	iommu_rx(&m, 100, 3);
	check_ret(vmm_log(m.r->v, true), 0);
	check_ret(uvh_set_features(m.r->v->fe, F_IOTLB | F_LOG_ALL), 0);
	iommu_rx(&m, 100, 3);
	conf_settle(m.r->v);
	assert_int_equal(log[gpa / PAGE / 8] >> gpa / PAGE % 8 & 1, 1);
	rig_close(m.r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(private_memory),
	cmocka_unit_test(shared_anonymous_memory),
	cmocka_unit_test(memfd_memory),
	cmocka_unit_test(hugetlb_memory),
	cmocka_unit_test(regions_of_different_kinds),
	cmocka_unit_test(unaligned_heap_memory),
	cmocka_unit_test(chain_may_cross_adjacent_regions),
	cmocka_unit_test(buffer_may_end_with_its_region),
	cmocka_unit_test(unmapped_memory_in_a_region_loses_the_frame_only),
	cmocka_unit_test(memory_that_the_owner_cannot_read_is_not_sent),
	cmocka_unit_test(unreadable_memory_on_a_tap_without_sndbuf),
	cmocka_unit_test(memory_that_the_owner_cannot_write_is_not_written),
	cmocka_unit_test(memory_may_become_read_only_while_rings_run),
	cmocka_unit_test(table_is_replaced_while_active),
	cmocka_unit_test(rings_live_without_any_region),
	cmocka_unit_test(lowest_region_wins_where_regions_overlap),
	cmocka_unit_test(log_all_marks_what_rx_writes),
	cmocka_unit_test(f_log_marks_the_used_ring),
	cmocka_unit_test(log_event_counts_received_frames),
	cmocka_unit_test(log_event_counts_writes_to_the_used_ring),
	cmocka_unit_test(log_event_counts_writes_of_avail_event),
	cmocka_unit_test(log_event_is_quiet_while_the_log_is_switched_on),
	cmocka_unit_test(log_is_switched_on_and_off_under_traffic),
	cmocka_unit_test(misses_are_asked_for_and_answered),
	cmocka_unit_test(buffers_cross_iommu_pages),
	cmocka_unit_test(one_large_entry_needs_no_miss),
	cmocka_unit_test(invalidation_is_asked_for_again),
	cmocka_unit_test(unanswered_miss_holds_the_ring),
	cmocka_unit_test(unanswered_miss_is_asked_again_at_the_next_kick),
	cmocka_unit_test(unanswered_miss_is_asked_again_at_the_next_frame),
	cmocka_unit_test(unanswered_miss_is_asked_again_after_set_features),
	cmocka_unit_test(log_event_does_not_count_frames_under_the_iotlb),
	cmocka_unit_test(wrong_permission_is_an_error_of_the_buffer),
	cmocka_unit_test(setting_the_feature_again_empties_the_iotlb),
	cmocka_unit_test(used_ring_must_be_writable_at_start),
	cmocka_unit_test(log_all_works_with_the_iotlb),
};

int main(int argc, char **argv)
{
	return conf_main("memory", tests, sizeof(tests) / sizeof(tests[0]),
			 argc, argv);
}
