/* SPDX-License-Identifier: BSD-3-Clause */
#include "line.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "bench.h"
#include "stats.h"

#define BURSTS 41
#define TRIPS 50
#define USUAL 100 /* times line_ns(), with pauses of */
#define USUAL_US 20000
#define LOOKS 100000 /* the other thread has lost its processor */

/* @turn: odd: the other thread's */
struct line {
	_Alignas(64) uint64_t turn;
	_Alignas(64) bool end, started;
};

static void *answer(void *arg)
{
	struct line *l = arg;

	__atomic_store_n(&l->started, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&l->end, __ATOMIC_RELAXED)) {
		uint64_t turn = __atomic_load_n(&l->turn, __ATOMIC_ACQUIRE);

		if (turn & 1)
			__atomic_store_n(&l->turn, turn + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static double burst(struct line *l)
{
	uint64_t start = bench_now_ns();

	for (unsigned int i = 0; i < TRIPS; i++) {
		uint64_t turn = __atomic_load_n(&l->turn, __ATOMIC_RELAXED) | 1;

		__atomic_store_n(&l->turn, turn, __ATOMIC_RELEASE);
		for (unsigned int k = 0; k < LOOKS; k++)
			if (__atomic_load_n(&l->turn, __ATOMIC_ACQUIRE) != turn)
				break;
	}
	return (double)(bench_now_ns() - start) / TRIPS;
}

/* The thread starts on its own processor. On its creator's, which spins, it
 * would wait for a timer tick until it is moved. */
static int start_on(pthread_t *thread, int cpu, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int ret;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	ret = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (ret == 0)
		ret = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return -ret;
}

static void *ask(void *arg)
{
	struct line l = { .turn = 0 };
	double ns[BURSTS], *out = arg;
	pthread_t other;

	if (start_on(&other, BENCH_CPU_FRONTEND, answer, &l) < 0)
		return NULL;
	while (!__atomic_load_n(&l.started, __ATOMIC_ACQUIRE))
		;
	for (unsigned int i = 0; i < BURSTS; i++)
		ns[i] = burst(&l);
	__atomic_store_n(&l.end, true, __ATOMIC_RELAXED);
	pthread_join(other, NULL);
	*out = stats_of(ns, BURSTS).median;
	return NULL;
}

double line_ns(void)
{
	pthread_t thread;
	double ns = 0;

	if (start_on(&thread, BENCH_CPU_BACKEND, ask, &ns) == 0)
		pthread_join(thread, NULL);
	return ns;
}

double line_usual_ns(void)
{
	double ns[USUAL];

	for (unsigned int i = 0; i < USUAL; i++) {
		ns[i] = line_ns();
		usleep(USUAL_US);
	}
	stats_of(ns, USUAL); /* sorts */
	return ns[USUAL / 10];
}
