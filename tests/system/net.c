/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net DIR - harness guests on the networks of one daemon (net.sh starts it).
 *
 *   lan    a guest of the character device $UVHOST_DEV, one of DIR/b, and the
 *          tap "uvlan", whose far side is a packet socket of ours
 *   vlans  guests of DIR/v10 and DIR/v20, each in the VLAN of its name, and of
 *          DIR/trunk, which carries both tagged
 *   (none) a guest of DIR/loop, whose port is a loop
 *   wire   a guest of DIR/w, and the tap "uvwire"
 *
 * $UVHOST_PID: the daemon, which is asked for its counters while they are
 * there. $UVHOST_VICTIM "worker": the guest of the device has a worker process,
 * which is killed again and again: what is sent to the guest after that waits
 * for the next process, and others lose nothing meanwhile. A receiver notices a
 * lost frame by the number of the next one. In the end its processes spoil the
 * ring of frames between them and the network, until the guest is stopped.
 * "network": before that the process of lan dies as often: frames go on all
 * ways, and none comes twice. The guest is not stopped.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "die.h"
#include "flow.h"
#include "framering_priv.h"
#include "vmm.h"
#include "vmm_net.h"
#include "wproc.h"
#include "wprocs.h"

#define KILLS 5
#define WAIT_MS 60000
#define RX_BUFS 64
#define BUF 2048
#define LEN 100
/* The other end has a port; a backend only says: start. */
#define NO_BACKEND 0
#define TAG_LEN 4
#define FEATURES (VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_NET_F_MRG_RXBUF))

struct guest {
	const char *name;
	struct vmm *v;
	uint64_t tx_gpa;
	uint8_t mac[6];
};

static const char *dir;

/* ---- guests ---- */

static void give_buffer(struct guest *g, uint64_t gpa)
{
	struct vmm_seg seg = { gpa, BUF, true };

	must(vmm_ring_add(&g->v->q[VMM_RX].ring, &seg, 1,
			  (void *)(uintptr_t)gpa),
	     g->name);
}

static void start(struct guest *g, const char *name, uint8_t number,
		  const struct vmm_config *config, int backend)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, number };

	g->name = name;
	memcpy(g->mac, mac, sizeof(mac));
	must(vmm_new(config, &g->v), name);
	g->tx_gpa = vmm_mem_alloc(&g->v->mem, BUF, 16);
	must(vmm_start(g->v, backend), name);
	for (int i = 0; i < RX_BUFS; i++)
		give_buffer(g, vmm_mem_alloc(&g->v->mem, BUF, 16));
	vmm_publish_kick(g->v, VMM_RX);
}

/* Until the daemon has read all messages. */
static void settle(struct vmm *v)
{
	uint64_t features;

	must(uvh_get_features(v->fe, &features), "features");
}

static void start_user(struct guest *g, const char *name, uint8_t number)
{
	char path[128];
	struct vmm_config config = { .transport = VMM_USER,
				     .socket = path,
				     .num = { 128, 128 },
				     .features = FEATURES };

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	start(g, name, number, &config, NO_BACKEND);
	settle(g->v);
}

static void send_frame(struct guest *g, const uint8_t *frame, size_t len)
{
	struct vmm_ring *r = &g->v->q[VMM_TX].ring;
	uint8_t *p = vmm_mem_ptr(&g->v->mem, g->tx_gpa);
	struct vmm_seg seg = { g->tx_gpa, g->v->hdr_len + (uint32_t)len,
			       false };
	struct vmm_used used;

	memset(p, 0, g->v->hdr_len);
	memcpy(p + g->v->hdr_len, frame, len);
	must(vmm_ring_add(r, &seg, 1, g), g->name);
	vmm_publish_kick(g->v, VMM_TX);
	must(vmm_wait_used(g->v, VMM_TX, 1, WAIT_MS), "send");
	if (vmm_ring_reap(r, &used, 1) != 1)
		die(0, "%s: TX: a used element of no chain of ours", g->name);
}

