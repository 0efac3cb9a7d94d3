/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vu_backend.c tests a vhost-user session with a frontend that behaves as
 * QEMU, DPDK or the specification has it.
 */
#include "check.h"

#include <endian.h>
#include <stdlib.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/userfaultfd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "fdmsg.h"
#include "vu_priv.h"
#include "vufix.h"

#define PF(name) BIT(VHOST_USER_PROTOCOL_F_##name)
#define V1 BIT(VIRTIO_F_VERSION_1)
#define LOG_ALL BIT(VHOST_F_LOG_ALL)
#define IOTLB BIT(VIRTIO_F_ACCESS_PLATFORM)
#define F_PROTOCOL BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define SHORT_MS 100 /* for what must not happen */

/* ---- packets ---- */

static void packets_move_both_ways(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	for (unsigned int i = 0; i < 40; i++)
		vf_traffic(f, 0, (uint8_t)i);
	assert_int_equal(vf_get_base(f, 0), 40);
	assert_int_equal(vf_get_base(f, 1), 40);
}

static void queue_pairs_are_devices_of_their_own(void **state)
{
	struct vufix *f = *state;

	vf_start(f, BIT(VIRTIO_NET_F_MQ), 2);
	for (unsigned int i = 0; i < 20; i++)
		vf_traffic(f, i % 2, (uint8_t)i);
	assert_int_equal(vf_get(f, VHOST_USER_GET_QUEUE_NUM), 4);
	assert_int_equal(vf_get_base(f, 3), 10);
	/* the other one does not notice */
	vf_traffic(f, 0, 99);
	assert_false(vf_wait(f->err[2], 0));
}

/* QEMU takes twice the pairs that there are for enough. */
static void a_pair_too_many_may_be_named_but_not_started(void **state)
{
	struct vufix *f = *state;

	vf_start(f, BIT(VIRTIO_NET_F_MQ), 2);
	f->acks = false;
	for (unsigned int i = 4; i < 6; i++) {
		vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]);
		vf_call_state(f, VHOST_USER_SET_VRING_ENABLE, i, 0);
	}
	vf_sync(f);
	vf_traffic(f, 0, 1);
	vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 4, f->kick[4]);
	assert_true(vufix_wait_closed(f));
}

static void a_second_pair_may_come_late(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_traffic(f, 0, 1);
	vf_ring(f, 2, 16);
	vf_ring(f, 3, 16);
	vf_enable(f, 1, true);
	vf_traffic(f, 1, 2);
	vf_traffic(f, 0, 3);
}

/* ---- as frontends do it ---- */

/* QEMU: CALL with the first words, ENABLE before the features, then a start in
 * one go, and CALL again whenever the guest masks an interrupt. */
static void it_goes_as_qemu_does_it(void **state)
{
	struct vufix *f = *state;

	f->acks = false;
	vf_get(f, VHOST_USER_GET_FEATURES);
	vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
		    PF(MQ) | PF(REPLY_ACK) | PF(LOG_SHMFD) | PF(RARP));
	vf_get(f, VHOST_USER_GET_QUEUE_NUM);
	vf_call(f, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);
	vf_get(f, VHOST_USER_GET_FEATURES);
	for (unsigned int i = 0; i < 2; i++)
		vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]);
	vf_enable(f, 0, true);
	vf_call_u64(f, VHOST_USER_SET_FEATURES, V1 | F_PROTOCOL);
	f->acks = true;
	check_ret(vf_table(f), 0);
	f->acks = false;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 2; i++) {
			vf_ring(f, i, 256);
			vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->err[i]);
			vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]);
		}
		vf_enable(f, 0, true);
		vf_sync(f);
		for (unsigned int i = 0; i < 10; i++)
			vf_traffic(f, 0, (uint8_t)i);
		vf_enable(f, 0, false);
		assert_int_equal(vf_get_base(f, 0), 10);
		assert_int_equal(vf_get_base(f, 1), 10);
	}
}

/* virtio_user: guest addresses are its own, one region, ENABLE at the end. */
static void it_goes_as_dpdk_does_it(void **state)
{
	struct vufix *f = *state;
	struct vu_memory m = { .nregions = 1 };

	vf_hello(f, PF(MQ) | PF(STATUS));
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 0), 0);
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 1), 0);
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 3), 0);
	for (unsigned int i = 0; i < 2; i++)
		check_ret(
			vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]),
			0);
	vf_features(f, V1);
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 11), 0);
	assert_int_equal(vf_get(f, VHOST_USER_GET_STATUS), 11);
	m.regions[0] = (struct vu_mem_region){
		.guest_phys_addr = GPA_A, /* so that vf_traffic() finds it */
		.memory_size = ARENA_SIZE - RAM_A_OFF,
		.userspace_addr = arena_uva(&f->arena, RAM_A_OFF),
		.mmap_offset = RAM_A_OFF,
	};
	m.regions[1] = vf_region(f, 3);
	m.nregions = 2;
	check_ret(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m,
			  offsetof(struct vu_memory, regions[2]),
			  (int[]){ f->arena.memfd, f->arena.memfd }, 2),
		  0);
	for (unsigned int i = 0; i < 2; i++)
		vf_ring(f, i, 64);
	vf_enable(f, 0, true);
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 15), 0);
	for (unsigned int i = 0; i < 10; i++)
		vf_traffic(f, 0, (uint8_t)i);
}

static void guest_addresses_may_be_the_frontends_own(void **state)
{
	struct vufix *f = *state;
	struct vu_memory m = { .nregions = 1 };
	uint64_t at = arena_uva(&f->arena, 0), buf = at + RAM_A_OFF;
	uint8_t wire[100];

	m.regions[0] = (struct vu_mem_region){ at, ARENA_SIZE, at, 0 };
	vf_hello(f, 0);
	vf_features(f, V1);
	check_ret(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m,
			  offsetof(struct vu_memory, regions[1]),
			  &f->arena.memfd, 1),
		  0);
	vf_ring(f, 1, 16);
	vf_enable(f, 0, true);
	memset(f->arena.base + RAM_A_OFF, 0, 72);
	drv_offer(&f->q[1], 0, buf, 72, 0);
	vf_kick(f, 1);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(recv(f->wire[0], wire, sizeof(wire), 0), 72);
}

static void without_protocol_features_rings_start_enabled(void **state)
{
	struct vufix *f = *state;

	vf_call_u64(f, VHOST_USER_SET_FEATURES, V1);
	vf_call(f, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0);
	vf_table(f);
	vf_ring(f, 0, 16);
	vf_ring(f, 1, 16);
	vf_sync(f);
	vf_traffic(f, 0, 7);
}

static void the_kick_may_come_before_the_addresses(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, 0);
	vf_features(f, V1);
	for (unsigned int i = 0; i < 2; i++)
		check_ret(
			vf_call_fd(f, VHOST_USER_SET_VRING_KICK, i, f->kick[i]),
			0);
	vf_enable(f, 0, true);
	for (unsigned int i = 0; i < 2; i++) {
		drv_init(&f->q[i], &f->arena, i * 0x10000, 16, false);
		check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, i, 16), 0);
		check_ret(
			vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]),
			0);
		check_ret(vf_addr(f, i, 0), 0);
	}
	/* and the memory last of all */
	check_ret(vf_table(f), 0);
	vf_traffic(f, 0, 7);
}

/* Bit 27 is ANY_LAYOUT here: the header is the port's, with it or without. */
static void any_layout_does_not_strip_headers(void **state)
{
	struct vufix *f = *state;

	vf_start(f, BIT(VIRTIO_F_ANY_LAYOUT), 1);
	vf_traffic(f, 0, 3);
}

static void a_ring_goes_on_where_it_stopped(void **state)
{
	struct vufix *f = *state;
	uint32_t base;

	vf_start(f, 0, 1);
	vf_traffic(f, 0, 1);
	base = vf_get_base(f, 1);
	assert_int_equal(base, 1);
	/* Offered while it is stopped: not looked at. */
	vf_offer_tx(f, 0, 2);
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, 1, base), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
}

