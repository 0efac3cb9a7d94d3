/* SPDX-License-Identifier: BSD-3-Clause */
/* Processor time of the daemon that is measured, and medians. */
#ifndef PROCTIME_H
#define PROCTIME_H

#include <stdint.h>
#include <sys/types.h>

/** proctime_daemon() - its pid, from the file $UVHOST_PID_FILE; -1: none */
pid_t proctime_daemon(void);

/** proctime_thread_ns() - of a thread of @pid so far; of one that runs, to some
 * milliseconds. 0 if there is no such thread */
uint64_t proctime_thread_ns(pid_t pid, pid_t tid);

/** proctime_ns() - of all threads of @pid, those that have ended too; exact */
uint64_t proctime_ns(pid_t pid);

/** proctime_median() - sorts @v */
double proctime_median(double *v, unsigned int n);

#endif
