/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mactable.c tests the table that maps MAC addresses and VLANs to ports.
 */
#include "check.h"

#include <stdlib.h>

#include "mactable.h"

#define AGE 300
#define NOW 1000

static const uint64_t seed[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };

static struct mactable *table_of(unsigned int macs)
{
	struct mactable *t;

	check_ret(mactable_new(macs, AGE, seed, &t), 0);
	return t;
}

static int setup(void **state)
{
	*state = table_of(1000);
	return 0;
}

static int teardown(void **state)
{
	mactable_free(*state);
	return 0;
}

/* The @i-th address of a VLAN. */
static struct macaddr addr_in(const struct mactable *t, unsigned int vlan,
			      unsigned int i)
{
	const uint8_t mac[6] = {
		2, 0, 0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i
	};

	return mactable_addr(t, mac, vlan);
}

static struct macaddr addr(const struct mactable *t, unsigned int i)
{
	return addr_in(t, 1, i);
}

static void sizes_and_ages_out_of_range_are_refused(void **state)
{
	struct mactable *t;

	(void)state;
	check_ret(mactable_new(0, AGE, seed, &t), -EINVAL);
	check_ret(mactable_new(MACTABLE_MAX + 1, AGE, seed, &t), -EINVAL);
	check_ret(mactable_new(10, 0, seed, &t), -EINVAL);
	check_ret(mactable_new(10, (1u << 30) + 1, seed, &t), -EINVAL);
	check_ret(mactable_new(MACTABLE_MAX, 1u << 30, seed, &t), 0);
	mactable_free(t);
}

static void what_was_learnt_is_found(void **state)
{
	struct mactable *t = *state;

	check_ret(mactable_find(t, addr(t, 1), NOW), -ENOENT);
	assert_int_equal(mactable_learn(t, addr(t, 1), 7, NOW), MAC_NEW);
	assert_int_equal(mactable_learn(t, addr(t, 1), 7, NOW), MAC_KNOWN);
	check_ret(mactable_find(t, addr(t, 1), NOW), 7);
	check_ret(mactable_find(t, addr(t, 2), NOW), -ENOENT);
	assert_int_equal(mactable_count(t, 7), 1);
	assert_int_equal(mactable_total(t), 1);
}

static void an_address_has_a_place_in_each_vlan(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr_in(t, 1, 5), 1, NOW);
	mactable_learn(t, addr_in(t, 4094, 5), 2, NOW);
	check_ret(mactable_find(t, addr_in(t, 1, 5), NOW), 1);
	check_ret(mactable_find(t, addr_in(t, 4094, 5), NOW), 2);
	check_ret(mactable_find(t, addr_in(t, 2, 5), NOW), -ENOENT);
}

static void the_zero_address_is_learnt_as_any_other(void **state)
{
	struct mactable *t = *state;
	const uint8_t zero[6] = { 0 };
	struct macaddr a = mactable_addr(t, zero, 0);

	check_ret(mactable_find(t, a, NOW), -ENOENT);
	assert_int_equal(mactable_learn(t, a, 0, NOW), MAC_NEW);
	check_ret(mactable_find(t, a, NOW), 0);
}

static void a_move_is_reported_and_counted(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr(t, 1), 1, NOW);
	assert_false(mactable_seen(t, addr(t, 1), 2, NOW));
	assert_int_equal(mactable_learn(t, addr(t, 1), 2, NOW), MAC_MOVED);
	check_ret(mactable_find(t, addr(t, 1), NOW), 2);
	assert_int_equal(mactable_count(t, 1), 0);
	assert_int_equal(mactable_count(t, 2), 1);
}

static void what_is_not_seen_for_too_long_is_not_found(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr(t, 1), 1, NOW);
	check_ret(mactable_find(t, addr(t, 1), NOW + AGE), 1);
	check_ret(mactable_find(t, addr(t, 1), NOW + AGE + 1), -ENOENT);
	assert_false(mactable_seen(t, addr(t, 1), 1, NOW + AGE + 1));
	/* Elsewhere, it is new and has not moved. */
	assert_int_equal(mactable_learn(t, addr(t, 1), 2, NOW + AGE + 1),
			 MAC_NEW);
	assert_int_equal(mactable_total(t), 1);
}

