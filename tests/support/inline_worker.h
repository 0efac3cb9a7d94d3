/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inline_worker.h is the worker without its thread: it compiles
 * net/base/worker.c, but work runs only when the test calls for it, on the
 * test's thread. A test may call the device directly, and can check that
 * nothing happens. A program links it in the place of net/base/worker.c.
 */
#ifndef INLINE_WORKER_H
#define INLINE_WORKER_H

#include <stdbool.h>
#include "worker.h"

/**
 * worker_settle() - run until the worker would sleep
 * @rounds: give up after so many rounds of work
 *
 * Return: false if it gave up: there would never be an end, or not soon.
 */
bool worker_settle(struct worker *w, unsigned int rounds);

/** worker_round() - one round of queued work, no look at descriptors */
void worker_round(struct worker *w);
/** worker_look() - handle what the descriptors have, run no work */
void worker_look(struct worker *w);
/** worker_busy() - is work queued? */
bool worker_busy(const struct worker *w);

#endif
