/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One trapped system call on a device: what cuse.c, ioctl.c and file.c of
 * fs/fuse do between the caller and the daemon, with the checks that the VFS
 * makes before it gets there, in their order.
 *
 * A call lives from its notification to its answer. If its caller is killed
 * meanwhile it lives on, abandoned, until the daemon has answered the request,
 * since the session may not be released before.
 */
#include "cusehost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>

/* x86-64 and arm64 with 4-level tables; compat pointers are below anyway */
#define TASK_SIZE_MAX 0x7ffffffff000ull
#define MAX_RW_COUNT ((size_t)INT_MAX & ~(size_t)(CH_PAGE - 1))
#define KERNEL_ENOIOCTLCMD 515

/* What open adds for a 64-bit caller; glibc calls it 0 there. */
#if defined(__aarch64__)
#define CH_O_LARGEFILE 0400000u
#else
#define CH_O_LARGEFILE 0100000u
#endif

/* open_how of openat2(2), first version, which is all that matters here */
struct open_how_0 {
	uint64_t flags;
	uint64_t mode;
	uint64_t resolve;
};

static bool access_ok(uint64_t uva, uint64_t len)
{
	return len <= TASK_SIZE_MAX && uva <= TASK_SIZE_MAX - len;
}

/* --- beginning and end --- */

static struct call *call_new(struct host *h, const struct seccomp_notif *n)
{
	struct call *c;

	c = h->call_count < CH_MAX_CALLS ? calloc(1, sizeof(*c)) : NULL;
	if (!c || !peer_caller((pid_t)n->pid, &c->caller)) {
		/* no memory, or no caller any more */
		trap_answer(h, n->id, -ENOMEM);
		free(c);
		return NULL;
	}
	h->call_count++;
	c->host = h;
	c->id = n->id;
	c->compat = trap_is_compat(n);
	LIST_INSERT_HEAD(&h->calls, c, link);
	return c;
}

static void call_free(struct call *c)
{
	LIST_REMOVE(c, link);
	c->host->call_count--;
	if (c->session)
		session_put(c->session);
	free(c->iov);
	free(c);
}

static void call_inject(struct call *c)
{
	struct session *s = c->session;
	int ret;

	ret = trap_answer_fd(c->host, c->id, s->read_fd,
			     c->open_flags & O_CLOEXEC);
	/* If it did not arrive, ours was the last reference and a RELEASE
	 * follows of itself. */
	session_handed_over(s);
	if (ret < 0)
		trap_answer(c->host, c->id, ret);
	ch_log(c->host, "%s: open by %d: %d", c->dev->path, c->caller.tid, ret);
}

static void call_answer(struct call *c, int64_t result)
{
	if (c->inject && c->session) {
		call_inject(c);
	} else {
		ch_log(c->host, "%s: answer to %d: %lld", c->dev->path,
		       c->caller.tid, (long long)result);
		trap_answer(c->host, c->id, result);
	}
	call_free(c);
}

/* Whether poll(2) after the answer would see an older state. */
static bool call_unsettled(struct call *c)
{
	if (!c->session || c->abandoned)
		return false;
	if (c->inject)
		return session_polling(c->session, &c->hold_until);
	return session_unsettled(c->session, c->chunk != 0, &c->hold_until);
}

static void call_finish(struct call *c, int64_t result)
{
	if (call_unsettled(c)) {
		c->held = true;
		c->held_since_ms = ch_now_ms();
		c->result = result;
		return;
	}
	call_answer(c, result);
}

void call_settled(struct session *s)
{
	struct call *c, *next;

	for (c = LIST_FIRST(&s->host->calls); c; c = next) {
		next = LIST_NEXT(c, link);
		if (c->session == s && c->held &&
		    (!s->poll.dev || s->polls_done >= c->hold_until))
			call_answer(c, c->result);
	}
}

static int call_request(struct call *c, uint32_t opcode, const void *in,
			size_t in_len, size_t extra_len)
{
	return dev_request(c->dev, &c->req, opcode, &c->caller, in, in_len,
			   c->host->data, extra_len);
}

/* A call on a descriptor: NULL if that is not one of our sessions (and then
 * the kernel goes on with it), or if it is answered already. */
static struct call *call_on_fd(struct host *h, const struct seccomp_notif *n)
{
	struct session *s = NULL;
	struct call *c;
	ino_t ino;

