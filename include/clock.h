/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock: for deadlines and durations, not for dates. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/** now_ns() - ns since some moment before the program began */
static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/** now_ms() - the same, ms; signed: deadlines are subtracted from it */
static inline int64_t now_ms(void)
{
	return (int64_t)(now_ns() / NS_PER_MS);
}

#endif
