/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wmain.c is the program uvhost-worker: it runs the device of one open file for
 * uvhostd, in a process of its own (wproc.h). If the first message says so, it
 * serves a vhost-user connection (wvu.c) or has a network (wnet.c) instead.
 *
 *   broker ── socket 3 ── wserve.c ── devsession.c ── rings, port, guest memory
 *
 * Order of the start:
 *   1. no other process of the same user may attach (PR_SET_DUMPABLE)
 *   2. START is received: what the device is, and the memory that outlives us
 *   3. all that has to be opened is opened, and the device's thread started
 *   4. the device's thread is watched (wdog.h), and the filter for system calls
 *      installed, for both threads
 *   5. the device is made, START is answered, calls are served
 * No byte of a guest is read before 5.
 *
 *   thread      owns
 *   main        waits for the end
 *   the device  socket, device session
 *
 * The process ends when the broker closes its socket, or sends what is not
 * understood.
 *
 * Exit status: 0 the broker is gone, or wants another build; 1 failure; 2
 * started by hand.
 */
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "aspace.h"
#include "attach.h"
#include "devmem.h"
#include "devsession.h"
#include "fd.h"
#include "log.h"
#include "log_limit.h"
#include "netport.h"
#include "vdev.h"
#include "wdog.h"
#include "wfilter.h"
#include "wmsg.h"
#include "wnet.h"
#include "worker.h"
#include "wproc.h"
#include "wserve.h"
#include "wvu.h"

enum {
	EXIT_BY_HAND = 2,
};

/**
 * struct wmain - the program
 * @server: used by the device's thread alone
 * @error:  result of what ran on the device's thread; then why the serving
 *          ended
 * @ended:  posted at the end
 */
struct wmain {
	struct wserve_start start;
	struct log_tag tag;
	struct log_limit limit;
	struct framering *ring;
	struct attach *attach;
	struct devmem *mem;
	struct worker *worker;
	struct devsession_config device;
	struct wserve *server;
	int error;
	sem_t ended;
};

/* ---- before the filter ---- */

/* A leak report traces the process, for which it has to be dumpable. */
static int keep_others_out(void)
{
#ifndef UVHOST_SANITIZED
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
#endif
	return 0;
}

static int read_start(struct wmain *m)
{
	const struct wmsg_start *s = &m->start.start;
	int ret = wserve_await_start(WPROC_SOCK, WPROC_FDS, &m->start);

	if (ret < 0)
		return ret;
	log_tag_init(&m->tag, "%s", s->tag);
	log_set_level((enum log_level)s->log_level);
	return strcmp(s->build, wmsg_build()) == 0 ? 0 : -ESTALE;
}

/* The broker's signal has to interrupt a system call of the device's thread,
 * so the main thread blocks it. */
static int take_interrupts(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, WORKER_SIGNAL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return worker_interrupts_enable();
}

/* Adopts the frame ring to the network, if START brought one. */
static int open_ring(struct wmain *m)
{
	int ret;

	if (m->start.ring[0] < 0)
		return 0;
	ret = framering_adopt(m->start.ring, &m->ring);
	if (ret == 0)
		m->start.ring[0] = -1;
	return ret;
}

static int open_attach(struct wmain *m)
{
	struct attach_config config = { .queues = 1 };
	char error[128];
	int ret = open_ring(m);

	if (ret < 0)
		return ret;
	config.ring = m->ring;
	return attach_new(&config, &m->attach, error, sizeof(error));
}

/* All that needs system calls which the filter refuses. */
static int open_all(struct wmain *m)
{
	int ret;

	ret = netport_open_devices();
	if (ret == 0)
		ret = open_attach(m);
	if (ret == 0 && m->start.mem_fd >= 0) {
		ret = devmem_adopt(m->start.mem_fd, vdev_cursor_size(),
				   &m->mem);
		if (ret == 0)
			m->start.mem_fd = -1;
	}
	if (ret == 0)
		ret = worker_new(m->tag.name, m->start.start.busy_poll_us,
				 &m->worker);
	return ret;
}

