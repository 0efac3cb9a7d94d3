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

/* Student's t for 95 %, two-sided; from 30 degrees of freedom on it is 2.04 or
 * less. */
static double student_t(unsigned int freedom)
{
	static const double t[] = {
		12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
		2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
		2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
		2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
	};

	return t[freedom <= ARRAY_SIZE(t) ? freedom - 1 : ARRAY_SIZE(t) - 1];
}

unsigned int stats_widen(struct stats *s, const double *v,
			 const unsigned int *setup, unsigned int n,
			 double *space)
{
	double sum = 0, squares = 0, mean, half;
	unsigned int setups = 0, end;

	for (unsigned int i = 0; i < n; i = end) {
		double median;

		for (end = i + 1; end < n && setup[end] == setup[i];)
			end++;
		memcpy(space, v + i, (end - i) * sizeof(*v));
		median = stats_of(space, end - i).median;
		sum += median;
		squares += median * median;
		setups++;
	}
	if (setups < STATS_LEAST_SETUPS)
		return setups;
	mean = sum / setups;
	half = student_t(setups - 1) *
	       sqrt(fmax(squares - sum * mean, 0) / (setups - 1) / setups);
	s->low = fmin(s->low, fmax(s->median - half, 0));
	s->high = fmax(s->high, s->median + half);
	return setups;
}

bool stats_settled(const struct stats *s, unsigned int least, double within)
{
	return s->n >= STATS_LEAST && s->n >= least && s->median > 0 &&
	       s->high - s->median <= within * s->median &&
	       s->median - s->low <= within * s->median;
}
