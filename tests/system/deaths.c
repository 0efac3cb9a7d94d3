/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deaths CASE split|packed private|memfd [FIRST [STEP]] - a daemon, or a worker
 * process, that is killed at a chosen system call of its own while it makes a
 * session again, starts a worker process or carries out calls.
 *
 * CASE is what happens first, and who dies at the system call:
 *   broker-broker  the daemon is killed; the next daemon dies
 *   both-broker    daemon and worker process are killed; the next daemon dies
 *   both-both      the same; the next daemon dies with its worker processes
 *   worker-broker  the worker process is killed; its daemon dies
 *   worker-worker  the worker process is killed; the next one dies
 *   none-broker    nothing; the daemon dies while it carries out calls
 *   none-both      nothing; it dies with its worker processes
 *   none-worker    nothing; a worker process dies while it carries out calls
 *   stops          nobody dies: the daemon stands still (SIGSTOP), and frames
 *                  flow; a worker process stands still, and another guest's
 *                  calls succeed; both go on
 *   owners         the daemon is away while the owner of another session dies,
 *                  whose tap is held until there is a daemon again; then it is
 *                  gone, and so is that session's worker process
 *
 * A round is one death. In the first round the victim dies when it enters its
 * system call number FIRST (1), STEP later (1) in each following one, until the
 * VMM's calls are over before the victim has made so many. After each death all
 * calls have to succeed, and numbered frames (flow.h) to flow both ways; none
 * may come twice.
 *
 * The killer traces the processes with ptrace(2): the next daemon from its fork
 * on, through uvhost-keeper.
 *
 * $UVHOST_KEEPER: file with the keeper's process id. $UVHOST_DEV: the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "another_session.h"
#include "die.h"
#include "flow.h"
#include "vmm.h"
#include "vmm_net.h"
#include "wprocs.h"

#define LIMIT_MS 60000 /* of a round, on a busy host */
#define WORKERS_MAX 64
#define TASKS_MAX 1024

#define TRACE_OPTIONS                                                       \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | \
	 PTRACE_O_TRACECLONE)

enum first {
	FIRST_NONE,
	FIRST_BROKER,
	FIRST_WORKER,
	FIRST_BOTH,
};

enum victim {
	VICTIM_BROKER,
	VICTIM_WORKER,
	VICTIM_BOTH,
	VICTIM_NONE,
	VICTIM_OWNER,
};

static const struct {
	const char *name;
	enum first first;
	enum victim victim;
} cases[] = {
	{ "broker-broker", FIRST_BROKER, VICTIM_BROKER },
	{ "both-broker", FIRST_BOTH, VICTIM_BROKER },
	{ "both-both", FIRST_BOTH, VICTIM_BOTH },
	{ "worker-broker", FIRST_WORKER, VICTIM_BROKER },
	{ "worker-worker", FIRST_WORKER, VICTIM_WORKER },
	{ "none-broker", FIRST_NONE, VICTIM_BROKER },
	{ "none-both", FIRST_NONE, VICTIM_BOTH },
	{ "none-worker", FIRST_NONE, VICTIM_WORKER },
	{ "stops", FIRST_NONE, VICTIM_NONE },
	{ "owners", FIRST_NONE, VICTIM_OWNER },
};

static const char *device = "/dev/uvhost-net";

static struct {
	enum first first;
	enum victim victim;
	struct vmm_config config; /* of each session */
	struct vmm *v;
	struct flow flow; /* the mover's */
	int tap;
	pid_t keeper;
	uint32_t rx_got, tx_next; /* of the flow; any thread reads them */
	bool stop;
	int64_t progress_ms; /* of the watchdog */

	/* one round */
	unsigned int at; /* the victim dies at this system call */
	unsigned int count;
	bool armed; /* the killer is ready, the first death has happened */
	bool over;  /* the calls are */
	bool died;
	long died_in; /* number of the system call */
} t;

#define GET(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define SET(x, v) __atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)

/* ---- frames ---- */

