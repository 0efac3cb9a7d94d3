/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * watchdog.c interrupts the system calls of workers that do not answer. All of
 * it runs on the loop's thread.
 *
 * A guest or its VMM can make a worker wait in a system call. If a signal ends
 * that call, the worker takes its next job: the close of its session. A wait
 * that signals do not end (for a page of a file whose file system does not
 * answer) is reported, once.
 */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "loop.h"

/** WATCHDOG_HANG_MS - a worker that has not answered for so long hangs */
#define WATCHDOG_HANG_MS 2000

struct watchdog;

/**
 * struct watchdog_entry - a worker that owes an answer
 * @interrupt: called every TICK_MS until watchdog_end(), less often once it
 *             hangs
 * @hangs:     called once, after WATCHDOG_HANG_MS; may call watchdog_end() for
 *             this entry; may be NULL
 *
 * The rest is the watchdog's; zeroed at first.
 */
struct watchdog_entry {
	void (*interrupt)(struct watchdog_entry *e);
	void (*hangs)(struct watchdog_entry *e);
	bool active, hung;
	int64_t since_ms;
	LIST_ENTRY(watchdog_entry) link;
};

/** watchdog_new() - 0 or -errno */
int watchdog_new(struct loop *loop, struct watchdog **out);
/** watchdog_free() - entries are forgotten; NULL is harmless */
void watchdog_free(struct watchdog *w);

/** watchdog_begin() - the worker has been asked just now; asking again starts
 * the time again */
void watchdog_begin(struct watchdog *w, struct watchdog_entry *e);
/** watchdog_end() - the worker has answered; harmless if it was not asked */
void watchdog_end(struct watchdog *w, struct watchdog_entry *e);

#endif
