/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.c is the event loop of one thread: descriptors (epoll), and jobs that
 * other threads post. The main thread runs one with loop_run(); each worker has
 * one of its own and runs it in its own way (worker.h).
 *
 * Other threads touch nothing but the queue of jobs. Jobs that are queued run
 * before the loop polls its descriptors.
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

/**
 * struct loop_watch - a descriptor in the loop's epoll set, level-triggered
 * @fn: called with the EPOLL* bits that are set; may remove any watch with
 *      loop_del(), and free it afterwards
 * @fd: borrowed; -1 while not watched
 */
struct loop_watch {
	void (*fn)(struct loop_watch *watch, uint32_t events);
	int fd;
};

/**
 * struct loop_job - a function call, to be made once on the loop's thread
 * @fn:  called on the loop's thread; may free the job
 * @arg: for @fn
 *
 * The job must stay in memory until @fn is called; then it belongs to @fn.
 */
struct loop_job {
	void (*fn)(void *arg);
	void *arg;
	struct loop_job *next; /* loop's */
};

/** loop_new() - 0, -ENOMEM, -EMFILE */
int loop_new(struct loop **out);
/** loop_free() - jobs that have not run are not run, and not freed */
void loop_free(struct loop *l);

/** loop_post() - run @job soon, in the order of posting, exactly once; any
 * thread, never blocks */
void loop_post(struct loop *l, struct loop_job *job);

/* The rest is for the loop's own thread. */

/** loop_add() - watch @fd for EPOLL* @events; 0 or -errno */
int loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events);
/** loop_mod() - change the events; 0 or -errno */
int loop_mod(struct loop *l, struct loop_watch *watch, uint32_t events);
/** loop_del() - stop watching the descriptor; its events that are not handled
 * yet are dropped. Harmless if it is not watched */
void loop_del(struct loop *l, struct loop_watch *watch);

/**
 * loop_run() - run jobs and handle events until loop_stop()
 * @timeout_ms: return after so many milliseconds, and when all jobs have run
 * that were queued until then; -1: never
 *
 * Nothing that runs on the main thread's loop may wait for a session: a hostile
 * guest can make its worker hang. Return: 0; -ETIMEDOUT; -errno if epoll fails.
 */
int loop_run(struct loop *l, int timeout_ms);

/** loop_stop() - loop_run() returns */
void loop_stop(struct loop *l);

/** loop_has_jobs() - is a job queued? A job that another thread posts meanwhile
 * may be missed; loop_dispatch() returns at once then */
bool loop_has_jobs(const struct loop *l);
/** loop_run_jobs() - run the jobs that are queued */
void loop_run_jobs(struct loop *l);

/** LOOP_EVENTS_MAX - events that one loop_dispatch() can handle */
#define LOOP_EVENTS_MAX 16

/**
 * loop_dispatch() - wait for events, and handle them
 * @max:        events at most, 1...LOOP_EVENTS_MAX
 * @timeout_ms: -1: until there is an event or a job
 *
 * Return: events handled, wake-ups for jobs included; 0 after a signal; -errno.
 */
int loop_dispatch(struct loop *l, int max, int timeout_ms);

#endif
