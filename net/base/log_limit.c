/* SPDX-License-Identifier: BSD-3-Clause */
/* log_limit.c bounds the rate of log lines that a peer can cause. */
#include "log_limit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "clock.h"

#define SHARE(n)                                                        \
	{                                                               \
		.lines = RATELIMIT_AT_END((n), LOG_LIMIT_S * NS_PER_S), \
	}

struct log_limit log_limit_all = {
	.lock = MUTEX_INITIALIZER,
	.share = { SHARE(LOG_LINES_ALL), SHARE(LOG_LINES_ALL) },
};

void log_limit_init(struct log_limit *limit, unsigned int lines,
		    struct log_limit *parent)
{
	*limit = (struct log_limit){
		.share = { SHARE(lines), SHARE(lines) },
		.parent = parent,
	};
	mutex_init(&limit->lock);
}

void log_limit_set_parent(struct log_limit *limit, struct log_limit *parent)
{
	mutex_lock(&limit->lock);
	limit->parent = parent;
	mutex_unlock(&limit->lock);
}

void log_limit_end(struct log_limit *limit)
{
	if (limit->parent) {
		mutex_lock(&limit->parent->lock);
		for (unsigned int i = 0; i < LOG_KINDS; i++)
			limit->parent->share[i].suppressed +=
				limit->share[i].suppressed;
		mutex_unlock(&limit->parent->lock);
	}
	mutex_destroy(&limit->lock);
}

/* A suppressed line is counted once, by the limit that has no token. The first
 * line of a limit's period adds its count to *@suppressed. */
static bool limit_pass(struct log_limit *limit, enum log_kind kind,
		       uint64_t now, unsigned int *suppressed)
{
	struct log_share *s;
	bool pass;

	if (!limit)
		return true;
	s = &limit->share[kind];
	mutex_lock(&limit->lock);
	pass = ratelimit_tokens(&s->lines, now) > 0;
	if (!pass)
		s->suppressed++;
	else
		pass = limit_pass(limit->parent, kind, now, suppressed);
	if (pass && ratelimit_full(&s->lines)) {
		*suppressed += s->suppressed;
		s->suppressed = 0;
	}
	if (pass)
		ratelimit_spend(&s->lines, 1);
	mutex_unlock(&limit->lock);
	return pass;
}

static void __attribute__((format(printf, 5, 0)))
limited(struct log_limit *limit, enum log_kind kind, const struct log_tag *tag,
	enum log_level level, const char *fmt, va_list ap)
{
	unsigned int suppressed = 0;
	int saved = errno;
	char text[512];

	if (!log_enabled(level))
		return;
	/* At the debug level no line is suppressed. */
	if (!log_enabled(LOG_LEVEL_DEBUG) &&
	    !limit_pass(limit, kind, now_ns(), &suppressed))
		return;
	if (suppressed)
		log_write(NULL, level, "%u lines like these were left out",
			  suppressed);
	vsnprintf(text, sizeof(text), fmt, ap);
	log_write(tag, level, "%s", text);
	errno = saved;
}

void log_limited(struct log_limit *limit, const struct log_tag *tag,
		 enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	limited(limit, LOG_KIND_EVENT, tag, level, fmt, ap);
	va_end(ap);
}

void log_limited_state(struct log_limit *limit, const struct log_tag *tag,
		       enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	limited(limit, LOG_KIND_STATE, tag, level, fmt, ap);
	va_end(ap);
}
