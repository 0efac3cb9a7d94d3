/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hijack ways|channel|successor|descriptors|killed - a guest that has taken
 * over its worker process (hijack.h), beside ten guests of the same user, each
 * a process with its own rings, frames and calls. They may not notice: none of
 * their calls fails, none of their frames is lost. All are judged by what they
 * complete, not by time, which is printed.
 *
 *   ways         has the worker process try every way out; what came of it is
 *                in the log
 *   channel      attacks the daemon through the channel, one guest an attack
 *   successor    spoils the memory that outlives the worker process; then the
 *                daemon is killed, and the next one finds it
 *   descriptors  passes descriptors whose close waits, while a guest starts
 *   killed       passes them, while the daemon is killed
 *
 * $UVHOST_DEV: the device. $UVHOST_DAEMON: process id of uvhostd; successor,
 * killed: of uvhost-keeper.
 * $UVHOST_LOG: its log. $UVHOST_MEMORY: "private" (default) or "memfd", of the
 * hijacked guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "deaf_file.h"
#include "die.h"
#include "flow.h"
#include "hijack.h"
#include "vmm.h"
#include "vmm_net.h"
#include "wprocs.h"

#define OTHERS 10
#define ALICE 12345 /* the user of all guests */
#define STALL_MS 60000
#define ORDER_ETHERTYPE 0x88b6
#define SAMPLES 16384
#define LINGER_S 3
#define DEAF_S 120 /* the file system lives no longer, whatever happens */

static const char *device = "/dev/uvhost-net";
static pid_t broker;

/**
 * struct seen - of one of the other guests, written by it
 * @pid:    its process
 * @rounds: of frames and calls that it has completed
 * @us:     what its calls took; SAMPLES of them, then from the start again
 */
struct seen {
	pid_t pid;
	uint64_t rounds;
	uint64_t calls;
	uint32_t us[SAMPLES];
};

/* What all processes have. */
static struct {
	struct seen other[OTHERS];
	bool stop;           /* the other guests */
	bool ready;          /* the hijacked guest has frames both ways */
	bool ordered;        /* may give its order */
	bool finished;       /* has done all it does */
	bool leave;          /* may end */
	bool begin;          /* of descriptors(): a guest may start */
	bool replaced;       /* its worker process was */
	unsigned int passed; /* by all guests of descriptors() */
} *shared;

/* In each VMM, outside of guest memory, at the same address. */
static uint64_t secret = 0x5ec2e70000000000;

static bool get(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

/* ---- one guest ---- */

struct guest {
	struct vmm *v;
	struct flow f;
	int tap;
};

/* As root; then it is a process of the user, as a VMM that the user started. */
static void guest_open(struct guest *g, enum vmm_mem_kind kind, bool lossy)
{
	const struct vmm_tap_config tap = { .hdr_len = 12 };
	const struct vmm_config config = {
		.path = device,
		.mem_kind = kind,
		.mem_size = UINT64_C(4) << 20,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC),
	};
	char ifname[IFNAMSIZ];
	int far;

	g->tap = must(vmm_tap_open(&tap, ifname), "tap");
	far = must(vmm_packet_open(ifname, VMM_ETHERTYPE, false), "far side");
	if (setgid(ALICE) < 0 || setuid(ALICE) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1) < 0)
		die(-errno, "setuid");
	must(vmm_new(&config, &g->v), device);
	must(flow_init(&g->f, g->v, 2048), "flow");
	g->f.lossy = lossy;
	flow_add_port(&g->f, far);
	must(vmm_start(g->v, g->tap), "start");
}

static void guest_free(struct guest *g)
{
	vmm_free(g->v);
	flow_free(&g->f);
	close(g->tap);
}

/* ---- the others ---- */

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int one_call(struct guest *g, unsigned int n)
{
	unsigned int qi = n / 4 % 2;
	uint64_t features;

	switch (n % 4) {
	case 0:
		return vmm_set_vring_call(g->v->fd, qi, g->v->q[qi].call);
	case 1:
		return vmm_get_features(g->v->fd, &features);
	case 2:
		return vmm_set_mem_table(g->v->fd, &g->v->mem);
	default:
		return vmm_set_vring_err(g->v->fd, qi, g->v->q[qi].err);
	}
}

static void time_call(struct guest *g, struct seen *seen)
{
	unsigned int n = (unsigned int)seen->calls;
	int64_t start = now_us();

	must(one_call(g, n), "a call of another guest");
	seen->us[n % SAMPLES] = (uint32_t)(now_us() - start);
	__atomic_fetch_add(&seen->calls, 1, __ATOMIC_RELEASE);
}

