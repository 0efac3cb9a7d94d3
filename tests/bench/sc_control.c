/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_control.c: the control path.
 *
 *   control/device/start   open(2) of the character device and the ioctls from
 *                          SET_OWNER to SET_BACKEND of both rings, in the order
 *                          of QEMU
 *   control/device/ioctl   one ioctl (GET_FEATURES)
 *   control/worker/start   both with a worker process for the guest, and the
 *   control/worker/ioctl   same without one as the peer
 *   control/user/start     vhost-user: connect(2), the messages of the same
 *                          sequence, and the first frame being taken from the
 *                          TX ring, since most messages have no answer
 *   control/user/message   one message and its answer (GET_FEATURES)
 *
 * control/device has no peer here. Without /dev/cuse it is made by the
 * user-space CUSE host, which traps each system call of the program that uses
 * it; most of the time is then spent there, and only two builds can be
 * compared. The peer of vhost-user is DPDK's backend (testpmd with net_vhost),
 * which gets the same messages.
 *
 * The daemon accepts 50 connections at once and then ten a second, so there is
 * a pause before each connection, of both sides. Closing is not timed. A
 * backend that has not finished with the connection before turns the next one
 * away; the sequence is then begun again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bench.h"
#include "dpdk.h"
#include "ringfeed.h"
#include "vmm.h"
#include "vmm_net.h"

#define WAIT_MS 60000
#define CALLS 16
#define PAUSE_NS (UINT64_C(20) * 1000 * 1000)
#define CLOSE_US 2000
#define BURST 45
#define INTERVAL_NS (UINT64_C(100) * 1000 * 1000)
#define SIZE 64
#define DRIVER_OK                                               \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

/**
 * struct control - one side
 * @socket: of the vhost-user backend
 * @backend: packet socket for SET_BACKEND
 * @began: backend that was started here
 * @fe:   the frontend that messages and ioctls go through
 * @paid: connections are paid for until then (see take_turn)
 * @closed: when the last connection was closed
 */
struct control {
	char socket[128];
	int backend;
	pid_t began;
	struct uvh *fe;
	uint64_t paid, closed;
};

/* ---- opening ---- */

static int start_backend(struct bench *b, struct control *c)
{
	static const char *const null[] = { "--socket-path",
					    "@DIR@/s,port=null", NULL };
	const struct dpdk_config dpdk = { .ports = 1,
					  .mode = "rxonly",
					  .roams = true };
	char name[32] = "s";

	if (b->side == BENCH_PEER)
		snprintf(name, sizeof(name), DPDK_SOCKET, 0);
	snprintf(c->socket, sizeof(c->socket), "%s/%s", b->dir, name);
	c->began = b->side == BENCH_PEER ? dpdk_start(b, &dpdk)
					 : bench_daemon(b, -1, "s", null);
	return c->began < 0 ? (int)c->began : 0;
}

static int make(struct bench *b)
{
	struct control *c = calloc(1, sizeof(*c));

	b->priv = c;
	if (!c)
		return bench_why(b, -ENOMEM, "no memory");
	c->backend = vmm_packet_open(NULL, 0, false);
	return c->backend < 0 ? bench_why(b, c->backend, "packet socket: %s",
					  strerror(-c->backend))
			      : 0;
}

static int start_open(struct bench *b)
{
	int ret = make(b);

	return ret || b->scenario->device ? ret : start_backend(b, b->priv);
}

static int call_open(struct bench *b)
{
	int ret = start_open(b);
	struct control *c = b->priv;

	if (ret < 0)
		return ret;
	if (b->scenario->device)
		ret = uvh_kernel_open("/dev/bench", &c->fe);
	else
		ret = uvh_user_connect(c->socket, 0, &c->fe);
	if (ret == 0)
		ret = uvh_set_owner(c->fe);
	return ret < 0 ? bench_why(b, ret, "connecting: %s", strerror(-ret))
		       : 0;
}

static void control_close(struct bench *b)
{
	struct control *c = b->priv;

	if (!c)
		return;
	uvh_close(c->fe);
	if (b->side == BENCH_PEER)
		dpdk_end(c->began);
	else if (c->began > 0)
		bench_end(c->began);
	if (c->backend >= 0)
		close(c->backend);
	free(c);
	b->priv = NULL;
}

/* ---- one call ---- */

static int call_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct control *c = b->priv;
	uint64_t start = bench_now_ns(), features;

	while (out->ns < ns) {
		for (unsigned int i = 0; i < CALLS; i++) {
			int ret = uvh_get_features(c->fe, &features);

			if (ret < 0)
				return bench_why(b, ret, "GET_FEATURES: %s",
						 strerror(-ret));
		}
		out->ops += CALLS;
		out->ns = bench_now_ns() - start;
	}
	return 0;
}

/* ---- the sequence ---- */

static const struct vmm_config guest = {
	.mem_kind = VMM_MEM_MEMFD,
	.features = VMM_BIT(VIRTIO_F_VERSION_1) |
		    VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) |
		    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
		    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC),
};

