/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vdev.c tests the calls of a VMM on a device, in every order: the errno
 * is that of the kernel's vhost-net, in its order of checks.
 */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "devfix.h"

#define PACKED BIT(VIRTIO_F_RING_PACKED)
#define V1 BIT(VIRTIO_F_VERSION_1)
#define LOG_ALL BIT(VHOST_F_LOG_ALL)
#define IOTLB BIT(VIRTIO_F_ACCESS_PLATFORM)
#define F_LOG BIT(VHOST_VRING_F_LOG)
#define KERNEL 0xffff800000000000ull

static int set_table(struct devfix *f, uint64_t gpa, uint64_t size,
		     uint64_t uva)
{
	struct vhost_memory_region r = { .guest_phys_addr = gpa,
					 .memory_size = size,
					 .userspace_addr = uva };

	return vdev_set_mem_table(f->v, &r, 1, NULL, 0);
}

static int set_addr(struct devfix *f, unsigned int qi, uint64_t desc,
		    uint64_t used, uint64_t avail)
{
	struct vhost_vring_addr addr = { .index = qi,
					 .desc_user_addr = desc,
					 .used_user_addr = used,
					 .avail_user_addr = avail };

	return vdev_set_vring_addr(f->v, &addr);
}

/* Linked with --wrap=close: a descriptor closed twice may be another one
 * the second time. */
int __real_close(int fd);
int __wrap_close(int fd);

static unsigned int bad_closes;

int __wrap_close(int fd)
{
	int ret = __real_close(fd);

	bad_closes += ret < 0;
	return ret;
}

/* An owner and both rings, not started. */
static void prepare(struct devfix *f)
{
	devfix_own(f);
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		devfix_ring(f, i, 8);
}

/* ---- owner ---- */

static void a_fresh_device_has_no_owner(void **state)
{
	struct devfix *f = *state;

	assert_false(vdev_has_owner(f->v));
	assert_null(vdev_aspace(f->v));
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		assert_false(vdev_vq_active(f->v, i));
}

static void a_second_owner_is_refused(void **state)
{
	struct devfix *f = *state;
	struct aspace *as = arena_aspace(&f->arena);

	devfix_own(f);
	check_ret(vdev_set_owner(f->v, as), -EBUSY);
	aspace_free(as); /* still ours */
	assert_true(vdev_has_owner(f->v));
}

static void a_reset_makes_room_for_another_owner(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1, 8);
	check_ret(vdev_reset_owner(f->v), 0);
	assert_false(vdev_has_owner(f->v));
	devfix_start(f, V1, 8);
	assert_true(vdev_vq_active(f->v, RXQ));
}

static void a_reset_releases_every_descriptor(void **state)
{
	struct devfix *f = *state;
	unsigned int before = count_fds();

	devfix_start(f, V1, 8);
	check_ret(vdev_set_log_fd(f->v, dup(f->log)), 0);
	assert_true(count_fds() > before);
	check_ret(vdev_reset_owner(f->v), 0);
	assert_int_equal(count_fds(), before);
	assert_int_equal(sockport.ports, 0);
}

static void a_reset_leaves_a_device_as_new(void **state)
{
	struct devfix *f = *state;
	uint32_t value;

	devfix_start(f, V1 | LOG_ALL, 8);
	vdev_net_set_backend(f->v, RXQ, VDEV_FD_NONE);
	check_ret(vdev_set_vring_base(f->v, RXQ, 77), 0);
	check_ret(vdev_set_vring_busyloop(f->v, RXQ, 50), 0);
	check_ret(vdev_set_backend_features(f->v, vdev_backend_features()), 0);
	check_ret(vdev_reset_owner(f->v), 0);
	assert_int_equal(devfix_base(f, RXQ), 0);
	check_ret(vdev_get_vring_busyloop(f->v, RXQ, &value), 0);
	assert_int_equal(value, 0);
	/* an empty but present table: -1 is no EFAULT as on a fresh device */
	check_ret(devfix_backend(f, RXQ, -1), 0);
	check_ret(vdev_iotlb_read(f->v, NULL, 72), -EBADFD);
}

static void an_owners_death_releases_every_descriptor(void **state)
{
	struct devfix *f = *state;
	unsigned int before = count_fds();

	devfix_start(f, V1, 8);
	vdev_owner_died(f->v);
	/* all but the one that tells that it is dead */
	assert_int_equal(count_fds(),
			 before + (f->arena.mode == MAPPED ? 0 : 1));
	assert_int_equal(sockport.ports, 0);
	assert_true(vdev_has_owner(f->v));
	assert_false(vdev_vq_active(f->v, RXQ));
	assert_false(vdev_vq_active(f->v, TXQ));
	check_ret(vdev_reset_owner(f->v), 0);
	assert_int_equal(count_fds(), before);
}

