/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * backend-swap [SWAPS [LINE]] - takes the backend of a running device away and
 * gives it another, or the same again, while frames flow both ways.
 *
 * Two threads: one moves numbered frames (flow.h), the other makes the ioctls.
 * It never waits for the first to stop: it waits until a random number of
 * frames has come out somewhere, so that a swap falls into any state of the
 * rings. Frames sent to a port that is no backend at the time stay in its own
 * queue and must be there when it is one again.
 *
 * Lines, each with private and with shared memory:
 *   same    one tap, taken away and given back; small mergeable buffers on a
 *           short ring, so that frames are often held for want of buffers
 *   taps    two taps, RX and TX each on its own way
 *   packet  a tap and a packet socket, without headers
 *
 * $UVHOST_DEV: the device; $UVHOST_SEED; $UVHOST_PID: the daemon, whose
 * descriptors and threads must be the same at the end of each line.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "die.h"
#include "flow.h"
#include "random.h"
#include "vmm.h"
#include "vmm_net.h"

#define STALL_MS 60000
#define FRAMES_MAX 100 /* frames between two swaps */

static const char *device = "/dev/uvhost-net";
static pid_t daemon_pid;

static const struct line {
	const char *name;
	uint64_t features;
	unsigned int taps, packets, num;
	uint32_t rx_len;
	bool headers;
} lines[] = {
	{ "same",
	  VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) |
		  VMM_BIT(VIRTIO_RING_F_EVENT_IDX),
	  1, 0, 16, 256, true },
	{ "taps",
	  VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC), 2,
	  0, 64, 2048, true },
	{ "packet",
	  VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
		  VMM_BIT(VHOST_NET_F_VIRTIO_NET_HDR),
	  1, 1, 64, 2048, false },
};

/* ---- one line ---- */

struct swap {
	const struct line *line;
	struct vmm *v;
	struct flow flow;
	int backend[FLOW_PORTS];
	int now[VMM_QUEUES]; /* port of each queue */
	bool stop;
	pthread_t thread;
	int result; /* the thread's */
	unsigned int stopped, replaced, same;
};

static void *move_frames(void *arg)
{
	struct swap *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		s->result = flow_step(&s->flow, true);
		if (s->result < 0)
			break;
		if (s->result == 0)
			flow_wait(&s->flow, 1);
	}
	return NULL;
}

/* A veth that has just come up drops frames, and does not say so, until the
 * kernel has given it a queue: until a frame of another type comes through. */
static void settle(const char *a, const char *b)
{
	const unsigned int type = VMM_ETHERTYPE + 1;
	int from = must(vmm_packet_open(a, type, false), "packet socket");
	int to = must(vmm_packet_open(b, type, false), "packet socket");
	uint8_t frame[60], got[60];

	vmm_frame(frame, sizeof(frame), 0);
	frame[12] = type >> 8;
	frame[13] = type & 0xff;
	for (int i = 0; i < 100; i++) {
		if (send(from, frame, sizeof(frame), 0) < 0)
			continue;
		if (vmm_packet_recv(to, got, sizeof(got), 50) > 0)
			break;
	}
	close(from);
	close(to);
}

static void open_ports(struct swap *s)
{
	const struct vmm_tap_config tap = {
		.hdr_len = s->line->headers ? 12 : -1,
	};
	char a[IFNAMSIZ], b[IFNAMSIZ];
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->line->taps; i++) {
		s->backend[n++] = must(vmm_tap_open(&tap, a), "tap");
		flow_add_port(&s->flow,
			      must(vmm_packet_open(a, VMM_ETHERTYPE, false),
				   "packet socket"));
	}
	for (unsigned int i = 0; i < s->line->packets; i++) {
		must(vmm_veth(a, b), "veth");
		settle(a, b);
		settle(b, a);
		s->backend[n++] = must(vmm_packet_open(a, VMM_ETHERTYPE, false),
				       "packet socket");
		flow_add_port(&s->flow,
			      must(vmm_packet_open(b, VMM_ETHERTYPE, false),
				   "packet socket"));
	}
}

static void set(struct swap *s, unsigned int qi, int port)
{
	must(vmm_set_backend(s->v->fd, qi, port < 0 ? -1 : s->backend[port]),
	     "SET_BACKEND");
	if (port >= 0)
		s->now[qi] = port;
}

/* As QEMU does it: the base is read and set again. */
static void stop(struct swap *s, unsigned int qi)
{
	unsigned int base;

	set(s, qi, -1);
	if (random_below(2))
		return;
	must(vmm_get_vring_base(s->v->fd, qi, &base), "GET_VRING_BASE");
	must(vmm_set_vring_base(s->v->fd, qi, base), "SET_VRING_BASE");
}