	if (!LIST_EMPTY(&h->sessions) &&
	    peer_fd_pipe((pid_t)n->pid, (int)n->data.args[0], &ino))
		s = session_find(h, ino);
	if (!s) {
		trap_continue(h, n->id);
		return NULL;
	}
	c = call_new(h, n);
	if (!c)
		return NULL;
	c->session = s;
	c->dev = s->dev;
	s->calls++;
	return c;
}

/* To be asked before its memory is written to, and whenever it matters:
 * whether the caller is still there, and not another one under its id. */
static bool call_abandoned(struct call *c)
{
	if (!c->abandoned && !trap_valid(c->host, c->id)) {
		c->abandoned = true;
		ch_log(c->host, "%s: caller %d is gone", c->dev->path,
		       c->caller.tid);
	}
	return c->abandoned;
}

void call_tick(struct host *h)
{
	uint64_t now = ch_now_ms();
	struct call *c, *next;

	for (c = LIST_FIRST(&h->calls); c; c = next) {
		next = LIST_NEXT(c, link);
		if (c->held && now - c->held_since_ms > CH_BARRIER_MS)
			call_answer(c, c->result);
		else if (c->req.dev && !c->req.interrupted &&
			 now - c->req.since_ms >= CH_TICK_MS &&
			 (call_abandoned(c) ||
			  peer_signal_pending(c->caller.tid)))
			dev_interrupt(&c->req);
	}
}

/* --- open --- */

static bool last_part_wanted(const struct host *h, const char *last)
{
	for (unsigned int i = 0; i < h->device_count; i++) {
		const char *own = strrchr(h->dev[i].path, '/');

		if (own && strcmp(own + 1, last) == 0)
			return true;
	}
	return false;
}

static struct device *device_by_path(struct host *h, const char *path)
{
	for (unsigned int i = 0; i < h->device_count; i++)
		if (strcmp(h->dev[i].path, path) == 0)
			return &h->dev[i];
	return NULL;
}

/* Where the path is in the arguments, and what open flags came with it. */
static struct device *open_target(struct host *h, const struct seccomp_notif *n,
				  uint32_t *flags)
{
	char path[PATH_MAX];
	struct open_how_0 how;
	struct open_args at;
	pid_t tid = (pid_t)n->pid;

	trap_open_args(n, &at);
	if (!peer_path(tid, at.dirfd, at.path_uva, path, last_part_wanted, h))
		return NULL;
	*flags = (uint32_t)at.flags;
	if (at.how_uva) {
		if (peer_read(tid, at.how_uva, &how, sizeof(how)) !=
		    sizeof(how))
			return NULL;
		*flags = (uint32_t)how.flags;
	}
	if (*flags & O_PATH)
		return NULL;
	return device_by_path(h, path);
}

static void open_done(struct request *req, int err, const void *body,
		      size_t len)
{
	struct call *c = ch_container_of(req, struct call, req);
	struct fuse_open_out out;

	(void)len;
	if (err) {
		session_free(c->session);
		c->session = NULL;
		call_finish(c, err);
		return;
	}
	memcpy(&out, body, sizeof(out));
	c->inject = true;
	session_opened(c->session, out.fh);
	call_finish(c, 0);
}

void call_open(struct host *h, const struct seccomp_notif *n)
{
	struct fuse_open_in in = { 0 };
	struct device *d;
	struct call *c;
	uint32_t flags;
	int ret;

	d = open_target(h, n, &flags);
	if (!d) {
		trap_continue(h, n->id);
		return;
	}
	c = call_new(h, n);
	if (!c)
		return;
	c->dev = d;
	c->open_flags = flags;
	ret = -EEXIST;
	if ((flags & O_CREAT) && (flags & O_EXCL))
		goto out;
	ret = -ENOTDIR;
	if (flags & O_DIRECTORY)
		goto out;
	ret = -ENOENT; /* the node goes with the channel */
	if (dev_broken(d))
		goto out;

	in.flags = flags & ~(uint32_t)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC |
				       O_CLOEXEC);
	if (!c->compat)
		in.flags |= CH_O_LARGEFILE;
	ret = session_new(d, in.flags, &c->session);
	if (ret < 0)
		goto out;
	c->session->calls++;
	c->req.done = open_done;
	c->req.fixed_bytes = sizeof(struct fuse_open_out);
	ret = call_request(c, FUSE_OPEN, &in, sizeof(in), 0);
	if (ret == 0)
		return;
	session_free(c->session);
	c->session = NULL;
out:
	call_finish(c, ret);
}

