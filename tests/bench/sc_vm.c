/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_vm.c: our character device beside the kernel's vhost-net and QEMU's own
 * virtio-net, with the bench as the guest (make bench-vm).
 *
 *   tx     the guest keeps its ring full of frames; the tap's kernel drops them
 *   rx     the tap's queue is filled while the guest has no buffers; then the
 *          guest gives buffers until the queue is empty, and only that counts
 *
 *   starved  frames come, one at a time, while the guest has no buffers; then
 *          it gets them all, which does not count
 *
 *   trip   an ICMP echo request goes to the tap's kernel and is answered. The
 *          guest spins, or sleeps until it is called, or does that after 1 ms
 *          in which nothing happened. The time is the median of a slice
 *
 *   start  open(2) to SET_BACKEND, in QEMU's order; close: close(2) after that
 *
 * Device and guest have a processor each (if there are two). Each slice begins
 * and ends with empty rings and a device that sleeps, so that its processor
 * time is exact; it includes ksoftirqd's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "vmdev.h"
#include "vmtap.h"

#define STUCK_MS 60000
#define SETTLE_US 2000 /* until a worker sleeps */
#define IDLE_US 1000
#define ARRIVAL_US 200 /* between frames for a guest without buffers */
#define REAP 64
#define SMALL_BUF 2048
#define GSO_BUF 4096
/* Headers, and two pieces: Linux's buffers for TCP have 32 KiB. */
#define GSO_CHAIN 3
#define GSO_PIECE 32768
#define TRIP_LEN 64
#define TRIP_BUFS 64
#define TRIPS_MAX 8192

enum what { TX, RX, STARVED, TRIP, START, CLOSE, FEATURES, TABLE };
enum waiting { SPIN, SLEEP, IDLE };

struct job {
	enum vmdev_kind peer;
	enum what what;
	size_t len;
	bool copied;
	enum waiting waiting;
};

struct run {
	const struct job *job;
	enum vmdev_kind kind;
	struct vmtap tap;
	struct vmdev dev;
	uint64_t buf[VMM_QUEUES]; /* gpa */
	size_t len;               /* bytes of a frame, header included */
	uint16_t number;          /* of the next echo request */
	double took[TRIPS_MAX];
};

static bool is_gso(const struct run *r)
{
	return r->job->len == VMTAP_GSO;
}

static int stuck(struct bench *b, unsigned int qi, unsigned int n)
{
	return bench_why(b, -ETIMEDOUT,
			 "%u buffers of the %s ring did not come back in %d s",
			 n, qi == VMM_RX ? "RX" : "TX", STUCK_MS / 1000);
}

/* ---- from the guest ---- */

static unsigned int tx_slots(const struct run *r)
{
	return is_gso(r) ? VMDEV_NUM / GSO_CHAIN : VMDEV_NUM;
}

static size_t tx_room(const struct run *r)
{
	return is_gso(r) ? VMTAP_ROOM : SMALL_BUF;
}

static int prepare_tx(struct run *r)
{
	static uint8_t frame[VMTAP_ROOM];
	unsigned int n = tx_slots(r);

	r->buf[VMM_TX] =
		vmm_mem_alloc(r->dev.mem, (uint64_t)n * tx_room(r), 4096);
	if (!r->buf[VMM_TX])
		return -ENOMEM;
	r->len = vmtap_frame(r->job->len, frame);
	for (unsigned int i = 0; i < n; i++)
		memcpy(vmm_mem_ptr(r->dev.mem,
				   r->buf[VMM_TX] + (uint64_t)i * tx_room(r)),
		       frame, r->len);
	return 0;
}

static void post_tx(struct run *r, uintptr_t i)
{
	uint64_t at = r->buf[VMM_TX] + i * tx_room(r);
	const uint32_t headers = VMTAP_HDR + VMTAP_HEADERS;
	struct vmm_seg seg[GSO_CHAIN] = { { .addr = at,
					    .len = (uint32_t)r->len } };
	unsigned int n = 1;

	if (is_gso(r)) {
		n = GSO_CHAIN;
		seg[0].len = headers;
		seg[1] = (struct vmm_seg){ .addr = at + headers,
					   .len = GSO_PIECE };
		seg[2] = (struct vmm_seg){ .addr = at + headers + GSO_PIECE,
					   .len = (uint32_t)r->len - headers -
						  GSO_PIECE };
	}
	vmm_ring_add(&r->dev.q[VMM_TX].ring, seg, n, (void *)i);
}

