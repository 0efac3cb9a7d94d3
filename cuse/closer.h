/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * closer.c closes sockets of peers on a thread of its own.
 *
 * With a unix socket go the descriptors that are in its queue, unread. A TCP
 * socket among them makes close(2) wait for as long as its sender has set
 * (SO_LINGER), which would be the loop. The thread is interrupted like those of
 * sessions. That does not end every wait: with the last descriptor of a CUSE
 * device, our own perhaps, the kernel waits for the answer to its release. So
 * each listener or client has a closer for itself.
 */
#ifndef CLOSER_H
#define CLOSER_H

#include <stdbool.h>
#include "loop.h"
#include "watchdog.h"
#include "worker.h"

struct closer;

/**
 * struct closer_job - a socket that is being closed
 * @done: called on the loop when it is
 * @busy: until then
 *
 * The rest is the closer's; zeroed at first.
 */
struct closer_job {
	void (*done)(struct closer_job *job);
	bool busy;
	int fd;
	struct closer *closer;
	struct loop_job close;
	struct loop_job closed;
};

/** closer_new() - @loop and @watchdog outlive it; 0 or -ENOMEM */
int closer_new(struct loop *loop, struct watchdog *watchdog,
	       struct closer **out);
/**
 * closer_start() - start the thread, once privileges have been given up
 *
 * NULL is harmless. Return: as worker_new().
 */
int closer_start(struct closer *c);
/**
 * closer_free() - NULL is harmless
 *
 * Return: false if a socket is being closed: it is left behind.
 */
bool closer_free(struct closer *c);

/** closer_close() - close @fd, for @job, which is not busy; loop's thread.
 * Before closer_start() it is closed here */
void closer_close(struct closer *c, struct closer_job *job, int fd);

#endif
