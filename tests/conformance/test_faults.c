/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_faults.c tests a driver that writes invalid chains and indexes: the
 * device signals err, takes nothing, and goes on when the ring is repaired.
 */
#include "rig.h"

#include <stdlib.h>

#define V1 (&(struct rig_config){ 0 })

/*
 * Each fault is put into the chain that starts at descriptor 0 (or into the
 * avail ring); the device must signal err, take nothing, and go on when the
 * driver has repaired it.
 */
struct fault {
	const char *name;
	void (*spoil)(struct rig *r);
	unsigned int errs; /* per run */
};

static void set_desc(struct rig *r, unsigned int i, uint64_t gpa, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	struct vmm_ring *ring = rig_ring(r, VMM_TX);

	vmm_ring_set_desc(ring, &ring->desc[i], gpa, len, flags, next);
}

static void spoil_head(struct rig *r)
{
	rig_ring(r, VMM_TX)->avail->ring[0] = 256;
}

static void spoil_head_max(struct rig *r)
{
	rig_ring(r, VMM_TX)->avail->ring[0] = 65535;
}

static void spoil_idx(struct rig *r)
{
	rig_ring(r, VMM_TX)->avail_idx = 257;
}

static void spoil_idx_back(struct rig *r)
{
	rig_ring(r, VMM_TX)->avail_idx = 65535;
}

static void spoil_next(struct rig *r)
{
	set_desc(r, 0, rig_slot(r, 0), 12, VRING_DESC_F_NEXT, 256);
}

static void spoil_loop(struct rig *r)
{
	set_desc(r, 0, rig_slot(r, 0), 12, VRING_DESC_F_NEXT, 0);
}

static void spoil_loop_2(struct rig *r)
{
	set_desc(r, 0, rig_slot(r, 0), 12, VRING_DESC_F_NEXT, 1);
	set_desc(r, 1, rig_slot(r, 0), 0, VRING_DESC_F_NEXT, 0);
}

