/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_keep.c keeps what a session was told in a record, and restores the
 * session from it in another process.
 *
 * The record has the last successful call of each kind (struct kept_call).
 * They are repeated in the order of that table, through the same link to the
 * device as when they came (devlink_ioctl()); what they need of the owner
 * comes from the record instead of the caller. Where the order in which they
 * came made a difference, keep_ioctl() removes the calls that have no effect
 * any more.
 *
 * All functions run on the session's worker thread.
 */
#include "session_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>

#include "abi.h"
#include "bytes.h"
#include "evfd.h"
#include "vdev.h"

enum kept_flags {
	KEPT_RING = 1, /* of each ring: the argument starts with its index */
	KEPT_FD = 2,   /* it brings a descriptor */
};

struct kept_call {
	uint32_t cmd;
	uint16_t len; /* bytes of the argument; 0: see replay_owner() */
	uint8_t flags;
};

static const struct kept_call kept[] = {
	{ VHOST_SET_FORK_FROM_OWNER, 1, 0 },
	{ VHOST_SET_OWNER, 0, 0 },
	{ VHOST_SET_FEATURES, 8, 0 },
	{ VHOST_SET_BACKEND_FEATURES, 8, 0 },
	{ VHOST_SET_MEM_TABLE, sizeof(struct vhost_memory), 0 },
	{ VHOST_SET_LOG_BASE, 8, 0 },
	{ VHOST_SET_LOG_FD, 4, KEPT_FD },
	{ VHOST_SET_VRING_NUM, 8, KEPT_RING },
	{ VHOST_SET_VRING_BASE, 8, KEPT_RING },
	{ VHOST_SET_VRING_ADDR, 40, KEPT_RING },
	{ VHOST_SET_VRING_ERR, 8, KEPT_RING | KEPT_FD },
	{ VHOST_SET_VRING_CALL, 8, KEPT_RING | KEPT_FD },
	{ VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 8, KEPT_RING },
	{ VHOST_SET_VRING_KICK, 8, KEPT_RING | KEPT_FD },
	{ VHOST_NET_SET_BACKEND, 8, KEPT_RING | KEPT_FD },
};

static const struct kept_call *kept_find(uint32_t cmd)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].cmd == cmd)
			return &kept[i];
	return NULL;
}

/* ---- keeping ---- */

static void warn_not_kept(struct session *s, int error)
{
	log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
		    "cannot be kept for a restart of uvhostd: %s",
		    strerror(-error));
}

void keep_begin(struct session *s, uid_t user)
{
	int ret;

	if (!s->config->store && !s->config->workers)
		return;
	ret = persist_new(s->config->store, s->config->dev_name, s->id,
			  vdev_cursor_size(), &s->persist);
	if (ret < 0)
		warn_not_kept(s, ret);
	/* A record that no other uvhostd finds: a worker process that takes
	 * the place of another is told what it says. */
	if (ret < 0 && s->config->workers)
		ret = persist_new(NULL, s->config->dev_name, s->id,
				  vdev_cursor_size(), &s->persist);
	if (ret < 0) {
		s->persist = NULL;
		return;
	}
	persist_record(s->persist)->owner.user = user;
}

uint64_t keep_unique(const struct request *r)
{
	return r->slot ? slots_unique(r->slot) : 0;
}

static void keep_commit(struct request *r, const struct record_answer *answer)
{
	struct session *s = r->session;
	int ret = persist_commit(s->persist, answer);

	if (ret < 0)
		warn_not_kept(s, ret);
}

void keep_answer(struct request *r, const void *data, size_t len)
{
	struct record_answer answer = { .unique = keep_unique(r) };

	if (!r->session->persist)
		return;
	answer.len = (uint32_t)MIN(len, sizeof(answer.data));
	if (answer.len)
		memcpy(answer.data, data, answer.len);
	keep_commit(r, &answer);
}

/* If this process dies before, the next one carries the open out again. */
void keep_open(struct request *r)
{
	struct session *s = r->session;

	if (s->persist)
		persist_record(s->persist)->flags |= RECORD_OPEN;
	keep_answer(r, NULL, 0);
}

