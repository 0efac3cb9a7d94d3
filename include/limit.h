/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines that somebody else can provoke, at a bounded rate. Limits form a
 * chain: a line of a session needs room in the session's limit, in that of its
 * user and in that of all.
 */
#ifndef LIMIT_H
#define LIMIT_H

#include <pthread.h>
#include <stdint.h>
#include "log.h"

/** LOG_LIMIT_S - the time, in seconds, for which @lines of a limit count */
#define LOG_LIMIT_S 10
/* Lines in that time: some ten files opened and closed; some thirty; some
 * hundred and fifty. */
#define LOG_LINES_SESSION 30
#define LOG_LINES_USER 100
#define LOG_LINES_ALL 500

/**
 * struct log_limit - a budget of log lines, shared by any threads
 * @lines:  so many in LOG_LIMIT_S
 * @parent: which must have room as well, NULL: none; outlives this one
 *
 * Initialise with log_limit_init(). Locks are taken from child to parent.
 */
struct log_limit {
	pthread_mutex_t lock;
	unsigned int lines;
	struct log_limit *parent;
	int64_t since_s;
	unsigned int used;
	unsigned int suppressed;
};

/** log_limit_all - of the whole process: the end of every chain */
extern struct log_limit log_limit_all;

void log_limit_init(struct log_limit *limit, unsigned int lines,
		    struct log_limit *parent);
/** log_limit_set_parent() - from the next line on; any thread. No line of
 * @limit is with the old one any more */
void log_limit_set_parent(struct log_limit *limit, struct log_limit *parent);
/** log_limit_end() - no more lines; those left out are told by the parent */
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
