/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_fe.c tests what the frontend library does before a transport is called:
 * arguments that it refuses, calls that a transport does not have, and that the
 * table of differences in its header is true. The transport is the test's and
 * counts calls.
 */
#include "check.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "fe_priv.h"

#define NONE (-12345) /* no call reached the transport */

/* ---- the table in the header ---- */

static const struct {
	const char *name;
	size_t offset;
} ops_rows[] = {
#define ROW(name) { #name, offsetof(struct uvh_ops, name) }
	ROW(get_features),
	ROW(set_features),
	ROW(get_backend_features),
	ROW(set_backend_features),
	ROW(get_protocol_features),
	ROW(set_protocol_features),
	ROW(set_owner),
	ROW(reset_owner),
	ROW(set_mem_table),
	ROW(add_region),
	ROW(remove_region),
	ROW(max_mem_slots),
	ROW(set_log_base),
	ROW(set_log_fd),
	ROW(set_vring_num),
	ROW(set_vring_addr),
	ROW(set_vring_base),
	ROW(get_vring_base),
	ROW(set_vring_kick),
	ROW(set_vring_call),
	ROW(set_vring_err),
	ROW(set_vring_enable),
	ROW(set_vring_busyloop),
	ROW(iotlb_send),
	ROW(iotlb_recv),
	ROW(handle_events),
	ROW(net_set_backend),
	ROW(net_set_mtu),
	ROW(net_send_rarp),
	ROW(get_config),
	ROW(set_config),
	ROW(set_config_call),
	ROW(get_status),
	ROW(set_status),
	ROW(reset_device),
	ROW(get_device_id),
	ROW(get_vring_num_max),
	ROW(get_config_size),
	ROW(get_iova_range),
	ROW(get_group_count),
	ROW(get_as_count),
	ROW(get_vring_group),
	ROW(get_vring_desc_group),
	ROW(set_group_asid),
	ROW(get_vring_size),
	ROW(suspend),
	ROW(resume),
	ROW(get_inflight),
	ROW(set_inflight),
	ROW(postcopy_advise),
	ROW(postcopy_listen),
	ROW(postcopy_end),
	ROW(postcopy_base),
	ROW(set_device_state),
	ROW(check_device_state),
	ROW(vring_kick),
#undef ROW
};

/* Everything between the first operation and event_fd is a pointer. */
_Static_assert(sizeof(ops_rows) / sizeof(ops_rows[0]) ==
		       (offsetof(struct uvh_ops, event_fd) -
			offsetof(struct uvh_ops, get_features)) /
			       sizeof(void (*)(void)),
	       "a row for each operation");

static bool can(const struct uvh_ops *ops, size_t offset)
{
	void (*fn)(void);

	memcpy(&fn, (const char *)ops + offset, sizeof(fn));
	return fn != NULL;
}

static void check_row(const char *line, const char *name, size_t offset)
{
	const struct uvh_ops *const ops[] = { &fe_kernel_ops, &fe_vdpa_ops,
					      &fe_user_ops, &fe_inproc_ops };
	char word[4][32];

	assert_int_equal(sscanf(line, " * %*s %31s %31s %31s %31s", word[0],
				word[1], word[2], word[3]),
			 4);
	for (unsigned int i = 0; i < 4; i++)
		if (can(ops[i], offset) != (strcmp(word[i], "-") != 0))
			fail_msg("%s of %s: the header says %s", name,
				 ops[i]->name, word[i]);
}

static void table_of_the_header_is_true(void **state)
{
	bool seen[ARRAY_SIZE(ops_rows)] = { 0 };
	FILE *f = fopen(FRONTEND_H, "re");
	char line[256], name[64];

	(void)state;
	if (!f)
		skip_because("no " FRONTEND_H " here");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " * %63s", name) != 1)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(ops_rows); i++)
			if (!strcmp(name, ops_rows[i].name)) {
				check_row(line, name, ops_rows[i].offset);
				seen[i] = true;
			}
	}
	fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(ops_rows); i++)
		if (!seen[i])
			fail_msg("the header has no row %s", ops_rows[i].name);
}

/* ---- a transport of the test's ---- */

struct fake {
	struct uvh fe;
	int called; /* argument of the last call, or NONE */
	int ret;    /* what the next calls return */
	unsigned int n;
	struct uvh_region table[UVH_REGIONS_MAX];
};

static int note(struct uvh *fe, int what)
{
	struct fake *f = container_of(fe, struct fake, fe);

	f->called = what;
	return f->ret;
}

