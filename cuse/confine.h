/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * confine.c gives up privileges of the daemon, and puts single capabilities
 * into force for single system calls.
 */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stdint.h>

/** What confine_process() keeps capabilities for */
enum confine_needs {
	CONFINE_DEVICES = 1,  /* access to processes of other users */
	CONFINE_WORKERS = 2,  /* start and end of worker processes */
	CONFINE_TAKEOVER = 4, /* --takeover: putting the node back at the end */
};

/**
 * confine_process() - give up capabilities that are no longer needed
 * @needs: bits of enum confine_needs; 0: give up all capabilities
 *
 * Call it after everything privileged has been opened. It confines all threads
 * of the process; new threads inherit the capabilities of their creator.
 * Return: 0 or -errno; logged.
 */
int confine_process(unsigned int needs);

/**
 * confine_open() - open(2) with CAP_DAC_OVERRIDE, if it is permitted
 *
 * The capability is in force for this one call, on the calling thread. Used for
 * /proc/PID/mem, which needs it, and /proc/PID/auxv.
 * Return: a descriptor or -errno.
 */
int confine_open(const char *path, int flags);

/**
 * confine_kill() - pidfd_send_signal(2) with CAP_KILL, if it is permitted
 *
 * The capability is in force for this one call, on the calling thread. Used for
 * worker processes, which run as other users, and takers.
 * Return: 0 or -errno.
 */
int confine_kill(int pidfd, int sig);

/* The following functions only make system calls: a child can call them between
 * fork and exec. */

/** confine_permitted() - whether the calling thread has all of @caps (bits of
 * CAP_*) in its permitted set */
bool confine_permitted(uint64_t caps);

/** confine_raise() - put @caps into force, as far as they are permitted */
void confine_raise(uint64_t caps);

/** confine_no_bounds() - empty the bounding set; without effect if CAP_SETPCAP
 * is not in force */
void confine_no_bounds(void);

/** confine_none() - give up all capabilities of the calling thread, ambient
 * ones included; 0 or -errno */
int confine_none(void);

/** confine_keep() - give up all capabilities of the calling thread except
 * @caps, which are put into force as far as they are permitted; 0 or -errno */
int confine_keep(uint64_t caps);

#endif
