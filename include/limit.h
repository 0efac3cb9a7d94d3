/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines that somebody else can provoke, at a bounded rate. */
#ifndef LIMIT_H
#define LIMIT_H

#include <pthread.h>
#include <stdint.h>
#include "log.h"

/**
 * struct log_limit - a budget of log lines, shared by any threads
 *
 * Initialise with LOG_LIMIT_INIT.
 */
struct log_limit {
	pthread_mutex_t lock;
	int64_t since_s;
	unsigned int used;
	unsigned int suppressed;
};

#define LOG_LIMIT_INIT { .lock = PTHREAD_MUTEX_INITIALIZER }

/**
 * log_limited() - log_write() if the budget allows; keeps errno
 *
 * The first line after a pause says how many were left out.
 */
void log_limited(struct log_limit *limit, const struct log_tag *tag,
		 enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
