/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vduse-net NAME [SOCKET] - a vDPA network device in user space (VDUSE, Linux
 * 6.7 or so) with uvhost's device behind it, so that the vdpa transport has
 * something to drive. What the guest sends is dropped, and it gets frames of
 * 100 bytes. Or, with SOCKET, its port is what was sent there last: a byte with
 * a descriptor (SCM_RIGHTS), to which the answer is a byte. Then it offers all
 * that a driver of a net device may accept, and rings of up to 32768 entries.
 *
 *   vduse-net uv0 &           prints "ready"
 *   vdpa dev add name uv0 mgmtdev vduse      /dev/vhost-vdpa-0 appears
 *
 * The device here is the library's transport inproc: the memory that VDUSE lets
 * us map becomes its table, with IOVAs for guest physical addresses.
 *
 * Source: <linux/vduse.h>; Documentation/userspace-api/vduse.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/if_ether.h>
#include <linux/vduse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "fdmsg.h"
#include "uvhost/frontend.h"

#define RINGS 2
#define RING_MAX 256
#define RING_MAX_SOCKET 32768
#define FEATURES                                                 \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | \
	 BIT(VIRTIO_RING_F_EVENT_IDX))
#define FEATURES_SOCKET                                       \
	(FEATURES | BIT(VIRTIO_RING_F_INDIRECT_DESC) |        \
	 BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) | \
	 BIT(VIRTIO_F_NOTIFY_ON_EMPTY))
#define REGIONS 64
#define FRAME 100

struct device {
	int control;
	int fd; /* /dev/vduse/NAME */
	int port;
	int listener; /* or -1 */
	struct uvh *fe;
	bool running, packed;
	int kick[RINGS], call[RINGS];
	struct vduse_vq_info info[RINGS]; /* as they were started */
	struct uvh_region table[REGIONS];
	unsigned int nregions;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static int must(int ret, const char *what)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "vduse-net: %s: %s\n", what,
		strerror(ret == -1 ? errno : -ret));
	exit(1);
}

/* ---- memory ---- */

static void unmap(struct uvh_region *table, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		munmap((void *)(uintptr_t)table[i].uva, table[i].size);
}

/* The first piece from @from on; where the next search begins, 0 at the end */
static uint64_t map_next(struct device *d, uint64_t from)
{
	struct vduse_iotlb_entry e = { .start = from, .last = UINT64_MAX };
	int fd = ioctl(d->fd, VDUSE_IOTLB_GET_FD, &e);
	void *p;

	if (fd < 0)
		return 0;
	p = mmap(NULL, e.last - e.start + 1, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, (off_t)e.offset);
	close(fd);
	if (p == MAP_FAILED)
		must(-1, "mmap");
	d->table[d->nregions++] = (struct uvh_region){
		.gpa = e.start,
		.size = e.last - e.start + 1,
		.uva = (uintptr_t)p,
		.fd = -1,
	};
	return e.last + 1;
}

static void map_all(struct device *d)
{
	uint64_t from = 0;

	d->nregions = 0;
	do
		from = map_next(d, from);
	while (from && d->nregions < REGIONS);
}

static uint64_t ours(const struct device *d, uint64_t iova)
{
	for (unsigned int i = 0; i < d->nregions; i++)
		if (iova - d->table[i].gpa < d->table[i].size)
			return d->table[i].uva + (iova - d->table[i].gpa);
	return 0;
}

/* ---- rings ---- */

/* Legal also while the ring runs, and needed when its memory has moved. */
static void set_addr(struct device *d, unsigned int qi)
{
	const struct vduse_vq_info *info = &d->info[qi];
	struct vhost_vring_addr addr = {
		.index = qi,
		.desc_user_addr = ours(d, info->desc_addr),
		.avail_user_addr = ours(d, info->driver_addr),
		.used_user_addr = ours(d, info->device_addr),
	};

	if (info->ready)
		must(uvh_set_vring_addr(d->fe, &addr), "addr");
}

/* As <linux/vhost.h> has the base of a ring. */
static uint32_t get_base(const struct device *d,
			 const struct vduse_vq_info *info)
{
	if (!d->packed)
		return info->split.avail_index;
	return info->packed.last_avail_idx |
	       (uint32_t)info->packed.last_avail_counter << 15 |
	       (uint32_t)info->packed.last_used_idx << 16 |
	       (uint32_t)info->packed.last_used_counter << 31;
}

