/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.c sets up what the options name (networks, sockets, devices), runs the
 * main loop until a signal or the end of all devices and sockets, and ends
 * everything within a bounded time. All of it runs on the loop's thread, but
 * for close_all()'s.
 */
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "bytes.h"
#include "chardev.h"
#include "closer.h"
#include "loop.h"
#include "nets.h"
#include "notify.h"
#include "procfile.h"
#include "taker.h"
#include "takeover.h"
#include "vukeep.h"
#include "vusock.h"
#include "watchdog.h"
#include "wproc.h"
#include "worker.h"

/* The device that --takeover is for. */
#define TAKEOVER_DEV "vhost-net"

/* How long sessions may take to end; QEMU's calls take milliseconds. The
 * watchdog reports workers that hang before that. */
#define END_WAIT_MS 3000
_Static_assert(WATCHDOG_HANG_MS < END_WAIT_MS, "the log says which hang");

/* The same for sessions that are left to the next process: a batch takes less,
 * and callers wait meanwhile. */
#define LEAVE_WAIT_MS 500

/* As many regions as the kernel's vhost takes here: VMMs look it up. */
#define MEM_REGIONS_PATH "/sys/module/vhost/parameters/max_mem_regions"
#define MEM_REGIONS_MIN 64

/* A tap has as many queues. */
#define PROCESS_SESSIONS 256
/* A guest of 16 queue pairs with 256 pieces of memory. */
#define PROCESS_MAPS 4096

/* Mappings that a process may have, and the default of that. */
#define MAX_MAPS_PATH "/proc/sys/vm/max_map_count"
#define MAX_MAPS 65530
/* Addresses for guest memory, of the 2^47 bytes that a process has: those of
 * devices, and of sockets if there are any. A quarter is left for all else. */
#define MAP_BYTES (UINT64_C(3) << 45)
#define SOCKS_MAP_BYTES (UINT64_C(1) << 46)
/* A guest of 16 queue pairs with 1 TiB. */
#define PROCESS_MAP_BYTES (UINT64_C(1) << 44)
/* Mappings of libraries, heaps and all else of this process. */
#define OWN_MAPS 4096
/* Of a session or a queue pair beside guest memory: stack, buffers, copies of
 * rings. Six were counted while idle. */
#define SESSION_MAPS 16
/* Of a socket: its regions, the dirty log, the record of chains in flight. */
#define SOCKET_MAPS 528

struct server {
	const struct options *opts;
	struct store *store; /* NULL: none */
	struct loop *loop;
	struct loop_watch signals;
	bool took_over; /* the kernel's node is put aside */
	struct chardev *devs[OPTIONS_MAX_DEVS]; /* NULL: gone */
	struct nets *nets;
	struct attach *dev_attach[OPTIONS_MAX_DEVS];
	struct vusock *socks[OPTIONS_MAX_SOCKS]; /* NULL: gone */
	unsigned int alive; /* of @devs and @socks; ports are always */
	unsigned int ready; /* devices that have come up */
	bool nets_ready;    /* networks have their ports, or cannot */
	bool runs;          /* server_run() has started all */
	bool ending;
	bool left; /* workers that hang were left behind, and may yet post */
	struct watchdog *watchdog;
	struct closer *closers[OPTIONS_MAX_SOCKS];
	int result;
};

static void server_stop(struct server *s, int result)
{
	if (s->result == 0)
		s->result = result;
	loop_stop(s->loop);
}

/* Called when anything of that has changed; all of it changes once. */
static void say_ready(const struct server *s)
{
	int ret;

	if (!s->runs || !s->nets_ready || s->ready < s->opts->ndevs)
		return;
	log_info(NULL, "ready");
	ret = notify_send("READY=1");
	if (ret < 0)
		log_warn(NULL, "NOTIFY_SOCKET: %s", strerror(-ret));
}

static void dev_ready(void *ctx, struct chardev *c, int error)
{
	struct server *s = ctx;

	if (error < 0) {
		server_stop(s, error);
		return;
	}
	log_info(NULL, "/dev/%s is there", chardev_name(c));
	s->ready++;
	say_ready(s);
}

static void nets_started(void *ctx)
{
	struct server *s = ctx;

	s->nets_ready = true;
	say_ready(s);
}

