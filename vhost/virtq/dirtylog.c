/* SPDX-License-Identifier: BSD-3-Clause */
/* dirtylog.c marks pages in the dirty bitmap of a live migration. */
#include "dirtylog.h"

#include <errno.h>

#include "bytes.h"

/* Bitmap bytes written in one piece: 128 MiB of guest memory. */
#define ONES_LEN 4096

static const uint8_t ones[ONES_LEN] = { [0 ... ONES_LEN - 1] = 0xff };

static void mark_mapped(uint8_t *byte, uint64_t first_page, uint64_t last_page)
{
	for (uint64_t p = first_page; p <= last_page; p++) {
		uint8_t *b = byte + (p / 8 - first_page / 8);

		__atomic_fetch_or(b, (uint8_t)(1u << (p % 8)),
				  __ATOMIC_RELAXED);
	}
}

static void add_pending(struct dirtylog *log, uint64_t first, uint64_t last)
{
	size_t i = log->n - 1;

	/* Buffers that are close together mark the same byte repeatedly. */
	if (log->n && log->pending[i].first <= first &&
	    first <= log->pending[i].last + 1) {
		log->pending[i].last = MAX(log->pending[i].last, last);
		return;
	}
	log->pending[log->n].first = first;
	log->pending[log->n++].last = last;
}

void dirtylog_mark(struct dirtylog *log, struct aspace *as, uint64_t gpa,
		   uint64_t len)
{
	uint64_t first_page = gpa / DIRTYLOG_PAGE, last_page, first, last,
		 last_gpa;
	uint8_t *ptr;

	if (!len || !range_last(gpa, len, &last_gpa))
		return;
	last_page = last_gpa / DIRTYLOG_PAGE;
	first = log->base + first_page / 8;
	last = log->base + last_page / 8;
	ptr = aspace_ptr(as, first, last - first + 1);
	if (ptr) {
		mark_mapped(ptr, first_page, last_page);
		return;
	}
	if (log->n == DIRTYLOG_PENDING)
		dirtylog_flush(log, as);
	add_pending(log, first, last);
}

int dirtylog_flush(struct dirtylog *log, struct aspace *as)
{
	int ret = 0;

	for (size_t i = 0; i < log->n; i++) {
		uint64_t at = log->pending[i].first;
		uint64_t left = log->pending[i].last - at + 1;

		while (left) {
			size_t len = MIN(left, sizeof(ones));
			struct aspace_range r = { at, (void *)ones, len };

			if (aspace_write(as, &r, 1) < 0)
				ret = -EFAULT;
			at += len;
			left -= len;
		}
	}
	log->n = 0;
	return ret;
}

bool dirtylog_window_ok(uint64_t base, uint64_t gpa, uint64_t len)
{
	uint64_t first = gpa / DIRTYLOG_PAGE / 8, at;

	return !add_overflows(base, first, &at) &&
	       aspace_ok(at, (len + DIRTYLOG_PAGE * 8 - 1) / DIRTYLOG_PAGE / 8);
}
