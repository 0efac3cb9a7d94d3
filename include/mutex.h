/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A mutex whose use clang checks (-Wthread-safety): functions are marked as
 * taking it, releasing it, or needing it held. gcc ignores the marks.
 *
 *	static int drain(struct queue *q) NEEDS(q->lock);
 *
 * The members of a structure cannot be marked as protected by its mutex: clang
 * resolves such names in C++ only.
 */
#ifndef MUTEX_H
#define MUTEX_H

#include <pthread.h>

#ifdef __clang__
#define MUTEX_ATTR(x) __attribute__((x))
#else
#define MUTEX_ATTR(x)
#endif

/** NEEDS() - the caller holds @m */
#define NEEDS(m) MUTEX_ATTR(requires_capability(m))
/** EXCLUDES() - the caller does not hold @m */
#define EXCLUDES(m) MUTEX_ATTR(locks_excluded(m))

struct MUTEX_ATTR(capability("mutex")) mutex {
	pthread_mutex_t m;
};

static inline void mutex_init(struct mutex *mutex)
{
	pthread_mutex_init(&mutex->m, NULL);
}

static inline void mutex_destroy(struct mutex *mutex)
{
	pthread_mutex_destroy(&mutex->m);
}

static inline void mutex_lock(struct mutex *mutex)
	MUTEX_ATTR(acquire_capability(*mutex))
		MUTEX_ATTR(no_thread_safety_analysis)
{
	pthread_mutex_lock(&mutex->m);
}

static inline void mutex_unlock(struct mutex *mutex)
	MUTEX_ATTR(release_capability(*mutex))
		MUTEX_ATTR(no_thread_safety_analysis)
{
	pthread_mutex_unlock(&mutex->m);
}

#endif