static void dev_ended(void *ctx, struct chardev *c, int error)
{
	struct server *s = ctx;

	for (unsigned int i = 0; i < s->opts->ndevs; i++) {
		if (s->devs[i] == c)
			s->devs[i] = NULL;
	}
	s->left |= !chardev_free(c);
	s->alive--;
	if (s->ending) {
		if (s->alive == 0)
			loop_stop(s->loop);
		return;
	}
	/* If a device does not come up, the daemon ends; later it serves the
	 * others. */
	if (s->alive == 0 || s->ready < s->opts->ndevs)
		server_stop(s, error);
}

static void sock_ended(void *ctx, struct vusock *sock)
{
	struct server *s = ctx;

	for (unsigned int i = 0; i < s->opts->nsocks; i++) {
		if (s->socks[i] == sock)
			s->socks[i] = NULL;
	}
	s->left |= !vusock_free(sock);
	if (--s->alive == 0 && (s->ending || s->opts->nports == 0))
		loop_stop(s->loop);
}

static void signal_event(struct loop_watch *watch, uint32_t events)
{
	struct server *s = container_of(watch, struct server, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGTERM:
	case SIGINT:
		log_info(NULL, "%s from process %u: ending",
			 strsignal((int)info.ssi_signo), info.ssi_pid);
		loop_stop(s->loop);
		break;
	case SIGHUP:
		log_info(NULL, "SIGHUP: there is nothing to read again");
		break;
	case SIGUSR1:
		for (unsigned int i = 0; i < s->opts->ndevs; i++) {
			if (s->devs[i])
				chardev_print(s->devs[i]);
		}
		for (unsigned int i = 0; i < s->opts->nsocks; i++) {
			if (s->socks[i])
				vusock_print(s->socks[i]);
		}
		nets_print(s->nets, stderr);
		break;
	default:
		break;
	}
}

