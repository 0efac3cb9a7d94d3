/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks whose use clang checks (-Wthread-safety): functions are marked as
 * taking a lock, releasing it, or needing it held. gcc ignores the marks.
 *
 *	static int drain(struct queue *q) NEEDS(q->lock);
 *
 * The members of a structure cannot be marked as protected by its lock: clang
 * resolves such names in C++ only.
 */
#ifndef MUTEX_H
#define MUTEX_H

#include <pthread.h>
#include <time.h>

#ifdef __clang__
#define MUTEX_ATTR(x) __attribute__((x))
#else
#define MUTEX_ATTR(x)
#endif

/** NEEDS() - the caller holds @m; NEEDS_SHARED(): at least for reading */
#define NEEDS(m) MUTEX_ATTR(requires_capability(m))
#define NEEDS_SHARED(m) MUTEX_ATTR(requires_shared_capability(m))
/** TAKES() - the function returns with @m locked; RELEASES(): unlocked */
#define TAKES(m) MUTEX_ATTR(acquire_capability(m))
#define RELEASES(m) MUTEX_ATTR(release_capability(m))
/** HOLDS() - @m is locked when the function returns, by it or before */
#define HOLDS(m) MUTEX_ATTR(assert_capability(m))
/** EXCLUDES() - the caller does not hold @m */
#define EXCLUDES(m) MUTEX_ATTR(locks_excluded(m))
/** UNCHECKED - which lock is held depends on data; a comment says how */
#define UNCHECKED MUTEX_ATTR(no_thread_safety_analysis)

struct MUTEX_ATTR(capability("mutex")) mutex {
	pthread_mutex_t m;
};

#define MUTEX_INITIALIZER { PTHREAD_MUTEX_INITIALIZER }

static inline void mutex_init(struct mutex *mutex)
{
	pthread_mutex_init(&mutex->m, NULL);
}

static inline void mutex_destroy(struct mutex *mutex)
{
	pthread_mutex_destroy(&mutex->m);
}

static inline void mutex_lock(struct mutex *mutex) TAKES(*mutex) UNCHECKED
{
	pthread_mutex_lock(&mutex->m);
}

static inline void mutex_unlock(struct mutex *mutex) RELEASES(*mutex) UNCHECKED
{
	pthread_mutex_unlock(&mutex->m);
}

/** mutex_wait() - wait for @cond; @mutex is released meanwhile */
static inline void mutex_wait(pthread_cond_t *cond, struct mutex *mutex)
	NEEDS(*mutex)
{
	pthread_cond_wait(cond, &mutex->m);
}

/** mutex_timedwait() - as mutex_wait(), until @until of the clock of @cond;
 * 0, ETIMEDOUT
 */
static inline int mutex_timedwait(pthread_cond_t *cond, struct mutex *mutex,
				  const struct timespec *until) NEEDS(*mutex)
{
	return pthread_cond_timedwait(cond, &mutex->m, until);
}

struct MUTEX_ATTR(capability("rwlock")) rwlock {
	pthread_rwlock_t l;
};

/** rwlock_init() - readers that come later wait for a writer: between two busy
 * readers there may be no moment without a reader */
static inline void rwlock_init(struct rwlock *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lock->l, &attr);
	pthread_rwlockattr_destroy(&attr);
}

static inline void rwlock_destroy(struct rwlock *lock)
{
	pthread_rwlock_destroy(&lock->l);
}

static inline void rwlock_rdlock(struct rwlock *lock)
	MUTEX_ATTR(acquire_shared_capability(*lock)) UNCHECKED
{
	pthread_rwlock_rdlock(&lock->l);
}

static inline void rwlock_rdunlock(struct rwlock *lock)
	MUTEX_ATTR(release_shared_capability(*lock)) UNCHECKED
{
	pthread_rwlock_unlock(&lock->l);
}

static inline void rwlock_wrlock(struct rwlock *lock) TAKES(*lock) UNCHECKED
{
	pthread_rwlock_wrlock(&lock->l);
}

static inline void rwlock_wrunlock(struct rwlock *lock)
	RELEASES(*lock) UNCHECKED
{
	pthread_rwlock_unlock(&lock->l);
}

#endif