const struct record_answer *keep_answered(const struct request *r)
{
	const struct session *s = r->session;
	const struct record_answer *answer;

	if (!s->persist || !r->slot)
		return NULL;
	answer = &persist_record(s->persist)->answer;
	return answer->unique == keep_unique(r) ? answer : NULL;
}

void keep_poll(const struct request *r)
{
	struct persist *p = r->session->persist;
	struct fuse_poll_in in;

	if (!p || !r->slot ||
	    slots_len(r->slot) < sizeof(struct fuse_in_header) + sizeof(in))
		return;
	memcpy(&in, r->slot->msg + sizeof(struct fuse_in_header), sizeof(in));
	persist_set_poll(p, in.kh);
}

static bool has_platform(uint64_t features)
{
	return features & BIT(VIRTIO_F_ACCESS_PLATFORM);
}

/* A change of VIRTIO_F_ACCESS_PLATFORM clears the addresses of the rings. */
static void keep_features(struct persist *p, uint64_t features)
{
	const struct record_call *old = record_find(
		persist_record(p), VHOST_SET_FEATURES, RECORD_NO_INDEX);
	uint64_t before = 0;

	if (old)
		memcpy(&before, old->arg, sizeof(before));
	if (has_platform(before) != has_platform(features))
		for (uint32_t i = 0; i < VDEV_VQS; i++)
			persist_drop(p, VHOST_SET_VRING_ADDR, i);
	persist_set(p, VHOST_SET_FEATURES, RECORD_NO_INDEX, &features,
		    sizeof(features), -1);
}

/* A ring that was stopped has moved on since its base was set: the device is
 * asked for it. If the process dies before it answers, the next one runs the
 * ring again, as the record has it, and has to stop it again, with @stop. */
static void keep_stopped(struct session *s, const struct ioctl_call *stop,
			 uint32_t index)
{
	struct call_facts facts = CALL_FACTS_NONE;
	struct vhost_vring_state base;
	const struct ioctl_call call = { .cmd = VHOST_GET_VRING_BASE,
					 .in = &index,
					 .in_len = sizeof(index),
					 .out = &base,
					 .out_room = sizeof(base) };
	struct ioctl_verdict v;
	int ret;

	facts.is_owner = true;
	facts.fd = VDEV_FD_NONE;
	while ((ret = devlink_ioctl(s->link, &call, &facts, &v)) < 0 &&
	       worker_again(s, ret))
		devlink_ioctl(s->link, stop, &facts, &v);
	persist_drop(s->persist, VHOST_NET_SET_BACKEND, index);
	if (ret == 0 && !v.again && v.error == 0)
		persist_set(s->persist, VHOST_SET_VRING_BASE, index, &base,
			    sizeof(base), -1);
}

static size_t arg_len(const struct kept_call *k, const struct ioctl_call *call)
{
	uint32_t regions;

	if (k->cmd != VHOST_SET_MEM_TABLE)
		return k->len;
	memcpy(&regions, call->in, sizeof(regions));
	return k->len + regions * sizeof(struct vhost_memory_region);
}

/* Consumes @fd. */
static void keep_call(struct session *s, const struct kept_call *k,
		      const struct ioctl_call *call, int fd)
{
	uint32_t index = RECORD_NO_INDEX;

	if (k->flags & KEPT_RING)
		memcpy(&index, call->in, sizeof(index));
	if (k->cmd == VHOST_NET_SET_BACKEND && index < VDEV_VQS &&
	    s->late & (1u << index)) {
		s->late &= ~(1u << index);
		worker_told(s);
	}
	if (k->cmd == VHOST_NET_SET_BACKEND && fd < 0) {
		keep_stopped(s, call, index);
		return;
	}
	persist_set(s->persist, k->cmd, index, call->in, arg_len(k, call), fd);
}

static void keep_owner(struct session *s, uid_t user)
{
	const struct record_owner owner = {
		.pid = s->peer.pid,
		.waiter = s->peer.waiter,
		.user = user,
		.program = s->peer.program,
	};

	persist_own(s->persist, &owner, s->peer.mem_fd, s->peer.pidfd);
}

