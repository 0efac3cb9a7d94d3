/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_vmguest.c: a Linux guest in QEMU behind our character device, the kernel's
 * vhost-net or QEMU's own virtio-net (make bench-vm).
 *
 * The agent is the other end of a transfer, in the tap's network namespace; the
 * guest runs bulk.c. Transfers are as long as half a slice, and end within it:
 * nothing is under way when the side is stopped.
 *
 *   tcp    one connection, MTU 1500, with the offloads that guest and tap agree
 *          on; up is from the guest
 *   udp    datagrams of 1472 bytes (1500 with their headers); down with at most
 *          512 that the guest has not acknowledged
 *
 * Guest code has one processor, the device and the agent have the other.
 * Processor time: the daemon, vhost's worker, QEMU without the threads in which
 * guest code runs, and ksoftirqd.
 *
 *   UVBENCH_GUEST_KERNEL, UVBENCH_GUEST_INITRD   what guests boot
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "vmdev.h"
#include "vmtap.h"

#define PORT 5002
#define DATAGRAM 1472
#define WINDOW 512
#define ACK_EVERY 64
#define BATCH 64
#define CHUNK ((size_t)128 * 1024)
#define LOOK_MS 500
#define ANSWER_MS 60000
#define SETTLE_US 2000
#define QUIET_MS 20
#define GUEST_IP "10.66.0.2"
#define TAP_IP "10.66.0.1"
#define WARM_NS UINT64_C(2000000000)
#define LEAST 16 /* KiB or datagrams of a transfer */

enum traffic { TCP_UP, TCP_DOWN, UDP_UP, UDP_DOWN };

struct job {
	enum vmdev_kind peer;
	enum traffic traffic;
	bool copied;
};

struct run {
	const struct job *job;
	enum vmdev_kind kind;
	struct vmtap tap;
	int listener, tcp, udp;
	pid_t qemu;
	struct vmdev threads; /* ksoftirqd's; nothing is open */
	/* KiB or datagrams and ns of all transfers, the last ones most */
	double seen, seen_ns;
	uint64_t sent, lost;
};

/* ---- sockets ---- */

