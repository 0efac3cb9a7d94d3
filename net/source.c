/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports by name. A tap's queues are opened once, before privileges are given
 * up, and each device works on duplicates of them.
 */
#include "netsource.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "port_priv.h"

#define TUN_PATH "/dev/net/tun"
/* Frames of the null port: an Ethernet header to the largest GSO frame. */
#define FRAME_MIN 14
#define FRAME_MAX 65550

enum kind { SOURCE_TAP, SOURCE_NULL, SOURCE_LOOP };

struct spec {
	enum kind kind;
	unsigned int frame_len;
	char ifname[IFNAMSIZ];
};

struct netsource {
	struct spec spec;
	unsigned int queues;
	int *fd;       /* a tap's queues */
	bool first_on; /* queue 0 is attached */
};

static int __attribute__((format(printf, 4, 5)))
fail(int err, char *error, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, size, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- what the name says ---- */

/* @text behind "KIND:", "" if there is nothing but KIND; NULL: another kind. */
static const char *after_kind(const char *text, const char *kind)
{
	size_t len = strlen(kind);

	if (strncmp(text, kind, len) != 0)
		return NULL;
	if (text[len] == ':')
		return text + len + 1;
	return text[len] ? NULL : text + len;
}

static int parse_null(const char *arg, struct spec *spec, char *error,
		      size_t size)
{
	char *end;
	unsigned long n;

	if (!*arg)
		return 0;
	n = strtoul(arg, &end, 10);
	if (arg[0] < '0' || arg[0] > '9' || *end)
		return fail(-EINVAL, error, size, "null: '%s' is not a number",
			    arg);
	if (n < FRAME_MIN || n > FRAME_MAX)
		return fail(-EINVAL, error, size,
			    "null: '%s' is not within %d...%d", arg, FRAME_MIN,
			    FRAME_MAX);
	spec->frame_len = (unsigned int)n;
	return 0;
}

/* As dev_valid_name() of the kernel. */
static int parse_ifname(const char *arg, struct spec *spec, char *error,
			size_t size)
{
	size_t len = strlen(arg);

	if (!len || len >= IFNAMSIZ || strpbrk(arg, "/: \t\n%") ||
	    !strcmp(arg, ".") || !strcmp(arg, ".."))
		return fail(-EINVAL, error, size,
			    "tap: '%s' is no name of an interface", arg);
	memcpy(spec->ifname, arg, len + 1);
	return 0;
}

static int parse(const char *text, struct spec *spec, char *error, size_t size)
{
	const char *arg;

	memset(spec, 0, sizeof(*spec));
	arg = after_kind(text, "null");
	if (arg) {
		spec->kind = SOURCE_NULL;
		return parse_null(arg, spec, error, size);
	}
	arg = after_kind(text, "tap");
	if (arg) {
		spec->kind = SOURCE_TAP;
		return parse_ifname(arg, spec, error, size);
	}
	if (strcmp(text, "loop") == 0) {
		spec->kind = SOURCE_LOOP;
		return 0;
	}
	return fail(-EINVAL, error, size,
		    "'%s' is none of tap:NAME, null[:LEN], loop", text);
}

int netsource_check(const char *spec, char *error, size_t size)
{
	struct spec s;

	return parse(spec, &s, error, size);
}

/* ---- taps ---- */

static int tap_error(int err, const char *name, char *error, size_t size)
{
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return fail(-err, error, size, "%s: %s: run 'modprobe tun'",
			    TUN_PATH, strerror(err));
	case EPERM:
	case EACCES:
		return fail(-err, error, size,
			    "tap %s: %s: needs CAP_NET_ADMIN, or a tap made "
			    "with 'ip tuntap add dev %s mode tap vnet_hdr "
			    "user USER'",
			    name, strerror(err), name);
	case EBUSY:
		return fail(-err, error, size,
			    "tap %s: %s: another program has it open", name,
			    strerror(err));
	case EINVAL:
		return fail(-err, error, size,
			    "tap %s: %s: it is no tap, or not multi-queue",
			    name, strerror(err));
	default:
		return fail(-err, error, size, "tap %s: %s", name,
			    strerror(err));
	}
}