static int fake_get_features(struct uvh *fe, uint64_t *features)
{
	(void)fe;
	*features = BIT(VIRTIO_F_VERSION_1) | BIT(34);
	return 0;
}

static int fake_set_features(struct uvh *fe, uint64_t features)
{
	return note(fe, (int)(features >> 32));
}

static int fake_void(struct uvh *fe)
{
	return note(fe, 1);
}

static int fake_set_mem_table(struct uvh *fe, const struct uvh_region *r,
			      unsigned int n)
{
	struct fake *f = container_of(fe, struct fake, fe);

	f->n = n;
	memcpy(f->table, r, n * sizeof(*r));
	return note(fe, (int)n);
}

static int fake_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	(void)fe;
	*slots = 3;
	return 0;
}

static int fake_log_base(struct uvh *fe, uint64_t uva, uint64_t size, int fd,
			 uint64_t offset)
{
	(void)uva, (void)fd, (void)offset;
	return note(fe, (int)size);
}

static int fake_fd(struct uvh *fe, int fd)
{
	return note(fe, fd);
}

static int fake_num(struct uvh *fe, unsigned int qi, unsigned int num)
{
	(void)qi;
	return note(fe, (int)num);
}

static int fake_addr(struct uvh *fe, const struct vhost_vring_addr *addr)
{
	return note(fe, (int)addr->index);
}

static int fake_get_base(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	*base = 77;
	return note(fe, (int)qi);
}

static int fake_ring_fd(struct uvh *fe, unsigned int qi, int fd)
{
	(void)qi;
	return note(fe, fd);
}

static int fake_enable(struct uvh *fe, unsigned int qi, bool enable)
{
	(void)qi;
	return note(fe, enable);
}

static int fake_iotlb(struct uvh *fe, const struct vhost_iotlb_msg *msg,
		      uint32_t asid)
{
	(void)asid;
	return note(fe, msg->type);
}

static int fake_mtu(struct uvh *fe, uint16_t mtu)
{
	return note(fe, mtu);
}

static int fake_get_config(struct uvh *fe, uint32_t offset, void *buf,
			   uint32_t len)
{
	(void)buf, (void)len;
	return note(fe, (int)offset);
}

static int fake_status(struct uvh *fe, uint8_t status)
{
	return note(fe, status);
}

static int fake_set_inflight(struct uvh *fe, const struct uvh_inflight *i)
{
	return note(fe, i->queues);
}

static int fake_state(struct uvh *fe, enum uvh_state_direction direction,
		      int fd, int *other)
{
	(void)fd, (void)other;
	return note(fe, (int)direction);
}

static void fake_close(struct uvh *fe)
{
	struct fake *f = container_of(fe, struct fake, fe);

	fe_fini(fe);
	free(f);
}

static const struct uvh_ops no_ops = { .name = "none", .close = fake_close };

static const struct uvh_ops kick_ops = {
	.name = "fake",
	.start = UVH_START_KICK,
	.get_features = fake_get_features,
	.set_features = fake_set_features,
	.set_owner = fake_void,
	.reset_owner = fake_void,
	.set_mem_table = fake_set_mem_table,
	.add_region = fe_add_by_table,
	.remove_region = fe_remove_by_table,
	.max_mem_slots = fake_max_mem_slots,
	.set_log_base = fake_log_base,
	.set_log_fd = fake_fd,
	.set_vring_num = fake_num,
	.set_vring_addr = fake_addr,
	.set_vring_base = fake_num,
	.get_vring_base = fake_get_base,
	.set_vring_kick = fake_ring_fd,
	.set_vring_call = fake_ring_fd,
	.set_vring_err = fake_ring_fd,
	.set_vring_enable = fake_enable,
	.iotlb_send = fake_iotlb,
	.net_set_mtu = fake_mtu,
	.get_config = fake_get_config,
	.set_status = fake_status,
	.reset_device = fake_void,
	.set_inflight = fake_set_inflight,
	.set_device_state = fake_state,
	.close = fake_close,
};

/* The same, started in another way. */
static struct uvh_ops backend_ops, enable_ops;

static struct fake *new_fake(const struct uvh_ops *ops)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fe_init(&f->fe, ops, 4);
	f->called = NONE;
	return f;
}

static int setup(void **state)
{
	struct fake *f = new_fake(&kick_ops);

	check_ret(uvh_set_owner(&f->fe), 0);
	f->called = NONE;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	uvh_close(*state);
	return 0;
}

/* The call failed with @want, before the transport. */
#define check_refused(f, expr, want)                 \
	do {                                         \
		(f)->called = NONE;                  \
		check_ret(expr, want);               \
		assert_int_equal((f)->called, NONE); \
	} while (0)