static void put_base(const struct device *d, uint32_t base,
		     struct vduse_vq_state *state)
{
	if (d->packed)
		state->packed = (struct vduse_vq_state_packed){
			.last_avail_idx = base & 0x7fff,
			.last_avail_counter = base >> 15 & 1,
			.last_used_idx = base >> 16 & 0x7fff,
			.last_used_counter = base >> 31,
		};
	else
		state->split.avail_index = (uint16_t)base;
}

/* 0, or -errno: the driver has set up what cannot run. */
static int start_ring(struct device *d, unsigned int qi)
{
	struct vduse_vq_eventfd kick = { .index = qi, .fd = d->kick[qi] };
	struct vduse_vq_info *info = &d->info[qi];
	int ret;

	*info = (struct vduse_vq_info){ .index = qi };
	must(ioctl(d->fd, VDUSE_VQ_GET_INFO, info), "VQ_GET_INFO");
	if (!info->ready)
		return 0;
	must(uvh_set_vring_num(d->fe, qi, info->num), "num");
	must(uvh_set_vring_base(d->fe, qi, get_base(d, info)), "base");
	set_addr(d, qi);
	must(uvh_set_vring_call(d->fe, qi, d->call[qi]), "call");
	ret = uvh_vring_start(d->fe, qi, d->port);
	if (ret < 0)
		return ret;
	must(uvh_set_vring_kick(d->fe, qi, d->kick[qi]), "kick");
	must(ioctl(d->fd, VDUSE_VQ_SETUP_KICKFD, &kick), "SETUP_KICKFD");
	return 0;
}

static void stop(struct device *d)
{
	if (!d->running)
		return;
	must(uvh_reset_owner(d->fe), "reset");
	unmap(d->table, d->nregions);
	d->nregions = 0;
	d->running = false;
}

static int start(struct device *d)
{
	uint64_t features;
	int ret = 0;

	if (d->running)
		return 0;
	must(ioctl(d->fd, VDUSE_DEV_GET_FEATURES, &features), "GET_FEATURES");
	map_all(d);
	must(uvh_set_owner(d->fe), "owner");
	/* Translation is done by the table. */
	features &= ~BIT(VIRTIO_F_ACCESS_PLATFORM);
	d->packed = features & BIT(VIRTIO_F_RING_PACKED);
	must(uvh_set_features(d->fe, features), "features");
	must(uvh_set_mem_table(d->fe, d->table, d->nregions), "table");
	d->running = true;
	for (unsigned int qi = 0; ret == 0 && qi < RINGS; qi++)
		ret = start_ring(d, qi);
	if (ret < 0)
		stop(d);
	return ret;
}

static void remap(struct device *d)
{
	struct uvh_region old[REGIONS];
	unsigned int n = d->nregions;

	if (!d->running)
		return;
	memcpy(old, d->table, n * sizeof(old[0]));
	map_all(d);
	must(uvh_set_mem_table(d->fe, d->table, d->nregions), "table");
	for (unsigned int qi = 0; qi < RINGS; qi++)
		set_addr(d, qi);
	unmap(old, n);
}

/* ---- requests of the kernel ---- */

static void handle(struct device *d)
{
	struct vduse_dev_request q;
	struct vduse_dev_response a = { .result = VDUSE_REQ_RESULT_OK };
	uint32_t base = 0;

	if (read(d->fd, &q, sizeof(q)) != sizeof(q))
		return;
	a.request_id = q.request_id;
	switch (q.type) {
	case VDUSE_GET_VQ_STATE:
		if (d->running)
			uvh_get_vring_base(d->fe, q.vq_state.index, &base);
		a.vq_state.index = q.vq_state.index;
		put_base(d, base, &a.vq_state);
		break;
	case VDUSE_SET_STATUS:
		if (q.s.status & VIRTIO_CONFIG_S_DRIVER_OK) {
			if (start(d) < 0)
				a.result = VDUSE_REQ_RESULT_FAILED;
		} else if (q.s.status == 0)
			stop(d);
		break;
	case VDUSE_UPDATE_IOTLB:
		remap(d);
		break;
	default:
		a.result = VDUSE_REQ_RESULT_FAILED;
		break;
	}
	if (write(d->fd, &a, sizeof(a)) != sizeof(a))
		must(-1, "answer");
}

