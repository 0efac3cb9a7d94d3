/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libfuse speaks CUSE's protocol and nothing else: descriptor, input, output,
 * loop and signals are ours (fuse_session_custom_io). A channel is one
 * descriptor on which a message is one read or one writev, /dev/cuse and a
 * SEQPACKET socket alike; writev of a reply is atomic, so workers answer
 * directly.
 *
 * What libfuse does not check, its input, is checked here (chan_read): it
 * trusts sizes inside a message. What it would print itself, errors of a
 * writev, it is not told: it keeps silent on ENOENT.
 *
 * Life of a channel: INIT comes and is answered; on a real /dev/cuse the node
 * is then waited for (node.c), on a socket the device is ready. When the
 * channel ends (ENODEV, or end of file on a socket), the sessions are closed
 * and waited for, without blocking, and only then the libfuse session may be
 * destroyed: workers answer requests through it.
 */
#include "chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "bytes.h"
#include "node.h"

#define CUSE_PATH "/dev/cuse"
#define CUSE_RDEV makedev(10, 203)

/* Requests taken from one channel before others get their turn. */
#define BATCH 16
/* How long a socket that is full may stay so. */
#define SEND_WAIT_MS 5000

struct entry {
	struct session *session;
	LIST_ENTRY(entry) link;
};

struct chardev {
	struct chardev_config config;
	struct log_tag tag;
	struct log_limit limit;
	struct fuse_session *se;
	int fd; /* the channel; @se closes it */
	struct fuse_buf buf;
	struct loop_watch watch;
	struct node_wait *node; /* NULL: not waiting */
	bool real;              /* /dev/cuse, not a socket */
	bool ready;             /* ready() has been called */
	bool ended;             /* no more requests; sessions are going */
	int error;              /* why it ended */
	struct loop_job ended_job;
	bool ended_posted;

	LIST_HEAD(, entry) sessions;
	unsigned int nsessions;
	uint64_t last_id;
};

static struct chardev *req_chardev(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct entry *entry_find(struct chardev *c, uint64_t id)
{
	struct entry *e;

	LIST_FOREACH (e, &c->sessions, link) {
		if (session_id(e->session) == id)
			return e;
	}
	return NULL;
}

/* The open file of a request; answers it and returns NULL if there is none. */
static struct session *req_session(fuse_req_t req,
				   const struct fuse_file_info *fi)
{
	struct entry *e = entry_find(req_chardev(req), fi->fh);

	if (e && !session_closing(e->session))
		return e->session;
	fuse_reply_err(req, EBADF);
	return NULL;
}

/* Input and output. */

/* Would libfuse read past the end of this message? */
static bool message_valid(const void *buf, size_t len)
{
	const struct fuse_in_header *in = buf;
	const void *arg = in + 1;
	size_t rest;

	if (len < sizeof(*in) || in->len != len)
		return false;
	rest = len - sizeof(*in);
	switch (in->opcode) {
	case CUSE_INIT:
		return rest >= sizeof(struct cuse_init_in);
	case FUSE_OPEN:
		return rest >= sizeof(struct fuse_open_in);
	case FUSE_READ:
		return rest >= sizeof(struct fuse_read_in);
	case FUSE_WRITE: {
		const struct fuse_write_in *w = arg;

		return rest >= sizeof(*w) && rest - sizeof(*w) >= w->size;
	}
	case FUSE_IOCTL: {
		const struct fuse_ioctl_in *i = arg;

		return rest >= sizeof(*i) && rest - sizeof(*i) >= i->in_size;
	}
	case FUSE_POLL:
		return rest >= sizeof(struct fuse_poll_in);
	case FUSE_RELEASE:
		return rest >= sizeof(struct fuse_release_in);
	case FUSE_INTERRUPT:
		return rest >= sizeof(struct fuse_interrupt_in);
	default:
		return true; /* not served, so not looked at */
	}
}

static ssize_t chan_read(int fd, void *buf, size_t size, void *userdata)
{
	struct chardev *c = userdata;
	ssize_t n;

	do
		n = read(fd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		if (message_valid(buf, n))
			return n;
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "malformed message of %zd bytes on the channel", n);
		errno = EAGAIN;
		return -1;
	}
	if (n < 0 && (errno == EAGAIN || errno == ENOENT))
		return -1;
	if (n < 0 && errno != ENODEV && errno != ECONNRESET)
		log_err(&c->tag, "reading the channel: %s", strerror(errno));
	errno = ENODEV; /* ends the libfuse session */
	return -1;
}

