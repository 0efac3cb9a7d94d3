/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iotlb.c tests IOTLB messages (VIRTIO_F_ACCESS_PLATFORM): which may be
 * written, which are read, and how a ring that lacks an entry goes on.
 */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "devfix.h"

#define V1 BIT(VIRTIO_F_VERSION_1)
#define IOTLB BIT(VIRTIO_F_ACCESS_PLATFORM)
#define RO VHOST_ACCESS_RO
#define WO VHOST_ACCESS_WO
#define RW VHOST_ACCESS_RW
#define SHIFT BIT(40) /* I/O virtual addresses of the rings: this more */

static ssize_t send_msg(struct devfix *f, uint8_t type, uint64_t iova,
			uint64_t size, uint64_t uaddr, uint8_t perm)
{
	struct vhost_msg msg = {
		.type = VHOST_IOTLB_MSG,
		.iotlb = { .iova = iova,
			   .size = size,
			   .uaddr = uaddr,
			   .perm = perm,
			   .type = type },
	};

	return vdev_iotlb_write(f->v, &msg, sizeof(msg));
}

static ssize_t update(struct devfix *f, uint64_t iova, uint64_t size,
		      uint64_t off, uint8_t perm)
{
	return send_msg(f, VHOST_IOTLB_UPDATE, iova, size,
			arena_uva(&f->arena, off), perm);
}

static ssize_t invalidate(struct devfix *f, uint64_t iova, uint64_t size)
{
	return send_msg(f, VHOST_IOTLB_INVALIDATE, iova, size, 0, 0);
}

/* The next question; -errno if there is none. */
static ssize_t next_miss(struct devfix *f, struct vhost_iotlb_msg *miss)
{
	struct vhost_msg msg;
	ssize_t ret = vdev_iotlb_read(f->v, &msg, sizeof(msg));

	if (ret != 72)
		return ret;
	assert_int_equal(msg.type, VHOST_IOTLB_MSG);
	assert_int_equal(msg.iotlb.type, VHOST_IOTLB_MISS);
	assert_int_equal(msg.iotlb.size, 0);
	assert_int_equal(msg.iotlb.uaddr, 0);
	*miss = msg.iotlb;
	return ret;
}

static void check_miss(struct devfix *f, uint64_t iova, uint8_t perm)
{
	struct vhost_iotlb_msg miss;

	assert_true(vdev_iotlb_readable(f->v));
	check_ret(next_miss(f, &miss), 72);
	assert_int_equal(miss.iova, iova);
	assert_int_equal(miss.perm, perm);
}

static void check_no_miss(struct devfix *f)
{
	struct vhost_iotlb_msg miss;

	assert_false(vdev_iotlb_readable(f->v));
	check_ret(next_miss(f, &miss), -EAGAIN);
}

static void own(struct devfix *f)
{
	devfix_own(f);
	check_ret(vdev_set_features(f->v, V1 | IOTLB), 0);
}

static uint64_t ring_off(struct devfix *f, unsigned int qi)
{
	return (uint64_t)((uint8_t *)f->q[qi].desc - f->arena.base);
}

static uint64_t ring_iova(struct devfix *f, unsigned int qi)
{
	return (uintptr_t)f->q[qi].desc + SHIFT;
}

/* Rings under I/O virtual addresses, not started. */
static void set_rings(struct devfix *f)
{
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vhost_vring_addr addr;

		devfix_ring(f, i, 8);
		addr = drv_addr(&f->q[i], i);
		addr.desc_user_addr += SHIFT;
		addr.avail_user_addr += SHIFT;
		addr.used_user_addr += SHIFT;
		check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	}
}

static void start(struct devfix *f)
{
	own(f);
	set_rings(f);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		check_ret(update(f, ring_iova(f, i), PAGE, ring_off(f, i), RW),
			  72);
		check_ret(devfix_backend(f, i, f->backend), 0);
	}
	devfix_settle(f);
	check_no_miss(f);
}

/* ---- what may be written ---- */