/* ---- features ---- */

static void only_offered_features_are_accepted(void **state)
{
	struct devfix *f = *state;

	for (unsigned int bit = 0; bit < 64; bit++)
		check_ret(vdev_set_features(f->v, BIT(bit)),
			  vdev_offered(f->v, 0) & BIT(bit) ? 0 : -EOPNOTSUPP);
	check_ret(vdev_set_features(f->v, vdev_offered(f->v, 0)), 0);
	assert_int_equal(vdev_offered(f->v, 0),
			 vdev_features(0) | VDEV_OPTIONAL_FEATURES);
	assert_int_equal(vdev_offered(f->v, 1), 0);
	assert_int_equal(vdev_features(1), 0);
	assert_int_equal(vdev_features(1000), 0);
}

static void packed_rings_are_offered_only_if_the_config_says_so(void **state)
{
	struct devfix *f = *state;
	struct vdev_config config = { .worker = f->worker };
	struct vdev *v;

	check_ret(vdev_new(&config, &v), 0);
	assert_int_equal(vdev_offered(v, 0), vdev_features(0));
	check_ret(vdev_set_features(v, BIT(VIRTIO_F_RING_PACKED)), -EOPNOTSUPP);
	check_ret(vdev_set_features(v, BIT(VIRTIO_F_IN_ORDER)), -EOPNOTSUPP);
	vdev_free(v);
}

static void the_features_are_those_of_linux_6_12(void **state)
{
	(void)state;
	assert_int_equal(vdev_features(0), 0x1033d008000);
	assert_int_equal(vdev_backend_features(), 2);
}

static void backend_features_are_a_mask_of_bit_numbers(void **state)
{
	struct devfix *f = *state;

	check_ret(vdev_set_backend_features(f->v, 1), -EOPNOTSUPP);
	check_ret(vdev_set_backend_features(f->v, 2), 0);
	check_ret(vdev_set_backend_features(f->v, 6), -EOPNOTSUPP);
	check_ret(vdev_set_backend_features(f->v, 0), 0);
}

static void features_need_no_owner_and_may_change_while_active(void **state)
{
	struct devfix *f = *state;

	check_ret(vdev_set_features(f->v, V1), 0);
	devfix_start(f, V1, 8);
	check_ret(vdev_set_features(f->v, 0), 0);
	check_ret(vdev_set_features(f->v, LOG_ALL), 0);
}

