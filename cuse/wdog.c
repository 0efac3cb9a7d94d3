/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wdog.c measures the processor time of a thread with a timer of the kernel,
 * which sends the thread a signal after each half of the allowed time.
 * The handler compares the turns that the loop has made with those at the last
 * signal; after two halves without a turn it ends the process.
 *
 * The timer stands still while the thread sleeps or is blocked, so neither this
 * process nor the broker is woken up, and the time says nothing about how long
 * a page of the guest's memory takes.
 *
 * A worker process that a guest has taken over can turn this off. It gains
 * processor time, which its VMM has as well.
 */
#include "wdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

/* Signals without a turn after which the process ends. */
#define LOOKS 2

/* libc before 2.35 has no name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Of the thread, on which the handler runs. */
static __thread struct {
	const struct worker *worker; /* NULL: no timer */
	timer_t timer;
	unsigned long turns; /* at the last signal */
	unsigned int looks;  /* signals since then */
} dog;

/* Signals that do not come from the timer do not count. */
static void on_timer(int sig, siginfo_t *info, void *context)
{
	unsigned long turns;

	(void)context;
	if (info->si_code != SI_TIMER || !dog.worker)
		return;
	turns = worker_turns(dog.worker);
	if (turns != dog.turns) {
		dog.turns = turns;
		dog.looks = 0;
	} else if (++dog.looks == LOOKS) {
		/* The process ends when this handler returns. */
		signal(sig, SIG_DFL);
		raise(sig);
	}
}

static int start_timer(unsigned int cpu_ms)
{
	const struct timespec half = ns_timespec(cpu_ms * NS_PER_MS / LOOKS);
	const struct itimerspec every = { .it_interval = half,
					  .it_value = half };
	struct sigevent event;
	int ret = 0;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = SIGXCPU;
	event.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &dog.timer) < 0)
		return -errno;
	if (timer_settime(dog.timer, 0, &every, NULL) < 0) {
		ret = -errno;
		timer_delete(dog.timer);
	}
	return ret;
}

int wdog_start(struct worker *w, unsigned int cpu_ms)
{
	/* Interrupted system calls are restarted. */
	const struct sigaction action = { .sa_sigaction = on_timer,
					  .sa_flags = SA_SIGINFO | SA_RESTART };
	sigset_t set;
	int ret;

	dog.turns = worker_turns(w);
	dog.looks = 0;
	if (sigaction(SIGXCPU, &action, NULL) < 0)
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGXCPU);
	ret = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	ret = ret ? -ret : start_timer(cpu_ms);
	if (ret == 0)
		dog.worker = w;
	return ret;
}

void wdog_stop(void)
{
	if (!dog.worker)
		return;
	dog.worker = NULL;
	timer_delete(dog.timer);
}

/* ---- all workers ---- */

static unsigned int all_ms; /* set before there is a second thread */

static void begin_worker(struct worker *w)
{
	int ret = wdog_start(w, all_ms);

	if (ret < 0)
		log_warn(NULL, "a thread is not watched for endless loops: %s",
			 strerror(-ret));
}

static void end_worker(struct worker *w)
{
	(void)w;
	wdog_stop();
}

void wdog_start_all(unsigned int cpu_ms)
{
	static const struct worker_guard guard = { begin_worker, end_worker };

	all_ms = cpu_ms;
	worker_set_guard(&guard);
}