static void *move_frames(void *arg)
{
	const struct flow_port *port = &t.flow.port[0];

	(void)arg;
	while (!GET(t.stop)) {
		int ret = flow_step(&t.flow, true);

		if (ret < 0)
			die(0, "%s", t.flow.error);
		SET(t.rx_got, port->rx_got);
		SET(t.tx_next, port->tx_next);
		if (ret == 0)
			flow_wait(&t.flow, 1);
	}
	return NULL;
}

static void wait_for_frames(void)
{
	uint32_t rx = GET(t.rx_got), tx = GET(t.tx_next);

	while (GET(t.rx_got) - rx < 20 || GET(t.tx_next) - tx < 20)
		usleep(500);
	SET(t.progress_ms, vmm_now_ms());
}

static void *watch(void *arg)
{
	const char *command = getenv("UVHOST_ON_HANG");

	(void)arg;
	while (vmm_now_ms() - GET(t.progress_ms) < LIMIT_MS)
		usleep(100000);
	fprintf(stderr,
		"deaths: nothing goes on after system call %ld, number %u "
		"(%u): %s; %u frames to the guest, %u from it\n",
		t.died_in, t.at, t.count,
		GET(t.over) ? "no frames" : "a call is not answered", t.rx_got,
		t.tx_next);
	if (command && system(command) < 0) // NOLINT(cert-env33-c)
		perror(command);
	_exit(1);
}

/* ---- processes ---- */

static pid_t daemon_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", t.keeper,
		 t.keeper);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

static pid_t wait_for_daemon(void)
{
	pid_t pid;

	while ((pid = daemon_pid()) == 0)
		usleep(500);
	return pid;
}

static unsigned int our_workers(pid_t *pids)
{
	unsigned int n = 0;
	glob_t paths;

	if (glob("/proc/[0-9]*", 0, NULL, &paths) != 0)
		return 0;
	for (size_t i = 0; i < paths.gl_pathc && n < WORKERS_MAX; i++) {
		int pid = atoi(paths.gl_pathv[i] + strlen("/proc/"));

		if (wprocs_session(pid) && wprocs_has_our_log(pid))
			pids[n++] = pid;
	}
	globfree(&paths);
	return n;
}

static pid_t wait_for_worker(void)
{
	pid_t pids[WORKERS_MAX];

	while (our_workers(pids) == 0)
		usleep(500);
	return pids[0];
}

static pid_t read_group(pid_t tid)
{
	char path[32], line[128];
	int group = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) &&
	       sscanf(line, "Tgid: %d", &group) != 1)
		;
	if (f)
		fclose(f);
	return group;
}

/* ---- the killer ---- */

/**
 * struct killer - on its thread: what it traces goes on when that ends
 * @daemon: the daemon that is traced
 * @task:   threads that have stopped, with their processes
 * @begun:  system calls count
 */
struct killer {
	pid_t daemon;
	struct {
		pid_t tid, group;
	} task[TASKS_MAX];
	unsigned int n;
	bool begun;
};

static pid_t group_of(struct killer *k, pid_t tid)
{
	for (unsigned int i = 0; i < k->n; i++)
		if (k->task[i].tid == tid)
			return k->task[i].group;
	if (k->n == TASKS_MAX)
		die(0, "too many threads");
	k->task[k->n].tid = tid;
	return k->task[k->n++].group = read_group(tid);
}

static void trace_all(pid_t pid)
{
	char pattern[64];
	glob_t tasks;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*", pid);
	if (glob(pattern, 0, NULL, &tasks) != 0)
		die(-ESRCH, "tasks of %d", pid);
	for (size_t i = 0; i < tasks.gl_pathc; i++) {
		pid_t tid = atoi(strrchr(tasks.gl_pathv[i], '/') + 1);

		/* Fails for a thread that a traced thread has made: it is
		 * traced already. */
		if (ptrace(PTRACE_SEIZE, tid, 0, TRACE_OPTIONS) == 0)
			ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	}
	globfree(&tasks);
}