static void logging_needs_a_bitmap_in_user_space(void **state)
{
	struct devfix *f = *state;

	prepare(f);
	check_ret(vdev_set_log_base(f->v, ~0ull), 0);   /* nothing is logged */
	check_ret(vdev_set_features(f->v, LOG_ALL), 0); /* nor is active */
	check_ret(devfix_backend(f, RXQ, f->backend), -EFAULT);
	check_ret(vdev_set_features(f->v, 0), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
	check_ret(vdev_set_features(f->v, LOG_ALL), -EFAULT);
	/* and the features are those of before: no log is written */
	check_ret(vdev_set_log_base(f->v, ~0ull), 0);
	check_ret(vdev_set_log_base(f->v, 0), 0);
	check_ret(vdev_set_features(f->v, LOG_ALL), 0);
	check_ret(vdev_set_log_base(f->v, ~0ull), -EFAULT);
}

/* ---- memory table ---- */

static void regions_must_not_wrap(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(set_table(f, 0x1000, 0, 0), -EFAULT);
	check_ret(set_table(f, 0x1000, -0x1000ull, 0), 0);
	check_ret(set_table(f, 0x1000, -0xfffull, 0), -EFAULT);
	check_ret(set_table(f, -0x1000ull, 0x1000, 0), 0);
	check_ret(set_table(f, -0x1000ull, 0x1001, 0), -EFAULT);
	check_ret(set_table(f, UINT64_MAX, UINT64_MAX, 0), -EFAULT);
	check_ret(set_table(f, 0, UINT64_MAX, 0), 0);
	check_ret(set_table(f, 0, 0, 0), 0); /* everything, in two halves */
	check_ret(devfix_backend(f, RXQ, -1), -EFAULT);
}

static void an_empty_table_is_one(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(vdev_set_mem_table(f->v, NULL, 0, NULL, 0), 0);
	check_ret(devfix_backend(f, RXQ, -1), 0);
}

static void overlapping_regions_are_accepted(void **state)
{
	struct devfix *f = *state;
	struct vhost_memory_region r[64];

	devfix_own(f);
	for (unsigned int i = 0; i < 64; i++)
		r[i] = (struct vhost_memory_region){
			.guest_phys_addr = i / 2 * 100,
			.memory_size = 0x1000,
			.userspace_addr = 0x10000,
			.flags_padding = ~0ull,
		};
	check_ret(vdev_set_mem_table(f->v, r, 64, NULL, 0), 0);
}

static void user_addresses_are_checked_once_a_ring_is_active(void **state)
{
	struct devfix *f = *state;
	uint64_t limit = aspace_limit();

	prepare(f);
	check_ret(set_table(f, 0, 0x1000, KERNEL), 0);
	check_ret(devfix_backend(f, RXQ, -1), -EFAULT);
	check_ret(devfix_backend(f, RXQ, f->backend), -EFAULT);
	check_ret(set_table(f, 0, 0x1000, limit - 0x1000), 0);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	devfix_table(f);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
	check_ret(set_table(f, 0, 0x1000, KERNEL), -EFAULT);
	check_ret(set_table(f, 0, 0x1000, limit - 0xfff), -EFAULT);
	check_ret(set_table(f, 0, 0x1000, limit - 0x1000), 0);
}

static void a_refused_table_leaves_the_old_one_in_force(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	devfix_start(f, V1, 8);
	check_ret(set_table(f, 0x1000, 0, 0), -EFAULT);
	check_ret(set_table(f, 0, 0x1000, KERNEL), -EFAULT);
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static void a_new_table_is_in_force_at_once(void **state)
{
	struct devfix *f = *state;
	struct vhost_memory_region r[3];
	struct aspace_map *maps[2];
	uint8_t frame[100];

	devfix_start(f, V1, 8);
	arena_table(&f->arena, r);
	r[0].guest_phys_addr = 0x90000000; /* hot-plug: A moves */
	check_ret(vdev_set_mem_table(f->v, r, 3, maps,
				     arena_maps(&f->arena, maps)),
		  0);
	drv_offer(&f->q[TXQ], 0, 0x90000000, 60, 0);
	drv_offer(&f->q[TXQ], 1, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
	check_ret(wire_recv(f, frame, sizeof(frame)), -EAGAIN);
	/* once for the table, once for the kick */
	assert_in_range(event_take(f->err[TXQ]), 1, 2);
	assert_int_equal(devfix_base(f, TXQ), 1);
}

/* ---- ring parameters ---- */

static void a_ring_that_does_not_exist_is_enobufs(void **state)
{
	static const uint32_t bad[] = { 2, 3, 65536, 1u << 31, ~0u };
	struct devfix *f = *state;
	unsigned int before;
	uint32_t value;

	devfix_own(f);
	before = count_fds();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vhost_vring_addr addr = { .index = bad[i],
						 .flags = 2,
						 .used_user_addr = 1 };
		uint32_t qi = bad[i];

		check_ret(vdev_check_vq(f->v, qi), -ENOBUFS);
		check_ret(vdev_set_vring_num(f->v, qi, 0), -ENOBUFS);
		check_ret(vdev_set_vring_base(f->v, qi, ~0u), -ENOBUFS);
		check_ret(vdev_get_vring_base(f->v, qi, &value), -ENOBUFS);
		check_ret(vdev_set_vring_addr(f->v, &addr), -ENOBUFS);
		check_ret(vdev_set_vring_kick(f->v, qi, dup(0)), -ENOBUFS);
		check_ret(vdev_set_vring_call(f->v, qi, VDEV_FD_BAD), -ENOBUFS);
		check_ret(vdev_set_vring_err(f->v, qi, dup(0)), -ENOBUFS);
		check_ret(vdev_set_vring_busyloop(f->v, qi, 0), -ENOBUFS);
		check_ret(vdev_get_vring_busyloop(f->v, qi, &value), -ENOBUFS);
		check_ret(devfix_backend(f, qi, f->backend), -ENOBUFS);
		check_ret(devfix_backend(f, qi, -1), -ENOBUFS);
	}
	assert_int_equal(count_fds(), before); /* consumed */
}

static void a_ring_size_is_a_power_of_two_up_to_32768(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	for (uint32_t n = 0; n < 70000; n++) {
		bool good = n && !(n & (n - 1)) && n <= 32768;

		check_ret(vdev_set_vring_num(f->v, RXQ, n), good ? 0 : -EINVAL);
	}
	check_ret(vdev_set_vring_num(f->v, RXQ, 1u << 31), -EINVAL);
}

static void a_base_is_an_index(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(vdev_set_vring_base(f->v, RXQ, 65535), 0);
	assert_int_equal(devfix_base(f, RXQ), 65535);
	assert_int_equal(devfix_base(f, TXQ), 0);
	check_ret(vdev_set_vring_base(f->v, RXQ, 65536), -EINVAL);
	check_ret(vdev_set_vring_base(f->v, RXQ, ~0u), -EINVAL);
	assert_int_equal(devfix_base(f, RXQ), 65535);
}

static void a_packed_ring_has_any_size_up_to_32768(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(vdev_set_features(f->v, PACKED), 0);
	for (uint32_t n = 0; n < 70000; n++)
		check_ret(vdev_set_vring_num(f->v, RXQ, n),
			  n && n <= 32768 ? 0 : -EINVAL);
	/* but then it has to be packed */
	f->packed = true;
	devfix_ring(f, RXQ, 7);
	check_ret(vdev_set_features(f->v, 0), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), -EINVAL);
	check_ret(vdev_set_features(f->v, PACKED), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
}

static void a_packed_base_is_read_back_as_it_was_set(void **state)
{
	static const uint32_t bases[] = { 0x80008000, 0x00030005, 0x8000,
					  0x8005,     7,          0x80000003,
					  ~0u,        0,          1 };
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(vdev_set_features(f->v, PACKED), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		check_ret(vdev_set_vring_base(f->v, RXQ, bases[i]), 0);
		assert_int_equal(devfix_base(f, RXQ), bases[i]);
	}
	check_ret(vdev_set_features(f->v, 0), 0);
	check_ret(vdev_set_vring_base(f->v, RXQ, 0x8000), 0);
	assert_int_equal(devfix_base(f, RXQ), 0x8000);
	check_ret(vdev_set_vring_base(f->v, RXQ, 0x10000), -EINVAL);
}

/* DPDK gives the low half only; the ring has both once it has run. */
static void a_packed_base_has_two_halves_once_the_ring_has_run(void **state)
{
	static const uint32_t bases[][2] = {
		{ 0x80008000, 0x80008000 },
		{ 0x00030005, 0x00030005 },
		{ 0x8000, 0x80008000 },
		{ 0x8005, 0x80058005 },
		{ 6, 0x00060006 },
		{ 0x80050003, 0x80050003 },
		{ 0, 0 },
	};
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(vdev_set_features(f->v, PACKED), 0);
	f->packed = true;
	devfix_ring(f, RXQ, 7);
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		check_ret(vdev_set_vring_base(f->v, RXQ, bases[i][0]), 0);
		check_ret(devfix_backend(f, RXQ, f->backend), 0);
		assert_int_equal(devfix_base(f, RXQ), bases[i][1]);
		check_ret(devfix_backend(f, RXQ, -1), 0);
		assert_int_equal(devfix_base(f, RXQ), bases[i][1]);
	}
}

/* Its wrap counter is whatever is left: QEMU, DPDK say where it begins. */
static void a_packed_base_outside_the_ring_keeps_it_from_starting(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(vdev_set_features(f->v, PACKED), 0);
	f->packed = true;
	devfix_ring(f, RXQ, 7);
	check_ret(vdev_set_vring_base(f->v, RXQ, 7), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), -EINVAL);
	assert_false(vdev_vq_active(f->v, RXQ));
	check_ret(vdev_set_vring_base(f->v, RXQ, 6), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
}

static void the_printout_has_the_ring_format(void **state)
{
	struct devfix *f = *state;
	char *text = NULL;
	size_t size;
	FILE *out;

	devfix_own(f);
	check_ret(vdev_set_features(f->v, PACKED), 0);
	f->packed = true;
	devfix_ring(f, RXQ, 7);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
	out = open_memstream(&text, &size);
	assert_non_null(out);
	vdev_print(f->v, out);
	fclose(out);
	assert_non_null(strstr(text, "num 7 ring packed avail 0+1 used 0+1"));
	assert_non_null(strstr(text, "num 1 ring split avail 0 used 0"));
	free(text);
}

static void size_and_base_of_an_active_ring_are_busy(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1, 8);
	check_ret(vdev_set_vring_num(f->v, RXQ, 16), -EBUSY);
	check_ret(vdev_set_vring_num(f->v, RXQ, 3), -EBUSY);
	check_ret(vdev_set_vring_base(f->v, RXQ, 0), -EBUSY);
	check_ret(vdev_set_vring_base(f->v, RXQ, 65536), -EBUSY);
	assert_int_equal(devfix_base(f, RXQ), 0);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	check_ret(vdev_set_vring_num(f->v, RXQ, 16), 0);
	check_ret(vdev_set_vring_base(f->v, RXQ, 5), 0);
}

