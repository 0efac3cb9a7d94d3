/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * broken-neighbour [ROUNDS [STEPS]] - one guest does everything wrong, beside
 * another that must not notice.
 *
 * A, the parent, moves numbered frames through one session (flow.h): each has
 * to come once, in order, with every byte. B is a process of its own, in a
 * network of its own, that lives for ROUNDS rounds. In each a new process opens
 * the device, starts it (with any kind of memory, any features) and takes
 * STEPS steps: garbage into rings, descriptors, indirect tables and buffers,
 * often of a plausible kind; any ioctl with odd arguments; memory cut off,
 * unmapped or replaced under the device; a truncated memfd (SIGBUS in the
 * daemon); kicks, and frames from its port, all the time. It ends by itself,
 * by SIGKILL in the middle, or by an exec that keeps the device open.
 *
 * B writes to its memory through /proc/self/mem, which answers with errors
 * where a store would kill. It may die of what it does all the same.
 *
 * With --alone there is no A; a real guest takes its part (the script).
 * $UVHOST_DEV: the device. $UVHOST_SEED repeats B's steps (not their timing).
 * $UVHOST_PID: the daemon, whose descriptors and threads must be the same when
 * B has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <linux/memfd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "die.h"
#include "flow.h"
#include "random.h"
#include "vmm.h"
#include "vmm_net.h"

#define STALL_MS 60000
#define ROUND_MS 60000 /* a round that lasts longer hangs */
#define MEM_SIZE (UINT64_C(4) << 20)
#define AFTER_EXEC "--after-exec"

static const char *device = "/dev/uvhost-net";

/* ---- B: one round ---- */

struct rogue {
	struct vmm *v;
	int tap, far; /* the port, and its far side */
	int mem;      /* /proc/self/mem */
	int memfd;    /* of the guest's memory; -1 */
	uint8_t *hva;
	unsigned int num;
};

/* Stores without a fault: the place may be gone. */
static void poke(const struct rogue *b, uint64_t uva, const void *p, size_t n)
{
	if (pwrite(b->mem, p, n, (off_t)uva) < 0)
		return;
}

static void poke16(const struct rogue *b, uint64_t uva, uint16_t x)
{
	poke(b, uva, &x, sizeof(x));
}

/* An address a guest might name: nearly always its own, not always in range. */
static uint64_t odd_gpa(void)
{
	switch (random_below(8)) {
	case 0:
		return random_u64();
	case 1:
		return MEM_SIZE - random_below(64);
	case 2:
		return UINT64_MAX - random_below(4096);
	case 3:
		return random_below(64);
	default:
		return random_u64() % MEM_SIZE;
	}
}

static uint32_t odd_len(void)
{
	switch (random_below(6)) {
	case 0:
		return (uint32_t)random_u64();
	case 1:
		return random_below(16);
	case 2:
		return 65535 + random_below(64);
	default:
		return random_below(4096);
	}
}

static struct vring_desc odd_desc(const struct rogue *b)
{
	static const uint16_t flags[] = {
		0,
		VRING_DESC_F_NEXT,
		VRING_DESC_F_WRITE,
		VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
		VRING_DESC_F_INDIRECT,
		VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT,
		0xffff,
	};
	struct vring_desc d = {
		.addr = odd_gpa(),
		.len = odd_len(),
		.flags = flags[random_below(7)],
		.next = (uint16_t)random_below(b->num + one_in(8)),
	};

	if (d.flags & VRING_DESC_F_INDIRECT && !one_in(4))
		d.len = 16 * (1 + random_below(64));
	return d;
}

/* Descriptors, and as much of memory as a table could be taken from. */
static void step_descs(struct rogue *b)
{
	const struct vmm_ring *r = &b->v->q[random_below(2)].ring;
	struct vring_desc d[64];
	unsigned int n = 1 + random_below(64);
	uint64_t at = (uintptr_t)b->hva + random_below(MEM_SIZE - 4096);

	for (unsigned int i = 0; i < n; i++)
		d[i] = odd_desc(b);
	if (one_in(2))
		poke(b, at, d, n * sizeof(*d));
	else
		poke(b, (uintptr_t)&r->desc[random_below(b->num)], d,
		     n * sizeof(*d));
}

