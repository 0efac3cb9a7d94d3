/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vuproc.c has a vhost-user connection served by a worker process (wvu.h), and
 * watches that process. All of it runs on the loop's thread.
 *
 *   starting ─ the process has replied ─────────────────────────────► serving
 *   adopted  ─ it serves what it should ────────────────────────────► serving
 *   adopted  ─ it serves something else, or is of another build ────► killed
 *   starting, serving ─ vuproc_end() ─► ending: it is told to, then killed
 *   any      ─ it sends what it should not ─► killed
 *   any      ─ its pidfd says that no thread of it is left ─► gone: ended()
 *
 * Only the last one is the end: until then the process may use the port.
 */
#ifndef VUPROC_H
#define VUPROC_H

#include "log.h"
#include "log_limit.h"
#include "loop.h"
#include "watchdog.h"
#include "wmsg.h"

struct vuproc;

/**
 * struct vuproc_config - copied; what it points to outlives the process
 * @start: what it serves; @build and @log_level are set here
 * @keep:  has @sock and @pidfd kept for the next broker, if it can; true: they
 *         are kept, and the connection ends only with the last copy of our end
 *         of the socket (WMSG_SOCK_STORED); NULL: nothing is kept
 * @ended: the process is gone; vuproc_free() is due
 * @hangs: vuproc_end() does not end it: it waits in the kernel; may be NULL
 */
struct vuproc_config {
	struct loop *loop;
	struct watchdog *watchdog;
	const struct log_tag *tag;
	struct log_limit *limit;
	struct wmsg_sock start;
	bool (*keep)(void *ctx, int sock, int pidfd);
	void (*ended)(void *ctx);
	void (*hangs)(void *ctx);
	void *ctx;
};

/**
 * vuproc_new() - start a worker process, and give it a connection
 * @conn: the connection
 * @fds:  @nfds descriptors behind it: of WMSG_SOCK_START
 *
 * All descriptors stay the caller's. Waits until the program is executed, and
 * not until it serves: if it cannot, it logs why and ends.
 * Return: 0; as wproc_start(), wmsg_send().
 */
int vuproc_new(const struct vuproc_config *config, int conn, const int *fds,
	       unsigned int nfds, struct vuproc **out);

/**
 * vuproc_adopt() - go on with the process that an earlier broker has started
 * @config: @start is what the process should serve; another log level and
 *          another limit of mappings are no difference
 * @sock, @pidfd: as @keep got them; consumed on success
 *
 * Asks the process what it serves, without waiting for the answer. Return: 0;
 * -ESRCH (it is gone); -errno.
 */
int vuproc_adopt(const struct vuproc_config *config, int sock, int pidfd,
		 struct vuproc **out);

/** vuproc_end() - close the connection and end the process; ended() follows, or
 * hangs() */
void vuproc_end(struct vuproc *p);

/** vuproc_free() - free @p; a process that has not ended runs on, for the next
 * broker; NULL is harmless */
void vuproc_free(struct vuproc *p);

/** vuproc_print() - have the process print its state to stderr */
void vuproc_print(struct vuproc *p);

#endif
