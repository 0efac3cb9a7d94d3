/* SPDX-License-Identifier: BSD-3-Clause */
/* Medians with 95 % intervals. Pure functions. */
#ifndef STATS_H
#define STATS_H

#include <stdbool.h>

/** STATS_LEAST - fewest values for which there is a 95 % interval */
#define STATS_LEAST 6

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
