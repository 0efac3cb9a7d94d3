/* SPDX-License-Identifier: BSD-3-Clause */
/* ratelimit.c is a token bucket. */
#include "ratelimit.h"

#include "bytes.h"

void ratelimit_init(struct ratelimit *r, uint64_t rate, uint64_t per_ns,
		    uint64_t burst, uint64_t now_ns)
{
	*r = (struct ratelimit){
		.rate = rate,
		.per_ns = per_ns,
		.max = burst * per_ns,
		.credit = burst * per_ns,
		.at_ns = now_ns,
	};
}

static void refill(struct ratelimit *r, uint64_t now_ns)
{
	uint64_t elapsed;

	if (now_ns <= r->at_ns)
		return;
	elapsed = now_ns - r->at_ns;
	if (r->at_end)
		elapsed -= elapsed % r->per_ns;
	r->at_ns += elapsed;
	/* The bucket is full before the product is too large. */
	if (elapsed > (r->max - r->credit) / r->rate)
		r->credit = r->max;
	else
		r->credit += elapsed * r->rate;
	/* The next period begins when the first token is taken. */
	if (ratelimit_full(r))
		r->at_ns = now_ns;
}

uint64_t ratelimit_tokens(struct ratelimit *r, uint64_t now_ns)
{
	refill(r, now_ns);
	return r->credit / r->per_ns;
}

bool ratelimit_full(const struct ratelimit *r)
{
	return r->credit == r->max;
}

void ratelimit_spend(struct ratelimit *r, uint64_t n)
{
	r->credit -= n * r->per_ns;
}

void ratelimit_give_back(struct ratelimit *r)
{
	r->credit = MIN(r->max, r->credit + r->per_ns);
}

bool ratelimit_take(struct ratelimit *r, uint64_t now_ns)
{
	refill(r, now_ns);
	if (r->credit < r->per_ns)
		return false;
	r->credit -= r->per_ns;
	return true;
}