static void ring_addresses_are_checked_for_flags_then_alignment(void **state)
{
	struct devfix *f = *state;
	struct vhost_vring_addr addr = { .flags = 2, .used_user_addr = 2 };

	devfix_own(f);
	check_ret(vdev_set_vring_addr(f->v, &addr), -EOPNOTSUPP);
	addr.flags = ~0u;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EOPNOTSUPP);
	addr.flags = F_LOG;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	addr.used_user_addr = 4;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	addr.log_guest_addr = 2;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	addr.flags = 0; /* even if it is not used */
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	check_ret(set_addr(f, 0, 1, 0, 0), 0);
	check_ret(set_addr(f, 0, 0, 0, 1), -EINVAL);
	check_ret(set_addr(f, 0, 0, 0, 2), 0);
	check_ret(set_addr(f, 0, 0, 0, 0), 0);
	check_ret(set_addr(f, 0, KERNEL, KERNEL, KERNEL), 0);
}

static void addresses_of_an_active_ring_must_be_in_user_space(void **state)
{
	struct devfix *f = *state;
	struct vhost_vring_addr good, addr;
	uint64_t limit = aspace_limit();

	devfix_start(f, V1, 8);
	good = drv_addr(&f->q[RXQ], RXQ);
	addr = good;
	addr.desc_user_addr = limit - 8 * 16;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	addr.desc_user_addr++;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	addr = good;
	addr.avail_user_addr = limit - (4 + 2 * 8);
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	addr.avail_user_addr += 2;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	addr = good;
	addr.used_user_addr = limit - (4 + 8 * 8);
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	addr.used_user_addr += 4;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	/* the event index is part of both rings */
	check_ret(vdev_set_features(f->v, V1 | BIT(VIRTIO_RING_F_EVENT_IDX)),
		  0);
	addr.used_user_addr -= 4;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	check_ret(vdev_set_vring_addr(f->v, &good), 0);
}

