/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock: for deadlines and durations, not for dates. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

/** now_ns() - ns since some moment before the program began */
static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/** now_ms() - the same, ms; signed: deadlines are subtracted from it */
static inline int64_t now_ms(void)
{
	return (int64_t)(now_ns() / 1000000);
}

#endif
