/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wdog.c tests how a thread that does not get on ends its process. Each
 * test has a process of its own, with a worker that it makes there.
 *
 * Times are processor time: how busy the machine is makes no difference.
 */
#include "check.h"

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "clock.h"
#include "wdog.h"
#include "worker.h"

#define DEADLINE_MS 60000
#define LIMIT_MS 160
/* A turn that works, and all of them. */
#define TURN_MS 10
#define LONG_MS (6 * LIMIT_MS)

/* ---- in the process; exit status 0 is what most tests want ---- */

static struct {
	struct worker *w;
	sem_t done;
} child;

static uint64_t used_ms(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID) / NS_PER_MS;
}

static void burn(unsigned int ms)
{
	uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + ms * NS_PER_MS;

	while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void start_dog(void *arg)
{
	int *ret = arg;

	*ret = wdog_start(child.w, LIMIT_MS);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void begin(void)
{
	int ret;

	alarm(DEADLINE_MS / 1000);
	sem_init(&child.done, 0, 0);
	if (worker_new("child", 0, &child.w) < 0)
		_exit(2);
	worker_call(child.w, start_dog, &ret);
	if (ret < 0)
		_exit(3);
}

static void wait_done(void)
{
	while (sem_wait(&child.done) < 0)
		continue;
}

static void loop_for_ever(void *arg)
{
	for (volatile unsigned int *n = arg;; (*n)++)
		;
}

static void it_loops(void)
{
	unsigned int n = 0;

	worker_call(child.w, loop_for_ever, &n);
}

/* Only a read: the thread waits. */
static void read_byte(void *arg)
{
	const int *fd = arg;
	char byte;

	while (read(*fd, &byte, 1) < 0)
		continue;
	sem_post(&child.done);
}

static void it_waits(void)
{
	int fds[2];
	struct loop_job job = { .fn = read_byte, .arg = &fds[0] };

	if (pipe(fds) < 0)
		_exit(4);
	worker_post(child.w, &job);
	burn(LONG_MS);
	if (write(fds[1], "", 1) != 1)
		_exit(5);
	wait_done();
}

static void work(struct worker_work *w)
{
	burn(TURN_MS);
	if (used_ms() < LONG_MS)
		worker_queue(child.w, w);
	else
		sem_post(&child.done);
}

static void queue_work(void *arg)
{
	worker_queue(child.w, arg);
}

static void it_works(void)
{
	struct worker_work w = { .fn = work };

	worker_call(child.w, queue_work, &w);
	wait_done();
}

static void no_work(struct worker_work *w)
{
	(void)w;
}

static bool poll_long(struct worker_idle *idle)
{
	(void)idle;
	if (used_ms() < LONG_MS)
		return false;
	worker_set_idle(child.w, NULL);
	sem_post(&child.done);
	return true;
}

static bool arm(struct worker_idle *idle)
{
	(void)idle;
	_exit(6); /* it does not sleep before */
}

static void start_polling(void *arg)
{
	static struct worker_work once = { .fn = no_work };

	worker_set_idle(child.w, arg);
	worker_queue(child.w, &once);
}

static void it_polls(void)
{
	struct worker_idle idle = { .poll = poll_long,
				    .arm = arm,
				    .min_us = UINT32_MAX };

	worker_call(child.w, start_polling, &idle);
	wait_done();
}

static void it_is_sent_the_signal(void)
{
	sigset_t set;
	int fds[2];
	struct loop_job job = { .fn = read_byte, .arg = &fds[0] };

	/* Its other thread gets them. */
	sigemptyset(&set);
	sigaddset(&set, SIGXCPU);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (pipe(fds) < 0)
		_exit(4);
	worker_post(child.w, &job);
	for (unsigned int i = 0; i < 10; i++) {
		kill(getpid(), SIGXCPU);
		burn(1);
	}
	if (write(fds[1], "", 1) != 1)
		_exit(5);
	wait_done();
}

/* ---- all workers of a process ---- */

static void begin_all(void)
{
	alarm(DEADLINE_MS / 1000);
	sem_init(&child.done, 0, 0);
	wdog_start_all(LIMIT_MS);
	if (worker_new("child", 0, &child.w) < 0)
		_exit(2);
}

/* The second one, beside one that works; one before it has ended. */
static void the_second_of_two_loops(void)
{
	struct worker_work job = { .fn = work };
	unsigned int n = 0;
	struct worker *w;

	begin_all();
	worker_finish(child.w);
	worker_join(child.w);
	if (worker_new("child", 0, &child.w) < 0 ||
	    worker_new("second", 0, &w) < 0)
		_exit(2);
	worker_call(child.w, queue_work, &job);
	worker_call(w, loop_for_ever, &n);
}

static void workers_come_and_go(void)
{
	struct worker_work job = { .fn = work };

	begin_all();
	for (unsigned int i = 0; i < 100; i++) {
		struct worker *w;

		if (worker_new("short", 0, &w) < 0)
			_exit(2);
		worker_call(w, nothing, NULL);
		worker_finish(w);
		worker_join(w);
	}
	worker_call(child.w, queue_work, &job);
	wait_done();
}

/* ---- the test's process ---- */

static int run(void (*begin_fn)(void), void (*fn)(void), struct rusage *usage)
{
	int status, pidfd;
	pid_t pid = fork();
	struct pollfd p = { .events = POLLIN };

	if (pid == 0) {
		begin_fn();
		fn();
		worker_call(child.w, nothing, NULL);
		_exit(0);
	}
	check_ok(pid);
	pidfd = check_ok(pidfd_open(pid, 0));
	p.fd = pidfd;
	if (poll(&p, 1, 2 * DEADLINE_MS) != 1)
		kill(pid, SIGKILL);
	close(pidfd);
	assert_int_equal(wait4(pid, &status, 0, usage), pid);
	return status;
}

static void one_that_loops_ends(void **state)
{
	struct rusage usage;
	int status;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip_because("a signal waits for the next call of libc");
#endif
	status = run(begin, it_loops, &usage);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGXCPU);
	assert_true(usage.ru_utime.tv_sec * 1000 +
			    usage.ru_utime.tv_usec / 1000 +
			    usage.ru_stime.tv_sec * 1000 +
			    usage.ru_stime.tv_usec / 1000 + 1 >=
		    LIMIT_MS);
}

static void goes_on(void (*fn)(void))
{
	struct rusage usage;

	assert_int_equal(run(begin, fn, &usage), 0);
}

static void nothing_before(void)
{
}

static void any_of_all_workers_that_loops_ends_it(void **state)
{
	struct rusage usage;
	int status;

	(void)state;
#ifdef __SANITIZE_THREAD__
	skip_because("a signal waits for the next call of libc");
#endif
	status = run(nothing_before, the_second_of_two_loops, &usage);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGXCPU);
}

static void workers_that_end_do_not_count(void **state)
{
	struct rusage usage;

	(void)state;
	assert_int_equal(run(nothing_before, workers_come_and_go, &usage), 0);
}

static void one_that_waits_goes_on(void **state)
{
	(void)state;
	goes_on(it_waits);
}

static void one_that_works_goes_on(void **state)
{
	(void)state;
	goes_on(it_works);
}

static void one_that_polls_goes_on(void **state)
{
	(void)state;
	goes_on(it_polls);
}

static void the_signal_of_others_does_not_count(void **state)
{
	(void)state;
	goes_on(it_is_sent_the_signal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_loops_ends),
		cmocka_unit_test(one_that_waits_goes_on),
		cmocka_unit_test(one_that_works_goes_on),
		cmocka_unit_test(one_that_polls_goes_on),
		cmocka_unit_test(the_signal_of_others_does_not_count),
		cmocka_unit_test(any_of_all_workers_that_loops_ends_it),
		cmocka_unit_test(workers_that_end_do_not_count),
	};

	return cmocka_run_group_tests_name("wdog", tests, NULL, NULL);
}