static void a_message_must_be_long_enough(void **state)
{
	struct devfix *f = *state;
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = { .size = 1, .type = VHOST_IOTLB_UPDATE },
	};
	uint8_t room[300] = { 0 };

	own(f);
	memcpy(room, &msg, sizeof(msg));
	for (size_t len = 0; len < 300; len++)
		check_ret(vdev_iotlb_write(f->v, room, len),
			  len < 40 ? -EINVAL : 72);
}

static void the_outer_type_is_one_or_two(void **state)
{
	struct devfix *f = *state;
	struct vhost_msg_v2 msg = {
		.asid = 7, /* skipped */
		.iotlb = { .size = 1, .type = VHOST_IOTLB_UPDATE },
	};

	own(f);
	for (uint32_t type = 0; type < 10; type++) {
		msg.type = type;
		check_ret(vdev_iotlb_write(f->v, &msg, sizeof(msg)),
			  type == 1 || type == 2 ? 72 : -EINVAL);
	}
	msg.type = ~0u;
	check_ret(vdev_iotlb_write(f->v, &msg, sizeof(msg)), -EINVAL);
}

static void the_inner_type_is_update_or_invalidate(void **state)
{
	struct devfix *f = *state;

	own(f);
	for (unsigned int type = 0; type < 256; type++)
		check_ret(send_msg(f, (uint8_t)type, 0, 1, 0, RW),
			  type == VHOST_IOTLB_UPDATE ||
					  type == VHOST_IOTLB_INVALIDATE
				  ? 72
				  : -EFAULT);
}

static void an_empty_update_is_einval_before_all_else(void **state)
{
	struct devfix *f = *state;

	check_ret(update(f, 0, 0, 0, RW), -EINVAL); /* without an IOTLB, too */
	check_ret(update(f, 0, 1, 0, RW), -EFAULT);
	own(f);
	check_ret(send_msg(f, VHOST_IOTLB_UPDATE, ~0ull, 0, ~0ull, RW),
		  -EINVAL);
}

static void an_update_must_not_wrap(void **state)
{
	struct devfix *f = *state;

	own(f);
	check_ret(update(f, UINT64_MAX, 1, 0, RW), 72);
	check_ret(update(f, UINT64_MAX, 2, 0, RW), -EFAULT);
	check_ret(update(f, 1, UINT64_MAX, 0, 0), 72);
	check_ret(update(f, 2, UINT64_MAX, 0, 0), -EFAULT);
}

static void an_owners_address_is_checked_if_it_can_be_used(void **state)
{
	struct devfix *f = *state;
	uint64_t bad = 0xffff800000000000;

	own(f);
	for (uint8_t perm = 0; perm < 4; perm++)
		check_ret(send_msg(f, VHOST_IOTLB_UPDATE, 0, 1, bad, perm),
			  perm ? -EFAULT : 72);
	check_ret(send_msg(f, VHOST_IOTLB_UPDATE, 0, 1, aspace_limit() - 1, RW),
		  72);
	check_ret(send_msg(f, VHOST_IOTLB_UPDATE, 0, 2, aspace_limit() - 1, RW),
		  -EFAULT);
}

static void without_an_iotlb_there_is_nothing_to_update(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(update(f, 0, 1, 0, RW), -EFAULT);
	check_ret(invalidate(f, 0, 1), -EFAULT);
	check_ret(vdev_set_features(f->v, IOTLB), 0);
	check_ret(update(f, 0, 1, 0, RW), 72);
	check_ret(invalidate(f, 0, 1), 72);
	check_ret(vdev_set_features(f->v, 0), 0);
	check_ret(update(f, 0, 1, 0, RW), -EFAULT);
}

static void an_update_needs_no_owner(void **state)
{
	struct devfix *f = *state;

	check_ret(vdev_set_features(f->v, IOTLB), 0);
	check_ret(update(f, 0, 1, 0, RW), 72);
	check_ret(invalidate(f, 0, 1), 72);
}

static void an_empty_invalidation_is_taken(void **state)
{
	struct devfix *f = *state;

	own(f);
	check_ret(invalidate(f, 0, 0), 72);
	check_ret(invalidate(f, 5, 0), 72);
	check_ret(invalidate(f, 5, UINT64_MAX), 72);
}

