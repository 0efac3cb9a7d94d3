/* SPDX-License-Identifier: BSD-3-Clause */
/* The monotonic clock, for deadlines and durations; and conversions. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

static inline uint64_t timespec_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NS_PER_S + (uint64_t)ts->tv_nsec;
}

static inline struct timespec ns_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

/** clock_ns() - nanoseconds of a clock */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return timespec_ns(&ts);
}

/** now_ns() - nanoseconds since a fixed point before the program started */
static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/** coarse_ns() - the same with a resolution of 4 ms, and cheaper */
static inline uint64_t coarse_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

/** now_ms() - now_ns() in milliseconds; signed, so that the time left until a
 * deadline may be negative */
static inline int64_t now_ms(void)
{
	return (int64_t)(now_ns() / NS_PER_MS);
}

#endif