/* The next frame that the guest gets has to be this one. */
static void expect(struct guest *g, const uint8_t *frame, size_t len,
		   const char *what)
{
	struct vmm_used used;
	const uint8_t *p;

	if (vmm_wait_used(g->v, VMM_RX, 1, WAIT_MS) < 0)
		die(0, "%s: %s: does not come", g->name, what);
	if (vmm_ring_reap(&g->v->q[VMM_RX].ring, &used, 1) != 1)
		die(0, "%s: RX: a used element of no chain of ours", g->name);
	p = vmm_mem_ptr(&g->v->mem, (uintptr_t)used.token);
	if (used.len != g->v->hdr_len + len ||
	    memcmp(p + g->v->hdr_len, frame, len) != 0)
		die(0, "%s: %s: another frame came (%u bytes, from ...%02x)",
		    g->name, what, used.len, p[g->v->hdr_len + 11]);
	give_buffer(g, (uintptr_t)used.token);
	vmm_publish_kick(g->v, VMM_RX);
}

/* ---- frames ---- */

/* @to NULL: broadcast. */
static void make(uint8_t *frame, const uint8_t *from, const uint8_t *to,
		 uint32_t seed)
{
	vmm_frame(frame, LEN, seed);
	if (to)
		memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
}

/* The same with a tag of @vlan. */
static void tag(uint8_t *to, const uint8_t *frame, unsigned int vlan)
{
	const uint8_t head[TAG_LEN] = { 0x81, 0, (uint8_t)(vlan >> 8),
					(uint8_t)vlan };

	memcpy(to, frame, 12);
	memcpy(to + 12, head, TAG_LEN);
	memcpy(to + 12 + TAG_LEN, frame + 12, LEN - 12);
}

static void expect_on(int sock, const uint8_t *frame, const char *what)
{
	uint8_t got[BUF];
	ssize_t n = vmm_packet_recv(sock, got, sizeof(got), WAIT_MS);

	if (n < 0)
		die(0, "tap: %s: does not come", what);
	if (n != LEN || memcmp(got, frame, LEN) != 0)
		die(0, "tap: %s: another frame came (%zd bytes, from ...%02x)",
		    what, n, got[11]);
}

/* ---- networks ---- */

static void ask_for_counters(void)
{
	const char *pid = getenv("UVHOST_PID");

	if (pid && kill((pid_t)atoi(pid), SIGUSR1) < 0)
		die(-errno, "kill %s", pid);
}

/* Until uvhostd has seen its end. */
static void await_end(pid_t pid)
{
	int64_t end = vmm_now_ms() + WAIT_MS;

	while (kill(pid, 0) == 0) {
		if (vmm_now_ms() > end)
			die(0, "worker process %d is still there", pid);
		usleep(1000);
	}
}

/* The worker process with this title; NULL: of a session */
static pid_t find_process(const char *title)
{
	const char *daemon = getenv("UVHOST_PID");
	int64_t end = vmm_now_ms() + WAIT_MS;
	pid_t pid[8];

	for (;;) {
		unsigned int n =
			wprocs_list((pid_t)atoi(daemon ? daemon : "0"), pid, 8);

		while (n--)
			if (title ? wprocs_titled(pid[n], title)
				  : wprocs_session(pid[n]) != 0)
				return pid[n];
		if (vmm_now_ms() > end)
			die(0, "where is the worker process of %s?",
			    title ? title : "a session");
		usleep(1000);
	}
}