static int attach_queue(int fd, const char *name, short extra)
{
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | extra);
	return ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

/* One queue, or -errno. */
static int open_queue(const char *name, bool multi)
{
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = attach_queue(fd, name, multi ? IFF_MULTI_QUEUE : 0);
	/* One queue of a tap that was made for many will do. */
	if (ret == -EINVAL && !multi)
		ret = attach_queue(fd, name, IFF_MULTI_QUEUE);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
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

static int open_tap(struct netsource *s, char *error, size_t size)
{
	unsigned int n;

	s->fd = calloc(s->queues, sizeof(*s->fd));
	if (!s->fd)
		return -ENOMEM;
	for (n = 0; n < s->queues; n++) {
		int fd = open_queue(s->spec.ifname, s->queues > 1);

		if (fd < 0) {
			s->queues = n;
			return tap_error(-fd, s->spec.ifname, error, size);
		}
		s->fd[n] = fd;
	}
	for (n = 0; n < s->queues; n++)
		set_queue(s->fd[n], false);
	return 0;
}

/* ---- all kinds ---- */

int netsource_new(const char *spec, unsigned int queues, struct netsource **out,
		  char *error, size_t size)
{
	struct netsource *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return fail(-ENOMEM, error, size, "%s", strerror(ENOMEM));
	s->queues = queues;
	ret = parse(spec, &s->spec, error, size);
	if (ret == 0 && s->spec.kind == SOURCE_TAP)
		ret = open_tap(s, error, size);
	if (ret < 0) {
		netsource_free(s);
		return ret;
	}
	netsource_set_offload(s, 0);
	*out = s;
	return 0;
}

void netsource_free(struct netsource *s)
{
	if (!s)
		return;
	if (s->fd)
		for (unsigned int i = 0; i < s->queues; i++)
			close(s->fd[i]);
	free(s->fd);
	free(s);
}

uint64_t netsource_features(const struct netsource *s)
{
	if (s->spec.kind != SOURCE_TAP)
		return 0;
	return BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
	       BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
	       BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
	       BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN);
}

static int open_fd(int fd, struct netport **out)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int ret;

	if (copy < 0)
		return -errno;
	ret = tap_port_new(copy, TAP_ETHERNET, out);
	if (ret < 0)
		close(copy);
	return ret;
}

int netsource_open(struct netsource *s, unsigned int pair, struct netport **rx,
		   struct netport **tx)
{
	int ret;

	switch (s->spec.kind) {
	case SOURCE_LOOP:
		return loop_port_new(rx, tx);
	case SOURCE_NULL:
		ret = netport_null_new(s->spec.frame_len, rx);
		if (ret == 0)
			ret = netport_null_new(0, tx);
		else
			return ret;
		break;
	default:
		ret = open_fd(s->fd[pair], rx);
		if (ret < 0)
			return ret;
		ret = open_fd(s->fd[pair], tx);
	}
	if (ret < 0)
		netport_close(*rx);
	return ret;
}

void netsource_enable(struct netsource *s, unsigned int pair, bool on)
{
	if (!s->fd || pair >= s->queues)
		return;
	set_queue(s->fd[pair], on);
	if (pair == 0)
		s->first_on = on;
}

void netsource_set_offload(struct netsource *s, uint64_t features)
{
	static const struct {
		unsigned int feature, offload;
	} guest[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	bool has_num_buffers = features & (BIT(VIRTIO_F_VERSION_1) |
					   BIT(VIRTIO_NET_F_MRG_RXBUF));
	int len = has_num_buffers ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
				  : sizeof(struct virtio_net_hdr);
	unsigned int offload = 0;

	if (!s->fd)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(guest); i++)
		if (features & BIT(guest[i].feature))
			offload |= guest[i].offload;
	/* Both are the interface's: one queue speaks for all, but a detached
	 * one has no interface. Old kernels that refuse have no offloads. */
	set_queue(s->fd[0], true);
	if (ioctl(s->fd[0], TUNSETVNETHDRSZ, &len) == 0)
		ioctl(s->fd[0], TUNSETOFFLOAD, offload);
	set_queue(s->fd[0], s->first_on);
}
