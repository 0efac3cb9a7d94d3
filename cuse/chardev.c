/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chardev.c reads requests from the channel of a character device, has libfuse
 * decode them, and passes each to the session of its open file.
 *
 * libfuse only encodes and decodes: descriptor, loop and signal handling are
 * ours. A message is read here, checked (channel.c, since libfuse trusts the
 * sizes inside a message) and given to fuse_session_process_buf(). libfuse
 * writes replies itself, to the descriptor that fuse_session_mount() got as
 * "/dev/fd/N". One writev(2) is atomic, so workers reply without a lock.
 *
 * fuse_session_custom_io() would let us do the writes, but libfuse 3.18 and
 * later refuse it unless built for it. libfuse prints why a write failed
 * ("fuse: writing device"), except for ENOENT: the caller was killed.
 * fuse_session_exit() ends nothing, since the loop is ours; after it libfuse
 * does not print that writes to a closed channel fail. fuse_session_unmount()
 * must not be called: it would unmount "/dev/fd/N".
 *
 * Life of a channel: CUSE_INIT arrives and is answered. On a real /dev/cuse the
 * device waits for its node then (node.c); on a socket it is ready. When the
 * channel ends (ENODEV, or end of file on a socket), the sessions are closed.
 * When all of them have ended, the libfuse session can be destroyed, not
 * before: workers reply through it.
 *
 * With a store the next process continues the channel: chardev_keep.c.
 */
#include "chardev_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/epoll.h>

#include "bytes.h"
#include "channel.h"
#include "node.h"
#include "peer.h"

/* Requests read from one channel before the loop serves others. */
#define BATCH 16

static struct chardev *req_chardev(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct open_file *entry_find(struct chardev *c, uint64_t id)
{
	struct open_file *e;

	LIST_FOREACH (e, &c->sessions, link) {
		if (session_id(e->session) == id)
			return e;
	}
	return NULL;
}

/* Return: the session of a request; NULL: there is none, and the request has
 * been answered. */
static struct session *req_session(fuse_req_t req,
				   const struct fuse_file_info *fi)
{
	struct open_file *e = entry_find(req_chardev(req), fi->fh);

	if (e && !session_closing(e->session))
		return e->session;
	fuse_reply_err(req, EBADF);
	return NULL;
}

/* ---- life ---- */

static void chardev_ended(void *arg)
{
	struct chardev *c = arg;

	c->config.ended(c->config.ctx, c, c->error);
}

/* Posted as a job: ended() may free @c, and libfuse may be a caller of this
 * function. */
static void post_ended(struct chardev *c)
{
	if (!c->ended || c->ended_posted || c->nsessions || c->node)
		return;
	c->ended_posted = true;
	loop_post(c->config.session.loop, &c->ended_job);
}

static void report_ready(struct chardev *c, int error)
{
	if (c->ready || c->ended)
		return;
	c->ready = true;
	c->config.ready(c->config.ctx, c, error);
}

static void node_done(void *ctx, int result)
{
	struct chardev *c = ctx;

	node_wait_free(c->node);
	c->node = NULL;
	report_ready(c, result);
	post_ended(c);
}

static void chan_end(struct chardev *c, int error, bool leave)
{
	struct open_file *e;

	if (c->ended)
		return;
	c->ended = true;
	c->error = error;
	loop_del(c->config.session.loop, &c->watch);
	if (c->node)
		node_wait_cancel(c->node);
	if (!leave)
		chardev_forget(c);
	LIST_FOREACH (e, &c->sessions, link) {
		if (session_closing(e->session))
			continue;
		if (leave)
			session_leave(e->session);
		else
			session_close(e->session, NULL);
	}
}

/* The other side has closed the channel. */
static void chan_closed(struct chardev *c)
{
	bool ready = c->ready;

	fuse_session_exit(c->se);
	if (!ready && c->config.dev_major)
		log_err(&c->tag,
			"the kernel refused the device: is number %u:%u taken? "
			"See /proc/devices, dmesg, --dev-major",
			c->config.dev_major, c->config.dev_minor);
	else if (!ready)
		log_err(&c->tag,
			"the channel ended before the device was ready: is the "
			"name taken? See /sys/class/cuse and dmesg");
	else if (c->real)
		log_err(&c->tag, "the kernel has aborted the channel");
	else
		log_info(&c->tag, "the channel was closed");
	chan_end(c, !ready || c->real ? -ENODEV : 0, false);
	post_ended(c);
}

void chardev_process(struct chardev *c, size_t n)
{
	const struct fuse_buf buf = { .mem = c->msg, .size = n };

	if (channel_message_check(c->msg, n))
		fuse_session_process_buf(c->se, &buf);
	else
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "malformed message of %zu bytes on the channel", n);
	/* A slot that no session has taken is of an answered request. */
	if (c->slot)
		slots_free(c->slots, c->slot);
	c->slot = NULL;
}

