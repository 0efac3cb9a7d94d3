/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight DAEMON SOCKET TAP split|packed NUM [KILLS [HOW]] - a daemon that is
 * killed at random moments while its guest sends as fast as it can.
 *
 * The guest's frames are numbered. A packet socket on the tap sees what comes
 * out: no number twice, none before an earlier one, and no more missing than
 * one batch for each kill. Every chain comes back to the driver once. Frames
 * go the other way too: no order is lost there, and no buffer used twice; those
 * that were being filled in a packed ring come back empty, once after a kill.
 *
 * After each kill the daemon is started again, and we connect, give it the
 * memory for chains in flight, and resume where QEMU would: at the used index
 * of a split ring; at whatever is known of a packed one, which may be its very
 * beginning. One kill in two comes within a few milliseconds, while rings are
 * being set up or the predecessor's chains given back.
 *
 * HOW: "worker" kills the worker process of the connection instead: the daemon
 * goes on, and the next connection gets another one. "broker" kills the daemon
 * under a keeper: its worker process goes on, with the one connection that
 * there is, and no frame is missing, in either direction. "without" leaves
 * INFLIGHT_SHMFD out: frames come twice, and the test fails.
 * $UVHOST_NET_PORT: "lan,tap:TAP": the socket is in a network, whose other port
 * is the tap, which is closed with the daemon: what it gets then is lost.
 * $UVHOST_SEED repeats the moments.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/if_packet.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "die.h"
#include "random.h"
#include "uvhost/frontend.h"
#include "vmm.h"
#include "vmm_net.h"

#define MEM_SIZE (UINT64_C(8) << 20)
#define NUM_MAX 256
/* Chains that a batch of the daemon has at most. */
#define BATCH 64
#define HDR 12
#define BUF 2048
#define FRAME 60
#define WAIT_MS 60000
#define RX_UNDER_WAY 16
#define SEQ_AT VMM_ETH_HLEN
#define TO_GUEST 0x80000000u /* in the number of a frame for the guest */

struct queue {
	struct vmm_ring ring;
	uint64_t gpa;
	int kick, call;
	uint32_t first_base;
};

static struct {
	const char *daemon, *socket, *tap;
	bool packed, without, worker, broker, in_net;
	unsigned int num; /* entries of each ring */
	pid_t pid;        /* the daemon, or its keeper */
	pid_t victim;     /* the last one */
	struct uvh *fe;
	struct uvh_inflight inflight;
	struct vmm_mem mem;
	uint64_t features;
	struct queue q[2];
	int far;

	/* guest to tap */
	uint32_t tx_seq;          /* of the next frame */
	uint32_t tx_next;         /* none below may come out */
	unsigned int kills_since; /* kills since the last frame came out; in a
				     network: all, as frames wait there */
	uint64_t tx_back, lost, most_lost;
	/* tap to guest */
	uint32_t rx_seq, rx_next;
	uint64_t rx_got;
	unsigned int rx_empty; /* buffers that came back empty since a kill */
} t = { .far = -1, .inflight.fd = -1 };

static void *at(uint64_t gpa)
{
	return vmm_mem_ptr(&t.mem, gpa);
}

/* ---- the daemon, and who kills it ---- */

/* The child that process @pid has, of any of its threads; 0: it has none. */
static pid_t child_of(pid_t pid)
{
	char pattern[64];
	glob_t lists;
	int child = 0;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/children", pid);
	if (glob(pattern, 0, NULL, &lists) != 0)
		die(-ESRCH, "%s", pattern);
	for (size_t i = 0; i < lists.gl_pathc && !child; i++) {
		FILE *f = fopen(lists.gl_pathv[i], "re");

		if (f && fscanf(f, "%d", &child) != 1)
			child = 0;
		if (f)
			fclose(f);
	}
	globfree(&lists);
	return child;
}