static void spoil_order(struct rig *r)
{
	set_desc(r, 0, rig_slot(r, 0), 12,
		 VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set_desc(r, 1, rig_slot(r, 0), 60, 0, 0);
}

static void spoil_address(struct rig *r)
{
	set_desc(r, 0, UINT64_C(0x700000000000), 72, 0, 0);
}

static void spoil_address_0xa0000(struct rig *r)
{
	set_desc(r, 0, 0xa0000, 72, 0, 0); /* the hole of a PC */
}

static void spoil_address_wrap(struct rig *r)
{
	set_desc(r, 0, UINT64_MAX - 10, 72, 0, 0);
}

static void spoil_second_address(struct rig *r)
{
	set_desc(r, 0, rig_slot(r, 0), 12, VRING_DESC_F_NEXT, 1);
	set_desc(r, 1, UINT64_C(0x700000000000), 72, 0, 0);
}

static void spoil_length(struct rig *r)
{
	set_desc(r, 0, rig_slot(r, 0), 0xffffffff, 0, 0);
}

static void spoil_one_past_the_end(struct rig *r)
{
	const struct vmm_region *last = &r->v->mem.region[r->v->mem.n - 1];

	set_desc(r, 0, last->gpa + last->size - 71, 72, 0, 0);
}

static uint64_t indirect(struct rig *r, unsigned int n)
{
	uint64_t table = rig_alloc(r, 16 * (size_t)n, 16);
	struct vring_desc *t = (struct vring_desc *)(void *)rig_ptr(r, table);
	unsigned int i;

	for (i = 0; i < n; i++)
		vmm_ring_set_desc(rig_ring(r, VMM_TX), &t[i], rig_slot(r, 0), 1,
				  i < n - 1 ? VRING_DESC_F_NEXT : 0,
				  (uint16_t)(i + 1));
	return table;
}

static void spoil_indirect_length(struct rig *r)
{
	set_desc(r, 0, indirect(r, 2), 24, VRING_DESC_F_INDIRECT, 0);
}

static void spoil_indirect_nested(struct rig *r)
{
	uint64_t table = indirect(r, 2);
	struct vring_desc *t = (struct vring_desc *)(void *)rig_ptr(r, table);

	t[1].flags = VRING_DESC_F_INDIRECT;
	t[1].len = 16;
	set_desc(r, 0, table, 32, VRING_DESC_F_INDIRECT, 0);
}

static void spoil_indirect_loop(struct rig *r)
{
	uint64_t table = indirect(r, 2);
	struct vring_desc *t = (struct vring_desc *)(void *)rig_ptr(r, table);

	t[1].flags = VRING_DESC_F_NEXT;
	t[1].next = 0;
	set_desc(r, 0, table, 32, VRING_DESC_F_INDIRECT, 0);
}

static void spoil_indirect_address(struct rig *r)
{
	set_desc(r, 0, UINT64_C(0x700000000000), 32, VRING_DESC_F_INDIRECT, 0);
}

static void spoil_indirect_size(struct rig *r)
{
	set_desc(r, 0, indirect(r, 2), 65537 * 16, VRING_DESC_F_INDIRECT, 0);
}

static void spoil_indirect_data_address(struct rig *r)
{
	uint64_t table = indirect(r, 2);
	struct vring_desc *t = (struct vring_desc *)(void *)rig_ptr(r, table);

	t[1].addr = UINT64_C(0x700000000000);
	set_desc(r, 0, table, 32, VRING_DESC_F_INDIRECT, 0);
}

static void spoil_too_many_segments(struct rig *r)
{
	set_desc(r, 0, indirect(r, 1025), 1025 * 16, VRING_DESC_F_INDIRECT, 0);
}

// clang-format off
static const struct fault faults[] = {
	{ "fault: head = num",                   spoil_head,             1 },
	{ "fault: head 65535",                   spoil_head_max,         1 },
	{ "fault: avail idx beyond num",         spoil_idx,              1 },
	{ "fault: avail idx goes back",          spoil_idx_back,         1 },
	{ "fault: next = num",                   spoil_next,             1 },
	{ "fault: loop to itself",               spoil_loop,             1 },
	{ "fault: loop of two",                  spoil_loop_2,           1 },
	{ "fault: readable after writable",      spoil_order,            1 },
	{ "fault: address not in the table",     spoil_address,          1 },
	{ "fault: address in the hole",          spoil_address_0xa0000,  1 },
	{ "fault: address wraps",                spoil_address_wrap,     1 },
	{ "fault: second address",               spoil_second_address,   1 },
	{ "fault: length 2^32-1",                spoil_length,           1 },
	{ "fault: one byte past the region",     spoil_one_past_the_end, 1 },
	{ "fault: indirect length",              spoil_indirect_length,  2 },
	{ "fault: indirect nested",              spoil_indirect_nested,  2 },
	{ "fault: indirect loop",                spoil_indirect_loop,    2 },
	{ "fault: indirect table address",       spoil_indirect_address, 2 },
	{ "fault: indirect table too long",      spoil_indirect_size,    2 },
	{ "fault: indirect data address",        spoil_indirect_data_address, 2 },
	{ "fault: 1025 segments",                spoil_too_many_segments, 2 },
};
// clang-format on

static void fault_stops_the_ring_until_repaired(void **state)
{
	const struct fault *f = *state;
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_INDIRECT });
	struct vmm_ring *ring = rig_ring(r, VMM_TX);

	rig_add_tx(r, 60, 0);
	f->spoil(r);
	vmm_ring_publish(ring);
	vmm_kick(r->v, VMM_TX);
	assert_int_equal(rig_err(r, VMM_TX), conf_expect(f->name, f->errs));
	assert_int_equal(rig_base(r, VMM_TX), 0);
	rig_used_is(r, VMM_TX, 0);

	/* each kick finds it again */
	vmm_kick(r->v, VMM_TX);
	assert_int_equal(rig_err(r, VMM_TX), conf_expect(f->name, f->errs));

	/* the other ring does not mind */
	rig_rx(r, 100, 5);

	ring->avail->ring[0] = 0;
	ring->avail_idx = 1;
	set_desc(r, 0, rig_slot(r, 0), 12 + 60, 0, 0);
	vmm_ring_publish(ring);
	vmm_kick(r->v, VMM_TX);
	rig_seen(r, 60, 0);
	check_ret(vmm_wait_used(r->v, VMM_TX, 1, CONF_MS), 0);
	rig_close(r);
}