static void the_log_of_an_active_ring_must_be_in_user_space(void **state)
{
	struct devfix *f = *state;
	struct vhost_vring_addr addr;

	devfix_start(f, V1, 8);
	addr = drv_addr(&f->q[RXQ], RXQ);
	addr.flags = F_LOG;
	addr.log_guest_addr = ~3ull;
	check_ret(vdev_set_vring_addr(f->v, &addr), -EINVAL);
	addr.log_guest_addr = 0;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	check_ret(vdev_set_log_base(f->v, ~0ull), -EFAULT);
	check_ret(vdev_set_log_base(f->v, 0), 0);
}

/* drivers/vhost/vhost.c, vq_log_used_access_ok(): that log is never written */
static void
under_an_iotlb_the_log_address_of_a_ring_is_not_checked(void **state)
{
	struct devfix *f = *state;
	struct vhost_vring_addr addr;

	devfix_own(f);
	check_ret(vdev_set_features(f->v, IOTLB), 0);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vhost_msg msg = { .type = VHOST_IOTLB_MSG };

		devfix_ring(f, i, 8);
		msg.iotlb = (struct vhost_iotlb_msg){
			.iova = (uintptr_t)f->q[i].desc,
			.uaddr = (uintptr_t)f->q[i].desc,
			.size = PAGE,
			.perm = VHOST_ACCESS_RW,
			.type = VHOST_IOTLB_UPDATE,
		};
		check_ret(vdev_iotlb_write(f->v, &msg, sizeof(msg)), 72);
		check_ret(devfix_backend(f, i, f->backend), 0);
	}
	addr = drv_addr(&f->q[RXQ], RXQ);
	addr.flags = F_LOG;
	addr.log_guest_addr = ~3ull;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	check_ret(vdev_set_log_base(f->v, ~0ull), 0);
}

static void one_rings_refusal_of_a_log_does_not_stop_the_other(void **state)
{
	struct devfix *f = *state;
	struct vhost_vring_addr addr;

	prepare(f);
	check_ret(devfix_backend(f, TXQ, f->backend), 0);
	addr = drv_addr(&f->q[TXQ], TXQ);
	addr.flags = F_LOG;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	check_ret(vdev_set_log_base(f->v, arena_uva(&f->arena, SPARE_OFF)), 0);
	check_ret(vdev_set_log_base(f->v, ~0ull), -EFAULT);
	/* TX did not take it, and still logs where it did */
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_settle(f);
	assert_true(f->arena.base[SPARE_OFF] & 1);
	/* RX took it, and so cannot be logged now */
	addr = drv_addr(&f->q[RXQ], RXQ);
	addr.flags = F_LOG;
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), -EFAULT);
	check_ret(vdev_set_log_base(f->v, 0), 0);
	check_ret(devfix_backend(f, RXQ, f->backend), 0);
}

