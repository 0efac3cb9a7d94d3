/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench - what one queue pair costs, beside what the same bytes cost without
 * us. Prints; never judges.
 *
 *   bench [SECONDS [copied|mapped]]
 *                       with the devices of `make bench` (see open_run())
 *
 * A line is one direction, memory, port, frame and ring size ("pack": of a
 * packed ring). The harness is
 * the guest: it fills and reaps the ring on one processor without a system
 * call, the daemon's worker has the other. Rounds of us and of the limit take
 * turns, and medians are printed:
 *
 *   Mpps     frames per second of the clock
 *   ns       the worker's processor time for a frame (schedstat), polling
 *            included; "core" is the rate that a core could do at that price
 *   limit    the same bytes with nothing around them: memcpy (null port,
 *            mapped), a pread or pwrite of /proc/PID/mem for each frame (null
 *            port, copied), write or read of a tap (copied: with that); ns of
 *            processor time for a frame. Reads can be cheaper than this limit:
 *            small frames that lie close together are read in one call
 *   ratio    limit / ns: 1.00 is as good as it gets
 *   pvm      copied lines: the same with process_vm_readv/writev, which go by
 *            process id and are not used for that reason: what safety costs
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "proctime.h"
#include "vmm.h"
#include "vmm_net.h"

#define HDR 12
#define BUF 2048
#define ROUNDS 5
#define REAP 64
#define TAP_FILL 4000 /* frames queued in a tap before they are drained */
#define TAP_BUFS 1024 /* at least the largest ring */
#define LIMIT_FRAMES 100000
#define VM_BATCH 128

enum { TX, RX }; /* direction of a line, from the guest's side */
enum { PORT_NULL, PORT_TAP };

struct line {
	int dir, port;
	bool copied;
	unsigned int size, num;
	bool packed;
};

struct result {
	double mpps, ns, limit_ns, pvm_ns; /* pvm_ns: 0 if not copied */
};

static pid_t daemon_pid;
static double seconds = 0.5;
static const char *only; /* memory of the lines that are wanted; NULL: all */
static int tap_fd, packet_fd;

static void die(const char *what, int err)
{
	fprintf(stderr, "bench: %s: %s\n", what,
		strerror(err < 0 ? -err : err));
	exit(1);
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(tid, sizeof(set), &set);
}

/* ---- the daemon's worker ---- */

static bool is_worker(const char *tid)
{
	char path[320], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", daemon_pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(comm, sizeof(comm), f))
		comm[0] = '\0';
	fclose(f);
	return strncmp(comm, "uvhost-", 7) == 0;
}

/* There is one session at a time, hence one worker: its thread id. */
static pid_t find_worker(void)
{
	char path[64];
	struct dirent *e;
	pid_t found = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", daemon_pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (is_worker(e->d_name))
			found = (pid_t)strtol(e->d_name, NULL, 10);
	if (d)
		closedir(d);
	if (!found)
		die("the daemon's worker", ESRCH);
	return found;
}

/* ---- limits ---- */

static double limit_memcpy(const struct line *l)
{
	size_t bytes = l->size + HDR, area = (size_t)l->num * BUF;
	char *guest = mmap(NULL, area, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	static char scratch[65536 + BUF];
	size_t at = 0;
	uint64_t start;

	start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned int i = 0; i < LIMIT_FRAMES; i++) {
		char *p = guest + (size_t)(i % l->num) * BUF;

		if (l->dir == TX)
			memcpy(scratch + at, p, bytes);
		else
			memcpy(p, scratch + at, bytes);
		at = (at + bytes) % 65536;
		__asm__ volatile("" ::: "memory");
	}
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	munmap(guest, area);
	return (double)start / LIMIT_FRAMES;
}

/* A process that has memory and waits. */
static pid_t fork_memory(char *area, size_t len)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork", errno);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		memset(area, 1, len); /* its own copy, page by page */
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, NULL, WUNTRACED);
	return pid;
}

