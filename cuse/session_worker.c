/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_worker.c moves the device of an open file between this process and
 * worker processes: to one when the device gets an owner, back when it has
 * none, and to another one when a worker process dies.
 *
 *   local    in this process, with no guest: it has no owner, or a dead one
 *   remote   in a worker process
 *   stopped  in this process, with an owner: its worker processes crashed too
 *            often, or none could be started. It has no mappings, and its
 *            rings do not run
 *
 *   local   -> remote   VHOST_SET_OWNER: worker_begin()
 *   remote  -> local    VHOST_RESET_OWNER, the owner's death: worker_end()
 *   remote  -> local    the process dies, and so has the owner, or the file is
 *                       being closed: worker_recover()
 *   remote  -> remote   the process dies: worker_recover()
 *   remote  -> stopped  it crashes too often, or no other one starts:
 *                       worker_recover()
 *   stopped -> remote   VHOST_NET_SET_BACKEND: worker_begin()
 *   stopped -> local    VHOST_RESET_OWNER, the owner's death: worker_end()
 *
 * When the next uvhostd restores the session (worker_resume()), the device is
 * remote if its owner lives, and local otherwise. If worker processes are not
 * wanted (worker_is_wanted()), the device is local with its owner.
 *
 * keep_replay() tells a fresh device what the device before it was told. Two
 * processes never access the same rings: the old process is fenced first.
 *
 * A device whose frames go to a port of this process or to a capture stays
 * local, unless the port or capture is that of a network: session_net.c.
 *
 * All functions run on the session's worker thread.
 */
#include "session_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "confine.h"
#include "devlink_remote.h"
#include "wmsg.h"

/* How often fence() looks at the time while a process does not end; divides
 * WATCHDOG_HANG_MS. */
#define FENCE_MS 200

/* Attempts to start a process while the host is short of a resource
 * (wmsg_is_shortage()); with the delays of wproc_backoff_ended() they last
 * some seconds. */
#define START_TRIES 10

static int worker_recover(struct session *s);

bool worker_is_wanted(const struct session *s)
{
	return s->config->workers && s->persist;
}

static bool owner_is_dead(const struct session *s)
{
	return s->peer.pid && !peer_lives(&s->peer);
}

bool worker_is_given_up(const struct session *s)
{
	return atomic_load(&s->given_up) || owner_is_dead(s);
}

void worker_note_call(struct session *s, const struct request *r)
{
	uint64_t unique = r ? keep_unique(r) : 0;
	uint64_t repeat = s->repeat_seq;
	uint64_t last;

	if (!s->process.pid)
		return;
	last = devlink_remote_last(s->link);
	s->repeat_seq = 0;
	if (repeat && repeat == last &&
	    persist_call(s->persist, unique) == repeat)
		devlink_remote_repeat(s->link, repeat);
	else
		persist_set_call(s->persist, unique, unique ? last + 1 : 0);
}

void worker_told(struct session *s)
{
	if (s->process.pid)
		persist_set_ready(s->persist, !s->late);
}

/* devlink_remote_config.interrupted() */
static bool on_interrupted(void *ctx)
{
	struct session *s = ctx;

	if (worker_is_given_up(s))
		return true;
	/* The process may wait in a system call, as this thread does. */
	confine_kill(s->process.pidfd, WORKER_SIGNAL);
	return false;
}

static void on_gone(void *ctx)
{
	struct session *s = ctx;

	if (!s->ended)
		worker_queue(s->worker, &s->gone_work);
}

void worker_gone(struct worker_work *work)
{
	struct session *s = container_of(work, struct session, gone_work);

	if (worker_recover(s) == 0)
		session_reads_retry(s);
}

/* ---- one process ---- */

static void log_stuck(struct session *s, int error)
{
	if (error == -ETIMEDOUT)
		log_limited_state(
			&s->limit, &s->tag, LOG_LEVEL_WARNING,
			"worker process %d is stuck in its guest's memory",
			s->process.pid);
	else
		log_limited_state(&s->limit, &s->tag, LOG_LEVEL_ERROR,
				  "worker process %d cannot be ended: %s",
				  s->process.pid, strerror(-error));
}

/* Ends the process and waits until it is gone: it does not access the rings
 * afterwards. Waits without end, also for one that may not be killed (-EPERM):
 * as long as it may run, no other process gets its rings. */
static void fence(struct session *s, struct wproc_end *end)
{
	int waited_ms = 0, ret;

	*end = (struct wproc_end){ 0 };
	while ((ret = wproc_fence(&s->process, FENCE_MS, end)) < 0) {
		waited_ms += FENCE_MS;
		if (waited_ms != WATCHDOG_HANG_MS)
			continue;
		atomic_store(&s->stuck, true);
		log_stuck(s, ret);
	}
	atomic_store(&s->stuck, false);
	atomic_store(&s->shown_pid, 0);
}