/* @a's process dies under frames between @b and the tap. */
static void check_kills(struct guest *a, struct guest *b, int sock,
			const uint8_t *far)
{
	uint8_t frame[LEN];

	for (uint32_t round = 0; round < KILLS; round++) {
		pid_t pid = find_process(NULL);

		kill(pid, SIGKILL);
		for (uint32_t i = 0; i < 50; i++) {
			make(frame, b->mac, far, i);
			send_frame(b, frame, LEN);
			expect_on(sock, frame, "unicast during a death");
		}
		await_end(pid);
		make(frame, b->mac, a->mac, round);
		send_frame(b, frame, LEN);
		expect(a, frame, LEN, "unicast after a death");
		make(frame, a->mac, b->mac, round);
		send_frame(a, frame, LEN);
		expect(b, frame, LEN, "unicast by the next process");
	}
	printf("lan: %d deaths of a worker process\n", KILLS);
}

/* ---- a worker process that writes what cannot be to the network ---- */

/* Its ring of frames: memory, and the eventfd that wakes the network. We write
 * there as it would if its guest had taken it over. */
struct spoiled {
	int memory, wake;
};

static struct spoiled find_ring(pid_t pid)
{
	int table = must(pidfd_open(pid, 0), "pidfd");
	struct spoiled ring = { -1, -1 };
	char path[48], link[64];

	for (int fd = 0; fd < 64 && ring.memory < 0; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n = readlink(path, link, sizeof(link) - 1);
		link[n < 0 ? 0 : n] = '\0';
		if (!strstr(link, "memfd:uvhost-frames"))
			continue;
		/* framering_fds() */
		ring.memory = pidfd_getfd(table, fd, 0);
		ring.wake =
			pidfd_getfd(table, fd + 1 + FRAMERING_FROM_GUEST, 0);
	}
	close(table);
	if (ring.memory < 0 || ring.wake < 0)
		die(-errno, "worker process %d has no ring of frames", pid);
	return ring;
}

/* @position: its end cannot be; else a record's length. */
static void spoil(const struct spoiled *ring, bool position)
{
	struct framering_page *page =
		mmap(NULL, FRAMERING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		     ring->memory, 0);
	struct framering_state *state;
	const uint64_t one = 1;

	if (page == MAP_FAILED)
		die(-errno, "ring of frames");
	state = &page->state[FRAMERING_FROM_GUEST];
	if (!position)
		memset((char *)page + FRAMERING_PAGE + FRAMERING_BYTES, 0xff,
		       FRAMERING_BYTES);
	__atomic_fetch_add(&state->tail, position ? FRAMERING_BYTES + 8 : 64,
			   __ATOMIC_SEQ_CST);
	if (write(ring->wake, &one, sizeof(one)) < 0)
		die(-errno, "wake the network");
	munmap(page, FRAMERING_SIZE);
}

/* The guest is in the network again as soon as the next process has its rings.
 */
static void await_frames(struct guest *a, struct guest *b)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	uint8_t frame[LEN];

	do {
		if (vmm_now_ms() > end)
			die(0, "nothing reaches the next process");
		make(frame, b->mac, a->mac, 0);
		send_frame(b, frame, LEN);
	} while (vmm_wait_used(a->v, VMM_RX, 1, 50) < 0);
	make(frame, a->mac, b->mac, 1);
	send_frame(a, frame, LEN);
	expect(b, frame, LEN, "unicast by the next process");
}

/* The connection of @b is closed, and the next one has another ring. */
static void check_spoiled_socket(struct guest *a, struct guest *b)
{
	pid_t pid = find_process("b");
	struct spoiled ring = find_ring(pid);

	spoil(&ring, true);
	close(ring.memory);
	close(ring.wake);
	await_end(pid);
	vmm_free(b->v);
	start_user(b, "b", 2);
	await_frames(a, b);
	printf("lan: a connection whose process did so was closed\n");
}