static void a_stopped_ring_lets_go_of_its_kicks(void **state)
{
	struct vufix *f = *state;
	unsigned int fds;

	vf_start(f, 0, 1);
	fds = count_fds();
	vf_get_base(f, 1);
	assert_int_equal(count_fds(), fds - 1);
}

static void a_port_that_does_not_open_keeps_the_ring_from_starting(void **state)
{
	struct vufix *f = *state;

	f->open_error = -ENODEV;
	vf_hello(f, 0);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	drv_init(&f->q[0], &f->arena, 0, 16, false);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, 0, 16), 0);
	check_ret(vf_addr(f, 0, 0), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 0, f->kick[0]),
		  ENODEV);
}

static void ports_are_opened_once(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_get_base(f, 0);
	vf_get_base(f, 1);
	vf_ring(f, 0, 16);
	vf_ring(f, 1, 16);
	assert_int_equal(__atomic_load_n(&f->opened, __ATOMIC_RELAXED), 1);
	vf_traffic(f, 0, 4);
}

static unsigned int rings_of(const struct vufix *f, unsigned int pair)
{
	return (unsigned int)__atomic_load_n(&f->shown[pair], __ATOMIC_ACQUIRE);
}

static void ports_know_which_rings_run(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	assert_int_equal(rings_of(f, 0), 3);
	assert_int_equal(rings_of(f, 1), 0);
	vf_enable(f, 0, false);
	assert_int_equal(rings_of(f, 0), 0);
	vf_enable(f, 0, true);
	assert_int_equal(rings_of(f, 0), 3);
	vf_get_base(f, 0);
	assert_int_equal(rings_of(f, 0), 1 << VHOST_NET_VQ_TX);
	vf_get_base(f, 1);
	assert_int_equal(rings_of(f, 0), 0);
}

static void the_offload_is_what_the_guest_acked(void **state)
{
	struct vufix *f = *state;

	vf_start(f, BIT(VIRTIO_NET_F_MRG_RXBUF), 1);
	assert_int_equal(__atomic_load_n(&f->offload, __ATOMIC_ACQUIRE),
			 V1 | BIT(VIRTIO_NET_F_MRG_RXBUF));
}

static void features_that_were_not_offered_are_refused(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, PF(STATUS));
	assert_int_equal(vf_call_u64(f, VHOST_USER_SET_FEATURES, BIT(60)),
			 EOPNOTSUPP);
	/* virtio 1.2 §3.1.1: the driver sees it there */
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 11), 0);
	assert_int_equal(vf_get(f, VHOST_USER_GET_STATUS), 3);
	assert_int_equal(
		vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, BIT(63)),
		EOPNOTSUPP);
}

static void configuration_is_offered_where_it_says_something(void **state)
{
	struct vufix *f = *state;
	uint64_t config = PF(CONFIG);

	assert_true(vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES) & config);
	vufix_hang_up(f);
	memset(f->config.mac, 0, sizeof(f->config.mac));
	vufix_connect(f);
	assert_false(vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES) & config);
	vufix_hang_up(f);
	f->config.mtu = 1500;
	vufix_connect(f);
	assert_true(vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES) & config);
}

/* ---- enabled or not ---- */

static void a_disabled_ring_drops_what_the_guest_sends(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_traffic(f, 0, 1);
	vf_enable(f, 0, false);
	vf_offer_tx(f, 0, 2);
	assert_true(vf_used(f, 1, 2));
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	vf_enable(f, 0, true);
	assert_true(vf_tx(f, 0, 3));
}

/* QEMU 7.2 gives another first, and throws away what came on that. */
static void a_call_descriptor_that_comes_late_is_called(void **state)
{
	struct vufix *f = *state;
	int late = event_new();

	vf_start(f, 0, 1);
	vf_traffic(f, 0, 1);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_CALL, 0, late), 0);
	assert_true(vf_wait(late, VUFIX_MS));
	close(late);
}

static void a_disabled_ring_gives_the_guest_nothing(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_enable(f, 0, false);
	vf_offer_rx(f, 0);
	check_ret(send(f->wire[0], "0123456789ab0123456789ab", 24, 0), 24);
	vf_kick(f, 0);
	vf_sync(f);
	assert_false(vf_wait(f->call[0], SHORT_MS));
	assert_int_equal(drv_used_idx(&f->q[0]), 0);
	vf_enable(f, 0, true);
	assert_true(vf_used(f, 0, 1));
}

static void reset_owner_disables(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	check_ret(vf_call(f, VHOST_USER_RESET_OWNER, NULL, 0, NULL, 0), 0);
	vf_offer_tx(f, 0, 2);
	assert_true(vf_used(f, 1, 1));
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	vf_enable(f, 0, true);
	vf_traffic(f, 0, 1);
}

/* ---- memory ---- */

static void the_table_may_change_while_rings_run(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	for (unsigned int i = 0; i < 20; i++) {
		vf_traffic(f, 0, (uint8_t)i);
		check_ret(vf_table(f), 0);
	}
	/* the test's own and these, some of which the kernel joins */
	assert_in_range(count_maps(), 2, 1 + 4);
}

static uint64_t one_region(struct vufix *f, uint32_t request,
			   struct vu_mem_region region, int fd)
{
	struct vu_single_mem_region m = { .region = region };

	return vf_call(f, request, &m, sizeof(m), &fd, fd >= 0);
}

static void memory_comes_and_goes_slot_by_slot(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, PF(CONFIGURE_MEM_SLOTS));
	vf_features(f, V1);
	assert_true(vf_get(f, VHOST_USER_GET_MAX_MEM_SLOTS) >= 509);
	check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, vf_region(f, 3),
			     f->arena.memfd),
		  0);
	vf_ring(f, 0, 16);
	vf_ring(f, 1, 16);
	vf_enable(f, 0, true);
	for (unsigned int i = 0; i < 10; i++) {
		struct vu_mem_region other = vf_region(f, 0);

		check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, vf_region(f, 0),
				     f->arena.memfd),
			  0);
		/* QEMU 7.2 adds it again for the next queue pair, and takes
		 * it away as often */
		check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, other,
				     f->arena.memfd),
			  0);
		check_ret(one_region(f, VHOST_USER_REM_MEM_REG, other, -1), 0);
		other.mmap_offset += PAGE;
		assert_int_equal(one_region(f, VHOST_USER_ADD_MEM_REG, other,
					    f->arena.memfd),
				 EEXIST);
		vf_traffic(f, 0, (uint8_t)i);
		other.memory_size--;
		assert_int_equal(
			one_region(f, VHOST_USER_REM_MEM_REG, other, -1),
			ENOENT);
		/* older frontends send a descriptor along */
		check_ret(one_region(f, VHOST_USER_REM_MEM_REG, vf_region(f, 0),
				     i % 2 ? f->arena.memfd : -1),
			  0);
		assert_int_equal(count_maps(), 1 + 1);
	}
	vf_offer_tx(f, 0, 1); /* to memory that is gone */
	assert_true(vf_wait(f->err[1], VUFIX_MS));
}

static void all_slots_can_be_used(void **state)
{
	struct vufix *f = *state;
	struct vu_mem_region r = { .memory_size = PAGE };

	vf_hello(f, PF(CONFIGURE_MEM_SLOTS));
	for (unsigned int i = 0; i < VU_MEM_SLOTS; i++) {
		r.guest_phys_addr = r.userspace_addr = 2ul * i * PAGE;
		check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, r,
				     f->arena.memfd),
			  0);
	}
	r.guest_phys_addr = r.userspace_addr = BIT(40);
	assert_int_equal(
		one_region(f, VHOST_USER_ADD_MEM_REG, r, f->arena.memfd),
		ENOSPC);
}