/* Waits until process @pid has a child, or has none. */
static pid_t await_child(pid_t pid, bool wanted)
{
	int64_t until = vmm_now_ms() + WAIT_MS;
	pid_t child;

	while (!(child = child_of(pid)) == wanted) {
		if (vmm_now_ms() > until)
			die(0, "process %d has %s child", pid,
			    wanted ? "no" : "still a");
		usleep(1000);
	}
	return child;
}

struct killer {
	pthread_t thread;
	unsigned int after_us;
	int done; /* atomic */
};

static void *run_killer(void *arg)
{
	struct killer *k = arg;

	pid_t victim = t.pid;

	usleep(k->after_us);
	if (t.worker || t.broker)
		victim = await_child(t.pid, true);
	t.victim = victim;
	__atomic_store_n(&k->done, 1, __ATOMIC_SEQ_CST);
	kill(victim, SIGKILL);
	return NULL;
}

static bool killed(const struct killer *k)
{
	return k && __atomic_load_n(&k->done, __ATOMIC_SEQ_CST);
}

/* The keeper is beside the daemon. */
static void exec_keeper(const char *arg, const char *port)
{
	char keeper[PATH_MAX];
	const char *slash = strrchr(t.daemon, '/');

	snprintf(keeper, sizeof(keeper), "%.*suvhost-keeper",
		 slash ? (int)(slash + 1 - t.daemon) : 0, t.daemon);
	execl(keeper, keeper, "--delay", "10", "--burst", "1000", t.daemon,
	      "--socket-path", arg, port ? "--net=lan" : NULL, "--port", port,
	      (char *)NULL);
	_exit(127);
}

static void start_daemon(void)
{
	const char *worker = t.worker || t.broker ? ",worker-process" : "";
	const char *port = getenv("UVHOST_NET_PORT");
	char arg[300];

	if (port)
		snprintf(arg, sizeof(arg), "%s,net=lan%s", t.socket, worker);
	else
		snprintf(arg, sizeof(arg), "%s,port=tap:%s%s", t.socket, t.tap,
			 worker);
	t.pid = fork();
	must(t.pid < 0 ? -errno : 0, "fork");
	if (t.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (t.broker)
			exec_keeper(arg, port);
		execl(t.daemon, t.daemon, "--socket-path", arg,
		      port ? "--net=lan" : NULL, "--port", port, (char *)NULL);
		_exit(127);
	}
}

static void join_daemon(int signal)
{
	int status;

	must(waitpid(t.pid, &status, 0) < 0 ? -errno : 0, "waitpid");
	t.pid = 0;
	if (signal ? !WIFSIGNALED(status) || WTERMSIG(status) != signal
		   : status)
		die(0, "the daemon ended by itself: status 0x%x", status);
}

/* Where its predecessor was there is a dead name until it listens. */
static void connect_daemon(void)
{
	int64_t until = vmm_now_ms() + WAIT_MS;
	int ret;

	while ((ret = uvh_user_connect(t.socket, WAIT_MS, &t.fe)) < 0) {
		if (vmm_now_ms() > until)
			die(ret, "%s", t.socket);
		usleep(1000);
	}
}

/* ---- set-up: 0 or -errno, since it may be killed meanwhile ---- */

static int negotiate(void)
{
	uint64_t offered, wanted = VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK);
	int ret = uvh_get_features(t.fe, &offered);

	if (ret < 0)
		return ret;
	if (t.features & ~offered)
		die(0, "the daemon has not all features");
	ret = uvh_get_protocol_features(t.fe, &offered);
	if (!t.without)
		wanted |= VMM_BIT(UVH_PROTOCOL_F_INFLIGHT_SHMFD);
	if (ret == 0)
		ret = uvh_set_protocol_features(t.fe, wanted);
	if (ret == 0)
		ret = uvh_set_owner(t.fe);
	if (ret == 0)
		ret = uvh_set_features(t.fe, t.features);
	return ret;
}

