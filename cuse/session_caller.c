/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_caller.c finds out what a call needs of the calling process, before
 * the call goes to the device, and counts what the call has changed when its
 * result is known: the owner, and the mappings of its memory.
 *
 * The caller waits meanwhile, so what is found belongs to it.
 */
#include "session_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reach.h"

/* ---- the owner ---- */

void session_owner_died(void *ctx)
{
	struct session *s = ctx;

	if (!s->owner_died) {
		s->owner_died = true;
		log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO,
			    "owner %d has died", s->peer.pid);
		quota_disown(s->config->quota, &s->place);
		worker_fence(s);
		/* If it makes the device anew, this function is called again.
		 */
		worker_end(s);
	}
	if (s->link)
		devlink_owner_died(s->link);
	map_budget_clear(&s->budget);
}

void caller_watch_owner(struct session *s)
{
	int old, fd = fcntl(s->peer.pidfd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return;
	old = atomic_exchange(&s->owner_pidfd, fd);
	if (old >= 0)
		close(old);
	if (!atomic_exchange(&s->owner_posted, true))
		loop_post(s->config->loop, &s->owner_job);
}

int caller_take_place(struct session *s, uid_t user)
{
	struct quota *q = s->config->quota;
	bool first;
	enum quota_verdict v =
		quota_own(q, &s->place, user, s->peer.pid, &s->limit, &first);

	if (first && v == QUOTA_USER)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "user %u has %u sessions, no more are allowed "
			    "(--max-user-sessions)",
			    user, quota_limit(q, v));
	else if (first)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "process %d has %u sessions, no more are allowed "
			    "(--max-process-sessions)",
			    s->peer.pid, quota_limit(q, v));
	return v == QUOTA_OK ? 0 : -ENOMEM;
}

void caller_disown(struct session *s)
{
	map_budget_clear(&s->budget);
	quota_disown(s->config->quota, &s->place);
	peer_detach(&s->peer);
	s->owner_died = false;
}

void caller_owner_facts(const struct session *s, struct call_facts *facts)
{
	facts->pid = s->peer.pid;
	if (!worker_is_wanted(s) || caller_is_copied(s))
		facts->mem_fd = s->peer.mem_fd;
}

/* The caller is about to become the owner. On failure there is none. */
static int attach_caller(struct session *s, const struct request *r)
{
	int ret = peer_attach(&s->peer, r->tid, s->worker, session_owner_died,
			      s, &s->limit, &s->tag);

	if (ret < 0)
		return ret;
	ret = caller_take_place(s, peer_user(r->tid, r->uid));
	if (ret < 0)
		caller_disown(s);
	return ret;
}

/* ---- mappings ---- */

/* False: over the quota, so the memory is copied instead. */
static bool take_map(void *ctx, uint64_t bytes)
{
	struct session *s = ctx;
	struct quota *q = s->config->quota;
	bool first;
	enum quota_verdict v = quota_map(q, &s->place, bytes, &first);

	if (first && v == QUOTA_BYTES)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "process %d shares more guest memory than there "
			    "are addresses for: the rest is copied",
			    s->peer.pid);
	else if (first && v == QUOTA_TOTAL)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "%u mappings of guest memory are all that the "
			    "device has (vm.max_map_count): the rest is copied",
			    quota_map_limit(q, v));
	else if (first && v == QUOTA_USER)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "the user of process %d has %u mappings of guest "
			    "memory (--max-user-mappings): the rest is copied",
			    s->peer.pid, quota_map_limit(q, v));
	else if (first)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "process %d has %u mappings of guest memory "
			    "(--max-process-mappings): the rest is copied",
			    s->peer.pid, quota_map_limit(q, v));
	return v == QUOTA_OK;
}

static void give_map(void *ctx, uint64_t bytes)
{
	struct session *s = ctx;

	quota_unmap(s->config->quota, &s->place, bytes);
}

void caller_init(struct session *s)
{
	s->budget = (struct map_budget){ .take = take_map,
					 .give = give_map,
					 .ctx = s };
}

static bool is_given_up(void *ctx)
{
	return worker_is_given_up(ctx);
}

/* What takers have to know to take descriptors of thread @tid. */
static struct taker_order order_for(struct session *s, pid_t tid, uid_t uid)
{
	return (struct taker_order){ .tid = tid,
				     .uid = uid,
				     .owner = s->peer.pid,
				     .given_up = is_given_up,
				     .ctx = s };
}

int caller_fault_in(struct session *s, bool write, uint64_t uva, uint64_t len)
{
	uid_t uid = s->persist ? persist_record(s->persist)->owner.user : 0;
	const struct taker_order who = order_for(s, 0, uid);

	return peer_fault_in(&s->peer, &who, write, uva, len);
}

void caller_find_maps(struct session *s, pid_t tid, uid_t uid,
		      const void *regions, size_t n, struct call_facts *facts)
{
	const struct taker_order who = order_for(s, tid, uid);
	struct vhost_memory_region *aligned = calloc(n + 1, sizeof(*aligned));

	if (!aligned) {
		facts->maps_error = -ENOMEM;
		return;
	}
	memcpy(aligned, regions, n * sizeof(*aligned));
	facts->maps_error = peer_find_maps(&who, aligned, n, &s->budget,
					   &s->limit, &s->tag, &facts->maps);
	free(aligned);
}

