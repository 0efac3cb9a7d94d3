/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "bytes.h"
#include "clock.h"
#include "evfd.h"

struct loop {
	int epfd;
	int evfd; /* jobs have been posted */
	bool stop;
	struct loop_watch wake;

	pthread_mutex_t lock; /* guards the queue of jobs */
	struct loop_job *head;
	struct loop_job **tail;
};

/* One job at a time: a job may free the next one's owner, not the next one. */
static struct loop_job *job_take(struct loop *l)
{
	struct loop_job *job;

	pthread_mutex_lock(&l->lock);
	job = l->head;
	if (job) {
		l->head = job->next;
		if (!l->head)
			l->tail = &l->head;
	}
	pthread_mutex_unlock(&l->lock);
	return job;
}

static void loop_wake(struct loop_watch *watch, uint32_t events)
{
	struct loop *l = container_of(watch, struct loop, wake);
	struct loop_job *job;

	(void)events;
	/* Before the queue is emptied: a job posted later wakes us again. */
	if (!evfd_drain(l->evfd))
		return;
	while ((job = job_take(l)) != NULL)
		job->fn(job->arg);
}

int loop_new(struct loop **out)
{
	struct loop *l;
	int ret;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->tail = &l->head;
	pthread_mutex_init(&l->lock, NULL);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		ret = -errno;
		goto err_free;
	}
	l->evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->evfd < 0) {
		ret = -errno;
		goto err_epfd;
	}
	l->wake.fn = loop_wake;
	ret = loop_add(l, &l->wake, l->evfd, EPOLLIN);
	if (ret < 0)
		goto err_evfd;

	*out = l;
	return 0;

err_evfd:
	close(l->evfd);
err_epfd:
	close(l->epfd);
err_free:
	pthread_mutex_destroy(&l->lock);
	free(l);
	return ret;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->evfd);
	close(l->epfd);
	pthread_mutex_destroy(&l->lock);
	free(l);
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

void loop_del(struct loop *l, struct loop_watch *watch)
{
	if (watch->fd < 0)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fd = -1;
}

void loop_post(struct loop *l, struct loop_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&l->lock);
	*l->tail = job;
	l->tail = &job->next;
	/* Inside the lock: once the job has run, the loop may be freed. */
	evfd_signal(l->evfd);
	pthread_mutex_unlock(&l->lock);
}

int loop_run(struct loop *l, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;

	l->stop = false;
	while (!l->stop) {
		/* One event a turn: a callback may free other watches. */
		struct epoll_event ev;
		struct loop_watch *watch;
		int wait = -1, n;

		if (timeout_ms >= 0)
			wait = (int)MAX(0, deadline - now_ms());
		n = epoll_wait(l->epfd, &ev, 1, wait);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 1) {
			watch = ev.data.ptr;
			watch->fn(watch, ev.events);
		}
		if (!l->stop && timeout_ms >= 0 && now_ms() >= deadline)
			return -ETIMEDOUT;
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