static ssize_t chan_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct chardev *c = userdata;
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	ssize_t n;

	for (;;) {
		n = writev(fd, iov, count);
		if (n >= 0)
			return n;
		if (errno == EINTR)
			continue;
		/* Only a socket, and only if its other side is not reading. */
		if (errno != EAGAIN || poll(&room, 1, SEND_WAIT_MS) == 0)
			break;
	}
	/* ENOENT: the caller was killed. The others: the channel is gone. */
	if (errno != ENOENT && errno != ENODEV && errno != EPIPE &&
	    errno != ECONNRESET)
		log_limited(&c->limit, &c->tag, LOG_LEVEL_ERROR,
			    "writing the channel: %s", strerror(errno));
	errno = ENOENT;
	return -1;
}

static const struct fuse_custom_io chan_io = {
	.writev = chan_writev,
	.read = chan_read,
};

/* Life. */

static void run_ended(void *arg)
{
	struct chardev *c = arg;

	c->config.ended(c->config.ctx, c, c->error);
}

/* Posted, since it may free us and libfuse may be among our callers. */
static void maybe_ended(struct chardev *c)
{
	if (!c->ended || c->ended_posted || !LIST_EMPTY(&c->sessions) ||
	    c->node)
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
	maybe_ended(c);
}

static void chan_end(struct chardev *c, int error)
{
	struct entry *e;

	if (c->ended)
		return;
	c->ended = true;
	c->error = error;
	loop_del(c->config.session.loop, &c->watch);
	if (c->node)
		node_wait_cancel(c->node);
	LIST_FOREACH (e, &c->sessions, link) {
		if (!session_closing(e->session))
			session_close(e->session, NULL);
	}
}

/* The other side has closed the channel. */
static void chan_closed(struct chardev *c)
{
	bool ready = c->ready;

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
	chan_end(c, !ready || c->real ? -ENODEV : 0);
	maybe_ended(c);
}

static void chan_event(struct loop_watch *watch, uint32_t events)
{
	struct chardev *c = container_of(watch, struct chardev, watch);

	(void)events;
	for (int i = 0; i < BATCH && !c->ended; i++) {
		int n = fuse_session_receive_buf(c->se, &c->buf);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n <= 0) {
			chan_closed(c);
			return;
		}
		fuse_session_process_buf(c->se, &c->buf);
	}
}

static void session_closed(void *ctx, struct session *s)
{
	struct chardev *c = ctx;
	struct entry *e = entry_find(c, session_id(s));

	LIST_REMOVE(e, link);
	free(e);
	c->nsessions--;
	session_free(s);
	maybe_ended(c);
}

/* Callbacks of libfuse: decode, hand over, return. */

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

static int session_add(struct chardev *c, struct session **out)
{
	struct entry *e;
	int ret;

	/* The kernel knows no such limit; its only error of open is ENOMEM. */
	if (c->nsessions >= c->config.max_sessions) {
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "%u files are open, no more are allowed "
			    "(--max-sessions)",
			    c->nsessions);
		return -ENOMEM;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	ret = session_new(&c->config.session, c->last_id + 1, &e->session);
	if (ret < 0) {
		log_limited(&c->limit, &c->tag, LOG_LEVEL_WARNING,
			    "cannot start a worker: %s", strerror(-ret));
		free(e);
		return -ENOMEM;
	}
	c->last_id++;
	c->nsessions++;
	LIST_INSERT_HEAD(&c->sessions, e, link);
	*out = e->session;
	return 0;
}

static void on_open(fuse_req_t req, struct fuse_file_info *fi)
{
	struct session *s;
	int ret = session_add(req_chardev(req), &s);

	if (ret < 0)
		fuse_reply_err(req, -ret);
	else
		session_open(s, req, fi);
}

static void on_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct session *s = req_session(req, fi);

	if (s)
		session_close(s, req);
}

/* The command is an int here: VHOST_GET_FEATURES arrives negative. */
static void on_ioctl(fuse_req_t req, int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned int flags,
		     const void *in_buf, size_t in_size, size_t out_size)
{
	struct session *s = req_session(req, fi);

	(void)flags; /* 32-bit callers: same layouts, pointers are extended */
	if (s)
		session_ioctl(s, req, (uint32_t)cmd, (uintptr_t)arg, in_buf,
			      in_size, out_size);
}