static void a_busyloop_timeout_is_any_number_at_any_time(void **state)
{
	struct devfix *f = *state;
	uint32_t value;

	devfix_own(f);
	check_ret(vdev_get_vring_busyloop(f->v, TXQ, &value), 0);
	assert_int_equal(value, 0);
	check_ret(vdev_set_vring_busyloop(f->v, TXQ, ~0u), 0);
	check_ret(vdev_get_vring_busyloop(f->v, TXQ, &value), 0);
	assert_int_equal(value, ~0u);
	check_ret(vdev_get_vring_busyloop(f->v, RXQ, &value), 0);
	assert_int_equal(value, 0);
}

/* ---- event descriptors ---- */

static int (*const set_event[])(struct vdev *v, uint32_t qi, int fd) = {
	vdev_set_vring_kick,
	vdev_set_vring_call,
	vdev_set_vring_err,
};

static void only_eventfds_are_taken_for_events(void **state)
{
	struct devfix *f = *state;
	unsigned int before;

	devfix_own(f);
	before = count_fds();
	for (size_t i = 0; i < ARRAY_SIZE(set_event); i++) {
		check_ret(set_event[i](f->v, TXQ, VDEV_FD_BAD), -EBADF);
		check_ret(set_event[i](f->v, TXQ, dup(f->wire)), -EINVAL);
		check_ret(set_event[i](f->v, TXQ, dup(f->arena.memfd)),
			  -EINVAL);
		check_ret(set_event[i](f->v, TXQ, VDEV_FD_NONE), 0);
		check_ret(set_event[i](f->v, TXQ, event_new()), 0);
		check_ret(set_event[i](f->v, TXQ, event_new()), 0);
		assert_int_equal(count_fds(), before + 1);
		/* a bad one leaves the old one where it is */
		check_ret(set_event[i](f->v, TXQ, VDEV_FD_BAD), -EBADF);
		check_ret(set_event[i](f->v, TXQ, dup(f->wire)), -EINVAL);
		assert_int_equal(count_fds(), before + 1);
		check_ret(set_event[i](f->v, TXQ, VDEV_FD_NONE), 0);
		assert_int_equal(count_fds(), before);
	}
	check_ret(vdev_set_log_fd(f->v, VDEV_FD_BAD), -EBADF);
	check_ret(vdev_set_log_fd(f->v, dup(f->wire)), -EINVAL);
	check_ret(vdev_set_log_fd(f->v, event_new()), 0);
	check_ret(vdev_set_log_fd(f->v, event_new()), 0);
	check_ret(vdev_set_log_fd(f->v, VDEV_FD_NONE), 0);
	assert_int_equal(count_fds(), before);
}

static void the_kick_of_before_may_be_set_again(void **state)
{
	struct devfix *f = *state;
	unsigned int before;

	devfix_start(f, V1, 8);
	before = count_fds();
	check_ret(vdev_set_vring_kick(f->v, TXQ, dup(f->kick[TXQ])), 0);
	assert_int_equal(count_fds(), before);
	devfix_kick(f, TXQ);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 1);
}

static void kicks_are_not_read(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1, 8);
	for (int i = 0; i < 3; i++)
		devfix_kick(f, TXQ);
	assert_int_equal(event_take(f->kick[TXQ]), 3);
}

static void a_kick_that_came_before_counts(void **state)
{
	struct devfix *f = *state;
	uint64_t one = 1;

	devfix_start(f, V1, 8);
	check_ret(vdev_set_vring_kick(f->v, TXQ, VDEV_FD_NONE), 0);
	check_ret(write(f->kick[TXQ], &one, 8), 8);
	devfix_settle(f);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 0);
	check_ret(vdev_set_vring_kick(f->v, TXQ, dup(f->kick[TXQ])), 0);
	devfix_settle(f);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 1);
}

static void both_rings_may_share_a_kick(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1, 8);
	check_ret(vdev_set_vring_kick(f->v, RXQ, dup(f->kick[TXQ])), 0);
	devfix_kick(f, TXQ);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 1);
	assert_int_equal(devfix_counters(f, RXQ)->kicks, 1);
	check_ret(vdev_set_vring_kick(f->v, RXQ, VDEV_FD_NONE), 0);
	devfix_kick(f, TXQ);
	assert_int_equal(devfix_counters(f, TXQ)->kicks, 2);
}

static void a_call_may_change_while_the_ring_runs(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1, 8);
	check_ret(vdev_set_vring_call(f->v, TXQ, dup(f->call[RXQ])), 0);
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	assert_int_equal(event_take(f->call[TXQ]), 0);
	assert_int_equal(event_take(f->call[RXQ]), 1);
}

/* ---- backend ---- */

