/* SPDX-License-Identifier: BSD-3-Clause */
/* rangemap.c maps address ranges to owner's addresses, in a sorted array. */
#include "rangemap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void rangemap_clear(struct rangemap *m)
{
	m->n = 0;
	m->overlap = false;
}

void rangemap_free(struct rangemap *m)
{
	free(m->r);
	*m = (struct rangemap){ 0 };
}

static void check_overlap(struct rangemap *m)
{
	m->overlap = false;
	for (size_t i = 1; i < m->n && !m->overlap; i++)
		m->overlap = m->r[i].start <= m->r[i - 1].last;
}

static void drop_oldest(struct rangemap *m)
{
	size_t oldest = 0;

	for (size_t i = 1; i < m->n; i++)
		if (m->r[i].seq < m->r[oldest].seq)
			oldest = i;
	m->n--;
	memmove(&m->r[oldest], &m->r[oldest + 1],
		(m->n - oldest) * sizeof(m->r[0]));
	check_overlap(m);
}

static int grow(struct rangemap *m)
{
	size_t capacity = m->capacity ? 2 * m->capacity : 16;
	struct range *r;

	if (m->n < m->capacity)
		return 0;
	r = realloc(m->r, capacity * sizeof(*r));
	if (!r)
		return -ENOMEM;
	m->r = r;
	m->capacity = capacity;
	return 0;
}

int rangemap_add(struct rangemap *m, uint64_t start, uint64_t last,
		 uint64_t uva, uint8_t perm)
{
	size_t i;
	int ret;

	if (last < start)
		return -EFAULT;
	if (start == 0 && last == UINT64_MAX) {
		uint64_t half = last / 2;

		ret = rangemap_add(m, 0, half, uva, perm);
		if (ret < 0)
			return ret;
		return rangemap_add(m, half + 1, last, uva + half + 1, perm);
	}
	if (m->n == RANGEMAP_MAX)
		drop_oldest(m);
	ret = grow(m);
	if (ret < 0)
		return ret;

	for (i = m->n; i > 0 && m->r[i - 1].start > start; i--)
		m->r[i] = m->r[i - 1];
	m->r[i] = (struct range){
		.start = start,
		.last = last,
		.uva = uva,
		.seq = m->seq++,
		.perm = perm,
	};
	m->n++;
	if ((i > 0 && m->r[i - 1].last >= start) ||
	    (i + 1 < m->n && m->r[i + 1].start <= last))
		m->overlap = true;
	return 0;
}

void rangemap_del(struct rangemap *m, uint64_t start, uint64_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].last < start || m->r[i].start > last)
			m->r[kept++] = m->r[i];
	m->n = kept;
	if (m->overlap)
		check_overlap(m);
}

struct range *rangemap_first(const struct rangemap *m, uint64_t start,
			     uint64_t last)
{
	size_t lo = 0, hi = m->n;

	if (m->overlap) {
		while (lo < m->n && m->r[lo].last < start)
			lo++;
	} else {
		while (lo < hi) {
			size_t mid = (lo + hi) / 2;

			if (m->r[mid].last < start)
				lo = mid + 1;
			else
				hi = mid;
		}
	}
	return lo < m->n && m->r[lo].start <= last ? &m->r[lo] : NULL;
}