/* A sparse file costs nothing, addresses of ours are few. */
static void a_peer_maps_so_much_and_no_more(void **state)
{
	struct vufix *f = *state;
	struct vu_mem_region r = { .memory_size = 16 * PAGE };

	vufix_hang_up(f);
	f->config.map_bytes = 40 * PAGE;
	vufix_connect(f);
	vf_hello(f, PF(CONFIGURE_MEM_SLOTS));
	for (unsigned int i = 0; i < 3; i++) {
		r.guest_phys_addr = r.userspace_addr = 32ul * i * PAGE;
		assert_int_equal(one_region(f, VHOST_USER_ADD_MEM_REG, r,
					    f->arena.memfd),
				 i < 2 ? 0 : ENOMEM);
	}
	r.guest_phys_addr = r.userspace_addr = 0;
	check_ret(one_region(f, VHOST_USER_REM_MEM_REG, r, -1), 0);
	r.memory_size = 24 * PAGE;
	check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, r, f->arena.memfd), 0);
	check_ret(one_region(f, VHOST_USER_REM_MEM_REG, r, -1), 0);
	r.memory_size = 25 * PAGE;
	assert_int_equal(
		one_region(f, VHOST_USER_ADD_MEM_REG, r, f->arena.memfd),
		ENOMEM);
}

/* Huge pages can be mapped whole only, and regions need not be. */
static void regions_of_huge_pages_need_no_alignment(void **state)
{
	struct vufix *f = *state;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	struct vu_mem_region r = { .guest_phys_addr = BIT(33) };
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, 2 * MIB) == 0)
		p = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 0);
	if (p == MAP_FAILED) {
		if (fd >= 0)
			close(fd);
		skip_because("no huge pages on this machine");
	}
	vf_start(f, 0, 1);
	vf_hello(f, PF(CONFIGURE_MEM_SLOTS));
	r.userspace_addr = BIT(40);
	r.mmap_offset = 0xc0000;
	r.memory_size = 2 * MIB - r.mmap_offset;
	check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, r, fd), 0);
	memcpy((char *)p + r.mmap_offset + 100, "0123456789ab0123456789ab", 24);
	drv_offer(&f->q[1], 0, r.guest_phys_addr + 100, 24, 0);
	vf_kick(f, 1);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(one_region(f, VHOST_USER_REM_MEM_REG, r, -1), 0);
	munmap(p, 2 * MIB);
	close(fd);
}

/* rust-vmm sends up to 32, whether or not there are slots. */
static void a_table_may_have_32_regions(void **state)
{
	struct vufix *f = *state;
	struct vu_memory m = { .nregions = VU_MEM_REGIONS };
	int fds[VU_MEM_REGIONS];

	vf_start(f, 0, 1);
	for (unsigned int i = 0; i < VU_MEM_REGIONS; i++) {
		fds[i] = f->arena.memfd;
		m.regions[i] = (struct vu_mem_region){
			.guest_phys_addr = BIT(40) + i * PAGE,
			.userspace_addr = BIT(41) + i * PAGE,
			.memory_size = PAGE,
			.mmap_offset = i * PAGE,
		};
	}
	for (unsigned int i = 0; i < 4; i++)
		m.regions[VU_MEM_REGIONS - 1 - i] = vf_region(f, i);
	check_ret(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m, sizeof(m), fds,
			  VU_MEM_REGIONS),
		  0);
	vf_traffic(f, 0, 1);
}

/* ---- the dirty log ---- */

/* The reply repeats the request, or is zeros. */
static bool set_log(struct vufix *f, int fd, uint64_t size, uint64_t offset)
{
	struct vu_log l = { size, offset }, none = { 0 };
	bool done;
	struct vu_msg m;

	vf_send(f, VHOST_USER_SET_LOG_BASE, 0, &l, sizeof(l), &fd, 1);
	vf_reply(f, VHOST_USER_SET_LOG_BASE, &m);
	assert_int_equal(m.hdr.size, sizeof(l));
	done = m.payload.log.mmap_size != 0;
	assert_memory_equal(&m.payload.log, done ? &l : &none, sizeof(l));
	return done;
}

static bool is_dirty(const uint8_t *log, uint64_t gpa)
{
	const uint8_t *p = &log[gpa / 4096 / 8];

	return __atomic_load_n(p, __ATOMIC_RELAXED) >> (gpa / 4096 % 8) & 1;
}

#define LOG_SIZE ((GPA_RINGS + RINGS_SIZE) / 4096 / 8)
#define LOG_OFF 100

static void written_pages_are_logged(void **state)
{
	struct vufix *f = *state;
	int fd = check_ok(memfd_create("log", MFD_CLOEXEC));
	uint8_t *log, buf[72];

	check_ret(ftruncate(fd, LOG_OFF + LOG_SIZE), 0);
	log = mmap(NULL, LOG_OFF + LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		   fd, 0);
	assert_ptr_not_equal(log, MAP_FAILED);
	vf_start(f, 0, 1);
	vf_hello(f, PF(LOG_SHMFD));
	vf_traffic(f, 0, 1);
	assert_false(set_log(f, fd, LOG_SIZE - 1, 0));
	assert_false(set_log(f, fd, LOG_SIZE + 1, LOG_OFF));
	assert_true(set_log(f, fd, LOG_SIZE, LOG_OFF));
	vf_features(f, V1 | LOG_ALL);
	check_ret(vf_addr(f, 0, BIT(VHOST_VRING_F_LOG)), 0);
	check_ret(vf_addr(f, 1, BIT(VHOST_VRING_F_LOG)), 0);
	vf_traffic(f, 0, 2);
	vf_sync(f);
	assert_true(is_dirty(log + LOG_OFF, GPA_RINGS + 512)); /* used rings */
	assert_true(is_dirty(log + LOG_OFF, GPA_A + 2048));    /* the buffer */
	assert_false(is_dirty(log + LOG_OFF, GPA_C));

	/* a region where the log is now: it moves on, and loses nothing */
	for (unsigned int i = 0; i < 3; i++) {
		struct vu_mem_region r = { .guest_phys_addr = 0x60000000,
					   .memory_size = 16 * PAGE };

		r.userspace_addr = aspace_limit() - r.memory_size;
		vf_hello(f, PF(LOG_SHMFD) | PF(CONFIGURE_MEM_SLOTS));
		check_ret(one_region(f, VHOST_USER_ADD_MEM_REG, r,
				     f->arena.memfd),
			  0);
		memset(log, 0, LOG_OFF + LOG_SIZE);
		vf_traffic(f, 0, 3);
		vf_sync(f);
		assert_true(is_dirty(log + LOG_OFF, GPA_RINGS + 512));
		/* and the region is what it says */
		memset(f->arena.base + 8 * PAGE, 0x77, sizeof(buf));
		drv_offer(&f->q[1], f->q[1].next % 16,
			  r.guest_phys_addr + 8 * PAGE, sizeof(buf), 0);
		vf_kick(f, 1);
		assert_true(vf_wait(f->wire[0], VUFIX_MS));
		check_ret(recv(f->wire[0], buf, sizeof(buf), 0), sizeof(buf));
		assert_int_equal(buf[60], 0x77);
		assert_true(vf_used(f, 1, f->q[1].next));
		check_ret(one_region(f, VHOST_USER_REM_MEM_REG, r, -1), 0);
	}

	vf_features(f, V1);
	check_ret(vf_addr(f, 0, 0), 0);
	check_ret(vf_addr(f, 1, 0), 0);
	memset(log, 0, LOG_OFF + LOG_SIZE);
	vf_traffic(f, 0, 4);
	vf_sync(f);
	for (unsigned int i = 0; i < LOG_OFF + LOG_SIZE; i++)
		assert_int_equal(log[i], 0);
	munmap(log, LOG_OFF + LOG_SIZE);
	close(fd);
}

/* rust-vmm sends its own address, QEMU the same message without a descriptor;
 * neither waits for a reply. */
