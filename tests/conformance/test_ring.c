/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ring.c tests a split ring in work: signals and kicks, indexes that wrap,
 * rings of every size, and backends that are exchanged.
 */
#include "rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define V1 (&(struct rig_config){ 0 })
#define EVENT_IDX (&(struct rig_config){ .vmm.features = F_V1 | F_EVENT })

/* ---- signals to the guest ---- */

static void burst_is_signalled_once(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	rig_tx_quietly(r, 10, 0);
	assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 1);
	rig_close(r);
}

static void no_interrupt_flag_suppresses(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	vmm_ring_calls_off(rig_ring(r, VMM_TX));
	rig_tx_quietly(r, 3, 0);
	conf_quiet(r->v, r->v->q[VMM_TX].call);
	vmm_ring_calls_on(rig_ring(r, VMM_TX));
	rig_tx_quietly(r, 1, 3);
	assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 1);
	rig_close(r);
}

static void notify_on_empty_overrides_the_flag(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_ON_EMPTY });

	(void)state;
	vmm_ring_calls_off(rig_ring(r, VMM_TX));
	rig_tx_quietly(r, 3, 0);
	check_ret(vmm_wait_event(r->v->q[VMM_TX].call, CONF_MS), 0);
	rig_close(r);
}

static void first_signal_after_start_is_unconditional(void **state)
{
	struct rig *r = rig_open(EVENT_IDX);

	(void)state;
	vmm_ring_call_at(rig_ring(r, VMM_TX), 1000);
	rig_tx_quietly(r, 1, 0);
	check_ret(vmm_wait_event(r->v->q[VMM_TX].call, CONF_MS), 0);
	vmm_event_count(r->v->q[VMM_TX].call);
	rig_tx_quietly(r, 5, 1);
	conf_quiet(r->v, r->v->q[VMM_TX].call);
	rig_close(r);
}

static void event_idx_signals_when_it_is_passed(void **state)
{
	struct rig *r = rig_open(EVENT_IDX);
	unsigned int i;

	(void)state;
	rig_tx_quietly(r, 1, 0);
	vmm_event_count(r->v->q[VMM_TX].call);
	vmm_ring_call_at(rig_ring(r, VMM_TX), 5); /* the 6th */
	for (i = 1; i < 5; i++)
		rig_tx_quietly(r, 1, i);
	conf_quiet(r->v, r->v->q[VMM_TX].call);
	rig_tx_quietly(r, 1, 5);
	assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 1);
	rig_tx_quietly(r, 1, 6);
	conf_quiet(r->v, r->v->q[VMM_TX].call);
	rig_close(r);
}

static void rx_obeys_the_flag_too(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	vmm_ring_calls_off(rig_ring(r, VMM_RX));
	rig_add_rx(r, 2000, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 100, 1);
	check_ret(vmm_wait_base(r->v, VMM_RX, 1, CONF_MS), 0);
	conf_quiet(r->v, r->v->q[VMM_RX].call);
	rig_got(r, 100, 1);
	rig_close(r);
}

static void works_without_call(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .vmm.no_call = true });

	(void)state;
	rig_tx(r, 100, 1);
	rig_rx(r, 100, 2);
	rig_close(r);
}

static void call_may_be_replaced_while_active(void **state)
{
	struct rig *r = rig_open(V1);
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	check_ret(uvh_set_vring_call(r->v->fe, VMM_TX, other), 0);
	rig_tx_quietly(r, 1, 0);
	check_ret(vmm_wait_event(other, CONF_MS), 0);
	assert_int_equal(vmm_event_count(r->v->q[VMM_TX].call), 0);
	vmm_event_count(other);
	check_ret(uvh_set_vring_call(r->v->fe, VMM_TX, -1), 0);
	rig_tx_quietly(r, 1, 1);
	conf_quiet(r->v, other);
	check_ret(uvh_set_vring_call(r->v->fe, VMM_TX, r->v->q[VMM_TX].call),
		  0);
	rig_tx_quietly(r, 1, 2);
	check_ret(vmm_wait_event(r->v->q[VMM_TX].call, CONF_MS), 0);
	close(other);
	rig_close(r);
}

/* ---- kicks from the guest ---- */

