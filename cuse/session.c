/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.c serves the requests of one open file of the character device.
 *
 * The loop's thread allocates a struct request; the worker thread runs it,
 * answers it and frees it. Fields of struct session that are marked "worker"
 * are touched by the worker thread alone, from its first job (session_open) to
 * its last (session_close), and those marked "loop" by the loop's thread. What
 * both touch is atomic, or has a lock of its own.
 *
 * A worker that hangs must not let its callers pile up memory here: requests
 * in flight are counted in bytes, and beyond the budget the answer is ENOMEM.
 *
 * The link reports a message for the VMM, or that reads have to be tried
 * again, in the middle of the device's work; iotlb_work runs when that has
 * finished.
 *
 * libfuse calls the interrupt callback of a request on the loop's thread,
 * perhaps while the worker is answering that very request. So the callback is
 * given the session's number, not a pointer, and the worker asks libfuse which
 * of the waiting reads was interrupted.
 */
#include "session_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>

#include "bytes.h"
#include "wdog.h"

/* Bytes of requests in flight for one session: eight of the largest. */
#define BUDGET (8 * IOCTL_DATA_MAX)

#define IOTLB_MSG_SIZE sizeof(struct vhost_msg_v2)
_Static_assert(sizeof(struct vhost_msg_v2) == 72, "vhost ABI");

static void run_request(void *arg);

static struct request *request_new(struct session *s, fuse_req_t req,
				   void (*run)(struct request *r),
				   const void *in, size_t in_len)
{
	size_t size = sizeof(struct request) + in_len;
	struct request *r = NULL;

	if (atomic_fetch_add(&s->in_flight, size) + size <= BUDGET)
		r = calloc(1, size);
	if (!r) {
		atomic_fetch_sub(&s->in_flight, size);
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "too many requests at once");
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	r->job.fn = run_request;
	r->job.arg = r;
	r->run = run;
	r->session = s;
	r->req = req;
	r->tid = fuse_req_ctx(req)->pid;
	r->uid = fuse_req_ctx(req)->uid;
	r->in_len = in_len;
	if (in_len)
		memcpy(r->in, in, in_len);
	if (s->config->take_slot)
		r->slot = s->config->take_slot(s->config->ctx);
	return r;
}

/* After this the request may be answered any time. */
static void request_post(struct request *r)
{
	struct session *s = r->session;

	fuse_req_interrupt_func(r->req, s->config->interrupted,
				(void *)(uintptr_t)s->id);
	worker_post(s->worker, &r->job);
}

/* After the answer. */
static void request_free(struct request *r)
{
	const struct session_config *config = r->session->config;

	if (r->slot)
		config->free_slot(config->ctx, r->slot);
	atomic_fetch_sub(&r->session->in_flight, sizeof(*r) + r->in_len);
	free(r);
}

static void reply_err(struct request *r, int err)
{
	fuse_reply_err(r->req, err);
	request_free(r);
}

/* Leaves the request to the next uvhostd: its slot stays taken. */
static void request_leave(struct request *r)
{
	fuse_reply_none(r->req);
	if (r->ph)
		fuse_pollhandle_destroy(r->ph);
	r->slot = NULL;
	request_free(r);
}

static void run_request(void *arg)
{
	struct request *r = arg;

	if (r->session->leaving)
		request_leave(r);
	/* Only if the open failed and calls came all the same. */
	else if (r->session->ended)
		reply_err(r, EBADF);
	else
		r->run(r);
}

/* Requests; worker. */

static void reply_retry(const struct request *r, const struct ioctl_verdict *v)
{
	struct iovec in = { (void *)(uintptr_t)r->arg, v->fetch };
	struct iovec out = { (void *)(uintptr_t)v->store_at, v->store };

	fuse_reply_ioctl_retry(r->req, &in, v->fetch ? 1 : 0, &out,
			       v->store ? 1 : 0);
}

static void log_ioctl(const struct request *r, int error)
{
	struct session *s = r->session;
	const char *name = ioctl_name(r->cmd);

	if (error == -E2BIG)
		log_limited(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			    "process %d sets more than %u memory regions "
			    "(--max-mem-regions)",
			    r->tid, s->config->max_mem_regions);
	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	if (name)
		log_debug(&s->tag, "%s by %d: %s", name, r->tid,
			  error ? strerrorname_np(-error) : "0");
	else
		log_debug(&s->tag, "ioctl 0x%08x by %d: %s", r->cmd, r->tid,
			  error ? strerrorname_np(-error) : "0");
}