/* It went through, with @what. */
#define check_done(f, expr, what)                    \
	do {                                         \
		(f)->called = NONE;                  \
		check_ret(expr, 0);                  \
		assert_int_equal((f)->called, what); \
	} while (0)

/* ---- tests ---- */

static void what_a_transport_lacks_is_eopnotsupp(void **state)
{
	struct fake *f = new_fake(&no_ops);
	struct vhost_vring_addr addr = { 0 };
	struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_UPDATE, .size = 1 };
	struct uvh_region region = { .size = 1, .fd = -1 };
	struct uvh_inflight inflight = { .fd = 0, .size = 1 };
	struct uvh *fe = &f->fe;
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;
	uint8_t mac[6] = { 0 }, u8;
	unsigned int n;
	int fd = check_ok(eventfd(0, 0));

	(void)state;
	f->fe.owner = true;
	check_ret(uvh_get_features(fe, &u64), -EOPNOTSUPP);
	check_ret(uvh_set_features(fe, 0), -EOPNOTSUPP);
	check_ret(uvh_get_backend_features(fe, &u64), -EOPNOTSUPP);
	check_ret(uvh_set_backend_features(fe, 0), -EOPNOTSUPP);
	check_ret(uvh_get_protocol_features(fe, &u64), -EOPNOTSUPP);
	check_ret(uvh_set_protocol_features(fe, 0), -EOPNOTSUPP);
	check_ret(uvh_set_owner(fe), -EOPNOTSUPP);
	check_ret(uvh_reset_owner(fe), -EOPNOTSUPP);
	check_ret(uvh_set_mem_table(fe, &region, 1), -EOPNOTSUPP);
	check_ret(uvh_add_region(fe, &region), -EOPNOTSUPP);
	check_ret(uvh_remove_region(fe, &region), -EOPNOTSUPP);
	check_ret(uvh_max_mem_slots(fe, &n), -EOPNOTSUPP);
	check_ret(uvh_set_log_base(fe, 0, 0, -1, 0), -EOPNOTSUPP);
	check_ret(uvh_set_log_fd(fe, -1), -EOPNOTSUPP);
	check_ret(uvh_set_vring_num(fe, 0, 1), -EOPNOTSUPP);
	check_ret(uvh_set_vring_addr(fe, &addr), -EOPNOTSUPP);
	check_ret(uvh_set_vring_base(fe, 0, 0), -EOPNOTSUPP);
	check_ret(uvh_get_vring_base(fe, 0, &u32), -EOPNOTSUPP);
	check_ret(uvh_set_vring_kick(fe, 0, -1), -EOPNOTSUPP);
	check_ret(uvh_set_vring_call(fe, 0, -1), -EOPNOTSUPP);
	check_ret(uvh_set_vring_err(fe, 0, -1), -EOPNOTSUPP);
	check_ret(uvh_set_vring_enable(fe, 0, true), -EOPNOTSUPP);
	check_ret(uvh_set_vring_busyloop(fe, 0, 0), -EOPNOTSUPP);
	check_ret(uvh_vring_start(fe, 0, -1), -EOPNOTSUPP);
	check_ret(uvh_vring_stop(fe, 0, NULL), -EOPNOTSUPP);
	check_ret(uvh_iotlb_send(fe, &msg, 0), -EOPNOTSUPP);
	check_ret(uvh_iotlb_recv(fe, &msg), -EOPNOTSUPP);
	check_ret(uvh_event_fd(fe), -EOPNOTSUPP);
	check_ret(uvh_handle_events(fe), -EOPNOTSUPP);
	check_ret(uvh_net_set_backend(fe, 0, -1), -EOPNOTSUPP);
	check_ret(uvh_net_set_mtu(fe, 1500), -EOPNOTSUPP);
	check_ret(uvh_net_send_rarp(fe, mac), -EOPNOTSUPP);
	check_ret(uvh_get_config(fe, 0, &u8, 1), -EOPNOTSUPP);
	check_ret(uvh_set_config(fe, 0, &u8, 1, UVH_CONFIG_DRIVER),
		  -EOPNOTSUPP);
	check_ret(uvh_set_config_call(fe, -1), -EOPNOTSUPP);
	check_ret(uvh_get_status(fe, &u8), -EOPNOTSUPP);
	check_ret(uvh_set_status(fe, 0), -EOPNOTSUPP);
	check_ret(uvh_reset_device(fe), -EOPNOTSUPP);
	check_ret(uvh_get_device_id(fe, &u32), -EOPNOTSUPP);
	check_ret(uvh_get_vring_num_max(fe, &u16), -EOPNOTSUPP);
	check_ret(uvh_get_config_size(fe, &u32), -EOPNOTSUPP);
	check_ret(uvh_get_iova_range(fe, &u64, &u64), -EOPNOTSUPP);
	check_ret(uvh_get_group_count(fe, &u32), -EOPNOTSUPP);
	check_ret(uvh_get_as_count(fe, &u32), -EOPNOTSUPP);
	check_ret(uvh_get_vring_group(fe, 0, &u32), -EOPNOTSUPP);
	check_ret(uvh_get_vring_desc_group(fe, 0, &u32), -EOPNOTSUPP);
	check_ret(uvh_set_group_asid(fe, 0, 0), -EOPNOTSUPP);
	check_ret(uvh_get_vring_size(fe, 0, &u32), -EOPNOTSUPP);
	check_ret(uvh_suspend(fe), -EOPNOTSUPP);
	check_ret(uvh_resume(fe), -EOPNOTSUPP);
	check_ret(uvh_get_inflight(fe, &inflight), -EOPNOTSUPP);
	check_ret(uvh_set_inflight(fe, &inflight), -EOPNOTSUPP);
	check_ret(uvh_postcopy_advise(fe, &fd), -EOPNOTSUPP);
	check_ret(uvh_postcopy_listen(fe), -EOPNOTSUPP);
	check_ret(uvh_postcopy_end(fe), -EOPNOTSUPP);
	check_ret(uvh_postcopy_base(fe, 0, &u64), -EOPNOTSUPP);
	check_ret(uvh_set_device_state(fe, UVH_STATE_SAVE, dup(fd), &fd),
		  -EOPNOTSUPP);
	check_ret(uvh_check_device_state(fe), -EOPNOTSUPP);
	check_ret(uvh_vring_kick(fe, 0), -EOPNOTSUPP);
	close(fd);
	uvh_close(fe);
}