static void kick_is_never_consumed(void **state)
{
	/* The frontend of vhost-user gives one with the descriptor. */
	unsigned int i, given = conf_transport() == VMM_USER;
	struct rig *r = rig_open(V1);

	(void)state;
	for (i = 0; i < 3; i++) {
		rig_add_tx(r, 60, i);
		vmm_ring_publish(rig_ring(r, VMM_TX));
		vmm_kick(r->v, VMM_TX);
		rig_seen(r, 60, i);
	}
	check_ret(vmm_stop(r->v), 0);
	assert_int_equal(vmm_event_count(r->v->q[VMM_TX].kick), 3 + given);
	rig_close(r);
}

static void flags_say_when_a_kick_is_wanted(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	rig_tx(r, 60, 1);
	rig_eventually(r, VMM_TX, vmm_ring_used_flags, 0);

	/* starved RX wants one, RX with buffers does not */
	rig_inject(r, 60, 1);
	rig_not_seen(r);
	rig_eventually(r, VMM_RX, vmm_ring_used_flags, 0);
	rig_add_rx(r, 2000, 0);
	rig_add_rx(r, 2000, 1);
	rig_go(r, VMM_RX);
	rig_got(r, 60, 1);
	rig_eventually(r, VMM_RX, vmm_ring_used_flags,
		       (uint16_t)conf_expect("rx flags, buffers left",
					     VRING_USED_F_NO_NOTIFY));
	rig_close(r);
}

/* A receive ring without buffers is not in want of any while no frame waits:
 * the driver may refill it without a kick. */
static void empty_rx_ring_wants_no_kick_before_a_frame(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	rig_eventually(r, VMM_RX, vmm_ring_used_flags,
		       (uint16_t)conf_expect("rx flags at start", 0));
	vmm_kick(r->v, VMM_RX);
	rig_eventually(r, VMM_RX, vmm_ring_used_flags, VRING_USED_F_NO_NOTIFY);

	/* its only buffer is used up */
	rig_add_rx(r, 2000, 0);
	rig_go(r, VMM_RX);
	rig_inject(r, 60, 1);
	rig_got(r, 60, 1);
	conf_settle(r->v);
	assert_int_equal(vmm_ring_used_flags(rig_ring(r, VMM_RX)),
			 VRING_USED_F_NO_NOTIFY);

	rig_inject(r, 60, 2);
	rig_eventually(r, VMM_RX, vmm_ring_used_flags, 0);
	rig_add_rx(r, 2000, 1);
	assert_true(vmm_ring_publish(rig_ring(r, VMM_RX)));
	vmm_kick(r->v, VMM_RX);
	rig_got(r, 60, 2);
	rig_eventually(r, VMM_RX, vmm_ring_used_flags, VRING_USED_F_NO_NOTIFY);

	/* refilled without a kick */
	rig_add_rx(r, 2000, 2);
	assert_false(vmm_ring_publish(rig_ring(r, VMM_RX)));
	rig_inject(r, 60, 3);
	rig_got(r, 60, 3);
	rig_close(r);
}

static void empty_rx_ring_leaves_avail_event_before_a_frame(void **state)
{
	struct rig *r = rig_open(EVENT_IDX);
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		rig_add_rx(r, 2000, i);
		vmm_ring_publish(rig_ring(r, VMM_RX));
		vmm_kick(r->v, VMM_RX);
		rig_inject(r, 60, i);
		rig_got(r, 60, i);
		conf_settle(r->v);
		assert_int_equal(vmm_ring_avail_event(rig_ring(r, VMM_RX)), 0);
	}
	rig_inject(r, 60, 3);
	rig_eventually(r, VMM_RX, vmm_ring_avail_event, 3);
	rig_add_rx(r, 2000, 3);
	assert_true(vmm_ring_publish(rig_ring(r, VMM_RX)));
	vmm_kick(r->v, VMM_RX);
	rig_got(r, 60, 3);
	conf_settle(r->v);
	assert_int_equal(vmm_ring_avail_event(rig_ring(r, VMM_RX)), 3);
	rig_close(r);
}

static void avail_event_follows_the_avail_index(void **state)
{
	struct rig *r = rig_open(EVENT_IDX);
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		rig_tx_quietly(r, 2, 2 * i);
		rig_eventually(r, VMM_TX, vmm_ring_avail_event,
			       (uint16_t)(2 * (i + 1)));
		assert_int_equal(vmm_ring_used_flags(rig_ring(r, VMM_TX)), 0);
	}
	rig_close(r);
}

static void backend_starts_without_a_kick(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .idle = true });

	(void)state;
	rig_add_tx(r, 100, 1);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	check_ret(vmm_start(r->v, r->backend), 0);
	rig_seen(r, 100, 1);
	rig_close(r);
}