/* Does a call start a ring of a device that crashes have stopped? */
static bool starts_stopped(const struct session *s, uint32_t cmd,
			   const struct call_facts *facts)
{
	return s->stopped && cmd == VHOST_NET_SET_BACKEND && facts->fd >= 0;
}

/* Does a device that runs in a worker process begin, or go on after it was
 * stopped? */
static bool starts_device(const struct session *s, uint32_t cmd,
			  const struct call_facts *facts)
{
	return facts->pid != 0 || starts_stopped(s, cmd, facts);
}

/*
 * Does the call that returned @ret have to be repeated?
 *
 * The budget counts the mappings found for the call beside those of the table
 * in force. They are released and found again, as the process that goes on has
 * been given its table anew. A device that was stopped gets none, and starts
 * no ring.
 */
static bool goes_again(const struct request *r, const struct ioctl_call *call,
		       const struct ioctl_needs *needs,
		       struct call_facts *facts, int ret)
{
	struct session *s = r->session;

	if (ret != -ECONNRESET)
		return false;
	caller_forget_maps(s, facts);
	if (!worker_again(s, ret))
		return false;
	caller_find_memory(r, call, needs, facts);
	if (starts_stopped(s, call->cmd, facts))
		facts->fd_error = -EIO;
	return true;
}

/* Makes the call. If the process that has the device dies, the call is
 * repeated in the next one. */
static void call_link(struct request *r, const struct ioctl_call *call,
		      const struct ioctl_needs *needs, struct call_facts *facts,
		      struct ioctl_verdict *v)
{
	struct session *s = r->session;
	int ret;

	if (starts_device(s, call->cmd, facts) && worker_begin(s) < 0)
		facts->owner_error = facts->fd_error = -ENOMEM;
	do {
		facts->repeated = keep_starting(s, call, facts);
		net_connect(s, call->cmd, facts);
		worker_note_call(s, r);
		ret = s->ended ? -EIO : devlink_ioctl(s->link, call, facts, v);
	} while (goes_again(r, call, needs, facts, ret));
	net_connected(s, call->cmd);
	if (ret < 0)
		*v = (struct ioctl_verdict){ .error = -EIO };
}

/* One pass of an ioctl: the table alone decides it, or the device does, with
 * what the call needs of the caller. */
static void call_device(struct request *r, const struct ioctl_call *call,
			struct ioctl_verdict *v)
{
	struct session *s = r->session;
	struct call_facts facts = CALL_FACTS_NONE;
	bool has_owner = s->peer.pid != 0;
	struct ioctl_needs needs;
	uint32_t late;
	int ret;

	ioctl_needs(call, s->config->max_mem_regions, &needs);
	facts.is_owner =
		needs.owner && has_owner && peer_is_owner(&s->peer, r->tid);
	if (ioctl_first_pass(call, has_owner, facts.is_owner, v))
		return;
	caller_facts(r, call, &needs, &facts);
	call_link(r, call, &needs, &facts, v);
	late = keep_starts_late(s, call, &facts, v);
	ret = v->again ? -EAGAIN : v->error;
	if (call->cmd == VHOST_RESET_OWNER && ret == 0)
		worker_fence(s);
	caller_settle(s, call->cmd, &facts, ret);
	keep_ioctl(r, call, facts.fd, ret);
	keep_late(s, late);
	if (!s->peer.pid)
		worker_end(s);
}

static void run_ioctl(struct request *r)
{
	struct ioctl_call call = {
		.cmd = r->cmd,
		.arg = r->arg,
		.in = r->in,
		.in_len = r->in_len,
		.out_room = MIN(r->out_room, IOCTL_DATA_MAX),
	};
	const struct record_answer *answer = keep_answered(r);
	struct ioctl_verdict v;

	/* Only calls without output are kept. */
	if (answer) {
		fuse_reply_ioctl(r->req, 0, NULL, 0);
		request_free(r);
		return;
	}
	call.out = calloc(1, call.out_room + 1);
	if (!call.out) {
		reply_err(r, ENOMEM);
		return;
	}
	call_device(r, &call, &v);
	if (v.again) {
		reply_retry(r, &v);
	} else {
		log_ioctl(r, v.error);
		if (v.error)
			fuse_reply_err(r->req, -v.error);
		else
			fuse_reply_ioctl(r->req, 0, call.out, v.out_len);
	}
	free(call.out);
	request_free(r);
}