static void a_log_that_cannot_be_reached_is_no_end(void **state)
{
	struct vufix *f = *state;
	struct vu_log l = { LOG_SIZE, 0 };
	uint64_t address = 0x7f0000000000;
	struct vu_msg m;

	for (unsigned int i = 0; i < 2; i++) {
		vf_hello(f, i ? PF(LOG_SHMFD) : 0);
		vf_send(f, VHOST_USER_SET_LOG_BASE, 0, &address,
			sizeof(address), NULL, 0);
		vf_sync(f);
		assert_int_not_equal(
			vf_call_u64(f, VHOST_USER_SET_LOG_BASE, address), 0);
		vf_send(f, VHOST_USER_SET_LOG_BASE, 0, &l, sizeof(l), NULL, 0);
		if (!i) {
			vf_sync(f);
			continue;
		}
		/* with LOG_SHMFD QEMU waits, descriptor or not */
		vf_reply(f, VHOST_USER_SET_LOG_BASE, &m);
		assert_int_equal(m.hdr.size, sizeof(l));
		assert_int_equal(m.payload.log.mmap_size, 0);
	}
}

static void the_log_descriptor_is_signalled(void **state)
{
	struct vufix *f = *state;
	int fd = check_ok(memfd_create("log", MFD_CLOEXEC)),
	    event = event_new();

	check_ret(ftruncate(fd, LOG_SIZE), 0);
	/* what it is shows with the first ring */
	vf_call(f, VHOST_USER_SET_LOG_FD, NULL, 0, &fd, 1);
	vf_start(f, 0, 1);
	vf_hello(f, PF(LOG_SHMFD));
	assert_true(set_log(f, fd, LOG_SIZE, 0));
	assert_int_equal(vf_call(f, VHOST_USER_SET_LOG_FD, NULL, 0, &fd, 1),
			 EINVAL);
	check_ret(vf_call(f, VHOST_USER_SET_LOG_FD, NULL, 0, &event, 1), 0);
	vf_features(f, V1 | LOG_ALL);
	assert_true(vf_rx(f, 0, 2));
	assert_true(vf_wait(event, VUFIX_MS));
	close(event);
	close(fd);
}

/* ---- announcing, MTU, configuration, status ---- */

static void a_rarp_announces_the_guest(void **state)
{
	static const uint8_t mac[8] = { 2, 0, 0, 0, 0, 7 };
	struct vufix *f = *state;
	uint8_t p[200];

	vf_start(f, 0, 1);
	vf_hello(f, PF(RARP));
	check_ret(vf_call(f, VHOST_USER_SEND_RARP, mac, 8, NULL, 0), 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(recv(f->wire[0], p, sizeof(p), 0), 12 + ETH_ZLEN);
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(p[i], 0);
	assert_memory_equal(p + 12, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(p + 18, mac, 6);
	assert_memory_equal(p + 24, "\x80\x35\0\1\x08\0\6\4\0\3", 10);
	assert_memory_equal(p + 34, mac, 6);
	assert_memory_equal(p + 44, mac, 6);
}

static void a_rarp_needs_a_port(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, PF(RARP));
	assert_int_equal(vf_call_u64(f, VHOST_USER_SEND_RARP, 1), ENOTCONN);
}

static uint32_t get_config(struct vufix *f, uint32_t offset, uint32_t size,
			   uint8_t *out)
{
	struct vu_config c = { .offset = offset, .size = size };
	struct vu_msg m;

	vf_send(f, VHOST_USER_GET_CONFIG, 0, &c, VU_CONFIG_HDR + size, NULL, 0);
	vf_reply(f, VHOST_USER_GET_CONFIG, &m);
	if (m.hdr.size)
		memcpy(out, m.payload.config.region, size);
	return m.hdr.size;
}

static uint64_t set_config(struct vufix *f, uint32_t offset, const void *bytes,
			   uint32_t size, uint32_t flags)
{
	struct vu_config c = { offset, size, flags, { 0 } };

	memcpy(c.region, bytes, size);
	return vf_call(f, VHOST_USER_SET_CONFIG, &c, VU_CONFIG_HDR + size, NULL,
		       0);
}

static void the_configuration_can_be_read(void **state)
{
	struct vufix *f = *state;
	struct virtio_net_config c;
	uint8_t all[VU_CONFIG_MAX];

	vf_hello(f, PF(CONFIG));
	assert_int_equal(get_config(f, 0, sizeof(c), (uint8_t *)&c),
			 VU_CONFIG_HDR + sizeof(c));
	assert_memory_equal(c.mac, f->config.mac, 6);
	assert_int_equal(le16toh(c.max_virtqueue_pairs), 2);
	assert_int_equal(le16toh(c.status), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(get_config(f, 0, VU_CONFIG_MAX, all),
			 VU_CONFIG_HDR + VU_CONFIG_MAX);
	assert_memory_equal(all, &c, sizeof(c));
	assert_int_equal(get_config(f, 1, 5, all), VU_CONFIG_HDR + 5);
	assert_memory_equal(all, f->config.mac + 1, 5);
	/* no payload: an error */
	assert_int_equal(get_config(f, 1, VU_CONFIG_MAX, all), 0);
	assert_int_equal(get_config(f, 0xffffffff, 2, all), 0);
}

static void the_configuration_is_mostly_not_the_drivers(void **state)
{
	static const uint8_t mac[6] = { 2, 1, 1, 1, 1, 1 };
	struct vufix *f = *state;
	uint8_t got[6];

	vf_hello(f, PF(CONFIG));
	check_ret(set_config(f, 0, mac, 6, 0), 0); /* a legacy driver may */
	get_config(f, 0, 6, got);
	assert_memory_equal(got, mac, 6);
	assert_int_equal(set_config(f, 6, "\0\0", 2, 0), EPERM);
	vf_features(f, V1);
	assert_int_equal(set_config(f, 0, mac, 6, 0), EPERM);
	check_ret(set_config(f, 0, f->config.mac, 6, VU_CONFIG_F_MIGRATION), 0);
	check_ret(set_config(f, 0, mac, 6, 2), 0); /* rust-vmm's bit */
	get_config(f, 0, 6, got);
	assert_memory_equal(got, mac, 6);
	check_ret(set_config(f, 0, f->config.mac, 6, 2), 0);
	assert_int_equal(set_config(f, 0, mac, 6, 3), EINVAL);
	assert_int_equal(set_config(f, 255, mac, 2, 0), EINVAL);
	get_config(f, 0, 6, got);
	assert_memory_equal(got, f->config.mac, 6);
}

static void the_range_of_an_mtu_is_checked(void **state)
{
	struct vufix *f = *state;
	uint8_t mtu[2];

	vf_hello(f, PF(MTU) | PF(CONFIG));
	check_ret(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 9000), 0);
	assert_int_equal(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 67), EINVAL);
	assert_int_equal(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 65536), EINVAL);
	get_config(f, offsetof(struct virtio_net_config, mtu), 2, mtu);
	assert_int_equal(mtu[0] | mtu[1] << 8, 9000);
}

static void check_reset(struct vufix *f)
{
	vf_offer_tx(f, 0, 2);
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	assert_int_equal(drv_used_idx(&f->q[1]), 1);
	/* and from the beginning, on the same memory and with the same calls */
	vf_features(f, V1);
	for (unsigned int i = 0; i < 2; i++) {
		drv_init(&f->q[i], &f->arena, i * 0x10000, 16, false);
		check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, i, 16), 0);
		check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, i, 0), 0);
		check_ret(vf_addr(f, i, 0), 0);
		check_ret(
			vf_call_fd(f, VHOST_USER_SET_VRING_KICK, i, f->kick[i]),
			0);
	}
	vf_enable(f, 0, true);
	vf_traffic(f, 0, 3);
}

