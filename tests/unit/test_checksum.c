/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_checksum.c compares checksum_*() with an Internet checksum that is
 * computed byte by byte.
 */
#include "check.h"

#include <endian.h>
#include <unistd.h>

#include "checksum.h"
#include "netframe.h"

static void a_sum_is_that_of_rfc_1071_for_any_length_and_place(void **state)
{
	uint8_t bytes[700];
	uint32_t random = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)netframe_random(&random);
	for (size_t at = 0; at < 70; at++) {
		for (size_t len = 0; len < 300; len++) {
			uint16_t want = netframe_sum(0, bytes + at, len);
			uint16_t got =
				checksum_fold(checksum_add(0, bytes + at, len));

			assert_int_equal(be16toh(got), want);
		}
	}
}

static void carries_come_round(void **state)
{
	static uint8_t ones[65536];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(checksum_fold(checksum_add(0, ones, sizeof(ones))),
			 0xffff);
	ones[1] = 0xfe; /* -1 and many -0 */
	assert_int_equal(
		be16toh(checksum_fold(checksum_add(0, ones, sizeof(ones)))),
		0xfffe);
	assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(checksum_fold(0x1ffff), 1);
	assert_int_equal(checksum_fold(0), 0);
}

static void a_sum_goes_on_behind_an_even_number_of_bytes(void **state)
{
	uint8_t bytes[301];
	uint32_t random = 2;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)netframe_random(&random);
	for (size_t at = 0; at <= 300; at += 2) {
		uint64_t sum = checksum_add(0, bytes, at);

		sum = checksum_add(sum, bytes + at, sizeof(bytes) - at);
		assert_int_equal(be16toh(checksum_fold(sum)),
				 netframe_sum(0, bytes, sizeof(bytes)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_sum_is_that_of_rfc_1071_for_any_length_and_place),
		cmocka_unit_test(carries_come_round),
		cmocka_unit_test(a_sum_goes_on_behind_an_even_number_of_bytes),
	};

	alarm(60);
	return cmocka_run_group_tests_name("checksum", tests, NULL, NULL);
}
