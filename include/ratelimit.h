/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ratelimit.c is a token bucket: an event takes a token, tokens come at a
 * steady rate (or all at the end of a period), and the bucket holds a burst of
 * them. It has no clock and no lock of its own: the caller gives the time, and
 * holds a lock if several threads share a bucket.
 */
#ifndef RATELIMIT_H
#define RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct ratelimit - a token bucket
 * @rate:    tokens that come in @per_ns; above 0
 * @per_ns:  the period, ns; above 0
 * @max:     the burst in units of 1 / @per_ns of a token; burst * @per_ns and
 *           @rate added to it fit 64 bits
 * @at_end:  tokens come together at the end of each period, which begins with
 *           the first event after the bucket was full; otherwise they come as
 *           time passes
 * @credit:  what the bucket held at @at_ns, in units of @max
 */
struct ratelimit {
	uint64_t rate, per_ns, max;
	bool at_end;
	uint64_t credit, at_ns;
};

/** RATELIMIT_AT_END() - initialiser of a full bucket: at most @n events between
 * the first one and the end of its period */
#define RATELIMIT_AT_END(n, period_ns)       \
	{                                    \
		.rate = (n),                 \
		.per_ns = (period_ns),       \
		.max = (n) * (period_ns),    \
		.at_end = true,              \
		.credit = (n) * (period_ns), \
	}

/**
 * ratelimit_init() - a full bucket: @burst (above 0) events may happen at
 * @now_ns, and then @rate in each @per_ns
 */
void ratelimit_init(struct ratelimit *r, uint64_t rate, uint64_t per_ns,
		    uint64_t burst, uint64_t now_ns);

/** ratelimit_tokens() - events that may happen at @now_ns; a clock that goes
 * back counts as one that stands still */
uint64_t ratelimit_tokens(struct ratelimit *r, uint64_t now_ns);

/** ratelimit_full() - did the last ratelimit_tokens() find a full bucket, and
 * has nothing been taken since? */
bool ratelimit_full(const struct ratelimit *r);

/** ratelimit_spend() - @n events happened, at most ratelimit_tokens() */
void ratelimit_spend(struct ratelimit *r, uint64_t n);

/** ratelimit_give_back() - an event that was paid for did not happen */
void ratelimit_give_back(struct ratelimit *r);

/** ratelimit_take() - true: one more event may happen, and is paid for */
bool ratelimit_take(struct ratelimit *r, uint64_t now_ns);

#endif
