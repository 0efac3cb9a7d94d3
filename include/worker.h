/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.c is a thread with an event loop, which owns a device. Control calls
 * (ioctls, messages) are posted to it and run between two batches of frames,
 * so the device needs no lock, and a guest whose memory blocks (userfaultfd,
 * swap) delays only its own device.
 *
 *   thread            owns                         may call
 *   main loop         /dev/cuse channels, sessions worker_post, worker_finish,
 *                                                  worker_join
 *   worker (each)     one vdev, its rings, port,   everything else here, vdev_*
 *                     fds, guest mappings
 */
#ifndef WORKER_H
#define WORKER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include "log.h"
#include "loop.h"

struct worker;

/**
 * struct worker_work - a piece of work; it is in the queue at most once
 * @fn: called on the worker's thread; queued work runs first in, first out
 */
struct worker_work {
	void (*fn)(struct worker_work *work);
	bool queued;
	struct worker_work *next; /* worker's */
};

/**
 * struct worker_idle - what the thread calls when its queue of work is empty
 * @poll:   looks for work, and queues it; cheap, never blocks. Return: true if
 *          it found some
 * @arm:    called right before the thread sleeps: turns notifications of new
 *          work on, then looks for work once more. Return: true if it found
 *          some
 * @min_us: poll at least so long after the last work, µs (the busyloop
 *          timeout); 0: only as long as adaptive polling decides
 */
struct worker_idle {
	bool (*poll)(struct worker_idle *idle);
	bool (*arm)(struct worker_idle *idle);
	uint32_t min_us;
};

/**
 * worker_new() - start a thread
 * @name:   thread name, at most 15 bytes used
 * @max_poll_us: upper bound of adaptive polling, µs; 0 never polls
 * Return: 0, -ENOMEM, -EAGAIN (thread limit), -EMFILE.
 */
int worker_new(const char *name, unsigned int max_poll_us, struct worker **out);

/** struct worker_guard - @begin and @end are called on the thread of a worker,
 * first and last */
struct worker_guard {
	void (*begin)(struct worker *w);
	void (*end)(struct worker *w);
};

/** worker_set_guard() - for all workers made from now on; call it before there
 * is a second thread. @guard is borrowed */
void worker_set_guard(const struct worker_guard *guard);

/**
 * worker_post() - run a job on the worker's thread, soon and exactly once
 *
 * Any thread. Jobs run in the order they were posted, before queued work.
 */
void worker_post(struct worker *w, struct loop_job *job);

/**
 * worker_call() - run @fn on the worker's thread and wait until it has returned
 *
 * Any other thread that may wait as long as the guest makes it wait. @fn may
 * use what the caller owns.
 */
void worker_call(struct worker *w, void (*fn)(void *arg), void *arg);

/**
 * worker_call_looking() - the same, with repeated calls of @look meanwhile
 * @look: called on the caller's thread, with @arg, each time @every_ms have
 *        passed and @fn has not returned; it may interrupt the worker. NULL:
 *        never
 */
void worker_call_looking(struct worker *w, void (*fn)(void *arg),
			 void (*look)(void *arg), void *arg,
			 unsigned int every_ms);

/**
 * worker_finish() - the thread ends after the jobs posted so far
 *
 * Any thread; nothing may be posted afterwards. worker_join() must follow.
 */
void worker_finish(struct worker *w);

/** worker_join() - wait for the thread after worker_finish(), and free it */
void worker_join(struct worker *w);

/**
 * WORKER_SIGNAL - the signal that interrupts system calls of workers
 *
 * The default action of SIGURG is to ignore it, and it is pending at most once,
 * however often it is sent.
 */
#define WORKER_SIGNAL SIGURG

/**
 * worker_interrupts_enable() - install a handler for WORKER_SIGNAL
 *
 * A program calls this before it makes its first worker. Without it (in a
 * library) worker_interrupt() does nothing. Return: 0 or -errno.
 */
int worker_interrupts_enable(void);

/**
 * worker_interrupt() - end the system call in which the worker waits
 *
 * Any other thread, until worker_join(). The system call fails with EINTR; a
 * worker outside of system calls is not disturbed. A worker that is about to
 * enter a system call is missed, so the caller repeats this until the worker
 * answers. A wait that the kernel does not let signals end goes on, for example
 * for a page of a file whose file system does not answer.
 */
void worker_interrupt(struct worker *w);

/** worker_is_self() - is this the worker's own thread? For assertions. */
bool worker_is_self(const struct worker *w);

/* The rest is for the worker's own thread. */

/** worker_turns() - how many turns the thread's loop has made, polling
 * included; signal handlers on that thread may call it */
unsigned long worker_turns(const struct worker *w);

/** worker_watch_add() - watch @fd for EPOLL* @events; 0 or -errno */
int worker_watch_add(struct worker *w, struct loop_watch *watch, int fd,
		     uint32_t events);
/** worker_watch_mod() - change the events; 0 or -errno */
int worker_watch_mod(struct worker *w, struct loop_watch *watch,
		     uint32_t events);
/** worker_watch_del() - stop watching; harmless if not watched */
void worker_watch_del(struct worker *w, struct loop_watch *watch);

/** worker_queue() - run @work after the work that is queued already; no effect
 * if it is queued itself */
void worker_queue(struct worker *w, struct worker_work *work);
/** worker_cancel() - take @work out of the queue */
void worker_cancel(struct worker *w, struct worker_work *work);

/** worker_set_idle() - a worker has at most one; NULL removes it */
void worker_set_idle(struct worker *w, struct worker_idle *idle);

#endif
