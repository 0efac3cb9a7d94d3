/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_iotlb.c tests IOTLB messages through any transport: which the device
 * takes, and which it sends. test_memory.c tests their effect, and
 * test_chardev.c how they are read from and written to the character device.
 */
#include "conf.h"

#include <poll.h>

#include <linux/virtio_config.h>

#define KERNEL_UVA UINT64_C(0xffff888000000000)
#define PLATFORM VMM_BIT(VIRTIO_F_ACCESS_PLATFORM)

/* ---- to the device ---- */

struct send_row {
	const char *name;
	bool iotlb; /* ACCESS_PLATFORM on */
	uint8_t type;
	uint64_t iova, size, uva;
	uint8_t perm;
	uint32_t asid;
	int want;
};

// clang-format off
#define OFF false
#define ON true
#define UVA 0x10000 /* never looked at, only its range */
static const struct send_row sends[] = {
/* name                      iotlb type iova   size    uva  perm asid want */
{ "send UPDATE",               ON,  2,   0,     4096,   UVA,  3,  0,  0 },
{ "send UPDATE, off",          OFF, 2,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "send UPDATE size 0",        ON,  2,   0,     0,      UVA,  3,  0,  -EINVAL },
{ "send UPDATE kernel",        ON,  2,   0,     4096, KERNEL_UVA, 3, 0, -EFAULT },
{ "send UPDATE kernel perm 0", ON,  2,   0,     4096, KERNEL_UVA, 0, 0, 0 },
{ "send UPDATE perm 255",      ON,  2,   0,     4096,   UVA,  255, 0, 0 },
{ "send UPDATE uva wrap",      ON,  2,   0,     4096,  ~0ULL, 3,  0,  -EFAULT },
{ "send UPDATE iova wrap",     ON,  2,  ~0ULL,  4096,   UVA,  3,  0,  -EINVAL },
{ "send UPDATE iova top",      ON,  2,  -4096ULL, 4096, UVA,  3,  0,  0 },
{ "send UPDATE 1 byte",        ON,  2,   3,     1,      UVA + 7, 3, 0, 0 },
{ "send UPDATE asid 1",        ON,  2,   0,     4096,   UVA,  3,  1,  -EINVAL },
{ "send INVALIDATE",           ON,  3,   0,     4096,   0,    0,  0,  0 },
{ "send INVALIDATE, off",      OFF, 3,   0,     4096,   0,    0,  0,  -EFAULT },
{ "send INVALIDATE all",       ON,  3,   0,    ~0ULL,   0,    0,  0,  0 },
{ "send type 0",               ON,  0,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "send MISS",                 ON,  1,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "send ACCESS_FAIL",          ON,  4,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "send BATCH_BEGIN",          ON,  5,   0,     4096,   UVA,  3,  0,  -EOPNOTSUPP },
{ "send BATCH_END",            ON,  6,   0,     4096,   UVA,  3,  0,  -EOPNOTSUPP },
{ "send type 255",             ON,  255, 0,     4096,   UVA,  3,  0,  -EINVAL },
};
// clang-format on

static struct vmm *open_vmm(uint64_t features, uint64_t backend_features)
{
	struct vmm_config c = {
		.transport = conf_transport(),
		.path = conf_dev(),
		.mem_size = 4U << 20,
		.features = features,
		.backend_features = backend_features,
	};
	struct vmm *v;

	check_ret(vmm_new(&c, &v), 0);
	check_ret(vmm_init(v), 0);
	return v;
}

/* A device without rings: messages need an owner only. */
static struct vmm *owned(uint64_t features)
{
	struct vmm *v = open_vmm(features, VMM_BACKEND_IOTLB_V2);

	check_ret(uvh_set_features(v->fe, features), 0);
	if (conf_transport() != VMM_USER)
		check_ret(uvh_set_backend_features(v->fe, VMM_BACKEND_IOTLB_V2),
			  0);
	return v;
}

static void send_message(void **state)
{
	const struct send_row *r = *state;
	struct vhost_iotlb_msg msg = {
		.iova = r->iova,
		.size = r->size,
		.uaddr = r->uva,
		.perm = r->perm,
		.type = r->type,
	};
	struct vmm *v = owned(r->iotlb ? PLATFORM : 0);

	check_ret(uvh_iotlb_send(v->fe, &msg, r->asid),
		  conf_expect(r->name, r->want));
	vmm_free(v);
}

/* ---- from the device ---- */

static void without_a_message_there_is_none(void **state)
{
	struct vmm *v = owned(PLATFORM);
	struct pollfd p = { .fd = uvh_event_fd(v->fe), .events = POLLIN };
	struct vhost_iotlb_msg msg;

	(void)state;
	check_ret(uvh_iotlb_recv(v->fe, &msg), -EAGAIN);
	assert_int_equal(poll(&p, 1, 0), 0);
	vmm_free(v);
}

/*
 * A device in IOTLB mode with a message: it finds no translation for the used
 * ring, does not start, and asks for it.
 */
static struct vmm *vmm_with_miss(void)
{
	struct vmm *v = open_vmm(PLATFORM, VMM_BACKEND_IOTLB_V2);

	check_ret(vmm_prepare(v), 0);
	check_ret(vmm_backend(v, VMM_RX, conf_shared_tap()),
		  conf_expect("start without a translation", -EFAULT));
	return v;
}

