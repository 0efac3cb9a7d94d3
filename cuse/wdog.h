/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wdog.c ends a worker process a thread of which uses processor time without
 * progress: it is in an endless loop. In the process of a device this is the
 * device's thread, in that of a network each worker.
 *
 * Progress is a turn of the thread's loop (worker.h): one batch of each ring,
 * one call, or one look while it polls for work. A turn takes far less time
 * than WDOG_MS.
 */
#ifndef WDOG_H
#define WDOG_H

#include "worker.h"

/** WDOG_MS - processor time within one turn after which a worker process ends:
 * so much at least, and at most half as much again */
#define WDOG_MS 10000

/**
 * wdog_start() - from now on the process ends if the thread makes no progress
 * @w:      on its thread; lives until wdog_stop(), or as long as the process
 * @cpu_ms: as WDOG_MS; at least 2
 *
 * The process ends by SIGXCPU. A thread that waits, for a page of its guest's
 * memory for example, uses no processor time, and is left alone. An idle
 * process is not woken up for this.
 *
 * Makes calls that the filter of a device's process refuses (wfilter.h), so it
 * comes before that. Return: 0 or -errno.
 */
int wdog_start(struct worker *w, unsigned int cpu_ms);

/** wdog_stop() - the thread is about to end; harmless if wdog_start() was not
 * called on it, or failed */
void wdog_stop(void);

/**
 * wdog_start_all() - wdog_start() for each worker that is made from now on, as
 * worker_set_guard()
 *
 * A worker for which there is no timer (RLIMIT_SIGPENDING) runs without.
 */
void wdog_start_all(unsigned int cpu_ms);

#endif
