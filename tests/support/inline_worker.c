/* SPDX-License-Identifier: BSD-3-Clause */
#include "inline_worker.h"

#include <pthread.h>

/* The thread never starts, and there is none to wait for. */
#define pthread_create(thread, attr, fn, arg) ((void)(fn), (void)(arg), 0)
#define pthread_setname_np(thread, name) ((void)(name))
#define pthread_join(thread, result) ((void)0)
#define worker_is_self worker_is_self_thread
#define worker_call worker_call_waiting
#define worker_call_looking worker_call_looking_waiting
bool worker_is_self_thread(const struct worker *w);
void worker_call_waiting(struct worker *w, void (*fn)(void *arg), void *arg);
void worker_call_looking_waiting(struct worker *w, void (*fn)(void *arg),
				 void (*look)(void *arg), void *arg,
				 unsigned int every_ms);
#include "../../net/base/worker.c" /* NOLINT(bugprone-suspicious-include) */
#undef worker_is_self
#undef worker_call
#undef worker_call_looking

/* Whoever calls plays the thread. */
bool worker_is_self(const struct worker *w)
{
	(void)w;
	return true;
}

void worker_call_looking(struct worker *w, void (*fn)(void *arg),
			 void (*look)(void *arg), void *arg,
			 unsigned int every_ms)
{
	(void)look; /* nothing can take long */
	(void)every_ms;
	run_jobs(w); /* those posted before */
	fn(arg);
}

void worker_call(struct worker *w, void (*fn)(void *arg), void *arg)
{
	worker_call_looking(w, fn, NULL, arg, 0);
}

bool worker_settle(struct worker *w, unsigned int rounds)
{
	for (;;) {
		run_jobs(w);
		if (w->work) {
			if (!rounds--)
				return false;
			run_work_round(w);
			loop_dispatch(w->loop, LOOP_EVENTS_MAX, 0);
			continue;
		}
		if (w->idle && w->idle->arm(w->idle))
			continue;
		loop_dispatch(w->loop, LOOP_EVENTS_MAX, 0);
		if (!w->work && !loop_has_jobs(w->loop))
			return true;
	}
}

void worker_round(struct worker *w)
{
	run_work_round(w);
}

void worker_look(struct worker *w)
{
	loop_dispatch(w->loop, LOOP_EVENTS_MAX, 0);
}

bool worker_busy(const struct worker *w)
{
	return w->work != NULL;
}