/* A network in a process of its own does not have it counted as a crash. */
static void check_spoiled(struct guest *a, struct guest *b, bool network)
{
	for (unsigned int i = 0; i < WPROC_CRASHES; i++) {
		pid_t pid = find_process(NULL);
		struct spoiled ring = find_ring(pid);
		/* Sealed: nobody else is to have a fault there. */
		int ret = ftruncate(ring.memory, 0);

		if (ret == 0 || errno != EPERM)
			die(-errno, "the ring of frames can be resized");
		spoil(&ring, i % 2);
		close(ring.memory);
		close(ring.wake);
		await_end(pid);
		if (network || i + 1 < WPROC_CRASHES)
			await_frames(a, b);
	}
	if (network)
		return;
	/* No other one goes on, and the VMM is told. */
	if (vmm_wait_event(a->v->q[VMM_TX].err, WAIT_MS) < 0)
		die(0, "the guest is not stopped");
	printf("lan: %d worker processes wrote what cannot be\n",
	       WPROC_CRASHES);
}

/* ---- the network's own process ---- */

/* Where the number of a frame is. */
#define NUMBER_AT (LEN - 4)

/* struct way - frames of one sender to one receiver: @guest, or @sock
 * @sent, @got: numbers of the last ones */
struct way {
	const char *name;
	struct guest *from; /* NULL: @sock */
	struct guest *to;   /* NULL: @sock */
	const uint8_t *src, *dst;
	uint32_t sent, got;
};

static void send_way(struct way *w, int sock)
{
	uint8_t frame[LEN];

	make(frame, w->src, w->dst, 0);
	w->sent++;
	memcpy(frame + NUMBER_AT, &w->sent, sizeof(w->sent));
	if (w->from)
		send_frame(w->from, frame, LEN);
	else if (send(sock, frame, LEN, 0) != LEN)
		die(-errno, "packet socket");
}

/* A frame that came to @to; those of other ways were flooded to it. */
static void take_frame(struct way *ways, unsigned int n, const struct guest *to,
		       const uint8_t *frame, size_t len)
{
	uint32_t number;

	for (unsigned int i = 0; i < n && len == LEN; i++) {
		struct way *w = &ways[i];

		if (w->to != to || memcmp(frame, w->dst, 6) != 0 ||
		    memcmp(frame + 6, w->src, 6) != 0)
			continue;
		memcpy(&number, frame + NUMBER_AT, sizeof(number));
		if (number <= w->got || number > w->sent)
			die(0, "%s: frame %u came after %u", w->name, number,
			    w->got);
		w->got = number;
	}
}

static void take_from_guest(struct way *ways, unsigned int n, struct guest *g)
{
	struct vmm_used used;

	while (vmm_ring_reap(&g->v->q[VMM_RX].ring, &used, 1) == 1) {
		const uint8_t *p =
			vmm_mem_ptr(&g->v->mem, (uintptr_t)used.token);

		take_frame(ways, n, g, p + g->v->hdr_len,
			   used.len - g->v->hdr_len);
		give_buffer(g, (uintptr_t)used.token);
		vmm_publish_kick(g->v, VMM_RX);
	}
}

static void take_all(struct way *ways, unsigned int n, int sock)
{
	uint8_t frame[BUF];
	ssize_t len;

	for (unsigned int i = 0; i < n; i++)
		if (ways[i].to)
			take_from_guest(ways, n, ways[i].to);
	while ((len = vmm_packet_recv(sock, frame, sizeof(frame), 1)) >= 0)
		take_frame(ways, n, NULL, frame, (size_t)len);
}

/* Until a frame that is sent from now on has come each way. */
static void await_ways(struct way *ways, unsigned int n, int sock)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	uint32_t from[8];
	bool all;

	for (unsigned int i = 0; i < n; i++)
		from[i] = ways[i].sent;
	do {
		all = true;
		for (unsigned int i = 0; i < n; i++) {
			send_way(&ways[i], sock);
			take_all(ways, n, sock);
			if (ways[i].got > from[i])
				continue;
			all = false;
			if (vmm_now_ms() > end)
				die(0, "%s: no frame comes", ways[i].name);
		}
	} while (!all);
}

