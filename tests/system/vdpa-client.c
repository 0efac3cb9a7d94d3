/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vdpa-client PATH - drives the net device of vduse-net through the library's
 * vdpa transport, as a driver does: everything that can be asked, a memory
 * table that becomes IOTLB entries, frames through both rings, a reset, and all
 * of it again.
 */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "vmm.h"

#define WAIT_MS 60000
#define FRAME 100
#define HDR 12
#define FEATURES \
	(VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_F_ACCESS_PLATFORM))
#define BATCH VMM_BIT(VHOST_BACKEND_F_IOTLB_BATCH)

static const char *path;

static struct vmm *open_vmm(void)
{
	struct vmm_config c = { .transport = VMM_VDPA,
				.path = path,
				.mem_kind = VMM_MEM_MEMFD,
				.features = FEATURES };
	struct vmm *v = NULL;

	check_ret(vmm_new(&c, &v), 0);
	return v;
}

static int setup(void **state)
{
	*state = open_vmm();
	return 0;
}

static int teardown(void **state)
{
	vmm_free(*state);
	return 0;
}

static void add_status(struct vmm *v, uint8_t bits)
{
	uint8_t status = 0;

	check_ret(uvh_get_status(v->fe, &status), 0);
	check_ret(uvh_set_status(v->fe, status | bits), 0);
	check_ret(uvh_get_status(v->fe, &status), 0);
	assert_int_equal(status & bits, bits);
}

