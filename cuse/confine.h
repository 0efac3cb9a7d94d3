/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/** What confine_process() leaves the rights for */
enum confine_needs {
	CONFINE_DEVICES = 1,  /* other users' processes are reached into */
	CONFINE_WORKERS = 2,  /* worker processes are started and ended */
	CONFINE_TAKEOVER = 4, /* the node of --takeover has to be put back at
			       * the end */
};

/**
 * confine_process() - give up what is not needed to serve
 * @needs: enum confine_needs; 0: every capability goes
 *
 * After everything privileged has been opened. Threads that are there already
 * are confined too (capabilities are a thread's own, and inherited).
 * Return: 0 or -errno; logged.
 */
int confine_process(unsigned int needs);

/**
 * confine_open() - open(2) with CAP_DAC_OVERRIDE, if we were given it
 *
 * It is in force for this one call, on the calling thread. For /proc/PID/mem.
 * Return: a descriptor or -errno.
 */
int confine_open(const char *path, int flags);

/**
 * confine_kill() - pidfd_send_signal(2) with CAP_KILL, if we were given it
 *
 * It is in force for this one call, on the calling thread. For worker
 * processes, which are of other users.
 * Return: 0 or -errno.
 */
int confine_kill(int pidfd, int sig);

/* The rest makes system calls only: a child may call it between fork and exec.
 */

/** confine_permitted() - does the calling thread have all of @caps (bits of
 * CAP_*), in force or not? */
bool confine_permitted(uint64_t caps);

/** confine_raise() - put @caps into force, as far as they are permitted */
void confine_raise(uint64_t caps);

/** confine_no_bounds() - empty the bounding set, if the calling thread may
 * (CAP_SETPCAP in force) */
void confine_no_bounds(void);

/** confine_none() - give up all capabilities of the calling thread, ambient
 * ones included; 0 or -errno */
int confine_none(void);

/** confine_keep() - give up all capabilities of the calling thread but @caps,
 * which are in force from now on, as far as they are permitted; 0 or -errno */
int confine_keep(uint64_t caps);

#endif