/* False: nothing to read, and the caller wants to wait. */
static bool read_try(struct request *r)
{
	unsigned char msg[IOTLB_MSG_SIZE];
	struct session *s = r->session;
	ssize_t n;
	int ret;

	do {
		worker_note_call(s, r);
		ret = devlink_read(s->link, msg, MIN(r->size, sizeof(msg)), &n);
	} while (worker_again(s, ret));
	if (ret < 0)
		n = -EIO;
	if (n >= 0) {
		keep_answer(r, msg, (size_t)n);
		fuse_reply_buf(r->req, (char *)msg, n);
		request_free(r);
		return true;
	}
	/* The kernel's order: nonblocking, signal, no IOTLB. */
	if (r->nonblock && (n == -EAGAIN || n == -EBADFD))
		n = -EAGAIN;
	else if (n == -EAGAIN && !fuse_req_interrupted(r->req))
		return false;
	else if (n == -EAGAIN || fuse_req_interrupted(r->req))
		n = -EINTR;
	reply_err(r, (int)-n);
	return true;
}

static void run_read(struct request *r)
{
	const struct record_answer *answer = keep_answered(r);

	if (answer) {
		fuse_reply_buf(r->req, (const char *)answer->data, answer->len);
		request_free(r);
		return;
	}
	if (!read_try(r))
		STAILQ_INSERT_TAIL(&r->session->reads, r, link);
}

/* Oldest first. */
void session_reads_retry(struct session *s)
{
	STAILQ_HEAD(, request) waiting = STAILQ_HEAD_INITIALIZER(waiting);
	struct request *r;

	STAILQ_CONCAT(&waiting, &s->reads);
	while ((r = STAILQ_FIRST(&waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&waiting, link);
		run_read(r);
	}
}

static void run_interrupt(void *arg)
{
	struct session *s = arg;

	/* Before the look: an interrupt from now on posts the job again. */
	atomic_store(&s->signal_posted, false);
	if (s->ended)
		return;
	session_reads_retry(s);
	if (!atomic_exchange(&s->answer_posted, true))
		loop_post(s->config->loop, &s->answer_job);
}

static void iotlb_work(struct worker_work *work)
{
	struct session *s = container_of(work, struct session, iotlb_work);

	session_reads_retry(s);
	if (s->ph)
		fuse_lowlevel_notify_poll(s->ph);
}

static void iotlb_event(void *ctx)
{
	struct session *s = ctx;

	if (!s->ended)
		worker_queue(s->worker, &s->iotlb_work);
}

static void run_write(struct request *r)
{
	struct session *s = r->session;
	ssize_t n;
	int ret;

	do {
		int mem_fd = caller_iotlb_memory(s, r->in, r->in_len);

		/* A write may be carried out twice. */
		worker_note_call(s, NULL);
		ret = devlink_write(s->link, r->in, r->in_len, mem_fd, &n);
	} while (worker_again(s, ret));
	if (ret < 0)
		n = -EIO;
	if (n < 0) {
		reply_err(r, (int)-n);
		return;
	}
	keep_retry(s);
	/* vhost answers 72 whatever the length; FUSE turns more than was sent
	 * into EIO */
	fuse_reply_write(r->req, MIN((size_t)n, r->size));
	request_free(r);
}

static void run_poll(struct request *r)
{
	struct session *s = r->session;
	bool readable = false;
	int ret;

	if (r->ph) {
		if (s->ph)
			fuse_pollhandle_destroy(s->ph);
		s->ph = r->ph;
		keep_poll(r);
	}
	do {
		worker_note_call(s, r);
		ret = devlink_readable(s->link, &readable);
	} while (worker_again(s, ret));
	fuse_reply_poll(r->req, readable ? EPOLLIN | EPOLLRDNORM : 0);
	request_free(r);
}

/* Start and end. */

void session_end(struct session *s)
{
	struct request *r;

	if (s->ended)
		return;
	s->ended = true;
	worker_cancel(s->worker, &s->iotlb_work);
	worker_cancel(s->worker, &s->gone_work);
	while ((r = STAILQ_FIRST(&s->reads)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->reads, link);
		if (s->leaving)
			request_leave(r);
		else
			reply_err(r, ENODEV);
	}
	if (s->ph)
		fuse_pollhandle_destroy(s->ph);
	s->ph = NULL;
	worker_close(s);
	peer_detach(&s->peer);
	map_budget_clear(&s->budget);
	persist_end(s->persist, !s->leaving);
	s->persist = NULL;
	log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO,
		    s->leaving ? "left to the next process" : "closed");
	loop_post(s->config->loop, &s->done_job);
}