/* Ends the process. The link is freed first, so that messages of the process
 * are dropped; gone_work is cancelled, since a call may have found the process
 * gone before. */
static void drop_process(struct session *s, struct wproc_end *end)
{
	devlink_free(s->link);
	s->link = NULL;
	worker_cancel(s->worker, &s->gone_work);
	fence(s, end);
	end->malformed = s->malformed;
	s->malformed = false;
	persist_set_worker(s->persist, 0, -1, -1);
}

/* On failure there may be a process without a link: drop_process(). */
static int start_process(struct session *s)
{
	const struct devlink_config config = session_link_config(s, on_gone);
	struct devlink_remote_config remote = { .interrupted = on_interrupted,
						.ctx = s,
						.malformed = &s->malformed };
	struct wproc_user user;
	int ends[2], fds[1 + DEVLINK_REMOTE_FDS];
	unsigned int nfds;
	int ret = wproc_user(s->peer.waiter, &user);

	if (ret < 0)
		return ret;
	ret = wmsg_pair(ends);
	if (ret < 0)
		return ret;
	persist_set_ready(s->persist, false);
	persist_set_call(s->persist, 0, 0); /* calls count from 1 */
	s->repeat_seq = 0;
	fds[0] = ends[1];
	nfds = 1 + devlink_remote_fds(&config, fds + 1);
	ret = wproc_start(&user, s->tag.name, fds, nfds, &s->process);
	close(ends[1]);
	if (ret == 0) {
		atomic_store(&s->shown_pid, s->process.pid);
		wproc_backoff_started(&s->backoff, now_ms());
		/* In the record before the process touches a ring: the next
		 * uvhostd can fence it. */
		persist_set_worker(s->persist, s->process.pid, s->process.pidfd,
				   ends[0]);
		keep_worker(s);
		remote.sock = ends[0];
		ret = devlink_remote_new(&config, &remote, &s->link);
	}
	if (ret < 0)
		close(ends[0]);
	return ret;
}

/* Starts a process and makes its device what the record says. */
static int start_and_replay(struct session *s)
{
	int ret = net_begin(s);

	if (ret == 0)
		ret = start_process(s);
	if (ret == 0)
		ret = keep_replay(s);
	if (ret == 0)
		worker_told(s);
	return ret;
}

/* Makes the device anew in this process, as the record says. On failure the
 * session ends. */
static int use_local(struct session *s, bool stopped)
{
	int ret;

	s->stopped = stopped;
	devlink_free(s->link);
	net_end(s);
	ret = session_make_link(s);
	if (ret == 0 && s->persist)
		ret = keep_replay(s);
	if (ret < 0) {
		log_err(&s->tag, "the device is lost: %s", strerror(-ret));
		session_end(s);
	}
	return ret;
}

/* ---- between processes ---- */

static int stop_guest(struct session *s)
{
	struct wproc_end end;
	int ret;

	/* A process may be there whose start failed half-way. */
	drop_process(s, &end);
	log_limited_state(&s->limit, &s->tag, LOG_LEVEL_ERROR,
			  "the guest stays stopped until its driver or its VMM "
			  "starts the device again");
	ret = use_local(s, true);
	if (ret == 0)
		keep_stop(s);
	return ret;
}

static void log_end(struct session *s, pid_t pid, const struct wproc_end *end,
		    bool goes_on)
{
	char text[64];

	wproc_end_text(end, text, sizeof(text));
	log_limited_state(&s->limit, &s->tag, LOG_LEVEL_WARNING,
			  "worker process %d: %s%s", pid, text,
			  goes_on ? "; another one goes on" : "");
}

/* Returns early once no caller waits for the device (worker_is_given_up()). */
static void wait_ms(const struct session *s, int ms)
{
	for (int64_t end = now_ms() + ms;
	     now_ms() < end && !worker_is_given_up(s);)
		poll(NULL, 0, MIN(ms, 10));
}