/* The ring of a VHOST_NET_SET_BACKEND, as a bit; 0: it is no such call. */
static uint32_t backend_ring(const struct ioctl_call *call)
{
	uint32_t index;

	if (call->cmd != VHOST_NET_SET_BACKEND || call->in_len < sizeof(index))
		return 0;
	memcpy(&index, call->in, sizeof(index));
	return index < VDEV_VQS ? 1u << index : 0;
}

/* The rings that run according to the record, as a bit mask. */
static uint32_t running_rings(const struct session *s)
{
	const struct record *r = persist_record(s->persist);
	uint32_t rings = 0;

	for (uint32_t i = 0; i < VDEV_VQS; i++)
		if (record_find(r, VHOST_NET_SET_BACKEND, i))
			rings |= 1u << i;
	return rings;
}

/* The ring that a call starts, as a bit; 0: none, or it runs already. */
static uint32_t starts_ring(const struct session *s,
			    const struct ioctl_call *call)
{
	uint32_t ring = backend_ring(call);

	return ring ? ring & ~running_rings(s) : 0;
}

/*
 * A ring runs as soon as the device has started it, before the record says so.
 * If the device dies in between, the call is repeated: the base is where the
 * ring began, and the cursor is where it is. A cursor of an earlier start is
 * erased first.
 */
bool keep_starting(struct session *s, const struct ioctl_call *call,
		   const struct call_facts *facts)
{
	uint32_t bit, starting;

	if (!s->persist || facts->fd < 0)
		return false;
	bit = starts_ring(s, call);
	starting = persist_starting(s->persist);
	if (!bit || starting & bit)
		return bit;
	vdev_cursor_forget(devmem_rings(persist_devmem(s->persist)),
			   (uint32_t)__builtin_ctz(bit));
	persist_set_starting(s->persist, starting | bit);
	return false;
}

/* As in replay_kind(): the ring ran before, and waits for the IOTLB. */
uint32_t keep_starts_late(const struct session *s,
			  const struct ioctl_call *call,
			  const struct call_facts *facts,
			  struct ioctl_verdict *v)
{
	if (v->again || v->error != -EAGAIN || !facts->repeated)
		return 0;
	v->error = 0;
	return starts_ring(s, call);
}

void keep_late(struct session *s, uint32_t rings)
{
	if (!rings)
		return;
	s->late |= rings;
	worker_told(s);
}

/* These rings are started: their marks go. */
static void keep_started(struct session *s, uint32_t rings)
{
	uint32_t starting = persist_starting(s->persist);

	if (starting & rings)
		persist_set_starting(s->persist, starting & ~rings);
}

/* Calls that change more of the record than their own entry. */
static bool keep_special(struct request *r, const struct ioctl_call *call)
{
	struct session *s = r->session;
	uint64_t words[2] = { 0 };

	switch (call->cmd) {
	case VHOST_SET_OWNER:
		keep_owner(s, peer_user(r->tid, r->uid));
		return true;
	case VHOST_RESET_OWNER:
		persist_clear(s->persist);
		persist_record(s->persist)->flags &= ~RECORD_COPIED;
		persist_set_starting(s->persist, 0);
		persist_record(s->persist)->flags |= RECORD_WAS_RESET;
		s->late = 0;
		return true;
	case VHOST_SET_FEATURES:
		memcpy(words, call->in, sizeof(words[0]));
		keep_features(s->persist, words[0]);
		return true;
	case VHOST_SET_FEATURES_ARRAY:
		/* The argument: a count, then that many words. */
		memcpy(words, call->in, MIN(call->in_len, sizeof(words)));
		keep_features(s->persist, words[0] ? words[1] : 0);
		return true;
	default:
		return false;
	}
}

/* Consumes @fd if it returns true. False: the call sets nothing. */
static bool keep_effect(struct request *r, const struct ioctl_call *call,
			int fd)
{
	const struct kept_call *k = kept_find(call->cmd);

	if (keep_special(r, call))
		return true;
	if (k)
		keep_call(r->session, k, call, fd);
	return k;
}

void keep_ioctl(struct request *r, const struct ioctl_call *call, int fd,
		int error)
{
	const struct record_answer answer = { .unique = keep_unique(r) };

	if (r->session->persist && error == 0 && keep_effect(r, call, fd))
		keep_commit(r, &answer);
	else if (fd >= 0)
		close(fd);
	if (r->session->persist)
		keep_started(r->session, backend_ring(call));
}