static void without_owner_nothing_but_features(void **state)
{
	struct fake *f = new_fake(&kick_ops);
	struct vhost_vring_addr addr = { 0 };
	struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_UPDATE, .size = 1 };
	struct uvh *fe = &f->fe;
	uint64_t features;
	uint32_t base;

	(void)state;
	check_ret(uvh_get_features(fe, &features), 0);
	check_done(f, uvh_set_features(fe, BIT(32)), 1);
	check_refused(f, uvh_set_mem_table(fe, NULL, 0), -EPERM);
	check_refused(f, uvh_set_log_base(fe, 0, 0, -1, 0), -EPERM);
	check_refused(f, uvh_set_log_fd(fe, -1), -EPERM);
	check_refused(f, uvh_set_vring_num(fe, 0, 256), -EPERM);
	check_refused(f, uvh_set_vring_addr(fe, &addr), -EPERM);
	check_refused(f, uvh_set_vring_base(fe, 0, 0), -EPERM);
	check_refused(f, uvh_get_vring_base(fe, 0, &base), -EPERM);
	check_refused(f, uvh_set_vring_kick(fe, 0, -1), -EPERM);
	check_refused(f, uvh_set_vring_enable(fe, 0, true), -EPERM);
	check_refused(f, uvh_iotlb_send(fe, &msg, 0), -EPERM);
	check_refused(f, uvh_set_status(fe, 1), -EPERM);
	check_refused(f, uvh_reset_owner(fe), -EPERM);
	check_done(f, uvh_set_owner(fe), 1);
	check_refused(f, uvh_set_owner(fe), -EBUSY);
	check_done(f, uvh_set_vring_num(fe, 0, 256), 256);
	check_done(f, uvh_reset_owner(fe), 1);
	check_refused(f, uvh_set_vring_num(fe, 0, 256), -EPERM);
	uvh_close(fe);
}

static void a_refused_owner_is_none(void **state)
{
	struct fake *f = new_fake(&kick_ops);

	(void)state;
	f->ret = -EIO;
	check_ret(uvh_set_owner(&f->fe), -EIO);
	f->ret = 0;
	check_refused(f, uvh_set_vring_num(&f->fe, 0, 256), -EPERM);
	check_ret(uvh_set_owner(&f->fe), 0);
	uvh_close(&f->fe);
}

static void features_must_be_offered(void **state)
{
	struct fake *f = *state;

	check_refused(f, uvh_set_features(&f->fe, BIT(33)), -EOPNOTSUPP);
	check_refused(f, uvh_set_features(&f->fe, UINT64_MAX), -EOPNOTSUPP);
	check_refused(f, uvh_get_features(&f->fe, NULL), -EINVAL);
	check_done(f, uvh_set_features(&f->fe, BIT(32)), 1);
}

