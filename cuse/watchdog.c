/* SPDX-License-Identifier: BSD-3-Clause */
/* watchdog.c calls @interrupt of each entry on a timer (watchdog.h). */
#include "watchdog.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"

/* Time between two signals; a worker that works answers before the first. */
#define TICK_MS 50
/* The same while all remaining workers hang: their memory may yet answer. */
#define SLOW_TICK_MS 1000

struct watchdog {
	struct loop *loop;
	struct loop_watch timer; /* an owned timerfd */
	unsigned int tick_ms;    /* 0: the timer is off */
	LIST_HEAD(, watchdog_entry) entries;
};

static void set_tick(struct watchdog *w, unsigned int ms)
{
	const struct timespec every = {
		.tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000,
	};
	const struct itimerspec t = { .it_interval = every, .it_value = every };

	if (w->tick_ms == ms)
		return;
	w->tick_ms = ms;
	timerfd_settime(w->timer.fd, 0, &t, NULL);
}

static void choose_tick(struct watchdog *w)
{
	const struct watchdog_entry *e;
	unsigned int ms = 0;

	LIST_FOREACH (e, &w->entries, link)
		if (!e->hung)
			ms = TICK_MS;
		else if (!ms)
			ms = SLOW_TICK_MS;
	set_tick(w, ms);
}

static void on_tick(struct loop_watch *watch, uint32_t events)
{
	struct watchdog *w = container_of(watch, struct watchdog, timer);
	struct watchdog_entry *e, *next;
	int64_t now = now_ms();
	uint64_t count;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	for (e = LIST_FIRST(&w->entries); e; e = next) {
		next = LIST_NEXT(e, link);
		e->interrupt(e);
		if (e->hung || now - e->since_ms < WATCHDOG_HANG_MS)
			continue;
		e->hung = true;
		if (e->hangs)
			e->hangs(e);
	}
	choose_tick(w);
}

int watchdog_new(struct loop *loop, struct watchdog **out)
{
	struct watchdog *w = calloc(1, sizeof(*w));
	int fd, ret;

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->timer.fn = on_tick;
	LIST_INIT(&w->entries);
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	ret = fd < 0 ? -errno : loop_add(loop, &w->timer, fd, EPOLLIN);
	if (ret < 0) {
		if (fd >= 0)
			close(fd);
		free(w);
		return ret;
	}
	*out = w;
	return 0;
}

void watchdog_free(struct watchdog *w)
{
	int fd;

	if (!w)
		return;
	fd = w->timer.fd;
	loop_del(w->loop, &w->timer);
	close(fd);
	free(w);
}

void watchdog_begin(struct watchdog *w, struct watchdog_entry *e)
{
	if (!e->active)
		LIST_INSERT_HEAD(&w->entries, e, link);
	e->active = true;
	e->hung = false;
	e->since_ms = now_ms();
	choose_tick(w);
}

void watchdog_end(struct watchdog *w, struct watchdog_entry *e)
{
	if (!e->active)
		return;
	LIST_REMOVE(e, link);
	e->active = e->hung = false;
	choose_tick(w);
}