/* @data: the id of a session, as a pointer. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct entry *e = entry_find(req_chardev(req), (uintptr_t)data);

	if (e)
		session_interrupt(e->session);
}

static void on_read(fuse_req_t req, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct session *s = req_session(req, fi);

	(void)off;
	if (s)
		session_read(s, req, size, fi->flags & O_NONBLOCK, on_interrupt,
			     (void *)(uintptr_t)fi->fh);
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
	.init_done = on_init_done,
	.open = on_open,
	.release = on_release,
	.ioctl = on_ioctl,
	.read = on_read,
	.write = on_write,
	.poll = on_poll,
};

/* Birth. */

static int cuse_open(void)
{
	int fd = open(CUSE_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int err = errno;

	if (fd >= 0)
		return fd;
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		log_err(NULL,
			"%s: %s: run 'modprobe cuse' (Debian: part of "
			"the kernel package; Fedora, RHEL: "
			"kernel-modules-extra)",
			CUSE_PATH, strerror(err));
		break;
	case EACCES:
	case EPERM:
		log_err(NULL,
			"%s: %s: user %u may not make devices. Run as "
			"root, or give %s to a group of uvhostd's own "
			"(60-uvhostd.rules)",
			CUSE_PATH, strerror(err), getuid(), CUSE_PATH);
		break;
	default:
		log_err(NULL, "%s: %s", CUSE_PATH, strerror(err));
	}
	return -err;
}

/* A channel that was handed over: is it one, and whose? */
static int cuse_adopt(int fd, bool *real)
{
	struct stat st;
	int flags;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0) {
		int err = errno;

		log_err(NULL, "--cuse-fd %d: %s", fd, strerror(err));
		return -err;
	}
	*real = S_ISCHR(st.st_mode) && st.st_rdev == CUSE_RDEV;
	if (!*real && !S_ISSOCK(st.st_mode)) {
		log_err(NULL, "--cuse-fd %d: neither %s nor a socket", fd,
			CUSE_PATH);
		return -EINVAL;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return fd;
}

static int channel_open(struct chardev *c)
{
	int ret;

	if (c->config.fd >= 0)
		return cuse_adopt(c->config.fd, &c->real);
	c->real = true;
	ret = node_check_free(c->config.name);
	return ret < 0 ? ret : cuse_open();
}

static struct fuse_session *fuse_start(struct chardev *c, int fd)
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
	if (!se)
		return NULL;
	if (fuse_session_custom_io(se, &chan_io, fd) < 0) {
		fuse_session_destroy(se);
		return NULL;
	}
	return se;
}

int chardev_new(const struct chardev_config *config, struct chardev **out)
{
	struct chardev *c;
	int fd, ret;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->config = *config;
	c->config.session.dev_name = config->name;
	c->config.session.limit = &c->limit;
	c->config.session.closed = session_closed;
	c->config.session.ctx = c;
	c->limit = (struct log_limit)LOG_LIMIT_INIT;
	c->watch.fn = chan_event;
	c->watch.fd = -1;
	c->ended_job = (struct loop_job){ .fn = run_ended, .arg = c };
	LIST_INIT(&c->sessions);
	log_tag_init(&c->tag, "%s", config->name);

	fd = channel_open(c);
	if (fd < 0) {
		ret = fd;
		goto err_free;
	}
	ret = -ENOMEM;
	c->fd = fd;
	c->se = fuse_start(c, fd);
	if (!c->se)
		goto err_close;
	ret = loop_add(config->session.loop, &c->watch, fd, EPOLLIN);
	if (ret < 0)
		goto err_session;
	*out = c;
	return 0;

err_session:
	fuse_session_destroy(c->se); /* closes the descriptor */
	fd = -1;
err_close:
	if (fd >= 0 && config->fd < 0)
		close(fd);
err_free:
	free(c);
	return ret;
}

void chardev_end(struct chardev *c)
{
	chan_end(c, 0);
	maybe_ended(c);
}

/* Workers that hang may still answer through @se: it must stay, and so must the
 * number of its descriptor. The device has to go all the same. */
static void leave_behind(struct chardev *c)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_warn(&c->tag, "%u sessions do not end, left behind", c->nsessions);
	if (null >= 0) {
		dup3(null, c->fd, O_CLOEXEC);
		close(null);
	}
}

void chardev_free(struct chardev *c)
{
	loop_del(c->config.session.loop, &c->watch);
	if (!LIST_EMPTY(&c->sessions) || c->node) {
		leave_behind(c);
		return;
	}
	fuse_session_destroy(c->se);
	free(c->buf.mem);
	free(c);
}

const char *chardev_name(const struct chardev *c)
{
	return c->config.name;
}

void chardev_print(struct chardev *c)
{
	struct entry *e;

	LIST_FOREACH (e, &c->sessions, link) {
		session_print(e->session);
	}
}