static void new_kick_that_is_up_runs_the_ring(void **state)
{
	struct rig *r = rig_open(V1);
	int up = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	rig_add_tx(r, 100, 1);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	rig_not_seen(r);
	check_ret(uvh_set_vring_kick(r->v->fe, VMM_TX, up), 0);
	rig_seen(r, 100, 1);
	close(up);
	rig_close(r);
}

static void old_kick_is_dead_after_replacement(void **state)
{
	struct rig *r = rig_open(V1);
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t one = 1;

	(void)state;
	check_ret(uvh_set_vring_kick(r->v->fe, VMM_TX, other), 0);
	conf_settle(r->v); /* a ring may look around when its kick changes */
	rig_add_tx(r, 100, 1);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	vmm_kick(r->v, VMM_TX);
	rig_not_seen(r);
	assert_int_equal(write(other, &one, sizeof(one)), sizeof(one));
	rig_seen(r, 100, 1);
	close(other);
	rig_close(r);
}

static void ring_without_kick_still_receives(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	check_ret(uvh_set_vring_kick(r->v->fe, VMM_RX, -1), 0);
	rig_add_rx(r, 2000, 0);
	vmm_ring_publish(rig_ring(r, VMM_RX));
	rig_inject(r, 100, 1);
	rig_got(r, 100, 1);
	rig_close(r);
}

static void busy_polling_changes_nothing(void **state)
{
	struct rig *r = rig_open(EVENT_IDX);
	unsigned int i;

	(void)state;
	check_ret(uvh_set_vring_busyloop(r->v->fe, VMM_RX, 50), 0);
	check_ret(uvh_set_vring_busyloop(r->v->fe, VMM_TX, 50), 0);
	for (i = 0; i < 20; i++) {
		rig_tx(r, 100, i);
		rig_rx(r, 100, i);
	}
	rig_close(r);
}

/* ---- indexes and sizes ---- */

static void indexes_wrap_at_65536(void **state)
{
	static const uint64_t features[] = { F_V1, F_V1 | F_EVENT };
	unsigned int i, k;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct rig *r = rig_open(&(struct rig_config){
			.base = 65530, .vmm.features = features[i] });

		for (k = 0; k < 12; k++) {
			rig_tx(r, 60 + k, k);
			rig_rx(r, 60 + k, k);
		}
		for (k = 0; k < 3; k++)
			rig_tx_quietly(r, 100, k);
		assert_int_equal(rig_base(r, VMM_TX), 65530 + 312 - 65536);
		assert_int_equal(rig_base(r, VMM_RX), 6);
		rig_close(r);
	}
}

/* More than a full turn of the free-running index, in both directions. */
static void more_than_65536_frames(void **state)
{
	static struct vmm_used used[256];
	struct rig *r = rig_open(
		&(struct rig_config){ .vmm.features = F_V1 | F_EVENT });
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	unsigned int sent = 0;
	unsigned int done = 0;

	(void)state;
	close(r->peer); /* frames are not received */
	r->peer = -1;
	while (done < 70000) {
		while (sent < 70000 && ring->num_free)
			rig_add_tx(r, 60, sent++);
		rig_go(r, VMM_TX);
		check_ret(vmm_wait_used(r->v, VMM_TX, 1, CONF_MS), 0);
		done += (unsigned int)check_ok(vmm_ring_reap(ring, used, 256));
	}
	assert_int_equal(vmm_ring_used_idx(ring), 70000 - 65536);
	assert_int_equal(rig_base(r, VMM_TX), 70000 - 65536);
	r->peer = check_ok(vmm_packet_open(r->ifname, VMM_ETHERTYPE, false));
	rig_tx(r, 100, 1);
	rig_close(r);
}

static void rings_of_every_size_work(void **state)
{
	static const unsigned int sizes[] = { 1,   2,    4,    64,
					      512, 1024, 4096, 32768 };
	unsigned int i, k;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned int num = sizes[i];
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.num = { num, num },
			.base = (num - 2) & 0xffff,
			.vmm.features = i % 2 ? F_V1 | F_EVENT : F_V1 });

		for (k = 0; k < 8; k++) {
			rig_tx(r, 60 + k, k);
			rig_rx(r, 60 + k, k);
		}
		rig_close(r);
	}
}

