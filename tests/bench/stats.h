/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c computes medians and their 95 % intervals. Pure functions. */
#ifndef STATS_H
#define STATS_H

#include <stdbool.h>

/** STATS_LEAST - fewest values for which there is a 95 % interval */
#define STATS_LEAST 6
/** STATS_LEAST_SETUPS - fewest set-ups that say how far set-ups differ */
#define STATS_LEAST_SETUPS 3

/**
 * struct stats - of some values
 * @n:      how many
 * @median: with an even number, the mean of the two in the middle
 * @low, @high: an interval that contains the median of what the values are
 *          drawn from with a probability of 95 % or more; the least and the
 *          greatest value if there are fewer than STATS_LEAST
 */
struct stats {
	unsigned int n;
	double median, low, high;
};

/** stats_of() - of @n values, which are sorted in place; all 0 without any */
struct stats stats_of(double *v, unsigned int n);

/**
 * stats_widen() - widen the interval of @s by what set-ups say
 * @v:     the values of @s, in order of time
 * @setup: the set-up that each is of; does not decrease
 * @space: for 2 * @n values
 *
 * A process may be fast or slow for as long as it lives. Values of few set-ups
 * then agree with each other more than with those of the next run. So this
 * takes one value for each set-up, its median, and makes the interval at least
 * as wide as the interval that stats_of() gives for these: the least to the
 * greatest of up to eight set-ups. With nine or more, a single set-up that is
 * far from the others does not widen the interval. Return: number of set-ups;
 * with fewer than STATS_LEAST_SETUPS nothing is widened.
 */
unsigned int stats_widen(struct stats *s, const double *v,
			 const unsigned int *setup, unsigned int n,
			 double *space);

/**
 * stats_rank() - which of @n sorted values is the lower end of the interval
 *
 * Counts from 1; the upper end is the same counted from the top. The greatest
 * k with P(X < k) <= 2.5 % for X binomial(n, 1/2): then no assumption about
 * the shape of the distribution is made. Return: 0 if @n is below STATS_LEAST.
 */
unsigned int stats_rank(unsigned int n);

/**
 * stats_settled() - is the median known well enough?
 * @least:  fewest values
 * @within: greatest distance of either end of the interval from the median, as
 *          a part of the median
 */
bool stats_settled(const struct stats *s, unsigned int least, double within);

#endif