/* The next daemon, from its first moment. */
static void trace_next_daemon(struct killer *k, pid_t last)
{
	unsigned long pid = 0;
	int status;

	if (ptrace(PTRACE_SEIZE, t.keeper, 0, TRACE_OPTIONS) < 0)
		die(-errno, "tracing the keeper");
	if (t.first == FIRST_BOTH)
		kill(wait_for_worker(), SIGKILL);
	kill(last, SIGKILL);
	while (!pid) {
		if (waitpid(t.keeper, &status, __WALL | __WNOTHREAD) < 0 ||
		    !WIFSTOPPED(status))
			die(-errno, "the keeper");
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8)) {
			ptrace(PTRACE_GETEVENTMSG, t.keeper, 0, &pid);
			ptrace(PTRACE_DETACH, t.keeper, 0, 0);
		} else {
			ptrace(PTRACE_CONT, t.keeper, 0,
			       status >> 16 ? 0 : WSTOPSIG(status));
		}
	}
	k->daemon = (pid_t)pid;
}

static void begin(struct killer *k)
{
	pid_t daemon = wait_for_daemon(), worker;

	switch (t.first) {
	case FIRST_BROKER:
	case FIRST_BOTH:
		trace_next_daemon(k, daemon);
		break;
	case FIRST_WORKER:
		k->daemon = daemon;
		worker = wait_for_worker();
		trace_all(daemon);
		kill(worker, SIGKILL);
		break;
	case FIRST_NONE:
		k->daemon = daemon;
		trace_all(daemon);
		if (t.victim != VICTIM_WORKER)
			break;
		trace_all(wait_for_worker());
		break;
	}
	SET(t.armed, true);
}

static void kill_victims(const struct killer *k, pid_t group)
{
	pid_t workers[WORKERS_MAX];
	unsigned int n = 0;

	if (t.victim == VICTIM_WORKER) {
		kill(group, SIGKILL);
		return;
	}
	if (t.victim == VICTIM_BOTH)
		n = our_workers(workers);
	kill(k->daemon, SIGKILL);
	while (n)
		kill(workers[--n], SIGKILL);
	/* And what it has started last. */
	for (unsigned int i = 0; t.victim == VICTIM_BOTH && i < k->n; i++)
		kill(k->task[i].group, SIGKILL);
}

/* Of a daemon that makes its sessions again the calls count once it has looked
 * into a bag. */
static bool is_the_last(struct killer *k, long nr)
{
	if (nr == SYS_recvmsg || nr == SYS_recvfrom)
		k->begun = true;
	if (!k->begun || ++t.count != t.at)
		return false;
	t.died_in = nr;
	return true;
}

/* A tracee has stopped. True: it was the death. */
static bool stopped(struct killer *k, pid_t tid, int status)
{
	struct __ptrace_syscall_info info;
	pid_t group = group_of(k, tid);
	bool counted = (group == k->daemon) != (t.victim == VICTIM_WORKER);
	int signal = WSTOPSIG(status);

	if (signal == (SIGTRAP | 0x80) || status >> 16)
		signal = 0;
	if (WSTOPSIG(status) == (SIGTRAP | 0x80) && counted &&
	    ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 &&
	    info.op == PTRACE_SYSCALL_INFO_ENTRY &&
	    is_the_last(k, (long)info.entry.nr)) {
		kill_victims(k, group);
		SET(t.died, true);
		return true;
	}
	ptrace(counted ? PTRACE_SYSCALL : PTRACE_CONT, tid, 0, signal);
	return false;
}

static void *kill_at(void *arg)
{
	struct killer k = { .begun = t.first == FIRST_NONE ||
				     t.first == FIRST_WORKER };

	(void)arg;
	begin(&k);
	while (!GET(t.over)) {
		int status;
		pid_t tid =
			waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);

		if (tid <= 0)
			usleep(50);
		else if (WIFSTOPPED(status) && stopped(&k, tid, status))
			break;
	}
	return NULL;
}

/* ---- calls ---- */

