/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.c is a thread with an event loop, which owns a device. Control calls
 * (ioctls, messages) are posted to it and run between two batches of packets,
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
 * struct worker_work - a piece of work that is queued at most once
 * @fn: called on the worker's thread, FIFO among all queued work
 */
struct worker_work {
	void (*fn)(struct worker_work *work);
	bool queued;
	struct worker_work *next; /* worker's */
};

/**
 * struct worker_idle - what a device does between work and sleep
 * @poll:   true if it found (and queued) work; cheap, never blocks
 * @arm:    called right before the thread sleeps: ask to be notified of new
 *          work, then look once more. Return: true if there is work after all
 * @min_us: poll at least this long after work, µs (busyloop timeout); 0: only
 *          as long as adaptive polling thinks useful
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

/**
 * worker_post() - run a job on the worker's thread, soon and exactly once
 *
 * Any thread. Jobs run in the order they were posted, before queued work.
 */
void worker_post(struct worker *w, struct loop_job *job);

/**
 * worker_call() - run @fn on the worker's thread and wait until it has returned
 *
 * Any other thread; one that its own guest may hold up for ever, that is. What
 * the caller owns, @fn may use.
 */
void worker_call(struct worker *w, void (*fn)(void *arg), void *arg);

/**
 * worker_call_looking() - the same for a worker that may have to be freed
 * @look: called on this thread, with @arg, each time @every_ms have passed and
 *        @fn has not returned; NULL: never
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
 * WORKER_SIGNAL - ends system calls; reserved for that
 *
 * Ignored by default and by processes that do not know it, and pending at most
 * once, however often it is sent.
 */
#define WORKER_SIGNAL SIGURG

/**
 * worker_interrupts_enable() - take WORKER_SIGNAL for the whole process
 *
 * For a program, before its first worker. Without it (in a library)
 * worker_interrupt() does nothing. Return: 0 or -errno.
 */
int worker_interrupts_enable(void);

/**
 * worker_interrupt() - have the system call fail in which the worker waits
 *
 * Any other thread, until worker_join(). The call returns EINTR; a worker that
 * waits in none is not disturbed. A worker about to enter one is missed, so
 * this is to be repeated until the worker answers; what it does not end is a
 * wait that the kernel does not let signals end: a page of a file whose file
 * system does not answer, say.
 */
void worker_interrupt(struct worker *w);

/** worker_is_self() - is this the worker's own thread? For assertions. */
bool worker_is_self(const struct worker *w);

/* The rest is for the worker's own thread. */

/** worker_watch_add() - watch @fd for EPOLL* @events; 0 or -errno */
int worker_watch_add(struct worker *w, struct loop_watch *watch, int fd,
		     uint32_t events);
/** worker_watch_mod() - change the events; 0 or -errno */
int worker_watch_mod(struct worker *w, struct loop_watch *watch,
		     uint32_t events);
/** worker_watch_del() - forget the descriptor; harmless if not watched */
void worker_watch_del(struct worker *w, struct loop_watch *watch);

/** worker_queue() - run @work after what is queued already; idempotent */
void worker_queue(struct worker *w, struct worker_work *work);
/** worker_cancel() - take @work out of the queue */
void worker_cancel(struct worker *w, struct worker_work *work);

/** worker_set_idle() - one a worker; NULL takes it away */
void worker_set_idle(struct worker *w, struct worker_idle *idle);

#endif