static int signals_open(struct server *s)
{
	sigset_t set;
	int fd, ret;

	/* write(2) reports these as errors. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	s->signals.fn = signal_event;
	ret = loop_add(s->loop, &s->signals, fd, EPOLLIN);
	if (ret < 0)
		close(fd);
	return ret;
}

static unsigned int max_mem_regions(const struct options *opts)
{
	long n = MEM_REGIONS_MIN, host;

	if (opts->max_mem_regions)
		return opts->max_mem_regions;
	if (procfile_number(MEM_REGIONS_PATH, NULL, &host) == 0)
		n = MAX(n, host);
	return MIN(n, OPTIONS_MAX_REGIONS);
}

/* A share of @total: the option @said, or @unsaid without it; at most @total.
 */
static unsigned int share(unsigned int said, unsigned int unsaid,
			  unsigned int total)
{
	return MIN(said ? said : unsaid, total);
}

/* What vm.max_map_count leaves for guest memory of each device, when all
 * sessions and sockets that there may be have what they need. */
static unsigned int device_maps(const struct options *opts)
{
	long host, left;

	if (!opts->ndevs)
		return 0;
	if (procfile_number(MAX_MAPS_PATH, NULL, &host) < 0)
		host = MAX_MAPS;
	left = host - OWN_MAPS -
	       (long)opts->ndevs * opts->max_sessions * SESSION_MAPS;
	for (unsigned int i = 0; i < opts->nsocks; i++)
		left -= SOCKET_MAPS +
			(long)opts->socks[i].queues * SESSION_MAPS;
	if (left <= 0)
		log_warn(NULL,
			 "vm.max_map_count is %ld, too little for "
			 "--max-sessions and all sockets: guest memory is "
			 "copied",
			 host);
	return left > 0 ? (unsigned int)(left / opts->ndevs) : 0;
}

/* Each socket has its share for itself. */
static uint64_t socket_map_bytes(const struct options *opts)
{
	return SOCKS_MAP_BYTES / MAX(opts->nsocks, 1u);
}

static uint64_t device_map_bytes(const struct options *opts)
{
	return (MAP_BYTES - (opts->nsocks ? SOCKS_MAP_BYTES : 0)) /
	       MAX(opts->ndevs, 1u);
}

/* Without options a user gets at most three quarters, which leaves room for
 * others; a process has a session for each queue pair of its guest. */
static struct quota_limits device_limits(const struct options *opts)
{
	const unsigned int total = opts->max_sessions;
	struct quota_limits l = { .total = total };

	l.user = share(opts->max_user_sessions, MAX(total - total / 4, 1u),
		       total);
	l.process = share(opts->max_process_sessions, PROCESS_SESSIONS, l.user);
	l.maps.total = device_maps(opts);
	l.maps.user = share(opts->max_user_mappings,
			    l.maps.total - l.maps.total / 4, l.maps.total);
	l.maps.process =
		share(opts->max_process_mappings, PROCESS_MAPS, l.maps.user);
	l.bytes.total = device_map_bytes(opts);
	l.bytes.user = l.bytes.total - l.bytes.total / 4;
	l.bytes.process = MIN(PROCESS_MAP_BYTES, l.bytes.user);
	return l;
}

/* Each open file of a guest is a queue pair. */
static int dev_attach(struct server *s, unsigned int i)
{
	const struct option_dev *dev = &s->opts->devs[i];
	struct attach_config config = { .queues = ATTACH_PAIRS_MAX,
					.numbered = true };
	char error[256];
	int ret;

	snprintf(config.swport.name, sizeof(config.swport.name), "%.*s",
		 NETWORK_NAME_MAX, dev->name);
	ret = nets_attach(s->nets, &dev->end, &config, &s->dev_attach[i], error,
			  sizeof(error));
	if (ret < 0)
		log_err(NULL, "%s", error);
	return ret;
}

/* The store for device @i; NULL: it is not kept. With --takeover the device
 * that has the kernel's name is not kept: the name has to be free after the
 * daemon has ended, also if it was killed. */
static struct store *dev_store(const struct server *s, unsigned int i)
{
	if (s->opts->takeover &&
	    strcmp(s->opts->devs[i].name, TAKEOVER_DEV) == 0)
		return NULL;
	return s->store;
}

static int workers_prepare(struct server *s)
{
	for (unsigned int i = 0; i < s->opts->ndevs; i++)
		if (option_dev_has_worker(&s->opts->devs[i]))
			return wproc_prepare(NULL);
	for (unsigned int i = 0; i < s->opts->nsocks; i++)
		if (s->opts->socks[i].worker_process == CHOICE_YES)
			return wproc_prepare(NULL);
	for (unsigned int i = 0; i < s->opts->nnets; i++)
		if (s->opts->nets[i].worker_process)
			return wproc_prepare(NULL);
	return 0;
}

static int devs_open(struct server *s)
{
	const struct options *opts = s->opts;
	const struct quota_limits limits = device_limits(opts);

	for (unsigned int i = 0; i < opts->ndevs; i++) {
		const struct option_dev *dev = &opts->devs[i];
		int ret = dev_attach(s, i);
		const struct chardev_config config = {
			.name = dev->name,
			.fd = dev->fd,
			.dev_major = opts->dev_major,
			.dev_minor = opts->dev_minor + i,
			.quota = limits,
			.store = dev_store(s, i),
			.session = {
				.attach = s->dev_attach[i],
				.workers = option_dev_has_worker(dev),
				.net = dev->end.net[0],
				.busy_poll_us = opts->busy_poll_us,
				.max_mem_regions = max_mem_regions(opts),
				.features = dev->features,
				.loop = s->loop,
				.watchdog = s->watchdog,
			},
			.ready = dev_ready,
			.ended = dev_ended,
			.ctx = s,
		};

		if (ret == 0)
			ret = chardev_new(&config, &s->devs[i]);
		if (ret < 0)
			return ret;
		s->alive++;
	}
	return 0;
}

static int socks_open(struct server *s)
{
	const struct options *opts = s->opts;

	for (unsigned int i = 0; i < opts->nsocks; i++) {
		const struct vusock_config config = {
			.opt = &opts->socks[i],
			.nets = s->nets,
			.store = s->store,
			.busy_poll_us = opts->busy_poll_us,
			.loop = s->loop,
			.watchdog = s->watchdog,
			.closer = s->closers[i],
			.map_bytes = socket_map_bytes(opts),
			.ended = sock_ended,
			.ctx = s,
		};
		int ret = vusock_new(&config, &s->socks[i]);

		if (ret < 0)
			return ret;
		s->alive++;
	}
	return 0;
}

/* One for each socket, so that closing a descriptor of one peer does not delay
 * the others. */
static int closers_new(struct server *s)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < s->opts->nsocks; i++)
		ret = closer_new(s->loop, s->watchdog, &s->closers[i]);
	return ret;
}