static int share_memory(void)
{
	const struct vmm_region *m = &t.mem.region[0];
	struct uvh_region r = { m->gpa, m->size, (uintptr_t)m->hva, m->fd,
				m->fd_offset };
	int ret = 0;

	if (!t.without && t.inflight.fd < 0) {
		t.inflight.queues = 2;
		t.inflight.queue_size = (uint16_t)t.num;
		ret = uvh_get_inflight(t.fe, &t.inflight);
	}
	if (ret == 0 && !t.without)
		ret = uvh_set_inflight(t.fe, &t.inflight);
	return ret ? ret : uvh_set_mem_table(t.fe, &r, 1);
}

/* There is no index in a packed ring: QEMU says what it knew last. */
static uint32_t base_of(const struct queue *q)
{
	const struct vmm_ring *r = &q->ring;

	if (!t.packed)
		return vmm_ring_used_idx(r);
	if (!t.without && random_below(2))
		return q->first_base;
	return (uint32_t)r->used_idx << 16 | r->used_idx;
}

static int start_queue(unsigned int qi)
{
	struct queue *q = &t.q[qi];
	struct vhost_vring_addr addr = {
		.index = qi,
		.desc_user_addr = (uintptr_t)q->ring.desc,
		.avail_user_addr = (uintptr_t)q->ring.avail,
		.used_user_addr = (uintptr_t)q->ring.used,
	};
	uint64_t one = 1;
	int ret = uvh_set_vring_num(t.fe, qi, t.num);

	if (ret == 0)
		ret = uvh_set_vring_base(t.fe, qi, base_of(q));
	if (ret == 0)
		ret = uvh_set_vring_addr(t.fe, &addr);
	if (ret == 0)
		ret = uvh_set_vring_call(t.fe, qi, q->call);
	/* Enabled first: one that is not drops what it finds. */
	if (ret == 0)
		ret = uvh_vring_start(t.fe, qi, -1);
	if (ret == 0)
		ret = uvh_set_vring_kick(t.fe, qi, q->kick);
	/* A kick may have gone to the one before. */
	if (ret == 0 && write(q->kick, &one, sizeof(one)) < 0)
		ret = -errno;
	return ret;
}

static int set_up(void)
{
	int ret = negotiate();

	if (ret == 0)
		ret = share_memory();
	for (unsigned int i = 0; i < 2 && ret == 0; i++)
		ret = start_queue(i);
	return ret;
}

/* ---- frames ---- */

static void put_frame(uint8_t *buf, uint32_t seq)
{
	vmm_frame(buf, FRAME, seq);
	memcpy(buf + SEQ_AT, &seq, sizeof(seq));
}

static void publish(unsigned int qi)
{
	uint64_t one = 1;

	if (vmm_ring_publish(&t.q[qi].ring) &&
	    write(t.q[qi].kick, &one, sizeof(one)) < 0)
		die(-errno, "kick");
}

static void tx_add(uint64_t gpa)
{
	/* one descriptor or two */
	struct vmm_seg seg[] = { { gpa, HDR, false },
				 { gpa + HDR, FRAME, false } };
	struct vmm_seg one = { gpa, HDR + FRAME, false };
	bool two = t.tx_seq % 8 == 0;
	uint8_t *p = at(gpa);

	memset(p, 0, HDR);
	put_frame(p + HDR, t.tx_seq);
	if (vmm_ring_add(&t.q[VMM_TX].ring, two ? seg : &one, two ? 2 : 1,
			 (void *)(uintptr_t)gpa) < 0)
		die(0, "no room on the ring");
	t.tx_seq++;
}

static uint64_t tx_free[NUM_MAX];
static unsigned int tx_nfree;