static void an_address_that_is_seen_stays(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr(t, 1), 1, NOW);
	assert_true(mactable_seen(t, addr(t, 1), 1, NOW + AGE));
	check_ret(mactable_find(t, addr(t, 1), NOW + 2 * AGE), 1);
	check_ret(mactable_find(t, addr(t, 1), NOW + 2 * AGE + 1), -ENOENT);
}

static void a_clock_that_is_late_ages_nothing(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr(t, 1), 1, NOW);
	check_ret(mactable_find(t, addr(t, 1), NOW - 2), 1);
}

static void the_clock_may_wrap(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr(t, 1), 1, UINT32_MAX - 1);
	check_ret(mactable_find(t, addr(t, 1), 10), 1);
	check_ret(mactable_find(t, addr(t, 1), AGE), -ENOENT);
}

static void one_round_of_ageing_leaves_the_fresh_ones(void **state)
{
	struct mactable *t = *state;

	for (unsigned int i = 0; i < 100; i++)
		mactable_learn(t, addr(t, i), i % 2, NOW);
	for (unsigned int i = 0; i < 100; i += 2)
		mactable_seen(t, addr(t, i), 0, NOW + AGE);
	mactable_age(t, NOW + AGE + 1, mactable_buckets(t));
	assert_int_equal(mactable_count(t, 0), 50);
	assert_int_equal(mactable_count(t, 1), 0);
	assert_int_equal(mactable_total(t), 50);
}

static void ageing_goes_on_where_it_stopped(void **state)
{
	struct mactable *t = *state;

	for (unsigned int i = 0; i < 100; i++)
		mactable_learn(t, addr(t, i), 0, NOW);
	for (unsigned int i = 0; i < mactable_buckets(t); i++)
		mactable_age(t, NOW + AGE + 1, 1);
	assert_int_equal(mactable_total(t), 0);
}

static void a_port_learns_up_to_its_limit(void **state)
{
	struct mactable *t = *state;

	mactable_set_limit(t, 3, 10);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(mactable_learn(t, addr(t, i), 3, NOW),
				 MAC_NEW);
	assert_false(mactable_has_space(t, 3));
	assert_int_equal(mactable_learn(t, addr(t, 10), 3, NOW), MAC_LIMIT);
	assert_int_equal(mactable_learn(t, addr(t, 9), 3, NOW), MAC_KNOWN);
	assert_int_equal(mactable_learn(t, addr(t, 10), 4, NOW), MAC_NEW);
	/* Nor does it get what another has. */
	assert_int_equal(mactable_learn(t, addr(t, 10), 3, NOW), MAC_LIMIT);
	check_ret(mactable_find(t, addr(t, 10), NOW), 4);
}

static void
a_port_at_its_limit_learns_when_others_of_its_have_aged(void **state)
{
	struct mactable *t = *state;
	unsigned int i;

	mactable_set_limit(t, 3, 10);
	for (i = 0; i < 10; i++)
		mactable_learn(t, addr(t, i), 3, NOW);
	/* Each attempt ages a few buckets. */
	for (i = 0; i < mactable_buckets(t); i++)
		if (mactable_learn(t, addr(t, 50), 3, NOW + AGE + 1) == MAC_NEW)
			break;
	check_ret(mactable_find(t, addr(t, 50), NOW + AGE + 1), 3);
}

static void forgetting_a_port_leaves_the_others(void **state)
{
	struct mactable *t = *state;

	for (unsigned int i = 0; i < 100; i++)
		mactable_learn(t, addr(t, i), i % 4, NOW);
	mactable_forget(t, 2);
	assert_int_equal(mactable_count(t, 2), 0);
	assert_int_equal(mactable_total(t), 75);
	for (unsigned int i = 0; i < 100; i++)
		check_ret(mactable_find(t, addr(t, i), NOW),
			  i % 4 == 2 ? -ENOENT : (int)(i % 4));
	/* A successor with its number starts with nothing. */
	assert_int_equal(mactable_learn(t, addr(t, 2), 2, NOW), MAC_NEW);
	mactable_age(t, NOW, mactable_buckets(t));
	assert_int_equal(mactable_total(t), 76);
}