static void a_reset_device_can_be_used_again(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_hello(f, PF(RESET_DEVICE));
	vf_traffic(f, 0, 1);
	check_ret(vf_call(f, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	check_reset(f);
}

static void status_0_is_a_reset(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_hello(f, PF(STATUS));
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 15), 0);
	vf_traffic(f, 0, 1);
	assert_int_equal(vf_get(f, VHOST_USER_GET_STATUS), 15);
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 0), 0);
	assert_int_equal(vf_get(f, VHOST_USER_GET_STATUS), 0);
	assert_int_equal(vf_call_u64(f, VHOST_USER_SET_STATUS, 256), EINVAL);
	check_ret(vf_call_u64(f, VHOST_USER_SET_STATUS, 0), 0);
	/* QEMU asks only now where the rings were, and migrates that */
	assert_int_equal(vf_get_base(f, 0), 1);
	assert_int_equal(vf_get_base(f, 1), 1);
	check_reset(f);
	assert_int_equal(vf_get_base(f, 1), 1);
}

/* ---- notifications ---- */

static void without_kicks_the_ring_is_polled(void **state)
{
	struct vufix *f = *state;
	uint8_t buf[100];

	vf_start(f, 0, 1);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, -1), 0);
	for (unsigned int i = 0; i < 5; i++) {
		drv_offer(&f->q[1], (uint16_t)i, GPA_A, 72, 0);
		assert_true(vf_wait(f->wire[0], VUFIX_MS));
		check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
	}
	/* and without calls it is not signalled */
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_CALL, 1, -1), 0);
	event_take(f->call[1]);
	drv_offer(&f->q[1], 5, GPA_A, 72, 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	vf_sync(f);
	assert_false(vf_wait(f->call[1], 0));
	/* a descriptor ends it */
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
}

/* The frontend's end of the channel. */
static void in_band(struct vufix *f, struct vu_endpoint *ch)
{
	vf_hello(f, PF(INBAND_NOTIFICATIONS) | PF(BACKEND_REQ));
	*ch = vf_channel(f);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	drv_init(&f->q[1], &f->arena, 0x10000, 16, false);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, 1, 16), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, 1, 0), 0);
	check_ret(vf_addr(f, 1, 0), 0);
	vf_enable(f, 0, true);
}

static void kicks_and_calls_may_be_messages(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	uint8_t buf[100];

	in_band(f, &ch);
	for (unsigned int i = 0; i < 5; i++) {
		drv_offer(&f->q[1], (uint16_t)i, GPA_A, 72, 0);
		check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
		assert_true(vf_wait(f->wire[0], VUFIX_MS));
		check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
		vf_request(&ch, VHOST_USER_BACKEND_VRING_CALL, 1);
		vf_confirm(&ch, VHOST_USER_BACKEND_VRING_CALL);
	}
	assert_int_equal(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 1), EINVAL);
	drv_offer(&f->q[1], 5, 0xdead0000, 72, 0);
	check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
	vf_request(&ch, VHOST_USER_BACKEND_VRING_ERR, 1);
	vu_endpoint_close(&ch);
	vf_sync(f);
}

/* However much happens, one unanswered message is all there is. */
static void calls_wait_for_the_frontend(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	uint8_t buf[100];
	struct vu_msg m;

	in_band(f, &ch);
	for (unsigned int i = 0; i < 10; i++) {
		drv_offer(&f->q[1], (uint16_t)i, GPA_A, 72, 0);
		check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
		assert_true(vf_wait(f->wire[0], VUFIX_MS));
		check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
		/* A worker that is slow would call once for several frames. */
		if (i == 0)
			vf_request(&ch, VHOST_USER_BACKEND_VRING_CALL, 1);
	}
	/* By the worker, once it has made the last frame's call. */
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_ERR, 1, -1), 0);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	vf_confirm(&ch, VHOST_USER_BACKEND_VRING_CALL);
	vf_request(&ch, VHOST_USER_BACKEND_VRING_CALL, 1);
	vf_confirm(&ch, VHOST_USER_BACKEND_VRING_CALL);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	vu_endpoint_close(&ch);
}

static void a_channel_that_is_stuck_ends_the_session(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	int fds[2];

	in_band(f, &ch);
	vu_endpoint_close(&ch);
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	check_ret(
		vf_call(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1),
		0);
	while (send(fds[1], "", 1, MSG_DONTWAIT) == 1)
		continue; /* in the session's place */
	drv_offer(&f->q[1], 0, GPA_A, 72, 0);
	check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
	assert_true(vufix_wait_closed(f));
	close(fds[0]);
	close(fds[1]);
}

static void in_band_needs_what_it_needs(void **state)
{
	struct vufix *f = *state;

	vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
		    PF(INBAND_NOTIFICATIONS) | PF(REPLY_ACK));
	assert_true(vufix_wait_closed(f));
}

static void only_a_stream_socket_is_a_channel(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, PF(BACKEND_REQ));
	assert_int_equal(vf_call(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0,
				 &f->kick[0], 1),
			 ENOTSOCK);
}

/* ---- IOTLB ---- */

#define IOVA BIT(36) /* where the driver sees GPA_A; rings at IOVA_RINGS */
#define IOVA_RINGS BIT(37)

/* Answers one question, as QEMU does; false if there is none */
static bool answer_miss(struct vufix *f, struct vu_endpoint *ch, int timeout_ms)
{
	struct vhost_iotlb_msg t = { .type = VHOST_IOTLB_UPDATE,
				     .perm = VHOST_ACCESS_RW,
				     .size = PAGE };
	struct vu_msg m;

	if (vu_recv_wait(ch, &m, timeout_ms) < 0)
		return false;
	assert_int_equal(m.hdr.request, VHOST_USER_BACKEND_IOTLB_MSG);
	assert_int_equal(m.payload.iotlb.type, VHOST_IOTLB_MISS);
	t.iova = m.payload.iotlb.iova & ~(uint64_t)(PAGE - 1);
	if (t.iova >= IOVA_RINGS)
		t.uaddr = t.iova - IOVA_RINGS + arena_uva(&f->arena, 0);
	else
		t.uaddr = t.iova - IOVA + arena_uva(&f->arena, RAM_A_OFF);
	assert_int_equal(
		vf_call(f, VHOST_USER_IOTLB_MSG, &t, sizeof(t), NULL, 0), 0);
	return true;
}

static void iotlb_ring(struct vufix *f, unsigned int i)
{
	struct vhost_vring_addr addr;
	uint64_t base = arena_uva(&f->arena, 0);

	drv_init(&f->q[i], &f->arena, i * 0x10000, 16, false);
	addr = drv_addr(&f->q[i], i);
	addr.desc_user_addr += IOVA_RINGS - base;
	addr.avail_user_addr += IOVA_RINGS - base;
	addr.used_user_addr += IOVA_RINGS - base;
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, i, 16), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, i, 0), 0);
	check_ret(vf_call(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr),
			  NULL, 0),
		  0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, i, f->kick[i]), 0);
}

/* Answers until a frame comes out of the port; how often. */
static unsigned int answer_until_sent(struct vufix *f, struct vu_endpoint *ch,
				      unsigned int pair)
{
	struct pollfd p[] = { { .fd = f->wire[pair], .events = POLLIN },
			      { .fd = ch->sock, .events = POLLIN } };

	for (unsigned int n = 0; n < 20; n++) {
		assert_true(poll(p, 2, VUFIX_MS) > 0);
		if (p[0].revents)
			return n;
		assert_true(answer_miss(f, ch, VUFIX_MS));
	}
	fail_msg("the ring asks again and again");
	return 0;
}

static void iotlb_send(struct vufix *f, struct vu_endpoint *ch,
		       unsigned int pair)
{
	uint8_t buf[100];

	drv_offer(&f->q[2 * pair + 1], 0, IOVA + 5 * PAGE, 72, 0);
	vf_kick(f, 2 * pair + 1);
	answer_until_sent(f, ch, pair);
	check_ret(recv(f->wire[pair], buf, sizeof(buf), 0), 72);
}