static unsigned int tx_reap(void)
{
	struct vmm_used used[NUM_MAX];
	int n = vmm_ring_reap(&t.q[VMM_TX].ring, used, NUM_MAX);

	must(n, "a chain came back that was not out: TX");
	for (int i = 0; i < n; i++)
		tx_free[tx_nfree++] = (uintptr_t)used[i].token;
	t.tx_back += (unsigned int)n;
	return (unsigned int)n;
}

static void tx_fill(void)
{
	while (tx_nfree && t.q[VMM_TX].ring.num_free >= 2)
		tx_add(tx_free[--tx_nfree]);
	publish(VMM_TX);
}

/* A frame out of the tap. */
static void tx_frame(uint32_t seq)
{
	uint32_t gap = seq - t.tx_next;

	if (seq >= t.tx_seq)
		die(0, "frame %u came, %u were sent", seq, t.tx_seq);
	if (seq < t.tx_next)
		die(0, "frame %u came again, or late: %u was due", seq,
		    t.tx_next);
	if (gap + (t.in_net ? t.lost : 0) > t.kills_since * BATCH)
		die(0, "%u frames are missing before %u, after %u kills", gap,
		    seq, t.kills_since);
	t.lost += gap;
	if (gap > t.most_lost)
		t.most_lost = gap;
	if (!t.in_net)
		t.kills_since = 0;
	t.tx_next = seq + 1;
}

static unsigned int tx_look(void)
{
	uint8_t buf[FRAME + 1], want[FRAME];
	unsigned int n = 0;
	ssize_t len;

	while ((len = recv(t.far, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		uint32_t seq;

		memcpy(&seq, buf + SEQ_AT, sizeof(seq));
		put_frame(want, seq);
		if (len != FRAME || memcmp(buf, want, FRAME) != 0)
			die(0, "a garbled frame of %zd bytes", len);
		tx_frame(seq);
		n++;
	}
	return n;
}

static void rx_offer(uint64_t gpa)
{
	struct vmm_seg seg = { gpa, BUF, true };

	must(vmm_ring_add(&t.q[VMM_RX].ring, &seg, 1, (void *)(uintptr_t)gpa),
	     "receive buffer");
}

static unsigned int rx_reap(void)
{
	struct vmm_used used[NUM_MAX];
	int n = vmm_ring_reap(&t.q[VMM_RX].ring, used, NUM_MAX);

	must(n, "a chain came back that was not out: RX");
	for (int i = 0; i < n; i++) {
		uint64_t gpa = (uintptr_t)used[i].token;
		uint8_t want[FRAME];
		uint32_t seq;

		if (!used[i].len) {
			if (!t.packed || ++t.rx_empty > t.num)
				die(0, "%u empty buffers for the guest",
				    t.rx_empty);
			rx_offer(gpa);
			continue;
		}
		memcpy(&seq, (uint8_t *)at(gpa) + HDR + SEQ_AT, sizeof(seq));
		put_frame(want, seq);
		if (used[i].len != HDR + FRAME ||
		    memcmp((uint8_t *)at(gpa) + HDR, want, FRAME) != 0)
			die(0, "a garbled frame for the guest, %u bytes",
			    used[i].len);
		seq &= ~TO_GUEST;
		if (seq < t.rx_next)
			die(0, "the guest got frame %u again, or late", seq);
		t.rx_next = seq + 1;
		t.rx_got++;
		rx_offer(gpa);
	}
	publish(VMM_RX);
	return (unsigned int)n;
}

/* Into the tap: lost while it is not open, so few at a time. */
static void rx_send(void)
{
	uint8_t buf[FRAME];

	for (unsigned int i = 0; i < 4; i++) {
		put_frame(buf, t.rx_seq | TO_GUEST);
		if (send(t.far, buf, sizeof(buf), MSG_DONTWAIT) < 0)
			return;
		t.rx_seq++;
	}
}

static unsigned int step(bool more)
{
	unsigned int n = tx_look();

	n += tx_reap();
	n += rx_reap();
	if (more) {
		tx_fill();
		if (t.rx_seq - t.rx_next < RX_UNDER_WAY ||
		    (!t.broker && random_below(50) == 0))
			rx_send();
	}
	return n;
}

/* ---- lives of the daemon ---- */

static void work(const struct killer *k, int ms)
{
	int64_t until = vmm_now_ms() + ms, stall = vmm_now_ms() + WAIT_MS;

	while (!killed(k) && (k || vmm_now_ms() < until)) {
		if (step(true))
			stall = vmm_now_ms() + WAIT_MS;
		else if (vmm_now_ms() > stall)
			die(0, "nothing moves: %u sent, %u came out", t.tx_seq,
			    t.tx_next);
	}
}

static void one_life(unsigned int n)
{
	struct killer k = { .after_us = n % 2 ? random_below(4000)
					      : 20000 + random_below(150000) };
	int ret;

	if (!t.worker || !n)
		start_daemon();
	connect_daemon();
	must(-pthread_create(&k.thread, NULL, run_killer, &k), "a thread");
	ret = set_up();
	if (ret == 0)
		work(&k, 0);
	else if (!killed(&k))
		die(ret, "set-up");
	pthread_join(k.thread, NULL);
	if (t.worker)
		await_child(t.pid,
			    false); /* no connection is accepted before */
	else
		join_daemon(SIGKILL);
	uvh_close(t.fe);
	step(false);
	t.kills_since++;
	t.rx_empty = 0;
}

/* Waits for the daemon after @before: it turns a second connection away. */
static void await_broker(pid_t before)
{
	int64_t until = vmm_now_ms() + WAIT_MS;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = WAIT_MS / 1000 };
	pid_t pid;
	char byte;
	int fd;

	while (!(pid = child_of(t.pid)) || pid == before) {
		if (vmm_now_ms() > until)
			die(0, "there is no other daemon");
		usleep(1000);
	}
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", t.socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0
		     ? -errno
		     : 0,
	     "a second connection");
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0
		     ? -errno
		     : 0,
	     "a deadline");
	if (recv(fd, &byte, 1, 0) != 0)
		die(-errno, "a second connection is not turned away");
	close(fd);
}

