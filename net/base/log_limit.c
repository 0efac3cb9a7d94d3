/* SPDX-License-Identifier: BSD-3-Clause */
/* log_limit.c bounds the rate of log lines that a peer can cause. */
#include "log_limit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "clock.h"

struct log_limit log_limit_all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.lines = RATELIMIT_AT_END(LOG_LINES_ALL, LOG_LIMIT_S *NS_PER_S),
};

void log_limit_init(struct log_limit *limit, unsigned int lines,
		    struct log_limit *parent)
{
	*limit = (struct log_limit){
		.lines = RATELIMIT_AT_END(lines, LOG_LIMIT_S * NS_PER_S),
		.parent = parent,
	};
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

/* A suppressed line is counted once, by the limit that has no token. The first
 * line of a limit's period adds its count to *@suppressed. */
static bool limit_pass(struct log_limit *limit, uint64_t now,
		       unsigned int *suppressed)
{
	bool pass;

	if (!limit)
		return true;
	pthread_mutex_lock(&limit->lock);
	pass = ratelimit_tokens(&limit->lines, now) > 0;
	if (!pass)
		limit->suppressed++;
	else
		pass = limit_pass(limit->parent, now, suppressed);
	if (pass && ratelimit_full(&limit->lines)) {
		*suppressed += limit->suppressed;
		limit->suppressed = 0;
	}
	if (pass)
		ratelimit_spend(&limit->lines, 1);
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

	if (!log_enabled(level))
		return;
	/* At the debug level no line is suppressed. */
	if (!log_enabled(LOG_LEVEL_DEBUG) &&
	    !limit_pass(limit, now_ns(), &suppressed))
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
