/* SPDX-License-Identifier: BSD-3-Clause */
/* taps.c has a tap in a network namespace of its own, whose queue can be filled
 * while nobody reads. */
#ifndef TAPS_H
#define TAPS_H

#include "bench.h"

/** TAPS_QUEUE - frames that a tap's queue holds at least */
#define TAPS_QUEUE 4000

/**
 * struct taps - see above
 * @fd:     the tap, with a header of RINGFEED_HDR bytes
 * @packet: sends to the host's side of it, and receives VMM_ETHERTYPE if
 *          taps_open() was told so
 */
struct taps {
	int fd, packet;
};

/** taps_open() - 0, or -errno with bench_why() called */
int taps_open(struct bench *b, struct taps *t, bool receives);
/** taps_close() - after a failed taps_open() too */
void taps_close(struct taps *t);

/** taps_fill() - @n frames of @size bytes into its queue; how many fit */
unsigned int taps_fill(struct taps *t, unsigned int size, unsigned int n);

#endif