static void rings_may_differ_in_size(void **state)
{
	struct rig *r =
		rig_open(&(struct rig_config){ .vmm.num = { 8, 1024 } });
	unsigned int k;

	(void)state;
	for (k = 0; k < 20; k++) {
		rig_tx(r, 60 + k, k);
		rig_rx(r, 60 + k, k);
	}
	rig_close(r);
}

/* ---- the backend comes and goes ---- */

static void stopped_ring_waits_and_goes_on(void **state)
{
	struct rig *r = rig_open(EVENT_IDX);
	struct vmm_used used;

	(void)state;
	rig_tx(r, 100, 1);
	rig_rx(r, 100, 2);
	check_ret(vmm_stop(r->v), 0);
	assert_int_equal(r->v->q[VMM_TX].base, 1);
	assert_int_equal(r->v->q[VMM_RX].base, 1);

	rig_add_tx(r, 101, 3);
	vmm_ring_publish(rig_ring(r, VMM_TX));
	vmm_kick(r->v, VMM_TX);
	rig_inject(r, 102, 4);
	rig_not_seen(r);
	rig_used_is(r, VMM_TX, 0);

	check_ret(vmm_start(r->v, r->backend), 0);
	rig_seen(r, 101, 3);
	rig_reap(r, VMM_TX, 1, &used);
	rig_add_rx(r, 2000, 0);
	rig_go(r, VMM_RX);
	rig_got(r, 102, 4);
	assert_int_equal(rig_base(r, VMM_TX), 2);
	rig_close(r);
}

static void held_frames_survive_a_restart(void **state)
{
	struct rig *r = rig_open(V1);
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++)
		rig_inject(r, 100 + i, i);
	rig_not_seen(r); /* the device has looked, and has no buffer */
	check_ret(vmm_stop(r->v), 0);
	check_ret(vmm_start(r->v, r->backend), 0);
	for (i = 0; i < 10; i++)
		rig_add_rx(r, 2000, i);
	rig_go(r, VMM_RX);
	for (i = 0; i < 10; i++)
		rig_got(r, 100 + i, i);
	rig_close(r);
}

static void one_ring_may_stop_alone(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	check_ret(vmm_backend(r->v, VMM_RX, -1), 0);
	rig_tx(r, 100, 1);
	check_ret(vmm_backend(r->v, VMM_RX, r->backend), 0);
	check_ret(vmm_backend(r->v, VMM_TX, -1), 0);
	rig_rx(r, 100, 2);
	rig_close(r);
}

static void backend_is_replaced_under_traffic(void **state)
{
	struct rig *r = rig_open(V1);
	char ifname[IFNAMSIZ];
	int tap = conf_tap(&(struct vmm_tap_config){ 0 }, ifname);
	int peer = check_ok(vmm_packet_open(ifname, VMM_ETHERTYPE, false));
	int first = r->peer;
	unsigned int i;

	(void)state;
	for (i = 0; i < 10; i++) {
		rig_tx(r, 100 + i, i);
		rig_rx(r, 100 + i, i);
		check_ret(vmm_set_backends(r->v, i % 2 ? r->backend : tap), 0);
		r->peer = i % 2 ? first : peer;
	}
	close(tap);
	close(peer);
	rig_close(r);
}

static void fails_and_goes_on(struct rig *r, int backend, int error)
{
	check_ret(vmm_backend(r->v, VMM_TX, backend), error);
	check_ret(vmm_backend(r->v, VMM_RX, backend), error);
}

/* Frames of both rings wait meanwhile, and come through the old backend. */
static void failed_backend_leaves_the_running_one(void **state)
{
	struct rig *r = rig_open(V1);
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int other[] = { r->v->q[0].err, tun };
	struct vhost_vring_addr addr;
	char ifname[IFNAMSIZ];
	int tap = conf_tap(&(struct vmm_tap_config){ 0 }, ifname);
	unsigned int i, qi;

	(void)state;
	assert_true(tun >= 0);
	for (i = 0; i < 2; i++) {
		rig_tx(r, 100, i);
		rig_rx(r, 100, i);
		fails_and_goes_on(r, other[i], i ? -EINVAL : -ENOTSOCK);
		rig_tx(r, 100, 10 + i);
		rig_rx(r, 100, 10 + i);
	}

	/* The used rings cannot be reached when the new one is tried. */
	for (qi = 0; qi < VMM_QUEUES; qi++) {
		addr = vmm_vring_addr(r->v, qi);
		addr.used_user_addr = 0x1000;
		check_ret(uvh_set_vring_addr(r->v->fe, &addr), 0);
	}
	fails_and_goes_on(r, tap, -EFAULT);
	for (qi = 0; qi < VMM_QUEUES; qi++) {
		addr = vmm_vring_addr(r->v, qi);
		check_ret(uvh_set_vring_addr(r->v->fe, &addr), 0);
	}
	for (i = 20; i < 24; i++) {
		rig_add_tx(r, 100, i);
		vmm_ring_publish(rig_ring(r, VMM_TX));
		vmm_kick(r->v, VMM_TX);
		rig_seen(r, 100, i);
		rig_reap(r, VMM_TX, 1, &(struct vmm_used){ 0 });
		rig_rx(r, 100, i);
	}
	close(tun);
	close(tap);
	rig_close(r);
}

