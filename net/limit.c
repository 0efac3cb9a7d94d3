/* SPDX-License-Identifier: BSD-3-Clause */
#include "limit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

/* So many lines in so many seconds: some thirty files opened and closed. */
#define LINES 100
#define SECONDS 10

static bool limit_pass(struct log_limit *limit, unsigned int *suppressed)
{
	struct timespec now;
	bool pass;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&limit->lock);
	*suppressed = 0;
	if (limit->used == 0 || now.tv_sec - limit->since_s >= SECONDS) {
		limit->since_s = now.tv_sec;
		limit->used = 0;
		*suppressed = limit->suppressed;
		limit->suppressed = 0;
	}
	pass = limit->used < LINES;
	if (pass)
		limit->used++;
	else
		limit->suppressed++;
	pthread_mutex_unlock(&limit->lock);
	return pass;
}

void log_limited(struct log_limit *limit, const struct log_tag *tag,
		 enum log_level level, const char *fmt, ...)
{
	unsigned int suppressed;
	int saved = errno;
	char text[512];
	va_list ap;

	/* Who asked for everything gets everything. */
	if (!log_enabled(level))
		return;
	if (log_enabled(LOG_LEVEL_DEBUG))
		suppressed = 0;
	else if (!limit_pass(limit, &suppressed))
		return;
	if (suppressed)
		log_write(NULL, level, "%u lines like these were left out",
			  suppressed);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_write(tag, level, "%s", text);
	errno = saved;
}