static void swap_queue(struct swap *s, unsigned int qi)
{
	int port = (int)random_below(s->flow.nports);

	if (random_below(3)) {
		stop(s, qi);
		s->stopped++;
	} else if (port == s->now[qi]) {
		/* the same open file under another number: nothing happens */
		int fd = dup(s->backend[port]);

		must(vmm_set_backend(s->v->fd, qi, fd), "SET_BACKEND");
		close(fd);
		s->same++;
		return;
	} else {
		s->replaced++;
	}
	set(s, qi, port);
}

static void swap(struct swap *s)
{
	unsigned int which = 1 + random_below(3);

	if (which == 3 && !random_below(2)) {
		/* both at rest for a moment */
		int rx = (int)random_below(s->flow.nports), tx = rx;

		stop(s, VMM_RX);
		stop(s, VMM_TX);
		set(s, VMM_TX, tx);
		set(s, VMM_RX, rx);
		s->stopped += 2;
		return;
	}
	if (which & 1)
		swap_queue(s, VMM_RX);
	if (which & 2)
		swap_queue(s, VMM_TX);
}

/* Until some frames have come out. TX always has a way. */
static int wait_for_frames(struct swap *s)
{
	uint64_t want = __atomic_load_n(&s->flow.moved, __ATOMIC_RELAXED) +
			random_below(FRAMES_MAX);
	int64_t end = vmm_now_ms() + STALL_MS;

	while (__atomic_load_n(&s->flow.moved, __ATOMIC_RELAXED) < want) {
		if (vmm_now_ms() >= end)
			return -ETIMEDOUT;
		usleep(50);
	}
	return 0;
}

static void start(struct swap *s, enum vmm_mem_kind kind)
{
	const struct vmm_config config = {
		.path = device,
		.mem_kind = kind,
		.num = { s->line->num, 256 },
		.features = s->line->features,
	};

	must(vmm_new(&config, &s->v), device);
	must(flow_init(&s->flow, s->v, s->line->rx_len), "flow");
	open_ports(s);
	must(vmm_start(s->v, s->backend[0]), "start");
	must(flow_run(&s->flow, 100, STALL_MS), "first frames");
}

/* What is left comes out when each port is the RX backend in turn. */
static int finish(struct swap *s)
{
	int ret = 0;

	for (unsigned int i = 0; i < s->flow.nports && ret == 0; i++) {
		set(s, VMM_RX, (int)i);
		ret = flow_drain(&s->flow, 1u << i, STALL_MS);
	}
	return ret;
}

static void clean_up(struct swap *s)
{
	for (unsigned int i = 0; i < s->flow.nports; i++)
		close(s->backend[i]);
	flow_free(&s->flow);
	vmm_stop(s->v); /* before its memory goes: see restart.c */
	vmm_free(s->v);
}

static int run_line(const struct line *line, enum vmm_mem_kind kind,
		    unsigned int swaps)
{
	struct swap s = { .line = line };
	struct footprint before;
	int ret = 0;

	start(&s, kind);
	before = footprint_of(daemon_pid);
	if (pthread_create(&s.thread, NULL, move_frames, &s))
		die(-EAGAIN, "thread");
	for (unsigned int i = 0; i < swaps && ret == 0; i++) {
		swap(&s);
		ret = wait_for_frames(&s);
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(s.thread, NULL);
	if (s.result < 0)
		ret = s.result;
	if (ret == 0)
		ret = finish(&s);
	if (ret < 0) {
		fprintf(stderr, "backend-swap: %s\n",
			s.flow.error[0] ? s.flow.error : "frames stand still");
		if (daemon_pid)
			kill(daemon_pid, SIGUSR1);
	}
	set(&s, VMM_RX, 0);
	if (daemon_pid && ret == 0) {
		ret = footprint_wait(daemon_pid, before, STALL_MS);
		if (ret < 0)
			fprintf(stderr,
				"backend-swap: %u descriptors before, %u "
				"after\n",
				before.fds, footprint_of(daemon_pid).fds);
	}
	printf("%-6s %-7s %4u stops %4u replacements %4u the same, %8llu "
	       "frames: %s\n",
	       line->name, kind == VMM_MEM_PRIVATE ? "private" : "memfd",
	       s.stopped, s.replaced, s.same, (unsigned long long)s.flow.moved,
	       ret == 0 ? "each once, in order" : "FAILED");
	fflush(stdout);
	clean_up(&s);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned int swaps = argc > 1 ? (unsigned int)atoi(argv[1]) : 200;
	const char *seed = getenv("UVHOST_SEED"), *pid = getenv("UVHOST_PID");
	int status = 0;

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	daemon_pid = pid ? (pid_t)atoi(pid) : 0;
	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid();
	printf("UVHOST_SEED=%llu\n", (unsigned long long)random_state);
	random_state = (random_state + 1) * 0x9e3779b97f4a7c15;
	must(vmm_net_enter(), "network namespace");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (argc > 2 && strcmp(argv[2], lines[i].name) != 0)
			continue;
		if (run_line(&lines[i], VMM_MEM_PRIVATE, swaps) < 0 ||
		    run_line(&lines[i], VMM_MEM_MEMFD, swaps) < 0)
			status = 1;
	}
	return status;
}