static _Noreturn void run_other(unsigned int i)
{
	struct seen *seen = &shared->other[i];
	struct guest g = { 0 };
	int ret = 0;

	secret += i + 1;
	guest_open(&g, i % 2 ? VMM_MEM_MEMFD : VMM_MEM_PRIVATE, false);
	while (ret == 0 && !get(&shared->stop)) {
		ret = flow_run(&g.f, 20, STALL_MS);
		for (unsigned int n = 0; n < 4; n++)
			time_call(&g, seen);
		__atomic_fetch_add(&seen->rounds, 1, __ATOMIC_RELEASE);
		poll(NULL, 0, 20);
	}
	if (ret == 0)
		ret = flow_drain(&g.f, 1, STALL_MS);
	if (ret < 0)
		die(ret, "another guest: %s", g.f.error);
	guest_free(&g);
	exit(0);
}

static uint64_t rounds_of(unsigned int i)
{
	return __atomic_load_n(&shared->other[i].rounds, __ATOMIC_ACQUIRE);
}

static void check_others_live(void)
{
	for (unsigned int i = 0; i < OTHERS; i++)
		if (waitpid(shared->other[i].pid, NULL, WNOHANG) != 0)
			die(0, "guest %u has ended", i);
}

/* Until each has completed @n more rounds. */
static void wait_for_others(unsigned int n)
{
	int64_t end = vmm_now_ms() + STALL_MS;
	uint64_t want[OTHERS];

	for (unsigned int i = 0; i < OTHERS; i++)
		want[i] = rounds_of(i) + n;
	for (unsigned int i = 0; i < OTHERS;) {
		if (rounds_of(i) >= want[i]) {
			i++;
			continue;
		}
		check_others_live();
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "guest %u stands still", i);
		poll(NULL, 0, 2);
	}
}

static void start_others(void)
{
	for (unsigned int i = 0; i < OTHERS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			run_other(i);
		shared->other[i].pid = pid;
	}
	wait_for_others(1);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Of the calls since the last time. */
static void print_times(const char *when)
{
	static uint64_t printed[OTHERS];
	static uint32_t all[OTHERS * SAMPLES];
	uint64_t calls = 0;
	size_t n = 0;

	for (unsigned int i = 0; i < OTHERS; i++) {
		const struct seen *s = &shared->other[i];
		uint64_t now = __atomic_load_n(&s->calls, __ATOMIC_ACQUIRE);

		calls += now - printed[i];
		if (now - printed[i] > SAMPLES)
			printed[i] = now - SAMPLES;
		for (; printed[i] < now; printed[i]++)
			all[n++] = s->us[printed[i] % SAMPLES];
	}
	qsort(all, n, sizeof(all[0]), by_number);
	printf("%s: %u other guests, %llu calls, p50 %u us, p99 %u us, "
	       "longest %u us\n",
	       when, OTHERS, (unsigned long long)calls, n ? all[n / 2] : 0,
	       n ? all[n * 99 / 100] : 0, n ? all[n - 1] : 0);
}

static void stop_others(void)
{
	set(&shared->stop, true);
	for (unsigned int i = 0; i < OTHERS; i++) {
		int status;

		if (waitpid(shared->other[i].pid, &status, 0) < 0 || status)
			die(0, "guest %u: status %#x", i, status);
	}
	print_times("to the end");
}

/* ---- what can be seen of the worker processes ---- */

struct workers {
	unsigned int n;
	unsigned long lowest, highest;
	pid_t first, last; /* of these sessions */
};

static void note_worker(struct workers *w, pid_t pid)
{
	unsigned long session = wprocs_session(pid);

	if (!session)
		return;
	if (!w->n || session < w->lowest) {
		w->lowest = session;
		w->first = pid;
	}
	if (!w->n || session > w->highest) {
		w->highest = session;
		w->last = pid;
	}
	w->n++;
}

/* Those of uvhostd. */
static struct workers find_workers(void)
{
	struct workers w = { 0 };
	char pattern[64];
	glob_t tasks;
	int pid;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/children", broker);
	if (glob(pattern, 0, NULL, &tasks) != 0)
		die(0, "uvhostd is gone");
	for (size_t i = 0; i < tasks.gl_pathc; i++) {
		FILE *f = fopen(tasks.gl_pathv[i], "re");

		while (f && fscanf(f, "%d", &pid) == 1) // NOLINT
			note_worker(&w, pid);
		if (f)
			fclose(f);
	}
	globfree(&tasks);
	return w;
}

static void wait_for_workers(unsigned int n)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (find_workers().n != n) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "%u worker processes, not %u",
			    find_workers().n, n);
		poll(NULL, 0, 10);
	}
}