static void run_close(void *arg)
{
	struct session *s = arg;
	fuse_req_t req = s->close_req;

	session_end(s);
	if (req)
		fuse_reply_err(req, 0);
	if (s->close_slot)
		s->config->free_slot(s->config->ctx, s->close_slot);
}

static void run_leave(void *arg)
{
	struct session *s = arg;

	s->leaving = true;
	session_end(s);
}

static void run_restore(void *arg)
{
	keep_restore(arg);
}

static int fault_owner_in(void *ctx, bool write, uint64_t uva, uint64_t len)
{
	struct session *s = ctx;

	return caller_fault_in(s, write, uva, len);
}

struct devlink_config session_link_config(struct session *s,
					  void (*gone)(void *ctx))
{
	return (struct devlink_config){
		.worker = s->worker,
		.tag = &s->tag,
		.limit = &s->limit,
		.attach = s->config->attach,
		.features = s->config->features,
		.max_mem_regions = s->config->max_mem_regions,
		.busy_poll_us = s->config->busy_poll_us,
		.stall_ms = WDOG_MS,
		.mem = s->persist ? persist_devmem(s->persist) : NULL,
		.ring = s->ring,
		.events = { .iotlb = iotlb_event,
			    .gone = gone,
			    .fault_in = fault_owner_in,
			    .ctx = s },
	};
}

int session_make_link(struct session *s)
{
	const struct devlink_config config = session_link_config(s, NULL);
	int ret = devlink_local_new(&config, &s->link);

	if (ret < 0)
		s->link = NULL;
	return ret;
}

static void run_open(struct request *r)
{
	struct session *s = r->session;
	int ret;

	keep_begin(s, peer_user(r->tid, r->uid));
	ret = session_make_link(s);
	if (ret < 0) {
		reply_err(r, -ret);
		session_end(s);
		return;
	}
	log_limited(&s->limit, &s->tag, LOG_LEVEL_INFO, "opened by %d", r->tid);
	r->fi.fh = s->id;
	r->fi.direct_io = 1;
	keep_open(r);
	ret = fuse_reply_open(r->req, &r->fi);
	request_free(r);
	/* The kernel did not take the answer, so it sends no release. */
	if (ret < 0)
		session_end(s);
}

/* The OPEN is answered again: its first answer may have arrived or not. */
static void run_open_again(struct request *r)
{
	r->fi.fh = r->session->id;
	r->fi.direct_io = 1;
	fuse_reply_open(r->req, &r->fi);
	request_free(r);
}

static void print_process(const struct session *s)
{
	if (s->process.pid)
		dprintf(STDERR_FILENO, "%s: worker process %d memory %s\n",
			s->tag.name, s->process.pid,
			caller_is_copied(s) ? "copied (memory file)"
					    : "mapped");
}

static void run_print(void *arg)
{
	struct session *s = arg;
	char *text;
	int ret = -ENODEV;

	if (s->ended)
		return;
	if (s->link)
		do {
			worker_note_call(s, NULL);
			ret = devlink_print(s->link, &text);
		} while (worker_again(s, ret));
	if (ret == 0) {
		print_process(s);
		if (write(STDERR_FILENO, text, strlen(text)) < 0)
			log_debug(&s->tag, "cannot print: %s", strerror(errno));
		free(text);
	}
	if (!s->ended)
		loop_post(s->config->loop, &s->printed_job);
}

static void session_done(void *arg)
{
	struct session *s = arg;

	s->config->closed(s->config->ctx, s);
}

