/* SPDX-License-Identifier: BSD-3-Clause */
/* error_line.c writes the line that says what is wrong. */
#include "error_line.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "bytes.h"

int error_line(struct error_line *e, int err, const char *fmt, ...)
{
	const char *where = e->where ? e->where : "";
	size_t len;
	va_list ap;

	len = (size_t)snprintf(e->text, e->size, "%s%s", where,
			       *where ? ": " : "");
	len = MIN(len, e->size);
	va_start(ap, fmt);
	vsnprintf(e->text + len, e->size - len, fmt, ap);
	va_end(ap);
	for (char *c = e->text; e->size && *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return err;
}