/* One connection, and one worker process, through all lives of the daemon. */
static void one_connection(unsigned int kills)
{
	start_daemon();
	connect_daemon();
	must(set_up(), "set-up");
	for (unsigned int i = 0; i < kills; i++) {
		struct killer k = { .after_us = random_below(i % 2 ? 4000
								   : 100000) };

		if (t.in_net) /* else none is missing */
			t.kills_since++;
		must(-pthread_create(&k.thread, NULL, run_killer, &k),
		     "a thread");
		work(&k, 0);
		pthread_join(k.thread, NULL);
		work(NULL, (int)random_below(40));
	}
	await_broker(t.victim);
}

/* All that was sent comes back, and nothing is left out after the last kill. */
static void last_life(void)
{
	int64_t until;
	uint32_t last;

	if (!t.worker && !t.broker)
		start_daemon();
	if (!t.broker) {
		connect_daemon();
		must(set_up(), "set-up");
	}
	work(NULL, 200);
	last = t.tx_seq;
	until = vmm_now_ms() + WAIT_MS;
	while (t.q[VMM_TX].ring.nout || t.tx_next != last ||
	       (t.broker && !t.in_net && t.rx_got != t.rx_seq)) {
		step(false);
		if (vmm_now_ms() > until)
			die(0,
			    "%u chains are not back, frame %u of %u came, the "
			    "guest got %llu of %u",
			    t.q[VMM_TX].ring.nout, t.tx_next, last,
			    (unsigned long long)t.rx_got, t.rx_seq);
	}
	if (t.tx_back != t.tx_seq || t.q[VMM_TX].ring.num_free != t.num)
		die(0, "%u chains sent, %llu came back", t.tx_seq,
		    (unsigned long long)t.tx_back);
	for (unsigned int i = 0; i < 2; i++)
		must(uvh_vring_stop(t.fe, i, NULL), "stop");
	rx_reap();
	uvh_close(t.fe);
	must(kill(t.pid, SIGTERM) < 0 ? -errno : 0, "kill");
	join_daemon(0);
}

