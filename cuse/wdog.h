/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wdog.c ends a worker process whose device thread uses processor time without
 * progress: it is in an endless loop.
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
 * wdog_start() - from now on the process ends if its device thread makes no
 * progress
 * @w:      on its thread; lives as long as the process. One in a process
 * @cpu_ms: as WDOG_MS; at least 2
 *
 * The process ends by SIGXCPU. A thread that waits, for a page of its guest's
 * memory for example, uses no processor time, and is left alone. An idle
 * process is not woken up for this.
 *
 * Makes calls that the filter refuses (wfilter.h), so it comes before that.
 * Return: 0 or -errno.
 */
int wdog_start(struct worker *w, unsigned int cpu_ms);

#endif
