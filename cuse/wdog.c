/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wdog.c measures the processor time of the device's thread with a timer of the
 * kernel, which sends the thread a signal after each half of the allowed time.
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

/* Signals without a turn after which the process ends. */
#define LOOKS 2

/* libc before 2.35 has no name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Used by the device's thread alone, on which the handler runs. */
static struct {
	const struct worker *worker;
	unsigned long turns; /* at the last signal */
	unsigned int looks;  /* signals since then */
} dog;

/* Signals that do not come from the timer do not count. */
static void on_timer(int sig, siginfo_t *info, void *context)
{
	unsigned long turns = worker_turns(dog.worker);

	(void)context;
	if (info->si_code != SI_TIMER)
		return;
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
	timer_t timer;

	memset(&event, 0, sizeof(event));
	event.sigev_notify = SIGEV_THREAD_ID;
	event.sigev_signo = SIGXCPU;
	event.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) < 0 ||
	    timer_settime(timer, 0, &every, NULL) < 0)
		return -errno;
	return 0;
}

int wdog_start(struct worker *w, unsigned int cpu_ms)
{
	/* Interrupted system calls are restarted. */
	const struct sigaction action = { .sa_sigaction = on_timer,
					  .sa_flags = SA_SIGINFO | SA_RESTART };
	sigset_t set;
	int ret;

	dog.worker = w;
	dog.turns = worker_turns(w);
	if (sigaction(SIGXCPU, &action, NULL) < 0)
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGXCPU);
	ret = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return ret ? -ret : start_timer(cpu_ms);
}