/* Entries, and an index that is now and then further than the ring is long. */
static void step_avail(struct rogue *b)
{
	unsigned int qi = random_below(2);
	const struct vmm_ring *r = &b->v->q[qi].ring;
	unsigned int n =
		one_in(16) ? random_below(65536) : random_below(b->num + 1);
	unsigned int base;

	for (unsigned int i = 0; i < 16; i++)
		poke16(b, (uintptr_t)&r->avail->ring[random_below(b->num)],
		       (uint16_t)random_below(b->num + one_in(8)));
	/* from where the device is, if it says so */
	if (vmm_get_vring_base(b->v->fd, qi, &base) < 0)
		base = random_below(65536);
	poke16(b, (uintptr_t)&r->avail->idx, (uint16_t)(base + n));
	poke16(b, (uintptr_t)&r->avail->flags, (uint16_t)random_below(3));
	vmm_kick(b->v, qi);
}

/* A chain that is right, or would be if it were left alone. */
static void step_chain(struct rogue *b)
{
	unsigned int qi = random_below(2), head = random_below(b->num), base;
	const struct vmm_ring *r = &b->v->q[qi].ring;
	struct vring_desc d = {
		.addr = random_below(MEM_SIZE / 2),
		.len = 64 + random_below(1500),
		.flags = qi == VMM_RX ? VRING_DESC_F_WRITE : 0,
	};

	if (vmm_get_vring_base(b->v->fd, qi, &base) < 0)
		return;
	poke(b, (uintptr_t)&r->desc[head], &d, sizeof(d));
	poke16(b, (uintptr_t)&r->avail->ring[base % b->num], (uint16_t)head);
	poke16(b, (uintptr_t)&r->avail->idx, (uint16_t)(base + 1));
	vmm_kick(b->v, qi);
	d.addr = odd_gpa();
	d.len = odd_len();
	poke(b, (uintptr_t)&r->desc[head], &d, sizeof(d));
}

static void step_noise(struct rogue *b)
{
	uint64_t noise[32];

	for (unsigned int i = 0; i < 32; i++)
		noise[i] = random_u64();
	for (unsigned int i = 0; i < 8; i++) {
		const struct vmm_queue *q = &b->v->q[random_below(2)];
		size_t bytes = vmm_ring_bytes(b->num);

		poke(b, q->ring_uva + random_below((uint32_t)bytes), noise,
		     1 + random_below(sizeof(noise)));
	}
}

static void step_kick(struct rogue *b)
{
	vmm_kick(b->v, VMM_RX);
	vmm_kick(b->v, VMM_TX);
}

static void step_frames(struct rogue *b)
{
	uint8_t frame[1514];

	for (unsigned int i = 0; i < 16; i++) {
		size_t len = 60 + random_below(1455);

		vmm_frame(frame, len, i);
		if (send(b->far, frame, len, MSG_DONTWAIT) < 0)
			return;
	}
}

static void step_mem_table(struct rogue *b)
{
	struct { /* struct vhost_memory with eight regions */
		uint32_t nregions, padding;
		struct vhost_memory_region r[8];
	} t = { .nregions = random_below(9) };

	for (unsigned int i = 0; i < 8; i++) {
		t.r[i].guest_phys_addr =
			one_in(4) ? odd_gpa() : i * (MEM_SIZE / 8);
		t.r[i].memory_size = one_in(4) ? odd_gpa() : MEM_SIZE / 8;
		t.r[i].userspace_addr =
			one_in(6) ? random_u64()
				  : (uintptr_t)b->hva + odd_gpa() % MEM_SIZE;
	}
	if (one_in(2))
		vmm_set_mem_table(b->v->fd, &b->v->mem); /* the right one */
	else
		vmm_ioctl(b->v->fd, VHOST_SET_MEM_TABLE, &t);
}

