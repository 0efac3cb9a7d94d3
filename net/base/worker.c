/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.c runs the thread of a device.
 *
 * One turn of its loop: posted jobs, then one round of the queued work, then
 * events of descriptors. With nothing to do it polls for a while, enables
 * notifications, checks once more and sleeps in epoll without a timeout.
 *
 * The time of polling adapts as the kernel's halt_poll_ns does: after a sleep
 * that was shorter than the upper bound the next window doubles; after a longer
 * sleep the window is 0. So an idle guest uses no processor time.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "clock.h"

#define POLL_START_NS 10000

struct worker {
	pthread_t thread;
	struct loop *loop;
	struct loop_job finish; /* posted by worker_finish() */
	bool finished;          /* it has run */

	struct worker_work *work, **work_tail;
	unsigned int nwork; /* entries of that list */
	struct worker_idle *idle;
	uint64_t max_poll_ns, poll_ns;
	unsigned long turns;
};

static void run_finish(void *arg)
{
	struct worker *w = arg;

	w->finished = true;
}

static void count_turn(struct worker *w)
{
	__atomic_store_n(&w->turns, w->turns + 1, __ATOMIC_RELAXED);
}

unsigned long worker_turns(const struct worker *w)
{
	return __atomic_load_n(&w->turns, __ATOMIC_RELAXED);
}

/* Return: false when the thread has to end. */
static bool run_jobs(struct worker *w)
{
	count_turn(w);
	loop_run_jobs(w->loop);
	return !w->finished;
}

/* Work that queues itself again waits for the next round. */
static void run_work_round(struct worker *w)
{
	for (unsigned int n = w->nwork; n && w->work; n--) {
		struct worker_work *work = w->work;

		worker_cancel(w, work);
		work->fn(work);
	}
}

/* Return: true if there is work. */
static bool poll_for_work(struct worker *w)
{
	uint64_t window = w->poll_ns, until;

	if (w->idle && w->idle->min_us * UINT64_C(1000) > window)
		window = w->idle->min_us * UINT64_C(1000);
	if (!window || !w->idle)
		return false;
	until = now_ns() + window;
	do {
		count_turn(w);
		if (w->idle->poll(w->idle))
			return true;
		loop_dispatch(w->loop, LOOP_EVENTS_MAX, 0);
		if (w->work || loop_has_jobs(w->loop))
			return true;
		/* An event may have removed the device. */
	} while (w->idle && now_ns() < until);
	return false;
}

/* Adapts the window after a sleep (0 ns: enabling notifications found work). */
static void adapt(struct worker *w, uint64_t slept_ns)
{
	if (slept_ns > w->max_poll_ns)
		w->poll_ns = 0;
	else
		w->poll_ns =
			MIN(w->max_poll_ns, MAX(POLL_START_NS, 2 * w->poll_ns));
}

static void sleep_for_work(struct worker *w)
{
	uint64_t start;

	/* It may queue work and find nothing itself. */
	if (w->idle && (w->idle->arm(w->idle) || w->work)) {
		adapt(w, 0);
		return;
	}
	start = now_ns();
	loop_dispatch(w->loop, LOOP_EVENTS_MAX, -1);
	adapt(w, now_ns() - start);
}

static __thread const struct worker *self;

bool worker_is_self(const struct worker *w)
{
	return self == w;
}

static const struct worker_guard *guard; /* worker_set_guard() */

void worker_set_guard(const struct worker_guard *g)
{
	guard = g;
}