static void check_socket(void)
{
	struct tpacket_stats s = { 0 };
	socklen_t len = sizeof(s);

	if (getsockopt(t.far, SOL_PACKET, PACKET_STATISTICS, &s, &len) == 0 &&
	    s.tp_drops)
		die(0, "the packet socket lost %u frames: no verdict",
		    s.tp_drops);
}

static void open_all(void)
{
	int big = 256 << 20;

	t.far = vmm_packet_open(t.tap, VMM_ETHERTYPE, false);
	must(t.far, "packet socket");
	must(setsockopt(t.far, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)) <
			     0
		     ? -errno
		     : 0,
	     "a long queue");
	must(vmm_mem_add(&t.mem, VMM_MEM_MEMFD, 0x100000, MEM_SIZE), "memory");
	for (unsigned int i = 0; i < 2; i++) {
		struct queue *q = &t.q[i];

		q->gpa = vmm_mem_alloc(&t.mem, vmm_ring_bytes(t.num), 4096);
		must(vmm_ring_init(&q->ring, at(q->gpa), t.num, t.features),
		     "ring");
		q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		q->first_base = vmm_ring_base(&q->ring);
	}
	for (; tx_nfree < t.num; tx_nfree++)
		tx_free[tx_nfree] = vmm_mem_alloc(&t.mem, BUF, 64);
	for (unsigned int i = 0; i < t.num; i++)
		rx_offer(vmm_mem_alloc(&t.mem, BUF, 64));
	publish(VMM_RX);
}

int main(int argc, char **argv)
{
	const char *seed = getenv("UVHOST_SEED");
	unsigned int kills = argc > 6 ? (unsigned int)atoi(argv[6]) : 40;
	int64_t begin = vmm_now_ms();

	if (argc < 6) {
		fprintf(stderr, "usage: inflight DAEMON SOCKET TAP "
				"split|packed NUM [KILLS "
				"[worker|broker|without]]\n");
		return 2;
	}
	t.daemon = argv[1];
	t.socket = argv[2];
	t.tap = argv[3];
	t.packed = strcmp(argv[4], "packed") == 0;
	t.without = argc > 7 && strcmp(argv[7], "without") == 0;
	t.worker = argc > 7 && strcmp(argv[7], "worker") == 0;
	t.in_net = getenv("UVHOST_NET_PORT");
	t.broker = argc > 7 && strcmp(argv[7], "broker") == 0;
	t.num = (unsigned int)atoi(argv[5]);
	if (t.num < 4 || t.num > NUM_MAX)
		die(0, "a ring of 4 to %d entries", NUM_MAX);
	t.features = VMM_BIT(VIRTIO_F_VERSION_1) |
		     (t.packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0);
	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid();
	fprintf(stderr, "UVHOST_SEED=%llu\n", (unsigned long long)random_state);
	random_state = (random_state + 1) * 0x9e3779b97f4a7c15;
	open_all();
	if (t.broker)
		one_connection(kills);
	for (unsigned int i = 0; i < kills && !t.broker; i++)
		one_life(i);
	last_life();
	check_socket();
	printf("inflight %s %u%s%s: %u kills in %.1f s; %u frames sent, none "
	       "came "
	       "twice, %llu lost (at most %llu at once); %llu received\n",
	       t.packed ? "packed" : "split", t.num, argc > 7 ? " " : "",
	       argc > 7 ? argv[7] : "", kills,
	       (double)(vmm_now_ms() - begin) / 1000, t.tx_seq,
	       (unsigned long long)t.lost, (unsigned long long)t.most_lost,
	       (unsigned long long)t.rx_got);
	return 0;
}
