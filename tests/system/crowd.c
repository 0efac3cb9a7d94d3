/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crowd N - N guests on one daemon, each a process of its own, with a tap, one
 * half with private memory and one with shared.
 *
 *   1. All start at once, and move frames both ways.
 *   2. What each worker process and the daemon take is printed.
 *   3. All worker processes are killed at once, while frames move; all guests
 * go on, and no frame comes twice.
 *   4. All owners are killed at once. Nothing is left: no worker process, no
 * tap, no descriptor and no thread of the daemon.
 *
 * $UVHOST_DEV: the device; $UVHOST_BROKER: process id of its daemon. In a
 * network namespace without other taps; IPv6 is turned off there.
 */
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "die.h"
#include "flow.h"
#include "vmm.h"
#include "vmm_net.h"
#include "wprocs.h"

#define MOST 1024
#define DEADLINE_MS 120000
#define OWNER 12345 /* user of all guests */
#define FRAMES 100
#define MEMORY (UINT64_C(4) << 20)

static const char *device = "/dev/uvhost-net";
static pid_t broker;

struct member {
	pid_t pid;
	int sock;
	int64_t start_ms; /* from its first call to its first frames */
};

static struct member member[MOST];
static unsigned int members;

/* ---- a guest ---- */

enum order {
	MOVE = 'm', /* FRAMES each way */
};

/* With the order, or with @ms at the start; the parent waits for it. */
static void answer(int sock, int64_t n)
{
	if (send(sock, &n, sizeof(n), MSG_NOSIGNAL) != sizeof(n))
		exit(1);
}

static void become_owner(void)
{
	if (setgid(OWNER) < 0 || setuid(OWNER) < 0)
		die(-errno, "setuid");
	/* The change of user has removed it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == 1)
		exit(1);
}

static void serve_orders(struct flow *f, int sock)
{
	char order;

	while (recv(sock, &order, 1, 0) == 1) {
		int ret = wprocs_move(f, FRAMES, DEADLINE_MS);

		if (ret < 0)
			die(ret, "guest %d: %s", getpid(), f->error);
		answer(sock, order);
	}
	exit(0);
}

static _Noreturn void guest(unsigned int n, int sock)
{
	const struct vmm_tap_config tap_config = { .hdr_len = 12 };
	const struct vmm_config config = {
		.path = device,
		.mem_kind = n % 2 ? VMM_MEM_MEMFD : VMM_MEM_PRIVATE,
		.mem_size = MEMORY,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX),
	};
	struct flow f = { .nports = 0 };
	char ifname[IFNAMSIZ];
	int64_t start;
	struct vmm *v;
	int tap, far;

	tap = must(vmm_tap_open(&tap_config, ifname), "tap");
	far = must(vmm_packet_open(ifname, VMM_ETHERTYPE, false),
		   "packet socket");
	become_owner();
	start = vmm_now_ms();
	must(vmm_new(&config, &v), device);
	must(flow_init(&f, v, 2048), "flow");
	f.lossy = true;
	flow_add_port(&f, far);
	must(vmm_start(v, tap), "start");
	must(wprocs_move(&f, 1, DEADLINE_MS), "first frames");
	answer(sock, vmm_now_ms() - start);
	serve_orders(&f, sock);
	exit(0);
}

/* ---- all of them ---- */

static void start_member(unsigned int n)
{
	struct member *m = &member[n];
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		die(-errno, "socketpair");
	fflush(stdout);
	m->pid = fork();
	if (m->pid < 0)
		die(-errno, "fork");
	if (m->pid == 0) {
		for (unsigned int i = 0; i < n; i++)
			close(member[i].sock);
		close(ends[0]);
		guest(n, ends[1]);
	}
	close(ends[1]);
	m->sock = ends[0];
	members = n + 1;
}

static int64_t await_answer(const struct member *m)
{
	struct pollfd p = { .fd = m->sock, .events = POLLIN };
	int64_t n;

	if (poll(&p, 1, DEADLINE_MS) != 1)
		die(0, "guest %d does not answer", m->pid);
	if (recv(m->sock, &n, sizeof(n), 0) != sizeof(n))
		die(0, "guest %d has ended", m->pid);
	return n;
}

static void send_order(char order)
{
	for (unsigned int i = 0; i < members; i++)
		if (send(member[i].sock, &order, 1, MSG_NOSIGNAL) != 1)
			die(-errno, "guest %d", member[i].pid);
}

static void await_order(void)
{
	for (unsigned int i = 0; i < members; i++)
		await_answer(&member[i]);
}

static void move_frames(void)
{
	send_order(MOVE);
	await_order();
}

/* ---- numbers ---- */

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void print_numbers(const char *what, int64_t *n)
{
	qsort(n, members, sizeof(*n), compare);
	printf("%-44s median %6lld, most %6lld\n", what,
	       (long long)n[members / 2], (long long)n[members - 1]);
}

/* KiB that no other process has; -1: not known. */
static int64_t private_kib(pid_t pid)
{
	char path[40], line[256];
	long long kib = -1, n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %lld", &n) == 1)
			kib = n;
	if (f)
		fclose(f);
	return kib;
}

static void print_workers(const pid_t *pid)
{
	int64_t fds[MOST], kib[MOST];

	for (unsigned int i = 0; i < members; i++) {
		fds[i] = footprint_of(pid[i]).fds;
		kib[i] = private_kib(pid[i]);
	}
	print_numbers("a worker process: Private_Dirty, KiB", kib);
	print_numbers("a worker process: descriptors", fds);
}

/* Processor time that a process has used, ms; without that of its children. */
static int64_t used_ms(pid_t pid)
{
	unsigned long long user = 0, system = 0;
	char path[40], line[512];
	const char *p = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f))
		p = strrchr(line, ')');
	if (f)
		fclose(f);
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu "
			 "%llu",
			 &user, &system) != 2)
		return 0;
	return (int64_t)((user + system) * 1000 /
			 (unsigned long long)sysconf(_SC_CLK_TCK));
}

