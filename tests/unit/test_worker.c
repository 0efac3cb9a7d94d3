/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_worker.c tests the worker with its thread, and at the end a device on
 * one. The worker's thread notes what happens, and the test's thread checks it.
 */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "drv.h"
#include "sockport.h"
#include "vdev.h"
#include "worker.h"

#define DEADLINE_S 60
/* One look around may take so much processor time, under valgrind. */
#define SLACK_NS 10000000

static void wait_for(sem_t *sem)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += DEADLINE_S;
	while (sem_timedwait(sem, &at) < 0)
		if (errno != EINTR)
			fail_msg("the worker did not do it in time");
}

/* Runs a function on the worker's thread and waits for it. */
struct call {
	struct loop_job job;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void run_call(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	sem_post(&c->done);
}

static void call(struct worker *w, void (*fn)(void *arg), void *arg)
{
	struct call c = { .job = { .fn = run_call, .arg = &c },
			  .fn = fn,
			  .arg = arg };

	sem_init(&c.done, 0, 0);
	worker_post(w, &c.job);
	wait_for(&c.done);
	sem_destroy(&c.done);
}

static void nothing(void *arg)
{
	(void)arg;
}

static int setup(void **state)
{
	struct worker *w;

	check_ret(worker_new("a worker of tests", 0, &w), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	if (*state) {
		worker_finish(*state);
		worker_join(*state);
	}
	return 0;
}

/* ---- jobs ---- */

struct note {
	struct loop_job job;
	unsigned int thread, number;
	unsigned int *next; /* of that thread: what must come next */
	bool *wrong;
	sem_t *done;
};

static void take_note(void *arg)
{
	struct note *n = arg;

	if (*n->next != n->number)
		*n->wrong = true;
	*n->next = n->number + 1;
	if (n->done)
		sem_post(n->done);
}

struct poster {
	struct worker *w;
	struct note note[500];
	unsigned int next;
	bool wrong;
	pthread_t thread;
};

static void *post_all(void *arg)
{
	struct poster *p = arg;

	for (unsigned int i = 0; i < ARRAY_SIZE(p->note); i++) {
		p->note[i].number = i;
		p->note[i].next = &p->next;
		p->note[i].wrong = &p->wrong;
		p->note[i].job.fn = take_note;
		p->note[i].job.arg = &p->note[i];
		worker_post(p->w, &p->note[i].job);
	}
	return NULL;
}

static void jobs_of_every_thread_run_in_order(void **state)
{
	static struct poster p[4];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i].w = *state;
		check_ret(pthread_create(&p[i].thread, NULL, post_all, &p[i]),
			  0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		pthread_join(p[i].thread, NULL);
	call(*state, nothing, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		assert_int_equal(p[i].next, ARRAY_SIZE(p[i].note));
		assert_false(p[i].wrong);
	}
}

static void the_thread_ends_after_the_jobs_posted_so_far(void **state)
{
	static struct poster p;

	p.w = *state;
	post_all(&p);
	worker_finish(*state);
	worker_join(*state);
	*state = NULL;
	assert_int_equal(p.next, ARRAY_SIZE(p.note));
	assert_false(p.wrong);
}

static void free_the_job(void *arg)
{
	struct call *c = arg;
	sem_t *done = c->arg;

	free(c);
	sem_post(done);
}

static void a_job_may_free_itself(void **state)
{
	struct call *c = calloc(1, sizeof(*c));
	sem_t done;

	assert_non_null(c);
	sem_init(&done, 0, 0);
	c->job = (struct loop_job){ .fn = free_the_job, .arg = c };
	c->arg = &done;
	worker_post(*state, &c->job);
	wait_for(&done);
	sem_destroy(&done);
}

struct again {
	struct worker *w;
	struct loop_job job;
	unsigned int left;
	sem_t done;
};

static void post_again(void *arg)
{
	struct again *a = arg;

	if (a->left--)
		worker_post(a->w, &a->job);
	else
		sem_post(&a->done);
}

static void a_job_may_post_itself(void **state)
{
	struct again a = { .w = *state, .left = 1000 };

	a.job = (struct loop_job){ .fn = post_again, .arg = &a };
	sem_init(&a.done, 0, 0);
	worker_post(*state, &a.job);
	wait_for(&a.done);
	sem_destroy(&a.done);
}

static void name_is(void *arg)
{
	pthread_getname_np(pthread_self(), arg, 16);
}

static void the_thread_has_the_name_cut_to_fit(void **state)
{
	char name[16] = "";

	/* it is given right after the thread is made, by its maker */
	call(*state, name_is, name);
	assert_string_equal(name, "a worker of tes");
}

/* ---- work ---- */

struct task {
	struct worker_work work; /* first */
	struct tasks *all;
	char name;
	unsigned int again; /* queue itself so often */
};

struct tasks {
	struct worker *w;
	struct task t[4];
	struct loop_job then;
	char log[64];
	sem_t done;
};

static void note_task(struct tasks *all, char c)
{
	size_t len = strlen(all->log);

	if (len + 1 < sizeof(all->log))
		all->log[len] = c;
}

static void run_task(struct worker_work *work)
{
	struct task *t = (struct task *)work;

	note_task(t->all, t->name);
	if (t->again) {
		t->again--;
		worker_queue(t->all->w, &t->work);
	}
}

static void run_cancelling_task(struct worker_work *work)
{
	struct task *t = (struct task *)work;

	note_task(t->all, t->name);
	worker_cancel(t->all->w, &t->all->t[2].work);
}

static void run_posting_task(struct worker_work *work)
{
	struct task *t = (struct task *)work;

	note_task(t->all, t->name);
	worker_post(t->all->w, &t->all->then);
}

static void note_job(void *arg)
{
	note_task(arg, 'J');
}

static void tasks_init(struct tasks *all, struct worker *w)
{
	*all = (struct tasks){ .w = w, .then = { .fn = note_job, .arg = all } };
	for (unsigned int i = 0; i < 4; i++)
		all->t[i] = (struct task){ .work = { .fn = run_task },
					   .all = all,
					   .name = (char)('a' + i) };
}

/* Calls until a round changes nothing. */
static void check_log(struct tasks *all, const char *want)
{
	for (int i = 0; i < 50; i++)
		call(all->w, nothing, NULL);
	assert_string_equal(all->log, want);
}

static void queue_abc_twice(void *arg)
{
	struct tasks *all = arg;

	for (int i = 0; i < 6; i++)
		worker_queue(all->w, &all->t[i % 3].work);
}

static void work_runs_once_and_in_order(void **state)
{
	struct tasks all;

	tasks_init(&all, *state);
	call(*state, queue_abc_twice, &all);
	check_log(&all, "abc");
	call(*state, queue_abc_twice, &all);
	check_log(&all, "abcabc");
}

static void work_that_queues_itself_waits_for_the_others(void **state)
{
	struct tasks all;

	tasks_init(&all, *state);
	all.t[0].again = 3;
	all.t[1].again = 1;
	call(*state, queue_abc_twice, &all);
	check_log(&all, "abcabaa");
}

static void cancelled_work_does_not_run(void **state)
{
	struct tasks all;

	tasks_init(&all, *state);
	all.t[0].work.fn = run_cancelling_task; /* takes c out, the last */
	call(*state, queue_abc_twice, &all);
	check_log(&all, "ab");
	call(*state, queue_abc_twice, &all);
	check_log(&all, "abab");
}

static void cancel_in_all_places(void *arg)
{
	struct tasks *all = arg;

	for (int i = 0; i < 4; i++)
		worker_queue(all->w, &all->t[i].work);
	worker_cancel(all->w, &all->t[0].work); /* first */
	worker_cancel(all->w, &all->t[2].work); /* in between */
	worker_cancel(all->w, &all->t[3].work); /* last */
	worker_cancel(all->w, &all->t[3].work); /* not queued */
	worker_queue(all->w, &all->t[0].work);
	worker_cancel(all->w, &all->t[1].work);
	worker_cancel(all->w, &all->t[0].work); /* the only one */
	worker_queue(all->w, &all->t[3].work);
	worker_queue(all->w, &all->t[1].work);
}

static void work_can_be_cancelled_wherever_it_stands(void **state)
{
	struct tasks all;

	tasks_init(&all, *state);
	call(*state, cancel_in_all_places, &all);
	check_log(&all, "db");
}

static void a_job_goes_before_work_of_the_next_round(void **state)
{
	struct tasks all;

	tasks_init(&all, *state);
	all.t[0].work.fn = run_posting_task;
	all.t[1].again = 1;
	call(*state, queue_abc_twice, &all);
	check_log(&all, "abcJb");
}

/* ---- watches ---- */

struct eye {
	struct loop_watch watch; /* first */
	struct worker *w;
	struct eye *other;
	int fd, ret;
	uint32_t events;
	unsigned int seen;
	sem_t woken;
};

static void on_seen(struct loop_watch *watch, uint32_t events)
{
	struct eye *e = (struct eye *)watch;

	e->events = events;
	e->seen++;
	sem_post(&e->woken);
}

static void eye_init(struct eye *e, struct worker *w)
{
	*e = (struct eye){ .watch = { .fn = on_seen, .fd = -1 }, .w = w };
	e->fd = event_new();
	sem_init(&e->woken, 0, 0);
}

static void eye_close(struct eye *e)
{
	sem_destroy(&e->woken);
	close(e->fd);
}

static void watch_edges(void *arg)
{
	struct eye *e = arg;

	e->ret = worker_watch_add(e->w, &e->watch, e->fd, EPOLLIN | EPOLLET);
}

static void watch_nothing(void *arg)
{
	struct eye *e = arg;

	e->ret = worker_watch_mod(e->w, &e->watch, 0);
}

static void unwatch(void *arg)
{
	struct eye *e = arg;

	worker_watch_del(e->w, &e->watch);
	worker_watch_del(e->w, &e->watch); /* harmless */
}

static void poke(int fd)
{
	uint64_t one = 1;

	check_ret(write(fd, &one, sizeof(one)), sizeof(one));
}

/* On the worker's thread, so that what the test has read comes before. */
static void poke_eye(void *arg)
{
	struct eye *e = arg;

	poke(e->fd);
}

static void every_edge_of_a_watched_descriptor_is_seen(void **state)
{
	struct eye e;

	eye_init(&e, *state);
	call(*state, watch_edges, &e);
	check_ret(e.ret, 0);
	for (unsigned int i = 1; i <= 10; i++) {
		call(*state, poke_eye, &e);
		wait_for(&e.woken);
		call(*state, nothing, NULL);
		assert_int_equal(e.seen, i);
		assert_int_equal(e.events, EPOLLIN);
	}
	assert_int_equal(event_take(e.fd), 10); /* not read */
	call(*state, unwatch, &e);
	assert_int_equal(e.watch.fd, -1);
	eye_close(&e);
}

static void a_count_that_is_there_already_is_an_edge(void **state)
{
	struct eye e;

	eye_init(&e, *state);
	call(*state, poke_eye, &e);
	call(*state, watch_edges, &e);
	wait_for(&e.woken);
	call(*state, unwatch, &e);
	eye_close(&e);
}

static void a_descriptor_that_is_not_watched_is_not_seen(void **state)
{
	struct eye e;

	eye_init(&e, *state);
	call(*state, watch_edges, &e);
	call(*state, watch_nothing, &e);
	check_ret(e.ret, 0);
	call(*state, poke_eye, &e);
	for (int i = 0; i < 5; i++)
		call(*state, nothing, NULL);
	assert_int_equal(e.seen, 0);
	call(*state, unwatch, &e);
	call(*state, poke_eye, &e);
	for (int i = 0; i < 5; i++)
		call(*state, nothing, NULL);
	assert_int_equal(e.seen, 0);
	call(*state, watch_nothing, &e);
	check_ret(e.ret, -EBADF);
	eye_close(&e);
}

static void on_seen_delete_other(struct loop_watch *watch, uint32_t events)
{
	struct eye *e = (struct eye *)watch;

	worker_watch_del(e->w, &e->other->watch);
	on_seen(watch, events);
}

static void watch_two(void *arg)
{
	struct eye *e = arg;

	/* both ready before the worker looks again */
	poke(e->fd);
	poke(e->other->fd);
	worker_watch_add(e->w, &e->watch, e->fd, EPOLLIN | EPOLLET);
	worker_watch_add(e->w, &e->other->watch, e->other->fd,
			 EPOLLIN | EPOLLET);
}

static void a_watch_deleted_by_another_is_not_called_any_more(void **state)
{
	struct eye a, b;

	eye_init(&a, *state);
	eye_init(&b, *state);
	a.watch.fn = b.watch.fn = on_seen_delete_other;
	a.other = &b;
	b.other = &a;
	call(*state, watch_two, &a);
	for (int i = 0; i < 5; i++)
		call(*state, nothing, NULL);
	assert_int_equal(a.seen + b.seen, 1);
	call(*state, unwatch, &a);
	call(*state, unwatch, &b);
	eye_close(&a);
	eye_close(&b);
}

static void on_seen_delete_self(struct loop_watch *watch, uint32_t events)
{
	struct eye *e = (struct eye *)watch;

	worker_watch_del(e->w, watch);
	on_seen(watch, events);
}

static void a_watch_may_delete_itself_and_be_added_again(void **state)
{
	struct eye e;

	eye_init(&e, *state);
	e.watch.fn = on_seen_delete_self;
	for (unsigned int i = 1; i <= 3; i++) {
		call(*state, watch_edges, &e);
		check_ret(e.ret, 0);
		call(*state, poke_eye, &e);
		wait_for(&e.woken);
		call(*state, nothing, NULL);
		assert_int_equal(e.seen, i);
		assert_int_equal(e.watch.fd, -1);
	}
	eye_close(&e);
}

static void a_watch_that_cannot_be_had_is_refused(void **state)
{
	struct eye e;

	eye_init(&e, *state);
	close(e.fd);
	call(*state, watch_edges, &e);
	check_ret(e.ret, -EBADF);
	assert_int_equal(e.watch.fd, -1);
	sem_destroy(&e.woken);
}

/* ---- before sleep ---- */

struct idler {
	struct worker_idle idle; /* first */
	struct worker *w;
	struct worker_work work;
	unsigned int polls, arms, works;
	unsigned int find_in_poll; /* so often */
	unsigned int find_in_arm;
	bool silent;                          /* and arm() does not say so */
	unsigned int works_at_arm;            /* when it last went to sleep */
	uint64_t first_poll_ns, last_poll_ns; /* since the last work */
	uint64_t longest_ns;
	sem_t armed;
};

/* Time of the thread, so that other load on the machine does not count. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool on_poll(struct worker_idle *idle)
{
	struct idler *i = (struct idler *)idle;

	i->polls++;
	i->last_poll_ns = cpu_ns();
	if (!i->first_poll_ns)
		i->first_poll_ns = i->last_poll_ns;
	i->longest_ns = MAX(i->longest_ns, i->last_poll_ns - i->first_poll_ns);
	if (!i->find_in_poll)
		return false;
	i->find_in_poll--;
	worker_queue(i->w, &i->work);
	return true;
}

static bool on_arm(struct worker_idle *idle)
{
	struct idler *i = (struct idler *)idle;

	i->arms++;
	if (i->find_in_arm) {
		i->find_in_arm--;
		worker_queue(i->w, &i->work);
		return !i->silent;
	}
	__atomic_store_n(&i->works_at_arm, i->works, __ATOMIC_RELEASE);
	sem_post(&i->armed);
	return false;
}

static void on_idler_work(struct worker_work *work)
{
	struct idler *i = container_of(work, struct idler, work);

	i->works++;
	i->first_poll_ns = 0;
}

static void idler_init(struct idler *i, struct worker *w)
{
	*i = (struct idler){ .idle = { .poll = on_poll, .arm = on_arm },
			     .w = w,
			     .work = { .fn = on_idler_work } };
	sem_init(&i->armed, 0, 0);
}

static void set_idle(void *arg)
{
	struct idler *i = arg;

	worker_set_idle(i->w, &i->idle);
}

static void unset_idle(void *arg)
{
	struct idler *i = arg;

	worker_set_idle(i->w, NULL);
}

static void queue_idler(void *arg)
{
	struct idler *i = arg;

	worker_queue(i->w, &i->work);
}

/*
 * Work, and then everything up to the next sleep. A worker that is woken twice
 * for one job goes to sleep twice, so not every sleep is the one.
 */
static void work_once(struct idler *i)
{
	unsigned int before =
		__atomic_load_n(&i->works_at_arm, __ATOMIC_ACQUIRE);

	call(i->w, queue_idler, i);
	do
		wait_for(&i->armed);
	while (__atomic_load_n(&i->works_at_arm, __ATOMIC_ACQUIRE) == before);
}

static void the_worker_arms_before_it_sleeps(void **state)
{
	struct idler i;

	idler_init(&i, *state);
	call(*state, set_idle, &i);
	wait_for(&i.armed);
	work_once(&i);
	call(*state, unset_idle, &i);
	assert_int_equal(i.works, 1);
	assert_int_equal(i.polls, 0); /* adaptive polling is off */
	assert_true(i.arms >= 2);
	sem_destroy(&i.armed);
}

static void work_found_while_arming_is_done(void **state)
{
	struct idler i;

	idler_init(&i, *state);
	i.find_in_arm = 5;
	call(*state, set_idle, &i);
	wait_for(&i.armed);
	call(*state, unset_idle, &i);
	assert_int_equal(i.works, 5);
	sem_destroy(&i.armed);
}

/* By what runs while notifications are turned on, for instance. */
static void work_queued_while_arming_is_done(void **state)
{
	struct idler i;

	idler_init(&i, *state);
	i.find_in_arm = 5;
	i.silent = true;
	call(*state, set_idle, &i);
	wait_for(&i.armed);
	call(*state, unset_idle, &i);
	assert_int_equal(i.works, 5);
	sem_destroy(&i.armed);
}

static void busyloop_polls_at_least_so_long_after_work(void **state)
{
	struct timespec from, to;
	struct idler i;

	idler_init(&i, *state);
	i.idle.min_us = 3000;
	call(*state, set_idle, &i);
	wait_for(&i.armed);
	assert_int_equal(i.polls, 0); /* there was no work */
	clock_gettime(CLOCK_MONOTONIC, &from);
	work_once(&i);
	clock_gettime(CLOCK_MONOTONIC, &to);
	call(*state, unset_idle, &i);
	assert_true(i.polls > 0);
	assert_true((to.tv_sec - from.tv_sec) * 1000000 +
			    (to.tv_nsec - from.tv_nsec) / 1000 >=
		    3000);
	assert_true(i.longest_ns <= 3000000 + SLACK_NS);
	sem_destroy(&i.armed);
}

static void polling_follows_work_only(void **state)
{
	struct idler i;
	unsigned int polls;

	idler_init(&i, *state);
	i.idle.min_us = 100;
	call(*state, set_idle, &i);
	wait_for(&i.armed);
	work_once(&i);
	/* a job still finds the polling that followed the work; then not */
	call(*state, nothing, NULL);
	wait_for(&i.armed);
	polls = __atomic_load_n(&i.polls, __ATOMIC_RELAXED);
	for (int k = 0; k < 5; k++) {
		call(*state, nothing, NULL);
		wait_for(&i.armed);
	}
	call(*state, unset_idle, &i);
	assert_int_equal(i.polls, polls);
	sem_destroy(&i.armed);
}

static void work_found_while_polling_is_done(void **state)
{
	struct idler i;

	idler_init(&i, *state);
	i.idle.min_us = 100;
	i.find_in_poll = 7;
	call(*state, set_idle, &i);
	wait_for(&i.armed);
	work_once(&i);
	call(*state, unset_idle, &i);
	assert_int_equal(i.works, 8);
	sem_destroy(&i.armed);
}

static void adaptive_polling_keeps_to_its_bound(void **state)
{
	struct worker *w;
	struct idler i;

	(void)state;
	check_ret(worker_new("poller", 500, &w), 0);
	idler_init(&i, w);
	call(w, set_idle, &i);
	wait_for(&i.armed);
	/* work that comes right away makes the window grow */
	for (int k = 0; k < 50; k++)
		work_once(&i);
	call(w, unset_idle, &i);
	assert_true(i.longest_ns <= 500000 + SLACK_NS);
	worker_finish(w);
	worker_join(w);
	sem_destroy(&i.armed);
}

static void work_found_while_arming_makes_polling_longer(void **state)
{
	struct worker *w;
	struct idler i;

	(void)state;
	check_ret(worker_new("poller", 20000, &w), 0);
	idler_init(&i, w);
	i.find_in_arm = 30; /* as if sleep had been for nothing */
	call(w, set_idle, &i);
	wait_for(&i.armed);
	call(w, unset_idle, &i);
	assert_int_equal(i.works, 30);
	assert_true(i.polls > 0);
	worker_finish(w);
	worker_join(w);
	sem_destroy(&i.armed);
}

static void without_a_device_the_worker_sleeps(void **state)
{
	struct idler i;

	idler_init(&i, *state);
	i.idle.min_us = 1000000;
	call(*state, set_idle, &i);
	call(*state, unset_idle, &i);
	call(*state, queue_idler, &i);
	call(*state, nothing, NULL);
	assert_int_equal(i.polls, 0);
	sem_destroy(&i.armed);
}

struct ender {
	struct idler i;
	struct loop_watch death;
	int fd;
};

/* The first look of a polling worker has the device end in the second. */
static bool poll_and_die(struct worker_idle *idle)
{
	struct ender *e = container_of(idle, struct ender, i.idle);
	uint64_t one = 1;

	e->i.polls++;
	return write(e->fd, &one, sizeof(one)) < 0;
}

static void on_death(struct loop_watch *watch, uint32_t events)
{
	struct ender *e = container_of(watch, struct ender, death);

	(void)events;
	worker_set_idle(e->i.w, NULL);
	worker_watch_del(e->i.w, watch);
}

static void start_ender(void *arg)
{
	struct ender *e = arg;

	worker_set_idle(e->i.w, &e->i.idle);
	check_ret(worker_watch_add(e->i.w, &e->death, e->fd, EPOLLIN), 0);
	worker_queue(e->i.w, &e->i.work);
}

static void a_device_may_end_while_the_worker_polls(void **state)
{
	struct ender e = { .death = { .fn = on_death, .fd = -1 } };

	idler_init(&e.i, *state);
	e.i.idle.poll = poll_and_die;
	e.i.idle.min_us = 1000000;
	e.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	call(*state, start_ender, &e);
	/* The thread ends once it has found nothing more to do. */
	worker_finish(*state);
	worker_join(*state);
	*state = NULL;
	assert_int_equal(e.i.works, 1);
	assert_true(e.i.polls <= 1);
	close(e.fd);
	sem_destroy(&e.i.armed);
}

/* ---- a device at work while it is being changed ---- */

struct device {
	struct arena arena;
	struct worker *w;
	struct vdev *v;
	struct drv tx;
	int kick, call, wire, backend;
	int ret;
};

static void device_new(void *arg)
{
	struct device *d = arg;
	struct vdev_config config = { .worker = d->w };
	struct vhost_vring_addr addr = drv_addr(&d->tx, 1);
	struct vhost_memory_region r[3];
	struct aspace_map *maps[2];
	size_t n = arena_maps(&d->arena, maps);

	arena_table(&d->arena, r);
	d->ret = vdev_new(&config, &d->v) ||
		 vdev_set_owner(d->v, arena_aspace(&d->arena)) ||
		 vdev_set_features(d->v, BIT(VIRTIO_F_VERSION_1)) ||
		 vdev_set_mem_table(d->v, r, 3, maps, n) ||
		 vdev_set_vring_num(d->v, 1, d->tx.num) ||
		 vdev_set_vring_addr(d->v, &addr) ||
		 vdev_set_vring_kick(d->v, 1, dup(d->kick)) ||
		 vdev_set_vring_call(d->v, 1, dup(d->call)) ||
		 vdev_net_set_backend(d->v, 1, dup(d->backend));
}

static void device_free(void *arg)
{
	struct device *d = arg;

	vdev_free(d->v);
}

/* What a VMM may do to a running device at any moment. */
static void device_change(void *arg)
{
	struct device *d = arg;
	struct vhost_vring_addr addr = drv_addr(&d->tx, 1);
	struct vhost_memory_region r[3];
	struct aspace_map *maps[2];
	size_t n = arena_maps(&d->arena, maps);
	uint32_t base;

	arena_table(&d->arena, r);
	d->ret = vdev_set_mem_table(d->v, r, 3, maps, n) ||
		 vdev_set_vring_addr(d->v, &addr) ||
		 vdev_set_vring_call(d->v, 1, dup(d->call)) ||
		 vdev_set_vring_kick(d->v, 1, dup(d->kick)) ||
		 vdev_get_vring_base(d->v, 1, &base) ||
		 vdev_set_features(d->v, BIT(VIRTIO_F_VERSION_1)) ||
		 vdev_net_set_backend(d->v, 1, VDEV_FD_NONE) ||
		 vdev_net_set_backend(d->v, 1, dup(d->backend));
}

static void device_open(struct device *d, enum arena_mode mode)
{
	int fds[2];

	arena_open(&d->arena, mode);
	check_ret(worker_new("device", 50, &d->w), 0);
	sockport_pair(fds);
	d->backend = fds[0];
	d->wire = fds[1];
	d->kick = event_new();
	d->call = event_new();
	drv_init(&d->tx, &d->arena, 0, 64, false);
	call(d->w, device_new, d);
	check_ret(d->ret, 0);
}

static void device_close(struct device *d)
{
	call(d->w, device_free, d);
	worker_finish(d->w);
	worker_join(d->w);
	arena_close(&d->arena);
	close(d->kick);
	close(d->call);
	close(d->wire);
	close(d->backend);
}

static void expect_frame(struct device *d, uint8_t number)
{
	struct pollfd p = { .fd = d->wire, .events = POLLIN };
	uint8_t frame[100];

	check_ret(poll(&p, 1, DEADLINE_S * 1000), 1);
	check_ret(recv(d->wire, frame, sizeof(frame), MSG_DONTWAIT), 60);
	assert_int_equal(frame[59], number);
}

static void send_frames(struct device *d, uint8_t first, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint8_t number = (uint8_t)(first + i);

		arena_ram(&d->arena, GPA_A + 64u * number)[59] = number;
		drv_offer(&d->tx, number % 64, GPA_A + 64u * number, 60, 0);
	}
	poke(d->kick);
}

static void a_device_can_be_changed_while_it_works(void **state)
{
	static const enum arena_mode modes[] = { MAPPED, COPIED };
	struct device d[2];
	uint8_t number = 0;

	(void)state;
	for (unsigned int i = 0; i < 2; i++)
		device_open(&d[i], modes[i]);
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 2; i++)
			send_frames(&d[i], number, 16);
		for (unsigned int i = 0; i < 2; i++)
			call(d[i].w, device_change, &d[i]);
		for (unsigned int k = 0; k < 16; k++)
			for (unsigned int i = 0; i < 2; i++)
				expect_frame(&d[i], (uint8_t)(number + k));
		number += 16;
	}
	for (unsigned int i = 0; i < 2; i++) {
		check_ret(d[i].ret, 0);
		device_close(&d[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- calls that are watched ---- */

/* A function that waits for its caller. */
struct stuck {
	sem_t go;
	unsigned int looks, calls;
};

static void get_stuck(void *arg)
{
	struct stuck *k = arg;

	wait_for(&k->go);
	k->calls++;
}

static void free_at_third_look(void *arg)
{
	struct stuck *k = arg;

	if (++k->looks == 3)
		sem_post(&k->go);
}

static void a_long_call_is_watched_by_its_caller(void **state)
{
	struct stuck k = { .looks = 0 };

	sem_init(&k.go, 0, 0);
	worker_call_looking(*state, get_stuck, free_at_third_look, &k, 1);
	assert_int_equal(k.calls, 1);
	assert_true(k.looks >= 3);
	sem_destroy(&k.go);
}

static void a_short_call_is_not_watched(void **state)
{
	struct stuck k = { .looks = 0 };

	sem_init(&k.go, 0, 2);
	worker_call_looking(*state, get_stuck, free_at_third_look, &k,
			    1000 * DEADLINE_S);
	worker_call(*state, get_stuck, &k);
	assert_int_equal(k.calls, 2);
	assert_int_equal(k.looks, 0);
	sem_destroy(&k.go);
}

/* ---- interrupts ---- */

/* A system call that does not return: the counter is full and is not read. */
struct hung {
	int fd;
	ssize_t ret;
	int err;
	sem_t done;
};

static void hang(void *arg)
{
	struct hung *h = arg;
	uint64_t one = 1;

	h->ret = write(h->fd, &one, sizeof(one));
	h->err = errno;
	sem_post(&h->done);
}

static bool done_within(sem_t *s, unsigned int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += (long)ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return sem_timedwait(s, &t) == 0;
}

static void an_interrupt_ends_the_call_that_the_worker_waits_in(void **state)
{
	struct loop_job job = { .fn = hang };
	struct hung h = { .fd = eventfd(0, EFD_CLOEXEC) };
	uint64_t full = UINT64_MAX - 1;
	unsigned int n = 0;

	job.arg = &h;
	sem_init(&h.done, 0, 0);
	assert_int_equal(write(h.fd, &full, sizeof(full)), sizeof(full));
	worker_post(*state, &job);
	do
		worker_interrupt(*state); /* the first may come too early */
	while (!done_within(&h.done, 1) && n++ < 1000 * DEADLINE_S);
	assert_int_equal(h.ret, -1);
	assert_int_equal(h.err, EINTR);
	sem_destroy(&h.done);
	close(h.fd);
}

static void interrupts_do_not_disturb_a_worker_at_work(void **state)
{
	struct stuck k = { .looks = 0 };

	sem_init(&k.go, 0, 100);
	for (unsigned int i = 0; i < 100; i++) {
		worker_interrupt(*state);
		worker_call(*state, get_stuck, &k);
		worker_interrupt(*state);
	}
	assert_int_equal(k.calls, 100);
	sem_destroy(&k.go);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(jobs_of_every_thread_run_in_order),
		TEST(the_thread_ends_after_the_jobs_posted_so_far),
		TEST(a_job_may_free_itself),
		TEST(a_job_may_post_itself),
		TEST(the_thread_has_the_name_cut_to_fit),
		TEST(work_runs_once_and_in_order),
		TEST(work_that_queues_itself_waits_for_the_others),
		TEST(cancelled_work_does_not_run),
		TEST(work_can_be_cancelled_wherever_it_stands),
		TEST(a_job_goes_before_work_of_the_next_round),
		TEST(every_edge_of_a_watched_descriptor_is_seen),
		TEST(a_count_that_is_there_already_is_an_edge),
		TEST(a_descriptor_that_is_not_watched_is_not_seen),
		TEST(a_watch_deleted_by_another_is_not_called_any_more),
		TEST(a_watch_may_delete_itself_and_be_added_again),
		TEST(a_watch_that_cannot_be_had_is_refused),
		TEST(the_worker_arms_before_it_sleeps),
		TEST(work_found_while_arming_is_done),
		TEST(work_queued_while_arming_is_done),
		TEST(busyloop_polls_at_least_so_long_after_work),
		TEST(polling_follows_work_only),
		TEST(work_found_while_polling_is_done),
		cmocka_unit_test(adaptive_polling_keeps_to_its_bound),
		cmocka_unit_test(work_found_while_arming_makes_polling_longer),
		TEST(without_a_device_the_worker_sleeps),
		TEST(a_device_may_end_while_the_worker_polls),
		cmocka_unit_test(a_device_can_be_changed_while_it_works),
		TEST(a_long_call_is_watched_by_its_caller),
		TEST(a_short_call_is_not_watched),
		TEST(an_interrupt_ends_the_call_that_the_worker_waits_in),
		TEST(interrupts_do_not_disturb_a_worker_at_work),
	};

	if (worker_interrupts_enable() < 0)
		return 1;
	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