static void misses_are_asked_and_answered(void **state)
{
	struct vhost_iotlb_msg gone = { .iova = IOVA,
					.size = 16 * PAGE,
					.type = VHOST_IOTLB_INVALIDATE };
	struct vufix *f = *state;
	struct vu_endpoint ch;

	vf_hello(f, PF(BACKEND_REQ) | PF(MQ));
	vf_features(f, V1 | IOTLB);
	check_ret(vf_table(f), 0);
	vf_enable(f, 0, true);
	vf_enable(f, 1, true);
	for (unsigned int i = 0; i < 4; i++)
		iotlb_ring(f, i);
	/* the first questions waited for the channel */
	ch = vf_channel(f);
	iotlb_send(f, &ch, 0);
	iotlb_send(f, &ch, 1);
	/* what was invalidated is asked again */
	while (answer_miss(f, &ch, SHORT_MS))
		;
	check_ret(
		vf_call(f, VHOST_USER_IOTLB_MSG, &gone, sizeof(gone), NULL, 0),
		0);
	drv_offer(&f->q[1], 1, IOVA + 5 * PAGE, 72, 0);
	vf_kick(f, 1);
	assert_true(answer_until_sent(f, &ch, 0) > 0);
	gone.type = VHOST_IOTLB_MISS;
	assert_int_not_equal(
		vf_call(f, VHOST_USER_IOTLB_MSG, &gone, sizeof(gone), NULL, 0),
		0);
	vu_endpoint_close(&ch);
}

/* Each kick asks again, and the frontend does not even read. */
static void misses_that_are_not_read_do_not_pile_up(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	unsigned int waiting = 0;
	struct vu_msg m;

	vf_hello(f, PF(BACKEND_REQ));
	vf_features(f, V1 | IOTLB);
	check_ret(vf_table(f), 0);
	vf_enable(f, 0, true);
	ch = vf_channel(f);
	iotlb_ring(f, 1);
	while (!vf_wait(f->wire[0], 0) && answer_miss(f, &ch, SHORT_MS))
		;
	drv_offer(&f->q[1], 0, IOVA + 5 * PAGE, 72, 0);
	for (unsigned int i = 0; i < 3000; i++) {
		vf_kick(f, 1);
		/* goes through the ring's thread, like the kick */
		check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_ERR, 1, -1), 0);
	}
	while (vu_recv_wait(&ch, &m, SHORT_MS) == 0) {
		assert_int_equal(m.hdr.request, VHOST_USER_BACKEND_IOTLB_MSG);
		waiting++;
	}
	assert_in_range(waiting, 2, 1000);
	/* The last one is asked for as soon as it may be. */
	vf_kick(f, 1);
	answer_until_sent(f, &ch, 0);
	vu_endpoint_close(&ch);
}

/* ---- migration ---- */

/* Into postcopy, with a table whose pages are not there: the userfaultfd. */
static int go_postcopy(struct vufix *f, struct vu_memory *told)
{
	struct vu_memory m = { .nregions = 4 };
	int fds[4], uffd;
	struct vu_msg r;

	if (!(vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES) & PF(PAGEFAULT)))
		skip_because("the host does not let us have a userfaultfd");
	vf_hello(f, PF(PAGEFAULT));
	vf_features(f, V1);
	vf_send(f, VHOST_USER_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
	vf_reply(f, VHOST_USER_POSTCOPY_ADVISE, &r);
	assert_int_equal(r.hdr.size, 0);
	assert_int_equal(r.nfds, 1);
	uffd = vu_msg_take_fd(&r, 0);
	check_ret(vf_call(f, VHOST_USER_POSTCOPY_LISTEN, NULL, 0, NULL, 0), 0);
	for (unsigned int i = 0; i < 4; i++) {
		m.regions[i] = vf_region(f, i);
		fds[i] = f->arena.memfd;
	}
	vf_send(f, VHOST_USER_SET_MEM_TABLE, 0, &m,
		offsetof(struct vu_memory, regions[4]), fds, 4);
	vf_reply(f, VHOST_USER_SET_MEM_TABLE, &r);
	assert_int_equal(r.hdr.size, offsetof(struct vu_memory, regions[4]));
	*told = r.payload.memory;
	assert_int_equal(told->nregions, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(told->regions[i].guest_phys_addr,
				 m.regions[i].guest_phys_addr);
	return uffd;
}

static int setup_postcopy(void **state)
{
	struct vufix *f = vufix_open(1);

	vufix_hang_up(f);
	f->config.postcopy = true;
	vu_userfault_open(&f->config.userfault);
	vufix_connect(f);
	*state = f;
	return 0;
}

static int teardown_postcopy(void **state)
{
	struct vufix *f = *state;
	int fd = f->config.userfault;

	vufix_close(f);
	if (fd >= 0)
		close(fd);
	return 0;
}

static void expect_no_postcopy(struct vufix *f)
{
	struct vu_msg r;

	vf_send(f, VHOST_USER_POSTCOPY_ADVISE, 0, NULL, 0, NULL, 0);
	vf_reply(f, VHOST_USER_POSTCOPY_ADVISE, &r);
	assert_int_equal(r.nfds, 0);
	assert_int_not_equal(
		vf_call(f, VHOST_USER_POSTCOPY_LISTEN, NULL, 0, NULL, 0), 0);
	assert_int_not_equal(vf_get(f, VHOST_USER_POSTCOPY_END), 0);
}

/* The userfaultfd would be one on all of the process. */
static void postcopy_is_refused_unless_it_is_configured(void **state)
{
	struct vufix *f = *state;
	uint64_t offered = vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES);

	assert_false(offered & PF(PAGEFAULT));
	assert_true(offered & PF(CONFIGURE_MEM_SLOTS));
	vf_hello(f, 0);
	assert_int_equal(vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
				     PF(PAGEFAULT) | PF(REPLY_ACK)),
			 EOPNOTSUPP);
	expect_no_postcopy(f);
}

static void postcopy_and_memory_slots_exclude_each_other(void **state)
{
	struct vufix *f = *state;
	uint64_t offered = vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES);

	if (!(offered & PF(PAGEFAULT)))
		skip_because("the host does not let us have a userfaultfd");
	assert_false(offered & PF(CONFIGURE_MEM_SLOTS));
	vf_hello(f, 0);
	assert_int_equal(vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
				     PF(CONFIGURE_MEM_SLOTS) | PF(PAGEFAULT) |
					     PF(REPLY_ACK)),
			 EOPNOTSUPP);
	expect_no_postcopy(f);
}

/* The hole in the file: the last page of a buffer that the guest sends. */
static void lose_page(struct vufix *f)
{
	memset(f->arena.base, 0, RINGS_SIZE); /* rings have arrived */
	check_ret(fallocate(f->arena.memfd,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    RAM_C_OFF, PAGE),
		  0);
}

static void postcopy_rings(struct vufix *f)
{
	vf_call_u64(f, VHOST_USER_SET_MEM_TABLE, 0); /* the go-ahead */
	vf_ring(f, 1, 16);
	vf_enable(f, 0, true);
	drv_offer(&f->q[1], 0, GPA_C, 72, 0);
	vf_kick(f, 1);
}

/* A worker waits for that page; the userfaultfd. */
static int stick_worker(struct vufix *f, struct vu_memory *told)
{
	int uffd = go_postcopy(f, told);

	lose_page(f);
	postcopy_rings(f);
	assert_true(vf_wait(uffd, VUFIX_MS));
	return uffd;
}

