/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * closer.c closes sockets of peers on a thread of its own (closer.h).
 *
 * The loop's thread posts jobs and counts them; the closer's thread only calls
 * close(2) and posts the end of the job back.
 */
#include "closer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bytes.h"

struct closer {
	struct loop *loop;
	struct watchdog *watchdog;
	struct worker *worker; /* NULL: not started */
	struct watchdog_entry dog;
	unsigned int busy; /* jobs */
};

static void interrupt(struct watchdog_entry *e)
{
	worker_interrupt(container_of(e, struct closer, dog)->worker);
}

int closer_new(struct loop *loop, struct watchdog *watchdog,
	       struct closer **out)
{
	struct closer *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->watchdog = watchdog;
	c->dog.interrupt = interrupt;
	*out = c;
	return 0;
}

int closer_start(struct closer *c)
{
	return c ? worker_new("uvhost-closer", 0, &c->worker) : 0;
}

bool closer_free(struct closer *c)
{
	if (!c)
		return true;
	if (c->busy)
		return false;
	if (c->worker) {
		worker_finish(c->worker);
		worker_join(c->worker);
	}
	free(c);
	return true;
}

static void close_socket_now(void *arg)
{
	struct closer_job *job = arg;

	close(job->fd);
	loop_post(job->closer->loop, &job->closed);
}

static void on_socket_closed(void *arg)
{
	struct closer_job *job = arg;
	struct closer *c = job->closer;

	job->busy = false;
	if (--c->busy && c->worker)
		watchdog_begin(c->watchdog, &c->dog); /* for the next job */
	else
		watchdog_end(c->watchdog, &c->dog);
	job->done(job);
}

void closer_close(struct closer *c, struct closer_job *job, int fd)
{
	job->busy = true;
	job->fd = fd;
	job->closer = c;
	job->close = (struct loop_job){ .fn = close_socket_now, .arg = job };
	job->closed = (struct loop_job){ .fn = on_socket_closed, .arg = job };
	if (c->busy++ == 0 && c->worker)
		watchdog_begin(c->watchdog, &c->dog);
	if (c->worker)
		worker_post(c->worker, &job->close);
	else
		close_socket_now(job);
}
