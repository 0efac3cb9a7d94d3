/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log_limit.c limits the rate of log lines that a peer can cause. Limits form a
 * chain: a line of a session takes a token of the session's limit, of its
 * user's limit and of the limit of the process.
 *
 * Lines that say what a guest has come to have tokens of their own: the last
 * line of a guest is there although it caused many before.
 */
#ifndef LOG_LIMIT_H
#define LOG_LIMIT_H

#include <stdint.h>
#include "log.h"
#include "mutex.h"
#include "ratelimit.h"

/** LOG_LIMIT_S - period of all limits, seconds: it starts with a limit's first
 * line; after its end the full number of lines is allowed again */
#define LOG_LIMIT_S 10
/* Lines in a period: enough to open and close 10, 30 and 150 files. */
#define LOG_LINES_SESSION 30
#define LOG_LINES_USER 100
#define LOG_LINES_ALL 500

/** enum log_kind - each has as many tokens, which the others do not take */
enum log_kind {
	LOG_KIND_EVENT,
	LOG_KIND_STATE,
};
#define LOG_KINDS 2

/**
 * struct log_share - of one kind of lines
 * @lines:  tokens for lines in this period
 * @suppressed: lines left out since their number was last logged
 */
struct log_share {
	struct ratelimit lines;
	unsigned int suppressed;
};

/**
 * struct log_limit - a limit of log lines, shared by any threads
 * @parent: must have a token as well; NULL: none; outlives this limit
 *
 * Initialise with log_limit_init(). Locks are taken from child to parent.
 */
struct log_limit {
	struct mutex lock;
	struct log_share share[LOG_KINDS];
	struct log_limit *parent;
};

/** log_limit_all - the limit of the process, the end of every chain */
extern struct log_limit log_limit_all;

/** log_limit_init() - at most @lines of each kind in LOG_LIMIT_S */
void log_limit_init(struct log_limit *limit, unsigned int lines,
		    struct log_limit *parent);
/** log_limit_set_parent() - takes effect with the next line; any thread. After
 * it returns no line of @limit uses the old parent */
void log_limit_set_parent(struct log_limit *limit, struct log_limit *parent);
/** log_limit_end() - no more lines; the parent logs how many were left out */
void log_limit_end(struct log_limit *limit);

/**
 * log_limited() - log_write() if all limits of the chain allow it; keeps errno
 * @limit: NULL: no limit
 *
 * The first line of a new period says how many lines were left out.
 */
void log_limited(struct log_limit *limit, const struct log_tag *tag,
		 enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/** log_limited_state() - log_limited() of a line that says what a guest or its
 * worker process has come to; no line of log_limited() takes its token */
void log_limited_state(struct log_limit *limit, const struct log_tag *tag,
		       enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
