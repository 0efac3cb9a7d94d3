/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.c is the event loop of one thread. A thread that posts a job signals the
 * eventfd only if the queue of jobs was empty, and holds the lock meanwhile:
 * once its job has run, the loop may be freed.
 */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "evfd.h"
#include "mutex.h"

struct loop {
	int epfd;
	bool stop;
	struct loop_watch wake; /* an eventfd: a job has been posted */

	struct mutex lock; /* the two below */
	struct loop_job *jobs, **jobs_tail;

	struct epoll_event events[LOOP_EVENTS_MAX];
	int nevents; /* of events[], while they are being handled */
};

static void on_wake(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	evfd_drain(watch->fd);
}

int loop_new(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));
	int ret, wakefd;

	if (!l)
		return -ENOMEM;
	l->jobs_tail = &l->jobs;
	l->wake.fn = on_wake;
	mutex_init(&l->lock);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		ret = -errno;
		goto err_free;
	}
	wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wakefd < 0) {
		ret = -errno;
		goto err_epfd;
	}
	ret = loop_add(l, &l->wake, wakefd, EPOLLIN);
	if (ret < 0)
		goto err_wake;
	*out = l;
	return 0;

err_wake:
	close(wakefd);
err_epfd:
	close(l->epfd);
err_free:
	mutex_destroy(&l->lock);
	free(l);
	return ret;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->wake.fd);
	close(l->epfd);
	mutex_destroy(&l->lock);
	free(l);
}

void loop_post(struct loop *l, struct loop_job *job)
{
	bool was_empty;

	job->next = NULL;
	mutex_lock(&l->lock);
	was_empty = !l->jobs;
	__atomic_store_n(l->jobs_tail, job, __ATOMIC_RELAXED);
	l->jobs_tail = &job->next;
	if (was_empty)
		evfd_signal(l->wake.fd);
	mutex_unlock(&l->lock);
}

bool loop_has_jobs(const struct loop *l)
{
	return __atomic_load_n(&l->jobs, __ATOMIC_RELAXED) != NULL;
}

void loop_run_jobs(struct loop *l)
{
	struct loop_job *job, *next;

	if (!loop_has_jobs(l))
		return;
	mutex_lock(&l->lock);
	job = l->jobs;
	l->jobs = NULL;
	l->jobs_tail = &l->jobs;
	mutex_unlock(&l->lock);

	for (; job; job = next) {
		next = job->next;
		job->fn(job->arg);
	}
}

int loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };

	watch->fd = -1;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	watch->fd = fd;
	return 0;
}

int loop_mod(struct loop *l, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };

	return epoll_ctl(l->epfd, EPOLL_CTL_MOD, watch->fd, &ev) < 0 ? -errno
								     : 0;
}

void loop_del(struct loop *l, struct loop_watch *watch)
{
	if (watch->fd < 0)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fd = -1;
	for (int i = 0; i < l->nevents; i++)
		if (l->events[i].data.ptr == watch)
			l->events[i].data.ptr = NULL;
}

int loop_dispatch(struct loop *l, int max, int timeout_ms)
{
	int n = epoll_wait(l->epfd, l->events, max, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->nevents = n;
	for (int i = 0; i < n; i++) {
		struct loop_watch *watch = l->events[i].data.ptr;

		if (watch)
			watch->fn(watch, l->events[i].events);
	}
	l->nevents = 0;
	return n;
}

/* The caller may free what jobs are in. */
static void run_last_jobs(struct loop *l)
{
	while (loop_has_jobs(l))
		loop_run_jobs(l);
}

int loop_run(struct loop *l, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;
	int wait = -1, ret;

	for (l->stop = false;;) {
		loop_run_jobs(l);
		if (l->stop)
			return 0;
		if (timeout_ms >= 0)
			wait = (int)MAX(0, deadline - now_ms());
		/* One event a turn: an event of a batch can be outdated by the
		 * handler before it, which may read what it announced. */
		ret = loop_dispatch(l, 1, wait);
		if (ret < 0)
			return ret;
		if (l->stop || timeout_ms < 0 || now_ms() < deadline)
			continue;
		run_last_jobs(l);
		return l->stop ? 0 : -ETIMEDOUT;
	}
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
