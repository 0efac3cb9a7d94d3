/* SPDX-License-Identifier: BSD-3-Clause */
#include "pace.h"

#include "bytes.h"

void pace_init(struct pace *p, unsigned int burst, unsigned int interval_ms,
	       int64_t now_ms)
{
	*p = (struct pace){
		.interval_ms = interval_ms,
		.most_ms = (int64_t)burst * interval_ms,
		.saved_ms = (int64_t)burst * interval_ms,
		.at_ms = now_ms,
	};
}

bool pace_take(struct pace *p, int64_t now_ms)
{
	if (now_ms > p->at_ms) {
		/* The difference first: it cannot be too large for the sum. */
		p->saved_ms += MIN(now_ms - p->at_ms, p->most_ms - p->saved_ms);
		p->at_ms = now_ms;
	}
	if (p->saved_ms < p->interval_ms)
		return false;
	p->saved_ms -= p->interval_ms;
	return true;
}
