/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>

#include <linux/if_ether.h>

static void open_tap(struct rig *r, const struct rig_config *c,
		     uint64_t features)
{
	struct vmm_tap_config tap = c->tap;

	if (!tap.hdr_len)
		tap.hdr_len =
			features & F_NET_HDR ? -1 : (int)vmm_hdr_len(features);
	/* Without a header the kernel's batched path (before 6.9 or so) judges
	 * what it left in the buffer before: frames get lost or stuck. */
	if (tap.hdr_len < 0 && !tap.sndbuf)
		tap.sndbuf = 1 << 20;
	r->backend = conf_tap(&tap, r->ifname);
	memcpy(r->peer_ifname, r->ifname, IFNAMSIZ);
}

static void open_veth(struct rig *r)
{
	int ret;

	conf_net();
	ret = vmm_veth(r->ifname, r->peer_ifname);
	if (ret == -EPERM || ret == -EOPNOTSUPP)
		skip_because("no veth: %s", strerror(-ret));
	check_ret(ret, 0);
}

static void open_backend(struct rig *r, const struct rig_config *c,
			 uint64_t features)
{
	char name[IFNAMSIZ];

	switch (c->backend) {
	case RIG_TAP:
		open_tap(r, c, features);
		break;
	case RIG_PACKET:
		open_veth(r);
		r->backend = check_ok(
			vmm_packet_open(r->ifname, ETH_P_ALL, c->packet_vnet));
		break;
	case RIG_MACVTAP:
		open_veth(r);
		r->backend = vmm_macvtap(r->ifname, name);
		if (r->backend < 0)
			skip_because("no macvtap: %s", strerror(-r->backend));
		break;
	}
	r->peer = check_ok(
		vmm_packet_open(r->peer_ifname, VMM_ETHERTYPE,
				c->packet_vnet && c->backend == RIG_PACKET));
}

struct rig *rig_open(const struct rig_config *config)
{
	struct vmm_config vmm = config->vmm;
	struct rig *r = calloc(1, sizeof(*r));
	unsigned int qi;

	assert_non_null(r);
	if (!vmm.features)
		vmm.features = F_V1;
	if (!conf_has(vmm.features))
		skip_because("a feature is not offered");
	vmm.path = conf_dev();
	vmm.ports = conf_ports();
	vmm.transport = conf_transport();
	open_backend(r, config, vmm.features);
	check_ret(vmm_new(&vmm, &r->v), 0);
	r->slots = vmm_mem_alloc(&r->v->mem, RIG_SLOTS * RIG_SLOT_BYTES, 64);
	for (qi = 0; qi < VMM_QUEUES; qi++) {
		vmm_ring_reset(&r->v->q[qi].ring, (uint16_t)config->base);
		r->v->q[qi].base = vmm_ring_base(&r->v->q[qi].ring);
	}
	if (!config->idle) {
		check_ret(vmm_start(r->v, r->backend), 0);
		/* rings run once when the backend is set */
		conf_settle(r->v);
	}
	return r;
}

void rig_close(struct rig *r)
{
	vmm_free(r->v);
	close(r->peer);
	close(r->backend);
	free(r);
}

uint64_t rig_alloc(struct rig *r, size_t len, size_t align)
{
	uint64_t gpa = vmm_mem_alloc(&r->v->mem, len, align);

	assert_int_not_equal(gpa, 0);
	return gpa;
}

uint64_t rig_slot(const struct rig *r, unsigned int i)
{
	assert_int_not_equal(r->slots, 0);
	return r->slots + (uint64_t)(i % RIG_SLOTS) * RIG_SLOT_BYTES;
}

uint8_t *rig_ptr(const struct rig *r, uint64_t gpa)
{
	return vmm_mem_ptr(&r->v->mem, gpa);
}

struct vmm_ring *rig_ring(struct rig *r, unsigned int qi)
{
	return &r->v->q[qi].ring;
}

void rig_fill(struct rig *r, uint64_t gpa, size_t len, uint32_t seed)
{
	uint8_t *p = rig_ptr(r, gpa);

	memset(p, 0, r->v->hdr_len);
	vmm_frame(p + r->v->hdr_len, len, seed);
}

void rig_add_tx(struct rig *r, size_t len, uint32_t seed)
{
	struct vmm_seg seg = {
		.addr = rig_slot(r, seed),
		.len = (uint32_t)(r->v->hdr_len + len),
	};

	rig_fill(r, seg.addr, len, seed);
	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
}

void rig_go(struct rig *r, unsigned int qi)
{
	vmm_publish_kick(r->v, qi);
}

void rig_seen(struct rig *r, size_t len, uint32_t seed)
{
	static uint8_t buf[70000];
	ssize_t n = vmm_packet_recv(r->peer, buf, sizeof(buf), CONF_MS);

	if (n != (ssize_t)len || !vmm_frame_is(buf, len, seed))
		fail_msg("peer: frame %u of %zu bytes expected, got %s%s", seed,
			 len, check_errname(n),
			 n > 0 ? " bytes, or other bytes" : "");
}