/* Lines of the log that have @text. */
static unsigned int log_count(const char *text)
{
	const char *path = getenv("UVHOST_LOG");
	FILE *f = path ? fopen(path, "re") : NULL;
	char *line = NULL;
	unsigned int n = 0;
	size_t size = 0;

	if (!f)
		die(-ENOENT, "UVHOST_LOG");
	while (getline(&line, &size, f) > 0)
		n += strstr(line, text) != NULL;
	free(line);
	fclose(f);
	return n;
}

static void wait_for_log(const char *text, unsigned int n)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (log_count(text) < n) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "the log does not say: %s", text);
		poll(NULL, 0, 20);
	}
}

/* ---- the hijacked guest ---- */

static enum vmm_mem_kind memory_kind(void)
{
	const char *name = getenv("UVHOST_MEMORY");

	return name && strcmp(name, "memfd") == 0 ? VMM_MEM_MEMFD
						  : VMM_MEM_PRIVATE;
}

static void wait_for_flag(const bool *flag)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (!get(flag)) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "waiting");
		poll(NULL, 0, 2);
	}
}

/* In a buffer of the flow's, which has it back once the frame was sent. */
static void send_order(struct guest *g, const struct hijack_order *order)
{
	struct flow *f = &g->f;
	uint64_t gpa = f->tx_free[--f->tx_nfree];
	uint8_t *p = vmm_mem_ptr(&g->v->mem, gpa);
	uint8_t *frame = p + g->v->hdr_len;
	uint16_t type = htons(ORDER_ETHERTYPE);
	struct vmm_seg seg = { .addr = gpa };

	memset(p, 0, g->v->hdr_len);
	memset(frame, 0xff, 12);
	memcpy(frame + 12, &type, sizeof(type));
	memcpy(frame + VMM_ETH_HLEN, order, sizeof(*order));
	seg.len = g->v->hdr_len + VMM_ETH_HLEN + (uint32_t)sizeof(*order);
	if (vmm_ring_add(&g->v->q[VMM_TX].ring, &seg, 1,
			 (void *)(uintptr_t)gpa) < 0)
		die(-ENOSPC, "order");
	vmm_ring_publish(&g->v->q[VMM_TX].ring);
	vmm_kick(g->v, VMM_TX);
}

/* Frames go on, which may have been lost meanwhile. */
static void go_on(struct guest *g)
{
	int64_t end = vmm_now_ms() + STALL_MS;
	uint64_t want = g->f.moved + 100;

	while (g->f.moved < want) {
		int ret = flow_step(&g->f, true);

		if (ret < 0)
			die(ret, "the hijacked guest: %s", g->f.error);
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "the hijacked guest does not go on");
		if (ret == 0)
			flow_wait(&g->f, 1);
	}
}

/* The order whenever the one before has come back, until the rings stand still.
 */
static void give_again(struct guest *g, const struct hijack_order *order)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (log_count("worker processes crashed within") == 0) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "the guest is not stopped");
		must(flow_step(&g->f, false), "frames");
		if (g->f.tx_nfree == FLOW_WINDOW)
			send_order(g, order);
		flow_wait(&g->f, 1);
	}
}

/* Frames until no TX chain is left: the order is the next one. */
static void run_empty(struct guest *g)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	must(flow_run(&g->f, 50, STALL_MS), "first frames");
	while (g->f.tx_nfree < FLOW_WINDOW) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "the last frames are not sent");
		must(flow_step(&g->f, false), "frames");
		flow_wait(&g->f, 1);
	}
}

/** struct attack - @calls: a call follows the order; @stays: it never returns;
 * @crash: another worker process has to go on; @either: it may; @again: each
 * worker process gets the order; @stops: no other goes on */
struct attack {
	const char *action;
	bool calls, stays, crash, either, again, stops;
};

