/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hops.c has bare threads that wake each other, in the order in which the
 * workers of a daemon and a guest do it for one frame: the limit of a round
 * trip. A thread sleeps in read(2) of its eventfd, and then writes the eventfd
 * of the next one.
 */
#ifndef HOPS_H
#define HOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HOPS_TURNS 2

/**
 * struct hops_order - who wakes whom in one round trip
 * @workers: threads beside the caller, 1 or 2; the caller is number 0
 * @turns:   how often each is woken
 * @next:    next[i][k] is woken by i in its turn k; the caller's first turn is
 *           the beginning of the trip
 */
struct hops_order {
	unsigned int workers, turns;
	unsigned int next[3][HOPS_TURNS];
};

struct hops;

/**
 * hops_new() - 0 or -errno
 * @tap: -1; or a tap: the one worker writes @frame of @len bytes to it when it
 *       is woken, and wakes the caller when it could read one from it. @order
 *       is then not used
 */
int hops_new(const struct hops_order *order, int tap, const void *frame,
	     uint32_t len, struct hops **out);
void hops_free(struct hops *h);

/** hops_trip() - one round trip of @order; 0 or -ETIMEDOUT */
int hops_trip(struct hops *h);

/** hops_wake() - wake the worker; hops_wait() - until it wakes the caller; 0 or
 * -ETIMEDOUT. With a tap */
void hops_wake(struct hops *h);
int hops_wait(struct hops *h);

/** hops_cpu_ns() - processor time of the workers so far */
uint64_t hops_cpu_ns(const struct hops *h);
/** hops_pin() - bind the workers to a processor */
void hops_pin(const struct hops *h, int cpu);

#endif