void rig_not_seen(struct rig *r)
{
	uint8_t byte;

	conf_settle(r->v);
	check_ret(vmm_packet_recv(r->peer, &byte, 1, CONF_QUIET_MS),
		  -ETIMEDOUT);
}

void rig_reap(struct rig *r, unsigned int qi, unsigned int n,
	      struct vmm_used *out)
{
	if (vmm_wait_used(r->v, qi, n, CONF_MS) < 0)
		fail_msg("ring %u: %u completions expected, got %u", qi, n,
			 vmm_ring_pending(rig_ring(r, qi)));
	check_ret(vmm_ring_reap(rig_ring(r, qi), out, n), n);
}

void rig_used_is(struct rig *r, unsigned int qi, unsigned int n)
{
	assert_int_equal(vmm_ring_pending(rig_ring(r, qi)), n);
}

void rig_tx(struct rig *r, size_t len, uint32_t seed)
{
	struct vmm_used used;

	rig_add_tx(r, len, seed);
	rig_go(r, VMM_TX);
	rig_seen(r, len, seed);
	rig_reap(r, VMM_TX, 1, &used);
	assert_int_equal(used.len, 0);
}

void rig_tx_quietly(struct rig *r, unsigned int n, uint32_t seed)
{
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	int64_t end = vmm_now_ms() + CONF_MS;
	static struct vmm_used used[256];

	for (unsigned int i = 0; i < n; i++)
		rig_add_tx(r, 60, seed + i);
	vmm_ring_publish(ring);
	vmm_kick(r->v, VMM_TX);
	for (unsigned int i = 0; i < n; i++)
		rig_seen(r, 60, seed + i);
	/* rig_reap() and vmm_wait_used() would eat the signal */
	while (vmm_ring_pending(ring) < n) {
		assert_true(vmm_now_ms() < end);
		poll(NULL, 0, 1);
	}
	conf_settle(r->v);
	rig_used_is(r, VMM_TX, n);
	check_ret(vmm_ring_reap(ring, used, n), n);
}

void rig_tx_chain(struct rig *r, const struct vmm_seg *seg, unsigned int n,
		  uint64_t table, size_t len, uint32_t seed)
{
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	struct vmm_used used;

	if (table)
		check_ok(vmm_ring_add_indirect(
			ring, seg, n,
			(struct vring_desc *)(void *)rig_ptr(r, table), table,
			NULL));
	else
		check_ok(vmm_ring_add(ring, seg, n, NULL));
	rig_go(r, VMM_TX);
	rig_seen(r, len, seed);
	rig_reap(r, VMM_TX, 1, &used);
	assert_int_equal(used.len, 0);
}

void rig_add_rx(struct rig *r, size_t len, unsigned int slot)
{
	struct vmm_seg seg = {
		.addr = rig_slot(r, slot),
		.len = (uint32_t)len,
		.write = true,
	};

	memset(rig_ptr(r, seg.addr), 0xa5, len);
	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1,
			      rig_ptr(r, seg.addr)));
}

void rig_inject(struct rig *r, size_t len, uint32_t seed)
{
	static uint8_t buf[70000];

	vmm_frame(buf, len, seed);
	check_ret(send(r->peer, buf, len, 0) < 0 ? -errno : 0, 0);
}

void rig_got(struct rig *r, size_t len, uint32_t seed)
{
	struct vmm_used used;
	const uint8_t *p;

	rig_reap(r, VMM_RX, 1, &used);
	assert_int_equal(used.len, r->v->hdr_len + len);
	p = used.token;
	if (!vmm_frame_is(p + r->v->hdr_len, len, seed))
		fail_msg("guest: frame %u of %zu bytes expected, got others",
			 seed, len);
}

void rig_rx(struct rig *r, size_t len, uint32_t seed)
{
	rig_add_rx(r, RIG_SLOT_BYTES, seed);
	rig_go(r, VMM_RX);
	rig_inject(r, len, seed);
	rig_got(r, len, seed);
}

void rig_eventually(struct rig *r, unsigned int qi,
		    uint16_t (*get)(const struct vmm_ring *), uint16_t want)
{
	int64_t end = vmm_now_ms() + CONF_MS;
	uint16_t got;

	while ((got = get(rig_ring(r, qi))) != want) {
		if (vmm_now_ms() >= end)
			fail_msg("ring %u says %u, expected %u", qi, got, want);
		poll(NULL, 0, 1);
	}
}

unsigned int rig_base(struct rig *r, unsigned int qi)
{
	unsigned int base = 0;

	check_ret(vmm_base(r->v, qi, &base), 0);
	return base;
}

unsigned int rig_err(struct rig *r, unsigned int qi)
{
	if (vmm_wait_event(r->v->q[qi].err, CONF_MS) < 0)
		fail_msg("ring %u: no error was signalled", qi);
	conf_settle(r->v);
	return (unsigned int)vmm_event_count(r->v->q[qi].err);
}

void rig_no_err(struct rig *r, unsigned int qi)
{
	conf_settle(r->v);
	assert_int_equal(vmm_event_count(r->v->q[qi].err), 0);
}