static double limit_memfile(const struct line *l)
{
	size_t bytes = l->size + HDR, area = (size_t)l->num * BUF;
	char *mem = mmap(NULL, area, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static char local[VM_BATCH * BUF];
	pid_t pid = fork_memory(mem, area);
	unsigned int done = 0;
	char path[40];
	uint64_t start;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path, errno);
	memset(local, 1, sizeof(local));
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (; done < LIMIT_FRAMES; done++) {
		char *ours = local + (done % VM_BATCH) * bytes;
		off_t at =
			(off_t)(uintptr_t)(mem + (size_t)(done % l->num) * BUF);

		if ((l->dir == TX ? pread(fd, ours, bytes, at)
				  : pwrite(fd, ours, bytes, at)) < 0)
			die(path, errno);
	}
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	close(fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(mem, area);
	return (double)start / done;
}

static double limit_process_vm(const struct line *l)
{
	size_t bytes = l->size + HDR, area = (size_t)l->num * BUF;
	char *mem = mmap(NULL, area, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static char local[VM_BATCH * BUF];
	struct iovec lv[VM_BATCH], rv[VM_BATCH];
	pid_t pid = fork_memory(mem, area);
	unsigned int at = 0, done = 0;
	uint64_t start;

	memset(local, 1, sizeof(local));
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (; done < LIMIT_FRAMES; done += VM_BATCH) {
		for (unsigned int i = 0; i < VM_BATCH; i++) {
			lv[i] = (struct iovec){ local + i * bytes, bytes };
			rv[i] = (struct iovec){ mem + (size_t)at * BUF, bytes };
			at = (at + 1) % l->num;
		}
		if ((l->dir == TX ? process_vm_readv(pid, lv, VM_BATCH, rv,
						     VM_BATCH, 0)
				  : process_vm_writev(pid, lv, VM_BATCH, rv,
						      VM_BATCH, 0)) < 0)
			die("process_vm", errno);
	}
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(mem, area);
	return (double)start / done;
}

static void make_frame(char *frame, unsigned int size)
{
	memset(frame, 0, HDR + size);
	memset(frame + HDR, 0xff, 6);
	memcpy(frame + HDR + 6, "\x02\0\0\0\0\x02\x88\xb5", 8);
}

/* Frames into the tap's queue, as if routed to it. */
static unsigned int tap_inject(unsigned int size, unsigned int n)
{
	static char frame[HDR + BUF];
	struct iovec iov = { frame + HDR, size };
	struct mmsghdr m[64];
	unsigned int done = 0;

	make_frame(frame, size);
	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < 64; i++) {
		m[i].msg_hdr.msg_iov = &iov;
		m[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < n) {
		int k = sendmmsg(packet_fd, m, n - done < 64 ? n - done : 64,
				 0);

		if (k <= 0)
			break;
		done += (unsigned int)k;
	}
	return done;
}

static double limit_tap(const struct line *l)
{
	static char buf[TAP_BUFS][BUF];
	uint64_t start;
	unsigned int n = 0;

	for (unsigned int i = 0; i < TAP_BUFS; i++)
		make_frame(buf[i], l->size);
	if (l->dir == RX)
		tap_inject(l->size, TAP_FILL);
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (l->dir == TX)
		while (n < LIMIT_FRAMES / 4 &&
		       write(tap_fd, buf[n % l->num], HDR + l->size) > 0)
			n++;
	else
		while (read(tap_fd, buf[n % l->num], BUF) > 0)
			n++;
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	return n ? (double)start / n : 0;
}

static void limits(const struct line *l, double *limit, double *pvm)
{
	double tap = l->port == PORT_TAP ? limit_tap(l) : 0;

	if (l->copied)
		*limit = tap + limit_memfile(l);
	else
		*limit = l->port == PORT_TAP ? tap : limit_memcpy(l);
	*pvm = l->copied ? tap + limit_process_vm(l) : 0;
}

/* ---- us ---- */

struct run {
	const struct line *l;
	struct vmm *v;
	struct vmm_queue *q;
	uint64_t buf; /* gpa of num buffers of BUF bytes */
	pid_t worker;
};

static void post(struct run *r, uintptr_t i)
{
	struct vmm_seg seg = {
		.addr = r->buf + i * BUF,
		.len = r->l->dir == RX ? BUF : HDR + r->l->size,
		.write = r->l->dir == RX,
	};

	if (vmm_ring_add(&r->q->ring, &seg, 1, (void *)i) < 0)
		die("ring", ENOSPC);
}

/* Takes what is done and offers it again; returns frames. */
static unsigned int turn(struct run *r, unsigned int qi)
{
	struct vmm_used used[REAP];
	int n = vmm_ring_reap(&r->q->ring, used, REAP);

	if (n < 0)
		die("used ring", n);
	for (int i = 0; i < n; i++)
		post(r, (uintptr_t)used[i].token);
	if (n) {
		vmm_ring_calls_off(&r->q->ring);
		vmm_publish_kick(r->v, qi);
	}
	return (unsigned int)n;
}

/*
 * The device "nullSIZE" makes up frames of that size; the tap goes with the
 * ordinary one. The descriptor that a null port is started with is only looked
 * at.
 */
static void open_run(struct run *r, const struct line *l)
{
	struct vmm_config config = {
		.mem_kind = l->copied ? VMM_MEM_PRIVATE : VMM_MEM_MEMFD,
		.mem_size = 16 << 20,
		.num = { l->num, l->num },
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			    (l->packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0),
	};
	char path[64] = "/dev/uvhost-net";
	int ret;

	if (l->port == PORT_NULL)
		snprintf(path, sizeof(path), "/dev/null%u", l->size);
	config.path = path;
	memset(r, 0, sizeof(*r));
	r->l = l;
	ret = vmm_new(&config, &r->v);
	if (ret < 0)
		die(path, ret);
	r->q = &r->v->q[l->dir == RX ? VMM_RX : VMM_TX];
	r->buf = vmm_mem_alloc(&r->v->mem, (uint64_t)l->num * BUF, 4096);
	for (unsigned int i = 0; i < l->num; i++)
		make_frame(vmm_mem_ptr(&r->v->mem, r->buf + (uint64_t)i * BUF),
			   l->size);
	r->worker = find_worker();
	pin(r->worker, 0);
}

static void start_run(struct run *r)
{
	int ret = vmm_start(r->v, r->l->port == PORT_TAP ? tap_fd : packet_fd);

	if (ret < 0)
		die("start", ret);
	for (unsigned int i = 0; i < r->l->num; i++)
		post(r, i);
	vmm_ring_calls_off(&r->q->ring);
	vmm_ring_publish(&r->q->ring);
	vmm_kick(r->v, r->l->dir == RX ? VMM_RX : VMM_TX);
}

/* Frames for a while; *ns is the worker's time for them. */
static void flow(struct run *r, double *mpps, double *ns)
{
	unsigned int qi = r->l->dir == RX ? VMM_RX : VMM_TX;
	uint64_t frames = 0, start = clock_ns(CLOCK_MONOTONIC), now = start;
	uint64_t cpu = proctime_thread_ns(daemon_pid, r->worker);

	for (unsigned int i = 0; now - start < (uint64_t)(seconds * 1e9); i++) {
		frames += turn(r, qi);
		if (!(i & 1023))
			now = clock_ns(CLOCK_MONOTONIC);
	}
	cpu = proctime_thread_ns(daemon_pid, r->worker) - cpu;
	*mpps = (double)frames * 1e3 / (double)(now - start);
	*ns = frames ? (double)cpu / (double)frames : 0;
}

/* A tap's queue is filled at rest, then drained through the ring. */
static void drain(struct run *r, double *mpps, double *ns)
{
	unsigned int want, got = 0;
	uint64_t start, now, cpu;
	int ret;

	ret = vmm_set_backend(r->v->fd, VMM_RX, -1);
	if (ret < 0)
		die("stop", ret);
	want = tap_inject(r->l->size, TAP_FILL);
	cpu = proctime_thread_ns(daemon_pid, r->worker);
	start = clock_ns(CLOCK_MONOTONIC);
	ret = vmm_set_backend(r->v->fd, VMM_RX, tap_fd);
	if (ret < 0)
		die("restart", ret);
	do {
		got += turn(r, VMM_RX);
		now = clock_ns(CLOCK_MONOTONIC);
	} while (got < want && now - start < 2000000000);
	usleep(2000); /* a thread's time is complete once it sleeps */
	cpu = proctime_thread_ns(daemon_pid, r->worker) - cpu;
	*mpps = got * 1e3 / (double)(now - start);
	*ns = got ? (double)cpu / got : 0;
}

static struct result measure(const struct line *l)
{
	double mpps[ROUNDS], ns[ROUNDS], lim[ROUNDS], pvm[ROUNDS];
	struct run r;

	open_run(&r, l);
	start_run(&r);
	for (int i = 0; i < ROUNDS; i++) {
		if (l->port == PORT_TAP && l->dir == RX)
			drain(&r, &mpps[i], &ns[i]);
		else
			flow(&r, &mpps[i], &ns[i]);
		limits(l, &lim[i], &pvm[i]);
	}
	vmm_stop(r.v);
	vmm_free(r.v);
	return (struct result){ proctime_median(mpps, ROUNDS),
				proctime_median(ns, ROUNDS),
				proctime_median(lim, ROUNDS),
				proctime_median(pvm, ROUNDS) };
}

static void print_line(const struct line *l)
{
	static const char *const what[2][2] = {
		{ "memcpy", "memfile" },
		{ "bare tap", "tap+mem" },
	};
	const char *memory = l->copied ? "copied" : "mapped";
	const char *lim = what[l->port][l->copied];
	struct result r;

	if (only && strcmp(only, memory) != 0)
		return;
	r = measure(l);
	printf("%-5s %-6s %-4s %5u B %s %4u  %6.2f Mpps  %6.1f ns "
	       "(core %5.2f Mpps)  limit %-8s %6.1f ns  ratio %.2f",
	       l->dir == TX ? "tx" : "rx", memory,
	       l->port == PORT_TAP ? "tap" : "null", l->size,
	       l->packed ? "pack" : "ring", l->num, r.mpps, r.ns,
	       r.ns > 0 ? 1e3 / r.ns : 0, lim, r.limit_ns,
	       r.ns > 0 ? r.limit_ns / r.ns : 0);
	if (r.pvm_ns > 0)
		printf("  pvm %6.1f ns", r.pvm_ns);
	putchar('\n');
	fflush(stdout);
}

/* A tap in a namespace of ours whose queue holds TAP_FILL frames. */
static void open_tap(void)
{
	struct vmm_tap_config config = { .hdr_len = HDR };
	char ifname[IFNAMSIZ];
	struct ifreq ifr = { .ifr_qlen = TAP_FILL + 100 };
	int ret = vmm_net_enter();

	if (ret < 0)
		die("network namespace", ret);
	tap_fd = vmm_tap_open(&config, ifname);
	if (tap_fd < 0)
		die("tap", tap_fd);
	packet_fd = vmm_packet_open(ifname, 0, false);
	if (packet_fd < 0)
		die("packet socket", packet_fd);
	memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
	if (ioctl(packet_fd, SIOCSIFTXQLEN, &ifr) < 0)
		die("queue length", errno);
}

/* Packed rings differ from split ones in front of any port. */
static void print_packed(unsigned int size)
{
	for (int copied = 0; copied < 2; copied++)
		for (int dir = TX; dir <= RX; dir++)
			print_line(&(struct line){ dir, PORT_NULL, copied, size,
						   256, true });
}

int main(int argc, char **argv)
{
	static const unsigned int sizes[] = { 64, 1500 },
				  nums[] = { 256, 1024 };

	/* cusehost wrote it before it started us. */
	daemon_pid = proctime_daemon();
	if (daemon_pid < 0) {
		fprintf(stderr, "bench: no daemon; use make bench\n");
		return 2;
	}
	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	if (argc > 2)
		only = argv[2];
	open_tap();
	pin(0, 1);
	printf("tx: guest to port, rx: port to guest; ns: worker's processor "
	       "time for a frame\n");
	for (int port = PORT_NULL; port <= PORT_TAP; port++)
		for (int copied = 0; copied < 2; copied++)
			for (int s = 0; s < 2; s++)
				for (int n = 0; n < 2; n++)
					for (int dir = TX; dir <= RX; dir++)
						print_line(&(struct line){
							dir, port, copied,
							sizes[s], nums[n],
							false });
	for (int s = 0; s < 2; s++)
		print_packed(sizes[s]);
	return 0;
}
