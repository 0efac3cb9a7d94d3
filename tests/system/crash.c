/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crash [split|packed private|memfd] - the worker process of a guest crashes
 * three times: twice another one goes on, with frames both ways, of which none
 * comes twice. After the third the guest is stopped, and the error eventfds of
 * its rings are signalled. Its driver starts the device again, and frames flow;
 * then all of it once more, with a driver that only starts its rings again. A
 * SIGKILL, which comes from elsewhere, does not count. If the process that gets
 * it had all frames for the guest that were under way, others come after them.
 *
 * $UVHOST_DEV: the device; $UVHOST_BROKER: process id of its daemon.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_config.h>

#include "die.h"
#include "flow.h"
#include "procstate.h"
#include "vmm.h"
#include "vmm_net.h"
#include "wprocs.h"

#define DEADLINE_MS 60000
#define FRAMES 200
#define CRASHES 3 /* WPROC_CRASHES */

static const char *device = "/dev/uvhost-net";
static pid_t broker;
static struct vmm *v;
static struct flow flow;
static int tap;

static void start(bool packed, enum vmm_mem_kind kind)
{
	const struct vmm_tap_config config = { .hdr_len = 12 };
	const struct vmm_config guest = {
		.path = device,
		.mem_kind = kind,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			    (packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0),
	};
	char ifname[IFNAMSIZ];

	must(vmm_new(&guest, &v), device);
	must(flow_init(&flow, v, 2048), "flow");
	flow.lossy = true;
	tap = must(vmm_tap_open(&config, ifname), "tap");
	flow_add_port(&flow, must(vmm_packet_open(ifname, VMM_ETHERTYPE, false),
				  "packet socket"));
	must(vmm_start(v, tap), "start");
}

static void move(const char *when)
{
	int ret = wprocs_move(&flow, FRAMES, DEADLINE_MS);

	if (ret < 0)
		die(ret, "%s: %s", when, flow.error);
}

static bool is_quiet(void)
{
	const struct flow_port *p = &flow.port[0];

	return p->tx_next == flow.tx_sent && p->rx_got == p->rx_sent &&
	       flow.tx_nfree == FLOW_WINDOW;
}

/* What is under way arrives, and the device notes that it has: of a packed ring
 * in the middle of a batch, that batch would be sent again. */
static void settle(void)
{
	int64_t end = vmm_now_ms() + DEADLINE_MS;
	uint64_t features;

	while (!is_quiet()) {
		int ret = flow_step(&flow, false);

		if (ret < 0)
			die(ret, "%s", flow.error);
		if (vmm_now_ms() > end)
			die(0, "frames under way do not arrive");
		if (ret == 0)
			flow_wait(&flow, 1);
	}
	must(vmm_get_features(v->fd, &features), "GET_FEATURES");
}

/* The only one, which is not @last; 0 if there is none within the time. */
static pid_t await_worker(pid_t last)
{
	int64_t end = vmm_now_ms() + DEADLINE_MS;
	pid_t pid;

	while (wprocs_list(broker, &pid, 1) != 1 || pid == last) {
		if (vmm_now_ms() > end)
			die(0, "no worker process");
		poll(NULL, 0, 1);
	}
	return pid;
}

static void hit(pid_t pid, int signal)
{
	if (kill(pid, signal) < 0)
		die(-errno, "kill");
}

static void await_no_worker(void)
{
	int64_t end = vmm_now_ms() + DEADLINE_MS;
	pid_t pid;

	while (wprocs_list(broker, &pid, 1)) {
		if (vmm_now_ms() > end)
			die(0, "another worker process was started");
		poll(NULL, 0, 1);
	}
}

static void crash(void)
{
	static const int signals[CRASHES] = { SIGSEGV, SIGILL, SIGABRT };
	pid_t pid = 0;

	for (unsigned int i = 0; i < CRASHES; i++) {
		pid = await_worker(pid);
		move(i ? "after a crash" : "before a crash");
		for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
			if (vmm_event_count(v->q[qi].err))
				die(0, "an error is signalled too early");
		settle();
		hit(pid, signals[i]);
	}
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		must(vmm_wait_event(v->q[qi].err, DEADLINE_MS),
		     "error eventfd");
	await_no_worker();
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		vmm_event_count(v->q[qi].err);
}

/* As the VMM does when the driver resets the device. */
static void stop_and_start(void)
{
	must(vmm_stop(v), "stop");
	must(vmm_prepare(v), "prepare");
	must(vmm_set_backends(v, tap), "SET_BACKEND");
	move("after the device was started again");
}

static void start_only(void)
{
	must(vmm_set_backends(v, tap), "SET_BACKEND");
	move("after the rings were started again");
}

static void kill_from_outside(void)
{
	pid_t pid = 0;

	for (unsigned int i = 0; i <= CRASHES; i++) {
		pid = await_worker(pid);
		hit(pid, SIGKILL);
	}
	await_worker(pid);
	move("after a SIGKILL");
}

static void stop(pid_t pid)
{
	int64_t end = vmm_now_ms() + DEADLINE_MS;

	hit(pid, SIGSTOP);
	while (!procstate_stopped(pid)) {
		if (vmm_now_ms() > end)
			die(0, "SIGSTOP does nothing");
		poll(NULL, 0, 1);
	}
}

/* We read them off the tap in place of a worker process, which then dies: a
 * whole window, of which the guest gets nothing. */
static void lose_a_window(void)
{
	uint64_t lost = flow.rx_lost;
	uint8_t frame[2048];
	pid_t pid = await_worker(0);

	stop(pid);
	must(flow_step(&flow, true), "frames for the guest");
	while (read(tap, frame, sizeof(frame)) > 0)
		;
	hit(pid, SIGKILL);
	await_worker(pid);
	move("after a window of frames was lost");
	if (flow.rx_lost - lost < FLOW_WINDOW)
		die(0, "only %llu frames were lost",
		    (unsigned long long)(flow.rx_lost - lost));
}

int main(int argc, char **argv)
{
	bool packed = argc > 1 && strcmp(argv[1], "packed") == 0;
	bool memfd = argc > 2 && strcmp(argv[2], "memfd") == 0;

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	if (getenv("UVHOST_BROKER"))
		broker = atoi(getenv("UVHOST_BROKER"));
	if (broker <= 0)
		die(0, "UVHOST_BROKER?");
	must(vmm_net_enter(), "network namespace");
	start(packed, memfd ? VMM_MEM_MEMFD : VMM_MEM_PRIVATE);
	crash();
	stop_and_start();
	kill_from_outside();
	lose_a_window();
	crash();
	start_only();
	printf("%s %s: %llu frames, lost: %llu to the tap, %llu to the guest\n",
	       packed ? "packed" : "split", memfd ? "memfd" : "private",
	       (unsigned long long)flow.moved, (unsigned long long)flow.tx_lost,
	       (unsigned long long)flow.rx_lost);
	flow_free(&flow);
	vmm_free(v);
	return 0;
}