static void step_addr(struct rogue *b)
{
	struct vhost_vring_addr a = vmm_vring_addr(b->v, random_below(2));

	switch (random_below(6)) {
	case 0:
		a.desc_user_addr += 16 * random_below(256);
		break;
	case 1:
		a.avail_user_addr = (uintptr_t)b->hva + 2 * random_below(4096);
		break;
	case 2:
		a.used_user_addr = (uintptr_t)b->hva + MEM_SIZE - 4096 +
				   4 * random_below(2048);
		break;
	case 3:
		a.used_user_addr = random_u64() & ~UINT64_C(3);
		break;
	case 4:
		a.flags = random_below(2);
		a.log_guest_addr = odd_gpa() & ~UINT64_C(3);
		break;
	default:
		break;
	}
	vmm_ioctl(b->v->fd, VHOST_SET_VRING_ADDR, &a);
}

static void step_backend(struct rogue *b)
{
	unsigned int qi = random_below(3); /* 2: no such ring */

	switch (random_below(6)) {
	case 0:
		vmm_set_backend(b->v->fd, qi, -1);
		break;
	case 1:
		vmm_set_backend(b->v->fd, qi, b->far);
		break;
	case 2:
		vmm_set_backend(b->v->fd, qi, (int)random_below(40));
		break;
	default:
		vmm_set_backend(b->v->fd, qi, b->tap);
	}
}

/* Any descriptor as eventfd; new ones of its own. */
static void step_eventfd(struct rogue *b)
{
	unsigned int qi = random_below(2);
	int fd = one_in(4) ? (int)random_below(40) - 2
			   : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	switch (random_below(4)) {
	case 0:
		vmm_set_vring_call(b->v->fd, qi, fd);
		break;
	case 1:
		vmm_set_vring_err(b->v->fd, qi, fd);
		break;
	case 2:
		vmm_set_log_fd(b->v->fd, fd);
		break;
	default:
		vmm_set_vring_kick(b->v->fd, qi, b->v->q[qi].kick);
	}
	if (fd >= 40)
		close(fd);
}

static void step_state(struct rogue *b)
{
	unsigned int qi = random_below(2);

	switch (random_below(8)) {
	case 0:
		vmm_set_features(b->v->fd, random_u64() & random_u64());
		break;
	case 1:
		vmm_set_features(b->v->fd, b->v->features);
		break;
	case 2:
		vmm_set_vring_num(b->v->fd, qi, 1u << random_below(17));
		break;
	case 3:
		vmm_set_vring_base(b->v->fd, qi, random_below(65537));
		break;
	case 4:
		vmm_set_log_base(b->v->fd, odd_gpa());
		break;
	case 5:
		vmm_set_busyloop(b->v->fd, qi, random_below(50));
		break;
	case 6:
		vmm_iotlb_send(b->v->fd, (uint8_t)(1 + random_below(5)),
			       odd_gpa(), odd_len(),
			       (uintptr_t)b->hva + odd_gpa() % MEM_SIZE,
			       (uint8_t)random_below(4));
		break;
	default:
		if (one_in(4))
			vmm_reset_owner(b->v->fd);
		vmm_start(b->v, b->tap);
	}
}

/* Memory goes, comes back as another kind, or as unmapped memory. */
static void step_memory(struct rogue *b)
{
	uint8_t *at = b->hva + random_below((uint32_t)MEM_SIZE / 4096) * 4096;
	size_t len = (1 + random_below(256)) * 4096;

	if (len > (size_t)(b->hva + MEM_SIZE - at))
		len = (size_t)(b->hva + MEM_SIZE - at);
	switch (random_below(6)) {
	case 0:
	case 1:
		if (b->memfd < 0 ||
		    ftruncate(b->memfd, random_below(MEM_SIZE)) < 0)
			break;
		if (one_in(2)) {
			step_kick(b);
			sched_yield();
		}
		if (one_in(2) && ftruncate(b->memfd, MEM_SIZE) < 0)
			break;
		break;
	case 2:
		munmap(at, len);
		break;
	case 3:
		mprotect(at, len, one_in(2) ? PROT_NONE : PROT_READ);
		break;
	case 4:
		madvise(at, len, MADV_DONTNEED);
		break;
	default:
		mmap(at, len, PROT_READ | PROT_WRITE,
		     MAP_FIXED | MAP_ANONYMOUS |
			     (one_in(2) ? MAP_PRIVATE : MAP_SHARED),
		     -1, 0);
	}
	step_kick(b);
}