static void memory_may_come_later(void **state)
{
	static uint8_t page[PAGE] __attribute__((aligned(4096)));
	struct vufix *f = *state;
	struct uffdio_copy copy = { .src = (uintptr_t)page, .len = PAGE };
	struct vu_memory told;
	struct uffd_msg msg;
	uint8_t buf[100];
	int uffd = stick_worker(f, &told);

	/* The sockport sends from there: its system call faults. */
	check_ret(read(uffd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
	assert_int_equal(msg.arg.pagefault.address & ~(uint64_t)(PAGE - 1),
			 told.regions[2].userspace_addr);
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	memset(page, 0x5a, sizeof(page));
	copy.dst = told.regions[2].userspace_addr;
	check_ret(ioctl(uffd, UFFDIO_COPY, &copy), 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
	assert_int_equal(buf[71], 0x5a);
	assert_int_equal(vf_get(f, VHOST_USER_POSTCOPY_END), 0);
	close(uffd);
	drv_offer(&f->q[1], 1, GPA_C + PAGE, 72, 0);
	vf_kick(f, 1);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
}

static void
a_frontend_that_exits_in_postcopy_leaves_no_thread_waiting(void **state)
{
	struct vufix *f = *state;
	struct vu_memory told;
	int uffd = stick_worker(f, &told);

	vufix_hang_up(f); /* a worker sits in the fault */
	close(uffd);
}

/* What needs no worker is answered, and the end of postcopy lets it go. */
static void a_worker_in_a_fault_holds_up_no_other_call(void **state)
{
	struct vufix *f = *state;
	struct vu_memory told;
	int uffd = stick_worker(f, &told);
	uint8_t buf[100];

	for (unsigned int i = 0; i < 10; i++) {
		assert_true(vf_get(f, VHOST_USER_GET_FEATURES) & V1);
		vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES);
	}
	assert_false(vf_wait(f->wire[0], 0));
	assert_int_equal(vf_get(f, VHOST_USER_POSTCOPY_END), 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS)); /* what the file has */
	check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
	close(uffd);
}

/* The control thread waits for the worker, which waits for the frontend. */
static void a_frontend_that_goes_during_a_call_frees_both_threads(void **state)
{
	struct vhost_vring_state s = { 1, 0 };
	struct vufix *f = *state;
	struct vu_memory told;
	int uffd = stick_worker(f, &told);

	vf_send(f, VHOST_USER_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);
	assert_false(vf_wait(f->fe.sock, SHORT_MS));
	vufix_hang_up(f);
	close(uffd);
}

static uint64_t set_state_fd(struct vufix *f, uint32_t direction, int fd)
{
	struct vu_device_state d = { .direction = direction };
	struct vu_msg m;

	vf_send(f, VHOST_USER_SET_DEVICE_STATE_FD, 0, &d, sizeof(d), &fd, 1);
	vf_reply(f, VHOST_USER_SET_DEVICE_STATE_FD, &m);
	assert_int_equal(m.nfds, 0);
	close(fd);
	return m.payload.u64;
}

static void the_state_of_the_device_can_be_saved_and_loaded(void **state)
{
	struct vufix *f = *state;
	uint8_t blob[100];
	struct vu_msg m;
	int fds[2];
	ssize_t n;

	vf_hello(f, PF(DEVICE_STATE) | PF(MTU));
	vf_features(f, V1);
	check_ret(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 1234), 0);
	check_ret(pipe(fds), 0);
	assert_int_equal(set_state_fd(f, 0, fds[1]), 0x100);
	n = check_ok(read(fds[0], blob, sizeof(blob)));
	assert_int_equal(read(fds[0], blob, 1), 0); /* the end */
	close(fds[0]);
	assert_int_equal(vf_get(f, VHOST_USER_CHECK_DEVICE_STATE), 0);

	/* byte by byte, and asked for before it has come */
	vufix_hang_up(f);
	vufix_connect(f);
	vf_hello(f, PF(DEVICE_STATE));
	check_ret(pipe(fds), 0);
	assert_int_equal(set_state_fd(f, 1, fds[0]), 0x100);
	vf_send(f, VHOST_USER_CHECK_DEVICE_STATE, 0, NULL, 0, NULL, 0);
	for (ssize_t i = 0; i < n; i++)
		check_ret(write(fds[1], &blob[i], 1), 1);
	check_ret(vu_recv_wait(&f->fe, &m, SHORT_MS), -ETIMEDOUT);
	close(fds[1]);
	vf_reply(f, VHOST_USER_CHECK_DEVICE_STATE, &m);
	assert_int_equal(m.payload.u64, 0);
}

static uint64_t load_bytes(struct vufix *f, const void *bytes, size_t len)
{
	int fds[2];

	check_ret(pipe(fds), 0);
	assert_int_equal(set_state_fd(f, 1, fds[0]) & 0x100, 0x100);
	check_ret(write(fds[1], bytes, len), len);
	close(fds[1]);
	return vf_get(f, VHOST_USER_CHECK_DEVICE_STATE);
}

static void a_state_that_does_not_fit_is_refused(void **state)
{
	struct vufix *f = *state;
	uint8_t blob[100] = { 0 };
	uint64_t bits = BIT(63);
	int fds[2];

	vf_hello(f, PF(DEVICE_STATE));
	assert_int_equal(vf_get(f, VHOST_USER_CHECK_DEVICE_STATE), ENOENT);
	check_ret(pipe(fds), 0);
	assert_int_equal(set_state_fd(f, 0, fds[1]), 0x100);
	check_ret(read(fds[0], blob, sizeof(blob)), 40);
	close(fds[0]);
	assert_int_equal(load_bytes(f, blob, 40), 0);
	assert_int_equal(load_bytes(f, blob, 39), EBADMSG);
	assert_int_equal(load_bytes(f, blob, 41), EBADMSG);
	assert_int_equal(load_bytes(f, blob, 100), EBADMSG);
	memcpy(blob + 16, &bits, 8);
	assert_int_equal(load_bytes(f, blob, 40), EOPNOTSUPP);
	blob[0]++;
	assert_int_equal(load_bytes(f, blob, 40), EBADMSG);
	/* not while rings run */
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	vf_ring(f, 0, 16);
	assert_int_equal(set_state_fd(f, 0, dup(f->wire[0])), EBUSY);
	/* no reader */
	vf_get_base(f, 0);
	check_ret(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(set_state_fd(f, 0, fds[1]), EPIPE);
}

static bool is_nonblocking(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static void the_flags_of_the_state_s_file_are_left_alone(void **state)
{
	struct vufix *f = *state;
	uint8_t blob[100];
	int fds[2], keep;

	vf_hello(f, PF(DEVICE_STATE));
	check_ret(pipe(fds), 0);
	keep = dup(fds[1]);
	assert_int_equal(set_state_fd(f, 0, fds[1]), 0x100);
	assert_false(is_nonblocking(keep));
	close(keep);
	check_ret(read(fds[0], blob, sizeof(blob)), 40);
	close(fds[0]);
	check_ret(pipe(fds), 0);
	keep = dup(fds[0]);
	assert_int_equal(set_state_fd(f, 1, fds[0]), 0x100);
	assert_false(is_nonblocking(keep));
	check_ret(write(fds[1], blob, 40), 40);
	close(fds[1]);
	assert_int_equal(vf_get(f, VHOST_USER_CHECK_DEVICE_STATE), 0);
	assert_false(is_nonblocking(keep));
	close(keep);
}

static void a_full_pipe_does_not_hold_up_the_session(void **state)
{
	struct vufix *f = *state;
	char junk[4096] = { 0 };
	int fds[2];

	vf_hello(f, PF(DEVICE_STATE));
	check_ret(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], junk, sizeof(junk)) > 0)
		continue;
	check_ret(fcntl(fds[1], F_SETFL, 0), 0);
	assert_int_equal(set_state_fd(f, 0, fds[1]), EAGAIN);
	assert_int_equal(vf_get(f, VHOST_USER_CHECK_DEVICE_STATE), EAGAIN);
	close(fds[0]);
}