static void miss_names_the_used_ring(void **state)
{
	struct vmm *v = vmm_with_miss();
	uint64_t used = vmm_vring_addr(v, VMM_RX).used_user_addr;
	struct vhost_iotlb_msg m;

	(void)state;
	check_ret(vmm_iotlb_next(v, &m, CONF_MS), 0);
	assert_int_equal(m.type, VHOST_IOTLB_MISS);
	assert_int_equal(m.iova, used);
	assert_int_equal(m.perm,
			 conf_expect("miss of the used ring", VHOST_ACCESS_RO));
	assert_int_equal(m.size, 0);
	assert_int_equal(m.uaddr, 0);
	vmm_free(v);
}

static void event_fd_is_up_while_a_message_waits(void **state)
{
	struct vmm *v = vmm_with_miss();
	struct pollfd p = { .fd = uvh_event_fd(v->fe), .events = POLLIN };
	struct vhost_iotlb_msg msg;

	(void)state;
	assert_int_equal(poll(&p, 1, CONF_MS), 1);
	assert_int_equal(p.revents, POLLIN);
	assert_int_equal(poll(&p, 1, 0), 1);
	check_ret(uvh_iotlb_recv(v->fe, &msg), 0);
	while (uvh_iotlb_recv(v->fe, &msg) == 0)
		;
	assert_int_equal(poll(&p, 1, 0), 0);
	vmm_free(v);
}

static void enabling_the_iotlb_keeps_ring_addresses(void **state)
{
	struct vmm *v = vmm_with_miss();
	uint64_t used = vmm_vring_addr(v, VMM_RX).used_user_addr;
	struct vhost_iotlb_msg msg;

	(void)state;
	check_ret(vmm_iotlb_next(v, &msg, CONF_MS), 0);
	check_ret(uvh_set_features(v->fe, 0), 0);
	check_ret(uvh_reset_owner(v->fe), 0);
	check_ret(uvh_set_owner(v->fe), 0);
	v->features = 0; /* addresses first, the bit afterwards */
	check_ret(vmm_prepare(v), 0);
	check_ret(uvh_set_features(v->fe, PLATFORM), 0);
	check_ret(vmm_backend(v, VMM_RX, conf_shared_tap()), -EFAULT);
	check_ret(vmm_iotlb_next(v, &msg, CONF_MS), 0);
	assert_int_equal(msg.iova == used,
			 conf_expect("enabling the IOTLB keeps addresses", 1));
	vmm_free(v);
}

/* After the event: it was up, and now nothing is there. */
static void check_dropped(struct vmm *v)
{
	struct vhost_iotlb_msg msg;
	int ret = uvh_iotlb_recv(v->fe, &msg);

	if (ret != -EBADFD) /* a reset device of the kernel */
		check_ret(ret, -EAGAIN);
	vmm_free(v);
}

static void stopping_a_ring_drops_messages(void **state)
{
	struct vmm *v = vmm_with_miss();

	(void)state;
	check_ret(vmm_wait_event(uvh_event_fd(v->fe), CONF_MS), 0);
	check_ret(vmm_backend(v, VMM_TX, -1), 0);
	check_dropped(v);
}

static void reset_owner_drops_messages(void **state)
{
	struct vmm *v = vmm_with_miss();

	(void)state;
	check_ret(vmm_wait_event(uvh_event_fd(v->fe), CONF_MS), 0);
	check_ret(uvh_reset_owner(v->fe), 0);
	check_dropped(v);
}

static void failed_start_in_iotlb_mode_signals_err(void **state)
{
	struct vmm *v = vmm_with_miss();

	(void)state;
	check_ret(vmm_wait_event(uvh_event_fd(v->fe), CONF_MS), 0);
	assert_int_equal(
		vmm_event_count(v->q[VMM_RX].err),
		conf_expect("err of a start without a translation", 1));
	vmm_free(v);
}

static void iotlb_after_the_feature_is_cleared(void **state)
{
	struct vmm *v = owned(PLATFORM);

	(void)state;
	check_ret(uvh_set_features(v->fe, 0), 0);
	check_ret(vmm_iotlb(v, VHOST_IOTLB_UPDATE, 0, 4096, UVA, 3),
		  conf_expect("iotlb when the feature is cleared", 0));
	vmm_free(v);
}

static const struct CMUnitTest functions[] = {
	cmocka_unit_test(without_a_message_there_is_none),
	cmocka_unit_test(miss_names_the_used_ring),
	cmocka_unit_test(event_fd_is_up_while_a_message_waits),
	cmocka_unit_test(enabling_the_iotlb_keeps_ring_addresses),
	cmocka_unit_test(stopping_a_ring_drops_messages),
	cmocka_unit_test(reset_owner_drops_messages),
	cmocka_unit_test(failed_start_in_iotlb_mode_signals_err),
	cmocka_unit_test(iotlb_after_the_feature_is_cleared),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[COUNT(sends) + COUNT(functions)];
	size_t n = 0;
	size_t i;

	for (i = 0; i < COUNT(sends); i++)
		tests[n++] = (struct CMUnitTest){
			.name = sends[i].name,
			.test_func = send_message,
			.initial_state = (void *)(uintptr_t)&sends[i],
		};
	for (i = 0; i < COUNT(functions); i++)
		tests[n++] = functions[i];
	return conf_main("iotlb", tests, n, argc, argv);
}
