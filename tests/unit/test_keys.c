/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_keys.c tests the table of keys: values are parsed as it says, and the
 * manual describes each key, each kind of port and each drop reason.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "items.h"
#include "keys.h"
#include "netif.h"
#include "network.h"
#include "options.h"

static char error[256];
static struct error_line complaint = { error, sizeof(error), "here" };

static int read_as(const char *name, enum key_owner owner, const char *text,
		   void *base)
{
	error[0] = '\0';
	return key_read(key_find(name, 1u << owner), name, text, base,
			&complaint);
}

static void numbers_are_taken_to_their_bounds(void **state)
{
	static struct options o;
	char text[32];

	(void)state;
	for (unsigned int i = 0; i < nkeys; i++) {
		const struct key *k = &keys[i];
		unsigned int value = 0;

		if (k->read != key_find("mtu", 1u << KEY_NET)->read)
			continue;
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)k->max);
		check_ret(k->read(k, k->name, text, &value, &complaint), 0);
		assert_int_equal(value, k->max);
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)k->max + 1);
		check_ret(k->read(k, k->name, text, &value, &complaint),
			  -EINVAL);
		assert_int_equal(value, k->max); /* untouched */
		assert_non_null(strstr(error, text));
	}
	check_ret(read_as("max-sessions", KEY_DAEMON, " 1", &o), -EINVAL);
	check_ret(read_as("max-sessions", KEY_DAEMON, "", &o), -EINVAL);
	check_ret(read_as("max-sessions", KEY_DAEMON, "+1", &o), -EINVAL);
	check_ret(read_as("max-sessions", KEY_DAEMON, NULL, &o), -EINVAL);
	assert_string_equal(error,
			    "here: max-sessions: needs a value: expected "
			    "max-sessions=N");
}

static void sizes_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "4096", 4096 },
		{ "5k", 5120 },
		{ "3M", 3 << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "1048576G", UINT64_C(1) << 50 },
	};
	struct option_capture c = { .file = "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		check_ret(read_as("capture-file-size", KEY_CAPTURE,
				  good[i].text, &c),
			  0);
		assert_int_equal(c.file_bytes, good[i].bytes);
	}
	check_ret(read_as("capture-file-size", KEY_CAPTURE, "1048577G", &c),
		  -EINVAL);
	check_ret(read_as("capture-file-size", KEY_CAPTURE,
			  "18446744073709551616", &c),
		  -EINVAL);
	/* 2^64 + 4096, were it not for the overflow */
	check_ret(read_as("capture-file-size", KEY_CAPTURE, "17179869185G", &c),
		  -EINVAL);
}

static void a_flag_needs_no_value(void **state)
{
	static struct option_sock s;

	(void)state;
	check_ret(read_as("client", KEY_SOCKET, NULL, &s), 0);
	assert_true(s.client);
	check_ret(read_as("client", KEY_SOCKET, "no", &s), 0);
	assert_false(s.client);
	check_ret(read_as("client", KEY_SOCKET, "yes", &s), 0);
	assert_true(s.client);
	check_ret(read_as("client", KEY_SOCKET, "", &s), -EINVAL);
	check_ret(read_as("client", KEY_SOCKET, "1", &s), -EINVAL);
}

static void vlans_are_read_whole(void **state)
{
	static struct option_end e;

	(void)state;
	check_ret(read_as("trunk", KEY_SWPORT, "1-4094", &e), 0);
	for (unsigned int v = 1; v < 4095; v++)
		assert_true(e.trunk[v / 64] >> v % 64 & 1);
	assert_int_equal(e.trunk[0] & 1, 0);
	assert_int_equal(e.trunk[63] >> 63, 0);
	check_ret(read_as("trunk", KEY_SWPORT, "3", &e), 0);
	assert_int_equal(e.trunk[0], 8);
	assert_int_equal(e.trunk[63], 0);
	for (const char *const *bad =
		     (const char *const[]){ "", "0", "1-", "-", "1-2-3", "a",
					    "1,2", "1++2", "99999",
					    "1-00000004094", NULL };
	     *bad; bad++)
		check_ret(read_as("trunk", KEY_SWPORT, *bad, &e), -EINVAL);
}

