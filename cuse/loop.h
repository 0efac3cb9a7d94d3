/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main thread's event loop: descriptors, and jobs posted by other threads.
 * Nothing that runs on it may wait for a session (guests are hostile, their
 * workers may hang).
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdint.h>

struct loop;

/**
 * struct loop_watch - a descriptor in the loop's epoll set, level-triggered
 * @fn: called with the EPOLL* bits that are up; may remove or free any watch
 * @fd: borrowed; -1 while not watched
 */
struct loop_watch {
	void (*fn)(struct loop_watch *watch, uint32_t events);
	int fd;
};

/**
 * struct loop_job - something to be run once on the loop
 *
 * The memory is the poster's until @fn is called, @fn's afterwards.
 */
struct loop_job {
	void (*fn)(void *arg);
	void *arg;
	struct loop_job *next; /* loop's */
};

/** loop_new() - 0, -ENOMEM, -EMFILE */
int loop_new(struct loop **out);
/** loop_free() - jobs that did not run are forgotten, not freed */
void loop_free(struct loop *l);

/** loop_add() - watch @fd for EPOLL* @events; 0 or -errno */
int loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events);
/** loop_del() - forget the descriptor; harmless if not watched */
void loop_del(struct loop *l, struct loop_watch *watch);

/** loop_post() - run @job on the loop's thread; any thread, never blocks */
void loop_post(struct loop *l, struct loop_job *job);

/**
 * loop_run() - serve until loop_stop()
 * @timeout_ms: give up after this long, milliseconds; -1 never
 * Return: 0; -ETIMEDOUT; -errno if epoll fails.
 */
int loop_run(struct loop *l, int timeout_ms);

/** loop_stop() - loop_run() returns; loop's thread only */
void loop_stop(struct loop *l);

#endif
