/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_parse.c tests the parser of numbers, MAC addresses, choices and lists.
 */
#include "check.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "parse.h"

static void digits_end_at_what_is_none(void **state)
{
	const char *text = "18446744073709551615-7f";
	uint64_t n = 0;

	(void)state;
	check_ret(parse_digits(&text, 10, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_string_equal(text, "-7f");
	assert_int_equal(parse_digits(&text, 10, &n), -EINVAL);
	assert_string_equal(text, "-7f");
	text++;
	check_ret(parse_digits(&text, 16, &n), 0);
	assert_int_equal(n, 0x7f);
	assert_string_equal(text, "");
	text = "18446744073709551616 ";
	assert_int_equal(parse_digits(&text, 10, &n), -ERANGE);
	assert_string_equal(text, " ");
}

static void a_number_is_digits_within_its_limits(void **state)
{
	static const char *const none[] = { "",
					    " 1",
					    "1 ",
					    "+1",
					    "-1",
					    "0x1",
					    "1k",
					    "a",
					    "1.",
					    "1\n",
					    "18446744073709551616k" };
	static const char *const beyond[] = { "0", "10", "18446744073709551616",
					      "99999999999999999999999" };
	uint64_t n = 5;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(parse_number(none[i], 1, 9, &n), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++)
		assert_int_equal(parse_number(beyond[i], 1, 9, &n), -ERANGE);
	assert_int_equal(n, 5);
	check_ret(parse_number("009", 1, 9, &n), 0);
	assert_int_equal(n, 9);
	check_ret(parse_number("1", 1, 9, &n), 0);
	assert_int_equal(n, 1);
}

static void a_size_may_have_a_unit(void **state)
{
	static const char *const none[] = { "", "k", "1kk", "1K", "1m", "k1" };
	uint64_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(parse_size(none[i], 0, 1 << 20, &n), -EINVAL);
	check_ret(parse_size("1024", 0, 1 << 20, &n), 0);
	assert_int_equal(n, 1024);
	check_ret(parse_size("1M", 0, 1 << 20, &n), 0);
	assert_int_equal(n, 1 << 20);
	check_ret(parse_size("4k", 4096, 1 << 20, &n), 0);
	assert_int_equal(n, 4096);
	assert_int_equal(parse_size("3k", 4096, 1 << 20, &n), -ERANGE);
	assert_int_equal(parse_size("1025k", 0, 1 << 20, &n), -ERANGE);
	/* 2^64 bytes, and more than 2^64 units */
	assert_int_equal(parse_size("17179869184G", 0, UINT64_MAX, &n),
			 -ERANGE);
	assert_int_equal(parse_size("18446744073709551616k", 0, UINT64_MAX, &n),
			 -ERANGE);
}

static void a_mac_address_has_six_bytes(void **state)
{
	static const char *const none[] = {
		"",
		"02:00:00:00:00",
		"02:00:00:00:00:1",
		"02:00:00:00:00:01:",
		"02:00:00:00:00:01 ",
		"02-00-00-00-00-01",
		"02:00:00:00:00:0g",
		"2:00:00:00:00:01",
		"020000000001",
	};
	const uint8_t want[] = { 0x02, 0xab, 0xCD, 0, 0xff, 0x01 };
	uint8_t mac[6] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(parse_mac(none[i], mac), -EINVAL);
	check_ret(parse_mac("02:ab:CD:00:fF:01", mac), 0);
	assert_memory_equal(mac, want, sizeof(want));
}

static void a_choice_is_one_of_its_names(void **state)
{
	static const char *const names[] = { "no", "yes" };

	(void)state;
	assert_int_equal(parse_choice("no", names, 2), 0);
	assert_int_equal(parse_choice("yes", names, 2), 1);
	assert_int_equal(parse_choice("yes", names, 1), -EINVAL);
	assert_int_equal(parse_choice("ye", names, 2), -EINVAL);
	assert_int_equal(parse_choice("", names, 2), -EINVAL);
}

static void doubled_commas_belong_to_a_word(void **state)
{
	char text[] = "a,,b,,,c,,d=,,,,,";
	char *rest = parse_comma(text);

	(void)state;
	assert_string_equal(text, "a,b,");
	assert_non_null(rest);
	assert_string_equal(rest, "c,,d=,,,,,");
	text[0] = '\0';
	assert_null(parse_comma(text));
	rest = parse_comma(rest);
	assert_non_null(rest);
	assert_string_equal(rest, "");
	assert_null(parse_comma(rest));
}

static void words_of_a_list_are_joined_by_plus(void **state)
{
	const char *list = "csum+tso4++longer";
	char word[5];

	(void)state;
	assert_true(parse_plus(&list, word, sizeof(word)));
	assert_string_equal(word, "csum");
	assert_true(parse_plus(&list, word, sizeof(word)));
	assert_string_equal(word, "tso4");
	assert_true(parse_plus(&list, word, sizeof(word)));
	assert_string_equal(word, "");
	assert_true(parse_plus(&list, word, sizeof(word)));
	assert_string_equal(word, "long");
	assert_false(parse_plus(&list, word, sizeof(word)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_end_at_what_is_none),
		cmocka_unit_test(a_number_is_digits_within_its_limits),
		cmocka_unit_test(a_size_may_have_a_unit),
		cmocka_unit_test(a_mac_address_has_six_bytes),
		cmocka_unit_test(a_choice_is_one_of_its_names),
		cmocka_unit_test(doubled_commas_belong_to_a_word),
		cmocka_unit_test(words_of_a_list_are_joined_by_plus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
