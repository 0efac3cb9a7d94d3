/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ioctl_table.c tests what the rows of the ioctls decide without the
 * device: the first pass of a call, and what a pass needs of the caller. The
 * device answers the same, and needs no more.
 */
#include "check.h"

#include <stdbool.h>
#include <unistd.h>
#include <linux/vhost.h>

#include "abi.h"
#include "bytes.h"
#include "devfix.h"
#include "ioctl.h"
#include "random.h"

#define REGIONS_MAX 8
#define PAGE 4096u
#define ARG_MAX 320u

enum { NOBODY, STRANGER, OWNER }; /* has the device an owner, is it it? */

static void a_first_pass_is_answered_by_the_row(void **state)
{
	static const struct {
		uint32_t cmd;
		uint64_t arg;
		int caller;
		int error;
		size_t fetch, store; /* another pass with these */
	} row[] = {
		{ VHOST_GET_FEATURES, 0x1000, NOBODY, 0, 0, 8 },
		{ VHOST_SET_FEATURES, 0x1000, STRANGER, 0, 8, 0 },
		{ VHOST_RESET_OWNER, 0, STRANGER, -EPERM, 0, 0 },
		{ VHOST_RESET_OWNER, 0, NOBODY, -EPERM, 0, 0 },
		{ VHOST_SET_MEM_TABLE, 0x1000, OWNER, 0, 8, 0 },
		{ VHOST_SET_MEM_TABLE, 0x1000, STRANGER, -EPERM, 0, 0 },
		{ VHOST_SET_VRING_NUM, 0x1000, OWNER, 0, 8, 0 },
		/* In two pages: the index is judged before the rest. */
		{ VHOST_SET_VRING_NUM, 0x1ffc, OWNER, 0, 4, 0 },
		{ VHOST_SET_VRING_NUM, 0x1ff8, OWNER, 0, 8, 0 },
		{ VHOST_SET_VRING_ADDR, 0x1fd8, OWNER, 0, 40, 0 },
		{ VHOST_SET_VRING_ADDR, 0x1fd9, OWNER, 0, 4, 0 },
		{ VHOST_GET_VRING_BASE, 0x1000, OWNER, 0, 4, 8 },
		{ VHOST_SET_LOG_FD, 0x1000, OWNER, 0, 4, 0 },
		/* It is copied before the owner is checked. */
		{ VHOST_NET_SET_BACKEND, 0x1000, NOBODY, 0, 8, 0 },
		{ VHOST_NET_SET_BACKEND, 0x1ffe, STRANGER, 0, 8, 0 },
		{ VHOST_SET_FORK_FROM_OWNER, 0x1000, NOBODY, 0, 1, 0 },
		{ VHOST_SET_FORK_FROM_OWNER, 0x1000, OWNER, -EBUSY, 0, 0 },
		{ VHOST_SET_FEATURES_ARRAY, 0x1000, NOBODY, 0, 8, 0 },
		{ 0xdead, 0x1000, NOBODY, -EPERM, 0, 0 },
		{ 0xdead, 0x1000, OWNER, 0, 4, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct ioctl_call call = { .cmd = row[i].cmd,
					   .arg = row[i].arg };
		struct ioctl_verdict v;

		assert_true(ioctl_first_pass(&call, row[i].caller != NOBODY,
					     row[i].caller == OWNER, &v));
		check_ret(v.error, row[i].error);
		assert_int_equal(v.again, row[i].error == 0);
		assert_int_equal(v.fetch, row[i].fetch);
		assert_int_equal(v.store, row[i].store);
		assert_int_equal(v.store_at, row[i].error ? 0 : row[i].arg);
		assert_int_equal(v.out_len, 0);
	}
}

static void what_is_more_than_a_first_pass_is_not_answered(void **state)
{
	const struct ioctl_call set_owner = { .cmd = VHOST_SET_OWNER };
	const struct ioctl_call get = { .cmd = VHOST_GET_FEATURES,
					.out_room = 8 };
	const uint32_t index = 0;
	const struct ioctl_call ring = { .cmd = VHOST_SET_VRING_NUM,
					 .in = &index,
					 .in_len = sizeof(index) };
	struct ioctl_verdict v;

	(void)state;
	assert_false(ioctl_first_pass(&set_owner, false, false, &v));
	assert_false(ioctl_first_pass(&get, false, false, &v));
	assert_false(ioctl_first_pass(&ring, true, true, &v));
	/* But the owner rule counts in each pass. */
	assert_true(ioctl_first_pass(&ring, true, false, &v));
	check_ret(v.error, -EPERM);
}

static struct ioctl_needs needs_of(uint32_t cmd, const void *in, size_t len)
{
	const struct ioctl_call call = { .cmd = cmd, .in = in, .in_len = len };
	struct ioctl_needs needs;

	ioctl_needs(&call, REGIONS_MAX, &needs);
	return needs;
}

static void a_descriptor_is_needed_when_it_can_be_used(void **state)
{
	const struct vhost_vring_file kick = { .index = 1, .fd = 7 };
	const struct vhost_vring_file none = { .index = 0, .fd = -1 };
	const struct vhost_vring_file wrong = { .index = 2, .fd = 7 };
	struct ioctl_needs n = needs_of(VHOST_SET_VRING_KICK, &kick, 8);

	(void)state;
	assert_true(n.owner && n.fd && !n.maps && !n.set_owner);
	assert_int_equal(n.fd_number, 7);
	n = needs_of(VHOST_SET_VRING_CALL, &none, 8);
	assert_true(n.fd);
	assert_int_equal(n.fd_number, -1);
	n = needs_of(VHOST_SET_LOG_FD, &kick.fd, 4);
	assert_true(n.owner && n.fd);
	assert_int_equal(n.fd_number, 7);
	n = needs_of(VHOST_SET_VRING_KICK, &wrong, 8);
	assert_true(n.owner && !n.fd);
	n = needs_of(VHOST_SET_VRING_KICK, &kick, 4);
	assert_true(n.owner && !n.fd);
	n = needs_of(VHOST_SET_VRING_NUM, &kick, 8);
	assert_true(n.owner && !n.fd);
	/* Only its second pass may not be anybody's. */
	n = needs_of(VHOST_NET_SET_BACKEND, NULL, 0);
	assert_true(!n.owner && !n.fd);
	n = needs_of(VHOST_NET_SET_BACKEND, &kick, 8);
	assert_true(n.owner && n.fd);
}

static void mappings_are_needed_when_they_can_be_used(void **state)
{
	struct {
		uint32_t nregions, padding; /* struct vhost_memory */
		struct vhost_memory_region r[REGIONS_MAX + 1];
	} table = { .nregions = 2 };
	const size_t two = sizeof(struct vhost_memory) + 2 * sizeof(table.r[0]);
	struct ioctl_needs n = needs_of(VHOST_SET_MEM_TABLE, &table, two);

	(void)state;
	assert_true(n.owner && n.maps && !n.fd);
	assert_int_equal(n.nregions, 2);
	n = needs_of(VHOST_SET_MEM_TABLE, &table, two - 1);
	assert_false(n.maps);
	n = needs_of(VHOST_SET_MEM_TABLE, &table, 8);
	assert_false(n.maps);
	table.nregions = REGIONS_MAX + 1;
	n = needs_of(VHOST_SET_MEM_TABLE, &table, sizeof(table));
	assert_false(n.maps);
	table.nregions = 2;
	table.padding = 1;
	n = needs_of(VHOST_SET_MEM_TABLE, &table, two);
	assert_false(n.maps);

	n = needs_of(VHOST_SET_OWNER, NULL, 0);
	assert_true(n.set_owner && !n.owner);
}

/* ---- against the device ---- */

/* The error of a fact that was not asked for. */
#define NOT_ASKED (-EUSERS)

/* Two devices that get the same calls. */
static struct devfix *fix[2];
static struct ioctl_target target[2];

static int set_up(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		fix[i] = devfix_open(MAPPED);
		target[i] = (struct ioctl_target){
			.vdev = fix[i]->v,
			.max_mem_regions = REGIONS_MAX,
			.fork_from_owner = true,
		};
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		devfix_close(fix[i]);
	return 0;
}

static const struct ioctl_row *any_row(void)
{
	size_t n = 0;

	while (ioctl_row_at(n))
		n++;
	return ioctl_row_at(random_below((uint32_t)n));
}

/* Numbers that are likely to mean something, and others. */
static void make_argument(uint32_t cmd, uint8_t *arg)
{
	const uint32_t small = random_below(4);
	const uint64_t zero = 0;

	if (one_in(4))
		random_fill(arg, ARG_MAX);
	else
		memset(arg, 0, ARG_MAX);
	if (!one_in(8))
		memcpy(arg, &small, sizeof(small));
	if (cmd == VHOST_SET_MEM_TABLE && !one_in(8))
		memcpy(arg + 4, &zero, 4);
	if (cmd == VHOST_SET_FEATURES_ARRAY && one_in(2))
		memcpy(arg + 4, &zero, 4);
}

/* The second device is given what is needed, and errors instead of the rest. */
static void make_facts(const struct ioctl_call *call, bool is_owner,
		       struct call_facts facts[2])
{
	struct ioctl_needs needs;
	int fd = one_in(3) ? VDEV_FD_NONE : fix[0]->kick[0];

	ioctl_needs(call, REGIONS_MAX, &needs);
	facts[0] = CALL_FACTS_NONE;
	facts[0].is_owner = is_owner;
	facts[0].fd = fd;
	facts[1] = facts[0];
	if (!needs.owner)
		facts[1].is_owner = !is_owner;
	if (!needs.set_owner)
		facts[1].owner_error = NOT_ASKED;
	if (!needs.fd)
		facts[1].fd_error = NOT_ASKED;
	if (!needs.maps)
		facts[1].maps_error = NOT_ASKED;
}

static void check_same(const struct ioctl_verdict *a,
		       const struct ioctl_verdict *b)
{
	assert_int_equal(a->again, b->again);
	assert_int_equal(a->fetch, b->fetch);
	assert_int_equal(a->store_at, b->store_at);
	assert_int_equal(a->store, b->store);
	check_ret(a->error, b->error);
	assert_int_equal(a->out_len, b->out_len);
}

/* One pass on both devices; the answers are the same. */
static void run_both(struct ioctl_call *call, bool is_owner,
		     struct ioctl_verdict *v)
{
	static uint8_t out[2][IOCTL_DATA_MAX];
	bool has_owner = vdev_has_owner(fix[0]->v);
	struct ioctl_verdict first, got[2];
	struct call_facts facts[2];
	bool decided = ioctl_first_pass(call, has_owner, has_owner && is_owner,
					&first);

	make_facts(call, is_owner, facts);
	for (int i = 0; i < 2; i++) {
		memset(&got[i], 0xa5, sizeof(got[i]));
		call->out = out[i];
		ioctl_run(&target[i], call, &facts[i], &got[i]);
	}
	check_same(&got[0], &got[1]);
	assert_memory_equal(out[0], out[1], got[0].out_len);
	if (decided)
		check_same(&first, &got[0]);
	*v = got[0];
}

/* With as much of the argument as the device asks for, or a little less. */
static unsigned int call_both(void)
{
	static uint8_t arg[IOCTL_DATA_MAX];
	const struct ioctl_row *row = any_row();
	struct ioctl_call call = { .cmd = one_in(50) ? 0xdead : row->code,
				   .arg = random_below(2 * PAGE),
				   .in = arg };
	bool is_owner = !one_in(8);
	struct ioctl_verdict v;
	unsigned int passes = 0;

	do {
		make_argument(call.cmd, arg);
		run_both(&call, is_owner, &v);
		call.in_len = v.fetch;
		call.out_room = v.store;
		if (one_in(8) && v.fetch)
			call.in_len = random_below((uint32_t)v.fetch);
	} while (v.again && ++passes < 4);
	return v.error == 0;
}

static void the_device_needs_no_more_and_answers_the_same(void **state)
{
	unsigned int served = 0;

	(void)state;
	random_state = 1;
	for (unsigned int i = 0; i < 100000; i++)
		served += call_both();
	/* Else nothing was tested. */
	assert_in_range(served, 20000, 100000);
}

static void each_row_that_is_served_has_a_handler(void **state)
{
	static const uint8_t arg[64];
	static uint8_t out[64];
	struct call_facts facts = CALL_FACTS_NONE;
	const struct ioctl_row *row;

	(void)state;
	for (size_t i = 0; (row = ioctl_row_at(i)); i++) {
		const struct ioctl_call call = { .cmd = row->code,
						 .in = arg,
						 .in_len = row->in,
						 .out = out,
						 .out_room = row->out };
		struct ioctl_verdict v;

		assert_string_equal(ioctl_name(row->code), row->name);
		if (row->owner == IOCTL_OWNER_ABSENT)
			vdev_reset_owner(fix[0]->v);
		else if (!vdev_has_owner(fix[0]->v))
			devfix_own(fix[0]);
		facts.is_owner = true;
		ioctl_run(&target[0], &call, &facts, &v);
		assert_false(v.again);
		assert_int_equal(v.error == -ENOTTY,
				 (row->flags & IOCTL_REFUSED) != 0);
	}
	assert_null(ioctl_name(0xdead));
}

int main(void)
{
#define DEVICES(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_first_pass_is_answered_by_the_row),
		cmocka_unit_test(
			what_is_more_than_a_first_pass_is_not_answered),
		cmocka_unit_test(a_descriptor_is_needed_when_it_can_be_used),
		cmocka_unit_test(mappings_are_needed_when_they_can_be_used),
		DEVICES(the_device_needs_no_more_and_answers_the_same),
		DEVICES(each_row_that_is_served_has_a_handler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