static int closers_start(struct server *s)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < s->opts->nsocks; i++)
		ret = closer_start(s->closers[i]);
	return ret;
}

int server_new(const struct options *opts, struct store *store,
	       struct server **out)
{
	struct server *s;
	int ret;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->opts = opts;
	s->store = store;
	s->signals.fd = -1;
	ret = worker_interrupts_enable(); /* before there are workers */
	if (ret == 0)
		ret = loop_new(&s->loop);
	if (ret == 0)
		ret = watchdog_new(s->loop, &s->watchdog);
	if (ret == 0)
		ret = closers_new(s);
	if (ret < 0)
		goto err;
	ret = signals_open(s);
	if (ret < 0)
		goto err;
	ret = workers_prepare(s);
	if (ret < 0)
		goto err;
	if (opts->takeover) {
		ret = takeover_begin();
		if (ret < 0)
			goto err;
		s->took_over = true;
	}
	ret = nets_new(opts, s->loop, s->store, &s->nets);
	if (ret < 0)
		goto err;
	vukeep_drop_others(s->store, opts);
	ret = socks_open(s);
	if (ret < 0)
		goto err;
	ret = devs_open(s);
	if (ret < 0)
		goto err;
	*out = s;
	return 0;

err:
	/* Left as it is where a thread that hangs may yet use it: the process
	 * is about to exit. */
	server_free(s);
	return ret; // NOLINT(clang-analyzer-unix.Malloc)
}

int server_run(struct server *s)
{
	int ret = nets_start(s->nets, nets_started, s);

	if (ret == 0)
		ret = closers_start(s);
	if (ret < 0) {
		s->result = ret;
		return ret;
	}
	s->runs = true;
	say_ready(s);
	ret = loop_run(s->loop, -1);

	return ret < 0 ? ret : s->result;
}

static void devs_close(struct server *s)
{
	s->ending = true;
	for (unsigned int i = 0; i < s->opts->ndevs; i++) {
		if (s->devs[i] && dev_store(s, i))
			chardev_leave(s->devs[i]);
		else if (s->devs[i])
			chardev_end(s->devs[i]);
	}
	for (unsigned int i = 0; i < s->opts->nsocks; i++) {
		if (s->socks[i])
			vusock_end(s->socks[i]);
	}
	/* The last one to end stops the loop. */
	if (s->alive)
		loop_run(s->loop, s->store && !s->took_over ? LEAVE_WAIT_MS
							    : END_WAIT_MS);
	for (unsigned int i = 0; i < s->opts->ndevs; i++) {
		if (s->devs[i])
			s->left |= !chardev_free(s->devs[i]);
	}
	for (unsigned int i = 0; i < s->opts->nsocks; i++) {
		if (s->socks[i])
			s->left |= !vusock_free(s->socks[i]);
	}
}

static void *run_close_all(void *unused)
{
	(void)unused;
	close_range(STDERR_FILENO + 1, ~0u, 0);
	return NULL;
}

/* On a thread, since one of them may wait (a socket that lingers); exit(2) does
 * not. */
static void close_all(void)
{
	struct timespec until;
	pthread_t thread;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (pthread_create(&thread, NULL, run_close_all, NULL) == 0)
		pthread_timedjoin_np(thread, NULL, &until);
}

void server_free(struct server *s)
{
	if (s->loop) {
		notify_send("STOPPING=1");
		devs_close(s);
	}
	if (s->took_over)
		takeover_end();
	if (s->signals.fd >= 0)
		close(s->signals.fd);
	for (unsigned int i = 0; i < s->opts->nsocks; i++)
		s->left |= !closer_free(s->closers[i]);
	/* As if it were killed: a thread that is busy with a session must not
	 * find its descriptors closed, and change what the next process gets.
	 */
	if (s->left && s->store && !s->took_over)
		_exit(s->result < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	if (s->left) {
		/* A thread that the kernel does not let go outlives exit(2),
		 * and with it the table of descriptors: taps, channels and
		 * sockets would be busy for the next instance. */
		close_all();
		return;
	}
	taker_finish();
	wproc_finish();
	for (unsigned int i = 0; i < s->opts->ndevs; i++)
		attach_free(s->dev_attach[i]);
	nets_free(s->nets);
	watchdog_free(s->watchdog);
	loop_free(s->loop);
	free(s);
}