/* Puts the message that has just been read, of @n bytes, into a slot. */
static void keep_message(struct chardev *c, size_t n)
{
	const struct fuse_in_header *in = c->msg;

	memcpy(c->msg, slots_landing_read(c->slots), n);
	if (n >= sizeof(*in) && in->opcode == CUSE_INIT)
		slots_keep_init(c->slots, c->msg, n);
	c->slot = slots_take(c->slots, n);
	if (!c->slot && n >= sizeof(*in) && in->len == n &&
	    in->opcode != FUSE_INTERRUPT)
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "too many requests: one would not outlive a "
			    "restart");
}

static void chan_event(struct loop_watch *watch, uint32_t events)
{
	struct chardev *c = container_of(watch, struct chardev, watch);

	(void)events;
	for (int i = 0; i < BATCH && !c->ended; i++) {
		void *to = c->slots ? slots_landing(c->slots) : c->msg;
		ssize_t n = channel_read(c->fd, c->real, to, CHANNEL_MSG_MAX);

		if (n == -EAGAIN)
			return;
		if (n < 0)
			log_err(&c->tag, "reading the channel: %s",
				strerror((int)-n));
		if (n <= 0) {
			chan_closed(c);
			return;
		}
		if (c->slots)
			keep_message(c, (size_t)n);
		chardev_process(c, (size_t)n);
	}
}

static struct req_slot *take_slot(void *ctx)
{
	struct chardev *c = ctx;
	struct req_slot *slot = c->slot;

	c->slot = NULL;
	return slot;
}

static void free_slot(void *ctx, struct req_slot *slot)
{
	const struct chardev *c = ctx;

	slots_free(c->slots, slot);
}

static void on_session_closed(void *ctx, struct session *s)
{
	struct chardev *c = ctx;
	struct open_file *e = entry_find(c, session_id(s));

	LIST_REMOVE(e, link);
	if (e->hangs)
		c->nhanging--;
	else
		c->nsessions--;
	free(e);
	session_free(s);
	post_ended(c);
}

/* The session does not count against limits any more, and the device can end
 * without it. */
static void on_session_hangs(void *ctx, struct session *s)
{
	struct chardev *c = ctx;

	entry_find(c, session_id(s))->hangs = true;
	session_strand(s);
	c->nsessions--;
	c->nhanging++;
	log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
		    "session %" PRIu64
		    " was closed and does not end: its guest's "
		    "memory does not answer",
		    session_id(s));
	post_ended(c);
}

/* ---- callbacks of libfuse: find the session, pass the request on ---- */

/* The kernel requires that reads have space for max_write and the headers. */
static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_write = MIN(conn->max_write, CHANNEL_DATA_MAX);
}

static void on_init_done(void *userdata)
{
	struct chardev *c = userdata;
	int ret;

	if (!c->real) {
		report_ready(c, 0);
		return;
	}
	ret = node_wait_start(c->config.name, c->config.session.loop, node_done,
			      c, &c->node);
	if (ret < 0)
		report_ready(c, ret);
}

/* -ENOMEM is the only error that open(2) of the kernel's device has. */
int chardev_place(struct chardev *c, uid_t uid, struct quota_session *place)
{
	bool first;
	enum quota_verdict v = quota_open(c->quota, place, uid, &first);

	if (first && v == QUOTA_TOTAL)
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "%u files are open, no more are allowed "
			    "(--max-sessions)",
			    quota_limit(c->quota, v));
	else if (first)
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "user %u has %u files open, no more are allowed "
			    "(--max-user-sessions)",
			    uid, quota_limit(c->quota, v));
	return v == QUOTA_OK ? 0 : -ENOMEM;
}

void chardev_add_file(struct chardev *c, struct open_file *e)
{
	c->nsessions++;
	LIST_INSERT_HEAD(&c->sessions, e, link);
}

static int session_add(struct chardev *c, uid_t uid, struct session **out)
{
	struct open_file *e = calloc(1, sizeof(*e));
	struct quota_session place;
	int ret;

	if (!e)
		return -ENOMEM;
	ret = chardev_place(c, uid, &place);
	if (ret < 0) {
		free(e);
		return ret;
	}
	ret = session_new(&c->config.session, c->last_id + 1, &place,
			  &e->session);
	if (ret < 0) {
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "cannot start a worker: %s", strerror(-ret));
		quota_close(c->quota, &place);
		free(e);
		return -ENOMEM;
	}
	c->last_id++;
	if (c->slots)
		slots_set_last_id(c->slots, c->last_id);
	chardev_add_file(c, e);
	*out = e->session;
	return 0;
}

