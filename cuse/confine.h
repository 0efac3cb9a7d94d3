/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>

/**
 * confine_process() - give up what is not needed to serve
 * @devices:  there are character devices: other users' processes are reached
 *            into. Without them every capability goes
 * @takeover: the node of --takeover has to be put back at the end
 *
 * After everything privileged has been opened. Threads that are there already
 * are confined too (capabilities are a thread's own, and inherited).
 * Return: 0 or -errno; logged.
 */
int confine_process(bool devices, bool takeover);

/**
 * confine_open() - open(2) with CAP_DAC_OVERRIDE, if we were given it
 *
 * It is in force for this one call, on the calling thread. For /proc/PID/mem.
 * Return: a descriptor or -errno.
 */
int confine_open(const char *path, int flags);

#endif
