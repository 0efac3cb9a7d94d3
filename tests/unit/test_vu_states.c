/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vu_states.c tests ring states as vhost-user.rst has them (started,
 * stopped, enabled, disabled), a device that is suspended because no ring is
 * started, and guest addresses.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "vu_priv.h"
#include "vufix.h"

#define PF(name) BIT(VHOST_USER_PROTOCOL_F_##name)
#define V1 BIT(VIRTIO_F_VERSION_1)
#define LOG_ALL BIT(VHOST_F_LOG_ALL)
#define IOTLB BIT(VIRTIO_F_ACCESS_PLATFORM)
#define F_PROTOCOL BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define SHORT_MS 100 /* for what must not happen */

/* ---- started, enabled ---- */

/* A frame is there before the ring is set up, and no kick comes. */
static void offer_without_kick(struct vufix *f, uint8_t seed)
{
	int kick = f->kick[1], deaf = event_new();

	f->kick[1] = deaf;
	vf_offer_tx(f, 0, seed);
	f->kick[1] = kick;
	close(deaf);
}

static void setup_tx(struct vufix *f)
{
	drv_init(&f->q[1], &f->arena, 0x10000, 16, false);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, 1, 16), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, 1, 0), 0);
	check_ret(vf_addr(f, 1, 0), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_CALL, 1, f->call[1]), 0);
}

static void a_ring_starts_without_a_kick(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, 0);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	vf_enable(f, 0, true);
	setup_tx(f);
	offer_without_kick(f, 1);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	assert_true(vf_used(f, 1, 1));
}

/* The same for a disabled ring: its frames are used, and go nowhere. */
static void
a_started_ring_that_is_disabled_is_emptied_without_a_kick(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, 0);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	setup_tx(f);
	offer_without_kick(f, 1);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	assert_true(vf_used(f, 1, 1));
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	vf_enable(f, 0, true);
	assert_true(vf_tx(f, 0, 2));
}

/* And the state is kept while the ring is stopped. */
static void a_stopped_ring_remembers_whether_it_is_enabled(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	assert_true(vf_tx(f, 0, 1));
	assert_int_equal(vf_get_base(f, 1), 1);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 0), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, 1, 1), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	vf_offer_tx(f, 0, 2);
	assert_true(vf_used(f, 1, 2));
	assert_false(vf_wait(f->wire[0], SHORT_MS));
	assert_int_equal(vf_get_base(f, 1), 2);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 1), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	assert_true(vf_tx(f, 0, 3));
}

static void rings_are_disabled_until_there_are_features(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, 0);
	check_ret(vf_table(f), 0);
	setup_tx(f);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	vf_offer_tx(f, 0, 1);
	assert_true(vf_used(f, 1, 1));
	assert_false(vf_wait(f->wire[0], SHORT_MS));
}

/* Of running rings, and of those that come later. */
static void features_without_protocol_features_enable_all_rings(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, PF(MQ));
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	vf_ring(f, 0, 16);
	vf_ring(f, 1, 16);
	check_ret(vf_call_u64(f, VHOST_USER_SET_FEATURES, V1), 0);
	vf_traffic(f, 0, 1);
	/* it is what the message does, not what the feature is now */
	vf_features(f, V1);
	vf_traffic(f, 0, 2);
	vf_ring(f, 2, 16);
	vf_ring(f, 3, 16);
	vf_traffic(f, 1, 3);
	vf_enable(f, 0, false);
	vf_offer_tx(f, 0, 4);
	assert_true(vf_used(f, 1, 3));
	assert_false(vf_wait(f->wire[0], SHORT_MS));
}

/* vhost-user.rst: "reserved and must be set to 0". DPDK sends what was on the
 * stack. */
static void a_base_is_given_whatever_num_is(void **state)
{
	struct vhost_vring_state s = { 1, 0xdeadbeef };
	struct vufix *f = *state;
	struct vu_msg m;

	vf_start(f, 0, 1);
	assert_true(vf_tx(f, 0, 1));
	vf_send(f, VHOST_USER_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);
	vf_reply(f, VHOST_USER_GET_VRING_BASE, &m);
	assert_int_equal(m.payload.state.index, 1);
	assert_int_equal(m.payload.state.num, 1);
}

/* ---- suspended ---- */