static void what_a_port_had_never_comes_back(void **state)
{
	struct mactable *t = *state;

	mactable_learn(t, addr(t, 1), 9, NOW);
	for (unsigned int i = 0; i < 1u << 16; i++)
		mactable_forget(t, 9);
	check_ret(mactable_find(t, addr(t, 1), NOW), -ENOENT);
	assert_int_equal(mactable_total(t), 0);
}

/* Fills the table from one port; what it got. */
static unsigned int flood(struct mactable *t, unsigned int port,
			  unsigned int tries)
{
	unsigned int got = 0;

	for (unsigned int i = 0; i < tries; i++)
		got += mactable_learn(t, addr(t, (1u << 20) + i), port, NOW) ==
		       MAC_NEW;
	return got;
}

static void
a_flood_leaves_room_for_others_and_takes_nothing_of_theirs(void **state)
{
	struct mactable *t = *state;
	unsigned int got;

	for (unsigned int i = 0; i < 50; i++)
		mactable_learn(t, addr(t, i), 1, NOW);
	got = flood(t, 66, 100000);
	assert_in_range(got, 800, 1000);
	assert_int_equal(mactable_learn(t, addr(t, 999999), 66, NOW), MAC_FULL);
	for (unsigned int i = 0; i < 50; i++)
		check_ret(mactable_find(t, addr(t, i), NOW), 1);
	for (unsigned int i = 50; i < 100; i++)
		assert_int_equal(mactable_learn(t, addr(t, i), 2, NOW),
				 MAC_NEW);
}

static void a_table_is_never_over_its_size(void **state)
{
	struct mactable *t = table_of(16);

	(void)state;
	for (unsigned int p = 0; p < MACTABLE_PORTS; p++)
		flood(t, p, 100);
	assert_in_range(mactable_total(t), 15, 16);
	mactable_free(t);
}

/* Two choices: a bucket that is full is no reason not to learn. */
static void eight_tenths_of_any_size_can_be_used(void **state)
{
	static const unsigned int sizes[] = { 16, 1000, 4096, 100000 };

	(void)state;
	for (unsigned int s = 0; s < 4; s++) {
		struct mactable *t = table_of(sizes[s]);
		unsigned int want = sizes[s] * 8 / 10;

		for (unsigned int i = 0; i < want; i++)
			assert_int_equal(
				mactable_learn(t, addr(t, i), i % 8, NOW),
				MAC_NEW);
		for (unsigned int i = 0; i < want; i++)
			check_ret(mactable_find(t, addr(t, i), NOW), i % 8);
		mactable_free(t);
	}
}

/* Addresses that are neighbours under one key are not under another. */
static void the_seed_decides_where_addresses_are(void **state)
{
	static const uint64_t other[2] = { 1, 2 };
	struct mactable *t = *state, *u;
	unsigned int same = 0;

	check_ret(mactable_new(1000, AGE, other, &u), 0);
	for (unsigned int i = 0; i < 1000; i++)
		same += addr(t, i).hash % 512 == addr(u, i).hash % 512;
	assert_in_range(same, 0, 20);
	mactable_free(u);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_and_ages_out_of_range_are_refused),
		T(what_was_learnt_is_found),
		T(an_address_has_a_place_in_each_vlan),
		T(the_zero_address_is_learnt_as_any_other),
		T(a_move_is_reported_and_counted),
		T(what_is_not_seen_for_too_long_is_not_found),
		T(an_address_that_is_seen_stays),
		T(a_clock_that_is_late_ages_nothing),
		T(the_clock_may_wrap),
		T(one_round_of_ageing_leaves_the_fresh_ones),
		T(ageing_goes_on_where_it_stopped),
		T(a_port_learns_up_to_its_limit),
		T(a_port_at_its_limit_learns_when_others_of_its_have_aged),
		T(forgetting_a_port_leaves_the_others),
		T(what_a_port_had_never_comes_back),
		T(a_flood_leaves_room_for_others_and_takes_nothing_of_theirs),
		T(a_table_is_never_over_its_size),
		T(eight_tenths_of_any_size_can_be_used),
		T(the_seed_decides_where_addresses_are),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
