/* SPDX-License-Identifier: BSD-3-Clause */
#include "hops.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "bench.h"

#define THREADS 3
#define WAIT_MS 60000
#define FRAME_MAX 2048
/* A count that ends a thread: no wake-up has it. */
#define END UINT64_C(1000000)

struct hop_thread {
	struct hops *h;
	unsigned int number;
	int fd; /* its eventfd */
	pid_t tid;
	pthread_t thread;
	sem_t ready;
};

struct hops {
	struct hops_order order;
	struct hop_thread thread[THREADS]; /* 0: the caller */
	unsigned int started;
	int tap;
	const void *frame;
	uint32_t len;
};

static void wake(int fd, uint64_t count)
{
	/* cannot fail: nobody wakes a thread so often without its turn */
	if (write(fd, &count, sizeof(count)) < 0)
		return;
}

/* Sleeps until woken; false: to end. */
static bool sleep_on(int fd)
{
	uint64_t count = END;

	return read(fd, &count, sizeof(count)) == sizeof(count) && count < END;
}

static void run_order(struct hop_thread *t)
{
	const struct hops_order *o = &t->h->order;

	for (unsigned int k = 0; sleep_on(t->fd); k = (k + 1) % o->turns)
		wake(t->h->thread[o->next[t->number][k]].fd, 1);
}

static void run_tap(struct hop_thread *t)
{
	struct hops *h = t->h;
	uint8_t frame[FRAME_MAX];

	for (;;) {
		struct pollfd p[2] = { { .fd = t->fd, .events = POLLIN },
				       { .fd = h->tap, .events = POLLIN } };

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents) {
			if (!sleep_on(t->fd))
				return;
			if (write(h->tap, h->frame, h->len) < 0)
				return;
		}
		if (p[1].revents && read(h->tap, frame, sizeof(frame)) > 0)
			wake(h->thread[0].fd, 1);
	}
}

static void *run_thread(void *arg)
{
	struct hop_thread *t = arg;

	t->tid = gettid();
	sem_post(&t->ready);
	if (t->h->tap >= 0)
		run_tap(t);
	else
		run_order(t);
	return NULL;
}

static int start_thread(struct hop_thread *t)
{
	int ret;

	sem_init(&t->ready, 0, 0);
	ret = pthread_create(&t->thread, NULL, run_thread, t);
	if (ret)
		return -ret;
	t->h->started++;
	while (sem_wait(&t->ready) < 0)
		;
	return 0;
}

int hops_new(const struct hops_order *order, int tap, const void *frame,
	     uint32_t len, struct hops **out)
{
	struct hops *h = calloc(1, sizeof(*h));
	int ret = 0;

	if (!h)
		return -ENOMEM;
	if (tap < 0)
		h->order = *order;
	else
		h->order.workers = 1;
	h->tap = tap;
	h->frame = frame;
	h->len = len;
	for (unsigned int i = 0; i < THREADS; i++) {
		h->thread[i].h = h;
		h->thread[i].number = i;
		h->thread[i].fd = eventfd(0, EFD_CLOEXEC);
		if (h->thread[i].fd < 0)
			ret = -errno;
	}
	for (unsigned int i = 1; ret == 0 && i <= h->order.workers; i++)
		ret = start_thread(&h->thread[i]);
	if (ret < 0)
		hops_free(h);
	else
		*out = h;
	return ret;
}

void hops_free(struct hops *h)
{
	if (!h)
		return;
	for (unsigned int i = 1; i <= h->started; i++) {
		wake(h->thread[i].fd, END);
		pthread_join(h->thread[i].thread, NULL);
		sem_destroy(&h->thread[i].ready);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		if (h->thread[i].fd >= 0)
			close(h->thread[i].fd);
	free(h);
}

void hops_wake(struct hops *h)
{
	wake(h->thread[1].fd, 1);
}

int hops_wait(struct hops *h)
{
	struct pollfd p = { .fd = h->thread[0].fd, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) <= 0)
		return -ETIMEDOUT;
	sleep_on(p.fd);
	return 0;
}

int hops_trip(struct hops *h)
{
	for (unsigned int k = 0; k < h->order.turns; k++) {
		wake(h->thread[h->order.next[0][k]].fd, 1);
		if (!sleep_on(h->thread[0].fd))
			return -ETIMEDOUT;
	}
	return 0;
}

uint64_t hops_cpu_ns(const struct hops *h)
{
	uint64_t sum = 0;

	for (unsigned int i = 1; i <= h->started; i++)
		sum += bench_thread_ns(getpid(), h->thread[i].tid);
	return sum;
}

void hops_pin(const struct hops *h, int cpu)
{
	for (unsigned int i = 1; i <= h->started; i++)
		bench_pin(h->thread[i].tid, cpu);
}
