/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wproc.c starts worker processes (the program uvhost-worker), and ends them.
 * A process in the broker's eyes (struct wproc):
 *
 *   none     ─ wproc_start()                        ─► running
 *   none     ─ wproc_adopt(), of another broker's   ─► running
 *   running  ─ wproc_fence(): -ETIMEDOUT            ─► stuck
 *   running, stuck ─ wproc_fence(): 0               ─► none
 *   running, stuck ─ wproc_leave()                  ─► none, for this broker
 *
 * A process that dies by itself is "running" until wproc_fence(), which says
 * how it ended.
 *
 * A stuck one has got its SIGKILL and waits in the kernel, in the memory of
 * its guest; its pidfd becomes readable when it is gone. Until then no other
 * process may take over its rings.
 *
 * A worker runs as the user of the process that owns the device, where that is
 * an ordinary user (wproc_user()).
 */
#ifndef WPROC_H
#define WPROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** WPROC_SOCK - the descriptor that a worker has its socket at */
#define WPROC_SOCK 3
/** WPROC_FDS - the first of the other descriptors that it is given; at most
 * WPROC_FDS_MAX */
#define WPROC_FDS (WPROC_SOCK + 1)
#define WPROC_FDS_MAX 66

/** struct wproc_user - user and group that a worker runs as */
struct wproc_user {
	uid_t uid;
	gid_t gid;
};

/**
 * struct wproc - a worker process; all 0: none
 * @pid:   its id, which is not used again before @pidfd is readable; 0: none
 * @pidfd: readable once its last thread is gone
 */
struct wproc {
	pid_t pid;
	int pidfd;
};

/**
 * struct wproc_end - how a worker process ended
 * @known:  false: it still lives, or was not our child, and Linux is older than
 *          6.15
 * @signal: the signal that ended it; 0: none did
 * @status: without @signal: its exit status
 * @malformed: it was ended because it sent a malformed message; the caller sets
 * it
 */
struct wproc_end {
	bool known;
	int signal;
	int status;
	bool malformed;
};

/**
 * wproc_prepare() - find the program and the user for workers
 * @path: the program; NULL: beside the running program (a build folder), in
 *        ../libexec/uvhost of it, or where it was configured to be
 *
 * Before confine_process(). The program is opened, so an upgrade in the
 * meantime does not change what is started. If our stderr is a file, all lines
 * go to its end from now on (O_APPEND). Starts a thread (spawner.h). Return: 0;
 * -ENOENT (logged; wproc_start() will fail); as spawner_start() (logged);
 * -errno.
 */
int wproc_prepare(const char *path);

/** wproc_finish() - no more is started; harmless without wproc_prepare() */
void wproc_finish(void);

/**
 * wproc_user() - which user the worker for an owner runs as
 * @tid: a thread of the owner, which waits for us
 *
 * The owner's user and group, if all four uids and gids of the thread are
 * equal and not root's. Else "uvhost" if there is such a user, else 65534
 * (nobody). Without CAP_SETUID and CAP_SETGID: our own.
 * Return: 0; -ESRCH (no such thread); -errno.
 */
int wproc_user(pid_t tid, struct wproc_user *out);

/** wproc_own_user() - the user of a worker whose owner is root, or that has
 * none */
struct wproc_user wproc_own_user(void);

/**
 * wproc_start() - start a worker process
 * @name: for people, as its first argument: "uvhost-net/3"
 * @fds:  the worker's end of its socket, and what it has from WPROC_FDS on:
 *        @nfds descriptors, which stay the caller's
 *
 * It has no capabilities, no supplementary groups, no environment (but what the
 * log needs, and sanitizers), and these descriptors: /dev/null twice, our
 * stderr (to write at its end, if it is a file or terminal that we may open),
 * @fds. Any thread; waits until the program is executed.
 * Return: 0; -ECONNRESET (the child was killed before that); -ENOENT (no
 * program); -EINVAL (root's user or group, where wproc_user() gives another);
 * -EAGAIN, -ENOMEM, -EMFILE; what the step that failed gave (logged).
 */
int wproc_start(const struct wproc_user *user, const char *name, const int *fds,
		unsigned int nfds, struct wproc *out);

/**
 * wproc_adopt() - take over a worker process that a broker before us started
 * @pidfd: consumed
 */
void wproc_adopt(struct wproc *p, pid_t pid, int pidfd);

/** wproc_leave() - close the pidfd; the process goes on, for another broker */
void wproc_leave(struct wproc *p);

/**
 * wproc_fence() - end the process, and wait until no thread of it is left
 * @timeout_ms: -1: wait without end
 * @end:        set on success
 *
 * After that it writes no more to any memory. Closes the pidfd. Any thread, one
 * at a time.
 * Return: 0, also if there is none. Else it may still run, no other process may
 * use its rings, and this is to be called again: -ETIMEDOUT (it is stuck), or
 * the error of the signal (-EPERM: it may not be killed; it may end by itself).
 */
int wproc_fence(struct wproc *p, int timeout_ms, struct wproc_end *end);

/** wproc_end_is_crash() - did it end by its own fault? Of signals, the ones
 * that faults raise are, and the one of wdog.h: SIGKILL and SIGTERM come from
 * elsewhere */
bool wproc_end_is_crash(const struct wproc_end *end);

/** wproc_end_text() - "killed by SIGSEGV", "exit status 1", "ended", "sent a
 * malformed message" */
void wproc_end_text(const struct wproc_end *end, char *text, size_t size);

/* ---- when to start the next one ---- */

/** So many crashes within so long: no other is started */
#define WPROC_CRASHES 3
#define WPROC_CRASHES_MS 60000
/** A process that lived so long is replaced at once; else the delay doubles */
#define WPROC_LIVED_MS 1000
#define WPROC_DELAY_MIN_MS 10
#define WPROC_DELAY_MAX_MS 1000

/**
 * struct wproc_backoff - of the worker processes of one device, one after the
 * other; all 0 at first
 */
struct wproc_backoff {
	int64_t started_ms;
	int64_t crash_ms[WPROC_CRASHES]; /* the latest, oldest first */
	unsigned int ncrashes;
	unsigned int delay_ms;
};

/** wproc_backoff_started() - one was started at @now_ms (clock.h) */
void wproc_backoff_started(struct wproc_backoff *b, int64_t now_ms);

/**
 * wproc_backoff_ended() - it has ended
 *
 * Return: milliseconds to wait before the next one is started; -1: it crashed
 * too often, the guest stays stopped.
 */
int wproc_backoff_ended(struct wproc_backoff *b, const struct wproc_end *end,
			int64_t now_ms);

#endif