/* ---- what is read ---- */

static void a_read_needs_room_and_an_iotlb(void **state)
{
	struct devfix *f = *state;
	uint8_t room[100];

	devfix_own(f);
	for (size_t len = 0; len < 72; len++)
		check_ret(vdev_iotlb_read(f->v, room, len), 0);
	check_ret(vdev_iotlb_read(f->v, room, 72), -EBADFD);
	check_ret(vdev_set_features(f->v, IOTLB), 0);
	check_ret(vdev_iotlb_read(f->v, room, 71), 0);
	check_ret(vdev_iotlb_read(f->v, room, 72), -EAGAIN);
	assert_false(vdev_iotlb_readable(f->v));
}

static void a_message_has_the_version_that_was_acknowledged(void **state)
{
	struct devfix *f = *state;
	struct vhost_msg_v2 msg;

	own(f);
	check_ret(vdev_set_backend_features(f->v, 2), 0);
	set_rings(f);
	check_ret(devfix_backend(f, RXQ, f->backend), -EFAULT);
	check_ret(vdev_iotlb_read(f->v, &msg, sizeof(msg)), 72);
	assert_int_equal(msg.type, VHOST_IOTLB_MSG_V2);
	assert_int_equal(msg.asid, 0);
	assert_int_equal(msg.iotlb.type, VHOST_IOTLB_MISS);
	assert_int_equal(msg.iotlb.iova, (uintptr_t)f->q[RXQ].used + SHIFT);
	assert_int_equal(msg.iotlb.perm, WO);
}

/* Where calls from here will have their variables. */
static void __attribute__((noinline)) leave_something_on_the_stack(void)
{
	volatile uint8_t stack[4096];

	for (size_t i = 0; i < sizeof(stack); i++)
		stack[i] = 0xa5;
}

/* Padding, too: a caller must not see what our stack held. */
static void a_message_has_nothing_of_our_memory_in_it(void **state)
{
	struct devfix *f = *state;
	uint8_t want[72], got[72];
	struct vhost_iotlb_msg m;
	uint32_t type;

	own(f);
	set_rings(f);
	for (unsigned int v2 = 0; v2 < 2; v2++) {
		unsigned int q = v2 ? TXQ : RXQ;

		check_ret(vdev_set_backend_features(f->v, v2 ? 2 : 0), 0);
		check_ret(devfix_backend(f, q, f->backend), -EFAULT);
		memset(want, 0, sizeof(want));
		memset(&m, 0, sizeof(m));
		m.type = VHOST_IOTLB_MISS;
		m.iova = (uintptr_t)f->q[q].used + SHIFT;
		m.perm = WO;
		type = v2 ? VHOST_IOTLB_MSG_V2 : VHOST_IOTLB_MSG;
		memcpy(want, &type, sizeof(type));
		memcpy(want + 8, &m, sizeof(m));
		leave_something_on_the_stack();
		check_ret(vdev_iotlb_read(f->v, got, sizeof(got)), 72);
		assert_memory_equal(got, want, sizeof(want));
	}
}

static void pollers_wake_when_a_message_is_there(void **state)
{
	struct devfix *f = *state;
	unsigned int events;

	start(f);
	events = f->iotlb_events;
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	assert_int_equal(f->iotlb_events, events + 1);
	check_miss(f, 0x1000, RO);
	events = f->iotlb_events;
	check_ret(vdev_set_features(f->v, V1), 0); /* EBADFD from now on */
	assert_int_equal(f->iotlb_events, events + 1);
}

/* ---- rings that stall ---- */