static int start_device(struct control *c, uint64_t *ns)
{
	struct vmm_config config = guest;
	uint64_t start = bench_now_ns();
	struct vmm *v = NULL;
	int ret;

	config.fd = open("/dev/bench", O_RDWR | O_CLOEXEC);
	*ns = bench_now_ns() - start;
	if (config.fd < 0)
		return -errno;
	ret = vmm_new(&config, &v);
	if (ret < 0) {
		close(config.fd);
		return ret;
	}
	start = bench_now_ns();
	ret = vmm_start(v, c->backend);
	*ns += bench_now_ns() - start;
	vmm_stop(v);
	vmm_free(v);
	usleep(CLOSE_US);
	return ret;
}

static int first_frame(struct vmm *v)
{
	uint64_t at = ringfeed_buffers(&v->mem, 1, 4096, SIZE);
	struct vmm_seg seg = { at, RINGFEED_HDR + SIZE, false };

	if (!at || vmm_ring_add(&v->q[VMM_TX].ring, &seg, 1, NULL) < 0)
		return -ENOMEM;
	vmm_ring_publish(&v->q[VMM_TX].ring);
	return 0;
}

/* Connecting is timed with what vmm_new() does beside it: it makes the guest's
 * memory, which nobody touches. */
static int start_once(struct control *c, uint64_t *ns)
{
	struct vmm_config config = guest;
	uint64_t start = bench_now_ns();
	struct vmm *v = NULL;
	int ret;

	config.transport = VMM_USER;
	config.socket = c->socket;
	ret = vmm_new(&config, &v);
	if (ret < 0)
		return ret;
	ret = vmm_start(v, 0);
	if (ret == 0)
		ret = first_frame(v);
	if (ret == 0)
		ret = uvh_set_status(v->fe, DRIVER_OK);
	if (ret == 0) {
		vmm_kick(v, VMM_TX);
		ret = vmm_wait_used(v, VMM_TX, 1, WAIT_MS);
	}
	*ns = bench_now_ns() - start;
	vmm_stop(v);
	vmm_free(v);
	c->closed = bench_now_ns();
	return ret;
}

/* Until the daemon will accept the next connection at once: a token bucket as
 * it has one, but for some tokens. @paid is when the bucket will be full. */
static void take_turn(struct control *c)
{
	uint64_t now = bench_now_ns(), least = c->closed + PAUSE_NS;

	if (c->paid < now)
		c->paid = now;
	c->paid += INTERVAL_NS;
	if (c->paid > least + BURST * INTERVAL_NS)
		least = c->paid - BURST * INTERVAL_NS;
	if (least > now)
		usleep((useconds_t)((least - now) / 1000));
}

static int start_user(struct control *c, uint64_t *ns)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	int ret;

	do {
		take_turn(c);
		ret = start_once(c, ns);
	} while ((ret == -EPIPE || ret == -ECONNRESET) && vmm_now_ms() < end);
	return ret;
}

static int start_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	struct control *c = b->priv;
	uint64_t begin = bench_now_ns();

	do {
		uint64_t one = 0;
		int ret;

		ret = b->scenario->device ? start_device(c, &one)
					  : start_user(c, &one);
		if (ret < 0)
			return bench_why(b, ret, "the sequence: %s",
					 strerror(-ret));
		out->ns += one;
		out->ops++;
	} while (bench_now_ns() - begin < ns);
	return 0;
}

/* ---- the list ---- */

static const char *const device[] = { "--device", "bench,port=null", NULL };
static const char *const with_worker[] = { "--device", "bench,worker-process",
					   NULL };
static const char *const without_worker[] = { "--device",
					      "bench,worker-process=off",
					      NULL };

const struct scenario scenarios_control[] = {
	{
		.name = "control/device/start",
		.what = "open to SET_BACKEND on the character device (without "
			"/dev/cuse the CUSE host's traps are most of it)",
		.op = "sequence",
		.measure = BENCH_TIME,
		.device = device,
		.open = start_open,
		.slice = start_slice,
		.close = control_close,
	},
	{
		.name = "control/device/ioctl",
		.what = "VHOST_GET_FEATURES (without /dev/cuse the CUSE host's "
			"traps are most of it)",
		.op = "call",
		.measure = BENCH_TIME,
		.device = device,
		.open = call_open,
		.slice = call_slice,
		.close = control_close,
	},
	{
		.name = "control/worker/start",
		.what = "control/device/start, with a worker process",
		.op = "sequence",
		.measure = BENCH_TIME,
		.peer = "no worker process",
		.device = with_worker,
		.peer_device = without_worker,
		.open = start_open,
		.slice = start_slice,
		.close = control_close,
	},
	{
		.name = "control/worker/ioctl",
		.what = "control/device/ioctl, with a worker process",
		.op = "call",
		.measure = BENCH_TIME,
		.peer = "no worker process",
		.device = with_worker,
		.peer_device = without_worker,
		.open = call_open,
		.slice = call_slice,
		.close = control_close,
	},
	{
		.name = "control/user/start",
		.what = "vhost-user: connect to the first frame",
		.op = "sequence",
		.measure = BENCH_TIME,
		.peer = "DPDK vhost",
		.open = start_open,
		.slice = start_slice,
		.close = control_close,
	},
	{
		.name = "control/user/message",
		.what = "vhost-user: VHOST_USER_GET_FEATURES and its answer",
		.op = "message",
		.measure = BENCH_TIME,
		.peer = "DPDK vhost",
		.open = call_open,
		.slice = call_slice,
		.close = control_close,
	},
	{ 0 },
};