static void rings_that_do_not_exist(void **state)
{
	struct fake *f = *state;
	struct vhost_vring_addr addr = { .index = 4 };
	uint32_t base;

	assert_int_equal(uvh_queue_count(&f->fe), 4);
	check_refused(f, uvh_set_vring_num(&f->fe, 4, 256), -EINVAL);
	check_refused(f, uvh_set_vring_num(&f->fe, UINT32_MAX, 256), -EINVAL);
	check_refused(f, uvh_set_vring_addr(&f->fe, &addr), -EINVAL);
	check_refused(f, uvh_set_vring_base(&f->fe, 4, 0), -EINVAL);
	check_refused(f, uvh_get_vring_base(&f->fe, 4, &base), -EINVAL);
	check_refused(f, uvh_set_vring_kick(&f->fe, 4, -1), -EINVAL);
	check_refused(f, uvh_set_vring_call(&f->fe, 4, -1), -EINVAL);
	check_refused(f, uvh_set_vring_err(&f->fe, 4, -1), -EINVAL);
	check_refused(f, uvh_set_vring_enable(&f->fe, 4, true), -EINVAL);
	check_done(f, uvh_set_vring_num(&f->fe, 3, 256), 256);
}

static void ring_sizes(void **state)
{
	struct fake *f = *state;

	check_refused(f, uvh_set_vring_num(&f->fe, 0, 0), -EINVAL);
	check_refused(f, uvh_set_vring_num(&f->fe, 0, 3), -EINVAL);
	check_refused(f, uvh_set_vring_num(&f->fe, 0, 65536), -EINVAL);
	check_done(f, uvh_set_vring_num(&f->fe, 0, 1), 1);
	check_done(f, uvh_set_vring_num(&f->fe, 0, 32768), 32768);
	/* packed: any up to that */
	check_done(f, uvh_set_features(&f->fe, BIT(34)), 4);
	check_done(f, uvh_set_vring_num(&f->fe, 0, 3), 3);
	check_refused(f, uvh_set_vring_num(&f->fe, 0, 32769), -EINVAL);
}

static void ring_bases(void **state)
{
	struct fake *f = *state;
	uint32_t base = 0;

	check_done(f, uvh_set_vring_base(&f->fe, 0, 65535), 65535);
	check_refused(f, uvh_set_vring_base(&f->fe, 0, 65536), -EINVAL);
	check_refused(f, uvh_get_vring_base(&f->fe, 0, NULL), -EINVAL);
	check_done(f, uvh_get_vring_base(&f->fe, 2, &base), 2);
	assert_int_equal(base, 77);
	check_done(f, uvh_set_features(&f->fe, BIT(34)), 4);
	check_done(f, uvh_set_vring_base(&f->fe, 0, 0x18001), 0x18001);
}

static void ring_addresses(void **state)
{
	struct fake *f = *state;
	struct vhost_vring_addr a = { .index = 2, .desc_user_addr = 1 };

	check_refused(f, uvh_set_vring_addr(&f->fe, NULL), -EINVAL);
	check_done(f, uvh_set_vring_addr(&f->fe, &a), 2);
	a.flags = 1u << VHOST_VRING_F_LOG;
	check_done(f, uvh_set_vring_addr(&f->fe, &a), 2);
	a.flags = 2;
	check_refused(f, uvh_set_vring_addr(&f->fe, &a), -EOPNOTSUPP);
	a.flags = 0;
	a.avail_user_addr = 1;
	check_refused(f, uvh_set_vring_addr(&f->fe, &a), -EINVAL);
	a.avail_user_addr = 2;
	a.used_user_addr = 2;
	check_refused(f, uvh_set_vring_addr(&f->fe, &a), -EINVAL);
	a.used_user_addr = 4;
	a.log_guest_addr = 2;
	check_refused(f, uvh_set_vring_addr(&f->fe, &a), -EINVAL);
}

static void descriptors_must_be_open(void **state)
{
	struct fake *f = *state;
	int fd = check_ok(eventfd(0, EFD_CLOEXEC));

	check_done(f, uvh_set_vring_kick(&f->fe, 0, fd), fd);
	check_done(f, uvh_set_vring_kick(&f->fe, 0, -1), -1);
	close(fd);
	check_refused(f, uvh_set_vring_kick(&f->fe, 0, fd), -EBADF);
	check_refused(f, uvh_set_vring_call(&f->fe, 0, -2), -EBADF);
	check_refused(f, uvh_set_vring_err(&f->fe, 0, 9999), -EBADF);
	check_refused(f, uvh_set_log_fd(&f->fe, 9999), -EBADF);
	check_refused(f, uvh_set_log_base(&f->fe, 0, 8, 9999, 0), -EBADF);
}

