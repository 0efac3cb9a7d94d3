/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_keep.c keeps what a session was told, and makes the session again
 * from it in another process.
 *
 * Kept is the last successful call of each kind (struct kept_call). They are
 * repeated in the order of that table, through the same code as when they came
 * (ioctl_run), with what they need of the owner taken from the record instead
 * of the caller. Where the order in which they came made a difference,
 * keep_ioctl() removes the calls that have no effect any more.
 */
#include "session_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>

#include "abi.h"
#include "bytes.h"

enum kept_flags {
	KEPT_RING = 1, /* of each ring: the argument starts with its index */
	KEPT_FD = 2,   /* it brings a descriptor */
};

struct kept_call {
	uint32_t cmd;
	uint16_t len; /* bytes of the argument; 0: run of another kind */
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

	if (!s->config->store)
		return;
	ret = persist_new(s->config->store, s->config->dev_name, s->id,
			  vdev_cursor_size(), &s->persist);
	if (ret < 0) {
		s->persist = NULL;
		warn_not_kept(s, ret);
		return;
	}
	persist_record(s->persist)->owner.user = user;
}

static uint64_t unique_of(const struct request *r)
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
	struct record_answer answer = { .unique = unique_of(r) };

	if (!r->session->persist)
		return;
	answer.len = (uint32_t)MIN(len, sizeof(answer.data));
	if (answer.len)
		memcpy(answer.data, data, answer.len);
	keep_commit(r, &answer);
}

/* Of a process that dies before this, the open is carried out again. */
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
	return answer->unique == unique_of(r) ? answer : NULL;
}

static void add_iotlb(void *ctx, const struct vhost_iotlb_msg *msg)
{
	persist_iotlb_add(ctx, msg);
}