static void a_state_is_transferred_through_pipes_and_sockets_only(void **state)
{
	struct vufix *f = *state;
	uint8_t blob[100];
	int fds[2];

	vf_hello(f, PF(DEVICE_STATE));
	/* a file on a FUSE mount could make any call wait */
	assert_int_equal(set_state_fd(f, 0, memfd_create("state", MFD_CLOEXEC)),
			 EINVAL);
	check_ret(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(set_state_fd(f, 0, fds[1]), 0x100);
	check_ret(read(fds[0], blob, sizeof(blob)), 40);
	close(fds[0]);
}

/* A TCP socket with bytes that are not read: close(2) waits for an hour. */
static int lingering_socket(int other[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger hour = { .l_onoff = 1, .l_linger = 3600 };
	socklen_t len = sizeof(a);
	static char junk[65536];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	other[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check_ret(bind(other[0], (struct sockaddr *)&a, sizeof(a)), 0);
	check_ret(listen(other[0], 1), 0);
	check_ret(getsockname(other[0], (struct sockaddr *)&a, &len), 0);
	check_ret(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	other[1] = check_ok(accept(other[0], NULL, NULL));
	while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		continue;
	check_ret(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hour, sizeof(hour)),
		  0);
	return fd;
}

/* The session ends when its peer goes, whatever its worker waits in. */
static void a_worker_that_waits_ends_with_its_peer(void **state)
{
	struct vufix *f = *state;
	int other[2], fd;
	uint64_t index = 0;
	struct vu_msg m;

	vf_hello(f, 0);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	vf_ring(f, 0, 16);
	fd = lingering_socket(other);
	/* in two pieces, so that the last to close it is the worker */
	vu_msg_init(&m, VHOST_USER_SET_VRING_CALL);
	m.hdr.size = sizeof(index);
	check_ret(fdmsg_send(f->fe.sock, &m.hdr, sizeof(m.hdr), &fd, 1, 0),
		  sizeof(m.hdr));
	close(fd);
	check_ret(send(f->fe.sock, &index, sizeof(index), MSG_NOSIGNAL),
		  sizeof(index));
	vufix_hang_up(f);
	close(other[0]);
	close(other[1]);
}

/* Addresses of rings were the frontend's own, and are the guest's now. */
static void addresses_of_another_kind_are_forgotten(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	struct vu_msg m;

	vf_hello(f, PF(BACKEND_REQ));
	ch = vf_channel(f);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	drv_init(&f->q[1], &f->arena, 0x10000, 16, false);
	check_ret(vf_addr(f, 1, 0), 0);
	vf_features(f, V1 | IOTLB);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	check_ret(vf_addr(f, 1, 0), 0);
	check_ret(vu_recv_wait(&ch, &m, VUFIX_MS), 0);
	assert_int_equal(m.payload.iotlb.iova & ~(uint64_t)(PAGE - 1),
			 (uintptr_t)f->q[1].used & ~(uint64_t)(PAGE - 1));
	vu_endpoint_close(&ch);
}

/* ---- the connection ---- */

static void a_frontend_can_come_back(void **state)
{
	struct vufix *f = *state;
	unsigned int fds, maps;

	vf_sync(f);
	fds = count_fds();
	maps = count_maps();
	for (unsigned int i = 0; i < 10; i++) {
		vf_start(f, 0, 2);
		vf_traffic(f, 0, (uint8_t)i);
		vf_traffic(f, 1, (uint8_t)i);
		vufix_hang_up(f);
		vufix_connect(f);
		vf_sync(f);
		assert_int_equal(count_fds(), fds);
		assert_int_equal(count_maps(), maps);
	}
}

static void the_daemon_can_end_a_session(void **state)
{
	struct vufix *f = *state;
	struct vu_msg m;

	vf_start(f, 0, 1);
	vu_session_print(f->s);
	vu_session_end(f->s);
	assert_true(vufix_wait_closed(f));
	check_ret(vu_recv_wait(&f->fe, &m, VUFIX_MS), -ECONNRESET);
}

static void every_feature_has_its_requests(void **state)
{
	uint64_t used = PF(REPLY_ACK) | PF(MQ) | PF(BACKEND_SEND_FD) |
			PF(GET_VRING_BASE_INFLIGHT) | PF(GPA_ADDRESSES);
	struct vufix *f = *state;

	for (uint32_t i = 0; i < VHOST_USER_REQUESTS; i++) {
		const struct vu_row *row = vu_row_find(i);

		if (row && row->feature != VU_NO_FEATURE &&
		    !(row->flags & VU_REFUSED))
			used |= BIT(row->feature);
	}
	assert_int_equal(used, vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES) |
				       PF(PAGEFAULT));
}

#define ONE(test) \
	cmocka_unit_test_setup_teardown(test, vufix_setup, vufix_teardown)
#define POSTCOPY(test) \
	cmocka_unit_test_setup_teardown(test, setup_postcopy, teardown_postcopy)
#define TWO(test) \
	cmocka_unit_test_setup_teardown(test, vufix_setup_two, vufix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE(packets_move_both_ways),
		TWO(queue_pairs_are_devices_of_their_own),
		TWO(a_pair_too_many_may_be_named_but_not_started),
		TWO(a_second_pair_may_come_late),
		ONE(it_goes_as_qemu_does_it),
		ONE(it_goes_as_dpdk_does_it),
		ONE(guest_addresses_may_be_the_frontends_own),
		ONE(without_protocol_features_rings_start_enabled),
		ONE(the_kick_may_come_before_the_addresses),
		ONE(any_layout_does_not_strip_headers),
		ONE(a_ring_goes_on_where_it_stopped),
		ONE(a_port_that_does_not_open_keeps_the_ring_from_starting),
		ONE(ports_are_opened_once),
		TWO(ports_know_which_rings_run),
		ONE(the_offload_is_what_the_guest_acked),
		ONE(features_that_were_not_offered_are_refused),
		ONE(configuration_is_offered_where_it_says_something),
		ONE(a_disabled_ring_drops_what_the_guest_sends),
		ONE(a_call_descriptor_that_comes_late_is_called),
		ONE(a_disabled_ring_gives_the_guest_nothing),
		ONE(reset_owner_disables),
		ONE(the_table_may_change_while_rings_run),
		ONE(memory_comes_and_goes_slot_by_slot),
		ONE(all_slots_can_be_used),
		ONE(a_peer_maps_so_much_and_no_more),
		ONE(regions_of_huge_pages_need_no_alignment),
		ONE(written_pages_are_logged),
		ONE(a_table_may_have_32_regions),
		ONE(a_log_that_cannot_be_reached_is_no_end),
		ONE(the_log_descriptor_is_signalled),
		ONE(a_rarp_announces_the_guest),
		ONE(a_rarp_needs_a_port),
		TWO(the_configuration_can_be_read),
		ONE(the_configuration_is_mostly_not_the_drivers),
		ONE(the_range_of_an_mtu_is_checked),
		ONE(a_reset_device_can_be_used_again),
		ONE(status_0_is_a_reset),
		ONE(without_kicks_the_ring_is_polled),
		ONE(kicks_and_calls_may_be_messages),
		ONE(calls_wait_for_the_frontend),
		ONE(a_channel_that_is_stuck_ends_the_session),
		ONE(in_band_needs_what_it_needs),
		ONE(only_a_stream_socket_is_a_channel),
		TWO(misses_are_asked_and_answered),
		ONE(misses_that_are_not_read_do_not_pile_up),
		TWO(a_frontend_can_come_back),
		ONE(the_daemon_can_end_a_session),
		ONE(addresses_of_another_kind_are_forgotten),
		ONE(a_stopped_ring_lets_go_of_its_kicks),
		ONE(postcopy_is_refused_unless_it_is_configured),
		POSTCOPY(postcopy_and_memory_slots_exclude_each_other),
		POSTCOPY(memory_may_come_later),
		POSTCOPY(
			a_frontend_that_exits_in_postcopy_leaves_no_thread_waiting),
		POSTCOPY(a_worker_in_a_fault_holds_up_no_other_call),
		POSTCOPY(a_frontend_that_goes_during_a_call_frees_both_threads),
		ONE(the_state_of_the_device_can_be_saved_and_loaded),
		ONE(a_state_that_does_not_fit_is_refused),
		ONE(the_flags_of_the_state_s_file_are_left_alone),
		ONE(a_full_pipe_does_not_hold_up_the_session),
		ONE(a_state_is_transferred_through_pipes_and_sockets_only),
		ONE(a_worker_that_waits_ends_with_its_peer),
		ONE(every_feature_has_its_requests),
	};

	log_set_level(LOG_LEVEL_ERROR);
	if (worker_interrupts_enable() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