static void stop_and_start(unsigned int qi)
{
	unsigned int base;

	must(vmm_set_backend(t.v->fd, qi, -1), "SET_BACKEND -1");
	must(vmm_get_vring_base(t.v->fd, qi, &base), "GET_VRING_BASE");
	must(vmm_set_vring_base(t.v->fd, qi, base), "SET_VRING_BASE");
	must(vmm_set_backend(t.v->fd, qi, t.tap), "SET_BACKEND");
}

static void make_calls(void)
{
	struct vhost_vring_addr addr = vmm_vring_addr(t.v, VMM_TX);

	another_session(device, t.v);
	stop_and_start(VMM_RX);
	must(vmm_set_mem_table(t.v->fd, &t.v->mem), "SET_MEM_TABLE");
	stop_and_start(VMM_TX);
	must(vmm_set_vring_kick(t.v->fd, VMM_RX, t.v->q[VMM_RX].kick),
	     "SET_VRING_KICK");
	must(vmm_set_vring_call(t.v->fd, VMM_TX, t.v->q[VMM_TX].call),
	     "SET_VRING_CALL");
	must(vmm_ioctl(t.v->fd, VHOST_SET_VRING_ADDR, &addr), "SET_VRING_ADDR");
}

/* ---- the run ---- */

static void configure(bool packed, enum vmm_mem_kind kind)
{
	t.config = (struct vmm_config){
		.path = device,
		.mem_kind = kind,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			    (packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0),
	};
}

static const struct vmm_tap_config tap = { .hdr_len = 12 };

static void start(void)
{
	char ifname[IFNAMSIZ];

	must(vmm_new(&t.config, &t.v), device);
	must(flow_init(&t.flow, t.v, 2048), "flow");
	t.flow.lossy = true;
	t.tap = must(vmm_tap_open(&tap, ifname), "tap");
	flow_add_port(&t.flow,
		      must(vmm_packet_open(ifname, VMM_ETHERTYPE, false),
			   "packet socket"));
	must(vmm_start(t.v, t.tap), "start");
}

/* Whether somebody has died. */
static bool round_at(unsigned int at)
{
	pthread_t killer;

	t.at = at;
	t.count = 0;
	t.died_in = 0;
	SET(t.armed, false);
	SET(t.over, false);
	SET(t.died, false);
	if (pthread_create(&killer, NULL, kill_at, NULL))
		die(-EAGAIN, "thread");
	while (!GET(t.armed))
		usleep(100);
	make_calls();
	if (!GET(t.died) && t.first != FIRST_NONE)
		wait_for_frames();
	SET(t.over, true);
	pthread_join(killer, NULL);
	wait_for_frames();
	return t.died;
}

static void round_of_stops(void)
{
	pid_t daemon = wait_for_daemon(), worker = wait_for_worker();

	kill(daemon, SIGSTOP);
	wait_for_frames();
	kill(daemon, SIGCONT);
	make_calls();
	wait_for_frames();

	kill(worker, SIGSTOP);
	another_session(device, t.v);
	kill(worker, SIGCONT);
	make_calls();
	wait_for_frames();
	if (wait_for_daemon() != daemon || wait_for_worker() != worker)
		die(0, "one that stood still was replaced");
}

/* Its interface is there as long as someone has the tap. */
static bool has_tap(const char *ifname)
{
	return if_nametoindex(ifname) != 0;
}

/* A process with a session and a tap of its own, until it is killed. */
static pid_t start_owner(char ifname[IFNAMSIZ])
{
	int pipefd[2];
	struct vmm *v;
	pid_t pid;

	must(pipe2(pipefd, O_CLOEXEC) < 0 ? -errno : 0, "pipe");
	pid = fork();
	must(pid < 0 ? -errno : 0, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		must(vmm_new(&t.config, &v), device);
		must(vmm_start(v, must(vmm_tap_open(&tap, ifname), "tap")),
		     "start of another session");
		if (write(pipefd[1], ifname, IFNAMSIZ) == IFNAMSIZ)
			pause();
		_exit(1);
	}
	close(pipefd[1]);
	if (read(pipefd[0], ifname, IFNAMSIZ) != IFNAMSIZ)
		die(0, "no other session");
	close(pipefd[0]);
	return pid;
}