/* The kernel reads an indirect table from the first to the last descriptor and
 * looks at the flag alone. */
static void next_in_an_indirect_table_is_not_looked_at(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_INDIRECT });
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	uint64_t table = rig_alloc(r, 32, 16);
	struct vring_desc *t = (struct vring_desc *)(void *)rig_ptr(r, table);

	(void)state;
	rig_fill(r, rig_slot(r, 0), 60, 1);
	vmm_ring_set_desc(ring, &t[0], rig_slot(r, 0), 12, VRING_DESC_F_NEXT,
			  7);
	vmm_ring_set_desc(ring, &t[1], rig_slot(r, 0) + 12, 60, 0, 0);
	set_desc(r, 0, table, 32, VRING_DESC_F_INDIRECT, 0);
	vmm_ring_add_raw(ring, 0);
	rig_go(r, VMM_TX);
	if (conf_expect("next in an indirect table", 0))
		assert_int_equal(rig_err(r, VMM_TX), 2);
	else
		rig_seen(r, 60, 1);
	rig_close(r);
}

static void good_chains_before_a_bad_one_are_done(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_used used[3];

	(void)state;
	rig_add_tx(r, 60, 0);
	rig_add_tx(r, 61, 1);
	rig_add_tx(r, 62, 2);
	set_desc(r, 2, UINT64_C(0x700000000000), 72, 0, 0);
	rig_go(r, VMM_TX);
	rig_seen(r, 60, 0);
	rig_seen(r, 61, 1);
	rig_reap(r, VMM_TX, 2, used);
	assert_int_equal(rig_err(r, VMM_TX), 1);
	assert_int_equal(rig_base(r, VMM_TX), 2);
	rig_close(r);
}

static void bad_rx_buffer_holds_the_frame(void **state)
{
	struct rig *r = rig_open(V1);
	struct vmm_ring *ring = rig_ring(r, VMM_RX);

	(void)state;
	rig_add_rx(r, 2000, 0);
	vmm_ring_set_desc(ring, &ring->desc[0], UINT64_C(0x700000000000), 2000,
			  VRING_DESC_F_WRITE, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	assert_true(rig_err(r, VMM_RX) >= 1);
	assert_int_equal(rig_base(r, VMM_RX), 0);
	vmm_ring_set_desc(ring, &ring->desc[0], rig_slot(r, 0), 2000,
			  VRING_DESC_F_WRITE, 0);
	vmm_kick(r->v, VMM_RX);
	rig_got(r, 100, 1);
	rig_close(r);
}

static const struct CMUnitTest functions[] = {
	cmocka_unit_test(next_in_an_indirect_table_is_not_looked_at),
	cmocka_unit_test(good_chains_before_a_bad_one_are_done),
	cmocka_unit_test(bad_rx_buffer_holds_the_frame),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[COUNT(faults) + COUNT(functions)];
	size_t n = 0;
	size_t i;

	for (i = 0; i < COUNT(faults); i++)
		tests[n++] = (struct CMUnitTest){
			.name = faults[i].name,
			.test_func = fault_stops_the_ring_until_repaired,
			.initial_state = (void *)(uintptr_t)&faults[i],
		};
	for (i = 0; i < COUNT(functions); i++)
		tests[n++] = functions[i];
	return conf_main("faults", tests, n, argc, argv);
}