/* Guests are there, one of them with memory that could be mapped. */
static void check_no_guest_memory(pid_t pid)
{
	char path[32], line[256];
	bool any = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		die(-errno, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "vmm-memory"))
			die(0, "a guest's memory is in the network: %s", line);
		any |= strstr(line, "uvhost-frames") != NULL;
	}
	fclose(f);
	if (!any)
		die(0, "the network has no frame ring");
}

/* It dies under frames of all ways; twice by a fault of its own. */
static void check_network_deaths(struct guest *a, struct guest *b, int sock,
				 const uint8_t *far)
{
	struct way ways[] = {
		{ "b to the tap", b, NULL, b->mac, far, 0, 0 },
		{ "the tap to b", NULL, b, far, b->mac, 0, 0 },
		{ "device to b", a, b, a->mac, b->mac, 0, 0 },
		{ "b to the device", b, a, b->mac, a->mac, 0, 0 },
	};
	const unsigned int n = sizeof(ways) / sizeof(ways[0]);

	for (int round = 0; round < KILLS; round++) {
		pid_t pid = find_process("network lan");

		await_ways(ways, n, sock);
		check_no_guest_memory(pid);
		for (int i = 0; i < 20; i++)
			send_way(&ways[i % n], sock);
		kill(pid, round < 2 ? SIGABRT : SIGKILL);
		for (int i = 0; i < 100; i++) {
			send_way(&ways[i % n], sock);
			take_all(ways, n, sock);
		}
		await_end(pid);
		await_ways(ways, n, sock);
	}
	printf("lan: %d deaths of its process\n", KILLS);
}

static void check_lan(void)
{
	static const uint8_t far[6] = { 2, 0, 0, 0, 0, 0xff };
	char ifname[IFNAMSIZ];
	const struct vmm_tap_config tap = { 0 };
	int backend = must(vmm_tap_open(&tap, ifname), "tap");
	int sock = must(vmm_packet_open("uvlan", VMM_ETHERTYPE, false),
			"packet socket");
	const struct vmm_config config = { .path = getenv("UVHOST_DEV"),
					   .num = { 128, 128 },
					   .features = FEATURES };
	const char *victim = getenv("UVHOST_VICTIM");
	struct guest a, b;
	uint8_t frame[LEN];

	start(&a, "device", 1, &config, backend);
	start_user(&b, "b", 2);
	make(frame, a.mac, b.mac, 1);
	send_frame(&a, frame, LEN); /* b is unknown: flooded */
	expect(&b, frame, LEN, "unknown unicast");
	expect_on(sock, frame, "unknown unicast");
	make(frame, b.mac, a.mac, 2);
	send_frame(&b, frame, LEN); /* the tap does not get this one */
	expect(&a, frame, LEN, "unicast");
	make(frame, a.mac, b.mac, 3);
	send_frame(&a, frame, LEN); /* nor this */
	expect(&b, frame, LEN, "unicast back");
	make(frame, b.mac, NULL, 4);
	send_frame(&b, frame, LEN);
	expect(&a, frame, LEN, "broadcast");
	expect_on(sock, frame, "broadcast");
	make(frame, far, b.mac, 5);
	if (send(sock, frame, LEN, 0) != LEN)
		die(-errno, "packet socket");
	expect(&b, frame, LEN, "unicast from the tap");
	make(frame, b.mac, far, 6);
	send_frame(&b, frame, LEN);
	expect_on(sock, frame, "unicast to the tap");
	make(frame, far, NULL, 7);
	if (send(sock, frame, LEN, 0) != LEN)
		die(-errno, "packet socket");
	expect(&a, frame, LEN, "broadcast from the tap");
	expect(&b, frame, LEN, "broadcast from the tap");
	if (victim)
		check_kills(&a, &b, sock, far);
	if (victim && strcmp(victim, "network") == 0)
		check_network_deaths(&a, &b, sock, far);
	printf("lan: device, vhost-user and tap exchange frames\n");
	ask_for_counters();
	if (victim)
		check_spoiled_socket(&a, &b);
	if (victim)
		check_spoiled(&a, &b, strcmp(victim, "network") == 0);
	vmm_free(a.v);
	vmm_free(b.v);
	close(sock);
	close(backend);
}