static void a_backend_needs_a_table_even_to_be_taken_away(void **state)
{
	struct devfix *f = *state;

	check_ret(vdev_set_owner(f->v, arena_aspace(&f->arena)), 0);
	check_ret(devfix_backend(f, RXQ, -1), -EFAULT);
	check_ret(devfix_backend(f, RXQ, f->backend), -EFAULT);
	check_ret(devfix_backend(f, RXQ, VDEV_FD_BAD), -EFAULT);
	devfix_table(f);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	check_ret(devfix_backend(f, RXQ, VDEV_FD_BAD), -ENOTSOCK);
}

static void a_backend_needs_ring_addresses_in_user_space(void **state)
{
	struct devfix *f = *state;

	devfix_own(f);
	check_ret(set_addr(f, RXQ, KERNEL, 0, 0), 0);
	check_ret(devfix_backend(f, RXQ, -1), -EFAULT);
	check_ret(devfix_backend(f, RXQ, VDEV_FD_BAD), -EFAULT);
	check_ret(set_addr(f, RXQ, 0, 0, 0), 0);
	check_ret(devfix_backend(f, RXQ, -1), 0);
	/* these are, but there is nothing */
	check_ret(devfix_backend(f, RXQ, VDEV_FD_BAD), -ENOTSOCK);
	check_ret(devfix_backend(f, RXQ, f->arena.memfd), -ENOTSOCK);
	check_ret(devfix_backend(f, RXQ, f->backend), -EFAULT);
	assert_false(vdev_vq_active(f->v, RXQ));
	assert_int_equal(sockport.ports, 0);
}

static void the_ports_own_refusal_is_passed_on(void **state)
{
	struct devfix *f = *state;
	unsigned int before;

	prepare(f);
	before = count_fds();
	sockport.fd_error = -EINVAL; /* a tap without interface */
	check_ret(devfix_backend(f, RXQ, f->backend), -EINVAL);
	sockport.fd_error = -ENOMEM;
	check_ret(devfix_backend(f, RXQ, f->backend), -ENOMEM);
	assert_int_equal(count_fds(), before);
	assert_false(vdev_vq_active(f->v, RXQ));
}

static void the_same_backend_again_changes_nothing(void **state)
{
	struct devfix *f = *state;
	unsigned int before;

	devfix_start(f, V1, 8);
	before = count_fds();
	drv_move(&f->q[TXQ], 5); /* a restart would read this used index */
	check_ret(devfix_backend(f, TXQ, f->backend), 0);
	assert_int_equal(count_fds(), before);
	f->q[TXQ].avail->idx = 0;
	f->q[TXQ].next = 0;
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	assert_int_equal(drv_used_idx(&f->q[TXQ]), 1);
}

static void another_backend_replaces_the_first(void **state)
{
	struct devfix *f = *state;
	unsigned int before;
	uint8_t frame[100];
	int fds[2];

	devfix_start(f, V1, 8);
	before = count_fds();
	sockport_pair(fds);
	check_ret(devfix_backend(f, TXQ, fds[0]), 0);
	assert_int_equal(count_fds(), before + 2);
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), -EAGAIN);
	check_ret(read(fds[1], frame, sizeof(frame)), 60);
	close(fds[0]);
	close(fds[1]);
}

