/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty bitmap of VHOST_SET_LOG_BASE: bit gpa/4096, little endian, in the
 * owner's memory. Where we have it mapped the bits are or-ed atomically. Where
 * it is copied, setting one bit would race with the owner, which exchanges
 * words with zero. So the whole byte is stored as 0xff: that marks up to seven
 * pages too many and never loses one.
 *
 * Marks are collected and written by dirtylog_flush(), which must come before
 * the used index that publishes the writes.
 */
#ifndef DIRTYLOG_H
#define DIRTYLOG_H

#include <stdbool.h>
#include <stdint.h>
#include "aspace.h"

#define DIRTYLOG_PAGE UINT64_C(4096)
#define DIRTYLOG_PENDING 64

struct dirtylog {
	uint64_t base; /* uva of the bitmap */
	size_t n;
	struct {
		uint64_t first, last; /* bytes of the bitmap, inclusive */
	} pending[DIRTYLOG_PENDING];
};

/** dirtylog_mark() - pages of @len bytes at @gpa will be or were written */
void dirtylog_mark(struct dirtylog *log, struct aspace *as, uint64_t gpa,
		   uint64_t len);

/**
 * dirtylog_flush() - store what is still to be stored
 * Return: 0, or -EFAULT etc. as aspace_write(); nothing stays pending.
 */
int dirtylog_flush(struct dirtylog *log, struct aspace *as);

/**
 * dirtylog_window_ok() - access_ok() of the bitmap for pages up to gpa_last
 *
 * Source: log_access_ok() in drivers/vhost/vhost.c.
 */
bool dirtylog_window_ok(uint64_t base, uint64_t gpa, uint64_t len);

#endif