static void
a_stalled_ring_asks_at_each_kick_and_goes_on_when_answered(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	start(f);
	drv_offer(&f->q[TXQ], 0, 0x1ff0, 60, 0);
	devfix_kick(f, TXQ);
	check_miss(f, 0x1ff0, RO);
	for (int i = 0; i < 3; i++) {
		devfix_kick(f, TXQ);
		check_miss(f, 0x1ff0, RO);
		check_no_miss(f);
	}
	/* unread it is not asked twice */
	for (int i = 0; i < 3; i++)
		devfix_kick(f, TXQ);
	check_miss(f, 0x1ff0, RO);
	check_no_miss(f);
	/* an answer to something else is none */
	check_ret(update(f, 0x3000, 0x1000, RAM_A_OFF, RW), 72);
	devfix_settle(f);
	check_no_miss(f);
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, RW), 72);
	devfix_settle(f); /* no kick */
	check_miss(f, 0x2000, RO);
	check_ret(update(f, 0x2000, 0x1000, RAM_C_OFF, RO), 72);
	devfix_settle(f);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
	check_no_miss(f);
	assert_int_equal(event_take(f->err[TXQ]), 0);
}

static void a_receive_ring_stalls_and_keeps_its_frame(void **state)
{
	struct devfix *f = *state;
	struct vring_used_elem e;

	start(f);
	drv_offer(&f->q[RXQ], 0, 0x1000, 100, VRING_DESC_F_WRITE);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_miss(f, 0x1000, WO);
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, WO), 72);
	devfix_settle(f);
	e = drv_reap(&f->q[RXQ]);
	assert_int_equal(e.len, 60);
	assert_int_equal(f->arena.base[RAM_A_OFF + 20], 20);
}

static void an_unread_question_is_answered_by_a_kick(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	start(f);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, RW), 72);
	devfix_settle(f);
	check_ret(wire_recv(f, frame, sizeof(frame)), -EAGAIN);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static void questions_come_in_the_order_they_were_asked(void **state)
{
	struct devfix *f = *state;

	start(f);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	drv_offer(&f->q[RXQ], 0, 0x2000, 100, VRING_DESC_F_WRITE);
	wire_send(f, 60, 0);
	devfix_kick(f, RXQ);
	check_miss(f, 0x1000, RO);
	check_miss(f, 0x2000, WO);
	check_no_miss(f);
}

static void stopping_a_ring_drops_its_question(void **state)
{
	struct devfix *f = *state;

	start(f);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	assert_true(vdev_iotlb_readable(f->v));
	check_ret(devfix_backend(f, TXQ, -1), 0);
	devfix_settle(f);
	check_no_miss(f);
}

/* Without a kick: its driver has sent one. */
static void when_a_ring_stops_the_other_asks_again(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	start(f);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	assert_true(vdev_iotlb_readable(f->v));
	check_ret(devfix_backend(f, RXQ, -1), 0);
	devfix_settle(f);
	check_miss(f, 0x1000, RO);
	/* The question was read: its answer would wake nobody. */
	check_ret(devfix_backend(f, RXQ, -1), 0);
	devfix_settle(f);
	check_miss(f, 0x1000, RO);
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, RW), 72);
	devfix_settle(f);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static void an_invalidation_takes_effect_at_once(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	start(f);
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, RW), 72);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
	check_ret(invalidate(f, 0x1fff, 1), 72);
	drv_offer(&f->q[TXQ], 1, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), -EAGAIN);
	check_miss(f, 0x1000, RO);
}

