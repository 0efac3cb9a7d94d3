/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif_macvtap.c has the kind macvtap: /dev/tapN, where N is the interface's
 * index; every open(2) makes one more queue. The node of an index may belong to
 * an interface of another network namespace, so the descriptor is asked for its
 * name.
 */
#include "netif_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>

static int macvtap_fail(struct error_line *e, int err, const char *name)
{
	unsigned int index = if_nametoindex(name);
	const char *why = strerror(-err);

	switch (-err) {
	case ENODEV:
		return error_line(e, err,
				  "macvtap %s: %s: make it with 'ip link add "
				  "link LOWER name %s type macvtap mode "
				  "bridge'",
				  name, why, name);
	case ENOENT:
		return error_line(e, err,
				  "macvtap %s: no /dev/tap%u: it is no "
				  "macvtap ('ip link add link LOWER name NAME "
				  "type macvtap mode bridge' makes one), or "
				  "udev has not made the node",
				  name, index);
	case ENXIO:
		return error_line(e, err,
				  "macvtap %s: /dev/tap%u belongs to another "
				  "interface: is it one of this network "
				  "namespace?",
				  name, index);
	case EPERM:
	case EACCES:
		return error_line(e, err,
				  "macvtap %s: /dev/tap%u: %s: the node's "
				  "owner and mode decide ('chown USER')",
				  name, index, why);
	default:
		return error_line(e, err, "macvtap %s: /dev/tap%u: %s", name,
				  index, why);
	}
}

static bool has_name(int fd, const char *name)
{
	struct ifreq ifr = { 0 };

	return ioctl(fd, TUNGETIFF, &ifr) == 0 &&
	       strncmp(ifr.ifr_name, name, IFNAMSIZ) == 0;
}

static int macvtap_open_queue(const char *name, bool multi)
{
	unsigned int index = if_nametoindex(name);
	char path[32];
	int fd, ret;

	(void)multi; /* it always is */
	if (!index)
		return -ENODEV;
	snprintf(path, sizeof(path), "/dev/tap%u", index);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = has_name(fd, name) ? tap_attach(fd, name, IFF_MULTI_QUEUE)
				 : -ENXIO;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

static int macvtap_new(const void *config, unsigned int queues,
		       struct netif **out, struct error_line *e)
{
	static const struct tap_opener how = { TAP_MACVTAP, macvtap_open_queue,
					       macvtap_fail };

	return tap_netif_new(&how, config, queues, out, e);
}

static int macvtap_adopt(const void *config, unsigned int queues,
			 const int *fds, unsigned int n, struct netif **out)
{
	(void)config;
	return tap_netif_adopt(TAP_MACVTAP, queues, fds, n, out);
}

const struct netif_kind netif_macvtap = {
	.name = "macvtap",
	.usage = "macvtap:NAME\n"
		 "    the macvtap NAME of this host, through /dev/tapN",
	.arg = &netif_ifname_arg,
	.defaults = netif_no_ifname,
	.config_size = IFNAMSIZ,
	.new = macvtap_new,
	.adopt = macvtap_adopt,
};
