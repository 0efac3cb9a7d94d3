/* SPDX-License-Identifier: BSD-3-Clause */
/* quota.c keeps one account for each user and each process, in a hash table,
 * as long as a session counts for it. One lock protects all accounts. */
#include "quota.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "bytes.h"
#include "mutex.h"

#define BUCKETS 256

struct quota_account {
	LIST_ENTRY(quota_account) link;
	bool process; /* @id is a process, else a user */
	uint32_t id;
	unsigned int n;     /* sessions */
	unsigned int maps;  /* mappings of these */
	uint64_t bytes;     /* of these mappings */
	unsigned int owned; /* sessions that have or had an owner */
	bool told;          /* the limit of sessions was reported */
	bool told_maps;     /* the limit of mappings or bytes was reported */
	struct log_limit lines; /* of a user */
};

struct quota {
	struct quota_limits limits;
	struct mutex lock; /* the rest, and all struct quota_session */
	unsigned int total, maps;
	uint64_t bytes;
	LIST_HEAD(, quota_account) bucket[BUCKETS];
};

int quota_new(const struct quota_limits *limits, struct quota **out)
{
	struct quota *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->limits = *limits;
	mutex_init(&q->lock);
	for (unsigned int i = 0; i < BUCKETS; i++)
		LIST_INIT(&q->bucket[i]);
	*out = q;
	return 0;
}

void quota_free(struct quota *q)
{
	if (!q)
		return;
	mutex_destroy(&q->lock);
	free(q);
}

/* Finds the account, or makes an empty one; NULL: no memory. */
static struct quota_account *account_get(struct quota *q, bool process,
					 uint32_t id) NEEDS(q->lock)
{
	unsigned int i = (id * UINT32_C(2654435761) >> 24) % BUCKETS;
	struct quota_account *a;

	LIST_FOREACH (a, &q->bucket[i], link)
		if (a->process == process && a->id == id)
			return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->process = process;
	a->id = id;
	log_limit_init(&a->lines, LOG_LINES_USER, &log_limit_all);
	LIST_INSERT_HEAD(&q->bucket[i], a, link);
	return a;
}

/* Frees the account if no session counts for it. */
static void account_put(struct quota_account *a)
{
	if (!a || a->n)
		return;
	LIST_REMOVE(a, link);
	log_limit_end(&a->lines);
	free(a);
}

static enum quota_verdict refuse(struct quota_account *a, enum quota_verdict v,
				 bool *first)
{
	*first = !a->told;
	a->told = true;
	return v;
}

static bool is_root(const struct quota_account *a)
{
	return a->id == 0;
}

enum quota_verdict quota_open(struct quota *q, struct quota_session *s,
			      uid_t uid, bool *first)
{
	enum quota_verdict v = QUOTA_OK;
	struct quota_account *a;

	*first = false;
	mutex_lock(&q->lock);
	a = account_get(q, false, uid);
	if (!a)
		v = QUOTA_NO_MEMORY;
	else if (!is_root(a) && a->n >= q->limits.user)
		v = refuse(a, QUOTA_USER, first);
	else if (q->total >= q->limits.total)
		v = refuse(a, QUOTA_TOTAL, first);
	if (v == QUOTA_OK) {
		a->n++;
		q->total++;
		*s = (struct quota_session){ .user = a };
	}
	account_put(a);
	mutex_unlock(&q->lock);
	return v;
}

/* May @a own @s? If @s counts for @a already, it is no additional one. */
static bool may_own(const struct quota *q, const struct quota_account *a,
		    const struct quota_session *s) NEEDS(q->lock)
{
	if (is_root(a))
		return a->owned - (s->user == a && s->owned) < q->limits.user;
	return s->user == a || a->n < q->limits.user;
}

static void move_to_user(struct quota_session *s, struct quota_account *a,
			 struct log_limit *lines)
{
	struct quota_account *old = s->user;

	old->n--;
	old->owned -= s->owned;
	old->maps -= s->maps;
	old->bytes -= s->bytes;
	a->n++;
	a->owned++;
	a->maps += s->maps;
	a->bytes += s->bytes;
	s->user = a;
	s->owned = true;
	log_limit_set_parent(lines, &a->lines);
	account_put(old);
}

enum quota_verdict quota_own(struct quota *q, struct quota_session *s,
			     uid_t uid, pid_t pid, struct log_limit *lines,
			     bool *first)
{
	struct quota_account *user, *process;
	enum quota_verdict v = QUOTA_OK;

	*first = false;
	mutex_lock(&q->lock);
	user = account_get(q, false, uid);
	process = account_get(q, true, (uint32_t)pid);
	if (!user || !process)
		v = QUOTA_NO_MEMORY;
	else if (!may_own(q, user, s))
		v = refuse(user, QUOTA_USER, first);
	else if (process->n >= q->limits.process)
		v = refuse(process, QUOTA_PROCESS, first);
	if (v == QUOTA_OK) {
		move_to_user(s, user, lines);
		process->n++;
		process->maps += s->maps;
		process->bytes += s->bytes;
		s->process = process;
	}
	account_put(process);
	account_put(user);
	mutex_unlock(&q->lock);
	return v;
}

