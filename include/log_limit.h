/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log_limit.c bounds the rate of log lines that a peer can cause. Limits form a
 * chain: a line of a session takes a token of the session's limit, of its
 * user's and of that of all.
 */
#ifndef LOG_LIMIT_H
#define LOG_LIMIT_H

#include <pthread.h>
#include <stdint.h>
#include "log.h"
#include "ratelimit.h"

/** LOG_LIMIT_S - the period of all limits, seconds: it begins with a limit's
 * first line, and at its end all lines are allowed again */
#define LOG_LIMIT_S 10
/* Lines in a period: enough for opening and closing 10, 30 and 150 files. */
#define LOG_LINES_SESSION 30
#define LOG_LINES_USER 100
#define LOG_LINES_ALL 500

/**
 * struct log_limit - a limit of log lines, shared by any threads
 * @lines:  those that are left in this period
 * @parent: which must have a token as well, NULL: none; outlives this one
 * @suppressed: lines left out since the last line that told their number
 *
 * Initialise with log_limit_init(). Locks are taken from child to parent.
 */
struct log_limit {
	pthread_mutex_t lock;
	struct ratelimit lines;
	struct log_limit *parent;
	unsigned int suppressed;
};

/** log_limit_all - of the whole process: the end of every chain */
extern struct log_limit log_limit_all;

/** log_limit_init() - at most @lines in LOG_LIMIT_S */
void log_limit_init(struct log_limit *limit, unsigned int lines,
		    struct log_limit *parent);
/** log_limit_set_parent() - from the next line on; any thread. Afterwards no
 * line of @limit uses the old parent */
void log_limit_set_parent(struct log_limit *limit, struct log_limit *parent);
/** log_limit_end() - no more lines; the parent tells the number left out */
void log_limit_end(struct log_limit *limit);

/**
 * log_limited() - log_write() if the budget allows; keeps errno
 * @limit: NULL: any number
 *
 * The first line after a pause says how many were left out.
 */
void log_limited(struct log_limit *limit, const struct log_tag *tag,
		 enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