static _Noreturn void run_hijacked(const struct attack *a, pid_t other_worker)
{
	const char *stopped = "the guest stays stopped";
	unsigned int before = log_count(stopped);
	struct hijack_order order = {
		.magic = "",
		.broker = broker,
		.other = shared->other[0].pid,
		.other_worker = other_worker,
		.secret_uva = (uintptr_t)&secret,
		.secret = secret,
		.other_secret = secret + 1,
	};
	struct guest g = { 0 };

	memcpy(order.magic, HIJACK_MAGIC, HIJACK_MAGIC_LEN);
	snprintf(order.action, sizeof(order.action), "%s", a->action);
	guest_open(&g, memory_kind(), true);
	run_empty(&g);
	set(&shared->ready, true);
	wait_for_flag(&shared->ordered);
	send_order(&g, &order);
	if (a->calls) {
		/* The frame is taken first: the call comes after the order. */
		if (vmm_wait_used(g.v, VMM_TX, 1, STALL_MS) < 0)
			die(-ETIMEDOUT, "the order");
		must(one_call(&g, 0), "a call of the hijacked guest");
	}
	if (a->again)
		give_again(&g, &order);
	if (a->stops)
		wait_for_log(stopped, before + 1);
	else
		go_on(&g);
	must(one_call(&g, 1), "a call after the attack");
	set(&shared->finished, true);
	wait_for_flag(&shared->leave);
	guest_free(&g);
	exit(0);
}

static void reset_flags(void)
{
	shared->ready = shared->ordered = shared->finished = shared->leave =
		false;
}

static void wait_for_hijacked(pid_t pid, const bool *flag, const char *action)
{
	int64_t end = vmm_now_ms() + 2 * STALL_MS;
	int status;

	while (!get(flag)) {
		if (waitpid(pid, &status, WNOHANG) != 0)
			die(0, "%s: the hijacked guest has ended", action);
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "%s", action);
		poll(NULL, 0, 2);
	}
}

static void end_hijacked(pid_t pid, const struct attack *a)
{
	int status;

	set(&shared->leave, true);
	if (a->stays)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || (!a->stays && status))
		die(0, "%s: the hijacked guest: status %#x", a->action, status);
	wait_for_workers(OTHERS);
	wait_for_others(1);
}

static void attack(const struct attack *a)
{
	struct workers before = find_workers(), with, after;
	char ordered[64];
	bool crashed;
	pid_t pid;

	reset_flags();
	snprintf(ordered, sizeof(ordered), "hijack: order: %s\n", a->action);
	pid = fork();
	if (pid == 0)
		run_hijacked(a, before.first);
	wait_for_hijacked(pid, &shared->ready, a->action);
	with = find_workers();
	set(&shared->ordered, true);
	wait_for_log(ordered, 1);
	if (!a->stays)
		wait_for_hijacked(pid, &shared->finished, a->action);
	wait_for_others(2);
	after = find_workers();
	crashed = after.last != with.last;
	if (!a->stays && !a->either && a->crash != crashed)
		die(0, "%s: the worker process %s", a->action,
		    a->crash ? "goes on" : "was ended");
	end_hijacked(pid, a);
	printf("%s: %s\n", a->action,
	       a->stops   ? "the guest stays stopped"
	       : a->stays ? "the guest waits"
	       : crashed  ? "another worker process goes on"
			  : "nothing happens");
	fflush(stdout);
}

/* ---- the modes ---- */

static void ways(void)
{
	const struct attack a = { .action = "ways" };

	attack(&a);
}

static void channel(void)
{
	static const char *const ended[] = {
		"magic",    "version", "type 0",       "type",
		"call",     "length",  "giant length", "body",
		"too long", "flags",   "memfd",        "count",
		"range",    "short",   "giant count",  "early reply",
		"empty",    "events",  "late replies", "unread answers",
		"close",    "fault",   "exit",
	};
	static const char *const replies[] = {
		"reply number", "reply type",  "reply cut",   "reply positive",
		"reply errno",  "reply fetch", "reply store", "reply bytes",
	};
	/* Before Linux 6.16 the daemon gets the descriptors. */
	static const struct attack others[] = {
		{ "questions", .calls = false },
		{ "log lines", .calls = false },
		{ "a descriptor", .either = true },
		{ "descriptors", .either = true },
		{ "reply never", .calls = true, .stays = true },
		{ "spoiled memory", .crash = true, .stops = true },
		{ "magic", .crash = true, .again = true, .stops = true },
	};
	struct attack a = { .crash = true };

	for (size_t i = 0; i < sizeof(ended) / sizeof(ended[0]); i++) {
		a.action = ended[i];
		attack(&a);
	}
	a.calls = true;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		a.action = replies[i];
		attack(&a);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		attack(&others[i]);
}