/* ---- making it again ---- */

/* The owner does not wait in a call, and may call exec(2) meanwhile: mappings
 * are used only if its address space was the same before and after the search.
 */
static void replay_find_maps(struct session *s, const struct record_call *c,
			     uint32_t nregions, struct call_facts *facts)
{
	if (!worker_has_guest(s) || !peer_is_there(&s->peer))
		return;
	caller_find_maps(s, s->peer.waiter,
			 persist_record(s->persist)->owner.user,
			 c->arg + sizeof(struct vhost_memory), nregions, facts);
	if (!peer_is_there(&s->peer))
		caller_forget_maps(s, facts);
}

void keep_find_maps(struct session *s, struct call_facts *facts)
{
	const struct record_call *c =
		record_find(persist_record(s->persist), VHOST_SET_MEM_TABLE,
			    RECORD_NO_INDEX);
	uint32_t regions;

	if (!c)
		return;
	memcpy(&regions, c->arg, sizeof(regions));
	replay_find_maps(s, c, regions, facts);
}

/* Return: the call's result; -ECONNRESET as devlink_ioctl(). */
static int replay(struct session *s, const struct record_call *c)
{
	const struct ioctl_call call = { .cmd = c->cmd,
					 .in = c->arg,
					 .in_len = c->len };
	struct call_facts facts = CALL_FACTS_NONE;
	struct ioctl_needs needs;
	struct ioctl_verdict v;
	int ret;

	facts.is_owner = true;
	facts.fd = c->fd < 0 ? VDEV_FD_NONE : c->fd;
	/* A stopped ring does not start, but its base is set to where it was
	 * (vdev_resume()). */
	if (s->stopped && c->cmd == VHOST_NET_SET_BACKEND)
		facts.fd = VDEV_FD_NONE;
	if (c->cmd == VHOST_SET_OWNER)
		caller_owner_facts(s, &facts);
	ioctl_needs(&call, s->config->max_mem_regions, &needs);
	if (needs.maps) {
		replay_find_maps(s, c, needs.nregions, &facts);
		caller_memory_facts(s, &call, &facts);
	}
	net_connect(s, c->cmd, &facts);
	ret = devlink_ioctl(s->link, &call, &facts, &v);
	if (ret == 0)
		ret = v.again ? -EINVAL : v.error;
	if (needs.maps)
		caller_settle_maps(s, &facts, ret);
	return ret;
}

/* Does another process have to be told the record? This one is gone, or lacks
 * memory for the call. */
static bool is_process_at_fault(const struct session *s, int ret)
{
	return ret == -ECONNRESET || (ret == -ENOMEM && s->process.pid);
}

/* 0; -ECONNRESET, -ENOMEM: is_process_at_fault() */
static int replay_kind(struct session *s, const struct kept_call *k,
		       uint32_t index)
{
	const struct record_call *c =
		record_find(persist_record(s->persist), k->cmd, index);
	int ret;

	if (!c)
		return 0;
	ret = replay(s, c);
	if (is_process_at_fault(s, ret))
		return ret;
	if (k->cmd == VHOST_NET_SET_BACKEND && ret == -EAGAIN &&
	    index < VDEV_VQS)
		s->late |= 1u << index;
	else if (ret < 0)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_ERROR,
			    "%s of ring %d cannot be repeated: %s",
			    ioctl_name(k->cmd), (int)index, strerror(-ret));
	return 0;
}

static void log_no_owner(const struct session *s, int error)
{
	log_err(&s->tag, "the owner cannot be restored: %s", strerror(-error));
}

/* 1: go on; 0: there is no owner to go on with; else as replay_kind() */
static int replay_owner(struct session *s)
{
	const struct record_call c = { .cmd = VHOST_SET_OWNER, .fd = -1 };
	int ret;

	if (!persist_record(s->persist)->owner.pid)
		return 1;
	if (!s->peer.pid)
		return 0;
	ret = replay(s, &c);
	if (is_process_at_fault(s, ret))
		return ret;
	if (ret < 0) {
		log_no_owner(s, ret);
		caller_disown(s);
		return 0;
	}
	if (peer_lives(&s->peer))
		return 1;
	session_owner_died(s);
	return 0;
}