static void negotiate(struct vmm *v, uint64_t backend_features)
{
	check_ret(uvh_set_owner(v->fe), 0);
	check_ret(uvh_set_backend_features(v->fe, backend_features), 0);
	check_ret(uvh_set_status(v->fe, 0), 0);
	add_status(v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	add_status(v, VIRTIO_CONFIG_S_DRIVER);
	check_ret(uvh_set_features(v->fe, v->features), 0);
	add_status(v, VIRTIO_CONFIG_S_FEATURES_OK);
}

static void start(struct vmm *v, uint64_t backend_features)
{
	unsigned int qi;

	negotiate(v, backend_features);
	check_ret(vmm_table(v), 0);
	for (qi = 0; qi < VMM_QUEUES; qi++) {
		struct vhost_vring_addr addr = vmm_vring_addr(v, qi);

		check_ret(uvh_set_vring_num(v->fe, qi, v->q[qi].ring.num), 0);
		check_ret(uvh_set_vring_base(v->fe, qi, 0), 0);
		check_ret(uvh_set_vring_addr(v->fe, &addr), 0);
		check_ret(uvh_set_vring_call(v->fe, qi, v->q[qi].call), 0);
		check_ret(uvh_vring_start(v->fe, qi, -1), 0);
		check_ret(uvh_set_vring_kick(v->fe, qi, v->q[qi].kick), 0);
		check_ret(uvh_set_vring_num(v->fe, qi, 256), -EBUSY);
	}
	add_status(v, VIRTIO_CONFIG_S_DRIVER_OK);
}

static void exchange(struct vmm *v, unsigned int n)
{
	uint64_t gpa = vmm_mem_alloc(&v->mem, 4096, 64);
	struct vmm_used used;

	assert_int_not_equal(gpa, 0);
	while (n--) {
		struct vmm_seg out = { .addr = gpa, .len = HDR + FRAME };
		struct vmm_seg in = { .addr = gpa + 2048,
				      .len = 2048,
				      .write = true };

		memset(vmm_mem_ptr(&v->mem, gpa), 0, HDR + FRAME);
		check_ok(vmm_ring_add(&v->q[VMM_TX].ring, &out, 1, NULL));
		check_ok(vmm_ring_add(&v->q[VMM_RX].ring, &in, 1, NULL));
		vmm_publish_kick(v, VMM_TX);
		vmm_publish_kick(v, VMM_RX);
		check_ret(vmm_wait_used(v, VMM_TX, 1, WAIT_MS), 0);
		check_ret(vmm_ring_reap(&v->q[VMM_TX].ring, &used, 1), 1);
		check_ret(vmm_wait_used(v, VMM_RX, 1, WAIT_MS), 0);
		check_ret(vmm_ring_reap(&v->q[VMM_RX].ring, &used, 1), 1);
		assert_int_equal(used.len, HDR + FRAME);
	}
}

static void what_the_device_says_of_itself(void **state)
{
	struct vmm *v = *state;
	uint64_t features = 0, first = 1, last = 0;
	uint32_t id = 0, size = 0, n = 0;
	uint16_t num = 0;

	assert_string_equal(uvh_transport(v->fe), "vdpa");
	assert_int_equal(uvh_queue_count(v->fe), 2);
	check_ret(uvh_get_vring_num_max(v->fe, &num), 0);
	assert_int_equal(num, 256);
	check_ret(uvh_get_device_id(v->fe, &id), 0);
	assert_int_equal(id, VIRTIO_ID_NET);
	check_ret(uvh_get_features(v->fe, &features), 0);
	assert_int_equal(features & FEATURES, FEATURES);
	check_ret(uvh_get_config_size(v->fe, &size), 0);
	assert_int_equal(size, sizeof(struct virtio_net_config));
	check_ret(uvh_get_iova_range(v->fe, &first, &last), 0);
	assert_true(first < last);
	check_ret(uvh_get_group_count(v->fe, &n), 0);
	assert_int_equal(n, 1);
	check_ret(uvh_get_as_count(v->fe, &n), 0);
	assert_int_equal(n, 1);
	check_ret(uvh_get_backend_features(v->fe, &features), 0);
	assert_int_equal(features & BATCH, BATCH);
	check_ret(uvh_set_features(v->fe, VMM_BIT(63)), -EOPNOTSUPP);
	check_ret(uvh_set_vring_num(v->fe, 0, 256), -EPERM);
	check_ret(uvh_set_owner(v->fe), 0);
	check_ret(uvh_set_owner(v->fe), -EBUSY);
	check_ret(uvh_get_vring_size(v->fe, 1, &n), 0);
	assert_int_equal(n, 256);
	/* not accepted */
	check_ret(uvh_suspend(v->fe), -EOPNOTSUPP);
	check_ret(uvh_resume(v->fe), -EOPNOTSUPP);
	check_ret(uvh_get_vring_desc_group(v->fe, 0, &n), -EOPNOTSUPP);
	check_ret(uvh_net_set_backend(v->fe, 0, -1), -EOPNOTSUPP);
	check_ret(uvh_reset_owner(v->fe), -EOPNOTSUPP);
}

static void configuration_space(void **state)
{
	struct vmm *v = *state;
	struct virtio_net_config c;

	check_ret(uvh_set_owner(v->fe), 0);
	check_ret(uvh_get_config(v->fe, 0, &c, sizeof(c)), 0);
	assert_int_equal(c.mtu, 1500);
	check_ret(uvh_get_config(v->fe, 200, &c, sizeof(c)), -EINVAL);
	check_ret(uvh_set_config_call(v->fe, v->q[0].err), 0);
	check_ret(uvh_set_config_call(v->fe, -1), 0);
}

static void features_are_final_after_features_ok(void **state)
{
	struct vmm *v = *state;

	negotiate(v, VMM_BACKEND_IOTLB_V2);
	check_ret(uvh_set_features(v->fe, v->features), -EBUSY);
	check_ret(uvh_set_status(v->fe, VIRTIO_CONFIG_S_DRIVER), -EINVAL);
	check_ret(uvh_reset_device(v->fe), 0);
	check_ret(uvh_set_features(v->fe, v->features), 0);
}

static void frames_go_both_ways(void **state)
{
	struct vmm *v = *state;
	uint32_t base = 0;

	start(v, VMM_BACKEND_IOTLB_V2 | BATCH);
	exchange(v, 50);
	check_ret(uvh_get_vring_base(v->fe, VMM_TX, &base), 0);
	assert_int_equal(base, 50);
}

static void and_without_batches(void **state)
{
	struct vmm *v = *state;

	start(v, VMM_BACKEND_IOTLB_V2);
	exchange(v, 5);
}

static void and_after_a_reset(void **state)
{
	struct vmm *v = *state;
	unsigned int qi;

	start(v, VMM_BACKEND_IOTLB_V2 | BATCH);
	exchange(v, 5);
	check_ret(uvh_reset_device(v->fe), 0);
	for (qi = 0; qi < VMM_QUEUES; qi++)
		check_ret(uvh_set_vring_num(v->fe, qi, 256), 0);
}

static void memory_is_changed_by_differences(void **state)
{
	struct vmm *v = *state;
	struct uvh_region r = { .gpa = UINT64_C(8) << 32, .size = 0x10000 };
	struct vmm_seg seg = { .addr = r.gpa, .len = HDR + FRAME };
	struct vmm_region *added;
	struct vmm_used used;

	start(v, VMM_BACKEND_IOTLB_V2 | BATCH);
	exchange(v, 2);
	check_ret(vmm_mem_add(&v->mem, VMM_MEM_MEMFD, r.gpa, r.size), 0);
	added = &v->mem.region[v->mem.n - 1];
	r.uva = (uintptr_t)added->hva;
	r.fd = added->fd;
	check_ret(uvh_add_region(v->fe, &r), 0);
	check_ret(uvh_add_region(v->fe, &r), -EEXIST);
	check_ok(vmm_ring_add(&v->q[VMM_TX].ring, &seg, 1, NULL));
	vmm_publish_kick(v, VMM_TX);
	check_ret(vmm_wait_used(v, VMM_TX, 1, WAIT_MS), 0);
	check_ret(vmm_ring_reap(&v->q[VMM_TX].ring, &used, 1), 1);
	check_ret(uvh_remove_region(v->fe, &r), 0);
	check_ret(uvh_remove_region(v->fe, &r), -ENOENT);
	exchange(v, 2);
	check_ret(vmm_table(v), 0); /* and with the whole table again */
	exchange(v, 2);
}

static void one_at_a_time(void **state)
{
	struct uvh *other;

	(void)state;
	check_ret(uvh_vdpa_open(path, &other), -EBUSY);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(what_the_device_says_of_itself),
		T(configuration_space),
		T(features_are_final_after_features_ok),
		T(frames_go_both_ways),
		T(and_without_batches),
		T(and_after_a_reset),
		T(memory_is_changed_by_differences),
		T(one_at_a_time),
	};

	if (argc != 2) {
		fputs("usage: vdpa-client PATH\n", stderr);
		return 2;
	}
	path = argv[1];
	return cmocka_run_group_tests_name("vdpa", tests, NULL, NULL);
}
