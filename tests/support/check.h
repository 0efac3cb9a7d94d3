/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.h is what each test program includes: cmocka with the headers that must
 * precede it, and checks that print errno names. Functions under test return 0
 * or a count, or -errno.
 */
#ifndef CHECK_H
#define CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cmocka 2 has it under this name, and warns of the old one. */
#ifdef assert_uint_in_range
#undef assert_in_range
#define assert_in_range assert_uint_in_range
#endif

/* UVHOST_TEST=GLOB: only tests with such names, as in conformance/. */
__attribute__((constructor)) static void check_filter(void)
{
	const char *glob = getenv("UVHOST_TEST");

	if (glob)
		cmocka_set_test_filter(glob);
}

/** check_errname() - "0", "-EINVAL", or the number; static storage */
static inline const char *check_errname(long ret)
{
	static _Thread_local char number[2][32];
	static _Thread_local int turn;
	const char *name = ret < 0 ? strerrorname_np((int)-ret) : NULL;

	turn = !turn;
	if (name)
		snprintf(number[turn], sizeof(number[turn]), "-%s", name);
	else
		snprintf(number[turn], sizeof(number[turn]), "%ld", ret);
	return number[turn];
}

static inline void check_ret_at(long got, long want, const char *what,
				const char *file, int line)
{
	if (got == want)
		return;
	print_error("%s: got %s, expected %s\n", what, check_errname(got),
		    check_errname(want));
	_fail(file, line);
}

static inline int check_ok_at(long got, const char *what, const char *file,
			      int line)
{
	if (got >= 0)
		return (int)got;
	print_error("%s: failed: %s\n", what, check_errname(got));
	_fail(file, line);
	return -1;
}

/** check_ret() - @expr returned exactly @want (0, a count or -errno) */
#define check_ret(expr, want) \
	check_ret_at((long)(expr), (long)(want), #expr, __FILE__, __LINE__)

/** check_ok() - @expr is not negative; its value */
#define check_ok(expr) check_ok_at((long)(expr), #expr, __FILE__, __LINE__)

/** check_errno() - @expr, a system call, failed with errno @want */
#define check_errno(expr, want)                                           \
	check_ret_at((expr) < 0 ? -(long)errno : 0, -(long)(want), #expr, \
		     __FILE__, __LINE__)

/** skip_because() - end this test as skipped, and say why */
#define skip_because(...)                   \
	do {                                \
		print_message("# skip: ");  \
		print_message(__VA_ARGS__); \
		print_message("\n");        \
		skip();                     \
	} while (0)

#endif