static void wait_for_end(pid_t pid)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0),
			    .events = POLLIN };

	while (p.fd >= 0 && poll(&p, 1, -1) < 0)
		;
	close(p.fd);
}

static void round_of_owners(void)
{
	pid_t daemon = wait_for_daemon(), worker = wait_for_worker();
	pid_t pids[WORKERS_MAX], owner;
	char ifname[IFNAMSIZ];

	owner = start_owner(ifname);
	if (our_workers(pids) != 2)
		die(0, "the other session has no worker process");
	kill(t.keeper, SIGSTOP);
	kill(daemon, SIGKILL);
	wait_for_end(daemon);
	kill(owner, SIGKILL);
	/* It has given up its descriptors then, but its close() of the device's
	 * may wait for the daemon. */
	wait_for_frames();
	usleep(200000);
	if (!has_tap(ifname))
		die(0, "the tap is gone, and its worker process lives");
	kill(t.keeper, SIGCONT);
	waitpid(owner, NULL, 0);
	while (has_tap(ifname) || our_workers(pids) != 1)
		usleep(10000);
	make_calls();
	wait_for_frames();
	if (wait_for_worker() != worker)
		die(0, "the worker process that lived was replaced");
}

static pid_t read_pid(const char *path)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1)
		die(-ENOENT, "UVHOST_KEEPER");
	fclose(f);
	return pid;
}

/* As a check: a child of ours can be traced if any process can. */
static bool can_trace(void)
{
	pid_t pid = fork();
	bool ok;

	if (pid == 0)
		for (;;)
			pause();
	must(pid < 0 ? -errno : 0, "fork");
	ok = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ok;
}

static void choose(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(cases[i].name, name) != 0)
			continue;
		t.first = cases[i].first;
		t.victim = cases[i].victim;
		return;
	}
	die(0, "no such case: %s", name);
}

int main(int argc, char **argv)
{
	unsigned int at = argc > 4 ? (unsigned int)atoi(argv[4]) : 1;
	unsigned int step = argc > 5 ? (unsigned int)atoi(argv[5]) : 1;
	unsigned int rounds = 0;
	pthread_t mover, watchdog;

	if (argc < 4)
		die(0, "CASE split|packed private|memfd [FIRST [STEP]]");
	choose(argv[1]);
	if (!can_trace()) {
		fprintf(stderr, "processes may not be traced here\n");
		return 77;
	}
	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	t.keeper = read_pid(getenv("UVHOST_KEEPER"));
	must(vmm_net_enter(), "network namespace");
	configure(strcmp(argv[2], "packed") == 0, strcmp(argv[3], "memfd") == 0
							  ? VMM_MEM_MEMFD
							  : VMM_MEM_PRIVATE);
	start();
	t.progress_ms = vmm_now_ms();
	if (pthread_create(&mover, NULL, move_frames, NULL) ||
	    pthread_create(&watchdog, NULL, watch, NULL))
		die(-EAGAIN, "thread");
	wait_for_frames();
	for (; t.victim == VICTIM_NONE && rounds < 3; rounds++)
		round_of_stops();
	for (; t.victim == VICTIM_OWNER && rounds < 3; rounds++)
		round_of_owners();
	for (; t.victim < VICTIM_NONE && round_at(at); at += step)
		rounds++;
	printf("%-13s %-6s %-7s %4u rounds, at system calls %s, +%u, ...\n",
	       argv[1], argv[2], argv[3], rounds, argc > 4 ? argv[4] : "1",
	       step);
	fflush(stdout);
	SET(t.stop, true);
	pthread_join(mover, NULL);
	flow_free(&t.flow);
	vmm_stop(t.v); /* before its memory goes: see restart.c */
	vmm_free(t.v);
	return 0;
}