static void inject(struct device *d, uint32_t qi)
{
	uint64_t count;

	if (read(d->call[qi], &count, sizeof(count)) > 0)
		ioctl(d->fd, VDUSE_VQ_INJECT_IRQ, &qi);
}

/* ---- the port ---- */

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int s = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	must(bind(s, (struct sockaddr *)&addr, sizeof(addr)), path);
	must(listen(s, 1), path);
	return s;
}

/* The sender is a test, and waits. */
static void take_port(struct device *d)
{
	int s = must(accept4(d->listener, NULL, NULL, SOCK_CLOEXEC), "accept");
	char byte;
	int fd = fdmsg_recv(s, &byte, 1, MSG_CMSG_CLOEXEC);

	if (fd >= 0) {
		close(d->port);
		d->port = fd;
		send(s, "", 1, MSG_NOSIGNAL);
	}
	close(s);
}

static void run(struct device *d)
{
	struct pollfd p[2 + RINGS] = { { .fd = d->fd, .events = POLLIN } };

	for (unsigned int qi = 0; qi < RINGS; qi++)
		p[1 + qi] =
			(struct pollfd){ .fd = d->call[qi], .events = POLLIN };
	p[1 + RINGS] = (struct pollfd){ .fd = d->listener, .events = POLLIN };
	while (!stopped) {
		if (poll(p, 2 + RINGS, -1) < 0)
			continue;
		if (p[0].revents & POLLIN)
			handle(d);
		if (p[1 + RINGS].revents & POLLIN)
			take_port(d);
		for (unsigned int qi = 0; qi < RINGS; qi++)
			if (p[1 + qi].revents & POLLIN)
				inject(d, qi);
	}
}

static void create(struct device *d, const char *name)
{
	static const struct virtio_net_config net = { .mtu = 1500 };
	struct vduse_dev_config *c = calloc(1, sizeof(*c) + sizeof(net));
	struct vduse_vq_config vq = { .max_size = d->listener < 0
							  ? RING_MAX
							  : RING_MAX_SOCKET };
	uint64_t version = VDUSE_API_VERSION, features;
	char path[64];

	if (!c)
		exit(1);
	d->control = must(open("/dev/vduse/control", O_RDWR | O_CLOEXEC),
			  "/dev/vduse/control");
	must(ioctl(d->control, VDUSE_SET_API_VERSION, &version), "version");
	must(uvh_get_features(d->fe, &features), "features");
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->device_id = VIRTIO_ID_NET;
	c->features =
		(features & (d->listener < 0 ? FEATURES : FEATURES_SOCKET)) |
		BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_NET_F_MTU);
	c->vq_num = RINGS;
	c->vq_align = 4096;
	c->config_size = sizeof(net);
	memcpy(c->config, &net, sizeof(net));
	must(ioctl(d->control, VDUSE_CREATE_DEV, c), "CREATE_DEV");
	free(c);
	snprintf(path, sizeof(path), "/dev/vduse/%.32s", name);
	d->fd = must(open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK), path);
	for (vq.index = 0; vq.index < RINGS; vq.index++)
		must(ioctl(d->fd, VDUSE_VQ_SETUP, &vq), "VQ_SETUP");
}

int main(int argc, char **argv)
{
	static const struct uvh_inproc_config config = {
		.name = "vduse", .null_port = true, .null_frame_len = FRAME
	};
	static const struct uvh_inproc_config with_port = { .name = "vduse" };
	struct sigaction sa = { .sa_handler = on_signal };
	struct device d = { .listener = -1 };

	if (argc != 2 && argc != 3) {
		fputs("usage: vduse-net NAME [SOCKET]\n", stderr);
		return 2;
	}
	if (argc == 3)
		d.listener = listen_at(argv[2]);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	must(uvh_inproc_new(argc == 3 ? &with_port : &config, &d.fe), "inproc");
	/* a port is asked for by its kind, and then not used */
	d.port = must(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "socket");
	for (unsigned int qi = 0; qi < RINGS; qi++) {
		d.kick[qi] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		d.call[qi] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	create(&d, argv[1]);
	puts("ready");
	fflush(stdout);
	run(&d);
	stop(&d);
	uvh_close(d.fe);
	return 0;
}