static void a_started_ring_keeps_size_and_base(void **state)
{
	struct fake *f = *state;
	int kick = check_ok(eventfd(0, EFD_CLOEXEC));
	uint32_t base;

	check_ret(uvh_set_vring_kick(&f->fe, 1, kick), 0);
	check_refused(f, uvh_set_vring_num(&f->fe, 1, 256), -EBUSY);
	check_refused(f, uvh_set_vring_base(&f->fe, 1, 0), -EBUSY);
	/* others, and other settings, are free */
	check_done(f, uvh_set_vring_num(&f->fe, 0, 256), 256);
	check_done(f, uvh_set_vring_call(&f->fe, 1, kick), kick);
	check_ret(uvh_get_vring_base(&f->fe, 1, &base), 0);
	check_done(f, uvh_set_vring_num(&f->fe, 1, 256), 256);
	/* a kick that was refused, or taken away, starts nothing */
	f->ret = -EIO;
	check_ret(uvh_set_vring_kick(&f->fe, 1, kick), -EIO);
	f->ret = 0;
	check_ret(uvh_set_vring_kick(&f->fe, 1, -1), 0);
	check_done(f, uvh_set_vring_num(&f->fe, 1, 256), 256);
	/* nor is anything running after a reset */
	check_ret(uvh_set_vring_kick(&f->fe, 1, kick), 0);
	check_ret(uvh_reset_device(&f->fe), 0);
	check_done(f, uvh_set_vring_num(&f->fe, 1, 256), 256);
	check_ret(uvh_set_vring_kick(&f->fe, 1, kick), 0);
	check_ret(uvh_set_status(&f->fe, 4), 0);
	check_refused(f, uvh_set_vring_num(&f->fe, 1, 256), -EBUSY);
	check_ret(uvh_set_status(&f->fe, 0), 0);
	check_done(f, uvh_set_vring_num(&f->fe, 1, 256), 256);
	close(kick);
}

static void start_and_stop_are_what_the_transport_has(void **state)
{
	struct fake *f;
	uint32_t base = 0;

	(void)state;
	backend_ops = kick_ops;
	backend_ops.start = UVH_START_BACKEND;
	backend_ops.net_set_backend = fake_ring_fd;
	f = new_fake(&backend_ops);
	check_ret(uvh_set_owner(&f->fe), 0);
	check_done(f, uvh_vring_start(&f->fe, 1, 2), 2);
	check_refused(f, uvh_set_vring_num(&f->fe, 1, 256), -EBUSY);
	check_done(f, uvh_vring_stop(&f->fe, 1, &base), 1);
	assert_int_equal(base, 77);
	check_done(f, uvh_set_vring_num(&f->fe, 1, 256), 256);
	uvh_close(&f->fe);

	enable_ops = kick_ops;
	enable_ops.start = UVH_START_ENABLE;
	f = new_fake(&enable_ops);
	check_ret(uvh_set_owner(&f->fe), 0);
	check_done(f, uvh_vring_start(&f->fe, 1, -1), true);
	check_refused(f, uvh_set_vring_num(&f->fe, 1, 256), -EBUSY);
	check_done(f, uvh_vring_stop(&f->fe, 1, NULL), 1);
	check_done(f, uvh_set_vring_num(&f->fe, 1, 256), 256);
	uvh_close(&f->fe);
}

/* ---- the memory table ---- */

static struct uvh_region region(uint64_t gpa, uint64_t size)
{
	return (struct uvh_region){
		.gpa = gpa, .size = size, .uva = gpa + 0x10000000, .fd = -1
	};
}