void caller_forget_maps(struct session *s, struct call_facts *facts)
{
	map_budget_abort(&s->budget, &facts->maps);
	owner_maps_free(&facts->maps);
}

void caller_settle_maps(struct session *s, struct call_facts *facts, int error)
{
	if (error == 0)
		map_budget_commit(&s->budget, &facts->maps);
	caller_forget_maps(s, facts);
}

/* ---- the memory file ---- */

/*
 * A device in this process has the memory file from VHOST_SET_OWNER on. One in
 * a worker process gets it with the first call after which it reaches memory
 * that is not mapped there (reach.h), and again with each later call of that
 * kind, so that it does not matter which process already has it.
 *
 * The process then keeps the file, even if a later table is mapped as a whole:
 * a process that its guest has taken over would not give it back. (It could be
 * replaced by another one; but tables change while the guest runs.) If the
 * process dies, the next one gets the file too: RECORD_COPIED lasts as long as
 * the owner.
 */

bool caller_is_copied(const struct session *s)
{
	return s->persist && persist_record(s->persist)->flags & RECORD_COPIED;
}

static int give_memory(struct session *s)
{
	struct record *r = persist_record(s->persist);

	if (!(r->flags & RECORD_COPIED)) {
		r->flags |= RECORD_COPIED;
		keep_worker(s);
		log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO,
			    "some memory of owner %d is not mapped: worker "
			    "process %d copies it (memory file)",
			    s->peer.pid, s->process.pid);
	}
	return s->peer.mem_fd;
}

void caller_memory_facts(struct session *s, const struct ioctl_call *call,
			 struct call_facts *facts)
{
	const struct owner_maps *next = &facts->maps;
	struct reach reach;

	if (!s->process.pid || facts->maps_error || !reach_matters(call->cmd))
		return;
	reach_of_record(&reach, persist_record(s->persist));
	if (!reach_add(&reach, call))
		return;
	reach.map = s->budget.map;
	reach.nmaps = s->budget.n;
	if (call->cmd == VHOST_SET_MEM_TABLE) {
		reach.map = next->map;
		reach.nmaps = next->nmaps;
	}
	if (!reach_is_mapped(&reach))
		facts->mem_fd = give_memory(s);
}

int caller_iotlb_memory(struct session *s, const void *msg, size_t len)
{
	if (!s->process.pid ||
	    reach_iotlb_is_mapped(s->budget.map, s->budget.n, msg, len))
		return -1;
	return give_memory(s);
}

/* ---- a call ---- */

static void fetch_fd(const struct request *r, const struct ioctl_call *call,
		     int number, struct call_facts *facts)
{
	struct session *s = r->session;
	struct taker_order o = order_for(s, r->tid, peer_user(r->tid, r->uid));

	o.number = number;
	o.kind = call->cmd == VHOST_NET_SET_BACKEND ? TAKER_NETPORT
						    : TAKER_EVENTFD;
	facts->fd_error = peer_fetch_fd(&o, &s->limit, &s->tag, &facts->fd);
}

void caller_find_memory(const struct request *r, const struct ioctl_call *call,
			const struct ioctl_needs *needs,
			struct call_facts *facts)
{
	struct session *s = r->session;

	if (reach_matters(call->cmd))
		facts->mem_fd = -1;
	if (needs->maps && facts->is_owner && worker_has_guest(s))
		caller_find_maps(s, r->tid, peer_user(r->tid, r->uid),
				 (const char *)call->in +
					 sizeof(struct vhost_memory),
				 needs->nregions, facts);
	if (!needs->owner || facts->is_owner)
		caller_memory_facts(s, call, facts);
}

void caller_facts(const struct request *r, const struct ioctl_call *call,
		  const struct ioctl_needs *needs, struct call_facts *facts)
{
	struct session *s = r->session;

	/* No descriptor is taken from a process that may not make the call. */
	if (needs->fd && facts->is_owner)
		fetch_fd(r, call, needs->fd_number, facts);
	caller_find_memory(r, call, needs, facts);
	/* If there is an owner, the device answers EBUSY. */
	if (needs->set_owner && !s->peer.pid) {
		facts->owner_error = attach_caller(s, r);
		if (facts->owner_error == 0)
			caller_owner_facts(s, facts);
	}
}

void caller_settle(struct session *s, uint32_t cmd, struct call_facts *facts,
		   int error)
{
	bool attached = facts->pid != 0; /* by caller_facts() */

	if (cmd == VHOST_SET_MEM_TABLE)
		caller_settle_maps(s, facts, error);
	if (attached && error == 0) {
		caller_watch_owner(s);
		log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "owner is %d",
			    s->peer.pid);
	} else if (attached || (cmd == VHOST_RESET_OWNER && error == 0)) {
		caller_disown(s);
	}
}