void keep_iotlb(struct session *s, const void *buf)
{
	struct persist *p = s->persist;
	struct vhost_iotlb_msg msg;

	if (!p)
		return;
	memcpy(&msg, (const char *)buf + offsetof(struct vhost_msg, iotlb),
	       sizeof(msg));
	if (persist_iotlb_add(p, &msg))
		return;
	/* What is left of all these; @msg is part of it. */
	persist_iotlb_begin(p);
	if (vdev_iotlb_each(s->vdev, add_iotlb, p) == 0)
		persist_iotlb_end(p);
	else
		persist_iotlb_abort(p);
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

int keep_fd(struct session *s, int fd)
{
	if (!s->persist)
		return 0;
	s->fetched_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return s->fetched_fd < 0 ? -ENOMEM : 0;
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
	persist_iotlb_new(p);
}

/* A ring that was stopped has moved on since its base was set. */
static void keep_stopped(struct session *s, uint32_t index)
{
	struct vhost_vring_state base = { .index = index };

	persist_drop(s->persist, VHOST_NET_SET_BACKEND, index);
	if (vdev_get_vring_base(s->vdev, index, &base.num) == 0)
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

/* Consumes fetched_fd. */
static void keep_call(struct session *s, const struct kept_call *k,
		      const struct ioctl_call *call)
{
	uint32_t index = RECORD_NO_INDEX;

	if (k->flags & KEPT_RING)
		memcpy(&index, call->in, sizeof(index));
	if (k->cmd == VHOST_NET_SET_BACKEND && index < VDEV_VQS)
		s->late &= ~(1u << index);
	if (k->cmd == VHOST_NET_SET_BACKEND && s->fetched_fd < 0) {
		keep_stopped(s, index);
		return;
	}
	persist_set(s->persist, k->cmd, index, call->in, arg_len(k, call),
		    s->fetched_fd);
	s->fetched_fd = -1;
}

static void keep_owner(struct session *s)
{
	const struct record_owner owner = {
		.pid = s->peer.pid,
		.waiter = s->peer.waiter,
		.user = peer_user(s->caller, s->caller_uid),
		.random_uva = s->peer.random_uva,
	};

	persist_own(s->persist, &owner, s->peer.mem_fd, s->peer.pidfd);
}

/* False: the call sets nothing. */
static bool keep_effect(struct session *s, const struct ioctl_call *call)
{
	const struct kept_call *k = kept_find(call->cmd);
	uint64_t words[2] = { 0 };

	switch (call->cmd) {
	case VHOST_SET_OWNER:
		keep_owner(s);
		return true;
	case VHOST_RESET_OWNER:
		persist_clear(s->persist);
		persist_record(s->persist)->flags |= RECORD_WAS_RESET;
		persist_iotlb_new(s->persist);
		s->late = 0;
		return true;
	case VHOST_SET_FEATURES:
		memcpy(words, call->in, sizeof(words[0]));
		keep_features(s->persist, words[0]);
		return true;
	case VHOST_SET_FEATURES_ARRAY:
		/* The count, and then the words. */
		memcpy(words, call->in, MIN(call->in_len, sizeof(words)));
		keep_features(s->persist, words[0] ? words[1] : 0);
		return true;
	default:
		if (k)
			keep_call(s, k, call);
		return k;
	}
}

void keep_ioctl(struct request *r, const struct ioctl_call *call, int error)
{
	struct session *s = r->session;
	const struct record_answer answer = { .unique = unique_of(r) };

	if (s->persist && error == 0 && keep_effect(s, call))
		keep_commit(r, &answer);
	if (s->fetched_fd >= 0)
		close(s->fetched_fd);
	s->fetched_fd = -1;
}

/* ---- making it again (struct ioctl_ops of calls that are repeated) ---- */

static bool replay_is_owner(void *ctx)
{
	(void)ctx;
	return true;
}

static int replay_set_owner(void *ctx)
{
	struct session *s = ctx;
	const struct record_owner *o = &persist_record(s->persist)->owner;
	const struct peer known = { .pid = o->pid,
				    .pidfd = s->pidfd,
				    .waiter = o->waiter,
				    .random_uva = o->random_uva };
	int ret, mem_fd = s->mem_fd;

	s->mem_fd = -1;
	ret = peer_restore(&s->peer, &known, mem_fd, s->worker,
			   session_owner_died, s);
	if (ret < 0)
		return ret;
	s->pidfd = -1;
	return session_own(s, o->user);
}

static int replay_reset_owner(void *ctx)
{
	struct session *s = ctx;

	return vdev_reset_owner(s->vdev);
}

static int replay_fetch_fd(void *ctx, int number, int *fd)
{
	const struct session *s = ctx;

	(void)number;
	*fd = VDEV_FD_NONE;
	if (s->replayed->fd < 0)
		return 0;
	*fd = fcntl(s->replayed->fd, F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? -ENOMEM : 0;
}

/* The owner does not wait for us, and may call exec meanwhile: what was mapped
 * is used only if it was the owner's memory before and after. */
static int replay_find_maps(void *ctx,
			    const struct vhost_memory_region *regions, size_t n,
			    struct aspace_map ***maps, size_t *nmaps)
{
	struct session *s = ctx;
	int ret;

	*maps = NULL;
	*nmaps = 0;
	if (!peer_is_there(&s->peer))
		return 0;
	ret = session_find_maps(s, s->peer.waiter, regions, n, maps, nmaps);
	if (ret < 0 || peer_is_there(&s->peer))
		return ret;
	for (size_t i = 0; i < *nmaps; i++)
		aspace_map_put((*maps)[i]);
	free(*maps);
	*maps = NULL;
	*nmaps = 0;
	session_forget_found(s);
	return 0;
}

static const struct ioctl_ops replay_ops = {
	.is_owner = replay_is_owner,
	.set_owner = replay_set_owner,
	.reset_owner = replay_reset_owner,
	.fetch_fd = replay_fetch_fd,
	.find_maps = replay_find_maps,
};

static int replay(struct session *s, const struct record_call *c)
{
	struct ioctl_target t = s->target;
	struct ioctl_call call = { .cmd = c->cmd,
				   .in = c->arg,
				   .in_len = c->len };
	struct ioctl_verdict v;

	t.ops = &replay_ops;
	s->replayed = c;
	ioctl_run(&t, &call, &v);
	session_maps_set(s, c->cmd, v.again ? -EAGAIN : v.error);
	s->replayed = NULL;
	s->target.fork_from_owner = t.fork_from_owner;
	return v.again ? -EINVAL : v.error;
}

static void replay_kind(struct session *s, const struct kept_call *k,
			uint32_t index)
{
	const struct record_call *c =
		record_find(persist_record(s->persist), k->cmd, index);
	int ret;

	if (!c)
		return;
	ret = replay(s, c);
	if (k->cmd == VHOST_NET_SET_BACKEND && ret == -EAGAIN &&
	    index < VDEV_VQS)
		s->late |= 1u << index;
	else if (ret < 0)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_ERROR,
			    "%s of ring %d cannot be repeated: %s",
			    ioctl_name(k->cmd), (int)index, strerror(-ret));
}

static bool owner_lives(const struct session *s)
{
	struct pollfd dead = { .fd = s->peer.pidfd, .events = POLLIN };

	return poll(&dead, 1, 0) == 0;
}

/* False: there is nothing to go on with. */
static bool replay_owner(struct session *s)
{
	const struct record_call c = { .cmd = VHOST_SET_OWNER, .fd = -1 };
	int ret;

	if (!persist_record(s->persist)->owner.pid)
		return true;
	ret = replay(s, &c);
	if (ret < 0) {
		log_err(&s->tag, "the owner cannot be restored: %s",
			strerror(-ret));
		return false;
	}
	if (owner_lives(s))
		return true;
	session_owner_died(s);
	return false;
}

static void replay_iotlb(struct session *s)
{
	struct vhost_msg m = { .type = VHOST_IOTLB_MSG };
	const struct vhost_iotlb_msg *msg;
	unsigned int n = persist_iotlb_get(s->persist, &msg);

	for (unsigned int i = 0; i < n; i++) {
		m.iotlb = msg[i];
		vdev_iotlb_write(s->vdev, &m, sizeof(m));
	}
}

static void replay_all(struct session *s)
{
	if (persist_record(s->persist)->flags & RECORD_WAS_RESET)
		vdev_reset_owner(s->vdev);
	vdev_resume(s->vdev, true);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		const struct kept_call *k = &kept[i];

		if (k->cmd == VHOST_SET_OWNER && !replay_owner(s))
			break;
		/* After the features and the memory. */
		if (k->cmd == VHOST_SET_VRING_NUM)
			replay_iotlb(s);
		if (!(k->flags & KEPT_RING))
			replay_kind(s, k, RECORD_NO_INDEX);
		for (uint32_t q = 0; q < VDEV_VQS && k->flags & KEPT_RING; q++)
			replay_kind(s, k, q);
	}
	vdev_resume(s->vdev, false);
	session_enable_queue(s);
}

void keep_restore(struct session *s)
{
	int ret = session_make_device(s);

	s->news = LOG_LEVEL_INFO;
	if (ret < 0) {
		log_err(&s->tag, "cannot be restored: %s", strerror(-ret));
		session_end(s);
	} else {
		replay_all(s);
		session_enable_queue(s);
		log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "restored%s",
			    s->late ? ", but waits for the IOTLB" : "");
	}
	if (s->mem_fd >= 0)
		close(s->mem_fd);
	if (s->pidfd >= 0)
		close(s->pidfd);
	s->mem_fd = s->pidfd = -1;
}

void keep_retry(struct session *s)
{
	const struct kept_call *k = kept_find(VHOST_NET_SET_BACKEND);
	unsigned int late = s->late;

	if (likely(!late))
		return;
	s->late = 0;
	vdev_resume(s->vdev, true);
	for (uint32_t q = 0; q < VDEV_VQS; q++)
		if (late & (1u << q))
			replay_kind(s, k, q);
	vdev_resume(s->vdev, false);
	session_enable_queue(s);
}