static void regions_are_checked(void **state)
{
	struct fake *f = *state;
	struct uvh_region r[4] = { region(0, 4096), region(4096, 4096),
				   region(8192, 4096), region(12288, 1) };
	struct uvh *fe = &f->fe;

	check_done(f, uvh_set_mem_table(fe, r, 3), 3);
	check_done(f, uvh_set_mem_table(fe, NULL, 0), 0);
	check_refused(f, uvh_set_mem_table(fe, NULL, 1), -EINVAL);
	check_refused(f, uvh_set_mem_table(fe, r, 4), -E2BIG);
	check_refused(f, uvh_set_mem_table(fe, r, UVH_REGIONS_MAX + 1), -E2BIG);
	r[1].size = 0;
	check_refused(f, uvh_set_mem_table(fe, r, 3), -EINVAL);
	r[1].size = 4097; /* into the next */
	check_refused(f, uvh_set_mem_table(fe, r, 3), -EINVAL);
	r[1] = region(UINT64_MAX - 4094, 4096);
	check_refused(f, uvh_set_mem_table(fe, r, 3), -EINVAL);
	r[1] = region(4096, 4096);
	r[1].uva = UINT64_MAX - 4094;
	check_refused(f, uvh_set_mem_table(fe, r, 3), -EINVAL);
	r[1] = region(4096, 4096);
	r[1].fd_offset = UINT64_MAX;
	check_refused(f, uvh_set_mem_table(fe, r, 3), -EINVAL);
	r[1] = region(4096, 4096);
	r[1].fd = 9999;
	check_refused(f, uvh_set_mem_table(fe, r, 3), -EBADF);
	/* the last byte of all */
	r[1] = region(UINT64_MAX - 4095, 4096);
	r[1].uva = 0;
	check_done(f, uvh_set_mem_table(fe, r, 3), 3);
}

static void regions_come_and_go(void **state)
{
	struct fake *f = *state;
	struct uvh_region a = region(0, 4096), b = region(8192, 4096),
			  c = region(4096, 4096), d = region(1 << 20, 4096);
	struct uvh *fe = &f->fe;

	check_ret(uvh_set_mem_table(fe, &a, 1), 0);
	check_done(f, uvh_add_region(fe, &b), 2);
	check_refused(f, uvh_add_region(fe, &b), -EEXIST);
	check_refused(f, uvh_add_region(fe, NULL), -EINVAL);
	check_refused(f, uvh_remove_region(fe, &c), -ENOENT);
	check_done(f, uvh_add_region(fe, &c), 3);
	assert_int_equal(f->table[0].gpa, a.gpa);
	assert_int_equal(f->table[1].gpa, b.gpa);
	assert_int_equal(f->table[2].gpa, c.gpa);
	check_refused(f, uvh_add_region(fe, &d), -E2BIG);
	check_done(f, uvh_remove_region(fe, &a), 2);
	assert_int_equal(f->table[0].gpa, b.gpa);
	check_done(f, uvh_add_region(fe, &d), 3);
	/* a failed change changes nothing */
	f->ret = -EFAULT;
	check_ret(uvh_remove_region(fe, &d), -EFAULT);
	f->ret = 0;
	check_done(f, uvh_remove_region(fe, &d), 2);
	check_done(f, uvh_set_mem_table(fe, NULL, 0), 0);
	check_refused(f, uvh_remove_region(fe, &b), -ENOENT);
}

static void other_arguments(void **state)
{
	struct fake *f = *state;
	struct uvh *fe = &f->fe;
	struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_MISS, .size = 1 };
	struct uvh_inflight inflight = { .fd = -1, .size = 1, .queues = 2 };
	uint8_t buf[4];
	int fd, other;

	check_refused(f, uvh_iotlb_send(fe, &msg, 0), -EINVAL);
	check_refused(f, uvh_iotlb_send(fe, NULL, 0), -EINVAL);
	msg.type = VHOST_IOTLB_UPDATE;
	check_done(f, uvh_iotlb_send(fe, &msg, 0), VHOST_IOTLB_UPDATE);
	msg.size = 0;
	check_refused(f, uvh_iotlb_send(fe, &msg, 0), -EINVAL);
	msg.type = VHOST_IOTLB_BATCH_END;
	check_done(f, uvh_iotlb_send(fe, &msg, 0), VHOST_IOTLB_BATCH_END);

	check_refused(f, uvh_net_set_mtu(fe, 67), -EINVAL);
	check_done(f, uvh_net_set_mtu(fe, 68), 68);

	check_refused(f, uvh_get_config(fe, 0, buf, 0), -EINVAL);
	check_refused(f, uvh_get_config(fe, 0, NULL, 4), -EINVAL);
	check_refused(f, uvh_get_config(fe, 0, buf, 257), -EINVAL);
	check_refused(f, uvh_get_config(fe, 253, buf, 4), -EINVAL);
	check_refused(f, uvh_get_config(fe, UINT32_MAX, buf, 4), -EINVAL);
	check_done(f, uvh_get_config(fe, 252, buf, 4), 252);

	check_refused(f, uvh_set_inflight(fe, &inflight), -EBADF);
	check_refused(f, uvh_set_inflight(fe, NULL), -EINVAL);
	fd = check_ok(eventfd(0, EFD_CLOEXEC));
	inflight.fd = fd;
	check_done(f, uvh_set_inflight(fe, &inflight), 2);

	/* the descriptor of a state is closed in any case */
	check_refused(f, uvh_set_device_state(fe, 2, fd, &other), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	fd = check_ok(eventfd(0, EFD_CLOEXEC));
	check_done(f, uvh_set_device_state(fe, UVH_STATE_LOAD, fd, &other), 1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);

	check_refused(f, uvh_set_log_base(fe, UINT64_MAX, 8, -1, 0), -EINVAL);
	check_done(f, uvh_set_log_base(fe, UINT64_MAX, 0, -1, 0), 0);
}