static void take_step(struct rogue *b)
{
	static void (*const steps[])(struct rogue *) = {
		step_descs,     step_descs, step_avail,   step_avail,
		step_avail,     step_chain, step_chain,   step_chain,
		step_noise,     step_kick,  step_frames,  step_frames,
		step_mem_table, step_addr,  step_backend, step_eventfd,
		step_state,
	};

	steps[random_below(sizeof(steps) / sizeof(steps[0]))](b);
}

static void make_memory(struct rogue *b, struct vmm_mem *mem)
{
	unsigned int kind = random_below(3);
	int flags = kind == 0 ? MAP_PRIVATE | MAP_ANONYMOUS
			      : MAP_SHARED | (kind == 1 ? MAP_ANONYMOUS : 0);
	void *p;

	b->memfd = -1;
	if (kind == 2) {
		b->memfd = memfd_create("rogue", MFD_CLOEXEC);
		if (b->memfd < 0 || ftruncate(b->memfd, MEM_SIZE) < 0)
			die(-errno, "memfd");
	}
	p = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, flags, b->memfd, 0);
	if (p == MAP_FAILED)
		die(-errno, "memory");
	b->hva = p;
	*mem = (struct vmm_mem){
		.n = 1,
		.region[0] = { .size = MEM_SIZE, .hva = p, .used = 4096 },
	};
}

static uint64_t some_features(void)
{
	static const unsigned int bits[] = {
		VIRTIO_F_NOTIFY_ON_EMPTY, VIRTIO_RING_F_INDIRECT_DESC,
		VIRTIO_RING_F_EVENT_IDX,  VIRTIO_F_ANY_LAYOUT,
		VIRTIO_F_VERSION_1,       VIRTIO_NET_F_MRG_RXBUF,
	};
	uint64_t f = 0;

	for (unsigned int i = 0; i < 6; i++)
		f |= one_in(2) ? VMM_BIT(bits[i]) : 0;
	if (one_in(8))
		f |= VMM_BIT(VHOST_F_LOG_ALL);
	if (one_in(8))
		f |= VMM_BIT(VIRTIO_F_ACCESS_PLATFORM);
	return f;
}

/* What is open stays open, but the address space is another. */
static void exec_on(const struct rogue *b)
{
	char self[] = "/proc/self/exe", mode[] = AFTER_EXEC, dev[12], kick[12];
	char *args[] = { self, mode, dev, kick, NULL };

	snprintf(dev, sizeof(dev), "%d", b->v->fd);
	snprintf(kick, sizeof(kick), "%d", b->v->q[VMM_TX].kick);
	fcntl(b->v->fd, F_SETFD, 0);
	fcntl(b->v->q[VMM_TX].kick, F_SETFD, 0);
	fcntl(b->tap, F_SETFD, 0);
	execv(self, args);
	die(-errno, "exec");
}

