/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dirtylog.h: the dirty bitmap of VHOST_SET_LOG_BASE, in the owner's memory.
 * Bit gpa/4096 (little endian) says that the page was written. Where the bitmap
 * is mapped the bits are or-ed atomically. Where it is not, setting one bit
 * would race with the owner, which exchanges words with zero; so the whole byte
 * is stored as 0xff, which marks up to seven pages too many and never loses
 * one.
 *
 * Marks of a bitmap that is not mapped are collected; dirtylog_flush() writes
 * them, for buffers before the used index that publishes what was written. The
 * device's thread uses it.
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
 * dirtylog_flush() - store the collected marks
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
