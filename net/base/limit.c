/* SPDX-License-Identifier: BSD-3-Clause */
#include "limit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "clock.h"

struct log_limit log_limit_all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.lines = LOG_LINES_ALL,
};

void log_limit_init(struct log_limit *limit, unsigned int lines,
		    struct log_limit *parent)
{
	*limit = (struct log_limit){ .lines = lines, .parent = parent };
	pthread_mutex_init(&limit->lock, NULL);
}

void log_limit_set_parent(struct log_limit *limit, struct log_limit *parent)
{
	pthread_mutex_lock(&limit->lock);
	limit->parent = parent;
	pthread_mutex_unlock(&limit->lock);
}

void log_limit_end(struct log_limit *limit)
{
	if (limit->parent && limit->suppressed) {
		pthread_mutex_lock(&limit->parent->lock);
		limit->parent->suppressed += limit->suppressed;
		pthread_mutex_unlock(&limit->parent->lock);
	}
	pthread_mutex_destroy(&limit->lock);
}

/* A line that is left out is counted where there was no room, once. What was
 * left out is added to *@suppressed when its time begins anew. */
static bool limit_pass(struct log_limit *limit, int64_t now_s,
		       unsigned int *suppressed)
{
	bool pass;

	if (!limit)
		return true;
	pthread_mutex_lock(&limit->lock);
	if (limit->used == 0 || now_s - limit->since_s >= LOG_LIMIT_S) {
		limit->since_s = now_s;
		limit->used = 0;
	}
	pass = limit->used < limit->lines;
	if (!pass)
		limit->suppressed++;
	else
		pass = limit_pass(limit->parent, now_s, suppressed);
	if (pass && limit->used++ == 0) {
		*suppressed += limit->suppressed;
		limit->suppressed = 0;
	}
	pthread_mutex_unlock(&limit->lock);
	return pass;
}

void log_limited(struct log_limit *limit, const struct log_tag *tag,
		 enum log_level level, const char *fmt, ...)
{
	unsigned int suppressed = 0;
	int saved = errno;
	char text[512];
	va_list ap;

	/* Who asked for everything gets everything. */
	if (!log_enabled(level))
		return;
	if (!log_enabled(LOG_LEVEL_DEBUG) &&
	    !limit_pass(limit, now_ms() / 1000, &suppressed))
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
