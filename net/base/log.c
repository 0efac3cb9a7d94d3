/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.c writes lines of the log. A line is formatted on the caller's stack and
 * written with one write(2), so lines of several threads do not mix and no lock
 * is needed. A line that cannot be written (stderr closed or full) is lost:
 * logging never stops the daemon.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "parse.h"

#define LINE_MAX_BYTES 1024

static const struct {
	int priority; /* of syslog(3) */
	const char *word;
} levels[] = {
	[LOG_LEVEL_ERROR] = { 3, "error: " },
	[LOG_LEVEL_WARNING] = { 4, "warning: " },
	[LOG_LEVEL_INFO] = { 6, "" },
	[LOG_LEVEL_DEBUG] = { 7, "debug: " },
};

#ifdef LOG_SILENT
static enum log_level max_level = LOG_LEVEL_NONE;
#else
static enum log_level max_level = LOG_LEVEL_INFO;
#endif

static void (*sink)(void *ctx, enum log_level level, const char *line);
static void *sink_ctx;

void log_set_level(enum log_level level)
{
	__atomic_store_n(&max_level, level, __ATOMIC_RELAXED);
}

void log_set_sink(void (*fn)(void *ctx, enum log_level level, const char *line),
		  void *ctx)
{
	sink = fn;
	sink_ctx = ctx;
}

enum log_level log_level_now(void)
{
	return __atomic_load_n(&max_level, __ATOMIC_RELAXED);
}

int log_enabled(enum log_level level)
{
	return level <= log_level_now();
}

void log_tag_init(struct log_tag *tag, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(tag->name, sizeof(tag->name), fmt, ap) < 0)
		tag->name[0] = '\0';
	va_end(ap);
}

/* systemd.exec(5): $JOURNAL_STREAM is "device:inode" of the journal's socket.
 */
static bool is_journal(int fd)
{
	const char *text = getenv("JOURNAL_STREAM");
	uint64_t dev, ino;
	struct stat st;

	if (!text || parse_digits(&text, 10, &dev) < 0 || *text != ':')
		return false;
	text++;
	return parse_digits(&text, 10, &ino) == 0 && fstat(fd, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

/* Checked once; threads that check at the same time get the same result. */
static bool stderr_is_journal(void)
{
	static int known; /* 0: not yet, 1: no, 2: yes */
	int k = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (!k) {
		k = is_journal(STDERR_FILENO) ? 2 : 1;
		__atomic_store_n(&known, k, __ATOMIC_RELAXED);
	}
	return k == 2;
}

/* Input must not forge a line or move a cursor. */
static void sanitize(char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			s[i] = '?';
}

void log_write(const struct log_tag *tag, enum log_level level, const char *fmt,
	       ...)
{
	int saved_errno = errno;
	const size_t max = LINE_MAX_BYTES - 1; /* and a newline */
	char line[LINE_MAX_BYTES];
	va_list ap;
	size_t len;
	int n;

	if (!log_enabled(level))
		return;

	if (sink)
		n = snprintf(line, max, "%s: ", tag ? tag->name : "uvhost");
	else if (stderr_is_journal())
		n = snprintf(line, max, "<%d>%s: ", levels[level].priority,
			     tag ? tag->name : program_invocation_short_name);
	else
		n = snprintf(line, max, "%s: %s",
			     tag ? tag->name : program_invocation_short_name,
			     levels[level].word);
	len = MIN((size_t)MAX(n, 0), max - 1);
	errno = saved_errno; /* for %m */
	va_start(ap, fmt);
	n = vsnprintf(line + len, max - len, fmt, ap);
	va_end(ap);
	len += MIN((size_t)MAX(n, 0), max - len - 1);

	sanitize(line, len);
	if (sink) {
		sink(sink_ctx, level, line);
		errno = saved_errno;
		return;
	}
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}