static void a_suspended_device_tells_of_its_configuration_later(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	struct vu_msg m;

	vf_hello(f, PF(CONFIG) | PF(MTU) | PF(BACKEND_REQ));
	ch = vf_channel(f);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	check_ret(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 1400), 0);
	check_ret(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 1401), 0);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	vf_ring(f, 1, 16);
	vf_request(&ch, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	vf_confirm(&ch, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	/* with a ring that is started it comes at once */
	check_ret(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 1402), 0);
	vf_request(&ch, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	vf_confirm(&ch, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	vf_get_base(f, 1);
	check_ret(vf_call_u64(f, VHOST_USER_NET_SET_MTU, 1403), 0);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	vf_request(&ch, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	vu_endpoint_close(&ch);
}

/* A TX ring that is kicked and calls by messages; one frame is sent. */
static struct vu_endpoint in_band(struct vufix *f)
{
	struct vu_endpoint ch;

	vf_hello(f, PF(INBAND_NOTIFICATIONS) | PF(BACKEND_REQ));
	ch = vf_channel(f);
	vf_features(f, V1);
	check_ret(vf_table(f), 0);
	drv_init(&f->q[1], &f->arena, 0x10000, 16, false);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, 1, 16), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, 1, 0), 0);
	check_ret(vf_addr(f, 1, 0), 0);
	vf_enable(f, 0, true);
	return ch;
}

/* Offers frame @i in-band; returns when it has been sent and its call is due,
 * but for the call itself. */
static void send_in_band(struct vufix *f, unsigned int i)
{
	uint8_t buf[100];

	drv_offer(&f->q[1], (uint16_t)i, GPA_A, 72, 0);
	check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
}

static void a_call_of_the_last_batch_comes_before_the_reply(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch = in_band(f);
	struct vu_msg m;

	send_in_band(f, 0);
	assert_int_equal(vf_get_base(f, 1), 1);
	check_ret(vu_recv(&ch, &m), 0);
	assert_int_equal(m.hdr.request, VHOST_USER_BACKEND_VRING_CALL);
	vu_endpoint_close(&ch);
}

/* The frontend has yet to confirm one when the ring stops. */
static void a_suspended_device_makes_no_calls(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch = in_band(f);
	struct vu_msg m;

	send_in_band(f, 0);
	vf_request(&ch, VHOST_USER_BACKEND_VRING_CALL, 1);
	send_in_band(f, 1);
	assert_int_equal(vf_get_base(f, 1), 2);
	vf_confirm(&ch, VHOST_USER_BACKEND_VRING_CALL);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	/* it is not lost either */
	check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
	vf_request(&ch, VHOST_USER_BACKEND_VRING_CALL, 1);
	vu_endpoint_close(&ch);
}

static void a_reset_device_has_no_calls_left(void **state)
{
	struct vufix *f = *state;
	struct vu_endpoint ch;
	struct vu_msg m;

	vf_hello(f,
		 PF(RESET_DEVICE) | PF(INBAND_NOTIFICATIONS) | PF(BACKEND_REQ));
	ch = in_band(f);
	vf_hello(f,
		 PF(RESET_DEVICE) | PF(INBAND_NOTIFICATIONS) | PF(BACKEND_REQ));
	send_in_band(f, 0);
	vf_request(&ch, VHOST_USER_BACKEND_VRING_CALL, 1);
	send_in_band(f, 1);
	check_ret(vf_call(f, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	vf_confirm(&ch, VHOST_USER_BACKEND_VRING_CALL);
	vf_features(f, V1);
	check_ret(vf_call_state(f, VHOST_USER_VRING_KICK, 1, 0), 0);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	vu_endpoint_close(&ch);
}

/* A ring is started when it waits for its addresses or for a translation too.
 */
static void a_state_is_moved_in_a_suspended_device_only(void **state)
{
	struct vu_device_state d = { 0, 0 };
	struct vufix *f = *state;
	struct vu_msg m;
	int fds[2];

	vf_hello(f, PF(DEVICE_STATE));
	vf_features(f, V1 | IOTLB);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	check_ret(pipe(fds), 0);
	vf_send(f, VHOST_USER_SET_DEVICE_STATE_FD, 0, &d, sizeof(d), &fds[1],
		1);
	vf_reply(f, VHOST_USER_SET_DEVICE_STATE_FD, &m);
	assert_int_equal(m.payload.u64, EBUSY);
	vf_get_base(f, 1);
	vf_send(f, VHOST_USER_SET_DEVICE_STATE_FD, 0, &d, sizeof(d), &fds[1],
		1);
	vf_reply(f, VHOST_USER_SET_DEVICE_STATE_FD, &m);
	assert_int_equal(m.payload.u64, 0x100);
	close(fds[0]);
	close(fds[1]);
}

#define LOG_SIZE ((GPA_RINGS + RINGS_SIZE) / 4096 / 8)

/* A log in @fd, in force. */
static void start_log(struct vufix *f, int fd)
{
	struct vu_log l = { .mmap_size = LOG_SIZE };
	struct vu_msg m;

	check_ret(ftruncate(fd, LOG_SIZE), 0);
	vf_send(f, VHOST_USER_SET_LOG_BASE, 0, &l, sizeof(l), &fd, 1);
	vf_reply(f, VHOST_USER_SET_LOG_BASE, &m);
	vf_features(f, V1 | LOG_ALL);
	for (unsigned int i = 0; i < 2; i++)
		check_ret(vf_addr(f, i, BIT(VHOST_VRING_F_LOG)), 0);
}

/* All that a frontend may say between stop and start. */
static void bother(struct vufix *f, const int *event)
{
	for (unsigned int i = 0; i < 2; i++) {
		check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, event[i]),
			  0);
		check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_ERR, i,
				     event[2 + i]),
			  0);
		vf_kick(f, i);
		check_ret(vf_addr(f, i, BIT(VHOST_VRING_F_LOG)), 0);
	}
	vf_enable(f, 0, false);
	check_ret(vf_table(f), 0);
	vf_enable(f, 0, true);
	vf_features(f, V1);
	vf_features(f, V1 | LOG_ALL);
	vf_sync(f);
}