static void setting_the_same_backend_restarts_nothing(void **state)
{
	struct rig *r = rig_open(V1);

	(void)state;
	rig_tx(r, 100, 1);
	/* were the ring initialised again, used idx would be read from here */
	rig_ring(r, VMM_TX)->used->idx = 77;
	check_ret(vmm_backend(r->v, VMM_TX, r->backend), 0);
	rig_add_tx(r, 100, 2);
	rig_go(r, VMM_TX);
	rig_seen(r, 100, 2);
	check_ret(vmm_wait_base(r->v, VMM_TX, 2, CONF_MS), 0);
	conf_settle(r->v);
	assert_int_equal(vmm_ring_used_idx(rig_ring(r, VMM_TX)), 2);
	rig_close(r);
}

/* A used ring that starts a page, in memory that may only be written. */
static void write_only_used_ring(enum vmm_mem_kind kind)
{
	struct rig *r = rig_open(
		&(struct rig_config){ .idle = true, .vmm.mem_kind = kind });
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	uint64_t gpa = rig_alloc(r, 4096, 4096);
	struct vhost_vring_addr addr;

	ring->used = (struct vring_used *)(void *)rig_ptr(r, gpa);
	memset(ring->used, 0, 4096); /* the page is there */
	check_ret(vmm_init(r->v), 0);
	check_ret(vmm_prepare(r->v), 0);
	addr = vmm_vring_addr(r->v, VMM_TX);
	addr.used_user_addr = (uintptr_t)ring->used;
	check_ret(uvh_set_vring_addr(r->v->fe, &addr), 0);
	assert_int_equal(mprotect(ring->used, 4096, PROT_WRITE), 0);
	check_ret(vmm_set_backends(r->v, r->backend), 0);
	rig_tx(r, 100, 1);
	rig_tx(r, 100, 2);
	rig_no_err(r, VMM_TX);
	assert_int_equal(mprotect(ring->used, 4096, PROT_READ | PROT_WRITE), 0);
	rig_close(r);
}

static void used_ring_may_be_write_only_private(void **state)
{
	(void)state;
	write_only_used_ring(VMM_MEM_PRIVATE);
}

static void used_ring_may_be_write_only_memfd(void **state)
{
	(void)state;
	write_only_used_ring(VMM_MEM_MEMFD);
}

static void used_index_is_read_at_start(void **state)
{
	struct rig *r = rig_open(&(struct rig_config){ .idle = true });
	struct vmm_ring *ring = rig_ring(r, VMM_TX);

	(void)state;
	vmm_ring_reset(ring, 0);
	ring->used->idx = ring->used_idx = 40;
	check_ret(vmm_start(r->v, r->backend), 0);
	rig_tx(r, 100, 1);
	assert_int_equal(vmm_ring_used_idx(ring), 41);
	rig_close(r);
}

static void reset_owner_under_traffic(void **state)
{
	struct rig *r = rig_open(V1);
	unsigned int i, qi;

	(void)state;
	for (i = 0; i < 5; i++) {
		rig_tx(r, 100, 1);
		rig_rx(r, 100, 2);
		rig_add_tx(r, 100, 3);
		rig_go(r, VMM_TX);
		rig_inject(r, 100, 4);
		check_ret(uvh_reset_owner(r->v->fe), 0);
		while (vmm_packet_recv(r->peer, &qi, 1, 0) >= 0)
			;
		for (qi = 0; qi < VMM_QUEUES; qi++) {
			vmm_ring_reset(rig_ring(r, qi), 0);
			r->v->q[qi].base = 0;
		}
		check_ret(vmm_start(r->v, r->backend), 0);
		/* the frame that came in between is still there */
		rig_add_rx(r, 2000, 0);
		rig_go(r, VMM_RX);
		rig_got(r, 100, 4);
	}
	rig_close(r);
}