static void a_bad_descriptor_leaves_the_backend_in_place(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	devfix_start(f, V1, 8);
	check_ret(devfix_backend(f, TXQ, VDEV_FD_BAD), -ENOTSOCK);
	check_ret(devfix_backend(f, TXQ, f->arena.memfd), -ENOTSOCK);
	assert_true(vdev_vq_active(f->v, TXQ));
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	devfix_kick(f, TXQ);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static void stopping_a_stopped_ring_is_fine(void **state)
{
	struct devfix *f = *state;

	devfix_start(f, V1, 8);
	for (int i = 0; i < 3; i++)
		check_ret(devfix_backend(f, TXQ, -1), 0);
	assert_false(vdev_vq_active(f->v, TXQ));
	assert_true(vdev_vq_active(f->v, RXQ));
	assert_int_equal(sockport.ports, 1);
}

static void a_start_runs_the_ring_without_a_kick(void **state)
{
	struct devfix *f = *state;
	uint8_t frame[100];

	prepare(f);
	drv_offer(&f->q[TXQ], 0, GPA_A, 60, 0);
	check_ret(devfix_backend(f, TXQ, f->backend), 0);
	devfix_settle(f);
	check_ret(wire_recv(f, frame, sizeof(frame)), 60);
}

static int open_null_port(void *ctx, unsigned int qi, int fd,
			  struct netport **port)
{
	int ret = netport_check_fd(fd);

	(void)ctx;
	(void)qi;
	return ret < 0 ? ret : netport_null_new(0, false, port);
}

/* A port of the device's own needs one descriptor more. */
static void a_device_short_of_descriptors_closes_none_twice(void **state)
{
	struct devfix *f = *state;
	struct vdev_config config = { .worker = f->worker,
				      .open_port = open_null_port };
	struct rlimit old, none;
	unsigned int before;
	int fd;

	vdev_free(f->v);
	check_ret(vdev_new(&config, &f->v), 0);
	prepare(f);
	fd = dup(f->backend);
	before = count_fds();
	check_ret(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0; /* no new ones; those that are open stay */
	check_ret(setrlimit(RLIMIT_NOFILE, &none), 0);
	bad_closes = 0;
	check_ret(vdev_net_set_backend(f->v, RXQ, fd), -EMFILE);
	check_ret(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(count_fds(), before - 1); /* consumed */
	assert_false(vdev_vq_active(f->v, RXQ));
	assert_int_equal(bad_closes, 0);
}

static void a_device_can_be_printed(void **state)
{
	struct devfix *f = *state;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	vdev_print(f->v, out);
	devfix_start(f, V1, 8);
	vdev_print(f->v, out);
	vdev_owner_died(f->v);
	vdev_print(f->v, out);
	fclose(out);
	assert_non_null(strstr(text, "owner none"));
	assert_non_null(strstr(text, "owner yes"));
	assert_non_null(strstr(text, "owner died"));
	assert_non_null(strstr(text, f->arena.mode == MAPPED ? "mapped\n"
							     : "copied\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_fresh_device_has_no_owner),
		BOTH(a_second_owner_is_refused),
		BOTH(a_reset_makes_room_for_another_owner),
		BOTH(a_reset_releases_every_descriptor),
		BOTH(a_reset_leaves_a_device_as_new),
		BOTH(an_owners_death_releases_every_descriptor),
		BOTH(only_offered_features_are_accepted),
		BOTH(packed_rings_are_offered_only_if_the_config_says_so),
		BOTH(the_features_are_those_of_linux_6_12),
		BOTH(backend_features_are_a_mask_of_bit_numbers),
		BOTH(features_need_no_owner_and_may_change_while_active),
		BOTH(logging_needs_a_bitmap_in_user_space),
		BOTH(regions_must_not_wrap),
		BOTH(an_empty_table_is_one),
		BOTH(overlapping_regions_are_accepted),
		BOTH(user_addresses_are_checked_once_a_ring_is_active),
		BOTH(a_refused_table_leaves_the_old_one_in_force),
		BOTH(a_new_table_is_in_force_at_once),
		BOTH(a_ring_that_does_not_exist_is_enobufs),
		BOTH(a_ring_size_is_a_power_of_two_up_to_32768),
		BOTH(a_base_is_an_index),
		BOTH(a_packed_ring_has_any_size_up_to_32768),
		BOTH(a_packed_base_is_read_back_as_it_was_set),
		BOTH(a_packed_base_has_two_halves_once_the_ring_has_run),
		BOTH(a_packed_base_outside_the_ring_keeps_it_from_starting),
		BOTH(the_printout_has_the_ring_format),
		BOTH(size_and_base_of_an_active_ring_are_busy),
		BOTH(ring_addresses_are_checked_for_flags_then_alignment),
		BOTH(addresses_of_an_active_ring_must_be_in_user_space),
		BOTH(the_log_of_an_active_ring_must_be_in_user_space),
		BOTH(under_an_iotlb_the_log_address_of_a_ring_is_not_checked),
		BOTH(one_rings_refusal_of_a_log_does_not_stop_the_other),
		BOTH(a_busyloop_timeout_is_any_number_at_any_time),
		BOTH(only_eventfds_are_taken_for_events),
		BOTH(the_kick_of_before_may_be_set_again),
		BOTH(kicks_are_not_read),
		BOTH(a_kick_that_came_before_counts),
		BOTH(both_rings_may_share_a_kick),
		BOTH(a_call_may_change_while_the_ring_runs),
		BOTH(a_backend_needs_a_table_even_to_be_taken_away),
		BOTH(a_backend_needs_ring_addresses_in_user_space),
		BOTH(the_ports_own_refusal_is_passed_on),
		BOTH(the_same_backend_again_changes_nothing),
		BOTH(another_backend_replaces_the_first),
		BOTH(a_bad_descriptor_leaves_the_backend_in_place),
		BOTH(stopping_a_stopped_ring_is_fine),
		BOTH(a_start_runs_the_ring_without_a_kick),
		BOTH(a_device_short_of_descriptors_closes_none_twice),
		BOTH(a_device_can_be_printed),
	};

	return cmocka_run_group_tests_name("vdev", tests, NULL, NULL);
}
