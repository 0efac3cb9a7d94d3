/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c computes medians with a 95 % interval from order statistics. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define TAIL 0.025

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

unsigned int stats_rank(unsigned int n)
{
	double below = 0;
	unsigned int k = 0;

	/* @below is P(X < k); logarithms, because 2^-n underflows. */
	for (; k < n; k++) {
		below += exp(lgamma(n + 1.0) - lgamma(k + 1.0) -
			     lgamma(n - k + 1.0) - n * M_LN2);
		if (below > TAIL)
			break;
	}
	return k;
}

struct stats stats_of(double *v, unsigned int n)
{
	struct stats s = { .n = n };
	unsigned int k = stats_rank(n);

	if (n == 0)
		return s;
	qsort(v, n, sizeof(*v), by_value);
	s.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	s.low = v[k ? k - 1 : 0];
	s.high = v[n - (k ? k : 1)];
	return s;
}

unsigned int stats_widen(struct stats *s, const double *v,
			 const unsigned int *setup, unsigned int n,
			 double *space)
{
	double *median = space + n;
	unsigned int setups = 0, end;
	struct stats of_setups;

	for (unsigned int i = 0; i < n; i = end) {
		for (end = i + 1; end < n && setup[end] == setup[i];)
			end++;
		memcpy(space, v + i, (end - i) * sizeof(*v));
		median[setups++] = stats_of(space, end - i).median;
	}
	if (setups < STATS_LEAST_SETUPS)
		return setups;
	of_setups = stats_of(median, setups);
	s->low = fmin(s->low, of_setups.low);
	s->high = fmax(s->high, of_setups.high);
	return setups;
}

bool stats_settled(const struct stats *s, unsigned int least, double within)
{
	return s->n >= STATS_LEAST && s->n >= least && s->median > 0 &&
	       s->high - s->median <= within * s->median &&
	       s->median - s->low <= within * s->median;
}
