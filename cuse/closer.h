/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * closer.c closes sockets of peers on a thread of its own, since close(2) of
 * such a socket can block.
 *
 * close(2) of a unix socket also closes the descriptors that wait in its queue.
 * If one of them is a TCP socket, close(2) waits as long as the peer has set
 * (SO_LINGER). The watchdog interrupts the thread like those of sessions. That
 * does not end every wait: at the close of the last descriptor of a CUSE device
 * (ours, perhaps) the kernel waits for the reply to RELEASE. So each listener
 * and each client has a closer of its own.
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
 * @done: called on the loop when the socket is closed
 * @busy: true until then
 *
 * The other members belong to the closer. All are zero at first.
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
 * closer_start() - start the thread; call it after privileges are given up
 *
 * @c may be NULL. Return: as worker_new().
 */
int closer_start(struct closer *c);
/**
 * closer_free() - end the thread; @c may be NULL
 *
 * Return: false if a close has not returned: the closer is not freed then.
 */
bool closer_free(struct closer *c);

/** closer_close() - close @fd; @job is not busy. Runs on the loop's thread.
 * Before closer_start() it closes @fd itself */
void closer_close(struct closer *c, struct closer_job *job, int fd);

#endif