static void a_suspended_device_writes_and_signals_nothing(void **state)
{
	struct vufix *f = *state;
	int log = check_ok(memfd_create("log", MFD_CLOEXEC)), event[5];
	uint8_t *before = malloc(ARENA_SIZE), bits[LOG_SIZE], now[LOG_SIZE];
	const uint8_t frame[72] = { 0 };

	assert_non_null(before);
	for (unsigned int i = 0; i < 5; i++)
		event[i] = event_new();
	vf_start(f, 0, 1);
	vf_hello(f, PF(LOG_SHMFD));
	start_log(f, log);
	check_ret(vf_call(f, VHOST_USER_SET_LOG_FD, NULL, 0, &event[4], 1), 0);
	vf_traffic(f, 0, 1);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(vf_get_base(f, i), 1);
	event_take(event[4]);
	/* work that is there, and would be wrong at that */
	vf_offer_rx(f, 0);
	vf_offer_tx(f, 0, 2);
	drv_offer(&f->q[1], f->q[1].next, 0xdead0000, 72, 0);
	check_ret(send(f->wire[0], frame, sizeof(frame), 0), sizeof(frame));
	memcpy(before, f->arena.base, ARENA_SIZE);
	check_ret(pread(log, bits, LOG_SIZE, 0), LOG_SIZE);
	bother(f, event);
	for (unsigned int i = 0; i < 5; i++)
		assert_false(vf_wait(event[i], i ? 0 : SHORT_MS));
	assert_memory_equal(before, f->arena.base, ARENA_SIZE);
	check_ret(pread(log, now, LOG_SIZE, 0), LOG_SIZE);
	assert_memory_equal(bits, now, LOG_SIZE);
	free(before);
	for (unsigned int i = 0; i < 5; i++)
		close(event[i]);
	close(log);
}

/* What it asked before it stopped needs no answer, and it asks no more. */
static void a_suspended_device_asks_for_no_translation(void **state)
{
	struct vhost_iotlb_msg gone = { .iova = BIT(36),
					.size = PAGE,
					.type = VHOST_IOTLB_INVALIDATE };
	struct vufix *f = *state;
	struct vu_endpoint ch;
	struct vu_msg m;

	vf_hello(f, PF(BACKEND_REQ));
	vf_features(f, V1 | IOTLB);
	check_ret(vf_table(f), 0);
	setup_tx(f);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	vf_get_base(f, 1);
	ch = vf_channel(f);
	vf_kick(f, 1);
	vf_call(f, VHOST_USER_IOTLB_MSG, &gone, sizeof(gone), NULL, 0);
	check_ret(vu_recv_wait(&ch, &m, SHORT_MS), -ETIMEDOUT);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]), 0);
	check_ret(vu_recv_wait(&ch, &m, VUFIX_MS), 0);
	assert_int_equal(m.hdr.request, VHOST_USER_BACKEND_IOTLB_MSG);
	vu_endpoint_close(&ch);
}