static void an_invalidated_ring_is_asked_for(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	start(f);
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, RW), 72);
	devfix_kick(f, TXQ); /* the ring is known */
	check_ret(invalidate(f, ring_iova(f, TXQ), 1), 72);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	check_miss(f, ring_iova(f, TXQ), RO);
	check_ret(update(f, ring_iova(f, TXQ), PAGE, ring_off(f, TXQ), RW), 72);
	devfix_settle(f);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static void an_update_does_not_replace(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	start(f);
	f->arena.base[RAM_A_OFF + 30] = 1;
	f->arena.base[RAM_C_OFF + 30] = 2;
	check_ret(update(f, 0x1000, 0x1000, RAM_A_OFF, RW), 72);
	check_ret(update(f, 0x1000, 0x1000, RAM_C_OFF, RW), 72);
	drv_offer(&f->q[TXQ], 0, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
	assert_int_equal(frame[30], 1);
	check_ret(invalidate(f, 0x1000, 1), 72); /* both */
	drv_offer(&f->q[TXQ], 1, 0x1000, 60, 0);
	devfix_kick(f, TXQ);
	check_miss(f, 0x1000, RO);
}

static void setting_the_feature_again_wipes_the_iotlb(void **state)
{
	struct devfix *f = *state;

	start(f);
	check_ret(vdev_set_features(f->v, V1 | IOTLB), 0);
	devfix_settle(f);
	check_miss(f, ring_iova(f, RXQ), RO);
	check_miss(f, ring_iova(f, TXQ), RO);
}

static void clearing_the_feature_clears_the_ring_addresses(void **state)
{
	struct devfix *f = *state;
	struct vhost_vring_addr addr;
	uint8_t frame[100];

	start(f);
	check_ret(vdev_set_features(f->v, V1), 0);
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), -EAGAIN);
	addr = drv_addr(&f->q[TXQ], TXQ);
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	devfix_settle(f);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static void a_memory_table_is_needed_all_the_same(void **state)
{
	struct devfix *f = *state;

	check_ret(vdev_set_owner(f->v, arena_aspace(&f->arena)), 0);
	check_ret(vdev_set_features(f->v, IOTLB), 0);
	check_ret(devfix_backend(f, RXQ, -1), -EFAULT);
	check_ret(vdev_set_mem_table(f->v, NULL, 0, NULL, 0), 0);
	check_ret(devfix_backend(f, RXQ, -1), 0);
}

static void a_start_without_the_used_ring_fails_loudly(void **state)
{
	struct devfix *f = *state;

	own(f);
	set_rings(f);
	check_ret(devfix_backend(f, TXQ, f->backend), -EFAULT);
	assert_int_equal(event_take(f->err[TXQ]), 1);
	check_miss(f, (uintptr_t)f->q[TXQ].used + SHIFT, WO);
	/* readable, but not writable */
	check_ret(update(f, ring_iova(f, TXQ), PAGE, ring_off(f, TXQ), RO), 72);
	check_ret(devfix_backend(f, TXQ, f->backend), -EFAULT);
	check_no_miss(f);
}

static void thousands_of_updates_retire_the_oldest(void **state)
{
	struct devfix *f = *state;

	start(f);
	for (uint64_t i = 0; i < 2048; i++)
		check_ret(update(f, BIT(32) + i * PAGE, PAGE, RAM_A_OFF, RW),
			  72);
	/* the rings' own were the oldest */
	devfix_kick(f, TXQ);
	check_miss(f, ring_iova(f, TXQ), RO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_message_must_be_long_enough),
		BOTH(the_outer_type_is_one_or_two),
		BOTH(the_inner_type_is_update_or_invalidate),
		BOTH(an_empty_update_is_einval_before_all_else),
		BOTH(an_update_must_not_wrap),
		BOTH(an_owners_address_is_checked_if_it_can_be_used),
		BOTH(without_an_iotlb_there_is_nothing_to_update),
		BOTH(an_update_needs_no_owner),
		BOTH(an_empty_invalidation_is_taken),
		BOTH(a_read_needs_room_and_an_iotlb),
		BOTH(a_message_has_the_version_that_was_acknowledged),
		BOTH(a_message_has_nothing_of_our_memory_in_it),
		BOTH(pollers_wake_when_a_message_is_there),
		BOTH(a_stalled_ring_asks_at_each_kick_and_goes_on_when_answered),
		BOTH(a_receive_ring_stalls_and_keeps_its_frame),
		BOTH(an_unread_question_is_answered_by_a_kick),
		BOTH(questions_come_in_the_order_they_were_asked),
		BOTH(stopping_a_ring_drops_its_question),
		BOTH(when_a_ring_stops_the_other_asks_again),
		BOTH(an_invalidation_takes_effect_at_once),
		BOTH(an_invalidated_ring_is_asked_for),
		BOTH(an_update_does_not_replace),
		BOTH(setting_the_feature_again_wipes_the_iotlb),
		BOTH(clearing_the_feature_clears_the_ring_addresses),
		BOTH(a_memory_table_is_needed_all_the_same),
		BOTH(a_start_without_the_used_ring_fails_loudly),
		BOTH(thousands_of_updates_retire_the_oldest),
	};

	return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}