/* ---- opening the wrong thing ---- */

static void wrong_files(void **state)
{
	struct uvh *fe = NULL;
	int pair[2], fd;

	(void)state;
	check_ret(uvh_kernel_open("/nowhere", &fe), -ENOENT);
	check_ret(uvh_kernel_open("/dev/null", &fe), -ENOTTY);
	check_ret(uvh_kernel_open(NULL, &fe), -EINVAL);
	check_ret(uvh_kernel_from_fd(-1, &fe), -EBADF);
	check_ret(uvh_vdpa_open("/nowhere", &fe), -ENOENT);
	check_ret(uvh_vdpa_open("/dev/null", &fe), -ENOTTY);
	check_ret(uvh_vdpa_open("/dev/null", NULL), -EINVAL);
	check_ret(uvh_user_connect("/nowhere", 10, &fe), -ENOENT);
	check_ret(uvh_user_connect("/dev/null", 10, &fe), -ECONNREFUSED);
	check_ret(uvh_user_accept("/dev/null", 10, &fe), -EADDRINUSE);
	check_ret(uvh_user_from_socket(-1, 10, &fe), -EBADF);
	fd = check_ok(open("/dev/null", O_RDWR | O_CLOEXEC));
	check_ret(uvh_kernel_from_fd(fd, &fe), -ENOTTY);
	check_ret(uvh_user_from_socket(fd, 10, &fe), -ENOTSOCK);
	close(fd); /* still ours: not closed twice */
	check_ret(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair),
		  0);
	check_ret(uvh_user_from_socket(pair[0], 10, &fe), -ENOTSOCK);
	close(pair[0]);
	close(pair[1]);
	assert_null(fe);
	uvh_close(NULL);
}

static void too_long_a_path(void **state)
{
	char path[200];
	struct uvh *fe;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	check_ret(uvh_user_connect(path, 10, &fe), -ENAMETOOLONG);
	check_ret(uvh_user_accept(path, 10, &fe), -ENAMETOOLONG);
}

static void accept_ends_when_no_backend_connects(void **state)
{
	char path[64];
	struct uvh *fe;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/uvhost-fe-%d.sock", getpid());
	check_ret(uvh_user_accept(path, 10, &fe), -ETIMEDOUT);
	assert_int_equal(access(path, F_OK), -1);
}

static void feature_names(void **state)
{
	(void)state;
	assert_string_equal(uvh_feature_name(32), "VERSION_1");
	assert_string_equal(uvh_feature_name(15), "MRG_RXBUF");
	assert_null(uvh_feature_name(4));
	assert_null(uvh_feature_name(64));
	assert_null(uvh_feature_name(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_of_the_header_is_true),
		cmocka_unit_test(what_a_transport_lacks_is_eopnotsupp),
		cmocka_unit_test(without_owner_nothing_but_features),
		cmocka_unit_test(a_refused_owner_is_none),
		cmocka_unit_test_setup_teardown(features_must_be_offered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(rings_that_do_not_exist, setup,
						teardown),
		cmocka_unit_test_setup_teardown(ring_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_bases, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_addresses, setup,
						teardown),
		cmocka_unit_test_setup_teardown(descriptors_must_be_open, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_started_ring_keeps_size_and_base, setup, teardown),
		cmocka_unit_test(start_and_stop_are_what_the_transport_has),
		cmocka_unit_test_setup_teardown(regions_are_checked, setup,
						teardown),
		cmocka_unit_test_setup_teardown(regions_come_and_go, setup,
						teardown),
		cmocka_unit_test_setup_teardown(other_arguments, setup,
						teardown),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(too_long_a_path),
		cmocka_unit_test(accept_ends_when_no_backend_connects),
		cmocka_unit_test(feature_names),
	};

	return cmocka_run_group_tests_name("fe", tests, NULL, NULL);
}