/* ---- guest addresses ---- */

static uint64_t gpa_table(struct vufix *f, uint64_t wrong)
{
	struct vu_memory m = { .nregions = 4 };
	int fds[4];

	for (unsigned int i = 0; i < 4; i++) {
		m.regions[i] = vf_region(f, i);
		m.regions[i].userspace_addr = m.regions[i].guest_phys_addr;
		fds[i] = f->arena.memfd;
	}
	m.regions[2].userspace_addr += wrong;
	return vf_call(f, VHOST_USER_SET_MEM_TABLE, &m,
		       offsetof(struct vu_memory, regions[4]), fds, 4);
}

/* The ring's addresses, @from as this process has the rings. */
static struct vhost_vring_addr moved_addr(struct vufix *f, unsigned int i,
					  uint64_t to)
{
	struct vhost_vring_addr addr = drv_addr(&f->q[i], i);
	uint64_t by = to - arena_uva(&f->arena, 0);

	addr.desc_user_addr += by;
	addr.avail_user_addr += by;
	addr.used_user_addr += by;
	return addr;
}

static void start_rings_at(struct vufix *f, uint64_t at)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct vhost_vring_addr addr;

		drv_init(&f->q[i], &f->arena, i * 0x10000, 16, false);
		addr = moved_addr(f, i, at);
		check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, i, 16), 0);
		check_ret(vf_call(f, VHOST_USER_SET_VRING_ADDR, &addr,
				  sizeof(addr), NULL, 0),
			  0);
		check_ret(
			vf_call_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]),
			0);
		check_ret(
			vf_call_fd(f, VHOST_USER_SET_VRING_KICK, i, f->kick[i]),
			0);
	}
	vf_enable(f, 0, true);
}

static void rings_may_be_given_by_guest_addresses(void **state)
{
	struct vufix *f = *state;
	struct vu_mem_region r;

	vf_hello(f, PF(GPA_ADDRESSES) | PF(CONFIGURE_MEM_SLOTS));
	vf_features(f, V1);
	assert_int_equal(gpa_table(f, PAGE), EINVAL);
	check_ret(gpa_table(f, 0), 0);
	start_rings_at(f, GPA_RINGS);
	vf_traffic(f, 0, 1);
	/* single regions are no others */
	r = vf_region(f, 2);
	r.guest_phys_addr += BIT(40);
	r.userspace_addr = r.guest_phys_addr + PAGE;
	for (unsigned int i = 0; i < 2; i++) {
		struct vu_single_mem_region one = { .region = r };

		assert_int_equal(vf_call(f, VHOST_USER_ADD_MEM_REG, &one,
					 sizeof(one), &f->arena.memfd, 1),
				 i ? 0 : EINVAL);
		r.userspace_addr = r.guest_phys_addr;
	}
	vf_traffic(f, 0, 2);
}

/* Memory from 0 on is what a guest has, and 0 is an address. */
static void guest_address_0_is_an_address(void **state)
{
	struct vu_memory m = { .nregions = 1 };
	struct vufix *f = *state;
	int log = check_ok(memfd_create("log", MFD_CLOEXEC));
	struct vu_log l = { .mmap_size = PAGE };
	uint8_t buf[100], bits[PAGE];
	struct vu_msg r;

	m.regions[0].memory_size = ARENA_SIZE;
	vf_hello(f, PF(GPA_ADDRESSES) | PF(LOG_SHMFD));
	vf_features(f, V1 | LOG_ALL);
	check_ret(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m,
			  offsetof(struct vu_memory, regions[1]),
			  &f->arena.memfd, 1),
		  0);
	check_ret(ftruncate(log, PAGE), 0);
	vf_send(f, VHOST_USER_SET_LOG_BASE, 0, &l, sizeof(l), &log, 1);
	vf_reply(f, VHOST_USER_SET_LOG_BASE, &r);
	start_rings_at(f, 0);
	memset(f->arena.base + RAM_A_OFF, 0, 72);
	drv_offer(&f->q[1], 0, RAM_A_OFF, 72, 0);
	vf_kick(f, 1);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
	drv_offer(&f->q[0], 0, RAM_A_OFF + PAGE, 2048, VRING_DESC_F_WRITE);
	vf_kick(f, 0);
	check_ret(send(f->wire[0], buf, 72, 0), 72);
	assert_true(vf_used(f, 0, 1));
	vf_sync(f);
	check_ret(pread(log, bits, PAGE, 0), PAGE);
	assert_true(bits[(RAM_A_OFF / PAGE + 1) / 8] >>
			    ((RAM_A_OFF / PAGE + 1) % 8) &
		    1);
	close(log);
}