/* --- ioctl: fuse_do_ioctl() with FUSE_IOCTL_UNRESTRICTED --- */

static size_t iov_bytes(const struct fuse_ioctl_iovec *iov, unsigned int n)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < n; i++)
		sum += iov[i].len;
	return sum;
}

static void ioctl_send(struct call *c)
{
	struct fuse_ioctl_in in = {
		.fh = c->session->fh,
		.flags = FUSE_IOCTL_UNRESTRICTED,
		.cmd = c->cmd,
		.arg = c->arg,
	};
	size_t at = 0;
	int ret;

	if (c->compat)
		in.flags |= FUSE_IOCTL_COMPAT | FUSE_IOCTL_32BIT;
	c->out_size = iov_bytes(c->iov + c->in_iovs, c->out_iovs);
	in.in_size = (uint32_t)iov_bytes(c->iov, c->in_iovs);
	in.out_size = (uint32_t)c->out_size;
	for (unsigned int i = 0; i < c->in_iovs; i++) {
		if (peer_read(c->caller.tid, c->iov[i].base, c->host->data + at,
			      c->iov[i].len) != c->iov[i].len) {
			call_finish(c, -EFAULT);
			return;
		}
		at += c->iov[i].len;
	}
	/* Even a reply without data may carry iovecs: a page at least. */
	c->req.fixed_bytes = sizeof(struct fuse_ioctl_out);
	c->req.var_max_bytes =
		(uint32_t)(c->out_size > CH_PAGE ? c->out_size : CH_PAGE);
	ret = call_request(c, FUSE_IOCTL, &in, sizeof(in), at);
	if (ret < 0)
		call_finish(c, ret);
}

/* Make sure that no sum of lengths passes the limit; 0 or -errno. */
static int ioctl_check_iov(const struct call *c,
			   const struct fuse_ioctl_iovec *iov, unsigned int n)
{
	size_t max = CH_DATA_MAX;

	for (unsigned int i = 0; i < n; i++) {
		if (iov[i].len > max)
			return -ENOMEM;
		max -= iov[i].len;
		if (c->compat && iov[i].base > UINT32_MAX)
			return -EIO;
	}
	return 0;
}

static int ioctl_retry(struct call *c, const struct fuse_ioctl_out *out,
		       const void *data, size_t len)
{
	size_t count = (size_t)out->in_iovs + out->out_iovs;
	int ret;

	if (out->in_iovs > FUSE_IOCTL_MAX_IOV ||
	    out->out_iovs > FUSE_IOCTL_MAX_IOV || count > FUSE_IOCTL_MAX_IOV)
		return -ENOMEM;
	if (count * sizeof(*c->iov) != len)
		return -EIO;
	if (!c->iov)
		c->iov = calloc(FUSE_IOCTL_MAX_IOV, sizeof(*c->iov));
	if (!c->iov)
		return -ENOMEM;
	memcpy(c->iov, data, len);
	c->in_iovs = out->in_iovs;
	c->out_iovs = out->out_iovs;
	ret = ioctl_check_iov(c, c->iov, c->in_iovs);
	if (ret == 0)
		ret = ioctl_check_iov(c, c->iov + c->in_iovs, c->out_iovs);
	return ret;
}

/* Scatters what the daemon gave; it may be less than there is room for. */
static int ioctl_copy_out(struct call *c, const unsigned char *data, size_t len)
{
	const struct fuse_ioctl_iovec *iov = c->iov + c->in_iovs;

	if (len > c->out_size)
		return -EIO;
	for (; len; iov++) {
		size_t n = iov->len < len ? iov->len : len;

		if (peer_write(c->caller.tid, iov->base, data, n) != n)
			return -EFAULT;
		data += n;
		len -= n;
	}
	return 0;
}

static void ioctl_done(struct request *req, int err, const void *body,
		       size_t len)
{
	struct call *c = ch_container_of(req, struct call, req);
	struct fuse_ioctl_out out;
	const unsigned char *data = (const unsigned char *)body + sizeof(out);

	if (err) {
		call_finish(c, err == -ENOSYS ? -ENOTTY : err);
		return;
	}
	memcpy(&out, body, sizeof(out));
	len -= sizeof(out);
	if (call_abandoned(c)) {
		call_finish(c, -EINTR);
		return;
	}
	if (out.flags & FUSE_IOCTL_RETRY) {
		err = ioctl_retry(c, &out, data, len);
		if (err)
			call_finish(c, err);
		else
			ioctl_send(c);
		return;
	}
	err = ioctl_copy_out(c, data, len);
	if (err == 0 && out.result == -KERNEL_ENOIOCTLCMD)
		err = -ENOTTY; /* vfs_ioctl() */
	call_finish(c, err ? err : out.result);
}

