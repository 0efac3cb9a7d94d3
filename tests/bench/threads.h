/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.c says what the threads of a process do: sleep, use the processor,
 * give it up. */
#ifndef THREADS_H
#define THREADS_H

#include <stdint.h>
#include <sys/types.h>

/** threads_own_ns() - processor time of the calling thread, exact */
uint64_t threads_own_ns(void);

/** threads_rest() - wait until thread @tid of @pid sleeps; 0 or -ETIMEDOUT */
int threads_rest(pid_t pid, pid_t tid);

/**
 * threads_switches() - how often threads of @pid gave up a processor to wait
 * for something; those that have ended are not counted
 * @but: a thread that is left out; 0: none
 */
uint64_t threads_switches(pid_t pid, pid_t but);

/** threads_pin() - bind every thread that @pid has now to a processor */
void threads_pin(pid_t pid, int cpu);

#endif