/* With ACCESS_PLATFORM rings are at iovas all the same, and translations lead
 * to guest addresses. */
static void translations_may_lead_to_guest_addresses(void **state)
{
	const uint64_t iova_rings = BIT(37), iova = BIT(36);
	struct vhost_iotlb_msg t[] = {
		{ .iova = iova_rings, .size = RINGS_SIZE, .uaddr = GPA_RINGS },
		{ .iova = iova, .size = RAM_SIZE, .uaddr = GPA_A },
	};
	struct vufix *f = *state;
	uint8_t buf[100];

	vf_hello(f, PF(GPA_ADDRESSES) | PF(BACKEND_REQ));
	vf_features(f, V1 | IOTLB);
	check_ret(gpa_table(f, 0), 0);
	start_rings_at(f, iova_rings);
	for (unsigned int i = 0; i < 2; i++) {
		t[i].type = VHOST_IOTLB_UPDATE;
		t[i].perm = VHOST_ACCESS_RW;
		check_ret(vf_call(f, VHOST_USER_IOTLB_MSG, &t[i], sizeof(t[i]),
				  NULL, 0),
			  0);
	}
	memset(arena_ram(&f->arena, GPA_A + PAGE), 0x5b, 72);
	memset(arena_ram(&f->arena, GPA_A + PAGE), 0, 12);
	drv_offer(&f->q[1], 0, iova + PAGE, 72, 0);
	vf_kick(f, 1);
	assert_true(vf_wait(f->wire[0], VUFIX_MS));
	check_ret(recv(f->wire[0], buf, sizeof(buf), 0), 72);
	assert_int_equal(buf[71], 0x5b);
}

static void what_addresses_mean_does_not_change_under_them(void **state)
{
	struct vufix *f = *state;

	vf_start(f, 0, 1);
	vf_traffic(f, 0, 1);
	assert_int_equal(vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
				     PF(GPA_ADDRESSES) | PF(REPLY_ACK)),
			 EBUSY);
	/* QEMU says the same again for each queue pair */
	vf_hello(f, PF(MQ));
	vf_traffic(f, 0, 2);
}

static void chains_left_in_flight_need_a_record(void **state)
{
	struct vufix *f = *state;

	vf_hello(f, PF(GET_VRING_BASE_INFLIGHT) | PF(INFLIGHT_SHMFD));
	assert_int_equal(
		vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
			    PF(GET_VRING_BASE_INFLIGHT) | PF(REPLY_ACK)),
		EINVAL);
}

#define ONE(test) \
	cmocka_unit_test_setup_teardown(test, vufix_setup, vufix_teardown)
#define TWO(test) \
	cmocka_unit_test_setup_teardown(test, vufix_setup_two, vufix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE(a_ring_starts_without_a_kick),
		ONE(a_started_ring_that_is_disabled_is_emptied_without_a_kick),
		ONE(a_stopped_ring_remembers_whether_it_is_enabled),
		ONE(rings_are_disabled_until_there_are_features),
		TWO(features_without_protocol_features_enable_all_rings),
		ONE(a_base_is_given_whatever_num_is),
		ONE(a_suspended_device_tells_of_its_configuration_later),
		ONE(a_call_of_the_last_batch_comes_before_the_reply),
		ONE(a_suspended_device_makes_no_calls),
		ONE(a_reset_device_has_no_calls_left),
		ONE(a_state_is_moved_in_a_suspended_device_only),
		ONE(a_suspended_device_writes_and_signals_nothing),
		ONE(a_suspended_device_asks_for_no_translation),
		ONE(rings_may_be_given_by_guest_addresses),
		ONE(guest_address_0_is_an_address),
		ONE(translations_may_lead_to_guest_addresses),
		ONE(what_addresses_mean_does_not_change_under_them),
		ONE(chains_left_in_flight_need_a_record),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