/* Takes what is done; gives it back to the device if @again. Frames, -errno */
static int turn_tx(struct run *r, bool again)
{
	struct vmm_ring *ring = &r->dev.q[VMM_TX].ring;
	struct vmm_used used[REAP];
	int n = vmm_ring_reap(ring, used, REAP);

	if (n <= 0 || !again)
		return n;
	for (int i = 0; i < n; i++)
		post_tx(r, (uintptr_t)used[i].token);
	vmm_ring_calls_off(ring);
	vmdev_publish(&r->dev, VMM_TX);
	return n;
}

static int slice_tx(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct run *r = b->priv;
	uint64_t cpu = vmdev_cpu_ns(&r->dev);
	uint64_t start = bench_now_ns(), now = start, frames = 0;
	const uint64_t limit = (uint64_t)STUCK_MS * 1000000;
	unsigned int out_there = tx_slots(r);

	for (unsigned int i = 0; i < out_there; i++)
		post_tx(r, i);
	vmm_ring_calls_off(&r->dev.q[VMM_TX].ring);
	vmdev_publish(&r->dev, VMM_TX);
	while (out_there) {
		bool again = now - start < ns;
		int n = turn_tx(r, again);

		if (n < 0)
			return bench_why(b, n, "used ring: %s", strerror(-n));
		frames += (unsigned int)n;
		out_there -= again ? 0 : (unsigned int)n;
		now = bench_now_ns();
		if (now - start > ns + limit)
			return stuck(b, VMM_TX, out_there);
	}
	usleep(SETTLE_US);
	*out = (struct bench_sample){
		.ops = frames,
		.ns = now - start,
		.bytes = frames * (r->len - VMTAP_HDR),
		.cpu_ns = vmdev_cpu_ns(&r->dev) - cpu,
	};
	return 0;
}

/* ---- to the guest ---- */

static size_t rx_room(const struct run *r)
{
	return is_gso(r) ? GSO_BUF : SMALL_BUF;
}

static int prepare_rx(struct run *r)
{
	static uint8_t frame[VMTAP_ROOM];

	r->buf[VMM_RX] = vmm_mem_alloc(r->dev.mem,
				       (uint64_t)VMDEV_NUM * rx_room(r), 4096);
	r->len = vmtap_frame(r->job->len, frame);
	return r->buf[VMM_RX] ? 0 : -ENOMEM;
}

static void post_rx(struct run *r, uintptr_t i)
{
	struct vmm_seg seg = {
		.addr = r->buf[VMM_RX] + i * rx_room(r),
		.len = (uint32_t)rx_room(r),
		.write = true,
	};

	vmm_ring_add(&r->dev.q[VMM_RX].ring, &seg, 1, (void *)i);
}

/* Gives as many buffers as @n frames take, and waits until they have come. What
 * the tap holds goes through; ns, or 0 with bench_why() called. */
static uint64_t drain(struct run *r, unsigned int n)
{
	struct vmm_ring *ring = &r->dev.q[VMM_RX].ring;
	unsigned int want =
		n * (unsigned int)((r->len + rx_room(r) - 1) / rx_room(r));
	unsigned int given = want < VMDEV_NUM ? want : VMDEV_NUM, got = 0;
	uint64_t start = bench_now_ns(), now = start;
	struct vmm_used used[REAP];

	for (unsigned int i = 0; i < given; i++)
		post_rx(r, i);
	vmm_ring_calls_off(ring);
	vmdev_publish(&r->dev, VMM_RX);
	while (got < want) {
		int k = vmm_ring_reap(ring, used, REAP);

		for (int i = 0; i < k && given < want; i++, given++)
			post_rx(r, (uintptr_t)used[i].token);
		if (k > 0) {
			got += (unsigned int)k;
			vmm_ring_calls_off(ring);
			vmdev_publish(&r->dev, VMM_RX);
		}
		now = bench_now_ns();
		if (now - start > (uint64_t)STUCK_MS * 1000000) {
			stuck(r->dev.b, VMM_RX, want - got);
			return 0;
		}
	}
	return now - start;
}

/* The share of a slice in which the queue is filled is not known before: so few
 * frames that several rounds fit. */
static unsigned int rx_round(const struct run *r, uint64_t ns)
{
	unsigned int least = is_gso(r) ? 16 : 256;
	uint64_t n = ns / (is_gso(r) ? 400000 : 25000);

	if (n > VMTAP_QUEUE - 96)
		n = VMTAP_QUEUE - 96;
	return n < least ? least : (unsigned int)n;
}