/* All calls of a kind; returns as replay_kind(). */
static int replay_kinds(struct session *s, const struct kept_call *k)
{
	int ret = 0;

	if (!(k->flags & KEPT_RING))
		return replay_kind(s, k, RECORD_NO_INDEX);
	for (uint32_t q = 0; q < VDEV_VQS && ret == 0; q++)
		ret = replay_kind(s, k, q);
	return ret;
}

int keep_replay(struct session *s)
{
	bool was_reset = persist_record(s->persist)->flags & RECORD_WAS_RESET;
	int ret = devlink_resume(s->link, true, was_reset);

	s->late = 0;
	/* The device has no mappings. */
	map_budget_clear(&s->budget);
	for (size_t i = 0; i < ARRAY_SIZE(kept) && ret == 0; i++) {
		const struct kept_call *k = &kept[i];

		if (k->cmd == VHOST_SET_OWNER) {
			ret = replay_owner(s);
			if (ret <= 0)
				break;
			ret = 0;
		}
		/* After the features and the memory. */
		if (k->cmd == VHOST_SET_VRING_NUM)
			ret = devlink_replay_iotlb(s->link);
		if (ret == 0)
			ret = replay_kinds(s, k);
	}
	return ret < 0 ? ret : devlink_resume(s->link, false, false);
}

/* The owner of the record becomes the peer. */
static void restore_owner(struct session *s)
{
	const struct record_owner *o = &persist_record(s->persist)->owner;
	const struct peer known = { .pid = o->pid,
				    .pidfd = s->left.pidfd,
				    .waiter = o->waiter,
				    .program = o->program };
	int ret, mem_fd = s->left.mem_fd;

	if (!o->pid)
		return;
	s->left.mem_fd = -1;
	ret = peer_restore(&s->peer, &known, mem_fd, s->worker,
			   session_owner_died, s);
	if (ret == 0) {
		s->left.pidfd = -1;
		ret = caller_take_place(s, o->user);
		if (ret < 0)
			caller_disown(s);
		else
			caller_watch_owner(s);
	}
	if (ret < 0)
		log_no_owner(s, ret);
}

void keep_restore(struct session *s)
{
	int ret;

	keep_started(s, running_rings(s));
	restore_owner(s);
	ret = worker_resume(s);
	if (ret < 0) {
		log_err(&s->tag, "cannot be restored: %s", strerror(-ret));
		session_end(s);
	} else {
		log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "restored%s",
			    s->late ? ", but waits for the IOTLB" : "");
	}
	persist_fds_close(&s->left);
}

/* Returns as replay_kind(). */
static int replay_late(struct session *s)
{
	const struct kept_call *k = kept_find(VHOST_NET_SET_BACKEND);
	unsigned int late = s->late;
	int ret = devlink_resume(s->link, true, false);

	s->late = 0;
	for (uint32_t q = 0; q < VDEV_VQS && ret == 0; q++)
		if (late & (1u << q))
			ret = replay_kind(s, k, q);
	return ret < 0 ? ret : devlink_resume(s->link, false, false);
}

void keep_retry(struct session *s)
{
	if (likely(!s->late))
		return;
	/* The process has failed: the next one is told the whole record. */
	if (replay_late(s) < 0)
		worker_again(s, -ECONNRESET);
	worker_told(s);
}

void keep_worker(struct session *s)
{
	int ret = persist_commit(s->persist, NULL);

	if (ret < 0)
		warn_not_kept(s, ret);
}

void keep_stop(struct session *s)
{
	const struct record *r = persist_record(s->persist);

	for (uint32_t i = 0; i < VDEV_VQS; i++) {
		const struct record_call *err;

		if (record_find(r, VHOST_NET_SET_BACKEND, i))
			keep_stopped(s, NULL, i);
		/* keep_stopped() changes the array of calls. */
		err = record_find(r, VHOST_SET_VRING_ERR, i);
		if (err && err->fd >= 0)
			evfd_signal_peer(err->fd, 1);
	}
	s->late = 0;
	keep_worker(s);
}