/* The loop's side. */

static void interrupt_worker(struct watchdog_entry *e)
{
	worker_interrupt(container_of(e, struct session, dog)->worker);
}

static void worker_hangs(struct watchdog_entry *e)
{
	struct session *s = container_of(e, struct session, dog);

	if (s->closing)
		s->config->hangs(s->config->ctx, s);
}

static void no_interrupt(struct watchdog_entry *e)
{
	(void)e; /* the pages that it waits for may come */
}

/* Logs why a session does not print: its worker does not answer. */
static void print_silent(const struct session *s)
{
	int pid = atomic_load(&s->shown_pid);

	if (!pid)
		log_info(&s->tag, "the device does not answer: it waits for "
				  "its guest's memory");
	else if (atomic_load(&s->stuck))
		log_info(&s->tag,
			 "worker process %d is stuck in its guest's "
			 "memory",
			 pid);
	else
		log_info(&s->tag,
			 "worker process %d does not answer: it waits "
			 "for its guest's memory, or is stopped",
			 pid);
}

static void print_hangs(struct watchdog_entry *e)
{
	struct session *s = container_of(e, struct session, print_dog);

	watchdog_end(s->config->watchdog, e);
	if (!s->closing)
		print_silent(s);
}

static void session_printed(void *arg)
{
	struct session *s = arg;

	s->printing = false;
	watchdog_end(s->config->watchdog, &s->print_dog);
}

static void session_answered(void *arg)
{
	struct session *s = arg;

	atomic_store(&s->answer_posted, false);
	if (!s->closing && !atomic_load(&s->signal_posted))
		watchdog_end(s->config->watchdog, &s->dog);
}

static void forget_owner(struct session *s)
{
	int fd = s->owner_death.fd;

	loop_del(s->config->loop, &s->owner_death);
	if (fd >= 0)
		close(fd);
}

static void owner_death(struct loop_watch *watch, uint32_t events)
{
	struct session *s = container_of(watch, struct session, owner_death);

	(void)events;
	forget_owner(s);
	session_interrupt(s);
}

static void session_owned(void *arg)
{
	struct session *s = arg;
	int fd;

	atomic_store(&s->owner_posted, false);
	forget_owner(s);
	fd = atomic_exchange(&s->owner_pidfd, -1);
	if (fd >= 0 &&
	    loop_add(s->config->loop, &s->owner_death, fd, EPOLLIN) < 0)
		close(fd);
}

int session_new(const struct session_config *config, uint64_t id,
		const struct quota_session *place, struct session **out)
{
	struct session *s;
	char name[16];
	int ret;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->config = config;
	s->id = id;
	s->place = *place;
	caller_init(s);
	log_limit_init(&s->limit, LOG_LINES_SESSION, quota_lines(place));
	log_tag_init(&s->tag, "%s/%" PRIu64, config->dev_name, id);
	STAILQ_INIT(&s->reads);
	s->iotlb_work.fn = iotlb_work;
	s->gone_work.fn = worker_gone;
	s->close_job = (struct loop_job){ .fn = run_close, .arg = s };
	s->print_job = (struct loop_job){ .fn = run_print, .arg = s };
	s->printed_job = (struct loop_job){ .fn = session_printed, .arg = s };
	s->interrupt_job = (struct loop_job){ .fn = run_interrupt, .arg = s };
	s->done_job = (struct loop_job){ .fn = session_done, .arg = s };
	s->answer_job = (struct loop_job){ .fn = session_answered, .arg = s };
	s->owner_job = (struct loop_job){ .fn = session_owned, .arg = s };
	s->restore_job = (struct loop_job){ .fn = run_restore, .arg = s };
	s->left = PERSIST_FDS_NONE;
	s->dog.interrupt = interrupt_worker;
	s->dog.hangs = worker_hangs;
	s->print_dog.interrupt = no_interrupt;
	s->print_dog.hangs = print_hangs;
	s->owner_death = (struct loop_watch){ .fn = owner_death, .fd = -1 };
	atomic_store(&s->owner_pidfd, -1);

	snprintf(name, sizeof(name), "uvhost-%" PRIu64, id);
	ret = worker_new(name, config->busy_poll_us, &s->worker);
	if (ret < 0) {
		log_limit_end(&s->limit);
		free(s);
		return ret;
	}
	*out = s;
	return 0;
}