/* ---- the next daemon ---- */

/* The keeper's child; 0: there is none at the moment. */
static pid_t daemon_of(pid_t keeper)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", keeper,
		 keeper);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &pid) != 1) // NOLINT(cert-err34-c)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

static void kill_daemon(pid_t keeper)
{
	int64_t end = vmm_now_ms() + STALL_MS;
	pid_t old = daemon_of(keeper), now;

	if (!old || kill(old, SIGKILL) < 0)
		die(-errno, "there is no daemon");
	while ((now = daemon_of(keeper)) == 0 || now == old) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "there is no other daemon");
		poll(NULL, 0, 10);
	}
}

static void spoil(const char *action)
{
	const struct attack a = { .action = action, .stays = true };
	char done[64];
	pid_t pid;

	reset_flags();
	snprintf(done, sizeof(done), "hijack: done: %s\n", action);
	pid = fork();
	if (pid == 0)
		run_hijacked(&a, 0);
	wait_for_hijacked(pid, &shared->ready, action);
	set(&shared->ordered, true);
	wait_for_log(done, 1);
	for (unsigned int i = 0; i < 2; i++) {
		kill_daemon(broker);
		wait_for_others(3);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_for_others(3);
	printf("%s: the next daemon goes on\n", action);
}

static void successor(void)
{
	spoil("spoil all");
	spoil("spoil rest");
}

/* ---- descriptors whose close waits ---- */

/** enum passed - what is passed with a descriptor that is not what it should be
 */
enum passed { KICK, CALL, ERR, BACKEND, LOG_FD, DEVICE, LINGER, PASSED };

static int pass(struct guest *g, enum passed what, int fd)
{
	switch (what) {
	case CALL:
		return vmm_set_vring_call(g->v->fd, VMM_TX, fd);
	case ERR:
		return vmm_set_vring_err(g->v->fd, VMM_TX, fd);
	case BACKEND:
	case LINGER:
		return vmm_set_backend(g->v->fd, VMM_TX, fd);
	case LOG_FD:
		return vmm_set_log_fd(g->v->fd, fd);
	default:
		return vmm_set_vring_kick(g->v->fd, VMM_TX, fd);
	}
}

/* A connection whose last close waits until the peer has taken it all, or for
 * LINGER_S. */
static int lingering_socket(int *listener)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = LINGER_S };
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	static char bytes[65536];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listener < 0 || fd < 0 ||
	    bind(*listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(*listener, 1) < 0 ||
	    getsockname(*listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
		die(-errno, "a socket that lingers");
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		continue;
	return fd;
}

/* All copies but those of the daemon are closed in the middle of the call. */
static void *close_soon(void *arg)
{
	const int *fd = arg;

	usleep((useconds_t)(now_us() % 3000));
	close(*fd);
	return NULL;
}

static _Noreturn void linger_again_and_again(struct guest *g)
{
	for (;;) {
		int listener, fd = lingering_socket(&listener);
		pthread_t closer;

		if (pthread_create(&closer, NULL, close_soon, &fd) != 0)
			die(-EAGAIN, "thread");
		pass(g, LINGER, fd); /* it is no port, or closed by now */
		pthread_join(closer, NULL);
		close(listener);
		__atomic_fetch_add(&shared->passed, 1, __ATOMIC_RELEASE);
	}
}

static _Noreturn void run_passer(enum passed what, int file)
{
	struct guest g = { 0 };
	int ret;

	guest_open(&g, memory_kind(), true);
	__atomic_fetch_add(&shared->passed, 1, __ATOMIC_RELEASE);
	wait_for_flag(&shared->ordered);
	if (what == LINGER)
		linger_again_and_again(&g);
	if (what == DEVICE)
		file = must(open(device, O_RDWR | O_CLOEXEC), device);
	ret = pass(&g, what, file);
	if (ret != (what == BACKEND ? -ENOTSOCK : -EINVAL))
		die(ret, "descriptor %d", what);
	__atomic_fetch_add(&shared->passed, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static void wait_for_end(pid_t pid)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (waitpid(pid, NULL, WNOHANG) != pid) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "a guest does not end");
		poll(NULL, 0, 10);
	}
}

static void wait_for_passed(unsigned int n)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (__atomic_load_n(&shared->passed, __ATOMIC_ACQUIRE) < n) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "passing descriptors");
		poll(NULL, 0, 10);
	}
}