static void guard_thread(void *arg)
{
	struct wmain *m = arg;
	unsigned int stall_ms = m->start.start.stall_ms;

	m->error = stall_ms ? wdog_start(m->worker, stall_ms) : 0;
	if (m->error == 0)
		m->error = wfilter_install();
}

/* Needed whatever the process serves. */
static int prepare_process(void)
{
	int ret = keep_others_out();

	prctl(PR_SET_NAME, "uvhost-worker");
	/* write(2) reports these as errors. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (ret == 0)
		ret = take_interrupts();
	aspace_guard_install();
	return ret;
}

static int prepare(struct wmain *m)
{
	int ret;

	log_limit_init(&m->limit, LOG_LINES_SESSION, &log_limit_all);
	ret = open_all(m);
	if (ret < 0)
		return ret;
	/* On the device's thread, whose own start is over by then. */
	worker_call(m->worker, guard_thread, m);
	return m->error;
}

/* ---- serving; the device's thread ---- */

static void serving_ended(void *ctx, int error)
{
	struct wmain *m = ctx;

	m->error = error;
	sem_post(&m->ended);
}

static void begin(void *arg)
{
	struct wmain *m = arg;
	const struct wserve_config config = {
		.sock = WPROC_SOCK,
		.seq = m->start.seq,
		.device = &m->device,
		.ended = serving_ended,
		.ctx = m,
	};

	m->error = wserve_new(&config, &m->server);
}

static void finish(void *arg)
{
	struct wmain *m = arg;

	wserve_free(m->server);
}

/* ---- main thread ---- */

static int serve_broker(struct wmain *m)
{
	const struct wmsg_start *s = &m->start.start;

	m->device = (struct devsession_config){
		.worker = m->worker,
		.tag = m->tag,
		.limit = &m->limit,
		.attach = m->attach,
		.features = s->features,
		.max_mem_regions = s->max_mem_regions,
		.mem = m->mem,
	};
	sem_init(&m->ended, 0, 0);
	worker_call(m->worker, begin, m);
	if (!m->server)
		return m->error;
	while (sem_wait(&m->ended) < 0)
		continue; /* a signal */
	worker_call(m->worker, finish, m);
	return m->error;
}

static void release_all(struct wmain *m)
{
	if (m->worker) {
		worker_finish(m->worker);
		worker_join(m->worker);
	}
	devmem_free(m->mem);
	attach_free(m->attach);
	framering_free(m->ring);
	fd_drop(&m->start.mem_fd);
}

/* Return: what to exit with. */
static int run(void)
{
	static struct wmain m = { .start.mem_fd = -1,
				  .start.ring = { -1, -1, -1, -1, -1 },
				  .tag.name = "uvhost-worker" };
	int ret = prepare_process();

	if (ret == 0 && wvu_is_asked(WPROC_SOCK)) {
		ret = wvu_run(WPROC_SOCK);
		return ret == 0 || ret == -ESTALE ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	if (ret == 0 && wnet_is_asked(WPROC_SOCK)) {
		ret = wnet_run(WPROC_SOCK);
		return ret == 0 || ret == -ESTALE ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	if (ret == 0)
		ret = read_start(&m);
	if (ret == -ECONNRESET)
		return EXIT_SUCCESS;
	if (ret == 0)
		ret = prepare(&m);
	if (ret == 0) {
		ret = serve_broker(&m);
	} else {
		log_err(&m.tag, "the worker process cannot start: %s",
			strerror(-ret));
		wserve_refuse(WPROC_SOCK, &m.start, ret);
	}
	release_all(&m);
	return ret == -ECONNRESET || ret == -ESTALE ? EXIT_SUCCESS
						    : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("uvhost-worker %s\n", UVHOST_VERSION);
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	if (!wmsg_is_unix(WPROC_SOCK, SOCK_SEQPACKET)) {
		fputs("uvhost-worker: this program is started by uvhostd, one "
		      "for each process that owns a device.\n"
		      "It does nothing by itself. See uvhost-worker(8).\n",
		      stderr);
		return EXIT_BY_HAND;
	}
	return run();
}