/* Return: the session that an earlier process made for the current OPEN. */
static struct session *opened_before(const struct chardev *c)
{
	struct open_file *e;

	if (!c->slot)
		return NULL;
	LIST_FOREACH (e, &c->sessions, link) {
		if (session_is_of_open(e->session, slots_unique(c->slot)))
			return e->session;
	}
	return NULL;
}

static void on_open(fuse_req_t req, struct fuse_file_info *fi)
{
	struct session *s = opened_before(req_chardev(req));
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	int ret;

	if (s) {
		session_open_again(s, req, fi);
		return;
	}
	ret = session_add(req_chardev(req), peer_user(ctx->pid, ctx->uid), &s);

	if (ret < 0)
		fuse_reply_err(req, -ret);
	else
		session_open(s, req, fi);
}

static void on_release(fuse_req_t req, struct fuse_file_info *fi)
{
	const struct open_file *e = entry_find(req_chardev(req), fi->fh);

	/* NULL: an earlier process has closed it. */
	if (e && !session_closing(e->session))
		session_close(e->session, req);
	else
		fuse_reply_err(req, 0);
}

/* @cmd is an int in libfuse: VHOST_GET_FEATURES arrives as a negative number.
 */
static void on_ioctl(fuse_req_t req, int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned int flags,
		     const void *in_buf, size_t in_size, size_t out_size)
{
	struct session *s = req_session(req, fi);

	(void)flags; /* FUSE_IOCTL_COMPAT: 32-bit layouts are the same */
	if (s)
		session_ioctl(s, req, (uint32_t)cmd, (uintptr_t)arg, in_buf,
			      in_size, out_size);
}

/* @data: the id of a session, as a pointer. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct open_file *e = entry_find(req_chardev(req), (uintptr_t)data);

	if (e)
		session_interrupt(e->session);
}

static void on_read(fuse_req_t req, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct session *s = req_session(req, fi);

	(void)off;
	if (s)
		session_read(s, req, size, fi->flags & O_NONBLOCK);
}

static void on_write(fuse_req_t req, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct session *s = req_session(req, fi);

	(void)off;
	if (s)
		session_write(s, req, buf, size);
}

static void on_poll(fuse_req_t req, struct fuse_file_info *fi,
		    struct fuse_pollhandle *ph)
{
	struct session *s = req_session(req, fi);

	if (s)
		session_poll(s, req, ph);
	else if (ph)
		fuse_pollhandle_destroy(ph);
}

static const struct cuse_lowlevel_ops chardev_ops = {
	.init = on_init,
	.init_done = on_init_done,
	.open = on_open,
	.release = on_release,
	.ioctl = on_ioctl,
	.read = on_read,
	.write = on_write,
	.poll = on_poll,
};

/* ---- start and end ---- */

static int channel_make(struct chardev *c)
{
	int ret;

	c->adopted = chardev_adopt(c);
	if (c->config.fd < 0) {
		ret = node_check_free(c->config.name);
		if (ret < 0)
			return ret;
	}
	ret = channel_open(c->config.fd, &c->real);
	if (ret < 0)
		return ret;
	c->fd = ret;
	return c->adopted ? 0 : chardev_keep(c);
}

