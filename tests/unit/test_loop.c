/* SPDX-License-Identifier: BSD-3-Clause */
/* The event loop of one thread (loop.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "bytes.h"
#include "evfd.h"
#include "loop.h"

#define TIMEOUT_MS 10

static struct {
	struct loop *loop;
	struct loop_watch watch;
	struct loop_job first, second;
	unsigned int runs; /* of @second */
	bool stops;
} t;

static void run_first(void *arg)
{
	(void)arg;
	loop_post(t.loop, &t.second);
}

static void run_second(void *arg)
{
	(void)arg;
	t.runs++;
	if (t.stops)
		loop_stop(t.loop);
}

/* When it returns, the time of loop_run() is over. */
static void on_event(struct loop_watch *watch, uint32_t events)
{
	const struct timespec pause = { .tv_nsec = 2 * TIMEOUT_MS * 1000000 };

	(void)events;
	evfd_drain(watch->fd);
	loop_post(t.loop, &t.first);
	nanosleep(&pause, NULL);
}

static int set_up(void **state)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	t.first.fn = run_first;
	t.second.fn = run_second;
	t.watch.fn = on_event;
	t.runs = 0;
	t.stops = false;
	if (fd < 0 || loop_new(&t.loop) < 0)
		return -1;
	return loop_add(t.loop, &t.watch, fd, EPOLLIN);
}

static int tear_down(void **state)
{
	(void)state;
	close(t.watch.fd);
	loop_free(t.loop);
	return 0;
}

/* Whoever posted a job may be freed after loop_run(): the job must not be
 * queued then. */
static void no_job_is_queued_after_a_timeout(void **state)
{
	(void)state;
	assert_int_equal(loop_run(t.loop, TIMEOUT_MS), -ETIMEDOUT);
	assert_false(loop_has_jobs(t.loop));
	assert_int_equal(t.runs, 1);
}

static void a_job_that_runs_after_the_time_can_stop_the_loop(void **state)
{
	(void)state;
	t.stops = true;
	assert_int_equal(loop_run(t.loop, TIMEOUT_MS), 0);
	assert_int_equal(t.runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			no_job_is_queued_after_a_timeout, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_job_that_runs_after_the_time_can_stop_the_loop,
			set_up, tear_down),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