int session_restore(const struct session_config *config, uint64_t id,
		    const struct quota_session *place, struct persist *persist,
		    const struct persist_fds *left, struct session **out)
{
	struct session *s;
	int ret = session_new(config, id, place, out);

	if (ret < 0)
		return ret;
	s = *out;
	s->persist = persist;
	s->left = *left;
	s->open_unique = persist_record(persist)->answer.unique;
	worker_post(s->worker, &s->restore_job);
	return 0;
}

bool session_is_of_open(const struct session *s, uint64_t unique)
{
	return unique && s->open_unique == unique;
}

void session_open_again(struct session *s, fuse_req_t req,
			const struct fuse_file_info *fi)
{
	struct request *r = request_new(s, req, run_open_again, NULL, 0);

	if (!r)
		return;
	r->fi = *fi;
	request_post(r);
}

void session_strand(struct session *s)
{
	quota_strand(s->config->quota, &s->place);
}

void session_free(struct session *s)
{
	watchdog_end(s->config->watchdog, &s->dog);
	watchdog_end(s->config->watchdog, &s->print_dog);
	forget_owner(s);
	worker_finish(s->worker);
	worker_join(s->worker);
	log_limit_end(&s->limit);
	quota_close(s->config->quota, &s->place);
	free(s);
}

uint64_t session_id(const struct session *s)
{
	return s->id;
}

bool session_closing(const struct session *s)
{
	return s->closing;
}

void session_open(struct session *s, fuse_req_t req,
		  const struct fuse_file_info *fi)
{
	struct request *r = request_new(s, req, run_open, NULL, 0);

	if (!r) {
		session_close(s, NULL);
		return;
	}
	r->fi = *fi;
	request_post(r);
}

void session_ioctl(struct session *s, fuse_req_t req, uint32_t cmd,
		   uint64_t arg, const void *in, size_t in_len, size_t out_room)
{
	struct request *r;

	in_len = MIN(in_len, IOCTL_DATA_MAX);
	r = request_new(s, req, run_ioctl, in, in_len);
	if (!r)
		return;
	r->cmd = cmd;
	r->arg = arg;
	r->out_room = out_room;
	request_post(r);
}

void session_read(struct session *s, fuse_req_t req, size_t size, bool nonblock)
{
	struct request *r = request_new(s, req, run_read, NULL, 0);

	if (!r)
		return;
	r->size = size;
	r->nonblock = nonblock;
	request_post(r);
}

void session_interrupt(struct session *s)
{
	if (s->closing || atomic_exchange(&s->signal_posted, true))
		return;
	worker_post(s->worker, &s->interrupt_job);
	watchdog_begin(s->config->watchdog, &s->dog);
}

void session_write(struct session *s, fuse_req_t req, const void *buf,
		   size_t size)
{
	struct request *r;

	/* No message is longer, and what follows one is ignored. */
	r = request_new(s, req, run_write, buf, MIN(size, IOTLB_MSG_SIZE));
	if (!r)
		return;
	r->size = size;
	request_post(r);
}

void session_poll(struct session *s, fuse_req_t req, struct fuse_pollhandle *ph)
{
	struct request *r = request_new(s, req, run_poll, NULL, 0);

	if (!r) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		return;
	}
	r->ph = ph;
	request_post(r);
}

void session_leave(struct session *s)
{
	s->closing = true;
	s->close_job.fn = run_leave;
	worker_post(s->worker, &s->close_job);
	watchdog_begin(s->config->watchdog, &s->dog);
}

void session_close(struct session *s, fuse_req_t req)
{
	s->closing = true;
	atomic_store(&s->given_up, true);
	s->close_req = req;
	if (req && s->config->take_slot)
		s->close_slot = s->config->take_slot(s->config->ctx);
	worker_post(s->worker, &s->close_job);
	watchdog_begin(s->config->watchdog, &s->dog);
}

void session_print(struct session *s)
{
	if (s->closing)
		return;
	if (s->printing) {
		print_silent(s);
		return;
	}
	s->printing = true;
	worker_post(s->worker, &s->print_job);
	watchdog_begin(s->config->watchdog, &s->print_dog);
}