static int worker_recover(struct session *s)
{
	int ret = -ECONNRESET;

	for (unsigned int tries = 0;
	     ret == -ECONNRESET ||
	     (wmsg_is_shortage(ret) && ++tries < START_TRIES);) {
		pid_t pid = s->process.pid;
		struct wproc_end end;
		int delay;

		drop_process(s, &end);
		if (worker_is_given_up(s)) {
			ret = use_local(s, false);
			break;
		}
		delay = wproc_backoff_ended(&s->backoff, &end, now_ms());
		if (pid && ret == -ECONNRESET)
			log_end(s, pid, &end, delay >= 0);
		if (delay < 0) {
			log_limited_state(
				&s->limit, &s->tag, LOG_LEVEL_ERROR,
				"%d worker processes crashed within %d s",
				WPROC_CRASHES, WPROC_CRASHES_MS / 1000);
			return stop_guest(s);
		}
		wait_ms(s, delay);
		ret = start_and_replay(s);
	}
	if (ret == 0)
		return 0;
	log_limited_state(&s->limit, &s->tag, LOG_LEVEL_ERROR,
			  "no worker process: %s", strerror(-ret));
	return stop_guest(s);
}

/* Starts a process with a clean history of crashes. */
static int begin_process(struct session *s)
{
	devlink_free(s->link);
	s->link = NULL;
	s->stopped = false;
	s->backoff = (struct wproc_backoff){ 0 };
	return start_and_replay(s);
}

int worker_begin(struct session *s)
{
	bool stopped = s->stopped;
	struct wproc_end end;
	int ret;

	if (!worker_is_wanted(s) || s->process.pid)
		return 0;
	ret = begin_process(s);
	if (ret == 0)
		return 0;
	if (ret == -ECONNRESET)
		return worker_recover(s);
	log_limited(&s->limit, &s->tag, LOG_LEVEL_ERROR,
		    "cannot start a worker process: %s", strerror(-ret));
	drop_process(s, &end);
	use_local(s, stopped);
	return -ENOMEM;
}

/* Counts the mappings that the adopted process already has. */
static void count_maps(struct session *s)
{
	struct call_facts facts = CALL_FACTS_NONE;

	keep_find_maps(s, &facts);
	caller_settle_maps(s, &facts, 0);
}

/* Takes over the process that the daemon before started. False: there is none,
 * it is gone, it was not told the whole record, it does not answer, or it is
 * of another build. */
static bool adopt_process(struct session *s)
{
	const struct devlink_config config = session_link_config(s, on_gone);
	struct devlink_remote_config remote = { .sock = s->left.sock,
						.interrupted = on_interrupted,
						.ctx = s,
						.malformed = &s->malformed };
	struct pollfd dead = { .fd = s->left.worker, .events = POLLIN };
	struct wmsg_hello hello;

	if (s->left.worker < 0 || s->left.sock < 0 ||
	    !persist_ready(s->persist) || poll(&dead, 1, 0) != 0)
		return false;
	wproc_adopt(&s->process, persist_record(s->persist)->owner.worker,
		    s->left.worker);
	s->left.worker = -1;
	atomic_store(&s->shown_pid, s->process.pid);
	if (devlink_remote_adopt(&config, &remote, &hello, &s->link) < 0)
		return false;
	s->left.sock = -1;
	if (strcmp(hello.build, wmsg_build()) != 0) {
		log_limited_state(&s->limit, &s->tag, LOG_LEVEL_INFO,
				  "worker process %d is of another build: "
				  "another one goes on",
				  s->process.pid);
		return false;
	}
	s->repeat_seq = hello.last;
	wproc_backoff_started(&s->backoff, now_ms());
	count_maps(s);
	return true;
}

/* Ends the process that the daemon before started, if there is one. */
static void fence_left(struct session *s)
{
	struct wproc_end end;

	if (s->left.worker >= 0)
		wproc_adopt(&s->process,
			    persist_record(s->persist)->owner.worker,
			    s->left.worker);
	s->left.worker = -1;
	if (s->process.pid)
		drop_process(s, &end);
}

int worker_resume(struct session *s)
{
	bool guest = worker_is_wanted(s) && s->peer.pid && !owner_is_dead(s);
	int ret;

	if (guest && net_resume(s) && adopt_process(s))
		return 0;
	fence_left(s);
	if (!guest)
		return use_local(s, false);
	ret = begin_process(s);
	return ret < 0 ? worker_recover(s) : 0;
}

bool worker_again(struct session *s, int ret)
{
	return ret == -ECONNRESET && worker_recover(s) == 0;
}

bool worker_has_guest(const struct session *s)
{
	return !worker_is_wanted(s) || s->process.pid;
}

void worker_fence(struct session *s)
{
	struct wproc_end end;

	if (s->process.pid)
		drop_process(s, &end);
}

void worker_end(struct session *s)
{
	if (!s->ended && (!s->link || s->stopped))
		use_local(s, false);
}

void worker_close(struct session *s)
{
	struct wproc_end end;

	devlink_free(s->link);
	s->link = NULL;
	if (s->leaving)
		wproc_leave(&s->process);
	else if (s->process.pid)
		fence(s, &end);
	net_leave(s);
}
