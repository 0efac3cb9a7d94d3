/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_notify.c tests eventfds that cannot take another count: the device adds
 * to the counter where it can, and never waits for room.
 */
#include "bytes.h"
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <sys/eventfd.h>

#define V1 (&(struct rig_config){ 0 })
#define FULL (UINT64_MAX - 1)
#define ROUNDS 3

static int full_eventfd(int flags)
{
	uint64_t full = FULL;
	int fd = eventfd(0, EFD_CLOEXEC | flags);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	return fd;
}

/* It is as it was: full (the kernel's vhost adds 1 even then), and blocking. */
static void check_full(int fd, int flags)
{
	uint64_t count;

	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, flags);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_true(count >= FULL);
	close(fd);
}

/* Frames go out one by one, each signalled. Nothing here makes a call that
 * would wait for a worker that hangs. */
static void send_one(struct rig *r, unsigned int i)
{
	struct vmm_ring *ring = rig_ring(r, VMM_TX);
	int64_t end = vmm_now_ms() + CONF_MS;
	struct vmm_used used;

	rig_add_tx(r, 60, i);
	vmm_ring_publish(ring);
	vmm_kick(r->v, VMM_TX);
	rig_seen(r, 60, i);
	while (vmm_ring_pending(ring) < 1) {
		assert_true(vmm_now_ms() < end);
		poll(NULL, 0, 1);
	}
	check_ret(vmm_ring_reap(ring, &used, 1), 1);
}

static void check_tx(struct rig *r)
{
	for (unsigned int i = 0; i < ROUNDS; i++)
		send_one(r, i);
}

/* Suppresses signals and sends a frame: once that is used, the signals of
 * earlier frames are over, and none follows until calls are on again. */
static void send_without_signal(struct rig *r)
{
	vmm_ring_calls_off(rig_ring(r, VMM_TX));
	send_one(r, ROUNDS);
}

static void check_call(int flags)
{
	struct rig *r = rig_open(V1);
	int fd = full_eventfd(flags);

	check_ret(uvh_set_vring_call(r->v->fe, VMM_TX, fd), 0);
	check_tx(r);
	rig_close(r);
	check_full(fd, flags);
}

static void full_call_does_not_stop_the_ring(void **state)
{
	(void)state;
	check_call(EFD_NONBLOCK);
}

static void full_blocking_call_does_not_stop_the_ring(void **state)
{
	(void)state;
	check_call(0);
}

static void call_that_becomes_blocking_does_not_stop_the_ring(void **state)
{
	struct rig *r = rig_open(V1);
	int fd = full_eventfd(EFD_NONBLOCK);

	(void)state;
	check_ret(uvh_set_vring_call(r->v->fe, VMM_TX, fd), 0);
	check_tx(r);
	send_without_signal(r);
	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
	vmm_ring_calls_on(rig_ring(r, VMM_TX));
	check_tx(r);
	rig_close(r);
	check_full(fd, 0);
}

static void full_blocking_err_does_not_stop_the_other_ring(void **state)
{
	struct rig *r = rig_open(V1);
	int fd = full_eventfd(0);

	(void)state;
	check_ret(uvh_set_vring_err(r->v->fe, VMM_TX, fd), 0);
	rig_add_tx(r, 60, 0);
	rig_ring(r, VMM_TX)->avail->ring[0] = 256; /* there is no such head */
	vmm_ring_publish(rig_ring(r, VMM_TX));
	vmm_kick(r->v, VMM_TX);
	/* several, so that the TX ring has been looked at */
	for (unsigned int i = 0; i < ROUNDS; i++)
		rig_rx(r, 100, i);
	assert_int_equal(rig_base(r, VMM_TX), 0);
	rig_close(r);
	check_full(fd, 0);
}

static void full_blocking_log_does_not_stop_the_ring(void **state)
{
	struct vmm_mem mem = conf_mem();
	struct rig *r;
	int fd, ret;

	(void)state;
	check_ret(vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0, 16U << 20), 0);
	r = rig_open(&(struct rig_config){ .vmm.own_mem = &mem });
	fd = full_eventfd(0);
	assert_non_null(vmm_log_new(r->v, 1024));
	ret = vmm_log(r->v, true);
	if (ret == 0)
		ret = uvh_set_log_fd(r->v->fe, fd);
	if (ret == -EOPNOTSUPP)
		skip_because("no eventfd for the dirty log on this transport");
	check_ret(ret, 0);
	check_ret(uvh_set_features(r->v->fe, F_V1 | F_LOG_ALL), 0);
	for (unsigned int i = 0; i < ROUNDS; i++)
		rig_rx(r, 100, i);
	check_tx(r);
	rig_close(r);
	check_full(fd, 0);
}

/* What is counted is there to be read, blocking or not. */
static void blocking_call_is_counted(void **state)
{
	struct rig *r = rig_open(V1);
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t count;

	(void)state;
	assert_true(fd >= 0);
	check_ret(uvh_set_vring_call(r->v->fe, VMM_TX, fd), 0);
	check_tx(r);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	/* and one when it is set, over vhost-user */
	assert_true(count >= 1 && count <= ROUNDS + 1);
	rig_close(r);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_call_does_not_stop_the_ring),
		cmocka_unit_test(full_blocking_call_does_not_stop_the_ring),
		cmocka_unit_test(
			call_that_becomes_blocking_does_not_stop_the_ring),
		cmocka_unit_test(
			full_blocking_err_does_not_stop_the_other_ring),
		cmocka_unit_test(full_blocking_log_does_not_stop_the_ring),
		cmocka_unit_test(blocking_call_is_counted),
	};

	return conf_main("notify", tests, ARRAY_SIZE(tests), argc, argv);
}