void call_ioctl(struct host *h, const struct seccomp_notif *n)
{
	struct call *c = call_on_fd(h, n);

	if (!c)
		return;
	c->cmd = (uint32_t)n->data.args[1];
	c->arg = n->data.args[2];
	ch_log(h, "%s: ioctl %#x %#llx by %d", c->dev->path, c->cmd,
	       (unsigned long long)c->arg, c->caller.tid);
	/* What the VFS keeps to itself: do_vfs_ioctl(). The pipe does the
	 * same, except that a pipe has fasync and the device has not. */
	switch (c->cmd) {
	case FIOCLEX:
	case FIONCLEX:
	case FIONBIO:
		trap_continue(h, c->id);
		call_free(c);
		return;
	case FIOASYNC:
	case FIOQSIZE:
		call_finish(c, -ENOTTY);
		return;
	}
	c->req.done = ioctl_done;
	ioctl_send(c);
}

/* --- read and write: fuse_direct_io() with FUSE_DIO_CUSE --- */

static void rw_next(struct call *c);

/* How much the next request may carry: the kernel pins at most 32 pages for
 * it, stops at the first it cannot pin, and copies a write's data in. */
static size_t rw_gather(struct call *c)
{
	size_t max = c->is_write ? c->dev->max_write : c->dev->max_read;
	size_t pages = CH_DATA_PAGES, offset = c->iov_offset, sum = 0;
	unsigned int i = c->iov_index;

	if (max > c->left)
		max = c->left;
	for (; sum < max && pages; i++, offset = 0) {
		uint64_t uva = c->iov[i].base + offset;
		size_t len = c->iov[i].len - offset, got;

		if (len == 0)
			continue;
		if (len > max - sum)
			len = max - sum;
		if (len > pages * CH_PAGE - uva % CH_PAGE)
			len = pages * CH_PAGE - uva % CH_PAGE;
		got = c->is_write ? peer_read(c->caller.tid, uva,
					      c->host->data + sum, len)
				  : peer_writable(c->caller.tid, uva, len);
		sum += got;
		if (got < len)
			break;
		pages -= (uva % CH_PAGE + len + CH_PAGE - 1) / CH_PAGE;
	}
	return sum;
}

/* Moves the cursor on by @len; for a read, with the data. */
static bool rw_advance(struct call *c, const unsigned char *data, size_t len)
{
	c->done += len;
	c->left -= len;
	while (len) {
		struct fuse_ioctl_iovec *iov = &c->iov[c->iov_index];
		size_t n = iov->len - c->iov_offset;

		if (n > len)
			n = len;
		if (!c->is_write &&
		    peer_write(c->caller.tid, iov->base + c->iov_offset, data,
			       n) != n)
			return false;
		data = data ? data + n : NULL;
		len -= n;
		c->iov_offset += n;
		if (c->iov_offset == iov->len) {
			c->iov_index++;
			c->iov_offset = 0;
		}
	}
	return true;
}

static void rw_done(struct request *req, int err, const void *body, size_t len)
{
	struct call *c = ch_container_of(req, struct call, req);
	struct fuse_write_out out;
	const void *data = body;

	if (!err && c->is_write) {
		memcpy(&out, body, sizeof(out));
		len = out.size;
		data = NULL;
		if (len > c->chunk)
			err = -EIO;
	}
	if (!err && call_abandoned(c))
		err = -EINTR;
	if (!err && !rw_advance(c, data, len))
		err = -EFAULT;
	if (err || len < c->chunk || c->left == 0)
		call_finish(c, err && !c->done ? err : (int64_t)c->done);
	else
		rw_next(c);
}

/* Something that differs between file tables and tells nothing else, as the
 * kernel's scrambled pointer does. */
static uint64_t lock_owner(const struct call *c)
{
	return (uint64_t)c->caller.tgid * 0x9e3779b97f4a7c15ull;
}