static void check_vlans(void)
{
	uint8_t frame[LEN], tagged[LEN + TAG_LEN];
	struct guest v10, v20, trunk;

	start_user(&v10, "v10", 10);
	start_user(&v20, "v20", 20);
	start_user(&trunk, "trunk", 30);
	make(frame, v10.mac, NULL, 1);
	tag(tagged, frame, 10);
	send_frame(&v10, frame, LEN);
	expect(&trunk, tagged, sizeof(tagged), "broadcast of VLAN 10");
	make(frame, trunk.mac, NULL, 2);
	tag(tagged, frame, 30);
	send_frame(&trunk, tagged, sizeof(tagged)); /* it has no such VLAN */
	send_frame(&trunk, frame, LEN);             /* nor an untagged one */
	make(frame, trunk.mac, NULL, 3);
	tag(tagged, frame, 20);
	send_frame(&trunk, tagged, sizeof(tagged));
	expect(&v20, frame, LEN, "broadcast of VLAN 20");
	make(frame, trunk.mac, v10.mac, 4);
	tag(tagged, frame, 10);
	send_frame(&trunk, tagged, sizeof(tagged));
	expect(&v10, frame, LEN, "unicast of VLAN 10");
	printf("vlans: two that do not see each other, and a trunk\n");
	ask_for_counters();
	vmm_free(v10.v);
	vmm_free(v20.v);
	vmm_free(trunk.v);
}

/* A port by name, with a capture in between. */
static void check_loop(void)
{
	uint8_t frame[LEN];
	struct guest g;

	start_user(&g, "loop", 40);
	for (uint32_t i = 0; i < 10; i++) {
		make(frame, g.mac, NULL, i);
		send_frame(&g, frame, LEN);
		expect(&g, frame, LEN, "what it sent");
	}
	vmm_free(g.v);
}

/* The daemon turns away who comes before the last guest has gone. */
static struct vmm *start_wire(struct flow *f)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	char path[128];
	const struct vmm_config config = { .transport = VMM_USER,
					   .socket = path,
					   .num = { 64, 64 },
					   .features = FEATURES };
	struct vmm *v;
	int ret;

	snprintf(path, sizeof(path), "%s/w", dir);
	for (;;) {
		must(vmm_new(&config, &v), "w");
		ret = vmm_start(v, NO_BACKEND);
		if (ret == 0)
			break;
		vmm_free(v);
		if (vmm_now_ms() >= end)
			must(ret, "w");
		usleep(1000);
	}
	must(flow_init(f, v, BUF), "flow");
	flow_add_port(f, must(vmm_packet_open("uvwire", VMM_ETHERTYPE, false),
			      "packet socket"));
	settle(v);
	return v;
}

/* Both ways, none lost and none out of order; again with a new guest. */
static void check_wire(void)
{
	for (int i = 0; i < 2; i++) {
		struct flow f;
		struct vmm *v = start_wire(&f);

		if (flow_run(&f, 5000, WAIT_MS) < 0 ||
		    flow_drain(&f, 1, WAIT_MS) < 0)
			die(0, "wire: %s", f.error);
		ask_for_counters();
		flow_free(&f);
		vmm_free(v);
	}
	printf("wire: 10000 frames, each once, in order\n");
}

int main(int argc, char **argv)
{
	if (argc != 2 || !getenv("UVHOST_DEV"))
		die(0, "usage: UVHOST_DEV=DEVICE net DIR");
	dir = argv[1];
	check_lan();
	check_vlans();
	check_loop();
	check_wire();
	return 0;
}