static void run_loop(struct worker *w)
{
	bool worked = false;

	while (run_jobs(w)) {
		if (w->work) {
			run_work_round(w);
			loop_dispatch(w->loop, LOOP_EVENTS_MAX, 0);
			worked = true;
			continue;
		}
		/* Polling follows work only, or a busyloop would never end. */
		if (worked && poll_for_work(w))
			continue;
		worked = false;
		sleep_for_work(w);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	self = w;
	if (guard)
		guard->begin(w);
	run_loop(w);
	if (guard)
		guard->end(w);
	return NULL;
}

static bool interrupts_enabled; /* set before there is a second thread */

static void on_signal(int sig)
{
	(void)sig;
}

int worker_interrupts_enable(void)
{
	/* Without SA_RESTART: the system call must return. */
	const struct sigaction action = { .sa_handler = on_signal };

	if (sigaction(WORKER_SIGNAL, &action, NULL) < 0)
		return -errno;
	interrupts_enabled = true;
	return 0;
}

void worker_interrupt(struct worker *w)
{
	if (interrupts_enabled)
		pthread_kill(w->thread, WORKER_SIGNAL);
}

static int worker_start_thread(struct worker *w, const char *name)
{
	char short_name[16];
	sigset_t all, old;
	int ret;

	/* The main thread handles signals; faults must stay deliverable. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	if (interrupts_enabled)
		sigdelset(&all, WORKER_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret)
		return -ret;
	strncpy(short_name, name, sizeof(short_name) - 1);
	short_name[sizeof(short_name) - 1] = '\0';
	pthread_setname_np(w->thread, short_name);
	return 0;
}

int worker_new(const char *name, unsigned int max_poll_us, struct worker **out)
{
	struct worker *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return -ENOMEM;
	w->work_tail = &w->work;
	w->max_poll_ns = max_poll_us * UINT64_C(1000);
	w->finish = (struct loop_job){ .fn = run_finish, .arg = w };
	ret = loop_new(&w->loop);
	if (ret < 0)
		goto err_free;
	ret = worker_start_thread(w, name);
	if (ret < 0)
		goto err_loop;
	*out = w;
	return 0;

err_loop:
	loop_free(w->loop);
err_free:
	free(w);
	return ret;
}

void worker_post(struct worker *w, struct loop_job *job)
{
	loop_post(w->loop, job);
}

struct call {
	struct loop_job job;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
	bool ran; /* as @done; ThreadSanitizer does not know sem_clockwait() */
};

static void run_call(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	__atomic_store_n(&c->ran, true, __ATOMIC_RELEASE);
	sem_post(&c->done);
}

/* Return: false if it did not run within @ms. */
static bool wait_for_call(struct call *c, unsigned int ms)
{
	const struct timespec t = ns_timespec(now_ns() + ms * NS_PER_MS);

	while (sem_clockwait(&c->done, CLOCK_MONOTONIC, &t) < 0)
		if (errno != EINTR)
			return false;
	return __atomic_load_n(&c->ran, __ATOMIC_ACQUIRE);
}

void worker_call_looking(struct worker *w, void (*fn)(void *arg),
			 void (*look)(void *arg), void *arg,
			 unsigned int every_ms)
{
	struct call c = { .fn = fn, .arg = arg };

	c.job = (struct loop_job){ .fn = run_call, .arg = &c };
	sem_init(&c.done, 0, 0);
	worker_post(w, &c.job);
	if (look)
		while (!wait_for_call(&c, every_ms))
			look(arg);
	else
		while (sem_wait(&c.done) < 0)
			continue; /* a signal */
	sem_destroy(&c.done);
}

void worker_call(struct worker *w, void (*fn)(void *arg), void *arg)
{
	worker_call_looking(w, fn, NULL, arg, 0);
}

void worker_finish(struct worker *w)
{
	loop_post(w->loop, &w->finish);
}

void worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
	loop_free(w->loop);
	free(w);
}

int worker_watch_add(struct worker *w, struct loop_watch *watch, int fd,
		     uint32_t events)
{
	return loop_add(w->loop, watch, fd, events);
}

int worker_watch_mod(struct worker *w, struct loop_watch *watch,
		     uint32_t events)
{
	return loop_mod(w->loop, watch, events);
}

void worker_watch_del(struct worker *w, struct loop_watch *watch)
{
	loop_del(w->loop, watch);
}

void worker_queue(struct worker *w, struct worker_work *work)
{
	if (work->queued)
		return;
	work->queued = true;
	w->nwork++;
	work->next = NULL;
	*w->work_tail = work;
	w->work_tail = &work->next;
}

void worker_cancel(struct worker *w, struct worker_work *work)
{
	struct worker_work **p = &w->work;

	if (!work->queued)
		return;
	while (*p != work)
		p = &(*p)->next;
	*p = work->next;
	if (w->work_tail == &work->next)
		w->work_tail = p;
	work->queued = false;
	w->nwork--;
}

void worker_set_idle(struct worker *w, struct worker_idle *idle)
{
	w->idle = idle;
}
