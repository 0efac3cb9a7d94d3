/* SPDX-License-Identifier: BSD-3-Clause */
/* die.h ends a test program that is no cmocka program with a message. */
#ifndef DIE_H
#define DIE_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** die() - say why, with the name of @err (-errno) if it is not 0; exit(1) */
static inline void __attribute__((format(printf, 2, 3), noreturn))
die(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	if (err)
		fprintf(stderr, ": %s", strerror(-err));
	fputc('\n', stderr);
	exit(1);
}

/** must() - @ret, which dies if it is an error */
static inline int must(int ret, const char *what)
{
	if (ret < 0)
		die(ret, "%s", what);
	return ret;
}

#endif