static void print_broker(struct footprint before, int64_t kib, int64_t ms)
{
	struct footprint now = footprint_of(broker);

	printf("uvhostd for each guest: %.1f ms of processor time, %.1f "
	       "descriptors, %.1f threads, Private_Dirty %.1f KiB\n",
	       (double)(used_ms(broker) - ms) / members,
	       (double)(now.fds - before.fds) / members,
	       (double)(now.threads - before.threads) / members,
	       (double)(private_kib(broker) - kib) / members);
}

/* ---- the steps ---- */

static void start_all(unsigned int n)
{
	int64_t began = vmm_now_ms(), ms[MOST];

	for (unsigned int i = 0; i < n; i++)
		start_member(i);
	for (unsigned int i = 0; i < n; i++)
		ms[i] = await_answer(&member[i]);
	printf("%u guests move frames after %lld ms\n", n,
	       (long long)(vmm_now_ms() - began));
	print_numbers("a guest: open to first frames, ms", ms);
}

/* As many as there are guests, none of them among @old (NULL: none). */
static void await_workers(pid_t *pid, const pid_t *old)
{
	int64_t end = vmm_now_ms() + DEADLINE_MS;
	unsigned int n, stale;

	for (;;) {
		n = wprocs_list(broker, pid, MOST);
		stale = 0;
		for (unsigned int i = 0; old && i < n; i++)
			for (unsigned int j = 0; j < members; j++)
				stale += pid[i] == old[j];
		if (n == members && !stale)
			return;
		if (vmm_now_ms() > end)
			die(0, "%u worker processes, %u of them old", n, stale);
		poll(NULL, 0, 10);
	}
}

static void kill_workers(void)
{
	pid_t old[MOST], pid[MOST];
	int64_t began;

	await_workers(old, NULL);
	send_order(MOVE);
	began = vmm_now_ms();
	for (unsigned int i = 0; i < members; i++)
		if (kill(old[i], SIGKILL) < 0)
			die(-errno, "kill");
	await_workers(pid, old);
	printf("all worker processes killed: others run after %lld ms\n",
	       (long long)(vmm_now_ms() - began));
	await_order();
	move_frames();
	printf("and move frames after %lld ms\n",
	       (long long)(vmm_now_ms() - began));
}

static unsigned int interfaces(void)
{
	struct if_nameindex *list = if_nameindex();
	unsigned int n = 0;

	while (list && list[n].if_index)
		n++;
	if_freenameindex(list);
	return n;
}

static void kill_owners(struct footprint before, unsigned int ifs)
{
	int64_t began = vmm_now_ms(), end = began + DEADLINE_MS;
	struct footprint now;
	unsigned int workers;
	pid_t pid[MOST];

	for (unsigned int i = 0; i < members; i++)
		kill(member[i].pid, SIGKILL);
	for (unsigned int i = 0; i < members; i++)
		waitpid(member[i].pid, NULL, 0);
	for (;;) {
		workers = wprocs_list(broker, pid, MOST);
		now = footprint_of(broker);
		if (!workers && now.fds == before.fds &&
		    now.threads == before.threads && interfaces() == ifs)
			break;
		if (vmm_now_ms() > end)
			die(0,
			    "left: %u worker processes, %d descriptors, %d "
			    "threads, %d interfaces",
			    workers, (int)(now.fds - before.fds),
			    (int)(now.threads - before.threads),
			    (int)(interfaces() - ifs));
		poll(NULL, 0, 10);
	}
	printf("all owners killed: nothing is left after %lld ms\n",
	       (long long)(vmm_now_ms() - began));
}

/* The first session makes what the daemon keeps. */
static void open_once(void)
{
	struct footprint before = footprint_of(broker);
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(-errno, "%s", device);
	close(fd);
	if (footprint_wait(broker, before, DEADLINE_MS) < 0)
		printf("an open file leaves something\n");
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)atoi(argv[1]) : 64;
	struct footprint before;
	unsigned int ifs;
	pid_t pid[MOST];
	int64_t kib, ms;

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	if (getenv("UVHOST_BROKER"))
		broker = atoi(getenv("UVHOST_BROKER"));
	if (broker <= 0 || !n || n > MOST)
		die(0, "UVHOST_BROKER? 1...%d guests", MOST);
	must(vmm_net_enter(), "network namespace");
	open_once();
	before = footprint_of(broker);
	kib = private_kib(broker);
	ms = used_ms(broker);
	ifs = interfaces();
	start_all(n);
	await_workers(pid, NULL);
	print_workers(pid);
	print_broker(before, kib, ms);
	fflush(stdout);
	kill_workers();
	fflush(stdout);
	kill_owners(before, ifs);
	return 0;
}