static struct fuse_session *session_make(struct chardev *c)
{
	char arg0[] = "uvhostd";
	char *argv[] = { arg0, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	char devname[80];
	const char *info[] = { devname };
	const struct cuse_info ci = {
		.dev_major = c->config.dev_major,
		.dev_minor = c->config.dev_minor,
		.dev_info_argc = 1,
		.dev_info_argv = info,
		.flags = CUSE_UNRESTRICTED_IOCTL,
	};
	struct fuse_session *se;

	snprintf(devname, sizeof(devname), "DEVNAME=%s", c->config.name);
	se = cuse_lowlevel_new(&args, &ci, &chardev_ops, c);
	fuse_opt_free_args(&args); /* libfuse has made a copy */
	return se;
}

/* libfuse logs the reason itself (fuse_set_log_func) and returns no errno. */
static int fuse_start(struct chardev *c)
{
	char path[32];

	c->se = session_make(c);
	if (!c->se) {
		log_err(&c->tag, "libfuse %s cannot make a CUSE session",
			fuse_pkgversion());
		return -EOPNOTSUPP;
	}
	/* With "/dev/fd/N" libfuse uses the descriptor and mounts nothing. */
	snprintf(path, sizeof(path), "/dev/fd/%d", c->fd);
	if (fuse_session_mount(c->se, path) < 0) {
		log_err(&c->tag, "libfuse %s does not take the channel %s",
			fuse_pkgversion(), path);
		fuse_session_destroy(c->se);
		return -EOPNOTSUPP;
	}
	return 0;
}

static void chardev_init(struct chardev *c, const struct chardev_config *config)
{
	c->config = *config;
	c->fd = -1;
	c->config.session.store = config->store;
	c->config.session.take_slot = config->store ? take_slot : NULL;
	c->config.session.free_slot = free_slot;
	c->config.session.dev_name = config->name;
	c->config.session.closed = on_session_closed;
	c->config.session.hangs = on_session_hangs;
	c->config.session.interrupted = on_interrupt;
	c->config.session.ctx = c;
	log_limit_init(&c->limit, LOG_LINES_USER, &log_limit_all);
	c->watch.fn = chan_event;
	c->watch.fd = -1;
	c->ended_job = (struct loop_job){ .fn = chardev_ended, .arg = c };
	c->resume_job = (struct loop_job){ .fn = chardev_resume, .arg = c };
	LIST_INIT(&c->sessions);
	log_tag_init(&c->tag, "%s", config->name);
}

int chardev_new(const struct chardev_config *config, struct chardev **out)
{
	struct chardev *c;
	int ret;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	ret = -ENOMEM;
	c->msg = malloc(CHANNEL_MSG_MAX);
	if (!c->msg)
		goto err_free;
	chardev_init(c, config);
	ret = quota_new(&config->quota, &c->quota);
	if (ret < 0)
		goto err_free;
	c->config.session.quota = c->quota;

	ret = channel_make(c);
	if (ret < 0)
		goto err_close;
	ret = fuse_start(c);
	if (ret < 0)
		goto err_close;
	if (c->adopted)
		loop_post(config->session.loop, &c->resume_job);
	else
		ret = loop_add(config->session.loop, &c->watch, c->fd, EPOLLIN);
	if (ret < 0)
		goto err_session;
	*out = c;
	return 0;

err_session:
	fuse_session_destroy(c->se); /* closes the descriptor */
	goto err_free;
err_close:
	if (c->fd >= 0 && c->fd != config->fd)
		close(c->fd);
err_free:
	quota_free(c->quota);
	slots_close(c->slots);
	free(c->msg);
	free(c);
	return ret;
}

void chardev_end(struct chardev *c)
{
	chan_end(c, 0, false);
	post_ended(c);
}

void chardev_fail(struct chardev *c, int error)
{
	chan_end(c, error, true);
	post_ended(c);
}

void chardev_leave(struct chardev *c)
{
	chan_end(c, 0, true);
	post_ended(c);
}

/* Workers that hang may still reply through @se, so @se and the number of its
 * descriptor stay. Without a store the device has to disappear: /dev/null takes
 * that number. With a store the channel stays open, since a reply marks its
 * request as answered and so has to reach the caller. */
static void leave_behind(struct chardev *c)
{
	int null;

	if (c->config.store) {
		log_info(&c->tag,
			 "%u sessions are busy: the next process does "
			 "again what they do",
			 c->nsessions + c->nhanging);
		return;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	log_warn(&c->tag, "%u sessions do not end, left behind",
		 c->nsessions + c->nhanging);
	if (null >= 0) {
		dup3(null, c->fd, O_CLOEXEC);
		close(null);
	}
}

bool chardev_free(struct chardev *c)
{
	loop_del(c->config.session.loop, &c->watch);
	if (!LIST_EMPTY(&c->sessions) || c->node) {
		leave_behind(c);
		return false;
	}
	fuse_session_destroy(c->se);
	slots_close(c->slots);
	quota_free(c->quota);
	log_limit_end(&c->limit);
	free(c->msg);
	free(c);
	return true;
}

const char *chardev_name(const struct chardev *c)
{
	return c->config.name;
}

void chardev_print(struct chardev *c)
{
	struct open_file *e;

	LIST_FOREACH (e, &c->sessions, link) {
		if (!e->hangs)
			session_print(e->session);
	}
	LIST_FOREACH (e, &c->sessions, link) {
		if (e->hangs)
			log_info(&c->tag,
				 "session %" PRIu64 ": closed, but stuck in "
				 "its guest's memory",
				 session_id(e->session));
	}
}
