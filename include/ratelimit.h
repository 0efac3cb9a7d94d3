/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ratelimit.c is a token bucket: each event takes a token; tokens are added at
 * a steady rate, or all at the end of a period; the bucket holds at most a
 * burst of them. It reads no clock and takes no lock: the caller passes the
 * time, and holds a lock if several threads share a bucket.
 */
#ifndef RATELIMIT_H
#define RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct ratelimit - a token bucket
 * @rate:    tokens added in @per_ns; above 0
 * @per_ns:  the period, ns; above 0
 * @max:     the burst in units of 1 / @per_ns of a token, that is burst *
 *           @per_ns; @max + @rate fits 64 bits
 * @at_end:  the bucket is filled at the end of each period, and a period starts
 *           with the first event after the bucket was full; false: tokens are
 *           added as time passes
 * @credit:  content of the bucket at @at_ns, in the unit of @max
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
 * ratelimit_init() - make a full bucket: @burst (above 0) events may happen at
 * @now_ns, then @rate in each @per_ns
 */
void ratelimit_init(struct ratelimit *r, uint64_t rate, uint64_t per_ns,
		    uint64_t burst, uint64_t now_ns);

/** ratelimit_tokens() - number of events that may happen at @now_ns; an earlier
 * time than in the last call counts as the same time */
uint64_t ratelimit_tokens(struct ratelimit *r, uint64_t now_ns);

/** ratelimit_full() - was the bucket full at the last ratelimit_tokens(), and
 * has no token been taken since? */
bool ratelimit_full(const struct ratelimit *r);

/** ratelimit_spend() - take @n tokens, at most ratelimit_tokens() */
void ratelimit_spend(struct ratelimit *r, uint64_t n);

/** ratelimit_give_back() - return the token of an event that did not happen */
void ratelimit_give_back(struct ratelimit *r);

/** ratelimit_take() - take a token; false: there is none, the event must not
 * happen */
bool ratelimit_take(struct ratelimit *r, uint64_t now_ns);

#endif