static int slice_rx(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct run *r = b->priv;
	uint64_t start = bench_now_ns();
	unsigned int n = rx_round(r, ns);

	*out = (struct bench_sample){ 0 };
	do {
		int ret = vmtap_fill(&r->tap, r->job->len, n);
		uint64_t cpu, took;

		if (ret < 0)
			return bench_why(b, ret, "filling the tap: %s",
					 strerror(-ret));
		usleep(SETTLE_US);
		cpu = vmdev_cpu_ns(&r->dev);
		took = drain(r, n);
		if (!took)
			return -ETIMEDOUT;
		usleep(SETTLE_US);
		out->ops += n;
		out->ns += took;
		out->bytes += n * (uint64_t)(r->len - VMTAP_HDR);
		out->cpu_ns += vmdev_cpu_ns(&r->dev) - cpu;
	} while (bench_now_ns() - start < ns);
	return 0;
}

/* A frame at a time, so that a device that sleeps is woken by each. */
static int slice_starved(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct run *r = b->priv;
	uint64_t cpu = vmdev_cpu_ns(&r->dev), start = bench_now_ns();
	unsigned int n = 0;

	do {
		int ret = vmtap_fill(&r->tap, r->job->len, 1);

		if (ret < 0)
			return bench_why(b, ret, "filling the tap: %s",
					 strerror(-ret));
		n++;
		usleep(ARRIVAL_US);
	} while (bench_now_ns() - start < ns && n < VMTAP_QUEUE - 96);
	usleep(SETTLE_US);
	*out = (struct bench_sample){
		.ops = n,
		.ns = bench_now_ns() - start,
		.cpu_ns = vmdev_cpu_ns(&r->dev) - cpu,
	};
	return drain(r, n) ? 0 : -ETIMEDOUT;
}

/* ---- there and back ---- */

static int prepare_trip(struct run *r)
{
	int ret = prepare_rx(r);

	if (ret == 0)
		ret = prepare_tx(r);
	for (unsigned int i = 0; ret == 0 && i < TRIP_BUFS; i++)
		post_rx(r, i);
	vmm_ring_calls_off(&r->dev.q[VMM_TX].ring);
	vmm_ring_calls_off(&r->dev.q[VMM_RX].ring);
	vmdev_publish(&r->dev, VMM_RX);
	return ret;
}

static void send_request(struct run *r)
{
	struct vmm_ring *ring = &r->dev.q[VMM_TX].ring;
	uintptr_t i = r->number % tx_slots(r);
	struct vmm_used used[REAP];
	uint8_t *at = vmm_mem_ptr(r->dev.mem, r->buf[VMM_TX] + i * tx_room(r));

	vmm_ring_reap(ring, used, REAP);
	vmm_ring_calls_off(ring);
	r->len = vmtap_echo_request(&r->tap, r->number, TRIP_LEN, at);
	post_tx(r, i);
}

/* Until the RX ring has something; false after STUCK_MS. */
static bool wait_rx(struct run *r)
{
	struct vmm_queue *q = &r->dev.q[VMM_RX];
	uint64_t start = bench_now_ns();
	const uint64_t limit = (uint64_t)STUCK_MS * 1000000;

	while (!vmm_ring_pending(&q->ring)) {
		if (bench_now_ns() - start > limit)
			return false;
		if (r->job->waiting == SPIN || vmm_ring_calls_on(&q->ring))
			continue;
		if (vmm_wait_event(q->call, STUCK_MS) == 0)
			vmm_event_count(q->call);
	}
	return true;
}