static void closing_under_traffic(void **state)
{
	unsigned int i, k;

	(void)state;
	for (i = 0; i < 10; i++) {
		struct rig *r = rig_open(V1);

		for (k = 0; k < 100; k++) {
			rig_add_tx(r, 100, k);
			rig_add_rx(r, 2000, k);
		}
		rig_go(r, VMM_RX);
		rig_go(r, VMM_TX);
		rig_inject(r, 100, 1);
		rig_close(r);
	}
}

static void tap_that_disappears_stops_nothing_else(void **state)
{
	struct rig *r = rig_open(V1);
	char ifname[IFNAMSIZ];
	int tap = conf_tap(&(struct vmm_tap_config){ 0 }, ifname);

	(void)state;
	check_ret(vmm_backend(r->v, VMM_TX, tap), 0);
	close(tap); /* the device still holds it */
	rig_rx(r, 100, 1);
	check_ret(vmm_backend(r->v, VMM_TX, r->backend), 0);
	rig_tx(r, 100, 2);
	rig_close(r);
}

static void every_style_moves_frames(void **state)
{
	static const enum vmm_style styles[] = { VMM_QEMU, VMM_DPDK,
						 VMM_KVMTOOL, VMM_VPP,
						 VMM_CROSVM };
	unsigned int i, k;

	(void)state;
	for (i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		struct rig *r = rig_open(&(struct rig_config){
			.vmm.style = styles[i],
			.vmm.features = F_V1 | F_MRG | F_EVENT,
			.vmm.rings_outside = styles[i] == VMM_VPP });

		for (k = 0; k < 3; k++) {
			rig_tx(r, 100 + k, k);
			rig_rx(r, 100 + k, k);
		}
		check_ret(vmm_stop(r->v), 0);
		rig_close(r);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(burst_is_signalled_once),
	cmocka_unit_test(no_interrupt_flag_suppresses),
	cmocka_unit_test(notify_on_empty_overrides_the_flag),
	cmocka_unit_test(first_signal_after_start_is_unconditional),
	cmocka_unit_test(event_idx_signals_when_it_is_passed),
	cmocka_unit_test(rx_obeys_the_flag_too),
	cmocka_unit_test(works_without_call),
	cmocka_unit_test(call_may_be_replaced_while_active),
	cmocka_unit_test(kick_is_never_consumed),
	cmocka_unit_test(flags_say_when_a_kick_is_wanted),
	cmocka_unit_test(empty_rx_ring_wants_no_kick_before_a_frame),
	cmocka_unit_test(empty_rx_ring_leaves_avail_event_before_a_frame),
	cmocka_unit_test(avail_event_follows_the_avail_index),
	cmocka_unit_test(backend_starts_without_a_kick),
	cmocka_unit_test(new_kick_that_is_up_runs_the_ring),
	cmocka_unit_test(old_kick_is_dead_after_replacement),
	cmocka_unit_test(ring_without_kick_still_receives),
	cmocka_unit_test(busy_polling_changes_nothing),
	cmocka_unit_test(indexes_wrap_at_65536),
	cmocka_unit_test(more_than_65536_frames),
	cmocka_unit_test(rings_of_every_size_work),
	cmocka_unit_test(rings_may_differ_in_size),
	cmocka_unit_test(stopped_ring_waits_and_goes_on),
	cmocka_unit_test(held_frames_survive_a_restart),
	cmocka_unit_test(one_ring_may_stop_alone),
	cmocka_unit_test(backend_is_replaced_under_traffic),
	cmocka_unit_test(failed_backend_leaves_the_running_one),
	cmocka_unit_test(setting_the_same_backend_restarts_nothing),
	cmocka_unit_test(used_ring_may_be_write_only_private),
	cmocka_unit_test(used_ring_may_be_write_only_memfd),
	cmocka_unit_test(used_index_is_read_at_start),
	cmocka_unit_test(reset_owner_under_traffic),
	cmocka_unit_test(closing_under_traffic),
	cmocka_unit_test(tap_that_disappears_stops_nothing_else),
	cmocka_unit_test(every_style_moves_frames),
};

int main(int argc, char **argv)
{
	return conf_main("ring", tests, sizeof(tests) / sizeof(tests[0]), argc,
			 argv);
}
