/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif_tap.c has the kind tap. Its queues are opened once, before privileges
 * are given up, and each port works on a duplicate of one.
 */
#include "netif_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "offload.h"

#define TUN_PATH "/dev/net/tun"

struct tap_netif {
	struct netif netif;
	enum tap_kind kind;
	unsigned int nfd;
	bool first_on; /* queue 0 is attached */
	int fd[];
};

static struct tap_netif *to_tap_netif(struct netif *s)
{
	return container_of(s, struct tap_netif, netif);
}

int tap_attach(int fd, const char *ifname, short extra)
{
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | extra);
	return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

static void set_queue(int fd, bool on)
{
	struct ifreq ifr = {
		.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
	};

	/* EINVAL: it is in that state already, or not multi-queue. */
	if (ioctl(fd, TUNSETQUEUE, &ifr) < 0)
		return;
}

static void free_tap(struct netif *s)
{
	struct tap_netif *t = to_tap_netif(s);

	for (unsigned int i = 0; i < t->nfd; i++)
		close(t->fd[i]);
	free(t);
}

/* The port has a descriptor of its own. */
static int open_tap(struct netif *s, unsigned int pair, enum netif_dir dir,
		    struct netport **out)
{
	const struct tap_netif *t = to_tap_netif(s);
	int copy = fcntl(t->fd[pair], F_DUPFD_CLOEXEC, 0);
	int ret;

	(void)dir;
	if (copy < 0)
		return -errno;
	ret = tap_port_new(copy, t->kind, out);
	if (ret < 0)
		close(copy);
	return ret;
}

static void enable_tap(struct netif *s, unsigned int pair, bool on)
{
	struct tap_netif *t = to_tap_netif(s);

	set_queue(t->fd[pair], on);
	if (pair == 0)
		t->first_on = on;
}

static unsigned int offloads(uint64_t features)
{
	static const struct {
		unsigned int feature, offload;
	} guest[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned int all = 0;

	for (size_t i = 0; i < ARRAY_SIZE(guest); i++)
		if (features & BIT(guest[i].feature))
			all |= guest[i].offload;
	return all;
}

static void tap_set_features(struct netif *s, uint64_t features)
{
	bool has_num_buffers = features & (BIT(VIRTIO_F_VERSION_1) |
					   BIT(VIRTIO_NET_F_MRG_RXBUF));
	int len = has_num_buffers ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
				  : sizeof(struct virtio_net_hdr);
	struct tap_netif *t = to_tap_netif(s);

	/* Offloads belong to the interface and are set through any queue that
	 * is attached. The length of the header belongs to the interface of a
	 * tap, and to each queue of a macvtap. Old kernels that refuse it have
	 * no offloads. */
	set_queue(t->fd[0], true);
	for (unsigned int i = 1; t->kind == TAP_MACVTAP && i < t->nfd; i++)
		ioctl(t->fd[i], TUNSETVNETHDRSZ, &len);
	if (ioctl(t->fd[0], TUNSETVNETHDRSZ, &len) == 0)
		ioctl(t->fd[0], TUNSETOFFLOAD, offloads(features));
	set_queue(t->fd[0], t->first_on);
}

static int tap_fds(const struct netif *s, int *fds)
{
	const struct tap_netif *t =
		container_of(s, const struct tap_netif, netif);

	memcpy(fds, t->fd, t->nfd * sizeof(t->fd[0]));
	return (int)t->nfd;
}

static struct tap_netif *tap_alloc(enum tap_kind kind, unsigned int queues)
{
	static const struct netif_ops ops = {
		.features = OFFLOADS_BOTH_KERNEL,
		.open = open_tap,
		.enable = enable_tap,
		.set_offload = tap_set_features,
		.fds = tap_fds,
		.free = free_tap,
	};
	struct tap_netif *t = calloc(1, sizeof(*t) + queues * sizeof(t->fd[0]));

	if (t) {
		t->netif.ops = &ops;
		t->kind = kind;
	}
	return t;
}

int tap_netif_new(const struct tap_opener *how, const char *ifname,
		  unsigned int queues, struct netif **out, struct error_line *e)
{
	struct tap_netif *t = tap_alloc(how->kind, queues);

	if (!t)
		return -ENOMEM;
	while (t->nfd < queues) {
		int fd = how->open_queue(ifname, queues > 1);

		if (fd < 0) {
			free_tap(&t->netif);
			return how->fail(e, fd, ifname);
		}
		t->fd[t->nfd++] = fd;
	}
	for (unsigned int i = 0; i < t->nfd; i++)
		set_queue(t->fd[i], false);
	*out = &t->netif;
	return 0;
}

/* False: it was deleted. */
static bool has_interface(int fd)
{
	struct ifreq ifr = { 0 };

	return ioctl(fd, TUNGETIFF, &ifr) == 0;
}

int tap_netif_adopt(enum tap_kind kind, unsigned int queues, const int *fds,
		    unsigned int n, struct netif **out)
{
	struct tap_netif *t;

	if (n != queues)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		if (!has_interface(fds[i]))
			return -ENODEV;
	t = tap_alloc(kind, queues);
	if (!t)
		return -ENOMEM;
	memcpy(t->fd, fds, n * sizeof(t->fd[0]));
	t->nfd = n;
	*out = &t->netif;
	return 0;
}

/* ---- tap ---- */

static int tap_fail(struct error_line *e, int err, const char *name)
{
	const char *why = strerror(-err);

	switch (-err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_line(e, err, "%s: %s: run 'modprobe tun'",
				  TUN_PATH, why);
	case EPERM:
	case EACCES:
		return error_line(e, err,
				  "tap %s: %s: needs CAP_NET_ADMIN, or a tap "
				  "made with 'ip tuntap add dev %s mode tap "
				  "vnet_hdr user USER'",
				  name, why, name);
	case EBUSY:
		return error_line(e, err,
				  "tap %s: %s: another program has it open",
				  name, why);
	case EINVAL:
		return error_line(e, err,
				  "tap %s: %s: it is no tap, or not "
				  "multi-queue",
				  name, why);
	default:
		return error_line(e, err, "tap %s: %s", name, why);
	}
}

static int tap_open_queue(const char *name, bool multi)
{
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = tap_attach(fd, name, multi ? IFF_MULTI_QUEUE : 0);
	/* The tap may have been made as multi-queue. */
	if (ret == -EINVAL && !multi)
		ret = tap_attach(fd, name, IFF_MULTI_QUEUE);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

static int tap_new(const void *config, unsigned int queues, struct netif **out,
		   struct error_line *e)
{
	static const struct tap_opener how = { TAP_ETHERNET, tap_open_queue,
					       tap_fail };

	return tap_netif_new(&how, config, queues, out, e);
}

static int tap_adopt(const void *config, unsigned int queues, const int *fds,
		     unsigned int n, struct netif **out)
{
	(void)config;
	return tap_netif_adopt(TAP_ETHERNET, queues, fds, n, out);
}

const struct netif_key netif_ifname_arg = { .read = netif_read_ifname };
const char netif_no_ifname[IFNAMSIZ];

const struct netif_kind netif_tap = {
	.name = "tap",
	.usage = "tap:NAME\n"
		 "    the tap NAME, made if it is not there; multi-queue if "
		 "the device is",
	.arg = &netif_ifname_arg,
	.defaults = netif_no_ifname,
	.config_size = IFNAMSIZ,
	.new = tap_new,
	.adopt = tap_adopt,
};
