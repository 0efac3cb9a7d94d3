/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock, for deadlines and durations. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/** now_ns() - nanoseconds since a fixed point before the program started */
static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/** now_ms() - the same in milliseconds; signed, so that the time left until a
 * deadline may be negative */
static inline int64_t now_ms(void)
{
	return (int64_t)(now_ns() / NS_PER_MS);
}

#endif