static int after_exec(int dev, int kick)
{
	const uint64_t one = 1;
	uint64_t features;

	for (unsigned int i = 0; i < 50; i++) {
		if (write(kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
			die(-errno, "kick");
		must(vmm_get_features(dev, &features), "after exec");
		vmm_set_owner(dev);
		vmm_set_backend(dev, VMM_TX, -1);
	}
	return 0;
}

/* A round, in a process of its own; how it ends is its own affair. */
static void __attribute__((noreturn)) run_round(struct rogue *b,
						unsigned int steps)
{
	struct vmm_mem mem;
	struct vmm_config config = {
		.path = device,
		.own_mem = &mem,
		.rings_outside = one_in(4),
	};
	/* What breaks the memory for good comes late. */
	unsigned int calm = random_below(steps + 1);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	b->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (b->mem < 0)
		die(-errno, "/proc/self/mem");
	make_memory(b, &mem);
	b->num = 1u << random_below(10);
	config.num[VMM_RX] = config.num[VMM_TX] = b->num;
	config.features = some_features();
	must(vmm_new(&config, &b->v), device);
	vmm_start(b->v, b->tap); /* may well be refused */
	for (unsigned int i = 0; i < steps; i++) {
		if (i > calm && one_in(8))
			step_memory(b);
		else
			take_step(b);
	}
	switch (random_below(4)) {
	case 0:
		raise(SIGKILL);
		break;
	case 1:
		exec_on(b);
		break;
	case 2:
		close(b->v->fd);
		break;
	default:
		break;
	}
	_exit(0);
}

/* ---- B: all rounds ---- */

/* Waits for the round, or kills it in the middle after @us. */
static void end_round(pid_t pid, unsigned int round, int us)
{
	int64_t end = vmm_now_ms() + ROUND_MS;
	int status;

	if (us >= 0) {
		usleep((unsigned int)us);
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (vmm_now_ms() >= end) {
			fprintf(stderr, "broken-neighbour: round %u hangs\n",
				round);
			kill(pid, SIGKILL);
			exit(1);
		}
		usleep(200);
	}
	/* A signal is fine: it writes past its rings, the device on its behalf
	 * wherever it says, and some of that hits itself. */
	if (WIFEXITED(status) && WEXITSTATUS(status)) {
		fprintf(stderr, "broken-neighbour: round %u: status 0x%x\n",
			round, status);
		exit(1);
	}
}

static void run_b(unsigned int rounds, unsigned int steps)
{
	const struct vmm_tap_config tap = { .hdr_len = 12 };
	struct rogue b = { 0 };
	char ifname[IFNAMSIZ];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	must(vmm_net_enter(), "B's network");
	b.tap = must(vmm_tap_open(&tap, ifname), "B's tap");
	b.far = must(vmm_packet_open(ifname, VMM_ETHERTYPE, false),
		     "B's packet socket");
	for (unsigned int i = 0; i < rounds; i++) {
		bool cut_short = one_in(4);
		int us = (int)random_below(20000);
		uint64_t seed = random_u64() | 1;
		pid_t pid = fork();

		if (pid < 0)
			die(-errno, "fork");
		if (pid == 0) {
			random_state = seed;
			run_round(&b, steps);
		}
		end_round(pid, i, cut_short ? us : -1);
	}
}

/* ---- A ---- */

struct neighbour {
	const char *name;
	struct vmm *v;
	struct flow flow;
	int tap;
};

static void start_a(struct neighbour *a, enum vmm_mem_kind kind)
{
	const struct vmm_tap_config tap = { .hdr_len = 12 };
	const struct vmm_config config = {
		.path = device,
		.mem_kind = kind,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC),
	};
	char ifname[IFNAMSIZ];

	a->name = kind == VMM_MEM_PRIVATE ? "private" : "memfd";
	a->tap = must(vmm_tap_open(&tap, ifname), "A's tap");
	must(vmm_new(&config, &a->v), device);
	must(flow_init(&a->flow, a->v, 1024), "flow");
	flow_add_port(&a->flow,
		      must(vmm_packet_open(ifname, VMM_ETHERTYPE, false),
			   "A's packet socket"));
	must(vmm_start(a->v, a->tap), "A");
}

static int run_a(struct neighbour *a, uint64_t frames)
{
	int ret = flow_run(&a->flow, frames, STALL_MS);

	if (ret < 0)
		fprintf(stderr, "broken-neighbour: A (%s): %s\n", a->name,
			a->flow.error);
	return ret;
}

static bool ring_errors(const struct neighbour *a)
{
	return vmm_event_count(a->v->q[VMM_RX].err) ||
	       vmm_event_count(a->v->q[VMM_TX].err);
}

static int end_a(struct neighbour *a, int ret)
{
	if (ret == 0)
		ret = flow_drain(&a->flow, 1, STALL_MS);
	if (ret == 0 && ring_errors(a)) {
		snprintf(a->flow.error, sizeof(a->flow.error), "ring error");
		ret = -EIO;
	}
	printf("A (%s): %u frames from it, %u to it: %s\n", a->name,
	       a->flow.tx_base, a->flow.port[0].rx_got,
	       ret == 0 ? "each once, in order" : a->flow.error);
	flow_free(&a->flow);
	vmm_free(a->v);
	close(a->tap);
	return ret;
}

/* B begins when *@go is closed. It is made before A opens anything that it
 * could hold open. */
static pid_t make_b(unsigned int rounds, unsigned int steps, int *go)
{
	int fds[2];
	pid_t pid;
	char c;

	if (pipe2(fds, O_CLOEXEC) < 0)
		die(-errno, "pipe");
	pid = fork();
	if (pid < 0)
		die(-errno, "fork");
	if (pid == 0) {
		close(fds[1]);
		if (read(fds[0], &c, 1) == 0)
			run_b(rounds, steps);
		_exit(0);
	}
	close(fds[0]);
	*go = fds[1];
	return pid;
}

static int beside(unsigned int rounds, unsigned int steps, pid_t daemon_pid)
{
	struct neighbour a[2] = { 0 };
	struct footprint before;
	uint64_t moved;
	int status = 0, ret = 0, go;
	pid_t b;

	must(vmm_net_enter(), "A's network");
	b = make_b(rounds, steps, &go);
	start_a(&a[0], VMM_MEM_PRIVATE);
	start_a(&a[1], VMM_MEM_MEMFD);
	ret = run_a(&a[0], 200);
	ret = ret ? ret : run_a(&a[1], 200);
	before = footprint_of(daemon_pid);
	moved = a[0].flow.moved + a[1].flow.moved;
	close(go);
	while (ret == 0 && waitpid(b, &status, WNOHANG) == 0) {
		ret = run_a(&a[0], 64);
		ret = ret ? ret : run_a(&a[1], 64);
	}
	moved = a[0].flow.moved + a[1].flow.moved - moved;
	if (ret == 0 && status) {
		fprintf(stderr, "broken-neighbour: B: status 0x%x\n", status);
		ret = -ECHILD;
	}
	ret = ret ? ret : run_a(&a[0], 200);
	ret = ret ? ret : run_a(&a[1], 200);
	if (ret == 0 && daemon_pid)
		ret = footprint_wait(daemon_pid, before, STALL_MS);
	if (ret == -ETIMEDOUT) {
		struct footprint now = footprint_of(daemon_pid);

		fprintf(stderr,
			"broken-neighbour: %u descriptors and %u threads "
			"before B, %u and %u after\n",
			before.fds, before.threads, now.fds, now.threads);
	}
	if (ret < 0)
		kill(b, SIGKILL);
	printf("%llu frames beside %u rounds of B\n", (unsigned long long)moved,
	       rounds);
	for (unsigned int i = 0; i < 2; i++)
		if (end_a(&a[i], ret) < 0)
			ret = -EIO;
	return ret < 0;
}

int main(int argc, char **argv)
{
	const char *seed = getenv("UVHOST_SEED"), *pid = getenv("UVHOST_PID");
	bool alone = argc > 1 && strcmp(argv[1], "--alone") == 0;
	unsigned int rounds, steps;

	if (argc == 4 && strcmp(argv[1], AFTER_EXEC) == 0)
		return after_exec(atoi(argv[2]), atoi(argv[3]));
	argc -= alone;
	argv += alone;
	rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 100;
	steps = argc > 2 ? (unsigned int)atoi(argv[2]) : 200;
	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid();
	printf("UVHOST_SEED=%llu\n", (unsigned long long)random_state);
	fflush(stdout);
	random_state = (random_state + 1) * 0x9e3779b97f4a7c15;
	if (!alone)
		return beside(rounds, steps, pid ? (pid_t)atoi(pid) : 0);
	run_b(rounds, steps);
	return 0;
}
