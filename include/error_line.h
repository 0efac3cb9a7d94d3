/* SPDX-License-Identifier: BSD-3-Clause */
/* One line of text that says what is wrong: with an option, a configuration
 * file, or what it names. */
#ifndef ERROR_LINE_H
#define ERROR_LINE_H

#include <stddef.h>

/**
 * struct error_line - where the line goes
 * @text:  @size bytes; nothing is written unless something is wrong
 * @where: put in front, with ": "; NULL or "": nothing is
 */
struct error_line {
	char *text;
	size_t size;
	const char *where;
};

/**
 * error_line() - write the line; returns @err
 *
 * Control characters become '?': the line may repeat what was given, which
 * might have several lines.
 */
int __attribute__((format(printf, 3, 4)))
error_line(struct error_line *e, int err, const char *fmt, ...);

#endif