/* Gives the buffers back; whether the answer was in them */
static bool take_answer(struct run *r)
{
	struct vmm_ring *ring = &r->dev.q[VMM_RX].ring;
	struct vmm_used used[REAP];
	int n = vmm_ring_reap(ring, used, REAP);
	bool found = false;

	for (int i = 0; i < n; i++) {
		uintptr_t k = (uintptr_t)used[i].token;
		const uint8_t *at = vmm_mem_ptr(
			r->dev.mem, r->buf[VMM_RX] + k * rx_room(r));

		found |= vmtap_is_reply(at, used[i].len, r->number);
		post_rx(r, k);
	}
	vmdev_publish(&r->dev, VMM_RX);
	return found;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int slice_trip(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct run *r = b->priv;
	uint64_t cpu = vmdev_cpu_ns(&r->dev);
	uint64_t start = bench_now_ns(), now;
	size_t n = 0;

	do {
		uint64_t sent;

		if (r->job->waiting == IDLE)
			usleep(IDLE_US);
		send_request(r);
		sent = bench_now_ns();
		vmdev_publish(&r->dev, VMM_TX);
		do {
			if (!wait_rx(r))
				return bench_why(b, -ETIMEDOUT,
						 "no echo reply in %d s",
						 STUCK_MS / 1000);
			now = bench_now_ns();
		} while (!take_answer(r));
		r->took[n++] = (double)(now - sent);
		r->number++;
	} while (now - start < ns && n < TRIPS_MAX);
	usleep(SETTLE_US);
	qsort(r->took, n, sizeof(r->took[0]), by_value);
	*out = (struct bench_sample){
		.ops = n,
		.ns = (uint64_t)(r->took[n / 2] * (double)n),
		.cpu_ns = vmdev_cpu_ns(&r->dev) - cpu,
	};
	return 0;
}

/* ---- control calls ---- */

/* One life of a device: what is wanted of it is added to *@ns. */
static int live_once(struct run *r, uint64_t *ns)
{
	struct vmm_config config = vmdev_config(r->kind, r->job->copied);
	bool starting = r->job->what == START;
	uint64_t t = bench_now_ns();
	struct vmm *v;
	int ret;

	config.fd = open(config.path, O_RDWR | O_CLOEXEC);
	if (config.fd < 0)
		return -errno;
	*ns += starting ? bench_now_ns() - t : 0;
	ret = vmm_new(&config, &v);
	if (ret < 0)
		return ret;
	t = bench_now_ns();
	ret = vmm_start(v, r->tap.fd);
	*ns += starting ? bench_now_ns() - t : 0;
	t = bench_now_ns();
	uvh_close(v->fe);
	*ns += starting ? 0 : bench_now_ns() - t;
	v->fe = NULL;
	vmm_free(v);
	return ret;
}

static int control_once(struct run *r, uint64_t *ns)
{
	uint64_t features, t = bench_now_ns();
	int ret;

	if (r->job->what == START || r->job->what == CLOSE)
		return live_once(r, ns);
	ret = r->job->what == FEATURES
		      ? vmm_get_features(r->dev.v->fd, &features)
		      : vmm_set_mem_table(r->dev.v->fd, r->dev.mem);
	*ns += bench_now_ns() - t;
	return ret;
}

static int slice_control(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct run *r = b->priv;
	uint64_t start = bench_now_ns();

	*out = (struct bench_sample){ 0 };
	do {
		int ret = control_once(r, &out->ns);

		if (ret < 0)
			return bench_why(b, ret, "%s", strerror(-ret));
		out->ops++;
	} while (bench_now_ns() - start < ns);
	return 0;
}

/* ---- open and close ---- */

static int prepare(struct run *r)
{
	switch (r->job->what) {
	case TX:
		return prepare_tx(r);
	case RX:
	case STARVED:
		return prepare_rx(r);
	case TRIP:
		return prepare_trip(r);
	default:
		return 0;
	}
}

static int open_vm(struct bench *b)
{
	const struct job *job = b->scenario->arg;
	struct run *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return bench_why(b, -ENOMEM, "no memory");
	b->priv = r;
	r->job = job;
	r->kind = b->side == BENCH_OURS ? VMDEV_OURS : job->peer;
	r->tap.fd = r->tap.packet = -1;
	ret = vmdev_lacks(b, r->kind);
	if (ret < 0)
		return ret;
	bench_pin(0, BENCH_CPU_FRONTEND);
	ret = vmtap_open(&r->tap);
	if (ret < 0)
		return bench_why(b, ret, "tap: %s", strerror(-ret));
	if (job->what == START || job->what == CLOSE)
		return 0;
	ret = vmdev_open(&r->dev, b, r->kind, job->copied, r->tap.fd);
	if (ret < 0)
		return ret;
	ret = prepare(r);
	return ret ? bench_why(b, ret, "guest memory: %s", strerror(-ret)) : 0;
}

static void close_vm(struct bench *b)
{
	struct run *r = b->priv;

	if (!r)
		return;
	vmdev_close(&r->dev);
	vmtap_close(&r->tap);
	free(r);
	b->priv = NULL;
}

/* ---- the list ---- */

static const char *const device[] = { "--device", BENCH_DEVICE("uvhost-net"),
				      NULL };

#define KERNEL "kernel vhost-net"
#define QEMU "QEMU virtio-net"

#define ENTRY(name_, what_, op_, measure_, peer_, slice_, ...) \
	{                                                      \
		.name = "vm/" name_,                           \
		.what = (what_),                               \
		.op = (op_),                                   \
		.measure = (measure_),                         \
		.peer = (peer_),                               \
		.device = device,                              \
		.open = open_vm,                               \
		.slice = (slice_),                             \
		.close = close_vm,                             \
		.arg = &(const struct job){ __VA_ARGS__ },     \
	}

#define FRAMES(name_, what_, peer_, slice_, ...) \
	ENTRY(name_, what_, "frame", BENCH_RATE, peer_, slice_, __VA_ARGS__)

/* Both directions of one kind of frame and memory */
#define BOTH(peer_, name_, text, kind, len_, copied_)                         \
	FRAMES(name_ "/tx/" text, "guest to a tap that drops", peer_,         \
	       slice_tx, .peer = (kind), .what = TX, .len = (len_),           \
	       .copied = (copied_)),                                          \
		FRAMES(name_ "/rx/" text, "a filled tap to the guest", peer_, \
		       slice_rx, .peer = (kind), .what = RX, .len = (len_),   \
		       .copied = (copied_))

#define STARVE(peer_, name_, kind, copied_)                              \
	ENTRY(name_, "a frame every 200 us for a guest without buffers", \
	      "frame", BENCH_CPU, peer_, slice_starved, .peer = (kind),  \
	      .what = STARVED, .len = 64, .copied = (copied_))

#define TRIPS(peer_, name_, text, kind, copied_, waiting_)                 \
	ENTRY(name_ "/trip/" text, "guest to the tap's kernel and back",   \
	      "round trip", BENCH_TIME, peer_, slice_trip, .peer = (kind), \
	      .what = TRIP, .len = TRIP_LEN, .copied = (copied_),          \
	      .waiting = (waiting_))

#define CONTROL(name_, text, what_, copied_)                             \
	ENTRY("kernel/control/" name_, text, "call", BENCH_TIME, KERNEL, \
	      slice_control, .peer = VMDEV_KERNEL, .what = (what_),      \
	      .copied = (copied_))

const struct scenario scenarios_vm[] = {
	BOTH(KERNEL, "kernel", "64/mapped", VMDEV_KERNEL, 64, false),
	BOTH(KERNEL, "kernel", "64/copied", VMDEV_KERNEL, 64, true),
	BOTH(KERNEL, "kernel", "1500/mapped", VMDEV_KERNEL, 1500, false),
	BOTH(KERNEL, "kernel", "1500/copied", VMDEV_KERNEL, 1500, true),
	BOTH(KERNEL, "kernel", "gso/mapped", VMDEV_KERNEL, VMTAP_GSO, false),
	BOTH(KERNEL, "kernel", "gso/copied", VMDEV_KERNEL, VMTAP_GSO, true),
	STARVE(KERNEL, "kernel/starved/mapped", VMDEV_KERNEL, false),
	STARVE(KERNEL, "kernel/starved/copied", VMDEV_KERNEL, true),
	TRIPS(KERNEL, "kernel", "spin/mapped", VMDEV_KERNEL, false, SPIN),
	TRIPS(KERNEL, "kernel", "sleep/mapped", VMDEV_KERNEL, false, SLEEP),
	TRIPS(KERNEL, "kernel", "idle/mapped", VMDEV_KERNEL, false, IDLE),
	TRIPS(KERNEL, "kernel", "spin/copied", VMDEV_KERNEL, true, SPIN),
	TRIPS(KERNEL, "kernel", "sleep/copied", VMDEV_KERNEL, true, SLEEP),
	TRIPS(KERNEL, "kernel", "idle/copied", VMDEV_KERNEL, true, IDLE),
	CONTROL("start/mapped", "open() to SET_BACKEND of both rings", START,
		false),
	CONTROL("start/copied", "open() to SET_BACKEND of both rings", START,
		true),
	CONTROL("close/mapped", "close() of a device that runs", CLOSE, false),
	CONTROL("close/copied", "close() of a device that runs", CLOSE, true),
	CONTROL("get-features", "GET_FEATURES", FEATURES, false),
	CONTROL("set-mem-table/mapped",
		"SET_MEM_TABLE of 3 regions while it runs", TABLE, false),
	CONTROL("set-mem-table/copied",
		"SET_MEM_TABLE of 3 regions while it runs", TABLE, true),
	BOTH(QEMU, "qemu", "64", VMDEV_QEMU, 64, false),
	BOTH(QEMU, "qemu", "1500", VMDEV_QEMU, 1500, false),
	BOTH(QEMU, "qemu", "gso", VMDEV_QEMU, VMTAP_GSO, false),
	STARVE(QEMU, "qemu/starved", VMDEV_QEMU, false),
	TRIPS(QEMU, "qemu", "spin", VMDEV_QEMU, false, SPIN),
	TRIPS(QEMU, "qemu", "sleep", VMDEV_QEMU, false, SLEEP),
	TRIPS(QEMU, "qemu", "idle", VMDEV_QEMU, false, IDLE),
	{ 0 },
};