static _Noreturn void run_newcomer(void)
{
	struct guest g = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!get(&shared->begin))
		poll(NULL, 0, 10);
	guest_open(&g, memory_kind(), true);
	run_empty(&g);
	set(&shared->ready, true);
	wait_for_flag(&shared->replaced);
	go_on(&g);
	set(&shared->finished, true);
	wait_for_flag(&shared->leave);
	guest_free(&g);
	exit(0);
}

/* A guest that starts meanwhile gets a worker process, and another one when
 * that is killed. */
static void serve_newcomer(pid_t pid)
{
	const char *name = "a guest that starts";
	struct workers before = find_workers(), with, now;
	int64_t end = vmm_now_ms() + STALL_MS;

	set(&shared->begin, true);
	wait_for_hijacked(pid, &shared->ready, name);
	with = find_workers();
	if (with.highest <= before.highest || kill(with.last, SIGKILL) < 0)
		die(-errno, "%s: no worker process", name);
	do {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "%s: no other worker process", name);
		poll(NULL, 0, 10);
		now = find_workers();
	} while (now.highest != with.highest || now.last == with.last);
	set(&shared->replaced, true);
	wait_for_hijacked(pid, &shared->finished, name);
	set(&shared->leave, true);
	wait_for_end(pid);
	printf("%s: it is served, also by another worker process\n", name);
}

/* Guests that pass the file, each with another call, and what closes late as
 * well. */
struct passers {
	pid_t server; /* of the file */
	int file;     /* below 0: there is none */
	pid_t pid[PASSED];
	unsigned int n;
};

static void start_passers(struct passers *p)
{
	const struct deaf_file deaf = { .size = 4096,
					.life_s = DEAF_S,
					.no_flush = true };

	p->n = 0;
	p->file = deaf_file_open(&deaf, &p->server);
	if (p->file < 0)
		fprintf(stderr, "SKIP: no FUSE file system: %s\n",
			strerror(-p->file));
	for (int i = p->file < 0 ? DEVICE : KICK; i < PASSED; i++) {
		p->pid[p->n] = fork();
		if (p->pid[p->n] == 0)
			run_passer((enum passed)i, p->file);
		p->n++;
	}
	wait_for_passed(p->n);
	wait_for_others(10);
	print_times("before");
	set(&shared->ordered, true);
}

/* All of them have passed what they have, one of them often. */
static void wait_for_passers(const struct passers *p)
{
	wait_for_passed(p->n + p->n - 1 + 3);
}

static void end_passers(const struct passers *p)
{
	if (p->file >= 0) {
		kill(p->server, SIGKILL);
		wait_for_end(p->server);
	}
	for (unsigned int i = 0; i < p->n; i++) {
		kill(p->pid[i], SIGKILL);
		wait_for_end(p->pid[i]);
	}
	wait_for_others(1);
}

static void descriptors(void)
{
	struct passers p;
	pid_t newcomer = fork();

	/* Not after the file is there: the end of each copy waits. */
	if (newcomer == 0)
		run_newcomer();
	start_passers(&p);
	wait_for_passers(&p);
	wait_for_others(20);
	print_times("beside descriptors whose close waits");
	serve_newcomer(newcomer);
	end_passers(&p);
	wait_for_workers(OTHERS);
}

/* The daemon is killed, and has to end. */
static void killed(void)
{
	struct passers p;

	start_passers(&p);
	for (unsigned int i = 0; i < 3; i++) {
		wait_for_others(5);
		kill_daemon(broker);
	}
	wait_for_passers(&p);
	wait_for_others(5);
	printf("beside descriptors whose close waits: the next daemon goes "
	       "on\n");
	end_passers(&p);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	if (getenv("UVHOST_DAEMON"))
		broker = atoi(getenv("UVHOST_DAEMON"));
	if (!broker)
		die(-ENOENT, "UVHOST_DAEMON");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die(-errno, "mmap");
	must(vmm_net_enter(), "network namespace");
	start_others();
	if (strcmp(mode, "ways") == 0)
		ways();
	else if (strcmp(mode, "channel") == 0)
		channel();
	else if (strcmp(mode, "successor") == 0)
		successor();
	else if (strcmp(mode, "descriptors") == 0)
		descriptors();
	else if (strcmp(mode, "killed") == 0)
		killed();
	else
		die(-EINVAL, "%s", mode);
	stop_others();
	return 0;
}