static void rw_next(struct call *c)
{
	/* fuse_read_in and fuse_write_in differ in one name only. */
	struct fuse_read_in in = {
		.fh = c->session->fh,
		.offset = c->done,
		.read_flags = FUSE_READ_LOCKOWNER,
		.lock_owner = lock_owner(c),
		.flags = c->f_flags,
	};
	int ret;

	_Static_assert(sizeof(struct fuse_read_in) ==
			       sizeof(struct fuse_write_in),
		       "fuse.h");
	/* NOLINTNEXTLINE(misc-redundant-expression): two names */
	_Static_assert(FUSE_READ_LOCKOWNER == FUSE_WRITE_LOCKOWNER, "fuse.h");
	c->chunk = rw_gather(c);
	if (c->chunk == 0) {
		call_finish(c, c->done ? (int64_t)c->done : -EFAULT);
		return;
	}
	in.size = (uint32_t)c->chunk;
	c->req.done = rw_done;
	if (c->is_write) {
		c->req.fixed_bytes = sizeof(struct fuse_write_out);
		ret = call_request(c, FUSE_WRITE, &in, sizeof(in), c->chunk);
	} else {
		c->req.var_max_bytes = in.size;
		ret = call_request(c, FUSE_READ, &in, sizeof(in), 0);
	}
	if (ret < 0)
		call_finish(c, c->done ? (int64_t)c->done : ret);
}

/* import_iovec(): 0 or -errno */
static int rw_import(struct call *c, uint64_t uva, uint64_t count)
{
	size_t each = c->compat ? 8 : 16;
	unsigned char *raw = c->host->data;
	size_t room = MAX_RW_COUNT;

	if (count > IOV_MAX)
		return -EINVAL;
	if (peer_read(c->caller.tid, uva, raw, count * each) != count * each)
		return -EFAULT;
	c->iov = calloc(count + 1, sizeof(*c->iov));
	if (!c->iov)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct fuse_ioctl_iovec *v = &c->iov[i];
		uint32_t small[2];

		if (c->compat) {
			memcpy(small, raw + i * each, each);
			v->base = small[0];
			v->len = small[1];
			if ((int32_t)small[1] < 0)
				return -EINVAL;
		} else {
			memcpy(v, raw + i * each, each);
		}
		if ((int64_t)v->len < 0)
			return -EINVAL;
		if (!access_ok(v->base, v->len))
			return -EFAULT;
		if (v->len > room)
			v->len = room;
		room -= v->len;
	}
	c->iov_count = (unsigned int)count;
	return 0;
}

static int rw_start(struct call *c, const struct seccomp_notif *n,
		    bool vectored)
{
	uint64_t uva = n->data.args[1], count = n->data.args[2];
	unsigned int mode = c->session->open_flags & O_ACCMODE;
	int flags;

	flags = peer_fd_flags(c->caller.tid, (int)n->data.args[0]);
	if (flags < 0)
		return flags;
	/* The pipe's own access mode means nothing; the rest is what F_SETFL
	 * made of it. */
	c->f_flags = (c->session->open_flags & ~(uint32_t)O_NONBLOCK) |
		     ((uint32_t)flags & (O_NONBLOCK | O_APPEND | O_NOATIME));
	if (mode != O_RDWR && mode != (c->is_write ? O_WRONLY : O_RDONLY))
		return -EBADF;
	if (vectored)
		return rw_import(c, uva, count);
	if (!access_ok(uva, count))
		return -EFAULT;
	c->iov = calloc(1, sizeof(*c->iov));
	if (!c->iov)
		return -ENOMEM;
	c->iov_count = 1;
	c->iov[0].base = uva;
	c->iov[0].len = count < MAX_RW_COUNT ? count : MAX_RW_COUNT;
	return 0;
}

void call_rw(struct host *h, const struct seccomp_notif *n, bool is_write,
	     bool vectored)
{
	struct call *c = call_on_fd(h, n);
	int ret;

	if (!c)
		return;
	c->is_write = is_write;
	ret = rw_start(c, n, vectored);
	if (ret == 0)
		c->left = iov_bytes(c->iov, c->iov_count);
	ch_log(h, "%s: %s of %zu by %d", c->dev->path,
	       is_write ? "write" : "read", c->left, c->caller.tid);
	if (ret < 0 || c->left == 0)
		call_finish(c, ret); /* nothing to move: 0, unasked */
	else
		rw_next(c);
}

/* noop_llseek() */
void call_lseek(struct host *h, const struct seccomp_notif *n)
{
	struct call *c = call_on_fd(h, n);

	if (c)
		call_finish(c, n->data.args[2] <= SEEK_MAX ? 0 : -EINVAL);
}