static int open_sockets(struct run *r)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(PORT) };
	struct sockaddr_in guest = sa;
	const int one = 1, room = 16 << 20;

	inet_pton(AF_INET, GUEST_IP, &guest.sin_addr);
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (r->listener < 0 || r->udp < 0)
		return -errno;
	setsockopt(r->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(r->udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (bind(r->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(r->listener, 1) < 0 ||
	    bind(r->udp, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    connect(r->udp, (struct sockaddr *)&guest, sizeof(guest)) < 0)
		return -errno;
	return 0;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

static int accept_guest(struct run *r)
{
	const int one = 1;

	/* for as long as the engine waits */
	while (!readable(r->listener, LOOK_MS))
		if (waitpid(r->qemu, NULL, WNOHANG) == r->qemu) {
			r->qemu = 0;
			return -ECHILD;
		}
	r->tcp = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
	if (r->tcp < 0)
		return -errno;
	setsockopt(r->tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

static int send_all(int fd, size_t left)
{
	static uint8_t data[CHUNK];

	while (left) {
		ssize_t n = send(fd, data, left < CHUNK ? left : CHUNK,
				 MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		left -= (size_t)n;
	}
	return 0;
}

static int receive_all(int fd, void *to, size_t left)
{
	static uint8_t data[CHUNK];

	while (left) {
		ssize_t n;

		if (!readable(fd, ANSWER_MS))
			return -ETIMEDOUT;
		n = recv(fd, to ? to : data, left < CHUNK ? left : CHUNK, 0);
		if (n <= 0)
			return n ? -errno : -EPIPE;
		left -= (size_t)n;
	}
	return 0;
}

static int command(struct run *r, const char *what, uint64_t n)
{
	char line[80];
	int len = snprintf(line, sizeof(line), "%s %llu %d\n", what,
			   (unsigned long long)n, DATAGRAM);

	return send(r->tcp, line, (size_t)len, MSG_NOSIGNAL) == len ? 0
								    : -EPIPE;
}

/* ---- transfers: @n KiB or datagrams; how many arrived, or -errno ---- */

static int64_t tcp_up(struct run *r, uint64_t n, uint64_t *end)
{
	int ret = command(r, "tcp-up", n * 1024);

	if (ret == 0)
		ret = receive_all(r->tcp, NULL, n * 1024);
	*end = bench_now_ns();
	return ret ? ret : (int64_t)n;
}

static int64_t tcp_down(struct run *r, uint64_t n, uint64_t *end)
{
	int ret = command(r, "tcp-down", n * 1024);
	uint8_t done;

	if (ret == 0)
		ret = send_all(r->tcp, n * 1024);
	if (ret == 0)
		ret = receive_all(r->tcp, &done, 1);
	*end = bench_now_ns();
	return ret ? ret : (int64_t)n;
}

/* What lies in the socket, at most BATCH datagrams */
static unsigned int take_datagrams(struct run *r)
{
	static uint8_t data[BATCH][DATAGRAM];
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	int n;

	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ data[i], DATAGRAM };
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(r->udp, m, BATCH, MSG_DONTWAIT, NULL);
	return n > 0 ? (unsigned int)n : 0;
}

/* Until all have come, or the guest has sent all and there is silence. */
static int64_t udp_up(struct run *r, uint64_t n, uint64_t *end)
{
	struct pollfd p[2] = { { .fd = r->udp, .events = POLLIN },
			       { .fd = r->tcp, .events = POLLIN } };
	int ret = command(r, "udp-up", n);
	uint64_t got = 0;
	bool done = false;
	uint8_t byte;

	*end = bench_now_ns();
	while (ret == 0 && (got < n || !done)) {
		unsigned int k = take_datagrams(r);

		got += k;
		if (k) {
			*end = bench_now_ns();
			continue;
		}
		if (poll(p, done ? 1 : 2, done ? QUIET_MS : ANSWER_MS) == 0) {
			if (done)
				break;
			return -ETIMEDOUT;
		}
		if (!done && p[1].revents) {
			ret = receive_all(r->tcp, &byte, 1);
			done = true;
		}
	}
	return ret ? ret : (int64_t)got;
}

/* The newest acknowledgement, or @acked */
static uint64_t take_acks(struct run *r, uint64_t acked)
{
	uint32_t number;

	while (recv(r->udp, &number, sizeof(number), MSG_DONTWAIT) ==
	       sizeof(number))
		if (ntohl(number) > acked)
			acked = ntohl(number);
	return acked;
}

static int send_datagrams(struct run *r, uint64_t n)
{
	static uint8_t data[DATAGRAM];
	struct iovec iov = { data, DATAGRAM };
	struct mmsghdr m[BATCH];
	int k;

	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < BATCH; i++) {
		m[i].msg_hdr.msg_iov = &iov;
		m[i].msg_hdr.msg_iovlen = 1;
	}
	k = sendmmsg(r->udp, m, n < BATCH ? (unsigned int)n : BATCH, 0);
	return k < 0 ? -errno : k;
}

static int64_t udp_down(struct run *r, uint64_t n, uint64_t *end)
{
	int ret = command(r, "udp-down", n);
	uint64_t sent = 0, acked = 0;
	uint32_t got = 0;

	while (ret >= 0 && sent < n) {
		acked = take_acks(r, acked);
		if (sent - acked > WINDOW - BATCH) {
			/* what is lost is never acknowledged */
			if (!readable(r->udp, QUIET_MS))
				acked = sent;
			continue;
		}
		ret = send_datagrams(r, n - sent);
		sent += ret > 0 ? (unsigned int)ret : 0;
	}
	if (ret >= 0)
		ret = receive_all(r->tcp, &got, sizeof(got));
	*end = bench_now_ns();
	take_acks(r, 0); /* those that nobody waits for any more */
	return ret < 0 ? ret : (int64_t)ntohl(got);
}

/* ---- a slice ---- */

/* Where guest code runs, as -name debug-threads=on has it */
static bool is_guest_code(pid_t pid, pid_t tid)
{
	char path[80], name[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(name, sizeof(name), f))
		name[0] = '\0';
	fclose(f);
	return strncmp(name, "CPU ", 4) == 0;
}

/* QEMU's next thread in an open folder; 0: no more */
static pid_t next_thread(DIR *d)
{
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			return (pid_t)strtol(e->d_name, NULL, 10);
	return 0;
}

static DIR *threads_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	return opendir(path);
}

static uint64_t cpu_now(struct run *r)
{
	uint64_t ns = vmdev_cpu_ns(&r->threads);
	DIR *d = threads_of(r->qemu);
	pid_t tid;

	while ((tid = next_thread(d)))
		if (!is_guest_code(r->qemu, tid))
			ns += bench_thread_ns(r->qemu, tid);
	if (d)
		closedir(d);
	return ns;
}

/* Guest code has one processor; the device and this end of the transfers have
 * the other. */
static void pin_all(struct bench *b, struct run *r)
{
	DIR *d = threads_of(r->qemu);
	pid_t tid;

	while ((tid = next_thread(d)))
		bench_pin(tid, is_guest_code(r->qemu, tid) ? BENCH_CPU_FRONTEND
							   : BENCH_CPU_BACKEND);
	if (d)
		closedir(d);
	tid = r->kind == VMDEV_OURS ? bench_worker(b->daemon, "uvhost-") : 0;
	if (tid)
		bench_pin(tid, BENCH_CPU_BACKEND);
	bench_pin(0, BENCH_CPU_BACKEND);
}

/* What takes half a slice at the speed that was seen */
static uint64_t next_amount(const struct run *r, uint64_t ns)
{
	double n = 0;

	if (r->seen_ns > 0)
		n = r->seen / r->seen_ns * (double)ns / 2;
	return n < LEAST ? LEAST : (uint64_t)n;
}

/* In proportion to its time: short transfers say little. */
static void remember(struct run *r, uint64_t n, uint64_t ns)
{
	r->seen = r->seen / 2 + (double)n;
	r->seen_ns = r->seen_ns / 2 + (double)ns;
}

static int slice_guest(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	static int64_t (*const transfer[])(struct run *, uint64_t,
					   uint64_t *) = {
		[TCP_UP] = tcp_up,
		[TCP_DOWN] = tcp_down,
		[UDP_UP] = udp_up,
		[UDP_DOWN] = udp_down,
	};
	struct run *r = b->priv;
	bool udp = r->job->traffic >= UDP_UP;
	uint64_t cpu = cpu_now(r), start = bench_now_ns(), end = start;

	*out = (struct bench_sample){ 0 };
	do {
		uint64_t n = next_amount(r, ns), begin = bench_now_ns();
		int64_t got = transfer[r->job->traffic](r, n, &end);

		if (got < 0)
			return bench_why(b, (int)got, "transfer: %s",
					 strerror((int)-got));
		r->sent += n;
		r->lost += n - (uint64_t)got;
		remember(r, n, end - begin);
		out->ops += (uint64_t)got;
		out->ns += end - begin;
	} while (bench_now_ns() - start < ns);
	usleep(SETTLE_US);
	out->cpu_ns = cpu_now(r) - cpu;
	out->bytes = out->ops * (udp ? DATAGRAM : 1024);
	if (udp)
		bench_note(b, "lost_percent",
			   100.0 * (double)r->lost / (double)r->sent);
	return 0;
}

/* ---- the guest ---- */

/* As guest_start of vm-lib.sh has it. */
static const char words[] =
	"console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check"
	" mitigations=off random.trust_cpu=on init_on_alloc=0 nowatchdog"
	" audit=0 apparmor=0 nokaslr cryptomgr.notests rodata=off"
	" uv.ip=" GUEST_IP "/24 uv.peer=" TAP_IP;

static int spawn_qemu(struct bench *b, struct run *r, int tap, int vhost)
{
	/* as vm-lib.sh: only where KVM is known to be good */
	bool kvm = getenv("UVHOST_VM") && access("/dev/kvm", R_OK | W_OK) == 0;
	char net[100], console[200], memory[64];
	const char *const argv[] = {
		"qemu-system-x86_64",
		"-name",
		"guest,debug-threads=on",
		"-accel",
		kvm ? "kvm" : "tcg,thread=multi",
		"-machine",
		"pc,memory-backend=m",
		"-cpu",
		"max,family=23,model=1",
		"-m",
		"192",
		"-object",
		memory,
		"-nodefaults",
		"-no-user-config",
		"-display",
		"none",
		"-no-reboot",
		"-kernel",
		getenv("UVBENCH_GUEST_KERNEL"),
		"-initrd",
		getenv("UVBENCH_GUEST_INITRD"),
		"-append",
		words,
		"-serial",
		console,
		"-netdev",
		net,
		"-device",
		"virtio-net-pci,netdev=n0,mac=02:00:00:00:00:02,romfile=",
		NULL,
	};
	int len = snprintf(net, sizeof(net), "tap,id=n0,fd=%d", tap);

	if (vhost >= 0)
		snprintf(net + len, sizeof(net) - (size_t)len,
			 ",vhost=on,vhostfd=%d", vhost);
	snprintf(console, sizeof(console), "file:%s/console", b->dir);
	snprintf(memory, sizeof(memory), "memory-backend-%s,id=m,size=192M",
		 r->job->copied ? "ram" : "memfd,share=on");
	r->qemu = bench_spawn(b, -1, "qemu.log", NULL, argv);
	bench_note(b, "guest_in_kvm", kvm);
	return r->qemu < 0 ? r->qemu : 0;
}

/* QEMU gets the descriptors by inheritance. */
static int start_guest(struct bench *b, struct run *r)
{
	int vhost = -1, tap = dup(r->tap.fd);
	int ret;

	if (r->kind != VMDEV_QEMU) {
		vhost = open(r->kind == VMDEV_OURS ? VMDEV_NODE
						   : VMDEV_KERNEL_NODE,
			     O_RDWR); /* NOLINT: not close-on-exec */
		if (vhost < 0) {
			ret = -errno;
			close(tap);
			return ret;
		}
	}
	ret = spawn_qemu(b, r, tap, vhost);
	close(tap);
	if (vhost >= 0)
		close(vhost);
	return ret;
}

static int write_zero(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = fd >= 0 && write(fd, "0", 1) == 1 ? 0 : -errno;

	if (fd >= 0)
		close(fd);
	return ret;
}

static int open_all(struct bench *b, struct run *r, const char **what)
{
	int ret;

	*what = "tap";
	ret = vmtap_open(&r->tap);
	if (ret < 0)
		return ret;
	/* there are pauses between transfers */
	ret = write_zero("/proc/sys/net/ipv4/tcp_slow_start_after_idle");
	if (ret == 0)
		ret = open_sockets(r);
	*what = "start of QEMU";
	if (ret == 0)
		ret = start_guest(b, r);
	*what = "the guest does not connect";
	return ret ? ret : accept_guest(r);
}

static int say_why(struct bench *b, int err, const char *what)
{
	char path[200], line[200];

	snprintf(path, sizeof(path), "%s/qemu.log", b->dir);
	agent_log_end(path, line, sizeof(line));
	return bench_why(b, err, "%s: %s%s%s", what, strerror(-err),
			 line[0] ? ": " : "", line);
}

/* The first transfers are slow: an emulated processor sees this code for the
 * first time. */
static int warm_up(struct bench *b)
{
	uint64_t until = bench_now_ns() + WARM_NS;
	struct bench_sample ignored;
	int ret = 0;

	while (ret == 0 && bench_now_ns() < until)
		ret = slice_guest(b, BENCH_SLICE_MAX_NS, &ignored);
	return ret;
}

static int open_guest(struct bench *b)
{
	struct run *r = calloc(1, sizeof(*r));
	const char *what;
	int ret;

	if (!r)
		return bench_why(b, -ENOMEM, "no memory");
	b->priv = r;
	r->job = b->scenario->arg;
	r->kind = b->side == BENCH_OURS ? VMDEV_OURS : r->job->peer;
	r->listener = r->tcp = r->udp = r->tap.fd = r->tap.packet = -1;
	if (!getenv("UVBENCH_GUEST_KERNEL") || !getenv("UVBENCH_GUEST_INITRD"))
		return bench_why(b, BENCH_LACKS,
				 "no guest to boot (make bench-vm makes one)");
	ret = vmdev_lacks(b, r->kind);
	if (ret < 0)
		return ret;
	vmdev_threads(&r->threads, b, r->kind);
	ret = open_all(b, r, &what);
	if (ret < 0)
		return say_why(b, ret, what);
	pin_all(b, r);
	return warm_up(b);
}

static void close_guest(struct bench *b)
{
	struct run *r = b->priv;

	if (!r)
		return;
	bench_end(r->qemu);
	for (unsigned int i = 0; i < 3; i++) {
		int fd = i == 0 ? r->tcp : i == 1 ? r->udp : r->listener;

		if (fd >= 0)
			close(fd);
	}
	vmtap_close(&r->tap);
	free(r);
	b->priv = NULL;
}

/* ---- the list ---- */

static const char *const device[] = { "--device", BENCH_DEVICE("uvhost-net"),
				      NULL };

#define ENTRY(name_, what_, op_, peer_, kind, traffic_, copied_)   \
	{                                                          \
		.name = "vm/guest/" name_,                         \
		.what = (what_),                                   \
		.op = (op_),                                       \
		.measure = BENCH_RATE,                             \
		.peer = (peer_),                                   \
		.device = device,                                  \
		.open = open_guest,                                \
		.slice = slice_guest,                              \
		.close = close_guest,                              \
		.arg = &(const struct job){ .peer = (kind),        \
					    .traffic = (traffic_), \
					    .copied = (copied_) }, \
	}

#define ALL(name_, memory, peer_, kind, copied_)                               \
	ENTRY(name_ "/tcp-up" memory, "TCP from a Linux guest", "KiB", peer_,  \
	      kind, TCP_UP, copied_),                                          \
		ENTRY(name_ "/tcp-down" memory, "TCP to a Linux guest", "KiB", \
		      peer_, kind, TCP_DOWN, copied_),                         \
		ENTRY(name_ "/udp-up" memory,                                  \
		      "UDP of 1500 B from a Linux guest", "datagram", peer_,   \
		      kind, UDP_UP, copied_),                                  \
		ENTRY(name_ "/udp-down" memory,                                \
		      "UDP of 1500 B to a Linux guest", "datagram", peer_,     \
		      kind, UDP_DOWN, copied_)

const struct scenario scenarios_vmguest[] = {
	ALL("kernel", "/mapped", "kernel vhost-net", VMDEV_KERNEL, false),
	ALL("kernel", "/copied", "kernel vhost-net", VMDEV_KERNEL, true),
	ALL("qemu", "", "QEMU virtio-net", VMDEV_QEMU, false),
	{ 0 },
};
