/* SPDX-License-Identifier: BSD-3-Clause */
/* How often something may happen: some at once, then one per interval. */
#ifndef PACE_H
#define PACE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct pace - a purse of time, of which each event costs an interval
 * @interval_ms: above 0
 * @most_ms:     what is saved at most
 * @saved_ms:    as of @at_ms
 */
struct pace {
	int64_t interval_ms, most_ms;
	int64_t saved_ms, at_ms;
};

/** pace_init() - a full purse: @burst (above 0) events may happen @now_ms */
void pace_init(struct pace *p, unsigned int burst, unsigned int interval_ms,
	       int64_t now_ms);

/**
 * pace_take() - may one more happen at @now_ms? If so it is paid for.
 *
 * A clock that goes back stands still here.
 */
bool pace_take(struct pace *p, int64_t now_ms);

#endif