static void every_row_can_be_found(void **state)
{
	char list[512];

	(void)state;
	for (unsigned int i = 0; i < nkeys; i++) {
		assert_ptr_equal(key_find(keys[i].name, 1u << keys[i].owner),
				 &keys[i]);
		keys_list(1u << keys[i].owner, list, sizeof(list));
		assert_non_null(strstr(list, keys[i].name));
		assert_true(strlen(keys[i].help) <= 50);
		assert_true(keys[i].flag == !keys[i].arg);
	}
	assert_null(key_find("mt", ~0u));
	assert_null(key_find("mtuu", ~0u));
	keys_list(~0u, list, 8); /* is cut */
	assert_int_equal(strlen(list), 7);
}

/* The manual as one string, without what makes a '-' of it. */
static char *read_manual(void)
{
	FILE *f = fopen(MANUAL, "re");
	char *text;
	size_t n;

	assert_non_null(f);
	text = calloc(1, 1 << 20);
	assert_non_null(text);
	n = fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_true(n > 0);
	return text;
}

static void check_manual(const char *text, const char *start, const char *name)
{
	char line[128];
	size_t len;

	len = (size_t)snprintf(line, sizeof(line), "\n%s%s", start, name);
	for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
		if (at[len] == '\n' || at[len] == ' ')
			return;
	fail_msg("the manual lacks \"%s\"", line + 1);
}

static void the_manual_has_every_key(void **state)
{
	char *text = read_manual();

	(void)state;
	for (unsigned int i = 0; i < nkeys; i++)
		check_manual(text,
			     keys[i].owner == KEY_DAEMON ? ".It Fl -"
							 : ".It Cm ",
			     keys[i].name);
	for (int i = 0; i < ITEM_KINDS; i++)
		check_manual(text, ".It Fl -", item_name(i));
	free(text);
}

/* The section COUNTERS lists the drop reasons of networks, and no others. */
static void the_manual_has_every_drop_reason(void **state)
{
	char *text = read_manual(), *list, *end;
	unsigned int items = 0;

	(void)state;
	list = strstr(text, "\n.Sh COUNTERS\n");
	assert_non_null(list);
	end = strstr(list + 1, "\n.Sh ");
	assert_non_null(end);
	*end = '\0';
	for (unsigned int i = 0; i < NETWORK_DROPS; i++)
		check_manual(list, ".It Cm ",
			     network_drop_name((enum network_drop)i));
	for (const char *at = list; (at = strstr(at, "\n.It ")); at++)
		items++;
	assert_int_equal(items, NETWORK_DROPS);
	free(text);
}

/* "tap:NAME", "null[:LEN]": a line of a usage that has no space before it. */
static void the_manual_has_every_kind_of_port(void **state)
{
	char *text = read_manual(), *kinds = NULL, *line, *rest;
	size_t size = 0;
	FILE *f = open_memstream(&kinds, &size);

	(void)state;
	assert_non_null(f);
	netif_print_kinds(f);
	fclose(f);
	for (line = strtok_r(kinds, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		line[strcspn(line, ":[,")] = '\0';
		if (*line != ' ')
			check_manual(text, ".It Cm ", line);
	}
	free(kinds);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_taken_to_their_bounds),
		cmocka_unit_test(sizes_have_units),
		cmocka_unit_test(a_flag_needs_no_value),
		cmocka_unit_test(vlans_are_read_whole),
		cmocka_unit_test(every_row_can_be_found),
		cmocka_unit_test(the_manual_has_every_key),
		cmocka_unit_test(the_manual_has_every_drop_reason),
		cmocka_unit_test(the_manual_has_every_kind_of_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