static enum quota_verdict refuse_map(struct quota_account *a,
				     enum quota_verdict v, bool *first)
{
	*first = !a->told_maps;
	a->told_maps = true;
	return v;
}

/* @n may be above @limit: a session with mappings moves to another owner. */
static bool fits(uint64_t n, uint64_t more, uint64_t limit)
{
	return n <= limit && more <= limit - n;
}

/* Are there addresses left for @bytes? */
static bool bytes_fit(const struct quota *q, const struct quota_session *s,
		      uint64_t bytes) NEEDS(q->lock)
{
	return fits(s->user->bytes, bytes, q->limits.bytes.user) &&
	       (!s->process ||
		fits(s->process->bytes, bytes, q->limits.bytes.process)) &&
	       fits(q->bytes, bytes, q->limits.bytes.total);
}

enum quota_verdict quota_map(struct quota *q, struct quota_session *s,
			     uint64_t bytes, bool *first)
{
	enum quota_verdict v = QUOTA_OK;

	*first = false;
	mutex_lock(&q->lock);
	if (s->user->maps >= q->limits.maps.user)
		v = refuse_map(s->user, QUOTA_USER, first);
	else if (s->process && s->process->maps >= q->limits.maps.process)
		v = refuse_map(s->process, QUOTA_PROCESS, first);
	else if (q->maps >= q->limits.maps.total)
		v = refuse_map(s->user, QUOTA_TOTAL, first);
	else if (!bytes_fit(q, s, bytes))
		v = refuse_map(s->user, QUOTA_BYTES, first);
	if (v == QUOTA_OK) {
		q->maps++;
		q->bytes += bytes;
		s->maps++;
		s->bytes += bytes;
		s->user->maps++;
		s->user->bytes += bytes;
		if (s->process) {
			s->process->maps++;
			s->process->bytes += bytes;
		}
	}
	mutex_unlock(&q->lock);
	return v;
}

void quota_unmap(struct quota *q, struct quota_session *s, uint64_t bytes)
{
	mutex_lock(&q->lock);
	q->maps--;
	q->bytes -= bytes;
	s->maps--;
	s->bytes -= bytes;
	s->user->maps--;
	s->user->bytes -= bytes;
	if (s->process) {
		s->process->maps--;
		s->process->bytes -= bytes;
	}
	mutex_unlock(&q->lock);
}

static void leave_process(struct quota_session *s)
{
	if (!s->process)
		return;
	s->process->n--;
	s->process->maps -= s->maps;
	s->process->bytes -= s->bytes;
	account_put(s->process);
	s->process = NULL;
}

void quota_disown(struct quota *q, struct quota_session *s)
{
	mutex_lock(&q->lock);
	leave_process(s);
	mutex_unlock(&q->lock);
}

void quota_strand(struct quota *q, struct quota_session *s)
{
	mutex_lock(&q->lock);
	leave_process(s);
	q->total -= !s->stranded;
	s->stranded = true;
	mutex_unlock(&q->lock);
}

void quota_close(struct quota *q, struct quota_session *s)
{
	mutex_lock(&q->lock);
	leave_process(s);
	s->user->n--;
	s->user->owned -= s->owned;
	s->user->maps -= s->maps;
	s->user->bytes -= s->bytes;
	account_put(s->user);
	q->total -= !s->stranded;
	q->maps -= s->maps;
	q->bytes -= s->bytes;
	*s = (struct quota_session){ .user = NULL };
	mutex_unlock(&q->lock);
}

struct log_limit *quota_lines(const struct quota_session *s)
{
	return &s->user->lines;
}

unsigned int quota_limit(const struct quota *q, enum quota_verdict v)
{
	switch (v) {
	case QUOTA_TOTAL:
		return q->limits.total;
	case QUOTA_USER:
		return q->limits.user;
	case QUOTA_PROCESS:
		return q->limits.process;
	case QUOTA_OK:
	case QUOTA_BYTES:
	case QUOTA_NO_MEMORY:
		break;
	}
	return 0;
}

unsigned int quota_map_limit(const struct quota *q, enum quota_verdict v)
{
	switch (v) {
	case QUOTA_TOTAL:
		return q->limits.maps.total;
	case QUOTA_USER:
		return q->limits.maps.user;
	case QUOTA_PROCESS:
		return q->limits.maps.process;
	case QUOTA_OK:
	case QUOTA_BYTES:
	case QUOTA_NO_MEMORY:
		break;
	}
	return 0;
}

unsigned int quota_total(struct quota *q)
{
	unsigned int n;

	mutex_lock(&q->lock);
	n = q->total;
	mutex_unlock(&q->lock);
	return n;
}
